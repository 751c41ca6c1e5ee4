//! The facts for a decision besides the tags. Each is requested once, from the registry, the stage or the
//! state.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::Context;
use crate::deploy::GatedImage;
use crate::engine::first_seen::SeenTags;
use crate::engine::{ErrorCode, Fact, Facts, Failure, PollState, ProbeAnswer, StageRun, Unknown};
use crate::reference::{Digest, Labels, Platforms, Repository, Tag};
use crate::registry::{Registry, RegistryError};
use crate::store::{GivenTag, Store, StoreError};
use crate::target::step::Step;
use crate::target::{Name, Target, TargetId};

/// The answers so far for one target.
#[derive(Default)]
pub(super) struct Answers {
    digests: Answered<Tag, Fact<Option<Digest>>>,
    push_times: Answered<Tag, Fact<Option<Timestamp>>>,
    platforms: Answered<Tag, Fact<Platforms>>,
    presence: Answered<(Repository, Tag), Fact<bool>>,
    images: Answered<Tag, Fact<Option<Digest>>>,
    runs: Answered<Name, Fact<Vec<StageRun>>>,
    gates: Answered<(Tag, Digest), Fact<Result<(), String>>>,
    running: OnceCell<Fact<ProbeAnswer>>,
    given: OnceCell<Fact<HashMap<Tag, GivenTag>>>,
    seen_tags: OnceCell<Fact<SeenTags>>,
}

impl Answers {
    /// Stores the digest that is deployed if the gates pass.
    pub(super) fn know_digest(&self, tag: Tag, digest: Digest) {
        self.digests.known().insert(tag, Ok(Some(digest)));
    }

    /// Stores a push time from the feed.
    pub(super) fn know_push_time(&self, tag: Tag, pushed_at: Timestamp) {
        self.push_times.known().insert(tag, Ok(Some(pushed_at)));
    }

    /// Stores the digest of a tag that first appeared together with others.
    pub(super) fn know_image(&self, tag: Tag, digest: Digest) {
        self.images.known().insert(tag, Ok(Some(digest)));
    }
}

impl Answers {
    /// Copies a registry's answers about a repository from another target of the repository.
    pub(super) fn share(&self, others: &Answers) {
        self.digests.share(&others.digests);
        self.push_times.share(&others.push_times);
        self.platforms.share(&others.platforms);
        self.presence.share(&others.presence);
    }
}

/// Answers by question.
pub(super) struct Answered<K, V>(Mutex<HashMap<K, V>>);

/// A registry's name, a repository in it, a digest, and the platform of the image in an index.
pub(super) type ImageKey = (Name, Repository, Digest, Option<String>);

impl<K, V> Default for Answered<K, V> {
    fn default() -> Answered<K, V> {
        Answered(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Answered<K, V> {
    fn share(&self, others: &Answered<K, V>) {
        let others = others.known();
        self.known().extend(others.iter().map(|(key, answer)| (key.clone(), answer.clone())));
    }

    fn get(&self, key: &K, ask: impl FnOnce() -> V) -> V {
        if let Some(known) = self.known().get(key) {
            return known.clone();
        }
        let answer = ask();
        self.known().insert(key.clone(), answer.clone());
        answer
    }

    fn known(&self) -> MutexGuard<'_, HashMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers from the state only, without requests.
pub(super) struct FromState<'a> {
    pub(super) store: &'a Store,
    pub(super) target: &'a Target,
    pub(super) answers: &'a Answers,
}

impl Facts for FromState<'_> {
    fn pushed_at(&self, _tag: &Tag) -> Fact<Option<Timestamp>> {
        // An earlier answer is stored with the candidate.
        Ok(None)
    }

    fn image(&self, tag: &Tag) -> Fact<Option<Digest>> {
        self.answers.images.get(tag, || {
            let seen_tags = || self.store.seen_tags(&self.target.id).map_err(|error| unreadable(&error));
            let seen_tags = self.answers.seen_tags.get_or_init(seen_tags).as_ref().map_err(Unknown::clone)?;
            Ok(seen_tags.get(tag).and_then(|seen| Some(seen.image.as_ref()?.digest.clone())))
        })
    }

    fn was_given(&self, tag: &Tag) -> Fact<bool> {
        let given = || self.store.given(&self.target.id).map_err(|error| unreadable(&error));
        let given = self.answers.given.get_or_init(given).as_ref().map_err(Unknown::clone)?;
        Ok(given.get(tag).is_some_and(|given| given.is_since_reset))
    }

    fn runs(&self, stage: &Name) -> Fact<Vec<StageRun>> {
        self.answers.runs.get(stage, || {
            let id = TargetId { project: self.target.id.project.clone(), stage: stage.clone() };
            let mut runs = self.store.runs(&id).map_err(|error| unreadable(&error))?;
            let state = self.store.state(&id).map_err(|error| unreadable(&error))?;
            // A digest with the same images for the stage's platforms counts as one that it ran.
            if let Some(given) = state.and_then(|state| state.given_platforms)
                && given.now.of.as_ref() != Some(&given.digest)
            {
                let is_given = |run: &&StageRun| run.digest.as_ref() == Some(&given.digest);
                let same: Vec<StageRun> = runs.iter().filter(is_given).cloned().collect();
                runs.extend(same.into_iter().map(|run| StageRun { digest: given.now.of.clone(), ..run }));
            }
            Ok(runs)
        })
    }
}

impl Context<'_> {
    /// The labels of a tag's image if one of these steps uses a label; else none. The content of a digest never
    /// changes, so a run requests it once. `digest`: None if unknown.
    ///
    /// # Errors
    /// The registry does not answer, or has no image with labels for the tag.
    pub(super) fn labels(
        &self,
        target: &Target,
        tag: &Tag,
        digest: Option<&Digest>,
        steps: &[Step],
    ) -> Result<Labels, Failure> {
        if !steps.iter().any(|step| step.labels().next().is_some()) {
            return Ok(Labels::default());
        }
        let (registry, repository) = (self.registry(target), &target.image.repository);
        let failed = |error: RegistryError| self.failure(&error);
        let none = || {
            RegistryError::NotFound(format!(
                "{}: the registry has no manifest for this image, so its labels are unknown",
                target.image.with_tag(tag)
            ))
        };
        let digest = match digest {
            Some(digest) => digest.clone(),
            None => registry.digest(repository, tag).map_err(failed)?.ok_or_else(|| failed(none()))?,
        };
        let platforms = &target.gates.platforms;
        let key = (target.registry.clone(), repository.clone(), digest, platforms.first().cloned());
        self.registries.labels.get(&key, || {
            let found = registry.configuration(repository, &key.2, platforms);
            found.and_then(|found| found.ok_or_else(none)?.labels).map_err(failed)
        })
    }
}

/// The message contains paths of this machine, but no secret.
fn unreadable(error: &StoreError) -> Unknown {
    Unknown::Failed(Failure { code: ErrorCode::State, message: error.to_string() })
}

/// Answers from the registry, the stage and the state.
pub(super) struct FromEveryone<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) target: &'a Target,
    pub(super) answers: &'a Answers,
}

