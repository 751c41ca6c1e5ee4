//! Lists a repository once for all of its stages, and selects for each stage.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::{Answers, FromEveryone};
use super::{Context, changes};
use crate::engine::feed::{Count, FeedRow};
use crate::engine::first_seen::{self, Builds, Built, Placed, SeenTag};
use crate::engine::{self, Decision, Failure, PollState, Status};
use crate::policy::{Order, PageScan, Selection};
use crate::reference::{Held, ListedTag, Listing, Repository, Tag};
use crate::registry::{Registry, RegistryError};
use crate::stop::Cutoff;
use crate::store::StoreError;
use crate::target::Target;
use crate::webhook::PushedImage;

/// The result of a listing for one target.
pub(super) struct Listed {
    /// The target's index among the selected ones.
    pub(super) index: usize,
    /// A moment before the first request.
    pub(super) asked_at: Timestamp,
    pub(super) extent: Extent,
    /// The number of tags in the repository, if all of them were listed.
    pub(super) tags: Option<Count>,
    pub(super) found: ListedContent,
}

/// Known data of a repository before its listing.
pub(super) struct Known {
    /// The pushes in the feed.
    pub(super) pushed: Vec<FeedRow>,
    /// Every target of the repository knows the pushes up to this moment by the server's clock.
    pub(super) until: Option<Timestamp>,
    /// Whether to count its tags even if nothing else needs their list.
    pub(super) counts: bool,
}

/// The extent of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The whole repository; the feed's generation was read before it.
    Whole { generation: i64 },
    /// The pushes up to this generation of the feed.
    Rows { generation: i64 },
    /// Nothing new.
    Nothing,
}

/// The content of a listing for a target.
pub(super) enum ListedContent {
    /// No push and nothing pending: the last decision still holds, with this status.
    Unchanged(Status),
    /// Another poll recorded a newer listing.
    Overtaken(Box<Decision>),
    Selected(Box<Selected>),
    Failed(Failure),
    /// The stage belongs to a table with `images`, which has no tags of its own.
    Table {
        status: Status,
        reason: String,
    },
    /// Another owner has the repository's name. A recorded deployment is not started either.
    OtherOwner(Failure),
}

/// A selection, and the decision on it.
pub(super) struct Selected {
    pub(super) selection: Selection,
    /// The facts that the decision used.
    pub(super) answers: Answers,
    pub(super) decision: Decision,
    /// The version of the target's state that the decision used. None: the target had no state.
    pub(super) version: Option<i64>,
    /// Tags seen for the first time, if the registry has no push times.
    pub(super) newly_seen: Vec<(Tag, SeenTag)>,
    /// The place of a large list. The selection needs its memory until it is recorded.
    pub(super) _held: Held,
    /// Warnings about the listing.
    pub(super) notes: Vec<String>,
}

impl From<Result<Selected, Failure>> for ListedContent {
    fn from(result: Result<Selected, Failure>) -> ListedContent {
        result.map_or_else(ListedContent::Failed, |selected| ListedContent::Selected(Box::new(selected)))
    }
}

impl Listed {
    pub(super) fn is_unchanged(&self) -> bool {
        matches!(self.found, ListedContent::Unchanged(_) | ListedContent::Overtaken(_))
    }

    /// Whether its decision should be recorded at once.
    pub(super) fn wants_deployment(&self) -> bool {
        matches!(&self.found, ListedContent::Selected(selected) if selected.decision.deploy.is_some())
    }
}

/// The targets whose rows cannot be read: nothing is listed for them.
pub(super) fn unreadable(context: &Context<'_>) -> Vec<Listed> {
    let asked_at = Timestamp::now();
    let targets = context.targets[..context.asked].iter().enumerate();
    targets
        .filter_map(|(index, target)| {
            let failure = context.state_failure(context.unreadable.get(&target.id)?);
            let found = ListedContent::Failed(failure);
            Some(Listed { index, asked_at, extent: Extent::Nothing, tags: None, found })
        })
        .collect()
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
    let found = |index, found: ListedContent| Listed { index, asked_at, extent, tags: None, found };
    if context.cutoff.is_reached() {
        return targets
            .iter()
            .map(|index| found(*index, ListedContent::Failed(context.out_of_time())))
            .collect();
    }
    let (newest, others): (Vec<usize>, Vec<usize>) =
        targets.iter().partition(|index| context.targets[**index].policy.order() == Order::Newest);
    // The next stages use the answers about the repository from the stages before.
    let shared = times(&known.pushed);
    let select_each = |indices: &[usize], listing: &Result<Listing, RegistryError>, uses_first_seen: bool| {
        let select = |index: &usize| {
            let target = context.targets[*index];
            let selected = match listing {
                Err(error) => Err(context.listing_failure(target, error)),
                Ok(listing) if uses_first_seen => {
                    select_by_first_seen(context, registry, target, listing, &shared)
                }
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

/// Tags that a webhook reported and a stage can deploy. The list should have them soon.
fn awaited(context: &Context<'_>, repository: &Repository, targets: &[usize]) -> Vec<Tag> {
    let can_deploy = |tag: &&Tag| {
        let listed = ListedTag::named((*tag).clone());
        targets.iter().any(|index| context.targets[*index].policy.candidate(&listed).is_some())
    };
    let pushed = context.run.pushed.iter().filter(|pushed| pushed.concerns(repository));
    pushed.filter_map(PushedImage::tag).filter(can_deploy).cloned().collect()
}

/// A forge may report a tag before its list has it. The list is read again after these delays.
const LOOK_AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(5)];

/// Lists repeatedly until the tags are there, or the delays or the run are over.
fn look_for(
    tags: &[Tag],
    cutoff: &Cutoff,
    list: impl Fn() -> Result<Listing, RegistryError>,
) -> Result<Listing, RegistryError> {
    let lacks_one = |listing: &Result<Listing, RegistryError>| match listing {
        Ok(listing) => tags.iter().any(|tag| listing.tags.iter().all(|listed| listed.tag != *tag)),
        // A new image may have no list yet.
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

/// Stores push times from the feed.
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
            "{}: {} was renamed to {name}; change image to that",
            target.id, target.image.repository
        ));
    }
    notes
}

/// Selects by the times at which tags were first seen.
fn select_by_first_seen(
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
    Ok(Selected { newly_seen: new, _held: listing.held, ..selected })
}

/// Orders the tags of a registry without a complete order: by the time at which they were first seen. If the
/// registry has no push times and several tags appeared in one listing, by the build times of their images,
/// which are requested once.
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
    let state = context.state(target);
    if let Some(failure) = first_seen::without_times(target, &known, state) {
        return Ok(Err(failure));
    }
    let unplaced = first_seen::unplaced(target, listing, &known, state, now);
    let asked = match ask_images(context, registry, target, &unplaced) {
        Ok(asked) => asked,
        Err(failure) => return Ok(Err(failure)),
    };
    let placed = first_seen::place(listing, &known, &asked, now);
    let answers = Answers::default();
    // For the others the state records that nothing is known.
    for (tag, digest) in &placed.images {
        answers.know_image(tag.clone(), digest.clone());
    }
    Ok(Ok((placed, answers)))
}

