//! The folder of the state: several users, planted names, several names for one state.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, SERVICE, Shop, await_until, give, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// Another user.
const OTHER: u32 = 61_235;

/// The folder belongs to the service user, as do the files that the commands append to.
fn of_a_service_user(gitea: &Gitea, receiver: &Endpoint) -> Shop {
    let notify = format!("[[notify]]\nurl = \"{}\"\non = [\"deployed\"]\n", receiver.url());
    let shop = Shop::with(&format!("{}{notify}", on_gitea(gitea, &format!("{DEV}{PROD}"))));
    for name in ["deliveries", "completions", "command-env"] {
        shop.file(name, "");
    }
    give(&shop.path(""), SERVICE);
    shop.run_as(SERVICE, &["poll"]).code(0).stdout_has("baseline");
    shop
}

/// Of the state, its journal and its locks.
fn owners(shop: &Shop) -> Vec<(String, u32, u32)> {
    let mut found = Vec::new();
    for folder in [shop.path(""), shop.path("state.db.locks")] {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let metadata = entry.metadata().unwrap();
            if name.starts_with("state") || name.contains('@') {
                found.push((name, metadata.uid(), metadata.gid()));
            }
        }
    }
    found
}

#[test]
#[ignore = "needs root"]
fn files_of_root_in_a_users_state_folder_belong_to_that_user() {
    let (gitea, receiver) = (gitea(Build::GiteaNew), Endpoint::start());
    let shop = of_a_service_user(&gitea, &receiver);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["hold", "shop/prod"]).code(0);
    shop.run(&["deploy", "shop/dev", "dev-43"]).code(0);
    // Makes the lock of the outbox.
    shop.run(&["poll"]).code(0);
    let found = owners(&shop);
    assert!(found.len() >= 4, "{found:?}");
    assert!(found.iter().all(|(_, user, group)| (*user, *group) == (SERVICE, SERVICE)), "{found:?}");

    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run_as(SERVICE, &["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
#[ignore = "needs root"]
fn the_journal_of_root_belongs_to_the_user_too() {
    let (gitea, receiver) = (gitea(Build::GiteaNew), Endpoint::start());
    let shop = of_a_service_user(&gitea, &receiver);
    half_write(&shop);
    assert_eq!(fs::metadata(shop.path("state.db-journal")).unwrap().uid(), SERVICE);
    shop.run_as(SERVICE, &["poll"]).code(0).silent();
}

/// As a kill in the middle of a transaction of root leaves it.
fn half_write(shop: &Shop) {
    let whole = rusqlite::Connection::open(shop.path("state.db")).unwrap();
    whole.execute_batch("PRAGMA cache_size = 1; BEGIN; DELETE FROM poll_state;").unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                INSERT INTO registry SELECT 'https://' || i, '2026-11-20', '2026-11-20' FROM n";
    whole.execute(fill, []).unwrap();
    let metadata = fs::metadata(shop.path("state.db-journal")).unwrap();
    for name in ["state.db", "state.db-journal"] {
        let copy = shop.path(&format!("killed-{name}"));
        fs::copy(shop.path(name), &copy).unwrap();
        chown(copy, Some(metadata.uid()), Some(metadata.gid())).unwrap();
    }
    whole.execute_batch("ROLLBACK").unwrap();
    drop(whole);
    for name in ["state.db", "state.db-journal"] {
        fs::rename(shop.path(&format!("killed-{name}")), shop.path(name)).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn a_state_that_root_makes_in_a_users_folder_belongs_to_that_user() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.file("deliveries", "");
    // The configuration of the user, whose state has no folder yet.
    let (config, state) =
        (shop.path("home/.config/tagship/config.toml"), shop.path("home/.local/state/tagship/state.db"));
    let token = shop.path("secret/token");
    let text = shop.read("tagship.toml").replace("secret/token", token.to_str().unwrap());
    shop.file("home/.config/tagship/config.toml", &text);
    give(&shop.path(""), SERVICE);
    let arguments = ["--config", config.to_str().unwrap(), "poll"];
    shop.run_bare(&arguments).code(0).stdout_has("baseline");
    for path in state.ancestors().take(4) {
        assert_eq!(fs::metadata(path).unwrap().uid(), SERVICE, "{}", path.display());
    }
    shop.run_bare_as(SERVICE, &arguments).code(0).silent();
}

/// What an earlier version left: root's next run gives it back.
#[test]
#[ignore = "needs root"]
fn locks_of_root_are_reported_to_the_user_and_given_back_by_root() {
    let (gitea, receiver) = (gitea(Build::GiteaNew), Endpoint::start());
    let shop = of_a_service_user(&gitea, &receiver);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["deploy", "shop/dev", "dev-43"]).code(0);
    let lock = shop.path("state.db.locks/shop@dev");
    chown(&lock, Some(0), Some(0)).unwrap();
    shop.run_as(SERVICE, &["check"]).code(1).stderr_has("state.db.locks/shop@dev").stderr_has("chown");
    shop.run_as(SERVICE, &["status", "--exit-code"]).code(1).stderr_has("state.db.locks/shop@dev");
    shop.run_as(SERVICE, &["status"]).code(0);
    shop.run(&["deploy", "shop/dev", "dev-43"]).code(0);
    shop.run_as(SERVICE, &["check"]).code(0);
    shop.run_as(SERVICE, &["status", "--exit-code"]).code(0).stderr("");

    chown(shop.path("state.db.locks"), Some(0), Some(0)).unwrap();
    shop.run_as(SERVICE, &["check"]).code(1).stderr_has("state.db.locks");
    shop.run_as(SERVICE, &["status", "--exit-code"]).code(1).stderr_has("state.db.locks");
}

/// Only its owner can repair it, and it already belongs to its owner.
#[test]
#[ignore = "needs root"]
fn a_lock_that_its_owner_cannot_open_needs_a_mode() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let shop = of_a_service_user(&gitea, &receiver);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run_as(SERVICE, &["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let lock = shop.path("state.db.locks/shop@dev");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o0)).unwrap();
    let cure = "state.db.locks/shop@dev: Permission denied (os error 13)\n    chmod u+rwX [dir]/state.db.locks/shop@dev";
    shop.run_as(SERVICE, &["check"]).code(1).stderr_has(cure);
}

/// A link to another user's file has two names, and stays with its owner.
#[test]
#[ignore = "needs root"]
fn root_changes_no_owner_of_a_file_linked_into_the_folder_of_the_locks() {
    let (gitea, receiver) = (gitea(Build::GiteaNew), Endpoint::start());
    let shop = of_a_service_user(&gitea, &receiver);
    fs::create_dir(shop.path("state.db.locks")).unwrap();
    give(&shop.path("state.db.locks"), SERVICE);
    shop.file("of-root", "");
    fs::hard_link(shop.path("of-root"), shop.path("state.db.locks/shop@dev")).unwrap();
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["deploy", "shop/dev", "dev-43"]);
    assert_eq!(fs::metadata(shop.path("of-root")).unwrap().uid(), 0);
}

/// A planted file in place of a lock is refused before any deployment, and neither followed nor changed.
fn refuses_planted(plant: impl Fn(&Shop), words: &str) {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    plant(&shop);
    assert!(!shop.run(&["poll"]).shows(words).has_code(0));
    assert_eq!(shop.delivered(), [""; 0]);
    assert!(!shop.exists("planted"), "the target of a planted link was made");
    shop.run(&["check"]).code(1).stderr_has(words);
    shop.run(&["status", "--exit-code"]).code(1).stderr_has(words);
}

fn folder_of_locks(shop: &Shop) {
    fs::create_dir(shop.path("state.db.locks")).unwrap();
    fs::set_permissions(shop.path("state.db.locks"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_planted_lock_link_is_not_followed() {
    refuses_planted(
        |shop| {
            folder_of_locks(shop);
            symlink(shop.path("planted"), shop.path("state.db.locks/shop@dev")).unwrap();
        },
        "is a symbolic link",
    );
}

#[test]
fn a_planted_link_to_a_folder_of_locks_is_not_followed() {
    refuses_planted(
        |shop| {
            fs::create_dir(shop.path("elsewhere")).unwrap();
            symlink(shop.path("elsewhere"), shop.path("state.db.locks")).unwrap();
        },
        "is a symbolic link",
    );
}

#[test]
fn a_pipe_or_a_folder_in_a_locks_place_is_refused() {
    refuses_planted(
        |shop| {
            folder_of_locks(shop);
            let pipe = shop.path("state.db.locks/shop@dev");
            assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
        },
        "is not a regular file",
    );
    refuses_planted(
        |shop| {
            folder_of_locks(shop);
            fs::create_dir(shop.path("state.db.locks/shop@dev")).unwrap();
        },
        "is not a regular file",
    );
}

#[test]
fn a_folder_of_locks_that_everybody_writes_is_refused() {
    refuses_planted(
        |shop| {
            folder_of_locks(shop);
            fs::set_permissions(shop.path("state.db.locks"), fs::Permissions::from_mode(0o777)).unwrap();
        },
        "other users can write",
    );
}

#[test]
#[ignore = "needs root"]
fn locks_of_another_user_are_refused() {
    refuses_planted(
        |shop| {
            folder_of_locks(shop);
            give(&shop.path("state.db.locks"), OTHER);
        },
        "belongs to another user",
    );
    refuses_planted(
        |shop| {
            folder_of_locks(shop);
            shop.file("state.db.locks/shop@dev", "");
            give(&shop.path("state.db.locks/shop@dev"), OTHER);
        },
        "belongs to another user",
    );
}

#[test]
fn a_state_that_everybody_can_write_or_replace_is_warned_of() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    let mode = |name: &str, mode| {
        fs::set_permissions(shop.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("state.db", 0o666);
    for command in ["poll", "check"] {
        shop.run(&[command]).code(0).stderr_has("state.db: others can write").stderr_has("chmod go-w");
    }
    mode("state.db", 0o600);
    shop.run(&["poll"]).code(0).silent();
    mode("", 0o777);
    for command in ["poll", "check"] {
        shop.run(&[command]).code(0).stderr_has("others can replace");
    }
    // With the sticky bit, users replace their own files only.
    mode("", 0o1777);
    shop.run(&["poll"]).code(0).silent();
    mode("", 0o700);
}

/// A user who can replace a folder can replace its content, however far above the state it is.
#[test]
fn a_folder_above_the_state_in_which_others_can_replace_it_is_warned_of() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    let (config, state) = (shop.path("tagship.toml"), shop.path("open/state/of/state.db"));
    let run = |command| {
        let place = ["--config", config.to_str().unwrap(), "--state", state.to_str().unwrap(), command];
        shop.run_bare(&place)
    };
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    run("poll").code(0);
    let mode = |mode| fs::set_permissions(shop.path("open"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    let warning = "warning: [dir]/open: others can replace the state file in this folder\n  help: chmod go-w [dir]/open\n";
    for command in ["poll", "check"] {
        run(command).code(0).stderr(warning);
    }
    mode(0o1777);
    run("poll").code(0).silent();
    mode(0o700);
}

#[test]
fn a_state_by_a_link_has_the_locks_of_the_state() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    fs::create_dir(shop.path("other")).unwrap();
    symlink(shop.path("state.db"), shop.path("other/link.db")).unwrap();
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    let poll = shop.start(&["poll"]);
    await_until("the command runs", || shop.exists("deliveries"));
    let (config, link) = (shop.path("tagship.toml"), shop.path("other/link.db"));
    let arguments = ["--config", config.to_str().unwrap(), "--state", link.to_str().unwrap()];
    let second = [&arguments[..], &["deploy", "shop/dev", "dev-42"]].concat();
    shop.run_bare(&second).code(75);
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
    shop.remove("stay");
    poll.end().code(0);
    assert!(!shop.exists("other/link.db.locks"));
}

#[test]
fn a_state_with_two_names_is_refused() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    fs::hard_link(shop.path("state.db"), shop.path("other.db")).unwrap();
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    for command in [&["poll"][..], &["status"], &["poll", "--dry-run"]] {
        shop.run(command).code(2).stdout("").stderr_has("hard link").stderr_has("-samefile");
    }
    assert_eq!(shop.delivered(), [""; 0]);
    shop.remove("other.db");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_state_that_is_a_pipe_or_a_folder_is_refused() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    fs::create_dir(shop.path("state.db")).unwrap();
    shop.run(&["poll"]).code(2).stdout("").stderr_has("not a regular file");
    fs::remove_dir(shop.path("state.db")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(shop.path("state.db")).status().unwrap().success());
    for command in [&["poll"][..], &["status"]] {
        shop.run(command).code(2).stdout("").stderr_has("not a regular file");
    }
}

/// Two runs of one configuration, one of them by another path to it.
#[test]
fn two_runs_that_keep_nothing_do_not_overlap() {
    let gitea = gitea(Build::GiteaNew);
    let stage = format!("{DEV}first_poll = \"deploy\"\n");
    let shop = Shop::with(&format!("[settings]\nstate = \"none\"\n{}", on_gitea(&gitea, &stage)));
    symlink(shop.path("tagship.toml"), shop.path("link.toml")).unwrap();
    shop.file("stay", "");
    let config = shop.path("tagship.toml");
    let poll = shop.start_bare(&["--config", config.to_str().unwrap(), "poll"]);
    await_until("the command runs", || shop.exists("deliveries"));
    let link = shop.path("link.toml");
    for _ in 0..2 {
        let second = shop.run_bare(&["--config", link.to_str().unwrap(), "poll", "--strict"]);
        second.code(75).line("shop/dev", &["deploying"]);
    }
    assert_eq!(shop.deliveries().len(), 1, "no second one beside it");
    shop.remove("stay");
    poll.end().code(0);
    let folder = shop.path(&format!("home/tagship-{}", rustix::process::geteuid().as_raw()));
    assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
}

/// The locks go by the configuration's name.
#[test]
fn a_configuration_with_two_names_is_refused_where_no_state_is_kept() {
    let gitea = gitea(Build::GiteaNew);
    let stage = format!("{DEV}first_poll = \"deploy\"\n");
    let shop = Shop::with(&format!("[settings]\nstate = \"none\"\n{}", on_gitea(&gitea, &stage)));
    fs::hard_link(shop.path("tagship.toml"), shop.path("other.toml")).unwrap();
    for name in ["tagship.toml", "other.toml"] {
        let config = shop.path(name);
        for command in [&["poll"][..], &["poll", "--dry-run"], &["check"], &["deploy", "shop/dev"]] {
            let run = shop.run_bare(&[&["--config", config.to_str().unwrap()], command].concat());
            run.code(2)
                .stdout("")
                .stderr_has(&format!("[dir]/{name}: the configuration has a second name (a hard link)"));
            run.stderr_has(&format!("find / -xdev -samefile [dir]/{name}\n"));
        }
    }
    assert_eq!(shop.delivered(), [""; 0]);
    shop.remove("other.toml");
    let config = shop.path("tagship.toml");
    shop.run_bare(&["--config", config.to_str().unwrap(), "poll"]).code(0).line("shop/dev", &["deployed"]);
}

#[test]
fn a_planted_folder_for_the_locks_of_no_state_is_refused() {
    let gitea = gitea(Build::GiteaNew);
    let stage = format!("{DEV}first_poll = \"deploy\"\n");
    let shop = Shop::with(&format!("[settings]\nstate = \"none\"\n{}", on_gitea(&gitea, &stage)));
    let folder = shop.path(&format!("home/tagship-{}", rustix::process::geteuid().as_raw()));
    fs::create_dir(shop.path("planted")).unwrap();
    symlink(shop.path("planted"), &folder).unwrap();
    let config = shop.path("tagship.toml");
    let arguments = ["--config", config.to_str().unwrap(), "poll"];
    assert!(!shop.run_bare(&arguments).shows("is a symbolic link").has_code(0));
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!shop.run_bare(&arguments).shows("other users can write").has_code(0));
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn a_folder_or_pipe_in_the_place_of_the_journal_is_reported_as_such() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    let journal = shop.path("state.db-journal");
    let refused = |what: &str| {
        for command in [&["poll"][..], &["status"], &["check"]] {
            shop.run(command).code(2).stdout("").stderr(&format!(
                "error: [dir]/state.db-journal: it is {what}, not a journal of the state file; move it away\n"
            ));
        }
    };
    assert!(std::process::Command::new("mkfifo").arg(&journal).status().unwrap().success());
    refused("a named pipe (FIFO)");
    fs::remove_file(&journal).unwrap();
    symlink("elsewhere", &journal).unwrap();
    refused("a symbolic link");
    shop.file("elsewhere", "");
    refused("a symbolic link");
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    refused("a folder");
    fs::remove_dir(&journal).unwrap();
    shop.run(&["poll"]).code(0).silent();
}
