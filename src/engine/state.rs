//! What is remembered of a target between polls.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::status::{Failure, Status};
use crate::reference::{Digest, ListedTag, Platforms, Repository, Tag};
use crate::target::{Name, Target, TargetId};

/// A target's row. The default is a target that was never polled.
///
/// The store keeps it as one JSON document. Every field of the first document is required, also one that may be
/// null, and an unknown one is an error: a missing high water must never read as "nothing was given". A field that
/// comes later has a default and raises the version of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PollState {
    /// The rule it was decided by; None until a first poll (or `mark`) succeeded.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) rule: Option<String>,
    /// The newest matching tag at the last successful poll.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) last_polled_tag: Option<Tag>,
    /// The newest tag ever baselined, marked or given to the stage, as it was listed then.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) high_water: Option<ListedTag>,
    /// A tag that was marked, or deployed by hand, by its name, whose place in the order the next listing will tell.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) marked: Option<Tag>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) deployed: Option<Deployed>,
    /// The candidates newer than high-water, newest first, at most 50.
    pub(crate) candidates: Vec<Sighted>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) hold: Option<Hold>,
    /// When high-water was last set by `mark --reset`: what was given before may be given again.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) reset_at: Option<Timestamp>,
    /// How many tags the last successful listing had.
    pub(crate) tags_listed: usize,
    /// The last listing that was seen whole, or from the feed without a gap.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) listed: Option<LastListed>,
    /// Raised by every change of the target's rows but for the two moments that follow: a decision is recorded on the
    /// version that it was taken on.
    #[serde(skip)]
    pub(crate) version: i64,
    /// Targets that one poll after the other finds unchanged together have one row for the two moments that follow;
    /// None: the target's own.
    #[serde(skip)]
    pub(crate) round: Option<i64>,
    /// The last successful poll. In a column of its own, as the next one: an idle poll changes no document.
    #[serde(skip)]
    pub(crate) polled_at: Option<Timestamp>,
    /// The last poll, successful or not.
    #[serde(skip)]
    pub(crate) checked_at: Option<Timestamp>,
    /// Polls that failed since the last successful one.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) failing: Option<Failing>,
    /// What the last successful poll (or its deployment) came to.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) status: Option<Status>,
    /// Why, and when that can end, where that can be known.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) reason: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) until: Option<Timestamp>,
    /// The last time that another rule was found than the one decided by before.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) edit: Option<Edit>,
    /// What people were last told, so that they are told what changes.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) told: Option<Told>,
    /// A later field.
    #[serde(default)]
    pub(crate) baseline: Option<Baseline>,
    /// With `digest = true` and `platforms`: what the digest of high-water means for the platforms. A later field.
    #[serde(default)]
    pub(crate) given_platforms: Option<GivenPlatforms>,
}

/// What a digest means for the platforms of a stage: others may change without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenPlatforms {
    /// What the stage was given.
    pub(crate) digest: Digest,
    /// What the tag points at now, the same for the stage's platforms.
    pub(crate) now: Platforms,
}

/// The rule was edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// Of the poll that found it.
    pub(crate) at: Timestamp,
    pub(crate) rule_before: String,
    /// What the stage had been given by it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) high_water_before: Option<Tag>,
}

impl PollState {
    /// What the stage runs, where that is known.
    pub(crate) fn deployed_tag(&self) -> Option<Tag> {
        self.deployed.as_ref().map(|deployed| deployed.tag.clone())
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

/// How far a target knows its repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LastListed {
    /// Of the feed, read before the listing.
    #[serde(deserialize_with = "generation")]
    pub(crate) generation: i64,
    /// The last time that the whole list was read.
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
    pub(crate) by: DecidedBy,
}

/// A candidate that waits, as it was first seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sighted {
    pub(crate) tag: Tag,
    /// When the registry says it was pushed.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) pushed_at: Option<Timestamp>,
    /// The registry's own.
    #[serde(default)]
    pub(crate) sequence: Option<i64>,
    pub(crate) first_seen: Timestamp,
    /// With `digest = true`: the digest that waits.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) digest: Option<Digest>,
    /// What the tag pointed at when that was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked_digest: Option<Digest>,
}

/// Where a first poll began: what it found, which is not what the stage ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    pub(crate) tag: Tag,
    pub(crate) at: Timestamp,
}

