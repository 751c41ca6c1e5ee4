//! Asking the registries: one listing a repository however many stages, `connections` at a time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use jiff::Timestamp;

use super::changes::{self, ToList};
use super::{Context, Message};
use crate::feed::FeedRow;
use crate::plan::sighting::{self, Sighted};
use crate::plan::{self, Answer, Decision, ErrorCode, Facts, Failure, PollState, Question};
use crate::policy::{Order, Reading, Selection};
use crate::reference::{ListedTag, Listing, Repository, Tag};
use crate::registry::{Registry, RegistryError};
use crate::store::StoreError;
use crate::target::{Name, Target, TargetId};

/// What a registry said that concerns one target.
pub(super) struct Listed {
    /// The target's place among the selected ones.
    pub(super) index: usize,
    /// The moment before the registry was asked.
    pub(super) asked_at: Timestamp,
    pub(super) extent: Extent,
    pub(super) found: Found,
}

/// How much of a repository was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it; the feed's generation was read before.
    Whole { generation: i64 },
    /// What was pushed up to this generation of the feed.
    Rows { generation: i64 },
    /// Nothing that was not known.
    Nothing,
}

/// What it means for a target.
pub(super) enum Found {
    /// Nothing was pushed, and nothing waits: this is all there is to say.
    Unchanged(Box<Decision>),
    Selected(Box<Selected>),
    Failed(Failure),
}

/// A selection, and what was asked beyond it to decide.
pub(super) struct Selected {
    pub(super) selection: Selection,
    pub(super) facts: Facts,
    /// Tags that were never seen before, where the registry has no push times.
    pub(super) sighted: Vec<ListedTag>,
    /// Whether it means a deployment, on the state as this run found it.
    pub(super) deploys: bool,
    /// What people should know of the listing.
    pub(super) notes: Vec<String>,
}

impl From<Result<Selected, Failure>> for Found {
    fn from(result: Result<Selected, Failure>) -> Found {
        result.map_or_else(Found::Failed, |selected| Found::Selected(Box::new(selected)))
    }
}

impl Listed {
    pub(super) fn is_unchanged(&self) -> bool {
        matches!(self.found, Found::Unchanged(_))
    }

    /// Whether its decision should not wait for those of others.
    pub(super) fn wants_deployment(&self) -> bool {
        matches!(&self.found, Found::Selected(selected) if selected.deploys)
    }
}

/// Repositories with the places of the targets that want them.
pub(super) type Repositories<'a> = BTreeMap<&'a Repository, Vec<usize>>;

/// Something to be asked of a registry.
enum Job<'a> {
    /// It is sure that something will have to be listed.
    Prepare,
    Owner(&'a str, Repositories<'a>),
    Repository {
        repository: &'a Repository,
        targets: Vec<usize>,
        extent: Extent,
        pushed: Vec<FeedRow>,
    },
}

/// The jobs of one registry. An owner's answer makes more of them.
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

    /// How many threads are to be started for the jobs that are there, in all at most these.
    fn more_threads(&self, most: usize) -> usize {
        let mut state = self.lock();
        let more = state.jobs.len().min(most.saturating_sub(state.threads));
        state.threads += more;
        more
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

    /// An owner has answered, and this is what is to be listed.
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

/// Starts the threads that list; each ends when its registry has nothing more to be asked.
pub(super) fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: &'env Context<'env>,
    sender: &SyncSender<Message>,
) {
    for (name, owners) in owners(context.targets) {
        start_threads(scope, context, name, &Arc::new(Work::new(jobs(context, owners))), sender);
    }
}

/// As many as there are jobs for: where nothing was pushed, one an owner is enough.
fn start_threads<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: &'env Context<'env>,
    name: &'env Name,
    work: &Arc<Work<'env>>,
    sender: &SyncSender<Message>,
) {
    for _ in 0..work.more_threads(context.run.config.registries[name].connections) {
        let (work, sender) = (Arc::clone(work), sender.clone());
        scope.spawn(move || {
            while let Some(job) = work.next() {
                if context.run.stop.signal().is_none() {
                    carry_out(context, name, &work, job, &sender);
                    start_threads(scope, context, name, &work, &sender);
                } else if matches!(job, Job::Owner(..)) {
                    // The other threads wait for what its answer brings.
                    work.answered(std::iter::empty());
                }
            }
        });
    }
}

