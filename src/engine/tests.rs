use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::policy::{Order, Policy, Rule};
use crate::reference::{Digest, ImageRef, Listing, Platforms, Repository};
use crate::target::gate::Gates;
use crate::target::retry::Retry;
use crate::target::{FirstPoll, Name, OnFailure, TargetId, Vars};

pub(super) fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
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
    pub(super) said: String,
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
    fn said<T: Clone>(&self, what: &str, tag: &Tag, known: Option<&T>) -> Fact<T> {
        self.asked.borrow_mut().push(format!("{what} of {tag}"));
        known.cloned().ok_or(Unknown::NotChecked)
    }
}

impl Facts for FactTable {
    fn digest(&self, tag: &Tag) -> Fact<Option<Digest>> {
        self.said("digest", tag, self.digests.get(tag))
    }

    fn pushed_at(&self, tag: &Tag) -> Fact<Option<Timestamp>> {
        self.said("push time", tag, self.push_times.get(tag))
    }

    fn platforms(&self, tag: &Tag) -> Fact<Platforms> {
        self.said("platforms", tag, self.platforms.get(tag))?
    }

    fn is_present(&self, repository: &Repository, tag: &Tag) -> Fact<bool> {
        self.said("presence", tag, self.present.get(&(repository.clone(), tag.clone())))
    }

    fn image(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        Ok(None)
    }

    fn given_at(&self, _tag: &Tag) -> Fact<Option<Timestamp>> {
        Ok(None)
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

    fn image(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        Ok(None)
    }

    fn given_at(&self, tag: &Tag) -> Fact<Option<Timestamp>> {
        Ok(self.given.get(tag).copied())
    }
}

/// A stage whose state lasts from poll to poll.
pub(super) struct TestStage {
    pub(super) target: Target,
    pub(super) state: Option<PollState>,
    pub(super) open: OpenDeployments,
    pub(super) given: HashMap<Tag, Timestamp>,
    pub(super) now: Timestamp,
    /// Whether the registry has manifests for the tags it lists.
    pub(super) has_manifests: bool,
    /// The platforms of every tag.
    pub(super) platforms: Platforms,
}

impl TestStage {
    pub(super) fn new(target: Target) -> TestStage {
        TestStage {
            target,
            state: None,
            open: OpenDeployments::default(),
            given: HashMap::new(),
            now: now(),
            has_manifests: true,
            platforms: Platforms::default(),
        }
    }

    pub(super) fn poll(&mut self, listing: &Listing) -> Decision {
        let decision = self.decide(listing);
        self.state = Some(decision.state.clone());
        self.given.extend(decision.deploy.as_ref().map(|listed| (listed.tag.clone(), self.now)));
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
        let event = TargetEvent::Marked { mark: said, by_whom: "alice".to_owned(), id: "mark".to_owned() };
        let change = transition(&self.target, self.state.as_ref(), &self.open, event, self.now).unwrap();
        self.state = Some(change.state.clone());
        let undelivered = self.open.undelivered().map(|undelivered| &undelivered.id);
        let ended = change.deployment().filter(|ended| Some(&ended.id) == undelivered);
        Marked { pending_becomes: ended.map(|ended| ended.state), state: change.state, said: change.said }
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

#[test]
fn first_poll_takes_a_baseline_and_deploys_nothing() {
    let mut stage = semver();
    let decision = stage.poll(&versions(&["v1.0.0", "v1.2.0", "latest"]));
    assert_eq!((decision.status, decision.deploy), (Status::Baseline, None));
    assert_eq!(stage.high_water(), Some(tag("v1.2.0")));
    assert_eq!(stage.poll(&versions(&["v1.2.0"])).status, Status::UpToDate);
}

#[test]
fn first_poll_deploys_if_configured() {
    let mut stage = semver();
    stage.target.first_poll = FirstPoll::Deploy;
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.2.0"])), Some("v1.2.0".to_owned()));
}

#[test]
fn first_tag_of_an_empty_repository_is_deployed() {
    let mut stage = semver();
    assert_eq!(stage.poll(&versions(&[])).status, Status::NoMatch);
    assert_eq!(stage.poll(&versions(&["latest"])).status, Status::NoMatch);
    assert_eq!(stage.deploys(&versions(&["latest", "v0.1.0"])), Some("v0.1.0".to_owned()));
}

#[test]
fn only_newer_tags_are_deployed_and_only_once() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.9.0"]));
    assert_eq!(stage.deploys(&versions(&["v1.9.0", "v1.10.0", "v1.8.9"])), Some("v1.10.0".to_owned()));
    assert_eq!(stage.deploys(&versions(&["v1.9.0", "v1.10.0", "v1.8.9"])), None);
}

#[test]
fn a_tie_never_deploys() {
    let mut stage = TestStage::new(target("*", Order::Semver));
    stage.poll(&versions(&["1.0.0"]));
    for (listed, reason) in [
        (versions(&["1.0.0"]), "1.0.0 is the newest"),
        (versions(&["1.0.0", "v1.0.0"]), "nothing is newer than 1.0.0; v1.0.0 was seen before"),
    ] {
        let decision = stage.poll(&listed);
        assert_eq!((decision.status, decision.reason.as_str()), (Status::UpToDate, reason));
        assert_eq!(stage.high_water(), Some(tag("1.0.0")));
    }
}

#[test]
fn known_tag_pushed_again_is_not_new() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    assert_eq!(stage.poll(&listing(&[("dev-1", 200)])).status, Status::UpToDate);
    // A tag pushed between the two is new.
    assert_eq!(stage.deploys(&listing(&[("dev-1", 200), ("dev-2", 150)])), Some("dev-2".to_owned()));
}

#[test]
fn older_tag_pushed_again_is_not_deployed() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    stage.deploys(&listing(&[("dev-1", 100), ("dev-2", 200)]));
    stage.deploys(&listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]));
    let decision = stage.poll(&listing(&[("dev-1", 100), ("dev-2", 400), ("dev-3", 300)]));
    assert_eq!((decision.status, decision.deploy), (Status::UpToDate, None));
}

