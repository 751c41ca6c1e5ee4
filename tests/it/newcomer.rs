//! A newcomer's first days with tagship, as written down in `tests/newcomer.session`: every command of it runs, against
//! the scripted registry, and prints exactly what stands there.

use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;

use crate::first_poll::gitea;
use crate::harness::Shop;
use crate::registry::{Build, Gitea};
use crate::run::Running;
use crate::webhook::pushed;

/// In a session `$ ` begins a command, `~ ` an event outside of tagship, and `# ` after an empty line a remark; all
/// other lines are output.
#[test]
fn help_and_messages_lead_a_newcomer_to_a_rollback() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = Shop::new();
    shop.env("GIT", &gitea.url());
    shop.env("PATH", &format!("{}:/usr/bin:/bin", binaries()));
    let written = include_str!("../newcomer.session");
    let mut played = String::new();
    let mut between = true;
    for line in written.lines() {
        between = line.is_empty() || (between && line.starts_with("# "));
        if let Some(command) = line.strip_prefix("$ ") {
            played.push_str(&format!("{line}\n{}", run(&mut shop, command)));
        } else if let Some(event) = line.strip_prefix("~ ") {
            played.push_str(&format!("{line}\n"));
            happen(&shop, &gitea, event);
        } else if between {
            played.push_str(&format!("{line}\n"));
        }
    }
    assert!(played == without_gaps(written), "the session went otherwise:\n{played}");
}

/// An empty line of output looks like one between two commands.
fn without_gaps(text: &str) -> String {
    text.lines().fold(String::new(), |text, line| text + line + "\n")
}

fn binaries() -> String {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_tagship"));
    binary.parent().unwrap().display().to_string()
}

/// Durations of more than a minute, which [`Shop::redact`] leaves.
static LONG: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b\d+m( \[duration\])?|\[duration\]").unwrap());

/// What the command printed, as a terminal shows it, and how it ended where that is not 0.
fn run(shop: &mut Shop, command: &str) -> String {
    if let Some(variable) = command.strip_prefix("export ") {
        let (name, value) = variable.split_once('=').unwrap();
        let value = value.replace("$PWD", shop.path("").to_str().unwrap().trim_end_matches('/'));
        shop.env(name, &value);
        return String::new();
    }
    let mut shell = Command::new("sh");
    shop.furnish(&mut shell);
    let run = Running::start(shop, shell, &["-c", &format!("exec 2>&1; {command}")]).end();
    let stdout = LONG.replace_all(&run.stdout, "[duration]").replace(&whoami::username().unwrap(), "[you]");
    let ending =
        run.code.filter(|code| *code != 0).map_or_else(String::new, |code| format!("[exit {code}]\n"));
    stdout.lines().filter(|line| !line.is_empty()).fold(String::new(), |text, line| text + line + "\n")
        + &ending
}

/// `push v1.11.0` pushes a tag of acme/shop; `push acme/wiki:v1.0.0` a tag of another image.
fn happen(shop: &Shop, gitea: &Gitea, event: &str) {
    let image_and_tag = |name: &str| match name.split_once(':') {
        Some((image, tag)) => (image.to_owned(), tag.to_owned()),
        None => ("acme/shop".to_owned(), name.to_owned()),
    };
    match event.split_once(' ').unwrap_or((event, "")) {
        ("push", name) => {
            let (image, tag) = image_and_tag(name);
            gitea.push(&image, &tag, &jiff::Timestamp::now().to_string());
        }
        ("label", rest) => {
            let (name, (label, value)) =
                rest.split_once(' ').map(|(n, l)| (n, l.split_once('=').unwrap())).unwrap();
            let (image, tag) = image_and_tag(name);
            gitea.label(&image, &tag, label, value);
        }
        ("webhook", name) => {
            let (image, tag) = image_and_tag(name);
            shop.file("payload.json", &pushed(&image, &tag));
        }
        ("break", "the stage") => shop.file("fail", ""),
        ("break", tag) => shop.file(&format!("fail-{tag}"), ""),
        ("mend", "the stage") => shop.remove("fail"),
        (other, _) => panic!("{other:?} cannot happen"),
    }
}
