//! `tags`: every tag with its verdict and reason.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::field::{Rfc3339, VERSION, print};
use super::table::{TextTable, cell, styled};
use super::wording::{describe_by, describe_state, or_dash};
use super::{Console, escape_control};
use crate::engine::{TagVerdict, VerdictKind};
use crate::policy::Order;
use crate::reference::{Dropped, Tag};
use crate::store::Origin;
use crate::target::TargetId;

/// How many tags fit on one screen.
const SCREEN: usize = 30;

/// A target's tags, and its rule.
pub(crate) struct TagsPage<'a> {
    pub(crate) target: &'a TargetId,
    pub(crate) image: String,
    pub(crate) order: Order,
    pub(crate) rule: String,
    pub(crate) gates: Vec<String>,
    pub(crate) high_water: Option<&'a Tag>,
    pub(crate) deployed: Option<&'a Tag>,
    pub(crate) polled_at: Option<Timestamp>,
    pub(crate) tags: &'a [TagVerdict],
    pub(crate) dropped: &'a Dropped,
}

/// Every tag of a target, newest first.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Tags")]
pub(super) struct TagsJson<'a> {
    /// The version of this format; raised by incompatible changes.
    version: u32,
    project: &'a str,
    stage: &'a str,
    image: &'a str,
    /// Which tags match, and how they are ordered.
    rule: &'a str,
    /// The gates that a tag must pass before it is deployed.
    gates: &'a [String],
    /// The newest tag ever deployed, marked or found by the first poll.
    high_water_tag: Option<&'a str>,
    /// What the stage runs, as far as tagship knows.
    deployed_tag: Option<&'a str>,
    /// The last successful poll.
    polled_at: Option<Rfc3339>,
    tags: Vec<TagJson<'a>>,
    dropped: DroppedJson<'a>,
}

/// Names in the list that are not valid tags: their number, and the first ones.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Dropped")]
struct DroppedJson<'a> {
    count: usize,
    names: &'a [String],
}

/// A tag with its verdict.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Tag")]
struct TagJson<'a> {
    tag: &'a str,
    /// The sort key, if the rule matches the tag.
    key: Option<&'a str>,
    pushed_at: Option<Rfc3339>,
    /// What polls do with it.
    verdict: VerdictKind,
    /// Why, for people.
    reason: &'a str,
    /// When the reason can end, if known.
    until: Option<Rfc3339>,
}

/// `tags --format json`: every tag, or the one asked for.
pub(crate) fn tags_as_json(console: &Console, page: &TagsPage<'_>) {
    print(
        console,
        &TagsJson {
            version: VERSION,
            project: page.target.project.as_str(),
            stage: page.target.stage.as_str(),
            image: &page.image,
            rule: &page.rule,
            gates: &page.gates,
            high_water_tag: page.high_water.map(Tag::as_str),
            deployed_tag: page.deployed.map(Tag::as_str),
            polled_at: page.polled_at.map(Rfc3339::from),
            tags: page.tags.iter().map(TagJson::from).collect(),
            dropped: DroppedJson { count: page.dropped.count, names: &page.dropped.names },
        },
    );
}

impl<'a> From<&'a TagVerdict> for TagJson<'a> {
    fn from(verdict: &'a TagVerdict) -> Self {
        TagJson {
            tag: verdict.listed.tag.as_str(),
            key: verdict.key.as_deref(),
            pushed_at: verdict.listed.pushed_at.map(Rfc3339::from),
            verdict: verdict.kind,
            reason: &verdict.reason,
            until: verdict.until.map(Rfc3339::from),
        }
    }
}

/// `tags --format human`: one screen of tags, the relevant ones first; `all`: every tag.
pub(crate) fn tags_as_table(console: &Console, page: &TagsPage<'_>, all: bool) {
    let mut above = TextTable::default();
    above.push(vec![cell(head(page))]);
    above.print(console);
    let shown = if all { page.tags.iter().collect() } else { screenful(page.tags) };
    // With order newest, the key already contains the time. Some registries have no push times.
    let has_times =
        page.order != Order::Newest && shown.iter().any(|verdict| verdict.listed.pushed_at.is_some());
    let columns = ["TAG", "KEY", "PUSHED", "VERDICT", "REASON"];
    let columns: Vec<&str> = columns.into_iter().filter(|name| has_times || *name != "PUSHED").collect();
    let mut table = TextTable::with_head(&columns);
    for verdict in &shown {
        let style = style_of(verdict.kind);
        let text = |text: String| styled(text, style);
        let mut row = vec![text(verdict.listed.tag.to_string()), text(key(verdict))];
        if has_times {
            row.push(text(pushed(verdict).unwrap_or_else(|| "-".to_owned())));
        }
        row.push(text(describe(verdict.kind)));
        row.push(text(reason(verdict)));
        table.push(row);
    }
    table.print(console);
    if shown.len() < page.tags.len() {
        console.line(&format!("… and {} more: --all", page.tags.len() - shown.len()));
    }
    if page.dropped.count > 0 {
        console.line(&escape_control(&page.dropped.to_string()));
    }
}

