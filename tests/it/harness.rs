//! One run of the binary after another, in a folder and an environment of its own.

use std::cell::RefCell;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use crate::leak::{Leaks, MARK};
use crate::registry::{Gitea, TOKEN};
use crate::run::{Run, Running};

/// A service user; the number needs no account.
pub(crate) const SERVICE: u32 = 61_234;

/// Longer than any run of a test takes on a busy machine; only a hang lasts longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A team's machine: a folder with a configuration, scripts and secrets, and what tagship leaves there.
///
/// When it is dropped, no planted secret may stand in anything that tagship printed or wrote.
pub(crate) struct Shop {
    dir: TempDir,
    env: Vec<(String, String)>,
    /// Everything printed so far.
    printed: RefCell<Vec<String>>,
    /// The secrets that nothing may show.
    planted: RefCell<Vec<String>>,
}

impl Shop {
    /// An empty folder with `secret/token`, the registry's token, and `deploy.sh`, which records its
    /// variables (see [`Shop::deliveries`]).
    pub(crate) fn new() -> Shop {
        let shop = Shop {
            dir: tempfile::Builder::new().prefix("tagship-test-").tempdir().unwrap(),
            env: Vec::new(),
            printed: RefCell::default(),
            planted: RefCell::default(),
        };
        fs::create_dir(shop.path("home")).unwrap();
        shop.secret("token", TOKEN);
        shop.script("deploy.sh", DEPLOY);
        shop
    }

    /// The same with this configuration.
    pub(crate) fn with(config: &str) -> Shop {
        let shop = Shop::new();
        shop.config(config);
        shop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes tagship.toml.
    pub(crate) fn config(&self, text: &str) {
        self.file("tagship.toml", text);
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// An executable for `sh`.
    pub(crate) fn script(&self, name: &str, body: &str) {
        self.file(name, &format!("#!/bin/sh\n{body}"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `secret/NAME`. The value must say that it is planted.
    pub(crate) fn secret(&self, name: &str, value: &str) {
        self.plant(value);
        self.file(&format!("secret/{name}"), &format!("{value}\n"));
        fs::set_permissions(self.path(&format!("secret/{name}")), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Another secret that nothing may show: one that a server gives, say. The value must say that it is planted.
    pub(crate) fn plant(&self, value: &str) {
        assert!(value.contains(MARK), "{value}: the scan looks for {MARK:?}");
        self.planted.borrow_mut().push(value.to_owned());
    }

    /// Sets a variable for all following runs.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        if value.contains(MARK) {
            self.plant(value);
        }
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// `tagship --config DIR/tagship.toml --state DIR/state.db ARGUMENTS`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).end()
    }

    /// Starts it without waiting.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running<'_> {
        let mut command = self.command();
        command.arg("--config").arg(self.path("tagship.toml"));
        command.arg("--state").arg(self.path("state.db"));
        Running::start(self, command, arguments)
    }

    /// As [`Shop::run`], as another user: for tests that run as root.
    pub(crate) fn run_as(&self, user: u32, arguments: &[&str]) -> Run {
        self.start_as(user, arguments).end()
    }

    /// As [`Shop::start`], as another user: for tests that run as root.
    pub(crate) fn start_as(&self, user: u32, arguments: &[&str]) -> Running<'_> {
        let (config, state) = (self.path("tagship.toml"), self.path("state.db"));
        let place = ["--config", config.to_str().unwrap(), "--state", state.to_str().unwrap()];
        self.start_bare_as(user, &[&place[..], arguments].concat())
    }

    /// As [`Shop::run_bare`], as another user.
    pub(crate) fn run_bare_as(&self, user: u32, arguments: &[&str]) -> Run {
        self.start_bare_as(user, arguments).end()
    }

    fn start_bare_as(&self, user: u32, arguments: &[&str]) -> Running<'_> {
        // By its descriptor: the user may not reach the folder that it lies in.
        let binary = fs::File::open(env!("CARGO_BIN_EXE_tagship")).unwrap();
        let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
        self.furnish(&mut command);
        command.arg0("tagship").uid(user).gid(user);
        Running::start(self, command, arguments)
    }

    /// Without `--config` and `--state`.
    pub(crate) fn run_bare(&self, arguments: &[&str]) -> Run {
        self.start_bare(arguments).end()
    }

    /// The same without waiting.
    pub(crate) fn start_bare(&self, arguments: &[&str]) -> Running<'_> {
        Running::start(self, self.command(), arguments)
    }

    /// As [`Shop::start`], with this as its standard input.
    pub(crate) fn start_with_input(&self, input: &[u8], arguments: &[&str]) -> Running<'_> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(input, 0).unwrap();
        let mut command = self.command();
        command.arg("--config").arg(self.path("tagship.toml"));
        command.arg("--state").arg(self.path("state.db")).stdin(file);
        Running::start_reading(self, command, arguments)
    }

