//! Which targets a poll takes, and what it leaves alone.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// Two projects with two stages each, and a new tag for all four.
fn two_projects() -> (Gitea, Shop) {
    let gitea = gitea(Build::GiteaNew);
    gitea.push("acme/blog", "dev-1", "2026-11-20T10:00:00Z");
    gitea.push("acme/blog", "v1.0.0", "2026-11-20T10:00:00Z");
    let blog = format!("{DEV}{PROD}").replace("projects.shop", "projects.blog");
    let stages = format!("{DEV}{PROD}\n[projects.blog]\nregistry = \"git\"\nimage = \"acme/blog\"\n{blog}");
    let shop = baselined(&gitea, &stages);
    for image in ["acme/shop", "acme/blog"] {
        gitea.push(image, "dev-43", "2026-11-20T11:00:00Z");
        gitea.push(image, "v2.0.0", "2026-11-20T11:00:00Z");
    }
    (gitea, shop)
}

#[test]
fn a_stage_filter_touches_that_stage_of_every_project_only() {
    let (_gitea, shop) = two_projects();
    let run = shop.run(&["poll", "--stage", "dev", "--format", "json"]);
    let mut targets = run.code(0).targets();
    targets.sort();
    assert_eq!(targets, ["blog/dev", "shop/dev"]);
    let mut delivered = shop.delivered();
    delivered.sort();
    assert_eq!(delivered, ["blog/dev dev-43", "shop/dev dev-43"]);
    assert_eq!(shop.status("shop/prod")["latest_tag"], "v1.10.0");
}

#[test]
fn targets_are_named_by_project_by_stage_or_by_glob() {
    for (arguments, expected) in [
        (&["poll", "shop/dev"][..], &["shop/dev"][..]),
        (&["poll", "shop"], &["shop/dev", "shop/prod"]),
        (&["poll", "*/prod"], &["blog/prod", "shop/prod"]),
        (&["poll", "--project", "blog"], &["blog/dev", "blog/prod"]),
        (&["poll", "--project", "blog", "--stage", "prod"], &["blog/prod"]),
        (&["poll", "--stage", "dev", "--stage", "prod", "shop"], &["shop/dev", "shop/prod"]),
    ] {
        let (_gitea, shop) = two_projects();
        let run = shop.run(&[arguments, &["--format", "json"]].concat());
        let mut targets = run.code(0).targets();
        targets.sort();
        assert_eq!(targets, expected, "{arguments:?}");
        assert_eq!(shop.delivered().len(), expected.len(), "{arguments:?}");
    }
}

#[test]
fn a_filter_that_matches_nothing_is_a_usage_error() {
    let (gitea, shop) = two_projects();
    gitea.take_requests();
    for arguments in [
        &["poll", "shop/live"][..],
        &["poll", "nope"],
        &["poll", "--stage", "live"],
        &["poll", "--project", "shop", "--stage", "live"],
        &["poll", "nope*/dev"],
        &["status", "nope"],
        &["mark", "nope/dev", "dev-1"],
    ] {
        shop.run(arguments).code(2).stdout("");
    }
    shop.run(&["poll", "shop/live"]).stderr_has("shop/live");
    assert_eq!(gitea.take_requests(), [""; 0]);
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn a_stage_with_poll_off_is_left_alone() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}poll = false\n{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    assert_eq!(run.code(0).targets(), ["shop/prod"]);
    // If it is named on the command line, the run says why nothing happens.
    shop.run(&["poll", "shop/dev"])
        .code(0)
        .stdout("")
        .stderr("nothing to poll: poll = false is set for shop/dev\n");
    shop.run(&["poll", "shop/dev", "-q"]).code(0).silent();
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn with_auto_deploy_off_a_new_tag_is_available_until_it_is_marked() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}auto_deploy = false\n"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");

    shop.run(&["poll"]).code(0).line("shop/dev", &["available", "dev-43"]);
    shop.run(&["poll"]).code(0).silent();
    for _ in 0..2 {
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(0).status_is("shop/dev", "available");
        assert_eq!(run.target("shop/dev")["latest_tag"], "dev-43");
    }
    shop.run(&["poll", "--exit-code"]).code(3);

    gitea.push("acme/shop", "dev-44", "2026-11-20T11:00:01Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["available", "dev-44"]);

    shop.run(&["mark", "shop/dev", "dev-44"]).code(0);
    shop.run(&["poll", "--exit-code"]).code(0).silent();
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "up_to_date");
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn an_available_tag_is_deployed_once_auto_deploy_is_on_again() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}auto_deploy = false\n"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    shop.config(&on_gitea(&gitea, DEV));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn due_selects_only_targets_whose_interval_has_passed() {
    let gitea = gitea(Build::GiteaNew);
    let prod = format!("{PROD}interval = \"1s\"\n");
    let shop = Shop::with(&on_gitea(&gitea, &format!("{DEV}{prod}")));
    // Neither was polled ever.
    let run = shop.run(&["poll", "--due", "--format", "json"]);
    assert_eq!(run.code(0).targets().len(), 2);

    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    // The test waits for the clock.
    std::thread::sleep(std::time::Duration::from_secs(1));
    gitea.take_requests();
    let run = shop.run(&["poll", "--due", "--format", "json"]);
    assert_eq!(run.code(0).targets(), ["shop/prod"]);
    assert_eq!(shop.delivered(), ["shop/prod v2.0.0"]);
}

#[test]
fn nothing_due_sends_no_request_and_prints_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.run(&["poll", "--due"]).code(0).silent();
    assert_eq!(gitea.take_requests(), [""; 0]);
}

#[test]
fn stages_of_a_project_are_deployed_in_the_order_written() {
    let gitea = gitea(Build::GiteaNew);
    let stages: Vec<String> = ["zeta", "alpha", "mid"]
        .iter()
        .map(|name| DEV.replace("stages.dev", &format!("stages.{name}")))
        .collect();
    let shop = baselined(&gitea, &stages.concat());
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered(), ["shop/zeta dev-43", "shop/alpha dev-43", "shop/mid dev-43"]);
}
