//! Properties of parsing names, templates, shards and patterns from any text.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::filter::TargetPattern;
use super::shard::ShardSetting;
use super::template::{AnswerPointer, DeploymentField, Part, Scope, SecretId, Template, Var};
use super::*;

/// A part as it was written.
fn written(template: &Template) -> String {
    let text = |part: &Part| match part {
        Part::Literal(literal) => literal.clone(),
        Part::Field(field) => format!("{{{}}}", field.word()),
        Part::Var(_) => "{var.app}".to_owned(),
        Part::Secret(SecretId(name)) => format!("{{secret.{name}}}"),
        Part::Label(name) => format!("{{label.{name}}}"),
        Part::Answer(AnswerPointer { step, pointer }) => format!("{{step.{step}.{pointer}}}"),
    };
    template.parts.iter().map(text).collect()
}

proptest! {
    /// Parsing loses no text, and leaves no placeholder in a literal.
    #[test]
    fn a_template_prints_its_source(
        text in "([{}]|\\{tag\\}|\\{previous_tag\\}|\\{var\\.app\\}|\\{secret\\.hook\\}|\\{label\\.a/b\\}|\\{step\\.[1-9]\\./[a-z/{]{0,3}\\}|[a-z./{} ]|\\PC){0,12}",
    ) {
        let scope = Scope {
            fields: &[],
            vars: BTreeMap::from([("app", Var::Text("abc"))]),
            shared_vars: BTreeMap::new().into(),
            secrets: BTreeSet::from(["hook"]).into(),
        };
        match Template::parse(&text, &scope) {
            Ok(template) => {
                prop_assert_eq!(written(&template), text);
                for part in &template.parts {
                    if let Part::Literal(literal) = part {
                        for field in DeploymentField::ALL {
                            let word = format!("{{{}}}", field.word());
                            prop_assert!(!literal.contains(&word), "{:?}", template);
                        }
                    }
                }
            }
            Err(unknown) => {
                let word = format!("{{{}}}", unknown.word);
                prop_assert!(text.contains(&word));
            }
        }
    }

    /// An index counts from 0 or from 1, and is never beyond the last.
    #[test]
    fn a_shard_is_one_of_its_count(text in prop_oneof!["\\PC{0,6}", "[0-9]{0,4}(/[0-9+-]{0,4})?", "[0-9]{10,20}"]) {
        let parts = text.split_once('/').map(|(index, count)| (index.parse::<u32>(), count.parse::<u32>()));
        let is_valid = match parts {
            Some((Ok(index), Ok(count))) => (1..=1000).contains(&count) && index <= count,
            Some(_) => false,
            None => text.parse::<u32>().is_ok_and(|count| (1..=1000).contains(&count)),
        };
        prop_assert_eq!(text.parse::<ShardSetting>().is_ok(), is_valid, "{}", text);
    }

    /// A pattern without wildcards matches only its own name.
    #[test]
    fn a_pattern_names_what_it_says(
        pattern in prop_oneof!["\\PC{0,8}", "[ab*?/]{0,8}", "[ab]{1,3}/[ab]{1,3}"],
        project in "[ab]{1,3}",
        stage in "[ab]{1,3}",
    ) {
        let id = TargetId { project: Name::new(&project).unwrap(), stage: Name::new(&stage).unwrap() };
        let matches = TargetPattern::new(&pattern).matches(&id);
        if !pattern.contains(['*', '?']) {
            prop_assert_eq!(matches, pattern == project || pattern == format!("{project}/{stage}"));
        }
    }

    #[test]
    fn a_name_is_a_file_name(text in prop_oneof!["\\PC{0,8}", "[a-zA-Z0-9_.-]{0,70}"]) {
        if let Ok(name) = Name::new(&text) {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(text.is_ascii() && !text.contains(['/', '\0']) && !text.starts_with('.') && text.len() <= 64);
        }
    }
}
