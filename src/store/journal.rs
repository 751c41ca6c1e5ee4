//! The journal of a killed run. SQLite plays it into any file that has the state's name. So it is compared
//! with that file first, to protect a copy that was put in place of the state.
//!
//! A rollback journal contains the pages of a transaction as they were before it
//! (<https://www.sqlite.org/fileformat2.html#the_rollback_journal>). Every commit changes the header in page
//! 1, so page 1 is in every journal. A file that belongs to the journal has either that same header, or the
//! header of the next commit.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::owner::FileOwner;
use super::stamp::Stamp;
use crate::file::irregular_name_at;

/// The first bytes of a valid journal; SQLite writes them last.
const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// SQLite locks this byte of a file while it writes to the file (RESERVED_BYTE in its `os_unix.c`).
const RESERVED_BYTE: u64 = 0x4000_0001;

/// How often the two files are read again if another process changes them in between.
const TRIES: usize = 100;

/// The first 100 bytes of a SQLite file (<https://www.sqlite.org/fileformat2.html#the_database_header>).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Header([u8; 100]);

impl Header {
    /// None: it is not an SQLite file.
    pub(super) fn read(file: &File) -> io::Result<Option<Header>> {
        let mut bytes = [0; 100];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(bytes.starts_with(b"SQLite format 3\0").then_some(Header(bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn has_write_ahead_log(&self) -> bool {
        self.0[18] == 2 || self.0[19] == 2
    }

    fn number(&self, at: usize) -> u32 {
        number(&self.0[at..])
    }

    fn pages(&self) -> u32 {
        self.number(28)
    }

    /// The number of commits.
    fn change_counter(&self) -> u32 {
        self.number(24)
    }

    fn stamp(&self) -> Stamp {
        Stamp::of(self.number(60))
    }

    /// Whether this is the header `before`, or the one that the next commit writes. A commit of another
    /// program does not change the stamp.
    fn continues(&self, before: &Header) -> bool {
        let (stamp, earlier) = (self.stamp(), before.stamp());
        self == before
            || (self.change_counter() == before.change_counter().wrapping_add(1)
                && (stamp.follows(earlier) || stamp == earlier))
    }
}

/// The path of a file's SQLite journal.
pub(super) fn beside(state: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(state);
    name.push(suffix);
    name.into()
}

/// Whether there is a journal that SQLite would play into the state file, but that belongs to another file.
///
/// # Errors
/// One of the files cannot be read, or the journal belongs to a third user.
pub(super) fn is_foreign(state: &File, journal: &Path, owner: FileOwner) -> io::Result<bool> {
    for _ in 0..TRIES {
        let Some(found) = Journal::read(journal, owner)? else {
            return Ok(false);
        };
        // A writing process removes its journal at the end, or leaves one that belongs to the file.
        if is_being_written(state)? {
            return Ok(false);
        }
        let header = Header::read(state)?;
        if Journal::read(journal, owner)?.as_ref() == Some(&found) && !is_being_written(state)? {
            return Ok(!header.is_some_and(|header| found.belongs_to(&header)));
        }
    }
    Ok(false)
}

fn irregular(path: &Path) -> Option<io::Error> {
    let what = irregular_name_at(path)?;
    Some(io::Error::other(format!("it is {what}, not a journal of the state file; move it away")))
}

fn is_being_written(state: &File) -> io::Result<bool> {
    let lock = Flock {
        start: RESERVED_BYTE,
        length: 1,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    Ok(fcntl_getlk(state, &lock)?.is_some())
}

#[derive(PartialEq, Eq)]
struct Journal {
    /// The journal's own header, which contains a random number.
    start: [u8; 28],
    /// The header of the state file before the transaction. None: page 1 is not in the journal yet, which
    /// does not happen with tagship's transactions.
    page_1: Option<Header>,
}

impl Journal {
    fn belongs_to(&self, state: &Header) -> bool {
        match &self.page_1 {
            Some(before) => state.continues(before),
            None => state.pages() == number(&self.start[16..]),
        }
    }

    /// None: there is no journal that SQLite would play.
    fn read(path: &Path, owner: FileOwner) -> io::Result<Option<Journal>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Links and sockets cannot be opened this way.
            Err(error) => return Err(irregular(path).unwrap_or(error)),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(
                irregular(path).unwrap_or_else(|| io::Error::other("it is not a regular file; move it away"))
            );
        }
        if !owner.trusts(&metadata) {
            return Err(io::Error::other("it belongs to another user than the state file; move it away"));
        }
        let mut start = [0; 28];
        match file.read_exact_at(&mut start, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        if !start.starts_with(&MAGIC) {
            return Ok(None);
        }
        let page_1 = match find_page_1(&file, &start) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            found => found?,
        };
        Ok(Some(Journal { start, page_1 }))
    }
}

/// The journal is a sequence of parts. A part has a header, padded to a sector, and pages, each with its
/// number before and a checksum after it. The last part may lack the magic number and the page count: SQLite
/// writes these when the part is on the disk, and only then changes those pages of the file.
fn find_page_1(journal: &File, start: &[u8; 28]) -> io::Result<Option<Header>> {
    let (sector, page) = (u64::from(number(&start[20..])), u64::from(number(&start[24..])));
    if !(512..=65_536).contains(&page) || !(32..=65_536).contains(&sector) {
        return Ok(None);
    }
    let mut data = vec![0; usize::try_from(page + 8).expect("small")];
    let mut at = 0;
    loop {
        let mut part = [0; 16];
        journal.read_exact_at(&mut part, at)?;
        let is_complete = part.starts_with(&MAGIC);
        let records = if is_complete { number(&part[8..]) } else { u32::MAX };
        at += sector;
        for _ in 0..records {
            let mut record = [0; 4];
            journal.read_exact_at(&mut record, at)?;
            if number(&record) == 1 {
                journal.read_exact_at(&mut data, at)?;
                let (page, sum) = data[4..].split_at(data.len() - 8);
                let is_whole = number(sum) == checksum(number(&part[12..]), page);
                return Ok(is_whole.then(|| Header(page[..100].try_into().expect("a page is longer"))));
            }
            at += page + 8;
        }
        if !is_complete {
            return Ok(None);
        }
        at = at.next_multiple_of(sector);
    }
}

/// As `pager_cksum` of SQLite's `pager.c`.
fn checksum(start: u32, page: &[u8]) -> u32 {
    let sampled = page.iter().rev().skip(199).step_by(200);
    // The sum does not include the first byte.
    sampled.take((page.len() - 1) / 200).fold(start, |sum, byte| sum.wrapping_add(u32::from(*byte)))
}

/// Big-endian, as all numbers in SQLite's files.
fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
