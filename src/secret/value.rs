//! What can be a secret, wherever it is read from.

use secrecy::SecretString;

/// More than any secret.
pub(super) const LONGEST: u64 = 64 * 1024;

/// A value as it was read, without one trailing newline. `place`: as errors call where it was.
///
/// # Errors
/// There is nothing in it.
pub(super) fn accept(value: &str, place: &str) -> Result<SecretString, String> {
    let line = value.strip_suffix('\n').map_or(value, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(format!("{place} is empty"));
    }
    Ok(SecretString::from(line))
}
