//! Reads a secret from its source.

use std::env;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::value::{Accept, LONGEST};
use super::{SecretError, keyring, program};
use crate::config::SecretSource;
use crate::file::{self, OddText};
use crate::program::{located, refusal, search_path};
use crate::stop::Cutoff;

/// A command that takes longer probably waits for input.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the value. Waits for programs until the cutoff.
///
/// # Errors
/// The fault of the source, and what to do. Never contains the secret.
pub(super) fn resolve(
    source: &SecretSource,
    accept: Accept,
    cutoff: &Cutoff,
) -> Result<SecretString, SecretError> {
    let value = match source {
        SecretSource::Env(name) => match env::var(name) {
            Ok(value) => accept(&Zeroizing::new(value), &format!("the environment variable {name}")),
            Err(env::VarError::NotPresent) => Err(format!(
                "the environment variable {name} is not set (cron and systemd do not pass on your shell's variables)"
            )),
            Err(env::VarError::NotUnicode(_)) => Err(format!("the environment variable {name} is not UTF-8")),
        },
        SecretSource::File(path) => of_file(path, accept),
        SecretSource::Command { argv, dir } => return command(argv, dir, accept, cutoff),
        SecretSource::Credential(name) => match env::var_os("CREDENTIALS_DIRECTORY") {
            Some(folder) => of_file(&Path::new(&folder).join(name), accept),
            None => Err(format!(
                "the systemd credential {name} is missing: CREDENTIALS_DIRECTORY is not set; is LoadCredential={name}:… in the unit?"
            )),
        },
        SecretSource::Keyring(name) => return keyring::read(name, accept, cutoff).map(|entry| entry.token),
        SecretSource::DockerConfig(_) => {
            Err("a docker configuration contains only tokens of registries".to_owned())
        }
    };
    Ok(value?)
}

/// The secret in a file.
///
/// # Errors
/// The file cannot be read, or does not contain a valid secret.
pub(super) fn of_file(path: &Path, accept: Accept) -> Result<SecretString, String> {
    let shown = path.display();
    match file::read(path, LONGEST as u64).map(Zeroizing::new) {
        Ok(bytes) => {
            if let Some(odd) = OddText::of(&bytes) {
                return Err(format!("{shown} {}", odd.describe(path)));
            }
            let value = std::str::from_utf8(&bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
            accept(value, &shown.to_string())
        }
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            Err(format!("{shown} is too long for a secret"))
        }
        Err(error) => Err(format!("{shown} cannot be read: {error}")),
    }
}

fn command(
    argv: &[String],
    dir: &Path,
    accept: Accept,
    cutoff: &Cutoff,
) -> Result<SecretString, SecretError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("no program is named".to_owned().into());
    };
    let mut command = Command::new(located(program, dir));
    command.args(arguments).current_dir(dir);
    let refusal = |error: &io::Error| refusal(program, dir, &search_path(), error);
    let output = program::run(command, program, "", COMMAND_TIMEOUT, cutoff, refusal)?;
    if !output.status.success() {
        let complaint = output.complaint;
        let complaint = if complaint.is_empty() { complaint } else { format!(": {complaint}") };
        return Err(format!("{program} ended with {}{complaint}", output.status).into());
    }
    Ok(accept(&output.stdout, &format!("what {program} prints"))?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret as _;

    use super::super::value::{secret, token};
    use super::*;

    fn value<E: ToString>(result: Result<SecretString, E>) -> Result<String, String> {
        result.map(|value| value.expose_secret().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn white_space_around_a_value_is_trimmed_and_inside_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (content, expected) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a"),
            (" a \t\n", "a"),
            ("a b\nc \n", "a b\nc"),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(value(of_file(&path, secret)), Ok(expected.to_owned()), "{content:?}");
        }
        for content in ["", "\n", " \t\r\n"] {
            fs::write(&path, content).unwrap();
            assert!(value(of_file(&path, secret)).unwrap_err().ends_with("is empty"), "{content:?}");
        }
        fs::write(&path, "a\tb\0c").unwrap();
        let refused = |accept| value(of_file(&path, accept)).unwrap_err();
        assert!(refused(secret).contains("contains a NUL"), "{}", refused(secret));
        assert!(refused(token).contains("contains a tab"), "{}", refused(token));
    }

    #[test]
    fn a_command_gives_what_it_prints() {
        let dir = env::temp_dir();
        let run = |script: &str| {
            value(command(&["sh".into(), "-c".into(), script.into()], &dir, secret, &Cutoff::default()))
        };
        assert_eq!(run("echo token"), Ok("token".to_owned()));
        let failed = run("echo planted; echo why >&2; exit 3").unwrap_err();
        assert!(failed.contains("why") && failed.contains('3') && !failed.contains("planted"), "{failed}");
        assert!(
            value(command(&["./not-there".into()], &dir, secret, &Cutoff::default()))
                .unwrap_err()
                .contains("cannot be run")
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(
            value(of_file(Path::new("/nonexistent/token"), secret))
                .unwrap_err()
                .starts_with("/nonexistent/token cannot be read")
        );
    }
}
