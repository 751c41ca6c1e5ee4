//! The state's file: made whole or not at all, and never mistaken for another program's.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags, ffi};

use super::{StoreError, migration, sqlite};

/// How long another process may hold the state (its transactions take milliseconds).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a new state file. It gets its name only when it is complete, so that a crash in between
/// leaves no empty file that would look like a state without targets.
///
/// False: another process made it meanwhile.
pub(super) fn create(path: &Path) -> Result<bool, StoreError> {
    let folder = folder_of(path);
    make_private(&folder)?;
    let at = |error| StoreError::File { path: path.to_owned(), error };
    let unfinished = tempfile::Builder::new().prefix(".tagship-").tempfile_in(&folder).map_err(at)?;
    let place = path.display().to_string();
    let mut connection = Connection::open(unfinished.path()).map_err(|error| sqlite(&place, error))?;
    migration::run(&mut connection, &place)?;
    drop(connection);
    let made = match unfinished.persist_noclobber(path) {
        Ok(_) => true,
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(at(error.error)),
    };
    fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(at)?;
    Ok(made)
}

/// Opens an existing state file for reading and writing.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let place = path.display().to_string();
    refuse_empty(path)?;
    let open = || {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // As much as a run of many targets changes in one transaction (KiB), taken only as it is used: what does not
        // fit is written to the disk twice.
        connection.pragma_update(None, "cache_size", -65536)?;
        let read_only = connection.is_readonly("main")?;
        Ok((connection, read_only))
    };
    match open().map_err(|error| sqlite(&place, error))? {
        (connection, false) => Ok(connection),
        (_, true) => Err(StoreError::Unusable {
            place,
            message: "the state file is read-only; tagship must be able to write it and its folder"
                .to_owned(),
        }),
    }
}

/// Opens an existing state file for reading only. What a killed run left half written is undone first, as
/// the next run would do it.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    refuse_empty(path)?;
    let opened = match open_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(error) if is_half_written(&error) => open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .and_then(|_| open_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY)),
        opened => opened,
    };
    opened.map_err(|error| sqlite(&path.display().to_string(), error))
}

/// Opens the file, and reads it for the first time: that is where SQLite undoes what is half written.
fn open_with(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// A run was killed while it wrote, and who only reads cannot undo it.
pub(super) fn is_half_written(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}

/// Copies a state file into the connection, without writing to it.
pub(super) fn copy(path: &Path, into: &mut Connection) -> Result<(), StoreError> {
    let from = open_for_reading(path)?;
    let mut copy = || Backup::new(&from, into)?.run_to_completion(i32::MAX, Duration::ZERO, None);
    copy().map_err(|error| sqlite(&path.display().to_string(), error))
}

/// SQLite takes a file of no length for a new database: a disk that was full must not look like a first poll.
fn refuse_empty(path: &Path) -> Result<(), StoreError> {
    let length = fs::metadata(path).map_err(|error| StoreError::File { path: path.to_owned(), error })?.len();
    if length > 0 {
        return Ok(());
    }
    Err(StoreError::Unusable {
        place: path.display().to_string(),
        message: "the state file is empty; restore a copy, or remove it to begin with a first poll"
            .to_owned(),
    })
}

/// Makes a folder and those above it where they are missing, the folder itself with mode 0700.
pub(super) fn make_private(folder: &Path) -> Result<(), StoreError> {
    let at = |error| StoreError::File { path: folder.to_owned(), error };
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(at)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
