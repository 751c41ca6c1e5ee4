//! Tests of the gates.

use std::time::Duration;

use super::gate::{BlockKind, BlockedBy, GateCheck};
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

/// Checks v1.1.0, at second 0, for a stage with the high-water tag v1.0.0.
fn judge(gates: Gates, facts: &FactTable, first_seen: i64) -> Fact<Option<BlockedBy>> {
    judge_digest(gates, facts, first_seen, None)
}

/// `moved_to`: the tag is known, and was pushed again with this digest.
fn judge_digest(
    gates: Gates,
    facts: &FactTable,
    first_seen: i64,
    moved_to: Option<Digest>,
) -> Fact<Option<BlockedBy>> {
    let target = Target { gates, ..target("v*", Order::Semver) };
    let high_water = candidate(&target, "v1.0.0", None);
    let gates = GateCheck { target: &target, facts, high_water: Some(&high_water), now: at(0) };
    let mut seen = SeenCandidate {
        sequence: None,
        tag: tag("v1.1.0"),
        pushed_at: None,
        first_seen: at(first_seen),
        asked_digest: None,
        moved_after: moved_to.as_ref().map(|_| at(-200)),
        digest: moved_to,
    };
    gates.blocked_by(&candidate(&target, "v1.1.0", None), &mut seen)
}

fn after(runs: Vec<StageRun>) -> Option<BlockedBy> {
    after_of(None, runs)
}

fn after_of(moved_to: Option<Digest>, runs: Vec<StageRun>) -> Option<BlockedBy> {
    let stage = Name::new("dev").unwrap();
    let gates = Gates {
        after: Some(After { stage: stage.clone(), lasting: Duration::from_secs(100) }),
        ..Gates::default()
    };
    let facts = FactTable {
        digests: [(tag("v1.1.0"), Some(digest('a')))].into(),
        runs: [(stage, runs)].into(),
        ..FactTable::default()
    };
    judge_digest(gates, &facts, 0, moved_to).unwrap()
}

fn run(name: &str, of: Option<char>, from: i64, until: Option<i64>) -> StageRun {
    StageRun {
        tag: tag(name),
        digest: of.map(digest),
        from: at(from),
        until: until.map(at),
        by: Trigger::Poll,
        left_by_going_back: false,
    }
}

#[test]
fn after_blocks_an_image_that_the_other_stage_never_ran() {
    assert!(after(vec![]).unwrap().reason.contains("has not run it yet"));
    assert!(after(vec![run("v1.1.0", Some('b'), -500, None)]).is_some(), "the same tag, another image");
}

#[test]
fn after_blocks_an_image_until_the_other_stage_has_run_it_long_enough() {
    assert_eq!(after(vec![run("dev-7", Some('a'), -60, None)]).unwrap().until, Some(at(40)));
    assert_eq!(after(vec![run("dev-7", Some('a'), -100, None)]), None, "under any tag");
}

#[test]
fn after_blocks_an_image_that_the_other_stage_left_too_soon_or_rolled_back() {
    assert!(after(vec![run("dev-7", Some('a'), -500, Some(-450))]).is_some());
    assert_eq!(after(vec![run("dev-7", Some('a'), -500, Some(-400))]), None, "replaced by a newer one");
    let back = StageRun { left_by_going_back: true, ..run("dev-7", Some('a'), -500, Some(-100)) };
    assert!(after(vec![back.clone()]).unwrap().reason.contains("went back"));
    assert_eq!(after(vec![back, run("dev-7", Some('a'), -100, None)]), None, "deployed again, and kept");
}

#[test]
fn after_counts_from_the_first_of_several_deployments_in_a_row() {
    let again = |back: bool, from, until| StageRun {
        left_by_going_back: back,
        ..run("v1.1.0", Some('a'), from, until)
    };
    // A rollback after a failed deployment is recorded as going back to what the stage runs.
    assert_eq!(after(vec![again(true, -100, Some(-10)), again(false, -10, None)]), None);
    assert_eq!(
        after(vec![again(false, -60, Some(-10)), again(false, -10, None)]).unwrap().until,
        Some(at(40))
    );
    assert_eq!(after(vec![again(false, -500, Some(-450)), again(false, -450, Some(-400))]), None);
    let other = run("v1.2.0", Some('b'), -50, Some(-10));
    let ran = after(vec![again(false, -100, Some(-50)), other, again(false, -10, None)]);
    assert_eq!(ran.unwrap().until, Some(at(90)), "another image ran between");
    let left = after(vec![again(false, -500, Some(-10)), again(true, -10, Some(-5))]);
    assert!(left.unwrap().reason.contains("went back"));
}

