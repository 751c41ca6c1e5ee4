//! What cron sends by mail: whatever a poll prints to either stream, and nothing where it prints nothing.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop};
use crate::new_tag::baselined;
use crate::registry::Build;

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;

/// The mail of a poll that starts after these minutes; None: cron sends none.
fn mail(shop: &Shop, minutes: u32) -> Option<String> {
    let clock = format!("+{}s", minutes * 60);
    let cron = ["sh", "-c", "exec \"$0\" \"$@\" 2>&1", "faketime", "-f", &clock];
    let run = shop.run_under(&cron, &["poll"]);
    (!run.stdout.is_empty()).then(|| run.stdout.clone())
}

#[test]
#[ignore = "needs faketime"]
fn a_poll_without_news_sends_no_mail() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    for minutes in [5, 10, DAY] {
        assert_eq!(mail(&shop, minutes), None, "after {minutes} minutes");
    }
}

#[test]
#[ignore = "needs faketime"]
fn a_deployment_is_one_line() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let line = "shop/dev   deployed      dev-43 in [duration]\n";
    assert_eq!(mail(&shop, 5).as_deref(), Some(line));
    assert_eq!(mail(&shop, 10), None);
}

#[test]
#[ignore = "needs faketime"]
fn a_failure_is_a_line_and_the_end_of_the_output() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.script("deploy.sh", "for line in $(seq 1 30); do echo line $line; done; exit 7\n");
    let mut expected = "shop/dev   failed        dev-43 (attempt 1, retry at [time]): \
                        command: ./deploy.sh exited with status 7: line 30\n"
        .to_owned();
    for line in 11..=30 {
        expected.push_str(&format!("    | line {line}\n"));
    }
    assert_eq!(mail(&shop, 5), Some(expected));
}

#[test]
#[ignore = "needs faketime"]
fn a_registry_that_is_down_for_a_day_is_a_handful_of_mails() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.intercept_all("", gitea.recorded("more/31-tags-list-server-error"));
    let down = [0, 5, 55, HOUR, HOUR + 5, 3 * HOUR, 6 * HOUR - 5, 6 * HOUR, 6 * HOUR + 5, 12 * HOUR];
    let down = down.into_iter().chain([DAY - 5, DAY, DAY + 5]);
    let mails: Vec<(u32, String)> =
        down.filter_map(|minutes| Some((minutes, mail(&shop, minutes)?))).collect();
    let outage = "shop/prod  unknown       unavailable: GET http://127.0.0.1:[port]/v2/acme/shop/tags/list: \
                  500 Internal Server Error: the server failed; see its log";
    let mut expected = vec![(0, format!("{outage}\n"))];
    expected.extend([HOUR, 6 * HOUR, DAY].map(|minutes| (minutes, format!("{outage} (since [time])\n"))));
    assert_eq!(mails, expected);
    gitea.recover();
    let back = "shop/prod  up_to_date    recovered; had failed since [time]; v1.10.0 is the newest\n";
    assert_eq!(mail(&shop, DAY + 10).as_deref(), Some(back));
    assert_eq!(mail(&shop, DAY + 15), None);
}
