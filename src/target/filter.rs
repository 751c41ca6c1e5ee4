//! The TARGET arguments of a command: `shop/dev`, `shop` (all its stages), or a glob.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use wildmatch::WildMatch;

use super::{Name, TargetId};

/// Targets named on the command line, narrowed to projects and stages. Nothing named: all.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetFilter {
    pub(crate) patterns: Vec<TargetPattern>,
    pub(crate) projects: Vec<String>,
    pub(crate) stages: Vec<String>,
}

/// One TARGET argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetPattern {
    text: String,
}

impl TargetPattern {
    pub(crate) fn new(text: &str) -> TargetPattern {
        TargetPattern { text: text.to_owned() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Without a slash it matches the project; with a slash, project and stage. `*` and `?` match within
    /// each.
    pub(crate) fn matches(&self, target: &TargetId) -> bool {
        let (project, stage) = self.parts();
        fits(project, target.project.as_str()) && fits(stage, target.stage.as_str())
    }

    fn parts(&self) -> (&str, &str) {
        self.text.split_once('/').unwrap_or((&self.text, "*"))
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    if is_glob(pattern) { WildMatch::new(pattern).matches(name) } else { pattern == name }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// The targets by name. There may be thousands of targets and of patterns, so matches are looked up.
#[derive(Debug)]
pub(crate) struct TargetNames<'t> {
    projects: HashMap<&'t str, HashSet<&'t str>>,
    /// Stages of projects whose names are not known yet.
    open_stages: HashSet<&'t str>,
    /// Patterns that were looked up, as many repeat one glob.
    known: RefCell<HashMap<String, bool>>,
}

impl<'t> TargetNames<'t> {
    pub(crate) fn new(targets: impl Iterator<Item = &'t TargetId>) -> TargetNames<'t> {
        let mut projects: HashMap<&str, HashSet<&str>> = HashMap::new();
        for target in targets {
            projects.entry(target.project.as_str()).or_default().insert(target.stage.as_str());
        }
        TargetNames { projects, open_stages: HashSet::new(), known: RefCell::default() }
    }

    /// With stages of projects whose names are not known yet: any name may be one of them.
    pub(crate) fn with_open_stages(self, stages: impl Iterator<Item = &'t str>) -> TargetNames<'t> {
        TargetNames { open_stages: stages.collect(), ..self }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }

    /// Whether the pattern matches a target.
    pub(crate) fn has(&self, pattern: &TargetPattern) -> bool {
        if let Some(known) = self.known.borrow().get(pattern.as_str()) {
            return *known;
        }
        let (project, stage) = pattern.parts();
        let has_stage = |stages: &HashSet<&str>| match is_glob(stage) {
            true => stages.iter().any(|name| fits(stage, name)),
            false => stages.contains(stage),
        };
        let found = has_stage(&self.open_stages)
            || match is_glob(project) {
                true => self.projects.iter().any(|(name, stages)| fits(project, name) && has_stage(stages)),
                false => self.projects.get(project).is_some_and(has_stage),
            };
        self.known.borrow_mut().insert(pattern.as_str().to_owned(), found);
        found
    }
}

impl TargetFilter {
    /// Whether it is about all targets.
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.projects.is_empty() && self.stages.is_empty()
    }

    /// Whether it can be about a stage of this name.
    pub(crate) fn names_stage(&self, stage: &Name) -> bool {
        let is_named = self.stages.is_empty() || self.stages.iter().any(|name| name == stage.as_str());
        let fits = |pattern: &TargetPattern| fits(pattern.parts().1, stage.as_str());
        is_named && (self.patterns.is_empty() || self.patterns.iter().any(fits))
    }

    /// Whether it can be about a stage of this name in a project that it does not name.
    pub(crate) fn may_match_another(&self, stage: &Name) -> bool {
        let fits = |pattern: &TargetPattern| {
            let (project, pattern) = pattern.parts();
            is_glob(project) && fits(pattern, stage.as_str())
        };
        self.names_stage(stage)
            && self.projects.is_empty()
            && (self.patterns.is_empty() || self.patterns.iter().any(fits))
    }

    pub(crate) fn matches(&self, target: &TargetId) -> bool {
        let named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|one| one == name);
        (self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(target)))
            && named(&self.projects, target.project.as_str())
            && named(&self.stages, target.stage.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Name;

    fn matches(pattern: &str, target: &str) -> bool {
        let (project, stage) = target.split_once('/').unwrap();
        let id = TargetId { project: Name::new(project).unwrap(), stage: Name::new(stage).unwrap() };
        TargetPattern::new(pattern).matches(&id)
    }

    #[test]
    fn a_pattern_is_a_target_a_project_or_a_glob() {
        for (pattern, target, expected) in [
            ("shop/dev", "shop/dev", true),
            ("shop/dev", "shop/prod", false),
            ("shop", "shop/dev", true),
            ("shop", "shop2/dev", false),
            ("shop*", "shop2/dev", true),
            ("*/prod", "shop/prod", true),
            ("*/prod", "shop/dev", false),
            ("dev", "shop/dev", false),
        ] {
            assert_eq!(matches(pattern, target), expected, "{pattern} {target}");
            let (project, stage) = target.split_once('/').unwrap();
            let id = TargetId { project: Name::new(project).unwrap(), stage: Name::new(stage).unwrap() };
            let names = TargetNames::new([&id].into_iter());
            for _ in 0..2 {
                assert_eq!(names.has(&TargetPattern::new(pattern)), expected, "{pattern} {target}");
            }
            assert_eq!(TargetPattern::new(pattern).as_str(), pattern);
        }
    }

    #[test]
    fn projects_and_stages_narrow_the_named_targets() {
        let id = |project: &str, stage: &str| TargetId {
            project: Name::new(project).unwrap(),
            stage: Name::new(stage).unwrap(),
        };
        let filter = TargetFilter {
            patterns: vec![TargetPattern::new("shop"), TargetPattern::new("blog")],
            projects: vec![],
            stages: vec!["dev".into()],
        };
        assert!(filter.matches(&id("shop", "dev")) && filter.matches(&id("blog", "dev")));
        assert!(!filter.matches(&id("shop", "prod")) && !filter.matches(&id("wiki", "dev")));
        assert!(TargetFilter::default().matches(&id("wiki", "dev")));
    }
}
