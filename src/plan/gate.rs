//! The gates: whether a candidate may be deployed now, and if not, why and until when.

use std::time::Duration;

use jiff::Timestamp;

use super::fact::{Facts, Undecided};
use super::state::{PollState, StageRun};
use crate::policy::{Bump, Candidate};
use crate::reference::{Repository, Tag};
use crate::target::Target;
use crate::target::gate::After;

/// Why a candidate is not deployed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(super) reason: String,
    /// When that can change, where it can be known.
    pub(super) until: Option<Timestamp>,
    pub(super) by: Blocked,
}

/// What blocks a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// A gate that can pass by itself.
    ForNow,
    /// `max_bump`: until it is deployed manually, or high-water comes nearer.
    Distance,
    /// Another image, and nothing tells which of the two is newer.
    Tie,
    /// The same image goes under another name.
    SameImage,
    /// A gate of which nobody was asked.
    NotChecked,
}

impl Waits {
    fn for_now(reason: String, until: Option<Timestamp>) -> Waits {
        Waits { reason, until, by: Blocked::ForNow }
    }
}

/// What a candidate is judged on.
pub(super) struct Gatekeeper<'a> {
    pub(super) target: &'a Target,
    pub(super) facts: &'a Facts,
    /// With the candidates as they were first seen.
    pub(super) state: &'a PollState,
    pub(super) high_water: Option<&'a Candidate>,
    pub(super) now: Timestamp,
}

impl Gatekeeper<'_> {
    /// None: it passes every gate. Those that cost no request are asked first.
    ///
    /// # Errors
    /// What is to be asked first.
    pub(super) fn stops(&self, candidate: &Candidate) -> Result<Option<Waits>, Undecided> {
        let gates = &self.target.gates;
        let tag = &candidate.listed.tag;
        if let Some(waits) = gates.max_bump.and_then(|allowed| self.bump(candidate, allowed)) {
            return Ok(Some(waits));
        }
        if let Some(age) = gates.min_age
            && let Some(waits) = checked("min_age", tag, self.min_age(candidate, age))?
        {
            return Ok(Some(waits));
        }
        if let Some(after) = &gates.after
            && let Some(waits) = checked("after", tag, self.after(tag, after))?
        {
            return Ok(Some(waits));
        }
        for repository in &gates.with {
            if let Some(waits) = checked("with", tag, self.with(repository, tag))? {
                return Ok(Some(waits));
            }
        }
        if gates.platforms.is_empty() { Ok(None) } else { checked("platforms", tag, self.platforms(tag)) }
    }

    fn with(&self, repository: &Repository, tag: &Tag) -> Result<Option<Waits>, Undecided> {
        let missing = !self.facts.is_present(repository, tag)?;
        Ok(missing.then(|| Waits::for_now(format!("with: {repository} has no {tag} yet"), None)))
    }

    fn bump(&self, candidate: &Candidate, allowed: Bump) -> Option<Waits> {
        let high_water = self.high_water?;
        let distance = self.target.policy.distance(high_water, candidate)?;
        (distance > allowed).then(|| Waits {
            reason: format!(
                "max_bump: {} is a {distance} version away from {}; to ship it: tagship deploy {} {}",
                candidate.listed.tag, high_water.listed.tag, self.target.id, candidate.listed.tag
            ),
            until: None,
            by: Blocked::Distance,
        })
    }

    fn min_age(&self, candidate: &Candidate, age: Duration) -> Result<Option<Waits>, Undecided> {
        let tag = &candidate.listed.tag;
        let seen = self.state.candidates.iter().find(|seen| seen.tag == *tag);
        let is_high_water = self.high_water.is_some_and(|high_water| high_water.listed.tag == *tag);
        let pushed_at = if is_high_water {
            // The same tag with another digest: when that was pushed, no registry tells.
            None
        } else {
            match candidate.listed.pushed_at.or(seen.and_then(|seen| seen.pushed_at)) {
                Some(pushed_at) => Some(pushed_at),
                None => self.facts.pushed_at(tag)?,
            }
        };
        let since = pushed_at.or(seen.map(|seen| seen.first_seen)).unwrap_or(self.now);
        let what = if pushed_at.is_some() { "was pushed" } else { "was first seen" };
        let Ok(until) = since.checked_add(age) else {
            return Ok(None);
        };
        Ok((self.now < until)
            .then(|| Waits::for_now(format!("min_age: {tag} {what} at {since:.0}"), Some(until))))
    }

    fn after(&self, tag: &Tag, after: &After) -> Result<Option<Waits>, Undecided> {
        let known = self.state.candidates.iter().find(|seen| seen.tag == *tag);
        let digest = match (self.facts.digest(tag), known.and_then(|seen| seen.asked_digest.as_ref())) {
            (Err(Undecided::NotChecked), Some(digest)) => Some(digest),
            (answer, _) => answer?,
        };
        let is_same = |run: &StageRun| match (&run.digest, digest) {
            (Some(run), Some(wanted)) => run == wanted,
            // What was marked without a digest is known by its tag.
            _ => run.tag == *tag,
        };
        let stage = &after.stage;
        let runs = self.facts.runs(stage)?;
        let mut best: Option<Waits> = None;
        for run in runs.iter().filter(|run| is_same(run)) {
            let Ok(until) = run.from.checked_add(after.lasting) else {
                continue;
            };
            match run.until {
                _ if run.left_by_going_back => {
                    let reason = format!("after: {stage} went back from {}", run.tag);
                    best = best.or(Some(Waits::for_now(reason, None)));
                }
                Some(left) if left >= until => return Ok(None),
                Some(_) => {
                    let reason = format!("after: {stage} left {} too soon", run.tag);
                    best = best.or(Some(Waits::for_now(reason, None)));
                }
                None if self.now >= until => return Ok(None),
                None => {
                    let reason = format!("after: {stage} runs it since {:.0}", run.from);
                    best = Some(Waits::for_now(reason, Some(until)));
                }
            }
        }
        Ok(Some(best.unwrap_or_else(|| Waits::for_now(format!("after: {stage} has not run it yet"), None))))
    }

    fn platforms(&self, tag: &Tag) -> Result<Option<Waits>, Undecided> {
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
            .then(|| Waits::for_now(format!("platforms: {tag} has no {} yet", missing.join(", ")), None)))
    }
}

/// What a gate says, or that nobody was asked what it needs to know.
fn checked(
    gate: &str,
    tag: &Tag,
    said: Result<Option<Waits>, Undecided>,
) -> Result<Option<Waits>, Undecided> {
    match said {
        Err(Undecided::NotChecked) => Ok(Some(Waits {
            reason: format!("{gate}: not checked for {tag}"),
            until: None,
            by: Blocked::NotChecked,
        })),
        said => said,
    }
}
