//! The page's text: text from outside, times, statuses.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::engine::Status;
use crate::reference::Tag;
use crate::report::wording::{describe_distance, to_the_minute};
use crate::report::{Console, StatusRow, escape_control};

/// Writes text from outside, and times relative to the page's time.
pub(super) struct Words<'a> {
    pub(super) console: &'a Console,
    pub(super) now: Timestamp,
}

/// How urgent a status is; most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    Bad,
    Wait,
    New,
    Good,
    Quiet,
}

impl Words<'_> {
    /// Text from a person, a server or a deployment. It is masked before escaping (markup would rewrite a
    /// secret's `&`), and invisible characters are removed. maud escapes the rest.
    pub(super) fn text(&self, text: &str) -> String {
        escape_control(&self.console.mask(text))
    }

    /// `2026-11-20 11:00 UTC`
    pub(super) fn instant(&self, then: Timestamp) -> Markup {
        html! { time datetime=(format!("{then:.0}")) { (to_the_minute(then)) } }
    }

    /// `2026-11-20 11:00 UTC, 5d ago`
    pub(super) fn moment(&self, then: Timestamp) -> Markup {
        html! { (self.instant(then)) ", " (describe_distance(then, self.now)) }
    }

    /// `5d ago`, with the exact time as a tooltip and on paper.
    pub(super) fn age(&self, then: Timestamp) -> Markup {
        html! { time.age datetime=(format!("{then:.0}")) title=(to_the_minute(then)) { (describe_distance(then, self.now)) } }
    }
}

/// A tag, with a link to its page on the forge if known.
pub(super) fn tag_of(row: &StatusRow, tag: &Tag) -> Markup {
    linked(row.tag_pages.as_deref(), tag)
}

pub(super) fn linked(pages: Option<&str>, tag: &Tag) -> Markup {
    html! {
        @match pages {
            Some(pages) => a href={ (pages) (tag) } rel="noreferrer" { code.tag { (tag) } },
            None => code.tag { (tag) },
        }
    }
}

impl Tone {
    /// Its class in the style.
    pub(super) fn class(self) -> &'static str {
        match self {
            Tone::Bad => "bad",
            Tone::Wait => "wait",
            Tone::New => "new",
            Tone::Good => "good",
            Tone::Quiet => "quiet",
        }
    }
}

/// None: not polled yet.
pub(super) fn tone_of(status: Option<Status>) -> Tone {
    match status {
        Some(Status::Failed | Status::Dead | Status::RolledBack | Status::Unknown | Status::Retrying) => {
            Tone::Bad
        }
        Some(
            Status::Waiting
            | Status::Held
            | Status::Older
            | Status::Behind
            | Status::NoMatch
            | Status::Deploying
            | Status::Pending,
        ) => Tone::Wait,
        Some(Status::WouldDeploy | Status::Available) => Tone::New,
        Some(Status::Deployed | Status::Adopted | Status::Baseline | Status::UpToDate) => Tone::Good,
        None => Tone::Quiet,
    }
}

/// `up to date`
pub(super) fn spelled(status: Option<Status>) -> String {
    status.map_or_else(|| "not polled yet".to_owned(), |status| status.as_str().replace('_', " "))
}

/// A status in words, with a shape for readers who cannot see colours.
pub(super) fn badge(status: Option<Status>) -> Markup {
    let tone = tone_of(status);
    html! { span class={ "status " (tone.class()) } { (dot(tone)) (spelled(status)) } }
}

pub(super) fn dot(tone: Tone) -> Markup {
    html! { span class={ "dot " (tone.class()) } aria-hidden="true" {} }
}
