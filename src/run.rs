//! The pipeline of a run: targets -> listings -> decisions -> deployments -> events.
//!
//! One thread coordinates: it records decisions and reports. Threads for each registry list (`job`), others
//! deliver (`deliver`); all of them send their results to it.
#![allow(clippy::disallowed_methods, reason = "the run reads the clock and passes the time on")]

mod changes;
mod coordinator;
mod deliver;
mod facts;
mod images;
mod inspect;
mod job;
mod listing;
mod manual;
mod outbox;
mod outcome;
mod recheck;
mod record;
mod registries;
mod stage;
mod survey;
mod unsent;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::Config;
use crate::deploy::Stop;
use crate::engine::{Audience, ErrorCode, Failure, OpenDeployments, PollState};
use crate::reference::Tag;
use crate::registry::{Registry, RegistryError, Traffic};
use crate::report::{Event, Phase, Report, Summary, TargetReport};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::store::{Feed, FeedKey, States, Store, StoreError, Unreadable};
use crate::target::{Target, TargetId};
use crate::webhook::PushedImage;
pub(crate) use changes::{key as feed_key, recall_other_owner};
use coordinator::Coordinator;
use deliver::Queue;
pub(crate) use images::{TableResult, Wanted};
pub(crate) use inspect::{Finding, inspect};
use listing::Listed;
pub(crate) use manual::{ManualDeployment, ManualTag, deploy_manually};
use registries::Registries;
pub(crate) use survey::{Survey, recall, survey};

/// The inputs of a run.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a Config,
    pub(crate) store: &'a Store,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) stop: &'a Stop,
    pub(crate) mode: Mode,
    /// Who sees the output of deployments.
    pub(crate) audience: Audience,
    /// Counted from the start of the run. Nothing is started after it.
    pub(crate) max_runtime: Duration,
    /// List every repository in full, even if the change feed reports no pushes.
    pub(crate) refresh: bool,
    /// The images that a webhook reported.
    pub(crate) pushed: Vec<PushedImage>,
}

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Deliver,
    /// `--dry-run`: the store is a temporary copy, and nothing is sent to a stage.
    DryRun,
}

/// A message to the coordinating thread.
enum Message {
    /// All targets of a repository.
    Listed(Vec<Listed>),
    /// The progress of a deployment.
    Deploying(TargetId, Tag, Phase),
    /// Complete lines of a deployment's output.
    Output(TargetId, String),
    /// A message that does not belong to one target.
    Warning(String),
    Delivered(Box<TargetReport>),
}

/// The longest delay until a signal is noticed while nothing else happens.
const SIGNAL_PATIENCE: Duration = Duration::from_millis(100);

/// The most messages that wait for the coordinating thread, so that a flood of output does not fill the memory.
const UNREAD: usize = 256;

/// A poll: rounds of targets, and lists of images between them.
pub(crate) struct Session<'s> {
    started: Instant,
    summary: Summary,
    cutoff: Cutoff,
    traffic: Traffic,
    registries: Registries,
    /// The number of times that the images of each owner were listed.
    listed: HashMap<FeedKey, u32>,
    /// The owners whose feeds were read.
    fed: HashSet<FeedKey>,
    stop: &'s Stop,
}

