//! `[registries.NAME]`.

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::key::{KINDS, Section};
use super::read::{Field, Table};
use super::{CredentialSetting, Location, RegistryConfig, RegistryKind, SecretSource, source, transport};
use crate::target::Name;
use crate::transport::Transport;

const CONNECTIONS: usize = 16;

/// Reads one registry. `timeout`: for one request, from `[settings]`.
pub(super) fn read(name: Name, field: &Field<'_>, timeout: Duration) -> Option<RegistryConfig> {
    let table = field.table(Section::Registry)?;
    let kind = kind(&table);
    let credential = credential(&table);
    let username = table.get("username").map_or(Some(None), |field| {
        let text = field.some_text()?;
        if text.contains(':') {
            field.fault("a user name has no colon", "");
            return None;
        }
        Some(Some(text.to_owned()))
    });
    let connections = table
        .get("connections")
        .map_or(Some(CONNECTIONS), |field| usize::try_from(field.integer(1, 256)?).ok());
    let insecure_http = table.get("insecure_http").map_or(Some(false), |field| field.boolean());
    // Where it is not true or false, that alone is the fault.
    let insecure_http = insecure_http.unwrap_or(true);
    let kind = kind?;
    let location = match kind {
        RegistryKind::OciLayout => folder(&table),
        _ => url(&table, kind, insecure_http),
    };
    let is_folder = kind == RegistryKind::OciLayout;
    if is_folder {
        transport::refuse_for_folders(&table);
    }
    let way = if is_folder { Some(Transport::default()) } else { transport::read(&table) };
    let trusted_realms = if is_folder { Some(Vec::new()) } else { transport::trusted_realms(&table) };
    let api_url = if is_folder { Some(None) } else { transport::api_url(&table, insecure_http) };
    if let Some(field) = table.get("api_url").filter(|_| kind == RegistryKind::Oci) {
        field.fault("a registry of kind \"oci\" has no API but the registry's own", "leave it out");
        return None;
    }
    if let (Some(CredentialSetting::Source(SecretSource::DockerConfig(_))), Some(field)) =
        (&credential, table.get("username"))
    {
        field.fault("a docker configuration has the user name, too", "leave it out");
    }
    if let (RegistryKind::Dockerhub, Some(CredentialSetting::Source(source)), Some(None), Some(field)) =
        (kind, &credential, &username, table.get("token"))
        && !matches!(source, SecretSource::DockerConfig(_) | SecretSource::Keyring(_))
    {
        field.warning("Docker Hub takes no token without its user name", "write username = \"…\" beside it");
    }
    Some(RegistryConfig {
        name,
        kind,
        location: location?,
        credential: credential?,
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
        table.fault(
            format!("{} has no kind", table.path),
            "write kind = \"gitea\" (for Forgejo, too), \"github\", \"dockerhub\", \"gitlab\", \"oci\" or \"oci-layout\"",
        );
        return None;
    };
    Some(match field.word(KINDS)? {
        "gitea" | "forgejo" => RegistryKind::Gitea,
        "oci" => RegistryKind::Oci,
        "oci-layout" => RegistryKind::OciLayout,
        "github" => RegistryKind::Github,
        "dockerhub" => RegistryKind::Dockerhub,
        "gitlab" => RegistryKind::Gitlab,
        word => unreachable!("KINDS has {word}, and no kind is called so"),
    })
}

fn url(table: &Table<'_>, kind: RegistryKind, insecure_http: bool) -> Option<Location> {
    if let Some(path) = table.get("path") {
        path.fault("a path goes with kind = \"oci-layout\"", "write url for a server");
    }
    let Some(field) = table.get("url") else {
        let usual = usual_url(kind);
        if usual.is_none() {
            table.fault(format!("{} has no url", table.path), "write url = \"https://…\"");
        }
        return usual.map(Location::Url);
    };
    transport::server(&field, insecure_http).map(Location::Url)
}

/// Where a kind's one public server is.
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
        url.fault("an image layout has no url", "write path = \"./images\"");
    }
    let Some(field) = table.get("path") else {
        table.fault(format!("{} has no path", table.path), "write path = \"./images\"");
        return None;
    };
    let folder = table.source.file.parent().unwrap_or(Path::new("/"));
    Some(Location::Folder(folder.join(field.some_text()?)))
}

fn credential(table: &Table<'_>) -> Option<CredentialSetting> {
    let folder = table.source.file.parent().unwrap_or(Path::new("/"));
    let anonymous = table.get("anonymous").map_or(Some(false), |field| field.boolean())?;
    match (table.get("token"), anonymous) {
        (Some(token), true) => {
            token.fault(
                "anonymous = true asks with nobody's rights, and there is a token",
                "leave one of them out",
            );
            None
        }
        (Some(token), false) => source::read_token(&token, folder).map(CredentialSetting::Source),
        (None, true) => Some(CredentialSetting::Anonymous),
        (None, false) => Some(CredentialSetting::Search),
    }
}
