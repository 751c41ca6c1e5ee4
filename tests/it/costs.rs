//! What each feature costs in requests to the registry, as the README's table says it and the server's log has it. (For
//! discovery see the tests of discovery.)

use crate::first_poll::gitea;
use crate::harness::{PROD, Shop, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::webhook::{pushed, signature, woken_shop};

/// The requests of a run, without signing in.
fn requests(gitea: &Gitea) -> Vec<String> {
    let mut requests = gitea.take_requests();
    requests.retain(|line| !line.contains("/v2/token"));
    requests
}

/// What a poll of the shop asks, which ends with this code.
fn costs(gitea: &Gitea, shop: &Shop, code: i32) -> usize {
    gitea.take_requests();
    shop.run(&["poll"]).code(code);
    requests(gitea).len()
}

/// The owner's feed.
const IDLE: usize = 1;
/// Its rows, the list and the digest.
const NEW_TAG: usize = IDLE + 3;

#[test]
fn gates_and_labels_cost_what_the_readme_says() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    let push = |minor: u32| {
        let tag = format!("v3.{minor}.0");
        gitea.push("acme/shop", &tag, &format!("2026-11-20T11:{minor:02}:00Z"));
        gitea.label("acme/shop", &tag, "rev", "0a1b2c");
    };
    assert_eq!(costs(&gitea, &shop, 0), IDLE);
    push(1);
    assert_eq!(costs(&gitea, &shop, 0), NEW_TAG);
    for (gate, more) in [("", 0), (", \"{label.rev}\"", 2)] {
        let gated = |tool: &str| {
            let gate = format!("gate = {{ command = [\"{tool}\"{gate}] }}\n");
            shop.config(&on_gitea(&gitea, &format!("{PROD}{gate}")));
        };
        gated("false");
        assert_eq!(costs(&gitea, &shop, 0), IDLE, "nothing is new");
        push(if more == 0 { 2 } else { 3 });
        assert_eq!(costs(&gitea, &shop, 0), NEW_TAG + more);
        assert_eq!(costs(&gitea, &shop, 0), IDLE + 1 + more, "the digest of the tag that waits");
        gated("true");
        assert_eq!(costs(&gitea, &shop, 0), IDLE + 1 + more);
        assert_eq!(costs(&gitea, &shop, 0), IDLE);
    }
}

#[test]
fn a_rollback_asks_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let stage = PROD.replace("retry = {", "on_failure = \"previous\"\nretry = { attempts = 1,");
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "v3.2.0", "2026-11-20T12:00:00Z");
    shop.file("fail-v3.2.0", "");
    assert_eq!(costs(&gitea, &shop, 1), NEW_TAG);
    assert_eq!(shop.delivered(), ["shop/prod v3.1.0", "shop/prod v3.2.0", "shop/prod v3.1.0"]);
}

#[test]
fn a_webhook_costs_the_list_of_its_image_or_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let shop = woken_shop(&gitea);
    let wake = |image: &str, code: i32| {
        let body = pushed(image, "v3.1.0");
        gitea.take_requests();
        let arguments = ["poll", "--from-webhook", "--signature", &signature(&body)];
        shop.start_with_input(body.as_bytes(), &arguments).end().code(code);
        requests(&gitea).len()
    };
    gitea.push("acme/blog", "v3.1.0", "2026-11-20T11:00:00Z");
    assert_eq!(wake("acme/blog", 0), NEW_TAG);
    assert_eq!(wake("acme/blog", 0), IDLE + 1, "a genuine payload that is sent again");
    assert_eq!(wake("acme/other", 0), 0);
    shop.secret("hook", "planted-another-secret");
    assert_eq!(wake("acme/blog", 2), 0);
}
