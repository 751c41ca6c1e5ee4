//! How long a run waits for another process that holds the state file. SQLite's own wait does not end at a
//! signal, so it is not used.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::StoreError;
use crate::stop::{Cutoff, TICK};

/// The longest wait. Transactions of other runs take milliseconds.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// All waits together after the cutoff, so that another run's writes do not cost this run a result.
const AFTER_CUTOFF: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct LockWait {
    cutoff: Cutoff,
    /// The rest of [`AFTER_CUTOFF`].
    rest: Mutex<Duration>,
}

impl LockWait {
    pub(super) fn until(cutoff: &Cutoff) -> LockWait {
        LockWait { cutoff: cutoff.clone(), rest: Mutex::new(AFTER_CUTOFF) }
    }

    /// Runs `work`, and repeats it while another process holds the file. `ends`: which part of the cutoff
    /// ends the wait.
    ///
    /// # Errors
    /// Those of `work`, which had no effect, or another process holds the file.
    pub(super) fn wait<T>(
        &self,
        ends: fn(&Cutoff) -> bool,
        mut work: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        loop {
            match work() {
                Err(StoreError::Sqlite { place, error }) if is_busy(&error) => {
                    if ends(&self.cutoff) && !self.take(pause) {
                        return Err(StoreError::CutShort { place, signal: self.cutoff.signal() });
                    }
                    if begun.elapsed() >= LONGEST {
                        return Err(StoreError::Sqlite { place, error });
                    }
                }
                result => return result,
            }
            thread::sleep(pause);
            pause = (pause * 2).min(TICK);
        }
    }

    /// Takes a pause from the rest; false: none is left.
    fn take(&self, pause: Duration) -> bool {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_left = !rest.is_zero();
        *rest = rest.saturating_sub(pause);
        is_left
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::Stop;

    fn busy() -> Result<(), StoreError> {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        let error = rusqlite::Error::SqliteFailure(error, None);
        Err(StoreError::Sqlite { place: "state.db".to_owned(), error })
    }

    /// Whether it waits for a file that another process holds for this long.
    fn waits(lock_wait: &LockWait, ends: fn(&Cutoff) -> bool, held: Duration) -> bool {
        let begun = Instant::now();
        let result = lock_wait.wait(ends, || if begun.elapsed() < held { busy() } else { Ok(()) });
        assert!(matches!(result, Ok(()) | Err(StoreError::CutShort { .. })), "{result:?}");
        result.is_ok()
    }

    #[test]
    fn a_file_that_is_held_too_long_is_named_where_its_holder_can_be_looked_up() {
        let error = busy().unwrap_err().to_string();
        assert!(
            error.ends_with("; another process has held it for more than 10 s; to find it: fuser state.db"),
            "{error}"
        );
    }

    #[test]
    fn all_waits_after_the_cutoff_share_one_second() {
        let stop = Stop::default();
        stop.tell(15);
        let short = Duration::from_millis(20);
        for cutoff in [Cutoff::at_signal(&stop), Cutoff::after(&Stop::default(), Duration::ZERO)] {
            let lock_wait = LockWait::until(&cutoff);
            assert!(waits(&lock_wait, Cutoff::is_reached, short));
            let begun = Instant::now();
            assert!(!waits(&lock_wait, Cutoff::is_reached, LONGEST));
            assert!(begun.elapsed() < LONGEST / 2);
            assert!(!waits(&lock_wait, Cutoff::is_reached, short));
            // A free file is used at once.
            assert!(waits(&lock_wait, Cutoff::is_reached, Duration::ZERO));
            // Results wait beyond a deadline, but not beyond a signal.
            assert_eq!(waits(&lock_wait, Cutoff::is_signalled, short), !cutoff.is_signalled());
        }
    }
}
