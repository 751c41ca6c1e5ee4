//! `tagship tags`: every tag, and why it was taken or not.

use std::sync::Arc;

use super::{Exit, load, read_state, select_one};
use crate::cli::{self, Global, StatusFormat};
use crate::deploy::Stop;
use crate::plan::Audience;
use crate::poll::{Mode, Run, survey};
use crate::report::{Console, TagsPage, tags_as_json, tags_as_table};
use crate::secret::Secrets;

/// Explains every tag of a target.
///
/// # Errors
/// Configuration, arguments or state file.
pub(crate) fn tags(global: &Global, arguments: &cli::Tags) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let target = select_one(&config, &arguments.target)?;
    let secrets = Arc::new(Secrets::new(&config));
    let console = Console::masking(Arc::clone(&secrets));
    let store = read_state(global, &config)?;
    let run = Run {
        config: &config,
        store: &store,
        secrets,
        stop: &Stop::default(),
        mode: Mode::Rehearse,
        audience: Audience::Machine,
        max_runtime: config.settings.max_runtime,
        refresh: false,
    };
    let survey = match survey(&run, target, arguments.offline)? {
        Ok(survey) => survey,
        Err(failure) => {
            console.error(&format!("{}: {}: {}", target.id, failure.code.as_str(), failure.message));
            return Ok(Exit::Failed);
        }
    };
    let page = TagsPage {
        target: &target.id,
        image: target.image.to_string(),
        order: target.policy.order().to_string(),
        rule: target.policy.rule_text(),
        high_water: survey.high_water.as_ref(),
        deployed: survey.deployed.as_ref(),
        polled_at: survey.polled_at,
        tags: &survey.tags,
    };
    match arguments.format {
        StatusFormat::Human => tags_as_table(&console, &page, arguments.all),
        StatusFormat::Json => tags_as_json(&console, &page),
    }
    Ok(Exit::Done)
}
