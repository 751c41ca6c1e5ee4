//! A target is one project/stage: where its image comes from, which tags match, and how it is deployed. Plain
//! data, built by `config`.

pub(crate) mod filter;
pub(crate) mod gate;
pub(crate) mod inner;
pub(crate) mod lint;
pub(crate) mod notifier;
pub(crate) mod path;
pub(crate) mod probe;
pub(crate) mod retry;
pub(crate) mod shard;
pub(crate) mod step;
pub(crate) mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use strum::{EnumString, VariantNames};

use crate::policy::Policy;
use crate::reference::ImageRef;
use step::Step;

/// One project/stage with its whole rule.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) id: TargetId,
    /// The registry's name in the configuration.
    pub(crate) registry: Name,
    pub(crate) image: ImageRef,
    /// Shared by all targets that take it from `[settings.stage]`; so are the steps.
    pub(crate) policy: Arc<Policy>,
    /// False: `poll` skips this stage.
    pub(crate) poll: bool,
    /// False: a new tag is reported as available and not deployed.
    pub(crate) auto_deploy: bool,
    pub(crate) first_poll: FirstPoll,
    pub(crate) on_failure: OnFailure,
    /// Whether an older tag is deployed if the high-water tag is deleted.
    pub(crate) allow_downgrade: bool,
    /// Whether a tag is mutable: deployed again when its digest changes.
    pub(crate) digest: bool,
    pub(crate) gates: gate::Gates,
    /// How often the target is due, for `poll --due`.
    pub(crate) interval: Duration,
    /// For the documented JSON body. (Templates contain the values they use.)
    pub(crate) vars: Vars,
    /// At least one, in order.
    pub(crate) deploy: Arc<[Step]>,
    pub(crate) retry: retry::Retry,
    pub(crate) running: Option<probe::Probe>,
}

/// Variables: one map of the project, shared by its stages, and the stage's own. None: the value is a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vars {
    pub(crate) shared: Arc<BTreeMap<String, Option<String>>>,
    /// They add to and override the shared ones.
    pub(crate) own: BTreeMap<String, Option<String>>,
}

impl Vars {
    /// Names and values of the variables that are plain text.
    pub(crate) fn plain(&self) -> impl Iterator<Item = (&str, &str)> {
        let shared = self.shared.iter().filter(|(name, _)| !self.own.contains_key(*name));
        shared.chain(&self.own).filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }
}

impl Target {
    /// Every step of the target: of deployments, of gates, and the probe.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        let probe = self.running.iter().map(|running| &running.probe);
        self.deploy.iter().chain(&self.gates.steps).chain(probe)
    }

    /// The target without the gates that open with time, by another stage, or by a person: window, `after`,
    /// `auto_deploy`, and `min_age` (a minimum of zero, so that push times are still checked).
    pub(crate) fn at_once(&self) -> Target {
        let mut target = self.clone();
        target.auto_deploy = true;
        target.gates.windows.clear();
        target.gates.after = None;
        target.gates.min_age = target.gates.min_age.map(|_| Duration::ZERO);
        target
    }
}

/// What the very first poll does with the newest tag it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum FirstPoll {
    /// Record it, and deploy only newer tags.
    Baseline,
    Deploy,
}

/// What follows after tagship gives up a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum OnFailure {
    /// The stage is left as it is.
    Keep,
    /// The last successful deployment is deployed again.
    Previous,
}

/// A target's name: `shop/dev`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetId {
    pub(crate) project: Name,
    pub(crate) stage: Name,
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_some() || f.precision().is_some() {
            return f.pad(&format!("{}/{}", self.project, self.stage));
        }
        write!(f, "{}/{}", self.project, self.stage)
    }
}

/// The name of a project, stage, registry, variable or secret: up to 64 letters, digits and `.` `_` `-`,
/// beginning with a letter, a digit or `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Arc<str>);

impl Name {
    /// # Errors
    /// The text is not a valid name.
    pub(crate) fn new(text: &str) -> Result<Name, InvalidName> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        let valid = bytes.next().is_some_and(word)
            && text.len() <= 64
            && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if valid { Ok(Name(text.into())) } else { Err(InvalidName(text.to_owned())) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Text that is not a valid [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a valid name: up to 64 letters, digits and . _ -, beginning with a letter, a digit or _"
)]
pub(crate) struct InvalidName(String);

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_a_part_of_a_target_and_of_a_file_name() {
        for name in ["shop", "Shop-2", "_x", "a.b", &"a".repeat(64)] {
            assert!(Name::new(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "-x", "a/b", "a b", "a*", "ä", "a@b", &"a".repeat(65)] {
            assert!(Name::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_target_is_named_as_wide_or_as_short_as_is_wanted() {
        let name = |text| Name::new(text).unwrap();
        let id = TargetId { project: name("shop"), stage: name("dev") };
        assert_eq!(format!("{id}|{id:10}|{id:.4}"), "shop/dev|shop/dev  |shop");
    }
}
