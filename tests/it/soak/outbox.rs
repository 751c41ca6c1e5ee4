//! Notifications: every event that a receiver wants arrives, and none again that is known to have arrived.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::state::{count, texts};

/// A notification that came.
#[derive(Clone, Debug)]
pub(super) struct Notified {
    /// The notification's own id.
    pub(super) key: String,
    pub(super) status: String,
    pub(super) deployment_id: String,
    /// The receiver took it: some are lost on the way.
    pub(super) is_taken: bool,
}

/// Everything seen until now.
#[derive(Default)]
pub(super) struct Outbox {
    seen: usize,
    /// Notifications that were recorded as sent before the present ones arrived.
    ended: BTreeSet<String>,
}

impl Outbox {
    pub(super) fn look(&mut self, state: &Connection, told: &[Notified]) {
        for one in &told[self.seen..] {
            assert!(!self.ended.contains(&one.key), "told again: {one:?}");
        }
        self.seen = told.len();
        self.ended.extend(texts(state, "SELECT id FROM notification WHERE ended_at IS NOT NULL"));
    }
}

pub(super) fn is_empty(state: &Connection) -> bool {
    count(state, "notification WHERE ended_at IS NULL") == 0
}

/// When the outbox is empty.
pub(super) fn everything_is_notified(state: &Connection, told: &[Notified]) {
    let taken: BTreeSet<(&str, &str)> = told
        .iter()
        .filter(|one| one.is_taken)
        .map(|one| (one.deployment_id.as_str(), one.status.as_str()))
        .collect();
    // A failure beside a newer pending tag is not notified, nor is one that ended with tagship.
    let failed =
        "SELECT id FROM deployment WHERE (state <> 'superseded' OR reason <> 'failed; a newer tag is pending')
         AND EXISTS (SELECT 1 FROM attempt WHERE deployment_id = id AND error_code IS NOT NULL
             AND error NOT LIKE '%tagship was told to %')";
    for id in texts(state, failed) {
        let is_told = ["failed", "dead"].iter().any(|status| taken.contains(&(id.as_str(), status)));
        let errors = format!("SELECT number || ': ' || error FROM attempt WHERE deployment_id = '{id}'");
        assert!(is_told, "nobody was told that {id} failed: {:?}", texts(state, &errors));
    }
    let deployed = "SELECT id FROM deployment WHERE state = 'succeeded' AND decided_by <> 'mark'
         AND coalesce(reason, '') NOT LIKE '% was marked by %'";
    for id in texts(state, deployed) {
        assert!(taken.contains(&(id.as_str(), "deployed")), "nobody was told that {id} succeeded");
    }
}
