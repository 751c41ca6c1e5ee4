//! Polls after a manual deployment.

use super::*;

#[test]
fn manual_deployment_of_an_older_version_has_a_place_at_once() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    let given = deploy_manually(
        &stage.target,
        stage.state.as_ref(),
        &ListedTag::named(tag("v1.0.0")),
        ManualContent::Current,
        None,
        now(),
    );
    assert!(given.goes_back);
    assert_eq!(given.state.marked, None);
}

#[test]
fn high_water_deployed_again_keeps_its_place_and_takes_newer_push_times() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    let known = stage.state.as_ref().unwrap().high_water.clone().unwrap();
    let again = |pushed_at, sequence| {
        let listed = ListedTag { pushed_at, sequence, ..known.clone() };
        deploy_manually(&stage.target, stage.state.as_ref(), &listed, ManualContent::Current, None, now())
            .state
            .high_water
            .unwrap()
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
fn manual_deployment_removes_its_tag_from_the_candidates() {
    let mut stage = semver();
    stage.target.auto_deploy = false;
    stage.poll(&versions(&["v1.0.0"]));
    stage.poll(&versions(&["v1.0.0", "v1.1.0", "v1.2.0"]));
    let chosen = ListedTag::named(tag("v1.1.0"));
    let given =
        deploy_manually(&stage.target, stage.state.as_ref(), &chosen, ManualContent::Current, None, now());
    let waiting: Vec<&str> = given.state.candidates.iter().map(|seen| seen.tag.as_str()).collect();
    assert_eq!(waiting, ["v1.2.0"]);
}

#[test]
fn high_water_deployed_again_takes_the_current_digest() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let digest = Digest::new(&format!("sha256:{}", "a".repeat(64))).ok();
    let again = ListedTag { digest: digest.clone(), ..ListedTag::named(tag("v1.0.0")) };
    let given =
        deploy_manually(&stage.target, stage.state.as_ref(), &again, ManualContent::Current, None, now());
    assert_eq!(given.state.high_water.unwrap().digest, digest);
}

#[test]
fn earlier_tag_of_the_same_second_as_a_manual_deployment_is_not_new() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 200)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    // For a single tag, the registry gives the push time without the sequence.
    let chosen = ListedTag { pushed_at: Some(at(200)), ..ListedTag::named(tag("dev-3")) };
    assert!(!deploy_manually_in(&mut stage, &chosen, Some("alice")));
    assert_eq!(stage.deploys(&listed), None);
    assert_eq!(stage.state.unwrap().high_water.unwrap().sequence, Some(2));
}

#[test]
fn tag_between_a_manual_deployment_and_a_second_push_of_its_tag_is_new() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    let chosen = ListedTag { pushed_at: Some(at(200)), ..ListedTag::named(tag("dev-2")) };
    deploy_manually_in(&mut stage, &chosen, None);
    let listed = listing(&[("dev-1", 100), ("dev-2", 400), ("dev-3", 300)]);
    assert_eq!(stage.deploys(&listed), Some("dev-3".to_owned()));
}

#[test]
fn tags_older_than_one_deployed_by_name_are_not_new() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    assert!(
        deploy_manually_in(&mut stage, &ListedTag::named(tag("dev-3")), None),
        "a name alone cannot be compared"
    );
    assert_eq!(stage.deploys(&listed), None);
    assert_eq!(stage.high_water(), Some(tag("dev-3")));
}

#[test]
fn manual_deployment_of_an_unmatched_tag_does_not_replace_the_first_poll() {
    let mut stage = semver();
    assert!(deploy_manually_in(&mut stage, &ListedTag::named(tag("hotfix")), None));
    assert_eq!(stage.poll(&versions(&["v1.0.0"])).status, Status::Baseline);
}

#[test]
fn manual_deployment_replaces_the_first_poll() {
    let mut stage = semver();
    assert!(!deploy_manually_in(&mut stage, &ListedTag::named(tag("v1.0.0")), Some("alice")));
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0"])), Some("v1.1.0".to_owned()));
}

#[test]
fn deploying_high_water_again_by_name_keeps_its_push_time() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    assert!(!deploy_manually_in(&mut stage, &ListedTag::named(tag("dev-2")), Some("alice")));
    // Without the push time, the deletion would look like a first poll.
    assert_eq!(stage.poll(&listing(&[("dev-1", 100)])).status, Status::Older);
}

#[test]
fn manual_deployment_of_an_older_tag_holds_if_asked() {
    for (name, holds) in [("v1.0.0", true), ("hotfix", true), ("v2.0.0", false), ("v3.0.0", false)] {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
        assert_eq!(
            deploy_manually_in(&mut stage, &ListedTag::named(tag(name)), Some("alice")),
            holds,
            "{name}"
        );
        assert_eq!(stage.state.unwrap().hold.is_some(), holds, "{name}");
    }
    // A hold that is there keeps its reason. It was to end by itself.
    for (until, reason) in [(60, "freeze"), (-60, "v1.0.0 was deployed manually")] {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
        let until = Some(Timestamp::from_second(now().as_second() + until).unwrap());
        let hold = Hold { reason: Some("freeze".to_owned()), by: "bob".to_owned(), since: now(), until };
        stage.state.as_mut().unwrap().hold = Some(hold);
        deploy_manually_in(&mut stage, &ListedTag::named(tag("v1.0.0")), Some("alice"));
        let hold = stage.state.unwrap().hold.unwrap();
        assert_eq!((hold.reason.as_deref(), hold.until), (Some(reason), None));
    }
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    assert!(deploy_manually_in(&mut stage, &ListedTag::named(tag("v1.0.0")), None));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    assert_eq!(stage.state.as_ref().unwrap().hold, None);
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v2.0.0"])), None, "not undone, even without a hold");
}
