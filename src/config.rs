//! The configuration: from the file as written to validated targets, or all errors together.
#![allow(clippy::disallowed_methods, reason = "the environment and files give the configuration")]

mod address;
mod answer;
mod danger;
mod duration;
mod excerpt;
mod file;
mod images;
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
mod suggest;
mod syntax;
mod transport;
mod tree;
mod used;
mod variable;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use strum::{EnumString, VariantArray};
use url::{Host, Url};

pub(crate) use address::host;
pub(crate) use danger::open_to_all;
pub(crate) use duration::parse_duration;
pub(crate) use load::{load, parse};
pub(crate) use manual::{manual, tidy};
pub(crate) use schema::schema;
pub(crate) use suggest::{nearest, suggest};
pub(crate) use used::UsedFiles;

use crate::http::Transport;
use crate::images::{self as discovery, Discovered, Expansion, ImageTable, KnownImage, Matcher};
use crate::reference::{Repository, Tag};
use crate::target::notifier::Notifier;
use crate::target::path::push_encoded;
use crate::target::template::{SecretId, Template};
use crate::target::{Name, Target, TargetId};

/// A valid configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// The main file; absolute.
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) registries: BTreeMap<Name, RegistryConfig>,
    /// From `[secrets]`, and from variables whose value is a secret source.
    pub(crate) secrets: BTreeMap<SecretId, SecretSource>,
    /// In the order written, including the targets of known images of tables with `images`.
    pub(crate) targets: Vec<Target>,
    /// The tables with `images`, in the order written.
    pub(crate) tables: Vec<ImageTable>,
    /// The projects that tables with `images` have made from known images.
    pub(crate) discovered: BTreeMap<Name, Discovered>,
    /// The problems with the images of a table, by the table's name.
    pub(crate) image_faults: BTreeMap<Name, Vec<String>>,
    pub(crate) notifiers: Vec<Notifier>,
    /// The main file and what it includes; absolute.
    pub(crate) files: Vec<PathBuf>,
    /// The globs of `include`; absolute.
    globs: Vec<String>,
    /// The programs that it runs, if they are given with a path; absolute.
    pub(crate) programs: BTreeSet<PathBuf>,
    /// Valid, but probably wrong.
    pub(crate) warnings: Vec<Fault>,
    /// Warnings about files that root runs and others can write or replace. Every poll prints them.
    pub(crate) dangers: Vec<Fault>,
}

/// Where a run reports its start and its end.
#[derive(Clone, Debug)]
pub(crate) enum PingUrl {
    /// In the style of healthchecks.io: `/start`, or `/` and an exit status, after the path.
    Convention(Template),
    /// A URL for each moment, requested as written.
    AsWritten { start: Option<Template>, success: Option<Template>, failure: Option<Template> },
}

impl Config {
    /// Replaces the targets of tables with `images` by those of the images that are known now. Nothing else
    /// turns images into targets.
    pub(crate) fn take_in(&mut self, known: &[KnownImage]) {
        if self.tables.is_empty() {
            return;
        }
        let mut written = std::mem::take(&mut self.targets);
        written.retain(|target| !self.discovered.contains_key(&target.id.project));
        let address = |name: &Name| self.registries[name].location.to_string();
        let Expansion { targets, projects, faults } =
            discovery::expand(&self.tables, written, address, known);
        (self.targets, self.discovered, self.image_faults) = (targets, projects, faults);
    }

    /// The targets, and the stages of each table without an image so far.
    pub(crate) fn all_targets(&self) -> impl Iterator<Item = &Target> {
        let has_images =
            |table: &ImageTable| self.discovered.values().any(|project| project.table == table.name);
        let of_tables = self.tables.iter().filter(move |table| !has_images(table));
        self.targets.iter().chain(of_tables.flat_map(|table| &table.stages))
    }

