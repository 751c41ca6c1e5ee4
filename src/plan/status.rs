//! What can be said of a target, and what can have gone wrong with it.

use serde::{Deserialize, Serialize};

/// What a poll says of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    Unknown,
}

impl Status {
    pub(crate) const ALL: [Status; 17] = [
        Status::Deployed,
        Status::Adopted,
        Status::WouldDeploy,
        Status::Available,
        Status::Baseline,
        Status::UpToDate,
        Status::Waiting,
        Status::Held,
        Status::Older,
        Status::Behind,
        Status::NoMatch,
        Status::Deploying,
        Status::Pending,
        Status::Retrying,
        Status::Failed,
        Status::Dead,
        Status::Unknown,
    ];

    /// As outputs and the state spell it: `up_to_date`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Deployed => "deployed",
            Status::Adopted => "adopted",
            Status::WouldDeploy => "would_deploy",
            Status::Available => "available",
            Status::Baseline => "baseline",
            Status::UpToDate => "up_to_date",
            Status::Waiting => "waiting",
            Status::Held => "held",
            Status::Older => "older",
            Status::Behind => "behind",
            Status::NoMatch => "no_match",
            Status::Deploying => "deploying",
            Status::Pending => "pending",
            Status::Retrying => "retrying",
            Status::Failed => "failed",
            Status::Dead => "dead",
            Status::Unknown => "unknown",
        }
    }

    /// Something new was found or deployed: exit 3 with `--exit-code`.
    pub(crate) fn is_change(self) -> bool {
        matches!(self, Status::Deployed | Status::Adopted | Status::WouldDeploy | Status::Available)
    }

    /// A check or a deployment failed in this run: exit 1.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Status::Failed | Status::Dead | Status::Unknown)
    }
}

/// What went wrong, as `error.code` of the JSON output has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// The target's lock or its rows in the state cannot be used.
    State,
    Command,
    Http,
    Timeout,
    /// The stage does not run what was deployed.
    Verify,
}

impl ErrorCode {
    pub(crate) const ALL: [ErrorCode; 14] = [
        ErrorCode::Unauthorized,
        ErrorCode::Denied,
        ErrorCode::NotFound,
        ErrorCode::RateLimited,
        ErrorCode::Unavailable,
        ErrorCode::Protocol,
        ErrorCode::OutOfTime,
        ErrorCode::Secret,
        ErrorCode::Running,
        ErrorCode::State,
        ErrorCode::Command,
        ErrorCode::Http,
        ErrorCode::Timeout,
        ErrorCode::Verify,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::Denied => "denied",
            ErrorCode::NotFound => "not_found",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Protocol => "protocol",
            ErrorCode::OutOfTime => "out_of_time",
            ErrorCode::Secret => "secret",
            ErrorCode::Running => "running",
            ErrorCode::State => "state",
            ErrorCode::Command => "command",
            ErrorCode::Http => "http",
            ErrorCode::Timeout => "timeout",
            ErrorCode::Verify => "verify",
        }
    }
}

/// An error of a check or a deployment, ready to be told: secrets masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    /// What, where, what to do.
    pub(crate) message: String,
}

impl Failure {
    /// `timeout: …`
    pub(crate) fn described(&self) -> String {
        format!("{}: {}", self.code.as_str(), self.message)
    }
}
