//! Entries of the Secret Service: the service is `tagship`, the user name is the entry's name. Runs in its
//! own thread, because a bus socket without a reader blocks forever.

use secrecy::SecretString;

use super::SecretError;
#[cfg(feature = "keyring")]
use super::value::{Accept, token};
#[cfg(feature = "keyring")]
use crate::stop::Cutoff;

/// What `tagship login` stores.
pub(super) struct KeyringEntry {
    /// For registries that need one.
    pub(super) username: Option<String>,
    pub(super) token: SecretString,
}

#[cfg(feature = "keyring")]
mod service {
    use std::collections::HashMap;
    use std::env;
    use std::path::Path;
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::thread;
    use std::time::{Duration, Instant};

    use keyring::v1::{Entry, Error};
    use secrecy::zeroize::Zeroizing;

    use crate::stop::{Cutoff, TICK};

    /// For reading: under cron no person can unlock the keyring, but a busy machine takes seconds to answer.
    pub(super) const PATIENCE: Duration = Duration::from_secs(5);
    /// For writing: the keyring may ask for its password.
    pub(super) const PATIENCE_WITH_PEOPLE: Duration = Duration::from_secs(60);
    /// The attribute for the user name at the registry (`username` is the entry's name).
    const LOGIN: &str = "login";

    pub(super) enum KeyringError {
        NoEntry,
        /// The keyring is unavailable, or does not answer.
        Unusable(String),
        /// tagship was told to stop.
        CutShort,
    }

    pub(super) type StoredSecret = (Zeroizing<String>, Option<String>);

    pub(super) fn read(name: &str, cutoff: &Cutoff) -> Result<StoredSecret, KeyringError> {
        ask(name, PATIENCE, cutoff, |entry| {
            let value = Zeroizing::new(entry.get_password()?);
            Ok((value, entry.inner.get_attributes()?.remove(LOGIN).filter(|login| !login.is_empty())))
        })
    }

    pub(super) fn write(
        name: &str,
        username: Option<&str>,
        token: &str,
        cutoff: &Cutoff,
    ) -> Result<(), KeyringError> {
        let (token, username) = (Zeroizing::new(token.to_owned()), username.unwrap_or_default().to_owned());
        ask(name, PATIENCE_WITH_PEOPLE, cutoff, move |entry| {
            entry.set_password(&token)?;
            entry.inner.update_attributes(&HashMap::from([(LOGIN, username.as_str())]))
        })
    }

    pub(super) fn delete(name: &str) -> Result<(), KeyringError> {
        ask(name, PATIENCE_WITH_PEOPLE, &Cutoff::default(), |entry| entry.delete_credential())
    }

