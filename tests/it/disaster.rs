//! Clocks that jump, a state from last week, a command gone wild.

use std::fs;
use std::time::{Duration, Instant};

use crate::first_poll::gitea;
use crate::harness::{DEV, PATIENCE, Shop, await_until};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// A shop with dev-43 to be deployed, by deploy.sh, with this retry.
fn with_news(gitea: &Gitea, retry: &str) -> Shop {
    let (head, _) = DEV.split_once("retry").unwrap();
    let shop = baselined(gitea, &format!("{head}retry = {{ {retry} }}\n"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop
}

#[test]
#[ignore = "needs faketime"]
fn a_clock_that_was_a_day_ahead_or_behind_deploys_nothing_twice() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea, "backoff = \"1h\"");
    shop.run_under(&["faketime", "-f", "+1d"], &["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    for clock in ["-1d", "+0", "+1d", "+0"] {
        shop.run_under(&["faketime", "-f", clock], &["poll"]).code(0).no_line("shop/dev");
    }
    assert_eq!(shop.deliveries().len(), 1);
}

#[test]
#[ignore = "needs faketime"]
fn a_failure_during_a_clock_error_of_a_day_is_retried_soon() {
    for (then, now) in [("+1d", "+0"), ("+0", "-1d")] {
        let gitea = gitea(Build::GiteaNew);
        let shop = with_news(&gitea, "backoff = \"1h\"");
        shop.file("fail", "");
        shop.run_under(&["faketime", "-f", then], &["poll"]).code(1);
        shop.run_under(&["faketime", "-f", then], &["poll"]).code(0).silent();
        shop.remove("fail");
        shop.run_under(&["faketime", "-f", now], &["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        let deliveries = shop.deliveries();
        assert_eq!(deliveries.len(), 2);
        assert_eq!(deliveries[0].id, deliveries[1].id);
    }
}

/// What came since is new to it: the newest is deployed (again), and nothing older.
#[test]
fn a_state_of_last_week_brings_the_newest_and_goes_nowhere_else() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea, "backoff = \"1h\"");
    fs::copy(shop.path("state.db"), shop.path("backup.db")).unwrap();
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0);
    fs::copy(shop.path("backup.db"), shop.path("state.db")).unwrap();
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/dev dev-44", "shop/dev dev-44"]);
}

#[test]
fn a_command_gone_wild_ends_in_time_and_costs_no_memory() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea, "backoff = \"1h\"");
    let text = shop.read("tagship.toml");
    shop.config(&text.replace("command = [\"./deploy.sh\"]", "command = [\"./wild.sh\"], timeout = \"2s\""));
    shop.script(
        "wild.sh",
        "trap '' TERM\n(trap '' TERM; sleep 60) &\nhead -c 268435456 /dev/zero | tr '\\0' 'x'\nsleep 60\n",
    );
    let began = Instant::now();
    let poll = shop.start(&["poll"]);
    let status = format!("/proc/{}/status", poll.id());
    let mut peak = 0;
    loop {
        // Once it has ended there is nothing to read.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let Some(line) = text.lines().find(|line| line.starts_with("VmHWM:")) else { break };
        peak = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = poll.end();
    run.code(1)
        .shows_not(&"x".repeat(301))
        .line("shop/dev", &["failed", "timeout: ./wild.sh was stopped after [duration]"]);
    // Far less than the minute that the command would take.
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    assert!((1..32 * 1024).contains(&peak), "{peak} KiB");
    await_until("nothing of it is left", || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let here = shop.path("");
        !processes
            .filter_map(|process| fs::read_link(process.path().join("cwd")).ok())
            .any(|cwd| cwd == here || cwd.starts_with(&here))
    });
}

/// Handled one by one, 100 million lines would take minutes.
#[test]
fn a_flood_of_empty_lines_costs_about_what_reading_it_costs() {
    let gitea = gitea(Build::GiteaNew);
    let shop = with_news(&gitea, "backoff = \"1h\"");
    shop.script("deploy.sh", "head -c 100000000 /dev/zero | tr '\\0' '\\n'\necho done\n");
    // Within PATIENCE.
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let history = shop.run(&["history", "--format", "json"]).code(0).json();
    let output = history["deployments"][0]["attempts"][0]["output"].as_str().unwrap().to_owned();
    assert!(output.len() <= 64 * 1024 && output.ends_with("\n\ndone\n"), "{} bytes", output.len());
}
