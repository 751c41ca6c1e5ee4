//! Selects the candidates of a listing: a full one, or one read from the newest push down.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{Candidate, Order, Policy, SortKey, Verdict};
use crate::reference::{Digest, ListedTag, Listing, Tag, is_ascending};

/// How many candidates a [`Selection`] keeps.
pub(crate) const CANDIDATES_KEPT: usize = 50;

/// The candidates of a listing, and counts of its tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The newest candidates, newest first: at most [`CANDIDATES_KEPT`].
    pub(crate) candidates: Vec<Candidate>,
    /// How many tags were listed. In all counts, a tag that is listed twice counts once.
    pub(crate) listed: usize,
    /// How many tags match the filter (globs, exclude, regex), and how many of these the order cannot parse.
    pub(crate) matched: usize,
    pub(crate) not_parsed: usize,
    /// How many tags match an `exclude`.
    pub(crate) excluded: usize,
    /// How many matching tags are outside the range, and how many are skipped as prereleases.
    pub(crate) out_of_range: usize,
    pub(crate) prerelease: usize,
    /// See [`Listing`].
    pub(crate) by_first_sight: bool,
    /// The tags asked for that are listed, and those that are not.
    present: Vec<ListedTag>,
    absent: Vec<Tag>,
}

impl Selection {
    pub(crate) fn newest(&self) -> Option<&Candidate> {
        self.candidates.first()
    }

    /// `4 of 7 tags match (the order cannot compare 1 of them, 2 are outside the range)`
    pub(crate) fn describe(&self) -> String {
        let mut left = Vec::new();
        if self.not_parsed > 0 {
            left.push(format!("the order cannot compare {} of them", self.not_parsed));
        }
        for (count, one, several) in [
            (self.out_of_range, "is outside the range", "are outside the range"),
            (self.prerelease, "is a prerelease", "are prereleases"),
        ] {
            match count {
                0 => {}
                1 => left.push(format!("1 {one}")),
                _ => left.push(format!("{count} {several}")),
            }
        }
        let left = if left.is_empty() { String::new() } else { format!(" ({})", left.join(", ")) };
        format!("{} of {} tags match{left}", self.matched, self.listed)
    }

    /// Whether a tag asked for is listed; None for any other tag.
    pub(crate) fn is_listed(&self, tag: &Tag) -> Option<bool> {
        if self.find(tag).is_some() { Some(true) } else { self.absent.contains(tag).then_some(false) }
    }

    /// A tag asked for, as it is listed.
    pub(crate) fn find(&self, tag: &Tag) -> Option<&ListedTag> {
        self.present.iter().find(|listed| listed.tag == *tag)
    }

    fn count(&mut self, verdict: &Verdict) {
        self.listed += 1;
        match verdict {
            Verdict::NotMatched | Verdict::Artifact | Verdict::RegexMismatch => return,
            Verdict::Excluded(_) => {
                self.excluded += 1;
                return;
            }
            Verdict::Candidate(_) => {}
            Verdict::NotParsed(_) => self.not_parsed += 1,
            Verdict::OutOfRange => self.out_of_range += 1,
            Verdict::Prerelease => self.prerelease += 1,
        }
        self.matched += 1;
    }
}

impl Policy {
    /// Selects from a listing. `asked`: tags that the decision looks up.
    ///
    /// If a tag is listed twice with different push times, the later one counts.
    pub(crate) fn select(&self, listing: &Listing, asked: &[Tag]) -> Selection {
        let mut selection = Selection { by_first_sight: listing.by_first_sight, ..Selection::default() };
        // So that a large list takes no more memory.
        let is_ascending = is_ascending(&listing.tags);
        let mut seen = HashSet::with_capacity(if is_ascending { 0 } else { listing.tags.len() });
        let mut leaders = Leaders::default();
        for listed in &listing.tags {
            let verdict = self.judge(listed);
            if is_ascending || seen.insert(&listed.tag) {
                selection.count(&verdict);
            }
            if let Verdict::Candidate(key) = verdict {
                leaders.offer(key, listed);
            }
        }
        selection.candidates = leaders.into_candidates();
        for tag in asked {
            // If a tag is listed twice, the later push counts, as among the candidates.
            let rows = listing.tags.iter().filter(|listed| listed.tag == *tag);
            match rows.max_by_key(|listed| (listed.pushed_at, listed.sequence)) {
                Some(listed) => selection.present.push(listed.clone()),
                None => selection.absent.push(tag.clone()),
            }
        }
        selection
    }

