//! A notification, which the state keeps until it is sent.

use jiff::Timestamp;

use super::state::NextAttempt;
use crate::reference::{Digest, Tag};
use crate::target::TargetId;
use crate::target::notifier::NotifyEvent;

/// An event of a target for one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    /// UUID v7, the same in every attempt to send it.
    pub(crate) id: String,
    /// See `Notifier`.
    pub(crate) receiver: String,
    pub(crate) target: TargetId,
    pub(crate) event: NotifyEvent,
    pub(crate) tag: Option<Tag>,
    pub(crate) digest: Option<Digest>,
    pub(crate) previous_tag: Option<Tag>,
    pub(crate) deployment_id: Option<String>,
    /// Secrets masked.
    pub(crate) error: Option<String>,
    pub(crate) created_at: Timestamp,
    /// How many attempts to send it failed.
    pub(crate) attempts: u32,
    /// The earliest next attempt; None: now.
    pub(crate) next_attempt: Option<NextAttempt>,
}

impl Notification {
    /// A new notification with nothing but its event.
    pub(crate) fn new(
        id: String,
        receiver: &str,
        target: &TargetId,
        event: NotifyEvent,
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
