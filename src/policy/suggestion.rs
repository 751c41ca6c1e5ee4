//! Suggests the regex that orders tags with numbers after letters: `-ls99` and `-ls101`, `rc9` and `rc10`.

use std::collections::BTreeMap;

use super::{Order, Policy, Rule, semver};
use crate::reference::{ListedTag, Tag};

/// Words of prereleases.
pub(super) const PRERELEASES: [&str; 14] = [
    "alpha",
    "beta",
    "rc",
    "pre",
    "preview",
    "dev",
    "snapshot",
    "nightly",
    "canary",
    "next",
    "m",
    "a",
    "b",
    "milestone",
];

/// The part of a rule that compares such tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suggestion {
    pub(super) order: Order,
    pub(super) prerelease: bool,
    pub(super) regex: String,
}

impl Suggestion {
    /// For tags that differ only in their numbers. `others`: more tags of the repository; plain versions
    /// among them match, too. None: no number comes after letters.
    pub(super) fn of(alike: &[&str], others: &[&str]) -> Option<Suggestion> {
        let first = Runs::of(alike.first()?);
        let all: Vec<Runs<'_>> = alike.iter().map(|tag| Runs::of(tag)).collect();
        let core = first.core()?;
        if core.end == first.0.len() {
            return None;
        }
        let prefix = escaped(&first.0[..core.start].concat());
        let numbers = vec![r"\d+"; (core.end - core.start).div_ceil(2)].join(r"\.");
        let is_version = |runs: &Runs<'_>| semver::Version::parse(&runs.0[core.clone()].concat()).is_some();
        let order = if all.iter().all(is_version) { Order::Semver } else { Order::Numeric };
        let word = first.0[core.end].strip_prefix('-').filter(|_| order == Order::Semver);
        if let Some(word) = word.filter(|word| is_prerelease(word.trim_end_matches('.'))) {
            // A number after a dot is already compared as a number.
            let is_last = first.0.len() == core.end + 2 && !word.ends_with('.');
            let letters = if word.chars().any(|c| c.is_ascii_uppercase()) { "[A-Za-z]+" } else { "[a-z]+" };
            let regex = format!(r"^{prefix}({numbers}(?:-{letters})?)(\d+)?$");
            return is_last.then_some(Suggestion { order, prerelease: true, regex });
        }
        let mut rest = String::new();
        for place in core.end..first.0.len() {
            let run = first.0[place];
            let varies = || all.iter().any(|runs| runs.0[place] != run);
            let is_number = run.starts_with(|c: char| c.is_ascii_digit());
            rest += &match is_number && (place + 1 == first.0.len() || varies()) {
                true => r"(\d+)".to_owned(),
                false => escaped(run),
            };
        }
        let is_plain = |tag: &&&str| {
            let runs = Runs::of(tag);
            runs.0.len() == core.end && (0..core.end).all(|place| runs.is_like(&first, place))
        };
        let is_optional = others.iter().find(is_plain).is_some();
        let rest = if is_optional { format!("(?:{rest})?") } else { rest };
        rest.contains(r"(\d+)").then(|| Suggestion {
            order,
            prerelease: false,
            regex: format!("^{prefix}({numbers}){rest}$"),
        })
    }

    /// For the most common shape among the tags.
    pub(super) fn of_most<'t>(
        tags: impl IntoIterator<Item = &'t str>,
        others: &[&str],
    ) -> Option<Suggestion> {
        let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for tag in tags {
            alike.entry(shape(tag)).or_default().push(tag);
        }
        Suggestion::of(alike.values().max_by_key(|tags| tags.len())?, others)
    }

    /// Whether it sorts the second tag above the first.
    pub(super) fn puts_in_order(&self, lower: &str, higher: &str) -> bool {
        let rule = Rule {
            tags: vec!["*".to_owned()],
            regex: Some(self.regex.clone()),
            order: self.order,
            prerelease: self.prerelease,
            ..Rule::default()
        };
        let Ok(policy) = Policy::new(&rule) else { return false };
        let candidate = |tag: &str| policy.candidate(&ListedTag::named(Tag::new(tag).ok()?));
        matches!((candidate(lower), candidate(higher)), (Some(lower), Some(higher)) if higher.is_newer_than(&lower))
    }

    /// `order = "semver" and regex = '…'`, as the configuration writes it, without keys that the rule already
    /// has.
    pub(super) fn for_rule(&self, policy: &Policy) -> String {
        let mut keys = Vec::new();
        if policy.order != self.order {
            keys.push(format!("order = \"{}\"", self.order));
        }
        if self.prerelease && !policy.prerelease {
            keys.push("prerelease = true".to_owned());
        }
        keys.push(format!("regex = '{}'", self.regex));
        match keys.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, before)) => format!("{} and {last}", before.join(", ")),
            None => String::new(),
        }
    }
}

/// The text with every number replaced by `0`: tags of one shape differ only in their numbers.
pub(super) fn shape(text: &str) -> String {
    let mut shape = String::with_capacity(text.len());
    for c in text.chars() {
        let digit = c.is_ascii_digit();
        if !(digit && shape.ends_with('0')) {
            shape.push(if digit { '0' } else { c });
        }
    }
    shape
}

