//! Completion: the words that a shell offers after TAB. Names come from the configuration of the command line.
//! Without a valid configuration, no words are offered and no error is printed. Completion reads no secrets.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, CommandFactory as _};
use clap_complete::engine::{self, ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Shells, Zsh};

use super::known_images;
use crate::cli::Cli;
use crate::config::{self, Config};

/// The scripts in `completions/` set this variable to the shell's name. clap's default `COMPLETE` may exist in
/// the environment for another reason, and would stop a poll.
const ASKED_BY: &str = "TAGSHIP_COMPLETE";

/// Answers a shell's request for completions. False: this is an ordinary run.
///
/// # Errors
/// The shell is unknown, or standard output cannot be written.
pub(crate) fn complete() -> anyhow::Result<bool> {
    let folder = env::current_dir().ok();
    let shells: [&dyn EnvCompleter; 3] = [&JoiningBash, &Fish, &Zsh];
    let asked = CompleteEnv::with_factory(command).var(ASKED_BY).completer("tagship").shells(Shells(&shells));
    asked.try_complete(env::args_os(), folder.as_deref()).map_err(|error| {
        anyhow::anyhow!("{ASKED_BY}: {}", error.to_string().trim_start_matches("error: ").trim())
    })
}

/// The command line, with completions for its values.
fn command() -> clap::Command {
    offering(Cli::command())
}

fn offering(command: clap::Command) -> clap::Command {
    command.mut_args(offering_values).mut_subcommands(offering)
}

/// The completions of a value, by its name in the help.
fn offering_values(argument: Arg) -> Arg {
    let takes_several = matches!(argument.get_action(), ArgAction::Append);
    let candidates = match argument.get_value_names().and_then(|names| names.first()).map(AsRef::as_ref) {
        Some("TARGET") if !takes_several => ArgValueCandidates::new(|| from_config(targets)),
        Some("TARGET" | "TARGET|ID") => ArgValueCandidates::new(|| from_config(targets_and_projects)),
        Some("PROJECT") => ArgValueCandidates::new(|| from_config(projects)),
        Some("STAGE") => ArgValueCandidates::new(|| from_config(stages)),
        Some("REGISTRY") => ArgValueCandidates::new(|| from_config(registries)),
        _ => return argument,
    };
    argument.add(candidates)
}

fn from_config(candidates: impl Fn(&Config) -> Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let load = || {
        let mut config = config::load(&config::find(on_the_line("--config").as_deref()).ok()?).ok()?;
        config.take_in(&known_images(on_the_line("--state").as_deref(), &config));
        Some(config)
    };
    load().map(|config| candidates(&config)).unwrap_or_default()
}

fn targets_and_projects(config: &Config) -> Vec<CompletionCandidate> {
    targets(config).into_iter().chain(whole_projects(config)).collect()
}

fn targets(config: &Config) -> Vec<CompletionCandidate> {
    config.targets.iter().map(|target| candidate(&target.id, target.image.repository.as_str())).collect()
}

/// Projects with several stages, which can be targets by name.
fn whole_projects(config: &Config) -> Vec<CompletionCandidate> {
    let mut projects: Vec<_> = config.targets.chunk_by(|a, b| a.id.project == b.id.project).collect();
    projects.retain(|targets| targets.len() > 1);
    projects.iter().map(|targets| candidate(&targets[0].id.project, "all its stages")).collect()
}

fn projects(config: &Config) -> Vec<CompletionCandidate> {
    let mut names: Vec<_> =
        config.targets.iter().map(|target| (&target.id.project, target.image.repository.as_str())).collect();
    names.dedup();
    names.into_iter().map(|(name, repository)| candidate(name, repository)).collect()
}

fn stages(config: &Config) -> Vec<CompletionCandidate> {
    let mut names: Vec<_> = config.targets.iter().map(|target| &target.id.stage).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| CompletionCandidate::new(name.as_str())).collect()
}

