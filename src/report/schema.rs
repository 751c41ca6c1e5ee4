//! The JSON Schemas of what is printed as JSON, from the structures that are printed.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::history::HistoryJson;
use super::json::{HeadJson, RunJson, TargetJson};
use super::ran::RanJson;
use super::status::StatusJson;
use super::tags::TagsJson;
use crate::plan::{DecidedBy, DeploymentState, ErrorCode, Status, Taken};

/// Something that is printed as JSON.
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
            let description = "What tagship poll prints: with --format json a run; with --format jsonl \
                a target a line, and the summary as the last line.";
            one_of(generator, "tagship poll", description, &any)
        }
        Document::Status => generator.into_root_schema_for::<StatusJson>().to_value(),
        Document::Tags => generator.into_root_schema_for::<TagsJson<'_>>().to_value(),
        Document::History => {
            let any = [generator.subschema_for::<HistoryJson>(), generator.subschema_for::<RanJson>()];
            let description = "What tagship history --format json prints: the deployments; \
                with --at what each target ran.";
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

pub(super) fn status(_: &mut SchemaGenerator) -> Schema {
    word(Status::ALL.map(Status::as_str))
}

pub(super) fn optional_status(_: &mut SchemaGenerator) -> Schema {
    optional_word(Status::ALL.map(Status::as_str))
}

pub(super) fn error_code(_: &mut SchemaGenerator) -> Schema {
    word(ErrorCode::ALL.map(ErrorCode::as_str))
}

pub(super) fn deployment_state(_: &mut SchemaGenerator) -> Schema {
    word(DeploymentState::ALL.map(DeploymentState::as_str))
}

pub(super) fn decided_by(_: &mut SchemaGenerator) -> Schema {
    word(DecidedBy::ALL.map(DecidedBy::as_str))
}

pub(super) fn optional_decided_by(_: &mut SchemaGenerator) -> Schema {
    optional_word(DecidedBy::ALL.map(DecidedBy::as_str))
}

pub(super) fn verdict(_: &mut SchemaGenerator) -> Schema {
    word(Taken::ALL.map(Taken::as_str))
}

fn word<const N: usize>(words: [&'static str; N]) -> Schema {
    json_schema!({ "type": "string", "enum": words.to_vec() })
}

fn optional_word<const N: usize>(words: [&'static str; N]) -> Schema {
    let words: Vec<Option<&str>> = words.into_iter().map(Some).chain([None]).collect();
    json_schema!({ "enum": words })
}

/// A moment, as RFC 3339 writes it in UTC.
pub(super) fn moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// The same, where there may be none.
pub(super) fn optional_moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "format": "date-time" })
}
