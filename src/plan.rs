//! decide(): selection + stored state + now -> Decision. Pure.
//!
//! The rules are numbered as in the guarantees ("Deciding"); each function names the one it carries out.

mod mark;
mod state;
mod status;
mod telling;

pub(crate) use mark::{Mark, mark};
pub(crate) use state::{
    DecidedBy, Deployed, Deployment, DeploymentState, Failing, OpenDeployments, PollState, Told,
};
pub(crate) use status::{ErrorCode, Failure, Status};
pub(crate) use telling::{Audience, tell};

use jiff::Timestamp;

use crate::policy::{Candidate, Order, Selection};
use crate::reference::{ListedTag, Tag};
use crate::target::{FirstPoll, Target};

/// What is to be done about a target, and what is to be remembered of this poll.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) status: Status,
    /// One line for people: why this status.
    pub(crate) reason: String,
    /// The newest tag that the policy allows.
    pub(crate) latest_tag: Option<Tag>,
    /// The state after this poll.
    pub(crate) state: PollState,
    /// The tag to record as a pending deployment. A pending one of before is superseded by it.
    pub(crate) deploy: Option<ListedTag>,
    /// Why the pending deployment of before must not run any more, if so.
    pub(crate) drop_pending: Option<String>,
    pub(crate) failure: Option<Failure>,
}

/// Decides what is to be done about a target whose listing succeeded.
///
/// `state` is the target's row, None before its first poll. Calling it again with the state it
/// returned gives the same decision without the deployment.
pub(crate) fn decide(
    target: &Target,
    selection: &Selection,
    state: Option<&PollState>,
    open: &OpenDeployments,
    now: Timestamp,
) -> Decision {
    if let Some(state) = state
        && selection.listed == 0
        && state.tags_listed > 0
    {
        return emptied(target, state, now);
    }
    let mut next = state.cloned().unwrap_or_default();
    let known_rule = next.rule.replace(rule_of(target));
    next.tags_listed = selection.listed;
    next.polled_at = Some(now);
    next.checked_at = Some(now);
    next.failing = None;
    let newest = selection.newest();
    if let Some(high_water) = next.high_water.as_mut().filter(|listed| is_timeless(listed, target))
        && let Some(listed) = selection.find(&high_water.tag)
    {
        // `mark` knew the tag only by its name.
        high_water.pushed_at = listed.pushed_at;
        high_water.sequence = listed.sequence;
    }
    next.last_polled_tag = newest.map(|candidate| candidate.listed.tag.clone());
    let poll = Poll { target, selection, open };
    match known_rule {
        None => poll.first(next),
        Some(rule) if next.rule.as_ref() != Some(&rule) => poll.rule_changed(next),
        Some(_) => poll.again(next),
    }
}

/// Rule 1: the listing failed. Nothing moves; the failure is counted.
pub(crate) fn decide_failed(state: Option<&PollState>, failure: Failure, now: Timestamp) -> Decision {
    let mut next = state.cloned().unwrap_or_default();
    next.checked_at = Some(now);
    let before = next.failing.take();
    // A clock that was set back must not make an outage begin in the future.
    let since = before.as_ref().map_or(now, |failing| failing.since.min(now));
    next.failing = Some(Failing {
        since,
        count: before.as_ref().map_or(0, |failing| failing.count).saturating_add(1),
        told_at: before.and_then(|failing| failing.told_at),
        failure: failure.clone(),
    });
    Decision {
        status: Status::Unknown,
        reason: failure.message.clone(),
        latest_tag: next.last_polled_tag.clone(),
        state: next,
        deploy: None,
        drop_pending: None,
        failure: Some(failure),
    }
}

impl Decision {
    /// The same target with nothing deployed for now, although there is something newer.
    pub(crate) fn wait(mut self, before: Option<&PollState>, reason: String) -> Decision {
        self.status = Status::Waiting;
        self.reason = reason;
        self.state.high_water = before.and_then(|before| before.high_water.clone());
        self.deploy = None;
        self
    }
}

/// Whether a target is to be polled by `--due`: checked longer ago than 90 % of its interval (cron is
/// never exact), or with a deployment that waits to be tried again.
pub(crate) fn is_due(
    target: &Target,
    state: Option<&PollState>,
    open: &OpenDeployments,
    now: Timestamp,
) -> bool {
    let Some(checked_at) = state.and_then(|state| state.checked_at) else {
        return true;
    };
    let elapsed = now.duration_since(checked_at);
    // A check in the future: a clock was wrong.
    elapsed.is_negative() || elapsed.unsigned_abs() >= target.interval.mul_f64(0.9) || open.pending.is_some()
}

