//! What tagship remembers about a target between polls.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::gate::is_too_far_ahead;
use super::status::{Failure, Status};
use crate::policy::{Candidate, Policy};
use crate::reference::{Digest, ListedTag, Platforms, Repository, Tag};
use crate::target::{Name, Target, TargetId};

/// A target's state. The default is a target that was never polled.
///
/// The store keeps it as one JSON document. Every field of the first version is required, even if it may be
/// null, and an unknown field is an error: a missing high-water must never read as "nothing was deployed". A
/// field added later has a default and raises the version of the tables. A field that every poll changes is not part
/// of the document, but a column, because an idle poll writes no document: see `polled_at`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PollState {
    /// The rule of the last decision; None until a first poll (or `mark`) succeeds.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) rule: Option<String>,
    /// The newest matching tag at the last successful poll.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) last_polled_tag: Option<Tag>,
    /// The newest tag that was ever a baseline, marked or deployed, as it was listed then.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) high_water: Option<ListedTag>,
    /// A tag that was marked or deployed manually by name; the next listing gives its place in the order.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) marked: Option<Tag>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) deployed: Option<Deployed>,
    /// The candidates newer than high-water, newest first, at most 50.
    pub(crate) candidates: Vec<SeenCandidate>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) hold: Option<Hold>,
    /// The version that `mark --reset` last changed: tags deployed up to it may be deployed again.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) reset: Option<i64>,
    /// How many tags the last successful listing had.
    pub(crate) tags_listed: usize,
    /// The last listing that was read in full, or followed through the feed without a gap; None: what the state
    /// remembers is not enough for a decision.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) listed: Option<LastListed>,
    /// Raised by every change of the target's rows, except of `polled_at` and `checked_at`: a decision is
    /// recorded only if the version is still the one it was based on.
    #[serde(skip)]
    pub(crate) version: i64,
    /// Targets that polls repeatedly find unchanged together share one row for `polled_at` and `checked_at`;
    /// None: the target has its own.
    #[serde(skip)]
    pub(crate) round: Option<i64>,
    /// The last successful poll. Has its own column, as `checked_at` does, so that an idle poll writes no
    /// document.
    #[serde(skip)]
    pub(crate) polled_at: Option<Timestamp>,
    /// The last poll, successful or not.
    #[serde(skip)]
    pub(crate) checked_at: Option<Timestamp>,
    /// The outage, if polls have failed since the last successful one.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) failing: Option<Failing>,
    /// The result of the last successful poll, or of its deployment.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) status: Option<Status>,
    /// The reason of that status, and when it can end, if known.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) reason: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) until: Option<Timestamp>,
    /// The last edit of the rule.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) edit: Option<Edit>,
    /// The status that was last reported to people: only changes are reported.
    #[serde(rename = "told", deserialize_with = "Option::deserialize")]
    pub(crate) last_reported: Option<LastReported>,
    /// Added later.
    #[serde(default)]
    pub(crate) baseline: Option<Baseline>,
    /// With `digest = true` and `platforms`: the platform digests behind high-water's digest. Added later.
    #[serde(default)]
    pub(crate) given_platforms: Option<GivenPlatforms>,
}

/// The platform digests behind a deployed digest: other platforms of the index may change without a
/// deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenPlatforms {
    /// The deployed digest.
    pub(crate) digest: Digest,
    /// What the tag points at now; the stage's platforms are unchanged.
    pub(crate) now: Platforms,
}

/// An edit of the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// The poll that found it.
    pub(crate) at: Timestamp,
    pub(crate) rule_before: String,
    /// The high-water tag under the old rule.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) high_water_before: Option<Tag>,
}

impl PollState {
    /// Keeps only the candidates that are newer than the given tag.
    pub(super) fn keep_candidates_newer_than(&mut self, given: &Candidate, policy: &Policy) {
        self.candidates.retain(|seen| {
            policy.candidate(&seen.listed()).is_some_and(|candidate| candidate.is_newer_than(given))
        });
    }

    /// The tag that the stage runs, if known.
    pub(crate) fn deployed_tag(&self) -> Option<Tag> {
        self.deployed.as_ref().map(|deployed| deployed.tag.clone())
    }

    /// Whether the stage is known to run something other than high-water: another tag, or another image of the tag if
    /// `digest = true` follows it.
    pub(crate) fn is_behind(&self, target: &Target) -> bool {
        let (Some(deployed), Some(given)) = (&self.deployed, &self.high_water) else {
            return false;
        };
        // Other platforms of the deployed index may have changed since.
        let same = self.given_platforms.as_ref().filter(|known| known.now.of == given.digest);
        let is_other_image = |digest: &Digest| {
            given.digest.as_ref().is_some_and(|given| given != digest)
                && same.is_none_or(|same| same.digest != *digest)
        };
        deployed.tag != given.tag || (target.digest && deployed.digest.as_ref().is_some_and(is_other_image))
    }

