//! How a stage is asked what it runs.

use std::time::Duration;

use super::step::Step;

/// `running` of a stage, with its `verify_timeout`.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// A command whose standard output, or a GET whose answer, says it.
    pub(crate) probe: Step,
    /// Where it stands in an answer that is JSON (RFC 6901); None: the answer is nothing else.
    pub(crate) pointer: Option<String>,
    /// How long the stage may take to run what was deployed.
    pub(crate) verify_timeout: Duration,
}
