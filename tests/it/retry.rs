//! Failed deployments are retried over later runs, at growing intervals, until tagship gives up; and what people can
//! do about it.

use std::time::Duration;

use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, Shop, await_until, on_gitea};
use crate::http::Answer;
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// dev by deploy.sh, with this retry.
fn dev(retry: &str) -> String {
    let (head, _) = DEV.split_once("retry").unwrap();
    format!("{head}retry = {{ {retry} }}\n")
}

/// A shop whose deployment of dev-43 has failed once.
fn failed_once(gitea: &Gitea, retry: &str) -> Shop {
    let shop = baselined(gitea, &dev(retry));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]);
    shop
}

fn status_of(shop: &Shop) -> Value {
    shop.run(&["poll", "--format", "json"]).target("shop/dev")["status"].clone()
}

#[test]
fn a_waiting_retry_sends_no_mail_and_status_shows_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, "attempts = 3, backoff = \"1h\"");
    shop.run(&["poll"]).code(0).silent();
    let run = shop.run(&["poll", "--format", "json", "--exit-code"]);
    run.code(0).status_is("shop/dev", "retrying");
    assert!(run.target("shop/dev")["until"].is_string());
    shop.run(&["poll", "-v"]).code(0).line("shop/dev", &["retrying", "dev-43", "attempt 1 of 3 failed"]);
    assert_eq!(shop.deliveries().len(), 1);

    let row = shop.status("shop/dev");
    assert_eq!(row["deployment"]["state"], "pending");
    assert_eq!(row["deployment"]["attempts"], 1);
    assert!(row["deployment"]["next_attempt_at"].is_string());
    shop.run(&["status"]).code(0).shows("dev-43 failed (attempt 1, retry in ");
}

#[test]
fn an_endpoint_that_fails_three_times_has_four_attempts_with_one_id_at_the_configured_intervals() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let stage = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\n\
         retry = {{ backoff = \"300ms\", max_backoff = \"400ms\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    endpoint.then(Answer::new(500, "text/plain", "full"));
    endpoint.then(Answer::new(500, "text/plain", "full"));
    endpoint.then(Answer::new(429, "text/plain", "slowly").with("Retry-After", "2"));

    await_until("the fourth attempt succeeds", || status_of(&shop) == "deployed");
    let moments = endpoint.arrived();
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 4);
    let ids: Vec<_> = requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let attempts: Vec<Value> = requests.iter().map(|request| request.json()["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    let gaps: Vec<Duration> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, least) in gaps.iter().zip([300, 400, 2000]) {
        assert!(*gap >= Duration::from_millis(least), "{gaps:?}");
    }
}

#[test]
fn after_its_last_attempt_a_deployment_is_dead_until_a_person_acts() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, "attempts = 2, backoff = \"1ms\", max_backoff = \"1ms\"");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "dead").error_is("shop/dev", "command");
    assert_eq!(run.target("shop/dev")["deployment"]["state"], "dead");
    assert_eq!(run.json()["summary"]["failed"], 1);

    shop.run(&["poll"]).code(0).line("shop/dev", &["behind", "tagship retry shop/dev"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.deliveries().len(), 2, "it is not tried any more");
    shop.run(&["status", "--exit-code"])
        .code(1)
        .shows("gave up after attempt")
        .shows("; to retry: tagship retry shop/dev");
    assert_eq!(shop.status("shop/dev")["status"], "dead");

    shop.remove("fail");
    shop.run(&["retry"]).code(0).shows("shop/dev: the deployment of dev-43 will be retried at the next poll");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    shop.run(&["status", "--exit-code"]).code(0);
    let deliveries = shop.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.id == deliveries[0].id));
    assert_eq!(deliveries.last().unwrap().attempt, 3);
}

#[test]
fn retry_gives_a_dead_deployment_all_its_attempts_again() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, "attempts = 2, backoff = \"1ms\", max_backoff = \"1ms\"");
    let id = shop.deliveries()[0].id.clone();
    assert_eq!(status_of(&shop), "dead");
    shop.run(&["retry", &id]).code(0);
    assert_eq!(status_of(&shop), "failed");
    assert_eq!(status_of(&shop), "dead");
    assert_eq!(shop.deliveries().len(), 4);
}

#[test]
fn retry_makes_a_waiting_one_due_at_once() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, "backoff = \"1h\"");
    shop.remove("fail");
    shop.run(&["poll"]).code(0).silent();
    shop.run(&["retry", "shop/dev"]).code(0);
    shop.run(&["poll", "--due"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_dropped_deployment_is_forgotten_and_newer_ones_continue() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, "backoff = \"1ms\", max_backoff = \"1ms\"");
    shop.remove("fail");
    shop.run(&["retry", "shop/dev", "--drop"]).code(0).shows("dev-43 was removed");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.deliveries().len(), 1);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
}

#[test]
fn a_newer_tag_takes_the_place_of_a_dead_one() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, "attempts = 2, backoff = \"1ms\", max_backoff = \"1ms\"");
    assert_eq!(status_of(&shop), "dead");
    shop.run(&["status", "--exit-code"]).code(1);
    shop.remove("fail");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    shop.run(&["status", "--exit-code"]).code(0);
    shop.run(&["retry"]).code(0).shows("no failed deployments");
}

