//! The configurations that `init` writes.

use std::path::Path;

use super::*;
use crate::config;
use crate::policy::{Order, propose, wanted};

fn gitea() -> RegistryDraft {
    RegistryDraft {
        kind: "gitea",
        address: Some("https://git.example.com".to_owned()),
        token: Token::Search,
        username: None,
        insecure_http: false,
    }
}

fn project(image: &str, tags: &[&str]) -> Project {
    let tags: Vec<Tag> = tags.iter().map(|tag| Tag::new(tag).unwrap()).collect();
    Project { image: Repository::new(image).unwrap(), proposal: propose(&tags), fault: None }
}

fn draft(registry: RegistryDraft, projects: Vec<Project>) -> Draft {
    let deploy = Deploy::Command(vec!["./deploy.sh".to_owned(), "{tag}".to_owned()]);
    Draft { registry, projects, deploy, all_of: None, state: Some("state.db".to_owned()) }
}

fn targets(text: &str) -> Vec<String> {
    let config = config::parse(Path::new("/etc/tagship/config.toml"), text.to_owned());
    let config = config.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    config
        .targets
        .iter()
        .map(|target| format!("{} {} {}", target.id, target.image.repository, target.policy.rule_text()))
        .collect()
}

#[test]
fn the_written_file_is_valid_for_every_kind_and_source() {
    let address = |kind| match kind {
        "gitea" | "forgejo" | "oci" => Some("https://git.example.com/sub".to_owned()),
        "oci-layout" => Some("/srv/it's \"images\"\\".to_owned()),
        _ => None,
    };
    let tokens = [
        Token::Search,
        Token::Anonymous,
        Token::Env("GIT_TOKEN".to_owned()),
        Token::File("/etc/to\"ken\n".to_owned()),
        Token::Credential("git".to_owned()),
    ];
    for kind in ["gitea", "forgejo", "github", "dockerhub", "gitlab", "oci", "oci-layout"] {
        for token in &tokens {
            let registry = RegistryDraft { kind, address: address(kind), token: token.clone(), ..gitea() };
            let text = configuration(&draft(registry, vec![project("acme/shop", &["v1.0.0"])]));
            assert_eq!(targets(&text).len(), 1, "{text}");
        }
    }
}

#[test]
fn image_names_of_any_form_become_names_of_projects() {
    let images =
        ["acme/shop", "other/shop", "acme/team/api", "acme/team-api", "acme/a.b", "0/0", "acme/settings"];
    let long = format!("acme/{}", "a".repeat(200));
    let projects = images.iter().copied().chain([long.as_str(), long.as_str()]);
    let projects: Vec<Project> = projects.map(|image| project(image, &["v1.0.0"])).collect();
    let text = configuration(&draft(gitea(), projects));
    let found = targets(&text);
    assert_eq!(found.len(), images.len() + 2, "{text}");
    for name in [
        "shop/prod acme/shop",
        "shop-2/prod other/shop",
        "team-api/prod",
        "team-api-2/prod",
        "a.b/prod",
        "0/prod",
    ] {
        assert!(found.iter().any(|line| line.starts_with(name)), "{name}: {found:?}");
    }
}

#[test]
fn an_image_without_a_rule_is_a_comment() {
    let mut without = project("acme/odd", &["latest"]);
    let text = configuration(&draft(gitea(), vec![project("acme/shop", &["v1.0.0"]), without]));
    assert_eq!(targets(&text).len(), 1, "{text}");
    assert!(text.contains("# [projects.odd]\n"), "{text}");
    assert!(text.contains("# Skipped: latest: moving tags"), "{text}");
    without = project("acme/odd", &[]);
    without.fault = Some("401 Unauthorized\n[registries.evil]".to_owned());
    let text = configuration(&draft(gitea(), vec![project("acme/shop", &["v1.0.0"]), without]));
    assert_eq!(targets(&text).len(), 1, "{text}");
    assert!(text.contains("# 401 Unauthorized [registries.evil].\n"), "{text}");
}

#[test]
fn every_stage_has_its_rule_and_says_why() {
    let shop = project("acme/shop", &["dev-1", "dev-2", "v1.0.0", "latest", "sha256-0.sig"]);
    let text = configuration(&draft(gitea(), vec![shop]));
    assert_eq!(
        targets(&text),
        ["shop/dev acme/shop tags=\"dev-*\" order=numeric", "shop/prod acme/shop tags=\"v*\" order=semver"]
    );
    for part in [
        "# 2 tags at present, such as dev-2, dev-1.\n",
        "order = \"numeric\" # growing numbers\n",
        "# Skipped: sha256-0.sig: signatures and attestations, not images.\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_wanted_stage_has_the_order_that_was_given() {
    let proposal = Proposal {
        stages: vec![wanted("dev", "dev-*", Some(Order::Numeric)), wanted("prod", "v*", None)],
        skipped: Vec::new(),
    };
    let image = Repository::new("acme/shop").unwrap();
    let text = configuration(&draft(gitea(), vec![Project { image, proposal, fault: None }]));
    assert!(text.contains("tags = \"dev-*\"\norder = \"numeric\"\n"), "{text}");
    assert!(text.contains("tags = \"v*\"\norder = \"semver\" # a guess:"), "{text}");
}

#[test]
fn images_with_alike_tags_have_one_table_and_the_others_their_own() {
    let draft = Draft {
        all_of: Some("acme".to_owned()),
        ..draft(
            gitea(),
            vec![
                project("acme/acme", &["v1.0.0", "v1.1.0"]),
                project("acme/blog", &["v1.0.0"]),
                project("acme/moving", &["latest"]),
                project("acme/team/api", &["v3.0.0"]),
                project("acme/team-api", &["v2.0.0"]),
                project("acme/wiki", &["dev-1", "dev-2"]),
            ],
        )
    };
    let text = configuration(&draft);
    assert!(
        text.contains(
            "# 3 images with similar tags: acme/acme, acme/blog, acme/team/api\n\
             # Each image is a project of its own. In deploy, {project} and {image} tell them apart;\n\
             # a command also has TAGSHIP_PROJECT and TAGSHIP_IMAGE.\n\
             # A new image becomes a project, too, and begins with a first poll.\n\
             [projects.all]\nregistry = \"git\"\nimages = \"acme/*\"\nexclude_images = [\n    \"acme/moving\", # none of its tags suggests a rule\n]\n"
        ),
        "{text}"
    );
    // Two images that give one name have one project of their own.
    let own = targets(&text);
    assert_eq!(own.len(), 2, "{own:?}");
    assert!(own[0].starts_with("team-api-2/prod acme/team-api "), "{own:?}");
    assert!(own[1].starts_with("wiki/dev acme/wiki "), "{own:?}");
    // Where most images differ, each has its own.
    let differing = Draft {
        projects: vec![
            project("acme/a", &["v1.0.0"]),
            project("acme/b", &["dev-1", "dev-2"]),
            project("acme/c", &["2026.11.20"]),
        ],
        ..draft
    };
    assert_eq!(targets(&configuration(&differing)).len(), 3);
}
