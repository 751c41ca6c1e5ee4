//! What `history` shows: a deployment after the other, each with its attempts.

use jiff::Timestamp;
use serde::Serialize;

use super::human::shortened;
use super::json::{ErrorJson, VERSION, print};
use super::{Console, describe_age, describe_duration, escape_control};
use crate::plan::{DecidedBy, DeploymentState};
use crate::store::{Past, PastAttempt};

/// How many lines of an attempt's output people are shown.
const OUTPUT_LINES: usize = 5;

#[derive(Serialize)]
struct HistoryJson {
    version: u32,
    deployments: Vec<PastJson>,
}

#[derive(Serialize)]
struct PastJson {
    id: String,
    project: String,
    stage: String,
    tag: String,
    previous_tag: Option<String>,
    digest: Option<String>,
    by: &'static str,
    by_whom: Option<String>,
    state: &'static str,
    reason: Option<String>,
    created_at: String,
    ended_at: Option<String>,
    attempts: Vec<AttemptJson>,
}

#[derive(Serialize)]
struct AttemptJson {
    number: u32,
    started_at: String,
    ended_at: Option<String>,
    exit_status: Option<i32>,
    http_status: Option<u16>,
    error: Option<ErrorJson>,
    output: Option<String>,
}

/// `history --format json`
pub(crate) fn history_as_json(console: &Console, deployments: &[Past]) {
    print(
        console,
        &HistoryJson { version: VERSION, deployments: deployments.iter().map(PastJson::from).collect() },
    );
}

/// `history --format human`
pub(crate) fn history_as_text(console: &Console, deployments: &[Past], now: Timestamp) {
    for past in deployments {
        let change = match past.previous_tag.as_ref().filter(|previous| **previous != past.tag) {
            Some(previous) => format!("{previous} -> {}", past.tag),
            None => past.tag.to_string(),
        };
        console.data(&format!(
            "{}  {}  {change}  {}  {}{}",
            describe_age(past.created_at, now),
            past.target,
            past.state.as_str(),
            describe_by(past.by, past.by_whom.as_deref()),
            past.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", escape_control(reason))),
        ));
        console.data(&format!("    {}  {:.0}", past.id, past.created_at));
        for attempt in &past.attempts {
            console.data(&format!("    attempt {}: {}", attempt.number, outcome(attempt, past.state)));
            let lines: Vec<&str> = attempt.output.iter().flat_map(|output| output.lines()).collect();
            for line in &lines[lines.len().saturating_sub(OUTPUT_LINES)..] {
                console.data(&format!("        | {}", shortened(&escape_control(line))));
            }
        }
    }
}

/// Who or what decided on a deployment: `by a poll`, `by hand (alice)`.
pub(super) fn describe_by(by: DecidedBy, by_whom: Option<&str>) -> String {
    let what = match by {
        DecidedBy::Poll => "by a poll",
        DecidedBy::Hand => "by hand",
        DecidedBy::Mark => "marked",
        DecidedBy::Running => "found on the stage",
    };
    by_whom.map_or_else(|| what.to_owned(), |name| format!("{what} ({})", escape_control(name)))
}

fn outcome(attempt: &PastAttempt, state: DeploymentState) -> String {
    let Some(ended_at) = attempt.ended_at else {
        let is_running = state == DeploymentState::Running;
        return if is_running { "running, or interrupted".to_owned() } else { "interrupted".to_owned() };
    };
    let took = describe_duration(ended_at.duration_since(attempt.started_at).unsigned_abs());
    match &attempt.failure {
        None => format!("succeeded in {took}"),
        Some(failure) => {
            let (code, message) = (failure.code.as_str(), escape_control(&failure.message));
            format!("failed after {took}: {code}: {message}")
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
            by: past.by.as_str(),
            by_whom: past.by_whom.clone(),
            state: past.state.as_str(),
            reason: past.reason.clone(),
            created_at: format!("{:.3}", past.created_at),
            ended_at: past.ended_at.map(|ended_at| format!("{ended_at:.3}")),
            attempts: past.attempts.iter().map(AttemptJson::from).collect(),
        }
    }
}

impl From<&PastAttempt> for AttemptJson {
    fn from(attempt: &PastAttempt) -> Self {
        AttemptJson {
            number: attempt.number,
            started_at: format!("{:.3}", attempt.started_at),
            ended_at: attempt.ended_at.map(|ended_at| format!("{ended_at:.3}")),
            exit_status: attempt.exit_status,
            http_status: attempt.http_status,
            error: attempt.failure.as_ref().map(ErrorJson::from),
            output: attempt.output.clone(),
        }
    }
}
