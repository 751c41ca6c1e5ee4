//! Reads rows. An invalid value in a column is an error, never a default.

use std::cell::Cell;
use std::collections::HashMap;
use std::error::Error;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Checks, LatestAttempt};
use crate::engine::first_seen::{Built, SeenTag, SeenTags};
use crate::engine::{Deployment, Monitor, MonitorOutage, NextAttempt, PollState, StageRun, Unfinished};
use crate::process::{Leader, Traces};
use crate::reference::{Digest, Repository, Tag};
use crate::registry::Limit;
use crate::target::{Name, TargetId};

const DEPLOYMENT_COLUMNS: &str = "id, project, stage, registry, repository, tag, digest, previous_tag, decided_by, \
    state, attempts, attempts_forgiven, next_attempt_at, failed_at, created_at, goes_back, high_water_before, \
    decided_by_whom";

pub(super) const ALL_STATES: &str = "SELECT project, stage, coalesce(round.polled_at, poll_state.polled_at),
     coalesce(round.polled_at, checked_at), document, version, round.id
     FROM poll_state LEFT JOIN round ON round.id = round";

pub(super) const ONE_STATE: &str = "SELECT project, stage, coalesce(round.polled_at, poll_state.polled_at),
     coalesce(round.polled_at, checked_at), document, version, round.id
     FROM poll_state LEFT JOIN round ON round.id = round WHERE project = ?1 AND stage = ?2";

pub(super) fn open_deployments() -> String {
    each_open("")
}

/// One query for each state, with its index: the table may contain years of old deployments.
fn each_open(condition: &str) -> String {
    let of_state =
        |state| format!("SELECT {DEPLOYMENT_COLUMNS} FROM deployment WHERE state = '{state}'{condition}");
    ["pending", "running", "dead"].map(of_state).join(" UNION ALL ")
}

pub(super) fn open_deployments_of_target() -> String {
    each_open(" AND project = ?1 AND stage = ?2")
}

pub(super) fn insert_deployment() -> String {
    let places: Vec<String> =
        (1..=DEPLOYMENT_COLUMNS.split(", ").count()).map(|number| format!("?{number}")).collect();
    format!("INSERT INTO deployment ({DEPLOYMENT_COLUMNS}) VALUES ({})", places.join(", "))
}

/// The error of a deployment's last attempt.
pub(super) fn last_error(connection: &Connection, deployment_id: &str) -> rusqlite::Result<Option<String>> {
    let query = "SELECT error FROM attempt WHERE deployment_id = ?1 ORDER BY number DESC LIMIT 1";
    Ok(connection.query_row(query, [deployment_id], |row| row.get(0)).optional()?.flatten())
}

/// The output of a deployment's last attempt.
pub(super) fn last_output(connection: &Connection, deployment_id: &str) -> rusqlite::Result<Option<String>> {
    let query = "SELECT output FROM attempt WHERE deployment_id = ?1 ORDER BY number DESC LIMIT 1";
    Ok(connection.query_row(query, [deployment_id], |row| row.get(0)).optional()?.flatten())
}

pub(super) fn limits(connection: &Connection) -> rusqlite::Result<HashMap<String, Limit>> {
    let mut statement = connection.prepare("SELECT registry, not_before, said_at FROM registry")?;
    let rows = statement.query_map([], |row| {
        let not_before = parsed(row, "not_before", Timestamp::from_str)?;
        let said_at = parsed(row, "said_at", Timestamp::from_str)?;
        Ok((row.get("registry")?, Limit { not_before, said_at }))
    })?;
    rows.collect()
}

pub(super) fn monitor_outages(connection: &Connection) -> rusqlite::Result<HashMap<Monitor, MonitorOutage>> {
    let mut statement = connection.prepare("SELECT monitor, since, reported_at FROM monitor_outage")?;
    let rows = statement.query_map([], |row| {
        let since = parsed(row, "since", Timestamp::from_str)?;
        let reported_at = parsed(row, "reported_at", Timestamp::from_str)?;
        Ok((parsed(row, "monitor", Monitor::from_str)?, MonitorOutage { since, reported_at }))
    })?;
    rows.collect()
}

