//! The stage itself says what it runs: before a deployment, after it, after an interruption, and at the
//! first poll.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{Shop, await_until, on_gitea};
use crate::http::{Answer, Reply};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// dev by deploy.sh; `./running.sh` reports the content of the file `runs` as what the stage runs.
const DEV: &str = r#"
[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
deploy = { command = ["./deploy.sh"] }
running = { command = ["./running.sh"] }
verify_timeout = "300ms"
retry = { backoff = "1ms", max_backoff = "1ms" }
"#;

/// The same with versions.
const PROD: &str = r#"
[projects.shop.stages.prod]
tags = "v*"
order = "semver"
deploy = { command = ["./deploy.sh"] }
running = { command = ["./running.sh"] }
verify_timeout = "300ms"
retry = { backoff = "1ms", max_backoff = "1ms" }
"#;

const RUNNING: &str = "echo asked >> questions\necho a warning >&2\ncat runs\n";

/// Deploys, and the stage runs it.
const DEPLOY: &str = r#"
echo "$TAGSHIP_TARGET $TAGSHIP_TAG $TAGSHIP_DEPLOYMENT_ID $TAGSHIP_ATTEMPT" >> deliveries
while [ -e stay ]; do sleep 0.02; done
[ -e lost ] || echo "$TAGSHIP_TAG" > runs
echo done >> completions
"#;

/// A shop that was never polled, whose stage runs this.
fn with(gitea: &Gitea, stage: &str, runs: &str) -> Shop {
    let shop = Shop::with(&on_gitea(gitea, stage));
    shop.script("running.sh", RUNNING);
    shop.script("deploy.sh", DEPLOY);
    shop.file("runs", runs);
    shop
}

/// A decision takes as long as the stage's answer; marks and holds made in that time count.
#[test]
fn a_decision_is_taken_again_on_the_state_as_it_has_become() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with(&gitea, DEV, "dev-41\n");
    shop.script(
        "running.sh",
        "echo asked >> questions\nwhile [ ! -e answer ]; do sleep 0.02; done\ncat runs\n",
    );
    let poll = shop.start(&["poll"]);
    await_until("the stage is asked", || shop.exists("questions"));
    shop.run(&["mark", "shop/dev", "dev-42"]).code(0);
    shop.file("answer", "");
    poll.end().code(0);
    assert_eq!(shop.delivered(), Vec::<String>::new(), "dev-42 was marked: the stage has it");
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-42");
    assert_eq!(shop.read("questions"), "asked\n", "what was answered is not asked again");
}

#[test]
fn a_first_poll_deploys_exactly_when_the_stage_runs_something_older() {
    let gitea = gitea(Build::GiteaNew);
    for (runs, delivered) in [("dev-42\n", 0), ("git.example.com/acme/shop:dev-41\n", 1)] {
        let shop = with(&gitea, DEV, runs);
        shop.run(&["poll"]).code(0);
        assert_eq!(shop.deliveries().len(), delivered, "{runs}");
        assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-42");
        shop.run(&["poll"]).code(0).silent();
    }
}

#[test]
fn the_stage_may_name_a_digest() {
    let gitea = gitea(Build::GiteaNew);
    for (tag, delivered) in [("dev-42", 0), ("dev-41", 1)] {
        let shop = with(&gitea, DEV, &gitea.digest("acme/shop", tag));
        shop.run(&["poll"]).code(0);
        assert_eq!(shop.deliveries().len(), delivered, "{tag}");
    }
}

#[test]
fn a_stage_that_does_not_answer_its_first_poll_is_unknown() {
    let gitea = gitea(Build::GiteaNew);
    for (runs, said) in [("", "not a tag, image or digest"), ("two words", "two words")] {
        let shop = with(&gitea, DEV, runs);
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/dev", "unknown").error_is("shop/dev", "running");
        let message = run.target("shop/dev")["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(said), "{message}");
        assert!(shop.deliveries().is_empty());
        shop.file("runs", "dev-41");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-42"]);
    }
    let shop = with(&gitea, DEV, "");
    shop.script("running.sh", "echo oops >&2\nexit 3\n");
    shop.run(&["poll"]).code(1).line("shop/dev", &["unknown", "running: ", "exited with status 3: oops"]);
}

#[test]
fn a_tag_that_the_rule_cannot_compare_is_a_reported_baseline() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with(&gitea, PROD, "latest");
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "the stage runs latest"]);
    assert!(shop.deliveries().is_empty());
}

