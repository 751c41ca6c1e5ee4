//! The pipeline of a run: targets -> listings -> decisions -> deployments -> events.
//!
//! One thread coordinates: it records decisions and reports. Threads for each registry list
//! (`job`), others deliver (`deliver`); all of them send it what they found.
#![allow(clippy::disallowed_methods, reason = "the run reads the clock, and hands the time down")]

mod changes;
mod deliver;
mod facts;
mod hand;
mod inspect;
mod job;
mod listing;
mod outbox;
mod outcome;
mod record;
mod stage;
mod survey;
mod turn;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::Config;
use crate::deploy::Stop;
use crate::engine::{Audience, ErrorCode, Failure, OpenDeployments, PollState};
use crate::reference::Tag;
use crate::registry::{Limit, Registry, RegistryError, SharedLimit, Traffic};
use crate::report::{Event, Phase, Report, Summary, TargetReport};
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::store::{Feed, FeedKey, Store, StoreError};
use crate::target::{Name, Target, TargetId};
use crate::webhook::Pushed;
pub(crate) use changes::{key as feed_key, recall_other_owner};
use deliver::Queue;
pub(crate) use hand::{Choice, Wish, deploy_by_hand};
pub(crate) use inspect::{Finding, inspect};
use listing::Listed;
use record::Recorded;
pub(crate) use survey::{Survey, recall, survey};

/// What a run works with.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a Config,
    pub(crate) store: &'a Store,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) stop: &'a Stop,
    pub(crate) mode: Mode,
    /// Who gets what is printed.
    pub(crate) audience: Audience,
    /// From the start of the run; nothing is started after it.
    pub(crate) max_runtime: Duration,
    /// List every repository in full, whatever the change feed says.
    pub(crate) refresh: bool,
    /// What a webhook reported.
    pub(crate) pushed: Vec<Pushed>,
}

/// Whether what is decided is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Deliver,
    /// `--dry-run`: the store is a copy that is thrown away, and nothing is sent to a stage.
    Rehearse,
}

/// What reaches the coordinating thread.
enum Message {
    /// Every target of one repository.
    Listed(Vec<Listed>),
    /// A deployment gets so far.
    Deploying(TargetId, Tag, Phase),
    /// Whole lines that a deployment printed.
    Output(TargetId, String),
    /// Something that is no target's status.
    Warning(String),
    Delivered(Box<TargetReport>),
}

/// How long decisions wait for others, to be recorded with them in one transaction.
const GATHER: Duration = Duration::from_millis(200);

/// So many messages wait for the coordinating thread: a flood of output must not fill the memory.
const UNREAD: usize = 256;

/// How soon a signal is noticed while nothing else happens.
const SIGNAL_PATIENCE: Duration = Duration::from_millis(100);

/// Polls the targets and delivers what is new.
///
/// What fails for one target is that target's report.
///
/// # Errors
/// Nothing of the run can be recorded, or no thread can be started; nothing was done.
pub(crate) fn poll(run: &Run<'_>, targets: &[&Target], report: &mut dyn Report) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let mut summary = Summary::begin(Timestamp::now());
    let cutoff = Cutoff::after(run.stop, run.max_runtime);
    let traffic = Traffic::until(cutoff.clone());
    let registries = Registries::open(run, targets, &traffic)?;
    let context = Context::new(run, targets, &registries, cutoff)?;
    let queue = Queue::default();
    let result = std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(UNREAD);
        let shows_output = report.shows_output();
        let is_started = job::start(scope, &context, &sender)
            .and_then(|()| deliver::start(scope, &context, &queue, &sender, shows_output));
        drop(sender);
        let mut coordinator = Coordinator::new(&context, &queue, &mut *report, &mut summary);
        let result = match is_started {
            Ok(()) => coordinator.work(&receiver),
            Err(error) => Err(without_threads(error)),
        };
        // Whatever happened, the threads end when they are done with what they have begun.
        queue.close();
        result
    });
    summary.duration = started.elapsed();
    summary.requests = traffic.requests();
    summary.signal = run.stop.signal();
    report.event(Event::Finished(&summary));
    result?;
    if let Err(error) = registries.keep_limits(run.store) {
        report.event(Event::Warning(&format!("cannot record when a registry may be asked again: {error}")));
    }
    if run.mode == Mode::Deliver {
        outbox::send(run, context.left(), report);
        summary.signal = run.stop.signal();
    }
    Ok(summary)
}