    /// Whether another tag was marked after the deployment was planned, and the next listing gives its place in the
    /// order: which of them is newer is not known. (A deployment that was planned later follows on the marked tag.)
    pub(crate) fn is_marked_beside(&self, deployment: &Deployment) -> bool {
        let is_known =
            |marked: &Tag| *marked == deployment.tag || deployment.previous_tag.as_ref() == Some(marked);
        self.marked.as_ref().is_some_and(|marked| !is_known(marked))
    }

    /// Whether the row of a table with `images` has something that people should know.
    pub(crate) fn is_of_a_faulty_table(&self) -> bool {
        self.failing.is_some() || self.status == Some(Status::NoMatch)
    }

    /// Notes what became of a poll, or of its deployment.
    pub(crate) fn came_to(&mut self, status: Status, reason: Option<String>, until: Option<Timestamp>) {
        self.status = Some(status);
        self.reason = reason;
        self.until = until;
    }
}

/// How current a target's knowledge of its repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LastListed {
    /// The generation of the feed, read before the listing.
    #[serde(deserialize_with = "generation")]
    pub(crate) generation: i64,
    /// When the full list was last read.
    pub(crate) at: Timestamp,
    /// The registry's address.
    pub(crate) from: String,
}

/// What a stage runs, as far as tagship knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deployed {
    pub(crate) tag: Tag,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) digest: Option<Digest>,
    pub(crate) at: Timestamp,
    pub(crate) by: Trigger,
}

/// A candidate that is not deployed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeenCandidate {
    pub(crate) tag: Tag,
    /// When the registry says it was pushed.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) pushed_at: Option<Timestamp>,
    /// The registry's sequence number.
    #[serde(default)]
    pub(crate) sequence: Option<i64>,
    pub(crate) first_seen: Timestamp,
    /// With `digest = true`: the digest that is not deployed yet.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) digest: Option<Digest>,
    /// With `digest = true`: the last poll at which the tag had the digest before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moved_after: Option<Timestamp>,
    /// The tag's digest when it was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked_digest: Option<Digest>,
}

impl SeenCandidate {
    /// The tag as it was listed, without a digest.
    pub(crate) fn listed(&self) -> ListedTag {
        ListedTag { pushed_at: self.pushed_at, sequence: self.sequence, ..ListedTag::named(self.tag.clone()) }
    }
}

/// The newest tag at the first poll. The stage may have run another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    pub(crate) tag: Tag,
    pub(crate) at: Timestamp,
}

/// A hold: no automatic deployments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) reason: Option<String>,
    /// The login name of the person who set it.
    pub(crate) by: String,
    pub(crate) since: Timestamp,
    /// None: until `tagship release`.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) until: Option<Timestamp>,
}

impl Hold {
    /// Whether it is in force now.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| {
            let lasting = until.duration_since(self.since).unsigned_abs();
            now < until && !is_too_far_ahead(self.since, lasting, now)
        })
    }

    /// `held by alice: release freeze`
    pub(crate) fn describe(&self) -> String {
        match &self.reason {
            Some(reason) => format!("held by {}: {reason}", self.by),
            None => format!("held by {}", self.by),
        }
    }
}

/// A time in which a stage ran a tag: from one successful (or marked) deployment to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StageRun {
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    pub(crate) from: Timestamp,
    /// None: the stage still runs it.
    pub(crate) until: Option<Timestamp>,
    pub(crate) by: Trigger,
    /// The next run was an older tag.
    pub(crate) left_by_going_back: bool,
}

/// A deployment that was started and has not succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    pub(crate) by: Trigger,
}

/// What caused a deployment, or recorded one.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Trigger {
    Poll,
    /// `tagship deploy`
    #[serde(rename = "hand")]
    #[strum(serialize = "hand")]
    Manual,
    Mark,
    /// The stage's probe (`running`) reported it.
    #[serde(rename = "running")]
    #[strum(serialize = "running")]
    Probe,
    /// `tagship rollback`, or `on_failure = "previous"`.
    Rollback,
}

/// An outage: one target's polls fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failing {
    pub(crate) since: Timestamp,
    pub(crate) count: u32,
    /// When it was last reported to people.
    #[serde(rename = "told_at", deserialize_with = "Option::deserialize")]
    pub(crate) reported_at: Option<Timestamp>,
    pub(crate) failure: Failure,
}

