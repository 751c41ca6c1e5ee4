//! URLs of registries and steps, as strict as people read them.

use url::Url;

/// An http or https URL with a host, and nothing that a browser would mend.
///
/// # Errors
/// What is wrong with it. The text itself is not repeated: it may have a password.
pub(super) fn parse(text: &str) -> Result<Url, &'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err("it must begin with https:// or http://");
    };
    if text
        .contains(|character: char| character.is_whitespace() || character.is_control() || character == '\\')
    {
        return Err("it has a blank, a control character or a backslash");
    }
    if rest.is_empty() || rest.starts_with('/') {
        return Err("it has no host");
    }
    // The part of url that reads such names is left out (see idna_adapter in Cargo.toml).
    if !rest.split(['/', '?', '#']).next().is_some_and(str::is_ascii) {
        return Err("its host has letters beyond ASCII; write it as xn--…");
    }
    let url = Url::parse(text).map_err(|_| "it is not a valid URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it has a user name or password; write them as username and token, or in headers");
    }
    Ok(url)
}

/// Host and port, as a container engine wants it in front of a repository.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_mend_is_refused() {
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
