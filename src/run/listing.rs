//! Listing a repository, once however many stages, and what each of them selects.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::{Answers, FromEveryone};
use super::{Context, changes};
use crate::engine::feed::{Count, FeedRow};
use crate::engine::first_seen::{self, Asked, Built, Placed, SeenTag};
use crate::engine::{self, Decision, Failure, PollState, Status};
use crate::policy::{Order, PageScan, Selection};
use crate::reference::{Held, ListedTag, Listing, Repository, Tag};
use crate::registry::{Registry, RegistryError};
use crate::stop::Cutoff;
use crate::store::StoreError;
use crate::target::Target;
use crate::webhook::PushedImage;

/// What a registry said that concerns one target.
pub(super) struct Listed {
    /// The target's place among the selected ones.
    pub(super) index: usize,
    /// The moment before the registry was asked.
    pub(super) asked_at: Timestamp,
    pub(super) extent: Extent,
    /// How many tags the repository has, where all of them were listed.
    pub(super) tags: Option<Count>,
    pub(super) found: Found,
}

/// What is known of a repository that is to be listed.
pub(super) struct Known {
    /// What was pushed to it, as far as the feed says it.
    pub(super) pushed: Vec<FeedRow>,
    /// Every target of it knows what was pushed up to this moment of the server's.
    pub(super) until: Option<Timestamp>,
    /// Whether its tags are to be counted although nothing else needs their list.
    pub(super) counts: bool,
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
    /// Of a table with `images`: it has no tags of its own.
    Table {
        status: Status,
        reason: String,
    },
    /// Another owner has the repository's name: what is recorded is not deployed either.
    OtherOwner(Failure),
}

/// A selection, and what was decided on it.
pub(super) struct Selected {
    pub(super) selection: Selection,
    /// What was asked to decide.
    pub(super) answers: Answers,
    pub(super) decision: Decision,
    /// The version of the target's state that it was decided on; None: the target had no state.
    pub(super) version: Option<i64>,
    /// Tags that were never seen before, where the registry has no push times.
    pub(super) sighted: Vec<(Tag, SeenTag)>,
    /// The place of a large list: these take as much memory, until they are recorded.
    pub(super) _held: Held,
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
        matches!(&self.found, Found::Selected(selected) if selected.decision.deploy.is_some())
    }
}

/// Lists a repository, and selects for each of the targets.
pub(super) fn list(
    context: &Context<'_>,
    registry: &dyn Registry,
    repository: &Repository,
    targets: &[usize],
    extent: Extent,
    known: &Known,
) -> Vec<Listed> {
    let asked_at = Timestamp::now();
    let found = |index, found: Found| Listed { index, asked_at, extent, tags: None, found };
    if context.cutoff.is_reached() {
        return targets.iter().map(|index| found(*index, Found::Failed(context.out_of_time()))).collect();
    }
    let (newest, others): (Vec<usize>, Vec<usize>) =
        targets.iter().partition(|index| context.targets[**index].policy.order() == Order::Newest);
    // What one stage makes known of the repository, the next ones need not ask.
    let shared = times(&known.pushed);
    let select_each = |indices: &[usize], listing: &Result<Listing, RegistryError>, is_sighted: bool| {
        let select = |index: &usize| {
            let target = context.targets[*index];
            let selected = match listing {
                Err(error) => Err(context.listing_failure(target, error)),
                Ok(listing) if is_sighted => sight(context, registry, target, listing, &shared),
                Ok(listing) => {
                    let answers = Answers::default();
                    answers.share(&shared);
                    Ok(select(context, target, listing, 0, answers))
                }
            };
            if let Ok(selected) = &selected {
                shared.share(&selected.answers);
            }
            found(*index, selected.into())
        };
        indices.iter().map(select).collect::<Vec<Listed>>()
    };
    let mut listed = Vec::with_capacity(targets.len());
    let awaited = awaited(context, repository, targets);
    let list_tags = || look_for(&awaited, &context.cutoff, || registry.list_tags(repository));
    if !registry.has_push_times() {
        let listing = list_tags();
        listed.extend(select_each(&others, &listing, false));
        listed.extend(select_each(&newest, &listing, true));
        return listed;
    }
    let mut tags = None;
    if !others.is_empty() || known.counts {
        let listing = list_tags();
        tags = listing.as_ref().ok().map(changes::count);
        listed.extend(select_each(&others, &listing, false));
    }
    if !newest.is_empty() {
        let listing = look_for(&awaited, &context.cutoff, || {
            let readings = newest.iter().map(|index| reading(context, *index)).collect();
            let known = known.until.and_then(|until| Remembered::of(context, &newest, until));
            read_newest_first(registry, repository, readings, known)
        });
        listed.extend(select_each(&newest, &listing, !registry.has_sequence()));
    }
    if let Some(first) = listed.first_mut() {
        first.tags = tags;
    }
    listed
}

