//! Order `newest` where a registry has no push times: tags that appear together go by when their images were built.

use crate::harness::{DEV, Shop, await_until, on};
use crate::oci::{Door, Oci};

/// A stage whose first poll found dev-1.
fn begun(stage: &str) -> (Oci, Shop) {
    let oci = Oci::start(Door::Open, 1000);
    oci.push("acme/shop", "dev-1");
    let config =
        on("oci", &oci.url(), stage).replace("token = { file = \"secret/token\" }", "anonymous = true");
    let shop = Shop::with(&config);
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-1"]);
    (oci, shop)
}

/// dev-0000000 was built a day after dev-fffffff.
fn push_two(oci: &Oci) {
    oci.push_image("acme/shop", "dev-fffffff", "one", Some("2026-11-01T10:00:00Z"));
    oci.push_image("acme/shop", "dev-0000000", "other", Some("2026-11-02T10:00:00Z"));
}

#[test]
fn two_that_appear_together_keep_their_order_through_a_gate() {
    let (oci, shop) = begun(&format!("{DEV}min_age = \"2s\"\n"));
    push_two(&oci);
    shop.run(&["poll"]).code(0).line("shop/dev", &["waiting", "dev-0000000", "min_age"]);
    await_until("it is old enough", || {
        shop.run(&["poll"]).code(0);
        !shop.delivered().is_empty()
    });
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-0000000"]);
    assert_eq!(oci.count("/blobs/"), 2, "asked once");
}

#[test]
fn min_age_counts_on_after_a_mark_of_an_older_tag() {
    let numeric = DEV.replace("order = \"newest\"", "order = \"numeric\"\nregex = \"dev-(.*)\"");
    let (oci, shop) = begun(&format!("{numeric}min_age = \"1h\"\n"));
    let until = || {
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(0).status_is("shop/dev", "waiting");
        run.target("shop/dev")["until"].clone()
    };
    oci.push("acme/shop", "dev-2");
    oci.push("acme/shop", "dev-3");
    let before = until();
    for mark in [&["mark", "shop/dev", "dev-2"][..], &["mark", "shop/dev", "dev-1", "--reset"]] {
        shop.run(mark).code(0);
        assert_eq!(until(), before, "{mark:?}");
    }
}

#[test]
fn two_that_appear_together_keep_their_order_through_a_hold() {
    let (oci, shop) = begun(DEV);
    shop.run(&["hold", "shop/dev"]).code(0);
    push_two(&oci);
    shop.run(&["tags", "shop/dev", "dev-0000000"]).code(0).says("shop/dev dev-0000000 held");
    for _ in 0..2 {
        shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "held");
    }
    shop.run(&["release", "shop/dev"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-0000000"]);
}

#[test]
fn deploy_takes_the_tag_that_status_calls_available() {
    let (oci, shop) = begun(&format!("{DEV}auto_deploy = false\n"));
    push_two(&oci);
    shop.run(&["check", "--online"]).code(0).stdout_has("would select dev-0000000");
    shop.run(&["poll"]).code(0).line("shop/dev", &["available", "dev-0000000"]);
    shop.run(&["poll"]).code(0).silent();
    shop.run(&["deploy", "shop/dev"]).code(0).line("shop/dev", &["deployed", "dev-0000000"]);
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "up_to_date");
    assert_eq!(shop.delivered(), ["shop/dev dev-0000000"]);
}

#[test]
fn a_deployment_before_any_poll_saw_the_tags_goes_by_their_images_too() {
    let (oci, shop) = begun(DEV);
    push_two(&oci);
    shop.run(&["deploy", "shop/dev"]).code(0).line("shop/dev", &["deployed", "dev-0000000"]);
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "up_to_date");
    assert_eq!(shop.delivered(), ["shop/dev dev-0000000"]);
}

