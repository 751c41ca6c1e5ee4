//! What people do, and what goes wrong, between polls.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::model::{STAGES, Stage};
use super::receiver::Received;
use super::state::{self, Row};
use super::world::World;

impl World {
    pub(super) fn happen(&mut self) {
        let what = match self.rng.u32(..100) {
            0..40 => {
                self.push_new();
                "pushed"
            }
            40..50 => {
                self.push_again();
                "pushed again"
            }
            50..58 => {
                self.delete();
                "deleted"
            }
            58..62 => {
                self.hold();
                "held"
            }
            62..68 => {
                self.release();
                "released"
            }
            68..71 => {
                self.mark();
                "marked"
            }
            71..74 => {
                // What a killed run left behind may still hold the target.
                let run = self.shop.run(&["retry"]);
                assert!(run.has_code(0) || run.has_code(75), "{run:?}");
                "retried"
            }
            74..78 => {
                self.lie();
                "lied"
            }
            78..83 => {
                self.deploy_manually();
                "deployed by hand"
            }
            83..86 => {
                self.shop.run(&["status", "--format", "json"]).code(0);
                self.shop.run(&["history"]).code(0);
                "looked at"
            }
            _ => {
                let name = ["fail", "slow", "late"][self.rng.usize(..3)];
                if self.shop.exists(name) {
                    self.shop.remove(name);
                } else {
                    self.shop.file(name, "");
                }
                "changed scripts"
            }
        };
        *self.figures.happenings.entry(what).or_default() += 1;
    }

    fn push_new(&mut self) {
        self.numbers += 1;
        let number = self.numbers;
        // Now and then a version of an older line.
        let line = if self.rng.u32(..4) == 0 { 1 } else { 2 + number / 50 };
        let (image, name) = match self.rng.u32(..7) {
            0 => ("acme/shop", format!("dev-{number}")),
            1 => ("acme/shop", format!("v{line}.{number}.0")),
            2 => ("acme/api", format!("r-{number}")),
            3 => ("acme/api", "edge".to_owned()),
            4 => ("other/web", format!("b{number}")),
            5 => ("acme/shop", format!("sha-{number}")),
            _ => ("other/web", format!("c{number}")),
        };
        self.model.push(&self.gitea, image, &name);
    }

    fn any_name(&mut self, image: &str) -> String {
        let names = self.model.names(image);
        names[self.rng.usize(..names.len())].clone()
    }

    fn push_again(&mut self) {
        let image = STAGES[self.rng.usize(..STAGES.len())].image;
        let name = self.any_name(image);
        self.model.push(&self.gitea, image, &name);
    }

    fn delete(&mut self) {
        let image = STAGES[self.rng.usize(..STAGES.len())].image;
        let name = self.any_name(image);
        // An image without any tag is an outage to tagship.
        if self.model.names(image).len() > 5 && name != "edge" {
            self.model.delete(&self.gitea, image, &name);
        }
    }

    pub(super) fn any_stage(&mut self) -> &'static Stage {
        &STAGES[self.rng.usize(..STAGES.len())]
    }

    fn hold(&mut self) {
        let stage = self.any_stage();
        self.await_quiet();
        self.shop.run(&["hold", stage.target, "--reason", "soak"]).code(0);
        let begun = self.begun(stage.target);
        self.held.insert(stage.target, begun);
    }

    /// How often a poll began to deploy to it.
    fn begun(&mut self, target: &str) -> usize {
        self.look();
        let manual = self.audit.manual.clone();
        let begun = |one: &&Received| one.target == target && !one.is_done && !manual.contains(&one.id);
        self.received().iter().filter(begun).count()
    }

    /// Releases everything: a manual deployment of an older tag also holds its target.
    pub(super) fn release(&mut self) {
        self.shop.run(&["release", "*/*"]).code(0);
        for (target, before) in std::mem::take(&mut self.held) {
            assert_eq!(self.begun(target), before, "{target} was given something while it was held");
        }
    }

    /// From now on a stage says something else than what it runs.
    fn lie(&mut self) {
        let (image, old) = [("other/web", "b1"), ("acme/api", "r-1")][self.rng.usize(..2)];
        let what = match self.rng.u32(..5) {
            0 => String::new(),
            1 => "two words".to_owned(),
            2 => old.to_owned(),
            _ => self.any_name(image),
        };
        match image {
            "acme/api" => self.endpoint.says(Some(what)),
            _ => self.shop.file("says", &what),
        }
    }

    pub(super) fn tell_the_truth(&mut self) {
        self.endpoint.says(None);
        if self.shop.exists("says") {
            self.shop.remove("says");
        }
    }

    fn deploy_manually(&mut self) {
        let stage = self.any_stage();
        let name = self.any_name(stage.image);
        let mut arguments = vec!["deploy", stage.target];
        match self.rng.u32(..4) {
            0 => {}
            1 => arguments.push("--previous"),
            _ => arguments.push(&name),
        }
        if self.rng.bool() {
            arguments.push("--no-hold");
        }
        let before = self.manual_rows(stage);
        let run = self.shop.start(&arguments);
        if self.rng.u32(..4) == 0 {
            std::thread::sleep(Duration::from_millis(self.rng.u64(..70)));
            self.kills.fetch_add(1, Ordering::SeqCst);
            let run = run.kill();
            assert!(run.was_killed() || [0, 1, 2, 75].iter().any(|code| run.has_code(*code)), "{run:?}");
            self.kills.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let run = run.end();
        let (Some(before), Some(after)) = (before, self.manual_rows(stage)) else { return };
        let news = &after[before.len()..];
        match (run.code, news) {
            (Some(0), [row]) => assert_eq!(row.state, "succeeded", "{run:?} {row:?}"),
            (Some(1), [row]) => assert!(["pending", "dead"].contains(&row.state.as_str()), "{run:?} {row:?}"),
            (Some(2 | 75), []) => {}
            _ => panic!("{run:?} {news:?}"),
        }
        for row in news {
            assert!(
                row.by_whom.is_some() && (arguments.len() == 2 || arguments[2] != name || row.tag == name)
            );
        }
    }

    /// The manual deployments.
    fn manual_rows(&self, stage: &Stage) -> Option<Vec<Row>> {
        let mut rows = state::rows(&state::open(&self.shop)?, 0);
        rows.retain(|row| ["hand", "rollback"].contains(&row.by.as_str()) && row.target == stage.target);
        Some(rows)
    }

    /// Another person deployed a tag that exists.
    fn mark(&mut self) {
        let stage = self.any_stage();
        let name = self.any_name(stage.image);
        if stage.takes(&name) && !stage.moves() {
            self.await_quiet();
            self.shop.run(&["mark", stage.target, &name]).code(0);
            self.note_given();
            self.model.give(stage, name.clone());
            self.look();
            self.audit.mark(stage, &name, &self.model);
        }
    }
}
