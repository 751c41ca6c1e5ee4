//! `github`: annotations in the log of a workflow run, its outputs and its summary; GitHub Actions',
//! and Gitea's and Forgejo's, which read the same.
//!
//! A runner takes commands from what is printed, so nothing from outside may begin one: text in
//! annotations is escaped as the workflow commands' documentation says, and what deployments printed
//! stands between `::stop-commands::` and a token that was not known when it was printed.

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
    /// For the summary: the rows of its table.
    rows: Vec<String>,
}

/// The files that the runner reads, where it gave some.
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
        if report.news {
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

    /// To standard output like everything here: on two pipes it could get between a fence.
    fn warning(&self, text: &str) {
        self.annotate("warning", "tagship", &on_one_line(text));
    }

    /// What a deployment printed, to be unfolded, and no command whatever it is.
    fn output(&self, target: &str, output: &str) {
        if output.is_empty() {
            return;
        }
        // Made after the output, which thus cannot have it.
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
            self.warning(&format!("${variable} cannot be written: {}: {error}", path.display()));
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

/// The message of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A line that is none: the older form of commands is found anywhere in a line.
fn without_command(line: &str) -> String {
    line.replace("##[", "## [")
}

/// A cell of a table in Markdown, where nothing has a meaning: in a code span only backticks, and
/// bars for the table, have one, and these are shown by others that look like them.
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
    fn nothing_gets_out_of_a_cell() {
        assert_eq!(code("a `b` | <img src=x>\n| c | \u{1b}["), "`a 'b' ¦ <img src=x> ¦ c ¦ \\u{1b}[`");
        assert_eq!(code(" \n"), "");
    }
}
