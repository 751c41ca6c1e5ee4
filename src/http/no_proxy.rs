//! `no_proxy`: which hosts are reached without a proxy. Reads everything that curl reads, and other common
//! forms: `*.example.com`, `host:port`, `*` in a list.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Host;

/// The parsed list. Invalid words are ignored, as in curl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// None: any port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Any,
    Network(IpNet),
    /// A domain and its subdomains; in lower case, without outer dots.
    Domain(String),
}

impl NoProxy {
    /// Parses the variable's value: words separated by commas or blanks.
    pub(super) fn new(text: &str) -> NoProxy {
        let words = text.split(|character: char| character == ',' || character.is_whitespace());
        NoProxy(words.filter_map(exception).collect())
    }

    /// Whether this host is reached without a proxy at this port.
    pub(super) fn covers(&self, host: &Host<&str>, port: u16) -> bool {
        self.0
            .iter()
            .any(|exception| exception.port.is_none_or(|only| only == port) && exception.hosts.cover(host))
    }
}

impl Hosts {
    fn cover(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Hosts::Any, _) => true,
            (Hosts::Network(network), Host::Ipv4(address)) => network.contains(&IpAddr::V4(*address)),
            (Hosts::Network(network), Host::Ipv6(address)) => network.contains(&IpAddr::V6(*address)),
            (Hosts::Domain(domain), Host::Domain(host)) => {
                let host = host.trim_end_matches('.');
                let before = host.len().checked_sub(domain.len()).map(|at| host.split_at_checked(at));
                let Some(Some((before, end))) = before else {
                    return false;
                };
                end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with('.'))
            }
            (Hosts::Network(_) | Hosts::Domain(_), _) => false,
        }
    }
}

fn exception(word: &str) -> Option<Exception> {
    let any_port = |hosts| Some(Exception { hosts, port: None });
    if word == "*" {
        return any_port(Hosts::Any);
    }
    if let Ok(network) = word.parse::<IpNet>() {
        return any_port(Hosts::Network(network));
    }
    // An IPv6 address contains colons, and can have a port only in brackets.
    if let Some(address) = address(word) {
        return any_port(Hosts::Network(address.into()));
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (word, None),
    };
    let hosts = match address(host) {
        Some(address) => Hosts::Network(address.into()),
        None if host == "*" => Hosts::Any,
        None => domain(host)?,
    };
    Some(Exception { hosts, port })
}

/// `10.0.0.1`, `fd00::1` or `[fd00::1]`
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

fn domain(text: &str) -> Option<Hosts> {
    let name = text.strip_prefix("*.").unwrap_or(text).trim_matches('.');
    let is_name = !name.is_empty() && !name.contains(['*', '/', ':', '[', ']']);
    is_name.then(|| Hosts::Domain(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn covers(list: &str, url: &str) -> bool {
        let url = Url::parse(url).unwrap();
        NoProxy::new(list).covers(&url.host().unwrap(), url.port_or_known_default().unwrap())
    }

    #[test]
    fn a_name_covers_itself_and_its_subdomains() {
        for list in [
            "example.com",
            ".example.com",
            "*.example.com",
            "Example.COM.",
            "x,  example.com ,y",
            "x example.com",
        ] {
            for (host, expected) in [
                ("example.com", true),
                ("git.example.com", true),
                ("a.git.example.com", true),
                ("GIT.example.com.", true),
                ("myexample.com", false),
                ("example.com.evil.org", false),
                ("example.org", false),
                ("com", false),
            ] {
                assert_eq!(covers(list, &format!("https://{host}/")), expected, "{list:?} {host}");
            }
        }
    }

    #[test]
    fn addresses_and_networks_cover_hosts_written_as_addresses() {
        for (list, host, expected) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.10", false),
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.1.2.3/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.168.0.0/17", "192.168.128.1", false),
            ("10.0.0.0/33", "10.0.0.1", false),
            ("fd00::1", "[fd00::1]", true),
            ("[fd00::1]", "[fd00::1]", true),
            ("fd00::/8", "[fdff::1]", true),
            ("fd00::/8", "[fe80::1]", false),
            ("::/0", "10.0.0.1", false),
            // Names are not resolved, and the end of an address is not a domain.
            ("10.0.0.0/8", "git.example.com", false),
            ("0.1", "10.0.0.1", false),
        ] {
            assert_eq!(covers(list, &format!("https://{host}/")), expected, "{list} {host}");
        }
    }

    #[test]
    fn a_port_narrows_an_entry() {
        for (list, url, expected) in [
            ("example.com:8443", "https://git.example.com:8443/", true),
            ("example.com:8443", "https://git.example.com/", false),
            ("example.com:443", "https://git.example.com/", true),
            ("example.com:80", "https://git.example.com/", false),
            ("10.0.0.1:80", "http://10.0.0.1/", true),
            ("10.0.0.1:80", "https://10.0.0.1/", false),
            ("[fd00::1]:8443", "https://[fd00::1]:8443/", true),
            ("[fd00::1]:8443", "https://[fd00::1]/", false),
            ("*:8443", "https://any.example.com:8443/", true),
            ("example.com:x", "https://example.com/", false),
            ("example.com:99999", "https://example.com/", false),
        ] {
            assert_eq!(covers(list, url), expected, "{list} {url}");
        }
    }

    #[test]
    fn star_covers_everything_and_invalid_words_cover_nothing() {
        for list in ["*", " * ", "x.org,*"] {
            assert!(covers(list, "https://git.example.com/"), "{list:?}");
            assert!(covers(list, "https://10.0.0.1/"), "{list:?}");
        }
        for list in ["", ",", " , ,", ".", "*.", "git.*", "https://git.example.com"] {
            assert!(!covers(list, "https://git.example.com/"), "{list:?}");
        }
    }
}
