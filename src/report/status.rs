//! What `status` shows: a row a target, as a table or as JSON.

use jiff::Timestamp;
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::object::Rows;
use tabled::settings::{Padding, Remove, Style};

use super::json::{ErrorJson, VERSION, print};
use super::{Console, describe_age, describe_duration, escape_control};
use crate::plan::{DeploymentState, Failure, Hold, Status};
use crate::reference::{Digest, Tag};
use crate::target::TargetId;

/// What is known of a target without asking anyone.
#[derive(Clone, Debug)]
pub(crate) struct StatusRow {
    pub(crate) target: TargetId,
    /// What the last poll said; None before the first.
    pub(crate) status: Option<Status>,
    pub(crate) latest_tag: Option<Tag>,
    pub(crate) deployed_tag: Option<Tag>,
    pub(crate) deployed_digest: Option<Digest>,
    pub(crate) deployed_at: Option<Timestamp>,
    /// The tag of a deployment that is recorded and not over, with its id, state and attempts.
    pub(crate) pending: Option<PendingRow>,
    /// The last successful poll.
    pub(crate) polled_at: Option<Timestamp>,
    /// The last poll, successful or not.
    pub(crate) checked_at: Option<Timestamp>,
    pub(crate) failure: Option<Failure>,
    /// A hold that holds now.
    pub(crate) hold: Option<Hold>,
    /// Candidates newer than what the stage was given, newest first.
    pub(crate) waiting: Vec<Tag>,
}

#[derive(Clone, Debug)]
pub(crate) struct PendingRow {
    pub(crate) id: String,
    pub(crate) tag: Tag,
    pub(crate) state: DeploymentState,
    pub(crate) attempts: u32,
    /// Not before then.
    pub(crate) next_attempt_at: Option<Timestamp>,
    pub(crate) last_error: Option<String>,
}

#[derive(Serialize)]
struct StatusJson {
    version: u32,
    targets: Vec<RowJson>,
}

#[derive(Serialize)]
struct RowJson {
    project: String,
    stage: String,
    status: Option<&'static str>,
    latest_tag: Option<String>,
    deployed_tag: Option<String>,
    digest: Option<String>,
    deployed_at: Option<String>,
    polled_at: Option<String>,
    checked_at: Option<String>,
    deployment: Option<PendingJson>,
    hold: Option<HoldJson>,
    waiting: Vec<String>,
    error: Option<ErrorJson>,
}

#[derive(Serialize)]
struct HoldJson {
    reason: Option<String>,
    by: String,
    since: String,
    until: Option<String>,
}

#[derive(Serialize)]
struct PendingJson {
    id: String,
    tag: String,
    state: &'static str,
    attempts: u32,
    next_attempt_at: Option<String>,
    last_error: Option<String>,
}

/// `status --format json`
pub(crate) fn status_as_json(console: &Console, rows: &[StatusRow]) {
    print(console, &StatusJson { version: VERSION, targets: rows.iter().map(RowJson::from).collect() });
}

/// `status --format human`: the table, and below it each error with its cause.
pub(crate) fn status_as_table(console: &Console, rows: &[StatusRow], now: Timestamp) {
    let mut builder = Builder::default();
    builder.push_record(["TARGET", "STATUS", "NEWEST", "DEPLOYED", "PENDING", "CHECKED"]);
    for row in rows {
        let tag = |tag: Option<&Tag>| tag.map_or_else(|| "-".to_owned(), ToString::to_string);
        let age = |moment: Option<Timestamp>| {
            moment.map_or_else(|| "never".to_owned(), |then| describe_age(then, now))
        };
        let deployed = match (&row.deployed_tag, row.deployed_at) {
            (Some(tag), Some(at)) => format!("{tag} ({})", describe_age(at, now)),
            (found, _) => tag(found.as_ref()),
        };
        builder.push_record([
            row.target.to_string(),
            row.status.map_or("not polled yet", Status::as_str).to_owned(),
            tag(row.latest_tag.as_ref()),
            deployed,
            tag(row.pending.as_ref().map(|pending| &pending.tag)),
            age(row.checked_at),
        ]);
    }
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, 2, 0, 0));
    if rows.is_empty() {
        table.with(Remove::row(Rows::first()));
    }
    for line in table.to_string().lines() {
        console.data(line.trim_end());
    }
    for row in rows {
        if let Some(hold) = &row.hold {
            let until = hold.until.map_or_else(String::new, |until| format!(" until {until:.0}"));
            console.data(&format!("\n{}: {}{until}", row.target, escape_control(&hold.describe())));
        }
        if let Some(newest) = row.waiting.first() {
            console.data(&format!("\n{}: {newest} waits; why: tagship tags {}", row.target, row.target));
        }
        if let Some(failure) = &row.failure {
            let since = row.polled_at.map_or_else(
                || "never reached".to_owned(),
                |polled| format!("last reached {}", describe_age(polled, now)),
            );
            let code = failure.code.as_str();
            console.data(&format!(
                "\n{}: {code}: {} ({since})",
                row.target,
                escape_control(&failure.message)
            ));
        }
        if let Some(pending) = &row.pending
            && let Some(error) = &pending.last_error
        {
            let what = what_comes_next(pending, &row.target, now);
            let PendingRow { tag, attempts, .. } = pending;
            console.data(&format!(
                "\n{}: {tag} failed (attempt {attempts}{what}): {}",
                row.target,
                escape_control(error)
            ));
        }
    }
}

fn what_comes_next(pending: &PendingRow, target: &TargetId, now: Timestamp) -> String {
    if pending.state == DeploymentState::Dead {
        return format!(", given up; to try it again: tagship retry {target}");
    }
    match pending.next_attempt_at {
        Some(next) if next > now => {
            format!(", again in {}", describe_duration(next.duration_since(now).unsigned_abs()))
        }
        _ => String::new(),
    }
}

impl From<&StatusRow> for RowJson {
    fn from(row: &StatusRow) -> Self {
        let moment = |moment: Option<Timestamp>| moment.map(|moment| format!("{moment:.3}"));
        RowJson {
            project: row.target.project.to_string(),
            stage: row.target.stage.to_string(),
            status: row.status.map(Status::as_str),
            latest_tag: row.latest_tag.as_ref().map(ToString::to_string),
            deployed_tag: row.deployed_tag.as_ref().map(ToString::to_string),
            digest: row.deployed_digest.as_ref().map(ToString::to_string),
            deployed_at: moment(row.deployed_at),
            polled_at: moment(row.polled_at),
            checked_at: moment(row.checked_at),
            deployment: row.pending.as_ref().map(|pending| PendingJson {
                id: pending.id.clone(),
                tag: pending.tag.to_string(),
                state: pending.state.as_str(),
                attempts: pending.attempts,
                next_attempt_at: moment(pending.next_attempt_at),
                last_error: pending.last_error.clone(),
            }),
            hold: row.hold.as_ref().map(|hold| HoldJson {
                reason: hold.reason.clone(),
                by: hold.by.clone(),
                since: format!("{:.0}", hold.since),
                until: hold.until.map(|until| format!("{until:.0}")),
            }),
            waiting: row.waiting.iter().map(ToString::to_string).collect(),
            error: row.failure.as_ref().map(ErrorJson::from),
        }
    }
}
