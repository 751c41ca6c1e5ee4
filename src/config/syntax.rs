//! The errors of a file that is not valid TOML: one error for each mistake, in the terms of TOML.

use std::collections::BTreeSet;

use toml::de::Error;

use super::Fault;
use super::excerpt::may_hold_secret;
use super::tree::Source;

/// Turns the errors of the parser, at least one, into faults.
pub(super) fn faults(source: &Source, errors: &[Error]) -> Vec<Fault> {
    let colons: Vec<(usize, &str)> = lines(&source.text).filter(|(_, line)| colon(line).is_some()).collect();
    let is_yaml = !colons.is_empty() && !lines(&source.text).any(|(_, line)| is_toml(line));
    if source.text.trim_start().starts_with('{') {
        let message = "this looks like JSON, but tagship reads this file as TOML".to_owned();
        return vec![source.fault(
            0,
            message,
            Some("give the file a name that ends in .json".to_owned()),
            false,
        )];
    }
    if let (true, Some((at, _))) = (is_yaml, colons.first()) {
        let help =
            "write `[registries.git]` for a table and `kind = \"gitea\"` for a key; see: man tagship.toml";
        let message = "this looks like YAML, but tagship reads TOML".to_owned();
        return vec![source.fault(*at, message, Some(help.to_owned()), false)];
    }
    let colon_lines: BTreeSet<usize> = colons.iter().map(|(at, _)| source.line(*at)).collect();
    let texts: Vec<&str> = source.text.lines().collect();
    let mut is_colon_reported = false;
    let mut reported = BTreeSet::new();
    let mut twice_defined = BTreeSet::new();
    let mut faults = Vec::new();
    for error in errors {
        let mut at = error.span().map_or(0, |span| span.start);
        // An error at the end of the file has no line to show.
        if at == source.text.len() {
            at = source.text.trim_end().len();
        }
        let number = source.line(at);
        // Further errors on a line most often belong to the same mistake.
        if !reported.insert(number) {
            continue;
        }
        let line = texts.get(number - 1).copied().unwrap_or_default();
        if error.message() == DUPLICATE {
            // The keys of a table that is defined twice belong to the same mistake.
            if let Some((message, help)) = twice(&texts[..number], &mut twice_defined) {
                faults.push(source.fault(at, message, help, false));
            }
            continue;
        }
        let start = source.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let (message, help) = match colon(line).filter(|_| colon_lines.contains(&number)) {
            Some(_) if std::mem::replace(&mut is_colon_reported, true) => continue,
            Some((key, value)) => {
                at = start + line.find(':').unwrap_or(0);
                let message =
                    format!("expected `=` after the key, found `:`{}", elsewhere(&colon_lines, number));
                (message, corrected(key, value, line))
            }
            None => {
                if error.message().starts_with(ESCAPE) {
                    // One correction, other quotes, is enough for all escapes of a text.
                    at = source.text[start..at].rfind('"').map_or(at, |quote| start + quote);
                }
                described(error.message(), line)
            }
        };
        faults.push(source.fault(at, message, help, false));
    }
    faults
}

/// The parser's message for an invalid escape.
const ESCAPE: &str = "missing escaped value";

/// The parser's message for a key or a table that is defined twice.
const DUPLICATE: &str = "duplicate key";

/// Message and help for the second definition on the last of these lines. None: it is in a table that is itself defined
/// twice. `tables`: the lines of such tables.
fn twice(lines: &[&str], tables: &mut BTreeSet<usize>) -> Option<(String, Option<String>)> {
    let name = |line: &str| match line.trim() {
        table if table.starts_with('[') => table.split('#').next().map(|table| table.trim().to_owned()),
        line => line.split_once('=').map(|(key, _)| key.trim().to_owned()),
    };
    let is_table = |line: &&str| line.trim_start().starts_with('[');
    let (line, before) = lines.split_last()?;
    let (begin, help) = if is_table(line) {
        tables.insert(before.len());
        (0, "move its keys to the first one, or give it another name")
    } else {
        let table = before.iter().rposition(is_table);
        if table.is_some_and(|table| tables.contains(&table)) {
            return None;
        }
        (table.map_or(0, |table| table + 1), "remove one of them")
    };
    let defined = name(line)?;
    Some(match before[begin..].iter().position(|line| name(line).as_ref() == Some(&defined)) {
        Some(first) => {
            let message = format!("`{defined}` is defined twice; first on line {}", begin + first + 1);
            (message, Some(help.to_owned()))
        }
        // It was defined in another form, or both are in this line.
        None => ("this key or table is defined twice".to_owned(), None),
    })
}

