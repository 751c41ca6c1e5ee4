//! Trying a token, for `tagship login`, and what the server says of its scopes.

use serde::Deserialize;
use ureq::http::StatusCode;

use super::Gitea;
use super::address::user_fault;
use crate::reference::Repository;
use crate::registry::answer::SMALL_BODY;
use crate::registry::request::Method;
use crate::registry::{RegistryError, SignIn};

/// `GET /api/v1/user` with the scope read:user.
#[derive(Deserialize)]
struct User {
    login: String,
}

/// `GET /api/v1/user` without it.
#[derive(Deserialize)]
struct Refused {
    message: String,
}

impl Gitea {
    /// The token exchange, which a wrong token does not get through; then the packages of an owner, for an old
    /// server exchanges tokens without the scope, too.
    pub(super) fn try_token(&self, repository: Option<&Repository>) -> Result<SignIn, RegistryError> {
        let Some(credential) = self.credential()? else {
            // Where everyone has to sign in, nobody is given a token.
            self.exchanged()?;
            return Ok(SignIn::NotAsked);
        };
        let url = self.client.at("/v2/token?service=container_registry&scope=*");
        let answer = self.client.send(Method::Get, &url, &[("authorization", &credential.basic())])?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let advice = "the token is wrong, or has expired, or lacks the scope read:package";
                let advice = |said: &str| user_fault(said).unwrap_or(advice).to_owned();
                return Err(answer.refused_by(advice).unauthorized());
            }
            _ => return Err(self.refusal(answer)),
        }
        if let Some(repository) = repository {
            let answer = self.ask_packages(&format!("{}?type=container&limit=1", repository.owner()))?;
            // An owner that is not there is for `check` to find.
            if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
                return Err(self.package_refusal(answer));
            }
        }
        Ok(SignIn::Accepted(self.whose()))
    }

    /// Whose token it is, or its scopes: new Gitea names them when one is missing. Neither is needed.
    fn whose(&self) -> Option<String> {
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
