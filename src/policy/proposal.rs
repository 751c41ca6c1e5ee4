//! Proposes rules for an image, from its tags.
//!
//! A tag has a head (`dev-`, `v`, `release-v`: words, and the letters before the first digit) and a rest. The
//! tags of one head are versions, numbers (or dates), or have no order of their own, and become one stage.
//! Tags without a rest (`latest`) move, and are skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::numeric::Sequence;
use super::semver::Version;
use super::suggestion::{Suggestion, is_prerelease};
use super::{Order, Policy, Rule};
use crate::reference::{ListedTag, Tag};

/// The stages proposed for an image.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// One for each kind of tag. Those with versions come last: usually production.
    pub(crate) stages: Vec<ProposedStage>,
    /// The tags without a stage, and why.
    pub(crate) skipped: Vec<SkippedTags>,
}

/// A stage with a rule for its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProposedStage {
    /// A valid and unique name.
    pub(crate) name: String,
    pub(crate) tags: String,
    pub(crate) exclude: Vec<String>,
    pub(crate) regex: Option<String>,
    pub(crate) order: Order,
    pub(crate) prerelease: bool,
    /// The number of its tags, and some of them.
    pub(crate) count: usize,
    pub(crate) examples: Vec<Tag>,
    /// Why this order; empty if the user chose it.
    pub(crate) reason: &'static str,
}

/// Tags without a stage.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SkippedTags {
    pub(crate) reason: Reason,
    pub(crate) count: usize,
    pub(crate) examples: Vec<Tag>,
}

/// Why tags are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// `latest`, `v1` beside `v1.2.3`.
    Moving,
    /// Variants of a version: `1.2.3-alpine`.
    Variant,
    /// `pr-12`
    PullRequest,
    /// `sha256-….sig`
    Signature,
    /// Not comparable with the other tags of their head.
    Odd,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Moving => "moving tags (digest = true deploys them again when they change)",
            Reason::Variant => "variants of versions (a glob such as \"*-alpine\" matches one kind)",
            Reason::PullRequest => "tags of pull requests",
            Reason::Signature => "signatures and attestations, not images",
            Reason::Odd => "not comparable with the others",
        })
    }
}

/// The number of tags shown of a kind.
const EXAMPLES: usize = 3;

/// Words for builds of one version, each with a number behind it: `-ls99`, `-k3s2`.
const REVISIONS: [&str; 12] =
    ["ls", "r", "rev", "p", "patch", "hotfix", "fix", "build", "post", "k3s", "rke2r", "u"];

/// The rest of a tag, after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// `1.2.3`, `1.2.3-rc.1`
    Version {
        is_prerelease: bool,
    },
    /// `1.2.3-alpine`
    Variant,
    /// `8.9.0-ls99`
    Revision,
    /// `42`, `20240131-1530`, `2024.10.1`
    Number {
        is_date: bool,
    },
    /// `3f2a9c1`
    Hash,
    Other,
}

/// Proposes a stage for each kind of tag.
pub(crate) fn propose<'t>(tags: impl IntoIterator<Item = &'t Tag>) -> Proposal {
    let mut left: BTreeMap<Reason, BTreeSet<&Tag>> = BTreeMap::new();
    let mut heads: BTreeMap<&str, Vec<(&Tag, Kind)>> = BTreeMap::new();
    for tag in tags {
        let head = head(tag.as_str());
        let rest = &tag.as_str()[head.len()..];
        let reason = if tag.as_str().starts_with("sha256-") {
            Reason::Signature
        } else if rest.is_empty() {
            Reason::Moving
        } else if ["pr-", "pull-", "mr-", "pr", "renovate-", "dependabot-"].contains(&head) {
            Reason::PullRequest
        } else {
            heads.entry(head).or_default().push((tag, kind(rest)));
            continue;
        };
        left.entry(reason).or_default().insert(tag);
    }
    let names: BTreeSet<&str> = heads.keys().copied().collect();
    let mut stages: Vec<ProposedStage> = Vec::new();
    for (head, mut tags) in heads {
        tags.sort_unstable();
        tags.dedup();
        let moving = left.get(&Reason::Moving).cloned().unwrap_or_default();
        let (mut stage, others) = stage(head, &tags);
        let longer = names.iter().filter(|other| **other != head && other.starts_with(head));
        if takes_any(&stage) {
            // Tags with the same first letters that belong to another stage, or move.
            let names = moving.iter().filter(|tag| tag.as_str().starts_with(head)).map(|tag| tag.to_string());
            stage.exclude.extend(longer.map(|other| format!("{other}*")).chain(names));
        } else if head.is_empty() && stage.order == Order::Semver {
            let with_v = ["v", "V"].into_iter().filter(|v| names.contains(v));
            stage.exclude.extend(with_v.map(|v| format!("{v}*")));
        }
        stages.push(stage);
        for (tag, reason) in others {
            left.entry(reason).or_default().insert(tag);
        }
    }
    stages.sort_by_key(|stage| (stage.order == Order::Semver, stage.tags.clone()));
    let mut taken = BTreeSet::new();
    for stage in &mut stages {
        let own = stage.name.clone();
        let mut number = 2;
        while !taken.insert(stage.name.clone()) {
            stage.name = format!("{own}-{number}");
            number += 1;
        }
    }
    let left = left.into_iter().map(|(reason, tags)| {
        let examples = tags.iter().rev().take(EXAMPLES).map(|tag| (*tag).clone()).collect();
        SkippedTags { reason, count: tags.len(), examples }
    });
    Proposal { stages, skipped: left.collect() }
}

