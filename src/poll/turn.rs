//! A deployment's turn: what its row, its target and its registry say now that nobody else can act on it.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::deliver::Delivery;
use super::outbox;
use super::record::Recorded;
use crate::plan::{self, Deployment, DeploymentState, ErrorCode, Failure, NextAttempt, Status};
use crate::reference::Digest;
use crate::report::TargetReport;
use crate::store::StoreError;

/// The deployment that is to be carried out, or what to say where there is nothing to be done.
pub(super) type Turn = ControlFlow<Box<TargetReport>, Box<Deployment>>;

impl Delivery<'_> {
    /// Reads the row again, and asks again what may have changed since it was recorded.
    pub(super) fn turn(&self, recorded: &Recorded<'_>) -> Result<Turn, StoreError> {
        let now = Timestamp::now();
        let id = &recorded.target.id;
        let open = self.context.run.store.write(|write| {
            let open = write.open_deployments(id)?;
            // With the lock in our hands, a running row was interrupted.
            if let (Some(interrupted), Some(pending)) = (&open.running, &open.pending) {
                let reason = format!("interrupted; {} is newer", pending.tag);
                write.end_deployment(&interrupted.id, DeploymentState::Superseded, Some(&reason), now)?;
            }
            Ok(open)
        })?;
        let is_interrupted = open.pending.is_none();
        let Some(deployment) = open.pending.or(open.running) else {
            return Ok(over(self.elsewhere(recorded)));
        };
        if let Some(next) = deployment.next_attempt.filter(|_| !is_interrupted && !deployment.is_due(now)) {
            return Ok(over(tried_elsewhere(recorded, next)));
        }
        let deployment = if recorded.fresh_deployment.as_deref() == Some(&deployment.id) {
            deployment
        } else {
            if let Some(report) = self.stopped(recorded, &deployment, now)? {
                return Ok(over(report));
            }
            match self.ask_again(recorded, deployment, now)? {
                Turn::Continue(deployment) => *deployment,
                told @ Turn::Break(_) => return Ok(told),
            }
        };
        // What someone wants by hand is sent, unless it may have been already.
        let is_asked = !deployment.by.is_manual() || is_interrupted;
        if is_asked && let Some(report) = self.adopt(recorded, &deployment)? {
            return Ok(over(report));
        }
        if is_interrupted && deployment.is_used_up(&recorded.target.retry) {
            return self.give_up_interrupted(recorded, &deployment, now).map(over);
        }
        Ok(Turn::Continue(Box::new(deployment)))
    }

    /// Something ends tagship at every attempt: that is no way to go on for ever.
    fn give_up_interrupted(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        now: Timestamp,
    ) -> Result<TargetReport, StoreError> {
        let failure = Failure {
            code: ErrorCode::Command,
            message: "interrupted in its last attempt; what ended tagship? (a time limit, too little memory)"
                .to_owned(),
        };
        let given_up = self.while_current(deployment, |write| {
            write.end_deployment(&deployment.id, DeploymentState::Dead, Some(&failure.message), now)?;
            let (config, status) = (self.context.run.config, Status::Dead);
            outbox::note_attempt(write, config, deployment, status, Some(&failure), true, now)
        })?;
        if given_up.is_none() {
            return Ok(self.elsewhere(recorded));
        }
        Ok(TargetReport {
            status: Status::Dead,
            reason: failure.message.clone(),
            failure: Some(failure),
            news: true,
            ..recorded.report.clone()
        })
    }

    /// A hold, or the hour, stops what a poll decided, also after it was recorded.
    fn stopped(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        now: Timestamp,
    ) -> Result<Option<TargetReport>, StoreError> {
        if deployment.by.is_manual() {
            return Ok(None);
        }
        let state = self.context.run.store.write(|write| write.state(&deployment.target))?;
        let stopped = state.and_then(|state| plan::stopped(recorded.target, &state, now));
        Ok(stopped.map(|(status, reason, until)| TargetReport {
            status,
            reason: format!("{}: {reason}", deployment.tag),
            until,
            ..recorded.report.clone()
        }))
    }

    /// The digest may have moved since the deployment was recorded.
    fn ask_again(
        &self,
        recorded: &Recorded<'_>,
        deployment: Deployment,
        now: Timestamp,
    ) -> Result<Turn, StoreError> {
        if deployment.by.is_manual() && self.ran_before(&deployment)? {
            // Whatever the tag points at by now.
            return Ok(Turn::Continue(Box::new(deployment)));
        }
        let registry = self.context.registry(recorded.target);
        let digest = registry.digest(&deployment.repository, &deployment.tag);
        match digest {
            Ok(Some(digest)) if deployment.digest.as_ref() == Some(&digest) => {
                Ok(Turn::Continue(Box::new(deployment)))
            }
            Ok(Some(digest)) => {
                let renewed = self.with_other_digest(deployment, digest, now)?;
                Ok(renewed.map_or_else(
                    || over(self.elsewhere(recorded)),
                    |renewed| Turn::Continue(Box::new(renewed)),
                ))
            }
            Ok(None) => self.without_manifest(recorded, deployment, now),
            // The outage is told with its listing, as often as outages are told.
            Err(_) if recorded.report.status == Status::Unknown => Ok(over(recorded.report.clone())),
            Err(error) => {
                let failure = self.context.failure(&error);
                let report = TargetReport {
                    status: Status::Unknown,
                    reason: failure.message.clone(),
                    failure: Some(failure),
                    news: true,
                    ..recorded.report.clone()
                };
                Ok(over(report))
            }
        }
    }

    /// Whether the deployment brings back what its target ran, by tag and digest.
    fn ran_before(&self, deployment: &Deployment) -> Result<bool, StoreError> {
        let Deployment { target, tag, digest, .. } = deployment;
        let runs = self.context.run.store.runs(target)?;
        Ok(digest.is_some() && runs.iter().any(|run| run.tag == *tag && run.digest == *digest))
    }

    /// Another digest is another deployment: under the old id a receiver could take it for done. None:
    /// another run took it over while we asked.
    fn with_other_digest(
        &self,
        deployment: Deployment,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Option<Deployment>, StoreError> {
        let renewed = Deployment {
            id: uuid::Uuid::now_v7().to_string(),
            digest: Some(digest.clone()),
            state: DeploymentState::Pending,
            attempts: 0,
            attempts_forgiven: 0,
            next_attempt: None,
            created_at: now,
            ..deployment.clone()
        };
        self.while_current(&deployment, |write| {
            let reason = format!("{} was pushed again: {digest}", deployment.tag);
            write.end_deployment(&deployment.id, DeploymentState::Superseded, Some(&reason), now)?;
            write.insert_deployment(&renewed)?;
            // Else the next poll would take it for another push.
            if let Some(mut state) = write.state(&deployment.target)?
                && let Some(given) = state.high_water.as_mut().filter(|given| given.tag == deployment.tag)
            {
                given.digest = Some(digest.clone());
                write.save_state(&deployment.target, &state)?;
            }
            Ok(renewed)
        })
    }

    fn without_manifest(
        &self,
        recorded: &Recorded<'_>,
        deployment: Deployment,
        now: Timestamp,
    ) -> Result<Turn, StoreError> {
        let mut report = recorded.report.clone();
        report.news = true;
        let listing = self.context.registry(recorded.target).list_tags(&deployment.repository);
        match listing {
            Err(error) => {
                let failure = self.context.failure(&error);
                report.status = Status::Unknown;
                report.reason.clone_from(&failure.message);
                report.failure = Some(failure);
            }
            Ok(listing) if listing.tags.iter().any(|listed| listed.tag == deployment.tag) => {
                report.status = Status::Waiting;
                report.reason =
                    format!("{} is listed, but the registry has no manifest for it", deployment.tag);
                self.while_current(&deployment, |write| write.set_pending(&deployment.id, None))?;
            }
            Ok(_) => {
                report.status = Status::Older;
                report.reason = format!(
                    "{} was deleted before it was deployed; its deployment is dropped",
                    deployment.tag
                );
                let dropped = self.while_current(&deployment, |write| {
                    write.end_deployment(
                        &deployment.id,
                        DeploymentState::Dropped,
                        Some(&report.reason),
                        now,
                    )?;
                    if let Some(mut state) = write.state(&deployment.target)? {
                        state.high_water.clone_from(&deployment.high_water_before);
                        write.save_state(&deployment.target, &state)?;
                    }
                    Ok(())
                })?;
                if dropped.is_none() {
                    return Ok(over(self.elsewhere(recorded)));
                }
            }
        }
        Ok(over(report))
    }

    /// Another run finished it, or took it over, or another tag was marked, between our decision and our turn.
    pub(super) fn elsewhere(&self, recorded: &Recorded<'_>) -> TargetReport {
        if recorded.report.status == Status::Unknown {
            return recorded.report.clone();
        }
        TargetReport {
            status: Status::UpToDate,
            reason: "another run took it over, or another tag was marked, meanwhile".to_owned(),
            deployment: None,
            ..recorded.report.clone()
        }
    }
}

fn over(report: TargetReport) -> Turn {
    Turn::Break(Box::new(report))
}

/// Another run tried it between our decision and our turn, and it failed.
fn tried_elsewhere(recorded: &Recorded<'_>, next: NextAttempt) -> TargetReport {
    TargetReport {
        status: Status::Retrying,
        reason: "another run tried it meanwhile, and it failed".to_owned(),
        until: Some(next.at),
        ..recorded.report.clone()
    }
}