fn without_threads(error: io::Error) -> anyhow::Error {
    let advice =
        "no thread can be started; look at the limits of this user's processes (ulimit -u, TasksMax)";
    anyhow::Error::new(error).context(advice)
}

/// What all threads of a run read.
struct Context<'a> {
    run: &'a Run<'a>,
    targets: &'a [&'a Target],
    registries: &'a Registries,
    /// As they were when the run began. Decisions are taken on the state as it is when they are recorded.
    states: HashMap<TargetId, PollState>,
    /// How many targets each round has.
    rounds: HashMap<i64, usize>,
    open: HashMap<TargetId, OpenDeployments>,
    feeds: HashMap<FeedKey, Feed>,
    /// How many repositories of each owner are configured.
    repositories: HashMap<FeedKey, usize>,
    /// Nobody is asked, and nothing is started, after it.
    cutoff: Cutoff,
}

impl<'a> Context<'a> {
    fn new(
        run: &'a Run<'a>,
        targets: &'a [&'a Target],
        registries: &'a Registries,
        cutoff: Cutoff,
    ) -> Result<Context<'a>, StoreError> {
        let mut context = Context {
            run,
            targets,
            registries,
            states: HashMap::new(),
            rounds: HashMap::new(),
            open: HashMap::new(),
            feeds: HashMap::new(),
            repositories: HashMap::new(),
            cutoff,
        };
        // With nothing due, nothing of ten thousand rows matters.
        if !targets.is_empty() {
            context.states = run.store.states()?;
            for round in context.states.values().filter_map(|state| state.round) {
                *context.rounds.entry(round).or_insert(0) += 1;
            }
            context.open = run.store.open_deployments()?;
            context.feeds = run.store.feeds()?;
            context.repositories = configured_repositories(run.config);
        }
        Ok(context)
    }

    /// What is left of `max_runtime`.
    fn left(&self) -> Duration {
        self.cutoff.left().unwrap_or(Duration::MAX)
    }

    fn configured(&self, key: &FeedKey) -> usize {
        self.repositories.get(key).copied().unwrap_or(1)
    }

    fn registry(&self, target: &Target) -> &dyn Registry {
        self.registries.get(&target.registry)
    }

    fn failure(&self, error: &RegistryError) -> Failure {
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
        Failure { code, message: self.run.secrets.mask(&error.to_string()) }
    }

    /// Why a target's image could not be listed.
    fn listing_failure(&self, target: &Target, error: &RegistryError) -> Failure {
        let Failure { code, mut message } = self.failure(error);
        if let (ErrorCode::NotFound, Some((host, image))) = (code, target.image.behind_host()) {
            message.push_str(&format!("; {host} looks like a host: write image = {image:?}"));
        }
        Failure { code, message }
    }

    /// What is wrong with the state for one target.
    fn state_failure(&self, error: &StoreError) -> Failure {
        Failure { code: ErrorCode::State, message: self.run.secrets.mask(&error.to_string()) }
    }

    fn out_of_time(&self) -> Failure {
        let limit = crate::report::describe_duration(self.run.max_runtime);
        Failure {
            code: ErrorCode::OutOfTime,
            message: format!("not asked: the run was over its max_runtime of {limit}, or told to stop"),
        }
    }
}

