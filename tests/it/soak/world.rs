//! A team's machine, its registry and its stages, and what happens to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use rustix::process::Signal;

use super::audit::Audit;
use super::fault::Weather;
use super::figures::Figures;
use super::model::{Model, STAGES, Stage};
use super::receiver::{COUNT, Endpoint, Log, RUNNING, Received, SCRIPT};
use super::remains::nothing_is_left_behind;
use super::{outbox, state};
use crate::harness::{SERVICE, Shop, await_until, give};
use crate::registry::{Build, Gitea};
use crate::run::{Run, Running};

/// Those that tell a run to end, and its exit code then.
pub(super) const SIGNALS: [(Signal, i32); 2] = [(Signal::TERM, 143), (Signal::INT, 130)];

/// More than a signalled run takes to end on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(15);

fn config(gitea: &Gitea, endpoint: &Endpoint, connections: u32) -> String {
    let command = "deploy = { command = [\"./deploy.sh\"] }";
    let request = format!("deploy = {{ url = \"{}\", timeout = \"400ms\" }}", endpoint.url());
    format!(
        r#"
[settings]
metrics_file = "metrics.prom"
timeout = "500ms"
[settings.stage]
retry = {{ attempts = 500, backoff = "1ms", max_backoff = "20ms" }}
[[notify]]
url = "{endpoint}/tell"
timeout = "400ms"
on = ["failed", "dead", "recovered", "deployed"]
json = {{ status = "{{status}}", id = "{{deployment_id}}" }}
[registries.git]
kind = "gitea"
url = "{url}"
connections = {connections}
token = {{ file = "secret/token" }}
[projects.shop]
registry = "git"
image = "acme/shop"
stages.dev = {{ tags = "dev-*", order = "newest", {command} }}
stages.prod = {{ tags = "v*", order = "semver", {request} }}
[projects.api]
registry = "git"
image = "acme/api"
stages.live = {{ tags = "r-*", order = "newest", {request}, running = {{ url = "{endpoint}/running", pointer = "/image/tag" }}, verify_timeout = "200ms" }}
stages.edge = {{ tags = "edge", order = "newest", digest = true, {command} }}
[projects.web]
registry = "git"
image = "other/web"
stages.qa = {{ tags = "b*", order = "numeric", min_age = "1s", {command}, running = {{ command = ["./running.sh"] }}, verify_timeout = "200ms" }}
stages.few = {{ tags = "b*", order = "numeric", retry = {{ attempts = 2, backoff = "1ms", max_backoff = "1ms" }}, {command} }}
"#,
        url = gitea.url(),
        endpoint = endpoint.url(),
    )
}

