//! Resolves host names within a time limit.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver as Resolves};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

use crate::stop::{CutShort, Cutoff, TICK};

/// Like ureq's resolver, with three differences: a failure to start a thread is an error and not a panic, an
/// address needs no thread, and the wait ends when the run ends.
#[derive(Debug)]
pub(super) struct Resolver(pub(super) Cutoff);

impl Resolves for Resolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        // Without a timeout, ureq resolves in this thread.
        let at_once = NextTimeout { after: Duration::NotHappening, ..timeout };
        let is_address = uri.host().is_some_and(is_address);
        let named = |error| named(uri.host().unwrap_or_default(), error);
        if is_address || timeout.after.is_not_happening() {
            return DefaultResolver::default().resolve(uri, config, at_once).map_err(named);
        }
        if timeout.after.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        let (sender, resolved) = sync_channel(1);
        let (of, config) = (uri.clone(), config.clone());
        // Not joined, because the system's resolver cannot be stopped.
        let looking = thread::Builder::new().spawn(move || {
            let _ = sender.send(DefaultResolver::default().resolve(&of, &config, at_once));
        });
        looking.map_err(|error| Error::Io(without_thread(&error)))?;
        let begun = Instant::now();
        loop {
            let left = timeout.after.saturating_sub(begun.elapsed());
            match resolved.recv_timeout(left.min(TICK)) {
                Ok(result) => return result.map_err(named),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::HostNotFound),
                Err(RecvTimeoutError::Timeout) if self.0.is_reached() => {
                    return Err(Error::Io(io::Error::other(CutShort)));
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(Error::Timeout(timeout.reason));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// `127.0.0.1`, `::1` or `[::1]`.
fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

/// Adds the name, which the system's message does not contain.
fn named(host: &str, error: Error) -> Error {
    const LOOKUP: &str = "failed to lookup address information: ";
    // glibc, musl, and the BSDs.
    const UNKNOWN: [&str; 3] =
        ["Name or service not known", "Name does not resolve", "nodename nor servname provided"];
    let text = match &error {
        Error::Io(error) => error.to_string(),
        _ => return error,
    };
    let Some(why) = text.strip_prefix(LOOKUP) else {
        return error;
    };
    let is_unknown = UNKNOWN.iter().any(|unknown| why.contains(unknown));
    let text = if is_unknown { format!("no such host: {host}") } else { format!("{host}: {why}") };
    Error::Io(io::Error::other(text))
}

fn without_thread(error: &io::Error) -> io::Error {
    let advice = "could not start a thread to resolve the host name; check the limits of this user's processes and memory (ulimit -u, ulimit -v, TasksMax)";
    io::Error::new(error.kind(), format!("{advice}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_distinguished() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("[::1]", true),
            ("::1", true),
            ("localhost", false),
            ("1.example.com", false),
            ("", false),
        ] {
            assert_eq!(is_address(host), expected, "{host}");
        }
    }

    #[test]
    fn host_that_cannot_be_resolved_is_named() {
        for (why, expected) in [
            (
                "failed to lookup address information: Name or service not known",
                "no such host: git.example.com",
            ),
            ("failed to lookup address information: Name does not resolve", "no such host: git.example.com"),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                "git.example.com: Temporary failure in name resolution",
            ),
            ("something else", "something else"),
        ] {
            let Error::Io(error) = named("git.example.com", Error::Io(io::Error::other(why))) else {
                panic!("{why}")
            };
            assert_eq!(error.to_string(), expected);
        }
        assert!(matches!(named("git.example.com", Error::HostNotFound), Error::HostNotFound));
    }

    #[test]
    fn name_is_resolved_within_its_time_limit() {
        let resolve = |uri: &'static str, after| {
            let timeout = NextTimeout { after, reason: ureq::Timeout::Resolve, ..NextTimeout::default() };
            Resolver(Cutoff::default()).resolve(&Uri::from_static(uri), &Config::default(), timeout)
        };
        let addresses = resolve("http://localhost:4711/", Duration::from_secs(60)).unwrap();
        assert!(addresses.iter().all(|address| address.port() == 4711 && address.ip().is_loopback()));
        assert_eq!(resolve("http://127.0.0.1/", Duration::from_secs(0)).unwrap()[0].port(), 80);
        let late = resolve("http://localhost/", Duration::from_secs(0)).unwrap_err();
        assert!(matches!(late, Error::Timeout(ureq::Timeout::Resolve)), "{late}");
    }
}