impl<'s> Session<'s> {
    /// Begins a run, without a request.
    pub(crate) fn begin(stop: &'s Stop, max_runtime: Duration) -> Session<'s> {
        let cutoff = Cutoff::after(stop, max_runtime);
        Session {
            started: Instant::now(),
            summary: Summary::begin(Timestamp::now()),
            traffic: Traffic::until(cutoff.clone()),
            cutoff,
            registries: Registries::default(),
            listed: HashMap::new(),
            fed: HashSet::new(),
            stop,
        }
    }

    /// Starts the run's time again: the requests before did not delay anyone.
    pub(crate) fn restart(&mut self, max_runtime: Duration) {
        self.started = Instant::now();
        self.cutoff = Cutoff::after(self.stop, max_runtime);
        self.traffic = self.traffic.clone().with_cutoff(self.cutoff.clone());
        self.registries.close();
    }

    /// Polls the targets and deploys new tags. `results`: the reports about tables with `images`.
    ///
    /// A failure of one target goes into the report of that target.
    ///
    /// # Errors
    /// The state cannot be written, or no thread can be started; nothing was done.
    pub(crate) fn round(
        &mut self,
        run: &Run<'_>,
        targets: &[&Target],
        results: Vec<(&Target, TableResult)>,
        report: &mut dyn Report,
    ) -> anyhow::Result<()> {
        self.registries.open(run, targets.iter().map(|target| &target.registry), &self.traffic)?;
        images::introduce(run, targets, report);
        let (stages, results): (Vec<&Target>, Vec<TableResult>) = results.into_iter().unzip();
        let asked = targets.len();
        let targets: Vec<&Target> = targets.iter().copied().chain(stages).collect();
        report.event(Event::Selected(&targets));
        let context = Context::of_readable(run, &targets, &self.registries, self.cutoff.clone())?;
        let context = Context { asked, fed: self.fed.clone(), ..context };
        let key = |target: &&Target| feed_key(run.config, &target.registry, target.image.repository.owner());
        self.fed.extend(targets[..asked].iter().map(key));
        let queue = Queue::default();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(UNREAD);
            let shows_output = report.shows_output();
            let is_started = job::start(scope, &context, &sender)
                .and_then(|()| deliver::start(scope, &context, &queue, &sender, shows_output));
            drop(sender);
            let mut coordinator = Coordinator::new(&context, &queue, &mut *report, &mut self.summary);
            let result = match is_started {
                Ok(()) => {
                    coordinator.gather(images::of_tables(asked, results));
                    coordinator.gather(listing::unreadable(&context));
                    coordinator.work(&receiver)
                }
                Err(error) => Err(without_threads(error)),
            };
            // In any case, the threads finish their work and end.
            queue.close();
            result
        })
    }

    fn notify(&mut self, run: &Run<'_>, report: &mut dyn Report) -> Result<(), StoreError> {
        self.registries.open(run, std::iter::empty(), &self.traffic)?;
        let context = Context::new(run, &[], &self.registries, self.cutoff.clone())?;
        outbox::send(&context, report);
        Ok(())
    }

    /// Whether the run starts nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.cutoff.is_reached()
    }

    /// Whether the run has reported on any target.
    pub(crate) fn has_results(&self) -> bool {
        self.summary.targets > 0
    }

    /// Records a failure that does not belong to one target.
    pub(crate) fn fail(&mut self) {
        self.summary.unknown += 1;
    }

    /// Reports the end of the run, and sends notifications. `result`: the result of its rounds.
    ///
    /// # Errors
    /// The error of the rounds.
    pub(crate) fn end(
        mut self,
        run: &Run<'_>,
        result: anyhow::Result<()>,
        report: &mut dyn Report,
    ) -> anyhow::Result<Summary> {
        self.summary.duration = self.started.elapsed();
        self.summary.requests = self.traffic.requests();
        self.summary.signal = self.stop.signal();
        report.event(Event::Finished(&self.summary));
        result?;
        if let Err(error) = self.registries.keep_limits(run.store) {
            report.event(Event::Warning(&format!("cannot record the retry limit of a registry: {error}")));
        }
        if run.mode == Mode::Deliver {
            if let Err(error) = self.notify(run, report) {
                report.event(Event::Warning(&format!("notifications will be sent by the next run: {error}")));
            }
            self.summary.signal = self.stop.signal();
        }
        Ok(self.summary)
    }
}

fn without_threads(error: io::Error) -> anyhow::Error {
    let advice = "no thread can be started; check the limits of this user's processes (ulimit -u, TasksMax)";
    anyhow::Error::new(error).context(advice)
}

/// The data that all threads of a run read.
struct Context<'a> {
    run: &'a Run<'a>,
    targets: &'a [&'a Target],
    /// The number of selected targets; stages of tables with `images` follow them.
    asked: usize,
    registries: &'a Registries,
    /// The states at the beginning of the run. Decisions use the state at the time of their recording.
    states: States,
    /// Targets whose rows cannot be read: their states are unknown, and not those of a first poll.
    unreadable: Unreadable,
    /// The number of targets in each round.
    rounds: HashMap<i64, usize>,
    open: HashMap<TargetId, OpenDeployments>,
    feeds: HashMap<FeedKey, Feed>,
    /// The number of configured repositories of each owner.
    repositories: HashMap<FeedKey, usize>,
    /// The owners whose feeds this run has already read.
    fed: HashSet<FeedKey>,
    /// The owners of tables with `images`.
    table_owners: HashSet<FeedKey>,
    /// The end of the run: no request is sent and nothing is started after it.
    cutoff: Cutoff,
}

