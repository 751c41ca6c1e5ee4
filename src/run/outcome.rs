//! The outcome of an attempt: recorded in the state, then reported.

use std::time::Duration;

use jiff::Timestamp;

use super::Message;
use super::deliver::Delivery;
use super::recheck::{self, back_to};
use super::record::Recorded;
use crate::deploy::Outcome;
use crate::engine::{BackTo, Change, Deployment, DeploymentState, Failed, Failure, Status, TargetEvent};
use crate::report::{DeploymentReport, TargetReport};
use crate::store::{Attempt, AttemptEnd, StoreError};

impl Delivery<'_> {
    /// Records the outcome of a deployment's latest attempt, then its output, and reports it.
    pub(super) fn conclude(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
        duration: Duration,
        outcome: Outcome,
    ) -> TargetReport {
        let (run, now) = (self.context.run, Timestamp::now());
        let attempt = Attempt { deployment_id: &deployment.id, number: deployment.attempts };
        let error = outcome.result.as_ref().err();
        let end = AttemptEnd {
            exit_status: outcome.exit_status,
            http_status: outcome.http_status,
            error: error.map(|error| (error.code, error.message.as_str())),
        };
        let interrupted = outcome.is_interrupted();
        let change = run.store.write_outcome(|write| {
            let back_to = back_to(write, recorded.target, deployment)?;
            // An attempt without an end was interrupted.
            if !interrupted {
                write.end_attempt(attempt, end, now)?;
            }
            write.commit(recorded.target, &run.config.notifiers, ended(deployment, &outcome, back_to), now)
        });
        let change = match change {
            Ok(change) => change,
            Err(error) => return self.unrecorded(recorded, deployment, duration, outcome, &error),
        };
        if !outcome.output.is_empty()
            && let Err(error) = run.store.write_outcome(|write| write.set_output(attempt, &outcome.output))
        {
            let text = format!("{}: cannot store the output of its deployment: {error}", deployment.target);
            let _ = self.sender.send(Message::Warning(text));
        }
        report(recorded, deployment, duration, outcome, change.as_ref())
    }

    /// The deployment has no attempts left, and the last ones have no outcome.
    pub(super) fn give_up(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
    ) -> Result<TargetReport, StoreError> {
        let store = self.context.run.store;
        let back_to = store.write(|write| back_to(write, recorded.target, deployment))?;
        let event = TargetEvent::LastAttemptInterrupted { deployment, back_to };
        let Some(change) = self.commit(recorded.target, event)? else {
            return Ok(self.superseded(recorded));
        };
        Ok(TargetReport {
            latest_tag: Some(deployment.tag.clone()),
            previous_tag: deployment.previous_tag.clone(),
            deployment: Some(DeploymentReport {
                id: deployment.id.clone(),
                state: state_after(deployment, Some(&change)),
                attempt: deployment.attempts,
                duration: Duration::ZERO,
                output: String::new(),
            }),
            ..recheck::ended(recorded, &change)
        })
    }

    /// The row stays `running` without a lock, so the next poll treats the deployment as interrupted.
    fn unrecorded(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
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
            "{ended}; this cannot be recorded, so the next poll retries it with the same ID: {message}"
        );
        let is_signalled = matches!(error, StoreError::CutShort { signal: Some(_), .. });
        let is_pending = outcome.is_interrupted() || is_signalled;
        let report = report(recorded, deployment, duration, outcome, None);
        match is_pending {
            true => TargetReport { status: Status::Pending, reason: message, failure: None, ..report },
            false => TargetReport { failure: Some(Failure { code, message }), ..report },
        }
    }
}

fn ended<'a>(deployment: &'a Deployment, outcome: &Outcome, back_to: Option<BackTo>) -> TargetEvent<'a> {
    let Err(error) = &outcome.result else {
        return TargetEvent::Succeeded(deployment);
    };
    let failure = Failure { code: error.code, message: error.message.clone() };
    let failed = Failed {
        started: error.started,
        is_final: error.final_answer,
        retry_after: error.retry_after,
        interrupted: error.interrupted,
    };
    TargetEvent::Failed { deployment, failure, failed, back_to }
}

/// `change`: None if it cannot be recorded.
fn report(
    recorded: &Recorded<'_>,
    deployment: &Deployment,
    duration: Duration,
    outcome: Outcome,
    change: Option<&Change>,
) -> TargetReport {
    let deployed = outcome.result.is_ok().then(|| deployment.tag.clone());
    let reason = match &deployment.previous_tag {
        Some(failed) if deployment.is_automatic_rollback() => format!("gave up on {failed}"),
        _ => recorded.report.reason.clone(),
    };
    let interrupted = outcome.is_interrupted();
    let failure = outcome.result.err().map(|error| Failure { code: error.code, message: error.message });
    let failure = change.map_or(failure, |change| change.failure.clone());
    // An interrupted attempt is not a failed one.
    let (reason, failure) = match failure {
        Some(failure) if interrupted => (failure.message, None),
        failure => (reason, failure),
    };
    TargetReport {
        target: deployment.target.clone(),
        status: change.and_then(|change| change.state.status).unwrap_or(Status::Failed),
        reason,
        until: change.and_then(|change| change.state.until),
        latest_tag: Some(deployment.tag.clone()),
        previous_tag: deployment.previous_tag.clone(),
        deployed_tag: deployed.or_else(|| recorded.report.deployed_tag.clone()),
        digest: deployment.digest.clone(),
        deployment: Some(DeploymentReport {
            id: deployment.id.clone(),
            state: state_after(deployment, change),
            attempt: deployment.attempts,
            duration,
            output: outcome.output,
        }),
        failure,
        failed_since: None,
        is_reportable: true,
    }
}

/// The deployment after a change. None: it cannot be recorded.
fn state_after(deployment: &Deployment, change: Option<&Change>) -> DeploymentState {
    match change.map(Change::deployment) {
        None => deployment.state,
        Some(Some(ended)) => ended.state,
        // `tagship mark` ended it.
        Some(None) => DeploymentState::Superseded,
    }
}
