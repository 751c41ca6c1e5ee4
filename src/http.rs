//! HTTP for registries and deploy endpoints: proxies, trusted certificates, causes of failed requests, and
//! Retry-After.
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
mod tls;
mod tunnel;

use std::io;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError};
use tls::Tls;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use url::Url;

pub(crate) use certificate::{Identity, read_certificates};
pub(crate) use exchange::{HttpResponse, NoAnswer, exchange};
pub(crate) use proxy::{Proxy, is_loopback};
use resolver::Resolver;
pub(crate) use retry_after::{date, retry_after};

use crate::stop::{CutShort, Cutoff};
use connector::EndingConnector;

/// How the hosts of one registry are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transport {
    /// Trusted in addition to the system's roots.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// The client certificate, if the registry asks for one.
    pub(crate) identity: Option<Identity>,
    /// Used instead of the environment's proxy.
    pub(crate) proxy: Option<Proxy>,
    /// The files of certificates and of the client key; absolute.
    pub(crate) files: Vec<PathBuf>,
}

/// How one URL is reached. Requests with the same route share an agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    proxy: Option<Proxy>,
    /// Whether anything is encrypted. If not, no certificates are read.
    is_tls: bool,
    /// Whether the client certificate is sent: only to the registry's own hosts, not to storage elsewhere.
    shows_identity: bool,
}

/// Why no request can be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unprepared {
    /// There are no root certificates, or the proxy is invalid.
    Environment(String),
    /// The client's key is unusable.
    Secret(String),
}

/// Bytes of the two buffers of each connection, which are allocated whole: 64 connections take 6 MiB. The first holds
/// the head of an answer, at most 64 KiB, the second each header of a request.
const INPUT_BUFFER: usize = 68 * 1024;
const OUTPUT_BUFFER: usize = 32 * 1024;

impl Transport {
    /// The route to a URL. `is_own`: the client certificate may be sent there.
    ///
    /// # Errors
    /// The environment names an unusable proxy.
    pub(crate) fn route(&self, url: &Url, is_own: bool) -> Result<Route, Unprepared> {
        let proxy = proxy::choose(url, self.proxy.as_ref()).map_err(Unprepared::Environment)?;
        let is_tls = url.scheme() == "https" || proxy.as_ref().is_some_and(Proxy::is_tls);
        Ok(Route { proxy, is_tls, shows_identity: is_tls && is_own && self.identity.is_some() })
    }

    /// Makes an agent for this route, with the given limits. Its waits end at the cutoff.
    ///
    /// # Errors
    /// There are no root certificates, or the client's key is unusable.
    pub(crate) fn agent(
        &self,
        route: &Route,
        config: ConfigBuilder<AgentScope>,
        cutoff: &Cutoff,
    ) -> Result<Agent, Unprepared> {
        // What ureq itself reads of the environment is never asked.
        let proxy = route.proxy.as_ref().map(Proxy::of_ureq);
        let config =
            config.proxy(proxy).input_buffer_size(INPUT_BUFFER).output_buffer_size(OUTPUT_BUFFER).build();
        let identity = self.identity.as_ref().filter(|_| route.shows_identity);
        let tls = if route.is_tls { Tls::new(&self.authorities, identity)? } else { Tls::without() };
        let connector = EndingConnector { cutoff: cutoff.clone(), tls };
        Ok(Agent::with_parts(config, connector, Resolver(cutoff.clone())))
    }
}

impl Route {
    /// ` by the proxy http://proxy.example.com:3128`, or nothing.
    pub(crate) fn by_proxy(&self) -> String {
        self.proxy.as_ref().map(|proxy| format!(" by the proxy {}", proxy.shown())).unwrap_or_default()
    }
}

/// What to do about a rejected certificate; differs between registries and deploy endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// If the server's certificate is not trusted.
    pub(crate) untrusted: &'static str,
    /// If the server requires a client certificate.
    pub(crate) wanted: &'static str,
}

/// Why a request failed, other than by a timeout.
pub(crate) fn cause(error: &ureq::Error, advice: Advice) -> String {
    use ureq::Error;
    match error {
        Error::HostNotFound => "could not resolve the host name".to_owned(),
        Error::ConnectionFailed => "no connection".to_owned(),
        Error::ConnectProxyFailed(said) => said.clone(),
        Error::Protocol(_) => "the answer is not HTTP; are the address and its scheme right?".to_owned(),
        other => match tls_fault(other) {
            Some(fault) => format!("TLS: {}", explain(fault, advice)),
            None => match other {
                Error::Io(error) => lost(error),
                other => other.to_string(),
            },
        },
    }
}

/// Whether the cutoff of its agent ended the request.
pub(crate) fn is_cut_short(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<CutShort>()))
}

/// Whether a retry can succeed: the connection was lost, and not rejected.
pub(crate) fn is_worth_another_try(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound)
        && tls_fault(error).is_none()
}

/// The TLS error inside a connection error, such as an untrusted certificate.
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
            fault if *fault == CertificateError::UnknownIssuer || is_own(fault) => {
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
            format!("the server requires a client certificate; {}", advice.wanted)
        }
        // Older servers send this instead.
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => {
            format!(
                "the server rejected the connection ({alert:?}); if it requires another client certificate, {}",
                advice.wanted
            )
        }
        rustls::Error::InvalidMessage(_) => {
            "the server does not speak TLS at this port; is it an http:// address?".to_owned()
        }
        other => other.to_string(),
    }
}

/// Whether a server shows an authority's certificate as its own, as `openssl req -x509` makes it. rustls passes on the
/// error of the crate below it, which only its name tells.
fn is_own(fault: &CertificateError) -> bool {
    matches!(fault, CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity"))
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
            let route = transport.route(&Url::parse(url).unwrap(), is_own).unwrap();
            assert_eq!((route.is_tls, route.shows_identity), expected, "{url}");
        }
    }

    #[test]
    fn a_proxy_that_is_reached_by_tls_needs_certificates_too() {
        for (proxy, expected) in [("https://proxy:3128", true), ("http://proxy:3128", false)] {
            let transport = Transport { proxy: Some(Proxy::new(proxy).unwrap()), ..Transport::default() };
            let route = transport.route(&Url::parse("http://git.example.com").unwrap(), true).unwrap();
            assert_eq!(route.is_tls, expected, "{proxy}");
            assert_eq!(route.by_proxy(), format!(" by the proxy {proxy}"));
        }
    }
}
