//! Programs that give a secret on their standard output.

use std::io::{ErrorKind, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;

use super::value::LONGEST;
use crate::stop::{Cutoff, TICK};

/// What a program said until it ended.
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Zeroizing<String>,
    /// The first line.
    pub(super) complaint: String,
}

/// Why a program gave nothing.
pub(super) enum Fault {
    /// There is no such program.
    Missing(String),
    Failed(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Fault {
        Fault::Failed(text)
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> String {
        match fault {
            Fault::Missing(text) | Fault::Failed(text) => text,
        }
    }
}

/// Runs a program to its end, with this on its standard input. `name`: as it is called in errors.
///
/// # Errors
/// It cannot be run, or it (or what it started) does not end in time: it is killed then. What it prints is no text, or
/// too long for a secret.
pub(super) fn run(
    mut command: Command,
    name: &str,
    input: &str,
    timeout: Duration,
    cutoff: &Cutoff,
) -> Result<Output, Fault> {
    let mut patience = Patience::new(timeout, cutoff);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(
            |error| {
                let text = format!("{name} cannot be run: {error}");
                if error.kind() == ErrorKind::NotFound { Fault::Missing(text) } else { Fault::Failed(text) }
            },
        )?;
    let pipes = (collect(child.stdout.take()), collect(child.stderr.take()));
    let (Ok(stdout), Ok(stderr)) = pipes else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{name} cannot be listened to: no thread can be started").into());
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A program that reads nothing is none the worse; so little fits into the pipe at once.
        let _ = stdin.write_all(input.as_bytes());
    }
    let Some(status) = wait(&mut child, &mut patience).map_err(|error| format!("{name}: {error}"))? else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(patience.fault(name).into());
    };
    // Something that it left behind may hold the pipes open.
    let mut rest = |pipe: &Receiver<Text>| loop {
        match pipe.recv_timeout(TICK) {
            Ok(text) => return Ok(text),
            Err(_) if patience.is_over() => return Err(patience.fault(name)),
            Err(_) => {}
        }
    };
    let (stdout, stderr): (Text, Text) = (rest(&stdout)?, rest(&stderr)?);
    let complaint = stderr.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default();
    let stdout = match stdout {
        Err(wrong) if status.success() => return Err(format!("what {name} prints {wrong}").into()),
        stdout => stdout.unwrap_or_default(),
    };
    Ok(Output { status, stdout, complaint })
}

/// After a signal a program has this long: what tagship tells at its end can need a secret.
const GRACE: Duration = Duration::from_millis(500);
/// Whatever is left of the run: what was started before its end can need a secret.
const LEAST: Duration = Duration::from_secs(5);

/// How long a program is waited for.
struct Patience<'a> {
    begun: Instant,
    timeout: Duration,
    cutoff: &'a Cutoff,
    signalled_at: Option<Instant>,
}

impl<'a> Patience<'a> {
    fn new(timeout: Duration, cutoff: &'a Cutoff) -> Patience<'a> {
        Patience { begun: Instant::now(), timeout, cutoff, signalled_at: None }
    }

    fn is_late(&self) -> bool {
        self.begun.elapsed() >= self.timeout
    }

    fn is_over(&mut self) -> bool {
        if self.cutoff.is_signalled() {
            self.signalled_at.get_or_insert_with(Instant::now);
        }
        self.is_late()
            || self.signalled_at.is_some_and(|at| at.elapsed() >= GRACE)
            || (self.cutoff.is_reached() && !self.cutoff.is_signalled() && self.begun.elapsed() >= LEAST)
    }

    fn fault(&self, name: &str) -> String {
        if self.is_late() {
            return format!("{name} did not end within {:?}; does it ask for something?", self.timeout);
        }
        format!("{name} was killed: the run reached its max_runtime, or was told to stop")
    }
}

/// What came through a pipe, or why it is no use.
type Text = Result<Zeroizing<String>, &'static str>;

/// # Errors
/// No thread can be started for it.
fn collect(pipe: Option<impl Read + Send + 'static>) -> std::io::Result<Receiver<Text>> {
    let (sender, receiver) = channel();
    thread::Builder::new().spawn(move || {
        // Nobody listens any more where it came too late.
        let _ = sender.send(pipe.map_or(Ok(Zeroizing::default()), read));
    })?;
    Ok(receiver)
}

/// Reads to the end: a program whose output nobody takes would not end.
fn read(mut pipe: impl Read) -> Text {
    // Made large enough at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let read = pipe.by_ref().take(LONGEST).read_to_string(&mut text);
    let rest = std::io::copy(&mut pipe, &mut std::io::sink());
    match (read, rest) {
        (_, Ok(1..)) => Err("is too long for a secret"),
        (Err(_), _) => Err("is not UTF-8"),
        _ => Ok(text),
    }
}

/// None: it is still running.
fn wait(child: &mut Child, patience: &mut Patience<'_>) -> std::io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if patience.is_over() => return Ok(None),
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> Result<String, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, "it", "from outside", timeout, &Cutoff::default())
            .map(|output| output.stdout.to_string())
            .map_err(String::from)
    }

    #[test]
    fn a_program_gets_its_input_and_gives_its_output() {
        assert_eq!(sh("cat", Duration::from_secs(30)), Ok("from outside".to_owned()));
    }

    #[test]
    fn output_that_can_be_no_secret_is_not_taken_for_one() {
        for (script, expected) in [
            ("printf '\\377'", "what it prints is not UTF-8"),
            ("printf %65537s x", "what it prints is too long for a secret"),
        ] {
            assert_eq!(sh(script, Duration::from_secs(30)), Err(expected.to_owned()), "{script}");
        }
        assert_eq!(sh("printf %65536s x", Duration::from_secs(30)).map(|text| text.len()), Ok(65536));
    }

    #[test]
    fn a_program_that_does_not_end_is_given_up() {
        let late = Err("it did not end within 50ms; does it ask for something?".to_owned());
        assert_eq!(sh("exec sleep 600", Duration::from_millis(50)), late);
    }

    #[test]
    fn a_program_that_leaves_another_behind_is_given_up() {
        let begun = Instant::now();
        assert!(sh("sleep 60 & echo x", Duration::from_secs(1)).is_err());
        assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    }
}
