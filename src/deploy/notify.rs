//! Telling people: one step, with what happened in its placeholders.

use std::fs::File;

use super::command::CommandDeployer;
use super::placeholder::{Subject, Unfit, Values};
use super::transcript::Transcript;
use super::vault::Learning;
use super::{Attempt, DeployError, Deployer as _, HttpDeployer, Patience, Stop};
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

/// Tells the news by the step.
///
/// # Errors
/// It was not received.
pub(crate) fn notify(
    target: &Target,
    step: &Step,
    news: &News<'_>,
    secrets: &Secrets,
    stop: &Stop,
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
        watch: &|_| {},
        vault,
        lock: &nothing,
        stop,
        patience: Patience::DEFAULT,
        transcript: Transcript::new(vault, &|_| {}),
        credentials: Vec::new(),
        exit_status: None,
        http_status: None,
    };
    match step {
        Step::Command(step) => CommandDeployer::new(step, &values)?.deploy(&mut attempt)?,
        Step::Http(step) => HttpDeployer::new(step, &values)?.deploy(&mut attempt)?,
    };
    Ok(())
}
