//! What a rollback hands over (guarantees: Delivering, 8).

use super::state::{Begin, StageRun, Unfinished};
use crate::reference::{Digest, Tag};

/// What the stage ran last before what it runs now, and was not rolled back from. `runs`: in the order in which they
/// began. `unfinished`: the newest deployment that was started, where it did not succeed; then it is the last one
/// that succeeded.
pub(crate) fn previous<'r>(runs: &'r [StageRun], unfinished: Option<&Unfinished>) -> Option<&'r StageRun> {
    let current = runs.last()?;
    let bound = match unfinished {
        Some(_) => runs.len(),
        None => runs.iter().position(|run| is_same(run, &current.tag, current.digest.as_ref()))?,
    };
    runs[..bound].iter().rev().find(|run| !was_left_by_going_back(runs, unfinished, run))
}

/// What was marked has no digest: then the tag tells.
fn is_same(run: &StageRun, tag: &Tag, digest: Option<&Digest>) -> bool {
    run.tag == *tag && (run.digest.is_none() || digest.is_none() || run.digest.as_ref() == digest)
}

/// Whether the stage went back from it the last time that it ran.
fn was_left_by_going_back(runs: &[StageRun], unfinished: Option<&Unfinished>, run: &StageRun) -> bool {
    let is_run = |other: &StageRun| is_same(other, &run.tag, run.digest.as_ref());
    let Some(last) = runs.iter().rposition(is_run) else {
        return false;
    };
    let ran_before = |tag: &Tag, digest: Option<&Digest>| {
        runs.iter().take_while(|other| !is_run(other)).any(|other| is_same(other, tag, digest))
    };
    let (tag, digest, begin) = match (runs.get(last + 1), unfinished) {
        (Some(next), _) => (&next.tag, next.digest.as_ref(), &next.begin),
        (None, Some(next)) if !is_same(run, &next.tag, next.digest.as_ref()) => {
            (&next.tag, next.digest.as_ref(), &next.begin)
        }
        (None, _) => return false,
    };
    let Begin { goes_back, high_water_before } = begin;
    *goes_back && (high_water_before.as_ref() == Some(&run.tag) || ran_before(tag, digest))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::plan::tests::tag;

    /// What a stage was given in turn, by version: the moments are those of the places.
    #[derive(Default)]
    struct Past {
        runs: Vec<StageRun>,
        high_water: Option<u32>,
    }

    fn name(version: u32) -> Tag {
        tag(&format!("v{version}"))
    }

    fn digest(version: u32) -> Digest {
        Digest::new(&format!("sha256:{version:064x}")).unwrap()
    }

    impl Past {
        fn begin(&mut self, version: u32) -> Begin {
            let before = self.high_water;
            self.high_water = before.max(Some(version));
            Begin { goes_back: before > Some(version), high_water_before: before.map(name) }
        }

        fn run(&mut self, version: u32, digest: Option<Digest>) {
            let begin = self.begin(version);
            let from = Timestamp::from_second(i64::try_from(self.runs.len()).unwrap()).unwrap();
            let (tag, until, left_by_going_back) = (name(version), None, false);
            self.runs.push(StageRun { tag, digest, from, until, begin, left_by_going_back });
        }

        fn deploy(mut self, version: u32) -> Past {
            self.run(version, Some(digest(version)));
            self
        }

        fn mark(mut self, version: u32) -> Past {
            self.run(version, None);
            self
        }

        fn previous(&self) -> Option<&str> {
            previous(&self.runs, None).map(|run| run.tag.as_str())
        }

        fn previous_after_failed(&mut self, version: u32) -> Option<&str> {
            let begin = self.begin(version);
            let unfinished = Unfinished { tag: name(version), digest: Some(digest(version)), begin };
            previous(&self.runs, Some(&unfinished)).map(|run| run.tag.as_str())
        }
    }

    #[test]
    fn it_is_the_last_before_the_first_run_of_what_runs_now() {
        let past = Past::default().deploy(2).deploy(3);
        assert_eq!(past.previous(), Some("v2"));
        let past = past.mark(3);
        assert_eq!(past.previous(), Some("v2"), "a mark of what runs changes nothing");
        let past = past.deploy(2);
        assert_eq!(past.previous(), None, "v3 was rolled back from");
        let past = past.deploy(4);
        assert_eq!(past.previous(), Some("v2"), "not v3");
    }

    #[test]
    fn a_second_rollback_goes_further_back() {
        let past = Past::default().deploy(1).deploy(2).deploy(3).deploy(2);
        assert_eq!(past.previous(), Some("v1"));
        assert_eq!(past.deploy(1).previous(), None);
    }

    #[test]
    fn what_was_never_run_before_and_is_older_was_going_back_too() {
        let past = Past::default().deploy(1).deploy(3).deploy(2);
        assert_eq!(past.previous(), Some("v1"), "v3 was left for something older");
        let past = past.deploy(1).deploy(2);
        assert_eq!(past.previous(), Some("v1"));
    }

    #[test]
    fn after_a_failed_deployment_it_is_the_last_that_succeeded() {
        assert_eq!(Past::default().deploy(1).previous_after_failed(2), Some("v1"));
        assert_eq!(Past::default().previous_after_failed(2), None);
        let mut past = Past::default().deploy(1).deploy(2).deploy(3);
        assert_eq!(past.previous_after_failed(2), Some("v2"), "the rollback from v3 itself failed");
    }

    #[test]
    fn a_tag_that_moved_goes_back_digest_by_digest() {
        let mut past = Past::default().deploy(1);
        for moved in [11, 12] {
            past.run(1, Some(digest(moved)));
        }
        let found = |past: &Past| previous(&past.runs, None).and_then(|run| run.digest.clone());
        assert_eq!(found(&past), Some(digest(11)));
        past.run(1, Some(digest(11)));
        assert_eq!(found(&past), Some(digest(1)));
    }
}