impl<'a> Context<'a> {
    /// # Errors
    /// The state file, or the rows of one of the targets, cannot be read.
    fn new(
        run: &'a Run<'a>,
        targets: &'a [&'a Target],
        registries: &'a Registries,
        cutoff: Cutoff,
    ) -> Result<Context<'a>, StoreError> {
        let mut context = Context::of_readable(run, targets, registries, cutoff)?;
        let unreadable = targets.iter().find_map(|target| context.unreadable.remove(&target.id));
        unreadable.map_or(Ok(context), Err)
    }

    /// Some of the targets may be unreadable.
    ///
    /// # Errors
    /// The state file cannot be read.
    fn of_readable(
        run: &'a Run<'a>,
        targets: &'a [&'a Target],
        registries: &'a Registries,
        cutoff: Cutoff,
    ) -> Result<Context<'a>, StoreError> {
        let mut context = Context {
            run,
            targets,
            asked: targets.len(),
            registries,
            states: HashMap::new(),
            unreadable: HashMap::new(),
            rounds: HashMap::new(),
            open: HashMap::new(),
            feeds: HashMap::new(),
            repositories: HashMap::new(),
            fed: HashSet::new(),
            table_owners: images::owners(run.config).into_iter().map(|(_, key)| key).collect(),
            cutoff,
        };
        // If nothing is due, ten thousand rows need not be read.
        if !targets.is_empty() {
            (context.states, context.unreadable) = run.store.readable_states()?;
            for round in context.states.values().filter_map(|state| state.round) {
                *context.rounds.entry(round).or_insert(0) += 1;
            }
            let (open, unreadable) = run.store.readable_open_deployments()?;
            context.open = open;
            context.unreadable.extend(unreadable);
            context.feeds = run.store.feeds()?;
            context.repositories = configured_repositories(run.config);
        }
        Ok(context)
    }

    /// The rest of `max_runtime`.
    fn left(&self) -> Duration {
        self.cutoff.left().unwrap_or(Duration::MAX)
    }

    fn configured(&self, key: &FeedKey) -> usize {
        self.repositories.get(key).copied().unwrap_or(1)
    }

    /// The state of a target at the beginning of the run.
    fn state(&self, target: &Target) -> Option<&PollState> {
        self.states.get(&target.id).map(Box::as_ref)
    }

    fn registry(&self, target: &Target) -> &dyn Registry {
        self.registries.get(&target.registry)
    }

    fn failure(&self, error: &RegistryError) -> Failure {
        failure(self.run, error)
    }

    /// The failure of a target whose image could not be listed.
    fn listing_failure(&self, target: &Target, error: &RegistryError) -> Failure {
        let Failure { code, mut message } = self.failure(error);
        if let (ErrorCode::NotFound, Some((host, image))) = (code, target.image.behind_host()) {
            message.push_str(&format!("; {host} looks like a host: write image = {image:?}"));
        }
        Failure { code, message }
    }

    /// The failure of a target whose state cannot be used.
    fn state_failure(&self, error: &StoreError) -> Failure {
        Failure { code: ErrorCode::State, message: self.run.secrets.mask(&error.to_string()) }
    }

    fn out_of_time(&self) -> Failure {
        out_of_time(self.run)
    }
}

/// A registry's error as a failure, with secrets masked.
fn failure(run: &Run<'_>, error: &RegistryError) -> Failure {
    let code = match error {
        RegistryError::Unauthorized(_) => ErrorCode::Unauthorized,
        RegistryError::Denied(_) => ErrorCode::Denied,
        RegistryError::NotFound(_) => ErrorCode::NotFound,
        RegistryError::RateLimited { .. } => ErrorCode::RateLimited,
        RegistryError::Unavailable(_) => ErrorCode::Unavailable,
        RegistryError::Protocol(_) => ErrorCode::Protocol,
        RegistryError::Secret(_) => ErrorCode::Secret,
        RegistryError::OutOfTime(_) => ErrorCode::OutOfTime,
    };
    Failure { code, message: run.secrets.mask(&error.to_string()) }
}

fn out_of_time(run: &Run<'_>) -> Failure {
    let limit = crate::report::describe_duration(run.max_runtime);
    Failure {
        code: ErrorCode::OutOfTime,
        message: format!("not sent: the run reached its max_runtime of {limit} or received a signal"),
    }
}

/// The feeds, by the address of the registry and the owner.
fn configured_repositories(config: &Config) -> HashMap<FeedKey, usize> {
    let mut repositories: HashMap<FeedKey, HashSet<&str>> = HashMap::new();
    for target in &config.targets {
        let key = changes::key(config, &target.registry, target.image.repository.owner());
        repositories.entry(key).or_default().insert(target.image.repository.as_str());
    }
    repositories.into_iter().map(|(key, repositories)| (key, repositories.len())).collect()
}
