//! Records decisions. If the state of a target changed after its decision, the decision is repeated.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::facts::FromEveryone;
use super::listing::{Extent, Listed, ListedContent};
use super::{Context, changes, outbox};
use crate::engine::{
    self, Decision, Deployment, ErrorCode, Failure, LastListed, LastReported, OpenDeployments, PollState,
    Status, TargetEvent,
};
use crate::report::{DeploymentReport, TargetReport};
use crate::store::{StoreError, Write};
use crate::target::{Name, Target, TargetId};

/// A target with a recorded decision.
pub(super) struct Recorded<'a> {
    /// The target's index among the selected ones, in the order written.
    pub(super) index: usize,
    pub(super) target: &'a Target,
    /// The report if nothing is deployed.
    pub(super) report: TargetReport,
    /// Whether a recorded deployment can be started or retried now.
    pub(super) is_to_deliver: bool,
    /// The last report before this poll.
    pub(super) last_reported: Option<LastReported>,
    /// The new deployment of this decision, whose digest was read just now.
    pub(super) fresh_deployment: Option<String>,
    /// Warnings about the listing.
    pub(super) notes: Vec<String>,
}

/// How often a decision is repeated because another run changed the target's state.
const DECIDED_AGAIN: u32 = 10;

/// Records decisions in one transaction; if the rows of one target cannot be written, each in its own. `last`:
/// no more decisions follow in this run. An error is the report of a target whose decision could not be
/// recorded.
pub(super) fn record<'a>(
    context: &'a Context<'a>,
    mut gathered: Vec<Listed>,
    last: bool,
) -> Vec<Result<Recorded<'a>, Box<TargetReport>>> {
    let mut results = Vec::with_capacity(gathered.len());
    let mut times_again = 0;
    while !gathered.is_empty() {
        let steps = match record_together(context, &gathered, last) {
            Ok(steps) => steps.into_iter().map(Ok).collect(),
            // An interrupted check is not a failed check.
            Err(StoreError::CutShort { signal: Some(_), .. }) => return results,
            Err(error) if gathered.len() == 1 || error.is_of_the_whole_state() => {
                gathered.iter().map(|listed| Err(unrecorded(context, listed, &error))).collect()
            }
            Err(_) => gathered.iter().map(|listed| record_alone(context, listed)).collect::<Vec<_>>(),
        };
        let mut moved = Vec::new();
        for (listed, step) in gathered.into_iter().zip(steps) {
            match step {
                Ok(Step::Done(recorded)) => results.push(Ok(*recorded)),
                Ok(Step::Moved(..)) if times_again == DECIDED_AGAIN => {
                    results.push(Err(never_still(context, &listed)));
                }
                Ok(Step::Moved(state, open)) => moved.push(decide_again(context, listed, *state, &open)),
                Err(report) => results.push(Err(report)),
            }
        }
        gathered = moved;
        times_again += 1;
        if context.cutoff.is_signalled() {
            // An interrupted check is not a failed check.
            gathered.clear();
        }
    }
    results
}

fn record_together<'a>(
    context: &'a Context<'a>,
    gathered: &[Listed],
    last: bool,
) -> Result<Vec<Step<'a>>, StoreError> {
    let now = Timestamp::now();
    context.run.store.write(|write| {
        let steps = gathered.iter().map(|listed| record_one(context, write, listed, now));
        let steps = steps.collect::<rusqlite::Result<_>>()?;
        touch(context, write, gathered, now)?;
        if last {
            write.prune_sometimes(context.run.config.settings.history, now)?;
        }
        Ok(steps)
    })
}

fn record_alone<'a>(context: &'a Context<'a>, listed: &Listed) -> Result<Step<'a>, Box<TargetReport>> {
    let now = Timestamp::now();
    let step = context.run.store.write(|write| {
        touch(context, write, std::slice::from_ref(listed), now)?;
        record_one(context, write, listed, now)
    });
    step.map_err(|error| unrecorded(context, listed, &error))
}

/// The most rounds of an owner; more are merged into one.
const ROUNDS: usize = 4;

/// Records the polls of targets without other changes. Targets of an owner that were unchanged together before
/// share one row.
fn touch(
    context: &Context<'_>,
    write: &Write<'_>,
    gathered: &[Listed],
    now: Timestamp,
) -> rusqlite::Result<()> {
    type Rounds<'a> = BTreeMap<Option<i64>, Vec<&'a TargetId>>;
    let mut owners: BTreeMap<(&Name, &str), Rounds<'_>> = BTreeMap::new();
    for listed in gathered.iter().filter(|listed| listed.is_unchanged()) {
        let target = context.targets[listed.index];
        let round = context.state(target).and_then(|state| state.round);
        let rounds = owners.entry((&target.registry, target.image.repository.owner())).or_default();
        rounds.entry(round).or_default().push(&target.id);
    }
    for rounds in owners.into_values() {
        let is_whole = |round: &i64, targets: usize| context.rounds.get(round) == Some(&targets);
        let whole =
            rounds.iter().filter_map(|(round, targets)| round.filter(|round| is_whole(round, targets.len())));
        let mut whole: Vec<i64> = whole.collect();
        if whole.len() > ROUNDS {
            whole.clear();
        }
        let is_other = |round: &Option<i64>| round.is_none_or(|round| !whole.contains(&round));
        let others = rounds.iter().filter(|(round, _)| is_other(round)).flat_map(|(_, targets)| targets);
        write.touch(&whole, &others.copied().collect::<Vec<_>>(), now)?;
    }
    Ok(())
}

