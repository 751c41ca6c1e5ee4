//! What can be said of a target, and what can have gone wrong with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// What a poll says of a target.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
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
pub(crate) enum Status {
    Deployed,
    /// The stage had it already.
    Adopted,
    WouldDeploy,
    Available,
    Baseline,
    UpToDate,
    Waiting,
    Held,
    Older,
    Behind,
    NoMatch,
    /// Another run deploys to it right now.
    Deploying,
    /// Recorded and not started.
    Pending,
    /// Failed, and to be tried again later.
    Retrying,
    Failed,
    Dead,
    /// Given up, and what the stage ran before is deployed again.
    RolledBack,
    Unknown,
}

impl Status {
    /// As outputs and the state spell it: `up_to_date`.
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// Something new was found or deployed: exit 3 with `--exit-code`.
    pub(crate) fn is_change(self) -> bool {
        matches!(self, Status::Deployed | Status::Adopted | Status::WouldDeploy | Status::Available)
    }

    /// A check or a deployment failed in this run: exit 1.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Status::Failed | Status::Dead | Status::RolledBack | Status::Unknown)
    }
}

/// What went wrong, as `error.code` of the JSON output has it.
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
pub(crate) enum ErrorCode {
    Unauthorized,
    Denied,
    NotFound,
    RateLimited,
    Unavailable,
    Protocol,
    OutOfTime,
    Secret,
    /// The stage does not say what it runs.
    Running,
    /// A command or a request of `gate` gave no answer.
    Gate,
    /// The target's lock or its rows in the state cannot be used.
    State,
    Command,
    Http,
    Timeout,
    /// The stage does not run what was deployed.
    Verify,
}

impl ErrorCode {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An error of a check or a deployment, ready to be told: secrets masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Error")]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    /// What, where, and what to do, for people.
    pub(crate) message: String,
}

impl Failure {
    /// `timeout: …`
    pub(crate) fn described(&self) -> String {
        format!("{}: {}", self.code.as_str(), self.message)
    }
}
