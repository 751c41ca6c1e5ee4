//! A run ends: at its `max_runtime`, and at a signal, whatever the servers and programs that it asks do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{DEV, PROD, Shop, await_until, on, on_gitea};
use crate::http::{Answer, Reply, Request, Server};
use crate::new_tag::baselined;
use crate::registry::{Build, TOKEN};

/// More than a run may take that was told to end, on a machine that is busy; much less than what it waits for.
const SOON: Duration = Duration::from_secs(15);

/// Answers each request as `page` has it, after a while. The number counts from 1.
fn endless(page: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Server {
    let number = AtomicUsize::new(0);
    Server::start(move |request| {
        std::thread::sleep(Duration::from_millis(100));
        page(request, number.fetch_add(1, Ordering::SeqCst) + 1).into()
    })
}

fn list(names: &[String]) -> Answer {
    Answer::json(200, serde_json::json!({"name": "acme/shop", "tags": names}).to_string())
}

fn by_link(request: &Request, number: usize) -> Answer {
    let path = request.path();
    list(&[format!("v{number}.0.0")])
        .with("Link", format!("<{path}?n=1000&last=v{number}.0.0>; rel=\"next\""))
}

fn full_page(_: &Request, number: usize) -> Answer {
    list(&(0..1000).map(|minor| format!("v{number}.{minor}.0")).collect::<Vec<_>>())
}

/// Rows of GitHub's versions, of Docker Hub's tags, or of Gitea's packages; always a full page.
fn rows(request: &Request, number: usize) -> Answer {
    let first = 1_000_000_000 - number * 100;
    let time =
        |row: usize| jiff::Timestamp::from_second(1_000_000_000 + i64::try_from(row).unwrap()).unwrap();
    let rows = (0..100).map(|row| first - row);
    if request.path().starts_with("/v2/repositories") {
        let rows: Vec<_> = rows
            .map(
                |row| serde_json::json!({"name": format!("t{row}"), "last_updated": time(row), "images": []}),
            )
            .collect();
        return Answer::json(
            200,
            serde_json::json!({"count": 900_000_000, "next": "more", "results": rows}).to_string(),
        );
    }
    if request.path().starts_with("/api/v1") {
        let rows: Vec<_> = rows
            .take(50)
            .map(|row| {
                serde_json::json!({"id": row, "name": "shop", "version": format!("t{row}"), "created_at": time(row)})
            })
            .collect();
        return Answer::json(200, serde_json::to_string(&rows).unwrap())
            .with("X-Total-Count", "900000000")
            .with("Date", crate::registry::http_date());
    }
    if request.path().contains("/packages/container/") {
        let rows: Vec<_> = rows
            .map(|row| {
                serde_json::json!({"id": row, "created_at": time(row), "metadata": {"container": {"tags": [format!("t{row}")]}}})
            })
            .collect();
        return Answer::json(200, serde_json::to_string(&rows).unwrap());
    }
    Answer::json(200, "[]")
}

fn registry(kind: &str, url: &str, stage: &str) -> String {
    let api = match kind {
        "github" | "dockerhub" => format!("token = {{ file = \"secret/token\" }}\napi_url = \"{url}\""),
        "oci" => "anonymous = true".to_owned(),
        _ => "token = { file = \"secret/token\" }".to_owned(),
    };
    on(kind, url, stage).replace("token = { file = \"secret/token\" }", &api)
}

#[test]
fn pages_without_end_end_with_max_runtime() {
    let servers = [
        ("oci", PROD, endless(by_link)),
        ("oci", PROD, endless(full_page)),
        ("gitea", DEV, endless(rows)),
        ("github", DEV, endless(rows)),
        ("dockerhub", DEV, endless(rows)),
    ];
    for (index, (kind, stage, server)) in servers.iter().enumerate() {
        let shop = Shop::with(&registry(kind, &server.url(), stage));
        shop.secret("token", TOKEN);
        let begun = Instant::now();
        let run = shop.run(&["poll", "--max-runtime", "1s", "--format", "json"]);
        run.code(1);
        let target = &run.json()["targets"][0];
        assert_eq!(target["error"]["code"], "out_of_time", "{index} {kind}: {target}");
        assert!(begun.elapsed() < SOON, "{index} {kind}: {:?}", begun.elapsed());
    }
}

/// Told to end once `is_waiting`: how long it takes.
fn told_to_end(shop: &Shop, arguments: &[&str], signal: Signal, code: i32, is_waiting: impl Fn() -> bool) {
    let running = shop.start(arguments);
    await_until("it waits", is_waiting);
    let told = Instant::now();
    running.signal(signal);
    running.end().code(code);
    assert!(told.elapsed() < SOON, "{arguments:?}: {:?}", told.elapsed());
}

#[test]
fn a_signal_ends_the_wait_for_a_registry() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        for arguments in [&["poll"][..], &["check", "--online"], &["deploy", "shop/dev", "dev-42"]] {
            let gitea = crate::first_poll::gitea(Build::GiteaNew);
            let shop = baselined(&gitea, DEV);
            shop.config(&format!("[settings]\ntimeout = \"120s\"\n{}", on_gitea(&gitea, DEV)));
            gitea.intercept(|_| Some(Reply::Hang));
            let code = if arguments[0] == "deploy" { 2 } else { code };
            told_to_end(&shop, arguments, signal, code, || gitea.count("/") > 0);
            gitea.recover();
            // It is no failed check.
            assert!(shop.status("shop/dev")["failing_since"].is_null(), "{arguments:?}");
            shop.run(&["poll"]).code(0);
        }
    }
}

#[test]
fn a_signal_ends_pages_and_pauses() {
    let paging = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&paging);
    let server = endless(move |request, number| {
        seen.store(number, Ordering::SeqCst);
        by_link(request, number)
    });
    let shop = Shop::with(&registry("oci", &server.url(), PROD));
    told_to_end(&shop, &["poll"], Signal::TERM, 143, || paging.load(Ordering::SeqCst) > 2);
}

#[test]
fn a_signal_ends_the_wait_for_a_secret_command() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let shop = Shop::with(
        &on_gitea(&gitea, DEV).replace("{ file = \"secret/token\" }", "{ command = [\"./secret.sh\"] }"),
    );
    shop.script("secret.sh", "touch asked\nexec sleep 25\n");
    told_to_end(&shop, &["poll"], Signal::TERM, 143, || shop.exists("asked"));
}

#[test]
fn a_request_is_no_longer_waited_for_than_max_runtime() {
    let server = Server::start(|_| Reply::Hang);
    let config = registry("oci", &server.url(), PROD);
    let shop = Shop::with(&format!("[settings]\ntimeout = \"120s\"\n{config}"));
    let begun = Instant::now();
    let run = shop.run(&["poll", "--max-runtime", "1s", "--format", "json"]);
    run.code(1).error_is("shop/prod", "out_of_time");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}
