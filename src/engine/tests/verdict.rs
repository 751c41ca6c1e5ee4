//! What a decision says: statuses, reasons, verdicts.

use super::*;

#[test]
fn without_auto_deploy_a_tag_is_available_until_it_is_marked() {
    let mut stage = semver();
    stage.target.auto_deploy = false;
    stage.poll(&versions(&["v1.0.0"]));
    for _ in 0..3 {
        let decision = stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
        assert_eq!((decision.status, decision.deploy), (Status::Available, None));
    }
    stage.mark(&Mark::Deployed(tag("v1.1.0")));
    assert_eq!(stage.poll(&versions(&["v1.0.0", "v1.1.0"])).status, Status::UpToDate);
}

#[test]
fn stage_that_does_not_run_high_water_is_behind() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
    stage.mark(&Mark::Deployed(tag("v1.0.0")));
    assert_eq!(stage.poll(&versions(&["v1.0.0", "v1.1.0"])).status, Status::Behind);
    assert_eq!(stage.high_water(), Some(tag("v1.1.0")), "a rollback is not undone");
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
    let poll = |stage: &mut TestStage, failure: bool, audience: Audience| {
        let before = stage.state.clone();
        let mut decision = if failure {
            let failure = Failure { code: ErrorCode::Unavailable, message: String::new() };
            decide_failed(before.as_ref(), failure, stage.now)
        } else {
            stage.poll(&versions(&["v1.0.0", "v2.0.0"]))
        };
        let is_reportable = mark_reported(&mut decision, before.as_ref(), audience, stage.now);
        stage.state = Some(decision.state);
        is_reportable
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
    let verdicts = |stage: &TestStage| -> Vec<(VerdictKind, String)> {
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
    let recorded = |stage: &TestStage| stage.verdicts(&listed_before).remove(0).reason;
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

#[test]
fn tags_beyond_the_candidates_were_not_checked() {
    let mut stage = semver();
    let names: Vec<String> = (0..53).map(|patch| format!("v1.0.{patch}")).collect();
    let listed = versions(&names.iter().map(String::as_str).collect::<Vec<_>>());
    stage.poll(&versions(&["v1.0.0"]));
    stage.target.gates.platforms = vec!["linux/amd64".to_owned()];
    let verdict = |stage: &TestStage, name: &str| {
        let verdicts = stage.verdicts(&listed);
        verdicts.into_iter().find(|verdict| verdict.listed.tag == tag(name)).unwrap()
    };
    assert_eq!(verdict(&stage, "v1.0.3").kind, VerdictKind::Waiting);
    let beyond = verdict(&stage, "v1.0.2");
    assert_eq!(beyond.kind, VerdictKind::NewerFirst);
    assert!(
        beyond.reason.starts_with("only the newest 50 tags are checked, and they wait"),
        "{}",
        beyond.reason
    );
    stage.target.gates.platforms.clear();
    assert_eq!(verdict(&stage, "v1.0.2").reason, "a newer tag is deployed first");
}
