//! What stands right at the edge between two rules.

use std::time::Duration;

use super::tests::{listing, newest, now, pending, semver, tag, versions};
use super::*;
use crate::target::running::Running;
use crate::target::step::{CommandStep, Step};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_first_poll_begins_at_what_the_stage_runs_with_its_own_place_in_the_order() {
    let mut stage = newest();
    let probe = CommandStep { argv: Vec::new(), env: Vec::new(), dir: "/".into(), timeout: Duration::ZERO };
    let verify_timeout = Duration::ZERO;
    stage.target.running = Some(Running { probe: Step::Command(probe), pointer: None, verify_timeout });
    let mut facts = Facts::default();
    facts.insert(Question::Running, Answer::Running(Reported::parse("dev-1").unwrap()));
    facts.insert(Question::Given, Answer::Given(stage.given.clone()));
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let selection = stage.target.policy.select(&listed, &[]);
    let asks = decide(&stage.target, &selection, None, &stage.open, &facts, now()).unwrap_err();
    assert_eq!(asks, Question::Digest(tag("dev-2")), "it is newer");
    facts.insert(asks, Answer::Digest(None));
    let decision = decide(&stage.target, &selection, None, &stage.open, &facts, now()).unwrap();
    assert_eq!(decision.state.high_water, Some(listed.tags[0].clone()));
}

#[test]
fn what_waits_to_be_tried_again_says_until_when_and_then_that_it_is_due() {
    let mut stage = semver();
    let listed = versions(&["v1.0.0"]);
    stage.poll(&listed);
    stage.pending("v1.0.0", None);
    let (failed_at, later) = (now(), at(now().as_second() + 60));
    stage.open.pending.as_mut().unwrap().next_attempt = Some(NextAttempt { at: later, failed_at });
    let decision = stage.poll(&listed);
    assert_eq!((decision.status, decision.until), (Status::Retrying, Some(later)));
    stage.now = later;
    let decision = stage.poll(&listed);
    assert_eq!((decision.status, decision.until), (Status::Pending, None));
}

#[test]
fn what_failed_this_very_moment_is_not_due() {
    let next = NextAttempt { at: at(160), failed_at: at(100) };
    assert!(!next.is_over(at(100)) && !next.is_over(at(159)));
    assert!(next.is_over(at(160)) && next.is_over(at(99)));
}

#[test]
fn a_deleted_high_water_does_not_drop_a_deployment_of_another_tag() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    stage.pending("v1.0.0", None);
    let decision = stage.poll(&versions(&["v1.0.0"]));
    assert_eq!((decision.status, decision.drop_pending), (Status::Older, None));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
}

#[test]
fn why_nothing_matches_is_told() {
    for (tags, why) in [
        (vec![], "the image has no tags yet"),
        (vec!["latest", "edge"], "none of 2 tags matches"),
        (vec!["latest", "vx"], "1 of 2 tags match, and 1 of them are nothing that the order can compare"),
    ] {
        let decision = semver().poll(&versions(&tags));
        assert_eq!((decision.status, decision.reason.as_str()), (Status::NoMatch, why));
    }
}

#[test]
fn a_mark_of_high_water_by_its_name_supersedes_the_rollback_that_waits() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    stage.pending("dev-1", None);
    let marked = stage.mark(&Mark::Deployed(tag("dev-2")));
    assert_eq!(marked.pending_becomes, Some(DeploymentState::Superseded));
}

#[test]
fn a_mark_says_what_comes_next() {
    let said = |name: &str| {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
        stage.mark(&Mark::Deployed(tag(name))).said
    };
    assert!(said("v3.0.0").ends_with("what is newer will be deployed"));
    assert!(said("v2.0.0").ends_with("what is newer will be deployed"));
    assert!(said("v1.0.0").contains("stays undeployed"));
    assert!(said("latest").contains("the rule does not take it"));
}

#[test]
fn an_older_version_by_hand_is_placed_at_once() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    let given = by_hand(&stage.target, stage.state.as_ref(), &ListedTag::named(tag("v1.0.0")), None, now());
    assert!(given.goes_back);
    assert_eq!(given.state.marked, None);
}

#[test]
fn a_target_is_unchanged_only_where_nothing_waits() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let mut quiet = stage.state.clone().unwrap();
    quiet.came_to(Status::UpToDate, Some("v1.0.0 is the newest".to_owned()), None);
    let none = OpenDeployments::default();
    assert!(unchanged(&stage.target, &quiet, &none, now()).is_some());
    let waiting = OpenDeployments { pending: Some(pending(tag("v1.0.0"), None)), ..none.clone() };
    assert!(unchanged(&stage.target, &quiet, &waiting, now()).is_none());
    let first_seen = now();
    let seen = Sighted { tag: tag("v2.0.0"), pushed_at: None, sequence: None, first_seen, digest: None };
    let gated = PollState { candidates: vec![seen], ..quiet.clone() };
    assert!(unchanged(&stage.target, &gated, &none, now()).is_none());
    stage.target.digest = true;
    assert!(unchanged(&stage.target, &quiet, &none, now()).is_none());
}