impl FromEveryone<'_> {
    fn state(&self) -> FromState<'_> {
        FromState { store: self.context.run.store, target: self.target, answers: self.answers }
    }

    fn registry<T>(
        &self,
        ask: impl FnOnce(&dyn Registry, &Repository) -> Result<T, RegistryError>,
    ) -> Fact<T> {
        ask(self.context.registry(self.target), &self.target.image.repository)
            .map_err(|error| Unknown::Failed(self.context.failure(&error)))
    }
}

impl Facts for FromEveryone<'_> {
    fn digest(&self, tag: &Tag) -> Fact<Option<Digest>> {
        self.answers.digests.get(tag, || self.registry(|registry, image| registry.digest(image, tag)))
    }

    fn pushed_at(&self, tag: &Tag) -> Fact<Option<Timestamp>> {
        self.answers.push_times.get(tag, || self.registry(|registry, image| registry.pushed_at(image, tag)))
    }

    fn platforms(&self, tag: &Tag) -> Fact<Platforms> {
        self.answers.platforms.get(tag, || self.registry(|registry, image| registry.platforms(image, tag)))
    }

    fn is_present(&self, repository: &Repository, tag: &Tag) -> Fact<bool> {
        let key = (repository.clone(), tag.clone());
        self.answers
            .presence
            .get(&key, || self.registry(|registry, _| Ok(registry.digest(repository, tag)?.is_some())))
    }

    fn image(&self, tag: &Tag) -> Fact<Option<Digest>> {
        self.state().image(tag)
    }

    fn was_given(&self, tag: &Tag) -> Fact<bool> {
        self.state().was_given(tag)
    }

    fn runs(&self, stage: &Name) -> Fact<Vec<StageRun>> {
        self.state().runs(stage)
    }

    fn gate(&self, tag: &Tag, digest: &Digest) -> Fact<Result<(), String>> {
        self.answers.gates.get(&(tag.clone(), digest.clone()), || {
            let (context, target) = (self.context, self.target);
            let state = context.state(target);
            let labels =
                context.labels(target, tag, Some(digest), &target.gates.steps).map_err(Unknown::Failed)?;
            let previous_tag = state.and_then(PollState::deployed_tag);
            let content = GatedImage { tag, digest, labels: &labels, previous_tag };
            crate::deploy::ask_gates(target, &content, &context.run.secrets, &context.cutoff)
                .map_err(Unknown::Failed)
        })
    }

    fn running(&self) -> Fact<ProbeAnswer> {
        let ask = || {
            let (run, target) = (self.context.run, self.target);
            let Some(running) = &target.running else {
                return Err(Unknown::NotChecked);
            };
            crate::deploy::running(target, running, &run.secrets, &self.context.cutoff)
                .map_err(Unknown::Failed)
        };
        self.answers.running.get_or_init(ask).clone()
    }
}
