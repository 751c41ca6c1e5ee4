//! tagship dies at any moment: nothing is lost, nothing runs twice at once, the id stays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on_gitea};
use crate::http::{Reply, Server};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::run::Running;

/// A shop whose deployment of dev-43 will stay in its command until `stay` is removed.
fn staying(gitea: &Gitea) -> Shop {
    let shop = baselined(gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    shop
}

#[test]
fn an_interrupted_deployment_keeps_its_id() {
    let gitea = gitea(Build::GiteaNew);
    let shop = staying(&gitea);
    let poll = shop.start(&["poll"]);
    await_until("the command runs", || shop.exists("deliveries"));
    assert!(poll.kill().was_killed());

    // The orphaned command lives, and holds the target.
    for _ in 0..2 {
        shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "deploying");
    }
    assert_eq!(shop.deliveries().len(), 1, "no second one beside it");

    shop.remove("stay");
    await_until("the orphan is done", || shop.exists("completions"));
    // The script's end comes right after its last line: a poll that is too early says so.
    await_until("the interrupted deployment is resumed", || {
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(0);
        run.target("shop/dev")["status"] == "deployed"
    });

    let deliveries = shop.deliveries();
    assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/dev dev-43"]);
    assert_eq!(deliveries[0].id, deliveries[1].id);
    assert_eq!((deliveries[0].attempt, deliveries[1].attempt), (1, 2));
    shop.run(&["poll"]).code(0).silent();
}

#[test]
fn a_newer_tag_waits_for_the_orphaned_command() {
    let gitea = gitea(Build::GiteaNew);
    let shop = staying(&gitea);
    let poll = shop.start(&["poll"]);
    await_until("the command runs", || shop.exists("deliveries"));
    poll.kill();

    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-43"], "nothing beside it");

    shop.remove("stay");
    await_until("dev-44 is deployed", || {
        shop.run(&["poll"]);
        shop.status("shop/dev")["deployed_tag"] == "dev-44"
    });
    assert_eq!(shop.delivered().last().unwrap(), "shop/dev dev-44");
}

#[test]
fn an_interrupted_request_is_sent_again_under_its_id() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let stage = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    endpoint.then(Reply::Hang);
    let poll = shop.start(&["poll"]);
    endpoint.await_request();
    assert!(poll.kill().was_killed());

    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("idempotency-key"), requests[1].header("idempotency-key"));
    assert_eq!(requests[1].json()["attempt"], 2);
}

#[test]
fn a_second_poll_beside_the_first_starts_no_second_command() {
    let gitea = gitea(Build::GiteaNew);
    let shop = staying(&gitea);
    let poll = shop.start(&["poll"]);
    await_until("the command runs", || shop.exists("deliveries"));
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "deploying");
    shop.run(&["poll", "--strict"]).code(75);
    shop.remove("stay");
    poll.end().code(0).line("shop/dev", &["deployed", "dev-43"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
}

#[test]
fn a_daemon_that_a_command_leaves_behind_holds_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    // A child with the command's own standard input, as a careless daemon has it.
    shop.script(
        "deploy.sh",
        "(while [ -e daemon ]; do sleep 0.02; done) >/dev/null 2>&1 &\necho $TAGSHIP_TAG >> done\n",
    );
    shop.file("daemon", "");
    for tag in ["dev-43", "dev-44"] {
        gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", tag]);
    }
    assert_eq!(shop.read("done"), "dev-43\ndev-44\n");
}

#[test]
fn a_polite_end_stops_the_command_and_is_resumed() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let gitea = gitea(Build::GiteaNew);
        let shop = staying(&gitea);
        let poll = shop.start(&["poll"]);
        await_until("the command runs", || shop.exists("deliveries"));
        poll.signal(signal);
        poll.end().code(code);
        assert!(!shop.exists("completions"), "the command was ended");

        shop.remove("stay");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        let ids: BTreeSet<String> = shop.deliveries().into_iter().map(|delivery| delivery.id).collect();
        assert_eq!(ids.len(), 1);
    }
}

