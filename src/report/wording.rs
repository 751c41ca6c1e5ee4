//! How messages write numbers, times, triggers and output.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::escape_control;
use crate::engine::{DeploymentState, Trigger};
use crate::reference::Tag;
use crate::store::Past;

/// The longest shown line of output, in characters.
const LINE: usize = 300;

/// How many lines of a failed deployment's output are shown.
const OUTPUT_LINES: usize = 20;

/// `1 target`, `2 targets`
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A tag, or `-` if there is none.
pub(super) fn or_dash(tag: Option<&Tag>) -> &str {
    tag.map_or("-", Tag::as_str)
}

/// The trigger of a deployment, and who: `by poll`, `manually (alice)`.
pub(super) fn describe_by(by: Trigger, by_whom: Option<&str>) -> String {
    let what = match by {
        Trigger::Poll => "by poll",
        Trigger::Manual => "manually",
        Trigger::Mark => "by mark",
        Trigger::Probe => "by probe",
        Trigger::Rollback => "by rollback",
    };
    by_whom.map_or_else(|| what.to_owned(), |name| format!("{what} ({})", escape_control(name)))
}

/// The state of a deployment. A pending one may have failed before.
pub(super) fn describe_outcome(past: &Past) -> &'static str {
    let has_failed = past.attempts.last().is_some_and(|attempt| attempt.failure.is_some());
    match past.state {
        DeploymentState::Pending if has_failed => "failed, will be retried",
        state => state.as_str(),
    }
}

/// `3.2s`, `12ms`, `1m 5s`
pub(crate) fn describe_duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        seconds => {
            let rounded = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            format!("{rounded:#}")
        }
    }
}

/// A time and its distance from now: `2026-11-20T10:00:00Z (5m ago)`, `… (in 2h)`.
pub(super) fn describe_moment(moment: Timestamp, now: Timestamp) -> String {
    format!("{moment:.0} ({})", describe_distance(moment, now))
}

/// `5m ago` or `in 2h`
pub(super) fn describe_distance(moment: Timestamp, now: Timestamp) -> String {
    match moment.duration_since(now).as_secs() {
        ahead if ahead > 0 => format!("in {}", roughly(ahead)),
        _ => describe_age(moment, now),
    }
}

/// How long ago something was, roughly: `5m`, `3h`, `2d`.
pub(crate) fn describe_age(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs() {
        seconds if seconds < 0 => "in the future".to_owned(),
        seconds => format!("{} ago", roughly(seconds)),
    }
}

/// `40s`, `5m`, `3h`, `2d`
fn roughly(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// `2026-11-20 11:00 UTC`: the time, rounded down to the minute.
pub(crate) fn to_the_minute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The time, rounded up to the minute.
pub(super) fn over_by(moment: Timestamp) -> String {
    let rest = SignedDuration::from_millis(59_999);
    to_the_minute(moment.saturating_add(rest).unwrap_or(moment))
}

/// Cuts a line that is too long for a mail.
pub(super) fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// The end of a deployment's output, line by line.
pub(super) fn last_lines(output: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = output.lines().collect();
    lines.into_iter().rev().take(OUTPUT_LINES).rev()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_rounded_down_and_ends_up() {
        for (moment, began, over) in [
            ("2026-11-20T10:00:00Z", "10:00", "10:00"),
            ("2026-11-20T10:00:00.5Z", "10:00", "10:01"),
            ("2026-11-20T10:00:59.999Z", "10:00", "10:01"),
        ] {
            let moment: Timestamp = moment.parse().unwrap();
            assert_eq!(to_the_minute(moment), format!("2026-11-20 {began} UTC"));
            assert_eq!(over_by(moment), format!("2026-11-20 {over} UTC"));
        }
    }
}
