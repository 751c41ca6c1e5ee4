//! The command line: the examples of every help are valid, and the definitions fit together.

use clap::{Command, CommandFactory as _, ValueEnum as _};

use super::{Cli, ServerKind};

/// The command and all its subcommands, by their full names.
fn every_command(name: &str, command: &Command, found: &mut Vec<(String, Command)>) {
    found.push((name.to_owned(), command.clone()));
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        every_command(&format!("{name} {}", command.get_name()), command, found);
    }
}

#[test]
fn every_help_has_examples_that_are_valid_command_lines() {
    let mut root = Cli::command();
    root.build();
    let mut commands = Vec::new();
    every_command("tagship", &root, &mut commands);
    assert!(commands.len() > 15, "{}", commands.len());
    for (name, mut command) in commands {
        let help = command.render_long_help().to_string().replace("\\\n", " ");
        let Some((_, examples)) = help.split_once("Example") else {
            panic!("{name} --help has no example:\n{help}")
        };
        let examples: Vec<&str> =
            examples.lines().filter_map(|line| line[line.find("tagship ")?..].split("   ").next()).collect();
        assert!(!examples.is_empty(), "{name} --help shows no command:\n{help}");
        for example in examples {
            let words = shlex::split(example).unwrap();
            let ends = |word: &String| ["&&", "|", ">"].contains(&word.as_str());
            let command = words.split(ends).next().unwrap();
            if let Err(error) = Cli::command().try_get_matches_from(command) {
                panic!("{name} --help: {example}: {error}");
            }
        }
    }
}

#[test]
fn the_definitions_fit_together() {
    Cli::command().debug_assert();
}

/// Every value of the configuration has its option here, and the other way round.
#[test]
fn init_takes_every_kind_and_every_order_of_the_configuration() {
    let schema = crate::config::schema();
    let words = |section: &str, key: &str| -> Vec<String> {
        let words = &schema["$defs"][section]["properties"][key]["enum"];
        serde_json::from_value(words.clone()).unwrap_or_else(|error| panic!("{section}.{key}: {error}"))
    };
    let takes =
        |option: &str, word: &str| Cli::command().try_get_matches_from(["tagship", "init", option, word]);
    for order in words("Stage", "order") {
        takes("--order", &order).unwrap_or_else(|error| panic!("{error}"));
    }
    let kinds = words("Registry", "kind");
    for kind in &kinds {
        takes("--kind", kind).unwrap_or_else(|error| panic!("{error}"));
    }
    for kind in ServerKind::value_variants() {
        assert!(kinds.iter().any(|known| known == kind.as_str()), "{kind:?}");
        assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.as_str());
    }
}
