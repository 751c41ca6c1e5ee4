//! The targets that a command selects.

use std::collections::BTreeSet;

use anyhow::bail;

use crate::config::{self, Config};
use crate::target::Target;
use crate::target::filter::{TargetFilter, TargetPattern};

/// The targets that match the patterns, in the order written; without patterns, all.
///
/// # Errors
/// A pattern matches nothing.
pub(super) fn select<'a>(config: &'a Config, patterns: &[TargetPattern]) -> anyhow::Result<Vec<&'a Target>> {
    select_filtered(config, &TargetFilter { patterns: patterns.to_vec(), ..TargetFilter::default() })
}

/// The same among these targets, which may be stages of tables with `images`.
///
/// # Errors
/// A pattern matches nothing.
pub(super) fn select_among<'a>(
    config: &Config,
    targets: &[&'a Target],
    patterns: &[TargetPattern],
) -> anyhow::Result<Vec<&'a Target>> {
    let filter = TargetFilter { patterns: patterns.to_vec(), ..TargetFilter::default() };
    filtered(config, targets.iter().copied(), &filter)
}

/// The targets that match a filter, in the order written.
///
/// # Errors
/// A part of the filter, or the whole filter, matches nothing.
pub(super) fn select_filtered<'a>(
    config: &'a Config,
    filter: &TargetFilter,
) -> anyhow::Result<Vec<&'a Target>> {
    filtered(config, config.targets.iter(), filter)
}

fn filtered<'a>(
    config: &Config,
    targets: impl Iterator<Item = &'a Target> + Clone,
    filter: &TargetFilter,
) -> anyhow::Result<Vec<&'a Target>> {
    const MOST: usize = 10;
    let targets = || targets.clone();
    let no_such = |what, name: &str, known| {
        let project = name.split('/').next().filter(|_| what != "stage");
        let of_table = config.discovered.iter().filter(|(_, found)| project == Some(found.table.as_str()));
        let of_table: Vec<&str> = of_table.map(|(name, _)| name.as_str()).collect();
        if !of_table.is_empty() {
            let shown = of_table[..of_table.len().min(MOST)].join(", ");
            let more = if of_table.len() > MOST { ", …" } else { "" };
            return format!(
                "the configuration has no {what} {name:?}; the projects of that table: {shown}{more}; to list all targets: tagship status"
            );
        }
        let tables: Vec<String> =
            config.tables.iter().map(|table| format!("projects.{}", table.name)).collect();
        let more = match tables.as_slice() {
            [] => String::new(),
            tables => format!("; images of {} become targets after a poll has found them", tables.join(", ")),
        };
        no_such(what, name, known) + &more
    };
    for pattern in &filter.patterns {
        if !targets().any(|target| pattern.matches(&target.id)) {
            let known = targets().flat_map(|target| [target.id.to_string(), target.id.project.to_string()]);
            bail!(no_such("target", pattern.as_str(), known.collect()));
        }
    }
    for project in &filter.projects {
        if !targets().any(|target| target.id.project.as_str() == project) {
            bail!(no_such(
                "project",
                project,
                targets().map(|target| target.id.project.to_string()).collect()
            ));
        }
    }
    for stage in &filter.stages {
        if !targets().any(|target| target.id.stage.as_str() == stage) {
            bail!(no_such("stage", stage, targets().map(|target| target.id.stage.to_string()).collect()));
        }
    }
    let selected: Vec<&Target> = targets().filter(|target| filter.matches(&target.id)).collect();
    if selected.is_empty() {
        // Each part matches targets, but no target matches all parts.
        let wider = TargetFilter { stages: Vec::new(), ..filter.clone() };
        let near = targets().filter(|target| wider.matches(&target.id)).map(|target| target.id.to_string());
        let near: Vec<String> = near.take(3).collect();
        let near =
            if near.is_empty() { String::new() } else { format!("; the nearest is {}", near.join(", ")) };
        bail!("no target matches all of these filters{near}; to list all targets: tagship status");
    }
    Ok(selected)
}

/// The only target that matches a pattern.
///
/// # Errors
/// The pattern matches none, or several.
pub(super) fn select_one<'a>(config: &'a Config, pattern: &TargetPattern) -> anyhow::Result<&'a Target> {
    match select(config, std::slice::from_ref(pattern))?.as_slice() {
        [target] => Ok(target),
        several => {
            let names: Vec<String> = several.iter().map(|target| target.id.to_string()).collect();
            bail!(
                "{} matches {} targets; name one of them: {}",
                pattern.as_str(),
                several.len(),
                names.join(", ")
            )
        }
    }
}

/// The error for a name that is not in the configuration.
fn no_such(what: &str, name: &str, known: BTreeSet<String>) -> String {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let nearest = config::nearest(name, &known);
    let help = match nearest.as_slice() {
        _ if name.ends_with(".toml") => format!("to use a configuration file: --config {name}"),
        [] => "to list all targets: tagship status".to_owned(),
        nearest => format!("did you mean {}? To list all targets: tagship status", nearest.join(" or ")),
    };
    format!("the configuration has no {what} {name:?}; {help}")
}
