//! A workflow for Gitea or Forgejo Actions (also valid on GitHub) that polls on a schedule, or only its
//! steps, for an existing job.

use std::fmt::Write as _;

use super::quote::{shell, shell_line, yaml, yaml_block};
use super::rhythm::Rhythm;
use super::{Job, name_of, plain};

/// The folder of the state, between the step that restores it and the step that saves it.
const STATE_FOLDER: &str = ".tagship";

/// A secret of the repository, and its place in a run.
struct Entry<'j> {
    /// Its name in Gitea.
    secret: String,
    place: Place<'j>,
}

enum Place<'j> {
    Variable(&'j str),
    File(String),
    Credential(&'j str),
}

/// The workflow, for `.gitea/workflows/tagship.yaml`. `root`: the local folder that is the repository's root.
/// `seed`: differs between repositories, so that they do not all poll at once.
pub(crate) fn workflow(job: &Job, root: &str, seed: &str) -> String {
    let rhythm = Rhythm::new(job.interval, seed);
    let mut text = format!(
        "# .gitea/workflows/tagship.yaml (or .forgejo/workflows, .github/workflows), on the default branch:
# scheduled runs work only there.
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
      # Or use an image that contains tagship as the job's container.
      - name: Check that tagship is installed
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

/// The steps that poll, as a list. `root`: as in [`workflow`].
pub(crate) fn steps(job: &Job, root: &str) -> String {
    let entries = entries(job, root);
    let mut text = String::new();
    for whose in job.in_keyring() {
        let _ = writeln!(text, "# A job has no keyring: use {{ env = \"…\" }} for {whose}.");
    }
    for program in job.secret_programs() {
        let _ = writeln!(text, "# The job needs {program}, which prints a secret.");
    }
    for file in &job.certificates {
        let _ = writeln!(text, "# The job needs {}; a step before these may write it.", below(root, file));
    }
    text.push_str(&keep(job, "Restore the state", "restore"));
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
    text.push_str(&keep(job, "Save the state", "save"));
    text
}

/// A local path as seen by a job, which runs in the repository's root.
fn below(root: &str, path: &str) -> String {
    let below = |path: &str, root: &str| {
        let rest = path.strip_prefix(root.trim_end_matches('/'))?.strip_prefix('/')?;
        Some(rest.to_owned())
    };
    // Try the path as written first: a path that leaves the repository by .. leaves it in the job, too.
    let plainly = || below(&plain(path), &plain(root));
    below(path, root).or_else(plainly).unwrap_or_else(|| path.to_owned())
}

fn entries<'j>(job: &'j Job, root: &str) -> Vec<Entry<'j>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut add = |name: &str, place| {
        let name = name_of(name).to_ascii_uppercase();
        let mut secret: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        // Names that Gitea and GitHub reserve, and invalid names.
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

/// A step of actions/cache, if there is a state.
fn keep(job: &Job, name: &str, action: &str) -> String {
    if !job.keeps_state() {
        return String::new();
    }
    let (note, when, more) = if action == "restore" {
        (
            "# Each run saves the state under its own key and restores the newest. A cache can be lost: then the\n\
             # next run reports that it created the state file, and takes the tags that it finds as its\n\
             # baseline. To avoid that, set running = … in every stage, and state = \"none\".\n",
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

/// A step that writes secrets to the files that the configuration reads.
fn write_files(entries: &[Entry<'_>]) -> String {
    let mut script = String::new();
    for entry in entries {
        let (folder, path) = match &entry.place {
            Place::Variable(_) => continue,
            Place::File(path) => (path.rsplit_once('/').map(|(folder, _)| shell(folder)), shell(path)),
            Place::Credential(name) => (
                Some("\"$RUNNER_TEMP/credentials\"".to_owned()),
                format!("\"$RUNNER_TEMP/credentials\"/{}", shell(name)),
            ),
        };
        if let Some(folder) = folder {
            let _ = writeln!(script, "mkdir -p {folder}");
        }
        let _ = writeln!(script, "printf '%s' \"${}\" > {path}", entry.secret);
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

/// `env` of a step with the selected secrets, under the variable's name or their own.
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
    fn secrets_have_names_that_gitea_allows() {
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
    fn requirements_of_the_job_are_named() {
        let mut job = job();
        job.certificates = vec!["/srv/shop/ca.pem".to_owned()];
        let argv = vec!["pass".to_owned(), "show".to_owned(), "git".to_owned()];
        job.secrets = vec![secret(SecretSource::Command { argv, dir: "/srv/shop".into() })];
        let text = steps(&job, "/srv/shop");
        assert!(text.starts_with(
            "# The job needs pass, which prints a secret.\n\
             # The job needs ca.pem; a step before these may write it.\n"
        ));
        assert!(read(&text).is_array(), "{text}");
    }

    #[test]
    fn path_is_relative_to_the_repository() {
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
    fn state_is_restored_and_saved_if_there_is_one() {
        let mut job = job();
        let names = |job: &Job| -> Vec<String> {
            let workflow = read(&workflow(job, "/etc", "seed"));
            let steps = workflow["jobs"]["poll"]["steps"].as_array().unwrap().clone();
            steps.iter().filter_map(|step| step["name"].as_str().map(str::to_owned)).collect()
        };
        assert_eq!(
            names(&job),
            ["Check that tagship is installed", "Restore the state", "Poll and deploy", "Save the state"]
        );
        job.state = State::Nothing;
        assert_eq!(names(&job), ["Check that tagship is installed", "Poll and deploy"]);
    }
}
