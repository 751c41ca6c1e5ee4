//! A crontab line. cron gives a run little: `/usr/bin:/bin`, no session, none of the user's variables; and it
//! mails whatever is printed.

use super::quote::shell_line;
use super::rhythm::Rhythm;
use super::{Job, folder_of};

/// What stands behind the program's own folder in PATH.
const USUAL_PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The lines for the crontab of the user who is to run it. `host`: each begins at a minute of its own.
pub(crate) fn crontab(job: &Job, host: &str) -> String {
    let rhythm = Rhythm::new(job.interval, host);
    let mut lines = vec![
        format!("# tagship polls what is due {}. These lines go into: crontab -e", rhythm.words()),
        "# A run prints only news and failures. cron mails that, where this machine can send mail, to:"
            .to_owned(),
        "#MAILTO=ops@example.com".to_owned(),
    ];
    for (variable, is_optional) in job.variables() {
        lines.push(if is_optional {
            format!("# If a token is in ${variable}: cron gives it to no run; write token = {{ file = \"…\" }}.")
        } else {
            format!("# cron gives no run ${variable}, which the configuration needs: write {{ file = \"…\" }} there.")
        });
    }
    for credential in job.credentials() {
        lines.push(format!(
            "# {{ credential = {credential:?} }} is given by systemd only: write {{ file = \"…\" }} in its place."
        ));
    }
    for whose in job.in_keyring() {
        lines.push(format!("# Under cron there is no keyring: {whose} must be {{ file = \"…\" }}."));
    }
    if rhythm.step().as_secs() > 60 {
        lines.push(
            "# (The minute is moved by this host's name, so that a fleet does not ask at once.)".to_owned(),
        );
    }
    let own = folder_of(&job.program);
    let folders = std::iter::once(own).chain(USUAL_PATH.into_iter().filter(|folder| *folder != own));
    lines.push(format!("PATH={}", folders.collect::<Vec<_>>().join(":")));
    let arguments = job.arguments(None);
    let command =
        shell_line(std::iter::once(job.program.as_str()).chain(arguments.iter().map(String::as_str)));
    // A bare % would end the command and begin its standard input.
    lines.push(format!("{} {}", rhythm.cron(), command.replace('%', r"\%")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{job, secret};
    use super::*;
    use crate::config::SecretSource;

    #[test]
    fn the_last_line_is_the_entry_and_percent_is_escaped() {
        let mut job = job();
        job.config = "/etc/tag ship/50%/config.toml".to_owned();
        let text = crontab(&job, "web-1");
        let mut lines = text.lines().rev();
        let entry = lines.next().unwrap();
        assert!(
            entry.ends_with(r" /usr/local/bin/tagship --config '/etc/tag ship/50\%/config.toml' --state /var/lib/tagship/state.db poll --due"),
            "{entry}"
        );
        assert_eq!(lines.next().unwrap(), "PATH=/usr/local/bin:/usr/bin:/bin");
        assert!(lines.all(|line| line.starts_with('#')), "{text}");
    }

    #[test]
    fn what_cron_does_not_give_is_said() {
        let mut job = job();
        job.secrets = [
            SecretSource::Env("GIT_TOKEN".to_owned()),
            SecretSource::Credential("hc".to_owned()),
            SecretSource::Keyring("git".to_owned()),
        ]
        .map(secret)
        .into();
        let text = crontab(&job, "web-1");
        for part in
            ["$GIT_TOKEN", "{ credential = \"hc\" }", "there is no keyring: the token of the registry git"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
