//! A registry's keys for its connection: certificates, proxy, and other hosts that may receive its credentials.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use url::{Host, Url};

use super::TrustedRealm;
use super::address;
use super::read::{Field, Table};
use crate::file;
use crate::http::{Identity, Proxy, Transport, read_certificates};

/// Keys for servers only.
const OF_SERVERS: [&str; 6] = ["ca_file", "client_cert", "client_key", "proxy", "trusted_realms", "api_url"];

/// Reports keys that a folder cannot use.
pub(super) fn refuse_for_folders(table: &Table<'_>) {
    for field in OF_SERVERS.iter().filter_map(|name| table.get(name)) {
        field.fault("this key is for servers; an image layout is a folder", "remove it");
    }
}

/// `ca_file`, `client_cert`, `client_key` and `proxy`.
pub(super) fn read(table: &Table<'_>) -> Option<Transport> {
    let authorities = table.get("ca_file").map_or(Some(Vec::new()), |field| certificates(table, &field));
    let identity = identity(table);
    let proxy = table.get("proxy").map_or(Some(None), |field| proxy(&field).map(Some));
    let files = ["ca_file", "client_cert", "client_key"].iter().filter_map(|name| table.get(name));
    let files = files.map(|field| folder(table).join(field.written())).collect();
    Some(Transport { authorities: authorities?, identity: identity?, proxy: proxy?, files })
}

/// `trusted_realms`: `auth.example.com` or, for one port of it, `auth.example.com:8443`.
pub(super) fn trusted_realms(table: &Table<'_>) -> Option<Vec<TrustedRealm>> {
    let Some(field) = table.get("trusted_realms") else {
        return Some(Vec::new());
    };
    field.list()?.iter().map(realm).collect::<Vec<_>>().into_iter().collect()
}

/// `api_url`: the address of the package API, without a trailing slash.
pub(super) fn api_url(table: &Table<'_>, insecure_http: bool) -> Option<Option<Url>> {
    match table.get("api_url") {
        Some(field) => server(&field, insecure_http).map(Some),
        None => Some(None),
    }
}

/// The address of a server, without a trailing slash.
pub(super) fn server(field: &Field<'_>, insecure_http: bool) -> Option<Url> {
    let mut url = match address::parse(field.some_text()?) {
        Ok(url) => url,
        Err(wrong) => {
            field.fault(wrong, address::help(field, "git.example.com"));
            return None;
        }
    };
    if url.query().is_some() || url.fragment().is_some() {
        field.fault("the address of a server cannot contain `?` or `#`", "");
        return None;
    }
    if url.scheme() == "http" && !crate::http::is_loopback(&url) && !insecure_http {
        let https = address::help(field, "git.example.com");
        field.fault("tokens would be sent unencrypted", format!("{https}, or add insecure_http = true"));
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
}

fn certificates(table: &Table<'_>, field: &Field<'_>) -> Option<Vec<CertificateDer<'static>>> {
    match read_certificates(&field.file_path(folder(table))?) {
        Ok(found) => Some(found),
        Err(wrong) => {
            let help = match file::expanded(Path::new(&field.written())) {
                Some((_, meant)) => field.write(format!("{:?}", meant.display().to_string())),
                None => "name a PEM file (-----BEGIN CERTIFICATE-----)".to_owned(),
            };
            field.fault(wrong, help);
            None
        }
    }
}

fn identity(table: &Table<'_>) -> Option<Option<Identity>> {
    match (table.get("client_cert"), table.get("client_key")) {
        (None, None) => Some(None),
        (Some(certificate), Some(key)) => {
            let key = key.file_path(folder(table));
            let chain = certificates(table, &certificate)?;
            Some(Some(Identity { chain, key_file: key? }))
        }
        // Reported when the table was read.
        (Some(_), None) | (None, Some(_)) => None,
    }
}

fn proxy(field: &Field<'_>) -> Option<Proxy> {
    let text = field.some_text()?;
    match Proxy::new(text) {
        Ok(proxy) if proxy.has_login() => {
            field.fault(
                "a proxy in the file cannot contain a user name or password",
                "set https_proxy in the environment instead",
            );
            None
        }
        Ok(proxy) => Some(proxy),
        Err(wrong) => {
            field.fault(wrong, "write host and port, such as http://proxy.example.com:3128");
            None
        }
    }
}

fn realm(field: &Field<'_>) -> Option<TrustedRealm> {
    let text = field.some_text()?;
    let wrong = || {
        field.fault(
            "expected a host",
            "write it without https:// and path: \"auth.example.com\" or \"auth.example.com:8443\"",
        );
    };
    // `Url` drops the default port of a known scheme; this scheme is unknown, so the port is kept.
    let parsed = Url::parse(&format!("realm://{text}"))
        .ok()
        .filter(|url| url.path().is_empty() && url.query().is_none() && url.fragment().is_none())
        .filter(|url| url.username().is_empty() && url.password().is_none() && !text.contains(['*', '@']));
    let Some(host) = parsed.as_ref().and_then(|url| Host::parse(url.host_str()?).ok()) else {
        wrong();
        return None;
    };
    Some(TrustedRealm { host, port: parsed.and_then(|url| url.port()) })
}

fn folder<'t>(table: &Table<'t>) -> &'t Path {
    table.source.file.parent().unwrap_or(Path::new("/"))
}
