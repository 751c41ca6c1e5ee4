//! Tries everything that polls and the next deployment need, for `check --online`. Writes nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use jiff::{SignedDuration, Timestamp};

use super::facts::{Answers, FromEveryone};
use super::{Context, Registries, Run, SIGNAL_PATIENCE, changes, listing, without_threads};
use crate::config::Location;
use crate::engine::{self, Decision, ErrorCode, Facts as _, Failure, Unknown};
use crate::policy::{self, Order, Selection};
use crate::program;
use crate::reference::{ListedTag, Listing, Repository, Tag};
use crate::registry::{About, RegistryError, SignIn, Traffic};
use crate::report::{Event, Report};
use crate::stop::Cutoff;
use crate::store::StoreError;
use crate::target::step::Step;
use crate::target::template::Part;
use crate::target::{Name, Target};

/// The findings about a registry or a target.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// A registry's name, or `shop/dev`.
    pub(crate) subject: String,
    /// The registry that answered.
    pub(crate) registry: Name,
    /// The successful checks. Empty if none succeeded.
    pub(crate) said: String,
    /// Lints: valid, but probably not intended, with the correction.
    pub(crate) warnings: Vec<String>,
    pub(crate) failure: Option<Failure>,
}

impl Finding {
    pub(crate) fn of(subject: String, registry: &Name, result: Result<String, Failure>) -> Finding {
        let (said, failure) = match result {
            Ok(said) => (said, None),
            Err(failure) => (String::new(), Some(failure)),
        };
        Finding { subject, registry: registry.clone(), said, warnings: Vec::new(), failure }
    }
}

/// A larger difference between the two clocks is reported.
const CLOCK: SignedDuration = SignedDuration::from_secs(30);

/// The number of targets that are tried concurrently.
const WORKERS: usize = 8;

/// Tries the registries of the targets, then each target: its repository, its rule, its steps.
///
/// # Errors
/// The state cannot be read, or no thread can be started.
pub(crate) fn inspect(
    run: &Run<'_>,
    targets: &[&Target],
    report: &mut dyn Report,
) -> anyhow::Result<Vec<Finding>> {
    let cutoff = Cutoff::after(run.stop, run.max_runtime);
    let registries = Registries::of(run, targets, &Traffic::until(cutoff.clone()))?;
    let context = Context::new(run, targets, &registries, cutoff)?;
    let names: BTreeSet<&Name> = targets.iter().map(|target| &target.registry).collect();
    let mut asked = |found| report.event(Event::Asked { targets: found, of: targets.len() });
    let names: Vec<&Name> = names.into_iter().collect();
    let mut findings = side_by_side(
        &names,
        |_| asked(0),
        |name| Ok(vec![Finding::of(name.to_string(), name, registry(&context, name))]),
    )?;
    findings.extend(side_by_side(targets, asked, |target| of_target(&context, target))?);
    Ok(findings)
}

