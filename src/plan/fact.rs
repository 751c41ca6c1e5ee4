//! What a decision needs to know beyond the listing. Deciding is pure, so it names what it misses;
//! whoever can ask does, and decides again.

use std::collections::HashMap;

use super::Failure;
use crate::reference::{Digest, Tag};

/// Something to be asked of the target's registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// What the tag points at now.
    Digest(Tag),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// None: the registry has no manifest under that tag.
    Digest(Option<Digest>),
    /// It could not be asked: the check failed.
    Failed(Failure),
}

/// The answers at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(HashMap<Question, Answer>);

/// Why there is no decision yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// This is to be asked first.
    Asks(Question),
    /// What was asked could not be answered.
    Failed(Failure),
}

impl Facts {
    pub(crate) fn insert(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    /// The tag's digest, or None where it has no manifest.
    ///
    /// # Errors
    /// It is not known yet, or could not be asked for.
    pub(super) fn digest(&self, tag: &Tag) -> Result<Option<&Digest>, Undecided> {
        let question = Question::Digest(tag.clone());
        match self.0.get(&question) {
            Some(Answer::Digest(digest)) => Ok(digest.as_ref()),
            Some(Answer::Failed(failure)) => Err(Undecided::Failed(failure.clone())),
            None => Err(Undecided::Asks(question)),
        }
    }
}
