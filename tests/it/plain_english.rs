//! Texts are plain English: no riddles, one word for each thing.
//!
//! Reads every string literal and comment of the program and the benchmarks, every comment of the tests (their literals
//! are data), every name of a function, and every document.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// Patterns to avoid, each with its plainer form. A match with one of [`ALLOWED`] is plain.
const PATTERNS: [(&str, &str); 23] = [
    (r"\b(there )?(is|are|was|were) no( longer| way)?\b", "is not a …"),
    (r"\bso (many|long)\b", "this many, as long as"),
    (r"\b(no|some)body(’s|'s)?\b", "the noun: a user, an owner; anonymous access"),
    (r"\bwhat (is|are|was|were)\b", "a noun: the answer, the deployed tag"),
    (r"\bthat which\b|\ball the same\b|\banew\b|\bmeanwhile\b", "rewrite the sentence"),
    (r"\bby hand\b", "manually, a manual deployment"),
    (r"\b(can|could)(not)? be told\b|\b(is|are|was|were) told( to stop)?\b", "report, notify"),
    (r"\bthere (is|are) [a-z_]+, ", "known keys: image, interval"),
    (r"\bgo(es)? on\b", "continue"),
    (r"\bgets\b", "receives, has"),
    (r"\b(has|have|had) to\b", "must, requires"),
    (r"\b(is|are|was|were) to be\b", "must be, will be"),
    (r"\bcannot be had\b", "could not get"),
    (r"\bpass(ed|es)? (over|by)\b", "skip"),
    (r"\bsight(ed|ings?)\b", "first seen"),
    (r"\bhand(ed|s)? over\b|\bhandovers?\b", "pass on, deploy request"),
    (r"\brehears(e|es|al)\b", "dry run"),
    (r"\bgatekeepers?\b|\bvaults?\b", "gate, redactor"),
    (r"\bdoubt(s|ed|ful)?\b", "lint, warning"),
    (r"\bgiven up\b", "gave up"),
    (r"\bmend(s|ed|ing)?\b", "fix"),
    (r"\bunder way\b", "running, in progress"),
    (r"^fn (what|whose|who)\b", "a noun as the subject"),
];

/// "There is no second request", "is no longer polled" and "was told to stop" are plain.
const ALLOWED: &[&str] =
    &["there is no", "there are no", "there was no", "there were no", "no longer", "told to stop"];

/// Allowed occurrences: the beginning of the path, a part of the text, and the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("tests/it/questions.rs", "fn ", "its tests are named by the questions that they answer"),
    ("src/store/", "sighting", "a table of the state keeps its name"),
    ("src/store/tests/older.rs", "sighted", "a recorded state of the version that named its table so"),
];

#[test]
fn texts_are_plain_english() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let any = PATTERNS.map(|(pattern, _)| format!("(?:{pattern})")).join("|");
    // A boundary of ASCII words: beside a character like “…” that of Unicode takes the slowest of regex's engines.
    let any = Regex::new(&format!("(?i){}", any.replace(r"\b", r"(?-u:\b)"))).unwrap();
    let mut found = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    for path in texts(root) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        let content = fs::read_to_string(&path).unwrap();
        for (line, text) in passages(name, &content) {
            for hit in any.find_iter(&text) {
                let hit = hit.as_str().to_lowercase();
                if ALLOWED.iter().any(|plain| hit.contains(plain)) {
                    continue;
                }
                let is_excepted =
                    |(file, part, _): &(&str, &str, &str)| name.starts_with(file) && text.contains(part);
                match EXCEPTIONS.iter().position(is_excepted) {
                    Some(index) => used[index] = true,
                    None => found.push(format!("{name}:{line}: {hit:?}: write {}: {text}", plainer(&hit))),
                }
            }
        }
    }
    assert!(found.is_empty(), "{} texts to rewrite:\n{}", found.len(), found.join("\n"));
    for ((file, part, _), used) in EXCEPTIONS.iter().zip(used) {
        assert!(used, "the exception {file} {part:?} is not needed");
    }
}

