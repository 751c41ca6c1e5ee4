//! Transitions: what each event makes of a state, its deployments and notifications.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::engine::NextAttempt;
use crate::engine::tests::{now, pending, save, semver, tag, target, versions};
use crate::policy::Order;

fn listed(name: &str) -> ListedTag {
    ListedTag::named(tag(name))
}

fn failure() -> Failure {
    Failure { code: ErrorCode::Command, message: "exit status 1".to_owned() }
}

fn digest(number: u64) -> Digest {
    Digest::new(&format!("sha256:{number:064x}")).unwrap()
}

/// A stage that runs v1.0.0, with the first attempt of v1.1.0 running.
fn running() -> (Target, PollState, OpenDeployments) {
    let target = target("v*", Order::Semver);
    let state = PollState {
        high_water: Some(listed("v1.1.0")),
        deployed: Some(Deployed { tag: tag("v1.0.0"), digest: None, at: now(), by: Trigger::Poll }),
        ..PollState::default()
    };
    let running = Deployment {
        state: DeploymentState::Running,
        digest: Some(digest(1)),
        ..pending(tag("v1.1.0"), Some(listed("v1.0.0")))
    };
    (target, state, OpenDeployments { running: Some(running), ..OpenDeployments::default() })
}

/// The deployments of a change, with states and reasons.
fn rows(change: &Change) -> Vec<(&str, DeploymentState, Option<&str>)> {
    let rows = change.rows.iter();
    rows.map(|row| (row.deployment.tag.as_str(), row.deployment.state, row.reason.as_deref())).collect()
}

#[test]
fn every_end_sets_status_last_reported_high_water_and_deployed_tag() {
    use DeploymentState::{Dead, Dropped, Pending, Succeeded, Superseded};
    let started = Failed { started: true, ..Failed::default() };
    let (target, state, open) = running();
    let deployment = open.running.as_ref().unwrap();
    let last = &Deployment { attempts: 12, ..deployment.clone() };
    let failed =
        |deployment, failed| TargetEvent::Failed { deployment, failure: failure(), failed, back_to: None };
    let reported = &ProbeAnswer::parse("v1.1.0").unwrap();
    let newer = Some(&listed("v1.2.0"));
    let id = || "2".to_owned();
    let (status, error) = (Status::Failed, Some("exit status 1"));
    let runs = Some("the stage already runs v1.1.0");
    let runs_newer = Some("the stage already runs v1.2.0");
    let gone = Some("v1.1.0 was deleted before it was deployed; its deployment was removed");
    let interrupted = Some("the last attempt was interrupted; check for a time limit or too little memory");
    for (event, deployment_state, reason, status, high_water, deployed, is_notified) in [
        (TargetEvent::Succeeded(deployment), Succeeded, None, Status::Deployed, "v1.1.0", "v1.1.0", true),
        (failed(deployment, started), Pending, None, status, "v1.1.0", "v1.0.0", true),
        (failed(last, started), Dead, error, Status::Dead, "v1.1.0", "v1.0.0", true),
        (
            failed(deployment, Failed { is_final: true, ..started }),
            Dead,
            error,
            Status::Dead,
            "v1.1.0",
            "v1.0.0",
            true,
        ),
        (failed(last, Failed::default()), Pending, None, status, "v1.1.0", "v1.0.0", true),
        (
            failed(last, Failed { interrupted: true, ..started }),
            Pending,
            None,
            Status::Pending,
            "v1.1.0",
            "v1.0.0",
            true,
        ),
        (
            TargetEvent::LastAttemptInterrupted { deployment: last, back_to: None },
            Dead,
            interrupted,
            Status::Dead,
            "v1.1.0",
            "v1.0.0",
            true,
        ),
        (TargetEvent::TagGone(deployment), Dropped, gone, Status::Older, "v1.0.0", "v1.0.0", false),
        (
            TargetEvent::Adopted { deployment, reported, newer: None, id: id() },
            Succeeded,
            runs,
            Status::Adopted,
            "v1.1.0",
            "v1.1.0",
            true,
        ),
        (
            TargetEvent::Adopted { deployment, reported, newer, id: id() },
            Superseded,
            runs_newer,
            Status::Adopted,
            "v1.2.0",
            "v1.2.0",
            true,
        ),
    ] {
        let name = format!("{event:?}");
        let change = transition(&target, Some(&state), &open, event, now()).unwrap();
        assert_eq!(rows(&change)[0], ("v1.1.0", deployment_state, reason), "{name}");
        let told = change.state.last_reported.as_ref().unwrap();
        assert_eq!((change.state.status, told.status), (Some(status), status), "{name}");
        let told_tag = if status == Status::Adopted { deployed } else { "v1.1.0" };
        assert_eq!(told.tag, Some(tag(told_tag)), "{name}");
        assert_eq!(change.state.high_water.as_ref().unwrap().tag, tag(high_water), "{name}");
        assert_eq!(change.state.deployed_tag(), Some(tag(deployed)), "{name}");
        assert_eq!(change.notify.is_some(), is_notified, "{name}");
    }
}

