//! `range`: comparators as the crate `semver` reads them, applied to prereleases too.
//!
//! The crate's `VersionReq::matches` matches a prerelease only if a comparator names one of the same
//! MAJOR.MINOR.PATCH, so `>=1.2, <3` would contain none. Here precedence alone decides for `<`, `<=`, `>` and
//! `>=`: `3.0.0-rc.1` comes before `3.0.0`, so it is in `<3`. `^`, `~`, `=` and `1.*` name a series, which
//! begins with its first release: `2.0.0-rc.1` is not in `^1.2`, and `1.2.0-rc.1` is not in `~1.2`.

use std::fmt;

use ::semver::{Comparator, Error, Op, VersionReq};

use super::semver::Version;

/// The versions that satisfy all comparators; without comparators, every version.
#[derive(Debug, Default)]
pub(super) struct Range(Vec<Comparator>);

impl Range {
    /// `>=1.2, <3`; a bare `1.2` is `^1.2`.
    ///
    /// # Errors
    /// The crate's message.
    pub(super) fn parse(text: &str) -> Result<Range, Error> {
        let mut comparators = VersionReq::parse(text)?.comparators;
        comparators.sort_by_cached_key(Comparator::to_string);
        comparators.dedup();
        Ok(Range(comparators))
    }

    pub(super) fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, version: &Version) -> bool {
        self.0.iter().all(|comparator| admits(comparator, version.as_semver()))
    }

    /// A release that a `<` excludes, but whose prereleases are in the range.
    pub(super) fn release_below_which(&self) -> Option<::semver::Version> {
        let below =
            self.0.iter().find(|comparator| comparator.op == Op::Less && comparator.pre.is_empty())?;
        Some(first(below)).filter(|release| {
            let mut lowest = release.clone();
            lowest.pre = ::semver::Prerelease::new("0").unwrap_or_default();
            self.0.iter().all(|comparator| admits(comparator, &lowest))
        })
    }
}

/// What to write instead of an invalid range: `>=1, <2` for `>=1 <2`.
pub(super) fn help(text: &str) -> String {
    const COMMAS: &str = "separate comparators by commas, as in range = \">=1.2, <3\"";
    if text.contains("||") {
        return "`||` is not supported: use one range, or a stage for each".to_owned();
    }
    let mut comparators: Vec<String> = Vec::new();
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        // `>= 1` and `v1`
        let word = match word.find(|c: char| c.is_ascii_alphanumeric()) {
            Some(start) => format!("{}{}", &word[..start], word[start..].trim_start_matches(['v', 'V'])),
            None => word.to_owned(),
        };
        match comparators.last_mut().filter(|last| !last.contains(|c: char| c.is_ascii_digit())) {
            Some(operator) => operator.push_str(&word),
            None => comparators.push(word),
        }
    }
    let meant = comparators.join(", ");
    match Range::parse(&meant) {
        Ok(_) => format!("write range = {meant:?}"),
        Err(_) => COMMAS.to_owned(),
    }
}

/// The release that the comparator names; missing numbers are 0.
fn first(comparator: &Comparator) -> ::semver::Version {
    ::semver::Version {
        major: comparator.major,
        minor: comparator.minor.unwrap_or(0),
        patch: comparator.patch.unwrap_or(0),
        pre: comparator.pre.clone(),
        build: ::semver::BuildMetadata::EMPTY,
    }
}

fn admits(comparator: &Comparator, version: &::semver::Version) -> bool {
    let first = first(comparator);
    let same_minor = comparator.minor.is_none_or(|minor| version.minor == minor);
    let same_patch = comparator.patch.is_none_or(|patch| version.patch == patch);
    let in_series = version.major == comparator.major && same_minor && same_patch;
    match comparator.op {
        Op::Exact if comparator.patch.is_some() => *version == first,
        Op::Exact | Op::Wildcard => in_series && *version >= first,
        Op::GreaterEq => *version >= first,
        Op::Greater if comparator.patch.is_some() => *version > first,
        Op::Greater => *version >= first && !in_series && !leads_up_to_next(comparator, version),
        Op::Less => *version < first,
        Op::LessEq => *version <= first || (comparator.patch.is_none() && in_series),
        Op::Tilde => version.major == comparator.major && same_minor && *version >= first,
        Op::Caret => {
            let compatible = match (comparator.major, comparator.minor) {
                (0, Some(0)) => same_minor && same_patch,
                (0, _) => same_minor,
                _ => true,
            };
            version.major == comparator.major && compatible && *version >= first
        }
        // The crate may add operators. An unknown one matches nothing.
        _ => false,
    }
}

