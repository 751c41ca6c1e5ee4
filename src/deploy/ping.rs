//! A ping: a GET whose answer says nothing but that it was received.

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
use crate::target::template::Part;

/// How long a ping may take at most.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The same once tagship was told to stop, which the ping tells. It ends within a second.
const LAST_TIMEOUT: Duration = Duration::from_millis(600);
/// How long an answer is waited for when tagship is told to stop meanwhile.
const GRACE: Duration = Duration::from_millis(200);

/// What a ping is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ping {
    Start,
    /// With the exit status.
    End(u8),
}

/// Pings where this moment of a run is told. By the convention, `run` joins the two moments. `longest`: how long the run
/// may take.
///
/// # Errors
/// It was not received. The URL is not shown: whoever has it can ping.
pub(crate) fn ping(
    url: &PingUrl,
    moment: Ping,
    secrets: &Secrets,
    run: &Uuid,
    longest: Duration,
    stop: &Stop,
) -> Result<(), String> {
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
    let Some(template) = template else {
        return Ok(());
    };
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
    if let PingUrl::Convention(_) = url {
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
            // The signal is why it had no longer.
            let why = stop.signal().filter(|_| matches!(error, NoAnswer::TimedOut(..)));
            let why = why.map(|signal| format!(" of being told to stop by {}", signal_name(signal.into())));
            Err(fault(&format!("{event}: {error}{}", why.unwrap_or_default())))
        }
    }
}
