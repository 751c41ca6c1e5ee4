//! Which tag is the newest, for sets of tags from real registries.

use super::*;
use crate::reference::{Listing, Tag};

/// The rule, the tags (`tag@second#sequence` with a push time), and the newest one.
type Case = (Rule, &'static str, Option<&'static str>);

fn rule(order: Order, tags: &str) -> Rule {
    Rule { tags: tags.split(' ').map(str::to_owned).collect(), order, ..Rule::default() }
}
fn semver(tags: &str) -> Rule {
    rule(Order::Semver, tags)
}
fn numeric(tags: &str) -> Rule {
    rule(Order::Numeric, tags)
}
fn alphabetical(tags: &str) -> Rule {
    rule(Order::Alphabetical, tags)
}
fn newest(tags: &str) -> Rule {
    rule(Order::Newest, tags)
}

impl Rule {
    fn exclude(self, globs: &str) -> Rule {
        Rule { exclude: globs.split(' ').map(str::to_owned).collect(), ..self }
    }
    fn regex(self, regex: &str) -> Rule {
        Rule { regex: Some(regex.to_owned()), ..self }
    }
    fn range(self, range: &str) -> Rule {
        Rule { range: Some(range.to_owned()), ..self }
    }
    fn prerelease(self) -> Rule {
        Rule { prerelease: true, ..self }
    }
}

fn listed(text: &str) -> ListedTag {
    let (text, sequence) = text.split_once('#').map_or((text, None), |(text, id)| (text, id.parse().ok()));
    let (text, second) = text.split_once('@').map_or((text, None), |(text, at)| (text, at.parse().ok()));
    let pushed_at = second.map(|second| jiff::Timestamp::from_second(second).unwrap());
    ListedTag { pushed_at, sequence, ..ListedTag::named(Tag::new(text).unwrap()) }
}

fn choose(rule: &Rule, tags: &[&str]) -> Option<String> {
    let policy = Policy::new(rule).unwrap();
    let tags = tags.iter().map(|text| listed(text)).collect();
    let selection = policy.select(&Listing { tags, ..Listing::default() }, &[]);
    selection.newest().map(|newest| newest.listed.tag.to_string())
}

fn check(choices: Vec<Case>) {
    for (rule, tags, expected) in choices {
        let mut tags: Vec<_> = tags.split_whitespace().collect();
        for _ in 0..2 {
            assert_eq!(choose(&rule, &tags).as_deref(), expected, "{rule:?} of {tags:?}");
            tags.reverse();
        }
    }
}

