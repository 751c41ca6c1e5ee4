//! Lists the images of owners for tables with `images`, and reports new ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use jiff::Timestamp;

use super::changes::{self, is_due_for_resync};
use super::listing::{Extent, Listed, ListedContent};
use super::{Run, Session, failure, out_of_time};
use crate::config::Config;
use crate::engine::feed::Cursor;
use crate::engine::{ErrorCode, Failure, Notification, Status};
use crate::images::{Discovered, ImageTable, KnownImage};
use crate::reference::Repository;
use crate::registry::RegistryError;
use crate::report::{Event as Reported, Report};
use crate::store::{Feed, FeedKey, StoreError};
use crate::target::notifier::NotifyEvent;
use crate::target::{Name, Target};

/// The result for a table with `images`.
#[derive(Clone, Debug)]
pub(crate) enum TableResult {
    /// The images could not be listed, or some of them cannot be projects.
    Failed(Failure),
    /// No image matches.
    Empty(String),
    /// Every matching image is a project.
    Complete(String),
}

impl From<TableResult> for ListedContent {
    fn from(result: TableResult) -> ListedContent {
        match result {
            TableResult::Failed(failure) => ListedContent::Failed(failure),
            TableResult::Empty(reason) => ListedContent::Table { status: Status::NoMatch, reason },
            TableResult::Complete(reason) => ListedContent::Table { status: Status::UpToDate, reason },
        }
    }
}

/// The reports about tables, whose stages have indexes from `first`.
pub(super) fn of_tables(first: usize, results: Vec<TableResult>) -> Vec<Listed> {
    let asked_at = Timestamp::now();
    let listed = |(place, result): (usize, TableResult)| Listed {
        index: first + place,
        asked_at,
        extent: Extent::Nothing,
        tags: None,
        found: result.into(),
    };
    results.into_iter().enumerate().map(listed).collect()
}

/// The owners in tables with `images`, each with the name of its registry.
pub(super) fn owners(config: &Config) -> BTreeSet<(&Name, FeedKey)> {
    config.tables.iter().flat_map(|table| owners_of(config, table)).collect()
}

fn owners_of<'c>(config: &'c Config, table: &'c ImageTable) -> impl Iterator<Item = (&'c Name, FeedKey)> {
    let key = |owner| changes::key(config, &table.registry, owner);
    table.owners().into_iter().map(move |owner| (&table.registry, key(owner)))
}

/// The lists of images to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The lists that are due.
    Due,
    /// The lists that this run did not read, because an unknown name may be a new image.
    Unread,
}

/// A run lists the images of an owner once, and once more if the change feed cannot tell the images that
/// appeared since.
const MOST: u32 = 2;

impl Session<'_> {
    /// Lists the images of the tables' owners concurrently, and records them. Adds errors to `failures`.
    /// Returns whether any owner was listed.
    pub(crate) fn list_images(
        &mut self,
        run: &Run<'_>,
        tables: &[&ImageTable],
        wanted: Wanted,
        failures: &mut HashMap<FeedKey, Failure>,
    ) -> bool {
        self.try_to_list(run, tables, wanted, failures).unwrap_or_else(|error| {
            let failure = Failure { code: ErrorCode::State, message: run.secrets.mask(&error.to_string()) };
            let keys = tables.iter().flat_map(|table| owners_of(run.config, table)).map(|(_, key)| key);
            failures.extend(keys.map(|key| (key, failure.clone())));
            false
        })
    }

    fn try_to_list(
        &mut self,
        run: &Run<'_>,
        tables: &[&ImageTable],
        wanted: Wanted,
        failures: &mut HashMap<FeedKey, Failure>,
    ) -> Result<bool, StoreError> {
        let mut lists: BTreeMap<&Name, Vec<(FeedKey, &ImageTable)>> = BTreeMap::new();
        let known_lists = run.store.image_lists()?;
        let now = Timestamp::now();
        for table in tables {
            let is_empty = run.config.targets_of(table).next().is_none();
            for (registry, key) in owners_of(run.config, table) {
                let read = self.listed.get(&key).copied().unwrap_or(0);
                let is_due = known_lists
                    .get(&key)
                    .is_none_or(|at| is_due_for_resync(*at, &key.1, run.config.settings.resync, now));
                let is_wanted = match wanted {
                    Wanted::Due => read < MOST && (is_due || (read == 0 && (is_empty || run.refresh))),
                    Wanted::Unread => read == 0,
                };
                let of_registry = lists.entry(registry).or_default();
                if is_wanted && of_registry.iter().all(|(known, _)| *known != key) {
                    of_registry.push((key, *table));
                }
            }
        }
        lists.retain(|_, keys| !keys.is_empty());
        if lists.is_empty() {
            return Ok(false);
        }
        self.registries.open(run, lists.keys().copied(), &self.traffic)?;
        let asked = ImageLister { session: self, run, known: run.store.images()?, feeds: run.store.feeds()? };
        let listed = asked.side_by_side(&lists);
        if self.cutoff.is_signalled() {
            // An interrupted listing is not a failed check.
            return Ok(false);
        }
        run.store.write(|write| {
            for (key, result) in &listed {
                if let Ok(Images { listed, gone }) = result {
                    write.record_images(key, listed, gone, now)?;
                }
            }
            Ok(())
        })?;
        for (key, result) in listed {
            let read = self.listed.entry(key.clone()).or_insert(0);
            match result {
                Ok(_) => {
                    *read += 1;
                    failures.remove(&key);
                }
                Err(failure) => {
                    *read = MOST;
                    failures.insert(key, failure);
                }
            }
        }
        Ok(true)
    }
}