/// Tries the items concurrently, and returns the findings in the given order. `show` receives the number of
/// finished items after each change, and at intervals.
fn side_by_side<T: Sync>(
    items: &[T],
    mut show: impl FnMut(usize),
    look: impl Fn(&T) -> Result<Vec<Finding>, StoreError> + Sync,
) -> anyhow::Result<Vec<Finding>> {
    let next = AtomicUsize::new(0);
    let mut found = Vec::with_capacity(items.len());
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for number in 0..WORKERS.min(items.len()) {
            let (sender, next, look) = (sender.clone(), &next, &look);
            let started = thread::Builder::new().spawn_scoped(scope, move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let _ = sender.send((index, look(item)));
                }
            });
            match started {
                Err(error) if number == 0 => return Err(without_threads(error)),
                Err(_) => break,
                Ok(_) => {}
            }
        }
        drop(sender);
        loop {
            show(found.len());
            match receiver.recv_timeout(SIGNAL_PATIENCE) {
                Ok(finding) => found.push(finding),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    })?;
    found.sort_by_key(|(index, _)| *index);
    let found = found.into_iter().map(|(_, findings)| findings).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn registry(context: &Context<'_>, name: &Name) -> Result<String, Failure> {
    let config = &context.run.config.registries[name];
    let opened = context.registries.get(name);
    let failed = |error: RegistryError| context.failure(&error);
    let About { software, server_time, our_time } = opened.about().map_err(failed)?;
    let mut said = vec![config.location.to_string()];
    said.extend(software);
    let repositories: Vec<_> = context
        .targets
        .iter()
        .filter(|target| target.registry == *name)
        .map(|target| &target.image.repository)
        .collect();
    let credential =
        context.run.secrets.credential(config, &context.cutoff).map_err(|error| failed(error.into()))?;
    let mut feed = None;
    let mut owners = BTreeSet::new();
    for target in context.targets.iter().filter(|target| target.registry == *name) {
        let owner = target.image.repository.owner();
        if !owners.insert(owner) || matches!(feed, Some(Err(_) | Ok(None))) {
            continue;
        }
        let changes = opened.changes(owner, None, 1);
        let key = changes::key(context.run.config, name, owner);
        if let (Ok(Some((cursor, _))), Some(known)) = (&changes, context.feeds.get(&key))
            && let Some((before, now)) = known.other_owner(cursor.owner())
        {
            let message = context.run.secrets.mask(&changes::other_owner(owner, before, now, &target.id));
            return Err(Failure { code: ErrorCode::Protocol, message });
        }
        feed = Some(changes);
    }
    match feed {
        Some(Ok(Some(_))) => said.push("the token reads packages".to_owned()),
        Some(Err(error)) => {
            let Failure { code, message } = failed(error);
            let what = "the package API cannot be read, so every poll lists every image";
            return Err(Failure { code, message: format!("{what}: {message}") });
        }
        // The registry has no feed, so the credential is tried separately.
        Some(Ok(None)) | None if credential.is_some() => {
            said.push(match opened.sign_in(&repositories).map_err(failed)? {
                SignIn::Accepted(Some(scopes)) => scopes,
                SignIn::Accepted(None) => "the credential is accepted".to_owned(),
                SignIn::NotAsked => "it does not ask for a credential".to_owned(),
            });
        }
        Some(Ok(None)) | None if matches!(config.location, Location::Url(_)) => {
            // A registry that requires a sign-in fails here, not only at each target.
            opened.sign_in(&repositories).map_err(failed)?;
            said.push("anonymous access".to_owned());
        }
        Some(Ok(None)) | None => {}
    }
    if let (Some(server), Some(ours)) = (server_time, our_time) {
        let apart = server.duration_since(ours);
        if apart.abs() > CLOCK {
            let apart = crate::report::describe_duration(apart.unsigned_abs());
            said.push(format!("its clock and ours are {apart} apart"));
        }
    }
    Ok(said.join(", "))
}

fn of_target(context: &Context<'_>, target: &Target) -> Result<Vec<Finding>, StoreError> {
    let found = |result| Finding::of(target.id.to_string(), &target.registry, result);
    if context.cutoff.is_reached() {
        return Ok(vec![found(Err(context.out_of_time()))]);
    }
    let missing = target.steps().find_map(|step| missing_secret(context, step));
    let mut findings: Vec<Finding> = missing.map(|failure| found(Err(failure))).into_iter().collect();
    let registry = context.registry(target);
    let all = match registry.list_tags(&target.image.repository) {
        Ok(listing) => listing,
        Err(error) => {
            findings.push(found(Err(context.listing_failure(target, &error))));
            return Ok(findings);
        }
    };
    findings.push(match listing::newest(context, registry, target, Some(&all))? {
        Ok(newest) => of_newest(context, target, &all, newest.tag, found(Ok(target.image.to_string()))),
        Err(failure) => found(Err(failure)),
    });
    Ok(findings)
}

/// `newest`: the newest of all tags. The error names tags of which nothing tells the newer one.
fn of_newest(
    context: &Context<'_>,
    target: &Target,
    all: &Listing,
    newest: Result<Option<ListedTag>, String>,
    finding: Finding,
) -> Finding {
    let mut selection = target.policy.select(all, &[]);
    let of_tags = lints_of_tags(target, all);
    let warnings = |reason: Option<String>| {
        // A lint may say the same with an example.
        let reason = reason.filter(|reason| !of_tags.iter().any(|lint| lint.starts_with(reason)));
        reason.into_iter().chain(of_tags.clone()).collect()
    };
    let said = format!("{}: {}", finding.said, selection.describe());
    let newest = match newest {
        Ok(newest) => newest,
        Err(tie) => {
            return Finding { said, warnings: warnings(Some(format!("it would wait: {tie}"))), ..finding };
        }
    };
    // The tag with its sort key.
    selection.candidates = newest.iter().filter_map(|newest| target.policy.candidate(newest)).collect();
    let trial = Trial { context, target, selection };
    let Some(newest) = newest else {
        return Finding { warnings: warnings(Some(trial.decide(&Answers::default()).reason)), ..finding };
    };
    let said = format!("{said}, would select {}", newest.tag);
    match trial.obstacle(&newest.tag) {
        Ok(obstacle) => Finding { said, warnings: warnings(obstacle), ..finding },
        Err(failure) => Finding { said, warnings: warnings(None), failure: Some(failure), ..finding },
    }
}