#[test]
fn semver_choices() {
    check(vec![
        (semver("*"), "", None),
        (semver("*"), "latest main edge", None),
        (semver("*"), "1.9.0 1.10.0 1.2.0", Some("1.10.0")),
        (semver("*"), "v1.9.0 1.10.0 v1.2.0", Some("1.10.0")),
        (semver("v*"), "v1.9.0 1.10.0 v1.2.0", Some("v1.9.0")),
        (semver("*"), "V2.0.0 v1.0.0 1.5.0", Some("V2.0.0")),
        // Equal keys: the tag's bytes decide.
        (semver("*"), "1.0.0 v1.0.0", Some("v1.0.0")),
        (semver("*"), "V1.0.0 v1.0.0 1.0.0", Some("v1.0.0")),
        // Dates beside versions: a date is not semver when it has a leading zero, but `2021.12.16` is.
        (semver("*"), "2021.12.16 10.11.4 10.11.5", Some("2021.12.16")),
        (semver("*").range("<2000"), "2021.12.16 10.11.4 10.11.5", Some("10.11.5")),
        (semver("*").exclude("20??.*"), "2021.12.16 10.11.4", Some("10.11.4")),
        (semver("*"), "2025.08.05 1.2.3", Some("1.2.3")),
        (semver("*"), "20240131 1.2.3", Some("1.2.3")),
        // Versions are not coerced.
        (semver("*"), "17-alpine 17.2-alpine 17", None),
        (semver("*"), "1.20 1.20.0 1.21", Some("1.20.0")),
        (semver("*"), "1.2.3.4 1.2.2", Some("1.2.2")),
        (semver("*"), "v1 v1.2 v1.2.3", Some("v1.2.3")),
        (semver("*"), "01.2.3 1.1.9", Some("1.1.9")),
        (semver("*"), "18446744073709551616.0.0 1.0.0", Some("1.0.0")),
        (semver("*"), "18446744073709551615.0.0 1.0.0", Some("18446744073709551615.0.0")),
        (semver("*"), "latest sha256-0123abcd.sig sha256-0123abcd.att 1.0.0 9.9.9.sig", Some("1.0.0")),
        // Prereleases, without prerelease = true.
        (semver("*"), "1.0.0 1.1.0-rc.1 1.1.0-beta", Some("1.0.0")),
        (semver("*"), "2.0.0-rc.1", None),
        (semver("*"), "1.2.3 1.2.4-alpine", Some("1.2.3")),
        (semver("*"), "1.2.3 1.3.0-20240131", Some("1.2.3")),
        (semver("*").prerelease(), "1.0.0 1.1.0-rc.1 1.1.0-beta", Some("1.1.0-rc.1")),
        (semver("*").prerelease(), "1.1.0 1.1.0-rc.1", Some("1.1.0")),
        (semver("*").prerelease(), "1.1.0-rc.9 1.1.0-rc.10", Some("1.1.0-rc.10")),
        (semver("*").prerelease(), "1.1.0-rc9 1.1.0-rc10", Some("1.1.0-rc9")),
        (semver("*").prerelease(), "1.1.0-alpha.1 1.1.0-alpha 1.1.0-1", Some("1.1.0-alpha.1")),
        (semver("*").prerelease(), "1.1.0-RC.1 1.1.0-rc.1 1.1.0-beta", Some("1.1.0-rc.1")),
        // The literal parts of the glob do not belong to the version.
        (semver("*-alpine"), "1.2.3-alpine 1.10.0-alpine 2.0.0 2.0.0-slim", Some("1.10.0-alpine")),
        (semver("*-alpine"), "1.2.3-rc.1-alpine 1.2.2-alpine", Some("1.2.2-alpine")),
        (semver("release-*"), "release-1.4.0 release-1.10.0 release-next 2.0.0", Some("release-1.10.0")),
        (semver("v1.*"), "v1.9.0 v1.10.0 v2.0.0 v10.0.0", Some("v1.10.0")),
        (semver("1.2.*"), "1.2.9 1.2.10 1.20.0 1.3.0", Some("1.2.10")),
        (semver("* *-alpine"), "1.2.3 1.2.4-alpine 1.2.4-slim", Some("1.2.4-alpine")),
        (semver("app-v*"), "app-v1.0.0 app-v1.0.1 web-v2.0.0", Some("app-v1.0.1")),
        (semver("1.2.3 1.2.4"), "1.2.3 1.2.4 1.2.5", Some("1.2.4")),
        // Ranges.
        (semver("v*").range(">=1.2, <3"), "v1.1.0 v1.2.0 v2.9.9 v3.0.0", Some("v2.9.9")),
        (semver("*").range("1.2"), "1.1.9 1.2.0 1.9.0 2.0.0", Some("1.9.0")),
        (semver("*").range("~1.2"), "1.1.9 1.2.0 1.2.7 1.9.0", Some("1.2.7")),
        (semver("*").range("=1.2.3"), "1.2.2 1.2.3 1.2.4", Some("1.2.3")),
        (semver("*").range("^0.3"), "0.2.9 0.3.0 0.3.8 0.4.0 1.0.0", Some("0.3.8")),
        (semver("*").range(">=5"), "1.0.0 4.9.9", None),
        (semver("*").range(">=1.2, <3"), "2.0.0 2.1.0-rc.1", Some("2.0.0")),
        (semver("*").range(">=1.2, <3").prerelease(), "2.0.0 2.1.0-rc.1", Some("2.1.0-rc.1")),
        (semver("*").range(">=1.2, <3").prerelease(), "2.0.0 3.0.0-rc.1 3.0.0", Some("3.0.0-rc.1")),
        (semver("*").range(">=1.2, <3.0.0-0").prerelease(), "2.0.0 3.0.0-rc.1 3.0.0", Some("2.0.0")),
        (semver("*").range("^1.2").prerelease(), "1.2.0 1.3.0-rc.1 2.0.0-rc.1", Some("1.3.0-rc.1")),
        (semver("*").range(">=1.2").prerelease(), "1.2.0-rc.1", None),
        (
            semver("*").regex(r"v?(\d+\.\d+\.\d+)-ubuntu"),
            "1.2.0-ubuntu v1.10.0-ubuntu 2.0.0",
            Some("v1.10.0-ubuntu"),
        ),
    ]);
}

