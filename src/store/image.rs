//! The images that registries have listed, for tables with `images`.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr as _;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::feed::FeedKey;
use super::row::{optional, parsed};
use super::write::{Write, text};
use crate::images::KnownImage;
use crate::reference::Repository;

/// An image is retired after two lists without it, at least this far apart.
pub(crate) const GONE_AFTER: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn images(connection: &Connection) -> rusqlite::Result<Vec<KnownImage>> {
    let query = "SELECT registry, repository, reported_at, missing_since, retired_at FROM image";
    let mut statement = connection.prepare(query)?;
    let images = statement.query_map([], |row| {
        Ok(KnownImage {
            registry: row.get("registry")?,
            repository: parsed(row, "repository", Repository::new)?,
            reported_at: optional(row, "reported_at", Timestamp::from_str)?,
            missing_since: optional(row, "missing_since", Timestamp::from_str)?,
            retired_at: optional(row, "retired_at", Timestamp::from_str)?,
        })
    })?;
    images.collect()
}

pub(super) fn image_lists(connection: &Connection) -> rusqlite::Result<HashMap<FeedKey, Timestamp>> {
    let mut statement = connection.prepare("SELECT registry, owner, listed_at FROM image_list")?;
    let lists = statement.query_map([], |row| {
        let key = (row.get("registry")?, row.get("owner")?);
        Ok((key, parsed(row, "listed_at", Timestamp::from_str)?))
    })?;
    lists.collect()
}

impl Write<'_> {
    /// Records images that a registry has. A retired image becomes a new one, to be reported again.
    pub(crate) fn note_images<'r>(
        &self,
        registry: &str,
        images: impl IntoIterator<Item = &'r Repository>,
    ) -> rusqlite::Result<()> {
        let query = "INSERT INTO image (registry, repository) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET missing_since = NULL, retired_at = NULL,
             reported_at = iif(retired_at IS NULL, reported_at, NULL)
             WHERE missing_since IS NOT NULL OR retired_at IS NOT NULL";
        let mut statement = self.transaction().prepare_cached(query)?;
        images.into_iter().try_for_each(|image| statement.execute([registry, image.as_str()]).map(|_| ()))
    }

    /// Records the complete list of an owner's images. `gone`: missing images that have no tags list either.
    pub(crate) fn record_images(
        &self,
        key: &FeedKey,
        listed: &BTreeSet<Repository>,
        gone: &BTreeSet<Repository>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let (registry, owner) = key;
        self.note_images(registry, listed)?;
        let query = "INSERT INTO image_list (registry, owner, listed_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET listed_at = ?3";
        self.transaction().prepare_cached(query)?.execute(params![registry, owner, text(now)])?;
        // An empty list is not evidence that images were deleted.
        if listed.is_empty() {
            return Ok(());
        }
        let query =
            "UPDATE image SET missing_since = ?3, retired_at = ?4 WHERE registry = ?1 AND repository = ?2";
        let mut statement = self.transaction().prepare_cached(query)?;
        let is_missing = |image: &KnownImage| {
            image.registry == *registry
                && image.repository.owner() == owner
                && image.retired_at.is_none()
                && !listed.contains(&image.repository)
        };
        for image in images(self.transaction())?.into_iter().filter(is_missing) {
            let is_retired = image.is_missing_for_good(now) && gone.contains(&image.repository);
            // A time in the future comes from a wrong clock.
            let since = image.missing_since.filter(|since| *since <= now).unwrap_or(now);
            let retired_at = is_retired.then(|| text(now));
            statement.execute(params![registry, image.repository.as_str(), text(since), retired_at])?;
        }
        Ok(())
    }

    /// Makes the owner's images due for listing at the next poll.
    pub(crate) fn want_images(&self, (registry, owner): &FeedKey) -> rusqlite::Result<()> {
        let query = "DELETE FROM image_list WHERE registry = ?1 AND owner = ?2";
        self.transaction().prepare_cached(query)?.execute([registry, owner])?;
        Ok(())
    }

    /// Records that a new project is reported. False: it was reported before.
    pub(crate) fn note_reported(
        &self,
        registry: &str,
        repository: &Repository,
        now: Timestamp,
    ) -> rusqlite::Result<bool> {
        let query = "UPDATE image SET reported_at = ?3
             WHERE registry = ?1 AND repository = ?2 AND reported_at IS NULL";
        let values = params![registry, repository.as_str(), text(now)];
        Ok(self.transaction().prepare_cached(query)?.execute(values)? > 0)
    }
}

impl KnownImage {
    /// Whether this list without the image is the second one, at least a day after the first.
    pub(crate) fn is_missing_for_good(&self, now: Timestamp) -> bool {
        self.missing_since.is_some_and(|since| now.duration_since(since) >= GONE_AFTER)
    }
}
