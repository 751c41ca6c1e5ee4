//! The JSON Schemas of the JSON documents, generated from the printed types.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::history::HistoryJson;
use super::json::{HeadJson, RunJson, TargetJson};
use super::ran::RanJson;
use super::status::StatusJson;
use super::tags::TagsJson;

/// A JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// A run, or a line of one.
    Poll,
    Status,
    Tags,
    History,
}

/// The schema of a document.
pub(crate) fn schema(document: Document) -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    match document {
        Document::Poll => {
            let any = [
                generator.subschema_for::<RunJson<'_>>(),
                generator.subschema_for::<TargetJson>(),
                generator.subschema_for::<HeadJson>(),
            ];
            let description = "The output of tagship poll: with --format json, a run; with --format jsonl, \
                one line for each target, then a line with the summary.";
            one_of(generator, "tagship poll", description, &any)
        }
        Document::Status => generator.into_root_schema_for::<StatusJson>().to_value(),
        Document::Tags => generator.into_root_schema_for::<TagsJson<'_>>().to_value(),
        Document::History => {
            let any = [generator.subschema_for::<HistoryJson>(), generator.subschema_for::<RanJson>()];
            let description = "The output of tagship history --format json: the deployments; \
                with --at, what each target ran.";
            one_of(generator, "tagship history", description, &any)
        }
    }
}

fn one_of(mut generator: SchemaGenerator, title: &str, description: &str, any: &[Schema]) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        "oneOf": any,
        "$defs": generator.take_definitions(true),
    })
}
