//! `images = "acme/*"`: one table for all images of an owner.

use rusqlite::Connection;

use crate::endpoint::Endpoint;
use crate::harness::{Shop, on, on_gitea};
use crate::http::Answer;
use crate::oci::{Door, Oci, Script};
use crate::registry::{Build, Gitea, TOKEN};

const OLD: &str = "2026-11-01T10:00:00Z";
const LATER: &str = "2026-11-20T10:00:00Z";

/// One table for `images`, with a stage `prod` of `v*`, and what else is written into the table.
fn table(gitea: &Gitea, images: &str, more: &str) -> String {
    as_table(&on_gitea(gitea, STAGE), images, more)
}

const STAGE: &str = "[projects.acme.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n\
                     deploy = { command = [\"./deploy.sh\"] }\n";

/// A configuration of one project as one of a table.
fn as_table(config: &str, images: &str, more: &str) -> String {
    config
        .replace("[projects.shop]", "[projects.acme]")
        .replace("image = \"acme/shop\"", &format!("images = {images}\n{more}"))
}

/// A Gitea with `acme/blog` and `acme/team/api` at v1.0.0, and a machine with one table for them.
fn started(build: Build) -> (Gitea, Shop) {
    let gitea = Gitea::start(build);
    gitea.push("acme/blog", "v1.0.0", OLD);
    gitea.push("acme/team/api", "v1.0.0", OLD);
    gitea.push("beta/other", "v1.0.0", OLD);
    let shop = Shop::with(&table(&gitea, "\"acme/*\"", ""));
    (gitea, shop)
}

#[test]
fn every_image_of_the_owner_is_a_project() {
    for build in Build::ALL {
        let (_gitea, shop) = started(build);
        shop.run(&["poll"]).code(0).stdout(
            "blog           discovered    127.0.0.1:[port]/acme/blog\n\
             team-api       discovered    127.0.0.1:[port]/acme/team/api\n\
             blog/prod      baseline      v1.0.0: first poll: only newer tags are deployed\n\
             team-api/prod  baseline      v1.0.0: first poll: only newer tags are deployed\n",
        );
        shop.run(&["poll"]).code(0).silent();
    }
}

#[test]
fn a_new_image_is_found_by_the_poll_after_its_push() {
    for build in Build::ALL {
        let (gitea, shop) = started(build);
        shop.run(&["poll"]).code(0);
        gitea.push("acme/wiki", "v2.0.0", LATER);
        gitea.take_requests();
        shop.run(&["poll"]).code(0).line("wiki/prod", &["baseline", "v2.0.0"]);
        let requests = gitea.take_requests();
        assert!(requests.len() <= 4, "{build:?}: {requests:#?}");
        gitea.push("acme/wiki", "v2.1.0", "2026-11-21T10:00:00Z");
        shop.run(&["poll"]).code(0).line("wiki/prod", &["deployed", "v2.1.0"]);
        assert_eq!(shop.delivered(), ["wiki/prod v2.1.0"]);
    }
}

/// A forge whose only project is its table is asked for the list first; the feeds tell the rest.
#[test]
fn discovery_of_1000_images_of_10_owners_costs_what_the_readme_says() {
    let gitea = Gitea::start(Build::GiteaNew);
    for image in 0..1000 {
        let pushed = jiff::Timestamp::from_second(1_790_000_000 + 600 * image).unwrap();
        gitea.push(&format!("owner-{}/image-{image}", image % 10), "v1.0.0", &pushed.to_string());
    }
    let globs: Vec<String> = (0..10).map(|owner| format!("\"owner-{owner}/*\"")).collect();
    let shop = Shop::with(&table(&gitea, &format!("[{}]", globs.join(", ")), ""));
    shop.run(&["poll"]).code(0).line("image-999/prod", &["baseline"]);
    let requests = gitea.take_requests();
    let count = |part: &str| requests.iter().filter(|line| line.contains(part)).count();
    assert_eq!([count("/tags/list"), count("_catalog"), count("/api/v1/packages/")], [1000, 40, 10]);
    assert_eq!(requests.len() - count("/v2/token"), 1050);
    for _ in 0..2 {
        shop.run(&["poll"]).code(0).silent();
        let requests = gitea.take_requests();
        assert_eq!(requests.len(), 10, "{requests:?}");
        assert!(requests.iter().all(|line| line.ends_with("?type=container&limit=1")), "{requests:?}");
    }
    gitea.push("owner-3/new", "v1.0.0", "2026-11-21T10:00:00Z");
    shop.run(&["poll"]).code(0).line("new/prod", &["baseline", "v1.0.0"]);
    let mut requests = gitea.take_requests();
    requests.retain(|line| !line.contains("/v2/token"));
    assert_eq!(requests.len(), 10 + 2, "{requests:?}");
}

