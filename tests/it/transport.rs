//! The way to a server: certificates and proxies.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use crate::endpoint::Endpoint;
use crate::harness::{PROD, Shop, on};
use crate::http::{Answer, Request, Server};
use crate::proxy::Proxy;
use crate::registry::digest_of;
use crate::run::Run;
use crate::tls::{Authority, TlsServer};

/// One image with one tag, for everybody.
fn images(request: &Request) -> Answer {
    match (request.method.as_str(), request.path()) {
        ("GET", "/v2/acme/shop/tags/list") => Answer::json(200, r#"{"name":"acme/shop","tags":["v1.0.0"]}"#),
        ("HEAD", "/v2/acme/shop/manifests/v1.0.0") => {
            Answer::json(200, "").with("Docker-Content-Digest", digest_of("v1.0.0"))
        }
        _ => Answer::new(404, "text/plain", "not here"),
    }
}

/// A registry that everybody may ask, with these lines more.
fn open_registry(url: &str, lines: &str) -> String {
    on("oci", url, PROD).replace("token = { file = \"secret/token\" }", &format!("anonymous = true\n{lines}"))
}

fn is_read(shop: &Shop) {
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
}

/// Asks in vain; the message of the error, redacted.
fn message(shop: &Shop, code: &str) -> String {
    let run: Run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", code);
    shop.redact(run.target("shop/prod")["error"]["message"].as_str().unwrap())
}

const LIST: &str = "GET https://127.0.0.1:[port]/v2/acme/shop/tags/list?n=1000";

#[test]
fn a_certificate_of_an_unknown_authority_is_not_believed_until_ca_file_names_it() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.issue("127.0.0.1"), None, images);
    let shop = Shop::with(&open_registry(&server.url(), ""));
    assert_eq!(
        message(&shop, "unavailable"),
        format!(
            "{LIST}: TLS: the server's certificate is not signed by an authority that is trusted here; \
             set ca_file of the registry to that authority's certificate"
        )
    );
    assert_eq!(server.connections(), 1, "asking again would not help");

    shop.file("ca.pem", &authority.pem);
    shop.config(&open_registry(&server.url(), "ca_file = \"ca.pem\""));
    is_read(&shop);
}

#[test]
fn a_ca_file_may_have_several_certificates_and_text_between_them() {
    let (one, two) = (Authority::new(), Authority::new());
    let server = TlsServer::start(&two.issue("127.0.0.1"), None, images);
    let shop = Shop::with(&open_registry(&server.url(), "ca_file = \"ca.pem\""));
    shop.file("ca.pem", &format!("# the old one\n{}\n# the new one\n{}", one.pem, two.pem));
    is_read(&shop);
}

#[test]
fn a_certificate_for_another_name_is_not_believed() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.issue("other.example.test"), None, images);
    let shop = Shop::with(&open_registry(&server.url(), "ca_file = \"ca.pem\""));
    shop.file("ca.pem", &authority.pem);
    let message = message(&shop, "unavailable");
    assert!(
        message.starts_with(&format!("{LIST}: TLS: the server's certificate is for another name (")),
        "{message}"
    );
    assert!(message.contains("other.example.test"), "{message}");
}

#[test]
fn https_to_a_server_that_does_not_speak_it_is_said_so() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let shop = Shop::with(&open_registry(&format!("https://{}", listener.local_addr().unwrap()), ""));
    // As nginx does when it is greeted so.
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut greeting = [0; 16 * 1024];
            drop(stream.read(&mut greeting));
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    assert_eq!(
        message(&shop, "unavailable"),
        format!("{LIST}: TLS: the server does not speak TLS at this port; is it an http:// address?")
    );
}

