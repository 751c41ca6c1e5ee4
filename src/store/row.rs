//! Rows and what they mean. Text that cannot be what a column holds is an error, never a default.

use std::collections::HashMap;
use std::error::Error;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Deserialize;

use super::feed::generation;
use crate::plan::sighting::Sightings;
use crate::plan::{
    Deployed, Deployment, Edit, Failing, Failure, Hold, LastListed, NextAttempt, PollState, StageRun, Told,
};
use crate::reference::{Digest, ListedTag, Repository, Tag};
use crate::registry::Limit;
use crate::target::{Name, TargetId};

const STATE_COLUMNS: &str = "project, stage, rule, last_polled_tag, high_water_tag, high_water_pushed_at, \
    high_water_sequence, high_water_digest, marked_tag, deployed_tag, deployed_digest, deployed_at, deployed_by, candidates, \
    hold_reason, hold_by, hold_since, hold_until, reset_at, tags_listed, \
    polled_at, checked_at, failing_since, failing_count, failing_told_at, failing_code, failing_message, \
    status, told_status, told_tag, listed_generation, listed_at, listed_from, \
    reason, reason_until, edited_at, rule_before, high_water_before_edit";

const DEPLOYMENT_COLUMNS: &str = "id, project, stage, registry, repository, tag, digest, previous_tag, decided_by, \
    state, attempts, attempts_forgiven, next_attempt_at, failed_at, created_at, goes_back, high_water_before, \
    decided_by_whom";

pub(super) fn all_states() -> String {
    format!("SELECT {STATE_COLUMNS} FROM poll_state")
}

pub(super) fn one_state() -> String {
    format!("SELECT {STATE_COLUMNS} FROM poll_state WHERE project = ?1 AND stage = ?2")
}

pub(super) fn save_state() -> String {
    let places: Vec<String> =
        (1..=STATE_COLUMNS.split(", ").count()).map(|number| format!("?{number}")).collect();
    format!("INSERT OR REPLACE INTO poll_state ({STATE_COLUMNS}) VALUES ({})", places.join(", "))
}

pub(super) fn open_deployments() -> String {
    each_open("")
}

/// One index for each state: the table may hold years of deployments that are over.
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

pub(super) fn last_error(connection: &Connection, deployment_id: &str) -> rusqlite::Result<Option<String>> {
    let query = "SELECT error FROM attempt WHERE deployment_id = ?1 ORDER BY number DESC LIMIT 1";
    Ok(connection.query_row(query, [deployment_id], |row| row.get(0)).optional()?.flatten())
}

/// What the last attempt of a deployment printed.
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

pub(super) fn attempt_started(
    connection: &Connection,
    deployment_id: &str,
) -> rusqlite::Result<Option<Timestamp>> {
    let query = "SELECT started_at FROM attempt WHERE deployment_id = ?1 ORDER BY number DESC LIMIT 1";
    let started = |row: &Row<'_>| parsed(row, "started_at", Timestamp::from_str);
    connection.query_row(query, [deployment_id], started).optional()
}

/// What a stage ran, in the order in which it did.
pub(super) fn runs(connection: &Connection, target: &TargetId) -> rusqlite::Result<Vec<StageRun>> {
    let query = "SELECT tag, digest, previous_tag, ended_at, goes_back FROM deployment
         WHERE project = ?1 AND stage = ?2 AND state = 'succeeded' ORDER BY ended_at";
    let mut statement = connection.prepare_cached(query)?;
    let mut runs: Vec<StageRun> = Vec::new();
    let mut rows = statement.query([target.project.as_str(), target.stage.as_str()])?;
    while let Some(row) = rows.next()? {
        let from = parsed(row, "ended_at", Timestamp::from_str)?;
        let goes_back = row.get("goes_back")?;
        if let Some(last) = runs.last_mut() {
            last.until = Some(from);
            last.left_by_going_back = goes_back;
        }
        let (tag, digest) = (parsed(row, "tag", Tag::new)?, optional(row, "digest", Digest::new)?);
        let previous_tag = optional(row, "previous_tag", Tag::new)?;
        runs.push(StageRun { tag, digest, from, until: None, previous_tag, left_by_going_back: false });
    }
    Ok(runs)
}