/// A stage that the user asked for. Without `order`: the usual one for such a glob.
pub(crate) fn wanted(name: &str, glob: &str, order: Option<Order>) -> ProposedStage {
    let prefix = &glob[..glob.find(['*', '?']).unwrap_or(glob.len())];
    let head = head(prefix);
    let of_versions = self::name(head, Order::Semver) == "prod" && !head.is_empty();
    let (guess, reason) = if of_versions || glob.matches('.').count() >= 2 {
        (Order::Semver, "a guess: versions; other tags are skipped")
    } else if prefix.starts_with("20") {
        (Order::Numeric, "a guess: dates; other tags are skipped")
    } else {
        (Order::Newest, "a guess: by push time; numeric compares the 42 in dev-42")
    };
    ProposedStage {
        name: name.to_owned(),
        tags: glob.to_owned(),
        exclude: Vec::new(),
        regex: None,
        order: order.unwrap_or(guess),
        prerelease: false,
        count: 0,
        examples: Vec::new(),
        reason: if order.is_some() { "" } else { reason },
    }
}

/// Whether the order can compare every tag that the glob matches.
fn takes_any(stage: &ProposedStage) -> bool {
    matches!(stage.order, Order::Newest | Order::Alphabetical) && stage.regex.is_none()
}

/// The words that a tag begins with, and the letters before the first digit of what follows.
fn head(tag: &str) -> &str {
    let mut end = 0;
    loop {
        let rest = &tag[end..];
        let word = &rest[..rest.find(['-', '_', '.']).unwrap_or(rest.len())];
        if is_hash(word) {
            return &tag[..end];
        }
        let letters = word.len() - word.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        end += letters;
        if letters < word.len() {
            return &tag[..end];
        }
        // A word of letters and the separator after it; at the end of the tag, no separator.
        if end == tag.len() {
            return tag;
        }
        end += 1;
    }
}

/// `3f2a9c1` and longer, as git shortens hashes; not a number.
pub(super) fn is_hash(word: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (7..=64).contains(&word.len())
        && word.bytes().all(is_hex)
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn kind(rest: &str) -> Kind {
    if Sequence::parse(rest).is_some() {
        let first = &rest[..rest.find(['.', '-', '_']).unwrap_or(rest.len())];
        let is_year = first.len() == 4 && (first.starts_with("19") || first.starts_with("20"));
        let is_day = matches!(first.len(), 8 | 12 | 14) && first.starts_with("20");
        let is_date = is_day || (is_year && first.len() < rest.len());
        if is_date || Version::parse(rest).is_none() {
            return Kind::Number { is_date };
        }
    }
    if is_revision(rest) {
        return Kind::Revision;
    }
    // After a _ comes build metadata (`1.2.3_7`) or a variant (`1.2.3_alpine`).
    let is_for = rest.split_once('_').is_some_and(|(_, what)| !what.contains(|c: char| c.is_ascii_digit()));
    if let Some(version) = Version::parse(rest).filter(|_| !is_for) {
        let first = version.as_semver().pre.split(['.', '-']).next().unwrap_or_default().to_ascii_lowercase();
        let word = first.trim_end_matches(|c: char| c.is_ascii_digit());
        return if word.is_empty() || is_prerelease(word) {
            Kind::Version { is_prerelease: version.is_prerelease() }
        } else {
            Kind::Variant
        };
    }
    let numbers = rest.split(['-', '_']).next().unwrap_or_default();
    if Sequence::parse(numbers).is_some() && numbers.contains('.') {
        return Kind::Variant;
    }
    if is_hash(rest) { Kind::Hash } else { Kind::Other }
}

/// `8.9.0-ls99`, `10.11-r9`
fn is_revision(rest: &str) -> bool {
    rest.split_once('-').is_some_and(|(numbers, build)| {
        let word = build.trim_end_matches(|c: char| c.is_ascii_digit());
        numbers.contains('.')
            && Sequence::parse(numbers).is_some()
            && word.len() < build.len()
            && REVISIONS.contains(&word)
    })
}

/// The tags that the rule of a suggestion matches.
fn taken_by<'t>(suggestion: &Suggestion, tags: &[(&'t Tag, Kind)]) -> BTreeSet<&'t Tag> {
    let rule = Rule {
        tags: vec!["*".to_owned()],
        regex: Some(suggestion.regex.clone()),
        order: suggestion.order,
        prerelease: suggestion.prerelease,
        ..Rule::default()
    };
    let Ok(policy) = Policy::new(&rule) else { return BTreeSet::new() };
    let is_taken = |tag: &&Tag| policy.candidate(&ListedTag::named((*tag).clone())).is_some();
    tags.iter().map(|(tag, _)| *tag).filter(is_taken).collect()
}

