//! decide(): selection + stored state + now -> Decision. Pure.

/// What went wrong, as `error.code` of the JSON output has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    Unauthorized,
    Denied,
    NotFound,
    RateLimited,
    Unavailable,
    Protocol,
    OutOfTime,
    Secret,
    Running,
    Command,
    Http,
    Timeout,
    Verify,
}

impl ErrorCode {
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
            ErrorCode::Command => "command",
            ErrorCode::Http => "http",
            ErrorCode::Timeout => "timeout",
            ErrorCode::Verify => "verify",
        }
    }
}
