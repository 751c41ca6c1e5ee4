//! The configuration's run as a [`Job`], from which all schedules are made.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cli::Global;
use crate::command::state::{StatePlace, place_of};
use crate::config::{Config, CredentialSetting, SecretSource, StateSetting};
use crate::schedule::{self, Job, SecretUse, State};
use crate::secret::variable_of;
use crate::target::Target;
use crate::target::step::Step;
use crate::target::template::Part;

/// The execute bits of a file's mode.
const EVERYBODY_READS: u32 = 0o004;

/// The time for a command that ignores SIGTERM (10 s), and for the rest of the run.
const MARGIN: Duration = Duration::from_secs(30);

/// The run that a schedule starts.
///
/// # Errors
/// No stage is polled, or a schedule cannot contain a path.
pub(super) fn job(global: &Global, config: &Config) -> anyhow::Result<Job> {
    let polled: Vec<&Target> = config.all_targets().filter(|target| target.poll).collect();
    let Some(interval) = polled.iter().map(|target| target.interval).min() else {
        bail!("nothing to start: every stage has poll = false");
    };
    let program = env::current_exe().context("could not find the path of tagship itself")?;
    let state = match place_of(global.state(), config)?.0 {
        StatePlace::Nothing if config.settings.state != StateSetting::Nothing => {
            bail!(
                "a schedule cannot pass on `none`; write state = \"none\" in [settings] of the configuration"
            )
        }
        StatePlace::Nothing => State::Nothing,
        StatePlace::File(path)
            if global.state().is_none() && config.settings.state != StateSetting::Default =>
        {
            State::Configured(place(&path)?)
        }
        StatePlace::File(path) => State::Given(place(&std::path::absolute(path)?)?),
    };
    let certificates: BTreeSet<&PathBuf> =
        config.registries.values().flat_map(|registry| &registry.transport.files).collect();
    let is_private = |path: &Path| {
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & EVERYBODY_READS == 0)
    };
    let is_private = config.files.iter().chain(certificates.iter().copied()).any(|path| is_private(path));
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
        is_private,
        metrics_file: config.settings.metrics_file.as_deref().map(place).transpose()?,
    })
}

/// An absolute path that is valid in every format, for systemd and Kubernetes.
fn place(path: &Path) -> anyhow::Result<String> {
    Ok(schedule::plain(&text(path)?))
}

/// A path as text that is valid in every format.
///
/// # Errors
/// It contains control characters, or an expression that Actions would replace.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control) && !text.contains("${{"));
    let text = text.with_context(|| {
        format!("a schedule cannot contain the path {path:?}; use a path without special characters")
    })?;
    Ok(text.to_owned())
}

/// The time from the start of a run to the end of its last deployment, in whole minutes.
fn longest(config: &Config, polled: &[&Target]) -> Duration {
    let of_target = |target: &&Target| {
        let steps: Duration = target.deploy.iter().chain(&target.gates.steps).map(Step::longest).sum();
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

/// Every secret that a run may need, with the description of its use.
fn secrets(config: &Config) -> anyhow::Result<Vec<SecretUse>> {
    let of_registries = config.registries.values().filter_map(|registry| {
        let (source, is_optional) = match &registry.credential {
            CredentialSetting::Source(source) => (source.clone(), false),
            CredentialSetting::Search => (SecretSource::Env(variable_of(&registry.name)), true),
            CredentialSetting::Anonymous => return None,
        };
        Some(SecretUse { whose: format!("the token of the registry {}", registry.name), source, is_optional })
    });
    // A schedule does not start polls from webhooks.
    let named = config.secrets.iter().filter(|(id, _)| config.settings.webhook.as_ref() != Some(id));
    let named = named.map(|(id, source)| SecretUse {
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

/// Every program that the configuration runs, with its folder, except those that print secrets.
fn commands(config: &Config) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let of_targets = config.all_targets().flat_map(Target::steps);
    let mut commands: Vec<String> = Vec::new();
    let mut folders: BTreeSet<String> = BTreeSet::new();
    let own = place(config.path.parent().unwrap_or(Path::new("/")))?;
    for step in of_targets.chain(config.notifiers.iter().map(|notifier| &notifier.step)) {
        let Step::Command(command) = step else { continue };
        let parts = command.argv.first().map_or(&[][..], |program| &program.parts);
        let shown = |part: &Part| match part {
            Part::Literal(text) | Part::Var(text) => text.clone(),
            _ => "…".to_owned(),
        };
        let program: String = parts.iter().map(shown).collect();
        let mut program: String = program.chars().filter(|character| !character.is_control()).collect();
        let dir = place(&command.dir)?;
        // A relative path would be searched beside the configuration.
        if program.contains('/') && !program.starts_with('/') && dir != own {
            program = schedule::plain(&format!("{dir}/{program}"));
        }
        if !commands.contains(&program) {
            commands.push(program);
        }
        folders.insert(dir);
    }
    Ok((commands, folders.into_iter().collect()))
}
