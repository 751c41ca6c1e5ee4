//! A command, or a process that it started, outlives tagship or its attempt: tagship starts no second one beside it.

use std::os::unix::process::CommandExt as _;

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

use crate::first_poll::gitea;
use crate::harness::{DEV, Shop, await_until, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// What `deploy.sh` does, and what it leaves of itself. `./work` stays until `stay` is removed.
const FORMS: [(&str, &str); 11] = [
    ("keeps its input", "./work"),
    ("reopens its input", "exec <deploy.sh\n./work"),
    ("closes its input", "exec <&-\n./work"),
    ("closes everything", "exec <&- >&- 2>&-\n./work"),
    ("becomes another program", "exec ./work <deploy.sh"),
    ("ignores hangups", "nohup ./work <deploy.sh >work.log 2>&1"),
    ("has a session of its own", "setsid -w ./work <deploy.sh"),
    ("has no environment", "exec env -i PATH=/usr/bin:/bin ./work <deploy.sh"),
    ("has no environment, below a shell", "env -i PATH=/usr/bin:/bin ./work <deploy.sh"),
    // Until `leader` is removed, the command waits for what it has put in the background.
    ("is a daemon", "(setsid ./work <deploy.sh >work.log 2>&1 &)\nwhile [ -e leader ]; do sleep 0.02; done"),
    (
        "is a child without environment whose leader is gone",
        "env -i PATH=/usr/bin:/bin ./work <deploy.sh >work.log 2>&1 &\nwhile [ -e leader ]; do sleep 0.02; done",
    ),
];

/// tagship was killed while its deployment of dev-43 was at work.
fn orphaned(form: &str) -> (Gitea, Shop) {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    shop.file("leader", "");
    shop.script("deploy.sh", &format!("echo $$ > leader-id\n{form}\n"));
    shop.script("work", "echo x >> works\nwhile [ -e stay ]; do sleep 0.02; done\necho x >> worked\n");
    let poll = shop.start(&["poll"]);
    await_until("the command runs, and is recorded", || {
        let recorded = "SELECT count(*) FROM attempt WHERE leader_id IS NOT NULL";
        let count: i64 = state(&shop).query_row(recorded, [], |row| row.get(0)).unwrap();
        shop.exists("works") && count == 1
    });
    assert!(poll.kill().was_killed());
    shop.remove("leader");
    (gitea, shop)
}

fn state(shop: &Shop) -> Connection {
    Connection::open(shop.path("state.db")).unwrap()
}

#[track_caller]
fn is_left_alone(shop: &Shop, form: &str) {
    let run = shop.run(&["poll", "--format", "json"]);
    assert!(run.has_code(0) && run.target("shop/dev")["status"] == "deploying", "{form}: {}", run.raw());
    assert!(shop.run(&["deploy", "shop/dev", "dev-42"]).has_code(75), "{form}");
    assert!(shop.run(&["retry", "shop/dev", "--drop"]).has_code(75), "{form}");
    assert_eq!(shop.read("works"), "x\n", "{form}: no second one beside it");
}

#[track_caller]
fn is_resumed(shop: &Shop, form: &str) {
    await_until(form, || {
        let run = shop.run(&["poll", "--format", "json"]);
        run.has_code(0) && run.target("shop/dev")["status"] == "deployed"
    });
    await_until(form, || shop.read("works") == "x\nx\n");
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43", "{form}");
}

#[test]
fn whatever_a_command_does_with_its_input_no_second_one_starts_beside_it() {
    for (form, script) in FORMS {
        let (_gitea, shop) = orphaned(script);
        is_left_alone(&shop, form);
        shop.remove("stay");
        is_resumed(&shop, form);
    }
}

#[test]
fn a_command_that_was_started_and_not_recorded_is_found_by_its_environment() {
    let (_gitea, shop) = orphaned("exec ./work <deploy.sh");
    state(&shop).execute("UPDATE attempt SET leader_id = NULL", []).unwrap();
    is_left_alone(&shop, "not recorded");
    shop.remove("stay");
    is_resumed(&shop, "not recorded");
}

#[test]
fn a_process_that_a_command_left_becomes_a_daemon_after_the_timeout() {
    let (_gitea, shop) =
        orphaned("(setsid ./work <deploy.sh >work.log 2>&1 &)\nwhile [ -e leader ]; do sleep 0.02; done");
    is_left_alone(&shop, "daemon");
    state(&shop).execute("UPDATE attempt SET over_by = '2026-01-01T00:00:00Z'", []).unwrap();
    is_resumed(&shop, "daemon");
    shop.remove("stay");
}

#[test]
fn a_command_that_outlives_its_time_is_named() {
    let (_gitea, shop) = orphaned("exec ./work <deploy.sh");
    let past = "UPDATE attempt SET over_by = '2026-01-01T00:00:00Z', started_at = '2026-01-01T00:00:00Z'";
    state(&shop).execute(past, []).unwrap();
    let leader = shop.read("leader-id");
    let end =
        format!("process group {0} still runs: inspect it, and end it with: kill -- -{0}", leader.trim());
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed"]).stdout_has(&end);
    assert_eq!(shop.read("works"), "x\n");
    shop.remove("stay");
    is_resumed(&shop, "late");
}

/// dev-43 is new. `work` tidies up at TERM.
fn about_to_deploy(gitea: &Gitea, deploy: &str) -> Shop {
    let shop = baselined(gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("stay", "");
    shop.script("deploy.sh", deploy);
    shop.script(
        "work",
        // The shell reports a child that a signal ended; if the reader of that is gone, SIGPIPE ends the shell.
        "exec 2>/dev/null\necho $$ > work-id\ntrap 'sleep 0.3; touch tidied; exit' TERM\necho x >> works\nwhile [ -e stay ]; do sleep 0.02; done\n",
    );
    shop
}

/// Started by deploy.sh in a session of its own.
const LEAVES_THE_GROUP: &str = "setsid ./work <deploy.sh >work.log 2>&1 &";

fn runs(shop: &Shop) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", shop.read("work-id").trim()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

#[test]
fn a_process_outside_of_the_group_ends_at_a_signal_and_at_the_timeout() {
    for is_signalled in [true, false] {
        let gitea = gitea(Build::GiteaNew);
        let shop = about_to_deploy(&gitea, &format!("{LEAVES_THE_GROUP}\nexec sleep 600\n"));
        let run = if is_signalled {
            let poll = shop.start(&["poll", "--format", "json"]);
            await_until("it works", || shop.exists("works"));
            poll.signal(Signal::TERM);
            poll.end()
        } else {
            let limited = DEV.replace("\"] }", "\"], timeout = \"1s\" }");
            shop.config(&on_gitea(&gitea, &limited));
            shop.run(&["poll", "--format", "json"])
        };
        run.code(if is_signalled { 143 } else { 1 });
        assert!(!runs(&shop), "it has ended when tagship has");
        assert!(shop.exists("tidied"), "it had its time to end");
        shop.script("deploy.sh", "echo x >> works\n");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    }
}

/// The command failed by itself: what it left is not ended, and is waited for.
#[test]
fn a_process_that_a_failed_command_left_is_waited_for() {
    for (form, newer) in [(LEAVES_THE_GROUP, None), ("./work <deploy.sh >work.log 2>&1 &", Some("dev-44"))] {
        let gitea = gitea(Build::GiteaNew);
        let deploy = format!("{form}\nwhile [ ! -e works ]; do sleep 0.02; done\nexit 7\n");
        let shop = about_to_deploy(&gitea, &deploy);
        shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]);
        if let Some(tag) = newer {
            gitea.push("acme/shop", tag, "2026-11-20T12:00:00Z");
        }
        shop.script("deploy.sh", "echo x >> works\n");
        is_left_alone(&shop, form);
        shop.remove("stay");
        await_until(form, || shop.run(&["poll"]).has_code(0) && shop.read("works") == "x\nx\n");
        assert_eq!(shop.status("shop/dev")["deployed_tag"], newer.unwrap_or("dev-43"));
    }
}

