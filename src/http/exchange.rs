//! One HTTP request and its complete response, within a time limit.

use std::fmt;
use std::io::Read;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Request, StatusCode};
use ureq::{Agent, Timeout};
use url::Url;

use super::{Advice, Route, Transport, Unprepared};
use crate::mask::{Masked, Outside, Redactor};
use crate::stop::{CutShort, Cutoff, TICK, shown_duration, signal_name};

/// No more than this of a body is read.
const LONGEST_BODY: usize = 1024 * 1024;
/// A server that accepts no connection within this time is down, even if its work may take longer.
const CONNECT: Duration = Duration::from_secs(10);

const CERTIFICATES: Advice = Advice {
    untrusted: "add that authority's certificate to those of the system, or set SSL_CERT_FILE",
    wanted: "tagship sends none to deploy endpoints: use a command such as curl",
};

/// The response.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// At most [`LONGEST_BODY`]. For parsing; use [`HttpResponse::shown`] to show it.
    pub(crate) body: Vec<u8>,
    /// Whether the body was longer.
    pub(crate) cut: bool,
    /// Whether it must not be shown, because a credential of a later step could not be found in it and
    /// masked.
    pub(crate) withheld: bool,
}

impl HttpResponse {
    /// The body as text without secrets.
    pub(crate) fn shown(&self, redactor: &(impl Redactor + ?Sized)) -> Masked {
        if self.withheld {
            return Masked::instead("(more than 1 MiB, not shown: a later step uses a credential from it)");
        }
        redactor.redact(&Outside::new(&self.body[..]).cut_behind(self.cut))
    }
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The request cannot be sent as it is.
    NotSendable(String),
    /// The missing part, and the time limit.
    TimedOut(&'static str, Duration),
    Failed(String),
    /// The cutoff was reached before there was a connection: by this signal, or at the run's deadline.
    NotSent(Option<u8>),
    /// The cutoff was reached after that, and the result of the request is unknown.
    Interrupted(Option<u8>),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how_far, signal) = match self {
            NoAnswer::NotSendable(what) => return write!(f, "cannot be sent: {what}"),
            NoAnswer::TimedOut(what, within) => {
                return write!(f, "{what} within {}", shown_duration(*within));
            }
            NoAnswer::Failed(what) => return f.write_str(what),
            NoAnswer::NotSent(signal) => ("not sent", signal),
            NoAnswer::Interrupted(signal) => ("no answer yet", signal),
        };
        match signal {
            Some(signal) => {
                write!(f, "{how_far}: tagship was told to stop by {}", signal_name((*signal).into()))
            }
            None => write!(f, "{how_far}: {CutShort}"),
        }
    }
}

/// Sends the request and reads the response. A redirect is a response.
///
/// Before the request is sent, the cutoff ends it at once. Afterwards, tagship waits for the response for the
/// grace period, because the request may already have taken effect.
pub(crate) fn exchange(
    url: &Url,
    request: Request<Option<Vec<u8>>>,
    timeout: Duration,
    grace: Duration,
    cutoff: &Cutoff,
) -> Result<HttpResponse, NoAnswer> {
    let connecting = cutoff.until_lifted();
    let (agent, route) = agent(url, timeout, &connecting)?;
    let (sender, answers) = channel();
    // Not joined: if it is abandoned at a stop, it ends with the program.
    let sending = thread::Builder::new().spawn(move || {
        let answer = send(&agent, request);
        let _ =
            sender.send(answer.map_err(|error| no_answer(&error, &route.by_proxy(), timeout, &connecting)));
    });
    sending.map_err(|error| NoAnswer::NotSendable(format!("could not start a thread: {error}")))?;
    let mut reached_at: Option<Instant> = None;
    loop {
        match answers.recv_timeout(TICK) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(NoAnswer::Failed("the request did not finish".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if cutoff.is_reached() && reached_at.get_or_insert_with(Instant::now).elapsed() >= grace {
            return Err(NoAnswer::Interrupted(cutoff.signal()));
        }
    }
}

fn send(agent: &Agent, request: Request<Option<Vec<u8>>>) -> Result<HttpResponse, ureq::Error> {
    let (parts, body) = request.into_parts();
    let mut response = match body {
        Some(body) => agent.run(Request::from_parts(parts, body)),
        None => agent.run(Request::from_parts(parts, ())),
    }?;
    let mut body = Vec::new();
    let limit = u64::try_from(LONGEST_BODY).expect("1 MiB fits") + 1;
    let mut reader = response.body_mut().as_reader().take(limit);
    reader.read_to_end(&mut body)?;
    let cut = body.len() > LONGEST_BODY;
    body.truncate(LONGEST_BODY);
    Ok(HttpResponse {
        status: response.status(),
        headers: response.headers().clone(),
        body,
        cut,
        withheld: false,
    })
}

fn no_answer(error: &ureq::Error, by_proxy: &str, timeout: Duration, connecting: &Cutoff) -> NoAnswer {
    use ureq::Error;
    match error {
        error if super::is_cut_short(error) => NoAnswer::NotSent(connecting.signal()),
        Error::Timeout(Timeout::Connect) => NoAnswer::TimedOut("no connection", timeout.min(CONNECT)),
        Error::Timeout(Timeout::Resolve) => {
            NoAnswer::TimedOut("could not resolve the name of the host", timeout.min(CONNECT))
        }
        Error::Timeout(_) => NoAnswer::TimedOut("no complete answer", timeout),
        Error::Http(_) | Error::BadUri(_) => NoAnswer::NotSendable(error.to_string()),
        other => {
            let cause = super::cause(other, CERTIFICATES);
            NoAnswer::Failed(if by_proxy.is_empty() {
                cause
            } else {
                format!("{}: {cause}", by_proxy.trim_start())
            })
        }
    }
}

/// A new agent for each request, so that none is sent on a connection that the server may be closing. The
/// cutoff is lifted once there is a connection.
fn agent(url: &Url, timeout: Duration, connecting: &Cutoff) -> Result<(Agent, Route), NoAnswer> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(timeout))
        .timeout_resolve(Some(timeout.min(CONNECT)))
        .timeout_connect(Some(timeout.min(CONNECT)))
        .user_agent(concat!("tagship/", env!("CARGO_PKG_VERSION")));
    let transport = Transport::default();
    let prepared = transport
        .route(url, false)
        .and_then(|route| Ok((transport.agent(&route, config, connecting)?, route)));
    prepared.map_err(|error| match error {
        Unprepared::Environment(error) | Unprepared::Secret(error) => NoAnswer::Failed(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_names_the_limit_of_its_phase() {
        let text = |phase, timeout: u64| {
            let error = ureq::Error::Timeout(phase);
            no_answer(&error, "", Duration::from_secs(timeout), &Cutoff::default()).to_string()
        };
        assert_eq!(text(Timeout::Connect, 300), "no connection within 10s");
        assert_eq!(text(Timeout::Connect, 3), "no connection within 3s");
        assert_eq!(text(Timeout::Resolve, 300), "could not resolve the name of the host within 10s");
        assert_eq!(text(Timeout::Global, 300), "no complete answer within 5m");
    }
}
