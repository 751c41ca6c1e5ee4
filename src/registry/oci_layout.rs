//! An OCI image layout on disk: for a first try, and for folders that are carried to where no
//! network is.
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
/// How docker and containerd call what they save: with the repository, where their `ref.name` is the tag alone.
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
    /// `acme/shop:v1`, with or without a host, or the tag alone.
    fn name(&self) -> Option<&str> {
        self.annotations.get(IMAGE_NAME).or_else(|| self.annotations.get(REF_NAME)).map(String::as_str)
    }

    fn pushed_at(&self) -> Option<Timestamp> {
        self.annotations.get(CREATED)?.parse().ok()
    }
}

/// What a layout has under a tag of a repository.
struct Tagged {
    /// As it is written, valid or not.
    tag: String,
    digest: Digest,
    pushed_at: Option<Timestamp>,
}

impl OciLayout {
    pub(super) fn new(folder: &Path) -> OciLayout {
        OciLayout { folder: folder.to_owned() }
    }

    /// The layout that has the repository: one of its own below the folder, or the folder itself.
    fn root(&self, repository: &Repository) -> Result<PathBuf, RegistryError> {
        let own = self.folder.join(repository.as_str());
        // One that may not be entered is not passed over: the folder's bare tags are of another repository then.
        match own.join("index.json").try_exists() {
            Ok(true) => Ok(own),
            Ok(false) => Ok(self.folder.clone()),
            Err(error) => Err(unreadable(&own, &error)),
        }
    }

    /// The layout's file and what stands in it.
    fn index(root: &Path) -> Result<(PathBuf, Index), RegistryError> {
        let marker: Marker = read(&root.join("oci-layout"), SMALL_BODY, "the folder is no OCI image layout")?;
        if !marker.version.starts_with("1.") {
            return Err(RegistryError::Protocol(format!(
                "{}: this is a layout of version {:?}, and 1.0.0 is known",
                root.display(),
                marker.version
            )));
        }
        let file = root.join("index.json");
        let index: Index = read(&file, TAGS_BODY, "the layout has no index.json")?;
        Ok((file, index))
    }

    /// The images that the index names, and those with a layout of their own in the owner's folder.
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
        // Bare tags are of whatever repository is asked for, unless any name says which it is of.
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
        // A tag that is written again takes the place of the one before.
        Ok(entries.into_iter().rev().find(|entry| entry.tag == tag.as_str()))
    }
}

/// How deep an image's layout can lie.
const DEEPEST: usize = 8;

/// Adds the images that have a layout of their own in a folder, or below it.
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

/// The host that a name may begin with as docker tells one, and the rest.
fn without_host(image: &str) -> (&str, &str) {
    let is_host = |part: &str| part == "localhost" || part.contains(['.', ':']);
    match image.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path),
        _ => ("", image),
    }
}

/// Whether a name is this repository's.
fn is_of(image: &str, repository: &Repository) -> bool {
    let (host, path) = without_host(image);
    // Images of Docker's own.
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

/// A whole file; None: there is none.
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

    /// Times are those that tools write, often in whole seconds, and the index is in no order.
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
                    "{}: {repository}:{} has no time as annotation {CREATED}, by which order = \"newest\" goes",
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
        Ok(found.map(|bytes| Blob { place: file.display().to_string(), bytes }))
    }
}

#[cfg(test)]
mod tests;