    /// Under another program, whose last arguments are the binary's path and its arguments.
    pub(crate) fn run_under(&self, program: &[&str], arguments: &[&str]) -> Run {
        Running::start(self, self.command_under(program), arguments).end()
    }

    /// Starts it under another program, with a pipe as its standard input.
    pub(crate) fn start_under(&self, program: &[&str], arguments: &[&str]) -> Running<'_> {
        let mut command = self.command_under(program);
        command.stdin(Stdio::piped());
        Running::start_reading(self, command, arguments)
    }

    /// Another program, with the same environment and folder.
    pub(crate) fn run_program(&self, program: &[&str], arguments: &[&str]) -> Run {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]);
        self.furnish(&mut command);
        Running::start(self, command, arguments).end()
    }

    fn command_under(&self, program: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_tagship"));
        command.arg("--config").arg(self.path("tagship.toml"));
        command.arg("--state").arg(self.path("state.db"));
        self.furnish(&mut command);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagship"));
        self.furnish(&mut command);
        command
    }

    /// What cron gives, and nothing of the machine that runs the tests.
    pub(crate) fn furnish(&self, command: &mut Command) {
        command.env_clear().current_dir(self.dir.path());
        command.env("HOME", self.path("home")).env("PATH", "/usr/bin:/bin").env("TMPDIR", self.path("home"));
        // Where a coverage build writes what it ran (set only for one).
        command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    /// The deliveries of deploy.sh, in order.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        if !self.exists("deliveries") {
            return Vec::new();
        }
        self.read("deliveries")
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let [target, tag, id, attempt] = words[..] else { panic!("{line:?}") };
                Delivery {
                    target: target.to_owned(),
                    tag: tag.to_owned(),
                    id: id.to_owned(),
                    attempt: attempt.parse().unwrap(),
                }
            })
            .collect()
    }

    /// `shop/dev dev-43` for each delivery, in order.
    pub(crate) fn delivered(&self) -> Vec<String> {
        self.deliveries().iter().map(|delivery| format!("{} {}", delivery.target, delivery.tag)).collect()
    }

    /// The environment of the latest command, by name.
    pub(crate) fn command_env(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}=");
        self.read("command-env").lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    }

    /// What the state says of a target.
    pub(crate) fn status(&self, target: &str) -> Value {
        self.run(&["status", "--format", "json"]).code(0).target(target)
    }

    /// Every byte of the folder, by file name: equal before and after means that nothing was written.
    pub(crate) fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        walk(self.dir.path(), &mut files);
        files.sort();
        files.into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
    }

    /// With this run's varying parts replaced: `[dir]`, `[port]`, `[id]`, `[time]`, `[duration]`.
    pub(crate) fn redact(&self, text: &str) -> String {
        static PARTS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
            let part = |pattern| Regex::new(pattern).unwrap();
            [
                (part(r"127\.0\.0\.1:\d+"), "127.0.0.1:[port]"),
                (part(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "[id]"),
                (part(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?( UTC|Z|[+-]\d\d:\d\d)?"), "[time]"),
                (part(r"\b\d+(\.\d+)?\s?(ms|s|µs)\b"), "[duration]"),
            ]
        });
        let text = text.replace(self.dir.path().to_str().unwrap(), "[dir]");
        // Commands in messages repeat the options that every run has here; a schedule names the program's path.
        static TYPED: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(^|[^/\w])tagship --config \[dir\]/tagship\.toml --state \[dir\]/state\.db ")
                .unwrap()
        });
        let text = TYPED.replace_all(&text, "${1}tagship ").into_owned();
        PARTS.iter().fold(text, |text, (part, name)| part.replace_all(&text, *name).into_owned())
    }

    /// Keeps what a run printed for the search at the end.
    pub(crate) fn note_printed(&self, text: &str) {
        self.printed.borrow_mut().push(text.to_owned());
    }

    fn check_for_secrets(&self) {
        let config = fs::read_to_string(self.path("tagship.toml")).unwrap_or_default();
        let planted = self.planted.borrow();
        let leaks = Leaks::of(planted.iter().map(String::as_str), &config);
        for text in self.printed.borrow().iter() {
            let leak = leaks.find(text.as_bytes());
            assert!(leak.is_none(), "a part of a secret was printed, {leak:?}:\n{text}");
        }
        let mut files = Vec::new();
        walk(self.dir.path(), &mut files);
        for file in files {
            if file.starts_with(self.path("secret")) {
                continue;
            }
            let leak = leaks.find(&fs::read(&file).unwrap());
            assert!(leak.is_none(), "a part of a secret stands in {}: {leak:?}", file.display());
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.check_for_secrets();
        }
    }
}