/// Automatic deployments are stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) reason: Option<String>,
    /// The login name of who did it.
    pub(crate) by: String,
    pub(crate) since: Timestamp,
    /// None: until `tagship release`.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) until: Option<Timestamp>,
}

impl Hold {
    /// Whether it stops deployments at this moment.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// `held by alice: release freeze`
    pub(crate) fn describe(&self) -> String {
        match &self.reason {
            Some(reason) => format!("held by {}: {reason}", self.by),
            None => format!("held by {}", self.by),
        }
    }
}

/// A tag that a stage ran, from a deployment that succeeded (or was marked) to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StageRun {
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    pub(crate) from: Timestamp,
    /// None: it still runs.
    pub(crate) until: Option<Timestamp>,
    pub(crate) by: DecidedBy,
    /// What came next was an older tag.
    pub(crate) left_by_going_back: bool,
}

/// A deployment that was started, and has not succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    pub(crate) by: DecidedBy,
}

/// Who gave a tag to a stage, or said that it has it.
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
pub(crate) enum DecidedBy {
    Poll,
    /// `tagship deploy`
    Hand,
    Mark,
    /// The stage itself, asked by `running`.
    Running,
    /// `tagship rollback`, or `on_failure = "previous"`.
    Rollback,
}

/// An outage of one target's checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failing {
    pub(crate) since: Timestamp,
    pub(crate) count: u32,
    /// When people were last told of it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) told_at: Option<Timestamp>,
    pub(crate) failure: Failure,
}

/// What people were told of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    pub(crate) status: Status,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) tag: Option<Tag>,
}

/// One tag and digest going to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deployment {
    /// UUID v7, the same through every attempt.
    pub(crate) id: String,
    pub(crate) target: TargetId,
    pub(crate) registry: Name,
    pub(crate) repository: Repository,
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    /// The deployed tag when it was decided.
    pub(crate) previous_tag: Option<Tag>,
    pub(crate) by: DecidedBy,
    /// The login name of who deployed it by hand, or marked it.
    pub(crate) by_whom: Option<String>,
    pub(crate) state: DeploymentState,
    /// How many attempts were started.
    pub(crate) attempts: u32,
    /// How many of them `tagship retry` made count no more.
    pub(crate) attempts_forgiven: u32,
    /// Not before then; None: at once.
    pub(crate) next_attempt: Option<NextAttempt>,
    pub(crate) created_at: Timestamp,
    /// Whether it brings an older tag than the stage was given before.
    pub(crate) goes_back: bool,
    /// What high-water was before this tag raised it: given back if the tag is deleted undeployed.
    pub(crate) high_water_before: Option<ListedTag>,
}

/// When a deployment that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextAttempt {
    pub(crate) at: Timestamp,
    /// The end of the attempt that failed, by the clock of then.
    pub(crate) failed_at: Timestamp,
}

impl Deployment {
    /// Whether a deployment that was given up brought it, and no person did.
    pub(crate) fn is_automatic_rollback(&self) -> bool {
        self.by == DecidedBy::Rollback && self.by_whom.is_none()
    }

    /// One that is decided at this moment, and was not started.
    pub(crate) fn new(
        id: String,
        target: &Target,
        tag: Tag,
        digest: Option<Digest>,
        by: DecidedBy,
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

/// Where a deployment stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum DeploymentState {
    /// Recorded, to be started (again).
    Pending,
    /// Started; where no process holds the target's lock, interrupted.
    Running,
    Succeeded,
    /// Given up: until `tagship retry`, a newer tag, or a deployment by hand.
    Dead,
    /// A newer tag took its place.
    Superseded,
    /// Its tag is gone, or the rule does not take it any more.
    Dropped,
}

/// A target's deployments that are not over or wait for someone: at most one of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenDeployments {
    pub(crate) pending: Option<Deployment>,
    pub(crate) running: Option<Deployment>,
    pub(crate) dead: Option<Deployment>,
}

impl OpenDeployments {
    /// One that waits for its attempt, or was given up.
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

/// A generation that no number of polls can reach is an error.
fn generation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    u32::deserialize(deserializer).map(i64::from)
}

impl DecidedBy {
    /// A person wanted it now: hold, window and gates are not asked.
    pub(crate) fn is_manual(self) -> bool {
        matches!(self, DecidedBy::Hand | DecidedBy::Rollback)
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
