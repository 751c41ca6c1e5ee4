//! One line for each target, for people and for cron's mail. On a terminal, long lines wrap between words.

use std::collections::HashMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

use super::console::{on_one_line, paint};
use super::wording::{count, describe_duration, last_lines, or_dash, over_by, shortened, to_the_minute};
use super::wrap::wrap;
use super::{Console, Detail, Event, Outage, Report, Summary, TargetReport, escape_control, hint, is_sent};
use crate::engine::Status;
use crate::target::{Name, Target, TargetId};

/// The maximum width of the name column, and on a terminal a third of its width. Longer names overflow.
const WIDEST_TARGET: usize = 40;

/// The width of the longest common status: `would_deploy`.
const STATUS: usize = 12;

/// The word of a project that is new, among the statuses.
const DISCOVERED: &str = "discovered";

/// With less room beside the columns, text goes below them.
const NARROWEST: usize = 40;

/// `poll --format human`. Prints at the end of the run, in the order of the configuration, with failures
/// last.
pub(crate) struct Human {
    console: Console,
    detail: Detail,
    live_output: bool,
    always_sums_up: bool,
    /// The selected targets and their registries, in the order of the configuration.
    targets: Vec<(TargetId, Name)>,
    /// The width of the longest target name.
    width: usize,
    /// The width of the terminal; None: no terminal, so lines do not wrap.
    columns: Option<usize>,
    /// The projects that are new, each with its image.
    discovered: Vec<(Name, String)>,
    /// The output to print.
    reports: Vec<TargetReport>,
}

/// What [`Human`] prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) detail: Detail,
    /// Stream the output of deployments.
    pub(crate) live_output: bool,
    /// Print the summary even after one line or none, because standard error is a terminal.
    pub(crate) always_sums_up: bool,
}

impl Report for Human {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Selected(targets) => self.select(targets),
            Event::Discovered { project, image } if self.detail != Detail::Failures => {
                self.discovered.push((project.clone(), image.to_string()));
            }
            Event::Target(report) if self.detail.wants(report) => self.reports.push(report.clone()),
            Event::Warning(text) if self.detail.wants_warnings() => self.console.warning(text),
            Event::Output { target, lines } if self.live_output => {
                self.console.foreign(&behind(&format!("{target} | "), &escape_control(lines)));
            }
            Event::Finished(summary) => self.finish(summary),
            _ => {}
        }
    }

    fn shows_output(&self) -> bool {
        self.live_output
    }
}

