//! Metrics and pings: what a run reports to monitoring. Failures of monitoring never change the run.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::ending::ends_at_a_signal;
use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::http::{Answer, Reply};
use crate::registry::{Build, Gitea};

fn shop(gitea: &Gitea, settings: &str) -> Shop {
    Shop::with(&format!("[settings]\n{settings}\n{}", on_gitea(gitea, &format!("{DEV}{PROD}"))))
}

fn metric(shop: &Shop, name: &str) -> Option<String> {
    let text = shop.read("tagship.prom");
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
}

#[test]
#[ignore = "needs faketime"]
fn metrics_say_how_the_last_run_went_and_what_waits() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea, "metrics_file = \"tagship.prom\"");
    shop.run(&["poll"]).code(0);
    let mode = std::fs::metadata(shop.path("tagship.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(metric(&shop, "tagship_targets{status=\"baseline\"}").as_deref(), Some("2"));
    let success = metric(&shop, "tagship_last_success_timestamp_seconds").unwrap();
    let dev = "{project=\"shop\",stage=\"dev\"";
    let pending = format!("tagship_deployments_pending{dev}}}");
    assert_eq!(metric(&shop, &pending).as_deref(), Some("0"));
    let dev_is = |status: &str| metric(&shop, &format!("tagship_target_status{dev},status=\"{status}\"}}"));
    assert_eq!(dev_is("baseline").as_deref(), Some("1"));

    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run_under(&["faketime", "-f", "+1h"], &["poll"]).code(1);
    assert_eq!(metric(&shop, "tagship_targets{status=\"failed\"}").as_deref(), Some("1"));
    assert_eq!(metric(&shop, "tagship_targets{status=\"up_to_date\"}").as_deref(), Some("1"));
    assert_eq!(metric(&shop, &pending).as_deref(), Some("1"));
    assert_eq!((dev_is("failed").as_deref(), dev_is("baseline")), (Some("1"), None));
    assert_eq!(metric(&shop, "tagship_last_success_timestamp_seconds"), Some(success.clone()));
    let run: i64 = metric(&shop, "tagship_last_run_timestamp_seconds").unwrap().parse().unwrap();
    assert!(run >= success.parse::<i64>().unwrap() + 3600);
    // One target's poll says what all of them are.
    shop.run(&["poll", "shop/prod"]).code(0);
    assert_eq!(metric(&shop, "tagship_targets{status=\"failed\"}").as_deref(), Some("1"));
    let left: Vec<_> = std::fs::read_dir(shop.path("")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".tmp")));
}

/// A run that is killed while it writes cannot remove its unfinished file.
#[test]
#[ignore = "needs faketime"]
fn unfinished_metrics_of_a_killed_run_go_with_a_later_run() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea, "metrics_file = \"tagship.prom\"");
    for name in [".tagship-aaaaaa.tmp", ".tagship-other", "other.tmp"] {
        shop.file(name, "");
    }
    shop.run(&["poll"]).code(0);
    assert!(shop.exists(".tagship-aaaaaa.tmp"), "a run beside this one may be writing it");
    shop.run_under(&["faketime", "-f", "+2m"], &["poll"]).code(0);
    assert!(!shop.exists(".tagship-aaaaaa.tmp"));
    assert!(shop.exists(".tagship-other") && shop.exists("other.tmp"), "they are not ours");
}

#[test]
fn metrics_that_cannot_be_written_are_said_and_change_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea, "metrics_file = \"gone/tagship.prom\"");
    shop.run(&["poll"])
        .code(0)
        .line("shop/dev", &["baseline"])
        .stderr_has("metrics_file [dir]/gone/tagship.prom: ");
    shop.run(&["poll", "--dry-run"]).code(0).stderr("");
    shop.run(&["check"])
        .code(0)
        .stderr("warning: metrics_file [dir]/gone/tagship.prom: the folder [dir]/gone does not exist\n");
    // Cron mails it once, not with every run; a person sees it.
    shop.run(&["poll"]).code(0).stdout("").stderr("");
    shop.run(&["-v", "poll"]).code(0).stderr_has("metrics_file [dir]/gone/tagship.prom: ");
    std::fs::create_dir(shop.path("gone")).unwrap();
    shop.run(&["check"]).code(0).stderr("");
    shop.run(&["poll"])
        .code(0)
        .stdout("")
        .stderr("warning: metrics_file: recovered; had failed since [time]\n");
    shop.run(&["poll"]).code(0).stdout("").stderr("");
}

const PING: &str = "ping_url = \"{secret.hc}\"\n[secrets]\nhc = { file = \"secret/hc\" }";

#[test]
fn a_run_is_pinged_at_its_start_and_by_its_end() {
    let gitea = gitea(Build::GiteaNew);
    let service = Endpoint::start();
    let shop = shop(&gitea, PING);
    shop.secret("hc", &format!("{}/planted-uuid/", service.url()));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll", "--exit-code"]).code(3);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.run(&["poll", "--dry-run"]);
    let requests = service.requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.path()).collect();
    let at = |event: &str| format!("/planted-uuid/{event}");
    assert_eq!(paths, [at("start"), at("0"), at("start"), at("0"), at("start"), at("1")]);
    assert!(requests.iter().all(|request| request.method == "GET"));
    let run = |index: usize| requests[index].query("rid").unwrap().to_owned();
    assert!(run(0) == run(1) && run(2) == run(3) && run(0) != run(2));
}

