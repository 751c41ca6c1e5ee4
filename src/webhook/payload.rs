//! What a push notification says: images, and tags that were pushed to them. Everything else in it is ignored.

use serde_json::Value;

use crate::reference::{Repository, Tag};

/// A payload that cannot be read. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not JSON; set the content type of the webhook to application/json")]
pub(crate) struct NotJson;

/// Images that a payload names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushedImage {
    images: Images,
    /// The tag that was pushed, if the payload names it.
    tag: Option<Tag>,
}

/// In lower case, as images are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Images {
    One(String),
    /// A project of GitLab: its own image and all below its path.
    OfProject(String),
}

impl PushedImage {
    /// Whether the image can have a new tag.
    pub(crate) fn concerns(&self, image: &Repository) -> bool {
        match &self.images {
            Images::One(name) => image.as_str() == name,
            Images::OfProject(path) => image
                .as_str()
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// The image that was pushed, if the payload names one.
    pub(crate) fn image(&self) -> Option<Repository> {
        match &self.images {
            Images::One(name) | Images::OfProject(name) => Repository::new(name).ok(),
        }
    }

    /// The tag that was pushed, if the payload names it.
    pub(crate) fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    fn one(name: &str, tag: Option<&str>) -> PushedImage {
        PushedImage { images: Images::One(name.to_lowercase()), tag: tag.and_then(|tag| Tag::new(tag).ok()) }
    }
}

/// The images that a payload of Gitea, Forgejo, GitHub, GitLab, Docker Hub or a distribution registry names. Empty: it
/// reports something else.
///
/// # Errors
/// It is not JSON.
pub(crate) fn pushed(payload: &[u8]) -> Result<Vec<PushedImage>, NotJson> {
    let payload: Value = serde_json::from_slice(payload).map_err(|_| NotJson)?;
    let shapes = [gitea, github, gitlab, docker_hub];
    let mut found: Vec<PushedImage> = shapes.iter().filter_map(|shape| shape(&payload)).collect();
    found.extend(distribution(&payload));
    Ok(found)
}

/// The package event of Gitea and Forgejo (`PackagePayload` in modules/structs of both). The version of a manifest
/// without a tag is its digest.
fn gitea(payload: &Value) -> Option<PushedImage> {
    let package = &payload["package"];
    let is_pushed = package["type"] == "container" && payload["action"] == "created";
    let (owner, name) = (package["owner"]["login"].as_str()?, package["name"].as_str()?);
    is_pushed.then(|| PushedImage::one(&format!("{owner}/{name}"), package["version"].as_str()))
}

/// The `registry_package` event of GitHub, and the older `package` event with the same content. A package without
/// `container_metadata` is not an image.
fn github(payload: &Value) -> Option<PushedImage> {
    let package = ["registry_package", "package"].iter().find_map(|key| payload.get(key))?;
    let image = package["package_version"].get("container_metadata")?;
    let owner = package["owner"]["login"].as_str().or_else(|| package["namespace"].as_str())?;
    let name = package["name"].as_str()?;
    Some(PushedImage::one(&format!("{owner}/{name}"), image["tag"]["name"].as_str()))
}

/// A pipeline or a job of GitLab that succeeded, and so may have pushed any image of its project. The registry of
/// GitLab itself sends what a distribution registry sends.
fn gitlab(payload: &Value) -> Option<PushedImage> {
    let status = match payload["object_kind"].as_str()? {
        "pipeline" => &payload["object_attributes"]["status"],
        "build" => &payload["build_status"],
        _ => return None,
    };
    let path = payload["project"]["path_with_namespace"].as_str().filter(|path| !path.is_empty())?;
    (status == "success").then(|| PushedImage { images: Images::OfProject(path.to_lowercase()), tag: None })
}

/// <https://docs.docker.com/docker-hub/webhooks>: the push of a tag.
fn docker_hub(payload: &Value) -> Option<PushedImage> {
    let tag = payload["push_data"]["tag"].as_str()?;
    Some(PushedImage::one(payload["repository"]["repo_name"].as_str()?, Some(tag)))
}

/// <https://distribution.github.io/distribution/about/notifications/>: several events in one payload, most of them
/// about layers and pulls. Only the push of a tag has a tag.
fn distribution(payload: &Value) -> impl Iterator<Item = PushedImage> {
    let events = payload["events"].as_array().into_iter().flatten();
    events.filter(|event| event["action"] == "push").filter_map(|event| {
        let target = &event["target"];
        let tag = target["tag"].as_str().filter(|tag| !tag.is_empty())?;
        Some(PushedImage::one(target["repository"].as_str()?, Some(tag)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(name: &str, tag: Option<&str>) -> PushedImage {
        PushedImage::one(name, tag)
    }

    fn of(payload: &Value) -> Vec<PushedImage> {
        pushed(payload.to_string().as_bytes()).unwrap()
    }

    /// Without the fields that no reader of them would miss.
    #[test]
    fn each_sender_names_its_image_and_tag() {
        let gitea = |action: &str, kind: &str, version: &str| {
            json!({
                "action": action,
                "repository": null,
                "package": {
                    "id": 7, "owner": { "id": 2, "login": "Acme", "username": "Acme" }, "repository": null,
                    "creator": { "login": "ci" }, "type": kind, "name": "team/api", "version": version,
                    "html_url": "https://git.example.com/Acme/-/packages/container/team%2Fapi/dev-43",
                    "created_at": "2026-11-20T11:00:00Z"
                },
                "organization": { "login": "Acme" },
                "sender": { "login": "ci" }
            })
        };
        let github = |key: &str, tag: Value| {
            json!({
                "action": "published",
                key: {
                    "id": 1, "name": "shop", "namespace": "Acme", "ecosystem": "CONTAINER", "package_type": "CONTAINER",
                    "owner": { "login": "Acme", "type": "Organization" },
                    "package_version": {
                        "id": 2, "version": "sha256:7d38", "name": "sha256:7d38",
                        "container_metadata": { "tag": tag, "labels": {}, "manifest": {} },
                        "package_url": "ghcr.io/acme/shop:dev-43"
                    },
                    "registry": { "name": "GitHub container registry" }
                },
                "repository": { "full_name": "Acme/source" }
            })
        };
        let npm = json!({ "action": "published", "registry_package": {
            "name": "shop", "namespace": "Acme", "package_type": "npm", "owner": { "login": "Acme" },
            "package_version": { "version": "1.0.0" }
        }});
        let pipeline = |status: &str| {
            json!({
                "object_kind": "pipeline",
                "object_attributes": { "id": 31, "ref": "main", "tag": false, "status": status },
                "project": { "id": 1, "path_with_namespace": "Acme/Shop", "default_branch": "main" }
            })
        };
        let hub = json!({
            "callback_url": "https://registry.hub.docker.com/u/acme/shop/hook/2141b/",
            "push_data": { "pushed_at": 1_417_566_161, "pusher": "ci", "tag": "dev-43" },
            "repository": { "name": "shop", "namespace": "acme", "owner": "acme", "repo_name": "acme/shop",
                "repo_url": "https://registry.hub.docker.com/u/acme/shop/", "status": "Active" }
        });
        let event = |action: &str, tag: &str| {
            json!({
                "id": "320678d8", "timestamp": "2026-11-20T11:00:00Z", "action": action,
                "target": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 708,
                    "digest": "sha256:fea8", "repository": "acme/shop", "tag": tag,
                    "url": "https://registry.example.com/v2/acme/shop/manifests/sha256:fea8" },
                "request": { "host": "registry.example.com", "method": "PUT" }, "actor": {}
            })
        };
        let layer =
            json!({ "action": "push", "target": { "repository": "acme/shop", "digest": "sha256:aa" } });
        let envelope = json!({ "events": [layer, event("push", "dev-43"), event("pull", "dev-1"), event("push", "v2")] });
        for (payload, expected) in [
            (gitea("created", "container", "dev-43"), vec![one("acme/team/api", Some("dev-43"))]),
            (gitea("created", "container", "sha256:7d38"), vec![one("acme/team/api", None)]),
            (gitea("deleted", "container", "dev-43"), vec![]),
            (gitea("created", "npm", "1.0.0"), vec![]),
            (
                github("registry_package", json!({ "name": "dev-43", "digest": "sha256:7d38" })),
                vec![one("acme/shop", Some("dev-43"))],
            ),
            (github("package", json!({ "name": "dev-43" })), vec![one("acme/shop", Some("dev-43"))]),
            (github("registry_package", json!({ "name": "", "digest": "" })), vec![one("acme/shop", None)]),
            (npm, vec![]),
            (
                pipeline("success"),
                vec![PushedImage { images: Images::OfProject("acme/shop".to_owned()), tag: None }],
            ),
            (pipeline("running"), vec![]),
            (hub, vec![one("acme/shop", Some("dev-43"))]),
            (envelope, vec![one("acme/shop", Some("dev-43")), one("acme/shop", Some("v2"))]),
        ] {
            assert_eq!(of(&payload), expected, "{payload:#}");
        }
    }

    #[test]
    fn a_payload_of_another_event_names_no_image() {
        for payload in [
            json!({ "zen": "Keep it logically awesome.", "hook": { "type": "Organization" } }),
            json!({ "ref": "refs/heads/main", "repository": { "full_name": "acme/shop" } }),
            json!({ "object_kind": "push", "project": { "path_with_namespace": "acme/shop" } }),
            json!({ "object_kind": "pipeline", "object_attributes": { "status": "success" },
                "project": { "path_with_namespace": "" } }),
            json!({ "events": "none", "package": [], "push_data": 1 }),
            json!([]),
            json!(null),
        ] {
            assert_eq!(of(&payload), [], "{payload}");
        }
        assert_eq!(pushed(b"payload=%7B%7D"), Err(NotJson));
        assert_eq!(pushed(b""), Err(NotJson));
    }

    #[test]
    fn a_project_concerns_its_own_images_only() {
        let concerns = |pushed: &PushedImage, image: &str| {
            pushed.concerns(&Repository::new(image).expect("a valid image"))
        };
        let project = PushedImage { images: Images::OfProject("acme/shop".to_owned()), tag: None };
        assert!(concerns(&project, "acme/shop") && concerns(&project, "acme/shop/api/v2"));
        assert!(!concerns(&project, "acme/shop2") && !concerns(&project, "acme"));
        let image = one("Acme/Shop", None);
        assert!(concerns(&image, "acme/shop") && !concerns(&image, "acme/shop/api"));
    }
}
