//! `on_failure = "previous"`: if tagship gives up a deployment, a rollback follows.

use rustix::process::Signal;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on_gitea};
use crate::http::{Answer, Reply};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::run::Run;

/// `deploy.sh` fails for the tags in the file `bad`.
const DEPLOY: &str = r#"
echo "$TAGSHIP_TARGET $TAGSHIP_TAG $TAGSHIP_DEPLOYMENT_ID $TAGSHIP_ATTEMPT" >> deliveries
echo "$TAGSHIP_TAG $TAGSHIP_DIGEST $TAGSHIP_PREVIOUS_TAG" >> contents
while [ -e "stay-$TAGSHIP_TAG" ]; do sleep 0.02; done
if grep -qx "$TAGSHIP_TAG" bad; then echo "no $TAGSHIP_TAG here"; exit 1; fi
"#;

fn prod(more: &str) -> String {
    format!("{}on_failure = \"previous\"\n{more}", PROD.replace("retry = {", "retry = { attempts = 1,"))
}

/// The stage runs v3.1.0, which a poll deployed; v3.2.0 is bad, and pushed.
fn about_to_fail(gitea: &Gitea, stage: &str) -> Shop {
    let shop = baselined(gitea, stage);
    shop.script("deploy.sh", DEPLOY);
    shop.file("bad", "v3.2.0\n");
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
    gitea.push("acme/shop", "v3.2.0", "2026-11-20T12:00:00Z");
    shop
}

#[test]
fn a_dead_deployment_is_followed_by_a_rollback_in_the_same_run() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = about_to_fail(&gitea, &prod(""));
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/prod", "rolled_back").error_is("shop/prod", "command");
        let target = run.target("shop/prod");
        assert_eq!((&target["deployed_tag"], &target["previous_tag"]), (&"v3.1.0".into(), &"v3.2.0".into()));
        assert_eq!(target["latest_tag"], "v3.1.0");
        assert!(target["reason"].as_str().unwrap().starts_with("gave up on v3.2.0: "), "{target}");
        assert_eq!(run.json()["summary"]["failed"], 1);
        assert_eq!(shop.delivered(), ["shop/prod v3.1.0", "shop/prod v3.2.0", "shop/prod v3.1.0"]);
        let ids: Vec<String> = shop.deliveries().into_iter().map(|delivery| delivery.id).collect();
        assert!(ids[0] != ids[2] && ids[1] != ids[2], "{ids:?}");
        let contents = shop.read("contents");
        let contents: Vec<&str> = contents.lines().collect();
        let digest_of = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(digest_of(contents[0]), digest_of(contents[2]), "by its digest");

        // The failed tag is not retried and stays dead, and a newer tag ships.
        let again = shop.run(&["poll", "--format", "json"]);
        again.code(0).status_is("shop/prod", "behind");
        assert_eq!(shop.deliveries().len(), 3);
        assert_eq!(shop.status("shop/prod")["status"], "dead");
        shop.run(&["status", "--exit-code"]).code(1);
        shop.run(&["history"]).code(0).stdout_has("rollback");
        gitea.push("acme/shop", "v3.3.0", "2026-11-20T13:00:00Z");
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0", "->", "v3.3.0"]);
    }
}

#[test]
fn the_output_names_the_dead_and_the_running_tag() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod(""));
    let run = shop.run(&["poll"]);
    run.code(1).line("shop/prod", &["rolled_back", "v3.2.0", "->", "v3.1.0"]);
    run.stdout_has("gave up on v3.2.0: ").stdout_has("no v3.2.0 here");
}

#[test]
fn a_manual_deployment_is_rolled_back_and_a_manual_rollback_is_not() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod(""));
    shop.run(&["deploy", "shop/prod", "v3.2.0"]).code(1).line("shop/prod", &["rolled_back"]);
    gitea.push("acme/shop", "v3.3.0", "2026-11-20T13:00:00Z");
    shop.run(&["poll"]).code(0);
    shop.file("bad", "v3.1.0\n");
    shop.run(&["deploy", "shop/prod", "--previous"]).code(1).line("shop/prod", &["dead", "v3.1.0"]);
    assert_eq!(shop.deliveries().len(), 5);
}

