//! A target's lock: an empty file, locked while a deployment of the target runs. It is never unlinked,
//! because a new file of the same name could be locked at the same time.

use std::fs::{File, FileType, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};

use super::owner::FileOwner;
use super::{StoreError, file, journal};
use crate::process::lock_holders;
use crate::target::TargetId;

/// The folder of the locks.
#[derive(Debug)]
pub(super) struct Locks {
    folder: PathBuf,
    /// The folder above it, which is created first if missing.
    above: Option<PathBuf>,
    owner: FileOwner,
}

/// A held lock. Commands inherit its file as their standard input, so that an orphaned command keeps the
/// lock. Unlocking is explicit, so that a daemon left behind by a command does not keep it.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Locks {
    /// `state`: the path without links, so that each state has one folder of locks.
    pub(super) fn beside(state: &Path, owner: FileOwner) -> Locks {
        Locks { folder: Locks::folder_beside(state), above: None, owner }
    }

    pub(super) fn folder_beside(state: &Path) -> PathBuf {
        journal::beside(state, ".locks")
    }

    /// Without a state file: in a folder of this user, named after the configuration's path without links.
    /// (Its inode would be worse: editors replace a file when they save it, while an earlier run may still be
    /// active.)
    ///
    /// # Errors
    /// The configuration has a second name, and would have other locks under that name.
    pub(super) fn of_configuration(config: &Path) -> Result<Locks, StoreError> {
        if std::fs::metadata(config).is_ok_and(|found| found.is_file() && found.nlink() > 1) {
            return Err(unusable(config, file::has_second_name("configuration", config)));
        }
        let config = std::fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
        let owner = FileOwner::this();
        let above = std::env::temp_dir().join(format!("tagship-{}", owner.user()));
        let hash = hex::encode(Sha256::digest(config.as_os_str().as_encoded_bytes()));
        Ok(Locks { folder: above.join(&hash[..32]), above: Some(above), owner })
    }

    /// The owner of the state.
    pub(super) fn owner(&self) -> FileOwner {
        self.owner
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, target: &TargetId) -> PathBuf {
        // Names cannot contain '@', so two targets never share a file.
        self.folder().join(format!("{}@{}", target.project, target.stage))
    }

    /// The process groups that hold the target's lock as their standard input; none where there is no /proc.
    pub(super) fn holders(&self, target: &TargetId) -> Vec<i32> {
        std::fs::canonicalize(self.path(target)).map_or_else(|_| Vec::new(), |path| lock_holders(&path))
    }

    pub(super) fn take(&self, target: &TargetId) -> Result<Option<Lock>, StoreError> {
        self.take_file(&self.path(target))
    }

    /// The lock for sending notifications. No target has this file name.
    pub(super) fn take_outbox(&self) -> Result<Option<Lock>, StoreError> {
        self.take_file(&self.folder().join("@notify"))
    }

    fn take_file(&self, path: &Path) -> Result<Option<Lock>, StoreError> {
        for folder in self.above.iter().chain([&self.folder]) {
            if std::fs::symlink_metadata(folder).is_err() {
                file::make_folder(folder, self.owner).map_err(|error| self.fault(folder, &error))?;
            }
        }
        let file = self.open(&self.open_folder()?, path, Missing::Make)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.fault(path, &error)),
        }
    }

    /// What prevents this user from taking the existing locks.
    pub(super) fn faults(&self) -> Vec<StoreError> {
        if std::fs::symlink_metadata(self.folder())
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            return Vec::new();
        }
        let listed = self.open_folder().and_then(|folder| {
            let entries =
                std::fs::read_dir(self.folder()).map_err(|error| self.fault(self.folder(), &error))?;
            Ok((folder, entries))
        });
        match listed {
            Ok((folder, entries)) => entries
                .flatten()
                .filter_map(|entry| self.open(&folder, &entry.path(), Missing::Fault).err())
                .collect(),
            Err(error) => vec![error],
        }
    }

    /// Opens the folder, after checking that other users can write neither to it nor to the one above.
    fn open_folder(&self) -> Result<File, StoreError> {
        if let Some(above) = &self.above {
            self.open_private(above)?;
        }
        self.open_private(&self.folder)
    }

    fn open_private(&self, folder: &Path) -> Result<File, StoreError> {
        let opened = file::open_folder(folder).map_err(|error| self.fault(folder, &error))?;
        let metadata = opened.metadata().map_err(|error| self.fault(folder, &error))?;
        self.refuse_of_others(folder, &metadata)?;
        if metadata.mode() & 0o002 != 0 {
            let message =
                format!("other users can write to this folder of locks\n    chmod go-w {}", folder.display());
            return Err(unusable(folder, message));
        }
        Ok(opened)
    }

    /// Opens a lock's file in the folder, without following links.
    fn open(&self, folder: &File, path: &Path, missing: Missing) -> Result<File, StoreError> {
        let name = path.file_name().unwrap_or_default();
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fault = |error: rustix::io::Errno| self.fault(path, &error.into());
        loop {
            match openat(folder, name, flags, Mode::empty()) {
                Ok(file) => {
                    let file = File::from(file);
                    let metadata = file.metadata().map_err(|error| self.fault(path, &error))?;
                    if !metadata.is_file() {
                        return Err(unusable(path, NO_FILE.to_owned()));
                    }
                    self.refuse_of_others(path, &metadata)?;
                    match missing {
                        Missing::Make => self.owner.give_back(&file, &metadata),
                        Missing::Fault if !self.owner.shares(&metadata) => {
                            return Err(unusable(
                                path,
                                format!("the owner of the state cannot use it{}", self.cure(path)),
                            ));
                        }
                        Missing::Fault => {}
                    }
                    return Ok(file);
                }
                Err(rustix::io::Errno::NOENT) if missing == Missing::Make => {}
                Err(error) => return Err(fault(error)),
            }
            let _owner = self.owner.stand_in(path);
            match openat(folder, name, flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR) {
                Ok(file) => {
                    let file = File::from(file);
                    self.owner.give(&file);
                    return Ok(file);
                }
                // Another run has created it since.
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(fault(error)),
            }
        }
    }

    fn refuse_of_others(&self, path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
        if self.owner.trusts(metadata) {
            return Ok(());
        }
        Err(unusable(path, "it belongs to another user than the state; move it away".to_owned()))
    }

    fn fault(&self, path: &Path, error: &io::Error) -> StoreError {
        let found = std::fs::symlink_metadata(path);
        let is = |of: fn(&FileType) -> bool| found.as_ref().is_ok_and(|found| of(&found.file_type()));
        if is(FileType::is_symlink) {
            return unusable(
                path,
                "this is a symbolic link, and locks do not follow links; remove it".to_owned(),
            );
        }
        if is(FileType::is_dir) && error.kind() == io::ErrorKind::IsADirectory {
            return unusable(path, NO_FILE.to_owned());
        }
        let cure =
            if error.kind() == io::ErrorKind::PermissionDenied { self.cure(path) } else { String::new() };
        unusable(path, format!("{error}{cure}"))
    }

    /// Earlier versions left files of root in other users' folders.
    fn cure(&self, path: &Path) -> String {
        if std::fs::symlink_metadata(path).is_ok_and(|found| FileOwner::of(&found) == self.owner) {
            return format!("\n    chmod u+rwX {}", path.display());
        }
        format!("\n    as root: chown -R {}:{} {}", self.owner.user(), self.owner.group(), path.display())
    }
}

const NO_FILE: &str = "this is not a regular file, so it cannot be a lock; remove it";

/// The error for a path that cannot be a lock's file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Fault,
}

fn unusable(path: &Path, message: String) -> StoreError {
    StoreError::Unusable { place: path.display().to_string(), message }
}

impl Lock {
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough, because descendants of a command may keep copies of it.
        let _ = self.0.unlock();
    }
}
