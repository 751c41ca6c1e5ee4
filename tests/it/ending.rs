//! A run ends: at its `max_runtime`, and at a signal, whatever the servers and programs that it asks do.

use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use crate::endpoint::Endpoint;
use crate::harness::{DEV, PROD, Shop, await_until, on, on_gitea};
use crate::http::{Answer, Reply, Request, Server};
use crate::login::BUS;
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea, TOKEN};
use crate::run::{Run, Running};

/// More than a signalled run takes to end on a busy machine; much less than its wait.
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

#[test]
fn pages_without_end_end_every_command_with_max_runtime() {
    for (arguments, code) in
        [(&["check", "--online"][..], 1), (&["tags", "shop/prod"], 1), (&["deploy", "shop/prod"], 2)]
    {
        let server = endless(by_link);
        let config = registry("oci", &server.url(), PROD);
        let shop = Shop::with(&format!("[settings]\nmax_runtime = \"1s\"\n{config}"));
        shop.run(arguments).code(code).shows("the run reached its max_runtime");
    }
}

/// A stage that went from v1.0.0 to v2.0.0 by marks, which know no digest; the registry has neither, and lists without
/// end what else may be meant.
fn about_to_go_back(server: &Server) -> Shop {
    let config = registry("oci", &server.url(), PROD);
    let shop = Shop::with(&format!("[settings]\nmax_runtime = \"1s\"\n{config}"));
    for tag in ["v1.0.0", "v2.0.0"] {
        shop.run(&["mark", "shop/prod", tag]).code(0);
    }
    shop
}

fn endless_without_manifests() -> Server {
    endless(|request, number| match request.path().contains("/manifests/") {
        true => Answer::json(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        false => by_link(request, number),
    })
}

#[test]
fn pages_without_end_end_a_rollback_with_max_runtime_and_at_a_signal() {
    let server = endless_without_manifests();
    let shop = about_to_go_back(&server);
    let begun = Instant::now();
    shop.run(&["rollback", "shop/prod"]).code(2).stderr_has("has no tag v1.0.0");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let before = server.connections();
    shop.config(&shop.read("tagship.toml").replace("\"1s\"", "\"600s\""));
    with_signal(&shop, &["rollback", "shop/prod"], Signal::TERM, 143, || server.connections() > before);
    assert!(shop.deliveries().is_empty());
}

#[test]
#[cfg_attr(not(feature = "keyring"), ignore = "needs the feature keyring")]
fn a_registry_that_hangs_ends_login_with_max_runtime() {
    let server = Server::start(|_| Reply::Hang);
    let config = registry("oci", &server.url(), PROD).replace("anonymous = true\n", "");
    let shop = Shop::with(&format!("[settings]\nmax_runtime = \"1s\"\ntimeout = \"120s\"\n{config}"));
    let mut running = shop.start_under(&["env", BUS], &["login", "git", "--stdin"]);
    running.stdin().write_all(TOKEN.as_bytes()).unwrap();
    let begun = Instant::now();
    running
        .end()
        .code(1)
        .stderr_has("the run reached its max_runtime")
        .stderr_has("the token was not stored");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// Told to end once `is_waiting`: how it ended.
fn with_signal(
    shop: &Shop,
    arguments: &[&str],
    signal: Signal,
    code: i32,
    is_waiting: impl FnMut() -> bool,
) -> Run {
    ends_at_a_signal(shop.start(arguments), signal, code, is_waiting)
}

pub(crate) fn ends_at_a_signal(
    running: Running<'_>,
    signal: Signal,
    code: i32,
    is_waiting: impl FnMut() -> bool,
) -> Run {
    await_until("it waits", is_waiting);
    let told = Instant::now();
    running.signal(signal);
    let run = running.end();
    run.code(code);
    assert!(told.elapsed() < SOON, "{run:?}: {:?}", told.elapsed());
    run
}

#[test]
fn a_signal_ends_the_wait_for_a_registry() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        for arguments in [
            &["poll"][..],
            &["check", "--online"],
            &["tags", "shop/dev"],
            &["deploy", "shop/dev", "dev-42"],
            &["deploy", "shop/dev", "dev-42", "--force"],
        ] {
            let gitea = crate::first_poll::gitea(Build::GiteaNew);
            let shop = baselined(&gitea, DEV);
            shop.config(&format!("[settings]\ntimeout = \"120s\"\n{}", on_gitea(&gitea, DEV)));
            gitea.intercept(|_| Some(Reply::Hang));
            with_signal(&shop, arguments, signal, code, || gitea.count("/") > 0);
            gitea.recover();
            // It is not a failed check, and no later deployment follows from it.
            assert!(shop.status("shop/dev")["failing_since"].is_null(), "{arguments:?}");
            shop.run(&["poll"]).code(0).silent();
            assert!(shop.deliveries().is_empty(), "{arguments:?}");
        }
    }
}

