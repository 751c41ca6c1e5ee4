//! What came about.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Default)]
pub(super) struct Figures {
    pub(super) polls: u64,
    pub(super) beside: u64,
    pub(super) kills: u64,
    pub(super) clocks: u64,
    /// By SIGTERM or SIGINT.
    pub(super) with_signal: u64,
    /// As a service user, on whose state root runs as well.
    pub(super) of_service: u64,
    /// Files of metrics that killed runs left.
    pub(super) unfinished: u64,
    pub(super) happenings: BTreeMap<&'static str, u64>,
    pub(super) faults: u64,
    pub(super) received: usize,
    pub(super) deployments: usize,
    pub(super) attempts: usize,
    pub(super) size: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} polls ({} beside another, {} killed, {} told to end, {} with another clock, {} as a service user), {} unfinished files, {} faulty answers, {:?}: \
             {} deployments in {} attempts, {} of them received to the end, a state of {} KiB",
            self.polls,
            self.beside,
            self.kills,
            self.with_signal,
            self.clocks,
            self.of_service,
            self.unfinished,
            self.faults,
            self.happenings,
            self.deployments,
            self.attempts,
            self.received,
            self.size / 1024
        )
    }
}
