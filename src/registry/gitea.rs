//! Gitea and Forgejo: tags from the registry API, push times from the package API. The tests replay answers
//! recorded from three builds of these servers.

mod address;
mod images;
mod package;
mod sign_in;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use serde::Deserialize;
use ureq::http::StatusCode;
use url::Url;

use super::answer::{Answer, SMALL_BODY, whole};
use super::client::{Client, MANIFEST_TYPES};
use super::image::{self, Blob, Blobs, Heads};
use super::newest_first::Walk;
use super::request::{Header, Method};
use super::tags_list::{Page, error_code};
use super::{About, Configuration, Registry, RegistryError, SignIn, Traffic};
use crate::config::{CredentialSetting, RegistryConfig, SecretSource};
use crate::engine::feed::{self, Changes, Cursor, Owner};
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};
use crate::secret::{Credential, Secrets};
use package::{PackagePages, Row};

/// The number of requests to the registry API that use the credential itself instead of a JWT.
const FEW: usize = 2;

pub(super) struct Gitea {
    client: Client,
    config: RegistryConfig,
    secrets: Arc<Secrets>,
    /// The URL of the installation, without a trailing slash.
    path: String,
    /// The root of the package API: `api_url`, or below the installation's path.
    api: Url,
    /// The client for the package API, if it is on another server than the registry.
    api_client: Option<Client>,
    /// None: not tried yet.
    access: Mutex<Option<Access>>,
    /// The number of requests with the credential itself before the first JWT.
    credential_sent: AtomicUsize,
    /// The server is too old to list the packages of one image.
    lists_owners_only: AtomicBool,
    heads: Heads,
    api_advice: OnceLock<Option<String>>,
    registry_advice: OnceLock<Option<String>>,
    user_fault: OnceLock<Option<&'static str>>,
}

/// The authentication of the registry API. (The package API requires the token itself.)
enum Access {
    Jwt(String),
    /// The exchange failed: every request has the credential itself.
    Basic(String),
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

impl Gitea {
    pub(super) fn new(config: &RegistryConfig, url: &Url, secrets: Arc<Secrets>, requests: Traffic) -> Gitea {
        let path = url.path().trim_end_matches('/').to_owned();
        let mut api = config.api_url.clone().unwrap_or_else(|| {
            let mut api = url.clone();
            api.set_path(&format!("{path}/api/v1"));
            api
        });
        api.set_path(&format!("{}/packages/", api.path()));
        let is_elsewhere = api.origin() != url.origin();
        Gitea {
            api_client: is_elsewhere.then(|| Client::new(config, &api, &secrets, requests.clone())),
            client: Client::new(config, url, &secrets, requests),
            config: config.clone(),
            secrets,
            path,
            api,
            access: Mutex::default(),
            credential_sent: AtomicUsize::new(0),
            lists_owners_only: AtomicBool::new(false),
            heads: Heads::honest(),
            api_advice: OnceLock::new(),
            registry_advice: OnceLock::new(),
            user_fault: OnceLock::new(),
        }
    }

    fn credential(&self) -> Result<Option<Credential>, RegistryError> {
        Ok(self.secrets.credential(&self.config, self.client.cutoff())?)
    }

    /// Sends a request to the registry API. An expired JWT is exchanged once more. If the server rejects the
    /// credential itself, a JWT is tried (old servers give one to tokens without the scope).
    fn ask(&self, method: Method, path: &str) -> Result<Answer, RegistryError> {
        let url = self.client.at(path);
        self.authorized(|headers| self.client.send(method, &url, headers))
    }

    /// Blobs may be in storage elsewhere, which receives no credentials.
    fn ask_following(&self, path: &str) -> Result<Answer, RegistryError> {
        let url = self.client.at(path);
        self.authorized(|headers| {
            image::follow(&self.client, self.client.send_to(Method::Get, &url, headers)?, headers)
        })
    }

