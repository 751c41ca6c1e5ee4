//! Docker Hub: tags and digests through OCI, push times and platforms through Hub's own API. A GET of a
//! manifest counts as a pull, so tagship sends HEAD only. <https://docs.docker.com/docker-hub/usage/pulls/>

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use ureq::http::StatusCode;
use url::Url;

use super::answer::{Answer, ROWS_BODY, SMALL_BODY};
use super::client::Client;
use super::image;
use super::names::{self, NamesPage};
use super::newest_first::{Numbered, TimedPage, Walk};
use super::oci::Oci;
use super::request::Method;
use super::{Configuration, Registry, RegistryError, SignIn, Traffic};
use crate::config::RegistryConfig;
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};
use crate::secret::Secrets;

/// The API's largest page.
const ROWS: usize = 100;
/// The limit has a sliding window: some pulls are free again long before its six hours end.
const LONGEST_PAUSE: i64 = 3600;

pub(super) struct Dockerhub {
    oci: Oci,
    hub: Client,
    config: RegistryConfig,
    secrets: Arc<Secrets>,
    /// The credential for Hub's API. None: anonymous access.
    access: OnceLock<Result<Option<String>, RegistryError>>,
    /// Set if the limit of pulls is used up: the time before which the registry receives no requests.
    exhausted: Mutex<Option<Timestamp>>,
}

/// A tag of Hub's API.
#[derive(Deserialize)]
struct Row {
    name: String,
    last_updated: Option<Timestamp>,
    digest: Option<String>,
    #[serde(default)]
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    digest: Option<String>,
}

#[derive(Deserialize)]
struct Rows {
    count: Option<u64>,
    next: Option<String>,
    results: Vec<Row>,
}

/// Repositories of a namespace.
#[derive(Deserialize)]
struct Names {
    next: Option<String>,
    results: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

impl Dockerhub {
    pub(super) fn new(
        config: &RegistryConfig,
        oci: Oci,
        secrets: Arc<Secrets>,
        requests: Traffic,
    ) -> Dockerhub {
        let hub = config.api_url.clone();
        let hub = hub.unwrap_or_else(|| Url::parse("https://hub.docker.com").expect("a valid URL"));
        let realm = Url::parse("https://auth.docker.io").expect("a valid URL");
        Dockerhub {
            oci: oci.trusting(&realm),
            hub: Client::new(config, &hub, &secrets, requests),
            config: config.clone(),
            secrets,
            access: OnceLock::new(),
            exhausted: Mutex::new(None),
        }
    }

    /// Requests a repository's tags from Hub's API: a page of them, or one. None: not found.
    fn ask(&self, repository: &Repository, rest: &str) -> Result<Option<Answer>, RegistryError> {
        self.ask_hub(&format!("{repository}/tags{rest}"))
    }

    /// Requests a path below `/v2/repositories/` of Hub's API. None: not found.
    fn ask_hub(&self, path: &str) -> Result<Option<Answer>, RegistryError> {
        let access = self.access.get_or_init(|| self.exchange()).clone()?;
        let url = self.hub.at(&format!("/v2/repositories/{path}"));
        let headers: Vec<(&str, &str)> =
            access.iter().map(|access| ("authorization", access.as_str())).collect();
        let answer = self.hub.send(Method::Get, &url, &headers)?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED => {
                Err(answer.refused("it requires authentication; add token, with username").unauthorized())
            }
            StatusCode::FORBIDDEN => Err(answer.refused("this user may not read the image").denied()),
            _ => Err(answer.refused("this is not an answer of Docker Hub; is api_url right?").protocol()),
        }
    }

