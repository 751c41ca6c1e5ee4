//! Decides what a poll does with a target: selection + stored state + facts + now -> [`Decision`]. Pure.

mod fact;
pub(crate) mod feed;
pub(crate) mod first_seen;
mod gate;
mod last_reported;
mod notification;
mod probe;
mod recheck;
mod retry;
mod rollback;
mod rule;
mod state;
mod status;
mod transition;
mod unchanged;
mod verdict;

pub(crate) use fact::{Fact, Facts, Unknown};
pub(crate) use last_reported::{Audience, Monitor, MonitorOutage, mark_reported};
pub(crate) use notification::Notification;
pub(crate) use probe::{ProbeAnswer, Standing, standing};
pub(crate) use retry::{Failed, next_attempt};
pub(crate) use rollback::{BackTo, back_to, is_followed, previous, recorded_digest};
pub(crate) use state::{
    Baseline, Deployment, DeploymentState, Edit, Failing, Hold, LastListed, LastReported, NextAttempt,
    OpenDeployments, PollState, StageRun, Trigger, Unfinished,
};
#[cfg(test)]
pub(crate) use state::{Deployed, SeenCandidate};
pub(crate) use status::{ErrorCode, Failure, Status};
pub(crate) use transition::{
    Change, DeploymentRow, Manual, ManualContent, Mark, TargetEvent, is_current, transition,
};
pub(crate) use unchanged::{remembered, repeated, unchanged};
pub(crate) use verdict::{Decided, TagVerdict, VerdictKind, unlisted};

use jiff::Timestamp;

use crate::policy::{Candidate, Selection};
use crate::reference::{ListedTag, Tag};
use crate::target::Target;
use gate::{BlockKind, BlockedBy};
pub(crate) use recheck::{Recheck, outdated, recheck, withheld};
pub(crate) use rule::newest;
use rule::{RuleContext, is_timeless, list_became_empty};

/// What a poll does with a target, and the state it leaves.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) status: Status,
    /// Why the target has this status: one line for people.
    pub(crate) reason: String,
    /// When the reason can end, if known.
    pub(crate) until: Option<Timestamp>,
    /// The newest tag that the policy matches.
    pub(crate) latest_tag: Option<Tag>,
    /// The state after this poll.
    pub(crate) state: PollState,
    /// The tag to plan a deployment of, with its digest. It supersedes an earlier pending deployment.
    pub(crate) deploy: Option<ListedTag>,
    /// Whether that tag is older than one deployed to the stage before.
    pub(crate) goes_back: bool,
    /// A warning for people; it changes nothing.
    pub(crate) warning: Option<String>,
    /// Earlier deployments that this decision ends, in their new form.
    pub(crate) ends: Vec<DeploymentRow>,
    pub(crate) failure: Option<Failure>,
    /// The tag that the status and the reason are about, if they are about one.
    pub(crate) concerns: Option<Tag>,
    /// The high-water tag that the decision compared with.
    pub(crate) above: Option<ListedTag>,
    /// Newer tags that are not deployed, each with the reason.
    pub(crate) blocked: Vec<(Tag, BlockedBy)>,
}

impl Decision {
    /// A decision that deploys nothing.
    fn new(status: Status, reason: String, state: PollState) -> Decision {
        Decision {
            status,
            reason,
            until: None,
            latest_tag: state.last_polled_tag.clone(),
            above: state.high_water.clone(),
            state,
            deploy: None,
            goes_back: false,
            warning: None,
            ends: Vec::new(),
            failure: None,
            concerns: None,
            blocked: Vec::new(),
        }
    }

    /// Makes this tag the subject of the decision.
    fn concerning(self, tag: &Tag) -> Decision {
        Decision { concerns: Some(tag.clone()), latest_tag: Some(tag.clone()), ..self }
    }

    /// Whether every fact that the decision depends on was known.
    pub(crate) fn is_checked(&self) -> bool {
        self.blocked.iter().all(|(_, block)| block.kind != BlockKind::NotChecked)
    }

    /// Ends an earlier deployment as dropped, for this reason.
    fn drop(&mut self, deployment: &Deployment, why: String) {
        self.ends.push(DeploymentRow::ended(deployment, DeploymentState::Dropped, Some(why)));
    }

    /// The earlier deployments that stay open.
    pub(crate) fn left_open(&self, open: &OpenDeployments) -> OpenDeployments {
        open.filtered(|deployment| self.ends.iter().all(|row| row.deployment.id != deployment.id))
    }
}

