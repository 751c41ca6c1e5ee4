//! An answer of a registry: its body bounded, what it says about later, and the errors that it becomes.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ureq::Body;
use ureq::http::{HeaderMap, Response, StatusCode};
use url::Url;

use super::RegistryError;
use super::large::Claim;
use super::request::{Method, what};
use crate::http;
use crate::secret::{Masked, Outside, Redactor as _, Secrets};
use crate::stop::CutShort;

/// A tags list may be this long, any other answer [`SMALL_BODY`].
pub(super) const TAGS_BODY: u64 = 64 * 1024 * 1024;
pub(super) const SMALL_BODY: u64 = 1024 * 1024;
/// A page of rows of an API may be this long: Gitea repeats the whole repository and owner in each of 50 rows.
pub(super) const ROWS_BODY: u64 = 16 * 1024 * 1024;

/// A `Retry-After` up to this is waited for; a longer one is for later runs.
const SHORT_RETRY: Duration = Duration::from_secs(2);
/// What a 429 without `Retry-After` is taken to want.
const UNSAID_RETRY: Duration = Duration::from_secs(60);

/// What came back, its body not read yet.
pub(super) struct Answer {
    pub(super) method: Method,
    /// Where it came from, after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Body,
    /// A server may repeat what it was asked with.
    secrets: Arc<Secrets>,
}

/// What a server that cannot answer now says about later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// 429: it is asked too often.
    is_limit: bool,
    /// `Retry-After`, where it gives one.
    wait: Option<Duration>,
}

impl Wish {
    /// How long to wait at least before this run asks again; None: it should not.
    pub(super) fn pause(self) -> Option<Duration> {
        match self.wait {
            Some(wait) => Some(wait).filter(|wait| *wait <= SHORT_RETRY),
            // Who is asked too often and does not say when to come back is not asked at once.
            None => (!self.is_limit).then_some(Duration::ZERO),
        }
    }

    /// When a later run may ask; None: at any time.
    fn retry_at(self) -> Option<Timestamp> {
        let wait = match self.wait {
            Some(wait) if self.is_limit || wait > SHORT_RETRY => wait,
            None if self.is_limit => UNSAID_RETRY,
            _ => return None,
        };
        #[allow(clippy::disallowed_methods, reason = "the moment that Retry-After counts from")]
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
        format!("{}: {}", what(self.method, &self.url), self.status)
    }

    /// What keeps secrets out of text of this answer, also when its body was read.
    pub(super) fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.secrets)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where it sends on to, without a user name and password that it may name.
    pub(super) fn location(&self) -> Option<Url> {
        let mut url = self.url.join(self.header("location")?).ok()?;
        // Neither can fail for a URL with a host; any other is of no use.
        url.set_username("").and_then(|()| url.set_password(None)).ok()?;
        Some(url)
    }

    /// When the answer was made, by the server's clock.
    pub(super) fn date(&self) -> Option<Timestamp> {
        http::date(&self.headers)
    }

    /// What a 429 or 5xx wants of who asks again.
    pub(super) fn wish(&self) -> Option<Wish> {
        let is_limit = self.status == StatusCode::TOO_MANY_REQUESTS;
        // 501: it does not know the method, and will not know it later.
        let has_failed = self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED;
        if !is_limit && !has_failed {
            return None;
        }
        Some(Wish { is_limit, wait: self.retry_after() })
    }

    /// When an answer of any other status says to come back.
    pub(super) fn asked_back_at(&self) -> Option<Timestamp> {
        Wish { is_limit: true, wait: Some(self.retry_after()?) }.retry_at()
    }

    fn retry_after(&self) -> Option<Duration> {
        #[allow(clippy::disallowed_methods, reason = "where the server does not tell its own time")]
        http::retry_after(&self.headers, Timestamp::now())
    }

    /// The error of a 429 or 5xx.
    pub(super) fn unavailable(self) -> RegistryError {
        match self.wish().and_then(|wish| wish.retry_at()) {
            Some(retry_at) => self.rate_limited(retry_at),
            None => {
                RegistryError::Unavailable(self.refused("the server failed; its log says why").to_string())
            }
        }
    }

    /// The error of any answer that means: not before then.
    pub(super) fn rate_limited(self, retry_at: Timestamp) -> RegistryError {
        let message =
            self.refused(&format!("the server wants to be left alone until {retry_at:.0}")).to_string();
        RegistryError::RateLimited { retry_at, message }
    }

    /// What the answer said, and what to do about it, as text for any error.
    pub(super) fn refused(self, advice: &str) -> Refusal {
        self.refused_by(|_| advice.to_owned())
    }

    /// The same where the advice depends on what it said.
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
        // What cannot be read is not needed for a message.
        let is_cut = read.is_err() || bytes.len() > READ;
        bytes.truncate(READ);
        one_line(&self.secrets.redact(&Outside::new(bytes).cut_behind(is_cut)), 200)
    }

    /// The body up to a limit, as it comes.
    pub(super) fn reader(self, limit: u64) -> Bounded<impl Read> {
        let head = self.head();
        Bounded { inner: self.body.into_reader(), left: limit, limit, head, fault: None }
    }

    /// The whole body.
    ///
    /// # Errors
    /// It is longer than the limit, or ends early.
    pub(super) fn bytes(self, limit: u64) -> Result<Vec<u8>, Unread> {
        let mut bytes = Vec::new();
        let mut reader = self.reader(limit);
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(reader.failed(&error)),
        }
    }
}

/// What to do where a server says that it wants TLS at this port: Go's, nginx and Apache.
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
    /// Whether everything that was read was read without a fault.
    pub(super) fn is_sound(&self) -> bool {
        self.fault.is_none()
    }

    /// The error of a body that could not be read to its end, or that is not what it should be.
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
    /// How asking again can help.
    again: Option<Again>,
}

/// When to ask again for an answer that could not be read.
enum Again {
    /// At once: the connection was lost under its body.
    Lost,
    /// With a place: it is a large list, and others are held.
    WithPlace(Claim),
}

impl Unread {
    /// A large list came where as many are held as may be.
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

/// Asks and reads; asks again, at most twice, where the connection is lost under the body, and once it has a place
/// where the body is a large list.
///
/// # Errors
/// As those of the two.
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
    /// Too long, or not what its head says.
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
            other => BodyFault::Wrong(format!("the answer cannot be read: {other}")),
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

/// Text from a server: one line, no control characters, not longer than so many characters.
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
        let wish =
            |is_limit, seconds: Option<f64>| Wish { is_limit, wait: seconds.map(Duration::from_secs_f64) };
        for (wish, pause, is_for_later) in [
            (wish(true, Some(0.5)), Some(0.5), true),
            (wish(true, Some(2.0)), Some(2.0), true),
            (wish(true, Some(2.5)), None, true),
            (wish(true, None), None, true),
            (wish(false, None), Some(0.0), false),
            (wish(false, Some(1.0)), Some(1.0), false),
            (wish(false, Some(60.0)), None, true),
        ] {
            assert_eq!(wish.pause(), pause.map(Duration::from_secs_f64), "{wish:?}");
            assert_eq!(wish.retry_at().is_some(), is_for_later, "{wish:?}");
        }
    }

    #[test]
    fn text_from_servers_is_one_short_line() {
        let one_line = |text, longest| one_line(&Secrets::default().redact(&Outside::text(text)), longest);
        assert_eq!(one_line("a\n\tb\u{1b}[2J  c\r\n", 200), "a b [2J c");
        assert_eq!(one_line("äöü", 2), "äö…");
    }
}
