//! Probes: ask a stage what it runs, by a command or a URL.

use std::fs::File;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::failure;
use super::command::CommandDeployer;
use super::placeholder::{MASK, Subject, Unfit, Values};
use super::request::HttpDeployer;
use super::step_secrets::StepSecrets;
use super::{DeployError, DeployRequest, Stop};
use crate::engine::{ErrorCode, Failure, ProbeAnswer};
use crate::mask::Outside;
use crate::secret::Secrets;
use crate::stop::{Cutoff, shown_duration};
use crate::target::Target;
use crate::target::probe::Probe;
use crate::target::step::Step;

/// How much of an answer a message contains.
const EXCERPT: usize = 200;

/// The pauses between probes while a deployment is verified: short at first, for quick deployments.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Asks the stage what it runs. Waits until the cutoff.
///
/// # Errors
/// It does not answer, or the answer is not a tag, image or digest (`running`); the cutoff was reached
/// (`out_of_time`). Secrets are masked.
pub(crate) fn running(
    target: &Target,
    running: &Probe,
    secrets: &Secrets,
    cutoff: &Cutoff,
) -> Result<ProbeAnswer, Failure> {
    let secrets: &dyn StepSecrets = secrets;
    let values =
        Values { target, subject: Subject::default(), secrets, answers: None, unfit: Unfit::Refused };
    let failure = |code, what: &str| Failure {
        code,
        message: secrets.mask(&format!("could not find out what the stage runs: {what}")),
    };
    let answer = answer(&running.probe, &values, cutoff).map_err(|error| {
        let code = if error.interrupted { ErrorCode::OutOfTime } else { ErrorCode::Running };
        failure(code, &error.message)
    })?;
    let reported = find(&answer, running.pointer.as_deref(), secrets).and_then(|found| {
        let shown = secrets.redact(&found).excerpt(EXCERPT);
        // A secret cannot be what the stage runs.
        let reported = ProbeAnswer::parse(&found.readable()).filter(|_| shown != MASK);
        reported.ok_or_else(|| format!("the answer {shown:?} is not a tag, image or digest"))
    });
    reported.map_err(|what| failure(ErrorCode::Running, &what))
}

/// After the last step: asks until the stage runs the deployed tag. Any other answer means "not yet".
///
/// # Errors
/// The stage does not run it within `verify_timeout`, or tagship was told to stop.
pub(crate) fn verify(request: &DeployRequest<'_>, secrets: &Secrets, stop: &Stop) -> Result<(), DeployError> {
    let DeployRequest { target, tag, digest, .. } = *request;
    let Some(probe) = &target.running else {
        return Ok(());
    };
    let (began, cutoff) = (Instant::now(), Cutoff::at_signal(stop));
    let mut pause = SHORTEST_PAUSE;
    loop {
        let answer = match running(target, probe, secrets, &cutoff) {
            Ok(reported) if reported.is(tag, digest, target.digest) => return Ok(()),
            Ok(reported) => format!("it runs {}", reported.name()),
            Err(failure) => failure.message,
        };
        // The probe was stopped at the cutoff, so its error says nothing about the stage.
        if began.elapsed() >= probe.verify_timeout && !cutoff.is_reached() {
            let timeout = shown_duration(probe.verify_timeout);
            let message = format!("the stage does not run {tag}, {timeout} after its deployment: {answer}");
            return Err(DeployError::failed(ErrorCode::Verify, secrets.mask(&message)));
        }
        if !cutoff.pause(pause) {
            let message = format!("tagship was told to stop before the stage ran {tag}");
            return Err(DeployError { interrupted: true, ..DeployError::failed(ErrorCode::Verify, message) });
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn answer(probe: &Step, values: &Values<'_>, cutoff: &Cutoff) -> Result<Outside<'static>, DeployError> {
    match probe {
        Step::Command(step) => {
            // Not the lock: a probe changes nothing, and must not block anything.
            let nothing = File::open("/dev/null").map_err(|error| {
                DeployError::before_start(ErrorCode::Running, format!("/dev/null: {error}"))
            })?;
            CommandDeployer::new(step, values)?.print(&nothing, cutoff, values.secrets)
        }
        Step::Http(step) => {
            let probe = HttpDeployer::new(step, values)?;
            let answer = probe.ask(cutoff)?;
            match failure(&answer, &step.success, probe.url(), values.secrets) {
                None => Ok(Outside::new(answer.body).cut_behind(answer.cut)),
                Some(what) => Err(DeployError::failed(ErrorCode::Http, format!("{}: {what}", probe.shown()))),
            }
        }
    }
}

/// The value at the pointer, or the whole answer.
fn find(
    answer: &Outside<'static>,
    pointer: Option<&str>,
    secrets: &dyn StepSecrets,
) -> Result<Outside<'static>, String> {
    let Some(pointer) = pointer else {
        return Ok(answer.clone());
    };
    let shown = || secrets.redact(answer).excerpt(EXCERPT);
    let json: Value = serde_json::from_slice(answer.bytes()).map_err(|_| format!("no JSON: {}", shown()))?;
    match json.pointer(pointer) {
        Some(Value::String(text)) => Ok(Outside::new(text.clone().into_bytes())),
        Some(Value::Number(number)) => Ok(Outside::new(number.to_string().into_bytes())),
        _ => Err(format!("no text at {pointer}: {}", shown())),
    }
}
