//! Rules of a configuration that involve several tables.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use url::Url;

use super::Loader;
use crate::config::read::Table;
use crate::config::{Location, RegistryConfig, Settings, StateSetting};
use crate::policy::Order;
use crate::reference::ImageRef;
use crate::target::{FirstPoll, Name, Target};

impl Loader<'_> {
    /// `after` names a stage of the project, and no two stages wait for each other.
    pub(super) fn check_after(&self, stages: &Table<'_>, targets: &[Target]) {
        if targets.iter().all(|target| target.gates.after.is_none()) {
            return;
        }
        let known: HashSet<&str> = stages.names().collect();
        let next: HashMap<&str, &str> = targets
            .iter()
            .filter_map(|target| {
                Some((target.id.stage.as_str(), target.gates.after.as_ref()?.stage.as_str()))
            })
            .collect();
        let circles = in_circles(&next);
        for target in targets {
            let stage = target.id.stage.as_str();
            let Some(wanted) = next.get(stage) else {
                continue;
            };
            let (message, help) = if !known.contains(wanted) {
                let others = stages.names().filter(|name| *name != stage);
                (format!("unknown stage {wanted:?}"), self.found.suggest(wanted, others))
            } else if *wanted == stage {
                ("a stage cannot wait for itself".to_owned(), String::new())
            } else if circles.contains(stage) {
                let help = "remove `after` from one of these stages".to_owned();
                (format!("{stage} and {wanted} wait for each other"), help)
            } else {
                continue;
            };
            // The position of the stage's own `after`, else of the default in [settings.stage].
            if let Some(field) = stages.get(stage) {
                let own = field.any_table().and_then(|table| table.get("after"));
                own.unwrap_or(field).fault(message, help);
            }
        }
    }

    /// Reports stages that need a state for a baseline, a gate or an order by first seen, if `state = "none"`.
    pub(super) fn check_nothing_kept<'t>(
        &self,
        settings: &Settings,
        table: Option<&Table<'_>>,
        targets: impl Iterator<Item = &'t Target>,
        registries: &BTreeMap<Name, Option<RegistryConfig>>,
    ) {
        let (StateSetting::Nothing, Some(table)) = (&settings.state, table) else {
            return;
        };
        let Some(field) = table.get("state") else {
            return;
        };
        for target in targets {
            let has_times =
                registries[&target.registry].as_ref().is_none_or(RegistryConfig::may_have_push_times);
            let Some((what, help)) = needs_state(target, has_times) else {
                continue;
            };
            let message =
                format!("`none` keeps nothing between runs, and {} needs a state for {what}", target.id);
            field.fault(message, format!("write state = \"state.db\"{help}"));
        }
    }

    /// Warns of registries that no project uses, and of a URL that includes the owner of an image.
    pub(super) fn warn_of_registries<'t>(
        &self,
        registries: &BTreeMap<Name, Option<RegistryConfig>>,
        targets: impl Iterator<Item = &'t Target> + Clone,
    ) {
        if !self.found.faults.borrow().is_empty() {
            return;
        }
        let used: BTreeSet<&Name> = targets.clone().map(|target| &target.registry).collect();
        for (name, field) in self.named("registries") {
            if registries.contains_key(&name) && !used.contains(&name) {
                field.warning("no project uses this registry", "remove it");
            }
            let mut of_registry = targets.clone().filter(|target| target.registry == name);
            if let Some(Some(RegistryConfig { location: Location::Url(url), .. })) = registries.get(&name)
                && let Some(target) = of_registry.find(|target| is_of_owner(url, &target.image))
                && let Some(url_field) = field.any_table().and_then(|table| table.get("url"))
            {
                let mut root = url.clone();
                root.set_path("");
                let root = root.as_str().trim_end_matches('/');
                let image = target.image.repository.as_str();
                let message = format!("the path is also in image = {image:?}");
                url_field.warning(message, url_field.write(format!("{root:?}")));
            }
        }
    }
}

/// The stages on a cycle of `after`. `next`: the stage that each stage waits for. Visits each stage once.
fn in_circles<'s>(next: &HashMap<&'s str, &'s str>) -> HashSet<&'s str> {
    let mut circles = HashSet::new();
    // The number of the walk that visited a stage first.
    let mut visited: HashMap<&str, usize> = HashMap::new();
    for (walk, start) in next.keys().enumerate() {
        let mut stage = *start;
        while !visited.contains_key(stage) {
            visited.insert(stage, walk);
            match next.get(stage) {
                Some(following) => stage = following,
                None => break,
            }
        }
        // The walk returned to one of its own stages: a cycle begins there.
        if visited.get(stage) == Some(&walk) {
            while let Some(following) = next.get(stage)
                && circles.insert(stage)
            {
                stage = following;
            }
        }
    }
    circles
}

/// The key for which a target needs a state, and the alternative to a state. None: it needs no state.
/// `has_times`: the registry reports push times.
pub(in crate::config) fn needs_state(
    target: &Target,
    has_times: bool,
) -> Option<(&'static str, &'static str)> {
    if target.first_poll != FirstPoll::Deploy && target.running.is_none() {
        Some(("a baseline", "; or add `running` or first_poll = \"deploy\" to the stage"))
    } else if target.gates.after.is_some() {
        Some(("`after`", ""))
    } else if target.gates.min_age.is_some() && !has_times {
        Some(("`min_age` (this registry has no push times)", ""))
    } else if target.policy.order() == Order::Newest && !has_times {
        Some(("order = \"newest\" (this registry has no push times)", ""))
    } else {
        None
    }
}

/// Whether the path of a registry's URL is the beginning of an image, such as `/acme` for `acme/shop`.
fn is_of_owner(url: &Url, image: &ImageRef) -> bool {
    let path = url.path().trim_matches('/');
    let rest = image.repository.as_str().strip_prefix(path);
    !path.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
