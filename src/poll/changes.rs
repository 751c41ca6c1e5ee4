//! What has to be asked of an owner's repositories: the feed says where something new can be.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Context;
use super::listing::{Extent, Found, Listed, select_remembered};
use crate::config::Config;
use crate::feed::{Changes, FeedRow};
use crate::plan::{self, PollState};
use crate::policy::Order;
use crate::reference::{ListedTag, Repository, Tag};
use crate::registry::Registry;
use crate::store::{Feed, FeedKey};
use crate::target::{Name, Target};

/// Repositories with the places of the targets that want them.
pub(super) type Repositories<'a> = BTreeMap<&'a Repository, Vec<usize>>;

/// What is to be listed after an owner's feed was asked.
pub(super) struct ToList<'a> {
    pub(super) repositories: Repositories<'a>,
    /// Read before the listing.
    pub(super) generation: i64,
    /// What was pushed to the owner's repositories, by image in lower case, as far as the feed says it.
    pub(super) pushed: BTreeMap<String, Vec<FeedRow>>,
}

/// Asks an owner's feed. Gives the targets that need no listing, and what has to be listed.
pub(super) fn ask_owner<'a>(
    context: &Context<'_>,
    registry: &dyn Registry,
    owner: &str,
    repositories: Repositories<'a>,
) -> (Vec<Listed>, ToList<'a>) {
    let first = repositories.values().flatten().next().expect("an owner is asked for its repositories");
    let key = key(context.run.config, &context.targets[*first].registry, owner);
    let before = context.feeds.get(&key).cloned().unwrap_or_default();
    let asked_at = Timestamp::now();
    let generation = before.generation;
    let all = |repositories| ToList { repositories, generation, pushed: BTreeMap::new() };
    if !context.run.store.is_kept() {
        return (Vec::new(), all(repositories));
    }
    // Whatever is wrong with the feed is no reason not to list; what is wrong with the server is told then.
    let Ok(Some((cursor, changes))) =
        registry.changes(owner, before.cursor.as_ref(), context.configured(&key))
    else {
        return (Vec::new(), all(repositories));
    };
    let is_same = changes == Changes::Nothing && before.cursor.as_ref() == Some(&cursor);
    let recorded = match is_same {
        true => Ok(before.clone()),
        false => context.run.store.write(|write| write.record_feed(&key, &before, &cursor, &changes)),
    };
    let Ok(after) = recorded else {
        // Why the state cannot be written is told with the decisions.
        return (Vec::new(), all(repositories));
    };
    if after.cursor.as_ref() != Some(&cursor) {
        // Another run saw something meanwhile, perhaps more than we did.
        let generation = after.generation;
        return (Vec::new(), ToList { repositories, generation, pushed: BTreeMap::new() });
    }
    let step = Step { context, from: &key.0, before: &before, after: &after, changes: &changes, asked_at };
    let mut listed = Vec::new();
    let mut left: Repositories<'a> = BTreeMap::new();
    for (repository, targets) in repositories {
        for index in targets {
            match step.decide_on_memory(registry, repository, index) {
                Some(done) => listed.push(done),
                None => left.entry(repository).or_default().push(index),
            }
        }
    }
    let pushed = match changes {
        Changes::Some(pushed) => pushed,
        Changes::Nothing | Changes::Everything => BTreeMap::new(),
    };
    (listed, ToList { repositories: left, generation: after.generation, pushed })
}

/// The feed's key: where it is read, not what the configuration calls that.
pub(super) fn key(config: &Config, registry: &Name, owner: &str) -> FeedKey {
    (config.registries[registry].location.to_string(), owner.to_lowercase())
}

/// From one look at an owner's feed to the next.
struct Step<'a> {
    context: &'a Context<'a>,
    /// The registry's address.
    from: &'a str,
    before: &'a Feed,
    after: &'a Feed,
    changes: &'a Changes,
    asked_at: Timestamp,
}