/// The order of a target's attempts. Those of earlier versions have no sequence.
pub(super) const LATEST_ATTEMPT_FIRST: &str =
    "attempt.sequence DESC NULLS LAST, started_at DESC, number DESC";

/// The last started attempt of a target, if it did not succeed.
pub(super) fn latest_attempt(
    connection: &Connection,
    target: &TargetId,
) -> rusqlite::Result<Option<LatestAttempt>> {
    let query = format!(
        "SELECT id, tag, number, started_at, attempt.ended_at IS NOT NULL AS failed,
         attempt.ended_at IS NOT NULL AND error_code IS NULL AS succeeded,
         leader_id, leader_started, leader_boot_id, over_by
         FROM deployment JOIN attempt ON deployment_id = id
         WHERE project = ?1 AND stage = ?2 ORDER BY {LATEST_ATTEMPT_FIRST} LIMIT 1"
    );
    let latest = |row: &Row<'_>| {
        if row.get("succeeded")? {
            return Ok(None);
        }
        let parts = (row.get("leader_id")?, row.get("leader_started")?, row.get("leader_boot_id")?);
        let leader = match parts {
            (Some(id), Some(started), Some(boot_id)) => Some(Leader { id, started, boot_id }),
            _ => None,
        };
        Ok(Some(LatestAttempt {
            tag: parsed(row, "tag", Tag::new)?,
            traces: Traces { leader, deployment_id: row.get("id")?, attempt: row.get("number")? },
            started_at: parsed(row, "started_at", Timestamp::from_str)?,
            has_failed: row.get("failed")?,
            over_by: optional(row, "over_by", Timestamp::from_str)?,
        }))
    };
    let mut statement = connection.prepare_cached(&query)?;
    Ok(statement.query_row([target.project.as_str(), target.stage.as_str()], latest).optional()?.flatten())
}

/// What a stage ran, earliest first. `of`: only of this image.
pub(super) fn runs(
    connection: &Connection,
    target: &TargetId,
    of: Option<&Repository>,
) -> rusqlite::Result<Vec<StageRun>> {
    let query = "SELECT tag, digest, ended_at, goes_back, decided_by
         FROM deployment WHERE project = ?1 AND stage = ?2 AND state = 'succeeded'
         AND repository = coalesce(?3, repository)
         ORDER BY sequence NULLS FIRST, ended_at, id";
    let mut statement = connection.prepare_cached(query)?;
    let mut runs: Vec<StageRun> = Vec::new();
    let (project, stage, of) = (target.project.as_str(), target.stage.as_str(), of.map(Repository::as_str));
    let mut rows = statement.query(params![project, stage, of])?;
    while let Some(row) = rows.next()? {
        let from = parsed(row, "ended_at", Timestamp::from_str)?;
        let by = parsed(row, "decided_by", FromStr::from_str)?;
        if let Some(last) = runs.last_mut() {
            last.until = Some(from);
            last.left_by_going_back = row.get("goes_back")?;
        }
        let (tag, digest) = (parsed(row, "tag", Tag::new)?, optional(row, "digest", Digest::new)?);
        runs.push(StageRun { tag, digest, from, until: None, by, left_by_going_back: false });
    }
    Ok(runs)
}

/// The deployment of this image that was started last, if it did not succeed. A mark is started when it is made; a
/// deployment, when its last attempt is.
pub(super) fn unfinished(
    connection: &Connection,
    target: &TargetId,
    of: &Repository,
) -> rusqlite::Result<Option<Unfinished>> {
    let query = "SELECT tag, digest, state, decided_by FROM deployment
         WHERE project = ?1 AND stage = ?2 AND repository = ?3 AND (attempts > 0 OR state = 'succeeded')
         ORDER BY coalesce((SELECT max(attempt.sequence) FROM attempt WHERE deployment_id = id), sequence)
             DESC NULLS LAST, rowid DESC LIMIT 1";
    let newest = |row: &Row<'_>| {
        let is_over: bool = row.get_ref("state")?.as_str().is_ok_and(|state| state == "succeeded");
        let (tag, digest) = (parsed(row, "tag", Tag::new)?, optional(row, "digest", Digest::new)?);
        Ok((!is_over).then_some(Unfinished {
            tag,
            digest,
            by: parsed(row, "decided_by", FromStr::from_str)?,
        }))
    };
    let parameters = [target.project.as_str(), target.stage.as_str(), of.as_str()];
    Ok(connection.prepare_cached(query)?.query_row(parameters, newest).optional()?.flatten())
}

