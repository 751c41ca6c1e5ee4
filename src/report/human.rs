//! A line a target, for people and for cron's mail.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp};

use super::console::paint;
use super::{Console, Report, Summary, TargetReport, escape_control};
use crate::plan::Status;
use crate::target::TargetId;

/// The longest line of output that people are shown, in characters.
const LINE: usize = 300;

/// How many lines of a failed deployment's output are shown.
const OUTPUT_LINES: usize = 20;

/// `poll --format human`.
pub(crate) struct Human {
    pub(crate) console: Console,
    /// Every target gets its line, not only news.
    pub(crate) every_target: bool,
    /// What deployments print is shown as it comes.
    pub(crate) live_output: bool,
    /// Someone looks at standard error: say how it went.
    pub(crate) summary: bool,
    /// Errors only.
    pub(crate) quiet: bool,
    /// As wide as the longest target, so that the columns align.
    pub(crate) width: usize,
}

impl Report for Human {
    fn target(&mut self, report: &TargetReport) {
        let wanted = if self.quiet {
            report.status.is_failure() && report.news
        } else {
            report.news || self.every_target
        };
        if !wanted {
            return;
        }
        let target = report.target.to_string();
        let status = paint(style_of(report.status), &format!("{:<10}", report.status.as_str()));
        let line = format!("{target:<width$}  {status}  {}", describe(report), width = self.width);
        self.console.data(line.trim_end());
        if report.status.is_failure()
            && let Some(deployment) = &report.deployment
            && !self.live_output
        {
            for line in last_lines(&deployment.output) {
                self.console.data(&format!("    | {}", shortened(&escape_control(line))));
            }
        }
    }

    fn warning(&mut self, text: &str) {
        if !self.quiet {
            self.console.warning(text);
        }
    }

    fn output(&mut self, target: &TargetId, line: &str) {
        if self.live_output {
            self.console.message(&format!("{target} | {}", escape_control(line)));
        }
    }

    fn finish(&mut self, summary: &Summary) {
        if self.summary && !self.quiet {
            self.console.message(&summary_line(summary));
        }
    }
}

fn summary_line(summary: &Summary) -> String {
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
        Status::UpToDate => Style::new().dimmed(),
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
fn describe(report: &TargetReport) -> String {
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
        Status::Failed | Status::Dead => {
            let attempt = report.deployment.as_ref().map_or(0, |deployment| deployment.attempt);
            format!("{} (attempt {attempt}): {}", change(), error_of(report))
        }
        Status::Unknown => error_of(report),
        Status::NoMatch => escape_control(&report.reason),
        _ => {
            let until = report.until.map_or_else(String::new, |until| format!(" (until {until:.0})"));
            format!("{latest}: {}{until}", escape_control(&report.reason))
        }
    }
}

fn error_of(report: &TargetReport) -> String {
    report.failure.as_ref().map_or_else(String::new, |failure| {
        format!("{}: {}", failure.code.as_str(), escape_control(&failure.message))
    })
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
    let away = if moment > now {
        let wait = describe_age(now, moment);
        format!("in {}", wait.trim_end_matches(" ago"))
    } else {
        describe_age(moment, now)
    };
    format!("{moment:.0} ({away})")
}

/// How long ago something was, roughly: `5m`, `3h`, `2d`.
pub(crate) fn describe_age(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs() {
        seconds if seconds < 0 => "in the future".to_owned(),
        seconds => format!("{} ago", roughly(seconds)),
    }
}

/// `40s`, `5m`, `3h`, `2d`
pub(super) fn roughly(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}
