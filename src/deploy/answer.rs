//! Judges a response: success, or why not, and when to retry.

use serde_json::Value;
use ureq::http::{StatusCode, header};
use url::Url;

use crate::http::HttpResponse;
use crate::mask::{Outside, Redactor};
use crate::target::step::{Success, Until};

/// How much of the body a message contains.
const EXCERPT: usize = 200;

/// Why the response is not a success, to follow `POST https://host/path: `; None: success.
pub(super) fn failure(
    answer: &HttpResponse,
    success: &Success,
    url: &Url,
    redactor: &dyn Redactor,
) -> Option<String> {
    let status = shown_status(answer.status);
    let expected = if success.status.is_empty() {
        answer.status.is_success()
    } else {
        success.status.contains(&answer.status.as_u16())
    };
    if !expected {
        return Some(match redirect(answer, url) {
            Some(origin) => {
                format!("{status}: redirects to {origin}; write that URL instead if you trust it")
            }
            None => with_excerpt(status, answer, redactor),
        });
    }
    let fault = pointer_fault(answer, success, redactor).or_else(|| {
        let pattern = success.matches.as_ref()?;
        let found = pattern.is_match(&String::from_utf8_lossy(&answer.body));
        (!found).then(|| format!("the answer does not match {pattern}"))
    })?;
    Some(with_excerpt(format!("{status}, but {fault}"), answer, redactor))
}

/// `500 Internal Server Error`
pub(super) fn shown_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Whether a retry cannot succeed.
pub(super) fn is_final(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403 | 405 | 410 | 413 | 422)
}

/// What a response says about queued work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Is,
    NotYet(String),
    /// The work failed, or the response will not change.
    Never,
}

/// What an endpoint says about the work that it queued. Not found, busy or unavailable means "not yet".
pub(super) fn awaited(answer: &HttpResponse, until: &Until, redactor: &dyn Redactor) -> Awaited {
    let status = answer.status;
    let passes = status.is_server_error() || matches!(status.as_u16(), 404 | 408 | 429);
    if passes {
        return Awaited::NotYet(shown_status(status));
    }
    if !status.is_success() {
        return Awaited::Never;
    }
    let pointer = &until.pointer;
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return Awaited::NotYet(format!("no JSON with {pointer}"));
    };
    match body.pointer(pointer) {
        Some(found) if until.values.iter().any(|wanted| equal(found, wanted)) => Awaited::Is,
        Some(found) => Awaited::NotYet(format!("{pointer} is {}", shown(found, redactor))),
        None => Awaited::NotYet(format!("{pointer} is missing")),
    }
}

/// The target of a redirect: only its origin, because path and query may contain secrets.
fn redirect(answer: &HttpResponse, url: &Url) -> Option<String> {
    if !answer.status.is_redirection() {
        return None;
    }
    let location = answer.headers.get(header::LOCATION)?.to_str().ok()?;
    let target = url.join(location).ok()?;
    Some(if target.origin() == url.origin() {
        format!("another path of {}", url.origin().ascii_serialization())
    } else {
        target.origin().ascii_serialization()
    })
}

fn pointer_fault(answer: &HttpResponse, success: &Success, redactor: &dyn Redactor) -> Option<String> {
    let pointer = success.pointer.as_ref()?;
    if answer.cut {
        return Some(format!("it is too long to look up {pointer} (more than 1 MiB)"));
    }
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return Some(format!("it is not JSON, so it has no {pointer}"));
    };
    match (body.pointer(pointer), &success.equals) {
        (None, _) => Some(format!("{pointer} is missing")),
        (Some(found), Some(wanted)) if equal(found, wanted) => None,
        (Some(found), Some(wanted)) => Some(format!("{pointer} is {}, not {wanted}", shown(found, redactor))),
        (Some(Value::Null), None) => Some(format!("{pointer} is null")),
        (Some(_), None) => None,
    }
}

/// `100` and `100.0` are the same number; integers are compared exactly, however large.
fn equal(found: &Value, wanted: &Value) -> bool {
    let is_fraction = found.is_f64() || wanted.is_f64();
    let is_same = matches!((found.as_f64(), wanted.as_f64()), (Some(a), Some(b)) if a.total_cmp(&b).is_eq());
    found == wanted || (is_fraction && is_same)
}

fn shown(found: &Value, redactor: &dyn Redactor) -> String {
    redactor.redact(&Outside::text(&found.to_string())).excerpt(EXCERPT)
}

fn with_excerpt(message: String, answer: &HttpResponse, redactor: &dyn Redactor) -> String {
    let body = answer.shown(redactor).excerpt(EXCERPT);
    if body.is_empty() { message } else { format!("{message}: {body}") }
}

#[cfg(test)]
mod properties;