    /// Why this session has no keyring: the environment names no session bus.
    pub(in crate::secret) fn missing() -> Option<&'static str> {
        let named = env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some()
            || env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("bus").exists());
        (!named).then_some("the environment names no session bus")
    }

    fn ask<T: Send + 'static>(
        name: &str,
        patience: Duration,
        cutoff: &Cutoff,
        question: impl FnOnce(&Entry) -> keyring::v1::Result<T> + Send + 'static,
    ) -> Result<T, KeyringError> {
        let (sender, receiver) = channel();
        let name = name.to_owned();
        let asked = thread::Builder::new().spawn(move || {
            let answer = Entry::new("tagship", &name).and_then(|entry| question(&entry));
            let _ = sender.send(answer.map_err(|error| match (error, Entry::store_status(), missing()) {
                (Error::NoEntry, ..) => KeyringError::NoEntry,
                // The client's own error does not say that there is no session bus.
                (_, _, Some(reason)) => KeyringError::Unusable(reason.to_owned()),
                (Error::NoDefaultStore, Err(cause), None) => KeyringError::Unusable(cause.to_string()),
                (error, ..) => KeyringError::Unusable(error.to_string()),
            }));
        });
        asked.map_err(|error| KeyringError::Unusable(format!("could not start a thread: {error}")))?;
        let begun = Instant::now();
        let why = loop {
            match receiver.recv_timeout(TICK.min(patience)) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => break "no answer".to_owned(),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() >= patience => {
                    break format!("no answer within {patience:?}; is it locked?");
                }
                Err(RecvTimeoutError::Timeout) if cutoff.is_signalled() => {
                    return Err(KeyringError::CutShort);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        Err(KeyringError::Unusable(why))
    }
}

#[cfg(feature = "keyring")]
impl service::KeyringError {
    fn of(self, name: &str) -> SecretError {
        let message = match self {
            service::KeyringError::CutShort => {
                let message = format!("gave up waiting for the keyring: {}", crate::stop::CutShort);
                return SecretError { message, interrupted: true };
            }
            service::KeyringError::NoEntry => format!(
                "the keyring has no entry {name} of tagship; to add one for a registry: tagship login; for any other secret: secret-tool store --label tagship service tagship username {name}"
            ),
            service::KeyringError::Unusable(cause) => format!(
                "the keyring is not available ({cause}); cron has no session bus: keep the token in a file or a systemd credential"
            ),
        };
        message.into()
    }
}

#[cfg(feature = "keyring")]
pub(super) use service::missing;

/// An entry named in the configuration.
///
/// # Errors
/// There is no such entry, or no keyring; the text says what to use instead.
#[cfg(feature = "keyring")]
pub(super) fn read(name: &str, accept: Accept, cutoff: &Cutoff) -> Result<KeyringEntry, SecretError> {
    of_found(service::read(name, cutoff).map_err(|failure| failure.of(name))?, name, accept)
}

#[cfg(feature = "keyring")]
fn of_found(
    (value, username): service::StoredSecret,
    name: &str,
    accept: Accept,
) -> Result<KeyringEntry, SecretError> {
    Ok(KeyringEntry { username, token: accept(&value, &format!("the keyring's entry {name}"))? })
}

/// The entry of a registry, if there is one. Optional: a missing keyring is not an error.
///
/// # Errors
/// tagship was told to stop, or the entry is not a valid token.
#[cfg(feature = "keyring")]
pub(super) fn search(name: &str, cutoff: &Cutoff) -> Result<Option<KeyringEntry>, SecretError> {
    if missing().is_some() {
        return Ok(None);
    }
    match service::read(name, cutoff) {
        Ok(found) => of_found(found, name, token).map(Some),
        Err(failure @ service::KeyringError::CutShort) => Err(failure.of(name)),
        Err(_) => Ok(None),
    }
}

/// Adds or changes an entry.
///
/// # Errors
/// The keyring does not answer.
#[cfg(feature = "keyring")]
pub(super) fn write(
    name: &str,
    username: Option<&str>,
    token: &str,
    cutoff: &Cutoff,
) -> Result<(), SecretError> {
    service::write(name, username, token, cutoff).map_err(|failure| failure.of(name))
}

/// Removes an entry; false: there was none.
///
/// # Errors
/// The keyring does not answer.
#[cfg(feature = "keyring")]
pub(super) fn delete(name: &str) -> Result<bool, SecretError> {
    match service::delete(name) {
        Ok(()) => Ok(true),
        Err(service::KeyringError::NoEntry) => Ok(false),
        Err(failure) => Err(failure.of(name)),
    }
}

#[cfg(not(feature = "keyring"))]
mod without {
    use super::super::value::Accept;
    use super::{KeyringEntry, SecretError};
    use crate::stop::Cutoff;

    const WITHOUT: &str =
        "the keyring is not available: this tagship was built without the feature keyring; use a file";

    pub(in crate::secret) fn missing() -> Option<&'static str> {
        Some("this tagship was built without the feature keyring")
    }

    pub(in crate::secret) fn read(
        _name: &str,
        _accept: Accept,
        _cutoff: &Cutoff,
    ) -> Result<KeyringEntry, SecretError> {
        Err(WITHOUT.to_owned().into())
    }

    pub(in crate::secret) fn search(
        _name: &str,
        _cutoff: &Cutoff,
    ) -> Result<Option<KeyringEntry>, SecretError> {
        Ok(None)
    }

    pub(in crate::secret) fn write(
        _name: &str,
        _username: Option<&str>,
        _token: &str,
        _cutoff: &Cutoff,
    ) -> Result<(), SecretError> {
        Err(WITHOUT.to_owned().into())
    }

    pub(in crate::secret) fn delete(_name: &str) -> Result<bool, SecretError> {
        Err(WITHOUT.to_owned().into())
    }
}

#[cfg(not(feature = "keyring"))]
pub(super) use without::{delete, missing, read, search, write};
