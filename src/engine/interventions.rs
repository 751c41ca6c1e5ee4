//! Polls after interventions: marks, manual deployments, edited rules, deleted tags.

use super::tests::{TestStage, deploy_manually, listing, newest, now, semver, tag, versions};
use super::*;
use crate::policy::{Order, Policy, Rule};
use crate::reference::{Listing, Repository};

fn deploy_manually_in(stage: &mut TestStage, listed: &ListedTag, holds: Option<&str>) -> bool {
    let deploy_manually =
        deploy_manually(&stage.target, stage.state.as_ref(), listed, ManualContent::Current, holds, now());
    stage.state = Some(deploy_manually.state);
    stage.given.insert(listed.tag.clone(), now());
    deploy_manually.goes_back
}

fn second(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

#[test]
fn mark_none_clears_an_earlier_mark() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    stage.mark(&Mark::Deployed(tag("dev-2")));
    stage.mark(&Mark::Nothing);
    assert_eq!(stage.deploys(&listed), Some("dev-2".to_owned()));
}

#[test]
fn mark_of_an_unmatched_tag_keeps_the_first_poll_and_earlier_marks() {
    let mut stage = semver();
    stage.mark(&Mark::Deployed(tag("hotfix")));
    assert_eq!(stage.poll(&versions(&["v1.0.0"])).status, Status::Baseline);

    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    stage.mark(&Mark::Deployed(tag("dev-3")));
    stage.mark(&Mark::Deployed(tag("hotfix")));
    assert_eq!(stage.deploys(&listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)])), None);
}

#[test]
fn mark_supersedes_an_older_pending_deployment_below_high_water() {
    for marked in ["v2.0.0", "v3.0.0"] {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v2.0.0", "v3.0.0"]));
        stage.pending("v1.0.0", None);
        let marked = stage.mark(&Mark::Deployed(tag(marked)));
        assert_eq!(marked.pending_becomes, Some(DeploymentState::Superseded));
    }
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0", "v3.0.0"]));
    stage.pending("v3.0.0", None);
    assert_eq!(stage.mark(&Mark::Deployed(tag("v2.0.0"))).pending_becomes, None, "a newer one stays");
}

#[test]
fn mark_supersedes_a_pending_deployment_unless_that_is_newer() {
    for (waits, said) in [("v2.0.0", Mark::Reset(tag("v1.0.0"))), ("hotfix", Mark::Deployed(tag("v3.0.0")))] {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
        stage.pending(waits, None);
        assert_eq!(stage.mark(&said).pending_becomes, Some(DeploymentState::Superseded), "{said:?}");
    }
}

#[test]
fn mark_supersedes_a_pending_deployment_once_the_listing_shows_it_is_older() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]);
    for (waits, marked, becomes) in [
        ("dev-2", "dev-3", Some(DeploymentState::Superseded)),
        ("dev-3", "dev-2", None),
        ("dev-3", "dev-1", None),
        // The mark is not listed: nothing tells that the pending deployment is older.
        ("dev-3", "dev-0", None),
        // The pending deployment's tag is not listed, or the list was not read that far.
        ("dev-0", "dev-3", Some(DeploymentState::Superseded)),
    ] {
        let mut stage = newest();
        stage.poll(&listing(&[("dev-1", 100)]));
        stage.state.as_mut().unwrap().high_water = Some(
            listed
                .tags
                .iter()
                .find(|listed| listed.tag == tag(waits))
                .cloned()
                .unwrap_or(ListedTag::named(tag(waits))),
        );
        stage.pending(waits, None);
        assert_eq!(stage.mark(&Mark::Deployed(tag(marked))).pending_becomes, None);
        let decision = stage.poll(&listed);
        let ended = decision.ends.first().map(|row| row.deployment.state);
        assert_eq!(ended, becomes, "{marked} over {waits}");
    }
}

#[test]
fn reset_of_a_known_tag_clears_a_mark_without_a_place() {
    for (said, waiting) in [
        (Mark::Deployed(tag("dev-1")), Some(tag("dev-3"))),
        (Mark::Reset(tag("hotfix")), Some(tag("dev-3"))),
        (Mark::Reset(tag("dev-1")), None),
    ] {
        let mut stage = newest();
        stage.poll(&listing(&[("dev-1", 100)]));
        stage.mark(&Mark::Deployed(tag("dev-3")));
        assert_eq!(stage.mark(&said).state.marked, waiting, "{said:?}");
    }
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
fn earlier_tag_of_the_same_second_as_a_manual_deployment_is_not_new() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 200)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    // For a single tag, the registry gives the push time without the sequence.
    let chosen = ListedTag { pushed_at: second(200), ..ListedTag::named(tag("dev-3")) };
    assert!(!deploy_manually_in(&mut stage, &chosen, Some("alice")));
    assert_eq!(stage.deploys(&listed), None);
    assert_eq!(stage.state.unwrap().high_water.unwrap().sequence, Some(2));
}

#[test]
fn tag_between_a_manual_deployment_and_a_second_push_of_its_tag_is_new() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    let chosen = ListedTag { pushed_at: second(200), ..ListedTag::named(tag("dev-2")) };
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
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    assert!(deploy_manually_in(&mut stage, &ListedTag::named(tag("v1.0.0")), None));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    assert_eq!(stage.state.as_ref().unwrap().hold, None);
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v2.0.0"])), None, "not undone, even without a hold");
}

#[test]
fn mark_is_kept_if_the_newest_tag_has_no_manifest() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    stage.mark(&Mark::Deployed(tag("dev-2")));
    stage.has_manifests = false;
    let decision = stage.poll(&listed);
    assert_eq!((decision.status, decision.deploy), (Status::Waiting, None));
    assert_eq!(stage.high_water(), Some(tag("dev-2")));
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
fn server_clock_set_back_hides_no_tag() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 150)]);
    for _ in 0..2 {
        let decision = stage.poll(&listed);
        assert_eq!((decision.status, decision.deploy), (Status::Older, None));
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
    let chosen = ListedTag { pushed_at: second(150), ..ListedTag::named(tag("dev-3")) };
    deploy_manually_in(&mut stage, &chosen, None);
    assert_eq!(stage.poll(&listed).status, Status::UpToDate);
    assert_eq!(stage.high_water(), Some(tag("dev-2")));
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
fn pending_deployment_that_the_edited_rule_does_not_match_is_dropped() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    deploy_manually_in(&mut stage, &ListedTag::named(tag("v1.0.0")), None);
    stage.pending("v1.0.0", None);
    stage.target.policy = tests::target("v2.*", Order::Semver).policy;
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

#[test]
fn high_water_survives_the_deletion_of_all_matching_tags() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    // All matching tags are deleted, but the list is not empty.
    assert_eq!(stage.poll(&versions(&["latest"])).status, Status::NoMatch);
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    assert_eq!(stage.poll(&versions(&["latest", "v1.0.0"])).status, Status::Older);
}

#[test]
fn verdict_after_a_reset_is_next() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    stage.deploys(&listed);
    let given = [(tag("dev-2"), Timestamp::from_second(now().as_second() - 1).unwrap())];
    stage.mark(&Mark::Reset(tag("dev-1")));
    stage.state.as_mut().unwrap().high_water = Some(listed.tags[0].clone());
    stage.given = given.into_iter().collect();
    let verdict = stage.verdicts(&listed).remove(0);
    assert_eq!((verdict.listed.tag.as_str(), verdict.kind), ("dev-2", VerdictKind::Next));
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
