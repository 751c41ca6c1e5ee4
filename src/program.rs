//! Programs that a configuration names: whether they can be run, as far as that shows without running them, and why one
//! could not be.
#![allow(clippy::disallowed_methods, reason = "programs are looked for in PATH and in folders")]

use std::env;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::file::{self, OddText};
use crate::target::inner::{Inner, inner, of_first_line};
use crate::target::template::{Field, Part, Template};
use crate::target::{Target, lint};

/// Why a program cannot be run.
#[derive(Debug)]
pub(crate) struct ProgramFault {
    pub(crate) message: String,
    /// It is not here: where the deployments run, it may be.
    pub(crate) is_absent: bool,
}

/// Why a program, or what it is to run in turn, cannot be run in this folder. `target`: what it deploys.
pub(crate) fn fault(argv: &[Template], dir: &Path, target: Option<&Target>) -> Option<ProgramFault> {
    let known = |template: &Template| known(template, target);
    let Some(program) = known(argv.first()?) else {
        // What is not known before a deployment is hardly part of a path that has blanks, too.
        return not_one_word(argv).map(|message| ProgramFault { message, is_absent: false });
    };
    match find(&program, dir) {
        Err(fault) => match not_one_word(argv).filter(|_| fault.is_absent) {
            Some(message) => Some(ProgramFault { message, is_absent: false }),
            None => {
                Some(ProgramFault { message: format!("{program} cannot be run: {}", fault.message), ..fault })
            }
        },
        Ok(path) => {
            if let Some(wrong) = script_fault(&path) {
                let message = format!("{program} cannot be run: {} {wrong}", path.display());
                return Some(ProgramFault { message, is_absent: false });
            }
            let of_arguments = || match inner(argv, &known)? {
                Inner::Script(name) => Some((script_of(&name, dir).err()?, name)),
                Inner::Program(name) => Some((find(&name, dir).err()?, name)),
            };
            let of_script = || {
                let name = of_first_line(&first_line(&path)?)?;
                Some((find(&name, dir).err()?, name))
            };
            let (fault, name) = of_script().or_else(of_arguments)?;
            Some(ProgramFault { message: format!("{program} cannot run {name}: {}", fault.message), ..fault })
        }
    }
}

/// Why the system did not start the program at this path: what is wrong with it, after its name.
pub(crate) fn refusal(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    let or = |usual: &str| format!("{shown} {}", script_fault(path).unwrap_or_else(|| usual.to_owned()));
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        _ if file::irregular_at(path).is_some() => no_program(path),
        Some(Errno::NOENT) if path.exists() => or("names an interpreter that does not exist"),
        Some(Errno::NOENT) => format!("{shown} does not exist"),
        Some(Errno::ACCESS) => format!("{shown} is not executable by this user (chmod +x?)"),
        Some(Errno::NOEXEC) => or("has no #! line, or is for another machine"),
        _ => format!("{shown}: {error}"),
    }
}

/// A program written with a slash is looked for in `dir`; the others in PATH, by the system.
pub(crate) fn located(program: &str, dir: &Path) -> PathBuf {
    if program.contains('/') {
        dir.join(program.strip_prefix("./").unwrap_or(program))
    } else {
        PathBuf::from(program)
    }
}

/// Where the program is, or what is wrong with it.
fn find(program: &str, dir: &Path) -> Result<PathBuf, ProgramFault> {
    let fault = |message: String, is_absent| Err(ProgramFault { message, is_absent });
    let is_executable = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = located(program, dir);
        return match path.metadata() {
            Err(_) => fault(format!("{} does not exist", path.display()), true),
            Ok(_) if file::irregular_at(&path).is_some() => fault(no_program(&path), false),
            Ok(_) if !is_executable(&path) => {
                fault(format!("{} is not executable (chmod +x?)", path.display()), false)
            }
            Ok(_) => Ok(path),
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|folder| folder.join(program));
    if let Some(found) = places.find(|path| is_executable(path)) {
        return Ok(found);
    }
    let cure = match dir.join(program).is_file() {
        true => format!("it lies in {}, so write ./{program}", dir.display()),
        false => "cron's may differ, so write the whole path".to_owned(),
    };
    fault(format!("it is in no folder of PATH ({}); {cure}", path.display()), true)
}

