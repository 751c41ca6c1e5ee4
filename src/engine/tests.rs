//! What the tests of the engine share; each module below has the tests of one behaviour.

mod deleted_tag;
mod digest;
mod due;
mod edited_rule;
mod first_poll;
mod gates;
mod manual_deployment;
mod mark;
mod new_tag;
mod properties;
mod tie;
mod verdict;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use strum::VariantArray;

use super::*;
use crate::policy::{Order, Policy, Rule};
use crate::reference::{Digest, ImageRef, Listing, Platforms, Repository};
use crate::target::gate::Gates;
use crate::target::notifier::NotifyEvent;
use crate::target::probe::Probe;
use crate::target::retry::Retry;
use crate::target::step::{CommandStep, Step};
use crate::target::{FirstPoll, Name, OnFailure, TargetId, Vars};

pub(super) fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// `second`: since 1970.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn target(tags: &str, order: Order) -> Target {
    let rule = Rule { tags: vec![tags.to_owned()], order, ..Rule::default() };
    Target {
        id: TargetId { project: Name::new("shop").unwrap(), stage: Name::new("dev").unwrap() },
        registry: Name::new("git").unwrap(),
        image: ImageRef {
            host: "git.example.com".to_owned(),
            repository: Repository::new("acme/shop").unwrap(),
        },
        policy: Policy::new(&rule).unwrap().into(),
        poll: true,
        auto_deploy: true,
        first_poll: FirstPoll::Baseline,
        on_failure: OnFailure::Keep,
        allow_downgrade: false,
        digest: false,
        gates: Gates::default(),
        interval: Duration::from_secs(300),
        vars: Vars::default(),
        deploy: Vec::new().into(),
        retry: Retry::default(),
        running: None,
    }
}

/// Tags with their push times in seconds; the sequence is the place in the list.
pub(super) fn listing(tags: &[(&str, i64)]) -> Listing {
    let listed = |(index, (name, second)): (usize, &(&str, i64))| ListedTag {
        tag: tag(name),
        pushed_at: Some(Timestamp::from_second(*second).unwrap()),
        sequence: i64::try_from(index).ok(),
        digest: None,
    };
    Listing { tags: tags.iter().enumerate().map(listed).collect(), ..Listing::default() }
}

pub(super) fn versions(tags: &[&str]) -> Listing {
    Listing { tags: tags.iter().map(|name| ListedTag::named(tag(name))).collect(), ..Listing::default() }
}

pub(super) struct Marked {
    pub(super) state: PollState,
    pub(super) pending_becomes: Option<DeploymentState>,
    /// Whether the deployment that it adds goes back.
    pub(super) goes_back: bool,
    pub(super) message: String,
}

pub(super) struct ManuallyDeployed {
    pub(super) state: PollState,
    pub(super) goes_back: bool,
}

/// A manual deployment. `by`: who holds the target with it; None: no hold.
pub(super) fn deploy_manually(
    target: &Target,
    state: Option<&PollState>,
    listed: &ListedTag,
    content: ManualContent,
    by: Option<&str>,
    now: Timestamp,
) -> ManuallyDeployed {
    let manual = Manual { listed, content, by_whom: by.unwrap_or("bob"), holds: by.is_some() };
    let event = TargetEvent::DeployedManually { manual: &manual, id: "2".to_owned() };
    let change = transition(target, state, &OpenDeployments::default(), event, now).unwrap();
    ManuallyDeployed { goes_back: change.deployment().unwrap().goes_back, state: change.state }
}

/// Saves deployments as the store does.
pub(super) fn save(open: &mut OpenDeployments, rows: &[DeploymentRow]) {
    for DeploymentRow { deployment, .. } in rows {
        let is_new = open.all().all(|known| known.id != deployment.id);
        if is_new && deployment.by != Trigger::Mark {
            open.dead = None;
        }
        for known in [&mut open.pending, &mut open.running, &mut open.dead] {
            known.take_if(|known| known.id == deployment.id);
        }
        if matches!(
            deployment.state,
            DeploymentState::Pending | DeploymentState::Running | DeploymentState::Dead
        ) {
            open.insert(deployment.clone());
        }
    }
}

/// Facts from a table. What it does not have is not checked.
#[derive(Default)]
pub(super) struct FactTable {
    pub(super) digests: HashMap<Tag, Option<Digest>>,
    pub(super) push_times: HashMap<Tag, Option<Timestamp>>,
    pub(super) platforms: HashMap<Tag, Fact<Platforms>>,
    pub(super) present: HashMap<(Repository, Tag), bool>,
    pub(super) runs: HashMap<Name, Vec<StageRun>>,
    pub(super) running: Option<ProbeAnswer>,
    /// The questions, in order.
    pub(super) asked: RefCell<Vec<String>>,
}

impl FactTable {
    fn answer<T: Clone>(&self, what: &str, tag: &Tag, known: Option<&T>) -> Fact<T> {
        self.asked.borrow_mut().push(format!("{what} of {tag}"));
        known.cloned().ok_or(Unknown::NotChecked)
    }
}

impl Facts for FactTable {
    fn digest(&self, tag: &Tag) -> Fact<Option<Digest>> {
        self.answer("digest", tag, self.digests.get(tag))
    }

    fn pushed_at(&self, tag: &Tag) -> Fact<Option<Timestamp>> {
        self.answer("push time", tag, self.push_times.get(tag))
    }

    fn platforms(&self, tag: &Tag) -> Fact<Platforms> {
        self.answer("platforms", tag, self.platforms.get(tag))?
    }

