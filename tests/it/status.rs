//! `status`: what the state knows, without asking anyone.

use serde_json::Value;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::new_tag::baselined;
use crate::registry::Build;

#[test]
fn status_sends_no_request_and_writes_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    let before = shop.contents();
    let run = shop.run(&["status"]);
    run.code(0).line("shop/dev", &["dev-42"]).line("shop/prod", &["v1.10.0"]);
    let run = shop.run(&["status", "*/prod", "--format", "json"]);
    assert_eq!(run.code(0).targets(), ["shop/prod"]);
    assert!(shop.contents() == before);
    assert_eq!(gitea.take_requests(), [""; 0]);
}

#[test]
fn status_before_the_first_poll_knows_nothing_and_makes_no_state_file() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    let dev = shop.status("shop/dev");
    assert_eq!((&dev["latest_tag"], &dev["deployed_tag"]), (&Value::Null, &Value::Null));
    assert!(!shop.exists("state.db"));
}

#[test]
fn a_failed_deployment_stays_visible_until_it_succeeds() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);

    let dev = shop.status("shop/dev");
    assert_eq!(dev["latest_tag"], "dev-43");
    assert_eq!(dev["deployment"]["tag"], "dev-43");
    assert_eq!(dev["deployment"]["id"], shop.deliveries()[0].id.as_str());
    assert_eq!(dev["deployment"]["attempts"], 1);
    shop.run(&["status", "--exit-code"]).code(1).line("shop/dev", &["dev-43"]);

    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    let dev = shop.status("shop/dev");
    assert_eq!(dev["deployment"], Value::Null);
    assert_eq!(dev["deployed_tag"], "dev-43");
    shop.run(&["status", "--exit-code"]).code(0);
}

#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_not() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    let full = ["sh", "-c", "exec \"$@\" > /dev/full", "sh"];
    for arguments in [&["status", "--format", "html"][..], &["poll", "-v"], &["generate", "schema"]] {
        shop.run_under(&full, arguments)
            .code(1)
            .stderr("error: cannot write to standard output: No space left on device (os error 28)\n");
    }
    shop.run_under(&["sh", "-c", "\"$@\" | true", "sh"], &["status"]).code(0).stderr("");
}

#[test]
fn a_failed_check_stays_visible_until_one_succeeds() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.intercept_all("", gitea.recorded("more/31-tags-list-server-error"));
    shop.run(&["poll"]).code(1);
    let prod = shop.status("shop/prod");
    assert_eq!(prod["status"], "unknown");
    assert_eq!(prod["error"]["code"], "unavailable");
    assert_eq!(prod["latest_tag"], "v1.10.0");
    shop.run(&["status", "--exit-code"]).code(1).shows("unavailable");
    gitea.recover();
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.status("shop/prod")["error"], Value::Null);
}

#[test]
fn status_says_what_holds_now_and_not_what_held_at_the_last_poll() {
    let gitea = gitea(Build::GiteaNew);
    let stages = format!("{DEV}{PROD}after = {{ stage = \"dev\", for = \"1h\" }}\n");
    let shop = baselined(&gitea, &stages);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.retag("acme/shop", "v1.11.0", "dev-43", "2026-11-20T11:00:01Z");
    let run = shop.run(&["poll"]);
    run.code(0).line("shop/prod", &["waiting", "dev has not run it yet"]).line("shop/dev", &["deployed"]);
    let prod = shop.status("shop/prod");
    let reason = prod["reason"].as_str().unwrap();
    assert!(reason.starts_with("after: dev has run it since") && prod["until"].is_string(), "{prod}");

    shop.run(&["hold", "shop/dev"]).code(0);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["held", "dev-44"]);
    shop.run(&["release", "shop/dev"]).code(0);
    assert_eq!(shop.status("shop/dev")["status"], "would_deploy");
}

/// After each command it says what the next poll finds.
#[test]
fn status_after_a_command_is_that_of_the_next_poll() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    let agree = |stage: &str, status: &str| {
        let said = shop.status(stage);
        assert_eq!((&said["status"], &said["waiting"]), (&status.into(), &serde_json::json!([])), "{said}");
        let polled = shop.run(&["poll", "--dry-run", "--format", "json"]).target(stage).clone();
        assert_eq!((&polled["status"], &polled["reason"]), (&Value::from(status), &said["reason"]));
    };
    // Two tags wait, and the newer one is deployed.
    shop.run(&["hold", "shop/prod"]).code(0);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["held", "v2.0.0"]);
    shop.run(&["deploy", "shop/prod", "v2.0.0"]).code(0);
    shop.run(&["deploy", "shop/prod", "v1.10.0"]).code(0);
    shop.run(&["release", "shop/prod"]).code(0);
    agree("shop/prod", "behind");
    // A failed deployment is removed.
    gitea.push("acme/shop", "dev-43", "2026-11-20T13:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll", "shop/dev"]).code(1).line("shop/dev", &["failed", "dev-43"]);
    shop.run(&["retry", "shop/dev", "--drop"]).code(0);
    agree("shop/dev", "up_to_date");
    shop.run(&["status", "--exit-code", "shop/dev"]).code(0);
}
