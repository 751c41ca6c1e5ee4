//! The state file: SQLite with a rollback journal and `synchronous=FULL`. No transaction spans a
//! request or a command. Beside it, `<state>.locks/`: one empty file a target, locked while a
//! deployment of it runs.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the store is where SQLite and the state's files live"
)]

mod feed;
mod file;
mod history;
mod journal;
mod lock;
mod migration;
mod notification;
mod owner;
mod patience;
mod row;
mod stamp;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

pub(crate) use feed::{Feed, FeedKey};
pub(crate) use history::{Origin, Past, PastAttempt, Ran, Search};
pub(crate) use lock::Lock;
pub(crate) use notification::Notified;
pub(crate) use owner::give_to_owner_of;
pub(crate) use write::{Attempt, AttemptEnd, Write};

use owner::StandIn;
use patience::LockWait;
use stamp::Stamp;

use crate::engine::first_seen::SeenTags;
use crate::engine::{Notification, OpenDeployments, PollState, StageRun, Unfinished};
use crate::process::Traces;
use crate::reference::Tag;
use crate::registry::Limit;
use crate::stop::{CutShort, Cutoff};
use crate::target::TargetId;

/// An open state file. Shared by the threads of a run.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Mutex<Connection>,
    patience: LockWait,
    /// For messages: the file, or `none`.
    place: String,
    locks: lock::Locks,
    is_kept: bool,
}

/// An attempt that was interrupted, or failed.
#[derive(Debug)]
pub(crate) struct LatestAttempt {
    pub(crate) tag: Tag,
    pub(crate) traces: Traces,
    pub(crate) started_at: Timestamp,
    /// False: it runs, or was interrupted.
    pub(crate) has_failed: bool,
    /// When its steps have ended, or were ended, if that is recorded.
    pub(crate) over_by: Option<Timestamp>,
}

/// What is to be known of targets before any is polled.
#[derive(Debug)]
pub(crate) struct Checks<'t> {
    /// The last poll, successful or not.
    pub(crate) checked_at: HashMap<&'t TargetId, Timestamp>,
    /// Of the state, and not among them; of which nobody was told yet.
    pub(crate) left: Vec<TargetId>,
}

/// Why the state cannot be used. Each text names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{place}: {message}")]
    Unusable { place: String, message: String },
    #[error("{place}: {error}{}{}", code(.error), advice(.error))]
    Sqlite { place: String, error: rusqlite::Error },
    /// By this signal, or at the run's deadline.
    #[error("{place}: another process holds it; {CutShort}")]
    CutShort { place: String, signal: Option<u8> },
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: std::io::Error },
}

impl StoreError {
    /// Whether writing less of the state would fail as well: it is not about what one target's rows hold.
    pub(crate) fn is_of_the_whole_state(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            StoreError::Sqlite { error, .. } => {
                error.sqlite_error_code().is_some_and(|code| code != Code::ConstraintViolation)
            }
            StoreError::Unusable { .. } | StoreError::CutShort { .. } | StoreError::File { .. } => true,
        }
    }
}

/// By SQLite's extended number a disk that cannot be written differs from one that cannot be synced.
fn code(error: &rusqlite::Error) -> String {
    error.sqlite_error().map_or_else(String::new, |error| format!(" (SQLite error {})", error.extended_code))
}

/// What to do about an error of SQLite, where there is something to do.
fn advice(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode as Code;
    match error.sqlite_error_code() {
        _ if file::is_half_written(error) => {
            "; a run was killed while it wrote: the next run, or anyone who may write to the file, puts it right"
        }
        Some(Code::DiskFull) => "; make room on that disk and poll again, nothing is lost",
        Some(Code::SystemIoFailure) => {
            "; look at that disk (its room, its health) and at the limit on file sizes (ulimit -f)"
        }
        Some(Code::ReadOnly) => "; the state file and its folder must be writable",
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => {
            "; this is no state file of tagship, or a damaged one: move it away together with its -journal, then restore a copy, or begin with a first poll and record what each stage runs (tagship mark)"
        }
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            "; another process holds it for longer than 10 s: see who with `fuser`"
        }
        _ => "",
    }
}

