//! Lints of rules: valid, but probably a mistake. For `check`, never for a poll.

use std::collections::BTreeMap;

use wildmatch::WildMatch;

use super::proposal::is_hash;
use super::{Order, Policy, SortKey, Verdict, numeric, semver};
use crate::reference::{ListedTag, Tag};

/// One line for each probable mistake in a policy, with what to write instead. `sample`: some tags of its repository; if
/// empty, only the rule itself is checked.
pub(crate) fn doubts(policy: &Policy, sample: &[Tag]) -> Vec<String> {
    let mut doubts: Vec<_> = policy
        .filter
        .covered()
        .map(|(glob, by)| format!("exclude \"{by}\" skips every tag that tags \"{glob}\" matches"))
        .collect();
    doubts.extend(open_bound(policy));
    let keys: Vec<_> = sample.iter().filter_map(|tag| policy.filter.sort_text(tag.as_str()).ok()).collect();
    if sample.is_empty() {
        doubts.extend(policy.filter.globs().find_map(|glob| {
            let meant = not_a_regex(glob).filter(|_| glob.contains("-.*") || glob.contains("_.*"))?;
            Some(format!("tags \"{glob}\" is a glob, not a regex: did you mean \"{meant}\"?"))
        }));
    } else if keys.is_empty() {
        doubts.push(format!("none of {} tags matches, for example {}", sample.len(), sample[0]));
        doubts.extend(policy.filter.globs().find_map(|glob| {
            let meant = not_a_regex(glob)?;
            let pattern = WildMatch::new(&meant);
            let matched = sample.iter().filter(|tag| pattern.matches(tag.as_str())).count();
            (matched > 0).then(|| {
                format!("tags \"{glob}\" is a glob, not a regex: \"{meant}\" matches {matched} of them")
            })
        }));
    }
    match policy.order {
        Order::Newest => {}
        Order::Semver => {
            doubts.extend(not_parsed(policy, &keys));
            doubts.extend(prereleases_only(policy, &keys));
            doubts.extend(numbers_in_disorder(policy, sample).map(|(lower, higher)| {
                format!(
                    "semver sorts {higher} below {lower}: it compares a number only between dots, as in rc.10"
                )
            }));
        }
        Order::Numeric => doubts.extend(not_parsed(policy, &keys)),
        Order::Alphabetical => doubts.extend(hashes(&keys).or_else(|| {
            let (lower, higher) = numbers_in_disorder(policy, sample)?;
            Some(format!(
                "alphabetical sorts {higher} below {lower}: for numbers write order = \"numeric\" or \"semver\""
            ))
        })),
    }
    doubts
}

/// The glob that a regex in its place means.
fn not_a_regex(glob: &str) -> Option<String> {
    let meant = glob.replace(".*", "*");
    (meant != glob).then_some(meant)
}

/// `<3` includes `3.0.0-rc.1`.
fn open_bound(policy: &Policy) -> Option<String> {
    let release = policy.range.release_below_which().filter(|_| policy.prerelease)?;
    Some(format!(
        "the range includes prereleases of {release}, which sort before it: write <{release}-0 to exclude them"
    ))
}

/// The order cannot compare most of the matching tags.
fn not_parsed(policy: &Policy, keys: &[&str]) -> Option<String> {
    let other = if policy.order == Order::Semver { Order::Numeric } else { Order::Semver };
    let failing: Vec<_> = keys.iter().copied().filter(|key| !parses(policy.order, key)).collect();
    if failing.len() * 2 <= keys.len() {
        return None;
    }
    let what = if policy.filter.captures() { "capture" } else { "sort key" };
    let instead = if failing.iter().filter(|key| parses(other, key)).count() * 2 > failing.len() {
        format!("write order = \"{other}\"")
    } else if policy.filter.captures() {
        "capture the number only".to_owned()
    } else {
        "write a regex that captures the part to compare".to_owned()
    };
    Some(format!(
        "{} cannot compare the {what} of {} of {} matching tags, for example \"{}\": {instead}",
        policy.order,
        failing.len(),
        keys.len(),
        failing[0],
    ))
}

fn parses(order: Order, key: &str) -> bool {
    match order {
        Order::Semver => semver::Version::parse(key).is_some(),
        Order::Numeric => numeric::Sequence::parse(key).is_some(),
        Order::Newest | Order::Alphabetical => true,
    }
}

