//! `tagship schedule`: what starts a run again and again, for this configuration.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::{Exit, given, load, user_name};
use crate::cli::{self, Global, Scheduler};
use crate::config::{Config, CredentialSetting, SecretSource, StateSetting};
use crate::report::Console;
use crate::schedule::{self, Account, Cluster, File, Job, SecretUse, State};
use crate::secret::variable_of;
use crate::target::Target;
use crate::target::step::Step;
use crate::target::template::Part;

/// For a command that does not end when it is told to (10 s), and for what comes after it.
const MARGIN: Duration = Duration::from_secs(30);

/// Prints it, or writes the units.
///
/// # Errors
/// Configuration, or a file is there already.
pub(crate) fn schedule(global: &Global, arguments: &cli::Schedule) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let console = Console::new();
    let job = job(global, &config)?;
    match &arguments.what {
        Scheduler::Cron => console.data(&schedule::crontab(&job, &host())),
        Scheduler::Systemd { dir } => {
            let account = if rustix::process::geteuid().is_root() {
                Account::OfItsOwn
            } else {
                let number = || rustix::process::geteuid().as_raw().to_string();
                Account::Named(user_name().unwrap_or_else(number))
            };
            let units = schedule::units(&job, &account);
            match dir {
                Some(dir) => write(dir, &units, &console)?,
                None => {
                    for (name, text) in units {
                        console.data(&format!("# {name}\n{text}"));
                    }
                }
            }
        }
        Scheduler::Kubernetes { image, namespace, shards } => {
            let cluster = Cluster {
                image: image.clone(),
                namespace: namespace.clone(),
                shards: *shards,
                files: files(&config)?,
            };
            let text = schedule::manifests(&job, &cluster).map_err(anyhow::Error::msg)?;
            console.data(text.trim_end());
        }
        Scheduler::GiteaActions { steps } => {
            let root = root(&config.path)?;
            let text = if *steps {
                schedule::steps(&job, &root)
            } else {
                schedule::workflow(&job, &root, root.rsplit('/').next().unwrap_or_default())
            };
            console.data(text.trim_end());
        }
    }
    Ok(Exit::Done)
}

fn job(global: &Global, config: &Config) -> anyhow::Result<Job> {
    let polled: Vec<&Target> = config.targets.iter().filter(|target| target.poll).collect();
    let Some(interval) = polled.iter().map(|target| target.interval).min() else {
        bail!("no stage is polled, so there is nothing to start: every one says poll = false");
    };
    let program = env::current_exe().context("the path of tagship itself cannot be had")?;
    let state = match (&global.state, &config.settings.state, &given("TAGSHIP_STATE")) {
        (Some(path), _, _) | (None, StateSetting::Default, Some(path)) => {
            State::Given(place(&std::path::absolute(path)?)?)
        }
        (None, StateSetting::File(path), _) => State::Configured(place(path)?),
        (None, StateSetting::Nothing, _) => State::Nothing,
        (None, StateSetting::Default, None) => State::Default,
    };
    let certificates: BTreeSet<&PathBuf> =
        config.registries.values().flat_map(|registry| &registry.transport.files).collect();
    let (commands, folders) = commands(config)?;
    Ok(Job {
        program: place(&program)?,
        config: place(&config.path)?,
        state,
        interval,
        longest: longest(config, &polled),
        secrets: secrets(config)?,
        commands,
        folders,
        certificates: certificates.into_iter().map(|path| place(path)).collect::<Result<_, _>>()?,
        metrics_file: config.settings.metrics_file.as_deref().map(place).transpose()?,
    })
}

/// An absolute path that every format can hold, and that systemd and Kubernetes take.
fn place(path: &Path) -> anyhow::Result<String> {
    Ok(schedule::plain(&text(path)?))
}

/// A path as text that every format can hold.
fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control) && !text.contains("${{"));
    let text = text.with_context(|| format!("{path:?} cannot stand in a schedule; choose a plainer path"))?;
    Ok(text.to_owned())
}

/// From the start of a run to the end of what it started last, in whole minutes.
fn longest(config: &Config, polled: &[&Target]) -> Duration {
    let of_target = |target: &&Target| {
        let steps: Duration = target.deploy.iter().map(Step::longest).sum();
        let probes =
            target.running.as_ref().map(|running| running.verify_timeout + running.probe.longest() * 2);
        steps + probes.unwrap_or_default()
    };
    let deployment = polled.iter().map(of_target).max().unwrap_or_default();
    let notification =
        config.notifiers.iter().map(|notifier| notifier.step.longest()).max().unwrap_or_default();
    let all = config.settings.max_runtime + config.settings.timeout + deployment + notification + MARGIN;
    Duration::from_secs(all.as_secs().div_ceil(60) * 60)
}

