//! An answer of a registry: its bounded body, its retry hint, and the errors made from it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ureq::Body;
use ureq::http::{HeaderMap, Response, StatusCode};
use url::Url;

use super::RegistryError;
use super::large::Claim;
use super::request::{Method, shown_request};
use crate::http;
use crate::mask::{Masked, Outside, Redactor as _};
use crate::secret::Secrets;
use crate::stop::CutShort;

/// The longest tags list. Other answers may have up to [`SMALL_BODY`].
pub(super) const TAGS_BODY: u64 = 64 * 1024 * 1024;
pub(super) const SMALL_BODY: u64 = 1024 * 1024;
/// The longest page of rows of an API: Gitea repeats the whole repository and owner in each of 50 rows.
pub(super) const ROWS_BODY: u64 = 16 * 1024 * 1024;

/// The longest `Retry-After` that a run waits for; later runs respect a longer one.
const SHORT_RETRY: Duration = Duration::from_secs(2);
/// The assumed `Retry-After` of a 429 without one.
const UNSAID_RETRY: Duration = Duration::from_secs(60);

/// An answer whose body is not read yet.
pub(super) struct Answer {
    pub(super) method: Method,
    /// The URL of the answer, after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Body,
    /// Masks secrets: a server may repeat the credential that it received.
    secrets: Arc<Secrets>,
}

/// The retry hint of a server that cannot answer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetryHint {
    /// 429: too many requests.
    is_limit: bool,
    /// `Retry-After`, if the answer has one.
    wait: Option<Duration>,
}

impl RetryHint {
    /// The shortest delay before this run repeats the request. None: this run must not repeat it.
    pub(super) fn pause(self) -> Option<Duration> {
        match self.wait {
            Some(wait) => Some(wait).filter(|wait| *wait <= SHORT_RETRY),
            // A server that answers 429 without a time is not asked again at once.
            None => (!self.is_limit).then_some(Duration::ZERO),
        }
    }

    /// The time from which a later run may repeat the request. None: at any time.
    fn retry_at(self) -> Option<Timestamp> {
        let wait = match self.wait {
            Some(wait) if self.is_limit || wait > SHORT_RETRY => wait,
            None if self.is_limit => UNSAID_RETRY,
            _ => return None,
        };
        #[allow(clippy::disallowed_methods, reason = "Retry-After counts from this moment")]
        let now = Timestamp::now();
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
        Some(now.saturating_add(wait).unwrap_or(now))
    }
}

impl Answer {
    pub(super) fn new(method: Method, url: &Url, secrets: &Arc<Secrets>, response: Response<Body>) -> Answer {
        let (parts, body) = response.into_parts();
        Answer {
            method,
            url: url.clone(),
            status: parts.status,
            headers: parts.headers,
            body,
            secrets: Arc::clone(secrets),
        }
    }

    /// `GET https://git.example.com/v2/…: 401 Unauthorized`
    pub(super) fn head(&self) -> String {
        format!("{}: {}", shown_request(self.method, &self.url), self.status)
    }

