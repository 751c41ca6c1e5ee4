//! Limits the memory for large lists. A run holds only a few of them at a time, independent of its connections.
//! As few threads read them, because an allocator with an arena for each thread does not return what a thread
//! has freed.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;

use super::RegistryError;
use crate::reference::Held;
use crate::stop::{Cutoff, TICK};

/// A longer answer is large. Its tags take ten times as much memory.
pub(super) const LARGE_BODY: u64 = 1024 * 1024;
/// A repository with this many tags is large, independent of its number of pages.
pub(super) const LARGE_LIST: usize = 50_000;
/// The number of large lists at a time, each with at most 64 MiB or a million tags.
const MOST: usize = 2;

/// The places for large lists, shared by all requests of a run.
#[derive(Clone, Debug)]
pub(super) struct Large(Arc<Places>);

#[derive(Debug)]
struct Places {
    free: Mutex<Vec<Reader>>,
    changed: Condvar,
}

/// A place for one large list. Dropped with the list, it is free again.
#[derive(Debug)]
pub(super) struct ListPlace {
    large: Large,
    /// Returned together with the place.
    reader: Option<Reader>,
}

/// A thread that reads large lists, from the first one to the end of the run.
#[derive(Debug, Default)]
struct Reader(Option<Sender<Job>>);

type Job = Box<dyn FnOnce() + Send>;

impl Default for Large {
    fn default() -> Large {
        let free = std::iter::repeat_with(Reader::default).take(MOST).collect();
        Large(Arc::new(Places { free: Mutex::new(free), changed: Condvar::new() }))
    }
}

impl Large {
    pub(super) fn try_take(&self) -> Option<ListPlace> {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        Some(self.place(free.pop()?))
    }

    /// Waits for a place. The holder of a place never waits for another, so a place becomes free. None: the run
    /// is over.
    pub(super) fn take(&self, cutoff: &Cutoff) -> Option<ListPlace> {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if cutoff.is_reached() {
                return None;
            }
            if let Some(reader) = free.pop() {
                return Some(self.place(reader));
            }
            free = self.0.changed.wait_timeout(free, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn place(&self, mut reader: Reader) -> ListPlace {
        reader.start();
        ListPlace { large: self.clone(), reader: Some(reader) }
    }
}

impl Reader {
    fn start(&mut self) {
        if self.0.is_none() {
            let (sender, jobs) = mpsc::channel::<Job>();
            let work = move || jobs.into_iter().for_each(|job| job());
            // If no thread can be started, the caller's thread does the job.
            self.0 = thread::Builder::new().spawn(work).is_ok().then_some(sender);
        }
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let Some(jobs) = &self.0 else {
            return job();
        };
        let (sender, done) = mpsc::channel();
        let job: Job = Box::new(move || drop(sender.send(job())));
        if let Err(mpsc::SendError(job)) = jobs.send(job) {
            job();
        }
        done.recv().expect("a job does not panic")
    }
}

/// One listing's claim to a place. It takes at most one.
#[derive(Clone, Debug)]
pub(super) struct Claim(Arc<Claimed>);

#[derive(Debug)]
struct Claimed {
    large: Large,
    cutoff: Cutoff,
    place: OnceLock<ListPlace>,
}

impl Claim {
    pub(super) fn new(large: &Large, cutoff: &Cutoff) -> Claim {
        Claim(Arc::new(Claimed { large: large.clone(), cutoff: cutoff.clone(), place: OnceLock::new() }))
    }

    /// Takes a place if one is free. Whether the claim now has one.
    pub(super) fn try_hold(&self) -> bool {
        self.0.place.get().is_some()
            || self.0.large.try_take().is_some_and(|place| self.0.place.set(place).is_ok())
    }

    /// Waits for a place, unless the claim has one. Its holder must not wait for anything else that needs a
    /// place.
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
            None => Err(RegistryError::OutOfTime(
                "the run ended while other large lists were being read".to_owned(),
            )),
        }
    }

    /// Runs a job that needs memory for tags: on the place's thread if the claim has a place.
    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        match self.0.place.get().and_then(|place| place.reader.as_ref()) {
            Some(reader) => reader.run(job),
            None => job(),
        }
    }

    /// A value that keeps the place until the listing is dropped.
    pub(super) fn held(self) -> Held {
        Held::new(self.0)
    }
}

impl Drop for ListPlace {
    fn drop(&mut self) {
        let mut free = self.large.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.extend(self.reader.take());
        self.large.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_few_and_free_again() {
        let large = Large::default();
        let taken: Vec<ListPlace> = std::iter::from_fn(|| large.try_take()).collect();
        assert_eq!(taken.len(), MOST);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| large.take(&Cutoff::default()).is_some());
            drop(taken);
            assert!(waiting.join().unwrap());
        });
    }
}
