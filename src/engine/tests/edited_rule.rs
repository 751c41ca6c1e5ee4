//! Polls after the rule or the image of a stage was edited.

use super::*;

#[test]
fn edited_rule_that_does_not_match_high_water_starts_a_baseline() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.pending("v1.0.0", None);
    stage.target.policy = target("release-*", Order::Semver).policy;
    stage.target.first_poll = FirstPoll::Deploy;
    let decision = stage.poll(&versions(&["v1.0.0", "release-2.0.0"]));
    assert_eq!((decision.status, decision.deploy), (Status::Baseline, None));
    assert!(!decision.ends.is_empty());
    assert_eq!(stage.high_water(), Some(tag("release-2.0.0")));
}

#[test]
fn edited_rule_that_still_matches_high_water_continues() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.target.policy = target("v?.*", Order::Semver).policy;
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0"])), Some("v1.1.0".to_owned()));
}

#[test]
fn restored_high_water_that_the_edited_rule_does_not_match_starts_a_baseline() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let before = stage.state.as_ref().unwrap().high_water.clone();
    stage.deploys(&versions(&["v1.0.0", "v3.0.0"]));
    stage.pending("v3.0.0", before);
    let rule = Rule { tags: vec!["v3.*".into(), "v0.*".into()], order: Order::Semver, ..Rule::default() };
    stage.target.policy = Policy::new(&rule).unwrap().into();
    stage.poll(&versions(&["v0.9.0", "v1.0.0", "v3.0.0"]));
    let decision = stage.poll(&versions(&["v0.9.0", "v1.0.0"]));
    assert_eq!((decision.status, decision.deploy), (Status::Baseline, None));
    assert!(!decision.ends.is_empty());
}

#[test]
fn pending_deployment_of_another_repository_is_dropped() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.pending("v1.0.0", None);
    stage.target.image.repository = Repository::new("acme/other").unwrap();
    assert!(stage.poll(&versions(&["v1.0.0"])).ends.len() == 1);
}

#[test]
fn pending_deployment_that_the_edited_rule_does_not_match_is_dropped() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    deploy_manually_in(&mut stage, &ListedTag::named(tag("v1.0.0")), None);
    stage.pending("v1.0.0", None);
    stage.target.policy = target("v2.*", Order::Semver).policy;
    let decision = stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    assert_ne!(decision.status, Status::Baseline);
    assert!(decision.ends[0].reason.as_ref().unwrap().contains("v1.0.0"));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    stage.open.pending = None;
    assert!(stage.poll(&versions(&["v1.0.0", "v2.0.0"])).ends.is_empty(), "once");
}

#[test]
fn same_rule_written_differently_is_not_an_edit() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let rule = Rule { tags: vec!["v*".into(), "v*".into()], order: Order::Semver, ..Rule::default() };
    stage.target.policy = Policy::new(&rule).unwrap().into();
    stage.target.gates.min_age = None;
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0"])), Some("v1.1.0".to_owned()));
}