fn unrecorded(context: &Context<'_>, listed: &Listed, error: &StoreError) -> Box<TargetReport> {
    // That one names the target.
    let error = context.unreadable.get(&context.targets[listed.index].id).unwrap_or(error);
    let failure = context.state_failure(error);
    let code = if matches!(error, StoreError::CutShort { .. }) { ErrorCode::OutOfTime } else { failure.code };
    failed(context, listed, Failure { code, ..failure })
}

fn never_still(context: &Context<'_>, listed: &Listed) -> Box<TargetReport> {
    let message = "other runs keep changing this target's state; the next poll tries again".to_owned();
    failed(context, listed, Failure { code: ErrorCode::State, message })
}

fn failed(context: &Context<'_>, listed: &Listed, failure: Failure) -> Box<TargetReport> {
    let target = context.targets[listed.index];
    let before = context.state(target);
    let decision = engine::decide_failed(before, failure, Timestamp::now());
    Box::new(report_of(target, &decision, before, None, true))
}

enum Step<'a> {
    Done(Box<Recorded<'a>>),
    /// Another run changed the state after the decision; this is the present state.
    Moved(Box<Option<PollState>>, Box<OpenDeployments>),
}

/// Repeats the decision outside the transaction, because it may need requests to the registry.
fn decide_again(
    context: &Context<'_>,
    mut listed: Listed,
    state: Option<PollState>,
    open: &OpenDeployments,
) -> Listed {
    let target = context.targets[listed.index];
    if let ListedContent::Selected(selected) = &mut listed.found {
        let now = Timestamp::now();
        let facts = FromEveryone { context, target, answers: &selected.answers };
        let decision = engine::decide(target, &selected.selection, state.as_ref(), open, &facts, now);
        match state {
            Some(state) if is_overtaken(&decision, &state, listed.asked_at, now) => {
                listed.found = ListedContent::Overtaken(Box::new(engine::overtaken(state)));
            }
            state => {
                selected.version = state.map(|state| state.version);
                selected.decision = decision;
            }
        }
    }
    listed
}

fn record_one<'a>(
    context: &'a Context<'a>,
    write: &Write<'_>,
    listed: &Listed,
    now: Timestamp,
) -> rusqlite::Result<Step<'a>> {
    let target = context.targets[listed.index];
    if let Some(count) = listed.tags {
        let image = &target.image.repository;
        let key = changes::key(context.run.config, &target.registry, image.owner());
        write.note_count(&key, &changes::name(image), count)?;
    }
    let stored = || Ok::<_, rusqlite::Error>((write.state(&target.id)?, write.open_deployments(&target.id)?));
    let (before, open, mut decision) = match &listed.found {
        ListedContent::Unchanged(status) => {
            // Cloned here and not by the thread that asked: the allocations of one target serve the next.
            let state = context.state(target).cloned().unwrap_or_default();
            return Ok(nothing_new(target, listed, &engine::repeated(state, *status)));
        }
        ListedContent::Overtaken(decision) => return Ok(nothing_new(target, listed, decision)),
        ListedContent::Selected(selected) => {
            let (before, open) = stored()?;
            if selected.version != before.as_ref().map(|before| before.version) {
                return Ok(Step::Moved(Box::new(before), Box::new(open)));
            }
            (before, open, selected.decision.clone())
        }
        ListedContent::Failed(failure) | ListedContent::OtherOwner(failure) => {
            let (before, open) = stored()?;
            let decision = engine::decide_failed(before.as_ref(), failure.clone(), now);
            (before, open, decision)
        }
        ListedContent::Table { status, reason } => {
            let (before, open) = stored()?;
            let decision = engine::decide_without_tags(before.as_ref(), *status, reason.clone(), now);
            (before, open, decision)
        }
    };
    if decision.failure.is_none() {
        note_listed(context, &mut decision.state, target, listed);
    }
    let is_reportable = engine::mark_reported(&mut decision, before.as_ref(), context.run.audience, now);
    let pending_is_due = decision.left_open(&open).is_due(now);
    let is_refused = matches!(listed.found, ListedContent::OtherOwner(_));
    let is_to_deliver = !is_refused && (decision.deploy.is_some() || pending_is_due);
    if is_to_deliver && decision.failure.is_none() {
        // The recheck may still have no answer.
        decision.state.failing = before.as_ref().and_then(|before| before.failing.clone());
    } else {
        outbox::enqueue_decision(write, context.run.config, &target.id, &decision, before.as_ref(), now)?;
    }
    let event = TargetEvent::Decided { decision: &decision, id: uuid::Uuid::now_v7().to_string() };
    let change = engine::transition(target, before.as_ref(), &open, event, now);
    let mut change = change.expect("a decision has no competing deployment");
    write.save(&target.id, &change, now)?;
    let deployment = change.rows.pop().filter(|_| decision.deploy.is_some()).map(|row| row.deployment);
    if decision.failure.is_none()
        && let ListedContent::Selected(selected) = &listed.found
    {
        write.add_seen_tags(&target.id, &selected.newly_seen)?;
    }
    let mut notes = match &listed.found {
        ListedContent::Selected(selected) if is_reportable => selected.notes.clone(),
        _ => Vec::new(),
    };
    notes.extend(decision.warning.clone());
    Ok(Step::Done(Box::new(Recorded {
        index: listed.index,
        target,
        report: report_of(
            target,
            &decision,
            before.as_ref(),
            deployment.as_ref().or(open.pending.as_ref()),
            is_reportable,
        ),
        is_to_deliver,
        last_reported: before.and_then(|before| before.last_reported),
        fresh_deployment: deployment.map(|deployment| deployment.id),
        notes,
    })))
}

