//! Failures: since when, why, and what to type. Deployments come first, and of these the dead ones.

use std::collections::HashMap;

use maud::{Markup, html};

use super::word::{Words, badge, tag_of};
use super::{MOST_TOLD, StatusPage};
use crate::engine::{DeploymentState, ErrorCode, Failure, Status, Trigger};
use crate::report::wording::{count, last_lines, shortened};
use crate::report::{PendingRow, StatusRow};
use crate::target::Name;

/// The most targets that the card of an outage names.
const MOST_NAMES: usize = 12;

pub(super) fn section(words: &Words<'_>, page: &StatusPage<'_>) -> Markup {
    let failing = page.rows.iter().filter(|row| row.has_failed()).count();
    if failing == 0 {
        return html! {};
    }
    let mut deployments: Vec<&StatusRow> = page.rows.iter().filter(|row| has_own_card(row)).collect();
    deployments.sort_by_key(|row| row.status != Some(Status::Dead));
    let outages = outages(page.rows);
    let cards = deployments.len() + outages.len();
    html! {
        section aria-labelledby="failing" {
            h2 id="failing" { "Failing " span.count { (failing) } }
            div.failures {
                @for row in deployments.iter().take(MOST_TOLD) { (card(words, page, row)) }
                @for outage in outages.iter().take(MOST_TOLD.saturating_sub(deployments.len())) {
                    (outage_card(words, outage))
                }
            }
            @if cards > MOST_TOLD {
                p.note { "and " (cards - MOST_TOLD) " more, in the table of all targets" }
            }
        }
    }
}

/// Failed deployments, one card each. (Failed polls with the same cause share a card.)
fn has_own_card(row: &StatusRow) -> bool {
    row.failed_deployment().is_some() || (row.has_failed() && row.failure.is_none())
}

fn card(words: &Words<'_>, page: &StatusPage<'_>, row: &StatusRow) -> Markup {
    html! {
        article {
            h3 { (row.target) " " (badge(row.status)) }
            @if let Some((pending, error)) = row.failed_deployment() {
                @let output = page.outputs.get(&pending.id);
                (deployment(words, row, pending, error, output.map(String::as_str)))
            } @else {
                dl {
                    @if let Some(reason) = &row.reason { (pair("Why", &html! { (words.text(reason)) })) }
                    (pair("Read more", &command(&format!("tagship history {}", row.target))))
                }
            }
        }
    }
}

/// Targets of one registry whose polls fail for the same cause.
struct Outage<'a> {
    failure: &'a Failure,
    rows: Vec<&'a StatusRow>,
}

/// In the order of the configuration.
fn outages(rows: &[StatusRow]) -> Vec<Outage<'_>> {
    let mut outages: Vec<Outage<'_>> = Vec::new();
    let mut places: HashMap<(&Name, &str, Option<&str>), usize> = HashMap::new();
    for (row, failure) in rows.iter().filter_map(|row| Some((row, row.failure.as_ref()?))) {
        // Messages contain the request, which differs for each image.
        let message = (!is_of_the_registry(failure.code)).then_some(failure.message.as_str());
        let place = *places.entry((&row.registry, failure.code.as_str(), message)).or_insert_with(|| {
            outages.push(Outage { failure, rows: Vec::new() });
            outages.len() - 1
        });
        outages[place].rows.push(row);
    }
    outages
}

fn outage_card(words: &Words<'_>, Outage { failure, rows }: &Outage<'_>) -> Markup {
    let [first, more @ ..] = rows.as_slice() else { return html! {} };
    let since = rows.iter().filter_map(|row| row.failing_since).min();
    let reached = rows.iter().filter_map(|row| row.polled_at).max();
    html! {
        article {
            @if more.is_empty() {
                h3 { (first.target) " " (badge(Some(Status::Unknown))) }
            } @else {
                h3 {
                    @if is_of_the_registry(failure.code) { "Registry " (first.registry) ": " }
                    (rows.len()) " targets " (badge(Some(Status::Unknown)))
                }
            }
            dl {
                @if let Some(since) = since { (pair("Since", &words.moment(since))) }
                (pair("Cause", &cause(words, Some(failure.code), &failure.message)))
                @let last = reached.map_or_else(|| html! { "never" }, |polled| words.moment(polled));
                (pair("Reached", &last))
                (pair(purpose(failure.code), &command(&cure(failure.code, rows))))
                @if !more.is_empty() { (pair("Targets", &names(rows))) }
            }
        }
    }
}

fn names(rows: &[&StatusRow]) -> Markup {
    html! {
        @for (index, row) in rows.iter().take(MOST_NAMES).enumerate() {
            @if index > 0 { ", " }
            span.name { (row.target) }
        }
        @if rows.len() > MOST_NAMES { " and " (rows.len() - MOST_NAMES) " more" }
    }
}

fn deployment(
    words: &Words<'_>,
    row: &StatusRow,
    pending: &PendingRow,
    error: &str,
    output: Option<&str>,
) -> Markup {
    let target = &row.target;
    let is_dead = pending.state == DeploymentState::Dead;
    let (gave_up_on, failed) = match pending.trigger {
        Trigger::Rollback => ("Gave up on the rollback to ", "The rollback to "),
        Trigger::Poll | Trigger::Manual | Trigger::Mark | Trigger::Probe => ("Gave up on ", ""),
    };
    let attempts = count(pending.attempts as usize, "attempt");
    html! {
        p {
            @if is_dead { (gave_up_on) (tag_of(row, &pending.tag)) " after " (attempts) "." }
            @else { (failed) (tag_of(row, &pending.tag)) " failed after " (attempts) "; tagship will retry." }
        }
        dl {
            (pair("Since", &words.moment(pending.since)))
            (pair("Cause", &cause(words, None, error)))
            @if let Some(next) = pending.next_attempt_at && !is_dead {
                (pair("Next try", &words.moment(next)))
            }
            (pair("Try again", &command(&format!("tagship retry {target} && tagship poll {target}"))))
            (pair("Read more", &command(&format!("tagship history {target}"))))
        }
        @if let Some(output) = output.filter(|output| !output.trim().is_empty()) {
            details {
                summary { "Last output" }
                pre { @for line in last_lines(output) { (shortened(&words.text(line))) "\n" } }
            }
        }
    }
}

fn cause(words: &Words<'_>, code: Option<ErrorCode>, message: &str) -> Markup {
    html! {
        span.cause { @if let Some(code) = code { b { (code.as_str()) } ": " } (words.text(message)) }
    }
}

/// The command to run when polls fail.
fn cure(code: ErrorCode, rows: &[&StatusRow]) -> String {
    match rows {
        _ if is_about_access(code) => "tagship check --online".to_owned(),
        [row] => format!("tagship poll {}", row.target),
        _ => "tagship poll".to_owned(),
    }
}

/// Whether the cause is the server or the credential, and not one image.
fn is_of_the_registry(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unauthorized
            | ErrorCode::RateLimited
            | ErrorCode::Unavailable
            | ErrorCode::OutOfTime
            | ErrorCode::Secret
    )
}

fn purpose(code: ErrorCode) -> &'static str {
    if is_about_access(code) { "Find out" } else { "Try again" }
}

/// Whether retries fail until a person changes something.
fn is_about_access(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unauthorized
            | ErrorCode::Denied
            | ErrorCode::NotFound
            | ErrorCode::Protocol
            | ErrorCode::Secret
    )
}

pub(super) fn pair(term: &str, what: &Markup) -> Markup {
    html! { div { dt { (term) } dd { (what) } } }
}

pub(super) fn command(text: &str) -> Markup {
    html! { code.command { (text) } }
}
