//! Why each tag of a repository was, or was not, taken: the rules of deciding, told tag by tag.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::fact::{Facts, Undecided};
use super::gate::Gatekeeper;
use super::rule::{stopped, was_given};
use super::state::{OpenDeployments, PollState};
use crate::policy::{Candidate, Order, Verdict};
use crate::reference::{ListedTag, Listing, Tag};
use crate::target::Target;

/// How many candidates newer than high-water are led through the gates: as many as are remembered.
const GATED: usize = 50;

/// A tag, and the one reason for what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explained {
    pub(crate) listed: ListedTag,
    /// Its sort key, where it is a candidate.
    pub(crate) key: Option<String>,
    pub(crate) taken: Taken,
    pub(crate) reason: String,
    /// When the reason can end, where that can be known.
    pub(crate) until: Option<Timestamp>,
}

/// What became of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// What the stage runs.
    Deployed,
    /// High-water, and not what the stage runs.
    Given,
    /// The next poll deploys it.
    Next,
    Available,
    Held,
    Waiting,
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

impl Taken {
    pub(crate) const ALL: [Taken; 13] = [
        Taken::Deployed,
        Taken::Given,
        Taken::Next,
        Taken::Available,
        Taken::Held,
        Taken::Waiting,
        Taken::PassedBy,
        Taken::PassedOver,
        Taken::NotMatched,
        Taken::Excluded,
        Taken::NotParsed,
        Taken::OutOfRange,
        Taken::Prerelease,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Taken::Deployed => "deployed",
            Taken::Given => "given",
            Taken::Next => "next",
            Taken::Available => "available",
            Taken::Held => "held",
            Taken::Waiting => "waiting",
            Taken::PassedBy => "passed_by",
            Taken::PassedOver => "passed_over",
            Taken::NotMatched => "not_matched",
            Taken::Excluded => "excluded",
            Taken::NotParsed => "not_parsed",
            Taken::OutOfRange => "out_of_range",
            Taken::Prerelease => "prerelease",
            Taken::NotListed => "not_listed",
        }
    }

    /// Whether someone who asks about the stage wants to see it first.
    pub(crate) fn is_interesting(self) -> bool {
        matches!(
            self,
            Taken::Deployed
                | Taken::Given
                | Taken::Next
                | Taken::Available
                | Taken::Held
                | Taken::Waiting
                | Taken::PassedBy
        )
    }
}

/// Explains every tag of the listing: candidates newest first, then the others by name.
///
/// # Errors
/// What is to be asked before this can be told, or that it could not be asked.
pub(crate) fn explain(
    target: &Target,
    listing: &Listing,
    state: &PollState,
    open: &OpenDeployments,
    facts: &Facts,
    now: Timestamp,
) -> Result<Vec<Explained>, Undecided> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut others: Vec<Explained> = Vec::new();
    for listed in &listing.tags {
        match target.policy.judge(listed) {
            Verdict::Candidate(key) => candidates.push(Candidate { listed: listed.clone(), key }),
            verdict => others.push(refused(listed, &verdict)),
        }
    }
    candidates.sort_by(|a, b| b.key.cmp(&a.key).then_with(|| b.listed.tag.cmp(&a.listed.tag)));
    others.sort_by(|a, b| a.listed.tag.cmp(&b.listed.tag));
    let high_water = state.high_water.as_ref().and_then(|listed| target.policy.candidate(listed));
    let gatekeeper = Gatekeeper { target, facts, state, high_water: high_water.as_ref(), now };
    let mut explained = Vec::with_capacity(listing.tags.len());
    let mut next_is_known = false;
    for (place, candidate) in candidates.iter().enumerate() {
        let (taken, reason, until) =
            match standing(target, candidate, high_water.as_ref(), state, open, facts)? {
                Standing::Settled(taken, reason) => (taken, reason, None),
                Standing::Newer if place >= GATED => {
                    (Taken::PassedBy, "newer ones go first".to_owned(), None)
                }
                Standing::Newer => match gatekeeper.stops(candidate)? {
                    Some(waits) => (Taken::Waiting, waits.reason, waits.until),
                    None if next_is_known => (Taken::PassedBy, "a newer one goes first".to_owned(), None),
                    None => {
                        next_is_known = true;
                        next(target, state, now)
                    }
                },
            };
        let key = Some(candidate.key.to_string());
        explained.push(Explained { listed: candidate.listed.clone(), key, taken, reason, until });
    }
    explained.extend(others);
    Ok(explained)
}

