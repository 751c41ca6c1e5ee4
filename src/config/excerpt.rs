//! The source line that an error shows: never one that may contain a secret.

use std::ops::Range;

use super::Excerpt;

/// Tables and keys whose values may be secrets.
const SENSITIVE_KEYS: [&str; 11] =
    ["secrets", "token", "headers", "env", "vars", "json", "form", "body", "ping_url", "proxy", "password"];

/// Parts of words that often name a secret.
const SENSITIVE_WORDS: [&str; 9] =
    ["token", "secret", "passw", "authoriz", "bearer", "credential", "cookie", "api_key", "api-key"];

/// Whether a key, or a table that contains it, may have a secret as its value: `projects.shop.vars`.
pub(super) fn is_sensitive_path(path: &str) -> bool {
    path.split(['.', '[']).any(|part| SENSITIVE_KEYS.contains(&part))
}

/// Whether a text may contain a secret: a telling word, a login in a URL, or a long word that looks random.
pub(super) fn may_hold_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let is_word = |character: char| character.is_ascii_alphanumeric() || "_-+/=".contains(character);
    let login = |rest: &str| rest.split(['/', '"', '\'', ' ']).next().is_some_and(|host| host.contains('@'));
    SENSITIVE_WORDS.iter().any(|word| lower.contains(word))
        || lower
            .split(|c: char| !c.is_ascii_lowercase() && c != '_')
            .any(|word| SENSITIVE_KEYS.contains(&word))
        || lower.split("://").skip(1).any(login)
        || text.split(|character| !is_word(character)).flat_map(|word| word.split('/')).any(is_random)
}

/// Twenty characters or more, with both letters and digits, as in tokens and UUIDs.
fn is_random(word: &str) -> bool {
    word.len() >= 20
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// A line of a file, and whether a line above it marks it as sensitive.
pub(super) struct Line {
    pub(super) start: usize,
    is_sensitive: bool,
}

/// The lines of a file.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    // By the table's header.
    let mut in_table = false;
    // Inside brackets, or a text over several lines, that begin after a sensitive key.
    let (mut in_value, mut depth, mut quotes) = (false, 0_i32, 0);
    for line in text.split_inclusive('\n') {
        let is_open = depth > 0 || quotes % 2 == 1;
        let trimmed = line.trim_start();
        if trimmed.starts_with('[') {
            let header = trimmed.split(']').next().unwrap_or_default();
            // A bracket inside a text can look like an open one. So a header may add sensitive lines, but
            // never ends them.
            in_table = is_sensitive_path(header.trim_matches(['[', ' '])) || (is_open && in_table);
        }
        if !is_open {
            let key = trimmed.split(['=', ':', ' ']).next().unwrap_or_default();
            in_value = is_sensitive_path(key.trim_matches(['"', '\'']));
            depth = 0;
        }
        // A text over several lines can contain anything.
        lines.push(Line { start, is_sensitive: in_table || (is_open && in_value) || quotes % 2 == 1 });
        quotes += line.matches("\"\"\"").count() + line.matches("'''").count();
        if !trimmed.starts_with('[') || is_open {
            let count = |brackets: &[char]| i32::try_from(line.matches(brackets).count()).unwrap_or(0);
            depth = (depth + count(&['[', '{']) - count(&[']', '}'])).max(0);
        }
        start += line.len();
    }
    if lines.is_empty() || text.ends_with('\n') {
        let is_sensitive = in_table || quotes % 2 == 1;
        lines.push(Line { start, is_sensitive });
    }
    lines
}

/// The line as it is shown, with the bytes to underline at `at`. None: it may contain a secret.
pub(super) fn excerpt(text: &str, line: &Line, at: usize) -> Option<Excerpt> {
    let rest = &text[line.start..];
    let shown = rest.split('\n').next().unwrap_or(rest).trim_end_matches('\r');
    if line.is_sensitive || may_hold_secret(shown) {
        return None;
    }
    let start = at.saturating_sub(line.start).min(shown.len());
    Some(Excerpt { line: shown.to_owned(), span: token(shown, start) })
}