#[test]
fn a_signal_ends_init_and_nothing_is_written() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let shop = Shop::new();
    let from = format!("{}/acme", gitea.url());
    // The list of the images is there, those of their tags are not.
    gitea.intercept(|request| request.path().ends_with("/tags/list").then_some(Reply::Hang));
    let arguments = [
        "init",
        "--from",
        &from,
        "--token-file",
        "secret/token",
        "--deploy-command",
        "x",
        "--output",
        "new.toml",
    ];
    let run =
        ends_at_a_signal(shop.start_bare(&arguments), Signal::TERM, 143, || gitea.count("/tags/list") > 0);
    run.stdout("");
    assert!(!shop.exists("new.toml"));
}

/// The packages of the owner have no end.
#[test]
fn a_signal_ends_the_pages_of_init() {
    let pages = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&pages);
    let server = endless(move |request, number| match request.path() {
        "/api/v1/version" => Answer::json(200, r#"{"version":"1.24.0"}"#),
        _ => {
            seen.store(number, Ordering::SeqCst);
            rows(request, number)
        }
    });
    let shop = Shop::new();
    let from = format!("{}/acme", server.url());
    let more = ["--token-file", "secret/token", "--deploy-command", "x", "--output", "new.toml"];
    let arguments = [&["init", "--from", &from], &more[..]].concat();
    let is_paging = || pages.load(Ordering::SeqCst) > 3;
    ends_at_a_signal(shop.start_bare(&arguments), Signal::TERM, 143, is_paging).stdout("");
    assert!(!shop.exists("new.toml"));
}

#[test]
#[cfg_attr(not(feature = "keyring"), ignore = "needs the feature keyring")]
fn a_signal_ends_login() {
    let server = Server::start(|_| Reply::Hang);
    let config = registry("oci", &server.url(), PROD).replace("anonymous = true\n", "");
    let shop = Shop::with(&format!("[settings]\ntimeout = \"120s\"\n{config}"));
    let mut running = shop.start_under(&["env", BUS], &["login", "git", "--stdin"]);
    running.stdin().write_all(TOKEN.as_bytes()).unwrap();
    ends_at_a_signal(running, Signal::TERM, 143, || server.connections() > 0).stdout("");
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
    with_signal(&shop, &["poll"], Signal::TERM, 143, || paging.load(Ordering::SeqCst) > 2);
}

#[test]
fn a_signal_ends_the_wait_for_a_secret_command() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let shop = Shop::with(
        &on_gitea(&gitea, DEV).replace("{ file = \"secret/token\" }", "{ command = [\"./secret.sh\"] }"),
    );
    shop.script("secret.sh", "touch asked\nexec sleep 25\n");
    with_signal(&shop, &["poll"], Signal::TERM, 143, || shop.exists("asked"));
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

/// A secret command that hangs while there is `slow`, and leaves the numbers of its children. One leaves its process
/// group.
const SLOW: &str = "if [ -e slow ]; then sleep 600 & echo $! > child; setsid sleep 600 & echo $! >> child; \
    touch asked; wait; fi\necho key-of-the-step\n";

/// Whether a process that the script wrote down still runs.
fn has_child(shop: &Shop) -> bool {
    shop.read("child").lines().any(|child| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat"));
        stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
    })
}

fn with_secret_command(gitea: &Gitea) -> Shop {
    let config = on_gitea(gitea, DEV).replace("{ file = \"secret/token\" }", "{ command = [\"./slow.sh\"] }");
    let shop = Shop::with(&config);
    shop.script("slow.sh", SLOW);
    shop.file("slow", "");
    shop
}