/// Writes down its variables, fails while a file `fail` or `fail-TAG` exists, and runs while a file `stay` exists.
/// When the test is over its folder is gone, and so is `stay`.
const DEPLOY: &str = r#"
env > command-env
echo "$TAGSHIP_TARGET $TAGSHIP_TAG $TAGSHIP_DEPLOYMENT_ID $TAGSHIP_ATTEMPT" >> deliveries
while [ -e stay ]; do sleep 0.02; done
if [ -e fail ] || [ -e "fail-$TAGSHIP_TAG" ]; then echo "the stage refused $TAGSHIP_TAG"; exit 7; fi
echo done >> completions
"#;

/// One call of deploy.sh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) target: String,
    pub(crate) tag: String,
    pub(crate) id: String,
    pub(crate) attempt: u32,
}

/// Waits until something holds that no handle can be waited on for: a file that a script makes.
#[track_caller]
pub(crate) fn await_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A configuration with one Gitea called `git`, one project `shop` on `acme/shop`, and these stages.
pub(crate) fn on_gitea(gitea: &Gitea, stages: &str) -> String {
    on("gitea", &gitea.url(), stages)
}

/// The same with any kind of server.
pub(crate) fn on(kind: &str, url: &str, stages: &str) -> String {
    format!(
        r#"
[registries.git]
kind = "{kind}"
url = "{url}"
token = {{ file = "secret/token" }}

[projects.shop]
registry = "git"
image = "acme/shop"
{stages}"#
    )
}

/// `[projects.shop.stages.dev]`: `dev-*`, newest, deploy.sh; what failed is due at once.
pub(crate) const DEV: &str = r#"
[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
deploy = { command = ["./deploy.sh"] }
retry = { backoff = "1ms", max_backoff = "1ms" }
"#;

/// `[projects.shop.stages.prod]`: `v*`, semver, deploy.sh; what failed is due at once.
pub(crate) const PROD: &str = r#"
[projects.shop.stages.prod]
tags = "v*"
order = "semver"
deploy = { command = ["./deploy.sh"] }
retry = { backoff = "1ms", max_backoff = "1ms" }
"#;

/// Gives a file, or a folder and everything in it, to a user: for tests that run as root.
pub(crate) fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = match fs::read_dir(dir) {
        // A daemon of the test removes its folder when it ends.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        entries => entries.unwrap(),
    };
    for entry in entries {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}
