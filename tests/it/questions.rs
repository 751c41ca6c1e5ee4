//! A team's questions, each answered by one command.

use jiff::{SignedDuration, Timestamp};

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::http::Answer;
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// dev runs dev-43, which a poll deployed; prod runs v1.11.0, and v2.0.0 is too far away for it.
fn team(gitea: &Gitea) -> Shop {
    let shop = baselined(gitea, &format!("{DEV}{PROD}max_bump = \"minor\"\n"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:01Z");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting"]);
    gitea.take_requests();
    shop
}

/// dev-43 was refused by the stage, once.
fn refused(gitea: &Gitea, stage: &str) -> Shop {
    let shop = baselined(gitea, stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop
}

/// Who runs the tests, as tagship names them.
fn user() -> String {
    whoami::username().unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()))
}

#[test]
fn what_does_each_stage_run_and_what_is_newest() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    shop.run(&["status"])
        .code(0)
        .says("TARGET STATUS NEWEST DEPLOYED PENDING CHECKED")
        .says("shop/dev up_to_date dev-43 dev-43 ([duration] ago) - [duration] ago")
        .says("shop/prod waiting v2.0.0 v1.11.0 ([duration] ago) - [duration] ago");
    let prod = shop.status("shop/prod");
    assert_eq!((&prod["latest_tag"], &prod["deployed_tag"]), (&"v2.0.0".into(), &"v1.11.0".into()));
    assert_eq!(gitea.take_requests(), [""; 0]);
}

#[test]
fn why_was_this_tag_not_deployed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    let why = "why max_bump: v2.0.0 is a major version away from v1.11.0; to deploy it: tagship deploy shop/prod v2.0.0";
    shop.run(&["tags", "shop/prod", "v2.0.0"]).code(0).says("shop/prod v2.0.0 waiting").says(why);
    shop.run(&["tags", "shop/prod", "v1.9.0"]).code(0).says("why older than v1.11.0, the newest tag so far");
    shop.run(&["tags", "shop/prod", "dev-43"])
        .code(0)
        .says("shop/prod dev-43 not matched")
        .says("why matches no glob of tags");
    shop.run(&["tags", "shop/prod", "v7.0.0"])
        .code(0)
        .says("shop/prod v7.0.0 not listed")
        .says("why not listed in 127.0.0.1:[port]/acme/shop; the rule would match it");
    let run = shop.run(&["tags", "shop/prod", "v2.0.0", "--format", "json"]);
    let json = run.code(0).json();
    assert_eq!((&json["tags"][0]["tag"], &json["tags"][1]), (&"v2.0.0".into(), &serde_json::Value::Null));
    shop.run(&["tags", "shop/prod", "no tag"])
        .code(2)
        .stderr_has("tagship ignores such a name in a registry's list");
}

#[test]
fn when_was_the_registry_last_reached_and_is_it_down_or_is_nothing_new() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    shop.run(&["status", "shop/dev"])
        .code(0)
        .says("shop/dev up_to_date")
        .says("why dev-43 is the newest")
        .says("last reached [time] ([duration] ago)")
        .says("due [time] (in 5m), every 5m");

    gitea.intercept_all("", Answer::new(503, "text/plain", ""));
    shop.run(&["poll"]).code(1);
    shop.run(&["status"])
        .code(0)
        .says("shop/dev unknown dev-43 dev-43 ([duration] ago) - [duration] ago")
        .says("shop/dev: unavailable: GET http://127.0.0.1:[port]/api/v1/packages/acme/container/shop?page=1&limit=50: 503 Service Unavailable: the server failed; see its log (last reached [duration] ago)");
    shop.run(&["status", "shop/dev"])
        .code(0)
        .says("shop/dev unknown")
        .says("last reached [time] ([duration] ago)")
        .stdout_has("since [time] ([duration] ago), 1 poll: unavailable: GET ");
    assert!(shop.status("shop/dev")["failing_since"].is_string());
    gitea.recover();
}

#[test]
fn what_failed_last_and_with_which_output() {
    let gitea = gitea(Build::GiteaNew);
    let shop = refused(&gitea, DEV);
    shop.run(&["history", "--failed", "--limit", "1"]).code(0).stdout(
        "[time]  shop/dev  dev-43  failed, will be retried  by poll\n\
         \x20   [id]\n\
         \x20   attempt 1 at [time]: failed after [duration]: command: ./deploy.sh exited with status 7: the stage refused dev-43\n\
         \x20       | the stage refused dev-43\n",
    );
    shop.remove("fail");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    let run = shop.run(&["history", "--failed", "--format", "json"]);
    let deployments = run.code(0).json()["deployments"].clone();
    assert_eq!((&deployments[0]["tag"], &deployments[1]), (&"dev-43".into(), &serde_json::Value::Null));
}

