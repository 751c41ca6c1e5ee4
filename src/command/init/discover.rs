//! Lists images of a registry, and proposes stages that fit their tags.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use super::file::Output;
use super::registry::Chosen;
use super::{invalid, tried};
use crate::cli;
use crate::init::{Project, RegistryDraft};
use crate::policy::{Proposal, propose};
use crate::reference::Repository;
use crate::registry::{self, Registry, RegistryError, Traffic};
use crate::report::{Console, count, escape_control};
use crate::secret::Secrets;
use crate::stop::{Cutoff, Stop};

/// A registry that is used before a configuration exists.
pub(super) struct Opened {
    registry: Box<dyn Registry>,
    /// The token, after it was used.
    pub(super) secrets: Arc<Secrets>,
}

/// The result for a registry.
pub(super) struct Proposed {
    pub(super) projects: Vec<Project>,
    /// The owner, if these are all of its images.
    pub(super) all_of: Option<String>,
}

/// The named images, or all images of the owner, with a proposal for each.
///
/// # Errors
/// The registry does not answer, or no tags suggest a rule.
pub(super) fn projects(
    chosen: &Chosen,
    opened: &Opened,
    arguments: &cli::Init,
    owner: Option<String>,
    images: Vec<Repository>,
    console: &Console,
) -> anyhow::Result<Proposed> {
    let registry = opened.registry.as_ref();
    let (images, all_of) = match (images.as_slice(), &owner) {
        ([], Some(name)) => (images_of(name, registry)?, owner),
        _ => (images, None),
    };
    let mut projects = Vec::new();
    for image in images {
        projects.push(match registry.list_tags(&image) {
            Ok(listing) => {
                let proposal = propose(listing.tags.iter().map(|listed| &listed.tag));
                Project { image, proposal, fault: None }
            }
            Err(error @ RegistryError::OutOfTime(_)) => return Err(error.into()),
            Err(error) => {
                // The text also becomes a comment in the file.
                let fault = escape_control(&opened.secrets.mask(&error.to_string()));
                console.warning(&format!("{image}: {fault}"));
                Project { image, proposal: Proposal::default(), fault: Some(fault) }
            }
        });
    }
    if projects.iter().all(|project| project.proposal.stages.is_empty()) {
        // The address without an owner at its end.
        let address = chosen.registry.address.as_deref().or(arguments.from.as_deref()).unwrap_or_default();
        bail!(
            "no image there has tags that suggest a rule; to give the rules yourself: tagship init --registry {address} --image IMAGE --stage NAME=GLOB"
        );
    }
    Ok(Proposed { projects, all_of })
}

/// As [`projects`], between the questions on a terminal. None: the images cannot be listed, and a warning says why.
pub(super) fn offered(
    chosen: &Chosen,
    place: &Output,
    arguments: &cli::Init,
    owner: Option<String>,
    images: &[Repository],
    console: &Console,
) -> Option<Proposed> {
    // A signal ends the process by itself, as it does at the questions.
    let opened = match open(&chosen.registry, place, &Stop::default()) {
        Ok(opened) => opened,
        Err(error) => {
            console.warning(&format!("{error:#}"));
            return None;
        }
    };
    // A server's error may repeat a credential.
    let console = console.masking(Arc::clone(&opened.secrets));
    match projects(chosen, &opened, arguments, owner, images.to_vec(), &console) {
        Ok(proposed) => {
            console.message(&format!("found {}", count(proposed.projects.len(), "image")));
            Some(proposed)
        }
        Err(error) => {
            console.warning(&format!("{error:#}"));
            None
        }
    }
}

fn images_of(owner: &str, registry: &dyn Registry) -> anyhow::Result<Vec<Repository>> {
    let images = registry.images(owner).map_err(|error| {
        let is_of_list = !matches!(error, RegistryError::Unauthorized(_) | RegistryError::Secret(_));
        let help = if is_of_list { format!("; to name them: --image {owner}/NAME") } else { String::new() };
        anyhow!("cannot list the images of {owner}: {error}{help}")
    })?;
    if images.is_empty() {
        bail!("{owner} has no images there, or the token has no access to them");
    }
    Ok(images)
}

/// Opens the registry as the configuration will describe it. Requests end after the default `max_runtime`.
///
/// # Errors
/// The configuration would not be valid.
pub(super) fn open(described: &RegistryDraft, place: &Output, stop: &Stop) -> anyhow::Result<Opened> {
    let config = tried(place, described, &[], &[], None).map_err(invalid)?;
    let cutoff = Cutoff::after(stop, config.settings.max_runtime);
    let secrets = Arc::new(Secrets::new(&config).until(cutoff.clone()));
    let registry = config.registries.values().next().context("the draft has a registry")?;
    let registry = registry::open(registry, Arc::clone(&secrets), Traffic::until(cutoff));
    Ok(Opened { registry, secrets })
}
