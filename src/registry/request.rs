//! A request to a registry, and its form in messages.

use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
}

impl Method {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
        }
    }
}

/// A header. It may be a credential, so it is never shown.
pub(super) type Header<'a> = (&'a str, &'a str);

/// `GET https://git.example.com/v2/…`
pub(super) fn shown_request(method: Method, url: &Url) -> String {
    format!("{} {}", method.as_str(), shown(url))
}

/// A URL for messages, without user name and password. Its query is shown only if it cannot contain a
/// signature, as URLs of storage do.
fn shown(url: &Url) -> String {
    const PLAIN: [&str; 10] =
        ["n", "last", "page", "per_page", "page_size", "limit", "type", "q", "service", "scope"];
    let mut plain = url.clone();
    // Neither call fails for a URL with a host.
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    if url.query_pairs().any(|(name, _)| !PLAIN.contains(&&*name)) {
        plain.set_query(Some("…"));
        return plain.as_str().replace("%E2%80%A6", "…");
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_secrets() {
        for (url, expected) in [
            (
                "https://git.example.com/v2/a/tags/list?n=2&last=b",
                "https://git.example.com/v2/a/tags/list?n=2&last=b",
            ),
            ("https://ci:planted@git.example.com/v2/", "https://git.example.com/v2/"),
            ("https://s3.example.com/x?n=1&X-Amz-Signature=planted", "https://s3.example.com/x?…"),
        ] {
            assert_eq!(shown(&Url::parse(url).unwrap()), expected);
        }
    }
}
