//! Asks the stage what it runs, so that nothing is sent twice, and reports a lock that is kept too long.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::deliver::Delivery;
use super::recheck::ended;
use super::record::Recorded;
use crate::deploy;
use crate::engine::first_seen::SeenTag;
use crate::engine::{
    self, Change, Deployment, DeploymentState, ErrorCode, Failure, Standing, Status, TargetEvent,
};
use crate::policy::Order;
use crate::reference::{ListedTag, Tag};
use crate::report::{DeploymentReport, TargetReport};
use crate::store::StoreError;
use crate::target::Target;

/// The time from TERM to KILL for each step, and for the requests before and after the steps.
const GRACE: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(60);

impl Delivery<'_> {
    /// Asks the stage what it runs. If it runs the deployment's tag or a newer one, nothing must be sent, and
    /// this is the report. None: deploy, also if the stage does not answer.
    pub(super) fn adopt(
        &self,
        recorded: &Recorded<'_>,
        deployment: &Deployment,
    ) -> Result<Option<TargetReport>, StoreError> {
        let (run, target) = (self.context.run, recorded.target);
        let Some(running) = &target.running else {
            return Ok(None);
        };
        let Ok(reported) = deploy::running(target, running, &run.secrets, &self.cutoff) else {
            return Ok(None);
        };
        let newer = reported.tag.as_ref().map(|tag| self.listed(target, tag)).transpose()?;
        let deployed = self.listed(target, &deployment.tag)?;
        let newer = match engine::standing(target, &reported, deployment, newer.as_ref(), &deployed) {
            Standing::Same => None,
            Standing::Newer if !deployment.by.is_manual() => newer.as_ref(),
            Standing::Newer | Standing::Other => return Ok(None),
        };
        let id = uuid::Uuid::now_v7().to_string();
        let event = TargetEvent::Adopted { deployment, reported: &reported, newer, id };
        let change = self.commit(target, event)?;
        Ok(Some(
            change.map_or_else(|| self.superseded(recorded), |change| adopted(recorded, deployment, &change)),
        ))
    }

    /// A tag with its push time, if the order needs it and it is available.
    fn listed(&self, target: &Target, tag: &Tag) -> Result<ListedTag, StoreError> {
        let mut listed = ListedTag::named(tag.clone());
        if target.policy.order() != Order::Newest {
            return Ok(listed);
        }
        let registry = self.context.registry(target);
        listed.pushed_at = if registry.has_push_times() {
            registry.pushed_at(&target.image.repository, tag).unwrap_or(None)
        } else {
            let sighting = self.context.run.store.seen_tags(&target.id)?.remove(tag);
            listed.sequence = sighting.as_ref().and_then(SeenTag::sequence);
            sighting.map(|sighting| sighting.first_seen)
        };
        Ok(listed)
    }

    /// The report if the target's lock is taken, by another run or a command that it left behind.
    pub(super) fn busy(&self, recorded: &Recorded<'_>) -> Result<TargetReport, StoreError> {
        let mut report = recorded.report.clone();
        report.status = Status::Deploying;
        "another run, or a command that it left behind, is deploying to this target"
            .clone_into(&mut report.reason);
        let store = self.context.run.store;
        let Some(latest) = store.latest_attempt(&recorded.target.id)? else {
            return Ok(report);
        };
        let deployment_id = &latest.traces.deployment_id;
        let open = store.write(|write| write.open_deployments(&recorded.target.id))?;
        let is_under_way = open.running.is_some_and(|running| running.id == *deployment_id);
        let groups = store.groups_at_work(&recorded.target.id)?;
        if latest.has_failed
            && let Some(group) = groups.first()
        {
            report.reason = format!(
                "the failed deployment of {} left process group {group} behind, which still runs",
                latest.tag
            );
        }
        let held = Timestamp::now().duration_since(latest.started_at);
        let longest = longest(recorded.target);
        let is_late = held > SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX);
        if !is_late || !(is_under_way || latest.traces.find().leader) {
            return Ok(report);
        }
        let held = crate::report::describe_duration(held.unsigned_abs());
        let message = match groups.first() {
            Some(group) => format!(
                "the deployment of {} has been running for {held}, longer than its steps may take; process group {group} still runs: inspect it, and end it with: kill -- -{group}",
                latest.tag
            ),
            None => format!(
                "the deployment of {} has been running for {held}, longer than its steps may take; could not find the process with the lock of {}",
                latest.tag, recorded.target.id
            ),
        };
        report.status = Status::Failed;
        report.reason.clone_from(&message);
        report.failure = Some(Failure { code: ErrorCode::Timeout, message });
        report.latest_tag = Some(latest.tag);
        report.deployment = Some(DeploymentReport {
            id: latest.traces.deployment_id,
            state: DeploymentState::Running,
            attempt: latest.traces.attempt,
            duration: Duration::ZERO,
            output: String::new(),
        });
        report.is_reportable = true;
        Ok(report)
    }
}

/// The longest time of a deployment to the target, if all timeouts hold.
pub(super) fn longest(target: &Target) -> Duration {
    let steps: Duration = target.deploy.iter().map(|step| step.longest() + GRACE).sum();
    let verify = target.running.as_ref().map_or(Duration::ZERO, |running| running.verify_timeout);
    steps + verify + SLACK
}

fn adopted(recorded: &Recorded<'_>, deployment: &Deployment, change: &Change) -> TargetReport {
    let runs = change.state.deployed_tag();
    TargetReport {
        latest_tag: runs.clone(),
        previous_tag: deployment.previous_tag.clone(),
        deployed_tag: runs,
        digest: deployment.digest.clone(),
        deployment: change.deployment().map(|ended| DeploymentReport {
            id: ended.id.clone(),
            state: ended.state,
            attempt: ended.attempts,
            duration: Duration::ZERO,
            output: String::new(),
        }),
        ..ended(recorded, change)
    }
}
