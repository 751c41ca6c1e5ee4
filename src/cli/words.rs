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

/// Options of other tools, and the option to use instead, if the command has it: the first that fits. An option that
/// ends with `=` needs a value.
const OPTIONS_OF_OTHER_TOOLS: [(&[&str], &str); 10] = [
    (&["-c", "-f", "--file", "--conf", "--config-file"], "--config="),
    (&["--db", "--state-file"], "--state="),
    (&["--json"], "--format json"),
    (&["--jsonl", "--ndjson"], "--format jsonl"),
    (&["--html"], "--format html"),
    (&["-o", "--output"], "--format="),
    (&["-n", "--lines", "--tail", "--count"], "--limit="),
    (&["-n", "--dry", "--what-if", "--noop"], "--dry-run"),
    (&["-m", "--message", "--comment"], "--reason="),
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
        _ => with_command(error, &arguments),
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
    let command = words.iter().copied().skip(1).find(|word| super::is_command(word)).unwrap_or_default();
    let typed = typed.clone();
    let tip = instead(&typed, command, &words);
    let mut tips = match error.remove(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips,
        _ => Vec::new(),
    };
    // No value of tagship begins with a hyphen.
    tips.retain(|tip| !tip.to_string().ends_with(&format!("'-- {typed}'")));
    if let Some(tip) = tip {
        error.remove(ContextKind::SuggestedArg);
        tips = vec![StyledStr::from(tip)];
    }
    if !tips.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// What to use instead of an option that the command does not have.
fn instead(typed: &str, command: &str, words: &[&str]) -> Option<String> {
    if typed.ends_with(".toml") || typed.ends_with(".json") {
        return Some(format!("use '--config {typed}'"));
    }
    let joined = words.iter().find_map(|word| word.strip_prefix(typed)?.strip_prefix('='));
    let next = words.iter().skip_while(|word| **word != typed).nth(1).copied();
    let value = joined.or(next).filter(|word| !word.starts_with('-'));
    if typed == "--tag" && ["deploy", "mark", "tags"].contains(&command) {
        return value.map(|tag| format!("use '{tag}' without '--tag'"));
    }
    let fitting = OPTIONS_OF_OTHER_TOOLS.iter().filter(|(names, _)| names.contains(&typed));
    fitting.filter_map(|(_, option)| advice(option, value)).find_map(|advice| {
        let words = ["tagship", command].into_iter().filter(|word| !word.is_empty()).chain(advice.split(' '));
        let verdict = Cli::command().try_get_matches_from(words).map_err(|error| error.kind());
        let has_option = !matches!(verdict, Err(ErrorKind::UnknownArgument | ErrorKind::InvalidValue));
        has_option.then(|| format!("use '{advice}'"))
    })
}

/// The option with its value, if it needs one.
fn advice(option: &str, value: Option<&str>) -> Option<String> {
    match option.strip_suffix('=') {
        Some(name) => value.map(|value| format!("{name} {value}")),
        None => Some(option.to_owned()),
    }
}

/// The error about an unknown command, with the command to use instead.
fn with_command(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let typed = typed.clone();
    let word = typed.to_lowercase();
    let named = OF_OTHER_TOOLS.iter().find(|(words, _)| words.contains(&word.as_str()));
    let similar = error.remove(ContextKind::SuggestedSubcommand);
    if let Some((_, command)) = named {
        let tip = StyledStr::from(format!("use '{}'", line(command, &typed, arguments)));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    } else if let Some(ContextValue::Strings(mut similar)) = similar {
        similar.retain(|name| {
            // `generate` and `schedule` have subcommands, which only print.
            let is_nested = !super::is_command(name) && name != "help";
            let is_harmless = is_nested || HARMLESS.contains(&name.as_str());
            // What clap finds similar, such as `hodl` and `schedule`, can be another word.
            is_harmless && !crate::config::nearest(&word, &[name]).is_empty()
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

/// The typed line with this command in place of the unknown one, if the command accepts all other words. Otherwise the
/// options before the command, and the command as it is.
fn line(command: &str, typed: &str, arguments: &[OsString]) -> String {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let at = words.iter().position(|word| *word == typed).unwrap_or(words.len());
    let (before, after) = (&words[..at], words.get(at + 1..).unwrap_or_default());
    let parts = command.split(' ').skip(1);
    let is_literal =
        |part: &&str| !part.starts_with('[') && !part.starts_with(|first: char| first.is_uppercase());
    let whole: Vec<&str> = ["tagship"]
        .into_iter()
        .chain(before.iter().copied())
        .chain(parts.clone().filter(is_literal))
        .chain(after.iter().copied())
        .collect();
    if !after.is_empty() && Cli::command().try_get_matches_from(&whole).is_ok() {
        return shlex::try_join(whole).unwrap_or_else(|_| command.to_owned());
    }
    let options = shlex::try_join(before.iter().copied()).unwrap_or_default();
    ["tagship", &options]
        .into_iter()
        .filter(|part| !part.is_empty())
        .chain(parts)
        .collect::<Vec<_>>()
        .join(" ")
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
            ("poll -n shop/dev", Some("--dry-run")),
            ("history -n 3", Some("--limit 3")),
            ("history shop/dev -n", None),
            ("hold shop/dev -m freeze", Some("--reason freeze")),
            ("deploy shop/dev --tag v1", Some("v1' without '--tag")),
            ("deploy shop/dev --tag=v1", Some("v1' without '--tag")),
            ("poll --tag v1", None),
            ("status --watch", None),
        ] {
            let text = suggested(line);
            let tip = text.lines().find_map(|line| line.split_once("tip: use '"));
            assert_eq!(tip.map(|(_, tip)| tip.trim_end_matches('\'')), expected, "{line}: {text}");
            assert!(!text.contains("as a value"), "{line}: {text}");
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
    fn the_tip_is_the_line_to_type() {
        for (line, expected) in [
            ("why shop/prod", "tagship tags shop/prod"),
            ("--config my.toml why shop/prod", "tagship --config my.toml tags shop/prod"),
            ("--config my.toml why", "tagship --config my.toml tags TARGET"),
            (
                "-q --state s.db Logs shop/prod --limit 3",
                "tagship -q --state s.db history shop/prod --limit 3",
            ),
            ("logs -f shop/prod", "tagship history"),
            ("promote shop/prod v1", "tagship deploy shop/prod v1"),
            ("diff */prod", "tagship poll --dry-run '*/prod'"),
            ("validate shop/prod", "tagship check"),
        ] {
            let text = suggested(line);
            assert!(text.contains(&format!("tip: use '{expected}'\n")), "{line}: {text}");
        }
    }

    #[test]
    fn no_command_that_changes_something_is_guessed() {
        for (typed, expected) in [
            ("relase", None),
            ("delpoy", None),
            ("rolback", None),
            ("holdd", None),
            ("hodl", None),
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
