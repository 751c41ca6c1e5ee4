//! The end of a run: a signal, or its deadline.
#![allow(clippy::disallowed_methods, reason = "a deadline is measured by the clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, SignedDurationRound, Unit};

/// How often a wait checks whether the run is over.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// The signal that told tagship to stop, if there was one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Installs handlers for INT and TERM.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub(crate) fn on_signals() -> std::io::Result<Stop> {
        let stop = Stop::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let number = usize::try_from(signal).expect("signal numbers are small and positive");
            signal_hook::flag::register_usize(signal, Arc::clone(&stop.0), number)?;
        }
        Ok(stop)
    }

    /// Waits this long, or until a signal. Returns false after a signal.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        Cutoff::at_signal(self).pause(duration)
    }

    /// Behaves as if this signal had arrived.
    #[cfg(test)]
    pub(crate) fn tell(&self, signal: usize) {
        self.0.store(signal, Ordering::Relaxed);
    }

    /// The signal's number, if one has arrived.
    pub(crate) fn signal(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }
}

/// `SIGTERM`, or `signal 42`.
pub(crate) fn signal_name(number: i32) -> String {
    signal_hook::low_level::signal_name(number)
        .map_or_else(|| format!("signal {number}"), |name| format!("signal {number} ({name})"))
}

/// A duration as in the configuration: `5m`, `1h 30m`. Rounded to tenths of a second, because the rest of
/// `max_runtime` can be a time limit too; below a second, to milliseconds.
pub(crate) fn shown_duration(duration: Duration) -> String {
    let step = if duration < Duration::from_secs(1) { 1 } else { 100 };
    let rounding = SignedDurationRound::new().smallest(Unit::Millisecond).increment(step);
    SignedDuration::try_from(duration)
        .and_then(|duration| duration.round(rounding))
        .map_or_else(|_| format!("{duration:?}"), |duration| format!("{duration:#}"))
}

/// The reason for a wait that ended at its cutoff.
#[derive(Debug, thiserror::Error)]
#[error("the run reached its max_runtime, or was told to stop")]
pub(crate) struct CutShort;

/// When waits and requests must end: at a signal or a deadline. The default is never reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cutoff {
    stop: Stop,
    deadline: Option<Instant>,
    /// If it can be lifted: whether it was.
    lifted: Option<Arc<AtomicBool>>,
}

impl Cutoff {
    pub(crate) fn at_signal(stop: &Stop) -> Cutoff {
        Cutoff { stop: stop.clone(), ..Cutoff::default() }
    }

    /// At a signal, or this long from now.
    pub(crate) fn after(stop: &Stop, duration: Duration) -> Cutoff {
        Cutoff { stop: stop.clone(), deadline: Instant::now().checked_add(duration), lifted: None }
    }

    /// A copy that can be lifted. Once lifted, it and its clones are never reached.
    pub(crate) fn until_lifted(&self) -> Cutoff {
        Cutoff { lifted: Some(Arc::default()), ..self.clone() }
    }

    /// Lifts the cutoff. Does nothing if it was not made by [`Cutoff::until_lifted`].
    pub(crate) fn lift(&self) {
        if let Some(lifted) = &self.lifted {
            lifted.store(true, Ordering::Relaxed);
        }
    }

    fn is_lifted(&self) -> bool {
        self.lifted.as_ref().is_some_and(|lifted| lifted.load(Ordering::Relaxed))
    }

    pub(crate) fn is_reached(&self) -> bool {
        let is_late = || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        !self.is_lifted() && (self.is_signalled() || is_late())
    }

    pub(crate) fn is_signalled(&self) -> bool {
        self.signal().is_some()
    }

    /// The signal's number, if one has arrived.
    pub(crate) fn signal(&self) -> Option<u8> {
        self.stop.signal()
    }

    /// The time until the deadline; None: there is no deadline.
    pub(crate) fn left(&self) -> Option<Duration> {
        let deadline = self.deadline.filter(|_| !self.is_lifted());
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits this long, or until the cutoff. Returns false at the cutoff.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        let begun = Instant::now();
        while !self.is_reached() {
            let left = duration.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(TICK));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_at_the_cutoff() {
        let begun = Instant::now();
        assert!(!Cutoff::after(&Stop::default(), Duration::from_millis(20)).pause(Duration::from_secs(600)));
        let told = Stop::default();
        told.tell(15);
        assert!(!Cutoff::at_signal(&told).pause(Duration::from_secs(600)));
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert!(Cutoff::default().pause(Duration::from_millis(1)));
    }

    #[test]
    fn lifted_cutoff_is_never_reached() {
        let stop = Stop::default();
        stop.tell(15);
        let cutoff = Cutoff::after(&stop, Duration::ZERO);
        let lifted = cutoff.until_lifted();
        assert!(lifted.is_reached());
        cutoff.lift();
        assert!(lifted.is_reached() && cutoff.is_reached());
        lifted.clone().lift();
        assert!(!lifted.is_reached() && lifted.left().is_none());
        assert!(cutoff.is_reached() && cutoff.left() == Some(Duration::ZERO));
        assert_eq!(lifted.signal(), Some(15));
    }
}
