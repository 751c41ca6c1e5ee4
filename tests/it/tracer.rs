//! Runs tagship under ptrace: names the system calls at which a run can be cut off, of all its threads together,
//! and kills it at one of them.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::harness::{PATIENCE, Shop};
use crate::run::Run;

/// A place where a run can be cut off: the n-th time that any thread makes this call on this thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Point {
    /// `pwrite64 state.db-journal`, `sendto POST /`, `spawn process`
    pub(crate) call: String,
    number: usize,
    moment: Moment,
}

/// The effect of a call outside the process (a program lives, a request is in progress) exists only after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Moment {
    Before,
    After,
}

impl Display for Point {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let moment = if self.moment == Moment::Before { "before" } else { "after" };
        write!(f, "{moment} {} #{}", self.call, self.number)
    }
}

/// `tagship ARGUMENTS` in the shop, killed at the point where there is one; and every point it came to.
///
/// Only the thread that starts a process may trace it and wait for it, so that tests beside this one keep theirs.
pub(crate) fn trace(shop: &Shop, arguments: &[&str], kill_at: Option<&Point>) -> (Run, BTreeSet<Point>) {
    // The shell waits for a line, so that nothing of tagship runs before it is traced.
    let mut running = shop.start_under(&["sh", "-c", "read -r go && exec \"$0\" \"$@\""], arguments);
    let leader = Pid::from_raw(running.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(leader, options).unwrap();
    ptrace::interrupt(leader).unwrap();
    running.stdin().write_all(b"go\n").unwrap();
    let mut tracer = Tracer {
        shop,
        leader,
        kill_at,
        runs: false,
        counts: HashMap::new(),
        points: BTreeSet::new(),
        inside: HashMap::new(),
    };
    let status = thread::scope(|scope| {
        let (over, is_over) = channel::<()>();
        scope.spawn(move || {
            if is_over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(leader, Signal::SIGKILL);
            }
        });
        let status = tracer.follow();
        drop(over);
        status
    });
    (running.ended(status), tracer.points)
}

struct Tracer<'a> {
    shop: &'a Shop,
    leader: Pid,
    kill_at: Option<&'a Point>,
    /// The shell has become tagship.
    runs: bool,
    counts: HashMap<String, usize>,
    points: BTreeSet<Point>,
    /// What each thread has begun and not ended.
    inside: HashMap<Pid, (String, usize)>,
}

