//! The gates: whether a candidate may be deployed now, and if not, what blocks it and until when.

use std::time::Duration;

use jiff::Timestamp;

use super::fact::{Fact, Facts, Unknown};
use super::state::{SeenCandidate, StageRun};
use crate::policy::{Bump, Candidate};
use crate::reference::{Digest, Repository, Tag};
use crate::target::Target;
use crate::target::gate::{After, Gates};

/// What blocks a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockedBy {
    pub(super) reason: String,
    /// When that can change, if known.
    pub(super) until: Option<Timestamp>,
    pub(super) kind: BlockKind,
}

/// The kind of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A gate that can pass without help.
    ForNow,
    /// `max_bump`: blocked until it is deployed manually, or high-water comes nearer.
    Distance,
    /// Another image appeared with it, and nothing tells which of the two is newer.
    Tie,
    /// Another tag of the same image is deployed instead.
    SameImage,
    /// A gate that was not checked.
    NotChecked,
}

impl BlockedBy {
    fn for_now(reason: String, until: Option<Timestamp>) -> BlockedBy {
        BlockedBy { reason, until, kind: BlockKind::ForNow }
    }
}

/// Checks the gates of a target.
pub(super) struct GateCheck<'a> {
    pub(super) target: &'a Target,
    pub(super) facts: &'a dyn Facts,
    pub(super) high_water: Option<&'a Candidate>,
    pub(super) now: Timestamp,
}

