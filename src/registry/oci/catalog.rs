//! The catalog: the repositories of a registry. Many registries show it to administrators only, or not at all.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use ureq::http::StatusCode;

use super::access::Resource;
use super::{EMPTY_PAGES, NextPage, Oci};
use crate::reference::Repository;
use crate::registry::RegistryError;
use crate::registry::answer::{Answer, TAGS_BODY, Unread, whole};
use crate::registry::request::Method;
use crate::registry::tags_list::MOST_TAGS;

const PATH: &str = "/v2/_catalog";

/// A page of the catalog.
#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

impl Oci {
    /// Every page of the catalog, because it is not sorted by owner.
    pub(super) fn images_of(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        let own = format!("{owner}/");
        let mut images = BTreeSet::new();
        let (mut asked, mut firsts) = (HashSet::new(), HashSet::new());
        let (mut read, mut empty) = (0, 0);
        let size = Cell::new(0);
        let first = || {
            let (answer, accepted) = self.first_page(Resource::Catalog, PATH)?;
            size.set(accepted);
            Ok(answer)
        };
        let (mut next, mut names) = whole(first, page)?;
        loop {
            let last = names.last().map(String::as_str);
            let following = Oci::next_page(&next, names.len(), last, size.get())?;
            empty = if names.is_empty() { empty + 1 } else { 0 };
            read += names.len();
            let repeats = names.first().is_some_and(|first| !firsts.insert(first.clone()));
            let of_owner = names.iter().filter(|name| name.starts_with(&own));
            images.extend(of_owner.filter_map(|name| Repository::new(name).ok()));
            let Some(following) = following else {
                return Ok(images.into_iter().collect());
            };
            if repeats && next.link.is_none() && self.has_no_pages(&next, size.get())? {
                return Ok(images.into_iter().collect());
            }
            if repeats || empty > EMPTY_PAGES || read > MOST_TAGS || !asked.insert(following.clone()) {
                return Err(RegistryError::Protocol(format!(
                    "{}: the registry returned the same page twice",
                    next.head
                )));
            }
            (next, names) = whole(|| self.ask(Method::Get, Resource::Catalog, &following), page)?;
        }
    }

    /// Whether the server has no pages, and happens to have as many repositories as requested: a request for
    /// fewer still returns all.
    fn has_no_pages(&self, answer: &NextPage, size: usize) -> Result<bool, RegistryError> {
        let mut url = answer.url.clone();
        url.set_query(Some(&format!("n={}", size - 1)));
        let (next, names) = whole(|| self.ask(Method::Get, Resource::Catalog, &url), page)?;
        Ok(next.link.is_none() && names.len() >= size)
    }
}

fn page(answer: Answer) -> Result<(NextPage, Vec<String>), Unread> {
    if answer.status != StatusCode::OK {
        return Err(refusal(answer).into());
    }
    let next = NextPage::of(&answer)?;
    let head = answer.head();
    let page: Catalog = serde_json::from_slice(&answer.bytes(TAGS_BODY)?)
        .map_err(|_| RegistryError::Protocol(format!("{head}: this is not a list of repositories")))?;
    Ok((next, page.repositories.unwrap_or_default()))
}

fn refusal(answer: Answer) -> RegistryError {
    const ADVICE: &str = "this registry does not show its catalog to this user; instead of images, write a project with image for each image";
    match answer.status {
        StatusCode::UNAUTHORIZED => answer.refused(ADVICE).unauthorized(),
        StatusCode::FORBIDDEN => answer.refused(ADVICE).denied(),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => RegistryError::Protocol(format!(
            "{}: this registry has no catalog; instead of images, write a project with image for each image",
            answer.head()
        )),
        _ => answer.refused("this is not an answer of a registry; is url right?").protocol(),
    }
}
