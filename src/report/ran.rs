//! `history --at`: what each target ran at a given time.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Console;
use super::field::{Rfc3339, VERSION, print};
use super::table::{TextTable, cell};
use super::wording::describe_by;
use crate::engine::{Baseline, Trigger};
use crate::store::{Origin, Ran};
use crate::target::TargetId;

/// What each target ran at the given time.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Ran")]
pub(super) struct RanJson {
    /// The version of this format; raised by incompatible changes.
    version: u32,
    from: Rfc3339,
    until: Rfc3339,
    targets: Vec<TargetRanJson>,
}

/// What a target ran.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "TargetRan")]
struct TargetRanJson {
    project: String,
    stage: String,
    /// In order; empty: not known.
    ran: Vec<TagRanJson>,
    /// The first poll, if it is remembered. The tag that it found may not have run.
    first_poll: Option<FirstPollJson>,
    /// Where several state files were read: the one that knows it.
    state_file: Option<String>,
}

/// A first poll.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "FirstPoll")]
struct FirstPollJson {
    at: Rfc3339,
    /// The newest tag at that time.
    found_tag: String,
}

/// What a target ran at the given time, and its first poll.
pub(crate) struct TargetRan<'a> {
    pub(crate) target: &'a TargetId,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) ran: Vec<Ran>,
    /// Of several that were read: the state file that it is from.
    pub(crate) state_file: Option<String>,
}

/// A tag, and when the target ran it.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "TagRan")]
struct TagRanJson {
    tag: String,
    digest: Option<String>,
    from: Rfc3339,
    /// None: until now.
    until: Option<Rfc3339>,
    /// What triggered it.
    by: Trigger,
    /// The login name, if a person deployed or marked it.
    by_whom: Option<String>,
    deployment_id: String,
}

/// `history --at DATE --format json`
pub(crate) fn ran_as_json(console: &Console, runs: &[TargetRan<'_>], from: Timestamp, until: Timestamp) {
    let targets = runs.iter().map(|TargetRan { target, baseline, ran, state_file }| TargetRanJson {
        project: target.project.to_string(),
        stage: target.stage.to_string(),
        ran: ran.iter().map(TagRanJson::from).collect(),
        first_poll: baseline
            .as_ref()
            .map(|baseline| FirstPollJson { at: baseline.at.into(), found_tag: baseline.tag.to_string() }),
        state_file: state_file.clone(),
    });
    let (from, until) = (from.into(), until.into());
    print(console, &RanJson { version: VERSION, from, until, targets: targets.collect() });
}

/// `history --at DATE --format human`
pub(crate) fn ran_as_table(console: &Console, runs: &[TargetRan<'_>]) {
    let mut head = vec!["TARGET", "TAG", "FROM", "UNTIL", "BY"];
    let are_several = runs.iter().any(|run| run.state_file.is_some());
    head.extend(are_several.then_some("STATE"));
    let mut table = TextTable::with_head(&head);
    for TargetRan { target, baseline, ran, state_file } in runs {
        let file = || are_several.then(|| cell(state_file.as_deref().unwrap_or("-")));
        if ran.is_empty() {
            let dash = || cell("-");
            let what = baseline.as_ref().map_or_else(
                || "not known".to_owned(),
                |Baseline { tag, at }| format!("not known; first poll on {at:.0}, which found {tag}"),
            );
            let cells = [cell(target.to_string()), cell(what), dash(), dash(), dash()];
            table.push(cells.into_iter().chain(file()).collect());
        }
        for run in ran {
            let moment = |moment: Timestamp| format!("{moment:.0}");
            let by = |origin: &Origin| describe_by(origin.by, origin.by_whom.as_deref());
            let cells = [
                cell(target.to_string()),
                cell(run.tag.to_string()),
                cell(moment(run.from)),
                cell(run.until.map_or_else(|| "now".to_owned(), moment)),
                cell(by(&run.origin)),
            ];
            table.push(cells.into_iter().chain(file()).collect());
        }
    }
    table.print(console);
}

impl From<&Ran> for TagRanJson {
    fn from(run: &Ran) -> Self {
        let origin = &run.origin;
        TagRanJson {
            tag: run.tag.to_string(),
            digest: run.digest.as_ref().map(ToString::to_string),
            from: run.from.into(),
            until: run.until.map(Rfc3339::from),
            by: origin.by,
            by_whom: origin.by_whom.clone(),
            deployment_id: origin.id.clone(),
        }
    }
}
