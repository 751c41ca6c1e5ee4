//! `tags`: why a tag was taken or not, on one screen.

use serde_json::Value;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::run::Run;

/// A stage with every kind of tag, some time after its first poll.
fn varied(gitea: &Gitea) -> Shop {
    let stage = format!("{PROD}exclude = \"*-debug\"\nrange = \"<3\"\nmax_bump = \"minor\"\n");
    let shop = baselined(gitea, &stage);
    for (second, tag) in
        ["v1.11.0", "v1.12.0", "v2.0.0", "v3.0.0", "v1.12.1-debug", "v1.13.0-rc.1", "v1.13", "latest"]
            .iter()
            .enumerate()
    {
        gitea.push("acme/shop", tag, &format!("2026-11-20T11:00:0{second}Z"));
        if *tag == "v1.11.0" {
            shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
        }
    }
    shop
}

fn verdict(run: &Run, tag: &str) -> (String, String) {
    let json = run.json();
    let tags = json["tags"].as_array().unwrap();
    let found =
        tags.iter().find(|found| found["tag"] == tag).unwrap_or_else(|| panic!("{tag} is not in {json}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&found["verdict"]), text(&found["reason"]))
}

#[test]
fn each_tag_has_the_one_reason_for_what_became_of_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = varied(&gitea);
    let run = shop.run(&["tags", "shop/prod", "--format", "json"]);
    run.code(0);
    for (tag, expected, why) in [
        ("v1.11.0", "deployed", "has run it since"),
        ("v1.12.0", "next", "the next poll deploys it"),
        ("v2.0.0", "waiting", "max_bump"),
        ("v3.0.0", "out_of_range", "outside the range"),
        ("v1.10.0", "passed_over", "older than v1.11.0"),
        ("v1.12.1-debug", "excluded", "excluded by *-debug"),
        ("v1.13.0-rc.1", "prerelease", "a prerelease"),
        ("v1.13", "not_parsed", "cannot compare"),
        ("latest", "not_matched", "matches no glob"),
    ] {
        let (verdict, reason) = verdict(&run, tag);
        assert_eq!(verdict, expected, "{tag}: {reason}");
        assert!(reason.contains(why), "{tag}: {reason}");
    }
    let json = run.json();
    assert_eq!(
        (&json["high_water_tag"], &json["deployed_tag"]),
        (&Value::from("v1.11.0"), &Value::from("v1.11.0"))
    );
}

#[test]
fn tags_deploys_and_writes_nothing_and_can_do_without_the_registry() {
    let gitea = gitea(Build::GiteaNew);
    let shop = varied(&gitea);
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.12.0"]);
    let before = shop.contents();
    gitea.take_requests();
    let run = shop.run(&["tags", "shop/prod", "--offline", "--format", "json"]);
    assert_eq!(verdict(run.code(0), "v1.12.0").0, "deployed");
    assert_eq!(verdict(&run, "v2.0.0").0, "waiting");
    assert_eq!(gitea.take_requests(), [""; 0]);
    assert!(shop.contents() == before);
    gitea.intercept_all("/v2/", crate::http::Answer::new(500, "text/plain", ""));
    shop.run(&["tags", "shop/prod"]).code(1).stderr_has("unavailable");
    gitea.recover();
}

#[test]
fn of_many_tags_a_screenful_is_shown_with_what_concerns_the_stage_first() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    // Few are shown in the order of the rule, without that.
    let run = shop.run(&["tags", "shop/dev", "--format", "json"]);
    let in_order = run.code(0).json()["tags"].as_array().unwrap().clone();
    let run = shop.run(&["tags", "shop/dev"]);
    let rows = run.code(0).stdout.lines().filter_map(|line| line.split_whitespace().next());
    let shown: Vec<&str> = rows.filter(|name| in_order.iter().any(|tag| tag["tag"] == **name)).collect();
    assert_eq!(shown, in_order.iter().map(|tag| tag["tag"].as_str().unwrap()).collect::<Vec<_>>());
    for number in 100..200 {
        gitea.push("acme/shop", &format!("other-{number}"), "2026-11-20T12:00:00Z");
    }
    gitea.push("acme/shop", "dev-43", "2026-11-20T12:00:00Z");
    let run = shop.run(&["tags", "shop/dev"]);
    run.code(0).stdout_has("dev-43").stdout_has("more: --all");
    assert!(run.stdout.lines().count() <= 33, "{}", run.stdout);
    assert!(shop.run(&["tags", "shop/dev", "--all"]).stdout.lines().count() > 100);
}

#[test]
fn a_tag_whose_deployment_failed_says_so() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    let run = shop.run(&["tags", "shop/dev", "--format", "json"]);
    let (verdict, reason) = verdict(&run, "dev-43");
    assert_eq!(verdict, "next");
    assert!(reason.contains("failed (attempt 1)"), "{reason}");
}