#[test]
fn attempt_that_started_nothing_is_not_counted_and_says_when_it_is_retried() {
    let (target, state, open) = running();
    let deployment = open.running.as_ref().unwrap();
    for (started, attempts) in [(true, 1), (false, 0)] {
        let failed = Failed { started, ..Failed::default() };
        let event = TargetEvent::Failed { deployment, failure: failure(), failed, back_to: None };
        let change = transition(&target, Some(&state), &open, event, now()).unwrap();
        let ended = change.deployment().unwrap();
        assert_eq!(ended.attempts, attempts);
        assert!(change.state.until.is_some());
        assert_eq!(ended.next_attempt.map(|next| next.at), change.state.until);
    }
}

#[test]
fn interrupted_attempt_keeps_its_number_and_is_not_counted() {
    let (target, state, open) = running();
    let deployment = open.running.as_ref().unwrap();
    for started in [true, false] {
        let failed = Failed { started, interrupted: true, ..Failed::default() };
        let event = TargetEvent::Failed { deployment, failure: failure(), failed, back_to: None };
        let change = transition(&target, Some(&state), &open, event, now()).unwrap();
        let ended = change.deployment().unwrap();
        assert_eq!((ended.attempts, ended.attempts_counted()), (1, 0));
    }
}

#[test]
fn a_failure_beside_a_newer_pending_deployment_is_superseded_and_notified() {
    let (target, state, mut open) = running();
    let newer = Deployment { id: "2".to_owned(), ..pending(tag("v1.2.0"), None) };
    open.pending = Some(newer);
    let deployment = open.running.as_ref().unwrap();
    for interrupted in [false, true] {
        let failed = Failed { started: true, interrupted, ..Failed::default() };
        let event = TargetEvent::Failed { deployment, failure: failure(), failed, back_to: None };
        let change = transition(&target, Some(&state), &open, event, now()).unwrap();
        let (status, reason) = match interrupted {
            true => (Status::Pending, "interrupted; a newer tag is pending"),
            false => (Status::Failed, "failed; a newer tag is pending"),
        };
        assert_eq!(rows(&change), [("v1.1.0", DeploymentState::Superseded, Some(reason))]);
        assert_eq!((change.state.status, change.notify.is_some()), (Some(status), true));
    }
}

#[test]
fn events_of_a_deployment_that_is_not_current_are_ignored() {
    let (target, mut state, mut open) = running();
    let deployment = open.running.clone().unwrap();
    let ends = |state: &PollState, open: &OpenDeployments| {
        transition(&target, Some(state), open, TargetEvent::TagGone(&deployment), now()).is_some()
    };
    assert!(ends(&state, &open));
    state.marked = Some(tag("v1.1.0"));
    assert!(ends(&state, &open), "its own tag was marked");
    state.marked = Some(tag("v1.2.0"));
    assert!(!ends(&state, &open), "another tag was marked, which may be newer");
    state.marked = None;
    open.pending = Some(Deployment { id: "2".to_owned(), ..pending(tag("v1.2.0"), None) });
    assert!(!ends(&state, &open), "another run recorded a newer one");
    assert!(!ends(&state, &OpenDeployments::default()), "another run finished it");
}

#[test]
fn moved_digest_plans_one_new_deployment() {
    let (target, state, open) = running();
    let deployment = open.running.as_ref().unwrap();
    let event = TargetEvent::DigestMoved { deployment, digest: digest(2), id: "2".to_owned() };
    let change = transition(&target, Some(&state), &open, event, now()).unwrap();
    let reason = format!("v1.1.0 was pushed again: {}", digest(2));
    let superseded = ("v1.1.0", DeploymentState::Superseded, Some(reason.as_str()));
    assert_eq!(rows(&change), [superseded, ("v1.1.0", DeploymentState::Pending, None)]);
    let unknown = Deployment { digest: None, ..deployment.clone() };
    let event = TargetEvent::DigestMoved { deployment: &unknown, digest: digest(2), id: "2".to_owned() };
    let named = transition(&target, Some(&state), &open, event, now()).unwrap();
    assert!(rows(&named)[0].2.unwrap().starts_with("the digest of v1.1.0 was not recorded"), "{named:?}");
    let renewed = &change.rows[1].deployment;
    assert_eq!((renewed.id.as_str(), renewed.attempts, &renewed.digest), ("2", 0, &Some(digest(2))));
    assert_eq!(change.state.high_water.unwrap().digest, Some(digest(2)));
}

