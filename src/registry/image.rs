//! What a manifest and an image's configuration say: digest, platforms, when it was built.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::RegistryError;
use super::answer::{Answer, SMALL_BODY, Unread};
use super::http::Client;
use super::request::{Header, Method};
use crate::reference::{Digest, Repository, Tag};

/// Something that gives manifests and blobs by their path: `/v2/acme/shop/manifests/v1`.
pub(super) trait Blobs {
    /// None: there is nothing at that path.
    fn get(&self, path: &str) -> Result<Option<Blob>, RegistryError>;
}

/// The content of a manifest or blob.
pub(super) struct Blob {
    /// As errors call where it was: an answer's head, or a file.
    pub(super) place: String,
    pub(super) bytes: Vec<u8>,
}

impl Blob {
    pub(super) fn read(answer: Answer) -> Result<Blob, Unread> {
        Ok(Blob { place: answer.head(), bytes: answer.bytes(SMALL_BODY)? })
    }
}

/// An index (`manifests`) or the manifest of one image (`config`).
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    /// It becomes a part of a path, and so is nothing but a digest.
    #[serde(deserialize_with = "digest")]
    digest: Digest,
    platform: Option<Platform>,
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::new(&text).map_err(|_| D::Error::custom("no digest"))
}

/// Of a descriptor, or of an image's configuration.
#[derive(Deserialize)]
struct Platform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

#[derive(Deserialize)]
struct Configuration {
    created: Option<Timestamp>,
    #[serde(flatten)]
    platform: Platform,
}

impl Platform {
    fn name(&self) -> Option<String> {
        platform_name(self.os.clone()?, self.architecture.clone()?, self.variant.clone())
    }
}

/// `linux/arm64/v8`. None for what is no image to run (attestations are unknown/unknown).
pub(super) fn platform_name(os: String, architecture: String, variant: Option<String>) -> Option<String> {
    if os == "unknown" {
        return None;
    }
    let parts = [Some(os), Some(architecture), variant.filter(|variant| !variant.is_empty())];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
}

/// The platforms of a tag's index, or of its only image.
pub(super) fn platforms(
    blobs: &impl Blobs,
    repository: &Repository,
    tag: &Tag,
) -> Result<Vec<String>, RegistryError> {
    let Some(manifest) = manifest(blobs, repository, tag.as_str())? else {
        return Ok(Vec::new());
    };
    if manifest.config.is_none() {
        let platforms =
            manifest.manifests.iter().filter_map(|descriptor| descriptor.platform.as_ref()?.name());
        return Ok(platforms.collect());
    }
    Ok(configuration(blobs, repository, &manifest)?
        .and_then(|found| found.platform.name())
        .into_iter()
        .collect())
}

/// When a tag's image (the first of an index) was built.
pub(super) fn created(
    blobs: &impl Blobs,
    repository: &Repository,
    tag: &Tag,
) -> Result<Option<Timestamp>, RegistryError> {
    let mut found = manifest(blobs, repository, tag.as_str())?;
    let first =
        found.as_ref().and_then(|manifest| manifest.manifests.first()).map(|first| first.digest.to_string());
    if let Some(first) = first {
        found = manifest(blobs, repository, &first)?;
    }
    match found {
        Some(manifest) => Ok(configuration(blobs, repository, &manifest)?.and_then(|found| found.created)),
        None => Ok(None),
    }
}

fn manifest(
    blobs: &impl Blobs,
    repository: &Repository,
    reference: &str,
) -> Result<Option<Manifest>, RegistryError> {
    parsed(blobs, &format!("/v2/{repository}/manifests/{reference}"), "a manifest")
}

fn configuration(
    blobs: &impl Blobs,
    repository: &Repository,
    manifest: &Manifest,
) -> Result<Option<Configuration>, RegistryError> {
    let Some(config) = &manifest.config else {
        return Ok(None);
    };
    parsed(blobs, &format!("/v2/{repository}/blobs/{}", config.digest), "an image's configuration")
}

