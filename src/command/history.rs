//! `tagship history`: past deployments, with time, user and outcome.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::bail;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Exit, load, read_states, select};
use crate::cli::{self, Format, Global};
use crate::config::Config;
use crate::reference::Tag;
use crate::report::{
    Console, Outputs, TargetRan, history_as_json, history_as_text, ran_as_json, ran_as_table,
};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::store::{Past, Search, Store};
use crate::target::TargetId;
use crate::target::filter::TargetPattern;

/// The default number of deployments in human output.
const A_SCREENFUL: u32 = 20;

/// Shows the deployments of the selected targets, newest first, or what they ran at some time.
///
/// # Errors
/// An error in the configuration, the arguments or the state file.
pub(crate) fn history(global: &Global, arguments: &cli::History, console: &Console) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let console = console.masking(Arc::new(Secrets::new(&config)));
    let stores = read_states(global, &config, &console, &Cutoff::default())?;
    let targets = targets(&config, &stores, &arguments.targets)?;
    let now = Timestamp::now();
    let zone = match arguments.format {
        Format::Human => console.zone(),
        Format::Json => TimeZone::UTC,
    };
    if let Some(at) = arguments.at {
        let (begin, last) = (at.begin(now, &zone), at.last(now, &zone));
        if begin > now {
            bail!("--at requires a time in the past, found {begin}");
        }
        return ran(&console, &stores, &targets, (begin, last), arguments.format);
    }
    let search = search(arguments, now, &zone)?;
    let mut deployments = Vec::new();
    for store in &stores {
        let found = store.history(targets.iter(), &search)?;
        deployments.extend(from(store, &stores, found));
    }
    let most = search.most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    newest_first(&mut deployments, most);
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

/// The targets that the patterns name, in the order written, then those that left the configuration: their history is
/// kept.
///
/// # Errors
/// A pattern names nothing, or a state cannot be read.
fn targets(config: &Config, stores: &[Store], patterns: &[TargetPattern]) -> anyhow::Result<Vec<TargetId>> {
    let mut left = BTreeSet::new();
    for store in stores {
        left.extend(store.targets()?);
    }
    let of_tables = config.tables.iter().flat_map(|table| &table.stages);
    for target in config.targets.iter().chain(of_tables) {
        left.remove(&target.id);
    }
    let is_left = |pattern: &&TargetPattern| left.iter().any(|id| pattern.matches(id));
    for pattern in patterns.iter().filter(|pattern| !is_left(pattern)) {
        select(config, std::slice::from_ref(pattern))?;
    }
    let is_named = |id: &TargetId| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(id));
    let configured = config.targets.iter().map(|target| target.id.clone());
    Ok(configured.chain(left.iter().cloned()).filter(is_named).collect())
}

/// The deployments, with their state if several were read.
pub(super) fn from(store: &Store, stores: &[Store], found: Vec<Past>) -> impl Iterator<Item = Past> {
    let state_file = (stores.len() > 1).then(|| store.place().to_owned());
    found.into_iter().map(move |past| Past { state_file: state_file.clone(), ..past })
}

/// Sorts the deployments of several states by time, newest first, and keeps at most `most`.
pub(super) fn newest_first(deployments: &mut Vec<Past>, most: usize) {
    deployments.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    deployments.truncate(most);
}

fn search(arguments: &cli::History, now: Timestamp, zone: &TimeZone) -> anyhow::Result<Search> {
    let most = match arguments.format {
        Format::Human => Some(A_SCREENFUL),
        Format::Json => None,
    };
    Ok(Search {
        most: arguments.limit.or(most),
        tag: arguments.tag.as_deref().map(Tag::new).transpose()?,
        id: arguments.id.clone(),
        failed: arguments.failed,
        since: arguments.since.map(|since| since.begin(now, zone)),
        until: arguments.until.map(|until| until.last(now, zone)),
    })
}

fn ran(
    console: &Console,
    stores: &[Store],
    targets: &[TargetId],
    (begin, last): (Timestamp, Timestamp),
    format: Format,
) -> anyhow::Result<Exit> {
    let mut states = stores.iter().map(Store::states).collect::<Result<Vec<_>, _>>()?;
    let mut runs = Vec::new();
    for target in targets {
        let mut of_target = Vec::new();
        for (store, states) in stores.iter().zip(&mut states) {
            let state = states.remove(target);
            let state_file = state.as_ref().filter(|_| stores.len() > 1).map(|_| store.place().to_owned());
            let (baseline, ran) = (state.and_then(|state| state.baseline), store.ran(target, begin, last)?);
            of_target.push(TargetRan { target, baseline, ran, state_file });
        }
        if of_target.iter().any(|run| !run.ran.is_empty()) {
            of_target.retain(|run| !run.ran.is_empty());
        } else {
            // If no state knows the target, one row is enough.
            of_target.sort_by_key(|run| run.baseline.is_none());
            of_target.truncate(1);
        }
        runs.extend(of_target);
    }
    match format {
        Format::Human => ran_as_table(console, &runs),
        Format::Json => ran_as_json(console, &runs, begin, last),
    }
    Ok(Exit::Done)
}
