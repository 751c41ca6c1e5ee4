//! Every tag of one target with its verdict, for `tagship tags`. Writes nothing and deploys nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::facts::{Answers, FromEveryone, FromState};
use super::{Context, Registries, Run, changes, listing};
use crate::engine::first_seen::Placed;
use crate::engine::{
    self, Decided, Decision, ErrorCode, Facts, Failure, OpenDeployments, PollState, Status, TagVerdict,
};
use crate::policy::Order;
use crate::reference::{Dropped, ListedTag, Listing, Tag};
use crate::registry::{Registry, Traffic};
use crate::stop::Cutoff;
use crate::store::{Store, StoreError};
use crate::target::Target;

/// The tags of a target's repository, with their verdicts.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) high_water: Option<Tag>,
    pub(crate) deployed: Option<Tag>,
    /// The last successful poll.
    pub(crate) polled_at: Option<Timestamp>,
    pub(crate) tags: Vec<TagVerdict>,
    pub(crate) dropped: Dropped,
}

/// Lists the target's repository, and decides as the next poll will. `offline`: from the state only, without
/// requests.
///
/// # Errors
/// The state cannot be read. The inner error: the registry does not answer, or another owner has the image's
/// name.
pub(crate) fn survey(
    run: &Run<'_>,
    target: &Target,
    offline: bool,
) -> Result<Result<Survey, Failure>, StoreError> {
    let targets = [target];
    let cutoff = Cutoff::after(run.stop, run.max_runtime);
    let registries = Registries::of(run, &targets, &Traffic::until(cutoff.clone()))?;
    let context = Context::new(run, &targets, &registries, cutoff)?;
    let registry = context.registry(target);
    let asked = (!offline).then_some(registry);
    if let Some(message) = changes::find_other_owner(run.config, &context.feeds, asked, target) {
        return Ok(Err(Failure { code: ErrorCode::Protocol, message }));
    }
    let state = context.state(target);
    let open = context.open.get(&target.id).cloned().unwrap_or_default();
    let (listing, answers) = if offline {
        (remembered(run.store, target, state, !registry.has_push_times())?, Answers::default())
    } else {
        match listed(&context, registry, target)? {
            Ok(listed) => listed,
            Err(failure) => return Ok(Err(failure)),
        }
    };
    let now = Timestamp::now();
    let selection = target.policy.select(&listing, &engine::asked_of_listing(state, &open));
    let facts: &dyn Facts = if offline {
        &FromState { store: run.store, target, answers: &answers }
    } else {
        &FromEveryone { context: &context, target, answers: &answers }
    };
    let decision = engine::decide(target, &selection, state, &open, facts, now);
    if let Some(failure) = decision.failure {
        return Ok(Err(failure));
    }
    let decided = Decided { target, decision: &decision, open: &open, facts, now };
    let tags = decided.verdicts(&listing);
    let state = state.cloned().unwrap_or_default();
    Ok(Ok(Survey {
        high_water: state.high_water.map(|listed| listed.tag),
        deployed: state.deployed.map(|deployed| deployed.tag),
        polled_at: state.polled_at,
        tags,
        dropped: listing.dropped,
    }))
}

/// The decision of a poll at this moment, from the state only. None: the state does not suffice.
pub(crate) fn recall(
    store: &Store,
    target: &Target,
    state: &PollState,
    open: &OpenDeployments,
    now: Timestamp,
) -> Option<Decision> {
    let is_known = state.rule.as_deref() == Some(engine::rule_of(target).as_str()) && state.failing.is_none();
    let listing = engine::remembered(target, state).filter(|_| is_known)?;
    let mut selection = target.policy.select(&listing, &engine::asked_of_listing(Some(state), open));
    selection.listed = selection.listed.max(state.tags_listed);
    let facts = FromState { store, target, answers: &Answers::default() };
    let decision = engine::decide(target, &selection, Some(state), open, &facts, now);
    // Only the registry knows the digest of a mutable tag, so the state alone cannot show that nothing is
    // pending.
    let is_known = decision.is_checked()
        && decision.failure.is_none()
        && !(target.digest && decision.status == Status::UpToDate);
    is_known.then_some(decision)
}

fn listed(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
) -> Result<Result<(Listing, Answers), Failure>, StoreError> {
    let image = &target.image.repository;
    let mut listing = match registry.list_tags(image) {
        Ok(listing) => listing,
        Err(error) => return Ok(Err(context.listing_failure(target, &error))),
    };
    if target.policy.order() == Order::Newest && registry.has_push_times() {
        // Push times are kept for valid tags only.
        match registry.newest_first(image).collect::<Result<Vec<ListedTag>, _>>() {
            Ok(tags) => listing.tags = tags,
            Err(error) => return Ok(Err(context.failure(&error))),
        }
    }
    if listing::uses_first_seen(registry, target) {
        let placed = listing::place(context, registry, target, &listing)?;
        return Ok(placed.map(|(Placed { listing, .. }, answers)| (listing, answers)));
    }
    Ok(Ok((listing, Answers::default())))
}

/// The tags in the state. `is_by_sight`: ordered by the time at which they were first seen.
fn remembered(
    store: &Store,
    target: &Target,
    state: Option<&PollState>,
    is_by_sight: bool,
) -> Result<Listing, StoreError> {
    let named = |tag: &Tag| (tag.clone(), ListedTag::named(tag.clone()));
    let mut tags: BTreeMap<Tag, ListedTag> = BTreeMap::new();
    tags.extend(store.given(&target.id)?.keys().map(named));
    for (tag, sighting) in store.seen_tags(&target.id)? {
        let pushed_at = Some(sighting.first_seen).filter(|_| is_by_sight);
        let sequence = sighting.sequence();
        tags.insert(tag.clone(), ListedTag { pushed_at, sequence, ..ListedTag::named(tag) });
    }
    if let Some(state) = state {
        tags.extend(state.last_polled_tag.iter().map(named));
        tags.extend(state.deployed.iter().map(|deployed| named(&deployed.tag)));
        tags.extend(state.candidates.iter().map(|seen| (seen.tag.clone(), seen.listed())));
        tags.extend(state.high_water.iter().map(|listed| (listed.tag.clone(), listed.clone())));
    }
    Ok(Listing { tags: tags.into_values().collect(), ..Listing::default() })
}
