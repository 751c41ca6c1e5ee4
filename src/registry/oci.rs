//! Any registry of the OCI distribution specification: pages by `n`, `last` and `Link`; `access` is the authentication
//! that the server requires. It accepts all servers that skopeo accepts, with the same tags and digests.

mod access;
mod catalog;
pub(super) mod header;
mod sign_in;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};

use access::{Door, Resource, Slot};
use ureq::http::StatusCode;
use url::{Origin, Url};

use super::answer::{Answer, SMALL_BODY, Unread, whole};
use super::client::Client;
use super::image::{self, Blob, Blobs, Heads};
use super::large::{Claim, LARGE_LIST};
use super::request::Method;
use super::tags_list::{MOST_TAGS, Page, TOO_MANY, error_code, without_repeats};
use super::{Configuration, Registry, RegistryError, SignIn, Traffic};
use crate::config::RegistryConfig;
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};
use crate::secret::Secrets;

/// The requested page sizes; the second is used if a server rejects the first.
const PAGE_SIZES: [usize; 2] = [1000, 100];

/// The allowed number of consecutive pages without a tag.
const EMPTY_PAGES: usize = 100;

pub(super) struct Oci {
    client: Client,
    config: RegistryConfig,
    secrets: Arc<Secrets>,
    /// The installation's path before `/v2/`.
    prefix: String,
    /// Hosts that may receive credentials for a token, besides the registry's own.
    realms: Vec<Origin>,
    /// The answer of `/v2/` without credentials. Requested once a run, and only if credentials are configured.
    door: OnceLock<Result<Door, RegistryError>>,
    /// The access for each scope at each server; one exchange for a scope in a run.
    access: Mutex<HashMap<(String, Origin), Slot>>,
    heads: Heads,
    /// Advice if no registry answers below the path.
    advice: OnceLock<Option<String>>,
}

impl Oci {
    pub(super) fn new(config: &RegistryConfig, url: &Url, secrets: Arc<Secrets>, requests: Traffic) -> Oci {
        Oci {
            client: Client::new(config, url, &secrets, requests),
            config: config.clone(),
            secrets,
            prefix: url.path().trim_end_matches('/').to_owned(),
            realms: Vec::new(),
            door: OnceLock::new(),
            access: Mutex::new(HashMap::new()),
            heads: Heads::default(),
            advice: OnceLock::new(),
        }
    }

    /// The same, with a server that may receive credentials for a token.
    pub(super) fn trusting(mut self, realm: &Url) -> Oci {
        self.realms.push(realm.origin());
        self
    }

    /// Whether credentials may be sent there for a token.
    pub(super) fn trusts(&self, realm: &Url) -> bool {
        self.client.may_have_credentials(realm) || self.realms.contains(&realm.origin())
    }

    /// An error of a registry below a path, with the registry's right address if none answers below that path.
    /// At most two requests, once a run.
    fn advised(&self, error: RegistryError) -> RegistryError {
        let look = || {
            let is_none = !self.prefix.is_empty() && matches!(self.door(), Ok(Door::Unknown(_)));
            let root = self.client.at("/v2/");
            let answer = is_none.then(|| self.client.send(Method::Get, &root, &[]).ok()).flatten()?;
            let is_registry =
                answer.status == StatusCode::OK || !header::challenges(&answer.headers).is_empty();
            let address = root.origin().ascii_serialization();
            is_registry.then(|| format!("a registry answers at {address}: set url to it"))
        };
        let (make, message): (fn(String) -> RegistryError, _) = match error {
            RegistryError::NotFound(message) => (RegistryError::NotFound, message),
            RegistryError::Protocol(message) => (RegistryError::Protocol, message),
            error => return error,
        };
        match self.advice.get_or_init(look) {
            Some(advice) => make(format!("{message}; {advice}")),
            None => make(message),
        }
    }

    fn base(&self) -> Url {
        self.client.at(&format!("{}/v2/", self.prefix))
    }

    /// The answer to a HEAD request for a tag's manifest.
    pub(super) fn head(&self, repository: &Repository, tag: &Tag) -> Result<Answer, RegistryError> {
        self.ask(Method::Head, repository, &self.manifest(repository, tag))
    }

