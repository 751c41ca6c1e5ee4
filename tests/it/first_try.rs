//! The README's first commands, on a copy of examples/.

use std::path::Path;
use std::process::Command;

use crate::harness::{Shop, on};
use crate::registry::digest_of;
use crate::run::Run;

/// The tags that a clean clone has.
const TAGS: [&str; 3] = ["v1.0.0", "dev-1", "dev-2"];

/// The index without what `push.sh` added to it, a line a manifest.
fn pristine(index: &str) -> String {
    let is_of_clone = |line: &&str| {
        !line.contains("ref.name") || TAGS.iter().any(|tag| line.contains(&format!("acme/shop:{tag}\"")))
    };
    index.lines().filter(is_of_clone).map(|line| format!("{line}\n")).collect()
}

/// A copy of examples/ as a clean clone has it, and the README's first command on it.
struct Clone(Shop);

impl Clone {
    fn new() -> Clone {
        let shop = Shop::new();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let copied = Command::new("cp").arg("-r").arg(&examples).arg(shop.path("examples")).status().unwrap();
        assert!(copied.success());
        // What a first try in the working copy has left behind: a state, and tags that were pushed.
        shop.file("examples/images/index.json", &pristine(&shop.read("examples/images/index.json")));
        for left in ["state.db", "state.db-journal", "deployed.log"] {
            drop(std::fs::remove_file(shop.path("examples").join(left)));
        }
        Clone(shop)
    }

    fn poll(&self) -> Run {
        self.0.run_bare(&["--config", "examples/tagship.toml", "poll"])
    }

    fn push(&self, tag: &str) {
        let script = self.0.path("examples/push.sh");
        let output = Command::new("dash").arg(script).arg(tag).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn deployed(&self) -> String {
        self.0.read("examples/deployed.log")
    }
}

#[test]
fn the_first_try_deploys_then_is_silent_then_deploys_the_pushed_tag() {
    let clone = Clone::new();
    clone.poll().code(0).line("shop/dev", &["deployed", "dev-2"]).line("shop/prod", &["deployed", "v1.0.0"]);
    clone.poll().code(0).silent();
    clone.push("dev-3");
    clone.poll().code(0).line("shop/dev", &["deployed", "dev-3"]).no_line("shop/prod").stderr("");
    clone.poll().code(0).silent();
    assert_eq!(clone.deployed(), "shop/dev dev-2\nshop/prod v1.0.0\nshop/dev dev-3\n");
}

/// Else the README's commands would break these tests.
#[test]
fn pushes_in_the_working_copy_are_not_copied() {
    let clone = Clone::new();
    let index = || clone.0.read("examples/images/index.json");
    let before = index();
    clone.push("dev-3");
    clone.push("v2.0.0");
    assert!(index() != before && pristine(&index()) == before, "{}", index());
}

#[test]
fn a_push_of_what_no_stage_waits_for_deploys_nothing() {
    let clone = Clone::new();
    clone.poll().code(0).line("shop/prod", &["deployed", "v1.0.0"]);
    clone.push("test-1");
    clone.push("v0.9.0");
    clone.poll().code(0).silent();
}

#[test]
fn a_folder_without_a_layout_makes_its_targets_unknown() {
    let shop = Shop::new();
    let stage =
        "[projects.shop.stages.dev]\ntags = \"*\"\norder = \"newest\"\ndeploy = { command = [\"true\"] }\n";
    let config = on("oci-layout", "", stage)
        .replace("url = \"\"", "path = \"images\"")
        .replace("token = { file = \"secret/token\" }\n", "");
    shop.config(&config);
    shop.run(&["poll"]).code(1).line("shop/dev", &["unknown", "images"]);

    for (content, code) in [("{", "protocol"), ("{\"manifests\": 3}", "protocol")] {
        shop.file("images/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
        shop.file("images/index.json", content);
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/dev", "unknown").error_is("shop/dev", code);
    }
}

/// Times are whole seconds, and tools write the index in an order of their own.
#[test]
fn a_tag_of_the_same_second_as_the_one_before_is_deployed() {
    let shop = Shop::new();
    let stage = "[projects.shop.stages.dev]\ntags = \"*\"\norder = \"newest\"\ndeploy = { command = [\"./deploy.sh\"] }\n";
    shop.config(
        &on("oci-layout", "", stage)
            .replace("url = \"\"", "path = \"images\"")
            .replace("token = { file = \"secret/token\" }\n", ""),
    );
    let write = |tags: &[&str]| {
        let entry = |tag: &&str| {
            serde_json::json!({"digest": digest_of(tag), "annotations": {
                "org.opencontainers.image.ref.name": tag,
                "org.opencontainers.image.created": "2026-11-20T10:00:00Z"}})
        };
        let manifests: Vec<_> = tags.iter().map(entry).collect();
        shop.file("images/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
        shop.file("images/index.json", &serde_json::json!({"manifests": manifests}).to_string());
    };
    write(&["b", "d"]);
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "d"]);
    for (tags, expected) in [(&["c", "b", "d"][..], "c"), (&["d", "c", "b", "a"], "a")] {
        write(tags);
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", expected]);
        shop.run(&["poll"]).code(0).silent();
    }
}
