//! The access to a registry: the challenge that it gives, and the credential or token that answers it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::ExposeSecret as _;
use serde::Deserialize;
use ureq::http::StatusCode;
use url::Url;

use super::Oci;
use super::header::{self, Challenge};
use crate::reference::Repository;
use crate::registry::answer::{Answer, SMALL_BODY};
use crate::registry::client::{MANIFEST_TYPES, MOST_REDIRECTS, too_many_redirects};
use crate::registry::request::Method;
use crate::registry::{RegistryError, image};
use crate::secret::Credential;

const NO_PASSWORD: &str = "it requires a password; set token to it, with username";

/// The resource of a request.
#[derive(Clone, Copy)]
pub(super) enum Resource<'a> {
    Repository(&'a Repository),
    /// The list of repositories.
    Catalog,
    /// A check that the credential is accepted.
    Base,
}

impl<'a> Resource<'a> {
    fn repository(self) -> Option<&'a Repository> {
        match self {
            Resource::Repository(repository) => Some(repository),
            Resource::Catalog | Resource::Base => None,
        }
    }

    /// The scope of a token.
    fn scope(self) -> Option<String> {
        match self {
            Resource::Repository(repository) => Some(format!("repository:{repository}:pull")),
            Resource::Catalog => Some("registry:catalog:*".to_owned()),
            Resource::Base => None,
        }
    }
}

impl<'a> From<&'a Repository> for Resource<'a> {
    fn from(repository: &'a Repository) -> Resource<'a> {
        Resource::Repository(repository)
    }
}

/// How a registry answers a request without credentials to `/v2/`.
pub(super) enum Door {
    Open,
    Asks {
        head: String,
        challenges: Vec<Challenge>,
    },
    /// It has no `/v2/`, or hides it.
    Unknown(RegistryError),
}

/// The access to a repository at one server. Locked during an exchange, so that other threads wait for its
/// token.
pub(super) type Slot = Arc<Mutex<Option<Arc<Access>>>>;