/// Each line with this prefix, without the last line break.
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
    pub(crate) fn new(console: Console, Shown { detail, live_output, always_sums_up }: Shown) -> Human {
        Human {
            console,
            detail,
            live_output,
            always_sums_up,
            targets: Vec::new(),
            width: 0,
            columns: Console::columns(),
            discovered: Vec::new(),
            reports: Vec::new(),
        }
    }

    fn select(&mut self, targets: &[&Target]) {
        let longest = targets.iter().map(|target| target.id.to_string().len()).max().unwrap_or(0);
        self.width = self.width.max(longest);
        self.targets.extend(targets.iter().map(|target| (target.id.clone(), target.registry.clone())));
    }

    fn finish(&mut self, summary: &Summary) {
        for (project, image) in &self.discovered {
            let word =
                paint(AnsiColor::Cyan.on_default(), DISCOVERED) + &" ".repeat(STATUS - DISCOVERED.len());
            let width = self.column();
            self.console.data(&format!("{project:<width$}  {word}  {}", self.console.for_people(image)));
        }
        let lines = self.lines();
        let hints: Vec<&String> = lines.iter().filter_map(|line| line.hint.as_ref()).collect();
        let mut repeated: Vec<&String> = Vec::new();
        for line in &lines {
            let is_repeated = |hint: &&String| hints.iter().filter(|other| *other == hint).count() > 1;
            match line.hint.as_ref() {
                Some(hint) if is_repeated(&hint) => {
                    self.print(line, &line.text);
                    if !repeated.contains(&hint) {
                        repeated.push(hint);
                    }
                }
                Some(hint) => {
                    self.print(line, &format!("{}; {}", line.text, hint.replace("TARGET", &line.name)))
                }
                None => self.print(line, &line.text),
            }
        }
        if !self.detail.wants_warnings() {
            return;
        }
        repeated.iter().for_each(|hint| self.console.message(&format!("hint: {hint}")));
        if self.always_sums_up || lines.len() > 1 {
            self.console.message(&summary_line(summary));
        }
    }

    /// The lines to print, in order.
    fn lines(&mut self) -> Vec<Line> {
        let mut reports = std::mem::take(&mut self.reports);
        if reports.is_empty() {
            return Vec::new();
        }
        let places: HashMap<&TargetId, (usize, &Name)> = self
            .targets
            .iter()
            .enumerate()
            .map(|(place, (target, registry))| (target, (place, registry)))
            .collect();
        reports.sort_by_key(|report| {
            let place = places.get(&report.target).map_or(usize::MAX, |(place, _)| *place);
            (report.status.is_failure(), place)
        });
        let mut lines: Vec<Line> = Vec::new();
        // The index of each outage's line, and its targets.
        let mut outages: Vec<(Outage<'_>, usize, Vec<&TargetReport>)> = Vec::new();
        for report in &reports {
            let registry = places.get(&report.target).map(|(_, registry)| *registry);
            let failure = report.failure.as_ref().filter(|_| report.status == Status::Unknown);
            if let Some(outage) = registry.zip(failure).and_then(|(name, failure)| Outage::of(failure, name))
            {
                match outages.iter_mut().find(|(known, ..)| *known == outage) {
                    Some((_, _, targets)) => {
                        targets.push(report);
                        continue;
                    }
                    None => outages.push((outage, lines.len(), vec![report])),
                }
            }
            lines.push(Line::of(report, self.live_output));
        }
        for (outage, line, reports) in outages.iter().filter(|(_, _, reports)| reports.len() > 1) {
            lines[*line] = outage_line(outage, reports);
        }
        lines
    }

    fn print(&self, line: &Line, text: &str) {
        let word = line.status.as_str();
        let status = paint(style_of(line.status), word) + &" ".repeat(STATUS.saturating_sub(word.len()));
        let width = self.column();
        let head = width.max(line.name.len()) + 2 + STATUS + 2;
        let text = self.console.for_people(text);
        let mut lines = self.broken(&text, head, width + 2 + STATUS + 2).into_iter();
        let first = lines.next().unwrap_or_default();
        self.console.data(format!("{:<width$}  {status}  {first}", line.name).trim_end());
        lines.for_each(|line| self.console.data(&line));
        line.output.iter().for_each(|line| self.console.data(&format!("    | {line}")));
    }

    /// How wide the column of targets is.
    fn column(&self) -> usize {
        self.width.min(self.columns.map_or(WIDEST_TARGET, |columns| columns / 3))
    }

    /// The text after a head of this many columns, with further lines indented.
    fn broken(&self, text: &str, head: usize, indent: usize) -> Vec<String> {
        let Some(columns) = self.columns else {
            return vec![text.to_owned()];
        };
        let indent = if columns < indent + NARROWEST { 4 } else { indent };
        let first = columns.saturating_sub(head);
        // If the head leaves too little space for the text, the text starts on the next line.
        let first = if first < NARROWEST && text.width() > first { 0 } else { first };
        let mut lines = wrap(text, first, columns.saturating_sub(indent).max(1));
        lines.iter_mut().skip(1).for_each(|line| line.insert_str(0, &" ".repeat(indent)));
        lines
    }
}

/// The line of a target, or of a registry's outage for several targets.
struct Line {
    name: String,
    status: Status,
    text: String,
    /// What to do, with TARGET in place of the target's name.
    hint: Option<String>,
    /// The end of its deployment's output, escaped.
    output: Vec<String>,
}

impl Line {
    fn of(report: &TargetReport, is_shown_already: bool) -> Line {
        let (text, hint) = fact_and_hint(report);
        let deployment =
            report.deployment.as_ref().filter(|_| report.status.is_failure() && !is_shown_already);
        let output = deployment.iter().flat_map(|deployment| last_lines(&deployment.output));
        Line {
            name: report.target.to_string(),
            status: report.status,
            text,
            hint,
            output: output.map(|line| shortened(&escape_control(line))).collect(),
        }
    }
}

