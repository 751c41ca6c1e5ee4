//! `tagship check`: the configuration, without asking anyone.

use super::{Exit, load};
use crate::cli::{self, Global};
use crate::report::Console;

/// Validates the configuration and says what it has.
///
/// # Errors
/// Every fault of the configuration.
pub(crate) fn check(global: &Global, _arguments: &cli::Check) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let console = Console::new();
    config.warnings.iter().for_each(|warning| console.warning(&warning.to_string()));
    if !global.quiet {
        let polled = config.targets.iter().filter(|target| target.poll).count();
        let targets = config.targets.len();
        console.data(&format!(
            "{}: {targets} {}, {polled} of them polled; no faults",
            config.path.display(),
            if targets == 1 { "target" } else { "targets" },
        ));
    }
    Ok(Exit::Done)
}
