//! `tagship retry`: retries or removes failed deployments.

use anyhow::bail;
use jiff::Timestamp;

use super::{Exit, kept_state, load, select};
use crate::cli::{self, Global};
use crate::engine::{Deployment, TargetEvent};
use crate::report::Console;
use crate::run;
use crate::store::{Store, StoreError};
use crate::target::Target;
use crate::target::filter::TargetPattern;
use crate::target::notifier::Notifier;

/// Makes failed deployments due at the next poll, with their full number of attempts, or removes them.
///
/// # Errors
/// An error in the configuration, the arguments or the state file; nothing was changed.
pub(crate) fn retry(global: &Global, arguments: &cli::RetryArgs, console: &Console) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let (ids, patterns): (Vec<&String>, Vec<&String>) =
        arguments.deployments.iter().partition(|text| uuid::Uuid::try_parse(text).is_ok());
    let patterns: Vec<TargetPattern> = patterns.into_iter().map(|text| TargetPattern::new(text)).collect();
    let named = if patterns.is_empty() && !ids.is_empty() { Vec::new() } else { select(&config, &patterns)? };
    let store = kept_state(global, &config, console, "it has no failed deployments")?;
    let mut open = store.open_deployments()?;
    let mut chosen: Vec<&Target> = Vec::new();
    for id in ids {
        let known = config.targets.iter().find(|target| {
            let open = open.get(&target.id).and_then(|open| open.undelivered().or(open.running.as_ref()));
            open.is_some_and(|deployment| deployment.id == *id)
        });
        match known {
            Some(target) => chosen.push(target),
            None => bail!("no failed deployment has the ID {id}; to list deployments: tagship history"),
        }
    }
    chosen.extend(named);
    let (mut busy, mut found, mut changed) = (false, false, false);
    let mut failed = false;
    for target in chosen {
        let open = open.remove(&target.id).unwrap_or_default();
        let Some(deployment) = open.undelivered().or(open.running.as_ref()) else {
            continue;
        };
        found = true;
        if !arguments.drop
            && let Some(message) = run::recall_other_owner(&config, &store, target)?
        {
            // A deployment that no poll would retry.
            failed = true;
            console.error(&format!("{}: {message}", target.id));
            continue;
        }
        let answer = match change(&store, &config.notifiers, target, deployment, arguments.drop) {
            Ok(true) => {
                changed = true;
                described(deployment, arguments.drop)
            }
            Ok(false) => {
                busy = true;
                "another run, or a command that it left behind, is deploying to it; nothing was changed"
                    .to_owned()
            }
            // Other deployments continue.
            Err(error) => {
                failed = true;
                console.error(&format!("{}: {error}", target.id));
                continue;
            }
        };
        if !global.quiet {
            console.line(&format!("{}: {answer}", target.id));
        }
    }
    if !found && !global.quiet {
        console.message("no failed deployments");
    }
    Ok(match (failed, busy) {
        (true, _) if changed => Exit::Failed,
        (true, _) => Exit::Unusable,
        (false, true) => Exit::Busy,
        (false, false) => Exit::Done,
    })
}

/// False: another run, or a command that it left behind, is deploying to the target.
fn change(
    store: &Store,
    notifiers: &[Notifier],
    target: &Target,
    deployment: &Deployment,
    is_dropped: bool,
) -> Result<bool, StoreError> {
    let Some(_lock) = store.lock(&target.id)? else {
        return Ok(false);
    };
    let event = if is_dropped { TargetEvent::Abandoned } else { TargetEvent::Retried };
    store.write(|write| write.commit(target, notifiers, event(&deployment.id), Timestamp::now()))?;
    Ok(true)
}

fn described(deployment: &Deployment, is_dropped: bool) -> String {
    let what = deployment.described();
    if is_dropped {
        format!("{what} was removed; only newer tags are deployed")
    } else {
        format!("{what} will be retried at the next poll")
    }
}