/// Decides what a poll does with a target whose listing succeeded.
///
/// `state` is the target's row, None before its first poll. Deciding again from the returned state gives the
/// same decision without the deployment.
pub(crate) fn decide(
    target: &Target,
    selection: &Selection,
    state: Option<&PollState>,
    open: &OpenDeployments,
    facts: &dyn Facts,
    now: Timestamp,
) -> Decision {
    match decide_listed(target, selection, state, open, facts, now) {
        Ok(decision) => decision,
        Err(Unknown::Failed(failure)) => decide_failed(state, failure, now),
        Err(Unknown::NotChecked) => not_checked(selection, state),
    }
}

/// Decides as if all candidates had just appeared at a stage with no deployment and no hold. `target`: see
/// [`Target::at_once`].
pub(crate) fn decide_as_new(
    target: &Target,
    selection: &Selection,
    facts: &dyn Facts,
    now: Timestamp,
) -> Decision {
    let state = PollState { rule: Some(rule_of(target)), ..PollState::default() };
    decide(target, selection, Some(&state), &OpenDeployments::default(), facts, now)
}

/// The decision when a fact that it depends on is not checked.
fn not_checked(selection: &Selection, state: Option<&PollState>) -> Decision {
    let reason = "not checked; the next poll asks the registry or the stage".to_owned();
    let block = BlockedBy { reason: reason.clone(), until: None, kind: BlockKind::NotChecked };
    let state = state.cloned().unwrap_or_default();
    let newest = selection.newest().map(|newest| (newest.listed.tag.clone(), block));
    Decision { blocked: newest.into_iter().collect(), ..Decision::new(Status::Waiting, reason, state) }
}

fn decide_listed(
    target: &Target,
    selection: &Selection,
    state: Option<&PollState>,
    open: &OpenDeployments,
    facts: &dyn Facts,
    now: Timestamp,
) -> Fact<Decision> {
    if let Some(state) = state
        && selection.listed == 0
        && state.tags_listed > 0
    {
        return Ok(list_became_empty(target, state, now));
    }
    let mut next = state.cloned().unwrap_or_default();
    let known_rule = next.rule.replace(rule_of(target));
    next.tags_listed = selection.listed;
    next.polled_at = Some(now);
    next.checked_at = Some(now);
    next.failing = None;
    if let Some(rule_before) = known_rule.as_ref().filter(|before| next.rule.as_ref() != Some(before)) {
        let high_water_before = next.high_water.as_ref().map(|listed| listed.tag.clone());
        next.edit = Some(Edit { at: now, rule_before: rule_before.clone(), high_water_before });
    }
    let newest = selection.newest();
    if let Some(high_water) = &mut next.high_water
        && let Some(listed) = selection.find(&high_water.tag)
    {
        // `mark` knew only the tag's name. A manual deployment knew its push time but not its sequence, and
        // without that, other tags of the same second would look newer.
        let of_the_same_push = high_water.sequence.is_none() && high_water.pushed_at == listed.pushed_at;
        // A tag is seen for the first time only once, so that a poll beside this one may have recorded an earlier time.
        if is_timeless(high_water, target) || of_the_same_push || selection.by_first_sight {
            high_water.pushed_at = listed.pushed_at;
            high_water.sequence = listed.sequence;
        }
    }
    let marked = place_marked(&mut next, target, selection);
    let mut outdone = Vec::new();
    if let Some(marked) = marked {
        for deployment in open.all().filter(|open| is_older_than_marked(open, &marked, target, selection)) {
            let reason = Some(format!("{} was marked", marked.listed.tag));
            outdone.push(DeploymentRow::ended(deployment, DeploymentState::Superseded, reason));
        }
    }
    let open = &open.filtered(|open| outdone.iter().all(|row| row.deployment.id != open.id));
    next.last_polled_tag = newest.map(|candidate| candidate.listed.tag.clone());
    let poll = RuleContext { target, selection, open, facts, before: state, now };
    let mut decision = match &known_rule {
        None => poll.first(next),
        Some(rule) if next.rule.as_ref() != Some(rule) => poll.rule_changed(next),
        Some(_) => poll.again(next),
    }?;
    if target.digest && decision.state.rule != known_rule {
        decision.warning = decision.warning.or_else(|| not_followed(target, selection, &decision.state));
    }
    decision.ends.extend(outdone);
    Ok(decision)
}

