//! `tagship history`: what was deployed when, by whom, and how it went.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Exit, load, read_state, select};
use crate::cli::{self, Global, StatusFormat};
use crate::report::{Console, history_as_json, history_as_text};
use crate::secret::Secrets;
use crate::target::filter::TargetFilter;

/// How many deployments are shown to people who do not say how many.
const A_SCREENFUL: u32 = 20;

/// Shows the deployments of the selected targets, the newest first.
///
/// # Errors
/// Configuration, arguments or state file.
pub(crate) fn history(global: &Global, arguments: &cli::History) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let console = Console::masking(Arc::new(Secrets::new(&config)));
    let filter = TargetFilter { patterns: arguments.targets.clone(), ..TargetFilter::default() };
    let targets = select(&config, &filter)?;
    let store = read_state(global, &config)?;
    let most = arguments.limit.unwrap_or(match arguments.format {
        StatusFormat::Human => A_SCREENFUL,
        StatusFormat::Json => u32::MAX,
    });
    let mut deployments = Vec::new();
    for target in targets {
        deployments.extend(store.history(&target.id, most)?);
    }
    deployments.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    deployments.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    match arguments.format {
        StatusFormat::Human => history_as_text(&console, &deployments, Timestamp::now()),
        StatusFormat::Json => history_as_json(&console, &deployments),
    }
    Ok(Exit::Done)
}
