//! A line a target, for people and for cron's mail; on a terminal, long ones are broken between words.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp};
use unicode_width::UnicodeWidthStr as _;

use super::console::{on_one_line, paint};
use super::wrap::wrap;
use super::{Console, Detail, Event, Report, Summary, TargetReport, escape_control};
use crate::plan::Status;

/// The longest line of output that people are shown, in characters.
const LINE: usize = 300;

/// How many lines of a failed deployment's output are shown.
const OUTPUT_LINES: usize = 20;

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
            Event::Output { target, line } if self.live_output => {
                self.console.message(&format!("{target} | {}", escape_control(line)));
            }
            Event::Finished(summary) if self.summary && self.detail.wants_warnings() => {
                self.console.message(&summary_line(summary));
            }
            _ => {}
        }
    }
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

/// `1 target`, `2 targets`
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
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
        Status::Failed | Status::Dead | Status::Unknown => AnsiColor::Red.on_default().bold(),
    }
}

/// What stands behind the status: which tag, and why.
pub(super) fn describe(report: &TargetReport) -> String {
    let latest = report.latest_tag.as_ref().map_or("-", |tag| tag.as_str());
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

/// `2026-11-20 11:00 UTC`: the minute that a moment lies in.
pub(super) fn to_the_minute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The minute at whose beginning a moment is over.
fn over_by(moment: Timestamp) -> String {
    let rest = SignedDuration::from_millis(59_999);
    to_the_minute(moment.saturating_add(rest).unwrap_or(moment))
}

/// A line that no mail program can show is not worth its bytes.
pub(super) fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// The end of what a deployment printed, line by line.
pub(super) fn last_lines(output: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = output.lines().collect();
    lines.into_iter().rev().take(OUTPUT_LINES).rev()
}

/// `3.2s`, `12ms`, `1m 5s`
pub(crate) fn describe_duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        seconds => {
            let rounded = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            format!("{rounded:#}")
        }
    }
}

/// A moment, and how far away it is: `2026-11-20T10:00:00Z (5m ago)`, `… (in 2h)`.
pub(super) fn describe_moment(moment: Timestamp, now: Timestamp) -> String {
    format!("{moment:.0} ({})", describe_distance(moment, now))
}

/// `5m ago` or `in 2h`
pub(super) fn describe_distance(moment: Timestamp, now: Timestamp) -> String {
    match moment.duration_since(now).as_secs() {
        ahead if ahead > 0 => format!("in {}", roughly(ahead)),
        _ => describe_age(moment, now),
    }
}

/// How long ago something was, roughly: `5m`, `3h`, `2d`.
pub(crate) fn describe_age(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs() {
        seconds if seconds < 0 => "in the future".to_owned(),
        seconds => format!("{} ago", roughly(seconds)),
    }
}

/// `40s`, `5m`, `3h`, `2d`
fn roughly(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_began_no_later_and_what_ends_is_over_by_then() {
        for (moment, began, over) in [
            ("2026-11-20T10:00:00Z", "10:00", "10:00"),
            ("2026-11-20T10:00:00.5Z", "10:00", "10:01"),
            ("2026-11-20T10:00:59.999Z", "10:00", "10:01"),
        ] {
            let moment: Timestamp = moment.parse().unwrap();
            assert_eq!(to_the_minute(moment), format!("2026-11-20 {began} UTC"));
            assert_eq!(over_by(moment), format!("2026-11-20 {over} UTC"));
        }
    }
}
