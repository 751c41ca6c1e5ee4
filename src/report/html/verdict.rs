//! The first line of the page: whether a person must act, and whether polls still run.

use jiff::{SignedDuration, Timestamp};

use super::word::Tone;
use crate::engine::Status;
use crate::report::StatusRow;
use crate::report::wording::describe_duration;

/// After this many intervals without a poll, the timer has probably stopped.
const INTERVALS: u32 = 3;

pub(super) struct PageVerdict {
    pub(super) text: String,
    pub(super) tone: Tone,
    /// The last poll of any target.
    pub(super) polled: Option<Timestamp>,
    /// When the next poll is due; in the past if it is late.
    pub(super) due: Option<Timestamp>,
}

impl PageVerdict {
    pub(super) fn of(rows: &[StatusRow], now: Timestamp) -> PageVerdict {
        let last = rows.iter().filter(|row| row.is_polled).max_by_key(|row| row.checked_at);
        let polled = last.and_then(|row| row.checked_at);
        let due =
            |row: &StatusRow| row.checked_at?.checked_add(SignedDuration::try_from(row.interval).ok()?).ok();
        let due = rows.iter().filter(|row| row.is_polled).filter_map(due).min();
        let needed = rows.iter().filter(|row| row.needs_someone()).count();
        let (text, tone) = match (stopped(last, now), needed) {
            (Some(age), 0) => (format!("No poll for {age}"), Tone::Bad),
            (Some(age), _) => (format!("No poll for {age}; {}", need(needed, rows.len())), Tone::Bad),
            (None, 0) => calm(rows),
            (None, _) if rows.iter().any(StatusRow::has_failed) => (need(needed, rows.len()), Tone::Bad),
            (None, _) => (need(needed, rows.len()), Tone::Wait),
        };
        PageVerdict { text, tone, polled, due }
    }
}

/// How long ago the last poll was, if that is too long.
fn stopped(last: Option<&StatusRow>, now: Timestamp) -> Option<String> {
    let row = last?;
    let age = now.duration_since(row.checked_at?);
    let longest = SignedDuration::try_from(row.interval * INTERVALS).unwrap_or(SignedDuration::MAX);
    (age > longest).then(|| describe_duration(SignedDuration::from_mins(age.as_mins()).unsigned_abs()))
}

/// `9 of 50 need you`
fn need(needed: usize, all: usize) -> String {
    let verb = if needed == 1 { "needs" } else { "need" };
    format!("{needed} of {all} {verb} you")
}

fn calm(rows: &[StatusRow]) -> (String, Tone) {
    let all = rows.len();
    if all == 0 {
        return ("No targets".to_owned(), Tone::Quiet);
    }
    if rows.iter().all(|row| row.status.is_none()) {
        return ("Not polled yet".to_owned(), Tone::Quiet);
    }
    let is_good = |row: &&StatusRow| {
        matches!(row.status, Some(Status::UpToDate | Status::Deployed | Status::Adopted | Status::Baseline))
    };
    let good = rows.iter().filter(is_good).count();
    let runs_newest = |row: &StatusRow| row.deployed_tag.is_some() && row.deployed_tag == row.latest_tag;
    let text = match (all, rows.iter().all(runs_newest)) {
        _ if good < all => format!("Nothing needs you; {good} of {all} up to date"),
        (1, true) => "The target runs its newest".to_owned(),
        (_, true) => format!("All {all} run their newest"),
        (1, false) => "The target is up to date".to_owned(),
        (_, false) => format!("All {all} are up to date"),
    };
    (text, Tone::Good)
}
