//! What `history --at` shows: what each target ran at some time.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Console;
use super::field::{Moment, VERSION, print};
use super::table::{Table, cell};
use super::wording::describe_by;
use crate::engine::{Baseline, DecidedBy};
use crate::store::{Origin, Ran};
use crate::target::TargetId;

/// What each target ran in a time.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Ran")]
pub(super) struct RanJson {
    /// Of this format; it grows when a reader of the old one would go wrong.
    version: u32,
    from: Moment,
    until: Moment,
    targets: Vec<TargetRanJson>,
}

/// What a target ran.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "TargetRan")]
struct TargetRanJson {
    project: String,
    stage: String,
    /// In order; empty: nothing is known of then.
    ran: Vec<TagRanJson>,
    /// The first poll, where it is remembered: what it found is not known to have run.
    first_poll: Option<FirstPollJson>,
    /// Where several state files were read: the one that knows it.
    state_file: Option<String>,
}

/// A first poll.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "FirstPoll")]
struct FirstPollJson {
    at: Moment,
    /// The newest tag that there was.
    found_tag: String,
}

/// What a target ran at some time, and where its first poll began.
pub(crate) struct TargetRan<'a> {
    pub(crate) target: &'a TargetId,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) ran: Vec<Ran>,
    /// Of several that were read: the state file that it is from.
    pub(crate) state_file: Option<String>,
}

/// A tag, and when it was there.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "TagRan")]
struct TagRanJson {
    tag: String,
    digest: Option<String>,
    from: Moment,
    /// None: until now.
    until: Option<Moment>,
    /// Who decided it.
    by: DecidedBy,
    /// A login name, where it was by hand.
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
    let mut table = Table::with_head(&head);
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
            until: run.until.map(Moment::from),
            by: origin.by,
            by_whom: origin.by_whom.clone(),
            deployment_id: origin.id.clone(),
        }
    }
}
