//! Decisions, taken on the state as it is inside the transaction that records them.

use jiff::Timestamp;

use super::Context;
use super::listing::{Listed, Selected};
use crate::plan::{
    self, DecidedBy, Decision, Deployment, DeploymentState, OpenDeployments, PollState, Status,
};
use crate::reference::{Digest, ListedTag};
use crate::report::{DeploymentReport, TargetReport};
use crate::store::{StoreError, Write};
use crate::target::Target;

/// A target whose decision is in the state.
pub(super) struct Recorded<'a> {
    /// The target's place among the selected ones: the order written.
    pub(super) index: usize,
    pub(super) target: &'a Target,
    /// What to report where nothing is delivered.
    pub(super) report: TargetReport,
    /// Whether a deployment is recorded that can be started, now or again.
    pub(super) is_to_deliver: bool,
    /// The deployment that this decision recorded, with a digest that was read a moment ago.
    pub(super) fresh_deployment: Option<String>,
    /// A warning about names in the listing that are no tags.
    pub(super) dropped_names: Option<String>,
}

/// Decides and records, all in one transaction. `last`: no more will follow in this run.
pub(super) fn record<'a>(
    context: &'a Context<'a>,
    mut gathered: Vec<Listed>,
    last: bool,
) -> Result<Vec<Recorded<'a>>, StoreError> {
    let mut recorded = Vec::with_capacity(gathered.len());
    while !gathered.is_empty() {
        let now = Timestamp::now();
        let (done, undecided) = context.run.store.write(|write| {
            let mut done = Vec::with_capacity(gathered.len());
            let mut undecided = Vec::new();
            for listed in gathered {
                match record_one(context, write, listed, now)? {
                    Step::Done(recorded) => done.push(*recorded),
                    Step::NeedsDigest(listed, tag) => undecided.push((listed, tag)),
                }
            }
            if last && let Ok(kept) = now.checked_sub(context.run.config.settings.history) {
                write.prune(kept)?;
            }
            Ok((done, undecided))
        })?;
        recorded.extend(done);
        gathered = undecided.into_iter().map(|(listed, tag)| with_digest(context, listed, &tag)).collect();
    }
    Ok(recorded)
}

enum Step<'a> {
    Done(Box<Recorded<'a>>),
    /// Another run changed the state since this one began: the tag to deploy is not the one whose
    /// digest is at hand.
    NeedsDigest(Listed, ListedTag),
}

fn with_digest(context: &Context<'_>, mut listed: Listed, wanted: &ListedTag) -> Listed {
    let target = context.targets[listed.index];
    if let Ok(selected) = &mut listed.result {
        let digest = context
            .registry(&target.registry)
            .and_then(|registry| registry.digest(&target.image.repository, &wanted.tag));
        selected.digest = Some((wanted.tag.clone(), digest.map_err(|error| context.failure(&error))));
    }
    listed
}

fn record_one<'a>(
    context: &'a Context<'a>,
    write: &Write<'_>,
    listed: Listed,
    now: Timestamp,
) -> rusqlite::Result<Step<'a>> {
    let target = context.targets[listed.index];
    let before = write.state(&target.id)?;
    let open = write.open_deployments(&target.id)?;
    let mut digest = None;
    let mut decision = match &listed.result {
        Ok(Selected { selection, digest: known, .. }) => {
            let decision = plan::decide(target, selection, before.as_ref(), &open, now);
            match (&decision.deploy, known) {
                (None, _) => decision,
                (Some(wanted), Some((tag, result))) if wanted.tag == *tag => match result {
                    Ok(Some(found)) => {
                        digest = Some(found.clone());
                        decision
                    }
                    Ok(None) => {
                        let reason = format!(
                            "{tag} is listed, but the registry has no manifest for it; asked again at the next poll"
                        );
                        decision.wait(before.as_ref(), reason)
                    }
                    Err(failure) => plan::decide_failed(before.as_ref(), failure.clone(), now),
                },
                (Some(wanted), _) => {
                    let wanted = wanted.clone();
                    return Ok(Step::NeedsDigest(listed, wanted));
                }
            }
        }
        Err(failure) => plan::decide_failed(before.as_ref(), failure.clone(), now),
    };
    let news = plan::tell(&mut decision, before.as_ref(), context.run.audience, now);
    let deployment = apply(write, target, &decision, before.as_ref(), &open, digest, now)?;
    let mut state = decision.state.clone();
    if let (Some(high_water), Some(deployment)) = (&mut state.high_water, &deployment) {
        high_water.digest.clone_from(&deployment.digest);
    }
    write.save_state(&target.id, &state)?;
    let pending_is_open = open.pending.is_some() && decision.drop_pending.is_none();
    let is_to_deliver = deployment.is_some() || pending_is_open || open.running.is_some();
    let dropped = listed.result.as_ref().map_or(0, |selected| selected.dropped);
    Ok(Step::Done(Box::new(Recorded {
        index: listed.index,
        target,
        report: report_of(
            target,
            &decision,
            before.as_ref(),
            deployment.as_ref().or(open.pending.as_ref()),
            news,
        ),
        is_to_deliver,
        fresh_deployment: deployment.map(|deployment| deployment.id),
        dropped_names: (dropped > 0 && news).then(|| {
            format!(
                "{}: {dropped} names in the list of {} are no valid tags, and were dropped",
                target.id, target.image
            )
        }),
    })))
}

