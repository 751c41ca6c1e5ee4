//! Data from a manifest and an image's configuration: digest, platforms, build time, labels.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};
use ureq::http::StatusCode;

use super::RegistryError;
use super::answer::{Answer, SMALL_BODY, Unread, whole};
use super::client::Client;
use super::request::{Header, Method};
use crate::reference::{Digest, Labels, Platforms, Repository, Tag};

/// An index may contain indexes, but none that ends contains itself.
const DEEPEST: usize = 3;

/// A source of manifests and blobs by their path: `/v2/acme/shop/manifests/v1`.
pub(super) trait Blobs {
    /// None: nothing is at that path.
    fn get(&self, path: &str) -> Result<Option<Blob>, RegistryError>;
}

/// A manifest or a blob.
pub(super) struct Blob {
    /// Its source in errors: the head of an answer, or a file.
    pub(super) place: String,
    pub(super) bytes: Vec<u8>,
    /// In the headers of the answer.
    pub(super) named: Option<Digest>,
}

impl Blob {
    pub(super) fn read(answer: Answer) -> Result<Blob, Unread> {
        Ok(Blob { place: answer.head(), named: named_digest(&answer), bytes: answer.bytes(SMALL_BODY)? })
    }

    /// The digest in the headers, or that of the bytes.
    fn digest(&self) -> Option<Digest> {
        let of_bytes = || Digest::new(&format!("sha256:{}", hex::encode(Sha256::digest(&self.bytes)))).ok();
        self.named.clone().or_else(of_bytes)
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<T, RegistryError> {
        serde_json::from_slice(&self.bytes)
            .map_err(|_| RegistryError::Protocol(format!("{}: this is not {what}", self.place)))
    }
}

/// An index (`manifests`) or the manifest of one image (`config`).
#[derive(Deserialize)]
struct Manifest {
    /// Go writes an empty list as null.
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    /// Checked to be a digest, because it becomes a part of a path.
    #[serde(deserialize_with = "digest")]
    digest: Digest,
    platform: Option<Platform>,
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::new(&text).map_err(|_| D::Error::custom("no digest"))
}

/// The platform in a descriptor or an image's configuration.
#[derive(Deserialize)]
struct Platform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

/// The configuration of an image, as written.
#[derive(Deserialize)]
struct Written {
    created: Option<Timestamp>,
    config: Option<Settings>,
    #[serde(flatten)]
    platform: Platform,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "Labels")]
    labels: Option<Labels>,
}

/// The used part of an image's configuration.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// The build time of the image. None: not given.
    pub(crate) created: Option<Timestamp>,
    /// The error: the configuration of the image cannot be read.
    pub(crate) labels: Result<Labels, RegistryError>,
}

impl Manifest {
    fn children(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().flatten()
    }