#[test]
fn a_secret_command_ends_with_its_children() {
    for arguments in
        [&["poll"][..], &["check", "--online"], &["tags", "shop/dev"], &["deploy", "shop/dev", "dev-42"]]
    {
        let gitea = crate::first_poll::gitea(Build::GiteaNew);
        let shop = with_secret_command(&gitea);
        with_signal(&shop, arguments, Signal::TERM, 143, || shop.exists("asked"));
        await_until(&format!("no child is left: {arguments:?}"), || !has_child(&shop));
    }
}

#[test]
fn a_credential_helper_ends_with_its_children() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let config =
        on_gitea(&gitea, DEV).replace("{ file = \"secret/token\" }", "{ docker_config = \"docker.json\" }");
    let mut shop = Shop::with(&config);
    shop.file("docker.json", r#"{"credsStore": "slow"}"#);
    shop.script("docker-credential-slow", SLOW);
    shop.env("PATH", &format!("{}:/usr/bin:/bin", shop.path("").display()));
    shop.file("slow", "");
    with_signal(&shop, &["poll"], Signal::TERM, 143, || shop.exists("asked"));
    await_until("no child is left", || !has_child(&shop));
}

/// dev with a gate, a probe or a receiver that is `command`; dev-43 is new, and its deployment fails.
fn with_command(gitea: &Gitea, place: &str, command: &str) -> Shop {
    let shop = baselined(gitea, DEV);
    let (stage, notify) = match place {
        "gate" => (format!("gate = {{ command = [\"{command}\"] }}\n"), String::new()),
        "running" => (format!("running = {{ command = [\"{command}\"] }}\n"), String::new()),
        _ => (String::new(), format!("[[notify]]\ncommand = [\"{command}\"]\non = [\"failed\"]\n")),
    };
    shop.config(&format!("{}{notify}", on_gitea(gitea, &format!("{DEV}{stage}"))));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop
}

#[test]
fn a_gate_a_probe_and_a_notification_end_with_their_children() {
    for (place, arguments) in [
        ("gate", &["poll"][..]),
        ("gate", &["tags", "shop/dev"]),
        ("running", &["poll"]),
        ("notify", &["poll"]),
        ("notify", &["check", "--notify"]),
    ] {
        let gitea = crate::first_poll::gitea(Build::GiteaNew);
        let shop = with_command(&gitea, place, "./slow.sh");
        shop.script("slow.sh", SLOW);
        shop.file("slow", "");
        with_signal(&shop, arguments, Signal::TERM, 143, || shop.exists("asked"));
        await_until(&format!("no child is left: {place} {arguments:?}"), || !has_child(&shop));
    }
}

/// It has its own session, and the pipes of the command that has started it.
#[test]
fn a_daemon_of_a_gate_a_probe_or_a_notification_holds_nothing_up() {
    for place in ["gate", "running", "notify"] {
        let gitea = crate::first_poll::gitea(Build::GiteaNew);
        let shop = with_command(&gitea, place, "./starts.sh");
        shop.file("daemon", "");
        shop.script("daemon.sh", "while [ -e daemon ]; do sleep 0.02; done\ntouch ended\n");
        shop.script("starts.sh", "setsid ./daemon.sh &\necho dev-42\n");
        let begun = Instant::now();
        shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]).shows_not("notification");
        assert!(begun.elapsed() < SOON, "{place}: {:?}", begun.elapsed());
        shop.remove("daemon");
        await_until("it was left alone", || shop.exists("ended"));
    }
}

/// The second receiver is not tested after a signal.
#[test]
fn a_signal_ends_check_notify() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let receiver = Server::start(|_| Reply::Hang);
    let notify = |path| {
        format!("[[notify]]\nurl = \"{}/{path}\"\non = [\"failed\"]\ntimeout = \"120s\"\n", receiver.url())
    };
    let shop = baselined(&gitea, DEV);
    shop.config(&format!("{}{}{}", on_gitea(&gitea, DEV), notify("a"), notify("b")));
    let run = with_signal(&shop, &["check", "--notify"], Signal::TERM, 143, || receiver.connections() > 0);
    run.shows_not("notify[");
    assert_eq!(receiver.connections(), 1);
}

