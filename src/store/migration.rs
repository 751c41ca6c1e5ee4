//! The tables, as numbered steps that are appended and never edited. The file's stamp contains the number of
//! the last step; `application_id` distinguishes the file from other programs' files.

use rusqlite::{Connection, TransactionBehavior};

use super::stamp::Stamp;
use super::{StoreError, sqlite};

/// "tags" in ASCII.
const APPLICATION_ID: i64 = 0x7461_6773;

const MIGRATIONS: &[&str] = &[
    // 1
    "CREATE TABLE poll_state (
        project TEXT NOT NULL,
        stage TEXT NOT NULL,
        rule TEXT,
        last_polled_tag TEXT,
        high_water_tag TEXT,
        high_water_pushed_at TEXT,
        high_water_sequence INTEGER,
        high_water_digest TEXT,
        marked_tag TEXT,
        deployed_tag TEXT,
        deployed_digest TEXT,
        deployed_at TEXT,
        deployed_by TEXT,
        candidates TEXT,
        hold_reason TEXT,
        hold_by TEXT,
        hold_since TEXT,
        hold_until TEXT,
        reset_at TEXT,
        tags_listed INTEGER NOT NULL,
        polled_at TEXT,
        checked_at TEXT,
        failing_since TEXT,
        failing_count INTEGER NOT NULL,
        failing_told_at TEXT,
        failing_code TEXT,
        failing_message TEXT,
        status TEXT,
        told_status TEXT,
        told_tag TEXT,
        left_at TEXT,
        PRIMARY KEY (project, stage)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE deployment (
        id TEXT NOT NULL PRIMARY KEY,
        project TEXT NOT NULL,
        stage TEXT NOT NULL,
        registry TEXT NOT NULL,
        repository TEXT NOT NULL,
        tag TEXT NOT NULL,
        digest TEXT,
        previous_tag TEXT,
        decided_by TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        ended_at TEXT,
        reason TEXT,
        goes_back INTEGER NOT NULL,
        high_water_before TEXT
    ) STRICT;
    CREATE UNIQUE INDEX deployment_pending ON deployment (project, stage) WHERE state = 'pending';
    CREATE UNIQUE INDEX deployment_running ON deployment (project, stage) WHERE state = 'running';
    CREATE INDEX deployment_of_target ON deployment (project, stage, created_at);
    CREATE INDEX deployment_ended ON deployment (ended_at) WHERE ended_at IS NOT NULL;

    CREATE TABLE attempt (
        deployment_id TEXT NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        exit_status INTEGER,
        http_status INTEGER,
        error_code TEXT,
        error TEXT,
        output TEXT,
        PRIMARY KEY (deployment_id, number)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE sighting (
        project TEXT NOT NULL,
        stage TEXT NOT NULL,
        tag TEXT NOT NULL,
        first_seen TEXT NOT NULL,
        PRIMARY KEY (project, stage, tag)
    ) STRICT, WITHOUT ROWID;",
    // 2
    "ALTER TABLE deployment ADD COLUMN attempts_forgiven INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE deployment ADD COLUMN next_attempt_at TEXT;
    ALTER TABLE deployment ADD COLUMN failed_at TEXT;
    CREATE UNIQUE INDEX deployment_dead ON deployment (project, stage) WHERE state = 'dead';

    CREATE TABLE notification (
        id TEXT NOT NULL PRIMARY KEY,
        receiver TEXT NOT NULL,
        project TEXT NOT NULL,
        stage TEXT NOT NULL,
        event TEXT NOT NULL,
        tag TEXT,
        digest TEXT,
        previous_tag TEXT,
        deployment_id TEXT,
        error TEXT,
        created_at TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt_at TEXT,
        failed_at TEXT,
        ended_at TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX notification_pending ON notification (created_at) WHERE ended_at IS NULL;
    CREATE INDEX notification_of_target ON notification (project, stage, event);",
    // 3
    "ALTER TABLE poll_state ADD COLUMN listed_generation INTEGER;
    ALTER TABLE poll_state ADD COLUMN listed_at TEXT;
    ALTER TABLE poll_state ADD COLUMN listed_from TEXT;

    CREATE TABLE feed (
        registry TEXT NOT NULL,
        owner TEXT NOT NULL,
        cursor TEXT,
        generation INTEGER NOT NULL,
        all_generation INTEGER NOT NULL,
        PRIMARY KEY (registry, owner)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE feed_repository (
        registry TEXT NOT NULL,
        owner TEXT NOT NULL,
        repository TEXT NOT NULL,
        changed_generation INTEGER NOT NULL,
        PRIMARY KEY (registry, owner, repository)
    ) STRICT, WITHOUT ROWID;",
    // 4
    "CREATE TABLE registry (
        registry TEXT NOT NULL PRIMARY KEY,
        not_before TEXT NOT NULL,
        said_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;",
    // 5
    "ALTER TABLE poll_state ADD COLUMN reason TEXT;
    ALTER TABLE poll_state ADD COLUMN reason_until TEXT;
    ALTER TABLE poll_state ADD COLUMN edited_at TEXT;
    ALTER TABLE poll_state ADD COLUMN rule_before TEXT;
    ALTER TABLE poll_state ADD COLUMN high_water_before_edit TEXT;
    ALTER TABLE deployment ADD COLUMN decided_by_whom TEXT;",
    // 6
    "CREATE TABLE housekeeping (
        pruned_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX deployment_succeeded ON deployment (project, stage, ended_at) WHERE state = 'succeeded';
    CREATE INDEX notification_ended ON notification (ended_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX deployment_of_tag ON deployment (project, stage, tag);",
    // 7: the state of a target is one document. Half a hold, or half a high-water, stays unreadable.
    "CREATE TABLE target_state (
        project TEXT NOT NULL,
        stage TEXT NOT NULL,
        polled_at TEXT,
        checked_at TEXT,
        left_at TEXT,
        document TEXT NOT NULL,
        PRIMARY KEY (project, stage)
    ) STRICT;
    INSERT INTO target_state SELECT project, stage, polled_at, checked_at, left_at, json_object(
        'rule', rule,
        'last_polled_tag', last_polled_tag,
        'high_water', json(CASE WHEN coalesce(high_water_tag, high_water_pushed_at, high_water_sequence,
            high_water_digest) IS NOT NULL THEN json_object('tag', high_water_tag, 'pushed_at', high_water_pushed_at,
            'sequence', high_water_sequence, 'digest', high_water_digest) END),
        'marked', marked_tag,
        'deployed', json(CASE WHEN deployed_tag IS NOT NULL THEN json_object('tag', deployed_tag,
            'digest', deployed_digest, 'at', deployed_at, 'by', deployed_by) END),
        'candidates', json(coalesce(candidates, '[]')),
        'hold', json(CASE WHEN coalesce(hold_by, hold_reason, hold_since, hold_until) IS NOT NULL
            THEN json_object('reason', hold_reason, 'by', hold_by, 'since', hold_since, 'until', hold_until) END),
        'reset_at', reset_at,
        'tags_listed', tags_listed,
        'listed', json(CASE WHEN listed_from IS NOT NULL THEN json_object('generation', listed_generation,
            'at', listed_at, 'from', listed_from) END),
        'failing', json(CASE WHEN failing_since IS NOT NULL THEN json_object('since', failing_since,
            'count', failing_count, 'told_at', failing_told_at,
            'failure', json_object('code', failing_code, 'message', failing_message)) END),
        'status', status,
        'reason', reason,
        'until', reason_until,
        'edit', json(CASE WHEN edited_at IS NOT NULL THEN json_object('at', edited_at, 'rule_before', rule_before,
            'high_water_before', high_water_before_edit) END),
        'told', json(CASE WHEN told_status IS NOT NULL THEN json_object('status', told_status, 'tag', told_tag) END)
    ) FROM poll_state;
    DROP TABLE poll_state;
    ALTER TABLE target_state RENAME TO poll_state;",
    // 8
    "ALTER TABLE attempt ADD COLUMN leader_id INTEGER;
    ALTER TABLE attempt ADD COLUMN leader_started INTEGER;
    ALTER TABLE attempt ADD COLUMN leader_boot_id TEXT;
    ALTER TABLE attempt ADD COLUMN over_by TEXT;",
    // 9
    "ALTER TABLE feed ADD COLUMN owner_id INTEGER;
    ALTER TABLE feed ADD COLUMN owner_login TEXT;
    ALTER TABLE feed_repository ADD COLUMN tags INTEGER;
    ALTER TABLE feed_repository ADD COLUMN tags_at TEXT;",
    // 10
    "ALTER TABLE sighting ADD COLUMN digest TEXT;
    ALTER TABLE sighting ADD COLUMN created TEXT;",
    // 11
    "ALTER TABLE poll_state ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE poll_state ADD COLUMN round INTEGER;
    CREATE TABLE round (id INTEGER PRIMARY KEY, polled_at TEXT NOT NULL) STRICT;",
    // 12: the document of poll_state may contain given_platforms.
    "",
    // 13
    "CREATE TABLE image (
        registry TEXT NOT NULL,
        repository TEXT NOT NULL,
        reported_at TEXT,
        missing_since TEXT,
        retired_at TEXT,
        PRIMARY KEY (registry, repository)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE image_list (
        registry TEXT NOT NULL,
        owner TEXT NOT NULL,
        listed_at TEXT NOT NULL,
        PRIMARY KEY (registry, owner)
    ) STRICT, WITHOUT ROWID;",
    // 14: the target's version when the attempt began, and when the deployment last changed. Times give no order, because
    // clocks are set.
    "ALTER TABLE attempt ADD COLUMN sequence INTEGER;
    ALTER TABLE deployment ADD COLUMN sequence INTEGER;",
    // 15: `reset` replaces `reset_at`, which has nanoseconds where a row has milliseconds: a version, not a time. Deployments
    // without a sequence receive -1 if they were created until the reset, and 0 if later. `reset` is the sequence of the mark;
    // without one, the greatest of the deployments created until the reset; -1 if there are none.
    "CREATE TABLE reset AS
        SELECT project, stage, iif(length(time) > 24, substr(time, 1, 23) || 'Z', strftime('%Y-%m-%dT%H:%M:%fZ', time)) AS at
        FROM (SELECT project, stage, document ->> '$.reset_at' AS time FROM poll_state) WHERE time IS NOT NULL;
    UPDATE deployment SET sequence = CASE WHEN created_at <= reset.at THEN -1 ELSE 0 END FROM reset
        WHERE (reset.project, reset.stage) = (deployment.project, deployment.stage) AND sequence IS NULL;
    UPDATE poll_state SET document = json_set(json_remove(document, '$.reset_at'), '$.reset', NULL);
    UPDATE poll_state SET document = json_set(document, '$.reset', coalesce((
            SELECT max(sequence) FROM deployment
            WHERE (deployment.project, deployment.stage) = (reset.project, reset.stage)
            AND decided_by = 'mark' AND created_at = reset.at), (
            SELECT max(sequence) FROM deployment
            WHERE (deployment.project, deployment.stage) = (reset.project, reset.stage) AND created_at <= reset.at), -1))
        FROM reset WHERE (reset.project, reset.stage) = (poll_state.project, poll_state.stage);
    DROP TABLE reset;",
    // 16: `given` keeps the tags of deleted deployments, because a tag that is pushed again is never new.
    "CREATE TABLE monitor_outage (
        monitor TEXT PRIMARY KEY,
        since TEXT NOT NULL,
        reported_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE given (
        project TEXT NOT NULL,
        stage TEXT NOT NULL,
        tag TEXT NOT NULL,
        given_at TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (project, stage, tag)
    ) STRICT, WITHOUT ROWID;",
];

/// Brings the tables up to this program's version. Writes nothing if they already are.
pub(super) fn run(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    if is_current(connection, place)? {
        return Ok(());
    }
    migrate(connection).map_err(|error| sqlite(place, error))
}

/// Creates the tables of a new file.
pub(super) fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", "ON")?;
    migrate(connection)
}

/// Whether the tables have this program's version; false: they are older.
///
/// # Errors
/// They are newer, or belong to another program.
pub(super) fn is_current(connection: &Connection, place: &str) -> Result<bool, StoreError> {
    let unusable = |message: String| StoreError::Unusable { place: place.to_owned(), message };
    let known = u32::try_from(MIGRATIONS.len()).expect("a handful of migrations");
    match inspect(connection).map_err(|error| sqlite(place, error))? {
        Version::Foreign => Err(unusable(
            "this is another program's SQLite file; choose another path for the state".to_owned(),
        )),
        Version::Ours(version) if version > known => Err(unusable(format!(
            "the state file has version {version}, but this tagship supports versions up to {known}: it was written by a newer tagship; use that one, or restore a copy from before the update"
        ))),
        Version::Ours(version) => Ok(version == known),
    }
}

enum Version {
    Ours(u32),
    Foreign,
}

fn inspect(connection: &Connection) -> rusqlite::Result<Version> {
    connection.pragma_update(None, "foreign_keys", "ON")?;
    let version = Stamp::read(connection)?.version();
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    // Report a damaged schema here, and not at the first query of a run.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(if application == APPLICATION_ID { Version::Ours(version) } else { Version::Foreign })
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again: another process may have migrated it while this one waited.
    let done = usize::try_from(Stamp::read(&transaction)?.version()).expect("7 bits");
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    Stamp::raise(&transaction, u32::try_from(MIGRATIONS.len()).expect("a handful of migrations"))?;
    transaction.commit()
}

/// Creates the tables of this version.
#[cfg(test)]
pub(super) fn make_version(connection: &Connection, version: usize) -> rusqlite::Result<()> {
    MIGRATIONS.iter().take(version).try_for_each(|migration| connection.execute_batch(migration))?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", i64::try_from(version).unwrap_or(i64::MAX))
}
