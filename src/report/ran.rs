//! What `history --at` shows: what each target ran at some time.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::field::{Moment, VERSION, print};
use super::table::{Table, cell};
use super::wording::describe_by;
use super::{Console, field};
use crate::plan::DecidedBy;
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
}

/// A tag, and when it was there.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "TagRan")]
struct TagRanJson {
    tag: String,
    digest: Option<String>,
    /// None: from before the history begins.
    from: Option<Moment>,
    /// None: until now.
    until: Option<Moment>,
    /// Who decided it.
    #[schemars(schema_with = "field::optional_decided_by")]
    by: Option<&'static str>,
    /// A login name, where it was by hand.
    by_whom: Option<String>,
    deployment_id: Option<String>,
}

/// `history --at DATE --format json`
pub(crate) fn ran_as_json(
    console: &Console,
    runs: &[(&TargetId, Vec<Ran>)],
    from: Timestamp,
    until: Timestamp,
) {
    let targets = runs.iter().map(|(target, runs)| TargetRanJson {
        project: target.project.to_string(),
        stage: target.stage.to_string(),
        ran: runs.iter().map(TagRanJson::from).collect(),
    });
    let (from, until) = (from.into(), until.into());
    print(console, &RanJson { version: VERSION, from, until, targets: targets.collect() });
}

/// `history --at DATE --format human`
pub(crate) fn ran_as_table(console: &Console, runs: &[(&TargetId, Vec<Ran>)]) {
    let mut table = Table::with_head(&["TARGET", "TAG", "FROM", "UNTIL", "BY"]);
    for (target, runs) in runs {
        if runs.is_empty() {
            let dash = || cell("-");
            table.push(vec![cell(target.to_string()), cell("not known"), dash(), dash(), dash()]);
        }
        for run in runs {
            let moment = |moment: Option<Timestamp>, none: &str| {
                cell(moment.map_or_else(|| none.to_owned(), |moment| format!("{moment:.0}")))
            };
            let by = |origin: &Origin| describe_by(origin.by, origin.by_whom.as_deref());
            table.push(vec![
                cell(target.to_string()),
                cell(run.tag.to_string()),
                moment(run.from, "before"),
                moment(run.until, "now"),
                cell(run.origin.as_ref().map_or_else(|| "-".to_owned(), by)),
            ]);
        }
    }
    table.print(console);
}

impl From<&Ran> for TagRanJson {
    fn from(run: &Ran) -> Self {
        let origin = run.origin.as_ref();
        TagRanJson {
            tag: run.tag.to_string(),
            digest: run.digest.as_ref().map(ToString::to_string),
            from: run.from.map(Moment::from),
            until: run.until.map(Moment::from),
            by: origin.map(|origin| origin.by).map(DecidedBy::as_str),
            by_whom: origin.and_then(|origin| origin.by_whom.clone()),
            deployment_id: origin.map(|origin| origin.id.clone()),
        }
    }
}
