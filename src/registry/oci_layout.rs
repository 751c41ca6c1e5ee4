//! An OCI image layout on disk: for a first try, and for networks without a registry.
#![allow(clippy::disallowed_methods, reason = "the registry is a folder")]

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use super::answer::{SMALL_BODY, TAGS_BODY};
use super::image::{self, Blob, Blobs};
use super::{Configuration, Registry, RegistryError, SignIn};
use crate::file;
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which docker and containerd write repository and tag. Their `ref.name` has only the tag.
const IMAGE_NAME: &str = "io.containerd.image.name";
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

impl Descriptor {
    /// `acme/shop:v1`, with or without a host, or only the tag.
    fn name(&self) -> Option<&str> {
        self.annotations.get(IMAGE_NAME).or_else(|| self.annotations.get(REF_NAME)).map(String::as_str)
    }

    fn pushed_at(&self) -> Option<Timestamp> {
        self.annotations.get(CREATED)?.parse().ok()
    }
}

/// An entry of a layout for a tag of a repository.
struct Tagged {
    /// As written, valid or not.
    tag: String,
    digest: Digest,
    pushed_at: Option<Timestamp>,
}

impl OciLayout {
    pub(super) fn new(folder: &Path) -> OciLayout {
        OciLayout { folder: folder.to_owned() }
    }

    /// The layout of the repository: a layout below the folder, or the folder itself.
    fn root(&self, repository: &Repository) -> Result<PathBuf, RegistryError> {
        let own = self.folder.join(repository.as_str());
        // A subfolder without read permission is an error: otherwise the bare tags of the folder would count
        // for this repository.
        match own.join("index.json").try_exists() {
            Ok(true) => Ok(own),
            Ok(false) => Ok(self.folder.clone()),
            Err(error) => Err(unreadable(&own, &error)),
        }
    }

    /// The layout's index file and its content.
    fn index(root: &Path) -> Result<(PathBuf, Index), RegistryError> {
        let marker: Marker =
            read(&root.join("oci-layout"), SMALL_BODY, "the folder is not an OCI image layout")?;
        if !marker.version.starts_with("1.") {
            return Err(RegistryError::Protocol(format!(
                "{}: the layout has version {:?}; supported is 1.0.0",
                root.display(),
                marker.version
            )));
        }
        let file = root.join("index.json");
        let index: Index = read(&file, TAGS_BODY, "the layout has no index.json")?;
        Ok((file, index))
    }

    /// The images in the index, and those with their own layout in the owner's folder.
    fn images_of(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        let own = format!("{owner}/");
        let mut images = BTreeSet::new();
        let folder = self.folder.join(owner);
        let is_there = |path: &Path| path.try_exists().map_err(|error| unreadable(path, &error));
        let has_folder = is_there(&folder)?;
        if has_folder {
            layouts_below(&folder, owner, &mut images)?;
        }
        if !has_folder || is_there(&self.folder.join("index.json"))? {
            let (_, index) = OciLayout::index(&self.folder)?;
            let names = index.manifests.iter().filter_map(Descriptor::name);
            let paths = names.filter_map(|name| without_host(name).1.rsplit_once(':')).map(|(path, _)| path);
            images.extend(
                paths.filter(|path| path.starts_with(&own)).filter_map(|path| Repository::new(path).ok()),
            );
        }
        Ok(images.into_iter().collect())
    }

    fn entries(&self, repository: &Repository) -> Result<Vec<Tagged>, RegistryError> {
        let (file, index) = OciLayout::index(&self.root(repository)?)?;
        // Bare tags belong to any repository, unless an entry of the index names its repository.
        let is_bare = index.manifests.iter().filter_map(Descriptor::name).all(|name| !name.contains('/'));
        let tag_of = |name: &str| {
            if is_bare && !name.contains(':') {
                return Some(name.to_owned());
            }
            let (image, tag) = name.rsplit_once(':')?;
            is_of(image, repository).then(|| tag.to_owned())
        };
        let tagged = |entry: &Descriptor| {
            let tag = tag_of(entry.name()?)?;
            let digest = Digest::new(&entry.digest).map_err(|error| {
                RegistryError::Protocol(format!("{}: tag {tag:?}: {error}", file.display()))
            });
            Some(digest.map(|digest| Tagged { tag, digest, pushed_at: entry.pushed_at() }))
        };
        index.manifests.iter().filter_map(tagged).collect()
    }

    fn entry(&self, repository: &Repository, tag: &Tag) -> Result<Option<Tagged>, RegistryError> {
        let entries = self.entries(repository)?;
        // A later entry replaces an earlier one for the same tag.
        Ok(entries.into_iter().rev().find(|entry| entry.tag == tag.as_str()))
    }
}

