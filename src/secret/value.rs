//! Checks the values of secrets.

use secrecy::SecretString;

use crate::file::OddText;

/// More than any secret.
pub(super) const LONGEST: usize = 64 * 1024;

/// Checks a value, and makes it a secret. The text names its source in errors.
pub(super) type Accept = fn(&str, &str) -> Result<SecretString, String>;

/// Any secret, without the invisible white space that editors and `echo` leave around it. A key can have
/// several lines.
///
/// # Errors
/// It is empty, or not plain text.
pub(super) fn secret(value: &str, place: &str) -> Result<SecretString, String> {
    plain(
        value,
        place,
        &['\t', '\n', '\r'],
        "a secret may contain no control characters except tabs and line breaks",
    )
}

/// The token of a registry. It must fit into a header, so it may not contain line breaks.
///
/// # Errors
/// It is empty, or not one line of plain text.
pub(super) fn token(value: &str, place: &str) -> Result<SecretString, String> {
    plain(value, place, &[], "a token may contain no control characters")
}

fn plain(value: &str, place: &str, allowed: &[char], rule: &str) -> Result<SecretString, String> {
    match OddText::of(value.as_bytes()) {
        Some(OddText::Marked) => return Err(format!("{place} begins with a byte order mark; remove it")),
        Some(OddText::Wide(name)) => return Err(format!("{place} is {name}; tagship reads UTF-8")),
        None => {}
    }
    let value = value.trim();
    if value.is_empty() {
        return Err(format!("{place} is empty"));
    }
    match value.chars().find(|character| character.is_control() && !allowed.contains(character)) {
        Some(control) => Err(format!("{place} contains {}; {rule}", name_of_control(control))),
        None => Ok(SecretString::from(value)),
    }
}

fn name_of_control(character: char) -> String {
    match character {
        '\0' => "a NUL".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' => "a line feed".to_owned(),
        '\r' => "a carriage return".to_owned(),
        other => format!("the control character U+{:04X}", u32::from(other)),
    }
}
