//! The JSON Schema of a configuration accepts and refuses what reading does.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use proptest::prelude::*;

use super::*;
use crate::config::parse_duration;

/// A folder with the certificate and key that keys of a registry name.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        for name in ["ca.pem", "client.pem"] {
            fs::write(folder.path().join(name), certificate.cert.pem()).unwrap();
        }
        fs::write(folder.path().join("client.key"), certificate.signing_key.serialize_pem()).unwrap();
        fs::create_dir(folder.path().join("projects.d")).unwrap();
        Folder(folder)
    }

    /// The errors of the parser.
    fn load(&self, text: &str) -> Result<(), String> {
        let path: &Path = &self.0.path().join("tagship.toml");
        fs::write(path, text).unwrap();
        crate::config::load(path).map(|_| ()).map_err(|faults| faults.to_string())
    }
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

/// The errors of the schema.
fn validate(validator: &Validator, text: &str) -> Result<(), String> {
    let value: Value = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    validator.validate(&value).map_err(|error| format!("{}: {error}", error.instance_path()))
}

/// A valid file in which one table of this kind has these lines.
fn file(section: Section, lines: &[String]) -> String {
    let inline = || format!("{{ {} }}", lines.join(", "));
    let table = |head: &str| format!("{head}\n{}\n", lines.join("\n"));
    let (mut top, mut settings, mut registry, mut secrets, mut project, mut notify) = Default::default();
    let mut stage = "[projects.shop.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n".to_owned();
    let deploy = "deploy = { command = [\"./deploy.sh\"] }\n";
    let request =
        |key: &str| format!("deploy = {{ url = \"https://deploy.example.com/\", {key} = {} }}\n", inline());
    match section {
        Section::Top => top = table(""),
        Section::Settings => settings = table("[settings]"),
        Section::Registry => registry = table("[registries.tried]"),
        Section::Webhook => settings = table("[settings.webhook]"),
        Section::Ping => settings = format!("[settings]\nping_url = {}\n", inline()),
        Section::Secret => secrets = format!("tried = {}\n", inline()),
        Section::Project => {
            project = table("[projects.tried]")
                + "[projects.tried.stages.dev]\ntags = \"*\"\norder = \"newest\"\n"
                + deploy
        }
        Section::Stage => stage = table("[projects.shop.stages.prod]"),
        Section::After => stage += &format!("after = {}\n{deploy}", inline()),
        Section::Window => stage += &format!("window = [{}]\n{deploy}", inline()),
        Section::Retry => stage += &format!("retry = {}\n{deploy}", inline()),
        Section::Running => stage += &format!("running = {}\n{deploy}", inline()),
        Section::CommandStep | Section::HttpStep => stage += &format!("deploy = {}\n", inline()),
        Section::Until => stage += &request("until"),
        Section::Success => stage += &request("success"),
        Section::Sign => stage += &request("sign"),
        Section::Notify => notify = table("[[notify]]"),
    }
    if !stage.contains("deploy = ") {
        stage += deploy;
    }
    let (top, settings, registry): (String, String, String) = (top, settings, registry);
    let (secrets, project, notify): (String, String, String) = (secrets, project, notify);
    format!(
        "{top}{settings}[registries.git]\nkind = \"gitea\"\nurl = \"https://git.example.com\"\n{registry}\
         [secrets]\nhook = {{ env = \"HOOK\" }}\nhc = {{ env = \"HC\" }}\nntfy = {{ env = \"NTFY\" }}\n{secrets}\
         [projects.shop]\nregistry = \"git\"\nimage = \"acme/shop\"\n\
         [projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n{deploy}{stage}{project}{notify}"
    )
}

