//! Secret sources: where a secret comes from, never the secret.

use std::path::Path;

use super::SecretSource;
use super::key::Section;
use super::read::Field;

const HOW: &str =
    "write where it comes from: { env = \"NAME\" }, { file = \"path\" } or { command = [\"program\"] }";

/// Reads a secret source. Relative paths are relative to `folder`.
pub(super) fn read(field: &Field<'_>, folder: &Path) -> Option<SecretSource> {
    if field.is_text() {
        // Never repeated: it may well be a token.
        field.fault("a secret must not stand in the file", HOW);
        return None;
    }
    let table = field.table(Section::Secret)?;
    let given: Vec<(&str, Field<'_>)> = table.fields().collect();
    let [(key, value)] = given.as_slice() else {
        field.fault("a secret comes from exactly one place", HOW);
        return None;
    };
    match *key {
        "env" => {
            let name = value.some_text()?;
            if name.contains(['=', '\0']) {
                value.fault("this cannot be the name of an environment variable", "");
                return None;
            }
            Some(SecretSource::Env(name.to_owned()))
        }
        "file" => Some(SecretSource::File(folder.join(value.some_text()?))),
        "command" => {
            let argv: Vec<String> =
                value.list()?.iter().filter_map(Field::some_text).map(str::to_owned).collect();
            if argv.is_empty() {
                value.fault("no program is named", "");
                return None;
            }
            Some(SecretSource::Command { argv, dir: folder.to_owned() })
        }
        "credential" => {
            let name = value.some_text()?;
            if name.contains('/') || name == ".." {
                value.fault("a systemd credential has a name without slashes", "");
                return None;
            }
            Some(SecretSource::Credential(name.to_owned()))
        }
        "keyring" => Some(SecretSource::Keyring(value.some_text()?.to_owned())),
        // Refused when the table was read.
        _ => None,
    }
}
