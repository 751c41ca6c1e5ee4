//! What a rollback deploys (guarantees: Delivering, 8).

use super::state::{Deployment, StageRun, Trigger, Unfinished};
use crate::reference::{Digest, Tag};
use crate::target::{OnFailure, Target};

/// The run to return to: the last one before the current run that was not rolled back. `runs`: earliest
/// first. `unfinished`: the newest deployment that was started, if it did not succeed; then the last run that
/// succeeded counts.
pub(crate) fn previous<'r>(runs: &'r [StageRun], unfinished: Option<&Unfinished>) -> Option<&'r StageRun> {
    let current = runs.last()?;
    let bound = match unfinished {
        Some(_) => runs.len(),
        None => runs.iter().position(|run| is_same(run, &current.tag, current.digest.as_ref()))?,
    };
    runs[..bound].iter().rev().find(|run| !was_rolled_back_from(runs, unfinished, run))
}

/// The digest to deliver for a run. A mark of what the stage ran names only the tag: the digest is that of the run before.
pub(crate) fn recorded_digest(runs: &[StageRun], run: &StageRun) -> Option<Digest> {
    let before = runs.iter().rev().skip_while(|other| *other != run);
    before.take_while(|other| other.tag == run.tag).find_map(|other| other.digest.clone())
}

/// The rollback that follows a deployment on which tagship gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackTo {
    /// The ID of the rollback's deployment.
    pub(crate) id: String,
    pub(crate) tag: Tag,
    pub(crate) digest: Option<Digest>,
}

/// Whether a rollback follows if tagship gives up on the deployment. A rollback is never followed by another.
pub(crate) fn is_followed(target: &Target, deployment: &Deployment) -> bool {
    target.on_failure == OnFailure::Previous && matches!(deployment.by, Trigger::Poll | Trigger::Manual)
}

/// What to roll back to if tagship gives up on a failed deployment: the last successful one, if it is another
/// image. `runs`: earliest first.
pub(crate) fn back_to(failed: &Deployment, runs: &[StageRun], id: String) -> Option<BackTo> {
    let Deployment { tag, digest, by, .. } = failed;
    let unfinished = Unfinished { tag: tag.clone(), digest: digest.clone(), by: *by };
    let run = previous(runs, Some(&unfinished))?;
    (!is_same(run, tag, digest.as_ref())).then(|| BackTo {
        id,
        tag: run.tag.clone(),
        digest: recorded_digest(runs, run),
    })
}

/// Compares by tag alone if either has no digest, as marks do.
fn is_same(run: &StageRun, tag: &Tag, digest: Option<&Digest>) -> bool {
    run.tag == *tag && (run.digest.is_none() || digest.is_none() || run.digest.as_ref() == digest)
}

/// Whether the last run of this image ended with a rollback.
fn was_rolled_back_from(runs: &[StageRun], unfinished: Option<&Unfinished>, run: &StageRun) -> bool {
    let is_run = |other: &StageRun| is_same(other, &run.tag, run.digest.as_ref());
    let next = match runs.iter().rposition(is_run) {
        None => return false,
        Some(last) => runs.get(last + 1).map(|next| next.by),
    };
    let attempted = unfinished.filter(|next| !is_same(run, &next.tag, next.digest.as_ref()));
    next.or(attempted.map(|next| next.by)) == Some(Trigger::Rollback)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::engine::tests::tag;

    /// The runs of a stage, in order; each begins at the second of its index.
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
        fn run(&mut self, version: u32, digest: Option<Digest>, by: Trigger) {
            let from = Timestamp::from_second(i64::try_from(self.runs.len()).unwrap()).unwrap();
            let (tag, until, left_by_going_back) = (name(version), None, false);
            self.runs.push(StageRun { tag, digest, from, until, by, left_by_going_back });
        }

        fn deploy(mut self, version: u32) -> Past {
            self.run(version, Some(digest(version)), Trigger::Poll);
            self
        }

        fn rollback(mut self, version: u32) -> Past {
            self.run(version, Some(digest(version)), Trigger::Rollback);
            self
        }

        fn mark(mut self, version: u32) -> Past {
            self.run(version, None, Trigger::Mark);
            self
        }

        fn previous(&self) -> Option<&str> {
            previous(&self.runs, None).map(|run| run.tag.as_str())
        }

        fn previous_after_failed(&self, version: u32, by: Trigger) -> Option<&str> {
            let unfinished = Unfinished { tag: name(version), digest: Some(digest(version)), by };
            previous(&self.runs, Some(&unfinished)).map(|run| run.tag.as_str())
        }
    }

    #[test]
    fn previous_is_the_last_run_before_the_current_image_first_ran() {
        let past = Past::default().deploy(2).deploy(3);
        assert_eq!(past.previous(), Some("v2"));
        let past = past.mark(3);
        assert_eq!(past.previous(), Some("v2"), "marking the running tag changes nothing");
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
    fn manual_deployment_of_an_older_tag_is_not_a_rollback() {
        let past = Past::default().deploy(1).deploy(3).deploy(2);
        assert_eq!(past.previous(), Some("v3"));
        assert_eq!(past.rollback(3).previous(), Some("v1"));
    }

    #[test]
    fn previous_after_a_failed_deployment_is_the_last_that_succeeded() {
        assert_eq!(Past::default().deploy(1).previous_after_failed(2, Trigger::Poll), Some("v1"));
        assert_eq!(Past::default().previous_after_failed(2, Trigger::Poll), None);
        let past = Past::default().deploy(1).deploy(2).deploy(3);
        assert_eq!(
            past.previous_after_failed(2, Trigger::Rollback),
            Some("v2"),
            "the rollback itself failed"
        );
    }

    #[test]
    fn moved_tag_is_rolled_back_digest_by_digest() {
        let mut past = Past::default().deploy(1);
        for moved in [11, 12] {
            past.run(1, Some(digest(moved)), Trigger::Poll);
        }
        let found = |past: &Past| previous(&past.runs, None).and_then(|run| run.digest.clone());
        assert_eq!(found(&past), Some(digest(11)));
        past.run(1, Some(digest(11)), Trigger::Rollback);
        assert_eq!(found(&past), Some(digest(1)));
    }
}
