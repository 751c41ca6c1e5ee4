//! A CronJob with its configuration and its state, or several that share the targets.
//!
//! The configuration has the same folder in the pod as here, so that every path in it, relative or absolute,
//! stays valid.

mod volume;

use std::fmt::Write as _;

use super::quote::{shell_line, yaml, yaml_block};
use super::rhythm::Rhythm;
use super::{Job, STATE_FOLDER, folder_of, is_within, name_of, plain};
use volume::{volume_claim, volumes};

/// What the manifests need in addition to the job.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The container image, with tagship and the programs of deploy steps.
    pub(crate) image: String,
    pub(crate) namespace: Option<String>,
    /// The number of CronJobs that share the targets; None: one without shards.
    pub(crate) shards: Option<u32>,
    /// The files of the configuration's folder.
    pub(crate) files: Vec<File>,
}

/// A file of the configuration, or a script that it runs.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the configuration's folder.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) is_program: bool,
}

/// The name of all objects; with shards, followed by the shard's number.
const NAME: &str = "tagship";
/// The CronJob that reads the states of all shards.
const STATUS: &str = "tagship-status";
const CREDENTIALS_FOLDER: &str = "/run/credentials/tagship";
/// A user and group that own no other files; the number has no meaning.
const USER: u32 = 10_001;
/// Time for commands to stop before the pod is killed.
const GRACE_SECONDS: u32 = 30;

/// A value of the secret, and its place in the pod.
struct Entry<'j> {
    key: String,
    place: Place<'j>,
}

enum Place<'j> {
    Variable {
        name: &'j str,
        is_optional: bool,
    },
    /// A path relative to the configuration's folder.
    BesideConfig(String),
    /// An absolute path.
    Elsewhere(String),
    Credential(&'j str),
}

/// The maximum size of a ConfigMap, in bytes.
const CONFIG_MAP: usize = 1024 * 1024;
/// A size that fits into the annotation of `kubectl apply`, which is limited to 256 KiB of JSON.
const ANNOTATION: usize = 128 * 1024;

/// The manifests, in one document stream.
///
/// # Errors
/// The configuration's folder or files cannot be used in a pod.
pub(crate) fn manifests(job: &Job, cluster: &Cluster) -> Result<String, String> {
    let writable = [STATE_FOLDER, CREDENTIALS_FOLDER, "/tmp"];
    if let Some(mounted) = writable.into_iter().find(|mounted| is_within(mounted, job.folder())) {
        return Err(format!(
            "the configuration's folder {} cannot be mounted in a pod, which uses {mounted} itself; \
             move the configuration to its own folder, such as /etc/tagship",
            job.folder()
        ));
    }
    let size: usize = cluster.files.iter().map(|file| file.text.len()).sum();
    if size > CONFIG_MAP {
        return Err(format!(
            "the configuration and its scripts are {size} bytes, and a ConfigMap holds {CONFIG_MAP}; \
             divide the configuration, or put it into the image"
        ));
    }
    let entries = entries(job);
    let mut text = preface(job, cluster, &entries);
    text.push_str(&config_map(cluster));
    let polls: Vec<Pod> = match cluster.shards {
        None => vec![Pod::poll(job, NAME.to_owned(), None)],
        Some(count) => (0..count).map(|shard| Pod::of_shard(job, shard, count)).collect(),
    };
    for poll in &polls {
        if let Some(state) = &poll.states.first() {
            text.push_str(&volume_claim(&state.claim, cluster));
        }
        text.push_str(&cron_job(job, cluster, &entries, poll));
    }
    if has_status(job, cluster) {
        text.push_str(&cron_job(job, cluster, &[], &Pod::status(job, polls)));
    }
    Ok(text)
}

/// What one of the CronJobs runs.
struct Pod {
    name: String,
    arguments: Vec<String>,
    states: Vec<StateVolume>,
    duty: Duty,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// On schedule.
    Poll,
    /// A job that a user starts.
    Status,
}

/// The volume of a state, and where it is mounted.
struct StateVolume {
    name: String,
    claim: String,
    folder: String,
}

impl StateVolume {
    fn file(&self) -> String {
        format!("{}/state.db", self.folder)
    }
}

