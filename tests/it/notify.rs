//! Notifications go through the outbox: once, by this run or a later one, and never at the cost of the run.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, Shop, await_until, on_gitea};
use crate::http::{Answer, Reply};
use crate::registry::{Build, Gitea};

/// dev by deploy.sh; the endpoint receives the events `on`.
fn config(gitea: &Gitea, receiver: &Endpoint, stages: &str, notify: &str) -> String {
    let url = receiver.url();
    let head = format!(
        "[[notify]]\nurl = \"{url}/tell\"\njson = {{ target = \"{{target}}\", status = \"{{status}}\", \
         tag = \"{{tag}}\", before = \"{{previous_tag}}\", error = \"{{error}}\", id = \"{{deployment_id}}\" }}\n{notify}\n"
    );
    format!("{}{head}", on_gitea(gitea, stages))
}

const EVERYTHING: &str =
    "on = [\"failed\", \"dead\", \"recovered\", \"deployed\", \"available\", \"unknown\"]";

fn polled(gitea: &Gitea, receiver: &Endpoint, stages: &str, notify: &str) -> Shop {
    let shop = Shop::with(&config(gitea, receiver, stages, notify));
    shop.run(&["poll"]).code(0);
    shop
}

/// `shop/dev deployed dev-43` for each that came.
fn notified(receiver: &Endpoint) -> Vec<String> {
    let say = |body: &Value| {
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        format!("{} {} {}", text("target"), text("status"), text("tag"))
    };
    receiver.requests().iter().map(|request| say(&request.json())).collect()
}

#[test]
fn a_deployment_is_notified_once() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let shop = polled(&gitea, &receiver, DEV, EVERYTHING);
    assert!(notified(&receiver).is_empty(), "a baseline is no news for a team");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(notified(&receiver), ["shop/dev deployed dev-43"]);
    let body = receiver.requests()[0].json();
    assert_eq!(body["before"], "", "what a first poll found is not known to run");
    assert_eq!(body["id"], shop.deliveries()[0].id.as_str());
    assert_eq!(body["error"], "");
}

#[test]
fn a_failure_is_notified_once_then_its_end() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stage = DEV.replace("retry = {", "retry = { attempts = 3,");
    let shop = polled(&gitea, &receiver, &stage, EVERYTHING);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    for _ in 0..3 {
        shop.run(&["poll"]).code(1);
    }
    shop.run(&["poll"]).code(0);
    assert_eq!(notified(&receiver), ["shop/dev failed dev-43", "shop/dev dead dev-43"]);
    let error = receiver.requests()[0].json()["error"].as_str().unwrap().to_owned();
    assert_eq!(error, "command: ./deploy.sh exited with status 7: the stage refused dev-43");

    // A person tried to repair it.
    shop.run(&["retry"]).code(0);
    for _ in 0..3 {
        shop.run(&["poll"]).code(1);
    }
    assert_eq!(notified(&receiver)[2..], ["shop/dev dead dev-43"]);

    shop.remove("fail");
    shop.run(&["retry"]).code(0);
    shop.run(&["poll"]).code(0);
    assert_eq!(notified(&receiver)[3..], ["shop/dev recovered dev-43", "shop/dev deployed dev-43"]);
}

#[test]
fn only_the_configured_events_and_targets_are_notified() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stages = format!("{DEV}{}", DEV.replace("stages.dev", "stages.test"));
    let notify = "on = [\"deployed\"]\ntargets = [\"*/test\"]";
    let shop = polled(&gitea, &receiver, &stages, notify);
    shop.file("fail", "");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(1);
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    assert_eq!(notified(&receiver), ["shop/test deployed dev-43"]);
}

#[test]
fn an_available_tag_is_notified_once() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stage = DEV.replace("order", "auto_deploy = false\norder");
    let shop = polled(&gitea, &receiver, &stage, EVERYTHING);
    for tag in ["dev-43", "dev-44"] {
        gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
        for _ in 0..2 {
            shop.run(&["poll"]).code(0);
        }
    }
    assert_eq!(notified(&receiver), ["shop/dev available dev-43", "shop/dev available dev-44"]);
}

