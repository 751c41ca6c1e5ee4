//! Finds the program that a command runs through another one: `["sh", "./deploy.sh"]`, `["bash", "-c", "x
//! {tag}"]`, `["env", "x"]`.

use std::collections::VecDeque;

use super::lint::written;
use super::template::Template;

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// As written in the configuration.
    written: String,
    /// The text is known before a deployment.
    is_known: bool,
}

impl Word {
    /// The words of a command. `known`: the text of an argument, if it is known before a deployment.
    pub(crate) fn of_command(argv: &[Template], known: impl Fn(&Template) -> Option<String>) -> Vec<Word> {
        let word = |argument: &Template| match known(argument) {
            Some(text) => Word::known(text),
            None => Word { written: written(argument), is_known: false },
        };
        argv.iter().map(word).collect()
    }

    pub(crate) fn known(text: String) -> Word {
        Word { written: text, is_known: true }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.is_known.then_some(&self.written)
    }
}

/// What a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    /// A script for an interpreter, relative to the command's folder.
    Script { path: String, for_shell: bool },
    /// A program (a path, or a name to look up in PATH) and its arguments.
    Program(Vec<Word>),
}

/// How to read the arguments of a program that runs another one: options, then operands, then the other
/// program.
struct Wrapper {
    name: &'static str,
    /// Options of one letter without a value.
    flags: &'static str,
    /// Options of one letter with a value.
    valued: &'static str,
    long_flags: &'static [&'static str],
    long_valued: &'static [&'static str],
    operands: usize,
}

/// Any other option (also one that changes the folder, or starts no program) makes the rest uncertain.
#[rustfmt::skip]
const WRAPPERS: [Wrapper; 11] = [
    wrapper("chronic", "ve", "", &[], &[], 0),
    wrapper("command", "p", "", &[], &[], 0),
    wrapper("env", "0iv", "uS", &["debug", "ignore-environment"], &["split-string", "unset"], 0),
    wrapper("exec", "cl", "a", &[], &[], 0),
    wrapper("flock", "Fenosux", "Ew", &["close", "exclusive", "nb", "no-fork", "nonblock", "shared", "verbose"],
        &["conflict-exit-code", "timeout", "wait"], 1),
    wrapper("ionice", "t", "cn", &["ignore"], &["class", "classdata"], 0),
    wrapper("nice", "0123456789", "n", &[], &["adjustment"], 0),
    wrapper("nohup", "", "", &[], &[], 0),
    wrapper("setsid", "cfw", "", &["ctty", "fork", "wait"], &[], 0),
    wrapper("stdbuf", "", "eio", &[], &["error", "input", "output"], 0),
    wrapper("timeout", "fpv", "ks", &["foreground", "preserve-status", "verbose"], &["kill-after", "signal"], 1),
];

const fn wrapper(
    name: &'static str,
    flags: &'static str,
    valued: &'static str,
    long_flags: &'static [&'static str],
    long_valued: &'static [&'static str],
    operands: usize,
) -> Wrapper {
    Wrapper { name, flags, valued, long_flags, long_valued, operands }
}

/// Commands built into shells, even if only into some of them.
pub(crate) const OF_SHELLS: [&str; 64] = [
    "!", ".", ":", "[", "[[", "alias", "bg", "bind", "break", "builtin", "case", "cd", "continue", "coproc",
    "declare", "dirs", "disown", "do", "echo", "enable", "eval", "exit", "export", "false", "fc", "fg",
    "for", "function", "getopts", "hash", "history", "if", "jobs", "kill", "let", "local", "logout",
    "mapfile", "popd", "printf", "pushd", "pwd", "read", "readonly", "return", "select", "set", "shift",
    "shopt", "source", "suspend", "test", "time", "times", "trap", "true", "type", "typeset", "ulimit",
    "umask", "unalias", "unset", "until", "while",
];

/// What a program runs, by its arguments. None: nothing, or it is uncertain.
pub(crate) fn inner(words: &[Word]) -> Option<Inner> {
    let (program, arguments) = words.split_first()?;
    match program.text()?.rsplit('/').next()? {
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" => of_shell(arguments),
        "python" | "python3" | "perl" | "ruby" => {
            let script = arguments.first()?.text()?;
            let path = (!script.starts_with('-')).then(|| script.to_owned())?;
            Some(Inner::Script { path, for_shell: false })
        }
        name => WRAPPERS.iter().find(|wrapper| wrapper.name == name)?.inner(arguments),
    }
}