/// dev with a step that needs a secret of this source, and a receiver of every failure. dev-43 is new.
fn with_slow_step(gitea: &Gitea, receiver: &Endpoint, source: &str) -> Shop {
    let stage = DEV.replace("[\"./deploy.sh\"]", "[\"./deploy.sh\"], env = { KEY = \"{secret.slow}\" }");
    let notify = format!(
        "[secrets]\nslow = {source}\n[[notify]]\nurl = \"{}\"\non = [\"failed\", \"dead\", \"unknown\", \"recovered\"]\n",
        receiver.url()
    );
    let shop = Shop::with(&format!("{}{notify}", on_gitea(gitea, &stage)));
    shop.script("slow.sh", SLOW);
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("slow", "");
    shop
}

const SLOW_COMMAND: &str = "{ command = [\"./slow.sh\"] }";

/// An attempt was cut short: its deployment waits for the next poll, and no notification is sent.
fn is_pending(shop: &Shop, run: &Run, receiver: &Endpoint) {
    run.status_is("shop/dev", "pending");
    assert!(run.target("shop/dev")["error"].is_null());
    let waits = &shop.status("shop/dev")["deployment"];
    assert_eq!((&waits["state"], &waits["attempts"]), (&"pending".into(), &1.into()), "{waits}");
    assert_eq!(run.target("shop/dev")["deployment"]["attempt"], 1);
    assert!(waits["next_attempt_at"].is_null(), "{waits}");
    let tags = shop.run(&["tags", "shop/dev", "dev-43", "--offline"]);
    tags.code(0).stdout_has("its deployment is planned; the next poll starts it");
    assert!(receiver.requests().is_empty());
}

#[test]
fn a_deployment_whose_secret_is_cut_short_waits_for_the_next_poll() {
    for limit in ["600s", "1s"] {
        let gitea = crate::first_poll::gitea(Build::GiteaNew);
        let receiver = Endpoint::start();
        let shop = with_slow_step(&gitea, &receiver, SLOW_COMMAND);
        let arguments = ["poll", "--format", "json", "--max-runtime", limit];
        let run = match limit {
            "1s" => shop.run(&arguments),
            _ => with_signal(&shop, &arguments, Signal::TERM, 143, || shop.exists("asked")),
        };
        run.code(if limit == "1s" { 0 } else { 143 });
        is_pending(&shop, &run, &receiver);
        shop.remove("slow");
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        assert!(receiver.requests().is_empty());
    }
}

#[test]
fn a_deployment_whose_command_is_cut_short_waits_as_well() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let shop = with_slow_step(&gitea, &receiver, SLOW_COMMAND);
    shop.remove("slow");
    shop.file("stay", "");
    let poll = ["poll", "--format", "json"];
    let run = with_signal(&shop, &poll, Signal::TERM, 143, || shop.exists("deliveries"));
    is_pending(&shop, &run, &receiver);
    shop.remove("stay");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    let deliveries = shop.deliveries();
    assert_eq!(deliveries[0].id, deliveries[1].id);
    assert!(receiver.requests().is_empty(), "nothing has failed that could recover");
    shop.run(&["history"]).code(0).stdout_has("    attempt 1 at [time]: interrupted\n");
}

/// Its `verify_timeout` is over when the probe is asked.
#[test]
fn a_deployment_whose_verification_is_cut_short_waits_as_well() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let stage = format!("{DEV}running = {{ command = [\"./slow.sh\"] }}\nverify_timeout = \"1ms\"\n");
    let notify = format!("[[notify]]\nurl = \"{}\"\non = [\"failed\", \"dead\"]\n", receiver.url());
    let shop = baselined(&gitea, DEV);
    shop.config(&format!("{}{notify}", on_gitea(&gitea, &stage)));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.script("slow.sh", SLOW);
    shop.script("deploy.sh", "touch slow\n");
    let poll = ["poll", "--format", "json"];
    let run = with_signal(&shop, &poll, Signal::TERM, 143, || shop.exists("asked"));
    is_pending(&shop, &run, &receiver);
}

/// The bus takes a connection, and says nothing.
#[cfg(feature = "keyring")]
#[test]
fn a_deployment_whose_keyring_is_cut_short_waits_as_well() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let mut shop = with_slow_step(&gitea, &receiver, "{ keyring = \"slow\" }");
    let bus = std::os::unix::net::UnixListener::bind(shop.path("bus")).unwrap();
    bus.set_nonblocking(true).unwrap();
    shop.env("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path={}", shop.path("bus").display()));
    let mut connection = None;
    let run = with_signal(&shop, &["poll", "--format", "json"], Signal::TERM, 143, || {
        connection = connection.take().or_else(|| bus.accept().ok());
        connection.is_some()
    });
    is_pending(&shop, &run, &receiver);
}

