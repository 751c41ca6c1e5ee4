//! Any file gives a configuration, or faults with their positions.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::duration::parse_duration;
use super::tests::load_files;
use super::*;

/// A valid file with most of the keys. The tests damage it.
const TOML: &str = r#"
[settings]
interval = "5m"
resync = "12h"
[secrets]
hook = { env = "HOOK" }
[registries.git]
kind = "gitea"
url = "https://git.example.com"
token = { file = "token" }
[projects.shop]
registry = "git"
image = "acme/shop"
vars = { app = "a" }
[projects.shop.stages.dev]
tags = ["v*"]
order = "semver"
range = ">=1, <3"
regex = 'v(\d.*)'
after = { stage = "qa", for = "24h" }
window = [{ days = ["Mon"], from = "09:00", to = "16:00", timezone = "UTC" }]
deploy = [{ command = ["./d", "{tag}"] }, { url = "https://x/{step.2./id}?a={var.app}", json = { a = ["{digest}", 1] } }]
"#;

const JSON: &str = r#"{"registries": {"git": {"kind": "oci", "url": "https://r.example.com"}},
"projects": {"shop": {"registry": "git", "image": "acme/shop", "stages": {"dev":
{"tags": "*", "order": "numeric", "digest": true, "retry": {"attempts": 3},
"deploy": {"url": "https://x/", "success": {"pointer": "/a", "equals": 1.5}}}}}}}"#;

/// Text that a typing error, or an error in a template, puts into a file.
fn scrap() -> impl Strategy<Value = String> {
    let words = vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'''",
        "=",
        "#",
        "\n",
        ",",
        "{tag}",
        "{step.0./a}",
        "{step.99999999999999999999./a}",
        "0",
        "-1",
        "1e400",
        "99999999999999999999",
        "0x7fffffffffffffff",
        "inf",
        "null",
        "true",
        "1979-05-27",
        "[settings]\n",
        "[projects.shop.stages.dev]\n",
        "[[notify]]\n",
        "include = [\"*\"]\n",
        "\u{feff}",
        "\\u0000",
        "\0",
        "\u{202e}",
    ];
    prop_oneof![3 => select(words).prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

/// The text with pieces removed, repeated or replaced.
fn spoilt(text: &'static str) -> impl Strategy<Value = String> {
    vec((any::<Index>(), 0..12usize, scrap(), any::<bool>()), 1..4).prop_map(move |changes| {
        changes.into_iter().fold(text.to_owned(), |text, (at, length, scrap, is_kept)| {
            let characters: Vec<char> = text.chars().collect();
            let start = at.index(characters.len() + 1);
            let end = (start + length).min(characters.len());
            let after = if is_kept { start } else { end };
            characters[..start]
                .iter()
                .chain(&scrap.chars().collect::<Vec<_>>())
                .chain(&characters[after..])
                .collect()
        })
    })
}

/// Loads the file and checks that every fault is on one of its lines.
fn check(name: &str, text: &str) -> Result<(), TestCaseError> {
    let lines = text.matches('\n').count() + 1;
    match load_files(&[(name, text)]).1 {
        Ok(config) => {
            for target in &config.targets {
                prop_assert!(config.registries.contains_key(&target.registry));
                prop_assert!(!target.interval.is_zero());
            }
        }
        Err(faults) => {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                let line = fault.strip_prefix(&format!("{name}:")).and_then(|rest| rest.split(':').next());
                let line = line.and_then(|line| line.parse::<usize>().ok());
                prop_assert!(line.is_none_or(|line| (1..=lines).contains(&line)), "{fault}");
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_spoilt_file_has_faults_or_a_configuration(toml in spoilt(TOML), json in spoilt(JSON)) {
        check("tagship.toml", &toml)?;
        check("tagship.json", &json)?;
    }

    #[test]
    fn a_file_of_anything_has_faults(bytes in vec(any::<u8>(), 0..60), text in "\\PC{0,60}") {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("a.toml", bytes.as_slice()), ("a.json", &bytes), ("b.toml", text.as_bytes())] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            // Never a valid configuration, because it has no registry and no project.
            prop_assert!(load(&folder.path().join(name)).is_err());
        }
    }

    /// A valid duration is between a millisecond and ten years.
    #[test]
    fn any_text_is_a_duration_in_bounds_or_none(
        text in prop_oneof!["\\PC{0,12}", "([0-9]{1,21}(ns|us|ms|s|m|h|d|w|mo|y)? ?){1,4}"],
    ) {
        if let Some(duration) = parse_duration(&text) {
            prop_assert!((Duration::from_millis(1)..=Duration::from_secs(3650 * 86_400)).contains(&duration));
        }
    }
}