#[test]
fn after_compares_tags_if_the_mark_has_no_digest() {
    assert_eq!(after(vec![run("v1.1.0", None, -100, None)]), None);
    assert!(after(vec![run("dev-7", None, -100, None)]).is_some());
    // The tag was pushed again after the poll at -200: an earlier mark is of the image before.
    for (marked_at, passes) in [(-300, false), (-150, true)] {
        let marked = vec![run("v1.1.0", None, marked_at, None)];
        assert_eq!(after_of(Some(digest('a')), marked).is_none(), passes, "marked at {marked_at}");
    }
}

#[test]
fn min_age_counts_from_the_push_or_from_when_the_tag_was_first_seen() {
    let gates = || Gates { min_age: Some(Duration::from_secs(100)), ..Gates::default() };
    let pushed = |at| FactTable { push_times: [(tag("v1.1.0"), at)].into(), ..FactTable::default() };
    let until = |facts: &FactTable, seen| judge(gates(), facts, seen).unwrap().map(|waits| waits.until);
    assert_eq!(until(&pushed(Some(at(-99))), 0), Some(Some(at(1))));
    assert_eq!(until(&pushed(Some(at(-100))), 0), None);
    assert_eq!(until(&pushed(None), -30), Some(Some(at(70))));
    assert_eq!(until(&pushed(None), -100), None);
    let nothing_known = FactTable::default();
    assert_eq!(judge(gates(), &nothing_known, -100).unwrap().unwrap().kind, BlockKind::NotChecked);
    assert_eq!(*nothing_known.asked.borrow(), ["push time of v1.1.0"], "the push time is checked first");
}

/// A wrong clock recorded the beginning of a wait.
#[test]
fn waits_that_begin_further_ahead_than_they_last_are_over() {
    let waits = |from| after(vec![run("dev-7", Some('a'), from, None)]).is_some();
    assert_eq!([1, 100, 101].map(waits), [true, true, false]);

    let hold = |since, until| Hold {
        reason: None,
        by: "alice".to_owned(),
        since: at(since),
        until: Some(at(until)),
    };
    let holds = |since| hold(since, since + 100).holds(at(0));
    assert_eq!([-100, -99, 100, 101].map(holds), [false, true, true, false]);
    assert!(Hold { until: None, ..hold(101, 0) }.holds(at(0)), "it has no end to be wrong");

    let gates = || Gates { min_age: Some(Duration::from_secs(100)), ..Gates::default() };
    let waits = |pushed_at, first_seen| {
        let pushed = [(tag("v1.1.0"), Some(at(pushed_at)))].into();
        let facts = FactTable { push_times: pushed, ..FactTable::default() };
        judge(gates(), &facts, first_seen).unwrap().map(|waits| waits.reason)
    };
    assert!(waits(500, -99).unwrap().contains("v1.1.0 was first seen"), "the push is of a wrong clock");
    assert_eq!(waits(500, -100), None);
    assert_eq!(waits(500, 101), None, "so is a deployment that is rechecked");
}

/// The first poll after the clock was set right is the first that counts.
#[test]
fn min_age_of_a_tag_seen_by_a_clock_that_was_ahead_begins_again() {
    let mut stage = newest();
    stage.target.gates.min_age = Some(Duration::from_secs(100));
    let pushed = |second: i64| listing(&[("dev-1", 0), ("dev-2", 1_800_000_000 + second)]);
    stage.poll(&listing(&[("dev-1", 0)]));
    for (now, pushed_at, deployed) in [
        (5000, 5000, None),
        (0, 5000, None),
        (50, 5000, None),
        (60, 6000, None),
        (159, 6000, None),
        (160, 6000, Some("dev-2")),
    ] {
        stage.now = at(now);
        assert_eq!(stage.deploys(&pushed(pushed_at)).as_deref(), deployed, "at {now}");
    }
}

