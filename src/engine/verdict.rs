//! What a decision says of every tag: the same decision that a poll carries out, read tag by tag.

use std::cmp::Ordering;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use strum::IntoStaticStr;

use super::fact::Facts;
use super::rule::withheld;
use super::state::OpenDeployments;
use super::status::Status;
use super::{Decision, gate::Blocked};
use crate::policy::{Candidate, Order, Verdict};
use crate::reference::{ListedTag, Listing, Tag};
use crate::target::Target;

/// A tag, and the one reason for what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagVerdict {
    pub(crate) listed: ListedTag,
    /// Its sort key, where it is a candidate.
    pub(crate) key: Option<String>,
    pub(crate) kind: VerdictKind,
    pub(crate) reason: String,
    /// When the reason can end, where that can be known.
    pub(crate) until: Option<Timestamp>,
}

/// What becomes of a tag, as outputs spell it: `passed_over`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum VerdictKind {
    /// What the stage runs.
    Deployed,
    /// High-water, and not what the stage runs.
    Given,
    /// The next poll deploys it.
    Next,
    /// The next poll begins at it, and deploys what is newer.
    Baseline,
    Available,
    Held,
    Waiting,
    /// What it depends on was not asked.
    NotChecked,
    /// A newer one goes first.
    PassedBy,
    /// Not newer than high-water.
    PassedOver,
    NotMatched,
    Excluded,
    NotParsed,
    OutOfRange,
    Prerelease,
    /// The registry does not have it.
    NotListed,
}

impl VerdictKind {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether someone who asks about the stage wants to see it first.
    pub(crate) fn is_interesting(self) -> bool {
        match self {
            VerdictKind::Deployed
            | VerdictKind::Given
            | VerdictKind::Next
            | VerdictKind::Baseline
            | VerdictKind::Available
            | VerdictKind::Held
            | VerdictKind::Waiting
            | VerdictKind::NotChecked
            | VerdictKind::PassedBy => true,
            VerdictKind::PassedOver
            | VerdictKind::NotMatched
            | VerdictKind::Excluded
            | VerdictKind::NotParsed
            | VerdictKind::OutOfRange
            | VerdictKind::Prerelease
            | VerdictKind::NotListed => false,
        }
    }
}

/// What is known of a target beside its decision.
pub(crate) struct Decided<'a> {
    pub(crate) target: &'a Target,
    pub(crate) decision: &'a Decision,
    /// Of the state that was decided on.
    pub(crate) open: &'a OpenDeployments,
    /// With what was asked to decide.
    pub(crate) facts: &'a dyn Facts,
    pub(crate) now: Timestamp,
}

type Said = (VerdictKind, String, Option<Timestamp>);

