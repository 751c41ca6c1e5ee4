//! The coordinating thread: it records decisions, hands deployments to the queue, and reports.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::deliver::{self, Queue};
use super::listing::Listed;
use super::record::{self, Recorded};
use super::{Context, Message, SIGNAL_PATIENCE};
use crate::report::{Event, Report, Summary, TargetReport};
use crate::target::Name;

/// The longest time that a decision waits for others, so that one transaction records them.
const GATHER: Duration = Duration::from_millis(200);

/// Records decisions, passes deployments on, and reports.
pub(super) struct Coordinator<'a> {
    context: &'a Context<'a>,
    queue: &'a Queue<'a>,
    report: &'a mut dyn Report,
    summary: &'a mut Summary,
    /// Listings without a decision, and the time at which the oldest of them arrived.
    gathered: Vec<Listed>,
    gathering_since: Option<Instant>,
    /// The number of targets without a listing, in total and by project.
    unlisted: usize,
    undecided: HashMap<Name, usize>,
    /// Targets whose deployments wait until all stages of their project are decided.
    held_back: HashMap<Name, Vec<Recorded<'a>>>,
    /// The number of deployments in progress.
    in_progress: usize,
    /// Whether any decision could be recorded.
    has_recorded: bool,
    /// Targets whose decision could not be recorded. Reported at the end: if no decision could be recorded, the
    /// run fails instead.
    unrecorded: Vec<TargetReport>,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        queue: &'a Queue<'a>,
        report: &'a mut dyn Report,
        summary: &'a mut Summary,
    ) -> Coordinator<'a> {
        let mut undecided = HashMap::new();
        for target in context.targets {
            *undecided.entry(target.id.project.clone()).or_insert(0) += 1;
        }
        // A decision that cannot be recorded is an error of the run only if the run did nothing else.
        let has_recorded = summary.targets > 0;
        Coordinator {
            context,
            queue,
            report,
            summary,
            gathered: Vec::new(),
            gathering_since: None,
            unlisted: context.targets.len(),
            undecided,
            held_back: HashMap::new(),
            in_progress: 0,
            has_recorded,
            unrecorded: Vec::new(),
        }
    }

    pub(super) fn work(&mut self, receiver: &mpsc::Receiver<Message>) -> anyhow::Result<()> {
        self.report.event(Event::Asked { targets: 0, of: self.unlisted });
        while self.is_waiting() {
            match receiver.recv_timeout(self.patience()) {
                Ok(Message::Listed(listed)) => self.gather(listed),
                Ok(Message::Deploying(target, tag, phase)) => {
                    self.report.event(Event::Deploying { target: &target, tag: &tag, phase });
                }
                Ok(Message::Output(target, lines)) => {
                    self.report.event(Event::Output { target: &target, lines: &lines });
                }
                Ok(Message::Warning(text)) => self.report.event(Event::Warning(&text)),
                Ok(Message::Delivered(report)) => {
                    self.in_progress -= 1;
                    self.report_target(*report);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.report.event(Event::Idle),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if self.is_time_to_record() {
                self.record();
            }
        }
        // After a signal only some stages of a project may have a decision, so none of the project is deployed.
        let mut waiting: Vec<Recorded<'a>> = self.held_back.drain().flat_map(|(_, stages)| stages).collect();
        waiting.sort_by_key(|recorded| recorded.index);
        waiting
            .iter()
            .for_each(|recorded| self.report_target(deliver::not_started(self.context.run.mode, recorded)));
        let unrecorded = std::mem::take(&mut self.unrecorded);
        match unrecorded.first() {
            Some(first) if !self.has_recorded => Err(anyhow::Error::msg(first.reason.clone())),
            _ => {
                unrecorded.into_iter().for_each(|report| self.report_target(report));
                Ok(())
            }
        }
    }

    /// After a signal, waits only for recorded deployments in progress. A check that was not made is not a
    /// failed check.
    fn is_waiting(&self) -> bool {
        let is_asking = self.unlisted > 0 && self.context.run.stop.signal().is_none();
        is_asking || self.in_progress > 0 || !self.gathered.is_empty()
    }

    fn patience(&self) -> Duration {
        let left = self.gathering_since.map(|since| GATHER.saturating_sub(since.elapsed()));
        left.map_or(SIGNAL_PATIENCE, |left| left.min(SIGNAL_PATIENCE))
    }

    pub(super) fn gather(&mut self, listed: Vec<Listed>) {
        self.unlisted -= listed.len();
        let of = self.context.targets.len();
        self.report.event(Event::Asked { targets: of - self.unlisted, of });
        // Decisions without a change can wait, so that an idle poll writes only once.
        if !listed.iter().all(Listed::is_unchanged) {
            self.gathering_since.get_or_insert_with(Instant::now);
        }
        self.gathered.extend(listed);
    }

    fn is_time_to_record(&self) -> bool {
        let waited = self.gathering_since.is_some_and(|since| since.elapsed() >= GATHER);
        !self.gathered.is_empty()
            && (self.unlisted == 0
                || waited
                || self.context.run.stop.signal().is_some()
                || self.gathered.iter().any(Listed::wants_deployment))
    }

    fn record(&mut self) {
        self.gathering_since = None;
        let gathered = std::mem::take(&mut self.gathered);
        let last = self.unlisted == 0;
        for recorded in record::record(self.context, gathered, last) {
            let project = match recorded {
                Ok(recorded) => self.recorded(recorded),
                Err(report) => {
                    let project = report.target.project.clone();
                    self.unrecorded.push(*report);
                    project
                }
            };
            let left = self.undecided.get_mut(&project).expect("the count includes every target");
            *left -= 1;
            if *left == 0 {
                self.pass_on(&project);
            }
        }
    }

    /// Returns the project.
    fn recorded(&mut self, recorded: Recorded<'a>) -> Name {
        self.has_recorded = true;
        recorded.notes.iter().for_each(|note| self.report.event(Event::Warning(note)));
        let project = recorded.target.id.project.clone();
        if recorded.is_to_deliver {
            self.held_back.entry(project.clone()).or_default().push(recorded);
        } else {
            self.report_target(recorded.report);
        }
        project
    }

    /// Stages of one project are deployed one after another, in the order written.
    fn pass_on(&mut self, project: &Name) {
        let Some(mut stages) = self.held_back.remove(project) else {
            return;
        };
        stages.sort_by_key(|recorded| recorded.index);
        self.in_progress += stages.len();
        self.queue.push(stages);
    }

    fn report_target(&mut self, report: TargetReport) {
        self.summary.count(&report);
        self.report.event(Event::Target(&report));
    }
}
