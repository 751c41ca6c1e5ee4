//! Groups the targets of a registry that fail for the same cause.

use crate::engine::{ErrorCode, Failure};
use crate::target::Name;

/// Why a registry could not be checked: one line for all its targets that fail for the same cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outage<'a> {
    pub(crate) registry: &'a Name,
    code: ErrorCode,
    /// `503 Service Unavailable`
    cause: &'a str,
}

impl<'a> Outage<'a> {
    /// None: the failure concerns one image or one stage.
    pub(crate) fn of(failure: &'a Failure, registry: &'a Name) -> Option<Outage<'a>> {
        let cause = match failure.code {
            ErrorCode::Unavailable
            | ErrorCode::Unauthorized
            | ErrorCode::RateLimited
            | ErrorCode::OutOfTime => cause(&failure.message),
            // All of them need the same unreadable secret.
            ErrorCode::Secret => &failure.message,
            _ => return None,
        };
        Some(Outage { registry, code: failure.code, cause })
    }
}

/// Whether the failed request was sent, and not skipped because others had failed.
pub(crate) fn is_sent(message: &str) -> bool {
    !message.contains(": not sent: ")
}

/// The cause of an error: `GET https://git.example.com/v2/: 503 Service Unavailable: …` gives `503 Service
/// Unavailable`. So does the error of a request that was skipped because of it.
fn cause(message: &str) -> &str {
    let after_request = |message: &'_ str| {
        let url = message.split(' ').nth(1).filter(|word| word.contains("://") && word.ends_with(':'))?;
        message.find(url).map(|at| at + url.len() + 1)
    };
    let last = message.rsplit_once("(the last: ").map(|(_, last)| last.trim_end_matches(')'));
    let cause =
        last.unwrap_or_else(|| after_request(message).and_then(|at| message.get(at..)).unwrap_or(message));
    cause.split(": ").next().unwrap_or(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_that_of_the_failed_request() {
        for (message, expected) in [
            (
                "GET https://g/v2/a/tags/list: 503 Service Unavailable: the server failed",
                "503 Service Unavailable",
            ),
            (
                "GET https://g/v2/b/tags/list: not sent: requests for 3 different paths failed in a row, so this run sends no more requests to this registry (the last: 503 Service Unavailable)",
                "503 Service Unavailable",
            ),
            ("GET https://g/v2/: connection refused", "connection refused"),
            ("the token file is missing", "the token file is missing"),
        ] {
            assert_eq!(cause(message), expected);
        }
    }
}
