//! A ping: a GET to a monitoring service.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use ureq::http::Request;
use url::Url;
use uuid::Uuid;

use super::Stop;
use crate::config::PingUrl;
use crate::http::{NoAnswer, exchange};
use crate::secret::Secrets;
use crate::stop::{Cutoff, signal_name};
use crate::target::template::{Part, Template};

/// The longest time of a ping.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time after tagship was told to stop: it ends within a second.
const LAST_TIMEOUT: Duration = Duration::from_millis(600);
/// How long to wait for the response if tagship is told to stop during the ping.
const GRACE: Duration = Duration::from_millis(200);

/// The event that a ping reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ping {
    Start,
    /// With the exit status.
    End(u8),
}

/// Sends the ping for this event of a run; None: the configuration has none. With the convention, `run`
/// identifies the run in both pings. `longest`: the longest time it may take.
///
/// # Errors
/// It was not received. The error does not contain the URL, because anyone who has it can ping.
pub(crate) fn ping(
    url: &PingUrl,
    moment: Ping,
    secrets: &Secrets,
    run: &Uuid,
    longest: Duration,
    stop: &Stop,
) -> Option<Result<(), String>> {
    let event = match moment {
        Ping::Start => "/start".to_owned(),
        Ping::End(status) => format!("/{status}"),
    };
    let template = match (url, moment) {
        (PingUrl::Convention(url), _) => Some(url),
        (PingUrl::AsWritten { start, .. }, Ping::Start) => start.as_ref(),
        (PingUrl::AsWritten { success, .. }, Ping::End(0)) => success.as_ref(),
        (PingUrl::AsWritten { failure, .. }, Ping::End(_)) => failure.as_ref(),
    };
    Some(send(
        template?,
        &event,
        matches!(url, PingUrl::Convention(_)).then_some(run),
        secrets,
        longest,
        stop,
    ))
}

/// `run`: appended to the URL with the event, by the convention.
fn send(
    template: &Template,
    event: &str,
    run: Option<&Uuid>,
    secrets: &Secrets,
    longest: Duration,
    stop: &Stop,
) -> Result<(), String> {
    let fault = |what: &str| secrets.mask(&format!("ping_url: {what}"));
    let mut text = String::new();
    for part in &template.parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Secret(id) => {
                let secret = secrets.get(id).map_err(|error| fault(&error.to_string()))?;
                text.push_str(secret.expose_secret());
            }
            // The configuration lets nothing else in.
            Part::Field(_) | Part::Var(_) | Part::Label(_) | Part::Answer(_) => {}
        }
    }
    let mut address = Url::parse(text.trim()).map_err(|error| fault(&error.to_string()))?;
    if let Some(run) = run {
        address.set_path(&format!("{}{event}", address.path().trim_end_matches('/')));
        address.query_pairs_mut().append_pair("rid", &run.to_string());
    }
    let request = Request::get(address.as_str()).body(None).map_err(|_| fault("it cannot be sent"))?;
    let timeout = TIMEOUT.min(longest);
    let answer = match stop.signal() {
        None => exchange(&address, request, timeout, GRACE, &Cutoff::at_signal(stop)),
        Some(_) => exchange(&address, request, timeout.min(LAST_TIMEOUT), GRACE, &Cutoff::default()),
    };
    match answer {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(fault(&format!("{event} was answered by {}", answer.status))),
        Err(error) => {
            // The signal shortened its time.
            let why = stop.signal().filter(|_| matches!(error, NoAnswer::TimedOut(..)));
            let why = why.map(|signal| format!(" of being told to stop by {}", signal_name(signal.into())));
            Err(fault(&format!("{event}: {error}{}", why.unwrap_or_default())))
        }
    }
}