    /// The redactor for text of this answer, which is still needed after the body was read.
    pub(super) fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.secrets)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The target of a redirect, without user name and password.
    pub(super) fn location(&self) -> Option<Url> {
        let mut url = self.url.join(self.header("location")?).ok()?;
        // Neither call fails for a URL with a host, and another URL cannot be requested.
        url.set_username("").and_then(|()| url.set_password(None)).ok()?;
        Some(url)
    }

    /// The time of the answer by the server's clock.
    pub(super) fn date(&self) -> Option<Timestamp> {
        http::date(&self.headers)
    }

    /// The retry hint of a 429 or 5xx.
    pub(super) fn hint(&self) -> Option<RetryHint> {
        let is_limit = self.status == StatusCode::TOO_MANY_REQUESTS;
        // 501: the server does not know the method, so a retry cannot help.
        let has_failed = self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED;
        if !is_limit && !has_failed {
            return None;
        }
        Some(RetryHint { is_limit, wait: self.retry_after() })
    }

    /// The `Retry-After` of any other answer.
    pub(super) fn asked_back_at(&self) -> Option<Timestamp> {
        RetryHint { is_limit: true, wait: Some(self.retry_after()?) }.retry_at()
    }

    fn retry_after(&self) -> Option<Duration> {
        #[allow(clippy::disallowed_methods, reason = "used if the server does not report its time")]
        http::retry_after(&self.headers, Timestamp::now())
    }

    /// The error of a 429 or 5xx.
    pub(super) fn unavailable(self) -> RegistryError {
        match self.hint().and_then(|hint| hint.retry_at()) {
            Some(retry_at) => self.rate_limited(retry_at),
            None => RegistryError::Unavailable(self.refused("the server failed; see its log").to_string()),
        }
    }

    /// The error of an answer that allows no request before a time.
    pub(super) fn rate_limited(self, retry_at: Timestamp) -> RegistryError {
        let message = self.refused(&format!("the server allows no request before {retry_at:.0}")).to_string();
        RegistryError::RateLimited { retry_at, message }
    }

    /// The text of an error: the answer, and what to do about it.
    pub(super) fn refused(self, advice: &str) -> Refusal {
        self.refused_by(|_| advice.to_owned())
    }

    /// The same if the advice depends on the answer's text.
    pub(super) fn refused_by(self, advice: impl FnOnce(&str) -> String) -> Refusal {
        let head = self.head();
        let (url, status) = (self.url.clone(), self.status);
        let said = self.excerpt();
        let advice = to_https(&url, status, &said).unwrap_or_else(|| advice(&said));
        let said = if said.is_empty() { said } else { format!(" ({said})") };
        Refusal(format!("{head}{said}: {advice}"))
    }

    /// The beginning of the body, as one line without control characters.
    pub(super) fn excerpt(self) -> String {
        const READ: usize = 16 * 1024;
        let mut bytes = Vec::new();
        let read = self.body.into_reader().take(READ as u64 + 1).read_to_end(&mut bytes);
        // A message can do without the part that cannot be read.
        let is_cut = read.is_err() || bytes.len() > READ;
        bytes.truncate(READ);
        one_line(&self.secrets.redact(&Outside::new(bytes).cut_behind(is_cut)), 200)
    }

    /// A reader of the body, up to a limit.
    pub(super) fn reader(self, limit: u64) -> Bounded<impl Read> {
        let head = self.head();
        Bounded { inner: self.body.into_reader(), left: limit, limit, head, fault: None }
    }

    /// The whole body.
    ///
    /// # Errors
    /// The body is longer than the limit, or ends early.
    pub(super) fn bytes(self, limit: u64) -> Result<Vec<u8>, Unread> {
        let mut bytes = Vec::new();
        let mut reader = self.reader(limit);
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(reader.failed(&error)),
        }
    }
}

/// Advice if the server requires TLS at this port, which Go, nginx and Apache say in these words.
fn to_https(url: &Url, status: StatusCode, said: &str) -> Option<String> {
    const SAID: [&str; 3] = [
        "HTTP request to an HTTPS server",
        "plain HTTP request was sent to HTTPS port",
        "speaking plain HTTP to an SSL-enabled server port",
    ];
    let is_said = status == StatusCode::BAD_REQUEST && SAID.iter().any(|text| said.contains(text));
    let host = url.origin().ascii_serialization().strip_prefix("http://")?.to_owned();
    is_said.then(|| format!("this port speaks HTTPS: write https://{host} as url"))
}

/// A message, from which the matching error is made.
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

/// A body that gives an error if it is longer than its limit.
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
    head: String,
    /// Why reading failed; a parser reports only its own error.
    fault: Option<BodyFault>,
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
            self.fault = Some(body_fault(error));
        }
        result
    }
}

impl<R> Bounded<R> {
    /// Whether reading had no error so far.
    pub(super) fn is_sound(&self) -> bool {
        self.fault.is_none()
    }

    /// The error of a body that could not be read to its end, or that is not of the expected form.
    pub(super) fn failed(self, error: &dyn std::fmt::Display) -> Unread {
        match self.fault {
            Some(BodyFault::Lost(cause)) => {
                let error = RegistryError::Unavailable(format!("{}: {cause}", self.head));
                Unread { error, again: Some(Again::Lost) }
            }
            Some(BodyFault::Slow(cause)) => {
                RegistryError::Unavailable(format!("{}: {cause}", self.head)).into()
            }
            Some(BodyFault::CutShort(cause)) => {
                RegistryError::OutOfTime(format!("{}: {cause}", self.head)).into()
            }
            Some(BodyFault::Wrong(cause)) => {
                RegistryError::Protocol(format!("{}: {cause}", self.head)).into()
            }
            None => RegistryError::Protocol(format!("{}: {error}", self.head)).into(),
        }
    }
}

