//! Reads and replaces files at paths that the user gave. Only regular files, and pipes passed in on purpose,
//! are read, with a limit on their length, so that no path blocks a run or fills the memory. Only regular files
//! are replaced; a device, a FIFO or a link stays as it is.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "files are opened here")]

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};

/// The longest time from opening a pipe to its end.
const PIPE_TIMEOUT: Duration = Duration::from_secs(30);

/// The initial buffer for a pipe. A growing buffer would leave copies of secrets in memory.
const PIPE_ROOM: u64 = 64 * 1024;

/// Reads a whole file of at most `longest` bytes.
///
/// # Errors
/// It cannot be read, is not regular (`InvalidInput`), or is longer (`FileTooLarge`). The text says what it is.
pub(crate) fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.len() > longest {
        return Err(too_long(longest));
    }
    // Some files of /proc have a length of 0.
    let room = if found.is_file() { found.len() } else { longest.min(PIPE_ROOM) };
    let mut bytes = Vec::with_capacity(usize::try_from(room + 1).unwrap_or_default());
    if found.is_file() {
        file.take(longest + 1).read_to_end(&mut bytes)?;
    } else {
        read_pipe(&file, longest, PIPE_TIMEOUT, &mut bytes)?;
    }
    if bytes.len() as u64 > longest { Err(too_long(longest)) } else { Ok(bytes) }
}

/// Reads the first bytes of a file, at most `most`.
///
/// # Errors
/// As for [`read`].
pub(crate) fn head(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Appends to a regular file, which is created if necessary, or to a stream of this process (`/dev/stdout`).
///
/// # Errors
/// It cannot be written, or is something else.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let check = |found: &Metadata| match irregular(file_type(found)) {
        Some(what) if !is_handed_in(path) => Err(refused(&format!("it is {what}; choose a regular file"))),
        _ => Ok(()),
    };
    match fs::metadata(path) {
        Ok(found) => check(&found)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new().append(true).create(true).custom_flags(without_waiting()).open(path)?;
    check(&file.metadata()?)?;
    // Waits for a full pipe, as for standard output.
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    file.write_all(bytes)
}

/// Creates a file, or overwrites a regular file.
///
/// # Errors
/// As for [`check_replaceable`]; or the file has a second name, or cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    check_replaceable(path)?;
    // The file is overwritten in place, so the other name would change too.
    if fs::symlink_metadata(path).is_ok_and(|found| found.nlink() > 1) {
        return Err(refused("it has a second name (a hard link); remove that name"));
    }
    let flags = without_waiting() | OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(flags);
    options.open(path)?.write_all(bytes)
}

/// Checks that the path is free or a regular file, so that it can be replaced.
///
/// # Errors
/// Something else is at the path (`InvalidInput`); the text says what it is. Links are not followed.
pub(crate) fn check_replaceable(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    match irregular(file_type(&found)) {
        None => Ok(()),
        Some(what) => Err(refused(&format!("it is {what}; tagship replaces regular files only"))),
    }
}

/// The type of the file at the path; links are followed. None: a regular file, or nothing.
pub(crate) fn irregular_at(path: &Path) -> Option<&'static str> {
    irregular(file_type(&fs::metadata(path).ok()?))
}

/// The same without following a link.
pub(crate) fn irregular_name_at(path: &Path) -> Option<&'static str> {
    irregular(file_type(&fs::symlink_metadata(path).ok()?))
}

/// The encoding of a text that is not plain UTF-8, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OddText {
    /// UTF-8 with a byte order mark.
    Marked,
    /// Two or four bytes for a character; the name is that of iconv.
    Wide(&'static str),
}

const MARK: &[u8] = "\u{feff}".as_bytes();

impl OddText {
    /// `head`: the first bytes; four are enough.
    pub(crate) fn of(head: &[u8]) -> Option<OddText> {
        match head {
            head if head.starts_with(MARK) => Some(OddText::Marked),
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some(OddText::Wide("UTF-32")),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(OddText::Wide("UTF-16")),
            [1..=255, 0, 0, 0, ..] => Some(OddText::Wide("UTF-32LE")),
            [0, 0, 0, 1..=255, ..] => Some(OddText::Wide("UTF-32BE")),
            [1..=255, 0, 1..=255, 0, ..] => Some(OddText::Wide("UTF-16LE")),
            [0, 1..=255, 0, 1..=255, ..] => Some(OddText::Wide("UTF-16BE")),
            _ => None,
        }
    }

    /// The problem of the file and its correction, as text after the file's name.
    pub(crate) fn describe(self, path: &Path) -> String {
        let what = match self {
            OddText::Marked => "begins with a byte order mark".to_owned(),
            OddText::Wide(name) => format!("is {name}"),
        };
        format!("{what}; {}", self.cure(path))
    }

    pub(crate) fn cure(self, path: &Path) -> String {
        let shown = path.display();
        match self {
            OddText::Marked => format!(r"remove it: sed -i 's/^\xEF\xBB\xBF//' {shown}"),
            OddText::Wide(name) => format!("convert it: iconv -f {name} -t UTF-8 {shown} > NEW"),
        }
    }
}

/// The text without its byte order mark.
pub(crate) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Whether a path means a file, or a file in a folder: by their names with links resolved, or by device and
/// inode. Both may be missing.
pub(crate) fn leads_to(path: &Path, known: &Path) -> bool {
    let inode = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    resolved(path).starts_with(resolved(known))
        || inode(path).is_some_and(|found| inode(known) == Some(found))
}

/// The path with links resolved; if the file does not exist, its folder with links resolved.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(real) = fs::canonicalize(&path) {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => resolved(folder).join(name),
        _ => path,
    }
}

