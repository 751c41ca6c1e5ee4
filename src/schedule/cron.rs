//! A crontab line. cron runs commands with PATH `/usr/bin:/bin`, without a session and without the user's
//! variables, and mails all output.

use super::quote::shell_line;
use super::rhythm::Rhythm;
use super::{Job, folder_of};

/// PATH, after the program's own folder.
const USUAL_PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The lines for the user's crontab. `host`: decides the minute, so that hosts start at different times.
pub(crate) fn crontab(job: &Job, host: &str) -> String {
    let rhythm = Rhythm::new(job.interval, host);
    let mut lines = vec![
        format!("# tagship polls due targets {}. Add these lines with: crontab -e", rhythm.words()),
        "# A run prints only changes and failures. If this machine can send mail, cron mails them to:"
            .to_owned(),
        "#MAILTO=ops@example.com".to_owned(),
    ];
    for (variable, is_optional) in job.variables() {
        lines.push(if is_optional {
            format!("# cron does not pass on ${variable}: if it contains a token, use token = {{ file = \"…\" }} instead.")
        } else {
            format!("# cron does not pass on ${variable}, which the configuration needs: use {{ file = \"…\" }} instead.")
        });
    }
    for credential in job.credentials() {
        lines.push(format!(
            "# {{ credential = {credential:?} }} works only under systemd: use {{ file = \"…\" }} instead."
        ));
    }
    for whose in job.in_keyring() {
        lines.push(format!("# cron has no keyring: use {{ file = \"…\" }} for {whose}."));
    }
    if rhythm.step().as_secs() > 60 {
        lines.push(
            "# (The minute depends on the name of this host, so that hosts do not all poll at once.)"
                .to_owned(),
        );
    }
    let own = folder_of(&job.program);
    let folders = std::iter::once(own).chain(USUAL_PATH.into_iter().filter(|folder| *folder != own));
    lines.push(format!("PATH={}", folders.collect::<Vec<_>>().join(":")));
    let arguments = job.arguments(None);
    let command =
        shell_line(std::iter::once(job.program.as_str()).chain(arguments.iter().map(String::as_str)));
    // An unescaped % would end the command and start its standard input.
    lines.push(format!("{} {}", rhythm.cron(), command.replace('%', r"\%")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{job, secret};
    use super::*;
    use crate::config::SecretSource;

    #[test]
    fn last_line_is_the_entry_with_escaped_percent() {
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
    fn missing_variables_credentials_and_keyring_are_named() {
        let mut job = job();
        job.secrets = [
            SecretSource::Env("GIT_TOKEN".to_owned()),
            SecretSource::Credential("hc".to_owned()),
            SecretSource::Keyring("git".to_owned()),
        ]
        .map(secret)
        .into();
        let text = crontab(&job, "web-1");
        for part in [
            "$GIT_TOKEN",
            "{ credential = \"hc\" }",
            "cron has no keyring: use { file = \"…\" } for the token of the registry git",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
