//! The recheck before a deployment is sent. An answer that blocks the deployment is reported like any result of a poll,
//! not at every poll.

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on_gitea};
use crate::http::Answer;
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// The deployment of v1.11.0 has failed once, and is due.
fn failed_once(gitea: &Gitea, stage: &str) -> Shop {
    let shop = baselined(gitea, stage);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "v1.11.0"]);
    shop.remove("fail");
    shop
}

#[test]
fn a_recheck_without_an_answer_is_an_outage_until_it_has_one() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let notify = format!(
        "[[notify]]\nurl = \"{}\"\non = [\"unknown\", \"recovered\", \"deployed\"]\njson = {{ said = \"{{status}} {{error}}\" }}\n",
        receiver.url()
    );
    let shop = failed_once(&gitea, &format!("{PROD}{notify}"));
    gitea.intercept_all("/manifests/", Answer::new(500, "text/plain", ""));
    let why = "unavailable: HEAD http://127.0.0.1:[port]/v2/acme/shop/manifests/v1.11.0: 500";
    shop.run(&["poll"]).code(1).line("shop/prod", &["unknown", why]);
    for _ in 0..2 {
        shop.run(&["poll"]).code(1).no_line("shop/prod");
    }
    // After two hours the outage is printed again, and receivers are notified for the first time.
    let state = rusqlite::Connection::open(shop.path("state.db")).unwrap();
    let earlier = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2)).to_string();
    let query = "UPDATE poll_state SET document = json_replace(document, '$.failing.since', ?1, '$.failing.told_at', ?1) WHERE stage = 'prod'";
    assert_eq!(state.execute(query, [earlier]).unwrap(), 1);
    shop.run(&["poll"]).code(1).line("shop/prod", &["unknown", why]);
    shop.run(&["status"]).code(0).line("shop/prod", &["unknown", "v1.11.0"]);
    shop.run(&["status", "shop/prod"]).code(0).stdout_has(&format!("4 polls: {why}"));
    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.status("shop/prod")["failing_since"], serde_json::Value::Null);
    let said = receiver.requests();
    let said: Vec<String> = said.iter().map(|request| request.json()["said"].to_string()).collect();
    assert!(said[0].starts_with("\"unknown unavailable: HEAD "), "{said:?}");
    assert_eq!(
        said[1..],
        ["\"recovered \"", "\"recovered \"", "\"deployed \""],
        "the check, and the deployment"
    );
}

#[test]
fn a_recheck_whose_answer_keeps_the_deployment_back_ends_the_outage() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, PROD);
    gitea.intercept_all("/manifests/", Answer::new(500, "text/plain", ""));
    shop.run(&["poll"]).code(1).line("shop/prod", &["unknown"]);
    gitea.intercept_all("/manifests/", Answer::new(404, "text/plain", ""));
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "the registry has no manifest for it"]);
    assert_eq!(shop.status("shop/prod")["failing_since"], serde_json::Value::Null);
    shop.run(&["poll"]).code(0).silent();
    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

/// A gate is asked about the image that the tag points at by now.
#[test]
fn a_gate_that_keeps_back_a_moved_tag_is_reported_once() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, PROD);
    shop.config(&on_gitea(&gitea, &format!("{PROD}gate = {{ command = [\"./gate.sh\"] }}\n")));
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T12:00:00Z");
    for (gate, code, words) in [
        ("echo not yet; exit 1", 0, ["waiting", "gate: v1.11.0: not yet"]),
        ("kill -9 $$", 1, ["unknown", "gate of v1.11.0: ./gate.sh was killed by signal 9"]),
    ] {
        shop.script("gate.sh", gate);
        shop.run(&["poll"]).code(code).line("shop/prod", &words);
        shop.run(&["poll"]).code(code).no_line("shop/prod");
    }
    shop.script("gate.sh", "");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

#[test]
fn labels_that_cannot_be_read_are_an_outage() {
    let gitea = gitea(Build::GiteaNew);
    let stage = PROD.replace("\"./deploy.sh\"", "\"./deploy.sh\", \"{label.rev}\"");
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    gitea.label("acme/shop", "v1.11.0", "rev", "0a1b2c");
    gitea.intercept_all("/blobs/", Answer::json(200, "no configuration"));
    shop.run(&["poll"]).code(1).line("shop/prod", &["unknown", "this is not an image's configuration"]);
    shop.run(&["poll"]).code(1).no_line("shop/prod");
    assert_eq!(shop.status("shop/prod")["error"]["code"], "protocol");
    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

#[test]
fn a_hold_does_not_hide_that_the_registry_is_down() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, PROD);
    shop.run(&["hold", "shop/prod"]).code(0);
    gitea.intercept_all("", Answer::new(503, "text/plain", ""));
    shop.run(&["poll", "--refresh"]).code(1).line("shop/prod", &["unknown", "503"]);
    shop.run(&["poll", "--refresh", "--format", "json"]).code(1).status_is("shop/prod", "unknown");
    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/prod", &["held", "v1.11.0", "recovered"]);
    shop.run(&["poll"]).code(0).silent();
}

