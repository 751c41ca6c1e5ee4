//! Gitea and Forgejo are asked only for what changed, and nothing that changed is missed. Counts are exact.

use crate::first_poll::gitea;
use crate::harness::Shop;
use crate::http::Answer;
use crate::registry::{Build, Gitea};

const OWNERS: usize = 10;

/// So many images of ten owners, a stage each, one tag each.
fn many(build: Build, images: usize) -> (Gitea, Shop) {
    let gitea = Gitea::start(build);
    for image in 0..images {
        let pushed = jiff::Timestamp::from_second(1_790_000_000 + 600 * i64::try_from(image).unwrap());
        gitea.push(&name(image), "v1.0.0", &pushed.unwrap().to_string());
    }
    let shop = Shop::with(&config(&gitea, images, "prerelease = false"));
    shop.run(&["poll"]).code(0);
    gitea.take_requests();
    (gitea, shop)
}

fn name(image: usize) -> String {
    format!("owner-{}/image-{image}", image % OWNERS)
}

fn config(gitea: &Gitea, images: usize, more: &str) -> String {
    let projects: String = (0..images)
        .map(|image| {
            format!(
                "[projects.p{image}]\nregistry = \"git\"\nimage = \"{}\"\n[projects.p{image}.stages.prod]\n\
                 tags = \"v*\"\norder = \"semver\"\ndeploy = {{ command = [\"./deploy.sh\"] }}\n{more}\n",
                name(image)
            )
        })
        .collect();
    let url = gitea.url();
    format!(
        "[registries.git]\nkind = \"gitea\"\nurl = \"{url}\"\ntoken = {{ file = \"secret/token\" }}\nconnections = 64\n{projects}"
    )
}

#[test]
fn an_idle_poll_of_1000_images_of_10_owners_costs_10_requests() {
    for build in Build::ALL {
        let (gitea, shop) = many(build, 1000);
        for _ in 0..2 {
            shop.run(&["poll"]).code(0).silent();
            let requests = gitea.take_requests();
            assert_eq!(requests.len(), OWNERS, "{build:?}: {requests:?}");
            assert!(requests.iter().all(|line| line.ends_with("?type=container&limit=1")), "{requests:?}");
        }
    }
}

#[test]
fn one_new_tag_among_1000_images_costs_at_most_3_requests_more() {
    for build in Build::ALL {
        for (order, tags) in [("semver", "v*"), ("newest", "*")] {
            let (gitea, shop) = many(build, 1000);
            let text = shop.read("tagship.toml");
            let text = text.replace("order = \"semver\"", &format!("order = \"{order}\""));
            shop.config(
                &text
                    .replace("tags = \"v*\"", &format!("tags = \"{tags}\""))
                    .replace("prerelease = false", ""),
            );
            // An edited rule lists everything once.
            shop.run(&["poll"]).code(0);
            gitea.push(&name(123), "v1.1.0", "2026-11-20T10:00:00Z");
            gitea.take_requests();
            shop.run(&["poll"]).code(0).line("p123/prod", &["deployed", "v1.1.0"]);
            let requests = gitea.take_requests();
            assert!(requests.len() <= OWNERS + 3, "{build:?} {order}: {requests:#?}");
            shop.run(&["poll"]).code(0).silent();
            assert!(gitea.take_requests().len() <= OWNERS + 1, "its top is looked at once more at most");
        }
    }
}

#[test]
fn an_image_that_does_not_exist_costs_at_most_2_requests_more() {
    for build in Build::ALL {
        let (gitea, shop) = many(build, 1000);
        let text = shop.read("tagship.toml").replace("\"owner-7/image-77\"", "\"owner-7/gone\"");
        shop.config(&text);
        for _ in 0..2 {
            gitea.take_requests();
            shop.run(&["poll", "--format", "json"]).code(1).status_is("p77/prod", "unknown");
            let requests = gitea.take_requests();
            assert!(requests.len() <= OWNERS + 2, "{build:?}: {requests:#?}");
        }
    }
}

#[test]
fn a_webhook_that_polls_one_target_costs_the_next_full_poll_nothing() {
    let (gitea, shop) = many(Build::GiteaNew, 100);
    gitea.push(&name(42), "v1.1.0", "2026-11-20T10:00:00Z");
    shop.run(&["poll", "p42/prod"]).code(0).line("p42/prod", &["deployed"]);
    gitea.take_requests();
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(gitea.take_requests().len(), OWNERS);
}

/// What one target's poll saw of the owner, the other targets of the owner still have to see.
#[test]
fn what_a_poll_of_one_target_saw_is_not_lost_to_the_others() {
    let (gitea, shop) = many(Build::GiteaNew, 100);
    gitea.push(&name(42), "v1.1.0", "2026-11-20T10:00:00Z");
    shop.run(&["poll", "p2/prod"]).code(0).silent();
    shop.run(&["poll"]).code(0).line("p42/prod", &["deployed", "v1.1.0"]);
}

