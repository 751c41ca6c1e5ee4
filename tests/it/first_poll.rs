//! What the very first poll does with what it finds.

use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::oci::{Door, Oci};
use crate::registry::{Build, Gitea, TOKEN};

/// A registry with three dev tags, `dev-42` the last, and two versions, `v1.10.0` the greatest.
pub(crate) fn gitea(build: Build) -> Gitea {
    let gitea = Gitea::start(build);
    gitea.push("acme/shop", "dev-9", "2026-11-20T10:00:00Z");
    gitea.push("acme/shop", "v1.10.0", "2026-11-20T10:00:01Z");
    gitea.push("acme/shop", "dev-41", "2026-11-20T10:00:02Z");
    gitea.push("acme/shop", "v1.9.0", "2026-11-20T10:00:03Z");
    gitea.push("acme/shop", "dev-42", "2026-11-20T10:00:04Z");
    gitea
}

#[test]
fn a_first_poll_remembers_the_newest_tag_and_deploys_nothing() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = Shop::with(&on_gitea(&gitea, &format!("{DEV}{PROD}")));

        shop.run(&["poll"])
            .code(0)
            .line("shop/dev", &["baseline", "dev-42"])
            .line("shop/prod", &["baseline", "v1.10.0"]);

        assert_eq!(shop.delivered(), [""; 0], "{build:?}");
        let dev = shop.status("shop/dev");
        assert_eq!(dev["latest_tag"], "dev-42", "{build:?}");
        assert!(dev["deployed_tag"].is_null(), "{build:?}: {dev}");
    }
}

#[test]
fn each_order_picks_its_own_newest() {
    for build in Build::ALL {
        let gitea = gitea(build);
        // Pushed last, and smaller in every other order.
        gitea.push("acme/shop", "dev-7", "2026-11-20T10:00:05Z");
        let stage = |name: &str, tags: &str, order: &str| {
            format!(
                "[projects.shop.stages.{name}]\ntags = \"{tags}\"\norder = \"{order}\"\n\
                 deploy = {{ command = [\"./deploy.sh\"] }}\n"
            )
        };
        let stages = [
            stage("newest", "dev-*", "newest"),
            stage("numeric", "dev-*", "numeric"),
            stage("alphabetical", "dev-*", "alphabetical"),
            stage("semver", "v*", "semver"),
        ];
        let shop = Shop::with(&on_gitea(&gitea, &stages.concat()));

        let run = shop.run(&["poll", "--format", "json"]);
        run.code(0);
        for (target, tag) in [
            ("shop/newest", "dev-7"),
            ("shop/numeric", "dev-42"),
            ("shop/alphabetical", "dev-9"),
            ("shop/semver", "v1.10.0"),
        ] {
            run.status_is(target, "baseline");
            assert_eq!(run.target(target)["latest_tag"], tag, "{build:?} {target}");
        }
    }
}

#[test]
fn inside_one_second_the_later_push_is_newer() {
    for build in Build::ALL {
        let gitea = Gitea::start(build);
        for tag in ["dev-1", "dev-3", "dev-2"] {
            gitea.push("acme/shop", tag, "2026-11-20T10:00:00Z");
        }
        // Enough of them to end a page within that second.
        for number in 0..60 {
            gitea.push("acme/shop", &format!("other-{number}"), "2026-11-20T10:00:00Z");
        }
        let shop = Shop::with(&on_gitea(&gitea, DEV));
        let run = shop.run(&["poll", "--format", "json"]);
        assert_eq!(run.code(0).target("shop/dev")["latest_tag"], "dev-2", "{build:?}");
    }
}

#[test]
fn a_small_page_cap_hides_nothing() {
    for build in Build::ALL {
        let gitea = gitea(build);
        gitea.cap(2);
        for number in 0..9 {
            gitea.push("acme/shop", &format!("other-{number}"), "2026-11-21T10:00:00Z");
        }
        let shop = Shop::with(&on_gitea(&gitea, DEV));
        let run = shop.run(&["poll", "--format", "json"]);
        assert_eq!(run.code(0).target("shop/dev")["latest_tag"], "dev-42", "{build:?}");
    }
}

#[test]
fn a_server_in_another_time_zone_has_the_same_newest_tag() {
    for build in Build::ALL {
        let gitea = gitea(build);
        gitea.zone(5);
        let shop = Shop::with(&on_gitea(&gitea, DEV));
        let run = shop.run(&["poll", "--format", "json"]);
        assert_eq!(run.code(0).target("shop/dev")["latest_tag"], "dev-42", "{build:?}");
    }
}