/// Message and help for an error of the parser.
fn described(message: &str, line: &str) -> (String, Option<String>) {
    let assignment = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
    if message.starts_with(ESCAPE) {
        let value = assignment.and_then(|(key, value)| {
            let inner = value.strip_prefix('"')?.split_once('"')?.0;
            (!inner.contains('\'') && !may_hold_secret(line)).then(|| format!("write {key} = '{inner}'"))
        });
        let help = value.unwrap_or_else(|| "write the text in single quotes".to_owned());
        return ("`\\` starts an escape sequence in double quotes".to_owned(), Some(help));
    }
    if let Some(quote) =
        ['"', '\''].into_iter().find(|quote| message.ends_with(&format!("string, expected `{quote}`")))
    {
        // Without another quote, the rest of the line is the text.
        let unclosed =
            assignment.filter(|(_, value)| value.starts_with(quote) && value.matches(quote).count() == 1);
        let help = unclosed.and_then(|(key, value)| {
            let text = value.split(" #").next().unwrap_or_default().trim();
            corrected(key, &format!("{text}{quote}"), line)
        });
        return ("text without a closing quote".to_owned(), help);
    }
    match assignment {
        Some((key, "")) => return (format!("expected a value after `{key} =`"), None),
        Some((key, value)) if is_bare_text(value) => {
            return ("expected a value, found text without quotes".to_owned(), corrected(key, value, line));
        }
        _ => {}
    }
    (format!("invalid TOML: {message}"), None)
}

/// Whether the value is text without quotes: `newest` for `"newest"`. The parser reads it as the beginning of
/// `nan`.
fn is_bare_text(value: &str) -> bool {
    let word = value.split(" #").next().unwrap_or_default().trim();
    word.starts_with(|c: char| c.is_ascii_alphabetic()) && !["true", "false", "inf", "nan"].contains(&word)
}

/// `write order = "newest"`, unless the value may be a secret.
fn corrected(key: &str, value: &str, line: &str) -> Option<String> {
    let value = value.split(" #").next().unwrap_or_default().trim();
    let is_literal = value.starts_with(['"', '\'', '[', '{'])
        || value.parse::<f64>().is_ok()
        || ["true", "false"].contains(&value);
    let value = if is_literal { value.to_owned() } else { format!("\"{value}\"") };
    (value.len() > 2 && !may_hold_secret(line)).then(|| format!("write {key} = {value}"))
}

/// ` (also on lines 4, 7)`
fn elsewhere(lines: &BTreeSet<usize>, except: usize) -> String {
    const MOST: usize = 5;
    let others: Vec<String> =
        lines.iter().filter(|line| **line != except).take(MOST).map(ToString::to_string).collect();
    match (others.len(), lines.len() - 1) {
        (0, _) => String::new(),
        (1, 1) => format!(" (also on line {})", others[0]),
        (shown, all) if shown == all => format!(" (also on lines {})", others.join(", ")),
        (_, all) => format!(" (also on {all} other lines)"),
    }
}

/// Every line with the byte at which it begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let at = start + (line.len() - line.trim_start().len());
        start += line.len();
        (at, line.trim())
    })
}

/// A line `key: value` of YAML; the value may be empty.
fn colon(line: &str) -> Option<(&str, &str)> {
    let line = line.trim().trim_start_matches("- ");
    let (key, value) = line.split_once(':')?;
    let is_key =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-\"'".contains(&byte));
    (is_key && (value.is_empty() || value.starts_with(' '))).then(|| (key, value.trim()))
}

/// A line of TOML: a table or a key.
fn is_toml(line: &str) -> bool {
    line.starts_with('[') || line.split_once('=').is_some_and(|(key, _)| !key.contains([':', '#', '"']))
}
