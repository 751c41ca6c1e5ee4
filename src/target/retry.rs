//! How a failed deployment is retried.

use std::time::Duration;

/// A stage's `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// How many attempts are started before tagship gives up; at least 1.
    pub(crate) attempts: u32,
    /// From the end of the first attempt to the second; doubled after each.
    pub(crate) backoff: Duration,
    /// The longest time between two attempts.
    pub(crate) max_backoff: Duration,
}

impl Default for Retry {
    /// Twelve attempts in about ten hours.
    fn default() -> Retry {
        Retry { attempts: 12, backoff: Duration::from_secs(60), max_backoff: Duration::from_secs(2 * 3600) }
    }
}
