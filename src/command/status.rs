//! `tagship status`: what the state knows, without asking anyone.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Exit, load, read_state, select};
use crate::cli::{self, Global, StatusFormat};
use crate::plan::{Deployment, DeploymentState, OpenDeployments, PollState, Status};
use crate::report::{Console, PendingRow, StatusRow, status_as_json, status_as_table};
use crate::secret::Secrets;
use crate::store::{Store, StoreError};
use crate::target::filter::TargetFilter;
use crate::target::{Target, TargetId};

/// Shows what each selected target has.
///
/// # Errors
/// Configuration, arguments or state file.
pub(crate) fn status(global: &Global, arguments: &cli::Status) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let console = Console::masking(Arc::new(Secrets::new(&config)));
    let filter = TargetFilter { patterns: arguments.targets.clone(), ..TargetFilter::default() };
    let targets = select(&config, &filter)?;
    let store = read_state(global, &config)?;
    let rows = rows(&store, &targets)?;
    match arguments.format {
        StatusFormat::Human => status_as_table(&console, &rows, Timestamp::now()),
        StatusFormat::Json => status_as_json(&console, &rows),
    }
    let failed = rows.iter().any(|row| row.status.is_some_and(Status::is_failure));
    Ok(if arguments.exit_code && failed { Exit::Failed } else { Exit::Done })
}

fn rows(store: &Store, targets: &[&Target]) -> Result<Vec<StatusRow>, StoreError> {
    let mut states = store.states()?;
    let mut open = store.open_deployments()?;
    let now = Timestamp::now();
    let row = |target: &&Target| {
        let state = states.remove(&target.id).unwrap_or_default();
        let OpenDeployments { pending, running, dead } = open.remove(&target.id).unwrap_or_default();
        let pending =
            running.or(pending).or(dead).map(|deployment| pending_row(store, deployment)).transpose()?;
        Ok(status_row(target.id.clone(), state, pending, now))
    };
    targets.iter().map(row).collect()
}

fn pending_row(store: &Store, deployment: Deployment) -> Result<PendingRow, StoreError> {
    Ok(PendingRow {
        last_error: store.last_error(&deployment.id)?,
        id: deployment.id,
        tag: deployment.tag,
        state: deployment.state,
        attempts: deployment.attempts,
        next_attempt_at: deployment.next_attempt.map(|next| next.at),
    })
}

/// What was given up stands above what the last poll said, until someone sees to it.
fn status_of(last: Option<Status>, is_failing: bool, pending: Option<&PendingRow>) -> Option<Status> {
    if pending.is_some_and(|pending| pending.state == DeploymentState::Dead) {
        return Some(Status::Dead);
    }
    if is_failing { Some(Status::Unknown) } else { last }
}

fn status_row(target: TargetId, state: PollState, pending: Option<PendingRow>, now: Timestamp) -> StatusRow {
    let failing = state.failing.map(|failing| failing.failure);
    let deployed = state.deployed;
    StatusRow {
        target,
        status: status_of(state.status, failing.is_some(), pending.as_ref()),
        latest_tag: state.last_polled_tag,
        deployed_at: deployed.as_ref().map(|deployed| deployed.at),
        deployed_digest: deployed.as_ref().and_then(|deployed| deployed.digest.clone()),
        deployed_tag: deployed.map(|deployed| deployed.tag),
        pending,
        polled_at: state.polled_at,
        checked_at: state.checked_at,
        failure: failing,
        hold: state.hold.filter(|hold| hold.holds(now)),
        waiting: state.candidates.into_iter().map(|seen| seen.tag).collect(),
    }
}
