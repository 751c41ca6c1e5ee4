//! Limits of the machine: a run says what it lacks, or that target fails. Nothing is aborted, and nothing is lost.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use crate::first_poll::gitea;
use crate::harness::{DEV, Shop, on};
use crate::new_tag::baselined;
use crate::registry::Build;
use crate::run::Run;

/// Processes of other users do not count against its limit.
const USER: u32 = 54_321;

fn give(path: &Path) {
    chown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

#[track_caller]
fn ended_by_itself(run: &Run, limit: &str) {
    assert!([0, 1, 2].into_iter().any(|code| run.has_code(code)), "{limit}: {}", run.printed());
    assert!(!run.printed().contains("panicked"), "{limit}: {}", run.printed());
}

/// The limit binds everybody but root. The name of the host makes a thread for every request.
#[test]
#[ignore = "needs root"]
fn too_few_processes_end_a_run_with_advice_or_fail_its_target() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on("gitea", &gitea.url().replace("127.0.0.1", "localhost"), DEV));
    fs::copy(env!("CARGO_BIN_EXE_tagship"), shop.path("program")).unwrap();
    fs::set_permissions(shop.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    give(&shop.path("."));
    let user = format!("--reuid={USER}");
    let group = format!("--regid={USER}");
    let poll = |limit: &str, arguments: &[&str]| {
        let program = ["setpriv", &user, &group, "--clear-groups", "prlimit", limit, "./program"];
        let options = ["--config", "tagship.toml", "--state", "state.db"];
        shop.run_program(&program, &[&options, arguments].concat())
    };
    poll("--nproc=500", &["poll"]).code(0).stdout_has("baseline");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    let mut refused = 0;
    for number in 1..=20 {
        let limit = format!("--nproc={number}");
        ended_by_itself(&poll(&limit, &["check", "--online"]), &limit);
        let run = poll(&limit, &["poll"]);
        ended_by_itself(&run, &limit);
        if run.has_code(2) {
            refused += 1;
            run.stderr_has("check the limits");
        }
    }
    assert!(refused > 0, "the limit was never felt");
    poll("--nproc=500", &["retry", "shop/dev"]);
    poll("--nproc=500", &["poll"]).code(0);
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43");
}

#[test]
fn a_limit_on_file_sizes_ends_a_run_with_what_to_look_at() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    for limit in ["--fsize=0", "--fsize=1", "--fsize=512", "--fsize=1024", "--fsize=8192", "--fsize=40000"] {
        for arguments in [&["poll"][..], &["hold", "shop/dev"], &["mark", "shop/dev", "dev-42"]] {
            ended_by_itself(&shop.run_under(&["prlimit", limit], arguments), limit);
        }
    }
    let run = shop.run_under(&["prlimit", "--fsize=0"], &["hold", "shop/dev"]);
    run.code(2).stderr_has("ulimit -f");
    shop.run(&["release", "shop/dev"]).code(0);
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43");
}

#[test]
fn too_little_memory_is_said_before_anything_is_begun() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    // With less than the first of them a program of this size is not even loaded.
    for mebibytes in (48..160).step_by(8) {
        let limit = format!("--as={}", mebibytes * 1024 * 1024);
        let run = shop.run_under(&["prlimit", &limit], &["poll"]);
        ended_by_itself(&run, &limit);
        if mebibytes == 48 {
            run.code(2).stdout("").stderr_has("raise the limit on memory (ulimit -v)");
        }
    }
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.status("shop/dev")["deployed_tag"], "dev-43");
}

#[test]
fn a_command_has_its_signals_as_the_system_sets_them() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    shop.script("deploy.sh", "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status > signals\n");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    for line in shop.read("signals").lines() {
        let signals = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        // SIGPIPE and SIGXFSZ.
        assert_eq!(signals & (1 << 12 | 1 << 24), 0, "{line}");
    }
}
