//! examples/deploy and examples/gate: each file, run against a stand-in that behaves as the other side is documented to.

mod by_command;
mod by_gate;
mod by_request;
mod example;
mod stand_in;

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::Shop;

const FOLDERS: [&str; 2] = ["deploy", "gate"];

/// The files of a folder of examples, by name without `.toml`, in order.
fn names(folder: &str) -> Vec<String> {
    let folder = folder_named(folder);
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

fn folder_named(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn files() -> impl Iterator<Item = PathBuf> {
    let in_folder = |folder: &'static str| {
        names(folder).into_iter().map(move |name| folder_named(folder).join(format!("{name}.toml")))
    };
    FOLDERS.into_iter().flat_map(in_folder)
}

#[test]
fn every_example_is_valid_as_it_is() {
    let shop = Shop::new();
    for file in files() {
        let run = shop.run_bare(&["--config", file.to_str().unwrap(), "check"]);
        run.code(0).stdout_has("no faults");
        // What it names lies where it is used.
        let mut lines = run.stderr.lines();
        assert!(
            lines.all(|line| line.contains(" does not exist") || line.contains("no folder of PATH")),
            "{run:?}"
        );
    }
}

#[test]
fn every_example_says_what_it_is_for() {
    for file in files() {
        let (name, text) = (file.display(), fs::read_to_string(&file).unwrap());
        let comment: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(comment.len() >= 3, "{name}");
        assert!(text.lines().all(|line| line.chars().count() <= 112), "{name} has long lines");
    }
}

#[test]
fn every_example_is_run_by_a_test() {
    let tests = [include_str!("examples/by_command.rs"), include_str!("examples/by_request.rs")].concat();
    let is_run = |name: &String| tests.contains(&format!("Example::named(\"{name}\")"));
    assert_eq!(names("deploy").into_iter().filter(is_run).collect::<Vec<_>>(), names("deploy"));
    let tests = include_str!("examples/by_gate.rs");
    let is_run = |name: &String| tests.contains(&format!("gate(\"{name}\")"));
    assert_eq!(names("gate").into_iter().filter(is_run).collect::<Vec<_>>(), names("gate"));
}
