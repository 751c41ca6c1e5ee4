//! Delivering: what is recorded is carried out, at least once, never two at a time for one target.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::record::Recorded;
use super::{Context, Message, Mode};
use crate::deploy::{self, DeployError, Handover, Outcome};
use crate::plan::{self, DecidedBy, Deployed, Deployment, DeploymentState, Failure, Status, Told};
use crate::reference::{Digest, Tag};
use crate::report::{DeploymentReport, TargetReport};
use crate::store::{Attempt, AttemptEnd, Lock, StoreError};

/// Projects whose stages have something to deliver.
#[derive(Default)]
pub(super) struct Queue<'a> {
    state: Mutex<QueueState<'a>>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState<'a> {
    projects: VecDeque<Vec<Recorded<'a>>>,
    closed: bool,
}

impl<'a> Queue<'a> {
    /// Adds a project's stages, which go one after another in this order.
    pub(super) fn push(&self, stages: Vec<Recorded<'a>>) {
        self.lock().projects.push_back(stages);
        self.changed.notify_one();
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Vec<Recorded<'a>>> {
        let mut state = self.lock();
        loop {
            if let Some(stages) = state.projects.pop_front() {
                return Some(stages);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts `parallel_deploys` threads that deliver until the queue is closed and empty.
pub(super) fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: &'env Context<'env>,
    queue: &'env Queue<'env>,
    sender: &SyncSender<Message>,
) {
    for _ in 0..context.run.config.settings.parallel_deploys {
        let sender = sender.clone();
        scope.spawn(move || {
            while let Some(stages) = queue.next() {
                for recorded in stages {
                    let delivered = Delivery { context, sender: &sender }.deliver(recorded);
                    // The coordinator is gone only when the state failed; outcomes are recorded all the same.
                    let _ = sender.send(Message::Delivered(Box::new(delivered)));
                }
            }
        });
    }
}

pub(super) struct Delivery<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) sender: &'a SyncSender<Message>,
}

/// What is to be done with a deployment, as its row and the registry say when it is its turn.
enum Turn {
    Act(Box<Deployment>),
    /// Nothing, and this is what to say.
    Over(Box<TargetReport>),
}

impl Delivery<'_> {
    fn deliver(&self, recorded: Recorded<'_>) -> Result<TargetReport, StoreError> {
        if self.context.run.mode == Mode::Rehearse {
            return Ok(rehearsed(recorded.report));
        }
        if self.context.is_over() {
            let mut report = recorded.report;
            report.status = Status::Pending;
            report.news = true;
            "recorded; the run ended before its turn".clone_into(&mut report.reason);
            return Ok(report);
        }
        let store = self.context.run.store;
        let Some(lock) = store.lock(&recorded.target.id)? else {
            let mut report = recorded.report;
            report.status = Status::Deploying;
            "another run, or a command that it left behind, is deploying to it"
                .clone_into(&mut report.reason);
            return Ok(report);
        };
        self.deliver_locked(&recorded, &lock)
    }

    /// Carries out what is recorded for the target, whose lock is ours.
    pub(super) fn deliver_locked(
        &self,
        recorded: &Recorded<'_>,
        lock: &Lock,
    ) -> Result<TargetReport, StoreError> {
        match self.turn(recorded)? {
            Turn::Act(deployment) => self.act(recorded, &deployment, lock),
            Turn::Over(report) => Ok(*report),
        }
    }

    /// Reads the row again, now that nobody else can act on it, and the digest.
    fn turn(&self, recorded: &Recorded<'_>) -> Result<Turn, StoreError> {
        let now = Timestamp::now();
        let id = &recorded.target.id;
        let deployment = self.context.run.store.write(|write| {
            let open = write.open_deployments(id)?;
            // With the lock in our hands, a running row was interrupted.
            if let (Some(interrupted), Some(pending)) = (&open.running, &open.pending) {
                let reason = format!("interrupted; {} is newer", pending.tag);
                write.end_deployment(&interrupted.id, DeploymentState::Superseded, Some(&reason), now)?;
                return Ok(open.pending);
            }
            Ok(open.pending.or(open.running))
        })?;
        let Some(deployment) = deployment else {
            return Ok(Turn::Over(Box::new(self.elsewhere(recorded))));
        };
        if recorded.fresh_deployment.as_deref() == Some(&deployment.id) {
            return Ok(Turn::Act(Box::new(deployment)));
        }
        if let Some(report) = self.stopped(recorded, &deployment, now)? {
            return Ok(Turn::Over(Box::new(report)));
        }
        self.ask_again(recorded, deployment, now)
    }

