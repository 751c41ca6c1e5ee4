//! Telling people: one step, with what happened in its placeholders.

use std::fs::File;
use std::time::Duration;

use super::command::CommandDeployer;
use super::placeholder::{Subject, Unfit, Values};
use super::transcript::Transcript;
use super::vault::Learning;
use super::{Attempt, DeployError, Deployer as _, HttpDeployer, Patience, Stop, Watch};
use crate::plan::ErrorCode;
use crate::reference::{Digest, Tag};
use crate::secret::Secrets;
use crate::target::Target;
use crate::target::step::Step;

/// Something that happened to a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News<'a> {
    /// The same however often it is sent.
    pub(crate) id: &'a str,
    /// An event of `on`: `failed`.
    pub(crate) status: &'a str,
    pub(crate) tag: Option<&'a Tag>,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) previous_tag: Option<&'a Tag>,
    pub(crate) deployment_id: Option<&'a str>,
    /// Secrets masked.
    pub(crate) error: Option<&'a str>,
}

/// When tagship is told to stop, it ends within a second, and a ping follows: what was not received stays in the outbox.
const PATIENCE: Patience =
    Patience { grace: Duration::from_millis(200), linger: Some(Duration::from_millis(200)) };

/// Tells the news by the step, `within` this time, whatever the step's own timeout is.
///
/// # Errors
/// It was not received.
pub(crate) fn notify(
    target: &Target,
    step: &Step,
    news: &News<'_>,
    secrets: &Secrets,
    stop: &Stop,
    within: Duration,
) -> Result<(), DeployError> {
    let News { id, status, tag, digest, previous_tag, deployment_id, error } = *news;
    let vault = &Learning::new(secrets);
    let subject = Subject {
        tag,
        digest,
        previous_tag,
        deployment_id,
        id: Some(id),
        status: Some(status),
        error,
        attempt: None,
    };
    let values = Values { target, subject, vault, answers: None, unfit: Unfit::Replaced };
    let nothing = File::open("/dev/null")
        .map_err(|error| DeployError::before_start(ErrorCode::Command, format!("/dev/null: {error}")))?;
    let mut attempt = Attempt {
        watch: Watch::NOBODY,
        vault,
        lock: &nothing,
        stop,
        patience: PATIENCE,
        transcript: Transcript::new(vault, None),
        credentials: Vec::new(),
        exit_status: None,
        http_status: None,
    };
    match step {
        Step::Command(step) => CommandDeployer::new(step, &values)?.within(within).deploy(&mut attempt)?,
        Step::Http(step) => HttpDeployer::new(step, &values)?.within(within).deploy(&mut attempt)?,
    };
    Ok(())
}
