//! Secrets and credentials: read only when needed, once a run, and masked in all text that leaves the
//! program.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "secrets come from the environment, files and commands"
)]

mod absent;
mod credential;
mod docker;
mod exposure;
mod keyring;
mod origin;
mod program;
mod source;
mod value;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{Config, CredentialSetting, RegistryConfig, SecretSource};
use crate::mask::{Cut, Masks, Redactor};
use crate::reference::Repository;
use crate::stop::Cutoff;
use crate::target::Name;
use crate::target::template::SecretId;
pub(crate) use absent::absent;
pub(crate) use credential::Credential;
use credential::Credentials;
pub(crate) use credential::variable_of;
pub(crate) use exposure::{exposed, without_entry};
pub(crate) use origin::origins;

/// Checks a token that was typed or piped in, and trims white space.
///
/// # Errors
/// It is empty, or not a valid token.
pub(crate) fn entered(text: &str) -> Result<SecretString, SecretError> {
    Ok(value::token(text, "the token")?)
}

/// Stores a credential in the keyring entry of the registry's name, where a registry without `token` looks for
/// it. Waits until the cutoff, because the keyring may ask for its password.
///
/// # Errors
/// The keyring does not answer; the text says what to use instead.
pub(crate) fn keep(registry: &Name, credential: &Credential, cutoff: &Cutoff) -> Result<(), SecretError> {
    let username = credential.username.as_deref();
    keyring::write(registry.as_str(), username, credential.token.expose_secret(), cutoff)
}

/// Why there is no keyring here, if that is known without asking it.
pub(crate) fn missing_keyring() -> Option<&'static str> {
    keyring::missing()
}

/// Removes the keyring entry; false: there was none.
///
/// # Errors
/// The keyring does not answer.
pub(crate) fn forget(registry: &Name) -> Result<bool, SecretError> {
    keyring::delete(registry.as_str())
}

/// The environment variable that takes precedence over the keyring.
pub(crate) fn variable_that_is_set(registry: &Name) -> Option<String> {
    Some(variable_of(registry)).filter(|variable| env::var_os(variable).is_some())
}

/// Every secret of a configuration. A secret is read when it is needed, or when the first text is masked.
pub(crate) struct Secrets {
    named: BTreeMap<SecretId, Lazy>,
    registries: BTreeMap<Name, Credentials>,
    masks: Mutex<Masks>,
    /// The sources of registry tokens: masked even in a run that does not contact that registry.
    tokens: Vec<SecretSource>,
    /// Whether every secret that can be read at once was read, to mask it.
    learned: Once,
    environment_names: Vec<String>,
    /// Programs that print a secret of `[secrets]` are stopped at the cutoff.
    cutoff: Cutoff,
}

type Resolved<T> = Result<T, SecretError>;

struct Lazy {
    source: SecretSource,
    value: OnceLock<Resolved<SecretString>>,
}

/// A secret that cannot be read: which one, from where, and what to do. Never contains its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SecretError {
    message: String,
    /// The run ended first, and nothing is known to be wrong with the secret.
    pub(crate) interrupted: bool,
}

impl SecretError {
    /// Adds whose secret it is.
    fn of(self, what: &str) -> SecretError {
        SecretError { message: format!("{what}: {}", self.message), ..self }
    }
}

impl From<String> for SecretError {
    fn from(message: String) -> Self {
        SecretError { message, interrupted: false }
    }
}

impl Secrets {
    /// The secrets of a configuration; reads none yet.
    pub(crate) fn new(config: &Config) -> Secrets {
        let lazy = |source: &SecretSource| Lazy { source: source.clone(), value: OnceLock::new() };
        let of_registries = config.registries.values().filter_map(|registry| match &registry.credential {
            CredentialSetting::Source(source) => Some(source),
            CredentialSetting::Search | CredentialSetting::Anonymous => None,
        });
        let tokens: Vec<SecretSource> = of_registries.cloned().collect();
        let variables = config.secrets.values().chain(&tokens).filter_map(|source| match source {
            SecretSource::Env(name) => Some(name.clone()),
            _ => None,
        });
        let searched = config.registries.keys().map(variable_of);
        let environment_names = variables.chain(searched).collect();
        Secrets {
            named: config.secrets.iter().map(|(id, source)| (id.clone(), lazy(source))).collect(),
            registries: config.registries.keys().map(|name| (name.clone(), Credentials::default())).collect(),
            masks: Mutex::default(),
            tokens,
            learned: Once::new(),
            environment_names,
            cutoff: Cutoff::default(),
        }
    }

    /// Sets the run's cutoff.
    pub(crate) fn until(self, cutoff: Cutoff) -> Secrets {
        Secrets { cutoff, ..self }
    }

