//! Credentials of docker and podman: `config.json` and `auth.json`, and their credential helpers. Formats:
//! docker/cli `cli/config/configfile`, docker/docker-credential-helpers, containers-auth.json(5).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::program::{self, ProgramError};
use super::value::token;
use super::{Credential, SecretError};
use crate::file;
use crate::stop::Cutoff;

/// Docker Hub's name in these files.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// Docker Hub's name in tagship and podman.
pub(crate) const HUB: &str = "docker.io";
/// All names of Docker Hub.
const HUB_NAMES: [&str; 3] = [HUB, "index.docker.io", "registry-1.docker.io"];
/// The user name that a helper gives with an identity token.
const IDENTITY_USER: &str = "<token>";
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST: u64 = 1024 * 1024;

/// The credentials of a docker or podman configuration.
pub(super) struct DockerConfig {
    path: PathBuf,
    file: File,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    /// An entry may be null.
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
}

/// Where a credential is in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CredentialPlace {
    Nowhere,
    /// The key of an entry of `auths`.
    Entry(String),
    /// A helper's name, the server to ask it for, and the entry to use if the helper is missing.
    Helper {
        name: String,
        server: String,
        entry: Option<String>,
    },
}

/// The answer of a helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: Option<String>,
    secret: SecretString,
}

