//! Filters: globs, expressions and versions, and the tags that match.

use super::*;

fn filter(tags: &[&str], exclude: &[&str], regex: Option<&str>) -> Result<Filter, InvalidRule> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut faults = Vec::new();
    let filter = Filter::new(&owned(tags), &owned(exclude), regex, &mut faults);
    if faults.is_empty() { Ok(filter) } else { Err(faults.remove(0)) }
}

fn first<'t>(filter: &Filter, tag: &'t str) -> Result<&'t str, Verdict> {
    filter.sort_text(tag).map(|text| text.first)
}

#[test]
fn sort_key_is_the_tag_without_the_literal_parts_of_the_glob() {
    for (globs, tag, key) in [
        ("*", "v1.2.3-alpine", "v1.2.3-alpine"),
        ("v1.*", "v1.2.3", "1.2.3"),
        ("v*", "v1.2.3", "1.2.3"),
        ("v*", "v", ""),
        ("release-*", "release-1.4.0", "1.4.0"),
        ("release-2.*", "release-2.4", "2.4"),
        ("2024.*", "2024.10.1", "2024.10.1"),
        ("v?.*", "v1.2", "1.2"),
        ("?1.*", "v1.2", "v1.2"),
        ("*-alpine", "17.2-alpine", "17.2"),
        ("*_alpine", "17.2_alpine", "17.2"),
        ("*--alpine", "17.2--alpine", "17.2"),
        ("*-alpine3.20", "17.2-alpine3.20", "17.2"),
        ("*.1-alpine", "17.1-alpine", "17.1"),
        ("*-2-alpine", "17-2-alpine", "17-2"),
        ("*alpine", "17.2-alpine", "17.2-"),
        ("*.0", "17.0", "17.0"),
        ("*-1", "17-1", "17-1"),
        ("*-", "17-", "17-"),
        ("build-*-amd64", "build-42-amd64", "42"),
        ("build-*-amd64", "build--amd64", ""),
        ("v*.*.*", "v1.2.3", "1.2.3"),
        ("**-alpine", "17-alpine", "17"),
        ("stable", "stable", "stable"),
        ("v1.2.3-alpine", "v1.2.3-alpine", "v1.2.3-alpine"),
    ] {
        assert_eq!(first(&filter(&[globs], &[], None).unwrap(), tag), Ok(key), "{globs} on {tag}");
    }
}

#[test]
fn glob_that_removes_most_makes_the_key() {
    for (globs, tag, key) in [
        (["*", "*-alpine"], "17.2-alpine", "17.2"),
        (["v*", "*-alpine"], "v17.2-alpine", "v17.2"),
        (["*-alpine", "v*-alpine"], "v17.2-alpine", "17.2"),
        (["dev-*", "release-*"], "release-7", "7"),
        (["v*", "*a"], "v1a", "1a"),
    ] {
        for globs in [globs, [globs[1], globs[0]]] {
            assert_eq!(first(&filter(&globs, &[], None).unwrap(), tag), Ok(key), "{globs:?} on {tag}");
        }
    }
}

#[test]
fn the_whole_tag_must_match_a_glob() {
    for (glob, tag, matches) in [
        ("dev-*", "dev-1", true),
        ("dev-*", "dev-", true),
        ("dev-*", "xdev-1", false),
        ("dev-*", "Dev-1", false),
        ("v?", "v1", true),
        ("v?", "v", false),
        ("v?", "v12", false),
        ("1.?.*", "1x2", false),
        ("*-*", "a-b", true),
        ("*a*b", "ab-ab", true),
        ("*a*b", "ab-ba", false),
        ("latest", "latest", true),
        ("latest", "latest2", false),
    ] {
        assert_eq!(filter(&[glob], &[], None).unwrap().sort_text(tag).is_ok(), matches, "{glob} on {tag}");
        let excluded =
            filter(&["*"], &[glob], None).unwrap().sort_text(tag) == Err(Verdict::Excluded(glob.into()));
        assert_eq!(excluded, matches, "exclude {glob} on {tag}");
    }
    assert_eq!(filter(&[], &[], None).unwrap().sort_text("v1"), Err(Verdict::NotMatched));
}

#[test]
fn glob_that_cannot_match_a_tag_is_an_error() {
    for glob in ["", "v[0-9]*", "{a,b}", "v1 ", "acme/*", "v1:*", "^v.*$", "1.0+*", "ä*", "-*", ".x"] {
        assert_eq!(filter(&[glob], &[], None).unwrap_err().key, "tags", "{glob}");
        assert_eq!(filter(&["*"], &[glob], None).unwrap_err().key, "exclude", "{glob}");
    }
}

