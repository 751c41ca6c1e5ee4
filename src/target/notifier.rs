//! Which events a receiver is notified of.

use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantNames};

use super::TargetId;
use super::filter::TargetPattern;
use super::step::Step;

/// One entry of `[[notify]]`.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// Identifies it in the state: its url or command as written in the file, with a number if several are
    /// the same.
    pub(crate) receiver: String,
    pub(crate) on: Vec<NotifyEvent>,
    /// None: every target.
    pub(crate) targets: Option<Vec<TargetPattern>>,
    /// An outage is reported when it has lasted this long.
    pub(crate) after: Duration,
    /// Whether a run sends all its events in one message.
    pub(crate) batch: bool,
    pub(crate) step: Step,
}

/// An event of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum NotifyEvent {
    /// A deployment failed for the first time; it will be retried.
    Failed,
    /// tagship gave up on a deployment.
    Dead,
    /// tagship gave up on a deployment, and deployed the previous tag again.
    RolledBack,
    /// A deployment succeeded, or the registry answered, after failures.
    Recovered,
    /// A deployment succeeded, or the stage already ran the tag.
    Deployed,
    /// A new tag waits for a manual deployment.
    Available,
    /// Polls have failed for some time.
    Unknown,
    /// An image is a new project of a table with `images`.
    Discovered,
}

impl NotifyEvent {
    /// As `on` spells it.
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Notifier {
    pub(crate) fn wants(&self, event: NotifyEvent, target: &TargetId) -> bool {
        self.on.contains(&event) && self.reports(target)
    }

    /// Whether it reports events of this target.
    pub(crate) fn reports(&self, target: &TargetId) -> bool {
        let matches = |patterns: &Vec<TargetPattern>| patterns.iter().any(|pattern| pattern.matches(target));
        self.targets.as_ref().is_none_or(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Name;
    use crate::target::step::CommandStep;

    #[test]
    fn notifier_wants_its_events_of_its_targets() {
        let step =
            CommandStep { argv: Vec::new(), env: Vec::new(), dir: "/".into(), timeout: Duration::ZERO };
        let mut notifier = Notifier {
            receiver: String::new(),
            on: vec![NotifyEvent::Dead],
            targets: Some(vec![TargetPattern::new("*/prod")]),
            after: Duration::ZERO,
            batch: false,
            step: Step::Command(step),
        };
        let id = |stage| TargetId { project: Name::new("shop").unwrap(), stage: Name::new(stage).unwrap() };
        assert!(notifier.wants(NotifyEvent::Dead, &id("prod")));
        assert!(!notifier.wants(NotifyEvent::Failed, &id("prod")));
        assert!(!notifier.wants(NotifyEvent::Dead, &id("dev")));
        notifier.targets = None;
        assert!(notifier.wants(NotifyEvent::Dead, &id("dev")));
    }
}