impl DockerConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// The file is invalid; the error contains nothing of it.
    pub(super) fn read(path: &Path) -> Result<DockerConfig, String> {
        let shown = path.display();
        let bytes = file::read(path, LONGEST).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let bytes = Zeroizing::new(bytes);
        // The messages of serde_json contain values.
        let file = serde_json::from_slice(file::unmarked(&bytes)).map_err(|error| {
            format!(
                "{shown} is not a docker configuration: see line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        Ok(DockerConfig { path: path.to_owned(), file })
    }

    /// Where the credential of a server (`host` or `host:port`), or of one of its repositories, is.
    pub(super) fn place(&self, host: &str, repository: Option<&str>) -> CredentialPlace {
        let entry = self.entry(host, repository);
        let helpers = self.file.cred_helpers.iter().flatten();
        let own = helpers.filter(|(key, _)| same(&host_of(key), host)).map(|(_, name)| name).next();
        let store = self.file.creds_store.as_ref();
        match own.or(store).filter(|name| !name.is_empty()) {
            Some(name) => {
                let server = if host == HUB { HUB_KEY } else { host };
                CredentialPlace::Helper { name: name.clone(), server: server.to_owned(), entry }
            }
            None => entry.map_or(CredentialPlace::Nowhere, CredentialPlace::Entry),
        }
    }

    /// The key with the longest path that matches the server or the repository.
    fn entry(&self, host: &str, repository: Option<&str>) -> Option<String> {
        let wanted = repository.map(|repository| format!("{repository}/")).unwrap_or_default();
        let fits = |(key, entry): &(&String, &Option<Entry>)| {
            let path = path_of(key);
            same(&host_of(key), host)
                && entry.as_ref().is_some_and(Entry::has_any)
                && (path.is_empty() || wanted.starts_with(&format!("{path}/")))
        };
        let entries = self.file.auths.iter().flatten().filter(fits);
        entries.max_by_key(|(key, _)| path_of(key).len()).map(|(key, _)| key.clone())
    }

    /// The credential at a place; None: there is none.
    ///
    /// # Errors
    /// The entry is not a user name and password, or the helper fails.
    pub(super) fn credential(
        &self,
        place: &CredentialPlace,
        cutoff: &Cutoff,
    ) -> Result<Option<Credential>, SecretError> {
        match place {
            CredentialPlace::Nowhere => Ok(None),
            CredentialPlace::Entry(key) => Ok(Some(self.of_entry(key)?)),
            CredentialPlace::Helper { name, server, entry } => match (ask(name, server, cutoff), entry) {
                (Ok(Some(credential)), _) => Ok(Some(credential)),
                // The file comes from a machine that has the helper.
                (Err(ProgramError::Missing(_)), Some(key)) => Ok(Some(self.of_entry(key)?)),
                (Err(fault), _) => Err(fault.into()),
                (Ok(None), entry) => Ok(entry.as_ref().map(|key| self.of_entry(key)).transpose()?),
            },
        }
    }

    fn of_entry(&self, key: &str) -> Result<Credential, String> {
        let fault =
            || format!("{}: the entry {key} of auths is not a user name and password", self.path.display());
        let accept =
            |value: &str| token(value, &format!("{}: the entry {key} of auths", self.path.display()));
        let entry = self.file.auths.as_ref().and_then(|auths| auths.get(key)?.as_ref()).ok_or_else(fault)?;
        if let Some(identity) = some(entry.identitytoken.as_ref()) {
            let token = accept(identity.expose_secret())?;
            return Ok(Credential { username: None, token, is_identity: true });
        }
        let Some(auth) = some(entry.auth.as_ref()) else {
            let (username, password) = (entry.username.clone(), some(entry.password.as_ref()));
            let token = accept(password.ok_or_else(fault)?.expose_secret())?;
            return Ok(Credential { username, token, is_identity: false });
        };
        // `base64` wraps its lines.
        let mut auth = Zeroizing::new(auth.expose_secret().to_owned());
        auth.retain(|character| !character.is_ascii_whitespace());
        let decoded = Zeroizing::new(STANDARD.decode(auth.as_bytes()).map_err(|_| fault())?);
        let text = std::str::from_utf8(&decoded).map_err(|_| fault())?;
        let (username, password) = text.split_once(':').ok_or_else(fault)?;
        let password = password.trim_end_matches('\0');
        if username.is_empty() || password.is_empty() {
            return Err(fault());
        }
        Ok(Credential { username: Some(username.to_owned()), token: accept(password)?, is_identity: false })
    }
}

impl Entry {
    fn has_any(&self) -> bool {
        [&self.auth, &self.password, &self.identitytoken]
            .into_iter()
            .any(|value| some(value.as_ref()).is_some())
    }
}

fn some(value: Option<&SecretString>) -> Option<&SecretString> {
    value.filter(|value| !value.expose_secret().is_empty())
}

/// Runs a helper (`docker-credential-NAME get`). None: it has no credential for this server.
fn ask(name: &str, server: &str, cutoff: &Cutoff) -> Result<Option<Credential>, ProgramError> {
    let program = format!("docker-credential-{name}");
    if name.contains('/') {
        return Err(format!("{program:?} is not the name of a credential helper").into());
    }
    let mut command = Command::new(&program);
    command.arg("get");
    let output = program::run(command, &program, server, HELPER_TIMEOUT, cutoff, ToString::to_string)?;
    if !output.status.success() {
        // Helpers print errors to standard output.
        let said = if output.stdout.contains("\"Secret\"") { "" } else { output.stdout.trim() };
        if said.to_ascii_lowercase().contains("credentials not found") {
            return Ok(None);
        }
        let said = said.lines().next().filter(|line| !line.is_empty()).unwrap_or(&output.complaint);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        return Err(format!("{program} get, asked for {server}, ended with {}{said}", output.status).into());
    }
    let answer: Answer = serde_json::from_str(&output.stdout)
        .map_err(|_| format!("{program} get, asked for {server}, did not print a user name and secret"))?;
    if answer.secret.expose_secret().is_empty() {
        return Ok(None);
    }
    let username = answer.username.filter(|username| !username.is_empty());
    let is_identity = username.as_deref() == Some(IDENTITY_USER);
    let token = token(answer.secret.expose_secret(), &format!("what {program} prints"))?;
    Ok(Some(Credential { username: username.filter(|_| !is_identity), token, is_identity }))
}

/// A key without scheme and path; all names of Docker Hub become one.
fn host_of(key: &str) -> String {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    if HUB_NAMES.contains(&host) { HUB.to_owned() } else { host.to_owned() }
}

/// The path of a podman key (`quay.io/acme`). Docker's keys are addresses, and their paths have no meaning.
fn path_of(key: &str) -> &str {
    let path = key.split_once('/').map_or("", |(_, path)| path).trim_matches('/');
    if key.contains("://") || ["v1", "v2"].contains(&path) { "" } else { path }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(text: &str) -> DockerConfig {
        DockerConfig { path: "config.json".into(), file: serde_json::from_str(text).unwrap() }
    }

    fn pair(credential: Option<Credential>) -> Option<(String, String)> {
        credential.map(|found| (found.username.unwrap_or_default(), found.token.expose_secret().to_owned()))
    }

    #[test]
    fn entry_with_the_longest_path_is_used() {
        let config = config(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "YQ=="},
                "quay.io": {"auth": "YQ=="}, "quay.io/acme": {"auth": "YQ=="}, "quay.io/acme/shop": {"auth": "YQ=="},
                "quay.io/other": {}, "quay.io/acme/null": null,
                "https://git.example.com:3000/v2/": {"auth": "YQ=="}, "Old.example.com/v2": {"auth": "YQ=="}}}"#,
        );
        for (host, repository, expected) in [
            ("quay.io", None, Some("quay.io")),
            ("quay.io", Some("acme/shop"), Some("quay.io/acme/shop")),
            ("quay.io", Some("acme/shop/web"), Some("quay.io/acme/shop")),
            ("quay.io", Some("acme/shopping"), Some("quay.io/acme")),
            ("quay.io", Some("acme/null"), Some("quay.io/acme")),
            ("quay.io", Some("other/shop"), Some("quay.io")),
            ("docker.io", Some("library/nginx"), Some(HUB_KEY)),
            ("git.example.com:3000", Some("acme/shop"), Some("https://git.example.com:3000/v2/")),
            ("git.example.com", Some("acme/shop"), None),
            ("old.example.com", Some("v2/shop"), Some("Old.example.com/v2")),
        ] {
            let expected =
                expected.map_or(CredentialPlace::Nowhere, |key| CredentialPlace::Entry(key.to_owned()));
            assert_eq!(config.place(host, repository), expected, "{host} {repository:?}");
        }
    }

    #[test]
    fn helper_of_the_server_comes_before_the_store_and_both_before_an_entry() {
        let config = config(
            r#"{"auths": {"b.example.com": {"auth": "YTpi"}}, "credsStore": "desktop",
                "credHelpers": {"a.example.com": "gcloud", "docker.io": "hub"}}"#,
        );
        for (host, name, server, entry) in [
            ("a.example.com", "gcloud", "a.example.com", None),
            ("docker.io", "hub", HUB_KEY, None),
            ("b.example.com", "desktop", "b.example.com", Some("b.example.com".to_owned())),
        ] {
            let expected = CredentialPlace::Helper { name: name.into(), server: server.into(), entry };
            assert_eq!(config.place(host, None), expected, "{host}");
        }
    }

    #[test]
    fn entry_is_read_in_any_of_its_forms() {
        for (entry, expected) in [
            // ci:pa:ss, and the same with the padding of old versions.
            (r#"{"auth": "Y2k6cGE6c3M="}"#, Some(("ci", "pa:ss"))),
            (r#"{"auth": "Y2k6cGE6c3MAAA=="}"#, Some(("ci", "pa:ss"))),
            // As `base64` wraps it.
            (r#"{"auth": "Y2k6\ncGE6\r\nc3M=\n"}"#, Some(("ci", "pa:ss"))),
            (r#"{"username": "ci", "password": "pa:ss"}"#, Some(("ci", "pa:ss"))),
            (
                r#"{"auth": "Y2k6cGE6c3M=", "identitytoken": "planted-identity"}"#,
                Some(("", "planted-identity")),
            ),
            (r#"{"auth": "Y2k="}"#, None),
            (r#"{"auth": "planted!"}"#, None),
        ] {
            let config = config(&format!(r#"{{"auths": {{"r.example.com": {entry}}}}}"#));
            let place = config.place("r.example.com", None);
            let found =
                config.credential(&place, &Cutoff::default()).map(pair).map_err(|error| error.to_string());
            let expected =
                expected.map(|(username, token)| Some((username.to_owned(), token.to_owned()))).ok_or(
                    "config.json: the entry r.example.com of auths is not a user name and password"
                        .to_owned(),
                );
            assert_eq!(found, expected, "{entry}");
        }
    }

    #[test]
    fn error_of_an_invalid_file_contains_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, "{\"auths\": {\"r.example.com\": \"planted-password\"}}").unwrap();
        let error = DockerConfig::read(&path).err().unwrap();
        assert_eq!(error, format!("{} is not a docker configuration: see line 1, column 46", path.display()));
    }

    #[test]
    fn helper_needs_a_plain_name() {
        let error = ask("../../bin/x", "r.example.com", &Cutoff::default()).err();
        let error = error.map(|fault| SecretError::from(fault).to_string());
        assert_eq!(
            error.as_deref(),
            Some("\"docker-credential-../../bin/x\" is not the name of a credential helper")
        );
    }
}