/// The stage of one head, and the tags that it skips.
fn stage<'t>(head: &str, tags: &[(&'t Tag, Kind)]) -> (ProposedStage, Vec<(&'t Tag, Reason)>) {
    let is_version = |kind: Kind| matches!(kind, Kind::Version { .. });
    let is_number = |kind: Kind| matches!(kind, Kind::Number { .. });
    let all = |is_kind: &dyn Fn(Kind) -> bool| tags.iter().all(|(_, kind)| is_kind(*kind));
    let versions = tags.iter().filter(|(_, kind)| is_version(*kind)).count();
    let mut stage = ProposedStage {
        name: String::new(),
        tags: format!("{head}*"),
        exclude: Vec::new(),
        regex: None,
        order: Order::Newest,
        prerelease: false,
        count: 0,
        examples: Vec::new(),
        reason: "these tags have no order of their own; the last push is the newest",
    };
    let mut takes: Box<dyn Fn(Kind) -> bool> = Box::new(|_| true);
    if versions > 0 {
        stage.order = Order::Semver;
        stage.reason = "versions; other tags are skipped";
        stage.prerelease = !tags.iter().any(|(_, kind)| *kind == Kind::Version { is_prerelease: false });
        if stage.prerelease {
            stage.reason = "versions, only prereleases so far";
        }
        takes = Box::new(is_version);
    } else if all(&is_number) {
        let is_date = tags.iter().all(|(_, kind)| matches!(kind, Kind::Number { is_date: true }));
        stage.order = Order::Numeric;
        stage.reason = if is_date { "dates, compared as numbers" } else { "growing numbers" };
    } else if head.is_empty() && all(&|kind| kind == Kind::Hash) {
        stage.regex = Some("^[0-9a-f]{7,64}$".to_owned());
        stage.reason = "commits have no order; the last push is the newest";
    }
    let mut taken: BTreeSet<&Tag> =
        tags.iter().filter(|(_, kind)| takes(*kind)).map(|(tag, _)| *tag).collect();
    let is_revision = |kind: Kind| kind == Kind::Revision;
    let has_revisions = tags.iter().any(|(_, kind)| is_revision(*kind));
    if has_revisions || stage.prerelease {
        let is_numbered = |kind: Kind| if has_revisions { is_revision(kind) } else { is_version(kind) };
        let numbered = tags.iter().filter(|(_, kind)| is_numbered(*kind)).map(|(tag, _)| tag.as_str());
        let others: Vec<&str> = tags.iter().map(|(tag, _)| tag.as_str()).collect();
        let suggestion = Suggestion::of_most(numbered, &others);
        if let Some(suggestion) = suggestion.filter(|found| has_revisions || found.prerelease) {
            let by_regex = taken_by(&suggestion, tags);
            // A regex must match every tag that the stage matches without it.
            if !by_regex.is_empty() && (by_regex.is_superset(&taken) || (has_revisions && versions == 0)) {
                stage.order = suggestion.order;
                stage.prerelease = suggestion.prerelease;
                stage.reason = "the regex compares the number behind the letters as a number";
                stage.regex = Some(suggestion.regex);
                taken = by_regex;
            }
        }
    }
    if versions > 0
        && tags.iter().any(|(tag, kind)| *kind == Kind::Variant && tag.as_str()[head.len()..].contains('_'))
    {
        stage.exclude.push(format!("{head}*_*"));
    }
    stage.name = name(head, stage.order);
    stage.count = taken.len();
    stage.examples = taken.iter().rev().take(EXAMPLES).map(|tag| (*tag).clone()).collect();
    let why = |kind: Kind| match kind {
        // `v1` and `v1.2` move with the versions beside them.
        Kind::Number { is_date: false } => Reason::Moving,
        Kind::Variant | Kind::Revision => Reason::Variant,
        _ => Reason::Odd,
    };
    let others =
        tags.iter().filter(|(tag, _)| !taken.contains(tag)).map(|(tag, kind)| (*tag, why(*kind))).collect();
    (stage, others)
}

/// A name for a stage with such tags.
fn name(head: &str, order: Order) -> String {
    let words = head.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let words =
        words.strip_suffix(['v', 'V']).filter(|rest| !rest.ends_with(|c: char| c.is_ascii_alphanumeric()));
    let words = words.unwrap_or(head).trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let name: String = words.chars().take(40).collect::<String>().to_ascii_lowercase();
    match (name.as_str(), order) {
        ("" | "v" | "version" | "ver" | "release" | "rel", Order::Semver) => "prod".to_owned(),
        ("", _) => "main".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests;