/// Tags that a webhook reported and a stage can deploy: the list will have them.
fn awaited(context: &Context<'_>, repository: &Repository, targets: &[usize]) -> Vec<Tag> {
    let can_deploy = |tag: &&Tag| {
        let listed = ListedTag::named((*tag).clone());
        targets.iter().any(|index| context.targets[*index].policy.candidate(&listed).is_some())
    };
    let pushed = context.run.pushed.iter().filter(|pushed| pushed.concerns(repository));
    pushed.filter_map(PushedImage::tag).filter(can_deploy).cloned().collect()
}

/// A forge may report a tag before its list has it. After these times the list is read again.
const LOOK_AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(5)];

/// Lists until the tags are there, or nobody can wait any longer.
fn look_for(
    tags: &[Tag],
    cutoff: &Cutoff,
    list: impl Fn() -> Result<Listing, RegistryError>,
) -> Result<Listing, RegistryError> {
    let lacks_one = |listing: &Result<Listing, RegistryError>| match listing {
        Ok(listing) => tags.iter().any(|tag| listing.tags.iter().all(|listed| listed.tag != *tag)),
        // Of a new image.
        Err(RegistryError::NotFound(_)) => !tags.is_empty(),
        Err(_) => false,
    };
    let mut listing = list();
    for wait in LOOK_AGAIN {
        let has_time = cutoff.left().is_none_or(|left| left > wait);
        if !lacks_one(&listing) || !has_time || !cutoff.pause(wait) {
            break;
        }
        listing = list();
    }
    listing
}

/// Push times that the feed has told already.
fn times(pushed: &[FeedRow]) -> Answers {
    let answers = Answers::default();
    for row in pushed {
        if let Ok(tag) = Tag::new(&row.version) {
            answers.know_push_time(tag, row.created_at);
        }
    }
    answers
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
    listing: &Listing,
    shared: &Answers,
) -> Result<Selected, Failure> {
    let placed = place(context, registry, target, listing);
    let (Placed { listing, new, .. }, answers) = placed.map_err(|error| context.state_failure(&error))??;
    answers.share(shared);
    let selected = select(context, target, &listing, 0, answers);
    Ok(Selected { sighted: new, _held: listing.held, ..selected })
}

/// Gives every tag its place where a registry does not tell all of it: by when it was first seen. Where there are no
/// push times and several were seen first in one listing, by their images, which are asked for once.
pub(super) fn place(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    listing: &Listing,
) -> Result<Result<(Placed, Answers), Failure>, StoreError> {
    let (known, now) = (context.run.store.seen_tags(&target.id)?, Timestamp::now());
    if registry.has_push_times() {
        return Ok(Ok((first_seen::in_sequence(listing, &known, now), Answers::default())));
    }
    let unplaced = first_seen::unplaced(target, listing, &known, context.states.get(&target.id), now);
    let asked = match ask_images(context, registry, target, &unplaced) {
        Ok(asked) => asked,
        Err(failure) => return Ok(Err(failure)),
    };
    let placed = first_seen::place(listing, &known, &asked, now);
    let answers = Answers::default();
    // Of the others the state says that nothing is known.
    for (tag, digest) in &placed.images {
        answers.know_image(tag.clone(), digest.clone());
    }
    Ok(Ok((placed, answers)))
}

