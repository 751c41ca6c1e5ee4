//! Reads a table key by key. Each error is recorded with its position and reading continues, so that all errors
//! are reported together. A message repeats a value only if it cannot be a secret.

use std::cell::RefCell;
use std::fmt;
use std::path::{self, PathBuf};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use super::Fault;
use super::duration::{duration_up_to_ten_years, without_fraction};
use super::excerpt::{is_sensitive_path, may_hold_secret};
use super::key::Section;
use super::suggest::{nearest, suggest};
use super::tree::{Entry, Node, Source, Value};
use crate::file;
use crate::target::lint::words;

/// Errors and warnings in the order found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) faults: RefCell<Vec<Fault>>,
    pub(super) warnings: RefCell<Vec<Fault>>,
}

/// Further errors have no suggestion: the search for one takes most of the time.
const SUGGESTED: usize = 100;

impl Findings {
    /// [`suggest`], unless there are many errors.
    pub(super) fn suggest<'k>(&self, name: &str, known: impl Iterator<Item = &'k str>) -> String {
        if self.is_suggesting() { suggest(name, known) } else { String::new() }
    }

    pub(super) fn is_suggesting(&self) -> bool {
        self.faults.borrow().len() < SUGGESTED
    }
}

/// The path of a value in messages: `projects.shop.stages.dev`. It becomes text only for a message: ten
/// thousand valid targets need none.
#[derive(Clone)]
pub(super) struct Path<'t> {
    within: Option<Rc<Path<'t>>>,
    step: Step<'t>,
}

