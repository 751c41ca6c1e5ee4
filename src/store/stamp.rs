//! SQLite's `user_version`, 31 bits in page 1 of the state file: the version of its tables (bits 0 to 6), a
//! random number of the last commit (7 to 18), and that of the commit before (19 to 30). The random numbers
//! distinguish a journal from that of a copy with the same number of commits.

use rusqlite::Connection;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The version of the tables; 0 in a new file.
    version: u32,
    /// The random number of the last commit; 0: no commit was stamped.
    commit: u32,
    before: u32,
}

const VERSION_BITS: u32 = 7;
const COMMIT_BITS: u32 = 12;

impl Stamp {
    pub(super) fn of(user_version: u32) -> Stamp {
        let part = |shift, bits| (user_version >> shift) & ((1_u32 << bits) - 1);
        Stamp {
            version: part(0, VERSION_BITS),
            commit: part(VERSION_BITS, COMMIT_BITS),
            before: part(VERSION_BITS + COMMIT_BITS, COMMIT_BITS),
        }
    }

    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Stamp> {
        connection
            .pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0).map(i32::cast_unsigned))
            .map(Stamp::of)
    }

    /// Stamps the commit of the open transaction.
    pub(super) fn renew(connection: &Connection) -> rusqlite::Result<()> {
        Stamp::read(connection)?.write_next(connection)
    }

    /// Stamps the commit, and sets a new version of the tables.
    pub(super) fn raise(connection: &Connection, version: u32) -> rusqlite::Result<()> {
        Stamp { version, ..Stamp::read(connection)? }.write_next(connection)
    }

    fn write_next(self, connection: &Connection) -> rusqlite::Result<()> {
        let most = (1_u32 << COMMIT_BITS) - 1;
        let query = "SELECT 1 + abs(random() % ?1)";
        let commit: u32 = connection.query_row(query, [most], |row| row.get(0))?;
        let next = Stamp { commit, before: self.commit, ..self };
        connection.pragma_update(None, "user_version", next.user_version())
    }

    fn user_version(self) -> u32 {
        self.version | (self.commit << VERSION_BITS) | (self.before << (VERSION_BITS + COMMIT_BITS))
    }

    pub(super) fn version(self) -> u32 {
        self.version
    }

    /// Whether this is the stamp of the commit right after `earlier`.
    pub(super) fn follows(self, earlier: Stamp) -> bool {
        self.before == earlier.commit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_is_read_as_written_and_follows_the_previous_one() {
        let connection = Connection::open_in_memory().unwrap();
        Stamp::raise(&connection, 127).unwrap();
        let first = Stamp::read(&connection).unwrap();
        Stamp::renew(&connection).unwrap();
        let second = Stamp::read(&connection).unwrap();
        assert_eq!((first.version(), second.version()), (127, 127));
        assert!(second.follows(first) && !first.follows(second), "{first:?} {second:?}");
        let largest = Stamp { version: 127, commit: 4095, before: 4095 };
        assert_eq!(Stamp::of(largest.user_version()), largest);
        assert!(
            i32::try_from(largest.user_version()).is_ok(),
            "an older tagship takes it for a newer version"
        );
    }
}