/// For semver `1.2.3-alpine` is a prerelease, and is skipped unless a glob removes the suffix.
fn prereleases_only(policy: &Policy, keys: &[&str]) -> Option<String> {
    let versions: Vec<_> = keys.iter().filter_map(|key| semver::Version::parse(key)).collect();
    let first = versions.first()?;
    let none_taken = !policy.prerelease && versions.iter().all(semver::Version::is_prerelease);
    none_taken.then(|| {
        format!(
            "every matching version is a prerelease, for example {first}: write a glob such as \"*-alpine\" to \
             remove a suffix, or prerelease = true"
        )
    })
}

/// Commit hashes have no order.
fn hashes(keys: &[&str]) -> Option<String> {
    let ends_in_hash = |key: &str| is_hash(key.rsplit(['-', '_', '.']).next().unwrap_or_default());
    // After a date or a number a hash is harmless: the keys differ before it.
    let is_ranked =
        |key: &str| key.starts_with(|c: char| c.is_ascii_digit()) && key.contains(['-', '_', '.']);
    let hashes: Vec<_> = keys.iter().filter(|key| ends_in_hash(key) && !is_ranked(key)).collect();
    (hashes.len() * 2 > keys.len()).then(|| {
        format!("{} looks like a commit hash, and hashes have no order: write order = \"newest\"", hashes[0])
    })
}

/// Two candidates that differ in numbers only, and that the policy sorts against them.
fn numbers_in_disorder(policy: &Policy, sample: &[Tag]) -> Option<(String, String)> {
    let mut alike: BTreeMap<String, Vec<(numeric::Sequence, SortKey)>> = BTreeMap::new();
    for tag in sample {
        let Verdict::Candidate(key) = policy.judge(&ListedTag::named(tag.clone())) else { continue };
        let text = key.to_string();
        let numbers: Vec<_> =
            text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
        if let Some(numbers) = numeric::Sequence::parse(&numbers.join(".")) {
            alike.entry(words(&text)).or_default().push((numbers, key));
        }
    }
    alike.into_values().find_map(|mut keys| {
        keys.sort();
        let pair = keys.windows(2).find(|pair| pair[0].1 > pair[1].1)?;
        Some((pair[0].1.to_string(), pair[1].1.to_string()))
    })
}