fn registries(config: &Config) -> Vec<CompletionCandidate> {
    config
        .registries
        .values()
        .map(|registry| candidate(&registry.name, &registry.location.to_string()))
        .collect()
}

fn candidate(value: &impl ToString, about: &str) -> CompletionCandidate {
    CompletionCandidate::new(value.to_string()).help(Some(about.to_owned().into()))
}

/// The value of an option in the shell's words, which are as typed, with quotes.
fn on_the_line(option: &str) -> Option<PathBuf> {
    let words: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let (words, _) = joined(words, 0);
    let mut words = words.iter().filter_map(|word| word.to_str());
    let value = words.find_map(|word| word.strip_prefix(option).map(|rest| rest.strip_prefix('=')))?;
    let typed = value.or_else(|| words.next())?;
    let word = match shlex::split(typed).as_deref() {
        Some([word]) => word.clone(),
        // This shell has removed the quotes itself.
        _ => typed.to_owned(),
    };
    let home = typed.strip_prefix("~/").and_then(|_| env::var_os("HOME"));
    Some(home.map_or_else(|| PathBuf::from(&word), |home| Path::new(&home).join(&word["~/".len()..])))
}

/// bash splits `--project=shop` into three words; in other shells it is one.
struct JoiningBash;

impl EnvCompleter for JoiningBash {
    fn name(&self) -> &'static str {
        Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        Bash.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        binary: &str,
        completer: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        Bash.write_registration(variable, name, binary, completer, out)
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        // The registered script sets both.
        let index = env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok()).unwrap_or(0);
        let separator = env::var("_CLAP_IFS").unwrap_or_else(|_| "\n".to_owned());
        let asked = words.get(index).cloned().unwrap_or_default();
        // Text after the cursor does not belong to the word before it.
        let (words, index) = joined(words.into_iter().take(index + 1).collect(), index);
        let before = words.get(index).map_or(0, |word| word.len()) - asked.len();
        for (place, candidate) in engine::complete(command, words, index, folder)?.iter().enumerate() {
            let value = candidate.get_value().to_string_lossy();
            let separator = if place == 0 { "" } else { &separator };
            write!(out, "{separator}{}", value.get(before..).unwrap_or(&value))?;
        }
        Ok(())
    }
}

/// Joins an option, `=` and its value into one word, and returns the new index of the word at `index`.
fn joined(words: Vec<OsString>, index: usize) -> (Vec<OsString>, usize) {
    let mut joined: Vec<OsString> = Vec::new();
    let mut joined_index = index;
    for (place, word) in words.into_iter().enumerate() {
        match joined.last_mut() {
            Some(last) if is_continued(last, &word) => {
                last.push(word);
                joined_index -= usize::from(place <= index);
            }
            _ => joined.push(word),
        }
    }
    (joined, joined_index)
}

fn is_continued(option: &OsStr, word: &OsStr) -> bool {
    let option = option.as_encoded_bytes();
    option.starts_with(b"--") && if word == "=" { !option.contains(&b'=') } else { option.ends_with(b"=") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_and_its_value_are_one_word_again() {
        for (words, index, expected, expected_index) in [
            ("tagship poll --project = sh", 4, "tagship poll --project=sh", 2),
            ("tagship --config = a.toml poll sh", 5, "tagship --config=a.toml poll sh", 3),
            ("tagship --config = a.toml poll sh", 1, "tagship --config=a.toml poll sh", 1),
            ("tagship --config a.toml poll", 3, "tagship --config a.toml poll", 3),
            ("tagship poll = sh", 3, "tagship poll = sh", 3),
        ] {
            let (joined, at) = joined(words.split(' ').map(OsString::from).collect(), index);
            assert_eq!(
                (joined.join(OsStr::new(" ")).to_str(), at),
                (Some(expected), expected_index),
                "{words}"
            );
        }
    }
}
