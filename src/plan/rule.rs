//! The rules of deciding, numbered as in the guarantees; each function names the one it carries out.

use jiff::Timestamp;

use super::fact::{Facts, Undecided};
use super::state::{OpenDeployments, PollState};
use super::status::{ErrorCode, Failure, Status};
use super::{Decision, decide_failed};
use crate::policy::{Candidate, Order, Selection};
use crate::reference::ListedTag;
use crate::target::{FirstPoll, Target};

/// Rule 1: an empty list where tags were seen before.
pub(super) fn emptied(target: &Target, state: &PollState, now: Timestamp) -> Decision {
    let failure = Failure {
        code: ErrorCode::Protocol,
        message: format!(
            "the registry lists no tag of {} any more, where it had {}; if they were deleted on purpose: tagship mark {} --none",
            target.image, state.tags_listed, target.id
        ),
    };
    decide_failed(Some(state), failure, now)
}

/// Whether a tag has no place in its target's order for want of its push time.
pub(super) fn is_timeless(listed: &ListedTag, target: &Target) -> bool {
    target.policy.order() == Order::Newest && listed.pushed_at.is_none()
}

/// One target's poll: what does not change while its rules are gone through.
pub(super) struct Poll<'a> {
    pub(super) target: &'a Target,
    pub(super) selection: &'a Selection,
    pub(super) open: &'a OpenDeployments,
    pub(super) facts: &'a Facts,
    pub(super) before: Option<&'a PollState>,
}

type Deciding = Result<Decision, Undecided>;

