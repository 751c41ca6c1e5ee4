//! `tagship poll`: the main job.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::IsTerminal as _;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;

use super::webhook::Payload;
use super::{
    Exit, detail, dry_run_state, given, load_written, open_state, select_filtered, used_files,
    warn_of_open_state,
};
use crate::cli::{self, Global, PollFormat};
use crate::config::Config;
use crate::deploy::{self, Ping, Stop};
use crate::engine::{self, Audience, ErrorCode, Failure, Monitor};
use crate::images::{ImageTable, Matcher};
use crate::monitor::{self, Ended, Monitors};
use crate::report::{
    Console, Event, GitHub, GitHubFiles, Human, Json, JsonLines, Progress, Report, Shown, Summary, count,
    to_the_minute,
};
use crate::run::{Mode, Run, Session, TableResult, Wanted, feed_key};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::store::{Checks, FeedKey, Store, StoreError};
use crate::target::filter::TargetFilter;
use crate::target::shard::{Shard, ShardSetting};
use crate::target::{Target, TargetId};
use crate::webhook::PushedImage;

/// Polls the selected targets and deploys new tags.
///
/// # Errors
/// An error in the configuration, the arguments or the state file. Only recorded deployments were started.
pub(crate) fn poll(global: &Global, arguments: &cli::PollArgs, console: &Console) -> anyhow::Result<Exit> {
    // The process ends with the run, so freeing ten thousand targets would waste time.
    let mut config = ManuallyDrop::new(load_written(global)?);
    let payload = arguments.from_webhook.then(|| Payload::read(&config)).transpose()?;
    if let Some(path) = &config.settings.metrics_file {
        monitor::check_metrics_file(path, &used_files(global, &config)?).map_err(anyhow::Error::msg)?;
    }
    // Up to here nothing was started, and a signal ends the process by itself.
    let stop = Stop::on_signals()?;
    let max_runtime = arguments.max_runtime.unwrap_or(config.settings.max_runtime);
    let cutoff = Cutoff::after(&stop, max_runtime);
    let secrets = Arc::new(Secrets::new(&config).until(cutoff.clone()));
    let console = console.masking(Arc::clone(&secrets));
    let signature = arguments.signature.as_deref();
    let pushed = payload.map(|payload| payload.pushed(&secrets, signature)).transpose()?;
    let filter = TargetFilter {
        patterns: arguments.targets.clone(),
        projects: arguments.project.clone(),
        stages: arguments.stage.clone(),
    };
    // A wrong name is reported before a state is created.
    if config.tables.is_empty() {
        select_filtered(&config, &filter)?;
    }
    let shard = arguments.shard.map(shard).transpose()?;
    if let Some(pushed) = &pushed
        && config.tables.is_empty()
        && !select_filtered(&config, &filter)?.iter().any(|target| target.poll && concerns(pushed, target))
    {
        return Ok(finish_without_an_image(global, arguments, &console));
    }
    let mode = if arguments.dry_run { Mode::DryRun } else { Mode::Deliver };
    let store = match mode {
        Mode::DryRun => dry_run_state(global, &config, &console, &cutoff)?,
        Mode::Deliver => open_state(global, &config, &console, &cutoff)?,
    };
    config.dangers.iter().for_each(|danger| console.fault_warning(danger));
    warn_of_open_state(&store, &console);
    // `check` reports these lints; cron would mail them after every poll.
    if global.verbose || (!global.quiet && std::io::stderr().is_terminal()) {
        config.warnings.iter().for_each(|warning| console.fault_warning(warning));
    }
    let poll = Poll {
        global,
        arguments,
        console: &console,
        store: &store,
        secrets: Arc::clone(&secrets),
        stop: &stop,
        mode,
        max_runtime,
        filter,
        shard,
        pushed,
    };
    let mut session = Session::begin(&stop, max_runtime);
    let mut failures = Failures::new();
    if !config.tables.is_empty() {
        config.take_in(&store.images()?);
        poll.discover_named(&mut config, &mut session, &mut failures)?;
    }
    let targets = poll.targets(&config, &HashSet::new(), &failures)?;
    if poll.pushed.is_some() && targets.is_empty() && failures.is_empty() {
        return Ok(finish_without_an_image(global, arguments, &console));
    }
    let mut report = report(global, arguments.format, console.clone());
    let mut monitors = Monitors::begin(&store, audience(global, arguments.format))?;
    let mut note = |report: &mut Box<dyn Report>, monitor: Monitor, result: Result<(), String>| {
        if let Some(fault) = monitors.note(monitor, result, Timestamp::now()) {
            report.event(Event::Warning(&fault));
        }
    };
    let id = uuid::Uuid::now_v7();
    let is_told = mode == Mode::Deliver;
    let ping_url = config.settings.ping_url.clone().filter(|_| is_told);
    let ping = |moment: Ping| deploy::ping(ping_url.as_ref()?, moment, &secrets, &id, max_runtime, &stop);
    if let Some(result) = ping(Ping::Start) {
        note(&mut report, Monitor::PingUrl, result);
    }
    session.restart(max_runtime);
    let targets: Vec<TargetId> = targets.into_iter().map(|target| target.id.clone()).collect();
    let result = poll.rounds(&mut config, targets, &mut session, &mut failures, report.as_mut());
    let summary = session.end(&poll.run(&config), result, report.as_mut());
    let unusable = stop.signal().map_or(Exit::Unusable, Exit::Signal);
    let ended = summary.as_ref().map_or(unusable, |summary| exit(summary, arguments));
    // In that format a new tag is not a failure.
    let status = if matches!(ended, Exit::Changed | Exit::Busy) { 0 } else { ended.status() };
    if let Some(result) = ping(Ping::End(status)) {
        note(&mut report, Monitor::PingUrl, result);
    }
    let summary = match summary {
        Err(error) if matches!(ended, Exit::Signal(_)) => {
            report.event(Event::Warning(&format!("{error:#}")));
            return Ok(ended);
        }
        summary => summary?,
    };
    if let Some(file) = config.settings.metrics_file.as_ref().filter(|_| is_told) {
        let used = used_files(global, &config)?;
        let succeeded = matches!(ended, Exit::Done | Exit::Changed | Exit::Busy);
        let end = Ended { at: Timestamp::now(), duration: summary.duration, succeeded };
        let known = store.states().and_then(|states| Ok((states, store.open_deployments()?)));
        let written = known.map_err(|error| format!("metrics_file {}: {error}", file.display())).and_then(
            |(states, open)| {
                // A table whose images cannot be listed counts as a failed target.
                let is_faulty =
                    |stage: &&Target| states.get(&stage.id).is_some_and(|state| state.is_of_a_faulty_table());
                let of_tables = config.tables.iter().flat_map(|table| &table.stages).filter(is_faulty);
                let targets = config.targets.iter().chain(of_tables).filter(|target| target.poll);
                let known = |target: &Target| states.get(&target.id).map(Box::as_ref);
                let targets = targets.map(|target| (&target.id, known(target), open.get(&target.id)));
                monitor::write_metrics(file, &used, end, targets)
            },
        );
        note(&mut report, Monitor::MetricsFile, written);
    }
    match monitors.end() {
        Ok(over) => {
            for (monitor, outage) in over {
                let (name, since): (&str, _) = (monitor.into(), to_the_minute(outage.since));
                report.event(Event::Warning(&format!("{name}: recovered; had failed since {since}")));
            }
        }
        Err(error) => report
            .event(Event::Warning(&format!("cannot record an outage of ping_url or metrics_file: {error}"))),
    }
    Ok(ended)
}