/// By registry and owner.
fn owners<'a>(targets: &'a [&'a Target]) -> BTreeMap<&'a Name, BTreeMap<&'a str, Repositories<'a>>> {
    let mut grouped: BTreeMap<&Name, BTreeMap<&str, Repositories<'_>>> = BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        let repository = &target.image.repository;
        let owners = grouped.entry(&target.registry).or_default();
        owners.entry(repository.owner()).or_default().entry(repository).or_default().push(index);
    }
    grouped
}

fn jobs<'a>(context: &Context<'_>, owners: BTreeMap<&'a str, Repositories<'a>>) -> VecDeque<Job<'a>> {
    let is_sure = |index: &usize| {
        let target = context.targets[*index];
        let state = context.states.get(&target.id);
        let is_known = state.is_some_and(|state| state.listed.is_some() && state.failing.is_none());
        target.policy.order() != Order::Newest && (context.run.refresh || !is_known)
    };
    let prepares = owners.values().flat_map(BTreeMap::values).flatten().any(is_sure);
    let owners = owners.into_iter().map(|(owner, repositories)| Job::Owner(owner, repositories));
    prepares.then_some(Job::Prepare).into_iter().chain(owners).collect()
}

fn carry_out<'a>(
    context: &'a Context<'a>,
    name: &Name,
    work: &Work<'a>,
    job: Job<'a>,
    sender: &SyncSender<Message>,
) {
    let registry = context.registries.get(name);
    let message = match job {
        Job::Prepare => {
            registry.prepare();
            return;
        }
        Job::Owner(owner, repositories) => {
            let asked = if context.is_over() {
                Ok((Vec::new(), ToList { repositories, generation: 0, pushed: BTreeMap::new() }))
            } else {
                changes::ask_owner(context, registry, owner, repositories)
            };
            match asked {
                Ok((listed, ToList { repositories, generation, mut pushed })) => {
                    let extent = Extent::Whole { generation };
                    work.answered(repositories.into_iter().map(|(repository, targets)| {
                        let name = repository.name().unwrap_or_default().to_lowercase();
                        let pushed = pushed.remove(&name).unwrap_or_default();
                        Job::Repository { repository, targets, extent, pushed }
                    }));
                    if listed.is_empty() {
                        return;
                    }
                    Ok(listed)
                }
                Err(error) => {
                    work.answered(std::iter::empty());
                    Err(error)
                }
            }
        }
        Job::Repository { repository, targets, extent, pushed } => {
            list(context, registry, repository, &targets, extent, &pushed)
        }
    };
    // The coordinator is gone only when the state failed: nothing more is of use.
    let _ = sender.send(Message::Listed(message));
}

fn list(
    context: &Context<'_>,
    registry: &dyn Registry,
    repository: &Repository,
    targets: &[usize],
    extent: Extent,
    pushed: &[FeedRow],
) -> Result<Vec<Listed>, StoreError> {
    let asked_at = Timestamp::now();
    let found = |index, found: Found| Listed { index, asked_at, extent, found };
    if context.is_over() {
        return Ok(targets.iter().map(|index| found(*index, Found::Failed(context.out_of_time()))).collect());
    }
    let (newest, others): (Vec<usize>, Vec<usize>) =
        targets.iter().partition(|index| context.targets[**index].policy.order() == Order::Newest);
    let select_each = |indices: &[usize], listing: &Result<Listing, RegistryError>| {
        let select = |index: &usize| match listing {
            Ok(listing) => {
                let target = context.targets[*index];
                let selected = select(context, registry, target, listing, 0, times(pushed))?;
                Ok(found(*index, Ok(selected).into()))
            }
            Err(error) => Ok(found(*index, Found::Failed(context.failure(error)))),
        };
        indices.iter().map(select).collect::<Result<Vec<Listed>, StoreError>>()
    };
    let mut listed = Vec::with_capacity(targets.len());
    if !registry.has_push_times() {
        let listing = registry.list_tags(repository);
        listed.extend(select_each(&others, &listing)?);
        for index in newest {
            listed.push(found(index, sight(context, registry, context.targets[index], &listing)?.into()));
        }
        return Ok(listed);
    }
    if !others.is_empty() {
        listed.extend(select_each(&others, &registry.list_tags(repository))?);
    }
    if !newest.is_empty() {
        let readings = newest.iter().map(|index| reading(context, *index)).collect();
        listed.extend(select_each(&newest, &read_newest_first(registry, repository, readings))?);
    }
    Ok(listed)
}

