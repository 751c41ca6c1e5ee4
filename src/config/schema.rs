//! The JSON Schema of the configuration, from the table of keys.

use serde_json::{Map, Value, json};

use super::key::{KINDS, Key, Kind, Section};
use super::{RegistryKind, registry};

/// Names of registries, projects and stages.
const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$";
/// `09:00`
const CLOCK: &str = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";
/// RFC 6901
const POINTER: &str = "^(/.*)?$";
/// The names of the units of durations, the largest unit first.
const UNITS: [&str; 8] = [
    "w|wks?|weeks?",
    "d|days?",
    "h|hrs?|hours?",
    "m|mins?|minutes?",
    "s|secs?|seconds?",
    "ms|msecs?|millis?|milliseconds?",
    "us|usecs?|micros?|microseconds?",
    "ns|nsecs?|nanos?|nanoseconds?",
];

/// The schema of a main file and of an included file: no key is required at the top.
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
    let description =
        format!("{} No key is required here, because an included file may omit any.", Section::Top.about());
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
    for (keyword, rule) in rules(section) {
        schema[keyword] = rule;
    }
    match section {
        Section::Stage => {
            let required = required(section).join(", ");
            schema["description"] =
                format!("{} Required here or in [settings.stage]: {required}.", section.about()).into();
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

/// The rules about keys that require or exclude each other, in the keywords of JSON Schema.
fn rules(section: Section) -> Vec<(&'static str, Value)> {
    let one_of_two = || ("oneOf", json!([{ "required": ["command"] }, { "required": ["url"] }]));
    let one_body = || {
        let both = |one: &str, other: &str| json!({ "required": [one, other] });
        ("not", json!({ "anyOf": [both("json", "form"), both("json", "body"), both("form", "body")] }))
    };
    let mut rules = match section {
        Section::Secret => vec![("minProperties", 1.into()), ("maxProperties", 1.into())],
        Section::Sign | Section::Ping => vec![("minProperties", 1.into())],
        Section::Running => vec![one_of_two()],
        Section::Notify => vec![one_of_two(), one_body()],
        Section::HttpStep => vec![one_body()],
        Section::Project => {
            vec![("oneOf", json!([{ "required": ["image"] }, { "required": ["images"] }]))]
        }
        Section::Registry => {
            let is = |has: fn(RegistryKind) -> bool| {
                let kind = |word: &str| word.parse().is_ok_and(has);
                let kinds: Vec<&str> = KINDS.iter().copied().filter(|word| kind(word)).collect();
                json!({ "properties": { "kind": { "enum": kinds } }, "required": ["kind"] })
            };
            let rules = json!([
                { "if": is(registry::requires_url), "then": { "required": ["url"] } },
                {
                    "if": is(registry::is_folder),
                    "then": { "required": ["path"], "properties": { "url": false } },
                    "else": { "properties": { "path": false } },
                },
            ]);
            vec![("allOf", rules)]
        }
        _ => Vec::new(),
    };
    let companions = section.companions();
    if !companions.is_empty() {
        let pairs = companions.iter().flat_map(|(other, keys)| keys.iter().map(move |key| (*key, [*other])));
        rules.push(("dependentRequired", pairs.map(|(key, other)| (key.to_owned(), json!(other))).collect()));
    }
    rules
}

fn required(section: Section) -> Vec<&'static str> {
    section.keys().iter().filter(|key| key.required).map(|key| key.name).collect()
}

/// `[settings.stage]`
fn stage_defaults() -> Value {
    json!({
        "description": "Defaults for every stage. A key of the stage replaces the whole default.",
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
        // [settings.stage]
        Kind::Table(Section::Stage) => json!({ "$ref": "#/$defs/StageDefaults" }),
        kind => values(kind),
    };
    schema["description"] = key.about.into();
    // A default in words, such as "any 2xx", is not a value.
    if let Some(default) = key.default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        schema["default"] = default;
    }
    schema
}

/// The schema for values of this kind.
fn values(kind: Kind) -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    let texts = || json!({ "type": "array", "items": text() });
    match kind {
        Kind::Text => text(),
        Kind::Template => json!({ "type": "string" }),
        Kind::TemplateOr(section) => json!({ "oneOf": [{ "type": "string" }, reference(section)] }),
        Kind::Pointer => json!({ "type": "string", "pattern": POINTER }),
        Kind::Clock => json!({ "type": "string", "pattern": CLOCK }),
        Kind::TextOrList => json!({ "oneOf": [text(), texts()] }),
        Kind::TextList => texts(),
        Kind::TemplateList => json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
        Kind::TemplateTable => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::VarTable => json!({
            "type": "object",
            "additionalProperties": { "oneOf": [{ "type": "string" }, reference(Section::Secret)] },
        }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::IntegerList { least, most } => {
            json!({ "type": "array", "items": values(Kind::Integer { least, most }), "minItems": 1 })
        }
        Kind::Duration => json!({ "type": "string", "pattern": duration() }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::WordList(words) => json!({ "type": "array", "items": { "enum": words }, "minItems": 1 }),
        Kind::Secret => reference(Section::Secret),
        Kind::SecretTable => named(Section::Secret),
        Kind::Json => json!({}),
        Kind::JsonList => json!({ "type": "array", "minItems": 1 }),
        Kind::Table(section) => reference(section),
        Kind::Named(Section::Stage) => {
            let mut stages = named(Section::Stage);
            stages["minProperties"] = 1.into();
            stages
        }
        Kind::Named(section) => named(section),
        Kind::List(section) => json!({ "type": "array", "items": reference(section) }),
        Kind::Steps => {
            let step = json!({ "$ref": "#/$defs/Step" });
            json!({ "oneOf": [step, { "type": "array", "items": step, "minItems": 1 }] })
        }
    }
}

/// At least one number with its unit, the largest unit first. The pattern does not check the upper limit.
fn duration() -> String {
    let parts: Vec<String> = UNITS.iter().map(|unit| format!("([0-9]+ *({unit}) *)?")).collect();
    format!("^(?=[0-9]){}$", parts.concat())
}

/// A table of named tables.
fn named(section: Section) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": reference(section),
    })
}

#[cfg(test)]
mod tests;
