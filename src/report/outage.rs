//! What targets of a registry have in common when it cannot be asked.

use crate::engine::{ErrorCode, Failure};
use crate::target::Name;

/// Why a registry could not be checked: one line for all of its targets that fail for the same cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outage<'a> {
    pub(crate) registry: &'a Name,
    code: ErrorCode,
    /// `503 Service Unavailable`
    cause: &'a str,
}

impl<'a> Outage<'a> {
    /// None: the failure is about one image or one stage.
    pub(crate) fn of(failure: &'a Failure, registry: &'a Name) -> Option<Outage<'a>> {
        let cause = match failure.code {
            ErrorCode::Unavailable
            | ErrorCode::Unauthorized
            | ErrorCode::RateLimited
            | ErrorCode::OutOfTime => cause(&failure.message),
            // The same secret that cannot be read.
            ErrorCode::Secret => &failure.message,
            _ => return None,
        };
        Some(Outage { registry, code: failure.code, cause })
    }
}

/// Whether a request was sent that failed so, or not sent because others had failed.
pub(crate) fn is_sent(message: &str) -> bool {
    !message.contains(": not asked: ")
}

/// The cause in an error: `GET https://git.example.com/v2/: 503 Service Unavailable: …` gives `503 Service Unavailable`,
/// and so does the error of a request that was not sent because of it.
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
    fn the_cause_is_that_of_the_request_which_failed() {
        for (message, expected) in [
            (
                "GET https://g/v2/a/tags/list: 503 Service Unavailable: the server failed",
                "503 Service Unavailable",
            ),
            (
                "GET https://g/v2/b/tags/list: not asked: requests for 3 different paths failed in a row, so this \
                 registry is left alone for the rest of this run (the last: 503 Service Unavailable)",
                "503 Service Unavailable",
            ),
            ("GET https://g/v2/: connection refused", "connection refused"),
            ("the token file is missing", "the token file is missing"),
        ] {
            assert_eq!(cause(message), expected);
        }
    }
}
