//! `status --format html`: a self-contained page for a wall screen, a phone, paper and a screen reader. It
//! runs no scripts and fetches only itself; its content security policy forbids anything else.

mod failure;
mod matrix;
mod recent;
mod timeline;
mod verdict;
mod waiting;
mod word;

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use strum::VariantArray as _;

use super::wording::over_by;
use super::{Console, StatusRow};
use crate::engine::Status;
use crate::store::Past;
use verdict::PageVerdict;
use word::{Words, dot, spelled, tone_of};

/// The most deployments on the page.
pub(crate) const MOST_RECENT: usize = 100;

/// The most cards of failures, of waiting tags and of holds; the matrix shows all of them.
pub(crate) const MOST_TOLD: usize = 50;

/// Seconds after which a browser reloads the page. (The policy allows this.)
const REFRESH: &str = "60";

const STYLE: &str = include_str!("html/style.css");

/// The content of the page.
pub(crate) struct StatusPage<'a> {
    /// In the order of the configuration.
    pub(crate) rows: &'a [StatusRow],
    /// By deployment: the output of the last attempt, for failed deployments.
    pub(crate) outputs: &'a HashMap<String, String>,
    /// Newest first.
    pub(crate) recent: &'a [Past],
    pub(crate) now: Timestamp,
}

/// Prints the page.
pub(crate) fn status_as_html(console: &Console, page: &StatusPage<'_>) {
    console.data(&document(console, page).into_string());
}

fn document(console: &Console, page: &StatusPage<'_>) -> Markup {
    let words = Words { console, now: page.now };
    let verdict = PageVerdict::of(page.rows, page.now);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta http-equiv="refresh" content=(REFRESH);
                title { (verdict.text) " - tagship" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (head(&words, page.rows, &verdict)) }
                main {
                    (failure::section(&words, page))
                    (waiting::holds(&words, page.rows))
                    (waiting::gates(&words, page.rows))
                    (matrix::section(&words, page.rows))
                    (recent::section(&words, page))
                }
                footer {
                    p { "Made by tagship " (env!("CARGO_PKG_VERSION")) " at " (words.instant(page.now)) "." }
                }
            }
        }
    }
}

/// Allows only the page's own style, identified by its hash.
fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

fn head(words: &Words<'_>, rows: &[StatusRow], verdict: &PageVerdict) -> Markup {
    html! {
        h1 class=(verdict.tone.class()) { (dot(verdict.tone)) (verdict.text) }
        p.made {
            "Written " (words.instant(words.now))
            @if let Some(polled) = verdict.polled { "; last poll " (words.age(polled)) }
            @match verdict.due {
                Some(due) if due > words.now => {
                    "; next poll by " b { (over_by(due)) } ". If that time has passed, the timer has stopped, or this page is no longer written."
                }
                Some(due) => { "; the next poll was due by " b { (over_by(due)) } "." }
                None => { "." }
            }
        }
        @if rows.iter().any(|row| row.status.is_some()) {
            ul.counts {
                @for (status, number) in counts(rows) {
                    li { (dot(tone_of(status))) b { (number) } " " (spelled(status)) }
                }
            }
        } @else if !rows.is_empty() {
            p.note { "The first poll finds the tags. Run: " code { "tagship poll" } }
        }
    }
}

/// The number of targets by status, in the order of the sections: failures first, then waiting targets.
fn counts(rows: &[StatusRow]) -> Vec<(Option<Status>, usize)> {
    let mut statuses: Vec<Option<Status>> =
        Status::VARIANTS.iter().copied().map(Some).chain([None]).collect();
    let of_failures =
        [Status::Dead, Status::RolledBack, Status::Failed, Status::Retrying, Status::Unknown, Status::Held];
    let place = |status: &Option<Status>| of_failures.iter().position(|known| Some(*known) == *status);
    statuses.sort_by_key(|status| (tone_of(*status), place(status).unwrap_or(of_failures.len())));
    let number = |status| rows.iter().filter(|row| row.status == status).count();
    let numbers = statuses.into_iter().map(|status| (status, number(status)));
    numbers.filter(|(_, number)| *number > 0).collect()
}

#[cfg(test)]
mod tests;