#[test]
fn a_process_that_a_failed_command_left_becomes_a_daemon_after_the_timeout() {
    let gitea = gitea(Build::GiteaNew);
    let deploy = format!("{LEAVES_THE_GROUP}\nwhile [ ! -e works ]; do sleep 0.02; done\nexit 7\n");
    let shop = about_to_deploy(&gitea, &deploy);
    shop.run(&["poll"]).code(1);
    shop.script("deploy.sh", "echo x >> works\n");
    is_left_alone(&shop, "failed");
    state(&shop).execute("UPDATE attempt SET over_by = '2026-01-01T00:00:00Z'", []).unwrap();
    is_resumed(&shop, "failed");
    assert!(runs(&shop));
}

#[test]
fn a_daemon_of_a_command_that_succeeded_holds_nothing_up() {
    let gitea = gitea(Build::GiteaNew);
    let deploy = format!("{LEAVES_THE_GROUP}\nwhile [ ! -e works ]; do sleep 0.02; done\n");
    let shop = about_to_deploy(&gitea, &deploy);
    for tag in ["dev-43", "dev-44"] {
        gitea.push("acme/shop", tag, "2026-11-20T12:00:00Z");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", tag]);
        assert!(runs(&shop));
    }
}

/// The id of what `./work` printed of itself.
fn worker(shop: &Shop) -> Pid {
    Pid::from_raw(shop.read("work-id").trim().parse().unwrap()).unwrap()
}

