//! FIFOs, devices and links where tagship reads or replaces a regular file: no run hangs or takes all memory, and none
//! of them is replaced.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::registry::Build;

const FIFO: &str =
    "it is a named pipe (FIFO); choose a regular file, or pass a pipe as /dev/stdin or /dev/fd/N";

/// A configuration with which no request is sent.
fn quiet() -> String {
    on("gitea", "https://git.example.test", DEV)
        .replace("token = { file = \"secret/token\" }", "anonymous = true")
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn is_fifo(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().file_type().is_fifo()
}

#[test]
fn fifo_as_configuration_or_include_is_refused() {
    let shop = Shop::new();
    fifo(&shop.path("tagship.toml"));
    for command in ["check", "poll", "status"] {
        shop.run(&[command]).code(2).stderr_has(&format!("[dir]/tagship.toml: cannot read the file: {FIFO}"));
    }
    // The shop reads it when it is dropped.
    shop.remove("tagship.toml");
    let shop = Shop::with(&format!("include = [\"*.d/*.toml\"]\n{}", quiet()));
    fs::create_dir(shop.path("projects.d")).unwrap();
    fifo(&shop.path("projects.d/more.toml"));
    let fault = format!("[dir]/projects.d/more.toml: cannot read the file: {FIFO}");
    shop.run(&["check"]).code(2).stderr_has(&fault);
}

#[test]
fn configuration_that_is_too_long_is_refused() {
    let shop = Shop::new();
    // Sparse: it takes no room.
    File::create(shop.path("tagship.toml")).unwrap().set_len(1 << 40).unwrap();
    shop.run(&["check"]).code(2).stderr_has("cannot read the file: it is longer than 32 MiB");
    // No secret is searched there.
    shop.remove("tagship.toml");
}

#[test]
fn configuration_can_come_through_a_pipe_that_is_handed_in() {
    let shop = Shop::new();
    let check = ["sh", "-c", "exec \"$0\" --config /dev/stdin --state \"$4\" check"];
    let mut run = shop.start_under(&check, &[]);
    run.stdin().write_all(quiet().as_bytes()).unwrap();
    run.end().code(0).stdout_has("/dev/stdin: 1 target");
    let endless = ["sh", "-c", "yes | \"$0\" --config /dev/stdin --state \"$4\" check"];
    shop.run_under(&endless, &[]).code(2).stderr_has("it is longer than 32 MiB");
}

#[test]
fn fifo_in_place_of_a_certificate_or_a_secret_is_refused() {
    let shop = Shop::new();
    fifo(&shop.path("pipe"));
    for keys in ["ca_file = \"pipe\"", "client_cert = \"pipe\"\nclient_key = \"pipe\""] {
        shop.config(&quiet().replace("anonymous = true", keys));
        shop.run(&["poll"]).code(2).stderr_has(&format!("[dir]/pipe cannot be read: {FIFO}"));
    }
    let gitea = gitea(Build::GiteaNew);
    for source in ["{ file = \"pipe\" }", "{ docker_config = \"pipe\" }"] {
        shop.config(&on_gitea(&gitea, PROD).replace("{ file = \"secret/token\" }", source));
        shop.run(&["check"]).code(0).stderr_has(&format!("[dir]/pipe cannot be read: {FIFO}"));
        shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/prod", "secret");
    }
}

#[test]
fn fifo_in_a_layout_makes_its_target_unknown() {
    let shop = Shop::new();
    shop.config(
        &on("oci-layout", "", DEV)
            .replace("url = \"\"\ntoken = { file = \"secret/token\" }", "path = \"images\""),
    );
    shop.file("images/oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}");
    fifo(&shop.path("images/index.json"));
    let run = shop.run(&["poll"]);
    run.code(1).line("shop/dev", &["unknown", &format!("[dir]/images/index.json cannot be read: {FIFO}")]);
}

#[test]
fn fifo_for_a_runner_is_said_and_not_waited_for() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = Shop::with(&on_gitea(&gitea, DEV));
    for variable in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        let path = shop.path(variable);
        fifo(&path);
        shop.env(variable, path.to_str().unwrap());
    }
    let run = shop.run(&["poll", "--format", "github"]);
    run.code(0).stdout_has("could not write $GITHUB_OUTPUT: [dir]/GITHUB_OUTPUT: it is a named pipe (FIFO)");
    run.stdout_has("could not write $GITHUB_STEP_SUMMARY: ");
    // Files that the caller opened are written to: the streams of the process.
    shop.env("GITHUB_OUTPUT", "/dev/stderr");
    shop.run(&["poll", "--format", "github"]).code(0).stderr_has("changed=false\n");
}

