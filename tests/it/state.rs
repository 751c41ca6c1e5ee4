//! The state file: never a fresh start by accident.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// With a new tag waiting, this state file is exit 2, and nothing is asked, deployed or repaired.
fn refused(spoil: impl Fn(&Shop), word: &str) {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    spoil(&shop);
    let before = shop.contents();
    for command in [&["poll"][..], &["poll", "--dry-run"], &["status"], &["mark", "shop/dev", "dev-43"]] {
        shop.run(command).code(2).stdout("").stderr_has("state.db").stderr_has(word);
    }
    assert!(shop.contents() == before, "it is left as it is");
    assert_eq!(shop.delivered(), [""; 0]);
    assert_eq!(gitea.take_requests(), [""; 0]);
}

#[test]
fn a_corrupt_state_file_is_refused() {
    let text = "this was a state file until somebody edited it, and it is longer than a header. ".repeat(20);
    refused(|shop| shop.file("state.db", &text), "");
}

#[test]
fn a_damaged_page_is_refused() {
    refused(
        |shop| {
            let mut bytes = fs::read(shop.path("state.db")).unwrap();
            bytes[100..4096].fill(0xa5);
            fs::write(shop.path("state.db"), bytes).unwrap();
        },
        "damaged\n  help: name another file with --state; or move this one and",
    );
}

#[test]
fn an_empty_state_file_is_refused() {
    refused(|shop| shop.file("state.db", ""), "empty\n  help: name another file with --state; or");
}

/// SQLite takes one byte for none.
#[test]
fn a_state_file_shorter_than_its_header_is_refused() {
    for length in [1, 2, 16, 99] {
        let text = &"SQLite format 3\0".repeat(7)[..length];
        refused(|shop| shop.file("state.db", text), "not a state file of tagship");
        refused(|shop| shop.file("state.db", &"\0".repeat(length)), "not a state file of tagship");
    }
}

#[test]
fn a_state_file_without_tables_is_refused() {
    refused(
        |shop| {
            shop.remove("state.db");
            Connection::open(shop.path("state.db")).unwrap().execute_batch("VACUUM").unwrap();
        },
        "",
    );
}

#[test]
fn a_state_file_of_a_newer_tagship_is_refused() {
    refused(
        |shop| {
            let connection = Connection::open(shop.path("state.db")).unwrap();
            connection.pragma_update(None, "user_version", 127).unwrap();
        },
        "newer",
    );
}

#[test]
fn a_state_file_of_something_else_is_refused() {
    refused(
        |shop| {
            shop.remove("state.db");
            let connection = Connection::open(shop.path("state.db")).unwrap();
            connection
                .execute_batch("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x');")
                .unwrap();
        },
        "",
    );
}

/// Root can write whatever the mode says, so the folder is taken away instead.
#[test]
fn a_state_file_that_cannot_be_made_stops_everything() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, &format!("{DEV}first_poll = \"deploy\"\n")));
    shop.file("not-a-folder", "");
    let config = shop.path("tagship.toml");
    let state = shop.path("not-a-folder/state.db");
    let run =
        shop.run_bare(&["--config", config.to_str().unwrap(), "--state", state.to_str().unwrap(), "poll"]);
    run.code(2).stdout("").stderr_has("not-a-folder");
    assert_eq!(shop.delivered(), [""; 0]);
    assert_eq!(gitea.take_requests(), [""; 0]);
}

/// As a kill in the middle of a transaction leaves it: pages in the file, and the journal that undoes them.
fn half_write(shop: &Shop) {
    let whole = Connection::open(shop.path("state.db")).unwrap();
    whole.execute_batch("PRAGMA cache_size = 1; BEGIN; DELETE FROM poll_state;").unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                INSERT INTO registry SELECT 'https://' || i, '2026-11-20', '2026-11-20' FROM n";
    whole.execute(fill, []).unwrap();
    for name in ["state.db", "state.db-journal"] {
        fs::copy(shop.path(name), shop.path(&format!("killed-{name}"))).unwrap();
    }
    whole.execute_batch("ROLLBACK").unwrap();
    drop(whole);
    for name in ["state.db", "state.db-journal"] {
        fs::rename(shop.path(&format!("killed-{name}")), shop.path(name)).unwrap();
    }
}

#[test]
fn the_next_reader_undoes_an_unfinished_write_of_a_killed_run() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    let before = shop.status("shop/dev");
    for command in [&["status"][..], &["history"], &["tags", "shop/dev", "--offline"], &["poll", "--dry-run"]]
    {
        half_write(&shop);
        assert!(shop.exists("state.db-journal"));
        shop.run(command).code(0);
        assert!(!shop.exists("state.db-journal"), "{command:?}");
        assert_eq!(shop.status("shop/dev"), before);
    }
}

