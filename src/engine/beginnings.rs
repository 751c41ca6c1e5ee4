//! Where a first poll begins with a stage that says what it runs.

use std::time::Duration;

use super::tests::{Table, listing, newest, now, semver, tag, versions};
use super::*;
use crate::reference::Digest;
use crate::target::running::Running;
use crate::target::step::{CommandStep, Step};

/// A stage that can be asked what it runs.
fn running() -> Running {
    let probe = CommandStep { argv: Vec::new(), env: Vec::new(), dir: "/".into(), timeout: Duration::ZERO };
    Running { probe: Step::Command(probe), pointer: None, verify_timeout: Duration::ZERO }
}

#[test]
fn a_first_poll_begins_at_what_the_stage_runs_with_its_own_place_in_the_order() {
    let mut stage = newest();
    stage.target.running = Some(running());
    let facts = Table {
        running: Some(Reported::parse("dev-1").unwrap()),
        digests: [(tag("dev-2"), None)].into(),
        ..Table::default()
    };
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let selection = stage.target.policy.select(&listed, &[]);
    let decision = decide(&stage.target, &selection, None, &stage.open, &facts, now());
    assert_eq!(facts.asked.borrow()[0], "digest of dev-2", "it is newer");
    assert_eq!(decision.state.high_water, Some(listed.tags[0].clone()));
}

#[test]
fn when_an_unlisted_tag_that_the_stage_runs_was_pushed_is_asked_only_where_that_is_its_place() {
    let by_name = (semver(), "v1.0.0", versions(&["v0.9.0"]), None);
    let by_time = (newest(), "dev-1", listing(&[("dev-0", 50)]), Some("push time of dev-1".to_owned()));
    for (mut stage, runs, listed, asks) in [by_name, by_time] {
        stage.target.running = Some(running());
        let facts = Table { running: Some(Reported::parse(runs).unwrap()), ..Table::default() };
        let selection = stage.target.policy.select(&listed, &[]);
        decide(&stage.target, &selection, None, &stage.open, &facts, now());
        assert_eq!(facts.asked.into_inner(), Vec::from_iter(asks));
    }
}

#[test]
fn a_stage_that_tells_the_digest_alone_runs_the_tag_that_has_it() {
    let digest = |digit: char| Digest::new(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
    let mut stage = semver();
    stage.target.running = Some(running());
    let selection = stage.target.policy.select(&versions(&["v1.0.0", "v2.0.0"]), &[]);
    for (runs, deployed, deploys) in
        [('a', Some("v1.0.0"), Some("v2.0.0")), ('b', Some("v2.0.0"), None), ('c', None, None)]
    {
        let digests =
            [("v1.0.0", 'a'), ("v2.0.0", 'b')].map(|(name, digit)| (tag(name), Some(digest(digit))));
        let running = Some(Reported::parse(digest(runs).as_str()).unwrap());
        let facts = Table { running, digests: digests.into(), ..Table::default() };
        let decision = decide(&stage.target, &selection, None, &stage.open, &facts, now());
        assert_eq!(decision.state.deployed.map(|deployed| deployed.tag), deployed.map(tag));
        assert_eq!(decision.deploy.map(|listed| listed.tag), deploys.map(tag));
    }
}

#[test]
fn where_the_rule_cannot_compare_what_the_stage_runs_the_first_poll_is_a_baseline() {
    let pushed = listing(&[("dev-1", 100)]);
    for (mut stage, runs, listed) in
        [(semver(), "hotfix", versions(&["v1.0.0"])), (newest(), "dev-9", pushed)]
    {
        stage.target.running = Some(running());
        let running = Some(Reported::parse(runs).unwrap());
        let facts = Table { running, push_times: [(tag(runs), None)].into(), ..Table::default() };
        let selection = stage.target.policy.select(&listed, &[]);
        let decision = decide(&stage.target, &selection, None, &stage.open, &facts, now());
        let why = format!("first poll; the stage runs {runs}, which the rule cannot compare: ");
        assert!(decision.status == Status::Baseline && decision.reason.starts_with(&why), "{decision:?}");
    }
}