#[test]
fn tags_of_unknown_order_wait_for_a_person_and_block_nothing() {
    for built in [Some("1970-01-01T00:00:00Z"), None] {
        let (oci, shop) = begun(DEV);
        oci.push_image("acme/shop", "dev-a", "one", built);
        oci.push_image("acme/shop", "dev-b", "other", built);
        let why = "dev-a and dev-b appeared since the last poll, and nothing tells which is newer; to choose one: tagship deploy shop/dev dev-b";
        shop.run(&["poll"]).code(0).line("shop/dev", &["waiting", "dev-b", why]);
        shop.run(&["poll"]).code(0).silent();
        shop.run(&["check", "--online"]).code(0).stdout_has(&format!("it would wait: {why}"));
        shop.run(&["deploy", "shop/dev"]).code(2).stderr_has(why);
        shop.run(&["deploy", "shop/dev", "dev-a"]).code(0).line("shop/dev", &["deployed", "dev-a"]);
        shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "up_to_date");
        oci.push("acme/shop", "dev-0");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-0"]);
        assert_eq!(shop.delivered(), ["shop/dev dev-a", "shop/dev dev-0"], "{built:?}");
    }
}

#[test]
fn a_tag_that_comes_after_a_tie_is_newer_than_all_of_it() {
    let (oci, shop) = begun(DEV);
    for tag in ["dev-a", "dev-b"] {
        oci.push_image("acme/shop", tag, tag, Some("1970-01-01T00:00:00Z"));
    }
    shop.run(&["poll"]).code(0).line("shop/dev", &["waiting"]);
    oci.push("acme/shop", "dev-0");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-0"]);
    shop.run(&["poll"]).code(0).silent();
}

#[test]
fn a_mark_settles_a_tie() {
    let (oci, shop) = begun(DEV);
    for tag in ["dev-a", "dev-b"] {
        oci.push_image("acme/shop", tag, tag, None);
    }
    shop.run(&["poll"]).code(0).line("shop/dev", &["waiting"]);
    shop.run(&["mark", "shop/dev", "dev-a"]).code(0);
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "up_to_date");
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn one_image_under_two_names_is_one_deployment() {
    let (oci, shop) = begun(DEV);
    for tag in ["dev-a", "dev-b"] {
        oci.push_image("acme/shop", tag, "one", Some("1970-01-01T00:00:00Z"));
    }
    shop.run(&["tags", "shop/dev", "dev-a"]).code(0).says("shop/dev dev-a newer first");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-b"]);
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-b"]);
}

#[test]
fn twenty_one_that_appear_together_are_ordered_like_two() {
    let (oci, shop) = begun(DEV);
    for number in 10..31 {
        // The one whose name is in the middle was built last.
        let minute = if number == 20 { 59 } else { number };
        let built = format!("2026-11-01T10:{minute}:00Z");
        oci.push_image("acme/shop", &format!("dev-{number}"), &built, Some(&built));
    }
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-20"]);
    shop.run(&["poll"]).code(0).silent();
}

#[test]
fn a_name_without_a_manifest_is_not_yet_a_candidate() {
    let (oci, shop) = begun(DEV);
    oci.push_image("acme/shop", "dev-a", "one", Some("2026-11-01T10:00:00Z"));
    oci.push_name("acme/shop", "dev-b");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-a"]);
    oci.push_image("acme/shop", "dev-b", "other", Some("2026-10-01T10:00:00Z"));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-b"]);
}

#[test]
fn a_tag_that_is_deleted_while_its_deployment_waits_is_dropped_at_once() {
    let (oci, shop) = begun(&DEV.replace("backoff = \"1ms\", max_backoff = \"1ms\"", "backoff = \"1h\""));
    oci.push("acme/shop", "dev-2");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    shop.run(&["tags", "shop/dev", "dev-2"]).code(0).says("shop/dev dev-2 waiting").stdout_has("until");
    oci.delete("acme/shop", "dev-2");
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/dev", "up_to_date");
    let status = shop.status("shop/dev");
    assert_eq!((&status["status"], &status["pending"]), (&"up_to_date".into(), &serde_json::Value::Null));
    shop.run(&["history"]).code(0).stdout_has("removed");
}
