//! Registries: who is asked for tags and digests. A new kind is one file here and one line in [`open`].

#![allow(clippy::disallowed_types, reason = "registries are asked over HTTP")]

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
    /// Every tag of the repository, with push times where the listing brings them. Complete, or an error.
    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError>;

    /// The digest the tag points at now, or None when the tag is not there.
    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError>;

    /// Whether it tells when tags were pushed. Where not, order `newest` goes by when tagship first saw them.
    fn has_push_times(&self) -> bool;

    /// Whether it orders tags that were pushed at one moment. Where not, order `newest` takes the one that tagship
    /// saw first for the older.
    fn has_sequence(&self) -> bool {
        true
    }

    /// When the tag was pushed, or None where the registry does not tell.
    fn pushed_at(&self, _repository: &Repository, _tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        Ok(None)
    }

    /// What the image's configuration says. Of an index the image for the first of `platforms` says it, else the first
    /// one. None: no such image.
    fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
        platforms: &[String],
    ) -> Result<Option<Configuration>, RegistryError>;

    /// Which platforms the tag's image has: of its index, or of its only image. Empty: no such tag.
    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Platforms, RegistryError>;

    /// Which repositories of an owner can have a new tag since the cursor, and the cursor of now; None
    /// where the registry cannot tell. `configured`: how many of the owner's repositories are.
    fn changes(
        &self,
        _owner: &str,
        _since: Option<&Cursor>,
        _configured: usize,
    ) -> Result<Option<(Cursor, Changes)>, RegistryError> {
        Ok(None)
    }

    /// Who has an owner's name now; None where the registry cannot tell.
    fn owner(&self, _name: &str) -> Result<Option<Owner>, RegistryError> {
        Ok(None)
    }

    /// Every image of an owner. Names that are no valid images are left out. Complete, or an error.
    fn images(&self, owner: &str) -> Result<Vec<Repository>, RegistryError>;

    /// What it is. Kinds that do not say are only asked for tags.
    fn about(&self) -> Result<About, RegistryError> {
        Ok(About::default())
    }

    /// Gets ready for being asked for tags, where that takes a request of its own. What fails here
    /// fails again, and is told then.
    fn prepare(&self) {}

    /// Tries the credential, by what one of these repositories (where there are any) needs.
    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError>;

    /// Tags from the newest push down, read lazily page by page. An error where there are no times.
    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a>;
}

/// What a registry says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// `Gitea 1.25.0`
    pub(crate) software: Option<String>,
    /// Its clock, and ours at that moment.
    pub(crate) server_time: Option<Timestamp>,
    pub(crate) our_time: Option<Timestamp>,
}

/// What a registry makes of a credential that is not wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// With what the server says of it.
    Accepted(Option<String>),
    /// Everyone is let in: whether it is right does not show.
    NotAsked,
}

/// Why a registry's answer cannot be used, by what a caller can do about it.
/// Each text names the server, the request, what came back, and what to do.
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
    /// The run reached its `max_runtime`, or was told to stop.
    #[error("{0}")]
    OutOfTime(String),
}

impl From<SecretError> for RegistryError {
    fn from(error: SecretError) -> Self {
        let make = if error.interrupted { RegistryError::OutOfTime } else { RegistryError::Secret };
        make(error.to_string())
    }
}

/// What the requests to all registries of a run share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    requests: Arc<AtomicU64>,
    /// No request is sent after it, and those under way end with it.
    cutoff: Cutoff,
    large: Large,
    /// Of one registry, other than the rest.
    limit: SharedLimit,
}

impl Traffic {
    pub(crate) fn until(cutoff: Cutoff) -> Traffic {
        Traffic { cutoff, ..Traffic::default() }
    }

    /// The same with another end.
    pub(crate) fn with_cutoff(self, cutoff: Cutoff) -> Traffic {
        Traffic { cutoff, ..self }
    }

    /// The traffic to a registry that may be asked within this limit, which is kept up.
    pub(crate) fn within(&self, limit: SharedLimit) -> Traffic {
        Traffic { limit, ..self.clone() }
    }

    fn add_one(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests went out.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The factory: opens the registry that an entry of `[registries]` describes. Asks nobody yet.
pub(crate) fn open(config: &RegistryConfig, secrets: Arc<Secrets>, traffic: Traffic) -> Box<dyn Registry> {
    let url = match &config.location {
        Location::Folder(folder) => return Box::new(oci_layout::OciLayout::new(folder)),
        Location::Url(url) => url,
    };
    let oci = || oci::Oci::new(config, url, Arc::clone(&secrets), traffic.clone());
    match config.kind {
        RegistryKind::Gitea => Box::new(gitea::Gitea::new(config, url, secrets, traffic)),
        // The configuration gives an image layout a folder.
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

    /// A registry of a kind at its usual place, and its OCI part.
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

    /// Whether credentials may go there for a token.
    pub(super) fn trusts(oci: &oci::Oci, realm: &str) -> bool {
        oci.trusts(&Url::parse(realm).unwrap())
    }
}