/// Push times that the feed has told already.
fn times(pushed: &[FeedRow]) -> Facts {
    let mut facts = Facts::default();
    for row in pushed {
        if let Ok(tag) = Tag::new(&row.version) {
            facts.insert(Question::PushedAt(tag), Answer::Moment(Some(row.created_at)));
        }
    }
    facts
}

fn notes(target: &Target, listing: &Listing) -> Vec<String> {
    let mut notes = Vec::new();
    if listing.dropped.count > 0 {
        notes.push(format!("{}: in the list of {} {}", target.id, target.image, listing.dropped));
    }
    if let Some(name) = &listing.renamed {
        notes.push(format!(
            "{}: {} is called {name} now; write that as image",
            target.id, target.image.repository
        ));
    }
    notes
}

/// Selects by when tags were first seen.
fn sight(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    listing: &Result<Listing, RegistryError>,
) -> Result<Result<Selected, Failure>, StoreError> {
    let listing = match listing {
        Ok(listing) => listing,
        Err(error) => return Ok(Err(context.failure(error))),
    };
    let known = context.run.store.sightings(&target.id)?;
    let created =
        |tag: &Tag| registry.created(&target.image.repository, tag).map_err(|error| context.failure(&error));
    let is_candidate = |listed: &ListedTag| target.policy.candidate(listed).is_some();
    let sighted = sighting::sight(listing, &known, Timestamp::now(), is_candidate, created);
    match sighted {
        Ok(Sighted { listing, new }) => {
            let selected = select(context, registry, target, &listing, 0, Facts::default())?;
            Ok(Ok(Selected { sighted: new, ..selected }))
        }
        Err(failure) => Ok(Err(failure)),
    }
}

/// How far a target's tags are to be read: to the newest that its rule takes, with gates to
/// high-water (for the newest may not pass), and to every tag that `mark` knew by its name only.
fn reading<'a>(context: &'a Context<'_>, index: usize) -> Reading<'a> {
    let target = context.targets[index];
    let state = context.states.get(&target.id);
    let high_water = state.and_then(|state| state.high_water.as_ref());
    let timeless = high_water.filter(|listed| listed.pushed_at.is_none()).map(|listed| listed.tag.clone());
    let marked = state.and_then(|state| state.marked.clone());
    let back_to = high_water.and_then(|listed| listed.pushed_at).filter(|_| target.gates.has_any());
    Reading::new(&target.policy, back_to, timeless.into_iter().chain(marked).collect())
}

/// Reads tags from the newest push down until none that follows can matter to any of the targets,
/// and what is left of the page at hand: a tag whose time is too early for its place may be there.
fn read_newest_first(
    registry: &dyn Registry,
    repository: &Repository,
    mut readings: Vec<Reading<'_>>,
) -> Result<Listing, RegistryError> {
    let mut listing = Listing::default();
    let mut tags = registry.newest_first(repository);
    let mut wanting = true;
    let mut beyond = 0;
    while wanting || (tags.size_hint().0 > 0 && beyond < PAGE) {
        let Some(listed) = tags.next() else {
            break;
        };
        let listed = listed?;
        // Each of them is to see the tag.
        wanting = readings.iter_mut().map(|reading| reading.push(&listed)).filter(|wants| *wants).count() > 0;
        beyond += usize::from(!wanting);
        listing.tags.push(listed);
    }
    Ok(listing)
}

/// Rows of a page of Gitea's.
const PAGE: usize = 50;

/// Selects from what is remembered.
pub(super) fn select_remembered(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    state: &PollState,
    listing: &Listing,
) -> Result<Found, StoreError> {
    select(context, registry, target, listing, state.tags_listed, Facts::default())
        .map(|selected| Ok(selected).into())
}