#[test]
fn known_images_are_targets_of_every_command_offline() {
    let (gitea, shop) = started(Build::GiteaNew);
    // Before the first poll nothing is known.
    shop.run(&["hold", "blog/prod"]).code(2).stderr_has("no target \"blog/prod\"");
    shop.run(&["poll"]).code(0);
    gitea.take_requests();
    for (name, what) in [("acme", "target"), ("acme/prod", "target")] {
        shop.run(&["status", name]).code(2).stderr(&format!(
            "error: the configuration has no {what} {name:?}; the projects of that table: blog, team-api; to list all targets: tagship status\n"
        ));
    }
    assert_eq!(shop.status("team-api/prod")["status"], "baseline");
    shop.run(&["hold", "team-api"]).code(0).says("team-api/prod: held until tagship release team-api/prod");
    shop.run(&["tags", "blog/prod", "--offline"]).code(0).shows("v1.0.0");
    assert_eq!(shop.run(&["status", "--format", "json"]).code(0).targets(), ["blog/prod", "team-api/prod"]);
    shop.run(&["status", "--format", "html"]).code(0).stdout_has("team-api");
    shop.run(&["schedule", "cron"]).code(0);
    assert_eq!(gitea.take_requests(), [""; 0]);
}

#[test]
fn an_unknown_project_that_is_named_is_discovered_first() {
    let (gitea, shop) = started(Build::GiteaNew);
    shop.run(&["poll", "blog/prod"]).code(0).line("blog/prod", &["baseline"]).no_line("team-api/prod");
    // The other one is new when it is polled for the first time.
    shop.run(&["poll", "--project", "team-api"]).code(0).line("team-api", &["discovered", "/acme/team/api"]);
    gitea.push("acme/wiki", "v1.0.0", LATER);
    shop.run(&["poll", "wiki"]).code(0).line("wiki/prod", &["baseline"]);
    shop.run(&["poll", "nothing"]).code(2).stderr_has("no target \"nothing\"");
}

#[test]
fn a_dry_run_discovers_and_writes_nothing() {
    let (_gitea, shop) = started(Build::GiteaNew);
    let before = shop.contents();
    shop.run(&["poll", "--dry-run"]).code(0).line("blog", &["discovered", "/acme/blog"]);
    assert_eq!(shop.contents(), before);
    shop.run(&["poll"]).code(0).line("blog", &["discovered", "/acme/blog"]);
}

#[test]
fn a_project_of_its_own_takes_precedence_over_the_table() {
    let (_gitea, shop) = started(Build::GiteaNew);
    let own = "[projects.weblog]\nregistry = \"git\"\nimage = \"acme/blog\"\n[projects.weblog.stages.test]\n\
               tags = \"*\"\norder = \"newest\"\ndeploy = { command = [\"./deploy.sh\"] }\n";
    shop.config(&format!("{}{own}", shop.read("tagship.toml")));
    shop.run(&["poll"]).code(0).line("weblog/test", &["baseline"]).no_line("blog/prod");
    assert_eq!(shop.run(&["status", "--format", "json"]).code(0).targets(), ["team-api/prod", "weblog/test"]);
}

