//! The JSON output of every run of every test is valid under `generate schema`.

use std::collections::HashMap;
use std::process::Command;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::harness::Shop;

/// What prints JSON, by the name that `generate schema` knows it by.
const DOCUMENTS: [&str; 4] = ["poll", "status", "tags", "history"];

/// By document, or by the part of poll's schema for one line.
static VALIDATORS: LazyLock<HashMap<&str, Validator>> = LazyLock::new(|| {
    let mut validators: HashMap<&str, Validator> =
        DOCUMENTS.into_iter().map(|document| (document, validator(&schema(document)))).collect();
    let definitions = schema("poll")["$defs"].clone();
    for part in ["Run", "Target", "Summary"] {
        let one = json!({ "$ref": format!("#/$defs/{part}"), "$defs": definitions });
        validators.insert(part, validator(&one));
    }
    validators
});

fn schema(document: &str) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagship"));
    let output = command.args(["generate", "schema", document]).output().unwrap();
    assert!(output.status.success(), "{document}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

/// Why the output of a run with these arguments is not valid under the schema. None: it is valid, or not JSON.
pub(crate) fn fault(arguments: &[&str], printed: &str) -> Option<String> {
    let format = arguments.windows(2).find_map(|pair| (pair[0] == "--format").then_some(pair[1]))?;
    let document = DOCUMENTS.into_iter().find(|document| arguments.contains(document))?;
    if !matches!(format, "json" | "jsonl") {
        return None;
    }
    let lines: Vec<&str> = printed.lines().collect();
    lines.iter().enumerate().find_map(|(index, line)| {
        let part = match (document, format) {
            ("poll", "json") => "Run",
            ("poll", _) if index + 1 == lines.len() => "Summary",
            ("poll", _) => "Target",
            _ => document,
        };
        let Ok(value) = serde_json::from_str(line) else { return Some(format!("no JSON: {line}")) };
        // A line is also one of what the whole schema names, and only one.
        [part, document].into_iter().find_map(|schema| {
            let error = VALIDATORS[schema].iter_errors(&value).next()?;
            Some(format!("{} is not as the schema of {schema} says: {error}", error.instance_path()))
        })
    })
}

#[test]
fn the_schemas_know_every_key_and_want_it() {
    for document in DOCUMENTS {
        let schema = schema(document);
        let root = (document != "poll").then_some(&schema);
        let definitions = schema["$defs"].as_object().unwrap().values();
        for object in definitions.chain(root).filter(|schema| schema["type"] == "object") {
            assert_eq!(object["additionalProperties"], false, "{document}: {object}");
            let mut required: Vec<&str> =
                object["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
            required.sort_unstable();
            let known: Vec<&String> = object["properties"].as_object().unwrap().keys().collect();
            assert_eq!(required, known, "{document}");
            assert!(object["description"].is_string(), "{document}: {object}");
        }
    }
}

#[test]
fn a_violation_of_the_schema_is_noticed() {
    let counts = json!({ "targets": 0, "deployed": 0, "failed": 0, "unknown": 0 });
    let mut run = json!({
        "version": 1, "started_at": "2026-11-20T10:00:00Z", "duration_ms": 1, "requests": 0, "summary": counts,
        "discovered": [],
    });
    let is_fine = |format, run: &Value| fault(&["poll", "--format", format], &run.to_string()).is_none();
    assert!(is_fine("jsonl", &run) && !is_fine("json", &run));
    run["targets"] = json!([]);
    assert!(is_fine("json", &run) && !is_fine("jsonl", &run));
    run["started_at"] = "yesterday".into();
    assert!(!is_fine("json", &run));
    assert!(fault(&["status", "--format", "json"], "{\"version\":1,\"targets\":[],\"more\":1}").is_some());
}

#[test]
fn the_schema_is_the_configurations_unless_another_is_named() {
    let shop = Shop::new();
    let config = shop.run_bare(&["generate", "schema"]).code(0).json();
    assert_eq!(shop.run_bare(&["generate", "schema", "config"]).code(0).json(), config);
    assert_eq!(config["title"], "tagship configuration");
    shop.run_bare(&["generate", "schema", "nonsense"]).code(2);
}
