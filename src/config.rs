//! The configuration: the file as written, made into validated targets, or every fault at once.
#![allow(
    clippy::disallowed_methods,
    reason = "a configuration is found through the environment and read from files"
)]

mod address;
mod answer;
mod danger;
mod file;
mod key;
mod load;
mod manual;
mod notify;
mod read;
mod registry;
mod schema;
mod source;
mod stage;
mod step;
mod transport;
mod tree;
mod used;
mod variable;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

pub(crate) use address::host;
pub(crate) use danger::open_to_all;
pub(crate) use load::{load, parse};
pub(crate) use manual::{manual, tidy};
pub(crate) use read::{nearest, parse_duration, suggest};
pub(crate) use schema::schema;

use crate::reference::{Repository, Tag};
use crate::target::notifier::Notifier;
use crate::target::path::push_encoded;
use crate::target::template::{SecretId, Template};
use crate::target::{Name, Target};
use crate::transport::Transport;

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
    pub(crate) notifiers: Vec<Notifier>,
    /// The main file and what it includes; absolute.
    pub(crate) files: Vec<PathBuf>,
    /// What it runs, where that is written with a path; absolute.
    pub(crate) programs: BTreeSet<PathBuf>,
    /// What is legal and probably wrong.
    pub(crate) warnings: Vec<Fault>,
    /// Files that root runs and others can write or replace: said at every poll.
    pub(crate) dangers: Vec<Fault>,
}

/// Who is told of runs.
#[derive(Debug)]
pub(crate) enum PingUrl {
    /// By the convention of healthchecks.io: `/start`, or `/` and an exit status, behind the path.
    Convention(Template),
    /// Each as written.
    AsWritten { start: Option<Template>, success: Option<Template>, failure: Option<Template> },
}

impl Config {
    /// Whether the targets can be polled without a state.
    ///
    /// # Errors
    /// One of them needs a state.
    pub(crate) fn check_without_state(&self) -> anyhow::Result<()> {
        for target in &self.targets {
            let has_times = self.registries[&target.registry].may_have_push_times();
            if let Some(what) = load::needs_state(target, has_times) {
                anyhow::bail!(
                    "state none keeps nothing between runs, and {}: {what}; name a file",
                    target.id
                );
            }
        }
        Ok(())
    }
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
    /// Where metrics are written; absolute.
    pub(crate) metrics_file: Option<PathBuf>,
    /// What is told of each run: literals and secrets only.
    pub(crate) ping_url: Option<PingUrl>,
    /// Every repository is listed in full at least this often.
    pub(crate) resync: Duration,
    /// Finished deployments are kept this long.
    pub(crate) history: Duration,
}

/// Where the state is kept, as far as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateSetting {
    /// Not said: `$TAGSHIP_STATE`, `$STATE_DIRECTORY`, then by where the configuration is.
    Default,
    /// Absolute.
    File(PathBuf),
    /// `"none"`: nothing is kept between runs.
    Nothing,
}

/// One entry of `[registries]`.
#[derive(Clone, Debug)]
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
    pub(crate) transport: Transport,
    /// Beside the registry's own host.
    pub(crate) trusted_realms: Vec<TrustedRealm>,
    /// Where the kind's own API is, if not at its usual place; without a slash at its end.
    pub(crate) api_url: Option<Url>,
}

/// A host that may be sent a registry's credentials for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedRealm {
    pub(crate) host: Host<String>,
    /// None: any port.
    pub(crate) port: Option<u16>,
}

impl RegistryConfig {
    /// Whether it can tell when tags were pushed, as far as the configuration says; where it needs a
    /// token for that, the token's rights decide.
    pub(crate) fn may_have_push_times(&self) -> bool {
        match self.kind {
            RegistryKind::Gitea | RegistryKind::OciLayout | RegistryKind::Dockerhub => true,
            RegistryKind::Github => self.credential != CredentialSetting::Anonymous,
            RegistryKind::Oci | RegistryKind::Gitlab => false,
        }
    }

    /// The tag's web page; without a tag, the image's.
    pub(crate) fn page(&self, repository: &Repository, tag: Option<&Tag>) -> Option<String> {
        let pages = self.tag_pages(repository)?;
        Some(tag.map_or_else(|| pages.trim_end_matches('/').to_owned(), |tag| format!("{pages}{tag}")))
    }

