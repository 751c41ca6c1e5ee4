//! `check --online` tries what the first new tag will need: its digest, and what the rule, the gates and the stage ask.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::http::{Answer, Server};
use crate::oci::{Door, Oci};
use crate::registry::Build;

const PICK: &str = "127.0.0.1:[port]/acme/shop: 2 of 5 tags match, would select v1.10.0";

#[track_caller]
fn row(shop: &Shop, code: i32, row: &str) {
    shop.run(&["check", "--online"]).code(code).stdout_has(&format!("shop/prod  {row}"));
    assert!(!shop.exists("state.db"), "nothing is written");
    assert!(shop.deliveries().is_empty());
}

#[test]
fn digest_of_the_selected_tag_is_asked_once() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = Shop::with(&on_gitea(&gitea, PROD));
        row(&shop, 0, &format!("ok      {PICK}\n"));
        let asked = gitea.take_requests();
        let of_the_image: Vec<&str> =
            asked.iter().map(String::as_str).filter(|line| line.contains("/acme/shop/")).collect();
        let expected = ["GET /v2/acme/shop/tags/list", "HEAD /v2/acme/shop/manifests/v1.10.0"];
        assert_eq!(of_the_image, expected, "{build:?}");

        gitea.intercept_all("/manifests/", Answer::new(403, "text/plain", "not for you"));
        let fault =
            "GET http://127.0.0.1:[port]/v2/acme/shop/manifests/v1.10.0: 403 Forbidden (not for you): ";
        row(&shop, 1, &format!("failed  {PICK}, but could not deploy it: {fault}"));
    }
}

#[test]
fn a_tag_without_a_manifest_is_a_warning() {
    let gitea = gitea(Build::GiteaNew);
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    gitea.retag("acme/shop", "v2.0.0", "v1.9.0", "2026-11-20T11:00:01Z");
    gitea.retag("acme/shop", "v1.11.0", "v2.0.0", "2026-11-20T11:00:02Z");
    let shop = Shop::with(&on_gitea(&gitea, PROD));
    row(&shop, 0, "ok      127.0.0.1:[port]/acme/shop: 4 of 7 tags match, would select v2.0.0\n");
    gitea.intercept_all("/manifests/v2.0.0", gitea.recorded("18-head-manifest-missing"));
    row(
        &shop,
        0,
        "warn    127.0.0.1:[port]/acme/shop: 4 of 7 tags match, would select v2.0.0; \
         it would wait: v2.0.0 is listed, but the registry has no manifest for it; ",
    );
}

#[test]
fn a_gate_that_opens_later_is_not_a_fault() {
    let gitea = gitea(Build::GiteaNew);
    let closed = "window = [{ days = [\"Mon\"], from = \"03:00\", to = \"03:01\", timezone = \"UTC\" }]\n";
    for gate in [
        "min_age = \"10000h\"\n",
        "after = { stage = \"dev\", for = \"1h\" }\n",
        closed,
        "auto_deploy = false\n",
    ] {
        gitea.take_requests();
        let shop = Shop::with(&on_gitea(&gitea, &format!("{DEV}{PROD}{gate}")));
        row(&shop, 0, &format!("ok      {PICK}\n"));
        // The requests of the first new tag are sent now.
        assert_eq!(gitea.count("/manifests/v1.10.0"), 1, "{gate}");
        let is_timed = gate.starts_with("min_age");
        assert_eq!(gitea.count("/container/shop/v1.10.0"), usize::from(is_timed), "{gate}");
    }
    gitea.intercept_all("/container/shop/v1.10.0", gitea.recorded("21-packages-wrong-scope"));
    let shop = Shop::with(&on_gitea(&gitea, &format!("{PROD}min_age = \"30m\"\n")));
    let asked = "GET http://127.0.0.1:[port]/api/v1/packages/acme/container/shop/v1.10.0: 403 Forbidden";
    row(&shop, 1, &format!("failed  {PICK}, but could not deploy it: {asked}"));
}

#[test]
fn a_missing_repository_of_with_is_a_failure_and_a_missing_tag_a_warning() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, &format!("{PROD}with = [\"acme/worker\"]\n")));
    let fault = "with: GET http://127.0.0.1:[port]/v2/acme/worker/tags/list: 404 Not Found: the image does not exist; ";
    row(&shop, 1, &format!("failed  {PICK}, but could not deploy it: {fault}"));
    gitea.push("acme/worker", "v0.1.0", "2026-11-20T10:00:00Z");
    row(&shop, 0, &format!("warn    {PICK}; it would wait: with: acme/worker has no v1.10.0 yet\n"));
    gitea.push("acme/worker", "v1.10.0", "2026-11-20T10:00:00Z");
    row(&shop, 0, &format!("ok      {PICK}\n"));
}

/// With v1.10.0, which is for linux/amd64.
fn oci(stages: &str) -> (Oci, Shop) {
    let oci = Oci::start(Door::Basic, 100);
    oci.push_image("acme/shop", "v1.10.0", "image", Some("2026-11-20T10:00:00Z"));
    let shop = Shop::with(&on("oci", &oci.url(), stages));
    (oci, shop)
}

