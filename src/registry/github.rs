//! The GitHub Container Registry: tags through OCI, push times from the packages API if the token may read it.
//! <https://docs.github.com/en/rest/packages/packages>
//!
//! The API lists versions by the push time of their content, newest first. This is not documented, so each page is
//! checked for it.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use ureq::http::StatusCode;
use url::Url;

use super::answer::{Answer, ROWS_BODY};
use super::client::Client;
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

pub(super) struct Github {
    oci: Oci,
    api: Client,
    /// The path before the API's own: `/api/v3` on GitHub Enterprise.
    prefix: String,
    config: RegistryConfig,
    secrets: Arc<Secrets>,
    /// Whether the token may read the packages API; empty before the first request.
    has_times: OnceLock<bool>,
}

/// A version of a package: its content, with all tags that point at it.
#[derive(Deserialize)]
struct Row {
    id: i64,
    created_at: Timestamp,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    container: Option<Container>,
}

#[derive(Deserialize)]
struct Container {
    tags: Vec<String>,
}

impl Github {
    pub(super) fn new(config: &RegistryConfig, oci: Oci, secrets: Arc<Secrets>, requests: Traffic) -> Github {
        let api = config.api_url.clone();
        let api = api.unwrap_or_else(|| Url::parse("https://api.github.com").expect("a valid URL"));
        Github {
            oci,
            api: Client::new(config, &api, &secrets, requests),
            prefix: api.path().trim_end_matches('/').to_owned(),
            config: config.clone(),
            secrets,
            has_times: OnceLock::new(),
        }
    }

    /// None: no token is available.
    fn ask(&self, path: &str) -> Result<Option<Answer>, RegistryError> {
        let Some(credential) =
            self.secrets.credential(&self.config, self.api.cutoff())?.filter(|found| !found.is_identity)
        else {
            return Ok(None);
        };
        let authorization = format!("Bearer {}", credential.token.expose_secret());
        let headers = [
            ("authorization", authorization.as_str()),
            ("accept", "application/vnd.github+json"),
            ("x-github-api-version", "2022-11-28"),
        ];
        let url = self.api.at(&format!("{}{path}", self.prefix));
        let answer = self.api.send(Method::Get, &url, &headers)?;
        match limited_until(&answer) {
            Some(retry_at) => Err(self.api.noted(answer.rate_limited(retry_at))),
            None => Ok(Some(answer)),
        }
    }

    /// Only a personal token with the scope read:packages may read the API, not the token of an app or a
    /// workflow.
    fn may_read_times(&self) -> bool {
        match self.ask("/user/packages?package_type=container&per_page=1") {
            Ok(None) => false,
            Ok(Some(answer)) => !matches!(
                answer.status,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
            ),
            // Unknown: the request for push times will report the error. A guess could make another order
            // decide.
            Err(_) => true,
        }
    }

    fn page(&self, repository: &Repository, number: usize) -> Result<TimedPage, RegistryError> {
        let (owner, name) = (repository.owner(), repository.name().unwrap_or_default().replace('/', "%2F"));
        let mut refused = None;
        // Organisations and users have different paths.
        for kind in ["orgs", "users"] {
            let path =
                format!("/{kind}/{owner}/packages/container/{name}/versions?per_page={ROWS}&page={number}");
            let Some(answer) = self.ask(&path)? else {
                break;
            };
            match answer.status {
                StatusCode::OK => return rows(answer),
                StatusCode::NOT_FOUND => refused = Some(answer),
                _ => return Err(refusal(answer)),
            }
        }
        Err(match refused {
            Some(answer) => answer
                .refused("the package does not exist, or the token has no access to it; is the name right?")
                .not_found(),
            None => RegistryError::Unauthorized(format!(
                "could not request the push times of {repository}: they need a token with the scope read:packages"
            )),
        })
    }
}

/// A package.
#[derive(Deserialize)]
struct Package {
    name: String,
}

impl Github {
    fn images_of(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        names::images_of(owner, &format!("the packages of {owner}"), |number| self.packages(owner, number))
    }

