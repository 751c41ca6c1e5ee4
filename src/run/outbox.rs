//! Notifications: recorded in the transaction of their event, and sent at the end of this run or a later one. A
//! run does not fail because a receiver is down.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Context, Run};
use crate::config::Config;
use crate::deploy::{self, DeployError, EventReport, Message, MessageContent};
use crate::engine::{self, Decision, ErrorCode, Failed, Notification, PollState, Status};
use crate::reference::Labels;
use crate::report::{Event as ReportEvent, Report};
use crate::store::{Notified, StoreError, Write};
use crate::target::notifier::{Notifier, NotifyEvent};
use crate::target::retry::Retry;
use crate::target::{Target, TargetId};

/// Enqueues the events of a poll without a deployment: a tag that waits for a manual deployment, an outage and
/// its end.
pub(super) fn enqueue_decision(
    write: &Write<'_>,
    config: &Config,
    target: &TargetId,
    decision: &Decision,
    before: Option<&PollState>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let was_failing = before.and_then(|before| before.failing.as_ref());
    for notifier in &config.notifiers {
        let lasted = |since: Timestamp| now.duration_since(since).unsigned_abs() >= notifier.after;
        let new = |event| Notification {
            tag: decision.latest_tag.clone(),
            ..Notification::new(new_id(), &notifier.receiver, target, event, now)
        };
        let is_enqueued = |event, of: Notified<'_>| write.is_enqueued(&notifier.receiver, target, event, of);
        match (&decision.state.failing, was_failing) {
            (Some(failing), _)
                if notifier.wants(NotifyEvent::Unknown, target)
                    && lasted(failing.since)
                    && !is_enqueued(
                        NotifyEvent::Unknown,
                        Notified { since: Some(failing.since), ..Notified::default() },
                    )? =>
            {
                let error = Some(failing.failure.described());
                write.insert_notification(&Notification { error, ..new(NotifyEvent::Unknown) })?;
            }
            (None, Some(failing))
                if notifier.wants(NotifyEvent::Recovered, target) && lasted(failing.since) =>
            {
                write.insert_notification(&new(NotifyEvent::Recovered))?;
            }
            _ => {}
        }
        if decision.status == Status::Available && notifier.wants(NotifyEvent::Available, target) {
            let tag = decision.latest_tag.as_ref();
            // With `digest = true`, each image of the tag is an event of its own.
            let moved =
                decision.state.candidates.iter().find(|seen| Some(&seen.tag) == tag && seen.digest.is_some());
            let of = Notified { tag, since: moved.map(|seen| seen.first_seen), ..Notified::default() };
            if !is_enqueued(NotifyEvent::Available, of)? {
                let digest = moved.and_then(|seen| seen.digest.clone());
                write.insert_notification(&Notification { digest, ..new(NotifyEvent::Available) })?;
            }
        }
    }
    Ok(())
}

fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The time for sending: the rest of `max_runtime`, within these limits.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);
/// The number of receivers that are sent to concurrently.
const MOST: usize = 16;
/// The most characters of a line of a batch, and of all its lines. With some text around them, they fit a
/// message of Discord (2,000).
const LONGEST_LINE: usize = 300;
const LONGEST_LINES: usize = 1_800;

/// Sends the notifications that are due: to all receivers concurrently, and to each in the order of the events.
/// If time runs out, the rest stays in the outbox. Failures are warnings.
pub(super) fn send(context: &Context<'_>, report: &mut dyn Report) {
    let until = Instant::now() + context.left().clamp(SHORTEST, LONGEST);
    if let Err(error) = send_due(context, until, report) {
        report.event(ReportEvent::Warning(&format!("notifications will be sent by the next run: {error}")));
    }
}

