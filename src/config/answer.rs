//! Conditions on an endpoint's answer: `success` and `until`, with their pointers and values.

use std::time::Duration;

use regex::Regex;

use super::key::Section;
use super::read::Field;
use super::tree::{Entry, Node, Value};
use crate::target::step::{Success, Until};

/// `until`
pub(super) fn until(field: &Field<'_>) -> Option<Until> {
    const EXAMPLE: &str = "{ pointer = \"/status\", values = [\"finished\", \"failed\"] }";
    let table = field.table(Section::Until)?;
    let (Some(at), Some(values)) = (table.get("pointer"), table.get("values")) else {
        field.fault("requires `pointer` and `values`", field.write(EXAMPLE));
        return None;
    };
    let values = values.list()?;
    if values.is_empty() {
        field.fault("the step would never end without a value", field.write(EXAMPLE));
        return None;
    }
    let values: Vec<Option<serde_json::Value>> = values.iter().map(literal).collect();
    let duration = |name: &str, default: u64| {
        table.get(name).map_or(Some(Duration::from_secs(default)), |field| field.duration())
    };
    let every = duration("every", 2);
    let within = duration("within", 300);
    Some(Until {
        pointer: pointer(&at)?,
        values: values.into_iter().collect::<Option<_>>()?,
        every: every?,
        within: within?,
    })
}

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(field: &Field<'_>) -> Option<String> {
    let pointer = field.text()?;
    if pointer.is_empty() || pointer.starts_with('/') {
        return Some(pointer.to_owned());
    }
    field.fault("a JSON pointer begins with `/`", field.write(format!("\"/{}\"", pointer.replace('.', "/"))));
    None
}

/// `success`
pub(super) fn success(field: &Field<'_>) -> Option<Success> {
    let table = field.table(Section::Success)?;
    let status = table.get("status").map_or(Some(Vec::new()), |field| {
        let items = field.list()?;
        if items.is_empty() {
            field.fault("no answer is success without a status", "remove `status` to accept any 2xx");
            return None;
        }
        let statuses: Vec<Option<u16>> =
            items.iter().map(|item| u16::try_from(item.integer(100, 599)?).ok()).collect();
        statuses.into_iter().collect()
    });
    let pointer = table.get("pointer").map_or(Some(None), |field| pointer(&field).map(Some));
    let equals = table.get("equals").map_or(Some(None), |field| literal(&field).map(Some));
    let matches = table.get("matches").map_or(Some(None), |field| match Regex::new(field.some_text()?) {
        Ok(regex) => Some(Some(regex)),
        Err(_) => {
            field.fault("not a valid regular expression", "");
            None
        }
    });
    Some(Success { status: status?, pointer: pointer?, equals: equals?, matches: matches? })
}

/// A literal JSON value.
fn literal(field: &Field<'_>) -> Option<serde_json::Value> {
    let value = json_value(field.node);
    if let Err(what) = value {
        field.fault(format!("JSON has no {what}"), "write it as text");
    }
    value.ok()
}

/// # Errors
/// The part that JSON cannot express.
fn json_value(node: &Node<'_>) -> Result<serde_json::Value, &'static str> {
    use serde_json::Value as Json;
    Ok(match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => Json::Number(number(*value)?),
        Value::Moment => return Err(NO_DATES),
        Value::Text(text) => text.to_string().into(),
        Value::List(values) => Json::Array(values.iter().map(json_value).collect::<Result<_, _>>()?),
        Value::Table(entries) => {
            let pair =
                |entry: &Entry<'_>| json_value(&entry.node).map(|value| (entry.name.to_string(), value));
            Json::Object(entries.iter().map(pair).collect::<Result<_, _>>()?)
        }
    })
}

pub(super) const NO_DATES: &str = "dates";

/// # Errors
/// It is infinite or NaN.
pub(super) fn number(value: f64) -> Result<serde_json::Number, &'static str> {
    serde_json::Number::from_f64(value).ok_or("such number")
}
