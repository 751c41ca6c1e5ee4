//! Which tags match (`tags`, `exclude`, `regex`), and which part of a tag is its sort key.

use std::cmp::Reverse;
use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use wildmatch::WildMatch;

use super::{InvalidRule, Verdict};

/// The globs and the regex of a rule, compiled.
#[derive(Debug)]
pub(super) struct Filter {
    /// The glob that removes most from the tag comes first. So if several match, the sort key does not depend
    /// on the order in which they are written.
    tags: Vec<Glob>,
    exclude: Vec<Glob>,
    regex: Option<Anchored>,
}

/// A pattern of `*` and `?` that the whole tag must match.
#[derive(Debug, PartialEq)]
struct Glob {
    pattern: WildMatch,
    /// As written, without repeated `*`.
    text: String,
    /// How many bytes of a matching tag are before and after its sort key.
    before: usize,
    after: usize,
}

#[derive(Debug)]
struct Anchored {
    text: String,
    regex: Regex,
    /// The number of captures in the user's regex.
    captures: usize,
}

/// The parts of a tag that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SortText<'t> {
    /// The regex's first capture; without one, the tag without the literal prefix and suffix of the matching
    /// glob.
    pub(super) first: &'t str,
    /// The other captures; empty for one that did not take part in the match.
    pub(super) further: Vec<&'t str>,
}

impl Filter {
    /// Compiles the valid parts, and adds the errors to `faults`.
    pub(super) fn new(
        tags: &[String],
        exclude: &[String],
        regex: Option<&str>,
        faults: &mut Vec<InvalidRule>,
    ) -> Filter {
        let mut globs = |key, texts: &[String]| {
            let mut globs = Vec::with_capacity(texts.len());
            for text in texts {
                match Glob::new(key, text) {
                    Ok(glob) => globs.push(glob),
                    Err((message, help)) => {
                        // A single glob is the whole value of its key.
                        let value = help.strip_prefix("write ").filter(|_| texts.len() == 1);
                        let help = value.map_or(help.clone(), |value| format!("write {key} = {value}"));
                        faults.push(InvalidRule { key, message, help });
                    }
                }
            }
            globs.sort_by(|a, b| a.rank().cmp(&b.rank()));
            globs.dedup();
            globs
        };
        let (tags, exclude) = (globs("tags", tags), globs("exclude", exclude));
        let regex = regex.and_then(|text| match Anchored::new(text) {
            Ok(regex) => Some(regex),
            Err(message) => {
                faults.push(InvalidRule { key: "regex", message, help: String::new() });
                None
            }
        });
        Filter { tags, exclude, regex }
    }

    /// The sort key of a matching tag.
    ///
    /// # Errors
    /// Why the tag does not match.
    pub(super) fn sort_text<'t>(&self, tag: &'t str) -> Result<SortText<'t>, Verdict> {
        let glob = self.tags.iter().find(|glob| glob.pattern.matches(tag)).ok_or(Verdict::NotMatched)?;
        if is_artifact(tag) && !self.tags.iter().any(|glob| glob.text.starts_with(ARTIFACT)) {
            return Err(Verdict::Artifact);
        }
        if let Some(glob) = self.exclude.iter().find(|glob| glob.pattern.matches(tag)) {
            return Err(Verdict::Excluded(glob.text.clone()));
        }
        let (captured, further) = match &self.regex {
            Some(regex) => regex.captured(tag).ok_or(Verdict::RegexMismatch)?,
            None => (None, Vec::new()),
        };
        let first = captured.or_else(|| tag.get(glob.before..tag.len() - glob.after)).unwrap_or(tag);
        Ok(SortText { first, further })
    }

    pub(super) fn captures(&self) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.captures > 0)
    }

    /// The globs of `tags`, without repeated `*`.
    pub(super) fn globs(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|glob| glob.text.as_str())
    }

    /// Whether more than one tag can match.
    pub(super) fn may_match_several(&self) -> bool {
        self.tags.len() > 1 || self.tags.iter().any(|glob| glob.text.contains(['*', '?']))
    }

    /// The globs of `tags` that one `exclude` covers entirely, each with that `exclude`.
    pub(super) fn covered(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags.iter().filter_map(|glob| {
            let by = self.exclude.iter().find(|exclude| exclude.covers(glob))?;
            Some((glob.text.as_str(), by.text.as_str()))
        })
    }
}

