//! Faults of one target or one image while polls run: the others are served. And signals while the registry holds its
//! answers.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fault::Outage;
use super::model::{STAGES, Stage};
use super::world::{SIGNALS, SOON, World, ended_well};
use crate::harness::{await_until, give};

/// As a file of a user who is neither root nor the owner of the state.
const STRANGER: u32 = 61_235;

/// In the place of a lock.
#[derive(Clone, Copy, Debug)]
enum Obstacle {
    Folder,
    Link,
    Unreadable,
    OfAStranger,
}

impl Obstacle {
    fn put(self, path: &Path) {
        match self {
            Obstacle::Folder => fs::create_dir(path).unwrap(),
            Obstacle::Link => symlink("nowhere/at-all", path).unwrap(),
            Obstacle::Unreadable => {
                fs::write(path, "").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
                if rustix::process::geteuid().is_root() {
                    give(path, 0);
                }
            }
            Obstacle::OfAStranger => {
                fs::write(path, "").unwrap();
                give(path, STRANGER);
            }
        }
    }

    fn remove(self, path: &Path) {
        match self {
            Obstacle::Folder => fs::remove_dir(path).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
}

impl World {
    /// The lock of one target, or of the outbox, cannot be used.
    pub(super) fn break_a_lock(&mut self) {
        if !self.shop.exists("state.db.locks") {
            return;
        }
        let is_root = rustix::process::geteuid().is_root();
        let obstacle = [Obstacle::Folder, Obstacle::Link, Obstacle::Unreadable, Obstacle::OfAStranger]
            [self.rng.usize(..if is_root { 4 } else { 3 })];
        let stage = (self.rng.u32(..5) > 0).then(|| self.any_stage());
        let name = stage.map_or_else(|| "@notify".to_owned(), |stage| stage.target.replace('/', "@"));
        let (lock, aside) = (self.shop.path(&format!("state.db.locks/{name}")), self.shop.path("lock"));
        let was_there = lock.exists();
        if was_there {
            // The same file comes back: a command that was left behind may hold it.
            fs::rename(&lock, &aside).unwrap();
        }
        obstacle.put(&lock);
        *self.figures.happenings.entry("broke a lock").or_default() += 1;
        // Root can use an unreadable one.
        if !matches!(obstacle, Obstacle::Unreadable) || !is_root {
            self.poll_at_once(&[]);
        }
        self.others_are_served(&[], false, |other| stage.is_some_and(|stage| stage.target == other.target));
        obstacle.remove(&lock);
        if was_there {
            fs::rename(&aside, &lock).unwrap();
        }
    }

    /// One image of three is broken.
    pub(super) fn break_an_image(&mut self) {
        let image = self.any_stage().image;
        let (outage, arguments): (_, &[&str]) = if self.rng.bool() {
            (Outage::Reset(image), &[])
        } else {
            // Only stages in order newest read it to its end.
            (Outage::Endless("acme/api"), &["--max-runtime", "1s"])
        };
        self.weather.begin(outage);
        self.poll_at_once(arguments);
        let image = if let Outage::Reset(image) = outage { image } else { "acme/api" };
        let hits = self.weather.hits();
        self.others_are_served(&[&["--refresh"], arguments].concat(), true, |other| other.image == image);
        assert!(self.weather.repair() > hits, "{outage:?}: nobody asked for it");
        let what = if arguments.is_empty() { "broke an image" } else { "pages without end" };
        *self.figures.happenings.entry(what).or_default() += 1;
    }

    /// A healthy stage receives a new tag, and a broken one does not. `pending_goes_on`: a broken one may receive a tag
    /// that was recorded before.
    fn others_are_served(
        &mut self,
        arguments: &[&str],
        pending_goes_on: bool,
        is_broken: impl Fn(&Stage) -> bool,
    ) {
        self.clear_up();
        self.look();
        let given = |world: &mut World, to: &dyn Fn(&Stage) -> bool| {
            let all = world.received().iter();
            all.filter(|one| to(Stage::of(&one.target))).cloned().collect::<Vec<_>>()
        };
        let healthy: Vec<&Stage> = STAGES.iter().filter(|stage| !is_broken(stage)).collect();
        let stage = healthy[self.rng.usize(..healthy.len())];
        let withheld = STAGES.iter().find(|stage| is_broken(stage)).map(|broken| {
            let tag = self.push_newest(broken);
            self.gitea.digest(broken.image, &tag)
        });
        // The last: both may be of one image.
        let tag = self.push_newest(stage);
        let before = given(self, &is_broken).len();
        let digest = self.gitea.digest(stage.image, &tag);
        let arguments = [&["poll", "--format", "json"], arguments].concat();
        await_until(&format!("{} is given {tag}", stage.target), || {
            let run = self.start_of_service(&arguments).end();
            assert!(ended_well(&run));
            for target in run.json()["targets"].as_array().unwrap() {
                let name =
                    [&target["project"], &target["stage"]].map(|name| name.as_str().unwrap()).join("/");
                let is_of_state = target["error"]["code"] == "state";
                assert!(!is_of_state || is_broken(Stage::of(&name)), "{target}");
            }
            let is_it = |stage: &Stage, other: &Stage| stage.target == other.target;
            given(self, &|other| is_it(stage, other))
                .iter()
                .any(|one| one.is_done && one.tag == tag && one.digest == digest)
        });
        let after = given(self, &is_broken);
        let given = after[before..]
            .iter()
            .find(|one| !pending_goes_on || withheld.as_ref().is_some_and(|digest| one.digest == *digest));
        assert_eq!(given, None, "it is broken");
        self.note_given();
    }

    /// What a stage takes, and newer than all that it has.
    fn push_newest(&mut self, stage: &Stage) -> String {
        self.numbers += 1;
        let number = self.numbers;
        let (image, name) = match stage.target {
            "shop/dev" => ("acme/shop", format!("dev-{number}")),
            "shop/prod" => ("acme/shop", format!("v{}.{number}.0", 2 + number / 50)),
            "api/live" => ("acme/api", format!("r-{number}")),
            "api/edge" => ("acme/api", "edge".to_owned()),
            _ => ("other/web", format!("b{number}")),
        };
        self.model.push(&self.gitea, image, &name);
        name
    }

    /// The registry holds its answers, and the run receives a signal.
    pub(super) fn end_while_it_asks(&mut self) {
        let before = self.failing_since();
        self.weather.begin(Outage::Held);
        let (signal, code) = SIGNALS[self.rng.usize(..2)];
        let run = self.start_of_service(&["poll", "--refresh"]);
        // No request is sent while a limit of the registry holds.
        let patience = Instant::now() + Duration::from_secs(2);
        while self.weather.hits() == 0 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
        let asked = Instant::now();
        self.kills.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        run.signal(signal);
        // As long as one request may take, at least.
        let is_in_time = asked.elapsed() < Duration::from_millis(300);
        let run = run.end();
        assert!(asked.elapsed() < SOON, "{:?}: {run:?}", asked.elapsed());
        self.kills.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if self.weather.repair() > 0 && is_in_time {
            run.code(code);
            assert_eq!(self.failing_since(), before, "it is no failed check: {run:?}");
            self.figures.with_signal += 1;
            *self.figures.happenings.entry("told to end while asking").or_default() += 1;
        } else {
            assert!(run.has_code(code) || ended_well(&run));
        }
    }

    fn failing_since(&self) -> Vec<Value> {
        let json = self.shop.run(&["status", "--format", "json"]).json();
        json["targets"].as_array().unwrap().iter().map(|target| target["failing_since"].clone()).collect()
    }
}
