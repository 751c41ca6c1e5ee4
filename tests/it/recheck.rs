//! The recheck before a deployment is sent. An answer that blocks the deployment is reported like any result of a poll,
//! not at every poll.

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{PROD, Shop, on_gitea};
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
