//! How a server is asked: again or not, for how long, and how much of an answer is taken.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::http::{Answer, Reply, Request, Server, gzip};
use crate::oci::Script;
use crate::proxy::Proxy;
use crate::registry::{Build, Gitea, TOKEN, digest_of, http_date};

const LIST: &str = "GET /v2/acme/shop/tags/list?n=1000";
const SHOWN: &str = "GET http://127.0.0.1:[port]/v2/acme/shop/tags/list?n=1000";

fn tags() -> Answer {
    Answer::json(200, r#"{"name":"acme/shop","tags":["v1.0.0"]}"#)
}

fn failure() -> Answer {
    Answer::new(500, "", "")
}

/// A registry that everybody may ask, one request at a time.
fn alone(url: &str, stages: &str) -> String {
    on("oci", url, stages).replace("token = { file = \"secret/token\" }", "anonymous = true\nconnections = 1")
}

fn with_timeout(timeout: &str, config: &str) -> String {
    format!("[settings]\ntimeout = \"{timeout}\"\n{config}")
}

fn message(shop: &Shop, code: &str) -> String {
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", code);
    shop.redact(run.target("shop/prod")["error"]["message"].as_str().unwrap())
}

/// Projects a, b, c, … beside shop, each with a stage of its own.
fn projects(names: &[&str]) -> String {
    let project = |name: &&str| {
        format!("[projects.{name}]\nregistry = \"git\"\nimage = \"acme/{name}\"\n")
            + &PROD.replace("projects.shop", &format!("projects.{name}"))
    };
    names.iter().map(project).collect()
}

#[test]
fn a_request_is_sent_again_where_that_can_help_and_then_succeeds() {
    let busy = |status, after: &str| Answer::new(status, "", "").with("Retry-After", after);
    for failures in [
        vec![Reply::Reset, Reply::Reset],
        vec![failure().into(), failure().into()],
        vec![Answer::new(503, "", "").into(), Reply::Reset],
        vec![Reply::Truncated(tags(), 10), Reply::Truncated(tags(), 0)],
        vec![busy(429, "0").into(), busy(429, "0.2").into()],
        vec![busy(503, "0").into()],
        // A moment that is over, by the server's clock.
        vec![busy(429, "Mon, 23 Nov 2026 13:54:00 GMT").with("Date", "Mon, 23 Nov 2026 13:54:10 GMT").into()],
    ] {
        let last = (LIST, Reply::from(tags()));
        let server = Script::start(failures.into_iter().map(|failure| (LIST, failure)).chain([last]));
        let shop = Shop::with(&alone(&server.url(), PROD));
        shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    }
}

#[test]
fn a_request_is_sent_three_times_at_most() {
    for (reply, expected) in [
        (Reply::from(failure()), "500 Internal Server Error: the server failed; see its log"),
        (
            Reply::from(Answer::new(502, "", "upstream is away")),
            "502 Bad Gateway (upstream is away): the server failed; see its log",
        ),
        (Reply::Truncated(tags(), 10), "200 OK: the answer ended early: the connection was closed"),
        (Reply::Reset, "the connection was closed before the answer was complete"),
    ] {
        let server = Script::start((0..3).map(|_| (LIST, reply.clone())));
        let shop = Shop::with(&alone(&server.url(), PROD));
        assert_eq!(message(&shop, "unavailable"), format!("{SHOWN}: {expected}"));
    }
}

#[test]
fn an_error_that_a_retry_cannot_help_is_not_retried() {
    for (timeout, reply, code, expected) in [
        (
            "60s",
            Reply::from(Answer::new(404, "", "")),
            "not_found",
            "404 Not Found: the image does not exist, or this is not the address of a registry",
        ),
        (
            "60s",
            Answer::new(403, "", "no").into(),
            "denied",
            "403 Forbidden (no): this user may not read the image",
        ),
        (
            "60s",
            Reply::Garbage,
            "unavailable",
            "the answer is not HTTP; are the address and its scheme right?",
        ),
        ("1s", Reply::Hang, "unavailable", "no answer within [duration]"),
        // Forty bytes and more.
        (
            "2s",
            Reply::Drip(tags(), Duration::from_millis(200)),
            "unavailable",
            "200 OK: the answer did not end in time",
        ),
    ] {
        let server = Script::start([(LIST, reply)]);
        let shop = Shop::with(&with_timeout(timeout, &alone(&server.url(), PROD)));
        assert_eq!(message(&shop, code), format!("{SHOWN}: {expected}"));
    }
}

#[test]
fn no_phase_of_a_request_outlasts_its_timeout() {
    // A server that takes the connection and is silent, or says its head a byte at a time.
    for (scheme, speaks) in [("http", true), ("https", false)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // A read that times out is a pause that ends early when the client goes away.
                stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                let mut request = [0; 4096];
                let mut is_over = speaks && stream.write_all(b"HTTP/1.1 200 OK\r\n").is_err();
                while !is_over {
                    is_over = matches!(stream.read(&mut request), Ok(0))
                        || (speaks && stream.write_all(b"X: y\r\n").is_err());
                }
            }
        });
        let shop = Shop::with(&with_timeout("1s", &alone(&url, PROD)));
        is_out_of_time(&message(&shop, "unavailable"), &SHOWN.replace("http:", &format!("{scheme}:")));
    }

    // A proxy that takes the connection and never says that it is through, or says it a byte at a time.
    for proxy in [Proxy::silent(), Proxy::dripping()] {
        let config = alone("https://git.example.test", PROD);
        let mut shop = Shop::with(&with_timeout("1s", &config));
        shop.env("https_proxy", &proxy.url());
        is_out_of_time(
            &message(&shop, "unavailable"),
            "GET https://git.example.test/v2/acme/shop/tags/list?n=1000 by the proxy http://127.0.0.1:[port]",
        );
    }
}

