//! The operations of a write transaction.

use std::str::FromStr as _;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::Serialize;

use super::row;
use crate::engine::first_seen::SeenTag;
use crate::engine::{
    self, Change, Deployment, DeploymentRow, DeploymentState, ErrorCode, Monitor, MonitorOutage,
    OpenDeployments, PollState, StageRun, TargetEvent, Trigger,
};
use crate::process::Leader;
use crate::reference::{Digest, Repository, Tag};
use crate::registry::Limit;
use crate::target::notifier::Notifier;
use crate::target::{Target, TargetId};

/// An open transaction. Nothing is visible or stored until it is committed.
pub(crate) struct Write<'a>(&'a Transaction<'a>);

/// An attempt of a deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) deployment_id: &'a str,
    /// From 1.
    pub(crate) number: u32,
}

/// How an attempt ended; without an error it succeeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptEnd<'a> {
    pub(crate) exit_status: Option<i32>,
    pub(crate) http_status: Option<u16>,
    pub(crate) error: Option<(ErrorCode, &'a str)>,
}

impl<'a> Write<'a> {
    pub(super) fn new(transaction: &'a Transaction<'a>) -> Write<'a> {
        Write(transaction)
    }

    pub(super) fn transaction(&self) -> &Transaction<'a> {
        self.0
    }

    pub(crate) fn state(&self, id: &TargetId) -> rusqlite::Result<Option<PollState>> {
        let mut statement = self.0.prepare_cached(row::ONE_STATE)?;
        let found = statement.query_row(params![id.project.as_str(), id.stage.as_str()], row::state);
        found.optional()?.map(|(_, state)| state).transpose()
    }

    pub(super) fn save_state(&self, id: &TargetId, state: &PollState) -> rusqlite::Result<()> {
        let query = "INSERT INTO poll_state (project, stage, polled_at, checked_at, document, version)
             VALUES (?1, ?2, ?3, ?4, ?5, 1)
             ON CONFLICT DO UPDATE SET polled_at = ?3, checked_at = ?4, document = ?5, left_at = NULL,
             version = version + 1, round = NULL";
        self.0.prepare_cached(query)?.execute(params![
            id.project.as_str(),
            id.stage.as_str(),
            state.polled_at.map(text),
            state.checked_at.map(text),
            as_json(state),
        ])?;
        Ok(())
    }

    /// Records that targets were polled without any other change. `rounds`: complete rounds of these targets;
    /// `others`: the remaining targets, which become a new round.
    pub(crate) fn touch(&self, rounds: &[i64], others: &[&TargetId], now: Timestamp) -> rusqlite::Result<()> {
        let now = text(now);
        for round in rounds {
            let query = "UPDATE round SET polled_at = ?2 WHERE id = ?1";
            self.0.prepare_cached(query)?.execute(params![round, now])?;
        }
        if others.is_empty() {
            return Ok(());
        }
        // Here, because rows are written anyway.
        self.0.execute(
            "DELETE FROM round WHERE id NOT IN (SELECT round FROM poll_state WHERE round > 0)",
            [],
        )?;
        self.0.execute("INSERT INTO round (polled_at) VALUES (?1)", [&now])?;
        let round = self.0.last_insert_rowid();
        let query = "UPDATE poll_state SET round = ?3 WHERE project = ?1 AND stage = ?2";
        let mut statement = self.0.prepare_cached(query)?;
        for id in others {
            statement.execute(params![id.project.as_str(), id.stage.as_str(), round])?;
        }
        Ok(())
    }

    /// Records that a monitor's outage was reported to people, or that it is over.
    pub(crate) fn set_monitor_outage(
        &self,
        monitor: Monitor,
        outage: Option<MonitorOutage>,
    ) -> rusqlite::Result<()> {
        let monitor: &str = monitor.into();
        match outage {
            Some(MonitorOutage { since, reported_at }) => self.0.execute(
                "INSERT OR REPLACE INTO monitor_outage (monitor, since, reported_at) VALUES (?1, ?2, ?3)",
                params![monitor, text(since), text(reported_at)],
            )?,
            None => self.0.execute("DELETE FROM monitor_outage WHERE monitor = ?1", [monitor])?,
        };
        Ok(())
    }

    /// Records until when a registry must not be contacted.
    pub(crate) fn save_limit(&self, registry: &str, limit: Limit) -> rusqlite::Result<()> {
        let query = "INSERT OR REPLACE INTO registry (registry, not_before, said_at) VALUES (?1, ?2, ?3)";
        self.0.prepare_cached(query)?.execute(params![
            registry,
            text(limit.not_before),
            text(limit.said_at)
        ])?;
        Ok(())
    }

    /// Records when tags were first seen, and their images. Earlier records stay.
    pub(crate) fn add_seen_tags(&self, id: &TargetId, seen: &[(Tag, SeenTag)]) -> rusqlite::Result<()> {
        let query = "INSERT INTO sighting (project, stage, tag, first_seen, digest, created)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
             SET digest = coalesce(digest, excluded.digest), created = coalesce(created, excluded.created)";
        let mut statement = self.0.prepare_cached(query)?;
        for (tag, SeenTag { first_seen, image }) in seen {
            statement.execute(params![
                id.project.as_str(),
                id.stage.as_str(),
                tag.as_str(),
                first_seen.to_string(),
                image.as_ref().map(|image| image.digest.as_str()),
                image.as_ref().and_then(|image| image.created).map(text),
            ])?;
        }
        Ok(())
    }

    pub(crate) fn open_deployments(&self, id: &TargetId) -> rusqlite::Result<OpenDeployments> {
        let mut statement = self.0.prepare_cached(&row::open_deployments_of_target())?;
        let mut open = OpenDeployments::default();
        for deployment in
            statement.query_map(params![id.project.as_str(), id.stage.as_str()], row::deployment)?
        {
            open.insert(deployment?);
        }
        Ok(open)
    }

    /// The tags of this image that a stage ran, earliest first.
    pub(crate) fn runs_of(&self, id: &TargetId, image: &Repository) -> rusqlite::Result<Vec<StageRun>> {
        row::runs(self.0, id, Some(image))
    }

    /// See [`Facts::was_given`](engine::Facts::was_given).
    pub(crate) fn was_given(&self, id: &TargetId, tag: &Tag) -> rusqlite::Result<bool> {
        Ok(row::given(self.0, id)?.get(tag).is_some_and(|given| given.is_since_reset))
    }

    /// See [`engine::is_current`].
    pub(crate) fn is_current(&self, deployment: &Deployment) -> rusqlite::Result<bool> {
        let (id, state) = (&deployment.target, self.state(&deployment.target)?);
        Ok(engine::is_current(state.as_ref(), &self.open_deployments(id)?, deployment))
    }

    /// Applies an event to a target and saves the changes. None: the event is about a deployment that is no
    /// longer the current one.
    pub(crate) fn commit(
        &self,
        target: &Target,
        notifiers: &[Notifier],
        event: TargetEvent<'_>,
        now: Timestamp,
    ) -> rusqlite::Result<Option<Change>> {
        let (before, open) = (self.state(&target.id)?, self.open_deployments(&target.id)?);
        let change = engine::transition(target, before.as_ref(), &open, event, now);
        if let Some(change) = &change {
            self.save(&target.id, change, now)?;
            self.enqueue(notifiers, change, now)?;
        }
        Ok(change)
    }

    /// Saves the state and the deployments of a change.
    pub(crate) fn save(&self, id: &TargetId, change: &Change, now: Timestamp) -> rusqlite::Result<()> {
        for row in &change.rows {
            if !self.update_deployment(row, now)? {
                self.insert_deployment(&row.deployment)?;
                self.update_deployment(row, now)?;
            }
        }
        self.save_state(id, &change.state)
    }

    /// False: the deployment is not in the table yet.
    pub(super) fn update_deployment(&self, row: &DeploymentRow, now: Timestamp) -> rusqlite::Result<bool> {
        let query =
            "UPDATE deployment SET state = ?2, attempts = ?3, attempts_forgiven = ?4, next_attempt_at = ?5,
             failed_at = ?6, reason = ?7, ended_at = ?8,
             sequence = (SELECT version FROM poll_state AS state
                 WHERE (state.project, state.stage) = (deployment.project, deployment.stage)) WHERE id = ?1";
        let DeploymentRow { deployment, reason } = row;
        let is_open = matches!(deployment.state, DeploymentState::Pending | DeploymentState::Running);
        let changed = self.0.prepare_cached(query)?.execute(params![
            deployment.id,
            deployment.state.as_str(),
            deployment.attempts,
            deployment.attempts_forgiven,
            deployment.next_attempt.map(|next| text(next.at)),
            deployment.next_attempt.map(|next| text(next.failed_at)),
            reason,
            (!is_open).then(|| text(now)),
        ])?;
        Ok(changed > 0)
    }

    /// Records a deployment. It supersedes the target's dead one, except for a mark, whose own event decides
    /// that.
    pub(super) fn insert_deployment(&self, deployment: &Deployment) -> rusqlite::Result<()> {
        if deployment.by != Trigger::Mark && !deployment.is_automatic_rollback() {
            let query = "UPDATE deployment SET state = 'superseded', reason = reason || '; then came ' || ?3
                 WHERE state = 'dead' AND project = ?1 AND stage = ?2";
            self.0.prepare_cached(query)?.execute(params![
                deployment.target.project.as_str(),
                deployment.target.stage.as_str(),
                deployment.tag.as_str(),
            ])?;
        }
        self.0.prepare_cached(&row::insert_deployment())?.execute(params![
            deployment.id,
            deployment.target.project.as_str(),
            deployment.target.stage.as_str(),
            deployment.registry.as_str(),
            deployment.repository.as_str(),
            deployment.tag.as_str(),
            deployment.digest.as_ref().map(Digest::as_str),
            deployment.previous_tag.as_ref().map(|tag| tag.as_str()),
            deployment.by.as_str(),
            deployment.state.as_str(),
            deployment.attempts,
            deployment.attempts_forgiven,
            deployment.next_attempt.map(|next| text(next.at)),
            deployment.next_attempt.map(|next| text(next.failed_at)),
            text(deployment.created_at),
            deployment.goes_back,
            deployment.high_water_before.as_ref().map(as_json),
            deployment.by_whom,
        ])?;
        Ok(())
    }

    /// Marks the deployment as running and counts the attempt, before anything is started. `over_by`: the
    /// time by which its steps have ended or been stopped.
    pub(crate) fn begin_attempt(
        &self,
        attempt: Attempt<'_>,
        now: Timestamp,
        over_by: Timestamp,
    ) -> rusqlite::Result<()> {
        let query = "UPDATE deployment SET state = 'running', attempts = ?2 WHERE id = ?1";
        self.0.prepare_cached(query)?.execute(params![attempt.deployment_id, attempt.number])?;
        let query = "UPDATE poll_state SET version = version + 1
             WHERE (project, stage) = (SELECT project, stage FROM deployment WHERE id = ?1)";
        self.0.prepare_cached(query)?.execute(params![attempt.deployment_id])?;
        let query = "INSERT OR REPLACE INTO attempt (deployment_id, number, started_at, over_by, sequence)
             VALUES (?1, ?2, ?3, ?4, (SELECT version FROM poll_state JOIN deployment USING (project, stage) WHERE id = ?1))";
        let values = params![attempt.deployment_id, attempt.number, text(now), text(over_by)];
        self.0.prepare_cached(query)?.execute(values)?;
        Ok(())
    }

    /// Records the process of the attempt's current command, instead of the previous one.
    pub(crate) fn save_leader(&self, attempt: Attempt<'_>, leader: &Leader) -> rusqlite::Result<()> {
        let query = "UPDATE attempt SET leader_id = ?3, leader_started = ?4, leader_boot_id = ?5
             WHERE deployment_id = ?1 AND number = ?2";
        self.0.prepare_cached(query)?.execute(params![
            attempt.deployment_id,
            attempt.number,
            leader.id,
            leader.started,
            leader.boot_id,
        ])?;
        Ok(())
    }

    pub(crate) fn end_attempt(
        &self,
        attempt: Attempt<'_>,
        end: AttemptEnd<'_>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let query = "UPDATE attempt SET ended_at = ?3, exit_status = ?4, http_status = ?5, error_code = ?6, error = ?7
             WHERE deployment_id = ?1 AND number = ?2";
        self.0.prepare_cached(query)?.execute(params![
            attempt.deployment_id,
            attempt.number,
            text(now),
            end.exit_status,
            end.http_status,
            end.error.map(|(code, _)| code.as_str()),
            end.error.map(|(_, message)| message),
        ])?;
        Ok(())
    }

    /// Whether the attempt before this one, of any deployment of the target, failed.
    pub(super) fn last_attempt_failed(
        &self,
        target: &TargetId,
        attempt: Attempt<'_>,
    ) -> rusqlite::Result<bool> {
        let query = format!(
            "SELECT error_code IS NOT NULL FROM deployment JOIN attempt ON deployment_id = id
             WHERE project = ?1 AND stage = ?2 AND NOT (deployment_id = ?3 AND number = ?4)
             ORDER BY {} LIMIT 1",
            row::LATEST_ATTEMPT_FIRST
        );
        let (project, stage) = (target.project.as_str(), target.stage.as_str());
        let found = self
            .0
            .prepare_cached(&query)?
            .query_row(params![project, stage, attempt.deployment_id, attempt.number], |row| row.get(0));
        Ok(found.optional()?.unwrap_or(false))
    }

    /// Records the output, after the result and in a separate transaction: a full disk must not lose a
    /// result.
    pub(crate) fn set_output(&self, attempt: Attempt<'_>, output: &str) -> rusqlite::Result<()> {
        let query = "UPDATE attempt SET output = ?3 WHERE deployment_id = ?1 AND number = ?2";
        self.0.prepare_cached(query)?.execute(params![attempt.deployment_id, attempt.number, output])?;
        Ok(())
    }

    /// Records that a target left the configuration.
    pub(crate) fn note_left(&self, id: &TargetId, now: Timestamp) -> rusqlite::Result<()> {
        let query = "UPDATE poll_state SET left_at = ?3 WHERE project = ?1 AND stage = ?2";
        self.0.execute(query, params![id.project.as_str(), id.stage.as_str(), text(now)])?;
        Ok(())
    }

    /// Deletes deployments and notifications that ended longer ago than `kept`, but only once a day: the
    /// search reads all old rows, although many of them stay, because each stage keeps its last two
    /// deployments.
    pub(crate) fn prune_sometimes(&self, kept: Duration, now: Timestamp) -> rusqlite::Result<()> {
        let query = "SELECT pruned_at FROM housekeeping";
        let pruned_at = self.0.query_row(query, [], |row| row::parsed(row, "pruned_at", Timestamp::from_str));
        let is_due = pruned_at.optional()?.is_none_or(|pruned_at| {
            let elapsed = now.duration_since(pruned_at);
            // A pruning in the future means that a clock was wrong.
            elapsed.is_negative() || elapsed.unsigned_abs() >= (kept / 10).min(A_DAY)
        });
        if let (true, Ok(before)) = (is_due, now.checked_sub(kept))
            && self.prune(before)?
        {
            self.0.execute("DELETE FROM housekeeping", [])?;
            self.0.execute("INSERT INTO housekeeping (pruned_at) VALUES (?1)", [text(now)])?;
        }
        Ok(())
    }

    /// Deletes deployments and notifications that ended before this time, oldest first, and no more than
    /// other runs can wait for. False: there are more.
    pub(super) fn prune(&self, before: Timestamp) -> rusqlite::Result<bool> {
        // All times have the same format (UTC, milliseconds), so that text sorts as time. The deployment that
        // a stage runs, and the one before, are kept: by their order as in `row::runs`, because a clock may have
        // been ahead. By time, the search finds later ones at once.
        let query = "DELETE FROM deployment WHERE id IN (
             SELECT id FROM deployment WHERE ended_at < ?1 AND state <> 'dead' AND (state <> 'succeeded' OR 2 = (
                 SELECT count(*) FROM (
                     SELECT 1 FROM deployment AS later WHERE later.state = 'succeeded'
                     AND later.project = deployment.project AND later.stage = deployment.stage
                     AND (coalesce(later.sequence, -2), later.ended_at, later.id)
                         > (coalesce(deployment.sequence, -2), deployment.ended_at, deployment.id)
                     ORDER BY later.ended_at DESC LIMIT 2)))
             ORDER BY ended_at LIMIT ?2)
             RETURNING project, stage, created_at, coalesce(sequence, 0), high_water_before ->> '$.tag',
             iif(state = 'succeeded' OR state = 'superseded' AND rowid < (
                 SELECT rowid FROM deployment AS later WHERE later.state = 'succeeded'
                 AND later.project = deployment.project AND later.stage = deployment.stage
                 ORDER BY later.ended_at DESC LIMIT 1), tag, NULL)";
        let remember = "INSERT INTO given (project, stage, given_at, sequence, tag) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET given_at = max(given_at, excluded.given_at), sequence = max(sequence, excluded.sequence)";
        let mut remember = self.0.prepare_cached(remember)?;
        let mut delete = self.0.prepare(query)?;
        let mut deleted = delete.query(params![text(before), PRUNED_AT_ONCE])?;
        let mut deployments = 0;
        while let Some(row) = deleted.next()? {
            let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
            let sequence: i64 = row.get(3)?;
            // As `row::given` has them, while their rows are there.
            for column in [4, 5] {
                if let Some(tag) = row.get::<_, Option<String>>(column)? {
                    remember.execute(params![text(0)?, text(1)?, text(2)?, sequence, tag])?;
                }
            }
            deployments += 1;
        }
        let query = "DELETE FROM notification WHERE id IN (
             SELECT id FROM notification WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2)";
        let notifications = self.0.execute(query, params![text(before), PRUNED_AT_ONCE])?;
        Ok(notifications.max(deployments) < PRUNED_AT_ONCE as usize)
    }
}

/// Few enough for a fraction of a second, with their attempts, because no other run can write during that
/// time.
const PRUNED_AT_ONCE: u32 = 10_000;

const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// A time as stored in the state: UTC, with milliseconds, sortable as text.
pub(super) fn text(moment: Timestamp) -> String {
    format!("{moment:.3}")
}

/// A value that is stored as JSON.
fn as_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structs of text, numbers and moments are always JSON")
}
