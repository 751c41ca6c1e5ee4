//! docs/guarantees.md names the tests that show what it says.

use std::fs;
use std::path::Path;

#[test]
fn every_row_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| Tests |")).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 5, "{row}");
        let modules: Vec<&str> = cells[4].split('`').skip(1).step_by(2).collect();
        assert!(!modules.is_empty(), "{row}");
        for module in modules {
            assert!(root.join(format!("tests/it/{module}.rs")).exists(), "there is no {module}: {row}");
        }
    }
}
