//! What people type, and the exact answer: mistakes with commands and options, hints, and the lines of a poll.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::screen::on_terminal;

fn shop() -> Shop {
    Shop::with(&on("gitea", "https://git.example.test", &format!("{DEV}{PROD}")))
}

/// `a`, `b`, … on the images acme/a, acme/b, …, with one stage each.
fn projects(gitea: &Gitea, names: &[&str]) -> String {
    let stage = |name: &str| {
        format!(
            "[projects.{name}]\nregistry = \"git\"\nimage = \"acme/{name}\"\n{}",
            DEV.replace("projects.shop", &format!("projects.{name}"))
        )
    };
    let shop = on_gitea(gitea, "");
    let registry = shop.split("[projects.shop]").next().unwrap().to_owned();
    names.iter().fold(registry, |text, name| text + &stage(name))
}

#[test]
fn a_mistyped_command_or_option_is_answered_with_a_suggestion() {
    for (line, tip) in [
        ("undo shop/prod", "tip: use 'tagship rollback shop/prod'"),
        ("logs", "tip: use 'tagship history'"),
        ("log", "tip: use 'tagship history'"),
        ("list", "tip: use 'tagship status'"),
        ("ps", "tip: use 'tagship status'"),
        ("pause", "tip: use 'tagship hold TARGET'"),
        ("unhold", "tip: use 'tagship release TARGET'"),
        ("run", "tip: use 'tagship poll'"),
        ("validate", "tip: use 'tagship check'"),
        ("approve", "tip: use 'tagship deploy TARGET [TAG]'"),
        ("version", "tip: use 'tagship --version'"),
        ("poll --json", "tip: use '--format json'"),
        ("status --html", "tip: use '--format html'"),
        ("poll -n", "tip: use '--dry-run'"),
        ("poll -c tagship.toml", "tip: use '--config tagship.toml'"),
        ("check tagship.toml", "tip: use '--config tagship.toml'"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let run = shop().run_bare(&words);
        let tips: Vec<&str> =
            run.stderr.lines().map(str::trim).filter(|line| line.starts_with("tip:")).collect();
        assert_eq!(tips, [tip], "{line}: {}", run.stderr);
        run.code(2).stdout("");
    }
    shop()
        .run(&["poll", "tagship.toml"])
        .code(2)
        .stderr("error: the configuration has no target \"tagship.toml\"; to use a configuration file: --config tagship.toml\n");
}

#[test]
fn a_configuration_in_this_folder_is_named() {
    let shop = shop();
    let run = shop.run_bare(&["poll"]);
    run.code(2).stdout("").stderr_has("error: no configuration at ");
    run.stderr_has("; this folder has tagship.toml; to use it: --config tagship.toml\n");
}

#[test]
fn a_tag_without_its_v_is_answered_with_the_tag() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    shop.run(&["deploy", "shop/prod", "1.10.0"]).code(2).stdout("").stderr(
        "error: the rule of shop/prod allows v1.10.0, but not 1.10.0; to list the tags: tagship tags shop/prod\n",
    );
    shop.run(&["deploy", "shop/prod", "v1.10.9"]).code(2).stdout("").stderr(
        "error: 127.0.0.1:[port]/acme/shop has no tag v1.10.9; did you mean v1.10.0? To list its tags: tagship tags shop/prod\n",
    );
}

#[test]
fn state_none_keeps_no_state() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    let run = |shop: &Shop| shop.run_bare(&["--config", "tagship.toml", "--state", "none", "poll"]);
    run(&shop).code(2).stdout("").stderr(
        "error: state none keeps nothing between runs, and shop/dev needs a state for a baseline; name a file; or add `running` or first_poll = \"deploy\" to the stage\n",
    );
    shop.config(&on_gitea(&gitea, &format!("{DEV}first_poll = \"deploy\"\n")));
    for _ in 0..2 {
        run(&shop).code(0).line("shop/dev", &["deployed"]).stderr("");
    }
    assert!(!shop.exists("none"));
    shop.run_bare(&["--config", "tagship.toml", "--state", "none", "schedule", "cron"])
        .code(2)
        .stderr("error: a schedule cannot pass on `none`; write state = \"none\" in [settings] of the configuration\n");
}