    /// The targets of a table's known images.
    pub(crate) fn targets_of(&self, table: &ImageTable) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| {
            self.discovered.get(&target.id.project).is_some_and(|project| project.table == table.name)
        })
    }

    /// The project names of retired images.
    pub(crate) fn retired(&self, known: &[KnownImage]) -> BTreeMap<Name, Repository> {
        let matchers: Vec<Matcher<'_>> = self.tables.iter().map(Matcher::of).collect();
        let retired = known.iter().filter(|image| image.retired_at.is_some());
        let retired = retired.filter(|image| matchers.iter().any(|matcher| matcher.takes(image)));
        let named = |image: &KnownImage| {
            Some((Name::new(&discovery::project_name(&image.repository)).ok()?, image.repository.clone()))
        };
        retired.filter_map(named).collect()
    }

    /// The target with this name, or the stage of a table.
    pub(crate) fn target(&self, id: &TargetId) -> Option<&Target> {
        let of_tables = self.tables.iter().flat_map(|table| &table.stages);
        self.targets.iter().chain(of_tables).find(|target| target.id == *id)
    }

    /// Checks that the targets can be polled without a state.
    ///
    /// # Errors
    /// A target needs a state.
    pub(crate) fn check_without_state(&self) -> anyhow::Result<()> {
        for target in self.all_targets() {
            let has_times = self.registries[&target.registry].may_have_push_times();
            if let Some((what, help)) = load::checks::needs_state(target, has_times) {
                anyhow::bail!(
                    "state none keeps nothing between runs, and {} needs a state for {what}; name a file{help}",
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
    /// The file for metrics; absolute.
    pub(crate) metrics_file: Option<PathBuf>,
    /// The requests that report each run. Their URLs contain literals and secrets only.
    pub(crate) ping_url: Option<PingUrl>,
    /// The secret that webhook senders share.
    pub(crate) webhook: Option<SecretId>,
    /// Every repository is listed in full at least this often.
    pub(crate) resync: Duration,
    /// Finished deployments are kept this long.
    pub(crate) history: Duration,
}

/// `state` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateSetting {
    /// Not given: `$TAGSHIP_STATE`, then `$STATE_DIRECTORY`, then a default that depends on the
    /// configuration's folder.
    Default,
    /// Absolute.
    File(PathBuf),
    /// `"none"`: no state between runs.
    Nothing,
}

/// One entry of `[registries]`.
#[derive(Clone, Debug)]
pub(crate) struct RegistryConfig {
    pub(crate) name: Name,
    pub(crate) kind: RegistryKind,
    pub(crate) location: Location,
    pub(crate) credential: CredentialSetting,
    /// The user name that belongs to the token, if the registry requires one.
    pub(crate) username: Option<String>,
    /// Requests in flight, at least 1.
    pub(crate) connections: usize,
    /// For one request; from `[settings]`.
    pub(crate) timeout: Duration,
    pub(crate) transport: Transport,
    /// In addition to the registry's own host.
    pub(crate) trusted_realms: Vec<TrustedRealm>,
    /// The address of the kind's own API, if it is not the default; without a trailing slash.
    pub(crate) api_url: Option<Url>,
}

/// A host that may receive a registry's credentials in exchange for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedRealm {
    pub(crate) host: Host<String>,
    /// None: any port.
    pub(crate) port: Option<u16>,
}

impl RegistryConfig {
    /// Whether the registry may report push times. If that requires a token, it depends on the token's
    /// scopes.
    pub(crate) fn may_have_push_times(&self) -> bool {
        match self.kind {
            RegistryKind::Gitea | RegistryKind::OciLayout | RegistryKind::Dockerhub => true,
            RegistryKind::Github => self.credential != CredentialSetting::Anonymous,
            RegistryKind::Oci | RegistryKind::Gitlab => false,
        }
    }

    /// Host and port, as container engines write them; empty for a folder.
    fn host(&self) -> String {
        match &self.location {
            Location::Url(url)
                if self.kind == RegistryKind::Dockerhub && url.host_str() == Some("registry-1.docker.io") =>
            {
                "docker.io".to_owned()
            }
            Location::Url(url) => host(url),
            Location::Folder(_) => String::new(),
        }
    }

    /// The tag's web page; without a tag, the image's.
    pub(crate) fn page(&self, repository: &Repository, tag: Option<&Tag>) -> Option<String> {
        let pages = self.tag_pages(repository)?;
        Some(tag.map_or_else(|| pages.trim_end_matches('/').to_owned(), |tag| format!("{pages}{tag}")))
    }

    /// The beginning of the URLs of tag pages, to which the tag is appended. None: the registry has no such
    /// pages, or their URL is unknown.
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
            // GitHub and GitLab show an image on the page of a source repository, and the image's name does
            // not tell which.
            RegistryKind::Dockerhub
            | RegistryKind::Oci
            | RegistryKind::OciLayout
            | RegistryKind::Github
            | RegistryKind::Gitlab => None,
        }
    }

    /// A substitute for a registry with an error, so that its projects are still checked.
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

/// The kind of a registry: of a server, or of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum RegistryKind {
    /// Gitea and Forgejo.
    #[strum(serialize = "gitea", serialize = "forgejo")]
    Gitea,
    Oci,
    OciLayout,
    /// The GitHub Container Registry, ghcr.io.
    Github,
    Dockerhub,
    /// registry.gitlab.com, or the registry of another GitLab.
    Gitlab,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// http or https, with a host; no credentials, query or fragment.
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

/// The credential for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CredentialSetting {
    Source(SecretSource),
    /// Not given: `$TAGSHIP_TOKEN_<NAME>`, else the keyring, else anonymous access.
    Search,
    Anonymous,
}

/// The source of a secret. The secret itself is never in the file.
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
    /// A docker or podman configuration; absolute. For registries only.
    DockerConfig(PathBuf),
}

/// An error or a warning about a configuration file, with the correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: PathBuf,
    /// None: the fault concerns the whole file.
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// A position in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// None: the line may contain a secret.
    pub(crate) excerpt: Option<Box<Excerpt>>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) line: String,
    /// The faulty bytes of the line.
    pub(crate) span: Range<usize>,
}

impl Fault {
    /// A fault of the whole file.
    pub(crate) fn of_file(file: &Path, message: String, help: Option<String>) -> Fault {
        Fault { file: file.to_owned(), place: None, message, help }
    }
}

impl fmt::Display for Fault {
    /// `tagship.toml:12:1: unknown key `tag``, then the help on its own indented line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Every error of a configuration, by file and line. Never empty.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

/// Finds the configuration file. Searched in this order: `explicit`, `$TAGSHIP_CONFIG`,
/// `$CONFIGURATION_DIRECTORY`, the user's own (not for root), `/etc/tagship`.
///
/// # Errors
/// No file exists in any of these places; the error names them.
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
        None => "name one with --config FILE, or create one with: tagship init".to_owned(),
    };
    anyhow::bail!("no configuration at {}; {help}", places.join(" or "))
}

/// The default path of a new configuration: `$TAGSHIP_CONFIG`, the user's own, or `/etc/tagship` for root and for a user without a
/// home folder.
pub(crate) fn usual_place() -> PathBuf {
    given("TAGSHIP_CONFIG").or_else(users_own).unwrap_or_else(|| PathBuf::from(OF_THE_MACHINE))
}

const OF_THE_MACHINE: &str = "/etc/tagship/config.toml";
/// The configuration folder of a systemd service.
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
