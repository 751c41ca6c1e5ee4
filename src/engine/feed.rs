//! The change feed of an owner: which of its repositories may have changed, from a few rows of the server's
//! list of package versions (guarantees: Asking Gitea and Forgejo only for what changed). Pure: a closure
//! gives the pages with their times.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A version of a package. The server lists the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedRow {
    /// Grows with each row, over all owners.
    pub(crate) id: i64,
    /// The image, without its owner.
    pub(crate) name: String,
    /// A tag, or the digest of an untagged child.
    pub(crate) version: String,
    pub(crate) created_at: Timestamp,
}

/// An owner of packages. The ID stays when the owner is renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) id: i64,
    /// The current name.
    pub(crate) login: String,
}

/// One page of the feed.
#[derive(Clone, Debug)]
pub(crate) struct FeedPage {
    pub(crate) rows: Vec<FeedRow>,
    /// The owner of the rows; None: there are no rows.
    pub(crate) owner: Option<Owner>,
    /// How many versions the owner has.
    pub(crate) total: u64,
    /// The server's clock and our clock when the page was read.
    pub(crate) server_time: Timestamp,
    pub(crate) our_time: Timestamp,
}

/// How far an owner's feed was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    total: u64,
    /// The newest row; None: the owner has no rows.
    top: Option<Seen>,
    /// Rows so recent that rows with an earlier time can still appear. None: not all of them were read.
    window: Option<Vec<Seen>>,
    server_time: Timestamp,
    our_time: Timestamp,
    /// None: no row has named the owner yet.
    #[serde(default)]
    owner: Option<Owner>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Seen {
    id: i64,
    created_at: Timestamp,
}

/// What may have changed since a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    Nothing,
    /// Only the images with new rows, if their tags explain the rows that vanished.
    Some(Pushed),
    /// Any image may have changed.
    Everything,
}

/// The new rows of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// By image, in lower case; without untagged children.
    pub(crate) rows: BTreeMap<String, Vec<FeedRow>>,
    /// How many rows vanished. A deletion removes a row; on old Gitea and Forgejo, a tag that is pushed again
    /// replaces its row.
    pub(crate) vanished: u64,
}

/// How many tags an image had, and when, by our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) tags: u64,
    pub(crate) at: Timestamp,
}

/// A row can become visible this long after its time, because of slow transactions or nodes with different
/// clocks.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// If the server's clock moves against ours by more than this, its times are not trusted.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(30);

/// The server rounds times down to whole seconds.
const ROUNDED: SignedDuration = SignedDuration::from_secs(2);

/// Rows on the first page of a walk, unless more are expected.
const FIRST_ROWS: usize = 10;
/// Rows on every other page.
const ROWS: usize = 50;

/// Finds what may have changed since the cursor, and returns the new cursor.
///
/// `page` takes the number of a page (from 1) and its size in rows. `configured`: how many of the owner's
/// repositories are configured. Reading more pages than that would cost more than listing them all.
///
/// # Errors
/// Those of `page`.
pub(crate) fn changes<E>(
    since: Option<&Cursor>,
    configured: usize,
    mut page: impl FnMut(usize, usize) -> Result<FeedPage, E>,
) -> Result<(Cursor, Changes), E> {
    let Some(since) = since else {
        let first = page(1, FIRST_ROWS)?;
        let walk = walk(first, FIRST_ROWS, None, configured, &mut page)?;
        return Ok((walk.cursor(None), Changes::Everything));
    };
    let mut limit = FIRST_ROWS;
    let first = if since.is_settled() {
        let probe = page(1, 1)?;
        if since.is_trusted(&probe) && since.is_equal(&probe) {
            let owner = probe.owner.or_else(|| since.owner.clone());
            return Ok((Cursor { owner, ..since.clone() }, Changes::Nothing));
        }
        page(1, limit)?
    } else {
        if since.window.as_ref().is_some_and(|window| window.len() >= limit) {
            limit = ROWS;
        }
        page(1, limit)?
    };
    let is_trusted = since.is_trusted(&first);
    let known_until = Some(since.known_until()).filter(|_| is_trusted);
    let walk = walk(first, limit, known_until, configured, &mut page)?;
    let changes = if is_trusted { since.compare(&walk) } else { Changes::Everything };
    Ok((walk.cursor(Some(since)), changes))
}