impl Pod {
    fn poll(job: &Job, name: String, shard: Option<&str>) -> Pod {
        let (claim, folder) = (format!("{name}-state"), STATE_FOLDER.to_owned());
        let state = StateVolume { name: "state".to_owned(), claim, folder };
        let file = job.keeps_state().then(|| state.file());
        let mut arguments = job.arguments(file.as_deref());
        arguments.extend(shard.into_iter().flat_map(|shard| ["--shard".to_owned(), shard.to_owned()]));
        let states = if job.keeps_state() { vec![state] } else { Vec::new() };
        Pod { name, arguments, states, duty: Duty::Poll }
    }

    fn of_shard(job: &Job, shard: u32, count: u32) -> Pod {
        Pod::poll(job, format!("{NAME}-{shard}"), Some(&format!("{shard}/{count}")))
    }

    /// Reads the states of these.
    fn status(job: &Job, polls: Vec<Pod>) -> Pod {
        let states: Vec<StateVolume> = polls
            .into_iter()
            .flat_map(|poll| poll.states)
            .enumerate()
            .map(|(index, state)| StateVolume {
                name: format!("state-{index}"),
                folder: format!("{STATE_FOLDER}/{index}"),
                ..state
            })
            .collect();
        let mut arguments = vec!["--config".to_owned(), job.config.clone()];
        arguments.extend(states.iter().flat_map(|state| ["--state".to_owned(), state.file()]));
        arguments.push("status".to_owned());
        Pod { name: STATUS.to_owned(), arguments, states, duty: Duty::Status }
    }
}

/// Whether several states are shown as one.
fn has_status(job: &Job, cluster: &Cluster) -> bool {
    job.keeps_state() && cluster.shards.is_some_and(|count| count > 1)
}

fn entries(job: &Job) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut add = |name: &str, place| {
        let key = unique_key(name, |key| entries.iter().any(|entry| entry.key == key));
        entries.push(Entry { key, place });
    };
    for (name, is_optional) in job.variables() {
        add(name, Place::Variable { name, is_optional });
    }
    for name in job.credentials() {
        add(name, Place::Credential(name));
    }
    for path in job.files().into_iter().chain(job.certificates.iter().cloned()) {
        let below = path.strip_prefix(job.folder()).and_then(|rest| rest.strip_prefix('/'));
        let place = below
            .map_or_else(|| Place::Elsewhere(path.clone()), |below| Place::BesideConfig(below.to_owned()));
        add(name_of(&path), place);
    }
    entries
}

/// Whether metrics would be written into the configuration's volume, which is read-only.
fn has_metrics_beside_config(job: &Job) -> bool {
    job.metrics_file.as_deref().is_some_and(|file| is_within(folder_of(file), job.folder()))
}

/// A program's path relative to the configuration's folder, if it is in there. In the pod, that folder hides
/// the image's.
fn below_config(job: &Job, command: &str) -> Option<String> {
    let path = match command {
        absolute if absolute.starts_with('/') => plain(absolute),
        relative if relative.contains('/') => plain(&format!("{}/{relative}", job.folder())),
        _ => return None,
    };
    Some(path.strip_prefix(job.folder())?.strip_prefix('/')?.to_owned())
}

