//! Old deployments are deleted, but none that is still needed.

use super::*;

/// The deployment that a stage runs, the one before, and open deployments stay.
#[test]
fn pruning_deletes_only_old_deployments_that_are_not_needed() {
    let store = nothing().unwrap();
    store
        .write(|write| {
            for (number, id) in [(1, "oldest"), (2, "before"), (3, "runs")] {
                write.insert_deployment(&deployment(id, DeploymentState::Pending))?;
                let attempt = Attempt { deployment_id: id, number: 1 };
                write.begin_attempt(attempt, moment(0), moment(0))?;
                let end = AttemptEnd { exit_status: Some(0), http_status: None, error: None };
                write.end_attempt(attempt, end, moment(number))?;
                end_deployment(write, id, DeploymentState::Succeeded, None, moment(number))?;
            }
            write.insert_deployment(&deployment("dead", DeploymentState::Pending))?;
            end_deployment(write, "dead", DeploymentState::Dead, Some("no"), moment(4))?;
            write.prune(moment(100))
        })
        .unwrap();
    let names = |query: &str| -> Vec<String> {
        let connection = store.connection();
        let mut statement = connection.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(names("SELECT id FROM deployment ORDER BY id"), ["before", "dead", "runs"]);
    assert_eq!(names("SELECT deployment_id FROM attempt ORDER BY 1"), ["before", "runs"]);
    store
        .write(|write| {
            write.insert_deployment(&deployment("pending", DeploymentState::Pending))?;
            write.insert_deployment(&deployment("running", DeploymentState::Running))?;
            write.prune(moment(100))
        })
        .unwrap();
    let left = names("SELECT id FROM deployment ORDER BY id");
    assert_eq!(left, ["before", "pending", "running", "runs"], "the dead one found its successor");
}

/// A tag that is pushed again is never new, however long ago it was deployed.
#[test]
fn tags_of_deleted_deployments_stay_known() {
    let store = nothing().unwrap();
    let given = || {
        let given = store.given(&target()).unwrap();
        let mut tags: Vec<(String, bool)> =
            given.into_iter().map(|(tag, given)| (tag.to_string(), given.is_since_reset)).collect();
        tags.sort();
        tags
    };
    let mut state = PollState::default();
    let mut save = |id: &str, end: DeploymentState, second| {
        let before = Some(ListedTag::named(tag("baseline")));
        let deployment = Deployment { tag: tag(id), high_water_before: before, ..deployment(id, end) };
        let rows = vec![DeploymentRow { deployment, reason: None }];
        let change = Change { rows, state: state.clone(), ..Change::default() };
        store.write(|write| write.save(&target(), &change, moment(second))).unwrap();
        state = *store.states().unwrap().remove(&target()).unwrap();
        state.version
    };
    save("superseded-before", DeploymentState::Superseded, 1);
    save("first", DeploymentState::Succeeded, 2);
    let reset = save("second", DeploymentState::Succeeded, 3);
    save("dropped", DeploymentState::Dropped, 4);
    save("third", DeploymentState::Succeeded, 5);
    save("fourth", DeploymentState::Succeeded, 6);
    save("superseded-after", DeploymentState::Superseded, 7);
    let before = given();
    store.write(|write| write.prune(moment(100))).unwrap();
    assert_eq!(store.runs(&target()).unwrap().len(), 2, "the others are deleted");
    assert_eq!(given(), before);
    let document = format!("UPDATE poll_state SET document = json_set(document, '$.reset', {reset})");
    store.connection().execute(&document, []).unwrap();
    let since: Vec<String> = given().into_iter().filter(|(_, since)| *since).map(|(tag, _)| tag).collect();
    assert_eq!(since, ["baseline", "fourth", "third"]);
}

/// The deployments of a clock that was ahead are not the last ones.
#[test]
fn pruning_keeps_what_runs_though_the_clock_was_ahead_before() {
    let store = nothing().unwrap();
    let mut state = PollState::default();
    for (id, second) in [("ahead-1", 500), ("ahead-2", 510), ("before", 10), ("runs", 20)] {
        let deployment = Deployment { tag: tag(id), ..deployment(id, DeploymentState::Succeeded) };
        let rows = vec![DeploymentRow { deployment, reason: None }];
        let change = Change { rows, state, ..Change::default() };
        store.write(|write| write.save(&target(), &change, moment(second))).unwrap();
        state = *store.states().unwrap().remove(&target()).unwrap();
    }
    store.write(|write| write.prune(moment(505))).unwrap();
    let runs = store.runs(&target()).unwrap();
    assert_eq!(runs.iter().map(|run| run.tag.as_str()).collect::<Vec<_>>(), ["ahead-2", "before", "runs"]);
}

#[test]
fn pruning_happens_once_a_day() {
    let store = nothing().unwrap();
    let (kept, day) = (Duration::from_secs(180 * 24 * 3600), 24 * 3600);
    let left_at = |second| {
        store
            .write(|write| {
                write.insert_deployment(&deployment("over", DeploymentState::Pending))?;
                end_deployment(write, "over", DeploymentState::Dropped, None, moment(second - 200 * day))?;
                write.prune_sometimes(kept, moment(second))
            })
            .unwrap();
        let query = "DELETE FROM deployment RETURNING id";
        store.connection().query_row(query, [], |_| Ok(())).optional().unwrap().is_some()
    };
    assert!(!left_at(0), "it was never pruned");
    assert!(left_at(day - 1), "it was a moment ago");
    assert!(!left_at(day));
    assert!(!left_at(0), "the clock was wrong");
}

#[test]
fn long_history_is_pruned_over_several_runs() {
    let store = nothing().unwrap();
    let many = "INSERT INTO deployment (id, project, stage, registry, repository, tag, decided_by, state, attempts,
             created_at, ended_at, goes_back)
         WITH RECURSIVE count (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM count WHERE number < 25000)
         SELECT printf('%05d', number), 'shop', 'dev', 'git', 'acme/shop', 'v1', 'poll', 'dropped', 0,
             '2026-01-01T00:00:00.000Z', printf('2026-01-02T00:00:%02d.000Z', number % 60), 0 FROM count";
    store.connection().execute(many, []).unwrap();
    let left_after_a_run = |second| {
        store.write(|write| write.prune_sometimes(Duration::from_secs(3600), moment(second))).unwrap();
        let query = "SELECT count(*) FROM deployment";
        store.connection().query_row(query, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    let left: Vec<u32> = (0..3).map(left_after_a_run).collect();
    assert_eq!(left, [15_000, 5_000, 0]);
    store.connection().execute(many, []).unwrap();
    assert_eq!(left_after_a_run(4), 25_000, "that was all, and it is not yet time again");
}
