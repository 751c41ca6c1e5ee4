//! What a decision needs to know beyond the tags: asked of the registry, the stage or the state.

use super::Context;
use crate::plan::{Answer, Question, StageRun};
use crate::registry::Registry;
use crate::store::{Store, StoreError};
use crate::target::{Target, TargetId};

/// What the state answers, where nobody is to be asked.
pub(super) fn remember(store: &Store, target: &Target, question: &Question) -> Result<Answer, StoreError> {
    Ok(match question {
        Question::Given => Answer::Given(store.given(&target.id)?),
        Question::Runs(stage) => {
            let id = TargetId { project: target.id.project.clone(), stage: stage.clone() };
            let mut runs = store.runs(&id)?;
            // A digest that means the same for the stage's platforms is one that it ran, too.
            if let Some(given) = store.state(&id)?.and_then(|state| state.given_platforms)
                && given.now.of.as_ref() != Some(&given.digest)
            {
                let is_given = |run: &&StageRun| run.digest.as_ref() == Some(&given.digest);
                let same: Vec<StageRun> = runs.iter().filter(is_given).cloned().collect();
                runs.extend(same.into_iter().map(|run| StageRun { digest: given.now.of.clone(), ..run }));
            }
            Answer::Runs(runs)
        }
        Question::Image(tag) => {
            let sighting = store.sightings(&target.id)?.remove(tag);
            Answer::Image(sighting.and_then(|sighting| Some(sighting.image?.digest)))
        }
        // Asked before, it is remembered with the candidate.
        Question::PushedAt(_) => Answer::Moment(None),
        Question::Digest(_) | Question::Platforms(_) | Question::Presence(..) | Question::Running => {
            Answer::NotChecked
        }
    })
}

/// Asks the registry, or the state, what a decision needs to know.
pub(super) fn ask(
    context: &Context<'_>,
    registry: &dyn Registry,
    target: &Target,
    question: &Question,
) -> Answer {
    let image = &target.image.repository;
    let answer = match question {
        Question::Digest(tag) => registry.digest(image, tag).map(Answer::Digest),
        Question::PushedAt(tag) => registry.pushed_at(image, tag).map(Answer::Moment),
        Question::Platforms(tag) => registry.platforms(image, tag).map(Answer::Platforms),
        Question::Presence(other, tag) => {
            registry.digest(other, tag).map(|digest| Answer::Presence(digest.is_some()))
        }
        Question::Given | Question::Runs(_) | Question::Image(_) => {
            let remembered = remember(context.run.store, target, question);
            return remembered.unwrap_or_else(|error| Answer::Failed(context.state_failure(&error)));
        }
        Question::Running => {
            let run = context.run;
            let running = target.running.as_ref().expect("decide asks only where it can be asked");
            let reported = crate::deploy::running(target, running, &run.secrets, run.stop);
            return reported.map_or_else(Answer::Failed, Answer::Running);
        }
    };
    answer.unwrap_or_else(|error| Answer::Failed(context.failure(&error)))
}
