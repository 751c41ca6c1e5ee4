//! Tips for commands and options that do not exist.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command};

/// Commands of other tools, and the command to use instead.
const OF_OTHER_TOOLS: [(&[&str], &str); 16] = [
    (&["undo", "revert", "downgrade", "back", "previous"], "tagship rollback TARGET"),
    (&["logs", "log", "output", "events", "journal", "audit"], "tagship history"),
    (
        &["list", "ls", "ps", "get", "show", "info", "describe", "inspect", "targets", "stages", "dashboard"],
        "tagship status",
    ),
    (&["images", "image", "versions", "search", "why", "explain"], "tagship tags TARGET"),
    (&["pause", "stop", "suspend", "freeze", "disable", "lock", "block"], "tagship hold TARGET"),
    (
        &["resume", "start", "unhold", "unpause", "unfreeze", "enable", "unlock", "unblock", "continue"],
        "tagship release TARGET",
    ),
    (
        &[
            "run",
            "sync",
            "update",
            "upgrade",
            "pull",
            "watch",
            "reconcile",
            "scan",
            "refresh",
            "once",
            "serve",
        ],
        "tagship poll",
    ),
    (&["plan", "diff", "preview", "dry-run", "dryrun", "simulate"], "tagship poll --dry-run"),
    (&["validate", "lint", "test", "verify", "doctor", "config"], "tagship check"),
    (
        &["approve", "promote", "ship", "push", "apply", "rollout", "redeploy", "up", "set"],
        "tagship deploy TARGET [TAG]",
    ),
    (&["rerun", "resend", "retrigger", "repeat"], "tagship retry TARGET"),
    (&["ack", "skip", "record", "deployed"], "tagship mark TARGET TAG"),
    (&["setup", "new", "create", "configure", "bootstrap"], "tagship init"),
    (&["cron", "systemd", "timer", "install", "daemon", "service"], "tagship schedule systemd"),
    (&["auth", "signin", "token"], "tagship login REGISTRY"),
    (&["version"], "tagship --version"),
];

/// Options of other tools, and the option to use instead, if the command has it. An option that ends with `=`
/// needs a value.
const OPTIONS_OF_OTHER_TOOLS: [(&[&str], &str); 8] = [
    (&["-c", "-f", "--file", "--conf", "--config-file"], "--config="),
    (&["--db", "--state-file"], "--state="),
    (&["--json"], "--format json"),
    (&["--jsonl", "--ndjson"], "--format jsonl"),
    (&["--html"], "--format html"),
    (&["-o", "--output"], "--format="),
    (&["-n", "--dry", "--what-if", "--noop"], "--dry-run"),
    (&["--silent"], "--quiet"),
];

/// Commands that change nothing: only these are suggested for a similar word. (`generate` does nothing without a
/// command of its own.)
const HARMLESS: [&str; 6] = ["status", "tags", "history", "check", "schedule", "generate"];

/// Parses the arguments, of which the first is the program.
///
/// # Errors
/// The arguments are wrong, or ask for help. A tip for a similar word never names a command that changes
/// something.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = Cli::try_parse_from(&arguments).map_err(|error| match error.kind() {
        ErrorKind::UnknownArgument => with_option(error, &arguments),
        _ => with_command(error),
    })?;
    match repeated(&cli, &arguments) {
        None => Ok(cli),
        Some(message) => Err(Cli::command().error(ErrorKind::ArgumentConflict, message)),
    }
}

/// The error for an option that is given twice. If a global option is given before and after the command, clap
/// silently uses the second one.
fn repeated(cli: &Cli, arguments: &[OsString]) -> Option<&'static str> {
    let written = |option: &str| {
        let is_it = |word: &&OsString| match word.as_encoded_bytes().strip_prefix(option.as_bytes()) {
            Some(rest) => rest.is_empty() || rest.starts_with(b"="),
            None => false,
        };
        arguments.iter().filter(is_it).count()
    };
    let states = written("--state");
    if written("--config") > 1 {
        Some("the argument '--config <FILE>' cannot be used multiple times")
    } else if states > 1 && !matches!(cli.command, Command::Status(_) | Command::History(_)) {
        Some("'--state <FILE>' can be repeated for status and history only")
    } else if states > cli.global.state.len() {
        Some("write all '--state <FILE>' options before the command, or all after it")
    } else {
        None
    }
}

