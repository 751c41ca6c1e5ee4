//! `mark`: something else, such as a webhook, deployed a tag.

use jiff::Timestamp;
use rustix::process::Signal;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on_gitea};
use crate::http::Answer;
use crate::new_tag::baselined;
use crate::registry::Build;

#[test]
fn a_marked_tag_is_not_deployed_again() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["mark", "shop/dev", "dev-43"]).code(0);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), [""; 0]);
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43");

    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    assert_eq!(shop.command_env("TAGSHIP_PREVIOUS_TAG").as_deref(), Some("dev-43"));
}

#[test]
fn a_mark_before_the_first_poll_is_where_it_starts() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.run(&["mark", "shop/dev", "dev-41"]).code(0).stderr_has("state.db");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-42"]);
}

#[test]
fn a_mark_completes_a_pending_deployment_of_its_tag() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.run(&["mark", "shop/dev", "dev-43"]).code(0);
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.deliveries().len(), 1, "the failed attempt, and no other");
}

#[test]
fn a_mark_takes_the_place_of_an_older_pending_deployment() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["mark", "shop/dev", "dev-44"]).code(0);
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
}

#[test]
fn a_mark_of_an_older_tag_leaves_the_newer_one_that_waits() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.remove("fail");
    shop.run(&["mark", "shop/dev", "dev-41"]).code(0);
    // Which of the two is newer is not known before the next list, and nothing goes back by chance.
    gitea.intercept(|request| request.target.contains("/packages").then(|| Answer::new(500, "", "").into()));
    shop.run(&["poll"]).code(1);
    assert_eq!(shop.deliveries().len(), 1, "the attempt that failed");
    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    assert_eq!(shop.delivered(), ["shop/dev dev-43"; 2]);
}

/// The feed says that nothing was pushed, but the tags below the former high-water are new again.
#[test]
fn mark_none_and_reset_deploy_an_older_tag_while_the_newest_waits() {
    for mark in [&["mark", "shop/prod", "--none"][..], &["mark", "shop/prod", "v1.9.0", "--reset"]] {
        let gitea = gitea(Build::GiteaNew);
        let shop = baselined(&gitea, &format!("{PROD}min_age = \"30m\"\n"));
        gitea.push("acme/shop", "v1.11.0", &format!("{:.0}", Timestamp::now()));
        shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "v1.11.0", "min_age"]);
        shop.run(mark).code(0);
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.10.0"]);
    }
}

#[test]
fn mark_none_makes_the_newest_new() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.run(&["mark", "shop/dev", "--none"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-42"]);
}

#[test]
fn mark_reset_goes_back_to_a_tag() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.run(&["mark", "shop/dev", "dev-9", "--reset"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-42"]);
}

#[test]
fn an_older_mark_after_a_rollback_is_not_undone() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.run(&["mark", "shop/dev", "dev-41"]).code(0);
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "behind");
    assert_eq!(shop.delivered(), [""; 0]);
}

/// Whoever says that the stage runs something older has not seen to the newer one.
#[test]
fn a_mark_of_an_older_tag_allows_a_retry_of_the_dead_deployment() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &PROD.replace("retry = {", "retry = { attempts = 1,"));
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).line("shop/prod", &["dead", "v1.11.0"]);
    shop.remove("fail");
    shop.run(&["mark", "shop/prod", "v1.9.0"]).code(0);
    assert_eq!(shop.status("shop/prod")["status"], "dead");
    shop.run(&["retry"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

/// How the attempt ends beside which a newer tag is marked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Fails,
    IsInterrupted,
    IsKilled,
    WasKilled,
}

#[test]
fn a_mark_of_a_newer_tag_supersedes_an_unfinished_deployment() {
    for (stage, target, [older, newer]) in
        [(PROD, "shop/prod", ["v1.11.0", "v1.12.0"]), (DEV, "shop/dev", ["dev-43", "dev-44"])]
    {
        for end in [End::Fails, End::IsInterrupted, End::IsKilled, End::WasKilled] {
            let gitea = gitea(Build::GiteaNew);
            let shop = baselined(&gitea, stage);
            gitea.push("acme/shop", older, "2026-11-20T11:00:00Z");
            shop.file("stay", "");
            let mark = || {
                gitea.push("acme/shop", newer, "2026-11-20T12:00:00Z");
                shop.run(&["mark", target, newer]).code(0);
            };
            let poll = shop.start(&["poll"]);
            await_until("it is deployed", || shop.exists("deliveries"));
            if end != End::WasKilled {
                mark();
            }
            match end {
                End::Fails => {
                    shop.file("fail", "");
                    shop.remove("stay");
                    poll.end().code(1).line(target, &["failed", older]);
                    shop.remove("fail");
                }
                End::IsInterrupted => {
                    poll.signal(Signal::TERM);
                    poll.end().code(143);
                    shop.remove("stay");
                }
                End::IsKilled | End::WasKilled => {
                    poll.kill();
                    shop.remove("stay");
                    await_until("the orphan is done", || shop.exists("completions"));
                }
            }
            if end == End::WasKilled {
                mark();
            }
            await_until("nothing is under way", || {
                let run = shop.run(&["poll", "--format", "json"]);
                run.code(0);
                run.target(target)["status"] == "up_to_date"
            });
            assert_eq!(shop.delivered(), [format!("{target} {older}")], "{end:?}");
            assert_eq!(shop.status(target)["deployed_tag"], newer, "{end:?}");
            shop.run(&["status", "--exit-code"]).code(0);
            shop.run(&["retry"]).code(0).shows("no failed deployments");
        }
    }
}

#[test]
fn a_deployment_that_succeeds_after_a_newer_tag_was_marked_is_what_the_stage_runs() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    let poll = shop.start(&["poll"]);
    await_until("it is deployed", || shop.exists("deliveries"));
    gitea.push("acme/shop", "v1.12.0", "2026-11-20T12:00:00Z");
    shop.run(&["mark", "shop/prod", "v1.12.0"]).code(0);
    shop.remove("stay");
    poll.end().code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    assert_eq!(shop.status("shop/prod")["deployed_tag"], "v1.11.0");
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", "behind");
}

#[test]
fn a_mark_settles_a_deployment_of_its_tag_that_fails_afterwards() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &PROD.replace("retry = {", "retry = { attempts = 1,"));
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    shop.file("fail", "");
    let poll = shop.start(&["poll"]);
    await_until("it is deployed", || shop.exists("deliveries"));
    shop.run(&["mark", "shop/prod", "v1.11.0"]).code(0);
    shop.remove("stay");
    let run = poll.end();
    run.code(1).line(
        "shop/prod",
        &["failed", "v1.11.0", "refused v1.11.0; not tried again: v1.11.0 was marked as deployed"],
    );
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", "up_to_date");
    shop.run(&["status", "--exit-code"]).code(0);
    assert_eq!(shop.deliveries().len(), 1);
}
