//! `tagship poll`: the main job.

use std::io::IsTerminal as _;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;

use super::{
    Exit, detail, given, load, open_state, rehearsed_state, select_filtered, used_files, warn_of_open_state,
};
use crate::cli::{self, Global, PollFormat};
use crate::deploy::{self, Ping, Stop};
use crate::engine::{self, Audience};
use crate::monitor::{self, Ended};
use crate::report::{
    Console, Event, GitHub, GitHubFiles, Human, Json, JsonLines, Progress, Report, Shown, Summary,
};
use crate::run::{self, Mode, Run};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::store::Store;
use crate::target::filter::TargetFilter;
use crate::target::shard::{Shard, ShardSetting};
use crate::target::{Target, TargetId};

/// Polls the selected targets and deploys what is new.
///
/// # Errors
/// Configuration, arguments or state file; nothing that could not be recorded was begun.
pub(crate) fn poll(global: &Global, arguments: &cli::PollArgs, console: &Console) -> anyhow::Result<Exit> {
    // The process ends with the run: ten thousand targets need not be freed one by one.
    let config = ManuallyDrop::new(load(global)?);
    let metrics_file = match &config.settings.metrics_file {
        Some(path) => {
            let used = used_files(global, &config)?;
            monitor::check_metrics_file(path, &used).map_err(anyhow::Error::msg)?;
            Some((path, used))
        }
        None => None,
    };
    // Until here a signal ends the process by itself: nothing was begun.
    let stop = Stop::on_signals()?;
    let max_runtime = arguments.max_runtime.unwrap_or(config.settings.max_runtime);
    let cutoff = Cutoff::after(&stop, max_runtime);
    let secrets = Arc::new(Secrets::new(&config).until(cutoff.clone()));
    let console = console.masking(Arc::clone(&secrets));
    let filter = TargetFilter {
        patterns: arguments.targets.clone(),
        projects: arguments.project.clone(),
        stages: arguments.stage.clone(),
    };
    let selected = select_filtered(&config, &filter)?;
    let mut targets: Vec<&Target> = selected.iter().copied().filter(|target| target.poll).collect();
    if targets.is_empty() && !global.quiet {
        let names: Vec<String> = selected.iter().take(3).map(|target| target.id.to_string()).collect();
        let more = if selected.len() > names.len() { ", …" } else { "" };
        console.message(&format!("nothing to poll: poll = false is set for {}{more}", names.join(", ")));
    }
    if let Some(shard) = arguments.shard.map(shard).transpose()? {
        targets.retain(|target| shard.takes(&target.image));
    }
    let mode = if arguments.dry_run { Mode::Rehearse } else { Mode::Deliver };
    let store = match mode {
        Mode::Rehearse => rehearsed_state(global, &config, &console, &cutoff)?,
        Mode::Deliver => open_state(global, &config, &console, &cutoff)?,
    };
    config.dangers.iter().for_each(|danger| console.fault_warning(danger));
    warn_of_open_state(&store, &console);
    // Cron's mail is no place to be told again and again; `check` tells.
    if global.verbose || (!global.quiet && std::io::stderr().is_terminal()) {
        config.warnings.iter().for_each(|warning| console.fault_warning(warning));
    }
    let checks = store.checks(config.targets.iter().map(|target| &target.id))?;
    if mode == Mode::Deliver {
        name_left_targets(&store, &checks.left, &console)?;
    }
    if arguments.due {
        let (open, now) = (store.open_deployments()?, Timestamp::now());
        targets.retain(|target| {
            let checked_at = checks.checked_at.get(&target.id).copied();
            engine::is_due(target, checked_at, open.get(&target.id), now)
        });
    }
    let run = Run {
        config: &config,
        store: &store,
        secrets,
        stop: &stop,
        mode,
        audience: audience(global, arguments.format),
        max_runtime,
        refresh: arguments.refresh,
    };
    let mut report = report(global, arguments.format, console, &targets);
    let warn = |report: &mut Box<dyn Report>, result: Result<(), String>| {
        if let Err(fault) = result {
            report.event(Event::Warning(&fault));
        }
    };
    let id = uuid::Uuid::now_v7();
    let is_told = mode == Mode::Deliver;
    let ping_url = config.settings.ping_url.as_ref().filter(|_| is_told);
    let ping = |report: &mut Box<dyn Report>, moment: Ping| {
        if let Some(url) = ping_url {
            warn(report, deploy::ping(url, moment, &run.secrets, &id, run.max_runtime, &stop));
        }
    };
    ping(&mut report, Ping::Start);
    let summary = run::poll(&run, &targets, report.as_mut());
    let unusable = stop.signal().map_or(Exit::Unusable, Exit::Signal);
    let ended = summary.as_ref().map_or(unusable, |summary| exit(summary, arguments));
    // That something is new is no failure there.
    let status = if matches!(ended, Exit::Changed | Exit::Busy) { 0 } else { ended.status() };
    ping(&mut report, Ping::End(status));
    let summary = match summary {
        Err(error) if matches!(ended, Exit::Signal(_)) => {
            report.event(Event::Warning(&format!("{error:#}")));
            return Ok(ended);
        }
        summary => summary?,
    };
    if let Some((file, used)) = metrics_file.filter(|_| is_told) {
        let succeeded = matches!(ended, Exit::Done | Exit::Changed | Exit::Busy);
        let end = Ended { at: Timestamp::now(), duration: summary.duration, succeeded };
        let known = store.states().and_then(|states| Ok((states, store.open_deployments()?)));
        let written = known.map_err(|error| format!("metrics_file {}: {error}", file.display())).and_then(
            |(states, open)| {
                let targets = config.targets.iter().filter(|target| target.poll);
                let targets =
                    targets.map(|target| (&target.id, states.get(&target.id), open.get(&target.id)));
                monitor::write_metrics(file, &used, end, targets)
            },
        );
        warn(&mut report, written);
    }
    Ok(ended)
}