#[test]
fn excluded_images_make_no_projects() {
    let (gitea, shop) = started(Build::GiteaNew);
    gitea.push("acme/blog-test", "v1.0.0", OLD);
    shop.config(&table(&gitea, "[\"acme/*\"]", "exclude_images = [\"*-test\", \"acme/team/*\"]\n"));
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.run(&["status", "--format", "json"]).code(0).targets(), ["blog/prod"]);
    // An image that is excluded later leaves the configuration.
    shop.config(&table(&gitea, "\"acme/*\"", "exclude_images = \"acme/blog\"\n"));
    let run = shop.run(&["poll"]);
    run.code(0).line("blog-test/prod", &["baseline"]).line("team-api/prod", &["baseline"]);
    run.stderr_has(
        "blog/prod was removed from the configuration and is no longer polled; its history is kept",
    );
}

#[test]
fn images_that_give_one_name_are_reported_and_the_known_one_keeps_it() {
    let (gitea, shop) = started(Build::GiteaNew);
    shop.run(&["poll"]).code(0);
    gitea.push("acme/team-api", "v1.0.0", LATER);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("acme/prod", "unknown").error_is("acme/prod", "protocol");
    run.status_is("team-api/prod", "up_to_date");
    shop.run(&["poll"]).code(1).line("acme/prod", &["unknown", "protocol"]);
    shop.run(&["check"]).code(1).shows_not("no faults").line(
        "projects.acme",
        &["failed", "acme/team-api gives the project name \"team-api\", which acme/team/api already has"],
    );
    let run = shop.run(&["status", "acme/prod"]);
    run.code(0).shows_not("tagship mark").stdout_has(
        "acme/team-api gives the project name \"team-api\", which acme/team/api already has; write a project with image for it, \
         or exclude it: exclude_images = [\"acme/team-api\"]",
    );
    shop.config(&table(&gitea, "\"acme/*\"", "exclude_images = [\"acme/team-api\"]\n"));
    shop.run(&["check"]).code(0).stdout_has("no faults");
    shop.run(&["poll"]).code(0).line("acme/prod", &["up_to_date", "2 images of acme/*", "recovered"]);
    shop.run(&["poll"]).code(0).silent();
}

#[test]
fn a_table_whose_images_cannot_be_listed_is_unknown_until_they_can() {
    for first in [true, false] {
        let (gitea, shop) = started(Build::GiteaNew);
        if !first {
            shop.run(&["poll"]).code(0);
            gitea.take_requests();
        }
        gitea.intercept_all("_catalog", Answer::new(503, "text/plain", ""));
        let arguments: &[&str] = if first { &["poll"] } else { &["poll", "--refresh"] };
        shop.run(arguments).code(1).line("acme/prod", &["unknown", "unavailable", "503"]);
        // Said once, like every outage.
        shop.run(arguments).code(1).no_line("acme/prod");
        gitea.recover();
        shop.run(arguments).code(0).line("acme/prod", &["up_to_date", "recovered"]);
        shop.run(&["poll"]).code(0).silent();
    }
}

#[test]
fn an_image_that_cannot_be_listed_can_be_named() {
    let (gitea, shop) = started(Build::GiteaNew);
    gitea.intercept_all("_catalog", Answer::new(503, "text/plain", ""));
    shop.run(&["poll", "blog/prod"]).code(1).line("acme/prod", &["unknown", "503"]);
    shop.run(&["poll", "blog/test"]).code(2).stderr_has("no target \"blog/test\"");
    gitea.recover();
    shop.run(&["poll", "blog/prod"]).code(0).line("blog/prod", &["baseline"]);
}

#[test]
fn without_a_state_the_images_are_listed_at_every_poll_and_none_is_new() {
    let (gitea, shop) = started(Build::GiteaNew);
    shop.config(&format!(
        "[settings]\nstate = \"none\"\n{}first_poll = \"deploy\"\n",
        shop.read("tagship.toml")
    ));
    for _ in 0..2 {
        let run = shop.run_bare(&["--config", "tagship.toml", "poll"]);
        run.code(0).line("blog/prod", &["deployed", "v1.0.0"]).shows_not("discovered");
        assert!(gitea.count("_catalog") > 0);
        gitea.take_requests();
    }
    let baseline = shop.read("tagship.toml").replace("first_poll = \"deploy\"", "");
    shop.config(&baseline);
    shop.run_bare(&["--config", "tagship.toml", "check"])
        .code(2)
        .stderr_has("acme/prod needs a state for a baseline");
}

