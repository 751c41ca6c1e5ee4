//! What programs read: `--format json` and `jsonl`, with the keys of the design.

use serde_json::Value;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

const HEAD: [&str; 5] = ["duration_ms", "requests", "started_at", "summary", "version"];
const TARGET: [&str; 11] = [
    "deployed_tag",
    "deployment",
    "digest",
    "error",
    "latest_tag",
    "previous_tag",
    "project",
    "reason",
    "stage",
    "status",
    "until",
];

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap_or_else(|| panic!("{value} is an object"))
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// dev has a new tag, prod has none.
fn with_news() -> (Gitea, Shop) {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    (gitea, shop)
}

#[test]
fn json_is_one_document_with_every_target() {
    let (gitea, shop) = with_news();
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).stderr("").status_is("shop/dev", "deployed").status_is("shop/prod", "up_to_date");
    let json = run.json();
    let mut head = HEAD.to_vec();
    head.push("targets");
    assert_eq!(keys(&json), {
        head.sort_unstable();
        head
    });
    assert_eq!(json["version"], 1);
    assert_eq!(json["requests"], gitea.take_requests().len());
    let started: jiff::Timestamp = json["started_at"].as_str().unwrap().parse().unwrap();
    assert!(started <= jiff::Timestamp::now());
    assert_eq!(json["summary"], serde_json::json!({"targets": 2, "deployed": 1, "failed": 0, "unknown": 0}));

    let dev = run.target("shop/dev");
    assert_eq!(keys(&dev), TARGET);
    assert_eq!(dev["latest_tag"], "dev-43");
    assert_eq!(dev["deployed_tag"], "dev-43");
    assert_eq!(dev["digest"], gitea.digest("acme/shop", "dev-43").as_str());
    assert_eq!(dev["error"], Value::Null);
    assert_eq!(keys(&dev["deployment"]), ["attempt", "duration_ms", "id", "state"]);
    assert_eq!(dev["deployment"]["state"], "succeeded");
    assert_eq!(dev["deployment"]["attempt"], 1);
    assert_eq!(dev["deployment"]["id"], shop.deliveries()[0].id.as_str());

    let prod = run.target("shop/prod");
    assert_eq!(keys(&prod), TARGET);
    assert_eq!(prod["deployment"], Value::Null);
}

#[test]
fn jsonl_is_a_line_a_target_and_the_summary_last() {
    let (_gitea, shop) = with_news();
    let lines = shop.run(&["poll", "--format", "jsonl"]).code(0).jsonl();
    let [targets @ .., summary] = lines.as_slice() else { panic!("nothing printed") };
    assert_eq!(targets.len(), 2);
    for target in targets {
        assert_eq!(keys(target), TARGET);
    }
    assert_eq!(keys(summary), HEAD);
    assert_eq!(summary["summary"]["deployed"], 1);
}

#[test]
fn json_tells_each_poll_what_human_output_says_once() {
    let (_gitea, shop) = with_news();
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "failed");
    let dev = run.target("shop/dev");
    assert_eq!(keys(&dev["error"]), ["code", "message"]);
    assert_eq!(dev["deployment"]["attempt"], 2);
    assert_ne!(dev["deployment"]["state"], "succeeded");
}

#[test]
fn verbose_says_also_what_did_not_change() {
    let (_gitea, shop) = with_news();
    shop.run(&["poll", "-v"])
        .code(0)
        .line("shop/dev", &["deployed", "dev-43"])
        .line("shop/prod", &["up_to_date", "v1.10.0"]);
}

#[test]
fn quiet_says_only_what_failed() {
    let (gitea, shop) = with_news();
    shop.run(&["poll", "-q"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll", "-q"]).code(1).line("shop/dev", &["failed", "dev-44"]);
}

#[test]
fn verbose_shows_what_a_deployment_prints() {
    let (_gitea, shop) = with_news();
    shop.script("deploy.sh", "echo rolling out $TAGSHIP_TAG\n");
    shop.run(&["poll", "-v"]).code(0).shows("rolling out dev-43");
}

#[test]
fn there_is_no_colour_on_a_pipe_unless_it_is_asked_for() {
    let (_gitea, shop) = with_news();
    shop.run(&["poll", "-v", "--dry-run"]).code(0).shows_not("\u{1b}[");
    shop.run(&["poll", "-v", "--dry-run", "--color", "always"]).code(0).shows("\u{1b}[");
}
