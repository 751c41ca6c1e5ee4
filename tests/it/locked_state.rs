//! Another process holds the state file: a run waits for it, and no longer than it may.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use crate::harness::{DEV, Shop, await_until, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::run::{Run, Running};

/// More than a signalled run takes to end on a busy machine; less than its wait for the state.
const SOON: Duration = Duration::from_secs(6);

/// The state file is locked until this is dropped.
fn lock(state: &Path) -> Connection {
    let state = Connection::open(state).unwrap();
    state.execute_batch("BEGIN EXCLUSIVE").unwrap();
    state
}

fn ends_at_once(running: Running<'_>) -> Run {
    let told = Instant::now();
    running.signal(Signal::TERM);
    let run = running.end();
    run.code(143);
    assert!(told.elapsed() < SOON, "{run:?}: {:?}", told.elapsed());
    run
}

/// Whether it would not be ended by SIGTERM itself any more.
fn catches_signals(running: &Running<'_>) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
}

const HELD: &str =
    "[dir]/state.db: another process holds it; the run reached its max_runtime, or was told to stop\n";

fn shop(gitea: &Gitea) -> Shop {
    let shop = baselined(gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop
}

#[test]
fn a_run_that_waits_for_the_state_ends_at_a_signal() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    for arguments in [
        &["poll"][..],
        &["poll", "--dry-run"],
        &["deploy", "shop/dev", "dev-43"],
        &["tags", "shop/dev"],
        &["check", "--online"],
    ] {
        let held = lock(&shop.path("state.db"));
        let running = shop.start(arguments);
        await_until("it catches signals", || catches_signals(&running));
        ends_at_once(running).stdout("").stderr(&format!("error: {HELD}"));
        drop(held);
    }
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_run_that_waits_for_the_state_ends_with_max_runtime() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    let held = lock(&shop.path("state.db"));
    for arguments in [&["poll"][..], &["poll", "--dry-run"]] {
        let begun = Instant::now();
        let run = shop.run(&[arguments, &["--max-runtime", "1s"]].concat());
        run.code(2).stdout("").stderr(&format!("error: {HELD}"));
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
    drop(held);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

/// The state is locked as soon as a request is sent: the decision cannot be recorded.
#[test]
fn a_run_that_cannot_record_its_decisions_ends() {
    for limit in ["600s", "1s"] {
        let gitea = crate::first_poll::gitea(Build::GiteaNew);
        let shop = shop(&gitea);
        let held: Arc<Mutex<Option<Connection>>> = Arc::default();
        let (holding, state) = (Arc::clone(&held), shop.path("state.db"));
        gitea.intercept(move |_| {
            holding.lock().unwrap().get_or_insert_with(|| lock(&state));
            None
        });
        let begun = Instant::now();
        let running = shop.start(&["poll", "--format", "json", "--max-runtime", limit]);
        if limit == "1s" {
            running.end().code(2).stderr_has(HELD);
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        } else {
            await_until("it has asked", || held.lock().unwrap().is_some());
            assert!(ends_at_once(running).json()["targets"].as_array().unwrap().is_empty());
        }
        gitea.recover();
        drop(held.lock().unwrap().take());
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    }
}

/// Nothing is known of what came of it.
#[test]
fn an_interrupted_deployment_that_cannot_be_recorded_is_pending() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    // That it does not count cannot be recorded either.
    shop.config(&on_gitea(&gitea, &DEV.replace("retry = {", "retry = { attempts = 1,")));
    shop.file("stay", "");
    let running = shop.start(&["poll", "--format", "json"]);
    await_until("it deploys", || shop.exists("deliveries"));
    let held = lock(&shop.path("state.db"));
    let run = ends_at_once(running);
    run.status_is("shop/dev", "pending");
    let target = run.target("shop/dev");
    assert!(target["error"].is_null(), "{target}");
    let reason = shop.redact(target["reason"].as_str().unwrap());
    let cannot = "; this cannot be recorded, so the next poll retries it with the same ID: ";
    assert!(format!("{reason}\n").ends_with(&format!("{cannot}{HELD}")), "{reason}");
    drop(held);
    shop.remove("stay");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let ids: Vec<String> = shop.deliveries().into_iter().map(|delivery| delivery.id).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1] && target["deployment"]["id"] == ids[0], "{ids:?}");
}

/// It may have succeeded, so that its last attempt is not the end of it.
#[test]
fn a_deployment_that_succeeds_and_cannot_be_recorded_is_tried_again() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    shop.config(&on_gitea(
        &gitea,
        &format!("{}on_failure = \"previous\"\n", DEV.replace("retry = {", "retry = { attempts = 1,")),
    ));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    let script = shop.read("deploy.sh");
    shop.script("deploy.sh", &format!("echo $$ > leader\n{}", script.trim_start_matches("#!/bin/sh\n")));
    shop.file("stay", "");
    let running = shop.start(&["poll", "--format", "json"]);
    await_until("it deploys", || shop.deliveries().len() == 2);
    let held = lock(&shop.path("state.db"));
    let leader = format!("/proc/{}", shop.read("leader").trim());
    shop.remove("stay");
    await_until("it is deployed, and waited for", || !Path::new(&leader).exists());
    let run = ends_at_once(running);
    run.status_is("shop/dev", "pending");
    let target = run.target("shop/dev");
    assert!(target["error"].is_null(), "{target}");
    assert!(target["reason"].as_str().unwrap().starts_with("dev-44 was deployed; this cannot be recorded"));
    drop(held);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    let deliveries = shop.deliveries();
    assert_eq!(deliveries.len(), 3);
    assert_eq!(deliveries[1].id, deliveries[2].id);
}

#[test]
fn a_deployment_is_recorded_once_the_state_is_unlocked() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    shop.file("stay", "");
    let running = shop.start(&["poll"]);
    await_until("it deploys", || shop.exists("deliveries"));
    let held = lock(&shop.path("state.db"));
    shop.remove("stay");
    await_until("it is deployed", || shop.exists("completions"));
    drop(held);
    running.end().code(0).line("shop/dev", &["deployed", "dev-43"]).stderr("");
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43");
}
