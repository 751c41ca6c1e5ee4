//! The page: its verdict, its groups, and text that could be markup.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::engine::{DeploymentState, ErrorCode, Failure, Hold, Trigger};
use crate::reference::Tag;
use crate::report::PendingRow;
use crate::secret::Secrets;
use crate::target::{Name, TargetId};

/// This many seconds after the page's time.
pub(super) fn moment(seconds: i64) -> Timestamp {
    "2026-11-25T15:20:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

fn id(target: &str) -> TargetId {
    let (project, stage) = target.split_once('/').unwrap();
    TargetId { project: Name::new(project).unwrap(), stage: Name::new(stage).unwrap() }
}

/// A target that was never polled.
pub(super) fn row(target: &str) -> StatusRow {
    StatusRow {
        target: id(target),
        registry: Name::new("git").unwrap(),
        tag_pages: None,
        status: None,
        reason: None,
        until: None,
        concerns: None,
        latest_tag: None,
        deployed_tag: None,
        deployed_digest: None,
        deployed_at: None,
        deployed_by: None,
        deployed_origin: None,
        high_water: None,
        high_water_origin: None,
        pending: None,
        polled_at: None,
        checked_at: None,
        failure: None,
        failed_polls: 0,
        failing_since: None,
        hold: None,
        waiting: Vec::new(),
        edit: None,
        image: "git.example.com/acme/shop".to_owned(),
        rule: "tags=\"*\" order=semver".to_owned(),
        gates: Vec::new(),
        interval: Duration::from_secs(300),
        due_at: None,
        is_polled: true,
        state_file: None,
    }
}

fn up_to_date(target: &str, has: &str) -> StatusRow {
    StatusRow {
        status: Some(Status::UpToDate),
        latest_tag: Some(tag(has)),
        deployed_tag: Some(tag(has)),
        deployed_at: Some(moment(-3600)),
        ..row(target)
    }
}

/// A target whose deployment failed once, and is retried this many seconds after the page's time.
pub(super) fn past(target: &str, created: i64, ended: Option<i64>) -> Past {
    Past {
        id: format!("{target}{created}"),
        target: id(target),
        tag: tag("v1"),
        digest: None,
        previous_tag: None,
        by: Trigger::Poll,
        by_whom: None,
        state: if ended.is_some() { DeploymentState::Succeeded } else { DeploymentState::Pending },
        reason: None,
        created_at: moment(created),
        ended_at: ended.map(moment),
        attempts: Vec::new(),
        state_file: None,
    }
}

fn page_of(console: &Console, rows: &[StatusRow]) -> String {
    let outputs = HashMap::new();
    let page = StatusPage { rows, outputs: &outputs, recent: &[], now: moment(0) };
    document(console, &page).into_string()
}

/// A page with this text in every place that comes from a person, a server or a deployment.
fn page_saying(console: &Console, text: &str) -> String {
    let pending = PendingRow {
        id: "a".to_owned(),
        tag: tag("v2"),
        trigger: Trigger::Poll,
        state: DeploymentState::Dead,
        attempts: 12,
        since: moment(-60),
        next_attempt_at: None,
        last_error: Some(text.to_owned()),
    };
    let hold = Hold {
        reason: Some(text.to_owned()),
        by: text.to_owned(),
        since: moment(-60),
        until: Some(moment(3600)),
    };
    let failure = Failure { code: ErrorCode::Protocol, message: text.to_owned() };
    let rows = [
        StatusRow { pending: Some(pending), ..row("shop/dev") },
        StatusRow {
            status: Some(Status::Unknown),
            failure: Some(failure),
            hold: Some(hold),
            ..row("shop/prod")
        },
        StatusRow { status: Some(Status::Waiting), reason: Some(text.to_owned()), ..row("shop/live") },
    ];
    let outputs = HashMap::from([("a".to_owned(), text.to_owned())]);
    let said = || Some(text.to_owned());
    let recent = [Past { reason: said(), by_whom: said(), ..past("shop/dev", -60, Some(-50)) }];
    let page = StatusPage { rows: &rows, outputs: &outputs, recent: &recent, now: moment(0) };
    document(console, &page).into_string()
}

/// How often the text is on the page.
const PLACES: usize = 8;

#[test]
fn policy_allows_only_the_pages_own_style() {
    let page = page_of(&Console::new(), &[]);
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = STANDARD.encode(Sha256::digest(style));
    assert!(page.contains(&format!(
        "content=\"default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\""
    )));
    assert!(!page.contains(" style="));
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn secret_is_masked_before_markup_is_escaped() {
    let secrets = Secrets::default();
    secrets.hide("a&b<c\"d'e");
    let page = page_saying(&Console::new().masking(Arc::new(secrets)), "the key a&b<c\"d'e opens");
    assert_eq!(page.matches("the key *** opens").count(), PLACES);
    assert!(!page.contains("a&amp;b"), "{page}");
}

#[test]
fn cell_contains_tag_age_and_status() {
    let rows = [
        up_to_date("shop/dev", "dev-42"),
        StatusRow {
            status: Some(Status::Behind),
            latest_tag: Some(tag("v2")),
            ..up_to_date("shop/prod", "v1")
        },
        row("blog/prod"),
    ];
    let page = page_of(&Console::new(), &rows);
    let body = page.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
    let each = |pattern: &str, text: &str, with: &str| {
        regex::Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
    };
    let cells = each("<[^>]*>", &each("<t[rhd][^>]*>", body, "|"), "");
    assert_eq!(
        cells,
        "||shop|dev-42 1h agoup to date|v1 1h agobehindnewest v2||blog|–no such stage|not polled yet"
    );
    assert!(page.contains(
        "<time class=\"age\" datetime=\"2026-11-25T14:20:00Z\" title=\"2026-11-25 14:20 UTC\">1h ago</time>"
    ));
}

#[test]
fn with_many_stage_names_each_target_has_a_line() {
    let rows: Vec<StatusRow> = (0..1000).map(|number| row(&format!("p{number}/s{number}"))).collect();
    let page = page_of(&Console::new(), &rows);
    assert!(page.contains("<th scope=\"row\">p999/s999</th>"));
    assert!(page.len() < 500_000, "{}", page.len());
}

#[test]
fn failures_come_first_with_time_and_command() {
    let page = page_saying(&Console::new(), "no answer");
    let failing = page.find("<h2 id=\"failing\">").unwrap();
    assert!(failing < page.find("<h2 id=\"waiting\">").unwrap());
    for expected in [
        "tagship retry shop/dev &amp;&amp; tagship poll shop/dev",
        "Gave up on <code class=\"tag\">v2</code> after 12 attempts.",
        "<time datetime=\"2026-11-25T15:19:00Z\">2026-11-25 15:19 UTC</time>, 1m ago",
        "<time datetime=\"2026-11-25T16:20:00Z\">2026-11-25 16:20 UTC</time>, in 1h",
        "tagship check --online",
        "tagship release shop/prod",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
}

fn dead(target: &str) -> StatusRow {
    let pending = PendingRow {
        id: target.to_owned(),
        tag: tag("v2"),
        trigger: Trigger::Poll,
        state: DeploymentState::Dead,
        attempts: 12,
        since: moment(-60),
        next_attempt_at: None,
        last_error: Some("command: exited with status 7".to_owned()),
    };
    StatusRow { status: Some(Status::Dead), pending: Some(pending), ..polled(target) }
}

fn failed(target: &str) -> StatusRow {
    let StatusRow { pending, .. } = dead(target);
    let pending = pending.map(|pending| PendingRow {
        state: DeploymentState::Pending,
        attempts: 1,
        next_attempt_at: Some(moment(60)),
        ..pending
    });
    StatusRow { status: Some(Status::Failed), pending, ..polled(target) }
}

fn unknown(target: &str, code: ErrorCode, message: &str) -> StatusRow {
    let failure = Some(Failure { code, message: message.to_owned() });
    StatusRow { status: Some(Status::Unknown), failure, failing_since: Some(moment(-600)), ..polled(target) }
}

fn held(target: &str) -> StatusRow {
    let hold = Hold { reason: None, by: "alice".to_owned(), since: moment(-60), until: None };
    let waiting = vec![tag("v2")];
    StatusRow { status: Some(Status::Held), hold: Some(hold), waiting, ..polled(target) }
}

/// Up to date, and polled two minutes ago.
fn polled(target: &str) -> StatusRow {
    StatusRow {
        checked_at: Some(moment(-120)),
        polled_at: Some(moment(-120)),
        due_at: Some(moment(180)),
        ..up_to_date(target, "v1")
    }
}

/// The first line of the page, and the text below it.
fn first_lines(rows: &[StatusRow]) -> (String, String) {
    let page = page_of(&Console::new(), rows);
    let header = page.split_once("<header>").unwrap().1.split_once("</header>").unwrap().0;
    let text = |html: &str| regex::Regex::new("<[^>]*>").unwrap().replace_all(html, "").into_owned();
    let (heading, rest) = header.split_once("</h1>").unwrap();
    (text(heading), text(rest.split_once("</p>").unwrap().0))
}

#[test]
fn the_first_line_is_a_verdict() {
    let baseline = StatusRow { deployed_tag: None, ..polled("shop/live") };
    let waiting = StatusRow { status: Some(Status::Waiting), ..polled("shop/live") };
    let available = StatusRow { status: Some(Status::Available), ..polled("shop/live") };
    let hold_of_nothing = StatusRow { waiting: Vec::new(), ..held("shop/live") };
    let down = unknown("shop/live", ErrorCode::Unavailable, "down");
    for (rows, verdict) in [
        (vec![], "No targets"),
        (vec![row("shop/dev")], "Not polled yet"),
        (vec![polled("shop/dev")], "The target runs its newest"),
        (vec![polled("shop/dev"), polled("shop/prod")], "All 2 run their newest"),
        (vec![polled("shop/dev"), baseline], "All 2 are up to date"),
        (vec![polled("shop/dev"), waiting], "Nothing needs you; 1 of 2 up to date"),
        (vec![polled("shop/dev"), hold_of_nothing], "Nothing needs you; 1 of 2 up to date"),
        (vec![polled("shop/dev"), available], "1 of 2 needs you"),
        (vec![dead("a/b"), failed("c/d"), down, held("e/f"), polled("g/h")], "4 of 5 need you"),
    ] {
        assert_eq!(first_lines(&rows).0, verdict);
        let title = format!("<title>{verdict} - tagship</title>");
        assert!(page_of(&Console::new(), &rows).contains(&title));
    }
}

#[test]
fn stopped_timer_is_the_verdict() {
    let (verdict, below) = first_lines(&[polled("shop/dev")]);
    assert_eq!(verdict, "The target runs its newest");
    assert_eq!(
        below,
        "Written 2026-11-25 15:20 UTC; last poll 2m ago; next poll by 2026-11-25 15:23 UTC. If that time has passed, the timer has stopped, or this page is no longer written."
    );
    let old = |target: &str| StatusRow { checked_at: Some(moment(-3 * 3600)), ..polled(target) };
    let (verdict, below) = first_lines(&[old("shop/dev")]);
    assert_eq!(verdict, "No poll for 3h");
    assert_eq!(
        below,
        "Written 2026-11-25 15:20 UTC; last poll 3h ago; the next poll was due by 2026-11-25 12:25 UTC."
    );
    let failed = StatusRow { checked_at: Some(moment(-3 * 3600)), ..failed("shop/prod") };
    assert_eq!(first_lines(&[old("shop/dev"), failed]).0, "No poll for 3h; 1 of 2 needs you");
    // A target that is never polled says nothing about the timer.
    let never = StatusRow { is_polled: false, ..old("shop/dev") };
    assert_eq!(first_lines(&[never, polled("shop/prod")]).0, "All 2 run their newest");
    assert!(page_of(&Console::new(), &[]).contains("<meta http-equiv=\"refresh\" content=\"60\">"));
}

#[test]
fn outages_share_a_card_after_failed_deployments() {
    let down =
        |target: &str| unknown(target, ErrorCode::Unavailable, &format!("GET /v2/{target}: no answer"));
    let elsewhere = StatusRow { registry: Name::new("hub").unwrap(), ..down("api/dev") };
    let rows = [
        held("shop/prod"),
        down("shop/dev"),
        elsewhere,
        unknown("blog/dev", ErrorCode::NotFound, "no such image: acme/blog"),
        failed("shop/test"),
        down("cart/dev"),
        unknown("wiki/dev", ErrorCode::NotFound, "no such image: acme/wiki"),
        dead("shop/live"),
    ];
    let page = page_of(&Console::new(), &rows);
    let tags = regex::Regex::new("<[^>]*>").unwrap();
    let cards: Vec<String> = page
        .split("<h3>")
        .skip(1)
        .map(|card| tags.replace_all(card.split_once("</h3>").unwrap().0, "").into_owned())
        .collect();
    assert_eq!(
        cards,
        [
            "shop/live dead",
            "shop/test failed",
            "Registry git: 2 targets unknown",
            "api/dev unknown",
            "blog/dev unknown",
            "wiki/dev unknown",
            "shop/prod v2",
        ]
    );
    assert!(page.contains("Failing <span class=\"count\">7</span>"), "{page}");
    let counts = page.split_once("<ul class=\"counts\">").unwrap().1.split_once("</ul>").unwrap().0;
    assert_eq!(
        tags.replace_all(counts, " ").split_whitespace().collect::<Vec<_>>().join(" "),
        "1 dead 1 failed 5 unknown 1 held"
    );
    let outage = page.split_once("Registry git").unwrap().1.split_once("</article>").unwrap().0;
    for expected in
        ["GET /v2/shop/dev: no answer", "shop/dev</span>, <span class=\"name\">cart/dev", "tagship poll<"]
    {
        assert!(outage.contains(expected), "{expected} in {outage}");
    }
    let many: Vec<StatusRow> = (0..50).map(|number| down(&format!("p{number}/dev"))).collect();
    let page = page_of(&Console::new(), &many);
    assert_eq!(page.matches("<article>").count(), 1);
    assert!(page.contains("p11/dev</span> and 38 more"), "{page}");
}

#[test]
fn tag_links_to_its_page_on_the_forge() {
    let pages = || Some("https://git.example.com/acme/-/packages/container/shop/".to_owned());
    let rows = [
        StatusRow { tag_pages: pages(), ..dead("shop/dev") },
        StatusRow { tag_pages: pages(), ..held("shop/prod") },
    ];
    let recent = [past("shop/dev", -60, Some(-50)), past("gone/dev", -60, Some(-50))];
    let outputs = HashMap::new();
    let page = StatusPage { rows: &rows, outputs: &outputs, recent: &recent, now: moment(0) };
    let page = document(&Console::new(), &page).into_string();
    let link = |tag: &str| {
        format!(
            "<a href=\"https://git.example.com/acme/-/packages/container/shop/{tag}\" rel=\"noreferrer\"><code class=\"tag\">{tag}</code></a>"
        )
    };
    // The failure and the hold; the cells and the recent deployment.
    assert_eq!(page.matches(&link("v2")).count(), 2, "{page}");
    assert_eq!(page.matches(&link("v1")).count(), 3, "{page}");
    assert_eq!(page.matches("<a ").count(), 5);
}

/// The WCAG 2 contrast ratio of two colours of the style.
fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |colour: &str| {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    };
    let (a, b) = (luminance(one), luminance(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_has_enough_contrast_in_every_scheme() {
    let schemes: Vec<&str> =
        STYLE.split(":root {").skip(1).map(|scheme| scheme.split_once('}').unwrap().0).collect();
    assert_eq!(schemes.len(), 3, "light, dark, paper");
    for scheme in schemes {
        let colour =
            |name: &str| scheme.split_once(&format!("--{name}: ")).unwrap().1.split_once(';').unwrap().0;
        for text in ["text", "soft", "bad", "wait", "new", "good", "quiet"] {
            for ground in ["ground", "panel"] {
                let ratio = contrast(colour(text), colour(ground));
                assert!(ratio >= 4.5, "{text} on {ground}: {ratio:.2} in {scheme}");
            }
        }
    }
}

mod properties {
    use super::*;

    fn nasty() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            Just("<script>".to_owned()),
            Just("\"><img src=x onerror=y>".to_owned()),
            Just("]]>".to_owned()),
            Just("</style></pre>".to_owned()),
            Just("&#60;".to_owned()),
            Just("\u{202e}\u{2066}\u{61c}\u{0}\u{1b}".to_owned()),
            any::<String>(),
        ];
        proptest::collection::vec(parts, 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// With any text, the page has the same elements as with a harmless one.
        #[test]
        fn text_never_becomes_markup(text in nasty()) {
            let console = Console::new();
            let page = page_saying(&console, &format!("x{}", text.replace('\n', " ")));
            let harmless = page_saying(&console, "x");
            prop_assert_eq!(page.matches('<').count(), harmless.matches('<').count());
            prop_assert_eq!(page.matches('"').count(), harmless.matches('"').count());
            let is_hidden = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
            let is_turning = |character: char| "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}".contains(character);
            prop_assert!(!page.contains(|character| is_hidden(character) || is_turning(character)));
        }
    }
}
