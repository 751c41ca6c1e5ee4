//! Running a command: arguments, environment, output, timeouts, the processes it leaves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use super::super::fixture::{ID, KnownSecrets, Rig, template};
use super::super::transcript::KEPT;
use super::super::{Outcome, PATIENCE};
use super::*;
use crate::target::step::Step;

/// Longer than any test takes: a test that waits for it hangs.
const NEVER: Duration = Duration::from_secs(60);

/// Runs a script with /bin/sh. (Running a file that was just written races with the forks of other tests.)
fn script(text: &str) -> CommandStep {
    CommandStep {
        argv: ["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()].map(|word| template(&word)).into(),
        env: Vec::new(),
        dir: "/".into(),
        timeout: NEVER,
    }
}

fn command(argv: &[&str], dir: &Path) -> CommandStep {
    let argv = argv.iter().map(|word| template(word)).collect();
    CommandStep { argv, env: Vec::new(), dir: dir.into(), timeout: NEVER }
}

fn run(step: CommandStep) -> Outcome {
    Rig::new().deploy(vec![Step::Command(step)]).0
}

fn error(outcome: &Outcome) -> &DeployError {
    outcome.result.as_ref().unwrap_err()
}

/// Waits for the end of a descendant, which is not our own child.
fn is_alive(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // A zombie that is not reaped yet is dead.
        Ok(stat) => !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'),
        Err(_) => false,
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < NEVER / 2, "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn arguments_do_not_pass_through_a_shell() {
    let outcome = run(command(&["printf", "[%s]\n", "$HOME *", "{tag};{var.app}", ""], Path::new("/")));
    assert_eq!(outcome.output, "[$HOME *]\n[v2;a b]\n[]\n");
    assert_eq!((outcome.result.is_ok(), outcome.exit_status), (true, Some(0)));
}

#[test]
fn environment_is_inherited_without_secrets() {
    let mut rig = Rig::new();
    rig.secrets = KnownSecrets::new(&[("key", "s3cret")]);
    let hidden = "PATH";
    let inherited: Vec<_> = std::env::vars().filter(|(name, _)| name != hidden).collect();
    assert!(std::env::var_os(hidden).is_some(), "the test needs an inherited variable");
    rig.secrets.environment = vec![hidden.to_owned(), "NOT_SET".to_owned()];
    let mut step = command(&["/usr/bin/env", "-0"], Path::new("/"));
    step.env = vec![("KEY".to_owned(), template("{secret.key}")), ("TAG".to_owned(), template("x-{tag}"))];
    let (outcome, _) = rig.deploy(vec![Step::Command(step)]);
    let names: Vec<&str> =
        outcome.output.split('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    assert!(!names.contains(&hidden));
    for (name, _) in inherited {
        assert!(names.contains(&&*name), "{name} is inherited");
    }
    for pair in [
        "KEY=***",
        "TAG=x-v2",
        "TAGSHIP_PROJECT=shop",
        "TAGSHIP_PREVIOUS_TAG=v1",
        "TAGSHIP_DIGEST=",
        "TAGSHIP_ATTEMPT=3",
        &format!("TAGSHIP_DEPLOYMENT_ID={ID}"),
    ] {
        assert!(outcome.output.split('\0').any(|one| one.trim_end() == pair), "{pair}");
    }
    assert_eq!(names.iter().filter(|name| name.starts_with("TAGSHIP_")).count(), 13);
}

#[test]
fn variable_with_a_secret_can_be_set_explicitly() {
    let mut rig = Rig::new();
    rig.secrets.environment = vec!["PATH".to_owned()];
    let mut step = script("echo $PATH");
    step.env = vec![("PATH".to_owned(), template("given"))];
    assert_eq!(rig.deploy(vec![Step::Command(step)]).0.output, "given\n");
}

#[test]
fn lock_lives_as_long_as_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let mut rig = Rig::new();
    rig.lock = File::create(&path).unwrap();
    rig.lock.lock().unwrap();
    // A shell gives its background jobs /dev/null: the descendant keeps the lock by another descriptor.
    let text = "cat; exec 3<&0; (while [ ! -e go ]; do sleep 0.01; done) >/dev/null 2>&1 &";
    let mut step = script(text);
    step.dir = folder.path().into();
    let (outcome, _) = rig.deploy(vec![Step::Command(step)]);
    outcome.result.unwrap();
    // As if tagship were killed: its own descriptor is closed, but not unlocked.
    drop(rig);
    let other = File::open(&path).unwrap();
    assert!(other.try_lock().is_err());
    fs::write(folder.path().join("go"), "").unwrap();
    wait_until(|| other.try_lock().is_ok());
}

#[test]
fn relative_program_is_found_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/bin/sh", folder.path().join("deploy")).unwrap();
    let outcome = run(command(&["./deploy", "-c", "pwd -P; exit 3"], folder.path()));
    let real = folder.path().canonicalize().unwrap();
    assert_eq!(outcome.output.trim_end(), real.to_str().unwrap());
    assert_eq!(error(&outcome).message, format!("./deploy exited with status 3: {}", real.display()));
    assert_eq!(outcome.exit_status, Some(3));
    assert_eq!((error(&outcome).code, error(&outcome).started), (ErrorCode::Command, true));
}

