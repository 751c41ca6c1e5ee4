//! The path of the new configuration, and writing it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::{self, Global};
use crate::config;
use crate::init::SCHEMA;
use crate::report::Console;

/// The destination of the configuration.
pub(super) enum Output {
    /// Absolute.
    File(PathBuf),
    Stdout,
}

impl Output {
    /// The folder to which relative paths in the configuration are relative.
    pub(super) fn folder(&self) -> &Path {
        match self {
            Output::File(path) => path.parent().unwrap_or(Path::new("/")),
            Output::Stdout => Path::new("/"),
        }
    }

    /// The file, or a placeholder for it.
    pub(super) fn path(&self) -> &Path {
        match self {
            Output::File(path) => path,
            Output::Stdout => Path::new("/config.toml"),
        }
    }
}

/// The path of `--output` or `--config`, or the default path of the configuration.
///
/// # Errors
/// Something exists at the path, or the path cannot hold TOML.
pub(super) fn place(global: &Global, arguments: &cli::Init) -> anyhow::Result<Output> {
    let given = arguments.output.as_ref().or(global.config.as_ref());
    if given.is_some_and(|path| path.as_os_str() == "-") {
        return Ok(Output::Stdout);
    }
    let path = given.cloned().unwrap_or_else(config::usual_place);
    let path = std::path::absolute(&path).with_context(|| format!("{} is not a path", path.display()))?;
    if path.extension().is_some_and(|extension| extension == "json") {
        bail!(
            "{} would be read as JSON, but init writes TOML; use a name that ends in .toml",
            path.display()
        );
    }
    // A dangling link counts as existing too.
    if fs::symlink_metadata(&path).is_ok() {
        bail!(already(&path));
    }
    Ok(Output::File(path))
}

/// A path as written in the file: relative if it is below the file's folder.
///
/// # Errors
/// TOML cannot represent it.
pub(super) fn beside(place: &Output, path: &Path) -> anyhow::Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("{} is not a path", path.display()))?;
    let shown = match (place, path.strip_prefix(place.folder())) {
        (Output::File(_), Ok(below)) => below,
        _ => &path,
    };
    shown.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Creates a new file, completely or not at all. `is_private`: readable by the user only.
///
/// # Errors
/// The file exists by now, or cannot be written.
pub(super) fn write(path: &Path, text: &str, is_private: bool) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let mode = if is_private { 0o600 } else { 0o644 };
    let permissions = fs::Permissions::from_mode(mode);
    let failed = || format!("could not write {}", path.display());
    let mut file =
        tempfile::Builder::new().permissions(permissions).tempfile_in(folder).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => bail!(already(path)),
        Err(error) => Err(error.error).with_context(failed),
    }
}

/// Writes the schema that the first line of the file names, unless it exists.
///
/// # Errors
/// The schema cannot be written.
pub(super) fn write_schema(config: &Path, console: &Console) -> anyhow::Result<()> {
    let path = config.with_file_name(SCHEMA);
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    let schema = serde_json::to_string_pretty(&config::schema())? + "\n";
    write(&path, &schema, false)?;
    console.message(&format!("wrote {}, for editors", path.display()));
    Ok(())
}

fn already(path: &Path) -> String {
    format!(
        "{} already exists, and init never overwrites a file; move it away, or choose another file with --output FILE",
        path.display()
    )
}
