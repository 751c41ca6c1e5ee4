//! Whether a status is worth a line in cron's mail: the "Printed" column of the guarantees' status table.

use jiff::{SignedDuration, Timestamp};

use super::Decision;
use super::state::{Failing, PollState, Told};
use super::status::Status;
use crate::reference::Tag;

/// Whether a target's status is told to someone who reads every line that is printed.
///
/// `told`: what the poll before said. `failing`: the outage, where the status is `unknown`.
fn is_news(
    status: Status,
    tag: Option<&Tag>,
    told: Option<&Told>,
    failing: Option<&Failing>,
    now: Timestamp,
) -> bool {
    let same_as_told = || told.is_some_and(|told| told.status == status && told.tag.as_ref() == tag);
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
        | Status::Pending => !same_as_told(),
        Status::Unknown => failing.is_none_or(|failing| outage_is_due(failing, now)),
    }
}

/// Who gets what a run prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Cron's mail: nothing that was said before.
    Mail,
    /// Someone at a terminal, or the log of a CI job: outages are said every time.
    Person,
    /// A program that reads every target of every run. It takes no news away from people.
    Machine,
}

/// Notes in the decision's state what people are told by it, and says whether it is news.
///
/// `before`: the state that was decided on.
pub(crate) fn tell(
    decision: &mut Decision,
    before: Option<&PollState>,
    audience: Audience,
    now: Timestamp,
) -> bool {
    let told = before.and_then(|before| before.told.as_ref());
    let (status, tag) = (decision.status, decision.latest_tag.clone());
    let state = &mut decision.state;
    let recovered = state.failing.is_none() && is_recovery(before.and_then(|before| before.failing.as_ref()));
    let insisted = audience == Audience::Person && status == Status::Unknown;
    let news = insisted || recovered || is_news(status, tag.as_ref(), told, state.failing.as_ref(), now);
    match &mut state.failing {
        Some(failing) if news && audience != Audience::Machine => failing.told_at = Some(now),
        Some(_) => {}
        None => {
            state.came_to(status, Some(decision.reason.clone()), decision.until);
            if audience != Audience::Machine {
                state.told = Some(Told { status, tag });
            }
        }
    }
    news
}

/// Whether a success ends an outage that people were told of.
fn is_recovery(before: Option<&Failing>) -> bool {
    before.is_some_and(|failing| failing.told_at.is_some())
}

/// At first, after 1 h, after 6 h, then daily.
fn outage_is_due(failing: &Failing, now: Timestamp) -> bool {
    let Some(told_at) = failing.told_at else {
        return true;
    };
    let steps = |moment: Timestamp| {
        let elapsed = moment.duration_since(failing.since);
        let early = [1, 6].into_iter().filter(|hours| elapsed >= SignedDuration::from_hours(*hours)).count();
        let days = usize::try_from(elapsed.as_hours() / 24).unwrap_or(0);
        early + days
    };
    steps(now) > steps(told_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ErrorCode, Failure};

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    #[test]
    fn an_outage_is_told_at_first_after_an_hour_after_six_then_daily() {
        let mut failing = Failing {
            since: at(0),
            count: 1,
            told_at: None,
            failure: Failure { code: ErrorCode::Unavailable, message: String::new() },
        };
        let mut told = Vec::new();
        for minute in (0..3 * 24 * 60).step_by(5) {
            if is_news(Status::Unknown, None, None, Some(&failing), at(minute)) {
                failing.told_at = Some(at(minute));
                told.push(minute / 60);
            }
        }
        assert_eq!(told, [0, 1, 6, 24, 48]);
    }

    #[test]
    fn what_does_not_change_is_told_once() {
        let tag = |text| Tag::new(text).unwrap();
        let told = Told { status: Status::Available, tag: Some(tag("v1")) };
        assert!(is_news(Status::Available, Some(&tag("v1")), None, None, at(0)));
        assert!(!is_news(Status::Available, Some(&tag("v1")), Some(&told), None, at(0)));
        assert!(is_news(Status::Available, Some(&tag("v2")), Some(&told), None, at(0)));
        assert!(is_news(Status::Older, Some(&tag("v1")), Some(&told), None, at(0)));
    }
}
