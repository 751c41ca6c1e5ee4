//! The path of the state, and how a command opens it.

use std::env;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::{by_whom, given};
use crate::cli::Global;
use crate::config::{self, Config, StateSetting, UsedFiles, open_to_all};
use crate::file;
use crate::images::KnownImage;
use crate::report::{Console, describe_duration};
use crate::stop::Cutoff;
use crate::store::Store;

/// The state of a configuration in `/etc/tagship`. systemd creates its folder for `StateDirectory=tagship`.
const OF_THE_MACHINE: &str = "/var/lib/tagship/state.db";

/// After this many intervals without a poll, a warning says that polls may use another state.
const INTERVALS: u32 = 3;

/// The state for a command that only reads. Creates and writes nothing.
///
/// # Errors
/// The state has no path, or cannot be read.
pub(super) fn read_state(
    global: &Global,
    config: &Config,
    console: &Console,
    cutoff: &Cutoff,
) -> anyhow::Result<Store> {
    read(global.state(), config, console, cutoff)
}

/// The same for every state on the command line, each once.
///
/// # Errors
/// As [`read_state`], for any of them.
pub(super) fn read_states(
    global: &Global,
    config: &Config,
    console: &Console,
    cutoff: &Cutoff,
) -> anyhow::Result<Vec<Store>> {
    if global.state.is_empty() {
        return Ok(vec![read_state(global, config, console, cutoff)?]);
    }
    let mut named: Vec<&Path> = Vec::new();
    for path in &global.state {
        if named.iter().all(|known| file::resolved(known) != file::resolved(path)) {
            named.push(path);
        }
    }
    named.into_iter().map(|path| read(Some(path), config, console, cutoff)).collect()
}

fn read(named: Option<&Path>, config: &Config, console: &Console, cutoff: &Cutoff) -> anyhow::Result<Store> {
    Ok(match place(named, config, console)? {
        StatePlace::File(path) => Store::read(&path, cutoff)?,
        StatePlace::Nothing => Store::nothing(&config.path)?,
    })
}

/// The state for a dry run: a temporary copy.
///
/// # Errors
/// As [`read_state`].
pub(super) fn dry_run_state(
    global: &Global,
    config: &Config,
    console: &Console,
    cutoff: &Cutoff,
) -> anyhow::Result<Store> {
    Ok(match place(global.state(), config, console)? {
        StatePlace::File(path) => Store::copy_of(&path, cutoff)?,
        StatePlace::Nothing => Store::nothing(&config.path)?,
    })
}

/// The state for a command that changes it. A new file is always reported: a missing mount must not look like
/// an uneventful run.
///
/// # Errors
/// The state has no path, or cannot be written.
pub(super) fn open_state(
    global: &Global,
    config: &Config,
    console: &Console,
    cutoff: &Cutoff,
) -> anyhow::Result<Store> {
    match place(global.state(), config, console)? {
        StatePlace::File(path) => open(&path, console, cutoff),
        StatePlace::Nothing => Ok(Store::nothing(&config.path)?),
    }
}

/// The state for a command whose only effect is a change of the state. `lost`: why it is useless without a
/// state.
///
/// # Errors
/// As [`open_state`], and if nothing is kept between runs.
pub(super) fn kept_state(
    global: &Global,
    config: &Config,
    console: &Console,
    lost: &str,
) -> anyhow::Result<Store> {
    match place(global.state(), config, console)? {
        // A signal ends the process by itself.
        StatePlace::File(path) => open(&path, console, &Cutoff::default()),
        StatePlace::Nothing => bail!("state = \"none\" keeps nothing between runs: {lost}"),
    }
}

/// The known images in the state. None if it cannot be read: a command that needs it reports the error.
pub(super) fn known_images(state: Option<&Path>, config: &Config) -> Vec<KnownImage> {
    if config.tables.is_empty() {
        return Vec::new();
    }
    match place_of(state, config) {
        Ok((StatePlace::File(path), _)) => {
            Store::read(&path, &Cutoff::default()).and_then(|store| store.images()).unwrap_or_default()
        }
        Ok((StatePlace::Nothing, _)) | Err(_) => Vec::new(),
    }
}

/// Every file that a run reads, runs or keeps.
///
/// # Errors
/// The state has no path.
pub(super) fn used_files<'c>(global: &Global, config: &'c Config) -> anyhow::Result<UsedFiles<'c>> {
    let used = config.used_files();
    Ok(match place_of(global.state(), config)? {
        (StatePlace::File(state), _) => used.and(Store::files(&state)),
        (StatePlace::Nothing, _) => used,
    })
}

