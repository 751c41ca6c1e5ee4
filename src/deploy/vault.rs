//! What a deployment wants of the configuration's secrets.

use secrecy::SecretString;

use crate::secret::{SecretError, Secrets};
use crate::target::template::SecretId;

/// Gives out secrets, and keeps them out of what leaves the program.
pub(super) trait Vault {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError>;
    /// `text` with every value given out so far replaced by `***`.
    fn mask(&self, text: &str) -> String;
    /// Environment variables that a command does not inherit.
    fn environment_names(&self) -> Vec<String>;
}

impl Vault for Secrets {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        Secrets::get(self, id)
    }

    fn mask(&self, text: &str) -> String {
        Secrets::mask(self, text)
    }

    fn environment_names(&self) -> Vec<String> {
        Secrets::environment_names(self)
    }
}