impl Wrapper {
    fn inner(&self, arguments: &[Word]) -> Option<Inner> {
        let mut words: VecDeque<Word> = arguments.iter().cloned().collect();
        // The value of a placeholder never begins with a dash.
        while let Some(option) = words.front()?.written.strip_prefix('-').map(str::to_owned) {
            if option.is_empty() && self.name != "env" {
                break;
            }
            words.pop_front();
            match option.as_str() {
                // The short form of --ignore-environment.
                "" => continue,
                "-" => break,
                _ => {}
            }
            let Some((name, attached)) = self.valued_option(&option)? else { continue };
            let value = attached.or_else(|| Some(words.pop_front()?.written))?;
            if matches!(name, "S" | "split-string") {
                of_line(&value).into_iter().rev().for_each(|word| words.push_front(word));
            }
        }
        words.drain(..self.operands.min(words.len()));
        if self.name == "env" {
            while let Some((variable, _)) = words.front()?.written.split_once('=') {
                if variable == "PATH" {
                    return None;
                }
                words.pop_front();
            }
        }
        match words.front()?.text() {
            Some("-c" | "--command") if self.name == "flock" => command_of_line(&words.get(1)?.written),
            _ => Some(Inner::Program(words.into())),
        }
    }

    /// The name of the option that takes a value, and the value if it is in the same argument. `option`:
    /// without its first dash. None: an unknown option; `Some(None)`: no option takes a value.
    fn valued_option<'o>(&self, option: &'o str) -> Option<Option<(&'o str, Option<String>)>> {
        if let Some(long) = option.strip_prefix('-') {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            if self.long_valued.contains(&name) {
                return Some(Some((name, value)));
            }
            return self.long_flags.contains(&name).then_some(None);
        }
        let flags = option.find(|letter| !self.flags.contains(letter)).unwrap_or(option.len());
        let rest = &option[flags..];
        let Some(letter) = rest.chars().next() else { return Some(None) };
        let (name, value) = rest.split_at(letter.len_utf8());
        let value = Some(value.to_owned()).filter(|value| !value.is_empty());
        self.valued.contains(letter).then_some(Some((name, value)))
    }
}

fn of_shell(mut arguments: &[Word]) -> Option<Inner> {
    let mut is_line = false;
    loop {
        let (argument, rest) = arguments.split_first()?;
        let option = argument.written.as_str();
        if !option.starts_with(['-', '+']) {
            break;
        }
        arguments = rest;
        match option {
            "-" | "--" => break,
            "--rcfile" | "--init-file" => arguments = arguments.get(1..)?,
            long if long.starts_with("--") => {}
            // It reads its standard input.
            short if short.contains('s') => return None,
            short => {
                is_line |= short.starts_with('-') && short.contains('c');
                if short.ends_with(['o', 'O']) {
                    arguments = arguments.get(1..)?;
                }
            }
        }
    }
    let argument = arguments.first()?;
    if is_line {
        command_of_line(&argument.written)
    } else {
        Some(Inner::Script { path: argument.text()?.to_owned(), for_shell: true })
    }
}

/// The first command of a shell line, if it is a program with a plain name.
fn command_of_line(line: &str) -> Option<Inner> {
    let end = line.find(['\n', ';', '|', '&', '<', '>', '(', ')']).unwrap_or(line.len());
    let mut words = of_line(&line[..end]);
    // A number before `<` or `>` is a file descriptor, not an argument.
    if line[end..].starts_with(['<', '>']) && !line[..end].ends_with(char::is_whitespace) {
        words.pop_if(|word| word.written.bytes().all(|byte| byte.is_ascii_digit()));
    }
    // `f () { …; }` defines what it is.
    let rest = line.trim_start().strip_prefix(words.first()?.text()?)?;
    let name = words.first()?.text()?;
    if name.contains('=') || OF_SHELLS.contains(&name) || rest.trim_start().starts_with('(') {
        return None;
    }
    match inner(&words) {
        // Shells have these two built in.
        found if matches!(name, "exec" | "command") => found,
        _ => Some(Inner::Program(words)),
    }
}

