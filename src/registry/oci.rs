//! Any registry of the OCI distribution specification: pages by `n`, `last` and `Link`, and the authentication
//! that the server requires. It accepts all servers that skopeo accepts, with the same tags and digests.

mod catalog;
pub(super) mod header;
mod sign_in;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use header::Challenge;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use ureq::http::StatusCode;
use url::{Origin, Url};

use super::answer::{Answer, SMALL_BODY, Unread, whole};
use super::client::{Client, MANIFEST_TYPES, MOST_REDIRECTS, too_many_redirects};
use super::image::{self, Blob, Blobs, Heads};
use super::large::{Claim, LARGE_LIST};
use super::request::Method;
use super::tags_list::{MOST_TAGS, Page, TOO_MANY, error_code, without_repeats};
use super::{Configuration, Registry, RegistryError, SignIn, Traffic};
use crate::config::RegistryConfig;
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};
use crate::secret::{Credential, Secrets};

/// The requested page sizes; the second is used if a server rejects the first.
const PAGE_SIZES: [usize; 2] = [1000, 100];

/// The allowed number of consecutive pages without a tag.
const EMPTY_PAGES: usize = 100;

const NO_PASSWORD: &str = "it requires a password; set token to it, with username";

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

/// The subject of a request.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Repository(&'a Repository),
    /// The list of repositories.
    Catalog,
    /// A check that the credential is accepted.
    Base,
}

impl<'a> Subject<'a> {
    fn repository(self) -> Option<&'a Repository> {
        match self {
            Subject::Repository(repository) => Some(repository),
            Subject::Catalog | Subject::Base => None,
        }
    }

    /// The scope of a token.
    fn scope(self) -> Option<String> {
        match self {
            Subject::Repository(repository) => Some(format!("repository:{repository}:pull")),
            Subject::Catalog => Some("registry:catalog:*".to_owned()),
            Subject::Base => None,
        }
    }
}

impl<'a> From<&'a Repository> for Subject<'a> {
    fn from(repository: &'a Repository) -> Subject<'a> {
        Subject::Repository(repository)
    }
}

/// How a registry answers a request without credentials to `/v2/`.
enum Door {
    Open,
    Asks {
        head: String,
        challenges: Vec<Challenge>,
    },
    /// It has no `/v2/`, or hides it.
    Unknown(RegistryError),
}

/// The access to a repository at one server. Locked during an exchange, so that other threads wait for its
/// token.
type Slot = Arc<Mutex<Option<Arc<Access>>>>;

struct Access {
    /// The header `Authorization`.
    header: String,
    /// The challenges and the credential of the header.
    credential: Option<Credential>,
    challenges: Vec<Challenge>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
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

