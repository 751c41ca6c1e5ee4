//! Asking the registries: one listing a repository however many stages, `connections` at a time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::Scope;

use jiff::Timestamp;

use super::{Context, Message};
use crate::plan::sighting::{self, Sighted};
use crate::plan::{self, Answer, ErrorCode, Facts, Failure, Question};
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
    pub(super) result: Result<Selected, Failure>,
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

impl Listed {
    /// Whether its decision should not wait for those of others.
    pub(super) fn wants_deployment(&self) -> bool {
        self.result.as_ref().is_ok_and(|selected| selected.deploys)
    }
}

/// One repository that is to be listed, with the places of the targets that want it.
struct Job<'a> {
    repository: &'a Repository,
    targets: Vec<usize>,
}

/// Starts the threads that list; each ends when its registry has nothing more to be asked.
pub(super) fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: &'env Context<'env>,
    sender: &SyncSender<Message>,
) {
    for (registry, jobs) in jobs(context.targets) {
        let connections = context.run.config.registries[registry].connections;
        let jobs = Arc::new(jobs);
        let next = Arc::new(AtomicUsize::new(0));
        for _ in 0..connections.min(jobs.len()) {
            let (jobs, next, sender) = (Arc::clone(&jobs), Arc::clone(&next), sender.clone());
            scope.spawn(move || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if context.run.stop.signal().is_some() {
                        return;
                    }
                    // The coordinator is gone only when the state failed: nothing more is of use.
                    if sender.send(Message::Listed(list(context, registry, job))).is_err() {
                        return;
                    }
                }
            });
        }
    }
}

fn jobs<'a>(targets: &'a [&'a Target]) -> BTreeMap<&'a Name, Vec<Job<'a>>> {
    let mut grouped: BTreeMap<&Name, BTreeMap<&Repository, Vec<usize>>> = BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        let repositories = grouped.entry(&target.registry).or_default();
        repositories.entry(&target.image.repository).or_default().push(index);
    }
    let job = |(repository, targets)| Job { repository, targets };
    grouped.into_iter().map(|(registry, jobs)| (registry, jobs.into_iter().map(job).collect())).collect()
}

fn list(context: &Context<'_>, registry: &Name, job: &Job<'_>) -> Result<Vec<Listed>, StoreError> {
    let asked_at = Timestamp::now();
    if context.is_over() {
        let failed = |index: &usize| Listed { index: *index, asked_at, result: Err(context.out_of_time()) };
        return Ok(job.targets.iter().map(failed).collect());
    }
    let registry = context.registries[registry].as_ref();
    let (newest, others): (Vec<usize>, Vec<usize>) =
        job.targets.iter().partition(|index| context.targets[**index].policy.order() == Order::Newest);
    let mut listed = Vec::with_capacity(job.targets.len());
    if !registry.has_push_times() {
        let listing = registry.list_tags(job.repository);
        listed.extend(select_each(context, registry, &others, asked_at, &listing)?);
        for index in newest {
            let result = sight(context, registry, context.targets[index], &listing)?;
            listed.push(Listed { index, asked_at, result });
        }
        return Ok(listed);
    }
    if !others.is_empty() {
        let listing = registry.list_tags(job.repository);
        listed.extend(select_each(context, registry, &others, asked_at, &listing)?);
    }
    if !newest.is_empty() {
        let readings = newest.iter().map(|index| reading(context, *index)).collect();
        let listing = read_newest_first(registry, job.repository, readings);
        listed.extend(select_each(context, registry, &newest, asked_at, &listing)?);
    }
    Ok(listed)
}

fn notes(target: &Target, listing: &Listing) -> Vec<String> {
    let mut notes = Vec::new();
    if listing.dropped > 0 {
        notes.push(format!(
            "{}: {} names in the list of {} are no valid tags, and were dropped",
            target.id, listing.dropped, target.image
        ));
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
            let selected = select(context, registry, target, &listing)?;
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

fn select_each(
    context: &Context<'_>,
    registry: &dyn Registry,
    indices: &[usize],
    asked_at: Timestamp,
    listing: &Result<Listing, RegistryError>,
) -> Result<Vec<Listed>, StoreError> {
    let select = |index: &usize| {
        let result = match listing {
            Ok(listing) => Ok(select(context, registry, context.targets[*index], listing)?),
            Err(error) => Err(context.failure(error)),
        };
        Ok(Listed { index: *index, asked_at, result })
    };
    indices.iter().map(select).collect()
}

/// Selects, and asks what deciding on the state as this run found it needs to know: here, where
/// requests run side by side.
fn select(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    listing: &Listing,
) -> Result<Selected, StoreError> {
    let state = context.states.get(&target.id);
    let open = context.open.get(&target.id).cloned().unwrap_or_default();
    let asked = plan::asked_of_listing(state, &open);
    let selection = target.policy.select(listing, &asked);
    let mut facts = Facts::default();
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
