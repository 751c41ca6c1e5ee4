//! The documents name files and tests that exist, and each source begins with its purpose.

use std::fs;
use std::path::Path;

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

#[test]
fn every_source_begins_with_its_purpose() {
    let mut folders = ["src", "tests", "benches"].map(|name| root().join(name)).to_vec();
    let mut sources = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let begins = fs::read_to_string(&path).unwrap().starts_with("//! ");
                assert!(begins, "{}: the first line does not say what the file is for", path.display());
                sources += 1;
            }
        }
    }
    assert!(sources > 300, "{sources}");
}
