//! Records the result of a recheck without a deployment: an outage begins, continues or ends. The reason is
//! reported as often as any result of a poll.

use jiff::Timestamp;

use super::deliver::Delivery;
use super::outbox;
use super::record::Recorded;
use crate::engine::{self, Change, Decision, PollState, Status};
use crate::report::TargetReport;
use crate::store::StoreError;

impl Delivery<'_> {
    /// The report of a target to which nothing was sent. `report`: the reason.
    pub(super) fn unsent(
        &self,
        recorded: &Recorded<'_>,
        report: TargetReport,
    ) -> Result<TargetReport, StoreError> {
        let decide = |before: &PollState, now| match &report.failure {
            Some(failure) => engine::decide_failed(Some(before), failure.clone(), now),
            None => Decision {
                until: report.until,
                latest_tag: report.latest_tag.clone(),
                ..engine::decide_without_tags(Some(before), report.status, report.reason.clone(), now)
            },
        };
        match report.status {
            Status::Adopted | Status::Older => {
                self.end_outage(recorded)?;
                Ok(report)
            }
            Status::Failed => Ok(report),
            // A failed check must not look like a hold or a gate.
            _ if recorded.report.status == Status::Unknown => Ok(recorded.report.clone()),
            Status::Waiting | Status::Held | Status::Unknown => {
                let run = self.context.run;
                let now = Timestamp::now();
                let is_reportable = run.store.write(|write| {
                    let id = &recorded.target.id;
                    let last_reported = recorded.last_reported.clone();
                    let before = PollState { last_reported, ..write.state(id)?.unwrap_or_default() };
                    let mut decision = decide(&before, now);
                    let is_reportable =
                        engine::mark_reported(&mut decision, Some(&before), run.audience, now);
                    outbox::enqueue_decision(write, run.config, id, &decision, Some(&before), now)?;
                    write.save(id, &Change { state: decision.state, ..Change::default() }, now)?;
                    Ok(is_reportable)
                })?;
                Ok(TargetReport { is_reportable, ..report })
            }
            _ => Ok(report),
        }
    }

    /// Ends an outage that the poll left open until the recheck, which had an answer.
    pub(super) fn end_outage(&self, recorded: &Recorded<'_>) -> Result<(), StoreError> {
        let report = &recorded.report;
        if report.status == Status::Unknown || report.failed_since.is_none() {
            return Ok(());
        }
        let (run, id, now) = (self.context.run, &recorded.target.id, Timestamp::now());
        run.store.write(|write| {
            let Some(before) = write.state(id)?.filter(|state| state.failing.is_some()) else {
                return Ok(());
            };
            let decision = engine::decide_recovered(before.clone());
            let decision = Decision { latest_tag: report.latest_tag.clone(), ..decision };
            outbox::enqueue_decision(write, run.config, id, &decision, Some(&before), now)?;
            write.save(id, &Change { state: decision.state, ..Change::default() }, now)
        })
    }
}
