//! Repository, tag, digest and image reference of the OCI distribution specification. Each type contains only
//! valid values.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An image's name on a registry, without host and tag: `acme/shop`, `acme/team/api`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Repository(String);

impl Repository {
    /// Checks a name by the OCI distribution specification: lower-case components of letters, digits and single
    /// separators (`.`, `_`, `__`, dashes), joined by `/`.
    ///
    /// # Errors
    /// The name is not valid.
    pub(crate) fn new(name: &str) -> Result<Repository, InvalidReference> {
        let valid = !name.is_empty() && name.len() <= 255 && name.split('/').all(is_component);
        if valid {
            Ok(Repository(name.to_owned()))
        } else {
            let rule = if name.contains([':', '@']) {
                "a name without host, tag and digest"
            } else {
                "lower-case letters, digits and single . _ - between them, in parts joined by /"
            };
            Err(InvalidReference { what: "image", text: name.to_owned(), rule })
        }
    }

    /// The image in a reference with a host, a tag or upper-case letters: `acme/shop` in
    /// `https://git.example.com:3000/acme/Shop:v1`.
    pub(crate) fn within(text: &str) -> Option<Repository> {
        let path = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        let path = match path.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) => rest,
            _ => path,
        };
        let path = path.split(['@', ':']).next().unwrap_or_default().trim_matches('/');
        Repository::new(&path.to_ascii_lowercase()).ok()
    }

    /// The name as written: `acme/team/api`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first slash: the user or organisation on Gitea. Without a slash, the whole name.
    pub(crate) fn owner(&self) -> &str {
        self.0.split_once('/').map_or(self.as_str(), |(owner, _)| owner)
    }

    /// The part after the first slash, which may contain slashes. None: no slash.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, name)| name)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, as the OCI distribution specification writes it.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(|byte| alphanumeric(*byte));
    if !ends_well(bytes.first()) || !ends_well(bytes.last()) {
        return false;
    }
    bytes.split(|byte| alphanumeric(*byte)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
    })
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag(Arc<str>);

