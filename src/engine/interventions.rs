//! What people do to a stage (mark, deploy by hand, edit its rule, delete tags), and what no poll may make of it.

use super::tests::{Stage, by_hand, listing, newest, now, semver, tag, versions};
use super::*;
use crate::policy::{Order, Policy, Rule};
use crate::reference::{Listing, Repository};

fn by_hand_in(stage: &mut Stage, listed: &ListedTag, holds: Option<&str>) -> bool {
    let by_hand = by_hand(&stage.target, stage.state.as_ref(), listed, Content::Current, holds, now());
    stage.state = Some(by_hand.state);
    stage.given.insert(listed.tag.clone(), now());
    by_hand.goes_back
}

fn second(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

#[test]
fn a_mark_by_name_does_not_outlive_marking_none() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    stage.mark(&Mark::Deployed(tag("dev-2")));
    stage.mark(&Mark::Nothing);
    assert_eq!(stage.deploys(&listed), Some("dev-2".to_owned()));
}

#[test]
fn a_mark_of_a_tag_that_the_rule_does_not_take_leaves_the_first_poll_and_earlier_marks_alone() {
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
fn a_mark_supersedes_an_older_pending_deployment_though_high_water_is_newer_still() {
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
    assert_eq!(stage.mark(&Mark::Deployed(tag("v2.0.0"))).pending_becomes, None, "a newer one goes on");
}

#[test]
fn a_mark_supersedes_what_waits_where_that_is_not_known_to_be_newer_still() {
    for (waits, said) in [("v2.0.0", Mark::Reset(tag("v1.0.0"))), ("hotfix", Mark::Deployed(tag("v3.0.0")))] {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
        stage.pending(waits, None);
        assert_eq!(stage.mark(&said).pending_becomes, Some(DeploymentState::Superseded), "{said:?}");
    }
}

#[test]
fn a_mark_by_name_supersedes_what_waits_once_its_place_shows_that_to_be_older() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]);
    for (waits, marked, becomes) in [
        ("dev-2", "dev-3", Some(DeploymentState::Superseded)),
        ("dev-3", "dev-2", None),
        ("dev-3", "dev-1", None),
        // Nobody lists it any more: what waits is not known to be older.
        ("dev-3", "dev-0", None),
        // Not listed, or not read as far as that.
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
fn a_mark_that_waits_for_its_place_is_forgotten_by_a_reset_of_a_tag_that_has_one() {
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
fn a_high_water_given_back_that_the_edited_rule_does_not_take_starts_a_baseline() {
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
fn a_pending_deployment_of_another_repository_is_dropped() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.pending("v1.0.0", None);
    stage.target.image.repository = Repository::new("acme/other").unwrap();
    assert!(stage.poll(&versions(&["v1.0.0"])).ends.len() == 1);
}

#[test]
fn a_tag_of_the_same_second_that_came_before_the_one_deployed_by_hand_is_not_new() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 200)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    // The registry tells the push time of a single tag, and not its sequence.
    let chosen = ListedTag { pushed_at: second(200), ..ListedTag::named(tag("dev-3")) };
    assert!(!by_hand_in(&mut stage, &chosen, Some("alice")));
    assert_eq!(stage.deploys(&listed), None);
    assert_eq!(stage.state.unwrap().high_water.unwrap().sequence, Some(2));
}

#[test]
fn what_came_between_a_deployment_by_hand_and_another_push_of_its_tag_is_new() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    let chosen = ListedTag { pushed_at: second(200), ..ListedTag::named(tag("dev-2")) };
    by_hand_in(&mut stage, &chosen, None);
    let listed = listing(&[("dev-1", 100), ("dev-2", 400), ("dev-3", 300)]);
    assert_eq!(stage.deploys(&listed), Some("dev-3".to_owned()));
}

#[test]
fn what_is_older_than_a_tag_deployed_by_its_name_is_not_new() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    assert!(by_hand_in(&mut stage, &ListedTag::named(tag("dev-3")), None), "a name alone cannot be compared");
    assert_eq!(stage.deploys(&listed), None);
    assert_eq!(stage.high_water(), Some(tag("dev-3")));
}

