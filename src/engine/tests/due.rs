//! When a target is polled again, and when it counts as unchanged.

use super::*;

#[test]
fn failed_listing_changes_only_the_outage() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let failure = Failure { code: ErrorCode::Unavailable, message: "refused".to_owned() };
    let before = stage.state.clone().unwrap();
    let decision = decide_failed(stage.state.as_ref(), failure, now());
    assert_eq!(decision.status, Status::Unknown);
    assert_eq!(PollState { failing: None, ..decision.state.clone() }, before);
    stage.state = Some(decision.state);
    assert_eq!(stage.poll(&versions(&["v1.0.0"])).state.failing, None);
}

#[test]
fn target_is_due_at_nine_tenths_of_its_interval() {
    let target = target("v*", Order::Semver);
    let checked = |seconds: i64| Timestamp::from_second(now().as_second() - seconds).unwrap();
    assert!(is_due(&target, None, None, now()));
    for (seconds, due) in [(0, false), (269, false), (270, true), (1000, true), (-60, true)] {
        assert_eq!(is_due(&target, Some(checked(seconds)), None, now()), due, "{seconds}");
    }
}

#[test]
fn deployment_that_failed_just_now_is_not_due() {
    let next = NextAttempt { at: at(160), failed_at: at(100) };
    assert!(!next.is_over(at(100)) && !next.is_over(at(159)));
    assert!(next.is_over(at(160)) && next.is_over(at(99)));
}

#[test]
fn target_is_unchanged_only_if_nothing_is_pending_or_blocked() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let mut quiet = stage.state.clone().unwrap();
    quiet.came_to(Status::UpToDate, Some("v1.0.0 is the newest".to_owned()), None);
    let none = OpenDeployments::default();
    assert!(unchanged(&stage.target, &quiet, &none).is_some());
    let waiting = OpenDeployments { pending: Some(pending(tag("v1.0.0"), None)), ..none.clone() };
    assert!(unchanged(&stage.target, &quiet, &waiting).is_none());
    let first_seen = now();
    let seen = SeenCandidate {
        tag: tag("v2.0.0"),
        pushed_at: None,
        sequence: None,
        first_seen,
        digest: None,
        moved_after: None,
        asked_digest: None,
    };
    let gated = PollState { candidates: vec![seen], ..quiet.clone() };
    assert!(unchanged(&stage.target, &gated, &none).is_none());
    stage.target.digest = true;
    assert!(unchanged(&stage.target, &quiet, &none).is_none());
}

#[test]
fn statuses_of_an_unchanged_target_last_until_a_push() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let mut quiet = stage.state.clone().unwrap();
    let none = OpenDeployments::default();
    for status in [Status::UpToDate, Status::Behind, Status::Older, Status::NoMatch] {
        quiet.came_to(status, Some("why".to_owned()), None);
        assert_eq!(unchanged(&stage.target, &quiet, &none), Some(status));
    }
    for status in [Status::Waiting, Status::Held, Status::Unknown, Status::Baseline] {
        quiet.came_to(status, Some("why".to_owned()), None);
        assert_eq!(unchanged(&stage.target, &quiet, &none), None);
    }
}

#[test]
fn due_or_interrupted_deployment_makes_its_target_due() {
    let target = target("v*", Order::Semver);
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
