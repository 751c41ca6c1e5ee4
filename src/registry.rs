//! Registries list tags and digests. A new kind needs one file here and one line in [`open`].

#![allow(clippy::disallowed_types, reason = "requests to registries use HTTP")]

mod answer;
mod client;
mod dockerhub;
mod gitea;
mod github;
mod gitlab;
mod image;
mod large;
mod limit;
mod names;
mod newest_first;
mod oci;
mod oci_layout;
mod request;
mod tags_list;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::config::{Location, RegistryConfig, RegistryKind};
use crate::engine::feed::{Changes, Cursor, Owner};
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};
use crate::secret::{SecretError, Secrets};
use crate::stop::Cutoff;
pub(crate) use image::Configuration;
use large::Large;
pub(crate) use limit::{Limit, SharedLimit};

/// A server or folder that holds images.
pub(crate) trait Registry: Send + Sync {
    /// Every tag of the repository, with push times if the listing contains them. Complete, or an error.
    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError>;

    /// The current digest of the tag. None: the tag does not exist.
    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError>;

    /// Whether it reports push times. If not, order `newest` uses the time at which tagship first saw a tag.
    fn has_push_times(&self) -> bool;

    /// Whether it orders tags with the same push time. If not, order `newest` treats the tag that tagship saw
    /// first as the older one.
    fn has_sequence(&self) -> bool {
        true
    }

    /// The push time of the tag. None: the registry does not report it.
    fn pushed_at(&self, _repository: &Repository, _tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        Ok(None)
    }

    /// The image's configuration. In an index, that of the image for the first of `platforms`, else of the
    /// first image. None: no such image.
    fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
        platforms: &[String],
    ) -> Result<Option<Configuration>, RegistryError>;

    /// The platforms of the tag's image: of its index, or of its only image. Empty: no such tag.
    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Platforms, RegistryError>;

    /// The repositories of an owner that may have a new tag since the cursor, and the present cursor. None: the
    /// registry has no such feed. `configured`: the number of the owner's repositories in the configuration.
    fn changes(
        &self,
        _owner: &str,
        _since: Option<&Cursor>,
        _configured: usize,
    ) -> Result<Option<(Cursor, Changes)>, RegistryError> {
        Ok(None)
    }

    /// The account that has an owner's name now. None: the registry does not report it.
    fn owner(&self, _name: &str) -> Result<Option<Owner>, RegistryError> {
        Ok(None)
    }

    /// Every image of an owner, without invalid names. Complete, or an error.
    fn images(&self, owner: &str) -> Result<Vec<Repository>, RegistryError>;

    /// The server's software and clock. None: this kind of registry does not report them.
    fn about(&self) -> Result<About, RegistryError> {
        Ok(About::default())
    }

    /// Prepares for requests, if that needs a request of its own. Errors are ignored here: the next request
    /// meets and reports them.
    fn prepare(&self) {}

    /// Tries the credential, with the access that one of these repositories needs, if there are any.
    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError>;

    /// Tags from the newest push to the oldest, read lazily page by page. An error if there are no push times.
    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a>;
}

/// A registry's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// `Gitea 1.25.0`
    pub(crate) software: Option<String>,
    /// The registry's clock, and the local clock at the same moment.
    pub(crate) server_time: Option<Timestamp>,
    pub(crate) our_time: Option<Timestamp>,
}

/// A registry's answer to a credential, unless it rejects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// Accepted, with the server's remarks on it.
    Accepted(Option<String>),
    /// Everyone has access, so the credential was not verified.
    NotAsked,
}

/// Errors of a registry, by what a caller can do about them. Each text names the server, the request, the
/// answer, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("{0}")]
    Unauthorized(String),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{message}")]
    RateLimited { retry_at: Timestamp, message: String },
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Protocol(String),
    #[error("{0}")]
    Secret(String),
    /// The run reached its `max_runtime`, or received a signal to stop.
    #[error("{0}")]
    OutOfTime(String),
}

impl From<SecretError> for RegistryError {
    fn from(error: SecretError) -> Self {
        let make = if error.interrupted { RegistryError::OutOfTime } else { RegistryError::Secret };
        make(error.to_string())
    }
}

/// Limits that the requests to all registries of a run share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    requests: Arc<AtomicU64>,
    /// The end of the run: no request is sent after it, and it ends requests in flight.
    cutoff: Cutoff,
    large: Large,
    /// The retry limit of this registry only.
    limit: SharedLimit,
}

impl Traffic {
    pub(crate) fn until(cutoff: Cutoff) -> Traffic {
        Traffic { cutoff, ..Traffic::default() }
    }

    /// The same with another cutoff.
    pub(crate) fn with_cutoff(self, cutoff: Cutoff) -> Traffic {
        Traffic { cutoff, ..self }
    }

    /// The same for a registry with this retry limit, which its answers update.
    pub(crate) fn within(&self, limit: SharedLimit) -> Traffic {
        Traffic { limit, ..self.clone() }
    }

    fn add_one(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of requests sent.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The factory: opens the registry of an entry of `[registries]`. Sends no request.
pub(crate) fn open(config: &RegistryConfig, secrets: Arc<Secrets>, traffic: Traffic) -> Box<dyn Registry> {
    let url = match &config.location {
        Location::Folder(folder) => return Box::new(oci_layout::OciLayout::new(folder)),
        Location::Url(url) => url,
    };
    let oci = || oci::Oci::new(config, url, Arc::clone(&secrets), traffic.clone());
    match config.kind {
        RegistryKind::Gitea => Box::new(gitea::Gitea::new(config, url, secrets, traffic)),
        // The configuration guarantees that an image layout is a folder.
        RegistryKind::Oci | RegistryKind::OciLayout => Box::new(oci()),
        RegistryKind::Github => Box::new(github::Github::new(config, oci(), secrets, traffic)),
        RegistryKind::Dockerhub => Box::new(dockerhub::Dockerhub::new(config, oci(), secrets, traffic)),
        RegistryKind::Gitlab => Box::new(gitlab::Gitlab::new(config, oci(), secrets, traffic)),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a configuration is read from a file")]
mod fixture {
    use url::Url;

    use super::*;

    /// A registry of this kind at its default address, and its OCI part.
    pub(super) fn usual(kind: &str) -> (RegistryConfig, oci::Oci, Arc<Secrets>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tagship.toml");
        let text = format!(
            "[registries.it]\nkind = \"{kind}\"\nanonymous = true\n[projects.shop]\nregistry = \"it\"\nimage = \"acme/shop\"\n\
             stages.prod = {{ tags = \"*\", order = \"semver\", deploy = {{ command = [\"x\"] }} }}\n"
        );
        std::fs::write(&path, text).unwrap();
        let config = crate::config::load(&path).unwrap();
        let secrets = Arc::new(Secrets::new(&config));
        let registry = config.registries.into_values().next().unwrap();
        let Location::Url(url) = &registry.location else { panic!("a server") };
        let oci = oci::Oci::new(&registry, url, Arc::clone(&secrets), Traffic::default());
        (registry, oci, secrets)
    }

    /// Whether credentials may be sent there for a token.
    pub(super) fn trusts(oci: &oci::Oci, realm: &str) -> bool {
        oci.trusts(&Url::parse(realm).unwrap())
    }
}
