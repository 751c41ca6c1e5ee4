//! `deploy`, `hold`, `release`: what someone decides stays decided.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// A shop that runs v2.0.0 after v1.11.0, both deployed by polls.
fn upgraded(gitea: &Gitea) -> Shop {
    let shop = baselined(gitea, PROD);
    for (tag, second) in [("v1.11.0", 1), ("v2.0.0", 2)] {
        gitea.push("acme/shop", tag, &format!("2026-11-20T11:00:0{second}Z"));
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", tag]);
    }
    shop
}

#[test]
fn a_rollback_stays_until_it_is_released_and_then_newer_tags_ship() {
    let gitea = gitea(Build::GiteaNew);
    let shop = upgraded(&gitea);
    let digest = gitea.digest("acme/shop", "v1.11.0");
    shop.run(&["deploy", "shop/prod", "--previous"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    assert_eq!(shop.command_env("TAGSHIP_DIGEST").as_deref(), Some(digest.as_str()));
    for _ in 0..20 {
        shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", "behind");
    }
    gitea.push("acme/shop", "v2.0.1", "2026-11-20T12:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/prod", "held");
    assert!(run.target("shop/prod")["reason"].as_str().unwrap().contains("tagship release shop/prod"));
    assert_eq!(shop.delivered().len(), 3);

    shop.run(&["release", "shop/prod"]).code(0).stdout_has("v1.11.0 was deployed manually");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v2.0.1"]);
}

#[test]
fn a_rollback_without_a_hold_is_not_undone_either() {
    let gitea = gitea(Build::GiteaNew);
    let shop = upgraded(&gitea);
    shop.run(&["deploy", "shop/prod", "v1.11.0", "--no-hold"]).code(0);
    shop.run(&["poll", "--format", "json"]).status_is("shop/prod", "behind");
    gitea.push("acme/shop", "v2.0.1", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v2.0.1"]);
}

/// By `newest`, the next list tells whether the marked tag is newer.
#[test]
fn a_tag_is_deployed_manually_after_a_mark_of_another_tag() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(
        &gitea,
        &format!("{}on_failure = \"previous\"\n", DEV.replace("retry = {", "retry = { attempts = 1,")),
    );
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["mark", "shop/dev", "dev-44"]).code(0);
    shop.run(&["deploy", "shop/dev", "dev-43"])
        .code(0)
        .line("shop/dev", &["deployed", "dev-44", "->", "dev-43"]);
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "behind");
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);

    gitea.push("acme/shop", "dev-45", "2026-11-20T13:00:00Z");
    shop.run(&["mark", "shop/dev", "dev-45"]).code(0);
    shop.file("fail", "");
    let run = shop.run(&["deploy", "shop/dev", "dev-44"]);
    run.code(1).stdout_has("the rollback to dev-45 failed");
    assert_eq!(shop.delivered()[1..], ["shop/dev dev-44", "shop/dev dev-45"]);
}

/// What a clock that was ahead recorded is not taken for what came last: what succeeded then, and what failed.
#[test]
fn a_rollback_goes_by_what_ran_and_not_by_what_a_clock_said() {
    for fails in [false, true] {
        let gitea = gitea(Build::GiteaNew);
        let shop = baselined(&gitea, DEV);
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        let mut ahead = "UPDATE deployment SET created_at = '2099-01-01T00:00:00.000Z', ended_at = '2099-01-01T00:00:01.000Z'";
        if fails {
            gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
            shop.file("fail", "");
            shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-44"]);
            shop.remove("fail");
            ahead = "UPDATE deployment SET created_at = '2099-01-01T00:00:00.000Z' WHERE tag = 'dev-44'";
        }
        rusqlite::Connection::open(shop.path("state.db")).unwrap().execute(ahead, []).unwrap();
        gitea.push("acme/shop", "dev-45", "2026-11-20T13:00:00Z");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43", "->", "dev-45"]);
        shop.run(&["rollback", "shop/dev"]).code(0).line("shop/dev", &["deployed", "dev-45", "->", "dev-43"]);
    }
}

