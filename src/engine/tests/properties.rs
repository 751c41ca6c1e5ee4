//! Properties that hold for any sequence of pushes, deletions, polls, marks, manual deployments, holds,
//! failures and edited rules.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::first_seen::{Built, SeenTags};
use super::*;
use crate::policy::{Candidate, Order, Policy};
use crate::reference::{Digest, Listing};

#[derive(Clone, Debug)]
enum Event {
    /// A tag is pushed, for the first time or again, perhaps with an earlier time than other tags.
    Push {
        number: u8,
        at: i64,
    },
    Delete {
        number: u8,
    },
    Poll,
    PollFails,
    ListIsEmpty,
    Mark {
        number: u8,
        reset: bool,
    },
    MarkNone,
    DeployManually {
        number: u8,
        hold: bool,
    },
    Hold {
        for_seconds: Option<i64>,
    },
    Release,
    Delivery {
        succeeds: bool,
    },
    EditRule,
    Time {
        seconds: i64,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let number = 0..12_u8;
    let event = prop_oneof![
        6 => (number.clone(), 0..40_i64).prop_map(|(number, at)| Event::Push { number, at }),
        2 => number.clone().prop_map(|number| Event::Delete { number }),
        8 => Just(Event::Poll),
        1 => Just(Event::PollFails),
        1 => Just(Event::ListIsEmpty),
        1 => (number.clone(), any::<bool>()).prop_map(|(number, reset)| Event::Mark { number, reset }),
        1 => Just(Event::MarkNone),
        1 => (number, any::<bool>()).prop_map(|(number, hold)| Event::DeployManually { number, hold }),
        1 => prop::option::of(1..100_i64).prop_map(|for_seconds| Event::Hold { for_seconds }),
        1 => Just(Event::Release),
        4 => any::<bool>().prop_map(|succeeds| Event::Delivery { succeeds }),
        1 => Just(Event::EditRule),
        2 => (0..200_i64).prop_map(|seconds| Event::Time { seconds }),
    ];
    prop::collection::vec(event, 1..60)
}

/// A stage and its registry, with the state as the store keeps it.
struct World {
    target: Target,
    rules: [Arc<Policy>; 2],
    registry: Vec<ListedTag>,
    sequence: i64,
    state: Option<PollState>,
    open: OpenDeployments,
    given: HashSet<Tag>,
    now: Timestamp,
    tells: bool,
}

fn name(number: u8) -> Tag {
    // One tag that the first rule does not match.
    if number == 11 { tag("other") } else { tag(&format!("v1.{}.0", u32::from(number) * 3 % 11)) }
}

fn digest(sequence: i64) -> Digest {
    Digest::new(&format!("sha256:{sequence:064x}")).unwrap()
}

impl Facts for World {
    fn digest(&self, tag: &Tag) -> Fact<Option<Digest>> {
        Ok(self.in_registry(tag).map(|listed| digest(listed.sequence.unwrap())))
    }

    fn pushed_at(&self, tag: &Tag) -> Fact<Option<Timestamp>> {
        Ok(self.in_registry(tag).and_then(|listed| listed.pushed_at))
    }

    fn was_given(&self, tag: &Tag) -> Fact<bool> {
        Ok(self.given.contains(tag))
    }

