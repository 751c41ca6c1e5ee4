//! What the JSON documents have in common: how they are printed, and the fields that several of them have, each with
//! its schema.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::Console;
use crate::plan::{DecidedBy, DeploymentState, ErrorCode, Failure, Status};

/// The version of the documents; it grows when a reader of the old one would go wrong.
pub(super) const VERSION: u32 = 1;

/// Prints a value as one line of JSON.
pub(super) fn print(console: &Console, value: &impl Serialize) {
    let line = serde_json::to_string(value).expect("text, numbers and lists are always JSON");
    console.data(&line);
}

/// A moment, as RFC 3339 writes it in UTC, with milliseconds.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Moment(String);

/// What went wrong.
#[derive(JsonSchema, Serialize)]
#[schemars(deny_unknown_fields, rename = "Error")]
pub(super) struct ErrorJson {
    #[schemars(schema_with = "error_code")]
    code: &'static str,
    /// What, where, and what to do, for people.
    message: String,
}

/// A duration, for fields that end with `_ms`.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Timestamp> for Moment {
    fn from(moment: Timestamp) -> Moment {
        Moment(format!("{moment:.3}"))
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl From<&Failure> for ErrorJson {
    fn from(failure: &Failure) -> ErrorJson {
        ErrorJson { code: failure.code.as_str(), message: failure.message.clone() }
    }
}

pub(super) fn status(_: &mut SchemaGenerator) -> Schema {
    word(Status::ALL.map(Status::as_str))
}

pub(super) fn optional_status(_: &mut SchemaGenerator) -> Schema {
    optional_word(Status::ALL.map(Status::as_str))
}

fn error_code(_: &mut SchemaGenerator) -> Schema {
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

fn word<const N: usize>(words: [&'static str; N]) -> Schema {
    json_schema!({ "type": "string", "enum": words.to_vec() })
}

fn optional_word<const N: usize>(words: [&'static str; N]) -> Schema {
    let words: Vec<Option<&str>> = words.into_iter().map(Some).chain([None]).collect();
    json_schema!({ "enum": words })
}