/// The tag is always the same, and the last image is one that was there before.
#[test]
fn each_image_of_a_moving_tag_is_available_once() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let edge = "tags = \"edge\"\norder = \"newest\"\ndigest = true\nauto_deploy = false";
    let stage = DEV.replace("tags = \"dev-*\"\norder = \"newest\"", edge);
    for (content, second) in [("a", 0), ("b", 1), ("c", 2)] {
        gitea.push("acme/shop", content, &format!("2026-11-20T10:00:0{second}Z"));
    }
    gitea.retag("acme/shop", "edge", "a", "2026-11-20T10:01:00Z");
    let notify = "on = [\"available\"]";
    let json = "id = \"{deployment_id}\"";
    let config = config(&gitea, &receiver, &stage, notify).replace(json, "digest = \"{digest}\"");
    let shop = Shop::with(&config);
    shop.run(&["poll"]).code(0);
    let mut told = Vec::new();
    for (minute, content) in [(2, "b"), (3, "c"), (4, "b")] {
        gitea.delete("acme/shop", "edge");
        gitea.retag("acme/shop", "edge", content, &format!("2026-11-20T10:0{minute}:00Z"));
        shop.run(&["poll", "--format", "json"]).code(0);
        shop.run(&["poll"]).code(0).line("shop/dev", &["available", "edge"]);
        shop.run(&["poll"]).code(0).silent();
        told.push(gitea.digest("acme/shop", content));
    }
    let sent = receiver.requests();
    let sent: Vec<_> = sent.iter().map(|sent| sent.json()["digest"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sent, told);
}

/// Hours by faketime: a lasting outage is notified once, and so is its end.
#[test]
#[ignore = "needs faketime"]
fn a_long_outage_and_its_end_are_notified() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let shop = polled(&gitea, &receiver, DEV, EVERYTHING);
    let good = shop.read("tagship.toml");
    shop.config(&good.replace("acme/shop", "acme/gone"));
    shop.run(&["poll"]).code(1);
    shop.run_under(&["faketime", "-f", "+59m"], &["poll"]).code(1);
    assert!(notified(&receiver).is_empty());
    shop.run_under(&["faketime", "-f", "+61m"], &["poll"]).code(1);
    shop.run_under(&["faketime", "-f", "+62m"], &["poll"]).code(1);
    assert_eq!(notified(&receiver), ["shop/dev unknown dev-42"]);
    assert!(receiver.requests()[0].json()["error"].as_str().unwrap().starts_with("not_found: "));
    shop.config(&good);
    shop.run_under(&["faketime", "-f", "+63m"], &["poll"]).code(0);
    assert_eq!(notified(&receiver)[1..], ["shop/dev recovered dev-42"]);

    // A short one is not worth a word.
    shop.config(&good.replace("acme/shop", "acme/gone"));
    shop.run_under(&["faketime", "-f", "+64m"], &["poll"]).code(1);
    shop.config(&good);
    shop.run_under(&["faketime", "-f", "+65m"], &["poll"]).code(0);
    assert_eq!(notified(&receiver).len(), 2);
}

#[test]
#[ignore = "needs faketime"]
fn an_unavailable_receiver_is_notified_later_and_fails_no_run() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let shop = polled(&gitea, &receiver, DEV, EVERYTHING);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    receiver.then(Answer::new(503, "text/plain", "down"));
    let run = shop.run(&["poll"]);
    run.code(0).line("shop/dev", &["deployed", "dev-43"]);
    run.shows("could not send the shop/dev deployed notification; will retry");
    // Not before its time, and without another word.
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(receiver.requests().len(), 1);
    receiver.then(Reply::Reset);
    shop.run_under(&["faketime", "-f", "+2m"], &["poll"]).code(0).silent();
    shop.run_under(&["faketime", "-f", "+6m"], &["poll"]).code(0).silent();
    shop.run_under(&["faketime", "-f", "+30m"], &["poll"]).code(0).silent();
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    let ids: Vec<_> = requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
}