/// The error with a tip, if the command has an option for the word of another tool.
fn with_option(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let value = words.iter().skip_while(|word| *word != typed).nth(1).filter(|word| !word.starts_with('-'));
    let is_configuration = typed.ends_with(".toml") || typed.ends_with(".json");
    let option = OPTIONS_OF_OTHER_TOOLS.iter().find(|(names, _)| names.contains(&typed.as_str()));
    let advice = match option {
        _ if is_configuration => format!("--config {typed}"),
        Some((_, option)) if option.ends_with('=') => {
            let Some(value) = value else { return error };
            format!("{} {value}", option.trim_end_matches('='))
        }
        Some((_, option)) => (*option).to_owned(),
        None => return error,
    };
    // Only options that the command has.
    let command = words.iter().skip(1).find(|word| super::is_command(word));
    let with_advice = ["tagship"].into_iter().chain(command.copied()).chain(advice.split(' '));
    let verdict = Cli::command().try_get_matches_from(with_advice).map_err(|error| error.kind());
    if matches!(verdict, Err(ErrorKind::UnknownArgument | ErrorKind::InvalidValue)) {
        return error;
    }
    error.remove(ContextKind::SuggestedArg);
    error.insert(
        ContextKind::Suggested,
        ContextValue::StyledStrs(vec![StyledStr::from(format!("use '{advice}'"))]),
    );
    error
}

/// The error about an unknown command, with the command to use instead.
fn with_command(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let typed = typed.to_lowercase();
    let named = OF_OTHER_TOOLS.iter().find(|(words, _)| words.contains(&typed.as_str()));
    let similar = error.remove(ContextKind::SuggestedSubcommand);
    if let Some((_, command)) = named {
        let tip = StyledStr::from(format!("use '{command}'"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    } else if let Some(ContextValue::Strings(mut similar)) = similar {
        similar.retain(|name| {
            // `generate` and `schedule` have subcommands, which only print.
            let is_nested = !super::is_command(name) && name != "help";
            is_nested || HARMLESS.contains(&name.as_str())
        });
        if similar.is_empty() {
            // Without other tips, clap leaves an empty line for them.
            error.remove(ContextKind::Suggested);
        } else {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(similar));
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn suggested(line: &str) -> String {
        parse(["tagship"].into_iter().chain(line.split(' ')).map(OsString::from)).unwrap_err().to_string()
    }

    #[test]
    fn an_option_is_suggested_where_the_command_has_it() {
        for (line, expected) in [
            ("poll --json", Some("--format json")),
            ("status --html", Some("--format html")),
            ("poll --html", None),
            ("deploy shop/dev --json", None),
            ("-c my.toml poll", Some("--config my.toml")),
            ("poll -c my.toml", Some("--config my.toml")),
            ("check my.toml", Some("--config my.toml")),
            ("status -o json", Some("--format json")),
            ("poll -n", Some("--dry-run")),
            ("deploy shop/dev -n", None),
        ] {
            let text = suggested(line);
            let tip = text.lines().find_map(|line| line.split_once("tip: use '"));
            assert_eq!(tip.map(|(_, tip)| tip.trim_end_matches('\'')), expected, "{line}: {text}");
        }
    }

    #[test]
    fn each_word_names_one_command_and_is_none() {
        let mut seen = HashSet::new();
        for (words, command) in OF_OTHER_TOOLS {
            let name = command.split(' ').nth(1).unwrap();
            assert!(name.starts_with('-') || Cli::command().find_subcommand(name).is_some(), "{command}");
            for word in words {
                assert!(seen.insert(word) && Cli::command().find_subcommand(word).is_none(), "{word}");
                let text = suggested(word);
                assert!(text.contains(&format!("tip: use '{command}'\n")), "{text}");
            }
        }
    }

    #[test]
    fn no_command_that_changes_something_is_guessed() {
        for (typed, expected) in [
            ("relase", None),
            ("delpoy", None),
            ("rolback", None),
            ("holdd", None),
            ("marke", None),
            ("pol", None),
            ("inti", None),
            ("stats", Some("status")),
            ("hist", Some("history")),
            ("chek", Some("check")),
            ("generat", Some("generate")),
            ("told", None),
            ("mask", None),
            ("loggout", None),
            ("loging", None),
            ("logen", None),
            ("rollup", None),
            ("polling", None),
            ("deployments", None),
            ("marker", None),
        ] {
            let text = suggested(typed);
            let tip = text.lines().find(|line| line.contains("tip:")).map(str::to_owned);
            match expected {
                Some(name) => assert!(tip.unwrap_or_default().contains(&format!("'{name}'")), "{text}"),
                None => assert_eq!(tip, None, "{text}"),
            }
        }
    }
}