pub(super) struct World {
    // Dropped before the servers, so that a run that still lives ends first.
    pub(super) shop: Shop,
    pub(super) gitea: Gitea,
    pub(super) endpoint: Endpoint,
    pub(super) model: Model,
    pub(super) audit: Audit,
    pub(super) log: Log,
    /// How much of it the model knows.
    given: usize,
    pub(super) figures: Figures,
    pub(super) weather: Weather,
    pub(super) kills: Arc<AtomicU64>,
    pub(super) rng: Rng,
    pub(super) numbers: u64,
    /// Held targets, with what they had received then.
    pub(super) held: BTreeMap<&'static str, usize>,
    /// Whose the state is, where another than this user.
    service: Option<u32>,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let build = Build::ALL[rng.usize(..3)];
        let gitea = Gitea::start(build);
        let weather = Weather::new(rng.fork());
        let kills: Arc<AtomicU64> = Arc::default();
        let endpoint = Endpoint::start(weather.clone(), Arc::clone(&kills));
        let mut shop = Shop::with(&config(&gitea, &endpoint, [1, 2, 16][rng.usize(..3)]));
        shop.script("deploy.sh", &format!("{COUNT}{SCRIPT}"));
        // The first count is of a command that tagship has nothing to do with.
        shop.script("count.sh", COUNT);
        let counted = Command::new(shop.path("count.sh")).current_dir(shop.path("")).status();
        assert!(counted.unwrap().success());
        shop.script("running.sh", RUNNING);
        shop.file("runs.web.qa", "b3\n");
        fs::create_dir(shop.path("tmp")).unwrap();
        let tmp = shop.path("tmp");
        shop.env("TMPDIR", tmp.to_str().unwrap());
        let mut model = Model::new(build);
        for (image, names) in [
            ("acme/shop", ["dev-1", "dev-2", "v1.0.0", "v1.1.0", "latest"]),
            ("acme/api", ["r-1", "r-2", "edge", "other", "v9"]),
            ("other/web", ["b1", "b2", "b3", "x", "y"]),
        ] {
            names.iter().for_each(|name| model.push(&gitea, image, name));
        }
        let service = rustix::process::geteuid().is_root().then_some(SERVICE);
        if let Some(user) = service {
            for stage in ["shop.dev", "api.edge", "web.qa", "web.few"] {
                shop.file(&format!("alone.{stage}"), "");
                let runs = format!("runs.{stage}");
                if !shop.exists(&runs) {
                    shop.file(&runs, "");
                }
            }
            for log in ["received", "said"] {
                shop.file(log, "");
            }
            give(&shop.path(""), user);
        }
        shop.run(&["poll"]).code(0);
        for stage in &STAGES {
            let newest = model.newest(stage).unwrap();
            model.given.entry(stage.target).or_default().insert(newest);
        }
        let stormy = weather.clone();
        gitea.intercept(move |request| stormy.at_registry(request));
        weather.set(40);
        let (audit, figures) = (Audit::default(), Figures::default());
        let held = BTreeMap::new();
        let log = Log::default();
        World {
            shop,
            gitea,
            endpoint,
            model,
            audit,
            log,
            given: 0,
            figures,
            weather,
            kills,
            rng,
            numbers: 10,
            held,
            service,
        }
    }

    /// Something happens, and then a poll, or several at once.
    pub(super) fn round(&mut self) {
        if self.rng.u32(..10) == 0 {
            self.weather.set([0, 10, 40, 200][self.rng.usize(..4)]);
        }
        if self.rng.bool() {
            self.tell_the_truth();
        }
        for _ in 0..self.rng.u32(..4) {
            self.happen();
        }
        match self.rng.u32(..20) {
            0 | 1 => self.break_a_lock(),
            2 | 3 => self.break_an_image(),
            4 => self.end_while_it_asks(),
            _ => self.poll_at_once(&[]),
        }
        self.note_given();
        self.look();
    }

    /// As the user whose state it is.
    pub(super) fn start_of_service(&self, arguments: &[&str]) -> Running<'_> {
        start(&self.shop, self.service, arguments)
    }

    pub(super) fn look(&mut self) {
        let all = self.log.read(&self.shop, &self.endpoint);
        self.audit.look(&self.shop, &self.endpoint, all, &self.model);
        for (stage, tag) in self.audit.adopted.drain(..) {
            self.model.give(stage, tag);
        }
    }

    pub(super) fn received(&mut self) -> &[Received] {
        self.log.read(&self.shop, &self.endpoint)
    }

    /// `more`: arguments of each.
    pub(super) fn poll_at_once(&mut self, more: &[&str]) {
        let count = [1, 1, 2, 2, 3, 4][self.rng.usize(..6)];
        let mut running = Vec::new();
        let mut cut_off = Vec::new();
        for _ in 0..count {
            let arguments: &[&str] = match self.rng.u32(..10) {
                0 => &["poll", "--refresh"],
                1 => &["poll", "shop", "web/qa"],
                2 => &["poll", "--due"],
                3 => &["poll", "--format", "json"],
                _ => &["poll"],
            };
            let arguments = &[arguments, more].concat();
            if self.rng.u32(..10) == 0 {
                let clock = ["+1d", "-1d", "+1h", "-1h", "+45s", "-45s", "-2s"][self.rng.usize(..7)];
                running.push(self.shop.start_under(&["faketime", "-f", clock], arguments));
                self.figures.clocks += 1;
                continue;
            }
            let user = self.service.filter(|_| self.rng.u32(..3) > 0);
            self.figures.of_service += u64::from(user.is_some());
            let poll = start(&self.shop, user, arguments);
            if self.rng.u32(..4) == 0 {
                cut_off.push(poll);
            } else {
                running.push(poll);
            }
        }
        self.figures.polls += count;
        self.figures.beside += if count > 1 { count } else { 0 };
        for poll in cut_off {
            std::thread::sleep(Duration::from_millis(self.rng.u64(..70)));
            self.kills.fetch_add(1, Ordering::SeqCst);
            if self.rng.u32(..3) == 0 {
                let (signal, code) = SIGNALS[self.rng.usize(..2)];
                let told = Instant::now();
                poll.signal(signal);
                let run = poll.end();
                assert!(told.elapsed() < SOON, "{:?}: {run:?}", told.elapsed());
                self.figures.with_signal += u64::from(run.has_code(code));
                assert!(run.has_code(code) || ended_well(&run));
            } else {
                let run = poll.kill();
                self.figures.kills += u64::from(run.was_killed());
                assert!(run.was_killed() || ended_well(&run));
            }
            self.kills.fetch_add(1, Ordering::SeqCst);
        }
        for poll in running {
            assert!(ended_well(&poll.end()));
        }
    }

    // Every tag that is done by now was delivered to a stage.
    pub(super) fn note_given(&mut self) {
        let all = self.log.read(&self.shop, &self.endpoint);
        for one in all[self.given..].iter().filter(|one| one.is_done) {
            self.model.give(Stage::of(&one.target), one.tag.clone());
        }
        self.given = all.len();
    }

    /// Until no command is left of a run that was killed.
    pub(super) fn await_quiet(&self) {
        let here = self.shop.path("");
        await_until("nothing of a killed run is left", || {
            let processes = fs::read_dir("/proc").unwrap().flatten();
            !processes
                .filter_map(|process| fs::read_link(process.path().join("cwd")).ok())
                .any(|cwd| cwd == here || cwd.starts_with(&here))
        });
    }

    /// Nothing goes wrong any more: whatever is owed is delivered, and nothing else.
    pub(super) fn calm_down(&mut self) {
        self.clear_up();
        self.settle();
        self.tell_what_waits();
        self.look();
        for stage in &STAGES {
            if let Some(lost) = self.model.lost(stage, &self.audit) {
                let history = self.shop.run(&["history", stage.target]).raw().to_owned();
                panic!(
                    "{} was never given {lost}: {:?}\n{history}",
                    stage.target,
                    self.status_of(stage.target)
                );
            }
        }
        let all = self.log.read(&self.shop, &self.endpoint);
        self.audit.nothing_is_owed(&self.shop, &self.endpoint, all, &self.model);
        self.weather.set(40);
    }

    pub(super) fn clear_up(&mut self) {
        self.weather.set(0);
        for name in ["fail", "slow", "late"] {
            if self.shop.exists(name) {
                self.shop.remove(name);
            }
        }
        self.tell_the_truth();
        self.await_quiet();
        self.release();
    }

    /// What could not be told waits for a minute up to two hours.
    fn tell_what_waits(&self) {
        await_until("everything is told", || {
            outbox::is_empty(&state::open(&self.shop).expect("nothing was killed since")) || {
                self.shop.run_under(&["faketime", "-f", "+1d"], &["poll"]).code(0);
                false
            }
        });
    }

    fn settle(&mut self) {
        await_until("everything is delivered, and stays so", || {
            self.shop.run(&["retry"]).code(0);
            let before = self.received().len();
            let run = self.start_of_service(&["poll", "--format", "json"]).end();
            let targets = if run.has_code(0) { run.json()["targets"].clone() } else { return false };
            let rest = ["up_to_date", "behind", "older", "no_match"];
            let mut statuses = targets.as_array().unwrap().iter().map(|target| &target["status"]);
            statuses.all(|status| rest.iter().any(|word| status == word)) && self.received().len() == before
        });
        self.note_given();
    }

    fn status_of(&self, target: &str) -> serde_json::Value {
        self.shop.status(target)
    }

    /// Those of runs that were killed while they wrote metrics: a minute later any poll removes them.
    fn outlive_unfinished_files(&mut self) {
        let files = fs::read_dir(self.shop.path("")).unwrap().map(|entry| entry.unwrap().path());
        let is_unfinished = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tmp");
        for file in files.filter(is_unfinished) {
            self.figures.unfinished += 1;
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(90)).unwrap();
        }
        self.shop.run(&["poll"]).code(0);
    }

    /// One more tag for every stage: they all run it in the end. And nothing is left behind.
    pub(super) fn end(&mut self) {
        let news = [
            ("acme/shop", "dev-end"),
            ("acme/shop", "v999999.0.0"),
            ("acme/api", "r-end"),
            ("acme/api", "edge"),
            ("other/web", "b999999"),
        ];
        news.iter().for_each(|(image, name)| self.model.push(&self.gitea, image, name));
        self.calm_down();
        for stage in &STAGES {
            let status = self.status_of(stage.target);
            let name =
                news.iter().find(|(image, name)| *image == stage.image && stage.takes(name)).unwrap().1;
            assert_eq!(status["deployed_tag"], name, "{}: {status}", stage.target);
            if stage.moves() {
                let digest = self.gitea.digest(stage.image, name);
                let all = self.received();
                let last = all.iter().rfind(|one| one.target == stage.target && one.is_done).unwrap();
                assert_eq!(last.digest, digest);
            }
        }
        self.await_quiet();
        self.weather.set(0);
        self.outlive_unfinished_files();
        self.figures.faults = self.weather.faults();
        self.figures.received = self.received().iter().filter(|one| one.is_done).count();
        let rows = nothing_is_left_behind(&self.shop, self.service);
        (self.figures.deployments, self.figures.attempts, self.figures.size) = rows;
    }
}

fn start<'a>(shop: &'a Shop, user: Option<u32>, arguments: &[&str]) -> Running<'a> {
    match user {
        Some(user) => shop.start_as(user, arguments),
        None => shop.start(arguments),
    }
}

/// With what it says of the weather: never a state that cannot be used, never a panic. (A signal may come before
/// tagship can hear it.)
pub(super) fn ended_well(run: &Run) -> bool {
    let is_early =
        run.signal.is_some_and(|signal| [Signal::TERM, Signal::INT].map(Signal::as_raw).contains(&signal));
    assert!(is_early || run.has_code(0) || run.has_code(1), "{run:?}");
    assert!(!format!("{run:?}").contains("panicked"), "{run:?}");
    true
}
