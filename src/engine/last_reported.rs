//! Whether a status is printed, or was already reported.

use jiff::{SignedDuration, Timestamp};
use strum::{EnumString, IntoStaticStr};

use super::Decision;
use super::state::{Failing, LastReported, PollState};
use super::status::Status;
use crate::reference::Tag;

/// Whether a target's status is new to a reader of cron's mail.
///
/// `last`: the last reported status. `failing`: the outage, if the status is `unknown`.
fn is_reportable(
    status: Status,
    tag: Option<&Tag>,
    last: Option<&LastReported>,
    failing: Option<&Failing>,
    now: Timestamp,
) -> bool {
    let is_reported = || last.is_some_and(|last| last.status == status && last.tag.as_ref() == tag);
    match status {
        Status::Deployed
        | Status::Adopted
        | Status::WouldDeploy
        | Status::Baseline
        | Status::Failed
        | Status::Dead
        | Status::RolledBack => true,
        Status::UpToDate | Status::Retrying => false,
        Status::Available
        | Status::Waiting
        | Status::Held
        | Status::Older
        | Status::Behind
        | Status::NoMatch
        | Status::Deploying
        | Status::Pending => !is_reported(),
        Status::Unknown => {
            failing.is_none_or(|failing| outage_is_due(failing.since, failing.reported_at, now))
        }
    }
}

/// Who reads the output of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Cron's mail: only changes.
    Mail,
    /// A person at a terminal, or the log of a CI job: outages are reported every time.
    Person,
    /// A program that reads every target of every run. What it reads does not count as reported to people.
    Machine,
}

/// Records in the decision's state that its status is reported, and returns whether to print it.
///
/// `before`: the state that was decided on.
pub(crate) fn mark_reported(
    decision: &mut Decision,
    before: Option<&PollState>,
    audience: Audience,
    now: Timestamp,
) -> bool {
    let (status, tag) = (decision.status, decision.latest_tag.clone());
    let state = &mut decision.state;
    let recovered = state.failing.is_none() && is_recovery(before.and_then(|before| before.failing.as_ref()));
    let is_outage_at_terminal = audience == Audience::Person && status == Status::Unknown;
    let is_new = is_outage_at_terminal
        || recovered
        || is_reportable(status, tag.as_ref(), state.last_reported.as_ref(), state.failing.as_ref(), now);
    match &mut state.failing {
        Some(failing) if is_new && audience != Audience::Machine => failing.reported_at = Some(now),
        Some(_) => {}
        None => {
            state.came_to(status, Some(decision.reason.clone()), decision.until);
            if audience != Audience::Machine {
                state.last_reported = Some(LastReported { status, tag });
            }
        }
    }
    is_new
}

/// Whether a success ends an outage that was reported.
fn is_recovery(before: Option<&Failing>) -> bool {
    before.is_some_and(|failing| failing.reported_at.is_some())
}

/// An outage is reported when it begins, after 1 h, after 6 h, then daily. A report in the future is of a clock that was
/// wrong, and does not count.
fn outage_is_due(since: Timestamp, reported_at: Option<Timestamp>, now: Timestamp) -> bool {
    let Some(reported_at) = reported_at.filter(|reported_at| *reported_at <= now) else {
        return true;
    };
    let steps = |moment: Timestamp| {
        let elapsed = moment.duration_since(since);
        let early = [1, 6].into_iter().filter(|hours| elapsed >= SignedDuration::from_hours(*hours)).count();
        let days = usize::try_from(elapsed.as_hours() / 24).unwrap_or(0);
        early + days
    };
    steps(now) > steps(reported_at)
}

/// What a run reports itself to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Monitor {
    PingUrl,
    MetricsFile,
}

/// An outage of a monitor: runs cannot report themselves to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MonitorOutage {
    pub(crate) since: Timestamp,
    pub(crate) reported_at: Timestamp,
}

impl MonitorOutage {
    /// The outage after a run that failed to report itself, if that is reported to people now.
    pub(crate) fn reported(
        before: Option<MonitorOutage>,
        audience: Audience,
        now: Timestamp,
    ) -> Option<MonitorOutage> {
        let since = before.map_or(now, |outage| outage.since);
        let is_due = outage_is_due(since, before.map(|outage| outage.reported_at), now);
        (is_due || audience == Audience::Person).then_some(MonitorOutage { since, reported_at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ErrorCode, Failure};

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    #[test]
    fn outage_is_reported_at_once_after_1h_after_6h_then_daily() {
        let mut failing = Failing {
            since: at(0),
            count: 1,
            reported_at: None,
            failure: Failure { code: ErrorCode::Unavailable, message: String::new() },
        };
        let mut told = Vec::new();
        for minute in (0..3 * 24 * 60).step_by(5) {
            if is_reportable(Status::Unknown, None, None, Some(&failing), at(minute)) {
                failing.reported_at = Some(at(minute));
                told.push(minute / 60);
            }
        }
        assert_eq!(told, [0, 1, 6, 24, 48]);
        let is_due = |minute| is_reportable(Status::Unknown, None, None, Some(&failing), at(minute));
        assert!(is_due(47 * 60) && !is_due(49 * 60), "the last report was by a clock that was ahead");
    }

    #[test]
    fn outage_of_a_monitor_is_mailed_as_rarely_and_shown_to_each_person() {
        let began = MonitorOutage::reported(None, Audience::Mail, at(0));
        assert_eq!(began, Some(MonitorOutage { since: at(0), reported_at: at(0) }));
        for (minute, audience, reported) in [
            (59, Audience::Mail, false),
            (59, Audience::Machine, false),
            (59, Audience::Person, true),
            (60, Audience::Mail, true),
            (60, Audience::Machine, true),
        ] {
            let outage = MonitorOutage::reported(began, audience, at(minute));
            let expected = MonitorOutage { since: at(0), reported_at: at(minute) };
            assert_eq!(outage, reported.then_some(expected), "{audience:?} after {minute} minutes");
        }
    }

    #[test]
    fn unchanged_status_is_reported_once() {
        let tag = |text| Tag::new(text).unwrap();
        let told = LastReported { status: Status::Available, tag: Some(tag("v1")) };
        assert!(is_reportable(Status::Available, Some(&tag("v1")), None, None, at(0)));
        assert!(!is_reportable(Status::Available, Some(&tag("v1")), Some(&told), None, at(0)));
        assert!(is_reportable(Status::Available, Some(&tag("v2")), Some(&told), None, at(0)));
        assert!(is_reportable(Status::Older, Some(&tag("v1")), Some(&told), None, at(0)));
    }
}