#[test]
fn sequence_orders_pushes_of_the_same_second() {
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    assert_eq!(
        stage.deploys(&listing(&[("dev-1", 100), ("dev-3", 100), ("dev-2", 100)])),
        Some("dev-2".to_owned())
    );
}

#[test]
fn empty_list_is_a_failure_until_mark_none() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    for count in 1..=2 {
        let decision = stage.poll(&versions(&[]));
        assert_eq!(decision.status, Status::Unknown);
        assert_eq!(decision.failure.unwrap().code, ErrorCode::Protocol);
        assert_eq!(decision.state.failing.unwrap().count, count);
        assert_eq!(stage.high_water(), Some(tag("v1.0.0")));
    }
    stage.mark(&Mark::Nothing);
    assert_eq!(stage.poll(&versions(&[])).status, Status::NoMatch);
}

#[test]
fn failed_listing_changes_only_the_outage() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let failure = Failure { code: ErrorCode::Unavailable, message: "refused".to_owned() };
    let before = stage.state.clone().unwrap();
    let decision = decide_failed(stage.state.as_ref(), failure, now());
    assert_eq!(decision.status, Status::Unknown);
    assert_eq!(PollState { failing: None, ..decision.state.clone() }, before);
    stage.state = Some(decision.state);
    assert_eq!(stage.poll(&versions(&["v1.0.0"])).state.failing, None);
}

#[test]
fn deleted_high_water_deploys_nothing_older() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    let decision = stage.poll(&versions(&["v1.0.0"]));
    assert_eq!((decision.status, decision.deploy), (Status::Older, None));
    assert_eq!(stage.high_water(), Some(tag("v2.0.0")));
    // A tag newer than the remaining ones, but older than high-water, is not deployed.
    assert_eq!(stage.poll(&versions(&["v1.5.0"])).status, Status::Older);
    assert_eq!(stage.deploys(&versions(&["v1.5.0", "v2.0.1"])), Some("v2.0.1".to_owned()));
}

#[test]
fn downgrade_needs_allow_downgrade_and_a_deleted_tag() {
    let mut stage = semver();
    stage.target.allow_downgrade = true;
    stage.poll(&versions(&["v1.0.0", "v2.0.0"]));
    assert_eq!(stage.deploys(&versions(&["v1.0.0"])), Some("v1.0.0".to_owned()));
    assert_eq!(stage.high_water(), Some(tag("v1.0.0")));
}

#[test]
fn deleted_tag_that_was_never_deployed_restores_high_water() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let before = stage.state.as_ref().unwrap().high_water.clone();
    assert!(stage.deploys(&versions(&["v1.0.0", "v20.0.0"])).is_some());
    stage.pending("v20.0.0", before);
    let decision = stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
    assert!(!decision.ends.is_empty());
    assert_eq!(decision.deploy.unwrap().tag, tag("v1.1.0"));
}

#[test]
fn without_auto_deploy_a_tag_is_available_until_it_is_marked() {
    let mut stage = semver();
    stage.target.auto_deploy = false;
    stage.poll(&versions(&["v1.0.0"]));
    for _ in 0..3 {
        let decision = stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
        assert_eq!((decision.status, decision.deploy), (Status::Available, None));
    }
    stage.mark(&Mark::Deployed(tag("v1.1.0")));
    assert_eq!(stage.poll(&versions(&["v1.0.0", "v1.1.0"])).status, Status::UpToDate);
}

#[test]
fn edited_rule_that_does_not_match_high_water_starts_a_baseline() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.pending("v1.0.0", None);
    stage.target.policy = target("release-*", Order::Semver).policy;
    stage.target.first_poll = FirstPoll::Deploy;
    let decision = stage.poll(&versions(&["v1.0.0", "release-2.0.0"]));
    assert_eq!((decision.status, decision.deploy), (Status::Baseline, None));
    assert!(!decision.ends.is_empty());
    assert_eq!(stage.high_water(), Some(tag("release-2.0.0")));
}

#[test]
fn edited_rule_that_still_matches_high_water_continues() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.target.policy = target("v?.*", Order::Semver).policy;
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0"])), Some("v1.1.0".to_owned()));
}