#[test]
fn a_manual_deployment_ignores_holds_and_gates() {
    let gitea = gitea(Build::GiteaNew);
    let shop =
        baselined(&gitea, &format!("{PROD}min_age = \"30d\"\nmax_bump = \"patch\"\nauto_deploy = false\n"));
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    shop.run(&["hold", "shop/prod", "--reason", "freeze"]).code(0);
    shop.run(&["deploy", "shop/prod"]).code(0).line("shop/prod", &["deployed", "v2.0.0"]);
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", "up_to_date");
    assert_eq!(shop.delivered(), ["shop/prod v2.0.0"]);
}

#[test]
fn a_rollback_goes_to_no_tag_that_only_a_first_poll_found() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    shop.run(&["deploy", "shop/prod", "--previous"])
        .code(2)
        .stderr_has("its first poll found v1.10.0, and did not deploy it")
        .stderr_has("tagship deploy shop/prod v1.10.0");
    assert_eq!(shop.delivered(), ["shop/prod v2.0.0"]);
}

#[test]
fn a_rollback_does_not_count_the_mark_of_what_runs() {
    let gitea = gitea(Build::GiteaNew);
    let shop = upgraded(&gitea);
    shop.run(&["mark", "shop/prod", "v2.0.0"]).code(0);
    shop.run(&["deploy", "shop/prod", "--previous"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    shop.run(&["deploy", "shop/prod", "--previous"]).code(2).stderr_has("before v1.11.0");
}

/// A mark names only the tag, which may point at another image by the time of the rollback.
#[test]
fn a_rollback_past_a_mark_delivers_the_digest_that_ran() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    let digest = gitea.digest("acme/shop", "v1.11.0");
    shop.run(&["poll"]).code(0);
    shop.run(&["mark", "shop/prod", "v1.11.0"]).code(0);
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0", "->", "v2.0.0"]);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T13:00:00Z");
    assert_ne!(gitea.digest("acme/shop", "v1.11.0"), digest);
    shop.run(&["rollback", "shop/prod"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    assert_eq!(shop.command_env("TAGSHIP_DIGEST"), Some(digest));
}

#[test]
fn after_a_failed_deployment_a_rollback_goes_to_what_succeeded_last() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "v1.12.0", "2026-11-20T12:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.remove("fail");
    shop.run(&["deploy", "shop/prod", "--previous"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    assert_eq!(shop.delivered().last().unwrap(), "shop/prod v1.11.0");
}

/// The mark is newer than the deployment, and older than its last attempt.
#[test]
fn after_a_retry_that_failed_a_rollback_goes_to_the_tag_that_was_marked_before_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = upgraded(&gitea);
    gitea.push("acme/shop", "v2.1.0", "2026-11-20T13:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "v2.1.0"]);
    shop.run(&["mark", "shop/prod", "v2.0.0"]).code(0);
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "v2.1.0"]);
    shop.remove("fail");
    shop.run(&["rollback", "shop/prod"]).code(0);
    assert_eq!(shop.delivered().last().unwrap(), "shop/prod v2.0.0");
    // A mark after the last attempt is what the stage runs.
    gitea.push("acme/shop", "v2.2.0", "2026-11-20T14:00:00Z");
    shop.run(&["release", "shop/prod"]).code(0);
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "v2.2.0"]);
    shop.run(&["mark", "shop/prod", "v2.0.0"]).code(0);
    shop.remove("fail");
    shop.run(&["rollback", "shop/prod"]).code(0);
    assert_eq!(shop.delivered().last().unwrap(), "shop/prod v1.11.0");
}

