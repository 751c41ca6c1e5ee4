//! The owner of a state's files. Files that root creates in another user's folder are given to that user, who
//! could not use them otherwise. Files of a third user are not used.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

/// Gives a file that this process created to the owner of its folder, if this process is root.
pub(crate) fn give_to_owner_of(folder: &Path, made: &File) {
    if let Ok(metadata) = fs::metadata(folder) {
        FileOwner::of(&metadata).give(made);
    }
}

/// The user and group of a state file, or of the folder in which it will be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileOwner {
    user: u32,
    group: u32,
}

impl FileOwner {
    pub(super) fn of(metadata: &Metadata) -> FileOwner {
        FileOwner { user: metadata.uid(), group: metadata.gid() }
    }

    /// The user of this process.
    pub(super) fn this() -> FileOwner {
        FileOwner { user: geteuid().as_raw(), group: getegid().as_raw() }
    }

    pub(super) fn user(self) -> u32 {
        self.user
    }

    pub(super) fn group(self) -> u32 {
        self.group
    }

    /// Makes this thread act as the owner while it creates the file, if this process is root and the owner
    /// may create or write the file. If root created it and gave it away afterwards, a kill in between would
    /// leave a file that the owner cannot use.
    pub(super) fn stand_in(self, path: &Path) -> Option<StandIn> {
        if !geteuid().is_root() || self.user == 0 {
            return None;
        }
        let stand_in = StandIn { group: getegid() };
        set_thread_res_gid(None, Gid::from_raw(self.group), None).ok()?;
        set_thread_res_uid(None, Uid::from_raw(self.user), None).ok()?;
        let may = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS);
        may(path.parent()?, Access::WRITE_OK | Access::EXEC_OK).ok()?;
        match may(path, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) | Err(Errno::NOENT) => Some(stand_in),
            Err(_) => None,
        }
    }

    /// Gives a file or folder that this process has just created to the owner, if this process is root.
    pub(super) fn give(self, made: &File) {
        if geteuid().is_root() && self.user != 0 {
            // Root in a container or on a network drive may not be allowed to. Then the file stays root's, as
            // SQLite's journals do.
            let _ = fchown(made, Some(self.user), Some(self.group));
        }
    }

    /// Gives an empty file that an earlier run of root left to the owner. A file with a second name is not
    /// changed: it may be another user's file, linked here.
    pub(super) fn give_back(self, found: &File, metadata: &Metadata) {
        if metadata.uid() == 0 && metadata.len() == 0 && metadata.nlink() == 1 {
            self.give(found);
        }
    }

    /// Whether the owner can use a file that only its owner may access.
    pub(super) fn shares(self, metadata: &Metadata) -> bool {
        self.user == metadata.uid() || self.user == 0
    }

    /// Whether a file belongs to this user, to root, or to the owner.
    pub(super) fn trusts(self, metadata: &Metadata) -> bool {
        [0, geteuid().as_raw(), self.user].contains(&metadata.uid())
    }
}

/// While this value lives, root's thread acts as the owner.
#[derive(Debug)]
#[must_use]
pub(super) struct StandIn {
    /// The group of this process.
    group: Gid,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Only the effective user changed, so root may always return.
        set_thread_res_uid(None, Uid::ROOT, None).expect("the real user is root");
        set_thread_res_gid(None, self.group, None).expect("the real user is root");
    }
}
