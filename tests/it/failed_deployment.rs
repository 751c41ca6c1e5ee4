//! A deployment that fails is tried again, under the same id, until something newer takes its place.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::http::{Answer, Reply};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// A shop whose deployment of dev-43 has failed once.
fn failed_once(gitea: &Gitea) -> Shop {
    let shop = baselined(gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]);
    shop
}

#[test]
fn a_failed_deployment_is_tried_again_under_its_id() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = failed_once(&gitea);
        shop.remove("fail");
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(0).status_is("shop/dev", "deployed");
        shop.run(&["poll"]).code(0).silent();

        let deliveries = shop.deliveries();
        assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/dev dev-43"], "{build:?}");
        assert_eq!(deliveries[0].id, deliveries[1].id, "{build:?}");
        assert_eq!((deliveries[0].attempt, deliveries[1].attempt), (1, 2), "{build:?}");
        let deployment = run.target("shop/dev")["deployment"].clone();
        assert_eq!(deployment["id"], deliveries[0].id.as_str());
        assert_eq!(deployment["attempt"], 2);
        assert_eq!(deployment["state"], "succeeded");
    }
}

#[test]
fn a_failed_deployment_exits_1_at_every_poll_that_fails() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea);
    let run = shop.run(&["poll", "--format", "json", "--exit-code"]);
    run.code(1).status_is("shop/dev", "failed").error_is("shop/dev", "command");
    assert_eq!(run.json()["summary"]["failed"], 1);
    assert_eq!(shop.deliveries().len(), 2);
    assert!(shop.status("shop/dev")["deployed_tag"].is_null());
}

#[test]
fn a_newer_tag_takes_the_place_of_one_that_failed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea);
    shop.remove("fail");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    shop.run(&["poll"]).code(0).silent();

    let deliveries = shop.deliveries();
    assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/dev dev-44"]);
    assert_ne!(deliveries[0].id, deliveries[1].id);
    assert_eq!(deliveries[1].attempt, 1);
}

