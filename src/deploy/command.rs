//! A step that runs a program.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use super::placeholder::Values;
use super::step_secrets::StepSecrets;
use super::transcript::KEPT;
use super::{Attempt, DeployError, Deployer};
use crate::engine::ErrorCode;
use crate::mask::{Masked, Outside, Redactor as _};
use crate::process::Leader;
use crate::process::group::{Ending, Errors, Group, Patience, Stream};
use crate::program::{located, refusal, search_path};
use crate::stop::{CutShort, Cutoff, shown_duration, signal_name};
use crate::target::step::CommandStep;

/// For probes and gates, which change nothing and need no cleanup.
const OF_QUESTIONS: Patience =
    Patience { grace: Duration::from_millis(500), linger: Some(Duration::from_millis(500)) };

/// A command step with its placeholders rendered.
pub(super) struct CommandDeployer {
    /// As written in the configuration.
    program: String,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    env_removed: Vec<String>,
    dir: PathBuf,
    timeout: Duration,
}

/// The answer of a gate command, by its exit status.
pub(super) enum Consent {
    Given,
    /// With its last line of output, or its exit status.
    Refused(String),
}

impl CommandDeployer {
    pub(super) fn new(step: &CommandStep, values: &Values<'_>) -> Result<CommandDeployer, DeployError> {
        let mut argv = step.argv.iter().map(|argument| values.argument(argument));
        let program = argv.next().transpose()?.unwrap_or_default();
        let arguments = argv.collect::<Result<_, _>>()?;
        let mut env: Vec<_> = values.environment().collect();
        for (name, value) in &step.env {
            env.push((name.clone(), values.argument(value)?));
        }
        let env_removed = values.secrets.environment_names();
        Ok(CommandDeployer {
            program,
            arguments,
            env,
            env_removed,
            dir: step.dir.clone(),
            timeout: step.timeout,
        })
    }

    /// Limits the timeout.
    pub(super) fn within(self, longest: Duration) -> CommandDeployer {
        CommandDeployer { timeout: self.timeout.min(longest), ..self }
    }

    /// Runs it until the cutoff, and returns its standard output, at most [`KEPT`] bytes.
    ///
    /// # Errors
    /// It fails or cannot be run. The error contains the last line of its standard error.
    pub(super) fn print(
        &self,
        stdin: &File,
        cutoff: &Cutoff,
        secrets: &dyn StepSecrets,
    ) -> Result<Outside<'static>, DeployError> {
        let failed = |what: String| DeployError::failed(ErrorCode::Command, what);
        let group = self.start(stdin, Errors::Apart).map_err(|error| failed(self.explain(&error)))?;
        let (mut printed, mut is_cut) = (Vec::new(), false);
        let (mut errors, mut has_lost_errors) = (Vec::new(), false);
        let ending = group.wait(
            self.timeout,
            OF_QUESTIONS,
            || cutoff.is_reached(),
            |stream, bytes| match stream {
                Stream::Output => {
                    let room = KEPT.saturating_sub(printed.len());
                    is_cut |= bytes.len() > room;
                    printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                Stream::Errors => {
                    errors.extend(bytes);
                    if errors.len() > 2 * KEPT {
                        errors.drain(..errors.len() - KEPT);
                        has_lost_errors = true;
                    }
                }
            },
        );
        let program = &self.program;
        match ending {
            Ok(Ending::ByItself(status)) => {
                let errors = secrets.redact(&Outside::new(errors).cut_before(has_lost_errors));
                self.judge(status, &errors.last_line())?;
                Ok(Outside::new(printed).cut_behind(is_cut))
            }
            Ok(Ending::TimedOut) => {
                Err(failed(format!("{program} was stopped after {}", shown_duration(self.timeout))))
            }
            Ok(Ending::Interrupted) => {
                Err(DeployError { interrupted: true, ..failed(format!("{program} was stopped: {CutShort}")) })
            }
            Err(error) => Err(failed(format!("{program}: {error}"))),
        }
    }