/// The bytes of the value or key that begins at this byte.
fn token(line: &str, start: usize) -> Range<usize> {
    let rest = &line[start..];
    let mut characters = rest.char_indices();
    let Some((_, first)) = characters.next() else {
        return start..start;
    };
    let (mut depth, mut quote) = (0, None);
    let end = match first {
        '"' | '\'' | '[' | '{' => {
            let mut is_escaped = false;
            rest.char_indices().find_map(|(at, character)| {
                match (quote, character) {
                    _ if is_escaped => is_escaped = false,
                    (Some('"'), '\\') => is_escaped = true,
                    (Some(open), _) if character == open => quote = None,
                    (Some(_), _) => {}
                    (None, '"' | '\'') => quote = Some(character),
                    (None, '[' | '{') => depth += 1,
                    (None, ']' | '}') => depth -= 1,
                    (None, _) => {}
                }
                (depth == 0 && quote.is_none()).then_some(at + character.len_utf8())
            })
        }
        _ => {
            // One part of a dotted key; a number with a dot is one value.
            let is_end = |c: char| " \t=:,]}#".contains(c) || (c == '.' && first.is_alphabetic());
            rest.find(is_end).filter(|end| *end > 0)
        }
    };
    // A value over several lines is underlined to the end of its first line.
    let whole = rest.trim_end().len().max(first.len_utf8());
    start..start + end.unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, needle: &str) -> Option<String> {
        let at = text.find(needle).unwrap();
        let lines = lines(text);
        let line = &lines[lines.partition_point(|line| line.start <= at) - 1];
        excerpt(text, line, at).map(|excerpt| excerpt.line[excerpt.span].to_owned())
    }

    #[test]
    fn value_is_underlined_to_its_end() {
        for (text, needle, expected) in [
            ("order = \"newst\" # why", "\"newst", "\"newst\""),
            ("tags = [\"a]\", 'b'] # c", "[", "[\"a]\", 'b']"),
            ("a = \"x\\\"y\" z", "\"x", "\"x\\\"y\""),
            ("ordr = 1", "ordr", "ordr"),
            ("interval = 5", "5", "5"),
            ("[projects.shop]\n", "[", "[projects.shop]"),
            ("deploy = [\n", "[", "["),
            ("{\"a\": {\"b\": true}}", "true", "true"),
            ("x = é", "é", "é"),
        ] {
            assert_eq!(shown(text, needle).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn line_that_may_hold_a_secret_is_left_out() {
        for text in [
            "token = \"@\"",
            "hook = { file = \"x\" }, secret = \"@\"",
            "url = \"https://ci:pw@@git.example.com\"",
            "url = \"https://hooks.example.com/services/T0/@/aB3dE6gH9jK2mN5pQ8sT\"",
            "command = [\"curl\", \"-H\", \"Authorization: Bearer @\"]",
            "[secrets]\nhook = \"@\"",
            "[projects.shop.stages.dev.deploy.headers]\nX-Auth = \"@\"",
            "headers = {\n  X-Auth = \"@\" }",
            "body = \"\"\"\n@\n\"\"\"",
            "[projects.shop.vars]\nkey = '@'",
        ] {
            assert_eq!(shown(text, "@"), None, "{text}");
        }
        for text in [
            "token = { file = \"x\" }\nkind = \"@\"",
            "[secrets]\nhook = { file = \"x\" }\n[projects.shop]\nimage = \"@\"",
            "headers = {\n  X-Auth = \"x\"\n}\norder = \"@\"",
            "url = \"https://git.example.com/@\"",
            "platforms = [\"@\"]",
        ] {
            assert!(shown(text, "@").is_some(), "{text}");
        }
    }
}
