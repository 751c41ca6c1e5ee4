//! Warnings about files with secrets, without reading a secret.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::credential::docker_host;
use super::docker::{CredentialPlace, DockerConfig};
use crate::config::{Config, CredentialSetting, RegistryKind, SecretSource};

const READ_BY_OTHERS: u32 = 0o004;
const ENTERED_BY_OTHERS: u32 = 0o001;

/// A warning for each file with a secret that every user can read. (Read access of the group may be
/// intended.)
pub(crate) fn exposed(config: &Config) -> Vec<String> {
    let of_registries = config.registries.values().filter_map(|registry| match &registry.credential {
        CredentialSetting::Source(source) => Some(source),
        CredentialSetting::Search | CredentialSetting::Anonymous => None,
    });
    let files: BTreeSet<&Path> = config
        .secrets
        .values()
        .chain(of_registries)
        .filter_map(|source| match source {
            SecretSource::File(path) | SecretSource::DockerConfig(path) => Some(path.as_path()),
            _ => None,
        })
        .collect();
    let warning = |path: &Path| {
        let shown = path.display();
        format!("{shown}: every user of this machine can read this secret\n    chmod o-r {shown}")
    };
    files.into_iter().filter(|path| is_exposed(path)).map(warning).collect()
}

/// A warning for each image whose registry takes its token from a docker configuration without an entry for
/// it: access is anonymous, which may not be intended.
pub(crate) fn without_entry(config: &Config) -> Vec<String> {
    let mut warnings = BTreeSet::new();
    for target in config.all_targets() {
        let registry = &config.registries[&target.registry];
        let CredentialSetting::Source(SecretSource::DockerConfig(path)) = &registry.credential else {
            continue;
        };
        let host = docker_host(registry);
        // Gitea's tokens are valid for the whole server.
        let repository =
            Some(target.image.repository.as_str()).filter(|_| registry.kind != RegistryKind::Gitea);
        warnings.extend(match DockerConfig::read(path) {
            Err(error) => Some(format!("the token of the registry {}: {error}", registry.name)),
            Ok(found) => {
                let place = found.place(&host, repository);
                (place == CredentialPlace::Nowhere).then(|| {
                    format!(
                        "{} has no entry for {host} and names no credential helper: anonymous access to the registry {}\n    docker login {host}, or anonymous = true",
                        path.display(),
                        registry.name
                    )
                })
            }
        });
    }
    warnings.into_iter().collect()
}

/// Whether everyone can read the file and enter each folder above it.
fn is_exposed(path: &Path) -> bool {
    // Links count as the file they point to: Kubernetes and systemd mount secrets as links.
    let Ok(real) = fs::canonicalize(path) else {
        return false;
    };
    let has = |path: &Path, bit: u32| fs::metadata(path).is_ok_and(|found| found.mode() & bit != 0);
    has(&real, READ_BY_OTHERS) && real.ancestors().skip(1).all(|folder| has(folder, ENTERED_BY_OTHERS))
}
