//! A manual deployment: one target, now, under its lock from the decision to the outcome.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;

use super::deliver::Delivery;
use super::listing::Newest;
use super::record::Recorded;
use super::{Context, Message, Registries, Run, UNREAD, changes, listing, outbox, without_threads};
use crate::config;
use crate::engine::first_seen::SeenTag;
use crate::engine::{self, Manual, ManualContent, Status, TargetEvent};
use crate::policy::Order;
use crate::reference::{ListedTag, Tag};
use crate::registry::{Registry, Traffic};
use crate::report::{Event, Report, Summary, TargetReport};
use crate::stop::Cutoff;
use crate::store::{Lock, StoreError};
use crate::target::Target;

/// The tag of a manual deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManualTag {
    /// The newest tag that the policy allows; gates are ignored.
    Newest,
    Tag(Tag),
    /// The tag that the stage ran before its present one, with its recorded digest.
    Previous,
}

/// The options of a manual deployment.
#[derive(Clone, Debug)]
pub(crate) struct ManualDeployment {
    pub(crate) choice: ManualTag,
    /// Deploy even if the registry cannot confirm that the tag exists.
    pub(crate) force: bool,
    /// Wait for another deployment of the target to end.
    pub(crate) wait: bool,
    /// The login name of the user.
    pub(crate) by: String,
    /// Whether an older tag holds the target.
    pub(crate) holds: bool,
}