/// A port with a typing error: what waits for it is sent to the right one, and to no other.
#[test]
fn a_corrected_url_receives_what_waits_and_a_removed_receiver_is_named() {
    let gitea = gitea(Build::GiteaNew);
    let [receiver, other] = [Endpoint::start(), Endpoint::start()];
    let right = config_of_all(&gitea, &[&other, &receiver], "");
    let wrong = right.replace(&receiver.url(), "http://127.0.0.1:1");
    let shop = Shop::with(&wrong);
    shop.run(&["poll"]).code(0);
    let lost = "the shop/dev deployed notification was not sent: its url or command is no longer in the configuration";
    for (tag, config, told) in [("dev-43", &right, 1), ("dev-44", &config_of_all(&gitea, &[&other], ""), 1)] {
        shop.config(&wrong);
        gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
        shop.run(&["poll"]).code(0).shows("could not send the shop/dev deployed notification; will retry");
        shop.config(config);
        let run = shop.run(&["poll"]);
        run.code(0);
        if config == &right {
            run.silent()
        } else {
            run.stderr_has(lost)
        };
        shop.run(&["poll"]).code(0).silent();
        assert_eq!(receiver.requests().len(), told, "{tag}");
    }
    assert_eq!(other.requests().len(), 2, "each deployment once");
}

/// Killed between the outcome and the notification: the next run tells it.
#[test]
fn a_notification_outlives_tagship() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let shop = polled(&gitea, &receiver, DEV, EVERYTHING);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    receiver.then(Reply::Hang);
    let poll = shop.start(&["poll"]);
    receiver.await_request();
    poll.kill();
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(notified(&receiver), ["shop/dev deployed dev-43", "shop/dev deployed dev-43"]);
    let requests = receiver.requests();
    assert_eq!(requests[0].header("idempotency-key"), requests[1].header("idempotency-key"));
}

#[test]
fn a_command_can_notify_and_secrets_are_masked() {
    let gitea = gitea(Build::GiteaNew);
    let notify = "[[notify]]\non = [\"failed\"]\ncommand = [\"./tell.sh\", \"{target}\", \"{status}\"]\n\
                  env = { ERROR = \"{error}\" }\n";
    let stage = DEV.replace(
        "deploy = { command = [\"./deploy.sh\"] }",
        "deploy = { command = [\"./leak.sh\"], env = { KEY = \"{secret.key}\" } }",
    );
    let secrets = "[secrets]\nkey = { file = \"secret/key\" }\n";
    let shop = Shop::with(&format!("{}{secrets}{notify}", on_gitea(&gitea, &stage)));
    shop.secret("key", "planted-key");
    shop.script("leak.sh", "echo \"with $KEY\"\nexit 1\n");
    shop.script("tell.sh", "echo \"$1 $2 $ERROR\" >> told\n");
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(1);
    await_until("it is told", || shop.exists("told"));
    assert_eq!(shop.read("told"), "shop/dev failed command: ./leak.sh exited with status 1: with ***\n");
}

#[test]
fn a_dry_run_sends_no_notification() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stage = DEV.replace("order", "auto_deploy = false\norder");
    let shop = polled(&gitea, &receiver, &stage, EVERYTHING);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll", "--dry-run"]).code(0);
    assert!(receiver.requests().is_empty());
}

/// One entry of `[[notify]]` for each.
fn config_of_all(gitea: &Gitea, receivers: &[&Endpoint], settings: &str) -> String {
    let notify =
        |receiver: &&Endpoint| format!("[[notify]]\non = [\"deployed\"]\nurl = \"{}\"\n", receiver.url());
    let notify: String = receivers.iter().map(notify).collect();
    format!("[settings]\n{settings}\n{}{notify}", on_gitea(gitea, DEV))
}

/// One after another they would keep the run for 80 s, longer than it is waited for.
#[test]
fn receivers_that_hang_delay_no_other_and_the_run_only_briefly() {
    let gitea = gitea(Build::GiteaNew);
    let hanging: Vec<Endpoint> = (0..8).map(|_| Endpoint::start()).collect();
    let well = Endpoint::start();
    let all: Vec<&Endpoint> = hanging.iter().chain([&well]).collect();
    let shop = Shop::with(&config_of_all(&gitea, &all, "max_runtime = \"5s\""));
    shop.run(&["poll"]).code(0);
    hanging.iter().for_each(|receiver| receiver.then(Reply::Hang));
    for tag in ["dev-43", "dev-44"] {
        gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", tag]);
    }
    assert_eq!(well.requests().len(), 2);
    // The receiver that hung is notified later, the ones after it at once.
    assert!(hanging.iter().all(|receiver| receiver.requests().len() == 2));
    shop.run_under(&["faketime", "-f", "+5m"], &["poll"]).code(0);
    for receiver in &hanging {
        let requests = receiver.requests();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[0].header("idempotency-key"), requests[2].header("idempotency-key"));
    }
}

