//! A run of the binary: how it ends, and what it has printed.

use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::harness::{PATIENCE, Shop};
use crate::schema;

/// A run that has not ended.
pub(crate) struct Running<'a> {
    shop: &'a Shop,
    shown: String,
    arguments: Vec<String>,
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl<'a> Running<'a> {
    /// Starts the command in the shop with these arguments.
    pub(crate) fn start(shop: &'a Shop, mut command: Command, arguments: &[&str]) -> Running<'a> {
        command.stdin(Stdio::null());
        Running::start_reading(shop, command, arguments)
    }

    /// The same with the standard input that the command says.
    pub(crate) fn start_reading(shop: &'a Shop, mut command: Command, arguments: &[&str]) -> Running<'a> {
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("tagship {}", arguments.join(" "));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Running { shop, shown, arguments, child, stdout, stderr }
    }

    /// What it reads, where it reads anything.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it was started with a pipe, and nobody took it")
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL for tagship alone, and its end.
    pub(crate) fn kill(mut self) -> Run {
        self.child.kill().unwrap();
        self.end()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Run {
        // Both pipes end with the process: commands that it leaves behind have pipes of their own.
        let stdout = self.stdout.recv_timeout(PATIENCE);
        let stderr = self.stderr.recv_timeout(PATIENCE);
        let (Ok(stdout), Ok(stderr)) = (stdout, stderr) else {
            drop(self.child.kill());
            panic!("{} did not end within {PATIENCE:?}", self.shown);
        };
        let status = self.child.wait().unwrap();
        self.run(status, stdout, stderr)
    }

    /// For a process that another caller has waited for.
    pub(crate) fn ended(self, status: ExitStatus) -> Run {
        let stdout = self.stdout.recv_timeout(PATIENCE).unwrap();
        let stderr = self.stderr.recv_timeout(PATIENCE).unwrap();
        self.run(status, stdout, stderr)
    }

    fn run(self, status: ExitStatus, stdout: String, stderr: String) -> Run {
        self.shop.note_printed(&stdout);
        self.shop.note_printed(&stderr);
        let run = Run {
            shown: self.shown,
            code: status.code(),
            signal: status.signal(),
            stdout: self.shop.redact(&stdout),
            stderr: self.shop.redact(&stderr),
            raw: stdout,
        };
        // A killed process may have printed half a line.
        if run.signal.is_none() {
            let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
            let fault = schema::fault(&arguments, &run.raw);
            run.check(fault.is_none(), &fault.unwrap_or_default());
        }
        run
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

/// A run that ended; every check gives it back, and shows everything when it fails.
#[derive(Debug)]
pub(crate) struct Run {
    shown: String,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Standard output with what varies.
    pub(crate) raw: String,
}

impl Run {
    #[track_caller]
    fn check(&self, holds: bool, claim: &str) -> &Run {
        assert!(
            holds,
            "{}: {claim}\nexit {:?}, signal {:?}\n--- stdout\n{}--- stderr\n{}---",
            self.shown, self.code, self.signal, self.stdout, self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Run {
        self.check(self.code == Some(code), &format!("the exit code is {code}"))
    }

    /// The whole standard output, redacted.
    #[track_caller]
    pub(crate) fn stdout(&self, text: &str) -> &Run {
        self.check(self.stdout == text, &format!("stdout is exactly\n{text}---"))
    }

    /// The whole standard error, redacted.
    #[track_caller]
    pub(crate) fn stderr(&self, text: &str) -> &Run {
        self.check(self.stderr == text, &format!("stderr is exactly\n{text}---"))
    }

    /// Nothing on either: what cron must see when nothing happened.
    #[track_caller]
    pub(crate) fn silent(&self) -> &Run {
        self.stdout("").stderr("")
    }

    #[track_caller]
    pub(crate) fn stdout_has(&self, text: &str) -> &Run {
        self.check(self.stdout.contains(text), &format!("stdout has {text:?}"))
    }

    #[track_caller]
    pub(crate) fn stderr_has(&self, text: &str) -> &Run {
        self.check(self.stderr.contains(text), &format!("stderr has {text:?}"))
    }

    /// On standard output or standard error.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> &Run {
        let found = self.stdout.contains(text) || self.stderr.contains(text);
        self.check(found, &format!("{text:?} is shown"))
    }

    /// On neither.
    #[track_caller]
    pub(crate) fn shows_not(&self, text: &str) -> &Run {
        let found = self.stdout.contains(text) || self.stderr.contains(text);
        self.check(!found, &format!("{text:?} is not shown"))
    }

    /// A line on stdout begins with the target and has each of the words.
    #[track_caller]
    pub(crate) fn line(&self, target: &str, words: &[&str]) -> &Run {
        let found = self.lines_of(target).any(|line| words.iter().all(|word| line.contains(word)));
        self.check(found, &format!("a line of {target} has {words:?}"))
    }

    /// A line on stdout is this one, blanks between its words aside.
    #[track_caller]
    pub(crate) fn says(&self, line: &str) -> &Run {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = self.stdout.lines().any(|other| words(other) == line);
        self.check(found, &format!("a line says {line:?}"))
    }

    /// No line on stdout begins with the target.
    #[track_caller]
    pub(crate) fn no_line(&self, target: &str) -> &Run {
        self.check(self.lines_of(target).next().is_none(), &format!("no line of {target}"))
    }

    fn lines_of<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a str> {
        self.stdout.lines().filter(move |line| {
            line.strip_prefix(target).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        })
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.raw);
        self.check(parsed.is_ok(), "stdout is one JSON document");
        parsed.unwrap()
    }

    /// One JSON document a line on stdout.
    #[track_caller]
    pub(crate) fn jsonl(&self) -> Vec<Value> {
        let parsed: Result<Vec<Value>, _> = self.raw.lines().map(serde_json::from_str).collect();
        self.check(parsed.is_ok(), "stdout is one JSON document a line");
        parsed.unwrap()
    }

    /// The object of one target in the JSON document.
    #[track_caller]
    pub(crate) fn target(&self, target: &str) -> Value {
        let (project, stage) = target.split_once('/').unwrap();
        let json = self.json();
        let found = json["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry["project"] == project && entry["stage"] == stage);
        self.check(found.is_some(), &format!("the JSON document has {target}"));
        found.unwrap().clone()
    }

    /// The names of all targets in the JSON document, in order.
    #[track_caller]
    pub(crate) fn targets(&self) -> Vec<String> {
        let json = self.json();
        let entries = json["targets"].as_array();
        self.check(entries.is_some(), "the JSON document has targets");
        entries
            .unwrap()
            .iter()
            .map(|entry| {
                format!("{}/{}", entry["project"].as_str().unwrap(), entry["stage"].as_str().unwrap())
            })
            .collect()
    }

    /// The status of one target in the JSON document.
    #[track_caller]
    pub(crate) fn status_is(&self, target: &str, status: &str) -> &Run {
        let found = self.target(target)["status"].clone();
        self.check(found == status, &format!("{target} is {status}, not {found}"))
    }

    /// The error code of one target in the JSON document.
    #[track_caller]
    pub(crate) fn error_is(&self, target: &str, code: &str) -> &Run {
        let found = self.target(target)["error"]["code"].clone();
        self.check(found == code, &format!("the error of {target} is {code}, not {found}"))
    }

    /// Standard output as it was printed.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// Both streams.
    pub(crate) fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    pub(crate) fn has_code(&self, code: i32) -> bool {
        self.code == Some(code)
    }

    pub(crate) fn was_killed(&self) -> bool {
        self.signal == Some(9) || self.code == Some(137)
    }
}
