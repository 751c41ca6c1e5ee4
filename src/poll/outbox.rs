//! Telling people: what happened is written down with what made it happen, and sent when the run has
//! done its work, now or in a later run. A receiver that is down fails no run.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Run;
use crate::config::Config;
use crate::deploy::{self, DeployError, News};
use crate::plan::{self, Decision, ErrorCode, Failed, Notification, PollState, Status};
use crate::report::{Event as Said, Report};
use crate::store::{StoreError, Told, Write};
use crate::target::notifier::Event;
use crate::target::retry::Retry;
use crate::target::step::Step;
use crate::target::{Target, TargetId};

/// Writes down what a poll that deploys nothing found: a tag for somebody to deploy, an outage and its end.
pub(super) fn note_decision(
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
        let is_told = |event, of: Told<'_>| write.is_told(&notifier.receiver, target, event, of);
        match (&decision.state.failing, was_failing) {
            (Some(failing), _)
                if notifier.wants(Event::Unknown, target)
                    && lasted(failing.since)
                    && !is_told(Event::Unknown, Told { since: Some(failing.since), ..Told::default() })? =>
            {
                let error = Some(failing.failure.described());
                write.insert_notification(&Notification { error, ..new(Event::Unknown) })?;
            }
            (None, Some(failing)) if notifier.wants(Event::Recovered, target) && lasted(failing.since) => {
                write.insert_notification(&new(Event::Recovered))?;
            }
            _ => {}
        }
        if decision.status == Status::Available && notifier.wants(Event::Available, target) {
            let of = Told { tag: decision.latest_tag.as_ref(), ..Told::default() };
            if !is_told(Event::Available, of)? {
                write.insert_notification(&new(Event::Available))?;
            }
        }
    }
    Ok(())
}

fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// How long sending may take: what is left of `max_runtime`, but no less and no more than this.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);
/// How many receivers are told side by side.
const MOST: usize = 16;

/// Sends what is in the outbox and due, to every receiver side by side and to each in the order in which it happened.
/// What there is no time for stays there for a later run. What goes wrong is a warning.
pub(super) fn send(run: &Run<'_>, left: Duration, report: &mut dyn Report) {
    let until = Instant::now() + left.clamp(SHORTEST, LONGEST);
    if let Err(error) = send_due(run, until, report) {
        report.event(Said::Warning(&format!("notifications wait for the next run: {error}")));
    }
}

fn send_due(run: &Run<'_>, until: Instant, report: &mut dyn Report) -> Result<(), StoreError> {
    if run.store.untold()?.is_empty() {
        return Ok(());
    }
    // Another run that sends already does so for us.
    let Some(_lock) = run.store.lock_outbox()? else {
        return Ok(());
    };
    let now = Timestamp::now();
    let mut receivers: Vec<Vec<Letter<'_>>> = Vec::new();
    for notification in run.store.untold()? {
        if notification.next_attempt.is_some_and(|next| !next.is_over(now)) {
            continue;
        }
        let notifier = run.config.notifiers.iter().find(|known| known.receiver == notification.receiver);
        let target = run.config.targets.iter().find(|target| target.id == notification.target);
        let (Some(notifier), Some(target)) = (notifier, target) else {
            // Nobody is to be told of it any more.
            run.store.write(|write| write.end_notification(&notification.id, now))?;
            continue;
        };
        let letter = Letter { notification, step: &notifier.step, target };
        let same =
            |letters: &&mut Vec<Letter<'_>>| letters[0].notification.receiver == letter.notification.receiver;
        match receivers.iter_mut().find(same) {
            Some(letters) => letters.push(letter),
            None => receivers.push(vec![letter]),
        }
    }
    let number = receivers.len().min(MOST);
    let queue = Mutex::new(VecDeque::from(receivers));
    let work = |sender: mpsc::Sender<_>| {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some(letters) = next() {
            tell(run, letters, until, &sender);
        }
    };
    thread::scope(|scope| {
        let (sender, answers) = mpsc::channel();
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
        for (notification, result) in answers {
            if let Err(error) = note_told(run, &notification, result, report) {
                let what = described_as(&notification);
                let text = format!("{what}: cannot record whether it was sent, so it is sent again: {error}");
                report.event(Said::Warning(&text));
            }
        }
    });
    Ok(())
}

/// A notification, and how it is sent.
struct Letter<'a> {
    notification: Notification,
    step: &'a Step,
    target: &'a Target,
}

/// Tells one receiver, one after another, until it does not answer in time.
fn tell(
    run: &Run<'_>,
    letters: Vec<Letter<'_>>,
    until: Instant,
    sender: &mpsc::Sender<(Notification, Result<(), DeployError>)>,
) {
    for Letter { notification, step, target } in letters {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || run.stop.signal().is_some() {
            return;
        }
        let news = News {
            id: &notification.id,
            status: notification.event.as_str(),
            tag: notification.tag.as_ref(),
            digest: notification.digest.as_ref(),
            previous_tag: notification.previous_tag.as_ref(),
            deployment_id: notification.deployment_id.as_deref(),
            error: notification.error.as_deref(),
        };
        let result = deploy::notify(target, step, &news, &run.secrets, run.stop, left);
        let is_hanging = result.as_ref().is_err_and(|error| error.code == ErrorCode::Timeout);
        // Whoever receives it waits for all of them.
        let _ = sender.send((notification, result));
        if is_hanging {
            return;
        }
    }
}

/// Writes down whether it was received.
fn note_told(
    run: &Run<'_>,
    notification: &Notification,
    result: Result<(), DeployError>,
    report: &mut dyn Report,
) -> Result<(), StoreError> {
    let id = &notification.id;
    let Err(error) = result else {
        return run.store.write(|write| write.end_notification(id, Timestamp::now()));
    };
    if error.interrupted {
        return Ok(());
    }
    let now = Timestamp::now();
    let failed = Failed { started: true, retry_after: error.retry_after, ..Failed::default() };
    let attempts = notification.attempts.saturating_add(1);
    let next = plan::next_attempt(&Retry::default(), id, attempts, failed, now);
    let what = described_as(notification);
    match next {
        Some(_) if attempts > 1 => {}
        Some(_) => report
            .event(Said::Warning(&format!("{what} could not be told, and is told again later: {error}"))),
        None => report.event(Said::Warning(&format!(
            "{what} could not be told {attempts} times, and is given up: {error}"
        ))),
    }
    run.store.write(|write| match next {
        Some(next) => write.postpone_notification(id, next),
        None => write.end_notification(id, now),
    })
}

fn described_as(notification: &Notification) -> String {
    format!("{} {}", notification.target, notification.event.as_str())
}
