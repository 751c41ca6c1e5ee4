//! What must be true of the state and of the received deployments, at any time and at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Model, Place, Stage};
use super::outbox::{self, Outbox};
use super::receiver::{Endpoint, Received};
use super::state::{self, Row};
use crate::harness::Shop;

/// Everything seen until now. Every delivery is checked once.
#[derive(Default)]
pub(super) struct Audit {
    /// The number of deliveries that were checked.
    seen: usize,
    stages: BTreeMap<&'static str, Seen>,
    outbox: Outbox,
    /// Deployments whose success was recorded before the present deliveries arrived.
    succeeded: BTreeSet<String>,
    /// Manual deployments.
    pub(super) manual: BTreeSet<String>,
    /// By target: the planned tag at the time of a manual deployment of another tag.
    pub(super) replaced: BTreeSet<(String, String)>,
    /// By target: what gave way to something newer, before it came.
    pub(super) outrun: BTreeSet<(String, String)>,
    /// Target and tag, where the stage was believed to run it, since this was last taken.
    pub(super) adopted: Vec<(&'static Stage, String)>,
    /// By target: the marked tag.
    marks: BTreeMap<&'static str, BTreeSet<String>>,
    /// Deployments up to this one are over, and do not change any more.
    over: i64,
}

/// Of one stage.
#[derive(Default)]
struct Seen {
    /// By id of a deployment: its tag and digest.
    told: BTreeMap<String, (String, String)>,
    /// By tag, and by digest where that is what counts: the deployment that brought it last.
    ended: BTreeMap<(String, String), String>,
    /// The newest tag of the stage: finished or marked.
    newest: Option<(Place, String)>,
}

impl Audit {
    /// After everything that was received before was looked at.
    pub(super) fn mark(&mut self, stage: &'static Stage, tag: &str, model: &Model) {
        self.marks.entry(stage.target).or_default().insert(tag.to_owned());
        self.stages.entry(stage.target).or_default().has(stage, tag, model);
    }

    /// Between polls, orphans of killed ones may still live.
    pub(super) fn look(&mut self, shop: &Shop, endpoint: &Endpoint, all: &[Received], model: &Model) {
        assert!(!shop.exists("overlaps"), "two commands at once: {}", shop.read("overlaps"));
        let Some(state) = state::open(shop) else { return };
        self.outbox.look(&state, &endpoint.notified());
        let rows = state::rows(&state, self.over);
        self.manual.extend(
            rows.iter()
                .filter(|row| ["hand", "rollback"].contains(&row.by.as_str()))
                .map(|row| row.id.clone()),
        );
        for one in &all[self.seen..] {
            let stage = Stage::of(&one.target);
            let seen = self.stages.entry(stage.target).or_default();
            seen.look_at(stage, one, &self.succeeded, self.manual.contains(&one.id), model);
        }
        self.seen = all.len();
        self.over = rows.iter().take_while(|row| row.is_over()).last().map_or(self.over, |row| row.number);
        for row in rows {
            let stage = Stage::of(&row.target);
            if row.state == "superseded" && row.reason.ends_with(" was deployed manually") {
                self.replaced.insert((row.target, row.tag));
            } else if row.state == "superseded" {
                self.outrun.insert((row.target, row.tag));
            } else if row.state == "succeeded" && self.succeeded.insert(row.id.clone()) && row.is_adopted() {
                self.stages.entry(stage.target).or_default().has(stage, &row.tag, model);
                self.adopted.push((stage, row.tag));
            }
        }
    }

    /// When all is calm, every deployment is over, and it is plain why.
    pub(super) fn nothing_is_owed(&self, shop: &Shop, endpoint: &Endpoint, all: &[Received], model: &Model) {
        let state = state::open(shop).expect("nothing was killed since");
        outbox::everything_is_notified(&state, &endpoint.notified());
        let said = endpoint.said(shop);
        let rows = state::rows(&state, 0);
        let done: BTreeSet<&str> = all.iter().filter(|one| one.is_done).map(|one| one.id.as_str()).collect();
        let newest: BTreeMap<&str, i64> = rows.iter().map(|row| (row.target.as_str(), row.number)).collect();
        for row in &rows {
            let stage = Stage::of(&row.target);
            let holds = match row.state.as_str() {
                "succeeded" if row.is_adopted() => said.contains(&(row.target.clone(), row.tag.clone())),
                "succeeded" => done.contains(row.id.as_str()) || self.is_marked(stage, row),
                "superseded" => newest[row.target.as_str()] > row.number,
                "dropped" => !model.is_there(stage, &row.tag),
                _ => false,
            };
            assert!(holds, "{row:?}");
        }
    }

    fn is_marked(&self, stage: &Stage, row: &Row) -> bool {
        self.marks.get(stage.target).is_some_and(|tags| tags.contains(&row.tag))
    }
}

impl Seen {
    fn look_at(
        &mut self,
        stage: &Stage,
        one: &Received,
        succeeded: &BTreeSet<String>,
        is_manual: bool,
        model: &Model,
    ) {
        let (target, tag, id) = (stage.target, &one.tag, &one.id);
        let what = (tag.clone(), one.digest.clone());
        let told = self.told.entry(id.clone()).or_insert_with(|| what.clone());
        assert_eq!(*told, what, "{target}: {id} is about two things");
        let what = if stage.moves() { what } else { (what.0, String::new()) };
        if one.is_done {
            self.has(stage, tag, model);
            self.ended.insert(what, id.clone());
            return;
        }
        assert!(!succeeded.contains(id), "{target}: {id} was done, and {tag} sent again");
        if is_manual {
            return;
        }
        if let Some(before) = self.ended.get(&what).filter(|before| succeeded.contains(*before)) {
            assert_eq!(before, id, "{target}: {tag} was done, and sent under another id");
        }
        if let Some((place, newest)) = &self.newest {
            assert!(!model.goes_back(stage, *place, tag), "{target} went back from {newest} to {tag}");
        }
    }

    fn has(&mut self, stage: &Stage, tag: &str, model: &Model) {
        if !stage.takes(tag) {
            return;
        }
        let place = model.first(stage, tag);
        if self.newest.as_ref().is_none_or(|(newest, _)| place > *newest) {
            self.newest = Some((place, tag.to_owned()));
        }
    }
}