#[test]
fn a_retry_of_an_unknown_deployment_is_an_error() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.run(&["retry"]).code(0).shows("no failed deployments");
    shop.run(&["retry", "01890a5d-ac96-774b-bcce-b302099a8057"])
        .code(2)
        .shows("to list deployments: tagship history");
    shop.run(&["retry", "shpo"]).code(2).shows("shpo");
}

#[test]
fn retry_skips_a_target_during_its_deployment() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, "backoff = \"1ms\", max_backoff = \"1ms\"");
    shop.file("stay", "");
    let poll = shop.start(&["poll"]);
    await_until("the second attempt runs", || shop.deliveries().len() == 2);
    for more in [&[][..], &["--drop"]] {
        shop.run(&[&["retry", "shop/dev"], more].concat())
            .code(75)
            .stdout("shop/dev: another run, or a command that it left behind, is deploying to it; nothing was changed\n")
            .stderr("");
    }
    shop.remove("fail");
    shop.remove("stay");
    poll.end().code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_failure_that_a_retry_cannot_help_is_dead_at_once() {
    for status in [400, 401, 403, 405, 410, 413, 422] {
        let gitea = gitea(Build::GiteaNew);
        let endpoint = Endpoint::start();
        let stage = format!(
            "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\n",
            endpoint.url()
        );
        let shop = baselined(&gitea, &stage);
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        endpoint.then(Answer::new(status, "text/plain", "no"));
        shop.run(&["poll"]).code(1).line("shop/dev", &["dead", "dev-43", &status.to_string()]);
        shop.run(&["poll"]).code(0);
        assert_eq!(endpoint.requests().len(), 1, "{status}");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_retried_without_limit() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &dev("attempts = 1, backoff = \"1ms\", max_backoff = \"1ms\""));
    let script = shop.read("deploy.sh");
    shop.remove("deploy.sh");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    for _ in 0..3 {
        shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "does not exist"]);
    }
    shop.script("deploy.sh", script.trim_start_matches("#!/bin/sh\n"));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    assert_eq!(shop.deliveries()[0].attempt, 1);
}

#[test]
fn one_target_that_waits_holds_up_no_other() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, "backoff = \"1h\"");
    let config = format!("{}{}", on_gitea(&gitea, &dev("backoff = \"1h\"")), crate::harness::PROD);
    shop.config(&config);
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "v9.0.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v9.0.0"]);
    assert_eq!(status_of(&shop), "retrying");
}

/// The attempt fails beside a newer tag, which takes its place.
#[test]
fn receivers_learn_of_a_failure_before_its_end() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let notify = format!(
        "[[notify]]\nurl = \"{}\"\non = [\"failed\", \"recovered\", \"deployed\"]\njson = {{ said = \"{{status}} {{tag}}\" }}\n",
        receiver.url()
    );
    let shop = baselined(&gitea, DEV);
    shop.config(&format!("{}{notify}", on_gitea(&gitea, DEV)));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    shop.file("fail", "");
    let poll = shop.start(&["poll"]);
    await_until("it is deployed", || shop.exists("deliveries"));
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0);
    shop.remove("stay");
    poll.end().code(1).line("shop/dev", &["failed", "dev-43"]);
    shop.remove("fail");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    let said: Vec<Value> = receiver.requests().iter().map(|request| request.json()["said"].clone()).collect();
    assert_eq!(said, ["failed dev-43", "recovered dev-44", "deployed dev-44"]);
}

/// What ends tagship every time (a time limit that is too short) ends the deployment, too.
#[test]
fn a_deployment_that_is_interrupted_at_every_attempt_is_dead() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &dev("attempts = 2"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    // One more than the limit, as the last one may have succeeded.
    for attempt in 1..=3 {
        let poll = shop.start(&["poll"]);
        await_until("the command runs", || shop.deliveries().len() == attempt);
        poll.kill();
        shop.remove("stay");
        await_until("the orphan is done", || {
            shop.exists("completions") && shop.read("completions").lines().count() == attempt
        });
        await_until("its lock is free", || {
            let path = shop.path("state.db.locks").join("shop@dev");
            std::fs::File::open(path).is_ok_and(|file| file.try_lock().is_ok())
        });
        shop.file("stay", "");
    }
    shop.run(&["poll"])
        .code(1)
        .line("shop/dev", &["dead", "gave up after attempt 3", "the last attempt was interrupted"]);
    assert_eq!(shop.deliveries().len(), 3);
}

/// An orphaned command that never ends: said, with what to do, and nothing is started beside it.
#[test]
#[ignore = "needs faketime"]
fn a_target_that_is_held_for_longer_than_its_steps_may_take_has_failed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    let poll = shop.start(&["poll"]);
    await_until("the command runs", || shop.exists("deliveries"));
    poll.kill();
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "deploying");
    shop.run_under(&["faketime", "-f", "+1h"], &["poll"])
        .code(1)
        .line("shop/dev", &["failed", "longer than its steps may take", "process group", "kill -- -"]);
    assert_eq!(shop.deliveries().len(), 1);
    shop.remove("stay");
    await_until("it goes on", || status_of(&shop) == "deployed");
}
