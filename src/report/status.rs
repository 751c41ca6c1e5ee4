//! `status`: a row for each target, as a table or as JSON, or everything about a single target.

mod json;

use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;

use super::human::style_of;
use super::table::{Cell, TextTable, cell, styled};
use super::wording::{
    count, describe_age, describe_by, describe_duration, describe_moment, describe_state, or_dash,
};
use super::{Console, escape_control};
use crate::engine::{DeploymentState, Edit, Failure, Hold, Status, Trigger};
use crate::reference::{Digest, Tag};
use crate::store::Origin;
use crate::target::{Name, TargetId};
pub(super) use json::StatusJson;
pub(crate) use json::status_as_json;

/// A target as the state and the configuration describe it.
#[derive(Clone, Debug)]
pub(crate) struct StatusRow {
    pub(crate) target: TargetId,
    /// The registry's name in the configuration.
    pub(crate) registry: Name,
    /// The prefix of its tags' web pages; the tag follows.
    pub(crate) tag_pages: Option<String>,
    /// The status after the last poll; None: not polled yet.
    pub(crate) status: Option<Status>,
    /// The reason of the last successful poll, and when it can end.
    pub(crate) reason: Option<String>,
    pub(crate) until: Option<Timestamp>,
    /// The candidate that the reason is about, if known.
    pub(crate) concerns: Option<Tag>,
    pub(crate) latest_tag: Option<Tag>,
    pub(crate) deployed_tag: Option<Tag>,
    pub(crate) deployed_digest: Option<Digest>,
    pub(crate) deployed_at: Option<Timestamp>,
    pub(crate) deployed_by: Option<Trigger>,
    /// The deployment of the deployed tag, if it is remembered.
    pub(crate) deployed_origin: Option<Origin>,
    /// The newest tag ever deployed, marked or found by the first poll, and its deployment.
    pub(crate) high_water: Option<Tag>,
    pub(crate) high_water_origin: Option<Origin>,
    /// The unfinished deployment.
    pub(crate) pending: Option<PendingRow>,
    /// The last successful poll.
    pub(crate) polled_at: Option<Timestamp>,
    /// The last poll, successful or not.
    pub(crate) checked_at: Option<Timestamp>,
    pub(crate) failure: Option<Failure>,
    /// The outage: how many polls have failed since the last successful one, and since when.
    pub(crate) failed_polls: u32,
    pub(crate) failing_since: Option<Timestamp>,
    /// The hold, if it is in force now.
    pub(crate) hold: Option<Hold>,
    /// Candidates newer than the high-water tag, newest first.
    pub(crate) waiting: Vec<Tag>,
    /// The last edit of the rule.
    pub(crate) edit: Option<Edit>,
    /// From the configuration: `git.example.com/acme/shop`, `tags="v*" order=semver`, `min_age 30m`.
    pub(crate) image: String,
    pub(crate) rule: String,
    pub(crate) gates: Vec<String>,
    pub(crate) interval: Duration,
    /// When `poll --due` checks it again; None: now, or never.
    pub(crate) due_at: Option<Timestamp>,
    /// False: `poll` skips it.
    pub(crate) is_polled: bool,
    /// Of several that were read: the state file that it is from. None: none of them knows the target.
    pub(crate) state_file: Option<String>,
}

