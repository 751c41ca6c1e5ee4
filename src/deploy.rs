//! Carrying a deployment out: its steps in order, each a command or an HTTP request.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "deployments run processes and send requests, and measure their time"
)]

mod answer;
mod command;
mod exchange;
#[cfg(test)]
mod fixture;
mod group;
mod http;
mod notify;
mod ping;
mod placeholder;
mod running;
mod signing;
mod transcript;
mod vault;

use std::fs::File;
use std::time::Duration;

use serde_json::Value;

use crate::plan::ErrorCode;
use crate::reference::{Digest, Tag};
use crate::secret::Secrets;
use crate::target::Target;
use crate::target::step::Step;
pub(crate) use command::program_fault;
pub(crate) use notify::{News, notify};
pub(crate) use ping::ping;
pub(crate) use running::{running, verify};

pub(crate) use crate::stop::Stop;

use command::CommandDeployer;
use http::HttpDeployer;
use placeholder::Values;
use transcript::Transcript;
use vault::Vault;

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

/// What can be seen of a deployment while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen<'a> {
    /// The step of this number begins, from 1.
    Step(usize),
    /// A line that a step printed, secrets masked.
    Line(&'a str),
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
    /// tagship was told to stop meanwhile: what the target has now is not known, and the attempt
    /// stays to be resumed.
    pub(crate) interrupted: bool,
}

/// Carries out the target's steps in order; the first that fails ends it.
///
/// `lock` is the target's lock, taken: it becomes the standard input of the commands, so that it
/// lives as long as they do (guarantees: Delivering, 3). `watch` gets each step as it begins, and
/// what the steps print as it comes.
pub(crate) fn deploy(
    handover: &Handover<'_>,
    secrets: &Secrets,
    lock: &File,
    stop: &Stop,
    watch: &(dyn Fn(Seen<'_>) + Sync),
) -> Outcome {
    carry_out(handover, secrets, lock, stop, Patience::DEFAULT, watch)
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
    vault: &'a dyn Vault,
    lock: &'a File,
    stop: &'a Stop,
    patience: Patience,
    transcript: Transcript<'a>,
    exit_status: Option<i32>,
    http_status: Option<u16>,
}

/// How long to wait for what ought to end.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// From TERM to KILL, and for an answer after tagship was told to stop.
    grace: Duration,
    /// For the end of the output after a command has ended.
    linger: Duration,
}

impl Patience {
    const DEFAULT: Patience = Patience { grace: Duration::from_secs(10), linger: Duration::from_millis(500) };
}

fn carry_out(
    handover: &Handover<'_>,
    vault: &dyn Vault,
    lock: &File,
    stop: &Stop,
    patience: Patience,
    watch: &(dyn Fn(Seen<'_>) + Sync),
) -> Outcome {
    let on_output = |line: &str| watch(Seen::Line(line));
    let mut attempt = Attempt {
        vault,
        lock,
        stop,
        patience,
        transcript: Transcript::new(vault, &on_output),
        exit_status: None,
        http_status: None,
    };
    let result = carry_out_steps(handover, &mut attempt, watch);
    Outcome {
        result,
        exit_status: attempt.exit_status,
        http_status: attempt.http_status,
        output: attempt.transcript.finish(),
    }
}

fn carry_out_steps(
    handover: &Handover<'_>,
    attempt: &mut Attempt<'_>,
    watch: &dyn Fn(Seen<'_>),
) -> Result<(), DeployError> {
    let vault = attempt.vault;
    let steps = handover.target.deploy.as_ref();
    // All before the first: a secret that is missing in the last step must not leave half a deployment.
    for step in steps {
        made_ready(step, &Values::of(handover, vault, None))?;
    }
    let mut answers = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        watch(Seen::Step(index + 1));
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
        let message =
            format!("not started: tagship was told to stop by {}", command::signal_name(signal.into()));
        DeployError { interrupted: true, ..DeployError::before_start(ErrorCode::Command, message) }
    }

    fn masked(mut self, vault: &dyn Vault) -> DeployError {
        self.message = vault.mask(&self.message);
        self
    }
}
