//! `status`, `history` and the page over the state files of several shards.

use std::fs;

use serde_json::Value;

use crate::first_poll::gitea;
use crate::harness::{PROD, Shop, on_gitea};
use crate::registry::{Build, Gitea};
use crate::run::Run;

/// The shard of an image depends on its host, and so on the port of the test: with this many images, one in a
/// million runs has all in one shard.
const PROJECTS: usize = 20;

/// Twenty projects and `shop` in two shards with a state each; every project runs v2.0.0, which a poll
/// deployed.
fn shards(gitea: &Gitea) -> Shop {
    let mut stages = PROD.to_owned();
    for project in projects() {
        gitea.push(&format!("acme/{project}"), "v1.0.0", "2026-11-20T10:00:00Z");
        let of_project = PROD.replace("projects.shop", &format!("projects.{project}"));
        let table = format!("\n[projects.{project}]\nregistry = \"git\"\nimage = \"acme/{project}\"\n");
        stages.push_str(&(table + &of_project));
    }
    let shop = Shop::with(&on_gitea(gitea, &stages));
    poll(&shop, 0);
    poll(&shop, 1);
    for project in projects() {
        gitea.push(&format!("acme/{project}"), "v2.0.0", "2026-11-20T11:00:00Z");
    }
    poll(&shop, 0);
    poll(&shop, 1);
    shop
}

fn projects() -> impl Iterator<Item = String> {
    (0..PROJECTS).map(|number| format!("p{number}"))
}

fn poll(shop: &Shop, shard: u32) {
    of_shard(shop, &[shard], &["poll", "--shard", &format!("{shard}/2")]).code(0);
}

fn of_shard(shop: &Shop, states: &[u32], arguments: &[&str]) -> Run {
    let config = shop.path("tagship.toml");
    let mut line = vec!["--config".to_owned(), config.to_str().unwrap().to_owned()];
    for state in states {
        line.extend(["--state".to_owned(), format!("shard-{state}.db")]);
    }
    let line: Vec<&str> = line.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    shop.run_bare(&line)
}

/// The state that each target is from, by its shard.
fn sources(rows: &Value) -> Vec<(String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("none").to_owned();
    let mut sources: Vec<(String, String)> =
        rows.as_array().unwrap().iter().map(|row| (text(row, "project"), text(row, "state_file"))).collect();
    sources.sort();
    sources
}

#[test]
fn status_shows_each_target_with_the_state_that_it_is_from() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shards(&gitea);
    let of_one = |shard: u32| {
        let polled = of_shard(
            &shop,
            &[shard],
            &["poll", "--dry-run", "--shard", &format!("{shard}/2"), "--format", "json"],
        );
        polled.code(0).targets()
    };
    let run = of_shard(&shop, &[0, 1], &["status", "--format", "json"]);
    let rows = sources(&run.code(0).json()["targets"]);
    assert_eq!(rows.len(), PROJECTS + 1);
    for shard in [0, 1] {
        let of_state: Vec<String> = rows
            .iter()
            .filter(|(_, state)| *state == format!("shard-{shard}.db"))
            .map(|(project, _)| format!("{project}/prod"))
            .collect();
        let mut polled = of_one(shard);
        polled.sort();
        assert_eq!(of_state, polled);
        assert!(!polled.is_empty());
    }
    // The order of the states does not matter, and each counts once.
    let again = of_shard(&shop, &[1, 0, 1], &["status", "--format", "json"]);
    assert_eq!(sources(&again.code(0).json()["targets"]), rows);

    let (project, state) = &rows[0];
    let table = of_shard(&shop, &[0, 1], &["status"]);
    table.code(0).says("TARGET STATUS NEWEST DEPLOYED PENDING CHECKED STATE");
    table.says(&format!("{project}/prod deployed v2.0.0 v2.0.0 ([duration] ago) - [duration] ago {state}"));
    of_shard(&shop, &[0, 1], &["status", &format!("{project}/prod")]).code(0).says(&format!("state {state}"));
    // One state alone needs no name.
    let run = of_shard(&shop, &[0], &["status", "--format", "json"]);
    assert!(sources(&run.code(0).json()["targets"]).iter().all(|(_, state)| state == "none"));
}

