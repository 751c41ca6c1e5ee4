//! Questions on the terminal, for options that the command line does not give.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use secrecy::zeroize::Zeroizing;

use crate::report::Console;

/// Asks on a terminal. Without a terminal, collects the missing options.
pub(super) struct Questions<'c> {
    console: &'c Console,
    /// Whether standard input is a terminal.
    pub(super) asks: bool,
    missing: Vec<&'static str>,
}

impl<'c> Questions<'c> {
    pub(super) fn new(console: &'c Console) -> Questions<'c> {
        Questions { console, asks: io::stdin().is_terminal(), missing: Vec::new() }
    }

    /// Asks until the answer is valid. None: without a terminal; `option` is then missing. An empty answer
    /// means `default`, if given.
    ///
    /// # Errors
    /// The terminal is closed.
    pub(super) fn ask<T>(
        &mut self,
        option: &'static str,
        question: &str,
        default: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<Option<T>> {
        self.ask_by(seen, option, question, default, read)
    }

    /// The same without showing the typed text, which may be a secret.
    ///
    /// # Errors
    /// The terminal is closed.
    pub(super) fn ask_unseen<T>(
        &mut self,
        option: &'static str,
        question: &str,
        default: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<Option<T>> {
        self.ask_by(unseen, option, question, default, read)
    }

    fn ask_by<T>(
        &mut self,
        line: fn() -> io::Result<Option<Zeroizing<String>>>,
        option: &'static str,
        question: &str,
        default: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<Option<T>> {
        if !self.asks {
            self.missing.push(option);
            return Ok(None);
        }
        loop {
            let shown = default.filter(|text| !text.is_empty()).map(|text| format!(" [{text}]"));
            self.console.question(&format!("{question}{}:", shown.unwrap_or_default()));
            let Some(line) = line().context("cannot read from the terminal")? else {
                bail!("no answer; nothing was written");
            };
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default,
                (answer, _) => answer,
            };
            match read(answer) {
                Ok(answer) => return Ok(Some(answer)),
                Err(wrong) => self.console.error(&wrong),
            }
        }
    }

    /// Checks that no option is missing.
    ///
    /// # Errors
    /// The options that are missing.
    pub(super) fn complete(&self) -> anyhow::Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        bail!("standard input is not a terminal, so these options are required: {}", self.missing.join(", "))
    }
}

/// A line. None: the end of the input.
fn seen() -> io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(String::new());
    Ok((io::stdin().read_line(&mut line)? > 0).then_some(line))
}

fn unseen() -> io::Result<Option<Zeroizing<String>>> {
    let line = rpassword::read_password();
    let _ = writeln!(io::stderr());
    match line {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        line => Ok(Some(Zeroizing::new(line?))),
    }
}