pub(super) struct Access {
    /// The header `Authorization`.
    header: String,
    /// The challenges and the credential of the header.
    credential: Option<Credential>,
    challenges: Vec<Challenge>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Oci {
    /// Sends a request about a repository, with authentication if the server requires it. Without a configured
    /// credential, a redirect to another server is followed, with anonymous access there.
    pub(super) fn ask<'a>(
        &self,
        method: Method,
        resource: impl Into<Resource<'a>>,
        url: &Url,
    ) -> Result<Answer, RegistryError> {
        let resource = resource.into();
        let may_leave =
            self.secrets.credential_for(&self.config, resource.repository(), self.client.cutoff())?.is_none();
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.ask_at(method, resource, &url)?;
            match self.client.redirect(&answer, may_leave)? {
                None => return Ok(answer),
                Some(next) => url = next,
            }
        }
        Err(too_many_redirects(method, &url))
    }

    /// The same at this server only. A refusal is answered according to its challenge, then once more with a
    /// renewed credential.
    fn ask_at(&self, method: Method, resource: Resource<'_>, url: &Url) -> Result<Answer, RegistryError> {
        let slot = self.slot(resource, url);
        let (mut used, mut is_fresh) = self.first_access(&slot, resource, url)?;
        let mut answer = self.send(method, url, used.as_deref())?;
        for _ in 0..2 {
            if !is_refused(&answer) {
                break;
            }
            let Some(next) = self.next_access(&slot, resource, used.as_ref(), is_fresh, &answer)? else {
                break;
            };
            answer = self.send(method, url, Some(&next))?;
            (used, is_fresh) = (Some(next), true);
        }
        Ok(answer)
    }

    /// The access for the first request, and whether it was made just now. A configured credential is used from
    /// the first request on: anonymous access may show only some tags, or no image.
    fn first_access(
        &self,
        slot: &Slot,
        resource: Resource<'_>,
        url: &Url,
    ) -> Result<(Option<Arc<Access>>, bool), RegistryError> {
        let mut known = lock(slot);
        if known.is_some() || self.credential_at(url, resource)?.is_none() {
            return Ok((known.clone(), false));
        }
        if let Door::Asks { head, challenges } = self.door()?
            && !challenges.is_empty()
        {
            *known = Some(Arc::new(self.authorization(head, challenges, url, resource)?));
        }
        Ok((known.clone(), true))
    }

    /// The access for another try after this answer; None: no other access exists. `is_fresh`: the used access
    /// was made for this request, so making it again cannot help.
    fn next_access(
        &self,
        slot: &Slot,
        resource: Resource<'_>,
        used: Option<&Arc<Access>>,
        is_fresh: bool,
        answer: &Answer,
    ) -> Result<Option<Arc<Access>>, RegistryError> {
        let mut known = lock(slot);
        let is_used = match (&*known, used) {
            (Some(known), Some(used)) => Arc::ptr_eq(known, used),
            (known, used) => known.is_none() && used.is_none(),
        };
        if !is_used {
            return Ok(known.clone());
        }
        let challenges = header::challenges(&answer.headers);
        let is_answered = is_fresh && used.is_some_and(|used| used.challenges == challenges);
        let mut next = None;
        // A gateway that refuses a HEAD gives no challenge; the GET has one, if there is something to answer.
        let is_answered = is_answered || (answer.method == Method::Head && challenges.is_empty());
        if answer.status == StatusCode::UNAUTHORIZED && !is_answered {
            let access = self.authorization(&answer.head(), &challenges, &answer.url, resource)?;
            next = Some(access).filter(|access| used.is_none_or(|used| used.header != access.header));
        }
        if next.is_none()
            && let Some((used, credential)) = used.and_then(|used| Some((used, used.credential.as_ref()?)))
            && let Some(renewed) =
                self.secrets.renewed(&self.config, resource.repository(), credential, self.client.cutoff())?
        {
            let (head, url) = (answer.head(), &answer.url);
            next = Some(self.answered(&head, &used.challenges, Some(renewed), url, resource)?);
        }
        let next = next.map(Arc::new);
        if next.is_some() {
            known.clone_from(&next);
        }
        Ok(next)
    }

    /// The credential for a request to this URL: none at other servers than the registry's own.
    fn credential_at(&self, url: &Url, resource: Resource<'_>) -> Result<Option<Credential>, RegistryError> {
        if !self.client.is_same_origin(url) {
            return Ok(None);
        }
        Ok(self.secrets.credential_for(&self.config, resource.repository(), self.client.cutoff())?)
    }

    pub(super) fn door(&self) -> Result<&Door, RegistryError> {
        let ask = || {
            let answer = self.client.send(Method::Get, &self.base(), &[])?;
            Ok(match answer.status {
                StatusCode::OK => Door::Open,
                StatusCode::UNAUTHORIZED => {
                    Door::Asks { head: answer.head(), challenges: header::challenges(&answer.headers) }
                }
                _ => Door::Unknown(Oci::refusal(answer)),
            })
        };
        self.door.get_or_init(ask).as_ref().map_err(RegistryError::clone)
    }

    pub(super) fn slot(&self, resource: Resource<'_>, url: &Url) -> Slot {
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(access.entry((resource.scope().unwrap_or_default(), url.origin())).or_default())
    }

    /// Blobs may be in storage elsewhere, which receives no credentials.
    pub(super) fn send(
        &self,
        method: Method,
        url: &Url,
        access: Option<&Access>,
    ) -> Result<Answer, RegistryError> {
        let mut headers = vec![("accept", MANIFEST_TYPES)];
        headers.extend(access.map(|access| ("authorization", access.header.as_str())));
        let answer = self.client.send_to(method, url, &headers)?;
        if url.path().contains("/blobs/") {
            image::follow(&self.client, answer, &headers)
        } else {
            Ok(answer)
        }
    }

    /// The access that a server's challenges ask for, with a renewed credential if the present one has expired.
    pub(super) fn authorization(
        &self,
        head: &str,
        challenges: &[Challenge],
        url: &Url,
        resource: Resource<'_>,
    ) -> Result<Access, RegistryError> {
        let credential = self.credential_at(url, resource)?;
        let answered = self.answered(head, challenges, credential.clone(), url, resource);
        if let (Err(RegistryError::Unauthorized(_)), Some(credential)) = (&answered, credential)
            && let Some(renewed) = self.secrets.renewed(
                &self.config,
                resource.repository(),
                &credential,
                self.client.cutoff(),
            )?
        {
            return self.answered(head, challenges, Some(renewed), url, resource);
        }
        answered
    }

    fn answered(
        &self,
        head: &str,
        challenges: &[Challenge],
        credential: Option<Credential>,
        url: &Url,
        resource: Resource<'_>,
    ) -> Result<Access, RegistryError> {
        let access = |header, credential| Access { header, credential, challenges: challenges.to_vec() };
        let mut refused = None;
        for challenge in challenges {
            let Challenge::Bearer { realm, service } = challenge else {
                continue;
            };
            match self.realm(head, realm, url) {
                Ok(realm) => {
                    let header = self.exchange(realm, service.as_deref(), credential.as_ref(), resource)?;
                    return Ok(access(header, credential));
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let basic = credential.as_ref().filter(|credential| !credential.is_identity).map(Credential::basic);
        match (challenges.contains(&Challenge::Basic), basic, refused) {
            (true, Some(basic), _) => Ok(access(basic, credential)),
            (_, _, Some(refused)) => Err(refused),
            (true, None, None) => Err(RegistryError::Unauthorized(format!("{head}: {NO_PASSWORD}"))),
            (false, _, None) => Err(RegistryError::Unauthorized(format!(
                "{head}: the server does not say how to authenticate"
            ))),
        }
    }

    /// The URL for a token, if credentials may be sent there. The same rule holds without a credential: a
    /// server must not make tagship send requests to other addresses, or see their answers.
    fn realm(&self, head: &str, realm: &str, asked: &Url) -> Result<Url, RegistryError> {
        let url = Url::parse(realm).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(
            || RegistryError::Protocol(format!("{head}: the address for a token is not valid")),
        )?;
        // After a redirect to another server, that server's own host issues the tokens, for anonymous access.
        let is_others = !self.client.is_same_origin(asked)
            && (url.scheme(), url.host()) == (asked.scheme(), asked.host());
        if !is_others && !self.trusts(&url) {
            return Err(RegistryError::Denied(format!(
                "{head}: it issues tokens at {}, but tagship requests tokens only from the registry's own host with the same scheme; if that host belongs to the registry, add it to trusted_realms (Gitea and Forgejo use ROOT_URL of their app.ini, which should be the same as url)",
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
        resource: Resource<'_>,
    ) -> Result<String, RegistryError> {
        let scope = resource.scope();
        let question = service
            .map(|service| ("service", service))
            .into_iter()
            .chain(scope.iter().map(|scope| ("scope", scope.as_str())));
        let answer = match credential {
            Some(identity) if identity.is_identity => {
                // OAuth 2 as in the token specification of distribution.
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
                self.client.send(Method::Get, &url, &headers)?
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
            _ => return Err(answer.refused("the answer has no token").protocol()),
        }
        let head = answer.head();
        let token: Token = serde_json::from_slice(&answer.bytes(SMALL_BODY)?)
            .map_err(|_| RegistryError::Protocol(format!("{head}: this is not a token")))?;
        // The specification allows either name. Servers write one of them, both, or leave one empty.
        match [token.token, token.access_token].into_iter().flatten().find(|token| !token.is_empty()) {
            Some(token) => {
                self.secrets.hide(&token);
                Ok(format!("Bearer {token}"))
            }
            None => Err(RegistryError::Protocol(format!("{head}: the answer has no token"))),
        }
    }
}

pub(super) fn lock(slot: &Slot) -> MutexGuard<'_, Option<Arc<Access>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn is_refused(answer: &Answer) -> bool {
    matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}
