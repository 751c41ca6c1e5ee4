//! `tagship check`: the configuration, without asking anyone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Exit, load, read_state};
use crate::cli::{self, Global};
use crate::config::Config;
use crate::deploy::Stop;
use crate::plan::Audience;
use crate::policy::{self, Order};
use crate::poll::{self, Finding, Mode, Run};
use crate::reference::Tag;
use crate::report::{Console, Progress, Report, Silence, count, escape_control};
use crate::secret::{Secrets, exposed, origins, without_entry};
use crate::stop::Cutoff;
use crate::store::{Store, StoreError};
use crate::target::Target;
use crate::target::step::Step;

/// Validates the configuration, warns of what is legal and probably wrong, and says what it has.
///
/// # Errors
/// Every fault of the configuration, or a state file that cannot be read.
pub(crate) fn check(global: &Global, arguments: &cli::Check, console: &Console) -> anyhow::Result<Exit> {
    let config = load(global)?;
    // Without --online nothing takes long, and a signal ends it as it ends any program.
    let stop = if arguments.online { Stop::on_signals()? } else { Stop::default() };
    let secrets = Arc::new(Secrets::new(&config).until(Cutoff::at_signal(&stop)));
    let console = console.masking(Arc::clone(&secrets));
    config.dangers.iter().chain(&config.warnings).for_each(|warning| console.warning(&warning.to_string()));
    let of_secrets = exposed(&config).into_iter().chain(without_entry(&config));
    of_secrets.for_each(|warning| console.warning(&warning));
    for (target, doubt) in doubts(global, &config)? {
        console.warning(&format!("{}: {}: {doubt}", config.path.display(), target.id));
    }
    if !global.quiet {
        let polled = config.targets.iter().filter(|target| target.poll).count();
        console.data(&format!(
            "{}: {}, {polled} of them polled; no faults",
            config.path.display(),
            count(config.targets.len(), "target"),
        ));
    }
    if global.verbose {
        let origins = origins(&config);
        let width = origins.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
        for (what, origin) in origins {
            console.data(&escape_control(&format!("{what:<width$}  from {origin}")));
        }
    }
    if arguments.online { online(global, &config, secrets, &stop, &console) } else { Ok(Exit::Done) }
}

/// Tries everything that a poll needs, and says how it is.
fn online(
    global: &Global,
    config: &Config,
    secrets: Arc<Secrets>,
    stop: &Stop,
    console: &Console,
) -> anyhow::Result<Exit> {
    let store = read_state(global, config)?;
    let run = Run {
        config,
        store: &store,
        secrets,
        stop,
        mode: Mode::Rehearse,
        audience: Audience::Person,
        max_runtime: config.settings.max_runtime,
        refresh: false,
    };
    let targets: Vec<&Target> = config.targets.iter().collect();
    let mut report: Box<dyn Report> =
        if global.quiet { Box::new(Silence) } else { Box::new(Progress::alone()) };
    let findings = poll::inspect(&run, &targets, report.as_mut())?;
    if let Some(signal) = stop.signal() {
        // What it cut short was not found to be wrong.
        return Ok(Exit::Signal(signal));
    }
    let width = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or(0);
    let mut failed = false;
    for Finding { subject, result } in findings {
        match result {
            Ok(said) if !global.quiet => {
                console.data(&format!("{subject:<width$}  ok      {}", escape_control(&said)));
            }
            Ok(_) => {}
            Err(fault) => {
                failed = true;
                console.data(&format!("{subject:<width$}  failed  {}", escape_control(&fault)));
            }
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn doubts<'c>(global: &Global, config: &'c Config) -> anyhow::Result<Vec<(&'c Target, String)>> {
    let store = read_state(global, config)?;
    let samples = store.at_once(|| samples(&store, config))?;
    let mut doubts = Vec::new();
    for (index, (target, sample)) in config.targets.iter().zip(samples).enumerate() {
        doubts.extend(policy::doubts(&target.policy, &sample).into_iter().map(|doubt| (target, doubt)));
        if target.policy.order() == Order::Newest
            && !config.registries[&target.registry].may_have_push_times()
        {
            let doubt = "this registry does not tell when tags were pushed: order = \"newest\" goes by when tagship first sees them";
            doubts.push((target, doubt.to_owned()));
        }
        let siblings =
            config.targets[..index].iter().rev().take_while(|other| other.id.project == target.id.project);
        if let Some(twin) = siblings.into_iter().find(|other| is_twin(other, target)) {
            doubts.push((target, format!("it has the same rule and the same deploy steps as {} (fine where they go by TAGSHIP_STAGE)", twin.id)));
        }
    }
    Ok(doubts)
}

/// The tags that the state knows of each target.
fn samples(store: &Store, config: &Config) -> Result<Vec<Vec<Tag>>, StoreError> {
    let states = store.states()?;
    let sample = |target: &Target| {
        let mut sample: BTreeSet<Tag> = store.given(&target.id)?.into_keys().collect();
        if let Some(state) = states.get(&target.id) {
            sample.extend(state.last_polled_tag.clone());
            sample.extend(state.high_water.as_ref().map(|listed| listed.tag.clone()));
            sample.extend(state.candidates.iter().map(|seen| seen.tag.clone()));
        }
        sample.extend(store.sightings(&target.id)?.into_keys());
        Ok(sample.into_iter().collect())
    };
    config.targets.iter().map(sample).collect()
}

/// Two stages of a project that do the same, but for what their names say.
fn is_twin(one: &Target, other: &Target) -> bool {
    let same_steps = || format!("{:?}", one.deploy) == format!("{:?}", other.deploy);
    one.policy.rule_text() == other.policy.rule_text()
        && same_steps()
        && !one.deploy.iter().any(Step::names_its_stage)
}
