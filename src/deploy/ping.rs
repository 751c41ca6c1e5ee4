//! A ping: a GET whose answer says nothing but that it was received.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use ureq::http::Request;
use url::Url;
use uuid::Uuid;

use super::exchange::{NoAnswer, exchange};
use super::{Patience, Stop};
use crate::secret::Secrets;
use crate::target::template::{Part, Template};

/// So long a ping may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Pings the URL with this behind its path: `/start`, or `/` and an exit status. `run` joins the two.
///
/// # Errors
/// It was not received. The URL is not shown: whoever has it can ping.
pub(crate) fn ping(url: &Template, event: &str, secrets: &Secrets, run: &Uuid) -> Result<(), String> {
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
    // Also sent where tagship was told to stop: that is what is to be told.
    match exchange(&url, request, TIMEOUT, Patience::DEFAULT, &Stop::default()) {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(fault(&format!("{event} was answered by {}", answer.status))),
        Err(NoAnswer::TimedOut(what)) => Err(fault(&format!("{event}: {what} within 10s"))),
        Err(NoAnswer::Failed(what) | NoAnswer::NotSendable(what)) => Err(fault(&format!("{event}: {what}"))),
        Err(NoAnswer::Interrupted(_)) => Ok(()),
    }
}