#[test]
fn all_that_a_deployment_printed_is_shown_of_one_that_is_named() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.script("deploy.sh", "seq 1 20; echo \"$TAGSHIP_DEPLOYMENT_ID\" > id");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    let id = shop.read("id");
    shop.run(&["history"]).code(0).says("… 15 earlier lines: tagship history --id [id]").shows_not("| 15\n");
    shop.run(&["history", "--id", &id.trim()[..13]])
        .code(0)
        .says("| 1")
        .says("| 20")
        .shows_not("earlier lines");
    shop.run(&["history", "-v"]).code(0).says("| 1");
    shop.run(&["history", "--id", "nope"])
        .code(0)
        .stdout("")
        .stderr("no deployment matches; to list all deployments: tagship history\n");
}

#[test]
fn when_is_the_next_try() {
    let gitea = gitea(Build::GiteaNew);
    let stage = DEV.replace("{ backoff = \"1ms\", max_backoff = \"1ms\" }", "{ backoff = \"30s\" }");
    let shop = refused(&gitea, &stage);
    shop.run(&["status", "shop/dev"])
        .code(0)
        .says("shop/dev failed")
        .says("deployment dev-43, pending, [id]")
        .says("next try [time] (in [duration])");
    shop.run(&["status"]).code(0).says(
        "shop/dev: dev-43 failed (attempt 1, retry in [duration]): ./deploy.sh exited with status 7: the stage refused dev-43",
    );
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "retrying");
    shop.run(&["status", "--exit-code"]).code(1).line("shop/dev", &["retrying", "dev-43"]);
}

#[test]
fn who_or_what_deployed_this_tag() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    shop.run(&["deploy", "shop/prod", "v2.0.0"]).code(0);
    shop.run(&["mark", "shop/dev", "dev-42"]).code(0);
    let user = user();
    shop.run(&["history", "shop/prod", "--tag", "v1.11.0"])
        .code(0)
        .says("[time] shop/prod v1.11.0 succeeded by poll");
    shop.run(&["history", "shop/prod", "--tag", "v2.0.0"])
        .code(0)
        .says(&format!("[time] shop/prod v1.11.0 -> v2.0.0 succeeded manually ({user})"));
    shop.run(&["history", "--tag", "dev-42"])
        .code(0)
        .says(&format!("[time] shop/dev dev-43 -> dev-42 succeeded by mark ({user})"));
    shop.run(&["status", "shop/prod"])
        .code(0)
        .says(&format!("deployed v2.0.0, manually ({user}), [time] ([duration] ago), [id]"));
    let prod = shop.status("shop/prod");
    assert_eq!((&prod["deployed_by"], &prod["deployed_by_whom"]), (&"hand".into(), &user.into()));
}

#[test]
fn who_holds_it_until_when() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    shop.run(&["hold", "shop/prod", "--reason", "freeze", "--for", "12h"]).code(0);
    let held = format!("held by {}: freeze, since [time] ([duration] ago) until [time] (in 12h)", user());
    shop.run(&["status", "shop/prod"])
        .code(0)
        .says(&format!("hold {held}; to resume: tagship release shop/prod"));
    shop.run(&["status"])
        .code(0)
        .says(&format!("shop/prod: v2.0.0 waits; {held}; to resume: tagship release shop/prod"));
}

#[test]
fn what_would_a_poll_do_now() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    gitea.push("acme/shop", "dev-44", "2026-11-20T13:00:00Z");
    let before = shop.contents();
    shop.run(&["poll", "--dry-run", "-v"])
        .code(0)
        .says("shop/dev would_deploy dev-43 -> dev-44")
        .line("shop/prod", &["waiting", "v2.0.0: max_bump"]);
    assert!(shop.contents() == before);
}

#[test]
fn which_rule_picks_and_with_which_key() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    shop.run(&["tags", "shop/prod"])
        .code(0)
        .says("shop/prod uses tags of 127.0.0.1:[port]/acme/shop: tags=\"v*\" order=semver; max_bump minor")
        .says("TAG KEY VERDICT REASON")
        .says("v1.11.0 1.11.0 deployed the stage has run it since [time]")
        .says("v1.10.0 1.10.0 not newer older than v1.11.0, the newest tag so far")
        .says("dev-43 - not matched matches no glob of tags");
}