fn preface(job: &Job, cluster: &Cluster, entries: &[Entry<'_>]) -> String {
    let kubectl = |words: &[&str]| {
        let mut line = vec!["kubectl"];
        if let Some(namespace) = &cluster.namespace {
            line.extend(["--namespace", namespace]);
        }
        line.extend(words);
        shell_line(line)
    };
    let mut text = String::from("# tagship as a CronJob. Requirements:\n#\n");
    let is_here = |command: &&String| {
        let below = below_config(job, command);
        cluster.files.iter().any(|file| file.is_program && Some(&file.path) == below.as_ref())
    };
    let (here, elsewhere): (Vec<&String>, Vec<&String>) = job.commands.iter().partition(is_here);
    let (hidden, in_image): (Vec<&String>, Vec<&String>) =
        elsewhere.into_iter().partition(|command| below_config(job, command).is_some());
    let list =
        |commands: &[&String]| commands.iter().map(|command| command.as_str()).collect::<Vec<_>>().join(" ");
    let runs = if in_image.is_empty() { String::new() } else { format!(", and {}", list(&in_image)) };
    let _ = writeln!(text, "# - The image contains the program tagship{runs}.");
    if !hidden.is_empty() {
        let _ = writeln!(
            text,
            "# - Move {} to another folder of the image, and change the configuration: in a pod, {} contains only the configuration.",
            list(&hidden),
            job.folder()
        );
    }
    if !here.is_empty() {
        let _ = writeln!(text, "# - The image contains everything that these scripts call: {}", list(&here));
    }
    for program in job.secret_programs() {
        let _ = writeln!(text, "# - The image contains {program}, which prints a secret.");
    }
    for whose in job.in_keyring() {
        let _ = writeln!(
            text,
            "# - A pod has no keyring: use {{ env = \"…\" }} or {{ file = \"…\" }} for {whose}."
        );
    }
    if !entries.is_empty() {
        let _ = writeln!(text, "# - Create the secret {NAME:?} once, with each value from a file:\n#");
        let _ = writeln!(text, "#     {} \\", kubectl(&["create", "secret", "generic", NAME]));
        for (index, entry) in entries.iter().enumerate() {
            let from = match &entry.place {
                Place::Variable { .. } | Place::Credential(_) => format!("./{}", entry.key),
                Place::BesideConfig(path) => format!("{}/{path}", job.folder()),
                Place::Elsewhere(path) => path.clone(),
            };
            let end = if index + 1 < entries.len() { " \\" } else { "" };
            let line = shell_line([format!("--from-file={}={from}", entry.key).as_str()]);
            let _ = writeln!(text, "#       {line}{end}");
        }
    }
    if entries.iter().any(|entry| matches!(entry.place, Place::Variable { is_optional: true, .. })) {
        text.push_str("#   (Values that are optional below can be omitted.)\n");
    }
    if job.keeps_state() {
        text.push_str(
            "# - The volume is written by one pod at a time. Do not use NFS: its locks are unreliable.\n",
        );
    }
    if has_metrics_beside_config(job) {
        text.push_str(
            "# - Move metrics_file: a pod cannot write beside the configuration, and each run would warn.\n",
        );
    }
    if cluster.files.iter().map(|file| file.text.len()).sum::<usize>() > ANNOTATION {
        text.push_str(
            "# - The configuration is too large for kubectl apply; use: kubectl apply --server-side -f FILE\n",
        );
    }
    let first = if cluster.shards.is_some() { format!("{NAME}-0") } else { NAME.to_owned() };
    let _ = writeln!(
        text,
        "#\n# To run it now: {}",
        kubectl(&["create", "job", &format!("--from=cronjob/{first}"), "tagship-first"])
    );
    if has_status(job, cluster) {
        let _ = writeln!(
            text,
            "# The state of all shards: {}\n#   {}\n# (Its pod reads every volume: it starts on a node that can mount them all.)",
            kubectl(&["create", "job", &format!("--from=cronjob/{STATUS}"), &format!("{STATUS}-1")]),
            kubectl(&["logs", "--follow", &format!("job/{STATUS}-1")])
        );
    }
    text
}

fn metadata(kind: &str, api: &str, name: &str, cluster: &Cluster) -> String {
    let mut text = format!(
        "---\napiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {name}\n  labels:\n    app.kubernetes.io/name: {NAME}\n"
    );
    if let Some(namespace) = &cluster.namespace {
        let _ = writeln!(text, "  namespace: {}", yaml(namespace));
    }
    text
}

fn config_map(cluster: &Cluster) -> String {
    let mut text = metadata("ConfigMap", "v1", NAME, cluster);
    text.push_str("data:\n");
    for (key, file) in keyed(&cluster.files) {
        let _ = writeln!(text, "  {}: {}", yaml(&key), yaml_block(&file.text, 4));
    }
    text
}

/// The files with their keys: each its path, with what a key cannot have replaced; each once.
fn keyed(files: &[File]) -> Vec<(String, &File)> {
    let mut keyed: Vec<(String, &File)> = Vec::new();
    for file in files {
        let key = unique_key(&file.path, |key| keyed.iter().any(|(known, _)| known == key));
        keyed.push((key, file));
    }
    keyed
}

fn unique_key(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let is_of_key = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    // A key may have at most 253 characters.
    let mut key: String = name.chars().map(|c| if is_of_key(c) { c } else { '_' }).take(240).collect();
    while key.trim_matches('.').is_empty() || is_taken(&key) {
        key.push('_');
    }
    key
}

fn cron_job(job: &Job, cluster: &Cluster, entries: &[Entry<'_>], pod: &Pod) -> String {
    let Pod { name, arguments, duty, .. } = pod;
    let seed = format!("{}/{name}", cluster.namespace.as_deref().unwrap_or("default"));
    let rhythm = Rhythm::new(job.interval, &seed);
    let deadline = rhythm.step().as_secs().clamp(60, 3600);
    let suspended = match duty {
        Duty::Poll => "",
        Duty::Status => "  # Runs only if you create a job from it.\n  suspend: true\n",
    };
    let mut text = metadata("CronJob", "batch/v1", name, cluster);
    let _ = write!(
        text,
        "spec:
  schedule: \"{cron}\" # {words}
{suspended}  # Two runs at a time would only wait for each other.
  concurrencyPolicy: Forbid
  # A run that could not begin in time is left out, not stored up.
  startingDeadlineSeconds: {deadline}
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      # tagship itself tries again, at the next run.
      backoffLimit: 0
      activeDeadlineSeconds: {longest}
      template:
        metadata:
          labels:
            app.kubernetes.io/name: {NAME}
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: {GRACE_SECONDS}
",
        cron = rhythm.cron(),
        words = rhythm.words(),
        longest = job.longest.as_secs(),
    );
    text.push_str(&match duty {
        Duty::Poll => account(job),
        Duty::Status => WITHOUT_ACCOUNT.to_owned(),
    });
    let _ = write!(
        text,
        "          securityContext:
            runAsNonRoot: true
            runAsUser: {USER}
            runAsGroup: {USER}
            fsGroup: {USER} # the volume of the state is this group's
            fsGroupChangePolicy: OnRootMismatch
            seccompProfile:
              type: RuntimeDefault
          containers:
            - name: {NAME}
              image: {image}
              command:
                - tagship
              args:
",
        image = yaml(&cluster.image),
    );
    for argument in arguments {
        // $(NAME) is a variable there, and $$ a dollar.
        let _ = writeln!(text, "                - {}", yaml(&argument.replace('$', "$$")));
    }
    text.push_str(&variables(entries));
    text.push_str(
        "              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities:
                  drop:
                    - ALL
",
    );
    text.push_str(&volumes(job, cluster, entries, pod));
    text
}

/// Access to the cluster's API only if deploy commands use it.
fn account(job: &Job) -> String {
    let of_cluster = ["kubectl", "helm", "kustomize", "flux"];
    let has_script = |command: &String| command.contains('/');
    let is_of_cluster = |command: &String| of_cluster.contains(&name_of(command));
    if job.commands.iter().any(is_of_cluster) {
        "          # A service account with only the rights that the deploy commands need.\n          \
         serviceAccountName: tagship\n"
            .to_owned()
    } else if job.commands.iter().any(has_script) {
        "          # If a deploy command uses the cluster's API, set serviceAccountName, and true here.\n          \
         automountServiceAccountToken: false\n"
            .to_owned()
    } else {
        WITHOUT_ACCOUNT.to_owned()
    }
}

const WITHOUT_ACCOUNT: &str = "          automountServiceAccountToken: false\n";

fn variables(entries: &[Entry<'_>]) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: String| {
        if text.is_empty() {
            text.push_str("              env:\n");
        }
        let _ = write!(text, "                - name: {}\n{value}", yaml(name));
    };
    for entry in entries {
        if let Place::Variable { name, is_optional } = entry.place {
            let optional = if is_optional { "                      optional: true\n" } else { "" };
            let key = yaml(&entry.key);
            add(
                name,
                format!(
                    "                  valueFrom:\n                    secretKeyRef:\n                      \
                     name: {NAME}\n                      key: {key}\n{optional}"
                ),
            );
        }
    }
    if entries.iter().any(|entry| matches!(entry.place, Place::Credential(_))) {
        add("CREDENTIALS_DIRECTORY", format!("                  value: {CREDENTIALS_FOLDER}\n"));
    }
    text
}
