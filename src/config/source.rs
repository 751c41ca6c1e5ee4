//! Secret sources: the place of a secret, never its value.

use std::path::{Path, PathBuf};

use super::SecretSource;
use super::key::Section;
use super::read::Field;

const HOW: &str = "write its source: { env = \"NAME\" }, { file = \"path\" } or { command = [\"program\"] }";

/// Reads a secret source. Relative paths are relative to `folder`.
pub(super) fn read(field: &Field<'_>, folder: &Path) -> Option<SecretSource> {
    let source = read_token(field, folder)?;
    if matches!(source, SecretSource::DockerConfig(_)) {
        field.fault(
            "`docker_config` works for the token of a registry only",
            "write { file = \"path\" } or { env = \"NAME\" }",
        );
        return None;
    }
    Some(source)
}

/// Reads the secret source of a registry's token, which may be a docker configuration.
pub(super) fn read_token(field: &Field<'_>, folder: &Path) -> Option<SecretSource> {
    if field.is_text() {
        // The message does not repeat the value: it may be a token.
        field.fault("a secret cannot be written in the file", HOW);
        return None;
    }
    let table = field.table(Section::Secret)?;
    let given: Vec<(&str, Field<'_>)> = table.fields().collect();
    let [(key, value)] = given.as_slice() else {
        field.fault("expected exactly one source", HOW);
        return None;
    };
    match *key {
        "env" => {
            let name = value.some_text()?;
            if name.contains(['=', '\0', '$']) || name.trim() != name {
                let plain = name.trim().trim_start_matches('$').trim_matches(['{', '}']);
                // The message does not repeat the text: it may be a secret.
                let is_name = plain.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
                let help = if is_name { value.write(format!("{plain:?}")) } else { String::new() };
                value.fault("not a valid name of an environment variable", help);
                return None;
            }
            Some(SecretSource::Env(name.to_owned()))
        }
        "file" => value.file_path(folder).map(SecretSource::File),
        "command" => {
            let argv: Vec<String> =
                value.list()?.iter().filter_map(Field::some_text).map(str::to_owned).collect();
            if argv.is_empty() {
                value.fault("expected a program", "write command = [\"program\", \"argument\"]");
                return None;
            }
            Some(SecretSource::Command { argv, dir: folder.to_owned() })
        }
        "credential" => {
            let name = value.some_text()?;
            if name.contains(['/', ':']) || name == ".." {
                value.fault("the name of a systemd credential cannot contain a slash or a colon", "");
                return None;
            }
            Some(SecretSource::Credential(name.to_owned()))
        }
        "keyring" => Some(SecretSource::Keyring(value.some_text()?.to_owned())),
        "docker_config" => Some(SecretSource::DockerConfig(folder.join(at_home(value.some_text()?)))),
        // Reported when the table was read.
        _ => None,
    }
}

/// Expands `~/` to the home folder, where docker keeps its configuration.
fn at_home(path: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty());
    match path.strip_prefix("~/").zip(home()) {
        Some((rest, home)) => Path::new(&home).join(rest),
        None => PathBuf::from(path),
    }
}
