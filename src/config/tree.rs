//! A file as written, in TOML or JSON: values with their positions.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::path::PathBuf;

use jsonc_parser::ast;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::excerpt::{self, Line};
use super::syntax;
use super::{Fault, Place};

/// A file that was read.
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) text: String,
    /// Used for errors and warnings only.
    lines: OnceCell<Vec<Line>>,
}

/// A value and the byte at which it begins.
#[derive(Debug)]
pub(super) struct Node<'s> {
    pub(super) value: Value<'s>,
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) enum Value<'s> {
    Text(Cow<'s, str>),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Null,
    /// A date or time of TOML. No key accepts one.
    Moment,
    List(Vec<Node<'s>>),
    /// In the order written.
    Table(Vec<Entry<'s>>),
}

#[derive(Debug)]
pub(super) struct Entry<'s> {
    pub(super) name: Cow<'s, str>,
    /// The byte at which the name begins.
    pub(super) at: usize,
    pub(super) node: Node<'s>,
}

impl Source {
    pub(super) fn new(file: PathBuf, text: String) -> Source {
        Source { file, text, lines: OnceCell::new() }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let lines = self.lines.get_or_init(|| excerpt::lines(&self.text));
        lines.partition_point(|line| line.start <= at).max(1)
    }

    /// `is_sensitive`: the value may be a secret, so the line is not shown.
    pub(super) fn fault(
        &self,
        at: usize,
        message: String,
        help: Option<String>,
        is_sensitive: bool,
    ) -> Fault {
        let number = self.line(at);
        let line = &self.lines.get_or_init(|| excerpt::lines(&self.text))[number - 1];
        let before = self.text.get(line.start..at.min(self.text.len())).unwrap_or_default();
        let excerpt = if is_sensitive { None } else { excerpt::excerpt(&self.text, line, at).map(Box::new) };
        let place = Place { line: number, column: before.chars().count() + 1, excerpt };
        Fault { file: self.file.clone(), place: Some(place), message, help }
    }

    /// The file as a tree; its root is a table.
    ///
    /// # Errors
    /// All syntax errors.
    pub(super) fn parse(&self) -> Result<Node<'_>, Vec<Fault>> {
        if self.file.extension().is_some_and(|extension| extension == "json") {
            self.parse_json().map_err(|fault| vec![fault])
        } else {
            self.parse_toml()
        }
    }

    fn parse_toml(&self) -> Result<Node<'_>, Vec<Fault>> {
        // One error for each byte would take gigabytes.
        const EVERY_ERROR: usize = 1024 * 1024;
        let (table, errors) = if self.text.len() <= EVERY_ERROR {
            DeTable::parse_recoverable(&self.text)
        } else {
            match DeTable::parse(&self.text) {
                Ok(table) => (table, Vec::new()),
                Err(error) => (Spanned::new(0..0, DeTable::new()), vec![error]),
            }
        };
        if errors.is_empty() {
            let at = table.span().start;
            return Ok(Node { value: from_table(table.into_inner()), at });
        }
        Err(syntax::faults(self, &errors))
    }

    fn parse_json(&self) -> Result<Node<'_>, Fault> {
        let strict = ParseOptions {
            allow_comments: false,
            allow_loose_object_property_names: false,
            allow_trailing_commas: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let parsed = parse_to_ast(&self.text, &CollectOptions::default(), &strict).map_err(|error| {
            // The line is not shown: the error may be in a table of secrets.
            self.fault(error.range().start, format!("invalid JSON: {}", error.kind()), None, true)
        })?;
        match parsed.value {
            Some(value @ ast::Value::Object(_)) => Ok(from_json(value)),
            _ => Err(self.fault(0, "expected a JSON object".to_owned(), None, true)),
        }
    }
}

/// In the order written, which the parser keeps. Stages are deployed in this order.
fn from_table<'s>(table: DeTable<'s>) -> Value<'s> {
    let entry = |(name, value): (Spanned<Cow<'s, str>>, Spanned<DeValue<'s>>)| Entry {
        at: name.span().start,
        name: name.into_inner(),
        node: from_toml(value),
    };
    Value::Table(table.into_iter().map(entry).collect())
}

fn from_toml(value: Spanned<DeValue<'_>>) -> Node<'_> {
    let at = value.span().start;
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Moment, Value::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Moment, Value::Float),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(_) => Value::Moment,
        DeValue::Array(values) => Value::List(values.into_iter().map(from_toml).collect()),
        DeValue::Table(table) => from_table(table),
    };
    Node { value, at }
}

fn from_json(value: ast::Value<'_>) -> Node<'_> {
    use ast::Value as Json;
    match value {
        Json::StringLit(text) => Node { at: text.range.start, value: Value::Text(text.value) },
        Json::NumberLit(number) => {
            let integer = number.value.parse().map(Value::Integer);
            let value = integer.or_else(|_| number.value.parse().map(Value::Float)).unwrap_or(Value::Moment);
            Node { at: number.range.start, value }
        }
        Json::BooleanLit(boolean) => Node { at: boolean.range.start, value: Value::Bool(boolean.value) },
        Json::NullKeyword(null) => Node { at: null.range.start, value: Value::Null },
        Json::Array(array) => Node {
            at: array.range.start,
            value: Value::List(array.elements.into_iter().map(from_json).collect()),
        },
        Json::Object(object) => {
            let at = object.range.start;
            Node { at, value: Value::Table(object.properties.into_iter().map(from_property).collect()) }
        }
    }
}

fn from_property(property: ast::ObjectProp<'_>) -> Entry<'_> {
    let at = property.range.start;
    Entry { at, name: Cow::Owned(property.name.into_string()), node: from_json(property.value) }
}
