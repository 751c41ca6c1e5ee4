//! The proxy of a request: the registry's own, or the environment's, read as curl reads it.

use std::sync::OnceLock;

use url::{Host, Url};

use super::no_proxy::NoProxy;

/// A proxy: `http`, `https` (TLS to the proxy itself) or a SOCKS scheme. All requests use CONNECT, so that
/// the proxy never sees a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Proxy {
    proxy: ureq::Proxy,
    /// `http://proxy.example.com:3128`, without user name and password.
    shown: String,
}

/// The proxies of the environment, read once.
#[derive(Debug, Default)]
struct Environment {
    http: Option<Named>,
    https: Option<Named>,
    no_proxy: NoProxy,
}

/// A proxy, and the variable that names it.
#[derive(Clone, Debug)]
struct Named {
    variable: &'static str,
    proxy: Result<Proxy, &'static str>,
}

impl Proxy {
    /// Reads `http://user:password@proxy.example.com:3128`. As in curl, the default scheme is http, and the
    /// default port is 1080, or 443 for https.
    ///
    /// # Errors
    /// The fault. Does not contain the text, which may include a password.
    pub(crate) fn new(text: &str) -> Result<Proxy, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = scheme.to_ascii_lowercase();
        if !["http", "https", "socks4", "socks4a", "socks5", "socks5h", "socks"].contains(&scheme.as_str()) {
            return Err(
                "it must begin with http://, https://, socks4://, socks4a://, socks5:// or socks5h://",
            );
        }
        // With an unknown scheme, the URL parser keeps a default port.
        let url = Url::parse(&format!("proxy://{rest}")).map_err(|_| "it is not the address of a proxy")?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it has no host")?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("it may contain only a host and a port");
        }
        let port = url.port().unwrap_or(if scheme == "https" { 443 } else { 1080 });
        let login = match (url.username(), url.password()) {
            ("", None) => String::new(),
            (name, None) => format!("{name}@"),
            (name, Some(password)) => format!("{name}:{password}@"),
        };
        let proxy = ureq::Proxy::new(&format!("{scheme}://{login}{host}:{port}"))
            .map_err(|_| "it is not the address of a proxy")?;
        Ok(Proxy { proxy, shown: format!("{scheme}://{host}:{port}") })
    }

    /// Without user name and password.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it has a user name or password.
    pub(crate) fn has_login(&self) -> bool {
        self.proxy.username().is_some() || self.proxy.password().is_some()
    }

    /// Whether the connection to the proxy itself is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.shown.starts_with("https://")
    }

    pub(super) fn of_ureq(&self) -> ureq::Proxy {
        self.proxy.clone()
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The proxy for a URL: `own` if given, or the environment's. None: a direct connection.
///
/// # Errors
/// The environment names an unusable proxy; the text has the variable and the fault.
pub(super) fn choose(url: &Url, own: Option<&Proxy>) -> Result<Option<Proxy>, String> {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    if is_loopback(url) {
        return Ok(None);
    }
    match own {
        Some(own) => Ok(Some(own.clone())),
        None => ENVIRONMENT.get_or_init(|| Environment::new(|name| std::env::var(name).ok())).choose(url),
    }
}

impl Environment {
    /// Reads the variables. `value`: the value of a variable by its name.
    fn new(value: impl Fn(&str) -> Option<String>) -> Environment {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, value(name).filter(|value| !value.is_empty())?)))
        };
        let named = |names: &[&'static str]| {
            first(names).map(|(variable, value)| Named { variable, proxy: Proxy::new(value.trim()) })
        };
        Environment {
            // A CGI server sets HTTP_PROXY from a request header, so the name in capitals is not read.
            http: named(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: named(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: first(&["no_proxy", "NO_PROXY"])
                .map(|(_, value)| NoProxy::new(&value))
                .unwrap_or_default(),
        }
    }

    fn choose(&self, url: &Url) -> Result<Option<Proxy>, String> {
        let Some(named) = (if url.scheme() == "https" { &self.https } else { &self.http }) else {
            return Ok(None);
        };
        let host = url.host();
        let is_excepted = host.zip(url.port_or_known_default());
        if is_excepted.is_some_and(|(host, port)| self.no_proxy.covers(&host, port)) {
            return Ok(None);
        }
        match &named.proxy {
            Ok(proxy) => Ok(Some(proxy.clone())),
            Err(wrong) => Err(format!(
                "the proxy that the environment variable {} names cannot be used: {wrong}",
                named.variable
            )),
        }
    }
}

