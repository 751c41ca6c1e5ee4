//! Runs a command as a process group: reads its output, and ends it with everything it started. Every command
//! of a configuration (steps, probes, secrets, credential helpers, notifications) is started and ended here.
#![allow(clippy::disallowed_types, reason = "it starts processes")]

use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::Process;
use crate::stop::TICK;

/// A variable in the environment of each command, by which its descendants are recognised: the ID of the command, behind
/// those of the commands that this tagship runs below.
const COMMAND_ID: &str = "TAGSHIP_COMMAND_ID";
/// A command can leave a daemon behind that starts tagship again, so that each run is below the last one.
const MOST_IDS: usize = 8;

/// How long a killed command may take to end. One that waits for a dead disk never ends.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How long to wait for output after KILL: a descendant of another user can survive, and keep the pipe open.
const LINGER_AFTER_KILL: Duration = Duration::from_millis(500);
/// How many chunks are read ahead: 16 of 8 KiB.
const READ_AHEAD: usize = 16;

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    ByItself(ExitStatus),
    /// Stopped at its timeout.
    TimedOut,
    /// Stopped because the run ended. Also a failure at that moment, because a service manager signals all
    /// processes of a run at once.
    Interrupted,
}

/// How long to wait for a command that should end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From TERM to KILL.
    pub(crate) grace: Duration,
    /// From the command's end to the end of its output; None: as long as for the command.
    pub(crate) linger: Option<Duration>,
}

/// The stream that a command writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    /// Standard error, if it is separate.
    Errors,
}

/// Where standard error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    WithOutput,
    Apart,
}

/// A child that leads its own process group, and the read ends of the pipes that it prints to.
pub(crate) struct Group {
    leader: Child,
    pipes: Vec<(Stream, PipeReader)>,
    processes: Processes,
}

/// A command's process group, and processes that left it: those that have its ID in their environment.
struct Processes {
    group: Pid,
    id: String,
}

enum Event {
    Output(Stream, Vec<u8>),
    OutputEnded,
    Exited { succeeded: bool },
}

/// How far a command has been stopped.
#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// TERM was sent; KILL follows at this time.
    Asked(Ending, Instant),
    /// KILL was sent at this time.
    Killed(Ending, Instant),
}

impl Group {
    /// Starts the command, whose standard input is set, with pipes for its output.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(mut command: Command, errors: Errors) -> io::Result<Group> {
        let (output, writer) = io::pipe()?;
        let mut pipes = vec![(Stream::Output, output)];
        match errors {
            Errors::WithOutput => {
                command.stderr(writer.try_clone()?);
            }
            Errors::Apart => {
                let (reader, writer) = io::pipe()?;
                command.stderr(writer);
                pipes.push((Stream::Errors, reader));
            }
        }
        let id = uuid::Uuid::now_v7().to_string();
        let leader = command.env(COMMAND_ID, ids(&id)).stdout(writer).process_group(0).spawn()?;
        // `command` keeps the pipes' write ends and the standard input open. Close them, so that the child's
        // are the last.
        drop(command);
        let processes = Processes { group: Pid::from_child(&leader), id };
        Ok(Group { leader, pipes, processes })
    }

    /// The number of the process and of its group.
    pub(crate) fn id(&self) -> u32 {
        self.leader.id()
    }

    /// Waits until the command ends, or ends it at the timeout or once the run `is_over`.
    ///
    /// If the command ends by itself, tagship waits `patience.linger` for the output of its descendants, and
    /// does not stop them: the command may start a daemon on purpose. If tagship ends the command, it ends
    /// the whole group and all processes that left it.
    ///
    /// # Errors
    /// The exit status cannot be read, KILL does not end the command, or no thread can be started (then it is
    /// killed).
    pub(crate) fn wait(
        mut self,
        timeout: Duration,
        patience: Patience,
        mut is_over: impl FnMut() -> bool,
        mut on_output: impl FnMut(Stream, Vec<u8>),
    ) -> io::Result<Ending> {
        let processes = self.processes;
        let deadline = Instant::now().checked_add(timeout);
        let mut open_pipes = self.pipes.len();
        let events = match watch(processes.group, self.pipes) {
            Ok(events) => events,
            Err(error) => {
                // Without the thread, its end would go unnoticed.
                processes.signal(Signal::KILL);
                self.leader.wait()?;
                return Err(io::Error::new(error.kind(), format!("could not start a thread: {error}")));
            }
        };
        let mut phase = Phase::Running;
        let (mut exited, mut has_failed) = (None, false);
        loop {
            let now = Instant::now();
            let output_ended = open_pipes == 0;
            let until_next = match phase {
                Phase::Running => {
                    let lingers_until = exited.zip(patience.linger).map(|(at, linger)| at + linger);
                    let has_ended =
                        exited.is_some() && (output_ended || lingers_until.is_some_and(|until| now >= until));
                    let is_waited_for = !has_ended && lingers_until.is_none();
                    let is_late = is_waited_for && deadline.is_some_and(|deadline| now >= deadline);
                    let ending = match (is_waited_for || has_failed) && is_over() {
                        true => Some(Ending::Interrupted),
                        false => is_late.then_some(Ending::TimedOut),
                    };
                    if let Some(ending) = ending {
                        processes.signal(Signal::TERM);
                        phase = Phase::Asked(ending, now + patience.grace);
                        continue;
                    }
                    if has_ended {
                        return self.leader.wait().map(Ending::ByItself);
                    }
                    lingers_until.or(deadline).map_or(TICK, |until| until - now)
                }
                Phase::Asked(ending, until) => {
                    if now >= until || (exited.is_some() && output_ended && !processes.run()) {
                        phase = Phase::Killed(ending, now);
                        continue;
                    }
                    until - now
                }
                Phase::Killed(ending, at) => {
                    // Repeated, because new processes may have been started.
                    processes.signal(Signal::KILL);
                    let is_gone = || output_ended && !processes.run();
                    if exited.is_some() && (now >= at + LINGER_AFTER_KILL || is_gone()) {
                        self.leader.wait()?;
                        return Ok(ending);
                    }
                    if now >= at + LAST_WAIT {
                        return Err(io::Error::other("it is still running after KILL"));
                    }
                    TICK
                }
            };
            match events.recv_timeout(until_next.min(TICK)) {
                Ok(Event::Output(stream, bytes)) => on_output(stream, bytes),
                Ok(Event::OutputEnded) => open_pipes -= 1,
                Ok(Event::Exited { succeeded }) => {
                    (exited, has_failed) = (Some(Instant::now()), !succeeded);
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Every thread has ended, and has sent its result before.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(until_next.min(TICK)),
            }
        }
    }
}

