//! The JSON Schema of the configuration, held against what `tagship check` says of the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use crate::harness::Shop;
use crate::tls::Authority;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = Shop::new().run_bare(&["generate", "schema"]).code(0).json();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
});

fn value(text: &str) -> Value {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[track_caller]
fn is_valid(value: &Value, name: &str) {
    if let Err(error) = SCHEMA.validate(value) {
        panic!("{name}: {}: {error}", error.instance_path());
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every TOML file of a folder and those in it.
fn toml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            toml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_example_is_valid_in_both() {
    let mut files = Vec::new();
    toml_files(&root().join("examples"), &mut files);
    assert!(files.len() > 15, "{files:?}");
    let shop = Shop::new();
    for file in files {
        is_valid(&value(&fs::read_to_string(&file).unwrap()), &file.display().to_string());
        shop.run_bare(&["--config", file.to_str().unwrap(), "check"]).code(0);
    }
}

/// Puts what the second has into the first, key by key; steps take the place of steps.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                if name == "deploy" {
                    into.remove(&name);
                }
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

#[test]
fn both_accept_the_readmes_examples() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let block = |text: &str| text.split("```").next().unwrap().to_owned();
    let blocks: Vec<String> = readme.split("```toml\n").skip(1).map(block).collect();
    assert!(blocks.len() >= 5, "{}", blocks.len());
    let complete = value(blocks.iter().find(|block| block.contains("[registries.git]")).unwrap());
    let shop = Shop::new();
    for text in blocks {
        // A part is of the complete file: of a stage where it does not say of what.
        let begins =
            text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
        let head = if begins.starts_with('[') { "" } else { "[projects.shop.stages.prod]\n" };
        let mut config = complete.clone();
        merge(&mut config, value("[secrets]\nhook = { file = \"hook-token\" }"));
        merge(&mut config, value(&format!("{head}{text}")));
        is_valid(&config, &text);
        shop.file("tagship.json", &config.to_string());
        shop.run_bare(&["--config", "tagship.json", "check"]).code(0);
    }
}

#[test]
fn a_file_with_every_table_is_valid_in_both() {
    let file = root().join("tests/fixtures/configuration.toml");
    let text = fs::read_to_string(file).unwrap();
    is_valid(&value(&text), "configuration.toml");
    let shop = Shop::with(&text);
    shop.file("ca.pem", &Authority::new().pem);
    shop.run(&["check"]).code(0).stdout_has("no faults");
}

const VALID: &str = r#"
[settings]
interval = "5m"
parallel_deploys = 4

[registries.git]
kind = "gitea"
url = "https://git.example.com"
token = { env = "GITEA_TOKEN" }

[secrets]
hook = { env = "HOOK" }

[projects.shop]
registry = "git"
image = "acme/shop"

[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
deploy = { url = "https://deploy.example.com/", timeout = "30s" }

[[notify]]
on = ["failed"]
url = "https://ntfy.example.com/"
"#;

/// Each fault, and the edit that causes it.
const REFUSED_BY_BOTH: &[(&str, &str, &str)] = &[
    ("an unknown key of a stage", "tags = ", "tag = "),
    ("an unknown key of the settings", "interval = ", "intervall = "),
    ("an unknown table", "[settings]", "[setting]"),
    ("an unknown key of a step", "timeout = \"30s\"", "timout = \"30s\""),
    ("text for a number", "parallel_deploys = 4", "parallel_deploys = \"4\""),
    ("a number below the least", "parallel_deploys = 4", "parallel_deploys = 0"),
    ("a number above the most", "parallel_deploys = 4", "parallel_deploys = 65"),
    ("a number for a duration", "interval = \"5m\"", "interval = 300"),
    ("a duration without a unit", "interval = \"5m\"", "interval = \"300\""),
    ("an ISO duration", "interval = \"5m\"", "interval = \"PT5M\""),
    ("a negative duration", "interval = \"5m\"", "interval = \"-5m\""),
    ("a duration by an unknown unit", "interval = \"5m\"", "interval = \"5x\""),
    ("a duration by months", "interval = \"5m\"", "interval = \"1mo\""),
    ("a literal secret", "{ env = \"GITEA_TOKEN\" }", "\"literal-token\""),
    ("a literal secret among the secrets", "hook = { env = \"HOOK\" }", "hook = \"literal-token\""),
    ("a secret from two places", "{ env = \"HOOK\" }", "{ env = \"HOOK\", file = \"hook\" }"),
    ("a secret from nowhere", "hook = { env = \"HOOK\" }", "hook = {}"),
    ("an unknown order", "\"newest\"", "\"newst\""),
    ("an unknown kind", "\"gitea\"", "\"gitae\""),
    ("an unknown event", "[\"failed\"]", "[\"faild\"]"),
    ("no event", "[\"failed\"]", "[]"),
    ("a registry without a kind", "kind = \"gitea\"", ""),
    ("a gitea without a url", "url = \"https://git.example.com\"", ""),
    ("an image layout with a url", "\"gitea\"", "\"oci-layout\""),
    ("a server with a path", "kind = \"gitea\"", "kind = \"gitea\"\npath = \"./images\""),
    ("a certificate without its key", "kind = \"gitea\"", "kind = \"gitea\"\nclient_cert = \"client.pem\""),
    (
        "headers of a command",
        "url = \"https://ntfy.example.com/\"",
        "command = [\"./tell.sh\"]\nheaders = {}",
    ),
    ("a project without a registry", "registry = \"git\"", ""),
    ("a project without an image", "image = \"acme/shop\"", ""),
    ("a step without a command and a url", "url = \"https://deploy.example.com/\",", ""),
    ("a step with both", "timeout = \"30s\"", "command = [\"x\"]"),
    ("no step", "{ url = \"https://deploy.example.com/\", timeout = \"30s\" }", "[]"),
    (
        "a command as one text",
        "{ url = \"https://deploy.example.com/\", timeout = \"30s\" }",
        "{ command = \"./deploy.sh\" }",
    ),
    ("two bodies", "timeout = \"30s\"", "body = \"x\", form = { x = \"y\" }"),
    ("no way to sign", "timeout = \"30s\"", "sign = {}"),
    ("a status that is none", "timeout = \"30s\"", "success = { status = [20] }"),
    ("equals without a pointer", "timeout = \"30s\"", "success = { equals = 1 }"),
    ("a pointer with dots", "timeout = \"30s\"", "success = { pointer = \"status.ok\" }"),
    ("a window without its end", "order = \"newest\"", "order = \"newest\"\nwindow = [{ from = \"09:00\" }]"),
    (
        "an unknown day",
        "order = \"newest\"",
        "order = \"newest\"\nwindow = [{ days = [\"Monday\"], from = \"09:00\", to = \"10:00\" }]",
    ),
    (
        "no time of day",
        "order = \"newest\"",
        "order = \"newest\"\nwindow = [{ from = \"9\", to = \"10:00\" }]",
    ),
    ("a gate without its duration", "order = \"newest\"", "order = \"newest\"\nafter = { stage = \"dev\" }"),
    (
        "a running without url and command",
        "order = \"newest\"",
        "order = \"newest\"\nrunning = { timeout = \"5s\" }",
    ),
    ("a name that is none", "[projects.shop.stages.dev]", "[projects.shop.stages.\"a b\"]"),
    ("an empty name", "registry = \"git\"", "registry = \"\""),
];

/// What only the parser can know: what one key says of another, and what stands within a text.
const REFUSED_BY_CHECK: &[(&str, &str, &str)] = &[
    ("a registry that is not there", "registry = \"git\"", "registry = \"gti\""),
    ("a secret that is not there", "timeout = \"30s\"", "sign = { github = \"hok\" }"),
    (
        "a stage that is not there",
        "order = \"newest\"",
        "order = \"newest\"\nafter = { stage = \"prod\", for = \"1h\" }",
    ),
    ("a stage without tags, which defaults could give", "tags = \"dev-*\"", ""),
    ("a stage without an order", "order = \"newest\"", ""),
    ("an unknown placeholder", "timeout = \"30s\"", "body = \"{tga}\""),
    ("a regular expression that is none", "order = \"newest\"", "order = \"newest\"\nregex = \"(\""),
    ("a range without semver", "order = \"newest\"", "order = \"newest\"\nrange = \">=1\""),
    ("a url that is none", "\"https://git.example.com\"", "\"git.example.com\""),
    ("tokens in the clear", "\"https://git.example.com\"", "\"http://git.example.com\""),
    ("a duration of nothing", "interval = \"5m\"", "interval = \"0s\""),
    ("a duration of eleven years", "interval = \"5m\"", "interval = \"4015d\""),
    (
        "a zone that is none",
        "order = \"newest\"",
        "order = \"newest\"\nwindow = [{ from = \"09:00\", to = \"10:00\", timezone = \"Nowhere\" }]",
    ),
    ("a body of a GET", "timeout = \"30s\"", "method = \"GET\", body = \"x\""),
    ("a token of nobody", "kind = \"gitea\"", "kind = \"gitea\"\nanonymous = true"),
    (
        "no registries",
        "[registries.git]\nkind = \"gitea\"\nurl = \"https://git.example.com\"\ntoken = { env = \"GITEA_TOKEN\" }",
        "",
    ),
];

/// The valid file with one edit.
#[track_caller]
fn edited(from: &str, to: &str) -> String {
    assert_eq!(VALID.matches(from).count(), 1, "{from}");
    VALID.replace(from, to)
}

#[test]
fn the_file_that_is_edited_is_valid_in_both() {
    is_valid(&value(VALID), "VALID");
    Shop::with(VALID).run(&["check"]).code(0);
}

#[test]
fn both_refuse_the_same_mistakes() {
    for (what, from, to) in REFUSED_BY_BOTH {
        let text = edited(from, to);
        assert!(!SCHEMA.is_valid(&value(&text)), "the schema takes {what}");
        Shop::with(&text).run(&["check"]).code(2).stdout("").shows_not("literal-token");
    }
}

#[test]
fn check_refuses_mistakes_beyond_the_schema() {
    for (what, from, to) in REFUSED_BY_CHECK {
        let text = edited(from, to);
        is_valid(&value(&text), what);
        Shop::with(&text).run(&["check"]).code(2).stdout("");
    }
}
