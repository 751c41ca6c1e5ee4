//! The progress of a long run: on a terminal only, and removed at the end.

use std::thread;
use std::time::Duration;

use crate::first_poll::gitea;
use crate::harness::{DEV, Shop};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};
use crate::screen::on_terminal;

/// dev has a new tag; its deployment takes long enough for a progress line, and prints.
fn slow() -> (Gitea, Shop) {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = baselined(&gitea, DEV);
    shop.env("TERM", "xterm");
    shop.script("deploy.sh", "for step in 1 2 3 4; do sleep 0.3; echo rolling out $step; done\n");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    (gitea, shop)
}

#[test]
fn a_long_deployment_is_shown_and_leaves_no_trace() {
    let (_gitea, shop) = slow();
    let screen = on_terminal(&shop, 80, &["poll"]);
    assert!(screen.printed.contains("shop/dev  dev-43  deploying  1s"), "{}", screen.printed);
    assert_eq!(
        screen.lines,
        ["shop/dev  deployed      dev-43 in [duration]", "1 target, 1 deployed, 3 requests in [duration]",]
    );
}

#[test]
fn output_of_a_deployment_beside_progress_stays_whole() {
    let (_gitea, shop) = slow();
    let screen = on_terminal(&shop, 80, &["poll", "-v"]);
    assert!(screen.printed.contains("deploying"), "{}", screen.printed);
    assert_eq!(
        screen.lines,
        [
            "shop/dev | rolling out 1",
            "shop/dev | rolling out 2",
            "shop/dev | rolling out 3",
            "shop/dev | rolling out 4",
            "shop/dev  deployed      dev-43 in [duration]",
            "1 target, 1 deployed, 3 requests in [duration]",
        ]
    );
}

#[test]
fn steps_and_the_verification_are_named() {
    let (_gitea, shop) = slow();
    let steps = "deploy = [{ command = [\"./deploy.sh\"] }, { command = [\"./deploy.sh\"] }]\n\
                 running = { command = [\"./runs.sh\"] }";
    let text = shop.read("tagship.toml");
    shop.config(&text.replace("deploy = { command = [\"./deploy.sh\"] }", steps));
    shop.script("deploy.sh", "sleep 0.8; touch \"deployed-$TAGSHIP_TAG\"\n");
    shop.script("runs.sh", "[ -e deployed-dev-43 ] || { echo dev-42; exit; }; sleep 0.8; echo dev-43\n");
    let screen = on_terminal(&shop, 80, &["poll"]);
    for phase in ["deploying, step 1 of 2", "deploying, step 2 of 2", "verifying"] {
        assert!(
            screen.printed.contains(&format!("shop/dev  dev-43  {phase}")),
            "{phase}: {}",
            screen.printed
        );
    }
    assert_eq!(screen.lines.len(), 2, "{:?}", screen.lines);
}

#[test]
fn a_registry_that_takes_long_is_waited_for_visibly() {
    let (gitea, shop) = slow();
    shop.script("deploy.sh", "");
    gitea.intercept(|_| {
        thread::sleep(Duration::from_millis(900));
        None
    });
    let screen = on_terminal(&shop, 80, &["poll"]);
    let asking = "asking the registries: 0 of 1 targets";
    assert!(screen.printed.contains(asking), "{}", screen.printed);
    assert_eq!(screen.lines.len(), 2, "{:?}", screen.lines);
}

#[test]
fn short_work_shows_nothing_of_it() {
    let (_gitea, shop) = slow();
    shop.script("deploy.sh", "");
    let screen = on_terminal(&shop, 80, &["poll"]);
    assert!(!screen.printed.contains("deploying"), "{}", screen.printed);
}

#[test]
fn progress_is_shown_on_terminals_only() {
    for (arguments, term) in
        [(&["poll"][..], "dumb"), (&["poll", "-q"], "xterm"), (&["poll", "--format", "jsonl"], "xterm")]
    {
        let (_gitea, mut shop) = slow();
        shop.env("TERM", term);
        let screen = on_terminal(&shop, 80, arguments);
        assert!(!screen.printed.contains("deploying"), "{arguments:?} {term}: {}", screen.printed);
        assert!(!screen.printed.contains('\u{1b}'), "{arguments:?} {term}: {}", screen.printed);
    }
    let (_gitea, shop) = slow();
    shop.run(&["poll"]).code(0).stdout("shop/dev  deployed      dev-43 in [duration]\n").stderr("");
}

#[test]
fn long_errors_are_broken_between_words_on_a_terminal_only() {
    let (_gitea, shop) = slow();
    shop.script(
        "deploy.sh",
        "echo '失敗しました: no room for another replica, ask those who run the cluster'; exit 7\n",
    );
    let screen = on_terminal(&shop, 72, &["poll"]);
    let lines = &screen.lines;
    assert!(lines[0].starts_with("shop/dev  failed        dev-43 (attempt 1, retry at"), "{lines:?}");
    let indent = " ".repeat(24);
    let further: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(&indent)).collect();
    // As wide as the terminal, where a wide character takes two columns.
    let expected = ["失敗しました: no room for another replica, ask", "those who run the cluster"];
    assert_eq!(further[1..], expected, "{lines:?}");

    shop.run(&["retry"]).code(0);
    let run = shop.run(&["poll"]);
    run.code(1);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].ends_with("ask those who run the cluster"), "{lines:?}");
}

#[test]
fn a_check_of_everything_is_shown_and_leaves_no_trace() {
    let (gitea, shop) = slow();
    gitea.intercept(|_| {
        thread::sleep(Duration::from_millis(400));
        None
    });
    let screen = on_terminal(&shop, 120, &["check", "--online"]);
    assert!(screen.printed.contains("asking the registries: 0 of 1 targets"), "{}", screen.printed);
    assert_eq!(screen.lines.len(), 3, "{:?}", screen.lines);
    let screen = on_terminal(&shop, 120, &["-q", "check", "--online"]);
    assert!(!screen.printed.contains("asking"), "{}", screen.printed);
}
