//! The files of a configuration on disk.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::Fault;
use super::read::Table;
use super::tree::Source;
use crate::file;

/// The longest file; enough for a hundred thousand targets.
const LONGEST: u64 = 32 * 1024 * 1024;

/// A file's text.
///
/// # Errors
/// The file cannot be read, is not a regular file, is too long or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<Source, Fault> {
    let fault = |message: String| Fault::of_file(path, message, None);
    let bytes = file::read(path, LONGEST).map_err(|error| fault(format!("cannot read the file: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| fault("the file is not valid UTF-8".to_owned()))?;
    // Some editors write a byte order mark at the beginning.
    let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
    Ok(Source::new(path.to_owned(), text))
}

/// The files and globs of `include`.
#[derive(Default)]
pub(super) struct Included {
    /// Each file once; the files of a glob are sorted by name.
    pub(super) sources: Vec<Source>,
    /// Absolute.
    pub(super) globs: Vec<String>,
}

/// Reads the files that `include` names.
///
/// # Errors
/// A file or a folder cannot be read.
pub(super) fn included(main: &Table<'_>) -> Result<Included, Vec<Fault>> {
    let Some(items) = main.get("include").and_then(|field| field.list()) else {
        return Ok(Included::default());
    };
    let mut globs = Vec::new();
    let folder = main.source.file.parent().unwrap_or(Path::new("/"));
    let mut paths: Vec<PathBuf> = Vec::new();
    for item in items {
        let Some(text) = item.some_text() else {
            continue;
        };
        let is_glob = text.contains(['*', '?', '[']);
        if !is_glob {
            paths.push(folder.join(text));
            continue;
        }
        let literal = glob::Pattern::escape(&folder.display().to_string());
        // `join` keeps an absolute path unchanged.
        let pattern = Path::new(&literal).join(text);
        let pattern = pattern.display().to_string();
        let Ok(matches) = glob::glob(&pattern) else {
            item.fault(format!("invalid glob {text:?}"), "use * and ?");
            continue;
        };
        globs.push(pattern);
        for found in matches {
            match found {
                Ok(path) => paths.push(path),
                // Skipping the folder would silently stop the polls of its projects.
                Err(error) => item.fault(
                    format!("cannot read the folder {}: {}", error.path().display(), error.error()),
                    "give the user that runs tagship permission to read it",
                ),
            }
        }
    }
    let mut seen = HashSet::from([main.source.file.clone()]);
    paths.retain(|path| seen.insert(path.clone()));
    let mut faults = Vec::new();
    let sources =
        paths.iter().filter_map(|path| read(path).map_err(|fault| faults.push(fault)).ok()).collect();
    if faults.is_empty() { Ok(Included { sources, globs }) } else { Err(faults) }
}

/// Whether a glob of `include` would match a new file at this path, by any path of its folder.
pub(super) fn would_match(glob: &str, path: &Path) -> bool {
    let (Some((folders, last)), Some(folder), Some(name)) =
        (glob.rsplit_once('/'), path.parent(), path.file_name())
    else {
        return false;
    };
    let matches_name = glob::Pattern::new(last).is_ok_and(|last| last.matches(&name.to_string_lossy()));
    let folder = file::resolved(folder);
    matches_name
        && glob::glob(folders)
            .is_ok_and(|found| found.filter_map(Result::ok).any(|found| file::resolved(&found) == folder))
}
