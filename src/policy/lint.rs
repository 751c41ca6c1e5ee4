//! Lints of rules: valid, but probably a mistake. For `check`, never for a poll.

use std::collections::BTreeMap;

use wildmatch::WildMatch;

use super::filter::SortText;
use super::proposal::is_hash;
use super::suggestion::{Suggestion, shape};
use super::{Candidate, Order, Policy, numeric, semver};
use crate::reference::{ListedTag, Tag};

/// One line for each probable mistake in a policy, with what to write instead. `sample`: some tags of its
/// repository; if empty, only the rule itself is checked. `place`: where these tags are, if not in the registry:
/// ` in the state`.
pub(crate) fn lints<'t>(policy: &Policy, sample: &'t [Tag], place: &str) -> Vec<String> {
    let mut lints: Vec<_> = policy
        .filter
        .covered()
        .map(|(glob, by)| format!("exclude \"{by}\" skips every tag that tags \"{glob}\" matches"))
        .collect();
    lints.extend(open_bound(policy));
    let key = |tag: &'t Tag| {
        let SortText { first, .. } = policy.filter.sort_text(tag.as_str()).ok()?;
        Some((tag.as_str(), first))
    };
    let keys: Vec<Keyed<'_>> = sample.iter().filter_map(key).collect();
    if sample.is_empty() {
        lints.extend(policy.filter.globs().find_map(|glob| {
            let meant = not_a_regex(glob).filter(|_| glob.contains("-.*") || glob.contains("_.*"))?;
            Some(format!("tags \"{glob}\" is a glob, not a regex: did you mean \"{meant}\"?"))
        }));
    } else if keys.is_empty() {
        lints.push(format!("none of {} tags{place} matches (such as {})", sample.len(), sample[0]));
        lints.extend(policy.filter.globs().find_map(|glob| {
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
            lints.extend(not_parsed(policy, &keys));
            lints.extend(prereleases_only(policy, &keys));
            lints.extend(one_version(policy, sample));
            lints.extend(numbers_in_disorder(policy, sample).map(|Disorder { lower, higher, instead }| {
                let instead = instead.map_or_else(
                    || "it compares a number only between dots, as in rc.10".to_owned(),
                    |instead| format!("write {}", instead.for_rule(policy)),
                );
                format!("semver sorts {higher} below {lower}: {instead}")
            }));
        }
        Order::Numeric => lints.extend(not_parsed(policy, &keys)),
        Order::Alphabetical => lints.extend(hashes(&keys).or_else(|| {
            let Disorder { lower, higher, instead } = numbers_in_disorder(policy, sample)?;
            let instead = instead.map_or_else(
                || "for numbers write order = \"numeric\" or \"semver\"".to_owned(),
                |instead| format!("write {}", instead.for_rule(policy)),
            );
            Some(format!("alphabetical sorts {higher} below {lower}: {instead}"))
        })),
    }
    lints
}

/// A tag that passes the filter, and its sort key.
type Keyed<'t> = (&'t str, &'t str);

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
fn not_parsed(policy: &Policy, keys: &[Keyed<'_>]) -> Option<String> {
    let other = if policy.order == Order::Semver { Order::Numeric } else { Order::Semver };
    let failing: Vec<_> = keys.iter().copied().filter(|(_, key)| !parses(policy.order, key)).collect();
    if failing.len() * 2 <= keys.len() {
        return None;
    }
    let what = if policy.filter.captures() { "capture" } else { "sort key" };
    let instead = if let Some(suggestion) = Suggestion::of_most(tags_of(&failing), &tags_of(&failing)) {
        format!("write {}", suggestion.for_rule(policy))
    } else if failing.iter().filter(|(_, key)| parses(other, key)).count() * 2 > failing.len() {
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
        failing[0].1,
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
fn prereleases_only(policy: &Policy, keys: &[Keyed<'_>]) -> Option<String> {
    let versions: Vec<_> =
        keys.iter().filter_map(|keyed| Some((*keyed, semver::Version::parse(keyed.1)?))).collect();
    let (_, first) = versions.first()?;
    let none_taken = !policy.prerelease && versions.iter().all(|(_, version)| version.is_prerelease());
    none_taken.then(|| {
        let tags: Vec<&str> = versions.iter().map(|((tag, _), _)| *tag).collect();
        let instead = match Suggestion::of_most(tags.iter().copied(), &tags)
            .filter(|suggestion| !suggestion.prerelease)
        {
            Some(suggestion) => format!("write {}", suggestion.for_rule(policy)),
            None => "write a glob such as \"*-alpine\" to remove a suffix, or prerelease = true".to_owned(),
        };
        format!("every matching version is a prerelease, for example {first}: {instead}")
    })
}

/// Two tags that are one version, because they differ only in the text after a `_`.
fn one_version(policy: &Policy, sample: &[Tag]) -> Option<String> {
    let mut candidates: Vec<Candidate> = candidates(policy, sample).collect();
    candidates.sort_by(|a, b| (&a.key, &a.listed.tag).cmp(&(&b.key, &b.listed.tag)));
    let build = |tag: &str| tag.split_once('_').map(|(_, build)| build.to_owned());
    let (one, other) = candidates.windows(2).find_map(|pair| {
        let (one, other) = (pair[0].listed.tag.as_str(), pair[1].listed.tag.as_str());
        (pair[0].key == pair[1].key && build(one) != build(other)).then_some((one, other))
    })?;
    let fact = format!(
        "semver takes {one} and {other} for one version, because Helm writes build metadata after a _"
    );
    if build(one).is_none() || build(other).is_none() {
        return Some(format!("{fact}: exclude = [\"*_*\"] keeps such tags out"));
    }
    let all: Vec<&str> = sample.iter().map(Tag::as_str).collect();
    let instead = Suggestion::of(&[one, other], &all)
        .filter(|found| found.puts_in_order(one, other) || found.puts_in_order(other, one))
        .filter(|_| shape(one) == shape(other))
        .map_or_else(|| "order = \"newest\"".to_owned(), |found| found.for_rule(policy));
    Some(format!("{fact}, so neither is newer: write {instead}"))
}

fn tags_of<'t>(keys: &[Keyed<'t>]) -> Vec<&'t str> {
    keys.iter().map(|(tag, _)| *tag).collect()
}

fn candidates(policy: &Policy, sample: &[Tag]) -> impl Iterator<Item = Candidate> {
    sample.iter().filter_map(|tag| policy.candidate(&ListedTag::named(tag.clone())))
}

/// Commit hashes have no order.
fn hashes(keys: &[Keyed<'_>]) -> Option<String> {
    let ends_in_hash = |key: &str| is_hash(key.rsplit(['-', '_', '.']).next().unwrap_or_default());
    // After a date or a number, a hash does not matter: the keys differ before it.
    let is_ranked =
        |key: &str| key.starts_with(|c: char| c.is_ascii_digit()) && key.contains(['-', '_', '.']);
    let hashes: Vec<_> =
        keys.iter().map(|(_, key)| *key).filter(|key| ends_in_hash(key) && !is_ranked(key)).collect();
    (hashes.len() * 2 > keys.len()).then(|| {
        format!("{} looks like a commit hash, and hashes have no order: write order = \"newest\"", hashes[0])
    })
}

/// Two candidates that differ only in their numbers, and that the policy sorts the other way round.
struct Disorder {
    /// The sort keys, by their numbers.
    lower: String,
    higher: String,
    /// The rule that puts them in order.
    instead: Option<Suggestion>,
}

fn numbers_in_disorder(policy: &Policy, sample: &[Tag]) -> Option<Disorder> {
    let mut alike: BTreeMap<String, Vec<(numeric::Sequence, Candidate)>> = BTreeMap::new();
    for candidate in candidates(policy, sample) {
        let text = candidate.key.to_string();
        let numbers: Vec<_> =
            text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
        if let Some(numbers) = numeric::Sequence::parse(&numbers.join(".")) {
            alike.entry(shape(&text)).or_default().push((numbers, candidate));
        }
    }
    alike.into_values().find_map(|mut keys| {
        keys.sort_by(|(a, one), (b, other)| (a, &one.key).cmp(&(b, &other.key)));
        let pair = keys.windows(2).find(|pair| pair[0].1.key > pair[1].1.key)?;
        let (lower, higher) = (&pair[0].1, &pair[1].1);
        let (lower_tag, higher_tag) = (lower.listed.tag.as_str(), higher.listed.tag.as_str());
        let higher_shape = shape(higher_tag);
        let all: Vec<&str> = sample.iter().map(Tag::as_str).collect();
        let alike: Vec<&str> = all.iter().copied().filter(|tag| shape(tag) == higher_shape).collect();
        let instead = Suggestion::of(&alike, &all).filter(|found| found.puts_in_order(lower_tag, higher_tag));
        Some(Disorder { lower: lower.key.to_string(), higher: higher.key.to_string(), instead })
    })
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
        lints(&Policy::new(&rule).unwrap(), &sample, " in the state")
    }

    #[test]
    fn glob_written_as_a_regex_has_a_lint() {
        let regex = |sample: &str| found(rule(Order::Newest, "dev-.*", ""), sample);
        assert_eq!(regex(""), [r#"tags "dev-.*" is a glob, not a regex: did you mean "dev-*"?"#]);
        assert_eq!(
            regex("dev-1 dev-2 v1.0.0"),
            [
                "none of 3 tags in the state matches (such as dev-1)",
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
        for (rule, sample, lint) in [
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
            (
                prerelease(None),
                "1.0.0-rc9 1.0.0-rc10 1.0.0",
                r"semver sorts 1.0.0-rc10 below 1.0.0-rc9: write regex = '^(\d+\.\d+\.\d+(?:-[a-z]+)?)(\d+)?$'",
            ),
            (
                rule(Order::Alphabetical, "*", ""),
                "v8.9.0-ls99 v8.9.0-ls101",
                r#"alphabetical sorts v8.9.0-ls101 below v8.9.0-ls99: write order = "semver" and regex = '^v(\d+\.\d+\.\d+)-ls(\d+)$'"#,
            ),
            (
                prerelease(None),
                "1.30.1-k3s2 1.30.1-k3s10",
                r"semver sorts 1.30.1-k3s10 below 1.30.1-k3s2: write regex = '^(\d+\.\d+\.\d+)-k3s(\d+)$'",
            ),
            (
                rule(Order::Semver, "v*", ""),
                "v1.2.3-hotfix2 v1.2.3-hotfix10",
                r"every matching version is a prerelease, for example 1.2.3-hotfix2: write regex = '^v(\d+\.\d+\.\d+)-hotfix(\d+)$'",
            ),
            (
                rule(Order::Numeric, "*", ""),
                "10.11-r9 10.11-r10",
                r#"numeric cannot compare the sort key of 2 of 2 matching tags, for example "10.11-r9": write regex = '^(\d+\.\d+)-r(\d+)$'"#,
            ),
            (
                rule(Order::Alphabetical, "*", ""),
                "1.0-rc9 1.0-rc10",
                r#"alphabetical sorts 1.0-rc10 below 1.0-rc9: write order = "numeric" and regex = '^(\d+\.\d+)-rc(\d+)$'"#,
            ),
            (
                rule(Order::Semver, "*", ""),
                "1.2.3 1.2.3_alpine",
                "semver takes 1.2.3 and 1.2.3_alpine for one version, ",
            ),
            (
                rule(Order::Semver, "*", ""),
                "1.2.3_b9 1.2.3_b10",
                r"semver takes 1.2.3_b10 and 1.2.3_b9 for one version, because Helm writes build metadata after a _, so neither is newer: write regex = '^(\d+\.\d+\.\d+)_b(\d+)$'",
            ),
            (
                rule(Order::Semver, "v*", ""),
                "v1.2.3_5c1f0a2 v1.2.3_9d0b7e4",
                "semver takes v1.2.3_5c1f0a2 and v1.2.3_9d0b7e4 for one version, because Helm writes build metadata after a _, so neither is newer: write order = \"newest\"",
            ),
            (
                rule(Order::Numeric, "*", ""),
                "2024.1.1-ls9 2024.1.1-ls10",
                r#"numeric cannot compare the sort key of 2 of 2 matching tags, for example "2024.1.1-ls9": write order = "semver" and regex = '^(\d+\.\d+\.\d+)-ls(\d+)$'"#,
            ),
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
            (
                rule(Order::Newest, "prod-*", ""),
                "dev-1 dev-2",
                "none of 2 tags in the state matches (such as dev-1)",
            ),
        ] {
            let found = found(rule, sample);
            assert!(found.len() == 1 && found[0].starts_with(lint), "{sample}: {found:?}, not {lint:?}");
            assert!(!found[0].contains('\n'));
        }
    }

    #[test]
    fn sound_rule_has_no_lint() {
        let prerelease =
            Rule { prerelease: true, range: Some("<3.0.0-0".to_owned()), ..rule(Order::Semver, "*", "") };
        let captured = |order, regex: &str| Rule { regex: Some(regex.to_owned()), ..rule(order, "*", "") };
        for (rule, sample) in [
            (rule(Order::Newest, "*", ""), ""),
            (rule(Order::Newest, "*", "*-debug"), "9 10 0123abc 89abcde"),
            (rule(Order::Semver, "*", ""), "1.9.0 1.10.0 latest 1.10.0-rc9 1.10.0-rc10"),
            (rule(Order::Semver, "*-alpine", ""), "1.9.0-alpine 1.10.0-alpine"),
            (rule(Order::Semver, "*", ""), "1.9.0 v1.9.0"),
            (prerelease, "1.0.0 1.0.0-rc.9 1.0.0-rc.10"),
            (captured(Order::Semver, r"v(\d+\.\d+\.\d+)-ls(\d+)"), "v8.9.0-ls99 v8.9.0-ls101 v8.10.0-ls1"),
            (captured(Order::Semver, r"(\d+\.\d+\.\d+)(?:-r(\d+))?"), "1.2.3 1.2.3-r9 1.2.3-r10"),
            (rule(Order::Semver, "*", ""), "1.2.2_build.9 1.2.3_build.10"),
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