impl Step<'_> {
    /// None: the target's repository has to be listed.
    fn decide_on_memory(
        &self,
        registry: &dyn Registry,
        repository: &Repository,
        index: usize,
    ) -> Option<Listed> {
        let target = self.context.targets[index];
        let state = self.context.states.get(&target.id)?;
        let pushed = self.pushed(target, state, repository)?;
        let open = self.context.open.get(&target.id).cloned().unwrap_or_default();
        let asked_at = self.asked_at;
        let done = |extent, found| Some(Listed { index, asked_at, extent, found });
        if pushed.is_empty()
            && let Some(decision) = plan::unchanged(target, state, &open, asked_at)
        {
            return done(Extent::Nothing, Found::Unchanged(Box::new(decision)));
        }
        let mut listing = plan::remembered(target, state)?;
        let extent = match pushed {
            [] => Extent::Nothing,
            _ => Extent::Rows { generation: self.after.generation },
        };
        for row in pushed {
            // A row of a tag that is known is a later push of it.
            listing.tags.retain(|listed| listed.tag.as_str() != row.version);
            let Ok(tag) = Tag::new(&row.version) else { continue };
            let (pushed_at, sequence) = (Some(row.created_at), Some(row.id));
            listing.tags.push(ListedTag { pushed_at, sequence, ..ListedTag::named(tag) });
        }
        done(extent, select_remembered(self.context, registry, target, state, &listing))
    }

    /// What was pushed to the repository since the target knew all of it; None where that is not known, or
    /// where the rows are less than a listing would bring. (Order `newest` goes by the rows in any case.)
    fn pushed(&self, target: &Target, state: &PollState, repository: &Repository) -> Option<&[FeedRow]> {
        let run = self.context.run;
        let name = repository.name().unwrap_or_default().to_lowercase();
        let listed = state.listed.as_ref().filter(|listed| listed.from == self.from)?;
        let is_known = !run.refresh
            && state.failing.is_none()
            && state.rule.as_deref() == Some(plan::rule_of(target).as_str())
            && !is_due_for_resync(listed.at, repository, run.config.settings.resync, self.asked_at);
        // Ahead of the feed it cannot be, unless the state lost the feed: then it tells nothing.
        if !is_known || listed.generation > self.after.generation {
            return None;
        }
        if self.after.wanted(&name) <= listed.generation {
            return Some(&[]);
        }
        let was_current = self.before.wanted(&name) <= listed.generation;
        let only_this_changed = self.after.all_generation <= listed.generation;
        match self.changes {
            Changes::Some(changed)
                if was_current && only_this_changed && target.policy.order() == Order::Newest =>
            {
                changed.get(&name).map(Vec::as_slice)
            }
            _ => None,
        }
    }
}

/// From a half of the time to all of it, by the repository, so that what was listed together is not
/// listed together for ever. A listing in the future: a clock was wrong.
fn is_due_for_resync(at: Timestamp, repository: &Repository, resync: Duration, now: Timestamp) -> bool {
    let mut hasher = DefaultHasher::new();
    repository.as_str().hash(&mut hasher);
    let [high, low, ..] = hasher.finish().to_be_bytes();
    let part = 0.5 + 0.5 * f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX);
    let elapsed = now.duration_since(at);
    elapsed < SignedDuration::ZERO || elapsed.unsigned_abs() >= resync.mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_listed_again_one_after_another_and_each_in_time() {
        let at = |minutes: i64| Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap();
        let resync = Duration::from_secs(12 * 3600);
        let due = |name: usize, minutes| {
            let repository = Repository::new(&format!("acme/shop-{name}")).unwrap();
            is_due_for_resync(at(0), &repository, resync, at(minutes))
        };
        assert!((0..100).all(|name| !due(name, 6 * 60 - 1) && due(name, 12 * 60)));
        let by_nine = (0..100).filter(|name| due(*name, 9 * 60)).count();
        assert!((30..70).contains(&by_nine), "{by_nine}");
        assert!(due(1, -5));
    }
}
