//! Programs that print a secret.

use std::io::{self, Write as _};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;

use super::SecretError;
use super::value::LONGEST;
use crate::process::group::{Ending, Errors, Group, Patience, Stream};
use crate::stop::{CutShort, Cutoff};

/// The result of a program.
#[derive(Debug)]
pub(super) struct ProgramOutput {
    pub(super) status: ExitStatus,
    pub(super) stdout: Zeroizing<String>,
    /// The first line.
    pub(super) complaint: String,
}

/// How long a program may run after a signal: the last messages of a run can need a secret.
const AFTER_SIGNAL: Duration = Duration::from_millis(500);
/// The minimum, even near the run's end: work started before it can need a secret.
const LEAST: Duration = Duration::from_secs(5);
/// The whole output is the secret, so tagship waits for its end.
const PATIENCE: Patience = Patience { grace: Duration::from_millis(200), linger: None };

/// Why a program gave no result.
#[derive(Debug)]
pub(super) enum ProgramError {
    /// The program does not exist.
    Missing(String),
    Failed(SecretError),
}

impl From<SecretError> for ProgramError {
    fn from(error: SecretError) -> ProgramError {
        ProgramError::Failed(error)
    }
}

impl From<String> for ProgramError {
    fn from(text: String) -> ProgramError {
        ProgramError::Failed(text.into())
    }
}

impl From<ProgramError> for SecretError {
    fn from(fault: ProgramError) -> SecretError {
        match fault {
            ProgramError::Missing(text) => text.into(),
            ProgramError::Failed(error) => error,
        }
    }
}

/// Runs a program to its end, with a short text on its standard input. `name`: its name in errors. `refusal`:
/// explains why it cannot be started.
///
/// # Errors
/// It cannot be run; it or its children do not end in time (they are killed); its output is not text, or too
/// long for a secret.
pub(super) fn run(
    mut command: Command,
    name: &str,
    input: &str,
    timeout: Duration,
    cutoff: &Cutoff,
    refusal: impl Fn(&io::Error) -> String,
) -> Result<ProgramOutput, ProgramError> {
    let group = piped(input).and_then(|stdin| {
        command.stdin(stdin);
        Group::start(command, Errors::Apart)
    });
    let group = group.map_err(|error| {
        let text = format!("{name} cannot be run: {}", refusal(&error));
        if error.kind() == io::ErrorKind::NotFound { ProgramError::Missing(text) } else { text.into() }
    })?;
    let begun = Instant::now();
    let mut signalled_at = None;
    let is_over = || match cutoff.is_signalled() {
        true => signalled_at.get_or_insert_with(Instant::now).elapsed() >= AFTER_SIGNAL,
        false => cutoff.is_reached() && begun.elapsed() >= LEAST,
    };
    let (mut stdout, mut stderr) = (Kept::new(), Kept::new());
    let ending = group.wait(timeout, PATIENCE, is_over, |stream, bytes| match stream {
        Stream::Output => stdout.push(bytes),
        Stream::Errors => stderr.push(bytes),
    });
    let killed = || SecretError { message: format!("{name} was killed: {CutShort}"), interrupted: true };
    let status = match ending.map_err(|error| format!("{name}: {error}"))? {
        // A service manager signals all processes of a run at once.
        Ending::ByItself(status) if cutoff.is_signalled() && !status.success() => return Err(killed().into()),
        Ending::ByItself(status) => status,
        Ending::TimedOut => {
            let message = format!("{name} did not end within {timeout:?}; does it wait for input?");
            return Err(message.into());
        }
        Ending::Interrupted => return Err(killed().into()),
    };
    let complaint = String::from_utf8_lossy(&stderr.bytes).lines().next().unwrap_or_default().to_owned();
    let stdout = match stdout.text() {
        Err(wrong) if status.success() => return Err(format!("what {name} prints {wrong}").into()),
        stdout => stdout.unwrap_or_default(),
    };
    Ok(ProgramOutput { status, stdout, complaint })
}

/// The read end of a pipe that contains this text. The text must fit into the pipe.
fn piped(input: &str) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(input.as_bytes())?;
    Ok(reader)
}

/// The output of a program, limited to the length of a secret.
struct Kept {
    bytes: Zeroizing<Vec<u8>>,
    is_cut: bool,
}

impl Kept {
    fn new() -> Kept {
        // Large enough from the start: a growing buffer would leave copies of the secret in memory.
        Kept { bytes: Zeroizing::new(Vec::with_capacity(LONGEST)), is_cut: false }
    }

    fn push(&mut self, bytes: Vec<u8>) {
        let bytes = Zeroizing::new(bytes);
        let room = LONGEST - self.bytes.len();
        self.is_cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// # Errors
    /// Why it is not a secret.
    fn text(mut self) -> Result<Zeroizing<String>, &'static str> {
        if self.is_cut {
            return Err("is too long for a secret");
        }
        match String::from_utf8(std::mem::take(&mut *self.bytes)) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err("is not UTF-8")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> Result<String, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, "it", "from outside", timeout, &Cutoff::default(), ToString::to_string)
            .map(|output| output.stdout.to_string())
            .map_err(|fault| SecretError::from(fault).to_string())
    }

    #[test]
    fn a_program_reads_its_input_and_returns_its_output() {
        assert_eq!(sh("cat", Duration::from_secs(30)), Ok("from outside".to_owned()));
    }

    #[test]
    fn output_that_cannot_be_a_secret_is_an_error() {
        for (script, expected) in [
            ("printf '\\377'", "what it prints is not UTF-8"),
            ("printf %65537s x", "what it prints is too long for a secret"),
        ] {
            assert_eq!(sh(script, Duration::from_secs(30)), Err(expected.to_owned()), "{script}");
        }
        assert_eq!(sh("printf %65536s x", Duration::from_secs(30)).map(|text| text.len()), Ok(65536));
    }

    #[test]
    fn program_that_does_not_end_is_killed() {
        let late = Err("it did not end within 50ms; does it wait for input?".to_owned());
        assert_eq!(sh("exec sleep 600", Duration::from_millis(50)), late);
    }

    #[test]
    fn children_of_a_killed_program_are_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; sleep 600 & echo $! > child; wait"]).current_dir(folder.path());
        let stop = crate::stop::Stop::default();
        let child = || std::fs::read_to_string(folder.path().join("child")).unwrap_or_default();
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !child().ends_with('\n') {
                    std::thread::sleep(Duration::from_millis(5));
                }
                stop.tell(15);
            });
            run(command, "it", "", Duration::from_secs(60), &Cutoff::at_signal(&stop), ToString::to_string)
                .map_err(SecretError::from)
                .unwrap_err()
        });
        assert!(error.interrupted);
        let child = child();
        let is_alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
        };
        let begun = Instant::now();
        while is_alive() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn program_that_fails_after_a_signal_was_interrupted() {
        let stop = crate::stop::Stop::default();
        stop.tell(15);
        let run = |script| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(command, "it", "", Duration::from_secs(60), &Cutoff::at_signal(&stop), ToString::to_string)
        };
        assert!(SecretError::from(run("kill $$").unwrap_err()).interrupted);
        assert_eq!(run("echo x").unwrap().stdout.as_str(), "x\n");
    }

    #[test]
    fn program_that_leaves_a_child_behind_is_killed() {
        let begun = Instant::now();
        assert!(sh("sleep 60 & echo x", Duration::from_secs(1)).is_err());
        assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    }
}
