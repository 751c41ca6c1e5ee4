//! The history of deployments, for who audits them.

use jiff::Timestamp;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::http::Answer;
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

fn history(shop: &Shop, arguments: &[&str]) -> Vec<serde_json::Value> {
    let run = shop.run(&[&["history", "--format", "json"], arguments].concat());
    run.code(0).json()["deployments"].as_array().unwrap().clone()
}

/// A deployment that failed once and succeeded, a manual one, and a mark.
fn with_a_past(gitea: &Gitea) -> Shop {
    let shop = baselined(gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    shop.run(&["deploy", "shop/dev", "dev-41"]).code(0);
    shop.run(&["mark", "shop/dev", "dev-42"]).code(0);
    shop
}

#[test]
fn a_deployment_is_shown_with_its_attempts() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_a_past(&gitea);
    let past = history(&shop, &[]);
    let facts: Vec<String> = past
        .iter()
        .map(|past| {
            let text = |key: &str| past[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {}", text("previous_tag"), text("tag"), text("by"), text("state"))
        })
        .collect();
    assert_eq!(
        facts,
        ["dev-41 dev-42 mark succeeded", "dev-43 dev-41 hand succeeded", "- dev-43 poll succeeded"]
    );
    let attempts = past[2]["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0]["exit_status"], 7);
    assert_eq!(attempts[0]["error"]["code"], "command");
    assert_eq!(attempts[0]["output"], "the stage refused dev-43\n");
    assert_eq!(attempts[1]["exit_status"], 0);
    assert!(attempts[1]["error"].is_null());
    assert_eq!(past[2]["digest"], gitea.digest("acme/shop", "dev-43").as_str());
    assert_eq!(past[2]["id"], shop.deliveries()[0].id.as_str());
    for key in ["created_at", "ended_at"] {
        assert!(past[2][key].is_string(), "{key}");
    }
    assert_eq!(history(&shop, &["--limit", "1"]).len(), 1);
}

#[test]
fn people_read_a_line_a_deployment_and_one_an_attempt() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.run(&["history"]).code(0).stdout("").stderr("no deployment yet\n");
    shop.run(&["history", "-q"]).code(0).silent();
    shop.run(&["history", "--tag", "dev-1"])
        .code(0)
        .stdout("")
        .stderr_has("to list all deployments: tagship history\n");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.run(&["history", "shop/dev"])
        .code(0)
        .stdout_has("[time]  shop/dev  dev-43  failed, will be retried  by poll\n");
    shop.run(&["status", "--format", "html"]).code(0).stdout_has("failed, will be retried</span>");
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    shop.run(&["history", "shop/dev"]).code(0).stdout(
        "[time]  shop/dev  dev-43  succeeded  by poll\n\
         \x20   [id]\n\
         \x20   attempt 1 at [time]: failed after [duration]: command: ./deploy.sh exited with status 7: the stage refused dev-43\n\
         \x20       | the stage refused dev-43\n\
         \x20   attempt 2 at [time]: succeeded in [duration]\n",
    );
}

#[test]
fn the_answer_of_an_endpoint_is_kept_and_shown_without_control_characters() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let stage = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    endpoint.then(Answer::new(500, "text/plain", "\u{1b}[31mred\u{7}"));
    shop.run(&["poll"]).code(1);
    let past = history(&shop, &["shop"]);
    assert_eq!(past[0]["attempts"][0]["http_status"], 500);
    assert_eq!(past[0]["state"], "pending");
    assert!(past[0]["ended_at"].is_null());
    shop.run(&["history"]).code(0).shows("red").shows_not("\u{1b}").shows_not("\u{7}");
}

#[test]
fn a_filter_that_matches_nothing_is_a_usage_error_and_nothing_is_created() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.run(&["history", "shop/live"]).code(2);
    shop.run(&["history"]).code(0).stdout("").stderr("no deployment yet\n");
    assert!(!shop.exists("state.db"));
}

/// Finished deployments are pruned. The deployments that a stage runs and ran before, waiting and dead ones stay.
#[test]
fn finished_deployments_are_kept_as_long_as_configured() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    for (tag, time) in
        [("dev-43", "11:00:00"), ("dev-44", "11:01:00"), ("dev-45", "11:02:00"), ("dev-46", "11:03:00")]
    {
        gitea.push("acme/shop", tag, &format!("2026-11-20T{time}Z"));
        shop.run(&["poll"]).code(0);
    }
    gitea.push("acme/shop", "dev-47", "2026-11-20T11:04:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    assert_eq!(history(&shop, &[]).len(), 5);
    shop.config(&format!("[settings]\nhistory = \"1ms\"\n{}", shop.read("tagship.toml")));
    shop.run(&["poll"]).code(1);
    let left: Vec<String> =
        history(&shop, &[]).iter().map(|past| past["tag"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left, ["dev-47", "dev-46", "dev-45"]);
    shop.remove("fail");
    shop.run(&["deploy", "shop/dev", "--previous"]).code(0).line("shop/dev", &["deployed", "dev-46"]);
    shop.run(&["deploy", "shop/dev", "--previous"]).code(0).line("shop/dev", &["deployed", "dev-45"]);
}

#[test]
fn targets_that_left_the_configuration_keep_their_history() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    shop.config(&on_gitea(&gitea, DEV));
    shop.run(&["poll"]).code(0).stderr_has("shop/prod was removed from the configuration");
    for target in [&["shop/prod"][..], &["shop"], &["*/prod"], &[]] {
        let run = shop.run(&[&["history", "--tag", "v1.11.0"], target].concat());
        run.code(0).says("[time] shop/prod v1.11.0 succeeded by poll");
    }
    let now = Timestamp::now().to_string();
    shop.run(&["history", "shop/prod", "--at", &now]).code(0).line("shop/prod", &["v1.11.0", "by poll"]);
    shop.run(&["history", "shop/dev"]).code(0).stdout_has("dev-43").shows_not("v1.11.0");
    shop.run(&["history", "shop/live"]).code(2).stderr_has("no target \"shop/live\"");
    shop.run(&["status"]).code(0).no_line("shop/prod");
}