    /// The web pages of the repository's tags: this and the tag. None: the registry has none, or they are not known.
    pub(crate) fn tag_pages(&self, repository: &Repository) -> Option<String> {
        let Location::Url(url) = &self.location else { return None };
        match self.kind {
            RegistryKind::Gitea => {
                let mut page = format!("{}/", url.as_str().trim_end_matches('/'));
                push_encoded(repository.owner(), &mut page);
                page.push_str("/-/packages/container/");
                push_encoded(repository.name()?, &mut page);
                page.push('/');
                Some(page)
            }
            RegistryKind::Dockerhub if url.host_str().is_some_and(|host| host.ends_with("docker.io")) => {
                let path = repository.as_str();
                let path = path
                    .strip_prefix("library/")
                    .map_or_else(|| format!("r/{path}"), |name| format!("_/{name}"));
                Some(format!("https://hub.docker.com/{path}/tags?name="))
            }
            // The page of an image on GitHub or GitLab is that of a repository that its name does not tell.
            _ => None,
        }
    }

    /// Stands in for a registry that is not there, while the faults of its projects are looked for.
    fn unknown() -> RegistryConfig {
        RegistryConfig {
            name: Name::new("unknown").expect("a valid name"),
            kind: RegistryKind::Oci,
            location: Location::Folder(PathBuf::new()),
            credential: CredentialSetting::Anonymous,
            username: None,
            connections: 1,
            timeout: Duration::ZERO,
            transport: Transport::default(),
            trusted_realms: Vec::new(),
            api_url: None,
        }
    }
}

/// What kind of server (or folder) a registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegistryKind {
    /// Gitea and Forgejo.
    Gitea,
    Oci,
    OciLayout,
    /// The GitHub Container Registry, ghcr.io.
    Github,
    Dockerhub,
    /// registry.gitlab.com, or the registry of a GitLab of one's own.
    Gitlab,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// http or https, with a host, without credentials, query and fragment.
    Url(Url),
    /// Absolute.
    Folder(PathBuf),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Url(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Location::Folder(folder) => write!(f, "{}", folder.display()),
        }
    }
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
    /// A docker or podman configuration; absolute. Of registries only.
    DockerConfig(PathBuf),
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
#[error("{}", shown(.0))]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

/// The first faults, and how many more there are.
fn shown(faults: &[Fault]) -> String {
    const MOST: usize = 100;
    let mut lines: Vec<String> = faults.iter().take(MOST).map(ToString::to_string).collect();
    if faults.len() > MOST {
        lines.push(format!("{} more faults are not shown", faults.len() - MOST));
    }
    lines.join("\n")
}

/// Looks for the configuration file: `explicit`, `$TAGSHIP_CONFIG`, `$CONFIGURATION_DIRECTORY`, the
/// user's own (not for root), `/etc/tagship`.
///
/// # Errors
/// There is none; the text says where it was looked for.
pub(crate) fn find(explicit: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = explicit.map(Path::to_owned).or_else(|| given("TAGSHIP_CONFIG")) {
        return Ok(path);
    }
    let mut places = Vec::new();
    places.extend(given("CONFIGURATION_DIRECTORY").map(|folder| folder.join("config.toml")));
    places.extend(users_own());
    places.push(PathBuf::from(OF_THE_MACHINE));
    if let Some(path) = places.iter().find(|path| path.exists()) {
        return Ok(path.clone());
    }
    let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
    let help = match ["tagship.toml", "config.toml"].iter().find(|name| Path::new(name).is_file()) {
        Some(here) => format!("this folder has {here}; to use it: --config {here}"),
        None => "name one with --config FILE, or write one: tagship init".to_owned(),
    };
    anyhow::bail!("no configuration at {}; {help}", places.join(" or "))
}

/// Where a configuration is looked for that its user does not name: the user's own place, `/etc/tagship` for root
/// and for a user without a home.
pub(crate) fn usual_place() -> PathBuf {
    users_own().unwrap_or_else(|| PathBuf::from(OF_THE_MACHINE))
}

const OF_THE_MACHINE: &str = "/etc/tagship/config.toml";
/// Where the configuration of a service is.
pub(crate) const FOLDER_OF_THE_MACHINE: &str = "/etc/tagship";

fn users_own() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let folder = given("XDG_CONFIG_HOME").or_else(|| Some(given("HOME")?.join(".config")));
    folder.map(|folder| folder.join("tagship/config.toml"))
}

fn given(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