fn concerns(pushed: &[PushedImage], target: &Target) -> bool {
    pushed.iter().any(|pushed| pushed.concerns(&target.image.repository))
}

/// Ends a poll whose webhook names no configured image. An owner's webhook reports every image, so this does not count as
/// a run: no ping and no notification.
fn finish_without_an_image(global: &Global, arguments: &cli::PollArgs, console: &Console) -> Exit {
    if global.verbose {
        console.message("the webhook names no configured image");
    }
    let mut report = report(global, arguments.format, console.clone());
    report.event(Event::Finished(&Summary::begin(Timestamp::now())));
    Exit::Done
}

/// The errors of listing owners' images in this run.
type Failures = HashMap<FeedKey, Failure>;

/// A poll with its options.
struct Poll<'a> {
    global: &'a Global,
    arguments: &'a cli::PollArgs,
    console: &'a Console,
    store: &'a Store,
    secrets: Arc<Secrets>,
    stop: &'a Stop,
    mode: Mode,
    max_runtime: Duration,
    filter: TargetFilter,
    shard: Option<Shard>,
    /// The images that a webhook reported.
    pushed: Option<Vec<PushedImage>>,
}

impl<'a> Poll<'a> {
    fn run<'r>(&'r self, config: &'r Config) -> Run<'r> {
        Run {
            config,
            store: self.store,
            secrets: Arc::clone(&self.secrets),
            stop: self.stop,
            mode: self.mode,
            audience: audience(self.global, self.arguments.format),
            max_runtime: self.max_runtime,
            // The change feed may not have the push yet.
            refresh: self.arguments.refresh || self.pushed.is_some(),
            pushed: self.pushed.clone().unwrap_or_default(),
        }
    }

