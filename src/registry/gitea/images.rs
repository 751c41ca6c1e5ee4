//! The images of an owner.

use std::collections::BTreeSet;

use serde::Deserialize;
use ureq::http::StatusCode;

use super::package::ROWS;
use super::{Gitea, RegistryError};
use crate::reference::Repository;
use crate::registry::answer::{TAGS_BODY, whole};
use crate::registry::request::Method;

/// The catalog's largest page.
const NAMES: usize = 100;

/// A page of `/v2/_catalog`.
#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

impl Gitea {
    /// From the catalog. Each page begins after a name, so that a push or a deletion during the listing moves
    /// no image to another page. If a reverse proxy blocks the catalog, from the rows of all versions.
    pub(super) fn images_of(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        match self.catalog_of(owner) {
            Err(RegistryError::NotFound(_) | RegistryError::Denied(_) | RegistryError::Protocol(_))
                if self.credential()?.is_some() =>
            {
                self.images_by_version(owner)
            }
            listed => listed,
        }
    }

    /// The catalog lists the images of all visible owners in the order of the database. It is read from the
    /// owner's first image to the last one that can belong to the owner.
    fn catalog_of(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        let own = format!("{owner}/");
        let mut images = BTreeSet::new();
        let mut last = own.clone();
        loop {
            let path = format!("/v2/_catalog?n={NAMES}&last={last}");
            let ask = || self.ask(Method::Get, &path);
            let page = whole(ask, |answer| {
                if answer.status != StatusCode::OK {
                    return Err(self.refusal(answer).into());
                }
                let head = answer.head();
                serde_json::from_slice::<Catalog>(&answer.bytes(TAGS_BODY)?).map_err(|_| {
                    RegistryError::Protocol(format!("{head}: this is not a list of images")).into()
                })
            })?;
            let of_owner = page.repositories.iter().filter(|name| name.starts_with(&own));
            images.extend(of_owner.filter_map(|name| Repository::new(name).ok()));
            match page.repositories.last() {
                Some(next) if page.repositories.len() >= NAMES && may_precede(next, owner) => {
                    if *next == last {
                        let message = format!("GET {path}: the registry returned the same page twice");
                        return Err(RegistryError::Protocol(message));
                    }
                    last.clone_from(next);
                }
                _ => return Ok(images.into_iter().collect()),
            }
        }
    }

    /// From the rows of all versions. An image pushed during the listing may be missing.
    fn images_by_version(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        let mut names = BTreeSet::new();
        let (mut number, mut read) = (1, 0);
        loop {
            let page = self.feed_page(owner, number, ROWS)?;
            read += page.rows.len() as u64;
            let is_last = page.rows.is_empty() || read >= page.total;
            names.extend(page.rows.into_iter().map(|row| row.name));
            if is_last {
                break;
            }
            number += 1;
        }
        Ok(names.iter().filter_map(|name| Repository::new(&format!("{owner}/{name}")).ok()).collect())
    }
}

/// Whether an image of the owner can follow this name. Databases sort by bytes, or compare only letters and
/// digits first.
fn may_precede(name: &str, owner: &str) -> bool {
    let letters = |text: &str| -> String { text.chars().filter(char::is_ascii_alphanumeric).collect() };
    let (name, owner) = (letters(name), letters(owner));
    name <= owner || name.starts_with(&owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_read_until_no_image_of_the_owner_can_follow() {
        for (name, expected) in [
            ("acme/shop", true),
            // Compared by letters only, acme/zoo follows.
            ("acme-big/shop", true),
            ("acmebig/shop", true),
            ("acm/zoo", false),
            ("abc/zoo", true),
            ("beta/shop", false),
            ("acmf/a", false),
        ] {
            assert_eq!(may_precede(name, "acme"), expected, "{name}");
        }
    }
}
