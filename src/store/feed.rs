//! What was seen of owners' feeds, and which repositories have changed since they were listed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::write::Write;
use crate::feed::{Changes, Cursor};

/// An owner's feed. Generations grow by one with each change that was seen; a target whose listing is of
/// an earlier one is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) cursor: Option<Cursor>,
    pub(crate) generation: i64,
    /// When any repository may have changed.
    pub(crate) all_generation: i64,
    /// When a repository changed, by its name without the owner, in lower case.
    pub(crate) changed: HashMap<String, i64>,
}

impl Feed {
    /// The generation that a listing of the repository must have seen.
    pub(crate) fn wanted(&self, repository: &str) -> i64 {
        self.changed.get(repository).copied().unwrap_or(0).max(self.all_generation)
    }
}

/// A registry's address and an owner there.
pub(crate) type FeedKey = (String, String);

pub(super) fn feeds(connection: &Connection) -> rusqlite::Result<HashMap<FeedKey, Feed>> {
    let mut statement =
        connection.prepare("SELECT registry, owner, cursor, generation, all_generation FROM feed")?;
    let rows = statement.query_map([], |row| {
        let feed = Feed {
            cursor: read(row.get("cursor")?),
            generation: generation(row, "generation")?,
            all_generation: generation(row, "all_generation")?,
            changed: HashMap::new(),
        };
        Ok(((row.get("registry")?, row.get("owner")?), feed))
    })?;
    let mut feeds: HashMap<FeedKey, Feed> = rows.collect::<Result<_, _>>()?;
    let mut statement =
        connection.prepare("SELECT registry, owner, repository, changed_generation FROM feed_repository")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key = (row.get("registry")?, row.get("owner")?);
        if let Some(feed) = feeds.get_mut(&key) {
            feed.changed.insert(row.get("repository")?, generation(row, "changed_generation")?);
        }
    }
    Ok(feeds)
}

/// One that no number of polls can have come to is an error.
fn generation(row: &Row<'_>, column: &str) -> rusqlite::Result<i64> {
    row.get::<_, u32>(column).map(i64::from)
}

/// A cursor that cannot be read is none: then everything may have changed.
fn read(text: Option<String>) -> Option<Cursor> {
    serde_json::from_str(&text?).ok()
}

impl Write<'_> {
    /// Records what was seen since the feed was `before`. Where another run recorded something meanwhile,
    /// its cursor stays, and what we saw is marked all the same. Gives the feed as it is then.
    pub(crate) fn record_feed(
        &self,
        (registry, owner): &FeedKey,
        before: &Feed,
        cursor: &Cursor,
        changes: &Changes,
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
        let query = "INSERT INTO feed (registry, owner, cursor, generation, all_generation) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET cursor = iif(?6, excluded.cursor, cursor), generation = ?4,
             all_generation = max(all_generation, ?5)";
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
            is_ours
        ])?;
        if let Changes::Some(repositories) = changes {
            let query =
                "INSERT OR REPLACE INTO feed_repository (registry, owner, repository, changed_generation)
                 VALUES (?1, ?2, ?3, ?4)";
            let mut statement = self.transaction().prepare_cached(query)?;
            for repository in repositories.keys() {
                statement.execute(params![registry, owner, repository, generation])?;
                after.changed.insert(repository.clone(), generation);
            }
        }
        if is_ours {
            after.cursor = Some(cursor.clone());
        }
        Ok(after)
    }
}