/// A path with `~` or `$HOME`: that word, and the path that a shell would make of it.
pub(crate) fn expanded(path: &Path) -> Option<(&'static str, PathBuf)> {
    let mut parts = path.components();
    let is_home = |part: Component<'_>| {
        ["~", "$HOME", "${HOME}"].into_iter().find(|word| part == Component::Normal(word.as_ref()))
    };
    let word = parts.find_map(is_home)?;
    let home = std::env::var_os("HOME").map_or_else(|| "/home/NAME".into(), PathBuf::from);
    Some((word, home.join(parts.as_path())))
}

/// Opens a file for reading, without blocking.
fn open(path: &Path) -> io::Result<File> {
    let is_handed_in = is_handed_in(path);
    // Checked before it is opened, because opening some devices has effects.
    check(&fs::metadata(path)?, is_handed_in)?;
    let file = OpenOptions::new().read(true).custom_flags(without_waiting()).open(path)?;
    check(&file.metadata()?, is_handed_in)?;
    Ok(file)
}

fn without_waiting() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

/// A stream that the parent process passed in, as a shell does for `<(command)`.
fn is_handed_in(path: &Path) -> bool {
    let own = ["/dev/stdin", "/dev/stdout", "/dev/stderr"];
    own.iter().any(|own| path == Path::new(own))
        || path.starts_with("/dev/fd")
        || path.starts_with("/proc/self/fd")
}

fn check(found: &Metadata, is_handed_in: bool) -> io::Result<()> {
    let kind = file_type(found);
    match irregular(kind) {
        None => Ok(()),
        Some(_) if is_handed_in && kind == FileType::Fifo => Ok(()),
        Some(what) => Err(refused(&format!(
            "it is {what}; choose a regular file, or pass a pipe as /dev/stdin or /dev/fd/N"
        ))),
    }
}

fn file_type(found: &Metadata) -> FileType {
    FileType::from_raw_mode(found.mode())
}

/// The type of a file that is not regular.
fn irregular(kind: FileType) -> Option<&'static str> {
    Some(match kind {
        FileType::RegularFile => return None,
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe (FIFO)",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "not a regular file",
    })
}

fn refused(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

fn too_long(longest: u64) -> io::Error {
    const KIB: u64 = 1024;
    let shown = if longest >= KIB * KIB {
        format!("{} MiB", longest / KIB / KIB)
    } else {
        format!("{} KiB", longest / KIB)
    };
    io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {shown}"))
}

/// Reads a non-blocking pipe to its end, or to one byte more than `longest`.
fn read_pipe(mut pipe: &File, longest: u64, timeout: Duration, bytes: &mut Vec<u8>) -> io::Result<()> {
    let deadline = Instant::now() + timeout;
    let mut chunk = [0; 4096];
    while bytes.len() as u64 <= longest {
        // Read before the wait, because a pipe that was closed before it was opened here never reports its end.
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let text = format!("the pipe did not end within {} seconds", timeout.as_secs());
                    return Err(io::Error::new(ErrorKind::TimedOut, text));
                }
                let left = Timespec::try_from(left).map_err(io::Error::other)?;
                match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;

    fn fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn a_file_that_is_not_regular_is_named() {
        for (kind, what) in [
            (FileType::Directory, "a folder"),
            (FileType::Symlink, "a symbolic link"),
            (FileType::Fifo, "a named pipe (FIFO)"),
            (FileType::Socket, "a socket"),
            (FileType::CharacterDevice, "a device"),
            (FileType::BlockDevice, "a device"),
            (FileType::Unknown, "not a regular file"),
        ] {
            assert_eq!(irregular(kind), Some(what), "{kind:?}");
        }
        assert_eq!(irregular(FileType::RegularFile), None);
    }

    #[test]
    fn a_regular_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345678").unwrap();
        assert_eq!(read(&path, 8).unwrap(), b"12345678");
        assert_eq!(read(&path, 7).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(head(&path, 3).unwrap(), b"123");
        // A sparse file, of which nothing is read.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&path, 1024 * 1024).unwrap_err().to_string(), "it is longer than 1 MiB");
        assert_eq!(read(&folder.path().join("gone"), 8).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_fifo_is_neither_read_nor_written_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("fifo"), folder.path().join("link"));
        fifo(&path);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for path in [&path, &link, &folder.path().to_owned()] {
            for result in
                [read(path, 8).map(drop), head(path, 8).map(drop), append(path, b"x"), write(path, b"x")]
            {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput, "{}", path.display());
            }
        }
        let wrong = check_replaceable(&link).unwrap_err().to_string();
        assert_eq!(wrong, "it is a symbolic link; tagship replaces regular files only");
        fs::remove_file(&path).unwrap();
        // Links are followed to append, because CI runners use them, but never to replace.
        append(&link, b"a").unwrap();
        append(&link, b"b").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ab");
        assert!(write(&link, b"c").is_err());
        write(&path, b"c").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"c");
    }

    #[test]
    fn reading_a_pipe_ends_or_times_out() {
        let (reader, mut writer) = io::pipe().unwrap();
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        let read = |longest| {
            let mut bytes = Vec::new();
            read_pipe(&reader, longest, Duration::from_millis(20), &mut bytes).map(|()| bytes)
        };
        writer.write_all(b"abc").unwrap();
        assert_eq!(read(10).unwrap_err().kind(), ErrorKind::TimedOut);
        writer.write_all(&[b'x'; 10_000]).unwrap();
        assert!(read(100).unwrap().len() > 100, "a file that is too long is not read to its end");
        drop(writer);
        assert!(read(100_000).is_ok());
        assert!(read(10).unwrap().is_empty());
    }
}
