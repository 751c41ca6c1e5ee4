//! `digest = true`, and tags that move to another image.

use super::state::GivenPlatforms;
use super::*;
use crate::policy::Bump;

#[test]
fn moved_immutable_tag_gives_one_warning_and_no_deployment() {
    let digest = |digit: &str| Digest::new(&format!("sha256:{}", digit.repeat(64))).unwrap();
    let listed = |digit: &str| Listing {
        tags: vec![ListedTag { digest: Some(digest(digit)), ..ListedTag::named(tag("v1.0.0")) }],
        ..Listing::default()
    };
    let mut stage = semver();
    stage.poll(&listed("a"));
    let decision = stage.poll(&listed("b"));
    assert!(decision.warning.is_some() && decision.deploy.is_none());
    assert_eq!(decision.status, Status::UpToDate);
    assert_eq!(stage.poll(&listed("b")).warning, None);
}

#[test]
fn deployment_carries_the_digest() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let given = stage.poll(&versions(&["v1.0.0", "v1.1.0"])).deploy.unwrap();
    assert!(given.digest.is_some());
    assert_eq!(stage.state.unwrap().high_water, Some(given));
}

#[test]
fn digest_true_on_an_existing_stage_records_the_digest_without_deploying() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.target.digest = true;
    let decision = stage.poll(&versions(&["v1.0.0"]));
    assert_eq!((decision.status, decision.deploy), (Status::UpToDate, None));
    assert!(decision.state.high_water.unwrap().digest.is_some());
}

#[test]
fn moved_mutable_tag_is_deployed_again() {
    let mut stage = semver();
    stage.target.digest = true;
    let listed = versions(&["v1.0.0"]);
    stage.poll(&listed);
    let before = Digest::new(&format!("sha256:{}", "a".repeat(64))).ok();
    stage.state.as_mut().unwrap().high_water.as_mut().unwrap().digest = before.clone();
    let decision = stage.poll(&listed);
    assert_eq!(decision.status, Status::Pending);
    assert_ne!(decision.deploy.unwrap().digest, before);
    assert_eq!(stage.deploys(&listed), None);
}

/// The digests of an index, and of its amd64 and arm64 images.
fn index(digits: [char; 3]) -> Platforms {
    let [of, amd64, arm64] =
        digits.map(|digit| Digest::new(&format!("sha256:{}", digit.to_string().repeat(64))).ok());
    let images = vec![("linux/amd64".to_owned(), amd64), ("linux/arm64/v8".to_owned(), arm64)];
    Platforms { of, images }
}

#[test]
fn only_the_named_platforms_of_a_mutable_tag_count() {
    let mut stage = semver();
    stage.target.digest = true;
    stage.target.gates.platforms = vec!["linux/amd64".to_owned()];
    let listed = versions(&["v1.0.0"]);
    let mut poll = |platforms: Platforms| {
        stage.platforms = platforms;
        let decision = stage.poll(&listed);
        let digest = decision.state.high_water.as_ref().unwrap().digest.clone();
        assert_eq!(digest, stage.platforms.of, "the current digest is remembered");
        (decision.status, decision.deploy.is_some())
    };
    assert_eq!(poll(index(['1', 'a', 'c'])), (Status::Baseline, false));
    assert_eq!(poll(index(['2', 'a', 'd'])), (Status::UpToDate, false), "arm64 alone");
    assert_eq!(poll(index(['2', 'a', 'd'])), (Status::UpToDate, false));
    assert_eq!(poll(index(['3', 'b', 'd'])), (Status::Pending, true), "amd64");
    assert_eq!(poll(index(['4', 'b', 'e'])), (Status::UpToDate, false), "arm64 alone once more");
    // A single image instead of the index: nothing tells whether it is the same.
    let single = Platforms { images: vec![("linux/amd64".to_owned(), None)], ..index(['5', 'b', 'e']) };
    assert_eq!(poll(single), (Status::Pending, true));
    assert_eq!(poll(index(['6', 'b', 'e'])), (Status::Pending, true));
}

#[test]
fn platforms_of_another_digest_are_not_compared() {
    let mut stage = semver();
    stage.target.digest = true;
    stage.target.gates.platforms = vec!["linux/amd64".to_owned()];
    let listed = versions(&["v1.0.0"]);
    stage.platforms = index(['1', 'a', 'c']);
    stage.poll(&listed);
    // The state of an earlier version.
    let state = stage.state.as_mut().unwrap();
    state.given_platforms = None;
    stage.platforms = index(['2', 'a', 'd']);
    assert_eq!(stage.poll(&listed).status, Status::Pending);
    // The tag moved between the two requests.
    stage.state.as_mut().unwrap().given_platforms.as_mut().unwrap().now.of = index(['9', 'a', 'c']).of;
    stage.platforms = index(['3', 'a', 'd']);
    assert_eq!(stage.poll(&listed).status, Status::Pending);
}

