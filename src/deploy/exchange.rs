//! One HTTP request and its whole answer, within a time.

use std::io::Read;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Request, StatusCode};
use ureq::{Agent, Timeout};
use url::Url;

use crate::secret::{Masked, Outside, Redactor};
use crate::stop::{Cutoff, TICK};
use crate::transport::{self, Advice, Transport, Unprepared, Way};

/// More than this of an answer is not read.
pub(super) const LONGEST_BODY: usize = 1024 * 1024;
/// A server that does not take a connection for so long is down, however long the work may take then.
const CONNECT: Duration = Duration::from_secs(10);

const CERTIFICATES: Advice = Advice {
    untrusted: "add that authority's certificate to those of the system, or set SSL_CERT_FILE",
    wanted: "tagship shows none to deploy endpoints: go by a command such as curl",
};

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// At most [`LONGEST_BODY`]. To be understood; [`Answer::shown`] is what may be shown.
    pub(super) body: Vec<u8>,
    /// Whether there was more.
    pub(super) cut: bool,
    /// It has a credential for a later step that cannot be found in it.
    pub(super) withheld: bool,
}

impl Answer {
    /// The body as text without secrets.
    pub(super) fn shown(&self, redactor: &(impl Redactor + ?Sized)) -> Masked {
        if self.withheld {
            return Masked::instead("(more than 1 MiB, not shown: a later step takes a credential from it)");
        }
        redactor.redact(&Outside::new(&self.body[..]).cut_behind(self.cut))
    }
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The request cannot be sent as it is.
    NotSendable(String),
    TimedOut(&'static str),
    Failed(String),
    /// Its cutoff was reached: by this signal, or the run's deadline.
    Interrupted(Option<u8>),
}

/// Sends the request and reads its answer. Redirects are answers.
///
/// At the cutoff, the answer is still waited for during the grace period, since the request may have been carried out
/// already.
pub(super) fn exchange(
    url: &Url,
    request: Request<Option<Vec<u8>>>,
    timeout: Duration,
    grace: Duration,
    cutoff: &Cutoff,
) -> Result<Answer, NoAnswer> {
    let (agent, way) = agent(url, timeout)?;
    let (sender, answers) = channel();
    // Not joined: where it is given up at a stop, it ends with the program.
    let sending = thread::Builder::new().spawn(move || {
        let _ = sender.send(send(&agent, request, &way.by_proxy()));
    });
    sending.map_err(|error| NoAnswer::NotSendable(format!("no thread can be started: {error}")))?;
    let mut reached_at: Option<Instant> = None;
    loop {
        match answers.recv_timeout(TICK) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(NoAnswer::Failed("the request was not carried out".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if cutoff.is_reached() && reached_at.get_or_insert_with(Instant::now).elapsed() >= grace {
            return Err(NoAnswer::Interrupted(cutoff.signal()));
        }
    }
}

fn send(agent: &Agent, request: Request<Option<Vec<u8>>>, by_proxy: &str) -> Result<Answer, NoAnswer> {
    let (parts, body) = request.into_parts();
    let response = match body {
        Some(body) => agent.run(Request::from_parts(parts, body)),
        None => agent.run(Request::from_parts(parts, ())),
    };
    let mut response = response.map_err(|error| no_answer(&error, by_proxy))?;
    let mut body = Vec::new();
    let limit = u64::try_from(LONGEST_BODY).expect("1 MiB fits") + 1;
    let mut reader = response.body_mut().as_reader().take(limit);
    reader.read_to_end(&mut body).map_err(|error| no_answer(&ureq::Error::from(error), by_proxy))?;
    let cut = body.len() > LONGEST_BODY;
    body.truncate(LONGEST_BODY);
    Ok(Answer { status: response.status(), headers: response.headers().clone(), body, cut, withheld: false })
}

fn no_answer(error: &ureq::Error, by_proxy: &str) -> NoAnswer {
    use ureq::Error;
    match error {
        Error::Timeout(Timeout::Connect) => NoAnswer::TimedOut("no connection"),
        Error::Timeout(Timeout::Resolve) => NoAnswer::TimedOut("the name of the host was not resolved"),
        Error::Timeout(_) => NoAnswer::TimedOut("no complete answer"),
        Error::Http(_) | Error::BadUri(_) => NoAnswer::NotSendable(error.to_string()),
        other => {
            let cause = transport::cause(other, CERTIFICATES);
            NoAnswer::Failed(if by_proxy.is_empty() {
                cause
            } else {
                format!("{}: {cause}", by_proxy.trim_start())
            })
        }
    }
}

/// An agent of its own for each request: none is sent on a connection that the server may be closing.
fn agent(url: &Url, timeout: Duration) -> Result<(Agent, Way), NoAnswer> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(timeout))
        .timeout_connect(Some(timeout.min(CONNECT)))
        .user_agent(concat!("tagship/", env!("CARGO_PKG_VERSION")));
    let transport = Transport::default();
    let prepared = transport
        .way(url, false)
        .and_then(|way| Ok((transport.agent(&way, config, &Cutoff::default())?, way)));
    prepared.map_err(|error| match error {
        Unprepared::Environment(error) | Unprepared::Secret(error) => NoAnswer::Failed(error),
    })
}
