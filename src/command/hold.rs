//! `tagship hold` and `tagship release`: stop and resume automatic deployments.

use jiff::Timestamp;

use super::{Exit, by_whom, kept_state, load, select, warn_if_not_polled};
use crate::cli::{self, Global};
use crate::engine::{Hold, TargetEvent};
use crate::report::{Console, escape_control};
use crate::target::filter::TargetPattern;

/// Stops automatic deployments to the targets.
///
/// # Errors
/// An error in the configuration, the arguments or the state file; nothing was changed.
pub(crate) fn hold(global: &Global, arguments: &cli::HoldArgs, console: &Console) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let until = arguments.lasting.map(|lasting| now.checked_add(lasting)).transpose()?;
    let hold = Hold { reason: arguments.reason.clone(), by: by_whom(), since: now, until };
    change(global, console, &arguments.targets, now, || TargetEvent::Held(hold.clone()))
}

/// Resumes automatic deployments to the targets.
///
/// # Errors
/// An error in the configuration, the arguments or the state file; nothing was changed.
pub(crate) fn release(global: &Global, arguments: &cli::Release, console: &Console) -> anyhow::Result<Exit> {
    change(global, console, &arguments.targets, Timestamp::now(), || TargetEvent::Released)
}

/// Changes the hold of every target in one transaction, and reports each.
fn change(
    global: &Global,
    console: &Console,
    patterns: &[TargetPattern],
    now: Timestamp,
    event: impl Fn() -> TargetEvent<'static>,
) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let targets = select(&config, patterns)?;
    let store = kept_state(global, &config, console, "the hold would be lost")?;
    warn_if_not_polled(&store, &config, console)?;
    let changes = store.write(|write| {
        let changes = targets.iter().map(|target| write.commit(target, &config.notifiers, event(), now));
        changes.collect::<rusqlite::Result<Vec<_>>>()
    })?;
    if !global.quiet {
        for (target, change) in targets.iter().zip(changes.into_iter().flatten()) {
            console.line(&escape_control(&format!("{}: {}", target.id, change.message)));
        }
    }
    Ok(Exit::Done)
}