/// Every secret that a run may need, where it can stand in a schedule.
fn secrets(config: &Config) -> anyhow::Result<Vec<SecretUse>> {
    let of_registries = config.registries.values().filter_map(|registry| {
        let (source, is_optional) = match &registry.credential {
            CredentialSetting::Source(source) => (source.clone(), false),
            CredentialSetting::Search => (SecretSource::Env(variable_of(&registry.name)), true),
            CredentialSetting::Anonymous => return None,
        };
        Some(SecretUse { whose: format!("the token of the registry {}", registry.name), source, is_optional })
    });
    let named = config.secrets.iter().map(|(id, source)| SecretUse {
        whose: format!("the secret {id}"),
        source: source.clone(),
        is_optional: false,
    });
    let secrets: Vec<SecretUse> = of_registries.chain(named).collect();
    for secret in &secrets {
        let named = match &secret.source {
            SecretSource::File(path) | SecretSource::DockerConfig(path) => path.as_path(),
            SecretSource::Env(name) | SecretSource::Credential(name) => Path::new(name),
            SecretSource::Command { argv, .. } => Path::new(argv.first().map_or("", String::as_str)),
            SecretSource::Keyring(_) => continue,
        };
        text(named).with_context(|| secret.whose.clone())?;
    }
    Ok(secrets)
}

/// Every program that the configuration runs, but for those that print secrets; and where.
fn commands(config: &Config) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let of_targets = config
        .targets
        .iter()
        .flat_map(|target| target.deploy.iter().chain(target.running.iter().map(|running| &running.probe)));
    let mut commands: Vec<String> = Vec::new();
    let mut folders: BTreeSet<String> = BTreeSet::new();
    for step in of_targets.chain(config.notifiers.iter().map(|notifier| &notifier.step)) {
        let Step::Command(command) = step else { continue };
        let parts = command.argv.first().map_or(&[][..], |program| &program.parts);
        let shown = |part: &Part| match part {
            Part::Literal(text) | Part::Var(text) => text.clone(),
            _ => "…".to_owned(),
        };
        let program: String = parts.iter().map(shown).collect();
        let program: String = program.chars().filter(|character| !character.is_control()).collect();
        if !commands.contains(&program) {
            commands.push(program);
        }
        folders.insert(place(&command.dir)?);
    }
    Ok((commands, folders.into_iter().collect()))
}

fn host() -> String {
    whoami::hostname().unwrap_or_default()
}

/// The files of the configuration, and the scripts below its folder that it runs.
fn files(config: &Config) -> anyhow::Result<Vec<File>> {
    let folder = config.path.parent().unwrap_or(Path::new("/"));
    let below = |path: &Path| {
        let plain: PathBuf = path.components().collect();
        let below = plain.strip_prefix(folder).ok()?;
        below.components().all(|part| matches!(part, Component::Normal(_))).then(|| below.to_owned())
    };
    let mut files = Vec::new();
    for path in &config.files {
        let below = below(path).with_context(|| {
            format!(
                "{} is not below {}: a ConfigMap holds the main file and what is below its folder",
                path.display(),
                folder.display()
            )
        })?;
        let content =
            fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        files.push(File { path: text(&below)?, text: content, is_program: false });
    }
    // A program that is no text, or is not here, is the image's matter.
    for path in &config.programs {
        if let (Some(below), Ok(content)) = (below(path), fs::read_to_string(path)) {
            files.push(File { path: text(&below)?, text: content, is_program: true });
        }
    }
    Ok(files)
}

/// The folder that is the root of the repository with this file; without one, the file's own.
fn root(config: &Path) -> anyhow::Result<String> {
    let mut folders = config.ancestors().skip(1);
    let own = config.parent().unwrap_or(Path::new("/"));
    text(folders.find(|folder| folder.join(".git").exists()).unwrap_or(own))
}

/// Writes units where there are none of their names.
fn write(dir: &Path, units: &[(&str, String)], console: &Console) -> anyhow::Result<()> {
    let paths: Vec<PathBuf> = units.iter().map(|(name, _)| dir.join(name)).collect();
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        bail!(
            "{} is there already, and nothing was written; move it away, or leave out --dir to see the text",
            path.display()
        );
    }
    fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
    for (path, (_, text)) in paths.iter().zip(units) {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("could not write {}", path.display()))?;
        console.message(&format!("wrote {}", path.display()));
    }
    console.message("next: systemctl daemon-reload && systemctl enable --now tagship.timer");
    Ok(())
}
