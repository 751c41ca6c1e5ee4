//! The rules that `init` proposes for the tags of an image.

use super::*;
use crate::policy::{Policy, Rule};
use crate::reference::{ListedTag, Listing};

fn of(tags: &[&str]) -> Proposal {
    let tags: Vec<Tag> = tags.iter().map(|tag| Tag::new(tag).unwrap()).collect();
    propose(&tags)
}

/// `dev: dev-* numeric`
fn lines(proposal: &Proposal) -> Vec<String> {
    let line = |stage: &ProposedStage| {
        let mut line = format!("{}: {} {}", stage.name, stage.tags, stage.order);
        if !stage.exclude.is_empty() {
            line += &format!(" but {}", stage.exclude.join(" "));
        }
        if stage.prerelease {
            line += " with prereleases";
        }
        if let Some(regex) = stage.regex.as_ref().filter(|regex| regex.contains('(')) {
            line += &format!(" by {regex}");
        }
        line
    };
    let left = |left: &SkippedTags| {
        let tags: Vec<&str> = left.examples.iter().map(Tag::as_str).collect();
        format!("{:?}: {}", left.reason, tags.join(" "))
    };
    proposal.stages.iter().map(line).chain(proposal.skipped.iter().map(left)).collect()
}

#[test]
fn each_kind_of_tag_becomes_a_stage_with_the_order_that_fits() {
    let table: &[(&[&str], &[&str])] = &[
        (&["dev-41", "dev-42"], &["dev: dev-* numeric"]),
        (&["dev-41", "dev-42-fix"], &["dev: dev-* newest"]),
        (&["dev-3f2a9c1", "dev-abc1234"], &["dev: dev-* newest"]),
        (&["dev41", "dev42"], &["dev: dev* numeric"]),
        (&["v1.0.0", "v1.1.0", "latest"], &["prod: v* semver", "Moving: latest"]),
        (&["1.0.0", "1.1.0-rc.1"], &["prod: * semver"]),
        (&["v1.0.0-rc.1", "v1.0.0-rc.2"], &["prod: v* semver with prereleases"]),
        (&["v1.2.3", "v1.2", "v1"], &["prod: v* semver", "Moving: v1.2 v1"]),
        (
            &["v1.0.0-rc9", "v1.0.0-rc10"],
            &[r"prod: v* semver with prereleases by ^v(\d+\.\d+\.\d+(?:-[a-z]+)?)(\d+)?$"],
        ),
        (&["v1.0.0-rc9", "v1.0.0"], &["prod: v* semver"]),
        (&["v8.9.0-ls99", "v8.9.0-ls101"], &[r"prod: v* semver by ^v(\d+\.\d+\.\d+)-ls(\d+)$"]),
        (
            &["1.2.3", "1.2.3-r9", "1.2.3-r10", "1.2.3-alpine"],
            &[r"prod: * semver by ^(\d+\.\d+\.\d+)(?:-r(\d+))?$", "Variant: 1.2.3-alpine"],
        ),
        (&["v1.30.1-k3s2", "v1.30.1-k3s10"], &[r"prod: v* semver by ^v(\d+\.\d+\.\d+)-k3s(\d+)$"]),
        (&["1.2.3-hotfix2", "1.2.3-hotfix10"], &[r"prod: * semver by ^(\d+\.\d+\.\d+)-hotfix(\d+)$"]),
        (&["10.11-r9", "10.11-r10"], &[r"main: * numeric by ^(\d+\.\d+)-r(\d+)$"]),
        (&["1.2.3_7", "1.2.3_build.8"], &["prod: * semver"]),
        (&["1.2.3", "1.2.3_alpine"], &["prod: * semver but *_*", "Variant: 1.2.3_alpine"]),
        (&["1.2.3", "1.2.3-alpine", "1.2-alpine"], &["prod: * semver", "Variant: 1.2.3-alpine 1.2-alpine"]),
        (&["release-1.4.0", "release-1.5.0"], &["prod: release-* semver"]),
        (&["release-v1.4.0"], &["prod: release-v* semver"]),
        (&["shop-v1.4.0"], &["shop: shop-v* semver"]),
        (&["20240131", "20240201"], &["main: * numeric"]),
        (&["2024.10.1", "2024.9.30"], &["main: * numeric"]),
        (&["2025.08.05"], &["main: * numeric"]),
        (&["20.1.2"], &["prod: * semver"]),
        (&["1.2.3", "2024"], &["prod: * semver", "Moving: 2024"]),
        (&["1.2.3", "17-alpine", "1.x"], &["prod: * semver", "Odd: 17-alpine 1.x"]),
        (&["nightly-20240131-1530", "nightly-20240201-0100"], &["nightly: nightly-* numeric"]),
        (&["3f2a9c1", "0d91abc", "latest"], &["main: * newest", "Moving: latest"]),
        (&["sha-3f2a9c1"], &["sha: sha-* newest"]),
        (
            &["dev-1", "v1.0.0", "pr-7", "main", "sha256-00aa.sig"],
            &[
                "dev: dev-* numeric",
                "prod: v* semver",
                "Moving: main",
                "PullRequest: pr-7",
                "Signature: sha256-00aa.sig",
            ],
        ),
        // A stage that matches every tag excludes those of the others.
        (
            &["dev-42-fix", "dev-api-3", "dev-latest"],
            &[
                "dev: dev-* newest but dev-api-* dev-latest",
                "dev-api: dev-api-* numeric",
                "Moving: dev-latest",
            ],
        ),
        (&["1.0.0", "v1.0.0"], &["prod: * semver but v*", "prod-2: v* semver"]),
        (&["1.0.0", "V1.0.0"], &["prod: * semver but V*", "prod-2: V* semver"]),
        (&["20240131", "v7"], &["main: * numeric", "main-2: v* numeric"]),
        (
            &["1.0.0", "release-1.0.0", "v1.0.0"],
            &["prod: * semver but v*", "prod-2: release-* semver", "prod-3: v* semver"],
        ),
        (&["_1"], &["main: _* numeric"]),
        (&["latest"], &["Moving: latest"]),
        (&[], &[]),
    ];
    for (tags, expected) in table {
        assert_eq!(lines(&of(tags)), *expected, "{tags:?}");
    }
}