/// Which shard is meant.
fn shard(setting: ShardSetting) -> anyhow::Result<Shard> {
    const INDEX: &str = "JOB_COMPLETION_INDEX";
    match setting {
        ShardSetting::This(shard) => Ok(shard),
        ShardSetting::OfJob { count } => {
            let index = std::env::var(INDEX).with_context(|| {
                format!("--shard {count} requires ${INDEX}, which Kubernetes sets for an indexed job; or write --shard I/{count}")
            })?;
            let shard =
                index.parse().ok().filter(|index| *index < count).and_then(|index| Shard::new(index, count));
            shard.with_context(|| {
                format!("${INDEX} is {index:?}: expected a number from 0 to {}", count.saturating_sub(1))
            })
        }
    }
}

/// Targets that left the configuration are named once.
fn name_left_targets(store: &Store, left: &[TargetId], console: &Console) -> anyhow::Result<()> {
    store.note_left(left, Timestamp::now())?;
    for id in left {
        console.warning(&format!(
            "{id} is no longer in the configuration and is not polled any more; its history is kept"
        ));
    }
    Ok(())
}

fn audience(global: &Global, format: PollFormat) -> Audience {
    match format {
        PollFormat::Json | PollFormat::Jsonl => Audience::Machine,
        PollFormat::Github => Audience::Person,
        PollFormat::Human
            if global.verbose || std::io::stdout().is_terminal() || std::env::var_os("CI").is_some() =>
        {
            Audience::Person
        }
        PollFormat::Human => Audience::Mail,
    }
}

fn report(global: &Global, format: PollFormat, console: Console, targets: &[&Target]) -> Box<dyn Report> {
    match format {
        PollFormat::Json => Box::new(Json::new(console)),
        PollFormat::Jsonl => Box::new(JsonLines::new(console)),
        PollFormat::Github => Box::new(GitHub::new(console, detail(global), github_files())),
        PollFormat::Human => {
            let shown = Shown {
                detail: detail(global),
                live_output: global.verbose,
                always_sums_up: std::io::stderr().is_terminal(),
            };
            let human = Box::new(Human::new(console, shown, targets.iter().copied()));
            if global.quiet || !std::io::stderr().is_terminal() {
                return human;
            }
            Box::new(Progress::below(human))
        }
    }
}

fn github_files() -> GitHubFiles {
    GitHubFiles { output: given("GITHUB_OUTPUT"), summary: given("GITHUB_STEP_SUMMARY") }
}

/// The worst that can be said of the run.
fn exit(summary: &Summary, arguments: &cli::PollArgs) -> Exit {
    if let Some(signal) = summary.signal {
        Exit::Signal(signal)
    } else if summary.failed > 0 || summary.unknown > 0 {
        Exit::Failed
    } else if arguments.strict && summary.busy {
        Exit::Busy
    } else if arguments.exit_code && summary.changed {
        Exit::Changed
    } else {
        Exit::Done
    }
}
