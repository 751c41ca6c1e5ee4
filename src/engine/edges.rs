//! Edge cases of the rules.

use std::time::Duration;

use strum::VariantArray;

use super::tests::{deploy_manually, listing, newest, now, pending, semver, tag, versions};
use super::*;
use crate::reference::{Digest, Platforms};
use crate::target::notifier::NotifyEvent;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn retrying_says_until_when_and_pending_follows() {
    let mut stage = semver();
    let listed = versions(&["v1.0.0"]);
    stage.poll(&listed);
    stage.pending("v1.0.0", None);
    let (failed_at, later) = (now(), at(now().as_second() + 60));
    stage.open.pending.as_mut().unwrap().next_attempt = Some(NextAttempt { at: later, failed_at });
    let decision = stage.poll(&listed);
    assert_eq!((decision.status, decision.until), (Status::Retrying, Some(later)));
    stage.now = later;
    let decision = stage.poll(&listed);
    assert_eq!((decision.status, decision.until), (Status::Pending, None));
}

#[test]
fn deployment_that_failed_just_now_is_not_due() {
    let next = NextAttempt { at: at(160), failed_at: at(100) };
    assert!(!next.is_over(at(100)) && !next.is_over(at(159)));
    assert!(next.is_over(at(160)) && next.is_over(at(99)));
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
fn no_match_says_why() {
    for (tags, why) in [
        (vec![], "the image has no tags yet"),
        (vec!["latest", "edge"], "none of 2 tags matches"),
        (vec!["latest", "vx"], "1 of 2 tags match (the order cannot compare 1 of them)"),
    ] {
        let decision = semver().poll(&versions(&tags));
        assert_eq!((decision.status, decision.reason.as_str()), (Status::NoMatch, why));
    }
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
        stage.mark(&Mark::Deployed(tag(name))).said
    };
    assert!(said("v3.0.0").ends_with("newer tags will be deployed"));
    assert!(said("v2.0.0").ends_with("newer tags will be deployed"));
    assert!(said("v1.0.0").contains("are not deployed again"));
    assert!(said("latest").contains("the rule does not match it"));
}

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
fn target_is_unchanged_only_if_nothing_is_pending_or_blocked() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let mut quiet = stage.state.clone().unwrap();
    quiet.came_to(Status::UpToDate, Some("v1.0.0 is the newest".to_owned()), None);
    let none = OpenDeployments::default();
    assert!(unchanged(&stage.target, &quiet, &none, now()).is_some());
    let waiting = OpenDeployments { pending: Some(pending(tag("v1.0.0"), None)), ..none.clone() };
    assert!(unchanged(&stage.target, &quiet, &waiting, now()).is_none());
    let first_seen = now();
    let seen = SeenCandidate {
        tag: tag("v2.0.0"),
        pushed_at: None,
        sequence: None,
        first_seen,
        digest: None,
        asked_digest: None,
    };
    let gated = PollState { candidates: vec![seen], ..quiet.clone() };
    assert!(unchanged(&stage.target, &gated, &none, now()).is_none());
    stage.target.digest = true;
    assert!(unchanged(&stage.target, &quiet, &none, now()).is_none());
}

#[test]
fn hold_names_its_owner_and_reason() {
    let hold = |reason: Option<&str>| Hold {
        reason: reason.map(str::to_owned),
        by: "alice".to_owned(),
        since: now(),
        until: None,
    };
    assert_eq!(hold(Some("release freeze")).describe(), "held by alice: release freeze");
    assert_eq!(hold(None).describe(), "held by alice");
}

#[test]
fn statuses_that_are_failures_or_changes() {
    let names = |is: fn(Status) -> bool| -> Vec<&str> {
        Status::VARIANTS.iter().filter(|status| is(**status)).map(|status| status.as_str()).collect()
    };
    let mut failures = names(Status::is_failure);
    failures.sort_unstable();
    assert_eq!(failures, ["dead", "failed", "rolled_back", "unknown"]);
    let mut changes = names(Status::is_change);
    changes.sort_unstable();
    assert_eq!(changes, ["adopted", "available", "deployed", "would_deploy"]);
}