#[test]
fn a_server_that_requires_a_certificate_receives_the_configured_one() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.issue("127.0.0.1"), Some(&authority), images);
    let shop = Shop::with(&open_registry(&server.url(), "ca_file = \"ca.pem\""));
    shop.file("ca.pem", &authority.pem);
    assert_eq!(
        message(&shop, "unavailable"),
        format!(
            "{LIST}: TLS: the server requires a client certificate; \
             set client_cert and client_key of the registry"
        )
    );

    let (own, other) = (authority.issue("tagship"), authority.issue("other"));
    let lines = "ca_file = \"ca.pem\"\nclient_cert = \"client.pem\"\nclient_key = \"client.key\"";
    shop.file("client.pem", &own.certificate);
    shop.file("client.key", &other.key);
    shop.config(&open_registry(&server.url(), lines));
    assert_eq!(
        message(&shop, "secret"),
        format!("{LIST}: client_key: [dir]/client.key is not the key of client_cert")
    );
    shop.file("client.key", "planted");
    assert_eq!(
        message(&shop, "secret"),
        format!("{LIST}: client_key: [dir]/client.key has no private key in PEM form (without a passphrase)")
    );
    shop.remove("client.key");
    assert_eq!(
        message(&shop, "secret"),
        format!(
            "{LIST}: client_key: [dir]/client.key cannot be read: No such file or directory (os error 2)"
        )
    );
    shop.file("client.key", &own.key);
    is_read(&shop);
}

#[test]
fn the_proxy_of_the_environment_is_asked_by_connect() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.issue("git.example.test"), None, images);
    let proxy = Proxy::connecting(server.port());
    let mut shop = Shop::with(&open_registry("https://git.example.test", "ca_file = \"ca.pem\""));
    shop.file("ca.pem", &authority.pem);
    shop.env("HTTPS_PROXY", &format!("http://ci:planted@127.0.0.1:{}", proxy.port()));
    is_read(&shop);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "one connection is kept: {heads:?}");
    assert!(heads[0].starts_with("CONNECT git.example.test:443 HTTP/1.1\r\n"), "{heads:?}");
    // ci:planted
    assert!(heads[0].contains("\r\nProxy-Authorization: Basic Y2k6cGxhbnRlZA==\r\n"), "{heads:?}");
}

