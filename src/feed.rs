//! The change feed of an owner: which of its repositories can have something new, from a few rows of the
//! server's list of package versions (guarantees: Asking Gitea and Forgejo only for what changed).
//! Pure: pages come from a closure, moments with them.

use std::collections::{BTreeMap, HashSet};

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

/// One answer of the server.
#[derive(Clone, Debug)]
pub(crate) struct FeedPage {
    pub(crate) rows: Vec<FeedRow>,
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
    /// The rows no older than the top less [`WINDOW`]; None: not all of them were read.
    window: Option<Vec<Seen>>,
    server_time: Timestamp,
    our_time: Timestamp,
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
    /// The new rows, by image (lower case). No other image has one.
    Some(BTreeMap<String, Vec<FeedRow>>),
    /// Any image may have.
    Everything,
}

/// Rows that come later can carry an earlier time by less than this: a slow transaction, nodes apart.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// The server's clock against ours: more of a step than this makes times worthless.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(30);

/// So many configured repositories are listed with no more requests than a few pages cost.
const FEW: usize = 10;

/// Rows of the first page of a walk, and of those after it.
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
        let walk = walk(None, configured, &mut page)?;
        return Ok((walk.cursor(), Changes::Everything));
    };
    let probe = page(1, 1)?;
    let is_trusted = since.is_trusted(&probe);
    if is_trusted && since.is_settled() && since.is_equal(&probe) {
        return Ok((since.clone(), Changes::Nothing));
    }
    let walk = walk(since.top.filter(|_| is_trusted), configured, &mut page)?;
    let changes = if is_trusted { since.compare(&walk, configured) } else { Changes::Everything };
    Ok((walk.cursor(), changes))
}

impl Cursor {
    /// Whether its times can be compared with the server's of now.
    fn is_trusted(&self, now: &FeedPage) -> bool {
        let top = self.top.map_or(Timestamp::MIN, |top| top.created_at);
        let is_behind = self.server_time < top;
        let then = self.server_time.duration_since(self.our_time);
        let offset = now.server_time.duration_since(now.our_time);
        let step = offset.saturating_sub(then);
        self.window.is_some() && !is_behind && now.server_time >= top && step.abs() <= CLOCK_STEP
    }

    /// Whether the second of its top, and every slow transaction of it, was over when it was read.
    fn is_settled(&self) -> bool {
        self.top.is_none_or(|top| self.server_time.duration_since(top.created_at) >= WINDOW)
    }

    fn is_equal(&self, probe: &FeedPage) -> bool {
        self.total == probe.total && self.top == probe.rows.first().map(Seen::of)
    }

    fn compare(&self, walk: &Walk, configured: usize) -> Changes {
        let window: HashSet<Seen> = self.window.iter().flatten().copied().collect();
        let oldest = self.top.map(|top| oldest_of_window(top.created_at));
        let is_recent = |row: &&FeedRow| oldest.is_none_or(|oldest| row.created_at >= oldest);
        let unknown: Vec<&FeedRow> =
            walk.rows.iter().filter(is_recent).filter(|row| !window.contains(&Seen::of(row))).collect();
        let grown = walk.total.saturating_sub(self.total);
        // Rows vanished: where that costs next to nothing, it is worth a look which.
        let is_cheap = walk.total < self.total && configured <= FEW;
        if walk.is_cut || is_cheap || usize::try_from(grown).map_or(true, |grown| grown > unknown.len()) {
            return Changes::Everything;
        }
        if unknown.is_empty() {
            return Changes::Nothing;
        }
        let mut by_image: BTreeMap<String, Vec<FeedRow>> = BTreeMap::new();
        // Untagged children of an index, named by their digest, are nothing to deploy.
        for row in unknown.into_iter().filter(|row| !row.version.contains(':')) {
            by_image.entry(row.name.to_lowercase()).or_default().push(row.clone());
        }
        Changes::Some(by_image)
    }
}

impl Seen {
    fn of(row: &FeedRow) -> Seen {
        Seen { id: row.id, created_at: row.created_at }
    }
}

fn oldest_of_window(top: Timestamp) -> Timestamp {
    top.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN)
}

/// The newest rows, each once.
struct Walk {
    rows: Vec<FeedRow>,
    total: u64,
    server_time: Timestamp,
    our_time: Timestamp,
    /// It ended before all rows were read that are needed.
    is_cut: bool,
}

impl Walk {
    fn cursor(&self) -> Cursor {
        let top = self.rows.first().map(Seen::of);
        let oldest = top.map(|top| oldest_of_window(top.created_at));
        let is_recent = |row: &&FeedRow| oldest.is_some_and(|oldest| row.created_at >= oldest);
        let window = self.rows.iter().filter(is_recent).map(Seen::of).collect();
        Cursor {
            total: self.total,
            top,
            window: Some(window).filter(|_| !self.is_cut),
            server_time: self.server_time,
            our_time: self.our_time,
        }
    }
}

/// Reads rows from the newest down to those older than the window of the old top and of the new one.
/// Begun again once where the total changes meanwhile.
fn walk<E>(
    old_top: Option<Seen>,
    configured: usize,
    page: &mut impl FnMut(usize, usize) -> Result<FeedPage, E>,
) -> Result<Walk, E> {
    let first = page(1, FIRST_ROWS)?;
    let (mut walk, is_steady) = walk_on(first, old_top, configured, page)?;
    if !is_steady {
        let first = page(1, ROWS)?;
        let (again, is_steady) = walk_on(first, old_top, configured, page)?;
        walk = Walk { is_cut: again.is_cut || !is_steady, ..again };
    }
    Ok(walk)
}

/// Gives also whether the total stayed the same under it.
fn walk_on<E>(
    first: FeedPage,
    old_top: Option<Seen>,
    configured: usize,
    page: &mut impl FnMut(usize, usize) -> Result<FeedPage, E>,
) -> Result<(Walk, bool), E> {
    let FeedPage { rows, total, server_time, our_time } = first;
    let mut walk = Walk { rows, total, server_time, our_time, is_cut: false };
    let tops = [old_top.map(|top| top.created_at), walk.rows.first().map(|row| row.created_at)];
    let oldest = tops.into_iter().flatten().min().map(oldest_of_window);
    let is_behind = |rows: &[FeedRow]| {
        oldest.is_some_and(|oldest| rows.last().is_some_and(|row| row.created_at < oldest))
    };
    let mut seen: HashSet<i64> = walk.rows.iter().map(|row| row.id).collect();
    for number in 1.. {
        let is_whole = u64::try_from(walk.rows.len()).is_ok_and(|read| read >= walk.total);
        if is_whole || is_behind(&walk.rows) {
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
