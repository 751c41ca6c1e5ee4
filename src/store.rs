//! The state file: SQLite with a rollback journal and `synchronous=FULL`. No transaction lasts during a
//! request or a command. `<state>.locks/` beside it contains one empty file for each target, locked while a
//! deployment of it runs.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the store is where SQLite and the state's files live"
)]

mod error;
mod feed;
mod file;
mod history;
mod image;
mod journal;
mod lock;
mod lock_wait;
mod migration;
mod notification;
mod owner;
mod row;
mod stamp;
mod write;

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

pub(crate) use error::StoreError;
pub(crate) use feed::{Feed, FeedKey};
pub(crate) use history::{Origin, Past, PastAttempt, Ran, Search};
pub(crate) use lock::Lock;
pub(crate) use notification::Notified;
pub(crate) use owner::give_to_owner_of;
pub(crate) use row::GivenTag;
pub(crate) use write::{Attempt, AttemptEnd, Write};

use lock_wait::LockWait;
use owner::StandIn;
use stamp::Stamp;

use crate::engine::first_seen::SeenTags;
use crate::engine::{Monitor, MonitorOutage, Notification, OpenDeployments, PollState, StageRun, Unfinished};
use crate::images::KnownImage;
use crate::process::Traces;
use crate::reference::{Repository, Tag};
use crate::registry::Limit;
use crate::stop::Cutoff;
use crate::target::TargetId;

/// The states of all targets. In boxes, because a table of large values is copied each time it grows.
pub(crate) type States = HashMap<TargetId, Box<PollState>>;

/// Targets with invalid values in their rows. Their other rows must not be used.
pub(crate) type Unreadable = HashMap<TargetId, StoreError>;

/// An open state file. Shared by the threads of a run.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Mutex<Connection>,
    lock_wait: LockWait,
    /// The file, or `none`, for messages.
    place: String,
    locks: lock::Locks,
    is_kept: bool,
}

/// An attempt that was interrupted or failed.
#[derive(Debug)]
pub(crate) struct LatestAttempt {
    pub(crate) tag: Tag,
    pub(crate) traces: Traces,
    pub(crate) started_at: Timestamp,
    /// False: it runs or was interrupted.
    pub(crate) has_failed: bool,
    /// The time by which its steps have ended or been stopped, if recorded.
    pub(crate) over_by: Option<Timestamp>,
}

impl LatestAttempt {
    /// Whether its steps have ended by now, or began later than they may take: by a wrong clock.
    fn is_over(&self, now: Timestamp) -> bool {
        self.over_by.is_none_or(|over_by| {
            let longest = over_by.duration_since(self.started_at);
            over_by < now || self.started_at.duration_since(now) > longest
        })
    }
}

/// Data about targets that a poll needs before it starts.
#[derive(Debug)]
pub(crate) struct Checks<'t> {
    /// By project and stage: the last poll, successful or not.
    checked_at: HashMap<(&'t str, &'t str), Cell<Option<Timestamp>>>,
    /// Targets in the state that left the configuration, and were not reported yet.
    pub(crate) left: Vec<TargetId>,
}

impl Checks<'_> {
    /// The target's last poll, successful or not.
    pub(crate) fn checked_at(&self, target: &TargetId) -> Option<Timestamp> {
        self.checked_at.get(&(target.project.as_str(), target.stage.as_str()))?.get()
    }
}

impl Store {
    /// Opens the state file, or creates it with its folder (modes 0600 and 0700). Returns also whether it was
    /// created, which callers always report. Stops waiting for another process that holds the file at the
    /// cutoff.
    ///
    /// # Errors
    /// It is corrupt, newer than this program, read-only, or cannot be created.
    pub(crate) fn open(path: &Path, cutoff: &Cutoff) -> Result<(Store, bool), StoreError> {
        let place = path.display().to_string();
        let (found, created) = match file::find(path)? {
            Some(found) => (found, false),
            None => {
                let created = file::create(path)?;
                let found = file::find(path)?.ok_or_else(|| StoreError::File {
                    path: path.to_owned(),
                    error: std::io::ErrorKind::NotFound.into(),
                })?;
                (found, created)
            }
        };
        let lock_wait = LockWait::until(cutoff);
        let connection = lock_wait.wait(Cutoff::is_reached, || file::open(&found.path, path))?;
        let locks = lock::Locks::beside(&found.path, found.owner);
        let store = Store { connection: Mutex::new(connection), lock_wait, place, locks, is_kept: true };
        {
            let mut connection = store.connection();
            let _owner = store.stand_in(&connection);
            store.lock_wait.wait(Cutoff::is_reached, || migration::run(&mut connection, &store.place))?;
        }
        Ok((store, created))
    }

