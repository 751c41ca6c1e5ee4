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

    /// None: it is a secret.
    fn text(&self) -> Option<String> {
        match self {
            OwnedVar::Text(text) => Some(text.clone()),
            OwnedVar::Secret(_) => None,
        }
    }
}

/// As placeholders find them.
pub(super) fn in_scope(vars: &BTreeMap<String, OwnedVar>) -> BTreeMap<&str, Var<'_>> {
    vars.iter().map(|(name, value)| (name.as_str(), value.in_scope())).collect()
}

/// What a target keeps of them.
pub(super) fn texts(vars: &BTreeMap<String, OwnedVar>) -> BTreeMap<String, Option<String>> {
    vars.iter().map(|(name, value)| (name.clone(), value.text())).collect()
}

/// Reads variables. One whose value is a secret source joins the secrets, by a name that no entry of
/// `[secrets]` can have.
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
            table.fault_at(at, format!("{}: {error}", table.path), "");
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
