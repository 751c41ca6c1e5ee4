//! One file per subcommand; here is what they share: the configuration, the state, the selected targets.
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
mod status;
mod tags;

pub(crate) use check::check;
pub(crate) use completion::complete;
pub(crate) use deploy::deploy;
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

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::{Color, Global};
use crate::config::{self, Config, StateSetting};
use crate::report::{Console, Detail};
use crate::store::Store;
use crate::target::Target;
use crate::target::filter::{TargetFilter, TargetPattern};

/// What the state knows, for a command that only reads it: nothing is created, nothing is written.
fn read_state(global: &Global, config: &Config) -> anyhow::Result<Store> {
    Ok(match state_place(global, config)? {
        StatePlace::File(path) => Store::read(&path)?,
        StatePlace::Nothing => Store::nothing()?,
    })
}

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

/// What `--color` means to the streams.
pub(crate) fn color(choice: Color) -> anstream::ColorChoice {
    match choice {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
}

/// What `-q` and `-v` ask for.
fn detail(global: &Global) -> Detail {
    match (global.quiet, global.verbose) {
        (true, _) => Detail::Failures,
        (false, true) => Detail::Everything,
        (false, false) => Detail::News,
    }
}

fn load(global: &Global) -> anyhow::Result<Config> {
    let path = config::find(global.config.as_deref())?;
    Ok(config::load(&path)?)
}

/// Where the state is kept.
enum StatePlace {
    File(PathBuf),
    Nothing,
}

/// `--state`, the configuration, `$TAGSHIP_STATE`, `$STATE_DIRECTORY`, `/var/lib/tagship` for root,
/// `$XDG_STATE_HOME/tagship`: the first that is given.
fn state_place(global: &Global, config: &Config) -> anyhow::Result<StatePlace> {
    if let Some(path) = &global.state {
        return Ok(StatePlace::File(path.clone()));
    }
    match &config.settings.state {
        StateSetting::File(path) => return Ok(StatePlace::File(path.clone())),
        StateSetting::Nothing => return Ok(StatePlace::Nothing),
        StateSetting::Default => {}
    }
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = given("TAGSHIP_STATE") {
        return Ok(StatePlace::File(path));
    }
    let folder = if let Some(folders) = env::var_os("STATE_DIRECTORY") {
        // systemd joins several with colons.
        env::split_paths(&folders).next().context("STATE_DIRECTORY is empty")?
    } else if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/lib/tagship")
    } else {
        let home = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state")));
        home.context("there is no place for the state: set [settings] state, --state or HOME")?
            .join("tagship")
    };
    Ok(StatePlace::File(folder.join("state.db")))
}

/// Opens the state file; creating it is always said, for a volume that was not mounted must not look
/// like a quiet day.
fn open_state(path: &Path, console: &Console) -> anyhow::Result<Store> {
    let (store, created) = Store::open(path)?;
    if created {
        console.message(&format!("created the state file {}", path.display()));
    }
    Ok(store)
}

/// Who runs the program, for what is held and deployed by hand.
fn login_name() -> String {
    // A container's user may have no name.
    whoami::username().unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// The targets that a filter names, in the order written.
fn select<'a>(config: &'a Config, filter: &TargetFilter) -> anyhow::Result<Vec<&'a Target>> {
    let targets = || config.targets.iter();
    for pattern in &filter.patterns {
        if !targets().any(|target| pattern.matches(&target.id)) {
            let known = targets().flat_map(|target| [target.id.to_string(), target.id.project.to_string()]);
            bail!(no_such("target", pattern.as_str(), known));
        }
    }
    for project in &filter.projects {
        if !targets().any(|target| target.id.project.as_str() == project) {
            bail!(no_such("project", project, targets().map(|target| target.id.project.to_string())));
        }
    }
    for stage in &filter.stages {
        if !targets().any(|target| target.id.stage.as_str() == stage) {
            bail!(no_such("stage", stage, targets().map(|target| target.id.stage.to_string())));
        }
    }
    let selected: Vec<&Target> = targets().filter(|target| filter.matches(&target.id)).collect();
    if selected.is_empty() {
        // Each part names something, and together they name nothing.
        let wider = TargetFilter { stages: Vec::new(), ..filter.clone() };
        let near = targets().filter(|target| wider.matches(&target.id)).map(|target| target.id.to_string());
        let near: Vec<String> = near.take(3).collect();
        let near =
            if near.is_empty() { String::new() } else { format!("; the nearest is {}", near.join(", ")) };
        bail!("no target is all of that{near}; see them all with: tagship status");
    }
    Ok(selected)
}

/// The one target that a pattern names.
fn select_one<'a>(config: &'a Config, pattern: &TargetPattern) -> anyhow::Result<&'a Target> {
    let filter = TargetFilter { patterns: vec![pattern.clone()], ..TargetFilter::default() };
    match select(config, &filter)?.as_slice() {
        [target] => Ok(target),
        several => {
            let names: Vec<String> = several.iter().map(|target| target.id.to_string()).collect();
            bail!("{} is {} targets, name one of them: {}", pattern.as_str(), several.len(), names.join(", "))
        }
    }
}

/// What is said of a name that the configuration does not have.
fn no_such(what: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    let known: BTreeSet<String> = known.collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let nearest = config::nearest(name, &known);
    if nearest.is_empty() {
        return format!("the configuration has no {what} {name:?}; see what it has with: tagship status");
    }
    let nearest = nearest.join(" or ");
    format!(
        "the configuration has no {what} {name:?}; did you mean {nearest}? See them all with: tagship status"
    )
}
