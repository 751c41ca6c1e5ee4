//! Layouts on disk: their tags, and the errors of invalid ones.

use std::fs;

use super::*;

/// A layout with an entry for each of these annotations.
fn layout(folder: &Path, entries: &[serde_json::Value]) -> OciLayout {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let manifests: Vec<_> = entries
        .iter()
        .map(|annotations| serde_json::json!({"digest": digest, "annotations": annotations}))
        .collect();
    fs::write(folder.join("index.json"), serde_json::json!({"manifests": manifests}).to_string()).unwrap();
    OciLayout::new(folder)
}

fn tags(layout: &OciLayout, repository: &str) -> Vec<String> {
    let listing = layout.list_tags(&Repository::new(repository).unwrap()).unwrap();
    listing.tags.iter().map(|listed| listed.tag.to_string()).collect()
}

fn refused(layout: &OciLayout) -> String {
    layout.list_tags(&Repository::new("acme/shop").unwrap()).unwrap_err().to_string()
}

#[test]
fn a_name_says_which_repository_a_tag_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| serde_json::json!({REF_NAME: name});
    // As `docker save` and containerd write it: the tag, and the name in a second annotation.
    let saved = |name: &str, tag: &str| serde_json::json!({IMAGE_NAME: name, REF_NAME: tag});
    let bare = layout(folder.path(), &[named("v1"), named("v2")]);
    assert_eq!(tags(&bare, "acme/shop"), ["v1", "v2"]);
    let mixed = layout(
        folder.path(),
        &[
            named("acme/shop:v1"),
            named("registry.example.com:5000/acme/shop:v2"),
            named("localhost/acme/shop:v3"),
            named("acme/web:v4"),
            named("team/acme/shop:v5"),
            named("v6"),
            saved("docker.io/acme/shop:v7", "v7"),
            saved("docker.io/acme/web:v8", "v8"),
            saved("docker.io/library/shop:v9", "v9"),
        ],
    );
    assert_eq!(tags(&mixed, "acme/shop"), ["v1", "v2", "v3", "v7"]);
    assert_eq!(tags(&mixed, "acme/web"), ["v4", "v8"]);
    assert_eq!(tags(&mixed, "team/acme/shop"), ["v5"]);
    assert_eq!(tags(&mixed, "shop"), ["v9"]);
    assert_eq!(tags(&mixed, "library/shop"), ["v9"]);
}

#[test]
fn a_tag_that_is_written_again_takes_the_place_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let at = |time: &str| serde_json::json!({REF_NAME: "v1", CREATED: time});
    let layout = layout(folder.path(), &[at("2026-11-20T10:00:00Z"), at("2026-11-21T10:00:00Z")]);
    assert_eq!(tags(&layout, "acme/shop"), ["v1"]);
    let pushed = layout.pushed_at(&Repository::new("acme/shop").unwrap(), &Tag::new("v1").unwrap());
    assert_eq!(pushed.unwrap(), Some("2026-11-21T10:00:00Z".parse().unwrap()));
}

#[test]
fn an_unreadable_folder_of_a_layout_is_not_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let outer = layout(folder.path(), &[serde_json::json!({REF_NAME: "of-another"})]);
    // Root may read any folder. A file in place of a folder is an error for root too.
    fs::write(folder.path().join("acme"), "").unwrap();
    assert!(refused(&outer).starts_with(&format!("{}/acme/shop cannot be read: ", folder.path().display())));
}

#[test]
fn a_fault_of_a_layout_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().display();
    let layout = layout(folder.path(), &[]);
    for (file, content, expected) in [
        ("index.json", r#"{"manifests": 3}"#, "/index.json: invalid type: integer `3`"),
        (
            "index.json",
            r#"{"manifests": [{"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}"#,
            "/index.json: tag \"v1\": \"sha256:1\" is not a valid digest",
        ),
        ("oci-layout", r#"{"imageLayoutVersion": "2.0.0"}"#, ": the layout has version \"2.0.0\""),
        ("oci-layout", &" ".repeat(1024 * 1024 + 1), "/oci-layout: the file is longer than 1 MiB"),
    ] {
        fs::write(folder.path().join(file), content).unwrap();
        let message = refused(&layout);
        assert!(message.starts_with(&format!("{shown}{expected}")), "{message}");
    }
}

#[test]
fn order_newest_needs_a_time_of_every_tag() {
    let folder = tempfile::tempdir().unwrap();
    let at = |tag: &str, time: &str| serde_json::json!({REF_NAME: tag, CREATED: time});
    let layout = layout(folder.path(), &[at("v1", "2026-11-20T10:00:00Z"), at("v2", "yesterday")]);
    let repository = Repository::new("acme/shop").unwrap();
    let error = layout.newest_first(&repository).next().unwrap().unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{}: acme/shop:v2 has no time in the annotation {CREATED}, which order = \"newest\" needs",
            folder.path().display()
        )
    );
}

#[test]
fn the_platform_of_a_tag_is_read_from_its_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path(), &[serde_json::json!({REF_NAME: "v1"})]);
    let (repository, tag) = (Repository::new("acme/shop").unwrap(), Tag::new("v1").unwrap());
    let platforms = |tag: &Tag| -> Vec<String> {
        layout.platforms(&repository, tag).unwrap().images.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(platforms(&tag), [""; 0], "a blob is missing");
    let blobs = folder.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let config = "1".repeat(64);
    let manifest = serde_json::json!({"config": {"digest": format!("sha256:{config}")}});
    fs::write(blobs.join("0".repeat(64)), manifest.to_string()).unwrap();
    fs::write(blobs.join(config), r#"{"os": "linux", "architecture": "arm64"}"#).unwrap();
    assert_eq!(platforms(&tag), ["linux/arm64"]);
    assert_eq!(platforms(&Tag::new("v2").unwrap()), [""; 0]);
}
