//! Reading a secret from where it is.

use std::env;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use secrecy::SecretString;

use crate::config::SecretSource;

/// A command that takes longer waits for someone at a terminal.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST: u64 = 64 * 1024;

/// Reads the value, without one trailing newline.
///
/// # Errors
/// What is wrong with the source, and what to do; never what it holds.
pub(super) fn resolve(source: &SecretSource) -> Result<SecretString, String> {
    match source {
        SecretSource::Env(name) => match env::var(name) {
            Ok(value) => accept(value, &format!("the environment variable {name}")),
            Err(env::VarError::NotPresent) => Err(format!(
                "the environment variable {name} is not set (cron and systemd do not hand your shell's on)"
            )),
            Err(env::VarError::NotUnicode(_)) => Err(format!("the environment variable {name} is not UTF-8")),
        },
        SecretSource::File(path) => file(path),
        SecretSource::Command { argv, dir } => command(argv, dir),
        SecretSource::Credential(name) => match env::var_os("CREDENTIALS_DIRECTORY") {
            Some(folder) => file(&Path::new(&folder).join(name)),
            None => Err(format!(
                "there is no systemd credential {name}: CREDENTIALS_DIRECTORY is not set; is LoadCredential={name}:… in the unit?"
            )),
        },
        SecretSource::Keyring(name) => keyring(name),
    }
}

/// The keyring's entry for a registry, where there is a keyring to be asked without waiting for it.
pub(super) fn in_keyring(name: &str) -> Option<SecretString> {
    let has_bus = env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some()
        || env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("bus").exists());
    if has_bus { keyring(name).ok() } else { None }
}

fn file(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let opened = fs::File::open(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let mut value = String::new();
    let read = opened.take(LONGEST + 1).read_to_string(&mut value);
    match read {
        Ok(length) if length as u64 > LONGEST => Err(format!("{shown} is too long for a secret")),
        Ok(_) => accept(value, &shown.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(format!("{shown} is not UTF-8")),
        Err(error) => Err(format!("{shown} cannot be read: {error}")),
    }
}

fn accept(mut value: String, place: &str) -> Result<SecretString, String> {
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(format!("{place} is empty"));
    }
    Ok(SecretString::from(value))
}

fn command(argv: &[String], dir: &Path) -> Result<SecretString, String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("no program is named".to_owned());
    };
    let located = if program.contains('/') { dir.join(program) } else { program.into() };
    let mut child = Command::new(located)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait(&mut child, program)?;
    // A descendant that keeps the pipe open is not waited for longer than the command itself.
    let (value, complaint) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    if !status.success() {
        let complaint = complaint.lines().next().unwrap_or_default().to_owned();
        let complaint = if complaint.is_empty() { complaint } else { format!(": {complaint}") };
        return Err(format!("{program} ended with {status}{complaint}"));
    }
    accept(value, &format!("what {program} prints"))
}

fn collect(pipe: Option<impl std::io::Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(LONGEST).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        String::from_utf8(bytes).unwrap_or_default()
    })
}

fn wait(child: &mut Child, program: &str) -> Result<ExitStatus, String> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if begun.elapsed() < COMMAND_TIMEOUT => thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "{program} did not end within {COMMAND_TIMEOUT:?}; does it ask for something?"
                ));
            }
            Err(error) => return Err(format!("{program}: {error}")),
        }
    }
}

#[cfg(feature = "keyring")]
fn keyring(name: &str) -> Result<SecretString, String> {
    use std::sync::mpsc::channel;

    /// A bus socket that nobody answers blocks for ever.
    const PATIENCE: Duration = Duration::from_secs(2);
    const INSTEAD: &str = "under cron there is no session bus; use a file, or a systemd credential";

    let (sender, receiver) = channel();
    let owned = name.to_owned();
    thread::spawn(move || {
        let found = keyring::v1::Entry::new("tagship", &owned).and_then(|entry| entry.get_password());
        let _ = sender.send(found.map_err(|error| error.to_string()));
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(value)) => accept(value, &format!("the keyring's entry {name}")),
        Ok(Err(error)) => {
            Err(format!("the keyring has no entry {name} that can be read ({error}); {INSTEAD}"))
        }
        Err(_) => Err(format!("the keyring did not answer within {PATIENCE:?}; {INSTEAD}")),
    }
}

#[cfg(not(feature = "keyring"))]
fn keyring(name: &str) -> Result<SecretString, String> {
    Err(format!(
        "the keyring's entry {name} is not to be had: this tagship was built without the feature keyring"
    ))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn value(result: Result<SecretString, String>) -> Result<String, String> {
        result.map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn one_trailing_newline_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (content, expected) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(value(file(&path)), Ok(expected.to_owned()), "{content:?}");
        }
        for content in ["", "\n"] {
            fs::write(&path, content).unwrap();
            assert!(value(file(&path)).unwrap_err().ends_with("is empty"), "{content:?}");
        }
    }

    #[test]
    fn a_command_gives_what_it_prints() {
        let dir = env::temp_dir();
        let run = |script: &str| value(command(&["sh".into(), "-c".into(), script.into()], &dir));
        assert_eq!(run("echo token"), Ok("token".to_owned()));
        let failed = run("echo planted; echo why >&2; exit 3").unwrap_err();
        assert!(failed.contains("why") && failed.contains('3') && !failed.contains("planted"), "{failed}");
        assert!(value(command(&["./not-there".into()], &dir)).unwrap_err().contains("cannot be run"));
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(
            value(file(Path::new("/nonexistent/token")))
                .unwrap_err()
                .starts_with("/nonexistent/token cannot be read")
        );
    }
}
