//! Runs a deployment: its steps in order, each a command or an HTTP request.
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
mod step_secrets;
mod transcript;

use std::fs::File;
use std::time::Duration;

use serde_json::Value;

use crate::engine::ErrorCode;
use crate::mask::Redactor;
use crate::process::Leader;
use crate::process::group::Patience;
use crate::reference::{Digest, Labels, Tag};
use crate::secret::Secrets;
use crate::target::Target;
use crate::target::step::Step;
pub(crate) use gate::{GatedImage, ask_gates};
pub(crate) use notify::{EventReport, Message, MessageContent, notify};
pub(crate) use ping::{Ping, ping};
pub(crate) use placeholder::missing_label;
pub(crate) use running::{running, verify};

pub(crate) use crate::stop::Stop;
use crate::stop::signal_name;

use command::CommandDeployer;
use placeholder::Values;
use request::HttpDeployer;
use step_secrets::{LearnedSecrets, StepSecrets};
use transcript::Transcript;

/// One attempt to deploy one tag to one target: the values of placeholders and `TAGSHIP_*` variables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeployRequest<'a> {
    pub(crate) target: &'a Target,
    pub(crate) tag: &'a Tag,
    pub(crate) digest: Option<&'a Digest>,
    /// Of the image, where a step uses one.
    pub(crate) labels: &'a Labels,
    pub(crate) previous_tag: Option<&'a Tag>,
    /// UUID v7, the same in every attempt.
    pub(crate) deployment_id: &'a str,
    /// From 1.
    pub(crate) attempt: u32,
}

/// Callbacks that follow a running deployment.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    /// Called when a step starts, with its number from 1.
    pub(crate) on_step: &'a (dyn Fn(usize) + Sync),
    /// Called when a command has started, with the leader of its process group.
    pub(crate) on_start: &'a (dyn Fn(&Leader) + Sync),
    /// Called with the output of the steps: whole lines, secrets masked. None: no one reads it.
    pub(crate) on_output: Option<&'a (dyn Fn(&str) + Sync)>,
}

impl Watch<'_> {
    const NOBODY: Watch<'static> = Watch { on_step: &|_| {}, on_start: &|_| {}, on_output: None };
}

/// The result of an attempt.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<(), DeployError>,
    /// The exit status of the last command that ended by itself.
    pub(crate) exit_status: Option<i32>,
    /// The status of the last HTTP response.
    pub(crate) http_status: Option<u16>,
    /// The last 64 KiB of output and responses, secrets masked.
    pub(crate) output: String,
}

impl Outcome {
    /// Whether the attempt was interrupted, and the next run resumes it.
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
    /// A retry cannot succeed: 400, 401, 403, 405, 410, 413, 422.
    pub(crate) final_answer: bool,
    /// False: nothing was started or sent (the program is missing), and no attempt is used up.
    pub(crate) started: bool,
    /// The run ended first: the result is unknown, and the next run resumes the attempt.
    pub(crate) interrupted: bool,
}

/// Runs the target's steps in order, up to the first that fails.
///
/// `lock` is the target's held lock. It becomes the standard input of the commands, so that it lives as long
/// as they do.
pub(crate) fn deploy(
    request: &DeployRequest<'_>,
    secrets: &Secrets,
    lock: &File,
    stop: &Stop,
    watch: Watch<'_>,
) -> Outcome {
    carry_out(request, secrets, lock, stop, PATIENCE, watch)
}

/// A prepared step: placeholders rendered, secrets read.
trait Deployer {
    /// Runs the step, and records output and responses in `attempt`. Returns the response, if it is JSON.
    ///
    /// # Errors
    /// The step failed; secrets are masked.
    fn deploy(&self, attempt: &mut Attempt<'_>) -> Result<Option<Value>, DeployError>;
}

/// State shared by the steps of one attempt.
struct Attempt<'a> {
    secrets: &'a LearnedSecrets<'a>,
    lock: &'a File,
    stop: &'a Stop,
    watch: Watch<'a>,
    patience: Patience,
    transcript: Transcript<'a>,
    /// JSON pointers to the values in the step's response that later steps use as credentials.
    credentials: Vec<&'a str>,
    exit_status: Option<i32>,
    http_status: Option<u16>,
}

/// The limits for deployments. `grace` is also how long to wait for a response after tagship was told to
/// stop.
const PATIENCE: Patience =
    Patience { grace: Duration::from_secs(10), linger: Some(Duration::from_millis(500)) };

fn carry_out(
    request: &DeployRequest<'_>,
    secrets: &dyn StepSecrets,
    lock: &File,
    stop: &Stop,
    patience: Patience,
    watch: Watch<'_>,
) -> Outcome {
    let secrets = &LearnedSecrets::new(secrets);
    let mut attempt = Attempt {
        secrets,
        lock,
        stop,
        watch,
        patience,
        transcript: Transcript::new(secrets, watch.on_output),
        credentials: Vec::new(),
        exit_status: None,
        http_status: None,
    };
    let result = carry_out_steps(request, &mut attempt);
    Outcome {
        result,
        exit_status: attempt.exit_status,
        http_status: attempt.http_status,
        output: attempt.transcript.finish(),
    }
}

fn carry_out_steps<'a>(request: &DeployRequest<'a>, attempt: &mut Attempt<'a>) -> Result<(), DeployError> {
    let secrets = attempt.secrets;
    let steps = request.target.deploy.as_ref();
    // All steps are prepared before the first runs: a missing secret in the last one must not leave half a
    // deployment.
    for step in steps {
        made_ready(step, &Values::of(request, secrets, None))?;
    }
    let mut answers = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        (attempt.watch.on_step)(index + 1);
        let used = steps[index + 1..].iter().flat_map(Step::credentials);
        attempt.credentials =
            used.filter(|used| used.step == index + 1).map(|used| used.pointer.as_str()).collect();
        let result = match attempt.stop.signal() {
            Some(signal) => Err(DeployError::not_begun(signal)),
            None => made_ready(step, &Values::of(request, secrets, Some(&answers)))
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

    /// Something was started or sent, and a retry may succeed.
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
