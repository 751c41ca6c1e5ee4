//! Rule 7: a tag that was pushed again with another digest.

use std::collections::BTreeSet;

use super::{Deciding, RuleContext};
use crate::engine::Decision;
use crate::engine::fact::{Fact, Unknown};
use crate::engine::gate::{BlockedBy, GateCheck};
use crate::engine::state::{GivenPlatforms, PollState, SeenCandidate};
use crate::policy::Candidate;
use crate::reference::{Digest, ListedTag, Tag};

impl RuleContext<'_> {
    /// The platform digests of a deployed tag, if later digests are compared by platform.
    pub(super) fn given_platforms(&self, given: &ListedTag) -> Fact<Option<GivenPlatforms>> {
        let is_compared = self.target.digest && !self.target.gates.platforms.is_empty();
        let Some(digest) = given.digest.as_ref().filter(|_| is_compared) else {
            return Ok(None);
        };
        match self.facts.platforms(&given.tag) {
            Ok(now) => {
                let found = GivenPlatforms { digest: digest.clone(), now };
                Ok(Some(found).filter(|found| found.now.of.as_ref() == Some(digest)))
            }
            // Then every other digest is a new deployment.
            Err(Unknown::Failed(_) | Unknown::NotChecked) => Ok(None),
        }
    }

    /// What the tag points at now, if the stage's platforms are unchanged.
    fn same_platforms(
        &self,
        known: Option<&GivenPlatforms>,
        tag: &Tag,
        given: &ListedTag,
        digest: &Digest,
    ) -> Fact<Option<GivenPlatforms>> {
        let Some(known) = known.filter(|known| known.now.of == given.digest && known.now.of.is_some()) else {
            return Ok(None);
        };
        let now = match self.facts.platforms(tag) {
            Err(Unknown::NotChecked) => return Ok(None),
            now => now?,
        };
        let is_same = |wanted: &String| {
            let [before, after]: [BTreeSet<_>; 2] =
                [&known.now, &now].map(|platforms| platforms.taken_by(wanted).collect());
            !before.is_empty() && before == after
        };
        let platforms = &self.target.gates.platforms;
        let is_same =
            now.of.as_ref() == Some(digest) && !platforms.is_empty() && platforms.iter().all(is_same);
        Ok(is_same.then(|| GivenPlatforms { digest: known.digest.clone(), now }))
    }

    /// Rule 7: an immutable tag has moved, and the listing shows its digest. Warned about once.
    pub(super) fn moved_unexpectedly(&self, next: &mut PollState) -> Option<String> {
        let given = next.high_water.as_mut()?;
        let now = self.selection.find(&given.tag)?.digest.clone()?;
        let before = given.digest.replace(now.clone()).filter(|before| *before != now)?;
        Some(format!(
            "{}: {} was pushed again: it was {before}, and is {now}; it is not deployed again (with digest = true it would be)",
            self.target.id, given.tag
        ))
    }

    /// The tag that `digest = true` follows, as it is listed: high-water, whatever else is as new or newer.
    pub(super) fn followed(&self, high_water: &Candidate) -> Option<Candidate> {
        let tag = &high_water.listed.tag;
        let is_it = |candidate: &&Candidate| candidate.listed.tag == *tag;
        let known = self.selection.candidates.iter().find(is_it);
        let found = || self.target.policy.candidate(self.selection.find(tag)?);
        let listed = known.cloned().or_else(found).filter(|_| self.target.digest)?;
        // An earlier push time must not make other tags newer than it.
        let has_lost_its_place = high_water.is_newer_than(&listed)
            && !self.selection.newest().is_some_and(|newest| is_it(&newest));
        Some(if has_lost_its_place { high_water.clone() } else { listed })
    }

    /// Where the followed tag points now, if that is another image for the stage than high-water's. Otherwise the state
    /// remembers where it points.
    pub(super) fn moved_to(&self, next: &mut PollState, tag: &Tag) -> Fact<Option<Digest>> {
        match (self.digest(tag)?, &mut next.high_water) {
            (Some(digest), Some(given)) if given.digest.is_none() => given.digest = Some(digest),
            (Some(digest), Some(given)) if given.digest.as_ref() != Some(&digest) => {
                let Some(same) = self.same_platforms(next.given_platforms.as_ref(), tag, given, &digest)?
                else {
                    return Ok(Some(digest));
                };
                given.digest = Some(digest);
                next.given_platforms = Some(same);
            }
            _ => {}
        }
        if let Some(given) = &next.high_water
            && next.given_platforms.as_ref().and_then(|known| known.now.of.as_ref()) != given.digest.as_ref()
        {
            next.given_platforms = self.given_platforms(given)?;
        }
        Ok(None)
    }

    /// Rule 7: the same tag, another digest. `blocked`: the newer tags, none of which is deployed now.
    pub(super) fn moved(
        &self,
        mut next: PollState,
        followed: &Candidate,
        digest: &Digest,
        high_water: &Candidate,
        mut blocked: Vec<(Tag, BlockedBy)>,
    ) -> Deciding {
        let tag = &followed.listed.tag;
        let mut seen = self.remember(followed, Some(digest));
        let is_known = |known: &SeenCandidate| known.tag == *tag && known.digest.as_ref() == Some(digest);
        if !self.before.is_some_and(|before| before.candidates.iter().any(is_known)) {
            // The last report was about another image of the tag.
            next.last_reported = None;
        }
        let gates =
            GateCheck { target: self.target, facts: self.facts, high_water: Some(high_water), now: self.now };
        let block = gates.blocked_by(followed, &mut seen)?;
        next.candidates.push(seen);
        let decision = if let Some(block) = block {
            blocked.push((tag.clone(), block));
            self.waiting_for(next, &blocked)
        } else {
            let decision = match self.stopped(&next, tag) {
                Some((status, block)) => self.waiting(next, status, block),
                None => self.deploy(next, followed, format!("{tag} was pushed again: {digest}"))?,
            };
            decision.concerning(tag)
        };
        Ok(Decision { blocked, ..decision })
    }
}