    /// For tags read by push time from the newest down: whether no later one can be newer than the best
    /// candidate so far. Rows of one second come in any order, so the scan must be past that second. Always
    /// false without a candidate, and with an order other than newest.
    fn is_settled(&self, oldest_seen: Timestamp, best: Option<&Candidate>) -> bool {
        self.order() == Order::Newest
            && best
                .and_then(|best| best.listed.pushed_at)
                .is_some_and(|pushed_at| oldest_seen.as_second() < pushed_at.as_second())
    }
}

/// The best candidates so far. Rows collect in a buffer; when it is full, it is cut to the best ones, and
/// later rows that are worse than all of those are skipped.
#[derive(Default)]
struct Leaders<'l> {
    rows: Vec<(SortKey, &'l ListedTag)>,
    /// Whether the first `CANDIDATES_KEPT` rows are sorted, without duplicate tags. Then the last of them is
    /// the bar.
    full: bool,
}

/// Several times as many as are kept, so that sorting is rare.
const BUFFERED: usize = 400;

impl<'l> Leaders<'l> {
    fn offer(&mut self, key: SortKey, listed: &'l ListedTag) {
        let row = (key, listed);
        let worst = if self.full { self.rows.get(CANDIDATES_KEPT - 1) } else { None };
        if worst.is_some_and(|worst| choice(&row) <= choice(worst)) {
            return;
        }
        self.rows.push(row);
        if self.rows.len() >= BUFFERED {
            self.cut();
        }
    }

    /// Cuts the buffer to the best rows, each tag once.
    fn cut(&mut self) {
        // A stable sort is fast on sorted runs, and registries often list in order.
        self.rows.sort_by(|a, b| choice(b).cmp(&choice(a)));
        let mut seen = HashSet::with_capacity(CANDIDATES_KEPT);
        self.rows.retain(|(_, listed)| seen.len() < CANDIDATES_KEPT && seen.insert(&listed.tag));
        self.full = self.rows.len() == CANDIDATES_KEPT;
    }

    fn into_candidates(mut self) -> Vec<Candidate> {
        self.cut();
        self.rows.into_iter().map(|(key, listed)| Candidate { listed: listed.clone(), key }).collect()
    }
}

/// The order of the selection: by key, then by the tag's bytes. The rest orders two rows of one tag, so that
/// the order of the listing never matters.
fn choice<'r>(
    (key, listed): &'r (SortKey, &ListedTag),
) -> (&'r SortKey, &'r Tag, Option<Timestamp>, Option<i64>, Option<&'r Digest>) {
    (key, &listed.tag, listed.pushed_at, listed.sequence, listed.digest.as_ref())
}

/// A scan of tags by push time, from the newest down, that says when more tags cannot change the selection.
/// Only for order newest: with any other order it never settles.
#[derive(Debug)]
pub(crate) struct PageScan<'p> {
    policy: &'p Policy,
    back_to: Option<Timestamp>,
    wanted: HashSet<Tag>,
    best: Option<Candidate>,
    settled: bool,
}