/// dev's command stays, and prod's deployment waits behind it in the same run.
#[test]
fn a_deployment_that_waited_for_another_is_checked_again() {
    for (change, status) in [("hold", "held"), ("delete", "older"), ("push", "deployed")] {
        let gitea = gitea(Build::GiteaNew);
        let shop = baselined(
            &gitea,
            &format!("{DEV}{PROD}gate = {{ command = [\"./gate.sh\", \"{{digest}}\"] }}\n"),
        );
        shop.script("gate.sh", "echo $1 >> asked");
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
        shop.file("stay", "");
        let poll = shop.start(&["poll"]);
        await_until("dev's command runs", || shop.exists("deliveries"));
        match change {
            "hold" => drop(shop.run(&["hold", "shop/prod"]).code(0)),
            "delete" => gitea.delete("acme/shop", "v1.11.0"),
            _ => gitea.push("acme/shop", "v1.11.0", "2026-11-20T12:00:00Z"),
        }
        // Within a moment, its digest is not read again.
        let state = rusqlite::Connection::open(shop.path("state.db")).unwrap();
        let earlier = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1)).to_string();
        let query = "UPDATE deployment SET created_at = ?1 WHERE stage = 'prod' AND state = 'pending'";
        assert_eq!(state.execute(query, [earlier]).unwrap(), 1);
        shop.remove("stay");
        poll.end().code(0).line("shop/prod", &[status, "v1.11.0"]);
        let asked = shop.read("asked").lines().count();
        assert_eq!(asked, if change == "push" { 2 } else { 1 }, "each image that is deployed was judged");
    }
}

#[test]
fn an_edited_configuration_stops_retries_and_interrupted_deployments() {
    let excluded = PROD.replace("tags = \"v*\"", "tags = \"v*\"\nexclude = \"v1.11.0\"");
    let off = format!("{PROD}auto_deploy = false\n");
    let renamed = |gitea: &Gitea| on_gitea(gitea, PROD).replace("acme/shop", "acme/worker");
    for is_interrupted in [false, true] {
        for (edit, words) in [
            (&excluded, ["behind", "the edited rule does not match v1.11.0"]),
            (&off, ["available", "auto_deploy is off; to deploy it: tagship deploy shop/prod v1.11.0"]),
            (&String::new(), ["behind", "v1.11.0 was of acme/shop; its deployment was removed"]),
        ] {
            let gitea = gitea(Build::GiteaNew);
            let shop = if is_interrupted {
                let shop = baselined(&gitea, PROD);
                gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
                shop.file("stay", "");
                let poll = shop.start(&["poll"]);
                await_until("the command runs", || shop.exists("deliveries"));
                assert!(poll.kill().was_killed());
                shop.remove("stay");
                await_until("the orphan is done", || shop.exists("completions"));
                shop
            } else {
                failed_once(&gitea, PROD)
            };
            for tag in ["v1.10.0", "v1.11.0"] {
                gitea.push("acme/worker", tag, "2026-11-20T11:00:00Z");
            }
            let edited = if edit.is_empty() { renamed(&gitea) } else { on_gitea(&gitea, edit) };
            shop.config(&edited);
            let mut said = String::new();
            // The script's end comes right after its last line: until then its target is locked.
            await_until("the row is looked at", || {
                said = shop.run(&["poll", "-v"]).code(0).stdout.clone();
                !said.contains("deploying")
            });
            if is_interrupted || edit == &off {
                assert!(words.iter().all(|word| said.contains(word)), "{said}");
            }
            shop.run(&["poll", "-v"]).code(0);
            assert_eq!(shop.deliveries().len(), 1, "{words:?} {said}");
        }
    }
}

#[test]
fn a_rollback_never_mixes_two_images() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    for tag in ["v1.11.0", "v1.12.0"] {
        gitea.push("acme/worker", tag, "2026-11-20T12:00:00Z");
    }
    shop.config(&on_gitea(&gitea, PROD).replace("acme/shop", "acme/worker"));
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.12.0"]);
    shop.run(&["rollback", "shop/prod"])
        .code(2)
        .stderr_has("no earlier deployment to shop/prod before v1.12.0 is recorded");
}

#[test]
fn with_auto_deploy_switched_off_newer_tags_and_outages_are_reported() {
    let gitea = gitea(Build::GiteaNew);
    let shop = failed_once(&gitea, PROD);
    shop.config(&on_gitea(&gitea, &format!("{PROD}auto_deploy = false\n")));
    shop.run(&["poll"]).code(0).line("shop/prod", &["available", "v1.11.0"]);
    gitea.push("acme/shop", "v1.12.0", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["available", "tagship deploy shop/prod v1.12.0"]);
    gitea.intercept_all("", Answer::new(503, "text/plain", ""));
    shop.run(&["poll", "--refresh"]).code(1).line("shop/prod", &["unknown", "503"]);
    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/prod", &["available", "v1.12.0", "recovered"]);
    shop.run(&["poll"]).code(0).silent();
    shop.run(&["status", "--exit-code"]).code(0);
}
