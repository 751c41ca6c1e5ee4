//! The registries of a run, opened when a target needs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Run;
use super::facts::{Answered, ImageKey};
use crate::engine::Failure;
use crate::reference::Labels;
use crate::registry::{Limit, Registry, SharedLimit, Traffic};
use crate::store::{Store, StoreError};
use crate::target::{Name, Target};

/// The registries of a run, with their retry limits.
#[derive(Default)]
pub(super) struct Registries {
    opened: BTreeMap<Name, Box<dyn Registry>>,
    /// By the registry's address: the limit in the state, and the present limit.
    limits: BTreeMap<String, (Option<Limit>, SharedLimit)>,
    /// The labels of images, if a step uses one.
    pub(super) labels: Answered<ImageKey, Result<Labels, Failure>>,
}

impl Registries {
    /// Opens the registries of the targets.
    pub(super) fn of(
        run: &Run<'_>,
        targets: &[&Target],
        traffic: &Traffic,
    ) -> Result<Registries, StoreError> {
        let mut registries = Registries::default();
        registries.open(run, targets.iter().map(|target| &target.registry), traffic)?;
        Ok(registries)
    }

    /// Opens the registries that are not open yet.
    pub(super) fn open<'n>(
        &mut self,
        run: &'n Run<'_>,
        names: impl Iterator<Item = &'n Name>,
        traffic: &Traffic,
    ) -> Result<(), StoreError> {
        let mut known = None;
        // A notification from an earlier run may need the labels of any target.
        let uses_labels = run.config.notifiers.iter().any(|notifier| notifier.step.labels().next().is_some());
        let of_notifications = run.config.targets.iter().filter(|_| uses_labels);
        for name in names.chain(of_notifications.map(|target| &target.registry)) {
            if self.opened.contains_key(name) {
                continue;
            }
            let known = match &known {
                Some(known) => known,
                None => known.insert(run.store.limits()?),
            };
            let config = &run.config.registries[name];
            let address = config.location.to_string();
            let before = known.get(&address).copied();
            // Two names for one address share the limit.
            let new = || (before, SharedLimit::new(before));
            let limit = self.limits.entry(address).or_insert_with(new).1.clone();
            let opened = crate::registry::open(config, Arc::clone(&run.secrets), traffic.within(limit));
            self.opened.insert(name.clone(), opened);
        }
        Ok(())
    }

    /// Closes all of them; their limits stay.
    pub(super) fn close(&mut self) {
        self.opened.clear();
    }

    pub(super) fn get(&self, name: &Name) -> &dyn Registry {
        self.opened[name].as_ref()
    }

    /// Stores the retry limits that registries gave in this run.
    pub(super) fn keep_limits(&self, store: &Store) -> Result<(), StoreError> {
        for (address, (before, now)) in &self.limits {
            if let Some(limit) = now.get().filter(|limit| Some(*limit) != *before) {
                store.write(|write| write.save_limit(address, limit))?;
            }
        }
        Ok(())
    }
}