    /// Runs it until the cutoff, for its exit status.
    ///
    /// # Errors
    /// It cannot be run, is killed, or does not end in time.
    pub(super) fn ask(
        &self,
        stdin: &File,
        cutoff: &Cutoff,
        secrets: &dyn StepSecrets,
    ) -> Result<Consent, DeployError> {
        let failed = |what: String| DeployError::failed(ErrorCode::Command, what);
        let group = self.start(stdin, Errors::WithOutput).map_err(|error| failed(self.explain(&error)))?;
        let (mut printed, mut has_lost) = (Vec::new(), false);
        let ending = group.wait(
            self.timeout,
            OF_QUESTIONS,
            || cutoff.is_reached(),
            |_, bytes| {
                printed.extend(bytes);
                if printed.len() > 2 * KEPT {
                    printed.drain(..printed.len() - KEPT);
                    has_lost = true;
                }
            },
        );
        let program = &self.program;
        match ending {
            Ok(Ending::ByItself(status)) => {
                let printed = secrets.redact(&Outside::new(printed).cut_before(has_lost));
                let said = printed.last_line();
                match (status.code(), self.judge(status, &said)) {
                    (_, Ok(())) => Ok(Consent::Given),
                    (None, Err(error)) => Err(error),
                    (Some(_), Err(error)) => {
                        let why = said.excerpt(300);
                        Ok(Consent::Refused(if why.is_empty() { error.message } else { why }))
                    }
                }
            }
            Ok(Ending::TimedOut) => {
                Err(failed(format!("{program} was stopped after {}", shown_duration(self.timeout))))
            }
            Ok(Ending::Interrupted) => {
                Err(DeployError { interrupted: true, ..failed(format!("{program} was stopped: {CutShort}")) })
            }
            Err(error) => Err(failed(format!("{program}: {error}"))),
        }
    }

    fn start(&self, stdin: &File, errors: Errors) -> io::Result<Group> {
        let mut command = Command::new(located(&self.program, &self.dir));
        command.args(&self.arguments).current_dir(&self.dir);
        for name in &self.env_removed {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(stdin.try_clone()?);
        Group::start(command, errors)
    }

    /// Says which path cannot be run, and what to check.
    fn explain(&self, error: &io::Error) -> String {
        let program = &self.program;
        if !self.dir.is_dir() {
            return format!("{program} cannot be run in {}: no such folder", self.dir.display());
        }
        let given = self.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.into());
        let search = given.unwrap_or_else(search_path);
        format!("{program} cannot be run: {}", refusal(program, &self.dir, &search, error))
    }

    fn judge(&self, status: ExitStatus, last_line: &Masked) -> Result<(), DeployError> {
        let program = &self.program;
        let mut message = match (status.code(), status.signal()) {
            (Some(0), _) => return Ok(()),
            (Some(code), _) => format!("{program} exited with status {code}"),
            (None, Some(signal)) => format!("{program} was killed by {}", signal_name(signal)),
            (None, None) => format!("{program} ended in an unknown way ({status})"),
        };
        let said = last_line.excerpt(300);
        if !said.is_empty() {
            message.push_str(": ");
            message.push_str(&said);
        }
        Err(DeployError::failed(ErrorCode::Command, message))
    }
}

impl Deployer for CommandDeployer {
    fn deploy(&self, attempt: &mut Attempt<'_>) -> Result<Option<Value>, DeployError> {
        let group = self.start(attempt.lock, Errors::WithOutput).map_err(|error| {
            DeployError::before_start(ErrorCode::Command, attempt.secrets.mask(&self.explain(&error)))
        })?;
        let number = group.id();
        if let Some(leader) = Leader::of(number) {
            (attempt.watch.on_start)(&leader);
        }
        let transcript = &mut attempt.transcript;
        let stop = attempt.stop;
        let ending = group.wait(
            self.timeout,
            attempt.patience,
            || stop.signal().is_some(),
            |_, bytes| transcript.push(&bytes),
        );
        let program = &self.program;
        let result = match ending {
            Ok(Ending::ByItself(status)) => {
                attempt.exit_status = status.code();
                self.judge(status, &transcript.last_line())
            }
            Ok(Ending::TimedOut) => Err(DeployError::failed(
                ErrorCode::Timeout,
                format!("{program} was stopped after {}", shown_duration(self.timeout)),
            )),
            Ok(Ending::Interrupted) => {
                let signal = signal_name(stop.signal().unwrap_or_default().into());
                let message = format!("{program} was stopped: tagship was told to stop by {signal}");
                Err(DeployError { interrupted: true, ..DeployError::failed(ErrorCode::Command, message) })
            }
            Err(error) => Err(DeployError::failed(
                ErrorCode::Command,
                format!("could not get the exit status of {program} (process {number}): {error}"),
            )),
        };
        transcript.end_step();
        result.map(|()| None).map_err(|error| error.masked(attempt.secrets))
    }
}

#[cfg(test)]
mod tests;