#[test]
fn where_nothing_else_succeeded_it_is_dead_and_that_is_said() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &prod(""));
    shop.script("deploy.sh", DEPLOY);
    shop.file("bad", "v3.2.0\n");
    gitea.push("acme/shop", "v3.2.0", "2026-11-20T12:00:00Z");
    // What the first poll found was never deployed.
    let run = shop.run(&["poll"]);
    run.code(1).line("shop/prod", &["dead", "v3.2.0"]).stdout_has("no other image is known to roll back to");
    assert_eq!(shop.deliveries().len(), 1);
}

#[test]
fn a_rollback_that_fails_is_retried_and_not_followed_by_another() {
    let gitea = gitea(Build::GiteaNew);
    let stage = prod("").replace("attempts = 1", "attempts = 2");
    let shop = about_to_fail(&gitea, &stage);
    shop.file("bad", "v3.1.0\nv3.2.0\n");
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "v3.2.0"]);
    let run = shop.run(&["poll"]);
    run.code(1).line("shop/prod", &["dead", "v3.2.0"]).stdout_has("the rollback to v3.1.0 failed: ");
    shop.run(&["status"]).code(0).shows("the rollback to v3.1.0 failed (attempt 1, retry ");
    shop.run(&["status", "shop/prod"]).code(0).shows("the rollback to v3.1.0, pending, ");
    shop.run(&["poll"]).code(1).line("shop/prod", &["dead", "v3.1.0"]);
    assert_eq!(
        shop.delivered()[1..],
        ["shop/prod v3.2.0"; 2].into_iter().chain(["shop/prod v3.1.0"; 2]).collect::<Vec<_>>()
    );
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.deliveries().len(), 5, "one rollback, and no chain");
    // The retry is of the dead deployment.
    shop.file("bad", "");
    shop.run(&["retry", "shop/prod"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.2.0"]);
}

#[test]
fn a_rollback_continues_after_a_failed_attempt() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod("").replace("attempts = 1", "attempts = 2"));
    shop.file("bad", "v3.1.0\nv3.2.0\n");
    shop.run(&["poll"]).code(1);
    shop.run(&["poll"]).code(1).line("shop/prod", &["dead"]);
    shop.file("bad", "v3.2.0\n");
    let run = shop.run(&["poll"]);
    run.code(1).line("shop/prod", &["rolled_back", "v3.2.0", "->", "v3.1.0"]).stdout_has("gave up on v3.2.0");
    shop.run(&["poll"]).code(0);
}

#[test]
fn a_hold_stops_a_rollback() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod(""));
    shop.file("stay-v3.2.0", "");
    let poll = shop.start(&["poll"]);
    await_until("it is deployed", || shop.deliveries().len() == 2);
    shop.run(&["hold", "shop/prod"]).code(0);
    shop.remove("stay-v3.2.0");
    let run = poll.end();
    run.code(1).line("shop/prod", &["dead", "v3.2.0"]).stdout_has("not rolled back: v3.1.0: held by");
    assert_eq!(shop.deliveries().len(), 2);
    shop.run(&["release", "shop/prod"]).code(0);
    shop.run(&["poll"]).code(1).line("shop/prod", &["rolled_back", "v3.2.0", "->", "v3.1.0"]);
}

#[test]
fn the_outcome_and_its_rollback_are_recorded_together() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod("").replace("attempts = 1", "attempts = 2"));
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "v3.2.0"]);
    shop.file("stay-v3.1.0", "");
    let poll = shop.start(&["poll"]);
    await_until("it is rolled back", || shop.deliveries().len() == 4);
    poll.signal(Signal::KILL);
    poll.end();
    shop.remove("stay-v3.1.0");
    await_until("the command has ended", || shop.run(&["poll"]).has_code(1));
    assert_eq!(shop.status("shop/prod")["deployed_tag"], "v3.1.0");
    let (second, third) = (shop.deliveries().remove(3), shop.deliveries().remove(4));
    assert_eq!(second.id, third.id, "the same rollback");
}

