//! The recheck of a planned deployment before it starts: hold, window, and the gates if its tag points at another image.

use jiff::Timestamp;

use super::fact::{Facts, Unknown};
use super::gate::{BlockedBy, GateCheck, other_platforms};
use super::state::{Deployment, PollState, SeenCandidate};
use super::status::{Failure, Status};
use crate::reference::{Digest, ListedTag};
use crate::target::Target;
use crate::target::gate::{Opening, opening};

/// What stops all automatic deployments to the target now, and until when: a hold, or the window.
pub(crate) fn stopped(
    target: &Target,
    state: &PollState,
    now: Timestamp,
) -> Option<(Status, String, Option<Timestamp>)> {
    if let Some(held) = held(target, state, now) {
        return Some(held);
    }
    match opening(&target.gates.windows, now) {
        Opening::Open => None,
        Opening::Closed { until } => Some((Status::Waiting, "outside its window".to_owned(), until)),
    }
}

fn held(target: &Target, state: &PollState, now: Timestamp) -> Option<(Status, String, Option<Timestamp>)> {
    let hold = state.hold.as_ref().filter(|hold| hold.holds(now))?;
    let reason = format!("{}; to resume: tagship release {}", hold.describe(), target.id);
    Some((Status::Held, reason, hold.until))
}

/// What stops a planned deployment from starting now, and until when.
pub(crate) fn withheld(
    target: &Target,
    state: &PollState,
    deployment: &Deployment,
    now: Timestamp,
) -> Option<(Status, String, Option<Timestamp>)> {
    if deployment.is_automatic_rollback() {
        return held(target, state, now);
    }
    if deployment.by.is_manual() { None } else { stopped(target, state, now) }
}

/// Why a planned deployment no longer fits the edited configuration, if so.
pub(crate) fn outdated(target: &Target, deployment: &Deployment) -> Option<String> {
    let Deployment { repository, tag, .. } = deployment;
    if *repository != target.image.repository {
        // The same name would be another image there.
        return Some(format!("{tag} was of {repository}"));
    }
    let is_candidate = target.policy.candidate(&ListedTag::named(tag.clone())).is_some();
    (!is_candidate && !deployment.is_automatic_rollback())
        .then(|| format!("the edited rule does not match {tag}"))
}

/// The gates' answer for a planned deployment whose tag points at another image by now.
#[derive(Debug)]
pub(crate) enum Recheck {
    Passes,
    Blocked { reason: String, until: Option<Timestamp> },
    Unknown(Failure),
}

/// Checks every gate again, for the image that the tag points at now. The facts include its digest.
pub(crate) fn recheck(
    target: &Target,
    state: Option<&PollState>,
    deployment: &Deployment,
    digest: &Digest,
    facts: &dyn Facts,
    now: Timestamp,
) -> Recheck {
    let known = state.and_then(|state| state.high_water.as_ref());
    let listed = known.filter(|listed| listed.tag == deployment.tag).cloned();
    let listed = listed.unwrap_or_else(|| ListedTag::named(deployment.tag.clone()));
    let Some(candidate) = target.policy.candidate(&listed) else {
        return Recheck::Passes;
    };
    let high_water = deployment.high_water_before.as_ref().and_then(|listed| target.policy.candidate(listed));
    let gates = GateCheck { target, facts, high_water: high_water.as_ref(), now };
    let mut seen = SeenCandidate {
        tag: deployment.tag.clone(),
        pushed_at: None,
        sequence: None,
        first_seen: deployment.created_at,
        digest: Some(digest.clone()),
        moved_after: Some(deployment.created_at),
        asked_digest: None,
    };
    let other = || other_platforms(target, facts, &deployment.tag, digest);
    match gates.blocked_by(&candidate, &mut seen).map(|block| block.or_else(other)) {
        Ok(None) | Err(Unknown::NotChecked) => Recheck::Passes,
        Ok(Some(BlockedBy { reason, until, .. })) => Recheck::Blocked { reason, until },
        Err(Unknown::Failed(failure)) => Recheck::Unknown(failure),
    }
}