/// Warns if the state was never polled, or not for three intervals: polls may use another state file.
///
/// # Errors
/// The state cannot be read.
pub(super) fn warn_if_not_polled(store: &Store, config: &Config, console: &Console) -> anyhow::Result<()> {
    if !store.is_kept() {
        return Ok(());
    }
    let (states, _) = store.readable_states()?;
    let polled: Vec<_> = config.targets.iter().filter(|target| target.poll).collect();
    let checks =
        polled.iter().filter_map(|target| Some((states.get(&target.id)?.checked_at?, target.interval)));
    let (now, file) = (Timestamp::now(), store.place());
    let advice = "check that your timer or cron job uses this state file (see: tagship schedule)";
    match checks.max_by_key(|(checked_at, _)| *checked_at) {
        _ if polled.is_empty() => {}
        None => console.warning(&format!("no poll has used the state file {file} yet; {advice}")),
        Some((checked_at, interval)) => {
            let age = now.duration_since(checked_at);
            if age > SignedDuration::try_from(interval * INTERVALS).unwrap_or(SignedDuration::MAX) {
                let age = describe_duration(age.unsigned_abs());
                console.warning(&format!("the state file {file} was last polled {age} ago; {advice}"));
            }
        }
    }
    Ok(())
}

/// Warns of a state that other users of the machine can change.
pub(super) fn warn_of_open_state(store: &Store, console: &Console) {
    if store.is_kept()
        && let Some(danger) = open_to_all(Path::new(store.place()))
    {
        console.warning(&danger.to_string());
    }
}

/// Checks that this user can use the existing locks. Reports errors.
pub(super) fn can_lock(store: &Store, console: &Console) -> bool {
    let faults = store.lock_faults();
    faults.iter().for_each(|fault| console.warning(&fault.to_string()));
    faults.is_empty()
}

fn open(path: &Path, console: &Console, cutoff: &Cutoff) -> anyhow::Result<Store> {
    let (store, created) = Store::open(path, cutoff)?;
    if created {
        console.message(&format!("created the state file {}", path.display()));
    }
    Ok(store)
}

/// Where the state is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StatePlace {
    File(PathBuf),
    Nothing,
}

/// The place of the state. `named`: from the command line. Warns if the state is at the default path of an
/// earlier version.
///
/// # Errors
/// The state has no path, or its existence cannot be checked.
fn place(named: Option<&Path>, config: &Config, console: &Console) -> anyhow::Result<StatePlace> {
    let (place, warning) = place_of(named, config)?;
    if let Some(warning) = warning {
        console.warning(&warning);
    }
    match &place {
        StatePlace::File(path) => check_place(path, named, config)?,
        StatePlace::Nothing => config.check_without_state()?,
    }
    Ok(place)
}

/// Checks that this user and the next run can use the state file.
///
/// # Errors
/// `include` would read it; this user has no access to the file or its folder (which must not look like a new
/// state); or the named folder does not exist.
fn check_place(path: &Path, named: Option<&Path>, config: &Config) -> anyhow::Result<()> {
    if config.would_include(path) {
        bail!(
            "the state file {}: include would read it as configuration; choose another path",
            path.display()
        );
    }
    let help = "run tagship as the user that polls, or choose another state with --state";
    if path.try_exists().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        bail!("cannot read the state file {}: permission denied; {help}", path.display());
    }
    if access(path, Access::READ_OK) == Err(Errno::ACCESS) {
        let owner =
            path.metadata().map_or_else(|_| "another user".to_owned(), |file| name_of_user(file.uid()));
        bail!("the state file {} belongs to {owner}, but you are {}; {help}", path.display(), by_whom());
    }
    let is_named = named.is_some()
        || (config.settings.state == StateSetting::Default && given("TAGSHIP_STATE").is_some());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| is_named && !folder.exists()) {
        bail!(
            "the folder {} of the state file {} does not exist; create it, or choose another state with --state",
            folder.display(),
            path.display()
        );
    }
    Ok(())
}

fn name_of_user(id: u32) -> String {
    if id == 0 { "root".to_owned() } else { format!("uid {id}") }
}

