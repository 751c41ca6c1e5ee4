//! The files that a configuration names, and the programs that it runs.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::would_match;
use super::{Config, CredentialSetting, Location, SecretSource};
use crate::file;
use crate::program::located;
use crate::target::Target;
use crate::target::inner::{Inner, Word, inner};
use crate::target::step::Step;
use crate::target::template::{Part, Template};

/// The programs of deployments, and the scripts that these programs run, if they are given with a path.
pub(super) fn programs<'c>(config: &'c Config) -> impl Iterator<Item = PathBuf> {
    let programs = |step: &Step| match step {
        Step::Command(step) => of_command(&step.argv, &step.dir),
        Step::Http(_) => Vec::new(),
    };
    // Thousands of stages may share one deployment, which [settings.stage] gives.
    let mut earlier: Option<&'c Arc<[Step]>> = None;
    let of_target = move |target: &'c Target| {
        let is_shared =
            earlier.replace(&target.deploy).is_some_and(|earlier| Arc::ptr_eq(earlier, &target.deploy));
        target.steps().skip(if is_shared { target.deploy.len() } else { 0 })
    };
    let steps = config.all_targets().flat_map(of_target);
    steps.chain(config.notifiers.iter().map(|notifier| &notifier.step)).flat_map(programs)
}

/// The programs that provide secrets, and their scripts, if they are given with a path.
pub(super) fn secret_programs(config: &Config) -> impl Iterator<Item = PathBuf> {
    sources(config).flat_map(|source| match source {
        SecretSource::Command { argv, dir } => {
            let argv: Vec<Template> = argv.iter().map(|word| Template::literal(word)).collect();
            of_command(&argv, dir)
        }
        _ => Vec::new(),
    })
}

fn of_command(argv: &[Template], dir: &Path) -> Vec<PathBuf> {
    let known = |template: &Template| match template.parts.as_slice() {
        [Part::Literal(text)] => Some(text.clone()),
        _ => None,
    };
    let mut paths = Vec::new();
    let mut rest = Some(Word::of_command(argv, known));
    while let Some(words) = rest {
        paths.extend(words.first().and_then(Word::text).filter(|name| name.contains('/')).map(str::to_owned));
        rest = match inner(&words) {
            Some(Inner::Program(words)) => Some(words),
            Some(Inner::Script { path, .. }) => {
                paths.push(path);
                None
            }
            None => None,
        };
    }
    paths.iter().map(|path| dir.join(located(path, dir))).collect()
}

fn sources(config: &Config) -> impl Iterator<Item = &SecretSource> {
    let of_registries = config.registries.values().filter_map(|registry| match &registry.credential {
        CredentialSetting::Source(source) => Some(source),
        CredentialSetting::Search | CredentialSetting::Anonymous => None,
    });
    config.secrets.values().chain(of_registries)
}

/// The files that a run reads, runs or keeps. tagship must not overwrite them.
pub(crate) struct UsedFiles<'c> {
    config: &'c Config,
    files: Vec<(&'static str, PathBuf)>,
}

impl UsedFiles<'_> {
    /// The same files, each with its description in messages.
    pub(crate) fn and(mut self, files: impl IntoIterator<Item = (&'static str, PathBuf)>) -> Self {
        self.files.extend(files);
        self
    }

    /// The description of the file at a path. None: tagship does not use it.
    pub(crate) fn role(&self, path: &Path) -> Option<&'static str> {
        let used = self.files.iter().find(|(_, used)| file::leads_to(path, used)).map(|(role, _)| *role);
        let included = "a file that include would read as configuration";
        used.or_else(|| self.config.would_include(path).then_some(included))
    }
}

impl Config {
    /// Whether the next run would read a new file at this path as configuration.
    pub(crate) fn would_include(&self, path: &Path) -> bool {
        self.globs.iter().any(|glob| would_match(glob, path))
    }

    /// The files that a run reads or runs.
    pub(crate) fn used_files(&self) -> UsedFiles<'_> {
        let named = |what, paths: Vec<PathBuf>| paths.into_iter().map(move |path| (what, path));
        let secrets = sources(self).filter_map(|source| match source {
            SecretSource::File(path) | SecretSource::DockerConfig(path) => Some(path.clone()),
            SecretSource::Credential(name) => {
                Some(PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).join(name))
            }
            _ => None,
        });
        let registries = self.registries.values();
        let certificates = registries.clone().flat_map(|registry| registry.transport.files.clone());
        let layouts = registries.filter_map(|registry| match &registry.location {
            Location::Folder(folder) => Some(["index.json", "oci-layout"].map(|name| folder.join(name))),
            Location::Url(_) => None,
        });
        let programs = self.programs.iter().cloned().chain(secret_programs(self));
        let files = named("a file of the configuration", self.files.clone())
            .chain(named("the file of a secret", secrets.collect()))
            .chain(named("a certificate of a registry, or its key", certificates.collect()))
            .chain(named("a program that tagship runs", programs.collect()))
            .chain(named("a file of an image layout", layouts.flatten().collect()))
            .collect();
        UsedFiles { config: self, files }
    }
}
