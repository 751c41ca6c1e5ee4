//! `tagship deploy` and `tagship rollback`: manual deployments.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use jiff::Timestamp;

use super::{Exit, by_whom, load, open_state, select_one, warn_if_not_polled};
use crate::cli::{self, Global};
use crate::config::Config;
use crate::deploy::Stop;
use crate::engine::Audience;
use crate::policy::Verdict;
use crate::reference::{ListedTag, Tag};
use crate::report::{Console, Detail, Event, Human, Progress, Report, Shown};
use crate::run::{ManualDeployment, ManualTag, Mode, Run, deploy_manually};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::target::Target;

/// Deploys the tag that the stage ran before.
///
/// # Errors
/// As [`deploy`].
pub(crate) fn rollback(
    global: &Global,
    arguments: &cli::Rollback,
    console: &Console,
) -> anyhow::Result<Exit> {
    let cli::Rollback { target, no_hold, wait } = arguments;
    let arguments = cli::DeployArgs {
        target: target.clone(),
        tag: None,
        previous: true,
        no_hold: *no_hold,
        wait: *wait,
        force: false,
    };
    deploy(global, &arguments, console)
}

/// Deploys the newest tag, or the given tag. Holds and gates are ignored.
///
/// # Errors
/// An error in the configuration, the arguments or the state file, or the tag does not exist; nothing was sent.
pub(crate) fn deploy(
    global: &Global,
    arguments: &cli::DeployArgs,
    console: &Console,
) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let stop = Stop::on_signals()?;
    let target = select_one(&config, &arguments.target)?;
    let cutoff = Cutoff::at_signal(&stop);
    let secrets = Arc::new(Secrets::new(&config).until(cutoff.clone()));
    let console = console.masking(Arc::clone(&secrets));
    let choice = match &arguments.tag {
        Some(tag) => ManualTag::Tag(Tag::new(tag)?),
        None if arguments.previous => ManualTag::Previous,
        None => ManualTag::Newest,
    };
    if let (ManualTag::Tag(tag), false) = (&choice, arguments.force) {
        check_rule(&config, target, tag)?;
    }
    let store = open_state(global, &config, &console, &cutoff)?;
    warn_if_not_polled(&store, &config, &console)?;
    let is_polled = target.poll && target.auto_deploy;
    if !store.is_kept() && is_polled && !arguments.no_hold && matches!(choice, ManualTag::Tag(_)) {
        console.warning(&format!(
            "state = \"none\" keeps nothing between runs, so nothing holds {}: the next poll deploys a newer tag if there is one",
            target.id
        ));
    }
    let manual = ManualDeployment {
        choice,
        force: arguments.force,
        wait: arguments.wait,
        by: by_whom(),
        holds: !arguments.no_hold,
    };
    let run = Run {
        config: &config,
        store: &store,
        secrets,
        stop: &stop,
        mode: Mode::Deliver,
        audience: Audience::Person,
        max_runtime: config.settings.max_runtime,
        refresh: false,
        pushed: Vec::new(),
    };
    let is_seen = std::io::stderr().is_terminal();
    let shown = Shown {
        detail: if global.quiet { Detail::Failures } else { Detail::Everything },
        live_output: global.verbose || is_seen,
        always_sums_up: false,
    };
    let mut report: Box<dyn Report> = Box::new(Human::new(console.clone(), shown));
    report.event(Event::Selected(&[target]));
    if is_seen && !global.quiet {
        report = Box::new(Progress::below(report));
    }
    let ended = deploy_manually(&run, target, &manual, report.as_mut());
    if let (Some(signal), Err(_) | Ok(None)) = (stop.signal(), &ended) {
        // Nothing was recorded, and an interruption is not an error.
        return Ok(Exit::Signal(signal));
    }
    // A registry's error may repeat a credential, and the caller that prints it cannot mask secrets.
    let ended = ended.map_err(|error| anyhow!(run.secrets.mask(&format!("{error:#}"))))?;
    let Some(summary) = ended else {
        console.error(&format!(
            "another run, or a command that it left behind, is deploying to {}; to wait for it: --wait",
            target.id
        ));
        return Ok(Exit::Busy);
    };
    // The deployment has succeeded, even if the state cannot be read here.
    let hold = store.state(&target.id).ok().flatten().and_then(|state| state.hold);
    if let Some(hold) = hold.filter(|hold| !global.quiet && hold.holds(Timestamp::now())) {
        let end = hold.until.map_or_else(String::new, |until| format!("{until:.0} or "));
        console.message(&format!("{0} is held: newer tags wait until {end}tagship release {0}", target.id));
    }
    Ok(match summary.signal {
        Some(signal) => Exit::Signal(signal),
        None if summary.failed > 0 || summary.unknown > 0 => Exit::Failed,
        None => Exit::Done,
    })
}

/// Checks that the target's rule allows the tag.
///
/// # Errors
/// The rule does not allow it. The error names the stages of the project that do.
fn check_rule(config: &Config, target: &Target, tag: &Tag) -> anyhow::Result<()> {
    let listed = ListedTag::named(tag.clone());
    let verdict = target.policy.judge(&listed);
    if matches!(verdict, Verdict::Candidate(_)) {
        return Ok(());
    }
    let other_spelling = tag.as_str().strip_prefix('v').map_or_else(|| format!("v{tag}"), str::to_owned);
    let meant = Tag::new(&other_spelling).ok().map(ListedTag::named);
    if meant.is_some_and(|meant| target.policy.candidate(&meant).is_some()) {
        bail!(
            "the rule of {0} allows {other_spelling}, but not {tag}; to list the tags: tagship tags {0}",
            target.id
        );
    }
    let is_of_project = |other: &&Target| other.id.project == target.id.project;
    let others = config.targets.iter().filter(is_of_project);
    let allowing = others.filter(|other| other.policy.candidate(&listed).is_some());
    let commands: String = allowing
        .map(|other| format!("\n  help: {0} allows it: tagship deploy {0} {tag}", other.id))
        .collect();
    bail!(
        "the rule of {0} does not allow {tag}: {verdict}{commands}\n  \
         help: to deploy it anyway: tagship deploy {0} {tag} --force",
        target.id
    )
}
