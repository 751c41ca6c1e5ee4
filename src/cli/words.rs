//! What is suggested for a command that does not exist.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Words that other tools have, and the command to use instead.
const OF_OTHER_TOOLS: [(&[&str], &str); 15] = [
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
];

/// Commands that change nothing: only these are suggested because they look like what was typed. (`generate` does
/// nothing without a command of its own.)
const HARMLESS: [&str; 6] = ["status", "tags", "history", "check", "schedule", "generate"];

/// The same error; where it is about a command, with a suggestion that does no harm when it is followed without
/// a thought.
pub(crate) fn advised(mut error: clap::Error) -> clap::Error {
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
            // `generate` and its like have commands of their own, which only print.
            let is_nested = !super::is_command(name) && name != "help";
            is_nested || HARMLESS.contains(&name.as_str())
        });
        if similar.is_empty() {
            // Where there are no other tips, clap leaves a line for them.
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

    use clap::{CommandFactory as _, Parser as _};

    use super::super::Cli;
    use super::*;

    fn suggested(word: &str) -> String {
        advised(Cli::try_parse_from(["tagship", word]).unwrap_err()).to_string()
    }

    #[test]
    fn each_word_names_one_command_and_is_none() {
        let mut seen = HashSet::new();
        for (words, command) in OF_OTHER_TOOLS {
            let name = command.split(' ').nth(1).unwrap();
            assert!(Cli::command().find_subcommand(name).is_some(), "{command}");
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
