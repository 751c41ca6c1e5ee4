//! Keeping values out of text: raw and in the forms that they take on their way.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

const MASK: &str = "***";

/// A shorter value would shred text that has nothing to do with it, and is no secret worth the name.
const SHORTEST: usize = 4;

/// The texts that are not to be seen, longest first.
#[derive(Default)]
pub(super) struct Masks(Vec<SecretString>);

impl Masks {
    /// Adds a value: as it is, line by line, percent-encoded and as JSON is written by those who answer.
    pub(super) fn add(&mut self, value: &str) {
        let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let mut forms = vec![
            value.to_owned(),
            json_escaped(value, |_| false),
            // Go writes what HTML would read, PHP slashes and, as Python, what is beyond ASCII.
            json_escaped(value, |character| "<>&\u{2028}\u{2029}".contains(character)),
            json_escaped(value, |character| !character.is_ascii()),
            json_escaped(value, |character| !character.is_ascii()).replace('/', "\\/"),
            percent_encoded(value, false),
            percent_encoded(value, true),
            encoded,
        ];
        forms.extend(value.lines().map(str::to_owned));
        self.extend(forms);
    }

    /// Adds what a user name and a token, `user:token`, are in a Basic header.
    pub(super) fn add_pair(&mut self, pair: &str) {
        self.extend(vec![STANDARD.encode(pair), STANDARD_NO_PAD.encode(pair)]);
    }

    fn extend(&mut self, forms: Vec<String>) {
        for form in forms {
            let is_known = self.0.iter().any(|known| known.expose_secret() == form);
            if form.len() >= SHORTEST && !is_known {
                self.0.push(SecretString::from(form));
            }
        }
        self.0.sort_by_key(|form| std::cmp::Reverse(form.expose_secret().len()));
    }

    pub(super) fn mask(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for form in &self.0 {
            if masked.contains(form.expose_secret()) {
                masked = masked.replace(form.expose_secret(), MASK);
            }
        }
        masked
    }
}

/// As it stands in a JSON string, these characters as `\u0026`.
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

/// Everything but RFC 3986's unreserved characters, in either case of hexadecimal digits.
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
            assert_eq!(masks.mask(&format!("<{text}>")), "<***>", "{text}");
        }
    }

    #[test]
    fn a_value_is_masked_as_other_languages_write_it_in_json() {
        let mut masks = Masks::default();
        masks.add("a<b>&/\"wörd 🔑\"");
        for text in [
            // Go, Python, PHP.
            r#"a\u003cb\u003e\u0026/\"wörd 🔑\""#,
            r#"a<b>&/\"w\u00f6rd \ud83d\udd11\""#,
            r#"a<b>&\/\"w\u00f6rd \ud83d\udd11\""#,
        ] {
            assert_eq!(masks.mask(&format!("<{text}>")), "<***>", "{text}");
        }
    }

    #[test]
    fn the_longest_value_goes_first_and_short_ones_are_left() {
        let mut masks = Masks::default();
        masks.add("secret");
        masks.add("secret-and-more");
        masks.add("a");
        assert_eq!(masks.mask("a secret-and-more, a secret"), "a ***, a ***");
    }

    #[test]
    fn each_line_of_a_value_is_masked() {
        let mut masks = Masks::default();
        masks.add("first-line\nsecond-line");
        assert_eq!(masks.mask("x second-line"), "x ***");
    }
}
