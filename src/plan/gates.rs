//! A test for each gate, named after what it prevents.

use std::time::Duration;

use super::gate::{Gatekeeper, Waits};
use super::tests::{tag, target};
use super::*;
use crate::policy::{Bump, Candidate, Order};
use crate::reference::{Digest, Platforms, Repository};
use crate::target::Name;
use crate::target::gate::{After, Gates};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn digest(digit: char) -> Digest {
    Digest::new(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
}

fn candidate(target: &Target, name: &str, pushed_at: Option<Timestamp>) -> Candidate {
    target.policy.candidate(&ListedTag { pushed_at, ..ListedTag::named(tag(name)) }).unwrap()
}

/// Judges v1.1.0, at the moment 0, for a stage that was given v1.0.0.
fn judge(gates: Gates, facts: &[(Question, Answer)], state: &PollState) -> Result<Option<Waits>, Undecided> {
    let mut target = target("v*", Order::Semver);
    target.gates = gates;
    let mut known = Facts::default();
    for (question, answer) in facts {
        known.insert(question.clone(), answer.clone());
    }
    let high_water = candidate(&target, "v1.0.0", None);
    let keeper =
        Gatekeeper { target: &target, facts: &known, state, high_water: Some(&high_water), now: at(0) };
    keeper.stops(&candidate(&target, "v1.1.0", None))
}

fn after(runs: Vec<StageRun>) -> Option<Waits> {
    let gates = Gates {
        after: Some(After { stage: Name::new("dev").unwrap(), lasting: Duration::from_secs(100) }),
        ..Gates::default()
    };
    let facts = [
        (Question::Digest(tag("v1.1.0")), Answer::Digest(Some(digest('a')))),
        (Question::Runs(Name::new("dev").unwrap()), Answer::Runs(runs)),
    ];
    judge(gates, &facts, &PollState::default()).unwrap()
}

fn run(name: &str, of: Option<char>, from: i64, until: Option<i64>) -> StageRun {
    StageRun {
        tag: tag(name),
        digest: of.map(digest),
        from: at(from),
        until: until.map(at),
        by: DecidedBy::Poll,
        left_by_going_back: false,
    }
}

#[test]
fn an_image_that_the_other_stage_never_ran_does_not_pass() {
    assert!(after(vec![]).unwrap().reason.contains("has not run it yet"));
    assert!(after(vec![run("v1.1.0", Some('b'), -500, None)]).is_some(), "the same tag, another image");
}

#[test]
fn an_image_that_runs_for_too_short_waits_until_it_is_long_enough() {
    assert_eq!(after(vec![run("dev-7", Some('a'), -60, None)]).unwrap().until, Some(at(40)));
    assert_eq!(after(vec![run("dev-7", Some('a'), -100, None)]), None, "under any tag");
}

#[test]
fn an_image_that_was_left_too_soon_or_by_going_back_does_not_pass() {
    assert!(after(vec![run("dev-7", Some('a'), -500, Some(-450))]).is_some());
    assert_eq!(after(vec![run("dev-7", Some('a'), -500, Some(-400))]), None, "left for something newer");
    let back = StageRun { left_by_going_back: true, ..run("dev-7", Some('a'), -500, Some(-100)) };
    assert!(after(vec![back.clone()]).unwrap().reason.contains("went back"));
    assert_eq!(after(vec![back, run("dev-7", Some('a'), -100, None)]), None, "and came again, for good");
}

#[test]
fn what_was_marked_without_a_digest_is_known_by_its_tag() {
    assert_eq!(after(vec![run("v1.1.0", None, -100, None)]), None);
    assert!(after(vec![run("dev-7", None, -100, None)]).is_some());
}

#[test]
fn a_tag_too_young_waits_by_its_push_or_by_when_it_was_first_seen() {
    let gates = || Gates { min_age: Some(Duration::from_secs(100)), ..Gates::default() };
    let pushed = |second| [(Question::PushedAt(tag("v1.1.0")), Answer::Moment(Some(at(second))))];
    let until = |waits: Result<Option<Waits>, Undecided>| waits.unwrap().map(|waits| waits.until);
    assert_eq!(until(judge(gates(), &pushed(-99), &PollState::default())), Some(Some(at(1))));
    assert_eq!(until(judge(gates(), &pushed(-100), &PollState::default())), None);

    let no_times = [(Question::PushedAt(tag("v1.1.0")), Answer::Moment(None))];
    let seen = |second| PollState {
        candidates: vec![Sighted {
            sequence: None,
            tag: tag("v1.1.0"),
            pushed_at: None,
            first_seen: at(second),
            asked_digest: None,
            digest: None,
        }],
        ..PollState::default()
    };
    assert_eq!(until(judge(gates(), &no_times, &seen(-30))), Some(Some(at(70))));
    assert_eq!(until(judge(gates(), &no_times, &seen(-100))), None);
    assert!(judge(gates(), &[], &seen(-100)).is_err(), "the push time is asked for first");
}

#[test]
fn an_image_without_a_platform_waits() {
    let platforms = |has: &[&str]| {
        let gates = Gates { platforms: vec!["linux/amd64".into(), "linux/arm64".into()], ..Gates::default() };
        let images = has.iter().map(|name| ((*name).to_owned(), None)).collect();
        let has = Answer::Platforms(Platforms { of: None, images });
        judge(gates, &[(Question::Platforms(tag("v1.1.0")), has)], &PollState::default()).unwrap()
    };
    assert!(platforms(&["linux/amd64"]).unwrap().reason.contains("no linux/arm64"));
    assert_eq!(platforms(&["linux/amd64", "linux/arm64/v8"]), None, "content with any variant");
    assert!(platforms(&[]).is_some());
}

#[test]
fn a_tag_without_its_sibling_waits() {
    let other = Repository::new("acme/worker").unwrap();
    let with = |present| {
        let gates = Gates { with: vec![other.clone()], ..Gates::default() };
        let facts = [(Question::Presence(other.clone(), tag("v1.1.0")), Answer::Presence(present))];
        judge(gates, &facts, &PollState::default()).unwrap()
    };
    assert!(with(false).unwrap().reason.contains("acme/worker"));
    assert_eq!(with(true), None);
}

#[test]
fn a_version_too_far_from_what_was_given_does_not_pass() {
    let bump = |allowed| {
        judge(Gates { max_bump: Some(allowed), ..Gates::default() }, &[], &PollState::default()).unwrap()
    };
    assert!(bump(Bump::Patch).unwrap().reason.contains("minor version away from v1.0.0"));
    assert_eq!(bump(Bump::Minor), None);
}

#[test]
fn what_cannot_be_asked_is_a_failed_check_and_no_open_gate() {
    let gates = Gates { platforms: vec!["linux/amd64".into()], ..Gates::default() };
    let failure = Failure { code: ErrorCode::Unavailable, message: "down".into() };
    let facts = [(Question::Platforms(tag("v1.1.0")), Answer::Failed(failure.clone()))];
    assert_eq!(judge(gates, &facts, &PollState::default()), Err(Undecided::Failed(failure)));
}