fn parsed<T: serde::de::DeserializeOwned>(
    blobs: &impl Blobs,
    path: &str,
    what: &str,
) -> Result<Option<T>, RegistryError> {
    let Some(Blob { place, bytes }) = blobs.get(path)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|_| RegistryError::Protocol(format!("{place}: this is not {what}")))
}

/// `Docker-Content-Digest` of an answer about a manifest.
pub(super) fn digest_of(answer: &Answer) -> Result<Digest, RegistryError> {
    let header = answer.header("docker-content-digest").unwrap_or_default();
    Digest::new(header).map_err(|_| RegistryError::Protocol(format!("{}: it names no digest", answer.head())))
}

/// Follows redirects of a blob: on the registry's own origin as it was asked for, and to storage
/// elsewhere without any header, since one of them is a credential.
pub(super) fn follow(
    client: &Client,
    mut answer: Answer,
    headers: &[Header<'_>],
) -> Result<Answer, RegistryError> {
    for _ in 0..3 {
        match answer.location().filter(|_| answer.status.is_redirection()) {
            Some(next) => {
                let sent = if client.is_same_origin(&next) { headers } else { &[] };
                answer = client.send_to(Method::Get, &next, sent)?;
            }
            None => break,
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct Shelf(HashMap<&'static str, &'static str>);

    impl Blobs for Shelf {
        fn get(&self, path: &str) -> Result<Option<Blob>, RegistryError> {
            let found = self.0.get(path.trim_start_matches("/v2/acme/shop/"));
            Ok(found.map(|text| Blob { place: "on the shelf".to_owned(), bytes: text.as_bytes().to_vec() }))
        }
    }

    fn shelf() -> Shelf {
        Shelf(HashMap::from([
            (
                "manifests/multi",
                r#"{"manifests": [
                    {"digest": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "platform": {"os": "linux", "architecture": "amd64"}},
                    {"digest": "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
                    {"digest": "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", "platform": {"os": "unknown", "architecture": "unknown"}}]}"#,
            ),
            (
                "manifests/sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                r#"{"config": {"digest": "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}, "layers": []}"#,
            ),
            (
                "manifests/single",
                r#"{"config": {"digest": "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}, "layers": []}"#,
            ),
            (
                "blobs/sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
                r#"{"os": "linux", "architecture": "amd64", "created": "2026-11-20T10:00:00.5Z", "config": {}}"#,
            ),
            ("manifests/html", "<html>"),
            ("manifests/elsewhere", r#"{"config": {"digest": "../../other/blobs/sha256:x"}, "layers": []}"#),
            ("manifests/children", r#"{"manifests": [{"digest": "../../other/manifests/v1"}]}"#),
        ]))
    }

    fn of(tag: &str) -> (Repository, Tag) {
        (Repository::new("acme/shop").unwrap(), Tag::new(tag).unwrap())
    }

    #[test]
    fn the_platforms_are_those_of_the_index_or_of_the_only_image() {
        for (tag, expected) in [
            ("multi", vec!["linux/amd64", "linux/arm64/v8"]),
            ("single", vec!["linux/amd64"]),
            ("gone", vec![]),
        ] {
            let (repository, tag) = of(tag);
            assert_eq!(platforms(&shelf(), &repository, &tag).unwrap(), expected, "{tag}");
        }
        let (repository, tag) = of("html");
        let wrong = platforms(&shelf(), &repository, &tag).unwrap_err();
        assert!(matches!(wrong, RegistryError::Protocol(_)));
        assert_eq!(wrong.to_string(), "on the shelf: this is not a manifest");
    }

    #[test]
    fn what_is_no_digest_becomes_no_path() {
        for name in ["elsewhere", "children"] {
            let (repository, tag) = of(name);
            let wrong = created(&shelf(), &repository, &tag).unwrap_err();
            assert_eq!(wrong.to_string(), "on the shelf: this is not a manifest", "{name}");
        }
    }

    #[test]
    fn an_image_says_when_it_was_built_an_index_by_its_first_image() {
        for tag in ["multi", "single"] {
            let (repository, tag) = of(tag);
            let built = created(&shelf(), &repository, &tag).unwrap();
            assert_eq!(built, Some("2026-11-20T10:00:00.5Z".parse().unwrap()), "{tag}");
        }
    }
}
