//! `poll --format github`: annotations, outputs and a summary, and nothing from outside that acts on them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use regex::Regex;
use serde_json::Value;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// What a step runs in, with dev-43 to be deployed.
fn workflow() -> (Gitea, Shop) {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.env("CI", "true");
    for (variable, file) in [("GITHUB_OUTPUT", "output"), ("GITHUB_STEP_SUMMARY", "summary.md")] {
        let path = shop.path(file);
        shop.env(variable, path.to_str().unwrap());
        shop.file(file, "");
    }
    (gitea, shop)
}

/// The outputs of a step, read as a runner does.
fn outputs(shop: &Shop) -> Vec<(String, String)> {
    let text = shop.read("output");
    let mut lines = text.lines();
    let mut outputs = Vec::new();
    while let Some(line) = lines.next() {
        let (name, value) = match (line.split_once('='), line.split_once("<<")) {
            (Some((name, value)), None) => (name, value.to_owned()),
            (_, Some((name, end))) => {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                (name, value.join("\n"))
            }
            (None, None) => panic!("no output: {line:?}"),
        };
        outputs.push((name.to_owned(), value));
    }
    outputs
}

/// The commands that a runner would find: it looks at the beginning of lines, and for the older form
/// anywhere, but not between `::stop-commands::TOKEN` and `::TOKEN::`.
fn commands(log: &str) -> Vec<String> {
    let command = Regex::new(r"^\s*::([a-z-]+)( [^:]*)?::").unwrap();
    let older = Regex::new(r"##\[[^\]]*\]").unwrap();
    let mut found = Vec::new();
    let mut stopped: Option<String> = None;
    for line in log.lines() {
        if let Some(token) = &stopped {
            if line.trim() == format!("::{token}::") {
                stopped = None;
            }
        } else if let Some(token) = line.strip_prefix("::stop-commands::") {
            stopped = Some(token.to_owned());
        } else if let Some(captures) = command.captures(line) {
            found.push(captures[1].to_owned());
        } else {
            found.extend(older.find(line).map(|found| found.as_str().to_owned()));
        }
    }
    assert_eq!(stopped, None, "commands are stopped for the rest of the job");
    found
}

#[test]
fn a_deployment_is_a_notice_an_output_and_a_row() {
    let (gitea, shop) = workflow();
    let run = shop.run(&["poll", "--format", "github"]);
    run.code(0).stderr("").stdout("::notice title=shop/dev deployed::dev-43 in [duration]\n");
    let outputs = outputs(&shop);
    let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["changed", "deployed", "failed", "unknown", "targets"]);
    let values: Vec<&str> = outputs[..4].iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["true", "1", "0", "0"]);
    let targets: Vec<Value> = serde_json::from_str(&outputs[4].1).unwrap();
    let dev = targets.iter().find(|target| target["stage"] == "dev").unwrap();
    assert_eq!((&dev["status"], &dev["latest_tag"]), (&"deployed".into(), &"dev-43".into()));
    assert_eq!(dev["digest"], gitea.digest("acme/shop", "dev-43").as_str());
    assert_eq!(targets.len(), 2);
    assert_eq!(
        shop.redact(&shop.read("summary.md")),
        "**tagship:** 2 targets, 1 deployed, 4 requests in [duration]\n\n\
         | Target | Status | |\n|---|---|---|\n\
         | `shop/dev` | `deployed` | `dev-43 in [duration]` |\n\n"
    );
}

#[test]
fn nothing_new_prints_nothing_and_says_so_in_the_outputs() {
    let (_gitea, shop) = workflow();
    shop.run(&["poll"]).code(0);
    shop.run(&["poll", "--format", "github"]).code(0).silent();
    assert_eq!(outputs(&shop)[0], ("changed".to_owned(), "false".to_owned()));
    let summary = shop.redact(&shop.read("summary.md"));
    assert_eq!(summary, "**tagship:** 2 targets, 0 deployed, 1 request in [duration]\n\n");
}

