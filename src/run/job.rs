//! The jobs for each registry, and the threads that do them, at most `connections` for a registry.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use jiff::Timestamp;

use super::changes::{self, FeedResult, Repositories, ToList};
use super::listing::{Extent, Known, list};
use super::{Context, Message};
use crate::engine::ErrorCode;
use crate::policy::Order;
use crate::reference::Repository;
use crate::target::Name;

/// A job for a registry.
enum Job<'a> {
    /// Prepare the connection, because a listing will certainly follow.
    Prepare,
    Owner(&'a str, Repositories<'a>),
    Repository {
        repository: &'a Repository,
        targets: Vec<usize>,
        extent: Extent,
        known: Known,
    },
}

/// The jobs of one registry. An owner's feed adds more.
struct Work<'a> {
    state: Mutex<WorkState<'a>>,
    changed: Condvar,
}

struct WorkState<'a> {
    jobs: VecDeque<Job<'a>>,
    owners_asked: usize,
    /// At most the registry's connections.
    threads: usize,
}

impl<'a> Work<'a> {
    fn new(jobs: VecDeque<Job<'a>>) -> Work<'a> {
        Work { state: Mutex::new(WorkState { jobs, owners_asked: 0, threads: 0 }), changed: Condvar::new() }
    }

    /// The number of threads to start for the present jobs, within the limit of connections.
    fn more_threads(&self, most: usize) -> usize {
        let mut state = self.lock();
        let more = state.jobs.len().min(most.saturating_sub(state.threads));
        state.threads += more;
        more
    }

    /// Notes that this number of threads could not be started. Returns whether any thread runs.
    fn without(&self, threads: usize) -> bool {
        let mut state = self.lock();
        state.threads -= threads;
        state.threads > 0
    }

    fn next(&self) -> Option<Job<'a>> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.owners_asked += usize::from(matches!(job, Job::Owner(..)));
                return Some(job);
            }
            if state.owners_asked == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds the jobs that an owner's feed requires.
    fn answered(&self, jobs: impl Iterator<Item = Job<'a>>) {
        let mut state = self.lock();
        state.owners_asked -= 1;
        state.jobs.extend(jobs);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, WorkState<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the threads that list. Each ends when its registry has no more jobs.
///
/// # Errors
/// No thread can be started for one of the registries.
pub(super) fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: &'env Context<'env>,
    sender: &SyncSender<Message>,
) -> io::Result<()> {
    owners(context).into_iter().try_for_each(|(name, owners)| {
        start_threads(scope, context, name, &Arc::new(Work::new(jobs(context, owners))), sender)
    })
}

/// Starts as many threads as the jobs need. Without pushes, one for each owner is enough.
fn start_threads<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: &'env Context<'env>,
    name: &'env Name,
    work: &Arc<Work<'env>>,
    sender: &SyncSender<Message>,
) -> io::Result<()> {
    let more = work.more_threads(context.run.config.registries[name].connections);
    for number in 0..more {
        let (theirs, sender) = (Arc::clone(work), sender.clone());
        let started = thread::Builder::new().spawn_scoped(scope, move || {
            let work = theirs;
            while let Some(job) = work.next() {
                if context.run.stop.signal().is_none() {
                    carry_out(context, name, &work, job, &sender);
                    // The present thread continues alone if no other can be started.
                    let _ = start_threads(scope, context, name, &work, &sender);
                } else if matches!(job, Job::Owner(..)) {
                    // The other threads wait for the jobs that its answer adds.
                    work.answered(std::iter::empty());
                }
            }
        });
        if let Err(error) = started {
            return if work.without(more - number) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// The repositories, by registry and owner.
fn owners<'a>(context: &'a Context<'a>) -> BTreeMap<&'a Name, BTreeMap<&'a str, Repositories<'a>>> {
    let mut grouped: BTreeMap<&Name, BTreeMap<&str, Repositories<'_>>> = BTreeMap::new();
    let targets = context.targets[..context.asked].iter().enumerate();
    for (index, target) in targets.filter(|(_, target)| !context.unreadable.contains_key(&target.id)) {
        let repository = &target.image.repository;
        let owners = grouped.entry(&target.registry).or_default();
        owners.entry(repository.owner()).or_default().entry(repository).or_default().push(index);
    }
    grouped
}

fn jobs<'a>(context: &Context<'_>, owners: BTreeMap<&'a str, Repositories<'a>>) -> VecDeque<Job<'a>> {
    let is_sure = |index: &usize| {
        let target = context.targets[*index];
        let state = context.state(target);
        let is_known = state.is_some_and(|state| state.listed.is_some() && state.failing.is_none());
        target.policy.order() != Order::Newest && (context.run.refresh || !is_known)
    };
    let prepares = owners.values().flat_map(BTreeMap::values).flatten().any(is_sure);
    let owners = in_turn(context, owners.into_iter().collect(), |(_, repositories), is| {
        repositories.values().flatten().any(is)
    });
    let owners = owners.into_iter().map(|(owner, repositories)| Job::Owner(owner, repositories));
    prepares.then_some(Job::Prepare).into_iter().chain(owners).collect()
}

/// The order of the owners. If the previous run could not check all of them, each run begins with a different
/// one. Otherwise an early end of the run (a server that counts as down, a limit, `max_runtime`) would always
/// skip the same owners.
fn in_turn<T>(
    context: &Context<'_>,
    mut items: Vec<T>,
    any: impl Fn(&T, &dyn Fn(&usize) -> bool) -> bool,
) -> Vec<T> {
    let is_failing = |index: &usize| {
        let state = context.state(context.targets[*index]);
        state
            .and_then(|state| state.failing.as_ref())
            .is_some_and(|failing| is_of_the_run(failing.failure.code))
    };
    if items.len() > 1 && items.iter().any(|item| any(item, &is_failing)) {
        // A hash, because runs start at regular intervals, and their seconds alone would give few different
        // values.
        let mut hasher = DefaultHasher::new();
        Timestamp::now().as_nanosecond().hash(&mut hasher);
        let turn = hasher.finish() % u64::try_from(items.len()).expect("it fits");
        items.rotate_left(usize::try_from(turn).expect("less than the length"));
    }
    items
}

/// Whether the failure may have caused others to be skipped.
fn is_of_the_run(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::OutOfTime)
}

