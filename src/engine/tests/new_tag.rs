//! Which tags are new, and which of several new tags is deployed.

use super::*;

#[test]
fn only_newer_tags_are_deployed_and_only_once() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.9.0"]));
    assert_eq!(stage.deploys(&versions(&["v1.9.0", "v1.10.0", "v1.8.9"])), Some("v1.10.0".to_owned()));
    assert_eq!(stage.deploys(&versions(&["v1.9.0", "v1.10.0", "v1.8.9"])), None);
}

#[test]
fn a_tie_never_deploys() {
    let mut stage = TestStage::new(target("*", Order::Semver));
    stage.poll(&versions(&["1.0.0"]));
    for (listed, reason) in [
        (versions(&["1.0.0"]), "1.0.0 is the newest"),
        (versions(&["1.0.0", "v1.0.0"]), "nothing is newer than 1.0.0; v1.0.0 was seen before"),
    ] {
        let decision = stage.poll(&listed);
        assert_eq!((decision.status, decision.reason.as_str()), (Status::UpToDate, reason));
        assert_eq!(stage.high_water(), Some(tag("1.0.0")));
    }
}

#[test]
fn known_tag_pushed_again_is_not_new() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    assert_eq!(stage.poll(&listing(&[("dev-1", 200)])).status, Status::UpToDate);
    // A tag pushed between the two is new.
    assert_eq!(stage.deploys(&listing(&[("dev-1", 200), ("dev-2", 150)])), Some("dev-2".to_owned()));
}

#[test]
fn older_tag_pushed_again_is_not_deployed() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    stage.deploys(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    stage.deploys(&listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]));
    let decision = stage.poll(&listing(&[("dev-1", 100), ("dev-2", 400), ("dev-3", 300)]));
    assert_eq!((decision.status, decision.deploy), (Status::UpToDate, None));
}

#[test]
fn sequence_orders_pushes_of_the_same_second() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    assert_eq!(
        stage.deploys(&listing(&[("dev-1", 100), ("dev-3", 100), ("dev-2", 100)])),
        Some("dev-2".to_owned())
    );
}

#[test]
fn repeated_decision_deploys_nothing() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let listed = versions(&["v1.0.0", "v1.1.0"]);
    let first = stage.poll(&listed);
    let again = stage.poll(&listed);
    assert!(first.deploy.is_some() && again.deploy.is_none());
    assert_eq!(first.state, again.state);
}

#[test]
fn only_the_newest_of_many_candidates_are_checked() {
    let mut stage = semver();
    stage.poll(&versions(&["v0.0.1"]));
    stage.target.gates.platforms = vec!["linux/amd64".to_owned()];
    let names: Vec<String> = (0..60).map(|minor| format!("v1.{minor}.0")).collect();
    let listed = versions(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let verdicts = stage.verdicts(&listed);
    let waiting = verdicts.iter().filter(|verdict| verdict.kind == VerdictKind::Waiting).count();
    assert!((1..60).contains(&waiting), "{waiting}");
    assert!(verdicts[waiting..].iter().all(|verdict| verdict.kind == VerdictKind::NewerFirst));
}

#[test]
fn blocked_candidate_is_kept_when_an_older_one_is_deployed() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    stage.target.gates.min_age = Some(Duration::from_secs(60));
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", now().as_second() - 30)]);
    assert_eq!(stage.deploys(&listed), Some("dev-2".to_owned()));
    let waiting = stage.state.clone().unwrap().candidates;
    assert_eq!(waiting.iter().map(|seen| seen.tag.as_str()).collect::<Vec<_>>(), ["dev-3"]);
    // That is enough for a decision without a listing, with the same order.
    let memory = remembered(&stage.target, stage.state.as_ref().unwrap()).unwrap();
    assert_eq!(memory.tags[1], listed.tags[2]);
}

#[test]
fn each_candidate_keeps_when_it_was_first_seen() {
    let mut stage = semver();
    stage.target.auto_deploy = false;
    stage.poll(&versions(&["v1.0.0"]));
    stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
    stage.now = at(now().as_second() + 60);
    stage.poll(&versions(&["v1.0.0", "v1.1.0", "v1.2.0"]));
    let seen: Vec<Timestamp> = stage.state.unwrap().candidates.iter().map(|seen| seen.first_seen).collect();
    assert_eq!(seen, [stage.now, now()]);
}

#[test]
fn server_clock_set_back_hides_no_tag() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 150)]);
    for _ in 0..2 {
        let decision = stage.poll(&listed);
        assert_eq!((decision.status, decision.deploy), (Status::Older, None));
        assert_eq!(decision.concerns, Some(listed.tags[2].tag.clone()));
        assert!(
            decision.reason.contains("dev-3") && decision.reason.contains("dev-2"),
            "{}",
            decision.reason
        );
    }
    // Without a higher sequence it is just an older tag.
    let mut listed = listed;
    for sequence in [None, Some(0), Some(1)] {
        listed.tags[2].sequence = sequence;
        assert_eq!(stage.poll(&listed).status, Status::UpToDate);
    }
}

#[test]
fn tag_with_too_early_a_push_time_is_reported_until_it_is_deployed() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 150)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    let chosen = ListedTag { pushed_at: Some(at(150)), ..ListedTag::named(tag("dev-3")) };
    deploy_manually_in(&mut stage, &chosen, None);
    assert_eq!(stage.poll(&listed).status, Status::UpToDate);
    assert_eq!(stage.high_water(), Some(tag("dev-2")));
}

#[test]
fn old_listing_of_a_slower_poll_undoes_nothing() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.deploys(&versions(&["v1.0.0", "v1.1.0"]));
    let state = stage.state.clone().unwrap();
    let late = stage.poll(&versions(&["v1.0.0"]));
    assert_eq!((late.status, late.deploy), (Status::Older, None));
    let overtaken = overtaken(state.clone());
    assert_eq!((overtaken.status, overtaken.deploy, overtaken.state), (Status::UpToDate, None, state));
    assert_eq!(stage.poll(&Listing::default()).status, Status::Unknown);
}
