//! A newer tag appears: it is deployed once.

use std::time::Duration;

use serde_json::json;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on_gitea};
use crate::http::{Answer, Reply};
use crate::registry::{Build, Gitea};

/// A shop that has taken `dev-42` and `v1.10.0` as its baseline.
pub(crate) fn baselined(gitea: &Gitea, stages: &str) -> Shop {
    let shop = Shop::with(&on_gitea(gitea, stages));
    shop.run(&["poll"]).code(0).stdout_has("baseline");
    gitea.take_requests();
    shop
}

#[test]
fn builds_of_a_version_are_compared_by_further_captures_and_signatures_are_ignored() {
    let gitea = gitea(Build::GiteaNew);
    let stages = "[projects.shop.stages.prod]\ntags = \"*\"\norder = \"semver\"\nregex = '^r(\\d+\\.\\d+\\.\\d+)-ls(\\d+)$'\n\
        deploy = { command = [\"./deploy.sh\"] }\n[projects.shop.stages.any]\ntags = \"*\"\norder = \"newest\"\n\
        deploy = { command = [\"./deploy.sh\"] }\n";
    gitea.push("acme/shop", "r8.9.0-ls99", "2026-11-20T10:30:00Z");
    let shop = baselined(&gitea, stages);
    gitea.push("acme/shop", "r8.9.0-ls101", "2026-11-20T11:00:00Z");
    let signature = format!("sha256-{}.sig", "a".repeat(64));
    gitea.push("acme/shop", &signature, "2026-11-20T11:00:30Z");
    shop.run(&["poll"]).code(0);
    let mut delivered = shop.delivered();
    delivered.sort();
    assert_eq!(delivered, ["shop/any r8.9.0-ls101", "shop/prod r8.9.0-ls101"]);
    gitea.push("acme/shop", "r8.9.0-ls100", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered().len(), 3, "prod has a newer one");
}

#[test]
fn a_new_tag_is_given_to_the_command_once() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = baselined(&gitea, DEV);
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");

        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        shop.run(&["poll"]).code(0).silent();

        assert_eq!(shop.delivered(), ["shop/dev dev-43"], "{build:?}");
        assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43", "{build:?}");
    }
}

#[test]
fn the_command_receives_everything_about_its_deployment() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    for tag in ["dev-43", "dev-44"] {
        gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
        shop.run(&["poll"]).code(0);
    }
    let digest = gitea.digest("acme/shop", "dev-44");
    let image = format!("127.0.0.1:{}/acme/shop", gitea.port());
    for (name, value) in [
        ("PROJECT", "shop"),
        ("STAGE", "dev"),
        ("TARGET", "shop/dev"),
        ("REGISTRY", "git"),
        ("REPOSITORY", "acme/shop"),
        ("IMAGE", &format!("{image}:dev-44")),
        ("TAG", "dev-44"),
        ("DIGEST", &digest),
        ("IMAGE_DIGEST", &format!("{image}@{digest}")),
        ("PREVIOUS_TAG", "dev-43"),
        ("DEPLOYMENT_ID", &shop.deliveries()[1].id),
        ("ATTEMPT", "1"),
    ] {
        assert_eq!(shop.command_env(&format!("TAGSHIP_{name}")).as_deref(), Some(value), "{name}");
    }
    assert_eq!(shop.command_env("PATH").as_deref(), Some("/usr/bin:/bin"));
}

#[test]
fn a_command_takes_placeholders_in_its_arguments_and_its_own_environment() {
    let gitea = gitea(Build::GiteaNew);
    let stage = r#"
[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
vars = { app = "abc" }
deploy = { command = ["sh", "-c", 'echo "$1 $2 $WHERE" > said', "sh", "{tag}", "{{.Config.{var.app}}}"], env = { WHERE = "{project} on {stage}" } }
"#;
    let shop = baselined(&gitea, stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.read("said"), "dev-43 {{.Config.abc}} shop on dev\n");
}

#[test]
fn a_secret_reaches_a_command_by_its_environment_and_is_masked_in_what_it_prints() {
    let gitea = gitea(Build::GiteaNew);
    let stage = r#"
[secrets]
door = { file = "secret/door" }
[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
deploy = { command = ["sh", "-c", 'test ${#DOOR} = 17 && echo "the key is $DOOR" && exit 3'], env = { DOOR = "{secret.door}" } }
"#;
    let shop = Shop::with(&on_gitea(&gitea, stage));
    shop.secret("door", "planted-door-key1");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]).shows("the key is ***");
}