#[test]
fn the_proxy_of_a_registry_comes_before_the_environments() {
    let server = Server::start(|request| images(request).into());
    let proxy = Proxy::connecting(server.port());
    let lines = format!("insecure_http = true\nproxy = \"{}\"", proxy.url());
    for (url, target) in [
        ("http://git.example.test", "git.example.test:80"),
        ("http://git.example.test:3000/", "git.example.test:3000"),
        ("http://[fd00::1]:3000", "[fd00::1]:3000"),
    ] {
        let mut shop = Shop::with(&open_registry(url, &lines));
        shop.env("all_proxy", "http://127.0.0.1:1");
        shop.env("no_proxy", "*");
        is_read(&shop);
        let head = proxy.heads().pop().unwrap();
        assert!(head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{head}");
    }
}

#[test]
fn no_proxy_and_loopback_are_reached_straight() {
    let server = Server::start(|request| images(request).into());
    // 0.0.0.0 is this machine, and not written as loopback.
    let elsewhere = format!("http://0.0.0.0:{}", server.port());
    let proxy = Proxy::refusing("HTTP/1.1 403 Forbidden\r\n\r\n");
    let mut shop = Shop::with(&open_registry(&elsewhere, "insecure_http = true"));
    shop.env("http_proxy", &proxy.url());
    assert_eq!(
        message(&shop, "unavailable"),
        format!(
            "GET http://0.0.0.0:{}/v2/acme/shop/tags/list?n=1000 by the proxy http://127.0.0.1:[port]: the proxy refuses to connect (403); does it allow this host and port?",
            server.port()
        )
    );
    shop.env("no_proxy", "example.com, 0.0.0.0/8");
    is_read(&shop);

    let asked = proxy.heads().len();
    let mut shop = Shop::with(&open_registry(&server.url(), ""));
    shop.env("all_proxy", &proxy.url());
    is_read(&shop);
    assert_eq!(proxy.heads().len(), asked);
}

#[test]
fn http_proxy_in_capitals_is_not_read() {
    let server = Server::start(|request| images(request).into());
    let mut shop =
        Shop::with(&open_registry(&format!("http://0.0.0.0:{}", server.port()), "insecure_http = true"));
    shop.env("HTTP_PROXY", "http://127.0.0.1:1");
    is_read(&shop);
}

#[test]
fn a_proxy_that_is_down_is_named_without_its_password() {
    let mut shop = Shop::with(&open_registry("https://git.example.test", ""));
    // Nothing listens at port 1.
    shop.env("all_proxy", "http://ci:planted@127.0.0.1:1");
    assert_eq!(
        message(&shop, "unavailable"),
        "GET https://git.example.test/v2/acme/shop/tags/list?n=1000 by the proxy http://127.0.0.1:[port]: connection refused: nothing listens there"
    );
    shop.env("all_proxy", "gopher://ci:planted@127.0.0.1:1");
    assert_eq!(
        message(&shop, "unavailable"),
        "GET https://git.example.test/v2/acme/shop/tags/list?n=1000: the proxy that the environment variable all_proxy names cannot be used: \
         it must begin with http://, https://, socks4://, socks4a://, socks5:// or socks5h://"
    );
}

#[test]
fn a_deploy_endpoint_is_reached_by_the_proxy_too() {
    let server = Server::start(|request| images(request).into());
    let endpoint = Endpoint::start();
    let proxy = Proxy::connecting(endpoint.port());
    let step = "deploy = { url = \"http://deploy.example.test/hook\" }\nfirst_poll = \"deploy\"";
    let config = open_registry(&server.url(), "");
    let mut shop = Shop::with(&config.replace("deploy = { command = [\"./deploy.sh\"] }", step));
    shop.env("http_proxy", &proxy.url());
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.0.0"]);
    assert_eq!(endpoint.requests()[0].header("host"), Some("deploy.example.test"));
    assert!(proxy.heads()[0].starts_with("CONNECT deploy.example.test:80 "), "{:?}", proxy.heads());
}

#[test]
fn an_untrusted_certificate_of_an_endpoint_is_answered_with_the_remedy() {
    let server = Server::start(|request| images(request).into());
    let authority = Authority::new();
    let endpoint = TlsServer::start(&authority.issue("127.0.0.1"), None, |_| Answer::new(204, "", ""));
    let step = format!("deploy = {{ url = \"{}/hook\" }}\nfirst_poll = \"deploy\"", endpoint.url());
    let config = open_registry(&server.url(), "");
    let mut shop = Shop::with(&config.replace("deploy = { command = [\"./deploy.sh\"] }", &step));
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1);
    let message = shop.redact(run.target("shop/prod")["error"]["message"].as_str().unwrap());
    assert!(
        message.contains(
            "POST https://127.0.0.1:[port]/hook: TLS: the server's certificate is not signed by an authority that is trusted here; \
             add that authority's certificate to those of the system, or set SSL_CERT_FILE"
        ),
        "{message}"
    );

    shop.file("roots.pem", &authority.pem);
    shop.env("SSL_CERT_FILE", shop.path("roots.pem").to_str().unwrap());
    shop.run(&["deploy", "shop/prod"]).code(0);
}

#[test]
fn root_certificates_are_looked_for_when_https_is_asked_and_not_before() {
    let server = Server::start(|request| images(request).into());
    let mut shop = Shop::with(&open_registry(&server.url(), ""));
    shop.env("SSL_CERT_FILE", "/nonexistent/roots.pem");
    is_read(&shop);

    let authority = Authority::new();
    let server = TlsServer::start(&authority.issue("127.0.0.1"), None, images);
    shop.config(&open_registry(&server.url(), ""));
    let refused = message(&shop, "unavailable");
    assert!(refused.starts_with(&format!("{LIST}: no root certificates were found")), "{refused}");
    assert!(refused.ends_with("; install ca-certificates, or set SSL_CERT_FILE"), "{refused}");
    assert_eq!(server.connections(), 0);

    // What ca_file names is enough.
    shop.file("ca.pem", &authority.pem);
    shop.config(&open_registry(&server.url(), "ca_file = \"ca.pem\""));
    shop.run(&["poll", "-v"]).code(0).line("shop/prod", &["up_to_date"]);
}

#[test]
fn a_socks_proxy_receives_the_name_of_the_host() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.issue("git.example.test"), None, images);
    let proxy = Proxy::socks(server.port());
    let mut shop = Shop::with(&open_registry("https://git.example.test:8443", "ca_file = \"ca.pem\""));
    shop.file("ca.pem", &authority.pem);
    shop.env("all_proxy", &format!("socks5h://127.0.0.1:{}", proxy.port()));
    is_read(&shop);
    assert_eq!(proxy.heads(), ["git.example.test:8443"]);
}
