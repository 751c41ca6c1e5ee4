//! Properties of every rule and every set of tags. `PROPTEST_CASES` sets how many are tried (256).

use std::cmp::Ordering;
use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::select::CANDIDATES_KEPT;
use super::*;
use crate::reference::{Listing, Tag};

/// A few distinct tags that often collide: equal keys, prefixes of each other, near misses.
fn tag() -> impl Strategy<Value = String> {
    let number = || select(vec!["0", "00", "1", "01", "2", "9", "10", "18446744073709551616"]);
    prop_oneof![
        (
            select(vec!["", "v", "V", "dev-"]),
            number(),
            number(),
            number(),
            select(vec!["", "-rc.1", "-rc.10", "-rc9", "-x"])
        )
            .prop_map(|(prefix, a, b, c, suffix)| format!("{prefix}{a}.{b}.{c}{suffix}")),
        (
            number(),
            select(vec![".", "-", "_"]),
            number(),
            select(vec!["", "-x", ".sig", "-ls9", "-ls10", "-ls1a"])
        )
            .prop_map(|(a, separator, b, suffix)| format!("{a}{separator}{b}{suffix}")),
        (select(vec!["", "v", "dev-"]), number()).prop_map(|(prefix, a)| format!("{prefix}{a}")),
        "[a-cA-C0-2_][a-c0-2._-]{0,4}",
    ]
}

fn row() -> impl Strategy<Value = ListedTag> {
    (tag(), prop::option::of(0..3_i64), prop::option::of(0..3_i64)).prop_map(|(tag, second, sequence)| {
        ListedTag {
            pushed_at: second.map(|second| jiff::Timestamp::from_second(second).unwrap()),
            sequence,
            ..ListedTag::named(Tag::new(&tag).unwrap())
        }
    })
}

fn rows() -> impl Strategy<Value = Vec<ListedTag>> {
    // Rarely more than a selection buffers.
    prop_oneof![15 => prop::collection::vec(row(), 0..20), 1 => prop::collection::vec(row(), 400..800)]
}

fn policy() -> impl Strategy<Value = Policy> {
    let globs = select(vec![vec!["*"], vec!["v*", "*-x"], vec!["*", "v*", "dev-*"], vec!["1*", "?.*"]]);
    let order = select(vec![Order::Newest, Order::Semver, Order::Numeric, Order::Alphabetical]);
    let regex = select(vec![
        None,
        None,
        Some("(?:dev-|v)?([0-9.]+).*"),
        Some("[^x]*"),
        Some("(a)?.*"),
        Some("(?:dev-|v)?([0-9.]+)(?:-([a-z0-9.]+))?"),
        Some("(.)(.?)(.*)"),
        Some("([^.]*)[.]?([0-9]*)(.*)"),
    ]);
    let range = select(vec![None, None, Some(">=1, <10"), Some("~1.1")]);
    (globs, select(vec![vec![], vec!["*.sig"]]), order, regex, range, any::<bool>()).prop_map(
        |(tags, exclude, order, regex, range, prerelease)| {
            let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
            let is_semver = order == Order::Semver;
            Policy::new(&Rule {
                tags: owned(tags),
                exclude: owned(exclude),
                order,
                regex: regex.map(str::to_owned),
                range: range.filter(|_| is_semver).map(str::to_owned),
                prerelease: prerelease && is_semver,
            })
            .unwrap()
        },
    )
}

fn chosen(policy: &Policy, tags: Vec<ListedTag>) -> Vec<Candidate> {
    policy.select(&Listing { tags, ..Listing::default() }, &[]).candidates
}

/// The expected selection: every candidate sorted, each tag once.
fn sorted(policy: &Policy, tags: &[ListedTag]) -> Vec<Candidate> {
    let mut candidates: Vec<_> = tags.iter().filter_map(|listed| policy.candidate(listed)).collect();
    candidates
        .sort_by(|a, b| b.key.cmp(&a.key).then_with(|| b.listed.tag.as_str().cmp(a.listed.tag.as_str())));
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.iter().all(|other| other.listed.tag != candidate.listed.tag) {
            kept.push(candidate);
        }
    }
    kept.truncate(CANDIDATES_KEPT);
    kept
}

/// How two selections are compared: rows of one tag with equal keys may differ in fields that no order reads.
fn places(candidates: &[Candidate]) -> Vec<(&Tag, &SortKey)> {
    candidates.iter().map(|candidate| (&candidate.listed.tag, &candidate.key)).collect()
}