#[test]
fn numeric_choices() {
    check(vec![
        (numeric("*"), "", None),
        (numeric("*"), "9 10 8", Some("10")),
        (numeric("*"), "099 98 0100", Some("0100")),
        (numeric("*"), "7 07 007", Some("7")),
        (numeric("*"), "1.20 1.20.0", Some("1.20.0")),
        (numeric("*"), "1.20 1.20.0 1.21", Some("1.21")),
        (numeric("*"), "1.2.3.4 1.2.3.10 1.2.3", Some("1.2.3.10")),
        (numeric("*"), "8.0.100.1 8.0.20.9", Some("8.0.100.1")),
        (numeric("*"), "2021.12.16 10.11.4 10.11.5", Some("2021.12.16")),
        (numeric("*"), "2025.08.05 2025.8.10 2025.07.31", Some("2025.8.10")),
        (numeric("2024.*"), "2024.9.30 2024.10.1 2025.1.1 2023.12.31", Some("2024.10.1")),
        (numeric("*"), "20240131-1530 20240131-0900 20240130-2359", Some("20240131-1530")),
        (numeric("*"), "20240131_1 20240131.2 20240131-3", Some("20240131-3")),
        (numeric("*"), "18446744073709551616 18446744073709551615 99", Some("18446744073709551616")),
        (
            numeric("build-*"),
            "build-340282366920938463463374607431768211456 build-340282366920938463463374607431768211455 build-9",
            Some("build-340282366920938463463374607431768211456"),
        ),
        (numeric("*"), "latest main sha256-0123.sig 3 12", Some("12")),
        (numeric("*"), "v1 v2", None),
        (numeric("v*"), "v1 v2 v10 3", Some("v10")),
        (numeric("*-alpine"), "17-alpine 17.2-alpine 9.6-alpine 18", Some("17.2-alpine")),
        (numeric("*"), "17-alpine 17.2-alpine 16", Some("16")),
        (numeric("dev-* *"), "dev-41 42 dev-43 v44", Some("dev-43")),
        (numeric("dev-*").exclude("*-debug"), "dev-1 dev-2-debug dev-2", Some("dev-2")),
        (
            numeric("*").regex(r"main-[0-9a-f]{7,40}-(\d+)"),
            "main-aaaaaaa-1700 main-0bbbbbb-1800 main-ffffff9-999",
            Some("main-0bbbbbb-1800"),
        ),
        (numeric("main-*").regex(r"^main-(\d+)-.*$"), "main-10-b main-9-a main-x-1", Some("main-10-b")),
    ]);
}

#[test]
fn alphabetical_choices() {
    check(vec![
        (alphabetical("*"), "", None),
        (alphabetical("*"), "9 10", Some("9")),
        (alphabetical("*"), "alpha Beta gamma", Some("gamma")),
        (alphabetical("*"), "Zeta alpha", Some("alpha")),
        (alphabetical("*"), "A a", Some("a")),
        (alphabetical("2024-*"), "2024-01-31 2024-12-01 2025-01-01", Some("2024-12-01")),
        (
            alphabetical("RELEASE.*"),
            "RELEASE.2024-01-31T20-20-33Z RELEASE.2023-12-23T07-19-11Z latest",
            Some("RELEASE.2024-01-31T20-20-33Z"),
        ),
        (alphabetical("*-amd64"), "a-amd64 a-b-amd64 c", Some("a-b-amd64")),
        (alphabetical("stable beta"), "stable beta latest", Some("stable")),
        (alphabetical("*").regex("x-(.).*"), "x-a9 x-b0 x-b1", Some("x-b1")),
    ]);
}

