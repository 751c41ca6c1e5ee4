//! `tagship generate`: manual pages, completions and the configuration's schema.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::Exit;
use crate::cli::{Artifact, Cli, Generate};
use crate::config;
use crate::report::Console;

/// The date of the manual pages: of the release, so that they come out the same every day.
const DATE: &str = "2026-11-23";

/// Writes what was asked for.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn generate(arguments: &Generate) -> anyhow::Result<Exit> {
    match &arguments.what {
        Artifact::Man { dir } => man(dir)?,
        Artifact::Completions { dir } => completions(dir)?,
        Artifact::Schema => {
            let schema = serde_json::to_string_pretty(&config::schema())?;
            Console::new().data(&schema);
        }
    }
    Ok(Exit::Done)
}

/// `tagship.1`, a page for each command, and `tagship.toml.5`.
fn man(dir: &Path) -> anyhow::Result<()> {
    let mut root = Cli::command();
    root.build();
    page(dir, &root, "tagship")?;
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        page(dir, command, &format!("tagship-{}", command.get_name()))?;
    }
    write(dir, "tagship.toml.5", config::manual().as_bytes())
}

fn page(dir: &Path, command: &Command, name: &str) -> anyhow::Result<()> {
    // clap wants names that live as long as the program.
    let leaked: &'static str = name.to_owned().leak();
    let command = command.clone().name(leaked).display_name(leaked).disable_help_subcommand(true);
    let man = clap_mangen::Man::new(command)
        .title(name.to_uppercase())
        .date(DATE)
        .manual("tagship")
        .source(concat!("tagship ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render(&mut page)?;
    write(dir, &format!("{name}.1"), &page)
}

fn completions(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "tagship", dir)
            .with_context(|| format!("could not write into {}", dir.display()))?;
    }
    Ok(())
}

fn write(dir: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    let path = dir.join(name);
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&path, content))
        .with_context(|| format!("could not write {}", path.display()))
}