#[test]
fn children_of_an_index_and_images_with_similar_names_are_not_tags_of_the_image() {
    for build in Build::ALL {
        let gitea = gitea(build);
        gitea.push("acme/shop-worker", "dev-99", "2026-11-21T10:00:00Z");
        gitea.push("acme/team/shop", "dev-98", "2026-11-21T10:00:00Z");
        gitea.push_child("acme/shop", "2026-11-21T10:00:01Z");
        let any = "[projects.shop.stages.any]\ntags = \"*\"\norder = \"newest\"\ndeploy = { command = [\"true\"] }\n";
        let shop = Shop::with(&on_gitea(&gitea, any));
        let run = shop.run(&["poll", "--format", "json"]);
        assert_eq!(run.code(0).target("shop/any")["latest_tag"], "dev-42", "{build:?}");
    }
}

#[test]
fn an_image_with_a_slash_in_its_name_is_found() {
    for build in Build::ALL {
        let gitea = gitea(build);
        gitea.push("acme/team/api", "dev-5", "2026-11-20T10:00:00Z");
        let config = on_gitea(&gitea, DEV).replace("acme/shop", "acme/team/api");
        let shop = Shop::with(&config);
        let run = shop.run(&["poll", "--format", "json"]);
        assert_eq!(run.code(0).target("shop/dev")["latest_tag"], "dev-5", "{build:?}");
    }
}

#[test]
fn a_first_poll_that_finds_no_tag_makes_the_first_tag_ever_new() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, &DEV.replace("dev-*", "stage-*")));
    shop.run(&["poll"]).code(0).line("shop/dev", &["no_match"]);
    shop.run(&["poll"]).code(0).silent();

    gitea.push("acme/shop", "stage-1", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "stage-1"]);
    assert_eq!(shop.delivered(), ["shop/dev stage-1"]);
}

#[test]
fn first_poll_deploy_deploys_the_newest_tag_at_once() {
    let gitea = gitea(Build::GiteaNew);
    let stage = format!("{DEV}first_poll = \"deploy\"\n");
    let shop = Shop::with(&on_gitea(&gitea, &stage));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-42"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-42"]);
}

#[test]
fn making_a_state_file_is_said() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.run(&["poll"]).code(0).stderr_has("state.db");
    assert!(shop.exists("state.db"));
}

#[test]
fn a_state_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.run(&["poll"]).code(0);
    let mode = std::fs::metadata(shop.path("state.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn plain_registries_are_polled_behind_every_door() {
    for door in [Door::Open, Door::Basic, Door::Bearer] {
        let registry = Oci::start(door, 2);
        for tag in ["v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-rc.1", "latest"] {
            registry.push("acme/shop", tag);
        }
        let shop = Shop::with(&on("oci", &registry.url(), PROD));
        let run = shop.run(&["poll", "--format", "json"]);
        assert_eq!(run.code(0).target("shop/prod")["latest_tag"], "v1.10.0", "{door:?}");

        registry.push("acme/shop", "v1.11.0");
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
        assert_eq!(shop.delivered(), ["shop/prod v1.11.0"], "{door:?}");
        assert!(registry.count("/token") <= 2, "{door:?}: one exchange a run");
    }
}

#[test]
fn a_registry_without_credentials_is_read_anonymously() {
    let gitea = gitea(Build::GiteaNew);
    let config = on_gitea(&gitea, PROD).replace("token = { file = \"secret/token\" }", "anonymous = true");
    let shop = Shop::with(&config);
    let run = shop.run(&["poll", "--format", "json"]);
    assert_eq!(run.code(0).target("shop/prod")["latest_tag"], "v1.10.0");
}

#[test]
fn a_token_comes_from_the_environment_a_file_or_a_command() {
    for source in [
        "{ env = \"GITEA_TOKEN\" }",
        "{ file = \"secret/token\" }",
        "{ command = [\"cat\", \"secret/token\"] }",
    ] {
        let gitea = gitea(Build::GiteaNew);
        let config = on_gitea(&gitea, DEV).replace("{ file = \"secret/token\" }", source);
        let mut shop = Shop::with(&config);
        shop.env("GITEA_TOKEN", TOKEN);
        shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-42"]);

        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        // deploy.sh writes down its environment, and the harness looks for the token there.
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        assert_eq!(shop.command_env("GITEA_TOKEN"), None, "{source}");
    }
}

#[test]
fn a_registry_without_token_uses_the_variable_of_its_name() {
    let gitea = gitea(Build::GiteaNew);
    let config = on_gitea(&gitea, DEV).replace("token = { file = \"secret/token\" }\n", "");
    let mut shop = Shop::with(&config);
    shop.env("TAGSHIP_TOKEN_GIT", TOKEN);
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-42"]);
}
