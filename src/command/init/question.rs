//! Questions on the terminal, for what the command line leaves out.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, bail};

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
        if !self.asks {
            self.missing.push(option);
            return Ok(None);
        }
        loop {
            let shown = default.filter(|text| !text.is_empty()).map(|text| format!(" [{text}]"));
            self.console.question(&format!("{question}{}:", shown.unwrap_or_default()));
            let mut line = String::new();
            let read_bytes = io::stdin().read_line(&mut line).context("the terminal cannot be read")?;
            if read_bytes == 0 {
                bail!("no answer; nothing was written");
            }
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
