//! Which tags a stage may take, and which of them is newest. Pure.

use std::cmp::Ordering;

use crate::reference::{ListedTag, Listing, Tag};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Newest,
    Semver,
    Numeric,
    Alphabetical,
}

/// A filter (which tags may be taken) and an order (which of them is newest).
#[derive(Debug)]
pub(crate) struct Policy {
    rule: Rule,
}

/// Which part of a [`Rule`] is wrong, so that the configuration can name its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct InvalidRule {
    /// `regex`, `range` or `prerelease`: the key.
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

/// A tag that the policy may take, with its place in the order.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) listed: ListedTag,
    pub(crate) key: SortKey,
}

/// A candidate's place in its policy's order. Keys of one policy compare totally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortKey(());

impl Ord for SortKey {
    fn cmp(&self, _other: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a policy says of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Candidate(SortKey),
    NotMatched,
    /// Matched by this glob of `exclude`.
    Excluded(String),
    RegexMismatch,
    /// The sort key is nothing that the order can compare; here is that key.
    NotParsed(String),
    OutOfRange,
    Prerelease,
}

/// How many candidates a [`Selection`] keeps.
pub(crate) const CANDIDATES_KEPT: usize = 50;

/// What a policy makes of a listing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// The newest candidates, newest first: at most [`CANDIDATES_KEPT`].
    pub(crate) candidates: Vec<Candidate>,
    /// How many tags were listed.
    pub(crate) listed: usize,
    /// How many tags passed the filter, and how many of these the order cannot parse.
    pub(crate) matched: usize,
    pub(crate) not_parsed: usize,
    /// Of the tags asked about: those that are listed, and those that are not.
    present: Vec<Tag>,
    absent: Vec<Tag>,
}

impl Policy {
    /// # Errors
    /// A regex or range that cannot be read, `range` or `prerelease` with another order than semver,
    /// or a regex with more than one capture.
    pub(crate) fn new(rule: Rule) -> Result<Policy, InvalidRule> {
        Ok(Policy { rule })
    }

    pub(crate) fn order(&self) -> Order {
        self.rule.order
    }

    /// The rule in one canonical line: equal text is an equal rule. Kept in the state to notice edits.
    pub(crate) fn rule_text(&self) -> String {
        String::new()
    }

    pub(crate) fn judge(&self, _listed: &ListedTag) -> Verdict {
        Verdict::NotMatched
    }

    /// The tag as a candidate, if it is one.
    pub(crate) fn candidate(&self, listed: &ListedTag) -> Option<Candidate> {
        match self.judge(listed) {
            Verdict::Candidate(key) => Some(Candidate { listed: listed.clone(), key }),
            _ => None,
        }
    }

    /// Selects from a listing. `asked`: tags whose presence the decision will want to know.
    pub(crate) fn select(&self, listing: &Listing, asked: &[Tag]) -> Selection {
        let _ = (listing, asked);
        Selection::default()
    }
}

impl Candidate {
    /// Whether this one is newer: its key is greater. A tie is not newer.
    pub(crate) fn is_newer_than(&self, other: &Candidate) -> bool {
        self.key > other.key
    }
}

impl Selection {
    pub(crate) fn newest(&self) -> Option<&Candidate> {
        self.candidates.first()
    }

    pub(crate) fn find(&self, _tag: &Tag) -> Option<&ListedTag> {
        None
    }

    /// Whether a tag that was asked about is listed; None for any other tag.
    pub(crate) fn is_listed(&self, tag: &Tag) -> Option<bool> {
        if self.present.contains(tag) { Some(true) } else { self.absent.contains(tag).then_some(false) }
    }
}
