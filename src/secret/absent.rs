//! Files and programs of secrets that are missing or unusable, as far as known without reading a secret.

use std::io::ErrorKind;

use crate::config::{Config, CredentialSetting, SecretSource};
use crate::file::{self, OddText};
use crate::program;
use crate::target::template::Template;

/// How many bytes are enough to detect the encoding of a text.
const ENOUGH: u64 = 4;

/// A warning for each secret whose file is missing or not UTF-8, or whose program cannot be run.
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
        // Reading from a pipe would remove its content.
        let first = if path.is_file() { ENOUGH } else { 0 };
        let error = match file::head(path, first) {
            Ok(head) => return Some(format!("{whose}: {shown} {}", OddText::of(&head)?.describe(path))),
            Err(error) => error,
        };
        match error.kind() {
            // The configuration warns of it.
            ErrorKind::NotFound if file::expanded(path).is_some() => None,
            ErrorKind::NotFound => Some(format!("{whose}: {shown} does not exist")),
            _ => Some(format!("{whose}: {shown} cannot be read: {error}")),
        }
    };
    of_registries.chain(named).filter_map(warning).collect()
}