#[test]
fn a_target_that_changed_its_shard_is_shown_as_its_last_check_found_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shards(&gitea);
    // From one shard to two: shard 0 had all of them.
    fs::remove_file(shop.path("shard-0.db")).unwrap();
    of_shard(&shop, &[0], &["poll"]).code(0);
    gitea.push("acme/p0", "v3.0.0", "2026-11-20T12:00:00Z");
    let shard = if of_shard(&shop, &[1], &["poll", "--dry-run", "--shard", "1/2", "--format", "json"])
        .targets()
        .contains(&"p0/prod".to_owned())
    {
        1
    } else {
        0
    };
    poll(&shop, shard);
    let state = format!("shard-{shard}.db");
    for states in [[0, 1], [1, 0]] {
        let run = of_shard(&shop, &states, &["status", "p0", "--format", "json"]);
        let target = run.code(0).target("p0/prod");
        assert_eq!(
            (&target["deployed_tag"], &target["state_file"]),
            (&"v3.0.0".into(), &state.as_str().into())
        );
    }
}

#[test]
fn history_is_one_list_of_all_states() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shards(&gitea);
    let run = of_shard(&shop, &[0, 1], &["history", "--format", "json"]);
    let document = run.code(0).json();
    let deployments = document["deployments"].as_array().unwrap();
    assert_eq!(deployments.len(), PROJECTS);
    let times: Vec<&str> = deployments.iter().map(|past| past["created_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let states: Vec<String> = sources(&document["deployments"]).into_iter().map(|(_, state)| state).collect();
    assert!(states.contains(&"shard-0.db".to_owned()) && states.contains(&"shard-1.db".to_owned()));

    let newest = &deployments[0];
    let run = of_shard(&shop, &[0, 1], &["history", "--limit", "1"]);
    run.code(0).says(&format!("[id] {}", newest["state_file"].as_str().unwrap()));
    assert_eq!(
        run.stdout.lines().filter(|line| line.contains("v1.0.0 -> ") || line.contains("v2.0.0")).count(),
        1
    );

    let run = of_shard(&shop, &[0, 1], &["history", "--at", "1ms", "--format", "json"]);
    let ran = run.code(0).json();
    let known = sources(&ran["targets"]).into_iter().filter(|(_, state)| state != "none").count();
    assert_eq!(known, PROJECTS + 1, "{ran:#}");
    of_shard(&shop, &[0, 1], &["history", "--at", "1ms"]).code(0).says("TARGET TAG FROM UNTIL BY STATE");
}

#[test]
fn the_page_shows_all_states() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shards(&gitea);
    gitea.push("acme/p1", "v3.0.0", "2026-11-20T12:00:00Z");
    shop.file("fail", "");
    for shard in [0, 1] {
        of_shard(&shop, &[shard], &["poll", "--shard", &format!("{shard}/2")]);
    }
    let page = of_shard(&shop, &[0, 1], &["status", "--format", "html"]);
    page.code(0).stdout_has("from shard-0.db").stdout_has("from shard-1.db");
    page.stdout_has("the stage refused v3.0.0").stdout_has("21 recent deployments");
    of_shard(&shop, &[0, 1], &["status", "--exit-code"]).code(1);
}

#[test]
fn a_command_that_writes_takes_one_state() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shards(&gitea);
    gitea.take_requests();
    let before = shop.contents();
    for arguments in [
        &["poll"][..],
        &["poll", "--dry-run"],
        &["deploy", "p0/prod"],
        &["hold", "p0/prod"],
        &["mark", "p0/prod", "v1.0.0"],
        &["retry"],
        &["schedule", "cron"],
        &["tags", "p0/prod"],
    ] {
        of_shard(&shop, &[0, 1], arguments)
            .code(2)
            .stderr_has("error: '--state <FILE>' can be repeated for status and history only");
    }
    // clap would take those behind the command only.
    of_shard(&shop, &[0], &["poll", "--state", "shard-1.db"]).code(2).stderr_has("status and history only");
    for behind in [&["status", "--state", "shard-1.db"][..], &["history", "--state=shard-1.db"]] {
        of_shard(&shop, &[0], behind)
            .code(2)
            .stderr_has("error: write all '--state <FILE>' options before the command, or all after it");
    }
    of_shard(&shop, &[0], &["poll", "--config", "other.toml"])
        .code(2)
        .stderr_has("error: the argument '--config <FILE>' cannot be used multiple times");
    assert_eq!(gitea.take_requests(), [""; 0]);
    assert!(shop.contents() == before);
    // A message names a command that can be typed once the state of its row is known.
    for shard in [0, 1] {
        of_shard(&shop, &[shard], &["hold", "p0/prod"]);
    }
    of_shard(&shop, &[0, 1], &["status"]).code(0).stdout_has(" --state FILE release p0/prod");
}
