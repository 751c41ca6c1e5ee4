use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::plan::{DecidedBy, DeploymentState, ErrorCode, Failure, Hold};
use crate::reference::Tag;
use crate::report::PendingRow;
use crate::secret::Secrets;
use crate::target::{Name, TargetId};

/// So many seconds after the moment of the page.
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

/// One that failed once, at the given seconds after the moment of the page.
pub(super) fn past(target: &str, created: i64, ended: Option<i64>) -> Past {
    Past {
        id: format!("{target}{created}"),
        target: id(target),
        tag: tag("v1"),
        digest: None,
        previous_tag: None,
        by: DecidedBy::Poll,
        by_whom: None,
        state: if ended.is_some() { DeploymentState::Succeeded } else { DeploymentState::Pending },
        reason: None,
        created_at: moment(created),
        ended_at: ended.map(moment),
        attempts: Vec::new(),
    }
}

fn page_of(console: &Console, rows: &[StatusRow]) -> String {
    let outputs = HashMap::new();
    let page = StatusPage { rows, outputs: &outputs, recent: &[], now: moment(0) };
    document(console, &page).into_string()
}

/// A page with the text wherever a person, a server or a deployment can put one.
fn page_saying(console: &Console, text: &str) -> String {
    let pending = PendingRow {
        id: "a".to_owned(),
        tag: tag("v2"),
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

/// How often the page says what it is told to.
const PLACES: usize = 8;

#[test]
fn the_policy_allows_the_pages_own_style_and_nothing_else() {
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
fn a_secret_is_masked_although_markup_would_spell_it_otherwise() {
    let secrets = Secrets::default();
    secrets.hide("a&b<c\"d'e");
    let page = page_saying(&Console::new().masking(Arc::new(secrets)), "the key a&b<c\"d'e opens");
    assert_eq!(page.matches("the key *** opens").count(), PLACES);
    assert!(!page.contains("a&amp;b"), "{page}");
}

#[test]
fn a_cell_says_what_the_stage_has_since_when_and_how_it_stands() {
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
fn with_many_names_of_stages_each_target_gets_a_line() {
    let rows: Vec<StatusRow> = (0..1000).map(|number| row(&format!("p{number}/s{number}"))).collect();
    let page = page_of(&Console::new(), &rows);
    assert!(page.contains("<th scope=\"row\">p999/s999</th>"));
    assert!(page.len() < 500_000, "{}", page.len());
}

#[test]
fn what_fails_comes_first_with_since_when_and_what_to_type() {
    let page = page_saying(&Console::new(), "no answer");
    let failing = page.find("<h2 id=\"failing\">").unwrap();
    assert!(failing < page.find("<h2 id=\"waiting\">").unwrap());
    for expected in [
        "tagship retry shop/dev &amp;&amp; tagship poll shop/dev",
        "was given up after 12 attempts.",
        "<time datetime=\"2026-11-25T15:19:00Z\">2026-11-25 15:19 UTC</time>, 1m ago",
        "<time datetime=\"2026-11-25T16:20:00Z\">2026-11-25 16:20 UTC</time>, in 1h",
        "tagship check --online",
        "tagship release shop/prod",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
}

/// The ratio of WCAG 2 between two colours of the style.
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
fn text_stands_out_from_its_ground_in_every_scheme() {
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
        /// Whatever a text is, the page has the same elements as with a harmless one.
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