#[test]
fn a_tag_that_does_not_exist_is_not_deployed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    shop.run(&["deploy", "shop/prod", "v9.9.9"]).code(2).stderr_has("has no tag v9.9.9");
    shop.run(&["deploy", "shop/prod", "--previous"])
        .code(2)
        .stderr_has("; to deploy a tag: tagship deploy shop/prod v1.10.0");
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn a_tag_that_the_rule_does_not_allow_is_refused_without_force() {
    let gitea = gitea(Build::GiteaNew);
    let test = DEV.replace("stages.dev", "stages.test");
    let shop = Shop::with(&on_gitea(&gitea, &format!("{DEV}{PROD}{test}")));
    let before = shop.contents();
    gitea.take_requests();
    shop.run(&["deploy", "shop/prod", "dev-42"]).code(2).stdout("").stderr(
        "error: the rule of shop/prod does not allow dev-42: matches no glob of tags\n  \
         help: shop/dev allows it: tagship deploy shop/dev dev-42\n  \
         help: shop/test allows it: tagship deploy shop/test dev-42\n  \
         help: to deploy it anyway: tagship deploy shop/prod dev-42 --force\n",
    );
    shop.run(&["deploy", "shop/dev", "edge"]).code(2).stdout("").stderr(
        "error: the rule of shop/dev does not allow edge: matches no glob of tags\n  \
         help: to deploy it anyway: tagship deploy shop/dev edge --force\n",
    );
    assert!(shop.contents() == before && gitea.take_requests().is_empty(), "nothing was done");
    shop.run(&["deploy", "shop/prod", "dev-42", "--force"])
        .code(0)
        .line("shop/prod", &["deployed", "dev-42"]);
    // What the stage ran is not asked of the rule.
    shop.run(&["deploy", "shop/prod", "v1.10.0"]).code(0);
    shop.run(&["rollback", "shop/prod"]).code(0).line("shop/prod", &["deployed", "dev-42"]);
}

