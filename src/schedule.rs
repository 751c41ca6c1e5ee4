//! Schedules: a crontab line, systemd units, Kubernetes manifests or a workflow, generated as text from a
//! [`Job`]. Pure; uses only the sources of secrets, never their values.

mod cron;
mod gitea_actions;
mod kubernetes;
mod quote;
mod rhythm;
mod systemd;

use std::time::Duration;

pub(crate) use cron::crontab;
pub(crate) use gitea_actions::{steps, workflow};
pub(crate) use kubernetes::{Cluster, File, manifests};
pub(crate) use quote::shell;
pub(crate) use systemd::{Account, units};

use crate::config::SecretSource;

/// The run to schedule, as described by the configuration. Paths are absolute and contain no control
/// characters.
#[derive(Debug)]
pub(crate) struct Job {
    /// The program itself.
    pub(crate) program: String,
    /// The main configuration file.
    pub(crate) config: String,
    pub(crate) state: State,
    /// The shortest interval of all polled targets.
    pub(crate) interval: Duration,
    /// The longest time of a run, from its start to the end of the last step.
    pub(crate) longest: Duration,
    pub(crate) secrets: Vec<SecretUse>,
    /// Programs of deployments, probes and notifications: as written, or as a path if they are in the step's
    /// folder; each once.
    pub(crate) commands: Vec<String>,
    /// The folders they run in; each once.
    pub(crate) folders: Vec<String>,
    /// Other files that the configuration names: certificates and keys.
    pub(crate) certificates: Vec<String>,
    /// Whether one of these files, or of the configuration's, is not readable by everyone.
    pub(crate) is_private: bool,
    /// Where metrics are written.
    pub(crate) metrics_file: Option<String>,
}

/// The folder of a service's state.
const STATE_FOLDER: &str = "/var/lib/tagship";

/// Where the state is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is kept between runs.
    Nothing,
    /// In this file, because the configuration says so.
    Configured(String),
    /// In this file, because of the command line, the environment or the folder of the configuration: the job
    /// must pass it.
    Given(String),
}

/// A secret that a run needs.
#[derive(Debug)]
pub(crate) struct SecretUse {
    /// `the token of the registry git`
    pub(crate) whose: String,
    pub(crate) source: SecretSource,
    /// Whether a run works without it: the configuration does not name it, but tagship looks there first.
    pub(crate) is_optional: bool,
}

impl Job {
    /// The program's arguments, to poll due targets. `state`: used instead of the job's.
    fn arguments(&self, state: Option<&str>) -> Vec<String> {
        let given = match &self.state {
            State::Given(path) => Some(path.as_str()),
            _ => None,
        };
        let mut arguments = vec!["--config".to_owned(), self.config.clone()];
        if let Some(path) = state.or(given) {
            arguments.extend(["--state".to_owned(), path.to_owned()]);
        }
        arguments.extend(["poll", "--due"].map(str::to_owned));
        arguments
    }

    /// The folder of the main configuration file.
    fn folder(&self) -> &str {
        folder_of(&self.config)
    }

    /// Whether the state is in the folder that systemd creates for the service.
    fn has_state_of_the_service(&self) -> bool {
        self.state_file().is_some_and(|file| folder_of(file) == STATE_FOLDER)
    }

    fn state_file(&self) -> Option<&str> {
        match &self.state {
            State::Nothing => None,
            State::Configured(path) | State::Given(path) => Some(path),
        }
    }

    fn keeps_state(&self) -> bool {
        self.state != State::Nothing
    }

    /// The environment variables with secrets, each once, and whether the variable is optional.
    fn variables(&self) -> Vec<(&str, bool)> {
        let mut variables: Vec<(&str, bool)> = Vec::new();
        for secret in &self.secrets {
            let SecretSource::Env(name) = &secret.source else { continue };
            match variables.iter_mut().find(|(known, _)| known == name) {
                Some((_, is_optional)) => *is_optional &= secret.is_optional,
                None => variables.push((name, secret.is_optional)),
            }
        }
        variables
    }

    /// The files with secrets, each once, as written in the configuration.
    fn files_as_written(&self) -> Vec<&str> {
        self.each_once(|source| match source {
            SecretSource::File(path) | SecretSource::DockerConfig(path) => path.to_str(),
            _ => None,
        })
    }

    /// The same files, as paths that systemd and Kubernetes accept.
    fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = Vec::new();
        for file in self.files_as_written().into_iter().map(plain) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files
    }

    /// The systemd credentials, each once.
    fn credentials(&self) -> Vec<&str> {
        self.each_once(|source| match source {
            SecretSource::Credential(name) => Some(name),
            _ => None,
        })
    }

    /// The programs that print secrets, each once.
    fn secret_programs(&self) -> Vec<&str> {
        self.each_once(|source| match source {
            SecretSource::Command { argv, .. } => argv.first().map(String::as_str),
            _ => None,
        })
    }

    /// The secrets in the keyring, which needs a session.
    fn in_keyring(&self) -> Vec<&str> {
        let is_in_keyring = |secret: &&SecretUse| matches!(secret.source, SecretSource::Keyring(_));
        self.secrets.iter().filter(is_in_keyring).map(|secret| secret.whose.as_str()).collect()
    }

    fn each_once<'j>(&'j self, pick: impl Fn(&'j SecretSource) -> Option<&'j str>) -> Vec<&'j str> {
        let mut found: Vec<&str> = Vec::new();
        for name in self.secrets.iter().filter_map(|secret| pick(&secret.source)) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
        found
    }
}

/// An absolute path without `.`, `..` and empty parts. A link before `..` is not followed: such paths are not
/// expected.
pub(crate) fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether an absolute path is this folder, or below it.
fn is_within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The folder of an absolute path.
fn folder_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// The last part of a path.
fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod fixture {
    use super::*;

    /// Every five minutes, `/etc/tagship/config.toml`, no secrets, no commands.
    pub(super) fn job() -> Job {
        Job {
            program: "/usr/local/bin/tagship".to_owned(),
            config: "/etc/tagship/config.toml".to_owned(),
            state: State::Given("/var/lib/tagship/state.db".to_owned()),
            interval: Duration::from_secs(300),
            longest: Duration::from_secs(960),
            secrets: Vec::new(),
            commands: Vec::new(),
            folders: Vec::new(),
            certificates: Vec::new(),
            is_private: false,
            metrics_file: None,
        }
    }

    pub(super) fn secret(source: SecretSource) -> SecretUse {
        SecretUse { whose: "the token of the registry git".to_owned(), source, is_optional: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain() {
        for (written, expected) in [
            ("/etc/tagship/token", "/etc/tagship/token"),
            ("/etc/tagship/../token", "/etc/token"),
            ("/etc/./tagship//a/", "/etc/tagship/a"),
            ("/../..", "/"),
        ] {
            assert_eq!(plain(written), expected);
        }
    }
}
