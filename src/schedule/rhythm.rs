//! How often and at which minute a run starts: steps that cron can express, with an offset from a stable
//! hash.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// A step that divides the hour or the day, and the offset of a run in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rhythm {
    /// In minutes: a divisor of 60, or 60 times a divisor of 24.
    step: u32,
    /// In minutes, less than the step.
    offset: u32,
}

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;

impl Rhythm {
    /// The longest step not longer than the interval. The offset depends only on the seed, and is the same on
    /// every machine and in every version.
    pub(super) fn new(interval: Duration, seed: &str) -> Rhythm {
        let minutes = u32::try_from(interval.as_secs() / 60).unwrap_or(DAY);
        let step = match minutes {
            0 => 1,
            1..HOUR => divisor(HOUR, minutes),
            HOUR..DAY => HOUR * divisor(24, minutes / HOUR),
            _ => DAY,
        };
        let hash = <[u8; 32]>::from(Sha256::digest(seed));
        let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        Rhythm { step, offset: number % step }
    }

    pub(super) fn step(self) -> Duration {
        Duration::from_secs(u64::from(self.step) * 60)
    }

    /// The five fields of cron.
    pub(super) fn cron(self) -> String {
        let (minute, hour) = (self.offset % HOUR, self.offset / HOUR);
        match self.step {
            1 => "* * * * *".to_owned(),
            step if step < HOUR && minute == 0 => format!("*/{step} * * * *"),
            step if step < HOUR => format!("{minute}-59/{step} * * * *"),
            HOUR => format!("{minute} * * * *"),
            DAY => format!("{minute} {hour} * * *"),
            step => format!("{minute} {hour}-23/{} * * *", step / HOUR),
        }
    }

    /// `OnCalendar=` of systemd, which adds its own delay.
    pub(super) fn calendar(self) -> String {
        match self.step {
            1 => "*:*".to_owned(),
            step if step < HOUR => format!("*:0/{step}"),
            HOUR => "*:00".to_owned(),
            DAY => "*-*-* 00:00".to_owned(),
            step => format!("0/{}:00", step / HOUR),
        }
    }

    /// `every 5 minutes`
    pub(super) fn words(self) -> String {
        match self.step {
            1 => "every minute".to_owned(),
            HOUR => "every hour".to_owned(),
            DAY => "every day".to_owned(),
            step if step < HOUR => format!("every {step} minutes"),
            step => format!("every {} hours", step / HOUR),
        }
    }
}

/// The greatest divisor of `whole` up to `most`, which is at least 1.
pub(super) fn divisor(whole: u32, most: u32) -> u32 {
    (1..=most).rev().find(|step| whole.is_multiple_of(*step)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_that_cron_cannot_express_becomes_the_next_shorter_step() {
        for (seconds, step, words) in [
            (1, 1, "every minute"),
            (59, 1, "every minute"),
            (60, 1, "every minute"),
            (300, 5, "every 5 minutes"),
            (7 * 60, 6, "every 6 minutes"),
            (59 * 60, 30, "every 30 minutes"),
            (3600, 60, "every hour"),
            (90 * 60, 60, "every hour"),
            (5 * 3600, 4 * 60, "every 4 hours"),
            (23 * 3600, 12 * 60, "every 12 hours"),
            (24 * 3600, 24 * 60, "every day"),
            (7 * 24 * 3600, 24 * 60, "every day"),
            (u64::MAX, 24 * 60, "every day"),
        ] {
            let rhythm = Rhythm::new(Duration::from_secs(seconds), "host");
            assert_eq!((rhythm.step, rhythm.words().as_str()), (step, words), "{seconds} s");
            assert!(rhythm.offset < rhythm.step, "{rhythm:?}");
        }
    }

    #[test]
    fn fields_contain_step_and_offset() {
        for (step, offset, cron, calendar) in [
            (1, 0, "* * * * *", "*:*"),
            (5, 0, "*/5 * * * *", "*:0/5"),
            (5, 3, "3-59/5 * * * *", "*:0/5"),
            (60, 17, "17 * * * *", "*:00"),
            (240, 3 * 60 + 9, "9 3-23/4 * * *", "0/4:00"),
            (240, 9, "9 0-23/4 * * *", "0/4:00"),
            (1440, 23 * 60 + 59, "59 23 * * *", "*-*-* 00:00"),
        ] {
            let rhythm = Rhythm { step, offset };
            assert_eq!((rhythm.cron().as_str(), rhythm.calendar().as_str()), (cron, calendar));
        }
    }

    #[test]
    fn host_keeps_its_minute_and_hosts_spread() {
        let offset = |host: &str| Rhythm::new(Duration::from_secs(3600), host).offset;
        assert_eq!(offset("web-1"), WEB_1);
        let minutes: std::collections::BTreeSet<u32> =
            (0..200).map(|host| offset(&format!("web-{host}"))).collect();
        assert!(minutes.len() > 50, "200 hosts ask at {} minutes of the hour", minutes.len());
    }

    /// A new version of tagship must not change the minutes.
    const WEB_1: u32 = 38;
}
