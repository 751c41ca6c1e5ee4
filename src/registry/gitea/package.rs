//! Gitea's package API: versions of images with their push times, newest first.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use ureq::http::StatusCode;

use super::super::answer::{Answer, ROWS_BODY, whole};
use super::super::newest_first::Pages;
use super::super::request::Method;
use super::super::{Registry as _, RegistryError};
use super::address::user_fault;
use super::{Gitea, NO_RIGHT, WRONG_TOKEN};
use crate::engine::feed::{FeedPage, FeedRow, Owner};
use crate::reference::{ListedTag, Repository, Tag};
use crate::secret::Credential;

/// The requested rows of a page. Servers reduce it to their own limit (50 by default).
pub(super) const ROWS: usize = 50;

/// Every version of these servers sends it. Without it, the last page would look like an incomplete list.
const NO_TOTAL: &str = "it has no X-Total-Count";

const NO_LIST: &str = "this is not a list of packages";

/// A version of a package.
#[derive(Deserialize)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) created_at: Timestamp,
    owner: Option<Owner>,
}

impl Gitea {
    /// Sends a request to the package API, which accepts the token itself.
    pub(super) fn ask_packages(&self, path: &str) -> Result<Answer, RegistryError> {
        let Ok(url) = self.api.join(path) else {
            return Err(RegistryError::Protocol(format!("{path:?} is not a path")));
        };
        let Some(credential) = self.credential()? else {
            return Err(RegistryError::Unauthorized(format!(
                "GET {url}: not sent: push times, which order = \"newest\" and min_age use, need a token with the scope read:package"
            )));
        };
        let client = self.api_client.as_ref().unwrap_or(&self.client);
        let send = |credential: &Credential| {
            let authorization = match &credential.username {
                Some(_) => credential.basic(),
                None => format!("token {}", credential.token.expose_secret()),
            };
            client.send(Method::Get, &url, &[("authorization", &authorization)])
        };
        let answer = send(&credential)?;
        if answer.status == StatusCode::UNAUTHORIZED
            && let Some(renewed) = self.renewed(Some(&credential))?
        {
            return send(&renewed);
        }
        Ok(answer)
    }

    /// The error of an unsuccessful answer of the package API.
    pub(super) fn package_refusal(&self, answer: Answer) -> RegistryError {
        match answer.status {
            StatusCode::UNAUTHORIZED => {
                let elsewhere = (!self.path.is_empty()).then(|| self.find_api()).flatten();
                let advice = elsewhere.map_or_else(|| self.advised(WRONG_TOKEN), str::to_owned);
                answer.refused(&advice).unauthorized()
            }
            StatusCode::FORBIDDEN => answer
                .refused_by(|said| user_fault(said).map_or_else(|| self.advised(NO_RIGHT), str::to_owned))
                .denied(),
            StatusCode::NOT_FOUND => {
                let is_forges = answer.header("content-type").is_some_and(|kind| kind.contains("json"));
                let advice = if is_forges { None } else { self.find_api() };
                answer.refused(advice.unwrap_or("the owner does not exist; is the name right?")).not_found()
            }
            _ => {
                let advice = self.find_api();
                answer
                    .refused(advice.unwrap_or("this is not an answer of Gitea's package API; is url right?"))
                    .protocol()
            }
        }
    }

    /// A page of the versions of all images of an owner, newest push first.
    pub(super) fn feed_page(
        &self,
        owner: &str,
        number: usize,
        limit: usize,
    ) -> Result<FeedPage, RegistryError> {
        let page = if number > 1 { format!("&page={number}") } else { String::new() };
        let answer = self.ask_packages(&format!("{owner}?type=container&limit={limit}{page}"))?;
        if answer.status != StatusCode::OK {
            return Err(self.package_refusal(answer));
        }
        let head = answer.head();
        let strange = |what: &str| RegistryError::Protocol(format!("{head}: {what}"));
        let total = answer.header("x-total-count").and_then(|total| total.parse().ok());
        let total = total.ok_or_else(|| strange(NO_TOTAL))?;
        let server_time = answer.date().ok_or_else(|| strange("it has no Date"))?;
        let bytes = answer.bytes(ROWS_BODY)?;
        let rows: Vec<Row> =
            serde_json::from_slice(&bytes).map_err(|_| strange(self.find_api().unwrap_or(NO_LIST)))?;
        let owner = rows.first().and_then(|row| row.owner.clone());
        let row = |Row { id, name, version, created_at, .. }| FeedRow { id, name, version, created_at };
        #[allow(clippy::disallowed_methods, reason = "the server's clock is compared with ours")]
        let our_time = Timestamp::now();
        Ok(FeedPage { rows: rows.into_iter().map(row).collect(), owner, total, server_time, our_time })
    }