fn carry_out<'a>(
    context: &'a Context<'a>,
    name: &Name,
    work: &Work<'a>,
    job: Job<'a>,
    sender: &SyncSender<Message>,
) {
    let registry = context.registries.get(name);
    let listed = match job {
        Job::Prepare => {
            registry.prepare();
            return;
        }
        Job::Owner(owner, repositories) => {
            let asked = if context.cutoff.is_reached() {
                FeedResult { to_list: ToList { repositories, ..ToList::default() }, ..FeedResult::default() }
            } else {
                changes::ask_owner(context, registry, owner, repositories)
            };
            let FeedResult { listed, to_list, warning } = asked;
            let ToList { repositories, generation, mut pushed, known, known_until, counts } = to_list;
            let extent = Extent::Whole { generation };
            let repositories = in_turn(context, repositories.into_iter().collect(), |(_, targets), is| {
                targets.iter().any(is)
            });
            work.answered(repositories.into_iter().map(|(repository, targets)| {
                let pushed = pushed.remove(&changes::name(repository)).unwrap_or_default();
                let until = known_until.filter(|_| known.contains(repository));
                Job::Repository { repository, targets, extent, known: Known { pushed, until, counts } }
            }));
            if let Some(warning) = warning {
                let _ = sender.send(Message::Warning(warning));
            }
            listed
        }
        Job::Repository { repository, targets, extent, known } => {
            list(context, registry, repository, &targets, extent, &known)
        }
    };
    // An interrupted listing is not a failed check.
    if !listed.is_empty() && !context.cutoff.is_signalled() {
        // After a signal, the coordinator does not wait for listings.
        let _ = sender.send(Message::Listed(listed));
    }
}