/// Lints that need the tags; lints of the rule itself work offline.
fn lints_of_tags(target: &Target, all: &Listing) -> Vec<String> {
    let tags: Vec<Tag> = all.tags.iter().map(|listed| listed.tag.clone()).collect();
    let of_rule = policy::lints(&target.policy, &[], "");
    let mut lints = policy::lints(&target.policy, &tags, "");
    lints.retain(|lint| !of_rule.contains(lint));
    lints
}

/// Decides about the newest tag as if it had just appeared.
struct Trial<'a> {
    context: &'a Context<'a>,
    target: &'a Target,
    /// The selection has the newest tag as its only candidate.
    selection: Selection,
}

/// An earlier build time is not a real one: reproducible builds write 1970 or 1980.
const REAL_BUILDS: Timestamp = Timestamp::constant(347_155_200, 0);

impl Trial<'_> {
    fn decide(&self, answers: &Answers) -> Decision {
        let Trial { context, target, .. } = *self;
        let mut tried = target.at_once();
        // A step that cannot be started has its own line.
        tried.gates.steps.retain(|step| is_ready(context, target, step));
        let facts = FromEveryone { context, target, answers };
        engine::decide_as_new(&tried, &self.selection, &facts, Timestamp::now())
    }

    /// The reason that the tag would not be deployed.
    ///
    /// # Errors
    /// A necessary fact is not available.
    fn obstacle(&self, tag: &Tag) -> Result<Option<String>, Failure> {
        let Trial { context, target, .. } = *self;
        let answers = Answers::default();
        let facts = FromEveryone { context, target, answers: &answers };
        let (registry, image) = (context.registry(target), &target.image.repository);
        let failed =
            |what: &str, Failure { code, message }| Failure { code, message: format!("{what}: {message}") };
        const DEPLOY: &str = "could not deploy it";
        let probe = target.running.as_ref().filter(|running| is_ready(context, target, &running.probe));
        if let Some(Err(Unknown::Failed(failure))) = probe.map(|_| facts.running()) {
            return Err(failure);
        }
        let decision = self.decide(&answers);
        if let Some(failure) = decision.failure {
            return Err(failed(DEPLOY, failure));
        }
        if decision.deploy.is_none() {
            let lacks_it = |repository: &&Repository| facts.is_present(repository, tag) == Ok(false);
            for repository in target.gates.with.iter().filter(lacks_it) {
                let listed = registry.list_tags(repository);
                listed.map_err(|error| failed(DEPLOY, failed("with", context.failure(&error))))?;
            }
            return Ok(Some(format!("it would wait: {}", decision.reason)));
        }
        let digest = decision.deploy.and_then(|listed| listed.digest);
        let labels = context.labels(target, tag, digest.as_ref(), &target.deploy);
        let labels = labels.map_err(|failure| failed(DEPLOY, failure))?;
        if let Some(missing) = crate::deploy::missing_label(target, tag, &labels) {
            return Err(failed(DEPLOY, missing));
        }
        let Some(digest) = digest else { return Ok(None) };
        if target.policy.order() != Order::Newest || registry.has_push_times() {
            return Ok(None);
        }
        let built = registry.configuration(image, &digest, &target.gates.platforms).map_err(|error| {
            let what = "could not read its build time, which order = \"newest\" needs";
            failed(what, context.failure(&error))
        })?;
        let built = built.and_then(|found| found.created);
        let says_when = built.is_some_and(|built| built >= REAL_BUILDS);
        Ok((!says_when).then(|| {
            "if several new tags appear at once, it will wait for you: the image has no real build time"
                .to_owned()
        }))
    }
}

/// Checks that a step can be started.
fn is_ready(context: &Context<'_>, target: &Target, step: &Step) -> bool {
    let is_there = match step {
        Step::Command(command) => program::fault(&command.argv, &command.dir, Some(target)).is_none(),
        Step::Http(_) => true,
    };
    is_there && missing_secret(context, step).is_none()
}

/// The first unreadable secret of a step.
fn missing_secret(context: &Context<'_>, step: &Step) -> Option<Failure> {
    step.parts().find_map(|part| match part {
        Part::Secret(id) => {
            let error = context.run.secrets.get(id).err()?;
            let message = context.run.secrets.mask(&error.to_string());
            Some(Failure { code: ErrorCode::Secret, message })
        }
        _ => None,
    })
}