    /// An unknown name may belong to an image that was not discovered yet.
    fn discover_named(
        &self,
        config: &mut Config,
        session: &mut Session<'_>,
        failures: &mut Failures,
    ) -> anyhow::Result<()> {
        if select_filtered(config, &self.filter).is_ok() && !self.is_new_pushed(config) {
            return Ok(());
        }
        let tables: Vec<&ImageTable> = config.tables.iter().collect();
        session.list_images(&self.run(config), &tables, Wanted::Unread, failures);
        config.take_in(&self.store.images()?);
        Ok(())
    }

    /// Whether a webhook names an image of a table that was not discovered yet.
    fn is_new_pushed(&self, config: &Config) -> bool {
        let images = self.pushed.iter().flatten().filter_map(PushedImage::image);
        let mut unknown =
            images.filter(|image| config.targets.iter().all(|target| target.image.repository != *image));
        unknown.any(|image| config.tables.iter().any(|table| Matcher::of(table).may_take(&image)))
    }

    /// The selected targets that are due and not yet polled.
    fn targets<'c>(
        &self,
        config: &'c Config,
        polled: &HashSet<TargetId>,
        failures: &Failures,
    ) -> anyhow::Result<Vec<&'c Target>> {
        let selected = match select_filtered(config, &self.filter) {
            Ok(selected) => selected,
            // Errors of the tables are reported at the end.
            Err(_) if self.filter.is_empty() && !config.tables.is_empty() => Vec::new(),
            // The name may belong to an image that could not be listed.
            Err(_) if !failures.is_empty() && !self.tables(config).is_empty() => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut targets: Vec<&Target> =
            selected.iter().copied().filter(|target| target.poll && !polled.contains(&target.id)).collect();
        if targets.is_empty() && !self.global.quiet && config.tables.is_empty() {
            let names: Vec<String> = selected.iter().take(3).map(|target| target.id.to_string()).collect();
            let more = if selected.len() > names.len() { ", …" } else { "" };
            self.console
                .message(&format!("nothing to poll: poll = false is set for {}{more}", names.join(", ")));
        }
        if let Some(pushed) = &self.pushed {
            targets.retain(|target| concerns(pushed, target));
        }
        if let Some(shard) = self.shard {
            targets.retain(|target| shard.takes(&target.image));
        }
        let checks = self.checks(config)?;
        // This run may discover images of a table.
        if config.tables.is_empty() {
            self.name_left_targets(config, &checks.left)?;
        }
        if self.arguments.due {
            // A target whose rows cannot be read is reported when it is due.
            let ((open, _), now) = (self.store.readable_open_deployments()?, Timestamp::now());
            targets.retain(|target| {
                engine::is_due(target, checks.checked_at(&target.id), open.get(&target.id), now)
            });
        }
        Ok(targets)
    }

    /// Polls the targets, then lists the images of tables that are due, and repeats this for the new targets that it finds.
    ///
    /// # Errors
    /// Nothing was done.
    fn rounds(
        &self,
        config: &mut Config,
        first: Vec<TargetId>,
        session: &mut Session<'_>,
        failures: &mut Failures,
        report: &mut dyn Report,
    ) -> anyhow::Result<()> {
        match self.try_rounds(config, first, session, failures, report) {
            Err(error) if session.has_results() => {
                report.event(Event::Warning(&format!("{error:#}")));
                session.fail();
                Ok(())
            }
            result => result,
        }
    }

    fn try_rounds(
        &self,
        config: &mut Config,
        first: Vec<TargetId>,
        session: &mut Session<'_>,
        failures: &mut Failures,
        report: &mut dyn Report,
    ) -> anyhow::Result<()> {
        let mut polled: HashSet<TargetId> = HashSet::new();
        let mut next = first;
        let mut is_first = true;
        loop {
            if is_first || !next.is_empty() {
                let next: HashSet<&TargetId> = next.iter().collect();
                let targets: Vec<&Target> =
                    config.targets.iter().filter(|target| next.contains(&target.id)).collect();
                session.round(&self.run(config), &targets, Vec::new(), report)?;
            }
            is_first = false;
            polled.extend(next);
            if config.tables.is_empty() || session.is_over() {
                break;
            }
            let tables = self.tables(config);
            let has_listed = session.list_images(&self.run(config), &tables, Wanted::Due, failures);
            config.take_in(&self.store.images()?);
            next = self
                .targets(config, &polled, failures)?
                .into_iter()
                .map(|target| target.id.clone())
                .collect();
            if !has_listed && next.is_empty() {
                break;
            }
        }
        if self.stop.signal().is_some() {
            return Ok(());
        }
        self.name_left_of_tables(config)?;
        let results = self.table_results(config, failures)?;
        if results.is_empty() { Ok(()) } else { session.round(&self.run(config), &[], results, report) }
    }
}