#[test]
fn a_rollback_undoes_a_deployment_that_was_forced_or_older() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    shop.run(&["deploy", "shop/prod", "dev-42", "--force"]).code(0);
    shop.run(&["rollback", "shop/prod"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    shop.run(&["deploy", "shop/prod", "v1.10.0"]).code(0);
    shop.run(&["rollback", "shop/prod"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    shop.run(&["history", "shop/prod", "--limit", "1"]).code(0).stdout_has("by rollback");
}

#[test]
fn rollback_is_deploy_previous() {
    let gitea = gitea(Build::GiteaNew);
    let shop = upgraded(&gitea);
    let digest = gitea.digest("acme/shop", "v1.11.0");
    shop.run(&["rollback", "shop/prod"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    assert_eq!(shop.command_env("TAGSHIP_DIGEST").as_deref(), Some(digest.as_str()));
    assert_eq!(shop.status("shop/prod")["hold"]["reason"], "v1.11.0 was deployed manually");
    shop.run(&["release", "shop/prod"]).code(0);
    shop.run(&["rollback", "shop/prod"]).code(2).stderr_has("tagship deploy shop/prod v1.10.0");
    shop.run(&["deploy", "shop/prod", "v2.0.0"]).code(0);
    shop.run(&["rollback", "shop/prod", "--no-hold"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    assert!(shop.status("shop/prod")["hold"].is_null());
    shop.run(&["deploy", "shop/prod", "v2.0.0"]).code(0);
    shop.run(&["rollback", "shop"]).code(0);
    shop.run(&["rollback"]).code(2);
}

#[test]
fn an_unavailable_registry_stops_a_manual_deployment_unless_forced() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.intercept_all("/v2/", crate::http::Answer::new(500, "text/plain", ""));
    shop.run(&["deploy", "shop/prod", "v1.9.0"]).code(2).stderr_has("--force");
    shop.run(&["deploy", "shop/prod", "v1.9.0", "--force"])
        .code(0)
        .line("shop/prod", &["deployed", "v1.9.0"]);
    gitea.recover();
}

#[test]
fn a_failed_manual_deployment_is_retried_by_polls_despite_a_hold() {
    let gitea = gitea(Build::GiteaNew);
    let shop = upgraded(&gitea);
    shop.file("fail", "");
    shop.run(&["deploy", "shop/prod", "v1.11.0"]).code(1).line("shop/prod", &["failed", "v1.11.0"]);
    shop.remove("fail");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/prod", "deployed");
    assert_eq!(run.target("shop/prod")["deployment"]["attempt"], 2);
    let deliveries = shop.deliveries();
    assert_eq!(deliveries[deliveries.len() - 2].id, deliveries[deliveries.len() - 1].id);
}

#[test]
fn a_target_that_is_being_deployed_to_is_75_or_waited_for() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    let poll = shop.start(&["poll"]);
    await_until("the command runs", || shop.exists("deliveries"));
    shop.run(&["deploy", "shop/dev", "dev-42"]).code(75).stderr_has("--wait");
    let waiting = shop.start(&["deploy", "shop/dev", "dev-42", "--wait"]);
    shop.remove("stay");
    poll.end().code(0);
    waiting.end().code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/dev dev-42"]);
}

#[test]
fn a_hold_stops_polls_says_who_and_why_and_ends_by_itself() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    shop.run(&["hold", "*/dev", "--reason", "release freeze"]).code(0).stdout_has("shop/dev: held until");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll"]);
    run.code(0).line("shop/dev", &["held", "dev-43", "release freeze"]).line("shop/prod", &["deployed"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/prod v1.11.0"]);

    shop.run(&["hold", "shop/dev", "--for", "1ms"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_hold_stops_the_retries_of_what_a_poll_decided() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.remove("fail");
    shop.run(&["hold", "shop/dev"]).code(0);
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "held");
    assert_eq!(shop.deliveries().len(), 1);
    shop.run(&["release", "shop/dev"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_hold_before_the_first_poll_does_not_take_its_place() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.run(&["hold", "shop/dev"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-42"]);
}

#[test]
fn a_reason_cannot_steer_the_terminal_of_who_releases() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    shop.run(&["hold", "shop/prod", "--reason", "freeze\u{1b}[2J"]).code(0);
    shop.run(&["release", "shop/prod"]).code(0).stdout_has(": freeze\\u{1b}[2J\n");
}

/// One tag, by what it points at.
const LATEST: &str = r#"
[projects.shop.stages.edge]
tags = "dev-42"
order = "newest"
digest = true
deploy = { command = ["./deploy.sh"] }
retry = { backoff = "1ms", max_backoff = "1ms" }
"#;

/// A shop whose tag was pushed twice and deployed both times, and the digest that it had first.
fn moved(gitea: &Gitea) -> (Shop, String) {
    let shop = baselined(gitea, LATEST);
    let mut first = String::new();
    for second in 1..3 {
        first = gitea.digest("acme/shop", "dev-42");
        gitea.push("acme/shop", "dev-42", &format!("2026-11-20T11:00:0{second}Z"));
        shop.run(&["poll"]).code(0).line("shop/edge", &["deployed", "dev-42"]);
    }
    (shop, first)
}

#[test]
fn going_back_to_what_a_tag_pointed_at_before_is_not_undone_by_a_poll() {
    for (build, no_hold) in Build::ALL.into_iter().zip([&[][..], &["--no-hold"], &[]]) {
        let gitea = gitea(build);
        let (shop, before) = moved(&gitea);
        shop.run(&[&["deploy", "shop/edge", "--previous"], no_hold].concat()).code(0);
        assert_eq!(shop.command_env("TAGSHIP_DIGEST"), Some(before));
        for _ in 0..3 {
            shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/edge", "behind");
        }
        assert_eq!(shop.deliveries().len(), 3, "{no_hold:?}");
        shop.run(&["release", "shop/edge"]).code(0);
        gitea.push("acme/shop", "dev-42", "2026-11-20T12:00:00Z");
        shop.run(&["poll"]).code(0).line("shop/edge", &["deployed", "dev-42"]);
        let now = gitea.digest("acme/shop", "dev-42");
        assert_eq!(shop.command_env("TAGSHIP_DIGEST"), Some(now));
    }
}

#[test]
fn a_failed_rollback_retries_the_earlier_image_of_its_tag() {
    let gitea = gitea(Build::GiteaNew);
    let (shop, before) = moved(&gitea);
    shop.file("fail", "");
    shop.run(&["deploy", "shop/edge", "--previous"]).code(1);
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.command_env("TAGSHIP_DIGEST"), Some(before));
}
