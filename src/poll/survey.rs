//! Every tag of one target, explained: what `tags` shows. Writes nothing, deploys nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Context, Registries, Run, listing, question};
use crate::plan::{self, Explained, Facts, Failure, PollState, Undecided};
use crate::policy::Order;
use crate::reference::{Dropped, ListedTag, Listing, Tag};
use crate::registry::{Registry, Traffic};
use crate::stop::Cutoff;
use crate::store::StoreError;
use crate::target::Target;

/// What a target's repository has, and what became of it.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) high_water: Option<Tag>,
    pub(crate) deployed: Option<Tag>,
    /// The last successful poll.
    pub(crate) polled_at: Option<Timestamp>,
    pub(crate) tags: Vec<Explained>,
    pub(crate) dropped: Dropped,
}

/// Lists the target's repository and explains every tag. `offline`: only what the state knows, and
/// nobody is asked.
///
/// # Errors
/// The state cannot be read; inside, the registry cannot be asked.
pub(crate) fn survey(
    run: &Run<'_>,
    target: &Target,
    offline: bool,
) -> Result<Result<Survey, Failure>, StoreError> {
    let targets = [target];
    let registries =
        Registries::open(run, &targets, &Traffic::until(Cutoff::after(run.stop, run.max_runtime)))?;
    let context = Context::new(run, &targets, &registries)?;
    let registry = context.registry(target);
    let state = context.states.get(&target.id).cloned().unwrap_or_default();
    let open = context.open.get(&target.id).cloned().unwrap_or_default();
    let listing = if offline {
        remembered(&context, target, &state)?
    } else {
        match listed(&context, registry, target)? {
            Ok(listing) => listing,
            Err(failure) => return Ok(Err(failure)),
        }
    };
    let mut facts = Facts::default();
    let now = Timestamp::now();
    loop {
        match plan::explain(target, &listing, &state, &open, &facts, now) {
            Ok(tags) => {
                let high_water = state.high_water.map(|listed| listed.tag);
                let deployed = state.deployed.map(|deployed| deployed.tag);
                return Ok(Ok(Survey {
                    high_water,
                    deployed,
                    polled_at: state.polled_at,
                    tags,
                    dropped: listing.dropped,
                }));
            }
            Err(Undecided::Failed(failure)) => return Ok(Err(failure)),
            Err(Undecided::Asks(question)) => {
                let answer = if offline {
                    question::remember(&context, target, &question)?
                } else {
                    question::ask(&context, registry, target, &question)
                };
                facts.insert(question, answer);
            }
        }
    }
}

fn listed(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
) -> Result<Result<Listing, Failure>, StoreError> {
    let image = &target.image.repository;
    if target.policy.order() == Order::Newest && registry.has_push_times() {
        let tags: Result<Vec<ListedTag>, _> = registry.newest_first(image).collect();
        let mut listing = match tags {
            Ok(tags) => match registry.list_tags(image) {
                // Push times have no place for names that are no tags.
                Ok(Listing { dropped, .. }) => Listing { tags, dropped, ..Listing::default() },
                Err(error) => return Ok(Err(context.failure(&error))),
            },
            Err(error) => return Ok(Err(context.failure(&error))),
        };
        listing::add_sightings(context, registry, target, &mut listing)?;
        return Ok(Ok(listing));
    }
    let mut listing = match registry.list_tags(image) {
        Ok(listing) => listing,
        Err(error) => return Ok(Err(context.failure(&error))),
    };
    if !registry.has_push_times() {
        listing::add_sightings(context, registry, target, &mut listing)?;
    }
    Ok(Ok(listing))
}

/// The tags that the state knows of.
fn remembered(context: &Context<'_>, target: &Target, state: &PollState) -> Result<Listing, StoreError> {
    let named = |tag: &Tag| (tag.clone(), ListedTag::named(tag.clone()));
    let is_by_sight = !context.registry(target).has_push_times();
    let seen_at = |(tag, at): (Tag, Timestamp)| {
        (tag.clone(), ListedTag { pushed_at: Some(at).filter(|_| is_by_sight), ..ListedTag::named(tag) })
    };
    let mut tags: BTreeMap<Tag, ListedTag> = BTreeMap::new();
    tags.extend(context.run.store.given(&target.id)?.keys().map(named));
    tags.extend(context.run.store.sightings(&target.id)?.into_iter().map(seen_at));
    tags.extend(state.last_polled_tag.iter().map(named));
    tags.extend(state.deployed.iter().map(|deployed| named(&deployed.tag)));
    tags.extend(state.candidates.iter().map(|seen| {
        (seen.tag.clone(), ListedTag { pushed_at: seen.pushed_at, ..ListedTag::named(seen.tag.clone()) })
    }));
    tags.extend(state.high_water.iter().map(|listed| (listed.tag.clone(), listed.clone())));
    Ok(Listing { tags: tags.into_values().collect(), ..Listing::default() })
}
