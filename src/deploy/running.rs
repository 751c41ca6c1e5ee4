//! Asking a stage what it runs: by a command that prints it, or an URL that answers it.

use std::fs::File;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::failure;
use super::command::CommandDeployer;
use super::placeholder::{MASK, Subject, Unfit, Values};
use super::request::HttpDeployer;
use super::vault::Vault;
use super::{DeployError, Handover, Stop};
use crate::engine::{ErrorCode, Failure, ProbeAnswer};
use crate::secret::{Outside, Secrets};
use crate::stop::{Cutoff, shown_duration};
use crate::target::Target;
use crate::target::probe::Probe;
use crate::target::step::Step;

/// How much of an answer a message shows.
const EXCERPT: usize = 200;

/// Between two questions while a deployment is verified: short at first, for what is quick.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Asks the stage what it runs, until the cutoff.
///
/// # Errors
/// It does not answer, or what it answers is no tag, image or digest; `out_of_time` where the cutoff was reached.
/// Secrets are masked.
pub(crate) fn running(
    target: &Target,
    running: &Probe,
    secrets: &Secrets,
    cutoff: &Cutoff,
) -> Result<ProbeAnswer, Failure> {
    let vault: &dyn Vault = secrets;
    let values = Values { target, subject: Subject::default(), vault, answers: None, unfit: Unfit::Refused };
    let failure = |code, what: &str| Failure {
        code,
        message: vault.mask(&format!("the stage does not say what it runs: {what}")),
    };
    let answer = answer(&running.probe, &values, cutoff).map_err(|error| {
        let code = if error.interrupted { ErrorCode::OutOfTime } else { ErrorCode::Running };
        failure(code, &error.message)
    })?;
    let reported = find(&answer, running.pointer.as_deref(), vault).and_then(|found| {
        let shown = vault.redact(&found).excerpt(EXCERPT);
        // A stage that repeats a secret does not run it.
        let reported = ProbeAnswer::parse(&found.readable()).filter(|_| shown != MASK);
        reported.ok_or_else(|| format!("it answers {shown:?}, which is no tag, image or digest"))
    });
    reported.map_err(|what| failure(ErrorCode::Running, &what))
}

/// After the last step: asks until the stage runs what was deployed. What it ran before means "not yet".
///
/// # Errors
/// It does not, when `verify_timeout` is over, or tagship was told to stop meanwhile.
pub(crate) fn verify(handover: &Handover<'_>, secrets: &Secrets, stop: &Stop) -> Result<(), DeployError> {
    let Handover { target, tag, digest, .. } = *handover;
    let Some(probe) = &target.running else {
        return Ok(());
    };
    let (began, cutoff) = (Instant::now(), Cutoff::at_signal(stop));
    let mut pause = SHORTEST_PAUSE;
    loop {
        let said = match running(target, probe, secrets, &cutoff) {
            Ok(reported) if reported.is(tag, digest, target.digest) => return Ok(()),
            Ok(reported) => format!("it runs {}", reported.name()),
            Err(failure) => failure.message,
        };
        // At the cutoff the probe was stopped, and says nothing of the stage.
        if began.elapsed() >= probe.verify_timeout && !cutoff.is_reached() {
            let timeout = shown_duration(probe.verify_timeout);
            let message = format!("the stage was given {tag} and does not run it after {timeout}: {said}");
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
            // Not the lock: a probe changes nothing, and must not hold anything up.
            let nothing = File::open("/dev/null").map_err(|error| {
                DeployError::before_start(ErrorCode::Running, format!("/dev/null: {error}"))
            })?;
            CommandDeployer::new(step, values)?.print(&nothing, cutoff, values.vault)
        }
        Step::Http(step) => {
            let probe = HttpDeployer::new(step, values)?;
            let answer = probe.ask(cutoff)?;
            match failure(&answer, &step.success, probe.url(), values.vault) {
                None => Ok(Outside::new(answer.body).cut_behind(answer.cut)),
                Some(what) => Err(DeployError::failed(ErrorCode::Http, format!("{}: {what}", probe.shown()))),
            }
        }
    }
}

/// What the pointer points to, or the whole answer.
fn find(
    answer: &Outside<'static>,
    pointer: Option<&str>,
    vault: &dyn Vault,
) -> Result<Outside<'static>, String> {
    let Some(pointer) = pointer else {
        return Ok(answer.clone());
    };
    let shown = || vault.redact(answer).excerpt(EXCERPT);
    let json: Value = serde_json::from_slice(answer.bytes()).map_err(|_| format!("no JSON: {}", shown()))?;
    match json.pointer(pointer) {
        Some(Value::String(text)) => Ok(Outside::new(text.clone().into_bytes())),
        Some(Value::Number(number)) => Ok(Outside::new(number.to_string().into_bytes())),
        _ => Err(format!("there is no text at {pointer}: {}", shown())),
    }
}