/// Carries the decision out in the deployments' table.
fn apply(
    write: &Write<'_>,
    target: &Target,
    decision: &Decision,
    before: Option<&PollState>,
    open: &OpenDeployments,
    digest: Option<Digest>,
    now: Timestamp,
) -> rusqlite::Result<Option<Deployment>> {
    if let (Some(pending), Some(reason)) = (&open.pending, &decision.drop_pending) {
        write.end_deployment(&pending.id, DeploymentState::Dropped, Some(reason), now)?;
    }
    let Some(listed) = &decision.deploy else {
        return Ok(None);
    };
    let high_water_before = before.and_then(|before| before.high_water.clone());
    let mut deployment = Deployment {
        id: uuid::Uuid::now_v7().to_string(),
        target: target.id.clone(),
        registry: target.registry.clone(),
        repository: target.image.repository.clone(),
        tag: listed.tag.clone(),
        digest,
        previous_tag: previous_tag(before),
        by: DecidedBy::Poll,
        state: DeploymentState::Pending,
        attempts: 0,
        created_at: now,
        high_water_before,
    };
    if let Some(pending) = &open.pending {
        if decision.drop_pending.is_none() {
            let reason = format!("{} is newer", listed.tag);
            write.end_deployment(&pending.id, DeploymentState::Superseded, Some(&reason), now)?;
        }
        // What was superseded was never deployed: going back means back to before it.
        deployment.high_water_before.clone_from(&pending.high_water_before);
    }
    write.insert_deployment(&deployment)?;
    Ok(Some(deployment))
}

/// What the stage runs: the deployed tag, or where none is known the one it was given.
fn previous_tag(state: Option<&PollState>) -> Option<crate::reference::Tag> {
    let state = state?;
    let deployed = state.deployed.as_ref().map(|deployed| &deployed.tag);
    deployed.or(state.high_water.as_ref().map(|listed| &listed.tag)).cloned()
}

fn report_of(
    target: &Target,
    decision: &Decision,
    before: Option<&PollState>,
    deployment: Option<&Deployment>,
    news: bool,
) -> TargetReport {
    let is_open = decision.status == Status::Pending || decision.status == Status::Deploying;
    TargetReport {
        target: target.id.clone(),
        status: decision.status,
        reason: decision.reason.clone(),
        latest_tag: decision.latest_tag.clone(),
        previous_tag: previous_tag(before),
        deployed_tag: decision.state.deployed.as_ref().map(|deployed| deployed.tag.clone()),
        digest: deployment.filter(|_| is_open).and_then(|deployment| deployment.digest.clone()),
        deployment: deployment.filter(|_| is_open).map(|deployment| DeploymentReport {
            id: deployment.id.clone(),
            state: deployment.state,
            attempt: deployment.attempts,
            duration: std::time::Duration::ZERO,
            output: String::new(),
        }),
        failure: decision.failure.clone(),
        news,
    }
}