#[test]
fn retried_forgives_all_attempts_and_abandoned_drops() {
    let (target, state, _) = running();
    let next_attempt = Some(NextAttempt { at: now(), failed_at: now() });
    let dead = Deployment {
        state: DeploymentState::Dead,
        attempts: 12,
        next_attempt,
        ..pending(tag("v1.1.0"), None)
    };
    let open = OpenDeployments { dead: Some(dead), ..OpenDeployments::default() };
    let after = |event| transition(&target, Some(&state), &open, event, now());
    let retried = after(TargetEvent::Retried("1")).unwrap();
    let deployment = retried.deployment().unwrap();
    assert_eq!((deployment.state, deployment.attempts_counted()), (DeploymentState::Pending, 0));
    assert_eq!((deployment.next_attempt, &retried.state), (None, &state));
    let reason = Some("tagship retry --drop");
    assert_eq!(
        rows(&after(TargetEvent::Abandoned("1")).unwrap()),
        [("v1.1.0", DeploymentState::Dropped, reason)]
    );
    assert!(after(TargetEvent::Retried("2")).is_none(), "it is over");
}

#[test]
fn held_and_released_change_only_the_hold() {
    let (target, state, open) = running();
    let hold = Hold { reason: None, by: "alice".to_owned(), since: now(), until: None };
    let event = TargetEvent::Held(hold.clone());
    let held = transition(&target, Some(&state), &open, event, now()).unwrap();
    assert_eq!(held.message, "held until tagship release shop/dev");
    assert_eq!(held.state, PollState { hold: Some(hold), ..state.clone() });
    let released = transition(&target, Some(&held.state), &open, TargetEvent::Released, now()).unwrap();
    assert_eq!((released.message.as_str(), released.state), ("released; it was held by alice", state));
}

#[test]
fn superseded_deployment_restores_high_water_only_if_it_raised_it() {
    let [one, two, three] = ["v1.0.0", "v2.0.0", "v3.0.0"].map(|name| ListedTag::named(tag(name)));
    let superseded = pending(tag("v2.0.0"), Some(one.clone()));
    assert_eq!(high_water_without(&superseded, Some(two)), Some(one));
    assert_eq!(high_water_without(&superseded, Some(three.clone())), Some(three));
    assert_eq!(high_water_without(&superseded, None), None);
}
/// What it goes back to can be high-water itself, by a mark.
#[test]
fn a_rollback_whose_tag_is_gone_leaves_high_water_as_it_is() {
    let (target, mut state, mut open) = running();
    state.high_water = Some(listed("v1.2.0"));
    let deployment = open.running.take().unwrap();
    open.running = Some(Deployment { attempts: 12, ..deployment });
    let event = TargetEvent::Failed {
        deployment: open.running.as_ref().unwrap(),
        failure: failure(),
        failed: Failed { started: true, ..Failed::default() },
        back_to: Some(BackTo { id: "2".to_owned(), tag: tag("v1.2.0"), digest: None }),
    };
    let given_up = transition(&target, Some(&state), &open, event, now()).unwrap();
    let [dead, rollback] = &given_up.rows[..] else { panic!("{given_up:?}") };
    open = OpenDeployments::default();
    open.insert(dead.deployment.clone());
    open.insert(rollback.deployment.clone());
    let event = TargetEvent::TagGone(&rollback.deployment);
    let dropped = transition(&target, Some(&given_up.state), &open, event, now()).unwrap();
    assert_eq!(dropped.state.high_water, Some(listed("v1.2.0")));
}

