//! Standard output and standard error: masked, without foreign control characters, and without a
//! panic when nobody reads them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where tagship prints")]

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal, Write as _};
use std::sync::{Arc, LazyLock, OnceLock};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use terminal_size::Width;

use super::hint;
use crate::secret::Secrets;

/// Where the reader of a terminal is.
static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);

/// Where a report is written to.
#[derive(Clone)]
pub(crate) struct Console {
    secrets: Option<Arc<Secrets>>,
    /// Why data was lost, shared by all of the process.
    lost: Arc<OnceLock<io::Error>>,
    /// ` --config FILE --state FILE` as far as they were typed: commands in messages repeat them.
    options: Arc<str>,
}

impl Console {
    /// Sets for the whole process whether there is colour; `Auto` looks at the terminal, `NO_COLOR` and `TERM`.
    pub(crate) fn set_color(choice: ColorChoice) {
        choice.write_global();
    }

    /// How many columns standard output has; None where it is no terminal.
    pub(crate) fn columns() -> Option<usize> {
        let (Width(columns), _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(columns.into())
    }

    /// Before there is a configuration, and with it secrets.
    pub(crate) fn new() -> Console {
        Console { secrets: None, lost: Arc::default(), options: Arc::default() }
    }

    /// The same console. Commands in what it tells people have these options.
    pub(crate) fn with_options(self, options: &str) -> Console {
        Console { options: options.into(), ..self }
    }

    /// The same console, which shows no value of these secrets.
    pub(crate) fn masking(&self, secrets: Arc<Secrets>) -> Console {
        Console { secrets: Some(secrets), ..self.clone() }
    }

    /// A line for people on standard output: its commands can be typed here; on a terminal its times are local.
    pub(crate) fn line(&self, text: &str) {
        self.data(&self.for_people(text));
    }

    /// Text as [`Console::line`] prints it.
    pub(super) fn for_people<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.adapted(text, &io::stdout())
    }

    fn adapted<'a>(&self, text: &'a str, stream: &impl IsTerminal) -> Cow<'a, str> {
        let text = hint::with_options(text, &self.options);
        if !stream.is_terminal() {
            return text;
        }
        Cow::Owned(hint::in_zone(&text, &ZONE).into_owned())
    }

    /// Data: a line on standard output, as it is.
    pub(crate) fn data(&self, line: &str) {
        let mut stdout = anstream::stdout().lock();
        match writeln!(stdout, "{}", self.mask(line)) {
            // Nobody reads any more: the run goes on, its outcome is in the state.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => drop(self.lost.set(error)),
            _ => {}
        }
    }

    /// Why some of the data is not on standard output, though somebody wants it: a full disk.
    pub(crate) fn lost(&self) -> Option<&io::Error> {
        self.lost.get()
    }

    /// A message: a line for people on standard error.
    pub(crate) fn message(&self, text: &str) {
        self.foreign(&self.adapted(text, &io::stderr()));
    }

    /// Lines of another program on standard error, as they are.
    pub(super) fn foreign(&self, lines: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = writeln!(stderr, "{}", self.mask(lines));
    }

    /// A question on standard error, which the answer follows on the same line.
    pub(crate) fn question(&self, text: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = write!(stderr, "{} ", self.mask(text));
        let _ = stderr.flush();
    }

    /// `warning: …` on standard error.
    pub(crate) fn warning(&self, text: &str) {
        let style = AnsiColor::Yellow.on_default();
        self.message(&format!("{}: {}", paint(style, "warning"), escape_control(text)));
    }

    /// `error: …` on standard error.
    pub(crate) fn error(&self, text: &str) {
        let style = AnsiColor::Red.on_default().bold();
        self.message(&format!("{}: {}", paint(style, "error"), escape_control(text)));
    }

    /// The text without secrets: what is written anywhere but to the console, too.
    pub(super) fn mask(&self, text: &str) -> String {
        self.secrets.as_ref().map_or_else(|| text.to_owned(), |secrets| secrets.mask(text))
    }
}

/// Text in a colour; the streams take it out where there is none.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Text from servers and deployments with its control characters and direction marks written out,
/// so that it cannot steer a terminal or pose as another line. Line feeds and tabs stay.
pub(crate) fn escape_control(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let is_direction = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if is_direction || (character.is_control() && !matches!(character, '\n' | '\t')) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// The same on one line, so that a line a target stays one.
pub(super) fn on_one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(['\n', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect();
    escape_control(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_a_terminal() {
        assert_eq!(
            escape_control("a\u{1b}[2Jb\r\u{7}\u{9b}c\u{202e}d\u{61c}\n\te"),
            "a\\u{1b}[2Jb\\u{d}\\u{7}\\u{9b}c\\u{202e}d\\u{61c}\n\te"
        );
    }

    #[test]
    fn a_line_stays_one() {
        assert_eq!(on_one_line("a\n  b\tc\r\n\nd\u{1b}"), "a b c d\\u{1b}");
    }
}
