//! Adapts text to its reader: commands can be typed as shown, and times are in the reader's zone.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::{Captures, Regex};

use crate::target::TargetId;

/// Commands that read a configuration and a state. `init` and `generate` do not.
pub(super) const COMMANDS: [&str; 15] = [
    "poll", "status", "tags", "deploy", "rollback", "mark", "history", "retry", "hold", "release", "check",
    "login", "logout", "schedule", "help",
];

const PROGRAM: &str = "tagship ";

/// The text with `options` (` --config FILE`, or nothing) in each command of tagship.
pub(super) fn with_options<'a>(text: &'a str, options: &str) -> Cow<'a, str> {
    if options.is_empty() || !text.contains(PROGRAM) {
        return Cow::Borrowed(text);
    }
    let mut typed = String::with_capacity(text.len() + options.len());
    let mut rest = text;
    while let Some(at) = rest.find(PROGRAM) {
        let (before, after) = rest.split_at(at + PROGRAM.len());
        typed.push_str(before);
        let word = after.split(|letter: char| !letter.is_ascii_lowercase()).next().unwrap_or_default();
        if COMMANDS.contains(&word) {
            typed.push_str(options.trim_start());
            typed.push(' ');
        }
        rest = after;
    }
    typed.push_str(rest);
    Cow::Owned(typed)
}

/// The text with its UTC times (`2026-11-20T10:00:00Z`, `2026-11-20 10:00 UTC`) in this zone.
pub(super) fn in_zone<'a>(text: &'a str, zone: &TimeZone) -> Cow<'a, str> {
    static TIMES: LazyLock<Regex> = LazyLock::new(|| {
        let times = r"\b(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d:\d\d)(?:\.\d+)?Z| (\d\d:\d\d) UTC)\b";
        Regex::new(times).expect("a pattern that is right")
    });
    TIMES.replace_all(text, |found: &Captures<'_>| {
        let (time, format) = match found.get(2) {
            Some(time) => (time.as_str().to_owned(), "%Y-%m-%d %H:%M:%S %Z"),
            None => (format!("{}:00", &found[3]), "%Y-%m-%d %H:%M %Z"),
        };
        let moment: Result<Timestamp, _> = format!("{}T{time}Z", &found[1]).parse();
        moment.map_or_else(
            |_| found[0].to_owned(),
            |moment| moment.to_zoned_datetime(zone.clone()).strftime(format).to_string(),
        )
    })
}

/// Splits a reason into the fact and the hint after it: `FACT; to deploy it: tagship deploy shop/dev` gives
/// the fact and `to deploy it: tagship deploy TARGET`, which is the same for every target.
pub(super) fn split<'a>(reason: &'a str, target: &TargetId) -> (&'a str, Option<String>) {
    let hint = reason.rfind("; to ").map(|at| (&reason[..at], &reason[at + 2..]));
    match hint.filter(|(_, hint)| hint.contains(": tagship ") && hint.ends_with(&format!(" {target}"))) {
        Some((fact, hint)) => {
            let end = hint.len() - target.to_string().len();
            (fact, Some(format!("{}TARGET", &hint[..end])))
        }
        None => (reason, None),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_that_reads_a_configuration_receives_the_options() {
        let command = crate::cli::Cli::command();
        let names = command.get_subcommands().map(clap::Command::get_name);
        let mut names: Vec<_> =
            names.filter(|name| !["init", "generate"].contains(name)).chain(["help"]).collect();
        let mut known = COMMANDS.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, names);
    }

    #[test]
    fn options_are_inserted_into_commands_only() {
        let options = " --config 'a b.toml' --state s.db";
        for (text, expected) in [
            ("to retry: tagship retry a/b", "to retry: tagship --config 'a b.toml' --state s.db retry a/b"),
            ("tagship --config x poll", "tagship --config x poll"),
            ("tagship was told to stop", "tagship was told to stop"),
            ("write one: tagship init", "write one: tagship init"),
            (
                "tagship hold x && tagship poll",
                "tagship --config 'a b.toml' --state s.db hold x && tagship --config 'a b.toml' --state s.db poll",
            ),
        ] {
            assert_eq!(with_options(text, options), expected);
            assert_eq!(with_options(text, ""), text);
        }
    }

    #[test]
    fn times_are_written_in_the_zone_of_the_reader() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for (text, expected) in [
            ("at 2026-11-20T10:00:05Z (5m ago)", "at 2026-11-20 11:00:05 CET (5m ago)"),
            ("until 2026-07-20 23:30 UTC)", "until 2026-07-21 01:30 CEST)"),
            ("2026-11-20T10:00:05.123Z", "2026-11-20 11:00:05 CET"),
            ("2026-13-20T10:00:05Z", "2026-13-20T10:00:05Z"),
            ("v2026-11-20", "v2026-11-20"),
        ] {
            assert_eq!(in_zone(text, &zone), expected);
        }
    }

    #[test]
    fn hint_follows_the_fact() {
        let name = |name| crate::target::Name::new(name).unwrap();
        let target = TargetId { project: name("shop"), stage: name("dev") };
        for (reason, fact, hint) in [
            (
                "first poll; to deploy it: tagship deploy shop/dev",
                "first poll",
                Some("to deploy it: tagship deploy TARGET"),
            ),
            (
                "x; to deploy it: tagship deploy shop/dev v1",
                "x; to deploy it: tagship deploy shop/dev v1",
                None,
            ),
            ("nothing to do", "nothing to do", None),
        ] {
            assert_eq!(split(reason, &target), (fact, hint.map(str::to_owned)));
        }
    }
}