/// The names that a target's registry had, and when each was first seen.
pub(super) fn sightings(connection: &Connection, target: &TargetId) -> rusqlite::Result<Sightings> {
    let query = "SELECT tag, first_seen FROM sighting WHERE project = ?1 AND stage = ?2";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map([target.project.as_str(), target.stage.as_str()], |row| {
        Ok((parsed(row, "tag", Tag::new)?, parsed(row, "first_seen", Timestamp::from_str)?))
    })?;
    rows.collect()
}

/// Every tag that a target was given (or that its first poll found) and when last, but those that were
/// deleted before they were deployed.
pub(super) fn given(connection: &Connection, target: &TargetId) -> rusqlite::Result<HashMap<Tag, Timestamp>> {
    // What was high-water before a deployment was given, too, if only by a first poll.
    let query = "SELECT tag, max(given_at) AS given_at FROM (
             SELECT tag, created_at AS given_at FROM deployment
             WHERE project = ?1 AND stage = ?2 AND state <> 'dropped'
             UNION ALL
             SELECT high_water_before ->> '$.tag', created_at FROM deployment
             WHERE project = ?1 AND stage = ?2 AND high_water_before IS NOT NULL
         ) GROUP BY tag";
    let mut statement = connection.prepare_cached(query)?;
    let tags = statement.query_map([target.project.as_str(), target.stage.as_str()], |row| {
        Ok((parsed(row, "tag", Tag::new)?, parsed(row, "given_at", Timestamp::from_str)?))
    })?;
    tags.collect()
}

pub(super) fn left_targets(
    connection: &Connection,
    is_configured: impl Fn(&TargetId) -> bool,
) -> rusqlite::Result<Vec<TargetId>> {
    let mut statement = connection.prepare("SELECT project, stage FROM poll_state WHERE left_at IS NULL")?;
    let ids: Vec<TargetId> = statement.query_map([], target_id)?.collect::<Result<_, _>>()?;
    Ok(ids.into_iter().filter(|id| !is_configured(id)).collect())
}

pub(super) fn target_id(row: &Row<'_>) -> rusqlite::Result<TargetId> {
    Ok(TargetId { project: parsed(row, "project", Name::new)?, stage: parsed(row, "stage", Name::new)? })
}

pub(super) fn poll_state(row: &Row<'_>) -> rusqlite::Result<PollState> {
    Ok(PollState {
        rule: row.get("rule")?,
        last_polled_tag: optional(row, "last_polled_tag", Tag::new)?,
        high_water: high_water(row)?,
        marked: optional(row, "marked_tag", Tag::new)?,
        deployed: deployed(row)?,
        candidates: optional(row, "candidates", |text| serde_json::from_str(text))?.unwrap_or_default(),
        hold: hold(row)?,
        reset_at: optional(row, "reset_at", Timestamp::from_str)?,
        tags_listed: row.get::<_, u32>("tags_listed")? as usize,
        polled_at: optional(row, "polled_at", Timestamp::from_str)?,
        checked_at: optional(row, "checked_at", Timestamp::from_str)?,
        failing: failing(row)?,
        status: optional(row, "status", FromStr::from_str)?,
        told: match optional(row, "told_status", FromStr::from_str)? {
            Some(status) => Some(Told { status, tag: optional(row, "told_tag", Tag::new)? }),
            None => None,
        },
        listed: listed(row)?,
        reason: row.get("reason")?,
        until: optional(row, "reason_until", Timestamp::from_str)?,
        edit: edit(row)?,
    })
}

