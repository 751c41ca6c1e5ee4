//! `history`: deployments with their attempts.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use schemars::JsonSchema;
use serde::Serialize;

use super::console::paint;
use super::field::{Rfc3339, VERSION, milliseconds, print};
use super::wording::{describe_by, describe_duration, describe_outcome, shortened};
use super::{Console, escape_control};
use crate::engine::{DeploymentState, Failure, Trigger};
use crate::store::{Past, PastAttempt};
use crate::target::TargetId;

/// How many lines of an attempt's output are shown by default.
const OUTPUT_LINES: usize = 5;

/// How much output of attempts is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outputs {
    Ends,
    Whole,
}

/// Deployments, newest first.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "History")]
pub(super) struct HistoryJson {
    /// The version of this format; raised by incompatible changes.
    version: u32,
    deployments: Vec<PastJson>,
    durations: Vec<DurationsJson>,
}

/// The deployment of one tag and digest to one target.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Deployment")]
struct PastJson {
    /// A UUID, the same in every attempt.
    id: String,
    project: String,
    stage: String,
    tag: String,
    /// What the stage ran before.
    previous_tag: Option<String>,
    digest: Option<String>,
    /// What triggered it.
    by: Trigger,
    /// The login name, if a person deployed or marked it.
    by_whom: Option<String>,
    state: DeploymentState,
    /// Why it ended, if that is not obvious.
    reason: Option<String>,
    created_at: Rfc3339,
    ended_at: Option<Rfc3339>,
    attempts: Vec<AttemptJson>,
    /// Where several state files were read: the one that it is from.
    state_file: Option<String>,
}

/// One attempt of the deployment.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Attempt")]
struct AttemptJson {
    /// From 1.
    number: u32,
    started_at: Rfc3339,
    ended_at: Option<Rfc3339>,
    /// The exit status of the last command that ended by itself.
    exit_status: Option<i32>,
    /// The status of the last HTTP response.
    http_status: Option<u16>,
    error: Option<Failure>,
    /// The last 64 KiB of output and responses.
    output: Option<String>,
}

/// The attempts shown for a target; the durations are those of successful attempts.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Durations")]
struct DurationsJson {
    project: String,
    stage: String,
    succeeded: usize,
    failed: usize,
    median_ms: Option<u64>,
    longest_ms: Option<u64>,
}

/// `history --format json`
pub(crate) fn history_as_json(console: &Console, deployments: &[Past]) {
    let durations = durations(deployments);
    print(
        console,
        &HistoryJson {
            version: VERSION,
            deployments: deployments.iter().map(PastJson::from).collect(),
            durations: durations.iter().map(|(target, durations)| durations.as_json(target)).collect(),
        },
    );
}

/// `history --format human`: the deployments, then their durations.
pub(crate) fn history_as_text(console: &Console, deployments: &[Past], outputs: Outputs) {
    for past in deployments {
        let change = match past.previous_tag.as_ref().filter(|previous| **previous != past.tag) {
            Some(previous) => format!("{previous} -> {}", past.tag),
            None => past.tag.to_string(),
        };
        console.line(&format!(
            "{:.0}  {}  {change}  {}  {}{}",
            past.created_at,
            past.target,
            paint(style_of(past.state), describe_outcome(past)),
            describe_by(past.by, past.by_whom.as_deref()),
            past.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", escape_control(reason))),
        ));
        let from = past.state_file.as_ref().map_or_else(String::new, |file| format!("  {file}"));
        console.line(&format!("    {}{from}", past.id));
        for attempt in &past.attempts {
            console.line(&format!(
                "    attempt {} at {:.0}: {}",
                attempt.number,
                attempt.started_at,
                outcome(attempt, past.state)
            ));
            let lines: Vec<&str> = attempt.output.iter().flat_map(|output| output.lines()).collect();
            let hidden = match outputs {
                Outputs::Ends => lines.len().saturating_sub(OUTPUT_LINES),
                Outputs::Whole => 0,
            };
            if hidden > 0 {
                console.line(&format!("        … {hidden} earlier lines: tagship history --id {}", past.id));
            }
            for line in &lines[hidden..] {
                console.data(&format!("        | {}", shortened(&escape_control(line))));
            }
        }
    }
    for (target, durations) in durations(deployments) {
        if let Some(text) = durations.describe() {
            console.line(&format!("{target}: {text}"));
        }
    }
}