impl Glob {
    /// # Errors
    /// The message, and what to write instead.
    fn new(key: &str, text: &str) -> Result<Glob, (String, String)> {
        if text.is_empty() {
            return Err(("an empty glob matches no tag".to_owned(), "\"*\" matches every tag".to_owned()));
        }
        if let Some(odd) = text.chars().find(|c| !is_possible(*c)) {
            return Err((format!("{text:?} matches no tag: a tag cannot have {odd:?}"), meant(key, text)));
        }
        if text.starts_with(['.', '-']) {
            let message = format!("{text:?} matches no tag: a tag cannot begin with . or -");
            return Err((message, String::new()));
        }
        let pattern = WildMatch::new(text);
        let text = pattern.pattern();
        let (before, after) = match (text.find(['*', '?']), text.rfind(['*', '?'])) {
            (Some(first), Some(last)) => {
                (prefix_taken_off(&text[..first]), suffix_taken_off(&text[last + 1..]))
            }
            // Without a wildcard the glob is one tag, and that tag is its own sort key: the key of `stable`
            // must not become empty.
            _ => (0, 0),
        };
        Ok(Glob { pattern, text, before, after })
    }

    /// The glob that removes most comes first; beyond that, the order is arbitrary but fixed.
    fn rank(&self) -> (Reverse<usize>, Reverse<usize>, &str) {
        (Reverse(self.before + self.after), Reverse(self.before), &self.text)
    }

    /// Whether this glob matches every tag that the other one matches. Tries the shortest and the longest
    /// such tag, with characters that only a wildcard can match.
    fn covers(&self, other: &Glob) -> bool {
        let any = other.text.replace('?', "\0");
        [String::new(), "\0".repeat(128)].iter().all(|run| self.pattern.matches(&any.replace('*', run)))
    }
}

/// Whether a glob may contain the character: those of tags, and the wildcards.
fn is_possible(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-' | '*' | '?')
}

/// What to write instead of a glob with other special characters than `*` and `?`.
fn meant(key: &str, text: &str) -> String {
    // `regex` selects tags, so it cannot replace a glob of `exclude`.
    let has_regex = key == "tags";
    let only =
        if has_regex { "a glob has * and ? only; use regex for more" } else { "a glob has * and ? only" };
    // `^v.*$`: a regex that a glob cannot replace.
    let is_regex = text.contains(['^', '$', '\\', '+', '(']) || (text.contains('[') && !text.contains('{'));
    if is_regex {
        let wildcard = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let start = text.trim_start_matches('^');
        let prefix = &start[..start.find(|c| !wildcard(c)).unwrap_or(start.len())];
        // A glob with a class, as in `v[0-9]*`: its * is .* in the regex.
        let is_glob = !text.contains(['^', '$', '\\', '+', '(']) && !text.contains(".*");
        let regex = if is_glob {
            text.replace('.', "\\.").replace('*', ".*").replace('?', ".")
        } else {
            text.to_owned()
        };
        return match text.contains('\'') {
            _ if !has_regex => format!("{only}, such as \"{prefix}*\""),
            true => only.to_owned(),
            false => format!("{only}: write tags = \"{prefix}*\" and regex = '{regex}'"),
        };
    }
    let alternatives = match (text.split_once('{'), text.contains('|')) {
        (Some((before, rest)), _) => rest.split_once('}').map(|(inner, after)| {
            inner.split(',').map(|word| format!("{before}{}{after}", word.trim())).collect::<Vec<_>>()
        }),
        (None, true) => Some(text.split('|').map(|word| word.trim().to_owned()).collect()),
        // `shop:v*`: the tag follows the colon.
        (None, false) => Some(
            text.rsplit(':')
                .next()
                .unwrap_or(text)
                .split([',', ' '])
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
        ),
    };
    match alternatives
        .filter(|globs| globs.iter().all(|glob| !glob.is_empty() && glob.chars().all(is_possible)))
    {
        Some(globs) if globs.len() > 1 => {
            let globs: Vec<String> = globs.iter().map(|glob| format!("{glob:?}")).collect();
            format!("write [{}]", globs.join(", "))
        }
        Some(globs) if globs.len() == 1 => format!("write {:?}", globs[0]),
        _ => only.to_owned(),
    }
}