    /// The child for the first of `wanted`, else the first for any platform, else the first that names none. Never an
    /// attestation, whose platform is unknown/unknown.
    fn image(&self, wanted: &[String]) -> Option<&Descriptor> {
        let name = |child: &Descriptor| child.platform.as_ref().and_then(Platform::name);
        let is_wanted = |child: &&Descriptor| {
            name(child).zip(wanted.first()).is_some_and(|(name, wanted)| {
                name.strip_prefix(wanted.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        self.children()
            .find(is_wanted)
            .or_else(|| self.children().find(|child| name(child).is_some()))
            .or_else(|| self.children().find(|child| child.platform.is_none()))
    }
}

impl Platform {
    fn name(&self) -> Option<String> {
        platform_name(self.os.clone()?, self.architecture.clone()?, self.variant.clone())
    }
}

/// `linux/arm64/v8`. None: it is not an image to run (the platform of an attestation is unknown/unknown).
pub(super) fn platform_name(os: String, architecture: String, variant: Option<String>) -> Option<String> {
    if os == "unknown" {
        return None;
    }
    let parts = [Some(os), Some(architecture), variant.filter(|variant| !variant.is_empty())];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
}

/// The platforms of a tag's index, or of its single image.
pub(super) fn platforms(
    blobs: &impl Blobs,
    repository: &Repository,
    tag: &Tag,
) -> Result<Platforms, RegistryError> {
    let Some(blob) = blobs.get(&manifest_path(repository, tag.as_str()))? else {
        return Ok(Platforms::default());
    };
    let of = blob.digest();
    let manifest: Manifest = blob.parsed(MANIFEST)?;
    let images = if manifest.config.is_none() {
        let image = |found: Descriptor| Some((found.platform?.name()?, Some(found.digest)));
        manifest.manifests.into_iter().flatten().filter_map(image).collect()
    } else {
        let only = written(blobs, repository, &manifest)?;
        only.and_then(|found| found.platform.name()).map(|name| (name, None)).into_iter().collect()
    };
    Ok(Platforms { of, images })
}

/// The configuration of an image. In an index, that of the image for the first of `wanted`, else of the first
/// image to run. None: the manifest does not exist.
pub(super) fn configuration(
    blobs: &impl Blobs,
    repository: &Repository,
    reference: &str,
    wanted: &[String],
) -> Result<Option<Configuration>, RegistryError> {
    let mut found = manifest(blobs, repository, reference)?;
    for _ in 0..DEEPEST {
        let Some(image) = found.as_ref().and_then(|index| index.image(wanted)) else {
            break;
        };
        found = manifest(blobs, repository, image.digest.as_str())?;
    }
    let Some(manifest) = found else {
        return Ok(None);
    };
    Ok(Some(match written(blobs, repository, &manifest) {
        Ok(found) => {
            let (created, settings) =
                found.map_or((None, None), |Written { created, config, .. }| (created, config));
            let labels = settings.and_then(|settings| settings.labels);
            Configuration { created, labels: Ok(labels.unwrap_or_default()) }
        }
        // An artifact that is not an image has no build time. This is a valid answer, not an outage.
        Err(error @ RegistryError::Protocol(_)) => Configuration { created: None, labels: Err(error) },
        Err(error) => return Err(error),
    }))
}

fn manifest(
    blobs: &impl Blobs,
    repository: &Repository,
    reference: &str,
) -> Result<Option<Manifest>, RegistryError> {
    parsed(blobs, &manifest_path(repository, reference), MANIFEST)
}

const MANIFEST: &str = "a manifest";

fn manifest_path(repository: &Repository, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

fn written(
    blobs: &impl Blobs,
    repository: &Repository,
    manifest: &Manifest,
) -> Result<Option<Written>, RegistryError> {
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
    blobs.get(path)?.map(|blob| blob.parsed(what)).transpose()
}

/// `Docker-Content-Digest` of an answer about a manifest.
pub(super) fn digest_of(answer: &Answer) -> Result<Digest, RegistryError> {
    named_digest(answer)
        .ok_or_else(|| RegistryError::Protocol(format!("{}: the answer has no digest", answer.head())))
}

fn named_digest(answer: &Answer) -> Option<Digest> {
    Digest::new(answer.header("docker-content-digest")?).ok()
}

/// Requests digests by HEAD. Proxies and gateways may remove its digest header, or reject HEAD but not GET: if it gives
/// no digest, a GET decides.
#[derive(Default)]
pub(super) struct Heads {
    /// A 404 to HEAD means a 404 to GET in every repository.
    are_honest: bool,
    /// Repositories in which a 404 to HEAD is known to mean a 404 to GET.
    honest: Mutex<HashSet<Repository>>,
}

impl Heads {
    /// For a server on which HEAD and GET always agree.
    pub(super) fn honest() -> Heads {
        Heads { are_honest: true, ..Heads::default() }
    }

    /// The digest of a manifest. None: the manifest does not exist.
    ///
    /// # Errors
    /// Those of the request; `refusal` makes the error of any other answer.
    pub(super) fn digest(
        &self,
        repository: &Repository,
        ask: impl Fn(Method) -> Result<Answer, RegistryError>,
        refusal: impl Fn(Answer) -> RegistryError,
    ) -> Result<Option<Digest>, RegistryError> {
        let head = ask(Method::Head);
        let is_missing = head.as_ref().is_ok_and(|head| head.status == StatusCode::NOT_FOUND);
        match head {
            Ok(head) if head.status == StatusCode::OK => {
                self.known().insert(repository.clone());
                if let Some(digest) = named_digest(&head) {
                    return Ok(Some(digest));
                }
            }
            Ok(_) if is_missing && (self.are_honest || self.known().contains(repository)) => return Ok(None),
            // Gateways refuse a HEAD with any status, and often without the headers that belong to it. What a server of
            // tokens refuses, it refuses for a GET, too.
            Ok(_) | Err(RegistryError::Protocol(_)) => {}
            Err(error) => return Err(error),
        }
        let get = || ask(Method::Get);
        let digest = whole(get, |answer| match answer.status {
            StatusCode::OK => read_digest(answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(answer).into()),
        })?;
        if is_missing && digest.is_none() {
            self.known().insert(repository.clone());
        }
        Ok(digest)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Repository>> {
        self.honest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digest in the headers of an answer with a manifest, or the digest of its bytes.
fn read_digest(answer: Answer) -> Result<Digest, Unread> {
    let blob = Blob::read(answer)?;
    let wrong = |what| RegistryError::Protocol(format!("{}: {what}", blob.place));
    // A login page has a digest too.
    let is_manifest = serde_json::from_slice::<serde_json::Value>(&blob.bytes).is_ok_and(|value| {
        ["config", "layers", "manifests", "fsLayers"].iter().any(|key| value.get(key).is_some())
    });
    if !is_manifest {
        return Err(wrong("this is not a manifest").into());
    }
    Ok(blob.digest().ok_or_else(|| wrong("it has no digest"))?)
}

/// Follows the redirects of a blob: on the registry's own origin with the same headers, to storage elsewhere
/// without any header, because one of them is a credential.
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
            Ok(found.map(|text| Blob {
                place: "on the shelf".to_owned(),
                bytes: text.as_bytes().to_vec(),
                named: None,
            }))
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
                r#"{"os": "linux", "architecture": "amd64", "created": "2026-11-20T10:00:00.5Z", "config": {"Labels": {"team": "a b"}}}"#,
            ),
            ("manifests/html", "<html>"),
            (
                "manifests/attested",
                r#"{"manifests": [
                    {"digest": "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", "platform": {"os": "unknown", "architecture": "unknown"}},
                    {"digest": "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}]}"#,
            ),
            (
                "manifests/sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                r#"{"config": {"digest": "sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"}, "layers": []}"#,
            ),
            (
                "blobs/sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
                r#"{"os": "linux", "architecture": "arm64", "created": "2026-11-20T10:00:07Z", "config": {"Labels": null}}"#,
            ),
            (
                "manifests/odd",
                r#"{"config": {"digest": "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"}, "layers": []}"#,
            ),
            ("blobs/sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "no JSON"),
            (
                "manifests/null",
                r#"{"manifests": null, "config": {"digest": "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}, "layers": []}"#,
            ),
            ("manifests/empty", r#"{"schemaVersion": 2, "manifests": null}"#),
            // An index whose first child is not an image, and then a whole index.
            (
                "manifests/nested",
                r#"{"manifests": [
                    {"digest": "sha256:9999999999999999999999999999999999999999999999999999999999999999"},
                    {"digest": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "platform": {"os": "linux", "architecture": "amd64"}}]}"#,
            ),
            (
                "manifests/sha256:1111111111111111111111111111111111111111111111111111111111111111",
                r#"{"manifests": [{"digest": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "platform": {"os": "linux", "architecture": "amd64"}}]}"#,
            ),
            // It contains itself, which no honest server can give.
            (
                "manifests/endless",
                r#"{"manifests": [{"digest": "sha256:2222222222222222222222222222222222222222222222222222222222222222"}]}"#,
            ),
            (
                "manifests/sha256:2222222222222222222222222222222222222222222222222222222222222222",
                r#"{"manifests": [{"digest": "sha256:2222222222222222222222222222222222222222222222222222222222222222"}]}"#,
            ),
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
            ("null", vec!["linux/amd64"]),
            ("empty", vec![]),
            ("nested", vec!["linux/amd64"]),
            ("gone", vec![]),
        ] {
            let (repository, tag) = of(tag);
            let found = platforms(&shelf(), &repository, &tag).unwrap();
            let names: Vec<&str> = found.images.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, expected, "{tag}");
            // The configuration of an image in the index, or of the tag's single image.
            let has_own = found.images.iter().all(|(_, digest)| digest.is_some());
            assert_eq!(has_own, !["single", "null"].contains(&tag.as_str()), "{tag}");
        }
        let (repository, tag) = of("html");
        let wrong = platforms(&shelf(), &repository, &tag).unwrap_err();
        assert!(matches!(wrong, RegistryError::Protocol(_)));
        assert_eq!(wrong.to_string(), "on the shelf: this is not a manifest");
    }

    #[test]
    fn an_invalid_digest_makes_no_path() {
        for name in ["elsewhere", "children"] {
            let (repository, tag) = of(name);
            let wrong = configuration(&shelf(), &repository, tag.as_str(), &[]).unwrap_err();
            assert_eq!(wrong.to_string(), "on the shelf: this is not a manifest", "{name}");
        }
    }

    #[test]
    fn an_image_says_when_it_was_built_an_index_by_the_platform_wanted_else_by_its_first_image() {
        let arm = [String::from("linux/arm64")];
        for (tag, wanted, expected) in [
            ("multi", &[][..], Some("2026-11-20T10:00:00.5Z")),
            ("single", &[], Some("2026-11-20T10:00:00.5Z")),
            ("multi", &arm, Some("2026-11-20T10:00:07Z")),
            ("attested", &[], Some("2026-11-20T10:00:07Z")),
            ("attested", &["linux/s390x".to_owned()], Some("2026-11-20T10:00:07Z")),
            ("null", &[], Some("2026-11-20T10:00:00.5Z")),
            ("nested", &[], Some("2026-11-20T10:00:00.5Z")),
            ("nested", &arm, Some("2026-11-20T10:00:00.5Z")),
            ("empty", &[], None),
            ("endless", &[], None),
            ("odd", &[], None),
        ] {
            let (repository, name) = of(tag);
            let found = configuration(&shelf(), &repository, name.as_str(), wanted).unwrap().unwrap();
            assert_eq!(found.created, expected.map(|moment| moment.parse().unwrap()), "{tag} {wanted:?}");
        }
    }

    #[test]
    fn an_image_has_the_labels_of_its_configuration_if_that_can_be_read() {
        let labels = |tag| {
            let (repository, tag) = of(tag);
            configuration(&shelf(), &repository, tag.as_str(), &[]).unwrap().map(|found| found.labels)
        };
        let named = |tag| labels(tag).unwrap().unwrap();
        assert_eq!(named("single"), Labels::from([("team".to_owned(), "a b".to_owned())]));
        assert_eq!(named("multi"), named("single"));
        assert_eq!(named("nested"), named("single"));
        assert_eq!(named("attested"), Labels::new(), "it has none");
        let wrong = labels("odd").unwrap().unwrap_err();
        assert_eq!(wrong.to_string(), "on the shelf: this is not an image's configuration");
        assert!(labels("gone").is_none());
    }
}
