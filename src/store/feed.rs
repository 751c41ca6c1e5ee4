//! The feeds of owners: how far they were read, and which repositories have changed since they were listed.

use std::collections::HashMap;
use std::str::FromStr as _;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::row;
use super::write::{Write, text};
use crate::engine::feed::{Changes, Count, Cursor, Owner};

/// An owner's feed. Each change raises the generation by one. A target whose listing has an earlier
/// generation must list its repository again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) cursor: Option<Cursor>,
    pub(crate) generation: i64,
    /// The generation at which any repository may have changed.
    pub(crate) all_generation: i64,
    /// The generation at which a repository changed, by its name without the owner, in lower case.
    pub(crate) changed: HashMap<String, i64>,
    /// The owner of these images: the first one seen, or the one that a person accepted.
    pub(crate) owner: Option<Owner>,
    /// How many tags a repository had, if known.
    pub(crate) counts: HashMap<String, Count>,
}

impl Feed {
    /// The generation that a listing of the repository must have.
    pub(crate) fn wanted(&self, repository: &str) -> i64 {
        self.changed.get(repository).copied().unwrap_or(0).max(self.all_generation)
    }

    /// The accepted owner and the one that the registry names now, if they differ.
    pub(crate) fn other_owner<'a>(&'a self, now: Option<&'a Owner>) -> Option<(&'a Owner, &'a Owner)> {
        self.owner.as_ref().zip(now).filter(|(before, now)| before.id != now.id)
    }
}

/// A registry's address, and an owner's name.
pub(crate) type FeedKey = (String, String);

pub(super) fn feeds(connection: &Connection) -> rusqlite::Result<HashMap<FeedKey, Feed>> {
    let mut statement = connection.prepare(
        "SELECT registry, owner, cursor, generation, all_generation, owner_id, owner_login FROM feed",
    )?;
    let rows = statement.query_map([], |row| {
        let login: Option<String> = row.get("owner_login")?;
        let id: Option<i64> = row.get("owner_id")?;
        let feed = Feed {
            cursor: read(row.get("cursor")?),
            generation: generation(row, "generation")?,
            all_generation: generation(row, "all_generation")?,
            owner: id.zip(login).map(|(id, login)| Owner { id, login }),
            ..Feed::default()
        };
        Ok(((row.get("registry")?, row.get("owner")?), feed))
    })?;
    let mut feeds: HashMap<FeedKey, Feed> = rows.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare(
        "SELECT registry, owner, repository, changed_generation, tags, tags_at FROM feed_repository",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key = (row.get("registry")?, row.get("owner")?);
        if let Some(feed) = feeds.get_mut(&key) {
            let repository: String = row.get("repository")?;
            let at = row::optional(row, "tags_at", Timestamp::from_str)?;
            let tags = row.get::<_, Option<u32>>("tags")?.map(u64::from);
            feed.counts.extend(tags.zip(at).map(|(tags, at)| (repository.clone(), Count { tags, at })));
            feed.changed.insert(repository, generation(row, "changed_generation")?);
        }
    }
    Ok(feeds)
}

/// A generation that polls cannot reach is an error.
fn generation(row: &Row<'_>, column: &str) -> rusqlite::Result<i64> {
    row.get::<_, u32>(column).map(i64::from)
}

/// An unreadable cursor counts as none: then everything may have changed.
fn read(text: Option<String>) -> Option<Cursor> {
    serde_json::from_str(&text?).ok()
}

