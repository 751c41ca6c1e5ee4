//! Which images an owner has.

use std::collections::BTreeSet;

use serde::Deserialize;
use ureq::http::StatusCode;

use super::package::ROWS;
use super::{Gitea, RegistryError};
use crate::reference::Repository;
use crate::registry::answer::{TAGS_BODY, whole};
use crate::registry::request::Method;

/// The most that the catalog gives in a page.
const NAMES: usize = 100;

/// A page of `/v2/_catalog`.
#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

impl Gitea {
    /// By the catalog: a page has a hundred images, and goes on after a name, so that what is pushed or deleted while
    /// it is read moves nothing. Where a proxy does not let the catalog through, by the rows of all versions.
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

    /// The catalog has the images of every owner that may be seen, in the order of the database; it is read from the
    /// owner's first image to the last one that can be the owner's.
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
                serde_json::from_slice::<Catalog>(&answer.bytes(TAGS_BODY)?)
                    .map_err(|_| RegistryError::Protocol(format!("{head}: this is no list of images")).into())
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

    /// From the rows of all versions. One that is pushed while they are read can be missing.
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

/// Whether an image of the owner can follow this name. Databases sort by bytes, or by letters and digits first, as if
/// there were nothing between them.
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
            // By letters only, acme/zoo follows.
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
