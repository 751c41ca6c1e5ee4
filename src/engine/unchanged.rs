//! Deciding without a listing, when the feed shows that nothing was pushed to the repository.

use super::Decision;
use super::state::{OpenDeployments, PollState, SeenCandidate};
use super::status::Status;
use crate::reference::{ListedTag, Listing};
use crate::target::Target;

/// The status of the last decision, which still holds if nothing was pushed and nothing is pending or blocked.
/// None: decide from the remembered listing.
pub(crate) fn unchanged(target: &Target, state: &PollState, open: &OpenDeployments) -> Option<Status> {
    let is_quiet = state.candidates.is_empty() && *open == OpenDeployments::default() && !target.digest;
    // States of earlier versions have no reason: decide again.
    let is_complete = state.listed.is_some() && state.reason.is_some();
    state.status.filter(|status| {
        is_quiet
            && is_complete
            && matches!(status, Status::UpToDate | Status::Behind | Status::Older | Status::NoMatch)
    })
}

/// The last decision once more, with the status that [`unchanged`] gave.
pub(crate) fn repeated(state: PollState, status: Status) -> Decision {
    Decision::new(status, state.reason.clone().unwrap_or_default(), state)
}

/// The listing as far as the state remembers it: high-water and newer candidates. None if that is not enough
/// for a decision.
pub(crate) fn remembered(target: &Target, state: &PollState) -> Option<Listing> {
    let high_water = state.high_water.iter().cloned();
    let candidates = state.candidates.iter().filter(|seen| seen.digest.is_none());
    let tags: Vec<ListedTag> = high_water.chain(candidates.map(SeenCandidate::listed)).collect();
    // If the newest tag is neither, it was an older tag, and older tags are not remembered.
    let is_known =
        state.last_polled_tag.as_ref().is_none_or(|newest| tags.iter().any(|listed| listed.tag == *newest));
    let is_placed = tags.iter().all(|listed| !super::is_timeless(listed, target));
    // With `allow_downgrade`, the candidates are older than a high-water tag that was deleted.
    let high_water = state.high_water.as_ref().and_then(|listed| target.policy.candidate(listed));
    let is_newest = |listed: &ListedTag| {
        target.policy.candidate(listed).is_none_or(|candidate| {
            high_water.as_ref().is_none_or(|high_water| !high_water.is_newer_than(&candidate))
        })
    };
    let is_known = is_known && tags.iter().all(is_newest);
    // `mark` can make tags new again that are not remembered.
    let is_complete = state.listed.is_some() && state.marked.is_none();
    (is_known && is_placed && is_complete && state.status != Some(Status::Older))
        .then(|| Listing { tags, ..Listing::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{listing, newest, now, semver, versions};
    use crate::engine::{Hold, Mark};

    #[test]
    fn remembered_listing_gives_the_same_decision_as_the_full_one() {
        let versions = versions(&["v1.0.0", "v1.1.0", "x"]);
        let pushed = listing(&[("dev-1", 100), ("dev-2", 200)]);
        for (mut stage, listing) in [(semver(), &versions), (newest(), &pushed)] {
            stage.poll(listing);
            let before = stage.state.clone();
            let memory = remembered(&stage.target, before.as_ref().unwrap()).unwrap();
            let remembered = stage.poll(&memory);
            stage.state = before;
            let whole = stage.poll(listing);
            assert_eq!((whole.status, &whole.reason), (remembered.status, &remembered.reason));
            assert_eq!(whole.latest_tag, remembered.latest_tag);
            let mut state = whole.state.clone();
            state.came_to(whole.status, Some(whole.reason.clone()), None);
            let status = unchanged(&stage.target, &state, &stage.open).unwrap();
            let again = repeated(state, status);
            assert_eq!((again.status, again.reason), (whole.status, whole.reason));
        }
    }

    #[test]
    fn new_tag_on_top_of_the_remembered_listing_is_deployed() {
        let mut stage = newest();
        stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
        let mut memory = remembered(&stage.target, stage.state.as_ref().unwrap()).unwrap();
        let new = ListedTag { sequence: Some(9), ..listing(&[("dev-3", 300)]).tags.remove(0) };
        memory.tags.push(new);
        assert_eq!(stage.deploys(&memory).as_deref(), Some("dev-3"));
    }

    #[test]
    fn blocked_target_is_decided_again_and_an_incomplete_memory_is_not_used() {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0"]));
        let hold = Hold { reason: None, by: "a".to_owned(), since: now(), until: None };
        stage.state.as_mut().unwrap().hold = Some(hold);
        stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
        let state = stage.state.clone().unwrap();
        assert!(unchanged(&stage.target, &state, &stage.open).is_none());
        let memory = remembered(&stage.target, &state).unwrap();
        assert_eq!(stage.poll(&memory).status, Status::Held);
        stage.state.as_mut().unwrap().hold = None;
        assert_eq!(stage.deploys(&memory).as_deref(), Some("v1.1.0"));

        // Status `older`: the state does not remember which tags are gone.
        stage.poll(&versions(&["v1.0.0"]));
        assert!(remembered(&stage.target, stage.state.as_ref().unwrap()).is_none());
        let mut marked = newest();
        marked.poll(&listing(&[("dev-1", 100)]));
        marked.mark(&Mark::Deployed(crate::engine::tests::tag("dev-9")));
        assert!(remembered(&marked.target, marked.state.as_ref().unwrap()).is_none());
        for said in [Mark::Nothing, Mark::Reset(crate::engine::tests::tag("v1.0.0"))] {
            stage.state = Some(state.clone());
            stage.mark(&said);
            assert!(remembered(&stage.target, stage.state.as_ref().unwrap()).is_none(), "{said:?}");
        }
    }
}