#[test]
fn a_receiver_that_hangs_is_not_sent_the_rest_in_the_same_run() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stages = format!("{DEV}{}", DEV.replace("stages.dev", "stages.test"));
    let notify = "on = [\"deployed\"]\ntimeout = \"1s\"";
    let shop = polled(&gitea, &receiver, &stages, notify);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    receiver.then(Reply::Hang);
    shop.run(&["poll"]).code(0);
    assert_eq!(receiver.requests().len(), 1);
    shop.run(&["poll"]).code(0);
    assert_eq!(notified(&receiver), ["shop/dev deployed dev-43", "shop/test deployed dev-43"]);
}

/// It ended after ten seconds for each receiver.
#[test]
fn a_signal_ends_a_run_whose_receivers_hang_and_a_later_run_tells_them() {
    let gitea = gitea(Build::GiteaNew);
    let receivers = [Endpoint::start(), Endpoint::start()];
    let shop = Shop::with(&config_of_all(&gitea, &[&receivers[0], &receivers[1]], ""));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    receivers.iter().for_each(|receiver| receiver.then(Reply::Hang));
    let poll = shop.start(&["poll"]);
    receivers.iter().for_each(Endpoint::await_request);
    let told_to_stop = Instant::now();
    poll.signal(Signal::TERM);
    poll.end().code(143).line("shop/dev", &["deployed", "dev-43"]);
    assert!(told_to_stop.elapsed() < Duration::from_secs(9), "{:?}", told_to_stop.elapsed());
    shop.run(&["poll"]).code(0).silent();
    assert!(receivers.iter().all(|receiver| receiver.requests().len() == 2));
}

/// What stands in the message, for a stage that waits for a manual deployment.
#[test]
fn a_notification_has_its_time_and_the_page_of_its_tag() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stage = DEV.replace("order", "auto_deploy = false\norder");
    let notify = format!(
        "[[notify]]\non = [\"available\"]\nurl = \"{}/tell\"\nbody = \"{{time}} {{url}}\"\n",
        receiver.url()
    );
    let shop = Shop::with(&format!("{}{notify}", on_gitea(&gitea, &stage)));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    let body = String::from_utf8(receiver.requests()[0].body.clone()).unwrap();
    let (time, page) = body.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(page, format!("{}/acme/-/packages/container/shop/dev-43", gitea.url()));
}

#[test]
fn a_batch_is_one_message_a_run_and_is_sent_again_as_it_was() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stages = format!("{DEV}{}", DEV.replace("stages.dev", "stages.test"));
    let notify = format!(
        "[[notify]]\non = [\"failed\", \"dead\"]\nbatch = true\nurl = \"{}/tell\"\nbody = \"{{count}}\\n{{lines}}\"\n",
        receiver.url()
    );
    let shop = Shop::with(&format!("{}{notify}", on_gitea(&gitea, &stages)));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    receiver.then(Answer::new(503, "text/plain", "down"));
    let run = shop.run(&["poll"]);
    run.code(1).shows("could not send the shop/dev failed (and 1 more) notification; will retry");
    let state = rusqlite::Connection::open(shop.path("state.db")).unwrap();
    let moments = "SELECT count(DISTINCT next_attempt_at) FROM notification";
    assert_eq!(state.query_row(moments, [], |row| row.get::<_, u32>(0)).unwrap(), 1);
    state.execute("UPDATE notification SET next_attempt_at = NULL, failed_at = NULL", []).unwrap();
    drop(state);
    shop.remove("fail");
    shop.run(&["poll"]).code(0);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[0].header("idempotency-key"), requests[1].header("idempotency-key"));
    let error = "dev-43 command: ./deploy.sh exited with status 7: the stage refused dev-43";
    let body = String::from_utf8(requests[0].body.clone()).unwrap();
    assert_eq!(body, format!("2\nshop/dev failed: {error}\nshop/test failed: {error}"));
}

