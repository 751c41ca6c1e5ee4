//! Decisions, taken on the state as it is inside the transaction that records them.

use jiff::Timestamp;

use super::listing::{Extent, Found, Listed, Selected};
use super::question::ask;
use super::{Context, changes, outbox};
use crate::plan::{self, Decision, Deployment, LastListed, PollState, Question, Status, TargetEvent};
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
    /// What people should know of the listing.
    pub(super) notes: Vec<String>,
}

/// Decides and records, all in one transaction; where one target's rows are what cannot be written, each in one of
/// its own. `last`: no more will follow in this run. An error is the report of a target whose decision could not be
/// recorded.
pub(super) fn record<'a>(
    context: &'a Context<'a>,
    mut gathered: Vec<Listed>,
    last: bool,
) -> Vec<Result<Recorded<'a>, Box<TargetReport>>> {
    let mut results = Vec::with_capacity(gathered.len());
    while !gathered.is_empty() {
        let steps = match record_together(context, &gathered, last) {
            Ok(steps) => steps.into_iter().map(Ok).collect(),
            Err(error) if gathered.len() == 1 || error.is_of_the_whole_state() => {
                gathered.iter().map(|listed| Err(unrecorded(context, listed, &error))).collect()
            }
            Err(_) => gathered.iter().map(|listed| record_alone(context, listed)).collect::<Vec<_>>(),
        };
        let mut undecided = Vec::new();
        for (listed, step) in gathered.into_iter().zip(steps) {
            match step {
                Ok(Step::Done(recorded)) => results.push(Ok(*recorded)),
                Ok(Step::Asks(question)) => undecided.push(ask_more(context, listed, question)),
                Err(report) => results.push(Err(report)),
            }
        }
        gathered = undecided;
        if context.cutoff.is_signalled() {
            // What a signal cut short is no failed check.
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
        if last {
            write.prune_sometimes(context.run.config.settings.history, now)?;
        }
        Ok(steps)
    })
}

fn record_alone<'a>(context: &'a Context<'a>, listed: &Listed) -> Result<Step<'a>, Box<TargetReport>> {
    let now = Timestamp::now();
    let step = context.run.store.write(|write| record_one(context, write, listed, now));
    step.map_err(|error| unrecorded(context, listed, &error))
}

fn unrecorded(context: &Context<'_>, listed: &Listed, error: &StoreError) -> Box<TargetReport> {
    let target = context.targets[listed.index];
    let before = context.states.get(&target.id);
    let decision = plan::decide_failed(before, context.state_failure(error), Timestamp::now());
    Box::new(report_of(target, &decision, before, None, true))
}

enum Step<'a> {
    Done(Box<Recorded<'a>>),
    /// Another run changed the state since this one began, and deciding on it needs to know more.
    Asks(Question),
}

/// Asks outside of the transaction.
fn ask_more(context: &Context<'_>, mut listed: Listed, question: Question) -> Listed {
    let target = context.targets[listed.index];
    if let Found::Selected(selected) = &mut listed.found {
        let answer = ask(context, context.registry(target), target, &question);
        selected.facts.insert(question, answer);
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
    if let Found::Unchanged(decision) = &listed.found {
        return unchanged(write, target, listed, decision, now);
    }
    let before = write.state(&target.id)?;
    let open = write.open_deployments(&target.id)?;
    let decided = match &listed.found {
        Found::Unchanged(_) => unreachable!("returned above"),
        Found::Selected(selected) => {
            let Selected { selection, facts, .. } = selected.as_ref();
            plan::decide(target, selection, before.as_ref(), &open, facts, now)
        }
        Found::Failed(failure) | Found::OtherOwner(failure) => {
            Ok(plan::decide_failed(before.as_ref(), failure.clone(), now))
        }
    };
    let mut decision = match decided {
        Ok(decision) => decision,
        Err(question) => return Ok(Step::Asks(question)),
    };
    if is_overtaken(&decision, before.as_ref(), listed.asked_at, now) {
        decision = plan::overtaken(before.unwrap_or_default());
        let report = report_of(target, &decision, Some(&decision.state), None, false);
        return Ok(Step::Done(Box::new(Recorded {
            index: listed.index,
            target,
            report,
            is_to_deliver: false,
            fresh_deployment: None,
            notes: Vec::new(),
        })));
    }
    if decision.failure.is_none() {
        note_listed(context, &mut decision.state, target, listed);
    }
    let news = plan::tell(&mut decision, before.as_ref(), context.run.audience, now);
    let event = TargetEvent::Decided { decision: &decision, id: uuid::Uuid::now_v7().to_string() };
    let change = plan::transition(target, before.as_ref(), &open, event, now);
    let mut change = change.expect("a decision is about no other deployment");
    write.save(&target.id, &change, now)?;
    let deployment = change.rows.pop().filter(|_| decision.deploy.is_some()).map(|row| row.deployment);
    outbox::note_decision(write, context.run.config, &target.id, &decision, before.as_ref(), now)?;
    if decision.failure.is_none()
        && let Found::Selected(selected) = &listed.found
    {
        write.add_sightings(&target.id, &selected.sighted)?;
    }
    let pending_is_due = open.is_due(now) && (open.running.is_some() || decision.pending_becomes.is_none());
    let is_refused = matches!(listed.found, Found::OtherOwner(_));
    let is_to_deliver = !is_refused && (deployment.is_some() || pending_is_due);
    let mut notes = match &listed.found {
        Found::Selected(selected) if news => selected.notes.clone(),
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
            news,
        ),
        is_to_deliver,
        fresh_deployment: deployment.map(|deployment| deployment.id),
        notes,
    })))
}

/// Nothing is to be written but that the target was polled.
fn unchanged<'a>(
    write: &Write<'_>,
    target: &'a Target,
    listed: &Listed,
    decision: &Decision,
    now: Timestamp,
) -> rusqlite::Result<Step<'a>> {
    write.touch(&target.id, now)?;
    Ok(Step::Done(Box::new(Recorded {
        index: listed.index,
        target,
        report: report_of(target, decision, Some(&decision.state), None, false),
        is_to_deliver: false,
        fresh_deployment: None,
        notes: Vec::new(),
    })))
}

/// How far the target knows its repository now.
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

/// Whether another poll recorded what it saw after this one asked: then what looks like a step back is an
/// old listing, and what looks like another push of the same tag may be the push before.
fn is_overtaken(
    decision: &Decision,
    before: Option<&PollState>,
    asked_at: Timestamp,
    now: Timestamp,
) -> bool {
    let Some(before) = before else {
        return false;
    };
    // Later than now: a clock was wrong.
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
    news: bool,
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
        news,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{ListedTag, Tag};

    #[test]
    fn what_another_poll_saw_meanwhile_is_not_taken_back() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let given = |name| ListedTag::named(Tag::new(name).unwrap());
        let polled = |second| PollState {
            polled_at: Some(at(second)),
            high_water: Some(given("edge")),
            ..PollState::default()
        };
        let decided = |status, deploy| Decision { status, deploy, ..plan::overtaken(PollState::default()) };
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
            let overtaken = is_overtaken(&decision, Some(&polled(polled_at)), asked_at, now);
            assert_eq!(overtaken, expected, "{decision:?} {polled_at}");
        }
        assert!(!is_overtaken(&decided(Status::Older, None), None, asked_at, now));
    }
}