/// The other keys that a key requires in its table.
fn beside(section: Section, key: &str) -> Vec<String> {
    let others = match (section, key) {
        (Section::Registry, "path") => vec!["kind = \"oci-layout\""],
        (Section::Registry, "url") => vec!["kind = \"oci\""],
        (Section::Registry, "client_cert") => vec!["kind = \"github\"", "client_key = \"client.key\""],
        (Section::Registry, "client_key") => vec!["kind = \"github\"", "client_cert = \"client.pem\""],
        (Section::Registry, "kind") => vec!["url = \"https://git.example.com\""],
        (Section::Registry, _) => vec!["kind = \"gitea\"", "url = \"https://git.example.com\""],
        (Section::Running, "url" | "command") => vec![],
        (Section::Running, "env" | "dir") => vec!["command = [\"./running.sh\"]"],
        (Section::Running, _) => vec!["url = \"https://shop.example.com/\""],
        (Section::Notify, "url" | "command") => vec!["on = [\"failed\"]"],
        (Section::Notify, "env" | "dir") => vec!["on = [\"failed\"]", "command = [\"./notify.sh\"]"],
        (Section::Notify, "on") => vec!["url = \"https://ntfy.example.com/\""],
        (Section::Notify, _) => vec!["on = [\"failed\"]", "url = \"https://ntfy.example.com/\""],
        (Section::Project, "images") => vec!["registry = \"git\""],
        (Section::Project, "exclude_images") => vec!["registry = \"git\"", "images = \"acme/*\""],
        (Section::Project, _) => vec!["registry = \"git\"", "image = \"acme/shop\""],
        (Section::Success, "equals") => vec!["pointer = \"/id\""],
        (Section::Stage, _) => {
            vec!["tags = \"v*\"", "order = \"semver\"", "deploy = { command = [\"./deploy.sh\"] }"]
        }
        _ => section
            .keys()
            .iter()
            .filter(|key| key.required && !key.example.starts_with('['))
            .map(|key| key.example)
            .collect(),
    };
    let is_other = |line: &&str| line.split(' ').next() != Some(key);
    others.into_iter().filter(is_other).map(str::to_owned).collect()
}

/// Every key, with a file that uses it.
fn with_each_key(line: impl Fn(Section, &Key) -> Option<String>) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for section in Section::ALL {
        for key in section.keys() {
            if let Some(line) = line(section, key) {
                let lines = [beside(section, key.name), vec![line]].concat();
                files.push((format!("{section:?} {}", key.name), file(section, &lines)));
            }
        }
    }
    files
}

#[test]
fn the_example_of_every_key_is_valid_in_both() {
    let (folder, validator) = (Folder::new(), validator());
    let examples = with_each_key(|section, key| match section {
        // Written as the header of a table, not as a line.
        _ if key.example.starts_with('[') => None,
        Section::Secret if key.name == "docker_config" => None,
        Section::Secret => Some(key.example.trim_matches(['{', '}', ' ']).to_owned()),
        Section::Top if key.name == "secrets" => None,
        _ => Some(key.example.to_owned()),
    });
    assert!(examples.len() > 90, "{}", examples.len());
    for (name, text) in examples {
        assert_eq!(validate(&validator, &text), Ok(()), "{name}\n{text}");
        assert_eq!(folder.load(&text), Ok(()), "{name}\n{text}");
    }
    let token =
        [beside(Section::Registry, ""), vec!["token = { docker_config = \"~/.docker/config.json\" }".into()]];
    let text = file(Section::Registry, &token.concat());
    assert_eq!(validate(&validator, &text), Ok(()), "{text}");
    assert_eq!(folder.load(&text), Ok(()), "{text}");
}

#[test]
fn a_value_of_another_type_is_refused_by_both() {
    let (folder, validator) = (Folder::new(), validator());
    let wrong = with_each_key(|section, key| {
        let value = match key.kind {
            Kind::Json => return None,
            // The valid file has these tables already.
            _ if section == Section::Top && matches!(key.name, "registries" | "secrets" | "projects") => {
                return None;
            }
            _ if section == Section::Project && key.name == "stages" => return None,
            Kind::Bool | Kind::Integer { .. } | Kind::Secret => "\"planted\"",
            _ => "7",
        };
        Some(format!("{} = {value}", key.name))
    });
    assert!(wrong.len() > 90, "{}", wrong.len());
    for (name, text) in wrong {
        assert!(validate(&validator, &text).is_err(), "{name}\n{text}");
        assert!(folder.load(&text).is_err(), "{name}\n{text}");
    }
}