#[test]
fn a_hold_says_whose_it_is_and_why() {
    let hold = |reason: Option<&str>| Hold {
        reason: reason.map(str::to_owned),
        by: "alice".to_owned(),
        since: now(),
        until: None,
    };
    assert_eq!(hold(Some("release freeze")).describe(), "held by alice: release freeze");
    assert_eq!(hold(None).describe(), "held by alice");
}

#[test]
fn every_status_is_a_failure_a_change_or_neither() {
    let names = |is: fn(Status) -> bool| -> Vec<&str> {
        Status::ALL.into_iter().filter(|status| is(*status)).map(Status::as_str).collect()
    };
    let mut failures = names(Status::is_failure);
    failures.sort_unstable();
    assert_eq!(failures, ["dead", "failed", "unknown"]);
    let mut changes = names(Status::is_change);
    changes.sort_unstable();
    assert_eq!(changes, ["adopted", "available", "deployed", "would_deploy"]);
}

#[test]
fn news_is_told_once_an_outage_is_not_taken_from_people_and_its_end_is_told() {
    let mut stage = semver();
    stage.target.auto_deploy = false;
    let listed = versions(&["v1.0.0"]);
    stage.poll(&listed);
    let poll = |stage: &mut tests::Stage, failure: bool, audience: Audience| {
        let before = stage.state.clone();
        let mut decision = if failure {
            let failure = Failure { code: ErrorCode::Unavailable, message: String::new() };
            decide_failed(before.as_ref(), failure, stage.now)
        } else {
            stage.poll(&versions(&["v1.0.0", "v2.0.0"]))
        };
        let news = tell(&mut decision, before.as_ref(), audience, stage.now);
        stage.state = Some(decision.state);
        news
    };
    let stage = &mut stage;
    assert!(poll(stage, false, Audience::Machine), "available");
    assert!(poll(stage, false, Audience::Mail), "a program takes no news away");
    assert!(!poll(stage, false, Audience::Mail), "told already");
    assert!(poll(stage, true, Audience::Machine), "an outage");
    assert!(poll(stage, true, Audience::Mail), "nobody was told of it yet");
    assert!(!poll(stage, true, Audience::Mail), "now they were");
    assert!(poll(stage, true, Audience::Person), "always, at a terminal");
    assert!(poll(stage, false, Audience::Mail), "it is over");
    assert!(!poll(stage, false, Audience::Mail));
}

#[test]
fn high_water_deployed_again_by_hand_keeps_what_is_known_of_its_push_and_learns_what_is_new() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    let known = stage.state.as_ref().unwrap().high_water.clone().unwrap();
    let again = |pushed_at, sequence| {
        let listed = ListedTag { pushed_at, sequence, ..known.clone() };
        by_hand(&stage.target, stage.state.as_ref(), &listed, None, now()).state.high_water.unwrap()
    };
    assert_eq!(again(None, None), known);
    assert_eq!(again(known.pushed_at, None), known);
    assert_eq!(again(known.pushed_at, Some(9)).sequence, Some(9), "pushed again in the same second");
    assert_eq!(
        again(Some(at(300)), None),
        ListedTag { pushed_at: Some(at(300)), sequence: None, ..known.clone() }
    );
}

#[test]
fn of_many_newer_tags_only_the_newest_are_asked_about() {
    let mut stage = semver();
    stage.poll(&versions(&["v0.0.1"]));
    stage.target.gates.platforms = vec!["linux/amd64".to_owned()];
    let names: Vec<String> = (0..60).map(|minor| format!("v1.{minor}.0")).collect();
    let listed = versions(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut facts = Facts::default();
    let state = stage.state.clone().unwrap();
    let explained = loop {
        match explain(&stage.target, &listed, &state, &stage.open, &facts, now()) {
            Ok(explained) => break explained,
            Err(Unexplained::Asks(question)) => facts.insert(question, Answer::Platforms(Vec::new())),
            Err(Unexplained::Failed(failure)) => panic!("{failure:?}"),
        }
    };
    let waiting = explained.iter().filter(|one| one.taken == Taken::Waiting).count();
    assert!((1..60).contains(&waiting), "{waiting}");
    assert!(explained[waiting..].iter().all(|one| one.taken == Taken::PassedBy));
}
