//! Reads an owner's change feed, which tells the repositories that need a listing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Context;
use super::facts::Answers;
use super::listing::{Extent, Listed, ListedContent, select_remembered};
use crate::config::Config;
use crate::engine::feed::{self, Changes, Count, Cursor, Explained, FeedRow, Owner};
use crate::engine::{self, ErrorCode, Failure, LastListed, PollState};
use crate::policy::Order;
use crate::reference::{ListedTag, Listing, Repository, Tag};
use crate::registry::Registry;
use crate::store::{Feed, FeedKey, Store, StoreError, Write};
use crate::target::{Name, Target};

/// Repositories, each with the indexes of its targets.
pub(super) type Repositories<'a> = BTreeMap<&'a Repository, Vec<usize>>;

/// The repositories to list after an owner's feed was read.
#[derive(Default)]
pub(super) struct ToList<'a> {
    pub(super) repositories: Repositories<'a>,
    /// The generation of the feed, read before the listing.
    pub(super) generation: i64,
    /// The pushes in the feed, by image in lower case.
    pub(super) pushed: BTreeMap<String, Vec<FeedRow>>,
    /// Repositories whose targets all know the pushes up to `known_until` by the server's clock.
    pub(super) known: HashSet<&'a Repository>,
    pub(super) known_until: Option<Timestamp>,
    /// Whether to count the tags even if nothing else needs their list.
    pub(super) counts: bool,
}

/// The result of reading an owner's feed.
#[derive(Default)]
pub(super) struct FeedResult<'a> {
    /// The targets that need no listing.
    pub(super) listed: Vec<Listed>,
    pub(super) to_list: ToList<'a>,
    /// A warning about the owner.
    pub(super) warning: Option<String>,
}

/// Reads an owner's feed. Returns the targets that need no listing, and the repositories to list.
pub(super) fn ask_owner<'a>(
    context: &Context<'_>,
    registry: &dyn Registry,
    owner: &str,
    repositories: Repositories<'a>,
) -> FeedResult<'a> {
    let first = repositories.values().flatten().next().expect("an owner has at least one repository");
    let registry_name = &context.targets[*first].registry;
    let key = key(context.run.config, registry_name, owner);
    let before = context.feeds.get(&key).cloned().unwrap_or_default();
    let asked_at = Timestamp::now();
    let all = |repositories, generation| FeedResult {
        to_list: ToList { repositories, generation, ..ToList::default() },
        ..FeedResult::default()
    };
    if !context.run.store.is_kept() {
        return all(repositories, before.generation);
    }
    if context.fed.contains(&key) {
        // This run has read the feed already, so a listing now includes all its pushes.
        let other = before.other_owner(before.cursor.as_ref().and_then(Cursor::owner));
        return match other {
            Some(other) => refused(context, owner, other, repositories, asked_at),
            None => all(repositories, before.generation),
        };
    }
    let configured = context.configured(&key);
    let looked = registry.changes(owner, before.cursor.as_ref(), configured);
    let seen = match &looked {
        Ok(Some((cursor, _))) => Some(cursor),
        _ => before.cursor.as_ref(),
    };
    let other = before.other_owner(seen.and_then(Cursor::owner));
    let lists_images = context.table_owners.contains(&key) && other.is_none();
    // An error of the feed does not prevent the listing, which will report an error of the server.
    let Ok(Some((cursor, changes))) = &looked else {
        if lists_images && looked.is_err() {
            // If the state cannot be written, the decisions report it.
            let _ = context.run.store.write(|write| write.want_images(&key));
        }
        return match other {
            Some(other) => refused(context, owner, other, repositories, asked_at),
            None => all(repositories, before.generation),
        };
    };
    let explained = match (changes, &before.cursor) {
        (Changes::Some(pushed), Some(since)) => {
            feed::explain(since, pushed, &before.counts, configured, |name| {
                registry.list_tags(&named(owner, name)?).ok().as_ref().map(count)
            })
        }
        _ => Explained::default(),
    };
    // In the transaction that moves the cursor, because the feed reports an image only once.
    let note_images = |write: &Write<'_>| match changes {
        _ if !lists_images => Ok(()),
        Changes::Nothing => Ok(()),
        Changes::Some(pushed) => {
            let repositories: Vec<Repository> =
                pushed.rows.keys().filter_map(|name| named(owner, name)).collect();
            write.note_images(&key.0, &repositories)
        }
        Changes::Everything => write.want_images(&key),
    };
    let changes = if explained.is_elsewhere { &Changes::Everything } else { changes };
    let is_same = *changes == Changes::Nothing && before.cursor.as_ref() == Some(cursor);
    let record = |write: &Write<'_>| {
        note_images(write)?;
        write.record_feed(&key, &before, cursor, changes, &explained.counts)
    };
    let recorded = if is_same { Ok(before.clone()) } else { context.run.store.write(record) };
    if let Some(other) = other {
        return refused(context, owner, other, repositories, asked_at);
    }
    let Ok(after) = recorded else {
        // If the state cannot be written, the decisions report it.
        return all(repositories, before.generation);
    };
    let warning = renamed(owner, before.owner.as_ref(), cursor.owner())
        .map(|warning| format!("registry {registry_name}: {warning}"));
    if after.cursor.as_ref() != Some(cursor) {
        // Another run saw changes since then, perhaps more than this one.
        return FeedResult { warning, ..all(repositories, after.generation) };
    }
    let step = Step { context, from: &key.0, before: &before, after: &after, changes, asked_at };
    let mut asked = FeedResult { warning, ..FeedResult::default() };
    let to_list = &mut asked.to_list;
    to_list.generation = after.generation;
    // This run has seen every new row, so other changes can only be deletions.
    let since = before.cursor.as_ref().filter(|_| explained.is_elsewhere);
    to_list.known_until = since.map(Cursor::known_until);
    to_list.counts = explained.lacks_counts;
    for (repository, targets) in repositories {
        if targets.iter().all(|index| step.was_current(context.targets[*index], repository)) {
            to_list.known.insert(repository);
        }
        let shared = Answers::default();
        for index in targets {
            match step.decide_on_memory(repository, index, &shared) {
                Some(done) => asked.listed.push(done),
                None => to_list.repositories.entry(repository).or_default().push(index),
            }
        }
    }
    if let Changes::Some(pushed) = changes {
        to_list.pushed.clone_from(&pushed.rows);
    }
    asked
}