/// Asks side by side what tags point at, and when that was built.
fn ask_images(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    tags: &[Tag],
) -> Result<Asked, Failure> {
    let next = AtomicUsize::new(0);
    let ask = |tag: &Tag| -> Result<Option<Built>, Failure> {
        if context.cutoff.is_reached() {
            return Err(context.out_of_time());
        }
        let (image, platforms) = (&target.image.repository, &target.gates.platforms);
        let built = || {
            let Some(digest) = registry.digest(image, tag)? else {
                return Ok(None);
            };
            let found = registry.configuration(image, &digest, platforms)?;
            Ok(Some(Built { digest, created: found.and_then(|found| found.created) }))
        };
        built().map_err(|error| context.failure(&error))
    };
    let work = || -> Result<Vec<(Tag, Option<Built>)>, Failure> {
        let mut asked = Vec::new();
        while let Some(tag) = tags.get(next.fetch_add(1, Ordering::Relaxed)) {
            asked.push((tag.clone(), ask(tag)?));
        }
        Ok(asked)
    };
    let helpers =
        context.run.config.registries[&target.registry].connections.min(tags.len()).saturating_sub(1);
    thread::scope(|scope| {
        // This one goes on alone where no other can be started.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).map_while(start).collect();
        let mut asked: Asked = work()?.into_iter().collect();
        for helper in helpers {
            match helper.join() {
                Ok(found) => asked.extend(found?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(asked)
    })
}

/// How far a target's tags are to be read: to the newest that its rule takes, with gates to
/// high-water (for the newest may not pass), and to every tag that `mark` knew by its name only.
fn reading<'a>(context: &'a Context<'_>, index: usize) -> PageScan<'a> {
    let target = context.targets[index];
    let state = context.states.get(&target.id);
    let high_water = state.and_then(|state| state.high_water.as_ref());
    let timeless = high_water.filter(|listed| listed.pushed_at.is_none()).map(|listed| listed.tag.clone());
    let marked = state.and_then(|state| state.marked.clone());
    let back_to = high_water.and_then(|listed| listed.pushed_at).filter(|_| target.gates.has_any());
    PageScan::new(&target.policy, back_to, timeless.into_iter().chain(marked).collect())
}

/// What the targets of a repository remember of it.
struct Remembered {
    /// Every tag that was pushed at this moment or earlier and that can matter to any of them is among these.
    until: Timestamp,
    tags: BTreeMap<Tag, ListedTag>,
}

impl Remembered {
    /// None where one of the targets does not remember enough to decide on.
    fn of(context: &Context<'_>, targets: &[usize], until: Timestamp) -> Option<Remembered> {
        let mut tags = BTreeMap::new();
        for index in targets {
            let target = context.targets[*index];
            let listing = engine::remembered(target, context.states.get(&target.id)?)?;
            tags.extend(listing.tags.into_iter().map(|listed| (listed.tag.clone(), listed)));
        }
        Some(Remembered { until, tags })
    }

    /// Whether all of the tags are still there.
    fn is_there(&self, registry: &dyn Registry, repository: &Repository) -> Result<bool, RegistryError> {
        let listing = registry.list_tags(repository)?;
        let names: HashSet<&Tag> = listing.tags.iter().map(|listed| &listed.tag).collect();
        Ok(self.tags.keys().all(|tag| names.contains(tag)))
    }
}

/// Reads tags from the newest push down until none that follows can matter to any of the targets,
/// and what is left of the page at hand: a tag whose time is too early for its place may be there.
/// Where what follows is remembered, and still there, it is not read.
fn read_newest_first(
    registry: &dyn Registry,
    repository: &Repository,
    mut readings: Vec<PageScan<'_>>,
    mut remembered: Option<Remembered>,
) -> Result<Listing, RegistryError> {
    let mut listing = Listing::default();
    let mut tags = registry.newest_first(repository);
    let mut wanting = true;
    let mut beyond = 0;
    while wanting || (tags.size_hint().0 > 0 && beyond < PAGE) {
        // At the end of a page: what follows costs a request.
        if wanting
            && tags.size_hint().0 == 0
            && let Some(last) = listing.tags.last().and_then(|last: &ListedTag| last.pushed_at)
            && let Some(known) = remembered.take_if(|known| last <= known.until)
            && known.is_there(registry, repository)?
        {
            let read: HashSet<Tag> = listing.tags.iter().map(|listed| listed.tag.clone()).collect();
            listing.tags.extend(known.tags.into_values().filter(|listed| !read.contains(&listed.tag)));
            break;
        }
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
    target: &Target,
    state: &PollState,
    listing: &Listing,
    answers: Answers,
) -> Selected {
    select(context, target, listing, state.tags_listed, answers)
}

/// Selects, and decides on the state as this run found it: here, where requests run side by side. `known`: how many
/// tags there are at least, where the listing is a part.
fn select(
    context: &Context<'_>,
    target: &Target,
    listing: &Listing,
    known: usize,
    answers: Answers,
) -> Selected {
    let state = context.states.get(&target.id);
    let open = context.open.get(&target.id).cloned().unwrap_or_default();
    let asked = engine::asked_of_listing(state, &open);
    let mut selection = target.policy.select(listing, &asked);
    selection.listed = selection.listed.max(known);
    let facts = FromEveryone { context, target, answers: &answers };
    let decision = engine::decide(target, &selection, state, &open, &facts, Timestamp::now());
    let version = state.map(|state| state.version);
    Selected {
        selection,
        answers,
        decision,
        version,
        sighted: Vec::new(),
        _held: Held::default(),
        notes: notes(target, listing),
    }
}

/// What is newest of a target's repository.
pub(super) struct Newest {
    /// None: the policy allows none. The error says of which tags nothing tells which is newer.
    pub(super) tag: Result<Option<ListedTag>, String>,
    /// What is to be remembered of the tags that were listed.
    pub(super) sighted: Vec<(Tag, SeenTag)>,
}

/// The newest tag that a target's policy allows, whatever its gates say. `all`: the tags, where they are listed already.
pub(super) fn newest(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    all: Option<&Listing>,
) -> Result<Result<Newest, Failure>, StoreError> {
    let image = &target.image.repository;
    let listing = match (target.policy.order(), all) {
        (Order::Newest, _) if registry.has_push_times() => {
            let reading = PageScan::new(&target.policy, None, HashSet::new());
            read_newest_first(registry, image, vec![reading], None)
        }
        (_, Some(all)) => Ok(all.clone()),
        (_, None) => registry.list_tags(image),
    };
    let listing = match listing {
        Ok(listing) => listing,
        Err(error) => return Ok(Err(context.listing_failure(target, &error))),
    };
    let (listing, sighted, answers) = if is_sighted(registry, target) {
        match place(context, registry, target, &listing)? {
            Ok((placed, answers)) => (placed.listing, placed.new, answers),
            Err(failure) => return Ok(Err(failure)),
        }
    } else {
        (listing, Vec::new(), Answers::default())
    };
    let selection = target.policy.select(&listing, &[]);
    let facts = FromEveryone { context, target, answers: &answers };
    Ok(match engine::newest(target, &selection, &facts) {
        Ok(newest) => {
            let tag = newest.map(|newest| newest.map(|newest| newest.listed.clone()));
            Ok(Newest { tag, sighted })
        }
        Err(failure) => Err(failure),
    })
}

/// Whether a target's tags go by when they were first seen.
pub(super) fn is_sighted(registry: &dyn Registry, target: &Target) -> bool {
    target.policy.order() == Order::Newest && !(registry.has_push_times() && registry.has_sequence())
}
