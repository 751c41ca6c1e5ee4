//! `tagship history`: what was deployed when, by whom, and how it went.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Exit, load, read_state, select};
use crate::cli::{self, Format, Global};
use crate::reference::Tag;
use crate::report::{
    Console, Outputs, TargetRan, history_as_json, history_as_text, ran_as_json, ran_as_table,
};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::store::{Search, Store};
use crate::target::Target;

/// How many deployments are shown to people who do not say how many.
const A_SCREENFUL: u32 = 20;

/// Shows the deployments of the selected targets, the newest first, or what they ran at some time.
///
/// # Errors
/// Configuration, arguments or state file.
pub(crate) fn history(global: &Global, arguments: &cli::History, console: &Console) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let console = console.masking(Arc::new(Secrets::new(&config)));
    let targets = select(&config, &arguments.targets)?;
    let store = read_state(global, &config, &console, &Cutoff::default())?;
    if let Some(at) = arguments.at {
        return ran(&console, &store, &targets, at, arguments.format);
    }
    let search = search(arguments)?;
    let deployments = store.history(targets.iter().map(|target| &target.id), &search)?;
    match arguments.format {
        Format::Human => {
            let outputs = if global.verbose || search.id.is_some() { Outputs::Whole } else { Outputs::Ends };
            history_as_text(&console, &deployments, outputs);
        }
        Format::Json => history_as_json(&console, &deployments),
    }
    let is_narrowed = search.tag.is_some() || search.id.is_some() || search.failed;
    let is_narrowed = is_narrowed || search.since.is_some() || search.until.is_some();
    if deployments.is_empty() && !global.quiet {
        console.message(if is_narrowed {
            "no deployment matches; to list all deployments: tagship history"
        } else {
            "no deployment yet"
        });
    }
    Ok(Exit::Done)
}

fn search(arguments: &cli::History) -> anyhow::Result<Search> {
    let now = Timestamp::now();
    let most = match arguments.format {
        Format::Human => Some(A_SCREENFUL),
        Format::Json => None,
    };
    Ok(Search {
        most: arguments.limit.or(most),
        tag: arguments.tag.as_deref().map(Tag::new).transpose()?,
        id: arguments.id.clone(),
        failed: arguments.failed,
        since: arguments.since.map(|since| since.begin(now)),
        until: arguments.until.map(|until| until.last(now)),
    })
}

fn ran(
    console: &Console,
    store: &Store,
    targets: &[&Target],
    at: cli::Moment,
    format: Format,
) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let (begin, last) = (at.begin(now), at.last(now));
    let mut states = store.states()?;
    let mut runs = Vec::new();
    for target in targets {
        let baseline = states.remove(&target.id).and_then(|state| state.baseline);
        runs.push(TargetRan { target: &target.id, baseline, ran: store.ran(&target.id, begin, last)? });
    }
    match format {
        Format::Human => ran_as_table(console, &runs),
        Format::Json => ran_as_json(console, &runs, begin, last),
    }
    Ok(Exit::Done)
}
