//! What can be a secret, wherever it is read from.

use secrecy::SecretString;

use crate::file::OddText;

/// More than any secret.
pub(super) const LONGEST: usize = 64 * 1024;

/// How a value that was read is taken for a secret; with what errors call the place that it was read from.
pub(super) type Accept = fn(&str, &str) -> Result<SecretString, String>;

/// Any secret as it was read, without the white space around it, which editors and `echo` leave and people do not see.
/// A key can have several lines.
///
/// # Errors
/// There is nothing in it, or it is not plain text.
pub(super) fn secret(value: &str, place: &str) -> Result<SecretString, String> {
    plain(value, place, &['\t', '\n', '\r'], "a secret has no control characters but tabs and line breaks")
}

/// The same for the token of a registry, which no header takes with a line break in it.
///
/// # Errors
/// There is nothing in it, or it is not a line of plain text.
pub(super) fn token(value: &str, place: &str) -> Result<SecretString, String> {
    plain(value, place, &[], "a token has no control characters")
}

fn plain(value: &str, place: &str, allowed: &[char], rule: &str) -> Result<SecretString, String> {
    match OddText::of(value.as_bytes()) {
        Some(OddText::Marked) => return Err(format!("{place} begins with a byte order mark; remove it")),
        Some(OddText::Wide(name)) => return Err(format!("{place} is {name}, and tagship reads UTF-8")),
        None => {}
    }
    let value = value.trim();
    if value.is_empty() {
        return Err(format!("{place} is empty"));
    }
    match value.chars().find(|character| character.is_control() && !allowed.contains(character)) {
        Some(control) => Err(format!("{place} has {} in it, and {rule}", name_of_control(control))),
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