impl Cursor {
    /// The owner that the last rows named.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// All rows up to this time were visible when the cursor was read.
    pub(crate) fn known_until(&self) -> Timestamp {
        known_until(self.server_time, self.top.map(|top| top.created_at))
    }

    /// Whether the cursor can be compared with a page: same owner, and no clock was set in between.
    fn is_trusted(&self, now: &FeedPage) -> bool {
        let FeedPage { server_time, our_time, ref owner, .. } = *now;
        let top = self.top.map_or(Timestamp::MIN, |top| top.created_at);
        let is_behind = self.server_time < top;
        let went_back = self.server_time.duration_since(server_time) > CLOCK_STEP || server_time < top;
        let then = self.server_time.duration_since(self.our_time);
        let step = server_time.duration_since(our_time).saturating_sub(then);
        let is_complete = self.window.is_some() || self.is_settled();
        let is_same_owner =
            self.owner.as_ref().zip(owner.as_ref()).is_none_or(|(then, now)| then.id == now.id);
        is_complete && !is_behind && !went_back && step.abs() <= CLOCK_STEP && is_same_owner
    }

    /// Whether no more rows could appear at or before the time of its top row.
    fn is_settled(&self) -> bool {
        self.top.is_none_or(|top| top.created_at <= self.known_until())
    }

    fn is_equal(&self, probe: &FeedPage) -> bool {
        self.total == probe.total && self.top == probe.rows.first().map(Seen::of)
    }

    fn compare(&self, walk: &Walk) -> Changes {
        let window: HashSet<Seen> = self.window.iter().flatten().copied().collect();
        let is_unknown =
            |row: &&FeedRow| row.created_at > self.known_until() && !window.contains(&Seen::of(row));
        let unknown: Vec<&FeedRow> = walk.rows.iter().filter(is_unknown).collect();
        // Fewer rows than expected: some vanished. More: some new rows were not read.
        let expected = self.total.saturating_add(unknown.len() as u64);
        let Some(vanished) = expected.checked_sub(walk.total).filter(|_| !walk.is_cut) else {
            return Changes::Everything;
        };
        let mut rows: BTreeMap<String, Vec<FeedRow>> = BTreeMap::new();
        // Untagged children of an index are named by their digest and cannot be deployed.
        for row in unknown.iter().copied().filter(|row| !row.version.contains(':')) {
            rows.entry(row.name.to_lowercase()).or_default().push(row.clone());
        }
        if unknown.is_empty() && vanished == 0 {
            return Changes::Nothing;
        }
        Changes::Some(Pushed { rows, vanished })
    }

    /// How many of the rows certainly came after the count. A row between this cursor and the count is new to
    /// the cursor, but already counted.
    fn not_counted(&self, count: Count, rows: &[FeedRow]) -> u64 {
        let ahead = self.server_time.duration_since(self.our_time);
        let counted_at = count.at.saturating_add(ahead.saturating_add(ROUNDED)).unwrap_or(Timestamp::MAX);
        rows.iter().filter(|row| row.created_at > counted_at).count() as u64
    }
}

impl Seen {
    fn of(row: &FeedRow) -> Seen {
        Seen { id: row.id, created_at: row.created_at }
    }
}

/// Whether the images with new rows account for the rows that vanished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explained {
    /// An image without a new row lost a row, or may have: everything may have changed.
    pub(crate) is_elsewhere: bool,
    /// The new counts, by image, as far as they were counted.
    pub(crate) counts: HashMap<String, Count>,
    /// `is_elsewhere` only because an earlier count is missing.
    pub(crate) lacks_counts: bool,
}

/// Explains the rows that vanished. `counts`: the tags of each image, as of `since` or later. `list` counts
/// the tags of an image now; None: it cannot.
pub(crate) fn explain(
    since: &Cursor,
    pushed: &Pushed,
    counts: &HashMap<String, Count>,
    configured: usize,
    mut list: impl FnMut(&str) -> Option<Count>,
) -> Explained {
    let mut explained = Explained::default();
    let images = || pushed.rows.iter().map(|(name, rows)| (name, rows, counts.get(name).copied()));
    if pushed.vanished == 0 {
        for (name, rows, before) in images() {
            let after =
                |before: Count| Count { tags: before.tags + since.not_counted(before, rows), ..before };
            explained.counts.extend(before.map(|before| (name.clone(), after(before))));
        }
        return explained;
    }
    explained.is_elsewhere = true;
    if pushed.rows.len() >= configured {
        // Listing everything costs no more.
        return explained;
    }
    // A tag that was pushed again and a deleted tag look alike: the image has fewer tags than its new rows
    // would give it. So every image with new rows is listed and counted.
    let mut vanished: i64 = 0;
    for (name, rows, before) in images() {
        let Some(after) = list(name) else {
            return explained;
        };
        explained.counts.insert(name.clone(), after);
        match before {
            Some(before) => {
                let expected = before.tags + since.not_counted(before, rows);
                vanished += i64::try_from(expected).unwrap_or(0).saturating_sub_unsigned(after.tags);
            }
            None => explained.lacks_counts = true,
        }
    }
    explained.is_elsewhere = vanished < i64::try_from(pushed.vanished).unwrap_or(i64::MAX);
    explained.lacks_counts &= explained.is_elsewhere;
    explained
}

