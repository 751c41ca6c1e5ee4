//! Tags that were deleted from the registry, and `allow_downgrade`.

use jiff::SignedDuration;

use super::*;

#[test]
fn deleted_high_water_deploys_nothing_older() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    let decision = stage.poll(&versions(&["v1.0.0"]));
    assert_eq!((decision.status, decision.deploy), (Status::Older, None));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    // A tag newer than the remaining ones, but older than high-water, is not deployed.
    assert_eq!(stage.poll(&versions(&["v1.5.0"])).status, Status::Older);
    assert_eq!(stage.deploys(&versions(&["v1.5.0", "v2.0.1"])), Some("v2.0.1".to_owned()));
}

#[test]
fn downgrade_needs_allow_downgrade_and_a_deleted_tag() {
    let mut stage = semver();
    stage.target.allow_downgrade = true;
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    assert_eq!(stage.deploys(&versions(&["v1.0.0"])), Some("v1.0.0".to_owned()));
    assert_eq!(stage.high_water(), Some(tag("v1.0.0")));
}

#[test]
fn downgrade_asks_every_gate_and_remembers_since_when_it_waits() {
    let mut stage = semver();
    stage.target.allow_downgrade = true;
    stage.target.gates.platforms = vec!["linux/arm64".to_owned()];
    stage.poll(&versions(&["v1.0.0", "v1.1.0", "v2.0.0"]));
    let left = versions(&["v1.0.0", "v1.1.0"]);
    for minutes in [0, 59] {
        stage.now = now() + SignedDuration::from_mins(minutes);
        let decision = stage.poll(&left);
        assert_eq!((decision.status, decision.deploy), (Status::Waiting, None), "after {minutes} minutes");
        let state = stage.state.as_ref().unwrap();
        assert_eq!(state.candidates[0].first_seen, now());
        assert!(remembered(&stage.target, state).is_none(), "it would list the deleted tag");
    }
    stage.target.gates.platforms.clear();
    let decision = stage.poll(&left);
    assert!(decision.goes_back, "{}", decision.reason);
    assert_eq!(decision.deploy.unwrap().tag, tag("v1.1.0"));
}

/// The stage does not run the deleted tag.
#[test]
fn downgrade_does_not_undo_a_rollback() {
    let mut stage = semver();
    stage.target.allow_downgrade = true;
    stage.poll(&versions(&["v1.0.0", "v1.1.0", "v2.0.0"]));
    stage.mark(&Mark::Deployed(tag("v1.0.0")));
    let decision = stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
    assert_eq!((decision.status, decision.deploy), (Status::Older, None));
}

#[test]
fn deleted_tag_that_was_never_deployed_restores_high_water() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let before = stage.state.as_ref().unwrap().high_water.clone();
    assert!(stage.deploys(&versions(&["v1.0.0", "v20.0.0"])).is_some());
    stage.pending("v20.0.0", before);
    let decision = stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
    assert!(!decision.ends.is_empty());
    assert_eq!(decision.deploy.unwrap().tag, tag("v1.1.0"));
}

#[test]
fn deleted_high_water_keeps_a_pending_deployment_of_another_tag() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    stage.pending("v1.0.0", None);
    let decision = stage.poll(&versions(&["v1.0.0"]));
    assert_eq!((decision.status, decision.ends.len()), (Status::Older, 0));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
}

#[test]
fn only_a_downgrade_is_recorded_as_going_back() {
    let mut stage = semver();
    stage.target.allow_downgrade = true;
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    assert!(!stage.poll(&versions(&["v1.0.0", "v2.0.0", "v3.0.0"])).goes_back);
    assert!(stage.poll(&versions(&["v1.0.0"])).goes_back);
}

#[test]
fn high_water_is_restored_even_if_the_other_tags_have_no_manifest() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let before = stage.state.as_ref().unwrap().high_water.clone();
    stage.deploys(&versions(&["v1.0.0", "v20.0.0"]));
    stage.pending("v20.0.0", before);
    stage.has_manifests = false;
    assert!(stage.poll(&versions(&["v1.0.0", "v1.1.0"])).ends.len() == 1);
    stage.open.pending = None;
    stage.has_manifests = true;
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0"])), Some("v1.1.0".to_owned()));
}

#[test]
fn hold_stops_a_downgrade() {
    let mut stage = semver();
    stage.target.allow_downgrade = true;
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    stage.state.as_mut().unwrap().hold =
        Some(Hold { reason: None, by: "alice".to_owned(), since: now(), until: None });
    let decision = stage.poll(&versions(&["v1.0.0"]));
    assert_eq!((decision.status, decision.deploy), (Status::Held, None));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
}

#[test]
fn high_water_survives_the_deletion_of_all_matching_tags() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    // All matching tags are deleted, but the list is not empty.
    assert_eq!(stage.poll(&versions(&["latest"])).status, Status::NoMatch);
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    assert_eq!(stage.poll(&versions(&["latest", "v1.0.0"])).status, Status::Older);
}
