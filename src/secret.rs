//! Where a credential comes from: resolved only when needed, once a run, and masked wherever text
//! leaves the program.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "secrets come from the environment, files and commands"
)]

mod mask;
mod source;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{Config, CredentialSetting, RegistryConfig, SecretSource};
use crate::target::Name;
use crate::target::template::SecretId;
use mask::Masks;

/// Every secret of a configuration, none of them read before it is asked for.
pub(crate) struct Secrets {
    named: BTreeMap<SecretId, Lazy>,
    registries: BTreeMap<Name, LazyCredential>,
    masks: Mutex<Masks>,
    environment_names: Vec<String>,
}

type Resolved<T> = Result<T, SecretError>;

struct Lazy {
    source: SecretSource,
    value: OnceLock<Resolved<SecretString>>,
}

/// Shared, so that waiting for one registry's secret does not keep others from theirs.
type LazyCredential = Arc<OnceLock<Resolved<Option<Credential>>>>;

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
    pub(crate) fn new(config: &Config) -> Secrets {
        let lazy = |source: &SecretSource| Lazy { source: source.clone(), value: OnceLock::new() };
        let of_registries = config.registries.values().filter_map(|registry| match &registry.credential {
            CredentialSetting::Source(source) => Some(source),
            CredentialSetting::Search | CredentialSetting::Anonymous => None,
        });
        let variables = config.secrets.values().chain(of_registries).filter_map(|source| match source {
            SecretSource::Env(name) => Some(name.clone()),
            _ => None,
        });
        let searched = config.registries.keys().map(variable_of);
        Secrets {
            named: config.secrets.iter().map(|(id, source)| (id.clone(), lazy(source))).collect(),
            registries: config
                .registries
                .keys()
                .map(|name| (name.clone(), LazyCredential::default()))
                .collect(),
            masks: Mutex::default(),
            environment_names: variables.chain(searched).collect(),
        }
    }

    /// The value of a secret, without one trailing newline.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        let Some(lazy) = self.named.get(id) else {
            return Err(SecretError(format!("there is no secret {id}")));
        };
        let resolve = || {
            let value = source::resolve(&lazy.source)
                .map_err(|error| SecretError(format!("the secret {id}: {error}")))?;
            self.learn(&value, None);
            Ok(value)
        };
        lazy.value.get_or_init(resolve).clone()
    }

    /// What to ask the registry with, or None for nobody's rights.
    ///
    /// # Errors
    /// The source that the configuration names does not have it.
    pub(crate) fn credential(&self, registry: &RegistryConfig) -> Result<Option<Credential>, SecretError> {
        let Some(lazy) = self.registries.get(&registry.name) else {
            return Ok(None);
        };
        lazy.get_or_init(|| {
            let token = token_of(registry)?;
            let credential = token.map(|token| Credential { username: registry.username.clone(), token });
            if let Some(credential) = &credential {
                self.learn(&credential.token, Some(credential));
            }
            Ok(credential)
        })
        .clone()
    }

    /// `text` with every value resolved so far replaced by `***`: raw, percent-encoded, JSON-escaped
    /// and as Basic credentials.
    pub(crate) fn mask(&self, text: &str) -> String {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner).mask(text)
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

    fn learn(&self, value: &SecretString, credential: Option<&Credential>) {
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        masks.add(value.expose_secret());
        if let Some(credential) = credential {
            masks.add_basic(
                credential.username.as_deref().unwrap_or("tagship"),
                credential.token.expose_secret(),
            );
        }
    }
}

fn token_of(registry: &RegistryConfig) -> Result<Option<SecretString>, SecretError> {
    let name = &registry.name;
    match &registry.credential {
        CredentialSetting::Anonymous => Ok(None),
        CredentialSetting::Source(source) => source::resolve(source)
            .map(Some)
            .map_err(|error| SecretError(format!("the token of the registry {name}: {error}"))),
        CredentialSetting::Search => {
            let variable = variable_of(name);
            if env::var_os(&variable).is_some() {
                return source::resolve(&SecretSource::Env(variable))
                    .map(Some)
                    .map_err(|error| SecretError(format!("the token of the registry {name}: {error}")));
            }
            // Looked for, not asked for: that there is no keyring is no fault.
            Ok(source::in_keyring(name.as_str()))
        }
    }
}

/// `TAGSHIP_TOKEN_MY_GIT` for `my-git`.
fn variable_of(name: &Name) -> String {
    format!("TAGSHIP_TOKEN_{}", name.as_str().to_ascii_uppercase().replace(['-', '.'], "_"))
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}