    fn image(&self, _tag: &Tag) -> Fact<Option<Digest>> {
        Ok(None)
    }
}

impl World {
    fn new(order: Order, with_digest: bool, allow_downgrade: bool, gated: bool) -> World {
        let mut target = target("v*", order);
        target.digest = with_digest;
        target.allow_downgrade = allow_downgrade;
        if gated {
            target.gates.min_age = Some(Duration::from_secs(30));
        }
        let other = tests::target("v1.?.0", order).policy;
        let first = tests::target("v*", order).policy;
        World {
            target,
            rules: [other, first],
            registry: Vec::new(),
            sequence: 0,
            state: None,
            open: OpenDeployments::default(),
            given: HashSet::new(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            tells: false,
        }
    }

    fn decide(&self, listing: &Listing) -> Decision {
        let state = self.state.as_ref();
        let selection = self.target.policy.select(listing, &asked_of_listing(state, &self.open));
        decide(&self.target, &selection, state, &self.open, self, self.now)
    }

    fn in_registry(&self, tag: &Tag) -> Option<&ListedTag> {
        self.registry.iter().find(|listed| listed.tag == *tag)
    }

    /// Records a decision as the store does.
    fn record(&mut self, decision: &Decision) {
        self.commit(TargetEvent::Decided { decision, id: self.now.to_string() });
    }

    fn commit(&mut self, event: TargetEvent<'_>) {
        let before = self.open.clone();
        let Some(change) = transition(&self.target, self.state.as_ref(), &self.open, event, self.now) else {
            return;
        };
        save(&mut self.open, &change.rows);
        for DeploymentRow { deployment, .. } in &change.rows {
            if before.all().all(|known| known.id != deployment.id) {
                self.give(&deployment.tag, deployment.high_water_before.as_ref());
            }
        }
        self.state = Some(change.state);
    }

    /// Remembers a deployed tag as the table of deployments does.
    fn give(&mut self, tag: &Tag, high_water_before: Option<&ListedTag>) {
        self.given.insert(tag.clone());
        self.given.extend(high_water_before.map(|listed| listed.tag.clone()));
    }

    fn listing(&self) -> Listing {
        Listing { tags: self.registry.clone(), ..Listing::default() }
    }

    /// High-water as a candidate. A marked tag takes its push time from the listing, as in the next poll.
    fn high_water(&self) -> Option<Candidate> {
        let mut listed = self.state.as_ref()?.high_water.clone()?;
        if listed.pushed_at.is_none() {
            listed = self.registry.iter().find(|found| found.tag == listed.tag).cloned().unwrap_or(listed);
        }
        self.target.policy.candidate(&listed)
    }

    fn poll(&mut self) -> Result<(), TestCaseError> {
        let listing = self.listing();
        let decision = self.decide(&listing);
        let before = self.high_water();
        let rule_before = self.state.as_ref().and_then(|state| state.rule.clone());
        let same_rule = rule_before == Some(rule_of(&self.target));
        let given_back = !decision.ends.is_empty();
        if let Some(deployed) = &decision.deploy {
            let found = listing.tags.iter().find(|listed| listed.tag == deployed.tag);
            prop_assert!(found.is_some(), "the deployed tag is listed");
            let chosen = self.target.policy.candidate(found.unwrap());
            prop_assert!(chosen.is_some(), "the deployed tag is a candidate");
            if let Some(before) = &before {
                let newer = chosen.unwrap().is_newer_than(before);
                let moved = self.target.digest && deployed.tag == before.listed.tag;
                let gone = !listing.tags.iter().any(|listed| listed.tag == before.listed.tag);
                let back = self.target.allow_downgrade && gone;
                prop_assert!(newer || moved || back || given_back, "{deployed:?} over {before:?}");
            }
            let held = self
                .state
                .as_ref()
                .and_then(|state| state.hold.as_ref())
                .is_some_and(|hold| hold.holds(self.now));
            prop_assert!(!held, "a hold holds");
        }
        if let (Some(before), Some(after), true) = (&before, &decision.state.high_water, same_rule)
            && !given_back
            && decision.status != Status::Baseline
            && !self.target.allow_downgrade
        {
            let after = self.target.policy.candidate(after).unwrap();
            prop_assert!(
                !before.is_newer_than(&after) || after.listed.tag == before.listed.tag,
                "high-water never falls"
            );
        }
        let deployed = decision.deploy.is_some();
        self.record(&decision);
        let state = self.state.clone();
        let again = self.decide(&listing);
        prop_assert!(again.deploy.is_none(), "decided twice, deployed once: {:?}", again.deploy);
        if !deployed {
            prop_assert_eq!(Some(&again.state.high_water), state.as_ref().map(|state| &state.high_water));
        }
        Ok(())
    }

    /// The tags whose deployment a poll with this decision starts.
    fn started_by(&self, decision: &Decision) -> Vec<Tag> {
        let new = decision.deploy.as_ref().map(|listed| listed.tag.clone());
        let waiting = decision.left_open(&self.open).pending.filter(|pending| {
            let is_held = withheld(&self.target, &decision.state, pending, self.now).is_some();
            new.is_none() && pending.is_due(self.now) && !is_held
        });
        new.into_iter().chain(waiting.map(|pending| pending.tag.clone())).collect()
    }

    /// Checks that `tags` predicts what the next poll starts.
    fn tell_truly(&self) -> Result<(), TestCaseError> {
        let listing = self.listing();
        let decision = self.decide(&listing);
        let (target, open, now) = (&self.target, &self.open, self.now);
        let verdicts = Decided { target, decision: &decision, open, facts: self, now }.verdicts(&listing);
        prop_assert_eq!(verdicts.len(), listing.tags.len());
        let next = verdicts.into_iter().filter(|verdict| verdict.kind == VerdictKind::Next);
        let told: Vec<Tag> = next.map(|verdict| verdict.listed.tag).collect();
        let mut started = self.started_by(&decision);
        started.retain(|tag| listing.tags.iter().any(|listed| listed.tag == *tag));
        prop_assert_eq!(told, started);
        Ok(())
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        self.now = Timestamp::from_millisecond(self.now.as_millisecond() + 1).unwrap();
        match event {
            Event::Push { number, at } => {
                self.sequence += 1;
                self.registry.retain(|listed| listed.tag != name(*number));
                self.registry.push(ListedTag {
                    tag: name(*number),
                    pushed_at: Some(Timestamp::from_second(1_799_999_900 + self.sequence * 5 + at).unwrap()),
                    sequence: Some(self.sequence),
                    digest: None,
                });
            }
            Event::Delete { number } => self.registry.retain(|listed| listed.tag != name(*number)),
            Event::Poll => {
                if self.tells {
                    self.tell_truly()?;
                }
                self.poll()?;
            }
            Event::PollFails => {
                let failure = Failure { code: ErrorCode::Unavailable, message: String::new() };
                let decision = decide_failed(self.state.as_ref(), failure, self.now);
                prop_assert!(decision.deploy.is_none());
                self.record(&decision);
            }
            Event::ListIsEmpty => {
                let decision = self.decide(&Listing::default());
                prop_assert!(decision.deploy.is_none());
                self.record(&decision);
            }
            Event::Mark { number, reset } => {
                let said = if *reset { Mark::Reset(name(*number)) } else { Mark::Deployed(name(*number)) };
                self.mark(&said);
            }
            Event::MarkNone => self.mark(&Mark::Nothing),
            Event::DeployManually { number, hold } => {
                let listed = ListedTag { digest: Some(digest(0)), ..ListedTag::named(name(*number)) };
                let manual = Manual {
                    listed: &listed,
                    content: ManualContent::Current,
                    by_whom: "alice",
                    holds: *hold,
                };
                self.commit(TargetEvent::DeployedManually { manual: &manual, id: self.now.to_string() });
            }
            Event::Hold { for_seconds } => {
                let until = for_seconds
                    .map(|seconds| Timestamp::from_second(self.now.as_second() + seconds).unwrap());
                let hold = Hold { reason: None, by: "alice".to_owned(), since: self.now, until };
                self.commit(TargetEvent::Held(hold));
            }
            Event::Release => self.commit(TargetEvent::Released),
            Event::Delivery { succeeds } => {
                if *succeeds && let Some(pending) = self.open.pending.clone() {
                    self.commit(TargetEvent::Succeeded(&pending));
                }
            }
            Event::EditRule => std::mem::swap(&mut self.target.policy, &mut self.rules[0]),
            Event::Time { seconds } => {
                self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
            }
        }
        Ok(())
    }

    fn mark(&mut self, mark: &Mark) {
        let id = self.now.to_string();
        let last_reset = |world: &World| world.state.as_ref().and_then(|state| state.reset);
        let before = last_reset(self);
        let was_given = match mark {
            Mark::Deployed(tag) | Mark::Reset(tag) => self.given.contains(tag),
            Mark::Nothing => false,
        };
        self.commit(TargetEvent::Marked { mark, was_given, by_whom: "alice".to_owned(), id });
        // A mark of a tag that the rule does not match resets nothing.
        if last_reset(self) != before {
            self.given.clear();
        }
    }
}

/// A registry without push times: names, and the number of the image that each points at.
struct Timeless {
    target: Target,
    registry: Vec<(Tag, usize)>,
    seen_tags: SeenTags,
    state: Option<PollState>,
    given: HashSet<Tag>,
    now: Timestamp,
}

/// When its images were built: some say nothing, some the same.
const BUILT: [Option<i64>; 6] = [None, Some(0), Some(0), Some(1), Some(2), None];

impl Facts for Timeless {
    fn digest(&self, tag: &Tag) -> Fact<Option<Digest>> {
        Ok(self.in_registry(tag).map(|built| built.digest))
    }

