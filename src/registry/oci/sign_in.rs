//! Trying a credential, for `tagship login`.

use ureq::http::StatusCode;

use super::Oci;
use crate::reference::Repository;
use crate::registry::answer::Answer;
use crate::registry::request::Method;
use crate::registry::{RegistryError, SignIn};

impl Oci {
    /// Asks `/v2/` for its challenge and answers it, for one of the repositories where there is one.
    pub(super) fn try_credential(&self, repository: Option<&Repository>) -> Result<SignIn, RegistryError> {
        let base = self.client.at(&format!("{}/v2/", self.prefix));
        let challenge = self.send(Method::Get, &base, None)?;
        match challenge.status {
            StatusCode::OK => return Ok(SignIn::NotAsked),
            StatusCode::UNAUTHORIZED => {}
            _ => return Err(Oci::refusal(challenge)),
        }
        let authorization = self.authorization(&challenge, repository)?;
        let url = match repository {
            Some(repository) => self.client.at(&format!("{}/v2/{repository}/tags/list?n=1", self.prefix)),
            None => base,
        };
        let answer = self.send(Method::Get, &url, Some(&authorization))?;
        if is_refused(&answer) { Err(Oci::refusal(answer)) } else { Ok(SignIn::Accepted(None)) }
    }
}

/// An image that was not pushed yet is no matter here.
fn is_refused(answer: &Answer) -> bool {
    matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}
