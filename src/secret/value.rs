//! What can be a secret, wherever it is read from.

use secrecy::SecretString;

/// More than any secret.
pub(super) const LONGEST: usize = 64 * 1024;

/// A value as it was read, without the white space around it, which editors and `echo` leave and people do not see.
/// `place`: as errors call where it was.
///
/// # Errors
/// There is nothing in it, or a byte order mark in front.
pub(super) fn accept(value: &str, place: &str) -> Result<SecretString, String> {
    if value.starts_with('\u{feff}') {
        return Err(format!("{place} begins with a byte order mark; remove it"));
    }
    let value = value.trim();
    if value.is_empty() {
        return Err(format!("{place} is empty"));
    }
    Ok(SecretString::from(value))
}