#[test]
fn status_shows_holds_and_what_waits() {
    let gitea = gitea(Build::GiteaNew);
    let shop = varied(&gitea);
    shop.run(&["poll"]).code(0);
    shop.run(&["hold", "shop/prod", "--reason", "freeze", "--for", "1h"]).code(0);
    let row = shop.status("shop/prod");
    assert_eq!(
        (&row["hold"]["reason"], &row["waiting"][0]),
        (&Value::from("freeze"), &Value::from("v2.0.0"))
    );
    shop.run(&["status"]).code(0).stdout_has("freeze").stdout_has("v2.0.0 waits");
}

#[test]
fn check_warns_of_probable_mistakes() {
    let gitea = gitea(Build::GiteaNew);
    let twin = PROD.replace("stages.prod", "stages.live");
    let text = on_gitea(&gitea, &format!("{}{twin}", PROD.to_owned() + "exclude = \"v*\"\n"));
    let shop = Shop::with(&text);
    shop.run(&["check"]).code(0).stderr_has("skips every tag that tags \"v*\" matches");
    let shop = Shop::with(&on_gitea(&gitea, &format!("{PROD}{twin}")));
    shop.run(&["check"]).code(0).stderr_has("same rule and deploy steps");
    assert!(!shop.exists("state.db"));
}

#[test]
fn tags_says_what_the_next_poll_does() {
    let gitea = gitea(Build::GiteaNew);
    let tag = |shop: &Shop, name: &str, arguments: &[&str]| {
        let run = shop.run(&[&["tags", "shop/dev", name, "--format", "json"], arguments].concat());
        verdict(run.code(0), name)
    };
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    let (said, why) = tag(&shop, "dev-42", &[]);
    assert_eq!(said, "baseline", "{why}");
    assert_eq!(tag(&shop, "dev-41", &[]).0, "passed_over");
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-42"]);
    assert_eq!(tag(&shop, "dev-99", &[]).0, "not_listed");

    let patient = DEV.replace("backoff = \"1ms\", max_backoff = \"1ms\"", "attempts = 2, backoff = \"1h\"");
    shop.config(&on_gitea(&gitea, &patient));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    assert_eq!(tag(&shop, "dev-43", &[]).0, "next");
    shop.run(&["hold", "shop/dev"]).code(0);
    assert_eq!(tag(&shop, "dev-43", &[]).0, "held");
    shop.run(&["release", "shop/dev"]).code(0);
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    let (said, why) = tag(&shop, "dev-43", &[]);
    assert!(said == "waiting" && why.contains("failed (attempt 1 of 2)"), "{said} {why}");
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "retrying");
    shop.run(&["retry"]).code(0);
    shop.run(&["status", "shop/dev"]).code(0).shows_not("in 1h");
    shop.run(&["hold", "shop/dev"]).code(0);
    assert_eq!(tag(&shop, "dev-43", &[]).0, "held");
    shop.run(&["release", "shop/dev"]).code(0);
    shop.config(&on_gitea(&gitea, &patient.replace("attempts = 2", "attempts = 1")));
    shop.run(&["poll"]).code(1).line("shop/dev", &["dead"]);
    let (said, why) = tag(&shop, "dev-43", &[]);
    assert!(said == "given" && why.contains("tagship retry shop/dev"), "{said} {why}");
    shop.config(&on_gitea(&gitea, &DEV.replace("dev-*", "dev-4?")));
    assert_eq!(tag(&shop, "dev-43", &[]).0, "given", "the edited rule takes it");
    shop.config(&on_gitea(
        &gitea,
        &DEV.replace("tags = \"dev-*\"", "tags = \"dev-*\"\nexclude = \"dev-43\""),
    ));
    assert_eq!(tag(&shop, "dev-42", &[]).0, "baseline", "the edited rule does not");
}

#[test]
fn offline_tags_report_that_some_gates_were_not_checked() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{PROD}with = [\"acme/worker\"]\n"));
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "with: acme/worker has no v1.11.0 yet"]);
    let run = shop.run(&["tags", "shop/prod", "--offline", "--format", "json"]);
    let (said, why) = verdict(run.code(0), "v1.11.0");
    assert!(said == "not_checked" && why.contains("with: not checked"), "{said} {why}");
}

#[test]
fn the_next_possible_candidate_is_reported_with_the_blocked_one_beside_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{PROD}max_bump = \"minor\"\nmin_age = \"1h\"\n"));
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2126-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line(
        "shop/prod",
        &["waiting", "v1.11.0", "min_age: v1.11.0", "max_bump: v2.0.0 is a major version"],
    );
    shop.run(&["status"]).code(0).stdout_has("v1.11.0 waits: min_age");
}
