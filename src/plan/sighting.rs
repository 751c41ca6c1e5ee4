//! Order `newest` where a registry has no push times: tags go by when tagship first saw them.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::{ErrorCode, Failure};
use crate::reference::{ListedTag, Listing, Tag};

/// How many tags that came up together are told apart by when their images were built.
const TOLD_APART: usize = 20;

/// When each name was first seen.
pub(crate) type Sightings = HashMap<Tag, Timestamp>;

/// A listing in which a tag's push time is when it was first seen.
#[derive(Debug)]
pub(crate) struct Sighted {
    pub(crate) listing: Listing,
    /// Those to remember, each with the moment.
    pub(crate) new: Vec<ListedTag>,
}

/// Gives every tag of a listing without push times the moment it was first seen. Tags that came up
/// together go by when their images were built (`created`, asked for by `ask`), except at the very
/// first listing (`known` is empty), which only remembers.
///
/// # Errors
/// It cannot be told which of two new tags is newer; or `ask` failed.
pub(crate) fn sight(
    listing: &Listing,
    known: &Sightings,
    now: Timestamp,
    is_candidate: impl Fn(&ListedTag) -> bool,
    mut ask: impl FnMut(&Tag) -> Result<Option<Timestamp>, Failure>,
) -> Result<Sighted, Failure> {
    let seen = |listed: &ListedTag| ListedTag {
        // A clock that was set back must not make what is new older than what was known.
        pushed_at: Some(
            known
                .get(&listed.tag)
                .copied()
                .unwrap_or_else(|| latest(known).map_or(now, |latest| now.max(latest))),
        ),
        ..listed.clone()
    };
    let mut tags: Vec<ListedTag> = listing.tags.iter().map(seen).collect();
    let new = tags.iter().filter(|listed| !known.contains_key(&listed.tag)).cloned().collect();
    if !known.is_empty() {
        let together: Vec<&mut ListedTag> = tags
            .iter_mut()
            .filter(|listed| !known.contains_key(&listed.tag) && is_candidate(listed))
            .collect();
        if together.len() > 1 {
            tell_apart(together, &mut ask)?;
        }
    }
    Ok(Sighted { listing: Listing { tags, ..listing.clone() }, new })
}

/// Gives every tag of a listing with push times the moment it was first seen as its sequence: a tag that came up
/// later is newer than one of the same push time.
pub(crate) fn in_sequence(listing: &Listing, known: &Sightings, now: Timestamp) -> Sighted {
    // A clock that was set back must not make what is new older than what was known.
    let next = latest(known).and_then(|latest| latest.checked_add(SignedDuration::from_millis(1)).ok());
    let now = next.map_or(now, |next| now.max(next));
    let mut sighted = Sighted { listing: listing.clone(), new: Vec::new() };
    for listed in &mut sighted.listing.tags {
        let first_seen = known.get(&listed.tag).copied().unwrap_or_else(|| {
            sighted.new.push(ListedTag { pushed_at: Some(now), ..listed.clone() });
            now
        });
        listed.sequence = Some(first_seen.as_millisecond());
    }
    sighted
}

fn latest(known: &Sightings) -> Option<Timestamp> {
    known.values().max().copied()
}

/// Sets each tag's sequence to when its image was built.
fn tell_apart(
    together: Vec<&mut ListedTag>,
    ask: &mut impl FnMut(&Tag) -> Result<Option<Timestamp>, Failure>,
) -> Result<(), Failure> {
    let count = together.len();
    if count > TOLD_APART {
        let names: Vec<&str> = together.iter().take(2).map(|listed| listed.tag.as_str()).collect();
        return Err(undecided(&format!("{} and {} others", names.join(", "), count - names.len())));
    }
    let mut built: HashMap<i64, Tag> = HashMap::new();
    for listed in together {
        let created = ask(&listed.tag)?.map(Timestamp::as_millisecond);
        let Some(created) = created else {
            return Err(undecided(&format!(
                "{} (its image does not say when it was built) and others",
                listed.tag
            )));
        };
        if let Some(other) = built.insert(created, listed.tag.clone()) {
            return Err(undecided(&format!("{other} and {}", listed.tag)));
        }
        listed.sequence = Some(created);
    }
    Ok(())
}

