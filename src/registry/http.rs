//! Requests to a registry: one agent, bounded answers, few retries, and errors that say which
//! server, which request, what came back and what to do.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ureq::http::{HeaderMap, Request, Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};
use url::Url;

use super::{RegistryError, RequestCount};
use crate::config::RegistryConfig;

/// A tags list may be this long, any other answer [`SMALL_BODY`].
pub(super) const TAGS_BODY: u64 = 64 * 1024 * 1024;
pub(super) const SMALL_BODY: u64 = 1024 * 1024;

/// What is waited before a request is sent again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
/// A `Retry-After` up to this is waited for; a longer one is for later runs.
const SHORT_RETRY: Duration = Duration::from_secs(2);
/// A `Retry-After` beyond this is taken for this.
const LONGEST_RETRY: Duration = Duration::from_secs(24 * 3600);
const MOST_REDIRECTS: usize = 5;
/// So many connections that fail in a row, and a registry is left alone for the run.
const FAILURES_ALLOWED: u32 = 3;

/// Every media type of a manifest or an index: with fewer of them servers answer with another digest.
pub(super) const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
}

/// A header that may be a credential, and so is never shown.
pub(super) type Header<'a> = (&'a str, &'a str);

/// Sends requests to one origin.
pub(super) struct Client {
    agent: OnceLock<Result<Agent, String>>,
    origin: Url,
    timeout: Duration,
    connections: usize,
    requests: RequestCount,
    failures_in_a_row: AtomicU32,
}

/// What came back, its body not read yet.
pub(super) struct Answer {
    pub(super) method: Method,
    /// Where it came from, after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Body,
}

impl Client {
    pub(super) fn new(config: &RegistryConfig, origin: &Url, requests: RequestCount) -> Client {
        let mut origin = origin.clone();
        origin.set_path("");
        Client {
            agent: OnceLock::new(),
            origin,
            timeout: config.timeout,
            connections: config.connections,
            requests,
            failures_in_a_row: AtomicU32::new(0),
        }
    }

    /// An absolute path (with its query) at the registry's origin.
    pub(super) fn at(&self, path: &str) -> Url {
        self.origin.join(path).unwrap_or_else(|_| self.origin.clone())
    }

    pub(super) fn origin(&self) -> &Url {
        &self.origin
    }

    pub(super) fn is_same_origin(&self, url: &Url) -> bool {
        url.origin() == self.origin.origin()
    }

    /// Sends a request, again where that can help, and follows redirects within the origin.
    ///
    /// # Errors
    /// There is no answer, it is 429 or 5xx, or it redirects to another origin.
    pub(super) fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[Header<'_>],
    ) -> Result<Answer, RegistryError> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.send_to(method, &url, headers)?;
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let Some(next) = answer.location() else {
                return Err(RegistryError::Protocol(format!("{}: it says not where to", answer.head())));
            };
            if !self.is_same_origin(&next) {
                return Err(RegistryError::Protocol(format!(
                    "{}: it redirects to {}, and credentials are not sent there; if that is the registry's address, write it as url",
                    answer.head(),
                    next.origin().ascii_serialization()
                )));
            }
            url = next;
        }
        Err(RegistryError::Protocol(format!("{} {url}: it redirects again and again", method.as_str())))
    }

    /// As [`Client::send`], but gives a redirect back as it is.
    pub(super) fn send_to(
        &self,
        method: Method,
        url: &Url,
        headers: &[Header<'_>],
    ) -> Result<Answer, RegistryError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            if self.failures_in_a_row.load(Ordering::Relaxed) >= FAILURES_ALLOWED {
                return Err(RegistryError::Unavailable(format!(
                    "{} {url}: not asked: {FAILURES_ALLOWED} connections in a row failed, so this registry is left alone for the rest of this run",
                    method.as_str()
                )));
            }
            let result = self.send_once(method, url, headers);
            let pause = match &result {
                Ok(answer) => match answer.wait() {
                    None => return result,
                    Some(wait) if wait <= SHORT_RETRY => pauses.next().map(|pause| pause.max(wait)),
                    Some(_) => None,
                },
                Err(_) => pauses.next(),
            };
            match (pause, result) {
                (Some(pause), _) => std::thread::sleep(pause),
                (None, Ok(answer)) => return Err(answer.unavailable()),
                (None, Err(error)) => return Err(error),
            }
        }
    }

    fn send_once(&self, method: Method, url: &Url, headers: &[Header<'_>]) -> Result<Answer, RegistryError> {
        let agent = match self.agent.get_or_init(|| self.agent()) {
            Ok(agent) => agent,
            Err(error) => {
                return Err(RegistryError::Unavailable(format!("{} {url}: {error}", method.as_str())));
            }
        };
        let mut request = Request::builder().method(method.as_str()).uri(url.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|_| {
            RegistryError::Protocol(format!(
                "{} {url}: the request cannot be sent: is there a line feed in the token?",
                method.as_str()
            ))
        })?;
        self.requests.add_one();
        self.answer(method, url, agent.run(request))
    }

    /// Sends a body, once. A redirect is given back as it is: what is in the body is for that address only.
    ///
    /// # Errors
    /// There is no answer, or it is 429 or 5xx.
    pub(super) fn post(&self, url: &Url, content_type: &str, body: &str) -> Result<Answer, RegistryError> {
        let agent = self
            .agent
            .get_or_init(|| self.agent())
            .as_ref()
            .map_err(|error| RegistryError::Unavailable(format!("POST {url}: {error}")))?;
        self.requests.add_one();
        let result = agent.post(url.as_str()).header("content-type", content_type).send(body);
        let answer = self.answer(Method::Post, url, result)?;
        if answer.wait().is_some() { Err(answer.unavailable()) } else { Ok(answer) }
    }

    fn answer(
        &self,
        method: Method,
        url: &Url,
        result: Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer, RegistryError> {
        match result {
            Ok(response) => {
                self.failures_in_a_row.store(0, Ordering::Relaxed);
                Ok(Answer::new(method, url, response))
            }
            Err(error) => {
                self.failures_in_a_row.fetch_add(1, Ordering::Relaxed);
                Err(RegistryError::Unavailable(format!(
                    "{} {url}: {}",
                    method.as_str(),
                    no_answer(&error, self.timeout)
                )))
            }
        }
    }

    /// Made at the first request: the roots are read only where https wants them.
    fn agent(&self) -> Result<Agent, String> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(self.timeout))
            .timeout_connect(Some(self.timeout))
            .max_idle_connections(self.connections)
            .max_idle_connections_per_host(self.connections)
            .user_agent(concat!("tagship/", env!("CARGO_PKG_VERSION")));
        if crate::config::is_loopback(&self.origin) {
            config = config.proxy(None);
        }
        if self.origin.scheme() == "https" {
            config = config.tls_config(
                TlsConfig::builder()
                    .root_certs(system_roots()?)
                    .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .build(),
            );
        }
        Ok(config.build().new_agent())
    }
}

