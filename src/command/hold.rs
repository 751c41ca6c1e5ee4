//! `tagship hold` and `tagship release`: automatic deployments stop, and go on.

use jiff::Timestamp;

use super::{Exit, by_whom, kept_state, load, select, warn_if_not_polled};
use crate::cli::{self, Global};
use crate::plan::Hold;
use crate::report::{Console, escape_control};
use crate::target::Target;
use crate::target::filter::TargetPattern;

/// Stops automatic deployments to the targets.
///
/// # Errors
/// Configuration, arguments or state file; nothing was changed.
pub(crate) fn hold(global: &Global, arguments: &cli::Hold, console: &Console) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let until = arguments.lasting.map(|lasting| now.checked_add(lasting)).transpose()?;
    let hold = Hold { reason: arguments.reason.clone(), by: by_whom(), since: now, until };
    change(global, console, &arguments.targets, |target, before| {
        let ends = hold
            .until
            .map_or_else(|| format!("tagship release {}", target.id), |until| format!("{until:.0}"));
        (Some(hold.clone()), format!("{} until {ends}", before.map_or("held", |_| "held anew")))
    })
}

/// Lets automatic deployments to the targets go on.
///
/// # Errors
/// Configuration, arguments or state file; nothing was changed.
pub(crate) fn release(global: &Global, arguments: &cli::Release, console: &Console) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    change(global, console, &arguments.targets, |_, before| {
        let said = match before {
            Some(hold) if hold.holds(now) => format!("released; it was {}", hold.describe()),
            _ => "was not held".to_owned(),
        };
        (None, said)
    })
}

/// Changes the hold of every target in one transaction, and says what became of each.
fn change(
    global: &Global,
    console: &Console,
    patterns: &[TargetPattern],
    change: impl Fn(&Target, Option<&Hold>) -> (Option<Hold>, String),
) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let targets = select(&config, patterns)?;
    let store = kept_state(global, &config, console, "a hold would be forgotten")?;
    warn_if_not_polled(&store, &config, console)?;
    let said = store.write(|write| {
        let mut said = Vec::new();
        for target in &targets {
            let mut state = write.state(&target.id)?.unwrap_or_default();
            let (hold, what) = change(target, state.hold.as_ref());
            state.hold = hold;
            write.save_state(&target.id, &state)?;
            said.push(format!("{}: {what}", target.id));
        }
        Ok(said)
    })?;
    if !global.quiet {
        said.iter().for_each(|line| console.data(&escape_control(line)));
    }
    Ok(Exit::Done)
}
