//! GitLab's registry: OCI, with tokens from GitLab itself, which is another host.
//!
//! It has no push times. The `created_at` of a tag in GitLab's registry API is the build time of the image
//! (`lib/container_registry/tag.rb` reads it from the image's configuration). An image can be pushed long after
//! its build, so `min_age` would pass too early.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde::Deserialize;
use ureq::http::StatusCode;
use url::Url;

use super::answer::ROWS_BODY;
use super::client::Client;
use super::names::{self, NamesPage};
use super::oci::Oci;
use super::request::{Header, Method};
use super::{Configuration, Registry, RegistryError, SignIn, Traffic};
use crate::config::RegistryConfig;
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};
use crate::secret::Secrets;

pub(super) struct Gitlab {
    oci: Oci,
    gitlab: Client,
    config: RegistryConfig,
    secrets: Arc<Secrets>,
}

/// The API's largest page.
const ROWS: usize = 100;

/// A repository of GitLab's API.
#[derive(Deserialize)]
struct Row {
    /// Includes the group.
    path: String,
}

impl Gitlab {
    /// `api_url` is GitLab's own address, if it is not gitlab.com.
    pub(super) fn new(config: &RegistryConfig, oci: Oci, secrets: Arc<Secrets>, requests: Traffic) -> Gitlab {
        let gitlab = config.api_url.clone();
        let gitlab = gitlab.unwrap_or_else(|| Url::parse("https://gitlab.com").expect("a valid URL"));
        Gitlab {
            oci: oci.trusting(&gitlab),
            gitlab: Client::new(config, &gitlab, &secrets, requests),
            config: config.clone(),
            secrets,
        }
    }

    /// From GitLab's API, because the registry does not show its catalog.
    fn images_of(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        names::images_of(owner, &format!("the repositories of {owner}"), |number| self.page(owner, number))
    }

    fn page(&self, owner: &str, number: usize) -> Result<NamesPage, RegistryError> {
        let prefix = self.config.api_url.as_ref().map_or("", |url| url.path().trim_end_matches('/'));
        let url = self.gitlab.at(&format!(
            "{prefix}/api/v4/groups/{owner}/registry/repositories?per_page={ROWS}&page={number}"
        ));
        let credential = self.secrets.credential(&self.config, self.gitlab.cutoff())?;
        let token = credential.filter(|found| !found.is_identity).map(|found| found.token);
        let headers: Vec<Header<'_>> =
            token.iter().map(|token| ("private-token", token.expose_secret())).collect();
        let answer = self.gitlab.send(Method::Get, &url, &headers)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(answer
                    .refused("the token may not list the group's images: it needs the scope read_api")
                    .denied());
            }
            StatusCode::NOT_FOUND => {
                let advice = "the group does not exist, or the token has no access to it (a user's own namespace cannot be listed: write a project with image for each image)";
                return Err(answer.refused(advice).not_found());
            }
            _ => return Err(answer.refused("this is not an answer of GitLab; is api_url right?").protocol()),
        }
        let (head, is_last) = (answer.head(), !names::has_next(&answer));
        let rows: Vec<Row> = serde_json::from_slice(&answer.bytes(ROWS_BODY)?)
            .map_err(|_| RegistryError::Protocol(format!("{head}: this is not a list of repositories")))?;
        Ok(NamesPage { names: rows.into_iter().map(|row| row.path).collect(), is_last })
    }
}

impl Registry for Gitlab {
    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        self.oci.sign_in(repositories)
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
        false
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
        self.oci.newest_first(repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixture::{trusts, usual};

    #[test]
    fn the_registry_of_gitlab_com_has_its_tokens_from_gitlab_com() {
        let (config, oci, secrets) = usual("gitlab");
        let Gitlab { oci, .. } = Gitlab::new(&config, oci, secrets, Traffic::default());
        assert!(trusts(&oci, "https://gitlab.com/jwt/auth"));
        assert!(trusts(&oci, "https://registry.gitlab.com/jwt/auth"));
        for realm in [
            "http://gitlab.com/jwt/auth",
            "https://gitlab.com.example.com/",
            "https://gitlab.com:8443/",
            "https://x.gitlab.com/",
        ] {
            assert!(!trusts(&oci, realm), "{realm}");
        }
    }
}