/// Whether an address is this machine, which is never reached through a proxy.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => {
            let domain = domain.trim_end_matches('.');
            domain == "localhost" || domain.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)], url: &str) -> Result<Option<String>, String> {
        let value = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        };
        let proxy = Environment::new(value).choose(&Url::parse(url).unwrap())?;
        Ok(proxy.map(|proxy| proxy.shown().to_owned()))
    }

    #[test]
    fn variables_are_read_as_in_curl() {
        const HTTP: &str = "http://git.example.com/";
        const HTTPS: &str = "https://git.example.com/";
        let (one, two) = ("http://one:1", "http://two:2");
        for (variables, url, expected) in [
            (vec![("http_proxy", one)], HTTP, Some(one)),
            (vec![("http_proxy", one)], HTTPS, None),
            (vec![("HTTP_PROXY", one)], HTTP, None),
            (vec![("https_proxy", one)], HTTPS, Some(one)),
            (vec![("https_proxy", one)], HTTP, None),
            (vec![("HTTPS_PROXY", one)], HTTPS, Some(one)),
            (vec![("HTTPS_PROXY", one), ("https_proxy", two)], HTTPS, Some(two)),
            (vec![("HTTPS_PROXY", one), ("https_proxy", "")], HTTPS, Some(one)),
            (vec![("all_proxy", one)], HTTP, Some(one)),
            (vec![("ALL_PROXY", one)], HTTPS, Some(one)),
            (vec![("ALL_PROXY", one), ("all_proxy", two)], HTTP, Some(two)),
            (vec![("all_proxy", one), ("https_proxy", two)], HTTPS, Some(two)),
            (vec![("all_proxy", one), ("no_proxy", "example.com")], HTTPS, None),
            (vec![("all_proxy", one), ("NO_PROXY", "example.com")], HTTPS, None),
            (vec![("all_proxy", one), ("NO_PROXY", "example.com"), ("no_proxy", "x.org")], HTTPS, Some(one)),
            (vec![("no_proxy", "x")], HTTPS, None),
        ] {
            assert_eq!(chosen(&variables, url), Ok(expected.map(str::to_owned)), "{variables:?} {url}");
        }
    }

    #[test]
    fn proxy_has_an_optional_scheme_and_port() {
        for (text, expected) in [
            ("proxy.example.com:3128", Ok("http://proxy.example.com:3128")),
            ("http://proxy.example.com:80/", Ok("http://proxy.example.com:80")),
            ("http://proxy.example.com", Ok("http://proxy.example.com:1080")),
            ("HTTPS://proxy.example.com", Ok("https://proxy.example.com:443")),
            ("socks5h://[fd00::1]", Ok("socks5h://[fd00::1]:1080")),
            ("http://ci:planted@proxy.example.com:3128", Ok("http://proxy.example.com:3128")),
            (
                "ftp://proxy.example.com",
                Err("it must begin with http://, https://, socks4://, socks4a://, socks5:// or socks5h://"),
            ),
            ("http://", Err("it has no host")),
            ("http://proxy:99999", Err("it is not the address of a proxy")),
            ("http://proxy:3128/path", Err("it may contain only a host and a port")),
        ] {
            let proxy = Proxy::new(text);
            assert_eq!(proxy.as_ref().map(Proxy::shown).map_err(|wrong| *wrong), expected, "{text}");
        }
        let proxy = Proxy::new("http://ci:pl%40nted@proxy:3128").unwrap();
        assert!(proxy.has_login());
        assert_eq!(proxy.of_ureq().password(), Some("pl@nted"));
        assert_eq!(format!("{proxy:?}"), "http://proxy:3128");
    }

    #[test]
    fn error_of_an_unusable_proxy_names_its_variable() {
        let refused = chosen(&[("https_proxy", "ftp://ci:planted@proxy")], "https://git.example.com/");
        let message = refused.unwrap_err();
        assert!(
            message.starts_with("the proxy that the environment variable https_proxy names cannot be used: ")
        );
        assert!(!message.contains("planted"), "{message}");
    }

    #[test]
    fn loopback_is_never_proxied() {
        let proxy = Proxy::new("http://proxy:3128").unwrap();
        for (text, expected) in [
            ("http://localhost:3000", true),
            ("http://git.localhost.", true),
            ("http://127.0.0.1", true),
            ("http://127.1.2.3:80", true),
            ("http://[::1]:3000", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(is_loopback(&url), expected, "{text}");
            assert_eq!(choose(&url, Some(&proxy)).unwrap().is_none(), expected, "{text}");
        }
    }
}