impl<'p> PageScan<'p> {
    /// `back_to`: every candidate pushed then or later is needed, not just the newest (the push time of the
    /// high-water tag, for when a gate blocks the newest). `wanted`: tags that the scan must reach.
    pub(crate) fn new(policy: &'p Policy, back_to: Option<Timestamp>, wanted: HashSet<Tag>) -> PageScan<'p> {
        PageScan { policy, back_to, wanted, best: None, settled: false }
    }

    /// Adds the next tag; false: no later one can matter. A tag without a push time does not settle the scan.
    pub(crate) fn push(&mut self, listed: &ListedTag) -> bool {
        if self.settled {
            return false;
        }
        self.wanted.remove(&listed.tag);
        if let Some(candidate) = self.policy.candidate(listed)
            && self.best.as_ref().is_none_or(|best| candidate.is_newer_than(best))
        {
            self.best = Some(candidate);
        }
        if let Some(oldest) = listed.pushed_at {
            let is_behind = |at: Timestamp| oldest.as_second() < at.as_second();
            self.settled = self.wanted.is_empty()
                && self.policy.is_settled(oldest, self.best.as_ref())
                && self.back_to.is_none_or(is_behind);
        }
        !self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Rule;

    fn policy(order: Order) -> Policy {
        Policy::new(&Rule { tags: vec!["v*".to_owned()], order, ..Rule::default() }).unwrap()
    }

    fn tag(text: &str) -> Tag {
        Tag::new(text).unwrap()
    }

    fn row(text: &str, millisecond: i64, sequence: i64) -> ListedTag {
        ListedTag {
            pushed_at: Some(Timestamp::from_millisecond(millisecond).unwrap()),
            sequence: Some(sequence),
            ..ListedTag::named(tag(text))
        }
    }

    fn names(selection: &Selection) -> Vec<&str> {
        selection.candidates.iter().map(|candidate| candidate.listed.tag.as_str()).collect()
    }

    #[test]
    fn the_newest_fifty_are_kept_newest_first() {
        let policy = policy(Order::Numeric);
        for size in [0, 1, 49, 50, 51, BUFFERED - 1, BUFFERED, BUFFERED + 1, 3 * BUFFERED] {
            let rising: Vec<_> = (0..size).map(|n| ListedTag::named(tag(&format!("v{n}")))).collect();
            let expected: Vec<_> = (0..size).rev().take(50).map(|n| format!("v{n}")).collect();
            let falling = rising.iter().rev().cloned().collect();
            let mixed = (0..size).map(|n| rising[(n * 7919) % size].clone()).collect();
            for tags in [rising, falling, mixed] {
                let selection = policy.select(&Listing { tags, ..Listing::default() }, &[]);
                assert_eq!(names(&selection), expected);
            }
        }
    }

    #[test]
    fn after_a_cut_only_rows_better_than_the_fiftieth_are_added() {
        let policy = policy(Order::Numeric);
        let numbers = (0..BUFFERED).chain([8500, 9000, 8000]);
        let tags = numbers.map(|n| ListedTag::named(tag(&format!("v{n}")))).collect();
        let selection = policy.select(&Listing { tags, ..Listing::default() }, &[]);
        assert_eq!(names(&selection)[..4], ["v9000", "v8500", "v8000", &format!("v{}", BUFFERED - 1)]);
    }

    #[test]
    fn buffer_is_cut_when_full_and_worse_rows_are_skipped() {
        let policy = policy(Order::Numeric);
        let rows: Vec<_> = (0..3 * BUFFERED).map(|n| ListedTag::named(tag(&format!("v{n}")))).collect();
        let mut leaders = Leaders::default();
        for (before, row) in rows.iter().enumerate() {
            assert!(leaders.rows.len() < BUFFERED);
            assert!(leaders.rows.len() == before || before >= BUFFERED);
            leaders.offer(policy.candidate(row).unwrap().key, row);
        }
        leaders.cut();
        for row in [&rows[0], leaders.rows[CANDIDATES_KEPT - 1].1] {
            leaders.offer(policy.candidate(row).unwrap().key, row);
            assert_eq!(leaders.rows.len(), CANDIDATES_KEPT);
        }
    }

    #[test]
    fn tag_listed_twice_is_one_candidate_with_its_later_push() {
        let policy = policy(Order::Newest);
        let mut tags: Vec<_> = (0..1000).map(|n| row("v1", n, n)).collect();
        tags.push(row("v2", 500, 0));
        let selection = policy.select(&Listing { tags, ..Listing::default() }, &[]);
        assert_eq!(names(&selection), ["v1", "v2"]);
        assert_eq!(selection.newest().unwrap().listed.sequence, Some(999));
        assert_eq!((selection.listed, selection.matched), (2, 2));
    }

    #[test]
    fn everything_listed_is_counted_once() {
        let rule = Rule {
            tags: vec!["v*".to_owned()],
            exclude: vec!["*-debug".to_owned()],
            regex: Some("v[0-9].*".to_owned()),
            order: Order::Semver,
            range: Some("<3".to_owned()),
            prerelease: false,
        };
        let tags =
            "v1.0.0 v1.0.0 v2.0.0 v2.0.1-rc.1 v3.0.0 v4.0.0 v5.0.0 v1 v2 v3 v4 vx v1-debug v2-debug latest";
        let tags = tags.split(' ').map(|text| ListedTag::named(tag(text))).collect();
        let selection = Policy::new(&rule).unwrap().select(&Listing { tags, ..Listing::default() }, &[]);
        assert_eq!(names(&selection), ["v2.0.0", "v1.0.0"]);
        assert_eq!((selection.listed, selection.matched, selection.excluded), (14, 10, 2));
        assert_eq!((selection.not_parsed, selection.out_of_range, selection.prerelease), (4, 3, 1));
    }

    #[test]
    fn presence_is_known_only_for_tags_asked_for() {
        let listing = Listing {
            tags: vec![ListedTag::named(tag("v1")), ListedTag::named(tag("x"))],
            ..Listing::default()
        };
        let selection = policy(Order::Numeric).select(&listing, &[tag("x"), tag("v2")]);
        assert_eq!(selection.is_listed(&tag("x")), Some(true));
        assert_eq!(selection.is_listed(&tag("v2")), Some(false));
        assert_eq!(selection.is_listed(&tag("v1")), None);
    }

    /// How many rows are read until the scan settles; None: it does not.
    fn read(policy: &Policy, back_to: Option<i64>, wanted: &[&str], rows: &[ListedTag]) -> Option<usize> {
        let back_to = back_to.map(|at| Timestamp::from_millisecond(at).unwrap());
        let wanted = wanted.iter().map(|name| tag(name)).collect();
        let mut scan = PageScan::new(policy, back_to, wanted);
        rows.iter().position(|row| !scan.push(row)).map(|last| last + 1)
    }

    #[test]
    fn scan_settles_after_the_second_of_the_best_candidate() {
        let policy = policy(Order::Newest);
        let rows = [
            row("x", 9_000, 9),
            row("v1", 5_000, 1),
            row("v2", 5_000, 2),
            row("x2", 4_000, 0),
            row("v0", 3_000, 0),
        ];
        assert_eq!(read(&policy, None, &[], &rows), Some(4));
        assert_eq!(read(&policy, None, &[], &rows[..3]), None);
        assert_eq!(read(&policy, None, &["v0"], &rows), Some(5));
    }

    #[test]
    fn scan_goes_back_to_the_given_time() {
        let policy = policy(Order::Newest);
        let rows: Vec<_> = (0..200).rev().map(|n| row(&format!("v{n}"), n * 1000, n)).collect();
        assert_eq!(read(&policy, Some(190_000), &[], &rows), Some(11));
        assert_eq!(read(&policy, Some(0), &[], &rows), None);
    }

    #[test]
    fn scan_never_settles_without_push_times_or_with_another_order() {
        let rows: Vec<_> = (0..60).map(|n| ListedTag::named(tag(&format!("v{n}")))).collect();
        assert_eq!(read(&policy(Order::Newest), None, &[], &rows), None);
        let rows: Vec<_> = (0..60).rev().map(|n| row(&format!("v{n}"), n * 1000, n)).collect();
        assert_eq!(read(&policy(Order::Numeric), None, &[], &rows), None);
    }
}
