//! How servers page their tags: what each documents, to the letter of its requests and answers.

use crate::harness::{PROD, Shop, on};
use crate::http::{Answer, Reply, Server};
use crate::oci::Script;
use crate::registry::digest_of;

const FIRST: &str = "GET /v2/acme/shop/tags/list?n=1000";

fn tags(names: &[&str]) -> Answer {
    Answer::json(200, serde_json::json!({"name": "acme/shop", "tags": names}).to_string())
}

fn next(answer: Answer, link: &str) -> Reply {
    answer.with("Link", format!("<{link}>; rel=\"next\"")).into()
}

fn anonymous(url: &str, stages: &str) -> Shop {
    Shop::with(&on("oci", url, stages).replace("token = { file = \"secret/token\" }", "anonymous = true"))
}

/// Each server answers v1.0.0 and then, by its own way of paging, v2.0.0; the poll must find the latter.
#[test]
fn every_servers_pages_are_read_to_the_end() {
    let (one, two) = (|| tags(&["v1.0.0"]), || Reply::from(tags(&["v2.0.0"])));
    let refused = |status, code: &str| {
        Reply::from(Answer::json(status, format!(r#"{{"errors":[{{"code":"{code}","message":"n"}}]}}"#)))
    };
    let small = "GET /v2/acme/shop/tags/list?n=100";
    let cases: Vec<(&str, Vec<(&'static str, Reply)>)> = vec![
        (
            "Harbor, Zot, distribution: a relative Link",
            vec![
                (FIRST, next(one(), "/v2/acme/shop/tags/list?last=v1.0.0&n=1000")),
                ("GET /v2/acme/shop/tags/list?last=v1.0.0&n=1000", two()),
            ],
        ),
        (
            "Quay: smaller pages than asked for, and a word of its own",
            vec![
                (FIRST, next(one(), "/v2/acme/shop/tags/list?next_page=gAAAAABcy-w%3D%3D&n=100")),
                ("GET /v2/acme/shop/tags/list?next_page=gAAAAABcy-w%3D%3D&n=100", two()),
            ],
        ),
        (
            "a Link of a query only",
            vec![(FIRST, next(one(), "?last=v1.0.0")), ("GET /v2/acme/shop/tags/list?last=v1.0.0", two())],
        ),
        (
            "a Link to another path, which nobody is sent to with a credential",
            vec![
                (FIRST, next(one(), "/v2/other/private/tags/list?last=v1.0.0#x")),
                ("GET /v2/acme/shop/tags/list?last=v1.0.0", two()),
            ],
        ),
        (
            "distribution with a smaller limit refuses the size",
            vec![(FIRST, refused(400, "PAGINATION_NUMBER_INVALID")), (small, two())],
        ),
        ("ECR refuses the size in its own way", vec![(FIRST, refused(405, "UNSUPPORTED")), (small, two())]),
        (
            "ECR: a page of untagged images only",
            vec![
                (FIRST, next(tags(&[]), "/v2/acme/shop/tags/list?n=1000&last=aGVsbG8")),
                ("GET /v2/acme/shop/tags/list?n=1000&last=aGVsbG8", two()),
            ],
        ),
        (
            "two Link headers in one, and tags of the page before",
            vec![
                (
                    FIRST,
                    one()
                        .with(
                            "Link",
                            "</v2/>; rel=\"first\", </v2/acme/shop/tags/list?last=v1.0.0>; rel=next",
                        )
                        .into(),
                ),
                ("GET /v2/acme/shop/tags/list?last=v1.0.0", tags(&["v1.0.0", "v2.0.0"]).into()),
            ],
        ),
    ];
    for (case, mut exchanges) in cases {
        exchanges.push(("HEAD /v2/acme/shop/manifests/v2.0.0", {
            Answer::json(200, "").with("Docker-Content-Digest", digest_of("x")).into()
        }));
        let server = Script::start(exchanges);
        let shop = anonymous(&server.url(), &format!("{PROD}first_poll = \"deploy\"\n"));
        shop.run(&["poll"]).code(0);
        assert_eq!(shop.delivered(), ["shop/prod v2.0.0"], "{case}");
    }
}

#[test]
fn an_absolute_link_is_followed_on_the_own_origin_only() {
    let server = Server::start(|request| {
        let host = request.header("host").unwrap().to_owned();
        match request.query("last") {
            None => next(tags(&["v1.0.0"]), &format!("http://{host}/v2/acme/shop/tags/list?last=opaque")),
            Some(_) => tags(&["v2.0.0"]).into(),
        }
    });
    anonymous(&server.url(), PROD).run(&["poll"]).code(0).line("shop/prod", &["baseline", "v2.0.0"]);

    // Behind a proxy a server often does not know its own address: the page is asked for at the one that is known.
    let elsewhere = Script::start([]);
    let link = format!("{}/v2/acme/shop/tags/list?last=v1.0.0", elsewhere.url());
    let second = "GET /v2/acme/shop/tags/list?last=v1.0.0";
    let server = Script::start([(FIRST, next(tags(&["v1.0.0"]), &link)), (second, tags(&["v2.0.0"]).into())]);
    anonymous(&server.url(), PROD).run(&["poll"]).code(0).line("shop/prod", &["baseline", "v2.0.0"]);
    assert!(elsewhere.requests().is_empty());
}

/// The message of a protocol error of the only target.
#[track_caller]
fn failure(shop: &Shop) -> String {
    let run = shop.run(&["poll", "--format", "json"]);
    let error = run.code(1).error_is("shop/prod", "protocol").target("shop/prod")["error"].clone();
    shop.redact(error["message"].as_str().unwrap())
}

/// This many tags from `v0.0.0` on.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("v{}.{}.{}", number / 100, number / 10 % 10, number % 10)).collect()
}

fn listing(names: &[String]) -> Answer {
    tags(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_full_page_without_a_link_is_followed_by_its_last_tag() {
    let full = many(1000);
    let server = Script::start([
        (FIRST, listing(&full).into()),
        ("GET /v2/acme/shop/tags/list?n=1000&last=v9.9.9", tags(&["v10.0.0"]).into()),
    ]);
    anonymous(&server.url(), PROD).run(&["poll"]).code(0).line("shop/prod", &["baseline", "v10.0.0"]);
    // Exactly one page: nothing follows.
    let server = Script::start([
        (FIRST, listing(&full).into()),
        ("GET /v2/acme/shop/tags/list?n=1000&last=v9.9.9", tags(&[]).into()),
    ]);
    anonymous(&server.url(), PROD).run(&["poll"]).code(0).line("shop/prod", &["baseline", "v9.9.9"]);
}

#[test]
fn a_server_without_pages_is_asked_once() {
    let server = Script::start([(FIRST, listing(&many(1001)).into())]);
    anonymous(&server.url(), PROD).run(&["poll"]).code(0).line("shop/prod", &["baseline", "v10.0.0"]);
}

#[test]
fn pages_that_do_not_end_are_an_error() {
    let circle = "200 OK: the registry returned the same page twice";
    let own = "/v2/acme/shop/tags/list?n=1000&last=v1.0.0";
    let server = Script::start([
        (FIRST, next(tags(&["v1.0.0"]), own)),
        ("GET /v2/acme/shop/tags/list?n=1000&last=v1.0.0", next(tags(&["v1.0.0"]), own)),
    ]);
    let message = failure(&anonymous(&server.url(), PROD));
    assert_eq!(message, format!("GET http://127.0.0.1:[port]{own}: {circle}"));

    // Another address each time, and the same tags.
    let server = Server::start(|request| {
        let turn: usize = request.query("turn").map_or(0, |turn| turn.parse().unwrap());
        next(tags(&["v1.0.0"]), &format!("/v2/acme/shop/tags/list?turn={}", turn + 1))
    });
    let message = failure(&anonymous(&server.url(), PROD));
    assert_eq!(message, format!("GET http://127.0.0.1:[port]/v2/acme/shop/tags/list?…: {circle}"));

    // Another address each time, and two pages by turns.
    let server = Server::start(|request| {
        let turn: usize = request.query("last").map_or(0, |turn| turn.parse().unwrap());
        let page = if turn.is_multiple_of(2) { tags(&["v1.0.0"]) } else { tags(&["v2.0.0"]) };
        next(page, &format!("/v2/acme/shop/tags/list?last={}", turn + 1))
    });
    let message = failure(&anonymous(&server.url(), PROD));
    assert_eq!(message, format!("GET http://127.0.0.1:[port]/v2/acme/shop/tags/list?last=2: {circle}"));

    // Another address each time, and no tags.
    let server = Server::start(|request| {
        let turn: usize = request.query("turn").map_or(0, |turn| turn.parse().unwrap());
        next(tags(&[]), &format!("/v2/acme/shop/tags/list?turn={}", turn + 1))
    });
    let message = failure(&anonymous(&server.url(), PROD));
    assert_eq!(message, format!("GET http://127.0.0.1:[port]/v2/acme/shop/tags/list?…: {circle}"));

    // A server that knows n and not last.
    let full = many(1000);
    let server = Script::start([
        (FIRST, listing(&full).into()),
        ("GET /v2/acme/shop/tags/list?n=1000&last=v9.9.9", listing(&full).into()),
        ("GET /v2/acme/shop/tags/list?n=999", listing(&full[..999]).into()),
    ]);
    let message = failure(&anonymous(&server.url(), PROD));
    assert_eq!(
        message,
        format!("GET http://127.0.0.1:[port]/v2/acme/shop/tags/list?n=1000&last=v9.9.9: {circle}")
    );
}

#[test]
fn a_full_page_of_invalid_names_does_not_hide_the_next_page() {
    let names: Vec<String> = (0..1000).map(|number| format!("-{number}")).collect();
    let server = Script::start([(FIRST, listing(&names).into())]);
    assert_eq!(
        failure(&anonymous(&server.url(), PROD)),
        "GET http://127.0.0.1:[port]/v2/acme/shop/tags/list?n=1000: 200 OK: a full page without a valid name, and without a Link to the next page"
    );
}