/// The ID, behind the newest that tagship itself has.
fn ids(id: &str) -> String {
    let inherited = std::env::var(COMMAND_ID).unwrap_or_default();
    let mut ids: Vec<&str> = inherited.split_whitespace().rev().take(MOST_IDS - 1).collect();
    ids.reverse();
    ids.push(id);
    ids.join(" ")
}

/// One thread reads each pipe, and one waits for the command. None is joined, because a descendant can keep a
/// pipe open forever.
///
/// # Errors
/// One of them cannot be started.
fn watch(id: Pid, pipes: Vec<(Stream, PipeReader)>) -> io::Result<Receiver<Event>> {
    let (sender, events) = sync_channel(READ_AHEAD);
    let on_exit = sender.clone();
    thread::Builder::new().spawn(move || {
        // NOWAIT leaves a zombie, so that the ID cannot be reused by another group while signals are sent.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended = loop {
            match waitid(WaitId::Pid(id), options) {
                Err(rustix::io::Errno::INTR) => {}
                ended => break ended.ok().flatten(),
            }
        };
        let succeeded = ended.is_some_and(|status| status.exit_status() == Some(0));
        let _ = on_exit.send(Event::Exited { succeeded });
    })?;
    for (stream, mut pipe) in pipes {
        let sender = sender.clone();
        thread::Builder::new().spawn(move || {
            read(stream, &mut pipe, &sender);
            let _ = sender.send(Event::OutputEnded);
        })?;
    }
    Ok(events)
}

/// Sends what it reads, until the end or until the receiver is gone. Keeps no copy, because it may be a
/// secret.
fn read(stream: Stream, pipe: &mut PipeReader, sender: &SyncSender<Event>) {
    loop {
        let mut buffer = vec![0; 8 * 1024];
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                buffer.truncate(length);
                if sender.send(Event::Output(stream, buffer)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

impl Processes {
    /// Signals the group, and the groups of processes that left it. A process that has ended is not an error.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
        for (id, process) in self.running() {
            if let Some(id) = Pid::from_raw(id).filter(|_| process.group != self.group_id()) {
                let _ = kill_process(id, signal);
            }
        }
    }

    /// Whether a process of the group runs; a leader that has ended does not count.
    fn run(&self) -> bool {
        !self.running().is_empty()
    }

    fn running(&self) -> Vec<(i32, Process)> {
        super::running(Some(self.group_id()), &[(COMMAND_ID, self.id.clone())])
    }

    fn group_id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }
}
