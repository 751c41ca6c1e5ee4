//! `tagship tags`: every tag, with its verdict at the next poll.

use std::sync::Arc;

use anyhow::anyhow;

use super::{Exit, load, read_state, select_one};
use crate::cli::{self, Format, Global};
use crate::deploy::Stop;
use crate::engine::{self, Audience};
use crate::reference::Tag;
use crate::report::{Console, TagsPage, tag_in_full, tags_as_json, tags_as_table};
use crate::run::{Mode, Run, Survey, survey};
use crate::secret::Secrets;
use crate::stop::Cutoff;

/// Shows the verdict of every tag of a target.
///
/// # Errors
/// An error in the configuration, the arguments or the state file.
pub(crate) fn tags(global: &Global, arguments: &cli::Tags, console: &Console) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let target = select_one(&config, &arguments.target)?;
    let tag = arguments.tag.as_deref().map(tag).transpose()?;
    // With --offline the command is quick, and a signal simply ends the process.
    let stop = if arguments.offline { Stop::default() } else { Stop::on_signals()? };
    let cutoff = Cutoff::after(&stop, config.settings.max_runtime);
    let secrets = Secrets::new(&config).until(cutoff.clone());
    let secrets = Arc::new(secrets);
    let console = console.masking(Arc::clone(&secrets));
    let store = read_state(global, &config, &console, &cutoff)?;
    let run = Run {
        config: &config,
        store: &store,
        secrets,
        stop: &stop,
        mode: Mode::DryRun,
        audience: Audience::Machine,
        max_runtime: config.settings.max_runtime,
        refresh: false,
        pushed: Vec::new(),
    };
    let survey = survey(&run, target, arguments.offline)?;
    if let Some(signal) = stop.signal() {
        return Ok(Exit::Signal(signal));
    }
    let survey = match survey {
        Ok(survey) => survey,
        Err(failure) => {
            console.error(&format!("{}: {}: {}", target.id, failure.code.as_str(), failure.message));
            return Ok(Exit::Failed);
        }
    };
    let Survey { high_water, deployed, polled_at, mut tags, dropped } = survey;
    let mut origin = None;
    if let Some(tag) = &tag {
        tags.retain(|verdict| verdict.listed.tag == *tag);
        if tags.is_empty() {
            let given_at = store.given(&target.id)?.get(tag).map(|given| given.at);
            tags.push(engine::unlisted(target, tag, given_at));
        }
        origin = store.origin(&target.id, tag)?;
    }
    let page = TagsPage {
        target: &target.id,
        image: target.image.to_string(),
        order: target.policy.order(),
        rule: target.policy.rule_text(),
        gates: target.gates.describe(),
        high_water: high_water.as_ref(),
        deployed: deployed.as_ref(),
        polled_at,
        tags: &tags,
        dropped: &dropped,
    };
    match (arguments.format, tags.as_slice()) {
        (Format::Json, _) => tags_as_json(&console, &page),
        (Format::Human, [one]) if tag.is_some() => tag_in_full(&console, &page, one, origin.as_ref()),
        (Format::Human, _) => tags_as_table(&console, &page, arguments.all),
    }
    Ok(Exit::Done)
}

fn tag(text: &str) -> anyhow::Result<Tag> {
    let fault = |error| anyhow!("{error}; tagship ignores such a name in a registry's list");
    Tag::new(text).map_err(fault)
}
