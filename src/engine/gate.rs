//! The gates: whether a candidate may be deployed now, and if not, why and until when.

use std::time::Duration;

use jiff::Timestamp;

use super::fact::{Fact, Facts, Unknown};
use super::state::{Sighted, StageRun};
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
    pub(super) facts: &'a dyn Facts,
    pub(super) high_water: Option<&'a Candidate>,
    pub(super) now: Timestamp,
}

impl Gatekeeper<'_> {
    /// None: it passes every gate. Those that cost no request are asked first. `seen`: the candidate as it was first
    /// seen; what is asked of it is remembered there.
    ///
    /// # Errors
    /// What has to be known could not be asked.
    pub(super) fn stops(&self, candidate: &Candidate, seen: &mut Sighted) -> Fact<Option<Waits>> {
        let gates = &self.target.gates;
        let tag = &candidate.listed.tag;
        if let Some(waits) = gates.max_bump.and_then(|allowed| self.bump(candidate, allowed)) {
            return Ok(Some(waits));
        }
        if let Some(age) = gates.min_age
            && let Some(waits) = checked("min_age", tag, self.min_age(candidate, age, seen))?
        {
            return Ok(Some(waits));
        }
        if let Some(after) = &gates.after
            && let Some(waits) = checked("after", tag, self.after(tag, after, seen))?
        {
            return Ok(Some(waits));
        }
        for repository in &gates.with {
            if let Some(waits) = checked("with", tag, self.with(repository, tag))? {
                return Ok(Some(waits));
            }
        }
        if !gates.platforms.is_empty()
            && let Some(waits) = checked("platforms", tag, self.platforms(tag))?
        {
            return Ok(Some(waits));
        }
        if gates.steps.is_empty() { Ok(None) } else { checked("gate", tag, self.own_gates(tag)) }
    }

    /// Last of all: they may take long.
    fn own_gates(&self, tag: &Tag) -> Fact<Option<Waits>> {
        let Some(digest) = self.facts.digest(tag)? else {
            let reason = format!("gate: the registry has no manifest for {tag}");
            return Ok(Some(Waits::for_now(reason, None)));
        };
        let refusal = self.facts.gate(tag, &digest)?.err();
        Ok(refusal.map(|why| Waits::for_now(format!("gate: {tag}: {why}"), None)))
    }

    fn with(&self, repository: &Repository, tag: &Tag) -> Fact<Option<Waits>> {
        let missing = !self.facts.is_present(repository, tag)?;
        Ok(missing.then(|| Waits::for_now(format!("with: {repository} has no {tag} yet"), None)))
    }

    fn bump(&self, candidate: &Candidate, allowed: Bump) -> Option<Waits> {
        let high_water = self.high_water?;
        let distance = self.target.policy.distance(high_water, candidate)?;
        (distance > allowed).then(|| Waits {
            reason: format!(
                "max_bump: {} is a {distance} version away from {}; to deploy it: tagship deploy {} {}",
                candidate.listed.tag, high_water.listed.tag, self.target.id, candidate.listed.tag
            ),
            until: None,
            by: Blocked::Distance,
        })
    }

    fn min_age(&self, candidate: &Candidate, age: Duration, seen: &mut Sighted) -> Fact<Option<Waits>> {
        let tag = &candidate.listed.tag;
        let is_high_water = self.high_water.is_some_and(|high_water| high_water.listed.tag == *tag);
        let pushed_at = if is_high_water {
            // The same tag with another digest: when that was pushed, no registry tells.
            None
        } else {
            if seen.pushed_at.is_none() {
                seen.pushed_at = self.facts.pushed_at(tag)?;
            }
            seen.pushed_at
        };
        let since = pushed_at.unwrap_or(seen.first_seen);
        let what = if pushed_at.is_some() { "was pushed" } else { "was first seen" };
        let Ok(until) = since.checked_add(age) else {
            return Ok(None);
        };
        Ok((self.now < until)
            .then(|| Waits::for_now(format!("min_age: {tag} {what} at {since:.0}"), Some(until))))
    }

    fn after(&self, tag: &Tag, after: &After, seen: &mut Sighted) -> Fact<Option<Waits>> {
        let digest = match (self.facts.digest(tag), &seen.asked_digest) {
            (Err(Unknown::NotChecked), Some(digest)) => Some(digest.clone()),
            (answer, _) => answer?,
        };
        if digest.is_some() {
            seen.asked_digest.clone_from(&digest);
        }
        let is_same = |run: &StageRun| match (&run.digest, &digest) {
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

    fn platforms(&self, tag: &Tag) -> Fact<Option<Waits>> {
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
fn checked(gate: &str, tag: &Tag, said: Fact<Option<Waits>>) -> Fact<Option<Waits>> {
    match said {
        Err(Unknown::NotChecked) => Ok(Some(Waits {
            reason: format!("{gate}: not checked for {tag}"),
            until: None,
            by: Blocked::NotChecked,
        })),
        said => said,
    }
}