#[test]
fn each_moment_of_a_run_is_sent_to_its_own_url() {
    let gitea = gitea(Build::GiteaNew);
    let service = Endpoint::start();
    let of = |moment: &str| format!("{moment} = \"{}/{{secret.hc}}?status={moment}&msg=\"", service.url());
    for moments in [&["start", "success", "failure"][..], &["failure"]] {
        let urls: Vec<String> = moments.iter().map(|moment| of(moment)).collect();
        let ping =
            format!("ping_url = {{ {} }}\n[secrets]\nhc = {{ file = \"secret/hc\" }}", urls.join(", "));
        let shop = shop(&gitea, &ping);
        shop.secret("hc", "planted-uuid");
        let before = service.requests().len();
        shop.run(&["poll"]).code(0);
        shop.file("fail", "");
        gitea.push("acme/shop", &format!("dev-5{before}"), &format!("2026-11-20T1{}:00:00Z", before + 1));
        shop.run(&["poll"]).code(1);
        let told: Vec<String> =
            service.requests()[before..].iter().map(|request| request.target.clone()).collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        let at = |moment: &str| format!("/planted-uuid?status={moment}&msg=");
        let expected: Vec<String> = ["start", "success", "start", "failure"]
            .iter()
            .filter(|moment| moments.contains(moment))
            .map(|moment| at(moment))
            .collect();
        assert_eq!(told, expected);
    }
    let shop = shop(&gitea, "ping_url = {}");
    shop.run(&["check"]).code(2);
}

#[test]
fn a_ping_that_fails_is_said_without_its_url_and_changes_nothing() {
    let gitea = gitea(Build::GiteaNew);
    let service = Endpoint::start();
    let shop = shop(&gitea, PING);
    shop.secret("hc", &format!("{}/planted-uuid", service.url()));
    service.then(Answer::new(404, "text/plain", "no such check"));
    let run = shop.run(&["poll"]);
    run.code(0).line("shop/dev", &["baseline"]).stderr_has("ping_url: /start was answered by 404 Not Found");
    run.shows_not("planted-uuid");
}

/// Two pings fail in each run; cron mails the outage at once, after an hour, and its end.
#[test]
#[ignore = "needs faketime"]
fn an_outage_of_the_ping_service_is_said_as_rarely_as_one_of_a_registry() {
    let gitea = gitea(Build::GiteaNew);
    let service = Endpoint::start();
    let shop = shop(&gitea, PING);
    shop.secret("hc", &format!("{}/planted-uuid", service.url()));
    let poll = |minutes: u32| shop.run_under(&["faketime", "-f", &format!("+{minutes}m")], &["poll"]);
    let down = |minutes| {
        for _ in 0..2 {
            service.then(Answer::new(503, "text/plain", "down"));
        }
        poll(minutes)
    };
    let said = "warning: ping_url: /start was answered by 503 Service Unavailable\n";
    down(0).code(0).line("shop/dev", &["baseline"]).stderr_has(said);
    down(5).code(0).stdout("").stderr("");
    down(61).code(0).stdout("").stderr(said);
    down(66).code(0).stdout("").stderr("");
    poll(71).code(0).stdout("").stderr("warning: ping_url: recovered; had failed since [time]\n");
    poll(76).code(0).stdout("").stderr("");
}

#[test]
fn a_ping_that_hangs_keeps_neither_the_run_nor_its_signal() {
    let gitea = gitea(Build::GiteaNew);
    let service = Endpoint::start();
    let shop = shop(&gitea, &format!("max_runtime = \"2s\"\n{PING}"));
    shop.secret("hc", &format!("{}/planted-uuid", service.url()));
    // No longer than the run itself may take.
    service.then(Reply::Hang);
    let run = shop.run(&["poll"]);
    run.code(0)
        .line("shop/dev", &["baseline"])
        .stderr_has("ping_url: /start: no complete answer within [duration]");

    let told = "told to stop by signal 15 (SIGTERM)";
    let last_ping = || service.requests().last().unwrap().path().to_owned();
    let another = || {
        let shop = self::shop(&gitea, PING);
        shop.secret("hc", &format!("{}/planted-uuid", service.url()));
        shop
    };

    for _ in 0..2 {
        service.then(Reply::Hang);
    }
    let interrupted = another();
    ends_at_a_signal(interrupted.start(&["poll"]), Signal::TERM, 143, || service.requests().len() == 3)
        .stderr_has(&format!("ping_url: /start: no answer yet: tagship was {told}\n"))
        .shows_not("/143");
    assert_eq!(last_ping(), "/planted-uuid/143");

    service.then(Answer::new(200, "text/plain", "OK"));
    service.then(Reply::Hang);
    let (interrupted, before) = (another(), gitea.count("/"));
    gitea.intercept(|_| Some(Reply::Hang));
    ends_at_a_signal(interrupted.start(&["poll"]), Signal::TERM, 143, || gitea.count("/") > before)
        .stderr_has(&format!("ping_url: /143: no complete answer within [duration] of being {told}\n"));
    assert_eq!(last_ping(), "/planted-uuid/143");
}
