//! What others can write and root runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Config, Fault};
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

/// Where root runs what others can write, they are root.
pub(super) fn writable_by_others(file: &Path) -> Option<Fault> {
    use std::os::unix::fs::MetadataExt as _;
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let metadata = fs::metadata(file).ok()?;
    let wrong = if metadata.uid() != 0 {
        "root runs this file or what it says, and it belongs to another user"
    } else if metadata.mode() & 0o022 != 0 {
        "root runs this file or what it says, and others can write it"
    } else {
        return None;
    };
    let help = Some(format!("chown root {0}; chmod go-w {0}", file.display()));
    Some(Fault { file: file.to_owned(), line: 0, message: wrong.to_owned(), help })
}
