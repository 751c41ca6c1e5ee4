//! `github`: annotations in the log of a workflow run, its outputs and its summary. For GitHub Actions, and
//! for Gitea and Forgejo, which use the same format.
//!
//! A runner executes commands in the output, so no text from outside may start one. Text in annotations is
//! escaped as documented for workflow commands. The output of deployments is enclosed in `::stop-commands::`
//! and a token that was made after it was printed.

use std::path::{Path, PathBuf};

use super::console::on_one_line;
use super::human::{describe, summary_line};
use super::json::TargetJson;
use super::{Console, Detail, Event, Report, Summary, TargetReport, escape_control};
use crate::engine::Status;
use crate::file;
use crate::reference::ImageRef;
use crate::target::Name;

/// `poll --format github`
pub(crate) struct GitHub {
    console: Console,
    detail: Detail,
    files: GitHubFiles,
    /// For the outputs.
    targets: Vec<TargetJson>,
    /// The rows of the summary's table.
    rows: Vec<String>,
}

/// The files that the runner reads, if it set any.
#[derive(Clone, Debug, Default)]
pub(crate) struct GitHubFiles {
    /// `$GITHUB_OUTPUT`
    pub(crate) output: Option<PathBuf>,
    /// `$GITHUB_STEP_SUMMARY`
    pub(crate) summary: Option<PathBuf>,
}

impl GitHub {
    pub(crate) fn new(console: Console, detail: Detail, files: GitHubFiles) -> GitHub {
        GitHub { console, detail, files, targets: Vec::new(), rows: Vec::new() }
    }
}

impl Report for GitHub {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Discovered { project, image } if self.detail != Detail::Failures => {
                self.discovered(project, image);
            }
            Event::Target(report) => self.target(report),
            Event::Warning(text) if self.detail.wants_warnings() => self.warning(text),
            Event::Finished(summary) => self.finish(summary),
            _ => {}
        }
    }
}

impl GitHub {
    fn target(&mut self, report: &TargetReport) {
        if self.files.output.is_some() {
            self.targets.push(TargetJson::from(report));
        }
        if !self.detail.wants(report) {
            return;
        }
        let (target, status) = (report.target.to_string(), report.status.as_str());
        let said = describe(report);
        if report.is_reportable {
            self.annotate(level(report.status), &format!("{target} {status}"), &said);
        } else {
            self.console.data(&without_command(&format!("{target} {status}: {said}")));
        }
        self.rows.push(format!("| {} | {} | {} |", code(&target), code(status), code(&said)));
        if let Some(deployment) = &report.deployment {
            self.output(&target, &deployment.output);
        }
    }

    fn discovered(&mut self, project: &Name, image: &ImageRef) {
        let (project, image) = (project.to_string(), image.to_string());
        self.annotate("notice", &format!("{project} discovered"), &image);
        self.rows.push(format!("| {} | {} | {} |", code(&project), code("discovered"), code(&image)));
    }

    fn annotate(&self, level: &str, title: &str, text: &str) {
        let (title, text) = (property(&self.console.mask(title)), data(&self.console.mask(text)));
        self.console.data(&format!("::{level} title={title}::{text}"));
    }

    /// Printed to standard output like everything else: on a separate stream it could end up between the
    /// fences.
    fn warning(&self, text: &str) {
        self.annotate("warning", "tagship", &on_one_line(text));
    }

    /// The output of a deployment, folded, with commands disabled.
    fn output(&self, target: &str, output: &str) {
        if output.is_empty() {
            return;
        }
        // Made after the output, which therefore cannot contain it.
        let token = uuid::Uuid::now_v7().simple().to_string();
        self.console.data(&format!("::group::{}", data(&format!("output of {target}"))));
        self.console.data(&format!("::stop-commands::{token}"));
        output.lines().for_each(|line| self.console.data(&escape_control(line)));
        self.console.data(&format!("::{token}::"));
        self.console.data("::endgroup::");
    }

    fn finish(&mut self, summary: &Summary) {
        if let Some(path) = &self.files.output {
            let outputs = self.console.mask(&outputs(summary, &self.targets));
            self.write(path, "GITHUB_OUTPUT", &outputs);
        }
        if let Some(path) = &self.files.summary {
            let text = self.console.mask(&step_summary(summary, &self.rows));
            self.write(path, "GITHUB_STEP_SUMMARY", &text);
        }
    }

    fn write(&self, path: &Path, variable: &str, text: &str) {
        if let Err(error) = file::append(path, text.as_bytes()) {
            self.warning(&format!("could not write ${variable}: {}: {error}", path.display()));
        }
    }
}

fn level(status: Status) -> &'static str {
    match status {
        Status::Failed | Status::Dead | Status::RolledBack | Status::Unknown => "error",
        Status::Older | Status::Behind | Status::NoMatch | Status::Deploying | Status::Pending => "warning",
        _ => "notice",
    }
}

fn outputs(summary: &Summary, targets: &[TargetJson]) -> String {
    let Summary { changed, deployed, failed, unknown, .. } = summary;
    let targets = serde_json::to_string(targets).expect("text, numbers and lists are always JSON");
    let end = format!("tagship_{}", uuid::Uuid::now_v7().simple());
    format!(
        "changed={changed}\ndeployed={deployed}\nfailed={failed}\nunknown={unknown}\n\
         targets<<{end}\n{targets}\n{end}\n"
    )
}

fn step_summary(summary: &Summary, rows: &[String]) -> String {
    let mut text = format!("**tagship:** {}\n\n", summary_line(summary));
    if !rows.is_empty() {
        text.push_str("| Target | Status | |\n|---|---|---|\n");
        rows.iter().for_each(|row| text.extend([row.as_str(), "\n"]));
        text.push('\n');
    }
    text
}

/// Escapes the message of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Breaks commands of the older form, which runners find anywhere in a line.
fn without_command(line: &str) -> String {
    line.replace("##[", "## [")
}

/// A Markdown table cell without markup: a code span, in which backticks and bars are replaced by similar
/// characters.
fn code(text: &str) -> String {
    let text = on_one_line(text).replace('`', "'").replace('|', "¦");
    if text.is_empty() { text } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_escaped_as_documented() {
        assert_eq!(data("50%\r\n::error::a,b"), "50%25%0D%0A::error::a,b");
        assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
        assert_eq!(without_command("a ##[error]b"), "a ## [error]b");
    }

    #[test]
    fn text_stays_in_its_cell() {
        assert_eq!(code("a `b` | <img src=x>\n| c | \u{1b}["), "`a 'b' ¦ <img src=x> ¦ c ¦ \\u{1b}[`");
        assert_eq!(code(" \n"), "");
    }
}
