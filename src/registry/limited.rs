//! A registry that said when to come back is left alone until then, by this run and by later ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::{About, Registry, RegistryError, SignIn};
use crate::feed::{Changes, Cursor, Owner};
use crate::reference::{Digest, ListedTag, Listing, Platforms, Repository, Tag};

/// When a registry may be asked again, and when it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) not_before: Timestamp,
    pub(crate) said_at: Timestamp,
}

impl Limit {
    /// Nobody is believed for longer: a clock was wrong, or the answer.
    const LONGEST: SignedDuration = SignedDuration::from_hours(24);

    /// Whether it holds at this moment. One that was said in the future was said by a wrong clock.
    fn holds(&self, now: Timestamp) -> bool {
        now < self.not_before && now >= self.said_at && self.not_before.duration_since(now) <= Limit::LONGEST
    }
}

/// What is known of a registry's limit, shared with who keeps it.
pub(crate) type SharedLimit = Arc<Mutex<Option<Limit>>>;

/// A registry behind its limit.
pub(super) struct Limited {
    inner: Box<dyn Registry>,
    limit: SharedLimit,
}

impl Limited {
    pub(super) fn new(inner: Box<dyn Registry>, limit: SharedLimit) -> Limited {
        Limited { inner, limit }
    }

    fn limit(&self) -> MutexGuard<'_, Option<Limit>> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, unless the registry does not want to be asked, and remembers when it says so.
    fn ask<T>(
        &self,
        ask: impl FnOnce(&dyn Registry) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.check()?;
        ask(self.inner.as_ref()).inspect_err(|error| self.note(error))
    }

    #[allow(clippy::disallowed_methods, reason = "a limit is a moment")]
    fn check(&self) -> Result<(), RegistryError> {
        let now = Timestamp::now();
        match self.limit().filter(|limit| limit.holds(now)) {
            None => Ok(()),
            Some(Limit { not_before, said_at }) => Err(RegistryError::RateLimited {
                retry_at: not_before,
                message: format!(
                    "not asked: at {said_at:.0} the registry said not to come back before {not_before:.0}"
                ),
            }),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a limit is a moment")]
    fn note(&self, error: &RegistryError) {
        if let RegistryError::RateLimited { retry_at, .. } = error {
            let said_at = Timestamp::now();
            if *retry_at > said_at {
                *self.limit() = Some(Limit { not_before: *retry_at, said_at });
            }
        }
    }
}

impl Registry for Limited {
    fn list_tags(&self, repository: &Repository) -> Result<Listing, RegistryError> {
        self.ask(|registry| registry.list_tags(repository))
    }

    fn digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        self.ask(|registry| registry.digest(repository, tag))
    }

    fn has_push_times(&self) -> bool {
        self.inner.has_push_times()
    }

    fn has_sequence(&self) -> bool {
        self.inner.has_sequence()
    }

    fn pushed_at(&self, repository: &Repository, tag: &Tag) -> Result<Option<Timestamp>, RegistryError> {
        self.ask(|registry| registry.pushed_at(repository, tag))
    }

    fn created(
        &self,
        repository: &Repository,
        tag: &Tag,
        platforms: &[String],
    ) -> Result<Option<Timestamp>, RegistryError> {
        self.ask(|registry| registry.created(repository, tag, platforms))
    }

    fn platforms(&self, repository: &Repository, tag: &Tag) -> Result<Platforms, RegistryError> {
        self.ask(|registry| registry.platforms(repository, tag))
    }

    fn changes(
        &self,
        owner: &str,
        since: Option<&Cursor>,
        configured: usize,
    ) -> Result<Option<(Cursor, Changes)>, RegistryError> {
        self.ask(|registry| registry.changes(owner, since, configured))
    }

    fn owner(&self, name: &str) -> Result<Option<Owner>, RegistryError> {
        self.ask(|registry| registry.owner(name))
    }

    fn images(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        self.ask(|registry| registry.images(owner))
    }

    fn sign_in(&self, repositories: &[&Repository]) -> Result<SignIn, RegistryError> {
        self.ask(|registry| registry.sign_in(repositories))
    }

    fn about(&self) -> Result<About, RegistryError> {
        self.ask(|registry| registry.about())
    }

    fn prepare(&self) {
        if self.check().is_ok() {
            self.inner.prepare();
        }
    }

    fn newest_first<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a> {
        if let Err(error) = self.check() {
            return Box::new(std::iter::once(Err(error)));
        }
        Box::new(Noted { limited: self, tags: self.inner.newest_first(repository) })
    }
}

/// Notes the error that ends the tags, if it is a limit.
struct Noted<'a> {
    limited: &'a Limited,
    tags: Box<dyn Iterator<Item = Result<ListedTag, RegistryError>> + 'a>,
}

impl Iterator for Noted<'_> {
    type Item = Result<ListedTag, RegistryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.tags.next()?;
        Some(next.inspect_err(|error| self.limited.note(error)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.tags.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_until_its_moment_and_no_wrong_clock_makes_it_longer() {
        let at = |minutes: i64| Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap();
        let limit = Limit { not_before: at(10), said_at: at(0) };
        assert!(limit.holds(at(0)) && limit.holds(at(9)));
        assert!(!limit.holds(at(10)), "it is over");
        assert!(!limit.holds(at(-1)), "it was said in the future");
        let absurd = Limit { not_before: at(48 * 60), said_at: at(0) };
        assert!(!absurd.holds(at(1)));
    }
}
