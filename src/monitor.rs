//! Monitoring: a file of metrics for node_exporter, and pings to a service that notices missing ones. An error
//! here is a warning, and does not change the result of the run.
#![allow(clippy::disallowed_methods, reason = "metrics are a file")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use strum::VariantArray as _;

use crate::config::UsedFiles;
use crate::engine::{Audience, Monitor, MonitorOutage, OpenDeployments, PollState, Status};
use crate::file;
use crate::store::{Store, StoreError, give_to_owner_of};
use crate::target::TargetId;

/// The result of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    pub(crate) duration: Duration,
    /// The run had no failure.
    pub(crate) succeeded: bool,
}

const LAST_SUCCESS: &str = "tagship_last_success_timestamp_seconds";

/// The first line of every file of metrics.
const BEGINNING: &[u8] = b"# HELP tagship_";

/// The part of an earlier file that is read; such files have a few KiB.
const LONGEST: u64 = 1024 * 1024;

/// The prefix and suffix of the name of an unfinished file.
const PREFIX: &str = ".tagship-";
const SUFFIX: &str = ".tmp";

const A_MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// What a run says of its monitors: one failure of each, and of an outage as rarely as of a registry's.
pub(crate) struct Monitors<'a> {
    store: &'a Store,
    audience: Audience,
    before: HashMap<Monitor, MonitorOutage>,
    /// The monitors that this run reported itself to, and how that ended.
    used: HashMap<Monitor, Use>,
}

#[derive(Clone, Copy, Debug)]
enum Use {
    Succeeded,
    /// With the outage, if it is said.
    Failed(Option<MonitorOutage>),
}

