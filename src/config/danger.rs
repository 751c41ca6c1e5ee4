//! Warnings about programs and state files that other users can write.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Fault;

/// A warning for a file that root runs and others can write or replace, and so become root.
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
        let message = "root runs this file or its content, and another user owns it".to_owned();
        return fault(file, message);
    }
    if others_can_write(&metadata) {
        let message = "root runs this file or its content, and others can write it".to_owned();
        return fault(file, message);
    }
    let folder = folder_above(file, |found| found.uid() != 0 || others_can_replace(found))?;
    let shown = file.display();
    fault(&folder, format!("root runs {shown} or its content, and others can replace it in this folder"))
}

/// A warning for a state that others can write, and so choose which tags are deployed.
pub(crate) fn open_to_all(state: &Path) -> Option<Fault> {
    let real = fs::canonicalize(state).ok()?;
    let fault = |path: &Path, message: &str, cure: &str| {
        let help = Some(format!("{cure} {}", path.display()));
        Some(Fault::of_file(path, message.to_owned(), help))
    };
    if fs::metadata(&real).is_ok_and(|found| others_can_write(&found)) {
        return fault(
            &real,
            "others can write the state file, and so choose which tags are deployed",
            "chmod go-w",
        );
    }
    let folder = folder_above(state, others_can_replace)?;
    fault(&folder, "others can replace the state file in this folder", "chmod go-w")
}

/// The nearest folder above a file that others can change, on its path as written or with links resolved.
/// Whoever can replace a folder can replace everything below it.
fn folder_above(file: &Path, matches: impl Fn(&Metadata) -> bool) -> Option<PathBuf> {
    let real = fs::canonicalize(file).ok()?;
    let given = std::path::absolute(file).ok()?;
    let mut folders = real.ancestors().skip(1).chain(given.ancestors().skip(1));
    folders.find(|folder| fs::metadata(folder).is_ok_and(|found| matches(&found))).map(Path::to_owned)
}

const GROUP: u32 = 0o020;
const OTHERS: u32 = 0o002;
/// The sticky bit: users cannot replace each other's files in the folder.
const STICKY: u32 = 0o1000;

/// Whether others can write it. Others are all users; if root runs tagship, also a group other than root's
/// and the owner's own (which has the same number as the owner). Users other than root share a folder with a
/// group on purpose.
fn others_can_write(found: &Metadata) -> bool {
    let is_shared = found.gid() != 0 && found.gid() != found.uid();
    let others = if is_shared && rustix::process::geteuid().is_root() { GROUP | OTHERS } else { OTHERS };
    found.mode() & others != 0
}

/// Whether others can replace a file in the folder.
fn others_can_replace(folder: &Metadata) -> bool {
    others_can_write(folder) && folder.mode() & STICKY == 0
}