/// `tags TARGET TAG`: the verdict of one tag. `origin`: its deployment, if there was one.
pub(crate) fn tag_in_full(
    console: &Console,
    page: &TagsPage<'_>,
    verdict: &TagVerdict,
    origin: Option<&Origin>,
) {
    let mut table = TextTable::default();
    let taken = styled(describe(verdict.kind), style_of(verdict.kind));
    table.push(vec![cell(format!("{} {}", page.target, verdict.listed.tag)), taken]);
    let mut facts = vec![("why", reason(verdict)), ("key", key(verdict))];
    facts.extend(pushed(verdict).map(|pushed_at| ("pushed", pushed_at)));
    facts.extend(origin.map(|origin| {
        let by = describe_by(origin.by, origin.by_whom.as_deref());
        ("deployment", format!("{}, {by}, {}", describe_state(origin.state), origin.id))
    }));
    facts.push(("deployed", or_dash(page.deployed).to_owned()));
    facts.push(("high-water", or_dash(page.high_water).to_owned()));
    facts.push(("rule", page.rule.clone()));
    if !page.gates.is_empty() {
        facts.push(("gates", page.gates.join(", ")));
    }
    for (name, text) in facts {
        table.push(vec![styled(format!("  {name}"), Style::new().dimmed()), cell(text)]);
    }
    table.print(console);
}

/// The target's image, rule and gates.
fn head(page: &TagsPage<'_>) -> String {
    let gates = if page.gates.is_empty() { String::new() } else { format!("; {}", page.gates.join(", ")) };
    format!("{} uses tags of {}: {}{gates}", page.target, page.image, page.rule)
}

/// The verdict for people; JSON keeps the published words.
fn describe(kind: VerdictKind) -> String {
    match kind {
        VerdictKind::Given => "newest so far".to_owned(),
        VerdictKind::NewerFirst => "newer first".to_owned(),
        VerdictKind::NotNewer => "not newer".to_owned(),
        kind => kind.as_str().replace('_', " "),
    }
}

fn key(verdict: &TagVerdict) -> String {
    verdict.key.as_deref().map_or_else(|| "-".to_owned(), escape_control)
}

fn pushed(verdict: &TagVerdict) -> Option<String> {
    verdict.listed.pushed_at.map(|pushed_at| format!("{pushed_at:.0}"))
}

fn reason(verdict: &TagVerdict) -> String {
    let until = verdict.until.map_or_else(String::new, |until| format!("; until {until:.0}"));
    format!("{}{until}", escape_control(&verdict.reason))
}

/// All tags in order; of more than fit, the relevant ones, then as many of the others as fit.
fn screenful(tags: &[TagVerdict]) -> Vec<&TagVerdict> {
    if tags.len() <= SCREEN {
        return tags.iter().collect();
    }
    let interesting = tags.iter().filter(|verdict| verdict.kind.is_interesting()).take(SCREEN);
    let mut shown: Vec<&TagVerdict> = interesting.collect();
    let others = tags.iter().filter(|verdict| !verdict.kind.is_interesting());
    shown.extend(others.take(SCREEN - shown.len()));
    shown
}

fn style_of(taken: VerdictKind) -> Style {
    match taken {
        VerdictKind::Deployed | VerdictKind::Given => AnsiColor::Green.on_default(),
        VerdictKind::Next | VerdictKind::Baseline | VerdictKind::Available => {
            AnsiColor::Cyan.on_default().bold()
        }
        VerdictKind::Held | VerdictKind::Waiting | VerdictKind::NotChecked | VerdictKind::NewerFirst => {
            AnsiColor::Yellow.on_default()
        }
        VerdictKind::NotNewer
        | VerdictKind::NotMatched
        | VerdictKind::Excluded
        | VerdictKind::NotParsed
        | VerdictKind::OutOfRange
        | VerdictKind::Prerelease
        | VerdictKind::NotListed => Style::new().dimmed(),
    }
}
