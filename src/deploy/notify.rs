//! Sends a notification: one step whose placeholders describe the event.

use std::fs::File;
use std::time::Duration;

use jiff::Timestamp;

use super::command::CommandDeployer;
use super::placeholder::{Batch, Subject, Unfit, Values};
use super::step_secrets::LearnedSecrets;
use super::transcript::Transcript;
use super::{Attempt, DeployError, Deployer as _, HttpDeployer, Patience, Stop, Watch};
use crate::engine::ErrorCode;
use crate::reference::{Digest, Labels, Tag};
use crate::secret::Secrets;
use crate::target::Target;
use crate::target::step::Step;

/// A notification: an event of a target, or a batch of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// The same for every attempt to send it.
    pub(crate) id: &'a str,
    /// When the event, or the last event of a batch, happened.
    pub(crate) time: Timestamp,
    pub(crate) content: MessageContent<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum MessageContent<'a> {
    One(EventReport<'a>),
    /// The number of events, and one line for each.
    Batch {
        count: usize,
        lines: &'a str,
    },
}

/// An event of a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventReport<'a> {
    /// An event of `on`: `failed`.
    pub(crate) status: &'a str,
    pub(crate) tag: Option<&'a Tag>,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) labels: &'a Labels,
    pub(crate) previous_tag: Option<&'a Tag>,
    pub(crate) deployment_id: Option<&'a str>,
    /// Secrets masked.
    pub(crate) error: Option<&'a str>,
    /// The web page of the tag, or of the image if there is no tag.
    pub(crate) page: Option<&'a str>,
}

/// After a signal, sending ends within a second, because a ping follows. Unsent messages stay in the outbox.
const PATIENCE: Patience =
    Patience { grace: Duration::from_millis(200), linger: Some(Duration::from_millis(200)) };

/// Sends the message within this time, even if the step's own timeout is longer. `target`: for a batch, any
/// of its targets.
///
/// # Errors
/// The receiver did not accept it.
pub(crate) fn notify(
    target: &Target,
    step: &Step,
    message: &Message<'_>,
    secrets: &Secrets,
    stop: &Stop,
    within: Duration,
) -> Result<(), DeployError> {
    let secrets = &LearnedSecrets::new(secrets);
    let of_both = Subject { id: Some(message.id), time: Some(message.time), ..Subject::default() };
    let subject = match message.content {
        MessageContent::One(EventReport {
            status,
            tag,
            digest,
            labels,
            previous_tag,
            deployment_id,
            error,
            page,
        }) => {
            let (status, labels) = (Some(status), Some(labels));
            Subject { tag, digest, labels, previous_tag, deployment_id, status, error, page, ..of_both }
        }
        MessageContent::Batch { count, lines } => Subject { batch: Some(Batch { count, lines }), ..of_both },
    };
    let values = Values { target, subject, secrets, answers: None, unfit: Unfit::Replaced };
    let nothing = File::open("/dev/null")
        .map_err(|error| DeployError::before_start(ErrorCode::Command, format!("/dev/null: {error}")))?;
    let mut attempt = Attempt {
        watch: Watch::NOBODY,
        secrets,
        lock: &nothing,
        stop,
        patience: PATIENCE,
        transcript: Transcript::new(secrets, None),
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