#[test]
fn a_batch_without_a_body_has_its_lines_and_a_long_one_says_how_many_more() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stages: String =
        (0..40).map(|number| DEV.replace("stages.dev", &format!("stages.s{number:02}"))).collect();
    let notify =
        format!("[[notify]]\non = [\"deployed\"]\nbatch = true\nurl = \"{}/tell\"\n", receiver.url());
    let tag = format!("dev-{}", "9".repeat(100));
    let shop = Shop::with(&format!("{}{notify}", on_gitea(&gitea, &stages)));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", &tag, "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    let [request] = receiver.requests().try_into().unwrap();
    let body = request.json();
    let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["count", "lines", "time"]);
    assert_eq!(body["count"], 40);
    let lines: Vec<&str> = body["lines"].as_str().unwrap().lines().collect();
    assert_eq!(lines[0], format!("shop/s00 deployed: {tag}"));
    assert_eq!(*lines.last().unwrap(), format!("and {} more", 40 - (lines.len() - 1)));
    assert!(body["lines"].as_str().unwrap().chars().count() <= 1_820);
}

#[test]
fn a_batch_knows_no_single_event_and_an_event_no_batch() {
    let gitea = gitea(Build::GiteaNew);
    for (notify, fault) in [
        ("batch = true\nbody = \"{count} {tag}\"", "{tag} is about one event, but a batch has several"),
        ("batch = true\nbody = \"{error}\"", "{error}"),
        ("body = \"{lines}\"", "{lines}"),
    ] {
        let notify = format!("[[notify]]\non = [\"failed\"]\nurl = \"http://127.0.0.1:9/\"\n{notify}\n");
        let shop = Shop::with(&format!("{}{notify}", on_gitea(&gitea, DEV)));
        shop.run(&["check"]).code(2).stderr_has(fault);
    }
}

/// Two chats behind the same url: the second received nothing, and the first everything.
#[test]
fn receivers_of_the_same_url_are_two_receivers() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let chat = |number: u32| {
        format!(
            "[[notify]]\non = [\"deployed\"]\nurl = \"{}/tell\"\njson = {{ chat = \"{number}\" }}\n",
            receiver.url()
        )
    };
    let shop = Shop::with(&format!("{}{}{}", on_gitea(&gitea, DEV), chat(1), chat(2)));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    let mut chats: Vec<String> =
        receiver.requests().iter().map(|request| request.json()["chat"].to_string()).collect();
    chats.sort();
    assert_eq!(chats, ["\"1\"", "\"2\""]);
}

#[test]
fn check_tests_each_receiver_and_tells_which_fails() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let url = receiver.url();
    let notify = format!(
        "[[notify]]\non = [\"dead\"]\nurl = \"{url}/a\"\nbody = \"{{target}} {{status}}: {{tag}} {{error}}\"\n\
         [[notify]]\non = [\"dead\"]\nurl = \"{url}/b\"\n"
    );
    let shop = Shop::with(&format!("{}{notify}", on_gitea(&gitea, DEV)));
    shop.run(&["check"]).code(0).stderr("");
    assert!(receiver.requests().is_empty());
    let run = shop.run(&["check", "--notify"]);
    run.code(0)
        .stdout_has("notify[0]  ok      sent a test message\nnotify[1]  ok      sent a test message\n");
    let body = receiver.requests()[0].body.clone();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "shop/dev test: test this is a test message of tagship check --notify"
    );
    receiver.then(Answer::new(204, "", ""));
    receiver.then(Answer::new(404, "text/plain", "no such topic"));
    let run = shop.run(&["check", "--notify"]);
    run.code(1)
        .stdout_has("notify[0]  ok")
        .stdout_has("notify[1]  failed  POST http://127.0.0.1:[port]/b: 404 Not Found: no such topic");
    assert!(!shop.exists("state.db"), "a test is not an event");

    shop.config(&on_gitea(&gitea, DEV));
    shop.run(&["check", "--notify"])
        .code(0)
        .stderr_has("nothing to test: the configuration has no [[notify]]");
}

#[test]
fn json_as_a_text_is_a_lint() {
    let gitea = gitea(Build::GiteaNew);
    let notify =
        "[[notify]]\non = [\"dead\"]\nurl = \"http://127.0.0.1:9/\"\nbody = '{\"text\": \"{error}\"}'\n";
    let shop = Shop::with(&format!("{}{notify}", on_gitea(&gitea, DEV)));
    let lint = r#"notify[0]: body is JSON, and a quote or a line feed in {error} would break it; write json = { text = "{error}" }"#;
    shop.run(&["check"]).code(0).stderr_has(lint);
}