impl Tracer<'_> {
    /// Until the process has ended, with all its threads.
    fn follow(&mut self) -> ExitStatus {
        loop {
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            let (thread, signal) = match waitpid(Pid::from_raw(-1), Some(flags)).unwrap() {
                WaitStatus::Exited(thread, code) if thread == self.leader => {
                    return ExitStatus::from_raw(code << 8);
                }
                WaitStatus::Signaled(thread, signal, _) if thread == self.leader => {
                    return ExitStatus::from_raw(signal as i32);
                }
                WaitStatus::PtraceSyscall(thread) => {
                    self.stopped(thread);
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    self.runs |= event == libc::PTRACE_EVENT_EXEC;
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            match ptrace::syscall(thread, signal) {
                // It was killed in the meantime.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// At the beginning or the end of a call.
    fn stopped(&mut self, thread: Pid) {
        let Ok(info) = ptrace::syscall_info(thread) else { return };
        if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            let Some(call) = self.runs.then(|| self.describe(thread)).flatten() else { return };
            let count = self.counts.entry(call.clone()).or_default();
            *count += 1;
            let number = *count;
            self.inside.insert(thread, (call.clone(), number));
            self.reach(Point { call, number, moment: Moment::Before });
        } else if let Some((call, number)) = self.inside.remove(&thread)
            && ["send", "connect", "spawn"].iter().any(|begin| call.starts_with(begin))
        {
            self.reach(Point { call, number, moment: Moment::After });
        }
    }

    fn reach(&mut self, point: Point) {
        if self.kill_at == Some(&point) {
            kill(self.leader, Signal::SIGKILL).unwrap();
        }
        self.points.insert(point);
    }

    /// The call and its object; None if it changes nothing that outlives the process.
    fn describe(&self, thread: Pid) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{}/task/{thread}/syscall", self.leader)).ok()?;
        let mut words = text.split(' ');
        let number: i64 = words.next()?.parse().ok()?;
        let arguments: Vec<u64> =
            words.map_while(|word| u64::from_str_radix(word.trim().strip_prefix("0x")?, 16).ok()).collect();
        let on_file = |name: &str| Some(format!("{name} {}", self.file(arguments[0])));
        match number {
            libc::SYS_write => on_file("write"),
            libc::SYS_writev => on_file("writev"),
            libc::SYS_pwrite64 => on_file("pwrite64"),
            libc::SYS_fsync => on_file("fsync"),
            libc::SYS_fdatasync => on_file("fdatasync"),
            libc::SYS_ftruncate => on_file("ftruncate"),
            libc::SYS_fchmod => on_file("fchmod"),
            libc::SYS_fchown => on_file("fchown"),
            libc::SYS_flock => on_file("flock"),
            libc::SYS_connect => Some("connect".to_owned()),
            libc::SYS_sendto => Some(format!("sendto {}", self.message(arguments[1], arguments[2]))),
            libc::SYS_sendmsg => Some("sendmsg".to_owned()),
            libc::SYS_unlink => Some(format!("unlink {}", self.path(arguments[0]))),
            libc::SYS_unlinkat => Some(format!("unlink {}", self.path(arguments[1]))),
            libc::SYS_rename => Some(format!("rename {}", self.path(arguments[1]))),
            libc::SYS_renameat | libc::SYS_renameat2 => Some(format!("rename {}", self.path(arguments[3]))),
            libc::SYS_mkdir => Some(format!("mkdir {}", self.path(arguments[0]))),
            libc::SYS_openat if arguments[2] & CREATE != 0 => {
                Some(format!("create {}", self.path(arguments[1])))
            }
            libc::SYS_clone => Some(spawn(arguments[0])),
            libc::SYS_clone3 => Some(spawn(self.word(arguments[0])?)),
            libc::SYS_vfork | libc::SYS_fork => Some(spawn(0)),
            libc::SYS_wait4 | libc::SYS_waitid => Some("wait".to_owned()),
            _ => None,
        }
    }

    fn file(&self, descriptor: u64) -> String {
        let link = fs::read_link(format!("/proc/{}/fd/{descriptor}", self.leader));
        match (descriptor, link) {
            (1, _) => "stdout".to_owned(),
            (2, _) => "stderr".to_owned(),
            (_, Ok(path)) => self.name(&path.to_string_lossy()),
            (_, Err(_)) => "nothing".to_owned(),
        }
    }

    fn path(&self, address: u64) -> String {
        let bytes = self.memory(address, 4096);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        self.name(&String::from_utf8_lossy(&bytes[..end]))
    }

    /// Without what differs from run to run.
    fn name(&self, path: &str) -> String {
        if let Some((kind, _)) = path.split_once(":[") {
            return kind.to_owned();
        }
        let name = self.shop.redact(path);
        match name.split_once("/.tagship-") {
            Some((folder, _)) => format!("{folder}/.tagship-[random]"),
            None => name,
        }
    }

    /// The sent data: a request by its first line, anything else as a body.
    fn message(&self, address: u64, length: u64) -> String {
        let bytes = self.memory(address, usize::try_from(length).unwrap_or(usize::MAX).min(4096));
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().next().and_then(|line| line.strip_suffix(" HTTP/1.1"));
        line.map_or_else(|| "a body".to_owned(), |line| self.shop.redact(line))
    }

    fn word(&self, address: u64) -> Option<u64> {
        Some(u64::from_ne_bytes(self.memory(address, 8).try_into().ok()?))
    }

    /// What can be read there, at most so much.
    fn memory(&self, address: u64, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let memory = fs::File::open(format!("/proc/{}/mem", self.leader));
        let length = memory.and_then(|memory| memory.read_at(&mut bytes, address)).unwrap_or(0);
        bytes.truncate(length);
        bytes
    }
}

const CREATE: u64 = libc::O_CREAT as u64;

fn spawn(flags: u64) -> String {
    let is_thread = flags & libc::CLONE_THREAD as u64 != 0;
    format!("spawn {}", if is_thread { "thread" } else { "process" })
}
