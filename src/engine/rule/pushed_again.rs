//! Rule 7: a tag that was pushed again with another digest.

use std::collections::BTreeSet;

use super::{Deciding, RuleContext};
use crate::engine::Decision;
use crate::engine::fact::{Fact, Unknown};
use crate::engine::gate::GateCheck;
use crate::engine::state::{GivenPlatforms, PollState};
use crate::engine::status::Status;
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
    pub(super) fn same_platforms(
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

    /// Rule 7: the same tag, another digest.
    pub(super) fn moved(
        &self,
        mut next: PollState,
        newest: &Candidate,
        high_water: &Candidate,
        digest: &Digest,
    ) -> Deciding {
        let tag = &newest.listed.tag;
        let mut seen = self.remember(newest, Some(digest));
        let gates =
            GateCheck { target: self.target, facts: self.facts, high_water: Some(high_water), now: self.now };
        let block = gates.blocked_by(newest, &mut seen)?;
        next.candidates = vec![seen];
        if let Some(block) = block {
            let blocked = vec![(tag.clone(), block.clone())];
            return Ok(Decision { blocked, ..self.waiting(next, Status::Waiting, block).concerning(tag) });
        }
        let decision = match self.stopped(&next, tag) {
            Some((status, block)) => self.waiting(next, status, block),
            None => self.deploy(next, newest, format!("{tag} was pushed again: {digest}"))?,
        };
        Ok(decision.concerning(tag))
    }
}
