//! Standard output and standard error: masked, without foreign control characters, and without a
//! panic when nobody reads them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where tagship prints")]

use std::io::Write as _;
use std::sync::Arc;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

use crate::secret::Secrets;

/// Where a report is written to.
#[derive(Clone)]
pub(crate) struct Console {
    secrets: Option<Arc<Secrets>>,
}

impl Console {
    /// Sets for the whole process whether there is colour; `Auto` looks at the terminal, `NO_COLOR` and `TERM`.
    pub(crate) fn set_color(choice: ColorChoice) {
        choice.write_global();
    }

    /// Before there is a configuration, and with it secrets.
    pub(crate) fn new() -> Console {
        Console { secrets: None }
    }

    /// A console that shows no value of these secrets.
    pub(crate) fn masking(secrets: Arc<Secrets>) -> Console {
        Console { secrets: Some(secrets) }
    }

    /// Data: a line on standard output.
    pub(crate) fn data(&self, line: &str) {
        let mut stdout = anstream::stdout().lock();
        // Nobody reads any more: the run goes on, its outcome is in the state.
        let _ = writeln!(stdout, "{}", self.mask(line));
    }

    /// A message: a line on standard error.
    pub(crate) fn message(&self, line: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = writeln!(stderr, "{}", self.mask(line));
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

    /// Without the values of secrets.
    pub(super) fn mask(&self, text: &str) -> String {
        self.secrets.as_ref().map_or_else(|| text.to_owned(), |secrets| secrets.mask(text))
    }
}

/// How many characters a line of the terminal has; None: standard output is no terminal.
pub(super) fn width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(width.0))
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
}
