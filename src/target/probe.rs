//! The probe that asks a stage what it runs.

use std::time::Duration;

use super::step::Step;

/// A stage's `running`, with its `verify_timeout`.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// A command whose standard output is the answer, or a GET.
    pub(crate) probe: Step,
    /// Where the answer is in JSON (RFC 6901); None: the whole text is the answer.
    pub(crate) pointer: Option<String>,
    /// How long to wait for the stage to run the deployed tag.
    pub(crate) verify_timeout: Duration,
}