#[test]
fn metrics_replace_nothing_but_a_regular_file() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&format!("[settings]\nmetrics_file = \"tagship.prom\"\n{}", on_gitea(&gitea, DEV)));
    let path = shop.path("tagship.prom");
    let refused = |what: &str| {
        for command in ["check", "poll"] {
            shop.run(&[command]).code(2).stdout("").stderr_has(&format!(
                "metrics_file [dir]/tagship.prom: it is {what}; tagship replaces regular files only"
            ));
        }
    };
    fifo(&path);
    refused("a named pipe (FIFO)");
    assert!(is_fifo(&path));
    fs::rename(&path, shop.path("pipe")).unwrap();
    symlink("other", &path).unwrap();
    refused("a symbolic link");
    shop.file("other", "");
    refused("a symbolic link");
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("other"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("a folder");
    fs::remove_dir(&path).unwrap();
    shop.run(&["poll"]).code(0);
    assert!(shop.read("tagship.prom").contains("tagship_last_run_timestamp_seconds"));
    assert!(is_fifo(&shop.path("pipe")));
}

#[test]
#[ignore = "needs root"]
fn device_is_neither_read_nor_replaced() {
    use rustix::fs::makedev;
    let shop = Shop::with(&format!("[settings]\nmetrics_file = \"null\"\n{}", quiet()));
    let device = |name: &str, minor| {
        mknodat(CWD, shop.path(name), FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, makedev(1, minor))
            .unwrap();
    };
    device("null", 3);
    device("zero", 5);
    for command in ["check", "poll"] {
        let fault = "metrics_file [dir]/null: it is a device; tagship replaces regular files only";
        shop.run(&[command]).code(2).stderr_has(fault);
    }
    assert!(fs::symlink_metadata(shop.path("null")).unwrap().file_type().is_char_device());
    shop.remove("tagship.toml");
    symlink("zero", shop.path("tagship.toml")).unwrap();
    shop.run(&["check"]).code(2).stderr_has("cannot read the file: it is a device; choose a regular file");
    shop.remove("tagship.toml");
}

#[test]
fn generated_files_replace_nothing_but_regular_ones() {
    let shop = Shop::new();
    for page in ["man/tagship.1", "completions/tagship.bash"] {
        let folder = page.split('/').next().unwrap();
        fs::create_dir(shop.path(folder)).unwrap();
        fifo(&shop.path(page));
        let run = shop.run_bare(&["generate", folder, "--dir", folder]);
        run.code(2)
            .stderr_has(&format!("could not write {page}: it is a named pipe (FIFO); tagship replaces"));
        assert!(is_fifo(&shop.path(page)));
    }
}

/// Every file that a run reads or keeps, by its own name and by others.
#[test]
fn metrics_replace_no_file_that_tagship_uses() {
    let gitea = gitea(Build::GiteaNew);
    let steps = "[{ command = [\"sh\", \"./inner.sh\"] }, { command = [\"./deploy.sh\"] }]";
    let stage = DEV.replace("{ command = [\"./deploy.sh\"] }", steps);
    let more = "[secrets]\nhook = { file = \"secret/hook\" }\ngiven = { command = [\"./give.sh\"] }\n\
                [registries.docker]\nkind = \"oci\"\nurl = \"https://registry.example.test\"\n\
                token = { docker_config = \"docker.json\" }\nca_file = \"ca.pem\"\n\
                [registries.folder]\nkind = \"oci-layout\"\npath = \"images\"\n";
    let text = format!(
        "include = [\"more.toml\"]\n[settings]\nmetrics_file = \"HERE\"\n{}",
        on_gitea(&gitea, &stage)
    );
    let shop = Shop::with(&text.replace("HERE", "tagship.prom"));
    shop.file("more.toml", more);
    for name in ["inner.sh", "give.sh"] {
        shop.script(name, "");
    }
    shop.secret("hook", "planted-hook");
    shop.file("docker.json", "{}");
    shop.file(
        "ca.pem",
        &rcgen::generate_simple_self_signed(["ca.example.test".to_owned()]).unwrap().cert.pem(),
    );
    shop.file("images/index.json", "{\"manifests\": []}");
    shop.file("images/oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}");
    symlink(".", shop.path("link")).unwrap();
    fs::hard_link(shop.path("secret/hook"), shop.path("hook.prom")).unwrap();

    let refused = |name: &str, what: &str| {
        shop.config(&text.replace("HERE", name));
        let content = || fs::read(shop.path(name)).ok();
        let before = content();
        for command in [&["check"][..], &["poll"], &["poll", "--dry-run"]] {
            shop.run(command).code(2).stdout("").stderr(&format!(
                "error: metrics_file [dir]/{name}: it is {what}; write the metrics to a separate file\n"
            ));
        }
        assert!(content() == before, "{name}");
    };
    // The state is not made yet.
    for name in ["state.db", "link/state.db"] {
        refused(name, "the state file");
    }
    assert!(!shop.exists("state.db"), "nothing was done");
    shop.config(&text.replace("HERE", "tagship.prom"));
    shop.run(&["poll"]).code(0);
    for (name, what) in [
        ("state.db", "the state file"),
        ("link/state.db", "the state file"),
        ("state.db-journal", "the journal of the state file"),
        ("state.db-wal", "the journal of the state file"),
        ("state.db.locks/shop@dev", "a lock of the state file"),
        ("tagship.toml", "a file of the configuration"),
        ("link/link/tagship.toml", "a file of the configuration"),
        ("more.toml", "a file of the configuration"),
        ("secret/token", "the file of a secret"),
        ("secret/hook", "the file of a secret"),
        ("hook.prom", "the file of a secret"),
        ("docker.json", "the file of a secret"),
        ("ca.pem", "a certificate of a registry, or its key"),
        ("deploy.sh", "a program that tagship runs"),
        ("inner.sh", "a program that tagship runs"),
        ("give.sh", "a program that tagship runs"),
        ("images/index.json", "a file of an image layout"),
        ("images/oci-layout", "a file of an image layout"),
    ] {
        refused(name, what);
    }
    shop.remove("hook.prom");
}