/// A file that an interpreter is to read. One without a slash it may look for in PATH, too.
fn script_of(name: &str, dir: &Path) -> Result<(), ProgramFault> {
    let path = located(name, dir);
    let path = dir.join(path);
    let fault = |message: String, is_absent| Err(ProgramFault { message, is_absent });
    match path.metadata() {
        Ok(found) if found.is_dir() && !path.join("__main__.py").exists() => fault(no_program(&path), false),
        Ok(_) => Ok(()),
        Err(_) if !name.contains('/') && find(name, dir).is_ok() => Ok(()),
        Err(_) => fault(format!("{} does not exist", path.display()), true),
    }
}

fn no_program(path: &Path) -> String {
    let what = file::irregular_at(path).unwrap_or("no regular file");
    format!("{} is {what}, and no program", path.display())
}

/// A text as far as it is known without a tag.
fn known(template: &Template, target: Option<&Target>) -> Option<String> {
    let text = |part: &Part| {
        Some(match (part, target) {
            (Part::Literal(text) | Part::Var(text), _) => text.clone(),
            (Part::Field(Field::Project), Some(target)) => target.id.project.to_string(),
            (Part::Field(Field::Stage), Some(target)) => target.id.stage.to_string(),
            (Part::Field(Field::Target), Some(target)) => target.id.to_string(),
            (Part::Field(Field::Registry), Some(target)) => target.registry.to_string(),
            (Part::Field(Field::Repository), Some(target)) => target.image.repository.to_string(),
            _ => return None,
        })
    };
    template.parts.iter().map(text).collect()
}

/// `["./deploy.sh {tag}"]`: a whole command line where a program is named.
fn not_one_word(argv: &[Template]) -> Option<String> {
    let program = lint::written(argv.first()?);
    if !program.contains(char::is_whitespace) {
        return None;
    }
    let words = lint::words(&program).into_iter().chain(argv[1..].iter().map(lint::written));
    let cure = lint::list(&words.collect::<Vec<_>>());
    Some(format!("{program:?} is not a program: commands run without a shell; write command = {cure}"))
}

/// What is wrong with the first line of a script; None for what is no text.
fn script_fault(path: &Path) -> Option<String> {
    let head = head(path)?;
    let shown = path.display();
    let Some(line) = head.strip_prefix(b"#!") else {
        if let Some(odd) = OddText::of(&head) {
            return Some(match odd {
                OddText::Marked => format!(
                    "begins with a byte order mark, so that its #! line is not seen; {}",
                    odd.cure(path)
                ),
                OddText::Wide(_) => odd.describe(path),
            });
        }
        let is_text = !head.contains(&0) && !head.starts_with(b"\x7fELF");
        return is_text.then(|| "has no #! line; add #!/bin/sh as its first line".to_owned());
    };
    let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or_default());
    if line.ends_with('\r') {
        return Some(format!(
            "has Windows line endings, so that its interpreter is not found; run: sed -i 's/\\r$//' {shown}"
        ));
    }
    let interpreter = line.split_whitespace().next().unwrap_or_default();
    let is_missing = interpreter.starts_with('/') && !Path::new(interpreter).exists();
    is_missing.then(|| format!("names in its first line {interpreter}, which does not exist"))
}

/// Of a script, without `#!`.
fn first_line(path: &Path) -> Option<String> {
    let head = head(path)?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).into_owned())
}

fn head(path: &Path) -> Option<Vec<u8>> {
    const LONGEST_LINE: u64 = 256;
    file::head(path, LONGEST_LINE).ok()
}
