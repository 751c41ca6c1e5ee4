//! The JSON Schema of the configuration, from the table of keys.

use serde_json::{Map, Value, json};

use super::key::{Key, Kind, Section};

/// What people may call a registry, a project or a stage.
const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$";
/// Numbers, each with its unit.
const DURATION: &str = "^[0-9]+ ?[a-z]+( ?[0-9]+ ?[a-z]+)*$";

/// The schema of a configuration file, and of one that it includes: nothing is required at the top.
pub(crate) fn schema() -> Value {
    let mut defs = Map::new();
    for section in Section::ALL {
        if section != Section::Top {
            defs.insert(name(section), definition(section));
        }
    }
    defs.insert("StageDefaults".to_owned(), stage_defaults());
    defs.insert(
        "Step".to_owned(),
        json!({ "oneOf": [reference(Section::CommandStep), reference(Section::HttpStep)] }),
    );
    let description = format!(
        "{} Nothing is required here, because an included file need not have it.",
        Section::Top.about()
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tagship configuration",
        "description": description,
        "type": "object",
        "properties": properties(Section::Top.keys().iter()),
        "additionalProperties": false,
        "$defs": defs,
    })
}

fn name(section: Section) -> String {
    format!("{section:?}")
}

fn reference(section: Section) -> Value {
    json!({ "$ref": format!("#/$defs/{}", name(section)) })
}

fn definition(section: Section) -> Value {
    let mut schema = json!({
        "description": section.about(),
        "type": "object",
        "properties": properties(section.keys().iter()),
        "additionalProperties": false,
    });
    match section {
        Section::Secret => {
            schema["minProperties"] = 1.into();
            schema["maxProperties"] = 1.into();
        }
        Section::Stage => {
            let required = required(section).join(", ");
            schema["description"] =
                format!("{} Required, here or there: {required}.", section.about()).into();
        }
        _ => {
            let required = required(section);
            if !required.is_empty() {
                schema["required"] = required.into();
            }
        }
    }
    schema
}

fn required(section: Section) -> Vec<&'static str> {
    section.keys().iter().filter(|key| key.required).map(|key| key.name).collect()
}

/// `[settings.stage]`
fn stage_defaults() -> Value {
    json!({
        "description": "Defaults for every stage. A key of the stage replaces its default whole.",
        "type": "object",
        "properties": properties(Section::Stage.keys().iter().filter(|key| key.name != "vars")),
        "additionalProperties": false,
    })
}

fn properties(keys: impl Iterator<Item = &'static Key>) -> Map<String, Value> {
    keys.map(|key| (key.name.to_owned(), property(key))).collect()
}

fn property(key: &Key) -> Value {
    let mut schema = match key.kind {
        // The stage among the settings.
        Kind::Table(Section::Stage) => json!({ "$ref": "#/$defs/StageDefaults" }),
        kind => values(kind),
    };
    schema["description"] = key.about.into();
    // A default that is no value, such as "any 2xx", is for people.
    if let Some(default) = key.default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        schema["default"] = default;
    }
    schema
}

/// What a value of this kind may be.
fn values(kind: Kind) -> Value {
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    match kind {
        Kind::Text | Kind::Template => json!({ "type": "string" }),
        Kind::TextOrList => json!({ "oneOf": [{ "type": "string" }, texts()] }),
        Kind::TextList | Kind::TemplateList => texts(),
        Kind::TemplateTable => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::VarTable => json!({
            "type": "object",
            "additionalProperties": { "oneOf": [{ "type": "string" }, reference(Section::Secret)] },
        }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::IntegerList => json!({ "type": "array", "items": { "type": "integer" } }),
        Kind::Duration => json!({ "type": "string", "pattern": DURATION }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Secret => reference(Section::Secret),
        Kind::SecretTable => named(Section::Secret),
        Kind::Json => json!({}),
        Kind::JsonList => json!({ "type": "array", "minItems": 1 }),
        Kind::Table(section) => reference(section),
        Kind::Named(section) => named(section),
        Kind::List(section) => json!({ "type": "array", "items": reference(section) }),
        Kind::Steps => {
            let step = json!({ "$ref": "#/$defs/Step" });
            json!({ "oneOf": [step, { "type": "array", "items": step, "minItems": 1 }] })
        }
    }
}

/// A table of tables, each by a name.
fn named(section: Section) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": reference(section),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_the_properties() {
        let schema = schema();
        for section in Section::ALL {
            let part = match section {
                Section::Top => Some(&schema),
                _ => schema["$defs"].get(name(section)),
            };
            assert!(part.is_some(), "{section:?}");
            for key in section.keys() {
                let property = part.and_then(|part| part["properties"].get(key.name));
                assert!(property.is_some(), "{section:?} {}", key.name);
            }
        }
        let defaults = schema["$defs"]["StageDefaults"]["properties"].as_object().unwrap();
        assert_eq!(defaults.len() + 1, Section::Stage.keys().iter().count());
        assert!(!defaults.contains_key("vars"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let schema = schema();
        let mut found = Vec::new();
        references(&schema, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_is_required_and_by_default() {
        let defs = &schema()["$defs"];
        assert_eq!(defs["Registry"]["required"], json!(["kind"]));
        assert_eq!(defs["Stage"].get("required"), None);
        assert_eq!(defs["Settings"]["properties"]["parallel_deploys"]["default"], json!(4));
        assert_eq!(defs["Settings"]["properties"]["interval"]["default"], json!("5m"));
        assert_eq!(defs["Success"]["properties"]["status"].get("default"), None);
        assert_eq!(defs["Registry"]["properties"]["kind"]["enum"], json!(super::super::key::KINDS));
    }
}
