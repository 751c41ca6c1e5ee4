//! Files and programs of secrets that are missing or unusable, as far as known without running a program.

use std::io::ErrorKind;

use super::source::of_file;
use super::value::{Accept, secret, token};
use crate::config::{Config, CredentialSetting, SecretSource};
use crate::file;
use crate::program;
use crate::target::template::Template;

/// A warning for each secret whose file is missing or contains no valid secret, or whose program cannot be run.
pub(crate) fn absent(config: &Config) -> Vec<String> {
    let of_registries = config.registries.values().filter_map(|registry| match &registry.credential {
        CredentialSetting::Source(source) => {
            Some((format!("the token of the registry {}", registry.name), source, token as Accept))
        }
        CredentialSetting::Search | CredentialSetting::Anonymous => None,
    });
    let named =
        config.secrets.iter().map(|(id, source)| (format!("the secret {id}"), source, secret as Accept));
    let warning = |(whose, source, accept): (String, &SecretSource, Accept)| {
        let path = match source {
            SecretSource::File(path) => path,
            SecretSource::Command { argv, dir } => {
                let argv: Vec<Template> = argv.iter().map(|word| Template::literal(word)).collect();
                return Some(format!("{whose}: {}", program::fault(&argv, dir, None)?.message));
            }
            _ => return None,
        };
        let shown = path.display();
        match file::head(path, 0) {
            // Reading from a pipe would remove its content.
            Ok(_) if !path.is_file() => None,
            Ok(_) => Some(format!("{whose}: {}", of_file(path, accept).err()?)),
            // The configuration warns of it.
            Err(error) if error.kind() == ErrorKind::NotFound && file::expanded(path).is_some() => None,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Some(format!("{whose}: {shown} does not exist"))
            }
            Err(error) => Some(format!("{whose}: {shown} cannot be read: {error}")),
        }
    };
    of_registries.chain(named).filter_map(warning).collect()
}
