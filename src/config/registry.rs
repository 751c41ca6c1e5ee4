//! `[registries.NAME]`.

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::key::{KINDS, Section};
use super::read::{Field, Table};
use super::{CredentialSetting, Location, RegistryConfig, RegistryKind, SecretSource, address, source};
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
            field.fault("a user name has no colon", "");
            return None;
        }
        Some(Some(text.to_owned()))
    });
    let connections = table
        .get("connections")
        .map_or(Some(CONNECTIONS), |field| usize::try_from(field.integer(1, 256)?).ok());
    let insecure_http = table.get("insecure_http").map_or(Some(false), |field| field.boolean());
    let kind = kind?;
    let location = match kind {
        RegistryKind::OciLayout => folder(&table),
        _ => url(&table, kind, insecure_http.unwrap_or(true)),
    };
    let api_url = table.get("api_url").map_or(Some(None), |field| {
        let url = server(&field, insecure_http.unwrap_or(true))?;
        if matches!(kind, RegistryKind::Oci | RegistryKind::OciLayout) {
            field.fault("this kind of registry has no API of its own", "leave it out");
            return None;
        }
        if kind == RegistryKind::Gitea {
            field.fault("api_url of gitea is not supported yet", "leave it out for now");
            return None;
        }
        Some(Some(url))
    });
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
    match field.word(KINDS)? {
        "gitea" | "forgejo" => Some(RegistryKind::Gitea),
        "oci" => Some(RegistryKind::Oci),
        "github" => Some(RegistryKind::Github),
        "dockerhub" => Some(RegistryKind::Dockerhub),
        "gitlab" => Some(RegistryKind::Gitlab),
        kind => {
            debug_assert_eq!(kind, "oci-layout");
            Some(RegistryKind::OciLayout)
        }
    }
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
    server(&field, insecure_http).map(Location::Url)
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

/// The address of a server, without a slash at its end.
fn server(field: &Field<'_>, insecure_http: bool) -> Option<Url> {
    let mut url = match address::parse(field.some_text()?) {
        Ok(url) => url,
        Err(wrong) => {
            field.fault(wrong, "write the address of the server, such as https://git.example.com");
            return None;
        }
    };
    if url.query().is_some() || url.fragment().is_some() {
        field.fault("the address of a server has no ? and no #", "");
        return None;
    }
    if url.scheme() == "http" && !address::is_loopback(&url) && !insecure_http {
        field.fault(
            "tokens would go over the wire in the clear",
            "write https://, or insecure_http = true if that is right",
        );
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
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