/// The prefix of tags under which tools store the signatures, attestations and SBOMs of an image.
const ARTIFACT: &str = "sha256-";

/// `sha256-` and 64 hexadecimal digits, with or without `.sig`, `.att`, `.sbom`. Cosign and the distribution
/// specification use these names for artifacts of the image with that digest.
pub(super) fn is_artifact(tag: &str) -> bool {
    let Some((hex, kind)) = tag.strip_prefix(ARTIFACT).and_then(|rest| rest.split_at_checked(64)) else {
        return false;
    };
    hex.bytes().all(|byte| byte.is_ascii_hexdigit()) && matches!(kind, "" | ".sig" | ".att" | ".sbom")
}

/// How much of a literal prefix does not belong to the sort key: everything before its first digit (`v1.`
/// keeps `1.`).
fn prefix_taken_off(prefix: &str) -> usize {
    prefix.find(|c: char| c.is_ascii_digit()).unwrap_or(prefix.len())
}

/// How much of a literal suffix does not belong to the sort key: everything from its first letter, and the
/// `-` or `_` before that (`-alpine` is removed; `.0` stays).
fn suffix_taken_off(suffix: &str) -> usize {
    let kept = suffix.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(suffix.len());
    let kept = if kept < suffix.len() { suffix[..kept].trim_end_matches(['-', '_']).len() } else { kept };
    suffix.len() - kept
}

impl Anchored {
    fn new(text: &str) -> Result<Anchored, String> {
        // Tags are ASCII. Without Unicode, `(?i)` needs no tables, and `\d` is 0-9.
        let build = |pattern: &str| RegexBuilder::new(pattern).unicode(false).build();
        // Compile it alone first: `a)|(b` must not become valid with the parentheses around it.
        let alone = build(text).map_err(|error| one_line(&error))?;
        let captures = alone.captures_len() - 1;
        // The fastest engine compiled in (one-pass) needs a capture in the expression.
        let open = if captures == 0 { "(" } else { "(?:" };
        let regex = build(&format!(r"\A{open}{text})\z"))
            // With `(?x)` it may end in a comment, which would hide the closing parenthesis.
            .or_else(|_| build(&format!("\\A{open}{text}\n)\\z")))
            .map_err(|error| one_line(&error))?;
        Ok(Anchored { text: text.to_owned(), regex, captures })
    }

    /// The first capture, if it took part in the match, and the other ones. None: the tag does not match.
    fn captured<'t>(&self, tag: &'t str) -> Option<(Option<&'t str>, Vec<&'t str>)> {
        if self.captures == 0 {
            return self.regex.is_match(tag.as_bytes()).then(|| (None, Vec::new()));
        }
        let captures = self.regex.captures(tag.as_bytes())?;
        let taken = |number| captures.get(number).and_then(|capture| tag.get(capture.range()));
        Some((taken(1), (2..=self.captures).map(|number| taken(number).unwrap_or_default()).collect()))
    }
}

/// The regex crate prints the pattern over several lines, and the error at the end: `error: …`.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.rsplit_once("error: ").map_or(text.as_str(), |(_, last)| last);
    last.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Filter {
    /// `tags="a*","b*" exclude="c*" regex="..."`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tags={}", quote_all(&self.tags))?;
        if !self.exclude.is_empty() {
            write!(f, " exclude={}", quote_all(&self.exclude))?;
        }
        match &self.regex {
            Some(regex) => write!(f, " regex={}", quote(&regex.text)),
            None => Ok(()),
        }
    }
}

fn quote_all(globs: &[Glob]) -> String {
    globs.iter().map(|glob| quote(&glob.text)).collect::<Vec<_>>().join(",")
}

/// Not `{:?}`: the text is stored and compared, and compilers may change which characters that escapes.
fn quote(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests;
