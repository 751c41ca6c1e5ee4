//! A command as a process group: read while it runs, ended with everything it started.

use std::io::{self, PipeReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Patience, Stop};

/// How often the loop looks whether tagship was told to stop.
const TICK: Duration = Duration::from_millis(50);
/// How long a killed command may take to be gone: one that waits for a dead disk never is.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// Chunks read ahead of the one that is passed on: 16 of 8 KiB.
const READ_AHEAD: usize = 16;

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    ByItself(ExitStatus),
    /// Stopped at its timeout.
    TimedOut,
    /// Stopped because tagship was told to.
    Interrupted(u8),
}

/// A child that leads its own process group, and the read end of the pipe that it prints to.
pub(super) struct Group {
    pub(super) leader: Child,
    pub(super) output: PipeReader,
}

enum Event {
    Output(Vec<u8>),
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
    /// Waits until the command has ended, or ends it.
    ///
    /// What descendants print after the command ended by itself is waited for only briefly, and they
    /// are left alone: a daemon may have been the point. After the timeout the whole group goes.
    ///
    /// # Errors
    /// The exit status cannot be had, or KILL does not end it; or no thread can be started, and it was killed.
    pub(super) fn wait(
        mut self,
        timeout: Duration,
        patience: Patience,
        stop: &Stop,
        mut on_output: impl FnMut(&[u8]),
    ) -> io::Result<Ending> {
        let id = Pid::from_child(&self.leader);
        let deadline = Instant::now().checked_add(timeout);
        let events = match watch(id, self.output) {
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
        let mut output_ended = false;
        loop {
            let now = Instant::now();
            let until_next = match phase {
                Phase::Running => match exited {
                    Some(at) if output_ended || now >= at + patience.linger => {
                        return self.leader.wait().map(Ending::ByItself);
                    }
                    Some(at) => at + patience.linger - now,
                    None => {
                        let over = deadline.is_some_and(|deadline| now >= deadline);
                        let ending = match stop.signal() {
                            Some(signal) => Some(Ending::Interrupted(signal)),
                            None => over.then_some(Ending::TimedOut),
                        };
                        if let Some(ending) = ending {
                            signal_group(id, Signal::TERM);
                            phase = Phase::Asked(ending, now + patience.grace);
                            continue;
                        }
                        deadline.map_or(TICK, |deadline| deadline - now)
                    }
                },
                Phase::Asked(ending, until) => {
                    if now >= until || (exited.is_some() && output_ended) {
                        signal_group(id, Signal::KILL);
                        phase = Phase::Killed(ending, now);
                        continue;
                    }
                    until - now
                }
                Phase::Killed(ending, at) => {
                    if exited.is_some() && (output_ended || now >= at + patience.linger) {
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
                Ok(Event::Output(bytes)) => on_output(&bytes),
                Ok(Event::OutputEnded) => output_ended = true,
                Ok(Event::Exited) => exited = Some(Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
                // Both threads are done, and said so before.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(until_next.min(TICK)),
            }
        }
    }
}

/// One thread reads, one waits. Neither is joined: a descendant can hold the pipe for ever.
///
/// # Errors
/// One of them cannot be started.
fn watch(id: Pid, mut output: PipeReader) -> io::Result<Receiver<Event>> {
    let (sender, events) = sync_channel(READ_AHEAD);
    let on_exit = sender.clone();
    thread::Builder::new().spawn(move || {
        // NOWAIT leaves a zombie, so that the id cannot become another group's while signals are sent.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(id), options) {}
        let _ = on_exit.send(Event::Exited);
    })?;
    thread::Builder::new().spawn(move || {
        read(&mut output, &sender);
        let _ = sender.send(Event::OutputEnded);
    })?;
    Ok(events)
}

/// Sends what is read until the end, or until nobody listens any more.
fn read(output: &mut PipeReader, sender: &SyncSender<Event>) {
    let mut buffer = [0; 8 * 1024];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if sender.send(Event::Output(buffer[..length].to_vec())).is_err() {
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