    fn authorized(
        &self,
        send: impl Fn(&[Header<'_>]) -> Result<Answer, RegistryError>,
    ) -> Result<Answer, RegistryError> {
        let send =
            |authorization: &str| send(&[("authorization", authorization), ("accept", MANIFEST_TYPES)]);
        let credential = self.credential()?;
        let used = self.authorization()?;
        let mut answer = send(&used)?;
        let is_jwt = used.starts_with("Bearer ");
        if answer.status != StatusCode::UNAUTHORIZED || (is_jwt && is_about_rights(&answer)) {
            return Ok(answer);
        }
        self.forget(&used);
        let exchanged = self.exchanged()?;
        if exchanged != used {
            answer = send(&exchanged)?;
        }
        if answer.status != StatusCode::UNAUTHORIZED || is_about_rights(&answer) {
            return Ok(answer);
        }
        match self.renewed(credential.as_ref())? {
            Some(renewed) => send(&renewed.basic()),
            None => Ok(answer),
        }
    }

    /// The replacement for a credential that the server no longer accepts.
    fn renewed(&self, used: Option<&Credential>) -> Result<Option<Credential>, RegistryError> {
        let Some(used) = used else { return Ok(None) };
        let renewed = self.secrets.renewed(&self.config, None, used, self.client.cutoff())?;
        if renewed.is_some() {
            *self.access() = None;
        }
        Ok(renewed)
    }

    /// The header for the registry API. The first few requests use the credential itself, which is enough for a
    /// small poll: to check it costs the server as much as to issue a JWT.
    fn authorization(&self) -> Result<String, RegistryError> {
        let is_untried = self.access().is_none();
        if is_untried
            && self.credential_sent.fetch_add(1, Ordering::Relaxed) < FEW
            && let Some(credential) = self.credential()?
        {
            return Ok(credential.basic());
        }
        self.exchanged()
    }

    /// The header with a JWT. The lock is held during the exchange, so that many threads make only one: it
    /// costs the server a password hash.
    fn exchanged(&self) -> Result<String, RegistryError> {
        let mut access = self.access();
        let access = match &mut *access {
            Some(access) => access,
            untried => untried.insert(self.exchange()?),
        };
        Ok(match access {
            Access::Jwt(token) => format!("Bearer {token}"),
            Access::Basic(basic) => basic.clone(),
        })
    }

    /// Renews the JWT, unless another thread has done so already.
    fn forget(&self, used: &str) {
        let mut access = self.access();
        if matches!(&*access, Some(Access::Jwt(token)) if used.ends_with(token.as_str())) {
            *access = None;
        }
    }

    fn access(&self) -> MutexGuard<'_, Option<Access>> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self) -> Result<Access, RegistryError> {
        let credential = self.credential()?;
        let basic = credential.as_ref().map(Credential::basic);
        let url = self.client.at("/v2/token?service=container_registry&scope=*");
        let headers: Vec<(&str, &str)> =
            basic.iter().map(|basic| ("authorization", basic.as_str())).collect();
        let answer = self.client.send(Method::Get, &url, &headers)?;
        if answer.status.is_success() {
            let head = answer.head();
            let bytes = answer.bytes(SMALL_BODY)?;
            let token: Token = serde_json::from_slice(&bytes).map_err(|_| {
                let advice = self.find_registry();
                let advice = advice.unwrap_or("this is not a token; is url the address of the registry?");
                RegistryError::Protocol(format!("{head}: {advice}"))
            })?;
            self.secrets.hide(&token.token);
            return Ok(Access::Jwt(token.token));
        }
        match basic {
            // The credential itself may work even if the exchange fails.
            Some(basic) => Ok(Access::Basic(basic)),
            None => Err(self.refusal(answer)),
        }
    }

    /// The error of an unsuccessful answer of the registry API. A 401 has three meanings: no credential (JSON),
    /// an unknown credential (text), a credential without access (text and `Basic`).
    fn refusal(&self, answer: Answer) -> RegistryError {
        let has_credential = !matches!(self.credential(), Ok(None));
        match answer.status {
            StatusCode::UNAUTHORIZED if !has_credential => answer.refused(NO_TOKEN).unauthorized(),
            StatusCode::FORBIDDEN if !has_credential => answer.refused(NO_TOKEN).denied(),
            StatusCode::UNAUTHORIZED if is_about_rights(&answer) => {
                // /v2/OWNER/…
                let owner = answer.url.path_segments().and_then(|mut segments| segments.nth(1));
                let fault = owner.and_then(|owner| self.find_user_fault(owner));
                answer.refused(&fault.map_or_else(|| self.advised(NO_RIGHT), str::to_owned)).denied()
            }
            StatusCode::UNAUTHORIZED => answer.refused(&self.advised(WRONG_TOKEN)).unauthorized(),
            StatusCode::FORBIDDEN => {
                answer.refused("the token may not read this; is it limited to public packages?").denied()
            }
            StatusCode::NOT_FOUND => self.missing(answer),
            _ => {
                let advice = self.find_registry();
                let advice =
                    advice.unwrap_or("this is not an answer of a Gitea or Forgejo registry; is url right?");
                answer.refused(advice).protocol()
            }
        }
    }

    /// Advice about a rejected credential, with the usual mistakes for its kind.
    fn advised(&self, what: &str) -> String {
        let is_job_token = matches!(
            &self.config.credential,
            CredentialSetting::Source(SecretSource::Env(name))
                if ["GITEA_TOKEN", "GITHUB_TOKEN", "FORGEJO_TOKEN"].contains(&name.as_str())
        );
        let mut advice = what.to_owned();
        if self.config.username.is_some() {
            advice += "; a password is not enough if the account has two-factor authentication";
        }
        if is_job_token {
            advice += "; on most servers the automatic token of a Gitea Actions job cannot read packages: store a user's token as a secret";
        }
        advice
    }

    fn missing(&self, answer: Answer) -> RegistryError {
        let head = answer.head();
        let body = answer.bytes(SMALL_BODY).unwrap_or_default();
        if error_code(&body).is_some() {
            return RegistryError::NotFound(format!(
                "{head}: the image does not exist; is its name right, and was it ever pushed?"
            ));
        }
        // These are the forge's own words; a page of another server has different ones.
        let is_forges = body.trim_ascii() == b"Not found.";
        let advice = if is_forges { None } else { self.find_registry() };
        let advice = advice.unwrap_or(
            "the owner does not exist (or packages are disabled on the server); is the name right?",
        );
        RegistryError::NotFound(format!("{head}: {advice}"))
    }
}

const NO_TOKEN: &str = "it requires a token; create one with the scope read:package and set token";

const WRONG_TOKEN: &str = "the token is wrong or has expired (or the server's database failed); create one with the scope read:package";

const NO_RIGHT: &str = "the token is valid, but may not read this: it needs the scope read:package, and its user must have access to the owner and must not be blocked";

/// Whether a 401 means that the credential is valid but may not read, so that a retry cannot help.
fn is_about_rights(answer: &Answer) -> bool {
    answer.header("www-authenticate").is_some_and(|challenge| challenge.contains("Gitea Package API"))
}

impl Registry for Gitea {
    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        self.try_token(repositories.first().copied())
    }

