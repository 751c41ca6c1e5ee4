//! The gates of a stage, as configured.

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Name;
use super::step::Step;
use crate::policy::Bump;
use crate::reference::Repository;

/// The gates of a stage. The default has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gates {
    /// The minimum time since the push.
    pub(crate) min_age: Option<Duration>,
    pub(crate) after: Option<After>,
    /// Repositories of the same registry that must have the same tag.
    pub(crate) with: Vec<Repository>,
    /// Platforms that the image must have, as `linux/amd64` or `linux/arm64/v8`.
    pub(crate) platforms: Vec<String>,
    /// The maximum distance from high-water; None: any.
    pub(crate) max_bump: Option<Bump>,
    /// The user's own commands and requests, which must all succeed.
    pub(crate) steps: Vec<Step>,
    /// When deployments may start; empty: at any time.
    pub(crate) windows: Vec<Window>,
}

impl Gates {
    /// Whether a gate can block a candidate so that an older one is deployed.
    pub(crate) fn has_any(&self) -> bool {
        // By name, so that the compiler asks for a new one. A closed window blocks every candidate.
        let Gates { min_age, after, with, platforms, max_bump, steps, windows: _ } = self;
        min_age.is_some()
            || after.is_some()
            || !with.is_empty()
            || !platforms.is_empty()
            || max_bump.is_some()
            || !steps.is_empty()
    }

    /// Each gate as the configuration writes it, without quotes: `min_age 30m`.
    pub(crate) fn describe(&self) -> Vec<String> {
        let length = |length: Duration| format!("{:#}", SignedDuration::try_from(length).unwrap_or_default());
        let Gates { min_age, after, with, platforms, max_bump, steps, windows } = self;
        let mut said = Vec::new();
        said.extend(max_bump.map(|bump| format!("max_bump {bump}")));
        said.extend(min_age.map(|age| format!("min_age {}", length(age))));
        said.extend(after.as_ref().map(|after| match after.lasting {
            Duration::ZERO => format!("after {}", after.stage),
            lasting => format!("after {} for {}", after.stage, length(lasting)),
        }));
        said.extend(steps.iter().map(|step| format!("gate {}", step.shown())));
        said.extend(with.iter().map(|repository| format!("with {repository}")));
        said.extend(platforms.iter().map(|platform| format!("platform {platform}")));
        said.extend(windows.iter().map(|window| format!("window {window}")));
        said
    }
}

/// Another stage of the project must have run the same digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) stage: Name,
    pub(crate) lasting: Duration,
}

/// Days and hours of the week, in a time zone.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The days on which it opens.
    pub(crate) days: Vec<Weekday>,
    pub(crate) from: Time,
    /// None: the end of the day. If it is not after `from`: on the next day.
    pub(crate) to: Option<Time>,
    pub(crate) zone: TimeZone,
}

/// Whether deployments may start now; if not, when they may (None: not within a year).
pub(crate) fn opening(windows: &[Window], now: Timestamp) -> Opening {
    if windows.is_empty() {
        return Opening::Open;
    }
    let mut next: Option<Timestamp> = None;
    for (start, end) in windows.iter().flat_map(|window| window.spans(now)) {
        if now < start {
            next = Some(next.map_or(start, |next| next.min(start)));
        } else if now < end {
            return Opening::Open;
        }
    }
    Opening::Closed { until: next }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Open,
    Closed { until: Option<Timestamp> },
}

impl Window {
    pub(crate) const EVERY_DAY: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    /// The spans that begin between yesterday (they may last over midnight) and a week from now.
    fn spans(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = now.to_zoned_datetime(self.zone.clone()).date();
        let first = today.yesterday().unwrap_or(today);
        first.series(jiff::Span::new().days(1)).take(10).filter_map(|day| self.span(day))
    }

    fn span(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.days.contains(&day.weekday()) {
            return None;
        }
        // If a clock change skips a time, jiff uses a later one; if it repeats a time, the first.
        let moment = |day: Date, time: Time| {
            Some(day.to_datetime(time).to_zoned_datetime(self.zone.clone()).ok()?.timestamp())
        };
        let end = match self.to {
            Some(to) if to > self.from => moment(day, to)?,
            Some(to) => moment(day.tomorrow().ok()?, to)?,
            None => moment(day.tomorrow().ok()?, Time::midnight())?,
        };
        let start = moment(day, self.from)?;
        // A clock change skips this window.
        (start < end).then_some((start, end))
    }
}

impl fmt::Display for Window {
    /// `Mon Tue 09:00-16:00 Europe/Berlin`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days.len() < 7 {
            for day in &self.days {
                write!(f, "{} ", day_name(*day))?;
            }
        }
        let zone = self.zone.iana_name().unwrap_or("local time");
        write!(f, "{}-", self.from.strftime("%H:%M"))?;
        match self.to {
            Some(to) => write!(f, "{} {zone}", to.strftime("%H:%M")),
            None => write!(f, "24:00 {zone}"),
        }
    }
}