#[test]
fn a_state_in_a_folder_that_does_not_exist_is_an_error() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = Shop::with(&on_gitea(&gitea, DEV));
    let said = "error: the folder nosuch/dir of the state file nosuch/dir/s.db does not exist; create it, or choose another state with --state\n";
    for command in ["poll", "status"] {
        let run = shop.run_bare(&["--config", "tagship.toml", "--state", "nosuch/dir/s.db", command]);
        run.code(2).stdout("").stderr(said);
    }
    shop.env("TAGSHIP_STATE", "nosuch/dir/s.db");
    shop.run_bare(&["--config", "tagship.toml", "poll"]).code(2).stdout("").stderr_has("nosuch/dir");
    assert!(!shop.exists("nosuch"));
}

#[test]
fn documents_go_to_standard_output() {
    let shop = Shop::new();
    let committed = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, file) in [("bash", "tagship.bash"), ("zsh", "_tagship"), ("fish", "tagship.fish")] {
        let script = std::fs::read_to_string(committed.join(file)).unwrap();
        let run = shop.run_bare(&["generate", "completions", shell]);
        assert_eq!(run.code(0).stderr("").raw.trim_end(), script.trim_end());
    }
    shop.run_bare(&["generate", "man"]).code(0).stdout_has(".TH TAGSHIP 1").stdout_has(".TH TAGSHIP-POLL 1");
    shop.run_bare(&["generate", "completions"]).code(2).stderr_has("<SHELL|--dir <DIR>>");
    assert!(!shop.exists("tagship.1") && !shop.exists("tagship.bash"));
}

#[test]
fn short_help_is_about_the_command_and_long_help_about_all_options() {
    let shop = Shop::new();
    for command in ["poll", "deploy", "hold", "history"] {
        shop.run_bare(&[command, "-h"]).code(0).shows_not("Global options").shows_not("--config");
        shop.run_bare(&[command, "--help"]).code(0).stdout_has("Global options").stdout_has("TAGSHIP_STATE");
    }
}

#[test]
fn hints_repeat_the_options_that_were_typed() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.file("my shop.toml", &shop.read("tagship.toml"));
    let run = shop.run_bare(&["--config", "my shop.toml", "--state", "s.db", "poll"]);
    run.code(0).stdout(
        "shop/dev  baseline      dev-42: first poll: only newer tags are deployed; \
         to deploy the newest tag now: tagship --config 'my shop.toml' --state s.db deploy shop/dev\n",
    );
    shop.run_bare(&["--config", "my shop.toml", "poll", "nope"])
        .code(2)
        .stderr_has("to list all targets: tagship --config 'my shop.toml' status\n");
    // The next command finds the variable, too. JSON has the words of the state.
    shop.env("TAGSHIP_CONFIG", "my shop.toml");
    shop.run_bare(&["poll", "nope"]).code(2).stderr_has("to list all targets: tagship status\n");
    shop.run_bare(&["mark", "shop/dev"]).code(2).stderr_has("\nUsage: tagship mark <TARGET> <TAG>\n");
    let run = shop.run_bare(&["--config", "tagship.toml", "--state", "t.db", "poll", "--format", "json"]);
    run.code(0).stdout_has("tagship deploy shop/dev\"");
}

#[test]
fn lines_come_in_the_order_of_the_configuration_with_failures_last() {
    let gitea = gitea(Build::GiteaNew);
    for image in ["acme/c", "acme/a", "acme/b"] {
        gitea.push(image, "dev-1", "2026-11-20T10:00:00Z");
    }
    let shop = Shop::with(&projects(&gitea, &["c", "a", "b"]));
    shop.run(&["poll"]).code(0).stdout(
        "c/dev  baseline      dev-1: first poll: only newer tags are deployed\n\
         a/dev  baseline      dev-1: first poll: only newer tags are deployed\n\
         b/dev  baseline      dev-1: first poll: only newer tags are deployed\n",
    );
    for image in ["acme/c", "acme/a", "acme/b"] {
        gitea.push(image, "dev-2", "2026-11-20T11:00:00Z");
    }
    shop.script("deploy.sh", "[ \"$TAGSHIP_PROJECT\" != c ]\n");
    let run = shop.run(&["poll"]);
    let lines: Vec<&str> = run.code(1).stdout.lines().map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "a/dev  deployed      dev-2 in [duration]",
            "b/dev  deployed      dev-2 in [duration]",
            "c/dev  failed        dev-2"
        ]
    );
    assert!(run.stderr.starts_with("3 targets, 2 deployed, 1 failed, "), "{}", run.stderr);
    shop.run(&["poll", "-q"]).shows_not("targets");
}