/// The images of an owner.
struct Images {
    listed: BTreeSet<Repository>,
    /// Images missing for long enough to be retired, which have no tags list either.
    gone: BTreeSet<Repository>,
}

/// The data for listing images.
struct ImageLister<'a> {
    session: &'a Session<'a>,
    run: &'a Run<'a>,
    known: Vec<KnownImage>,
    feeds: HashMap<FeedKey, Feed>,
}

impl ImageLister<'_> {
    /// Each registry uses its own connections, and does not wait for the others.
    fn side_by_side(
        &self,
        lists: &BTreeMap<&Name, Vec<(FeedKey, &ImageTable)>>,
    ) -> Vec<(FeedKey, Result<Images, Failure>)> {
        thread::scope(|scope| {
            let mut helpers = Vec::new();
            let mut found = Vec::new();
            for (name, keys) in lists {
                let next = Arc::new(AtomicUsize::new(0));
                let work = move || {
                    let take = || keys.get(next.fetch_add(1, Ordering::Relaxed));
                    let mut found = Vec::new();
                    while let Some((key, table)) = take() {
                        found.push((key.clone(), self.list(name, key, table)));
                    }
                    found
                };
                let connections = self.run.config.registries[*name].connections.min(keys.len());
                for _ in 0..connections {
                    match thread::Builder::new().spawn_scoped(scope, work.clone()) {
                        Ok(helper) => helpers.push(helper),
                        // The present thread does the work if no other can be started.
                        Err(_) => found.extend(work()),
                    }
                }
            }
            for helper in helpers {
                match helper.join() {
                    Ok(listed) => found.extend(listed),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            found
        })
    }

    fn list(&self, name: &Name, key: &FeedKey, table: &ImageTable) -> Result<Images, Failure> {
        if self.session.cutoff.is_reached() {
            return Err(out_of_time(self.run));
        }
        self.refuse_other_owner(key, table)?;
        let registry = self.session.registries.get(name);
        let failed = |error| failure(self.run, &error);
        let listed: BTreeSet<Repository> = registry.images(&key.1).map_err(failed)?.into_iter().collect();
        let now = Timestamp::now();
        let is_missing = |image: &&KnownImage| {
            image.registry == key.0
                && image.repository.owner() == key.1
                && image.retired_at.is_none()
                && image.is_missing_for_good(now)
                && !listed.contains(&image.repository)
        };
        let mut gone = BTreeSet::new();
        for image in self.known.iter().filter(is_missing).filter(|_| !listed.is_empty()) {
            if let Err(RegistryError::NotFound(_)) = registry.list_tags(&image.repository) {
                gone.insert(image.repository.clone());
            }
        }
        Ok(Images { listed, gone })
    }

    /// Fails if another owner has the name, so that its images are not used.
    fn refuse_other_owner(&self, key: &FeedKey, table: &ImageTable) -> Result<(), Failure> {
        let feed = self.feeds.get(key);
        let other = feed.and_then(|feed| feed.other_owner(feed.cursor.as_ref().and_then(Cursor::owner)));
        let Some((before, now)) = other else { return Ok(()) };
        let is_of_owner = |target: &&Target| {
            let image = &target.image.repository;
            changes::key(self.run.config, &target.registry, image.owner()) == *key
        };
        let target = self.run.config.targets.iter().find(is_of_owner);
        let target = target.map_or_else(|| table.name.to_string(), |target| target.id.to_string());
        let message = changes::other_owner(&key.1, before, now, &target);
        Err(Failure { code: ErrorCode::Protocol, message })
    }
}

/// Reports each new project once. The state is written first; if that fails, a later run reports the project.
pub(super) fn introduce(run: &Run<'_>, targets: &[&Target], report: &mut dyn Report) {
    let mut new: BTreeMap<&Name, (&Discovered, Vec<&Target>)> = BTreeMap::new();
    for target in targets {
        if let Some(project) = run.config.discovered.get(&target.id.project).filter(|project| project.is_new)
        {
            new.entry(&target.id.project).or_insert((project, Vec::new())).1.push(target);
        }
    }
    // Without a state every project is new in every run.
    if new.is_empty() || !run.store.is_kept() {
        return;
    }
    let now = Timestamp::now();
    let reported = run.store.write(|write| {
        let mut reported = Vec::new();
        for (name, (project, stages)) in &new {
            // Another run may have reported it.
            if !write.note_reported(&project.registry, &project.image.repository, now)? {
                continue;
            }
            reported.push((*name, &project.image));
            for notifier in &run.config.notifiers {
                let stage = stages.iter().find(|stage| notifier.wants(NotifyEvent::Discovered, &stage.id));
                if let Some(stage) = stage {
                    let id = uuid::Uuid::now_v7().to_string();
                    let receiver = &notifier.receiver;
                    let one = Notification::new(id, receiver, &stage.id, NotifyEvent::Discovered, now);
                    write.insert_notification(&one)?;
                }
            }
        }
        Ok(reported)
    });
    for (project, image) in reported.unwrap_or_default() {
        report.event(Reported::Discovered { project, image });
    }
}