/// Nothing of the target but the times of its poll is written.
fn nothing_new<'a>(target: &'a Target, listed: &Listed, decision: &Decision) -> Step<'a> {
    Step::Done(Box::new(Recorded {
        index: listed.index,
        target,
        report: report_of(target, decision, Some(&decision.state), None, false),
        is_to_deliver: false,
        last_reported: None,
        fresh_deployment: None,
        notes: Vec::new(),
    }))
}

/// The generation up to which the target now knows its repository.
fn note_listed(context: &Context<'_>, state: &mut PollState, target: &Target, listed: &Listed) {
    match (listed.extent, &mut state.listed) {
        (Extent::Whole { generation }, known) => {
            let from = context.run.config.registries[&target.registry].location.to_string();
            *known = Some(LastListed { generation, at: listed.asked_at, from });
        }
        (Extent::Rows { generation }, Some(known)) => known.generation = known.generation.max(generation),
        (Extent::Rows { .. }, None) | (Extent::Nothing, _) => {}
    }
}

/// Whether another poll recorded a newer listing after this one sent its request. Then an apparent step back
/// comes from this older listing, and an apparent new push of a tag may be the earlier push.
fn is_overtaken(decision: &Decision, before: &PollState, asked_at: Timestamp, now: Timestamp) -> bool {
    // A later time comes from a wrong clock.
    let is_meanwhile = before.polled_at.is_some_and(|polled_at| asked_at < polled_at && polled_at <= now);
    let is_again = decision.deploy.as_ref().is_some_and(|listed| {
        before.high_water.as_ref().is_some_and(|high_water| high_water.tag == listed.tag)
    });
    is_meanwhile && (decision.status == Status::Older || is_again)
}

fn report_of(
    target: &Target,
    decision: &Decision,
    before: Option<&PollState>,
    deployment: Option<&Deployment>,
    is_reportable: bool,
) -> TargetReport {
    let is_open = decision.status == Status::Pending || decision.status == Status::Deploying;
    TargetReport {
        target: target.id.clone(),
        status: decision.status,
        reason: decision.reason.clone(),
        until: decision.until,
        latest_tag: decision.latest_tag.clone(),
        previous_tag: decision.ran_before(before),
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
        failed_since: before.and_then(|before| before.failing.as_ref()).map(|failing| failing.since),
        is_reportable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{ListedTag, Tag};

    #[test]
    fn results_of_a_concurrent_poll_are_kept() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let given = |name| ListedTag::named(Tag::new(name).unwrap());
        let polled = |second| PollState {
            polled_at: Some(at(second)),
            high_water: Some(given("edge")),
            ..PollState::default()
        };
        let decided = |status, deploy| Decision { status, deploy, ..engine::overtaken(PollState::default()) };
        let (asked_at, now) = (at(10), at(20));
        for (status, deploy, polled_at, expected) in [
            (Status::Older, None, 15, true),
            (Status::Older, None, 10, false),
            (Status::Older, None, 25, false),
            (Status::Pending, Some(given("edge")), 15, true),
            (Status::Pending, Some(given("edge")), 5, false),
            (Status::Pending, Some(given("edge")), 25, false),
            (Status::Pending, Some(given("dev-2")), 15, false),
            (Status::UpToDate, None, 15, false),
        ] {
            let decision = decided(status, deploy);
            let overtaken = is_overtaken(&decision, &polled(polled_at), asked_at, now);
            assert_eq!(overtaken, expected, "{decision:?} {polled_at}");
        }
    }
}
