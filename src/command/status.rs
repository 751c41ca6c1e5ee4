//! `tagship status`: the recorded state of each target.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::history::{from, newest_first};
use super::{Exit, can_lock, load, read_states, select_among, warn_if_not_polled};
use crate::cli::{self, Global, StatusFormat};
use crate::config::Config;
use crate::engine::{self, Decision, Deployment, DeploymentState, OpenDeployments, PollState, Status};
use crate::reference::Tag;
use crate::report::{
    Console, MOST_RECENT, MOST_TOLD, PendingRow, StatusPage, StatusRow, status_as_html, status_as_json,
    status_as_table, status_in_full,
};
use crate::run;
use crate::secret::Secrets;
use crate::stop::Cutoff;
use crate::store::{Store, StoreError};
use crate::target::{Target, TargetId};

/// Shows the state of each selected target.
///
/// # Errors
/// An error in the configuration, the arguments or the state file.
pub(crate) fn status(
    global: &Global,
    arguments: &cli::StatusArgs,
    console: &Console,
) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let console = console.masking(Arc::new(Secrets::new(&config)));
    let stores = read_states(global, &config, &console, &Cutoff::default())?;
    let targets = select_among(&config, &with_tables(&stores, &config)?, &arguments.targets)?;
    let rows = rows_of_all(&stores, &config, &targets, &console)?;
    let now = Timestamp::now();
    match (arguments.format, rows.as_slice()) {
        // A table with `images` has no tags to show.
        (StatusFormat::Human, [row])
            if !arguments.targets.is_empty()
                && config.targets.iter().any(|target| target.id == row.target) =>
        {
            status_in_full(&console, row, now);
        }
        (StatusFormat::Human, rows) => status_as_table(&console, rows, now),
        (StatusFormat::Json, rows) => status_as_json(&console, rows),
        (StatusFormat::Html, rows) => page(&console, &stores, rows, now)?,
    }
    let can_lock = || stores.iter().filter(|store| !can_lock(store, &console)).count() == 0;
    let has_failed = || !can_lock() | rows.iter().any(StatusRow::has_failed);
    Ok(if arguments.exit_code && has_failed() { Exit::Failed } else { Exit::Done })
}

/// The targets, and the stages of tables with `images` that have no image or a report of the last poll.
fn with_tables<'c>(stores: &[Store], config: &'c Config) -> Result<Vec<&'c Target>, StoreError> {
    let mut targets: Vec<&Target> = config.all_targets().collect();
    for stage in config.tables.iter().flat_map(|table| &table.stages) {
        let is_listed = targets.iter().any(|target| target.id == stage.id);
        let is_faulty = || {
            stores.iter().try_fold(false, |found, store| {
                let state = store.state(&stage.id)?;
                Ok::<_, StoreError>(found || state.is_some_and(|state| state.is_of_a_faulty_table()))
            })
        };
        if !is_listed && is_faulty()? {
            targets.push(stage);
        }
    }
    Ok(targets)
}

fn page(console: &Console, stores: &[Store], rows: &[StatusRow], now: Timestamp) -> Result<(), StoreError> {
    let shown: HashSet<&TargetId> = rows.iter().map(|row| &row.target).collect();
    let (mut outputs, mut recent) = (HashMap::new(), Vec::new());
    for store in stores {
        for (failed, _) in rows.iter().filter_map(StatusRow::failed_deployment).take(MOST_TOLD) {
            outputs.extend(store.last_output(&failed.id)?.map(|output| (failed.id.clone(), output)));
        }
        recent.extend(from(store, stores, store.recent(|id| shown.contains(id), MOST_RECENT)?));
    }
    newest_first(&mut recent, MOST_RECENT);
    status_as_html(console, &StatusPage { rows, outputs: &outputs, recent: &recent, now });
    Ok(())
}

/// A row for each target, from the state that checked it last.
fn rows_of_all(
    stores: &[Store],
    config: &Config,
    targets: &[&Target],
    console: &Console,
) -> anyhow::Result<Vec<StatusRow>> {
    let mut merged: Vec<StatusRow> = Vec::new();
    for store in stores {
        warn_if_not_polled(store, config, console)?;
        let rows = store.at_once(|| rows(store, config, targets))?;
        if merged.is_empty() {
            merged = rows;
            continue;
        }
        let last = |row: &StatusRow| (row.state_file.is_some(), row.checked_at);
        for (known, row) in merged.iter_mut().zip(rows) {
            if last(&row) > last(known) {
                *known = row;
            }
        }
    }
    if stores.len() == 1 {
        merged.iter_mut().for_each(|row| row.state_file = None);
    }
    Ok(merged)
}

