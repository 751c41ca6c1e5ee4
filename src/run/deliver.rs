//! Carries out recorded deployments: at least once, and never two at a time for one target.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::Instant;

use jiff::Timestamp;

use super::recheck::unknown;
use super::record::Recorded;
use super::stage::longest;
use super::{Context, Message, Mode};
use crate::deploy::{self, DeployRequest, Watch};
use crate::engine::{
    self, Change, Deployment, DeploymentState, ErrorCode, Failure, Status, TargetEvent, Trigger,
};
use crate::process::Leader;
use crate::report::{Phase, TargetReport};
use crate::stop::Cutoff;
use crate::store::{Attempt, Lock, StoreError};
use crate::target::Target;

/// Projects with stages to deploy.
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
    /// Adds a project's stages, to be deployed one after another in this order.
    pub(super) fn push(&self, stages: Vec<Recorded<'a>>) {
        self.lock().projects.push_back(stages);
        self.changed.notify_one();
    }

    /// Closes the queue: no more stages follow.
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

/// Starts `parallel_deploys` threads, if there is a target for each, that deliver until the queue is closed and
/// empty.
///
/// # Errors
/// No thread can be started.
pub(super) fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: &'env Context<'env>,
    queue: &'env Queue<'env>,
    sender: &SyncSender<Message>,
    shows_output: bool,
) -> io::Result<()> {
    for number in 0..context.run.config.settings.parallel_deploys.min(context.targets.len()) {
        let sender = sender.clone();
        let started = thread::Builder::new().spawn_scoped(scope, move || {
            let cutoff = context.cutoff.clone();
            let mut delivery = Delivery { context, cutoff, sender: &sender, shows_output, busy_until: None };
            while let Some(stages) = queue.next() {
                for recorded in stages {
                    let report = delivery.deliver(&recorded);
                    let report = report.unwrap_or_else(|error| delivery.failed_by_state(&recorded, &error));
                    delivery.busy_until = Some(Timestamp::now());
                    // The coordinator waits for every deployment in the queue.
                    let _ = sender.send(Message::Delivered(Box::new(report)));
                }
            }
        });
        match started {
            Err(error) if number == 0 => return Err(error),
            // The threads that did start do the work of the missing one.
            Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(())
}

pub(super) struct Delivery<'a> {
    pub(super) context: &'a Context<'a>,
    /// No attempt begins after it.
    pub(super) cutoff: Cutoff,
    pub(super) sender: &'a SyncSender<Message>,
    /// Whether to send output while the deployment runs.
    pub(super) shows_output: bool,
    /// When the deployment before was over: this one waited for it if it is older.
    pub(super) busy_until: Option<Timestamp>,
}

impl Delivery<'_> {
    fn deliver(&self, recorded: &Recorded<'_>) -> Result<TargetReport, StoreError> {
        let mode = self.context.run.mode;
        if mode == Mode::DryRun || self.cutoff.is_reached() {
            return Ok(not_started(mode, recorded));
        }
        match self.context.run.store.lock(&recorded.target.id)? {
            Some(lock) => self.deliver_locked(recorded, &lock),
            None => self.unsent(recorded, self.busy(recorded)?),
        }
    }

    /// The report if the target's lock or rows cannot be used. Nothing was sent, so its deployment waits for
    /// the next poll. Other targets continue.
    pub(super) fn failed_by_state(&self, recorded: &Recorded<'_>, error: &StoreError) -> TargetReport {
        if matches!(error, StoreError::CutShort { .. }) {
            return not_started(self.context.run.mode, recorded);
        }
        let failure = self.context.state_failure(error);
        // If only the lock is unusable, the state can still record the failure for notifications.
        let _ = self.commit(recorded.target, TargetEvent::StateFailed(failure.clone()));
        TargetReport {
            status: Status::Failed,
            reason: failure.message.clone(),
            until: None,
            deployment: None,
            failure: Some(failure),
            is_reportable: true,
            ..recorded.report.clone()
        }
    }

    /// Carries out the target's recorded deployment. The caller has the lock.
    pub(super) fn deliver_locked(
        &self,
        recorded: &Recorded<'_>,
        lock: &Lock,
    ) -> Result<TargetReport, StoreError> {
        let deployment = match self.recheck(recorded)? {
            ControlFlow::Continue(deployment) => deployment,
            ControlFlow::Break(report) => return self.unsent(recorded, *report),
        };
        let report = self.act(recorded, &deployment, lock)?;
        let is_given_up = report.status == Status::Dead && engine::is_followed(recorded.target, &deployment);
        Ok(if is_given_up { self.roll_back(recorded, report, lock) } else { report })
    }

    /// After tagship gave up a deployment, carries out the recorded rollback.
    fn roll_back(&self, recorded: &Recorded<'_>, given_up: TargetReport, lock: &Lock) -> TargetReport {
        let failed = given_up.latest_tag.as_ref().map_or_else(String::new, ToString::to_string);
        let why = given_up.failure.as_ref().map_or_else(String::new, |failure| failure.message.clone());
        let not_back = |what: String| {
            let failure = given_up
                .failure
                .clone()
                .map(|failure| Failure { message: format!("{}; {what}", failure.message), ..failure });
            TargetReport { failure, ..given_up.clone() }
        };
        match self.rolled_back(recorded, lock) {
            Ok(Ok(report)) => TargetReport {
                reason: format!("gave up on {failed}: {why}"),
                failure: given_up.failure,
                ..report
            },
            Ok(Err(what)) => not_back(what),
            Err(error) => {
                not_back(format!("not rolled back yet: {}", self.context.state_failure(&error).message))
            }
        }
    }

    /// Carries out the recorded rollback. Reports why none was recorded, or why it failed.
    fn rolled_back(
        &self,
        recorded: &Recorded<'_>,
        lock: &Lock,
    ) -> Result<Result<TargetReport, String>, StoreError> {
        let store = &self.context.run.store;
        let open = store.write(|write| write.open_deployments(&recorded.target.id))?;
        let tag = match open.pending {
            Some(rollback) if rollback.is_automatic_rollback() => rollback.tag,
            Some(newer) => return Ok(Err(format!("not rolled back: {} is planned", newer.tag))),
            None => return Ok(Err(self.why_none(recorded.target)?)),
        };
        let report = match self.recheck(recorded)? {
            ControlFlow::Continue(next) if !next.is_automatic_rollback() => self.superseded(recorded),
            ControlFlow::Continue(_) if store.is_acted_on(&recorded.target.id)? => self.busy(recorded)?,
            ControlFlow::Continue(rollback) => self.act(recorded, &rollback, lock)?,
            ControlFlow::Break(report) => *report,
        };
        let reason = report.failure.as_ref().map_or(&report.reason, |failure| &failure.message);
        let is_unrecorded = report.failure.as_ref().is_some_and(|failure| failure.code == ErrorCode::State);
        Ok(match report.status {
            Status::RolledBack => Ok(report),
            Status::Failed | Status::Dead if !is_unrecorded => {
                Err(format!("the rollback to {tag} failed: {reason}"))
            }
            Status::Failed | Status::Pending | Status::Deploying | Status::Unknown | Status::Waiting => {
                Err(format!("the rollback to {tag} waits for the next poll: {reason}"))
            }
            _ => Err(format!("not rolled back: {reason}")),
        })
    }

    /// The reason that no rollback was recorded.
    fn why_none(&self, target: &Target) -> Result<String, StoreError> {
        let runs = self.context.run.store.runs_of(&target.id, &target.image.repository)?;
        let marked = runs.last().filter(|run| run.by == Trigger::Mark);
        Ok(marked.map_or_else(
            || "no other image is known to roll back to".to_owned(),
            |run| format!("not rolled back: {} was marked as deployed", run.tag),
        ))
    }

    /// Applies an event to a target in one transaction. None: the event is about a deployment that is no longer
    /// the pending one.
    pub(super) fn commit(
        &self,
        target: &Target,
        event: TargetEvent<'_>,
    ) -> Result<Option<Change>, StoreError> {
        let run = self.context.run;
        run.store.write(|write| write.commit(target, &run.config.notifiers, event, Timestamp::now()))
    }

    fn act(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        lock: &Lock,
    ) -> Result<TargetReport, StoreError> {
        let run = self.context.run;
        let is_interrupted = deployment.state == DeploymentState::Running;
        if is_interrupted && deployment.is_used_up(&recorded.target.retry) {
            return self.give_up(recorded, deployment);
        }
        if self.cutoff.is_reached() {
            return Ok(not_started(run.mode, recorded));
        }
        let target = recorded.target;
        let (tag, digest) = (&deployment.tag, deployment.digest.as_ref());
        let labels = match self.context.labels(target, tag, digest, &target.deploy) {
            Ok(labels) => labels,
            Err(Failure { code: ErrorCode::OutOfTime, .. }) => return Ok(not_started(run.mode, recorded)),
            Err(failure) => return self.unsent(recorded, unknown(recorded, failure)),
        };
        self.end_outage(recorded)?;
        let number = deployment.attempts.saturating_add(1);
        let attempt = Attempt { deployment_id: &deployment.id, number };
        let now = Timestamp::now();
        let over_by = now.checked_add(longest(recorded.target)).unwrap_or(Timestamp::MAX);
        let begun = run.store.write(|write| {
            let begins = write.is_current(deployment)?;
            if begins {
                write.begin_attempt(attempt, now, over_by)?;
            }
            Ok(begins)
        })?;
        if !begun {
            return Ok(self.superseded(recorded));
        }
        let deployment =
            &Deployment { state: DeploymentState::Running, attempts: number, ..deployment.clone() };
        let started = Instant::now();
        let request = DeployRequest {
            target: recorded.target,
            tag: &deployment.tag,
            digest: deployment.digest.as_ref(),
            labels: &labels,
            previous_tag: deployment.previous_tag.as_ref(),
            deployment_id: &deployment.id,
            attempt: number,
        };
        let (target, of) = (&recorded.target.id, recorded.target.deploy.len());
        let gets = |phase| Message::Deploying(target.clone(), deployment.tag.clone(), phase);
        let on_step = |number| drop(self.sender.send(gets(Phase::Step { number, of })));
        let on_output =
            |lines: &str| drop(self.sender.send(Message::Output(target.clone(), lines.to_owned())));
        // If this cannot be recorded, the environment of the process still shows that it runs.
        let on_start = |leader: &Leader| drop(run.store.write(|write| write.save_leader(attempt, leader)));
        let watch = Watch {
            on_start: &on_start,
            on_step: &on_step,
            on_output: self.shows_output.then_some(&on_output),
        };
        let mut outcome = deploy::deploy(&request, &run.secrets, lock.file(), run.stop, watch);
        if outcome.result.is_ok() && recorded.target.running.is_some() {
            let _ = self.sender.send(gets(Phase::Verifying));
            outcome.result = deploy::verify(&request, &run.secrets, run.stop);
        }
        let duration = started.elapsed();
        Ok(self.conclude(recorded, deployment, duration, outcome))
    }
}

/// The report of a planned deployment that did not start. It is recorded, and waits for the next poll.
pub(super) fn not_started(mode: Mode, recorded: &Recorded<'_>) -> TargetReport {
    let mut report = TargetReport { is_reportable: true, ..recorded.report.clone() };
    match mode {
        Mode::DryRun => report.status = Status::WouldDeploy,
        Mode::Deliver => {
            report.status = Status::Pending;
            "planned; the run ended before it could start".clone_into(&mut report.reason);
        }
    }
    report
}