/// Another owner has the name. Its images are not used until `tagship mark --owner`.
fn refused<'a>(
    context: &Context<'_>,
    name: &str,
    (before, now): (&Owner, &Owner),
    repositories: Repositories<'a>,
    asked_at: Timestamp,
) -> FeedResult<'a> {
    let refused = |index: usize| {
        let message = other_owner(name, before, now, &context.targets[index].id);
        let failure = Failure { code: ErrorCode::Protocol, message };
        Listed {
            index,
            asked_at,
            extent: Extent::Nothing,
            tags: None,
            found: ListedContent::OtherOwner(failure),
        }
    };
    let listed = repositories.into_values().flatten().map(refused).collect();
    FeedResult { listed, ..FeedResult::default() }
}

/// The failure if another owner now has the name of a target's owner. `registry`: reports the present owner. If
/// it is None or does not know, the owner at the last poll decides.
pub(super) fn find_other_owner(
    config: &Config,
    feeds: &HashMap<FeedKey, Feed>,
    registry: Option<&dyn Registry>,
    target: &Target,
) -> Option<String> {
    let name = target.image.repository.owner();
    let feed = feeds.get(&key(config, &target.registry, name)).filter(|feed| feed.owner.is_some())?;
    let asked = registry.and_then(|registry| registry.owner(name).ok().flatten());
    let now = asked.as_ref().or_else(|| feed.cursor.as_ref().and_then(Cursor::owner));
    feed.other_owner(now).map(|(before, now)| other_owner(name, before, now, &target.id))
}

/// The same, from the state only.
///
/// # Errors
/// The state cannot be read.
pub(crate) fn recall_other_owner(
    config: &Config,
    store: &Store,
    target: &Target,
) -> Result<Option<String>, StoreError> {
    Ok(find_other_owner(config, &store.feeds()?, None, target))
}

/// The message if another owner has the name.
pub(super) fn other_owner(name: &str, before: &Owner, now: &Owner, target: &impl fmt::Display) -> String {
    format!(
        "`{name}` now belongs to `{}` (ID {}); it belonged to `{}` (ID {}). Its images may be a stranger's, so tagship deploys none of them; to accept the new owner: tagship mark {target} --owner",
        now.login, now.id, before.login, before.id
    )
}

/// The warning if the owner now has a different name from the configured one, and did not have it before.
fn renamed(name: &str, before: Option<&Owner>, now: Option<&Owner>) -> Option<String> {
    let now = &now?.login;
    let before = before.map_or(name, |before| &before.login);
    let is_new = !now.eq_ignore_ascii_case(name) && !now.eq_ignore_ascii_case(before);
    is_new.then(|| format!("the owner {name} was renamed to {now}; change image to {now}/…"))
}

/// The number of tags in a listing.
pub(super) fn count(listing: &Listing) -> Count {
    Count { tags: (listing.tags.len() + listing.dropped.count) as u64, at: Timestamp::now() }
}

/// The feed's key: the address of the registry, not its name in the configuration.
pub(crate) fn key(config: &Config, registry: &Name, owner: &str) -> FeedKey {
    (config.registries[registry].location.to_string(), owner.to_lowercase())
}