/// All rows up to this time are visible now. Never later than the newest row, so that later rows are still
/// compared.
fn known_until(server_time: Timestamp, top: Option<Timestamp>) -> Timestamp {
    let settled = server_time.saturating_sub(LATE).unwrap_or(Timestamp::MIN);
    top.map_or(Timestamp::MIN, |top| top.min(settled))
}

/// The newest rows of a feed, each once.
struct Walk {
    rows: Vec<FeedRow>,
    owner: Option<Owner>,
    total: u64,
    server_time: Timestamp,
    our_time: Timestamp,
    /// It ended before all needed rows were read.
    is_cut: bool,
}

impl Walk {
    fn cursor(&self, since: Option<&Cursor>) -> Cursor {
        let until = known_until(self.server_time, self.rows.first().map(|row| row.created_at));
        let is_recent = |row: &&FeedRow| row.created_at > until;
        let window: Vec<Seen> = self.rows.iter().filter(is_recent).map(Seen::of).collect();
        let owner = self.owner.clone().or_else(|| since.and_then(|since| since.owner.clone()));
        Cursor {
            total: self.total,
            top: self.rows.first().map(Seen::of),
            // If even the oldest row read is recent, rows that were not read may be recent, too.
            window: (!self.is_cut || window.len() < self.rows.len()).then_some(window),
            server_time: self.server_time,
            our_time: self.our_time,
            owner,
        }
    }
}

/// Reads rows from the newest down to the first that was visible at the last read (`known_until`) and is
/// settled now. `first`: page 1, of `limit` rows. If the total changes during the walk, it starts again once.
fn walk<E>(
    first: FeedPage,
    limit: usize,
    known_until: Option<Timestamp>,
    configured: usize,
    page: &mut impl FnMut(usize, usize) -> Result<FeedPage, E>,
) -> Result<Walk, E> {
    let (walk, is_steady) = walk_on(first, limit, known_until, configured, page)?;
    if is_steady {
        return Ok(walk);
    }
    let (again, is_steady) = walk_on(page(1, ROWS)?, ROWS, known_until, configured, page)?;
    Ok(Walk { is_cut: again.is_cut || !is_steady, ..again })
}

/// Returns also whether the total stayed the same during the walk.
fn walk_on<E>(
    first: FeedPage,
    limit: usize,
    until: Option<Timestamp>,
    configured: usize,
    page: &mut impl FnMut(usize, usize) -> Result<FeedPage, E>,
) -> Result<(Walk, bool), E> {
    let FeedPage { rows, owner, total, server_time, our_time } = first;
    let mut walk = Walk { rows, owner, total, server_time, our_time, is_cut: false };
    let of_now = known_until(server_time, walk.rows.first().map(|row| row.created_at));
    let until = until.map_or(of_now, |until| until.min(of_now));
    let mut seen: HashSet<i64> = walk.rows.iter().map(|row| row.id).collect();
    let next = if limit == ROWS { 2 } else { 1 };
    for number in next.. {
        let is_whole = u64::try_from(walk.rows.len()).is_ok_and(|read| read >= walk.total);
        if is_whole || walk.rows.last().is_some_and(|row| row.created_at <= until) {
            break;
        }
        if number > configured {
            walk.is_cut = true;
            break;
        }
        let next = page(number, ROWS)?;
        if next.total != walk.total {
            return Ok((walk, false));
        }
        if next.rows.is_empty() {
            break;
        }
        walk.rows.extend(next.rows.into_iter().filter(|row| seen.insert(row.id)));
    }
    Ok((walk, true))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
