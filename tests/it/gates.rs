//! Gates: a newer tag is deployed when what must hold first does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on, on_gitea};
use crate::http::{Answer, Server};
use crate::new_tag::baselined;
use crate::oci::{Door, Oci};
use crate::registry::{Build, Gitea, digest_of};

fn ago(minutes: i64) -> String {
    format!("{:.0}", Timestamp::now() - SignedDuration::from_mins(minutes))
}

#[test]
fn a_tag_waits_for_min_age_while_an_older_one_ships() {
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
    await_until("dev ran it for long enough", || {
        shop.run(&["poll", "--format", "json"]).target("shop/prod")["status"] == "deployed"
    });
    assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/prod v1.11.0"]);
}

#[test]
fn a_stage_does_not_follow_to_what_the_other_left_by_a_mark() {
    let gitea = gitea(Build::GiteaNew);
    let next = DEV.replace("stages.dev", "stages.next");
    let shop = baselined(&gitea, &format!("{DEV}{next}after = {{ stage = \"dev\", for = \"1ms\" }}\n"));
    shop.run(&["hold", "shop/next"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-44"]);
    shop.run(&["mark", "shop/dev", "dev-43"]).code(0);
    shop.run(&["release", "shop/next"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/next", &["deployed", "dev-43"]);
    let run = shop.run(&["tags", "shop/next"]);
    assert!(run.code(0).stdout.contains("after: dev went back from dev-44"), "{run:?}");
}

#[test]
fn a_mark_or_a_deployment_of_what_runs_does_not_begin_the_wait_again() {
    let gitea = gitea(Build::GiteaNew);
    let next = DEV.replace("stages.dev", "stages.next");
    for command in [["mark", "shop/dev", "dev-43"], ["deploy", "shop/dev", "dev-43"]] {
        let shop = baselined(&gitea, &format!("{DEV}{next}after = {{ stage = \"dev\", for = \"1h\" }}\n"));
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        shop.run(&command).code(0);
        let state = Connection::open(shop.path("state.db")).unwrap();
        for (rowid, minutes) in [(1, 61), (2, 30)] {
            let query = "UPDATE deployment SET ended_at = ?2 WHERE rowid = ?1";
            assert_eq!(state.execute(query, (rowid, ago(minutes))).unwrap(), 1);
        }
        shop.run(&["poll"]).code(0).line("shop/next", &["deployed", "dev-43"]);
        gitea.delete("acme/shop", "dev-43");
    }
}

/// The other stage was marked while the tag pointed at the image before.
#[test]
fn a_mark_of_a_mutable_tag_lets_no_later_image_pass() {
    let gitea = gitea(Build::GiteaNew);
    let dev = DEV.replace("dev-*", "dev-42") + "digest = true\n";
    let next = dev.replace("stages.dev", "stages.next") + "after = { stage = \"dev\", for = \"1ms\" }\n";
    let shop = baselined(&gitea, &format!("{dev}auto_deploy = false\n{next}"));
    shop.run(&["mark", "shop/dev", "dev-42"]).code(0);
    // The last poll that finds the tag as it was.
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-42", "2026-11-20T11:00:00Z");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/dev", "available").status_is("shop/next", "waiting");
    // A receiver that deployed the new image marks it.
    shop.run(&["mark", "shop/dev", "dev-42"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/next", &["deployed", "dev-42"]);
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
    shop.config(&on_gitea(&gitea, PROD));
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

/// Pushed once more between the decision and its deployment's turn.
#[test]
fn a_mutable_tag_that_moves_while_its_deployment_waits_is_deployed_once() {
    let gitea = gitea(Build::GiteaNew);
    gitea.push("acme/shop", "latest", "2026-11-20T10:30:00Z");
    let rule = "tags = \"latest\"\norder = \"newest\"\ndigest = true";
    let shop = baselined(&gitea, &PROD.replace("tags = \"v*\"\norder = \"semver\"", rule));
    gitea.push("acme/shop", "latest", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "latest"]);
    shop.remove("fail");
    let asked = AtomicUsize::new(0);
    let moved = digest_of("moved");
    let manifest = Answer::new(200, "application/vnd.oci.image.manifest.v1+json", "");
    let manifest = manifest.with("Docker-Content-Digest", moved.as_str());
    gitea.intercept(move |request| {
        let is_later =
            request.target.contains("/manifests/latest") && asked.fetch_add(1, Ordering::SeqCst) > 0;
        is_later.then(|| manifest.clone().into())
    });
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "latest"]);
    assert_eq!(shop.command_env("TAGSHIP_DIGEST"), Some(moved));
    shop.run(&["poll"]).code(0).silent();
    let deliveries = shop.deliveries();
    assert_eq!(deliveries.len(), 2);
    assert_ne!(deliveries[0].id, deliveries[1].id, "another digest is another deployment");
}

/// Between the question and the turn, as a poll beside this one records it.
#[test]
fn a_deployment_that_another_run_took_over_while_we_asked_is_left_to_it() {
    for moved in [false, true] {
        let gitea = gitea(Build::GiteaNew);
        let shop = baselined(&gitea, PROD);
        gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
        let digest = if moved { digest_of("moved") } else { gitea.digest("acme/shop", "v1.11.0") };
        shop.file("fail", "");
        shop.run(&["poll"]).code(1);
        shop.remove("fail");
        let state = shop.path("state.db");
        let manifest = Answer::new(200, "application/vnd.oci.image.manifest.v1+json", "");
        let manifest = manifest.with("Docker-Content-Digest", digest);
        gitea.intercept(move |request| {
            request.target.contains("/manifests/").then(|| {
                let taken_over = "UPDATE deployment SET state = 'superseded' WHERE state = 'pending';
                    INSERT INTO deployment (id, project, stage, registry, repository, tag, decided_by, state, attempts, created_at, goes_back)
                    SELECT 'other', project, stage, registry, repository, tag, decided_by, 'pending', 0, created_at, 0
                    FROM deployment WHERE state = 'superseded'";
                Connection::open(&state).unwrap().execute_batch(taken_over).unwrap();
                manifest.clone().into()
            })
        });
        shop.run(&["poll"]).code(0);
        assert_eq!(shop.deliveries().len(), 1, "moved: {moved}");
        gitea.recover();
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
        assert_eq!(shop.deliveries().len(), 2);
    }
}

#[test]
fn a_tag_pushed_again_is_not_deployed_again_by_default() {
    for build in [Build::GiteaNew, Build::GiteaOld, Build::Forgejo] {
        let gitea = gitea(build);
        let shop = baselined(&gitea, DEV);
        gitea.push("acme/shop", "dev-42", "2026-11-20T12:00:00Z");
        shop.run(&["poll"]).code(0).silent();
        assert_eq!(shop.delivered(), [""; 0]);
    }
}

#[test]
fn without_push_times_the_newest_is_the_tag_seen_last() {
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
fn a_tag_pushed_during_a_clock_error_of_the_server_is_reported() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T09:59:59Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["older", "dev-43", "tagship deploy shop/dev dev-43"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), [""; 0]);
}

/// New Gitea has no manifest for a tag that was pushed A, B, A: such a tag does not count as unchanged.
#[test]
fn a_moving_tag_without_a_manifest_is_never_up_to_date() {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/shop", "a", "2026-11-20T10:00:00Z");
    gitea.push("acme/shop", "b", "2026-11-20T10:00:00Z");
    gitea.retag("acme/shop", "edge", "a", "2026-11-20T10:01:00Z");
    let stage = "[projects.shop.stages.dev]\ntags = \"edge\"\norder = \"newest\"\ndigest = true\n\
                 deploy = { command = [\"./deploy.sh\"] }\n";
    let shop = Shop::with(&on_gitea(&gitea, stage));
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "edge"]);
    gitea.retag("acme/shop", "edge", "b", "2026-11-20T10:02:00Z");
    gitea.retag("acme/shop", "edge", "a", "2026-11-20T10:03:00Z");
    for _ in 0..2 {
        shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "waiting");
        assert_eq!(shop.status("shop/dev")["status"], "waiting");
    }
    // The first poll of another shop finds it so: what it is when it comes back is the baseline.
    let other = Shop::with(&on_gitea(&gitea, stage));
    other.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "waiting");
    gitea.push("acme/shop", "edge", "2026-11-20T10:04:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "edge"]);
    other.run(&["poll"]).code(0).line("shop/dev", &["baseline", "edge"]);
}

