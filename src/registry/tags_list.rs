//! The tags list of the OCI distribution specification: `{"name": …, "tags": […]}`, parsed while it arrives.

use std::collections::HashSet;
use std::fmt;
use std::io::{BufReader, Read as _};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use super::RegistryError;
use super::answer::{Answer, TAGS_BODY, Unread, one_line};
use super::large::{Claim, LARGE_BODY};
use crate::mask::{Outside, Redactor as _};
use crate::reference::{Dropped, ListedTag, Listing, Repository, Tag, is_ascending};

/// More tags than any repository has, so that endless pages do not fill the memory.
pub(super) const MOST_TAGS: usize = 1_000_000;
pub(super) const TOO_MANY: &str = "more than a million tags, which is an error of the registry";

/// One page of a tags list.
pub(super) struct Page {
    /// Valid tags in the order of the answer, possibly with duplicates.
    pub(super) tags: Vec<ListedTag>,
    pub(super) dropped: Dropped,
    /// The number of names.
    pub(super) names: usize,
    /// `"tags": null`
    pub(super) is_null: bool,
    /// The new name of a renamed repository, if the server redirected to it.
    renamed: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    /// For information only: mirrors and caches answer with another name than the requested one.
    #[serde(default)]
    name: serde_json::Value,
    #[serde(deserialize_with = "names")]
    tags: Option<Names>,
}

struct Names {
    tags: Vec<ListedTag>,
    dropped: Dropped,
    count: usize,
}

impl Page {
    /// Reads a page of this repository. A large page needs a place of the claim.
    ///
    /// # Errors
    /// The answer is not a tags list, or not complete.
    pub(super) fn read(answer: Answer, repository: &Repository, claim: &Claim) -> Result<Page, Unread> {
        let head = answer.head();
        let secrets = answer.secrets();
        let shown = |text: &str| one_line(&secrets.redact(&Outside::text(text)), 100);
        // The images of a renamed owner have the new name.
        let is_renamed = !answer.url.path().contains(&format!("/{repository}/"));
        let is_html = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        let mut reader = answer.reader(TAGS_BODY);
        let mut begin = Vec::new();
        if let Err(error) = reader.by_ref().take(LARGE_BODY).read_to_end(&mut begin) {
            return Err(reader.failed(&error));
        }
        if begin.len() as u64 == LARGE_BODY && !claim.try_hold() {
            return Err(Unread::crowded(&head, claim));
        }
        let (reader, parsed) = claim.run(move || {
            let parsed =
                serde_json::from_reader::<_, Body>(BufReader::new(begin.as_slice().chain(&mut reader)));
            (reader, parsed)
        });
        let body = match parsed {
            Ok(body) => body,
            Err(_) if is_html && reader.is_sound() => {
                return Err(RegistryError::Protocol(format!(
                    "{head}: this is a web page (a login page?), not a tags list; is url the address of the registry?"
                ))
                .into());
            }
            Err(error) => {
                let error = shown(&error.to_string());
                return Err(reader.failed(&format!("this is not a tags list: {error}")));
            }
        };
        let other = body.name.as_str().filter(|name| !name.eq_ignore_ascii_case(repository.as_str()));
        let renamed = other.filter(|_| is_renamed).map(shown);
        Ok(match body.tags {
            None => Page { tags: Vec::new(), dropped: Dropped::default(), names: 0, is_null: true, renamed },
            Some(Names { tags, dropped, count }) => {
                Page { tags, dropped, names: count, is_null: false, renamed }
            }
        })
    }

    pub(super) fn into_listing(self, claim: Claim) -> Listing {
        let tags = without_repeats(self.tags, &claim);
        Listing {
            tags,
            dropped: self.dropped,
            renamed: self.renamed,
            held: claim.held(),
            ..Listing::default()
        }
    }
}

/// Duplicates in a longer list are found by sorting: slower than a set of its tags, but without extra memory.
const SORTED: usize = 125_000;

/// Removes duplicates, and keeps the first of each.
pub(super) fn without_repeats(mut tags: Vec<ListedTag>, claim: &Claim) -> Vec<ListedTag> {
    claim.run(move || {
        if tags.len() > SORTED {
            tags.sort_unstable_by(|a, b| a.tag.cmp(&b.tag));
            tags.dedup_by(|a, b| a.tag == b.tag);
        } else if !is_ascending(&tags) {
            drop_repeats(&mut tags);
        }
        tags
    })
}

/// The same without a copy of the list.
fn drop_repeats(tags: &mut Vec<ListedTag>) {
    let mut seen = HashSet::with_capacity(tags.len());
    let is_new: Vec<bool> = tags.iter().map(|listed| seen.insert(&listed.tag)).collect();
    let mut is_new = is_new.into_iter();
    tags.retain(|_| is_new.next().unwrap_or(true));
}

/// A tag, or a name that is not a valid tag. Made without a copy of the text: a list may have a hundred
/// thousand tags.
struct TagName(Result<Tag, String>);

impl<'de> Deserialize<'de> for TagName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TagName, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = TagName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tag")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TagName, E> {
                Ok(TagName(Tag::new(text).map_err(|_| text.to_owned())))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<TagName, E> {
                Ok(TagName(Err("null".to_owned())))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Names>, D::Error> {
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Option<Names>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tags")
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut names = Names { tags: Vec::new(), dropped: Dropped::default(), count: 0 };
            while let Some(name) = list.next_element::<TagName>()? {
                names.count += 1;
                match name.0 {
                    Ok(tag) => names.tags.push(ListedTag::named(tag)),
                    Err(name) => names.dropped.add(&name),
                }
                if names.count > MOST_TAGS {
                    return Err(A::Error::custom(TOO_MANY));
                }
            }
            Ok(Some(names))
        }
    }

    deserializer.deserialize_any(List)
}

/// The code of a registry's error answer: `NAME_UNKNOWN`, `UNAUTHORIZED`, ….
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(value.pointer("/errors/0/code")?.as_str()?.to_owned())
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_limit() {
        let list = |count: usize| format!("[\"1\"{}]", ",\"1\"".repeat(count - 1));
        let read = |text: &str| {
            names(&mut serde_json::Deserializer::from_str(text)).map(|names| names.unwrap().count)
        };
        assert_eq!(read(&list(MOST_TAGS)).unwrap(), MOST_TAGS);
        assert!(read(&list(MOST_TAGS + 1)).unwrap_err().to_string().starts_with(TOO_MANY));
    }

    #[test]
    fn of_tags_that_repeat_the_first_stays_in_its_place() {
        for (names, expected) in [
            (vec!["b", "a", "b", "c", "a", "b"], vec!["b", "a", "c"]),
            (vec!["a", "a"], vec!["a"]),
            (vec!["b", "a"], vec!["b", "a"]),
            (vec![], vec![]),
        ] {
            let mut tags: Vec<ListedTag> =
                names.iter().map(|name| ListedTag::named(Tag::new(name).unwrap())).collect();
            drop_repeats(&mut tags);
            let kept: Vec<&str> = tags.iter().map(|listed| listed.tag.as_str()).collect();
            assert_eq!(kept, expected, "{names:?}");
        }
    }
}