/// The timeout of the phase and of the whole are a tenth apart: on a busy machine either can be noticed first. (Without
/// them the run does not end.)
#[track_caller]
fn is_out_of_time(message: &str, request: &str) {
    let ends = ["no answer", "no connection"].map(|what| format!("{request}: {what} within [duration]"));
    assert!(ends.iter().any(|end| end == message), "{message}");
}

#[test]
fn a_registry_that_wants_to_be_left_alone_is_for_the_rest_of_the_run() {
    for (status, after, code) in [
        (429, Some("120"), "rate_limited"),
        (429, None, "rate_limited"),
        (503, Some("99999999999999999999"), "rate_limited"),
    ] {
        let asked = AtomicUsize::new(0);
        let server = Server::start(move |_| {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            assert_eq!(number, 0, "it is asked once");
            let answer = Answer::new(status, "text/plain", "slow down");
            after.map_or(answer.clone(), |after| answer.with("Retry-After", after)).into()
        });
        let shop = Shop::with(&alone(&server.url(), &format!("{PROD}{}", projects(&["blog"]))));
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).error_is("shop/prod", code).error_is("blog/prod", code);
        let of = |target: &str| shop.redact(run.target(target)["error"]["message"].as_str().unwrap());
        let mut messages = [of("shop/prod"), of("blog/prod")];
        messages.sort();
        let url = |name: &str| format!("GET http://127.0.0.1:[port]/v2/acme/{name}/tags/list?n=1000");
        let asked = |name: &str| {
            let reason = if status == 429 { "429 Too Many Requests" } else { "503 Service Unavailable" };
            format!("{}: {reason} (slow down): the server allows no request before [time]", url(name))
        };
        let not_sent = |name: &str| format!("not sent: {}", asked(name));
        let one = [asked("blog"), not_sent("blog")];
        let other = [asked("shop"), not_sent("shop")];
        assert!(messages == one || messages == other, "{messages:#?}");
    }
}

#[test]
fn a_date_is_read_by_the_servers_own_clock() {
    // An hour behind, so that the date is over by the clock here.
    let behind = |minutes: i64| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let answer = Answer::new(429, "", "").with("Date", behind(60)).with("Retry-After", behind(30));
    let server = Script::start([(LIST, answer.into())]);
    let shop = Shop::with(&alone(&server.url(), PROD));
    assert_eq!(
        message(&shop, "rate_limited"),
        format!("{SHOWN}: 429 Too Many Requests: the server allows no request before [time]")
    );

    let answer = Answer::new(429, "", "").with("Date", http_date()).with("Retry-After", http_date());
    let server = Script::start([(LIST, answer.into()), (LIST, tags().into())]);
    Shop::with(&alone(&server.url(), PROD)).run(&["poll"]).code(0);
}

