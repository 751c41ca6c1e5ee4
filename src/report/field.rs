//! Shared parts of the JSON documents: printing, and common fields with their schemas.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::Console;

/// The version of the documents; raised by incompatible changes.
pub(super) const VERSION: u32 = 1;

/// Prints a value as one line of JSON.
pub(super) fn print(console: &Console, value: &impl Serialize) {
    let line = serde_json::to_string(value).expect("text, numbers and lists are always JSON");
    console.data(&line);
}

/// A time in RFC 3339 format, in UTC, with milliseconds.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Rfc3339(String);

/// A duration in milliseconds, for fields that end in `_ms`.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Timestamp> for Rfc3339 {
    fn from(moment: Timestamp) -> Rfc3339 {
        Rfc3339(format!("{moment:.3}"))
    }
}

impl JsonSchema for Rfc3339 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rfc3339".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}