fn send_due(context: &Context<'_>, until: Instant, report: &mut dyn Report) -> Result<(), StoreError> {
    let run = context.run;
    if run.store.unsent()?.is_empty() {
        return Ok(());
    }
    // Another run is sending the outbox, including these notifications.
    let Some(_lock) = run.store.lock_outbox()? else {
        return Ok(());
    };
    let now = Timestamp::now();
    let mut receivers: Vec<(&Notifier, Vec<Letter<'_>>)> = Vec::new();
    let mut lost = Vec::new();
    for mut notification in run.store.unsent()? {
        let Some(target) = run.config.target(&notification.target) else {
            // The target is no longer in the configuration.
            run.store.write(|write| write.end_notification(&notification.id, now))?;
            continue;
        };
        let known = run.config.notifiers.iter().find(|known| known.receiver == notification.receiver);
        let notifier = match known {
            Some(_) if notification.next_attempt.is_some_and(|next| !next.is_over(now)) => continue,
            Some(notifier) => notifier,
            None => match run.store.write(|write| readdress(write, run.config, &notification, now))? {
                Some(notifier) => {
                    notification.attempts = 0;
                    notifier
                }
                None => {
                    lost.push(notification);
                    continue;
                }
            },
        };
        let place = receivers.iter().position(|(known, _)| known.receiver == notifier.receiver);
        let place = place.unwrap_or_else(|| {
            receivers.push((notifier, Vec::new()));
            receivers.len() - 1
        });
        let letters = &mut receivers[place].1;
        match letters.last_mut() {
            Some(message) if notifier.batch => message.notifications.push(notification),
            _ => letters.push(Letter { notifications: vec![notification], target }),
        }
    }
    if !lost.is_empty() {
        report.event(ReportEvent::Warning(&format!(
            "the {} notification was not sent: its url or command is no longer in the configuration",
            described_as(&lost)
        )));
    }
    let number = receivers.len().min(MOST);
    let queue = Mutex::new(VecDeque::from(receivers));
    let work = |sender: mpsc::Sender<_>| {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some((notifier, letters)) = next() {
            send_to(context, notifier, letters, until, &sender);
        }
    };
    thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for number in 0..number {
            let (work, theirs) = (&work, sender.clone());
            if thread::Builder::new().spawn_scoped(scope, move || work(theirs)).is_err() {
                if number == 0 {
                    work(sender.clone());
                }
                break;
            }
        }
        drop(sender);
        for (notifications, result) in results {
            if let Err(error) = record_result(run, &notifications, result, report) {
                let what = described_as(&notifications);
                let text = format!(
                    "cannot record whether the {what} notification was sent, so it will be sent again: {error}"
                );
                report.event(ReportEvent::Warning(&text));
            }
        }
    });
    Ok(())
}

/// Gives a notification whose receiver left the configuration to the one that took its place (with a corrected url,
/// say): the only one that wants the event and was not notified of it. None: there is no such receiver, and the
/// notification is over.
fn readdress<'c>(
    write: &Write<'_>,
    config: &'c Config,
    notification: &Notification,
    now: Timestamp,
) -> rusqlite::Result<Option<&'c Notifier>> {
    let Notification { id, target, event, tag, deployment_id, created_at, .. } = notification;
    let of =
        Notified { deployment_id: deployment_id.as_deref(), tag: tag.as_ref(), since: Some(*created_at) };
    let mut others = Vec::new();
    for notifier in config.notifiers.iter().filter(|notifier| notifier.wants(*event, target)) {
        if !write.is_enqueued(&notifier.receiver, target, *event, of)? {
            others.push(notifier);
        }
    }
    match others[..] {
        [successor] => write.readdress_notification(id, &successor.receiver).map(|()| Some(successor)),
        _ => write.end_notification(id, now).map(|()| None),
    }
}

/// One message to a receiver: one notification, or all of a batch, the oldest first.
struct Letter<'a> {
    notifications: Vec<Notification>,
    /// The id of the first notification.
    target: &'a Target,
}