#[test]
fn start_error_says_what_to_check() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plain"), "x").unwrap();
    let gone = folder.path().join("gone");
    for (argv, dir, says) in [
        ("no-such-program", folder.path(), "PATH ("),
        ("./gone", folder.path(), "gone does not exist"),
        ("~/gone", folder.path(), "only a shell expands ~, so write /"),
        ("./plain", folder.path(), "plain is not executable"),
        ("/bin/sh", &gone, "no such folder"),
        ("sh", &gone, "no such folder"),
    ] {
        let outcome = run(command(&[argv], dir));
        let error = error(&outcome);
        assert!(error.message.starts_with(argv) && error.message.contains(says), "{error}");
        assert_eq!((error.code, error.started, error.final_answer), (ErrorCode::Command, false, false));
        assert_eq!(outcome.exit_status, None);
    }
}

/// The system answers "permission denied", as it does for a folder that it cannot read.
#[test]
fn program_that_path_does_not_contain_is_found_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let search = folder.path().join("bin");
    fs::create_dir(&search).unwrap();
    fs::write(search.join("deploy.sh"), "not executable").unwrap();
    fs::write(folder.path().join("deploy.sh"), "").unwrap();
    let mut step = command(&["deploy.sh"], folder.path());
    step.env = vec![("PATH".to_owned(), template(search.to_str().unwrap()))];
    let expected = format!(
        "deploy.sh cannot be run: no folder of PATH ({}) contains it; it is in {}, so write ./deploy.sh",
        search.display(),
        folder.path().display()
    );
    assert_eq!(error(&run(step)).message, expected);
}

#[test]
fn missing_program_in_a_later_step_counts_as_an_attempt() {
    let gone = command(&["no-such-program"], Path::new("/"));
    let (outcome, _) = Rig::new().deploy(vec![Step::Command(script("exit 0")), Step::Command(gone)]);
    assert!(error(&outcome).started);
}

#[test]
fn first_failed_step_ends_the_attempt() {
    let steps = ["echo one", "printf two; exit 4", "echo three"];
    let (outcome, lines) = Rig::new().deploy(steps.map(|text| Step::Command(script(text))).into());
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(outcome.output, "one\ntwo\n");
    assert_eq!(error(&outcome).message, "/bin/sh exited with status 4: two");
}

#[test]
fn missing_secret_in_a_later_step_starts_nothing() {
    let mut later = script("exit 0");
    later.env = vec![("KEY".to_owned(), template("{secret.gone}"))];
    let (outcome, lines) = Rig::new().deploy(vec![Step::Command(script("echo one")), Step::Command(later)]);
    assert_eq!((error(&outcome).code, error(&outcome).started), (ErrorCode::Secret, false));
    assert!(lines.is_empty());
}

#[test]
fn error_of_a_killed_command_names_the_signal() {
    let outcome = run(script("echo gone; kill -9 $$"));
    assert_eq!(error(&outcome).message, "/bin/sh was killed by signal 9 (SIGKILL): gone");
    assert_eq!(outcome.exit_status, None);
}

#[test]
fn outputs_are_merged_and_secrets_are_masked() {
    let mut rig = Rig::new();
    rig.secrets = KnownSecrets::new(&[("key", "s3cret")]);
    let (outcome, lines) = rig.deploy(vec![Step::Command(script("echo a; echo s3cret >&2; echo b; exit 1"))]);
    assert_eq!(lines, ["a", "***", "b"]);
    assert_eq!(outcome.output, "a\n***\nb\n");
}

#[test]
fn kept_output_is_bounded() {
    let outcome = run(script("head -c 50000000 /dev/zero; echo; printf 'gr\\374n'"));
    assert_eq!(outcome.output.len(), KEPT);
    assert!(outcome.output.ends_with("\0\ngr\\xfcn\n"));
}

