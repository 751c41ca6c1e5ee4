//! Wraps lines between words, to the width of a terminal.

use unicode_width::UnicodeWidthStr as _;

/// Wraps a text at `first` columns for the first line (0 leaves it empty) and `others` for the following
/// ones. A longer word stays whole, so that it can be copied.
pub(super) fn wrap(text: &str, first: usize, others: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = first;
    let mut used = 0;
    for word in text.split_whitespace() {
        let width = word.width();
        let is_first = lines.len() == 1;
        let gap = usize::from(used > 0);
        if used + gap + width > room && (used > 0 || is_first) {
            lines.push(String::new());
            (room, used) = (others, 0);
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
        }
        used += width;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wrap_between_words() {
        assert_eq!(wrap("", 10, 10), [""]);
        assert_eq!(wrap("one two three", 20, 20), ["one two three"]);
        assert_eq!(wrap("one two three", 7, 5), ["one two", "three"]);
        assert_eq!(wrap("one two three", 0, 7), ["", "one two", "three"]);
    }

    #[test]
    fn a_word_wider_than_a_line_stays_whole() {
        assert_eq!(
            wrap("see https://git.example.com/v2/ now", 10, 12),
            ["see", "https://git.example.com/v2/", "now"]
        );
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(wrap("失敗 失敗 ok", 9, 9), ["失敗 失敗", "ok"]);
        assert_eq!(wrap("失敗 失敗 ok", 8, 8), ["失敗", "失敗 ok"]);
    }
}
