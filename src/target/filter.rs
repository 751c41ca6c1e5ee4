//! Which targets a command is about: `shop/dev`, `shop` (all its stages), or a glob.

use wildmatch::WildMatch;

use super::TargetId;

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

    /// Without a slash it is about the project; with one about both. `*` and `?` match within each.
    pub(crate) fn matches(&self, target: &TargetId) -> bool {
        let (project, stage) = self.text.split_once('/').unwrap_or((&self.text, "*"));
        WildMatch::new(project).matches(target.project.as_str())
            && WildMatch::new(stage).matches(target.stage.as_str())
    }
}

impl TargetFilter {
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
            assert_eq!(TargetPattern::new(pattern).as_str(), pattern);
        }
    }

    #[test]
    fn projects_and_stages_narrow_what_is_named() {
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
