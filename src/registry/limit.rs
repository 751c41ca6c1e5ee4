//! A registry that said when to come back is left alone until then, by this run and by later ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::RegistryError;

/// When a registry may be asked again, and when it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) not_before: Timestamp,
    pub(crate) said_at: Timestamp,
}

impl Limit {
    /// Nobody is believed for longer: a clock was wrong, or the answer.
    const LONGEST: SignedDuration = SignedDuration::from_hours(24);

    /// Whether it holds at this moment. One that was said in the future was said by a wrong clock.
    fn holds(&self, now: Timestamp) -> bool {
        now < self.not_before && now >= self.said_at && self.not_before.duration_since(now) <= Limit::LONGEST
    }
}

/// What is known of a registry's limit, shared by all that ask it and by who keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedLimit(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    limit: Option<Limit>,
    /// The error that this run received with it.
    said: Option<String>,
}

/// At the beginning of the error of a request that is not sent.
const NOT_ASKED: &str = "not asked: ";

impl SharedLimit {
    pub(crate) fn new(known: Option<Limit>) -> SharedLimit {
        SharedLimit(Arc::new(Mutex::new(Known { limit: known, said: None })))
    }

    pub(crate) fn get(&self) -> Option<Limit> {
        self.known().limit
    }

    /// The error of a request that is not sent, because the registry does not want to be asked.
    #[allow(clippy::disallowed_methods, reason = "a limit is a moment")]
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        let now = Timestamp::now();
        let known = self.known();
        let Some(Limit { not_before, said_at }) = known.limit.filter(|limit| limit.holds(now)) else {
            return Ok(());
        };
        let why = known.said.clone().unwrap_or_else(|| {
            format!("at {said_at:.0} the registry said not to come back before {not_before:.0}")
        });
        Err(RegistryError::RateLimited { retry_at: not_before, message: format!("{NOT_ASKED}{why}") })
    }

    /// Remembers when the registry wants to be asked again, if that is what this error says.
    #[allow(clippy::disallowed_methods, reason = "a limit is a moment")]
    pub(super) fn note(&self, error: &RegistryError) {
        if let RegistryError::RateLimited { retry_at, message } = error {
            let said_at = Timestamp::now();
            if *retry_at > said_at {
                let said = message.strip_prefix(NOT_ASKED).unwrap_or(message).to_owned();
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
        assert!(!limit.holds(at(-1)), "it was said in the future");
        let absurd = Limit { not_before: at(48 * 60), said_at: at(0) };
        assert!(!absurd.holds(at(1)));
    }
}
