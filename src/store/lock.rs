//! A target's lock: an empty file, locked while a deployment of the target runs, and never unlinked
//! (a name that can vanish could be locked twice).

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{StoreError, file};
use crate::target::TargetId;

/// The folder of the locks.
#[derive(Debug)]
pub(super) enum Locks {
    Beside(PathBuf),
    /// Removed with the run that made it.
    Temporary(tempfile::TempDir),
}

/// A lock that is held. The lock's file is what commands get as their standard input, so that an
/// orphaned command holds it on; unlocking is explicit, so that a daemon which a command leaves
/// behind holds nothing.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Locks {
    pub(super) fn beside(state: &Path) -> Locks {
        let mut folder = state.as_os_str().to_owned();
        folder.push(".locks");
        Locks::Beside(folder.into())
    }

    pub(super) fn temporary() -> Result<Locks, StoreError> {
        let made = tempfile::Builder::new().prefix("tagship-").tempdir();
        made.map(Locks::Temporary).map_err(|error| StoreError::File { path: std::env::temp_dir(), error })
    }

    fn folder(&self) -> &Path {
        match self {
            Locks::Beside(folder) => folder.as_path(),
            Locks::Temporary(folder) => folder.path(),
        }
    }

    fn path(&self, target: &TargetId) -> PathBuf {
        // Names have no '@': two targets never share a file.
        self.folder().join(format!("{}@{}", target.project, target.stage))
    }

    /// By /proc, where there is one: whose standard input is the lock's file.
    pub(super) fn holders(&self, target: &TargetId) -> Vec<i32> {
        let Ok(path) = std::fs::canonicalize(self.path(target)) else {
            return Vec::new();
        };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let holds = |process: &std::fs::DirEntry| {
            std::fs::read_link(process.path().join("fd/0")).is_ok_and(|stdin| stdin == path)
        };
        let group = |process: std::fs::DirEntry| {
            let id = process.file_name().to_str()?.parse().ok()?;
            Some(rustix::process::getpgid(rustix::process::Pid::from_raw(id)).ok()?.as_raw_nonzero().get())
        };
        let mut groups: Vec<i32> = processes.filter(holds).filter_map(group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    pub(super) fn take(&self, target: &TargetId) -> Result<Option<Lock>, StoreError> {
        self.take_file(self.path(target))
    }

    /// No target's file is called so.
    pub(super) fn take_outbox(&self) -> Result<Option<Lock>, StoreError> {
        self.take_file(self.folder().join("@notify"))
    }

    fn take_file(&self, path: PathBuf) -> Result<Option<Lock>, StoreError> {
        file::make_private(self.folder())?;
        let at = |error| StoreError::File { path: path.clone(), error };
        let file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).map_err(at)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(at(error)),
        }
    }
}

impl Lock {
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, were it not for copies that a command's descendants may keep.
        let _ = self.0.unlock();
    }
}