fn undecided(which: &str) -> Failure {
    Failure {
        code: ErrorCode::Protocol,
        message: format!(
            "this registry has no push times, and these came up together, so that it cannot be told which is newest: {which}; name it by tagship deploy, or choose an order that goes by the name"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Tag {
        Tag::new(text).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn listing(names: &[&str]) -> Listing {
        Listing { tags: names.iter().map(|name| ListedTag::named(tag(name))).collect(), ..Listing::default() }
    }

    fn known(names: &[(&str, i64)]) -> Sightings {
        names.iter().map(|(name, second)| (tag(name), at(*second))).collect()
    }

    fn never(tag: &Tag) -> Result<Option<Timestamp>, Failure> {
        panic!("{tag} is not to be asked about")
    }

    #[test]
    fn the_first_listing_remembers_and_reads_nothing() {
        let sighted = sight(&listing(&["b", "a", "c"]), &known(&[]), at(100), |_| true, never).unwrap();
        assert_eq!(sighted.new, sighted.listing.tags);
        assert!(sighted.listing.tags.iter().all(|listed| listed.pushed_at == Some(at(100))));
    }

    #[test]
    fn a_single_new_tag_is_newer_than_what_was_known_whatever_the_clock_says() {
        for now in [at(300), at(50)] {
            let sighted = sight(&listing(&["a", "b"]), &known(&[("b", 200)]), now, |_| true, never).unwrap();
            assert_eq!(sighted.new, sighted.listing.tags[..1]);
            assert_eq!(sighted.listing.tags[0].pushed_at, Some(now.max(at(200))));
            assert_eq!(sighted.listing.tags[1].pushed_at, Some(at(200)));
        }
    }

    #[test]
    fn tags_that_came_up_together_go_by_when_they_were_built() {
        let built = |tag: &Tag| Ok(Some(at(if tag.as_str() == "x" { 20 } else { 10 })));
        let sighted =
            sight(&listing(&["x", "y", "old"]), &known(&[("old", 1)]), at(100), |_| true, built).unwrap();
        assert!(sighted.listing.tags[0].sequence > sighted.listing.tags[1].sequence);
    }

    #[test]
    fn as_many_as_are_told_apart_are_asked_about_one_by_one() {
        let many: Vec<String> = (0..TOLD_APART).map(|number| format!("t{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut clock = 0;
        let built = |_: &Tag| {
            clock += 1;
            Ok(Some(at(clock)))
        };
        let sighted = sight(&listing(&many), &known(&[("old", 1)]), at(100), |_| true, built).unwrap();
        assert!(sighted.listing.tags.iter().is_sorted_by_key(|listed| listed.sequence));
        assert_eq!(clock, 20);
    }

    #[test]
    fn what_is_no_candidate_is_not_asked_about() {
        let is_candidate = |listed: &ListedTag| listed.tag.as_str() != "x";
        assert!(sight(&listing(&["x", "y"]), &known(&[("old", 1)]), at(100), is_candidate, never).is_ok());
    }

    #[test]
    fn what_cannot_be_told_apart_is_named() {
        let same = |_: &Tag| Ok(Some(at(10)));
        let error = sight(&listing(&["x", "y"]), &known(&[("old", 1)]), at(100), |_| true, same).unwrap_err();
        assert!(error.message.contains("x and y"), "{}", error.message);
        let error =
            sight(&listing(&["x", "y"]), &known(&[("old", 1)]), at(100), |_| true, |_| Ok(None)).unwrap_err();
        assert!(error.message.contains('x'), "{}", error.message);
        let many: Vec<String> = (0..21).map(|number| format!("t{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let error = sight(&listing(&many), &known(&[("old", 1)]), at(100), |_| true, never).unwrap_err();
        assert!(error.message.contains("19 others"), "{}", error.message);
    }
}