    fn was_given(&self, tag: &Tag) -> Fact<bool> {
        Ok(self.given.contains(tag))
    }

    fn image(&self, tag: &Tag) -> Fact<Option<Digest>> {
        let known = self.seen_tags.get(tag).and_then(|seen| seen.image.as_ref());
        Ok(known.map(|image| image.digest.clone()))
    }
}

impl Timeless {
    fn new() -> Timeless {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (target, registry) = (target("*", Order::Newest), vec![(tag("first"), 0)]);
        let (seen_tags, given) = (SeenTags::new(), HashSet::new());
        Timeless { target, registry, seen_tags, state: None, given, now }
    }

    fn built(image: usize) -> Built {
        let created = BUILT[image].map(|second| Timestamp::from_second(second).unwrap());
        Built { digest: digest(i64::try_from(image).unwrap()), created }
    }

    fn in_registry(&self, tag: &Tag) -> Option<Built> {
        let (_, image) = self.registry.iter().find(|(known, _)| known == tag)?;
        Some(Timeless::built(*image))
    }

    fn push(&mut self, name: &str, image: usize) {
        if !self.registry.iter().any(|(known, _)| known.as_str() == name) {
            self.registry.push((tag(name), image));
        }
    }

    fn poll(&mut self) -> Decision {
        self.now = Timestamp::from_second(self.now.as_second() + 60).unwrap();
        let tags = self.registry.iter().map(|(tag, _)| ListedTag::named(tag.clone())).collect();
        let listing = Listing { tags, ..Listing::default() };
        let unplaced =
            first_seen::unplaced(&self.target, &listing, &self.seen_tags, self.state.as_ref(), self.now);
        let asked = unplaced.into_iter().map(|tag| (tag.clone(), self.in_registry(&tag))).collect();
        let placed = first_seen::place(&listing, &self.seen_tags, &asked, self.now);
        self.seen_tags.extend(placed.new);
        let open = OpenDeployments::default();
        let asked = asked_of_listing(self.state.as_ref(), &open);
        let selection = self.target.policy.select(&placed.listing, &asked);
        let decision = decide(&self.target, &selection, self.state.as_ref(), &open, self, self.now);
        self.given.extend(decision.deploy.iter().map(|listed| listed.tag.clone()));
        self.state = Some(decision.state.clone());
        decision
    }

