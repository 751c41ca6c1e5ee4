//! A point in time as written on the command line.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// The value of `--since`, `--until` and `--at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A whole day, in UTC.
    Day(Date),
    At(Timestamp),
    /// This long before now.
    Ago(Duration),
}

impl Moment {
    /// Reads `2026-11-20`, `2026-11-20T14:30` (UTC), `2026-11-20T14:30+01:00` or `7d`.
    ///
    /// # Errors
    /// The text is none of these.
    pub(super) fn parse(text: &str) -> Result<Moment, String> {
        let is_day = text.len() == "2026-11-20".len();
        let day = || text.parse().ok().filter(|_| is_day).map(Moment::Day);
        let at = || text.parse().ok().map(Moment::At);
        let civil = || {
            let civil: DateTime = text.parse().ok()?;
            Some(Moment::At(civil.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp()))
        };
        let ago = || crate::config::parse_duration(text).map(Moment::Ago);
        ago().or_else(day).or_else(at).or_else(civil).ok_or_else(|| {
            format!(
                "expected a date such as 2026-11-20 or 2026-11-20T14:30, or a time ago such as 36h or 7d, found {text:?}"
            )
        })
    }

    /// Its first instant.
    pub(crate) fn begin(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::Day(day) => midnight(day),
            Moment::At(at) => at,
            Moment::Ago(ago) => now.saturating_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }

    /// Its last millisecond, the smallest unit of times in the state.
    pub(crate) fn last(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::Day(day) => {
                let next = day.checked_add(1.day()).map_or(Timestamp::MAX, midnight);
                next.saturating_sub(Duration::from_millis(1)).unwrap_or(next)
            }
            Moment::At(_) | Moment::Ago(_) => self.begin(now),
        }
    }
}

fn midnight(day: Date) -> Timestamp {
    day.to_zoned_datetime(TimeZone::UTC).map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_and_other_moments_do_not() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let now = at("2026-11-25T12:00:00Z");
        for (text, begin, last) in [
            ("2026-11-20", "2026-11-20T00:00:00Z", "2026-11-20T23:59:59.999Z"),
            ("2026-11-20T14:30", "2026-11-20T14:30:00Z", "2026-11-20T14:30:00Z"),
            ("2026-11-20 14:30", "2026-11-20T14:30:00Z", "2026-11-20T14:30:00Z"),
            ("2026-11-20T14:30+01:00", "2026-11-20T13:30:00Z", "2026-11-20T13:30:00Z"),
            ("2026-11-20T14:30:05Z", "2026-11-20T14:30:05Z", "2026-11-20T14:30:05Z"),
            ("1d", "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z"),
        ] {
            let moment = Moment::parse(text).unwrap();
            assert_eq!((moment.begin(now), moment.last(now)), (at(begin), at(last)), "{text}");
        }
    }

    #[test]
    fn other_text_is_an_error() {
        for text in ["", "yesterday", "2026-13-01", "20.11.2026", "7"] {
            assert!(Moment::parse(text).unwrap_err().contains("such as 2026-11-20"), "{text}");
        }
    }
}