/// The tags of a target, and when each was first seen.
pub(super) fn seen_tags(connection: &Connection, target: &TargetId) -> rusqlite::Result<SeenTags> {
    let query = "SELECT tag, first_seen, digest, created FROM sighting WHERE project = ?1 AND stage = ?2";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map([target.project.as_str(), target.stage.as_str()], |row| {
        let created = optional(row, "created", Timestamp::from_str)?;
        let image = optional(row, "digest", Digest::new)?.map(|digest| Built { digest, created });
        let sighting = SeenTag { first_seen: parsed(row, "first_seen", Timestamp::from_str)?, image };
        Ok((parsed(row, "tag", Tag::new)?, sighting))
    })?;
    rows.collect()
}

/// A tag that was deployed to a target.
pub(crate) struct GivenTag {
    /// When it was last deployed.
    pub(crate) at: Timestamp,
    /// Whether that was after the last `mark --reset`, by the state's versions: a clock may be set back.
    pub(crate) is_since_reset: bool,
}

/// Every tag that was deployed to a target (or found by its first poll), except tags that were deleted before
/// they were deployed, and tags superseded by others of which none was deployed yet.
pub(super) fn given(connection: &Connection, target: &TargetId) -> rusqlite::Result<HashMap<Tag, GivenTag>> {
    // Without a reset, -1: everything counts. What changed since the reset was deployed since. The high-water tag
    // before a deployment counts, too, even if only a first poll found it, and if the deployment began since the reset.
    let query = "WITH reset AS MATERIALIZED (
             SELECT version, (SELECT coalesce(max(rowid), 0) FROM deployment
                 WHERE project = ?1 AND stage = ?2 AND coalesce(sequence, 0) <= version) AS last_row
             FROM (SELECT coalesce((SELECT document ->> '$.reset' FROM poll_state WHERE project = ?1 AND stage = ?2), -1)
                 AS version))
         SELECT tag, max(given_at) AS given_at, max(is_since_reset) FROM (
             SELECT tag, created_at AS given_at, coalesce(sequence, 0) > version AS is_since_reset FROM deployment, reset
             WHERE project = ?1 AND stage = ?2 AND state <> 'dropped' AND (state <> 'superseded' OR deployment.rowid < (
                 SELECT max(rowid) FROM deployment
                 WHERE project = ?1 AND stage = ?2 AND state = 'succeeded'))
             UNION ALL
             SELECT high_water_before ->> '$.tag', created_at, deployment.rowid > last_row FROM deployment, reset
             WHERE project = ?1 AND stage = ?2 AND high_water_before IS NOT NULL
             UNION ALL
             SELECT tag, given_at, sequence > version FROM given, reset WHERE project = ?1 AND stage = ?2
         ) GROUP BY tag";
    let mut statement = connection.prepare_cached(query)?;
    let tags = statement.query_map([target.project.as_str(), target.stage.as_str()], |row| {
        let given =
            GivenTag { at: parsed(row, "given_at", Timestamp::from_str)?, is_since_reset: row.get(2)? };
        Ok((parsed(row, "tag", Tag::new)?, given))
    })?;
    tags.collect()
}

/// When each of these targets was last checked, and the targets that left the configuration. Compares the names
/// in place, without allocating.
pub(super) fn checks<'t>(
    connection: &Connection,
    targets: impl Iterator<Item = &'t TargetId>,
) -> rusqlite::Result<Checks<'t>> {
    let named = |id: &'t TargetId| ((id.project.as_str(), id.stage.as_str()), Cell::new(None));
    let mut checks = Checks { checked_at: targets.map(named).collect(), left: Vec::new() };
    let mut statement = connection.prepare("SELECT id, polled_at FROM round")?;
    let rounds = statement.query_map([], |row| {
        Ok((row.get::<_, i64>("id")?, parsed(row, "polled_at", Timestamp::from_str)?))
    })?;
    let rounds: HashMap<i64, Timestamp> = rounds.collect::<rusqlite::Result<_>>()?;
    let query = "SELECT project, stage, checked_at, left_at IS NOT NULL, round FROM poll_state";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (project, stage) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        if let Some(checked_at) = checks.checked_at.get(&(project, stage)) {
            let of_round = row.get::<_, Option<i64>>(4)?.and_then(|round| rounds.get(&round).copied());
            checked_at.set(match of_round {
                None => optional_at(row, 2, Timestamp::from_str)?,
                known => known,
            });
        } else if !row.get::<_, bool>(3)? {
            checks.left.push(target_id(row)?);
        }
    }
    Ok(checks)
}

