//! `[[notify]]`: which events are sent, and where.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use strum::VariantNames as _;

use super::key::{OTHER_EVENTS, Section};
use super::read::Field;
use super::step::Reader;
use crate::target::filter::{TargetNames, TargetPattern};
use crate::target::notifier::{Notifier, NotifyEvent};
use crate::target::template::{DeploymentField, LABEL, Part, Scope};

const EVENTS: &str = "write on = [\"failed\", \"dead\", \"recovered\"]";

/// Reads one entry. `secrets`: the names of `[secrets]`.
pub(super) fn read(
    field: &Field<'_>,
    secrets: &Rc<BTreeSet<&str>>,
    targets: &TargetNames<'_>,
) -> Option<Notifier> {
    let table = field.table(Section::Notify)?;
    let on = match table.get("on") {
        Some(on) => events(&on),
        None => {
            table.requires("on", EVENTS);
            None
        }
    };
    let patterns = table.get("targets").map_or(Some(None), |field| patterns(&field, targets).map(Some));
    let after = table.get("after").map_or(Some(Duration::from_secs(3600)), |field| field.duration());
    let batch = table.get("batch").map_or(Some(false), |field| field.boolean())?;
    let fields: &[DeploymentField] =
        if batch { &DeploymentField::OF_BATCH } else { &DeploymentField::OF_NOTIFICATION };
    let scope = &Scope { fields, secrets: Rc::clone(secrets), ..Scope::default() };
    let folder = field.source.file.parent().unwrap_or(Path::new("/"));
    let step = Reader { scope, folder }.notification(field, &table);
    if batch {
        let of_one = |part: &Part| match part {
            Part::Field(one) => (!DeploymentField::OF_BATCH.contains(one)).then(|| one.word().to_owned()),
            Part::Label(name) => Some(format!("{LABEL}{name}")),
            _ => None,
        };
        if let Some(word) = step.as_ref()?.parts().find_map(of_one) {
            field.fault(
                format!("{{{word}}} is about one event, but a batch has several"),
                "use {count}, {lines} and {time}, or remove batch = true",
            );
            return None;
        }
    }
    // The text as written, with the names of secrets. Their values may change, and the state must not contain
    // them.
    let written = |name: &str| table.get(name).map(|field| field.written());
    let receiver = written("url").or_else(|| written("command"))?;
    Some(Notifier { receiver, on: on?, targets: patterns?, after: after?, batch, step: step? })
}

fn events(field: &Field<'_>) -> Option<Vec<NotifyEvent>> {
    let items = field.list()?;
    if items.is_empty() {
        field.fault("expected at least one event", EVENTS);
        return None;
    }
    let read = |item: &Field<'_>| item.word("event", NotifyEvent::VARIANTS, OTHER_EVENTS);
    let events: Vec<Option<NotifyEvent>> = items.iter().map(read).collect();
    events.into_iter().collect()
}

fn patterns(field: &Field<'_>, targets: &TargetNames<'_>) -> Option<Vec<TargetPattern>> {
    let read = |item: &Field<'_>| {
        let pattern = TargetPattern::new(item.some_text()?);
        if !targets.is_empty() && !targets.has(&pattern) {
            item.warning("no target matches", "write \"shop/dev\", \"shop\" (all its stages) or a glob");
        }
        Some(pattern)
    };
    let patterns: Vec<Option<TargetPattern>> = field.list()?.iter().map(read).collect();
    patterns.into_iter().collect()
}
