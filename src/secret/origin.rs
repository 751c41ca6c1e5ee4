//! Describes the sources of all secrets, for people. Reads no secret.

use std::env;

use super::credential::{docker_host, variable_of};
use super::docker::{CredentialPlace, DockerConfig};
use crate::config::{Config, CredentialSetting, Location, RegistryConfig, SecretSource};

/// The source of each registry's credential, then of each secret.
pub(crate) fn origins(config: &Config) -> Vec<(String, String)> {
    let registries = config
        .registries
        .values()
        .map(|registry| (format!("registry {}", registry.name), of_registry(registry)));
    let secrets = config.secrets.iter().map(|(id, source)| (format!("secret {id}"), describe(source)));
    registries.chain(secrets).collect()
}

fn of_registry(registry: &RegistryConfig) -> String {
    match &registry.credential {
        _ if matches!(registry.location, Location::Folder(_)) => {
            "none: a folder needs no credential".to_owned()
        }
        CredentialSetting::Anonymous => "none: anonymous access (anonymous = true)".to_owned(),
        CredentialSetting::Source(SecretSource::DockerConfig(path)) => {
            let host = docker_host(registry);
            let found = match DockerConfig::read(path).map(|docker| docker.place(&host, None)) {
                Err(error) => error,
                Ok(CredentialPlace::Nowhere) => format!("it has no entry for {host}: anonymous access"),
                Ok(CredentialPlace::Entry(entry)) => format!("its entry {entry}"),
                Ok(CredentialPlace::Helper { name, server, .. }) => {
                    format!("docker-credential-{name} for {server}")
                }
            };
            format!("the docker configuration {}: {found}", path.display())
        }
        CredentialSetting::Source(source) => describe(source),
        CredentialSetting::Search => {
            let variable = variable_of(&registry.name);
            if env::var_os(&variable).is_some() {
                return format!("the environment variable {variable}");
            }
            format!(
                "the keyring's entry {}, or anonymous access if there is none ({variable} is not set here)",
                registry.name
            )
        }
    }
}

fn describe(source: &SecretSource) -> String {
    match source {
        SecretSource::Env(name) if env::var_os(name).is_none() => {
            format!("the environment variable {name}, which is not set here")
        }
        SecretSource::Env(name) => format!("the environment variable {name}"),
        SecretSource::File(path) => format!("the file {}", path.display()),
        SecretSource::Command { argv, .. } => format!("what the command {} prints", argv.join(" ")),
        SecretSource::Credential(name) => format!("the systemd credential {name}"),
        SecretSource::Keyring(name) => format!("the keyring's entry {name}"),
        SecretSource::DockerConfig(path) => format!("the docker configuration {}", path.display()),
    }
}