    fn manifest(&self, repository: &Repository, tag: &Tag) -> Url {
        self.client.at(&format!("{}/v2/{repository}/manifests/{tag}", self.prefix))
    }

    pub(super) fn refusal(answer: Answer) -> RegistryError {
        match answer.status {
            StatusCode::UNAUTHORIZED => answer
                .refused("this user name and password (or anonymous access) may not read it; is the image's name right?")
                .unauthorized(),
            StatusCode::FORBIDDEN => answer.refused("this user may not read the image").denied(),
            StatusCode::NOT_FOUND => {
                let head = answer.head();
                let body = answer.bytes(SMALL_BODY).unwrap_or_default();
                let what = match error_code(&body).as_deref() {
                    Some("NAME_UNKNOWN") => "the image does not exist; is its name right, and was it ever pushed?",
                    _ => "the image does not exist, or this is not the address of a registry",
                };
                RegistryError::NotFound(format!("{head}: {what}"))
            }
            _ => answer.refused("this is not an answer of a registry; is url right?").protocol(),
        }
    }

    /// The first page of the list at this path, smaller if the server rejects the first size.
    fn first_page(&self, resource: Resource<'_>, path: &str) -> Result<(Answer, usize), RegistryError> {
        let mut sizes = PAGE_SIZES.into_iter();
        let mut size = sizes.next().unwrap_or(100);
        loop {
            let url = self.client.at(&format!("{}{path}?n={size}", self.prefix));
            let answer = self.ask(Method::Get, resource, &url)?;
            match (answer.status, sizes.next()) {
                // ECR answers 405 UNSUPPORTED, distribution 400 PAGINATION_NUMBER_INVALID.
                (
                    StatusCode::BAD_REQUEST
                    | StatusCode::METHOD_NOT_ALLOWED
                    | StatusCode::UNPROCESSABLE_ENTITY,
                    Some(smaller),
                ) => size = smaller,
                _ => return Ok((answer, size)),
            }
        }
    }

    /// The URL of the next page: that of `Link`, or after the last name of a full page without `Link`. `names`:
    /// the number of names on the page.
    fn next_page(
        answer: &NextPage,
        names: usize,
        last: Option<&str>,
        size: usize,
    ) -> Result<Option<Url>, RegistryError> {
        let mut next = answer.url.clone();
        if let Some(link) = &answer.link {
            let Ok(link) = answer.url.join(link) else {
                return Err(RegistryError::Protocol(format!("{}: its Link is not an address", answer.head)));
            };
            // Only the query of Link is used. A server behind a proxy often does not know its own host, scheme
            // or path, and credentials must go nowhere else.
            let Some(query) = link.query().filter(|query| !query.is_empty()) else {
                return Err(RegistryError::Protocol(format!(
                    "{}: its Link has no query, and the next page is requested from this registry only",
                    answer.head
                )));
            };
            next.set_query(Some(query));
            return Ok(Some(next));
        }
        // More names than requested: the server has no pages, and this is the whole list.
        if names != size {
            return Ok(None);
        }
        let Some(last) = last else {
            return Err(RegistryError::Protocol(format!(
                "{}: a full page without a valid name, and without a Link to the next page",
                answer.head
            )));
        };
        next.set_query(Some(&format!("n={size}&last={last}")));
        Ok(Some(next))
    }