#[test]
fn regex_is_always_anchored() {
    for (regex, tag, key) in [
        (r"^dev-(\d+)$", "dev-12", Some("12")),
        (r"dev-(\d+)", "dev-12", Some("12")),
        (r"dev-(\d+)", "dev-12-x", None),
        (r"dev-(\d+)", "xdev-12", None),
        (r"a|ab", "ab", Some("ab")),
        (r"dev|prod", "prod-1", None),
        (r"(?i)DEV-(\d+)", "dev-3", Some("3")),
        (r"(?m)^dev-\d+$", "dev-3", Some("dev-3")),
        ("(?x) dev- (\\d+) # the build", "dev-3", Some("3")),
        ("(?x) dev- (\\d+) # the build", "dev-3x", None),
        (r"main-(?P<time>\d+)-[0-9a-f]+", "main-17-ab12", Some("17")),
        (r"v(?:1|2)\..*", "v2.5", Some("v2.5")),
        (r"(\d+)?x", "x", Some("x")),
        (r"(\d*)x", "x", Some("")),
    ] {
        let found = first(&filter(&["*"], &[], Some(regex)).unwrap(), tag).ok();
        assert_eq!(found, key, "{regex} on {tag}");
    }
}

#[test]
fn glob_makes_the_key_if_the_capture_took_no_part() {
    let filter = filter(&["build-*"], &[], Some(r"build-.*?(?:-r(\d+))?")).unwrap();
    assert_eq!(first(&filter, "build-7-r12"), Ok("12"));
    assert_eq!(first(&filter, "build-7"), Ok("7"));
}

#[test]
fn further_captures_follow_the_first() {
    for (regex, tag, key, rest) in [
        (r"^v(\d+\.\d+\.\d+)-ls(\d+)$", "v8.9.0-ls101", "8.9.0", &["101"][..]),
        (r"v(\d+)(?:-r(\d+))?", "v8", "8", &[""]),
        (r"(?:v(\d+)|x(\d+))", "x8", "x8", &["8"]),
        (r"(\d+)-(\d+)-([a-z]+)", "1-2-b", "1", &["2", "b"]),
    ] {
        let filter = filter(&["*"], &[], Some(regex)).unwrap();
        let expected = SortText { first: key, further: rest.to_vec() };
        assert_eq!(filter.sort_text(tag), Ok(expected), "{regex} on {tag}");
    }
}

#[test]
fn signatures_match_only_a_glob_with_their_prefix() {
    let hex = "0a".repeat(32);
    let plain = format!("sha256-{hex}");
    let artifacts = ["", ".sig", ".att", ".sbom"].map(|kind| format!("{plain}{kind}"));
    for tag in &artifacts {
        for globs in [&["*"][..], &["sha*"], &["*.sig", "*"], &["?ha256-*", "*"]] {
            assert_eq!(
                first(&filter(globs, &[], None).unwrap(), tag),
                Err(Verdict::Artifact),
                "{globs:?} on {tag}"
            );
        }
        for globs in [&["sha256-*"][..], &["*", "sha256-*"], &[tag.as_str()]] {
            assert!(filter(globs, &[], None).unwrap().sort_text(tag).is_ok(), "{globs:?} on {tag}");
        }
    }
    let images =
        [format!("{plain}.tar"), format!("{plain}0"), format!("sha256-{}", &hex[1..]), "sha256-".into()];
    for tag in &images {
        assert_eq!(first(&filter(&["*"], &[], None).unwrap(), tag), Ok(tag.as_str()));
    }
}

#[test]
fn invalid_regex_is_an_error_in_one_line() {
    for (regex, message) in
        [("(", "unclosed group"), ("a)|(b", "unopened group"), ("(?x) a)|(b # x", "unopened group")]
    {
        let error = filter(&["*"], &[], Some(regex)).unwrap_err();
        assert_eq!((error.key, error.message.as_str()), ("regex", message), "{regex}");
    }
    let too_big = filter(&["*"], &[], Some("(?:a{1000}){1000}{1000}")).unwrap_err();
    assert!(!too_big.message.contains('\n'), "{too_big}");
}

#[test]
fn the_first_reason_is_given() {
    let filter = filter(&["v*"], &["*-debug", "v0*"], Some(r"v[\d.]+")).unwrap();
    for (tag, expected) in [
        ("v1.2", Ok("1.2")),
        ("x", Err(Verdict::NotMatched)),
        ("x-debug", Err(Verdict::NotMatched)),
        ("v1-debug", Err(Verdict::Excluded("*-debug".to_owned()))),
        ("v1-alpine", Err(Verdict::RegexMismatch)),
    ] {
        assert_eq!(first(&filter, tag), expected, "{tag}");
    }
}

#[test]
fn a_glob_covers_another_when_it_matches_all_of_it() {
    for (cover, covered, expected) in [
        ("*", "v*", true),
        ("*", "v1", true),
        ("v*", "v1.*", true),
        ("*-*", "v-*-x", true),
        ("*a*", "a", true),
        ("v1.*", "v*", false),
        ("?*", "*", false),
        ("??", "*", false),
        ("v?", "v*", false),
        ("v*", "v?", true),
        ("v?", "v?", true),
        ("v?", "v1", true),
        ("v1", "v?", false),
        ("*x", "*", false),
    ] {
        let covers = Glob::new("tags", cover).unwrap().covers(&Glob::new("tags", covered).unwrap());
        assert_eq!(covers, expected, "{cover} covers {covered}");
    }
}