#[test]
fn stage_that_does_not_run_high_water_is_behind() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0", "v1.1.0"]));
    stage.mark(&Mark::Deployed(tag("v1.0.0")));
    assert_eq!(stage.poll(&versions(&["v1.0.0", "v1.1.0"])).status, Status::Behind);
    assert_eq!(stage.high_water(), Some(tag("v1.1.0")), "a rollback is not undone");
}

#[test]
fn mark_of_a_newer_tag_raises_high_water() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.pending("v1.0.0", None);
    let marked = stage.mark(&Mark::Deployed(tag("v1.1.0")));
    assert_eq!(marked.pending_becomes, Some(DeploymentState::Superseded));
    stage.open.pending = None;
    assert_eq!(stage.poll(&versions(&["v1.0.0", "v1.1.0"])).status, Status::UpToDate);
    assert_eq!(stage.deploys(&versions(&["v1.0.0", "v1.1.0", "v1.2.0"])), Some("v1.2.0".to_owned()));
}

#[test]
fn mark_completes_a_pending_deployment_of_the_same_tag() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.pending("v1.0.0", None);
    assert_eq!(stage.mark(&Mark::Deployed(tag("v1.0.0"))).pending_becomes, Some(DeploymentState::Succeeded));
}

#[test]
fn reset_deploys_newer_tags_again() {
    let mut stage = semver();
    let listed = versions(&["v1.0.0", "v1.1.0"]);
    stage.poll(&listed);
    stage.mark(&Mark::Reset(tag("v1.0.0")));
    assert_eq!(stage.deploys(&listed), Some("v1.1.0".to_owned()));
}

#[test]
fn reset_deploys_tags_again_that_were_deployed_before() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let mut stage = newest();
    stage.poll(&listing(&[("dev-1", 100)]));
    assert_eq!(stage.deploys(&listed), Some("dev-2".to_owned()));
    stage.mark(&Mark::Reset(tag("dev-1")));
    assert_eq!(stage.deploys(&listed), Some("dev-2".to_owned()));
}

#[test]
fn mark_none_deploys_the_newest_tag() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    stage.mark(&Mark::Nothing);
    assert_eq!(stage.deploys(&versions(&["v1.0.0"])), Some("v1.0.0".to_owned()));
}

#[test]
fn next_poll_adds_the_push_time_of_a_marked_tag() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200), ("dev-3", 300)]);
    let mut stage = newest();
    stage.mark(&Mark::Deployed(tag("dev-2")));
    assert_eq!(stage.deploys(&listed), Some("dev-3".to_owned()));
    let mut stage = newest();
    stage.mark(&Mark::Deployed(tag("dev-3")));
    assert_eq!(stage.poll(&listed).status, Status::UpToDate, "older tags are not newer than a marked one");
}

#[test]
fn marked_tag_that_is_not_listed_starts_a_baseline() {
    let mut stage = newest();
    stage.mark(&Mark::Deployed(tag("dev-9")));
    assert_eq!(stage.poll(&listing(&[("dev-1", 100)])).status, Status::Baseline);
}

#[test]
fn mark_of_an_older_tag_does_not_redeploy_newer_ones() {
    let listed = listing(&[("dev-1", 100), ("dev-2", 200)]);
    let mut stage = newest();
    stage.poll(&listed);
    stage.mark(&Mark::Deployed(tag("dev-1")));
    let decision = stage.poll(&listed);
    assert_eq!((decision.status, decision.deploy), (Status::Behind, None));
}

#[test]
fn repeated_decision_deploys_nothing() {
    let mut stage = semver();
    stage.poll(&versions(&["v1.0.0"]));
    let listed = versions(&["v1.0.0", "v1.1.0"]);
    let first = stage.poll(&listed);
    let again = stage.poll(&listed);
    assert!(first.deploy.is_some() && again.deploy.is_none());
    assert_eq!(first.state, again.state);
}

#[test]
fn target_is_due_at_nine_tenths_of_its_interval() {
    let target = target("v*", Order::Semver);
    let checked = |seconds: i64| Timestamp::from_second(now().as_second() - seconds).unwrap();
    assert!(is_due(&target, None, None, now()));
    for (seconds, due) in [(0, false), (269, false), (270, true), (1000, true), (-60, true)] {
        assert_eq!(is_due(&target, Some(checked(seconds)), None, now()), due, "{seconds}");
    }
}

#[test]
fn moved_immutable_tag_gives_one_warning_and_no_deployment() {
    let digest = |digit: &str| Digest::new(&format!("sha256:{}", digit.repeat(64))).unwrap();
    let listed = |digit: &str| Listing {
        tags: vec![ListedTag { digest: Some(digest(digit)), ..ListedTag::named(tag("v1.0.0")) }],
        ..Listing::default()
    };
    let mut stage = semver();
    stage.poll(&listed("a"));
    let decision = stage.poll(&listed("b"));
    assert!(decision.warning.is_some() && decision.deploy.is_none());
    assert_eq!(decision.status, Status::UpToDate);
    assert_eq!(stage.poll(&listed("b")).warning, None);
}
