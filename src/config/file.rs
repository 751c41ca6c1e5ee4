//! The files of a configuration, as they are on disk.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::Fault;
use super::read::Table;
use super::tree::Source;
use crate::file;

/// Of one file: room for a hundred thousand targets.
const LONGEST: u64 = 32 * 1024 * 1024;

/// A file's text.
///
/// # Errors
/// The file cannot be read, is not a regular file, is too long or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<Source, Fault> {
    let fault = |message: String| Fault::of_file(path, message, None);
    let bytes = file::read(path, LONGEST).map_err(|error| fault(format!("cannot read the file: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| fault("the file is not valid UTF-8".to_owned()))?;
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
    Ok(Source::new(path.to_owned(), text))
}

/// What `include` names.
#[derive(Default)]
pub(super) struct Included {
    /// Each file once; those of one glob sorted by name.
    pub(super) sources: Vec<Source>,
    /// Absolute.
    pub(super) globs: Vec<String>,
}

/// Reads the files that `include` names.
///
/// # Errors
/// One of them cannot be read.
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
        // An absolute one stays as it is.
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
                // Without its files their projects would silently not be polled.
                Err(error) => item.fault(
                    format!("cannot read the folder {}: {}", error.path().display(), error.error()),
                    "let the user that runs tagship read it",
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

/// Whether a glob of `include` matches this file once it is made, by any name of its folder.
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