/// The change from one reading of an owner's feed to the next.
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
    /// None: the target's repository needs a listing. `shared`: data about the repository from other targets.
    fn decide_on_memory(&self, repository: &Repository, index: usize, shared: &Answers) -> Option<Listed> {
        let target = self.context.targets[index];
        let state = self.context.state(target)?;
        let pushed = self.pushed(target, state, repository)?;
        let open = self.context.open.get(&target.id).cloned().unwrap_or_default();
        let asked_at = self.asked_at;
        let done = |extent, found| Some(Listed { index, asked_at, extent, tags: None, found });
        if pushed.is_empty()
            && let Some(status) = engine::unchanged(target, state, &open)
        {
            return done(Extent::Nothing, ListedContent::Unchanged(status));
        }
        let mut listing = engine::remembered(target, state)?;
        let extent = match pushed {
            [] => Extent::Nothing,
            _ => Extent::Rows { generation: self.after.generation },
        };
        for row in pushed {
            // A row of a known tag is a later push of it.
            listing.tags.retain(|listed| listed.tag.as_str() != row.version);
            let Ok(tag) = Tag::new(&row.version) else { continue };
            let (pushed_at, sequence) = (Some(row.created_at), Some(row.id));
            listing.tags.push(ListedTag { pushed_at, sequence, ..ListedTag::named(tag) });
        }
        let answers = Answers::default();
        answers.share(shared);
        let selected = select_remembered(self.context, target, state, &listing, answers);
        shared.share(&selected.answers);
        done(extent, Ok(selected).into())
    }

    /// The pushes to the repository since the target last knew all of it. None: unknown, or the rows contain
    /// less than a listing. (Order `newest` always uses the rows.)
    fn pushed(&self, target: &Target, state: &PollState, repository: &Repository) -> Option<&[FeedRow]> {
        let name = name(repository);
        let listed = self.known(target, state, repository)?;
        // The target is ahead of the feed only if the state lost the feed, which then says nothing about it.
        if listed.generation > self.after.generation {
            return None;
        }
        if self.after.wanted(&name) <= listed.generation {
            return Some(&[]);
        }
        let was_current = self.before.wanted(&name) <= listed.generation;
        let only_this_changed = self.after.all_generation <= listed.generation;
        match self.changes {
            // The missing rows may belong to this image.
            Changes::Some(pushed)
                if was_current
                    && only_this_changed
                    && pushed.vanished == 0
                    && target.policy.order() == Order::Newest =>
            {
                pushed.rows.get(&name).map(Vec::as_slice)
            }
            _ => None,
        }
    }

    /// The generation up to which the target knows its repository, if it may be used.
    fn known<'s>(
        &self,
        target: &Target,
        state: &'s PollState,
        repository: &Repository,
    ) -> Option<&'s LastListed> {
        let run = self.context.run;
        let listed = state.listed.as_ref().filter(|listed| listed.from == self.from)?;
        let is_known = !run.refresh
            && state.failing.is_none()
            && state.rule.as_deref() == Some(engine::rule_of(target).as_str())
            && !is_due_for_resync(listed.at, repository.as_str(), run.config.settings.resync, self.asked_at);
        is_known.then_some(listed)
    }

    /// Whether the target knew all of its repository at the previous reading of the feed.
    fn was_current(&self, target: &Target, repository: &Repository) -> bool {
        let state = self.context.state(target);
        let known = state.and_then(|state| self.known(target, state, repository));
        known.is_some_and(|listed| {
            (self.before.wanted(&name(repository))..=self.before.generation).contains(&listed.generation)
        })
    }
}

/// The repository with this name in the feed.
fn named(owner: &str, name: &str) -> Option<Repository> {
    Repository::new(&format!("{owner}/{name}")).ok()
}

/// The repository's name in the feed.
pub(super) fn name(repository: &Repository) -> String {
    repository.name().unwrap_or_default().to_lowercase()
}

/// Whether a full listing is due: after half to all of `resync`, depending on the name of the repository or
/// owner, so that full listings spread over time. A listing in the future comes from a wrong clock, and counts
/// as due.
pub(super) fn is_due_for_resync(at: Timestamp, name: &str, resync: Duration, now: Timestamp) -> bool {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
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
            is_due_for_resync(at(0), &format!("acme/shop-{name}"), resync, at(minutes))
        };
        assert!((0..100).all(|name| !due(name, 6 * 60 - 1) && due(name, 12 * 60)));
        let by_nine = (0..100).filter(|name| due(*name, 9 * 60)).count();
        assert!((30..70).contains(&by_nine), "{by_nine}");
        assert!(due(1, -5));
    }
}
