//! Lists that fill the memory are held a few at a time, however many connections a run has.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use super::RegistryError;
use crate::reference::Held;
use crate::stop::{Cutoff, TICK};

/// An answer that is longer is large. Its tags take ten times as much in memory.
pub(super) const LARGE_BODY: u64 = 1024 * 1024;
/// As many tags of one repository are large, on however many pages they came.
pub(super) const LARGE_LIST: usize = 50_000;
/// So many at a time, of at most 64 MiB or a million tags each.
const MOST: usize = 2;

/// The places for large lists, shared by all requests of a run.
#[derive(Clone, Debug)]
pub(super) struct Large(Arc<Places>);

#[derive(Debug)]
struct Places {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A place; free again when what was read is dropped.
#[derive(Debug)]
pub(super) struct Place(Large);

impl Default for Large {
    fn default() -> Large {
        Large(Arc::new(Places { free: Mutex::new(MOST), changed: Condvar::new() }))
    }
}

impl Large {
    pub(super) fn try_take(&self) -> Option<Place> {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Place(self.clone()))
    }

    /// Waits for one. Whoever holds one waits for none, so that this ends. None: the run is over.
    pub(super) fn take(&self, cutoff: &Cutoff) -> Option<Place> {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if cutoff.is_reached() {
                return None;
            }
            if let Some(left) = free.checked_sub(1) {
                *free = left;
                return Some(Place(self.clone()));
            }
            free = self.0.changed.wait_timeout(free, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// One listing's claim to a place; it takes one at most.
#[derive(Clone, Debug)]
pub(super) struct Claim(Arc<Claimed>);

#[derive(Debug)]
struct Claimed {
    large: Large,
    cutoff: Cutoff,
    place: OnceLock<Place>,
}

impl Claim {
    pub(super) fn new(large: &Large, cutoff: &Cutoff) -> Claim {
        Claim(Arc::new(Claimed { large: large.clone(), cutoff: cutoff.clone(), place: OnceLock::new() }))
    }

    /// Whether it has a place, or one was free.
    pub(super) fn try_hold(&self) -> bool {
        self.0.place.get().is_some()
            || self.0.large.try_take().is_some_and(|place| self.0.place.set(place).is_ok())
    }

    /// Waits for a place, unless it has one. Nothing else may be waited for with it.
    ///
    /// # Errors
    /// The run is over.
    pub(super) fn hold(&self) -> Result<(), RegistryError> {
        if self.0.place.get().is_some() {
            return Ok(());
        }
        match self.0.large.take(&self.0.cutoff) {
            Some(place) => {
                // Only this listing's own thread takes one.
                let _ = self.0.place.set(place);
                Ok(())
            }
            None => {
                Err(RegistryError::OutOfTime("the run was over while other large lists were read".to_owned()))
            }
        }
    }

    /// What keeps the place for as long as the listing lives.
    pub(super) fn held(self) -> Held {
        Held::new(self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_few_and_free_again() {
        let large = Large::default();
        let taken: Vec<Place> = std::iter::from_fn(|| large.try_take()).collect();
        assert_eq!(taken.len(), MOST);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| large.take(&Cutoff::default()).is_some());
            drop(taken);
            assert!(waiting.join().unwrap());
        });
    }
}
