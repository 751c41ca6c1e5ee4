//! Reading a table key by key. Whatever is wrong is noted with its place, and reading goes on, so
//! that every fault is reported at once. No value is ever repeated in a message unless it cannot be
//! a secret.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use super::Fault;
use super::key::{Key, Section};
use super::tree::{Entry, Node, Source, Value};

/// Faults and warnings as they are found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) faults: RefCell<Vec<Fault>>,
    pub(super) warnings: RefCell<Vec<Fault>>,
}

/// After so many faults none is told what may have been meant: finding that takes the longest.
const SUGGESTED: usize = 100;

impl Found {
    /// As [`suggest`], while there are few faults.
    pub(super) fn suggest<'k>(&self, name: &str, known: impl Iterator<Item = &'k str>) -> String {
        if self.is_suggesting() { suggest(name, known) } else { String::new() }
    }

    pub(super) fn is_suggesting(&self) -> bool {
        self.faults.borrow().len() < SUGGESTED
    }
}

/// Where a value stands, as messages name it: `projects.shop.stages.dev`. Written out only for those: of ten
/// thousand targets without a fault nobody reads it.
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

/// A table whose keys are known to be right.
#[derive(Clone)]
pub(super) struct Table<'t> {
    entries: &'t [Entry<'t>],
    pub(super) path: Rc<Path<'t>>,
    pub(super) at: usize,
    pub(super) source: &'t Source,
    pub(super) found: &'t Found,
}

/// A value, with what is needed to find fault with it.
#[derive(Clone)]
pub(super) struct Field<'t> {
    pub(super) path: Path<'t>,
    pub(super) node: &'t Node<'t>,
    pub(super) source: &'t Source,
    pub(super) found: &'t Found,
}

impl<'t> Table<'t> {
    /// The root of a file.
    pub(super) fn root(node: &'t Node<'t>, source: &'t Source, found: &'t Found) -> Table<'t> {
        let field = Field { path: Path { within: None, step: Step::Root }, node, source, found };
        field.table(Section::Top).expect("the root of a file is a table")
    }

    pub(super) fn get(&self, name: &str) -> Option<Field<'t>> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some(self.field(entry))
    }

    /// Every entry, in the order written.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'t str, Field<'t>)> {
        self.entries.iter().map(|entry| (&*entry.name, self.field(entry)))
    }

    /// The name of every entry, in the order written.
    pub(super) fn names(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        self.entries.iter().map(|entry| &*entry.name)
    }

    /// Every entry with the place of its name, in the order written.
    pub(super) fn placed_fields(&self) -> impl Iterator<Item = (&'t str, usize, Field<'t>)> {
        self.entries.iter().map(|entry| (&*entry.name, entry.at, self.field(entry)))
    }

    /// Where a name stands.
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

    /// Something is wrong with the table as a whole.
    pub(super) fn fault(&self, message: impl Into<String>, help: impl Into<String>) {
        self.fault_at(self.at, message, help);
    }

    pub(super) fn fault_at(&self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        let fault = self.source.fault(at, message.into(), some(help.into()));
        self.found.faults.borrow_mut().push(fault);
    }

    /// Keys that mean nothing without another one.
    fn check_companions(&self, companions: &[(&str, &[&str])]) {
        for (other, keys) in companions.iter().filter(|(other, _)| self.get(other).is_none()) {
            for field in keys.iter().filter_map(|key| self.get(key)) {
                field
                    .fault(format!("it goes with {other}, and there is none"), "write both, or leave it out");
            }
        }
    }

    /// Keys that are not known, or written twice.
    fn check_keys(&self, keys: &[Key]) {
        // A bit for each key: no section has more of them.
        let mut written: u64 = 0;
        for entry in self.entries {
            let name: &str = &entry.name;
            let path = || self.field(entry).path.to_string();
            let Some(key) = keys.iter().position(|key| key.name == name) else {
                let help = self.found.suggest(name, keys.iter().map(|key| key.name));
                self.fault_at(entry.at, format!("unknown key {:?}", path()), help);
                continue;
            };
            if written & (1 << key) != 0 {
                self.fault_at(entry.at, format!("{} is written twice", path()), "");
            }
            written |= 1 << key;
        }
    }
}

impl<'t> Field<'t> {
    pub(super) fn fault(&self, message: impl AsRef<str>, help: impl Into<String>) {
        let message = format!("{}: {}", self.path, message.as_ref());
        let fault = self.source.fault(self.node.at, message, some(help.into()));
        self.found.faults.borrow_mut().push(fault);
    }

    pub(super) fn warning(&self, message: impl AsRef<str>, help: impl Into<String>) {
        let message = format!("{}: {}", self.path, message.as_ref());
        let fault = self.source.fault(self.node.at, message, some(help.into()));
        self.found.warnings.borrow_mut().push(fault);
    }

    fn wrong_type(&self, wanted: &str) {
        let found = match self.node.value {
            Value::Text(_) => "text",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Null => "null",
            Value::Moment => "a date, or a number that is too large",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        };
        self.fault(format!("this is {found}, and {wanted} is wanted"), "");
    }

