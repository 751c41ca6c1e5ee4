//! A service and its timer.

use std::fmt::Write as _;
use std::time::Duration;

use super::quote::unit;
use super::rhythm::{Rhythm, divisor};
use super::{Job, folder_of, is_within};

/// The user that the service runs as.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// A dynamic user, or the system user `tagship` if the job needs a permanent one.
    Service,
    /// This user, who owns the configuration.
    Named(String),
}

/// A folder in which systemd looks for credentials.
const CREDENTIALS: &str = "/etc/credstore";
const VARIABLES: &str = "/etc/tagship/environment";

/// The files and their content: `tagship.service` and `tagship.timer`.
pub(crate) fn units(job: &Job, account: &Account) -> [(&'static str, String); 2] {
    [("tagship.service", service(job, account)), ("tagship.timer", timer(job))]
}

fn service(job: &Job, account: &Account) -> String {
    let mut text = String::from(
        "[Unit]\n\
         Description=Deploy new container image tags\n\
         Documentation=man:tagship(1)\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         # A failed run makes the unit fail: OnFailure=NAME.service can send an alert.\n\n\
         [Service]\n\
         Type=oneshot\n",
    );
    let arguments = job.arguments(None);
    let words: Vec<String> = std::iter::once(&job.program).chain(&arguments).map(|word| unit(word)).collect();
    // With a colon before it, $ is a character.
    let colon = if words.iter().any(|word| word.contains('$')) { ":" } else { "" };
    let _ = writeln!(text, "ExecStart={colon}{}", words.join(" "));
    let _ = writeln!(
        text,
        "# max_runtime, plus the longest deployment that may still be running then.\n\
         TimeoutStartSec={}\n\
         # Commands have 10 s to stop.\n\
         TimeoutStopSec=30",
        job.longest.as_secs()
    );
    text.push_str(&secrets(job));
    let written = written(job);
    text.push_str(&user(job, account, &written));
    text.push_str(&folders(job, &written));
    text.push_str(&sandbox(job, account));
    text
}

fn secrets(job: &Job) -> String {
    let mut text = String::new();
    let variables = job.variables();
    if !variables.is_empty() {
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        let is_needed = variables.iter().any(|(_, is_optional)| !is_optional);
        let dash = if is_needed { "" } else { "-" };
        let _ = writeln!(
            text,
            "# One NAME=VALUE per line, in a file that only root can read (mode 0600): {}\n\
             EnvironmentFile={dash}{VARIABLES}",
            names.join(" ")
        );
    }
    for name in job.credentials() {
        // `%` would start a specifier. (The configuration accepts only file names.)
        let _ = writeln!(text, "LoadCredential={0}:{CREDENTIALS}/{0}", name.replace('%', "%%"));
    }
    for whose in job.in_keyring() {
        let _ = writeln!(
            text,
            "# A service has no keyring: use {{ credential = \"…\" }} or {{ file = \"…\" }} for {whose}."
        );
    }
    text
}

fn user(job: &Job, account: &Account, written: &[&str]) -> String {
    let mut text = String::new();
    match account {
        Account::Named(user) => {
            let _ = writeln!(text, "User={}", user.replace('%', "%%"));
        }
        Account::Service if !needs_permanent_user(job) && written.is_empty() => {
            text.push_str("DynamicUser=yes\n");
        }
        Account::Service => text.push_str(
            "# Made by: useradd --system --home-dir /var/lib/tagship --shell /usr/sbin/nologin tagship\n\
             User=tagship\n",
        ),
    }
    for path in std::iter::once(&job.config).chain(&job.files()).chain(&job.certificates) {
        let _ = writeln!(text, "# That user must be able to read {path}");
    }
    for folder in written {
        let _ = writeln!(text, "# That user must be able to write into {folder}");
    }
    if runs_programs(job) {
        let commands = job.commands.iter().map(String::as_str);
        let programs: Vec<&str> = commands.chain(job.secret_programs()).collect();
        let _ = writeln!(text, "# That user must be able to run {}", programs.join(", "));
        text.push_str(
            "# These programs run with the rights of this unit. docker needs its group; ssh needs keys and\n\
             # known_hosts in the user's home. sudo works only without NoNewPrivileges; rootless podman\n\
             # needs both NoNewPrivileges and RestrictNamespaces removed.\n\
             #SupplementaryGroups=docker\n",
        );
    }
    text
}

/// Whether the job needs a permanent user: a dynamic user cannot be given rights in advance.
fn needs_permanent_user(job: &Job) -> bool {
    runs_programs(job) || job.is_private || !job.files().is_empty()
}

fn runs_programs(job: &Job) -> bool {
    !job.commands.is_empty() || !job.secret_programs().is_empty()
}

/// Folders outside the unit's own that a run writes to.
fn written(job: &Job) -> Vec<&str> {
    let state = job.state_file().filter(|_| !job.has_state_of_the_service());
    let mut written: Vec<&str> =
        state.into_iter().chain(job.metrics_file.as_deref()).map(folder_of).collect();
    written.dedup();
    written
}

fn folders(job: &Job, written: &[&str]) -> String {
    let mut text = String::new();
    if job.has_state_of_the_service() {
        text.push_str("StateDirectory=tagship\nStateDirectoryMode=0700\n");
    }
    if job.folder() == "/etc/tagship" {
        text.push_str("ConfigurationDirectory=tagship\n");
    }
    for folder in written {
        let _ = writeln!(text, "ReadWritePaths={}", unit(folder));
    }
    if !job.commands.is_empty() {
        text.push_str(
            "# A folder that a deploy command writes to needs a line like this:\n#ReadWritePaths=/srv/shop\n",
        );
    }
    text
}

fn sandbox(job: &Job, account: &Account) -> String {
    let files = job.files();
    let uses = |folders: &[&str]| {
        let paths = [&job.config, &job.program].into_iter().chain(&files).chain(&job.certificates);
        let paths = paths.chain(&job.commands).chain(&job.folders).map(String::as_str);
        let mut paths = paths.chain(job.secret_programs()).chain(written(job));
        paths.any(|path| folders.iter().any(|folder| is_within(path, folder)))
    };
    // A person's commands need files in the home: keys for ssh, credentials of docker.
    let is_at_home = matches!(account, Account::Named(_)) && runs_programs(job);
    let home = if is_at_home || uses(&["/home", "/root", "/run/user"]) { "read-only" } else { "yes" };
    let tmp = if uses(&["/tmp", "/var/tmp"]) { "no" } else { "yes" };
    let mut text = format!(
        "ProtectSystem=strict\n\
         ProtectHome={home}\n\
         PrivateTmp={tmp}\n\
         PrivateDevices=yes\n\
         PrivateMounts=yes\n\
         NoNewPrivileges=yes\n\
         CapabilityBoundingSet=\n\
         AmbientCapabilities=\n\
         LockPersonality=yes\n\
         ProtectClock=yes\n\
         ProtectControlGroups=yes\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelTunables=yes\n\
         RemoveIPC=yes\n\
         RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         SystemCallArchitectures=native\n\
         SystemCallFilter=@system-service\n\
         SystemCallErrorNumber=EPERM\n\
         UMask=0077\n"
    );
    if !runs_programs(job) {
        // With these settings, programs with a JIT compiler, and programs that inspect other processes, would
        // fail.
        text.push_str(
            "MemoryDenyWriteExecute=yes\n\
             ProcSubset=pid\n\
             ProtectProc=invisible\n\
             SystemCallFilter=~@privileged @resources\n",
        );
    }
    text
}

fn timer(job: &Job) -> String {
    // The seed does not matter: systemd adds a delay on each machine.
    let rhythm = Rhythm::new(job.interval, "");
    let seconds = u32::try_from(job.interval.as_secs()).unwrap_or(u32::MAX);
    let (calendar, step) = if seconds < 60 {
        let step = divisor(60, seconds.max(1));
        (format!("*:*:0/{step}"), Duration::from_secs(step.into()))
    } else {
        (rhythm.calendar(), rhythm.step())
    };
    format!(
        "[Unit]\n\
         Description=Poll for new container image tags\n\n\
         [Timer]\n\
         OnCalendar={calendar}\n\
         # Each machine has its own fixed delay.\n\
         RandomizedDelaySec={delay}\n\
         FixedRandomDelay=yes\n\
         AccuracySec=1\n\
         # Catches up after the machine was off.\n\
         Persistent=yes\n\n\
         [Install]\n\
         WantedBy=timers.target\n",
        delay = step.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::fixture::{job, secret};
    use super::*;
    use crate::config::SecretSource;

    fn lines(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn service_that_only_sends_requests_has_a_dynamic_user() {
        let text = service(&job(), &Account::Service);
        for line in
            ["DynamicUser=yes", "StateDirectory=tagship", "ConfigurationDirectory=tagship", "ProtectHome=yes"]
        {
            assert!(lines(&text).contains(&line), "{line}: {text}");
        }
    }

    #[test]
    fn service_that_runs_commands_has_a_permanent_user_and_names_their_needs() {
        let mut job = job();
        job.commands = vec!["./deploy.sh".to_owned(), "docker".to_owned()];
        let text = service(&job, &Account::Service);
        assert!(lines(&text).contains(&"User=tagship") && !text.contains("DynamicUser"), "{text}");
        assert!(text.contains("# That user must be able to run ./deploy.sh, docker\n"), "{text}");
        assert!(text.contains("#SupplementaryGroups=docker\n"), "{text}");
        assert!(!text.contains("MemoryDenyWriteExecute"), "a command may have a JIT compiler: {text}");
    }

    /// The unit of the Debian package has the same sandbox as the printed one.
    #[test]
    fn packaged_service_has_the_sandbox_of_the_printed_one() {
        let mut job = job();
        job.commands = vec!["./deploy.sh".to_owned()];
        let packaged = include_str!("../../examples/package/tagship.service");
        let sandbox = sandbox(&job, &Account::Service);
        assert!(packaged.ends_with(&sandbox), "{packaged} does not end with:\n{sandbox}");
    }

    #[test]
    fn home_is_visible_to_commands_that_need_it() {
        let with = |change: &dyn Fn(&mut Job)| {
            let mut job = job();
            change(&mut job);
            service(&job, &Account::Service)
        };
        assert!(with(&|job| job.commands = vec!["docker".to_owned()]).contains("\nProtectHome=yes\n"));
        for text in [
            with(&|job| job.commands = vec!["/home/ann/bin/deploy".to_owned()]),
            with(&|job| job.folders = vec!["/home/ann".to_owned()]),
            with(&|job| job.certificates = vec!["/root/ca.pem".to_owned()]),
        ] {
            assert!(text.contains("\nProtectHome=read-only\n"), "{text}");
        }
        let mut job = job();
        job.commands = vec!["ssh".to_owned()];
        let text = service(&job, &Account::Named("ann".to_owned()));
        assert!(text.contains("\nProtectHome=read-only\n"), "{text}");
    }

    #[test]
    fn private_files_need_a_permanent_user() {
        let text = service(&Job { is_private: true, ..job() }, &Account::Service);
        assert!(lines(&text).contains(&"User=tagship") && !text.contains("DynamicUser"), "{text}");
    }

    #[test]
    fn program_that_prints_a_secret_needs_a_permanent_user() {
        let mut job = job();
        let argv = vec!["pass".to_owned(), "show".to_owned(), "git".to_owned()];
        job.secrets = vec![secret(SecretSource::Command { argv, dir: "/etc/tagship".into() })];
        let text = service(&job, &Account::Service);
        assert!(lines(&text).contains(&"User=tagship") && !text.contains("DynamicUser"), "{text}");
        assert!(text.contains("# That user must be able to run pass\n"), "{text}");
    }

    #[test]
    fn every_credential_is_loaded_once() {
        let mut job = job();
        job.secrets =
            ["git-token", "hc", "hc"].map(|name| secret(SecretSource::Credential(name.to_owned()))).into();
        let text = service(&job, &Account::Service);
        let loaded: Vec<&str> =
            lines(&text).into_iter().filter(|line| line.starts_with("LoadCredential=")).collect();
        assert_eq!(
            loaded,
            ["LoadCredential=git-token:/etc/credstore/git-token", "LoadCredential=hc:/etc/credstore/hc"]
        );
    }

    #[test]
    fn required_variable_must_be_set() {
        let mut job = job();
        job.secrets = vec![secret(SecretSource::Env("GIT_TOKEN".to_owned()))];
        assert!(service(&job, &Account::Service).contains("\nEnvironmentFile=/etc/tagship/environment\n"));
        job.secrets[0].is_optional = true;
        assert!(service(&job, &Account::Service).contains("\nEnvironmentFile=-/etc/tagship/environment\n"));
    }

    #[test]
    fn home_is_readable_and_a_dollar_is_literal() {
        let mut job = job();
        job.config = "/home/ann/$5 50%/config.toml".to_owned();
        job.state = State::Configured("/srv/tagship/state.db".to_owned());
        let text = service(&job, &Account::Named("ann".to_owned()));
        for line in [
            "User=ann",
            "ProtectHome=read-only",
            "ReadWritePaths=/srv/tagship",
            "ExecStart=:/usr/local/bin/tagship --config \"/home/ann/$5 50%%/config.toml\" poll --due",
        ] {
            assert!(lines(&text).contains(&line), "{line}: {text}");
        }
    }

    #[test]
    fn timer_can_be_shorter_than_a_minute() {
        for (seconds, calendar) in [(7, "*:*:0/6"), (30, "*:*:0/30"), (60, "*:*"), (900, "*:0/15")] {
            let mut job = job();
            job.interval = Duration::from_secs(seconds);
            assert!(timer(&job).contains(&format!("\nOnCalendar={calendar}\n")), "{}", timer(&job));
        }
    }
}