/// A CI job that keeps nothing.
#[test]
fn without_a_state_file_a_run_deploys_exactly_when_the_stage_runs_something_older() {
    let gitea = gitea(Build::GiteaNew);
    let config = format!("[settings]\nstate = \"none\"\n{}", on_gitea(&gitea, DEV));
    let shop = with(&gitea, DEV, "dev-41");
    shop.config(&config);
    let config = shop.path("tagship.toml");
    let poll = ["--config", config.to_str().unwrap(), "poll"];
    shop.run_bare(&poll).code(0).line("shop/dev", &["deployed", "dev-41 -> dev-42"]);
    shop.run_bare(&poll).code(0).silent();
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run_bare(&poll).code(0).line("shop/dev", &["deployed", "dev-42 -> dev-43"]);
    assert_eq!(shop.delivered(), ["shop/dev dev-42", "shop/dev dev-43"]);
    assert!(!shop.exists("state.db"));
}

/// A shop that has dev-42, and is to get dev-43.
fn with_news(gitea: &Gitea) -> Shop {
    let shop = with(gitea, DEV, "dev-42");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop
}

#[test]
fn a_tag_that_the_stage_already_runs_is_adopted_and_not_sent() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea);
    shop.file("runs", "dev-43");
    let run = shop.run(&["poll", "--format", "json", "--exit-code"]);
    run.code(3).status_is("shop/dev", "adopted");
    assert_eq!(run.target("shop/dev")["deployed_tag"], "dev-43");
    assert_eq!(run.target("shop/dev")["deployment"]["state"], "succeeded");
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43");
    shop.run(&["poll"]).code(0).silent();
    assert!(shop.deliveries().is_empty());
}

#[test]
fn something_newer_on_the_stage_is_adopted_with_its_tag() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with(&gitea, PROD, "v1.10.0");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.file("runs", "v1.12.0");
    shop.run(&["poll"]).code(0).line("shop/prod", &["adopted", "v1.12.0"]);
    assert_eq!(shop.status("shop/prod")["deployed_tag"], "v1.12.0");
    shop.run(&["poll"]).code(0);
    assert!(shop.deliveries().is_empty());
    // It is what the stage was given: older ones stay undeployed, newer ones go.
    gitea.push("acme/shop", "v1.13.0", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.13.0"]);
}

#[test]
fn results_of_another_run_during_the_probe_are_kept() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with(&gitea, PROD, "v1.10.0");
    shop.run(&["poll"]).code(0);
    shop.script("running.sh", "echo asked >> asking\nwhile [ -e thinking ]; do sleep 0.01; done\ncat runs\n");
    for (newer, newest, runs) in [("v1.11.0", "v1.13.0", "v1.12.0"), ("v1.14.0", "v1.15.0", "v1.14.0")] {
        gitea.push("acme/shop", newer, "2026-11-20T11:00:00Z");
        shop.file("thinking", "");
        let poll = shop.start(&["poll"]);
        await_until("the stage is asked", || shop.exists("asking"));
        gitea.push("acme/shop", newest, "2026-11-20T12:00:00Z");
        shop.run(&["poll"]).code(0);
        shop.file("runs", runs);
        shop.remove("thinking");
        poll.end().code(0);
        assert_eq!(shop.status("shop/prod")["high_water_tag"], newest);
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", newest]);
        shop.run(&["poll"]).code(0).silent();
        shop.remove("asking");
    }
    assert_eq!(shop.delivered(), ["shop/prod v1.13.0", "shop/prod v1.15.0"]);
}

#[test]
fn a_stage_that_does_not_answer_is_sent_the_deployment() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea);
    shop.file("runs", "");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    assert_eq!(shop.deliveries().len(), 1);
}

#[test]
fn a_deployment_that_does_not_arrive_has_failed_with_both_names() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea);
    shop.file("lost", "");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "failed").error_is("shop/dev", "verify");
    assert_eq!(
        run.target("shop/dev")["error"]["message"],
        "the stage does not run dev-43, 300ms after its deployment: it runs dev-42"
    );
    shop.remove("lost");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let deliveries = shop.deliveries();
    assert_eq!(deliveries.len(), 2);
    assert_eq!(deliveries[0].id, deliveries[1].id);
}