/// The words of a shell line, up to the first that the shell would expand.
fn of_line(line: &str) -> Vec<Word> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_./+-=:,@%".contains(character);
    let word = |word: &str| Word { written: word.to_owned(), is_known: word.chars().all(is_plain) };
    line.split_whitespace().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::super::template::{Part, Scope};
    use super::*;

    /// What runs in the end; None: only the command itself.
    fn last(argv: &[&str]) -> Option<String> {
        let argv: Vec<Template> =
            argv.iter().map(|text| Template::parse(text, &Scope::default()).unwrap()).collect();
        let known = |template: &Template| match template.parts.as_slice() {
            [Part::Literal(text)] => Some(text.clone()),
            _ => None,
        };
        let (mut words, mut last) = (Word::of_command(&argv, known), None);
        loop {
            match inner(&words) {
                None => return last,
                Some(Inner::Script { path, for_shell: true }) => return Some(format!("shell script {path}")),
                Some(Inner::Script { path, .. }) => return Some(format!("script {path}")),
                Some(Inner::Program(of_words)) => words = of_words,
            }
            last = words[0].text().map(str::to_owned);
        }
    }

    #[test]
    fn arguments_name_a_script_or_a_program() {
        for (argv, expected) in [
            (&["sh", "./x.sh", "{tag}"][..], Some("shell script ./x.sh")),
            (&["/bin/bash", "-eu", "-o", "pipefail", "x.sh"], Some("shell script x.sh")),
            (&["bash", "--norc", "--rcfile", "rc", "x.sh"], Some("shell script x.sh")),
            (&["sh", "--", "-x"], Some("shell script -x")),
            (&["sh", "-c", "x {tag}"], Some("x")),
            (&["sh", "-euc", " ./x.sh;y"], Some("./x.sh")),
            (&["bash", "-ec", "-o", "pipefail", "x | y"], Some("x")),
            (&["sh", "-c", "exec ./x.sh"], Some("./x.sh")),
            (&["sh", "-c", "exec -a name timeout 5 ./x.sh \"$1\""], Some("./x.sh")),
            (&["sh", "-c", "command -p x>log"], Some("x")),
            (&["sh", "-c", "nice bash x.sh {tag}"], Some("shell script x.sh")),
            (&["env", "-i", "-u", "B", "A=1", "x", "y"], Some("x")),
            (&["env", "A=1", "sh", "x.sh"], Some("shell script x.sh")),
            (&["env", "-S", "A=1 x {tag}", "y"], Some("x")),
            (&["env", "-iSA=1 bash -e", "x.sh"], Some("shell script x.sh")),
            (&["env", "--split-string=-u A sh", "x.sh"], Some("shell script x.sh")),
            (&["env", "-", "--", "A={tag}", "x"], Some("x")),
            (&["env", "PATH=/opt", "x"], None),
            (&["env", "-C", "/srv", "./x"], None),
            (&["timeout", "5", "x"], Some("x")),
            (&["timeout", "-vk5", "--signal", "INT", "{tag}", "x"], Some("x")),
            (&["timeout", "--new", "5", "x"], None),
            (&["timeout", "5"], None),
            (&["nice", "-10", "ionice", "-c", "3", "nohup", "setsid", "-w", "stdbuf", "-oL", "x"], Some("x")),
            (&["flock", "-w", "5", "/run/lock", "x", "y"], Some("x")),
            (&["flock", "/run/lock", "-c", "exec x {tag}"], Some("x")),
            (&["flock", "-u", "9"], None),
            (&["python3", "x.py"], Some("script x.py")),
            (&["python3", "-m", "x"], None),
            (&["sh", "-s", "x"], None),
            (&["sh", "{tag}.sh"], None),
            (&["sh", "-c", "cd /srv && x"], None),
            (&["sh", "-c", "A=1 x"], None),
            (&["sh", "-c", "x () { y; }; x"], None),
            (&["sh", "-c", "exec >log; x"], None),
            (&["sh", "-c", "exec 9>lock; flock 9; x"], None),
            (&["sh", "-c", "exec x1 2>&1"], Some("x1")),
            (&["sh", "-c", "nice ./x9>log"], Some("./x9")),
            (&["sh", "-c", "flock 9 <x"], Some("flock")),
            (&["sh", "-c", "command -v x"], None),
            (&["sh", "-c", "$X y"], None),
            (&["sh", "-c", "{tag} x"], None),
            (&["sh", "-c", "~/x"], None),
            (&["sh"], None),
            (&["env"], None),
            (&["docker", "sh"], None),
        ] {
            assert_eq!(last(argv).as_deref(), expected, "{argv:?}");
        }
    }
}
