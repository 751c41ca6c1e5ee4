//! A run ends while it connects: to a proxy that does not answer, to a server that does not take the connection. A deploy
//! request that was not sent is not a failed attempt.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use rustix::process::Signal;

use crate::endpoint::Endpoint;
use crate::harness::{DEV, PROD, Shop, await_until, on, on_gitea};
use crate::http::Reply;
use crate::new_tag::baselined;
use crate::proxy::Proxy;
use crate::registry::{Build, Gitea};
use crate::run::{Run, Running};

/// More than a signalled run takes to end on a busy machine; less than any wait for a connection.
const SOON: Duration = Duration::from_secs(5);

/// Told to end once `is_waiting`.
fn ends_at_once(running: Running<'_>, is_waiting: impl FnMut() -> bool) -> Run {
    await_until("it waits", is_waiting);
    let told = Instant::now();
    running.signal(Signal::TERM);
    let run = running.end();
    run.code(143);
    assert!(told.elapsed() < SOON, "{run:?}: {:?}", told.elapsed());
    run
}

/// Proxies of each kind that take connections and never answer, with their addresses.
fn silent_proxies() -> Vec<(Proxy, String)> {
    ["socks5h", "socks4a", "http"]
        .into_iter()
        .map(|scheme| {
            let proxy = Proxy::silent();
            let url = format!("{scheme}://127.0.0.1:{}", proxy.port());
            (proxy, url)
        })
        .collect()
}

#[test]
fn a_run_behind_a_proxy_that_never_answers_ends() {
    for (proxy, url) in silent_proxies() {
        let config = on("oci", "https://git.example.test", PROD)
            .replace("token = { file = \"secret/token\" }", "anonymous = true");
        let mut shop = Shop::with(&format!("[settings]\ntimeout = \"120s\"\n{config}"));
        shop.env("all_proxy", &url);
        ends_at_once(shop.start(&["poll"]), || !proxy.heads().is_empty());
        let begun = Instant::now();
        let run = shop.run(&["poll", "--max-runtime", "1s", "--format", "json"]);
        run.code(1).error_is("shop/prod", "out_of_time");
        assert!(begun.elapsed() < SOON, "{url}: {:?}", begun.elapsed());
    }
}

/// dev is baselined, then dev-43 is pushed, and dev is deployed by a request to this address.
fn to_be_sent(gitea: &Gitea, url: &str) -> Shop {
    let shop = baselined(gitea, DEV);
    let request = format!("deploy = {{ url = \"{url}\", timeout = \"300s\" }}");
    shop.config(&on_gitea(gitea, &DEV.replace("deploy = { command = [\"./deploy.sh\"] }", &request)));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop
}

/// Nothing was sent: the deployment waits for the next poll, and the attempt does not count.
fn is_pending(shop: &Shop, run: &Run) {
    run.status_is("shop/dev", "pending");
    let target = run.target("shop/dev");
    assert!(target["error"].is_null(), "{target}");
    let reason = target["reason"].as_str().unwrap();
    assert!(reason.ends_with(": not sent: tagship was told to stop by signal 15 (SIGTERM)"), "{reason}");
    let waits = &shop.status("shop/dev")["deployment"];
    assert_eq!(waits["state"], "pending", "{waits}");
    assert!(waits["next_attempt_at"].is_null(), "{waits}");
}

/// Takes connections, and reads what comes: not a word of TLS.
fn without_tls() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let greeted: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&greeted);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                if stream.read_exact(&mut [0]).is_ok() {
                    counted.fetch_add(1, Ordering::SeqCst);
                    drop(std::io::copy(&mut stream, &mut std::io::sink()));
                }
            });
        }
    });
    (port, greeted)
}

#[test]
fn a_deploy_request_whose_server_does_not_speak_tls_is_not_sent() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let (port, greeted) = without_tls();
    let shop = to_be_sent(&gitea, &format!("https://127.0.0.1:{port}/hook"));
    let poll = shop.start(&["poll", "--format", "json"]);
    let run = ends_at_once(poll, || greeted.load(Ordering::SeqCst) > 0);
    is_pending(&shop, &run);
    shop.config(&on_gitea(&gitea, DEV));
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
}

#[test]
fn a_deploy_request_behind_a_proxy_that_never_answers_is_not_sent() {
    for (proxy, url) in silent_proxies() {
        let gitea = crate::first_poll::gitea(Build::GiteaNew);
        let mut shop = to_be_sent(&gitea, "http://deploy.example.test/hook");
        shop.env("all_proxy", &url);
        let poll = shop.start(&["poll", "--format", "json"]);
        is_pending(&shop, &ends_at_once(poll, || !proxy.heads().is_empty()));
    }
}

#[test]
fn a_request_that_asks_whether_the_work_has_ended_ends_at_once() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let shop = to_be_sent(&gitea, &format!("{}/hook", endpoint.url()));
    let until = "until = { pointer = \"/done\", values = [\"yes\"], within = \"10m\" }, timeout = ";
    shop.config(&shop.read("tagship.toml").replace("timeout = ", until));
    endpoint.then(Reply::Hang);
    let poll = shop.start(&["poll", "--format", "json"]);
    let run = ends_at_once(poll, || !endpoint.requests().is_empty());
    run.status_is("shop/dev", "pending");
    assert_eq!(shop.status("shop/dev")["deployment"]["state"], "pending");
}

/// A port whose queue of connections is full.
struct Full {
    address: SocketAddr,
    _held: (rustix::fd::OwnedFd, Vec<TcpStream>),
}

impl Full {
    fn new() -> Full {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listen(&socket, 0).unwrap();
        let address = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        Full { address, _held: (socket, waiting) }
    }
}

#[test]
fn a_deploy_request_whose_server_takes_no_connection_is_not_sent() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    let full = Full::new();
    let shop = to_be_sent(&gitea, &format!("http://{}/hook", full.address));
    let poll = shop.start(&["poll", "--format", "jsonl"]);
    // There is nothing else to see of it: its deployment was begun.
    let is_running = || {
        let state = rusqlite::Connection::open(shop.path("state.db")).unwrap();
        let running = "SELECT count(*) FROM deployment WHERE state = 'running'";
        state.query_row(running, [], |row| row.get(0)) == Ok(1)
    };
    ends_at_once(poll, is_running);
    let waits = &shop.status("shop/dev")["deployment"];
    assert_eq!(waits["state"], "pending", "{waits}");
}