/// The text with every number in it replaced by one `0`.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for c in text.chars() {
        let digit = c.is_ascii_digit();
        if !(digit && words.ends_with('0')) {
            words.push(if digit { '0' } else { c });
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Rule;

    fn rule(order: Order, tags: &str, exclude: &str) -> Rule {
        let globs = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Rule { tags: globs(tags), exclude: globs(exclude), order, ..Rule::default() }
    }

    fn found(rule: Rule, sample: &str) -> Vec<String> {
        let sample: Vec<_> = sample.split_whitespace().map(|text| Tag::new(text).unwrap()).collect();
        doubts(&Policy::new(&rule).unwrap(), &sample)
    }

    #[test]
    fn glob_written_as_a_regex_has_a_lint() {
        let regex = |sample: &str| found(rule(Order::Newest, "dev-.*", ""), sample);
        assert_eq!(regex(""), [r#"tags "dev-.*" is a glob, not a regex: did you mean "dev-*"?"#]);
        assert_eq!(
            regex("dev-1 dev-2 v1.0.0"),
            [
                "none of 3 tags matches, for example dev-1",
                r#"tags "dev-.*" is a glob, not a regex: "dev-*" matches 2 of them"#
            ]
        );
        assert_eq!(regex("dev-.1"), [""; 0]);
        for glob in ["v1.*", "*.*.*", "2024.*"] {
            assert_eq!(found(rule(Order::Newest, glob, ""), ""), [""; 0], "{glob}");
        }
    }

    #[test]
    fn probable_mistake_has_a_lint() {
        let captured = |order, regex: &str| Rule { regex: Some(regex.to_owned()), ..rule(order, "*", "") };
        let prerelease = |range: Option<&str>| Rule {
            prerelease: true,
            range: range.map(str::to_owned),
            ..rule(Order::Semver, "*", "")
        };
        for (rule, sample, doubt) in [
            (rule(Order::Alphabetical, "*", ""), "9 10", "alphabetical sorts 10 below 9: "),
            (
                rule(Order::Alphabetical, "*", ""),
                "v1.9.0 v1.10.0",
                "alphabetical sorts v1.10.0 below v1.9.0: ",
            ),
            (rule(Order::Alphabetical, "dev-*", ""), "dev-99 dev-100", "alphabetical sorts 100 below 99: "),
            (
                rule(Order::Alphabetical, "*", ""),
                "0123abc 89abcde latest",
                "0123abc looks like a commit hash",
            ),
            (
                rule(Order::Alphabetical, "*", ""),
                "main-0123abc main-89abcde",
                "main-0123abc looks like a commit hash",
            ),
            (
                rule(Order::Semver, "*", ""),
                "17.2 17.3 17.3.1",
                "semver cannot compare the sort key of 2 of 3 matching tags, for example \"17.2\": \
                 write order = \"numeric\"",
            ),
            (
                rule(Order::Semver, "*", ""),
                "main edge",
                "semver cannot compare the sort key of 2 of 2 matching tags, for example \"main\": \
                 write a regex",
            ),
            (
                rule(Order::Semver, "*", ""),
                "17.2 main",
                "semver cannot compare the sort key of 2 of 2 matching tags, for example \"17.2\": \
                 write a regex",
            ),
            (
                rule(Order::Numeric, "*", ""),
                "v1.2.3 v1.2.4",
                "numeric cannot compare the sort key of 2 of 2 matching tags, for example \"v1.2.3\": \
                 write order = \"semver\"",
            ),
            (
                captured(Order::Numeric, "(dev-[0-9]+)"),
                "dev-1 dev-2",
                "numeric cannot compare the capture of 2 of 2 matching tags, for example \"dev-1\": \
                 capture the number only",
            ),
            (
                captured(Order::Semver, "dev-([0-9]+)"),
                "dev-1 dev-2",
                "semver cannot compare the capture of 2 of 2 matching tags, for example \"1\": \
                 write order = \"numeric\"",
            ),
            (prerelease(None), "1.0.0-rc9 1.0.0-rc10", "semver sorts 1.0.0-rc10 below 1.0.0-rc9: "),
            (
                prerelease(Some(">=1, <3")),
                "",
                "the range includes prereleases of 3.0.0, which sort before it: write <3.0.0-0",
            ),
            (
                rule(Order::Semver, "*", ""),
                "1.2.3-alpine 1.2.4-alpine",
                "every matching version is a prerelease, for example 1.2.3-alpine",
            ),
            (
                rule(Order::Newest, "v1.* dev-*", "v*"),
                "",
                "exclude \"v*\" skips every tag that tags \"v1.*\" matches",
            ),
            (rule(Order::Newest, "prod-*", ""), "dev-1 dev-2", "none of 2 tags matches, for example dev-1"),
        ] {
            let found = found(rule, sample);
            assert!(found.len() == 1 && found[0].starts_with(doubt), "{sample}: {found:?}, not {doubt:?}");
            assert!(!found[0].contains('\n'));
        }
    }

    #[test]
    fn sound_rule_has_no_lint() {
        let prerelease =
            Rule { prerelease: true, range: Some("<3.0.0-0".to_owned()), ..rule(Order::Semver, "*", "") };
        for (rule, sample) in [
            (rule(Order::Newest, "*", ""), ""),
            (rule(Order::Newest, "*", "*-debug"), "9 10 0123abc 89abcde"),
            (rule(Order::Semver, "*", ""), "1.9.0 1.10.0 latest 1.10.0-rc9 1.10.0-rc10"),
            (rule(Order::Semver, "*-alpine", ""), "1.9.0-alpine 1.10.0-alpine"),
            (rule(Order::Semver, "*", ""), "1.9.0 v1.9.0"),
            (prerelease, "1.0.0 1.0.0-rc.9 1.0.0-rc.10"),
            (rule(Order::Numeric, "*", ""), "9 10 17.2 latest"),
            (rule(Order::Alphabetical, "*", ""), "2024-01-31 2024-12-01"),
            (rule(Order::Alphabetical, "*", ""), "09 10"),
            (rule(Order::Alphabetical, "*", ""), "20240131-0123abc 20240201-89abcde"),
            (rule(Order::Alphabetical, "*", ""), "alpha beta defaced"),
            (rule(Order::Alphabetical, "*", ""), "0123abc latest"),
            (rule(Order::Alphabetical, "*", ""), "a1 b2 c3"),
            (rule(Order::Alphabetical, "*", ""), "a1 2a"),
            (rule(Order::Alphabetical, "*", ""), "alpha1x beta2y gamma3z"),
        ] {
            assert_eq!(found(rule, sample), Vec::<String>::new(), "{sample}");
        }
    }
}