#[test]
fn a_dry_run_reports_changes_and_verbose_the_rest() {
    let (_gitea, shop) = workflow();
    let run = shop.run(&["poll", "--dry-run", "-v", "--exit-code", "--format", "github"]);
    run.code(3)
        .stdout_has("::notice title=shop/dev would_deploy::dev-43\n")
        .stdout_has("shop/prod up_to_date: v1.10.0 is the newest\n");
    assert_eq!(commands(&run.stdout), ["notice"]);
    assert_eq!(
        outputs(&shop)[..2].iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        ["true", "0"]
    );
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn quiet_annotates_failures_only() {
    let (_gitea, shop) = workflow();
    shop.run(&["poll", "-q", "--format", "github"]).code(0).silent();
    assert_eq!(outputs(&shop)[0].1, "true");
}

#[test]
fn without_the_runners_files_there_are_annotations_only() {
    let (_gitea, mut shop) = workflow();
    shop.env("GITHUB_OUTPUT", "");
    shop.env("GITHUB_STEP_SUMMARY", "");
    shop.run(&["poll", "--format", "github"])
        .code(0)
        .stderr("")
        .stdout_has("::notice title=shop/dev deployed::");
    assert_eq!((shop.read("output"), shop.read("summary.md")), (String::new(), String::new()));
}

#[test]
fn a_file_that_cannot_be_written_is_warned_of_and_fails_nothing() {
    let (_gitea, mut shop) = workflow();
    for variable in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        let path = shop.path("no/such/folder");
        shop.env(variable, path.to_str().unwrap());
    }
    let run = shop.run(&["poll", "--exit-code", "--format", "github"]);
    run.code(3).stderr("");
    for variable in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        run.stdout_has(&format!(
            "::warning title=tagship::could not write ${variable}: [dir]/no/such/folder: No such file"
        ));
    }
}

#[test]
fn earlier_content_of_the_summary_is_kept() {
    let (_gitea, shop) = workflow();
    shop.file("output", "theirs=1\n");
    fs::set_permissions(shop.path("output"), fs::Permissions::from_mode(0o600)).unwrap();
    shop.run(&["poll", "--format", "github"]).code(0);
    assert_eq!(outputs(&shop)[0], ("theirs".to_owned(), "1".to_owned()));
}

/// What someone could try to say through a deployment's output and an error's last line.
const HOSTILE: &str = r#"
cat <<'END'
::error title=you::are hacked
::set-output name=changed::true
 ::add-mask::a
##[error]also hacked
::endgroup::
::stop-commands::mine
::mine::
x ##[add-path]/evil
END
printf 'a|b `c` <img src=x onerror=alert(1)> [l](http://evil) ![i](http://evil) %%0A::error::x\r::error::y ##[error]z @everyone $(id)\n'
exit 7
"#;

#[test]
fn hostile_output_becomes_neither_command_nor_markup() {
    let (_gitea, shop) = workflow();
    shop.script("deploy.sh", HOSTILE);
    let run = shop.run(&["poll", "-v", "--format", "github"]);
    run.code(1).stderr("");
    assert_eq!(commands(&run.stdout), ["error", "group", "endgroup"], "{}", run.stdout);
    let error = run.stdout.lines().find(|line| line.starts_with("::error title=shop/dev failed::")).unwrap();
    assert!(error.contains("%250A::error::x"), "{error}");
    assert_eq!(outputs(&shop).len(), 5);

    let summary = shop.read("summary.md");
    let row = summary.lines().find(|line| line.starts_with("| `shop/dev`")).unwrap();
    assert_eq!(row.matches('|').count(), 4, "{row}");
    assert_eq!(row.matches('`').count(), 6, "{row}");
    let cell = row.rsplit("| `").next().unwrap();
    assert!(cell.contains("a¦b 'c' <img src=x") && cell.ends_with("` |"), "{row}");
}

#[test]
fn each_fence_has_a_token_of_its_own() {
    let (_gitea, shop) = workflow();
    shop.script("deploy.sh", HOSTILE);
    let tokens: Vec<String> = (0..2)
        .map(|_| {
            let run = shop.run(&["poll", "--format", "github"]);
            let token = run.stdout.lines().find_map(|line| line.strip_prefix("::stop-commands::"));
            token.unwrap().to_owned()
        })
        .collect();
    assert!(tokens[0].len() >= 32 && tokens[0] != tokens[1], "{tokens:?}");
}
