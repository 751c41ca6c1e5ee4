//! Tries a token for `tagship login`, and reports its scopes.

use serde::Deserialize;
use ureq::http::StatusCode;

use super::Gitea;
use super::address::user_fault;
use crate::reference::Repository;
use crate::registry::answer::SMALL_BODY;
use crate::registry::request::Method;
use crate::registry::{RegistryError, SignIn};

/// The answer of `GET /api/v1/user` with the scope read:user.
#[derive(Deserialize)]
struct User {
    login: String,
}

/// The answer of `GET /api/v1/user` without that scope.
#[derive(Deserialize)]
struct Refused {
    message: String,
}

impl Gitea {
    /// The token exchange, which fails for a wrong token; then the packages of an owner, because old servers
    /// exchange tokens without the scope too.
    pub(super) fn try_token(&self, repository: Option<&Repository>) -> Result<SignIn, RegistryError> {
        let Some(credential) = self.credential()? else {
            // A server that requires everyone to sign in gives no anonymous token.
            self.exchanged()?;
            return Ok(SignIn::NotAsked);
        };
        let url = self.client.at("/v2/token?service=container_registry&scope=*");
        let answer = self.client.send(Method::Get, &url, &[("authorization", &credential.basic())])?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let advice = "the token is wrong, has expired, or lacks the scope read:package";
                let advice = |said: &str| user_fault(said).unwrap_or(advice).to_owned();
                return Err(answer.refused_by(advice).unauthorized());
            }
            _ => return Err(self.refusal(answer)),
        }
        if let Some(repository) = repository {
            let answer = self.ask_packages(&format!("{}?type=container&limit=1", repository.owner()))?;
            // `check` reports an owner that does not exist.
            if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
                return Err(self.package_refusal(answer));
            }
        }
        Ok(SignIn::Accepted(self.user_or_scopes()))
    }

    /// The token's user, or its scopes, which recent Gitea versions name if one is missing. Both are optional.
    fn user_or_scopes(&self) -> Option<String> {
        let answer = self.ask_packages("../user").ok()?;
        let status = answer.status;
        let body = answer.bytes(SMALL_BODY).ok()?;
        match status {
            StatusCode::OK => {
                let user: User = serde_json::from_slice(&body).ok()?;
                Some(format!("it is {}'s", user.login))
            }
            StatusCode::FORBIDDEN => {
                let refused: Refused = serde_json::from_slice(&body).ok()?;
                let (_, scopes) = refused.message.split_once("token scope=")?;
                Some(format!("its scopes are {scopes}"))
            }
            _ => None,
        }
    }
}
