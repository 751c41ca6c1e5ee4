//! Checks that the programs of a configuration can be run, without running them, and explains why one could not
//! be started.
#![allow(clippy::disallowed_methods, reason = "programs are searched in PATH and in folders")]

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::file::{self, OddText};
use crate::target::inner::{Inner, OF_SHELLS, Word, inner};
use crate::target::template::{DeploymentField, Part, Template};
use crate::target::{Target, lint};

/// Why a program cannot be run.
#[derive(Debug)]
pub(crate) struct ProgramFault {
    pub(crate) message: String,
    /// It does not exist here, but may exist on the machine of the deployments.
    pub(crate) is_absent: bool,
}

/// Why a program, or a program that it runs, cannot be run in this folder. `target`: the target that it
/// deploys.
pub(crate) fn fault(argv: &[Template], dir: &Path, target: Option<&Target>) -> Option<ProgramFault> {
    let known = |template: &Template| known(template, target);
    let Some(program) = known(argv.first()?) else {
        // A path that depends on a placeholder can only be checked for blanks.
        return no_path(argv).map(|message| ProgramFault { message, is_absent: false });
    };
    let (name, fault) = broken(&Word::of_command(argv, known), dir, 0)?;
    let is_own = name == program;
    if let Some(message) = no_path(argv).filter(|_| is_own && fault.is_absent) {
        return Some(ProgramFault { message, is_absent: false });
    }
    let message = match is_own {
        true => format!("{program} cannot be run: {}", fault.message),
        false => format!("{program} cannot run {name}: {}", fault.message),
    };
    Some(ProgramFault { message, ..fault })
}

/// The program or script that cannot be run, and why: the program itself, or one that it runs. `depth`: the
/// number of programs that run this one.
fn broken(words: &[Word], dir: &Path, depth: usize) -> Option<(String, ProgramFault)> {
    const DEEPEST: usize = 16;
    let name = words.first()?.text().filter(|_| depth < DEEPEST)?;
    let fault = |fault: ProgramFault| Some((name.to_owned(), fault));
    let path = match find(name, dir, &search_path()) {
        Ok(path) => path,
        Err(absent) => return fault(absent),
    };
    let first_line = first_line(&path);
    let wrong = match &first_line {
        // A program that starts another one gives a text without #! to a shell.
        None if depth > 0 => shell_fault(&path),
        _ => script_fault(&path, dir),
    };
    if let Some(wrong) = wrong {
        let message = format!("{} {wrong}", path.display());
        return fault(ProgramFault { message, is_absent: false });
    }
    let of_script = first_line.and_then(|line| broken(&line.words(&path), dir, depth + 1));
    of_script.or_else(|| match inner(words)? {
        Inner::Program(words) => broken(&words, dir, depth + 1),
        Inner::Script { path, for_shell } => Some((path.clone(), script_of(&path, for_shell, dir).err()?)),
    })
}

/// Why the system did not start the program in this folder, as text after its name. `search`: the folders where
/// it was searched, as in PATH.
pub(crate) fn refusal(program: &str, dir: &Path, search: &OsStr, error: &io::Error) -> String {
    let path = if program.contains('/') {
        located(program, dir)
    } else {
        // The system also answers "permission denied" if it cannot read one of the folders.
        match find(program, dir, search) {
            Ok(path) => path,
            Err(fault) => return fault.message,
        }
    };
    let shown = path.display();
    let or =
        |usual: &str| format!("{shown} {}", script_fault(&path, dir).unwrap_or_else(|| usual.to_owned()));
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        _ if file::irregular_at(&path).is_some() => no_program(&path),
        Some(Errno::NOENT) if path.exists() => or("names an interpreter that does not exist"),
        Some(Errno::NOENT) => absent(program, &path),
        Some(Errno::ACCESS) => format!("{shown} is not executable by this user (chmod +x?)"),
        Some(Errno::NOEXEC) => or("has no #! line, or is for another machine"),
        _ => format!("{shown}: {error}"),
    }
}

