//! `tagship mark`: records that something else deployed a tag.

use anyhow::bail;
use jiff::Timestamp;

use super::{Exit, by_whom, kept_state, load, select_one, warn_if_not_polled};
use crate::cli::{self, Global};
use crate::config::Config;
use crate::engine::{Mark, TargetEvent};
use crate::reference::Tag;
use crate::report::{Console, escape_control};
use crate::run;
use crate::target::Target;

/// Records the tag that the stage runs, or moves high-water.
///
/// # Errors
/// An error in the configuration, the arguments or the state file; nothing was changed.
pub(crate) fn mark(global: &Global, arguments: &cli::MarkArgs, console: &Console) -> anyhow::Result<Exit> {
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
    let store = kept_state(global, &config, console, "the mark would be lost")?;
    warn_if_not_polled(&store, &config, console)?;
    let id = uuid::Uuid::now_v7().to_string();
    let change = store.write(|write| {
        let was_given = match &mark {
            Mark::Deployed(tag) | Mark::Reset(tag) => write.was_given(&target.id, tag)?,
            Mark::Nothing => false,
        };
        let event = TargetEvent::Marked { mark: &mark, was_given, by_whom: by_whom(), id };
        write.commit(target, &config.notifiers, event, Timestamp::now())
    })?;
    if let (Some(change), false) = (change, global.quiet) {
        console.line(&format!("{}: {}", target.id, change.message));
    }
    Ok(Exit::Done)
}

/// Accepts the owner that the registry reported at the last poll.
fn accept_owner(
    global: &Global,
    config: &Config,
    target: &Target,
    console: &Console,
) -> anyhow::Result<Exit> {
    let name = target.image.repository.owner();
    let store = kept_state(global, config, console, "the owner would be lost")?;
    let key = run::feed_key(config, &target.registry, name);
    let Some(owner) = store.write(|write| write.accept_owner(&key))? else {
        bail!("no poll has recorded an owner of {name} yet; run: tagship poll");
    };
    if !global.quiet {
        console.line(&escape_control(&format!(
            "{}: accepted `{}` (ID {}) as the owner of the images of {name}; polls deploy newer tags again",
            target.id, owner.login, owner.id
        )));
    }
    Ok(Exit::Done)
}