/// An answer that could not be read.
pub(super) struct Unread {
    error: RegistryError,
    /// Whether a repeated request can help.
    again: Option<Again>,
}

/// When to repeat the request for an answer that could not be read.
enum Again {
    /// At once: the connection was lost in the body.
    Lost,
    /// With a place: it is a large list, and other large lists are in memory.
    WithPlace(Claim),
}

impl Unread {
    /// The error of a large list if the permitted number of them is in memory.
    pub(super) fn crowded(head: &str, claim: &Claim) -> Unread {
        let error = RegistryError::Unavailable(format!("{head}: other large lists are being read"));
        Unread { error, again: Some(Again::WithPlace(claim.clone())) }
    }
}

impl From<RegistryError> for Unread {
    fn from(error: RegistryError) -> Unread {
        Unread { error, again: None }
    }
}

impl From<Unread> for RegistryError {
    fn from(unread: Unread) -> RegistryError {
        unread.error
    }
}

/// Sends the request and reads the answer. Repeats it at most twice if the connection is lost in the body, and
/// after it has a place if the body is a large list.
///
/// # Errors
/// Those of `ask` and `read`.
pub(super) fn whole<T>(
    ask: impl Fn() -> Result<Answer, RegistryError>,
    read: impl Fn(Answer) -> Result<T, Unread>,
) -> Result<T, RegistryError> {
    let mut more = 2;
    loop {
        match read(ask()?) {
            Err(Unread { again: Some(Again::Lost), .. }) if more > 0 => more -= 1,
            Err(Unread { again: Some(Again::WithPlace(claim)), .. }) => claim.hold()?,
            read => return Ok(read?),
        }
    }
}

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
enum BodyFault {
    Lost(String),
    Slow(String),
    /// The run is over.
    CutShort(String),
    /// Too long, or different from what its headers say.
    Wrong(String),
}

fn body_fault(error: &io::Error) -> BodyFault {
    const EARLY: &str = "the answer ended early: the connection was closed";
    const SLOW: &str = "the answer did not end in time";
    if let Some(cut) = error.get_ref().and_then(|inner| inner.downcast_ref::<CutShort>()) {
        return BodyFault::CutShort(cut.to_string());
    }
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        return match error {
            ureq::Error::Timeout(_) => BodyFault::Slow(SLOW.to_owned()),
            ureq::Error::Io(error) => body_fault(error),
            other => BodyFault::Wrong(format!("cannot read the answer: {other}")),
        };
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            BodyFault::Lost(EARLY.to_owned())
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => BodyFault::Slow(SLOW.to_owned()),
        _ => BodyFault::Wrong(error.to_string()),
    }
}

/// Text from a server on one line, without control characters, cut to a number of characters.
pub(super) fn one_line(text: &Masked, longest: usize) -> String {
    let words: Vec<&str> = text
        .as_str()
        .split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wish_is_waited_for_and_a_long_one_is_for_later_runs() {
        let hint = |is_limit, seconds: Option<f64>| RetryHint {
            is_limit,
            wait: seconds.map(Duration::from_secs_f64),
        };
        for (hint, pause, is_for_later) in [
            (hint(true, Some(0.5)), Some(0.5), true),
            (hint(true, Some(2.0)), Some(2.0), true),
            (hint(true, Some(2.5)), None, true),
            (hint(true, None), None, true),
            (hint(false, None), Some(0.0), false),
            (hint(false, Some(1.0)), Some(1.0), false),
            (hint(false, Some(60.0)), None, true),
        ] {
            assert_eq!(hint.pause(), pause.map(Duration::from_secs_f64), "{hint:?}");
            assert_eq!(hint.retry_at().is_some(), is_for_later, "{hint:?}");
        }
    }

    #[test]
    fn text_from_servers_is_one_short_line() {
        let one_line = |text, longest| one_line(&Secrets::default().redact(&Outside::text(text)), longest);
        assert_eq!(one_line("a\n\tb\u{1b}[2J  c\r\n", 200), "a b [2J c");
        assert_eq!(one_line("äöü", 2), "äö…");
    }
}