#[test]
fn a_stage_that_goes_by_digests_says_which_tag_it_follows() {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/shop", "edge-a", "2026-11-20T10:00:00Z");
    gitea.push("acme/shop", "edge-b", "2026-11-20T10:01:00Z");
    let stage = "[projects.shop.stages.dev]\ntags = \"edge-*\"\norder = \"newest\"\ndigest = true\n\
                 deploy = { command = [\"./deploy.sh\"] }\n";
    let shop = Shop::with(&on_gitea(&gitea, stage));
    shop.run(&["check"])
        .code(0)
        .stderr_has("digest = true follows one tag only, the greatest by order = \"newest\":");
    let warning = "shop/dev: digest = true follows one tag, edge-b, and ignores edge-a, which also matches";
    shop.run(&["poll"]).code(0).stderr_has(warning);
    shop.run(&["poll"]).code(0).silent();
    shop.run(&["check"]).code(0).stderr_has("order = \"newest\" (edge-b now):");
    shop.config(&on_gitea(&gitea, &stage.replace("edge-*", "edge-b")));
    shop.run(&["check"]).code(0).stderr("");
    shop.run(&["poll"]).code(0).stderr("");
}

/// An index of two platforms under the tag `edge`, whose content moves.
fn moving_index() -> (Arc<Mutex<[u8; 2]>>, Server) {
    let content = Arc::new(Mutex::new([1, 1]));
    let shown = Arc::clone(&content);
    let server = Server::start(move |request| {
        let [amd64, arm64] = *shown.lock().unwrap();
        let manifest = |architecture: &str, content: u8| {
            serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,
                "digest": digest_of(&format!("{architecture} {content}")),
                "platform": {"os": "linux", "architecture": architecture}})
        };
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest("amd64", amd64), manifest("arm64", arm64)]});
        let index = index.to_string();
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&index)));
        let kind = "application/vnd.oci.image.index.v1+json";
        match request.path() {
            "/v2/acme/shop/manifests/edge" => {
                Answer::new(200, kind, index).with("Docker-Content-Digest", digest).into()
            }
            "/v2/acme/shop/tags/list" => Answer::json(200, r#"{"name":"acme/shop","tags":["edge"]}"#).into(),
            "/v2/token" => Answer::json(200, r#"{"token":"planted-jwt"}"#).into(),
            "/v2/" => Answer::json(200, "{}").into(),
            _ => Answer::json(404, "{}").into(),
        }
    });
    (content, server)
}