#[derive(Clone, Copy)]
enum Step<'t> {
    Root,
    Name(&'t str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = self.within.as_deref().filter(|within| !matches!(within.step, Step::Root));
        if let Some(within) = within {
            write!(f, "{within}")?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Name(name) if within.is_none() => f.write_str(name),
            Step::Name(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A table whose keys were checked.
#[derive(Clone)]
pub(super) struct Table<'t> {
    entries: &'t [Entry<'t>],
    /// None: its keys are the user's names.
    section: Option<Section>,
    /// Misspelt keys, already reported, by the intended key. They are read as the intended key, so that one
    /// mistake is one error.
    misspelt: Option<Rc<[(&'static str, &'t Entry<'t>)]>>,
    pub(super) path: Rc<Path<'t>>,
    pub(super) at: usize,
    pub(super) source: &'t Source,
    pub(super) found: &'t Findings,
}

/// A value, with what an error about it needs.
#[derive(Clone)]
pub(super) struct Field<'t> {
    pub(super) path: Path<'t>,
    pub(super) node: &'t Node<'t>,
    pub(super) source: &'t Source,
    pub(super) found: &'t Findings,
}

impl<'t> Table<'t> {
    /// The root of a file.
    pub(super) fn root(node: &'t Node<'t>, source: &'t Source, found: &'t Findings) -> Table<'t> {
        let field = Field { path: Path { within: None, step: Step::Root }, node, source, found };
        field.table(Section::Top).expect("the root of a file is a table")
    }

    pub(super) fn get(&self, name: &str) -> Option<Field<'t>> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.name == name) {
            return Some(self.field(entry));
        }
        // The path has the intended key, so that help names it.
        let (meant, entry) = self.misspelt.as_ref()?.iter().find(|(meant, _)| *meant == name)?;
        let path = Path { within: Some(Rc::clone(&self.path)), step: Step::Name(meant) };
        Some(Field { path, ..self.field(entry) })
    }

    /// Every entry, in the order written.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'t str, Field<'t>)> {
        self.entries.iter().map(|entry| (&*entry.name, self.field(entry)))
    }

    /// The names of all entries, in the order written.
    pub(super) fn names(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        self.entries.iter().map(|entry| &*entry.name)
    }

    /// Every entry with the position of its name, in the order written.
    pub(super) fn placed_fields(&self) -> impl Iterator<Item = (&'t str, usize, Field<'t>)> {
        self.entries.iter().map(|entry| (&*entry.name, entry.at, self.field(entry)))
    }

    /// The byte at which a name begins.
    pub(super) fn at_name(&self, name: &str) -> usize {
        self.entries.iter().find(|entry| entry.name == name).map_or(self.at, |entry| entry.at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn field(&self, entry: &'t Entry<'t>) -> Field<'t> {
        let path = Path { within: Some(Rc::clone(&self.path)), step: Step::Name(&entry.name) };
        Field { path, node: &entry.node, source: self.source, found: self.found }
    }

    /// An error about the table as a whole.
    pub(super) fn fault(&self, message: impl AsRef<str>, help: impl Into<String>) {
        self.fault_at(self.at, message, help);
    }

    /// `at`: a byte of the file.
    pub(super) fn fault_at(&self, at: usize, message: impl AsRef<str>, help: impl Into<String>) {
        let path = self.path.to_string();
        let message = match path.as_str() {
            "" => message.as_ref().to_owned(),
            path => format!("{path}: {}", message.as_ref()),
        };
        let fault = self.source.fault(at, message, some(help.into()), is_sensitive_path(&path));
        self.found.faults.borrow_mut().push(fault);
    }

    /// Reports that a required key is missing, unless an already reported key was written in its place.
    pub(super) fn requires(&self, key: &str, help: impl Into<String>) {
        if !self.has_instead_of(key) {
            self.fault(format!("requires `{key}`"), help);
        }
    }

    pub(super) fn has_instead_of(&self, key: &str) -> bool {
        let instead = self.section.map_or(&[][..], Section::instead);
        let is_it =
            |name: &str| instead.iter().any(|(wrong, meant, _)| *wrong == name && *meant == Some(key));
        self.names().any(is_it)
    }

    /// Reports keys without another key that they require.
    fn check_companions(&self, companions: &[(&str, &[&str])]) {
        for (other, keys) in companions.iter().filter(|(other, _)| self.get(other).is_none()) {
            for field in keys.iter().filter_map(|key| self.get(key)) {
                field.fault(format!("requires `{other}`"), "write both, or remove this key");
            }
        }
    }

    /// Reports keys that are unknown or written twice.
    fn check_keys(&mut self, section: Section) {
        let keys = section.keys();
        // A bit for each key: no section has more than 64.
        let mut written: u64 = 0;
        let mut misspelt = Vec::new();
        for entry in self.entries {
            let name: &str = &entry.name;
            let Some(key) = keys.iter().position(|key| key.name == name) else {
                let (meant, help) = self.meant(name, section);
                self.fault_at(entry.at, format!("unknown key `{name}`"), help);
                let is_free = |key: &&str| self.entries.iter().all(|other| other.name != *key);
                misspelt.extend(meant.filter(is_free).map(|meant| (meant, entry)));
                continue;
            };
            if written & (1 << key) != 0 {
                self.fault_at(entry.at, format!("`{name}` is written twice"), "remove one of them");
            }
            written |= 1 << key;
        }
        if !misspelt.is_empty() {
            self.misspelt = Some(misspelt.into());
        }
    }

    /// The key that was probably intended, and the help that names it.
    fn meant(&self, name: &str, section: Section) -> (Option<&'static str>, String) {
        if !self.found.is_suggesting() {
            return (None, String::new());
        }
        if let Some((_, _, help)) = section.instead().iter().find(|(wrong, ..)| *wrong == name) {
            // The value has another form, so it is not read as the intended key.
            return (None, (*help).to_owned());
        }
        let known: Vec<&'static str> = section.keys().iter().map(|key| key.name).collect();
        (nearest(name, &known).first().copied(), suggest(name, known.into_iter()))
    }
}

impl<'t> Field<'t> {
    pub(super) fn fault(&self, message: impl AsRef<str>, help: impl Into<String>) {
        let fault = self.judgement(message.as_ref(), help.into());
        self.found.faults.borrow_mut().push(fault);
    }

    pub(super) fn warning(&self, message: impl AsRef<str>, help: impl Into<String>) {
        let warning = self.judgement(message.as_ref(), help.into());
        self.found.warnings.borrow_mut().push(warning);
    }