/// The path of a program. With a slash it is relative to `dir`; without one, the system searches PATH.
pub(crate) fn located(program: &str, dir: &Path) -> PathBuf {
    if program.contains('/') {
        dir.join(program.strip_prefix("./").unwrap_or(program))
    } else {
        PathBuf::from(program)
    }
}

/// The folders that the system searches for a program of tagship.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_default()
}

/// Finds the program, or returns the fault. `search`: as for [`refusal`].
fn find(program: &str, dir: &Path, search: &OsStr) -> Result<PathBuf, ProgramFault> {
    let fault = |message: String, is_absent| Err(ProgramFault { message, is_absent });
    let is_executable = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = located(program, dir);
        return match path.metadata() {
            Err(_) => fault(absent(program, &path), true),
            Ok(_) if file::irregular_at(&path).is_some() => fault(no_program(&path), false),
            Ok(_) if !is_executable(&path) => {
                fault(format!("{} is not executable (chmod +x?)", path.display()), false)
            }
            Ok(_) => Ok(path),
        };
    }
    let mut places = env::split_paths(search).map(|folder| folder.join(program));
    if let Some(found) = places.find(|path| is_executable(path)) {
        return Ok(found);
    }
    let cure = if dir.join(program).is_file() {
        format!("it is in {}, so write ./{program}", dir.display())
    } else if OF_SHELLS.contains(&program) {
        format!("it is built into shells, so write {}", lint::list(&["sh", "-c", &format!("{program} …")]))
    } else {
        "cron's is often /usr/bin:/bin, so write the whole path".to_owned()
    };
    fault(format!("no folder of PATH ({}) contains it; {cure}", search.display()), true)
}

/// Checks a file that an interpreter reads. It may search for a name without a slash in PATH too.
fn script_of(name: &str, for_shell: bool, dir: &Path) -> Result<(), ProgramFault> {
    let path = located(name, dir);
    let path = dir.join(path);
    let fault = |message: String, is_absent| Err(ProgramFault { message, is_absent });
    match path.metadata() {
        Ok(found) if found.is_dir() && !path.join("__main__.py").exists() => fault(no_program(&path), false),
        Ok(_) => match shell_fault(&path).filter(|_| for_shell) {
            Some(wrong) => fault(format!("{} {wrong}", path.display()), false),
            None => Ok(()),
        },
        Err(_) if !name.contains('/') && find(name, dir, &search_path()).is_ok() => Ok(()),
        Err(_) => fault(absent(name, &path), true),
    }
}

fn absent(name: &str, path: &Path) -> String {
    let shown = path.display();
    match file::expanded(Path::new(name)) {
        Some((word, meant)) => {
            format!("{shown} does not exist: only a shell expands {word}, so write {}", meant.display())
        }
        None => format!("{shown} does not exist"),
    }
}

fn no_program(path: &Path) -> String {
    let what = file::irregular_at(path).unwrap_or("not a regular file");
    format!("{} is {what}, not a program", path.display())
}

/// The text of a template. None: it depends on the tag.
fn known(template: &Template, target: Option<&Target>) -> Option<String> {
    let text = |part: &Part| {
        Some(match (part, target) {
            (Part::Literal(text) | Part::Var(text), _) => text.clone(),
            (Part::Field(DeploymentField::Project), Some(target)) => target.id.project.to_string(),
            (Part::Field(DeploymentField::Stage), Some(target)) => target.id.stage.to_string(),
            (Part::Field(DeploymentField::Target), Some(target)) => target.id.to_string(),
            (Part::Field(DeploymentField::Registry), Some(target)) => target.registry.to_string(),
            (Part::Field(DeploymentField::Repository), Some(target)) => target.image.repository.to_string(),
            _ => return None,
        })
    };
    template.parts.iter().map(text).collect()
}

/// The error for shell syntax in the place of a program: `["./deploy.sh {tag}"]`, `["TAG={tag}",
/// "./deploy.sh"]`.
fn no_path(argv: &[Template]) -> Option<String> {
    let program = lint::written(argv.first()?);
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some((name, value)) = program.split_once('=').filter(|(name, _)| is_name(name)) {
        let rest = lint::list(&argv[1..].iter().map(lint::written).collect::<Vec<_>>());
        return Some(format!(
            "{program:?} is not a program: commands run without a shell; write command = {rest}, env = {{ {name} = {value:?} }}"
        ));
    }
    if !program.contains(char::is_whitespace) {
        return None;
    }
    let words = lint::words(&program).into_iter().chain(argv[1..].iter().map(lint::written));
    let cure = lint::list(&words.collect::<Vec<_>>());
    Some(format!("{program:?} is not a program: commands run without a shell; write command = {cure}"))
}

