//! `status --format json`

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::StatusRow;
use crate::engine::{DeploymentState, Failure, Status, Trigger};
use crate::reference::Tag;
use crate::report::Console;
use crate::report::field::{Rfc3339, VERSION, print};

/// What the state knows of each target.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Status")]
pub(in crate::report) struct StatusJson {
    /// Of this format; it grows when a reader of the old one would go wrong.
    version: u32,
    targets: Vec<RowJson>,
}

/// What a target has.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Target")]
struct RowJson {
    project: String,
    stage: String,
    /// What the last poll said; none before the first.
    status: Option<Status>,
    /// Why, for people.
    reason: Option<String>,
    /// When the reason can end, where that can be known.
    until: Option<Rfc3339>,
    /// The newest tag that the policy allows.
    latest_tag: Option<String>,
    /// What the stage runs, as far as tagship knows.
    deployed_tag: Option<String>,
    /// Of the deployed tag.
    digest: Option<String>,
    deployed_at: Option<Rfc3339>,
    /// Who decided it.
    deployed_by: Option<Trigger>,
    /// A login name, where it was by hand.
    deployed_by_whom: Option<String>,
    /// Of the deployment that brought the deployed tag.
    deployment_id: Option<String>,
    /// The newest tag ever given to the stage.
    high_water_tag: Option<String>,
    /// The last successful poll.
    polled_at: Option<Rfc3339>,
    /// The last poll, successful or not.
    checked_at: Option<Rfc3339>,
    /// When a poll with --due asks again.
    due_at: Option<Rfc3339>,
    /// The first of the failed polls in a row.
    failing_since: Option<Rfc3339>,
    /// One that is not over.
    deployment: Option<PendingJson>,
    hold: Option<HoldJson>,
    /// Tags newer than what the stage was given, the newest first.
    waiting: Vec<String>,
    image: String,
    /// Which tags may be taken.
    rule: String,
    /// What must hold before a chosen tag is deployed.
    gates: Vec<String>,
    rule_edit: Option<EditJson>,
    /// Of the last poll, where it failed.
    error: Option<Failure>,
}

/// Automatic deployments are stopped.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Hold")]
struct HoldJson {
    reason: Option<String>,
    /// A login name.
    by: String,
    since: Rfc3339,
    /// None: until tagship release.
    until: Option<Rfc3339>,
}

/// One that is under way, waits for its next attempt, or was given up.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Deployment")]
struct PendingJson {
    /// A UUID, the same through every attempt.
    id: String,
    tag: String,
    state: DeploymentState,
    /// How many were started.
    attempts: u32,
    /// Not before then.
    next_attempt_at: Option<Rfc3339>,
    last_error: Option<String>,
}

/// The last edit of the rule that the state knows of.
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
        }
    }
}
