//! When a failed deployment is retried (guarantees: Delivering, 6).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;

use super::state::{Deployment, NextAttempt, OpenDeployments, Trigger};
use crate::target::retry::Retry;

/// How an attempt failed, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failed {
    /// Something was started or sent. If not, the attempt is not counted.
    pub(crate) started: bool,
    /// A retry cannot succeed.
    pub(crate) is_final: bool,
    /// The endpoint's Retry-After.
    pub(crate) retry_after: Option<Duration>,
    /// tagship was told to stop: the next poll starts the deployment again, even if no attempts are left.
    pub(crate) interrupted: bool,
}

/// When to retry; None: give up. `attempts`: how many count, this one included if it was started.
pub(crate) fn next_attempt(
    retry: &Retry,
    id: &str,
    attempts: u32,
    failed: Failed,
    now: Timestamp,
) -> Option<NextAttempt> {
    if failed.started && (failed.is_final || attempts >= retry.attempts) {
        return None;
    }
    let doublings = attempts.saturating_sub(1).min(31);
    let wait = retry.backoff.saturating_mul(1 << doublings);
    // At most a tenth more, so that deployments that failed together are not retried together.
    let wait = wait.mul_f64(1.0 + 0.1 * jitter(id, attempts)).min(retry.max_backoff);
    let wait = wait.max(failed.retry_after.unwrap_or_default());
    Some(NextAttempt { at: now.saturating_add(wait).unwrap_or(Timestamp::MAX), failed_at: now })
}

/// From 0 to 1, derived from the ID and the attempt.
fn jitter(id: &str, attempts: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (id, attempts).hash(&mut hasher);
    let [high, low, ..] = hasher.finish().to_be_bytes();
    f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX)
}

impl OpenDeployments {
    /// Whether a deployment must be started now: its next attempt is due, or it was interrupted.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.running.is_some() || self.pending.as_ref().is_some_and(|pending| pending.is_due(now))
    }
}

impl NextAttempt {
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        // A failure in the future means that a clock was wrong, then or now.
        now >= self.at || now < self.failed_at
    }
}

impl Deployment {
    /// Whether its next attempt is due.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.next_attempt.is_none_or(|next| next.is_over(now))
    }

    /// `the deployment of v1.4.0`, `the rollback to v1.3.0`
    pub(crate) fn described(&self) -> String {
        match self.by {
            Trigger::Rollback => format!("the rollback to {}", self.tag),
            Trigger::Poll | Trigger::Manual | Trigger::Mark | Trigger::Probe => {
                format!("the deployment of {}", self.tag)
            }
        }
    }

    /// `attempt 2 of 12`: those that do not count raise the limit, so that the number is that of the history.
    pub(crate) fn last_attempt(&self, retry: &Retry) -> String {
        format!("attempt {} of {}", self.attempts, retry.attempts.saturating_add(self.attempts_forgiven))
    }

    /// How many attempts count towards the limit.
    pub(crate) fn attempts_counted(&self) -> u32 {
        self.attempts.saturating_sub(self.attempts_forgiven)
    }

    /// Whether an attempt that was interrupted was its last one. At the limit one more follows: the outcome is not known,
    /// and may be a success that could not be recorded.
    pub(crate) fn is_used_up(&self, retry: &Retry) -> bool {
        self.attempts_counted() > retry.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{pending, tag};

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const STARTED: Failed = Failed { started: true, is_final: false, retry_after: None, interrupted: false };

    fn failed(attempts: u32) -> Deployment {
        Deployment { attempts, ..pending(tag("v1"), None) }
    }

    fn wait(deployment: &Deployment, failed: Failed) -> Option<Duration> {
        let (id, attempts) = (&deployment.id, deployment.attempts_counted());
        let next = next_attempt(&Retry::default(), id, attempts, failed, at(NOW))?;
        Some(next.at.duration_since(at(NOW)).unsigned_abs())
    }

    #[test]
    fn the_time_between_attempts_doubles_up_to_its_limit() {
        let minutes = [1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120];
        let mut total = Duration::ZERO;
        for (attempts, minutes) in (1..).zip(minutes) {
            let least = Duration::from_secs(minutes * 60);
            let wait = wait(&failed(attempts), STARTED).unwrap();
            assert!(wait >= least && wait <= least.mul_f64(1.1), "{attempts}: {wait:?}");
            total += wait;
        }
        assert!((9.5..11.5).contains(&(total.as_secs_f64() / 3600.0)), "about ten hours: {total:?}");
        assert_eq!(wait(&failed(12), STARTED), None);
    }

    #[test]
    fn deployments_that_failed_together_are_retried_at_different_times() {
        let first = failed(3);
        let second = Deployment { id: "2".to_owned(), ..failed(3) };
        assert_ne!(wait(&first, STARTED), wait(&second, STARTED));
        assert_eq!(wait(&first, STARTED), wait(&first, STARTED));
    }

    #[test]
    fn rollback_is_named_as_one() {
        let rollback = Deployment { by: Trigger::Rollback, ..failed(1) };
        assert_eq!(rollback.described(), format!("the rollback to {}", rollback.tag));
        assert_eq!(failed(1).described(), format!("the deployment of {}", rollback.tag));
    }

    #[test]
    fn last_attempt_has_the_number_of_the_history_and_the_limit_beside_it() {
        let retry = Retry { attempts: 12, ..Retry::default() };
        assert_eq!(failed(1).last_attempt(&retry), "attempt 1 of 12");
        let retried = Deployment { attempts_forgiven: 1, ..failed(2) };
        assert_eq!(retried.last_attempt(&retry), "attempt 2 of 13");
        assert!(Deployment { attempts_forgiven: 1, ..failed(14) }.is_used_up(&retry));
    }

    #[test]
    fn retry_after_is_a_floor() {
        let asked = |seconds| Failed { retry_after: Some(Duration::from_secs(seconds)), ..STARTED };
        assert_eq!(wait(&failed(1), asked(3600)), Some(Duration::from_secs(3600)));
        assert!(wait(&failed(3), asked(5)).unwrap() >= Duration::from_secs(240));
    }

    #[test]
    fn final_failure_gives_up_at_once_and_an_attempt_that_did_not_start_never_does() {
        assert_eq!(wait(&failed(1), Failed { is_final: true, ..STARTED }), None);
        let not_started = Failed { started: false, is_final: true, ..STARTED };
        assert!(wait(&failed(12), not_started).is_some());
        let forgiven = Deployment { attempts_forgiven: 12, ..failed(13) };
        assert!(wait(&forgiven, STARTED).unwrap() < Duration::from_secs(70));
    }

    #[test]
    fn forgiven_attempts_do_not_use_up_the_limit() {
        let retry = Retry::default();
        assert!(!failed(12).is_used_up(&retry));
        assert!(failed(13).is_used_up(&retry));
        assert!(!Deployment { attempts_forgiven: 12, ..failed(13) }.is_used_up(&retry));
    }

    #[test]
    fn wrong_clock_does_not_delay_a_retry() {
        let day = 24 * 3600;
        let waits = |failed_at: i64| Deployment {
            next_attempt: Some(NextAttempt { at: at(failed_at + 60), failed_at: at(failed_at) }),
            ..failed(1)
        };
        assert!(!waits(NOW).is_due(at(NOW + 59)));
        assert!(waits(NOW).is_due(at(NOW + 60)));
        assert!(waits(NOW + day).is_due(at(NOW)), "it failed tomorrow");
        assert!(waits(NOW - day).is_due(at(NOW)));
    }
}
