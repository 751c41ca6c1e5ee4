//! Files that other users can write although root runs them or they are the state.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Fault;

/// A warning for a file that root runs and others can write or replace: they can become root.
pub(super) fn run_by_root(file: &Path) -> Option<Fault> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let fault = |path: &Path, message: String| {
        let help = Some(format!("chown root {0}; chmod go-w {0}", path.display()));
        Some(Fault::of_file(path, message, help))
    };
    let metadata = fs::metadata(file).ok()?;
    if metadata.uid() != 0 {
        let message = "root runs this file or its content, and it belongs to another user".to_owned();
        return fault(file, message);
    }
    if metadata.mode() & (GROUP | OTHERS) != 0 {
        let message = "root runs this file or its content, and others can write it".to_owned();
        return fault(file, message);
    }
    let folder = folder_above(file, |found| {
        // The group of root is trusted like root.
        let others = if found.gid() == 0 { OTHERS } else { GROUP | OTHERS };
        found.uid() != 0 || can_replace(found, others)
    })?;
    let shown = file.display();
    fault(&folder, format!("root runs {shown} or its content, and others can replace that in this folder"))
}

/// A warning for a state that every user can write: they can choose the tags that are deployed.
pub(crate) fn open_to_all(state: &Path) -> Option<Fault> {
    let real = fs::canonicalize(state).ok()?;
    let fault = |path: &Path, message: &str, cure: &str| {
        let help = Some(format!("{cure} {}", path.display()));
        Some(Fault::of_file(path, message.to_owned(), help))
    };
    if fs::metadata(&real).is_ok_and(|found| found.mode() & OTHERS != 0) {
        return fault(
            &real,
            "others can write the state file, and with it choose the tags that are deployed",
            "chmod go-w",
        );
    }
    let folder = folder_above(state, |found| can_replace(found, OTHERS))?;
    fault(&folder, "others can replace the state file in this folder", "chmod go-w")
}

/// The nearest such folder above a file, by its own path or the path without links: who can replace a folder can replace
/// everything below it.
fn folder_above(file: &Path, is_such: impl Fn(&Metadata) -> bool) -> Option<PathBuf> {
    let real = fs::canonicalize(file).ok()?;
    let given = std::path::absolute(file).ok()?;
    let mut folders = real.ancestors().skip(1).chain(given.ancestors().skip(1));
    folders.find(|folder| fs::metadata(folder).is_ok_and(|found| is_such(&found))).map(Path::to_owned)
}

const GROUP: u32 = 0o020;
const OTHERS: u32 = 0o002;
/// In a folder with this bit, users cannot replace each other's files.
const STICKY: u32 = 0o1000;

/// Whether `others` can replace a file in the folder.
fn can_replace(folder: &Metadata, others: u32) -> bool {
    folder.mode() & others != 0 && folder.mode() & STICKY == 0
}
