//! What must be true of the state and of what was received, at any time and in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rusqlite::Connection;

use super::model::{Model, STAGES, Stage};
use super::receiver::Received;
use crate::harness::Shop;

/// What was seen so far.
#[derive(Default)]
pub(super) struct Audit {
    /// By id of a deployment whose success was recorded: how much of its target was received then.
    succeeded: BTreeMap<String, usize>,
    /// What was marked, and how much the target had received before.
    marks: BTreeMap<&'static str, Vec<(usize, String)>>,
}

struct Row {
    id: String,
    target: String,
    tag: String,
    state: String,
    by: String,
}

fn open(shop: &Shop) -> Connection {
    Connection::open(shop.path("state.db")).unwrap()
}

fn rows(state: &Connection) -> Vec<Row> {
    let query = "SELECT id, project || '/' || stage, tag, state, decided_by FROM deployment ORDER BY rowid";
    let mut statement = state.prepare(query).unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        let text = |at: usize| row.get::<_, String>(at);
        Ok(Row { id: text(0)?, target: text(1)?, tag: text(2)?, state: text(3)?, by: text(4)? })
    };
    statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
}

fn count(state: &Connection, table: &str) -> usize {
    let query = format!("SELECT count(*) FROM {table}");
    state.query_row(&query, [], |row| row.get::<_, u32>(0)).unwrap() as usize
}

fn of<'a>(all: &'a [Received], target: &str) -> Vec<&'a Received> {
    all.iter().filter(|one| one.target == target).collect()
}

impl Audit {
    pub(super) fn mark(&mut self, target: &'static str, tag: &str, all: &[Received]) {
        self.marks.entry(target).or_default().push((of(all, target).len(), tag.to_owned()));
    }

    /// Between polls, orphans of killed ones may still live.
    pub(super) fn look(&mut self, shop: &Shop, all: &[Received], model: &Model) {
        assert!(!shop.exists("overlaps"), "two commands at once: {}", shop.read("overlaps"));
        // What a killed run left half written is for the next run to put right, not for us.
        if !shop.exists("state.db-journal") {
            for row in rows(&open(shop)).iter().filter(|row| row.state == "succeeded") {
                let known = of(all, &row.target).len();
                self.succeeded.entry(row.id.clone()).or_insert(known);
            }
        }
        for stage in &STAGES {
            self.look_at(stage, &of(all, stage.target), model);
        }
    }

    fn look_at(&self, stage: &Stage, received: &[&Received], model: &Model) {
        let target = stage.target;
        let mut told: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        let mut done: BTreeSet<&str> = BTreeSet::new();
        let mut ended: BTreeMap<(&str, &str), (&str, usize)> = BTreeMap::new();
        for (at, one) in received.iter().enumerate() {
            let (tag, digest) = (one.tag.as_str(), one.digest.as_str());
            let same = told.entry(&one.id).or_insert((tag, digest));
            assert_eq!(*same, (tag, digest), "{target}: {} is about two things", one.id);
            if one.is_done {
                done.insert(tag);
                ended.insert((tag, if stage.moves() { digest } else { "" }), (&one.id, at));
                continue;
            }
            if let Some(known) = self.succeeded.get(&one.id) {
                assert!(at < *known, "{target}: {} was done, and {tag} sent again", one.id);
            }
            if let Some((id, _)) = ended.get(&(tag, if stage.moves() { digest } else { "" }))
                && let Some(known) = self.succeeded.get(*id)
            {
                assert!(
                    at < *known || **id == one.id,
                    "{target}: {tag} was done as {id}, and sent as {}",
                    one.id
                );
            }
            let marked = self.marks.get(target).into_iter().flatten().filter(|(before, _)| *before <= at);
            for before in done.iter().copied().chain(marked.map(|(_, tag)| tag.as_str())) {
                assert!(!model.goes_back(stage, before, tag), "{target} went back from {before} to {tag}");
            }
        }
    }

    /// When all is calm, every deployment is over, and it is plain why.
    pub(super) fn nothing_is_owed(&self, shop: &Shop, all: &[Received], model: &Model) {
        let rows = rows(&open(shop));
        for (at, row) in rows.iter().enumerate() {
            let stage = Stage::of(&row.target);
            let shown = format!("{} {} {} by {}: {}", row.target, row.tag, row.id, row.by, row.state);
            match row.state.as_str() {
                "succeeded" => {
                    let is_done = all.iter().any(|one| one.is_done && one.id == row.id);
                    let marks = self.marks.get(stage.target).into_iter().flatten();
                    assert!(is_done || marks.into_iter().any(|(_, tag)| *tag == row.tag), "{shown}");
                }
                "superseded" => {
                    assert!(rows[at + 1..].iter().any(|other| other.target == row.target), "{shown}");
                }
                "dropped" => assert!(!model.is_there(stage, &row.tag), "{shown}"),
                _ => panic!("{shown}"),
            }
        }
    }

    /// How many deployments and attempts are recorded, and the size of the state.
    pub(super) fn nothing_is_left_behind(&self, shop: &Shop) -> (usize, usize, u64) {
        let own = [
            "tagship.toml",
            "deploy.sh",
            "count.sh",
            "received",
            "descriptors",
            "metrics.prom",
            "state.db",
            "home",
            "secret",
            "tmp",
            "state.db.locks",
        ];
        let names = |folder: &str| -> Vec<String> {
            let entries = fs::read_dir(shop.path(folder)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        for name in names("") {
            assert!(own.contains(&name.as_str()) || name.starts_with("alone."), "{name} is left behind");
        }
        assert_eq!((names("tmp"), names("home")), (Vec::new(), Vec::new()));
        let locks = names("state.db.locks");
        assert!(locks.len() <= STAGES.len(), "{locks:?}");
        let descriptors: BTreeSet<String> = shop.read("descriptors").lines().map(str::to_owned).collect();
        assert_eq!(descriptors.len(), 1, "files that commands have open: {descriptors:?}");
        let state = open(shop);
        let counts =
            ["poll_state", "feed", "registry", "sighting", "notification"].map(|table| count(&state, table));
        assert_eq!((counts[0], counts[1]), (STAGES.len(), 2));
        assert!(counts[2] <= 1 && counts[3..] == [0, 0], "{counts:?}");
        let images: BTreeSet<&str> = STAGES.iter().map(|stage| stage.image).collect();
        assert!(count(&state, "feed_repository") <= images.len());
        let (deployments, attempts) = (count(&state, "deployment"), count(&state, "attempt"));
        let size = fs::metadata(shop.path("state.db")).unwrap().len();
        let most = 128 * 1024 + 1024 * (deployments + attempts) as u64;
        assert!(size < most, "{size} bytes for {deployments} deployments and {attempts} attempts");
        (deployments, attempts, size)
    }
}