fn rows(store: &Store, config: &Config, targets: &[&Target]) -> Result<Vec<StatusRow>, StoreError> {
    let mut states = store.states()?;
    let mut open = store.open_deployments()?;
    let now = Timestamp::now();
    let row = |target: &&Target| {
        let state = states.remove(&target.id);
        let state_file = state.as_ref().map(|_| store.place().to_owned());
        let state = *state.unwrap_or_default();
        let open = open.remove(&target.id).unwrap_or_default();
        let recalled = if may_have_changed(target, &state, &open) {
            run::recall(store, target, &state, &open, now)
        } else {
            None
        };
        let OpenDeployments { pending, running, dead } = open;
        let pending =
            running.or(pending).or(dead).map(|deployment| pending_row(store, deployment)).transpose()?;
        let row = status_row(store, target, state, recalled, pending, now)?;
        let tag_pages = config.registries[&target.registry].tag_pages(&target.image.repository);
        Ok(StatusRow { tag_pages, state_file, ..row })
    };
    targets.iter().map(row).collect()
}

fn pending_row(store: &Store, deployment: Deployment) -> Result<PendingRow, StoreError> {
    Ok(PendingRow {
        last_error: store.last_error(&deployment.id)?,
        id: deployment.id,
        tag: deployment.tag,
        trigger: deployment.by,
        state: deployment.state,
        attempts: deployment.attempts,
        since: deployment.created_at,
        next_attempt_at: deployment.next_attempt.map(|next| next.at),
    })
}

/// A given-up deployment, a failed check and a hold take precedence over the result of the last poll.
fn status_of(
    last: Option<Status>,
    is_failing: bool,
    pending: Option<&PendingRow>,
    is_held: bool,
) -> Option<Status> {
    if pending.is_some_and(|pending| pending.state == DeploymentState::Dead) {
        return Some(Status::Dead);
    }
    match last {
        _ if is_failing => Some(Status::Unknown),
        Some(Status::Deployed | Status::Adopted | Status::UpToDate | Status::Behind) if is_held => {
            Some(Status::Held)
        }
        last => last,
    }
}

/// Whether the time or a command may have made the result of the last poll outdated.
fn may_have_changed(target: &Target, state: &PollState, open: &OpenDeployments) -> bool {
    let is_open = open.running.is_some() || open.pending.is_some();
    state.status.is_some_and(|status| match status {
        Status::Waiting | Status::Held | Status::Available | Status::Pending | Status::Retrying => true,
        Status::Deploying => !is_open,
        Status::Dead | Status::Behind => open.dead.is_none(),
        Status::Failed => !is_open && open.dead.is_none(),
        // A tag that was deployed or marked since.
        Status::Deployed | Status::Adopted => state.high_water.is_none() || state.is_behind(target),
        Status::WouldDeploy
        | Status::Baseline
        | Status::UpToDate
        | Status::Older
        | Status::NoMatch
        | Status::RolledBack
        | Status::Unknown => false,
    })
}

/// The wording of a dry run: the next poll has not recorded the result yet.
fn outcome(decision: Decision) -> (Status, String, Option<Timestamp>) {
    let Decision { status, reason, until, deploy, .. } = decision;
    if deploy.is_some() { (Status::WouldDeploy, reason, until) } else { (status, reason, until) }
}

fn status_row(
    store: &Store,
    target: &Target,
    state: PollState,
    recalled: Option<Decision>,
    pending: Option<PendingRow>,
    now: Timestamp,
) -> Result<StatusRow, StoreError> {
    let origin = |tag: Option<&Tag>| tag.map_or(Ok(None), |tag| store.origin(&target.id, tag));
    let high_water = state.high_water.map(|listed| listed.tag);
    let failing_since = state.failing.as_ref().map(|failing| failing.since);
    let failed_polls = state.failing.as_ref().map_or(0, |failing| failing.count);
    let failure = state.failing.map(|failing| failing.failure);
    let deployed = state.deployed;
    let hold = state.hold.filter(|hold| hold.holds(now));
    let concerns = recalled.as_ref().and_then(|decision| decision.concerns.clone());
    let (status, reason, until) = match recalled.map(outcome) {
        Some((status, reason, until)) => (Some(status), Some(reason), until),
        None => (state.status, state.reason, state.until),
    };
    Ok(StatusRow {
        target: target.id.clone(),
        registry: target.registry.clone(),
        tag_pages: None,
        status: status_of(status, failure.is_some(), pending.as_ref(), hold.is_some()),
        reason,
        until,
        concerns,
        latest_tag: state.last_polled_tag,
        deployed_at: deployed.as_ref().map(|deployed| deployed.at),
        deployed_by: deployed.as_ref().map(|deployed| deployed.by),
        deployed_digest: deployed.as_ref().and_then(|deployed| deployed.digest.clone()),
        deployed_origin: origin(deployed.as_ref().map(|deployed| &deployed.tag))?,
        deployed_tag: deployed.map(|deployed| deployed.tag),
        high_water_origin: origin(high_water.as_ref())?,
        high_water,
        pending,
        polled_at: state.polled_at,
        checked_at: state.checked_at,
        failure,
        failed_polls,
        failing_since,
        hold,
        waiting: state.candidates.into_iter().map(|seen| seen.tag).collect(),
        edit: state.edit,
        image: target.image.to_string(),
        rule: target.policy.rule_text(),
        gates: target.gates.describe(),
        interval: target.interval,
        due_at: state.checked_at.filter(|_| target.poll).map(|checked| engine::due_at(target, checked)),
        is_polled: target.poll,
        state_file: None,
    })
}