    /// A state that lasts only for the run: `state = "none"`. The locks are named after the configuration.
    ///
    /// # Errors
    /// SQLite fails, or the configuration has a second name.
    pub(crate) fn nothing(config: &Path) -> Result<Store, StoreError> {
        Ok(Store {
            connection: Mutex::new(in_memory()?),
            lock_wait: LockWait::until(&Cutoff::default()),
            place: "none".to_owned(),
            locks: lock::Locks::of_configuration(config)?,
            is_kept: false,
        })
    }

    /// The state file, read-only; a copy, if an older tagship wrote it. `cutoff`: as in [`Store::open`].
    ///
    /// # Errors
    /// The file is corrupt, newer than this program, or its journal belongs to another file.
    pub(crate) fn read(path: &Path, cutoff: &Cutoff) -> Result<Store, StoreError> {
        let Some(found) = file::find(path)? else {
            return Store::copy_of(path, cutoff);
        };
        let place = path.display().to_string();
        let lock_wait = LockWait::until(cutoff);
        let (connection, is_current) = lock_wait.wait(Cutoff::is_reached, || {
            let connection = file::open_for_reading(&found.path, path)?;
            let is_current = migration::is_current(&connection, &place)?;
            Ok((connection, is_current))
        })?;
        if !is_current {
            return Store::copy_of(path, cutoff);
        }
        let locks = lock::Locks::beside(&found.path, found.owner);
        Ok(Store { connection: Mutex::new(connection), lock_wait, place, locks, is_kept: true })
    }

    /// A copy of the state file in memory, or an empty state if there is no file, for commands that must not
    /// write to it. `cutoff`: as in [`Store::open`].
    ///
    /// # Errors
    /// The file is corrupt, or newer than this program.
    pub(crate) fn copy_of(path: &Path, cutoff: &Cutoff) -> Result<Store, StoreError> {
        let lock_wait = LockWait::until(cutoff);
        let place = path.display().to_string();
        let mut connection = in_memory()?;
        let locks = match file::find(path)? {
            Some(found) => {
                lock_wait.wait(Cutoff::is_reached, || file::copy(&found.path, path, &mut connection))?;
                migration::run(&mut connection, &place)?;
                lock::Locks::beside(&found.path, found.owner)
            }
            None => lock::Locks::beside(path, owner::FileOwner::this()),
        };
        Ok(Store { connection: Mutex::new(connection), lock_wait, place, locks, is_kept: true })
    }

    /// The possible files of a state and the folder of its locks, each with its name in messages.
    pub(crate) fn files(path: &Path) -> [(&'static str, PathBuf); 4] {
        let state = crate::file::resolved(path);
        [
            ("the journal of the state file", journal::beside(&state, file::JOURNAL)),
            ("the journal of the state file", journal::beside(&state, "-wal")),
            ("a lock of the state file", lock::Locks::folder_beside(&state)),
            ("the state file", state),
        ]
    }

    /// What prevents this user from taking the existing locks.
    pub(crate) fn lock_faults(&self) -> Vec<StoreError> {
        self.locks.faults()
    }

    /// Runs `work` on a consistent view of the state. It blocks all writers, so `work` must only read, and
    /// not send requests or print.
    ///
    /// # Errors
    /// Those of `work`; the state file cannot be read.
    pub(crate) fn at_once<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.within(|| self.connection().execute_batch("BEGIN"))?;
        let result = work();
        self.within(|| self.connection().execute_batch("ROLLBACK"))?;
        result
    }

    /// Every target's row, by one query.
    ///
    /// # Errors
    /// The state file cannot be read, or contains values that this version does not write.
    pub(crate) fn states(&self) -> Result<States, StoreError> {
        all_readable(self.readable_states()?)
    }