    /// A token for Hub's API, which does not accept a password. It requires a user name.
    fn exchange(&self) -> Result<Option<String>, RegistryError> {
        let credential =
            self.secrets.credential(&self.config, self.hub.cutoff())?.filter(|found| !found.is_identity);
        let Some((username, secret)) = credential.and_then(|found| Some((found.username?, found.token)))
        else {
            return Ok(None);
        };
        let url = self.hub.at("/v2/auth/token");
        let body = serde_json::json!({"identifier": username, "secret": secret.expose_secret()}).to_string();
        let answer = self.hub.post(&url, "application/json", &body)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                // The answer may repeat the credential.
                let head = answer.head();
                return Err(RegistryError::Unauthorized(format!("{head}: the user name or token is wrong")));
            }
            _ => {
                let head = answer.head();
                return Err(RegistryError::Protocol(format!(
                    "{head}: the answer has no token; is api_url right?"
                )));
            }
        }
        let head = answer.head();
        let token: Token = serde_json::from_slice(&answer.bytes(SMALL_BODY)?)
            .map_err(|_| RegistryError::Protocol(format!("{head}: the answer has no token")))?;
        self.secrets.hide(&token.access_token);
        Ok(Some(format!("Bearer {}", token.access_token)))
    }

    fn images_of(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        let what = format!("the repositories of {owner}");
        names::images_of(owner, &what, |number| {
            let Some(answer) = self.ask_hub(&format!("{owner}/?page_size={ROWS}&page={number}"))? else {
                return Err(RegistryError::NotFound(format!(
                    "Docker Hub has no namespace {owner}; is its name right?"
                )));
            };
            let head = answer.head();
            let page: Names = serde_json::from_slice(&answer.bytes(ROWS_BODY)?).map_err(|_| {
                RegistryError::Protocol(format!("{head}: this is not a list of repositories"))
            })?;
            let name = |named: Named| format!("{owner}/{}", named.name);
            Ok(NamesPage {
                names: page.results.into_iter().map(name).collect(),
                is_last: page.next.is_none(),
            })
        })
    }

    fn page(&self, repository: &Repository, number: usize) -> Result<TimedPage, RegistryError> {
        let Some(answer) = self.ask(repository, &format!("?page_size={ROWS}&page={number}"))? else {
            return Err(RegistryError::NotFound(format!(
                "Docker Hub has no image {repository}, or it requires a token; is its name right?"
            )));
        };
        let head = answer.head();
        // A page contains every platform of every tag, so it is larger than other small answers.
        let rows: Rows = serde_json::from_slice(&answer.bytes(ROWS_BODY)?)
            .map_err(|_| RegistryError::Protocol(format!("{head}: this is not a list of tags")))?;
        let tag = |row: Row| {
            let tag = Tag::new(&row.name).ok()?;
            Some(ListedTag { pushed_at: Some(row.last_updated?), ..ListedTag::named(tag) })
        };
        Ok(TimedPage {
            tags: rows.results.into_iter().filter_map(tag).collect(),
            total: rows.count,
            is_last: rows.next.is_none(),
        })
    }

    fn row(&self, repository: &Repository, tag: &Tag) -> Result<Option<Row>, RegistryError> {
        let Some(answer) = self.ask(repository, &format!("/{tag}"))? else {
            return Ok(None);
        };
        let head = answer.head();
        serde_json::from_slice(&answer.bytes(SMALL_BODY)?)
            .map(Some)
            .map_err(|_| RegistryError::Protocol(format!("{head}: this is not a tag")))
    }

    /// Fails without a request if an earlier answer said that the limit is used up.
    fn allowed(&self) -> Result<(), RegistryError> {
        match *self.exhausted.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(retry_at) => Err(self.hub.noted(RegistryError::RateLimited {
                retry_at,
                message: format!(
                    "not sent: Docker Hub's limit of pulls is used up; a token or a paid plan raises it; next try after {retry_at}"
                ),
            })),
            None => Ok(()),
        }
    }

    /// `ratelimit-remaining: 0;w=21600`
    fn note_limit(&self, answer: &Answer) {
        let Some(window) = answer.header("ratelimit-remaining").and_then(spent_window) else {
            return;
        };
        #[allow(clippy::disallowed_methods, reason = "the limit's window counts from this moment")]
        let now = Timestamp::now();
        let until = now.saturating_add(SignedDuration::from_secs(window.min(LONGEST_PAUSE))).unwrap_or(now);
        *self.exhausted.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

/// The length of the window in seconds, if no pull remains in it.
fn spent_window(header: &str) -> Option<i64> {
    let (remaining, window) = header.split_once(";w=").unwrap_or((header, "21600"));
    (remaining.trim() == "0").then(|| window.trim().parse().unwrap_or(LONGEST_PAUSE))
}

/// Docker's own images are below `library/`.
fn full(repository: &Repository) -> Repository {
    if repository.name().is_some() {
        return repository.clone();
    }
    Repository::new(&format!("library/{repository}")).unwrap_or_else(|_| repository.clone())
}

impl Registry for Dockerhub {
    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        let full: Vec<Repository> = repositories.iter().map(|repository| full(repository)).collect();
        self.oci.sign_in(&full.iter().collect::<Vec<_>>())
    }

    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        self.oci.list_tags(&full(repository))
    }

    fn images(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        self.images_of(owner)
    }

    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        self.allowed()?;
        let answer = self.oci.head(&full(repository), tag)?;
        self.note_limit(&answer);
        match answer.status {
            StatusCode::OK => image::digest_of(&answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(Oci::refusal(answer)),
        }
    }

    fn has_push_times(&self) -> bool {
        true
    }

    fn pushed_at(&self, repository: &Repository, tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        Ok(self.row(&full(repository), tag)?.and_then(|row| row.last_updated))
    }

    /// Reading a manifest counts as a pull.
    fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
        platforms: &[String],
    ) -> Result<Option<Configuration>, RegistryError> {
        self.allowed()?;
        self.oci.configuration(&full(repository), digest, platforms)
    }

    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Platforms, RegistryError> {
        let Some(row) = self.row(&full(repository), tag)? else {
            return Ok(Platforms::default());
        };
        let digest = |text: Option<String>| Digest::new(&text?).ok();
        let image = |image: Image| {
            let name = image::platform_name(image.os?, image.architecture?, image.variant)?;
            Some((name, digest(image.digest)))
        };
        Ok(Platforms { of: digest(row.digest), images: row.images.into_iter().filter_map(image).collect() })
    }

    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a> {
        let repository = full(repository);
        let what = format!("the tags of {repository}");
        Box::new(Walk::new(Numbered::new(what, move |number| self.page(&repository, number))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixture::{trusts, usual};

    #[test]
    fn docker_hub_has_its_tokens_from_auth_docker_io() {
        let (config, oci, secrets) = usual("dockerhub");
        let hub = Dockerhub::new(&config, oci, secrets, Traffic::default());
        assert!(trusts(&hub.oci, "https://auth.docker.io/token"));
        assert!(!trusts(&hub.oci, "http://auth.docker.io/token"));
        assert!(!trusts(&hub.oci, "https://hub.docker.com/token"));
    }

    #[test]
    fn an_image_without_an_owner_is_dockers_own() {
        for (name, expected) in [("nginx", "library/nginx"), ("acme/shop", "acme/shop")] {
            assert_eq!(full(&Repository::new(name).unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn a_limit_is_spent_when_nothing_remains() {
        for (header, expected) in [
            ("0;w=21600", Some(21_600)),
            ("0", Some(21_600)),
            ("0;w=x", Some(3600)),
            ("100;w=21600", None),
            ("10", None),
            ("", None),
        ] {
            assert_eq!(spent_window(header), expected, "{header}");
        }
    }
}
