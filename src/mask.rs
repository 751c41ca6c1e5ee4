//! Masks secrets in text: raw, and in the forms in which they are sent.

mod outside;

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Position, Url};

pub(crate) use outside::{Masked, Outside, Redactor};

const MASK: &str = "***";

/// A shorter value would be masked in unrelated text, and is too short for a secret.
const SHORTEST: usize = 4;

/// A value from a server may be a number or a word. A shorter one is not treated as a credential.
const SHORTEST_LEARNED: usize = 8;

/// Where a text was cut: a secret at the cut may be incomplete.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cut {
    before: bool,
    behind: bool,
}

/// The texts to mask, longest first.
#[derive(Default)]
pub(crate) struct Masks(Vec<SecretString>);

impl Masks {
    /// Adds a value: as it is, line by line, percent-encoded, escaped in JSON, as a part of a URL, and, if it
    /// is a URL, its parts.
    pub(crate) fn add(&mut self, value: &str) {
        let mut forms = written(value);
        forms.extend(value.lines().map(str::to_owned));
        if value.len() >= SHORTEST_LEARNED {
            forms.extend(in_base64(value));
        }
        forms.extend(in_url(value));
        for part in of_url(value) {
            forms.extend(written(&part));
        }
        self.extend(forms);
    }

    /// Adds a value of a response that is used as a credential, unless it is too short.
    pub(crate) fn add_learned(&mut self, value: &str) {
        if value.len() >= SHORTEST_LEARNED {
            self.add(value);
        }
    }

    /// Adds the Basic header of `user:token`.
    pub(crate) fn add_pair(&mut self, pair: &str) {
        self.extend(basic(pair));
    }

    fn extend(&mut self, forms: impl IntoIterator<Item = String>) {
        for form in forms {
            let is_known = self.0.iter().any(|known| known.expose_secret() == form);
            if form.len() >= SHORTEST && !is_known {
                self.0.push(SecretString::from(form));
            }
        }
        self.0.sort_by_key(|form| std::cmp::Reverse(form.expose_secret().len()));
    }

    /// The ranges of values in a text, and of possible parts of one at a cut. Ranges may overlap.
    pub(crate) fn find(&self, text: &str, cut: Cut) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for form in self.0.iter().map(SecretString::expose_secret) {
            let first = form.chars().next().map_or(1, char::len_utf8);
            let mut from = 0;
            while let Some(at) = text[from..].find(form) {
                let start = from + at;
                found.push(start..start + form.len());
                from = start + first;
            }
            let mut inner = (1..form.len()).filter(|at| form.is_char_boundary(*at));
            if cut.before
                && let Some(at) = inner.clone().find(|at| text.starts_with(&form[*at..]))
            {
                found.push(0..form.len() - at);
            }
            if cut.behind
                && let Some(at) = inner.rfind(|at| text.ends_with(&form[..*at]))
            {
                found.push(text.len() - at..text.len());
            }
        }
        found
    }
}

/// The text with `***` in place of each range; overlapping ranges are merged.
fn covered(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| range.start);
    let mut covered = String::with_capacity(text.len());
    let mut shown = 0;
    let mut ranges = ranges.into_iter().peekable();
    while let Some(mut range) = ranges.next() {
        while let Some(next) = ranges.next_if(|next| next.start < range.end) {
            range.end = range.end.max(next.end);
        }
        covered.push_str(&text[shown..range.start]);
        covered.push_str(MASK);
        shown = range.end;
    }
    covered.push_str(&text[shown..]);
    covered
}

/// The encodings in which a server may repeat a text.
fn written(value: &str) -> Vec<String> {
    vec![
        value.to_owned(),
        json_escaped(value, |_| false),
        // Go escapes characters of HTML; PHP escapes slashes; PHP and Python escape non-ASCII characters.
        json_escaped(value, |character| "<>&\u{2028}\u{2029}".contains(character)),
        json_escaped(value, |character| !character.is_ascii()),
        json_escaped(value, |character| !character.is_ascii()).replace('/', "\\/"),
        percent_encoded(value, false),
        percent_encoded(value, true),
        url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
    ]
}

