//! The verdict of every tag, from the same decision that a poll acts on.

use std::cmp::Ordering;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use strum::IntoStaticStr;

use super::fact::Facts;
use super::recheck::withheld;
use super::state::OpenDeployments;
use super::status::Status;
use super::{Decision, gate::BlockKind};
use crate::policy::{CANDIDATES_KEPT, Candidate, Order, Verdict};
use crate::reference::{ListedTag, Listing, Tag};
use crate::target::Target;

/// The verdict of a tag and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagVerdict {
    pub(crate) listed: ListedTag,
    /// Its sort key, if it is a candidate.
    pub(crate) key: Option<String>,
    pub(crate) kind: VerdictKind,
    pub(crate) reason: String,
    /// When the reason can end, if known.
    pub(crate) until: Option<Timestamp>,
}

/// A verdict, as outputs spell it: `not_matched`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum VerdictKind {
    /// The stage runs it.
    Deployed,
    /// The newest tag ever deployed, marked or a baseline; the stage runs another one.
    Given,
    /// The next poll deploys it.
    Next,
    /// The next poll takes it as its baseline, and deploys only newer tags.
    Baseline,
    Available,
    Held,
    Waiting,
    /// Its verdict depends on a fact that was not checked.
    NotChecked,
    /// A newer tag is deployed instead.
    #[serde(rename = "passed_by")]
    #[strum(serialize = "passed_by")]
    NewerFirst,
    /// Not newer than high-water.
    #[serde(rename = "passed_over")]
    #[strum(serialize = "passed_over")]
    NotNewer,
    NotMatched,
    Excluded,
    NotParsed,
    OutOfRange,
    Prerelease,
    /// The registry does not list it.
    NotListed,
}

impl VerdictKind {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether `tags` lists it before the others.
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
            | VerdictKind::NewerFirst => true,
            VerdictKind::NotNewer
            | VerdictKind::NotMatched
            | VerdictKind::Excluded
            | VerdictKind::NotParsed
            | VerdictKind::OutOfRange
            | VerdictKind::Prerelease
            | VerdictKind::NotListed => false,
        }
    }
}

/// A decision with what it was based on.
pub(crate) struct Decided<'a> {
    pub(crate) target: &'a Target,
    pub(crate) decision: &'a Decision,
    /// The open deployments of the state that the decision is based on.
    pub(crate) open: &'a OpenDeployments,
    /// The facts that the decision is based on.
    pub(crate) facts: &'a dyn Facts,
    pub(crate) now: Timestamp,
}

/// A verdict without its tag: kind, reason, and when the reason can end.
type KindAndReason = (VerdictKind, String, Option<Timestamp>);

