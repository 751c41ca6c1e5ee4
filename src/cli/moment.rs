//! A point in time as written on the command line.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// The value of `--since`, `--until` and `--at`. Without an offset, it is in the zone in which times are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A whole day.
    Day(Date),
    Local(DateTime),
    At(Timestamp),
    /// This long before now.
    Ago(Duration),
}

impl Moment {
    /// Reads `2026-11-20`, `2026-11-20T14:30`, `2026-11-20T14:30+01:00` or `7d`.
    ///
    /// # Errors
    /// The text is none of these.
    pub(super) fn parse(text: &str) -> Result<Moment, String> {
        let is_day = text.len() == "2026-11-20".len();
        let day = || text.parse().ok().filter(|_| is_day).map(Moment::Day);
        let at = || text.parse().ok().map(Moment::At);
        let local = || text.parse().ok().map(Moment::Local);
        let ago = || crate::config::parse_duration(text).map(Moment::Ago);
        ago().or_else(day).or_else(at).or_else(local).ok_or_else(|| {
            format!(
                "expected a date such as 2026-11-20 or 2026-11-20T14:30, or a time ago such as 36h or 7d, found {text:?}"
            )
        })
    }

    /// Its first instant.
    pub(crate) fn begin(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Moment::Day(day) => instant(day.at(0, 0, 0, 0), zone),
            Moment::Local(local) => instant(local, zone),
            Moment::At(at) => at,
            Moment::Ago(ago) => now.saturating_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }

    /// Its last millisecond, the smallest unit of times in the state.
    pub(crate) fn last(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Moment::Day(day) => {
                let next = day.tomorrow().map_or(Timestamp::MAX, |next| instant(next.at(0, 0, 0, 0), zone));
                next.saturating_sub(Duration::from_millis(1)).unwrap_or(next)
            }
            Moment::Local(_) | Moment::At(_) | Moment::Ago(_) => self.begin(now, zone),
        }
    }
}

fn instant(local: DateTime, zone: &TimeZone) -> Timestamp {
    zone.to_ambiguous_timestamp(local).compatible().unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_and_other_moments_do_not() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let now = at("2026-11-25T12:00:00Z");
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (text, zone, begin, last) in [
            ("2026-11-20", &TimeZone::UTC, "2026-11-20T00:00:00Z", "2026-11-20T23:59:59.999Z"),
            ("2026-11-20", &berlin, "2026-11-19T23:00:00Z", "2026-11-20T22:59:59.999Z"),
            ("2026-03-29", &berlin, "2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999Z"),
            ("2026-11-20T14:30", &TimeZone::UTC, "2026-11-20T14:30:00Z", "2026-11-20T14:30:00Z"),
            ("2026-11-20 14:30", &berlin, "2026-11-20T13:30:00Z", "2026-11-20T13:30:00Z"),
            ("2026-11-20T14:30-01:00", &berlin, "2026-11-20T15:30:00Z", "2026-11-20T15:30:00Z"),
            ("2026-11-20T14:30:05Z", &berlin, "2026-11-20T14:30:05Z", "2026-11-20T14:30:05Z"),
            ("1d", &berlin, "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z"),
        ] {
            let moment = Moment::parse(text).unwrap();
            assert_eq!((moment.begin(now, zone), moment.last(now, zone)), (at(begin), at(last)), "{text}");
        }
    }

    #[test]
    fn other_text_is_an_error() {
        for text in ["", "yesterday", "2026-13-01", "20.11.2026", "7"] {
            assert!(Moment::parse(text).unwrap_err().contains("such as 2026-11-20"), "{text}");
        }
    }
}