/// The system's root certificates, read once.
///
/// # Errors
/// There are none.
pub(crate) fn system_roots() -> Result<RootCerts, String> {
    static ROOTS: OnceLock<Result<RootCerts, String>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let loaded = rustls_native_certs::load_native_certs();
            if loaded.certs.is_empty() {
                let cause = loaded.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
                return Err(format!(
                    "no root certificates were found{cause}; install ca-certificates, or set SSL_CERT_FILE"
                ));
            }
            Ok(RootCerts::from(loaded.certs.iter().map(|der| Certificate::from_der(der).to_owned())))
        })
        .clone()
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

impl Answer {
    fn new(method: Method, url: &Url, response: Response<Body>) -> Answer {
        let (parts, body) = response.into_parts();
        Answer { method, url: url.clone(), status: parts.status, headers: parts.headers, body }
    }

    /// `GET https://git.example.com/v2/…: 401 Unauthorized`
    pub(super) fn head(&self) -> String {
        format!("{} {}: {}", self.method.as_str(), self.url, self.status)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn location(&self) -> Option<Url> {
        self.url.join(self.header("location")?).ok()
    }

    /// When the answer was made, by the server's clock.
    fn date(&self) -> Option<Timestamp> {
        http_date(self.header("date")?)
    }

    /// For how long not to ask, where the answer says that it may be better later.
    fn wait(&self) -> Option<Duration> {
        let is_later = self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error();
        if !is_later {
            return None;
        }
        let asked = self.header("retry-after").and_then(|value| retry_after(value, self.date()));
        Some(asked.unwrap_or(Duration::ZERO))
    }

    /// The error of a 429 or 5xx.
    fn unavailable(self) -> RegistryError {
        let wait = self.wait().unwrap_or_default();
        let limited = self.status == StatusCode::TOO_MANY_REQUESTS || wait > SHORT_RETRY;
        let message = self.refused("the server says to come back later").to_string();
        if !limited {
            return RegistryError::Unavailable(message);
        }
        #[allow(clippy::disallowed_methods, reason = "the moment that Retry-After counts from")]
        let now = Timestamp::now();
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
        RegistryError::RateLimited { retry_at: now.saturating_add(wait).unwrap_or(now), message }
    }

    /// What the answer said, and what to do about it, as text for any error.
    pub(super) fn refused(self, advice: &str) -> Refusal {
        let head = self.head();
        let said = self.excerpt();
        let said = if said.is_empty() { said } else { format!(" ({said})") };
        Refusal(format!("{head}{said}: {advice}"))
    }

    /// The beginning of the body, as one line without control characters.
    pub(super) fn excerpt(self) -> String {
        let mut bytes = Vec::new();
        // What cannot be read is not needed for a message.
        let _ = self.body.into_reader().take(1024).read_to_end(&mut bytes);
        one_line(&String::from_utf8_lossy(&bytes), 200)
    }

    /// The body up to a limit, as it comes.
    pub(super) fn reader(self, limit: u64) -> Bounded<impl Read> {
        let head = self.head();
        Bounded { inner: self.body.into_reader(), left: limit, limit, head, error: None }
    }

    /// The whole body.
    ///
    /// # Errors
    /// It is longer than the limit, or ends early.
    pub(super) fn bytes(self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let mut reader = self.reader(limit);
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(reader.failed(&error)),
        }
    }
}

