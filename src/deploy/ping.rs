//! A ping: a GET whose answer says nothing but that it was received.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use ureq::http::Request;
use url::Url;
use uuid::Uuid;

use super::Stop;
use super::command::shown_duration;
use super::exchange::{NoAnswer, exchange};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::target::template::{Part, Template};

/// How long a ping may take at most.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The same once tagship was told to stop, which the ping tells. It ends within a second.
const LAST_TIMEOUT: Duration = Duration::from_millis(600);
/// How long an answer is waited for when tagship is told to stop meanwhile.
const GRACE: Duration = Duration::from_millis(200);

/// Pings the URL with this behind its path: `/start`, or `/` and an exit status. `run` joins the two. `longest`: how
/// long the run may take.
///
/// # Errors
/// It was not received. The URL is not shown: whoever has it can ping.
pub(crate) fn ping(
    url: &Template,
    event: &str,
    secrets: &Secrets,
    run: &Uuid,
    longest: Duration,
    stop: &Stop,
) -> Result<(), String> {
    let fault = |what: &str| secrets.mask(&format!("ping_url: {what}"));
    let mut text = String::new();
    for part in &url.parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Secret(id) => {
                let secret = secrets.get(id).map_err(|error| fault(&error.to_string()))?;
                text.push_str(secret.expose_secret());
            }
            // The configuration lets nothing else in.
            Part::Field(_) | Part::Var(_) | Part::Answer(_) => {}
        }
    }
    let mut url = Url::parse(text.trim()).map_err(|error| fault(&error.to_string()))?;
    url.set_path(&format!("{}{event}", url.path().trim_end_matches('/')));
    url.query_pairs_mut().append_pair("rid", &run.to_string());
    let request = Request::get(url.as_str()).body(None).map_err(|_| fault("it cannot be sent"))?;
    let timeout = TIMEOUT.min(longest);
    let answer = match stop.signal() {
        None => exchange(&url, request, timeout, GRACE, &Cutoff::at_signal(stop)),
        Some(_) => exchange(&url, request, timeout.min(LAST_TIMEOUT), GRACE, &Cutoff::default()),
    };
    match answer {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(fault(&format!("{event} was answered by {}", answer.status))),
        Err(NoAnswer::TimedOut(what)) => {
            Err(fault(&format!("{event}: {what} within {}", shown_duration(timeout))))
        }
        Err(NoAnswer::Failed(what) | NoAnswer::NotSendable(what)) => Err(fault(&format!("{event}: {what}"))),
        Err(NoAnswer::Interrupted(_)) => Ok(()),
    }
}
