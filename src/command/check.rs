//! `tagship check`: the configuration, offline unless with `--online` or `--notify`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Exit, can_lock, dry_run_state, load, read_state, used_files, warn_of_open_state};
use crate::cli::{self, Global};
use crate::config::Config;
use crate::deploy::{self, EventReport, Message, MessageContent, Stop};
use crate::engine::{Audience, ErrorCode, Failure};
use crate::images::ImageTable;
use crate::monitor;
use crate::policy::{self, Order};
use crate::program::{self, ProgramFault};
use crate::reference::{Labels, Tag};
use crate::report::{Console, Outage, Progress, Report, Silence, count, escape_control, is_sent};
use crate::run::{self, Finding, Mode, Run, Session, Wanted, feed_key};
use crate::secret::{Secrets, absent, exposed, origins, without_entry};
use crate::stop::Cutoff;
use crate::store::{States, Store, StoreError};
use crate::target::lint::lints;
use crate::target::step::Step;
use crate::target::{Name, Target};

/// The error of a test message.
const TEST: &str = "this is a test message of tagship check --notify";

/// Validates the configuration, prints its lints, and summarizes it.
///
/// # Errors
/// All errors of the configuration, or a state file that cannot be read.
pub(crate) fn check(global: &Global, arguments: &cli::Check, console: &Console) -> anyhow::Result<Exit> {
    let mut config = load(global)?;
    if let Some(path) = &config.settings.metrics_file {
        monitor::check_metrics_file(path, &used_files(global, &config)?).map_err(anyhow::Error::msg)?;
    }
    // Without --online and --notify the command is quick, and a signal simply ends the process.
    let stop = if arguments.online || arguments.notify { Stop::on_signals()? } else { Stop::default() };
    let cutoff = Cutoff::after(&stop, config.settings.max_runtime);
    let secrets = Arc::new(Secrets::new(&config).until(cutoff.clone()));
    let console = console.masking(Arc::clone(&secrets));
    config.dangers.iter().chain(&config.warnings).for_each(|warning| console.fault_warning(warning));
    let of_secrets = exposed(&config).into_iter().chain(without_entry(&config)).chain(absent(&config));
    let of_metrics = config.settings.metrics_file.as_deref().and_then(monitor::missing_folder);
    of_secrets.chain(of_metrics).for_each(|warning| console.warning(&warning));
    // Without --online the configuration may be meant for another machine.
    let (elsewhere, broken): (Vec<_>, Vec<_>) =
        program_faults(&config).into_iter().partition(|(_, fault)| fault.is_absent && !arguments.online);
    let store = read_state(global, &config, &console, &cutoff)?;
    warn_of_open_state(&store, &console);
    let can_lock = can_lock(&store, &console);
    let of_tables = match arguments.online && !config.tables.is_empty() {
        true => tables(global, &mut config, &secrets, &stop, &console)?,
        false => Vec::new(),
    };
    let mut warnings = warnings(&store, &config, arguments.online)?;
    warnings.extend(elsewhere.into_iter().map(|(subject, fault)| (subject, fault.message)));
    for (subject, warning) in by_cause(warnings) {
        console.warning(&format!("{}: {subject}: {warning}", config.path.display()));
    }
    // With --online they are listed again.
    let of_images = config.image_faults.iter().filter(|_| !arguments.online);
    let of_images = of_images.map(|(table, faults)| (format!("projects.{table}"), faults.join("; ")));
    let broken = broken.into_iter().map(|(subject, fault)| (subject, fault.message));
    let broken = by_cause(broken.chain(of_images));
    if !global.quiet {
        let polled = config.targets.iter().filter(|target| target.poll).count();
        let tables = match config.tables.len() {
            0 => String::new(),
            tables => format!(", {} with images", count(tables, "table")),
        };
        console.data(&format!(
            "{}: {}, {polled} of them polled{tables}{}",
            config.path.display(),
            count(config.targets.len(), "target"),
            // With --online the rows below report this.
            if broken.is_empty() && can_lock && !arguments.online { "; no faults" } else { "" }
        ));
    }
    for (subject, fault) in &broken {
        console.data(&format!("{subject}  failed  {}", escape_control(fault)));
    }
    if global.verbose {
        let origins = origins(&config);
        let width = origins.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
        for (what, origin) in origins {
            console.data(&escape_control(&format!("{what:<width$}  from {origin}")));
        }
    }
    let found = match arguments.online {
        true => online(global, &store, &config, of_tables, &secrets, &stop, &console)?,
        false => Exit::Done,
    };
    let sent = match found {
        Exit::Done | Exit::Failed if arguments.notify => {
            test_notifiers(global, &config, &secrets, &stop, &console)
        }
        _ => Exit::Done,
    };
    Ok(match (found, sent) {
        (Exit::Done, Exit::Done) if !broken.is_empty() || !can_lock => Exit::Failed,
        (Exit::Signal(_), _) | (_, Exit::Done) => found,
        _ => sent,
    })
}

