//! `mark`: something else, such as a webhook, deployed a tag.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
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
fn a_mark_of_an_older_tag_leaves_what_was_given_up_to_be_tried_again() {
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