/// The rule a target is decided by, as the state remembers it.
pub(crate) fn rule_of(target: &Target) -> String {
    format!("{} {}", target.image.repository, target.policy.rule_text())
}

/// Rule 1: an empty list where tags were seen before.
fn emptied(target: &Target, state: &PollState, now: Timestamp) -> Decision {
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
fn is_timeless(listed: &ListedTag, target: &Target) -> bool {
    target.policy.order() == Order::Newest && listed.pushed_at.is_none()
}

/// One target's poll: what does not change while its rules are gone through.
struct Poll<'a> {
    target: &'a Target,
    selection: &'a Selection,
    open: &'a OpenDeployments,
}

impl Poll<'_> {
    /// Rule 2.
    fn first(&self, next: PollState) -> Decision {
        match self.target.first_poll {
            FirstPoll::Deploy => self.newer(next),
            FirstPoll::Baseline => self.baseline(next, "first poll"),
        }
    }

    /// Rule 3.
    fn rule_changed(&self, next: PollState) -> Decision {
        let policy = &self.target.policy;
        let still = next.high_water.as_ref().is_some_and(|high_water| policy.candidate(high_water).is_some());
        let mut decision = if still { self.again(next) } else { self.baseline(next, "the rule was edited") };
        if let Some(pending) = &self.open.pending
            && decision.deploy.is_none()
            && policy.candidate(&ListedTag::named(pending.tag.clone())).is_none()
        {
            decision.drop_pending = Some(format!("the edited rule does not take {}", pending.tag));
        }
        decision
    }

    /// Rules 4 to 6, with a high-water tag of before.
    fn again(&self, next: PollState) -> Decision {
        let Some(newest) = self.selection.newest() else {
            return self.settled(next, Status::NoMatch, self.nothing_matches());
        };
        let Some(high_water) = self.high_water(&next) else {
            return self.newer(next);
        };
        if is_timeless(&high_water.listed, self.target) && newest.listed.pushed_at.is_some() {
            let why = format!(
                "{} was marked, but is not listed, so what came after it cannot be told",
                high_water.listed.tag
            );
            return self.baseline(next, &why);
        }
        if self.newest_after(&high_water).is_some() {
            self.newer(next)
        } else if high_water.is_newer_than(newest) && newest.listed.tag != high_water.listed.tag {
            self.older(next, newest, &high_water)
        } else {
            self.nothing_newer(next, newest)
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
    fn newer(&self, mut next: PollState) -> Decision {
        let chosen = match self.high_water(&next) {
            Some(high_water) => self.newest_after(&high_water),
            None => self.selection.newest(),
        };
        let Some(chosen) = chosen else {
            return self.settled(next, Status::NoMatch, self.nothing_matches());
        };
        let tag = &chosen.listed.tag;
        if !self.target.auto_deploy {
            let reason = format!(
                "auto_deploy is off; tell tagship once it is deployed: tagship mark {} {tag}",
                self.target.id
            );
            return self.settled(next, Status::Available, reason);
        }
        next.high_water = Some(chosen.listed.clone());
        let status = if self.open.running.is_some() { Status::Deploying } else { Status::Pending };
        let mut decision =
            self.settled(next, status, format!("{tag} is newer than what the stage was given"));
        decision.deploy = Some(chosen.listed.clone());
        decision
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
    fn older(&self, mut next: PollState, newest: &Candidate, high_water: &Candidate) -> Decision {
        let gone = &high_water.listed.tag;
        let is_gone = self.selection.is_listed(gone) == Some(false);
        let never_succeeded = self.open.pending.as_ref().filter(|pending| pending.tag == *gone);
        if is_gone && let Some(pending) = never_succeeded {
            let before = pending.high_water_before.clone();
            let dropped = format!("{gone} was deleted from the registry before it was deployed");
            next.high_water = before;
            let mut decision = self.again(next);
            decision.drop_pending = Some(dropped);
            return decision;
        }
        if is_gone && self.target.allow_downgrade {
            next.high_water = Some(newest.listed.clone());
            let reason = format!("{gone} was deleted, and allow_downgrade is on");
            let mut decision = self.settled(next, Status::Pending, reason);
            decision.deploy = Some(newest.listed.clone());
            return decision;
        }
        let what = if is_gone { "is gone from the registry" } else { "comes after it in this order" };
        let reason = format!(
            "the newest tag is {}, and {gone}, which the stage was given, {what}; to start from here: tagship mark {} {} --reset",
            newest.listed.tag, self.target.id, newest.listed.tag
        );
        self.settled(next, Status::Older, reason)
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

#[cfg(test)]
mod tests;