#[test]
fn which_names_were_dropped_as_no_valid_tags() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    let list = r#"{"name": "acme/shop", "tags": ["v1.11.0", "dev-43", "no tag", ".hidden", "\u001b[2J"]}"#;
    gitea.intercept_all("/tags/list", Answer::json(200, list));
    let line = "3 invalid tag names were ignored: \"no tag\", \".hidden\", \"\\u{1b}[2J\"";
    for target in ["shop/prod", "shop/dev"] {
        shop.run(&["tags", target]).code(0).says(line);
        let json = shop.run(&["tags", target, "--format", "json"]).json();
        assert_eq!((&json["dropped"]["count"], &json["dropped"]["names"][0]), (&3.into(), &"no tag".into()));
    }
    gitea.recover();
}

#[test]
fn why_does_it_not_go_back_after_a_deletion() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    gitea.delete("acme/shop", "v1.11.0");
    shop.run(&["poll"]).code(0);
    let why = "the newest listed tag, v1.10.0, is older than v1.11.0, which was deleted; \
               to start from v1.10.0: tagship mark shop/prod v1.10.0 --reset";
    shop.run(&["status"]).code(0).says(&format!("shop/prod: {why}"));
    shop.run(&["status", "shop/prod"]).code(0).says("shop/prod older").says(&format!("why {why}"));
    shop.run(&["tags", "shop/prod", "v1.11.0"])
        .code(0)
        .says("why deployed at [time], but no longer listed; was it deleted?");
    // Also after polls that find nothing changed.
    shop.run(&["poll"]).code(0).silent();
    shop.run(&["status", "shop/prod"]).code(0).says(&format!("why {why}"));
    assert_eq!(shop.status("shop/prod")["reason"], why);
}

#[test]
#[ignore = "needs faketime"]
fn what_ran_on_a_date() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, &format!("{DEV}{PROD}")));
    let poll_at = |day: &str| {
        shop.run_under(&["faketime", "-f", &format!("@{day} 12:00:00")], &["poll", "--refresh"]).code(0);
    };
    poll_at("2026-11-17");
    gitea.push("acme/shop", "v1.11.0", "2026-11-18T11:00:00Z");
    poll_at("2026-11-18");
    gitea.push("acme/shop", "v1.12.0", "2026-11-20T11:00:00Z");
    poll_at("2026-11-20");

    let ran = |at: &str| {
        let run = shop.run(&["history", "*/prod", "--at", at, "--format", "json"]);
        let json = run.code(0).json();
        let runs = json["targets"][0]["ran"].as_array().unwrap().clone();
        runs.iter().map(|run| run["tag"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ran("2026-11-17"), [""; 0], "what the first poll found is not known to have run");
    shop.run(&["history", "*/prod", "--at", "2026-05-17"])
        .code(0)
        .says("shop/prod not known; first poll on [time], which found v1.10.0 - - -");
    assert_eq!(ran("2026-11-19"), ["v1.11.0"]);
    assert_eq!(ran("2026-11-20"), ["v1.11.0", "v1.12.0"], "both of them on that day");
    assert_eq!(ran("2026-11-20T11:59"), ["v1.11.0"]);
    assert_eq!(ran("2026-11-20T13:01+01:00"), ["v1.12.0"]);
    shop.run(&["history", "--at", "2026-11-19"])
        .code(0)
        .says("TARGET TAG FROM UNTIL BY")
        .says("shop/dev not known; first poll on [time], which found dev-42 - - -")
        .says("shop/prod v1.11.0 [time] [time] by poll");
    shop.run(&["history", "--since", "2026-11-19", "--until", "2026-11-20"])
        .code(0)
        .says("[time] shop/prod v1.11.0 -> v1.12.0 succeeded by poll")
        .shows_not("v1.10.0");
    shop.run(&["history", "--until", "2026-11-18"]).code(0).stdout_has("v1.11.0").shows_not("v1.12.0");
    let future = shop.run(&["history", "--at", "2226-11-20"]);
    future.code(2).stdout("").stderr("error: --at requires a time in the past, found [time]\n");
    shop.run(&["history", "--at", "yesterday"]).code(2).stderr_has("expected a date such as 2026-11-20");
}

#[test]
fn how_long_do_deployments_take() {
    let gitea = gitea(Build::GiteaNew);
    let shop = refused(&gitea, DEV);
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    shop.run(&["history"]).code(0).shows_not("median");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0);
    shop.run(&["history"])
        .code(0)
        .says("shop/dev: 2 attempts succeeded in [duration] (median), [duration] (longest); 1 failed");
    let durations = shop.run(&["history", "--format", "json"]).json()["durations"][0].clone();
    assert_eq!((&durations["succeeded"], &durations["failed"]), (&2.into(), &1.into()));
    assert!(durations["longest_ms"].as_u64() >= durations["median_ms"].as_u64());
}