#[test]
fn timeout_ends_the_command() {
    let mut step = script("echo begun; sleep 60");
    step.timeout = Duration::from_millis(200);
    let outcome = run(step);
    assert_eq!(error(&outcome).message, "/bin/sh was stopped after 200ms");
    assert_eq!((error(&outcome).code, error(&outcome).started), (ErrorCode::Timeout, true));
    assert_eq!((outcome.exit_status, outcome.output.as_str()), (None, "begun\n"));
}

#[test]
fn command_that_succeeds_after_its_timeout_has_failed() {
    let mut step = script("trap 'exit 0' TERM; echo begun; while :; do sleep 0.01; done");
    step.timeout = Duration::from_millis(200);
    assert_eq!(error(&run(step)).code, ErrorCode::Timeout);
}

#[test]
fn command_that_ignores_term_is_killed_with_its_descendants() {
    let mut rig = Rig::new();
    rig.patience.grace = Duration::from_millis(200);
    let text = "trap '' TERM; (while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done) & \
                echo pid $!; while :; do sleep 1; done";
    let mut step = script(text);
    step.timeout = Duration::from_millis(200);
    let start = Instant::now();
    let (outcome, lines) = rig.deploy(vec![Step::Command(step)]);
    assert!(start.elapsed() < NEVER / 4);
    assert_eq!(error(&outcome).code, ErrorCode::Timeout);
    assert!(outcome.output.len() <= KEPT);
    let pid = lines.iter().find_map(|line| line.strip_prefix("pid ")).unwrap();
    wait_until(|| !is_alive(pid));
}

#[test]
fn descendant_that_survives_its_parent_at_the_timeout_is_killed() {
    let mut step = script("(trap '' TERM; while :; do sleep 1; done) & echo pid $!; exec sleep 60");
    step.timeout = Duration::from_millis(200);
    let (outcome, lines) = Rig::new().deploy(vec![Step::Command(step)]);
    assert_eq!(error(&outcome).code, ErrorCode::Timeout);
    let pid = lines.iter().find_map(|line| line.strip_prefix("pid ")).unwrap();
    wait_until(|| !is_alive(pid));
}

#[test]
fn daemon_left_behind_is_neither_killed_nor_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut step = script("(while [ ! -e go ]; do sleep 0.01; done; touch done) & echo pid $!");
    step.dir = folder.path().into();
    let start = Instant::now();
    let (outcome, _) = Rig::new().deploy(vec![Step::Command(step)]);
    outcome.result.unwrap();
    assert!(start.elapsed() < NEVER / 4);
    fs::write(folder.path().join("go"), "").unwrap();
    wait_until(|| folder.path().join("done").exists());
}

#[test]
fn stop_ends_the_command_and_leaves_the_attempt_open() {
    let rig = Rig::new();
    let folder = tempfile::tempdir().unwrap();
    let mut step = script("trap 'echo stopped; exit 0' TERM; touch begun; while :; do sleep 0.01; done");
    step.dir = folder.path().into();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until(|| folder.path().join("begun").exists());
            rig.stop.tell(15);
        });
        let (outcome, lines) = rig.deploy(vec![Step::Command(step), Step::Command(script("echo never"))]);
        assert_eq!(lines.last().unwrap(), "stopped");
        let error = error(&outcome);
        assert!(error.interrupted && error.started, "{error:?}");
        assert_eq!(error.message, "/bin/sh was stopped: tagship was told to stop by signal 15 (SIGTERM)");
    });
}

#[test]
fn nothing_is_started_after_a_stop() {
    let rig = Rig::new();
    rig.stop.tell(2);
    let (outcome, lines) = rig.deploy(vec![Step::Command(script("echo never"))]);
    assert!(lines.is_empty());
    let error = error(&outcome);
    assert!(error.interrupted && !error.started, "{error:?}");
}

#[test]
fn durations_are_shown_as_written() {
    for (duration, shown) in [
        (Duration::from_secs(300), "5m"),
        (Duration::from_secs(5400), "1h 30m"),
        (Duration::from_secs(10), "10s"),
        (Duration::from_millis(1500), "1s 500ms"),
        // The rest of max_runtime.
        (Duration::from_nanos(4_997_154_005), "5s"),
        (Duration::from_nanos(59_960_154_005), "1m"),
        (Duration::from_nanos(300_154_005), "300ms"),
    ] {
        assert_eq!(shown_duration(duration), shown);
    }
    assert!(PATIENCE.grace == Duration::from_secs(10));
}