fn edit(row: &Row<'_>) -> rusqlite::Result<Option<Edit>> {
    let Some(at) = optional(row, "edited_at", Timestamp::from_str)? else {
        return Ok(None);
    };
    let high_water_before = optional(row, "high_water_before_edit", Tag::new)?;
    Ok(Some(Edit { at, rule_before: row.get("rule_before")?, high_water_before }))
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Option<LastListed>> {
    let Some(from) = row.get("listed_from")? else {
        return Ok(None);
    };
    let at = parsed(row, "listed_at", Timestamp::from_str)?;
    Ok(Some(LastListed { generation: generation(row, "listed_generation")?, at, from }))
}

fn high_water(row: &Row<'_>) -> rusqlite::Result<Option<ListedTag>> {
    let Some(tag) = optional(row, "high_water_tag", Tag::new)? else {
        return nothing(row, &["high_water_pushed_at", "high_water_sequence", "high_water_digest"]);
    };
    Ok(Some(ListedTag {
        tag,
        pushed_at: optional(row, "high_water_pushed_at", Timestamp::from_str)?,
        sequence: row.get("high_water_sequence")?,
        digest: optional(row, "high_water_digest", Digest::new)?,
    }))
}

fn deployed(row: &Row<'_>) -> rusqlite::Result<Option<Deployed>> {
    let Some(tag) = optional(row, "deployed_tag", Tag::new)? else {
        return Ok(None);
    };
    Ok(Some(Deployed {
        tag,
        digest: optional(row, "deployed_digest", Digest::new)?,
        at: parsed(row, "deployed_at", Timestamp::from_str)?,
        by: parsed(row, "deployed_by", FromStr::from_str)?,
    }))
}

fn hold(row: &Row<'_>) -> rusqlite::Result<Option<Hold>> {
    let Some(by) = row.get("hold_by")? else {
        return nothing(row, &["hold_since", "hold_reason", "hold_until"]);
    };
    Ok(Some(Hold {
        by,
        reason: row.get("hold_reason")?,
        since: parsed(row, "hold_since", Timestamp::from_str)?,
        until: optional(row, "hold_until", Timestamp::from_str)?,
    }))
}

fn failing(row: &Row<'_>) -> rusqlite::Result<Option<Failing>> {
    let Some(since) = optional(row, "failing_since", Timestamp::from_str)? else {
        return Ok(None);
    };
    let failure = Failure {
        code: parsed(row, "failing_code", FromStr::from_str)?,
        message: row.get("failing_message")?,
    };
    let told_at = optional(row, "failing_told_at", Timestamp::from_str)?;
    Ok(Some(Failing { since, count: row.get("failing_count")?, told_at, failure }))
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
        high_water_before: optional(row, "high_water_before", listed_from_json)?,
    })
}

pub(super) fn next_attempt(row: &Row<'_>) -> rusqlite::Result<Option<NextAttempt>> {
    let Some(at) = optional(row, "next_attempt_at", Timestamp::from_str)? else {
        return Ok(None);
    };
    Ok(Some(NextAttempt { at, failed_at: parsed(row, "failed_at", Timestamp::from_str)? }))
}

/// A listed tag in one column: `{"tag": …, "pushed_at": …, "sequence": …, "digest": …}`.
pub(super) fn listed_to_json(listed: &ListedTag) -> String {
    serde_json::json!({
        "tag": listed.tag.as_str(),
        "pushed_at": listed.pushed_at.map(|moment| moment.to_string()),
        "sequence": listed.sequence,
        "digest": listed.digest.as_ref().map(Digest::as_str),
    })
    .to_string()
}

fn listed_from_json(text: &str) -> Result<ListedTag, Box<dyn Error + Send + Sync>> {
    #[derive(Deserialize)]
    struct Listed {
        tag: String,
        pushed_at: Option<Timestamp>,
        sequence: Option<i64>,
        digest: Option<String>,
    }
    let Listed { tag, pushed_at, sequence, digest } = serde_json::from_str(text)?;
    let digest = digest.map(|digest| Digest::new(&digest)).transpose()?;
    Ok(ListedTag { tag: Tag::new(&tag)?, pushed_at, sequence, digest })
}

pub(super) fn parsed<T, E: Into<Box<dyn Error + Send + Sync>>>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).map_err(|error| unreadable(row, column, error.into()))
}

pub(super) fn optional<T, E: Into<Box<dyn Error + Send + Sync>>>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| parse(&text)).transpose().map_err(|error| unreadable(row, column, error.into()))
}

/// None, where nothing of what it would be made of is there either: half a hold is no release.
fn nothing<T>(row: &Row<'_>, columns: &[&str]) -> rusqlite::Result<Option<T>> {
    for column in columns {
        if row.get_ref(*column)? != ValueRef::Null {
            return Err(unreadable(row, column, "what it belongs to is missing".into()));
        }
    }
    Ok(None)
}

fn unreadable(row: &Row<'_>, column: &str, error: Box<dyn Error + Send + Sync>) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error)
}
