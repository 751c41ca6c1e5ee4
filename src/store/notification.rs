//! The outbox: notifications, kept until they are sent.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::row::{next_attempt, optional, parsed, target_id};
use super::write::{Attempt, Write, text};
use crate::engine::{Change, Deployment, Failure, NextAttempt, Notification, Status};
use crate::reference::{Digest, Tag};
use crate::target::TargetId;
use crate::target::notifier::{Notifier, NotifyEvent};

const COLUMNS: &str = "id, receiver, project, stage, event, tag, digest, previous_tag, deployment_id, error, \
    created_at, attempts, next_attempt_at, failed_at";

/// Unsent notifications, oldest first.
pub(super) fn unsent(connection: &Connection) -> rusqlite::Result<Vec<Notification>> {
    let query = format!("SELECT {COLUMNS} FROM notification WHERE ended_at IS NULL ORDER BY created_at, id");
    let mut statement = connection.prepare_cached(&query)?;
    statement.query_map([], notification)?.collect()
}

fn notification(row: &Row<'_>) -> rusqlite::Result<Notification> {
    Ok(Notification {
        id: row.get("id")?,
        receiver: row.get("receiver")?,
        target: target_id(row)?,
        event: parsed(row, "event", NotifyEvent::from_str)?,
        tag: optional(row, "tag", Tag::new)?,
        digest: optional(row, "digest", Digest::new)?,
        previous_tag: optional(row, "previous_tag", Tag::new)?,
        deployment_id: row.get("deployment_id")?,
        error: row.get("error")?,
        created_at: parsed(row, "created_at", Timestamp::from_str)?,
        attempts: row.get("attempts")?,
        next_attempt: next_attempt(row)?,
    })
}

impl Write<'_> {
    /// Enqueues the outcome of a deployment for each receiver.
    pub(super) fn enqueue(
        &self,
        notifiers: &[Notifier],
        change: &Change,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let (Some(deployment), Some(status)) = (&change.notify, change.state.status) else {
            return Ok(());
        };
        let target = &deployment.target;
        let events: &[NotifyEvent] = match status {
            Status::Failed => &[NotifyEvent::Failed],
            Status::Dead => &[NotifyEvent::Dead],
            Status::RolledBack => &[NotifyEvent::RolledBack],
            Status::Deployed | Status::Adopted if self.had_failed(deployment, status)? => {
                &[NotifyEvent::Recovered, NotifyEvent::Deployed]
            }
            Status::Deployed | Status::Adopted => &[NotifyEvent::Deployed],
            _ => &[],
        };
        for notifier in notifiers {
            for event in events.iter().filter(|event| notifier.wants(**event, target)) {
                let of = Notified { deployment_id: Some(&deployment.id), ..Notified::default() };
                // A deployment that keeps failing is reported once; each time tagship gives up on it, again.
                if *event == NotifyEvent::Failed
                    && self.is_enqueued(&notifier.receiver, target, *event, of)?
                {
                    continue;
                }
                let id = uuid::Uuid::now_v7().to_string();
                self.insert_notification(&Notification {
                    tag: Some(deployment.tag.clone()),
                    digest: deployment.digest.clone(),
                    previous_tag: deployment.previous_tag.clone(),
                    deployment_id: Some(deployment.id.clone()),
                    error: change.failure.as_ref().map(Failure::described),
                    ..Notification::new(id, &notifier.receiver, target, *event, now)
                })?;
            }
        }
        Ok(())
    }

    /// Whether the previous attempt, of any deployment of the target, failed. An adopted deployment had no
    /// attempt.
    fn had_failed(&self, deployment: &Deployment, status: Status) -> rusqlite::Result<bool> {
        let number = if status == Status::Deployed { deployment.attempts } else { u32::MAX };
        let attempt = Attempt { deployment_id: &deployment.id, number };
        self.last_attempt_failed(&deployment.target, attempt)
    }

    pub(crate) fn insert_notification(&self, notification: &Notification) -> rusqlite::Result<()> {
        let query = format!(
            "INSERT INTO notification ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, NULL, NULL)"
        );
        self.transaction().prepare_cached(&query)?.execute(params![
            notification.id,
            notification.receiver,
            notification.target.project.as_str(),
            notification.target.stage.as_str(),
            notification.event.as_str(),
            notification.tag.as_ref().map(|tag| tag.as_str()),
            notification.digest.as_ref().map(Digest::as_str),
            notification.previous_tag.as_ref().map(|tag| tag.as_str()),
            notification.deployment_id,
            notification.error,
            text(notification.created_at),
        ])?;
        Ok(())
    }

    /// Whether this event was enqueued for the receiver before: for this deployment, this tag, or since this
    /// time, if given.
    pub(crate) fn is_enqueued(
        &self,
        receiver: &str,
        target: &TargetId,
        event: NotifyEvent,
        of: Notified<'_>,
    ) -> rusqlite::Result<bool> {
        let query = "SELECT EXISTS (SELECT 1 FROM notification
             WHERE project = ?1 AND stage = ?2 AND event = ?3 AND receiver = ?4
             AND (?5 IS NULL OR deployment_id = ?5) AND (?6 IS NULL OR tag = ?6) AND (?7 IS NULL OR created_at >= ?7))";
        self.transaction().prepare_cached(query)?.query_row(
            params![
                target.project.as_str(),
                target.stage.as_str(),
                event.as_str(),
                receiver,
                of.deployment_id,
                of.tag.map(|tag| tag.as_str()),
                of.since.map(text),
            ],
            |row| row.get(0),
        )
    }

    /// Removes it: it was sent, tagship gave up on it, or its receiver or target left the configuration.
    pub(crate) fn end_notification(&self, id: &str, now: Timestamp) -> rusqlite::Result<()> {
        let query = "UPDATE notification SET ended_at = ?2 WHERE id = ?1";
        self.transaction().prepare_cached(query)?.execute(params![id, text(now)])?;
        Ok(())
    }

    /// Gives it to another receiver, which did not fail yet.
    pub(crate) fn readdress_notification(&self, id: &str, receiver: &str) -> rusqlite::Result<()> {
        let query =
            "UPDATE notification SET receiver = ?2, attempts = 0, next_attempt_at = NULL, failed_at = NULL
             WHERE id = ?1";
        self.transaction().prepare_cached(query)?.execute(params![id, receiver])?;
        Ok(())
    }

    /// Records a failed attempt: it will be sent again.
    pub(crate) fn postpone_notification(&self, id: &str, next: NextAttempt) -> rusqlite::Result<()> {
        let query = "UPDATE notification SET attempts = attempts + 1, next_attempt_at = ?2, failed_at = ?3
             WHERE id = ?1";
        self.transaction().prepare_cached(query)?.execute(params![
            id,
            text(next.at),
            text(next.failed_at)
        ])?;
        Ok(())
    }
}

/// The subject of a notification; without fields: any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notified<'a> {
    pub(crate) deployment_id: Option<&'a str>,
    pub(crate) tag: Option<&'a Tag>,
    pub(crate) since: Option<Timestamp>,
}