    /// As [`Store::states`], but an invalid value is an error of its own target.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub(crate) fn readable_states(&self) -> Result<(States, Unreadable), StoreError> {
        let connection = self.connection();
        self.within(|| {
            let mut statement = connection.prepare(row::ALL_STATES)?;
            let (mut states, mut unreadable) = (States::new(), Unreadable::new());
            for row in statement.query_map([], row::state)? {
                match row? {
                    (target, Ok(state)) => drop(states.insert(target, Box::new(state))),
                    (target, Err(error)) => self.cannot_read(&mut unreadable, target, error),
                }
            }
            Ok((states, unreadable))
        })
    }

    /// The state of one target.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn state(&self, target: &TargetId) -> Result<Option<PollState>, StoreError> {
        let connection = self.connection();
        self.within(|| {
            let mut statement = connection.prepare_cached(row::ONE_STATE)?;
            let found = statement.query_row([target.project.as_str(), target.stage.as_str()], row::state);
            found.optional()?.map(|(_, state)| state).transpose()
        })
    }

    /// Every open deployment (pending, running or dead), by target.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn open_deployments(&self) -> Result<HashMap<TargetId, OpenDeployments>, StoreError> {
        all_readable(self.readable_open_deployments()?)
    }

    /// As [`Store::open_deployments`], but an invalid value is an error of its own target.
    ///
    /// # Errors
    /// As [`Store::readable_states`].
    pub(crate) fn readable_open_deployments(
        &self,
    ) -> Result<(HashMap<TargetId, OpenDeployments>, Unreadable), StoreError> {
        let connection = self.connection();
        self.within(|| {
            let mut statement = connection.prepare(&row::open_deployments())?;
            let mut found: HashMap<TargetId, OpenDeployments> = HashMap::new();
            let mut unreadable = Unreadable::new();
            for row in statement.query_map([], |row| Ok((row::target_id(row)?, row::deployment(row))))? {
                match row? {
                    (target, Ok(deployment)) => found.entry(target).or_default().insert(deployment),
                    (target, Err(error)) => self.cannot_read(&mut unreadable, target, error),
                }
            }
            Ok((found, unreadable))
        })
    }

    fn cannot_read(&self, unreadable: &mut Unreadable, target: TargetId, error: rusqlite::Error) {
        let error = sqlite(&format!("{}: {target}", self.place), error);
        unreadable.insert(target, error);
    }

    /// The tags that a stage ran, earliest first.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn runs(&self, target: &TargetId) -> Result<Vec<StageRun>, StoreError> {
        let connection = self.connection();
        self.within(|| row::runs(&connection, target, None))
    }

    /// The tags of this image that a stage ran, earliest first: a rollback never mixes two images.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn runs_of(&self, target: &TargetId, image: &Repository) -> Result<Vec<StageRun>, StoreError> {
        let connection = self.connection();
        self.within(|| row::runs(&connection, target, Some(image)))
    }

    /// The newest started deployment of this image to a target, if it did not succeed.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn unfinished(
        &self,
        target: &TargetId,
        image: &Repository,
    ) -> Result<Option<Unfinished>, StoreError> {
        let connection = self.connection();
        self.within(|| row::unfinished(&connection, target, image))
    }

    /// The tags of a target, and when each was first seen; kept for order `newest` if the registry has no
    /// push times.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn seen_tags(&self, target: &TargetId) -> Result<SeenTags, StoreError> {
        let connection = self.connection();
        self.within(|| row::seen_tags(&connection, target))
    }

    /// Every tag that was deployed to a target.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn given(&self, target: &TargetId) -> Result<HashMap<Tag, GivenTag>, StoreError> {
        let connection = self.connection();
        self.within(|| row::given(&connection, target))
    }

    /// Every target that has a row, those that left the configuration included.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn targets(&self) -> Result<Vec<TargetId>, StoreError> {
        let connection = self.connection();
        self.within(|| row::targets(&connection))
    }

    /// When these targets were last checked, and which targets of the state are not among them.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn checks<'t>(
        &self,
        targets: impl Iterator<Item = &'t TargetId> + Clone,
    ) -> Result<Checks<'t>, StoreError> {
        let connection = self.connection();
        self.within(|| row::checks(&connection, targets.clone()))
    }

    /// Records that targets that left the configuration were reported. Writes nothing if there are none.
    ///
    /// # Errors
    /// The state cannot be written.
    pub(crate) fn note_left(&self, left: &[TargetId], now: Timestamp) -> Result<(), StoreError> {
        if left.is_empty() {
            return Ok(());
        }
        self.write(|write| left.iter().try_for_each(|id| write.note_left(id, now)))
    }

    /// The error of the last attempt of a deployment, if it failed.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn last_error(&self, deployment_id: &str) -> Result<Option<String>, StoreError> {
        let connection = self.connection();
        self.within(|| row::last_error(&connection, deployment_id))
    }

    /// The end of the output of a deployment's last attempt.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn last_output(&self, deployment_id: &str) -> Result<Option<String>, StoreError> {
        let connection = self.connection();
        self.within(|| row::last_output(&connection, deployment_id))
    }

    /// Every owner's feed.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn feeds(&self) -> Result<HashMap<FeedKey, Feed>, StoreError> {
        let connection = self.connection();
        self.within(|| feed::feeds(&connection))
    }

    /// The images that registries have listed.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn images(&self) -> Result<Vec<KnownImage>, StoreError> {
        let connection = self.connection();
        self.within(|| image::images(&connection))
    }

    /// When the images of each owner were last listed. An owner without an entry is due.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn image_lists(&self) -> Result<HashMap<FeedKey, Timestamp>, StoreError> {
        let connection = self.connection();
        self.within(|| image::image_lists(&connection))
    }

    /// The retry limits of registries, by address.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn limits(&self) -> Result<HashMap<String, Limit>, StoreError> {
        let connection = self.connection();
        self.within(|| row::limits(&connection))
    }

    /// The monitors that the last runs could not report themselves to.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn monitor_outages(&self) -> Result<HashMap<Monitor, MonitorOutage>, StoreError> {
        let connection = self.connection();
        self.within(|| row::monitor_outages(&connection))
    }

    /// The file, or `none`, for messages.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Whether the state outlives the run.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The selected deployments of these targets, with their attempts, newest first.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn history<'t>(
        &self,
        targets: impl Iterator<Item = &'t TargetId> + Clone,
        search: &Search,
    ) -> Result<Vec<Past>, StoreError> {
        self.at_once(|| {
            let connection = self.connection();
            self.within(|| history::history(&connection, targets.clone(), search))
        })
    }

    /// What a target ran between `begin` and `end`, inclusive, in order.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn ran(
        &self,
        target: &TargetId,
        begin: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<Ran>, StoreError> {
        let connection = self.connection();
        self.within(|| history::ran(&connection, target, begin, end))
    }

    /// The latest deployment of a tag to a target; successful ones come before others.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn origin(&self, target: &TargetId, tag: &Tag) -> Result<Option<Origin>, StoreError> {
        let connection = self.connection();
        self.within(|| history::origin(&connection, target, tag))
    }

    /// The newest deployments of the selected targets, up to `limit`, newest first, without the output of
    /// their attempts.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn recent(
        &self,
        is_wanted: impl Fn(&TargetId) -> bool,
        most: usize,
    ) -> Result<Vec<Past>, StoreError> {
        let connection = self.connection();
        self.within(|| history::recent(&connection, &is_wanted, most))
    }

    /// Unsent notifications, oldest first.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn unsent(&self) -> Result<Vec<Notification>, StoreError> {
        let connection = self.connection();
        self.within(|| notification::unsent(&connection))
    }

    /// Takes the lock for sending notifications, as [`Store::lock`].
    ///
    /// # Errors
    /// The lock's file cannot be created.
    pub(crate) fn lock_outbox(&self) -> Result<Option<Lock>, StoreError> {
        self.locks.take_outbox()
    }

    /// The last started attempt of a target, if it did not succeed.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn latest_attempt(&self, target: &TargetId) -> Result<Option<LatestAttempt>, StoreError> {
        let connection = self.connection();
        self.within(|| row::latest_attempt(&connection, target))
    }

    /// The process groups that act on a target: those of the attempt that [`Store::latest_attempt`] gives, its leader's
    /// first, then those that hold the target's lock. As far as the system tells.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn groups_at_work(&self, target: &TargetId) -> Result<Vec<i32>, StoreError> {
        let latest = self.latest_attempt(target)?;
        let mut groups = latest.map_or_else(Vec::new, |latest| latest.traces.find().groups);
        let mut holders = self.locks.holders(target);
        holders.retain(|group| !groups.contains(group));
        groups.extend(holders);
        Ok(groups)
    }

    /// Whether processes of an interrupted or failed attempt still act on the target.
    ///
    /// Processes that a command leaves behind count only until the timeouts of the attempt have passed, because the
    /// command may start a daemon on purpose. The command itself counts as long as it runs.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn is_acted_on(&self, target: &TargetId) -> Result<bool, StoreError> {
        let Some(latest) = self.latest_attempt(target)? else {
            return Ok(false);
        };
        let running = latest.traces.find();
        Ok(running.leader || (running.any && !latest.is_over(Timestamp::now())))
    }

    /// Runs `work` in one transaction that is opened for writing, so that it changes exactly what it read.
    ///
    /// # Errors
    /// Nothing was changed.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Write<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.write_until(Cutoff::is_reached, work)
    }

    /// As [`Store::write`], for events that have already happened: waits even beyond the deadline of the run.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub(crate) fn write_outcome<T>(
        &self,
        work: impl FnOnce(&Write<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.write_until(Cutoff::is_signalled, work)
    }

    fn write_until<T>(
        &self,
        ends: fn(&Cutoff) -> bool,
        work: impl FnOnce(&Write<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.connection();
        let _owner = self.stand_in(&connection);
        let failed = |error| sqlite(&self.place, error);
        let begin = || Transaction::new_unchecked(&connection, TransactionBehavior::Immediate);
        let transaction = self.lock_wait.wait(ends, || begin().map_err(failed))?;
        let changes = transaction.total_changes();
        let result = work(&Write::new(&transaction)).map_err(failed)?;
        // A commit without changes costs no disk access.
        if transaction.total_changes() != changes {
            Stamp::renew(&transaction).map_err(failed)?;
        }
        // While another process reads, the transaction stays open.
        self.lock_wait.wait(ends, || transaction.execute_batch("COMMIT").map_err(failed))?;
        Ok(result)
    }

    /// Takes the target's lock. None: another process has it, or processes of an unsuccessful attempt still
    /// act on the target, even if they closed their standard input, which was the lock.
    ///
    /// # Errors
    /// The lock's file cannot be created, or the state file cannot be read.
    pub(crate) fn lock(&self, target: &TargetId) -> Result<Option<Lock>, StoreError> {
        let Some(lock) = self.locks.take(target)? else {
            return Ok(None);
        };
        Ok(if self.is_acted_on(target)? { None } else { Some(lock) })
    }

    /// Runs `work` as the owner of the state, so that SQLite creates the journal as that user.
    fn stand_in(&self, connection: &Connection) -> Option<StandIn> {
        let state = connection.path().filter(|path| !path.is_empty())?;
        self.locks.owner().stand_in(&journal::beside(Path::new(state), file::JOURNAL))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic ends the process, so the lock is never poisoned.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads; waits while another process writes.
    fn within<T>(&self, mut work: impl FnMut() -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.lock_wait.wait(Cutoff::is_reached, || work().map_err(|error| sqlite(&self.place, error)))
    }
}

fn all_readable<T>((found, unreadable): (T, Unreadable)) -> Result<T, StoreError> {
    unreadable.into_values().next().map_or(Ok(found), Err)
}

/// An empty state in memory.
fn in_memory() -> Result<Connection, StoreError> {
    let mut connection = Connection::open_in_memory().map_err(|error| sqlite("none", error))?;
    migration::make(&mut connection).map_err(|error| sqlite("none", error))?;
    Ok(connection)
}

fn sqlite(place: &str, error: rusqlite::Error) -> StoreError {
    StoreError::Sqlite { place: place.to_owned(), error }
}

#[cfg(test)]
mod tests;
