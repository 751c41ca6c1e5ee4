//! `gate`: commands and requests of the user's own that must agree before a tag is deployed.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{PROD, Shop, await_until};
use crate::http::Answer;
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// `gate.sh` agrees with what stands in the file `approved`.
const GATE: &str = r#"
echo "$TAGSHIP_TARGET $TAGSHIP_TAG $TAGSHIP_DIGEST [$TAGSHIP_DEPLOYMENT_ID$TAGSHIP_ATTEMPT]" >> asked
while [ -e stay ]; do sleep 0.02; done
grep -qx "$TAGSHIP_TAG" approved && exit 0
echo "asked for $1" >&2
echo "nobody approved $TAGSHIP_TAG"
exit 1
"#;

fn gated(gitea: &Gitea, gate: &str) -> Shop {
    let shop = baselined(gitea, &format!("{PROD}gate = {gate}\n"));
    shop.script("gate.sh", GATE);
    shop.file("approved", "");
    shop
}

const BY_COMMAND: &str = "{ command = [\"./gate.sh\", \"{tag}\"] }";

fn asked(shop: &Shop) -> Vec<String> {
    let tag = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
    if shop.exists("asked") { shop.read("asked").lines().map(tag).collect() } else { Vec::new() }
}

#[test]
fn a_tag_waits_until_a_command_agrees_and_an_older_one_that_it_agrees_with_ships() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = gated(&gitea, BY_COMMAND);
        shop.run(&["poll"]).code(0).silent();
        assert_eq!(asked(&shop), [""; 0], "nothing is new");
        gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
        gitea.push("acme/shop", "v3.2.0", "2026-11-20T12:00:00Z");
        let run = shop.run(&["poll"]);
        run.code(0).line("shop/prod", &["waiting", "v3.2.0", "gate: v3.2.0: nobody approved v3.2.0"]);
        assert_eq!(asked(&shop), ["v3.2.0", "v3.1.0"], "the newest first");
        shop.run(&["poll"]).code(0).silent();
        assert_eq!(asked(&shop).len(), 4, "at every poll");
        shop.file("approved", "v3.1.0\n");
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
        shop.file("approved", "v3.2.0\n");
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0", "->", "v3.2.0"]);
        let digest = gitea.digest("acme/shop", "v3.2.0");
        assert!(
            shop.read("asked").contains(&format!("shop/prod v3.2.0 {digest} []")),
            "{}",
            shop.read("asked")
        );
        assert_eq!(shop.deliveries().len(), 2);
    }
}