#[test]
fn a_new_tag_is_sent_to_the_endpoint_once() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let stage = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\nvars = {{ app = \"abc\" }}\n\
         deploy = {{ url = \"{}/hooks/deploy\", headers = {{ Authorization = \"Bearer {{secret.hook}}\" }} }}\n\
         [secrets]\nhook = {{ file = \"secret/hook\" }}\n",
        endpoint.url()
    );
    let shop = Shop::with(&on_gitea(&gitea, &stage));
    shop.secret("hook", "planted-hook-token");
    shop.run(&["poll"]).code(0);
    assert!(endpoint.requests().is_empty());

    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/dev", "deployed");
    shop.run(&["poll"]).code(0).silent();

    let requests = endpoint.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.line(), "POST /hooks/deploy");
    assert_eq!(request.header("authorization"), Some("Bearer planted-hook-token"));
    assert!(request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    let id = run.target("shop/dev")["deployment"]["id"].as_str().unwrap().to_owned();
    assert_eq!(request.header_values("idempotency-key"), [id.as_str()]);
    let image = format!("127.0.0.1:{}/acme/shop", gitea.port());
    let digest = gitea.digest("acme/shop", "dev-43");
    let body = request.json();
    for (key, value) in [
        ("project", "shop".into()),
        ("stage", "dev".into()),
        ("target", "shop/dev".into()),
        ("registry", json!("git")),
        ("repository", "acme/shop".into()),
        ("image", json!(format!("{image}:dev-43"))),
        ("tag", "dev-43".into()),
        ("digest", json!(digest)),
        ("image_digest", json!(format!("{image}@{digest}"))),
        ("deployment_id", json!(id)),
        ("attempt", json!(1)),
    ] {
        assert_eq!(body[key], value, "{key} in {body}");
    }
    assert_eq!(body["vars"]["app"], "abc", "{body}");
}

#[test]
fn several_steps_go_in_order_and_the_first_failure_ends_them() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let url = endpoint.url();
    let stage = format!(
        r#"
[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
retry = {{ backoff = "1ms", max_backoff = "1ms" }}
[[projects.shop.stages.dev.deploy]]
method = "PATCH"
url = "{url}/app"
json = {{ docker_registry_image_tag = "{{tag}}" }}
[[projects.shop.stages.dev.deploy]]
url = "{url}/deploy?tag={{tag}}&force=true"
success = {{ status = [200], pointer = "/deployments/0/uuid" }}
[[projects.shop.stages.dev.deploy]]
command = ["./deploy.sh"]
"#
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");

    endpoint.then(Answer::json(200, "{}"));
    endpoint.then(Answer::json(200, r#"{"message":"No permission"}"#));
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "failed").error_is("shop/dev", "http");
    assert_eq!(shop.delivered(), [""; 0]);

    endpoint.then(Answer::json(200, "{}"));
    endpoint.then(Answer::json(200, r#"{"deployments":[{"uuid":"u1"}]}"#));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);

    let lines: Vec<String> = endpoint.requests().iter().map(|request| request.line()).collect();
    assert_eq!(
        lines,
        [
            "PATCH /app",
            "POST /deploy?tag=dev-43&force=true",
            "PATCH /app",
            "POST /deploy?tag=dev-43&force=true"
        ]
    );
    assert_eq!(endpoint.requests()[0].json(), json!({"docker_registry_image_tag": "dev-43"}));
    let ids: std::collections::BTreeSet<_> = endpoint
        .requests()
        .iter()
        .map(|request| request.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 1, "one id through every step and attempt");
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
}

#[test]
fn two_stages_of_one_image_cost_one_listing() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = Shop::with(&on_gitea(&gitea, &format!("{PROD}{}", PROD.replace("prod", "live"))));
        let run = shop.run(&["poll", "--format", "json"]);
        assert_eq!(run.code(0).json()["requests"], gitea.take_requests().len(), "{build:?}");
        gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
        shop.run(&["poll"]).code(0);
        assert_eq!(gitea.count("tags/list"), 1, "{build:?}");
        assert_eq!(gitea.count("/manifests/"), 1, "{build:?}: one HEAD for both");
        assert_eq!(gitea.count("/v2/token"), 0, "{build:?}: so few requests go with the credential itself");
        assert_eq!(shop.delivered(), ["shop/prod v1.11.0", "shop/live v1.11.0"], "{build:?}");
    }
}

/// The feed brings the tag, and nothing is listed.
#[test]
fn a_tag_of_the_feed_that_two_stages_take_is_asked_about_once() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop =
            Shop::with(&on_gitea(&gitea, &format!("{DEV}{}", DEV.replace("stages.dev", "stages.live"))));
        shop.run(&["poll"]).code(0);
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        gitea.take_requests();
        shop.run(&["poll"]).code(0);
        assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/live dev-43"], "{build:?}");
        assert_eq!(gitea.count("/manifests/"), 1, "{build:?}: one HEAD for both");
    }
}