impl Store {
    /// Opens the state file, or creates it with its folder (modes 0600 and 0700).
    /// Gives back whether it was created, which is always to be said. At the cutoff, it does not wait any longer for
    /// another process that holds the file.
    ///
    /// # Errors
    /// It is corrupt, newer than this program, read-only, or not to be created.
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
        let patience = LockWait::until(cutoff);
        let connection = patience.wait(Cutoff::is_reached, || file::open(&found.path, path))?;
        let locks = lock::Locks::beside(&found.path, found.owner);
        let store = Store { connection: Mutex::new(connection), patience, place, locks, is_kept: true };
        {
            let mut connection = store.connection();
            let _owner = store.stand_in(&connection);
            store.patience.wait(Cutoff::is_reached, || migration::run(&mut connection, &store.place))?;
        }
        Ok((store, created))
    }

    /// A state that is gone when the run is over: `state = "none"`. The locks go by the configuration's name.
    ///
    /// # Errors
    /// No memory for it, or the configuration has a second name.
    pub(crate) fn nothing(config: &Path) -> Result<Store, StoreError> {
        Ok(Store {
            connection: Mutex::new(in_memory()?),
            patience: LockWait::until(&Cutoff::default()),
            place: "none".to_owned(),
            locks: lock::Locks::of_configuration(config)?,
            is_kept: false,
        })
    }

    /// The state file, for reading only. Of one that an older tagship wrote, a copy. `cutoff`: as [`Store::open`].
    ///
    /// # Errors
    /// The file is corrupt, newer than this program, or its journal is that of another.
    pub(crate) fn read(path: &Path, cutoff: &Cutoff) -> Result<Store, StoreError> {
        let Some(found) = file::find(path)? else {
            return Store::copy_of(path, cutoff);
        };
        let place = path.display().to_string();
        let patience = LockWait::until(cutoff);
        let (connection, is_current) = patience.wait(Cutoff::is_reached, || {
            let connection = file::open_for_reading(&found.path, path)?;
            let is_current = migration::is_current(&connection, &place)?;
            Ok((connection, is_current))
        })?;
        if !is_current {
            return Store::copy_of(path, cutoff);
        }
        let locks = lock::Locks::beside(&found.path, found.owner);
        Ok(Store { connection: Mutex::new(connection), patience, place, locks, is_kept: true })
    }

    /// A copy in memory of the state file, or of none where there is no file: for what must not write to it. `cutoff`: as
    /// [`Store::open`].
    ///
    /// # Errors
    /// The file is corrupt, or newer than this program.
    pub(crate) fn copy_of(path: &Path, cutoff: &Cutoff) -> Result<Store, StoreError> {
        let patience = LockWait::until(cutoff);
        let place = path.display().to_string();
        let mut connection = in_memory()?;
        let locks = match file::find(path)? {
            Some(found) => {
                patience.wait(Cutoff::is_reached, || file::copy(&found.path, path, &mut connection))?;
                migration::run(&mut connection, &place)?;
                lock::Locks::beside(&found.path, found.owner)
            }
            None => lock::Locks::beside(path, owner::FileOwner::this()),
        };
        Ok(Store { connection: Mutex::new(connection), patience, place, locks, is_kept: true })
    }

    /// The files of a state and the folder of its locks, with what messages call each, whether they are there or not.
    pub(crate) fn files(path: &Path) -> [(&'static str, PathBuf); 4] {
        let state = crate::file::resolved(path);
        [
            ("the journal of the state file", journal::beside(&state, file::JOURNAL)),
            ("the journal of the state file", journal::beside(&state, "-wal")),
            ("a lock of the state file", lock::Locks::folder_beside(&state)),
            ("the state file", state),
        ]
    }

    /// What keeps this user from taking the locks that are there.
    pub(crate) fn lock_faults(&self) -> Vec<StoreError> {
        self.locks.faults()
    }

    /// Everything that `work` reads is as it was at one moment. Until it is done nobody can write: it is to
    /// read, and neither ask nor print.
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
    /// The state file cannot be read, or holds what no tagship of this version wrote.
    pub(crate) fn states(&self) -> Result<HashMap<TargetId, PollState>, StoreError> {
        let connection = self.connection();
        self.within(|| {
            let mut statement = connection.prepare(row::ALL_STATES)?;
            statement.query_map([], row::state)?.collect()
        })
    }

    /// What is remembered of one target.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn state(&self, target: &TargetId) -> Result<Option<PollState>, StoreError> {
        let connection = self.connection();
        self.within(|| {
            let mut statement = connection.prepare_cached(row::ONE_STATE)?;
            let found = statement.query_row([target.project.as_str(), target.stage.as_str()], row::state);
            Ok(found.optional()?.map(|(_, state)| state))
        })
    }

    /// Every deployment that is not over, or was given up and waits for someone, by target.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn open_deployments(&self) -> Result<HashMap<TargetId, OpenDeployments>, StoreError> {
        let connection = self.connection();
        self.within(|| {
            let mut statement = connection.prepare(&row::open_deployments())?;
            let mut found: HashMap<TargetId, OpenDeployments> = HashMap::new();
            for deployment in statement.query_map([], row::deployment)? {
                let deployment = deployment?;
                found.entry(deployment.target.clone()).or_default().insert(deployment);
            }
            Ok(found)
        })
    }

    /// The tags that a stage ran, in the order in which it did.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn runs(&self, target: &TargetId) -> Result<Vec<StageRun>, StoreError> {
        let connection = self.connection();
        self.within(|| row::runs(&connection, target))
    }

    /// The newest deployment of a target that was started, where it did not succeed.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn unfinished(&self, target: &TargetId) -> Result<Option<Unfinished>, StoreError> {
        let connection = self.connection();
        self.within(|| row::unfinished(&connection, target))
    }

    /// The names that a target's registry had, and when each was first seen: kept for order `newest`
    /// where the registry has no push times.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn seen_tags(&self, target: &TargetId) -> Result<SeenTags, StoreError> {
        let connection = self.connection();
        self.within(|| row::seen_tags(&connection, target))
    }

    /// Every tag that a target was given, and when last.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn given(&self, target: &TargetId) -> Result<HashMap<Tag, Timestamp>, StoreError> {
        let connection = self.connection();
        self.within(|| row::given(&connection, target))
    }

    /// When these targets were last checked, and whose rows are no longer among them.
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

    /// Notes that people were told of targets that left the configuration. Writes only where there are such.
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

    /// The end of what the last attempt of a deployment printed.
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

    /// Until when registries are not to be asked, by their address.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn limits(&self) -> Result<HashMap<String, Limit>, StoreError> {
        let connection = self.connection();
        self.within(|| row::limits(&connection))
    }

    /// For messages: the file, or `none`.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Whether it outlives the run.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The deployments of these targets that are wanted, with their attempts, the newest first.
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

    /// What a target ran at any time from `begin` to `end`, both included, in order.
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

    /// The latest deployment of a tag to a target, those that succeeded before others.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn origin(&self, target: &TargetId, tag: &Tag) -> Result<Option<Origin>, StoreError> {
        let connection = self.connection();
        self.within(|| history::origin(&connection, target, tag))
    }

    /// The newest deployments of the targets that are wanted, at most so many, the newest first; without
    /// what their attempts printed.
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

    /// What people were not told yet, the oldest first.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn unsent(&self) -> Result<Vec<Notification>, StoreError> {
        let connection = self.connection();
        self.within(|| notification::unsent(&connection))
    }

    /// As [`Store::lock`], for who sends what people were not told yet.
    ///
    /// # Errors
    /// The lock's file cannot be made.
    pub(crate) fn lock_outbox(&self) -> Result<Option<Lock>, StoreError> {
        self.locks.take_outbox()
    }

    /// The attempt of a target that was started last, if it did not succeed.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn latest_attempt(&self, target: &TargetId) -> Result<Option<LatestAttempt>, StoreError> {
        let connection = self.connection();
        self.within(|| row::latest_attempt(&connection, target))
    }

    /// The process groups that a target's deployment left running: those with the target's lock as their standard
    /// input, and those that are recognised as the deployment's. As far as the system tells.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn groups_at_work(&self, target: &TargetId) -> Result<Vec<i32>, StoreError> {
        let mut groups = self.locks.holders(target);
        if let Some(latest) = self.latest_attempt(target)? {
            let mut others = latest.traces.find().groups;
            others.retain(|group| !groups.contains(group));
            groups.extend(others);
        }
        Ok(groups)
    }

    /// Whether processes of an attempt that was interrupted or failed still act on the target.
    ///
    /// What a command leaves behind counts until the attempt must have ended: a daemon may have been the point.
    /// The command itself counts for as long as it runs.
    ///
    /// # Errors
    /// As [`Store::states`].
    pub(crate) fn is_acted_on(&self, target: &TargetId) -> Result<bool, StoreError> {
        let Some(latest) = self.latest_attempt(target)? else {
            return Ok(false);
        };
        let running = latest.traces.find();
        let is_over = latest.over_by.is_none_or(|over_by| over_by < Timestamp::now());
        Ok(running.leader || (!running.groups.is_empty() && !is_over))
    }

    /// Does everything that `work` does in one transaction that was taken for writing from its start,
    /// so that what it reads is what it changes.
    ///
    /// # Errors
    /// Nothing of it happened.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Write<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.write_until(Cutoff::is_reached, work)
    }

    /// The same for what has happened already: it waits beyond the deadline of the run.
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
        let transaction = self.patience.wait(ends, || begin().map_err(failed))?;
        let changes = transaction.total_changes();
        let result = work(&Write::new(&transaction)).map_err(failed)?;
        // A commit that changes nothing costs no disk access.
        if transaction.total_changes() != changes {
            Stamp::renew(&transaction).map_err(failed)?;
        }
        // While someone reads, the transaction stays open.
        self.patience.wait(ends, || transaction.execute_batch("COMMIT").map_err(failed))?;
        Ok(result)
    }

    /// Takes the target's lock, or gives None where another process has it, or processes of an attempt that did not
    /// succeed still act on the target, whatever they did with their standard input, which was the lock.
    ///
    /// # Errors
    /// The lock's file cannot be made; the state file cannot be read.
    pub(crate) fn lock(&self, target: &TargetId) -> Result<Option<Lock>, StoreError> {
        let Some(lock) = self.locks.take(target)? else {
            return Ok(None);
        };
        Ok(if self.is_acted_on(target)? { None } else { Some(lock) })
    }

    /// SQLite makes the journal of what is written meanwhile as the owner of the state.
    fn stand_in(&self, connection: &Connection) -> Option<StandIn> {
        let state = connection.path().filter(|path| !path.is_empty())?;
        self.locks.owner().stand_in(&journal::beside(Path::new(state), file::JOURNAL))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic ends the process; a poisoned lock cannot be seen.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, and waits for another process that writes.
    fn within<T>(&self, mut work: impl FnMut() -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.patience.wait(Cutoff::is_reached, || work().map_err(|error| sqlite(&self.place, error)))
    }
}

/// A state with no targets that no file holds.
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