#[test]
fn which_secret_source_was_used() {
    let gitea = gitea(Build::GiteaNew);
    let secrets = "\n[secrets]\nhc = { env = \"HC\" }\nkey = { command = [\"pass\", \"show\", \"key\"] }\n";
    let mut shop = Shop::with(&format!("{}{secrets}", on_gitea(&gitea, DEV)));
    shop.run(&["check", "-v"])
        .code(0)
        .says("registry git from the file [dir]/secret/token")
        .says("secret hc from the environment variable HC, which is not set here")
        .says("secret key from what the command pass show key prints");
    shop.run(&["check"]).code(0).shows_not("from the file");

    shop.config(&on_gitea(&gitea, DEV).replace("token = { file = \"secret/token\" }\n", ""));
    shop.run(&["check", "-v"]).code(0).says(
        "registry git from the keyring's entry git, or anonymous access if there is none (TAGSHIP_TOKEN_GIT is not set here)",
    );
    shop.env("TAGSHIP_TOKEN_GIT", crate::registry::TOKEN);
    shop.run(&["check", "-v"]).code(0).says("registry git from the environment variable TAGSHIP_TOKEN_GIT");
    assert_eq!(gitea.take_requests(), [""; 0]);
}

#[test]
fn how_many_requests_did_a_run_make() {
    let gitea = gitea(Build::GiteaNew);
    let shop = team(&gitea);
    let run = shop.run(&["poll", "--format", "json"]);
    assert_eq!(run.code(0).json()["requests"], gitea.take_requests().len());
}

#[test]
fn was_it_tried_twice_under_one_id() {
    let gitea = gitea(Build::GiteaNew);
    let shop = refused(&gitea, DEV);
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    let deliveries = shop.deliveries();
    assert_eq!((deliveries.len(), &deliveries[0].id), (2, &deliveries[1].id));
    let run = shop.run(&["history", "--id", &deliveries[0].id]);
    run.code(0)
        .says("[id]")
        .says("attempt 1 at [time]: failed after [duration]: command: ./deploy.sh exited with status 7: the stage refused dev-43")
        .says("attempt 2 at [time]: succeeded in [duration]");
    assert_eq!(run.stdout.matches("[id]").count(), 1);
}

#[test]
fn what_waits_for_which_gate_until_when() {
    let gitea = gitea(Build::GiteaNew);
    let live = PROD.replace("stages.prod", "stages.live");
    let stages =
        format!("{DEV}{PROD}min_age = \"30m\"\n{live}after = {{ stage = \"prod\", for = \"1h\" }}\n");
    let shop = baselined(&gitea, &stages);
    let pushed = Timestamp::now() - SignedDuration::from_mins(5);
    gitea.push("acme/shop", "v1.11.0", &format!("{pushed:.0}"));
    shop.run(&["poll"]).code(0);
    shop.run(&["status"])
        .code(0)
        .says("shop/prod: v1.11.0 waits: min_age: v1.11.0 was pushed at [time]; until [time] (in 25m)")
        .says("shop/live: v1.11.0 waits: after: prod has not run it yet");
    shop.run(&["status", "shop/prod"])
        .code(0)
        .says("gates min_age 30m")
        .says("why min_age: v1.11.0 was pushed at [time]; until [time] (in 25m)")
        .says("waiting v1.11.0");
    let row = shop.status("shop/prod");
    assert!(row["until"].is_string() && row["reason"].as_str().unwrap().starts_with("min_age"), "{row}");
}