const ONLY: &str = "127.0.0.1:[port]/acme/shop: 1 of 1 tags match, would select v1.10.0";

#[test]
fn a_platform_that_the_image_lacks_is_a_warning() {
    let (_oci, shop) = oci(&format!("{PROD}platforms = [\"linux/amd64\"]\n"));
    row(&shop, 0, &format!("ok      {ONLY}\n"));
    let (_oci, shop) = oci(&format!("{PROD}platforms = [\"linux/amd64\", \"linux/s390x\"]\n"));
    row(&shop, 0, &format!("warn    {ONLY}; it would wait: platforms: v1.10.0 has no linux/s390x yet\n"));
}

#[test]
fn own_gate_is_asked() {
    let (_oci, shop) = oci(&format!("{PROD}gate = {{ command = [\"./gate.sh\"], timeout = \"20s\" }}\n"));
    shop.script("gate.sh", "echo no signature of $TAGSHIP_TAG; exit 1\n");
    row(&shop, 0, &format!("warn    {ONLY}; it would wait: gate: v1.10.0: "));
    shop.script("gate.sh", "kill -9 $$\n");
    row(&shop, 1, &format!("failed  {ONLY}, but could not deploy it: gate of v1.10.0: "));
    shop.script("gate.sh", "test $TAGSHIP_TAG = v1.10.0\n");
    row(&shop, 0, &format!("ok      {ONLY}\n"));
}

#[test]
fn check_runs_the_probe_of_the_stage() {
    let probe = Server::start(|_| Answer::new(500, "text/plain", "down for now").into());
    let running = format!("running = {{ url = \"{}/version\", pointer = \"/tag\" }}\n", probe.url());
    let (_oci, shop) = oci(&format!("{PROD}{running}"));
    row(&shop, 1, &format!("failed  {ONLY}, but could not find out what the stage runs: "));
    let probe = Server::start(|_| Answer::json(200, r#"{"tag":"v1.9.0"}"#).into());
    let running = format!("running = {{ url = \"{}/version\", pointer = \"/tag\" }}\n", probe.url());
    let (_oci, shop) = oci(&format!("{PROD}{running}"));
    row(&shop, 0, &format!("ok      {ONLY}\n"));
}

#[test]
fn build_time_is_tried_where_newest_needs_it() {
    let newest = PROD.replace("semver", "newest");
    let (_oci, shop) = oci(&newest);
    row(&shop, 0, &format!("ok      {ONLY}\n"));
    for built in [None, Some("1970-01-01T00:00:00Z"), Some("1980-01-01T00:00:01Z")] {
        let (oci, shop) = oci(&newest);
        oci.push_image("acme/shop", "v1.10.0", "image", built);
        let why = "if several new tags appear at once, it will wait for you: \
                   the image has no real build time\n";
        row(&shop, 0, &format!("warn    {ONLY}; {why}"));
    }
    let (oci, shop) = oci(PROD);
    row(&shop, 0, &format!("ok      {ONLY}\n"));
    assert_eq!(oci.count("/blobs/"), 0, "no other order goes by it");

    let server = Server::start(|request| match (request.method.as_str(), request.path()) {
        ("GET", "/v2/") => Answer::json(200, "{}").into(),
        ("GET", "/v2/acme/shop/tags/list") => Answer::json(200, r#"{"tags":["v1.10.0"]}"#).into(),
        ("HEAD", _) => {
            Answer::new(200, "", "").with("Docker-Content-Digest", crate::registry::digest_of("image")).into()
        }
        _ => Answer::new(403, "text/plain", "no pulls").into(),
    });
    let shop = Shop::with(&on("oci", &server.url(), &newest));
    let image = crate::registry::digest_of("image");
    let fault =
        format!("GET http://127.0.0.1:[port]/v2/acme/shop/manifests/{image}: 403 Forbidden (no pulls): ");
    row(
        &shop,
        1,
        &format!(
            "failed  {ONLY}, but could not read its build time, which order = \"newest\" needs: {fault}"
        ),
    );
}

/// However many tags it has, and whatever its gates want to know.
#[test]
fn target_costs_a_handful_of_requests() {
    let gates = "min_age = \"1h\"\nafter = { stage = \"dev\", for = \"1h\" }\nwith = [\"acme/worker\"]\nplatforms = [\"linux/s390x\"]\n";
    let oci = Oci::start(Door::Open, 1000);
    for number in 0..300 {
        let tag = format!("v1.{number}.0");
        oci.push_image("acme/shop", &tag, &tag, Some("2026-11-20T10:00:00Z"));
        oci.push_image("acme/worker", &tag, &tag, Some("2026-11-20T10:00:00Z"));
    }
    let prod = PROD.replace("semver", "newest");
    let dev = DEV.replace("deploy =", "poll = false\ndeploy =");
    let shop = Shop::with(&on("oci", &oci.url(), &format!("{prod}{gates}{dev}")));
    shop.run(&["check", "--online"]).code(0).stdout_has("platforms: ");
    let asked = oci.requests();
    // The list, four for the platform and the time of its build, one for the other repository; and for the registry and
    // the other stage.
    assert!(asked.len() <= 12, "{:#?}", asked.iter().map(|request| request.line()).collect::<Vec<_>>());
}