/// By the address of their registry and their owner.
fn configured_repositories(config: &Config) -> HashMap<FeedKey, usize> {
    let mut repositories: HashMap<FeedKey, HashSet<&str>> = HashMap::new();
    for target in &config.targets {
        let key = changes::key(config, &target.registry, target.image.repository.owner());
        repositories.entry(key).or_default().insert(target.image.repository.as_str());
    }
    repositories.into_iter().map(|(key, repositories)| (key, repositories.len())).collect()
}

/// The registries of the selected targets, with what is known of when they may be asked.
struct Registries {
    opened: BTreeMap<Name, Box<dyn Registry>>,
    /// By the registry's address: what the state has, and what is known now.
    limits: BTreeMap<String, (Option<Limit>, SharedLimit)>,
}

impl Registries {
    fn open(run: &Run<'_>, targets: &[&Target], traffic: &Traffic) -> Result<Registries, StoreError> {
        let known = run.store.limits()?;
        let mut registries = Registries { opened: BTreeMap::new(), limits: BTreeMap::new() };
        for target in targets {
            if registries.opened.contains_key(&target.registry) {
                continue;
            }
            let config = &run.config.registries[&target.registry];
            let address = config.location.to_string();
            let before = known.get(&address).copied();
            // Two names for one address share it.
            let new = || (before, SharedLimit::new(before));
            let limit = registries.limits.entry(address).or_insert_with(new).1.clone();
            let opened = crate::registry::open(config, Arc::clone(&run.secrets), traffic.within(limit));
            registries.opened.insert(target.registry.clone(), opened);
        }
        Ok(registries)
    }

    fn get(&self, name: &Name) -> &dyn Registry {
        self.opened[name].as_ref()
    }

    /// Writes down what registries said in this run of when to come back.
    fn keep_limits(&self, store: &Store) -> Result<(), StoreError> {
        for (address, (before, now)) in &self.limits {
            if let Some(limit) = now.get().filter(|limit| Some(*limit) != *before) {
                store.write(|write| write.save_limit(address, limit))?;
            }
        }
        Ok(())
    }
}

/// Records decisions, hands deployments over, reports.
struct Coordinator<'a> {
    context: &'a Context<'a>,
    queue: &'a Queue<'a>,
    report: &'a mut dyn Report,
    summary: &'a mut Summary,
    /// Listings that are not decided yet, and since when the oldest of them waits.
    gathered: Vec<Listed>,
    gathering_since: Option<Instant>,
    /// Targets that are not listed yet, in all and by project.
    unlisted: usize,
    undecided: HashMap<Name, usize>,
    /// Targets whose deployments wait until all stages of their project are decided.
    held_back: HashMap<Name, Vec<Recorded<'a>>>,
    /// Deployments that were handed over and are not back.
    under_way: usize,
    /// Whether any decision could be recorded.
    has_recorded: bool,
    /// Targets whose decision could not. Reported at the end: where none could, the run did nothing.
    unrecorded: Vec<TargetReport>,
}