/// The status and tag that were last reported to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LastReported {
    pub(crate) status: Status,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) tag: Option<Tag>,
}

/// The deployment of one tag and digest to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deployment {
    /// UUID v7, the same through every attempt.
    pub(crate) id: String,
    pub(crate) target: TargetId,
    pub(crate) registry: Name,
    pub(crate) repository: Repository,
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    /// The deployed tag when this deployment was planned.
    pub(crate) previous_tag: Option<Tag>,
    pub(crate) by: Trigger,
    /// The login name of the person who deployed or marked it.
    pub(crate) by_whom: Option<String>,
    pub(crate) state: DeploymentState,
    /// How many attempts were started.
    pub(crate) attempts: u32,
    /// How many of them no longer count, after `tagship retry` or an interruption.
    pub(crate) attempts_forgiven: u32,
    /// The earliest next attempt; None: now.
    pub(crate) next_attempt: Option<NextAttempt>,
    pub(crate) created_at: Timestamp,
    /// Whether its tag is older than one deployed before.
    pub(crate) goes_back: bool,
    /// High-water before this tag raised it: restored if the tag is deleted before it is deployed.
    pub(crate) high_water_before: Option<ListedTag>,
}

/// When a failed deployment is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextAttempt {
    pub(crate) at: Timestamp,
    /// When the failed attempt ended, by the clock at that time.
    pub(crate) failed_at: Timestamp,
}

impl Deployment {
    /// Whether it is the rollback after a failed deployment, and not one by a person.
    pub(crate) fn is_automatic_rollback(&self) -> bool {
        self.by == Trigger::Rollback && self.by_whom.is_none()
    }

    /// A deployment planned now.
    pub(crate) fn new(
        id: String,
        target: &Target,
        tag: Tag,
        digest: Option<Digest>,
        by: Trigger,
        now: Timestamp,
    ) -> Deployment {
        Deployment {
            id,
            target: target.id.clone(),
            registry: target.registry.clone(),
            repository: target.image.repository.clone(),
            tag,
            digest,
            previous_tag: None,
            by,
            by_whom: None,
            state: DeploymentState::Pending,
            attempts: 0,
            attempts_forgiven: 0,
            next_attempt: None,
            created_at: now,
            goes_back: false,
            high_water_before: None,
        }
    }
}

/// The state of a deployment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum DeploymentState {
    /// Planned, or to be retried.
    Pending,
    /// Started; interrupted, if no process holds the target's lock.
    Running,
    Succeeded,
    /// tagship gave up: until `tagship retry`, a newer tag, or a manual deployment.
    Dead,
    /// Replaced by a newer tag.
    Superseded,
    /// Its tag was deleted, or the rule no longer matches it.
    Dropped,
}

/// A target's unfinished deployments: at most one of each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenDeployments {
    pub(crate) pending: Option<Deployment>,
    pub(crate) running: Option<Deployment>,
    pub(crate) dead: Option<Deployment>,
}

impl OpenDeployments {
    /// The pending deployment, or the dead one.
    pub(crate) fn undelivered(&self) -> Option<&Deployment> {
        self.pending.as_ref().or(self.dead.as_ref())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Deployment> {
        [&self.pending, &self.running, &self.dead].into_iter().flatten()
    }

    /// False: it is over.
    pub(crate) fn has(&self, deployment: &Deployment) -> bool {
        self.all().any(|open| open.id == deployment.id)
    }

    pub(crate) fn filtered(&self, is_kept: impl Fn(&Deployment) -> bool) -> OpenDeployments {
        let kept = |open: &Option<Deployment>| open.clone().filter(&is_kept);
        OpenDeployments { pending: kept(&self.pending), running: kept(&self.running), dead: kept(&self.dead) }
    }

    pub(crate) fn insert(&mut self, deployment: Deployment) {
        match deployment.state {
            DeploymentState::Running => self.running = Some(deployment),
            DeploymentState::Dead => self.dead = Some(deployment),
            _ => self.pending = Some(deployment),
        }
    }
}

/// Reads a generation. A number beyond what polls can reach is an error.
fn generation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    u32::deserialize(deserializer).map(i64::from)
}

impl Trigger {
    /// Whether a person asked for it: then hold, window and gates do not apply.
    pub(crate) fn is_manual(self) -> bool {
        matches!(self, Trigger::Manual | Trigger::Rollback)
    }

    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

impl DeploymentState {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests;
