//! An OCI image layout on disk: for a first try, and for folders that are carried to where no
//! network is.
#![allow(clippy::disallowed_methods, reason = "the registry is a folder")]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use super::image::{self, Blobs};
use super::{Registry, RegistryError, SignIn};
use crate::reference::{Digest, ListedTag, Listing, Repository, Tag};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CREATED: &str = "org.opencontainers.image.created";

pub(super) struct OciLayout {
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl OciLayout {
    pub(super) fn new(folder: &Path) -> OciLayout {
        OciLayout { folder: folder.to_owned() }
    }

    /// The layout that has the repository: one of its own below the folder, or the folder itself.
    fn root(&self, repository: &Repository) -> PathBuf {
        let own = self.folder.join(repository.as_str());
        if own.join("index.json").exists() { own } else { self.folder.clone() }
    }

    fn entries(&self, repository: &Repository) -> Result<Vec<(String, Descriptor)>, RegistryError> {
        let root = self.root(repository);
        let marker: Marker = read(&root.join("oci-layout"), "the folder is no OCI image layout")?;
        if !marker.version.starts_with("1.") {
            return Err(RegistryError::Protocol(format!(
                "{}: this is a layout of version {:?}, and 1.0.0 is known",
                root.display(),
                marker.version
            )));
        }
        let index: Index = read(&root.join("index.json"), "the layout has no index.json")?;
        let names: Vec<&str> = index
            .manifests
            .iter()
            .filter_map(|entry| entry.annotations.get(REF_NAME))
            .map(String::as_str)
            .collect();
        // Bare tags are of whatever repository is asked for, unless any name says which it is of.
        let is_bare = names.iter().all(|name| !name.contains('/'));
        let tag_of = |name: &str| {
            if is_bare && !name.contains(':') {
                return Some(name.to_owned());
            }
            let (image, tag) = name.rsplit_once(':')?;
            let is_ours = image == repository.as_str() || image.ends_with(&format!("/{repository}"));
            is_ours.then(|| tag.to_owned())
        };
        let tagged = |entry: Descriptor| {
            let tag = tag_of(entry.annotations.get(REF_NAME)?)?;
            Some((tag, entry))
        };
        Ok(index.manifests.into_iter().filter_map(tagged).collect())
    }

    fn entry(&self, repository: &Repository, tag: &Tag) -> Result<Option<Descriptor>, RegistryError> {
        let entries = self.entries(repository)?;
        // A tag that is written again takes the place of the one before.
        Ok(entries.into_iter().rev().find(|(name, _)| name == tag.as_str()).map(|(_, entry)| entry))
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path, missing: &str) -> Result<T, RegistryError> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RegistryError::NotFound(format!("{}: {missing}", path.display())),
        _ => RegistryError::Unavailable(format!("{}: {error}", path.display())),
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| RegistryError::Protocol(format!("{}: {error}", path.display())))
}

fn digest(entry: &Descriptor) -> Result<Digest, RegistryError> {
    Digest::new(&entry.digest).map_err(|error| RegistryError::Protocol(error.to_string()))
}

fn pushed_at(entry: &Descriptor) -> Option<Timestamp> {
    entry.annotations.get(CREATED)?.parse().ok()
}

impl Registry for OciLayout {
    fn sign_in(&self, _repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        Ok(SignIn::NotAsked)
    }

    fn has_push_times(&self) -> bool {
        true
    }

    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        let mut listing = Listing::default();
        let mut places: HashMap<Tag, usize> = HashMap::new();
        for (name, entry) in self.entries(repository)? {
            let Ok(tag) = Tag::new(&name) else {
                listing.dropped.add(&name);
                continue;
            };
            let listed = ListedTag {
                tag: tag.clone(),
                pushed_at: pushed_at(&entry),
                sequence: None,
                digest: Some(digest(&entry)?),
            };
            // A tag that is written again takes the place of the one before.
            match places.entry(tag) {
                Entry::Occupied(place) => listing.tags[*place.get()] = listed,
                Entry::Vacant(place) => {
                    place.insert(listing.tags.len());
                    listing.tags.push(listed);
                }
            }
        }
        Ok(listing)
    }

    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        self.entry(repository, tag)?.as_ref().map(digest).transpose()
    }

    fn pushed_at(&self, repository: &Repository, tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        Ok(self.entry(repository, tag)?.as_ref().and_then(pushed_at))
    }

    fn created(&self, repository: &Repository, tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        image::created(&InLayout { layout: self, repository }, repository, tag)
    }

    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Vec<String>, RegistryError> {
        image::platforms(&InLayout { layout: self, repository }, repository, tag)
    }

    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a> {
        let listed = self.list_tags(repository).and_then(|mut listing| {
            if let Some(timeless) = listing.tags.iter().find(|listed| listed.pushed_at.is_none()) {
                return Err(RegistryError::Protocol(format!(
                    "{}: {repository}:{} has no annotation {CREATED}, by which order = \"newest\" goes",
                    self.folder.display(),
                    timeless.tag
                )));
            }
            listing.tags.sort_unstable_by_key(|listed| std::cmp::Reverse(listed.pushed_at));
            Ok(listing.tags)
        });
        match listed {
            Ok(tags) => Box::new(tags.into_iter().map(Ok)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

/// Manifests and blobs by the paths that servers have them at.
struct InLayout<'a> {
    layout: &'a OciLayout,
    repository: &'a Repository,
}

impl Blobs for InLayout<'_> {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        let reference = path.rsplit('/').next().unwrap_or_default();
        let digest = match Digest::new(reference) {
            Ok(digest) => digest,
            Err(_) => match Tag::new(reference)
                .ok()
                .map(|tag| self.layout.digest(self.repository, &tag))
                .transpose()?
            {
                Some(Some(digest)) => digest,
                _ => return Ok(None),
            },
        };
        let (algorithm, hex) = digest.as_str().split_once(':').unwrap_or_default();
        let blob = self.layout.root(self.repository).join("blobs").join(algorithm).join(hex);
        match fs::read(&blob) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RegistryError::Unavailable(format!("{}: {error}", blob.display()))),
        }
    }
}
