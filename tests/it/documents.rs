//! The documents name files and tests that exist, each source begins with its purpose, and modules import as the picture
//! in `src/main.rs` shows.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| Tests |")).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 5, "{row}");
        let modules: Vec<&str> = cells[4].split('`').skip(1).step_by(2).collect();
        assert!(!modules.is_empty(), "{row}");
        for module in modules {
            assert!(root().join(format!("tests/it/{module}.rs")).exists(), "{module} does not exist: {row}");
        }
    }
}

#[test]
fn every_file_that_a_document_names_exists() {
    const FOLDERS: [&str; 7] = ["benches/", "completions/", "docs/", "examples/", "man/", "src/", "tests/"];
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let at_the_top = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    let mut named = 0;
    for document in docs.chain(at_the_top) {
        let text = fs::read_to_string(&document).unwrap();
        // Every second part is between back quotes.
        for path in text.split('`').skip(1).step_by(2) {
            if FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains(char::is_whitespace) {
                assert!(root().join(path).exists(), "{}: `{path}` does not exist", document.display());
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named}");
}

/// Every Rust file of these folders.
fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = folders.iter().map(|name| root().join(name)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    sources
}

#[test]
fn every_source_begins_with_its_purpose() {
    let sources = sources(&["src", "tests", "benches"]);
    assert!(sources.len() > 300, "{}", sources.len());
    for path in sources {
        let begins = fs::read_to_string(&path).unwrap().starts_with("//! ");
        assert!(begins, "{}: the first line does not say what the file is for", path.display());
    }
}

/// Tests may import anything.
#[test]
fn modules_import_only_from_lines_below_theirs_in_the_picture() {
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    let is_module = |name: &&str| main.contains(&format!("\nmod {name};\n"));
    let lines = main.split("//! ```").nth(1).unwrap().lines().enumerate();
    let places: HashMap<&str, usize> = lines
        .flat_map(|(place, line)| {
            let names =
                line.trim_start_matches("//! ").split("  ").map(|part| part.trim().trim_end_matches('/'));
            names.filter(is_module).map(move |name| (name, place))
        })
        .collect();
    let missing: Vec<&str> = main
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .filter(|name| !places.contains_key(name))
        .collect();
    assert!(missing.is_empty(), "not in the picture: {missing:?}");
    let import = Regex::new(r"\bcrate::(\w+)").unwrap();
    for path in sources(&["src"]) {
        let name = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap();
        if ["/tests", "/properties", "/fixture"].iter().any(|part| name.contains(part)) {
            continue;
        }
        let module = name.split('/').next().unwrap().trim_end_matches(".rs");
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for found in import.captures_iter(code) {
            let imported = found.get(1).unwrap().as_str();
            let is_below = places[imported] > places[module] || imported == module;
            assert!(module == "main" || is_below, "{name} imports {imported}, which is not below {module}");
        }
    }
}

/// A name that is stale would leave out nothing, or run nothing.
#[test]
fn every_test_that_a_command_names_exists() {
    let text = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let sources: Vec<String> = sources(&["src", "tests"]).iter().map(text).collect();
    let commands = [".ci/run", "README.md", "CONTRIBUTING.md"].map(|name| text(&root().join(name))).concat();
    let names = Regex::new(r"--(?:skip|test it) ([a-z_]+)").unwrap();
    let names: Vec<&str> =
        names.captures_iter(&commands).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let is_named = |line: &str| (line.contains("fn ") || line.contains("mod ")) && line.contains(name);
        assert!(sources.iter().any(|source| source.lines().any(is_named)), "no test is named {name}");
    }
}
