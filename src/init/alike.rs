//! Groups images with similar tags into one table of the configuration.

use std::collections::HashSet;

use super::{Draft, Project};
use crate::images::project_name;
use crate::policy::ProposedStage;
use crate::reference::Repository;
use crate::target::Name;

/// The images of an owner that have the same stages.
pub(super) struct Alike<'d> {
    /// The name of the table; no project has it.
    pub(super) name: String,
    pub(super) owner: &'d str,
    /// At least two.
    pub(super) images: Vec<&'d Project>,
    /// Images without a fitting rule, which the table excludes.
    pub(super) exclude: Vec<&'d Repository>,
}

impl<'d> Alike<'d> {
    /// None: the draft does not have all images of an owner, or most of them have no common stages.
    pub(super) fn of(draft: &'d Draft) -> Option<Alike<'d>> {
        let owner = draft.all_of.as_deref()?;
        let (fitting, without): (Vec<&Project>, Vec<&Project>) =
            draft.projects.iter().partition(|project| !project.proposal.stages.is_empty());
        // Only one of several images with the same project name can be in the table.
        let mut taken: HashSet<String> = HashSet::new();
        let can_be_named = |project: &&&Project| {
            let name = project_name(&project.image);
            Name::new(&name).is_ok() && taken.insert(name)
        };
        let candidates: Vec<&Project> = fitting.iter().filter(can_be_named).copied().collect();
        let of_rule = |rule: &Project| -> Vec<&'d Project> {
            candidates.iter().filter(|project| is_alike(project, rule)).copied().collect()
        };
        let images = candidates.iter().map(|project| of_rule(project)).rev().max_by_key(Vec::len)?;
        if images.len() < 2 || images.len() * 2 <= fitting.len() {
            return None;
        }
        let is_free = |name: &String| Name::new(name).is_ok() && !taken.contains(name);
        let numbered = (1..).map(|number| format!("all-{number}"));
        let name = [owner.to_owned(), "all".to_owned()].into_iter().chain(numbered).find(is_free)?;
        let exclude = without.into_iter().map(|project| &project.image).collect();
        Some(Alike { name, owner, images, exclude })
    }

    pub(super) fn has(&self, image: &Repository) -> bool {
        self.images.iter().any(|project| project.image == *image)
    }

    /// The names of the images and of the table, which other projects cannot use.
    pub(super) fn names(&self) -> Vec<String> {
        let own = self.images.iter().map(|project| project_name(&project.image));
        own.chain([self.name.clone()]).collect()
    }

    pub(super) fn stages(&self) -> &'d [ProposedStage] {
        self.images.first().map_or(&[], |project| &project.proposal.stages)
    }
}

/// Whether the proposals have the same stages with the same rules.
fn is_alike(one: &Project, other: &Project) -> bool {
    let (one, other) = (&one.proposal.stages, &other.proposal.stages);
    let same = |(one, other): (&ProposedStage, &ProposedStage)| {
        let rule = |stage: &ProposedStage| ProposedStage {
            count: 0,
            examples: Vec::new(),
            reason: "",
            ..stage.clone()
        };
        rule(one) == rule(other)
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}
