//! Where a credential comes from: resolved only when needed, once a run, and masked wherever text
//! leaves the program.
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
mod mask;
mod origin;
mod outside;
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
use crate::reference::Repository;
use crate::stop::Cutoff;
use crate::target::Name;
use crate::target::template::SecretId;
pub(crate) use absent::absent;
pub(crate) use credential::Credential;
use credential::Credentials;
pub(crate) use credential::variable_of;
pub(crate) use exposure::{exposed, without_entry};
pub(crate) use mask::{Cut, Masks};
pub(crate) use origin::origins;
pub(crate) use outside::{Masked, Outside, Redactor};

/// Takes a token that was typed or piped in, without the white space around it.
///
/// # Errors
/// It is empty, or no token.
pub(crate) fn entered(text: &str) -> Result<SecretString, SecretError> {
    Ok(value::token(text, "the token")?)
}

/// Puts a credential where the search for a registry without `token` finds it: the keyring's entry of its name. Someone
/// may have to type the keyring's password; that is waited for until the cutoff.
///
/// # Errors
/// The keyring cannot be asked; the text says what to use instead.
pub(crate) fn keep(registry: &Name, credential: &Credential, cutoff: &Cutoff) -> Result<(), SecretError> {
    let username = credential.username.as_deref();
    keyring::write(registry.as_str(), username, credential.token.expose_secret(), cutoff)
}

/// Why this program can have no keyring here, if that is known before it is asked.
pub(crate) fn missing_keyring() -> Option<&'static str> {
    keyring::missing()
}

/// Takes it away again; false: there was none.
///
/// # Errors
/// The keyring cannot be asked.
pub(crate) fn forget(registry: &Name) -> Result<bool, SecretError> {
    keyring::delete(registry.as_str())
}

/// The environment variable that goes before the keyring, where it is set.
pub(crate) fn variable_that_is_set(registry: &Name) -> Option<String> {
    Some(variable_of(registry)).filter(|variable| env::var_os(variable).is_some())
}

/// Every secret of a configuration. None is read before it is needed, or some text is masked.
pub(crate) struct Secrets {
    named: BTreeMap<SecretId, Lazy>,
    registries: BTreeMap<Name, Credentials>,
    masks: Mutex<Masks>,
    /// Sources of registries' tokens: masked also in a run that does not ask that registry.
    tokens: Vec<SecretSource>,
    /// Whether what can be read at once was read, for its mask.
    learned: Once,
    environment_names: Vec<String>,
    /// Programs that give a secret of `[secrets]` are not waited for beyond it.
    cutoff: Cutoff,
}

type Resolved<T> = Result<T, SecretError>;

struct Lazy {
    source: SecretSource,
    value: OnceLock<Resolved<SecretString>>,
}

/// A secret that cannot be had: which one, from where, and what to do. Never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SecretError {
    message: String,
    /// The run ended first: nothing is known to be wrong with the secret.
    pub(crate) interrupted: bool,
}

impl SecretError {
    /// The same, naming whose it is.
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
    /// Takes the sources of `[secrets]` and of the registries; resolves nothing yet.
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

    /// The same, in a run that ends then.
    pub(crate) fn until(self, cutoff: Cutoff) -> Secrets {
        Secrets { cutoff, ..self }
    }

    /// The value of a secret, without the white space around it.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        let Some(lazy) = self.named.get(id) else {
            return Err(format!("there is no secret {id}").into());
        };
        let resolve = || {
            let value = source::resolve(&lazy.source, value::secret, &self.cutoff)
                .map_err(|error| error.of(&format!("the secret {id}")))?;
            self.learn(&value, None);
            Ok(value)
        };
        lazy.value.get_or_init(resolve).clone()
    }

    /// The same, but this registry is asked with this, wherever the configuration looks for it.
    pub(crate) fn with(config: &Config, registry: &RegistryConfig, credential: Credential) -> Secrets {
        let mut secrets = Secrets::new(config);
        secrets.learn(&credential.token, Some(&credential));
        secrets.registries.insert(registry.name.clone(), Credentials::known(credential));
        secrets
    }

    /// What to ask the registry with, or None for nobody's rights. Waited for until the cutoff.
    ///
    /// # Errors
    /// The source that the configuration names does not have it.
    pub(crate) fn credential(
        &self,
        registry: &RegistryConfig,
        cutoff: &Cutoff,
    ) -> Result<Option<Credential>, SecretError> {
        self.credential_for(registry, None, cutoff)
    }

    /// What to ask about one repository: a docker configuration can have entries of their own for some.
    ///
    /// # Errors
    /// The source that the configuration names does not have it.
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

    /// What to ask with after a server did not take this credential (any more); None: there is no other. A program that
    /// gives it is asked once more a run.
    ///
    /// # Errors
    /// The program does not have it.
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

    /// Keeps out of all text what a server gave for a credential.
    pub(crate) fn hide(&self, token: &str) {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner).add(token);
    }

    /// `text` with every value resolved so far replaced by `***`: raw, percent-encoded, JSON-escaped
    /// and as Basic credentials. For text that was not cut; see [`Redactor::redact`].
    pub(crate) fn mask(&self, text: &str) -> String {
        Redactor::mask(self, text)
    }

    /// Names of environment variables that hold secrets: a deploy command does not inherit them.
    /// Whatever its name, a variable with a secret's value is one of them.
    pub(crate) fn environment_names(&self) -> Vec<String> {
        let has_secret = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let value = value.to_str()?;
            (self.mask(value) != value).then(|| name.into_string().ok())?
        };
        self.environment_names.iter().cloned().chain(env::vars_os().filter_map(has_secret)).collect()
    }

    /// Reads every secret that is read at once and starts nothing. A command or an endpoint can print one that this run
    /// has not needed yet, so this comes before the first text is masked. An idle run masks nothing and reads none.
    fn learn_at_once(&self) {
        let is_quick = |source: &SecretSource| {
            matches!(source, SecretSource::Env(_) | SecretSource::File(_) | SecretSource::Credential(_))
        };
        self.learned.call_once(|| {
            for (id, _) in self.named.iter().filter(|(_, lazy)| is_quick(&lazy.source)) {
                // Why it cannot be had is said where it is needed.
                let _ = self.get(id);
            }
            for source in self.tokens.iter().filter(|source| is_quick(source)) {
                // Also one that no registry would be asked with.
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
    fn what_holds_secrets_shows_nothing_of_them() {
        let token = SecretString::from("planted-token");
        let credential = Credential { username: None, token: token.clone(), is_identity: false };
        let shown = format!("{token:?} {credential:?} {:?}", Some(&credential));
        assert!(!shown.contains("planted"), "{shown}");
    }
}
