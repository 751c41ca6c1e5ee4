//! The pushes and their expected results: written without a look at how tagship decides.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::Audit;
use crate::registry::{Build, Gitea};

/// A target with its image and what its tags begin with. Whatever it takes is ordered by `Place`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    pub(super) target: &'static str,
    pub(super) image: &'static str,
    prefix: &'static str,
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// By the push.
    Newest,
    /// By up to three numbers in the name.
    Numbers,
}

/// The stages of [`super::world::STAGES`], in its order.
pub(super) const STAGES: [Stage; 6] = [
    Stage { target: "shop/dev", image: "acme/shop", prefix: "dev-", order: Order::Newest },
    Stage { target: "shop/prod", image: "acme/shop", prefix: "v", order: Order::Numbers },
    Stage { target: "api/live", image: "acme/api", prefix: "r-", order: Order::Newest },
    Stage { target: "api/edge", image: "acme/api", prefix: "edge", order: Order::Newest },
    Stage { target: "web/qa", image: "other/web", prefix: "b", order: Order::Numbers },
    Stage { target: "web/few", image: "other/web", prefix: "b", order: Order::Numbers },
];

/// Where a tag stands among those of its stage.
pub(super) type Place = [u64; 3];

#[derive(Clone, Debug)]
struct Tag {
    /// Of the first push under this name, and of the last.
    first: Place,
    last: Place,
    is_there: bool,
}

/// The registry as it should be seen, and what each stage was given.
pub(super) struct Model {
    build: Build,
    pushes: u64,
    /// By image and name, those that were deleted included.
    tags: BTreeMap<(&'static str, String), Tag>,
    /// By target: the tag that its receiver finished, a person marked, or the first poll found.
    pub(super) given: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Model {
    pub(super) fn new(build: Build) -> Model {
        Model { build, pushes: 0, tags: BTreeMap::new(), given: BTreeMap::new() }
    }

    pub(super) fn push(&mut self, gitea: &Gitea, image: &'static str, name: &str) {
        let created = jiff::Timestamp::now().as_second();
        gitea.push(image, name, &jiff::Timestamp::from_second(created).unwrap().to_string());
        self.pushes += 1;
        let place = numbers(name).unwrap_or([u64::try_from(created).unwrap(), self.pushes, 0]);
        // New Gitea leaves a tag that is pushed again where it is.
        let stays = self.build == Build::GiteaNew || numbers(name).is_some();
        let fresh = Tag { first: place, last: place, is_there: true };
        let tag = self.tags.entry((image, name.to_owned())).or_insert(fresh);
        if !stays || !tag.is_there {
            tag.last = place;
        }
        tag.is_there = true;
    }

    pub(super) fn delete(&mut self, gitea: &Gitea, image: &'static str, name: &str) {
        gitea.delete(image, name);
        self.tags.get_mut(&(image, name.to_owned())).unwrap().is_there = false;
    }

    /// What its rule does not take has no place in its order.
    pub(super) fn give(&mut self, stage: &Stage, name: String) {
        if stage.takes(&name) {
            self.given.get_mut(stage.target).unwrap().insert(name);
        }
    }

    /// The names that an image has now.
    pub(super) fn names(&self, image: &str) -> Vec<String> {
        let there = self.tags.iter().filter(|((of, _), tag)| *of == image && tag.is_there);
        there.map(|((_, name), _)| name.clone()).collect()
    }

    pub(super) fn is_there(&self, stage: &Stage, name: &str) -> bool {
        self.tags.get(&(stage.image, name.to_owned())).is_some_and(|tag| tag.is_there)
    }

    fn taken(&self, stage: &Stage) -> impl Iterator<Item = (&String, &Tag)> {
        let tags = self
            .tags
            .iter()
            .filter(|((image, name), tag)| *image == stage.image && stage.takes(name) && tag.is_there);
        tags.map(|((_, name), tag)| (name, tag))
    }

    /// The tag that a stage would be given if it had been given nothing.
    pub(super) fn newest(&self, stage: &Stage) -> Option<String> {
        self.taken(stage).max_by_key(|(_, tag)| tag.last).map(|(name, _)| name.clone())
    }

    /// A tag that the stage should have received by now, and did not. Does not apply after a manual deployment of
    /// another tag, nor to a tag that gave way to a newer one and was only then pushed again.
    pub(super) fn lost(&self, stage: &Stage, audit: &Audit) -> Option<String> {
        let replaced =
            audit.replaced.iter().filter(|(target, _)| target == stage.target).map(|(_, name)| name);
        let known: BTreeSet<&String> = self.given[stage.target].iter().chain(replaced).collect();
        let place = |name: &String| stage.takes(name).then(|| self.tags[&(stage.image, name.clone())].last);
        let most = known.iter().filter_map(|name| place(name)).max();
        let gave_way = |name: &String, tag: &Tag| {
            tag.first != tag.last && audit.outrun.contains(&(stage.target.to_owned(), name.clone()))
        };
        let mut taken = self.taken(stage);
        let lost =
            taken.find(|(name, tag)| !known.contains(name) && Some(tag.last) > most && !gave_way(name, tag));
        lost.map(|(name, _)| name.clone())
    }

    /// Where a tag stood when it was pushed first: a later push may have moved it on.
    pub(super) fn first(&self, stage: &Stage, name: &str) -> Place {
        self.tags[&(stage.image, name.to_owned())].first
    }

    /// Whether a stage that has something of this place goes back when it is given the tag.
    pub(super) fn goes_back(&self, stage: &Stage, from: Place, to: &str) -> bool {
        self.tags[&(stage.image, to.to_owned())].last < from
    }
}

impl Stage {
    pub(super) fn of(target: &str) -> &'static Stage {
        STAGES.iter().find(|stage| stage.target == target).unwrap()
    }

    pub(super) fn takes(&self, name: &str) -> bool {
        name.starts_with(self.prefix) && (self.order == Order::Newest || numbers(name).is_some())
    }

    /// A tag that moves: what it points at is what counts.
    pub(super) fn moves(&self) -> bool {
        self.prefix == "edge"
    }
}

/// `v1.2.3` and `b7`; None for what goes by its push.
fn numbers(name: &str) -> Option<Place> {
    let text = name.strip_prefix('v').or_else(|| name.strip_prefix('b'))?;
    let mut place = [0; 3];
    for (at, number) in text.split('.').enumerate() {
        *place.get_mut(at)? = number.parse().ok()?;
    }
    Some(place)
}
