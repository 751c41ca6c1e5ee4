//! What a rollback hands over (guarantees: Delivering, 8).

use super::state::{DecidedBy, Deployment, StageRun, Unfinished};
use crate::reference::{Digest, Tag};
use crate::target::{OnFailure, Target};

/// What the stage ran last before what it runs now, and was not rolled back from. `runs`: in the order in which they
/// began. `unfinished`: the newest deployment that was started, where it did not succeed; then it is the last one
/// that succeeded.
pub(crate) fn previous<'r>(runs: &'r [StageRun], unfinished: Option<&Unfinished>) -> Option<&'r StageRun> {
    let current = runs.last()?;
    let bound = match unfinished {
        Some(_) => runs.len(),
        None => runs.iter().position(|run| is_same(run, &current.tag, current.digest.as_ref()))?,
    };
    runs[..bound].iter().rev().find(|run| !was_rolled_back_from(runs, unfinished, run))
}

/// What a deployment that is given up is followed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackTo {
    /// Of the deployment that brings it.
    pub(crate) id: String,
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
}

/// Whether a rollback follows when the deployment is given up. One rollback, and no chain of them.
pub(crate) fn is_followed(target: &Target, deployment: &Deployment) -> bool {
    target.on_failure == OnFailure::Previous && matches!(deployment.by, DecidedBy::Poll | DecidedBy::Hand)
}

/// What a deployment that fails now goes back to, should it be given up: what succeeded last, if that is another image.
/// `runs`: in the order in which they began.
pub(crate) fn back_to(failed: &Deployment, runs: &[StageRun], id: String) -> Option<BackTo> {
    let Deployment { tag, digest, by, .. } = failed;
    let unfinished = Unfinished { tag: tag.clone(), digest: digest.clone(), by: *by };
    let run = previous(runs, Some(&unfinished))?;
    (!is_same(run, tag, digest.as_ref())).then(|| BackTo {
        id,
        tag: run.tag.clone(),
        digest: run.digest.clone(),
    })
}

/// What was marked has no digest: then the tag tells.
fn is_same(run: &StageRun, tag: &Tag, digest: Option<&Digest>) -> bool {
    run.tag == *tag && (run.digest.is_none() || digest.is_none() || run.digest.as_ref() == digest)
}

/// Whether what came after it, the last time that the stage ran it, was a rollback.
fn was_rolled_back_from(runs: &[StageRun], unfinished: Option<&Unfinished>, run: &StageRun) -> bool {
    let is_run = |other: &StageRun| is_same(other, &run.tag, run.digest.as_ref());
    let next = match runs.iter().rposition(is_run) {
        None => return false,
        Some(last) => runs.get(last + 1).map(|next| next.by),
    };
    let attempted = unfinished.filter(|next| !is_same(run, &next.tag, next.digest.as_ref()));
    next.or(attempted.map(|next| next.by)) == Some(DecidedBy::Rollback)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::engine::tests::tag;

    /// What a stage ran in turn, by version: the moments are those of the places.
    #[derive(Default)]
    struct Past {
        runs: Vec<StageRun>,
    }

    fn name(version: u32) -> Tag {
        tag(&format!("v{version}"))
    }

    fn digest(version: u32) -> Digest {
        Digest::new(&format!("sha256:{version:064x}")).unwrap()
    }

    impl Past {
        fn run(&mut self, version: u32, digest: Option<Digest>, by: DecidedBy) {
            let from = Timestamp::from_second(i64::try_from(self.runs.len()).unwrap()).unwrap();
            let (tag, until, left_by_going_back) = (name(version), None, false);
            self.runs.push(StageRun { tag, digest, from, until, by, left_by_going_back });
        }

        fn deploy(mut self, version: u32) -> Past {
            self.run(version, Some(digest(version)), DecidedBy::Poll);
            self
        }

        fn rollback(mut self, version: u32) -> Past {
            self.run(version, Some(digest(version)), DecidedBy::Rollback);
            self
        }

        fn mark(mut self, version: u32) -> Past {
            self.run(version, None, DecidedBy::Mark);
            self
        }

        fn previous(&self) -> Option<&str> {
            previous(&self.runs, None).map(|run| run.tag.as_str())
        }

        fn previous_after_failed(&self, version: u32, by: DecidedBy) -> Option<&str> {
            let unfinished = Unfinished { tag: name(version), digest: Some(digest(version)), by };
            previous(&self.runs, Some(&unfinished)).map(|run| run.tag.as_str())
        }
    }

    #[test]
    fn it_is_the_last_before_the_first_run_of_what_runs_now() {
        let past = Past::default().deploy(2).deploy(3);
        assert_eq!(past.previous(), Some("v2"));
        let past = past.mark(3);
        assert_eq!(past.previous(), Some("v2"), "a mark of what runs changes nothing");
        let past = past.rollback(2);
        assert_eq!(past.previous(), None, "v3 was rolled back from");
        let past = past.deploy(4);
        assert_eq!(past.previous(), Some("v2"), "not v3");
    }

    #[test]
    fn a_second_rollback_goes_further_back() {
        let past = Past::default().deploy(1).deploy(2).deploy(3).rollback(2);
        assert_eq!(past.previous(), Some("v1"));
        assert_eq!(past.rollback(1).previous(), None);
    }

    #[test]
    fn what_was_left_for_an_older_tag_by_hand_was_not_rolled_back_from() {
        let past = Past::default().deploy(1).deploy(3).deploy(2);
        assert_eq!(past.previous(), Some("v3"));
        assert_eq!(past.rollback(3).previous(), Some("v1"));
    }

    #[test]
    fn after_a_failed_deployment_it_is_the_last_that_succeeded() {
        assert_eq!(Past::default().deploy(1).previous_after_failed(2, DecidedBy::Poll), Some("v1"));
        assert_eq!(Past::default().previous_after_failed(2, DecidedBy::Poll), None);
        let past = Past::default().deploy(1).deploy(2).deploy(3);
        assert_eq!(
            past.previous_after_failed(2, DecidedBy::Rollback),
            Some("v2"),
            "the rollback itself failed"
        );
    }

    #[test]
    fn a_tag_that_moved_goes_back_digest_by_digest() {
        let mut past = Past::default().deploy(1);
        for moved in [11, 12] {
            past.run(1, Some(digest(moved)), DecidedBy::Poll);
        }
        let found = |past: &Past| previous(&past.runs, None).and_then(|run| run.digest.clone());
        assert_eq!(found(&past), Some(digest(11)));
        past.run(1, Some(digest(11)), DecidedBy::Rollback);
        assert_eq!(found(&past), Some(digest(1)));
    }
}
