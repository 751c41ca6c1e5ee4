//! State files of earlier versions: read without writing, brought up to date without losing a value.

use super::*;

/// [`full_state`] as version 6 wrote it: one column for each value.
const FULL_STATE_6: &str = "INSERT INTO poll_state VALUES ('shop', 'dev', 'acme/shop dev-*', 'dev-2', 'dev-2',
    '2026-11-23T15:13:36.123456789Z', 10043, 'sha256:' || replace(hex(zeroblob(32)), '0', 'b'), 'dev-9',
    'dev-1', 'sha256:' || replace(hex(zeroblob(32)), '0', 'c'), '2027-01-15T08:00:01.000Z', 'mark',
    '[{\"tag\":\"dev-3\",\"pushed_at\":\"2027-01-15T08:00:07Z\",\"sequence\":9,
       \"first_seen\":\"2027-01-15T08:00:08Z\",\"digest\":\"sha256:' || replace(hex(zeroblob(32)), '0', 'd') || '\"}]',
    'freeze', 'alice', '2027-01-15T08:00:09.000Z', '2027-01-15T08:00:10.000Z', '2027-01-15T08:00:11.000Z', 3,
    '2027-01-15T08:00:02.000Z', '2027-01-15T08:00:03.000Z', '2027-01-15T08:00:04.000Z', 5,
    '2027-01-15T08:00:06.000Z', 'unavailable', 'no answer', 'deployed', 'available', 'dev-2', NULL,
    7, '2027-01-15T08:00:03.000Z', 'https://git.example.com', 'why', '2027-01-15T08:00:12.000Z',
    '2027-01-15T08:00:13.000Z', 'acme/shop v*', 'v1')";

/// A target with nothing but a hold.
const HELD_6: &str =
    "INSERT INTO poll_state (project, stage, tags_listed, failing_count, hold_by, hold_since)
    VALUES ('shop', 'prod', 0, 0, 'alice', '2027-01-15T08:00:09.000Z')";

fn state_file_of_version_6(folder: &TempDir, rows: &[&str]) -> PathBuf {
    let path = folder.path().join("state.db");
    let connection = Connection::open(&path).unwrap();
    migration::make_version(&connection, 6).unwrap();
    rows.iter().for_each(|row| assert_eq!(connection.execute(row, []).unwrap(), 1));
    path
}

#[test]
fn older_state_is_read_completely_and_without_writing() {
    let folder = TempDir::new().unwrap();
    let path = state_file_of_version_6(&folder, &[FULL_STATE_6, HELD_6]);
    let before = fs::read(&path).unwrap();
    let held = PollState {
        hold: Some(Hold { reason: None, by: "alice".into(), since: moment(9), until: None }),
        ..PollState::default()
    };
    let prod = TargetId { stage: Name::new("prod").unwrap(), ..target() };
    // Its reset has no deployment.
    let full = PollState { version: 0, reset: Some(-1), ..full_state() };
    let expected = HashMap::from([(target(), Box::new(full)), (prod, Box::new(held))]);
    assert_eq!(Store::read(&path, &Cutoff::default()).unwrap().states().unwrap(), expected);
    assert_eq!(fs::read(&path).unwrap(), before);
    let (store, created) = Store::open(&path, &Cutoff::default()).unwrap();
    assert!(!created);
    assert_eq!(store.states().unwrap(), expected);
}

#[test]
fn half_a_hold_or_high_water_of_an_older_state_is_an_error() {
    for half in [
        "hold_by = NULL, hold_reason = NULL, hold_since = NULL",
        "hold_since = NULL",
        "high_water_tag = NULL",
        "deployed_by = NULL",
        "candidates = '[{}]'",
    ] {
        let folder = TempDir::new().unwrap();
        let path = state_file_of_version_6(&folder, &[FULL_STATE_6]);
        let connection = Connection::open(&path).unwrap();
        connection.execute(&format!("UPDATE poll_state SET {half}"), []).unwrap();
        drop(connection);
        assert!(Store::open(&path, &Cutoff::default()).unwrap().0.states().is_err(), "{half}");
    }
}

/// State files of tagship with schema 6: `.dump`, `application_id` and `user_version`.
const EARLIER: [(&str, &str); 7] = [
    ("fresh", include_str!("../../../tests/fixtures/state/fresh.sql")),
    ("pending", include_str!("../../../tests/fixtures/state/pending.sql")),
    ("running", include_str!("../../../tests/fixtures/state/running.sql")),
    ("dead", include_str!("../../../tests/fixtures/state/dead.sql")),
    ("held", include_str!("../../../tests/fixtures/state/held.sql")),
    ("marked", include_str!("../../../tests/fixtures/state/marked.sql")),
    ("sighted", include_str!("../../../tests/fixtures/state/sighted.sql")),
];

