//! Facts that a decision may need beyond the listing. Deciding is pure: its caller provides them.

use jiff::Timestamp;

use super::{Failure, ProbeAnswer, StageRun};
use crate::reference::{Digest, Platforms, Repository, Tag};
use crate::target::Name;

/// A fact, or why it is unknown.
pub(crate) type Fact<T> = Result<T, Unknown>;

/// Why a fact is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The check failed.
    Failed(Failure),
    /// It was not checked, and is not checked now.
    NotChecked,
}

/// The facts of one target. By default a fact is not checked. A second question receives the same answer as the
/// first.
pub(crate) trait Facts {
    /// What the tag points at now. None: the registry has no manifest under that tag.
    fn digest(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        Err(Unknown::NotChecked)
    }

    /// When the tag was pushed. None: the registry has no push times.
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

    /// The tag's digest when it was first seen together with others, if it was asked then. It tells two names
    /// of one image from two images.
    fn image(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        Err(Unknown::NotChecked)
    }

    /// Whether the tag was deployed to the target since the last `mark --reset`.
    fn was_given(&self, _tag: &Tag) -> Fact<bool> {
        Err(Unknown::NotChecked)
    }

    /// What another stage of the project ran, earliest first.
    fn runs(&self, _stage: &Name) -> Fact<Vec<StageRun>> {
        Err(Unknown::NotChecked)
    }

    /// Whether the stage's `gate` steps accept this digest of the tag; if not, why.
    fn gate(&self, _tag: &Tag, _digest: &Digest) -> Fact<Result<(), String>> {
        Err(Unknown::NotChecked)
    }

    /// What the stage's probe reports.
    fn running(&self) -> Fact<ProbeAnswer> {
        Err(Unknown::NotChecked)
    }
}
