//! `vars` of projects and stages.

use std::collections::BTreeMap;
use std::path::Path;

use super::read::Field;
use super::{SecretSource, source};
use crate::target::Name;
use crate::target::template::{SecretId, Var};

/// A variable of a project or stage.
#[derive(Clone, Debug)]
pub(super) enum OwnedVar {
    Text(String),
    Secret(SecretId),
}

impl OwnedVar {
    fn in_scope(&self) -> Var<'_> {
        match self {
            OwnedVar::Text(text) => Var::Text(text),
            OwnedVar::Secret(id) => Var::Secret(id.clone()),
        }
    }

    /// None: a secret.
    fn text(&self) -> Option<String> {
        match self {
            OwnedVar::Text(text) => Some(text.clone()),
            OwnedVar::Secret(_) => None,
        }
    }
}

/// The variables for placeholders.
pub(super) fn in_scope(vars: &BTreeMap<String, OwnedVar>) -> BTreeMap<&str, Var<'_>> {
    vars.iter().map(|(name, value)| (name.as_str(), value.in_scope())).collect()
}

/// The values to store in the target; None: a secret.
pub(super) fn texts(vars: &BTreeMap<String, OwnedVar>) -> BTreeMap<String, Option<String>> {
    vars.iter().map(|(name, value)| (name.clone(), value.text())).collect()
}

/// Reads variables. A secret source becomes a secret with a name that `[secrets]` does not allow.
pub(super) fn read_vars(
    field: Option<&Field<'_>>,
    whose: impl Fn() -> String,
    secrets: &mut BTreeMap<SecretId, SecretSource>,
) -> BTreeMap<String, OwnedVar> {
    let mut vars = BTreeMap::new();
    let Some(table) = field.and_then(Field::any_table) else {
        return vars;
    };
    for (name, at, value) in table.placed_fields() {
        if let Err(error) = Name::new(name) {
            table.fault_at(at, error.to_string(), "");
            continue;
        }
        let var = if value.is_text() {
            value.text().map(|text| OwnedVar::Text(text.to_owned()))
        } else {
            let folder = value.source.file.parent().unwrap_or(Path::new("/"));
            source::read(&value, folder).map(|source| {
                let id = SecretId(format!("var:{}/{name}", whose()));
                secrets.insert(id.clone(), source);
                OwnedVar::Secret(id)
            })
        };
        vars.extend(var.map(|var| (name.to_owned(), var)));
    }
    vars
}
