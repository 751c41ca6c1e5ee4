//! examples/deploy: each file, run against a stand-in that behaves as its target is documented to.

mod by_command;
mod by_request;
mod example;
mod stand_in;

use std::fs;
use std::path::PathBuf;

use crate::harness::Shop;

/// The files, by name without `.toml`, in order.
fn names() -> Vec<String> {
    let folder = folder();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".toml").unwrap_or_else(|| panic!("{name} is no TOML")).to_owned()
        })
        .collect();
    names.sort();
    names
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/deploy")
}

#[test]
fn every_example_is_valid_as_it_is() {
    let shop = Shop::new();
    for name in names() {
        let file = folder().join(format!("{name}.toml"));
        let run = shop.run_bare(&["--config", file.to_str().unwrap(), "check"]);
        run.code(0).stdout_has("no faults");
        // What it names lies where it is used.
        let mut lines = run.stderr.lines();
        assert!(
            lines.all(|line| line.contains(" does not exist") || line.contains("in no folder of PATH")),
            "{run:?}"
        );
    }
}

#[test]
fn every_example_says_what_it_is_for() {
    for name in names() {
        let text = fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
        let comment: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(comment.len() >= 3, "{name}");
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{name} has long lines");
    }
}

#[test]
fn every_example_is_run_by_a_test() {
    let tests = [include_str!("examples/by_command.rs"), include_str!("examples/by_request.rs")].concat();
    let run: Vec<String> =
        names().into_iter().filter(|name| tests.contains(&format!("Example::named(\"{name}\")"))).collect();
    assert_eq!(run, names());
}
