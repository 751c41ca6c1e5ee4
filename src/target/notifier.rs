//! Who is told of what.

use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantNames};

use super::TargetId;
use super::filter::TargetPattern;
use super::step::Step;

/// One entry of `[[notify]]`.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// By which the state knows it again: where it sends to, as the file writes it.
    pub(crate) receiver: String,
    pub(crate) on: Vec<Event>,
    /// None: every target.
    pub(crate) targets: Option<Vec<TargetPattern>>,
    /// Checks that fail are told when they have failed for so long.
    pub(crate) after: Duration,
    pub(crate) step: Step,
}

/// What can be told of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Event {
    /// A deployment failed for the first time; it is tried again.
    Failed,
    /// A deployment was given up.
    Dead,
    /// A deployment was given up, and the stage runs what it ran before.
    RolledBack,
    /// What failed is well again.
    Recovered,
    /// A deployment succeeded, or the stage had the tag already.
    Deployed,
    /// There is a tag that somebody is to deploy.
    Available,
    /// The registry could not be asked for some time.
    Unknown,
}

impl Event {
    /// As `on` spells it.
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Notifier {
    pub(crate) fn wants(&self, event: Event, target: &TargetId) -> bool {
        let is_meant = |patterns: &Vec<TargetPattern>| patterns.iter().any(|pattern| pattern.matches(target));
        self.on.contains(&event) && self.targets.as_ref().is_none_or(is_meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Name;
    use crate::target::step::CommandStep;

    #[test]
    fn a_notifier_wants_its_events_of_its_targets() {
        let step =
            CommandStep { argv: Vec::new(), env: Vec::new(), dir: "/".into(), timeout: Duration::ZERO };
        let mut notifier = Notifier {
            receiver: String::new(),
            on: vec![Event::Dead],
            targets: Some(vec![TargetPattern::new("*/prod")]),
            after: Duration::ZERO,
            step: Step::Command(step),
        };
        let id = |stage| TargetId { project: Name::new("shop").unwrap(), stage: Name::new(stage).unwrap() };
        assert!(notifier.wants(Event::Dead, &id("prod")));
        assert!(!notifier.wants(Event::Failed, &id("prod")));
        assert!(!notifier.wants(Event::Dead, &id("dev")));
        notifier.targets = None;
        assert!(notifier.wants(Event::Dead, &id("dev")));
    }
}
