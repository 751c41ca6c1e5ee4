//! A command as a process group: read while it runs, ended with everything it started. Every command of a configuration
//! (steps, probes, secrets, credential helpers, notifications) is started and ended here.
#![allow(clippy::disallowed_types, reason = "it starts processes")]

use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::stop::TICK;

/// How long a killed command may take to be gone: one that waits for a dead disk never is.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// For the output of what has been killed: a descendant that left the group can hold the pipe.
const LINGER_AFTER_KILL: Duration = Duration::from_millis(500);
/// Chunks read ahead of the one that is passed on: 16 of 8 KiB.
const READ_AHEAD: usize = 16;

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    ByItself(ExitStatus),
    /// Stopped at its timeout.
    TimedOut,
    /// Stopped because the run was over.
    Interrupted,
}

/// How long to wait for what ought to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From TERM to KILL.
    pub(crate) grace: Duration,
    /// For the end of the output after a command has ended; None: as long as for the command.
    pub(crate) linger: Option<Duration>,
}

/// What a command writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    /// Standard error, where it is apart.
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
}

enum Event {
    Output(Stream, Vec<u8>),
    OutputEnded,
    Exited,
}

/// Where a command is on its way out.
#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// TERM was sent; KILL follows at this moment.
    Asked(Ending, Instant),
    /// KILL was sent at this moment.
    Killed(Ending, Instant),
}

impl Group {
    /// Starts the command, whose standard input is set, with pipes for what it prints.
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
        let leader = command.stdout(writer).process_group(0).spawn()?;
        // `command` holds the pipes' write ends and the standard input; all of them must end with the child's.
        drop(command);
        Ok(Group { leader, pipes })
    }

    /// Of the process, and of its group.
    pub(crate) fn id(&self) -> u32 {
        self.leader.id()
    }

    /// Waits until the command has ended, or ends it: at the timeout, or once the run `is_over`.
    ///
    /// What descendants print after the command ended by itself is waited for as long as `patience.linger` says, and
    /// they are left alone: a daemon may have been the point. Where tagship ends the command, the whole group goes.
    ///
    /// # Errors
    /// The exit status cannot be had, or KILL does not end it; or no thread can be started, and it was killed.
    pub(crate) fn wait(
        mut self,
        timeout: Duration,
        patience: Patience,
        mut is_over: impl FnMut() -> bool,
        mut on_output: impl FnMut(Stream, Vec<u8>),
    ) -> io::Result<Ending> {
        let id = Pid::from_child(&self.leader);
        let deadline = Instant::now().checked_add(timeout);
        let mut open_pipes = self.pipes.len();
        let events = match watch(id, self.pipes) {
            Ok(events) => events,
            Err(error) => {
                // Nobody would see it end.
                signal_group(id, Signal::KILL);
                self.leader.wait()?;
                return Err(io::Error::new(error.kind(), format!("no thread can be started: {error}")));
            }
        };
        let mut phase = Phase::Running;
        let mut exited: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let output_ended = open_pipes == 0;
            let until_next = match phase {
                Phase::Running => {
                    let lingers_until = exited.zip(patience.linger).map(|(at, linger)| at + linger);
                    if exited.is_some() && (output_ended || lingers_until.is_some_and(|until| now >= until)) {
                        return self.leader.wait().map(Ending::ByItself);
                    }
                    match lingers_until {
                        Some(until) => until - now,
                        None => {
                            let is_late = deadline.is_some_and(|deadline| now >= deadline);
                            let ending = match is_over() {
                                true => Some(Ending::Interrupted),
                                false => is_late.then_some(Ending::TimedOut),
                            };
                            if let Some(ending) = ending {
                                signal_group(id, Signal::TERM);
                                phase = Phase::Asked(ending, now + patience.grace);
                                continue;
                            }
                            deadline.map_or(TICK, |deadline| deadline - now)
                        }
                    }
                }
                Phase::Asked(ending, until) => {
                    if now >= until || (exited.is_some() && output_ended) {
                        signal_group(id, Signal::KILL);
                        phase = Phase::Killed(ending, now);
                        continue;
                    }
                    until - now
                }
                Phase::Killed(ending, at) => {
                    if exited.is_some() && (output_ended || now >= at + LINGER_AFTER_KILL) {
                        self.leader.wait()?;
                        return Ok(ending);
                    }
                    if now >= at + LAST_WAIT {
                        return Err(io::Error::other("it is still there after KILL"));
                    }
                    TICK
                }
            };
            match events.recv_timeout(until_next.min(TICK)) {
                Ok(Event::Output(stream, bytes)) => on_output(stream, bytes),
                Ok(Event::OutputEnded) => open_pipes -= 1,
                Ok(Event::Exited) => exited = Some(Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
                // Every thread is done, and said so before.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(until_next.min(TICK)),
            }
        }
    }
}

/// One thread reads each pipe, one waits. None is joined: a descendant can hold a pipe for ever.
///
/// # Errors
/// One of them cannot be started.
fn watch(id: Pid, pipes: Vec<(Stream, PipeReader)>) -> io::Result<Receiver<Event>> {
    let (sender, events) = sync_channel(READ_AHEAD);
    let on_exit = sender.clone();
    thread::Builder::new().spawn(move || {
        // NOWAIT leaves a zombie, so that the id cannot become another group's while signals are sent.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(id), options) {}
        let _ = on_exit.send(Event::Exited);
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

/// Sends what is read until the end, or until nobody listens any more. No copy of it stays here: it may be a secret.
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

/// A group that is gone already is no error.
fn signal_group(id: Pid, signal: Signal) {
    let _ = kill_process_group(id, signal);
}
