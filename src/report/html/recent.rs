//! Recent deployments: a timeline, and the same as a table.

use std::collections::HashMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::StatusPage;
use super::timeline::{Bar, Lane, Timeline};
use super::word::{Tone, Words, dot, linked};
use crate::engine::DeploymentState;
use crate::report::StatusRow;
use crate::report::wording::{count, describe_by, describe_duration, describe_outcome, to_the_minute};
use crate::store::Past;
use crate::target::TargetId;

pub(super) fn section(words: &Words<'_>, page: &StatusPage<'_>) -> Markup {
    let recent = page.recent;
    let pages = |row| -> Option<(&TargetId, &str)> {
        let row: &StatusRow = row;
        Some((&row.target, row.tag_pages.as_deref()?))
    };
    let pages = &page.rows.iter().filter_map(pages).collect();
    html! {
        section aria-labelledby="recent" {
            h2 id="recent" { "Recent deployments" }
            @if recent.is_empty() {
                p.note { "No deployments yet." }
            } @else {
                @if let Some(timeline) = Timeline::of(recent, words.now) { (picture(&timeline)) }
                details {
                    summary { (count(recent.len(), "recent deployment")) " as a table" }
                    div.scroll role="region" aria-label="Recent deployments as a table" tabindex="0" { (table(words, recent, pages)) }
                }
            }
        }
    }
}

/// From here on, labels would overlap "now" on a phone.
const LATE: f64 = 80.0;

/// Lanes stretch with the page: positions are in percent, sizes in pixels.
fn picture(timeline: &Timeline<'_>) -> Markup {
    let marks = timeline.lanes.iter().map(|lane| lane.marks.len()).sum();
    let deployments = count(marks, "deployment");
    let since = to_the_minute(timeline.from);
    html! {
        figure {
            div.timeline role="img" aria-label={ "Timeline of " (deployments) " since " (since) "; the table below has each of them." } {
                div.lane {
                    span {}
                    svg width="100%" height="18" aria-hidden="true" {
                        @for tick in &timeline.ticks {
                            @if let Some(label) = &tick.label {
                                text.late[tick.at > LATE] x=(percent(tick.at)) y="12" text-anchor="middle" { (label) }
                            }
                        }
                        text x="100%" y="12" text-anchor="end" { "now" }
                    }
                }
                @for lane in &timeline.lanes { (strip(timeline, lane)) }
            }
            figcaption {
                span { (dot(Tone::Good)) "succeeded" }
                span { (dot(Tone::Bad)) "failed, gave up" }
                span { (dot(Tone::Wait)) "in progress" }
                span { (dot(Tone::Quiet)) "superseded or removed" }
                @if timeline.left_out > 0 { span { "not shown: " (timeline.left_out) " older ones, or of other targets" } }
            }
        }
    }
}

fn strip(timeline: &Timeline<'_>, lane: &Lane<'_>) -> Markup {
    html! {
        div.lane {
            span { (lane.target) }
            svg width="100%" height="22" aria-hidden="true" {
                @for tick in &timeline.ticks {
                    @let x = percent(tick.at);
                    line.tick x1=(x) x2=(x) y1="0" y2="22" {}
                }
                line.base x1="0" x2="100%" y1="11" y2="11" {}
                @for mark in lane.marks.iter().rev() { (drawn(mark)) }
            }
        }
    }
}

/// A line for the duration, and a shape for the end.
fn drawn(mark: &Bar<'_>) -> Markup {
    let past = mark.past;
    let tone = tone_of(past);
    let (from, to) = (percent(mark.from), percent(mark.to));
    html! {
        g class=(tone.class()) {
            title {
                (past.target) " " (past.tag) " " (describe_outcome(past)) ", " (to_the_minute(past.ended_at.unwrap_or(past.created_at)))
            }
            line.took x1=(from) x2=(to) y1="11" y2="11" {}
            @match tone {
                Tone::Bad => rect x=(to) y="6.5" width="9" height="9" transform="translate(-4.5)" {},
                Tone::Quiet => circle cx=(to) cy="11" r="2.5" {},
                _ => circle cx=(to) cy="11" r="4.5" {},
            }
        }
    }
}

fn tone_of(past: &Past) -> Tone {
    match past.state {
        DeploymentState::Succeeded => Tone::Good,
        DeploymentState::Dead => Tone::Bad,
        DeploymentState::Pending | DeploymentState::Running => Tone::Wait,
        DeploymentState::Superseded | DeploymentState::Dropped => Tone::Quiet,
    }
}

fn percent(place: f64) -> String {
    format!("{place:.2}%")
}

fn table(words: &Words<'_>, recent: &[Past], pages: &HashMap<&TargetId, &str>) -> Markup {
    let page = |past: &Past| pages.get(&past.target).copied();
    let are_several = recent.iter().any(|past| past.state_file.is_some());
    html! {
        table.recent {
            thead {
                tr {
                    @for name in ["When", "Target", "Tag", "Before", "Outcome", "By", "Attempts", "Took"] {
                        th scope="col" { (name) }
                    }
                    @if are_several { th scope="col" { "State" } }
                }
            }
            tbody {
                @for past in recent {
                    tr {
                        td { (words.instant(past.created_at)) }
                        th scope="row" { (past.target) }
                        td { (linked(page(past), &past.tag)) }
                        td { @if let Some(previous) = &past.previous_tag { (linked(page(past), previous)) } }
                        td {
                            span class={ "status " (tone_of(past).class()) } { (dot(tone_of(past))) (describe_outcome(past)) }
                            @if let Some(reason) = &past.reason { ": " (words.text(reason)) }
                        }
                        @let by_whom = past.by_whom.as_ref().map(|name| words.text(name));
                        td { (describe_by(past.by, by_whom.as_deref())) }
                        td { (past.attempts.len()) }
                        td { (took(past).unwrap_or_default()) }
                        @if are_several { td { (words.text(past.state_file.as_deref().unwrap_or_default())) } }
                    }
                }
            }
        }
    }
}

/// From the start of its first attempt to the end of its last.
fn took(past: &Past) -> Option<String> {
    let start: Timestamp = past.attempts.first()?.started_at;
    let end = past.attempts.last()?.ended_at?;
    Some(describe_duration(end.duration_since(start).unsigned_abs()))
}
