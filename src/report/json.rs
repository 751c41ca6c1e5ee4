//! `json`: one document for the run. `jsonl`: one line for each finished target, then the summary.

use schemars::JsonSchema;
use serde::Serialize;

use super::field::{Rfc3339, VERSION, milliseconds, print};
use super::{Console, Event, Report, Summary, TargetReport};
use crate::engine::{DeploymentState, Failure, Status};
use crate::reference::ImageRef;
use crate::target::Name;

/// `poll --format json`
pub(crate) struct Json {
    console: Console,
    discovered: Vec<DiscoveredJson>,
    targets: Vec<TargetJson>,
}

/// `poll --format jsonl`
pub(crate) struct JsonLines {
    console: Console,
    discovered: Vec<DiscoveredJson>,
}

/// A run.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Run")]
pub(super) struct RunJson<'a> {
    #[serde(flatten)]
    head: HeadJson,
    /// By project and stage.
    targets: &'a [TargetJson],
}

/// The result of a run.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Summary")]
pub(super) struct HeadJson {
    /// The version of this format; raised by incompatible changes.
    version: u32,
    started_at: Rfc3339,
    duration_ms: u64,
    /// Requests to registries.
    requests: u64,
    summary: SummaryJson,
    /// The projects that this run found: new images of `images`.
    discovered: Vec<DiscoveredJson>,
}

/// An image that is a new project.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Discovered")]
struct DiscoveredJson {
    project: String,
    /// `host/repository`
    image: String,
}

/// The number of targets, by result.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Counts")]
struct SummaryJson {
    targets: usize,
    /// `deployed` and `adopted`.
    deployed: usize,
    /// `failed` and `dead`.
    failed: usize,
    unknown: usize,
}

/// The result of a target in this run.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Target")]
pub(super) struct TargetJson {
    project: String,
    stage: String,
    status: Status,
    /// Why, for people.
    reason: String,
    /// The newest tag that the policy matches.
    latest_tag: Option<String>,
    /// What the stage ran before.
    previous_tag: Option<String>,
    /// What it runs now, as far as tagship knows.
    deployed_tag: Option<String>,
    digest: Option<String>,
    /// When the reason can end, if known.
    until: Option<Rfc3339>,
    /// The deployment that this run started or tried to start.
    deployment: Option<DeploymentJson>,
    error: Option<Failure>,
}

/// The deployment of one tag and digest to one target.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Deployment")]
struct DeploymentJson {
    /// A UUID, the same in every attempt.
    id: String,
    state: DeploymentState,
    /// From 1; 0: no attempt was started.
    attempt: u32,
    /// How long this attempt took.
    duration_ms: u64,
}

impl Json {
    pub(crate) fn new(console: Console) -> Json {
        Json { console, discovered: Vec::new(), targets: Vec::new() }
    }
}

impl Report for Json {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Discovered { project, image } => self.discovered.push(DiscoveredJson::of(project, image)),
            Event::Target(report) => self.targets.push(TargetJson::from(report)),
            Event::Warning(text) => self.console.warning(text),
            Event::Finished(summary) => {
                self.targets.sort_by(|a, b| (&a.project, &a.stage).cmp(&(&b.project, &b.stage)));
                let head = HeadJson::of(summary, std::mem::take(&mut self.discovered));
                print(&self.console, &RunJson { head, targets: &self.targets });
            }
            _ => {}
        }
    }
}

impl JsonLines {
    pub(crate) fn new(console: Console) -> JsonLines {
        JsonLines { console, discovered: Vec::new() }
    }
}

impl Report for JsonLines {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Discovered { project, image } => self.discovered.push(DiscoveredJson::of(project, image)),
            Event::Target(report) => print(&self.console, &TargetJson::from(report)),
            Event::Warning(text) => self.console.warning(text),
            Event::Finished(summary) => {
                print(&self.console, &HeadJson::of(summary, std::mem::take(&mut self.discovered)));
            }
            _ => {}
        }
    }
}

impl DiscoveredJson {
    fn of(project: &Name, image: &ImageRef) -> DiscoveredJson {
        DiscoveredJson { project: project.to_string(), image: image.to_string() }
    }
}

impl HeadJson {
    fn of(summary: &Summary, discovered: Vec<DiscoveredJson>) -> HeadJson {
        HeadJson {
            version: VERSION,
            started_at: summary.started_at.into(),
            duration_ms: milliseconds(summary.duration),
            requests: summary.requests,
            summary: SummaryJson {
                targets: summary.targets,
                deployed: summary.deployed,
                failed: summary.failed,
                unknown: summary.unknown,
            },
            discovered,
        }
    }
}

impl From<&TargetReport> for TargetJson {
    fn from(report: &TargetReport) -> Self {
        TargetJson {
            project: report.target.project.to_string(),
            stage: report.target.stage.to_string(),
            status: report.status,
            reason: report.reason.clone(),
            latest_tag: report.latest_tag.as_ref().map(ToString::to_string),
            previous_tag: report.previous_tag.as_ref().map(ToString::to_string),
            deployed_tag: report.deployed_tag.as_ref().map(ToString::to_string),
            digest: report.digest.as_ref().map(ToString::to_string),
            until: report.until.map(Rfc3339::from),
            deployment: report.deployment.as_ref().map(|deployment| DeploymentJson {
                id: deployment.id.clone(),
                state: deployment.state,
                attempt: deployment.attempt,
                duration_ms: milliseconds(deployment.duration),
            }),
            error: report.failure.clone(),
        }
    }
}