/// The message of the error of shop/prod, which is dead.
#[track_caller]
fn why_dead(run: &Run) -> String {
    run.status_is("shop/prod", "dead");
    run.target("shop/prod")["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_rollback_that_is_interrupted_waits_for_the_next_poll() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let notify = format!(
        "[[notify]]\nurl = \"{}/tell\"\non = [\"failed\", \"dead\", \"rolled_back\"]\njson = {{ said = \"{{status}} {{error}}\" }}\n",
        receiver.url()
    );
    let shop = about_to_fail(&gitea, &prod(""));
    shop.config(&format!("{}{notify}", on_gitea(&gitea, &prod(""))));
    shop.file("stay-v3.1.0", "");
    let interrupt = |deliveries| {
        let poll = shop.start(&["poll", "--format", "json"]);
        await_until("it is rolled back", || shop.deliveries().len() == deliveries);
        poll.signal(Signal::TERM);
        poll.end()
    };
    let run = interrupt(3);
    run.code(143);
    let why = why_dead(&run);
    assert!(
        why.ends_with(
            "; the rollback to v3.1.0 waits for the next poll: ./deploy.sh was stopped: tagship was told to stop by signal 15 (SIGTERM)"
        ),
        "{why}"
    );
    interrupt(4).code(143).status_is("shop/prod", "pending");
    shop.remove("stay-v3.1.0");
    shop.run(&["poll"]).code(1).line("shop/prod", &["rolled_back", "v3.2.0", "->", "v3.1.0"]);
    let deliveries = shop.deliveries();
    assert_eq!(deliveries.len(), 5);
    assert!(deliveries[2..].iter().all(|delivery| delivery.id == deliveries[2].id), "{deliveries:?}");
    let said: Vec<String> =
        receiver.requests().iter().map(|request| request.json()["said"].to_string()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("\"dead ") && !said[0].contains("rollback"), "{said:?}");
    assert!(said[1].starts_with("\"rolled_back "), "{said:?}");
}

#[test]
fn a_rollback_for_which_the_run_has_no_time_waits_for_the_next_poll() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod(""));
    shop.script("deploy.sh", &format!("if [ $TAGSHIP_TAG = v3.2.0 ]; then sleep 1.1; fi\n{DEPLOY}"));
    let run = shop.run(&["poll", "--max-runtime", "1s", "--format", "json"]);
    let why = why_dead(run.code(1));
    let waits =
        "; the rollback to v3.1.0 waits for the next poll: planned; the run ended before it could start";
    assert!(why.ends_with(waits), "{why}");
    shop.run(&["poll"]).code(1).line("shop/prod", &["rolled_back"]);
}

// The marked tag has no digest, so its digest is requested from the registry.
#[test]
fn a_rollback_that_the_registry_holds_up_waits_for_the_next_poll() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &prod(""));
    shop.script("deploy.sh", DEPLOY);
    shop.file("bad", "v3.2.0\n");
    shop.run(&["mark", "shop/prod", "v1.10.0"]).code(0);
    gitea.push("acme/shop", "v3.2.0", "2026-11-20T12:00:00Z");
    gitea.intercept_all("/manifests/v1.10.0", Reply::Answer(Answer::json(500, "{}")));
    let run = shop.run(&["poll", "--format", "json"]);
    let why = why_dead(run.code(1));
    assert!(why.contains("; the rollback to v1.10.0 waits for the next poll: "), "{why}");
    gitea.recover();
    shop.run(&["poll"]).code(1).line("shop/prod", &["rolled_back", "v3.2.0", "->", "v1.10.0"]);
}

#[test]
fn a_rollback_waits_for_what_the_failed_command_left_behind() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod(""));
    shop.file("stay", "");
    shop.script("work", "while [ -e stay ]; do sleep 0.02; done\n");
    let leaves = "if [ $TAGSHIP_TAG = v3.2.0 ]; then setsid ./work <bad >work.log 2>&1 & fi\n";
    shop.script("deploy.sh", &format!("{leaves}{DEPLOY}"));
    let run = shop.run(&["poll", "--format", "json"]);
    let why = why_dead(run.code(1));
    assert!(why.contains("; the rollback to v3.1.0 waits for the next poll: "), "{why}");
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", "deploying");
    assert_eq!(shop.delivered().len(), 2);
    shop.remove("stay");
    await_until("it is rolled back", || {
        let run = shop.run(&["poll", "--format", "json"]);
        run.target("shop/prod")["status"] == "rolled_back"
    });
}

