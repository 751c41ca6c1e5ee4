//! The GitHub Container Registry: tags by OCI, push times by the packages API where the token may read it.
//! <https://docs.github.com/en/rest/packages/packages>
//!
//! The API lists versions as their content was pushed, the newest first. That is not documented: what is read
//! is checked for it.

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

/// The most that the API gives in a page.
const ROWS: usize = 100;

pub(super) struct Github {
    oci: Oci,
    api: Client,
    /// The path in front of the API's own: `/api/v3` on GitHub Enterprise.
    prefix: String,
    config: RegistryConfig,
    secrets: Arc<Secrets>,
    /// Whether the token may read the packages API, once asked.
    has_times: OnceLock<bool>,
}

/// A version of a package: content, with every tag that points at it.
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

    /// None: there is no token to ask with.
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

    /// Only a token with the scope read:packages may read the API (and no token of an app or a workflow).
    fn may_read_times(&self) -> bool {
        match self.ask("/user/packages?package_type=container&per_page=1") {
            Ok(None) => false,
            Ok(Some(answer)) => !matches!(
                answer.status,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
            ),
            // Not known: reading the times says what is wrong, where guessing would decide by something else.
            Err(_) => true,
        }
    }

    fn page(&self, repository: &Repository, number: usize) -> Result<TimedPage, RegistryError> {
        let (owner, name) = (repository.owner(), repository.name().unwrap_or_default().replace('/', "%2F"));
        let mut refused = None;
        // Organisations and users have doors of their own.
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
                .refused("there is no such package, or the token may not see it; is the name right?")
                .not_found(),
            None => RegistryError::Unauthorized(format!(
                "the push times of {repository} were not asked for: they need a token with the scope read:packages"
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
                            RegistryError::Protocol(format!("{head}: this is no list of packages"))
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
                .refused("there is no such owner, or the token may not see its packages; is the name right?")
                .not_found(),
            None => RegistryError::Unauthorized(format!(
                "the packages of {owner} were not asked for: GitHub lists them for a token with the scope read:packages only"
            )),
        })
    }
}

fn refusal(answer: Answer) -> RegistryError {
    match answer.status {
        StatusCode::UNAUTHORIZED => answer.refused("the token is wrong or has expired").unauthorized(),
        StatusCode::FORBIDDEN => {
            let advice = "the token may not read this package: it needs the scope read:packages, and where the organisation has single sign-on, to be authorised for it";
            answer.refused(advice).denied()
        }
        _ => answer.refused("this is no answer of GitHub; is api_url right?").protocol(),
    }
}

fn rows(answer: Answer) -> Result<TimedPage, RegistryError> {
    let head = answer.head();
    let bytes = answer.bytes(ROWS_BODY)?;
    let rows: Vec<Row> = serde_json::from_slice(&bytes)
        .map_err(|_| RegistryError::Protocol(format!("{head}: this is no list of package versions")))?;
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

/// When a limit of the API is over, where that is why it refuses: the hourly one, which tells its end, or one of
/// those against bursts, which says how long to wait.
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
            "it may read images, and not when they were pushed (scope read:packages)".to_owned(),
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

    /// When its content was pushed: GitHub does not tell when a tag was put on content that was there.
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