/// How many targets the line of an outage names.
const NAMED: usize = 3;

/// The line of an outage. Its error is that of the first target whose request was sent.
fn outage_line(outage: &Outage<'_>, reports: &[&TargetReport]) -> Line {
    let names: Vec<String> = reports.iter().take(NAMED).map(|report| report.target.to_string()).collect();
    let more = if reports.len() > names.len() { ", …" } else { "" };
    let first = reports.iter().find(|report| is_sent(&error_of(report))).unwrap_or(&reports[0]);
    let since = TargetReport {
        failed_since: reports.iter().filter_map(|report| report.failed_since).min(),
        ..(*first).clone()
    };
    let text = describe(&since);
    Line {
        name: outage.registry.to_string(),
        status: Status::Unknown,
        text: format!("{} ({}{more}): {text}", count(reports.len(), "target"), names.join(", ")),
        hint: None,
        output: Vec::new(),
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

/// The colour of a status.
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

/// The text after the status: which tag, why, and what to do.
pub(super) fn describe(report: &TargetReport) -> String {
    let (fact, hint) = fact_and_hint(report);
    match hint {
        Some(hint) => format!("{fact}; {}", hint.replace("TARGET", &report.target.to_string())),
        None => fact,
    }
}

/// The same text as fact and hint. In the hint, TARGET stands for the target's name, so that hints of several
/// targets are equal.
fn fact_and_hint(report: &TargetReport) -> (String, Option<String>) {
    let latest = or_dash(report.latest_tag.as_ref());
    let change = || match report.previous_tag.as_ref().filter(|previous| previous.as_str() != latest) {
        Some(previous) => format!("{previous} -> {latest}"),
        None => latest.to_owned(),
    };
    let fact = match report.status {
        Status::Deployed => {
            let took = report.deployment.as_ref().map_or(Duration::ZERO, |deployment| deployment.duration);
            format!("{} in {}", change(), describe_duration(took))
        }
        Status::WouldDeploy => change(),
        // No attempt was started.
        Status::Failed if report.deployment.is_none() => format!("{}: {}", change(), error_of(report)),
        Status::Failed => {
            let next = report.until.map_or_else(String::new, |at| format!(", retry at {}", over_by(at)));
            format!("{} (attempt {}{next}): {}", change(), attempt(report), error_of(report))
        }
        Status::Dead => {
            let fact =
                format!("{} (gave up after attempt {}): {}", change(), attempt(report), error_of(report));
            return (fact, Some("to retry: tagship retry TARGET".to_owned()));
        }
        Status::RolledBack => {
            let fact = format!("{}: {}", change(), on_one_line(&report.reason));
            return (fact, Some("to retry the failed deployment: tagship retry TARGET".to_owned()));
        }
        Status::Unknown => {
            let since = report
                .failed_since
                .map_or_else(String::new, |since| format!(" (since {})", to_the_minute(since)));
            format!("{}{since}", error_of(report))
        }
        Status::NoMatch => on_one_line(&report.reason),
        _ => {
            let (reason, hint) = hint::split(&report.reason, &report.target);
            let until = report.until.map_or_else(String::new, |until| format!(" (until {})", over_by(until)));
            let recovered = report.failed_since.map_or_else(String::new, |since| {
                format!("recovered; had failed since {}; ", to_the_minute(since))
            });
            let tag = if reason.starts_with(latest) { String::new() } else { format!("{latest}: ") };
            return (format!("{recovered}{tag}{}{until}", on_one_line(reason)), hint);
        }
    };
    (fact, None)
}

fn error_of(report: &TargetReport) -> String {
    report.failure.as_ref().map_or_else(String::new, |failure| {
        format!("{}: {}", failure.code.as_str(), on_one_line(&failure.message))
    })
}

fn attempt(report: &TargetReport) -> u32 {
    report.deployment.as_ref().map_or(0, |deployment| deployment.attempt)
}