#[test]
fn an_interrupted_deployment_that_arrived_is_not_sent_again() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea);
    shop.file("stay", "");
    let poll = shop.start(&["poll"]);
    await_until("the command runs", || shop.exists("deliveries"));
    poll.kill();
    shop.remove("stay");
    await_until("the orphan is done", || shop.exists("completions"));
    await_until("it is adopted", || {
        shop.run(&["poll", "--format", "json"]).target("shop/dev")["status"] == "adopted"
    });
    assert_eq!(shop.deliveries().len(), 1);
    shop.run(&["poll"]).code(0).silent();
}

/// A manual deployment is sent without a probe before it; the probe after it still verifies the tag.
#[test]
fn a_manual_deployment_ignores_the_probe() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea);
    shop.file("runs", "dev-43");
    shop.run(&["deploy", "shop/dev", "dev-43"]).code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
    shop.run(&["deploy", "shop/dev", "dev-41"]).code(0);
    assert_eq!(shop.read("runs"), "dev-41\n");
    shop.file("lost", "");
    shop.run(&["deploy", "shop/dev", "dev-43"]).code(1).shows("it runs dev-41");
}

#[test]
fn a_url_with_a_pointer_says_it_too_and_until_it_does_the_deployment_is_not_over() {
    let gitea = gitea(Build::GiteaNew);
    let stage = Endpoint::start();
    let text = format!(
        r#"
[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
deploy = {{ url = "{0}/deploy/{{tag}}" }}
running = {{ url = "{0}/version?of={{stage}}", pointer = "/image/tag", headers = {{ X-Key = "{{secret.key}}" }} }}
verify_timeout = "20s"
[secrets]
key = {{ file = "secret/key" }}
"#,
        stage.url()
    );
    let version = |tag: &str| Answer::json(200, format!(r#"{{"image": {{"tag": "{tag}"}}}}"#));
    let shop = Shop::with(&on_gitea(&gitea, &text));
    shop.secret("key", "planted-key");
    stage.then(version("dev-42"));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");

    // Before it; the deployment; then not yet, restarting, lost, restarting, there.
    stage.then(version("dev-42"));
    stage.then(Answer::new(204, "", ""));
    stage.then(version("dev-42"));
    stage.then(Answer::new(502, "text/plain", "restarting"));
    stage.then(Reply::Reset);
    stage.then(Answer::json(200, "{}"));
    stage.then(version("dev-43"));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let lines: Vec<String> = stage.requests().iter().map(|request| request.line()).collect();
    let asked = "GET /version?of=dev";
    assert_eq!(lines, [asked, asked, "POST /deploy/dev-43", asked, asked, asked, asked, asked]);
    assert!(stage.requests()[0].header("idempotency-key").is_none());
    assert_eq!(stage.requests()[0].header("x-key"), Some("planted-key"));
}

#[test]
fn a_mutable_tag_is_adopted_by_its_digest_only() {
    let gitea = gitea(Build::GiteaNew);
    let stage = DEV.replace("order", "digest = true\norder");
    let shop = baselined(&gitea, &DEV.replace("running =", "#"));
    shop.script("running.sh", RUNNING);
    shop.config(&on_gitea(&gitea, &stage.replace("verify_timeout = \"300ms\"", "verify_timeout = \"1ms\"")));
    shop.file("runs", "dev-42");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-42", "2026-11-20T11:00:00Z");
    // The name says nothing of which dev-42 it is: sent, and not verified by the name either.
    shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/dev", "verify");
    shop.file("runs", &gitea.digest("acme/shop", "dev-42"));
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "adopted");
}

/// A question changes nothing: its answer is not waited for.
#[test]
fn a_signal_ends_a_run_while_the_stage_is_asked() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let url = format!("running = {{ url = \"{}\", timeout = \"50s\" }}", endpoint.url());
    let shop =
        Shop::with(&on_gitea(&gitea, &DEV.replace("running = { command = [\"./running.sh\"] }", &url)));
    endpoint.then(Reply::Hang);
    let poll = shop.start(&["poll"]);
    endpoint.await_request();
    let told_to_stop = Instant::now();
    poll.signal(Signal::TERM);
    poll.end().code(143);
    assert!(told_to_stop.elapsed() < Duration::from_secs(9), "{:?}", told_to_stop.elapsed());
}
