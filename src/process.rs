//! Finds the processes of a deployment that still run, through `/proc`, even if they closed their standard
//! input. Without `/proc`, only the target's lock shows a running deployment. `group` starts and ends
//! commands, and finds processes that left their group.
#![allow(
    clippy::disallowed_methods,
    reason = "it reads /proc and the IDs of commands, and measures how long a command takes"
)]

pub(crate) mod group;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A command's process, the leader of its own process group. Process numbers are reused: the start time
/// identifies the process, and the boot ID identifies the boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    /// The number of the process and of its group.
    pub(crate) id: i32,
    /// The start time, in clock ticks since the boot.
    pub(crate) started: i64,
    pub(crate) boot_id: String,
}

/// How the processes of an attempt are recognised.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    /// The leader of the last command. None: no command was started, or tagship was killed before it was
    /// recorded.
    pub(crate) leader: Option<Leader>,
    /// In the environment of its processes.
    pub(crate) deployment_id: String,
    pub(crate) attempt: u32,
}

/// The processes of an attempt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Running {
    /// Whether the recorded leader runs.
    pub(crate) leader: bool,
    /// Whether any process of the attempt runs.
    pub(crate) any: bool,
    /// Process groups with a process of the attempt, the leader's first.
    pub(crate) groups: Vec<i32>,
}

impl Leader {
    /// The leader of a child that is not reaped yet.
    pub(crate) fn of(id: u32) -> Option<Leader> {
        let id = i32::try_from(id).ok()?;
        Some(Leader { id, started: Process::read(id)?.started, boot_id: boot_id()? })
    }
}

impl Traces {
    /// Finds the processes of the attempt. A stopped process counts, a zombie does not.
    pub(crate) fn find(&self) -> Running {
        let leader = self.leader.as_ref().filter(|leader| Some(&leader.boot_id) == boot_id().as_ref());
        let now_leading = leader.and_then(|leader| Process::read(leader.id));
        // The number of a group is not reused while the group exists, even without its leader.
        let group =
            leader.filter(|leader| now_leading.as_ref().is_none_or(|now| now.started == leader.started));
        let variables = [
            ("TAGSHIP_DEPLOYMENT_ID", self.deployment_id.clone()),
            ("TAGSHIP_ATTEMPT", self.attempt.to_string()),
        ];
        let group = group.map(|leader| leader.id);
        let found = running(group, &variables);
        Running {
            leader: group.is_some() && now_leading.is_some_and(|now| now.runs()),
            any: !found.is_empty(),
            groups: groups(found, group),
        }
    }
}

/// The process groups whose standard input is this file and holds its lock. A daemon that inherited the file,
/// but lost the lock when it was released, does not count.
pub(crate) fn lock_holders(path: &Path) -> Vec<i32> {
    let holds = |id: &i32| {
        fs::read_link(of_process(*id, "fd/0")).is_ok_and(|input| input == path)
            && fs::read_to_string(of_process(*id, "fdinfo/0")).is_ok_and(|info| info.contains("FLOCK"))
    };
    groups(ids().filter(holds).filter_map(|id| Some((id, Process::read(id)?))).collect(), None)
}

/// The process groups of these processes, in order, with `first` at the beginning. A group of another PID
/// namespace has no number here, and is omitted.
fn groups(processes: Vec<(i32, Process)>, first: Option<i32>) -> Vec<i32> {
    let mut groups: Vec<i32> = processes.into_iter().map(|(_, process)| process.group).collect();
    groups.retain(|group| *group > 0);
    groups.sort_unstable_by_key(|group| (first != Some(*group), *group));
    groups.dedup();
    groups
}

