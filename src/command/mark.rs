//! `tagship mark`: something else deployed a tag.

use anyhow::bail;
use jiff::Timestamp;

use super::{Exit, by_whom, kept_state, load, select_one, warn_if_not_polled};
use crate::cli::{self, Global};
use crate::config::Config;
use crate::plan::{self, DecidedBy, Deployment, DeploymentState, Mark};
use crate::poll;
use crate::reference::Tag;
use crate::report::{Console, escape_control};
use crate::store::Write;
use crate::target::Target;

/// Records what the stage runs, or moves high-water.
///
/// # Errors
/// Configuration, arguments or state file; nothing was changed.
pub(crate) fn mark(global: &Global, arguments: &cli::Mark, console: &Console) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let target = select_one(&config, &arguments.target)?;
    if arguments.owner {
        return accept_owner(global, &config, target, console);
    }
    let mark = match &arguments.tag {
        Some(tag) if arguments.reset => Mark::Reset(Tag::new(tag)?),
        Some(tag) => Mark::Deployed(Tag::new(tag)?),
        None => Mark::Nothing,
    };
    let store = kept_state(global, &config, console, "there is nothing to mark")?;
    warn_if_not_polled(&store, &config, console)?;
    let said = store.write(|write| record(write, target, &mark))?;
    if !global.quiet {
        console.data(&format!("{}: {said}", target.id));
    }
    Ok(Exit::Done)
}

/// Accepts the owner that the registry named at the last poll.
fn accept_owner(
    global: &Global,
    config: &Config,
    target: &Target,
    console: &Console,
) -> anyhow::Result<Exit> {
    let name = target.image.repository.owner();
    let store = kept_state(global, config, console, "no owner is remembered")?;
    let key = poll::feed_key(config, &target.registry, name);
    let Some(owner) = store.write(|write| write.accept_owner(&key))? else {
        bail!("no poll has seen who the owner {name} is: there is nothing to accept");
    };
    if !global.quiet {
        console.data(&escape_control(&format!(
            "{}: `{}` (id {}) is accepted as the owner {name}, for all its images; what is newer than the tags of before will be deployed",
            target.id, owner.login, owner.id
        )));
    }
    Ok(Exit::Done)
}

fn record(write: &Write<'_>, target: &Target, mark: &Mark) -> rusqlite::Result<String> {
    let (now, by_whom) = (Timestamp::now(), by_whom());
    let before = write.state(&target.id)?;
    let open = write.open_deployments(&target.id)?;
    let marked = plan::mark(target, before.as_ref(), &open, mark, now);
    if let (Some(pending), Some(state)) = (open.undelivered(), marked.pending_becomes) {
        let reason = format!("{} was marked by {by_whom}", mark.tag().unwrap_or(&pending.tag));
        write.end_deployment(&pending.id, state, Some(&reason), now)?;
    }
    if let (Some(tag), true) = (mark.tag(), marked.pending_becomes != Some(DeploymentState::Succeeded)) {
        // It joins what the stage ran, for `after`, `--previous` and the history.
        let high_water = marked.state.high_water.as_ref().map(|listed| &listed.tag);
        let (id, by) = (uuid::Uuid::now_v7().to_string(), DecidedBy::Mark);
        let deployment = Deployment {
            previous_tag: before.as_ref().and_then(|before| Some(before.deployed.as_ref()?.tag.clone())),
            by_whom: Some(by_whom),
            state: DeploymentState::Succeeded,
            goes_back: high_water.is_some_and(|high_water| high_water != tag)
                && marked.state.marked.is_none(),
            high_water_before: before.and_then(|before| before.high_water),
            ..Deployment::new(id, target, tag.clone(), None, by, now)
        };
        write.insert_deployment(&deployment)?;
        write.end_deployment(&deployment.id, DeploymentState::Succeeded, None, now)?;
    }
    write.save_state(&target.id, &marked.state)?;
    Ok(marked.said)
}