#[test]
fn every_gate_of_a_list_must_agree_and_the_first_that_does_not_is_the_reason() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let url = endpoint.url();
    let shop = gated(
        &gitea,
        &format!(
            "[{BY_COMMAND}, {{ url = \"{url}/may/{{tag}}\", method = \"GET\", success = {{ pointer = \"/ok\", equals = true }} }}]"
        ),
    );
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "nobody approved v3.1.0"]);
    assert!(endpoint.requests().is_empty(), "not asked after another refused");
    shop.file("approved", "v3.1.0\n");
    endpoint.then(Answer::json(404, "{}"));
    endpoint.then(Answer::json(200, r#"{"ok":false}"#));
    endpoint.then(Answer::json(200, r#"{"ok":true}"#));
    let waits =
        |shop: &Shop| shop.run(&["poll", "--format", "json"]).target("shop/prod")["reason"].to_string();
    assert!(waits(&shop).contains("gate: v3.1.0: GET "), "an answer that is no success refuses");
    assert!(waits(&shop).contains("/ok"));
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
    let request = &endpoint.requests()[0];
    assert_eq!(request.path(), "/may/v3.1.0");
    assert_eq!(request.header("idempotency-key"), None);
}

#[test]
fn a_gate_that_gives_no_answer_is_a_failed_check() {
    for (gate, said) in [
        ("{ command = [\"./nosuch.sh\"] }", "cannot be run"),
        ("{ command = [\"sh\", \"-c\", \"kill -9 $$\"] }", "killed by signal 9"),
        ("{ command = [\"sleep\", \"60\"], timeout = \"200ms\" }", "was stopped after 200ms"),
        ("{ url = \"http://127.0.0.1:9/\" }", "gate of v3.1.0: POST http://127.0.0.1:9/"),
    ] {
        let gitea = gitea(Build::GiteaNew);
        let shop = gated(&gitea, gate);
        gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", "gate");
        assert!(run.target("shop/prod")["error"]["message"].as_str().unwrap().contains(said), "{gate}");
        assert_eq!(shop.deliveries().len(), 0);
    }
}

#[test]
fn dry_runs_and_tags_run_the_gate_and_offline_says_that_it_did_not() {
    let gitea = gitea(Build::GiteaNew);
    let shop = gated(&gitea, BY_COMMAND);
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll", "--dry-run"]).code(0).line("shop/prod", &["waiting", "nobody approved v3.1.0"]);
    shop.run(&["tags", "shop/prod"]).code(0).stdout_has("gate: v3.1.0: nobody approved v3.1.0");
    shop.run(&["poll"]).code(0);
    let count = asked(&shop).len();
    shop.run(&["tags", "shop/prod", "--offline"]).code(0).stdout_has("gate: not checked for v3.1.0");
    shop.run(&["status", "shop/prod"]).code(0);
    assert_eq!(asked(&shop).len(), count);
    // A person is not asked for it.
    shop.run(&["deploy", "shop/prod", "v3.1.0"]).code(0);
    assert_eq!(asked(&shop).len(), count);
}

/// What agreed was asked about another image.
#[test]
fn a_tag_that_moves_before_it_is_sent_is_asked_about_again() {
    let gitea = gitea(Build::GiteaNew);
    let shop = gated(&gitea, BY_COMMAND);
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
    shop.file("approved", "v3.1.0\n");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "v3.1.0"]);
    shop.remove("fail");
    shop.file("approved", "");
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "nobody approved v3.1.0"]);
    assert_eq!(shop.deliveries().len(), 1);
    shop.file("approved", "v3.1.0\n");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
    let deliveries = shop.deliveries();
    assert_ne!(deliveries[0].id, deliveries[1].id);
}

#[test]
fn a_signal_and_the_end_of_a_run_end_a_gate() {
    let gitea = gitea(Build::GiteaNew);
    let shop = gated(&gitea, BY_COMMAND);
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    let poll = shop.start(&["poll"]);
    await_until("the gate is asked", || !asked(&shop).is_empty());
    let began = Instant::now();
    poll.signal(Signal::TERM);
    poll.end().code(143);
    assert!(began.elapsed() < Duration::from_secs(10));
    let run = shop.run(&["poll", "--max-runtime", "1s", "--format", "json"]);
    run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", "out_of_time");
    shop.remove("stay");
    shop.file("approved", "v3.1.0\n");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
}

/// The answer of the killed run does not count.
#[test]
fn a_gate_is_asked_again_after_tagship_was_killed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = gated(&gitea, BY_COMMAND);
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    let poll = shop.start(&["poll"]);
    await_until("the gate is asked", || !asked(&shop).is_empty());
    poll.signal(Signal::KILL);
    poll.end();
    shop.remove("stay");
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "nobody approved v3.1.0"]);
    assert_eq!(asked(&shop), ["v3.1.0"; 2]);
    assert_eq!(shop.deliveries().len(), 0);
    shop.file("approved", "v3.1.0\n");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
}

#[test]
fn placeholders_of_a_deployment_are_refused_in_a_gate() {
    let gitea = gitea(Build::GiteaNew);
    for gate in [
        "{ command = [\"./gate.sh\", \"{deployment_id}\"] }",
        "{ command = [\"./gate.sh\", \"{attempt}\"] }",
        "[{ url = \"http://127.0.0.1/\" }, { url = \"http://127.0.0.1/{step.1./id}\" }]",
        "{ url = \"http://127.0.0.1/\", until = { pointer = \"/done\", within = \"1m\", every = \"1s\" } }",
        "[]",
    ] {
        let shop = Shop::with(&crate::harness::on_gitea(&gitea, &format!("{PROD}gate = {gate}\n")));
        shop.run(&["check"]).code(2);
    }
}
