//! What fails: since when, why, and what to type.

use maud::{Markup, html};

use super::word::{Words, badge};
use super::{MOST_TOLD, StatusPage};
use crate::plan::{DeploymentState, ErrorCode, Failure};
use crate::report::wording::{count, last_lines, shortened};
use crate::report::{PendingRow, StatusRow};
use crate::target::TargetId;

pub(super) fn section(words: &Words<'_>, page: &StatusPage<'_>) -> Markup {
    let failing: Vec<&StatusRow> = page.rows.iter().filter(|row| row.has_failed()).collect();
    if failing.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="failing" {
            h2 id="failing" { "Failing " span.count { (failing.len()) } }
            div.failures {
              @for row in failing.iter().take(MOST_TOLD) {
                article {
                    h3 { (row.target) " " (badge(row.status)) }
                    @if let Some(failure) = &row.failure { (check(words, row, failure)) }
                    @if let Some((pending, error)) = row.failed_deployment() {
                        @let output = page.outputs.get(&pending.id);
                        (deployment(words, &row.target, pending, error, output.map(String::as_str)))
                    }
                }
              }
            }
            @if failing.len() > MOST_TOLD {
                p.note { "and " (failing.len() - MOST_TOLD) " more, in the table of all targets" }
            }
        }
    }
}

fn check(words: &Words<'_>, row: &StatusRow, failure: &Failure) -> Markup {
    html! {
        p { "Its tags could not be checked." }
        dl {
            @if let Some(since) = row.failing_since { (pair("Since", &words.moment(since))) }
            (pair("Cause", &cause(words, Some(failure.code), &failure.message)))
            @let last = row.polled_at.map_or_else(|| html! { "never" }, |polled| words.moment(polled));
            (pair("Reached", &last))
            (pair(purpose(failure.code), &command(&cure(failure.code, &row.target))))
        }
    }
}

fn deployment(
    words: &Words<'_>,
    target: &TargetId,
    pending: &PendingRow,
    error: &str,
    output: Option<&str>,
) -> Markup {
    let is_dead = pending.state == DeploymentState::Dead;
    let attempts = count(pending.attempts as usize, "attempt");
    html! {
        p {
            code.tag { (pending.tag) }
            @if is_dead { " was given up after " (attempts) "." } @else { " could not be deployed yet: " (attempts) "." }
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
                summary { "The end of what it printed" }
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

/// What to type about a check that failed.
fn cure(code: ErrorCode, target: &TargetId) -> String {
    if is_about_access(code) { "tagship check --online".to_owned() } else { format!("tagship poll {target}") }
}

fn purpose(code: ErrorCode) -> &'static str {
    if is_about_access(code) { "Find out" } else { "Try again" }
}

/// Asking once more gives the same answer until someone changes something.
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