    fn listed(&self, tag: &Tag) -> ListedTag {
        let seen = &self.seen_tags[tag];
        let (pushed_at, sequence) = (Some(seen.first_seen), seen.sequence());
        ListedTag { pushed_at, sequence, ..ListedTag::named(tag.clone()) }
    }

    fn deploy(&mut self, tag: &Tag) {
        let listed = self.listed(tag);
        let given = deploy_manually(
            &self.target,
            self.state.as_ref(),
            &listed,
            ManualContent::Current,
            Some("alice"),
            self.now,
        );
        self.given.insert(tag.clone());
        self.state = Some(given.state);
    }
}

proptest! {
    #[test]
    fn without_push_times_nothing_goes_back_and_ties_can_be_resolved(
        batches in prop::collection::vec(
            (prop::collection::vec((0..30_u8, 0..BUILT.len()), 0..4), prop_oneof![4 => Just(0), 1 => -500..500_i64]),
            1..8,
        ),
    ) {
        let mut world = Timeless::new();
        prop_assert_eq!(world.poll().status, Status::Baseline);
        for (batch, clock_step) in batches {
            // The clock may be set back, but tags that are seen later are newer.
            world.now = Timestamp::from_second(world.now.as_second() + clock_step).unwrap();
            for (number, image) in batch {
                world.push(&format!("t{number}"), image);
            }
            let before = world.state.as_ref().and_then(|state| state.high_water.clone()).unwrap();
            let decision = world.poll();
            if let Some(deployed) = &decision.deploy {
                let (before, after) = (world.listed(&before.tag), world.listed(&deployed.tag));
                prop_assert!((after.pushed_at, after.sequence) > (before.pushed_at, before.sequence));
            }
            let again = world.poll();
            prop_assert!(again.deploy.is_none());
            if again.status == Status::Waiting {
                let tied = again.concerns.unwrap();
                world.deploy(&tied);
                prop_assert!(world.state.as_ref().unwrap().hold.is_none(), "it does not go back");
                let settled = world.poll();
                prop_assert_eq!((settled.status, settled.deploy), (Status::UpToDate, None));
            }
        }
        world.push("next", 0);
        prop_assert_eq!(world.poll().deploy.map(|listed| listed.tag), Some(tag("next")));
    }

    #[test]
    fn polls_never_deploy_an_older_tag(
        events in events(),
        order in prop::sample::select(vec![Order::Newest, Order::Semver, Order::Alphabetical]),
        with_digest in any::<bool>(),
        allow_downgrade in prop::bool::weighted(0.2),
        gated in any::<bool>(),
    ) {
        let mut world = World::new(order, with_digest, allow_downgrade, gated);
        for event in &events {
            world.happen(event)?;
        }
    }

    #[test]
    fn tags_predicts_the_next_poll(
        events in events(),
        order in prop::sample::select(vec![Order::Newest, Order::Semver, Order::Alphabetical]),
        with_digest in any::<bool>(),
        gated in any::<bool>(),
    ) {
        let mut world = World::new(order, with_digest, false, gated);
        world.tells = true;
        for event in &events {
            world.happen(event)?;
        }
    }

    #[test]
    fn manual_rollback_stays_until_the_release(versions in prop::collection::btree_set(0..11_u8, 2..8)) {
        let mut world = World::new(Order::Semver, false, false, false);
        let mut versions: Vec<Tag> = versions.into_iter().map(name).collect();
        versions.sort_by_key(|tag| tag.as_str().split('.').nth(1).unwrap().parse::<u32>().unwrap());
        for (sequence, tag) in versions.iter().enumerate() {
            world.registry.push(ListedTag { sequence: i64::try_from(sequence).ok(), ..ListedTag::named(tag.clone()) });
        }
        world.poll()?;
        let older = ListedTag::named(versions[0].clone());
        world.state = Some(deploy_manually(&world.target, world.state.as_ref(), &older, ManualContent::Current, Some("alice"), world.now).state);
        for _ in 0..100 {
            let decision = world.decide(&world.listing());
            prop_assert!(decision.deploy.is_none());
            world.record(&decision);
        }
        world.registry.push(ListedTag { sequence: Some(99), ..ListedTag::named(tag("v2.0.0")) });
        let decision = world.decide(&world.listing());
        prop_assert_eq!(decision.status, Status::Held);
        world.record(&decision);
        world.happen(&Event::Release)?;
        let decision = world.decide(&world.listing());
        prop_assert_eq!(decision.deploy.map(|listed| listed.tag), Some(tag("v2.0.0")));
    }
}