/// The fault of the first line of a script that the system runs in this folder. None: no fault, or not a text.
fn script_fault(path: &Path, dir: &Path) -> Option<String> {
    let shown = path.display();
    let Some(line) = first_line(path) else {
        let head = head(path)?;
        if let Some(odd) = OddText::of(&head) {
            return Some(match odd {
                OddText::Marked => format!(
                    "begins with a byte order mark, so the system does not see its #! line; {}",
                    odd.cure(path)
                ),
                OddText::Wide(_) => odd.describe(path),
            });
        }
        let is_text = !head.contains(&0) && !head.starts_with(b"\x7fELF");
        return is_text.then(|| "has no #! line; add #!/bin/sh as its first line".to_owned());
    };
    if line.0.ends_with('\r') {
        return Some(format!(
            "has Windows line endings, so the system does not find its interpreter; run: sed -i 's/\\r$//' {shown}"
        ));
    }
    let (interpreter, argument) = line.parts();
    if !dir.join(interpreter).exists() {
        let more = if interpreter.contains('/') { "" } else { "; PATH is not searched for it" };
        return Some(format!(
            "has the interpreter {interpreter} in its first line, which does not exist{more}"
        ));
    }
    let is_whole = argument.contains(char::is_whitespace) && !is_split_by_env(argument);
    (is_whole && interpreter.rsplit('/').next() == Some("env")).then(|| {
        format!("passes {argument:?} to env as one argument; write #!{interpreter} -S {argument} as its first line")
    })
}

/// The fault of a text that a shell reads.
fn shell_fault(path: &Path) -> Option<String> {
    let head = head(path)?;
    match OddText::of(&head) {
        Some(odd @ OddText::Marked) => Some(format!(
            "begins with a byte order mark, which a shell reads as part of the first command; {}",
            odd.cure(path)
        )),
        Some(odd @ OddText::Wide(_)) => Some(odd.describe(path)),
        // A binary program.
        None if head.contains(&0) => None,
        None if head.split(|byte| *byte == b'\n').next()?.ends_with(b"\r") => Some(format!(
            "has Windows line endings, which a shell reads as part of each command; run: sed -i 's/\\r$//' {}",
            path.display()
        )),
        None => None,
    }
}

/// The first line of a script, without `#!`.
struct FirstLine(String);

impl FirstLine {
    /// The interpreter, and the rest as one argument, including blanks.
    fn parts(&self) -> (&str, &str) {
        let line = self.0.trim();
        let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        (interpreter, argument.trim_start())
    }

    /// The interpreter that the system runs for the script at this path.
    fn words(&self, path: &Path) -> Vec<Word> {
        let (interpreter, argument) = self.parts();
        // PATH is not searched.
        let interpreter =
            if interpreter.contains('/') { interpreter.to_owned() } else { format!("./{interpreter}") };
        let argument = Some(argument.to_owned()).filter(|argument| !argument.is_empty());
        let words = [Some(interpreter), argument, Some(path.display().to_string())];
        words.into_iter().flatten().map(Word::known).collect()
    }
}

fn first_line(path: &Path) -> Option<FirstLine> {
    let head = head(path)?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(FirstLine(String::from_utf8_lossy(line).into_owned()))
}

/// The words of `-S bash -e` or `-iS bash -e`, which env splits.
fn is_split_by_env(argument: &str) -> bool {
    let option = argument.split_whitespace().next().unwrap_or_default();
    option.starts_with("--split-string")
        || (!option.starts_with("--") && option.starts_with('-') && option.contains('S'))
}

fn head(path: &Path) -> Option<Vec<u8>> {
    const LONGEST_LINE: u64 = 256;
    file::head(path, LONGEST_LINE).ok()
}
