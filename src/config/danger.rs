//! What others can write, and root runs or the state is.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Config, CredentialSetting, Fault, SecretSource};
use crate::target::step::Step;
use crate::target::template::Part;

/// The programs that deployments run, where they are written with a path.
pub(super) fn programs(config: &Config) -> impl Iterator<Item = PathBuf> {
    let program = |step: &Step| match step {
        Step::Command(step) => match step.argv.first()?.parts.as_slice() {
            [Part::Literal(program)] if program.contains('/') => Some(step.dir.join(program)),
            _ => None,
        },
        Step::Http(_) => None,
    };
    let steps = config
        .targets
        .iter()
        .flat_map(|target| target.deploy.iter().chain(target.running.iter().map(|running| &running.probe)));
    steps.chain(config.notifiers.iter().map(|notifier| &notifier.step)).filter_map(program)
}

/// The programs that give secrets, where they are written with a path.
pub(super) fn secret_programs(config: &Config) -> impl Iterator<Item = PathBuf> {
    let of_registries = config.registries.values().filter_map(|registry| match &registry.credential {
        CredentialSetting::Source(source) => Some(source),
        CredentialSetting::Search | CredentialSetting::Anonymous => None,
    });
    config.secrets.values().chain(of_registries).filter_map(|source| match source {
        SecretSource::Command { argv, dir } => {
            argv.first().filter(|program| program.contains('/')).map(|program| dir.join(program))
        }
        _ => None,
    })
}

/// Where root runs a file that others can write, or put another in its place, they are root.
pub(super) fn run_by_root(file: &Path) -> Option<Fault> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let fault = |path: &Path, message: String| {
        let help = Some(format!("chown root {0}; chmod go-w {0}", path.display()));
        Some(Fault { file: path.to_owned(), line: 0, message, help })
    };
    let metadata = fs::metadata(file).ok()?;
    if metadata.uid() != 0 {
        let message = "root runs this file or what it says, and it belongs to another user".to_owned();
        return fault(file, message);
    }
    if metadata.mode() & (GROUP | OTHERS) != 0 {
        let message = "root runs this file or what it says, and others can write it".to_owned();
        return fault(file, message);
    }
    let real = fs::canonicalize(file).ok()?;
    let mut folders = real.ancestors().skip(1).chain(file.ancestors().skip(1));
    let folder = folders.find(|folder| {
        fs::metadata(folder).is_ok_and(|found| {
            // The group of root can be trusted as root can.
            let others = if found.gid() == 0 { OTHERS } else { GROUP | OTHERS };
            found.uid() != 0 || can_replace(&found, others)
        })
    })?;
    let shown = file.display();
    fault(folder, format!("root runs {shown} or what it says, and others can replace that in this folder"))
}

/// Where every user of the machine can write the state, they decide what is deployed.
pub(crate) fn open_to_all(state: &Path) -> Option<Fault> {
    let real = fs::canonicalize(state).ok()?;
    let fault = |path: &Path, message: &str, cure: &str| {
        let help = Some(format!("{cure} {}", path.display()));
        Some(Fault { file: path.to_owned(), line: 0, message: message.to_owned(), help })
    };
    if fs::metadata(&real).is_ok_and(|found| found.mode() & OTHERS != 0) {
        return fault(&real, "others can write the state file, and so decide what is deployed", "chmod go-w");
    }
    let folder = real.parent()?;
    if fs::metadata(folder).is_ok_and(|found| can_replace(&found, OTHERS)) {
        return fault(folder, "others can replace the state file in this folder", "chmod go-w");
    }
    None
}

const GROUP: u32 = 0o020;
const OTHERS: u32 = 0o002;
/// In a folder with this bit, nobody can replace a file of another user.
const STICKY: u32 = 0o1000;

/// Whether these can put another file in the place of one in the folder.
fn can_replace(folder: &Metadata, others: u32) -> bool {
    folder.mode() & others != 0 && folder.mode() & STICKY == 0
}
