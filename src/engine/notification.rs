//! What people are to be told, as the state keeps it until they were.

use jiff::Timestamp;

use super::state::NextAttempt;
use crate::reference::{Digest, Tag};
use crate::target::TargetId;
use crate::target::notifier::Event;

/// An event of a target for one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    /// UUID v7, the same however often it is sent.
    pub(crate) id: String,
    /// See `Notifier`.
    pub(crate) receiver: String,
    pub(crate) target: TargetId,
    pub(crate) event: Event,
    pub(crate) tag: Option<Tag>,
    pub(crate) digest: Option<Digest>,
    pub(crate) previous_tag: Option<Tag>,
    pub(crate) deployment_id: Option<String>,
    /// Secrets masked.
    pub(crate) error: Option<String>,
    pub(crate) created_at: Timestamp,
    /// How often it was sent in vain.
    pub(crate) attempts: u32,
    /// Not before then; None: at once.
    pub(crate) next_attempt: Option<NextAttempt>,
}

impl Notification {
    /// One that is to be sent, with nothing but the event.
    pub(crate) fn new(
        id: String,
        receiver: &str,
        target: &TargetId,
        event: Event,
        now: Timestamp,
    ) -> Notification {
        Notification {
            id,
            receiver: receiver.to_owned(),
            target: target.clone(),
            event,
            tag: None,
            digest: None,
            previous_tag: None,
            deployment_id: None,
            error: None,
            created_at: now,
            attempts: 0,
            next_attempt: None,
        }
    }
}
