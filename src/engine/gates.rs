//! A test for each gate, named after what it prevents.

use std::time::Duration;

use super::gate::{Blocked, Gatekeeper, Waits};
use super::tests::{Table, tag, target};
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
fn judge(gates: Gates, facts: &Table, first_seen: i64) -> Fact<Option<Waits>> {
    let mut target = target("v*", Order::Semver);
    target.gates = gates;
    let high_water = candidate(&target, "v1.0.0", None);
    let keeper = Gatekeeper { target: &target, facts, high_water: Some(&high_water), now: at(0) };
    let mut seen = Sighted {
        sequence: None,
        tag: tag("v1.1.0"),
        pushed_at: None,
        first_seen: at(first_seen),
        asked_digest: None,
        digest: None,
    };
    keeper.stops(&candidate(&target, "v1.1.0", None), &mut seen)
}

fn after(runs: Vec<StageRun>) -> Option<Waits> {
    let stage = Name::new("dev").unwrap();
    let gates = Gates {
        after: Some(After { stage: stage.clone(), lasting: Duration::from_secs(100) }),
        ..Gates::default()
    };
    let facts = Table {
        digests: [(tag("v1.1.0"), Some(digest('a')))].into(),
        runs: [(stage, runs)].into(),
        ..Table::default()
    };
    judge(gates, &facts, 0).unwrap()
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
    let pushed = |at| Table { push_times: [(tag("v1.1.0"), at)].into(), ..Table::default() };
    let until = |facts: &Table, seen| judge(gates(), facts, seen).unwrap().map(|waits| waits.until);
    assert_eq!(until(&pushed(Some(at(-99))), 0), Some(Some(at(1))));
    assert_eq!(until(&pushed(Some(at(-100))), 0), None);
    assert_eq!(until(&pushed(None), -30), Some(Some(at(70))));
    assert_eq!(until(&pushed(None), -100), None);
    let nothing_known = Table::default();
    assert_eq!(judge(gates(), &nothing_known, -100).unwrap().unwrap().by, Blocked::NotChecked);
    assert_eq!(*nothing_known.asked.borrow(), ["push time of v1.1.0"], "it is asked for first");
}

#[test]
fn an_image_without_a_platform_waits() {
    let platforms = |has: &[&str]| {
        let gates = Gates { platforms: vec!["linux/amd64".into(), "linux/arm64".into()], ..Gates::default() };
        let images = has.iter().map(|name| ((*name).to_owned(), None)).collect();
        let has = Ok(Platforms { of: None, images });
        let facts = Table { platforms: [(tag("v1.1.0"), has)].into(), ..Table::default() };
        judge(gates, &facts, 0).unwrap()
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
        let facts = Table { present: [((other.clone(), tag("v1.1.0")), present)].into(), ..Table::default() };
        judge(gates, &facts, 0).unwrap()
    };
    assert!(with(false).unwrap().reason.contains("acme/worker"));
    assert_eq!(with(true), None);
}

#[test]
fn a_version_too_far_from_what_was_given_does_not_pass() {
    let bump =
        |allowed| judge(Gates { max_bump: Some(allowed), ..Gates::default() }, &Table::default(), 0).unwrap();
    assert!(bump(Bump::Patch).unwrap().reason.contains("minor version away from v1.0.0"));
    assert_eq!(bump(Bump::Minor), None);
}

#[test]
fn what_cannot_be_asked_is_a_failed_check_and_no_open_gate() {
    let gates = Gates { platforms: vec!["linux/amd64".into()], ..Gates::default() };
    let failure = Failure { code: ErrorCode::Unavailable, message: "down".into() };
    let failed = Unknown::Failed(failure);
    let facts = Table { platforms: [(tag("v1.1.0"), Err(failed.clone()))].into(), ..Table::default() };
    assert_eq!(judge(gates, &facts, 0), Err(failed));
}
