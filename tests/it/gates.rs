//! Gates: a newer tag is deployed when what must hold first does.

use jiff::{SignedDuration, Timestamp};

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on};
use crate::new_tag::baselined;
use crate::oci::{Door, Oci};
use crate::registry::Build;

fn ago(minutes: i64) -> String {
    format!("{:.0}", Timestamp::now() - SignedDuration::from_mins(minutes))
}

#[test]
fn a_tag_waits_until_it_is_old_enough_and_an_older_one_that_is_ships_meanwhile() {
    for build in [Build::GiteaNew, Build::GiteaOld, Build::Forgejo] {
        for stage in [
            PROD.replace("tags = \"v*\"\norder = \"semver\"", "tags = \"v*\"\norder = \"newest\""),
            PROD.to_owned(),
        ] {
            let gitea = gitea(build);
            let shop = baselined(&gitea, &format!("{stage}min_age = \"30m\"\n"));
            gitea.push("acme/shop", "v1.11.0", &ago(31));
            gitea.push("acme/shop", "v1.12.0", &ago(5));
            shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
            let run = shop.run(&["poll", "--format", "json"]);
            run.code(0).status_is("shop/prod", "waiting");
            let target = run.target("shop/prod");
            assert!(target["reason"].as_str().unwrap().contains("min_age: v1.12.0"), "{target}");
            let until: Timestamp = target["until"].as_str().unwrap().parse().unwrap();
            let left = until.duration_since(Timestamp::now());
            assert!(
                (SignedDuration::from_mins(24)..=SignedDuration::from_mins(25)).contains(&left),
                "{target}"
            );
            assert_eq!(shop.delivered(), ["shop/prod v1.11.0"]);
        }
    }
}

#[test]
fn a_stage_waits_for_the_same_image_to_have_run_on_another() {
    let gitea = gitea(Build::GiteaNew);
    let stages = format!("{DEV}{PROD}after = {{ stage = \"dev\", for = \"1s\" }}\n");
    let shop = baselined(&gitea, &stages);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/prod", "waiting");
    assert!(run.target("shop/prod")["reason"].as_str().unwrap().contains("dev has not run it"));

    // Another name for the same content.
    gitea.retag("acme/shop", "dev-43", "v1.11.0", "2026-11-20T12:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/dev", "deployed").status_is("shop/prod", "waiting");
    crate::harness::await_until("dev ran it for long enough", || {
        shop.run(&["poll", "--format", "json"]).target("shop/prod")["status"] == "deployed"
    });
    assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/prod v1.11.0"]);
}

#[test]
fn a_tag_waits_for_its_sibling() {
    let gitea = gitea(Build::GiteaNew);
    gitea.push("acme/worker", "v1.10.0", "2026-11-20T10:00:00Z");
    let shop = baselined(&gitea, &format!("{PROD}with = [\"acme/worker\"]\n"));
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "acme/worker has no v1.11.0"]);
    shop.run(&["poll"]).code(0).silent();
    gitea.push("acme/worker", "v1.11.0", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

#[test]
fn a_version_too_far_away_is_seen_and_not_taken() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{PROD}max_bump = \"minor\"\n"));
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:01Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
    shop.run(&["poll"]).code(0).line("shop/prod", &["waiting", "v2.0.0", "tagship deploy shop/prod v2.0.0"]);
    assert_eq!(shop.delivered(), ["shop/prod v1.11.0"]);
}

#[test]
fn outside_of_its_window_nothing_is_deployed_and_the_next_one_is_named() {
    let gitea = gitea(Build::GiteaNew);
    // Closed now, whenever now is: it opened and closed an hour ago, or will in some hours.
    let hour = Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).hour();
    let from = (hour + 5) % 24;
    let window = format!("window = [{{ from = \"{from:02}:00\", to = \"{from:02}:30\" }}]\n");
    let shop = baselined(&gitea, &format!("{PROD}{window}"));
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/prod", "waiting");
    let target = run.target("shop/prod");
    assert!(target["until"].as_str().unwrap().contains(&format!("T{from:02}:00:00")), "{target}");
    shop.config(&crate::harness::on_gitea(&gitea, PROD));
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

#[test]
fn a_mutable_tag_is_deployed_again_when_its_digest_changes_and_only_then() {
    for build in [Build::GiteaNew, Build::GiteaOld] {
        let gitea = gitea(build);
        gitea.push("acme/shop", "latest", "2026-11-20T10:30:00Z");
        let stage = PROD.replace(
            "tags = \"v*\"\norder = \"semver\"",
            "tags = \"latest\"\norder = \"newest\"\ndigest = true",
        );
        let shop = baselined(&gitea, &stage);
        shop.run(&["poll"]).code(0).silent();
        gitea.push("acme/shop", "latest", "2026-11-20T11:00:00Z");
        let digest = gitea.digest("acme/shop", "latest");
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "latest"]);
        assert_eq!(shop.command_env("TAGSHIP_DIGEST"), Some(digest));
        shop.run(&["poll"]).code(0).silent();
        assert_eq!(shop.delivered(), ["shop/prod latest"]);
    }
}

#[test]
fn a_tag_that_is_pushed_again_is_no_new_deployment_unless_it_is_said_to_move() {
    for build in [Build::GiteaNew, Build::GiteaOld, Build::Forgejo] {
        let gitea = gitea(build);
        let shop = baselined(&gitea, DEV);
        gitea.push("acme/shop", "dev-42", "2026-11-20T12:00:00Z");
        shop.run(&["poll"]).code(0).silent();
        assert_eq!(shop.delivered(), [""; 0]);
    }
}

#[test]
fn where_a_registry_has_no_push_times_the_newest_is_what_was_seen_last() {
    let oci = Oci::start(Door::Open, 1000);
    for tag in ["dev-a", "dev-b", "dev-c", "other"] {
        oci.push("acme/shop", tag);
    }
    let shop = Shop::with(
        &on("oci", &oci.url(), DEV).replace("token = { file = \"secret/token\" }", "anonymous = true"),
    );
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(oci.count("manifests"), 0, "the baseline reads nothing");
    // A name that sorts before those that were there.
    oci.push("acme/shop", "dev-0");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-0"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-0"]);
}

#[test]
fn a_tag_pushed_while_the_servers_clock_was_back_is_told_and_not_silently_missed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T09:59:59Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["older", "dev-43", "tagship deploy shop/dev dev-43"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), [""; 0]);
}
