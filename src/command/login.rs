//! `tagship login` and `tagship logout`: a registry's token in the keyring.

use std::io::Read as _;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use url::Url;

use super::{Exit, load};
use crate::cli::{self, Global};
use crate::config::{self, Config, CredentialSetting, Location, RegistryConfig, SecretSource};
use crate::reference::Repository;
use crate::registry::{self, SignIn, Traffic};
use crate::report::Console;
use crate::secret::{self, Credential, Secrets};
use crate::stop::{Cutoff, Stop};
use crate::target::Name;

/// The longest accepted token.
const LONGEST: u64 = 64 * 1024;

/// Reads a token, tries it against the registry, and stores it in the keyring.
///
/// # Errors
/// An error in the configuration or the arguments, or the token cannot be read.
pub(crate) fn login(global: &Global, arguments: &cli::Login, console: &Console) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let registry = find(&config, &arguments.registry)?;
    let url = url_of(registry)?;
    let username = username(registry, arguments.username.as_deref())?;
    // Checked before the user types the token, and before the registry receives it.
    if let Some(reason) = secret::missing_keyring() {
        bail!(
            "no keyring on this machine: {reason}\n  \
             help: keep the token in a file that only you can read: token = {{ file = \"{}-token\" }}",
            registry.name
        );
    }
    let token = if arguments.stdin { from_stdin()? } else { from_terminal(&registry.name, url)? };
    let credential = Credential { username, token, is_identity: false };
    // Up to here a signal ends the process by itself.
    let stop = Stop::on_signals()?;
    let cutoff = Cutoff::after(&stop, config.settings.max_runtime);
    let secrets = Arc::new(Secrets::with(&config, registry, credential.clone()).until(cutoff.clone()));
    let console = console.masking(Arc::clone(&secrets));
    let name = &registry.name;

    let mut repositories: Vec<&Repository> = config
        .targets
        .iter()
        .filter(|target| target.registry == *name)
        .map(|target| &target.image.repository)
        .collect();
    repositories.dedup();
    let opened = registry::open(registry, secrets, Traffic::until(cutoff));
    let answer = match opened.sign_in(&repositories) {
        Ok(SignIn::Accepted(None)) => "the registry accepts the token".to_owned(),
        Ok(SignIn::Accepted(Some(answer))) => format!("the registry accepts the token: {answer}"),
        Ok(SignIn::NotAsked) => "the registry needs no token, so the token was not tested".to_owned(),
        Err(error) => {
            if let Some(signal) = stop.signal() {
                return Ok(Exit::Signal(signal));
            }
            console.error(&format!("{name}: {error}; the token was not stored"));
            return Ok(Exit::Failed);
        }
    };
    if let Err(error) = secret::keep(name, &credential, &Cutoff::at_signal(&stop)) {
        if let Some(signal) = stop.signal() {
            return Ok(Exit::Signal(signal));
        }
        console.error(&format!("{name}: {answer}, but {error}"));
        return Ok(Exit::Failed);
    }
    console.message(&crate::report::escape_control(&format!("{name}: {answer}; stored in the keyring")));
    if let Some(other) = preceding_words(registry) {
        console.warning(&format!("{name}: the stored token is not used, because {other}"));
    }
    Ok(Exit::Done)
}

/// Removes a registry's token from the keyring.
///
/// # Errors
/// An error in the configuration or the arguments.
pub(crate) fn logout(global: &Global, arguments: &cli::Logout, console: &Console) -> anyhow::Result<Exit> {
    let config = load(global)?;
    // The registry may no longer be in the configuration.
    let name = Name::new(&arguments.registry).map_err(|error| anyhow::anyhow!("REGISTRY: {error}"))?;
    config.registries.get(&name).map(url_of).transpose()?;
    match secret::forget(&name) {
        Ok(true) => console.message(&format!("{name}: removed the token from the keyring")),
        Ok(false) => {
            find(&config, name.as_str())?;
            console.message(&format!("{name}: the keyring has no token for it"));
        }
        Err(error) => {
            console.error(&format!("{name}: {error}"));
            return Ok(Exit::Failed);
        }
    }
    Ok(Exit::Done)
}

fn find<'c>(config: &'c Config, name: &str) -> anyhow::Result<&'c RegistryConfig> {
    let found = config.registries.values().find(|registry| registry.name.as_str() == name);
    found.with_context(|| {
        let meant = config::suggest(name, config.registries.keys().map(Name::as_str));
        format!("the configuration has no registry {name:?}; {meant}")
    })
}

/// The address that tokens are for.
fn url_of(registry: &RegistryConfig) -> anyhow::Result<&Url> {
    match &registry.location {
        Location::Url(url) => Ok(url),
        Location::Folder(_) => bail!("the registry {} is a folder and needs no token", registry.name),
    }
}

fn username(registry: &RegistryConfig, given: Option<&str>) -> anyhow::Result<Option<String>> {
    match (given, &registry.username) {
        (Some(given), Some(written)) if given != written => {
            bail!("the configuration has username = {written:?}; omit --username, or change it there")
        }
        (Some(given), _) if given.is_empty() || given.contains(':') => {
            bail!("expected a user name without a colon")
        }
        (given, written) => Ok(given.map(str::to_owned).or_else(|| written.clone())),
    }
}

fn from_stdin() -> anyhow::Result<SecretString> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    std::io::stdin().take(LONGEST).read_to_string(&mut text).context("cannot read standard input")?;
    Ok(secret::entered(&text)?)
}

fn from_terminal(name: &Name, url: &Url) -> anyhow::Result<SecretString> {
    let typed = rpassword::prompt_password(format!("Token for {name} ({url}): "))
        .context("no terminal to prompt on; pass the token on standard input with --stdin")?;
    Ok(secret::entered(&Zeroizing::new(typed))?)
}

/// The token source that takes precedence over the keyring.
fn preceding_words(registry: &RegistryConfig) -> Option<String> {
    match &registry.credential {
        CredentialSetting::Anonymous => Some("the configuration says anonymous = true".to_owned()),
        CredentialSetting::Source(SecretSource::Keyring(entry)) if entry == registry.name.as_str() => None,
        CredentialSetting::Source(_) => Some("the configuration has another token".to_owned()),
        CredentialSetting::Search => {
            secret::variable_that_is_set(&registry.name).map(|variable| format!("{variable} is set"))
        }
    }
}
