//! Why the state cannot be used, and what to do about it.

use std::path::{Path, PathBuf};

use super::file;
use crate::stop::CutShort;

/// Why the state cannot be used. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{place}: {message}")]
    Unusable { place: String, message: String },
    #[error("{place}: {error}{}{}", code(.error), advice(.place, .error))]
    Sqlite { place: String, error: rusqlite::Error },
    /// The wait ended by this signal, or at the run's deadline.
    #[error("{place}: another process holds it; {CutShort}")]
    CutShort { place: String, signal: Option<u8> },
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: std::io::Error },
}

impl StoreError {
    /// Whether writes of other targets would also fail, because the error is not about one target's rows.
    pub(crate) fn is_of_the_whole_state(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            StoreError::Sqlite { error, .. } => {
                error.sqlite_error_code().is_some_and(|code| code != Code::ConstraintViolation)
            }
            StoreError::Unusable { .. } | StoreError::CutShort { .. } | StoreError::File { .. } => true,
        }
    }
}

/// SQLite's extended code, which distinguishes, for example, failed writes from failed syncs.
fn code(error: &rusqlite::Error) -> String {
    error.sqlite_error().map_or_else(String::new, |error| format!(" (SQLite error {})", error.extended_code))
}

/// What to do about an error of SQLite, if anything.
fn advice(place: &str, error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode as Code;
    let advice = match error.sqlite_error_code() {
        _ if file::is_half_written(error) => {
            "; a run was killed while it wrote: the next run repairs the file, as does any user who may write to it"
        }
        Some(Code::DiskFull) => "; free space on that disk and poll again; nothing is lost",
        Some(Code::SystemIoFailure) => {
            "; check that disk (free space, health) and the limit on file sizes (ulimit -f)"
        }
        Some(Code::ReadOnly) => "; the state file and its folder must be writable",
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => {
            let aside = file::aside(Path::new(place));
            return format!("; this is not a state file of tagship, or it is damaged{aside}");
        }
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            return format!("; another process has held it for more than 10 s; to find it: fuser {place}");
        }
        _ => "",
    };
    advice.to_owned()
}