/// Selects, and asks what deciding on the state as this run found it needs to know: here, where
/// requests run side by side. `known`: how many tags there are at least, where the listing is a part.
fn select(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    listing: &Listing,
    known: usize,
    mut facts: Facts,
) -> Result<Selected, StoreError> {
    let state = context.states.get(&target.id);
    let open = context.open.get(&target.id).cloned().unwrap_or_default();
    let asked = plan::asked_of_listing(state, &open);
    let mut selection = target.policy.select(listing, &asked);
    selection.listed = selection.listed.max(known);
    let now = Timestamp::now();
    let deploys = loop {
        match plan::decide(target, &selection, state, &open, &facts, now) {
            Ok(decision) => break decision.deploy.is_some(),
            Err(question) => {
                let answer = ask(context, registry, target, &question)?;
                facts.insert(question, answer);
            }
        }
    };
    Ok(Selected { selection, facts, sighted: Vec::new(), deploys, notes: notes(target, listing) })
}

/// The newest tag that a target's policy allows, or None.
pub(super) fn newest(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
) -> Result<Result<Option<ListedTag>, RegistryError>, StoreError> {
    let image = &target.image.repository;
    let listing = match target.policy.order() {
        Order::Newest if registry.has_push_times() => {
            read_newest_first(registry, image, vec![Reading::new(&target.policy, None, HashSet::new())])
        }
        _ => registry.list_tags(image),
    };
    let mut listing = match listing {
        Ok(listing) => listing,
        Err(error) => return Ok(Err(error)),
    };
    if !registry.has_push_times() {
        add_sightings(context, target, &mut listing)?;
    }
    Ok(Ok(target.policy.select(&listing, &[]).newest().map(|candidate| candidate.listed.clone())))
}

/// Gives tags of a registry without push times the moment that they were first seen, where they were.
pub(super) fn add_sightings(
    context: &Context<'_>,
    target: &Target,
    listing: &mut Listing,
) -> Result<(), StoreError> {
    let seen = context.run.store.sightings(&target.id)?;
    for listed in &mut listing.tags {
        listed.pushed_at = seen.get(&listed.tag).copied();
    }
    Ok(())
}

/// What the state answers, where nobody is to be asked: what it does not know stays open.
pub(super) fn remember(
    context: &Context<'_>,
    target: &Target,
    question: &Question,
) -> Result<Answer, StoreError> {
    Ok(match question {
        Question::Given => Answer::Given(context.run.store.given(&target.id)?),
        Question::Runs(stage) => {
            let id = TargetId { project: target.id.project.clone(), stage: stage.clone() };
            Answer::Runs(context.run.store.runs(&id)?)
        }
        Question::Digest(_) => Answer::Digest(None),
        Question::PushedAt(_) => Answer::Moment(None),
        Question::Platforms(_) => Answer::Platforms(target.gates.platforms.clone()),
        Question::Presence(..) => Answer::Presence(true),
        Question::Running => {
            Answer::Failed(Failure { code: ErrorCode::Running, message: "not asked".to_owned() })
        }
    })
}

/// Asks the registry, or the state, what a decision needs to know.
pub(super) fn ask(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    question: &Question,
) -> Result<Answer, StoreError> {
    let image = &target.image.repository;
    let answer = match question {
        Question::Digest(tag) => registry.digest(image, tag).map(Answer::Digest),
        Question::PushedAt(tag) => registry.pushed_at(image, tag).map(Answer::Moment),
        Question::Platforms(tag) => registry.platforms(image, tag).map(Answer::Platforms),
        Question::Presence(other, tag) => {
            registry.digest(other, tag).map(|digest| Answer::Presence(digest.is_some()))
        }
        Question::Given => Ok(Answer::Given(context.run.store.given(&target.id)?)),
        Question::Runs(stage) => {
            let id = TargetId { project: target.id.project.clone(), stage: stage.clone() };
            Ok(Answer::Runs(context.run.store.runs(&id)?))
        }
        Question::Running => {
            let run = context.run;
            let running = target.running.as_ref().expect("decide asks only where it can be asked");
            let reported = crate::deploy::running(target, running, &run.secrets, run.stop);
            Ok(reported.map_or_else(Answer::Failed, Answer::Running))
        }
    };
    Ok(answer.unwrap_or_else(|error| Answer::Failed(context.failure(&error))))
}
