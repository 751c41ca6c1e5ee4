//! A line a target, for people and for cron's mail; on a terminal, long ones are broken between words.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

use super::console::{on_one_line, paint};
use super::wording::{count, describe_duration, last_lines, or_dash, over_by, shortened, to_the_minute};
use super::wrap::wrap;
use super::{Console, Detail, Event, Report, Summary, TargetReport, escape_control};
use crate::plan::Status;

/// A target whose name is longer stands out of its column; on a terminal a third of it.
const WIDEST_TARGET: usize = 40;

/// As wide as the longest status that is common: `would_deploy`.
const STATUS: usize = 12;

/// With less room beside the columns, text goes below them.
const NARROWEST: usize = 40;

/// `poll --format human`.
pub(crate) struct Human {
    pub(crate) console: Console,
    pub(crate) detail: Detail,
    /// What deployments print is shown as it comes.
    pub(crate) live_output: bool,
    /// Someone looks at standard error: say how it went.
    pub(crate) summary: bool,
    /// As wide as the longest target, so that the columns align.
    pub(crate) width: usize,
    /// Of the terminal; None where there is none: a line a target.
    pub(crate) columns: Option<usize>,
}

impl Report for Human {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Target(report) if self.detail.wants(report) => self.target(report),
            Event::Warning(text) if self.detail.wants_warnings() => self.console.warning(text),
            Event::Output { target, lines } if self.live_output => {
                self.console.message(&behind(&format!("{target} | "), &escape_control(lines)));
            }
            Event::Finished(summary) if self.summary && self.detail.wants_warnings() => {
                self.console.message(&summary_line(summary));
            }
            _ => {}
        }
    }

    fn shows_output(&self) -> bool {
        self.live_output
    }
}

/// Each of the lines behind this text, the last without its line break.
fn behind(head: &str, lines: &str) -> String {
    let lines = lines.strip_suffix('\n').unwrap_or(lines);
    let mut text = String::with_capacity(2 * (head.len() + lines.len()));
    for (number, line) in lines.split('\n').enumerate() {
        if number > 0 {
            text.push('\n');
        }
        text.push_str(head);
        text.push_str(line);
    }
    text
}

impl Human {
    fn target(&self, report: &TargetReport) {
        let target = report.target.to_string();
        let word = report.status.as_str();
        let status = paint(style_of(report.status), word) + &" ".repeat(STATUS.saturating_sub(word.len()));
        let width = self.width.min(self.columns.map_or(WIDEST_TARGET, |columns| columns / 3));
        let head = width.max(target.len()) + 2 + STATUS + 2;
        let mut lines = self.broken(&describe(report), head, width + 2 + STATUS + 2).into_iter();
        let first = lines.next().unwrap_or_default();
        self.console.data(format!("{target:<width$}  {status}  {first}").trim_end());
        lines.for_each(|line| self.console.data(&line));
        if report.status.is_failure()
            && let Some(deployment) = &report.deployment
            && !self.live_output
        {
            for line in last_lines(&deployment.output) {
                self.console.data(&format!("    | {}", shortened(&escape_control(line))));
            }
        }
    }

    /// The text after a head of so many columns, its further lines indented.
    fn broken(&self, text: &str, head: usize, indent: usize) -> Vec<String> {
        let Some(columns) = self.columns else {
            return vec![text.to_owned()];
        };
        let indent = if columns < indent + NARROWEST { 4 } else { indent };
        let first = columns.saturating_sub(head);
        // A head that leaves little room stands alone where the text needs more.
        let first = if first < NARROWEST && text.width() > first { 0 } else { first };
        let mut lines = wrap(text, first, columns.saturating_sub(indent).max(1));
        lines.iter_mut().skip(1).for_each(|line| line.insert_str(0, &" ".repeat(indent)));
        lines
    }
}

pub(super) fn summary_line(summary: &Summary) -> String {
    let Summary { targets, deployed, failed, unknown, requests, .. } = summary;
    let mut counts = vec![count(*targets, "target"), format!("{deployed} deployed")];
    if *failed > 0 {
        counts.push(format!("{failed} failed"));
    }
    if *unknown > 0 {
        counts.push(format!("{unknown} unknown"));
    }
    counts.push(count(usize::try_from(*requests).unwrap_or(usize::MAX), "request"));
    format!("{} in {}", counts.join(", "), describe_duration(summary.duration))
}

/// A status in the colour of what it means.
pub(super) fn style_of(status: Status) -> Style {
    match status {
        Status::Deployed | Status::Adopted => AnsiColor::Green.on_default().bold(),
        Status::WouldDeploy | Status::Available | Status::Baseline => AnsiColor::Cyan.on_default(),
        Status::UpToDate => Style::new(),
        Status::Waiting
        | Status::Held
        | Status::Older
        | Status::Behind
        | Status::NoMatch
        | Status::Deploying
        | Status::Pending
        | Status::Retrying => AnsiColor::Yellow.on_default(),
        Status::Failed | Status::Dead | Status::RolledBack | Status::Unknown => {
            AnsiColor::Red.on_default().bold()
        }
    }
}

/// What stands behind the status: which tag, and why.
pub(super) fn describe(report: &TargetReport) -> String {
    let latest = or_dash(report.latest_tag.as_ref());
    let change = || match report.previous_tag.as_ref().filter(|previous| previous.as_str() != latest) {
        Some(previous) => format!("{previous} -> {latest}"),
        None => latest.to_owned(),
    };
    match report.status {
        Status::Deployed => {
            let took = report.deployment.as_ref().map_or(Duration::ZERO, |deployment| deployment.duration);
            format!("{} in {}", change(), describe_duration(took))
        }
        Status::WouldDeploy => change(),
        // No attempt was begun.
        Status::Failed if report.deployment.is_none() => format!("{}: {}", change(), error_of(report)),
        Status::Failed => {
            let again = report.until.map_or_else(String::new, |at| format!(", again at {}", over_by(at)));
            format!("{} (attempt {}{again}): {}", change(), attempt(report), error_of(report))
        }
        Status::Dead => format!(
            "{} (attempt {}, given up; to try it again: tagship retry {}): {}",
            change(),
            attempt(report),
            report.target,
            error_of(report)
        ),
        Status::RolledBack => format!(
            "{} (to try the failed deployment again: tagship retry {}): {}",
            change(),
            report.target,
            on_one_line(&report.reason)
        ),
        Status::Unknown => {
            let since = report
                .failed_since
                .map_or_else(String::new, |since| format!(" (since {})", to_the_minute(since)));
            format!("{}{since}", error_of(report))
        }
        Status::NoMatch => on_one_line(&report.reason),
        _ => {
            let until = report.until.map_or_else(String::new, |until| format!(" (until {})", over_by(until)));
            let again = report.failed_since.map_or_else(String::new, |since| {
                format!("; checked again for the first time since {}", to_the_minute(since))
            });
            let tag = if report.reason.starts_with(latest) { String::new() } else { format!("{latest}: ") };
            format!("{tag}{}{until}{again}", on_one_line(&report.reason))
        }
    }
}

fn error_of(report: &TargetReport) -> String {
    report.failure.as_ref().map_or_else(String::new, |failure| {
        format!("{}: {}", failure.code.as_str(), on_one_line(&failure.message))
    })
}

fn attempt(report: &TargetReport) -> u32 {
    report.deployment.as_ref().map_or(0, |deployment| deployment.attempt)
}
