//! `tagship mark`: a tag, `--none`, `--reset`.

use super::*;

#[test]
fn mark_of_a_newer_tag_raises_high_water() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.pending("v1.0.0", None);
    let marked = stage.mark(&Mark::Deployed(tag("v1.1.0")));
    assert_eq!(marked.pending_becomes, Some(DeploymentState::Superseded));
    stage.open.pending = None;
    assert_eq!(stage.poll(&versions(&["v1.0.0", "v1.1.0"])).status, Status::UpToDate);
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0", "v1.2.0"])), Some("v1.2.0".to_owned()));
}

#[test]
fn mark_completes_a_pending_deployment_of_the_same_tag() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.pending("v1.0.0", None);
    assert_eq!(stage.mark(&Mark::Deployed(tag("v1.0.0"))).pending_becomes, Some(DeploymentState::Succeeded));
}

#[test]
fn mark_of_an_older_tag_goes_back() {
    let goes_back = |mut stage: TestStage, said: Mark| stage.mark(&said).goes_back;
    let three = || {
        let mut stage = newest();
        stage.poll(&listing(&[("dev-1", 100)]));
        stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
        stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]));
        stage
    };
    assert!(goes_back(three(), Mark::Deployed(tag("dev-2"))), "it was deployed before");
    assert!(!goes_back(three(), Mark::Deployed(tag("dev-3"))));
    assert!(!goes_back(three(), Mark::Deployed(tag("dev-4"))), "no poll has seen it yet");
    let versions = || {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
        stage
    };
    assert!(goes_back(versions(), Mark::Deployed(tag("v1.0.0"))));
    assert!(goes_back(versions(), Mark::Reset(tag("v1.0.0"))));
    assert!(!goes_back(versions(), Mark::Deployed(tag("v1.2.0"))));
}

#[test]
fn mark_keeps_when_newer_tags_were_first_seen() {
    for said in [Mark::Deployed(tag("v1.1.0")), Mark::Reset(tag("v1.0.0")), Mark::Nothing] {
        let mut stage = semver();
        stage.target.gates.min_age = Some(Duration::from_secs(3600));
        stage.poll(&versions(&["v1.0.0"]));
        let listed = versions(&["v1.0.0", "v1.1.0", "v1.2.0"]);
        stage.poll(&listed);
        stage.now = now() + Duration::from_secs(60);
        stage.mark(&said);
        let first_seen = stage.poll(&listed).state.candidates[0].first_seen;
        assert_eq!(first_seen, now(), "{said:?}");
    }
}

#[test]
fn reset_deploys_newer_tags_again() {
    let mut stage = semver();
    let listed = versions(&["v1.0.0", "v1.1.0"]);
    stage.poll(&listed);
    stage.mark(&Mark::Reset(tag("v1.0.0")));
    assert_eq!(stage.deploys(&listed), Some("v1.1.0".to_owned()));
}

#[test]
fn reset_deploys_tags_again_that_were_deployed_before() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    assert_eq!(stage.deploys(&listed), Some("dev-2".to_owned()));
    stage.mark(&Mark::Reset(tag("dev-1")));
    assert_eq!(stage.deploys(&listed), Some("dev-2".to_owned()));
}

#[test]
fn mark_none_deploys_the_newest_tag() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.mark(&Mark::Nothing);
    assert_eq!(stage.deploys(&versions(&["v1.0.0"])), Some("v1.0.0".to_owned()));
}

#[test]
fn next_poll_adds_the_push_time_of_a_marked_tag() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]);
    let mut stage = newest();
    stage.mark(&Mark::Deployed(tag("dev-2")));
    assert_eq!(stage.deploys(&listed), Some("dev-3".to_owned()));
    let mut stage = newest();
    stage.mark(&Mark::Deployed(tag("dev-3")));
    assert_eq!(stage.poll(&listed).status, Status::UpToDate, "older tags are not newer than a marked one");
}

#[test]
fn marked_tag_that_is_not_listed_starts_a_baseline() {
    let mut stage = newest();
    stage.mark(&Mark::Deployed(tag("dev-9")));
    assert_eq!(stage.poll(&listing(&[("dev-1", 100)])).status, Status::Baseline);
}

#[test]
fn mark_of_an_older_tag_does_not_redeploy_newer_ones() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let mut stage = newest();
    stage.poll(&listed);
    stage.mark(&Mark::Deployed(tag("dev-1")));
    let decision = stage.poll(&listed);
    assert_eq!((decision.status, decision.deploy), (Status::Behind, None));
}

#[test]
fn mark_of_high_water_supersedes_a_pending_rollback() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    stage.pending("dev-1", None);
    let marked = stage.mark(&Mark::Deployed(tag("dev-2")));
    assert_eq!(marked.pending_becomes, Some(DeploymentState::Superseded));
}

#[test]
fn mark_says_what_the_next_poll_does() {
    let said = |name: &str| {
        let mut stage = semver();
        stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
        stage.mark(&Mark::Deployed(tag(name))).message
    };
    assert!(said("v3.0.0").ends_with("newer tags will be deployed"));
    assert!(said("v2.0.0").ends_with("newer tags will be deployed"));
    assert!(said("v1.0.0").contains("are not deployed again"));
    assert!(said("latest").contains("the rule does not match it"));
    // Of two tags without a time, nothing tells which is newer until the next listing.
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    assert!(stage.mark(&Mark::Deployed(tag("dev-1"))).message.contains("are not deployed again"));
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
fn verdict_after_a_reset_is_next() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    stage.deploys(&listed);
    stage.mark(&Mark::Reset(tag("dev-1")));
    stage.state.as_mut().unwrap().high_water = Some(listed.tags[0].clone());
    let verdict = stage.verdicts(&listed).remove(0);
    assert_eq!((verdict.listed.tag.as_str(), verdict.kind), ("dev-2", VerdictKind::Next));
}

/// The rule does not match the tag, so polls continue as before.
#[test]
fn reset_to_a_tag_without_a_place_changes_nothing() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    stage.pending("dev-2", None);
    let high_water = stage.high_water();
    let marked = stage.mark(&Mark::Reset(tag("v9")));
    assert_eq!((marked.pending_becomes, marked.state.reset), (None, None));
    assert_eq!(stage.high_water(), high_water);
    assert!(marked.message.ends_with("polls continue as before"), "{}", marked.message);
}
