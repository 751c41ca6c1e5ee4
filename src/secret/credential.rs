//! The credentials of registries, each looked up once a run.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::docker::{CredentialPlace, DockerConfig, HUB};
use super::value::token;
use super::{SecretError, keyring, source};
use crate::config::{CredentialSetting, Location, RegistryConfig, RegistryKind, SecretSource, host};
use crate::reference::Repository;
use crate::stop::Cutoff;
use crate::target::Name;

/// The credential of a registry.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) username: Option<String>,
    pub(crate) token: SecretString,
    /// Whether the token is only for the token server (`identitytoken` in docker's files): it is never sent
    /// as a password.
    pub(crate) is_identity: bool,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

impl Credential {
    /// The `Authorization` header: `Basic …`. Servers that check only the token accept any user name.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(self.pair()))
    }

    /// `user:token`
    pub(super) fn pair(&self) -> String {
        format!("{}:{}", self.username.as_deref().unwrap_or("tagship"), self.token.expose_secret())
    }
}

type Resolved = Result<Option<Credential>, SecretError>;
/// Shared, so that waiting for one secret does not block others.
type Lazy = Arc<OnceLock<Resolved>>;

/// The credential of one registry, or those of its repositories, if a docker configuration has entries for
/// them.
#[derive(Default)]
pub(super) struct Credentials {
    docker: OnceLock<Result<DockerConfig, String>>,
    /// By place. A source other than a docker configuration has one credential, at
    /// [`CredentialPlace::Nowhere`].
    found: Mutex<BTreeMap<CredentialPlace, Lookup>>,
}

/// A credential and its lookup.
#[derive(Default)]
struct Lookup {
    lazy: Lazy,
    /// It is not looked up again in this run.
    is_last: bool,
}

impl Credentials {
    /// A credential that is already known.
    pub(super) fn known(credential: Credential) -> Credentials {
        let lazy = Lazy::new(OnceLock::from(Ok(Some(credential))));
        let found = BTreeMap::from([(CredentialPlace::Nowhere, Lookup { lazy, is_last: true })]);
        Credentials { docker: OnceLock::new(), found: Mutex::new(found) }
    }

    /// Looks it up at the first call, and passes it to `learn`.
    pub(super) fn get(
        &self,
        registry: &RegistryConfig,
        repository: Option<&Repository>,
        cutoff: &Cutoff,
        learn: impl FnOnce(&Credential),
    ) -> Resolved {
        let (docker, place) = self.place(registry, repository)?;
        let lazy = Arc::clone(&self.found().entry(place.clone()).or_default().lazy);
        lazy.get_or_init(|| {
            let found = match docker {
                Some(docker) => docker.credential(&place, cutoff),
                None => find(registry, cutoff),
            };
            let found = found.map_err(|error| of(registry, error))?;
            found.as_ref().map(learn);
            Ok(found)
        })
        .clone()
    }

    /// The credential that replaces one that a server rejects: a token from a program can expire during a
    /// run. Looked up once a run; None: there is no other.
    pub(super) fn renew(
        &self,
        registry: &RegistryConfig,
        repository: Option<&Repository>,
        used: &Credential,
        cutoff: &Cutoff,
        learn: impl FnOnce(&Credential),
    ) -> Resolved {
        let (_, place) = self.place(registry, repository)?;
        let is_command =
            matches!(registry.credential, CredentialSetting::Source(SecretSource::Command { .. }));
        if !is_command && !matches!(place, CredentialPlace::Helper { .. }) {
            return Ok(None);
        }
        let is_used = |found: &Credential| found.token.expose_secret() == used.token.expose_secret();
        {
            let mut found = self.found();
            let current = found.entry(place).or_default();
            // Another thread may have renewed it.
            if let Some(Ok(Some(known))) = current.lazy.get()
                && is_used(known)
            {
                if current.is_last {
                    return Ok(None);
                }
                *current = Lookup { lazy: Lazy::default(), is_last: true };
            }
        }
        let renewed = self.get(registry, repository, cutoff, learn)?;
        Ok(renewed.filter(|renewed| !is_used(renewed)))
    }

    /// Where the credential is, and the docker configuration that contains it.
    fn place(
        &self,
        registry: &RegistryConfig,
        repository: Option<&Repository>,
    ) -> Result<(Option<&DockerConfig>, CredentialPlace), SecretError> {
        let CredentialSetting::Source(SecretSource::DockerConfig(path)) = &registry.credential else {
            return Ok((None, CredentialPlace::Nowhere));
        };
        let config = self.docker(path).map_err(|error| of(registry, error.into()))?;
        Ok((Some(config), config.place(&docker_host(registry), repository.map(Repository::as_str))))
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<CredentialPlace, Lookup>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn docker(&self, path: &Path) -> Result<&DockerConfig, String> {
        self.docker.get_or_init(|| DockerConfig::read(path)).as_ref().map_err(Clone::clone)
    }
}

fn of(registry: &RegistryConfig, error: SecretError) -> SecretError {
    error.of(&format!("the token of the registry {}", registry.name))
}

fn find(registry: &RegistryConfig, cutoff: &Cutoff) -> Result<Option<Credential>, SecretError> {
    let credential =
        |token: SecretString| Credential { username: registry.username.clone(), token, is_identity: false };
    let of_entry = |entry: keyring::KeyringEntry| Credential {
        username: registry.username.clone().or(entry.username),
        token: entry.token,
        is_identity: false,
    };
    match &registry.credential {
        CredentialSetting::Anonymous => Ok(None),
        CredentialSetting::Source(SecretSource::Keyring(name)) => {
            keyring::read(name, token, cutoff).map(of_entry).map(Some)
        }
        CredentialSetting::Source(source) => source::resolve(source, token, cutoff).map(credential).map(Some),
        CredentialSetting::Search => {
            let variable = variable_of(&registry.name);
            if env::var_os(&variable).is_some() {
                return source::resolve(&SecretSource::Env(variable), token, cutoff)
                    .map(credential)
                    .map(Some);
            }
            Ok(keyring::search(registry.name.as_str(), cutoff)?.map(of_entry))
        }
    }
}

/// The registry's name in a docker configuration: its host, and its port if that is not the default.
pub(super) fn docker_host(registry: &RegistryConfig) -> String {
    match &registry.location {
        _ if registry.kind == RegistryKind::Dockerhub => HUB.to_owned(),
        Location::Url(url) => host(url),
        Location::Folder(_) => String::new(),
    }
}

/// `TAGSHIP_TOKEN_MY_GIT` for `my-git`.
pub(crate) fn variable_of(name: &Name) -> String {
    format!("TAGSHIP_TOKEN_{}", name.as_str().to_ascii_uppercase().replace(['-', '.'], "_"))
}