fn plainer(hit: &str) -> &'static str {
    let is_of = |pattern: &str| Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(hit);
    PATTERNS.iter().find(|(pattern, _)| is_of(pattern)).unwrap().1
}

/// The files whose texts are read: sources, documents, manual pages, settings and examples.
fn texts(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)).into();
    files.extend(["Cargo.toml", "clippy.toml", "deny.toml"].map(|name| root.join(name)));
    let folders =
        [".cargo", ".ci", ".gitea", ".github", "benches", "docs", "examples", "man", "src", "tests/it"];
    let mut folders: Vec<PathBuf> = folders.map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|extension| extension != "svg" && extension != "log") {
                files.push(path);
            }
        }
    }
    // The images of the first try are not text, nor is the state that it leaves in `examples`; its log is not ours.
    files.retain(|path| !path.starts_with(root.join("examples/images")) && fs::read_to_string(path).is_ok());
    files.sort();
    files
}

/// Texts, each with its line.
type Passages = Vec<(usize, String)>;

/// The passages of a file: the literals and comments of a source, else its paragraphs.
fn passages(name: &str, content: &str) -> Passages {
    if name.ends_with(".rs") {
        let (literals, mut found) = literals_and_comments(content);
        found.extend(names_of_functions(content));
        if !name.starts_with("tests/") {
            found.extend(literals);
        }
        return found;
    }
    let mut passages = Passages::new();
    let mut is_open = false;
    for (index, line) in content.lines().enumerate() {
        let line = line.trim_start_matches(['#', '/', '>', ' ']).trim();
        match passages.last_mut() {
            Some((_, text)) if is_open && !line.is_empty() => {
                text.push(' ');
                text.push_str(line);
            }
            _ => passages.push((index + 1, line.to_owned())),
        }
        is_open = !line.is_empty();
    }
    passages
}

/// `fn interrupted deployment keeps its id`, each with its line.
fn names_of_functions(source: &str) -> Passages {
    static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bfn [a-z0-9_]+").unwrap());
    let lines = source.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|(index, line)| {
            NAME.find_iter(line).map(move |found| (index + 1, found.as_str().replace('_', " ")))
        })
        .collect()
}

/// The beginning of a raw literal: its hashes and quote.
static RAW: LazyLock<Regex> = LazyLock::new(|| Regex::new(r##"^b?r(#*)""##).unwrap());
static CHARACTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^'(\\[^'\n]+|\\'|[^'\\])'").unwrap());

fn literals_and_comments(source: &str) -> (Passages, Passages) {
    let (mut literals, mut comments) = (Passages::new(), Passages::new());
    let mut comment: Option<(usize, usize, String)> = None;
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            let text = rest[..length].trim_start_matches(['/', '!']).trim();
            match &mut comment {
                Some((_, last, whole)) if *last + 1 == line => {
                    *last = line;
                    whole.push(' ');
                    whole.push_str(text);
                }
                _ => comments
                    .extend(comment.replace((line, line, text.to_owned())).map(|(at, _, text)| (at, text))),
            }
            length
        } else if let Some(start) = Some(first).filter(|c| "br".contains(*c)).and_then(|_| RAW.captures(rest))
        {
            let end = format!("\"{}", &start[1]);
            let text = &rest[start[0].len()..];
            let length = text.find(&end).unwrap();
            literals.push((line, text[..length].to_owned()));
            start[0].len() + length + end.len()
        } else if first == '"' {
            let mut is_escaped = false;
            let end = rest[1..].find(|c: char| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            });
            let length = end.unwrap();
            literals.push((line, joined(&rest[1..=length])));
            length + 2
        } else if let Some(character) = Some(first).filter(|c| *c == '\'').and_then(|_| CHARACTER.find(rest))
        {
            character.len()
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    comments.extend(comment.map(|(at, _, text)| (at, text)));
    (literals, comments)
}

/// A literal over several lines as the text that it becomes.
fn joined(literal: &str) -> String {
    let mut parts = literal.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}