    fn judgement(&self, message: &str, help: String) -> Fault {
        let path = self.path.to_string();
        let is_sensitive = is_sensitive_path(&path);
        self.source.fault(self.node.at, format!("{path}: {message}"), some(help), is_sensitive)
    }

    /// Reports a value of the wrong type. `expected`: the right one, such as `a list`.
    pub(super) fn expected(&self, expected: &str, help: impl Into<String>) {
        let found = match self.node.value {
            Value::Text(_) => "text",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Null => "null",
            Value::Moment => "a date, or a number that is too large",
            Value::List(_) if self.command_line().is_some() => "a list of text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        };
        self.fault(format!("expected {expected}, found {found}"), help);
    }

    /// `write order = "newest"`: the line with this value instead of the present one.
    pub(super) fn write(&self, value: impl fmt::Display) -> String {
        match self.path.step {
            Step::Name(name) => format!("write {name} = {value}"),
            Step::Root | Step::Index(_) => format!("write {value}"),
        }
    }

    /// The text, if a message may repeat it.
    pub(super) fn shown(&self) -> Option<&'t str> {
        match &self.node.value {
            Value::Text(text) if !is_sensitive_path(&self.path.to_string()) && !may_hold_secret(text) => {
                Some(text)
            }
            _ => None,
        }
    }