impl Decided<'_> {
    /// The verdict of every tag that was listed: candidates newest first, then the others by name.
    pub(crate) fn verdicts(&self, listing: &Listing) -> Vec<TagVerdict> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut verdicts = Vec::with_capacity(listing.tags.len());
        let mut others = Vec::new();
        for listed in &listing.tags {
            match self.target.policy.judge(listed) {
                Verdict::Candidate(key) => candidates.push(Candidate { listed: listed.clone(), key }),
                verdict => {
                    let refused = refused(listed, &verdict);
                    // Deployed manually, or before the rule was edited.
                    others.push(match self.open_deployment(&listed.tag) {
                        Some((kind, reason, until)) => TagVerdict { kind, reason, until, ..refused },
                        None => refused,
                    });
                }
            }
        }
        candidates.sort_by(|a, b| b.key.cmp(&a.key).then_with(|| b.listed.tag.cmp(&a.listed.tag)));
        others.sort_by(|a, b| a.listed.tag.cmp(&b.listed.tag));
        let above = self.decision.above.as_ref().and_then(|listed| self.target.policy.candidate(listed));
        verdicts.extend(candidates.into_iter().map(|candidate| {
            let (kind, reason, until) = self.said_of(&candidate, above.as_ref());
            let key = Some(candidate.key.to_string());
            TagVerdict { listed: candidate.listed, key, kind, reason, until }
        }));
        verdicts.extend(others);
        verdicts
    }

    /// `above`: what a candidate must be newer than.
    fn said_of(&self, candidate: &Candidate, above: Option<&Candidate>) -> Said {
        let tag = &candidate.listed.tag;
        self.open_deployment(tag)
            .or_else(|| self.concerned(tag))
            .or_else(|| self.blocked(tag))
            .or_else(|| self.deployed(tag))
            .unwrap_or_else(|| self.by_its_place(candidate, above))
    }

    /// A tag whose deployment is recorded.
    fn open_deployment(&self, tag: &Tag) -> Option<Said> {
        let (target, decision) = (self.target, self.decision);
        if decision.deploy.is_some() {
            // It takes the place of what was recorded before.
            return None;
        }
        let open = decision.left_open(self.open);
        let next = open.running.as_ref().or(open.pending.as_ref());
        let recorded = next.filter(|deployment| deployment.tag == *tag)?;
        if let Some(next) =
            recorded.next_attempt.filter(|_| open.running.is_none() && !recorded.is_due(self.now))
        {
            let reason = format!(
                "its deployment failed (attempt {} of {}); why: tagship status {}",
                recorded.attempts_counted(),
                target.retry.attempts,
                target.id
            );
            return Some((VerdictKind::Waiting, reason, Some(next.at)));
        }
        if let Some((status, reason, until)) = withheld(target, &decision.state, recorded, self.now) {
            let kind = if status == Status::Held { VerdictKind::Held } else { VerdictKind::Waiting };
            return Some((kind, reason, until));
        }
        let reason = match (&self.open.running, recorded.attempts_counted()) {
            (Some(_), _) => "its deployment is running".to_owned(),
            (None, 0) => "its deployment is planned; the next poll starts it".to_owned(),
            (None, attempts) => format!(
                "its deployment failed (attempt {attempts}), and the next poll retries it; why: tagship status {}",
                target.id
            ),
        };
        Some((VerdictKind::Next, reason, None))
    }

    /// The tag that the decision is about.
    fn concerned(&self, tag: &Tag) -> Option<Said> {
        let decision = self.decision;
        if decision.concerns.as_ref() != Some(tag)
            || decision.blocked.iter().any(|(blocked, _)| blocked == tag)
        {
            return None;
        }
        let kind = match decision.status {
            Status::Pending | Status::Deploying => {
                return Some((VerdictKind::Next, "the next poll deploys it".to_owned(), None));
            }
            Status::Available => VerdictKind::Available,
            Status::Held => VerdictKind::Held,
            Status::Waiting => VerdictKind::Waiting,
            Status::Baseline => VerdictKind::Baseline,
            Status::Older if self.deployed(tag).is_none() => VerdictKind::PassedOver,
            _ => return None,
        };
        Some((kind, decision.reason.clone(), decision.until))
    }

    fn blocked(&self, tag: &Tag) -> Option<Said> {
        let (_, waits) = self.decision.blocked.iter().find(|(blocked, _)| blocked == tag)?;
        let kind = match waits.by {
            Blocked::NotChecked => VerdictKind::NotChecked,
            Blocked::SameImage => VerdictKind::PassedBy,
            Blocked::Distance | Blocked::Tie | Blocked::ForNow => VerdictKind::Waiting,
        };
        Some((kind, waits.reason.clone(), waits.until))
    }

    fn deployed(&self, tag: &Tag) -> Option<Said> {
        let deployed = self.decision.state.deployed.as_ref().filter(|deployed| deployed.tag == *tag)?;
        Some((VerdictKind::Deployed, format!("the stage has run it since {:.0}", deployed.at), None))
    }

    fn by_its_place(&self, candidate: &Candidate, above: Option<&Candidate>) -> Said {
        let tag = &candidate.listed.tag;
        let passed_by = || (VerdictKind::PassedBy, "a newer tag is deployed first".to_owned(), None);
        let Some(above) = above else {
            return passed_by();
        };
        let given = &above.listed.tag;
        if given == tag {
            let dead = self.open.dead.as_ref().filter(|dead| dead.tag == *tag);
            let reason = dead.map_or_else(
                || "the newest that was given to the stage (or found by its first poll)".to_owned(),
                |_| {
                    format!(
                        "its deployment failed, and tagship gave up; to retry: tagship retry {}",
                        self.target.id
                    )
                },
            );
            return (VerdictKind::Given, reason, None);
        }
        let passed_over = |reason: String| (VerdictKind::PassedOver, reason, None);
        let reset_at = self.decision.state.reset_at;
        match candidate.key.cmp(&above.key) {
            Ordering::Less if self.decision.status == Status::Baseline => {
                passed_over(format!("older than {given}, where the next poll begins"))
            }
            Ordering::Less => passed_over(format!("older than {given}, which the stage was given")),
            Ordering::Equal => passed_over(format!("the same as {given} in this order")),
            Ordering::Greater
                if self.target.policy.order() == Order::Newest
                    && super::rule::was_given(self.facts, reset_at, tag) == Ok(true) =>
            {
                passed_over("pushed again, and given to the stage before".to_owned())
            }
            Ordering::Greater => passed_by(),
        }
    }
}

/// A tag that is not in the list. `given_at`: when the stage was given it last.
pub(crate) fn unlisted(target: &Target, tag: &Tag, given_at: Option<Timestamp>) -> TagVerdict {
    let listed = ListedTag::named(tag.clone());
    let reason = match (given_at, target.policy.judge(&listed)) {
        (Some(at), _) => {
            format!("given to the stage at {at:.0}, and no longer listed: was it deleted?")
        }
        (None, Verdict::Candidate(_)) => {
            format!("not in the list of {}; the rule would allow it", target.image)
        }
        (None, verdict) => {
            format!("not in the list of {}; the rule would not allow it either: {verdict}", target.image)
        }
    };
    TagVerdict { listed, key: None, kind: VerdictKind::NotListed, reason, until: None }
}

fn refused(listed: &ListedTag, verdict: &Verdict) -> TagVerdict {
    let kind = match verdict {
        Verdict::Candidate(_) | Verdict::NotMatched | Verdict::Artifact | Verdict::RegexMismatch => {
            VerdictKind::NotMatched
        }
        Verdict::Excluded(_) => VerdictKind::Excluded,
        Verdict::NotParsed(_) => VerdictKind::NotParsed,
        Verdict::OutOfRange => VerdictKind::OutOfRange,
        Verdict::Prerelease => VerdictKind::Prerelease,
    };
    TagVerdict { listed: listed.clone(), key: None, kind, reason: verdict.to_string(), until: None }
}