    /// Sends a request about a repository, with authentication if the server requires it. Without a configured
    /// credential, a redirect to another server is followed, with anonymous access there.
    fn ask<'a>(
        &self,
        method: Method,
        subject: impl Into<Subject<'a>>,
        url: &Url,
    ) -> Result<Answer, RegistryError> {
        let subject = subject.into();
        let may_leave =
            self.secrets.credential_for(&self.config, subject.repository(), self.client.cutoff())?.is_none();
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.ask_at(method, subject, &url)?;
            match self.client.redirect(&answer, may_leave)? {
                None => return Ok(answer),
                Some(next) => url = next,
            }
        }
        Err(too_many_redirects(method, &url))
    }

    /// The same at this server only. A refusal is answered according to its challenge, then once more with a
    /// renewed credential.
    fn ask_at(&self, method: Method, subject: Subject<'_>, url: &Url) -> Result<Answer, RegistryError> {
        let slot = self.slot(subject, url);
        let (mut used, mut is_fresh) = self.first_access(&slot, subject, url)?;
        let mut answer = self.send(method, url, used.as_deref())?;
        for _ in 0..2 {
            if !is_refused(&answer) {
                break;
            }
            let Some(next) = self.next_access(&slot, subject, used.as_ref(), is_fresh, &answer)? else {
                break;
            };
            answer = self.send(method, url, Some(&next))?;
            (used, is_fresh) = (Some(next), true);
        }
        Ok(answer)
    }

    /// The access for the first request, and whether it was made just now. A configured credential is used from
    /// the first request on: anonymous access may show only some tags, or no image.
    fn first_access(
        &self,
        slot: &Slot,
        subject: Subject<'_>,
        url: &Url,
    ) -> Result<(Option<Arc<Access>>, bool), RegistryError> {
        let mut known = lock(slot);
        if known.is_some() || self.credential_at(url, subject)?.is_none() {
            return Ok((known.clone(), false));
        }
        if let Door::Asks { head, challenges } = self.door()?
            && !challenges.is_empty()
        {
            *known = Some(Arc::new(self.authorization(head, challenges, url, subject)?));
        }
        Ok((known.clone(), true))
    }

    /// The access for another try after this answer; None: no other access exists. `is_fresh`: the used access
    /// was made for this request, so making it again cannot help.
    fn next_access(
        &self,
        slot: &Slot,
        subject: Subject<'_>,
        used: Option<&Arc<Access>>,
        is_fresh: bool,
        answer: &Answer,
    ) -> Result<Option<Arc<Access>>, RegistryError> {
        let mut known = lock(slot);
        let is_used = match (&*known, used) {
            (Some(known), Some(used)) => Arc::ptr_eq(known, used),
            (known, used) => known.is_none() && used.is_none(),
        };
        if !is_used {
            return Ok(known.clone());
        }
        let challenges = header::challenges(&answer.headers);
        let is_answered = is_fresh && used.is_some_and(|used| used.challenges == challenges);
        let mut next = None;
        // A gateway that refuses a HEAD gives no challenge; the GET has one, if there is something to answer.
        let is_answered = is_answered || (answer.method == Method::Head && challenges.is_empty());
        if answer.status == StatusCode::UNAUTHORIZED && !is_answered {
            let access = self.authorization(&answer.head(), &challenges, &answer.url, subject)?;
            next = Some(access).filter(|access| used.is_none_or(|used| used.header != access.header));
        }
        if next.is_none()
            && let Some((used, credential)) = used.and_then(|used| Some((used, used.credential.as_ref()?)))
            && let Some(renewed) =
                self.secrets.renewed(&self.config, subject.repository(), credential, self.client.cutoff())?
        {
            let (head, url) = (answer.head(), &answer.url);
            next = Some(self.answered(&head, &used.challenges, Some(renewed), url, subject)?);
        }
        let next = next.map(Arc::new);
        if next.is_some() {
            known.clone_from(&next);
        }
        Ok(next)
    }

    /// The credential for a request to this URL: none at other servers than the registry's own.
    fn credential_at(&self, url: &Url, subject: Subject<'_>) -> Result<Option<Credential>, RegistryError> {
        if !self.client.is_same_origin(url) {
            return Ok(None);
        }
        Ok(self.secrets.credential_for(&self.config, subject.repository(), self.client.cutoff())?)
    }

    fn door(&self) -> Result<&Door, RegistryError> {
        let ask = || {
            let answer = self.client.send(Method::Get, &self.base(), &[])?;
            Ok(match answer.status {
                StatusCode::OK => Door::Open,
                StatusCode::UNAUTHORIZED => {
                    Door::Asks { head: answer.head(), challenges: header::challenges(&answer.headers) }
                }
                _ => Door::Unknown(Oci::refusal(answer)),
            })
        };
        self.door.get_or_init(ask).as_ref().map_err(RegistryError::clone)
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

    fn slot(&self, subject: Subject<'_>, url: &Url) -> Slot {
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(access.entry((subject.scope().unwrap_or_default(), url.origin())).or_default())
    }

    /// Blobs may be in storage elsewhere, which receives no credentials.
    fn send(&self, method: Method, url: &Url, access: Option<&Access>) -> Result<Answer, RegistryError> {
        let mut headers = vec![("accept", MANIFEST_TYPES)];
        headers.extend(access.map(|access| ("authorization", access.header.as_str())));
        let answer = self.client.send_to(method, url, &headers)?;
        if url.path().contains("/blobs/") {
            image::follow(&self.client, answer, &headers)
        } else {
            Ok(answer)
        }
    }

    /// The access that a server's challenges ask for, with a renewed credential if the present one has expired.
    fn authorization(
        &self,
        head: &str,
        challenges: &[Challenge],
        url: &Url,
        subject: Subject<'_>,
    ) -> Result<Access, RegistryError> {
        let credential = self.credential_at(url, subject)?;
        let answered = self.answered(head, challenges, credential.clone(), url, subject);
        if let (Err(RegistryError::Unauthorized(_)), Some(credential)) = (&answered, credential)
            && let Some(renewed) =
                self.secrets.renewed(&self.config, subject.repository(), &credential, self.client.cutoff())?
        {
            return self.answered(head, challenges, Some(renewed), url, subject);
        }
        answered
    }

    fn answered(
        &self,
        head: &str,
        challenges: &[Challenge],
        credential: Option<Credential>,
        url: &Url,
        subject: Subject<'_>,
    ) -> Result<Access, RegistryError> {
        let access = |header, credential| Access { header, credential, challenges: challenges.to_vec() };
        let mut refused = None;
        for challenge in challenges {
            let Challenge::Bearer { realm, service } = challenge else {
                continue;
            };
            match self.realm(head, realm, url) {
                Ok(realm) => {
                    let header = self.exchange(realm, service.as_deref(), credential.as_ref(), subject)?;
                    return Ok(access(header, credential));
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let basic = credential.as_ref().filter(|credential| !credential.is_identity).map(Credential::basic);
        match (challenges.contains(&Challenge::Basic), basic, refused) {
            (true, Some(basic), _) => Ok(access(basic, credential)),
            (_, _, Some(refused)) => Err(refused),
            (true, None, None) => Err(RegistryError::Unauthorized(format!("{head}: {NO_PASSWORD}"))),
            (false, _, None) => Err(RegistryError::Unauthorized(format!(
                "{head}: the server does not say how to authenticate"
            ))),
        }
    }

    /// The URL for a token, if credentials may be sent there. The same rule holds without a credential: a
    /// server must not make tagship send requests to other addresses, or see their answers.
    fn realm(&self, head: &str, realm: &str, asked: &Url) -> Result<Url, RegistryError> {
        let url = Url::parse(realm).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(
            || RegistryError::Protocol(format!("{head}: the address for a token is not valid")),
        )?;
        // After a redirect to another server, that server's own host issues the tokens, for anonymous access.
        let is_others = !self.client.is_same_origin(asked)
            && (url.scheme(), url.host()) == (asked.scheme(), asked.host());
        if !is_others && !self.trusts(&url) {
            return Err(RegistryError::Denied(format!(
                "{head}: it issues tokens at {}, but tagship requests tokens only from the registry's own host with the same scheme; if that host belongs to the registry, add it to trusted_realms (Gitea and Forgejo use ROOT_URL of their app.ini, which should be the same as url)",
                url.origin().ascii_serialization()
            )));
        }
        Ok(url)
    }

    fn exchange(
        &self,
        mut url: Url,
        service: Option<&str>,
        credential: Option<&Credential>,
        subject: Subject<'_>,
    ) -> Result<String, RegistryError> {
        let scope = subject.scope();
        let question = service
            .map(|service| ("service", service))
            .into_iter()
            .chain(scope.iter().map(|scope| ("scope", scope.as_str())));
        let answer = match credential {
            Some(identity) if identity.is_identity => {
                // OAuth 2 as in the token specification of distribution.
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.extend_pairs([("grant_type", "refresh_token"), ("client_id", "tagship")]);
                form.extend_pairs(question).append_pair("refresh_token", identity.token.expose_secret());
                self.client.post(&url, "application/x-www-form-urlencoded", &form.finish())?
            }
            _ => {
                url.query_pairs_mut().extend_pairs(question);
                let basic = credential.map(Credential::basic);
                let headers: Vec<(&str, &str)> =
                    basic.iter().map(|basic| ("authorization", basic.as_str())).collect();
                self.client.send(Method::Get, &url, &headers)?
            }
        };
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED if credential.is_none() => {
                return Err(answer.refused(NO_PASSWORD).unauthorized());
            }
            StatusCode::UNAUTHORIZED => {
                return Err(answer.refused("the user name or password is wrong").unauthorized());
            }
            StatusCode::FORBIDDEN => return Err(answer.refused("this user may not read the image").denied()),
            _ => return Err(answer.refused("the answer has no token").protocol()),
        }
        let head = answer.head();
        let token: Token = serde_json::from_slice(&answer.bytes(SMALL_BODY)?)
            .map_err(|_| RegistryError::Protocol(format!("{head}: this is not a token")))?;
        // The specification allows either name. Servers write one of them, both, or leave one empty.
        match [token.token, token.access_token].into_iter().flatten().find(|token| !token.is_empty()) {
            Some(token) => {
                self.secrets.hide(&token);
                Ok(format!("Bearer {token}"))
            }
            None => Err(RegistryError::Protocol(format!("{head}: the answer has no token"))),
        }
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
    fn first_page(&self, subject: Subject<'_>, path: &str) -> Result<(Answer, usize), RegistryError> {
        let mut sizes = PAGE_SIZES.into_iter();
        let mut size = sizes.next().unwrap_or(100);
        loop {
            let url = self.client.at(&format!("{}{path}?n={size}", self.prefix));
            let answer = self.ask(Method::Get, subject, &url)?;
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

fn lock(slot: &Slot) -> MutexGuard<'_, Option<Arc<Access>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
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