const EDGE: &str = "[projects.shop.stages.dev]\ntags = \"edge\"\norder = \"alphabetical\"\ndigest = true\n\
                    platforms = [\"linux/amd64\"]\ndeploy = { command = [\"./deploy.sh\"] }\n";

#[test]
fn a_new_platform_alone_is_not_deployed() {
    for kind in ["oci", "gitlab", "gitea"] {
        let (content, server) = moving_index();
        let shop = Shop::with(&on(kind, &server.url(), EDGE));
        shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "edge"]);
        for arm64 in 2..4 {
            content.lock().unwrap()[1] = arm64;
            let run = shop.run(&["poll", "--format", "json"]);
            run.code(0).status_is("shop/dev", "up_to_date");
        }
        content.lock().unwrap()[0] = 2;
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "edge"]);
        content.lock().unwrap()[1] = 4;
        shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "up_to_date");
        assert_eq!(shop.delivered(), ["shop/dev edge"], "{kind}");
    }
}

/// The digest that the next stage finds is another than the one that this stage was given.
#[test]
fn after_takes_a_digest_that_is_the_same_for_the_platforms_of_the_stage() {
    let (content, server) = moving_index();
    let prod = EDGE.replace("stages.dev", "stages.prod");
    let stages = format!("{EDGE}{prod}after = {{ stage = \"dev\", for = \"1s\" }}\n");
    let shop = Shop::with(&on("oci", &server.url(), &stages));
    shop.run(&["poll"]).code(0);
    *content.lock().unwrap() = [2, 1];
    shop.run(&["poll", "--format", "json"])
        .code(0)
        .status_is("shop/dev", "deployed")
        .status_is("shop/prod", "waiting");
    *content.lock().unwrap() = [2, 2];
    await_until("prod is given what dev runs", || {
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(0).target("shop/prod")["status"] == "deployed"
    });
    assert_eq!(shop.delivered(), ["shop/dev edge", "shop/prod edge"]);
}