/// Sends a test message to each `[[notify]]`.
fn test_notifiers(
    global: &Global,
    config: &Config,
    secrets: &Secrets,
    stop: &Stop,
    console: &Console,
) -> Exit {
    if config.notifiers.is_empty() {
        console.warning(&format!(
            "{}: nothing to test: the configuration has no [[notify]]",
            config.path.display()
        ));
    }
    let test = Tag::new("test").expect("a valid tag");
    let mut failed = false;
    for (index, notifier) in config.notifiers.iter().enumerate() {
        let subject = format!("notify[{index}]");
        let is_reported = |target: &&Target| notifier.reports(&target.id);
        let Some(target) = config.all_targets().find(is_reported) else {
            console
                .warning(&format!("{}: {subject}: not tested: it reports no target", config.path.display()));
            continue;
        };
        let page = config.registries[&target.registry].page(&target.image.repository, Some(&test));
        let content = match notifier.batch {
            true => MessageContent::Batch { count: 1, lines: &format!("{} test: {TEST}", target.id) },
            false => MessageContent::One(EventReport {
                status: "test",
                tag: Some(&test),
                digest: None,
                labels: &Labels::new(),
                previous_tag: None,
                deployment_id: None,
                error: Some(TEST),
                page: page.as_deref(),
            }),
        };
        let id = uuid::Uuid::now_v7().to_string();
        let message = Message { id: &id, time: Timestamp::now(), content };
        let result = deploy::notify(target, &notifier.step, &message, secrets, stop, notifier.step.longest());
        if let Some(signal) = stop.signal() {
            return Exit::Signal(signal);
        }
        match result {
            Ok(()) if global.quiet => {}
            Ok(()) => console.data(&format!("{subject}  ok      sent a test message")),
            Err(error) => {
                failed = true;
                console.data(&format!("{subject}  failed  {}", escape_control(&error.to_string())));
            }
        }
    }
    if failed { Exit::Failed } else { Exit::Done }
}

/// Lists the images of each table and makes targets of them, without writing to the state.
fn tables(
    global: &Global,
    config: &mut Config,
    secrets: &Arc<Secrets>,
    stop: &Stop,
    console: &Console,
) -> anyhow::Result<Vec<Finding>> {
    let cutoff = Cutoff::after(stop, config.settings.max_runtime);
    let store = dry_run_state(global, config, console, &cutoff)?;
    let mut failures = HashMap::new();
    let mut session = Session::begin(stop, config.settings.max_runtime);
    let all: Vec<&ImageTable> = config.tables.iter().collect();
    session.list_images(&run(config, &store, secrets, stop), &all, Wanted::Unread, &mut failures);
    config.take_in(&store.images()?);
    let finding = |table: &ImageTable| {
        let failure = table
            .owners()
            .into_iter()
            .find_map(|owner| failures.get(&feed_key(config, &table.registry, owner)));
        let images: BTreeSet<_> = config.targets_of(table).map(|target| &target.image.repository).collect();
        let result = match (failure, config.image_faults.get(&table.name)) {
            (Some(failure), _) => Err(failure.clone()),
            (None, Some(faults)) => Err(Failure { code: ErrorCode::Protocol, message: faults.join("; ") }),
            (None, None) if images.is_empty() => Err(Failure {
                code: ErrorCode::NotFound,
                message: format!("no image matches {}", table.globs()),
            }),
            (None, None) => Ok(format!("{} of {}", count(images.len(), "image"), table.globs())),
        };
        Finding::of(format!("projects.{}", table.name), &table.registry, result)
    };
    Ok(config.tables.iter().map(finding).collect())
}

