//! Where a credential comes from: resolved only when needed, once a run, and masked wherever text
//! leaves the program.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "secrets come from the environment, files and commands"
)]

use secrecy::SecretString;

use crate::config::{Config, RegistryConfig};
use crate::target::template::SecretId;

/// Every secret of a configuration.
pub(crate) struct Secrets;

/// What a registry is asked with.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) username: Option<String>,
    pub(crate) token: SecretString,
}

/// A secret that cannot be had: which one, from where, and what to do. Never its value.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SecretError(pub(crate) String);

impl Secrets {
    /// Takes the sources of `[secrets]` and of the registries; resolves nothing yet.
    pub(crate) fn new(_config: &Config) -> Secrets {
        Secrets
    }

    /// The value of a secret, without one trailing newline.
    pub(crate) fn get(&self, _id: &SecretId) -> Result<SecretString, SecretError> {
        Err(SecretError(String::new()))
    }

    /// What to ask the registry with, or None for nobody's rights.
    pub(crate) fn credential(&self, _registry: &RegistryConfig) -> Result<Option<Credential>, SecretError> {
        Ok(None)
    }

    /// `text` with every value resolved so far replaced by `***`: raw, percent-encoded, JSON-escaped
    /// and as Basic credentials.
    pub(crate) fn mask(&self, text: &str) -> String {
        text.to_owned()
    }

    /// Names of environment variables that hold secrets: a deploy command does not inherit them.
    pub(crate) fn environment_names(&self) -> Vec<String> {
        Vec::new()
    }
}
