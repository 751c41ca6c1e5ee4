//! The rules of a decision. Each function names the rule it implements:
//!
//! 1. The list fails, or becomes empty: `unknown`.
//! 2. A first poll.
//! 3. A first poll after an edit of the rule.
//! 4. A tag is newer: it is deployed, once nothing stops or blocks it.
//! 5. Nothing is newer.
//! 6. The newest listed tag is older.
//! 7. A tag is pushed again.

mod first_poll;
mod pushed_again;

use jiff::Timestamp;

use super::fact::{Fact, Facts, Unknown};
use super::gate::{BlockKind, BlockedBy, GateCheck, other_platforms};
use super::recheck::stopped;
use super::state::{Deployment, OpenDeployments, PollState, SeenCandidate};
use super::status::{ErrorCode, Failure, Status};
use super::{Decision, decide_failed};
use crate::policy::{Candidate, Order, Selection};
use crate::reference::{Digest, ListedTag, Tag};
use crate::target::Target;

/// Rule 1: the list is empty, but tags were seen before.
pub(super) fn list_became_empty(target: &Target, state: &PollState, now: Timestamp) -> Decision {
    let failure = Failure {
        code: ErrorCode::Protocol,
        message: format!(
            "the registry lists no tags of {} any more, but listed {} before; if they were deleted on purpose: tagship mark {} --none",
            target.image, state.tags_listed, target.id
        ),
    };
    decide_failed(Some(state), failure, now)
}

/// Whether a tag has no place in its target's order because its push time is missing.
pub(super) fn is_timeless(listed: &ListedTag, target: &Target) -> bool {
    target.policy.order() == Order::Newest && listed.pushed_at.is_none()
}

/// Compares a candidate with those of the same place in the order. Nothing tells which of two images is
/// newer; of several tags of one image, the greatest by bytes is deployed.
fn rivals(
    target: &Target,
    facts: &dyn Facts,
    candidates: &[&Candidate],
    place: usize,
) -> Fact<Option<BlockedBy>> {
    if target.policy.order() != Order::Newest {
        return Ok(None);
    }
    let candidate = candidates[place];
    // An image without a build time has no place among those that appeared with it. The candidate is its own rival.
    let is_rival = |other: &&Candidate| {
        let (one, other) = (&candidate.listed, &other.listed);
        one.pushed_at == other.pushed_at
            && (one.sequence == other.sequence || one.sequence.is_none() || other.sequence.is_none())
    };
    if candidates.iter().filter(|other| is_rival(other)).count() < 2 {
        return Ok(None);
    }
    let Some(image) = facts.image(&candidate.listed.tag)? else {
        return Ok(None);
    };
    let tag = &candidate.listed.tag;
    for (other_place, other) in candidates.iter().enumerate().filter(|(_, other)| is_rival(other)) {
        let other_tag = &other.listed.tag;
        match facts.image(other_tag)? {
            Some(digest) if digest != image => {
                let reason = format!(
                    "{other_tag} and {tag} appeared since the last poll, and nothing tells which is newer; to choose one: tagship deploy {} {tag}",
                    target.id
                );
                return Ok(Some(BlockedBy { reason, until: None, kind: BlockKind::Tie }));
            }
            Some(_) if other_place < place => {
                let reason = format!("the same image as {other_tag}");
                return Ok(Some(BlockedBy { reason, until: None, kind: BlockKind::SameImage }));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The newest candidate of a selection, regardless of the gates. The inner error names the tags of which
/// nothing tells which is newer.
pub(crate) fn newest<'s>(
    target: &Target,
    selection: &'s Selection,
    facts: &dyn Facts,
) -> Result<Result<Option<&'s Candidate>, String>, Failure> {
    let candidates: Vec<&Candidate> = selection.candidates.iter().collect();
    let Some(newest) = candidates.first() else {
        return Ok(Ok(None));
    };
    match rivals(target, facts, &candidates, 0) {
        Ok(Some(block)) => Ok(Err(block.reason)),
        // If the images are not known, the names decide.
        Ok(None) | Err(Unknown::NotChecked) => Ok(Ok(Some(newest))),
        Err(Unknown::Failed(failure)) => Err(failure),
    }
}

/// The decision for a tag that is listed but has no manifest.
fn without_manifest(tag: &Tag, next: PollState) -> Decision {
    let reason = format!(
        "{tag} is listed, but the registry has no manifest for it; will check again at the next poll (recent Gitea versions lose it when a tag is pushed with content that it had before; a push of other content restores it)"
    );
    Decision::new(Status::Waiting, reason, next)
}

/// Why a tag is only reported.
pub(super) fn auto_deploy_is_off(target: &Target, tag: &Tag) -> String {
    format!("auto_deploy is off; to deploy it: tagship deploy {} {tag}", target.id)
}

/// `edge@sha256:…`
fn image(tag: &Tag, digest: &Option<Digest>) -> String {
    digest.as_ref().map_or_else(|| tag.to_string(), |digest| format!("{tag}@{digest}"))
}

/// What every rule of one target's poll reads.
pub(super) struct RuleContext<'a> {
    pub(super) target: &'a Target,
    pub(super) selection: &'a Selection,
    pub(super) open: &'a OpenDeployments,
    pub(super) facts: &'a dyn Facts,
    pub(super) before: Option<&'a PollState>,
    pub(super) now: Timestamp,
}

type Deciding = Fact<Decision>;

/// The first candidate that nothing blocks, and what blocks those before it.
type Unblocked<'c> = (Option<&'c Candidate>, Vec<(Tag, BlockedBy)>);

