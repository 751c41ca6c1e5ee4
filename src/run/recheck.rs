//! The recheck of a deployment under the target's lock: its row, its target and its registry once more.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};

use super::deliver::{Delivery, not_started};
use super::facts::{Answers, FromEveryone};
use super::record::Recorded;
use crate::engine::{
    self, BackTo, Change, Deployment, Failure, NextAttempt, PollState, Recheck, Status, TargetEvent,
};
use crate::reference::Digest;
use crate::registry::RegistryError;
use crate::report::TargetReport;
use crate::store::{StoreError, Write};
use crate::target::Target;

/// A deployment that waited for another one no longer than this needs no second request for its digest.
const A_MOMENT: SignedDuration = SignedDuration::from_secs(10);

/// The deployment to carry out, or the report if nothing remains to do.
pub(super) type Rechecked = ControlFlow<Box<TargetReport>, Box<Deployment>>;

impl Delivery<'_> {
    /// Reads the row again, and checks again everything that may have changed since it was recorded.
    pub(super) fn recheck(&self, recorded: &Recorded<'_>) -> Result<Rechecked, StoreError> {
        let now = Timestamp::now();
        let id = &recorded.target.id;
        let (open, state) = self.context.run.store.write(|write| {
            let open = write.open_deployments(id)?;
            // This run has the lock, so a `running` row was interrupted.
            if let (Some(deployment), Some(pending)) = (&open.running, &open.pending) {
                let event = TargetEvent::InterruptedAndSuperseded { deployment, newer: &pending.tag };
                write.commit(recorded.target, &[], event, now)?;
            }
            Ok((open, write.state(id)?))
        })?;
        let is_interrupted = open.pending.is_none();
        let Some(deployment) = open.pending.or(open.running) else {
            return Ok(finished(self.superseded(recorded)));
        };
        if let Some(next) = deployment.next_attempt.filter(|_| !is_interrupted && !deployment.is_due(now)) {
            return Ok(finished(tried_by_another_run(recorded, next)));
        }
        if let Some(event) = no_longer_wanted(recorded.target, &deployment) {
            // While the registry is down, that is reported, and the deployment waits for its answer.
            let is_down = recorded.report.status == Status::Unknown;
            let report = if is_down { recorded.report.clone() } else { self.end(recorded, event)? };
            return Ok(finished(report));
        }
        if let Some(report) = withheld(recorded, &deployment, state.as_ref(), now) {
            return Ok(finished(report));
        }
        let has_waited =
            self.busy_until.is_some_and(|busy| busy.duration_since(deployment.created_at) > A_MOMENT);
        let is_fresh = recorded.fresh_deployment.as_deref() == Some(&deployment.id) && !has_waited;
        let deployment = if is_fresh {
            deployment
        } else {
            match self.recheck_digest(recorded, deployment)? {
                Rechecked::Continue(deployment) => *deployment,
                ended @ Rechecked::Break(_) => return Ok(ended),
            }
        };
        // A manual deployment is sent without further checks, unless it may have been sent before.
        let is_asked = !deployment.by.is_manual() || is_interrupted;
        if is_asked && let Some(report) = self.adopt(recorded, &deployment)? {
            return Ok(finished(report));
        }
        Ok(Rechecked::Continue(Box::new(deployment)))
    }

    /// Ends the deployment without an attempt, and reports it.
    fn end(&self, recorded: &Recorded<'_>, event: TargetEvent<'_>) -> Result<TargetReport, StoreError> {
        let change = self.commit(recorded.target, event)?;
        Ok(change.map_or_else(|| self.superseded(recorded), |change| ended(recorded, &change)))
    }

    /// Checks that the digest is unchanged since the deployment was recorded.
    fn recheck_digest(
        &self,
        recorded: &Recorded<'_>,
        deployment: Deployment,
    ) -> Result<Rechecked, StoreError> {
        if deployment.by.is_manual() && self.ran_before(&deployment)? {
            // The recorded digest is used, even if the tag has another one now.
            return Ok(Rechecked::Continue(Box::new(deployment)));
        }
        let registry = self.context.registry(recorded.target);
        let digest = registry.digest(&deployment.repository, &deployment.tag);
        match digest {
            Ok(Some(digest)) if deployment.digest.as_ref() == Some(&digest) => {
                Ok(Rechecked::Continue(Box::new(deployment)))
            }
            Ok(Some(digest)) => {
                if let Some(report) = self.recheck_gates(recorded, &deployment, &digest)? {
                    return Ok(finished(report));
                }
                // A new digest needs a new deployment: a receiver may ignore an ID that it has seen.
                let id = uuid::Uuid::now_v7().to_string();
                let event = TargetEvent::DigestMoved { deployment: &deployment, digest, id };
                let renewed = self.commit(recorded.target, event)?.and_then(|mut change| change.rows.pop());
                Ok(renewed.map_or_else(
                    || finished(self.superseded(recorded)),
                    |renewed| Rechecked::Continue(Box::new(renewed.deployment)),
                ))
            }
            Ok(None) => self.without_manifest(recorded, &deployment),
            Err(RegistryError::OutOfTime(_)) => Ok(finished(not_started(self.context.run.mode, recorded))),
            Err(error) => Ok(finished(unknown(recorded, self.context.failure(&error)))),
        }
    }

    /// Forgets the answers of the gates, which were about another image.
    fn recheck_gates(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        digest: &Digest,
    ) -> Result<Option<TargetReport>, StoreError> {
        if deployment.by.is_manual() {
            return Ok(None);
        }
        let (context, target) = (self.context, recorded.target);
        let state = context.run.store.state(&target.id)?;
        let answers = Answers::default();
        answers.know_digest(deployment.tag.clone(), digest.clone());
        let facts = FromEveryone { context, target, answers: &answers };
        Ok(match engine::recheck(target, state.as_ref(), deployment, digest, &facts, Timestamp::now()) {
            Recheck::Passes => None,
            Recheck::Blocked { reason, until } => {
                let status = Status::Waiting;
                Some(TargetReport { status, reason, until, ..recorded.report.clone() })
            }
            Recheck::Unknown(failure) => Some(unknown(recorded, failure)),
        })
    }

    /// Whether the deployment restores the target's earlier tag and digest.
    fn ran_before(&self, deployment: &Deployment) -> Result<bool, StoreError> {
        let Deployment { target, repository, tag, digest, .. } = deployment;
        let runs = self.context.run.store.runs_of(target, repository)?;
        Ok(digest.is_some() && runs.iter().any(|run| run.tag == *tag && run.digest == *digest))
    }

    fn without_manifest(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
    ) -> Result<Rechecked, StoreError> {
        let mut report = recorded.report.clone();
        match self.context.registry(recorded.target).list_tags(&deployment.repository) {
            Err(RegistryError::OutOfTime(_)) => report = not_started(self.context.run.mode, recorded),
            Err(error) => {
                report = unknown(recorded, self.context.failure(&error));
            }
            Ok(listing) if listing.tags.iter().any(|listed| listed.tag == deployment.tag) => {
                report.status = Status::Waiting;
                report.reason =
                    format!("{} is listed, but the registry has no manifest for it", deployment.tag);
                self.commit(recorded.target, TargetEvent::ManifestMissing(deployment))?;
            }
            Ok(_) => report = self.end(recorded, TargetEvent::TagGone(deployment))?,
        }
        Ok(finished(report))
    }

    /// The report if another run finished or took over the deployment, or another tag was marked, after the
    /// decision.
    pub(super) fn superseded(&self, recorded: &Recorded<'_>) -> TargetReport {
        if recorded.report.status == Status::Unknown {
            return recorded.report.clone();
        }
        TargetReport {
            status: Status::UpToDate,
            reason: "superseded by another run or by `tagship mark`".to_owned(),
            deployment: None,
            ..recorded.report.clone()
        }
    }
}

