//! GitLab's registry: as OCI, with tokens from GitLab itself, which is another host.
//!
//! It has no push times: the `created_at` of a tag in GitLab's registry API is when the image was built
//! (`lib/container_registry/tag.rb` takes it from the image's configuration), and an image can be pushed long
//! after that: `min_age` would pass too early.

use url::Url;

use super::oci::Oci;
use super::{Configuration, Registry, RegistryError, SignIn};
use crate::config::RegistryConfig;
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};

pub(super) struct Gitlab {
    oci: Oci,
}

impl Gitlab {
    /// `api_url` is GitLab's own address, where it is not gitlab.com.
    pub(super) fn new(config: &RegistryConfig, oci: Oci) -> Gitlab {
        let gitlab = config.api_url.clone().or_else(|| Url::parse("https://gitlab.com").ok());
        Gitlab { oci: gitlab.iter().fold(oci, Oci::trusting) }
    }
}

impl Registry for Gitlab {
    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        self.oci.sign_in(repositories)
    }

    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        self.oci.list_tags(repository)
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
        let (config, oci, _) = usual("gitlab");
        let Gitlab { oci } = Gitlab::new(&config, oci);
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
