//! The state file: created completely or not at all, and never confused with another program's file.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, ffi};
use rustix::fs::OFlags;

use super::journal::{self, Header};
use super::owner::FileOwner;
use super::{StoreError, migration, sqlite};

/// An existing state file. Its journal, if any, belongs to it.
#[derive(Debug)]
pub(super) struct StateFile {
    /// The path without links: the journal and the locks are beside it.
    pub(super) path: PathBuf,
    pub(super) owner: FileOwner,
}

/// Checks a state file before SQLite opens it, because SQLite treats some files as a new state, and plays any
/// journal into any file. None: there is no file.
///
/// # Errors
/// It is not a state file, it has a second name, or the journal beside it belongs to another file.
pub(super) fn find(path: &Path) -> Result<Option<StateFile>, StoreError> {
    let at = |error| StoreError::File { path: path.to_owned(), error };
    let unusable = |message: String| Err(StoreError::Unusable { place: path.display().to_string(), message });
    let real = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                return unusable("this symbolic link points to no file; is a volume not mounted?".to_owned());
            }
            let journal = journal::beside(path, JOURNAL);
            return match fs::symlink_metadata(&journal) {
                Ok(_) => unusable(format!(
                    "the state file is missing, but its journal {} is still there\n    put the state file back beside it; or move the journal away, and restore a copy or start with a first poll",
                    journal.display()
                )),
                Err(_) => Ok(None),
            };
        }
        real => real.map_err(at)?,
    };
    let metadata = fs::metadata(&real).map_err(at)?;
    if !metadata.is_file() {
        return unusable("this is not a regular file; choose another path for the state".to_owned());
    }
    if metadata.nlink() > 1 {
        return unusable(has_second_name("state file", &real));
    }
    let owner = FileOwner::of(&metadata);
    let file = fs::File::open(&real).map_err(at)?;
    match Header::read(&file).map_err(at)? {
        None if metadata.len() == 0 => {
            return unusable(format!("the state file is empty{}", aside(&real)));
        }
        None => {
            return unusable(format!(
                "this is not a state file of tagship, or it is damaged{}",
                aside(&real)
            ));
        }
        Some(header) if header.has_write_ahead_log() => {
            return unusable(format!(
                "the state file has a write-ahead log, but tagship uses none\n    sqlite3 {} \"PRAGMA journal_mode = DELETE\"",
                real.display()
            ));
        }
        Some(_) => {}
    }
    let log = journal::beside(&real, "-wal");
    if fs::symlink_metadata(&log).is_ok() {
        return unusable(format!(
            "the write-ahead log {} beside it belongs to another file; move it away",
            log.display()
        ));
    }
    let journal = journal::beside(&real, JOURNAL);
    let is_foreign = journal::is_foreign(&file, &journal, owner);
    if is_foreign.map_err(|error| StoreError::File { path: journal.clone(), error })? {
        return unusable(format!(
            "the journal {} does not belong to this state file: a run was killed while it wrote, and then another file was put here\n    move both away, and copy the state file here again",
            journal.display()
        ));
    }
    Ok(Some(StateFile { path: real, owner }))
}

/// The error for a file with a second name, because locks are named after the file.
pub(super) fn has_second_name(what: &str, path: &Path) -> String {
    format!(
        "the {what} has a second name (a hard link), and would have other locks under that name\n    find it: find / -xdev -samefile {0}\n    remove that name, or make it a symbolic link to {0}",
        path.display()
    )
}

/// The suffix of SQLite's journal.
pub(super) const JOURNAL: &str = "-journal";

/// What to do with an unusable file: its journal must go, too, because SQLite would play it into the next
/// file.
pub(super) fn aside(state: &Path) -> String {
    format!(
        "\n  help: name another file with --state; or move this one and, if it exists, {}{JOURNAL} away, then restore a copy, or start with a first poll and record what each stage runs (tagship mark)",
        state.display()
    )
}

/// Creates a new state file. It receives its name only when it is complete, so that a crash leaves no empty
/// file that looks like a state without targets.
///
/// False: another process has created it.
pub(super) fn create(path: &Path) -> Result<bool, StoreError> {
    let folder = folder_of(path);
    make_folders(&folder)?;
    let at = |error| StoreError::File { path: path.to_owned(), error };
    let owner = FileOwner::of(&fs::metadata(&folder).map_err(at)?);
    let unfinished = tempfile::Builder::new().prefix(".tagship-").tempfile_in(&folder).map_err(at)?;
    let place = path.display().to_string();
    let mut connection = Connection::open(unfinished.path()).map_err(|error| sqlite(&place, error))?;
    migration::make(&mut connection).map_err(|error| sqlite(&place, error))?;
    drop(connection);
    owner.give(unfinished.as_file());
    let made = match unfinished.persist_noclobber(path) {
        Ok(_) => true,
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(at(error.error)),
    };
    fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(at)?;
    Ok(made)
}

/// Opens an existing state file for reading and writing. `shown`: its name in messages.
pub(super) fn open(path: &Path, shown: &Path) -> Result<Connection, StoreError> {
    let place = shown.display().to_string();
    let open = || {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // In KiB: enough for all changes of a large run in one transaction, allocated as needed. What does
        // not fit is written to the disk twice.
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

/// Opens an existing state file read-only. First undoes a transaction that a killed run left unfinished, as
/// the next run would.
pub(super) fn open_for_reading(path: &Path, shown: &Path) -> Result<Connection, StoreError> {
    let opened = match open_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(error) if is_half_written(&error) => open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .and_then(|_| open_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY)),
        opened => opened,
    };
    opened.map_err(|error| sqlite(&shown.display().to_string(), error))
}

/// Opens the file and reads from it once, so that SQLite undoes an unfinished transaction.
fn open_with(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Whether a run was killed while it wrote, and a read-only connection cannot undo that.
pub(super) fn is_half_written(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}

/// Copies a state file into the connection, without writing to the file.
pub(super) fn copy(path: &Path, shown: &Path, into: &mut Connection) -> Result<(), StoreError> {
    let from = open_for_reading(path, shown)?;
    let mut copy = || match Backup::new(&from, into)?.step(i32::MAX)? {
        StepResult::Busy | StepResult::Locked => {
            Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None))
        }
        // More pages than a file can have.
        _ => Ok(()),
    };
    copy().map_err(|error| sqlite(&shown.display().to_string(), error))
}

/// Creates a folder and its missing parents. Each belongs to the owner of its parent, and only that user has
/// access.
pub(super) fn make_folders(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let at = |error| StoreError::File { path: folder.to_owned(), error };
    let above = folder_of(folder);
    if above == folder {
        return Err(at(io::ErrorKind::NotFound.into()));
    }
    make_folders(&above)?;
    let owner = FileOwner::of(&fs::metadata(above).map_err(at)?);
    make_folder(folder, owner).map_err(at)
}

/// Creates one folder with mode 0700. A folder that exists by now is not an error.
pub(super) fn make_folder(folder: &Path, owner: FileOwner) -> io::Result<()> {
    let _owner = owner.stand_in(folder);
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
        Err(error) => return Err(error),
    }
    let made = open_folder(folder)?;
    // Also the bits that the umask removed.
    made.set_permissions(fs::Permissions::from_mode(0o700))?;
    owner.give(&made);
    Ok(())
}

/// Opens a folder that is not a link.
pub(super) fn open_folder(folder: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    fs::OpenOptions::new().read(true).custom_flags(flags).open(folder)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