#[test]
fn the_metrics_have_a_table_that_fails() {
    let (gitea, shop) = started(Build::GiteaNew);
    shop.config(&format!("[settings]\nmetrics_file = \"tagship.prom\"\n{}", shop.read("tagship.toml")));
    shop.run(&["poll"]).code(0);
    let unknown = |count: u32| {
        shop.read("tagship.prom").contains(&format!("tagship_targets{{status=\"unknown\"}} {count}\n"))
    };
    assert!(unknown(0));
    gitea.intercept_all("_catalog", Answer::new(503, "text/plain", ""));
    shop.run(&["poll", "--refresh"]).code(1);
    assert!(unknown(1), "{}", shop.read("tagship.prom"));
}

#[test]
fn known_images_complete_the_line() {
    let (_gitea, mut shop) = started(Build::GiteaNew);
    shop.run(&["poll"]).code(0);
    shop.env("TAGSHIP_COMPLETE", "fish");
    let state = shop.path("state.db").display().to_string();
    let run =
        shop.run_bare(&["--", "tagship", "--config", "tagship.toml", "--state", &state, "hold", "team"]);
    run.code(0).stdout_has("team-api/prod");
}

#[test]
fn a_table_without_images_says_so_once() {
    let gitea = Gitea::start(Build::GiteaNew);
    let shop = Shop::with(&table(&gitea, "\"acme/*\"", ""));
    shop.run(&["poll"]).code(0).line("acme/prod", &["no_match", "no image matches acme/*"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.status("acme/prod")["status"], "no_match");
    gitea.push("acme/blog", "v1.0.0", OLD);
    shop.run(&["poll"]).code(0).line("blog/prod", &["baseline", "v1.0.0"]);
    assert_eq!(shop.run(&["status", "--format", "json"]).code(0).targets(), ["blog/prod"]);
}

/// Moves the recorded times of missing images back by these hours.
fn age(shop: &Shop, hours: u32) {
    let state = Connection::open(shop.path("state.db")).unwrap();
    let query = "UPDATE image SET missing_since = strftime('%Y-%m-%dT%H:%M:%fZ', missing_since, ?1)";
    state.execute(query, [format!("-{hours} hours")]).unwrap();
}

#[test]
fn an_image_that_returns_after_a_day_is_reported_once_and_continues() {
    for build in Build::ALL {
        let (gitea, shop) = started(build);
        shop.run(&["poll"]).code(0);
        shop.run(&["deploy", "blog/prod"]).code(0);
        shop.run(&["hold", "blog/prod", "--reason", "freeze"]).code(0);
        gitea.delete_image("acme/blog");
        let gone = |run: &[&str]| {
            shop.run(run).code(1).status_is("blog/prod", "unknown").error_is("blog/prod", "not_found");
        };
        let refresh = ["poll", "--refresh", "--format", "json"];
        gone(&["poll", "--format", "json"]);
        gone(&refresh);
        age(&shop, 23);
        gone(&refresh);
        age(&shop, 2);
        let run = shop.run(&refresh);
        run.code(1).status_is("blog/prod", "unknown");
        run.stderr_has(
            "blog/prod: the image acme/blog was removed from its registry, so it is no longer polled; \
             its history and its hold are kept",
        );
        shop.run(&refresh).code(0).stderr("");
        assert_eq!(
            shop.run(&["status", "--format", "json"]).code(0).targets(),
            ["team-api/prod"],
            "{build:?}"
        );
        shop.run(&["history"]).code(0).line("[time]", &["blog/prod", "v1.0.0", "succeeded"]);
        // Not by first_poll, and still held.
        gitea.push("acme/blog", "v1.1.0", LATER);
        let run = shop.run(&["poll"]);
        run.code(0)
            .line("blog", &["discovered", "acme/blog"])
            .line("blog/prod", &["held", "v1.1.0", "freeze"]);
    }
}

#[test]
fn an_image_that_is_listed_again_or_still_has_its_tags_is_not_gone() {
    let (gitea, shop) = started(Build::GiteaNew);
    shop.run(&["poll"]).code(0);
    let catalog = |names: &str| Answer::json(200, format!("{{\"repositories\": [{names}]}}"));
    let refresh = ["poll", "--refresh"];
    // It is not in the list, and its tags are.
    gitea.intercept_all("_catalog", catalog("\"acme/team/api\""));
    shop.run(&refresh).code(0);
    age(&shop, 25);
    shop.run(&refresh).code(0).silent();
    // An empty list says nothing.
    gitea.intercept_all("_catalog", catalog(""));
    shop.run(&refresh).code(0).silent();
    gitea.recover();
    shop.run(&refresh).code(0).silent();
    assert_eq!(shop.run(&["status", "--format", "json"]).code(0).targets(), ["blog/prod", "team-api/prod"]);
    let state = Connection::open(shop.path("state.db")).unwrap();
    let missing: u32 =
        state.query_row("SELECT count(missing_since) FROM image", [], |row| row.get(0)).unwrap();
    assert_eq!(missing, 0);
}

#[test]
fn a_token_that_reads_no_packages_discovers_by_the_catalog_alone() {
    let (gitea, shop) = started(Build::GiteaNew);
    shop.config(
        &shop.read("tagship.toml").replace("token = { file = \"secret/token\" }", "anonymous = true"),
    );
    shop.run(&["poll"]).code(0).line("blog/prod", &["baseline", "v1.0.0"]);
    gitea.push("acme/wiki", "v1.0.0", LATER);
    shop.run(&["poll"]).code(0).no_line("wiki");
    shop.run(&["poll", "--refresh"]).code(0).line("wiki/prod", &["baseline"]);
}

#[test]
fn where_the_catalog_is_closed_the_rows_of_packages_tell() {
    let (gitea, shop) = started(Build::GiteaNew);
    gitea.intercept_all("_catalog", Answer::new(404, "text/html", "not here"));
    shop.run(&["poll"]).code(0).line("blog/prod", &["baseline"]).line("team-api/prod", &["baseline"]);
}

/// The feed cannot tell, so the list does.
#[test]
fn where_the_feed_fails_new_images_are_listed() {
    let (gitea, shop) = started(Build::GiteaNew);
    shop.run(&["poll"]).code(0);
    gitea.push("acme/wiki", "v1.0.0", LATER);
    gitea.intercept_all("/api/v1/packages/", Answer::new(404, "text/plain", "404 page not found"));
    shop.run(&["poll"]).code(0).line("wiki/prod", &["baseline"]);
}

/// After a step of its clock the feed tells nothing, and the lists tell all.
#[test]
fn where_the_feed_cannot_tell_new_images_are_listed() {
    for build in Build::ALL {
        let (gitea, shop) = started(build);
        shop.run(&["poll"]).code(0);
        gitea.forward(3600);
        gitea.push("acme/wiki", "v1.0.0", LATER);
        shop.run(&["poll"]).code(0).line("wiki/prod", &["baseline"]);
        shop.run(&["poll"]).code(0).silent();
    }
}

#[test]
fn nothing_of_a_stranger_who_took_the_owners_name_is_discovered() {
    let (gitea, shop) = started(Build::GiteaNew);
    shop.run(&["poll"]).code(0);
    gitea.rename_owner("acme", "acme-inc");
    gitea.take_name("acme", 77);
    gitea.push("acme/trap", "v9.0.0", LATER);
    let run = shop.run(&["poll", "--refresh", "--format", "json"]);
    run.code(1).error_is("blog/prod", "protocol").error_is("acme/prod", "protocol");
    assert_eq!(run.targets(), ["acme/prod", "blog/prod", "team-api/prod"]);
    shop.run(&["mark", "blog/prod", "--owner"]).code(0);
    shop.run(&["poll", "--format", "json"]).code(1).status_is("trap/prod", "baseline");
}

#[test]
fn the_pages_of_a_catalog_are_read_to_the_end() {
    for door in [Door::Open, Door::Basic, Door::Bearer] {
        let registry = Oci::start(door, 3);
        for name in 0..10 {
            registry.push(&format!("acme/image-{name}"), "v1.0.0");
        }
        registry.push("beta/other", "v1.0.0");
        let config = as_table(&on("oci", &registry.url(), STAGE), "\"acme/*\"", "")
            .replace("token =", "username = \"robot\"\ntoken =");
        let shop = Shop::with(&config);
        shop.run(&["poll"]).code(0);
        assert_eq!(shop.run(&["status", "--format", "json"]).code(0).targets().len(), 10, "{door:?}");
        // What comes later is found as often as resync says.
        registry.push("acme/later", "v1.0.0");
        shop.run(&["poll"]).code(0).silent();
        shop.run(&["poll", "--refresh"]).code(0).line("later/prod", &["baseline"]);
        registry.delete_repository("acme/later");
        let catalogs = registry.count("_catalog");
        shop.run(&["poll"]).code(1).line("later/prod", &["unknown", "not_found"]);
        assert_eq!(registry.count("_catalog"), catalogs, "{door:?}");
    }
}

#[test]
fn a_registry_without_a_catalog_says_so() {
    let registry = Oci::start(Door::Open, 100);
    registry.push("acme/shop", "v1.0.0");
    registry.hide_catalog();
    let shop = Shop::with(&as_table(&on("oci", &registry.url(), STAGE), "\"acme/*\"", ""));
    let says = "this registry has no catalog; instead of images, write a project with image for each image";
    shop.run(&["poll"]).code(1).line("acme/prod", &["unknown", "protocol", says]);
    shop.run(&["check", "--online"]).code(1).line("projects.acme", &["failed", says]);
}

#[test]
fn the_online_check_tries_every_image_of_a_table() {
    let (_gitea, shop) = started(Build::GiteaNew);
    let before = shop.contents();
    let run = shop.run(&["check", "--online"]);
    run.code(0).line("projects.acme", &["ok", "2 images of acme/*"]).line("team-api/prod", &["ok", "v1.0.0"]);
    assert_eq!(shop.contents(), before);
}

#[test]
fn the_images_of_a_layout_are_those_that_its_index_and_its_folders_name() {
    let shop = Shop::new();
    let entry = |name: &str| {
        format!(
            "{{\"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"size\": 2, \"digest\": \"sha256:{}\", \
             \"annotations\": {{\"org.opencontainers.image.ref.name\": \"{name}\"}}}}",
            "a".repeat(64)
        )
    };
    let index = |names: &[&str]| {
        let entries: Vec<String> = names.iter().map(|name| entry(name)).collect();
        format!("{{\"schemaVersion\": 2, \"manifests\": [{}]}}", entries.join(","))
    };
    shop.file("images/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    shop.file(
        "images/index.json",
        &index(&["acme/blog:v1.0.0", "git.example.com/acme/wiki:v1.0.0", "beta/x:v1"]),
    );
    shop.file("images/acme/team/api/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    shop.file("images/acme/team/api/index.json", &index(&["v1.0.0"]));
    let config = as_table(&on("oci-layout", "", STAGE), "\"acme/*\"", "")
        .replace("url = \"\"", "path = \"images\"")
        .replace("token = { file = \"secret/token\" }", "");
    shop.config(&config);
    shop.run(&["poll"]).code(0);
    assert_eq!(
        shop.run(&["status", "--format", "json"]).code(0).targets(),
        ["blog/prod", "team-api/prod", "wiki/prod"]
    );
}

#[test]
fn services_are_asked_by_their_apis() {
    let tags = |shop: &Shop, registry: &Oci| {
        registry.push("acme/blog", "v1.0.0");
        registry.push("acme/team/api", "v1.0.0");
        shop.run(&["poll"]).code(0);
        shop.run(&["status", "--format", "json"]).code(0).targets()
    };
    let config = |kind: &str, registry: &Oci, api: String| {
        as_table(&on(kind, &registry.url(), STAGE), "\"acme/*\"", "")
            .replace("token =", &format!("api_url = \"{api}\"\nusername = \"robot\"\ntoken ="))
    };
    let json = |text: &str| crate::http::Reply::from(Answer::json(200, text.to_owned()));

    let registry = Oci::start(Door::Bearer, 100);
    let next = Answer::json(200, "[{\"name\": \"blog\"}]").with("Link", "<https://x/>; rel=\"next\"");
    let api = Script::start([
        ("GET /api/v3/orgs/acme/packages?package_type=container&per_page=100&page=1", next.into()),
        (
            "GET /api/v3/orgs/acme/packages?package_type=container&per_page=100&page=2",
            json("[{\"name\": \"team/api\"}]"),
        ),
        ("GET /api/v3/user/packages?package_type=container&per_page=1", json("[]")),
    ]);
    let shop = Shop::with(&config("github", &registry, format!("{}/api/v3", api.url())));
    assert_eq!(tags(&shop, &registry), ["blog/prod", "team-api/prod"]);
    assert_eq!(api.requests()[0].bearer(), Some(TOKEN));

    let registry = Oci::start(Door::Bearer, 100);
    let api = Script::start([
        ("POST /v2/auth/token", json("{\"access_token\": \"planted-hub\"}")),
        (
            "GET /v2/repositories/acme/?page_size=100&page=1",
            json("{\"next\": \"x\", \"results\": [{\"name\": \"blog\"}]}"),
        ),
        (
            "GET /v2/repositories/acme/?page_size=100&page=2",
            json("{\"next\": null, \"results\": [{\"name\": \"wiki\"}]}"),
        ),
    ]);
    registry.push("acme/wiki", "v1.0.0");
    let shop = Shop::with(&config("dockerhub", &registry, api.url()));
    assert_eq!(tags(&shop, &registry), ["blog/prod", "wiki/prod"]);

    let registry = Oci::start(Door::Bearer, 100);
    let api = Script::start([(
        "GET /api/v4/groups/acme/registry/repositories?per_page=100&page=1",
        json("[{\"id\": 1, \"path\": \"acme/blog\"}, {\"id\": 2, \"path\": \"acme/team/api\"}]"),
    )]);
    let shop = Shop::with(&config("gitlab", &registry, api.url()));
    assert_eq!(tags(&shop, &registry), ["blog/prod", "team-api/prod"]);
    assert_eq!(api.requests()[0].header("private-token"), Some(TOKEN));
}

#[test]
fn a_new_project_is_notified_once() {
    let (gitea, shop) = started(Build::GiteaNew);
    let receiver = Endpoint::start();
    let notify = format!(
        "[[notify]]\nurl = \"{}/tell\"\non = [\"discovered\"]\njson = {{ target = \"{{target}}\", status = \"{{status}}\", \
         image = \"{{repository}}\" }}\n",
        receiver.url()
    );
    shop.config(&format!("{notify}{}", shop.read("tagship.toml")));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/wiki", "v1.0.0", LATER);
    shop.run(&["poll"]).code(0);
    shop.run(&["poll"]).code(0);
    let told: Vec<String> = receiver
        .requests()
        .iter()
        .map(|request| {
            let body = request.json();
            format!("{} {} {}", body["target"], body["status"], body["image"]).replace('"', "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "blog/prod discovered acme/blog",
            "team-api/prod discovered acme/team/api",
            "wiki/prod discovered acme/wiki"
        ]
    );
}

#[test]
fn json_and_github_report_new_projects() {
    let (_gitea, shop) = started(Build::GiteaNew);
    let json = shop.run(&["poll", "--dry-run", "--format", "json"]).code(0).json();
    assert_eq!(json["discovered"][1]["project"], "team-api");
    assert!(json["discovered"][1]["image"].as_str().unwrap().ends_with("/acme/team/api"), "{json}");
    let run = shop.run(&["poll", "--format", "github"]);
    run.code(0).stdout_has("::notice title=blog discovered::127.0.0.1:[port]/acme/blog\n");
}

#[test]
fn each_image_of_a_table_is_in_one_shard() {
    let gitea = Gitea::start(Build::GiteaNew);
    for image in 0..12 {
        gitea.push(&format!("acme/image-{image}"), "v1.0.0", OLD);
    }
    let mut polled: Vec<String> = Vec::new();
    for shard in ["0/3", "1/3", "2/3"] {
        let shop = Shop::with(&table(&gitea, "\"acme/*\"", ""));
        let run = shop.run(&["poll", "--shard", shard, "--format", "json"]);
        let of_shard = run.code(0).targets();
        // Those of others are not said to be new.
        assert_eq!(run.json()["discovered"].as_array().unwrap().len(), of_shard.len());
        polled.extend(of_shard);
    }
    polled.sort();
    polled.dedup();
    assert_eq!(polled.len(), 12);
}

/// Written out before, or after: the targets continue from their state.
#[test]
fn projects_that_become_a_table_keep_their_state() {
    let (gitea, shop) = started(Build::GiteaNew);
    let as_table = shop.read("tagship.toml");
    let written = on_gitea(&gitea, &STAGE.replace("acme", "blog"))
        .replace("[projects.shop]", "[projects.blog]")
        .replace("acme/shop", "acme/blog");
    shop.config(&written);
    shop.run(&["poll"]).code(0).line("blog/prod", &["baseline", "v1.0.0"]);
    gitea.push("acme/blog", "v1.1.0", LATER);
    shop.config(&as_table);
    let run = shop.run(&["poll"]);
    run.code(0).line("blog/prod", &["deployed", "v1.1.0"]).line("team-api/prod", &["baseline"]);
    run.shows_not("was removed from the configuration");
    // Back again.
    shop.config(&written);
    let run = shop.run(&["poll"]);
    run.code(0).stderr(
        "warning: team-api/prod was removed from the configuration and is no longer polled; its history is kept\n",
    );
}

/// Small, and the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Tags and images are pushed, pushed again, deleted and created again between polls. After the next successful poll
/// every existing image that matches is known, and no other image is.
#[test]
fn no_image_that_matches_stays_unknown_after_a_poll() {
    for (build, seed) in [(Build::GiteaNew, 1), (Build::GiteaOld, 2), (Build::Forgejo, 3)] {
        let gitea = Gitea::start(build);
        let shop = Shop::with(&table(&gitea, "\"acme/*\"", "exclude_images = [\"*-test\"]\n"));
        let mut dice = Dice(seed);
        let mut second: i64 = 1_790_000_000;
        let mut there: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
        let mut known: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
        for step in 0..20 {
            // What comes after a poll is later than what that saw; within a step, seconds are shared.
            second += 1;
            for _ in 0..dice.roll(5) {
                second += [0, 1, 30, 90][dice.roll(4)];
                let at = jiff::Timestamp::from_second(second).unwrap().to_string();
                let image = format!("image-{}{}", dice.roll(8), ["", "", "-test"][dice.roll(3)]);
                let name = format!("acme/{image}");
                let tags = there.entry(image.clone()).or_default();
                match dice.roll(6) {
                    0 if tags.len() > 1 => {
                        let tag = tags.remove(dice.roll(tags.len()));
                        gitea.delete(&name, &tag);
                    }
                    1 if !tags.is_empty() => {
                        gitea.delete_image(&name);
                        tags.clear();
                    }
                    2 if !tags.is_empty() => {
                        let tag = tags[dice.roll(tags.len())].clone();
                        gitea.push(&name, &tag, &at);
                    }
                    _ => {
                        let tag = format!("v1.{step}.{}", tags.len());
                        gitea.push(&name, &tag, &at);
                        if !tags.contains(&tag) {
                            tags.push(tag);
                        }
                    }
                }
                there.retain(|_, tags| !tags.is_empty());
            }
            let mut arguments = vec!["poll"];
            // Some polls name images, as a webhook does.
            let named = known.iter().nth(dice.roll(8)).cloned().filter(|_| dice.roll(3) == 0);
            arguments.extend(named.as_deref());
            let run = shop.run(&arguments);
            assert!(run.has_code(0) || run.has_code(1), "{build:?} {step}: {}", run.printed());
            if named.is_some() {
                continue;
            }
            let polled = shop.run(&["status", "--format", "json"]).code(0).targets();
            known = polled.iter().map(|target| target.split_once('/').unwrap().0.to_owned()).collect();
            known.remove("acme");
            for image in there.keys() {
                assert_eq!(
                    known.contains(image),
                    !image.ends_with("-test"),
                    "{build:?} {step}: {image} of {there:?} in {known:?}"
                );
            }
        }
    }
}
