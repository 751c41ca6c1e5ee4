//! A step that sends a request, or repeats it until the response says that the work is over.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use ureq::http::{HeaderName, HeaderValue, Method, Request, header};
use url::Url;

use super::answer::{self, Awaited, failure, shown_status};
use super::placeholder::{self, Values};
use super::signing;
use super::transcript::KEPT;
use super::{Attempt, DeployError, Deployer};
use crate::engine::ErrorCode;
use crate::http::{HttpResponse, NoAnswer, exchange, retry_after};
use crate::mask::Redactor as _;
use crate::stop::{Cutoff, TICK, shown_duration};
use crate::target::step::{Body, HttpStep, Success, Until};
use crate::target::template::SecretId;

/// An HTTP step with its placeholders rendered.
pub(super) struct HttpDeployer<'a> {
    url: Url,
    request: Request<Option<Vec<u8>>>,
    signer: Signer<'a>,
    /// `POST https://host/path`, without secrets.
    shown: String,
    timeout: Duration,
    until: Option<&'a Until>,
    /// The longest time to repeat the request for `until`.
    longest: Duration,
    success: &'a Success,
}

impl<'a> HttpDeployer<'a> {
    pub(super) fn new(step: &'a HttpStep, values: &Values<'a>) -> Result<HttpDeployer<'a>, DeployError> {
        let shown = format!("{} {}", step.method, values.shown_url(&step.url));
        let fault = |what: String| {
            let message = values.secrets.mask(&format!("{shown}: cannot be sent: {what}"));
            DeployError::before_start(ErrorCode::Http, message)
        };
        let url = Url::parse(&values.url(&step.url)?).map_err(|error| fault(format!("the URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("the URL is neither http:// nor https://".to_owned()));
        }
        let (body, content_type) = body(step, values)?.unzip();
        let method =
            Method::from_bytes(step.method.as_bytes()).map_err(|_| fault("invalid method".to_owned()))?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| fault("the URL".to_owned()))?;
        let headers = request.headers_mut();
        for (name, template) in &step.headers {
            let value = values.header(name, template)?;
            let name =
                HeaderName::try_from(name).map_err(|_| fault(format!("invalid header name {name:?}")))?;
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| fault(format!("invalid value of the header {name}")))?;
            headers.append(name, value);
        }
        if let Some(content_type) = content_type {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        }
        if let Some(id) = values.subject.id {
            let key = HeaderValue::from_str(id).map_err(|_| fault("invalid deployment ID".to_owned()))?;
            headers.entry("idempotency-key").or_insert(key);
        }
        let signer = Signer::new(step, values)?;
        // An invalid key is found before anything is sent.
        signer.sign(&mut request.clone(), Timestamp::now()).map_err(&fault)?;
        let (timeout, until, success) = (step.timeout, step.until.as_ref(), &step.success);
        Ok(HttpDeployer { url, request, signer, shown, timeout, until, longest: Duration::MAX, success })
    }

    /// Limits the timeout of one exchange.
    pub(super) fn within(self, longest: Duration) -> HttpDeployer<'a> {
        HttpDeployer { timeout: self.timeout.min(longest), longest, ..self }
    }

    /// Sends the request, and leaves it to the caller to judge the response. Waits until the cutoff.
    pub(super) fn ask(&self, cutoff: &Cutoff) -> Result<HttpResponse, DeployError> {
        // It changes nothing, so the response is not needed after a signal.
        let grace = Duration::ZERO;
        let answer = exchange(&self.url, self.request.clone(), self.timeout, grace, cutoff);
        answer.map_err(|error| {
            let error = unanswered(error);
            DeployError { message: format!("{}: {}", self.shown, error.message), ..error }
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends it once. Values of the response that later steps use as credentials are masked from then on.
    fn exchange(
        &self,
        timeout: Duration,
        grace: Duration,
        attempt: &Attempt<'_>,
    ) -> Result<HttpResponse, NoAnswer> {
        let mut request = self.request.clone();
        self.signer.sign(&mut request, Timestamp::now()).map_err(NoAnswer::NotSendable)?;
        let mut answer = exchange(&self.url, request, timeout, grace, &Cutoff::at_signal(attempt.stop))?;
        if !attempt.credentials.is_empty() {
            let body = serde_json::from_slice::<Value>(&answer.body).ok();
            let values = attempt.credentials.iter().filter_map(|pointer| body.as_ref()?.pointer(pointer));
            values.filter_map(placeholder::scalar).for_each(|value| attempt.secrets.learn(&value));
            answer.withheld = answer.cut;
        }
        Ok(answer)
    }

    fn once(&self, attempt: &mut Attempt<'_>) -> Result<HttpResponse, DeployError> {
        self.exchange(self.timeout, attempt.patience.grace, attempt).map_err(|error| {
            unanswered(match (error, attempt.stop.signal()) {
                // The endpoint may have been stopped together with tagship, so the result is unknown.
                (NoAnswer::TimedOut(..) | NoAnswer::Failed(_), Some(signal)) => {
                    NoAnswer::Interrupted(Some(signal))
                }
                (error, _) => error,
            })
        })
    }

    /// Sends it until the response says that the work is over. Temporary errors mean "not yet".
    fn repeatedly(&self, until: &Until, attempt: &mut Attempt<'_>) -> Result<HttpResponse, DeployError> {
        let began = Instant::now();
        let within = until.within.min(self.longest);
        // It only asks, and can be repeated, so the response is not needed after a signal.
        let grace = Duration::ZERO;
        let mut said = String::new();
        loop {
            let left = within.saturating_sub(began.elapsed()).max(TICK);
            let not_yet = match self.exchange(self.timeout.min(left), grace, attempt) {
                Ok(answer) => {
                    attempt.http_status = Some(answer.status.as_u16());
                    match answer::awaited(&answer, until, attempt.secrets) {
                        Awaited::Is | Awaited::Never => return Ok(answer),
                        Awaited::NotYet(what) => what,
                    }
                }
                Err(error @ (NoAnswer::NotSendable(_) | NoAnswer::NotSent(_) | NoAnswer::Interrupted(_))) => {
                    return Err(unanswered(error));
                }
                Err(NoAnswer::TimedOut(what, _)) => what.to_owned(),
                Err(NoAnswer::Failed(what)) => what,
            };
            if said != not_yet {
                let line = attempt.secrets.mask(&format!("{}: {not_yet}\n", self.shown));
                attempt.transcript.push(line.as_bytes());
                said = not_yet;
            }
            if !attempt.stop.pause(until.every.min(within)) {
                return Err(unanswered(NoAnswer::Interrupted(attempt.stop.signal())));
            }
            if began.elapsed() >= within {
                let message = format!("not finished within {}: {said}", shown_duration(within));
                return Err(DeployError::failed(ErrorCode::Timeout, message));
            }
        }
    }

    fn take(&self, answer: &HttpResponse, attempt: &mut Attempt<'_>) -> Result<Option<Value>, DeployError> {
        attempt.http_status = Some(answer.status.as_u16());
        let head = format!("{}: {}\n", self.shown, shown_status(answer.status));
        let body = answer.shown(attempt.secrets);
        attempt.transcript.push(head.as_bytes());
        attempt.transcript.push(body.last(KEPT.saturating_sub(head.len() + 1)).as_bytes());
        attempt.transcript.end_step();
        match failure(answer, self.success, &self.url, attempt.secrets) {
            None => Ok(serde_json::from_slice(&answer.body).ok().filter(|_| !answer.cut)),
            Some(what) => Err(DeployError {
                retry_after: retry_after(&answer.headers, Timestamp::now()),
                final_answer: answer::is_final(answer.status),
                ..DeployError::failed(ErrorCode::Http, what)
            }),
        }
    }
}

impl Deployer for HttpDeployer<'_> {
    fn deploy(&self, attempt: &mut Attempt<'_>) -> Result<Option<Value>, DeployError> {
        let answer = match self.until {
            None => self.once(attempt),
            Some(until) => self.repeatedly(until, attempt),
        };
        answer.and_then(|answer| self.take(&answer, attempt)).map_err(|error| {
            DeployError { message: format!("{}: {}", self.shown, error.message), ..error }
                .masked(attempt.secrets)
        })
    }
}

fn unanswered(error: NoAnswer) -> DeployError {
    let message = error.to_string();
    match error {
        NoAnswer::NotSendable(_) => DeployError::before_start(ErrorCode::Http, message),
        NoAnswer::TimedOut(..) => DeployError::failed(ErrorCode::Timeout, message),
        NoAnswer::Failed(_) => DeployError::failed(ErrorCode::Http, message),
        NoAnswer::NotSent(_) => {
            DeployError { interrupted: true, ..DeployError::before_start(ErrorCode::Http, message) }
        }
        NoAnswer::Interrupted(_) => {
            DeployError { interrupted: true, ..DeployError::failed(ErrorCode::Http, message) }
        }
    }
}

/// The signature keys of a request.
struct Signer<'a> {
    github: Vec<SecretString>,
    standard_webhooks: Vec<SecretString>,
    /// The ID by which a receiver recognises a repeated request.
    id: &'a str,
}