    /// The value of a secret, without white space around it.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        let Some(lazy) = self.named.get(id) else {
            return Err(format!("unknown secret {id}").into());
        };
        let resolve = || {
            let value = source::resolve(&lazy.source, value::secret, &self.cutoff)
                .map_err(|error| error.of(&format!("the secret {id}")))?;
            self.learn(&value, None);
            Ok(value)
        };
        lazy.value.get_or_init(resolve).clone()
    }

    /// Uses this credential for the registry, instead of the configured source.
    pub(crate) fn with(config: &Config, registry: &RegistryConfig, credential: Credential) -> Secrets {
        let mut secrets = Secrets::new(config);
        secrets.learn(&credential.token, Some(&credential));
        secrets.registries.insert(registry.name.clone(), Credentials::known(credential));
        secrets
    }

    /// The credential of the registry; None: anonymous access. Waits until the cutoff.
    ///
    /// # Errors
    /// The configured source does not have it.
    pub(crate) fn credential(
        &self,
        registry: &RegistryConfig,
        cutoff: &Cutoff,
    ) -> Result<Option<Credential>, SecretError> {
        self.credential_for(registry, None, cutoff)
    }

    /// The credential for one repository: a docker configuration can have entries for single repositories.
    ///
    /// # Errors
    /// The configured source does not have it.
    pub(crate) fn credential_for(
        &self,
        registry: &RegistryConfig,
        repository: Option<&Repository>,
        cutoff: &Cutoff,
    ) -> Result<Option<Credential>, SecretError> {
        let Some(credentials) = self.registries.get(&registry.name) else {
            return Ok(None);
        };
        credentials.get(registry, repository, cutoff, |found| self.learn(&found.token, Some(found)))
    }

    /// The credential to use after a server rejected this one; None: there is no other. A program that prints
    /// it is run once more in a run.
    ///
    /// # Errors
    /// The program fails.
    pub(crate) fn renewed(
        &self,
        registry: &RegistryConfig,
        repository: Option<&Repository>,
        used: &Credential,
        cutoff: &Cutoff,
    ) -> Result<Option<Credential>, SecretError> {
        let Some(credentials) = self.registries.get(&registry.name) else {
            return Ok(None);
        };
        credentials.renew(registry, repository, used, cutoff, |found| self.learn(&found.token, Some(found)))
    }

    /// Masks a value that a server returned for a credential.
    pub(crate) fn hide(&self, token: &str) {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner).add(token);
    }

    /// `text` with every secret read so far replaced by `***`: raw, percent-encoded, JSON-escaped and as
    /// Basic credentials. For text that was not cut; see [`Redactor::redact`].
    pub(crate) fn mask(&self, text: &str) -> String {
        Redactor::mask(self, text)
    }

    /// The names of environment variables that contain secrets; deploy commands do not inherit them. Any
    /// variable with a secret's value is one of them.
    pub(crate) fn environment_names(&self) -> Vec<String> {
        let has_secret = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let value = value.to_str()?;
            (self.mask(value) != value).then(|| name.into_string().ok())?
        };
        self.environment_names.iter().cloned().chain(env::vars_os().filter_map(has_secret)).collect()
    }

    /// Reads every secret that needs no program. A command or an endpoint can print a secret that this run
    /// has not needed yet, so this happens before the first text is masked. An idle run masks nothing and
    /// reads none.
    fn learn_at_once(&self) {
        let is_quick = |source: &SecretSource| {
            matches!(source, SecretSource::Env(_) | SecretSource::File(_) | SecretSource::Credential(_))
        };
        self.learned.call_once(|| {
            for (id, _) in self.named.iter().filter(|(_, lazy)| is_quick(&lazy.source)) {
                // Its error is reported when it is needed.
                let _ = self.get(id);
            }
            for source in self.tokens.iter().filter(|source| is_quick(source)) {
                // Even one that no registry uses.
                if let Ok(token) = source::resolve(source, value::secret, &self.cutoff) {
                    self.learn(&token, None);
                }
            }
        });
    }

    fn learn(&self, value: &SecretString, credential: Option<&Credential>) {
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        masks.add(value.expose_secret());
        if let Some(credential) = credential {
            masks.add_pair(&credential.pair());
        }
    }
}

impl Default for Secrets {
    fn default() -> Secrets {
        Secrets {
            named: BTreeMap::new(),
            registries: BTreeMap::new(),
            masks: Mutex::default(),
            tokens: Vec::new(),
            learned: Once::new(),
            environment_names: Vec::new(),
            cutoff: Cutoff::default(),
        }
    }
}

impl Redactor for Secrets {
    fn find(&self, text: &str, cut: Cut) -> Vec<Range<usize>> {
        self.learn_at_once();
        self.masks.lock().unwrap_or_else(PoisonError::into_inner).find(text, cut)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_secrets() {
        let token = SecretString::from("planted-token");
        let credential = Credential { username: None, token: token.clone(), is_identity: false };
        let shown = format!("{token:?} {credential:?} {:?}", Some(&credential));
        assert!(!shown.contains("planted"), "{shown}");
    }
}
