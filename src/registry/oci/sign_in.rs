//! Tries a credential for `tagship login`.

use std::sync::Arc;

use super::Oci;
use super::access::{Door, Resource, is_refused, lock};
use crate::reference::Repository;
use crate::registry::request::Method;
use crate::registry::{RegistryError, SignIn};

impl Oci {
    /// Answers the challenge of `/v2/`, for one of the repositories if there is any.
    pub(super) fn try_credential(&self, repository: Option<&Repository>) -> Result<SignIn, RegistryError> {
        let (head, challenges) = match self.door()? {
            Door::Open => return Ok(SignIn::NotAsked),
            Door::Unknown(error) => return Err(self.advised(error.clone())),
            Door::Asks { head, challenges } => (head, challenges),
        };
        let base = self.base();
        let resource = repository.map_or(Resource::Base, Resource::Repository);
        let access = Arc::new(self.authorization(head, challenges, &base, resource)?);
        let url = match repository {
            Some(repository) => {
                *lock(&self.slot(resource, &base)) = Some(Arc::clone(&access));
                self.client.at(&format!("{}/v2/{repository}/tags/list?n=1", self.prefix))
            }
            None => base,
        };
        let answer = self.send(Method::Get, &url, Some(&access))?;
        // An image that was never pushed is not an error here.
        if is_refused(&answer) { Err(Oci::refusal(answer)) } else { Ok(SignIn::Accepted(None)) }
    }
}