impl Poll<'_> {
    /// The times of the targets' last checks, and the rows without a target.
    fn checks<'c>(&self, config: &'c Config) -> Result<Checks<'c>, StoreError> {
        let of_tables = config.tables.iter().flat_map(|table| &table.stages);
        self.store.checks(config.targets.iter().chain(of_tables).map(|target| &target.id))
    }

    /// Reports targets that left, if all images are known.
    fn name_left_of_tables(&self, config: &Config) -> anyhow::Result<()> {
        let lists = self.store.image_lists()?;
        let is_listed = |table: &ImageTable| owners(config, table).all(|key| lists.contains_key(&key));
        if !config.tables.is_empty() && config.tables.iter().all(is_listed) {
            self.name_left_targets(config, &self.checks(config)?.left)?;
        }
        Ok(())
    }

    /// Reports once each target that left the configuration or whose image was retired.
    fn name_left_targets(&self, config: &Config, left: &[TargetId]) -> anyhow::Result<()> {
        if left.is_empty() || self.mode != Mode::Deliver {
            return Ok(());
        }
        self.store.note_left(left, Timestamp::now())?;
        let retired = config.retired(&self.store.images()?);
        for id in left {
            self.console.warning(&match retired.get(&id.project) {
                Some(image) => format!(
                    "{id}: the image {image} was removed from its registry, so it is no longer polled; its history and its hold are kept"
                ),
                None => format!(
                    "{id} was removed from the configuration and is no longer polled; its history is kept"
                ),
            });
        }
        Ok(())
    }

    /// The tables with `images` that the filter may select.
    fn tables<'c>(&self, config: &'c Config) -> Vec<&'c ImageTable> {
        let names_what_is_not_known = select_filtered(config, &self.filter).is_err();
        let is_named = |table: &&ImageTable| {
            let mut stages = table.stages.iter().filter(|stage| stage.poll).map(|stage| &stage.id.stage);
            stages.any(|stage| {
                self.filter.may_match_another(stage)
                    || (names_what_is_not_known && self.filter.names_stage(stage))
            }) || config.targets_of(table).any(|target| self.filter.matches(&target.id))
        };
        config.tables.iter().filter(is_named).collect()
    }

    /// The reports about tables with `images`. A complete table has one only if its last report was different.
    fn table_results<'c>(
        &self,
        config: &'c Config,
        failures: &Failures,
    ) -> Result<Vec<(&'c Target, TableResult)>, StoreError> {
        let mut results = Vec::new();
        if config.tables.is_empty() {
            return Ok(results);
        }
        let lists = self.store.image_lists()?;
        for table in self.tables(config) {
            let keys: Vec<FeedKey> = owners(config, table).collect();
            let images =
                config.targets_of(table).map(|target| &target.image.repository).collect::<BTreeSet<_>>();
            let of_table = if let Some(failure) = keys.iter().find_map(|key| failures.get(key)) {
                TableResult::Failed(failure.clone())
            } else if let Some(faults) = config.image_faults.get(&table.name) {
                TableResult::Failed(Failure { code: ErrorCode::Protocol, message: several(faults) })
            } else if !keys.iter().all(|key| lists.contains_key(key)) {
                continue;
            } else if images.is_empty() {
                TableResult::Empty(format!("no image matches {}", table.globs()))
            } else {
                TableResult::Complete(format!("{} of {}", count(images.len(), "image"), table.globs()))
            };
            let is_selected = |stage: &&Target| stage.poll && self.filter.names_stage(&stage.id.stage);
            for stage in table.stages.iter().filter(is_selected) {
                let state = self.store.state(&stage.id)?;
                let had_fault = state.is_some_and(|state| state.is_of_a_faulty_table());
                if had_fault || !matches!(of_table, TableResult::Complete(_)) {
                    results.push((stage, of_table.clone()));
                }
            }
        }
        Ok(results)
    }
}

/// The owners of a table's images.
fn owners<'c>(config: &'c Config, table: &'c ImageTable) -> impl Iterator<Item = FeedKey> + use<'c> {
    table.owners().into_iter().map(|owner| feed_key(config, &table.registry, owner))
}

/// The first faults, and the number of further ones.
fn several(faults: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = faults[..faults.len().min(SHOWN)].join("; ");
    match faults.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// The shard of this process.
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

fn report(global: &Global, format: PollFormat, console: Console) -> Box<dyn Report> {
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
            let human = Box::new(Human::new(console, shown));
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

/// The exit status for the worst result of the run.
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