#[test]
fn a_failed_deployment_whose_tag_is_gone_is_not_tried_again() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea);
    shop.remove("fail");
    gitea.delete("acme/shop", "dev-43");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
    // Its high-water went with it: the same name, pushed again, is new.
    gitea.push("acme/shop", "dev-43", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_tag_without_a_manifest_at_its_next_try_waits_while_it_is_listed_and_is_dropped_when_it_is_not() {
    let list = |tags: &str| Answer::json(200, format!(r#"{{"name":"acme/shop","tags":[{tags}]}}"#)).into();
    let reset: Reply = Answer::new(500, "", "").into();
    for (then_listed, code, said, state) in [
        (
            list(r#""v1.10.0","v1.11.0""#),
            0,
            "waiting       v1.11.0 is listed, but the registry has no",
            "pending",
        ),
        (list(r#""v1.10.0""#), 0, "older         v1.11.0 was deleted before it was deployed", "dropped"),
        (reset, 1, "unknown       unavailable: ", "pending"),
    ] {
        let gitea = gitea(Build::GiteaNew);
        let shop = baselined(&gitea, PROD);
        gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
        shop.file("fail", "");
        shop.run(&["poll"]).code(1);
        shop.remove("fail");
        let is_missed = AtomicBool::new(false);
        gitea.intercept(move |request| {
            if request.target.ends_with("/manifests/v1.11.0") {
                is_missed.store(true, Ordering::SeqCst);
                return Some(Answer::new(404, "", "").into());
            }
            let is_list = request.target.contains("/tags/list") && is_missed.load(Ordering::SeqCst);
            is_list.then(|| then_listed.clone())
        });
        shop.run(&["poll"]).code(code).line("shop/prod", &[said]);
        assert_eq!(shop.deliveries().len(), 1, "{said}");
        let history = shop.run(&["history", "--format", "json"]).code(0).json();
        assert_eq!(history["deployments"][0]["state"], state, "{said}");
        if state == "dropped" {
            shop.run(&["status", "--format", "json"]).code(0).status_is("shop/prod", "older");
        }
        // Whatever it was, when it is there again it is deployed, once.
        gitea.recover();
        shop.run(&["poll", "--refresh"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
        assert_eq!(shop.deliveries().len(), 2, "{said}");
    }
}

#[test]
fn the_report_of_a_failure_has_what_the_command_printed_and_how_it_ended() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea);
    let run = shop.run(&["poll"]);
    run.code(1).shows("the stage refused dev-43").shows("7");
}

#[test]
fn output_of_a_command_cannot_control_the_terminal() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.script("deploy.sh", "printf 'bad\\033[2Jthing\\n'; exit 1\n");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll"]);
    run.code(1).shows("bad").shows_not("\u{1b}");
}

#[test]
fn one_failing_target_does_not_stop_the_others() {
    let gitea = gitea(Build::GiteaNew);
    let broken = DEV.replace("stages.dev", "stages.broken").replace("./deploy.sh", "./missing.sh");
    let shop = baselined(&gitea, &format!("{broken}{DEV}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1)
        .status_is("shop/broken", "failed")
        .error_is("shop/broken", "command")
        .status_is("shop/dev", "deployed")
        .status_is("shop/prod", "deployed");
}

#[test]
fn a_command_that_cannot_be_started_uses_no_attempt_up() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &DEV.replace("./deploy.sh", "./later.sh"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]).shows("later.sh");
    std::fs::copy(shop.path("deploy.sh"), shop.path("later.sh")).unwrap();
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    assert_eq!(shop.deliveries()[0].attempt, 1);
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_its_whole_group() {
    let gitea = gitea(Build::GiteaNew);
    let stage = DEV.replace(
        "deploy = { command = [\"./deploy.sh\"] }",
        "deploy = { command = [\"sh\", \"-c\", \"trap 'touch asked; exit 1' TERM; sleep 300 & echo $! > child; wait\"], timeout = \"1s\" }",
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "failed").error_is("shop/dev", "timeout");
    assert!(shop.exists("asked"), "TERM comes before KILL");
    let child: i32 = shop.read("child").trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(child).unwrap();
    crate::harness::await_until("the child is gone", || rustix::process::test_kill_process(pid).is_err());
}

#[test]
fn an_endpoint_that_refuses_is_asked_again_under_the_same_id() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let stage = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\nretry = {{ backoff = \"1ms\", max_backoff = \"1ms\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");

    endpoint.then(Answer::new(500, "text/plain", "the stage is full"));
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "failed").error_is("shop/dev", "http");
    let message = run.target("shop/dev")["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("500"), "{message}");
    endpoint.then(Reply::Reset);
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed"]);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);

    let requests = endpoint.requests();
    assert_eq!(requests.len(), 3, "a deploy request is never repeated inside a run");
    let ids: std::collections::BTreeSet<_> =
        requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert_eq!(ids.len(), 1);
    let attempts: Vec<_> = requests.iter().map(|request| request.json()["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 2, 3]);
}

#[test]
fn an_endpoint_that_redirects_has_not_deployed() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let stage = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}/a\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    endpoint.then(Answer::new(301, "", "").with("Location", "/b"));
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed"]);
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn an_endpoint_that_hangs_fails_after_its_timeout() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let stage = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n\
         deploy = {{ url = \"{}\", timeout = \"1s\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    endpoint.then(Reply::Hang);
    shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/dev", "timeout");
}

#[test]
fn a_missing_secret_fails_its_deployment_and_is_named() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let stage = format!(
        "[secrets]\nhook = {{ file = \"secret/absent\" }}\n[projects.shop.stages.dev]\ntags = \"dev-*\"\n\
         order = \"newest\"\ndeploy = {{ url = \"{}\", headers = {{ X-Key = \"{{secret.hook}}\" }} }}\n",
        endpoint.url()
    );
    let shop = Shop::with(&on_gitea(&gitea, &stage));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "failed").error_is("shop/dev", "secret");
    assert!(run.target("shop/dev")["error"]["message"].as_str().unwrap().contains("absent"));
    assert!(endpoint.requests().is_empty());
}

#[test]
fn an_outage_while_a_deployment_waits_is_reported_once_and_the_deployment_continues_after_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.remove("fail");
    gitea.intercept_all("/", Answer::new(500, "text/plain", ""));
    shop.run(&["poll"]).code(1).line("shop/dev", &["unknown"]);
    shop.run(&["poll"]).code(1).silent();
    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

/// Under the old id a receiver could take the other image for done.
#[test]
fn a_tag_that_moves_while_its_deployment_waits_is_deployed_under_another_id() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea);
    gitea.push("acme/shop", "dev-43", "2026-11-20T12:00:00Z");
    shop.remove("fail");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let deliveries = shop.deliveries();
    assert_ne!(deliveries[0].id, deliveries[1].id);
    assert_eq!(shop.command_env("TAGSHIP_DIGEST"), Some(gitea.digest("acme/shop", "dev-43")));
    shop.run(&["history", "--id", &deliveries[0].id])
        .code(0)
        .stdout_has("superseded  by poll: dev-43 was pushed again");
}

/// dev-43 gave way to dev-44, which was deleted before its deployment. With one attempt, tagship gave up on both.
#[test]
fn a_superseded_tag_is_deployed_after_its_successor_was_deleted() {
    let once = DEV.replace("retry = {", "retry = { attempts = 1,");
    let stages = [(DEV, "failed"), (once.as_str(), "dead")];
    for (build, (stage, status)) in
        Build::ALL.into_iter().flat_map(|build| stages.map(|stage| (build, stage)))
    {
        let gitea = gitea(build);
        let shop = baselined(&gitea, stage);
        shop.file("fail", "");
        for (tag, second) in [("dev-43", 1), ("dev-44", 2)] {
            gitea.push("acme/shop", tag, &format!("2026-11-20T11:00:0{second}Z"));
            shop.run(&["poll"]).code(1).line("shop/dev", &[status, tag]);
        }
        gitea.delete("acme/shop", "dev-44");
        shop.remove("fail");
        for _ in 0..3 {
            shop.run(&["poll"]).code(0);
        }
        assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43", "{build:?} {status}");
    }
}
