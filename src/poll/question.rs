//! What a decision needs to know beyond the tags: asked of the registry, the stage or the state.

use super::Context;
use crate::plan::{Answer, ErrorCode, Failure, Question};
use crate::registry::Registry;
use crate::store::StoreError;
use crate::target::{Target, TargetId};

/// What the state answers, where nobody is to be asked: what it does not know stays open.
pub(super) fn remember(
    context: &Context<'_>,
    target: &Target,
    question: &Question,
) -> Result<Answer, StoreError> {
    Ok(match question {
        Question::Given => Answer::Given(context.run.store.given(&target.id)?),
        Question::Runs(stage) => {
            let id = TargetId { project: target.id.project.clone(), stage: stage.clone() };
            Answer::Runs(context.run.store.runs(&id)?)
        }
        Question::Digest(_) => Answer::Digest(None),
        Question::PushedAt(_) => Answer::Moment(None),
        Question::Platforms(_) => Answer::Platforms(target.gates.platforms.clone()),
        Question::Presence(..) => Answer::Presence(true),
        Question::Running => {
            Answer::Failed(Failure { code: ErrorCode::Running, message: "not asked".to_owned() })
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
        Question::Given | Question::Runs(_) => {
            let remembered = remember(context, target, question);
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