impl Tag {
    /// # Errors
    /// The tag is not valid.
    pub(crate) fn new(text: &str) -> Result<Tag, InvalidReference> {
        let mut bytes = text.bytes();
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = bytes.next().is_some_and(word)
            && text.len() <= 128
            && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if valid {
            Ok(Tag(text.into()))
        } else {
            Err(InvalidReference {
                what: "tag",
                text: text.to_owned(),
                rule: "up to 128 letters, digits and . _ -, not beginning with . or -",
            })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A content digest: `sha256:` and 64 hexadecimal digits (or `sha512:` and 128).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest(Box<str>);

impl Digest {
    /// # Errors
    /// The digest is not valid.
    pub(crate) fn new(text: &str) -> Result<Digest, InvalidReference> {
        let hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let valid = match text.split_once(':') {
            Some(("sha256", rest)) => hex(rest, 64),
            Some(("sha512", rest)) => hex(rest, 128),
            _ => false,
        };
        if valid {
            Ok(Digest(text.into()))
        } else {
            Err(InvalidReference {
                what: "digest",
                text: text.to_owned(),
                rule: "sha256: and 64 hexadecimal digits",
            })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first part of a path and the rest, if the first part is this host or looks like a host.
pub(crate) fn behind_host<'p>(host: &str, path: &'p str) -> Option<(&'p str, &'p str)> {
    let (first, rest) = path.split_once('/')?;
    let is_host = first.contains('.') || first == host;
    (is_host && rest.contains('/')).then_some((first, rest))
}

/// An image without tag and digest: `git.example.com/acme/shop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageRef {
    /// Host and port, as container engines write them; empty for an image layout on disk.
    pub(crate) host: String,
    pub(crate) repository: Repository,
}

impl ImageRef {
    /// `git.example.com` and `acme/shop`, if the repository is `git.example.com/acme/shop`: the host was
    /// probably written by mistake.
    pub(crate) fn behind_host(&self) -> Option<(&str, &str)> {
        behind_host(&self.host, self.repository.as_str())
    }

    /// `host/repository:tag`
    pub(crate) fn with_tag(&self, tag: &Tag) -> String {
        format!("{self}:{tag}")
    }

    /// `host/repository@sha256:…`
    pub(crate) fn with_digest(&self, digest: &Digest) -> String {
        format!("{self}@{digest}")
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_empty() {
            write!(f, "{}", self.repository)
        } else {
            write!(f, "{}/{}", self.host, self.repository)
        }
    }
}

/// A tag as a registry lists it. In JSON every field must be present, even if it is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListedTag {
    pub(crate) tag: Tag,
    /// The push time, if the registry reports it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) pushed_at: Option<Timestamp>,
    /// The registry's own sequence (on Gitea the version's ID), which orders tags with equal push times.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) sequence: Option<i64>,
    /// The digest, if the listing has it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) digest: Option<Digest>,
}

impl ListedTag {
    /// A tag of which only the name is known.
    pub(crate) fn named(tag: Tag) -> ListedTag {
        ListedTag { tag, pushed_at: None, sequence: None, digest: None }
    }
}

/// Whether the tags are sorted by name without duplicates, as most servers list them.
pub(crate) fn is_ascending(tags: &[ListedTag]) -> bool {
    tags.is_sorted_by(|a, b| a.tag < b.tag)
}

/// The platforms of a tag's image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Platforms {
    /// The digest of the tag when the platforms were read. None: unknown.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) of: Option<Digest>,
    /// Each platform by name, such as `linux/arm64/v8`, with the digest of its manifest. None: the tag has a
    /// single image.
    pub(crate) images: Vec<(String, Option<Digest>)>,
}

impl Platforms {
    /// The images for this platform: `linux/arm64` matches any variant.
    pub(crate) fn taken_by<'a>(
        &'a self,
        wanted: &'a str,
    ) -> impl Iterator<Item = (&'a str, Option<&'a Digest>)> {
        let is_taken = move |name: &str| {
            name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let images = self.images.iter().filter(move |(name, _)| is_taken(name));
        images.map(|(name, digest)| (name.as_str(), digest.as_ref().or(self.of.as_ref())))
    }
}

/// The labels of an image's configuration, by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// Every tag of a repository, in no particular order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) tags: Vec<ListedTag>,
    /// Names that are not valid tags.
    pub(crate) dropped: Dropped,
    /// The new name of the repository, if the server redirected to it.
    pub(crate) renamed: Option<String>,
    /// Whether the push times are those at which tagship first saw the tags.
    pub(crate) by_first_sight: bool,
    /// A value to keep until a large listing is dropped.
    pub(crate) held: Held,
}

/// A value that is kept and dropped together with another one. All values compare as equal.
#[derive(Clone, Default)]
pub(crate) struct Held(Option<Arc<dyn Any + Send + Sync>>);

impl Held {
    pub(crate) fn new(held: Arc<dyn Any + Send + Sync>) -> Held {
        Held(Some(held))
    }
}

impl PartialEq for Held {
    fn eq(&self, _: &Held) -> bool {
        true
    }
}

impl Eq for Held {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Held" } else { "None" })
    }
}

/// Names in a list that are not valid tags: counted, and reported in a warning, but never used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) count: usize,
    /// The first names. A long one is replaced by its length: a server may repeat a secret, and half of one
    /// could not be masked.
    pub(crate) names: Vec<String>,
}

impl Dropped {
    /// The limit of names, because a list may contain many of them.
    const NAMED: usize = 20;
    const LONGEST: usize = 150;

    pub(crate) fn add(&mut self, name: &str) {
        self.count += 1;
        if self.names.len() < Dropped::NAMED {
            let length = name.chars().count();
            let is_long = length > Dropped::LONGEST;
            self.names.push(if is_long { format!("({length} characters)") } else { name.to_owned() });
        }
    }