/// The rollback to carry out if tagship gives up the deployment.
pub(super) fn back_to(
    write: &Write<'_>,
    target: &Target,
    deployment: &Deployment,
) -> rusqlite::Result<Option<BackTo>> {
    if !engine::is_followed(target, deployment) {
        return Ok(None);
    }
    let runs = write.runs_of(&target.id, &target.image.repository)?;
    Ok(engine::back_to(deployment, &runs, uuid::Uuid::now_v7().to_string()))
}

/// The event if the configuration was edited so that the deployment is not carried out.
fn no_longer_wanted<'d>(target: &Target, deployment: &'d Deployment) -> Option<TargetEvent<'d>> {
    // A person may deploy a tag that the rule does not match.
    let is_of_the_rule = !deployment.by.is_manual();
    if (is_of_the_rule || deployment.repository != target.image.repository)
        && let Some(reason) = engine::outdated(target, deployment)
    {
        return Some(TargetEvent::NoLongerMatches { deployment, reason });
    }
    (is_of_the_rule && !target.auto_deploy).then_some(TargetEvent::NoLongerAutomatic(deployment))
}

/// The report if a hold or a window blocks a deployment that a poll has already recorded.
fn withheld(
    recorded: &Recorded<'_>,
    deployment: &Deployment,
    state: Option<&PollState>,
    now: Timestamp,
) -> Option<TargetReport> {
    let (status, reason, until) = engine::withheld(recorded.target, state?, deployment, now)?;
    let reason = format!("{}: {reason}", deployment.tag);
    Some(TargetReport { status, reason, until, ..recorded.report.clone() })
}

pub(super) fn unknown(recorded: &Recorded<'_>, failure: Failure) -> TargetReport {
    TargetReport {
        status: Status::Unknown,
        reason: failure.message.clone(),
        failure: Some(failure),
        ..recorded.report.clone()
    }
}

fn finished(report: TargetReport) -> Rechecked {
    Rechecked::Break(Box::new(report))
}

/// The report of an event without an attempt.
pub(super) fn ended(recorded: &Recorded<'_>, change: &Change) -> TargetReport {
    let before = recorded.report.clone();
    TargetReport {
        status: change.state.status.unwrap_or(before.status),
        reason: change.state.reason.clone().unwrap_or_default(),
        until: change.state.until,
        failure: change.failure.clone(),
        is_reportable: true,
        ..before
    }
}

/// The report if another run tried the deployment after the decision, and it failed.
fn tried_by_another_run(recorded: &Recorded<'_>, next: NextAttempt) -> TargetReport {
    TargetReport {
        status: Status::Retrying,
        reason: "another run tried it, and it failed".to_owned(),
        until: Some(next.at),
        ..recorded.report.clone()
    }
}
