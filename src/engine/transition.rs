//! Applies an event to a target: its new state, its deployments, and whether to notify. The only place that
//! ends a deployment. Pure.

mod manual;
mod mark;

use std::mem;

use jiff::Timestamp;

use super::probe::ProbeAnswer;
use super::retry::{Failed, next_attempt};
use super::rollback::BackTo;
use super::rule::auto_deploy_is_off;
use super::state::{
    Deployed, Deployment, DeploymentState, Hold, LastReported, OpenDeployments, PollState, Trigger,
};
use super::{Decision, ErrorCode, Failure, Status};
use crate::reference::{Digest, ListedTag, Tag};
use crate::target::Target;

pub(crate) use manual::{Manual, ManualContent};
pub(crate) use mark::Mark;

/// An event of a target. `id`: the ID of the deployment that it adds.
#[derive(Debug)]
pub(crate) enum TargetEvent<'a> {
    /// A poll's decision.
    Decided {
        decision: &'a Decision,
        id: String,
    },
    /// Every step of the attempt succeeded.
    Succeeded(&'a Deployment),
    /// The attempt failed, or was interrupted.
    Failed {
        deployment: &'a Deployment,
        failure: Failure,
        failed: Failed,
        /// The rollback if tagship gives up; None: `on_failure` is off, or there is nothing to roll back to.
        back_to: Option<BackTo>,
    },
    /// The attempt was interrupted, and a newer deployment is pending.
    InterruptedAndSuperseded {
        deployment: &'a Deployment,
        newer: &'a Tag,
    },
    /// The last attempt was interrupted.
    LastAttemptInterrupted {
        deployment: &'a Deployment,
        back_to: Option<BackTo>,
    },
    /// The tag points at another image by now.
    DigestMoved {
        deployment: &'a Deployment,
        digest: Digest,
        id: String,
    },
    /// The tag is listed, but the registry has no manifest for it.
    ManifestMissing(&'a Deployment),
    /// The tag was deleted.
    TagGone(&'a Deployment),
    /// `auto_deploy` was switched off.
    NoLongerAutomatic(&'a Deployment),
    /// See [`super::outdated`].
    NoLongerMatches {
        deployment: &'a Deployment,
        reason: String,
    },
    /// The stage runs the deployment's tag, or a `newer` one.
    Adopted {
        deployment: &'a Deployment,
        reported: &'a ProbeAnswer,
        newer: Option<&'a ListedTag>,
        id: String,
    },
    /// The target's lock or its rows cannot be used; nothing was started.
    StateFailed(Failure),
    Marked {
        mark: &'a Mark,
        /// See [`Facts::was_given`](super::Facts::was_given).
        was_given: bool,
        by_whom: String,
        id: String,
    },
    DeployedManually {
        manual: &'a Manual<'a>,
        id: String,
    },
    Held(Hold),
    Released,
    /// The deployment with this ID is retried at once, with all its attempts.
    Retried(&'a str),
    /// A person dropped the deployment with this ID.
    Abandoned(&'a str),
}

/// What an event changes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) state: PollState,
    /// The changed deployments, in the order in which to save them: the one that the event is about, then its
    /// successor.
    pub(crate) rows: Vec<DeploymentRow>,
    /// The deployment of whose end receivers are notified.
    pub(crate) notify: Option<Deployment>,
    pub(crate) failure: Option<Failure>,
    /// One line for the person who ran the command.
    pub(crate) message: String,
}

/// A deployment, and why it is over.
#[derive(Clone, Debug)]
pub(crate) struct DeploymentRow {
    pub(crate) deployment: Deployment,
    pub(crate) reason: Option<String>,
}

impl DeploymentRow {
    pub(super) fn ended(
        deployment: &Deployment,
        state: DeploymentState,
        reason: Option<String>,
    ) -> DeploymentRow {
        DeploymentRow { deployment: Deployment { state, ..deployment.clone() }, reason }
    }
}

/// To what and when an event happens.
#[derive(Clone, Copy)]
struct Place<'a> {
    target: &'a Target,
    open: &'a OpenDeployments,
    now: Timestamp,
}

/// Applies an event to a target. None: the event is about a deployment that is no longer the current one.
pub(crate) fn transition(
    target: &Target,
    before: Option<&PollState>,
    open: &OpenDeployments,
    event: TargetEvent<'_>,
    now: Timestamp,
) -> Option<Change> {
    let is_meant = match &event {
        TargetEvent::LastAttemptInterrupted { deployment, .. }
        | TargetEvent::DigestMoved { deployment, .. }
        | TargetEvent::ManifestMissing(deployment)
        | TargetEvent::TagGone(deployment)
        | TargetEvent::NoLongerMatches { deployment, .. }
        | TargetEvent::NoLongerAutomatic(deployment)
        | TargetEvent::Adopted { deployment, .. } => is_current(before, open, deployment),
        _ => true,
    };
    if !is_meant {
        return None;
    }
    let mut change = Change { state: before.cloned().unwrap_or_default(), ..Change::default() };
    let place = Place { target, open, now };
    match event {
        TargetEvent::Decided { decision, id } => change.decided(place, decision, id),
        TargetEvent::Succeeded(deployment) => {
            change.end(deployment, DeploymentState::Succeeded, None);
            change.runs(deployment, deployment.digest.clone(), deployment.by, now);
            let status =
                if deployment.is_automatic_rollback() { Status::RolledBack } else { Status::Deployed };
            change.came_to(status, &deployment.tag, None);
            change.notify = Some(deployment.clone());
        }
        TargetEvent::Failed { deployment, failure, failed, back_to } => {
            change.failed(place, deployment, failure, failed, back_to);
        }
        TargetEvent::InterruptedAndSuperseded { deployment, newer } => {
            let reason = format!("interrupted; {newer} is newer");
            change.end(deployment, DeploymentState::Superseded, Some(reason));
        }
        TargetEvent::LastAttemptInterrupted { deployment, back_to } => {
            let message = "the last attempt was interrupted; check for a time limit or too little memory";
            let failure = Failure { code: ErrorCode::Command, message: message.to_owned() };
            change.give_up(place, deployment.clone(), failure, back_to);
        }
        TargetEvent::DigestMoved { deployment, digest, id } => {
            let reason = match &deployment.digest {
                Some(_) => format!("{} was pushed again: {digest}", deployment.tag),
                None => format!("the digest of {} was not recorded; it is {digest}", deployment.tag),
            };
            change.end(deployment, DeploymentState::Superseded, Some(reason));
            // If high-water kept the old digest, the next poll would see another push.
            if let Some(given) = change.state.high_water.as_mut().filter(|given| given.tag == deployment.tag)
            {
                given.digest = Some(digest.clone());
                // They are those of the digest before.
                change.state.given_platforms = None;
            }
            change.add(Deployment {
                id,
                digest: Some(digest),
                state: DeploymentState::Pending,
                attempts: 0,
                attempts_forgiven: 0,
                next_attempt: None,
                created_at: now,
                ..deployment.clone()
            });
        }
        TargetEvent::ManifestMissing(deployment) => change.again(deployment, deployment.attempts_forgiven),
        TargetEvent::TagGone(deployment) => {
            let reason =
                format!("{} was deleted before it was deployed; its deployment was removed", deployment.tag);
            change.end(deployment, DeploymentState::Dropped, Some(reason.clone()));
            change.state.high_water = high_water_without(deployment, change.state.high_water.take());
            change.came_to(Status::Older, &deployment.tag, Some(reason));
        }
        TargetEvent::NoLongerAutomatic(deployment) => {
            let reason = auto_deploy_is_off(target, &deployment.tag);
            change.end(deployment, DeploymentState::Dropped, Some("auto_deploy is off".to_owned()));
            // The next poll finds this tag and newer ones available.
            change.state.high_water = high_water_without(deployment, change.state.high_water.take());
            change.came_to(Status::Available, &deployment.tag, Some(reason));
        }
        TargetEvent::NoLongerMatches { deployment, reason } => {
            let reason = format!("{reason}; its deployment was removed");
            change.end(deployment, DeploymentState::Dropped, Some(reason.clone()));
            change.came_to(Status::Behind, &deployment.tag, Some(reason));
        }
        TargetEvent::Adopted { deployment, reported, newer: None, .. } => {
            let digest = deployment.digest.clone().or(reported.digest.clone());
            change.adopted(deployment, digest, format!("the stage already runs {}", reported.name()), now);
        }
        TargetEvent::Adopted { deployment, reported, newer: Some(newer), id } => {
            let reason = format!("the stage already runs {}", newer.tag);
            change.end(deployment, DeploymentState::Superseded, Some(reason.clone()));
            let (tag, digest) = (newer.tag.clone(), reported.digest.clone());
            let runs = Deployment {
                previous_tag: deployment.previous_tag.clone(),
                high_water_before: deployment.high_water_before.clone(),
                ..Deployment::new(id, target, tag, digest.clone(), Trigger::Probe, now)
            };
            change.state.high_water = Some(ListedTag { digest: digest.clone(), ..newer.clone() });
            change.adopted(&runs, digest, reason, now);
        }
        TargetEvent::StateFailed(failure) => {
            change.state.came_to(Status::Failed, Some(failure.message.clone()), None);
            change.notify = open.pending.as_ref().or(open.running.as_ref()).cloned();
            change.failure = Some(failure);
        }
        TargetEvent::Marked { mark, was_given, by_whom, id } => {
            change.marked(place, mark, was_given, by_whom, id);
        }
        TargetEvent::DeployedManually { manual, id } => change.deployed_manually(place, manual, id),
        TargetEvent::Held(hold) => {
            let ends = match hold.until {
                Some(until) => format!("{until:.0}"),
                None => format!("tagship release {}", target.id),
            };
            let held = if change.state.hold.is_some() { "held again" } else { "held" };
            change.message = format!("{held} until {ends}");
            change.state.hold = Some(hold);
        }
        TargetEvent::Released => {
            change.message = match change.state.hold.take() {
                Some(hold) if hold.holds(now) => format!("released; it was {}", hold.describe()),
                _ => "was not held".to_owned(),
            };
        }
        TargetEvent::Retried(id) => {
            let deployment = open.all().find(|deployment| deployment.id == id)?;
            if let Some(rollback) = open.pending.as_ref().filter(|pending| pending.id != id) {
                let reason = format!("{} will be retried", deployment.tag);
                change.end(rollback, DeploymentState::Superseded, Some(reason));
            }
            change.again(deployment, deployment.attempts);
        }
        TargetEvent::Abandoned(id) => {
            let deployment = open.all().find(|deployment| deployment.id == id)?;
            change.end(deployment, DeploymentState::Dropped, Some("tagship retry --drop".to_owned()));
        }
    }
    Some(change)
}

/// Whether the deployment is still the current one: during a check, another run can plan a newer one, and a
/// person can mark this tag or another one.
pub(crate) fn is_current(state: Option<&PollState>, open: &OpenDeployments, deployment: &Deployment) -> bool {
    let next = open.pending.as_ref().or(open.running.as_ref());
    next.is_some_and(|next| next.id == deployment.id)
        && !state.is_some_and(|state| state.is_marked_beside(deployment))
}

/// High-water without a superseded deployment. That deployment never succeeded, so the high-water before it
/// counts again.
pub(super) fn high_water_without(
    superseded: &Deployment,
    high_water: Option<ListedTag>,
) -> Option<ListedTag> {
    let raised_it = high_water.as_ref().is_some_and(|listed| listed.tag == superseded.tag);
    if raised_it { superseded.high_water_before.clone() } else { high_water }
}

impl Change {
    /// The deployment that the event is about.
    pub(crate) fn deployment(&self) -> Option<&Deployment> {
        self.rows.first().map(|row| &row.deployment)
    }

    fn add(&mut self, deployment: Deployment) {
        self.rows.push(DeploymentRow { deployment, reason: None });
    }

    /// Makes the deployment due now.
    fn again(&mut self, deployment: &Deployment, attempts_forgiven: u32) {
        let state = DeploymentState::Pending;
        self.add(Deployment { state, next_attempt: None, attempts_forgiven, ..deployment.clone() });
    }

    fn end(&mut self, deployment: &Deployment, state: DeploymentState, reason: Option<String>) {
        self.rows.push(DeploymentRow::ended(deployment, state, reason));
    }

    /// Sets the result of the event, and records that it is reported.
    fn came_to(&mut self, status: Status, tag: &Tag, reason: Option<String>) {
        self.state.came_to(status, reason, None);
        self.state.last_reported = Some(LastReported { status, tag: Some(tag.clone()) });
    }

    fn runs(&mut self, deployment: &Deployment, digest: Option<Digest>, by: Trigger, now: Timestamp) {
        self.state.deployed = Some(Deployed { tag: deployment.tag.clone(), digest, at: now, by });
    }

    fn adopted(&mut self, runs: &Deployment, digest: Option<Digest>, reason: String, now: Timestamp) {
        self.end(runs, DeploymentState::Succeeded, Some(reason.clone()));
        self.runs(runs, digest, Trigger::Probe, now);
        self.came_to(Status::Adopted, &runs.tag, Some(reason));
        self.notify = Some(runs.clone());
    }

    fn failed(
        &mut self,
        place: Place<'_>,
        deployment: &Deployment,
        failure: Failure,
        failed: Failed,
        back_to: Option<BackTo>,
    ) {
        let Place { target, open, now } = place;
        let mut ended = Deployment { next_attempt: None, ..deployment.clone() };
        // Interrupted attempts, and attempts that started nothing, do not count.
        match failed {
            Failed { interrupted: true, .. } => ended.attempts_forgiven += 1,
            Failed { started: false, .. } => ended.attempts = ended.attempts.saturating_sub(1),
            _ => {}
        }
        let (status, what) = match failed.interrupted {
            true => (Status::Pending, "interrupted"),
            false => (Status::Failed, "failed"),
        };
        if let (Some(deployed), false) = (&self.state.deployed, open.has(deployment)) {
            // A mark has ended it during the attempt.
            let ended =
                format!("{}; not tried again: {} was marked as deployed", failure.message, deployed.tag);
            self.came_to(status, &deployment.tag, Some(ended.clone()));
            self.notify = Some(deployment.clone());
            self.failure = Some(Failure { message: ended, ..failure });
            return;
        }
        let mut reason = None;
        let status = if open.pending.is_some() {
            ended.state = DeploymentState::Superseded;
            reason = Some(format!("{what}; a newer tag is pending"));
            status
        } else if failed.interrupted {
            ended.state = DeploymentState::Pending;
            status
        } else if let Some(next) =
            next_attempt(&target.retry, &ended.id, ended.attempts_counted(), failed, now)
        {
            ended.state = DeploymentState::Pending;
            ended.next_attempt = Some(next);
            status
        } else {
            return self.give_up(place, ended, failure, back_to);
        };
        self.came_to(status, &ended.tag, Some(failure.message.clone()));
        self.state.until = ended.next_attempt.map(|next| next.at);
        self.notify = Some(ended.clone());
        self.failure = Some(failure);
        self.rows.push(DeploymentRow { deployment: ended, reason });
    }

    /// Gives up on the deployment. The same change plans the rollback that follows it.
    fn give_up(
        &mut self,
        Place { target, open, now }: Place<'_>,
        mut deployment: Deployment,
        failure: Failure,
        back_to: Option<BackTo>,
    ) {
        let mut reason = failure.message.clone();
        if deployment.is_automatic_rollback() {
            // The failed deployment before it stays the dead one.
            deployment.state = DeploymentState::Superseded;
            reason = format!("the rollback failed: {reason}");
        } else {
            deployment.state = DeploymentState::Dead;
        }
        self.came_to(Status::Dead, &deployment.tag, Some(reason.clone()));
        self.notify = Some(deployment.clone());
        self.failure = Some(failure);
        let failed_tag = deployment.tag.clone();
        let is_followed = deployment.state == DeploymentState::Dead
            && open.pending.is_none()
            && !self.state.is_marked_beside(&deployment);
        self.rows.push(DeploymentRow { deployment, reason: Some(reason) });
        if let Some(BackTo { id, tag, digest }) = back_to.filter(|_| is_followed) {
            self.add(Deployment {
                previous_tag: Some(failed_tag),
                goes_back: true,
                // It raises nothing: if its tag is gone, high-water stays as it is.
                high_water_before: self.state.high_water.clone(),
                ..Deployment::new(id, target, tag, digest, Trigger::Rollback, now)
            });
        }
    }

    /// Applies a decision to the deployments.
    fn decided(&mut self, Place { target, open, now }: Place<'_>, decision: &Decision, id: String) {
        let before = mem::replace(&mut self.state, decision.state.clone());
        self.rows.extend(decision.ends.iter().cloned());
        let Some(listed) = &decision.deploy else {
            return;
        };
        if let Some(pending) = decision.left_open(open).pending {
            let reason = format!("{} is newer", listed.tag);
            self.end(&pending, DeploymentState::Superseded, Some(reason));
        }
        let previous_tag = decision.ran_before(Some(&before));
        let high_water_before = match open.undelivered() {
            Some(undelivered) => high_water_without(undelivered, before.high_water),
            None => before.high_water,
        };
        self.add(Deployment {
            previous_tag,
            goes_back: decision.goes_back,
            high_water_before,
            ..Deployment::new(id, target, listed.tag.clone(), listed.digest.clone(), Trigger::Poll, now)
        });
    }
}

impl Decision {
    /// The tag that the stage runs, if known. The tag of a baseline is not; a probe at a first poll is.
    pub(crate) fn ran_before(&self, before: Option<&PollState>) -> Option<Tag> {
        before.and_then(PollState::deployed_tag).or_else(|| self.state.deployed_tag())
    }
}

#[cfg(test)]
mod tests;
