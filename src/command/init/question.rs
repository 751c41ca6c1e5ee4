//! Questions on the terminal, for what the command line leaves out.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use secrecy::zeroize::Zeroizing;

use crate::report::Console;

/// Asks where somebody can answer; elsewhere it collects which options would have to say it.
pub(super) struct Questions<'c> {
    console: &'c Console,
    asks: bool,
    missing: Vec<&'static str>,
}

impl<'c> Questions<'c> {
    pub(super) fn new(console: &'c Console) -> Questions<'c> {
        Questions { console, asks: io::stdin().is_terminal(), missing: Vec::new() }
    }

    /// Asks until the answer can be read; None where nobody can answer, and `option` is missing. An empty
    /// answer is `default`, where there is one.
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

    /// The same, and what is typed is not shown: it may be a secret.
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
            let Some(line) = line().context("the terminal cannot be read")? else {
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

    /// Whether everything is known.
    ///
    /// # Errors
    /// The options that are missing.
    pub(super) fn complete(&self) -> anyhow::Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        bail!(
            "standard input is no terminal to ask on, so it takes these options, too: {}",
            self.missing.join(", ")
        )
    }
}

/// A line; None: there is no more.
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
