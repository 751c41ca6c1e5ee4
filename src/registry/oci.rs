//! Any registry of the OCI distribution specification: pages by `n`, `last` and `Link`; whatever
//! authentication the server asks for.

mod header;
mod sign_in;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use header::Challenge;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use ureq::http::StatusCode;
use url::{Origin, Url};

use super::answer::{Answer, SMALL_BODY, Unread, whole};
use super::http::{Client, MANIFEST_TYPES};
use super::image::{self, Blob, Blobs};
use super::large::{Claim, LARGE_LIST};
use super::request::Method;
use super::tags_list::{MOST_TAGS, Page, TOO_MANY, drop_repeats, error_code};
use super::{Registry, RegistryError, SignIn, Traffic};
use crate::config::RegistryConfig;
use crate::reference::{Digest, ListedTag, Listing, Repository, Tag};
use crate::secret::{Credential, Secrets};

/// Tags asked for at a time; the second where a server refuses the first.
const PAGE_SIZES: [usize; 2] = [1000, 100];

/// So many pages without a tag may follow each other.
const EMPTY_PAGES: usize = 100;

const NO_PASSWORD: &str = "it cannot be read without a password; name it as token, with username";

pub(super) struct Oci {
    client: Client,
    config: RegistryConfig,
    secrets: Arc<Secrets>,
    /// The path that the installation has in front of `/v2/`.
    prefix: String,
    /// Where credentials may go for a token, beside the registry's own host.
    realms: Vec<Origin>,
    /// What each repository is asked with; one exchange a repository and run.
    access: Mutex<HashMap<String, Arc<Mutex<Option<String>>>>>,
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
            access: Mutex::new(HashMap::new()),
        }
    }

    /// The same, and credentials may go to this server for a token.
    pub(super) fn trusting(mut self, realm: &Url) -> Oci {
        self.realms.push(realm.origin());
        self
    }

    /// Whether credentials may go there for a token.
    pub(super) fn trusts(&self, realm: &Url) -> bool {
        self.client.may_have_credentials(realm) || self.realms.contains(&realm.origin())
    }

    /// Asks about a repository, and authenticates where the server wants that.
    fn ask(&self, method: Method, repository: &Repository, url: &Url) -> Result<Answer, RegistryError> {
        let slot = self.slot(repository);
        let used = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = self.send(method, url, used.as_deref())?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let authorization = {
            // Held during the exchange: other threads wait for its token.
            let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if *known == used {
                *known = Some(self.authorization(&answer, Some(repository))?);
            }
            known.clone()
        };
        if authorization == used {
            return Ok(answer);
        }
        self.send(method, url, authorization.as_deref())
    }

    /// What the registry says of a tag's manifest, without fetching it.
    pub(super) fn head(&self, repository: &Repository, tag: &Tag) -> Result<Answer, RegistryError> {
        let url = self.client.at(&format!("{}/v2/{repository}/manifests/{tag}", self.prefix));
        self.ask(Method::Head, repository, &url)
    }

    fn slot(&self, repository: &Repository) -> Arc<Mutex<Option<String>>> {
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(access.entry(repository.as_str().to_owned()).or_default())
    }

    /// Blobs may be in storage elsewhere, which gets no credentials.
    fn send(&self, method: Method, url: &Url, authorization: Option<&str>) -> Result<Answer, RegistryError> {
        let mut headers = vec![("accept", MANIFEST_TYPES)];
        headers.extend(authorization.map(|authorization| ("authorization", authorization)));
        if url.path().contains("/blobs/") {
            let answer = self.client.send_to(method, url, &headers)?;
            return image::follow(&self.client, answer, &headers);
        }
        self.client.send(method, url, &headers)
    }

    /// The header that the server's challenge asks for.
    fn authorization(
        &self,
        answer: &Answer,
        repository: Option<&Repository>,
    ) -> Result<String, RegistryError> {
        let challenges = header::challenges(&answer.headers);
        let credential = self.secrets.credential_for(&self.config, repository, self.client.cutoff())?;
        let head = answer.head();
        let mut refused = None;
        for challenge in &challenges {
            let Challenge::Bearer { realm, service } = challenge else {
                continue;
            };
            match self.realm(&head, realm) {
                Ok(realm) => {
                    return self.exchange(realm, service.as_deref(), credential.as_ref(), repository);
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let basic = credential.as_ref().filter(|credential| !credential.is_identity).map(Credential::basic);
        match (challenges.contains(&Challenge::Basic), basic, refused) {
            (true, Some(basic), _) => Ok(basic),
            (_, _, Some(refused)) => Err(refused),
            (true, None, None) => Err(RegistryError::Unauthorized(format!("{head}: {NO_PASSWORD}"))),
            (false, _, None) => Err(RegistryError::Unauthorized(format!(
                "{head}: the server does not say how to authenticate"
            ))),
        }
    }

    /// Where to ask for a token, if credentials may go there. The same rules hold without a credential: a server
    /// must not have us ask any address, nor have that address's answer.
    fn realm(&self, head: &str, realm: &str) -> Result<Url, RegistryError> {
        let url = Url::parse(realm).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(
            || RegistryError::Protocol(format!("{head}: it sends to no valid address for a token")),
        )?;
        if !self.trusts(&url) {
            return Err(RegistryError::Denied(format!(
                "{head}: it sends to {} for a token, and tokens are only asked for at the registry's own host by the same scheme; if that host gives the registry's tokens, name it in trusted_realms (Gitea and Forgejo send to ROOT_URL of their app.ini: it should be the address that url has)",
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
        repository: Option<&Repository>,
    ) -> Result<String, RegistryError> {
        let scope = repository.map(|repository| format!("repository:{repository}:pull"));
        let question = service
            .map(|service| ("service", service))
            .into_iter()
            .chain(scope.iter().map(|scope| ("scope", scope.as_str())));
        let answer = match credential {
            Some(identity) if identity.is_identity => {
                // OAuth 2 as the distribution's token specification has it.
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
                self.client.send_to(Method::Get, &url, &headers)?
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
            _ => return Err(answer.refused("no token came").protocol()),
        }
        let head = answer.head();
        let token: Token = serde_json::from_slice(&answer.bytes(SMALL_BODY)?)
            .map_err(|_| RegistryError::Protocol(format!("{head}: this is no token")))?;
        // Either name, by the specification; servers write one of them, both, or one of them empty.
        match [token.token, token.access_token].into_iter().flatten().find(|token| !token.is_empty()) {
            Some(token) => {
                self.secrets.hide(&token);
                Ok(format!("Bearer {token}"))
            }
            None => Err(RegistryError::Protocol(format!("{head}: there is no token in it"))),
        }
    }

    pub(super) fn refusal(answer: Answer) -> RegistryError {
        match answer.status {
            StatusCode::UNAUTHORIZED => answer
                .refused("it may not be read with this user name and password (or without any); is the image's name right?")
                .unauthorized(),
            StatusCode::FORBIDDEN => answer.refused("this user may not read the image").denied(),
            StatusCode::NOT_FOUND => {
                let head = answer.head();
                let body = answer.bytes(SMALL_BODY).unwrap_or_default();
                let what = match error_code(&body).as_deref() {
                    Some("NAME_UNKNOWN") => "there is no such image; is its name right, and was it ever pushed?",
                    _ => "there is no such image, or no registry at this address",
                };
                RegistryError::NotFound(format!("{head}: {what}"))
            }
            _ => answer.refused("this is no answer of a registry; is url right?").protocol(),
        }
    }

    /// The first page, smaller where the server refuses its size.
    fn first_page(&self, repository: &Repository) -> Result<(Answer, usize), RegistryError> {
        let mut sizes = PAGE_SIZES.into_iter();
        let mut size = sizes.next().unwrap_or(100);
        loop {
            let url = self.client.at(&format!("{}/v2/{repository}/tags/list?n={size}", self.prefix));
            let answer = self.ask(Method::Get, repository, &url)?;
            match (answer.status, sizes.next()) {
                // ECR says 405 UNSUPPORTED, distribution 400 PAGINATION_NUMBER_INVALID.
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

    /// Where the next page is: as `Link` says, or where a full page came without one, after its last tag.
    fn next_page(
        &self,
        repository: &Repository,
        answer: &NextPage,
        page: &Page,
        size: usize,
    ) -> Result<Option<Url>, RegistryError> {
        if let Some(link) = &answer.link {
            let Ok(mut next) = answer.url.join(link) else {
                return Err(RegistryError::Protocol(format!("{}: its Link is no address", answer.head)));
            };
            if !self.client.is_same_origin(&next) {
                return Err(RegistryError::Protocol(format!(
                    "{}: its next page is at {}, and credentials are not sent there",
                    answer.head,
                    next.origin().ascii_serialization()
                )));
            }
            // Only which page it is goes by the server's word: the path is the one that was asked.
            next.set_path(answer.url.path());
            next.set_fragment(None);
            return Ok(Some(next));
        }
        // More than was asked for: the server knows no pages, and this is everything.
        if page.names != size {
            return Ok(None);
        }
        let Some(last) = page.tags.last() else {
            return Err(RegistryError::Protocol(format!(
                "{}: a full page without one valid tag, and no Link to what follows",
                answer.head
            )));
        };
        Ok(Some(
            self.client.at(&format!("{}/v2/{repository}/tags/list?n={size}&last={}", self.prefix, last.tag)),
        ))
    }
}

/// What of an answer tells where the next page is.
struct NextPage {
    head: String,
    url: Url,
    link: Option<String>,
}

fn read_page(answer: Answer, repository: &Repository, claim: &Claim) -> Result<(NextPage, Page), Unread> {
    if answer.status != StatusCode::OK {
        return Err(Oci::refusal(answer).into());
    }
    let head = answer.head();
    let link = header::next_link(&answer.headers)
        .map_err(|what| RegistryError::Protocol(format!("{head}: {what}")))?;
    let next = NextPage { head, url: answer.url.clone(), link };
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
        let mut listing = Listing::default();
        let claim = self.client.claim();
        let mut asked = HashSet::new();
        let mut empty = 0;
        // The first tag of each page: addresses that change can still give the same pages.
        let mut firsts: HashSet<Tag> = HashSet::new();
        let size = Cell::new(0);
        let first = || {
            let (answer, accepted) = self.first_page(repository)?;
            size.set(accepted);
            Ok(answer)
        };
        let (mut next, mut page) = whole(first, |answer| read_page(answer, repository, &claim))?;
        loop {
            let following = self.next_page(repository, &next, &page, size.get())?;
            // ECR has pages of untagged images only; any other page brings the listing on.
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
                drop_repeats(&mut listing.tags);
                return Ok(Listing { held: claim.held(), ..listing });
            };
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

    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let answer = self.head(repository, tag)?;
        match answer.status {
            StatusCode::OK => image::digest_of(&answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(Oci::refusal(answer)),
        }
    }

    fn created(
        &self,
        repository: &Repository,
        tag: &Tag,
        platforms: &[String],
    ) -> Result<Option<Timestamp>, RegistryError> {
        image::created(&OfRepository { oci: self, repository }, repository, tag, platforms)
    }

    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Vec<String>, RegistryError> {
        image::platforms(&OfRepository { oci: self, repository }, repository, tag)
    }

    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a> {
        let error = RegistryError::Protocol(format!(
            "this registry does not tell when the tags of {repository} were pushed"
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