#[test]
fn state_none_keeps_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let stage = format!("{PROD}first_poll = \"deploy\"\n");
    let shop = Shop::with(&format!("[settings]\nstate = \"none\"\n{}", on_gitea(&gitea, &stage)));
    let config = shop.path("tagship.toml");
    for _ in 0..2 {
        let run = shop.run_bare(&["--config", config.to_str().unwrap(), "poll"]);
        run.code(0).line("shop/prod", &["deployed", "v1.10.0"]);
    }
    assert_eq!(shop.delivered(), ["shop/prod v1.10.0"; 2]);
    assert!(!shop.contents().iter().any(|(file, _)| file.extension().is_some_and(|end| end == "db")));
}

#[test]
fn state_none_warns_that_the_next_poll_undoes_a_manual_deployment() {
    let gitea = gitea(Build::GiteaNew);
    let stage = format!("{PROD}first_poll = \"deploy\"\n");
    let shop = Shop::with(&format!("[settings]\nstate = \"none\"\n{}", on_gitea(&gitea, &stage)));
    let run = |arguments: &[&str]| shop.run_bare(&[&["--config", "tagship.toml"], arguments].concat());
    let warning = "warning: state = \"none\" keeps nothing between runs, so nothing holds shop/prod: \
                   the next poll deploys a newer tag if there is one\n";
    run(&["deploy", "shop/prod", "v1.9.0"]).code(0).stderr(warning);
    run(&["poll"]).code(0);
    run(&["deploy", "shop/prod", "v1.9.0", "--no-hold"]).code(0).stderr("");
    run(&["deploy", "shop/prod"]).code(0).stderr("");
    assert_eq!(
        shop.delivered(),
        ["v1.9.0", "v1.10.0", "v1.9.0", "v1.10.0"].map(|tag| format!("shop/prod {tag}"))
    );
    shop.config(&shop.read("tagship.toml").replace("order", "auto_deploy = false\norder"));
    run(&["deploy", "shop/prod", "v1.9.0"]).code(0).stderr("");
}

#[test]
fn state_none_without_first_poll_deploy_would_never_deploy() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&format!("[settings]\nstate = \"none\"\n{}", on_gitea(&gitea, PROD)));
    let config = shop.path("tagship.toml");
    shop.run_bare(&["--config", config.to_str().unwrap(), "check"]).code(2).stderr_has("first_poll");
}

#[test]
fn the_folder_of_the_locks_is_for_its_owner_only() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    let folder = shop.path("state.db.locks");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for lock in fs::read_dir(folder).unwrap() {
        assert_eq!(lock.unwrap().metadata().unwrap().len(), 0, "locks are empty files");
    }
}

#[test]
fn a_target_that_left_the_configuration_is_named_once() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    shop.config(&on_gitea(&gitea, DEV));
    shop.run(&["poll"]).code(0).stdout("").stderr_has("shop/prod");
    shop.run(&["poll"]).code(0).silent();
}

/// 200 rounds of two polls at once belong to a later part; a few show the way.
#[test]
fn overlapping_polls_deploy_each_tag_once() {
    let gitea: Gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    let mut expected = Vec::new();
    for number in 43..53 {
        gitea.push("acme/shop", &format!("dev-{number}"), &format!("2026-11-20T11:00:{number}Z"));
        expected.push(format!("shop/dev dev-{number}"));
        let (one, other) = (shop.start(&["poll"]), shop.start(&["poll"]));
        one.end().code(0);
        other.end().code(0);
    }
    assert_eq!(shop.delivered(), expected);
}

#[test]
fn an_empty_folder_for_the_state_is_none() {
    let mut shop = Shop::new();
    shop.env("STATE_DIRECTORY", "");
    shop.file("state.db", "somebody else's");
    shop.file("etc/tagship.toml", &on("gitea", "https://git.example.test", PROD));
    shop.run_bare(&["--config", "etc/tagship.toml", "status"]).code(0).line("shop/prod", &["not polled yet"]);
}

#[test]
fn where_nothing_is_kept_nothing_can_be_held_marked_or_tried_again() {
    let stage = PROD.replace("order", "first_poll = \"deploy\"\norder");
    let config = on("gitea", "https://git.example.test", &stage);
    let shop = Shop::with(&format!("[settings]\nstate = \"none\"\n{config}"));
    for (arguments, lost) in [
        (&["hold", "shop/prod"][..], "the hold would be lost"),
        (&["release", "shop/prod"], "the hold would be lost"),
        (&["mark", "shop/prod", "v1.0.0"], "the mark would be lost"),
        (&["retry", "shop/prod"], "it has no failed deployments"),
    ] {
        shop.run_bare(&[&["--config", "tagship.toml"], arguments].concat())
            .code(2)
            .stdout("")
            .stderr(&format!("error: state = \"none\" keeps nothing between runs: {lost}\n"));
    }
}