/// The same, with the warning. `named`: the state from the command line.
///
/// # Errors
/// The state has no path.
pub(super) fn place_of(
    named: Option<&Path>,
    config: &Config,
) -> anyhow::Result<(StatePlace, Option<String>)> {
    let path = match (named, &config.settings.state) {
        (Some(path), _) if path == Path::new(NONE) => return Ok((StatePlace::Nothing, None)),
        (Some(path), _) => path.to_owned(),
        (None, StateSetting::File(path)) => path.clone(),
        (None, StateSetting::Nothing) => return Ok((StatePlace::Nothing, None)),
        (None, StateSetting::Default) => {
            let surroundings = Surroundings::of_the_process();
            if surroundings.named.as_deref() == Some(Path::new(NONE)) {
                return Ok((StatePlace::Nothing, None));
            }
            let usual = surroundings.usual(&config.path)?;
            // A path that cannot be checked counts as existing.
            let is_there = |path: &Path| path.try_exists().unwrap_or(true);
            let (path, warning) = surroundings.existing(usual, &config.path, is_there);
            return Ok((StatePlace::File(path), warning));
        }
    };
    Ok((StatePlace::File(path), None))
}

/// The default path of the state for a configuration at this absolute path.
///
/// # Errors
/// The state has no path.
pub(super) fn usual_place(global: &Global, config: &Path) -> anyhow::Result<PathBuf> {
    match global.state() {
        Some(path) => Ok(std::path::absolute(path)?),
        None => Surroundings::of_the_process().usual(config),
    }
}

/// The environment's settings for the state.
#[derive(Debug, Default)]
struct Surroundings {
    /// `$TAGSHIP_STATE`.
    named: Option<PathBuf>,
    /// `$STATE_DIRECTORY`: systemd joins several with colons.
    of_the_unit: Option<PathBuf>,
    /// The user's configuration folder and state folder.
    users_own: Option<(PathBuf, PathBuf)>,
    is_root: bool,
}