impl StatusRow {
    /// Whether its last check or last deployment failed, or a failed deployment will be retried.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed_deployment().is_some() || self.status.is_some_and(Status::is_failure)
    }

    /// Whether a person must act: it failed, a hold stops a tag, or a tag needs a manual deployment.
    pub(crate) fn needs_someone(&self) -> bool {
        let is_held_back = self.hold.is_some() && !self.waiting.is_empty();
        self.has_failed() || is_held_back || self.status == Some(Status::Available)
    }

    /// The failed deployment that will be retried, or on which tagship gave up, and its error.
    pub(crate) fn failed_deployment(&self) -> Option<(&PendingRow, &str)> {
        let pending = self.pending.as_ref()?;
        Some((pending, pending.last_error.as_deref()?))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct PendingRow {
    pub(crate) id: String,
    pub(crate) tag: Tag,
    pub(crate) trigger: Trigger,
    pub(crate) state: DeploymentState,
    pub(crate) attempts: u32,
    /// When it was planned.
    pub(crate) since: Timestamp,
    /// The earliest next attempt.
    pub(crate) next_attempt_at: Option<Timestamp>,
    pub(crate) last_error: Option<String>,
}

impl PendingRow {
    /// `v1.4.0`, `the rollback to v1.3.0`
    fn describe(&self) -> String {
        match self.trigger {
            Trigger::Rollback => format!("the rollback to {}", self.tag),
            Trigger::Poll | Trigger::Manual | Trigger::Mark | Trigger::Probe => self.tag.to_string(),
        }
    }
}

/// `status --format human`: the table, then why targets do not run their newest tag.
pub(crate) fn status_as_table(console: &Console, rows: &[StatusRow], now: Timestamp) {
    let mut head = vec!["TARGET", "STATUS", "NEWEST", "DEPLOYED", "PENDING", "CHECKED"];
    let are_several = rows.iter().any(|row| row.state_file.is_some());
    head.extend(are_several.then_some("STATE"));
    let mut table = TextTable::with_head(&head);
    for row in rows {
        let deployed = match (&row.deployed_tag, row.deployed_at) {
            (Some(tag), Some(at)) => format!("{tag} ({})", describe_age(at, now)),
            (found, _) => or_dash(found.as_ref()).to_owned(),
        };
        let checked = row.checked_at.map_or_else(|| "never".to_owned(), |then| describe_age(then, now));
        let mut cells = vec![
            cell(row.target.to_string()),
            status_cell(row.status),
            cell(or_dash(row.latest_tag.as_ref())),
            cell(deployed),
            cell(or_dash(row.pending.as_ref().map(|pending| &pending.tag))),
            cell(checked),
        ];
        cells.extend(are_several.then(|| cell(row.state_file.as_deref().unwrap_or("-"))));
        table.push(cells);
    }
    table.print(console);
    let mut below = TextTable::default();
    for row in rows {
        for note in notes(row, now) {
            below.push(vec![cell(format!("{}:", row.target)), cell(note)]);
        }
    }
    if !below.is_empty() {
        console.data("");
        below.print(console);
    }
}

/// `status TARGET` for a single target: everything that is known about it.
pub(crate) fn status_in_full(console: &Console, row: &StatusRow, now: Timestamp) {
    let mut table = TextTable::default();
    table.push(vec![cell(row.target.to_string()), status_cell(row.status)]);
    for (name, text) in facts(row, now) {
        table.push(vec![styled(format!("  {name}"), Style::new().dimmed()), cell(text)]);
    }
    table.print(console);
}

fn status_cell(status: Option<Status>) -> Cell {
    status.map_or_else(|| cell("not polled yet"), |status| styled(status.as_str(), style_of(status)))
}

/// Notes below the table, one line each.
fn notes(row: &StatusRow, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    let target = &row.target;
    if let Some(failure) = &row.failure {
        let last = row.polled_at.map_or_else(
            || "never reached".to_owned(),
            |polled| format!("last reached {}", describe_age(polled, now)),
        );
        let (code, message) = (failure.code.as_str(), escape_control(&failure.message));
        notes.push(format!("{code}: {message} ({last})"));
    }
    notes.extend(row.hold.as_ref().map(|hold| {
        let waits = row.waiting.first().map_or_else(String::new, |newest| format!("{newest} waits; "));
        format!("{waits}{}; to resume: tagship release {target}", describe_hold(hold, now))
    }));
    notes.extend(why(row, now));
    if let Some(pending) = &row.pending
        && let Some(error) = &pending.last_error
    {
        notes.push(describe_failed(row, pending, error, now));
    }
    notes
}

/// Why the target does not run its newest tag.
fn why(row: &StatusRow, now: Timestamp) -> Option<String> {
    let newest = row.concerns.as_ref().or(row.waiting.first());
    match row.status? {
        // The hold has its own line.
        Status::Held if row.hold.is_some() => None,
        Status::Held | Status::Available | Status::Older | Status::Behind | Status::NoMatch => {
            reason(row, now)
        }
        Status::Waiting => match (newest, reason(row, now)) {
            (Some(newest), Some(reason)) => Some(format!("{newest} waits: {reason}")),
            (_, reason) => reason,
        },
        _ if row.hold.is_some() => None,
        _ => newest.map(|newest| format!("{newest} waits; to see why: tagship tags {} {newest}", row.target)),
    }
}

fn reason(row: &StatusRow, now: Timestamp) -> Option<String> {
    let reason = row.reason.as_deref().map(escape_control)?;
    Some(match row.until.filter(|until| *until > now) {
        Some(until) => format!("{reason}; until {}", describe_moment(until, now)),
        None => reason,
    })
}

/// `held by alice: freeze, since 2026-11-20T10:00:00Z (5m ago)`
fn describe_hold(hold: &Hold, now: Timestamp) -> String {
    let until =
        hold.until.map_or_else(String::new, |until| format!(" until {}", describe_moment(until, now)));
    format!("{}, since {}{until}", escape_control(&hold.describe()), describe_moment(hold.since, now))
}

fn describe_failed(row: &StatusRow, pending: &PendingRow, error: &str, now: Timestamp) -> String {
    let (what, attempts) = (pending.describe(), pending.attempts);
    let error = escape_control(error);
    if pending.state == DeploymentState::Dead {
        let is_after = row.deployed_at.is_some_and(|at| at > pending.since);
        let back =
            row.deployed_tag.as_ref().filter(|_| is_after && row.deployed_by == Some(Trigger::Rollback));
        let back = back.map_or_else(String::new, |back| format!(", rolled back to {back}"));
        return format!(
            "{what} failed (gave up after attempt {attempts}{back}): {error}; to retry: tagship retry {}",
            row.target
        );
    }
    let next = match pending.next_attempt_at {
        Some(next) if next > now => {
            format!("in {}", describe_duration(next.duration_since(now).unsigned_abs()))
        }
        _ => "at the next poll".to_owned(),
    };
    format!("{what} failed (attempt {attempts}, retry {next}): {error}")
}

/// Everything that is known about a target, by name.
fn facts(row: &StatusRow, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![("image", row.image.clone()), ("rule", row.rule.clone())];
    if !row.gates.is_empty() {
        facts.push(("gates", row.gates.join(", ")));
    }
    facts.push(("newest", or_dash(row.latest_tag.as_ref()).to_owned()));
    facts.push(("deployed", deployed(row, now)));
    facts.extend(row.high_water.as_ref().map(|tag| ("high-water", high_water(row, tag))));
    // A failed deployment and a hold have their own lines.
    let why = reason(row, now).filter(|_| row.failed_deployment().is_none() && row.hold.is_none());
    if !row.waiting.is_empty() {
        let tags: Vec<&str> = row.waiting.iter().map(Tag::as_str).collect();
        let tags = tags.join(", ");
        let is_explained = why.is_some() && row.waiting.len() == 1;
        let pointer = format!("{tags}; to see why: tagship tags {}", row.target);
        facts.push(("waiting", if is_explained { tags } else { pointer }));
    }
    facts.extend(why.map(|why| ("why", why)));
    facts.extend(row.hold.as_ref().map(|hold| {
        ("hold", format!("{}; to resume: tagship release {}", describe_hold(hold, now), row.target))
    }));
    if let Some(pending) = &row.pending {
        let PendingRow { id, state, attempts, .. } = pending;
        facts.push(("deployment", format!("{}, {}, {id}", pending.describe(), describe_state(*state))));
        facts.extend(
            pending
                .last_error
                .as_ref()
                .map(|error| ("failed", format!("attempt {attempts}: {}", escape_control(error)))),
        );
        facts.extend(next_attempt(pending, &row.target, now).map(|next| ("next try", next)));
    }
    let moment = |moment: Option<Timestamp>| {
        moment.map_or_else(|| "never".to_owned(), |moment| describe_moment(moment, now))
    };
    facts.push(("last reached", moment(row.polled_at)));
    if let (Some(failure), Some(since)) = (&row.failure, row.failing_since) {
        let polls = count(row.failed_polls as usize, "poll");
        let (code, message) = (failure.code.as_str(), escape_control(&failure.message));
        let since = describe_moment(since, now);
        facts.push(("down", format!("since {since}, {polls}: {code}: {message}")));
        facts.push(("last checked", moment(row.checked_at)));
    }
    facts.push(("due", due(row, now)));
    facts.extend(row.edit.as_ref().map(|edit| ("rule edited", describe_edit(edit, now))));
    facts.extend(row.state_file.clone().map(|file| ("state", file)));
    facts
}

/// When a deployment that is not running is tried next.
fn next_attempt(pending: &PendingRow, target: &TargetId, now: Timestamp) -> Option<String> {
    match pending.state {
        DeploymentState::Dead => Some(format!("none, tagship gave up; to retry: tagship retry {target}")),
        DeploymentState::Pending => Some(match pending.next_attempt_at.filter(|next| *next > now) {
            Some(next) => describe_moment(next, now),
            None => "at the next poll".to_owned(),
        }),
        _ => None,
    }
}

fn deployed(row: &StatusRow, now: Timestamp) -> String {
    let (Some(tag), Some(at), Some(by)) = (&row.deployed_tag, row.deployed_at, row.deployed_by) else {
        return format!("unknown; to record it: tagship mark {} TAG", row.target);
    };
    let origin = row.deployed_origin.as_ref();
    let by = describe_by(by, origin.and_then(|origin| origin.by_whom.as_deref()));
    let id = origin.map_or_else(String::new, |origin| format!(", {}", origin.id));
    format!("{tag}, {by}, {}{id}", describe_moment(at, now))
}

/// The high-water tag, and its origin.
fn high_water(row: &StatusRow, tag: &Tag) -> String {
    if row.deployed_tag.as_ref() == Some(tag) {
        return format!("{tag}; polls deploy newer tags only");
    }
    let how = match &row.high_water_origin {
        Some(origin) => {
            let by = describe_by(origin.by, origin.by_whom.as_deref());
            format!("{by}, {}", describe_state(origin.state))
        }
        None => "baseline: found by the first poll, or after an edit of the rule".to_owned(),
    };
    format!("{tag} ({how}); polls deploy newer tags only")
}

fn due(row: &StatusRow, now: Timestamp) -> String {
    if !row.is_polled {
        return "never: poll = false".to_owned();
    }
    let every = describe_duration(row.interval);
    match row.due_at.filter(|due| *due > now) {
        Some(due) => format!("{}, every {every}", describe_moment(due, now)),
        None => format!("now, every {every}"),
    }
}

fn describe_edit(edit: &Edit, now: Timestamp) -> String {
    let given = edit.high_water_before.as_ref();
    let given = given.map_or_else(|| "none".to_owned(), ToString::to_string);
    format!(
        "{}; old rule: {}; newest tag by the old rule: {given}",
        describe_moment(edit.at, now),
        edit.rule_before
    )
}