/// During its deployment, a person marks it, or another tag: an older one is known to have run before.
#[test]
fn a_mark_during_the_failure_is_not_rolled_back() {
    for marked in ["v3.2.0", "v3.3.0", "v3.4.0", "v3.1.0", "v3.0.0"] {
        let gitea = gitea(Build::GiteaNew);
        let shop = about_to_fail(&gitea, &prod(""));
        gitea.push("acme/shop", "v3.0.0", "2026-11-20T11:30:00Z");
        shop.file("stay-v3.2.0", "");
        let poll = shop.start(&["poll", "--format", "json"]);
        await_until("it is deployed", || shop.deliveries().len() == 2);
        if marked == "v3.3.0" {
            gitea.push("acme/shop", marked, "2026-11-20T12:30:00Z");
        }
        shop.run(&["mark", "shop/prod", marked]).code(0);
        shop.remove("stay-v3.2.0");
        let run = poll.end();
        run.code(1);
        if ["v3.1.0", "v3.0.0"].contains(&marked) {
            run.status_is("shop/prod", "rolled_back");
        } else {
            run.status_is("shop/prod", "failed");
            let why = run.target("shop/prod")["error"]["message"].as_str().unwrap().to_owned();
            assert!(why.ends_with(&format!("; not tried again: {marked} was marked as deployed")), "{why}");
            // v3.4.0 is not listed.
            let status = if marked == "v3.4.0" { "older" } else { "up_to_date" };
            shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", status);
            shop.run(&["status", "--exit-code"]).code(0);
            assert_eq!(shop.deliveries().len(), 2);
        }
        assert_eq!(shop.status("shop/prod")["deployed_tag"], marked);
        let history = shop.run(&["history"]);
        assert!(!history.code(0).stdout.contains("pushed again"), "{history:?}");
    }
}

/// By `newest`, the next list tells whether the marked tag is newer: it is what the stage runs in any case.
#[test]
fn a_tag_without_a_place_that_was_marked_while_it_failed_is_not_rolled_back_to() {
    let gitea = gitea(Build::GiteaNew);
    let stage = DEV.replace("retry = {", "retry = { attempts = 1,") + "on_failure = \"previous\"\n";
    let shop = baselined(&gitea, &stage);
    shop.script("deploy.sh", DEPLOY);
    shop.file("bad", "dev-44\n");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.file("stay-dev-44", "");
    let poll = shop.start(&["poll", "--format", "json"]);
    await_until("it is deployed", || shop.deliveries().len() == 2);
    gitea.push("acme/shop", "dev-45", "2026-11-20T13:00:00Z");
    shop.run(&["mark", "shop/dev", "dev-45"]).code(0);
    shop.remove("stay-dev-44");
    let run = poll.end();
    run.code(1).status_is("shop/dev", "dead");
    let why = run.target("shop/dev")["error"]["message"].as_str().unwrap().to_owned();
    assert!(why.ends_with("; not rolled back: dev-45 was marked as deployed"), "{why}");
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "up_to_date");
    shop.run(&["status", "--exit-code"]).code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/dev dev-44"]);
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-45");
}

/// The rollback waits, and a person marks the failed tag, or a newer one.
#[test]
fn a_mark_settles_a_dead_deployment_and_its_rollback() {
    for marked in ["v3.2.0", "v3.3.0"] {
        let gitea = gitea(Build::GiteaNew);
        let shop = about_to_fail(&gitea, &prod(""));
        shop.file("stay-v3.1.0", "");
        let poll = shop.start(&["poll"]);
        await_until("it is rolled back", || shop.deliveries().len() == 3);
        poll.signal(Signal::TERM);
        poll.end().code(143);
        gitea.push("acme/shop", "v3.3.0", "2026-11-20T12:30:00Z");
        shop.run(&["hold", "shop/prod"]).code(0);
        shop.run(&["mark", "shop/prod", marked]).code(0);
        shop.run(&["status", "--exit-code"]).code(0);
        shop.run(&["retry"]).code(0).shows("no failed deployments");
        shop.run(&["release", "shop/prod"]).code(0);
        shop.remove("stay-v3.1.0");
        let expected = if marked == "v3.3.0" { "up_to_date" } else { "deployed" };
        shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", expected);
        assert!(shop.delivered()[3..].iter().all(|delivered| delivered == "shop/prod v3.3.0"));
    }
}