#[test]
fn what_changed_when_the_rule_was_edited() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    shop.run(&["status", "shop/prod"]).code(0).shows_not("rule edited");
    shop.config(&on_gitea(&gitea, &PROD.replace("tags = \"v*\"", "tags = \"v*\"\nrange = \"<1.10\"")));
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.9.0", "the rule was edited"]);
    for _ in 0..2 {
        shop.run(&["status", "shop/prod"])
            .code(0)
            .says("rule tags=\"v*\" order=semver range=\"<1.10\"")
            .says("high-water v1.9.0 (baseline: found by the first poll, or after an edit of the rule); polls deploy newer tags only")
            .says("rule edited [time] ([duration] ago); old rule: acme/shop tags=\"v*\" order=semver; newest tag by the old rule: v1.10.0");
        shop.run(&["poll"]).code(0).silent();
    }
    let edit = shop.status("shop/prod")["rule_edit"].clone();
    assert_eq!(edit["high_water_tag_before"], "v1.10.0");
}

#[test]
fn what_do_the_stages_of_two_machines_run() {
    let gitea = gitea(Build::GiteaNew);
    gitea.push("acme/blog", "v1.0.0", "2026-11-20T10:00:00Z");
    let blog = PROD.replace("projects.shop", "projects.blog");
    let blog = format!("[projects.blog]\nregistry = \"git\"\nimage = \"acme/blog\"\n{blog}");
    let shop = Shop::with(&on_gitea(&gitea, &format!("{PROD}{blog}")));
    let bare = |arguments: &[&str]| shop.run_bare(&[&["--config", "tagship.toml"], arguments].concat());
    bare(&["--state", "one.db", "poll", "--project", "shop"]).code(0);
    bare(&["--state", "two.db", "poll", "--project", "blog"]).code(0);
    bare(&["--state", "two.db", "deploy", "blog/prod"]).code(0);
    bare(&["--state", "one.db", "--state", "two.db", "status"])
        .code(0)
        .says("TARGET STATUS NEWEST DEPLOYED PENDING CHECKED STATE")
        .says("shop/prod baseline v1.10.0 - - [duration] ago one.db")
        .says("blog/prod deployed v1.0.0 v1.0.0 ([duration] ago) - [duration] ago two.db");
}

/// A run that fails, and a run that never comes, are two alarms.
#[test]
fn does_someone_learn_that_the_timer_has_stopped() {
    let (gitea, service) = (gitea(Build::GiteaNew), Endpoint::start());
    let of = |moment: &str| format!("{moment} = \"{}/{moment}\"", service.url());
    let ping = format!("[settings]\nping_url = {{ {}, {} }}\n", of("success"), of("failure"));
    let shop = Shop::with(&format!("{ping}{}", on_gitea(&gitea, PROD)));
    shop.run(&["poll"]).code(0);
    gitea.intercept_all("", Answer::new(503, "text/plain", ""));
    shop.run(&["poll"]).code(1);
    let told: Vec<String> = service.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(told, ["/success", "/failure"]);
    let page = shop.run(&["status", "--format", "html"]);
    page.code(0).stdout_has("If that time has passed, the timer has stopped");
    gitea.recover();
}

#[test]
fn from_which_commit_is_what_was_deployed() {
    let gitea = gitea(Build::GiteaNew);
    let tagged = "env = { REVISION = \"{label.org.opencontainers.image.revision}\" } }";
    let shop =
        baselined(&gitea, &PROD.replace("[\"./deploy.sh\"] }", &format!("[\"./deploy.sh\"], {tagged}")));
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["check", "--online"])
        .code(1)
        .stdout_has("v1.11.0 has no label \"org.opencontainers.image.revision\"");
    gitea.label("acme/shop", "v1.11.0", "org.opencontainers.image.revision", "0a1b2c");
    shop.run(&["check", "--online"]).code(0);
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.command_env("REVISION").as_deref(), Some("0a1b2c"));
}

#[test]
fn what_did_it_go_back_from_and_why() {
    let gitea = gitea(Build::GiteaNew);
    let stage = PROD.replace("retry = {", "on_failure = \"previous\"\nretry = { attempts = 1,");
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "v1.12.0", "2026-11-20T12:00:00Z");
    shop.file("fail-v1.12.0", "");
    shop.run(&["poll"]).code(1);
    shop.run(&["history", "--failed", "--limit", "1"])
        .code(0)
        .says("[time] shop/prod v1.11.0 -> v1.12.0 dead by poll: ./deploy.sh exited with status 7: the stage refused v1.12.0");
    shop.run(&["status"]).code(0).says(
        "shop/prod: v1.12.0 failed (gave up after attempt 1, rolled back to v1.11.0): ./deploy.sh exited with status 7: the stage refused v1.12.0; to retry: tagship retry shop/prod",
    );
    shop.run(&["status", "shop/prod"])
        .code(0)
        .says("deployed v1.11.0, by rollback, [time] ([duration] ago), [id]");
}