/// The next run would read it as configuration.
#[test]
fn nothing_is_made_where_include_would_read_it() {
    let shop = Shop::new();
    fs::create_dir_all(shop.path("projects.d/deep")).unwrap();
    symlink("projects.d", shop.path("link")).unwrap();
    for (include, name) in [
        ("projects.d/*.toml", "projects.d/metrics.toml"),
        ("projects.d/deep/*", "link/deep/metrics.prom"),
        ("projects.d/m?t*.[ps]rom", "link/metrics.prom"),
        ("*/*/*.prom", "projects.d/../projects.d/deep/metrics.prom"),
        ("**/*.prom", "link/deep/metrics.prom"),
        ("link/*.prom", "projects.d/metrics.prom"),
    ] {
        let include = format!("include = [{include:?}]\n");
        shop.config(&format!("{include}[settings]\nmetrics_file = {name:?}\n{}", quiet()));
        for command in [&["check"][..], &["poll"], &["poll", "--dry-run"]] {
            shop.run(command).code(2).stdout("").stderr(&format!(
                "error: metrics_file [dir]/{name}: it is a file that include would read as configuration; \
                 write the metrics to a separate file\n"
            ));
        }
        shop.config(&format!("{include}{}", quiet()));
        for command in ["check", "poll", "status"] {
            let arguments = ["--config", "tagship.toml", "--state", name, command];
            shop.run_bare(&arguments).code(2).stdout("").stderr(&format!(
                "error: the state file {name}: include would read it as configuration; choose another path\n"
            ));
            assert!(!shop.exists(name), "{name}");
        }
    }
    for (include, name) in [
        ("projects.d/*.toml", "projects.d/metrics.prom"),
        ("projects.d/*.prom", "projects.d/deep/metrics.prom"),
        ("other.d/*", "projects.d/metrics.prom"),
    ] {
        let settings = format!("[settings]\nmetrics_file = {name:?}\nstate = \"projects.d/state.db\"\n");
        shop.config(&format!("include = [{include:?}]\n{settings}{}", quiet()));
        shop.run_bare(&["--config", "tagship.toml", "check"]).code(0);
    }
}

/// A program that PATH has, say, or the notes of a person.
#[test]
fn metrics_replace_nothing_but_metrics() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&format!("[settings]\nmetrics_file = \"tagship.prom\"\n{}", on_gitea(&gitea, DEV)));
    shop.file("tagship.prom", "of somebody else\n");
    for command in [&["check"][..], &["poll"]] {
        shop.run(command).code(2).stdout("").stderr(
            "error: metrics_file [dir]/tagship.prom: it contains something other than metrics of tagship; \
             move it away, or choose another file\n",
        );
    }
    assert_eq!(shop.read("tagship.prom"), "of somebody else\n");
    // A full disk can leave an empty one.
    shop.file("tagship.prom", "");
    for _ in 0..2 {
        shop.run(&["poll"]).code(0);
        assert!(shop.read("tagship.prom").contains("tagship_last_run_timestamp_seconds"));
    }
}

/// The other name would have the new content, too.
#[test]
fn generated_files_replace_no_file_with_a_second_name() {
    let shop = Shop::new();
    shop.file("tagship.toml", &quiet());
    fs::create_dir(shop.path("man")).unwrap();
    fs::hard_link(shop.path("tagship.toml"), shop.path("man/tagship.1")).unwrap();
    let run = shop.run_bare(&["generate", "man", "--dir", "man"]);
    run.code(2)
        .stderr_has("could not write man/tagship.1: it has a second name (a hard link); remove that name\n");
    assert_eq!(shop.read("tagship.toml"), quiet());
}
