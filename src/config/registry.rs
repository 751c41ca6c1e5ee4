//! `[registries.NAME]`.

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::key::{KINDS, OTHER_KINDS, Section};
use super::read::{Field, Table};
use super::{CredentialSetting, Location, RegistryConfig, RegistryKind, SecretSource, source, transport};
use crate::http::Transport;
use crate::target::Name;

const CONNECTIONS: usize = 16;

/// Reads one registry. `timeout`: for one request, from `[settings]`.
pub(super) fn read(name: Name, field: &Field<'_>, timeout: Duration) -> Option<RegistryConfig> {
    let table = field.table(Section::Registry)?;
    let kind = kind(&table);
    let credential = credential(&table);
    let username = table.get("username").map_or(Some(None), |field| {
        let text = field.some_text()?;
        if text.contains(':') {
            field.fault("a user name cannot have a colon", "");
            return None;
        }
        Some(Some(text.to_owned()))
    });
    let connections = table
        .get("connections")
        .map_or(Some(CONNECTIONS), |field| usize::try_from(field.integer(1, 256)?).ok());
    let insecure_http = table.get("insecure_http").map_or(Some(false), |field| field.boolean());
    // A value other than true or false is the only error reported.
    let insecure_http = insecure_http.unwrap_or(true);
    let kind = kind?;
    let is_folder = is_folder(kind);
    let location = if is_folder { folder(&table) } else { url(&table, kind, insecure_http) };
    if is_folder {
        transport::refuse_for_folders(&table);
    }
    let way = if is_folder { Some(Transport::default()) } else { transport::read(&table) };
    let trusted_realms = if is_folder { Some(Vec::new()) } else { transport::trusted_realms(&table) };
    let api_url = if is_folder { Some(None) } else { transport::api_url(&table, insecure_http) };
    if let Some(field) = table.get("api_url").filter(|_| !is_folder && !has_api(kind)) {
        field.fault("a registry of kind \"oci\" has no API besides the registry's own", "remove it");
        return None;
    }
    if let (Some(CredentialSetting::Source(SecretSource::DockerConfig(_))), Some(field)) =
        (&credential, table.get("username"))
    {
        field.fault("the docker configuration has the user name", "remove it");
    }
    if let (RegistryKind::Dockerhub, Some(CredentialSetting::Source(source)), Some(None), Some(field)) =
        (kind, &credential, &username, table.get("token"))
        && !matches!(source, SecretSource::DockerConfig(_) | SecretSource::Keyring(_))
    {
        field.warning("Docker Hub requires a user name beside the token", "add username = \"…\"");
    }
    Some(RegistryConfig {
        name,
        kind,
        location: location?,
        // A folder is read without one.
        credential: if is_folder { CredentialSetting::Anonymous } else { credential? },
        username: username?,
        connections: connections?,
        timeout,
        transport: way?,
        trusted_realms: trusted_realms?,
        api_url: api_url?,
    })
}

fn kind(table: &Table<'_>) -> Option<RegistryKind> {
    let Some(field) = table.get("kind") else {
        table.requires(
            "kind",
            "write kind = \"gitea\" (also for Forgejo), \"github\", \"dockerhub\", \"gitlab\", \"oci\" or \"oci-layout\"",
        );
        return None;
    };
    field.word("kind", KINDS, OTHER_KINDS)
}

fn url(table: &Table<'_>, kind: RegistryKind, insecure_http: bool) -> Option<Location> {
    if let Some(path) = table.get("path") {
        path.fault("requires kind = \"oci-layout\"", "write `url` for a server");
    }
    let Some(field) = table.get("url") else {
        let usual = usual_url(kind);
        if requires_url(kind) {
            table.requires("url", "write url = \"https://…\"");
        }
        return usual.map(Location::Url);
    };
    let url = transport::server(&field, insecure_http)?;
    if let Some(root) = root(&url) {
        field.warning(
            "this is the address of a page or an API, not of the server",
            field.write(format!("{root:?}")),
        );
    }
    Some(Location::Url(url))
}

/// The server's address, given the address of its API or of one of its pages.
fn root(url: &Url) -> Option<String> {
    let path = url.path();
    let end = ["/v2", "/api/v1", "/-/packages"].iter().find_map(|known| {
        let at = path.find(known)?;
        let rest = &path[at + known.len()..];
        (rest.is_empty() || rest.starts_with('/')).then_some((at, *known))
    });
    let (at, known) = end?;
    let mut kept = &path[..at];
    if known == "/-/packages" {
        // OWNER/-/packages
        kept = kept.rsplit_once('/').map_or("", |(before, _)| before);
    }
    let mut root = url.clone();
    root.set_path(kept);
    Some(root.as_str().trim_end_matches('/').to_owned())
}

/// Whether the registry is a folder, with `path` instead of `url`.
pub(super) fn is_folder(kind: RegistryKind) -> bool {
    match kind {
        RegistryKind::OciLayout => true,
        RegistryKind::Gitea
        | RegistryKind::Oci
        | RegistryKind::Github
        | RegistryKind::Dockerhub
        | RegistryKind::Gitlab => false,
    }
}

pub(super) fn requires_url(kind: RegistryKind) -> bool {
    !is_folder(kind) && usual_url(kind).is_none()
}

/// Whether the server has an API besides the registry's own, for `api_url`.
fn has_api(kind: RegistryKind) -> bool {
    match kind {
        RegistryKind::Gitea | RegistryKind::Github | RegistryKind::Dockerhub | RegistryKind::Gitlab => true,
        RegistryKind::Oci | RegistryKind::OciLayout => false,
    }
}

/// The address of the kind's public server, if it has exactly one.
fn usual_url(kind: RegistryKind) -> Option<Url> {
    let url = match kind {
        RegistryKind::Github => "https://ghcr.io",
        RegistryKind::Dockerhub => "https://registry-1.docker.io",
        RegistryKind::Gitlab => "https://registry.gitlab.com",
        RegistryKind::Gitea | RegistryKind::Oci | RegistryKind::OciLayout => return None,
    };
    Some(Url::parse(url).expect("a valid URL"))
}

fn folder(table: &Table<'_>) -> Option<Location> {
    if let Some(url) = table.get("url") {
        url.fault("an image layout is a folder", "write path = \"./images\"");
    }
    let Some(field) = table.get("path") else {
        table.requires("path", "write path = \"./images\"");
        return None;
    };
    let folder = table.source.file.parent().unwrap_or(Path::new("/"));
    field.file_path(folder).map(Location::Folder)
}

fn credential(table: &Table<'_>) -> Option<CredentialSetting> {
    let folder = table.source.file.parent().unwrap_or(Path::new("/"));
    let anonymous = table.get("anonymous").map_or(Some(false), |field| field.boolean())?;
    match (table.get("token"), anonymous) {
        (Some(token), true) => {
            token.fault("anonymous = true uses no token", "remove one of them");
            None
        }
        (Some(token), false) => source::read_token(&token, folder).map(CredentialSetting::Source),
        (None, true) => Some(CredentialSetting::Anonymous),
        (None, false) => Some(CredentialSetting::Search),
    }
}