impl Write<'_> {
    /// Records the changes since the feed was `before`. `counted`: the counts of tags. If another run
    /// recorded something in between, its cursor stays, and our changes are recorded anyway. Returns the new
    /// feed.
    pub(crate) fn record_feed(
        &self,
        (registry, owner): &FeedKey,
        before: &Feed,
        cursor: &Cursor,
        changes: &Changes,
        counted: &HashMap<String, Count>,
    ) -> rusqlite::Result<Feed> {
        let query = "SELECT generation FROM feed WHERE registry = ?1 AND owner = ?2";
        let now: Option<i64> = self
            .transaction()
            .prepare_cached(query)?
            .query_row([registry, owner], |row| row.get(0))
            .optional()?;
        let is_ours = now.unwrap_or(0) == before.generation;
        let generation = now.unwrap_or(0) + 1;
        let mut after = Feed { generation, ..before.clone() };
        // The first owner seen, or a new name of the same owner.
        if let Some(owner) = cursor.owner().filter(|now| before.other_owner(Some(now)).is_none()) {
            after.owner = Some(owner.clone());
        }
        let query =
            "INSERT INTO feed (registry, owner, cursor, generation, all_generation, owner_id, owner_login)
             VALUES (?1, ?2, ?3, ?4, ?5, ?7, ?8)
             ON CONFLICT DO UPDATE SET cursor = iif(?6, excluded.cursor, cursor), generation = ?4,
             all_generation = max(all_generation, ?5), owner_id = iif(?6, ?7, owner_id),
             owner_login = iif(?6, ?8, owner_login)";
        let text = serde_json::to_string(cursor).expect("numbers and moments are always JSON");
        if *changes == Changes::Everything {
            after.all_generation = generation;
        }
        self.transaction().prepare_cached(query)?.execute(params![
            registry,
            owner,
            text,
            generation,
            after.all_generation,
            is_ours,
            after.owner.as_ref().map(|owner| owner.id),
            after.owner.as_ref().map(|owner| owner.login.as_str()),
        ])?;
        if *changes == Changes::Everything || !is_ours {
            // Which tag was deleted is unknown.
            let query =
                "UPDATE feed_repository SET tags = NULL, tags_at = NULL WHERE registry = ?1 AND owner = ?2";
            self.transaction().prepare_cached(query)?.execute(params![registry, owner])?;
            after.counts.clear();
        }
        if let Changes::Some(pushed) = changes {
            let query = "INSERT INTO feed_repository (registry, owner, repository, changed_generation)
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET changed_generation = ?4";
            let mut statement = self.transaction().prepare_cached(query)?;
            for repository in pushed.rows.keys() {
                statement.execute(params![registry, owner, repository, generation])?;
                after.changed.insert(repository.clone(), generation);
            }
        }
        if is_ours {
            after.cursor = Some(cursor.clone());
            for (repository, count) in counted {
                self.note_count(&(registry.clone(), owner.clone()), repository, *count)?;
                after.counts.insert(repository.clone(), *count);
            }
        }
        Ok(after)
    }

    /// Records how many tags a repository had, if its owner has a feed.
    pub(crate) fn note_count(
        &self,
        (registry, owner): &FeedKey,
        repository: &str,
        count: Count,
    ) -> rusqlite::Result<()> {
        let query =
            "INSERT INTO feed_repository (registry, owner, repository, changed_generation, tags, tags_at)
             SELECT registry, owner, ?3, 0, ?4, ?5 FROM feed WHERE registry = ?1 AND owner = ?2
             ON CONFLICT DO UPDATE SET tags = ?4, tags_at = ?5";
        let (tags, at) = (u32::try_from(count.tags).ok(), text(count.at));
        self.transaction().prepare_cached(query)?.execute(params![registry, owner, repository, tags, at])?;
        Ok(())
    }

    /// Accepts the owner that the registry named last as the owner of these images, and returns it. None: no
    /// poll has seen an owner.
    pub(crate) fn accept_owner(&self, (registry, owner): &FeedKey) -> rusqlite::Result<Option<Owner>> {
        let query = "SELECT cursor FROM feed WHERE registry = ?1 AND owner = ?2";
        let cursor = self.transaction().query_row(query, [registry, owner], |row| row.get(0)).optional()?;
        let Some(seen) = cursor.and_then(read).and_then(|cursor| cursor.owner().cloned()) else {
            return Ok(None);
        };
        // A running poll must not undo this.
        let query = "UPDATE feed SET owner_id = ?3, owner_login = ?4, generation = generation + 1
             WHERE registry = ?1 AND owner = ?2";
        self.transaction().execute(query, params![registry, owner, seen.id, seen.login])?;
        // None of the new owner's was taken in.
        self.want_images(&(registry.clone(), owner.clone()))?;
        Ok(Some(seen))
    }
}
