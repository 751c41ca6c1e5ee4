//! Order `newest` for registries without push times: tags are ordered by when tagship first saw them, and
//! tags first seen together by when their images were built.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::state::PollState;
use super::status::{ErrorCode, Failure};
use crate::reference::{Digest, ListedTag, Listing, Tag};
use crate::target::{FirstPoll, Target};

/// When a tag was first seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenTag {
    pub(crate) first_seen: Timestamp,
    /// Its image, asked once if other tags were first seen in the same listing.
    pub(crate) image: Option<Built>,
}

/// The image that a tag pointed at when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Built {
    pub(crate) digest: Digest,
    /// None: the image has no build time.
    pub(crate) created: Option<Timestamp>,
}

pub(crate) type SeenTags = HashMap<Tag, SeenTag>;

/// The answers, by tag; None: the registry has no manifest for the tag, so it is not a candidate yet.
pub(crate) type Builds = HashMap<Tag, Option<Built>>;

/// A listing in which every tag has a place in the order.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) listing: Listing,
    /// The digests of the tags whose image was ever asked.
    pub(crate) images: Vec<(Tag, Digest)>,
    /// The tags to remember.
    pub(crate) new: Vec<(Tag, SeenTag)>,
}

/// The failure if the registry gave push times before, and gives none now: by the time at which they were first seen,
/// all its tags would be newer than high-water.
pub(crate) fn without_times(target: &Target, known: &SeenTags, state: Option<&PollState>) -> Option<Failure> {
    let given = state?.high_water.as_ref()?;
    let had_times = given.pushed_at.is_some() && !known.contains_key(&given.tag);
    had_times.then(|| Failure {
        code: ErrorCode::Protocol,
        message: format!(
            "the registry no longer gives the push times, by which {0} was the newest tag (may the token still read them?); to continue without them, from {0} on: tagship mark {1} {0} --reset",
            given.tag, target.id
        ),
    })
}

/// The tags whose image must be asked to place them in the order: candidates that were first seen together,
/// and not before high-water. A baseline only remembers the names and asks nothing.
pub(crate) fn unplaced(
    target: &Target,
    listing: &Listing,
    known: &SeenTags,
    state: Option<&PollState>,
    now: Timestamp,
) -> Vec<Tag> {
    let begins = state.is_none_or(|state| state.rule.is_none());
    if begins && (target.first_poll == FirstPoll::Baseline || target.running.is_some()) {
        return Vec::new();
    }
    let given = state.and_then(|state| state.high_water.as_ref());
    if given.is_some() && known.is_empty() {
        return Vec::new();
    }
    let since = given.and_then(|given| known.get(&given.tag).map(|seen| seen.first_seen).or(given.pushed_at));
    // Tags of the baseline keep their places: none of them is newer than the baseline's tag.
    let baseline = known.values().map(|seen| seen.first_seen).min().filter(|_| given.is_some());
    let begin = begin(known, now);
    let mut together: HashMap<Timestamp, Vec<&Tag>> = HashMap::new();
    for listed in &listing.tags {
        let first_seen = known.get(&listed.tag).map_or(begin, |seen| seen.first_seen);
        let matters = Some(first_seen) != baseline && since.is_none_or(|since| first_seen >= since);
        if matters && target.policy.candidate(listed).is_some() {
            together.entry(first_seen).or_default().push(&listed.tag);
        }
    }
    let is_open = |tag: &&&Tag| known.get(**tag).is_none_or(|seen| seen.image.is_none());
    let mut unplaced: Vec<Tag> = together
        .values()
        .filter(|tags| tags.iter().collect::<HashSet<_>>().len() > 1)
        .flat_map(|tags| tags.iter().filter(is_open))
        .map(|tag| (*tag).clone())
        .collect();
    unplaced.sort();
    unplaced.dedup();
    unplaced
}

/// Gives every tag of a listing its place. `asked`: the answers for the tags from [`unplaced`].
pub(crate) fn place(listing: &Listing, known: &SeenTags, asked: &Builds, now: Timestamp) -> Placed {
    let begin = begin(known, now);
    let mut placed = Placed {
        listing: Listing {
            tags: Vec::with_capacity(listing.tags.len()),
            dropped: listing.dropped.clone(),
            renamed: listing.renamed.clone(),
            by_first_sight: true,
            held: listing.held.clone(),
        },
        images: Vec::new(),
        new: Vec::new(),
    };
    for listed in &listing.tags {
        let tag = &listed.tag;
        let (seen, answer) = (known.get(tag), asked.get(tag));
        if answer.is_some_and(Option::is_none) {
            continue;
        }
        let answer = answer.and_then(Option::as_ref);
        let image = seen.and_then(|seen| seen.image.as_ref()).or(answer);
        let first_seen = seen.map_or(begin, |seen| seen.first_seen);
        if seen.is_none() || answer.is_some() {
            placed.new.push((tag.clone(), SeenTag { first_seen, image: image.cloned() }));
        }
        placed.images.extend(image.map(|image| (tag.clone(), image.digest.clone())));
        let sequence = image.and_then(Built::sequence);
        placed.listing.tags.push(ListedTag { pushed_at: Some(first_seen), sequence, ..listed.clone() });
    }
    placed
}

/// For a listing with push times: sets each tag's sequence to when it was first seen. Of two tags with the
/// same push time, the one that appeared later is newer.
pub(crate) fn in_sequence(listing: &Listing, known: &SeenTags, now: Timestamp) -> Placed {
    let begin = begin(known, now);
    let mut placed = Placed { listing: listing.clone(), images: Vec::new(), new: Vec::new() };
    for listed in &mut placed.listing.tags {
        let first_seen = known.get(&listed.tag).map_or(begin, |seen| seen.first_seen);
        if !known.contains_key(&listed.tag) {
            placed.new.push((listed.tag.clone(), SeenTag { first_seen, image: None }));
        }
        listed.sequence = Some(first_seen.as_millisecond());
    }
    placed
}

