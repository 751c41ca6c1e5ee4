//! Whose the files of a state are: what root makes in another user's folder is given to that user, who could not use
//! it otherwise; what a third user put there is not used.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use rustix::process::{getegid, geteuid};

/// Gives a file that this process has made to the owner of its folder, where this process is root.
pub(crate) fn give_to_owner_of(folder: &Path, made: &File) {
    if let Ok(metadata) = fs::metadata(folder) {
        Owner::of(&metadata).give(made);
    }
}

/// The user and group of a state file, or of the folder it is to be made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    pub(super) fn of(metadata: &Metadata) -> Owner {
        Owner { user: metadata.uid(), group: metadata.gid() }
    }

    /// Who runs this process.
    pub(super) fn this() -> Owner {
        Owner { user: geteuid().as_raw(), group: getegid().as_raw() }
    }

    pub(super) fn user(self) -> u32 {
        self.user
    }

    pub(super) fn group(self) -> u32 {
        self.group
    }

    /// Gives a file or folder that this process has just made to the owner, where this process is root.
    pub(super) fn give(self, made: &File) {
        if geteuid().is_root() && self.user != 0 {
            // Root of a container or of a network drive may not be allowed to; then the file stays root's, as SQLite's
            // journals do.
            let _ = fchown(made, Some(self.user), Some(self.group));
        }
    }

    /// Gives an empty file that an earlier run of root left to the owner. A file with a second name is left alone:
    /// it may be somebody's file that was linked here.
    pub(super) fn give_back(self, found: &File, metadata: &Metadata) {
        if metadata.uid() == 0 && metadata.len() == 0 && metadata.nlink() == 1 {
            self.give(found);
        }
    }

    /// Whether the owner can use a file that was made for its owner only.
    pub(super) fn shares(self, metadata: &Metadata) -> bool {
        self.user == metadata.uid() || self.user == 0
    }

    /// Whether a file was made by this user, by root, or by the owner.
    pub(super) fn trusts(self, metadata: &Metadata) -> bool {
        [0, geteuid().as_raw(), self.user].contains(&metadata.uid())
    }
}
