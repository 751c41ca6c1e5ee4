//! Advice for two errors: the address of a forge that does not answer at the configured one, and the problem of
//! a user that may not sign in. Its requests are sent only for the text of an error, once a run.

use ureq::http::StatusCode;
use url::Url;

use super::super::answer::{Answer, SMALL_BODY};
use super::super::oci::header::{Challenge, challenges};
use super::super::request::Method;
use super::{Gitea, Version};

const NOT_PASSED_ON: &str = "the forge answers here, but its registry does not: its reverse proxy must pass on /v2 at the root of the host";

const HAS_A_PATH: &str = "the forge's registry answers here, but its API does not: set url to the address of its web page, with the path";

impl Gitea {
    /// Advice if no forge's API answers at the configured address. At most two requests.
    pub(super) fn find_api(&self) -> Option<&str> {
        let look = || {
            if self.config.api_url.is_some() {
                return None;
            }
            let segments: Vec<&str> = self.path.split('/').filter(|segment| !segment.is_empty()).collect();
            match segments.as_slice() {
                [] => self.find_path(),
                [_] => self.answering_at(""),
                [first, ..] => self.answering_at("").or_else(|| self.answering_at(&format!("/{first}"))),
            }
        };
        self.api_advice.get_or_init(look).as_deref()
    }

    /// Advice if the answer is not from the forge's registry. At most two requests.
    pub(super) fn find_registry(&self) -> Option<&str> {
        let look = || {
            let answer = self.client.send(Method::Get, &self.client.at("/v2/"), &[]).ok()?;
            let is_registry = !challenges(&answer.headers).is_empty()
                || answer.header("docker-distribution-api-version").is_some();
            let is_forge = || self.is_forge(&self.path);
            (!is_registry && is_forge()).then(|| NOT_PASSED_ON.to_owned())
        };
        self.registry_advice.get_or_init(look).as_deref()
    }

    /// The forge's address, from the URL at which its registry issues tokens. The registry is at the root of
    /// the host, and the forge may be at a path.
    fn find_path(&self) -> Option<String> {
        let answer = self.client.send(Method::Get, &self.client.at("/v2/"), &[]).ok()?;
        let path = challenges(&answer.headers).into_iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service } if service.as_deref() == Some("container_registry") => {
                Some(Url::parse(&realm).ok()?.path().strip_suffix("/v2/token")?.to_owned())
            }
            _ => None,
        })?;
        if path.is_empty() {
            (!self.is_forge("")).then(|| HAS_A_PATH.to_owned())
        } else {
            self.answering_at(&path)
        }
    }

    fn answering_at(&self, path: &str) -> Option<String> {
        let url = self.client.at(path);
        let url = url.as_str().trim_end_matches('/');
        self.is_forge(path).then(|| format!("the forge answers at {url}: set url to it"))
    }

    /// Whether the forge's API is below this path.
    fn is_forge(&self, path: &str) -> bool {
        let url = self.client.at(&format!("{path}/api/v1/version"));
        self.client.send(Method::Get, &url, &[]).is_ok_and(|answer| version(answer).is_some())
    }

    /// The problem of the user of a valid token that may not read. The package API reports it.
    pub(super) fn find_user_fault(&self, owner: &str) -> Option<&'static str> {
        let look = || {
            let answer = self.ask_packages(&format!("{owner}?type=container&limit=1")).ok()?;
            if answer.status.is_success() { None } else { user_fault(&answer.excerpt()) }
        };
        *self.user_fault.get_or_init(look)
    }
}

/// The version of a forge; empty if it reports the version to signed-in users only.
pub(super) fn version(answer: Answer) -> Option<String> {
    let status = answer.status;
    let is_json = answer.header("content-type").is_some_and(|kind| kind.contains("json"));
    // Below /v2, the forge's registry asks for every path how to sign in.
    let is_registry = !challenges(&answer.headers).is_empty();
    match status {
        StatusCode::OK => {
            let version: Version = serde_json::from_slice(&answer.bytes(SMALL_BODY).ok()?).ok()?;
            Some(version.version)
        }
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED if is_json && !is_registry => Some(String::new()),
        _ => None,
    }
}

/// The problem of the user in a forge's answer, if another scope of the token would not help.
pub(super) fn user_fault(said: &str) -> Option<&'static str> {
    [
        (
            "prohibited from signing in",
            "the token's user is blocked: an administrator of the forge must allow it to sign in, or use another user's token",
        ),
        (
            "must change your password",
            "the token's user must set a new password first: sign in on the web page as this user",
        ),
        (
            "account is not activated",
            "the token's user is not activated: an administrator of the forge must activate it",
        ),
    ]
    .into_iter()
    .find_map(|(answer, advice)| said.contains(answer).then_some(advice))
}
