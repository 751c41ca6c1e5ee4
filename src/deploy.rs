//! Carrying a deployment out: its steps in order, each a command or an HTTP request.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "deployments run processes and send requests, and measure their time"
)]

mod answer;
mod command;
#[cfg(test)]
mod fixture;
mod gate;
mod notify;
mod ping;
mod placeholder;
mod request;
mod running;
mod signing;
mod transcript;
mod vault;

use std::fs::File;
use std::time::Duration;

use serde_json::Value;

use crate::engine::ErrorCode;
use crate::process::Leader;
use crate::process::group::Patience;
use crate::reference::{Digest, Tag};
use crate::secret::{Redactor, Secrets};
use crate::target::Target;
use crate::target::step::Step;
pub(crate) use gate::{GatedImage, ask_gates};
pub(crate) use notify::{EventReport, Message, MessageContent, notify};
pub(crate) use ping::{Ping, ping};
pub(crate) use running::{running, verify};

pub(crate) use crate::stop::Stop;
use crate::stop::signal_name;

use command::CommandDeployer;
use placeholder::Values;
use request::HttpDeployer;
use transcript::Transcript;
use vault::{Learning, Vault};

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

/// Who follows a deployment while it runs.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    /// Gets the number of each step as it begins, from 1.
    pub(crate) on_step: &'a (dyn Fn(usize) + Sync),
    /// Gets the leader of each command's process group when it was started, before it is waited for.
    pub(crate) on_start: &'a (dyn Fn(&Leader) + Sync),
    /// Gets what the steps print as it comes: whole lines, secrets masked. None where nobody looks.
    pub(crate) on_output: Option<&'a (dyn Fn(&str) + Sync)>,
}

impl Watch<'_> {
    const NOBODY: Watch<'static> = Watch { on_step: &|_| {}, on_start: &|_| {}, on_output: None };
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

impl Outcome {
    /// Whether the attempt stays to be resumed.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.result.as_ref().is_err_and(|error| error.interrupted)
    }
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
    /// The run was over meanwhile: what the target has now is not known, and the attempt stays to be resumed.
    pub(crate) interrupted: bool,
}

/// Carries out the target's steps in order; the first that fails ends it.
///
/// `lock` is the target's lock, taken: it becomes the standard input of the commands, so that it
/// lives as long as they do (guarantees: Delivering, 3).
pub(crate) fn deploy(
    handover: &Handover<'_>,
    secrets: &Secrets,
    lock: &File,
    stop: &Stop,
    watch: Watch<'_>,
) -> Outcome {
    carry_out(handover, secrets, lock, stop, PATIENCE, watch)
}

/// Carries out one step of a deployment, made ready: placeholders rendered, secrets resolved.
trait Deployer {
    /// Writes down in `attempt` what is printed and answered. Gives the answer, where it is JSON.
    ///
    /// # Errors
    /// The step failed, in any way; secrets are masked.
    fn deploy(&self, attempt: &mut Attempt<'_>) -> Result<Option<Value>, DeployError>;
}

/// What the steps of one attempt share.
struct Attempt<'a> {
    vault: &'a Learning<'a>,
    lock: &'a File,
    stop: &'a Stop,
    watch: Watch<'a>,
    patience: Patience,
    transcript: Transcript<'a>,
    /// Where the step's answer has what later steps use as a credential: JSON pointers.
    credentials: Vec<&'a str>,
    exit_status: Option<i32>,
    http_status: Option<u16>,
}

/// Of a deployment. `grace` is also how long an answer is waited for after tagship was told to stop.
const PATIENCE: Patience =
    Patience { grace: Duration::from_secs(10), linger: Some(Duration::from_millis(500)) };

fn carry_out(
    handover: &Handover<'_>,
    vault: &dyn Vault,
    lock: &File,
    stop: &Stop,
    patience: Patience,
    watch: Watch<'_>,
) -> Outcome {
    let vault = &Learning::new(vault);
    let mut attempt = Attempt {
        vault,
        lock,
        stop,
        watch,
        patience,
        transcript: Transcript::new(vault, watch.on_output),
        credentials: Vec::new(),
        exit_status: None,
        http_status: None,
    };
    let result = carry_out_steps(handover, &mut attempt);
    Outcome {
        result,
        exit_status: attempt.exit_status,
        http_status: attempt.http_status,
        output: attempt.transcript.finish(),
    }
}

fn carry_out_steps<'a>(handover: &Handover<'a>, attempt: &mut Attempt<'a>) -> Result<(), DeployError> {
    let vault = attempt.vault;
    let steps = handover.target.deploy.as_ref();
    // All before the first: a secret that is missing in the last step must not leave half a deployment.
    for step in steps {
        made_ready(step, &Values::of(handover, vault, None))?;
    }
    let mut answers = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        (attempt.watch.on_step)(index + 1);
        let used = steps[index + 1..].iter().flat_map(Step::credentials);
        attempt.credentials =
            used.filter(|used| used.step == index + 1).map(|used| used.pointer.as_str()).collect();
        let result = match attempt.stop.signal() {
            Some(signal) => Err(DeployError::not_begun(signal)),
            None => made_ready(step, &Values::of(handover, vault, Some(&answers)))
                .and_then(|step| step.deploy(attempt)),
        };
        answers.push(result.map_err(|error| DeployError { started: error.started || index > 0, ..error })?);
    }
    Ok(())
}

fn made_ready<'a>(step: &'a Step, values: &Values<'a>) -> Result<Box<dyn Deployer + 'a>, DeployError> {
    Ok(match step {
        Step::Command(step) => Box::new(CommandDeployer::new(step, values)?),
        Step::Http(step) => Box::new(HttpDeployer::new(step, values)?),
    })
}

impl DeployError {
    /// Nothing was started or sent.
    fn before_start(code: ErrorCode, message: String) -> DeployError {
        DeployError { started: false, ..DeployError::failed(code, message) }
    }

    /// Something was started or sent, and trying again may help.
    fn failed(code: ErrorCode, message: String) -> DeployError {
        DeployError {
            code,
            message,
            retry_after: None,
            final_answer: false,
            started: true,
            interrupted: false,
        }
    }

    fn not_begun(signal: u8) -> DeployError {
        let message = format!("not started: tagship was told to stop by {}", signal_name(signal.into()));
        DeployError { interrupted: true, ..DeployError::before_start(ErrorCode::Command, message) }
    }

    fn masked(mut self, redactor: &dyn Redactor) -> DeployError {
        self.message = redactor.mask(&self.message);
        self
    }
}
