//! Progress of long operations: on a terminal's standard error, one line for the registries and one for each
//! deployment, removed when they are finished.
#![allow(clippy::disallowed_methods, reason = "progress shows elapsed time")]

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::wording::describe_duration;
use super::{Event, Phase, Report, TargetReport};
use crate::reference::Tag;
use crate::target::TargetId;

/// Shorter operations show no progress.
const SHORT: Duration = Duration::from_millis(500);

/// A report with progress below it.
pub(crate) struct Progress {
    report: Box<dyn Report>,
    lines: MultiProgress,
    asking: Option<Work>,
    deploying: Vec<(TargetId, Work)>,
}

/// A running operation.
struct Work {
    since: Instant,
    text: String,
    /// Its line, once it has taken long enough.
    line: Option<ProgressBar>,
}

impl Progress {
    /// Shows nothing without a terminal, or on a dumb one.
    pub(crate) fn below(report: Box<dyn Report>) -> Progress {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Progress { report, lines, asking: None, deploying: Vec::new() }
    }

    /// Progress of a command that prints its report at the end.
    pub(crate) fn alone() -> Progress {
        Progress::below(Box::new(Silence))
    }
}

/// A report that prints nothing.
pub(crate) struct Silence;

impl Report for Silence {
    fn event(&mut self, _event: Event<'_>) {}
}

impl Report for Progress {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Asked { targets, of } => self.asked(targets, of),
            Event::Deploying { target, tag, phase } => self.deploying(target, tag, phase),
            Event::Target(TargetReport { target, .. }) => self.end(|deployed| deployed == target),
            Event::Finished(_) => {
                self.asked(0, 0);
                self.end(|_| true);
            }
            Event::Selected(_)
            | Event::Discovered { .. }
            | Event::Output { .. }
            | Event::Warning(_)
            | Event::Idle => {}
        }
        let report = &mut self.report;
        match event {
            Event::Selected(_) | Event::Asked { .. } | Event::Deploying { .. } | Event::Idle => {
                report.event(event);
            }
            // Nothing is printed through the lines.
            _ => self.lines.suspend(|| report.event(event)),
        }
        self.show();
    }

    fn shows_output(&self) -> bool {
        self.report.shows_output()
    }
}

impl Progress {
    fn asked(&mut self, targets: usize, of: usize) {
        if targets < of {
            let work = self.asking.get_or_insert_with(Work::begin);
            work.text = format!("asking the registries: {targets} of {of} targets");
        } else if let Some(work) = self.asking.take() {
            work.end(&self.lines);
        }
    }

    fn deploying(&mut self, target: &TargetId, tag: &Tag, phase: Phase) {
        let phase = match phase {
            Phase::Step { of: 1, .. } => "deploying".to_owned(),
            Phase::Step { number, of } => format!("deploying, step {number} of {of}"),
            Phase::Verifying => "verifying".to_owned(),
        };
        let text = format!("{target}  {tag}  {phase}");
        match self.deploying.iter_mut().find(|(deploying, _)| deploying == target) {
            Some((_, work)) => work.text = text,
            None => self.deploying.push((target.clone(), Work { text, ..Work::begin() })),
        }
    }

    fn end(&mut self, is_over: impl Fn(&TargetId) -> bool) {
        for (_, work) in self.deploying.extract_if(.., |(target, _)| is_over(target)) {
            work.end(&self.lines);
        }
    }

    fn show(&mut self) {
        let works = self.asking.iter_mut().chain(self.deploying.iter_mut().map(|(_, work)| work));
        works.for_each(|work| work.show(&self.lines));
    }
}

impl Work {
    fn begin() -> Work {
        Work { since: Instant::now(), text: String::new(), line: None }
    }

    fn show(&mut self, lines: &MultiProgress) {
        let elapsed = self.since.elapsed();
        if elapsed < SHORT {
            return;
        }
        let line = self.line.get_or_insert_with(|| lines.add(ProgressBar::new_spinner().with_style(style())));
        let whole = Duration::from_secs(elapsed.as_secs());
        let time =
            if whole.as_secs() < 60 { format!("{}s", whole.as_secs()) } else { describe_duration(whole) };
        line.set_message(format!("{}  {time}", self.text));
        line.tick();
    }

    fn end(self, lines: &MultiProgress) {
        if let Some(line) = self.line {
            line.finish_and_clear();
            lines.remove(&line);
        }
    }
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("a template that is right");
    style.tick_chars("|/-\\ ")
}
