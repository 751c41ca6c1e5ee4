//! What `tags` shows: every tag with the one reason for what became of it.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::{Padding, Style as Borders};

use super::console::paint;
use super::json::{VERSION, print};
use super::{Console, escape_control};
use crate::plan::{Explained, Taken};
use crate::reference::Tag;
use crate::target::TargetId;

/// How many tags one screen has room for.
const SCREEN: usize = 30;

/// A target's tags, and the rule that they are judged by.
pub(crate) struct TagsPage<'a> {
    pub(crate) target: &'a TargetId,
    pub(crate) image: String,
    pub(crate) order: String,
    pub(crate) rule: String,
    pub(crate) high_water: Option<&'a Tag>,
    pub(crate) deployed: Option<&'a Tag>,
    pub(crate) polled_at: Option<Timestamp>,
    pub(crate) tags: &'a [Explained],
}

#[derive(Serialize)]
struct TagsJson<'a> {
    version: u32,
    project: &'a str,
    stage: &'a str,
    image: &'a str,
    rule: &'a str,
    high_water_tag: Option<&'a str>,
    deployed_tag: Option<&'a str>,
    polled_at: Option<String>,
    tags: Vec<TagJson<'a>>,
}

#[derive(Serialize)]
struct TagJson<'a> {
    tag: &'a str,
    key: Option<&'a str>,
    pushed_at: Option<String>,
    verdict: &'static str,
    reason: &'a str,
    until: Option<String>,
}

/// `tags --format json`: always every tag.
pub(crate) fn tags_as_json(console: &Console, page: &TagsPage<'_>) {
    print(
        console,
        &TagsJson {
            version: VERSION,
            project: page.target.project.as_str(),
            stage: page.target.stage.as_str(),
            image: &page.image,
            rule: &page.rule,
            high_water_tag: page.high_water.map(Tag::as_str),
            deployed_tag: page.deployed.map(Tag::as_str),
            polled_at: moment(page.polled_at),
            tags: page.tags.iter().map(TagJson::from).collect(),
        },
    );
}

fn moment(moment: Option<Timestamp>) -> Option<String> {
    moment.map(|moment| format!("{moment:.0}"))
}

impl<'a> From<&'a Explained> for TagJson<'a> {
    fn from(explained: &'a Explained) -> Self {
        TagJson {
            tag: explained.listed.tag.as_str(),
            key: explained.key.as_deref(),
            pushed_at: moment(explained.listed.pushed_at),
            verdict: explained.taken.as_str(),
            reason: &explained.reason,
            until: moment(explained.until),
        }
    }
}

/// `tags --format human`: of many tags the interesting ones first, `all` for the rest.
pub(crate) fn tags_as_table(console: &Console, page: &TagsPage<'_>, all: bool) {
    console.data(&format!("{} takes {} by order {}: {}", page.target, page.image, page.order, page.rule));
    let shown = if all { page.tags.iter().collect() } else { screenful(page.tags) };
    let mut builder = Builder::default();
    builder.push_record(["TAG", "KEY", "PUSHED", "", "REASON"]);
    for explained in &shown {
        let pushed_at = moment(explained.listed.pushed_at).unwrap_or_else(|| "-".to_owned());
        let until = explained.until.map_or_else(String::new, |until| format!(" (until {until:.0})"));
        builder.push_record([
            explained.listed.tag.to_string(),
            explained.key.as_deref().map_or_else(|| "-".to_owned(), escape_control),
            pushed_at,
            explained.taken.as_str().to_owned(),
            format!("{}{until}", escape_control(&explained.reason)),
        ]);
    }
    let mut table = builder.build();
    table.with(Borders::empty()).with(Padding::new(0, 2, 0, 0));
    let text = table.to_string();
    let mut lines = text.lines();
    lines.next().into_iter().for_each(|head| console.data(head.trim_end()));
    for (line, explained) in lines.zip(&shown) {
        console.data(&paint(style_of(explained.taken), line.trim_end()));
    }
    if shown.len() < page.tags.len() {
        console.data(&format!("… and {} more: --all", page.tags.len() - shown.len()));
    }
}

/// What concerns the stage now, then of the others as many as fit, in their order.
fn screenful(tags: &[Explained]) -> Vec<&Explained> {
    let interesting = tags.iter().filter(|explained| explained.taken.is_interesting()).take(SCREEN);
    let mut shown: Vec<&Explained> = interesting.collect();
    let others = tags.iter().filter(|explained| !explained.taken.is_interesting());
    shown.extend(others.take(SCREEN - shown.len()));
    shown
}

fn style_of(taken: Taken) -> Style {
    match taken {
        Taken::Deployed | Taken::Given => AnsiColor::Green.on_default(),
        Taken::Next | Taken::Available => AnsiColor::Cyan.on_default().bold(),
        Taken::Held | Taken::Waiting | Taken::PassedBy => AnsiColor::Yellow.on_default(),
        _ => Style::new().dimmed(),
    }
}
