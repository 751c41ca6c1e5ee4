//! URLs of registries and steps. They are read strictly, without the corrections that browsers make.

use url::Url;

use super::excerpt::may_hold_secret;
use super::read::Field;

/// An http or https URL with a host.
///
/// # Errors
/// The reason, without the URL itself, which may contain a password.
pub(super) fn parse(text: &str) -> Result<Url, &'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err("a URL must begin with https:// or http://");
    };
    if text
        .contains(|character: char| character.is_whitespace() || character.is_control() || character == '\\')
    {
        return Err("a URL cannot contain blanks, control characters or backslashes");
    }
    if rest.is_empty() || rest.starts_with('/') {
        return Err("the URL has no host");
    }
    // The crate `url` is built without the tables for other letters (see idna_adapter in Cargo.toml).
    if !rest.split(['/', '?', '#']).next().is_some_and(str::is_ascii) {
        return Err("the host has letters beyond ASCII; write it as xn--…");
    }
    let url = Url::parse(text).map_err(|_| "not a valid URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL cannot contain a user name or password; use username and token, or headers");
    }
    Ok(url)
}

/// `write url = "https://git.example.com"` for `git.example.com`, otherwise an example. This machine most often serves
/// http.
pub(super) fn help(field: &Field<'_>, example: &str) -> String {
    let written = field.written();
    let rest = written.split_once("://").or_else(|| written.split_once(":/"));
    let host = rest.map_or(written.as_str(), |(_, host)| host);
    // The part before an @ is a login.
    let host = host.rsplit('@').next().unwrap_or(host);
    let is_http = |url: &Url| !written.starts_with("https:") && crate::http::is_loopback(url);
    let https = format!("https://{host}");
    let url = if parse(&https).as_ref().is_ok_and(is_http) { format!("http://{host}") } else { https };
    let is_shown = parse(&url).is_ok() && !may_hold_secret(&url);
    field.write(format!("{:?}", if is_shown { url } else { format!("https://{example}") }))
}

/// Host and port, in the form that container engines put before a repository.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_only_a_browser_corrects_is_refused() {
        for text in [
            "git.example.com",
            "ftp://git.example.com",
            "https:///x",
            "https://",
            "https://user:pw@git.example.com",
            "https://git.example.com\\x",
            "https://git example.com",
            "https://git.example.com\t",
            "https://git.example.com:99999",
            "https://git.exämple.com",
            "https://A¡r.example.com",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(host(&parse("https://git.example.com:8443/forge/").unwrap()), "git.example.com:8443");
        assert_eq!(host(&parse("https://git.example.com:443").unwrap()), "git.example.com");
    }
}