/// The part of its Base64 that does not depend on the text around it, such as the user name of Basic
/// credentials.
fn in_base64(value: &str) -> [String; 3] {
    [0, 1, 2].map(|shift| {
        let encoded = STANDARD_NO_PAD.encode([&b"  "[..shift], value.as_bytes()].concat());
        // The first and last characters contain bits of the text around it.
        let start = [0, 2, 3][shift];
        encoded[start..encoded.len() - 1].to_owned()
    })
}

fn basic(pair: &str) -> [String; 2] {
    [STANDARD.encode(pair), STANDARD_NO_PAD.encode(pair)]
}

/// The value in a path and in a query, with the characters that the URL parser rewrites.
fn in_url(value: &str) -> Vec<String> {
    let parsed = |before: &str| {
        let url = Url::parse(&format!("http://h{before}{value}")).ok()?;
        url[Position::BeforePath..Position::AfterQuery].strip_prefix(before).map(str::to_owned)
    };
    ["/", "/?"].into_iter().filter_map(parsed).collect()
}

/// The parts of a secret URL: the URL as it is sent, its path and query, its user and password and their
/// Basic credentials, and the values of its query. None: the text is not a URL.
fn of_url(value: &str) -> Vec<String> {
    let Some(url) = Url::parse(value.trim()).ok().filter(Url::has_host) else {
        return Vec::new();
    };
    let mut parts = vec![url.as_str().to_owned(), url[..Position::AfterQuery].to_owned()];
    let mut add_long = |part: &str| {
        if part.len() >= SHORTEST_LEARNED {
            parts.push(part.to_owned());
        }
    };
    add_long(&url[Position::BeforePath..Position::AfterQuery]);
    add_long(url.path());
    url.query_pairs().for_each(|(_, value)| add_long(&value));
    add_long(&decoded(url.username()));
    let (username, password) = (url.username(), url.password().unwrap_or_default());
    if !username.is_empty() || !password.is_empty() {
        for pair in [format!("{username}:{password}"), format!("{}:{}", decoded(username), decoded(password))]
        {
            parts.extend(basic(&pair));
            parts.push(pair);
        }
        parts.extend([password.to_owned(), decoded(password)]);
    }
    parts
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The text in a JSON string, with these characters as `\u0026`.
fn json_escaped(value: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let json = serde_json::Value::from(value).to_string();
    let mut escaped = String::with_capacity(json.len());
    for character in json[1..json.len() - 1].chars() {
        if is_escaped(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Encodes everything but RFC 3986's unreserved characters, with hexadecimal digits in upper and in lower
/// case.
fn percent_encoded(value: &str, lower: bool) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else if lower {
            encoded.push_str(&format!("%{byte:02x}"));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(masks: &Masks, text: &str) -> String {
        covered(text, masks.find(text, Cut::default()))
    }

    #[test]
    fn a_value_is_masked_in_every_form() {
        let mut masks = Masks::default();
        masks.add("pa ss/\"wörd");
        masks.add_pair("ci:token-1234");
        for text in [
            "pa ss/\"wörd",
            "pa ss/\\\"wörd",
            "pa%20ss%2F%22w%C3%B6rd",
            "pa%20ss%2f%22w%c3%b6rd",
            "pa+ss%2F%22w%C3%B6rd",
            &STANDARD.encode("ci:token-1234"),
        ] {
            assert_eq!(mask(&masks, &format!("<{text}>")), "<***>", "{text}");
        }
    }

    #[test]
    fn value_is_masked_as_other_languages_escape_it_in_json() {
        let mut masks = Masks::default();
        masks.add("a<b>&/\"wörd 🔑\"");
        for text in [
            // Go, Python, PHP.
            r#"a\u003cb\u003e\u0026/\"wörd 🔑\""#,
            r#"a<b>&/\"w\u00f6rd \ud83d\udd11\""#,
            r#"a<b>&\/\"w\u00f6rd \ud83d\udd11\""#,
        ] {
            assert_eq!(mask(&masks, &format!("<{text}>")), "<***>", "{text}");
        }
    }

    #[test]
    fn longest_value_is_masked_first_and_short_ones_are_not() {
        let mut masks = Masks::default();
        masks.add("secret");
        masks.add("secret-and-more");
        masks.add("a");
        assert_eq!(mask(&masks, "a secret-and-more, a secret"), "a ***, a ***");
    }

    #[test]
    fn each_line_of_a_value_is_masked() {
        let mut masks = Masks::default();
        masks.add("first-line\nsecond-line");
        assert_eq!(mask(&masks, "x second-line"), "x ***");
    }

    #[test]
    fn overlapping_values_are_masked_entirely() {
        let mut masks = Masks::default();
        masks.add("k7Qw2xVb");
        masks.add("2xVb9LmT");
        masks.add("abcabc");
        assert_eq!(mask(&masks, "<k7Qw2xVb9LmT> abcabcabc"), "<***> ***");
    }

    #[test]
    fn part_of_a_value_is_masked_only_at_a_cut() {
        let mut masks = Masks::default();
        masks.add("k7Qw2xVb9LmT");
        let found = |text: &str, before, behind| covered(text, masks.find(text, Cut { before, behind }));
        assert_eq!(found("a k7Qw", false, true), "a ***");
        assert_eq!(found("a k", false, true), "a ***");
        assert_eq!(found("a k7Qw", true, false), "a k7Qw");
        assert_eq!(found("9LmT b", true, false), "*** b");
        assert_eq!(found("T k7Qw2xVb9LmT k", true, true), "*** *** ***");
        assert_eq!(found("Qw2x", true, true), "Qw2x", "a value is longer than the text between two cuts");
    }

    /// The URL parser rewrites some characters, and a URL has parts.
    #[test]
    fn a_secret_url_is_masked_as_it_is_sent_and_in_its_parts() {
        let mut masks = Masks::default();
        masks.add(r"https://robot:k7%20Qw2x@h.example.com\hooks\Vb9LmT?key=4nRc8ZpD#x");
        for text in [
            "https://robot:k7%20Qw2x@h.example.com/hooks/Vb9LmT?key=4nRc8ZpD",
            "/hooks/Vb9LmT?key=4nRc8ZpD",
            "/hooks/Vb9LmT",
            "4nRc8ZpD",
            "k7%20Qw2x",
            "k7 Qw2x",
            "robot:k7 Qw2x",
            &STANDARD.encode("robot:k7 Qw2x"),
            &STANDARD.encode("robot:k7%20Qw2x"),
        ] {
            assert_eq!(mask(&masks, &format!("<{text}>")), "<***>", "{text}");
        }
        assert_eq!(mask(&masks, "robot h.example.com key"), "robot h.example.com key");
        let mut masks = Masks::default();
        masks.add(r#"k7\Qw "2xü"#);
        for text in ["k7/Qw%20%222x%C3%BC", "k7\\Qw%20%222x%C3%BC"] {
            assert_eq!(mask(&masks, &format!("<{text}>")), "<***>", "{text}");
        }
    }

    #[test]
    fn a_value_is_masked_in_basic_credentials_of_any_user() {
        let mut masks = Masks::default();
        masks.add("k7Qw2xVb9LmT");
        for user in ["", "a", "ci", "bot"] {
            let shown = mask(&masks, &STANDARD.encode(format!("{user}:k7Qw2xVb9LmT!")));
            assert!(shown.contains("***") && shown.len() <= user.len() + 10, "{user}: {shown}");
        }
    }

    #[test]
    fn short_value_of_a_response_is_not_a_credential() {
        let mut masks = Masks::default();
        ["1", "true", "1234567", "k7Qw2xVb"].into_iter().for_each(|value| masks.add_learned(value));
        assert_eq!(mask(&masks, "1 true 1234567 k7Qw2xVb"), "1 true 1234567 ***");
    }
}
