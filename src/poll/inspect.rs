//! Trying everything that a poll needs, without deciding anything: what `check --online` shows.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use jiff::SignedDuration;

use super::{Context, Registries, Run, SIGNAL_PATIENCE, changes, listing, without_threads};
use crate::config::Location;
use crate::policy;
use crate::program;
use crate::reference::Tag;
use crate::registry::{About, RegistryError, SignIn, Traffic};
use crate::report::{Event, Report};
use crate::stop::Cutoff;
use crate::store::StoreError;
use crate::target::lint::lints;
use crate::target::step::Step;
use crate::target::template::Part;
use crate::target::{Name, Target};

/// What was found of a registry or a target: how it is, or what is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// A registry's name, or `shop/dev`.
    pub(crate) subject: String,
    pub(crate) result: Result<String, String>,
    /// What is probably not meant, though it works, with what to write instead.
    pub(crate) doubts: Vec<String>,
}

/// More of a difference between two clocks is worth a word.
const CLOCK: SignedDuration = SignedDuration::from_secs(30);

/// How many targets are looked at side by side.
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
        |name| {
            Ok(Finding { subject: name.to_string(), result: registry(&context, name), doubts: Vec::new() })
        },
    )?;
    findings.extend(side_by_side(targets, asked, |target| of_target(&context, target))?);
    Ok(findings)
}

/// In the order given, whoever is done first. `show` gets how many are, whenever that changes and now and then.
fn side_by_side<T: Sync>(
    items: &[T],
    mut show: impl FnMut(usize),
    look: impl Fn(&T) -> Result<Finding, StoreError> + Sync,
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
    Ok(found.into_iter().map(|(_, finding)| finding).collect::<Result<_, _>>()?)
}

fn registry(context: &Context<'_>, name: &Name) -> Result<String, String> {
    let config = &context.run.config.registries[name];
    let opened = context.registries.get(name);
    let mask = |text: String| context.run.secrets.mask(&text);
    let About { software, server_time, our_time } =
        opened.about().map_err(|error| mask(error.to_string()))?;
    let mut said = vec![config.location.to_string()];
    said.extend(software);
    let repositories: Vec<_> = context
        .targets
        .iter()
        .filter(|target| target.registry == *name)
        .map(|target| &target.image.repository)
        .collect();
    let credential =
        context.run.secrets.credential(config, &context.cutoff).map_err(|error| mask(error.to_string()))?;
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
            return Err(mask(changes::other_owner(owner, before, now, &target.id)));
        }
        feed = Some(changes);
    }
    match feed {
        Some(Ok(Some(_))) => said.push("the token reads packages".to_owned()),
        Some(Err(error)) => {
            let what = "the package API cannot be read, so that every image is listed at each poll";
            return Err(mask(format!("{what}: {error}")));
        }
        // It has no feed: the credential is tried by itself.
        Some(Ok(None)) | None if credential.is_some() => {
            said.push(match opened.sign_in(&repositories).map_err(|error| mask(error.to_string()))? {
                SignIn::Accepted(Some(scopes)) => scopes,
                SignIn::Accepted(None) => "the credential is accepted".to_owned(),
                SignIn::NotAsked => "it asks nobody for a credential".to_owned(),
            });
        }
        Some(Ok(None)) | None if matches!(config.location, Location::Url(_)) => {
            // A registry that requires a sign-in fails here, not only at each target.
            opened.sign_in(&repositories).map_err(|error| mask(error.to_string()))?;
            said.push("asked with nobody's rights".to_owned());
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

fn of_target(context: &Context<'_>, target: &Target) -> Result<Finding, StoreError> {
    let found = |result, doubts| Ok(Finding { subject: target.id.to_string(), result, doubts });
    if context.cutoff.is_reached() {
        return found(Err(context.out_of_time().message), Vec::new());
    }
    let faults: Vec<String> = target.steps().flat_map(|step| step_faults(context, target, step)).collect();
    if let Some(fault) = faults.into_iter().next() {
        return found(Err(context.run.secrets.mask(&fault)), Vec::new());
    }
    let registry = context.registry(target);
    let failed = |error: &RegistryError| found(Err(context.failure(error).message), Vec::new());
    let listing = match registry.list_tags(&target.image.repository) {
        Ok(listing) => listing,
        Err(error) => return failed(&error),
    };
    let selection = target.policy.select(&listing, &[]);
    let newest = match listing::newest(context, registry, target)? {
        Ok(newest) => newest,
        Err(failure) => return found(Err(failure.message), Vec::new()),
    };
    let picks = match newest.tag {
        Ok(Some(newest)) => format!("it would pick {}", newest.tag),
        Ok(None) => "it would pick none".to_owned(),
        Err(tie) => format!("it would wait: {tie}"),
    };
    let (listed, matched) = (selection.listed, selection.matched);
    let tags: Vec<Tag> = listing.tags.into_iter().map(|listed| listed.tag).collect();
    // What the rule shows by itself is said without asking anyone.
    let of_rule = policy::doubts(&target.policy, &[]);
    let mut doubts = policy::doubts(&target.policy, &tags);
    doubts.retain(|doubt| !of_rule.contains(doubt));
    doubts.extend(target.steps().flat_map(lints));
    found(Ok(format!("{}: {matched} of {listed} tags match, {picks}", target.image)), doubts)
}

/// What a step would fail for before it begins.
fn step_faults(context: &Context<'_>, target: &Target, step: &Step) -> Vec<String> {
    let mut faults = Vec::new();
    if let Step::Command(command) = step {
        faults.extend(program::fault(&command.argv, &command.dir, Some(target)).map(|fault| fault.message));
    }
    for part in step.parts() {
        if let Part::Secret(id) = part
            && let Err(error) = context.run.secrets.get(id)
        {
            faults.push(error.to_string());
        }
    }
    faults
}
