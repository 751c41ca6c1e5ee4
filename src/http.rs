//! HTTP for registries and deploy endpoints: by which proxy requests go, which certificates are believed, what it
//! means when none comes through, and when a server wants to be asked again.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "proxies come from the environment, certificates from files, and it makes the agents"
)]

mod certificate;
mod connector;
mod exchange;
mod no_proxy;
mod proxy;
mod resolver;
mod retry_after;
mod socks;
mod tls;

use std::io;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError};
use tls::TlsConnector;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _};
use url::Url;

pub(crate) use certificate::{Identity, read_certificates};
pub(crate) use exchange::{HttpResponse, NoAnswer, exchange};
pub(crate) use proxy::{Proxy, is_loopback};
use resolver::Resolver;
pub(crate) use retry_after::{date, retry_after};

use crate::stop::{CutShort, Cutoff};
use connector::{Connected, EndingConnector};

/// How the hosts of one registry are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transport {
    /// Believed beside the system's roots.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Shown where the registry asks for a certificate.
    pub(crate) identity: Option<Identity>,
    /// In place of what the environment says.
    pub(crate) proxy: Option<Proxy>,
    /// Where certificates and their key stand; absolute.
    pub(crate) files: Vec<PathBuf>,
}

/// What tells the agents of one [`Transport`] apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    proxy: Option<Proxy>,
    /// Whether anything is encrypted: no certificates are read where nothing is.
    is_tls: bool,
    /// Whether the certificate is shown: to the registry's own hosts, not to storage elsewhere.
    shows_identity: bool,
}

/// Why nothing can be sent at all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unprepared {
    /// No roots, or a proxy that is none.
    Environment(String),
    /// The client's key.
    Secret(String),
}

impl Transport {
    /// The way to a URL. `is_own`: the client's certificate may be shown there.
    ///
    /// # Errors
    /// The environment names a proxy that cannot be used.
    pub(crate) fn way(&self, url: &Url, is_own: bool) -> Result<Way, Unprepared> {
        let proxy = proxy::choose(url, self.proxy.as_ref()).map_err(Unprepared::Environment)?;
        let is_tls = url.scheme() == "https" || proxy.as_ref().is_some_and(Proxy::is_tls);
        Ok(Way { proxy, is_tls, shows_identity: is_tls && is_own && self.identity.is_some() })
    }

    /// Makes an agent that goes this way, with the limits that are set already. Its waits end at the cutoff.
    ///
    /// # Errors
    /// There are no root certificates, or the client's key is of no use.
    pub(crate) fn agent(
        &self,
        way: &Way,
        config: ConfigBuilder<AgentScope>,
        cutoff: &Cutoff,
    ) -> Result<Agent, Unprepared> {
        // What ureq itself reads of the environment is never asked.
        let proxy = way.proxy.as_ref().map(Proxy::of_ureq);
        let config = config.proxy(proxy.clone()).build();
        let identity = self.identity.as_ref().filter(|_| way.shows_identity);
        let tls = if way.is_tls {
            TlsConnector::new(&self.authorities, identity)?
        } else {
            TlsConnector::without()
        };
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(EndingConnector(cutoff.clone()))
                .chain(tls)
                .chain(Connected { cutoff: cutoff.clone(), proxy });
        Ok(Agent::with_parts(config, connector, Resolver(cutoff.clone())))
    }
}

impl Way {
    /// ` by the proxy http://proxy.example.com:3128`, or nothing.
    pub(crate) fn by_proxy(&self) -> String {
        self.proxy.as_ref().map(|proxy| format!(" by the proxy {}", proxy.shown())).unwrap_or_default()
    }
}

/// What to do about a certificate; who is asked decides it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// Where the server's own is not believed.
    pub(crate) untrusted: &'static str,
    /// Where the server wants one.
    pub(crate) wanted: &'static str,
}

/// Why no answer came, where it was not for the time it took.
pub(crate) fn cause(error: &ureq::Error, advice: Advice) -> String {
    use ureq::Error;
    match error {
        Error::HostNotFound => "the name of the host cannot be resolved".to_owned(),
        Error::ConnectionFailed => "no connection".to_owned(),
        Error::ConnectProxyFailed(said) => refused_by_proxy(said),
        Error::Protocol(_) => "what came is not HTTP; is the address right, and the scheme?".to_owned(),
        other => match tls_fault(other) {
            Some(fault) => format!("TLS: {}", explain(fault, advice)),
            None => match other {
                Error::Io(error) => lost(error),
                other => other.to_string(),
            },
        },
    }
}

/// ureq tells the status twice, as `proxy server responded 407/407`.
fn refused_by_proxy(said: &str) -> String {
    let status = said.strip_prefix("proxy server responded ").and_then(|said| said.split('/').next());
    match status {
        Some("407") => "the proxy wants a user name and password (407)".to_owned(),
        Some(status) => format!("the proxy refuses to connect ({status}); does it allow this host and port?"),
        None => "the proxy did not answer".to_owned(),
    }
}

/// Whether the cutoff of its agent ended the request.
pub(crate) fn is_cut_short(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<CutShort>()))
}

/// Whether asking again can help: the connection was lost, not refused for what it is.
pub(crate) fn is_worth_another_try(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound)
        && tls_fault(error).is_none()
}

/// A certificate that is not believed comes as an error of the connection.
fn tls_fault(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn lost(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nothing listens there".to_owned(),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof => {
            "the connection was closed before the answer was complete".to_owned()
        }
        _ => error.to_string(),
    }
}

fn explain(error: &rustls::Error, advice: Advice) -> String {
    match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::UnknownIssuer => {
                format!(
                    "the server's certificate is not signed by an authority that is trusted here; {}",
                    advice.untrusted
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired (or the clock of this machine is wrong)".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet (or the clock of this machine is wrong)".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the server's certificate is for another name ({fault})")
            }
            fault => format!("the server's certificate cannot be trusted: {fault}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!("the server wants a certificate of the client; {}", advice.wanted)
        }
        // What older servers say in its place.
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => {
            format!(
                "the server refuses ({alert:?}); if it wants another certificate of the client, {}",
                advice.wanted
            )
        }
        rustls::Error::InvalidMessage(_) => {
            "the server does not speak TLS at this port; is it an http:// address?".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_certificate_is_shown_to_the_registrys_own_hosts_only_and_over_tls() {
        let identity = Identity { chain: Vec::new(), key_file: "client.key".into() };
        let transport = Transport { identity: Some(identity), ..Transport::default() };
        for (url, is_own, expected) in [
            ("https://127.0.0.1/v2/", true, (true, true)),
            ("https://127.0.0.1/bucket/", false, (true, false)),
            ("http://127.0.0.1/v2/", true, (false, false)),
        ] {
            let way = transport.way(&Url::parse(url).unwrap(), is_own).unwrap();
            assert_eq!((way.is_tls, way.shows_identity), expected, "{url}");
        }
    }

    #[test]
    fn a_proxy_that_is_reached_by_tls_needs_certificates_too() {
        for (proxy, expected) in [("https://proxy:3128", true), ("http://proxy:3128", false)] {
            let transport = Transport { proxy: Some(Proxy::new(proxy).unwrap()), ..Transport::default() };
            let way = transport.way(&Url::parse("http://git.example.com").unwrap(), true).unwrap();
            assert_eq!(way.is_tls, expected, "{proxy}");
            assert_eq!(way.by_proxy(), format!(" by the proxy {proxy}"));
        }
    }
}
