//! Text from outside: a server's answer, a program's output. There is one way to make it text to show, and
//! that masks every secret before it cuts anything.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;

use super::{Cut, covered};

/// Bytes from outside, which may contain secrets. They cannot be printed: [`Redactor::redact`] makes text of
/// them.
#[derive(Clone)]
pub(crate) struct Outside<'a> {
    bytes: Cow<'a, [u8]>,
    cut: Cut,
}

impl<'a> Outside<'a> {
    pub(crate) fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Outside<'a> {
        Outside { bytes: bytes.into(), cut: Cut::default() }
    }

    pub(crate) fn text(text: &'a str) -> Outside<'a> {
        Outside::new(text.as_bytes())
    }

    /// Whether bytes before these were cut.
    pub(crate) fn cut_before(mut self, is_cut: bool) -> Outside<'a> {
        self.cut.before = is_cut;
        self
    }

    /// Whether bytes after these were cut.
    pub(crate) fn cut_behind(mut self, is_cut: bool) -> Outside<'a> {
        self.cut.behind = is_cut;
        self
    }

    /// For parsing, not for showing.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As text, with bytes that are not UTF-8 as `\xNN`, and without half a character at a cut. For parsing,
    /// not for showing.
    pub(crate) fn readable(&self) -> String {
        let mut bytes = self.bytes();
        if self.cut.before {
            let rest = bytes.iter().take(3).take_while(|byte| (0x80..0xc0).contains(*byte)).count();
            bytes = &bytes[rest..];
        }
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let is_half = self.cut.behind && chunks.peek().is_none();
            for byte in chunk.invalid().iter().filter(|_| !is_half) {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        text
    }
}

/// Text without secrets, which may be shown, stored, and cut anywhere. Only a [`Redactor`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Masked(String);

impl Masked {
    /// A fixed text in place of an answer that is not to be shown.
    pub(crate) fn instead(text: &'static str) -> Masked {
        Masked(text.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }

    /// The beginning as one line, limited to this many bytes.
    pub(crate) fn excerpt(&self, longest: usize) -> String {
        let mut line = String::new();
        for word in self.0.split_whitespace() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            if line.len() > longest {
                let end = (0..=longest).rfind(|end| line.is_char_boundary(*end));
                line.truncate(end.unwrap_or_default());
                line.push('…');
                break;
            }
        }
        line
    }

    /// The end: whole characters, limited to this many bytes.
    pub(crate) fn last(&self, longest: usize) -> &str {
        let mut start = self.0.len().saturating_sub(longest);
        while !self.0.is_char_boundary(start) {
            start += 1;
        }
        &self.0[start..]
    }

    /// The last line that is not blank; empty if there is none.
    pub(crate) fn last_line(&self) -> Masked {
        let line = self.0.lines().map(str::trim).rfind(|line| !line.is_empty());
        Masked(line.unwrap_or_default().to_owned())
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Masks secrets in text.
pub(crate) trait Redactor {
    /// The ranges of secrets in a text, and of possible parts of one at a cut.
    fn find(&self, text: &str, cut: Cut) -> Vec<Range<usize>>;

    /// The only way from bytes from outside to text.
    fn redact(&self, outside: &Outside<'_>) -> Masked {
        let text = outside.readable();
        let found = self.find(&text, outside.cut);
        Masked(if found.is_empty() { text } else { covered(&text, found) })
    }

    /// Masks tagship's own text, which may contain a secret as a name or a value.
    fn mask(&self, text: &str) -> String {
        self.redact(&Outside::text(text)).into_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Masks;
    use super::*;

    struct Known(Masks);

    impl Redactor for Known {
        fn find(&self, text: &str, cut: Cut) -> Vec<Range<usize>> {
            self.0.find(text, cut)
        }
    }

    fn known(values: &[&str]) -> Known {
        let mut masks = Masks::default();
        values.iter().for_each(|value| masks.add(value));
        Known(masks)
    }

    fn masked(text: &str) -> Masked {
        known(&[]).redact(&Outside::text(text))
    }

    #[test]
    fn bytes_that_are_not_text_stay_readable() {
        assert_eq!(Outside::new(&b"gr\xfc\xdfe \xe2\x82\xac"[..]).readable(), "gr\\xfc\\xdfe €");
    }

    #[test]
    fn half_a_character_at_a_cut_is_left_out() {
        let all = Outside::new(&b"\x82\xaca\xe2\x82"[..]);
        assert_eq!(all.clone().cut_before(true).cut_behind(true).readable(), "a");
        assert_eq!(all.readable(), "\\x82\\xaca\\xe2\\x82");
    }

    /// At any cut, no more than single bytes of the value are shown.
    #[test]
    fn a_value_is_masked_wherever_it_is_cut() {
        let value = "k7Qw-wörd-€uro";
        let known = known(&[value]);
        let bytes = value.as_bytes();
        for at in 1..bytes.len() {
            let text = known.redact(&Outside::new(&bytes[..at]).cut_behind(true));
            assert!(matches!(text.as_str(), "***" | ""), "{at}: {text}");
            let text = known.redact(&Outside::new(&bytes[at..]).cut_before(true));
            assert!(matches!(text.as_str(), "***" | ""), "{at}: {text}");
        }
    }

    #[test]
    fn characters_are_not_cut() {
        let text = masked("aäö");
        assert_eq!([text.last(5), text.last(3), text.last(1), text.last(9)], ["aäö", "ö", "", "aäö"]);
    }

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(masked("  a\n\n b\t").excerpt(10), "a b");
        assert_eq!(masked("äöü äöü").excerpt(5), "äö…");
        assert_eq!(masked("abc abc").excerpt(5), "abc a…");
    }
}
