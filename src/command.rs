//! One file per subcommand. Shared by all: exit statuses and the configuration here, the selection of targets
//! and the state in their own files.
#![allow(
    clippy::disallowed_methods,
    reason = "commands find the state through the environment, read the clock and write the requested files"
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
    can_lock, dry_run_state, kept_state, known_images, open_state, read_state, read_states, used_files,
    warn_if_not_polled, warn_of_open_state,
};

/// The result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success, with or without a new tag.
    Done,
    /// A check or a deployment failed; all other targets were handled.
    Failed,
    /// Wrong usage, configuration or state file; nothing was done.
    Unusable,
    /// With `--exit-code`: a new tag, and no failure.
    Changed,
    /// With `--strict`: another run is deploying to a selected target.
    Busy,
    /// Ended by this signal.
    Signal(u8),
}

impl Exit {
    /// The result of a command that failed before it did anything.
    pub(crate) fn by(error: &anyhow::Error) -> Exit {
        match error.downcast_ref() {
            Some(StoreError::CutShort { signal: Some(signal), .. }) => Exit::Signal(*signal),
            _ => Exit::Unusable,
        }
    }

    /// The exit status of the process.
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

/// From now on a write beyond the limit on file sizes (`ulimit -f`) fails instead of ending the process.
/// Commands that tagship starts keep the system's default: `exec` removes a handler.
pub(crate) fn survive_file_size_limit() {
    // Without the handler, such a write ends the process as before.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Checks that memory for a run's first threads and answers is available. Without it, the process would be
/// aborted in the middle of its work.
///
/// # Errors
/// The process may not have that much memory.
pub(crate) fn require_memory() -> anyhow::Result<()> {
    const MEBIBYTES: usize = 64;
    // Reserved and released at once, without using a page.
    Vec::<u8>::new().try_reserve_exact(MEBIBYTES * 1024 * 1024).map_err(|_| {
        anyhow::anyhow!(
            "tagship may need {MEBIBYTES} MiB of memory, and cannot reserve that much; raise the limit on memory (ulimit -v)"
        )
    })
}

/// The setting of `--color` for the output streams.
pub(crate) fn color(choice: Color) -> anstream::ColorChoice {
    match choice {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
}

/// ` --config FILE --state FILE` as the user typed them, quoted for a shell.
pub(crate) fn typed_options(global: &Global) -> String {
    // With several states, the command concerns one of them, which the row names.
    let state = if global.state.len() > 1 { Some(Path::new("FILE")) } else { global.state() };
    let mut options = String::new();
    for (name, path) in [("--config", global.config.as_deref()), ("--state", state)] {
        let Some(path) = path else { continue };
        let path = path.to_string_lossy();
        // Only NUL cannot be quoted, and no argument contains it.
        let quoted = shlex::try_quote(&path).unwrap_or(std::borrow::Cow::Borrowed(&path));
        options.push_str(&format!(" {name} {quoted}"));
    }
    options
}

/// The level of detail from `-q` and `-v`.
fn detail(global: &Global) -> Detail {
    match (global.quiet, global.verbose) {
        (true, _) => Detail::Failures,
        (false, true) => Detail::Everything,
        (false, false) => Detail::Reportable,
    }
}

/// The configuration for the command line, with the known images of the state.
///
/// # Errors
/// No configuration was found, or it has errors; all of them are reported.
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

/// The configuration as written, without known images.
///
/// # Errors
/// As [`load`].
fn load_written(global: &Global) -> anyhow::Result<Config> {
    let path = config::find(global.config.as_deref())?;
    Ok(config::load(&path)?)
}

/// The path in an environment variable. None: unset or empty.
fn given(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The login name of the user. In a container a user may have no name.
fn user_name() -> Option<String> {
    whoami::username().ok()
}

/// The login name to record with a hold, a mark or a manual deployment.
fn by_whom() -> String {
    user_name().unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
