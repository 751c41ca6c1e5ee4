//! Standard output and standard error: with secrets masked, control characters from outside escaped, and no
//! panic if the reader is gone.
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

/// The time zone of a terminal's reader.
static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);

/// The destination of a report.
#[derive(Clone)]
pub(crate) struct Console {
    secrets: Option<Arc<Secrets>>,
    /// Why data was lost; shared by the whole process.
    lost: Arc<OnceLock<io::Error>>,
    /// The options ` --config FILE --state FILE` as typed, which commands in messages repeat.
    options: Arc<str>,
}

impl Console {
    /// Turns colour on or off for the whole process; `Auto` checks the terminal, `NO_COLOR` and `TERM`.
    pub(crate) fn set_color(choice: ColorChoice) {
        choice.write_global();
    }

    /// The number of columns of standard output; None: it is not a terminal.
    pub(crate) fn columns() -> Option<usize> {
        let (Width(columns), _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(columns.into())
    }

    /// A console for the time before the configuration, with its secrets, is known.
    pub(crate) fn new() -> Console {
        Console { secrets: None, lost: Arc::default(), options: Arc::default() }
    }

    /// A console that adds these options to commands in messages.
    pub(crate) fn with_options(self, options: &str) -> Console {
        Console { options: options.into(), ..self }
    }

    /// A console that masks these secrets.
    pub(crate) fn masking(&self, secrets: Arc<Secrets>) -> Console {
        Console { secrets: Some(secrets), ..self.clone() }
    }

    /// A line for people on standard output: its commands can be typed as shown, and on a terminal its times
    /// are local.
    pub(crate) fn line(&self, text: &str) {
        self.data(&self.for_people(text));
    }

    /// The text as [`Console::line`] prints it.
    pub(super) fn for_people<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.adapted(text, &io::stdout())
    }

    /// The time zone of [`Console::line`].
    pub(crate) fn zone(&self) -> TimeZone {
        if io::stdout().is_terminal() { ZONE.clone() } else { TimeZone::UTC }
    }

    fn adapted<'a>(&self, text: &'a str, stream: &impl IsTerminal) -> Cow<'a, str> {
        let text = hint::with_options(text, &self.options);
        if !stream.is_terminal() {
            return text;
        }
        Cow::Owned(hint::in_zone(&text, &ZONE).into_owned())
    }

    /// Data: an unchanged line on standard output.
    pub(crate) fn data(&self, line: &str) {
        let mut stdout = anstream::stdout().lock();
        match writeln!(stdout, "{}", self.mask(line)) {
            // The reader is gone. The run continues, and its results are in the state.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => drop(self.lost.set(error)),
            _ => {}
        }
    }

    /// Why some data could not be written to standard output, for example a full disk.
    pub(crate) fn lost(&self) -> Option<&io::Error> {
        self.lost.get()
    }

    /// A message: a line for people on standard error.
    pub(crate) fn message(&self, text: &str) {
        self.foreign(&self.adapted(text, &io::stderr()));
    }

    /// Unchanged lines of another program on standard error.
    pub(super) fn foreign(&self, lines: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = writeln!(stderr, "{}", self.mask(lines));
    }

    /// A question on standard error, to be answered on the same line.
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

    /// The text with secrets masked, also for text that is written elsewhere.
    pub(super) fn mask(&self, text: &str) -> String {
        self.secrets.as_ref().map_or_else(|| text.to_owned(), |secrets| secrets.mask(text))
    }
}

/// Text in a colour; the streams remove it if colour is off.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Escapes control characters and direction marks in text from servers and deployments, so that it cannot
/// control a terminal or imitate another line. Line feeds and tabs stay.
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

/// The same on one line, so that each target stays on one line.
pub(super) fn on_one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(['\n', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect();
    escape_control(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_control_a_terminal() {
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
