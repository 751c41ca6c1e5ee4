//! `status --format html`: one page that needs nothing but itself, for a screen on the wall, a phone,
//! paper and a screen reader. It runs no script and fetches nothing, and its policy forbids both.

mod failure;
mod matrix;
mod recent;
mod timeline;
mod waiting;
mod word;

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use strum::VariantArray as _;

use super::wording::count;
use super::{Console, StatusRow};
use crate::plan::Status;
use crate::store::Past;
use word::{Words, dot, spelled, tone_of};

/// How many deployments the page shows at most.
pub(crate) const MOST_RECENT: usize = 100;

/// How many failures, waiting tags and holds are told at length; the matrix has them all.
pub(crate) const MOST_TOLD: usize = 50;

const STYLE: &str = include_str!("html/style.css");

/// What the page shows.
pub(crate) struct StatusPage<'a> {
    /// In the order of the configuration.
    pub(crate) rows: &'a [StatusRow],
    /// By deployment: what the last attempt printed, for those that fail.
    pub(crate) outputs: &'a HashMap<String, String>,
    /// The newest first.
    pub(crate) recent: &'a [Past],
    pub(crate) now: Timestamp,
}

/// Prints the page.
pub(crate) fn status_as_html(console: &Console, page: &StatusPage<'_>) {
    console.data(&document(console, page).into_string());
}

fn document(console: &Console, page: &StatusPage<'_>) -> Markup {
    let words = Words { console, now: page.now };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title(page.rows)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (head(&words, page.rows)) }
                main {
                    (failure::section(&words, page))
                    (waiting::gates(&words, page.rows))
                    (waiting::holds(&words, page.rows))
                    (matrix::section(&words, page.rows))
                    (recent::section(&words, page.recent))
                }
                footer {
                    p { "Made by tagship " (env!("CARGO_PKG_VERSION")) " at " (words.instant(page.now)) "." }
                }
            }
        }
    }
}

/// Nothing is allowed but this page's own style, known by its hash.
fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

fn title(rows: &[StatusRow]) -> String {
    match rows.iter().filter(|row| row.has_failed()).count() {
        0 => "tagship status".to_owned(),
        failing => format!("{failing} failing - tagship status"),
    }
}

fn head(words: &Words<'_>, rows: &[StatusRow]) -> Markup {
    html! {
        h1 { "tagship status" }
        p.made {
            (count(rows.len(), "target")) " as of " (words.instant(words.now))
            "; ages are counted from then."
        }
        @if rows.iter().any(|row| row.status.is_some()) {
            ul.counts {
                @for (status, number) in counts(rows) {
                    li { (dot(tone_of(status))) b { (number) } " " (spelled(status)) }
                }
            }
        } @else if !rows.is_empty() {
            p.note { "Nothing was polled yet. The first poll finds what there is: " code { "tagship poll" } }
        }
    }
}

/// How many targets have each status: what failed first, then what waits.
fn counts(rows: &[StatusRow]) -> Vec<(Option<Status>, usize)> {
    let mut statuses: Vec<Option<Status>> =
        Status::VARIANTS.iter().copied().map(Some).chain([None]).collect();
    statuses.sort_by_key(|status| tone_of(*status));
    let number = |status| rows.iter().filter(|row| row.status == status).count();
    let numbers = statuses.into_iter().map(|status| (status, number(status)));
    numbers.filter(|(_, number)| *number > 0).collect()
}

#[cfg(test)]
mod tests;
