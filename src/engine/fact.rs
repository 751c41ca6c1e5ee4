//! What a decision may need to know beyond the listing. Deciding is pure: whoever wants a decision answers.

use jiff::Timestamp;

use super::{Failure, Reported, StageRun};
use crate::reference::{Digest, Platforms, Repository, Tag};
use crate::target::Name;

/// An answer, or why there is none.
pub(crate) type Fact<T> = Result<T, Unknown>;

/// Why a fact is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Whoever was asked did not answer.
    Failed(Failure),
    /// Nobody is asked.
    NotChecked,
}

/// Answers for one target. What a source does not know, nobody is asked. Asked twice, a source answers the same.
pub(crate) trait Facts {
    /// What the tag points at now. None: the registry has no manifest under that tag.
    fn digest(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        Err(Unknown::NotChecked)
    }

    /// When the tag was pushed. None: the registry does not tell.
    fn pushed_at(&self, _tag: &Tag) -> Fact<Option<Timestamp>> {
        Err(Unknown::NotChecked)
    }

    /// Which platforms the tag's image has.
    fn platforms(&self, _tag: &Tag) -> Fact<Platforms> {
        Err(Unknown::NotChecked)
    }

    /// Whether another repository has the same tag.
    fn is_present(&self, _repository: &Repository, _tag: &Tag) -> Fact<bool> {
        Err(Unknown::NotChecked)
    }

    /// What the tag pointed at when it was first seen together with others, where that was asked: it tells one image
    /// under two names from two images.
    fn image(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        Err(Unknown::NotChecked)
    }

    /// When the target was last given the tag, if ever.
    fn given_at(&self, _tag: &Tag) -> Fact<Option<Timestamp>> {
        Err(Unknown::NotChecked)
    }

    /// What another stage of the project ran, in the order in which that began.
    fn runs(&self, _stage: &Name) -> Fact<Vec<StageRun>> {
        Err(Unknown::NotChecked)
    }

    /// Whether the stage's own gates let this content of the tag pass; else why not.
    fn gate(&self, _tag: &Tag, _digest: &Digest) -> Fact<Result<(), String>> {
        Err(Unknown::NotChecked)
    }

    /// What the stage itself says that it runs.
    fn running(&self) -> Fact<Reported> {
        Err(Unknown::NotChecked)
    }
}
