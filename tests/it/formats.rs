//! What programs read: `--format json` and `jsonl`, with the keys of the design.

use regex::Regex;
use serde_json::Value;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::screen::on_terminal;

const HEAD: [&str; 6] = ["discovered", "duration_ms", "requests", "started_at", "summary", "version"];
const TARGET: [&str; 11] = [
    "deployed_tag",
    "deployment",
    "digest",
    "error",
    "latest_tag",
    "previous_tag",
    "project",
    "reason",
    "stage",
    "status",
    "until",
];

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap_or_else(|| panic!("{value} is an object"))
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// dev has a new tag, prod has none.
fn with_news() -> (Gitea, Shop) {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    (gitea, shop)
}

#[test]
fn json_is_one_document_with_every_target() {
    let (gitea, shop) = with_news();
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).stderr("").status_is("shop/dev", "deployed").status_is("shop/prod", "up_to_date");
    let json = run.json();
    let mut head = HEAD.to_vec();
    head.push("targets");
    assert_eq!(keys(&json), {
        head.sort_unstable();
        head
    });
    assert_eq!(json["version"], 1);
    assert_eq!(json["requests"], gitea.take_requests().len());
    let started: jiff::Timestamp = json["started_at"].as_str().unwrap().parse().unwrap();
    assert!(started <= jiff::Timestamp::now());
    assert_eq!(json["summary"], serde_json::json!({"targets": 2, "deployed": 1, "failed": 0, "unknown": 0}));

    let dev = run.target("shop/dev");
    assert_eq!(keys(&dev), TARGET);
    assert_eq!(dev["latest_tag"], "dev-43");
    assert_eq!(dev["deployed_tag"], "dev-43");
    assert_eq!(dev["digest"], gitea.digest("acme/shop", "dev-43").as_str());
    assert_eq!(dev["error"], Value::Null);
    assert_eq!(keys(&dev["deployment"]), ["attempt", "duration_ms", "id", "state"]);
    assert_eq!(dev["deployment"]["state"], "succeeded");
    assert_eq!(dev["deployment"]["attempt"], 1);
    assert_eq!(dev["deployment"]["id"], shop.deliveries()[0].id.as_str());

    let prod = run.target("shop/prod");
    assert_eq!(keys(&prod), TARGET);
    assert_eq!(prod["deployment"], Value::Null);
}

#[test]
fn jsonl_is_a_line_a_target_and_the_summary_last() {
    let (_gitea, shop) = with_news();
    let lines = shop.run(&["poll", "--format", "jsonl"]).code(0).jsonl();
    let [targets @ .., summary] = lines.as_slice() else { panic!("nothing printed") };
    assert_eq!(targets.len(), 2);
    for target in targets {
        assert_eq!(keys(target), TARGET);
    }
    assert_eq!(keys(summary), HEAD);
    assert_eq!(summary["summary"]["deployed"], 1);
}

#[test]
fn json_tells_each_poll_what_human_output_says_once() {
    let (_gitea, shop) = with_news();
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "failed");
    let dev = run.target("shop/dev");
    assert_eq!(keys(&dev["error"]), ["code", "message"]);
    assert_eq!(dev["deployment"]["attempt"], 2);
    assert_ne!(dev["deployment"]["state"], "succeeded");
}

#[test]
fn verbose_says_also_what_did_not_change() {
    let (_gitea, shop) = with_news();
    shop.run(&["poll", "-v"])
        .code(0)
        .line("shop/dev", &["deployed", "dev-43"])
        .line("shop/prod", &["up_to_date", "v1.10.0"]);
}