pub(super) fn is_prerelease(word: &str) -> bool {
    PRERELEASES.contains(&word.to_ascii_lowercase().as_str())
}

/// A tag split into runs of digits and runs of other characters.
struct Runs<'t>(Vec<&'t str>);

impl<'t> Runs<'t> {
    fn of(tag: &'t str) -> Runs<'t> {
        let mut runs = Vec::new();
        let mut begin = 0;
        let bytes = tag.as_bytes();
        for place in 1..bytes.len() {
            if bytes[place].is_ascii_digit() != bytes[place - 1].is_ascii_digit() {
                runs.push(&tag[begin..place]);
                begin = place;
            }
        }
        runs.push(&tag[begin..]);
        Runs(runs)
    }

    fn is_number(&self, place: usize) -> bool {
        self.0.get(place).is_some_and(|run| run.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// The position of the first numbers with dots between them.
    fn core(&self) -> Option<std::ops::Range<usize>> {
        let start = (0..self.0.len()).find(|place| self.is_number(*place))?;
        let mut end = start + 1;
        while self.0.get(end) == Some(&".") && self.is_number(end + 1) {
            end += 2;
        }
        Some(start..end)
    }

    /// Whether both have a number at this position, or the same text.
    fn is_like(&self, other: &Runs<'_>, place: usize) -> bool {
        self.0.get(place) == other.0.get(place) || (self.is_number(place) && other.is_number(place))
    }
}

/// Text of a tag as a regex. The dot is the only character of tags with a special meaning.
fn escaped(text: &str) -> String {
    text.replace('.', r"\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(alike: &str, others: &str) -> Option<(Order, String)> {
        let tags: Vec<&str> = alike.split(' ').collect();
        let others: Vec<&str> = others.split_whitespace().collect();
        let found = Suggestion::of(&tags, &others)?;
        assert!(found.puts_in_order(tags[0], tags[1]), "{found:?} for {alike}");
        Some((found.order, found.regex))
    }

    #[test]
    fn numbers_behind_letters_become_captures() {
        for (alike, others, order, regex) in [
            ("v8.9.0-ls99 v8.9.0-ls101", "", Order::Semver, r"^v(\d+\.\d+\.\d+)-ls(\d+)$"),
            ("8.9.0-ls99 8.9.0-ls101", "latest", Order::Semver, r"^(\d+\.\d+\.\d+)-ls(\d+)$"),
            ("1.2.3-r9 1.2.3-r10", "1.2.3 1.2.2", Order::Semver, r"^(\d+\.\d+\.\d+)(?:-r(\d+))?$"),
            ("v1.30.1-k3s2 v1.30.1-k3s10", "", Order::Semver, r"^v(\d+\.\d+\.\d+)-k3s(\d+)$"),
            ("1.0.0-rc9 1.0.0-rc10", "1.0.0", Order::Semver, r"^(\d+\.\d+\.\d+(?:-[a-z]+)?)(\d+)?$"),
            ("1.0.0-RC9 1.0.0-RC10", "", Order::Semver, r"^(\d+\.\d+\.\d+(?:-[A-Za-z]+)?)(\d+)?$"),
            ("v1.2.3-hotfix2 v1.2.3-hotfix10", "", Order::Semver, r"^v(\d+\.\d+\.\d+)-hotfix(\d+)$"),
            ("10.11-r9 10.11-r10", "", Order::Numeric, r"^(\d+\.\d+)-r(\d+)$"),
            ("2024.08.01-r9 2024.08.01-r10", "", Order::Numeric, r"^(\d+\.\d+\.\d+)-r(\d+)$"),
            ("app-7-rc.9-x app-7-rc.10-x", "", Order::Numeric, r"^app-(\d+)-rc\.(\d+)-x$"),
        ] {
            assert_eq!(suggested(alike, others), Some((order, regex.to_owned())), "{alike}");
        }
    }

    #[test]
    fn nothing_is_suggested_without_letters_before_a_number() {
        for alike in
            ["dev-9 dev-10", "1.2.9 1.2.10", "latest edge", "1.2.3-a 1.2.3-a", "1.0.0-rc.9 1.0.0-rc.10"]
        {
            let tags: Vec<&str> = alike.split(' ').collect();
            assert_eq!(Suggestion::of(&tags, &[]), None, "{alike}");
        }
    }

    #[test]
    fn prereleases_stay_below_their_release() {
        let found = Suggestion::of(&["1.0.0-rc9", "1.0.0-rc10"], &[]).unwrap();
        for (lower, higher) in [
            ("1.0.0-rc10", "1.0.0"),
            ("1.0.0-beta11", "1.0.0-rc1"),
            ("1.0.0", "1.0.1-rc1"),
            ("1.9.0", "1.10.0"),
        ] {
            assert!(found.puts_in_order(lower, higher), "{lower} < {higher}");
        }
    }
}
