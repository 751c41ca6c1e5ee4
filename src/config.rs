//! The configuration: the file as written, made into validated targets, or every fault at once.
#![allow(
    clippy::disallowed_methods,
    reason = "a configuration is found through the environment and read from files"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

mod key;
mod manual;
mod schema;

pub(crate) use manual::manual;
pub(crate) use schema::schema;

use crate::target::template::SecretId;
use crate::target::{Name, Target};

/// A valid configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// The main file; absolute.
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) registries: BTreeMap<Name, RegistryConfig>,
    /// Of `[secrets]` and of variables whose value is a secret source.
    pub(crate) secrets: BTreeMap<SecretId, SecretSource>,
    /// In the order written.
    pub(crate) targets: Vec<Target>,
    /// What is legal and probably wrong.
    pub(crate) warnings: Vec<Fault>,
}

/// `[settings]`.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) state: StateSetting,
    /// One registry request.
    pub(crate) timeout: Duration,
    /// A run starts nothing more after this.
    pub(crate) max_runtime: Duration,
    pub(crate) parallel_deploys: usize,
    /// Finished deployments are kept this long.
    pub(crate) history: Duration,
}

/// Where the state is kept, as far as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateSetting {
    /// Not said: `$TAGSHIP_STATE`, `$STATE_DIRECTORY`, then the user's own place.
    Default,
    /// Absolute.
    File(PathBuf),
    /// `"none"`: nothing is kept between runs.
    Nothing,
}

/// One entry of `[registries]`.
#[derive(Debug)]
pub(crate) struct RegistryConfig {
    pub(crate) name: Name,
    pub(crate) kind: RegistryKind,
    pub(crate) location: Location,
    pub(crate) credential: CredentialSetting,
    /// The user name beside the token, where the registry wants one.
    pub(crate) username: Option<String>,
    /// Requests in flight, at least 1.
    pub(crate) connections: usize,
    /// One request, from `[settings]`.
    pub(crate) timeout: Duration,
}

/// What kind of server (or folder) a registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegistryKind {
    /// Gitea and Forgejo.
    Gitea,
    Oci,
    OciLayout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// http or https, with a host, without credentials, query and fragment.
    Url(Url),
    /// Absolute.
    Folder(PathBuf),
}

/// Whose rights a registry is asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CredentialSetting {
    Source(SecretSource),
    /// Not said: `$TAGSHIP_TOKEN_<NAME>`, else the keyring, else nobody's.
    Search,
    Anonymous,
}

/// Where a secret comes from. The secret itself never stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    Env(String),
    /// Absolute.
    File(PathBuf),
    /// A program and its arguments, run in the configuration file's folder.
    Command {
        argv: Vec<String>,
        dir: PathBuf,
    },
    /// A systemd credential: a file of that name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// An entry of the Secret Service.
    Keyring(String),
}

/// Something wrong with a configuration file, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: PathBuf,
    /// From 1; 0 where it is about the file as a whole.
    pub(crate) line: usize,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl fmt::Display for Fault {
    /// `tagship.toml:12: unknown key "tag"` and, indented on a line of its own, the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n    {help}")?;
        }
        Ok(())
    }
}

/// Every fault of a configuration, in the order of the files' lines. Never empty.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

/// Reads and validates the file and everything that it includes.
///
/// # Errors
/// Every fault at once.
pub(crate) fn load(path: &Path) -> Result<Config, Faults> {
    let _ = path;
    Err(Faults(Vec::new()))
}

pub(crate) fn find(_explicit: Option<&Path>) -> anyhow::Result<PathBuf> {
    anyhow::bail!("stub")
}