impl Surroundings {
    fn of_the_process() -> Surroundings {
        let home = given("HOME");
        let below = |variable: &str, folder: &str| {
            let own = given(variable).or_else(|| Some(home.as_ref()?.join(folder)))?;
            Some(own.join("tagship"))
        };
        Surroundings {
            named: given("TAGSHIP_STATE"),
            of_the_unit: given("STATE_DIRECTORY").and_then(|folders| env::split_paths(&folders).next()),
            users_own: below("XDG_CONFIG_HOME", ".config").zip(below("XDG_STATE_HOME", ".local/state")),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// The state of the configuration at this absolute path.
    fn usual(&self, config: &Path) -> anyhow::Result<PathBuf> {
        if let Some(named) = &self.named {
            return Ok(std::path::absolute(named)?);
        }
        if let Some(folder) = &self.of_the_unit {
            return Ok(folder.join(FILE));
        }
        if is_of(config, Path::new(config::FOLDER_OF_THE_MACHINE)) {
            return Ok(OF_THE_MACHINE.into());
        }
        Ok(match &self.users_own {
            Some((configuration, state)) if is_of(config, configuration) => state.join(FILE),
            _ => match home_of(config) {
                // The same path for every user who asks.
                Some(home) => home.join(".local/state/tagship").join(FILE),
                None => config.with_file_name(FILE),
            },
        })
    }

    /// The default path, or the default path of an earlier version if only that file exists.
    fn existing(
        &self,
        usual: PathBuf,
        config: &Path,
        is_there: impl Fn(&Path) -> bool,
    ) -> (PathBuf, Option<String>) {
        let default = if self.is_root {
            Some((Path::new(config::FOLDER_OF_THE_MACHINE), OF_THE_MACHINE.into()))
        } else {
            self.users_own.as_ref().map(|(folder, state)| (folder.as_path(), state.join(FILE)))
        };
        // The state of the configuration whose usual place it is must not mix with that of another.
        let default =
            default.filter(|(folder, _)| !is_there(&folder.join("config.toml"))).map(|(_, state)| state);
        let is_said = self.named.is_some() || self.of_the_unit.is_some();
        let mut earlier = [Some(config.with_file_name(FILE)), default].into_iter().flatten();
        match earlier.find(|earlier| !is_said && *earlier != usual && !is_there(&usual) && is_there(earlier))
        {
            None => (usual, None),
            Some(earlier) => {
                let (old, new) = (earlier.display(), usual.display());
                let warning = format!(
                    "the state file is {old}, the default of an earlier version of tagship; the default is now {new}. To keep the file, write in the configuration: [settings] state = \"{old}\""
                );
                (earlier, Some(warning))
            }
        }
    }
}

const FILE: &str = "state.db";

/// The value that means: keep no state.
const NONE: &str = "none";

/// Whether a configuration is in a folder, or is that folder's config.toml under another name.
fn is_of(config: &Path, folder: &Path) -> bool {
    let real = file::resolved(config);
    config.starts_with(folder)
        || real.starts_with(file::resolved(folder))
        || real == file::resolved(&folder.join("config.toml"))
}

/// The home of the user whose configuration folder contains the file, by its path as written or with links
/// resolved.
fn home_of(config: &Path) -> Option<PathBuf> {
    let home = |path: &Path| {
        let folder = path.ancestors().skip(1).find(|folder| folder.ends_with(".config/tagship"))?;
        Some(folder.parent()?.parent()?.to_owned())
    };
    home(config).or_else(|| home(&file::resolved(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ann() -> Surroundings {
        let own = ("/home/ann/.config/tagship".into(), "/home/ann/.local/state/tagship".into());
        Surroundings { users_own: Some(own), ..Surroundings::default() }
    }

    #[test]
    fn the_state_is_where_the_configuration_says_by_its_own_place() {
        for (config, expected) in [
            ("/etc/tagship/config.toml", "/var/lib/tagship/state.db"),
            ("/etc/tagship/shop.toml", "/var/lib/tagship/state.db"),
            ("/etc/tagship2/config.toml", "/etc/tagship2/state.db"),
            ("/home/ann/.config/tagship/config.toml", "/home/ann/.local/state/tagship/state.db"),
            ("/home/ann/shop/tagship.toml", "/home/ann/shop/state.db"),
            ("/home/bob/.config/tagship/config.toml", "/home/bob/.local/state/tagship/state.db"),
            ("/home/bob/.config/tagship/teams/shop.toml", "/home/bob/.local/state/tagship/state.db"),
            ("/home/bob/config/tagship/config.toml", "/home/bob/config/tagship/state.db"),
        ] {
            // Root and the user of the service use the same state.
            for is_root in [false, true] {
                let surroundings = Surroundings { is_root, ..of_ann() };
                assert_eq!(surroundings.usual(Path::new(config)).unwrap(), Path::new(expected), "{config}");
            }
        }
    }

    #[test]
    fn a_variable_goes_before_the_place_of_the_configuration() {
        let config = Path::new("/etc/tagship/config.toml");
        let of_the_unit = Surroundings { of_the_unit: Some("/var/lib/shop".into()), ..of_ann() };
        assert_eq!(of_the_unit.usual(config).unwrap(), Path::new("/var/lib/shop/state.db"));
        let named = Surroundings { named: Some("/srv/named.db".into()), ..of_the_unit };
        assert_eq!(named.usual(config).unwrap(), Path::new("/srv/named.db"));
        let there = |path: &Path| path == Path::new("/home/ann/.local/state/tagship/state.db");
        assert_eq!(
            named.existing("/srv/named.db".into(), config, there).1,
            None,
            "a state of an earlier version is not used"
        );
    }

    #[test]
    fn the_state_of_an_earlier_version_is_used_where_it_is_the_only_one() {
        let (usual, of_user) = ("/home/ann/shop/state.db", "/home/ann/.local/state/tagship/state.db");
        let config = Path::new("/home/ann/shop/tagship.toml");
        for (is_root, there, expected) in [
            (false, &[][..], usual),
            (false, &[usual], usual),
            (false, &[of_user], of_user),
            (false, &[usual, of_user], usual),
            (false, &[OF_THE_MACHINE], usual),
            (true, &[OF_THE_MACHINE], OF_THE_MACHINE),
            (true, &[of_user], usual),
            // It belongs to the configuration whose usual place it is.
            (false, &[of_user, "/home/ann/.config/tagship/config.toml"], usual),
            (true, &[OF_THE_MACHINE, "/etc/tagship/config.toml"], usual),
            (false, &[of_user, "/etc/tagship/config.toml"], of_user),
        ] {
            let surroundings = Surroundings { is_root, ..of_ann() };
            let is_there = |path: &Path| there.iter().any(|there| Path::new(there) == path);
            let (path, warning) = surroundings.existing(usual.into(), config, is_there);
            assert_eq!(
                (path.to_str().unwrap(), warning.is_some()),
                (expected, expected != usual),
                "{there:?}"
            );
            if let Some(warning) = warning {
                assert!(warning.contains(expected) && warning.contains(usual), "{warning}");
            }
        }
        // Earlier versions did not distinguish configurations of other users.
        let (config, beside) =
            (Path::new("/home/bob/.config/tagship/config.toml"), "/home/bob/.config/tagship/state.db");
        let usual = of_ann().usual(config).unwrap();
        let (path, warning) = of_ann().existing(usual, config, |path| path == Path::new(beside));
        assert_eq!((path.to_str().unwrap(), warning.is_some()), (beside, true));
    }
}