/// Sends the messages of one receiver in order, until it does not answer in time.
fn send_to(
    context: &Context<'_>,
    notifier: &Notifier,
    letters: Vec<Letter<'_>>,
    until: Instant,
    sender: &mpsc::Sender<(Vec<Notification>, Result<(), DeployError>)>,
) {
    let run = context.run;
    for Letter { notifications, target } in letters {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || run.stop.signal().is_some() {
            return;
        }
        let [.., last] = notifications.as_slice() else { continue };
        let lines = lines(&notifications);
        let registry = &run.config.registries[&target.registry];
        let labels = labels(context, target, notifier, last);
        let page = registry.page(&target.image.repository, last.tag.as_ref());
        let content = match notifier.batch {
            true => MessageContent::Batch { count: notifications.len(), lines: &lines },
            false => MessageContent::One(EventReport {
                status: last.event.as_str(),
                tag: last.tag.as_ref(),
                digest: last.digest.as_ref(),
                labels: &labels,
                previous_tag: last.previous_tag.as_ref(),
                deployment_id: last.deployment_id.as_deref(),
                error: last.error.as_deref(),
                page: page.as_deref(),
            }),
        };
        // A batch with a further notification is a new message.
        let message = Message { id: &last.id, time: last.created_at, content };
        let result = deploy::notify(target, &notifier.step, &message, &run.secrets, run.stop, left);
        let is_hanging = result.as_ref().is_err_and(|error| error.code == ErrorCode::Timeout);
        // The receiver of the channel waits for all senders.
        let _ = sender.send((notifications, result));
        if is_hanging {
            return;
        }
    }
}

/// The labels of a notification's image; none if they are unknown, because a notification must be sent anyway.
fn labels(context: &Context<'_>, target: &Target, notifier: &Notifier, of: &Notification) -> Labels {
    let steps = std::slice::from_ref(&notifier.step);
    let asked = of.tag.as_ref().map(|tag| context.labels(target, tag, of.digest.as_ref(), steps));
    asked.and_then(Result::ok).unwrap_or_default()
}

/// A line for each notification: `shop/dev failed: dev-43 command: ./deploy.sh exited with status 7`.
fn lines(notifications: &[Notification]) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for (index, Notification { target, event, tag, error, .. }) in notifications.iter().enumerate() {
        let tag = tag.as_ref().map(|tag| format!(" {tag}")).unwrap_or_default();
        let error = error.as_ref().map(|error| format!(" {error}")).unwrap_or_default();
        let line = format!("{target} {}:{tag}{error}", event.as_str()).replace(char::is_control, " ");
        let line = if line.chars().count() > LONGEST_LINE {
            format!("{}…", line.chars().take(LONGEST_LINE - 1).collect::<String>())
        } else {
            line
        };
        length += line.chars().count() + 1;
        if length > LONGEST_LINES {
            lines.push_str(&format!("\nand {} more", notifications.len() - index));
            break;
        }
        if index > 0 {
            lines.push('\n');
        }
        lines.push_str(&line);
    }
    lines
}

/// Records for all notifications of a message whether it was accepted.
fn record_result(
    run: &Run<'_>,
    notifications: &[Notification],
    result: Result<(), DeployError>,
    report: &mut dyn Report,
) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let end_all = |write: &Write<'_>| {
        notifications.iter().try_for_each(|notification| write.end_notification(&notification.id, now))
    };
    let Err(error) = result else {
        return run.store.write_outcome(end_all);
    };
    if error.interrupted {
        return Ok(());
    }
    let Some(first) = notifications.first() else { return Ok(()) };
    let failed = Failed { started: true, retry_after: error.retry_after, ..Failed::default() };
    let attempts = first.attempts.saturating_add(1);
    // The same time for the whole batch, so that it is sent together again.
    let next = engine::next_attempt(&Retry::default(), &first.id, attempts, failed, now);
    let what = described_as(notifications);
    match next {
        Some(_) if attempts > 1 => {}
        Some(_) => report.event(ReportEvent::Warning(&format!(
            "could not send the {what} notification; will retry: {error}"
        ))),
        None => report.event(ReportEvent::Warning(&format!(
            "gave up on the {what} notification after {attempts} attempts: {error}"
        ))),
    }
    match next {
        Some(next) => run.store.write_outcome(|write| {
            notifications
                .iter()
                .try_for_each(|notification| write.postpone_notification(&notification.id, next))
        }),
        None => run.store.write_outcome(end_all),
    }
}

/// `shop/dev failed`, or `shop/dev failed (and 7 more)`
fn described_as(notifications: &[Notification]) -> String {
    let Some(first) = notifications.first() else { return String::new() };
    let what = format!("{} {}", first.target, first.event.as_str());
    match notifications.len() {
        1 => what,
        number => format!("{what} (and {} more)", number - 1),
    }
}