impl<'a> Coordinator<'a> {
    fn new(
        context: &'a Context<'a>,
        queue: &'a Queue<'a>,
        report: &'a mut dyn Report,
        summary: &'a mut Summary,
    ) -> Coordinator<'a> {
        let mut undecided = HashMap::new();
        for target in context.targets {
            *undecided.entry(target.id.project.clone()).or_insert(0) += 1;
        }
        Coordinator {
            context,
            queue,
            report,
            summary,
            gathered: Vec::new(),
            gathering_since: None,
            unlisted: context.targets.len(),
            undecided,
            held_back: HashMap::new(),
            under_way: 0,
            has_recorded: false,
            unrecorded: Vec::new(),
        }
    }

    fn work(&mut self, receiver: &mpsc::Receiver<Message>) -> anyhow::Result<()> {
        self.report.event(Event::Asked { targets: 0, of: self.unlisted });
        while self.is_waiting() {
            match receiver.recv_timeout(self.patience()) {
                Ok(Message::Listed(listed)) => self.gather(listed),
                Ok(Message::Deploying(target, tag, phase)) => {
                    self.report.event(Event::Deploying { target: &target, tag: &tag, phase });
                }
                Ok(Message::Output(target, lines)) => {
                    self.report.event(Event::Output { target: &target, lines: &lines });
                }
                Ok(Message::Warning(text)) => self.report.event(Event::Warning(&text)),
                Ok(Message::Delivered(report)) => {
                    self.under_way -= 1;
                    self.tell(*report);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.report.event(Event::Idle),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if self.is_time_to_record() {
                self.record();
            }
        }
        // At a signal some stages of a project are decided and others are not: nothing of it is handed over.
        let mut waiting: Vec<Recorded<'a>> = self.held_back.drain().flat_map(|(_, stages)| stages).collect();
        waiting.sort_by_key(|recorded| recorded.index);
        waiting.iter().for_each(|recorded| self.tell(deliver::not_started(self.context.run.mode, recorded)));
        let unrecorded = std::mem::take(&mut self.unrecorded);
        match unrecorded.first() {
            Some(first) if !self.has_recorded => Err(anyhow::Error::msg(first.reason.clone())),
            _ => {
                unrecorded.into_iter().for_each(|report| self.tell(report));
                Ok(())
            }
        }
    }

    /// Once told to stop, only for what is recorded and under way: what was not asked is no failed check.
    fn is_waiting(&self) -> bool {
        let is_asking = self.unlisted > 0 && self.context.run.stop.signal().is_none();
        is_asking || self.under_way > 0 || !self.gathered.is_empty()
    }

    fn patience(&self) -> Duration {
        let left = self.gathering_since.map(|since| GATHER.saturating_sub(since.elapsed()));
        left.map_or(SIGNAL_PATIENCE, |left| left.min(SIGNAL_PATIENCE))
    }

    fn gather(&mut self, listed: Vec<Listed>) {
        self.unlisted -= listed.len();
        let of = self.context.targets.len();
        self.report.event(Event::Asked { targets: of - self.unlisted, of });
        // Where nothing has changed nothing is urgent: an idle poll writes once.
        if !listed.iter().all(Listed::is_unchanged) {
            self.gathering_since.get_or_insert_with(Instant::now);
        }
        self.gathered.extend(listed);
    }

    fn is_time_to_record(&self) -> bool {
        let waited = self.gathering_since.is_some_and(|since| since.elapsed() >= GATHER);
        !self.gathered.is_empty()
            && (self.unlisted == 0
                || waited
                || self.context.run.stop.signal().is_some()
                || self.gathered.iter().any(Listed::wants_deployment))
    }

    fn record(&mut self) {
        self.gathering_since = None;
        let gathered = std::mem::take(&mut self.gathered);
        let last = self.unlisted == 0;
        for recorded in record::record(self.context, gathered, last) {
            let project = match recorded {
                Ok(recorded) => self.recorded(recorded),
                Err(report) => {
                    let project = report.target.project.clone();
                    self.unrecorded.push(*report);
                    project
                }
            };
            let left = self.undecided.get_mut(&project).expect("counted from the same targets");
            *left -= 1;
            if *left == 0 {
                self.hand_over(&project);
            }
        }
    }

    /// Gives back the project.
    fn recorded(&mut self, recorded: Recorded<'a>) -> Name {
        self.has_recorded = true;
        recorded.notes.iter().for_each(|note| self.report.event(Event::Warning(note)));
        let project = recorded.target.id.project.clone();
        if recorded.is_to_deliver {
            self.held_back.entry(project.clone()).or_default().push(recorded);
        } else {
            self.tell(recorded.report);
        }
        project
    }

    /// Stages of one project go one after another, in the order written.
    fn hand_over(&mut self, project: &Name) {
        let Some(mut stages) = self.held_back.remove(project) else {
            return;
        };
        stages.sort_by_key(|recorded| recorded.index);
        self.under_way += stages.len();
        self.queue.push(stages);
    }

    fn tell(&mut self, report: TargetReport) {
        self.summary.count(&report);
        self.report.event(Event::Target(&report));
    }
}