#[test]
fn quiet_says_only_what_failed() {
    let (gitea, shop) = with_news();
    shop.run(&["poll", "-q"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll", "-q"]).code(1).line("shop/dev", &["failed", "dev-44"]);
}

#[test]
fn verbose_shows_what_a_deployment_prints() {
    let (_gitea, shop) = with_news();
    shop.script("deploy.sh", "echo rolling out $TAGSHIP_TAG\n");
    shop.run(&["poll", "-v"]).code(0).shows("rolling out dev-43");
}

/// Colour or none: by option, by output, by environment.
#[test]
fn colour_is_for_terminals_unless_it_is_asked_for_or_refused() {
    let (_gitea, mut shop) = with_news();
    for (color, terminal, variables, expected) in [
        ("auto", false, &[][..], false),
        ("auto", true, &[("TERM", "xterm")], true),
        ("auto", true, &[("TERM", "dumb")], false),
        ("auto", true, &[("TERM", "xterm"), ("NO_COLOR", "1")], false),
        ("never", true, &[("TERM", "xterm")], false),
        ("never", false, &[], false),
        ("always", false, &[], true),
        ("always", false, &[("NO_COLOR", "1")], true),
        ("always", true, &[("TERM", "dumb")], true),
    ] {
        for variable in ["TERM", "NO_COLOR"] {
            let value = variables.iter().find(|(name, _)| *name == variable).map_or("", |(_, value)| value);
            shop.env(variable, value);
        }
        let arguments = ["poll", "-v", "--dry-run", "--color", color];
        let printed =
            if terminal { on_terminal(&shop, 80, &arguments).printed } else { shop.run(&arguments).raw };
        assert!(printed.contains("would_deploy"), "{printed}");
        assert_eq!(printed.contains("\u{1b}[3"), expected, "{color} {terminal} {variables:?}: {printed:?}");
    }
}

/// A poll in which each of six targets comes out otherwise.
fn one_of_each() -> (Gitea, Shop) {
    const OTHERS: &str = r#"
[projects.shop.stages.broken]
tags = "dev-*"
order = "newest"
deploy = { command = ["./broken.sh"] }

[projects.shop.stages.by-hand]
tags = "dev-*"
order = "newest"
auto_deploy = false
deploy = { command = ["./deploy.sh"] }

[projects.shop.stages.late]
tags = "dev-*"
order = "newest"
with = ["acme/worker"]
deploy = { command = ["./deploy.sh"] }

[projects.blog]
registry = "git"
image = "acme/nope"

[projects.blog.stages.dev]
tags = "dev-*"
order = "newest"
deploy = { command = ["./deploy.sh"] }
"#;
    let gitea = gitea(Build::GiteaNew);
    // One after another, so that they come in one order.
    let config = on_gitea(&gitea, &format!("{DEV}{PROD}{OTHERS}"));
    let shop = Shop::with(&config.replace("kind =", "connections = 1\nkind ="));
    shop.script("broken.sh", "echo pulling $TAGSHIP_TAG; echo \"no space left: 97% | full\"; exit 7\n");
    // A program reads this run's output: the next run prints the outage for people.
    shop.run(&["poll", "--format", "json"]).code(1);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    (gitea, shop)
}

/// The same poll in every format, with digests and tokens taken out.
#[track_caller]
fn prints(arguments: &[&str], stdout: &str, stderr: &str) {
    let (_gitea, shop) = one_of_each();
    let run = shop.run(arguments);
    run.code(1).stderr(stderr);
    let digest = Regex::new("sha256:[0-9a-f]{64}").unwrap().replace_all(&run.stdout, "[digest]").into_owned();
    let printed = Regex::new("[0-9a-f]{32}").unwrap().replace_all(&digest, "[token]").into_owned();
    let printed = Regex::new("\"duration_ms\":[0-9]+").unwrap().replace_all(&printed, "\"duration_ms\":0");
    assert_eq!(printed, stdout, "{arguments:?}");
}

#[test]
fn the_same_poll_as_human_text() {
    prints(
        &["poll"],
        "\
shop/dev      deployed      dev-43 in [duration]
shop/by-hand  available     dev-43: auto_deploy is off; to deploy it: tagship deploy shop/by-hand dev-43
shop/late     waiting       dev-43: with: acme/worker has no dev-43 yet
shop/broken   failed        dev-43 (attempt 1, retry at [time]): command: ./broken.sh exited with status 7: no space left: 97% | full
    | pulling dev-43
    | no space left: 97% | full
blog/dev      unknown       not_found: GET http://127.0.0.1:[port]/v2/acme/nope/tags/list: 404 Not Found: the image does not exist; is its name right, and was it ever pushed? (since [time])
",
        "6 targets, 1 deployed, 1 failed, 1 unknown, 8 requests in [duration]\n",
    );
}

#[test]
fn the_same_poll_as_human_text_with_everything() {
    prints(
        &["poll", "-v"],
        "\
shop/dev      deployed      dev-43 in [duration]
shop/prod     up_to_date    v1.10.0 is the newest
shop/by-hand  available     dev-43: auto_deploy is off; to deploy it: tagship deploy shop/by-hand dev-43
shop/late     waiting       dev-43: with: acme/worker has no dev-43 yet
shop/broken   failed        dev-43 (attempt 1, retry at [time]): command: ./broken.sh exited with status 7: no space left: 97% | full
blog/dev      unknown       not_found: GET http://127.0.0.1:[port]/v2/acme/nope/tags/list: 404 Not Found: the image does not exist; is its name right, and was it ever pushed? (since [time])
",
        "\
shop/broken | pulling dev-43
shop/broken | no space left: 97% | full
6 targets, 1 deployed, 1 failed, 1 unknown, 8 requests in [duration]
",
    );
}

#[test]
fn the_same_poll_quietly() {
    prints(
        &["poll", "-q"],
        "\
shop/broken   failed        dev-43 (attempt 1, retry at [time]): command: ./broken.sh exited with status 7: no space left: 97% | full
    | pulling dev-43
    | no space left: 97% | full
blog/dev      unknown       not_found: GET http://127.0.0.1:[port]/v2/acme/nope/tags/list: 404 Not Found: the image does not exist; is its name right, and was it ever pushed? (since [time])
",
        "",
    );
}

#[test]
fn the_same_poll_as_json() {
    prints(
        &["poll", "--format", "json"],
        r#"{"version":1,"started_at":"[time]","duration_ms":0,"requests":8,"summary":{"targets":6,"deployed":1,"failed":1,"unknown":1},"discovered":[],"targets":[{"project":"blog","stage":"dev","status":"unknown","reason":"GET http://127.0.0.1:[port]/v2/acme/nope/tags/list: 404 Not Found: the image does not exist; is its name right, and was it ever pushed?","latest_tag":null,"previous_tag":null,"deployed_tag":null,"digest":null,"until":null,"deployment":null,"error":{"code":"not_found","message":"GET http://127.0.0.1:[port]/v2/acme/nope/tags/list: 404 Not Found: the image does not exist; is its name right, and was it ever pushed?"}},{"project":"shop","stage":"broken","status":"failed","reason":"dev-43 is newer than any tag deployed before","latest_tag":"dev-43","previous_tag":null,"deployed_tag":null,"digest":"[digest]","until":"[time]","deployment":{"id":"[id]","state":"pending","attempt":1,"duration_ms":0},"error":{"code":"command","message":"./broken.sh exited with status 7: no space left: 97% | full"}},{"project":"shop","stage":"by-hand","status":"available","reason":"auto_deploy is off; to deploy it: tagship deploy shop/by-hand dev-43","latest_tag":"dev-43","previous_tag":null,"deployed_tag":null,"digest":null,"until":null,"deployment":null,"error":null},{"project":"shop","stage":"dev","status":"deployed","reason":"dev-43 is newer than any tag deployed before","latest_tag":"dev-43","previous_tag":null,"deployed_tag":"dev-43","digest":"[digest]","until":null,"deployment":{"id":"[id]","state":"succeeded","attempt":1,"duration_ms":0},"error":null},{"project":"shop","stage":"late","status":"waiting","reason":"with: acme/worker has no dev-43 yet","latest_tag":"dev-43","previous_tag":null,"deployed_tag":null,"digest":null,"until":null,"deployment":null,"error":null},{"project":"shop","stage":"prod","status":"up_to_date","reason":"v1.10.0 is the newest","latest_tag":"v1.10.0","previous_tag":null,"deployed_tag":null,"digest":null,"until":null,"deployment":null,"error":null}]}
"#,
        "",
    );
}

#[test]
fn the_same_poll_as_jsonl() {
    prints(
        &["poll", "--format", "jsonl"],
        r#"{"project":"shop","stage":"by-hand","status":"available","reason":"auto_deploy is off; to deploy it: tagship deploy shop/by-hand dev-43","latest_tag":"dev-43","previous_tag":null,"deployed_tag":null,"digest":null,"until":null,"deployment":null,"error":null}
{"project":"shop","stage":"late","status":"waiting","reason":"with: acme/worker has no dev-43 yet","latest_tag":"dev-43","previous_tag":null,"deployed_tag":null,"digest":null,"until":null,"deployment":null,"error":null}
{"project":"blog","stage":"dev","status":"unknown","reason":"GET http://127.0.0.1:[port]/v2/acme/nope/tags/list: 404 Not Found: the image does not exist; is its name right, and was it ever pushed?","latest_tag":null,"previous_tag":null,"deployed_tag":null,"digest":null,"until":null,"deployment":null,"error":{"code":"not_found","message":"GET http://127.0.0.1:[port]/v2/acme/nope/tags/list: 404 Not Found: the image does not exist; is its name right, and was it ever pushed?"}}
{"project":"shop","stage":"prod","status":"up_to_date","reason":"v1.10.0 is the newest","latest_tag":"v1.10.0","previous_tag":null,"deployed_tag":null,"digest":null,"until":null,"deployment":null,"error":null}
{"project":"shop","stage":"dev","status":"deployed","reason":"dev-43 is newer than any tag deployed before","latest_tag":"dev-43","previous_tag":null,"deployed_tag":"dev-43","digest":"[digest]","until":null,"deployment":{"id":"[id]","state":"succeeded","attempt":1,"duration_ms":0},"error":null}
{"project":"shop","stage":"broken","status":"failed","reason":"dev-43 is newer than any tag deployed before","latest_tag":"dev-43","previous_tag":null,"deployed_tag":null,"digest":"[digest]","until":"[time]","deployment":{"id":"[id]","state":"pending","attempt":1,"duration_ms":0},"error":{"code":"command","message":"./broken.sh exited with status 7: no space left: 97% | full"}}
{"version":1,"started_at":"[time]","duration_ms":0,"requests":8,"summary":{"targets":6,"deployed":1,"failed":1,"unknown":1},"discovered":[]}
"#,
        "",
    );
}

#[test]
fn the_same_poll_for_a_workflow() {
    prints(
        &["poll", "--format", "github"],
        "\
::notice title=shop/by-hand available::dev-43: auto_deploy is off; to deploy it: tagship deploy shop/by-hand dev-43
::notice title=shop/late waiting::dev-43: with: acme/worker has no dev-43 yet
::error title=blog/dev unknown::not_found: GET http://127.0.0.1:[port]/v2/acme/nope/tags/list: 404 Not Found: the image does not exist; is its name right, and was it ever pushed? (since [time])
::notice title=shop/dev deployed::dev-43 in [duration]
::error title=shop/broken failed::dev-43 (attempt 1, retry at [time]): command: ./broken.sh exited with status 7: no space left: 97%25 | full
::group::output of shop/broken
::stop-commands::[token]
pulling dev-43
no space left: 97% | full
::[token]::
::endgroup::
",
        "",
    );
}