fn run<'a>(config: &'a Config, store: &'a Store, secrets: &Arc<Secrets>, stop: &'a Stop) -> Run<'a> {
    Run {
        config,
        store,
        secrets: Arc::clone(secrets),
        stop,
        mode: Mode::DryRun,
        audience: Audience::Person,
        max_runtime: config.settings.max_runtime,
        refresh: false,
        pushed: Vec::new(),
    }
}

/// Tries everything that a poll needs, and prints a row for each part. `of_tables`: the findings about tables
/// with `images`.
fn online(
    global: &Global,
    store: &Store,
    config: &Config,
    of_tables: Vec<Finding>,
    secrets: &Arc<Secrets>,
    stop: &Stop,
    console: &Console,
) -> anyhow::Result<Exit> {
    let run = run(config, store, secrets, stop);
    let targets: Vec<&Target> = config.targets.iter().collect();
    let mut report: Box<dyn Report> =
        if global.quiet { Box::new(Silence) } else { Box::new(Progress::alone()) };
    let mut findings = of_tables;
    findings.extend(run::inspect(&run, &targets, report.as_mut())?);
    let webhook = config.settings.webhook.as_ref().map(|secret| run.secrets.get(secret));
    if let Some(signal) = stop.signal() {
        // An interrupted part is not a failure.
        return Ok(Exit::Signal(signal));
    }
    let mut rows = rows(&findings);
    rows.extend(webhook.map(|secret| Row {
        subject: "webhook",
        more: 0,
        verdict: if secret.is_ok() { OK } else { FAILED },
        text: secret.map_or_else(|error| error.to_string(), |_| "its secret can be read".to_owned()),
        cause: None,
    }));
    let subjects = findings.iter().map(|finding| finding.subject.as_str());
    let width = subjects.chain(rows.iter().map(|row| row.subject)).map(str::len).max().unwrap_or(0);
    let failed = rows.iter().any(|row| row.verdict == FAILED);
    for Row { subject, more, verdict, text, .. } in rows {
        if verdict != OK || !global.quiet {
            let subject = if more == 0 { subject.to_owned() } else { format!("{subject} and {more} more") };
            console.data(&format!("{subject:<width$}  {verdict:<6}  {}", escape_control(&text)));
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

const OK: &str = "ok";
const FAILED: &str = "failed";

/// A line of `check --online`.
struct Row<'f> {
    /// The first subject, and the number of further ones.
    subject: &'f str,
    more: usize,
    verdict: &'static str,
    text: String,
    cause: Option<Outage<'f>>,
}

/// A row for each finding. Targets with the same error share a row.
fn rows(findings: &[Finding]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for Finding { subject, registry, said, warnings, failure } in findings {
        let error = failure.as_ref().map(|failure| match said.as_str() {
            "" => failure.message.clone(),
            said => format!("{said}, but {}", failure.message),
        });
        let verdict = match &error {
            Some(_) => FAILED,
            None if warnings.is_empty() => OK,
            None => "warn",
        };
        let mut text = error.unwrap_or_else(|| said.clone());
        if let [first, others @ ..] = warnings.as_slice() {
            // After a name, the text is about that name.
            let mark = if text.contains(' ') { "; " } else { ": " };
            text = others
                .iter()
                .fold(format!("{text}{mark}{first}"), |text, warning| format!("{text}; {warning}"));
        }
        let cause = failure.as_ref().filter(|_| said.is_empty());
        let cause = cause.and_then(|failure| Outage::of(failure, registry));
        let known = cause
            .as_ref()
            .and_then(|cause| rows.iter_mut().rev().find(|row| row.cause.as_ref() == Some(cause)));
        match known {
            Some(row) if row.subject != registry.as_str() => {
                row.more += 1;
                if !is_sent(&row.text) {
                    row.text = text;
                }
                continue;
            }
            Some(_) => text = format!("the same error as the registry {registry}"),
            None => {}
        }
        rows.push(Row { subject, more: 0, verdict, text, cause });
    }
    rows
}

/// The lints of each target, with the target's name. `online`: the row of the target has the lints of its tags.
fn warnings(store: &Store, config: &Config, online: bool) -> anyhow::Result<Vec<(String, String)>> {
    let (states, samples) = store.at_once(|| {
        let states = store.states()?;
        let samples = match online {
            true => vec![Vec::new(); config.all_targets().count()],
            false => samples(store, config, &states)?,
        };
        Ok((states, samples))
    })?;
    let mut warnings = Vec::new();
    // The last target with the same rule and steps.
    let mut twins: HashMap<(&Name, String, String), &Target> = HashMap::new();
    for (target, sample) in config.all_targets().zip(samples) {
        let subject = || target.id.to_string();
        let of_tags = policy::lints(&target.policy, &sample, " in the state");
        warnings.extend(of_tags.into_iter().map(|warning| (subject(), warning)));
        if target.policy.order() == Order::Newest
            && !config.registries[&target.registry].may_have_push_times()
        {
            let warning = "this registry has no push times: order = \"newest\" uses the time at which tagship first sees a tag";
            warnings.push((subject(), warning.to_owned()));
        }
        if target.digest && target.policy.may_match_several() {
            let order = target.policy.order();
            let followed = states.get(&target.id).and_then(|state| state.high_water.as_ref());
            let followed = followed.map_or_else(String::new, |listed| format!(" ({} now)", listed.tag));
            let warning = format!(
                "digest = true follows one tag only, the greatest by order = \"{order}\"{followed}: write a stage for each mutable tag"
            );
            warnings.push((subject(), warning));
        }
        if !target.deploy.iter().any(Step::names_its_stage) {
            let does = (&target.id.project, target.policy.rule_text(), format!("{:?}", target.deploy));
            if let Some(twin) = twins.insert(does, target) {
                warnings.push((
                    subject(),
                    format!("same rule and deploy steps as {} (fine if they use TAGSHIP_STAGE)", twin.id),
                ));
            }
        }
    }
    for (subject, _, step) in steps(config) {
        warnings.extend(lints(step).into_iter().map(|lint| (subject.clone(), lint)));
    }
    Ok(warnings)
}

/// Every step, with its target or notification.
fn steps(config: &Config) -> Vec<(String, Option<&Target>, &Step)> {
    let mut steps = Vec::new();
    for target in config.all_targets() {
        steps.extend(target.steps().map(|step| (target.id.to_string(), Some(target), step)));
    }
    for (index, notifier) in config.notifiers.iter().enumerate() {
        steps.push((format!("notify[{index}]"), None, &notifier.step));
    }
    steps
}

/// Programs that cannot be run.
fn program_faults(config: &Config) -> Vec<(String, ProgramFault)> {
    let fault = |(subject, target, step): (String, Option<&Target>, &Step)| match step {
        Step::Command(step) => Some((subject, program::fault(&step.argv, &step.dir, target)?)),
        Step::Http(_) => None,
    };
    steps(config).into_iter().filter_map(fault).collect()
}

/// Each text once, with its subjects: `shop/dev`, or `shop/dev and 7 more`.
fn by_cause(found: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut causes: Vec<(String, usize, String)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (subject, text) in found {
        match places.get(&text) {
            Some(place) => causes[*place].1 += 1,
            None => {
                places.insert(text.clone(), causes.len());
                causes.push((subject, 0, text));
            }
        }
    }
    let shown = |(subject, more, text)| match more {
        0 => (subject, text),
        more => (format!("{subject} and {more} more"), text),
    };
    causes.into_iter().map(shown).collect()
}

/// The tags of each target in the state.
fn samples(store: &Store, config: &Config, states: &States) -> Result<Vec<Vec<Tag>>, StoreError> {
    let sample = |target: &Target| {
        let mut sample: BTreeSet<Tag> = store.given(&target.id)?.into_keys().collect();
        if let Some(state) = states.get(&target.id) {
            sample.extend(state.last_polled_tag.clone());
            sample.extend(state.high_water.as_ref().map(|listed| listed.tag.clone()));
            sample.extend(state.candidates.iter().map(|seen| seen.tag.clone()));
        }
        sample.extend(store.seen_tags(&target.id)?.into_keys());
        Ok(sample.into_iter().collect())
    };
    config.all_targets().map(sample).collect()
}