/// The greatest depth of an image's layout.
const DEEPEST: usize = 8;

/// Adds the images with their own layout in or below a folder.
fn layouts_below(folder: &Path, name: &str, images: &mut BTreeSet<Repository>) -> Result<(), RegistryError> {
    if name.split('/').count() > DEEPEST {
        return Ok(());
    }
    let failed = |error: &io::Error| unreadable(folder, error);
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        let Some(part) = path.file_name().and_then(|part| part.to_str()) else { continue };
        let Ok(repository) = Repository::new(&format!("{name}/{part}")) else { continue };
        if !path.is_dir() {
            continue;
        }
        if path.join("index.json").try_exists().map_err(|error| failed(&error))? {
            images.insert(repository);
        } else {
            layouts_below(&path, repository.as_str(), images)?;
        }
    }
    Ok(())
}

/// The host at the beginning of a name, by docker's rule, and the rest.
fn without_host(image: &str) -> (&str, &str) {
    let is_host = |part: &str| part == "localhost" || part.contains(['.', ':']);
    match image.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path),
        _ => ("", image),
    }
}

/// Whether a name means this repository.
fn is_of(image: &str, repository: &Repository) -> bool {
    let (host, path) = without_host(image);
    // Docker's own images.
    let short = path.strip_prefix("library/").filter(|_| host == "docker.io");
    [Some(path), short].contains(&Some(repository.as_str()))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path, limit: u64, missing: &str) -> Result<T, RegistryError> {
    let Some(bytes) = bytes(path, limit)? else {
        return Err(RegistryError::NotFound(format!("{}: {missing}", path.display())));
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| RegistryError::Protocol(format!("{}: {error}", path.display())))
}

/// The content of a file. None: it does not exist.
fn bytes(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, RegistryError> {
    match file::read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => Err(RegistryError::Protocol(format!(
            "{}: the file is longer than {} MiB",
            path.display(),
            limit / 1024 / 1024
        ))),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> RegistryError {
    RegistryError::Unavailable(format!("{} cannot be read: {error}", path.display()))
}

impl Registry for OciLayout {
    fn sign_in(&self, _repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        Ok(SignIn::NotAsked)
    }

    fn has_push_times(&self) -> bool {
        true
    }

    /// Tools write the times, often in whole seconds, and the index has no order.
    fn has_sequence(&self) -> bool {
        false
    }

    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        let mut listing = Listing::default();
        let mut places: HashMap<Tag, usize> = HashMap::new();
        for entry in self.entries(repository)? {
            let Ok(tag) = Tag::new(&entry.tag) else {
                listing.dropped.add(&entry.tag);
                continue;
            };
            let listed = ListedTag {
                tag: tag.clone(),
                pushed_at: entry.pushed_at,
                sequence: None,
                digest: Some(entry.digest),
            };
            // A later entry replaces an earlier one for the same tag.
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

    fn images(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        self.images_of(owner)
    }

    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        Ok(self.entry(repository, tag)?.map(|entry| entry.digest))
    }

    fn pushed_at(&self, repository: &Repository, tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        Ok(self.entry(repository, tag)?.and_then(|entry| entry.pushed_at))
    }

    fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
        platforms: &[String],
    ) -> Result<Option<Configuration>, RegistryError> {
        image::configuration(&InLayout { layout: self, repository }, repository, digest.as_str(), platforms)
    }

    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Platforms, RegistryError> {
        image::platforms(&InLayout { layout: self, repository }, repository, tag)
    }

    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a> {
        let listed = self.list_tags(repository).and_then(|mut listing| {
            if let Some(timeless) = listing.tags.iter().find(|listed| listed.pushed_at.is_none()) {
                return Err(RegistryError::Protocol(format!(
                    "{}: {repository}:{} has no time in the annotation {CREATED}, which order = \"newest\" needs",
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

/// Manifests and blobs, by their paths on a server.
struct InLayout<'a> {
    layout: &'a OciLayout,
    repository: &'a Repository,
}

impl Blobs for InLayout<'_> {
    fn get(&self, path: &str) -> Result<Option<Blob>, RegistryError> {
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
        let file = self.layout.root(self.repository)?.join("blobs").join(algorithm).join(hex);
        let found = bytes(&file, SMALL_BODY)?;
        Ok(found.map(|bytes| Blob { place: file.display().to_string(), bytes, named: None }))
    }
}

#[cfg(test)]
mod tests;