/// The warning when a target with `digest = true` matches more than one tag: only one can be followed.
fn not_followed(target: &Target, selection: &Selection, state: &PollState) -> Option<String> {
    let followed = &state.high_water.as_ref()?.tag;
    let other = selection.candidates.iter().find(|candidate| candidate.listed.tag != *followed)?;
    Some(format!(
        "{}: digest = true follows one tag, {followed}, and ignores {}, which also matches; use a separate stage for each moving tag",
        target.id, other.listed.tag
    ))
}

/// The decision when another poll recorded newer tags after this one listed the registry: the state stays
/// unchanged.
pub(crate) fn overtaken(state: PollState) -> Decision {
    Decision::new(Status::UpToDate, "superseded by another poll, which saw newer tags".to_owned(), state)
}

/// Tags that the decision looks up in the listing, candidates or not.
pub(crate) fn asked_of_listing(state: Option<&PollState>, open: &OpenDeployments) -> Vec<Tag> {
    let high_water = state.and_then(|state| state.high_water.as_ref()).map(|listed| &listed.tag);
    let marked = state.and_then(|state| state.marked.as_ref());
    let before = open.undelivered().and_then(|pending| Some(&pending.high_water_before.as_ref()?.tag));
    let beside_marked = marked.into_iter().flat_map(|_| open.all()).map(|deployment| &deployment.tag);
    high_water.into_iter().chain(marked).chain(before).chain(beside_marked).cloned().collect()
}

/// Gives a tag that was marked or deployed manually by name its place in the order. If it is newer than
/// high-water, it becomes high-water.
fn place_marked(next: &mut PollState, target: &Target, selection: &Selection) -> Option<Candidate> {
    let tag = next.marked.take()?;
    let marked = target.policy.candidate(selection.find(&tag)?)?;
    let high_water = next.high_water.as_ref().and_then(|listed| target.policy.candidate(listed));
    if high_water.is_none_or(|high_water| marked.is_newer_than(&high_water)) {
        next.high_water = Some(marked.listed.clone());
    }
    Some(marked)
}

/// Whether a deployment is older than the marked tag. A tag that the listing did not reach counts as older.
fn is_older_than_marked(
    deployment: &Deployment,
    marked: &Candidate,
    target: &Target,
    selection: &Selection,
) -> bool {
    let candidate = selection.find(&deployment.tag).and_then(|listed| target.policy.candidate(listed));
    deployment.tag != marked.listed.tag && candidate.is_none_or(|candidate| !candidate.is_newer_than(marked))
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
        reported_at: before.and_then(|failing| failing.reported_at),
        failure: failure.clone(),
    });
    Decision { failure: Some(failure.clone()), ..Decision::new(Status::Unknown, failure.message, next) }
}

/// The decision that only ends an outage: a later check than the listing had an answer.
pub(crate) fn decide_recovered(state: PollState) -> Decision {
    let next = PollState { failing: None, ..state };
    Decision::new(Status::UpToDate, "recovered".to_owned(), next)
}

/// The decision for a stage of a table with `images` whose list is known, or for a target whose deployment is kept back:
/// no tag has a part in it.
pub(crate) fn decide_without_tags(
    state: Option<&PollState>,
    status: Status,
    reason: String,
    now: Timestamp,
) -> Decision {
    let mut next = state.cloned().unwrap_or_default();
    next.polled_at = Some(now);
    next.checked_at = Some(now);
    next.failing = None;
    Decision::new(status, reason, next)
}

/// Whether `--due` polls a target: its last check is older than 90 % of its interval (cron is never exact), or
/// it has a deployment to retry.
pub(crate) fn is_due(
    target: &Target,
    checked_at: Option<Timestamp>,
    open: Option<&OpenDeployments>,
    now: Timestamp,
) -> bool {
    let Some(checked_at) = checked_at else {
        return true;
    };
    // A check in the future means that a clock was wrong.
    checked_at > now || due_at(target, checked_at) <= now || open.is_some_and(|open| open.is_due(now))
}

/// When a target last checked at `checked_at` is due again.
pub(crate) fn due_at(target: &Target, checked_at: Timestamp) -> Timestamp {
    checked_at.saturating_add(target.interval.mul_f64(0.9)).unwrap_or(Timestamp::MAX)
}

/// The target's rule in the form that the state stores.
pub(crate) fn rule_of(target: &Target) -> String {
    format!("{} {}", target.image.repository, target.policy.rule_text())
}

#[cfg(test)]
mod tests;
