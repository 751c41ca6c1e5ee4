//! A workflow of Gitea or Forgejo Actions (GitHub reads it, too) that polls on a schedule, or the steps alone for
//! a job that there is already.

use std::fmt::Write as _;

use super::quote::{shell, shell_line, yaml, yaml_block};
use super::rhythm::Rhythm;
use super::{Job, name_of, plain};

/// Where the state is between the step that fetches it and the one that keeps it.
const STATE_FOLDER: &str = ".tagship";

/// A secret of the repository, and where a run finds it.
struct Entry<'j> {
    /// As Gitea stores it.
    secret: String,
    place: Place<'j>,
}

enum Place<'j> {
    Variable(&'j str),
    File(String),
    Credential(&'j str),
}

/// The workflow, for `.gitea/workflows/tagship.yaml`. `root`: the folder here that is the repository's root there.
/// `seed`: what tells this repository from others, so that not all ask at once.
pub(crate) fn workflow(job: &Job, root: &str, seed: &str) -> String {
    let rhythm = Rhythm::new(job.interval, seed);
    let mut text = format!(
        "# .gitea/workflows/tagship.yaml (or .forgejo/workflows, .github/workflows), on the default branch:
# only there does a schedule count.
name: tagship
on:
  schedule:
    - cron: \"{cron}\" # {words}, in UTC
  workflow_dispatch: {{}}
# Two runs with a copy of the state each would deploy twice.
concurrency:
  group: tagship
  cancel-in-progress: false
jobs:
  poll:
    runs-on: ubuntu-latest
    timeout-minutes: {minutes}
    steps:
      - uses: actions/checkout@v4
      # Or an image that has tagship, as the job's container.
      - name: Is tagship there?
        run: tagship --version
",
        cron = rhythm.cron(),
        words = rhythm.words(),
        minutes = job.longest.as_secs().div_ceil(60),
    );
    for line in steps(job, root).lines() {
        if !line.is_empty() {
            text.push_str("      ");
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The steps that poll, as a list. `root`: as above.
pub(crate) fn steps(job: &Job, root: &str) -> String {
    let entries = entries(job, root);
    let mut text = String::new();
    for whose in job.in_keyring() {
        let _ = writeln!(text, "# A job has no keyring: {whose} must be {{ env = \"…\" }}.");
    }
    for program in job.secret_programs() {
        let _ = writeln!(text, "# The job has {program}, which prints a secret.");
    }
    for file in &job.certificates {
        let _ = writeln!(text, "# The job has {}, or a step before these writes it.", below(root, file));
    }
    text.push_str(&keep(job, "Fetch the state", "restore"));
    text.push_str(&write_files(&entries));
    let state = format!("{STATE_FOLDER}/state.db");
    let config = below(root, &job.config);
    let mut words = vec!["tagship", "--config", &config];
    if job.keeps_state() {
        words.extend(["--state", &state]);
    }
    words.extend(["poll", "--due", "--format", "github"]);
    let _ = write!(
        text,
        "- name: Poll and deploy\n  run: {}\n",
        yaml_block(&format!("{}\n", shell_line(words)), 4)
    );
    text.push_str(&environment(&entries, |place| matches!(place, Place::Variable(_))));
    text.push_str(&keep(job, "Keep the state", "save"));
    text
}

/// What a path here is called in a job, whose folder is the repository's root.
fn below(root: &str, path: &str) -> String {
    let below = |path: &str, root: &str| {
        let rest = path.strip_prefix(root.trim_end_matches('/'))?.strip_prefix('/')?;
        Some(rest.to_owned())
    };
    // As written first: what leads out of the repository by .. leads out of it there, too.
    let plainly = || below(&plain(path), &plain(root));
    below(path, root).or_else(plainly).unwrap_or_else(|| path.to_owned())
}

fn entries<'j>(job: &'j Job, root: &str) -> Vec<Entry<'j>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut add = |name: &str, place| {
        let name = name_of(name).to_ascii_uppercase();
        let mut secret: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        // Names that Gitea and GitHub keep for themselves, and those that are none.
        let is_taken = ["GITEA_", "GITHUB_", "FORGEJO_"].iter().any(|prefix| secret.starts_with(prefix));
        if is_taken || secret.is_empty() || secret.starts_with(|first: char| first.is_ascii_digit()) {
            secret.insert_str(0, "TAGSHIP_");
        }
        while entries.iter().any(|entry| entry.secret == secret) {
            secret.push('_');
        }
        entries.push(Entry { secret, place });
    };
    job.variables().into_iter().for_each(|(name, _)| add(name, Place::Variable(name)));
    job.files_as_written().into_iter().for_each(|path| add(path, Place::File(below(root, path))));
    job.credentials().into_iter().for_each(|name| add(name, Place::Credential(name)));
    entries
}

/// A step of actions/cache, where there is a state.
fn keep(job: &Job, name: &str, action: &str) -> String {
    if !job.keeps_state() {
        return String::new();
    }
    let (note, when, more) = if action == "restore" {
        (
            "# Each run keeps the state under a key of its own and fetches the newest. A cache can be lost:\n\
             # then the next run says that it created the state file, and takes what it finds for its\n\
             # baseline. Where that will not do: running = … on every stage, and state = \"none\".\n",
            "",
            "    restore-keys: tagship-state-\n",
        )
    } else {
        ("", "  if: ${{ always() }}\n", "")
    };
    format!(
        "{note}- name: {name}\n{when}  uses: actions/cache/{action}@v4\n  with:\n    path: {STATE_FOLDER}\n    \
         key: tagship-state-${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}\n{more}"
    )
}

/// A step that puts secrets where the configuration takes files from.
fn write_files(entries: &[Entry<'_>]) -> String {
    let mut script = String::new();
    for entry in entries {
        let (folder, path) = match &entry.place {
            Place::Variable(_) => continue,
            Place::File(path) => {
                (shell(path.rsplit_once('/').map_or(".", |(folder, _)| folder)), shell(path))
            }
            Place::Credential(name) => (
                "\"$RUNNER_TEMP/credentials\"".to_owned(),
                format!("\"$RUNNER_TEMP/credentials\"/{}", shell(name)),
            ),
        };
        let _ = writeln!(script, "mkdir -p {folder}\nprintf '%s' \"${}\" > {path}", entry.secret);
    }
    if script.is_empty() {
        return String::new();
    }
    if entries.iter().any(|entry| matches!(entry.place, Place::Credential(_))) {
        script.push_str("echo \"CREDENTIALS_DIRECTORY=$RUNNER_TEMP/credentials\" >> \"$GITHUB_ENV\"\n");
    }
    let script = yaml_block(&format!("umask 077\n{script}"), 4);
    let variables = environment(entries, |place| !matches!(place, Place::Variable(_)));
    format!("- name: Put secrets where the configuration looks for them\n  run: {script}\n{variables}")
}

/// `env` of a step with the secrets that are meant: under the variable's name, or their own.
fn environment(entries: &[Entry<'_>], is_meant: impl Fn(&Place<'_>) -> bool) -> String {
    let mut text = String::new();
    for entry in entries.iter().filter(|entry| is_meant(&entry.place)) {
        let name = match &entry.place {
            Place::Variable(name) => *name,
            Place::File(_) | Place::Credential(_) => &entry.secret,
        };
        if text.is_empty() {
            text.push_str("  env:\n");
        }
        let _ = writeln!(text, "    {}: ${{{{ secrets.{} }}}}", yaml(name), entry.secret);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::fixture::{job, secret};
    use super::*;
    use crate::config::SecretSource;

    fn read(text: &str) -> serde_json::Value {
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn secrets_come_by_names_that_gitea_stores() {
        let mut job = job();
        job.secrets = [
            SecretSource::Env("GITEA_TOKEN".to_owned()),
            SecretSource::Env("HOOK".to_owned()),
            SecretSource::File("/etc/tagship/9-token".into()),
            SecretSource::Credential("hc".to_owned()),
        ]
        .map(secret)
        .into();
        let steps = read(&steps(&job, "/srv/shop"));
        let find = |name: &str| {
            let mut steps = steps.as_array().unwrap().iter();
            steps.find(|step| step["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
        };
        assert_eq!(
            find("Poll and deploy")["env"],
            serde_json::json!({
                "GITEA_TOKEN": "${{ secrets.TAGSHIP_GITEA_TOKEN }}",
                "HOOK": "${{ secrets.HOOK }}"
            })
        );
        let files = find("Put secrets where the configuration looks for them");
        assert_eq!(
            files["env"],
            serde_json::json!({
                "TAGSHIP_9_TOKEN": "${{ secrets.TAGSHIP_9_TOKEN }}",
                "HC": "${{ secrets.HC }}"
            })
        );
        let script = files["run"].as_str().unwrap();
        assert!(script.contains("\nprintf '%s' \"$TAGSHIP_9_TOKEN\" > /etc/tagship/9-token\n"), "{script}");
    }

    #[test]
    fn what_a_job_needs_besides_is_said() {
        let mut job = job();
        job.certificates = vec!["/srv/shop/ca.pem".to_owned()];
        let argv = vec!["pass".to_owned(), "show".to_owned(), "git".to_owned()];
        job.secrets = vec![secret(SecretSource::Command { argv, dir: "/srv/shop".into() })];
        let text = steps(&job, "/srv/shop");
        assert!(text.starts_with(
            "# The job has pass, which prints a secret.\n\
             # The job has ca.pem, or a step before these writes it.\n"
        ));
        assert!(read(&text).is_array(), "{text}");
    }

    #[test]
    fn a_path_is_what_a_job_calls_it() {
        for (path, expected) in [
            ("/srv/shop/deploy/config.toml", "deploy/config.toml"),
            ("/srv/shop/deploy/../token", "deploy/../token"),
            ("/srv/shop/../token", "../token"),
            ("/srv/x/../shop/token", "token"),
            ("/run/secrets/token", "/run/secrets/token"),
            ("/srv/shop-2/token", "/srv/shop-2/token"),
        ] {
            assert_eq!(below("/srv/shop", path), expected);
        }
    }

    #[test]
    fn a_state_is_fetched_and_kept_unless_nothing_is() {
        let mut job = job();
        let names = |job: &Job| -> Vec<String> {
            let workflow = read(&workflow(job, "/etc", "seed"));
            let steps = workflow["jobs"]["poll"]["steps"].as_array().unwrap().clone();
            steps.iter().filter_map(|step| step["name"].as_str().map(str::to_owned)).collect()
        };
        assert_eq!(
            names(&job),
            ["Is tagship there?", "Fetch the state", "Poll and deploy", "Keep the state"]
        );
        job.state = State::Nothing;
        assert_eq!(names(&job), ["Is tagship there?", "Poll and deploy"]);
    }
}