/// The daemon of dev-43 has the lock as its standard input, too.
#[test]
fn only_processes_of_the_attempt_that_failed_are_named() {
    let gitea = gitea(Build::GiteaNew);
    let wait = "while [ ! -e works ]; do sleep 0.02; done\n";
    let shop = about_to_deploy(&gitea, &format!("setsid -f ./work >work.log 2>&1\n{wait}"));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let daemon = worker(&shop);
    shop.remove("works");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.script("deploy.sh", &format!("setsid -f ./work >work.log 2>&1\n{wait}exit 7\n"));
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-44"]);
    let left = worker(&shop);
    assert_ne!(daemon, left);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0);
    assert_eq!(
        run.target("shop/dev")["reason"],
        format!(
            "the failed deployment of dev-44 left process group {} behind, which still runs",
            left.as_raw_nonzero()
        )
    );
    shop.remove("stay");
}

/// The daemon of dev-43 has the lock as its standard input, too.
#[test]
fn the_leader_of_an_orphaned_command_is_named_before_a_daemon_of_an_earlier_one() {
    let gitea = gitea(Build::GiteaNew);
    let wait = "while [ ! -e works ]; do sleep 0.02; done\n";
    let shop = about_to_deploy(&gitea, &format!("setsid -f ./work >work.log 2>&1\n{wait}"));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    shop.remove("works");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.script("deploy.sh", "exec ./work\n");
    let poll = shop.start(&["poll"]);
    await_until("the command runs, and is recorded", || {
        let recorded = "SELECT count(*) FROM attempt WHERE leader_id IS NOT NULL AND ended_at IS NULL";
        state(&shop).query_row(recorded, [], |row| row.get(0)) == Ok(1) && shop.exists("works")
    });
    assert!(poll.kill().was_killed());
    let past = "UPDATE attempt SET over_by = '2026-01-01T00:01:00Z', started_at = '2026-01-01T00:00:00Z'
        WHERE ended_at IS NULL";
    let before = "UPDATE attempt SET started_at = '2025-12-31T00:00:00Z' WHERE ended_at IS NOT NULL";
    state(&shop).execute_batch(&format!("{past};{before}")).unwrap();
    let end = format!("end it with: kill -- -{}", worker(&shop).as_raw_nonzero());
    shop.run(&["poll"]).code(1).stdout_has(&end);
    shop.remove("stay");
}

#[test]
fn a_shell_with_the_ids_of_a_deployment_is_not_left_behind() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = about_to_deploy(&gitea, "exit 7\n");
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]);
    let id: String = state(&shop)
        .query_row("SELECT deployment_id FROM attempt WHERE error IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    shop.env("TAGSHIP_DEPLOYMENT_ID", &id);
    shop.env("TAGSHIP_ATTEMPT", "1");
    shop.script("deploy.sh", "exit 0\n");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    let run = shop.run_under(
        &["setsid", "-w", "sh", "-c", "sh -c '\"$@\"; exit $?' sh \"$@\"; exit $?", "sh"],
        &["poll"],
    );
    run.code(0).line("shop/dev", &["deployed", "dev-44"]);
}

/// An unrelated job has a group that a child of the command joins; another child joins tagship's group.
#[test]
fn a_process_in_a_group_of_others_ends_alone() {
    let gitea = gitea(Build::GiteaNew);
    let mut job = std::process::Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
    let joining = "import os, sys, time\nos.setpgid(0, int(sys.argv[1]))\nopen(sys.argv[2], 'w').write(str(os.getpid()))\ntime.sleep(600)\n";
    let deploy = format!(
        "python3 join.py {} a </dev/null >/dev/null 2>&1 &\npython3 join.py $(ps -o pgid= $PPID) b </dev/null >/dev/null 2>&1 &\nexec sleep 600\n",
        job.id()
    );
    let shop = about_to_deploy(&gitea, &deploy);
    shop.file("join.py", joining);
    let poll = shop.start(&["poll"]);
    let has_joined = |name| shop.exists(name) && !shop.read(name).is_empty();
    await_until("both have joined", || has_joined("a") && has_joined("b"));
    poll.signal(Signal::TERM);
    poll.end().code(143);
    assert!(job.try_wait().unwrap().is_none(), "the job goes on");
    job.kill().unwrap();
    job.wait().unwrap();
    for name in ["a", "b"] {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", shop.read(name)));
        assert!(!stat.is_ok_and(|stat| !stat.contains(") Z ")), "{name} has ended");
    }
}