/// An attempt without an outcome may have succeeded: at the limit of attempts one more follows, and no third.
#[test]
fn a_rollback_that_is_killed_is_tried_once_more() {
    for kills in [1, 2] {
        let gitea = gitea(Build::GiteaNew);
        let shop = about_to_fail(&gitea, &prod(""));
        for kill in 1..=kills {
            shop.file("stay-v3.1.0", "");
            let poll = shop.start(&["poll"]);
            await_until("it is rolled back", || shop.deliveries().len() == 2 + kill);
            poll.kill();
            shop.remove("stay-v3.1.0");
            await_until("the orphan has ended", || {
                let path = shop.path("state.db.locks").join("shop@prod");
                std::fs::File::open(path).is_ok_and(|file| file.try_lock().is_ok())
            });
        }
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1);
        if kills == 1 {
            run.status_is("shop/prod", "rolled_back");
        } else {
            let why = why_dead(&run);
            assert!(
                why.starts_with("the last attempt was interrupted") && !why.contains("no other image"),
                "{why}"
            );
            assert_eq!(run.target("shop/prod")["deployment"]["attempt"], 2);
        }
        let deliveries = shop.deliveries();
        assert_eq!(deliveries.len(), 4);
        assert_eq!(deliveries[2].id, deliveries[3].id, "the same rollback");
    }
}

/// A manual deployment ignores the window, and its rollback does, also at later polls. The window opens in six hours.
#[test]
fn a_rollback_does_not_wait_for_the_window() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod(""));
    let from = (jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).hour() + 6) % 24;
    let window =
        format!("window = [{{ from = \"{from:02}:00\", to = \"{from:02}:30\", timezone = \"UTC\" }}]\n");
    shop.config(&on_gitea(&gitea, &prod(&window)));
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "v3.2.0"]);
    shop.file("stay-v3.1.0", "");
    let deploy = shop.start(&["deploy", "shop/prod", "v3.2.0"]);
    await_until("it is rolled back", || shop.deliveries().len() == 3);
    deploy.signal(Signal::TERM);
    deploy.end().code(143);
    shop.remove("stay-v3.1.0");
    shop.run(&["poll"]).code(1).line("shop/prod", &["rolled_back", "v3.2.0", "->", "v3.1.0"]);
}

#[test]
fn receivers_learn_of_the_failure_and_of_the_rollback() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let notify = format!(
        "[[notify]]\nurl = \"{}/tell\"\non = [\"dead\", \"rolled_back\"]\n\
         json = {{ said = \"{{status}} {{previous_tag}} {{tag}}\" }}\n",
        receiver.url()
    );
    let shop = about_to_fail(&gitea, &prod(""));
    shop.config(&format!("{}{notify}", on_gitea(&gitea, &prod(""))));
    shop.run(&["poll"]).code(1);
    let said: Vec<String> = receiver
        .requests()
        .iter()
        .map(|request| request.json()["said"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, ["dead v3.1.0 v3.2.0", "rolled_back v3.2.0 v3.1.0"]);
}

/// The failed deployment counts as dead from the next poll on.
#[test]
fn metrics_show_the_poll_that_rolled_back() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_fail(&gitea, &prod(""));
    let config = on_gitea(&gitea, &prod(""));
    shop.config(&format!("[settings]\nmetrics_file = \"tagship.prom\"\n{config}"));
    for (code, status) in [(1, "rolled_back"), (0, "dead")] {
        shop.run(&["poll"]).code(code);
        let counted = |line: &&str| line.starts_with("tagship_targets{") && !line.ends_with(" 0");
        let metrics = shop.read("tagship.prom");
        let counted: Vec<&str> = metrics.lines().filter(counted).collect();
        assert_eq!(counted, [format!("tagship_targets{{status=\"{status}\"}} 1")]);
    }
}