#[test]
fn an_unknown_key_is_refused_by_both() {
    let (folder, validator) = (Folder::new(), validator());
    for section in Section::ALL {
        let text = file(section, &[beside(section, ""), vec!["unknwon = true".to_owned()]].concat());
        assert!(validate(&validator, &text).is_err(), "{section:?}\n{text}");
        assert!(folder.load(&text).is_err_and(|faults| faults.contains("unknwon")), "{section:?}\n{text}");
    }
}

#[test]
fn both_require_the_same_keys() {
    let (folder, validator) = (Folder::new(), validator());
    for section in Section::ALL {
        // [settings.stage] may provide it for a stage, and an included file for the main file.
        if matches!(section, Section::Top | Section::Stage) {
            continue;
        }
        for key in section.keys().iter().filter(|key| key.required && !key.example.starts_with('[')) {
            let text = file(section, &beside(section, key.name));
            assert!(validate(&validator, &text).is_err(), "{section:?} {}\n{text}", key.name);
            assert!(folder.load(&text).is_err(), "{section:?} {}\n{text}", key.name);
        }
    }
}

fn amount() -> impl Strategy<Value = String> {
    let unit = prop::sample::select(vec![
        "w", "wk", "weeks", "d", "day", "days", "h", "hr", "hrs", "hours", "m", "min", "mins", "minutes",
        "s", "sec", "secs", "seconds", "ms", "msec", "millis", "mo", "y", "x", "M", "", "ago",
    ]);
    (1..6_u32, prop::sample::select(vec!["", " "]), unit)
        .prop_map(|(number, blank, unit)| format!("{number}{blank}{unit}"))
}

proptest! {
    #[test]
    fn durations_of_the_schema_are_those_of_the_parser(
        amounts in prop::collection::vec(amount(), 1..3), between in prop::sample::select(vec!["", " ", ", ", "-"])
    ) {
        let text = amounts.join(between);
        let schema = json!({ "type": "string", "pattern": duration() });
        let is_valid = jsonschema::is_valid(&schema, &json!(text));
        // The schema does not check limits; these values are within them.
        prop_assert!(is_valid == parse_duration(&text).is_some(), "{:?} {}", text, is_valid);
    }
}

#[test]
fn the_keys_are_the_properties() {
    let schema = schema();
    for section in Section::ALL {
        let part = match section {
            Section::Top => Some(&schema),
            _ => schema["$defs"].get(name(section)),
        };
        assert!(part.is_some(), "{section:?}");
        for key in section.keys() {
            let property = part.and_then(|part| part["properties"].get(key.name));
            assert!(property.is_some(), "{section:?} {}", key.name);
        }
    }
    let defaults = schema["$defs"]["StageDefaults"]["properties"].as_object().unwrap();
    assert_eq!(defaults.len() + 1, Section::Stage.keys().iter().count());
    assert!(!defaults.contains_key("vars"));
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let schema = schema();
    let mut found = Vec::new();
    references(&schema, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[test]
fn required_keys_and_defaults() {
    let defs = &schema()["$defs"];
    assert_eq!(defs["Registry"]["required"], json!(["kind"]));
    assert_eq!(defs["Stage"].get("required"), None);
    assert_eq!(defs["Settings"]["properties"]["parallel_deploys"]["default"], json!(4));
    assert_eq!(defs["Settings"]["properties"]["interval"]["default"], json!("5m"));
    assert_eq!(defs["Success"]["properties"]["status"].get("default"), None);
    assert_eq!(defs["Registry"]["properties"]["kind"]["enum"], json!(KINDS));
}