/// Whether a version is a prerelease of the release that begins `>1.2` (1.3.0) or `>1` (2.0.0).
fn leads_up_to_next(comparator: &Comparator, version: &::semver::Version) -> bool {
    if version.pre.is_empty() || version.patch != 0 {
        return false;
    }
    match comparator.minor {
        Some(minor) => version.major == comparator.major && minor.checked_add(1) == Some(version.minor),
        None => comparator.major.checked_add(1) == Some(version.major) && version.minor == 0,
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, comparator) in self.0.iter().enumerate() {
            write!(f, "{}{comparator}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn releases_match_as_in_the_crate() {
        let ranges = [
            "*",
            "1",
            "1.2",
            "1.2.3",
            "0",
            "0.2",
            "0.2.3",
            "0.0",
            "0.0.3",
            "0.0.0",
            "~1",
            "~1.2",
            "~1.2.3",
            "=1",
            "=1.2",
            "=1.2.3",
            ">1",
            ">1.2",
            ">1.2.3",
            ">=1",
            ">=1.2",
            ">=1.2.3",
            "<1",
            "<1.2",
            "<1.2.3",
            "<=1",
            "<=1.2",
            "<=1.2.3",
            "1.*",
            "1.2.*",
            ">=1.2, <3",
            ">=1.2.0-rc.1, <3.0.0-0",
            "^1.2.3-rc.1",
            "~1.2.3-rc.1",
            "<=1.2.3-rc.1",
            "=0.0.3",
        ];
        let numbers = [0, 1, 2, 3, 4, u64::MAX];
        for text in ranges {
            let crates = VersionReq::parse(text).unwrap();
            let ours = range(text);
            for major in numbers {
                for minor in numbers {
                    for patch in numbers {
                        let version = ::semver::Version::new(major, minor, patch);
                        let parsed = Version::parse(&version.to_string()).unwrap();
                        assert_eq!(ours.contains(&parsed), crates.matches(&version), "{version} in {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn precedence_decides_about_prereleases() {
        for (text, inside, outside) in [
            ("*", "0.0.0-0", ""),
            (">=1.2, <3", "2.0.0-rc.1 1.2.1-rc.1 2.9.9-rc.1 3.0.0-rc.1", "1.2.0-rc.1 1.1.9 3.0.1-rc.1 3.0.0"),
            (">=1.2, <3.0.0-0", "2.0.0-rc.1 2.9.9", "3.0.0-0 3.0.0-rc.1 3.0.0"),
            (">=1.2.0-0, <3", "1.2.0-0 1.2.0-rc.1 1.2.0", "1.1.9"),
            (">1.2", "1.3.0 1.3.1-rc.1 1.4.0-rc.1", "1.2.9 1.2.9-rc.1 1.3.0-rc.1"),
            (">1", "2.0.0 2.0.1-rc.1 2.1.0-rc.1", "1.9.9 2.0.0-rc.1"),
            (">1.2.3", "1.2.4-rc.1 1.2.4", "1.2.3-rc.1 1.2.3"),
            (">1.2.3-rc.1", "1.2.3-rc.2 1.2.3", "1.2.3-rc.1 1.2.3-beta"),
            ("<=1.2", "1.2.9 1.2.9-rc.1 1.2.0-rc.1 1.1.0-rc.1", "1.3.0 1.3.0-rc.1"),
            ("<=1.2.3", "1.2.3-rc.1 1.2.3", "1.2.4-rc.1"),
            ("1.2", "1.2.0 1.2.1-rc.1 1.9.0-rc.1", "1.2.0-rc.1 2.0.0-rc.1 2.0.0"),
            ("^1.2.3-rc.2", "1.2.3-rc.2 1.2.3-rc.10 1.3.0-rc.1", "1.2.3-rc.1 2.0.0-rc.1"),
            ("^0.2.3", "0.2.4-rc.1", "0.2.3-rc.1 0.3.0-rc.1"),
            ("^0.0.3", "0.0.3", "0.0.3-rc.1 0.0.4-rc.1"),
            ("~1.2", "1.2.1-rc.1", "1.2.0-rc.1 1.3.0-rc.1"),
            ("=1.2.3", "1.2.3 1.2.3+build", "1.2.3-rc.1"),
            ("=1.2.3-rc.1", "1.2.3-rc.1 1.2.3-rc.1+build", "1.2.3-rc.2 1.2.3"),
            ("=1.2", "1.2.4-rc.1", "1.2.0-rc.1 1.3.0-rc.1"),
            ("1.2.*", "1.2.4-rc.1", "1.2.0-rc.1 1.3.0-rc.1"),
        ] {
            for (versions, expected) in [(inside, true), (outside, false)] {
                for version in versions.split_whitespace() {
                    let parsed = Version::parse(version).unwrap();
                    assert_eq!(range(text).contains(&parsed), expected, "{version} in {text}");
                }
            }
        }
    }

    #[test]
    fn equal_ranges_print_alike() {
        for (left, right) in
            [(">=1.2,<3", "<3 , >=1.2"), ("1.2", "^1.2"), ("1.2, 1.2", "1.2"), ("1.*", "1.x")]
        {
            assert_eq!(range(left).to_string(), range(right).to_string());
        }
        assert!(range("*").is_everything());
        assert_ne!(range("~1.2").to_string(), range("^1.2").to_string());
    }

    #[test]
    fn invalid_range_is_an_error() {
        for text in
            ["", ",", ">=1.2 <3", "v1", ">=v1.2", "1.2 || 2", "1 - 2", ">=1.2,", "=>1", "latest", "01"]
        {
            assert!(Range::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_open_upper_bound_names_its_release() {
        for (text, release) in [
            (">=1.2, <3", Some("3.0.0")),
            ("<1.2.3", Some("1.2.3")),
            ("<3.0.0-0", None),
            ("^2, <3", None),
            ("<=2", None),
            ("*", None),
        ] {
            let found = range(text).release_below_which().map(|release| release.to_string());
            assert_eq!(found.as_deref(), release, "{text}");
        }
    }
}