impl Decided<'_> {
    /// The verdict of every listed tag: candidates newest first, then the others by name.
    pub(crate) fn verdicts(&self, listing: &Listing) -> Vec<TagVerdict> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut verdicts = Vec::with_capacity(listing.tags.len());
        let mut others = Vec::new();
        for listed in &listing.tags {
            match self.target.policy.judge(listed) {
                Verdict::Candidate(key) => candidates.push(Candidate { listed: listed.clone(), key }),
                verdict => {
                    let refused = refused(listed, &verdict);
                    // Deployed manually, or before an edit of the rule.
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
            let (kind, reason, until) = self.kind_of(&candidate, above.as_ref());
            let key = Some(candidate.key.to_string());
            TagVerdict { listed: candidate.listed, key, kind, reason, until }
        }));
        verdicts.extend(others);
        verdicts
    }

    /// `above`: what a candidate must be newer than.
    fn kind_of(&self, candidate: &Candidate, above: Option<&Candidate>) -> KindAndReason {
        let tag = &candidate.listed.tag;
        self.open_deployment(tag)
            .or_else(|| self.concerned(tag))
            .or_else(|| self.blocked(tag))
            .or_else(|| self.deployed(tag))
            .unwrap_or_else(|| self.by_its_place(candidate, above))
    }

    /// A tag with an open deployment.
    fn open_deployment(&self, tag: &Tag) -> Option<KindAndReason> {
        let (target, decision) = (self.target, self.decision);
        if decision.deploy.is_some() {
            // The new deployment supersedes the open one.
            return None;
        }
        let open = decision.left_open(self.open);
        let next = open.running.as_ref().or(open.pending.as_ref());
        let recorded = next.filter(|deployment| deployment.tag == *tag)?;
        if let Some(next) =
            recorded.next_attempt.filter(|_| open.running.is_none() && !recorded.is_due(self.now))
        {
            let reason = format!(
                "its deployment failed ({}); why: tagship status {}",
                recorded.last_attempt(&target.retry),
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
    fn concerned(&self, tag: &Tag) -> Option<KindAndReason> {
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
            Status::Behind => VerdictKind::Given,
            Status::Older if self.deployed(tag).is_none() => VerdictKind::NotNewer,
            _ => return None,
        };
        Some((kind, decision.reason.clone(), decision.until))
    }

    fn blocked(&self, tag: &Tag) -> Option<KindAndReason> {
        let (_, block) = self.decision.blocked.iter().find(|(blocked, _)| blocked == tag)?;
        let kind = match block.kind {
            BlockKind::NotChecked => VerdictKind::NotChecked,
            BlockKind::SameImage => VerdictKind::NewerFirst,
            BlockKind::Distance | BlockKind::Tie | BlockKind::ForNow => VerdictKind::Waiting,
        };
        Some((kind, block.reason.clone(), block.until))
    }

    fn deployed(&self, tag: &Tag) -> Option<KindAndReason> {
        let deployed = self.decision.state.deployed.as_ref().filter(|deployed| deployed.tag == *tag)?;
        Some((VerdictKind::Deployed, format!("the stage has run it since {:.0}", deployed.at), None))
    }

    fn by_its_place(&self, candidate: &Candidate, above: Option<&Candidate>) -> KindAndReason {
        let tag = &candidate.listed.tag;
        let newer_first = || {
            // If all candidates wait, the tags beyond them were not checked.
            let reason = match self.decision.blocked.len() >= CANDIDATES_KEPT {
                true => format!(
                    "only the newest {CANDIDATES_KEPT} tags are checked, and they wait; to deploy it: tagship deploy {} {tag}",
                    self.target.id
                ),
                false => "a newer tag is deployed first".to_owned(),
            };
            (VerdictKind::NewerFirst, reason, None)
        };
        let Some(above) = above else {
            return newer_first();
        };
        let given = &above.listed.tag;
        if given == tag {
            let dead = self.open.dead.as_ref().filter(|dead| dead.tag == *tag);
            let reason = dead.map_or_else(
                || "the newest tag deployed to the stage, or found by its first poll".to_owned(),
                |_| {
                    format!(
                        "its deployment failed, and tagship gave up; to retry: tagship retry {}",
                        self.target.id
                    )
                },
            );
            return (VerdictKind::Given, reason, None);
        }
        let not_newer = |reason: String| (VerdictKind::NotNewer, reason, None);
        match candidate.key.cmp(&above.key) {
            Ordering::Less if self.decision.status == Status::Baseline => {
                not_newer(format!("older than {given}, the baseline of the next poll"))
            }
            Ordering::Less => not_newer(format!("older than {given}, the newest tag so far")),
            Ordering::Equal => not_newer(format!("equal to {given} in this order")),
            Ordering::Greater
                if self.target.policy.order() == Order::Newest && self.facts.was_given(tag) == Ok(true) =>
            {
                not_newer("pushed again, but deployed before".to_owned())
            }
            Ordering::Greater => newer_first(),
        }
    }
}

/// The verdict of a tag that is not listed. `given_at`: when it was last deployed to the stage.
pub(crate) fn unlisted(target: &Target, tag: &Tag, given_at: Option<Timestamp>) -> TagVerdict {
    let listed = ListedTag::named(tag.clone());
    let reason = match (given_at, target.policy.judge(&listed)) {
        (Some(at), _) => {
            format!("deployed at {at:.0}, but no longer listed; was it deleted?")
        }
        (None, Verdict::Candidate(_)) => {
            format!("not listed in {}; the rule would match it", target.image)
        }
        (None, verdict) => {
            format!("not listed in {}; the rule would not match it either: {verdict}", target.image)
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