/// A variable of an environment, and a word that its value must contain.
type Variable = (&'static str, String);

/// The running processes that are in this group, or have all these variables in their environment, by their ID.
///
/// Among the latter, this process, its ancestors and the leader of its session do not count: a user's shell can
/// have such an environment too.
fn running(group: Option<i32>, variables: &[Variable]) -> Vec<(i32, Process)> {
    let own = ancestors();
    let is_one = |id: i32, process: &Process| {
        process.runs()
            && (group == Some(process.group) || (!own.contains(&id) && has_in_environment(id, variables)))
    };
    ids()
        .filter_map(|id| Some((id, Process::read(id)?)))
        .filter(|(id, process)| is_one(*id, process))
        .collect()
}

/// This process, its ancestors, and the leader of its session.
fn ancestors() -> Vec<i32> {
    let mut found = Vec::new();
    let mut next = i32::try_from(std::process::id()).ok();
    while let Some((id, process)) = next.and_then(|id| Some((id, Process::read(id)?))) {
        if found.is_empty() {
            found.push(process.session);
        }
        found.push(id);
        next = Some(process.parent);
    }
    found
}

/// The numbers of all processes.
fn ids() -> impl Iterator<Item = i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| process.file_name().to_str()?.parse().ok())
}

/// False for another user's process, whose environment cannot be read.
fn has_in_environment(id: i32, variables: &[Variable]) -> bool {
    let Ok(environment) = fs::read(of_process(id, "environ")) else {
        return false;
    };
    let has = |(name, word): &Variable| {
        let value = |entry| <[u8]>::strip_prefix(entry, name.as_bytes())?.strip_prefix(b"=");
        let mut words = environment
            .split(|byte| *byte == 0)
            .filter_map(value)
            .flat_map(|value| value.split(|byte| *byte == b' '));
        words.any(|found| found == word.as_bytes())
    };
    variables.iter().all(has)
}

/// A process, read from `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    state: u8,
    /// 0: none, or in another PID namespace; the same holds for group and session.
    parent: i32,
    group: i32,
    session: i32,
    threads: i64,
    started: i64,
}

impl Process {
    fn read(id: i32) -> Option<Process> {
        Process::parse(&fs::read(of_process(id, "stat")).ok()?)
    }

    /// The second field is the program's name in parentheses. The name can contain blanks and parentheses.
    fn parse(stat: &[u8]) -> Option<Process> {
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = OsStr::from_bytes(&stat[end + 1..]).to_str()?;
        // The first field here is the third field of the file.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Process {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            threads: fields.get(17)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// The main thread of a program can be a zombie while other threads still run.
    fn runs(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x') || self.threads > 1
    }
}

fn of_process(id: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{id}/{file}"))
}

fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = b"4711 (a) Z (\xff) S 1 4700 4600 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987654 10 11\n";
        let expected =
            Process { state: b'S', parent: 1, group: 4700, session: 4600, threads: 3, started: 987_654 };
        assert_eq!(Process::parse(stat), Some(expected));
        for broken in [&b""[..], b"4711 (sh", b"4711 (sh) S 1", b"4711 (sh) S 1 x y z"] {
            assert_eq!(Process::parse(broken), None);
        }
    }

    #[test]
    fn stopped_processes_count_as_running_and_zombies_do_not() {
        for (state, threads, expected) in
            [(b'R', 1, true), (b'S', 1, true), (b'D', 1, true), (b'T', 1, true), (b't', 1, true)]
                .into_iter()
                .chain([(b'Z', 1, false), (b'Z', 3, true), (b'X', 0, false)])
        {
            let process = Process { state, parent: 1, group: 1, session: 1, threads, started: 1 };
            assert_eq!(process.runs(), expected, "{}", char::from(state));
        }
    }

    #[test]
    fn a_group_of_another_namespace_is_never_named() {
        let of =
            |group| (4711, Process { state: b'S', parent: 0, group, session: 0, threads: 1, started: 1 });
        assert_eq!(groups(vec![of(7), of(0), of(5), of(9), of(7)], Some(7)), [7, 5, 9]);
    }

    /// This test's own process is the leader of a group, or the record says so.
    #[test]
    fn reused_process_number_is_not_the_leader() {
        let own = std::process::id();
        let leader = Leader::of(own).unwrap();
        let find = |leader: Leader| {
            let traces =
                Traces { leader: Some(leader), deployment_id: "0190-never-used".to_owned(), attempt: 1 };
            traces.find().leader
        };
        assert!(find(leader.clone()));
        assert!(!find(Leader { started: leader.started + 1, ..leader.clone() }));
        assert!(!find(Leader { boot_id: "another".to_owned(), ..leader.clone() }));
        assert!(!find(Leader { id: i32::MAX, ..leader }));
    }
}
