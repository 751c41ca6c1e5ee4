//! A registry that says when to come back is left alone until then, by later runs too.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD};
use crate::http::Answer;
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

fn limited(gitea: &Gitea, retry_after: &'static str) {
    gitea.intercept(move |_| {
        Some(Answer::new(429, "text/plain", "slowly").with("Retry-After", retry_after).into())
    });
}

#[test]
#[ignore = "needs faketime"]
fn a_limit_is_respected_by_later_runs_until_it_is_over() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    gitea.take_requests();
    limited(&gitea, "3600");
    shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/prod", "rate_limited");
    assert_eq!(gitea.take_requests().len(), 1, "and then it is left alone");

    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).error_is("shop/prod", "rate_limited").error_is("shop/dev", "rate_limited");
    let message = run.target("shop/prod")["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("asked for no requests before"), "{message}");
    assert_eq!(run.json()["requests"], 0);
    shop.run(&["tags", "shop/prod"]).code(1);
    assert!(gitea.take_requests().is_empty());

    gitea.recover();
    shop.run_under(&["faketime", "-f", "+2h"], &["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

#[test]
#[ignore = "needs faketime"]
fn a_limit_that_is_short_is_waited_for_and_one_of_years_is_cut() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    limited(&gitea, "99999999999");
    shop.run(&["poll"]).code(1);
    gitea.recover();
    shop.run_under(&["faketime", "-f", "+25h"], &["poll"]).code(0);
    // A clock that was a day ahead holds nothing up.
    limited(&gitea, "3600");
    shop.run_under(&["faketime", "-f", "+2d"], &["poll"]).code(1);
    gitea.recover();
    shop.run(&["poll"]).code(0);
}