    fn list_all(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        let mut listing = Listing::default();
        let claim = self.client.claim();
        let mut asked = HashSet::new();
        let mut empty = 0;
        // The first tag of each page, because different addresses may still give the same page.
        let mut firsts: HashSet<Tag> = HashSet::new();
        let size = Cell::new(0);
        let path = format!("/v2/{repository}/tags/list");
        let first = || {
            let (answer, accepted) = self.first_page(repository.into(), &path)?;
            size.set(accepted);
            Ok(answer)
        };
        let (mut next, mut page) = whole(first, |answer| read_page(answer, repository, &claim))?;
        loop {
            let last = page.tags.last().map(|listed| listed.tag.as_str());
            let following = Oci::next_page(&next, page.names, last, size.get())?;
            // ECR has pages with untagged images only. Any other page advances the listing.
            empty = if page.names == 0 { empty + 1 } else { 0 };
            let repeats = page.tags.first().is_some_and(|first| !firsts.insert(first.tag.clone()));
            listing.dropped.join(page.dropped);
            listing.tags.extend(page.tags);
            if listing.tags.len() + listing.dropped.count > MOST_TAGS {
                return Err(RegistryError::Protocol(format!("{}: {TOO_MANY}", next.head)));
            }
            if listing.tags.len() > LARGE_LIST {
                claim.hold()?;
            }
            let Some(following) = following else {
                let tags = without_repeats(listing.tags, &claim);
                return Ok(Listing { tags, held: claim.held(), ..listing });
            };
            if repeats
                && next.link.is_none()
                && let Some(all) = self.without_pages(repository, &next, size.get(), &claim)?
            {
                let tags = without_repeats(all.tags, &claim);
                return Ok(Listing { tags, dropped: all.dropped, held: claim.held(), ..listing });
            }
            if repeats || empty > EMPTY_PAGES || !asked.insert(following.clone()) {
                return Err(RegistryError::Protocol(format!(
                    "{}: the registry returned the same page twice",
                    next.head
                )));
            }
            let ask = || self.ask(Method::Get, repository, &following);
            (next, page) = whole(ask, |answer| read_page(answer, repository, &claim))?;
        }
    }

    /// The whole list of a server without pages, if its length happens to be the requested page size: a request
    /// for fewer tags still returns all. None: the server has pages.
    fn without_pages(
        &self,
        repository: &Repository,
        answer: &NextPage,
        size: usize,
        claim: &Claim,
    ) -> Result<Option<Page>, RegistryError> {
        let mut url = answer.url.clone();
        url.set_query(Some(&format!("n={}", size - 1)));
        let ask = || self.ask(Method::Get, repository, &url);
        let (next, page) = whole(ask, |answer| read_page(answer, repository, claim))?;
        Ok(Some(page).filter(|page| next.link.is_none() && page.names >= size))
    }
}

/// The part of an answer that determines the next page.
struct NextPage {
    head: String,
    url: Url,
    link: Option<String>,
}

impl NextPage {
    fn of(answer: &Answer) -> Result<NextPage, RegistryError> {
        let head = answer.head();
        let link = header::next_link(&answer.headers)
            .map_err(|what| RegistryError::Protocol(format!("{head}: {what}")))?;
        Ok(NextPage { head, url: answer.url.clone(), link })
    }
}

fn read_page(answer: Answer, repository: &Repository, claim: &Claim) -> Result<(NextPage, Page), Unread> {
    if answer.status != StatusCode::OK {
        return Err(Oci::refusal(answer).into());
    }
    let next = NextPage::of(&answer)?;
    Ok((next, Page::read(answer, repository, claim)?))
}

impl Registry for Oci {
    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        self.try_credential(repositories.first().copied())
    }

    fn has_push_times(&self) -> bool {
        false
    }

    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        self.list_all(repository).map_err(|error| self.advised(error))
    }

    fn images(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        self.images_of(owner)
    }

    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let url = self.manifest(repository, tag);
        self.heads.digest(repository, |method| self.ask(method, repository, &url), Oci::refusal)
    }

    fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
        platforms: &[String],
    ) -> Result<Option<Configuration>, RegistryError> {
        image::configuration(&OfRepository { oci: self, repository }, repository, digest.as_str(), platforms)
    }

    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Platforms, RegistryError> {
        image::platforms(&OfRepository { oci: self, repository }, repository, tag)
    }

    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a> {
        let error = RegistryError::Protocol(format!(
            "this registry does not report push times of the tags of {repository}"
        ));
        Box::new(std::iter::once(Err(error)))
    }
}

/// Tokens are for a repository.
struct OfRepository<'a> {
    oci: &'a Oci,
    repository: &'a Repository,
}

impl Blobs for OfRepository<'_> {
    fn get(&self, path: &str) -> Result<Option<Blob>, RegistryError> {
        let url = self.oci.client.at(&format!("{}{path}", self.oci.prefix));
        let ask = || self.oci.ask(Method::Get, self.repository, &url);
        whole(ask, |answer| match answer.status {
            StatusCode::OK => Blob::read(answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(Oci::refusal(answer).into()),
        })
    }
}