    /// A table with these keys, which may also be written inline.
    pub(super) fn table(&self, section: Section) -> Option<Table<'t>> {
        let mut table = Table { section: Some(section), ..self.any_table()? };
        table.check_keys(section);
        table.check_companions(section.companions());
        Some(table)
    }

    /// A table whose keys are the user's names.
    pub(super) fn any_table(&self) -> Option<Table<'t>> {
        let Value::Table(entries) = &self.node.value else {
            self.expected("a table", "");
            return None;
        };
        Some(Table {
            entries,
            section: None,
            misspelt: None,
            path: Rc::new(self.path.clone()),
            at: self.node.at,
            source: self.source,
            found: self.found,
        })
    }

    pub(super) fn has_key(&self, name: &str) -> bool {
        matches!(&self.node.value, Value::Table(entries) if entries.iter().any(|entry| entry.name == name))
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// The value as one text.
    pub(super) fn written(&self) -> String {
        match &self.node.value {
            Value::Text(text) => text.to_string(),
            Value::List(items) => {
                let texts = items.iter().filter_map(|item| match &item.value {
                    Value::Text(text) => Some(text.as_ref()),
                    _ => None,
                });
                texts.collect::<Vec<&str>>().join(" ")
            }
            _ => String::new(),
        }
    }

    /// The words of a command that was written as a text or a list of texts instead of a table. `Some(None)`:
    /// they may contain a secret, so no message repeats them.
    pub(super) fn command_line(&self) -> Option<Option<Vec<String>>> {
        let texts: Vec<&str> = match &self.node.value {
            Value::Text(text) => vec![text],
            Value::List(items) => items
                .iter()
                .map(|item| match &item.value {
                    Value::Text(text) => Some(text.as_ref()),
                    _ => None,
                })
                .collect::<Option<Vec<&str>>>()
                .filter(|texts| !texts.is_empty())?,
            _ => return None,
        };
        if is_sensitive_path(&self.path.to_string()) || texts.iter().any(|text| may_hold_secret(text)) {
            return Some(None);
        }
        Some(Some(match texts.as_slice() {
            [line] => words(line),
            words => words.iter().map(|word| (*word).to_owned()).collect(),
        }))
    }

    pub(super) fn text(&self) -> Option<&'t str> {
        if let Value::Text(text) = &self.node.value {
            return Some(text);
        }
        self.expected("text", "");
        None
    }

    /// Text that is not empty.
    pub(super) fn some_text(&self) -> Option<&'t str> {
        let text = self.text()?;
        if text.is_empty() {
            self.fault("expected text, found an empty text", "");
            return None;
        }
        Some(text)
    }

    /// A path, relative to this folder. Warns of text that only a shell expands.
    pub(super) fn file_path(&self, folder: &path::Path) -> Option<PathBuf> {
        let text = self.some_text()?;
        if let Some((word, meant)) = file::expanded(path::Path::new(text)) {
            self.warning(
                format!("only a shell expands {word}"),
                self.write(format!("{:?}", meant.display().to_string())),
            );
        }
        Some(folder.join(text))
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        if let Value::Bool(value) = self.node.value {
            return Some(value);
        }
        self.expected("true or false", "");
        None
    }

    pub(super) fn integer(&self, least: i64, most: i64) -> Option<i64> {
        let Value::Integer(value) = self.node.value else {
            self.expected("a whole number", "");
            return None;
        };
        if (least..=most).contains(&value) {
            return Some(value);
        }
        self.fault(format!("expected a number from {least} to {most}, found {value}"), "");
        None
    }

    pub(super) fn list(&self) -> Option<Vec<Field<'t>>> {
        let Value::List(values) = &self.node.value else {
            let help = match &self.node.value {
                Value::Table(_) => format!("{}, or [[{}]]", self.write("[{ … }]"), self.path),
                Value::Integer(number) => self.write(format!("[{number}]")),
                _ => self.shown().map(|text| self.write(format!("[{text:?}]"))).unwrap_or_default(),
            };
            self.expected("a list", help);
            return None;
        };
        let list = Rc::new(self.path.clone());
        let item = |(index, node): (usize, &'t Node<'t>)| Field {
            path: Path { within: Some(Rc::clone(&list)), step: Step::Index(index) },
            node,
            source: self.source,
            found: self.found,
        };
        Some(values.iter().enumerate().map(item).collect())
    }

    /// One of these words. `what`: their kind, such as `order`; `instead`: words of other tools, and the word
    /// to write.
    pub(super) fn word<T: FromStr>(
        &self,
        what: &str,
        words: &[&'static str],
        instead: &[(&str, &str)],
    ) -> Option<T> {
        let Value::Text(text) = &self.node.value else {
            self.expected("text", self.found.suggest("", words.iter().copied()));
            return None;
        };
        let value = text.parse().ok();
        if value.is_none() {
            let lower = text.to_ascii_lowercase();
            let help = match instead.iter().find(|(other, _)| *other == lower) {
                Some((_, help)) => self.write(help),
                None => self.found.suggest(text, words.iter().copied()),
            };
            self.fault(format!("unknown {what} {text:?}"), help);
        }
        value
    }

    /// `90s`, `5m`, `1h 30m`, `7d`; from a millisecond to ten years.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.duration_from(Duration::from_millis(1))
    }

    /// The same, or `0s`.
    pub(super) fn duration_or_zero(&self) -> Option<Duration> {
        self.duration_from(Duration::ZERO)
    }

    fn duration_from(&self, least: Duration) -> Option<Duration> {
        const EXAMPLES: &str = "write a number and a unit, such as \"90s\", \"5m\", \"1h 30m\" or \"7d\"";
        if let Value::Integer(_) | Value::Float(_) = self.node.value {
            let help = match self.node.value {
                Value::Integer(minutes) if minutes > 0 => self.write(format!("\"{minutes}m\"")),
                _ => EXAMPLES.to_owned(),
            };
            self.expected("a duration", help);
            return None;
        }
        let text = self.text()?;
        let duration = duration_up_to_ten_years(text);
        match duration {
            Some(duration) if duration >= least => return Some(duration),
            Some(_) => self.fault(format!("expected at least 1ms, found {text:?}"), ""),
            None => {
                let meant = without_fraction(text);
                let help =
                    meant.map_or_else(|| EXAMPLES.to_owned(), |meant| self.write(format!("{meant:?}")));
                self.fault(format!("expected a duration, found {text:?}"), help);
            }
        }
        None
    }
}

fn some(help: String) -> Option<String> {
    (!help.is_empty()).then_some(help)
}