#[test]
fn stage_that_runs_an_earlier_image_of_its_tag_is_behind() {
    let digest = |digit: char| index([digit, 'f', 'f']).of;
    let mut stage = semver();
    stage.target.digest = true;
    let listed = versions(&["v1.0.0"]);
    stage.poll(&listed);
    let mut poll = |runs: Option<Digest>, given: char, platforms: Option<[char; 2]>| {
        let state = stage.state.as_mut().unwrap();
        state.deployed =
            Some(Deployed { tag: tag("v1.0.0"), digest: runs, at: now(), by: Trigger::Rollback });
        state.high_water.as_mut().unwrap().digest = digest(given);
        state.given_platforms = platforms.map(|[was, now]| GivenPlatforms {
            digest: digest(was).unwrap(),
            now: Platforms { of: digest(now), images: Vec::new() },
        });
        stage.platforms.of = digest(given);
        let decision = stage.poll(&listed);
        (decision.status, decision.reason, stage.verdicts(&listed).remove(0).kind)
    };
    let (status, reason, verdict) = poll(digest('b'), 'c', None);
    assert_eq!((status, verdict), (Status::Behind, VerdictKind::Given));
    let [older, newer] = ['b', 'c'].map(|digit| digit.to_string().repeat(64));
    assert!(reason.contains(&format!("runs v1.0.0@sha256:{older}, not v1.0.0@sha256:{newer}")), "{reason}");
    let current = (Status::UpToDate, "v1.0.0 is the newest".to_owned(), VerdictKind::Deployed);
    assert_eq!(poll(digest('c'), 'c', None), current);
    assert_eq!(poll(None, 'c', None), current, "a mark has no digest");
    assert_eq!(poll(digest('b'), 'c', Some(['b', 'c'])), current, "only other platforms of the index moved");
}

#[test]
fn deploying_an_index_of_the_same_platforms_makes_it_the_deployed_one() {
    let mut stage = semver();
    stage.target.digest = true;
    stage.target.gates.platforms = vec!["linux/amd64".to_owned()];
    let listed = versions(&["v1.0.0"]);
    for digits in [['1', 'a', 'c'], ['2', 'a', 'd']] {
        stage.platforms = index(digits);
        stage.poll(&listed);
    }
    let by_hand = ListedTag { digest: stage.platforms.of.clone(), ..ListedTag::named(tag("v1.0.0")) };
    deploy_manually_in(&mut stage, &by_hand, None);
    let state = stage.state.as_mut().unwrap();
    state.deployed =
        Some(Deployed { tag: by_hand.tag, digest: by_hand.digest, at: now(), by: Trigger::Manual });
    stage.platforms = index(['3', 'a', 'e']);
    assert_eq!(stage.poll(&listed).status, Status::UpToDate);
}

#[test]
fn moved_tag_is_deployed_beside_newer_tags_that_are_blocked() {
    let digest = |digit: char| index([digit, 'f', 'f']).of;
    let mut stage = semver();
    stage.target.digest = true;
    stage.target.gates.max_bump = Some(Bump::Minor);
    stage.platforms.of = digest('a');
    stage.poll(&versions(&["v1.0.0"]));
    let listed = versions(&["v1.0.0", "v2.0.0"]);
    assert_eq!(stage.poll(&listed).status, Status::Waiting);
    stage.platforms.of = digest('b');
    let verdicts: Vec<VerdictKind> =
        stage.verdicts(&listed).into_iter().map(|verdict| verdict.kind).collect();
    assert_eq!(verdicts, [VerdictKind::Waiting, VerdictKind::Next]);
    let deployed = stage.poll(&listed).deploy.unwrap();
    assert_eq!((deployed.tag, deployed.digest), (tag("v1.0.0"), digest('b')));
    assert_eq!(stage.poll(&listed).deploy, None);

    // Both wait, and the newer tag, which waits the longer, is not forgotten.
    stage.target.gates.min_age = Some(Duration::from_secs(60));
    let second = now().as_second();
    stage.platforms.of = digest('c');
    stage.poll(&listing(&[("v1.0.0", second), ("v2.0.0", second)]));
    let listed = listing(&[("v1.0.0", second), ("v1.1.0", second + 30), ("v2.0.0", second)]);
    stage.now = at(second + 30);
    assert!(stage.poll(&listed).reason.contains("v1.1.0 was pushed"));
    let seen = &stage.state.as_ref().unwrap().candidates;
    assert_eq!(seen.iter().map(|seen| seen.tag.as_str()).collect::<Vec<_>>(), ["v2.0.0", "v1.1.0", "v1.0.0"]);
    stage.now = at(second + 60);
    assert_eq!(stage.deploys(&listed), Some("v1.0.0".to_owned()));
    stage.now = at(second + 90);
    assert_eq!(stage.deploys(&listed), Some("v1.1.0".to_owned()));
}

#[test]
fn moved_tag_is_deployed_beside_a_greater_name_of_the_same_version() {
    let mut stage = TestStage::new(target("*", Order::Semver));
    stage.target.digest = true;
    stage.platforms.of = index(['a', 'f', 'f']).of;
    stage.poll(&versions(&["1.0.0"]));
    let listed = versions(&["1.0.0", "v1.0.0"]);
    assert_eq!(stage.poll(&listed).status, Status::UpToDate);
    stage.platforms.of = index(['b', 'f', 'f']).of;
    assert_eq!(stage.deploys(&listed), Some("1.0.0".to_owned()));
    // Deleted, it points nowhere, and the other tag is not newer.
    assert_eq!(stage.poll(&versions(&["v1.0.0"])).status, Status::UpToDate);
}

#[test]
fn moved_tag_with_an_earlier_push_time_makes_no_other_tag_newer() {
    let mut stage = newest();
    stage.target.digest = true;
    stage.platforms.of = index(['a', 'f', 'f']).of;
    stage.poll(&listing(&[("dev-1", 100)]));
    let mut listed = listing(&[("dev-1", 100), ("dev-2", 300), ("dev-3", 300)]);
    assert_eq!(stage.deploys(&listed), Some("dev-3".to_owned()));
    // dev-1 was deployed before.
    stage.given.insert(tag("dev-1"));
    listed.tags[0].pushed_at = Some(at(400));
    listed.tags[2].pushed_at = Some(at(200));
    stage.platforms.of = index(['b', 'f', 'f']).of;
    assert_eq!(stage.deploys(&listed), Some("dev-3".to_owned()));
    assert_eq!(stage.deploys(&listed), None);
}