#[test]
fn after_three_connections_that_failed_a_registry_is_left_alone() {
    let names = ["a", "b", "c", "d", "e"];
    let server = Server::start(|_| Reply::Hang);
    let config = alone(&server.url(), &format!("{PROD}{}", projects(&names)));
    let shop = Shop::with(&with_timeout("1s", &config));
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1);
    let targets = run.json()["targets"].as_array().unwrap().clone();
    let messages: Vec<String> = targets
        .iter()
        .map(|target| shop.redact(target["error"]["message"].as_str().unwrap()))
        .map(|message| message.split_once(": ").unwrap().1.to_owned())
        .collect();
    const LEFT_ALONE: &str = "not sent: requests for 3 different paths failed in a row, so this run sends no more requests to this registry \
                              (the last: no answer within [duration])";
    let count = |text: &str| messages.iter().filter(|message| *message == text).count();
    assert_eq!((count("no answer within [duration]"), count(LEFT_ALONE)), (3, 3), "{messages:#?}");
}

#[test]
fn a_registry_that_goes_down_during_a_run_costs_few_requests() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let server = Server::start(move |request| {
        let name = request.path().split('/').nth(3).unwrap().to_owned();
        match count.fetch_add(1, Ordering::SeqCst) {
            0..4 => Answer::json(200, format!("{{\"name\":\"acme/{name}\",\"tags\":[\"v1.0.0\"]}}")).into(),
            _ => Reply::Reset,
        }
    });
    let names: Vec<String> = (10..50).map(|number| format!("i{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let shop = Shop::with(&alone(&server.url(), &format!("{PROD}{}", projects(&names))));
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1);
    assert_eq!((statuses(&run, "baseline"), statuses(&run, "unknown")), (4, 37));
    // Three paths, each tried three times, and once more one that was answered before.
    assert_eq!(requests.load(Ordering::SeqCst), 4 + 3 * 3 + 1);
}

#[test]
fn an_answer_between_failures_resets_their_count() {
    // Each image's list is lost twice and then comes: six failures, never three in a row.
    let requests = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let name = request.path().split('/').nth(3).unwrap().to_owned();
        match requests.fetch_add(1, Ordering::SeqCst) % 3 {
            2 => Answer::json(200, format!("{{\"name\":\"acme/{name}\",\"tags\":[\"v1.0.0\"]}}")).into(),
            _ => Reply::Reset,
        }
    });
    let shop = Shop::with(&alone(&server.url(), &format!("{PROD}{}", projects(&["a", "b"]))));
    shop.run(&["poll"]).code(0).line("a/prod", &["baseline"]).line("b/prod", &["baseline"]);
}

/// A poll of these images with this many connections. Requests for broken images reset the connection, the others are
/// answered after a delay. Returns the images that were served.
fn served(names: &[String], broken: &'static [&'static str], connections: usize) -> (Shop, Server) {
    let server = Server::start(move |request| {
        let name = request.path().split('/').nth(3).unwrap().to_owned();
        if broken.contains(&&*name) {
            return Reply::Reset;
        }
        // Answers are slower than failures, as those of a busy server.
        thread::sleep(Duration::from_millis(100));
        Answer::json(200, format!("{{\"name\":\"acme/{name}\",\"tags\":[\"v1.0.0\"]}}")).into()
    });
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let config = on("oci", &server.url(), &format!("{PROD}{}", projects(&names))).replace(
        "token = { file = \"secret/token\" }",
        &format!("anonymous = true\nconnections = {connections}"),
    );
    (Shop::with(&config), server)
}

fn statuses(run: &crate::run::Run, status: &str) -> usize {
    run.json()["targets"].as_array().unwrap().iter().filter(|target| target["status"] == status).count()
}