    /// A table with these keys, which may also be written inline.
    pub(super) fn table(&self, section: Section) -> Option<Table<'t>> {
        let table = self.any_table()?;
        table.check_keys(section.keys());
        table.check_companions(section.companions());
        Some(table)
    }

    /// A table whose keys are names of the user's.
    pub(super) fn any_table(&self) -> Option<Table<'t>> {
        let Value::Table(entries) = &self.node.value else {
            self.wrong_type("a table");
            return None;
        };
        Some(Table {
            entries,
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

    /// What stands in the file, as one text.
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

    pub(super) fn text(&self) -> Option<&'t str> {
        if let Value::Text(text) = &self.node.value {
            return Some(text);
        }
        self.wrong_type("text");
        None
    }

    /// Text that is not empty.
    pub(super) fn some_text(&self) -> Option<&'t str> {
        let text = self.text()?;
        if text.is_empty() {
            self.fault("this is empty", "");
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        if let Value::Bool(value) = self.node.value {
            return Some(value);
        }
        self.wrong_type("true or false");
        None
    }

    pub(super) fn integer(&self, least: i64, most: i64) -> Option<i64> {
        let Value::Integer(value) = self.node.value else {
            self.wrong_type("a whole number");
            return None;
        };
        if (least..=most).contains(&value) {
            return Some(value);
        }
        self.fault(format!("{value} is not between {least} and {most}"), "");
        None
    }

    pub(super) fn list(&self) -> Option<Vec<Field<'t>>> {
        let Value::List(values) = &self.node.value else {
            self.wrong_type("a list");
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

    /// One of a few words.
    pub(super) fn word(&self, words: &[&'static str]) -> Option<&'static str> {
        let text = self.text()?;
        let word = words.iter().find(|word| **word == text);
        if word.is_none() {
            self.fault(
                format!("{text:?} is none of {}", words.join(", ")),
                self.found.suggest(text, words.iter().copied()),
            );
        }
        word.copied()
    }

    /// `90s`, `5m`, `1h 30m`, `7d`; from a millisecond to ten years.
    pub(super) fn duration(&self) -> Option<Duration> {
        let text = self.text()?;
        let duration = parse_duration(text);
        if duration.is_none() {
            self.fault(
                format!("{text:?} is no duration"),
                "write a number and a unit, such as 90s, 5m, 1h 30m or 7d",
            );
        }
        duration
    }
}

/// jiff also reads `PT5M`, `00:05:00` and `-5m`, which people do not expect to stand here.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b' ');
    let span: Span = text.parse().ok().filter(|_| is_plain && !text.is_empty())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    let duration = Duration::try_from(duration).ok()?;
    (Duration::from_millis(1)..=LONGEST).contains(&duration).then_some(duration)
}

/// What may have been meant, or what there is.
pub(crate) fn suggest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    const MOST: usize = 40;
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    match nearest(name, &known).first() {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => String::new(),
        None if known.len() > MOST => {
            format!("there is {}, and {} more", known[..MOST].join(", "), known.len() - MOST)
        }
        None => format!("there is {}", known.join(", ")),
    }
}

/// The known names that may have been meant, about equally near, at most three.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Vec<&'k str> {
    const MOST: usize = 3;
    /// Comparing takes as long as both lengths multiplied.
    const LONGEST: usize = 200;
    if name.len() > LONGEST {
        return Vec::new();
    }
    let distance = |known: &&'k str| {
        let distance = strsim::damerau_levenshtein(name, known);
        let is_near = distance <= known.len().max(name.len()).div_ceil(3).max(1)
            || (!name.is_empty() && (name.starts_with(known) || known.starts_with(name)));
        is_near.then_some((distance, *known))
    };
    let mut near: Vec<(usize, &str)> = known.iter().filter_map(distance).collect();
    near.sort_by_key(|(distance, _)| *distance);
    let farthest = near.first().map_or(0, |(distance, _)| distance + 1);
    near.into_iter()
        .take_while(|(distance, _)| *distance <= farthest)
        .take(MOST)
        .map(|(_, name)| name)
        .collect()
}

fn some(help: String) -> Option<String> {
    (!help.is_empty()).then_some(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("7d", 604_800),
            ("180d", 15_552_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        for text in [
            "",
            "5",
            "-5m",
            "PT5M",
            "00:05:00",
            "0s",
            "5 minutes ago",
            "1mo",
            "1y",
            "11y",
            "5M",
            "99999999999999d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_word_is_suggested() {
        let known = ["interval", "image", "tags"];
        assert_eq!(suggest("intervall", known.into_iter()), "did you mean interval?");
        assert_eq!(suggest("tag", known.into_iter()), "did you mean tags?");
        assert_eq!(suggest("zzzzzzzzz", known.into_iter()), "there is image, interval, tags");
    }

    #[test]
    fn those_about_equally_near_are_named() {
        let known = ["blog/dev", "shop", "shop/dev", "shop/dev2", "shop/prod"];
        assert_eq!(nearest("shop/de", &known), ["shop/dev", "shop/dev2"]);
        assert_eq!(nearest("shop/prd", &known), ["shop/prod"]);
        assert_eq!(nearest("Shop/Prod", &known), ["shop/prod"]);
        assert_eq!(nearest("warehouse", &known), [""; 0]);
    }
}
