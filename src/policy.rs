//! Which tags match a stage's rule, and which of them is newest. Pure.

mod alphabetical;
mod capture;
mod filter;
mod lint;
mod newest;
mod numeric;
mod proposal;
mod range;
mod select;
mod semver;
mod suggestion;

#[cfg(test)]
mod choices;
#[cfg(test)]
mod properties;

use std::fmt;

use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use crate::reference::ListedTag;

use capture::Capture;
use filter::{Filter, SortText};
use range::Range;

pub(crate) use lint::lints;
pub(crate) use proposal::{Proposal, ProposedStage, SkippedTags, propose, wanted};
pub(crate) use select::{CANDIDATES_KEPT, PageScan, Selection};
pub(crate) use semver::Bump;

/// The rule as the configuration writes it, before validation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) tags: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) regex: Option<String>,
    pub(crate) order: Order,
    pub(crate) range: Option<String>,
    pub(crate) prerelease: bool,
}

/// How tags are ordered.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray, VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Order {
    #[default]
    Newest,
    Semver,
    Numeric,
    Alphabetical,
}

/// A filter (which tags match) and an order (which of them is newest).
#[derive(Debug)]
pub(crate) struct Policy {
    order: Order,
    filter: Filter,
    /// Every version, if the rule has no range.
    range: Range,
    prerelease: bool,
}

/// An error in one key of a [`Rule`]; the configuration adds the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct InvalidRule {
    /// `tags`, `exclude`, `regex`, `range` or `prerelease`: the key.
    pub(crate) key: &'static str,
    /// One line, without the key's name.
    pub(crate) message: String,
    /// What to write instead; empty if unknown.
    pub(crate) help: String,
}

/// A matching tag, with its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) listed: ListedTag,
    pub(crate) key: SortKey,
}

/// A candidate's place in its policy's order. The keys of one policy have a total order; they print the
/// compared value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortKey {
    first: Key,
    /// The regex's captures after the first, in order.
    further: Box<[Capture]>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Newest(newest::Push),
    Semver(semver::Version),
    Numeric(numeric::Sequence),
    Alphabetical(alphabetical::Text),
}

/// A policy's verdict of one tag. Prints the reason in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Candidate(SortKey),
    NotMatched,
    /// The signature, attestation or SBOM of an image, stored as a tag.
    Artifact,
    /// Matches this glob of `exclude`.
    Excluded(String),
    RegexMismatch,
    /// The order cannot compare this sort key.
    NotParsed(String),
    OutOfRange,
    Prerelease,
}

impl Policy {
    /// Compiles a rule.
    ///
    /// # Errors
    /// A glob that cannot match any tag, an invalid regex or range, `range` or `prerelease` with an order
    /// other than semver. Never an empty list.
    pub(crate) fn new(rule: &Rule) -> Result<Policy, Vec<InvalidRule>> {
        let mut faults = Vec::new();
        let filter = Filter::new(&rule.tags, &rule.exclude, rule.regex.as_deref(), &mut faults);
        let mut range = Range::default();
        if let Some(text) = &rule.range {
            match Range::parse(text) {
                Ok(_) if rule.order != Order::Semver => faults.push(only_semver("range", rule.order)),
                Ok(parsed) => range = parsed,
                Err(error) => faults.push(InvalidRule {
                    key: "range",
                    message: format!("invalid range {text:?}: {error}"),
                    help: range::help(text),
                }),
            }
        }
        if rule.prerelease && rule.order != Order::Semver {
            faults.push(only_semver("prerelease", rule.order));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Policy { order: rule.order, filter, range, prerelease: rule.prerelease })
    }

    /// Whether more than one tag can pass the filter.
    pub(crate) fn may_match_several(&self) -> bool {
        self.filter.may_match_several()
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// The rule in one canonical line: equal text is an equal rule. Kept in the state to notice edits.
    ///
    /// The order and the repetition of globs and comparators have no meaning, and do not change the line.
    pub(crate) fn rule_text(&self) -> String {
        let mut text = self.filter.to_string();
        text += &format!(" order={}", self.order);
        if !self.range.is_everything() {
            text += &format!(" range=\"{}\"", self.range);
        }
        if self.prerelease {
            text += " prerelease=true";
        }
        text
    }

    pub(crate) fn judge(&self, listed: &ListedTag) -> Verdict {
        let SortText { first: text, further } = match self.filter.sort_text(listed.tag.as_str()) {
            Ok(text) => text,
            Err(verdict) => return verdict,
        };
        let key = match self.order {
            Order::Newest => Some(Key::Newest(newest::Push::of(listed))),
            Order::Semver => match semver::Version::parse(text) {
                Some(version) if version.is_prerelease() && !self.prerelease => return Verdict::Prerelease,
                Some(version) if !self.range.contains(&version) => return Verdict::OutOfRange,
                version => version.map(Key::Semver),
            },
            Order::Numeric => numeric::Sequence::parse(text).map(Key::Numeric),
            Order::Alphabetical => Some(Key::Alphabetical(alphabetical::Text::new(text))),
        };
        match key {
            // The push time is not part of the tag, so the captures are not compared.
            Some(first @ Key::Newest(_)) => Verdict::Candidate(SortKey { first, further: Box::default() }),
            Some(first) => {
                let further = further.into_iter().map(Capture::of).collect();
                Verdict::Candidate(SortKey { first, further })
            }
            None => Verdict::NotParsed(text.to_owned()),
        }
    }

    /// The tag as a candidate, if it is one.
    pub(crate) fn candidate(&self, listed: &ListedTag) -> Option<Candidate> {
        match self.judge(listed) {
            Verdict::Candidate(key) => Some(Candidate { listed: listed.clone(), key }),
            _ => None,
        }
    }

    /// How far apart two versions are, in either direction; None: the order is not semver. Equal versions,
    /// and versions that differ only in their prerelease, are a [`Bump::Patch`] apart.
    pub(crate) fn distance(&self, from: &Candidate, to: &Candidate) -> Option<Bump> {
        match (&from.key.first, &to.key.first) {
            (Key::Semver(from), Key::Semver(to)) => Some(from.distance(to)),
            _ => None,
        }
    }
}

fn only_semver(key: &'static str, order: Order) -> InvalidRule {
    let message = format!("requires order = \"semver\", found \"{order}\"");
    InvalidRule { key, message, help: String::new() }
}

impl Candidate {
    /// Whether this one is newer: its key is greater. A tie is not newer.
    pub(crate) fn is_newer_than(&self, other: &Candidate) -> bool {
        self.key > other.key
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first {
            Key::Newest(push) => push.fmt(f)?,
            Key::Semver(version) => version.fmt(f)?,
            Key::Numeric(sequence) => sequence.fmt(f)?,
            Key::Alphabetical(text) => text.fmt(f)?,
        }
        self.further.iter().try_for_each(|capture| write!(f, " {capture}"))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Candidate(key) => write!(f, "key {key}"),
            Verdict::NotMatched => write!(f, "matches no glob of tags"),
            Verdict::Artifact => {
                write!(f, "the signature, attestation or SBOM of an image (tags = \"sha256-*\" matches it)")
            }
            Verdict::Excluded(glob) => write!(f, "excluded by {glob}"),
            Verdict::RegexMismatch => write!(f, "does not match the regex"),
            Verdict::NotParsed(key) if key.is_empty() => write!(f, "its sort key is empty"),
            Verdict::NotParsed(key) => write!(f, "the order cannot compare {key}"),
            Verdict::OutOfRange => write!(f, "outside the range"),
            Verdict::Prerelease => write!(f, "a prerelease"),
        }
    }
}