#[test]
fn changes_are_reported_once_and_machine_readers_do_not_count() {
    let mut stage = semver();
    stage.target.auto_deploy = false;
    let listed = versions(&["v1.0.0"]);
    stage.poll(&listed);
    let poll = |stage: &mut tests::TestStage, failure: bool, audience: Audience| {
        let before = stage.state.clone();
        let mut decision = if failure {
            let failure = Failure { code: ErrorCode::Unavailable, message: String::new() };
            decide_failed(before.as_ref(), failure, stage.now)
        } else {
            stage.poll(&versions(&["v1.0.0", "v2.0.0"]))
        };
        let news = mark_reported(&mut decision, before.as_ref(), audience, stage.now);
        stage.state = Some(decision.state);
        news
    };
    let stage = &mut stage;
    assert!(poll(stage, false, Audience::Machine), "available");
    assert!(poll(stage, false, Audience::Mail), "a machine reader does not count");
    assert!(!poll(stage, false, Audience::Mail), "reported already");
    assert!(poll(stage, true, Audience::Machine), "an outage");
    assert!(poll(stage, true, Audience::Mail), "not reported to people yet");
    assert!(!poll(stage, true, Audience::Mail), "reported by now");
    assert!(poll(stage, true, Audience::Person), "always, at a terminal");
    assert!(poll(stage, false, Audience::Mail), "the recovery");
    assert!(!poll(stage, false, Audience::Mail));
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
fn held_target_says_until_when() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let until = Some(at(now().as_second() + 60));
    let hold = Hold { reason: None, by: "alice".to_owned(), since: now(), until };
    stage.state.as_mut().unwrap().hold = Some(hold);
    let decision = stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
    assert_eq!((decision.status, decision.until), (Status::Held, until));
    stage.now = at(now().as_second() + 60);
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0"])), Some("v1.1.0".to_owned()));
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
fn only_a_downgrade_is_recorded_as_going_back() {
    let mut stage = semver();
    stage.target.allow_downgrade = true;
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    assert!(!stage.poll(&versions(&["v1.0.0", "v2.0.0", "v3.0.0"])).goes_back);
    assert!(stage.poll(&versions(&["v1.0.0"])).goes_back);
}

#[test]
fn unchanged_target_counts_as_polled() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let later = at(now().as_second() + 300);
    for status in [Status::UpToDate, Status::Behind, Status::Older, Status::NoMatch] {
        let mut quiet = stage.state.clone().unwrap();
        quiet.came_to(status, Some("why".to_owned()), None);
        let decision = unchanged(&stage.target, &quiet, &OpenDeployments::default(), later).unwrap();
        assert_eq!((decision.status, decision.reason.as_str()), (status, "why"));
        assert_eq!((decision.state.polled_at, decision.state.checked_at), (Some(later), Some(later)));
    }
}

#[test]
fn due_or_interrupted_deployment_makes_its_target_due() {
    let target = tests::target("v*", crate::policy::Order::Semver);
    let later = NextAttempt { at: at(now().as_second() + 60), failed_at: now() };
    let open = |pending, running| OpenDeployments { pending, running, ..OpenDeployments::default() };
    let due = pending(tag("v1.0.0"), None);
    let waits = Deployment { next_attempt: Some(later), ..due.clone() };
    for (open, expected) in [
        (open(None, None), false),
        (open(Some(waits.clone()), None), false),
        (open(Some(due.clone()), None), true),
        (open(Some(waits), Some(due.clone())), true),
        (open(None, Some(due)), true),
    ] {
        assert_eq!(is_due(&target, Some(now()), Some(&open), now()), expected, "{open:?}");
    }
}

/// Outputs, the state and configurations contain these words.
#[test]
fn words_of_the_contract_are_stable() {
    fn words<T: VariantArray + Into<&'static str> + Copy>() -> String {
        T::VARIANTS.iter().map(|word| (*word).into()).collect::<Vec<&str>>().join(" ")
    }
    assert_eq!(words::<Trigger>(), "poll hand mark running rollback");
    assert_eq!(words::<DeploymentState>(), "pending running succeeded dead superseded dropped");
    assert_eq!(
        words::<ErrorCode>(),
        "unauthorized denied not_found rate_limited unavailable protocol out_of_time secret running gate state \
         command http timeout verify"
    );
    assert_eq!(
        <NotifyEvent as strum::VariantNames>::VARIANTS.join(" "),
        "failed dead rolled_back recovered deployed available unknown discovered"
    );
}

#[test]
fn each_candidate_has_the_verdict_of_its_place() {
    let listed = versions(&["v1.0.0", "v2.0.0", "v3.0.0", "v4.0.0", "v5.0.0"]);
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0", "v3.0.0"]));
    stage.mark(&Mark::Deployed(tag("v2.0.0")));
    let verdicts = |stage: &tests::TestStage| -> Vec<(VerdictKind, String)> {
        stage.verdicts(&listed).into_iter().map(|verdict| (verdict.kind, verdict.reason)).collect()
    };
    let kinds: Vec<VerdictKind> = verdicts(&stage).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds,
        [
            VerdictKind::Next,
            VerdictKind::NewerFirst,
            VerdictKind::Given,
            VerdictKind::Deployed,
            VerdictKind::NotNewer
        ]
    );

    let failed = pending(tag("v3.0.0"), None);
    let listed_before = versions(&["v1.0.0", "v2.0.0", "v3.0.0"]);
    let recorded = |stage: &tests::TestStage| stage.verdicts(&listed_before).remove(0).reason;
    stage.open.pending = Some(Deployment { attempts: 0, ..failed.clone() });
    assert!(recorded(&stage).contains("is planned"));
    stage.open.pending = Some(failed.clone());
    assert!(recorded(&stage).contains("failed (attempt 1)"));
    stage.open = OpenDeployments { running: Some(failed), ..OpenDeployments::default() };
    assert!(recorded(&stage).contains("is running"));
    stage.open = OpenDeployments::default();

    stage.target.auto_deploy = false;
    assert_eq!(verdicts(&stage)[0].0, VerdictKind::Available);
    stage.target.auto_deploy = true;
    let hold = Hold { reason: None, by: "alice".to_owned(), since: now(), until: None };
    stage.state.as_mut().unwrap().hold = Some(hold);
    assert_eq!(verdicts(&stage)[0].0, VerdictKind::Held);
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