impl<'a> Signer<'a> {
    fn new(step: &HttpStep, values: &Values<'a>) -> Result<Signer<'a>, DeployError> {
        let secrets = |ids: &[SecretId]| ids.iter().map(|id| values.secret(id)).collect::<Result<_, _>>();
        Ok(Signer {
            github: secrets(&step.sign.github)?,
            standard_webhooks: secrets(&step.sign.standard_webhooks)?,
            id: values.subject.id.unwrap_or_default(),
        })
    }

    /// Adds the signature headers, with the current time.
    ///
    /// # Errors
    /// The fault of a secret; does not contain the secret.
    fn sign(&self, request: &mut Request<Option<Vec<u8>>>, now: Timestamp) -> Result<(), String> {
        let body = request.body().clone().unwrap_or_default();
        let mut headers: Vec<(&'static str, String)> = Vec::new();
        if !self.github.is_empty() {
            // A receiver that accepts several signatures, as adnanh/webhook does, uses the one that it knows.
            let all = self.github.iter().map(|secret| signing::github(secret.expose_secret(), &body));
            headers.push(("x-hub-signature-256", all.collect::<Vec<_>>().join(",")));
        }
        if !self.standard_webhooks.is_empty() {
            let second = now.as_second();
            let all = self
                .standard_webhooks
                .iter()
                .map(|secret| signing::standard_webhooks(secret.expose_secret(), self.id, second, &body));
            let all: Vec<String> =
                all.collect::<Result<_, _>>().map_err(|error| format!("the secret of sign is {error}"))?;
            headers.push(("webhook-id", self.id.to_owned()));
            headers.push(("webhook-timestamp", second.to_string()));
            headers.push(("webhook-signature", all.join(" ")));
        }
        for (name, value) in headers {
            let value = HeaderValue::try_from(value).expect("signatures are ASCII");
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

/// The body and its type; None: no body.
fn body(step: &HttpStep, values: &Values<'_>) -> Result<Option<(Vec<u8>, &'static str)>, DeployError> {
    let (text, content_type) = match &step.body {
        Body::Standard if matches!(step.method.as_str(), "GET" | "HEAD") => return Ok(None),
        Body::Standard => (values.standard_json().to_string(), "application/json"),
        Body::Json(json) => (values.json(json)?.to_string(), "application/json"),
        Body::Form(fields) => (values.form(fields)?, "application/x-www-form-urlencoded"),
        Body::Text(text) => (values.plain(text)?, "text/plain; charset=utf-8"),
    };
    Ok(Some((text.into_bytes(), content_type)))
}

#[cfg(test)]
mod tests;
