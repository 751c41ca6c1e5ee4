//! A copy over the state after a kill in the middle of a commit: the journal that is left is never played into a
//! file that it does not belong to, and always into the one it belongs to.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::first_poll::gitea;
use crate::harness::{DEV, Shop, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::tracer::trace;

const FILES: [&str; 2] = ["state.db", "state.db-journal"];

/// As a kill in the middle of a commit leaves it: `is_begun`, with pages of the transaction in the file.
fn kill_in_commit(shop: &Shop, is_begun: bool) {
    let before = fs::read(shop.path("state.db")).unwrap();
    let connection = Connection::open(shop.path("state.db")).unwrap();
    connection.execute_batch("PRAGMA cache_size = 1; BEGIN; DELETE FROM poll_state;").unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                INSERT INTO registry SELECT 'https://' || i, '2026-11-20', '2026-11-20' FROM n";
    connection.execute(fill, []).unwrap();
    for name in FILES {
        fs::copy(shop.path(name), shop.path(&format!("killed-{name}"))).unwrap();
    }
    connection.execute_batch("ROLLBACK").unwrap();
    drop(connection);
    for name in FILES {
        fs::rename(shop.path(&format!("killed-{name}")), shop.path(name)).unwrap();
    }
    if !is_begun {
        fs::write(shop.path("state.db"), before).unwrap();
    }
}

/// A shop with a copy of its state from before dev-43, which it runs.
fn with_backup(gitea: &Gitea) -> Shop {
    let shop = baselined(gitea, DEV);
    fs::copy(shop.path("state.db"), shop.path("backup.db")).unwrap();
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    shop
}

/// Neither file is touched, and nothing is done.
fn is_refused(shop: &Shop, word: &str) {
    let before = shop.contents();
    let delivered = shop.delivered();
    for command in
        [&["poll"][..], &["poll", "--dry-run"], &["status"], &["check"], &["mark", "shop/dev", "dev-43"]]
    {
        shop.run(command).code(2).stdout("").stderr_has("state.db-journal").stderr_has(word);
    }
    assert!(shop.contents() == before, "it is left as it is");
    assert_eq!(shop.delivered(), delivered);
}

fn integrity(path: &Path) -> String {
    Connection::open(path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_journal_is_not_played_into_a_copy_from_before() {
    for is_begun in [false, true] {
        let gitea = gitea(Build::GiteaNew);
        let shop = with_backup(&gitea);
        kill_in_commit(&shop, is_begun);
        fs::copy(shop.path("backup.db"), shop.path("state.db")).unwrap();
        is_refused(&shop, "does not belong");

        // As the message says.
        fs::create_dir(shop.path("aside")).unwrap();
        for name in FILES {
            fs::rename(shop.path(name), shop.path(&format!("aside/{name}"))).unwrap();
        }
        fs::copy(shop.path("backup.db"), shop.path("state.db")).unwrap();
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        assert_eq!(integrity(&shop.path("state.db")), "ok");
    }
}

/// A real run, killed at each of its writes to the state file.
#[test]
fn a_copy_over_the_state_of_a_run_that_was_killed_while_it_wrote_is_refused_or_used_as_it_is() {
    let gitea = gitea(Build::GiteaNew);
    let scene = || {
        let shop = with_backup(&gitea);
        shop.run(&["hold", "shop/dev"]).code(0);
        shop
    };
    let hold = ["release", "shop/dev"];
    let (run, points) = trace(&scene(), &hold, None);
    run.code(0);
    let mut refused = 0;
    for point in points.iter().filter(|point| point.call.contains("state.db")) {
        let shop = scene();
        let (run, _) = trace(&shop, &hold, Some(point));
        assert!(run.was_killed(), "{point}: {run:?}");
        // The journal still belongs to the file as it was left.
        for name in FILES.into_iter().filter(|name| shop.exists(name)) {
            fs::copy(shop.path(name), shop.path(&format!("left-{name}"))).unwrap();
        }
        shop.run(&["status"]).code(0);
        assert_eq!(integrity(&shop.path("state.db")), "ok", "{point}");
        for name in FILES.into_iter().filter(|name| shop.exists(&format!("left-{name}"))) {
            fs::copy(shop.path(&format!("left-{name}")), shop.path(name)).unwrap();
        }
        fs::copy(shop.path("backup.db"), shop.path("state.db")).unwrap();
        let run = shop.run(&["status"]);
        refused += usize::from(run.has_code(2));
        assert!(run.has_code(0) || run.has_code(2), "{point}: {run:?}");
        assert!(
            fs::read(shop.path("state.db")).unwrap() == fs::read(shop.path("backup.db")).unwrap(),
            "{point}"
        );
    }
    assert!(refused > 0);
}

/// The copies of two histories may have come to the same number of commits.
#[test]
fn a_journal_is_not_played_into_a_copy_of_another_history() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_backup(&gitea);
    let hold = |shop: &Shop| {
        shop.run(&["hold", "shop/dev"]).code(0);
        shop.run(&["release", "shop/dev"]).code(0);
    };
    let counter = |path: &Path| u32::from_be_bytes(fs::read(path).unwrap()[24..28].try_into().unwrap());
    fs::copy(shop.path("state.db"), shop.path("common.db")).unwrap();
    hold(&shop);
    fs::copy(shop.path("state.db"), shop.path("one.db")).unwrap();
    fs::copy(shop.path("common.db"), shop.path("state.db")).unwrap();
    hold(&shop);
    assert_eq!(counter(&shop.path("one.db")), counter(&shop.path("state.db")));
    let other = fs::read(shop.path("state.db")).unwrap();
    kill_in_commit(&shop, true);
    let journal = fs::read(shop.path("state.db-journal")).unwrap();
    let restore = |name: &str| {
        fs::copy(shop.path(name), shop.path("state.db")).unwrap();
        fs::write(shop.path("state.db-journal"), &journal).unwrap();
    };
    restore("one.db");
    is_refused(&shop, "does not belong");

    // One commit further, as the transaction that was cut off would have come to.
    shop.remove("state.db-journal");
    shop.run(&["hold", "shop/dev"]).code(0);
    fs::copy(shop.path("state.db"), shop.path("further.db")).unwrap();
    restore("further.db");
    is_refused(&shop, "does not belong");

    // The copy that was made just before the kill is the same state, and the journal changes nothing of it.
    fs::write(shop.path("same.db"), &other).unwrap();
    restore("same.db");
    shop.run(&["status"]).code(0).stderr("");
    assert!(fs::read(shop.path("state.db")).unwrap() == other);
}

#[test]
fn a_journal_is_not_played_into_a_state_of_another_machine() {
    let gitea = gitea(Build::GiteaNew);
    let (shop, other) = (baselined(&gitea, DEV), baselined(&gitea, DEV));
    kill_in_commit(&shop, true);
    fs::copy(other.path("state.db"), shop.path("state.db")).unwrap();
    is_refused(&shop, "does not belong");
}

#[test]
fn no_state_is_made_beside_a_journal() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_backup(&gitea);
    kill_in_commit(&shop, true);
    shop.remove("state.db");
    is_refused(&shop, "the state file is missing");
    assert!(!shop.exists("state.db"));
}

#[test]
fn a_write_ahead_log_is_not_played_into_the_state() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_backup(&gitea);
    fs::copy(shop.path("state.db"), shop.path("wal.db")).unwrap();
    let connection = Connection::open(shop.path("wal.db")).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; DELETE FROM poll_state;").unwrap();
    fs::copy(shop.path("wal.db-wal"), shop.path("state.db-wal")).unwrap();
    drop(connection);
    fs::remove_file(shop.path("wal.db")).unwrap();
    let before = shop.contents();
    for command in [&["poll"][..], &["status"]] {
        shop.run(command).code(2).stdout("").stderr_has("state.db-wal");
    }
    assert!(shop.contents() == before);
    shop.remove("state.db-wal");
    let state = Connection::open(shop.path("state.db")).unwrap();
    state.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    drop(state);
    for command in [&["poll"][..], &["status"]] {
        shop.run(command).code(2).stdout("").stderr_has("PRAGMA journal_mode = DELETE");
    }
    Connection::open(shop.path("state.db")).unwrap().execute_batch("PRAGMA journal_mode = DELETE").unwrap();
    shop.run(&["poll"]).code(0).silent();
}

/// While another process writes, its journal is its own business.
#[test]
fn a_state_that_another_process_writes_is_waited_for() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_backup(&gitea);
    let writer = Connection::open(shop.path("state.db")).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; UPDATE poll_state SET left_at = NULL;").unwrap();
    let status = shop.start(&["status"]);
    status.end().code(0);
    let mark = shop.start(&["mark", "shop/dev", "dev-43"]);
    writer.execute_batch("COMMIT").unwrap();
    mark.end().code(0);
}

/// guarantees.md, "Back up and restore the state".
#[test]
fn a_backup_by_sqlite_is_restored_by_sqlite_even_after_a_kill() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.run(&["poll"]).code(0);
    let copy = |from: &str, to: &str| {
        let from = Connection::open(shop.path(from)).unwrap();
        let mut to = Connection::open(shop.path(to)).unwrap();
        Backup::new(&from, &mut to).unwrap().run_to_completion(100, std::time::Duration::ZERO, None).unwrap();
    };
    copy("state.db", "backup.db");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    kill_in_commit(&shop, true);
    copy("backup.db", "state.db");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    assert_eq!(integrity(&shop.path("state.db")), "ok");
}