/// Things that happen to a stage whose registry has v1.0.0 to v1.9.0.
#[derive(Clone, Copy, Debug)]
enum Step {
    Poll(u8),
    Fail { started: bool, is_final: bool, interrupted: bool },
    Succeed,
    Adopt(u8),
    MoveDigest(u64),
    Delete,
    Mark(u8),
    Manual(u8),
    Retry,
    Abandon,
    Interrupt,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0..10_u8;
    let step = prop_oneof![
        4 => number.clone().prop_map(Step::Poll),
        3 => any::<(bool, bool, bool)>().prop_map(|(started, is_final, interrupted)| {
            Step::Fail { started, is_final, interrupted }
        }),
        3 => Just(Step::Succeed),
        1 => number.clone().prop_map(Step::Adopt),
        1 => (0..3_u64).prop_map(Step::MoveDigest),
        1 => Just(Step::Delete),
        1 => number.clone().prop_map(Step::Mark),
        1 => number.prop_map(Step::Manual),
        1 => Just(Step::Retry),
        1 => Just(Step::Abandon),
        1 => Just(Step::Interrupt),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #[test]
    fn high_water_falls_only_after_a_deletion_or_supersession(steps in steps()) {
        let name = |number: u8| format!("v1.{number}.0");
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0"]));
        let mut newest = 0;
        let mut over = BTreeSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            // Only `Delete` removes a tag.
            if let Step::Poll(number) | Step::Adopt(number) | Step::Mark(number) | Step::Manual(number) = step {
                newest = number.max(newest);
            }
            let id = format!("id-{number}");
            let current = stage.open.pending.clone().or(stage.open.running.clone());
            let attempt = current.clone().map(|current| Deployment { attempts: current.attempts + 1, ..current });
            let (mark, chosen, newer, reported, decision, manual);
            let event = match (step, &attempt) {
                (Step::Poll(_), _) => {
                    let names: Vec<String> = (0..=newest).map(name).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let before = stage.state.clone();
                    decision = stage.poll(&versions(&names));
                    stage.state = before;
                    TargetEvent::Decided { decision: &decision, id }
                }
                (Step::Fail { started, is_final, interrupted }, Some(deployment)) => {
                    let failed = Failed { started, is_final, interrupted, retry_after: None };
                    stage.open.pending = None;
                    stage.open.running = Some(deployment.clone());
                    TargetEvent::Failed { deployment, failure: failure(), failed, back_to: None }
                }
                (Step::Succeed, Some(deployment)) => TargetEvent::Succeeded(deployment),
                (Step::Adopt(number), Some(deployment)) => {
                    newer = listed(&name(number));
                    reported = ProbeAnswer::parse(deployment.tag.as_str()).unwrap();
                    let is_newer = stage.target.policy.candidate(&newer).unwrap()
                        .is_newer_than(&stage.target.policy.candidate(&ListedTag::named(deployment.tag.clone())).unwrap());
                    let goes_up = stage.high_water().is_none_or(|high_water| high_water.as_str() <= newer.tag.as_str());
                    if is_newer && goes_up {
                        TargetEvent::Adopted { deployment, reported: &reported, newer: Some(&newer), id }
                    } else {
                        TargetEvent::Adopted { deployment, reported: &reported, newer: None, id }
                    }
                }
                (Step::MoveDigest(number), Some(deployment)) => {
                    TargetEvent::DigestMoved { deployment, digest: digest(number), id }
                }
                (Step::Delete, Some(deployment)) => TargetEvent::TagGone(deployment),
                (Step::Interrupt, Some(deployment)) => TargetEvent::LastAttemptInterrupted { deployment, back_to: None },
                (Step::Mark(number), _) => {
                    mark = Mark::Deployed(tag(&name(number)));
                    TargetEvent::Marked { mark: &mark, was_given: false, by_whom: "alice".to_owned(), id }
                }
                (Step::Manual(number), _) => {
                    chosen = listed(&name(number));
                    manual = Manual { listed: &chosen, content: ManualContent::Current, by_whom: "alice", holds: false };
                    TargetEvent::DeployedManually { manual: &manual, id }
                }
                (Step::Retry | Step::Abandon, _) => {
                    let Some(open) = stage.open.undelivered() else { continue };
                    over.remove(&open.id);
                    chosen = ListedTag::named(tag(&open.id));
                    if matches!(step, Step::Retry) {
                        TargetEvent::Retried(chosen.tag.as_str())
                    } else {
                        TargetEvent::Abandoned(chosen.tag.as_str())
                    }
                }
                (_, None) => continue,
            };
            let change = transition(&stage.target, stage.state.as_ref(), &stage.open, event, stage.now);
            let Some(change) = change else { continue };
            let before = stage.high_water();
            for row in &change.rows {
                let is_open = matches!(row.deployment.state, DeploymentState::Pending | DeploymentState::Running);
                prop_assert!(!over.contains(&row.deployment.id), "{} is over", row.deployment.id);
                if !is_open {
                    over.insert(row.deployment.id.clone());
                }
                // Only a person or a successor can change a dead deployment.
                if row.deployment.state == DeploymentState::Dead {
                    over.remove(&row.deployment.id);
                }
            }
            save(&mut stage.open, &change.rows);
            stage.state = Some(change.state);
            prop_assert!(stage.open.pending.is_none() || stage.open.dead.is_none());
            if !matches!(step, Step::Delete) {
                prop_assert!(stage.high_water() >= before, "{step:?}: {before:?} to {:?}", stage.high_water());
            }
        }
    }
}