/// Requests the digests and build times of tags concurrently.
fn ask_images(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    tags: &[Tag],
) -> Result<Builds, Failure> {
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
        // The present thread continues alone if no other can be started.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).map_while(start).collect();
        let mut asked: Builds = work()?.into_iter().collect();
        for helper in helpers {
            match helper.join() {
                Ok(found) => asked.extend(found?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(asked)
    })
}

/// How far to read a target's tags: to the newest tag that its rule allows; with gates to high-water, because
/// the newest tag may not pass; and to every marked tag without a known push time.
fn reading<'a>(context: &'a Context<'_>, index: usize) -> PageScan<'a> {
    let target = context.targets[index];
    let state = context.state(target);
    let high_water = state.and_then(|state| state.high_water.as_ref());
    let timeless = high_water.filter(|listed| listed.pushed_at.is_none()).map(|listed| listed.tag.clone());
    let marked = state.and_then(|state| state.marked.clone());
    let back_to = high_water.and_then(|listed| listed.pushed_at).filter(|_| target.gates.has_any());
    PageScan::new(&target.policy, back_to, timeless.into_iter().chain(marked).collect())
}

/// The tags of a repository that its targets remember.
struct Remembered {
    /// They include every relevant tag that was pushed at this moment or earlier.
    until: Timestamp,
    tags: BTreeMap<Tag, ListedTag>,
}

impl Remembered {
    /// None: a target does not remember enough for a decision.
    fn of(context: &Context<'_>, targets: &[usize], until: Timestamp) -> Option<Remembered> {
        let mut tags = BTreeMap::new();
        for index in targets {
            let target = context.targets[*index];
            let listing = engine::remembered(target, context.state(target)?)?;
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

/// Reads tags, newest push first, until no later one can matter to a target, and then to the end of the page,
/// because a tag with too early a time may be there. The remembered tags are not read again if they still
/// exist.
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
        // The end of a page: the next tag needs a request.
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
        // Every target must see the tag.
        wanting = readings.iter_mut().map(|reading| reading.push(&listed)).filter(|wants| *wants).count() > 0;
        beyond += usize::from(!wanting);
        listing.tags.push(listed);
    }
    Ok(listing)
}

/// The rows of a page on Gitea.
const PAGE: usize = 50;

/// Selects from the remembered tags.
pub(super) fn select_remembered(
    context: &Context<'_>,
    target: &Target,
    state: &PollState,
    listing: &Listing,
    answers: Answers,
) -> Selected {
    select(context, target, listing, state.tags_listed, answers)
}

/// Selects, and decides on the state from the beginning of this run, here because requests run concurrently
/// here. `known`: the least number of tags, if the listing is partial.
fn select(
    context: &Context<'_>,
    target: &Target,
    listing: &Listing,
    known: usize,
    answers: Answers,
) -> Selected {
    let state = context.state(target);
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
        newly_seen: Vec::new(),
        _held: Held::default(),
        notes: notes(target, listing),
    }
}

/// The newest tag of a target's repository.
pub(super) struct Newest {
    /// None: the policy allows no tag. The error names tags of which nothing tells the newer one.
    pub(super) tag: Result<Option<ListedTag>, String>,
    /// The first-seen times of the listed tags, to be stored.
    pub(super) newly_seen: Vec<(Tag, SeenTag)>,
}

/// The newest tag that a target's policy allows, without its gates. `all`: the tags, if they were already
/// listed.
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
    let (listing, newly_seen, answers) = if uses_first_seen(registry, target) {
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
            Ok(Newest { tag, newly_seen })
        }
        Err(failure) => Err(failure),
    })
}

/// Whether a target's tags are ordered by the times at which they were first seen.
pub(super) fn uses_first_seen(registry: &dyn Registry, target: &Target) -> bool {
    target.policy.order() == Order::Newest && !(registry.has_push_times() && registry.has_sequence())
}
