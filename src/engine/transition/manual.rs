//! A manual deployment: `tagship deploy` and `tagship rollback`.

use super::{Change, Place};
use crate::engine::state::{Deployment, DeploymentState, Hold, Trigger};
use crate::engine::{is_timeless, rule_of};
use crate::reference::ListedTag;

/// A deployment by a person.
#[derive(Debug)]
pub(crate) struct Manual<'a> {
    /// The tag, with its digest.
    pub(crate) listed: &'a ListedTag,
    pub(crate) content: ManualContent,
    /// The person's login name.
    pub(crate) by_whom: &'a str,
    /// Whether going back holds the target.
    pub(crate) holds: bool,
}

/// Which image of a tag a manual deployment delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManualContent {
    /// The image that the tag points at now.
    Current,
    /// The image that the stage ran before; the tag may point at a newer one by now.
    RanBefore,
}

impl Change {
    /// Raises high-water if the tag is newer. An older tag, or one that the policy cannot compare, holds the
    /// target, so that the next poll does not undo the deployment.
    pub(super) fn deployed_manually(&mut self, place: Place<'_>, manual: &Manual<'_>, id: String) {
        let Place { target, open, now } = place;
        let &Manual { listed, content, by_whom, holds } = manual;
        let next = &mut self.state;
        let (previous_tag, high_water_before) = (next.deployed_tag(), next.high_water.clone());
        let policy = &target.policy;
        let high_water = next.high_water.as_ref().and_then(|listed| policy.candidate(listed));
        let chosen = policy.candidate(listed);
        if chosen.is_some() {
            // With a place in the order, first_poll no longer applies.
            next.rule.get_or_insert_with(|| rule_of(target));
        }
        let is_same_tag = high_water.as_ref().is_some_and(|high_water| high_water.listed.tag == listed.tag);
        let is_moved =
            |high_water: &ListedTag| high_water.digest.is_some() && high_water.digest != listed.digest;
        // High-water keeps the newer digest. Otherwise the next poll would deploy it again.
        let is_its_past = is_same_tag
            && target.digest
            && content == ManualContent::RanBefore
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
            if let Some(chosen) = &chosen {
                next.keep_candidates_newer_than(chosen, policy);
            }
            if let (Some(known), Some(digest)) = (&mut next.given_platforms, &listed.digest)
                && known.now.of.as_ref() == Some(digest)
            {
                known.digest = digest.clone();
            }
        }
        if chosen.is_some() && is_timeless && !is_newer && !is_same_tag {
            // The next listing gives its place in the order.
            next.marked = Some(listed.tag.clone());
        }

        let goes_back = !is_newer && !is_same;
        let reason = format!("{} was deployed manually", listed.tag);
        if goes_back && holds {
            // A hold that is there keeps its reason, but no longer ends by itself.
            next.hold = Some(match next.hold.take().filter(|hold| hold.holds(now)) {
                Some(kept) => Hold { until: None, ..kept },
                None => {
                    Hold { reason: Some(reason.clone()), by: by_whom.to_owned(), since: now, until: None }
                }
            });
        }
        // This command holds the target's lock, so a running deployment was interrupted.
        for replaced in open.all() {
            self.end(replaced, DeploymentState::Superseded, Some(reason.clone()));
        }
        let (tag, digest) = (listed.tag.clone(), listed.digest.clone());
        let by = match content {
            ManualContent::Current => Trigger::Manual,
            ManualContent::RanBefore => Trigger::Rollback,
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

/// High-water when its tag is deployed again. It keeps its place in the order if the manual deployment knows
/// only a name, or a push time without a sequence.
fn given_again(known: ListedTag, listed: &ListedTag) -> ListedTag {
    let tells_no_more =
        listed.pushed_at.is_none() || (listed.pushed_at == known.pushed_at && listed.sequence.is_none());
    if tells_no_more { ListedTag { digest: listed.digest.clone(), ..known } } else { listed.clone() }
}
