//! man/ and completions/ are what the binary would write now.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::Shop;

/// Every file of a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

#[track_caller]
fn is_current(folder: &str, expected: &[&str]) {
    let shop = Shop::new();
    let out = shop.path(folder);
    shop.run_bare(&["generate", folder, "--dir", out.to_str().unwrap()]).code(0).silent();
    let written = files(&out);
    for name in expected {
        assert!(written.contains_key(*name), "{name} is missing in {:?}", written.keys());
    }
    let committed = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    assert_eq!(committed.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (name, text) in &committed {
        assert!(
            *text == written[name],
            "{folder}/{name} is not current: tagship generate {folder} --dir {folder}"
        );
    }
}

#[test]
fn the_manual_pages_are_current() {
    let pages = ["tagship.1", "tagship-poll.1", "tagship-status.1", "tagship-check.1", "tagship-mark.1"];
    is_current("man", &[&pages[..], &["tagship-generate.1", "tagship.toml.5"]].concat());
}

#[test]
fn the_completions_are_current() {
    is_current("completions", &["tagship.bash", "_tagship", "tagship.fish"]);
}

#[test]
#[ignore = "needs zsh and fish"]
fn the_completions_are_scripts_of_their_shells() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, file) in [("bash", "tagship.bash"), ("zsh", "_tagship"), ("fish", "tagship.fish")] {
        let output = Command::new(shell)
            .arg("-n")
            .arg(folder.join(file))
            .output()
            .unwrap_or_else(|error| panic!("{shell} is installed: {error}"));
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_schema_is_a_json_schema_with_every_table() {
    let shop = Shop::new();
    let schema = shop.run_bare(&["generate", "schema"]).code(0).stderr("").json();
    assert!(schema["$schema"].is_string(), "{schema}");
    for table in ["settings", "registries", "secrets", "projects", "include"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
}

#[test]
fn every_manual_page_names_its_program() {
    for (name, text) in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("man")) {
        assert!(text.contains(".TH"), "{name}");
        assert!(text.contains("NAME"), "{name}");
    }
}

#[test]
fn help_and_version_are_answered_without_a_configuration() {
    let shop = Shop::new();
    shop.run_bare(&["--version"]).code(0).stdout(concat!("tagship ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in ["poll", "status", "check", "mark", "generate"] {
        shop.run_bare(&[command, "--help"]).code(0).stdout_has("Usage").stderr("");
        shop.run_bare(&["--help"]).stdout_has(command);
    }
}