#[test]
fn only_the_newest_of_several_new_tags_is_deployed() {
    let gitea = gitea(Build::GiteaOld);
    let shop = baselined(&gitea, DEV);
    for (tag, time) in [("dev-43", "11:00:00"), ("dev-45", "11:00:02"), ("dev-44", "11:00:01")] {
        gitea.push("acme/shop", tag, &format!("2026-11-20T{time}Z"));
    }
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-45"]);
}

#[test]
fn known_tag_pushed_again_is_not_new() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = baselined(&gitea, DEV);
        gitea.push("acme/shop", "dev-42", "2026-11-20T12:00:00Z");
        shop.run(&["poll"]).code(0);
        assert_eq!(shop.delivered(), [""; 0], "{build:?}");
    }
}

#[test]
fn a_tie_is_never_deployed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &PROD.replace("\"v*\"", "\"*\""));
    gitea.push("acme/shop", "1.10.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn exit_code_3_says_that_something_was_deployed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.run(&["poll", "--exit-code"]).code(0).silent();
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll", "--exit-code"]).code(3).line("shop/dev", &["deployed", "dev-43"]);
    shop.run(&["poll", "--exit-code"]).code(0).silent();
}

#[test]
fn a_dry_run_says_what_would_be_deployed_and_changes_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let web = format!(
        "[projects.shop.stages.web]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &format!("{DEV}{web}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let before = shop.contents();

    let run = shop.run(&["poll", "--dry-run", "--format", "json"]);
    run.code(0).status_is("shop/dev", "would_deploy").status_is("shop/web", "would_deploy");
    assert_eq!(run.target("shop/dev")["latest_tag"], "dev-43");
    shop.run(&["poll", "--dry-run", "--exit-code"]).code(3).line("shop/dev", &["would_deploy", "dev-43"]);

    assert!(shop.contents() == before, "nothing was written");
    assert!(endpoint.requests().is_empty(), "nothing was sent");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_dry_run_without_a_state_file_makes_none() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.run(&["poll", "--dry-run"]).code(0).line("shop/dev", &["baseline", "dev-42"]);
    assert!(!shop.exists("state.db"));
}

#[test]
fn a_deleted_newest_tag_takes_nothing_back() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.delete("acme/shop", "dev-42");
    shop.run(&["poll"]).code(0).line("shop/dev", &["older", "dev-41"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), [""; 0]);

    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn allow_downgrade_deploys_the_newest_that_is_left() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}allow_downgrade = true\n"));
    gitea.delete("acme/shop", "dev-42");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-41"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-41"]);
}

#[test]
fn an_edited_rule_starts_from_a_baseline_again_and_says_so() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.push("acme/shop", "dev-50", "2026-11-20T11:00:00Z");
    shop.config(&on_gitea(&gitea, &DEV.replace("stages.dev", "stages.prod")));
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/prod", "baseline");
    let reason = run.target("shop/prod")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("tagship deploy shop/prod"), "the command that would ship it is named: {reason}");
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn a_rule_edited_without_losing_the_high_water_tag_keeps_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.config(&on_gitea(&gitea, &DEV.replace("\"dev-*\"", "[\"dev-*\", \"develop-*\"]")));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn excluded_and_unmatched_tags_are_never_deployed() {
    let gitea = gitea(Build::GiteaNew);
    let stage = format!("{DEV}exclude = [\"*-debug\"]\nregex = '^dev-(\\d+)$'\n");
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43-debug", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "dev-x", "2026-11-20T11:00:01Z");
    gitea.push("acme/shop", "sha-0a1b2c3", "2026-11-20T11:00:02Z");
    shop.run(&["poll"]).code(0).silent();
    gitea.push("acme/shop", "dev-44", "2026-11-20T11:00:03Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
}

#[test]
fn a_range_excludes_versions_outside_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{PROD}range = \">=1.2, <2\"\n"));
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0-rc.1", "2026-11-20T11:00:01Z");
    shop.run(&["poll"]).code(0).silent();
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:02Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

#[test]
fn of_two_polls_the_slower_one_with_the_older_list_undoes_nothing_and_says_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    let old = r#"{"name":"acme/shop","tags":["v1.9.0","v1.10.0"]}"#;
    gitea.take_requests();
    gitea.intercept_all("tags/list", Reply::Drip(Answer::json(200, old), Duration::from_millis(30)));
    let slow = shop.start(&["poll", "--refresh"]);
    await_until("the slow poll has asked", || gitea.count("tags/list") == 1);
    gitea.recover();
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    slow.end().code(0).silent();
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/prod v1.11.0"]);
}
