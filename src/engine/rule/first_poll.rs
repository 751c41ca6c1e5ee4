//! Rules 2 and 3: a first poll, and a first poll after the rule was edited.

use super::{Deciding, RuleContext, is_timeless, without_manifest};
use crate::engine::Decision;
use crate::engine::fact::Fact;
use crate::engine::probe::ProbeAnswer;
use crate::engine::recheck::outdated;
use crate::engine::state::{Baseline, Deployed, PollState, Trigger};
use crate::engine::status::Status;
use crate::policy::Order;
use crate::reference::{ListedTag, Tag};
use crate::target::FirstPoll;

/// How many candidates are asked for their digest, to find the one that the stage runs.
const DIGESTS_ASKED: usize = 20;

impl RuleContext<'_> {
    /// Rule 2.
    pub(in crate::engine) fn first(&self, next: PollState) -> Deciding {
        if self.target.running.is_some() {
            return self.first_by_running(next);
        }
        match self.target.first_poll {
            FirstPoll::Deploy => self.newer(next),
            FirstPoll::Baseline => self.begin(next, "first poll"),
        }
    }

    /// Rule 2, with a probe: the running tag becomes high-water and deployed.
    fn first_by_running(&self, mut next: PollState) -> Deciding {
        let reported = self.facts.running()?;
        let Some(tag) = self.tag_of(&reported)? else {
            let why = format!("first poll; the stage runs {}, which matches no tag", reported.name());
            return self.begin(next, &why);
        };
        next.deployed = Some(Deployed {
            tag: tag.clone(),
            digest: reported.digest.clone(),
            at: self.now,
            by: Trigger::Probe,
        });
        let mut listed = self.listed(&tag)?;
        listed.digest = reported.digest.clone().or(listed.digest);
        if is_timeless(&listed, self.target) || self.target.policy.candidate(&listed).is_none() {
            let why = format!("first poll; the stage runs {tag}, which the rule cannot compare");
            return self.begin(next, &why);
        }
        next.high_water = Some(listed);
        self.again(next)
    }

    /// The tag that the stage runs. If the probe gives only a digest, it is compared with those of the newest
    /// candidates.
    fn tag_of(&self, reported: &ProbeAnswer) -> Fact<Option<Tag>> {
        if reported.tag.is_some() {
            return Ok(reported.tag.clone());
        }
        for candidate in self.selection.candidates.iter().take(DIGESTS_ASKED) {
            if self.facts.digest(&candidate.listed.tag)? == reported.digest {
                return Ok(Some(candidate.listed.tag.clone()));
            }
        }
        Ok(None)
    }

    /// A tag as the registry lists it, as far as known.
    fn listed(&self, tag: &Tag) -> Fact<ListedTag> {
        let known = self.selection.candidates.iter().find(|candidate| candidate.listed.tag == *tag);
        if let Some(candidate) = known {
            return Ok(candidate.listed.clone());
        }
        let mut listed = ListedTag::named(tag.clone());
        if self.target.policy.order() == Order::Newest {
            listed.pushed_at = self.facts.pushed_at(tag)?;
        }
        Ok(listed)
    }

    /// Rule 3.
    pub(in crate::engine) fn rule_changed(&self, next: PollState) -> Deciding {
        let policy = &self.target.policy;
        let still = next.high_water.as_ref().is_some_and(|high_water| policy.candidate(high_water).is_some());
        let mut decision =
            if still { self.again(next)? } else { self.baseline(next, "the rule was edited")? };
        // One that runs is asked again if it turns out to be interrupted.
        if let Some(pending) = &self.open.pending
            && decision.deploy.is_none()
            && let Some(why) = outdated(self.target, pending)
        {
            decision.drop(pending, why);
        }
        Ok(decision)
    }

    /// The baseline of a first poll.
    pub(super) fn begin(&self, mut next: PollState, why: &str) -> Deciding {
        let newest = self.selection.newest();
        next.baseline = newest.map(|newest| Baseline { tag: newest.listed.tag.clone(), at: self.now });
        self.baseline(next, why)
    }

    pub(super) fn baseline(&self, mut next: PollState, why: &str) -> Deciding {
        next.candidates.clear();
        let Some(newest) = self.selection.newest() else {
            next.high_water = None;
            return Ok(Decision::new(Status::NoMatch, self.nothing_matches(), next));
        };
        let mut given = newest.listed.clone();
        if self.target.digest {
            given.digest = self.digest(&given.tag)?;
            if self.has_no_manifest(&given.tag) {
                // Without its digest, a move would go unnoticed: the next poll is a first poll again.
                next.rule = self.before.and_then(|before| before.rule.clone());
                next.edit = self.before.and_then(|before| before.edit.clone());
                return Ok(without_manifest(&given.tag, next).concerning(&given.tag));
            }
        }
        next.given_platforms = self.given_platforms(&given)?;
        next.high_water = Some(given);
        let reason = format!(
            "{why}: only newer tags are deployed; to deploy the newest tag now: tagship deploy {}",
            self.target.id
        );
        Ok(Decision::new(Status::Baseline, reason, next).concerning(&newest.listed.tag))
    }
}
