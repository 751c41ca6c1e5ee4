//! The `Retry-After` of a registry: neither this run nor later ones send it a request before that time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::RegistryError;

/// The earliest time for another request to a registry, and the time at which the registry gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) not_before: Timestamp,
    pub(crate) said_at: Timestamp,
}

impl Limit {
    /// The longest accepted limit. A longer one has its cause in a wrong clock or a wrong answer.
    const LONGEST: SignedDuration = SignedDuration::from_hours(24);

    /// Whether the limit holds at this moment. A limit given in the future comes from a wrong clock, and does
    /// not hold.
    fn holds(&self, now: Timestamp) -> bool {
        now < self.not_before && now >= self.said_at && self.not_before.duration_since(now) <= Limit::LONGEST
    }
}

/// A registry's limit, shared by its requests and by the code that stores it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedLimit(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    limit: Option<Limit>,
    /// The error with which this run received the limit.
    said: Option<String>,
}

/// The beginning of the error of a request that is not sent.
const NOT_SENT: &str = "not sent: ";

impl SharedLimit {
    pub(crate) fn new(known: Option<Limit>) -> SharedLimit {
        SharedLimit(Arc::new(Mutex::new(Known { limit: known, said: None })))
    }

    pub(crate) fn get(&self) -> Option<Limit> {
        self.known().limit
    }

    /// Fails if the registry's limit forbids a request now.
    #[allow(clippy::disallowed_methods, reason = "a limit is a point in time")]
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        let now = Timestamp::now();
        let known = self.known();
        let Some(Limit { not_before, said_at }) = known.limit.filter(|limit| limit.holds(now)) else {
            return Ok(());
        };
        let why = known.said.clone().unwrap_or_else(|| {
            format!("at {said_at:.0} the registry asked for no requests before {not_before:.0}")
        });
        Err(RegistryError::RateLimited { retry_at: not_before, message: format!("{NOT_SENT}{why}") })
    }

    /// Stores the limit of an error, if it has one.
    #[allow(clippy::disallowed_methods, reason = "a limit is a point in time")]
    pub(super) fn note(&self, error: &RegistryError) {
        if let RegistryError::RateLimited { retry_at, message } = error {
            let said_at = Timestamp::now();
            if *retry_at > said_at {
                let said = message.strip_prefix(NOT_SENT).unwrap_or(message).to_owned();
                let limit = Limit { not_before: *retry_at, said_at };
                *self.known() = Known { limit: Some(limit), said: Some(said) };
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_until_its_moment_and_no_wrong_clock_makes_it_longer() {
        let at = |minutes: i64| Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap();
        let limit = Limit { not_before: at(10), said_at: at(0) };
        assert!(limit.holds(at(0)) && limit.holds(at(9)));
        assert!(!limit.holds(at(10)), "it is over");
        assert!(!limit.holds(at(-1)), "given in the future");
        let absurd = Limit { not_before: at(48 * 60), said_at: at(0) };
        assert!(!absurd.holds(at(1)));
    }
}
