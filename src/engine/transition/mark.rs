//! `tagship mark`.

use super::{Change, Place};
use crate::engine::state::{Deployment, DeploymentState, Trigger};
use crate::engine::{Status, rule_of};
use crate::policy::Order;
use crate::reference::{ListedTag, Tag};

/// What a person says that the stage runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It runs this tag.
    Deployed(Tag),
    /// It runs this tag; newer tags are deployed even if they were deployed before.
    Reset(Tag),
    /// It runs no tag yet; the newest is deployed.
    Nothing,
}

impl Change {
    pub(super) fn marked(
        &mut self,
        place: Place<'_>,
        mark: &Mark,
        was_given: bool,
        by_whom: String,
        id: String,
    ) {
        let Place { target, open, now } = place;
        let next = &mut self.state;
        let (previous_tag, high_water_before) = (next.deployed_tag(), next.high_water.clone());
        let (tag, reset) = match mark {
            Mark::Nothing => {
                next.rule.get_or_insert_with(|| rule_of(target));
                next.high_water = None;
                next.marked = None;
                next.tags_listed = 0;
                next.listed = None;
                self.message =
                    "no tag is recorded as deployed; the next poll deploys the newest tag".to_owned();
                return;
            }
            Mark::Deployed(tag) => (tag, false),
            Mark::Reset(tag) => (tag, true),
        };
        let marked = target.policy.candidate(&ListedTag::named(tag.clone()));
        // A tag that the rule does not match has no place to start from.
        let reset = reset && marked.is_some();
        if marked.is_some() {
            // With a place in the order, first_poll no longer applies.
            next.rule.get_or_insert_with(|| rule_of(target));
        }
        let high_water = next.high_water.as_ref().and_then(|listed| target.policy.candidate(listed));
        let known = high_water.as_ref().is_some_and(|high_water| high_water.listed.tag == *tag);
        // A mark has no push time.
        let is_timeless = target.policy.order() == Order::Newest;
        let is_newer = match (&marked, &high_water) {
            (None, _) => false,
            (Some(marked), Some(high_water)) => !is_timeless && marked.is_newer_than(high_water),
            (Some(_), None) => true,
        };
        // A tag that was deployed before is never new.
        let is_older = !is_newer && (marked.is_none() || !is_timeless || was_given);
        let goes_back = is_older && high_water_before.as_ref().is_some_and(|given| given.tag != *tag);
        let is_placed_later = marked.is_some() && high_water.is_some() && is_timeless && !known && !reset;
        if is_placed_later {
            next.marked = Some(tag.clone());
        } else if marked.is_some() && reset {
            next.marked = None;
        }
        // A pending deployment can be older than high-water: a rollback, or a manual deployment.
        let is_newer_than_pending = |pending: &Tag| {
            let pending = target.policy.candidate(&ListedTag::named(pending.clone()));
            match (&marked, &pending) {
                (Some(_), Some(_)) if is_timeless => known,
                (Some(marked), Some(pending)) => marked.is_newer_than(pending),
                _ => false,
            }
        };
        let mut ends: Vec<(&Deployment, DeploymentState)> = Vec::new();
        // Also one that runs: if its attempt succeeds, it is what the stage runs.
        for open in open.all() {
            let is_completed = ends.iter().any(|(_, state)| *state == DeploymentState::Succeeded);
            if open.tag == *tag && !is_completed {
                ends.push((open, DeploymentState::Succeeded));
            } else if open.tag == *tag || reset || is_newer || is_newer_than_pending(&open.tag) {
                // If the next listing places the marked tag, it also decides which of the two is older.
                ends.push((open, DeploymentState::Superseded));
            }
        }
        self.message = match (marked.is_some(), reset || is_newer || known) {
            (false, _) => format!(
                "{tag} is recorded as deployed; the rule does not match it, so polls continue as before"
            ),
            (true, true) => format!("{tag} is recorded as deployed; newer tags will be deployed"),
            (true, false) => {
                format!(
                    "{tag} is recorded as deployed; newer tags that were deployed before are not deployed again (--reset changes that)"
                )
            }
        };
        if let Some(marked) = &marked
            && (is_newer || reset)
        {
            let digest = next.high_water.take().filter(|_| known).and_then(|listed| listed.digest);
            next.high_water = Some(ListedTag { digest, ..ListedTag::named(tag.clone()) });
            next.keep_candidates_newer_than(marked, &target.policy);
        }
        if reset {
            next.reset = Some(next.version);
            // Tags that the state does not remember are new again.
            next.listed = None;
        }
        // The mark counts as a run of the stage, for `after`, `--previous` and the history.
        let runs = Deployment {
            previous_tag,
            by_whom: Some(by_whom.clone()),
            goes_back,
            high_water_before,
            ..Deployment::new(id, target, tag.clone(), None, Trigger::Mark, now)
        };
        next.came_to(Status::Deployed, Some("marked".to_owned()), None);
        self.runs(&runs, None, Trigger::Mark, now);
        let is_completed = ends.iter().any(|(_, state)| *state == DeploymentState::Succeeded);
        for (deployment, state) in ends {
            self.end(deployment, state, Some(format!("{tag} was marked by {by_whom}")));
        }
        if !is_completed {
            self.end(&runs, DeploymentState::Succeeded, None);
        }
    }
}