    fn has_push_times(&self) -> bool {
        true
    }

    /// All tags in one answer. The request has no `n`, and `Link` is ignored: it names a next page even if none
    /// exists.
    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        let claim = self.client.claim();
        let ask = || self.ask(Method::Get, &format!("/v2/{repository}/tags/list"));
        let listed = whole(ask, |answer| {
            if answer.status != StatusCode::OK {
                return Err(self.refusal(answer).into());
            }
            let head = answer.head();
            let page = Page::read(answer, repository, &claim)?;
            if page.is_null {
                let error = format!("{head}: \"tags\" is null instead of a list");
                return Err(RegistryError::Protocol(error).into());
            }
            Ok(page.into_listing(claim.clone()))
        });
        listed.map_err(|error| match error {
            // The answer may be a page of another server.
            RegistryError::Protocol(message) => match self.find_registry() {
                Some(advice) if !message.ends_with(advice) => {
                    RegistryError::Protocol(format!("{message}; {advice}"))
                }
                _ => RegistryError::Protocol(message),
            },
            error => error,
        })
    }

    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.heads.digest(repository, |method| self.ask(method, &path), |answer| self.refusal(answer))
    }

    fn pushed_at(&self, repository: &Repository, tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        let encoded = repository.name().unwrap_or_default().replace('/', "%2F");
        let answer = self.ask_packages(&format!("{}/container/{encoded}/{tag}", repository.owner()))?;
        match answer.status {
            StatusCode::OK => {
                let head = answer.head();
                let row: Row = serde_json::from_slice(&answer.bytes(SMALL_BODY)?).map_err(|_| {
                    RegistryError::Protocol(format!("{head}: this is not a version of a package"))
                })?;
                Ok(Some(row.created_at))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.package_refusal(answer)),
        }
    }

    fn changes(
        &self,
        owner: &str,
        since: Option<&Cursor>,
        configured: usize,
    ) -> Result<Option<(Cursor, Changes)>, RegistryError> {
        // The package API always requires a token.
        if self.credential()?.is_none() {
            return Ok(None);
        }
        feed::changes(since, configured, |number, limit| self.feed_page(owner, number, limit)).map(Some)
    }

    fn owner(&self, name: &str) -> Result<Option<Owner>, RegistryError> {
        // The package API always requires a token.
        if self.credential()?.is_none() {
            return Ok(None);
        }
        self.feed_page(name, 1, 1).map(|page| page.owner)
    }

    fn images(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        self.images_of(owner)
    }

    fn about(&self) -> Result<About, RegistryError> {
        let mut head = String::new();
        // Forgejo has the first of these paths, Gitea only the second.
        for (path, name) in [("../../forgejo/v1/version", "Forgejo"), ("../version", "Gitea")] {
            let Ok(url) = self.api.join(path) else { continue };
            let client = self.api_client.as_ref().unwrap_or(&self.client);
            let answer = client.send(Method::Get, &url, &[])?;
            let server_time = answer.date();
            #[allow(clippy::disallowed_methods, reason = "the server's clock is compared with ours")]
            let our_time = server_time.map(|_| Timestamp::now());
            head = answer.head();
            let may_be_another_server = matches!(
                answer.status,
                StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED
            );
            if !may_be_another_server {
                return Err(answer.refused("this is not Gitea or Forgejo; is url right?").protocol());
            }
            if let Some(version) = address::version(answer) {
                let software = Some(format!("{name} {version}")).filter(|_| !version.is_empty());
                return Ok(About { software, server_time, our_time });
            }
        }
        let advice = self.find_api();
        let advice = advice.unwrap_or("this is not the root of a Gitea or Forgejo; is url right?");
        Err(RegistryError::Protocol(format!("{head}: {advice}")))
    }

    fn prepare(&self) {
        let _ = self.exchanged();
    }

    fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
        platforms: &[String],
    ) -> Result<Option<Configuration>, RegistryError> {
        image::configuration(self, repository, digest.as_str(), platforms)
    }

    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Platforms, RegistryError> {
        image::platforms(self, repository, tag)
    }

    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a> {
        Box::new(Walk::new(PackagePages::new(self, repository)))
    }
}

impl Blobs for Gitea {
    fn get(&self, path: &str) -> Result<Option<Blob>, RegistryError> {
        whole(
            || self.ask_following(path),
            |answer| match answer.status {
                StatusCode::OK => Blob::read(answer).map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(self.refusal(answer).into()),
            },
        )
    }
}
