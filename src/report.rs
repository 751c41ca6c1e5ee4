//! The output of a run: one event enum, and one implementation for each format. Only this module and `main`
//! print.

mod console;
mod fault;
mod field;
mod github;
mod hint;
mod history;
mod html;
mod human;
mod json;
mod outage;
mod progress;
mod ran;
mod schema;
mod status;
mod table;
mod tags;
mod wording;
mod wrap;

use std::time::Duration;

use jiff::Timestamp;

pub(crate) use console::{Console, escape_control};
pub(crate) use github::{GitHub, GitHubFiles};
pub(crate) use history::{Outputs, history_as_json, history_as_text};
pub(crate) use html::{MOST_RECENT, MOST_TOLD, StatusPage, status_as_html};
pub(crate) use human::{Human, Shown};
pub(crate) use json::{Json, JsonLines};
pub(crate) use outage::{Outage, is_sent};
pub(crate) use progress::{Progress, Silence};
pub(crate) use ran::{TargetRan, ran_as_json, ran_as_table};
pub(crate) use schema::{Document, schema};
pub(crate) use status::{PendingRow, StatusRow, status_as_json, status_as_table, status_in_full};
pub(crate) use tags::{TagsPage, tag_in_full, tags_as_json, tags_as_table};
pub(crate) use wording::{count, describe_duration, to_the_minute};

use crate::engine::{DeploymentState, Failure, Status};
use crate::reference::{Digest, ImageRef, Tag};
use crate::target::{Name, Target, TargetId};

/// The result of one target in this run.
#[derive(Clone, Debug)]
pub(crate) struct TargetReport {
    pub(crate) target: TargetId,
    pub(crate) status: Status,
    pub(crate) reason: String,
    /// When the reason can end, if known.
    pub(crate) until: Option<Timestamp>,
    /// The newest tag that the policy matches.
    pub(crate) latest_tag: Option<Tag>,
    /// What the stage ran before.
    pub(crate) previous_tag: Option<Tag>,
    /// What it runs now, as far as tagship knows.
    pub(crate) deployed_tag: Option<Tag>,
    pub(crate) digest: Option<Digest>,
    pub(crate) deployment: Option<DeploymentReport>,
    pub(crate) failure: Option<Failure>,
    /// Since when earlier polls could not check the target.
    pub(crate) failed_since: Option<Timestamp>,
    /// Whether it is new to a reader of cron's mail.
    pub(crate) is_reportable: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct DeploymentReport {
    pub(crate) id: String,
    pub(crate) state: DeploymentState,
    /// From 1; 0: no attempt was started.
    pub(crate) attempt: u32,
    /// How long this attempt took.
    pub(crate) duration: Duration,
    /// The end of its output, secrets masked.
    pub(crate) output: String,
}

/// The result of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) started_at: Timestamp,
    pub(crate) duration: Duration,
    /// Requests to registries.
    pub(crate) requests: u64,
    pub(crate) targets: usize,
    pub(crate) deployed: usize,
    pub(crate) failed: usize,
    pub(crate) unknown: usize,
    /// Something new was found or deployed.
    pub(crate) changed: bool,
    /// A selected target is being deployed by another run.
    pub(crate) busy: bool,
    /// The signal that ended the run early.
    pub(crate) signal: Option<u8>,
}

/// A progress event of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// These targets are polled, in the order of the configuration. More may follow.
    Selected(&'a [&'a Target]),
    /// The number of targets whose registries have answered.
    Asked { targets: usize, of: usize },
    /// A deployment entered a phase.
    Deploying { target: &'a TargetId, tag: &'a Tag, phase: Phase },
    /// Output of a running deployment, in whole lines.
    Output { target: &'a TargetId, lines: &'a str },
    /// An image is a new project.
    Discovered { project: &'a Name, image: &'a ImageRef },
    /// A target is done.
    Target(&'a TargetReport),
    /// A warning that belongs to no target.
    Warning(&'a str),
    /// Nothing happened for a moment: displays of elapsed time can update.
    Idle,
    /// The run has finished. Warnings may follow.
    Finished(&'a Summary),
}

/// A phase of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// From 1.
    Step { number: usize, of: usize },
    /// The stage is asked whether it runs the tag.
    Verifying,
}

/// A format of `poll`'s output.
pub(crate) trait Report {
    fn event(&mut self, event: Event<'_>);

    /// Whether it shows the output of running deployments. If not, no [`Event::Output`] is sent.
    fn shows_output(&self) -> bool {
        false
    }
}

/// How much is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// `-q`: only failures.
    Failures,
    Reportable,
    /// `-v`: also unchanged targets.
    Everything,
}

impl Detail {
    /// Whether the target is printed.
    fn wants(self, report: &TargetReport) -> bool {
        match self {
            Detail::Failures => report.status.is_failure() && report.is_reportable,
            Detail::Reportable => report.is_reportable,
            Detail::Everything => true,
        }
    }

    fn wants_warnings(self) -> bool {
        self != Detail::Failures
    }
}

impl Summary {
    pub(crate) fn begin(started_at: Timestamp) -> Summary {
        Summary {
            started_at,
            duration: Duration::ZERO,
            requests: 0,
            targets: 0,
            deployed: 0,
            failed: 0,
            unknown: 0,
            changed: false,
            busy: false,
            signal: None,
        }
    }

    /// Counts a finished target.
    pub(crate) fn count(&mut self, report: &TargetReport) {
        self.targets += 1;
        self.changed |= report.status.is_change();
        self.busy |= report.status == Status::Deploying;
        match report.status {
            Status::Deployed | Status::Adopted => self.deployed += 1,
            Status::Failed | Status::Dead | Status::RolledBack => self.failed += 1,
            Status::Unknown => self.unknown += 1,
            _ => {}
        }
    }
}
