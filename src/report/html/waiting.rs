//! Tags that are blocked by a gate or need a person, and targets on hold.

use maud::{Markup, html};

use super::MOST_TOLD;
use super::failure::{command, pair};
use super::word::{Words, tag_of};
use crate::engine::Status;
use crate::report::StatusRow;

/// Blocked tags: why, and until when.
pub(super) fn gates(words: &Words<'_>, rows: &[StatusRow]) -> Markup {
    let waits = |status| matches!(status, Status::Waiting | Status::Available);
    let mut waiting: Vec<&StatusRow> =
        rows.iter().filter(|row| row.hold.is_none() && row.status.is_some_and(waits)).collect();
    // Tags that need a person come first.
    waiting.sort_by_key(|row| row.status != Some(Status::Available));
    if waiting.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="waiting" {
            h2 id="waiting" { "Waiting " span.count { (waiting.len()) } }
            ul.cards {
                @for row in waiting.iter().take(MOST_TOLD) {
                    li {
                        h3 { (row.target) @if let Some(tag) = row.waiting.first() { " " (tag_of(row, tag)) } }
                        dl {
                            @if let Some(reason) = &row.reason { (pair("Why", &html! { (words.text(reason)) })) }
                            @if let Some(until) = row.until { (pair("Until", &words.moment(until))) }
                            @if row.status == Some(Status::Available) {
                                (pair("Deploy", &command(&format!("tagship deploy {}", row.target))))
                            }
                        }
                    }
                }
            }
            (more(waiting.len()))
        }
    }
}

/// Targets on hold: by whom, why, and until when.
pub(super) fn holds(words: &Words<'_>, rows: &[StatusRow]) -> Markup {
    let held: Vec<_> = rows.iter().filter_map(|row| Some((row, row.hold.as_ref()?))).collect();
    if held.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="held" {
            h2 id="held" { "Held " span.count { (held.len()) } }
            ul.cards {
                @for (row, hold) in held.iter().take(MOST_TOLD) {
                    li {
                        h3 {
                            (row.target)
                            @if let Some(tag) = row.waiting.first() { " " (tag_of(row, tag)) }
                        }
                        dl {
                            (pair("By", &html! { (words.text(&hold.by)) ", " (words.age(hold.since)) }))
                            @if let Some(reason) = &hold.reason {
                                (pair("Why", &html! { (words.text(reason)) }))
                            }
                            @let until = hold.until.map(|until| words.moment(until));
                            (pair("Until", &until.unwrap_or_else(|| html! { "released" })))
                            (pair("Release", &command(&format!("tagship release {}", row.target))))
                        }
                    }
                }
            }
            (more(held.len()))
        }
    }
}

fn more(all: usize) -> Markup {
    html! {
        @if all > MOST_TOLD { p.note { "and " (all - MOST_TOLD) " more, in the table of all targets" } }
    }
}