impl GateCheck<'_> {
    /// What blocks the candidate; None: it passes every gate. Gates that cost no request are checked first.
    /// `seen`: when the candidate was first seen; answers about it are kept there.
    ///
    /// # Errors
    /// A fact that a gate needs could not be checked.
    pub(super) fn blocked_by(
        &self,
        candidate: &Candidate,
        seen: &mut SeenCandidate,
    ) -> Fact<Option<BlockedBy>> {
        // By name, so that the compiler asks for a new one. Windows are for the whole target, not for one
        // candidate, and for retries, too: see `recheck::stopped`.
        let Gates { min_age, after, with, platforms, max_bump, steps, windows: _ } = &self.target.gates;
        let tag = &candidate.listed.tag;
        if let Some(block) = max_bump.and_then(|allowed| self.bump(candidate, allowed)) {
            return Ok(Some(block));
        }
        if let Some(age) = *min_age
            && let Some(block) = checked("min_age", tag, self.min_age(candidate, age, seen))?
        {
            return Ok(Some(block));
        }
        if let Some(after) = after
            && let Some(block) = checked("after", tag, self.after(tag, after, seen))?
        {
            return Ok(Some(block));
        }
        for repository in with {
            if let Some(block) = checked("with", tag, self.with(repository, tag))? {
                return Ok(Some(block));
            }
        }
        if !platforms.is_empty()
            && let Some(block) = checked("platforms", tag, self.platforms(tag))?
        {
            return Ok(Some(block));
        }
        if steps.is_empty() { Ok(None) } else { checked("gate", tag, self.own_gates(tag)) }
    }

    /// The stage's own `gate` steps, checked last because they may take long.
    fn own_gates(&self, tag: &Tag) -> Fact<Option<BlockedBy>> {
        let Some(digest) = self.facts.digest(tag)? else {
            let reason = format!("gate: the registry has no manifest for {tag}");
            return Ok(Some(BlockedBy::for_now(reason, None)));
        };
        let refusal = self.facts.gate(tag, &digest)?.err();
        Ok(refusal.map(|why| BlockedBy::for_now(format!("gate: {tag}: {why}"), None)))
    }

    fn with(&self, repository: &Repository, tag: &Tag) -> Fact<Option<BlockedBy>> {
        let missing = !self.facts.is_present(repository, tag)?;
        Ok(missing.then(|| BlockedBy::for_now(format!("with: {repository} has no {tag} yet"), None)))
    }

    fn bump(&self, candidate: &Candidate, allowed: Bump) -> Option<BlockedBy> {
        let high_water = self.high_water?;
        let distance = self.target.policy.distance(high_water, candidate)?;
        (distance > allowed).then(|| BlockedBy {
            reason: format!(
                "max_bump: {} is a {distance} version away from {}; to deploy it: tagship deploy {} {}",
                candidate.listed.tag, high_water.listed.tag, self.target.id, candidate.listed.tag
            ),
            until: None,
            kind: BlockKind::Distance,
        })
    }

    fn min_age(
        &self,
        candidate: &Candidate,
        age: Duration,
        seen: &mut SeenCandidate,
    ) -> Fact<Option<BlockedBy>> {
        let tag = &candidate.listed.tag;
        let is_high_water = self.high_water.is_some_and(|high_water| high_water.listed.tag == *tag);
        let pushed_at = if is_high_water {
            // The same tag with another digest: no registry has the push time of that.
            None
        } else {
            if seen.pushed_at.is_none() {
                seen.pushed_at = self.facts.pushed_at(tag)?;
            }
            seen.pushed_at
        };
        // A push in the future is of a clock that was wrong, the registry's or this one.
        let pushed_at = pushed_at.filter(|pushed_at| *pushed_at <= self.now);
        let since = pushed_at.unwrap_or(seen.first_seen);
        let what = if pushed_at.is_some() { "was pushed" } else { "was first seen" };
        let Ok(until) = since.checked_add(age) else {
            return Ok(None);
        };
        Ok((self.now < until && !is_too_far_ahead(since, age, self.now))
            .then(|| BlockedBy::for_now(format!("min_age: {tag} {what} at {since:.0}"), Some(until))))
    }

    fn after(&self, tag: &Tag, after: &After, seen: &mut SeenCandidate) -> Fact<Option<BlockedBy>> {
        let digest = match (self.facts.digest(tag), &seen.asked_digest) {
            (Err(Unknown::NotChecked), Some(digest)) => Some(digest.clone()),
            (answer, _) => answer?,
        };
        if digest.is_some() {
            seen.asked_digest.clone_from(&digest);
        }
        let moved_after = seen.digest.as_ref().and(seen.moved_after);
        let is_same = |run: &StageRun| match (&run.digest, &digest) {
            (Some(run), Some(wanted)) => run == wanted,
            // A mark can have no digest: compare the tags. If this one was pushed again, only a later mark can be of it.
            _ => run.tag == *tag && moved_after.is_none_or(|moved_after| run.from > moved_after),
        };
        let stage = &after.stage;
        let runs = self.facts.runs(stage)?;
        let mut best: Option<BlockedBy> = None;
        // A deployment or a mark of the image that the stage runs already does not interrupt its run.
        let is_continued =
            |run: &StageRun, next: &StageRun| is_same(run) && is_same(next) && run.until == Some(next.from);
        for run in runs.chunk_by(is_continued).filter(|run| is_same(&run[0])) {
            let (begin, end) = (&run[0], &run[run.len() - 1]);
            let Ok(until) = begin.from.checked_add(after.lasting) else {
                continue;
            };
            match end.until {
                _ if end.left_by_going_back => {
                    let reason = format!("after: {stage} went back from {}", end.tag);
                    best = best.or(Some(BlockedBy::for_now(reason, None)));
                }
                Some(left) if left >= until => return Ok(None),
                Some(_) => {
                    let reason = format!("after: {stage} ran {} for too short a time", end.tag);
                    best = best.or(Some(BlockedBy::for_now(reason, None)));
                }
                None if self.now >= until || is_too_far_ahead(begin.from, after.lasting, self.now) => {
                    return Ok(None);
                }
                None => {
                    let reason = format!("after: {stage} has run it since {:.0}", begin.from);
                    best = Some(BlockedBy::for_now(reason, Some(until)));
                }
            }
        }
        Ok(Some(
            best.unwrap_or_else(|| BlockedBy::for_now(format!("after: {stage} has not run it yet"), None)),
        ))
    }

    fn platforms(&self, tag: &Tag) -> Fact<Option<BlockedBy>> {
        let has = self.facts.platforms(tag)?;
        let is_there = |wanted: &&String| has.taken_by(wanted).next().is_some();
        let missing: Vec<&str> = self
            .target
            .gates
            .platforms
            .iter()
            .filter(|wanted| !is_there(wanted))
            .map(String::as_str)
            .collect();
        Ok((!missing.is_empty())
            .then(|| BlockedBy::for_now(format!("platforms: {tag} has no {} yet", missing.join(", ")), None)))
    }
}

/// What blocks the deployment of this digest if the platforms that were checked are those of another one: the tag was
/// pushed between the two requests.
pub(super) fn other_platforms(
    target: &Target,
    facts: &dyn Facts,
    tag: &Tag,
    digest: &Digest,
) -> Option<BlockedBy> {
    if target.gates.platforms.is_empty() {
        return None;
    }
    let of = facts.platforms(tag).ok()?.of?;
    let reason =
        || format!("platforms: {tag} was pushed again during the check; the next poll checks it again");
    (of != *digest).then(|| BlockedBy::for_now(reason(), None))
}

/// Whether a wait begins further ahead than it lasts. Then a clock was wrong, and the wait counts as over. (Less far
/// ahead, another run may have begun it after `now` was read.)
pub(super) fn is_too_far_ahead(since: Timestamp, lasting: Duration, now: Timestamp) -> bool {
    since > now && since.duration_since(now).unsigned_abs() > lasting
}

/// A gate's answer, or a block if the fact it needs is not checked.
fn checked(gate: &str, tag: &Tag, said: Fact<Option<BlockedBy>>) -> Fact<Option<BlockedBy>> {
    match said {
        Err(Unknown::NotChecked) => Ok(Some(BlockedBy {
            reason: format!("{gate}: not checked for {tag}"),
            until: None,
            kind: BlockKind::NotChecked,
        })),
        said => said,
    }
}
