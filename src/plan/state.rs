//! What is remembered of a target between polls.

use jiff::Timestamp;

use super::status::{Failure, Status};
use crate::reference::{Digest, ListedTag, Repository, Tag};
use crate::target::{Name, TargetId};

/// A target's row. The default is a target that was never polled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PollState {
    /// The rule it was decided by; None until a first poll (or `mark`) succeeded.
    pub(crate) rule: Option<String>,
    /// The newest matching tag at the last successful poll.
    pub(crate) last_polled_tag: Option<Tag>,
    /// The newest tag ever baselined, marked or given to the stage, as it was listed then.
    pub(crate) high_water: Option<ListedTag>,
    pub(crate) deployed: Option<Deployed>,
    /// How many tags the last successful listing had.
    pub(crate) tags_listed: usize,
    /// The last successful poll.
    pub(crate) polled_at: Option<Timestamp>,
    /// The last poll, successful or not.
    pub(crate) checked_at: Option<Timestamp>,
    /// Polls that failed since the last successful one.
    pub(crate) failing: Option<Failing>,
    /// What the last successful poll (or its deployment) came to.
    pub(crate) status: Option<Status>,
    /// What people were last told, so that they are told what changes.
    pub(crate) told: Option<Told>,
}

/// What a stage runs, as far as tagship knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deployed {
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
    pub(crate) at: Timestamp,
    pub(crate) by: DecidedBy,
}

/// Who gave a tag to a stage, or said that it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecidedBy {
    Poll,
    Mark,
}

/// An outage of one target's checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    pub(crate) since: Timestamp,
    pub(crate) count: u32,
    /// When people were last told of it.
    pub(crate) told_at: Option<Timestamp>,
    pub(crate) failure: Failure,
}

/// What people were told of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: Status,
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
    pub(crate) state: DeploymentState,
    /// How many attempts were started.
    pub(crate) attempts: u32,
    pub(crate) created_at: Timestamp,
    /// What high-water was before this tag raised it: given back if the tag is deleted undeployed.
    pub(crate) high_water_before: Option<ListedTag>,
}

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeploymentState {
    /// Recorded, to be started (again).
    Pending,
    /// Started; where no process holds the target's lock, interrupted.
    Running,
    Succeeded,
    /// Given up.
    Dead,
    /// A newer tag took its place.
    Superseded,
    /// Its tag is gone, or the rule does not take it any more.
    Dropped,
}

/// A target's deployments that are not over: at most one of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenDeployments {
    pub(crate) pending: Option<Deployment>,
    pub(crate) running: Option<Deployment>,
}

/// A word of the state file that this program does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {what}")]
pub(crate) struct InvalidWord {
    pub(crate) what: &'static str,
    pub(crate) word: String,
}

impl DecidedBy {
    const ALL: [DecidedBy; 2] = [DecidedBy::Poll, DecidedBy::Mark];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            DecidedBy::Poll => "poll",
            DecidedBy::Mark => "mark",
        }
    }
}

impl DeploymentState {
    const ALL: [DeploymentState; 6] = [
        DeploymentState::Pending,
        DeploymentState::Running,
        DeploymentState::Succeeded,
        DeploymentState::Dead,
        DeploymentState::Superseded,
        DeploymentState::Dropped,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            DeploymentState::Pending => "pending",
            DeploymentState::Running => "running",
            DeploymentState::Succeeded => "succeeded",
            DeploymentState::Dead => "dead",
            DeploymentState::Superseded => "superseded",
            DeploymentState::Dropped => "dropped",
        }
    }
}

macro_rules! from_its_word {
    ($($name:ty, $what:literal, $all:expr);*) => {$(
        impl std::str::FromStr for $name {
            type Err = InvalidWord;

            fn from_str(word: &str) -> Result<Self, InvalidWord> {
                $all.into_iter()
                    .find(|value| value.as_str() == word)
                    .ok_or_else(|| InvalidWord { what: $what, word: word.to_owned() })
            }
        }
    )*};
}
from_its_word! {
    DecidedBy, "origin of a deployment", DecidedBy::ALL;
    DeploymentState, "state of a deployment", DeploymentState::ALL;
    Status, "status", Status::ALL;
    super::status::ErrorCode, "error code", super::status::ErrorCode::ALL
}