#[test]
fn a_hint_for_several_targets_and_the_summary_come_once_below_the_lines() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, &format!("{DEV}{PROD}")));
    shop.run(&["poll"]).code(0).stderr(
        "created the state file [dir]/state.db\n\
         hint: to deploy the newest tag now: tagship deploy TARGET\n\
         2 targets, 0 deployed, 4 requests in [duration]\n",
    );
    shop.run(&["poll"]).code(0).silent();
}

#[test]
fn a_registry_that_is_down_is_one_line() {
    let gitea = gitea(Build::GiteaNew);
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        gitea.push(&format!("acme/{name}"), "dev-1", "2026-11-20T10:00:00Z");
    }
    let shop = Shop::with(&projects(&gitea, &names));
    shop.run(&["poll"]).code(0);
    gitea.intercept_all("", gitea.recorded("more/31-tags-list-server-error"));
    let run = shop.run(&["poll"]);
    run.code(1);
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
    run.line(
        "git",
        &[
            "unknown",
            "5 targets (a/dev, b/dev, c/dev, …): unavailable: GET http://127.0.0.1:[port]/",
            ": 500 Internal Server Error: the server failed; see its log",
        ],
    );
    gitea.recover();
    shop.run(&["poll"]).code(0).line("e/dev", &["recovered; had failed since"]);
}

#[test]
fn a_rollback_says_that_the_target_is_held_and_so_does_status() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    for (tag, time) in [("v1.11.0", "2026-11-20T11:00:00Z"), ("v1.12.0", "2026-11-20T12:00:00Z")] {
        gitea.push("acme/shop", tag, time);
        shop.run(&["poll"]).code(0);
    }
    shop.run(&["rollback", "shop/prod"])
        .code(0)
        .stdout("shop/prod  deployed      v1.12.0 -> v1.11.0 in [duration]\n")
        .stderr("shop/prod is held: newer tags wait until tagship release shop/prod\n");
    shop.run(&["status"]).code(0).line("shop/prod", &["held", "v1.11.0"]);
    let run = shop.run(&["status", "shop/prod"]);
    run.code(0).says("shop/prod held").stdout_has("; to resume: tagship release shop/prod\n");
    assert_eq!(run.stdout.matches("held by").count(), 1, "{}", run.stdout);
    shop.run(&["release", "shop/prod"]).code(0);
    shop.run(&["deploy", "shop/prod", "v1.12.0"]).code(0).stderr("");
    shop.run(&["hold", "shop/prod", "--for", "2h"]).code(0);
    shop.run(&["deploy", "shop/prod", "v1.12.0"])
        .code(0)
        .stderr("shop/prod is held: newer tags wait until [time] or tagship release shop/prod\n");
}

#[test]
fn times_are_local_on_a_terminal_and_utc_elsewhere() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    shop.env("TZ", "Asia/Tokyo");
    let screen = on_terminal(&shop, 200, &["history"]);
    assert!(screen.printed.contains(" JST  shop/dev  dev-43"), "{}", screen.printed);
    // As shown, so read: five minutes from now in Japan are long past where the time is UTC.
    let soon = Timestamp::now() + SignedDuration::from_mins(5);
    let soon = soon.to_zoned_datetime(TimeZone::get("Asia/Tokyo").unwrap()).strftime("%FT%T").to_string();
    let screen = on_terminal(&shop, 200, &["history", "--until", &soon]);
    assert!(screen.printed.contains("shop/dev  dev-43"), "{}", screen.printed);
    let screen = on_terminal(&shop, 200, &["history", "--at", &soon]);
    assert!(screen.printed.contains("--at requires a time in the past"), "{}", screen.printed);
    shop.run(&["history", "--limit", "0"]).code(2).stdout("").stderr_has("0 is not in 1..");
    let run = shop.run(&["history"]);
    assert!(run.raw.lines().next().unwrap().split("  ").next().unwrap().ends_with('Z'), "{}", run.raw);
    assert!(shop.status("shop/dev")["deployed_at"].as_str().unwrap().ends_with('Z'));
}
