//! What a program is to run by its arguments: `["sh", "./deploy.sh"]`, `["bash", "-c", "x {tag}"]`, `["env", "x"]`.

use super::lint::written;
use super::template::Template;

/// A program that another one is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    /// A file for an interpreter, relative to the folder that the command runs in.
    Script(String),
    /// A path, or a name that PATH is searched for.
    Program(String),
}

/// What shells do themselves. What is only in some of them is here, too.
const OF_SHELLS: [&str; 66] = [
    "!", ".", ":", "[", "[[", "alias", "bg", "bind", "break", "builtin", "case", "cd", "command", "continue",
    "coproc", "declare", "dirs", "disown", "do", "echo", "enable", "eval", "exec", "exit", "export", "false",
    "fc", "fg", "for", "function", "getopts", "hash", "history", "if", "jobs", "kill", "let", "local",
    "logout", "mapfile", "popd", "printf", "pushd", "pwd", "read", "readonly", "return", "select", "set",
    "shift", "shopt", "source", "suspend", "test", "time", "times", "trap", "true", "type", "typeset",
    "ulimit", "umask", "unalias", "unset", "until", "while",
];

/// What the arguments name. None: nothing, or it is not certain. `known`: the text of an argument, where that is known
/// before a deployment.
pub(crate) fn inner(argv: &[Template], known: &impl Fn(&Template) -> Option<String>) -> Option<Inner> {
    let (program, arguments) = argv.split_first()?;
    let program = known(program)?;
    match program.rsplit('/').next().unwrap_or(&program) {
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" => of_shell(arguments, known),
        "env" => of_env(arguments, known),
        "python" | "python3" | "perl" | "ruby" => {
            let script = known(arguments.first()?)?;
            (!script.starts_with('-')).then_some(Inner::Script(script))
        }
        _ => None,
    }
}

/// The program in a script's first line: `#!/usr/bin/env PROGRAM`. `line`: without `#!`.
pub(crate) fn of_first_line(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let interpreter = words.next()?;
    if interpreter.rsplit('/').next() != Some("env") {
        return None;
    }
    let word = words.find(|word| *word != "-S" && !word.contains('='))?;
    let word = word.strip_prefix("-S").unwrap_or(word);
    (!word.starts_with('-')).then(|| word.to_owned())
}

fn of_shell(mut arguments: &[Template], known: &impl Fn(&Template) -> Option<String>) -> Option<Inner> {
    let mut is_line = false;
    loop {
        let (argument, rest) = arguments.split_first()?;
        let option = written(argument);
        if !option.starts_with(['-', '+']) {
            break;
        }
        arguments = rest;
        match option.as_str() {
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
        first_word(&written(argument)).map(Inner::Program)
    } else {
        known(argument).map(Inner::Script)
    }
}

fn of_env(mut arguments: &[Template], known: &impl Fn(&Template) -> Option<String>) -> Option<Inner> {
    loop {
        let (argument, rest) = arguments.split_first()?;
        match known(argument)?.as_str() {
            "-" | "-i" | "--ignore-environment" | "--" => {}
            "-u" | "--unset" => {
                arguments = rest.get(1..)?;
                continue;
            }
            option if option.starts_with('-') => return None,
            assignment if assignment.contains('=') => {}
            program => return inner(arguments, known).or_else(|| Some(Inner::Program(program.to_owned()))),
        }
        arguments = rest;
    }
}

/// The first word of a line for a shell, where it is a program by its name alone.
fn first_word(line: &str) -> Option<String> {
    let line = line.trim_start();
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_./+-".contains(character);
    let end = line.find(|character| !is_plain(character)).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let ends = rest.is_empty() || rest.starts_with([' ', '\t', '\n', ';', '|', '&', '<', '>']);
    // `f () { …; }` defines what it is.
    let is_defined = rest.trim_start().starts_with('(');
    (ends && !is_defined && !word.is_empty() && !OF_SHELLS.contains(&word)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::template::{Part, Scope};
    use super::*;

    fn of(argv: &[&str]) -> Option<Inner> {
        let argv: Vec<Template> =
            argv.iter().map(|text| Template::parse(text, &Scope::default()).unwrap()).collect();
        inner(&argv, &|template| match template.parts.as_slice() {
            [Part::Literal(text)] => Some(text.clone()),
            _ => None,
        })
    }

    #[test]
    fn what_arguments_name_is_a_script_or_a_program() {
        let script = |path: &str| Some(Inner::Script(path.to_owned()));
        let program = |name: &str| Some(Inner::Program(name.to_owned()));
        for (argv, expected) in [
            (&["sh", "./x.sh", "{tag}"][..], script("./x.sh")),
            (&["/bin/bash", "-eu", "-o", "pipefail", "x.sh"], script("x.sh")),
            (&["bash", "--norc", "--rcfile", "rc", "x.sh"], script("x.sh")),
            (&["sh", "--", "-x"], script("-x")),
            (&["sh", "-c", "x {tag}"], program("x")),
            (&["sh", "-euc", " ./x.sh;y"], program("./x.sh")),
            (&["bash", "-ec", "-o", "pipefail", "x | y"], program("x")),
            (&["env", "-i", "A=1", "-u", "B", "x", "y"], program("x")),
            (&["env", "A=1", "sh", "x.sh"], script("x.sh")),
            (&["python3", "x.py"], script("x.py")),
            (&["python3", "-m", "x"], None),
            (&["sh", "-s", "x"], None),
            (&["sh", "{tag}.sh"], None),
            (&["sh", "-c", "cd /srv && x"], None),
            (&["sh", "-c", "A=1 x"], None),
            (&["sh", "-c", "x () { y; }; x"], None),
            (&["sh", "-c", "$X y"], None),
            (&["sh", "-c", "{tag} x"], None),
            (&["sh", "-c", "~/x"], None),
            (&["sh"], None),
            (&["env"], None),
            (&["docker", "sh"], None),
        ] {
            assert_eq!(of(argv), expected, "{argv:?}");
        }
    }

    #[test]
    fn env_in_a_first_line_names_a_program() {
        for (line, expected) in [
            ("/usr/bin/env x", Some("x")),
            (" /usr/bin/env -S A=1 x -y", Some("x")),
            ("/usr/bin/env -Sx -y", Some("x")),
            ("/usr/bin/env -i x", None),
            ("/bin/sh -e", None),
            ("", None),
        ] {
            assert_eq!(of_first_line(line).as_deref(), expected, "{line}");
        }
    }
}
