//! `tagship generate`: manual pages, completions, and schemas of the configuration and of the JSON output.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use roff::{Roff, roman};

use super::Exit;
use crate::cli::{Artifact, Cli, Generate, SchemaOf, Shell};
use crate::config;
use crate::file;
use crate::report::{self, Console, Document};

/// The date of the manual pages. It is the release's date, so that they are the same every day.
const DATE: &str = "2026-11-23";

/// Prints the documents, or writes them to a folder.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn generate(arguments: &Generate, console: &Console) -> anyhow::Result<Exit> {
    match &arguments.what {
        Artifact::Man { dir } => deliver(&man()?, dir.as_deref(), console)?,
        Artifact::Completions { shell, dir } => {
            let mut scripts = completions();
            scripts.retain(|(of, ..)| shell.is_none_or(|shell| shell == *of));
            let files: Vec<_> =
                scripts.iter().map(|(_, name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            deliver(&files, dir.as_deref(), console)?;
        }
        Artifact::Schema { of } => {
            let schema = match of {
                SchemaOf::Config => config::schema(),
                SchemaOf::Poll => report::schema(Document::Poll),
                SchemaOf::Status => report::schema(Document::Status),
                SchemaOf::Tags => report::schema(Document::Tags),
                SchemaOf::History => report::schema(Document::History),
            };
            let schema = serde_json::to_string_pretty(&schema)?;
            console.data(&schema);
        }
    }
    Ok(Exit::Done)
}

/// Writes the files to a folder, or prints them one after another.
fn deliver(files: &[(String, String)], dir: Option<&Path>, console: &Console) -> anyhow::Result<()> {
    for (name, text) in files {
        match dir {
            Some(dir) => write(dir, name, text.as_bytes())?,
            None => console.data(text.trim_end()),
        }
    }
    Ok(())
}

/// `tagship.1`, a page for each command, and `tagship.toml.5`.
fn man() -> anyhow::Result<Vec<(String, String)>> {
    let mut root = Cli::command();
    root.build();
    let commands = || root.get_subcommands().filter(|command| command.get_name() != "help");
    let names: Vec<String> = commands().map(|command| format!("tagship-{}", command.get_name())).collect();
    let mut pages = vec![("tagship.1".to_owned(), page(&root, "tagship", &names)?)];
    let others = ["tagship".to_owned()];
    for (command, name) in commands().zip(&names) {
        pages.push((format!("{name}.1"), page(command, name, &others)?));
        for nested in command.get_subcommands().filter(|nested| nested.get_name() != "help") {
            let nested_name = format!("{name}-{}", nested.get_name());
            let page = page(nested, &nested_name, std::slice::from_ref(name))?;
            pages.push((format!("{nested_name}.1"), page));
        }
    }
    pages.push(("tagship.toml.5".to_owned(), config::manual()));
    Ok(pages)
}

fn page(command: &Command, name: &str, see_also: &[String]) -> anyhow::Result<String> {
    // clap requires names that live as long as the program.
    let leaked: &'static str = name.to_owned().leak();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let command = command.clone().name(leaked).display_name(leaked).disable_help_subcommand(true);
    // A page uses the long help, and options hidden in -h would have no text in it.
    let command = command.mut_args(|argument| argument.hide_short_help(false));
    let man = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .date(DATE)
        .manual("tagship")
        .source(concat!("tagship ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    for paragraph in after.split("\n\n") {
        let (heading, text) = paragraph.split_once(':').unwrap_or(("Notes", paragraph));
        rest.control("SH", [heading.to_uppercase().as_str()]).control("nf", []);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            rest.text([roman(line.trim())]);
        }
        rest.control("fi", []);
    }
    rest.control("SH", ["SEE ALSO"]);
    let pages = see_also.iter().map(|page| format!("{page}(1)")).chain(["tagship.toml(5)".to_owned()]);
    rest.text([roman(pages.collect::<Vec<_>>().join(", "))]);
    rest.to_writer(&mut page)?;
    // clap_mangen writes two line breaks where mandoc's lint requires one space.
    Ok(config::tidy(&String::from_utf8(page)?.replace(".br\n\n.br\n", ".sp\n")))
}

/// Short scripts that request the words from tagship, so they work with every version.
fn completions() -> Vec<(Shell, &'static str, &'static str)> {
    vec![
        (Shell::Bash, "tagship.bash", include_str!("../../completions/tagship.bash")),
        (Shell::Zsh, "_tagship", include_str!("../../completions/_tagship")),
        (Shell::Fish, "tagship.fish", include_str!("../../completions/tagship.fish")),
    ]
}

fn write(dir: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    let path = dir.join(name);
    fs::create_dir_all(dir)
        .and_then(|()| file::write(&path, content))
        .with_context(|| format!("could not write {}", path.display()))
}