#[test]
fn a_listing_that_failed_is_made_up_for() {
    let (gitea, shop) = many(Build::GiteaNew, 20);
    gitea.push(&name(12), "v1.1.0", "2026-11-20T10:00:00Z");
    gitea.intercept_all("tags/list", Answer::new(404, "text/plain", "Not found."));
    shop.run(&["poll", "--format", "json"]).code(1).status_is("p12/prod", "unknown");
    gitea.recover();
    shop.run(&["poll"]).code(0).line("p12/prod", &["deployed", "v1.1.0"]);
}

#[test]
fn a_new_target_and_an_edited_rule_are_listed_and_the_others_are_not() {
    let (gitea, shop) = many(Build::GiteaNew, 100);
    shop.config(
        &config(&gitea, 100, "")
            .replace("[projects.p5.stages.prod]", "[projects.p5.stages.prod]\nexclude = [\"x\"]"),
    );
    gitea.push("owner-3/another", "v3.0.0", "2026-11-20T10:00:00Z");
    let more = "\n[projects.another]\nregistry = \"git\"\nimage = \"owner-3/another\"\n[projects.another.stages.prod]\n\
                tags = \"v*\"\norder = \"semver\"\ndeploy = { command = [\"./deploy.sh\"] }\n";
    shop.config(&format!("{}{more}", shop.read("tagship.toml")));
    gitea.take_requests();
    shop.run(&["poll"]).code(0).line("another/prod", &["baseline", "v3.0.0"]);
    let requests = gitea.take_requests();
    assert_eq!(requests.iter().filter(|line| line.contains("tags/list")).count(), 2, "{requests:#?}");
}

#[test]
fn a_feed_that_fails_is_no_failed_check() {
    let (gitea, shop) = many(Build::GiteaNew, 20);
    gitea.push(&name(12), "v1.1.0", "2026-11-20T10:00:00Z");
    gitea.intercept(|request| {
        let is_feed = request.target.contains("?type=container");
        is_feed.then(|| Answer::new(500, "application/json", "{\"message\":\"\"}").into())
    });
    shop.run(&["poll"]).code(0).line("p12/prod", &["deployed", "v1.1.0"]);
}

#[test]
fn every_repository_is_listed_again_in_time_whatever_the_feed_says() {
    let (gitea, shop) = many(Build::GiteaNew, 20);
    let text = shop.read("tagship.toml");
    for (resync, listed) in [("12h", 0), ("1ms", 20)] {
        shop.config(&format!("[settings]\nresync = \"{resync}\"\n{text}"));
        gitea.take_requests();
        shop.run(&["poll"]).code(0).silent();
        assert_eq!(gitea.count("tags/list"), listed, "{resync}");
    }
    shop.config(&text);
    gitea.take_requests();
    shop.run(&["poll", "--refresh"]).code(0).silent();
    assert_eq!(gitea.count("tags/list"), 20);
}

/// The server's clock and ours went apart: times say nothing any more.
#[test]
#[ignore = "needs faketime"]
fn a_clock_that_was_set_lists_everything_once() {
    let (gitea, shop) = many(Build::GiteaNew, 20);
    shop.run_under(&["faketime", "-f", "+1h"], &["poll"]).code(0);
    assert_eq!(gitea.count("tags/list"), 20);
    gitea.take_requests();
    shop.run_under(&["faketime", "-f", "+1h"], &["poll"]).code(0);
    assert_eq!(gitea.count("tags/list"), 0);
}

#[test]
fn what_waits_for_its_gate_goes_through_without_another_listing() {
    let gitea = gitea(Build::GiteaNew);
    let stage = "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\nmin_age = \"4s\"\n\
                 deploy = { command = [\"./deploy.sh\"] }\n";
    let shop = crate::new_tag::baselined(&gitea, stage);
    let pushed = jiff::Timestamp::now();
    gitea.push("acme/shop", "dev-43", &format!("{pushed:.0}"));
    shop.run(&["poll", "-v"]).code(0).line("shop/dev", &["waiting", "dev-43"]);
    gitea.take_requests();
    crate::harness::await_until("it is old enough", || {
        shop.run(&["poll", "--format", "json"]).target("shop/dev")["status"] == "deployed"
    });
    assert_eq!(gitea.count("container/shop"), 0, "its push time is remembered, and it is not listed again");
    assert_eq!(gitea.count("tags/list"), 0);
}

#[test]
#[ignore = "needs strace"]
fn where_nothing_is_new_next_to_nothing_is_written() {
    let (_gitea, shop) = many(Build::GiteaNew, 100);
    let trace = shop.path("trace");
    let calls = "trace=fsync,fdatasync";
    shop.run_under(&["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", calls], &["poll"]).code(0);
    let syncs = shop.read("trace").lines().filter(|line| line.contains("sync(")).count();
    // One transaction of a rollback journal: the journal, its header, the file, the folder.
    assert!(syncs <= 4, "{syncs}: {}", shop.read("trace"));
}
