//! Asks the `gate` steps of a stage whether a tag may be deployed.

use std::fs::File;

use super::DeployError;
use super::answer::failure;
use super::command::{CommandDeployer, Consent};
use super::placeholder::{Subject, Unfit, Values};
use super::request::HttpDeployer;
use super::step_secrets::StepSecrets;
use crate::engine::{ErrorCode, Failure};
use crate::reference::{Digest, Labels, Tag};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::target::Target;
use crate::target::step::Step;

/// The image to be deployed, if the gates agree.
#[derive(Clone, Debug)]
pub(crate) struct GatedImage<'a> {
    pub(crate) tag: &'a Tag,
    pub(crate) digest: &'a Digest,
    pub(crate) labels: &'a Labels,
    pub(crate) previous_tag: Option<Tag>,
}

/// Asks the gates in order. Returns why the first one refuses, with secrets masked.
///
/// # Errors
/// A gate cannot be run or gives no answer in time (`gate`), or the cutoff was reached (`out_of_time`).
pub(crate) fn ask_gates(
    target: &Target,
    content: &GatedImage<'_>,
    secrets: &Secrets,
    cutoff: &Cutoff,
) -> Result<Result<(), String>, Failure> {
    let secrets: &dyn StepSecrets = secrets;
    let subject = Subject {
        tag: Some(content.tag),
        digest: Some(content.digest),
        labels: Some(content.labels),
        previous_tag: content.previous_tag.as_ref(),
        ..Subject::default()
    };
    let values = Values { target, subject, secrets, answers: None, unfit: Unfit::Refused };
    for step in &target.gates.steps {
        let asked = ask(step, &values, cutoff).map_err(|error| Failure {
            code: if error.interrupted { ErrorCode::OutOfTime } else { ErrorCode::Gate },
            message: secrets.mask(&format!("gate of {}: {}", content.tag, error.message)),
        })?;
        if let Err(why) = asked {
            return Ok(Err(secrets.mask(&why)));
        }
    }
    Ok(Ok(()))
}

/// The inner error: why it refuses.
fn ask(step: &Step, values: &Values<'_>, cutoff: &Cutoff) -> Result<Result<(), String>, DeployError> {
    match step {
        Step::Command(step) => {
            // Not the lock: a gate changes nothing, and must not block anything.
            let nothing = File::open("/dev/null")
                .map_err(|error| DeployError::before_start(ErrorCode::Gate, format!("/dev/null: {error}")))?;
            Ok(match CommandDeployer::new(step, values)?.ask(&nothing, cutoff, values.secrets)? {
                Consent::Given => Ok(()),
                Consent::Refused(why) => Err(why),
            })
        }
        Step::Http(step) => {
            let gate = HttpDeployer::new(step, values)?;
            let answer = gate.ask(cutoff)?;
            let refusal = failure(&answer, &step.success, gate.url(), values.secrets);
            Ok(refusal.map_or(Ok(()), |why| Err(format!("{}: {why}", gate.shown()))))
        }
    }
}