fn style_of(state: DeploymentState) -> Style {
    match state {
        DeploymentState::Succeeded => AnsiColor::Green.on_default(),
        DeploymentState::Pending | DeploymentState::Running => AnsiColor::Yellow.on_default(),
        DeploymentState::Dead => AnsiColor::Red.on_default().bold(),
        DeploymentState::Superseded | DeploymentState::Dropped => Style::new().dimmed(),
    }
}

fn outcome(attempt: &PastAttempt, state: DeploymentState) -> String {
    let Some(took) = took(attempt) else {
        let is_running = state == DeploymentState::Running;
        return if is_running { "running, or interrupted".to_owned() } else { "interrupted".to_owned() };
    };
    let took = describe_duration(took);
    match &attempt.failure {
        None => format!("succeeded in {took}"),
        Some(failure) => {
            let (code, message) = (failure.code.as_str(), escape_control(&failure.message));
            format!("{} after {took}: {code}: {message}", paint(AnsiColor::Red.on_default(), "failed"))
        }
    }
}

fn took(attempt: &PastAttempt) -> Option<Duration> {
    Some(attempt.ended_at?.duration_since(attempt.started_at).unsigned_abs())
}

/// The durations of successful attempts, shortest first.
#[derive(Debug, Default)]
struct Durations {
    succeeded: Vec<Duration>,
    failed: usize,
}

/// By target.
fn durations(deployments: &[Past]) -> BTreeMap<&TargetId, Durations> {
    let mut found: BTreeMap<&TargetId, Durations> = BTreeMap::new();
    for past in deployments {
        let durations = found.entry(&past.target).or_default();
        durations.failed += past.attempts.iter().filter(|attempt| attempt.failure.is_some()).count();
        let succeeded = past.attempts.iter().filter(|attempt| attempt.failure.is_none()).filter_map(took);
        durations.succeeded.extend(succeeded);
    }
    found.values_mut().for_each(|durations| durations.succeeded.sort_unstable());
    found
}

impl Durations {
    fn median(&self) -> Option<Duration> {
        self.succeeded.get(self.succeeded.len().saturating_sub(1) / 2).copied()
    }

    /// None: a single attempt already shows its duration.
    fn describe(&self) -> Option<String> {
        let longest = self.succeeded.last().filter(|_| self.succeeded.len() > 1)?;
        let failed = match self.failed {
            0 => String::new(),
            failed => format!("; {failed} failed"),
        };
        Some(format!(
            "{} attempts succeeded in {} (median), {} (longest){failed}",
            self.succeeded.len(),
            describe_duration(self.median()?),
            describe_duration(*longest)
        ))
    }

    fn as_json(&self, target: &TargetId) -> DurationsJson {
        DurationsJson {
            project: target.project.to_string(),
            stage: target.stage.to_string(),
            succeeded: self.succeeded.len(),
            failed: self.failed,
            median_ms: self.median().map(milliseconds),
            longest_ms: self.succeeded.last().copied().map(milliseconds),
        }
    }
}

impl From<&Past> for PastJson {
    fn from(past: &Past) -> Self {
        PastJson {
            id: past.id.clone(),
            project: past.target.project.to_string(),
            stage: past.target.stage.to_string(),
            tag: past.tag.to_string(),
            previous_tag: past.previous_tag.as_ref().map(ToString::to_string),
            digest: past.digest.as_ref().map(ToString::to_string),
            by: past.by,
            by_whom: past.by_whom.clone(),
            state: past.state,
            reason: past.reason.clone(),
            created_at: past.created_at.into(),
            ended_at: past.ended_at.map(Rfc3339::from),
            attempts: past.attempts.iter().map(AttemptJson::from).collect(),
            state_file: past.state_file.clone(),
        }
    }
}

impl From<&PastAttempt> for AttemptJson {
    fn from(attempt: &PastAttempt) -> Self {
        AttemptJson {
            number: attempt.number,
            started_at: attempt.started_at.into(),
            ended_at: attempt.ended_at.map(Rfc3339::from),
            exit_status: attempt.exit_status,
            http_status: attempt.http_status,
            error: attempt.failure.clone(),
            output: attempt.output.clone(),
        }
    }
}