#[test]
fn a_process_recorded_by_a_clock_that_was_ahead_is_not_waited_for() {
    let gitea = gitea(Build::GiteaNew);
    let deploy = format!("{LEAVES_THE_GROUP}\nwhile [ ! -e works ]; do sleep 0.02; done\nexit 7\n");
    let shop = about_to_deploy(&gitea, &deploy);
    shop.run(&["poll"]).code(1);
    shop.script("deploy.sh", "echo x >> works\n");
    is_left_alone(&shop, "failed");
    let ahead = "UPDATE attempt SET started_at = '2099-01-01T00:00:00Z', over_by = '2099-01-01T00:05:00Z'";
    state(&shop).execute(ahead, []).unwrap();
    is_resumed(&shop, "failed");
    assert!(runs(&shop));
    shop.remove("stay");
}

/// An attempt that failed began in the future: the one after it was killed, and is at work.
#[test]
fn an_attempt_of_a_clock_that_was_ahead_hides_no_later_one() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_deploy(&gitea, "exit 7\n");
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]);
    let ahead = "UPDATE attempt SET started_at = '2099-01-01T00:00:00Z', over_by = '2099-01-01T00:05:00Z'";
    state(&shop).execute(ahead, []).unwrap();
    shop.script("deploy.sh", "exec ./work <deploy.sh\n");
    let poll = shop.start(&["poll"]);
    await_until("it works", || shop.exists("work-id") && shop.exists("works"));
    assert!(poll.kill().was_killed());
    is_left_alone(&shop, "later");
    shop.remove("stay");
    is_resumed(&shop, "later");
}

/// The command runs a tagship, which was killed while its own command was at work.
#[test]
fn processes_of_a_nested_tagship_end_with_the_command() {
    let gitea = gitea(Build::GiteaNew);
    let deploy = format!(
        "{} --config inner.toml --state inner.db poll </dev/null &\nwhile [ ! -e works ]; do sleep 0.02; done\nkill -9 $!\ntouch alone\nexec sleep 600\n",
        env!("CARGO_BIN_EXE_tagship")
    );
    let shop = about_to_deploy(&gitea, &deploy);
    let inner = DEV.replace("deploy.sh\"] }", "work\"] }\nfirst_poll = \"deploy\"");
    shop.file("inner.toml", &on_gitea(&gitea, &inner));
    let poll = shop.start(&["poll"]);
    await_until("the inner tagship was killed", || shop.exists("alone"));
    poll.signal(Signal::TERM);
    poll.end();
    assert!(!runs(&shop), "it has ended when tagship has");
    assert!(shop.exists("tidied"), "it had its time to end");
    shop.remove("stay");
}

/// tagship's own group, and that of what it left behind, have no number in a PID namespace that they are outside of.
#[test]
#[ignore = "needs root"]
fn a_group_outside_of_the_pid_namespace_is_not_a_fault() {
    let gitea = gitea(Build::GiteaNew);
    let shop = about_to_deploy(
        &gitea,
        &format!("{LEAVES_THE_GROUP}\nwhile [ ! -e works ]; do sleep 0.02; done\nexec sleep 600\n"),
    );
    let limited = DEV.replace("\"] }", "\"], timeout = \"1s\" }");
    shop.config(&on_gitea(&gitea, &limited));
    let apart = ["unshare", "--pid", "--fork", "--mount-proc"];
    shop.run_under(&apart, &["poll"])
        .code(1)
        .line("shop/dev", &["failed", "dev-43"])
        .stdout_has("was stopped after");
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    let lock = shop.path("state.db.locks/shop@dev");
    let held = format!("exec 9<{}; flock 9; sleep 600 <&9 & \"$@\"; exit $?", lock.display());
    let run = shop.run_under(&[&apart[..], &["sh", "-c", &held, "sh"]].concat(), &["poll"]);
    run.code(0).line("shop/dev", &["deploying", "dev-44"]);
}

/// Its environment cannot be read by the user that polls, and a stopped process is not at its end.
#[test]
#[ignore = "needs root"]
fn a_command_that_became_another_user_or_was_stopped_still_runs() {
    let form =
        "echo x >> works\nexec setpriv --reuid=65534 --regid=65534 --clear-groups sleep 600 <deploy.sh";
    let (_gitea, shop) = orphaned(form);
    is_left_alone(&shop, "another user");
    let leader = Pid::from_raw(shop.read("leader-id").trim().parse().unwrap()).unwrap();
    kill_process(leader, Signal::STOP).unwrap();
    is_left_alone(&shop, "stopped");
    kill_process(leader, Signal::KILL).unwrap();
    shop.script("deploy.sh", "echo x >> works\n");
    is_resumed(&shop, "another user");
}