impl Poll<'_> {
    /// Rule 2.
    pub(super) fn first(&self, next: PollState) -> Deciding {
        match self.target.first_poll {
            FirstPoll::Deploy => self.newer(next),
            FirstPoll::Baseline => Ok(self.baseline(next, "first poll")),
        }
    }

    /// Rule 3.
    pub(super) fn rule_changed(&self, next: PollState) -> Deciding {
        let policy = &self.target.policy;
        let still = next.high_water.as_ref().is_some_and(|high_water| policy.candidate(high_water).is_some());
        let mut decision = if still { self.again(next)? } else { self.baseline(next, "the rule was edited") };
        if let Some(pending) = &self.open.pending
            && decision.deploy.is_none()
            && policy.candidate(&ListedTag::named(pending.tag.clone())).is_none()
        {
            decision.drop_pending = Some(format!("the edited rule does not take {}", pending.tag));
        }
        Ok(decision)
    }

    /// Rules 4 to 6, with a high-water tag of before.
    pub(super) fn again(&self, next: PollState) -> Deciding {
        let Some(newest) = self.selection.newest() else {
            return Ok(self.settled(next, Status::NoMatch, self.nothing_matches()));
        };
        let Some(high_water) = self.high_water(&next) else {
            return self.newer(next);
        };
        if is_timeless(&high_water.listed, self.target) && newest.listed.pushed_at.is_some() {
            let why = format!(
                "{} was marked, but is not listed, so what came after it cannot be told",
                high_water.listed.tag
            );
            return Ok(self.baseline(next, &why));
        }
        if self.newest_after(&high_water).is_some() {
            self.newer(next)
        } else if high_water.is_newer_than(newest) && newest.listed.tag != high_water.listed.tag {
            self.older(next, newest, &high_water)
        } else {
            Ok(self.nothing_newer(next, newest))
        }
    }

    fn high_water(&self, state: &PollState) -> Option<Candidate> {
        state.high_water.as_ref().and_then(|listed| self.target.policy.candidate(listed))
    }

    /// The newest candidate newer than `high_water`. The high-water tag itself is never new, even
    /// pushed again with a later time.
    fn newest_after(&self, high_water: &Candidate) -> Option<&Candidate> {
        self.selection.candidates.iter().find(|candidate| {
            candidate.listed.tag != high_water.listed.tag && candidate.is_newer_than(high_water)
        })
    }

    /// Rule 4: something is newer than high-water (or there is no high-water yet).
    fn newer(&self, next: PollState) -> Deciding {
        let chosen = match self.high_water(&next) {
            Some(high_water) => self.newest_after(&high_water),
            None => self.selection.newest(),
        };
        let Some(chosen) = chosen else {
            return Ok(self.settled(next, Status::NoMatch, self.nothing_matches()));
        };
        let tag = &chosen.listed.tag;
        if !self.target.auto_deploy {
            let reason = format!(
                "auto_deploy is off; tell tagship once it is deployed: tagship mark {} {tag}",
                self.target.id
            );
            return Ok(self.settled(next, Status::Available, reason));
        }
        self.deploy(next, chosen, format!("{tag} is newer than what the stage was given"))
    }

    /// Gives a tag to the stage.
    fn deploy(&self, mut next: PollState, chosen: &Candidate, reason: String) -> Deciding {
        let tag = &chosen.listed.tag;
        let Some(digest) = self.facts.digest(tag)? else {
            // New Gitea answers so for a tag that was pushed back to what it was before.
            next.high_water = self.before.and_then(|before| before.high_water.clone());
            let reason = format!(
                "{tag} is listed, but the registry has no manifest for it; asked again at the next poll"
            );
            return Ok(self.settled(next, Status::Waiting, reason));
        };
        let given = ListedTag { digest: Some(digest.clone()), ..chosen.listed.clone() };
        next.high_water = Some(given.clone());
        let status = if self.open.running.is_some() { Status::Deploying } else { Status::Pending };
        let mut decision = self.settled(next, status, reason);
        decision.deploy = Some(given);
        Ok(decision)
    }

    /// Rule 5.
    fn nothing_newer(&self, next: PollState, newest: &Candidate) -> Decision {
        let deployed = next.deployed.as_ref().map(|deployed| deployed.tag.clone());
        let high_water = next.high_water.as_ref().map(|high_water| high_water.tag.clone());
        if self.open.running.is_some() {
            return self.settled(next, Status::Deploying, "a deployment of it is under way".to_owned());
        }
        if let Some(pending) = &self.open.pending {
            let reason = format!("the deployment of {} is to be tried again", pending.tag);
            return self.settled(next, Status::Pending, reason);
        }
        match (deployed, high_water) {
            (Some(deployed), Some(high_water)) if deployed != high_water => {
                let reason = format!("the stage runs {deployed}, and was given {high_water}");
                self.settled(next, Status::Behind, reason)
            }
            _ => self.settled(next, Status::UpToDate, format!("{} is the newest", newest.listed.tag)),
        }
    }

    /// Rule 6.
    fn older(&self, mut next: PollState, newest: &Candidate, high_water: &Candidate) -> Deciding {
        let gone = &high_water.listed.tag;
        let is_gone = self.selection.is_listed(gone) == Some(false);
        let never_succeeded = self.open.pending.as_ref().filter(|pending| pending.tag == *gone);
        if is_gone && let Some(pending) = never_succeeded {
            let before = pending.high_water_before.clone();
            let dropped = format!("{gone} was deleted from the registry before it was deployed");
            next.high_water = before;
            let mut decision = self.again(next)?;
            decision.drop_pending = Some(dropped);
            return Ok(decision);
        }
        if is_gone && self.target.allow_downgrade {
            return self.deploy(next, newest, format!("{gone} was deleted, and allow_downgrade is on"));
        }
        let what = if is_gone { "is gone from the registry" } else { "comes after it in this order" };
        let reason = format!(
            "the newest tag is {}, and {gone}, which the stage was given, {what}; to start from here: tagship mark {} {} --reset",
            newest.listed.tag, self.target.id, newest.listed.tag
        );
        Ok(self.settled(next, Status::Older, reason))
    }

    fn baseline(&self, mut next: PollState, why: &str) -> Decision {
        let Some(newest) = self.selection.newest() else {
            next.high_water = None;
            return self.settled(next, Status::NoMatch, self.nothing_matches());
        };
        next.high_water = Some(newest.listed.clone());
        let reason = format!(
            "{why}: what comes after it is deployed; to deploy it too: tagship mark {} --none",
            self.target.id
        );
        self.settled(next, Status::Baseline, reason)
    }

    fn nothing_matches(&self) -> String {
        let Selection { listed, matched, not_parsed, .. } = self.selection;
        match (listed, matched) {
            (0, _) => "the image has no tags yet".to_owned(),
            (listed, 0) => format!("none of {listed} tags matches"),
            _ => format!(
                "{matched} of {listed} tags match, and {not_parsed} of them are nothing that the order can compare"
            ),
        }
    }

    fn settled(&self, state: PollState, status: Status, reason: String) -> Decision {
        Decision {
            status,
            reason,
            latest_tag: state.last_polled_tag.clone(),
            state,
            deploy: None,
            drop_pending: None,
            failure: None,
        }
    }
}