fn day_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Mon",
        Weekday::Tuesday => "Tue",
        Weekday::Wednesday => "Wed",
        Weekday::Thursday => "Thu",
        Weekday::Friday => "Fri",
        Weekday::Saturday => "Sat",
        Weekday::Sunday => "Sun",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Weekday], from: &str, to: &str, zone: &str) -> Window {
        Window {
            days: days.to_vec(),
            from: from.parse().unwrap(),
            to: (to != "24:00").then(|| to.parse().unwrap()),
            zone: jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn until(text: &str) -> Opening {
        Opening::Closed { until: Some(at(text)) }
    }

    #[test]
    fn gates_are_described_as_in_the_configuration() {
        let gates = Gates {
            min_age: Some(Duration::from_secs(1800)),
            after: Some(After { stage: Name::new("dev").unwrap(), lasting: Duration::from_secs(86_400) }),
            platforms: vec!["linux/amd64".to_owned()],
            max_bump: Some(Bump::Minor),
            windows: vec![
                window(&[Weekday::Monday, Weekday::Friday], "09:00", "16:00", "Europe/Berlin"),
                window(&Window::EVERY_DAY, "20:00", "24:00", "UTC"),
            ],
            ..Gates::default()
        };
        assert_eq!(
            gates.describe(),
            [
                "max_bump minor",
                "min_age 30m",
                "after dev for 24h",
                "platform linux/amd64",
                "window Mon Fri 09:00-16:00 Europe/Berlin",
                "window 20:00-24:00 UTC"
            ]
        );
        assert!(Gates::default().describe().is_empty());
    }

    #[test]
    fn each_gate_except_a_window_can_block_a_single_candidate() {
        let after = After { stage: Name::new("dev").unwrap(), lasting: Duration::ZERO };
        for gates in [
            Gates { min_age: Some(Duration::ZERO), ..Gates::default() },
            Gates { after: Some(after), ..Gates::default() },
            Gates { with: vec![Repository::new("acme/worker").unwrap()], ..Gates::default() },
            Gates { platforms: vec!["linux/amd64".to_owned()], ..Gates::default() },
            Gates { max_bump: Some(Bump::Minor), ..Gates::default() },
        ] {
            assert!(gates.has_any(), "{gates:?}");
        }
        let windows = vec![window(&Window::EVERY_DAY, "09:00", "16:00", "UTC")];
        assert!(!Gates { windows, ..Gates::default() }.has_any(), "it stops all of them");
    }

    #[test]
    fn without_windows_it_is_always_open() {
        assert_eq!(opening(&[], at("2026-11-23T12:00:00Z")), Opening::Open);
    }

    #[test]
    fn window_includes_its_start_and_excludes_its_end() {
        let windows = [window(&[Weekday::Monday], "09:00", "16:00", "UTC")];
        for (moment, expected) in [
            ("2026-11-23T08:59:59Z", until("2026-11-23T09:00:00Z")),
            ("2026-11-23T09:00:00Z", Opening::Open),
            ("2026-11-23T15:59:59Z", Opening::Open),
            ("2026-11-23T16:00:00Z", until("2026-11-30T09:00:00Z")),
            ("2026-11-25T12:00:00Z", until("2026-11-30T09:00:00Z")),
        ] {
            assert_eq!(opening(&windows, at(moment)), expected, "{moment}");
        }
    }

    #[test]
    fn window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let windows = [window(&[Weekday::Friday], "22:00", "02:00", "UTC")];
        assert_eq!(opening(&windows, at("2026-11-28T01:59:00Z")), Opening::Open);
        assert_eq!(opening(&windows, at("2026-11-27T01:00:00Z")), until("2026-11-27T22:00:00Z"));
    }

    #[test]
    fn window_can_last_to_the_end_of_the_day_or_a_whole_day() {
        assert_eq!(
            opening(&[window(&Window::EVERY_DAY, "20:00", "24:00", "UTC")], at("2026-11-23T23:59:59Z")),
            Opening::Open
        );
        assert_eq!(
            opening(&[window(&Window::EVERY_DAY, "00:00", "24:00", "UTC")], at("2026-11-23T00:00:00Z")),
            Opening::Open
        );
        assert_eq!(
            opening(&[window(&Window::EVERY_DAY, "08:00", "08:00", "UTC")], at("2026-11-23T07:59:59Z")),
            Opening::Open
        );
    }

    #[test]
    fn next_of_several_windows_counts() {
        let windows = [
            window(&[Weekday::Thursday], "09:00", "10:00", "UTC"),
            window(&[Weekday::Tuesday], "09:00", "10:00", "UTC"),
        ];
        assert_eq!(opening(&windows, at("2026-11-23T12:00:00Z")), until("2026-11-24T09:00:00Z"));
    }

    #[test]
    fn window_follows_the_clock_changes_of_its_zone() {
        let windows = [window(&Window::EVERY_DAY, "09:00", "16:00", "Europe/Berlin")];
        // Winter: UTC+1. Summer: UTC+2.
        assert_eq!(opening(&windows, at("2026-11-23T08:00:00Z")), Opening::Open);
        assert_eq!(opening(&windows, at("2026-07-01T07:00:00Z")), Opening::Open);
        assert_eq!(opening(&windows, at("2026-07-01T14:00:00Z")), until("2026-07-02T07:00:00Z"));
        // 02:30 does not exist on the last Sunday of March: the window opens when it would have.
        let skipped = [window(&[Weekday::Sunday], "02:30", "05:00", "Europe/Berlin")];
        assert_eq!(opening(&skipped, at("2026-03-29T00:00:00Z")), until("2026-03-29T01:30:00Z"));
        for to in ["03:00", "03:30"] {
            let all_skipped = [window(&[Weekday::Sunday], "02:30", to, "Europe/Berlin")];
            assert_eq!(opening(&all_skipped, at("2026-03-29T00:00:00Z")), until("2026-04-05T00:30:00Z"));
        }
    }
}
