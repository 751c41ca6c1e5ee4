//! Files and programs of secrets that give none, as far as that shows without reading a secret.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::config::{Config, CredentialSetting, SecretSource};
use crate::file::{self, OddText};
use crate::program;
use crate::target::template::Template;

/// Tells how a text is written.
const ENOUGH: u64 = 4;

/// A warning for each secret whose file is not there, or no text of UTF-8, or whose program cannot be run.
pub(crate) fn absent(config: &Config) -> Vec<String> {
    let of_registries = config.registries.values().filter_map(|registry| match &registry.credential {
        CredentialSetting::Source(source) => {
            Some((format!("the token of the registry {}", registry.name), source))
        }
        CredentialSetting::Search | CredentialSetting::Anonymous => None,
    });
    let named = config.secrets.iter().map(|(id, source)| (format!("the secret {id}"), source));
    let warning = |(whose, source): (String, &SecretSource)| {
        let path = match source {
            SecretSource::File(path) => path,
            SecretSource::Command { argv, dir } => {
                let argv: Vec<Template> = argv.iter().map(|word| Template::literal(word)).collect();
                return Some(format!("{whose}: {}", program::fault(&argv, dir, None)?.message));
            }
            _ => return None,
        };
        let shown = path.display();
        // Nothing is taken out of a pipe.
        let first = if path.is_file() { ENOUGH } else { 0 };
        let error = match file::head(path, first) {
            Ok(head) => return Some(format!("{whose}: {shown} {}", OddText::of(&head)?.describe(path))),
            Err(error) => error,
        };
        Some(match (below_home(path), error.kind()) {
            (Some(rest), ErrorKind::NotFound) => {
                let home = std::env::var_os("HOME").map_or_else(|| "/home/NAME".into(), PathBuf::from);
                let whole = home.join(rest);
                format!("{whose}: {shown} does not exist: ~ is not expanded\n    write {}", whole.display())
            }
            (_, ErrorKind::NotFound) => format!("{whose}: {shown} does not exist"),
            _ => format!("{whose}: {shown} cannot be read: {error}"),
        })
    };
    of_registries.chain(named).filter_map(warning).collect()
}

/// What follows `~` in a path that has it as a folder.
fn below_home(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components();
    parts.find(|part| *part == Component::Normal("~".as_ref()))?;
    Some(parts.as_path().to_owned())
}
