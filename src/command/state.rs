//! Where the state is, and how a command opens it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::given;
use crate::cli::Global;
use crate::config::{Config, StateSetting, open_to_all};
use crate::report::Console;
use crate::store::Store;

/// What the state knows, for a command that only reads it: nothing is created, nothing is written.
///
/// # Errors
/// There is no place for the state, or it cannot be read.
pub(super) fn read_state(global: &Global, config: &Config) -> anyhow::Result<Store> {
    Ok(match place(global, config)? {
        Place::File(path) => Store::read(&path)?,
        Place::Nothing => Store::nothing(&config.path)?,
    })
}

/// The state for a rehearsal: what is written is forgotten.
///
/// # Errors
/// As [`read_state`].
pub(super) fn rehearsed_state(global: &Global, config: &Config) -> anyhow::Result<Store> {
    Ok(match place(global, config)? {
        Place::File(path) => Store::copy_of(&path)?,
        Place::Nothing => Store::nothing(&config.path)?,
    })
}

/// The state for a command that acts. Creating the file is always said, for a volume that was not mounted must not
/// look like a quiet day.
///
/// # Errors
/// There is no place for the state, or it cannot be written.
pub(super) fn open_state(global: &Global, config: &Config, console: &Console) -> anyhow::Result<Store> {
    match place(global, config)? {
        Place::File(path) => open(&path, console),
        Place::Nothing => Ok(Store::nothing(&config.path)?),
    }
}

/// The state for a command that does nothing but change it. `lost`: what it would do in vain where nothing is kept.
///
/// # Errors
/// As [`open_state`], and where nothing is kept between runs.
pub(super) fn kept_state(
    global: &Global,
    config: &Config,
    console: &Console,
    lost: &str,
) -> anyhow::Result<Store> {
    match place(global, config)? {
        Place::File(path) => open(&path, console),
        Place::Nothing => bail!("state = \"none\" keeps nothing between runs: {lost}"),
    }
}

/// Warns of a state that every user of the machine can change.
///
/// # Errors
/// There is no place for the state.
pub(super) fn warn_of_open_state(global: &Global, config: &Config, console: &Console) -> anyhow::Result<()> {
    if let Place::File(path) = place(global, config)?
        && let Some(danger) = open_to_all(&path)
    {
        console.warning(&danger.to_string());
    }
    Ok(())
}

/// Whether this user can take the locks that are there; what is wrong is said.
pub(super) fn can_lock(store: &Store, console: &Console) -> bool {
    let faults = store.lock_faults();
    faults.iter().for_each(|fault| console.warning(&fault.to_string()));
    faults.is_empty()
}

fn open(path: &Path, console: &Console) -> anyhow::Result<Store> {
    let (store, created) = Store::open(path)?;
    if created {
        console.message(&format!("created the state file {}", path.display()));
    }
    Ok(store)
}

/// Where the state is kept.
enum Place {
    File(PathBuf),
    Nothing,
}

/// `--state`, the configuration, `$TAGSHIP_STATE`, `$STATE_DIRECTORY`, `/var/lib/tagship` for root,
/// `$XDG_STATE_HOME/tagship`: the first that is given.
fn place(global: &Global, config: &Config) -> anyhow::Result<Place> {
    if let Some(path) = &global.state {
        return Ok(Place::File(path.clone()));
    }
    match &config.settings.state {
        StateSetting::File(path) => return Ok(Place::File(path.clone())),
        StateSetting::Nothing => return Ok(Place::Nothing),
        StateSetting::Default => {}
    }
    if let Some(path) = given("TAGSHIP_STATE") {
        return Ok(Place::File(path));
    }
    let folder = if let Some(folders) = given("STATE_DIRECTORY") {
        // systemd joins several with colons.
        env::split_paths(&folders).next().context("STATE_DIRECTORY is empty")?
    } else if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/lib/tagship")
    } else {
        let home = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state")));
        home.context("there is no place for the state: set [settings] state, --state or HOME")?
            .join("tagship")
    };
    Ok(Place::File(folder.join("state.db")))
}
