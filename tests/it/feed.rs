//! Gitea and Forgejo are asked only for what changed, and nothing that changed is missed. Counts are exact.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop};
use crate::http::Answer;
use crate::registry::{Build, Gitea};

const OWNERS: usize = 10;

/// This many images of ten owners, with one stage and one tag each.
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
        "[registries.git]\nkind = \"gitea\"\nurl = \"{url}\"\ntoken = {{ file = \"secret/token\" }}\nconnections = 16\n{projects}"
    )
}

#[test]
fn an_idle_poll_of_1000_images_of_10_owners_costs_10_requests() {
    for (build, images) in Build::ALL.into_iter().zip([1000, 100, 100]) {
        let (gitea, shop) = many(build, images);
        for _ in 0..2 {
            shop.run(&["poll"]).code(0).silent();
            let requests = gitea.take_requests();
            assert_eq!(requests.len(), OWNERS, "{build:?}: {requests:?}");
            assert!(requests.iter().all(|line| line.ends_with("?type=container&limit=1")), "{requests:?}");
        }
    }
}

#[test]
fn one_new_tag_among_60_images_costs_at_most_3_requests_more() {
    for build in Build::ALL {
        for (order, tags) in [("semver", "v*"), ("newest", "*")] {
            let (gitea, shop) = many(build, 60);
            let text = shop.read("tagship.toml");
            let text = text.replace("order = \"semver\"", &format!("order = \"{order}\""));
            shop.config(
                &text
                    .replace("tags = \"v*\"", &format!("tags = \"{tags}\""))
                    .replace("prerelease = false", ""),
            );
            // An edited rule lists everything once.
            shop.run(&["poll"]).code(0);
            gitea.push(&name(43), "v1.1.0", "2026-11-20T10:00:00Z");
            gitea.take_requests();
            shop.run(&["poll"]).code(0).line("p43/prod", &["deployed", "v1.1.0"]);
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
        let (gitea, shop) = many(build, 60);
        let text = shop.read("tagship.toml").replace("\"owner-7/image-47\"", "\"owner-7/gone\"");
        shop.config(&text);
        for _ in 0..2 {
            gitea.take_requests();
            shop.run(&["poll", "--format", "json"]).code(1).status_is("p47/prod", "unknown");
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

/// A change of the owner that one target's poll has seen must still be seen by its other targets.
#[test]
fn a_push_seen_by_a_poll_of_one_target_reaches_the_others() {
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
fn a_failed_feed_is_not_a_failed_check() {
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

/// Fewer rows than the new ones explain: somewhere a tag is gone.
#[test]
fn a_deletion_is_seen_at_the_next_poll_alone_and_beside_a_push() {
    for build in Build::ALL {
        for pushes in [false, true] {
            let (gitea, shop) = many(build, 60);
            gitea.delete(&name(12), "v1.0.0");
            if pushes {
                gitea.push(&name(2), "v1.1.0", "2026-11-20T10:00:00Z");
            }
            let run = shop.run(&["poll", "--format", "json"]);
            run.code(1).status_is("p12/prod", "unknown");
            let other = if pushes { "deployed" } else { "up_to_date" };
            run.status_is("p2/prod", other);
        }
    }
}

#[test]
fn allow_downgrade_goes_back_at_the_next_poll_though_another_image_got_a_push() {
    let (gitea, shop) = many(Build::GiteaNew, 60);
    shop.config(&config(&gitea, 60, "allow_downgrade = true"));
    gitea.push(&name(12), "v1.1.0", "2026-11-20T10:00:00Z");
    shop.run(&["poll"]).code(0).line("p12/prod", &["deployed", "v1.1.0"]);
    gitea.delete(&name(12), "v1.1.0");
    gitea.push(&name(32), "v1.1.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("p12/prod", &["deployed", "v1.0.0"]).line("p32/prod", &["v1.1.0"]);
}

fn a_minute_ago() -> String {
    format!("{:.0}", jiff::Timestamp::now() - MINUTE)
}

fn now() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

const MINUTE: jiff::SignedDuration = jiff::SignedDuration::from_secs(62);

/// A poll by clocks that are both a minute ahead.
fn a_minute_later(gitea: &Gitea, shop: &Shop) -> crate::run::Run {
    gitea.forward(MINUTE.as_secs());
    shop.run_under(&["faketime", "-f", "+62s"], &["poll"])
}

/// While rows can still come beside them, the rows of a burst are read; then never again.
#[test]
#[ignore = "needs faketime"]
fn a_burst_of_1000_images_costs_30_requests_once_more_and_then_10() {
    let (gitea, shop) = many(Build::GiteaNew, 1000);
    let pushed = now();
    (0..1000).for_each(|image| gitea.push(&name(image), "x", &pushed));
    shop.run(&["poll"]).code(0);
    gitea.take_requests();
    a_minute_later(&gitea, &shop).code(0).silent();
    let requests = gitea.take_requests();
    assert!(requests.len() <= 30, "{}: {requests:#?}", requests.len());
    a_minute_later(&gitea, &shop).code(0).silent();
    assert_eq!(gitea.take_requests().len(), OWNERS);
    gitea.push(&name(123), "v1.1.0", &format!("{:.0}", jiff::Timestamp::now() + MINUTE));
    a_minute_later(&gitea, &shop).code(0).line("p123/prod", &["deployed", "v1.1.0"]);
    let requests = gitea.take_requests();
    assert!(requests.len() <= OWNERS + 3, "{requests:#?}");
}

#[test]
#[ignore = "needs faketime"]
fn a_burst_of_an_image_that_is_not_configured_is_forgotten_when_it_is_a_minute_old() {
    let (gitea, shop) = many(Build::GiteaNew, 3);
    let pushed = now();
    (0..100).for_each(|tag| gitea.push("owner-1/other", &format!("t{tag}"), &pushed));
    shop.run(&["poll"]).code(0).silent();
    gitea.take_requests();
    a_minute_later(&gitea, &shop).code(0).silent();
    assert!(gitea.take_requests().len() <= 30);
    a_minute_later(&gitea, &shop).code(0).silent();
    assert_eq!(gitea.take_requests().len(), 3, "one an owner");
}

/// The release that a stage has is 20 pages deep: known pages are not read again.
#[test]
fn an_old_tag_is_not_looked_for_page_by_page_at_every_poll() {
    let (gitea, shop) = deep(1000);
    for _ in 0..2 {
        gitea.delete("acme/shop", "dev-7");
        gitea.push("acme/shop", "dev-7", &a_minute_ago());
        gitea.delete("acme/shop", "dev-8");
        gitea.push("acme/shop", "dev-8", &a_minute_ago());
        gitea.delete("acme/other", "v1.0.0");
        gitea.take_requests();
        shop.run(&["poll"]).code(0);
        let requests = gitea.take_requests();
        assert!(requests.len() <= 12, "{}: {requests:#?}", requests.len());
        gitea.push("acme/other", "v1.0.0", &a_minute_ago());
        shop.run(&["poll"]).code(0);
    }
    gitea.push("acme/shop", "v1.1.0", &a_minute_ago());
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.1.0"]);
    // A remembered tag was deleted: then the pages are read.
    gitea.delete("acme/shop", "v1.1.0");
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", "older");
}

/// A stage in order newest whose only tag is older than this many others.
fn deep(tags: usize) -> (Gitea, Shop) {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/other", "v1.0.0", "2026-10-01T00:00:00Z");
    gitea.push("acme/shop", "v1.0.0", "2026-10-01T00:00:00Z");
    for tag in 0..tags {
        let pushed = jiff::Timestamp::from_second(1_791_000_000 + i64::try_from(tag).unwrap()).unwrap();
        gitea.push("acme/shop", &format!("dev-{tag}"), &pushed.to_string());
    }
    let stage = "[projects.shop.stages.prod]\ntags = \"v*\"\norder = \"newest\"\n\
                 deploy = { command = [\"./deploy.sh\"] }\n";
    let shop = Shop::with(&crate::harness::on_gitea(&gitea, stage));
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    (gitea, shop)
}

/// The old name sends on; a stage in any order is warned once.
#[test]
fn a_renamed_owner_is_followed_and_reported_once_in_every_order() {
    for build in Build::ALL {
        for stage in [DEV, PROD] {
            let gitea = gitea(build);
            let shop = crate::new_tag::baselined(&gitea, stage);
            gitea.rename_owner("acme", "acme-corp");
            let warning = "warning: registry git: the owner acme was renamed to acme-corp; change image to acme-corp/…\n";
            shop.run(&["poll"]).code(0).stderr(warning);
            shop.run(&["poll"]).code(0).silent();
            gitea.push("acme-corp/shop", "dev-43", "2026-11-20T11:00:00Z");
            gitea.push("acme-corp/shop", "v1.11.0", "2026-11-20T11:00:00Z");
            shop.run(&["poll"]).code(0).stdout_has("deployed");
        }
    }
}

#[test]
fn a_stranger_who_takes_a_renamed_owners_name_is_refused_until_accepted() {
    for build in Build::ALL {
        for (stage, target, tag) in [(DEV, "shop/dev", "dev-999"), (PROD, "shop/prod", "v9.9.9")] {
            let gitea = gitea(build);
            let shop = crate::new_tag::baselined(&gitea, stage);
            gitea.rename_owner("acme", "acme-corp");
            gitea.take_name("acme", 77);
            gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
            for _ in 0..2 {
                let run = shop.run(&["poll", "--format", "json"]);
                run.code(1).status_is(target, "unknown").error_is(target, "protocol");
                let error = run.target(target)["error"]["message"].as_str().unwrap().to_owned();
                let expected = format!(
                    "`acme` now belongs to `acme` (ID 77); it belonged to `acme` (ID 2). Its images may be a \
                     stranger's, so tagship deploys none of them; to accept the new owner: tagship mark {target} --owner"
                );
                assert_eq!(error, expected);
            }
            shop.run(&["deploy", target]).code(2).stderr_has("`acme` now belongs to");
            shop.run(&["check", "--online"]).code(1).stdout_has("`acme` now belongs to `acme` (ID 77)");
            shop.run(&["tags", target]).code(1).stdout("").stderr_has("protocol: `acme` now belongs to");
            shop.run(&["tags", target, "--offline"]).code(1).stdout("").stderr_has("`acme` now belongs to");
            // Without the feed the owner is unknown: the last known owner counts.
            gitea.intercept_all("?type=container", gitea.recorded("more/31-tags-list-server-error"));
            shop.run(&["poll", "--refresh", "--format", "json"]).code(1).error_is(target, "protocol");
            gitea.recover();
            assert_eq!(shop.delivered(), [""; 0]);

            shop.run(&["mark", target, "--owner"]).code(0).stdout(&format!(
                "{target}: accepted `acme` (ID 77) as the owner of the images of acme; polls deploy newer tags again\n"
            ));
            shop.run(&["mark", target, "--owner"]).code(0).stdout_has("accepted `acme` (ID 77)");
            shop.run(&["tags", target]).code(0).stdout_has(tag);
            shop.run(&["poll"]).code(0).line(target, &["deployed", tag]);
        }
    }
}

/// What waits to be tried again would be the stranger's, too.
#[test]
fn a_deployment_that_waits_is_not_tried_again_with_a_strangers_image() {
    let gitea = gitea(Build::GiteaNew);
    let shop = crate::new_tag::baselined(&gitea, DEV);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.remove("fail");
    gitea.rename_owner("acme", "acme-corp");
    gitea.take_name("acme", 77);
    gitea.push("acme/shop", "dev-43", "2026-11-20T12:00:00Z");
    shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/dev", "protocol");
    assert_eq!(shop.deliveries().len(), 1, "the attempt that failed");
    // Nor is it said to be due.
    for arguments in [&["retry", "shop/dev"][..], &["retry"]] {
        let run = shop.run(arguments);
        run.code(2).stdout("").stderr_has("error: shop/dev: `acme` now belongs to `acme` (ID 77)");
    }
    shop.run(&["retry", "shop/dev", "--drop"]).code(0).stdout_has("the deployment of dev-43 was removed");
}

#[test]
fn an_unknown_owner_cannot_be_accepted() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&crate::harness::on_gitea(&gitea, DEV));
    shop.run(&["mark", "shop/dev", "--owner"])
        .code(2)
        .stderr_has("error: no poll has recorded an owner of acme yet; run: tagship poll\n");
}

#[test]
fn a_tag_passes_its_gate_without_another_listing() {
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
fn writes_of_an_idle_poll_grow_with_owners_and_not_with_images() {
    let (_gitea, shop) = many(Build::GiteaNew, 400);
    // The second says that the baseline is up to date; the third finds them unchanged together, and notes that.
    for _ in 0..2 {
        shop.run(&["poll"]).code(0).silent();
    }
    let trace = shop.path("trace");
    let calls = "trace=fsync,fdatasync,pwrite64";
    shop.run_under(&["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", calls], &["poll"]).code(0);
    let calls = |call: &str| shop.read("trace").lines().filter(|line| line.contains(call)).count();
    // One transaction of a rollback journal: the journal, its header, the file, the folder.
    assert!(calls("sync(") <= 4, "{}", shop.read("trace"));
    // A page into the journal is three writes. 400 rows would be some hundred pages.
    let writes = calls("pwrite64(");
    assert!(writes <= 2 * OWNERS, "{writes}");
}

/// A fact that is recorded once for many targets holds for each of them.
#[test]
fn a_target_was_checked_when_it_was_checked_whoever_was_checked_beside_it() {
    let (gitea, shop) = many(Build::GiteaNew, 40);
    let checked_at =
        |shop: &Shop, target: &str| shop.status(target)["checked_at"].as_str().unwrap().to_owned();
    let (first, sibling, other) = ("p0/prod", "p10/prod", "p1/prod");
    for _ in 0..2 {
        let before = checked_at(&shop, first);
        shop.run(&["poll"]).code(0).silent();
        assert!(checked_at(&shop, first) > before);
    }
    let before = [first, sibling, other].map(|target| checked_at(&shop, target));
    assert_eq!(before[0], before[1], "both of owner-0, and unchanged");
    shop.run(&["poll", first]).code(0).silent();
    assert!(checked_at(&shop, first) > before[0]);
    assert_eq!(checked_at(&shop, sibling), before[1]);
    assert_eq!(checked_at(&shop, other), before[2]);
    // In a round of its own now, with the others, alone once more, deployed to, and with the others again.
    for arguments in [&["poll"][..], &["poll", sibling], &["poll"], &["poll"]] {
        gitea.push(&name(0), "v1.0.1", "2026-11-20T10:00:00Z");
        let before = [first, sibling, other].map(|target| checked_at(&shop, target));
        shop.run(arguments).code(0);
        for (target, before) in [first, sibling, other].iter().zip(before) {
            let is_polled = arguments.len() == 1 || arguments[1] == *target;
            assert_eq!(checked_at(&shop, target) > before, is_polled, "{arguments:?} {target}");
        }
    }
    let due = shop.run(&["poll", "--due", "--format", "json"]);
    assert_eq!(due.code(0).json()["summary"]["targets"], 0, "{}", due.raw());
}
