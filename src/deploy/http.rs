//! A step that sends a request.

use std::time::Duration;

use jiff::Timestamp;
use ureq::http::{HeaderName, HeaderValue, Method, Request, header};
use url::Url;

use super::answer::{self, failure, retry_after, shown_status};
use super::command::{shown_duration, signal_name};
use super::exchange::{Answer, NoAnswer, exchange};
use super::placeholder::Values;
use super::transcript::{KEPT, last, readable};
use super::{Attempt, DeployError, Deployer};
use crate::plan::ErrorCode;
use crate::target::step::{Body, HttpStep, Success};

/// An HTTP step with its placeholders rendered.
pub(super) struct HttpDeployer<'a> {
    url: Url,
    request: Request<Option<Vec<u8>>>,
    /// `POST https://host/path`, without secrets.
    shown: String,
    timeout: Duration,
    success: &'a Success,
}

impl<'a> HttpDeployer<'a> {
    pub(super) fn new(step: &'a HttpStep, values: &Values<'_>) -> Result<HttpDeployer<'a>, DeployError> {
        let shown = format!("{} {}", step.method, values.shown_url(&step.url));
        let fault = |what: String| {
            let message = values.vault.mask(&format!("{shown}: cannot be sent: {what}"));
            DeployError::before_start(ErrorCode::Http, message)
        };
        let url = Url::parse(&values.url(&step.url)?).map_err(|error| fault(format!("the URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("the URL is neither http:// nor https://".to_owned()));
        }
        let (body, content_type) = body(step, values)?.unzip();
        let method =
            Method::from_bytes(step.method.as_bytes()).map_err(|_| fault("no such method".to_owned()))?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| fault("the URL".to_owned()))?;
        let headers = request.headers_mut();
        for (name, template) in &step.headers {
            let value = values.header(name, template)?;
            let name =
                HeaderName::try_from(name).map_err(|_| fault(format!("no header can be called {name:?}")))?;
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| fault(format!("the value of the header {name}")))?;
            headers.append(name, value);
        }
        if let Some(content_type) = content_type {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        }
        let key = HeaderValue::from_str(values.handover.deployment_id);
        let key = key.map_err(|_| fault("the deployment's id".to_owned()))?;
        headers.entry("idempotency-key").or_insert(key);
        Ok(HttpDeployer { url, request, shown, timeout: step.timeout, success: &step.success })
    }

    fn take(&self, answer: &Answer, attempt: &mut Attempt<'_>) -> Result<(), DeployError> {
        attempt.http_status = Some(answer.status.as_u16());
        let head = format!("{}: {}\n", self.shown, shown_status(answer.status));
        // Masked before it is cut: half a secret would not be recognised.
        let body = attempt.vault.mask(&readable(&answer.body));
        attempt.transcript.push(head.as_bytes());
        attempt.transcript.push(last(&body, KEPT.saturating_sub(head.len() + 1)).as_bytes());
        attempt.transcript.end_step();
        match failure(answer, self.success, &self.url) {
            None => Ok(()),
            Some(what) => Err(DeployError {
                retry_after: retry_after(&answer.headers, Timestamp::now()),
                final_answer: answer::is_final(answer.status),
                ..DeployError::failed(ErrorCode::Http, what)
            }),
        }
    }
}

impl Deployer for HttpDeployer<'_> {
    fn deploy(&self, attempt: &mut Attempt<'_>) -> Result<(), DeployError> {
        let answer = exchange(&self.url, self.request.clone(), self.timeout, attempt.patience, attempt.stop);
        let result = match answer {
            Ok(answer) => self.take(&answer, attempt),
            Err(NoAnswer::NotSendable(what)) => {
                Err(DeployError::before_start(ErrorCode::Http, format!("cannot be sent: {what}")))
            }
            Err(NoAnswer::TimedOut(what)) => {
                let message = format!("{what} within {}", shown_duration(self.timeout));
                Err(DeployError::failed(ErrorCode::Timeout, message))
            }
            Err(NoAnswer::Failed(what)) => Err(DeployError::failed(ErrorCode::Http, what)),
            Err(NoAnswer::Interrupted(signal)) => {
                let signal = signal_name(signal.into());
                let message = format!("no answer yet when tagship was told to stop by {signal}");
                let error = DeployError::failed(ErrorCode::Http, message);
                Err(DeployError { interrupted: true, ..error })
            }
        };
        result.map_err(|error| {
            DeployError { message: format!("{}: {}", self.shown, error.message), ..error }
                .masked(attempt.vault)
        })
    }
}

/// The body and its type; None for a request without one.
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
