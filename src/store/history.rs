//! Past deployments and their attempts.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::row::{optional, parsed, target_id};
use super::write::text;
use crate::engine::{DeploymentState, ErrorCode, Failure, Trigger};
use crate::reference::{Digest, Tag};
use crate::target::TargetId;

const PAST: &str = "id, project, stage, tag, digest, previous_tag, decided_by, decided_by_whom, state, reason, \
    created_at, ended_at";

/// A deployment with its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) id: String,
    pub(crate) target: TargetId,
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    pub(crate) previous_tag: Option<Tag>,
    pub(crate) by: Trigger,
    /// The login name of the person who deployed or marked it.
    pub(crate) by_whom: Option<String>,
    pub(crate) state: DeploymentState,
    /// Why it ended, if that is not obvious.
    pub(crate) reason: Option<String>,
    pub(crate) created_at: Timestamp,
    /// None: it has not ended.
    pub(crate) ended_at: Option<Timestamp>,
    /// Earliest first.
    pub(crate) attempts: Vec<PastAttempt>,
    /// Of several that were read: the state file that it is from.
    pub(crate) state_file: Option<String>,
}

/// One attempt. Without an end and an error, it runs or was interrupted.
#[derive(Clone, Debug)]
pub(crate) struct PastAttempt {
    pub(crate) number: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) exit_status: Option<i32>,
    pub(crate) http_status: Option<u16>,
    pub(crate) failure: Option<Failure>,
    /// The last 64 KiB of output and responses.
    pub(crate) output: Option<String>,
}

/// The origin of a target's tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) id: String,
    pub(crate) by: Trigger,
    /// The login name of the person who deployed or marked it.
    pub(crate) by_whom: Option<String>,
    pub(crate) state: DeploymentState,
}

/// The latest deployment of a tag; successful ones come before others.
pub(super) fn origin(
    connection: &Connection,
    target: &TargetId,
    tag: &Tag,
) -> rusqlite::Result<Option<Origin>> {
    let query = "SELECT id, decided_by, decided_by_whom, state FROM deployment
         WHERE project = ?1 AND stage = ?2 AND tag = ?3
         ORDER BY state = 'succeeded' DESC, created_at DESC, id DESC LIMIT 1";
    let parameters = [target.project.as_str(), target.stage.as_str(), tag.as_str()];
    connection.prepare_cached(query)?.query_row(parameters, origin_of).optional()
}

fn origin_of(row: &Row<'_>) -> rusqlite::Result<Origin> {
    Ok(Origin {
        id: row.get("id")?,
        by: parsed(row, "decided_by", FromStr::from_str)?,
        by_whom: row.get("decided_by_whom")?,
        state: parsed(row, "state", FromStr::from_str)?,
    })
}

/// Selects deployments. The default selects all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    /// The newest deployments of all targets together.
    pub(crate) most: Option<u32>,
    pub(crate) tag: Option<Tag>,
    /// The prefix of the ID.
    pub(crate) id: Option<String>,
    /// Only deployments with a failed attempt.
    pub(crate) failed: bool,
    /// Planned not before `since`, and not after `until`.
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

/// The deployments of some targets, newest first.
pub(super) fn history<'t>(
    connection: &Connection,
    targets: impl Iterator<Item = &'t TargetId>,
    search: &Search,
) -> rusqlite::Result<Vec<Past>> {
    // The output of attempts can be large, so the newest deployments are determined before it is read.
    let mut found = Vec::new();
    for target in targets {
        found.extend(find(connection, target, search)?);
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(search.most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)));
    let mut statement = connection.prepare(&format!("SELECT {PAST} FROM deployment WHERE id = ?1"))?;
    let read = |(_, id): &(String, String)| statement.query_row([id], past);
    let mut deployments: Vec<Past> = found.iter().map(read).collect::<Result<_, _>>()?;
    let query = "SELECT number, started_at, ended_at, exit_status, http_status, error_code, error, output
         FROM attempt WHERE deployment_id = ?1 ORDER BY number";
    read_attempts(connection, query, &mut deployments)?;
    Ok(deployments)
}