/// The interval at which the lock of another run is tried.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Deploys to the target manually, and reports the outcome. None: another run is deploying to it, or a signal
/// came before anything was recorded.
///
/// # Errors
/// The tag does not exist, the registry does not answer, or the state cannot be used; nothing was sent.
pub(crate) fn deploy_manually(
    run: &Run<'_>,
    target: &Target,
    manual: &ManualDeployment,
    report: &mut dyn Report,
) -> anyhow::Result<Option<Summary>> {
    let started_at = Timestamp::now();
    // With --wait the user accepts any delay, so `max_runtime` begins after it.
    let Some(lock) = take_lock(run, target, manual.wait)? else {
        return Ok(None);
    };
    let cutoff = Cutoff::after(run.stop, run.max_runtime);
    let traffic = Traffic::until(cutoff.clone());
    let targets = [target];
    let registries = Registries::of(run, &targets, &traffic)?;
    let context = Context::new(run, &targets, &registries, cutoff)?;
    let registry = context.registry(target);
    refuse_other_owner(&context, registry, target)?;
    let chosen = choose(&context, registry, target, manual)?;
    if run.stop.signal().is_some() {
        return Ok(None);
    }
    let recorded = record(&context, target, &chosen, manual)?;
    let (sender, receiver) = mpsc::sync_channel(UNREAD);
    let shows_output = report.shows_output();
    let delivered = thread::scope(|scope| {
        // A recorded manual deployment starts even if `max_runtime` is over.
        let cutoff = Cutoff::at_signal(run.stop);
        let delivery =
            Delivery { context: &context, cutoff, sender: &sender, shows_output, busy_until: None };
        let deliver = move || {
            let report = delivery.deliver_locked(&recorded, &lock);
            report.unwrap_or_else(|error| delivery.failed_by_state(&recorded, &error))
        };
        let working = thread::Builder::new().spawn_scoped(scope, deliver).map_err(without_threads)?;
        // The delivery has the only sender, so the loop ends after its last output.
        while !working.is_finished() {
            match receiver.recv_timeout(LOOK_AGAIN) {
                Ok(message) => show(report, &message),
                Err(_) => report.event(Event::Idle),
            }
        }
        anyhow::Ok(working.join())
    })?;
    receiver.try_iter().for_each(|message| show(report, &message));
    let delivered = match delivered {
        Ok(delivered) => delivered,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let mut summary = Summary::begin(started_at);
    summary.count(&delivered);
    summary.requests = traffic.requests();
    report.event(Event::Target(&delivered));
    report.event(Event::Finished(&summary));
    outbox::send(&context, report);
    summary.signal = run.stop.signal();
    Ok(Some(summary))
}

fn show(report: &mut dyn Report, message: &Message) {
    match message {
        Message::Deploying(target, tag, phase) => {
            report.event(Event::Deploying { target, tag, phase: *phase });
        }
        Message::Output(target, lines) => report.event(Event::Output { target, lines }),
        Message::Warning(text) => report.event(Event::Warning(text)),
        Message::Listed(_) | Message::Delivered(_) => {}
    }
}

fn take_lock(run: &Run<'_>, target: &Target, wait: bool) -> anyhow::Result<Option<Lock>> {
    loop {
        let lock = run.store.lock(&target.id)?;
        if lock.is_some() || !wait || run.stop.signal().is_some() {
            return Ok(lock);
        }
        // A signal cannot interrupt a wait in flock, so the lock is tried repeatedly.
        thread::sleep(LOOK_AGAIN);
    }
}

/// Fails if another owner has the image's name: a manual deployment means the known owner too.
fn refuse_other_owner(context: &Context<'_>, registry: &dyn Registry, target: &Target) -> anyhow::Result<()> {
    match changes::find_other_owner(context.run.config, &context.feeds, Some(registry), target) {
        Some(message) => bail!(message),
        None => Ok(()),
    }
}

/// The tag to deploy, and the first-seen tags of the listing that found it.
struct Chosen {
    listed: ListedTag,
    newly_seen: Vec<(Tag, SeenTag)>,
}

fn choose(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    manual: &ManualDeployment,
) -> anyhow::Result<Chosen> {
    let image = &target.image.repository;
    let Chosen { listed, newly_seen } = match &manual.choice {
        ManualTag::Newest => {
            let Newest { tag, newly_seen } =
                listing::newest(context, registry, target, None)?.map_err(|failure| {
                    anyhow!(
                        "{}: could not determine the newest tag of {}: {}",
                        target.id,
                        target.image,
                        failure.message
                    )
                })?;
            let listed = tag.map_err(|tie| anyhow!("{}: {tie}", target.id))?.with_context(|| {
                format!("no tag of {} is allowed by the rule of {}", target.image, target.id)
            })?;
            Chosen { listed, newly_seen }
        }
        ManualTag::Previous => match previous(context, target)? {
            previous @ ListedTag { digest: Some(_), .. } => {
                return Ok(Chosen { listed: previous, newly_seen: Vec::new() });
            }
            previous => Chosen { listed: previous, newly_seen: Vec::new() },
        },
        ManualTag::Tag(tag) => named(context, registry, target, tag)?,
    };
    match registry.digest(image, &listed.tag) {
        Ok(Some(digest)) => Ok(Chosen { listed: ListedTag { digest: Some(digest), ..listed }, newly_seen }),
        Ok(None) => bail!(
            "{} has no tag {}; {} list its tags: tagship tags {}",
            target.image,
            listed.tag,
            similar(registry, target, &listed.tag)
                .map_or_else(|| "to".to_owned(), |question| question + " To"),
            target.id
        ),
        Err(_) if manual.force => Ok(Chosen { listed, newly_seen }),
        Err(error) => Err(error).context("cannot check that the tag exists (--force deploys it anyway)"),
    }
}

/// The similar tags, as a question.
fn similar(registry: &dyn Registry, target: &Target, tag: &Tag) -> Option<String> {
    let listing = registry.list_tags(&target.image.repository).ok()?;
    let known: Vec<&str> = listing.tags.iter().map(|listed| listed.tag.as_str()).collect();
    let near = config::nearest(tag.as_str(), &known);
    (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")))
}

/// A tag with its sort key, as far as it can be determined.
fn named(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    tag: &Tag,
) -> Result<Chosen, StoreError> {
    let image = &target.image.repository;
    let named = || ListedTag::named(tag.clone());
    if listing::uses_first_seen(registry, target)
        && let Ok(listing) = registry.list_tags(image)
        && let Ok((placed, _)) = listing::place(context, registry, target, &listing)?
    {
        let listed = placed.listing.tags.into_iter().find(|listed| listed.tag == *tag);
        return Ok(Chosen { listed: listed.unwrap_or_else(named), newly_seen: placed.new });
    }
    let pushed_at = match target.policy.order() {
        Order::Newest => registry.pushed_at(image, tag).unwrap_or(None),
        _ => None,
    };
    Ok(Chosen { listed: ListedTag { pushed_at, ..named() }, newly_seen: Vec::new() })
}

/// The tag of a rollback, with its recorded digest.
fn previous(context: &Context<'_>, target: &Target) -> anyhow::Result<ListedTag> {
    let store = context.run.store;
    let (id, image) = (&target.id, &target.image.repository);
    let (runs, unfinished) = (store.runs_of(id, image)?, store.unfinished(id, image)?);
    if let Some(previous) = engine::previous(&runs, unfinished.as_ref()) {
        let digest = engine::recorded_digest(&runs, previous);
        return Ok(ListedTag { digest, ..ListedTag::named(previous.tag.clone()) });
    }
    let before = runs.last().map_or_else(String::new, |current| format!(" before {}", current.tag));
    let baseline = context.state(target).and_then(|state| state.baseline.as_ref());
    let baseline = baseline.filter(|baseline| runs.last().is_none_or(|current| current.tag != baseline.tag));
    let (found, tag) = baseline.map_or((String::new(), "TAG"), |baseline| {
        (format!(" (its first poll found {}, and did not deploy it)", baseline.tag), baseline.tag.as_str())
    });
    bail!(
        "no earlier deployment to {0}{before} is recorded{found}; to deploy a tag: tagship deploy {0} {tag}",
        target.id
    );
}

fn record<'a>(
    context: &Context<'_>,
    target: &'a Target,
    Chosen { listed, newly_seen }: &Chosen,
    manual: &ManualDeployment,
) -> anyhow::Result<Recorded<'a>> {
    let content = match manual.choice {
        ManualTag::Previous => ManualContent::RanBefore,
        ManualTag::Newest | ManualTag::Tag(_) => ManualContent::Current,
    };
    let manual = Manual { listed, content, by_whom: &manual.by, holds: manual.holds };
    let event = TargetEvent::DeployedManually { manual: &manual, id: uuid::Uuid::now_v7().to_string() };
    let change = context.run.store.write(|write| {
        write.add_seen_tags(&target.id, newly_seen)?;
        write.commit(target, &[], event, Timestamp::now())
    })?;
    let mut change = change.expect("a manual deployment has no competing deployment");
    let deployment = change.rows.pop().expect("a manual deployment plans a deployment").deployment;
    Ok(Recorded {
        index: 0,
        target,
        report: TargetReport {
            target: target.id.clone(),
            status: Status::Pending,
            reason: "deployed manually".to_owned(),
            until: None,
            latest_tag: Some(listed.tag.clone()),
            previous_tag: deployment.previous_tag.clone(),
            deployed_tag: change.state.deployed_tag(),
            digest: listed.digest.clone(),
            deployment: None,
            failure: None,
            failed_since: None,
            is_reportable: true,
        },
        is_to_deliver: true,
        last_reported: None,
        fresh_deployment: Some(deployment.id),
        notes: Vec::new(),
    })
}
