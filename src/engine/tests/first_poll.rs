//! First polls, with and without a probe (`running`).

use super::*;

#[test]
fn first_poll_takes_a_baseline_and_deploys_nothing() {
    let mut stage = semver();
    let decision = stage.poll(&versions(&["v1.0.0", "v1.2.0", "latest"]));
    assert_eq!((decision.status, decision.deploy), (Status::Baseline, None));
    assert_eq!(stage.high_water(), Some(tag("v1.2.0")));
    assert_eq!(stage.poll(&versions(&["v1.2.0"])).status, Status::UpToDate);
}

#[test]
fn first_poll_deploys_if_configured() {
    let mut stage = semver();
    stage.target.first_poll = FirstPoll::Deploy;
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.2.0"])), Some("v1.2.0".to_owned()));
}

#[test]
fn first_tag_of_an_empty_repository_is_deployed() {
    let mut stage = semver();
    assert_eq!(stage.poll(&versions(&[])).status, Status::NoMatch);
    assert_eq!(stage.poll(&versions(&["latest"])).status, Status::NoMatch);
    assert_eq!(stage.deploys(&versions(&["latest", "v0.1.0"])), Some("v0.1.0".to_owned()));
}

#[test]
fn empty_list_is_a_failure_until_mark_none() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    for count in 1..=2 {
        let decision = stage.poll(&versions(&[]));
        assert_eq!(decision.status, Status::Unknown);
        assert_eq!(decision.failure.unwrap().code, ErrorCode::Protocol);
        assert_eq!(decision.state.failing.unwrap().count, count);
        assert_eq!(stage.high_water(), Some(tag("v1.0.0")));
    }
    stage.mark(&Mark::Nothing);
    assert_eq!(stage.poll(&versions(&[])).status, Status::NoMatch);
}

/// A probe that needs no answer: the tests give the facts.
fn running() -> Probe {
    let probe = CommandStep { argv: Vec::new(), env: Vec::new(), dir: "/".into(), timeout: Duration::ZERO };
    Probe { probe: Step::Command(probe), pointer: None, verify_timeout: Duration::ZERO }
}

#[test]
fn first_poll_starts_from_the_running_tag_as_it_is_listed() {
    let mut stage = newest();
    stage.target.running = Some(running());
    let facts = FactTable {
        running: Some(ProbeAnswer::parse("dev-1").unwrap()),
        digests: [(tag("dev-2"), None)].into(),
        ..FactTable::default()
    };
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let selection = stage.target.policy.select(&listed, &[]);
    let decision = decide(&stage.target, &selection, None, &stage.open, &facts, now());
    assert_eq!(facts.asked.borrow()[0], "digest of dev-2", "it is newer");
    assert_eq!(decision.state.high_water, Some(listed.tags[0].clone()));
}

#[test]
fn push_time_of_an_unlisted_running_tag_is_asked_only_for_order_newest() {
    let by_name = (semver(), "v1.0.0", versions(&["v0.9.0"]), None);
    let by_time = (newest(), "dev-1", listing(&[("dev-0", 50)]), Some("push time of dev-1".to_owned()));
    for (mut stage, runs, listed, asks) in [by_name, by_time] {
        stage.target.running = Some(running());
        let facts = FactTable { running: Some(ProbeAnswer::parse(runs).unwrap()), ..FactTable::default() };
        let selection = stage.target.policy.select(&listed, &[]);
        decide(&stage.target, &selection, None, &stage.open, &facts, now());
        assert_eq!(facts.asked.into_inner(), Vec::from_iter(asks));
    }
}

#[test]
fn running_tag_is_found_by_its_digest() {
    let digest = |digit: char| Digest::new(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
    let mut stage = semver();
    stage.target.running = Some(running());
    let selection = stage.target.policy.select(&versions(&["v1.0.0", "v2.0.0"]), &[]);
    for (runs, deployed, deploys) in
        [('a', Some("v1.0.0"), Some("v2.0.0")), ('b', Some("v2.0.0"), None), ('c', None, None)]
    {
        let digests =
            [("v1.0.0", 'a'), ("v2.0.0", 'b')].map(|(name, digit)| (tag(name), Some(digest(digit))));
        let running = Some(ProbeAnswer::parse(digest(runs).as_str()).unwrap());
        let facts = FactTable { running, digests: digests.into(), ..FactTable::default() };
        let decision = decide(&stage.target, &selection, None, &stage.open, &facts, now());
        assert_eq!(decision.state.deployed.map(|deployed| deployed.tag), deployed.map(tag));
        assert_eq!(decision.deploy.map(|listed| listed.tag), deploys.map(tag));
    }
}

#[test]
fn first_poll_is_a_baseline_if_the_rule_cannot_compare_the_running_tag() {
    let pushed = listing(&[("dev-1", 100)]);
    for (mut stage, runs, listed) in
        [(semver(), "hotfix", versions(&["v1.0.0"])), (newest(), "dev-9", pushed)]
    {
        stage.target.running = Some(running());
        let running = Some(ProbeAnswer::parse(runs).unwrap());
        let facts = FactTable { running, push_times: [(tag(runs), None)].into(), ..FactTable::default() };
        let selection = stage.target.policy.select(&listed, &[]);
        let decision = decide(&stage.target, &selection, None, &stage.open, &facts, now());
        let why = format!("first poll; the stage runs {runs}, which the rule cannot compare: ");
        assert!(decision.status == Status::Baseline && decision.reason.starts_with(&why), "{decision:?}");
    }
}
