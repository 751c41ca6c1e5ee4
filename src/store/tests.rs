//! The state file: values survive saving and loading, and files of another kind are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::OptionalExtension as _;
use tempfile::TempDir;

use super::*;
use crate::engine::first_seen::{Built, SeenTag};
use crate::engine::{
    Baseline, Change, Deployed, Deployment, DeploymentRow, DeploymentState, Edit, ErrorCode, Failing,
    Failure, Hold, LastListed, LastReported, NextAttempt, Status, Trigger,
};
use crate::reference::{Digest, ListedTag, Repository, Tag};
use crate::target::Name;

mod older;
mod pruning;

fn nothing() -> Result<Store, StoreError> {
    Store::nothing(Path::new("/tagship.toml"))
}

fn target() -> TargetId {
    TargetId { project: Name::new("shop").unwrap(), stage: Name::new("dev").unwrap() }
}

fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

fn digest(digit: char) -> Digest {
    Digest::new(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn deployment(id: &str, state: DeploymentState) -> Deployment {
    Deployment {
        id: id.to_owned(),
        target: target(),
        registry: Name::new("git").unwrap(),
        repository: Repository::new("acme/shop").unwrap(),
        tag: tag("dev-2"),
        digest: Some(digest('a')),
        previous_tag: Some(tag("dev-1")),
        by: Trigger::Manual,
        by_whom: Some("alice".into()),
        state,
        attempts: 0,
        attempts_forgiven: 2,
        next_attempt: Some(NextAttempt { at: moment(60), failed_at: moment(1) }),
        created_at: moment(0),
        goes_back: true,
        high_water_before: Some(ListedTag {
            tag: tag("dev-1"),
            pushed_at: Some(moment(-5)),
            sequence: Some(7),
            digest: None,
        }),
    }
}

fn end_deployment(
    write: &Write<'_>,
    id: &str,
    state: DeploymentState,
    reason: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let row = DeploymentRow { deployment: deployment(id, state), reason: reason.map(str::to_owned) };
    write.update_deployment(&row, now).map(|is_there| assert!(is_there))
}

fn full_state() -> PollState {
    PollState {
        version: 1,
        round: None,
        rule: Some("acme/shop dev-*".into()),
        last_polled_tag: Some(tag("dev-2")),
        high_water: Some(ListedTag {
            tag: tag("dev-2"),
            pushed_at: Some("2026-11-23T15:13:36.123456789Z".parse().unwrap()),
            sequence: Some(10043),
            digest: Some(digest('b')),
        }),
        marked: Some(tag("dev-9")),
        deployed: Some(Deployed {
            tag: tag("dev-1"),
            digest: Some(digest('c')),
            at: moment(1),
            by: Trigger::Mark,
        }),
        listed: Some(LastListed { generation: 7, at: moment(3), from: "https://git.example.com".into() }),
        candidates: vec![crate::engine::SeenCandidate {
            sequence: Some(9),
            tag: tag("dev-3"),
            pushed_at: Some(moment(7)),
            first_seen: moment(8),
            digest: Some(digest('d')),
            moved_after: None,
            asked_digest: None,
        }],
        hold: Some(Hold {
            reason: Some("freeze".into()),
            by: "alice".into(),
            since: moment(9),
            until: Some(moment(10)),
        }),
        reset: Some(6),
        tags_listed: 3,
        polled_at: Some(moment(2)),
        checked_at: Some(moment(3)),
        failing: Some(Failing {
            since: moment(4),
            count: 5,
            reported_at: Some(moment(6)),
            failure: Failure { code: ErrorCode::Unavailable, message: "no answer".into() },
        }),
        status: Some(Status::Deployed),
        reason: Some("why".into()),
        until: Some(moment(12)),
        edit: Some(Edit {
            at: moment(13),
            rule_before: "acme/shop v*".into(),
            high_water_before: Some(tag("v1")),
        }),
        last_reported: Some(LastReported { status: Status::Available, tag: Some(tag("dev-2")) }),
        baseline: None,
        given_platforms: None,
    }
}

#[test]
fn state_is_read_as_saved() {
    let store = nothing().unwrap();
    let mut later = full_state();
    later.baseline = Some(Baseline { tag: tag("dev-0"), at: moment(14) });
    later.candidates[0].asked_digest = Some(digest('e'));
    for (version, state) in (1..).zip([later, full_state(), PollState::default()]) {
        store.write(|write| write.save_state(&target(), &state)).unwrap();
        let state = PollState { version, ..state };
        assert_eq!(*store.states().unwrap()[&target()], state);
        assert_eq!(store.write(|write| write.state(&target())).unwrap(), Some(state));
    }
}

#[test]
fn newest_deployments_of_selected_targets_come_first_without_output() {
    let store = nothing().unwrap();
    let other = TargetId { stage: Name::new("prod").unwrap(), ..target() };
    for (id, target) in [("1", target()), ("2", other.clone()), ("3", target()), ("4", target())] {
        let recorded = Deployment { target, ..deployment(id, DeploymentState::Succeeded) };
        let attempt = Attempt { deployment_id: id, number: 1 };
        store
            .write(|write| {
                write.insert_deployment(&recorded)?;
                write.begin_attempt(attempt, moment(1), moment(1))?;
                write.set_output(attempt, "much")?;
                end_deployment(write, id, DeploymentState::Succeeded, None, moment(2))
            })
            .unwrap();
    }
    let recent = store.recent(|id| *id == target(), 2).unwrap();
    let ids: Vec<&str> = recent.iter().map(|past| past.id.as_str()).collect();
    assert_eq!(ids, ["4", "3"]);
    assert!(recent.iter().all(|past| past.attempts.len() == 1 && past.attempts[0].output.is_none()));
    assert_eq!(store.last_output("3").unwrap().as_deref(), Some("much"));
    assert_eq!(store.recent(|id| *id == other, 9).unwrap().len(), 1);
    let search = Search { most: Some(3), ..Search::default() };
    let newest = store.history([&other, &target()].into_iter(), &search).unwrap();
    let ids: Vec<&str> = newest.iter().map(|past| past.id.as_str()).collect();
    assert_eq!(ids, ["4", "3", "2"], "of all targets together");
    assert!(newest.iter().all(|past| past.attempts[0].output.as_deref() == Some("much")));
}

#[test]
fn previous_attempt_belongs_to_the_latest_deployment_with_one() {
    let store = nothing().unwrap();
    let failed = Some((ErrorCode::Command, "no"));
    let attempt = |deployment_id, number| Attempt { deployment_id, number };
    let had_failed = |attempt| store.write(|write| write.last_attempt_failed(&target(), attempt)).unwrap();
    let record = |id: &'static str, second, ends: &[Option<(ErrorCode, &str)>]| {
        let recorded = Deployment { created_at: moment(second), ..deployment(id, DeploymentState::Pending) };
        let over = store.write(|write| {
            write.insert_deployment(&recorded)?;
            for (number, error) in (1..).zip(ends) {
                let end = AttemptEnd { exit_status: None, http_status: None, error: *error };
                write.begin_attempt(attempt(id, number), moment(second), moment(second))?;
                write.end_attempt(attempt(id, number), end, moment(second))?;
            }
            end_deployment(write, id, DeploymentState::Succeeded, None, moment(second))
        });
        over.unwrap();
    };
    assert!(!had_failed(attempt("z", 1)), "there was none");
    record("z", 1, &[failed, None]);
    assert!(had_failed(attempt("z", 2)));
    assert!(!had_failed(attempt("b", 1)));
    record("b", 2, &[None, failed]);
    record("a", 3, &[]);
    assert!(had_failed(attempt("c", 1)), "a mark has no attempt");
}

#[test]
fn deployment_is_read_as_recorded() {
    let store = nothing().unwrap();
    let recorded = deployment("a", DeploymentState::Pending);
    store.write(|write| write.insert_deployment(&recorded)).unwrap();
    assert_eq!(store.open_deployments().unwrap()[&target()].pending, Some(recorded));
}

#[test]
fn target_has_at_most_one_pending_and_one_running_deployment() {
    let store = nothing().unwrap();
    store.write(|write| write.insert_deployment(&deployment("a", DeploymentState::Pending))).unwrap();
    assert!(
        store.write(|write| write.insert_deployment(&deployment("b", DeploymentState::Pending))).is_err()
    );
    store.write(|write| write.insert_deployment(&deployment("c", DeploymentState::Running))).unwrap();
    assert!(
        store.write(|write| write.insert_deployment(&deployment("d", DeploymentState::Running))).is_err()
    );
    let open = &store.open_deployments().unwrap()[&target()];
    assert!(open.pending.as_ref().unwrap().id == "a" && open.running.as_ref().unwrap().id == "c");
}

#[test]
fn failed_transaction_changes_nothing() {
    let store = nothing().unwrap();
    let result: Result<(), _> = store.write(|write| {
        write.save_state(&target(), &full_state())?;
        Err(rusqlite::Error::InvalidQuery)
    });
    assert!(result.is_err());
    assert!(store.states().unwrap().is_empty());
}

#[test]
fn state_file_and_folders_are_private() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/state.db");
    let (store, created) = Store::open(&path, &Cutoff::default()).unwrap();
    assert!(created);
    let lock = store.lock(&target()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.path().join("a")), 0o700);
    assert_eq!(mode(&folder.path().join("a/state.db.locks")), 0o700);
    assert_eq!(mode(&folder.path().join("a/state.db.locks/shop@dev")), 0o600);
    drop(lock);
    let names: Vec<_> =
        fs::read_dir(folder.path().join("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    drop(store);
    assert!(!Store::open(&path, &Cutoff::default()).unwrap().1, "an existing file is not created again");
}

#[test]
fn a_lock_is_held_once() {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(&folder.path().join("state.db"), &Cutoff::default()).unwrap();
    let held = store.lock(&target()).unwrap();
    assert!(held.is_some());
    assert!(store.lock(&target()).unwrap().is_none());
    // A copy of the file, as in a daemon left behind by a command, does not keep the target locked.
    let copy = held.as_ref().unwrap().file().try_clone().unwrap();
    drop(held);
    assert!(store.lock(&target()).unwrap().is_some());
    drop(copy);
}

#[test]
fn file_that_is_not_a_state_is_an_error_and_not_changed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let other = Connection::open(folder.path().join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE t (a)").unwrap();
    drop(other);
    let other = fs::read(folder.path().join("other.db")).unwrap();
    for (content, message) in [
        (b"".to_vec(), "the state file is empty"),
        (b"this is not a database, and longer than the header of one; so SQLite can tell that it is none of its own".to_vec(), "not a state file of tagship"),
        (other, "another program's SQLite file"),
    ] {
        fs::write(&path, &content).unwrap();
        let error = Store::open(&path, &Cutoff::default()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains("state.db"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn newer_state_is_an_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    drop(Store::open(&path, &Cutoff::default()).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&path, &Cutoff::default()).unwrap_err().to_string();
    assert!(error.contains("written by a newer tagship"), "{error}");
    assert!(Store::copy_of(&path, &Cutoff::default()).is_err());
}

#[test]
fn copy_does_not_write_to_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let (store, _) = Store::open(&path, &Cutoff::default()).unwrap();
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    let before = fs::read(&path).unwrap();
    let copy = Store::copy_of(&path, &Cutoff::default()).unwrap();
    assert_eq!(*copy.states().unwrap()[&target()], full_state());
    copy.write(|write| write.save_state(&target(), &PollState::default())).unwrap();
    drop(copy);
    assert_eq!(fs::read(&path).unwrap(), before);
    let missing = folder.path().join("missing.db");
    assert!(Store::copy_of(&missing, &Cutoff::default()).unwrap().states().unwrap().is_empty());
    assert!(!missing.exists());
}

#[test]
fn first_seen_record_stays() {
    let store = nothing().unwrap();
    let built = Built { digest: digest('a'), created: Some(moment(1)) };
    let later = Built { digest: digest('b'), created: Some(moment(2)) };
    for (second, image) in [(5, None), (9, Some(built.clone())), (9, Some(later))] {
        let seen = (tag("dev-1"), SeenTag { first_seen: moment(second), image });
        store.write(|write| write.add_seen_tags(&target(), &[seen])).unwrap();
    }
    let expected = SeenTag { first_seen: moment(5), image: Some(built) };
    assert_eq!(store.seen_tags(&target()).unwrap()[&tag("dev-1")], expected);
}

#[test]
fn targets_that_left_are_reported_once_and_again_after_a_return() {
    let store = nothing().unwrap();
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    let id = target();
    let name_left = |is_configured: bool| {
        let left = store.checks(is_configured.then_some(&id).into_iter()).unwrap().left;
        store.note_left(&left, moment(0)).unwrap();
        left
    };
    assert_eq!(name_left(true), []);
    assert_eq!(name_left(false), [target()]);
    assert_eq!(name_left(false), []);
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    assert_eq!(name_left(false), [target()]);
}

#[test]
fn reading_does_not_write_the_state() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let (store, _) = Store::open(&path, &Cutoff::default()).unwrap();
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    drop(store);
    let read = Store::read(&path, &Cutoff::default()).unwrap();
    assert_eq!(*read.states().unwrap()[&target()], full_state());
    assert!(read.write(|write| write.save_state(&target(), &PollState::default())).is_err());
}

#[test]
fn document_with_a_missing_or_unknown_field_is_an_error() {
    let store = nothing().unwrap();
    let connection = || store.connection();
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    let query =
        "SELECT fullkey FROM poll_state, json_tree(document) WHERE key IS NOT NULL AND typeof(key) = 'text'";
    let fields: Vec<String> = {
        let connection = connection();
        let mut statement = connection.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert!(fields.len() > 40, "{fields:?}");
    let later = ["$.candidates[0].sequence", "$.baseline", "$.\"given_platforms\""];
    for field in fields.iter().filter(|field| !later.contains(&field.as_str())) {
        store.write(|write| write.save_state(&target(), &full_state())).unwrap();
        let remove = "UPDATE poll_state SET document = json_remove(document, ?1)";
        assert_eq!(connection().execute(remove, [field]).unwrap(), 1);
        assert!(store.states().is_err(), "{field}");
    }
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    connection().execute("UPDATE poll_state SET document = json_set(document, '$.surplus', 1)", []).unwrap();
    assert!(store.states().is_err());
}

#[test]
fn invalid_row_is_an_error() {
    let store = nothing().unwrap();
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    store
        .connection()
        .execute("UPDATE poll_state SET document = json_set(document, '$.high_water.tag', 'not a tag')", [])
        .unwrap();
    let error = store.states().unwrap_err().to_string();
    assert!(error.contains("not a valid tag"), "{error}");
}

/// A decision based on an earlier version must be made again.
#[test]
fn changes_raise_the_version_and_idle_polls_do_not() {
    let store = nothing().unwrap();
    let version = || store.states().unwrap()[&target()].version;
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    assert_eq!(version(), 1);
    store.write(|write| write.touch(&[], &[&target()], moment(20))).unwrap();
    assert_eq!(version(), 1);
    store.write(|write| write.insert_deployment(&deployment("a", DeploymentState::Pending))).unwrap();
    let attempt = Attempt { deployment_id: "a", number: 1 };
    store.write(|write| write.begin_attempt(attempt, moment(21), moment(22))).unwrap();
    assert_eq!(version(), 2, "its deployment runs");
    store.write(|write| write.save_state(&target(), &full_state())).unwrap();
    assert_eq!(version(), 3);
}

/// The tags that were deployed since the last reset.
fn given_since_reset(store: &Store) -> Vec<String> {
    let given = store.given(&target()).unwrap().into_iter();
    let mut tags: Vec<String> =
        given.filter(|(_, given)| given.is_since_reset).map(|(tag, _)| tag.to_string()).collect();
    tags.sort();
    tags
}

/// It was deployed since; the tag before it was not.
#[test]
fn a_deployment_that_runs_during_a_reset_is_given_since() {
    let store = nothing().unwrap();
    let save = |state: DeploymentState, changed: &PollState| {
        let high_water_before = Some(ListedTag::named(tag("dev-1")));
        let deployment = Deployment { tag: tag("dev-2"), high_water_before, ..deployment("a", state) };
        let rows = vec![DeploymentRow { deployment, reason: None }];
        let change = Change { rows, state: changed.clone(), ..Change::default() };
        store.write(|write| write.save(&target(), &change, moment(1))).unwrap();
        *store.states().unwrap().remove(&target()).unwrap()
    };
    let state = save(DeploymentState::Running, &PollState::default());
    let mark = deployment("mark", DeploymentState::Succeeded);
    let rows = vec![DeploymentRow { deployment: Deployment { tag: tag("dev-0"), ..mark }, reason: None }];
    let change =
        Change { rows, state: PollState { reset: Some(state.version), ..state }, ..Change::default() };
    store.write(|write| write.save(&target(), &change, moment(2))).unwrap();
    let state = *store.states().unwrap().remove(&target()).unwrap();
    save(DeploymentState::Succeeded, &state);
    assert_eq!(given_since_reset(&store), ["dev-2"]);
}

/// A clock that is set back after the reset does not hide later deployments.
#[test]
fn tags_given_since_a_reset_are_known_after_the_clock_was_set_back() {
    let save = |store: &Store, id: &str, state: &PollState, second: i64| {
        let deployment = Deployment {
            tag: tag(id),
            state: DeploymentState::Succeeded,
            created_at: moment(second),
            high_water_before: state.high_water.clone(),
            ..deployment(id, DeploymentState::Succeeded)
        };
        let rows = vec![DeploymentRow { deployment, reason: None }];
        let change = Change { rows, state: state.clone(), ..Change::default() };
        store.write(|write| write.save(&target(), &change, moment(second))).unwrap();
        *store.states().unwrap().remove(&target()).unwrap()
    };
    let named = |name: &str| Some(ListedTag::named(tag(name)));
    // The mark is the target's first event, or a later one.
    for is_first in [true, false] {
        let store = nothing().unwrap();
        let first = PollState::default();
        let state = if is_first { first } else { save(&store, "dev-1", &first, 10) };
        let state = PollState { reset: Some(state.version), high_water: named("dev-0"), ..state };
        let state = save(&store, "mark", &state, 20);
        assert!(given_since_reset(&store).is_empty(), "{is_first}");
        save(&store, "dev-3", &PollState { high_water: named("dev-2"), ..state }, 5);
        assert_eq!(given_since_reset(&store), ["dev-2", "dev-3"], "{is_first}");
    }
}