    fn packages(&self, owner: &str, number: usize) -> Result<NamesPage, RegistryError> {
        let mut refused = None;
        for kind in ["orgs", "users"] {
            let path =
                format!("/{kind}/{owner}/packages?package_type=container&per_page={ROWS}&page={number}");
            let Some(answer) = self.ask(&path)? else {
                break;
            };
            match answer.status {
                StatusCode::OK => {
                    let (head, is_last) = (answer.head(), !names::has_next(&answer));
                    let packages: Vec<Package> =
                        serde_json::from_slice(&answer.bytes(ROWS_BODY)?).map_err(|_| {
                            RegistryError::Protocol(format!("{head}: this is not a list of packages"))
                        })?;
                    let name = |package: Package| format!("{owner}/{}", package.name);
                    return Ok(NamesPage { names: packages.into_iter().map(name).collect(), is_last });
                }
                StatusCode::NOT_FOUND => refused = Some(answer),
                _ => return Err(refusal(answer)),
            }
        }
        Err(match refused {
            Some(answer) => answer
                .refused("the owner does not exist, or the token has no access to its packages; is the name right?")
                .not_found(),
            None => RegistryError::Unauthorized(format!(
                "could not request the packages of {owner}: GitHub lists them only for a token with the scope read:packages"
            )),
        })
    }
}

fn refusal(answer: Answer) -> RegistryError {
    match answer.status {
        StatusCode::UNAUTHORIZED => answer.refused("the token is wrong or has expired").unauthorized(),
        StatusCode::FORBIDDEN => {
            let advice = "the token may not read this package: it needs the scope read:packages, and must be authorised for the organisation if that uses single sign-on";
            answer.refused(advice).denied()
        }
        _ => answer.refused("this is not an answer of GitHub; is api_url right?").protocol(),
    }
}

fn rows(answer: Answer) -> Result<TimedPage, RegistryError> {
    let head = answer.head();
    let bytes = answer.bytes(ROWS_BODY)?;
    let rows: Vec<Row> = serde_json::from_slice(&bytes)
        .map_err(|_| RegistryError::Protocol(format!("{head}: this is not a list of package versions")))?;
    let is_last = rows.len() < ROWS;
    let tags = rows.into_iter().flat_map(|row| {
        let names =
            row.metadata.and_then(|found| found.container).map(|found| found.tags).unwrap_or_default();
        names.into_iter().filter_map(move |name| {
            let tag = Tag::new(&name).ok()?;
            Some(ListedTag {
                pushed_at: Some(row.created_at),
                sequence: Some(row.id),
                ..ListedTag::named(tag)
            })
        })
    });
    Ok(TimedPage { tags: tags.collect(), total: None, is_last })
}

/// The end of the API's rate limit, if that is the reason of a refusal. The hourly limit gives the time of its
/// end; a limit against bursts gives a delay.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
fn limited_until(answer: &Answer) -> Option<Timestamp> {
    if answer.status != StatusCode::FORBIDDEN {
        return None;
    }
    let reset = || {
        let is_used_up = answer.header("x-ratelimit-remaining") == Some("0");
        let reset = answer.header("x-ratelimit-reset").filter(|_| is_used_up)?;
        Timestamp::from_second(reset.parse().ok()?).ok()
    };
    answer.asked_back_at().or_else(reset)
}

impl Registry for Github {
    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        let signed_in = self.oci.sign_in(repositories)?;
        if signed_in == SignIn::NotAsked || self.has_push_times() {
            return Ok(signed_in);
        }
        Ok(SignIn::Accepted(Some(
            "it may read images, but not their push times (scope read:packages)".to_owned(),
        )))
    }

    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        self.oci.list_tags(repository)
    }

    fn images(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        self.images_of(owner)
    }

    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        self.oci.digest(repository, tag)
    }

    fn has_push_times(&self) -> bool {
        *self.has_times.get_or_init(|| self.may_read_times())
    }

    /// The push time of the tag's content. GitHub does not report when a tag was added to existing content.
    fn pushed_at(&self, repository: &Repository, tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        if !self.has_push_times() {
            return Ok(None);
        }
        for listed in self.newest_first(repository) {
            let listed = listed?;
            if listed.tag == *tag {
                return Ok(listed.pushed_at);
            }
        }
        Ok(None)
    }

    fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
        platforms: &[String],
    ) -> Result<Option<Configuration>, RegistryError> {
        self.oci.configuration(repository, digest, platforms)
    }

    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Platforms, RegistryError> {
        self.oci.platforms(repository, tag)
    }

    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a> {
        if !self.has_push_times() {
            return self.oci.newest_first(repository);
        }
        let what = format!("the package versions of {repository}");
        Box::new(Walk::new(Numbered::new(what, |number| self.page(repository, number))))
    }
}