/// The digest of a deployment that is tried again is read once more.
#[test]
fn a_deployment_whose_recheck_is_cut_short_waits_as_well() {
    for limit in ["600s", "1s"] {
        let gitea = crate::first_poll::gitea(Build::GiteaNew);
        let shop = baselined(&gitea, DEV);
        shop.config(&format!("[settings]\ntimeout = \"120s\"\n{}", on_gitea(&gitea, DEV)));
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        shop.file("fail", "");
        shop.run(&["poll"]).code(1);
        shop.remove("fail");
        gitea.take_requests();
        gitea.intercept_all("/manifests/", Reply::Hang);
        let arguments = ["poll", "--format", "json", "--max-runtime", limit];
        let run = match limit {
            "1s" => shop.run(&arguments),
            _ => with_signal(&shop, &arguments, Signal::TERM, 143, || gitea.count("/manifests/") > 0),
        };
        run.code(if limit == "1s" { 0 } else { 143 }).status_is("shop/dev", "pending");
        gitea.recover();
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    }
}

/// dev with a stage that is asked what it runs by a request that may take two minutes.
fn with_probe(gitea: &Gitea, stage: &Server) -> String {
    let running = format!("running = {{ url = \"{}\", timeout = \"120s\" }}\n", stage.url());
    on_gitea(gitea, &format!("{DEV}{running}"))
}

#[test]
fn a_stage_that_does_not_say_what_it_runs_ends_with_max_runtime() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let stage = Server::start(|_| Reply::Hang);
    // Before a first poll decides.
    let shop = Shop::with(&with_probe(&gitea, &stage));
    let poll = ["poll", "--format", "json", "--max-runtime", "1s"];
    shop.run(&poll).code(1).error_is("shop/dev", "out_of_time");
    let tags = shop.start(&["tags", "shop/dev"]);
    let asked = stage.connections();
    ends_at_a_signal(tags, Signal::TERM, 143, || stage.connections() > asked);
    // Before a deployment is sent.
    for signal in [false, true] {
        let shop = baselined(&gitea, DEV);
        shop.config(&with_probe(&gitea, &stage));
        let tag = if signal { "dev-52" } else { "dev-51" };
        gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
        let asked = stage.connections();
        let run = match signal {
            true => with_signal(&shop, &["poll", "--format", "json"], Signal::TERM, 143, || {
                stage.connections() > asked
            }),
            false => shop.run(&poll),
        };
        run.code(if signal { 143 } else { 0 }).status_is("shop/dev", "pending");
        assert!(shop.deliveries().is_empty());
        assert_eq!(shop.status("shop/dev")["deployment"]["attempts"], 0);
        shop.config(&on_gitea(&gitea, DEV));
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", tag]);
    }
}

/// The deployment of dev is decided by the rows that the feed brought; that of prod needs the list.
#[test]
fn deployments_waiting_for_their_project_are_reported_at_a_signal() {
    for format in ["human", "json"] {
        let gitea = crate::first_poll::gitea(Build::GiteaNew);
        let stages = format!("{DEV}{PROD}");
        let shop = baselined(&gitea, &stages);
        shop.config(&format!("[settings]\ntimeout = \"120s\"\n{}", on_gitea(&gitea, &stages)));
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        gitea.intercept_all("/tags/list", Reply::Hang);
        let is_recorded = || {
            let state = Connection::open(shop.path("state.db")).unwrap();
            let pending = "SELECT count(*) FROM deployment WHERE state = 'pending'";
            state.query_row(pending, [], |row| row.get(0)) == Ok(1)
        };
        let run = with_signal(&shop, &["poll", "--format", format], Signal::TERM, 143, is_recorded);
        if format == "json" {
            run.status_is("shop/dev", "pending");
            assert_eq!(run.json()["summary"]["targets"], 1);
        } else {
            run.stdout("shop/dev   pending       dev-43: planned; the run ended before it could start\n");
        }
        assert!(shop.deliveries().is_empty());
        gitea.recover();
        shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
    }
}
