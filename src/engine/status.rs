//! The status of a target, and its errors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// The status of a target after a poll.
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
    /// The stage already ran it.
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
    /// Planned, and not started.
    Pending,
    /// Failed, and will be retried.
    Retrying,
    Failed,
    Dead,
    /// tagship gave up, and deployed the previous tag again.
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

/// The kind of an error, as `error.code` in JSON output spells it.
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
    /// The probe (`running`) gave no usable answer.
    Running,
    /// A `gate` step gave no answer.
    Gate,
    /// The target's lock or its rows in the state cannot be used.
    State,
    Command,
    Http,
    Timeout,
    /// The stage does not run the deployed tag.
    Verify,
}

impl ErrorCode {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An error of a check or a deployment, with secrets masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Error")]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    /// What happened, where, and what to do, for people.
    pub(crate) message: String,
}

impl Failure {
    /// `timeout: …`
    pub(crate) fn described(&self) -> String {
        format!("{}: {}", self.code.as_str(), self.message)
    }
}