    /// A page of the versions of one image, newest push first, and the server's total.
    fn page(&self, repository: &Repository, number: usize) -> Result<(Vec<Row>, usize), RegistryError> {
        whole(
            || self.ask_page(repository, number),
            |answer| {
                if answer.status != StatusCode::OK {
                    return Err(self.package_refusal(answer).into());
                }
                let head = answer.head();
                let strange = |what: &str| RegistryError::Protocol(format!("{head}: {what}"));
                let total = answer.header("x-total-count").and_then(|total| total.parse().ok());
                let rows = serde_json::from_slice(&answer.bytes(ROWS_BODY)?)
                    .map_err(|_| strange(self.find_api().unwrap_or(NO_LIST)))?;
                let total = total.ok_or_else(|| strange(NO_TOTAL))?;
                Ok((rows, total))
            },
        )
    }

    fn ask_page(&self, repository: &Repository, number: usize) -> Result<Answer, RegistryError> {
        let (owner, image) = (repository.owner(), repository.name().unwrap_or_default());
        let encoded = image.replace('/', "%2F");
        if !self.lists_owners_only.load(Ordering::Relaxed) {
            let answer =
                self.ask_packages(&format!("{owner}/container/{encoded}?page={number}&limit={ROWS}"))?;
            let is_json = answer.header("content-type").is_some_and(|kind| kind.contains("json"));
            if answer.status != StatusCode::NOT_FOUND || is_json {
                return Ok(answer);
            }
            // `404 page not found`: Gitea has this route since 1.24.
            self.lists_owners_only.store(true, Ordering::Relaxed);
        }
        self.ask_packages(&format!("{owner}?type=container&q={encoded}&page={number}&limit={ROWS}"))
    }
}

/// The pages of one image in the package API.
pub(super) struct PackagePages<'a> {
    gitea: &'a Gitea,
    repository: &'a Repository,
    number: usize,
    total: usize,
    /// The total, which includes the children of multi-arch images and images with a similar name.
    rows_read: usize,
    /// The versions changed during the listing, which therefore began again at the first page.
    begun_again: bool,
    seen: HashSet<i64>,
}

impl<'a> PackagePages<'a> {
    pub(super) fn new(gitea: &'a Gitea, repository: &'a Repository) -> PackagePages<'a> {
        PackagePages {
            gitea,
            repository,
            number: 1,
            total: 0,
            rows_read: 0,
            begun_again: false,
            seen: HashSet::new(),
        }
    }
}

impl Pages for PackagePages<'_> {
    fn next_page(&mut self) -> Result<(Vec<ListedTag>, bool), RegistryError> {
        let (rows, total) = self.gitea.page(self.repository, self.number)?;
        if self.number > 1 && total != self.total {
            if self.begun_again {
                return Err(RegistryError::Unavailable(format!(
                    "the packages of {} changed several times during the listing; will retry at the next poll",
                    self.repository
                )));
            }
            self.begun_again = true;
            (self.number, self.rows_read) = (1, 0);
            return Ok((Vec::new(), false));
        }
        self.total = total;
        self.number += 1;
        self.rows_read += rows.len();
        // A page with fewer rows than requested is not the last one: the server has its own limit.
        let is_last = rows.is_empty() || self.rows_read >= total;
        let image = self.repository.name().unwrap_or_default();
        let tags: Vec<ListedTag> = rows
            .into_iter()
            .filter(|row| row.name.eq_ignore_ascii_case(image) && self.seen.insert(row.id))
            .filter_map(|row| {
                // The version of an untagged child of a multi-arch image is its digest.
                let tag = Tag::new(&row.version).ok()?;
                Some(ListedTag {
                    pushed_at: Some(row.created_at),
                    sequence: Some(row.id),
                    ..ListedTag::named(tag)
                })
            })
            .collect();
        if is_last && self.seen.is_empty() {
            // The package API gives the same answer for a missing image and an image without tags.
            self.gitea.list_tags(self.repository)?;
        }
        Ok((tags, is_last))
    }
}
