//! One file per subcommand, and what they share: how one ends, the configuration; the selected targets and the state
//! in files of their own.
#![allow(
    clippy::disallowed_methods,
    reason = "commands find the state through the environment, read the clock and write what was asked for"
)]

mod check;
mod completion;
mod deploy;
mod generate;
mod history;
mod hold;
mod init;
mod login;
mod mark;
mod poll;
mod retry;
mod schedule;
mod selection;
mod state;
mod status;
mod tags;
mod webhook;

pub(crate) use check::check;
pub(crate) use completion::complete;
pub(crate) use deploy::{deploy, rollback};
pub(crate) use generate::generate;
pub(crate) use history::history;
pub(crate) use hold::{hold, release};
pub(crate) use init::init;
pub(crate) use login::{login, logout};
pub(crate) use mark::mark;
pub(crate) use poll::poll;
pub(crate) use retry::retry;
pub(crate) use schedule::schedule;
pub(crate) use status::status;
pub(crate) use tags::tags;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::{Color, Global};
use crate::config::{self, Config};
use crate::report::Detail;
use crate::store::StoreError;
use selection::{select, select_among, select_filtered, select_one};
use state::{
    can_lock, kept_state, known_images, open_state, read_state, read_states, rehearsed_state, used_files,
    warn_if_not_polled, warn_of_open_state,
};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Whether or not there was something new.
    Done,
    /// A check or a deployment failed; the other targets were served.
    Failed,
    /// Usage, configuration or state file; nothing was done.
    Unusable,
    /// With `--exit-code`: something new, and nothing failed.
    Changed,
    /// With `--strict`: a selected target is being deployed by another run.
    Busy,
    /// Ended by this signal.
    Signal(u8),
}

impl Exit {
    /// How a command ends that has done nothing.
    pub(crate) fn by(error: &anyhow::Error) -> Exit {
        match error.downcast_ref() {
            Some(StoreError::CutShort { signal: Some(signal), .. }) => Exit::Signal(*signal),
            _ => Exit::Unusable,
        }
    }

    /// The status that the process ends with.
    pub(crate) fn status(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Unusable => 2,
            Exit::Changed => 3,
            Exit::Busy => 75,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// A write beyond the limit on file sizes (`ulimit -f`) fails from now on, in place of ending the process. The commands
/// that tagship starts have the signal as the system sets it: a handler does not outlive `exec`.
pub(crate) fn survive_file_size_limit() {
    // Where it cannot be installed, such a write ends the process as before.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// A run that has no memory for its first threads and answers would be aborted in the middle of something.
///
/// # Errors
/// The process may not have that much.
pub(crate) fn require_memory() -> anyhow::Result<()> {
    const MEBIBYTES: usize = 64;
    // Reserved and given back: no page of it is used.
    Vec::<u8>::new().try_reserve_exact(MEBIBYTES * 1024 * 1024).map_err(|_| {
        anyhow::anyhow!(
            "less than {MEBIBYTES} MiB of memory can be reserved, and tagship may need that much; \
             raise the limit on memory (ulimit -v)"
        )
    })
}

/// What `--color` means to the streams.
pub(crate) fn color(choice: Color) -> anstream::ColorChoice {
    match choice {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
}

/// ` --config FILE --state FILE`, as far as they were typed, with quotes where a shell needs them.
pub(crate) fn typed_options(global: &Global) -> String {
    // clap fills it in from the variable, which the next command finds too.
    let config = global.config.as_deref().filter(|path| given("TAGSHIP_CONFIG").as_deref() != Some(path));
    // Of several, the command is for one, which the row names.
    let state = if global.state.len() > 1 { Some(Path::new("FILE")) } else { global.state() };
    let mut options = String::new();
    for (name, path) in [("--config", config), ("--state", state)] {
        let Some(path) = path else { continue };
        let path = path.to_string_lossy();
        // Only a NUL cannot be quoted, and no argument has one.
        let quoted = shlex::try_quote(&path).unwrap_or(std::borrow::Cow::Borrowed(&path));
        options.push_str(&format!(" {name} {quoted}"));
    }
    options
}

/// What `-q` and `-v` ask for.
fn detail(global: &Global) -> Detail {
    match (global.quiet, global.verbose) {
        (true, _) => Detail::Failures,
        (false, true) => Detail::Everything,
        (false, false) => Detail::News,
    }
}

/// The configuration that the command line means, with the images that the state knows.
///
/// # Errors
/// There is none, or every fault of it at once.
fn load(global: &Global) -> anyhow::Result<Config> {
    let mut config = load_written(global)?;
    let mut known: Vec<_> = match global.state.as_slice() {
        [] => known_images(None, &config),
        several => several.iter().flat_map(|state| known_images(Some(state), &config)).collect(),
    };
    known.dedup();
    config.take_in(&known);
    Ok(config)
}

/// The same as it is written.
///
/// # Errors
/// As [`load`].
fn load_written(global: &Global) -> anyhow::Result<Config> {
    let path = config::find(global.config.as_deref())?;
    Ok(config::load(&path)?)
}

/// The path that a variable of the environment has; an empty one is none.
fn given(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Who runs the program. A container's user may have no name.
fn user_name() -> Option<String> {
    whoami::username().ok()
}

/// The same for what is held, marked and deployed by hand.
fn by_whom() -> String {
    user_name().unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