#[test]
fn a_deployment_by_hand_that_the_rule_cannot_compare_does_not_pass_for_a_first_poll() {
    let mut stage = semver();
    assert!(by_hand_in(&mut stage, &ListedTag::named(tag("hotfix")), None));
    assert_eq!(stage.poll(&versions(&["v1.0.0"])).status, Status::Baseline);
}

#[test]
fn after_a_deployment_by_hand_no_first_poll_applies() {
    let mut stage = semver();
    assert!(!by_hand_in(&mut stage, &ListedTag::named(tag("v1.0.0")), Some("alice")));
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0"])), Some("v1.1.0".to_owned()));
}

#[test]
fn deploying_high_water_again_by_its_name_does_not_forget_when_it_was_pushed() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    assert!(!by_hand_in(&mut stage, &ListedTag::named(tag("dev-2")), Some("alice")));
    // Without its time, its deletion would look like a beginning.
    assert_eq!(stage.poll(&listing(&[("dev-1", 100)])).status, Status::Older);
}

#[test]
fn going_back_by_hand_holds_unless_it_is_not_to() {
    for (name, holds) in [("v1.0.0", true), ("hotfix", true), ("v2.0.0", false), ("v3.0.0", false)] {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
        assert_eq!(by_hand_in(&mut stage, &ListedTag::named(tag(name)), Some("alice")), holds, "{name}");
        assert_eq!(stage.state.unwrap().hold.is_some(), holds, "{name}");
    }
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    assert!(by_hand_in(&mut stage, &ListedTag::named(tag("v1.0.0")), None));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    assert_eq!(stage.state.as_ref().unwrap().hold, None);
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v2.0.0"])), None, "not undone, held or not");
}

#[test]
fn a_mark_is_kept_where_the_newest_tag_has_no_manifest() {
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
fn a_high_water_is_given_back_also_where_what_is_left_has_no_manifest_yet() {
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
fn a_clock_of_the_server_that_stepped_back_hides_no_tag() {
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
    // Without a sequence, or with none that is higher, it is simply old.
    let mut listed = listed;
    for sequence in [None, Some(0), Some(1)] {
        listed.tags[2].sequence = sequence;
        assert_eq!(stage.poll(&listed).status, Status::UpToDate);
    }
}

#[test]
fn a_tag_with_too_early_a_time_is_told_of_until_someone_ships_it() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 150)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    let chosen = ListedTag { pushed_at: second(150), ..ListedTag::named(tag("dev-3")) };
    by_hand_in(&mut stage, &chosen, None);
    assert_eq!(stage.poll(&listed).status, Status::UpToDate);
    assert_eq!(stage.high_water(), Some(tag("dev-2")));
}

#[test]
fn a_downgrade_waits_for_a_hold() {
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
fn a_pending_deployment_that_the_edited_rule_does_not_take_is_dropped_though_high_water_stays() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    by_hand_in(&mut stage, &ListedTag::named(tag("v1.0.0")), None);
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
fn a_rule_that_is_only_written_otherwise_is_not_edited() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let rule = Rule { tags: vec!["v*".into(), "v*".into()], order: Order::Semver, ..Rule::default() };
    stage.target.policy = Policy::new(&rule).unwrap().into();
    stage.target.gates.min_age = None;
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0"])), Some("v1.1.0".to_owned()));
}

#[test]
fn after_a_deletion_the_deployed_tag_of_high_water_is_not_forgotten() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    // Everything that matches is gone, but not everything.
    assert_eq!(stage.poll(&versions(&["latest"])).status, Status::NoMatch);
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    assert_eq!(stage.poll(&versions(&["latest", "v1.0.0"])).status, Status::Older);
}

#[test]
fn what_waits_to_be_given_again_after_a_reset_is_explained_as_such() {
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
fn an_old_listing_of_a_slower_poll_takes_nothing_back() {
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