#[test]
fn failures_of_some_paths_do_not_affect_others() {
    let names: Vec<String> = (10..50).map(|number| format!("i{number}")).collect();
    for (names, broken, connections) in [
        (&names[..], &["i10", "i11"][..], 16),
        // Quicker than any answer, and with more connections than answers in that time.
        (&names[..], &["i10", "i11", "i12", "i13"][..], 16),
        (&names[..6], &["i10"][..], 1),
        // In a row, and it has answered before.
        (&names[..8], &["i11", "i12", "i13", "i14"][..], 1),
        (&names[..12], &["i11", "i12", "i13", "i15", "i16", "i17", "i18"][..], 1),
        (&names[..8], &["i12", "i13", "i14"][..], 2),
    ] {
        let (shop, _server) = served(names, broken, connections);
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1);
        // The project shop of the configuration is one more.
        assert_eq!(statuses(&run, "unknown"), broken.len(), "{connections}: {}", run.raw());
        assert_eq!(statuses(&run, "baseline"), names.len() + 1 - broken.len(), "{connections}");
    }
}

#[test]
fn where_a_server_counts_as_down_it_is_not_always_the_same_images_that_are_left_out() {
    let names: Vec<String> = (10..20).map(|number| format!("i{number}")).collect();
    let (shop, _server) = served(&names, &["i10", "i11", "i12"], 1);
    shop.run(&["poll"]).code(1);
    crate::harness::await_until("every healthy image is served", || {
        statuses(&shop.run(&["poll", "--format", "json"]), "up_to_date") == 0
            && names[3..].iter().all(|name| !shop.status(&format!("{name}/prod"))["latest_tag"].is_null())
    });
}

#[test]
fn a_page_of_rows_may_be_longer_than_other_answers() {
    let padding = "x".repeat(3 * 1024 * 1024);
    let answer = move |request: &Request| {
        let at = "2026-11-20T10:00:00Z";
        let row = serde_json::json!({
            "id": 1, "created_at": at, "last_updated": at, "padding": padding,
            "name": if request.path().starts_with("/api/") { "shop" } else { "dev-42" }, "version": "dev-42",
            "metadata": {"container": {"tags": ["dev-42"]}},
        });
        let body = match request.path() {
            path if path.starts_with("/v2/repositories") => {
                serde_json::json!({"count": 1, "next": null, "results": [row]})
            }
            path if path.starts_with("/user/") => serde_json::json!([]),
            _ => serde_json::json!([row]),
        };
        Answer::json(200, body.to_string()).with("X-Total-Count", "1").with("Date", http_date()).into()
    };
    for kind in ["gitea", "github", "dockerhub"] {
        let server = Server::start(answer.clone());
        let api = match kind {
            "gitea" => String::new(),
            _ => format!("\napi_url = \"{}\"", server.url()),
        };
        let token = "token = { file = \"secret/token\" }";
        let config = on(kind, &server.url(), DEV).replace(token, &format!("{token}{api}"));
        let shop = Shop::with(&config);
        shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-42"]);
    }
}

/// The most memory that a process had, in KiB; None once it has ended.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
#[ignore = "needs a minute"]
fn large_lists_are_held_a_few_at_a_time_and_all_are_read() {
    let names: Vec<String> = (10..22).map(|number| format!("i{number}")).collect();
    let tags: Vec<String> = (0..250_000).map(|number| format!("v1.{number}.0")).collect();
    let tags = serde_json::to_string(&tags).unwrap();
    let server = Server::start(move |request| {
        let name = request.path().split('/').nth(3).unwrap().to_owned();
        Answer::json(200, format!("{{\"name\":\"acme/{name}\",\"tags\":{tags}}}")).into()
    });
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    let config = on("oci", &server.url(), &format!("{PROD}{}", projects(&list)))
        .replace("token = { file = \"secret/token\" }", "anonymous = true\nconnections = 13");
    let shop = Shop::with(&with_timeout("300s", &config));
    let poll = shop.start(&["poll"]);
    let mut peak = 0;
    while let Some(now) = peak_memory(poll.id()) {
        peak = now;
        thread::sleep(Duration::from_millis(5));
    }
    poll.end().code(0);
    assert_eq!(shop.status("i21/prod")["latest_tag"], "v1.249999.0");
    // Held all at once, they take over 420.
    assert!(peak < 340 * 1024, "{} MiB", peak / 1024);
}