pub(super) fn targets(connection: &Connection) -> rusqlite::Result<Vec<TargetId>> {
    let mut statement = connection.prepare("SELECT project, stage FROM poll_state")?;
    let targets = statement.query_map([], target_id)?;
    targets.collect()
}

pub(super) fn target_id(row: &Row<'_>) -> rusqlite::Result<TargetId> {
    Ok(TargetId { project: parsed(row, "project", Name::new)?, stage: parsed(row, "stage", Name::new)? })
}

/// Reads a row of [`ALL_STATES`] or [`ONE_STATE`]. The inner error is one of this target.
pub(super) fn state(row: &Row<'_>) -> rusqlite::Result<(TargetId, rusqlite::Result<PollState>)> {
    // By index, because looking up columns by name is most of the cost of reading a row.
    let id = TargetId { project: parsed_at(row, 0, Name::new)?, stage: parsed_at(row, 1, Name::new)? };
    let state = || {
        let document: PollState = parsed_at(row, 4, |text| serde_json::from_str(text))?;
        let polled_at = optional_at(row, 2, Timestamp::from_str)?;
        let checked_at = optional_at(row, 3, Timestamp::from_str)?;
        Ok(PollState { version: row.get(5)?, round: row.get(6)?, polled_at, checked_at, ..document })
    };
    Ok((id, state()))
}

pub(super) fn deployment(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    Ok(Deployment {
        id: row.get("id")?,
        target: target_id(row)?,
        registry: parsed(row, "registry", Name::new)?,
        repository: parsed(row, "repository", Repository::new)?,
        tag: parsed(row, "tag", Tag::new)?,
        digest: optional(row, "digest", Digest::new)?,
        previous_tag: optional(row, "previous_tag", Tag::new)?,
        by: parsed(row, "decided_by", FromStr::from_str)?,
        by_whom: row.get("decided_by_whom")?,
        state: parsed(row, "state", FromStr::from_str)?,
        attempts: row.get("attempts")?,
        attempts_forgiven: row.get("attempts_forgiven")?,
        next_attempt: next_attempt(row)?,
        created_at: parsed(row, "created_at", Timestamp::from_str)?,
        goes_back: row.get("goes_back")?,
        high_water_before: optional(row, "high_water_before", |text| serde_json::from_str(text))?,
    })
}

pub(super) fn next_attempt(row: &Row<'_>) -> rusqlite::Result<Option<NextAttempt>> {
    let Some(at) = optional(row, "next_attempt_at", Timestamp::from_str)? else {
        return Ok(None);
    };
    Ok(Some(NextAttempt { at, failed_at: parsed(row, "failed_at", Timestamp::from_str)? }))
}

pub(super) fn parsed<T, E: Into<Box<dyn Error + Send + Sync>>>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    parsed_at(row, row.as_ref().column_index(column)?, parse)
}

pub(super) fn optional<T, E: Into<Box<dyn Error + Send + Sync>>>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<Option<T>> {
    optional_at(row, row.as_ref().column_index(column)?, parse)
}

fn parsed_at<T, E: Into<Box<dyn Error + Send + Sync>>>(
    row: &Row<'_>,
    place: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(place)?.as_str().map_err(|error| unreadable(place, error.into()))?;
    parse(text).map_err(|error| unreadable(place, error.into()))
}

fn optional_at<T, E: Into<Box<dyn Error + Send + Sync>>>(
    row: &Row<'_>,
    place: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<Option<T>> {
    let is_null = row.get_ref(place)? == ValueRef::Null;
    if is_null { Ok(None) } else { parsed_at(row, place, parse).map(Some) }
}

fn unreadable(place: usize, error: Box<dyn Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(place, Type::Text, error)
}