    pub(crate) fn join(&mut self, other: Dropped) {
        self.count += other.count;
        let room = Dropped::NAMED - self.names.len();
        self.names.extend(other.names.into_iter().take(room));
    }
}

impl fmt::Display for Dropped {
    /// `2 invalid tag names were ignored: "a b", ".hidden"`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(|name| format!("{name:?}")).collect();
        let more = if self.count > names.len() { ", …" } else { "" };
        let what = if self.count == 1 { "invalid tag name was" } else { "invalid tag names were" };
        write!(f, "{} {what} ignored: {}{more}", self.count, names.join(", "))
    }
}

/// Text that is not a valid repository, tag or digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: expected {rule}")]
pub(crate) struct InvalidReference {
    what: &'static str,
    text: String,
    rule: &'static str,
}

/// Printed and serialized as text, and checked when it is read.
macro_rules! is_its_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = String::deserialize(deserializer)?;
                $name::new(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
is_its_text!(Repository, Tag, Digest);

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_follows_the_specification() {
        for name in ["acme/shop", "shop", "a/b/c", "a.b/c_d", "a__b", "a--b", "0"] {
            assert!(Repository::new(name).is_ok(), "{name}");
        }
        for name in ["", "Acme/shop", "acme/", "/shop", "a//b", "-a", "a.", "a..b", "a___b", "a:b", "a b"] {
            assert!(Repository::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_owner_is_the_first_part() {
        let repository = Repository::new("acme/team/api").unwrap();
        assert_eq!((repository.owner(), repository.name()), ("acme", Some("team/api")));
        assert_eq!(Repository::new("shop").unwrap().name(), None);
    }

    #[test]
    fn an_image_is_pulled_by_tag_or_by_digest_without_a_host_from_a_layout() {
        let repository = Repository::new("acme/shop").unwrap();
        let (tag, digest) = (Tag::new("v1").unwrap(), format!("sha256:{}", "0".repeat(64)));
        let image = ImageRef { host: "git.example.com:3000".to_owned(), repository };
        assert_eq!(image.with_tag(&tag), "git.example.com:3000/acme/shop:v1");
        let by_digest = image.with_digest(&Digest::new(&digest).unwrap());
        assert_eq!(by_digest, format!("git.example.com:3000/acme/shop@{digest}"));
        let layout = ImageRef { host: String::new(), ..image };
        assert_eq!(layout.with_tag(&tag), "acme/shop:v1");
    }

    #[test]
    fn a_tag_follows_the_specification() {
        for tag in ["v1.0", "_x", "A-b.c_d", "0", &"a".repeat(128)] {
            assert!(Tag::new(tag).is_ok(), "{tag}");
        }
        for tag in ["", ".a", "-a", "a:b", "a/b", "a b", "ä", &"a".repeat(129), "a\n"] {
            assert!(Tag::new(tag).is_err(), "{tag}");
        }
    }

    #[test]
    fn dropped_names_are_counted_and_the_first_are_named() {
        let mut dropped = Dropped::default();
        dropped.add("a b");
        assert_eq!(dropped.to_string(), "1 invalid tag name was ignored: \"a b\"");
        let mut many = Dropped::default();
        (0..30).for_each(|_| many.add(&"-".repeat(1000)));
        assert_eq!(many.names.len(), Dropped::NAMED);
        dropped.join(many);
        assert_eq!((dropped.count, dropped.names.len()), (31, Dropped::NAMED));
        assert!(dropped.to_string().ends_with(", …") && dropped.to_string().len() < 4000);
    }

    #[test]
    fn a_digest_is_an_algorithm_and_its_hexadecimal_value() {
        assert!(Digest::new(&format!("sha256:{}", "a1".repeat(32))).is_ok());
        assert!(Digest::new(&format!("sha512:{}", "a1".repeat(64))).is_ok());
        for text in ["", "sha256:", "sha256:zz", "md5:00", &format!("sha256:{}", "A1".repeat(32))] {
            assert!(Digest::new(text).is_err(), "{text}");
        }
    }
}