    /// A hold, or the hour, stops what a poll decided, also after it was recorded.
    fn stopped(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        now: Timestamp,
    ) -> Result<Option<TargetReport>, StoreError> {
        if deployment.by == DecidedBy::Hand {
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
        let registry = self.context.registry(recorded.target);
        let digest = registry.digest(&deployment.repository, &deployment.tag);
        match digest {
            Ok(Some(digest)) if deployment.digest.as_ref() == Some(&digest) => {
                Ok(Turn::Act(Box::new(deployment)))
            }
            Ok(Some(digest)) => {
                self.with_other_digest(deployment, digest, now).map(|renewed| Turn::Act(Box::new(renewed)))
            }
            Ok(None) => self.without_manifest(recorded, deployment, now),
            // The outage is told with its listing, as often as outages are told.
            Err(_) if recorded.report.status == Status::Unknown => {
                Ok(Turn::Over(Box::new(recorded.report.clone())))
            }
            Err(error) => {
                let failure = self.context.failure(&error);
                let report = TargetReport {
                    status: Status::Unknown,
                    reason: failure.message.clone(),
                    failure: Some(failure),
                    news: true,
                    ..recorded.report.clone()
                };
                Ok(Turn::Over(Box::new(report)))
            }
        }
    }

    /// Another digest is another deployment: under the old id a receiver could take it for done.
    fn with_other_digest(
        &self,
        deployment: Deployment,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Deployment, StoreError> {
        let renewed = Deployment {
            id: uuid::Uuid::now_v7().to_string(),
            digest: Some(digest.clone()),
            state: DeploymentState::Pending,
            attempts: 0,
            created_at: now,
            ..deployment.clone()
        };
        self.context.run.store.write(|write| {
            let reason = format!("{} was pushed again: {digest}", deployment.tag);
            write.end_deployment(&deployment.id, DeploymentState::Superseded, Some(&reason), now)?;
            write.insert_deployment(&renewed)
        })?;
        Ok(renewed)
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
                self.context.run.store.write(|write| write.set_pending(&deployment.id))?;
            }
            Ok(_) => {
                report.status = Status::Older;
                report.reason = format!(
                    "{} was deleted before it was deployed; its deployment is dropped",
                    deployment.tag
                );
                self.context.run.store.write(|write| {
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
            }
        }
        Ok(Turn::Over(Box::new(report)))
    }

    fn act(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        lock: &Lock,
    ) -> Result<TargetReport, StoreError> {
        let run = self.context.run;
        let number = deployment.attempts.saturating_add(1);
        let attempt = Attempt { deployment_id: &deployment.id, number };
        run.store.write(|write| write.begin_attempt(attempt, Timestamp::now()))?;
        let started = Instant::now();
        let handover = Handover {
            target: recorded.target,
            tag: &deployment.tag,
            digest: deployment.digest.as_ref(),
            previous_tag: deployment.previous_tag.as_ref(),
            deployment_id: &deployment.id,
            attempt: number,
        };
        let on_output = |line: &str| {
            let _ = self.sender.send(Message::Output(recorded.target.id.clone(), line.to_owned()));
        };
        let outcome = deploy::deploy(&handover, &run.secrets, lock.file(), run.stop, &on_output);
        let duration = started.elapsed();
        self.keep_outcome(deployment, attempt, &outcome)?;
        Ok(delivered(recorded, deployment, number, duration, outcome))
    }

    fn keep_outcome(
        &self,
        deployment: &Deployment,
        attempt: Attempt<'_>,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let error = outcome.result.as_ref().err();
        let end = AttemptEnd {
            exit_status: outcome.exit_status,
            http_status: outcome.http_status,
            error: error.map(|error| (error.code, error.message.as_str())),
        };
        self.context.run.store.write(|write| {
            write.end_attempt(attempt, end, now)?;
            match error {
                None => write.end_deployment(&deployment.id, DeploymentState::Succeeded, None, now)?,
                Some(error) => {
                    // A newer one that was recorded meanwhile takes its place.
                    match write.open_deployments(&deployment.target)?.pending {
                        Some(newer) => {
                            let reason = format!("failed; {} is newer", newer.tag);
                            write.end_deployment(
                                &deployment.id,
                                DeploymentState::Superseded,
                                Some(&reason),
                                now,
                            )?;
                        }
                        None => write.set_pending(&deployment.id)?,
                    }
                    if !error.started {
                        write.withdraw_attempt(attempt)?;
                    }
                }
            }
            if let Some(mut state) = write.state(&deployment.target)? {
                let status = status_of(&outcome.result);
                state.status = Some(status);
                state.told = Some(Told { status, tag: Some(deployment.tag.clone()) });
                if error.is_none() {
                    let (tag, digest) = (deployment.tag.clone(), deployment.digest.clone());
                    state.deployed = Some(Deployed { tag, digest, at: now, by: DecidedBy::Poll });
                }
                write.save_state(&deployment.target, &state)?;
            }
            Ok(())
        })?;
        if !outcome.output.is_empty() {
            self.context.run.store.write(|write| write.set_output(attempt, &outcome.output))?;
        }
        Ok(())
    }

    /// Another run finished it between our decision and our turn.
    fn elsewhere(&self, recorded: &Recorded<'_>) -> TargetReport {
        TargetReport {
            status: Status::UpToDate,
            reason: "another run delivered it meanwhile".to_owned(),
            deployment: None,
            ..recorded.report.clone()
        }
    }
}

fn status_of(result: &Result<(), DeployError>) -> Status {
    match result {
        Ok(()) => Status::Deployed,
        // tagship was told to stop: the next poll takes it up again.
        Err(error) if error.interrupted => Status::Pending,
        Err(_) => Status::Failed,
    }
}

fn rehearsed(mut report: TargetReport) -> TargetReport {
    report.status = Status::WouldDeploy;
    report.news = true;
    report
}

fn delivered(
    recorded: &Recorded<'_>,
    deployment: &Deployment,
    attempt: u32,
    duration: Duration,
    outcome: Outcome,
) -> TargetReport {
    let succeeded = outcome.result.is_ok();
    let status = status_of(&outcome.result);
    let failure = outcome.result.err().map(|error| Failure { code: error.code, message: error.message });
    let deployed_tag: Option<Tag> =
        if succeeded { Some(deployment.tag.clone()) } else { recorded.report.deployed_tag.clone() };
    TargetReport {
        target: deployment.target.clone(),
        status,
        reason: recorded.report.reason.clone(),
        until: None,
        latest_tag: Some(deployment.tag.clone()),
        previous_tag: deployment.previous_tag.clone(),
        deployed_tag,
        digest: deployment.digest.clone(),
        deployment: Some(DeploymentReport {
            id: deployment.id.clone(),
            state: if succeeded { DeploymentState::Succeeded } else { DeploymentState::Pending },
            attempt,
            duration,
            output: outcome.output,
        }),
        failure,
        news: true,
    }
}