#[test]
fn newest_choices() {
    check(vec![
        (newest("*"), "", None),
        (newest("dev-*"), "dev-1@10 dev-2@30 dev-3@20 latest@99", Some("dev-2")),
        (newest("*"), "a@10#1 b@10#2", Some("b")),
        (newest("*"), "a@10#10 b@10#9", Some("a")),
        (newest("*"), "a@11#1 b@10#2", Some("a")),
        (newest("*"), "a@10 b@10", Some("b")),
        (newest("*"), "a@10#5 b@10", Some("a")),
        (newest("*"), "z a@1", Some("a")),
        (newest("*"), "z y x", Some("z")),
        (newest("*"), "z#1 a#2", Some("a")),
        (newest("*").exclude("latest sha256-*"), "v1@1 latest@3 sha256-00.sig@4 v2@2", Some("v2")),
        (
            newest("main-*").regex("main-[0-9a-f]{7}"),
            "main-0123abc@1 main-nightly@9 main-89abcde@2",
            Some("main-89abcde"),
        ),
        (newest("release-*"), "dev-1@1 dev-2@2", None),
        (newest("*").regex("v(.*)"), "v9@1 v1@2", Some("v1")),
    ]);
}

#[test]
fn several_captures_are_compared_in_order() {
    let revisions = || semver("*").regex(r"^v(\d+\.\d+\.\d+)-ls(\d+)$");
    let optional = || semver("*").regex(r"(\d+\.\d+\.\d+)(?:-r(\d+))?");
    let rc = || semver("*").prerelease().regex(r"(\d+\.\d+\.\d+(?:-[a-z]+)?)(\d+)?");
    let three = || numeric("*").regex(r"(\d+)-([a-z0-9]+)-(\d+)");
    check(vec![
        (revisions(), "v8.9.0-ls99 v8.9.0-ls101 v8.8.0-ls200", Some("v8.9.0-ls101")),
        (revisions(), "v8.9.0-ls99 v8.10.0-ls1 v8.9.0", Some("v8.10.0-ls1")),
        (revisions(), "v8.9.0-ls007 v8.9.0-ls7", Some("v8.9.0-ls7")),
        (optional(), "1.2.3 1.2.3-r9 1.2.3-r10", Some("1.2.3-r10")),
        (optional(), "1.2.3-r10 1.2.4", Some("1.2.4")),
        (rc(), "1.0.0-rc9 1.0.0-rc10 1.0.0-beta11", Some("1.0.0-rc10")),
        (rc(), "1.0.0-rc10 1.0.0", Some("1.0.0")),
        (three(), "1-9-1 1-10-0 1-a-0", Some("1-a-0")),
        (three(), "1-9-1 1-10-0 0-a-9", Some("1-10-0")),
        // A total order: numbers come before text that begins with a digit.
        (three(), "1-9-0 1-10-0 1-1a-0", Some("1-1a-0")),
        (three(), "1-10-9 1-10-10", Some("1-10-10")),
        (alphabetical("*").regex("([a-z]+)([0-9]+)"), "b9 b10 a99", Some("b10")),
        // Captures do not change the push time.
        (newest("*").regex("([a-z]+)([0-9]+)"), "b9@1 b10@1 a1@2", Some("a1")),
    ]);
}

#[test]
fn helm_build_metadata_after_an_underscore_is_ignored() {
    check(vec![
        (semver("*"), "1.2.3_build 1.2.4_1 1.2.4-rc.1_9", Some("1.2.4_1")),
        (semver("*"), "1.2.3_9 1.2.3_10", Some("1.2.3_9")),
        (semver("*"), "1.2.3_a_b 1.2.2", Some("1.2.2")),
        (semver("*").range("<1.3"), "1.2.3_build 1.3.0_build", Some("1.2.3_build")),
    ]);
}

#[test]
fn tie_is_selected_but_never_newer() {
    for (rule, tie) in [
        (semver("*"), "1.0.0 v1.0.0"),
        (semver("*-alpine *"), "1.0.0 1.0.0-alpine"),
        (numeric("*"), "7 07"),
        (numeric("*"), "1.2 1-2"),
        (newest("*"), "a@1#1 b@1#1"),
        (newest("*"), "a b"),
        (alphabetical("*-x *-y"), "a-x a-y"),
        (numeric("*").regex("[ab]([0-9]+)"), "a1 b1"),
    ] {
        let policy = Policy::new(&rule).unwrap();
        let (left, right) = tie.split_once(' ').unwrap();
        let [left, right] = [left, right].map(|text| policy.candidate(&listed(text)).unwrap());
        assert!(!left.is_newer_than(&right) && !right.is_newer_than(&left), "{tie}");
    }
}

