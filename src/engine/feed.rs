//! The change feed of an owner: which of its repositories can have something new, from a few rows of the
//! server's list of package versions (guarantees: Asking Gitea and Forgejo only for what changed).
//! Pure: pages come from a closure, moments with them.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A version of a package, as the server lists it, the newest first.
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

/// Who an owner is: the id stays when the owner is renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) id: i64,
    /// The current name.
    pub(crate) login: String,
}

/// One answer of the server.
#[derive(Clone, Debug)]
pub(crate) struct FeedPage {
    pub(crate) rows: Vec<FeedRow>,
    /// Of the rows; None where there are none.
    pub(crate) owner: Option<Owner>,
    /// How many versions the owner has.
    pub(crate) total: u64,
    /// The server's clock, and ours.
    pub(crate) server_time: Timestamp,
    pub(crate) our_time: Timestamp,
}

/// What was seen of an owner's feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    total: u64,
    /// The newest row; None where the owner has none.
    top: Option<Seen>,
    /// The rows beside which others can still come. None: not all of them were read.
    window: Option<Vec<Seen>>,
    server_time: Timestamp,
    our_time: Timestamp,
    /// None where no row named one yet.
    #[serde(default)]
    owner: Option<Owner>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Seen {
    id: i64,
    created_at: Timestamp,
}

/// What can have changed since a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    Nothing,
    /// Only the images that have new rows, if their tags explain the rows that vanished.
    Some(Pushed),
    /// Any image may have.
    Everything,
}

/// New rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// By image (lower case); untagged children are left out.
    pub(crate) rows: BTreeMap<String, Vec<FeedRow>>,
    /// How many rows vanished: a tag that is pushed again replaces its row on old Gitea and Forgejo, a
    /// deletion replaces nothing.
    pub(crate) vanished: u64,
}

/// How many tags an image had at a moment of our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) tags: u64,
    pub(crate) at: Timestamp,
}

/// A row can become visible this long after its time: a slow transaction, nodes with different clocks.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// The server's clock against ours: more of a step than this makes times worthless.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(30);

/// Times of the server are whole seconds, rounded down.
const ROUNDED: SignedDuration = SignedDuration::from_secs(2);

/// Rows of the first page of a walk, unless more are expected, and of every other page.
const FIRST_ROWS: usize = 10;
const ROWS: usize = 50;

/// Finds what can have changed since the cursor, and the cursor of now.
///
/// `page` gives the rows of a page (from 1) of so many rows. `configured`: how many of the owner's
/// repositories are configured; reading more pages than that would cost more than listing them all.
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
    /// The owner that the rows named last.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Rows of this time or earlier were there when it was read.
    pub(crate) fn known_until(&self) -> Timestamp {
        known_until(self.server_time, self.top.map(|top| top.created_at))
    }

    /// Whether its times can be compared with the server's of now, and its rows are of the same owner.
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

    /// Whether the second of its top, and every slow transaction of it, was over when it was read.
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
        // Fewer rows than those of before and the new ones: some vanished. More: some are not among those read.
        let expected = self.total.saturating_add(unknown.len() as u64);
        let Some(vanished) = expected.checked_sub(walk.total).filter(|_| !walk.is_cut) else {
            return Changes::Everything;
        };
        let mut rows: BTreeMap<String, Vec<FeedRow>> = BTreeMap::new();
        // Untagged children of an index, named by their digest, are nothing to deploy.
        for row in unknown.iter().copied().filter(|row| !row.version.contains(':')) {
            rows.entry(row.name.to_lowercase()).or_default().push(row.clone());
        }
        if unknown.is_empty() && vanished == 0 {
            return Changes::Nothing;
        }
        Changes::Some(Pushed { rows, vanished })
    }

    /// How many of the rows certainly came after the count. A row that came between this cursor and the count is
    /// new to the one and counted by the other.
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

/// What the tags of the images with new rows say of the rows that vanished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explained {
    /// An image without a new row lost one, or can have: everything may have changed.
    pub(crate) is_elsewhere: bool,
    /// By image, as far as they were counted.
    pub(crate) counts: HashMap<String, Count>,
    /// Only for want of a count of before.
    pub(crate) lacks_counts: bool,
}

/// Explains the rows that vanished. `counts`: of the images, as of `since` or later. `list` counts the tags of an
/// image now; None where it cannot.
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
        // To list everything costs no more.
        return explained;
    }
    // A tag that was pushed again and one that was deleted look alike: their image has fewer tags than new rows
    // would give it, and is listed.
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

/// Of this time and earlier there is no row that is not visible at this moment. Never later than the newest row, so
/// that rows that are later by more are looked at, too.
fn known_until(server_time: Timestamp, top: Option<Timestamp>) -> Timestamp {
    let settled = server_time.saturating_sub(LATE).unwrap_or(Timestamp::MIN);
    top.map_or(Timestamp::MIN, |top| top.min(settled))
}

/// The newest rows, each once.
struct Walk {
    rows: Vec<FeedRow>,
    owner: Option<Owner>,
    total: u64,
    server_time: Timestamp,
    our_time: Timestamp,
    /// It ended before all rows were read that are needed.
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
            // Where the oldest of a part is recent, so may be those that follow.
            window: (!self.is_cut || window.len() < self.rows.len()).then_some(window),
            server_time: self.server_time,
            our_time: self.our_time,
            owner,
        }
    }
}

/// Reads rows from the newest down to the first that was there at the look before (`known_until`), or that is
/// needed for none after this one. `first`: page 1, of `limit` rows. Begun again once where the total changes
/// meanwhile.
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

/// Gives also whether the total stayed the same under it.
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
mod properties;
#[cfg(test)]
mod tests;