#[test]
#[ignore = "needs a minute"]
fn few_large_lists_are_in_memory_at_a_time() {
    let names: Vec<String> = (10..25).map(|number| format!("i{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tags: Vec<String> = (0..140_000).map(|number| format!("v{number}-{}", "x".repeat(110))).collect();
    let tags = serde_json::to_string(&tags).unwrap();
    let server = Server::start(move |request| {
        let name = request.path().split('/').nth(3).unwrap().to_owned();
        Answer::json(200, format!("{{\"name\":\"acme/{name}\",\"tags\":{tags}}}")).into()
    });
    let stages = format!("{PROD}{}", projects(&names)).replace("\"semver\"", "\"newest\"");
    let config = on("oci", &server.url(), &stages)
        .replace("token = { file = \"secret/token\" }", "anonymous = true\nconnections = 16");
    let shop = Shop::with(&with_timeout("300s", &config));
    let poll = shop.start(&["poll"]);
    let mut peak = 0;
    while let Some(now) = peak_memory(poll.id()) {
        peak = now;
        thread::sleep(Duration::from_millis(5));
    }
    poll.end().code(0);
    // Held all at once, it takes over 500.
    assert!(peak < 400 * 1024, "{} MiB", peak / 1024);
}

/// Longer than any answer may be, and short on the wire.
fn bomb(begin: &str, mebibytes: usize) -> Answer {
    // Members of gzip after another are one text.
    let packed = [gzip(begin), gzip(&" ".repeat(1024 * 1024)).repeat(mebibytes)].concat();
    Answer::json(200, packed).with("Content-Encoding", "gzip")
}

#[test]
fn an_answer_that_unpacks_to_too_much_is_refused() {
    let server = Script::start([(LIST, bomb(r#"{"name":"acme/shop","tags":["v1.0.0""#, 65).into())]);
    let shop = Shop::with(&with_timeout("60s", &alone(&server.url(), PROD)));
    assert_eq!(message(&shop, "protocol"), format!("{SHOWN}: 200 OK: the answer is longer than 64 MiB"));
}

#[test]
fn other_answers_have_a_lower_limit() {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/shop", "dev-1", "2026-11-20T10:00:00Z");
    for (stage, target, part, packed, limit) in [
        (PROD, "shop/prod", "/v2/token", true, 1),
        (PROD, "shop/prod", "/v2/token", false, 1),
        (DEV, "shop/dev", "/api/v1/packages", true, 16),
    ] {
        let answer =
            if packed { bomb("", limit + 1) } else { Answer::json(200, " ".repeat(2 * 1024 * 1024)) };
        gitea.intercept_all(part, answer);
        let config = on_gitea(&gitea, stage);
        // Anonymous access always needs an exchange.
        let anonymous = config.replace("token = { file = \"secret/token\" }", "anonymous = true");
        let shop = Shop::with(if stage == PROD { &anonymous } else { &config });
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).error_is(target, "protocol");
        let message = run.target(target)["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.ends_with(&format!(": 200 OK: the answer is longer than {limit} MiB")), "{message}");
    }
}

#[test]
fn a_hundred_thousand_tags_are_read_from_one_answer() {
    let tags: Vec<String> =
        (0..100_000).map(|number| format!("v1.{}.{}", number / 1000, number % 1000)).collect();
    let body = serde_json::json!({"name": "acme/shop", "tags": tags}).to_string();
    let plain = Answer::json(200, body.clone());
    let packed = Answer::json(200, gzip(&body)).with("Content-Encoding", "gzip");
    // Without `n` Gitea gives all; others do though they were asked for a page.
    for (kind, answer) in [("gitea", plain), ("oci", packed)] {
        let server = Server::start(move |request| {
            if request.path() == "/v2/token" {
                return Answer::json(200, r#"{"token":"planted-jwt"}"#).into();
            }
            answer.clone().into()
        });
        let config =
            on(kind, &server.url(), PROD).replace("token = { file = \"secret/token\" }", "anonymous = true");
        let shop = Shop::with(&with_timeout("60s", &config));
        shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.99.999"]);
    }
}

#[test]
fn storage_elsewhere_receives_no_credentials_but_the_registry_does() {
    const MANIFEST: &str = r#"{"config":{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"layers":[]}"#;
    const CONFIG: &str = r#"{"os":"linux","architecture":"amd64"}"#;
    let stored: Arc<Mutex<Vec<Request>>> = Arc::default();
    let noted = Arc::clone(&stored);
    let storage = Server::start(move |request| {
        noted.lock().unwrap().push(request.clone());
        Answer::json(200, CONFIG).into()
    });
    let elsewhere = format!("{}/bucket/00?X-Signature=planted", storage.url());
    for location in [
        elsewhere,
        "/v2/acme/newname/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000"
            .to_owned(),
    ] {
        let target = location.clone();
        let registry = Server::start(move |request| {
            if request.basic_password().as_deref() != Some(TOKEN) {
                return Answer::new(401, "", "").with("Www-Authenticate", "Basic realm=\"images\"").into();
            }
            match (request.method.as_str(), request.path()) {
                ("HEAD", _) => Answer::json(200, "").with("Docker-Content-Digest", digest_of("v1.0.0")),
                (_, "/v2/acme/shop/tags/list") => tags(),
                (_, "/v2/acme/shop/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000") => Answer::new(307, "", "").with("Location", &target),
                (_, "/v2/acme/newname/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000") => Answer::json(200, CONFIG),
                _ => Answer::json(200, MANIFEST).with("Docker-Content-Digest", digest_of("v1.0.0")),
            }
            .into()
        });
        let stage = format!("{PROD}platforms = [\"linux/amd64\"]\nfirst_poll = \"deploy\"\n");
        let shop = Shop::with(&on("oci", &registry.url(), &stage));
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.0.0"]);
        let requests = std::mem::take(&mut *stored.lock().unwrap());
        assert_eq!(requests.len(), usize::from(location.starts_with("http")));
        assert!(requests.iter().all(|request| request.header("authorization").is_none()));
    }
}

#[test]
fn the_address_of_storage_is_reported_without_its_signature() {
    let storage = Server::start(|_| Answer::new(403, "", "").into());
    let location = format!("{}/bucket/00?X-Signature=planted", storage.url());
    let registry = Server::start(move |request| {
        match request.path() {
        "/v2/acme/shop/tags/list" => tags().into(),
        "/v2/acme/shop/manifests/v1.0.0" if request.method == "HEAD" => {
            Answer::json(200, "").with("Docker-Content-Digest", digest_of("v1.0.0")).into()
        }
        "/v2/acme/shop/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000" => Answer::new(307, "", "").with("Location", &location).into(),
        _ => Answer::json(200, r#"{"config":{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"layers":[]}"#).into(),
    }
    });
    let stage = format!("{PROD}platforms = [\"linux/amd64\"]\nfirst_poll = \"deploy\"\n");
    let shop = Shop::with(&alone(&registry.url(), &stage));
    assert_eq!(
        message(&shop, "denied"),
        "GET http://127.0.0.1:[port]/bucket/00?…: 403 Forbidden: this user may not read the image"
    );
}

#[test]
fn a_token_that_a_server_repeats_is_not_shown() {
    let refuse = |request: &Request| {
        let sent = request.header("authorization").unwrap_or_default().to_owned();
        Answer::new(403, "text/plain", format!("who is {sent}?"))
    };
    let server = Server::start(move |request| match request.path() {
        "/v2/token" => Answer::json(200, r#"{"token":"planted-jwt"}"#).into(),
        _ => refuse(request).into(),
    });
    let config = on("gitea", &server.url(), PROD);
    let anonymous = config.replace("token = { file = \"secret/token\" }", "anonymous = true");
    for config in [config, anonymous] {
        let message = message(&Shop::with(&config), "denied");
        assert!(message.contains(": 403 Forbidden (who is B") && message.contains(" ***?): "), "{message}");
    }
}