/// All values of these columns, in the order of the rows.
fn values(connection: &Connection, columns: &[(String, Vec<String>)]) -> Vec<(String, String)> {
    let mut values = Vec::new();
    for (table, names) in columns {
        let quoted: Vec<String> = names.iter().map(|name| format!("quote({name})")).collect();
        let query = format!("SELECT {} FROM {table} ORDER BY 1", quoted.join(" || ',' || "));
        let mut statement = connection.prepare(&query).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        values.extend(rows.map(|row| (table.clone(), row.unwrap())));
    }
    values
}

fn columns(connection: &Connection) -> Vec<(String, Vec<String>)> {
    let text = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<String> = tables.query_map([], text).unwrap().collect::<Result<_, _>>().unwrap();
    let of = |table: String| {
        let mut names = connection.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
        let names = names.query_map([&table], text).unwrap().collect::<Result<_, _>>().unwrap();
        (table, names)
    };
    tables.into_iter().map(of).collect()
}

#[test]
fn reset_of_an_older_state_is_where_it_was() {
    // Earlier versions recorded no sequence.
    for (sequences, expected) in [
        (&["NULL", "NULL", "NULL"][..], &["dev-3"][..]),
        (&["NULL", "NULL", "4"], &["dev-3"]),
        (&["2", "3", "4"], &["dev-3"]),
        // The last one began after the clock was set back.
        (&["2", "3", "4", "5"], &["dev-3", "dev-4"]),
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state.db");
        let connection = Connection::open(&path).unwrap();
        migration::make_version(&connection, 14).unwrap();
        let mut document = serde_json::to_value(PollState::default()).unwrap();
        let fields = document.as_object_mut().unwrap();
        fields.remove("reset");
        // Rows have milliseconds.
        fields.insert("reset_at".to_owned(), "2027-01-15T08:00:20.000911732Z".into());
        let query =
            "INSERT INTO poll_state (project, stage, document, version) VALUES ('shop', 'dev', ?1, 5)";
        connection.execute(query, [document.to_string()]).unwrap();
        let high_water = serde_json::to_string(&ListedTag::named(tag("dev-0"))).unwrap();
        for (sequence, (tag, second, by)) in sequences.iter().zip([
            ("dev-1", 10, "poll"),
            ("dev-2", 20, "mark"),
            ("dev-3", 30, "poll"),
            ("dev-4", 15, "poll"),
        ]) {
            let row = format!(
                "INSERT INTO deployment (id, project, stage, registry, repository, tag, decided_by, state, attempts,
                     created_at, ended_at, goes_back, sequence, high_water_before)
                 VALUES ('{tag}', 'shop', 'dev', 'git', 'acme/shop', '{tag}', '{by}', 'succeeded', 1,
                     '2027-01-15T08:00:{second}.000Z', '2027-01-15T08:00:{second}.000Z', 0, {sequence},
                     iif('{by}' = 'mark', '{high_water}', NULL))"
            );
            connection.execute(&row, []).unwrap();
        }
        drop(connection);
        let (store, _) = Store::open(&path, &Cutoff::default()).unwrap();
        assert_eq!(given_since_reset(&store), expected, "{sequences:?}");
        let runs = store.runs(&target()).unwrap();
        let runs: Vec<&str> = runs.iter().map(|run| run.tag.as_str()).collect();
        assert_eq!(runs, ["dev-1", "dev-2", "dev-3", "dev-4"][..sequences.len()]);
    }
}

#[test]
fn older_state_file_is_loaded_and_saved_completely() {
    for (name, sql) in EARLIER {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state.db");
        let earlier = Connection::open(&path).unwrap();
        earlier.execute_batch(sql).unwrap();
        // The state of a target has become a document, which another test compares value by value.
        let columns: Vec<_> =
            columns(&earlier).into_iter().filter(|(table, _)| table != "poll_state").collect();
        let before = values(&earlier, &columns);
        drop(earlier);
        let (store, _) = Store::open(&path, &Cutoff::default()).unwrap();
        let mut states = store.states().unwrap();
        assert!(!states.is_empty(), "{name}");
        for (id, state) in &mut states {
            store.write(|write| write.save_state(id, state)).unwrap();
            state.version += 1;
            assert!(state.rule.is_some(), "{name}: {id}");
            store.runs(id).unwrap();
            store.seen_tags(id).unwrap();
        }
        store.history(states.keys(), &Search::default()).unwrap();
        let open = store.open_deployments().unwrap();
        let has = |is: fn(&OpenDeployments) -> bool| open.values().any(is);
        assert_eq!(has(|open| open.pending.is_some()), name == "pending", "{name}");
        assert_eq!(has(|open| open.running.is_some()), name == "running", "{name}");
        assert_eq!(has(|open| open.dead.is_some()), name == "dead", "{name}");
        assert_eq!(store.states().unwrap(), states, "{name}");
        assert_eq!(values(&store.connection(), &columns), before, "{name}");
    }
}
