//! `status --format json`

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::StatusRow;
use crate::engine::{DeploymentState, Failure, Status, Trigger};
use crate::reference::Tag;
use crate::report::Console;
use crate::report::field::{Rfc3339, VERSION, print};

/// The status of each target.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Status")]
pub(in crate::report) struct StatusJson {
    /// The version of this format; raised by incompatible changes.
    version: u32,
    targets: Vec<RowJson>,
}

/// The status of a target.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Target")]
struct RowJson {
    project: String,
    stage: String,
    /// The status after the last poll; null: not polled yet.
    status: Option<Status>,
    /// Why, for people.
    reason: Option<String>,
    /// When the reason can end, if known.
    until: Option<Rfc3339>,
    /// The newest tag that the policy matches.
    latest_tag: Option<String>,
    /// What the stage runs, as far as tagship knows.
    deployed_tag: Option<String>,
    /// The digest of the deployed tag.
    digest: Option<String>,
    deployed_at: Option<Rfc3339>,
    /// What triggered that deployment.
    deployed_by: Option<Trigger>,
    /// The login name, if a person deployed or marked it.
    deployed_by_whom: Option<String>,
    /// The ID of the deployed tag's deployment.
    deployment_id: Option<String>,
    /// The newest tag ever deployed, marked or found by the first poll.
    high_water_tag: Option<String>,
    /// The last successful poll.
    polled_at: Option<Rfc3339>,
    /// The last poll, successful or not.
    checked_at: Option<Rfc3339>,
    /// When poll --due checks it again.
    due_at: Option<Rfc3339>,
    /// The first failed poll since the last successful one.
    failing_since: Option<Rfc3339>,
    /// The unfinished deployment.
    deployment: Option<PendingJson>,
    hold: Option<HoldJson>,
    /// Tags newer than the high-water tag, newest first.
    waiting: Vec<String>,
    image: String,
    /// Which tags match, and how they are ordered.
    rule: String,
    /// The gates that a tag must pass before it is deployed.
    gates: Vec<String>,
    rule_edit: Option<EditJson>,
    /// The error of the last poll, if it failed.
    error: Option<Failure>,
    /// Where several state files were read: the one that knows the target.
    state_file: Option<String>,
}

/// A hold: no automatic deployments.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Hold")]
struct HoldJson {
    reason: Option<String>,
    /// The login name of the person who set it.
    by: String,
    since: Rfc3339,
    /// Null: until tagship release.
    until: Option<Rfc3339>,
}

/// A deployment that is running, pending or dead.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Deployment")]
struct PendingJson {
    /// A UUID, the same in every attempt.
    id: String,
    tag: String,
    state: DeploymentState,
    /// How many attempts were started.
    attempts: u32,
    /// The earliest next attempt.
    next_attempt_at: Option<Rfc3339>,
    last_error: Option<String>,
}

/// The last known edit of the rule.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Edit")]
struct EditJson {
    at: Rfc3339,
    rule_before: String,
    high_water_tag_before: Option<String>,
}

/// `status --format json`
pub(crate) fn status_as_json(console: &Console, rows: &[StatusRow]) {
    print(console, &StatusJson { version: VERSION, targets: rows.iter().map(RowJson::from).collect() });
}

impl From<&StatusRow> for RowJson {
    fn from(row: &StatusRow) -> Self {
        let moment = |moment: Option<Timestamp>| moment.map(Rfc3339::from);
        let name = |tag: &Option<Tag>| tag.as_ref().map(ToString::to_string);
        RowJson {
            project: row.target.project.to_string(),
            stage: row.target.stage.to_string(),
            status: row.status,
            reason: row.reason.clone(),
            until: moment(row.until),
            latest_tag: name(&row.latest_tag),
            deployed_tag: name(&row.deployed_tag),
            digest: row.deployed_digest.as_ref().map(ToString::to_string),
            deployed_at: moment(row.deployed_at),
            deployed_by: row.deployed_by,
            deployed_by_whom: row.deployed_origin.as_ref().and_then(|origin| origin.by_whom.clone()),
            deployment_id: row.deployed_origin.as_ref().map(|origin| origin.id.clone()),
            high_water_tag: name(&row.high_water),
            polled_at: moment(row.polled_at),
            checked_at: moment(row.checked_at),
            due_at: moment(row.due_at),
            failing_since: moment(row.failing_since),
            deployment: row.pending.as_ref().map(|pending| PendingJson {
                id: pending.id.clone(),
                tag: pending.tag.to_string(),
                state: pending.state,
                attempts: pending.attempts,
                next_attempt_at: moment(pending.next_attempt_at),
                last_error: pending.last_error.clone(),
            }),
            hold: row.hold.as_ref().map(|hold| HoldJson {
                reason: hold.reason.clone(),
                by: hold.by.clone(),
                since: hold.since.into(),
                until: moment(hold.until),
            }),
            waiting: row.waiting.iter().map(ToString::to_string).collect(),
            image: row.image.clone(),
            rule: row.rule.clone(),
            gates: row.gates.clone(),
            rule_edit: row.edit.as_ref().map(|edit| EditJson {
                at: edit.at.into(),
                rule_before: edit.rule_before.clone(),
                high_water_tag_before: name(&edit.high_water_before),
            }),
            error: row.failure.clone(),
            state_file: row.state_file.clone(),
        }
    }
}
