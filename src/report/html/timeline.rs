//! The layout of the timeline: positions of deployments, and how many are drawn.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::store::Past;
use crate::target::TargetId;

/// How many targets are drawn: the ones with the newest deployments.
const MOST_LANES: usize = 20;

/// The longest span of the timeline, in hours. With more, today's deployments would overlap.
const SPANS: [i64; 7] = [6, 24, 3 * 24, 7 * 24, 14 * 24, 21 * 24, 30 * 24];

/// Possible hours between two lines.
const STEPS: [i64; 8] = [1, 3, 6, 12, 24, 2 * 24, 4 * 24, 7 * 24];

/// How many lines fit on a phone.
const MOST_TICKS: i64 = 6;

/// From here on, the space belongs to "now".
const LAST_LABEL: f64 = 88.0;

/// Labels before here would be cut off.
const FIRST_LABEL: f64 = 5.0;

/// The drawn deployments. Positions are in percent of the width; now is 100.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    pub(super) from: Timestamp,
    pub(super) ticks: Vec<Tick>,
    /// The target with the newest deployment first.
    pub(super) lanes: Vec<Lane<'a>>,
    /// Deployments that are not drawn.
    pub(super) left_out: usize,
}

/// A line at a full hour or at the start of a day, in UTC.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) at: f64,
    /// None: no space for it.
    pub(super) label: Option<String>,
}

/// One target's deployments, newest first.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    pub(super) target: &'a TargetId,
    pub(super) marks: Vec<Bar<'a>>,
}

#[derive(Debug)]
pub(super) struct Bar<'a> {
    pub(super) past: &'a Past,
    /// The position of its planning.
    pub(super) from: f64,
    /// The position of its end, or of now if it has not ended.
    pub(super) to: f64,
}

impl<'a> Timeline<'a> {
    /// `recent`: newest first. None: the last deployment is longer ago than the timeline can span.
    pub(super) fn of(recent: &'a [Past], now: Timestamp) -> Option<Timeline<'a>> {
        let age = |past: &Past| now.duration_since(past.created_at);
        let longest = SignedDuration::from_hours(SPANS[SPANS.len() - 1]);
        let oldest = recent.iter().map(age).filter(|age| *age <= longest).max()?;
        let span = SPANS.into_iter().find(|hours| SignedDuration::from_hours(*hours) >= oldest)?;
        let from = now.checked_sub(SignedDuration::from_hours(span)).ok()?;
        let place = |moment: Timestamp| {
            let share = moment.duration_since(from).as_secs_f64() / now.duration_since(from).as_secs_f64();
            (share * 100.0).clamp(0.0, 100.0)
        };
        let mut lanes: Vec<Lane<'a>> = Vec::new();
        let mut places: HashMap<&TargetId, usize> = HashMap::new();
        let mut drawn = 0;
        for past in recent.iter().filter(|past| age(past) <= longest) {
            let lane = match places.get(&past.target) {
                Some(lane) => *lane,
                None if lanes.len() == MOST_LANES => continue,
                None => {
                    places.insert(&past.target, lanes.len());
                    lanes.push(Lane { target: &past.target, marks: Vec::new() });
                    lanes.len() - 1
                }
            };
            let (from, to) = (place(past.created_at), place(past.ended_at.unwrap_or(now)));
            lanes[lane].marks.push(Bar { past, from, to: to.max(from) });
            drawn += 1;
        }
        Some(Timeline { from, ticks: ticks(from, now, span, place), lanes, left_out: recent.len() - drawn })
    }
}

fn ticks(from: Timestamp, now: Timestamp, span: i64, place: impl Fn(Timestamp) -> f64) -> Vec<Tick> {
    let step = STEPS.into_iter().find(|step| span / step <= MOST_TICKS).unwrap_or(STEPS[STEPS.len() - 1]);
    let first = from.as_second().div_euclid(step * 3600) + 1;
    (first..)
        .map_while(|number| Timestamp::from_second(number * step * 3600).ok().filter(|tick| *tick < now))
        .map(|tick| {
            let at = place(tick);
            let label = (FIRST_LABEL..LAST_LABEL).contains(&at).then(|| name(tick));
            Tick { at, label }
        })
        .collect()
}

/// `23 Nov` at the start of a day, otherwise `06:00`.
fn name(tick: Timestamp) -> String {
    let is_day = tick.as_second().rem_euclid(86400) == 0;
    tick.strftime(if is_day { "%-d %b" } else { "%H:%M" }).to_string()
}

#[cfg(test)]
mod properties {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::report::html::tests::{moment, past};

    proptest! {
        /// For any deployments, with right or wrong clocks: nothing is drawn outside the timeline, later
        /// deployments are further right, and the timeline stays small.
        #[test]
        fn positions_are_ordered_and_within_bounds(
            deployments in vec((0..40u8, -90_000..4_000_000i64, prop::option::of(0..100_000i64)), 0..200),
        ) {
            let mut recent: Vec<Past> = deployments
                .iter()
                .map(|(stage, ago, took)| past(&format!("shop/s{stage}"), -ago, took.map(|took| took - ago)))
                .collect();
            recent.sort_by_key(|past| std::cmp::Reverse(past.created_at));
            let Some(timeline) = Timeline::of(&recent, moment(0)) else {
                prop_assert!(recent.iter().all(|past| past.created_at < moment(-30 * 86400)));
                return Ok(());
            };
            let drawn: usize = timeline.lanes.iter().map(|lane| lane.marks.len()).sum();
            prop_assert_eq!(drawn + timeline.left_out, recent.len());
            prop_assert!(timeline.lanes.len() <= MOST_LANES);
            for lane in &timeline.lanes {
                prop_assert!(!lane.marks.is_empty());
                for mark in &lane.marks {
                    prop_assert_eq!(&mark.past.target, lane.target);
                    prop_assert!(0.0 <= mark.from && mark.from <= mark.to && mark.to <= 100.0, "{mark:?}");
                }
                prop_assert!(lane.marks.is_sorted_by(|newer, older| newer.from >= older.from));
            }
            prop_assert!((1..=8).contains(&timeline.ticks.len()), "{:?}", timeline.ticks);
            prop_assert!(timeline.ticks.is_sorted_by(|a, b| a.at < b.at));
            prop_assert!(timeline.ticks.iter().all(|tick| (0.0..=100.0).contains(&tick.at)));
        }
    }

    #[test]
    fn lines_are_at_full_hours_and_starts_of_days() {
        for (ago, expected) in [
            (3600, vec!["10:00", "11:00", "12:00", "13:00", "14:00"]),
            (20 * 3600, vec!["18:00", "25 Nov", "06:00", "12:00"]),
            (5 * 86400, vec!["19 Nov", "21 Nov", "23 Nov"]),
        ] {
            let recent = [past("shop/dev", -ago, Some(1 - ago))];
            let timeline = Timeline::of(&recent, moment(0)).unwrap();
            let labels: Vec<String> = timeline.ticks.into_iter().filter_map(|tick| tick.label).collect();
            assert_eq!(labels, expected);
        }
    }
}