#[test]
fn every_verdict_says_why() {
    let semver = semver("v*").exclude("*-debug").regex("v[0-9].*").range("<3");
    for (rule, tag, reason) in [
        (&semver, "v1.2.3", "key 1.2.3"),
        (&semver, "latest", "matches no glob of tags"),
        (&semver, "v1-debug", "excluded by *-debug"),
        (&semver, "vx", "does not match the regex"),
        (&semver, "v1.2", "the order cannot compare 1.2"),
        (&semver, "v3.0.0", "outside the range"),
        (&semver, "v2.0.0-rc.1", "a prerelease"),
        (&numeric("v*"), "v", "its sort key is empty"),
        (&numeric("*"), "2024-01", "key 2024.1"),
        (&newest("*"), "a@0#3", "key 1970-01-01T00:00:00Z #3"),
        (&alphabetical("*-x"), "a-x", "key a"),
    ] {
        let policy = Policy::new(rule).unwrap();
        assert_eq!(policy.judge(&listed(tag)).to_string(), reason, "{tag}");
    }
}

#[test]
fn invalid_rule_names_its_key() {
    for (rule, keys) in [
        (newest("*").range(">=1"), "range"),
        (numeric("*").prerelease(), "prerelease"),
        (alphabetical("*").range(">=1").prerelease(), "range prerelease"),
        (semver("*").range("latest"), "range"),
        (newest("*").range("latest"), "range"),
        (newest("*").regex("("), "regex"),
        (newest("*").regex("(a)(b"), "regex"),
        (newest("a/b *").exclude("[a]").regex("("), "tags exclude regex"),
    ] {
        let faults = Policy::new(&rule).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.key).collect::<Vec<_>>().join(" "), keys, "{rule:?}");
    }
}

#[test]
fn rule_text_is_equal_for_equal_rules_only() {
    let text = |rule: &Rule| Policy::new(rule).unwrap().rule_text();
    for (left, right) in [
        (semver("v* *-alpine"), semver("*-alpine v*")),
        (semver("v* v*"), semver("v*")),
        (semver("v**"), semver("v*")),
        (semver("*").exclude("a b"), semver("*").exclude("b a")),
        (semver("*").range(">=1.2,<3"), semver("*").range("<3, >=1.2")),
        (semver("*").range("1.2"), semver("*").range("^1.2")),
        (semver("*").range("*"), semver("*")),
    ] {
        assert_eq!(text(&left), text(&right));
    }
    let different = [
        semver("*"),
        numeric("*"),
        newest("*"),
        alphabetical("*"),
        semver("v*"),
        semver("v* x"),
        semver("v*").exclude("x"),
        semver("*").exclude("v*"),
        semver("*").regex("v*"),
        semver("*").regex("(v)*"),
        semver("*").regex("a\" order=newest"),
        semver("*").regex(r#"a\" order=newest"#),
        semver("*").range("1"),
        semver("*").range("~1"),
        semver("*").prerelease(),
        semver("*").range("1").prerelease(),
    ];
    for (index, left) in different.iter().enumerate() {
        assert!(!text(left).contains('\n'));
        for right in &different[..index] {
            assert_ne!(text(left), text(right));
        }
    }
    let full = semver("v* *-x").exclude("b a").regex(r"v(\d.*)").range("<3,>=1").prerelease();
    assert_eq!(
        text(&full),
        r#"tags="*-x","v*" exclude="a","b" regex="v(\\d.*)" order=semver range="<3, >=1" prerelease=true"#
    );
}

#[test]
fn only_semver_candidates_have_a_distance() {
    for (rule, from, to, distance) in [
        (semver("v*"), "v1.2.3", "v1.3.0", Some(Bump::Minor)),
        (semver("v*"), "v2.0.0", "v1.3.0", Some(Bump::Major)),
        (numeric("*"), "1.2.3", "1.3.0", None),
    ] {
        let policy = Policy::new(&rule).unwrap();
        let [from, to] = [from, to].map(|text| policy.candidate(&listed(text)).unwrap());
        assert_eq!(policy.distance(&from, &to), distance);
    }
}
