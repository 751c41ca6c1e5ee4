//! What a decision needs to know beyond the listing. Deciding is pure, so it names what it misses;
//! whoever can ask does, and decides again.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Failure, Reported, StageRun};
use crate::reference::{Digest, Platforms, Repository, Tag};
use crate::target::Name;

/// Something to be asked of the target's registry, or of the state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// What the tag points at now.
    Digest(Tag),
    /// When the tag was pushed.
    PushedAt(Tag),
    /// Which platforms the tag's image has.
    Platforms(Tag),
    /// Whether another repository has the same tag.
    Presence(Repository, Tag),
    /// What another stage of the project ran.
    Runs(Name),
    /// Every tag that the target was ever given, and when last.
    Given,
    /// What the stage itself says that it runs.
    Running,
    /// What the tag pointed at when it was first seen together with others, where that was asked: it tells one
    /// image under two names from two images.
    Image(Tag),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// None: the registry has no manifest under that tag.
    Digest(Option<Digest>),
    /// None: the registry does not tell.
    Moment(Option<Timestamp>),
    Platforms(Platforms),
    Presence(bool),
    /// In the order in which they began.
    Runs(Vec<StageRun>),
    Given(HashMap<Tag, Timestamp>),
    Running(Reported),
    Image(Option<Digest>),
    /// Nobody was asked.
    NotChecked,
    /// It could not be asked: the check failed.
    Failed(Failure),
}

/// The answers at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(HashMap<Question, Answer>);

/// Why there is no decision, or no explanation, yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// This is to be asked first.
    Asks(Question),
    /// What was asked could not be answered.
    Failed(Failure),
    /// This depends on what nobody was asked.
    NotChecked,
}

macro_rules! answered {
    ($facts:expr, $question:expr, $answer:pat => $value:expr) => {{
        let question = $question;
        match $facts.0.get(&question) {
            Some($answer) => Ok($value),
            Some(Answer::NotChecked) => Err(Undecided::NotChecked),
            Some(Answer::Failed(failure)) => Err(Undecided::Failed(failure.clone())),
            // An answer to another question is none.
            Some(_) | None => Err(Undecided::Asks(question)),
        }
    }};
}

/// Each is an error where it is not known yet, or could not be asked for.
impl Facts {
    pub(crate) fn insert(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    /// Takes over what a registry answered about a target's repository: it holds for the repository's other targets.
    pub(crate) fn share(&mut self, facts: &Facts) {
        let of_registry = |question: &Question| match question {
            Question::Digest(_) | Question::PushedAt(_) | Question::Platforms(_) | Question::Presence(..) => {
                true
            }
            Question::Runs(_) | Question::Given | Question::Running | Question::Image(_) => false,
        };
        let shared = facts.0.iter().filter(|(question, _)| of_registry(question));
        self.0.extend(shared.map(|(question, answer)| (question.clone(), answer.clone())));
    }

    /// The tag's digest, or None where it has no manifest.
    pub(super) fn digest(&self, tag: &Tag) -> Result<Option<&Digest>, Undecided> {
        answered!(self, Question::Digest(tag.clone()), Answer::Digest(digest) => digest.as_ref())
    }

    pub(super) fn pushed_at(&self, tag: &Tag) -> Result<Option<Timestamp>, Undecided> {
        answered!(self, Question::PushedAt(tag.clone()), Answer::Moment(moment) => *moment)
    }

    pub(super) fn platforms(&self, tag: &Tag) -> Result<&Platforms, Undecided> {
        answered!(self, Question::Platforms(tag.clone()), Answer::Platforms(platforms) => platforms)
    }

    pub(super) fn is_present(&self, repository: &Repository, tag: &Tag) -> Result<bool, Undecided> {
        answered!(self, Question::Presence(repository.clone(), tag.clone()), Answer::Presence(present) => *present)
    }

    pub(super) fn given(&self) -> Result<&HashMap<Tag, Timestamp>, Undecided> {
        answered!(self, Question::Given, Answer::Given(tags) => tags)
    }

    pub(super) fn image(&self, tag: &Tag) -> Result<Option<&Digest>, Undecided> {
        answered!(self, Question::Image(tag.clone()), Answer::Image(digest) => digest.as_ref())
    }

    pub(super) fn running(&self) -> Result<&Reported, Undecided> {
        answered!(self, Question::Running, Answer::Running(reported) => reported)
    }

    pub(super) fn runs(&self, stage: &Name) -> Result<&[StageRun], Undecided> {
        answered!(self, Question::Runs(stage.clone()), Answer::Runs(runs) => runs)
    }
}