#[test]
fn skipped_tags_have_a_reason() {
    for (tags, why) in [
        (["v1.0.0", "latest"], "moving tags"),
        (["v1.0.0", "v1.0.0-alpine"], "variants of versions"),
        (["v1.0.0", "pr-7"], "tags of pull requests"),
        (["v1.0.0", "sha256-00aa.sig"], "signatures and attestations"),
        (["v1.0.0", "v7up"], "not comparable with the others"),
    ] {
        let left = of(&tags).skipped;
        assert!(left.len() == 1 && left[0].reason.to_string().starts_with(why), "{left:?}");
    }
}

#[test]
fn the_order_of_a_wanted_stage_is_guessed_from_its_glob() {
    for (glob, order) in [
        ("v*", Order::Semver),
        ("v1.*", Order::Semver),
        ("release-*", Order::Semver),
        ("release-v*", Order::Semver),
        ("*.*.*", Order::Semver),
        ("20*", Order::Numeric),
        ("dev-*", Order::Newest),
        ("*", Order::Newest),
        ("latest", Order::Newest),
    ] {
        assert_eq!(wanted("stage", glob, None).order, order, "{glob}");
    }
    assert_eq!(wanted("stage", "v*", Some(Order::Alphabetical)).order, Order::Alphabetical);
}

/// Whatever tags there are, every proposed rule is valid and has a candidate among them.
#[test]
fn proposed_rule_is_valid_and_matches_a_listed_tag() {
    use proptest::prelude::*;
    let tag = prop_oneof![
        "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}",
        "(dev-|v|release-|pr-|main_|)[0-9]{1,8}([._-][0-9a-f]{1,8}){0,3}",
        "(dev|latest|v|1\\.2)(-(alpine|rc|dev)[.0-9]{0,3})?",
    ];
    proptest!(|(texts in prop::collection::vec(tag, 0..12))| {
        let tags: Vec<Tag> = texts.iter().map(|text| Tag::new(text).unwrap()).collect();
        let proposal = propose(&tags);
        let listing = Listing { tags: tags.iter().cloned().map(ListedTag::named).collect(), ..Listing::default() };
        for stage in &proposal.stages {
            prop_assert!(crate::target::Name::new(&stage.name).is_ok(), "{stage:?}");
            let rule = Rule {
                tags: vec![stage.tags.clone()],
                exclude: stage.exclude.clone(),
                regex: stage.regex.clone(),
                order: stage.order,
                prerelease: stage.prerelease,
                ..Rule::default()
            };
            let policy = Policy::new(&rule);
            prop_assert!(policy.is_ok(), "{stage:?}: {policy:?}");
            prop_assert!(!policy.unwrap().select(&listing, &[]).candidates.is_empty(), "{stage:?} of {texts:?}");
        }
    });
}