/// Sends TERM, and waits until it is received.
fn tell_to_end(poll: &Running<'_>) {
    poll.signal(Signal::TERM);
    let status = format!("/proc/{}/status", poll.id());
    await_until("it is received", || {
        std::fs::read_to_string(&status).is_ok_and(|status| status.contains("ShdPnd:\t0000000000000000"))
    });
}

/// As systemd stops a service: TERM for each of its processes. The command may be gone before tagship ends it.
#[test]
fn a_command_that_is_ended_together_with_tagship_is_resumed() {
    let receiver = Endpoint::start();
    let notify = format!("[[notify]]\nurl = \"{}\"\non = [\"failed\", \"dead\"]\n", receiver.url());
    let last_attempt = DEV.replace("retry = {", "retry = { attempts = 1,");
    for trap in ["", "trap 'exit 5' TERM\n"] {
        let gitea = gitea(Build::GiteaNew);
        let shop = staying(&gitea);
        shop.config(&format!("{}{notify}", on_gitea(&gitea, &last_attempt)));
        shop.script("deploy.sh", &format!("{trap}exec >/dev/null 2>&1\nuntil [ -e recorded ]; do :; done\necho $$ > leader\nwhile [ -e stay ]; do :; done\n"));
        let poll = shop.start(&["poll", "--format", "json"]);
        let leader = || shop.exists("leader").then(|| shop.read("leader").trim().parse().ok()).flatten();
        await_until("the command is recorded, and waited for", || {
            let recorded = "SELECT count(*) FROM attempt WHERE leader_id IS NOT NULL";
            let state = Connection::open(shop.path("state.db")).unwrap();
            state.query_row(recorded, [], |row| row.get(0)) == Ok(1)
        });
        shop.file("recorded", "");
        await_until("the command runs", || leader().is_some());
        tell_to_end(&poll);
        kill_process_group(Pid::from_raw(leader().unwrap()).unwrap(), Signal::TERM).unwrap();
        poll.end().code(143).status_is("shop/dev", "pending");
        shop.remove("stay");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        assert!(receiver.requests().is_empty());
    }
}

/// The machine goes down: tagship receives a signal, then the endpoint resets the connection.
#[test]
fn a_request_whose_endpoint_ends_together_with_tagship_is_resumed() {
    let gitea = gitea(Build::GiteaNew);
    let goes_down = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&goes_down);
    let endpoint = Server::start(move |_| {
        await_until("it goes down", || flag.load(Ordering::SeqCst));
        Reply::Reset
    });
    let stage = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\nretry = {{ attempts = 1 }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &stage);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let poll = shop.start(&["poll", "--format", "json"]);
    await_until("it is asked", || endpoint.connections() > 0);
    tell_to_end(&poll);
    goes_down.store(true, Ordering::SeqCst);
    poll.end().code(143).status_is("shop/dev", "pending");
}

#[test]
fn a_deployment_without_time_left_is_started_by_the_next_run() {
    let gitea = gitea(Build::GiteaNew);
    let slow = DEV.replace("\"./deploy.sh\"", "\"sleep\", \"1.5\"");
    let shop = baselined(&gitea, &format!("{slow}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--max-runtime", "1s", "--format", "json"]);
    run.code(0).status_is("shop/dev", "deployed").status_is("shop/prod", "pending");
    assert_eq!(shop.delivered(), [""; 0]);
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

/// No machine has room for such stacks, so that no thread can be started: as where a limit on processes is reached.
#[test]
fn a_machine_without_threads_is_said_and_nothing_is_begun() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.take_requests();
    let before = shop.contents();
    shop.env("RUST_MIN_STACK", "100000000000000");
    for command in [&["poll"][..], &["check", "--online"]] {
        shop.run(command).code(2).stderr_has("no thread can be started; check the limits");
    }
    assert!(shop.contents() == before);
    assert_eq!(gitea.take_requests(), [""; 0]);
}
