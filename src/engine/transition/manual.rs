//! What a manual deployment makes of a target.

use super::{Change, Place};
use crate::engine::state::{DecidedBy, Deployment, DeploymentState, Hold};
use crate::engine::{is_timeless, rule_of};
use crate::reference::ListedTag;

/// A deployment by a person.
#[derive(Debug)]
pub(crate) struct Manual<'a> {
    /// The tag, with its digest.
    pub(crate) listed: &'a ListedTag,
    pub(crate) content: Content,
    /// The login name.
    pub(crate) by_whom: &'a str,
    /// Going back holds the target.
    pub(crate) holds: bool,
}

/// What a manual deployment brings under a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// What the tag points at now.
    Current,
    /// What the stage ran before; by now the tag may point at something newer.
    RanBefore,
}

impl Change {
    /// High-water follows where the tag is newer. Going back, or to a tag that the policy cannot compare, holds the
    /// target, so that the next poll does not undo it.
    pub(super) fn deployed_manually(&mut self, place: Place<'_>, manual: &Manual<'_>, id: String) {
        let Place { target, open, now } = place;
        let &Manual { listed, content, by_whom, holds } = manual;
        let next = &mut self.state;
        let (previous_tag, high_water_before) = (next.deployed_tag(), next.high_water.clone());
        let policy = &target.policy;
        let high_water = next.high_water.as_ref().and_then(|listed| policy.candidate(listed));
        let chosen = policy.candidate(listed);
        if chosen.is_some() {
            // A target with a place in its order has begun: first_poll does not apply any more.
            next.rule.get_or_insert_with(|| rule_of(target));
        }
        let is_same_tag = high_water.as_ref().is_some_and(|high_water| high_water.listed.tag == listed.tag);
        let is_moved =
            |high_water: &ListedTag| high_water.digest.is_some() && high_water.digest != listed.digest;
        // High-water keeps the newer digest: else the next poll would bring it again.
        let is_its_past = is_same_tag
            && target.digest
            && content == Content::RanBefore
            && next.high_water.as_ref().is_some_and(is_moved);
        let is_same = is_same_tag && !is_its_past;
        let is_timeless = is_timeless(listed, target);
        let is_newer = match (&chosen, &high_water) {
            (Some(_), None) => true,
            (Some(chosen), Some(high_water)) => !is_timeless && chosen.is_newer_than(high_water),
            (None, _) => false,
        };
        if is_newer || is_same {
            let known = next.high_water.take().filter(|_| is_same);
            next.high_water = Some(known.map_or_else(|| listed.clone(), |known| given_again(known, listed)));
            next.candidates.retain(|seen| seen.tag != listed.tag);
        }
        if chosen.is_some() && is_timeless && !is_newer && !is_same_tag {
            // Its place in the order, and what is older than it, the next listing tells.
            next.marked = Some(listed.tag.clone());
        }

        let goes_back = !is_newer && !is_same;
        let reason = format!("{} was deployed manually", listed.tag);
        if goes_back && holds {
            next.hold =
                Some(Hold { reason: Some(reason.clone()), by: by_whom.to_owned(), since: now, until: None });
        }
        // The target's lock is taken: what is running was interrupted.
        for replaced in open.all() {
            self.end(replaced, DeploymentState::Superseded, Some(reason.clone()));
        }
        let (tag, digest) = (listed.tag.clone(), listed.digest.clone());
        let by = match content {
            Content::Current => DecidedBy::Hand,
            Content::RanBefore => DecidedBy::Rollback,
        };
        self.add(Deployment {
            previous_tag,
            by_whom: Some(by_whom.to_owned()),
            goes_back,
            high_water_before,
            ..Deployment::new(id, target, tag, digest, by, now)
        });
    }
}

/// High-water when its tag is deployed again: a name, or a time without a sequence, does not make it
/// forget its place in the order.
fn given_again(known: ListedTag, listed: &ListedTag) -> ListedTag {
    let tells_no_more =
        listed.pushed_at.is_none() || (listed.pushed_at == known.pushed_at && listed.sequence.is_none());
    if tells_no_more { ListedTag { digest: listed.digest.clone(), ..known } } else { listed.clone() }
}
