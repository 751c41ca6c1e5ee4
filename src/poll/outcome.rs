//! What came of an attempt: kept in the state first, then reported.

use std::time::Duration;

use jiff::Timestamp;

use super::deliver::Delivery;
use super::record::Recorded;
use super::{Message, outbox};
use crate::deploy::{DeployError, Outcome};
use crate::plan::{self, Deployed, Deployment, DeploymentState, Failed, Failure, NextAttempt, Status, Told};
use crate::report::{DeploymentReport, TargetReport};
use crate::store::{Attempt, AttemptEnd, StoreError, Write};

/// What becomes of a deployment after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Done,
    /// tagship was told to stop: the next poll takes it up again.
    Resumed,
    Again(NextAttempt),
    GivenUp,
    /// A newer one that was recorded meanwhile takes its place.
    Superseded,
}

impl Delivery<'_> {
    /// Records the outcome, then its output, and reports it.
    pub(super) fn conclude(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        attempt: Attempt<'_>,
        duration: Duration,
        outcome: Outcome,
    ) -> TargetReport {
        let now = Timestamp::now();
        let next = self.context.run.store.write(|write| {
            let next = next(write, recorded, deployment, attempt.number, outcome.result.as_ref().err(), now)?;
            let had_failed = write.last_attempt_failed(&deployment.target, attempt)?;
            keep(write, deployment, attempt, &outcome, next, now)?;
            let error = outcome.result.as_ref().err();
            let failure = error.map(|error| Failure { code: error.code, message: error.message.clone() });
            if next != Next::Superseded {
                let (config, status) = (self.context.run.config, status_of(next));
                outbox::note_attempt(write, config, deployment, status, failure.as_ref(), had_failed, now)?;
            }
            Ok(next)
        });
        let next = match next {
            Ok(next) => next,
            Err(error) => return self.unrecorded(recorded, deployment, attempt, duration, outcome, &error),
        };
        if !outcome.output.is_empty()
            && let Err(error) =
                self.context.run.store.write(|write| write.set_output(attempt, &outcome.output))
        {
            let text = format!("{}: cannot keep the output of its deployment: {error}", deployment.target);
            let _ = self.sender.send(Message::Warning(text));
        }
        report(recorded, deployment, attempt.number, duration, outcome, next)
    }

    /// The row stays `running` without a lock: the next poll takes the deployment for interrupted.
    fn unrecorded(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        attempt: Attempt<'_>,
        duration: Duration,
        outcome: Outcome,
        error: &StoreError,
    ) -> TargetReport {
        let ended = match &outcome.result {
            Ok(()) => format!("{} was deployed", deployment.tag),
            Err(error) => error.message.clone(),
        };
        let Failure { code, message } = self.context.state_failure(error);
        let message = format!(
            "{ended}; this cannot be recorded, so the next poll tries it again under the same ID: {message}"
        );
        let next = if outcome.result.is_ok() { Next::Done } else { Next::Resumed };
        let mut report = report(recorded, deployment, attempt.number, duration, outcome, next);
        if let Some(deployment) = &mut report.deployment {
            deployment.state = DeploymentState::Running;
        }
        TargetReport { status: Status::Failed, failure: Some(Failure { code, message }), ..report }
    }
}

fn next(
    write: &Write<'_>,
    recorded: &Recorded<'_>,
    deployment: &Deployment,
    attempt: u32,
    error: Option<&DeployError>,
    now: Timestamp,
) -> rusqlite::Result<Next> {
    let Some(error) = error else {
        return Ok(Next::Done);
    };
    if write.open_deployments(&deployment.target)?.pending.is_some() {
        return Ok(Next::Superseded);
    }
    if error.interrupted {
        return Ok(Next::Resumed);
    }
    let failed =
        Failed { started: error.started, is_final: error.final_answer, retry_after: error.retry_after };
    let attempts = if error.started { attempt } else { attempt.saturating_sub(1) };
    let counted = attempts.saturating_sub(deployment.attempts_forgiven);
    Ok(plan::next_attempt(&recorded.target.retry, &deployment.id, counted, failed, now)
        .map_or(Next::GivenUp, Next::Again))
}

fn keep(
    write: &Write<'_>,
    deployment: &Deployment,
    attempt: Attempt<'_>,
    outcome: &Outcome,
    next: Next,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let error = outcome.result.as_ref().err();
    let end = AttemptEnd {
        exit_status: outcome.exit_status,
        http_status: outcome.http_status,
        error: error.map(|error| (error.code, error.message.as_str())),
    };
    write.end_attempt(attempt, end, now)?;
    let id = &deployment.id;
    match next {
        Next::Done => write.end_deployment(id, DeploymentState::Succeeded, None, now)?,
        Next::Resumed => write.set_pending(id, None)?,
        Next::Again(next) => write.set_pending(id, Some(next))?,
        Next::GivenUp => {
            let reason = error.map(|error| error.message.as_str());
            write.end_deployment(id, DeploymentState::Dead, reason, now)?;
        }
        Next::Superseded => {
            write.end_deployment(id, DeploymentState::Superseded, Some("failed; a newer one came"), now)?;
        }
    }
    if error.is_some_and(|error| !error.started) {
        write.withdraw_attempt(attempt)?;
    }
    let Some(mut state) = write.state(&deployment.target)? else {
        return Ok(());
    };
    let status = status_of(next);
    let until = match next {
        Next::Again(next) => Some(next.at),
        _ => None,
    };
    state.came_to(status, error.map(|error| error.message.clone()), until);
    state.told = Some(Told { status, tag: Some(deployment.tag.clone()) });
    if next == Next::Done {
        let (tag, digest) = (deployment.tag.clone(), deployment.digest.clone());
        state.deployed = Some(Deployed { tag, digest, at: now, by: deployment.by });
    }
    write.save_state(&deployment.target, &state)
}

fn status_of(next: Next) -> Status {
    match next {
        Next::Done => Status::Deployed,
        Next::Resumed => Status::Pending,
        Next::Again(_) | Next::Superseded => Status::Failed,
        Next::GivenUp => Status::Dead,
    }
}

fn report(
    recorded: &Recorded<'_>,
    deployment: &Deployment,
    attempt: u32,
    duration: Duration,
    outcome: Outcome,
    next: Next,
) -> TargetReport {
    let failure = outcome.result.err().map(|error| Failure { code: error.code, message: error.message });
    let state = match next {
        Next::Done => DeploymentState::Succeeded,
        Next::Resumed | Next::Again(_) => DeploymentState::Pending,
        Next::GivenUp => DeploymentState::Dead,
        Next::Superseded => DeploymentState::Superseded,
    };
    let is_deployed = next == Next::Done;
    TargetReport {
        target: deployment.target.clone(),
        status: status_of(next),
        reason: recorded.report.reason.clone(),
        until: match next {
            Next::Again(next) => Some(next.at),
            _ => None,
        },
        latest_tag: Some(deployment.tag.clone()),
        previous_tag: deployment.previous_tag.clone(),
        deployed_tag: if is_deployed {
            Some(deployment.tag.clone())
        } else {
            recorded.report.deployed_tag.clone()
        },
        digest: deployment.digest.clone(),
        deployment: Some(DeploymentReport {
            id: deployment.id.clone(),
            state,
            attempt,
            duration,
            output: outcome.output,
        }),
        failure,
        failed_since: None,
        news: true,
    }
}