impl RuleContext<'_> {
    /// Rules 4 to 6, with the stored high-water tag.
    pub(super) fn again(&self, next: PollState) -> Deciding {
        let Some(newest) = self.selection.newest() else {
            return Ok(Decision::new(Status::NoMatch, self.nothing_matches(), next));
        };
        let Some(high_water) = self.high_water(&next) else {
            return match &next.high_water {
                None => self.newer(next),
                // Restored from before an edit of the rule: nothing tells which tags are older.
                Some(restored) => {
                    let why = format!("the edited rule does not match {}", restored.tag);
                    self.baseline(next, &why)
                }
            };
        };
        if is_timeless(&high_water.listed, self.target) && newest.listed.pushed_at.is_some() {
            let why = format!(
                "{} was marked but is not listed, so nothing tells which tags are newer",
                high_water.listed.tag
            );
            return self.baseline(next, &why);
        }
        if !self.new_after(Some(&high_water))?.is_empty() {
            self.newer(next)
        } else if high_water.is_newer_than(newest) && newest.listed.tag != high_water.listed.tag {
            self.older(next, newest, &high_water)
        } else if let Some(late) = self.pushed_with_an_earlier_time(&high_water)? {
            let reason = format!(
                "{} was pushed after {}, but has an earlier push time (was the registry's clock set back?); to deploy it: tagship deploy {} {}",
                late.tag, high_water.listed.tag, self.target.id, late.tag
            );
            Ok(Decision { concerns: Some(late.tag.clone()), ..Decision::new(Status::Older, reason, next) })
        } else {
            self.nothing_newer(next, newest, &high_water)
        }
    }

    /// Rule 6: a candidate that is newer than high-water by the registry's sequence and older by its push
    /// time, and was never deployed.
    fn pushed_with_an_earlier_time(&self, high_water: &Candidate) -> Fact<Option<&ListedTag>> {
        let is_by_time = self.target.policy.order() == Order::Newest;
        let Some(sequence) = high_water.listed.sequence.filter(|_| is_by_time) else {
            return Ok(None);
        };
        let is_late = |candidate: &&Candidate| {
            candidate.listed.sequence.is_some_and(|other| other > sequence)
                && high_water.is_newer_than(candidate)
        };
        for late in self.selection.candidates.iter().filter(is_late) {
            // Without push times, the sequence is the build time and proves nothing.
            let is_by_registry = self.facts.image(&late.listed.tag)?.is_none();
            if is_by_registry && !self.facts.was_given(&late.listed.tag)? {
                return Ok(Some(&late.listed));
            }
        }
        Ok(None)
    }

    fn high_water(&self, state: &PollState) -> Option<Candidate> {
        state.high_water.as_ref().and_then(|listed| self.target.policy.candidate(listed))
    }

    /// The candidates newer than `high_water`, newest first. A tag that was deployed before is never new,
    /// even if it is pushed again with a later time.
    fn new_after(&self, high_water: Option<&Candidate>) -> Fact<Vec<&Candidate>> {
        let candidates = self.selection.candidates.iter();
        let Some(high_water) = high_water else {
            return Ok(candidates.collect());
        };
        let given = &high_water.listed;
        let is_newer =
            |candidate: &&Candidate| candidate.listed.tag != given.tag && candidate.is_newer_than(high_water);
        let newer = candidates.filter(is_newer);
        if self.target.policy.order() != Order::Newest {
            return Ok(newer.collect());
        }
        let mut never_given = Vec::new();
        for candidate in newer {
            // Once one of several tags that appeared together is deployed, the others count as older. Tags with a push time
            // of the registry have a sequence.
            let appeared_with_it = given.sequence.is_none() && candidate.listed.pushed_at == given.pushed_at;
            if !appeared_with_it && !self.facts.was_given(&candidate.listed.tag)? {
                never_given.push(candidate);
            }
        }
        Ok(never_given)
    }

    /// Rule 4: a tag is newer than high-water, or there is no high-water yet.
    fn newer(&self, next: PollState) -> Deciding {
        let high_water = self.high_water(&next);
        let candidates = self.new_after(high_water.as_ref())?;
        if candidates.is_empty() {
            return Ok(Decision::new(Status::NoMatch, self.nothing_matches(), next));
        }
        let why = |tag: &Tag| format!("{tag} is newer than any tag deployed before");
        self.consider(next, &candidates, high_water.as_ref(), why)
    }

    /// Deploys the newest candidate that passes every gate. `candidates`: newest first.
    fn consider(
        &self,
        mut next: PollState,
        candidates: &[&Candidate],
        high_water: Option<&Candidate>,
        why: impl Fn(&Tag) -> String,
    ) -> Deciding {
        next.candidates = candidates.iter().map(|candidate| self.remember(candidate, None)).collect();
        let (chosen, blocked) = self.choose(&mut next.candidates, candidates, high_water)?;
        if chosen.is_none()
            && let Some(high_water) = high_water
            && let Some(followed) = self.followed(high_water)
            && let Some(digest) = self.moved_to(&mut next, &followed.listed.tag)?
        {
            return self.moved(next, &followed, &digest, high_water, blocked);
        }
        let decision = match chosen {
            None => self.waiting_for(next, &blocked),
            Some(chosen) => {
                let tag = &chosen.listed.tag;
                let decision = match self.stopped(&next, tag) {
                    Some((status, block)) => self.waiting(next, status, block),
                    None => self.deploy(next, chosen, why(tag))?,
                };
                decision.concerning(tag)
            }
        };
        Ok(Decision { above: high_water.map(|high_water| high_water.listed.clone()), blocked, ..decision })
    }

    /// The first candidate that is not blocked, and what blocks those before it. `seen`: when the candidates
    /// were first seen, in the same order.
    fn choose<'c>(
        &self,
        seen: &mut [SeenCandidate],
        candidates: &[&'c Candidate],
        high_water: Option<&Candidate>,
    ) -> Fact<Unblocked<'c>> {
        let gates = GateCheck { target: self.target, facts: self.facts, high_water, now: self.now };
        let mut blocked: Vec<(Tag, BlockedBy)> = Vec::new();
        let mut unchecked: Option<Tag> = None;
        for (place, (candidate, seen)) in candidates.iter().zip(seen).enumerate() {
            let tag = &candidate.listed.tag;
            let block = match rivals(self.target, self.facts, candidates, place)? {
                Some(block) => Some(block),
                None => gates.blocked_by(candidate, seen)?,
            };
            let block = match (block, &unchecked) {
                (None, Some(newer)) => Some(BlockedBy {
                    reason: format!("not checked: whether {newer}, which is newer, passes its gates"),
                    until: None,
                    kind: BlockKind::NotChecked,
                }),
                (block, _) => block,
            };
            let Some(block) = block else {
                return Ok((Some(candidate), blocked));
            };
            if block.kind == BlockKind::NotChecked {
                unchecked.get_or_insert_with(|| tag.clone());
            }
            blocked.push((tag.clone(), block));
        }
        Ok((None, blocked))
    }

    /// All candidates are blocked. Reports the newest one that needs no person, then the newest of all.
    fn waiting_for(&self, next: PollState, blocked: &[(Tag, BlockedBy)]) -> Decision {
        let needs_no_person =
            |(_, block): &&(Tag, BlockedBy)| matches!(block.kind, BlockKind::ForNow | BlockKind::NotChecked);
        let first = blocked.first();
        let Some((tag, block)) = blocked.iter().find(needs_no_person).or(first) else {
            return Decision::new(Status::Waiting, String::new(), next);
        };
        let also = first.filter(|(newest, _)| newest != tag);
        let reason = also.map_or_else(
            || block.reason.clone(),
            |(_, also)| format!("{}; also, {}", block.reason, also.reason),
        );
        let block = BlockedBy { reason, ..block.clone() };
        self.waiting(next, Status::Waiting, block).concerning(tag)
    }

    /// What stops all automatic deployments now: `auto_deploy`, a hold, or the window.
    fn stopped(&self, state: &PollState, tag: &Tag) -> Option<(Status, BlockedBy)> {
        if !self.target.auto_deploy {
            let reason = auto_deploy_is_off(self.target, tag);
            return Some((Status::Available, BlockedBy { reason, until: None, kind: BlockKind::ForNow }));
        }
        let (status, reason, until) = stopped(self.target, state, self.now)?;
        Some((status, BlockedBy { reason, until, kind: BlockKind::ForNow }))
    }

    /// The remembered entry of a candidate, or a new one.
    fn remember(&self, candidate: &Candidate, digest: Option<&Digest>) -> SeenCandidate {
        let listed = &candidate.listed;
        let before = self.before.and_then(|before| {
            before.candidates.iter().find(|seen| seen.tag == listed.tag && seen.digest.as_ref() == digest)
        });
        let known_push = before.and_then(|before| before.pushed_at);
        // A moved digest has its own entry, and no push time of its own.
        let is_pushed_again = digest.is_none()
            && listed.pushed_at.is_some()
            && known_push.is_some_and(|known| Some(known) != listed.pushed_at);
        let first_seen = before.filter(|_| !is_pushed_again).map_or(self.now, |before| before.first_seen);
        SeenCandidate {
            tag: listed.tag.clone(),
            pushed_at: listed.pushed_at.or(known_push),
            sequence: listed.sequence.or_else(|| before.and_then(|before| before.sequence)),
            first_seen: first_seen.min(self.now),
            digest: digest.cloned(),
            moved_after: match (digest, before) {
                (Some(_), None) => self.before.and_then(|state| state.polled_at),
                (_, before) => before.and_then(|before| before.moved_after),
            },
            asked_digest: before.and_then(|before| before.asked_digest.clone()),
        }
    }

    /// What the tag points at now; None: it has no manifest, or was not checked.
    fn digest(&self, tag: &Tag) -> Fact<Option<Digest>> {
        match self.facts.digest(tag) {
            Err(Unknown::NotChecked) => Ok(None),
            answer => answer,
        }
    }

    /// Whether the registry was asked, and has no manifest for the tag.
    fn has_no_manifest(&self, tag: &Tag) -> bool {
        matches!(self.facts.digest(tag), Ok(None))
    }

    /// Plans the deployment of a tag.
    fn deploy(&self, mut next: PollState, chosen: &Candidate, reason: String) -> Deciding {
        let tag = &chosen.listed.tag;
        let digest = self.digest(tag)?;
        if self.has_no_manifest(tag) {
            return Ok(without_manifest(tag, next));
        }
        let is_other = |digest| other_platforms(self.target, self.facts, tag, digest);
        if let Some(block) = digest.as_ref().and_then(is_other) {
            return Ok(self.waiting(next, Status::Waiting, block));
        }
        let given = ListedTag { digest, ..chosen.listed.clone() };
        next.given_platforms = self.given_platforms(&given)?;
        next.high_water = Some(given.clone());
        // Newer candidates stay blocked by their gates.
        next.keep_candidates_newer_than(chosen, &self.target.policy);
        let status = if self.open.running.is_some() { Status::Deploying } else { Status::Pending };
        let mut decision = Decision::new(status, reason, next);
        decision.deploy = Some(given);
        Ok(decision)
    }

    /// Rule 5, and rule 7 for a mutable tag.
    fn nothing_newer(&self, mut next: PollState, newest: &Candidate, high_water: &Candidate) -> Deciding {
        next.candidates.clear();
        if let Some(followed) = self.followed(high_water) {
            let tag = &followed.listed.tag;
            if self.has_no_manifest(tag) {
                return Ok(without_manifest(tag, next).concerning(tag));
            }
            if let Some(digest) = self.moved_to(&mut next, tag)? {
                return self.moved(next, &followed, &digest, high_water, Vec::new());
            }
        }
        if !self.target.digest
            && let Some(warning) = self.moved_unexpectedly(&mut next)
        {
            return Ok(Decision { warning: Some(warning), ..self.same(next, newest) });
        }
        Ok(self.same(next, newest))
    }

    /// Rule 5: what the stage waits for, if anything.
    fn same(&self, next: PollState, newest: &Candidate) -> Decision {
        if self.open.running.is_some() {
            return Decision::new(Status::Deploying, "its deployment is running".to_owned(), next);
        }
        if let Some(pending) = &self.open.pending {
            let reason = format!("{} will be retried", pending.described());
            return match pending.next_attempt.filter(|_| !pending.is_due(self.now)) {
                None => Decision::new(Status::Pending, reason, next),
                Some(wait) => {
                    let reason = format!("{reason} ({} failed)", pending.last_attempt(&self.target.retry));
                    Decision { until: Some(wait.at), ..Decision::new(Status::Retrying, reason, next) }
                }
            };
        }
        if let Some(dead) = &self.open.dead {
            let reason = format!(
                "{} failed, and tagship gave up; to retry: tagship retry {}",
                dead.described(),
                self.target.id
            );
            return Decision::new(Status::Behind, reason, next);
        }
        if let (Some(deployed), Some(given)) = (&next.deployed, &next.high_water)
            && next.is_behind(self.target)
        {
            let (runs, newer) = match deployed.tag == given.tag {
                true => (image(&deployed.tag, &deployed.digest), image(&given.tag, &given.digest)),
                false => (deployed.tag.to_string(), given.tag.to_string()),
            };
            let (target, tag) = (&self.target.id, given.tag.clone());
            let reason =
                format!("the stage runs {runs}, not {newer}; to deploy it: tagship deploy {target} {tag}");
            return Decision { concerns: Some(tag), ..Decision::new(Status::Behind, reason, next) };
        }
        let reason = match &next.high_water {
            Some(given) if given.tag != newest.listed.tag => {
                format!("nothing is newer than {}; {} was seen before", given.tag, newest.listed.tag)
            }
            _ => format!("{} is the newest", newest.listed.tag),
        };
        Decision::new(Status::UpToDate, reason, next)
    }

    /// Rule 6: the newest listed tag is older than high-water.
    fn older(&self, mut next: PollState, newest: &Candidate, high_water: &Candidate) -> Deciding {
        let gone = &high_water.listed.tag;
        let is_gone = self.selection.is_listed(gone) == Some(false);
        // The pending deployment made it the high-water tag.
        let raised_it = |pending: &&Deployment| {
            pending.tag == *gone
                && pending.high_water_before.as_ref().is_none_or(|before| before.tag != *gone)
        };
        if is_gone && let Some(pending) = self.open.undelivered().filter(raised_it) {
            let before = pending.high_water_before.clone();
            let dropped = format!("{gone} was deleted from the registry before it was deployed");
            next.high_water = before;
            let open = OpenDeployments { running: self.open.running.clone(), ..OpenDeployments::default() };
            let mut decision = RuleContext { open: &open, ..*self }.again(next)?;
            decision.drop(pending, dropped);
            return Ok(decision);
        }
        // After a rollback, the stage does not run the deleted tag.
        let runs_it = next.deployed.as_ref().is_none_or(|deployed| deployed.tag == *gone);
        if is_gone && runs_it && self.target.allow_downgrade {
            let why = |_: &Tag| format!("{gone} was deleted, and allow_downgrade is on");
            let candidates: Vec<&Candidate> = self.selection.candidates.iter().collect();
            let decision = self.consider(next, &candidates, Some(high_water), why)?;
            return Ok(Decision { goes_back: decision.deploy.is_some(), ..decision });
        }
        let deleted = if is_gone { ", which was deleted" } else { "" };
        let reason = format!(
            "the newest listed tag, {0}, is older than {gone}{deleted}; to start from {0}: tagship mark {1} {0} --reset",
            newest.listed.tag, self.target.id
        );
        Ok(Decision::new(Status::Older, reason, next).concerning(&newest.listed.tag))
    }

    fn nothing_matches(&self) -> String {
        let Selection { listed, matched, .. } = self.selection;
        match (listed, matched) {
            (0, _) => "the image has no tags yet".to_owned(),
            (listed, 0) => format!("none of {listed} tags matches"),
            _ => self.selection.describe(),
        }
    }

    fn waiting(&self, state: PollState, status: Status, block: BlockedBy) -> Decision {
        Decision { until: block.until, ..Decision::new(status, block.reason, state) }
    }
}