/// A tag that is not in the list. `given_at`: when the stage was given it last.
pub(crate) fn explain_unlisted(target: &Target, tag: &Tag, given_at: Option<Timestamp>) -> Explained {
    let listed = ListedTag::named(tag.clone());
    let reason = match (given_at, target.policy.judge(&listed)) {
        (Some(at), _) => {
            format!("given to the stage at {at:.0}, and not in the list any more: was it deleted?")
        }
        (None, Verdict::Candidate(_)) => {
            format!("not in the list of {}; the rule would take it", target.image)
        }
        (None, verdict) => {
            format!("not in the list of {}; nor would the rule take it: {verdict}", target.image)
        }
    };
    Explained { listed, key: None, taken: Taken::NotListed, reason, until: None }
}

enum Standing {
    Settled(Taken, String),
    Newer,
}

/// Where a candidate stands to what the stage runs and was given.
fn standing(
    target: &Target,
    candidate: &Candidate,
    high_water: Option<&Candidate>,
    state: &PollState,
    open: &OpenDeployments,
    facts: &Facts,
) -> Result<Standing, Undecided> {
    let tag = &candidate.listed.tag;
    let settled = |taken, reason: String| Ok(Standing::Settled(taken, reason));
    if open.running.as_ref().is_some_and(|running| running.tag == *tag) {
        return settled(Taken::Next, "its deployment was started, and is not over".to_owned());
    }
    if let Some(pending) = open.pending.as_ref().filter(|pending| pending.tag == *tag) {
        let reason = match pending.attempts {
            0 => "its deployment is recorded, and the next poll starts it".to_owned(),
            attempts => format!(
                "its deployment failed (attempt {attempts}), and the next poll tries again; why: tagship status {}",
                target.id
            ),
        };
        return settled(Taken::Next, reason);
    }
    if let Some(deployed) = state.deployed.as_ref().filter(|deployed| deployed.tag == *tag) {
        return settled(Taken::Deployed, format!("what the stage runs since {:.0}", deployed.at));
    }
    let Some(high_water) = high_water else {
        return Ok(Standing::Newer);
    };
    let given = &high_water.listed.tag;
    if given == tag {
        return settled(
            Taken::Given,
            "the newest that was given to the stage (or found by its first poll)".to_owned(),
        );
    }
    match candidate.key.cmp(&high_water.key) {
        Ordering::Less => {
            settled(Taken::PassedOver, format!("older than {given}, which the stage was given"))
        }
        Ordering::Equal => settled(Taken::PassedOver, format!("the same as {given} in this order")),
        Ordering::Greater => {
            if target.policy.order() == Order::Newest && was_given(facts, state.reset_at, tag)? {
                return settled(Taken::PassedOver, "pushed again, and given to the stage before".to_owned());
            }
            Ok(Standing::Newer)
        }
    }
}

/// The candidate that a poll would take.
fn next(target: &Target, state: &PollState, now: Timestamp) -> (Taken, String, Option<Timestamp>) {
    if !target.auto_deploy {
        return (Taken::Available, "auto_deploy is off".to_owned(), None);
    }
    match stopped(target, state, now) {
        Some((super::Status::Held, reason, until)) => (Taken::Held, reason, until),
        Some((_, reason, until)) => (Taken::Waiting, reason, until),
        None => (Taken::Next, "the next poll deploys it".to_owned(), None),
    }
}

fn refused(listed: &ListedTag, verdict: &Verdict) -> Explained {
    let taken = match verdict {
        Verdict::Candidate(_) | Verdict::NotMatched | Verdict::RegexMismatch => Taken::NotMatched,
        Verdict::Excluded(_) => Taken::Excluded,
        Verdict::NotParsed(_) => Taken::NotParsed,
        Verdict::OutOfRange => Taken::OutOfRange,
        Verdict::Prerelease => Taken::Prerelease,
    };
    Explained { listed: listed.clone(), key: None, taken, reason: verdict.to_string(), until: None }
}