impl Built {
    /// The place among tags that were first seen together: the build time, in milliseconds.
    fn sequence(&self) -> Option<i64> {
        self.created.map(Timestamp::as_millisecond)
    }
}

impl SeenTag {
    /// See [`Built`]; None if that was not asked.
    pub(crate) fn sequence(&self) -> Option<i64> {
        self.image.as_ref()?.sequence()
    }
}

/// When the new tags of a listing count as first seen: now, or just after the latest known tag if the clock was
/// set back since. At the same time as that tag they would count as seen together with it.
fn begin(known: &SeenTags, now: Timestamp) -> Timestamp {
    let latest = known.values().map(|seen| seen.first_seen).max();
    let next = latest.and_then(|latest| latest.checked_add(SignedDuration::from_millis(1)).ok());
    next.map_or(now, |next| now.max(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{newest, semver, tag};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn listing(names: &[&str]) -> Listing {
        Listing { tags: names.iter().map(|name| ListedTag::named(tag(name))).collect(), ..Listing::default() }
    }

    fn known(names: &[(&str, i64)]) -> SeenTags {
        let seen = |second| SeenTag { first_seen: at(second), image: None };
        names.iter().map(|(name, second)| (tag(name), seen(*second))).collect()
    }

    fn built(second: Option<i64>, digit: char) -> Built {
        let digest = Digest::new(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
        Built { digest, created: second.map(at) }
    }

    /// A target whose first poll found `dev-1`.
    fn given() -> PollState {
        let high_water = Some(ListedTag { pushed_at: Some(at(100)), ..ListedTag::named(tag("dev-1")) });
        PollState { rule: Some(String::new()), high_water, ..PollState::default() }
    }

    fn asked(listed: &[&str], known: &SeenTags, state: Option<&PollState>) -> Vec<String> {
        let asked = unplaced(&newest().target, &listing(listed), known, state, at(500));
        asked.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_baseline_asks_nothing_and_remembers_every_name() {
        let names = ["dev-2", "dev-1", "other"];
        assert!(asked(&names, &known(&[]), None).is_empty());
        let placed = place(&listing(&names), &known(&[]), &Builds::new(), at(100));
        assert_eq!(placed.new.len(), 3);
        assert!(placed.listing.tags.iter().all(|listed| listed.pushed_at == Some(at(100))));
        let known = known(&[("dev-1", 100), ("dev-2", 100), ("other", 100)]);
        assert!(asked(&names, &known, Some(&given())).is_empty(), "the next poll asks nothing either");
        let nothing = PollState { high_water: None, ..given() };
        assert_eq!(asked(&names, &known, Some(&nothing)), ["dev-1", "dev-2"], "mark --none");
        let mut first = newest();
        first.target.first_poll = FirstPoll::Deploy;
        assert_eq!(unplaced(&first.target, &listing(&names), &known, None, at(500)).len(), 2);
    }

    #[test]
    fn only_candidates_first_seen_together_are_asked_and_only_once() {
        let mut seen = known(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]);
        let state = given();
        assert!(asked(&["dev-1", "dev-4", "other"], &seen, Some(&state)).is_empty());
        assert_eq!(asked(&["dev-1", "dev-5", "dev-4"], &seen, Some(&state)), ["dev-4", "dev-5"]);
        seen.extend(known(&[("dev-4", 400), ("dev-5", 400)]));
        assert_eq!(
            asked(&["dev-1", "dev-5", "dev-4"], &seen, Some(&state)),
            ["dev-4", "dev-5"],
            "an edited rule"
        );
        for name in ["dev-4", "dev-5"] {
            seen.get_mut(&tag(name)).unwrap().image = Some(built(None, 'a'));
        }
        assert!(asked(&["dev-1", "dev-5", "dev-4"], &seen, Some(&state)).is_empty());
        let names: Vec<String> = (10..31).map(|number| format!("dev-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(asked(&names, &seen, Some(&state)).len(), 21);
        assert!(semver().target.policy.candidate(&ListedTag::named(tag("dev-4"))).is_none());
    }

    #[test]
    fn a_tag_keeps_its_place_whatever_the_clock_says() {
        for now in [at(300), at(50)] {
            let placed = place(&listing(&["dev-2", "dev-1"]), &known(&[("dev-1", 200)]), &Builds::new(), now);
            let after = at(200) + SignedDuration::from_millis(1);
            assert_eq!(
                placed.listing.tags[0].pushed_at,
                Some(now.max(after)),
                "later than dev-1 in any case"
            );
            assert_eq!(placed.listing.tags[1].pushed_at, Some(at(200)));
            assert_eq!(placed.new.len(), 1);
        }
    }

    #[test]
    fn answers_are_kept_and_a_tag_without_a_manifest_is_left_out() {
        let seen = known(&[("dev-1", 100)]);
        let answers = [(tag("dev-2"), Some(built(Some(7), 'a'))), (tag("dev-3"), None)];
        let placed = place(&listing(&["dev-1", "dev-2", "dev-3"]), &seen, &answers.into(), at(200));
        let names: Vec<&str> = placed.listing.tags.iter().map(|listed| listed.tag.as_str()).collect();
        assert_eq!(names, ["dev-1", "dev-2"]);
        assert_eq!(placed.listing.tags[1].sequence, Some(7000));
        let seen = seen.into_iter().chain(placed.new).collect();
        let again = place(&listing(&["dev-1", "dev-2"]), &seen, &Builds::new(), at(300));
        assert_eq!(again.listing.tags, placed.listing.tags);
        assert!(again.new.is_empty());
    }
}