/// The tag moves between the request for the platforms and that for the digest.
#[test]
fn platforms_of_another_digest_block_the_deployment_and_its_recheck() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.target.gates.platforms = vec!["linux/amd64".to_owned()];
    let listed = versions(&["v1.0.0", "v1.1.0"]);
    let selection = stage.target.policy.select(&listed, &[tag("v1.0.0")]);
    for (of, passes) in [(Some(digest('a')), true), (Some(digest('b')), false), (None, true)] {
        let platforms = Platforms { of: of.clone(), images: vec![("linux/amd64".to_owned(), None)] };
        let facts = FactTable {
            digests: [(tag("v1.1.0"), Some(digest('a')))].into(),
            platforms: [(tag("v1.1.0"), Ok(platforms))].into(),
            ..FactTable::default()
        };
        let state = stage.state.as_ref();
        let decision =
            decide(&stage.target, &selection, state, &OpenDeployments::default(), &facts, stage.now);
        let expected = if passes { Status::Pending } else { Status::Waiting };
        assert_eq!((decision.status, decision.deploy.is_some()), (expected, passes), "{of:?}");
        let deployment = pending(tag("v1.1.0"), None);
        let rechecked = recheck(&stage.target, state, &deployment, &digest('a'), &facts, stage.now);
        assert_eq!(matches!(rechecked, Recheck::Passes), passes, "{of:?}: {rechecked:?}");
    }
}

#[test]
fn platforms_blocks_an_image_without_a_platform() {
    let platforms = |has: &[&str]| {
        let gates = Gates { platforms: vec!["linux/amd64".into(), "linux/arm64".into()], ..Gates::default() };
        let images = has.iter().map(|name| ((*name).to_owned(), None)).collect();
        let has = Ok(Platforms { of: None, images });
        let facts = FactTable { platforms: [(tag("v1.1.0"), has)].into(), ..FactTable::default() };
        judge(gates, &facts, 0).unwrap()
    };
    assert!(platforms(&["linux/amd64"]).unwrap().reason.contains("no linux/arm64"));
    assert_eq!(platforms(&["linux/amd64", "linux/arm64/v8"]), None, "any variant will do");
    assert!(platforms(&[]).is_some());
}

#[test]
fn with_blocks_a_tag_that_the_other_repository_lacks() {
    let other = Repository::new("acme/worker").unwrap();
    let with = |present| {
        let gates = Gates { with: vec![other.clone()], ..Gates::default() };
        let facts =
            FactTable { present: [((other.clone(), tag("v1.1.0")), present)].into(), ..FactTable::default() };
        judge(gates, &facts, 0).unwrap()
    };
    assert!(with(false).unwrap().reason.contains("acme/worker"));
    assert_eq!(with(true), None);
}

/// Offline, not every gate can be checked.
#[test]
fn no_tag_is_next_while_a_newer_one_is_not_checked() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let other = Repository::new("acme/worker").unwrap();
    stage.target.gates.with = vec![other.clone()];
    let facts = FactTable { present: [((other, tag("v1.1.0")), true)].into(), ..FactTable::default() };
    let decide = |names: &[&str]| {
        let selection = stage.target.policy.select(&versions(names), &[]);
        decide(&stage.target, &selection, stage.state.as_ref(), &stage.open, &facts, now())
    };
    assert_eq!(decide(&["v1.0.0", "v1.1.0"]).deploy.unwrap().tag, tag("v1.1.0"));
    let decision = decide(&["v1.0.0", "v1.1.0", "v1.2.0"]);
    assert_eq!((decision.status, decision.deploy), (Status::Waiting, None));
    let blocked: Vec<_> =
        decision.blocked.iter().map(|(tag, block)| (tag.as_str(), block.kind, &block.reason[..])).collect();
    assert_eq!(blocked[0].0, "v1.2.0");
    let reason = "not checked: whether v1.2.0, which is newer, passes its gates";
    assert_eq!(blocked[1..], [("v1.1.0", BlockKind::NotChecked, reason)]);
}

#[test]
fn max_bump_blocks_a_version_too_far_from_high_water() {
    let bump = |allowed| {
        judge(Gates { max_bump: Some(allowed), ..Gates::default() }, &FactTable::default(), 0).unwrap()
    };
    assert!(bump(Bump::Patch).unwrap().reason.contains("minor version away from v1.0.0"));
    assert_eq!(bump(Bump::Minor), None);
}

#[test]
fn unanswered_gate_is_a_failed_check_and_does_not_pass() {
    let gates = Gates { platforms: vec!["linux/amd64".into()], ..Gates::default() };
    let failure = Failure { code: ErrorCode::Unavailable, message: "down".into() };
    let failed = Unknown::Failed(failure);
    let facts =
        FactTable { platforms: [(tag("v1.1.0"), Err(failed.clone()))].into(), ..FactTable::default() };
    assert_eq!(judge(gates, &facts, 0), Err(failed));
}