/// The planning times and IDs of the newest selected deployments of one target.
fn find(
    connection: &Connection,
    target: &TargetId,
    search: &Search,
) -> rusqlite::Result<Vec<(String, String)>> {
    let query = "SELECT created_at, id FROM deployment WHERE project = ?1 AND stage = ?2
         AND (?4 IS NULL OR tag = ?4) AND (?5 IS NULL OR substr(id, 1, length(?5)) = ?5)
         AND (NOT ?6 OR EXISTS (SELECT 1 FROM attempt WHERE deployment_id = id AND error_code IS NOT NULL))
         AND (?7 IS NULL OR created_at >= ?7) AND (?8 IS NULL OR created_at <= ?8)
         ORDER BY created_at DESC, id DESC LIMIT ?3";
    let parameters = params![
        target.project.as_str(),
        target.stage.as_str(),
        search.most.unwrap_or(u32::MAX),
        search.tag.as_ref().map(Tag::as_str),
        search.id,
        search.failed,
        search.since.map(text),
        search.until.map(text),
    ];
    connection.prepare_cached(query)?.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The newest deployments of the selected targets, up to `limit`, newest first; without the output of their
/// attempts, which can be large.
pub(super) fn recent(
    connection: &Connection,
    is_wanted: impl Fn(&TargetId) -> bool,
    most: usize,
) -> rusqlite::Result<Vec<Past>> {
    // An ID starts with its time, so with the primary key no more rows are read than needed.
    let mut statement = connection.prepare(&format!("SELECT {PAST} FROM deployment ORDER BY id DESC"))?;
    let wanted = statement
        .query_map([], past)?
        .filter(|past| past.as_ref().map_or(true, |past| is_wanted(&past.target)))
        .take(most);
    let mut deployments: Vec<Past> = wanted.collect::<Result<_, _>>()?;
    let query =
        "SELECT number, started_at, ended_at, exit_status, http_status, error_code, error, NULL AS output
         FROM attempt WHERE deployment_id = ?1 ORDER BY number";
    read_attempts(connection, query, &mut deployments)?;
    Ok(deployments)
}

fn read_attempts(connection: &Connection, query: &str, deployments: &mut [Past]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(query)?;
    for deployment in deployments {
        deployment.attempts = statement.query_map([&deployment.id], attempt)?.collect::<Result<_, _>>()?;
    }
    Ok(())
}

/// What a target ran, from one successful (or marked) deployment to the next.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    pub(crate) from: Timestamp,
    /// None: until now.
    pub(crate) until: Option<Timestamp>,
    /// The deployment that started it.
    pub(crate) origin: Origin,
}

/// What a target ran between `begin` and `end`, inclusive, in order.
pub(super) fn ran(
    connection: &Connection,
    target: &TargetId,
    begin: Timestamp,
    end: Timestamp,
) -> rusqlite::Result<Vec<Ran>> {
    let query = "SELECT id, tag, digest, decided_by, decided_by_whom, state, ended_at,
             lead(ended_at) OVER (ORDER BY ended_at, id) AS left_at
         FROM deployment WHERE project = ?1 AND stage = ?2 AND state = 'succeeded' ORDER BY ended_at, id";
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([target.project.as_str(), target.stage.as_str()])?;
    let mut ran = Vec::new();
    while let Some(row) = rows.next()? {
        let from = parsed(row, "ended_at", Timestamp::from_str)?;
        ran.push(Ran {
            digest: optional(row, "digest", Digest::new)?,
            from,
            until: optional(row, "left_at", Timestamp::from_str)?,
            origin: origin_of(row)?,
            tag: parsed(row, "tag", Tag::new)?,
        });
    }
    ran.retain(|run| run.from <= end && run.until.is_none_or(|until| until > begin));
    Ok(ran)
}

fn past(row: &Row<'_>) -> rusqlite::Result<Past> {
    Ok(Past {
        id: row.get("id")?,
        target: target_id(row)?,
        tag: parsed(row, "tag", Tag::new)?,
        digest: optional(row, "digest", Digest::new)?,
        previous_tag: optional(row, "previous_tag", Tag::new)?,
        by: parsed(row, "decided_by", FromStr::from_str)?,
        by_whom: row.get("decided_by_whom")?,
        state: parsed(row, "state", FromStr::from_str)?,
        reason: row.get("reason")?,
        created_at: parsed(row, "created_at", Timestamp::from_str)?,
        ended_at: optional(row, "ended_at", Timestamp::from_str)?,
        attempts: Vec::new(),
        state_file: None,
    })
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<PastAttempt> {
    let code: Option<ErrorCode> = optional(row, "error_code", FromStr::from_str)?;
    let message: Option<String> = row.get("error")?;
    Ok(PastAttempt {
        number: row.get("number")?,
        started_at: parsed(row, "started_at", Timestamp::from_str)?,
        ended_at: optional(row, "ended_at", Timestamp::from_str)?,
        exit_status: row.get("exit_status")?,
        http_status: row.get("http_status")?,
        failure: code.map(|code| Failure { code, message: message.unwrap_or_default() }),
        output: row.get("output")?,
    })
}
