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
        state => describe_state(state),
    }
}

/// The state for people; JSON and the state file keep the published words.
pub(super) fn describe_state(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Dropped => "removed",
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
    match moment.duration_since(now).as_millis() {
        // A part of a second counts as one, so that a time ahead never reads "0s ago".
        ahead if ahead > 0 => {
            let seconds = ahead.saturating_add(999) / 1000;
            format!("in {}", roughly(i64::try_from(seconds).unwrap_or(i64::MAX)))
        }
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

/// `40s`, `5m`, `3h`, `2d`, to the nearest.
fn roughly(seconds: i64) -> String {
    let nearest = |unit: i64| seconds.saturating_add(unit / 2) / unit;
    match (nearest(60), nearest(3600)) {
        _ if seconds < 60 => format!("{seconds}s"),
        (minutes @ ..60, _) => format!("{minutes}m"),
        (_, hours @ ..48) => format!("{hours}h"),
        _ => format!("{}d", nearest(86400)),
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
    fn distance_is_to_the_nearest_unit_and_never_past_while_it_is_to_come() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for (milliseconds, said) in [
            (1, "in 1s"),
            (900, "in 1s"),
            (59_001, "in 1m"),
            (65_000, "in 1m"),
            (7_199_100, "in 2h"),
            (7_140_000, "in 2h"),
            (3_570_000, "in 1h"),
            (86_398_000, "in 24h"),
            (172_799_000, "in 2d"),
            (0, "0s ago"),
            (-900, "0s ago"),
            (-61_000, "1m ago"),
            (-7_199_000, "2h ago"),
        ] {
            let moment = Timestamp::from_millisecond(now.as_millisecond() + milliseconds).unwrap();
            assert_eq!(describe_distance(moment, now), said, "{milliseconds} ms");
        }
    }

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