impl<'a> Monitors<'a> {
    /// # Errors
    /// As [`Store::monitor_outages`].
    pub(crate) fn begin(store: &'a Store, audience: Audience) -> Result<Monitors<'a>, StoreError> {
        Ok(Monitors { store, audience, before: store.monitor_outages()?, used: HashMap::new() })
    }

    /// Notes whether the run could report itself, and returns the failure unless it was reported before.
    pub(crate) fn note(
        &mut self,
        monitor: Monitor,
        result: Result<(), String>,
        now: Timestamp,
    ) -> Option<String> {
        let known = self.used.entry(monitor).or_insert(Use::Succeeded);
        let Err(fault) = result else {
            return None;
        };
        if let Use::Failed(_) = known {
            return None;
        }
        let outage = MonitorOutage::reported(self.before.get(&monitor).copied(), self.audience, now);
        *known = Use::Failed(outage);
        outage.map(|_| fault)
    }

    /// Records the outages that were said, and those that are over. Returns the latter.
    ///
    /// # Errors
    /// As [`Store::write_outcome`]. The next run says them again.
    pub(crate) fn end(self) -> Result<Vec<(Monitor, MonitorOutage)>, StoreError> {
        let mut over = Vec::new();
        let mut changed = Vec::new();
        for (monitor, used) in self.used {
            match (used, self.before.get(&monitor)) {
                (Use::Succeeded, Some(outage)) => {
                    over.push((monitor, *outage));
                    changed.push((monitor, None));
                }
                (Use::Failed(Some(outage)), _) => changed.push((monitor, Some(outage))),
                (Use::Succeeded, None) | (Use::Failed(None), _) => {}
            }
        }
        if !changed.is_empty() {
            self.store.write_outcome(|write| {
                changed.iter().try_for_each(|(monitor, outage)| write.set_monitor_outage(*monitor, *outage))
            })?;
        }
        Ok(over)
    }
}

/// Checks that the metrics can be written to this path.
///
/// # Errors
/// The path is used for something else, or contains something other than metrics.
pub(crate) fn check_metrics_file(path: &Path, used: &UsedFiles<'_>) -> Result<(), String> {
    let shown = path.display();
    file::check_replaceable(path).map_err(|error| format!("metrics_file {shown}: {error}"))?;
    if let Some(what) = used.role(path) {
        return Err(format!("metrics_file {shown}: it is {what}; write the metrics to a separate file"));
    }
    match file::head(path, BEGINNING.len() as u64) {
        Ok(head) if !head.is_empty() && head != BEGINNING => Err(format!(
            "metrics_file {shown}: it contains something other than metrics of tagship; move it away, or choose another file"
        )),
        // An unreadable file can still be replaced.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The warning if the folder of the metrics file does not exist on this machine.
pub(crate) fn missing_folder(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.exists())?;
    Some(format!("metrics_file {}: the folder {} does not exist", path.display(), folder.display()))
}

/// Writes the metrics atomically: to another name that collectors ignore, then renames the file.
///
/// # Errors
/// The file cannot be written, and why.
pub(crate) fn write_metrics<'a>(
    path: &Path,
    used: &UsedFiles<'_>,
    ended: Ended,
    targets: impl Iterator<Item = (&'a TargetId, Option<&'a PollState>, Option<&'a OpenDeployments>)>,
) -> Result<(), String> {
    check_metrics_file(path, used)?;
    let fault = |error: std::io::Error| format!("metrics_file {}: {error}", path.display());
    // After a failed run the time of the last success is unchanged.
    let last_success = match ended.succeeded {
        true => Some(ended.at.as_second()),
        false => file::read(path, LONGEST)
            .ok()
            .and_then(|text| known(&String::from_utf8_lossy(&text), LAST_SUCCESS)),
    };
    let text = metrics(ended, last_success, targets);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    remove_left(folder, ended.at);
    let mut temporary = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(fault)?;
    temporary.write_all(text.as_bytes()).map_err(fault)?;
    // The collector needs read permission, which the umask may have removed.
    temporary.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(fault)?;
    give_to_owner_of(folder, temporary.as_file());
    temporary.persist(path).map_err(|error| fault(error.error))?;
    Ok(())
}

/// Removes unfinished files of killed runs. Recent ones stay, because another run may be writing them.
fn remove_left(folder: &Path, now: Timestamp) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        let modified = || Timestamp::try_from(entry.metadata().ok()?.modified().ok()?).ok();
        if is_ours
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && modified().is_some_and(|at| now.duration_since(at) > A_MINUTE)
        {
            // Another run may remove it first.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The value of a metric in an earlier file.
fn known(text: &str, name: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn metrics<'a>(
    ended: Ended,
    last_success: Option<i64>,
    targets: impl Iterator<Item = (&'a TargetId, Option<&'a PollState>, Option<&'a OpenDeployments>)>,
) -> String {
    let mut statuses: BTreeMap<&str, usize> =
        Status::VARIANTS.iter().map(|status| (status.as_str(), 0)).collect();
    let (mut by_target, mut pending) = (Vec::new(), Vec::new());
    for (id, state, open) in targets {
        let is_dead = open.is_some_and(|open| open.dead.is_some());
        let status = match state {
            // The poll that went back, before the failed deployment counts.
            Some(PollState { status: Some(Status::RolledBack), .. }) => Some(Status::RolledBack),
            _ if is_dead => Some(Status::Dead),
            Some(state) if state.failing.is_some() => Some(Status::Unknown),
            Some(state) => state.status,
            None => None,
        };
        let labels = format!("project=\"{}\",stage=\"{}\"", id.project, id.stage);
        if let Some(status) = status {
            *statuses.entry(status.as_str()).or_default() += 1;
            by_target.push(format!("{{{labels},status=\"{}\"}} 1", status.as_str()));
        }
        let is_pending = open.is_some_and(|open| open.pending.is_some() || open.running.is_some());
        pending.push(format!("{{{labels}}} {}", u8::from(is_pending)));
    }
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, lines: Vec<String>| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        lines.iter().for_each(|line| text.push_str(&format!("{name}{line}\n")));
    };
    let second = ended.at.as_second();
    gauge("tagship_last_run_timestamp_seconds", "When the last run ended.", vec![format!(" {second}")]);
    gauge(
        LAST_SUCCESS,
        "When the last run without a failure ended.",
        last_success.map(|second| format!(" {second}")).into_iter().collect(),
    );
    gauge(
        "tagship_run_duration_seconds",
        "How long the last run took.",
        vec![format!(" {:.3}", ended.duration.as_secs_f64())],
    );
    gauge(
        "tagship_targets",
        "Targets by the status of their last poll.",
        statuses.iter().map(|(status, count)| format!("{{status=\"{status}\"}} {count}")).collect(),
    );
    gauge("tagship_target_status", "1 for the status of each target at its last poll.", by_target);
    gauge(
        "tagship_deployments_pending",
        "1 for each target with an open deployment, 0 for the others.",
        pending,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Name;

    #[test]
    fn a_target_counts_once_by_its_status() {
        let id = |stage| TargetId { project: Name::new("shop").unwrap(), stage: Name::new(stage).unwrap() };
        let (dev, prod, new) = (id("dev"), id("prod"), id("new"));
        let state = PollState { status: Some(Status::UpToDate), ..PollState::default() };
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let ended = Ended { at, duration: Duration::from_millis(1500), succeeded: true };
        let targets = [(&dev, Some(&state), None), (&prod, Some(&state), None), (&new, None, None)];
        let text = metrics(ended, Some(7), targets.into_iter());
        for line in [
            "tagship_last_run_timestamp_seconds 1800000000",
            "tagship_last_success_timestamp_seconds 7",
            "tagship_run_duration_seconds 1.500",
            "tagship_targets{status=\"up_to_date\"} 2",
            "tagship_targets{status=\"failed\"} 0",
            "tagship_target_status{project=\"shop\",stage=\"dev\",status=\"up_to_date\"} 1",
            "tagship_deployments_pending{project=\"shop\",stage=\"new\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.as_bytes().starts_with(BEGINNING));
        assert_eq!(known(&text, LAST_SUCCESS), Some(7));
    }
}