    fn is_present(&self, repository: &Repository, tag: &Tag) -> Fact<bool> {
        self.answer("presence", tag, self.present.get(&(repository.clone(), tag.clone())))
    }

    fn image(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        Ok(None)
    }

    fn was_given(&self, _tag: &Tag) -> Fact<bool> {
        Ok(false)
    }

    fn runs(&self, stage: &Name) -> Fact<Vec<StageRun>> {
        self.runs.get(stage).cloned().ok_or(Unknown::NotChecked)
    }

    fn running(&self) -> Fact<ProbeAnswer> {
        self.running.clone().ok_or(Unknown::NotChecked)
    }
}

impl Facts for TestStage {
    fn digest(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        let digest = Digest::new(&format!("sha256:{}", "0".repeat(64))).unwrap();
        let digest = self.platforms.of.clone().unwrap_or(digest);
        Ok(Some(digest).filter(|_| self.has_manifests))
    }

    fn platforms(&self, _tag: &Tag) -> Fact<Platforms> {
        Ok(self.platforms.clone())
    }

    fn image(&self, tag: &Tag) -> Fact<Option<Digest>> {
        Ok(self.images.get(tag).cloned())
    }

    fn was_given(&self, tag: &Tag) -> Fact<bool> {
        Ok(self.given.contains(tag))
    }
}

/// A stage whose state lasts from poll to poll.
pub(super) struct TestStage {
    pub(super) target: Target,
    pub(super) state: Option<PollState>,
    pub(super) open: OpenDeployments,
    pub(super) given: HashSet<Tag>,
    pub(super) now: Timestamp,
    /// Whether the registry has manifests for the tags it lists.
    pub(super) has_manifests: bool,
    /// The platforms of every tag.
    pub(super) platforms: Platforms,
    /// The image of each tag, if the registry has no push times.
    pub(super) images: HashMap<Tag, Digest>,
}

impl TestStage {
    pub(super) fn new(target: Target) -> TestStage {
        TestStage {
            target,
            state: None,
            open: OpenDeployments::default(),
            given: HashSet::new(),
            now: now(),
            has_manifests: true,
            platforms: Platforms::default(),
            images: HashMap::new(),
        }
    }

    pub(super) fn poll(&mut self, listing: &Listing) -> Decision {
        let decision = self.decide(listing);
        let listed = LastListed { generation: 0, at: self.now, from: String::new() };
        self.state = Some(PollState { listed: Some(listed), ..decision.state.clone() });
        self.given.extend(decision.deploy.as_ref().map(|listed| listed.tag.clone()));
        decision
    }

    /// The verdicts that `tags` prints.
    pub(super) fn verdicts(&self, listing: &Listing) -> Vec<TagVerdict> {
        let decision = self.decide(listing);
        let (target, open, now) = (&self.target, &self.open, self.now);
        Decided { target, decision: &decision, open, facts: self, now }.verdicts(listing)
    }

    fn decide(&self, listing: &Listing) -> Decision {
        let asked = asked_of_listing(self.state.as_ref(), &self.open);
        let selection = self.target.policy.select(listing, &asked);
        decide(&self.target, &selection, self.state.as_ref(), &self.open, self, self.now)
    }

    /// Polls, and returns the tag that is deployed.
    pub(super) fn deploys(&mut self, listing: &Listing) -> Option<String> {
        self.poll(listing).deploy.map(|listed| listed.tag.to_string())
    }

    pub(super) fn high_water(&self) -> Option<Tag> {
        Some(self.state.as_ref()?.high_water.as_ref()?.tag.clone())
    }

    /// Marks the stage.
    pub(super) fn mark(&mut self, said: &Mark) -> Marked {
        let (mark, by_whom, id) = (said, "alice".to_owned(), "mark".to_owned());
        let was_given = match mark {
            Mark::Deployed(tag) | Mark::Reset(tag) => self.given.contains(tag),
            Mark::Nothing => false,
        };
        let event = TargetEvent::Marked { mark, was_given, by_whom, id };
        let change = transition(&self.target, self.state.as_ref(), &self.open, event, self.now).unwrap();
        self.state = Some(change.state.clone());
        if let Mark::Reset(_) = said {
            self.given.clear();
        }
        let undelivered = self.open.undelivered().map(|undelivered| &undelivered.id);
        let ended = change.deployment().filter(|ended| Some(&ended.id) == undelivered);
        Marked {
            goes_back: change.deployment().is_some_and(|mark| mark.goes_back),
            pending_becomes: ended.map(|ended| ended.state),
            state: change.state,
            message: change.message,
        }
    }

    pub(super) fn pending(&mut self, name: &str, high_water_before: Option<ListedTag>) {
        self.open.pending = Some(pending(tag(name), high_water_before));
    }
}

/// A deployment of the target `shop/dev` after one attempt.
pub(super) fn pending(tag: Tag, high_water_before: Option<ListedTag>) -> Deployment {
    let target = target("*", Order::Alphabetical);
    let deployment = Deployment::new("1".to_owned(), &target, tag, None, Trigger::Poll, now());
    Deployment { attempts: 1, high_water_before, ..deployment }
}

pub(super) fn semver() -> TestStage {
    TestStage::new(target("v*", Order::Semver))
}

pub(super) fn newest() -> TestStage {
    TestStage::new(target("dev-*", Order::Newest))
}

fn deploy_manually_in(stage: &mut TestStage, listed: &ListedTag, holds: Option<&str>) -> bool {
    let deploy_manually =
        deploy_manually(&stage.target, stage.state.as_ref(), listed, ManualContent::Current, holds, now());
    stage.state = Some(deploy_manually.state);
    stage.given.insert(listed.tag.clone());
    deploy_manually.goes_back
}