proptest! {
    #[test]
    fn every_order_is_total(policy in policy(), rows in prop::collection::vec(row(), 3..12)) {
        let candidates = rows.iter().filter_map(|row| policy.candidate(row));
        let keys: Vec<_> = candidates.map(|found| found.key).collect();
        for a in &keys {
            prop_assert_eq!(a.cmp(a), Ordering::Equal);
            for b in &keys {
                prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
                prop_assert_eq!(a.cmp(b) == Ordering::Equal, a == b);
                prop_assert_eq!(a == b, a.to_string() == b.to_string(), "{} and {}", a, b);
                for c in &keys {
                    prop_assert!(!(a <= b && b <= c) || a <= c, "{} <= {} <= {}", a, b, c);
                }
            }
        }
    }

    #[test]
    fn selection_is_the_head_of_all_sorted_candidates(policy in policy(), rows in rows()) {
        let expected = sorted(&policy, &rows);
        let found = chosen(&policy, rows);
        prop_assert_eq!(places(&found), places(&expected));
    }

    #[test]
    fn neither_the_listing_s_order_nor_repetition_matters(
        policy in policy(),
        rows in rows(),
        repeated in prop::collection::vec(any::<Index>(), 0..20),
        moves in prop::collection::vec(any::<Index>(), 0..100),
    ) {
        let expected = policy.select(&Listing { tags: rows.clone(), ..Listing::default() }, &[]);
        let mut shuffled = rows.clone();
        if !rows.is_empty() {
            shuffled.extend(repeated.iter().map(|index| index.get(&rows).clone()));
            let length = shuffled.len();
            for (from, to) in moves.iter().enumerate() {
                shuffled.swap(from % length, to.index(length));
            }
        }
        prop_assert_eq!(policy.select(&Listing { tags: shuffled, ..Listing::default() }, &[]), expected);
    }

    #[test]
    fn tags_that_do_not_match_change_nothing(policy in policy(), rows in rows(), more in rows()) {
        let before = policy.select(&Listing { tags: rows.clone(), ..Listing::default() }, &[]);
        let mut tags: Vec<_> = more.into_iter().filter(|row| policy.candidate(row).is_none()).collect();
        tags.extend(rows);
        let after = policy.select(&Listing { tags, ..Listing::default() }, &[]);
        prop_assert_eq!(after.candidates, before.candidates);
    }

    #[test]
    fn newest_of_a_union_is_the_newest_of_the_parts(
        policy in policy(),
        left in rows(),
        right in rows(),
    ) {
        let newest = |rows: &[ListedTag]| {
            chosen(&policy, rows.to_vec()).into_iter().next().map(|found| found.listed)
        };
        let finalists: Vec<_> = newest(&left).into_iter().chain(newest(&right)).collect();
        let union: Vec<_> = left.into_iter().chain(right).collect();
        prop_assert_eq!(newest(&union), newest(&finalists));
    }

    #[test]
    fn candidate_is_newer_exactly_if_it_sorts_first(
        policy in policy(),
        a in row(),
        b in row(),
    ) {
        if let (Some(left), Some(right)) = (policy.candidate(&a), policy.candidate(&b)) {
            let found = chosen(&policy, vec![a, b]);
            let (newer, other) = if found[0].key == left.key { (&left, &right) } else { (&right, &left) };
            prop_assert_eq!(newer.is_newer_than(other), newer.key != other.key);
            prop_assert!(!other.is_newer_than(newer));
        }
    }

    #[test]
    fn settled_scan_selects_the_same_as_a_full_one(
        mut rows in rows(),
        back_to in prop::option::of(0..3_i64),
    ) {
        let rule = Rule { tags: vec!["*".to_owned()], exclude: vec!["v*".to_owned()], ..Rule::default() };
        let policy = Policy::new(&rule).unwrap();
        rows.retain(|row| row.pushed_at.is_some());
        rows.sort_by_key(|row| std::cmp::Reverse(row.pushed_at));
        let back_to = back_to.map(|second| jiff::Timestamp::from_second(second).unwrap());
        let mut scan = PageScan::new(&policy, back_to, HashSet::new());
        let read: Vec<ListedTag> = {
            let mut more = true;
            rows.iter().take_while(|row| std::mem::replace(&mut more, scan.push(row))).cloned().collect()
        };
        let lazy = chosen(&policy, read);
        let whole = chosen(&policy, rows);
        prop_assert_eq!(lazy.first(), whole.first());
        let is_wanted = |found: &&Candidate| back_to.is_some_and(|at| found.listed.pushed_at >= Some(at));
        let wanted = whole.iter().filter(is_wanted);
        for (index, wanted) in wanted.enumerate() {
            prop_assert_eq!(lazy.get(index), Some(wanted));
        }
    }

    #[test]
    fn judging_never_panics(policy in policy(), text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
        let verdict = policy.judge(&ListedTag::named(Tag::new(&text).unwrap()));
        prop_assert!(!verdict.to_string().contains('\n'));
    }
}