/// A message; it becomes the error that fits.
pub(super) struct Refusal(String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Refusal {
    pub(super) fn unauthorized(self) -> RegistryError {
        RegistryError::Unauthorized(self.0)
    }

    pub(super) fn denied(self) -> RegistryError {
        RegistryError::Denied(self.0)
    }

    pub(super) fn not_found(self) -> RegistryError {
        RegistryError::NotFound(self.0)
    }

    pub(super) fn protocol(self) -> RegistryError {
        RegistryError::Protocol(self.0)
    }
}

/// A body that ends with an error where it is longer than its limit.
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
    head: String,
    /// Why reading failed, kept beside what a parser makes of it.
    error: Option<String>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX).min(buffer.len());
        let result = self.inner.read(&mut buffer[..room]).and_then(|read| {
            let too_long =
                || io::Error::other(format!("the answer is longer than {} MiB", self.limit / 1024 / 1024));
            self.left = self.left.checked_sub(read as u64).ok_or_else(too_long)?;
            Ok(read)
        });
        if let Err(error) = &result {
            self.error = Some(body_failure(error));
        }
        result
    }
}

impl<R> Bounded<R> {
    /// The error of a body that could not be read to its end, or that is not what it should be.
    pub(super) fn failed(self, error: &dyn std::fmt::Display) -> RegistryError {
        match self.error {
            Some(cause) => RegistryError::Unavailable(format!("{}: {cause}", self.head)),
            None => RegistryError::Protocol(format!("{}: {error}", self.head)),
        }
    }
}

fn body_failure(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        return match error {
            ureq::Error::Timeout(_) => "the answer did not end in time".to_owned(),
            ureq::Error::Io(error) => body_failure(error),
            other => format!("the answer cannot be read: {other}"),
        };
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            "the answer ended early: the connection was closed".to_owned()
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "the answer did not end in time".to_owned(),
        _ => error.to_string(),
    }
}

fn no_answer(error: &ureq::Error, timeout: Duration) -> String {
    use ureq::Error;
    match error {
        Error::Timeout(Timeout::Connect) => format!("no connection within {timeout:?}"),
        Error::Timeout(Timeout::Resolve) => "the name of the host was not resolved in time".to_owned(),
        Error::Timeout(_) => format!("no answer within {timeout:?}"),
        Error::HostNotFound => "the name of the host cannot be resolved".to_owned(),
        Error::Rustls(error) => format!("TLS: {error}"),
        Error::Io(error) => match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(error) => format!("TLS: {error}"),
            None => match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused: nothing listens there".to_owned(),
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::UnexpectedEof => {
                    "the connection was closed before an answer came".to_owned()
                }
                _ => error.to_string(),
            },
        },
        other => other.to_string(),
    }
}

/// Text from a server: one line, no control characters, not longer than so many characters.
pub(super) fn one_line(text: &str, longest: usize) -> String {
    let words: Vec<&str> = text
        .split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// `Retry-After`: seconds, or a date that is read against the server's own clock.
pub(super) fn retry_after(value: &str, server_now: Option<Timestamp>) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => {
            Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_RETRY)
        }
        Ok(_) => return None,
        Err(_) => {
            let until = http_date(value)?.duration_since(server_now?);
            Duration::try_from(until).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(LONGEST_RETRY))
}

/// `Mon, 23 Nov 2026 13:54:00 GMT`
pub(super) fn http_date(value: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        let now = http_date("Mon, 23 Nov 2026 13:54:00 GMT");
        assert!(now.is_some());
        for (value, expected) in [
            ("5", Some(5_000)),
            ("0", Some(0)),
            ("0.5", Some(500)),
            ("99999999999999999999", Some(86_400_000)),
            ("Mon, 23 Nov 2026 13:54:07 GMT", Some(7_000)),
            ("Mon, 23 Nov 2026 13:00:00 GMT", Some(0)),
            ("-1", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_millis), "{value}");
        }
    }

    #[test]
    fn text_from_servers_is_one_short_line() {
        assert_eq!(one_line("a\n\tb\u{1b}[2J  c\r\n", 200), "a b [2J c");
        assert_eq!(one_line("äöü", 2), "äö…");
    }
}
