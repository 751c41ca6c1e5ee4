//! `json`: one document for the run. `jsonl`: a line a target as it is done, then the summary.

use serde::Serialize;

use super::{Console, Report, Summary, TargetReport};
use crate::plan::Failure;
use crate::target::TargetId;

/// The version of the documents; it grows when a reader of the old one would go wrong.
pub(super) const VERSION: u32 = 1;

/// `poll --format json`
pub(crate) struct Json {
    console: Console,
    targets: Vec<TargetJson>,
}

/// `poll --format jsonl`
pub(crate) struct JsonLines {
    console: Console,
}

#[derive(Serialize)]
struct RunJson<'a> {
    #[serde(flatten)]
    head: HeadJson,
    targets: &'a [TargetJson],
}

#[derive(Serialize)]
struct HeadJson {
    version: u32,
    started_at: String,
    duration_ms: u128,
    requests: u64,
    summary: SummaryJson,
}

#[derive(Serialize)]
struct SummaryJson {
    targets: usize,
    deployed: usize,
    failed: usize,
    unknown: usize,
}

#[derive(Serialize)]
struct TargetJson {
    project: String,
    stage: String,
    status: &'static str,
    reason: String,
    latest_tag: Option<String>,
    previous_tag: Option<String>,
    deployed_tag: Option<String>,
    digest: Option<String>,
    until: Option<String>,
    deployment: Option<DeploymentJson>,
    error: Option<ErrorJson>,
}

#[derive(Serialize)]
struct DeploymentJson {
    id: String,
    state: &'static str,
    attempt: u32,
    duration_ms: u128,
}

#[derive(Serialize)]
pub(super) struct ErrorJson {
    code: &'static str,
    message: String,
}

impl Json {
    pub(crate) fn new(console: Console) -> Json {
        Json { console, targets: Vec::new() }
    }
}

impl Report for Json {
    fn target(&mut self, report: &TargetReport) {
        self.targets.push(TargetJson::from(report));
    }

    fn warning(&mut self, text: &str) {
        self.console.warning(text);
    }

    fn output(&mut self, _target: &TargetId, _line: &str) {}

    fn finish(&mut self, summary: &Summary) {
        self.targets.sort_by(|a, b| (&a.project, &a.stage).cmp(&(&b.project, &b.stage)));
        print(&self.console, &RunJson { head: HeadJson::from(summary), targets: &self.targets });
    }
}

impl JsonLines {
    pub(crate) fn new(console: Console) -> JsonLines {
        JsonLines { console }
    }
}

impl Report for JsonLines {
    fn target(&mut self, report: &TargetReport) {
        print(&self.console, &TargetJson::from(report));
    }

    fn warning(&mut self, text: &str) {
        self.console.warning(text);
    }

    fn output(&mut self, _target: &TargetId, _line: &str) {}

    fn finish(&mut self, summary: &Summary) {
        print(&self.console, &HeadJson::from(summary));
    }
}

/// Prints a value as one line of JSON.
pub(super) fn print(console: &Console, value: &impl Serialize) {
    let line = serde_json::to_string(value).expect("text, numbers and lists are always JSON");
    console.data(&line);
}

impl From<&Summary> for HeadJson {
    fn from(summary: &Summary) -> Self {
        HeadJson {
            version: VERSION,
            started_at: format!("{:.3}", summary.started_at),
            duration_ms: summary.duration.as_millis(),
            requests: summary.requests,
            summary: SummaryJson {
                targets: summary.targets,
                deployed: summary.deployed,
                failed: summary.failed,
                unknown: summary.unknown,
            },
        }
    }
}

impl From<&TargetReport> for TargetJson {
    fn from(report: &TargetReport) -> Self {
        TargetJson {
            project: report.target.project.to_string(),
            stage: report.target.stage.to_string(),
            status: report.status.as_str(),
            reason: report.reason.clone(),
            latest_tag: report.latest_tag.as_ref().map(ToString::to_string),
            previous_tag: report.previous_tag.as_ref().map(ToString::to_string),
            deployed_tag: report.deployed_tag.as_ref().map(ToString::to_string),
            digest: report.digest.as_ref().map(ToString::to_string),
            until: report.until.map(|until| format!("{until:.0}")),
            deployment: report.deployment.as_ref().map(|deployment| DeploymentJson {
                id: deployment.id.clone(),
                state: deployment.state.as_str(),
                attempt: deployment.attempt,
                duration_ms: deployment.duration.as_millis(),
            }),
            error: report.failure.as_ref().map(ErrorJson::from),
        }
    }
}

impl From<&Failure> for ErrorJson {
    fn from(failure: &Failure) -> Self {
        ErrorJson { code: failure.code.as_str(), message: failure.message.clone() }
    }
}
