//! What registries and their proxies really answer, a row each. The yardstick is skopeo: what it reads, tagship reads,
//! with the same tags and the same digest; and no credential goes to another origin, no part is taken for the whole.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::harness::{DEV, PROD, Shop, on};
use crate::http::{Answer, Request, Server};
use crate::registry::TOKEN;
use crate::tls::{Authority, Issued, TlsServer, own_certificate};

mod skopeo;

/// Those that go by the OCI distribution specification.
const OCI: &[&str] = &["oci", "github", "gitlab", "dockerhub"];
/// Those that may fetch a manifest: on Docker Hub that counts as a pull.
const PULLERS: &[&str] = &["oci", "github", "gitlab", "gitea"];
/// One for each client: the others use that of `oci`.
const CLIENTS: &[&str] = &["oci", "gitea"];
const ALL: &[&str] = &["oci", "github", "gitlab", "dockerhub", "gitea"];

const LIST: &str = "/v2/acme/shop/tags/list";
const TAGS: [&str; 2] = ["v1.0.0", "v2.0.0"];
const MANIFEST: &str = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":2},"layers":[]}"#;
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// What the token server gives.
const BEARER: &str = "planted-bearer-h3Wq9vLx2NcT";

/// Whether a row is asked with a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Anyone,
    Robot,
}

/// What comes of it.
enum Outcome {
    /// Both tags, and the digest of [`MANIFEST`].
    Read,
    /// A stage with this rule selects this tag from the list, with the digest of [`MANIFEST`].
    Picked(&'static str, &'static str),
    /// The code of the error, and how its message ends.
    Refused(&'static str, &'static str),
}

struct Quirk {
    who: &'static str,
    kinds: &'static [&'static str],
    asked: As,
    /// The answers that differ from [`plainly`].
    answers: fn(&Request) -> Option<Answer>,
    outcome: Outcome,
}

fn digest(manifest: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(manifest)))
}

fn names<T: AsRef<str>>(names: &[T]) -> Answer {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    Answer::json(200, serde_json::json!({"name": "acme/shop", "tags": names}).to_string())
}

fn nowhere() -> Answer {
    Answer::json(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#)
}

/// A registry without any quirk, for everybody.
fn plainly(request: &Request) -> Answer {
    let tag = request.path().strip_prefix("/v2/acme/shop/manifests/");
    match (request.method.as_str(), request.path()) {
        ("GET", "/v2/") => Answer::json(200, "{}"),
        ("GET", "/token" | "/v2/token") => Answer::json(200, format!(r#"{{"token":"{BEARER}"}}"#)),
        ("GET", LIST) => names(&TAGS),
        ("HEAD" | "GET", _) if tag.is_some_and(|tag| TAGS.contains(&tag)) => {
            Answer::new(200, IMAGE, MANIFEST).with("Docker-Content-Digest", digest(MANIFEST))
        }
        _ => nowhere(),
    }
}

/// Whether the request has the credential, or the token for it.
fn is_known(request: &Request) -> bool {
    request.bearer() == Some(BEARER) || request.basic_password().as_deref() == Some(TOKEN)
}

/// A 401 with this challenge, `HERE` being the server's own address, unless the request answers it.
fn challenged(request: &Request, challenge: &str) -> Option<Answer> {
    if is_known(request) || request.path() == "/token" {
        return None;
    }
    let challenge = challenge.replace("HERE", request.header("host").unwrap());
    Some(Answer::json(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#).with("Www-Authenticate", challenge))
}

/// The first page of two, with this `Link`; the query `last=v1.0.0` brings the second.
fn linked(request: &Request, link: &str) -> Option<Answer> {
    if request.path() != LIST {
        return None;
    }
    match request.query("last").or_else(|| request.query("next_page")) {
        None => Some(names(&["v1.0.0"]).with("Link", link.replace("HERE", request.header("host").unwrap()))),
        Some(_) => Some(names(&["v2.0.0"])),
    }
}

/// Only the manifest's own answers.
fn manifests(request: &Request, answer: impl Fn(&str) -> Option<Answer>) -> Option<Answer> {
    request.path().contains("/manifests/").then(|| answer(&request.method)).flatten()
}

const SIGNATURE: &str = "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.sig";

/// What cosign, notation and others store beside two images, greater in the order of bytes.
fn artifacts(request: &Request) -> Option<Answer> {
    let plain = SIGNATURE.trim_end_matches(".sig");
    let artifacts = ["", ".att", ".sbom", ".sig"].map(|kind| format!("{plain}{kind}"));
    match request.path() {
        LIST => Some(names(&[&["r1".to_owned(), "r2".to_owned()], &artifacts[..]].concat())),
        path if path.contains("/manifests/") => {
            Some(Answer::new(200, IMAGE, MANIFEST).with("Docker-Content-Digest", digest(MANIFEST)))
        }
        _ => None,
    }
}

/// `/v2/` challenges; this is what the repository shows an anonymous request.
fn mixed(request: &Request, challenge: &str, to_anyone: Answer) -> Option<Answer> {
    match request.path() {
        "/v2/" => challenged(request, challenge),
        LIST if !is_known(request) => Some(to_anyone),
        _ => None,
    }
}

const BEARER_CHALLENGE: &str = r#"Bearer realm="http://HERE/token",service="images""#;

macro_rules! read {
    ($who:literal, $kinds:expr, $asked:expr, $answers:expr) => {
        Quirk { who: $who, kinds: $kinds, asked: $asked, answers: $answers, outcome: Outcome::Read }
    };
}

macro_rules! picked {
    ($who:literal, $kinds:expr, $asked:expr, $answers:expr, $rule:literal, $tag:expr) => {
        Quirk {
            who: $who,
            kinds: $kinds,
            asked: $asked,
            answers: $answers,
            outcome: Outcome::Picked($rule, $tag),
        }
    };
}

macro_rules! refused {
    ($who:literal, $kinds:expr, $asked:expr, $answers:expr, $code:literal, $text:literal) => {
        Quirk {
            who: $who,
            kinds: $kinds,
            asked: $asked,
            answers: $answers,
            outcome: Outcome::Refused($code, $text),
        }
    };
}

use As::{Anyone, Robot};

#[rustfmt::skip]
const QUIRKS: &[Quirk] = &[
    read!("a registry without any", ALL, Robot, |_| None),

    // The name in the list is informative.
    read!("Artifactory: the list has the name behind the mirror", ALL, Robot, |request| {
        (request.path() == LIST).then(|| Answer::json(200, r#"{"name":"docker-remote/acme/shop","tags":["v1.0.0","v2.0.0"]}"#))
    }),
    read!("a cache: the list has the name with library/ before it", ALL, Robot, |request| {
        (request.path() == LIST).then(|| Answer::json(200, r#"{"name":"library/shop","tags":["v1.0.0","v2.0.0"]}"#))
    }),
    read!("small servers: the list has no name, or null", ALL, Robot, |request| {
        (request.path() == LIST).then(|| Answer::json(200, r#"{"name":null,"tags":["v1.0.0","v2.0.0"]}"#))
    }),
    read!("a list with null and an empty name among the tags", CLIENTS, Robot, |request| {
        (request.path() == LIST).then(|| Answer::json(200, r#"{"name":"acme/shop","tags":[null,"v1.0.0","","v2.0.0",null]}"#))
    }),
    read!("a list with a tag more than once", CLIENTS, Robot, |request| {
        (request.path() == LIST).then(|| names(&["v2.0.0", "v1.0.0", "v2.0.0"]))
    }),
    read!("a proxy calls every answer text/html", ALL, Robot, |request| {
        (request.path() == LIST).then(|| names(&TAGS).with("Content-Type", "text/html"))
    }),

    // Artifacts are not tags, unless a glob names their prefix.
    picked!("cosign, notation: signatures, attestations and SBOMs beside the images", ALL, Robot, artifacts,
        "tags = \"*\"\norder = \"alphabetical\"", "r2"),
    picked!("the same, where any part of the name is left open", ALL, Robot, artifacts,
        "tags = [\"r*\", \"s*\", \"*.sig\"]\norder = \"alphabetical\"", "r2"),
    picked!("the same, where a glob names their prefix", ALL, Robot, artifacts,
        "tags = \"sha256-*\"\norder = \"alphabetical\"", SIGNATURE),

    // Credentials are used from the first request on.
    read!("Harbor: anonymous access finds no project", OCI, Robot, |request| {
        mixed(request, BEARER_CHALLENGE, nowhere())
    }),
    read!("Nexus: anonymous access is forbidden", OCI, Robot, |request| {
        mixed(request, "Basic realm=\"Sonatype Nexus\"", Answer::json(403, "{}"))
    }),
    read!("zot with mixed access: anonymous access shows a part", OCI, Robot, |request| {
        mixed(request, "Basic realm=\"zot\"", names(&["v1.0.0"]))
    }),
    read!("the repository asks by another scheme than /v2/", OCI, Robot, |request| match request.path() {
        "/v2/" => challenged(request, BEARER_CHALLENGE),
        LIST if request.basic_password().is_none() => {
            Some(Answer::json(401, "{}").with("Www-Authenticate", "Basic realm=\"images\""))
        }
        _ => None,
    }),
    read!("a gateway without /v2/", OCI, Robot, |request| match request.path() {
        "/v2/" => Some(nowhere()),
        _ => challenged(request, BEARER_CHALLENGE),
    }),
    read!("/v2/ lets in everybody, the repository does not", OCI, Robot, |request| match request.path() {
        "/v2/" => None,
        _ => challenged(request, BEARER_CHALLENGE),
    }),
    refused!("/v2/ fails: the public part would be taken for the whole", OCI, Robot, |request| match request.path() {
        "/v2/" => Some(Answer::new(503, "", "")),
        _ => None,
    }, "unavailable", "/v2/: 503 Service Unavailable: the server failed; see its log"),

    // Digests.
    read!("proxies that strip headers: no Docker-Content-Digest", PULLERS, Robot, |request| {
        manifests(request, |_| Some(Answer::new(200, IMAGE, MANIFEST)))
    }),
    read!("a Docker-Content-Digest that is none", PULLERS, Robot, |request| {
        manifests(request, |_| Some(Answer::new(200, IMAGE, MANIFEST).with("Docker-Content-Digest", "\"\"")))
    }),
    refused!("Docker Hub is never asked for a manifest", &["dockerhub"], Robot, |request| {
        manifests(request, |method| {
            assert_eq!(method, "HEAD");
            Some(Answer::new(200, IMAGE, MANIFEST))
        })
    }, "protocol", "/manifests/v2.0.0: 200 OK: the answer has no digest"),
    read!("gateways: HEAD is forbidden", PULLERS, Robot, |request| {
        manifests(request, |method| (method == "HEAD").then(|| Answer::new(403, "", "")))
    }),
    read!("CentOS' registry: HEAD finds nothing", &["oci", "github", "gitlab"], Robot, |request| {
        manifests(request, |method| (method == "HEAD").then(nowhere))
    }),
    read!("mirrors: HEAD is not allowed", PULLERS, Robot, |request| {
        manifests(request, |method| (method == "HEAD").then(|| Answer::new(405, "", "")))
    }),
    read!("firewalls for the web: HEAD is a bad request", CLIENTS, Robot, |request| {
        manifests(request, |method| (method == "HEAD").then(|| Answer::new(400, "", "")))
    }),
    read!("gateways: HEAD is unauthorized, and nothing says how to authenticate", CLIENTS, Robot, |request| {
        manifests(request, |method| (method == "HEAD").then(|| Answer::new(401, "", "")))
    }),
    read!("caches: HEAD is not acceptable", CLIENTS, Robot, |request| {
        manifests(request, |method| (method == "HEAD").then(|| Answer::new(406, "", "")))
    }),
    read!("proxies: HEAD is redirected to nowhere", CLIENTS, Robot, |request| {
        manifests(request, |method| (method == "HEAD").then(|| Answer::new(302, "", "")))
    }),
    read!("small servers: HEAD is not known", PULLERS, Robot, |request| {
        manifests(request, |method| (method == "HEAD").then(|| Answer::new(501, "", "")))
    }),
    refused!("a login page is no manifest", PULLERS, Robot, |request| {
        manifests(request, |_| Some(Answer::new(200, "text/html", "<html>")))
    }, "protocol", "GET http://127.0.0.1:[port]/v2/acme/shop/manifests/v2.0.0: 200 OK: this is not a manifest"),

    // Links: the query counts, asked of the own list.
    read!("a Link whose path has lost its beginning", OCI, Robot, |request| {
        linked(request, "</acme/shop/tags/list?last=v1.0.0>; rel=\"next\"")
    }),
    read!("Nexus: a Link with the path behind the proxy", OCI, Robot, |request| {
        linked(request, "<http://HERE/repository/docker/v2/acme/shop/tags/list?n=1&last=v1.0.0>; rel=\"next\"")
    }),
    read!("Pulp: a Link to the host behind the proxy", OCI, Robot, |request| {
        linked(request, "<http://pulp-api.internal:24817/v2/acme/shop/tags/list?last=v1.0.0>; rel=\"next\"")
    }),
    read!("Artifactory: a Link of another scheme", OCI, Robot, |request| {
        linked(request, "<https://HERE/artifactory/api/docker/v2/acme/shop/tags/list?last=v1.0.0>; rel=next")
    }),
    read!("Quay: a Link with a word of its own", OCI, Robot, |request| {
        linked(request, "</v2/acme/shop/tags/list?next_page=gAAAAABc>; rel=\"next\"")
    }),
    read!("a Link that does not say its relation", OCI, Robot, |request| {
        linked(request, "</v2/acme/shop/tags/list?last=v1.0.0>")
    }),
    refused!("a Link that names the page in its path", OCI, Robot, |request| {
        linked(request, "<http://elsewhere.example.test/pages/2>; rel=\"next\"")
    }, "protocol", "200 OK: its Link has no query, and the next page is requested from this registry only"),
    refused!("a Link that is none", OCI, Robot, |request| linked(request, "next"),
        "protocol", "200 OK: its Link cannot be read"),

    // Challenges.
    read!("Basic with a realm without quotes", OCI, Robot, |request| challenged(request, "Basic realm=/")),
    read!("Basic with blanks in a realm without quotes", OCI, Robot, |request| {
        challenged(request, "Basic realm=Sonatype Nexus Repository Manager")
    }),
    read!("Basic without a realm", OCI, Robot, |request| challenged(request, "Basic")),
    read!("Basic with a realm that is not ASCII", OCI, Robot, |request| challenged(request, "Basic realm=\"Registro privé\"")),
    read!("Basic with a charset behind a semicolon", OCI, Robot, |request| {
        challenged(request, "Basic realm=\"images\"; charset=\"UTF-8\"")
    }),
    read!("Bearer without quotes", OCI, Robot, |request| challenged(request, "Bearer realm=http://HERE/token,service=images")),
    read!("Bearer without commas", OCI, Robot, |request| {
        challenged(request, "Bearer realm=\"http://HERE/token\" service=\"images\" scope=\"x\"")
    }),
    read!("Bearer without quotes and commas", OCI, Anyone, |request| {
        challenged(request, "Bearer realm=http://HERE/token service=images")
    }),
    read!("a token server that redirects to itself", OCI, Robot, |request| match request.path() {
        "/token" if request.query("once").is_none() => {
            Some(Answer::new(307, "", "").with("Location", format!("{}&once=1", request.target)))
        }
        _ => challenged(request, BEARER_CHALLENGE),
    }),
];

/// The configuration of a row. The APIs of GitHub and Docker Hub are at the registry's own address, too.
fn configured(kind: &str, url: &str, asked: As, stages: &str) -> Shop {
    let api =
        if matches!(kind, "github" | "dockerhub") { format!("api_url = \"{url}\"\n") } else { String::new() };
    let credential = match asked {
        Robot => "username = \"robot\"\ntoken = { file = \"secret/token\" }",
        Anyone => "anonymous = true",
    };
    let config =
        on(kind, url, stages).replace("token = { file = \"secret/token\" }", &format!("{api}{credential}"));
    let shop = Shop::with(&config);
    shop.plant(BEARER);
    shop
}

/// Every tag that is listed, in order.
#[track_caller]
fn listed(shop: &Shop) -> Vec<String> {
    let json = shop.run(&["tags", "shop/prod", "--format", "json"]).code(0).json();
    let tags = json["tags"].as_array().unwrap();
    let mut tags: Vec<String> = tags.iter().map(|tag| tag["tag"].as_str().unwrap().to_owned()).collect();
    tags.sort();
    tags
}

#[track_caller]
fn is_refused(shop: &Shop, code: &str) -> String {
    let run = shop.run(&["poll", "--format", "json"]);
    let error = run.code(1).error_is("shop/prod", code).target("shop/prod")["error"].clone();
    shop.redact(error["message"].as_str().unwrap())
}

#[test]
fn answers_of_registries_are_read_correctly() {
    let first = format!("{PROD}first_poll = \"deploy\"\n");
    let mut faults = Vec::new();
    for quirk in QUIRKS {
        for kind in quirk.kinds {
            let answers = quirk.answers;
            let server =
                Server::start(move |request| answers(request).unwrap_or_else(|| plainly(request)).into());
            let row = std::panic::AssertUnwindSafe(|| {
                let stage = match quirk.outcome {
                    Outcome::Picked(rule, _) => first.replace("tags = \"v*\"\norder = \"semver\"", rule),
                    Outcome::Read | Outcome::Refused(..) => first.clone(),
                };
                let shop = configured(kind, &server.url(), quirk.asked, &stage);
                let deploys = |tag: &str| {
                    let run = shop.run(&["poll", "--format", "json"]);
                    let target = run.code(0).status_is("shop/prod", "deployed").target("shop/prod");
                    let found = (&target["latest_tag"], &target["digest"]);
                    assert_eq!(found, (&tag.into(), &digest(MANIFEST).into()));
                };
                match quirk.outcome {
                    Outcome::Read => {
                        deploys("v2.0.0");
                        assert_eq!(listed(&shop), TAGS);
                    }
                    Outcome::Picked(_, tag) => deploys(tag),
                    Outcome::Refused(code, text) => {
                        let message = is_refused(&shop, code);
                        assert!(message.ends_with(text), "{message}");
                    }
                }
            });
            // Every failing row is printed, not the first only.
            if let Err(fault) = std::panic::catch_unwind(row) {
                let text = fault.downcast_ref::<String>().cloned();
                faults.push(format!("{kind}: {}: {}", quirk.who, text.unwrap_or_default()));
            }
        }
    }
    assert!(faults.is_empty(), "{} rows fail:\n{}", faults.len(), faults.join("\n"));
}

/// `v0.0.0` and on.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("v{}.{}.{}", number / 100, number / 10 % 10, number % 10)).collect()
}

#[test]
fn a_list_without_pages_is_the_whole_list_whatever_its_length() {
    for kind in OCI {
        for count in [1, 100, 101, 1000, 1001] {
            let server = Server::start(move |request| match request.path() {
                LIST => names(&many(count)).into(),
                _ => plainly(request).into(),
            });
            let shop = configured(kind, &server.url(), Anyone, PROD);
            assert_eq!(listed(&shop).len(), count, "{kind} {count}");
        }
    }
}

/// A thousand of more must not be taken for all.
#[test]
fn a_server_that_ignores_last_is_not_a_server_without_pages() {
    let server = Server::start(|request| match (request.path(), request.query("n")) {
        (LIST, Some(n)) => names(&many(1500)[..n.parse().unwrap()]).into(),
        _ => plainly(request).into(),
    });
    let shop = configured("oci", &server.url(), Anyone, PROD);
    let message = is_refused(&shop, "protocol");
    assert!(message.ends_with("the registry returned the same page twice"), "{message}");
}

/// Requests of a run, by authentication: none, or a scheme.
fn noted(asked: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *asked.lock().unwrap())
}

#[test]
fn a_credential_costs_one_request_a_run_and_is_used_from_the_first_on() {
    for challenge in [BEARER_CHALLENGE, "Basic realm=\"images\""] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let server = Server::start(move |request| {
            let scheme =
                request.header("authorization").map_or("nobody", |header| header.split(' ').next().unwrap());
            notes.lock().unwrap().push(format!("{scheme} {}", request.path()));
            match request.path() {
                LIST | "/v2/acme/worker/tags/list" if is_known(request) => names(&TAGS).into(),
                _ => challenged(request, challenge).unwrap_or_else(|| plainly(request)).into(),
            }
        });
        let worker = PROD.replace("projects.shop", "projects.worker");
        let stages = format!(
            "connections = 1\n{PROD}[projects.worker]\nregistry = \"git\"\nimage = \"acme/worker\"\n{worker}"
        );
        let config = on("oci", &server.url(), &stages)
            .replace("connections = 1\n", "")
            .replace("kind = \"oci\"", "kind = \"oci\"\nconnections = 1");
        Shop::with(&config).run(&["poll"]).code(0);
        let expected = if challenge == BEARER_CHALLENGE {
            vec![
                "nobody /v2/",
                "Basic /token",
                "Bearer /v2/acme/shop/tags/list",
                "Basic /token",
                "Bearer /v2/acme/worker/tags/list",
            ]
        } else {
            vec!["nobody /v2/", "Basic /v2/acme/shop/tags/list", "Basic /v2/acme/worker/tags/list"]
        };
        assert_eq!(noted(&asked), expected);
    }
}

/// registry.k8s.io, lscr.io, mirrors.
#[test]
fn a_redirect_to_another_host_is_followed_by_anonymous_requests_only() {
    for challenge in [None, Some(BEARER_CHALLENGE)] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let elsewhere = Server::start(move |request| {
            notes.lock().unwrap().push(request.header("authorization").unwrap_or("nobody").to_owned());
            let challenge = challenge.map(|challenge| challenge.replace("127.0.0.1", "localhost"));
            challenge
                .and_then(|challenge| challenged(request, &challenge))
                .unwrap_or_else(|| plainly(request))
                .into()
        });
        let there = format!("http://localhost:{}", elsewhere.port());
        let server = Server::start(move |request| match request.path() {
            "/v2/" => {
                challenged(request, "Basic realm=\"images\"").unwrap_or_else(|| plainly(request)).into()
            }
            _ => Answer::new(307, "", "").with("Location", format!("{there}{}", request.target)).into(),
        });
        let first = format!("{PROD}first_poll = \"deploy\"\n");
        for kind in OCI {
            let shop = configured(kind, &server.url(), Anyone, &first);
            let run = shop.run(&["poll", "--format", "json"]);
            let target = run.code(0).target("shop/prod");
            assert_eq!(
                (&target["latest_tag"], &target["digest"]),
                (&"v2.0.0".into(), &digest(MANIFEST).into())
            );
            assert!(noted(&asked).iter().all(|header| !header.starts_with("Basic")));

            let shop = configured(kind, &server.url(), Robot, &first);
            let message = is_refused(&shop, "protocol");
            assert!(
                message.contains("it redirects to http://localhost:")
                    && message.contains("credentials are not sent there"),
                "{message}"
            );
            assert!(noted(&asked).is_empty());
        }
    }
}

#[test]
fn a_redirect_of_https_stays_encrypted() {
    let authority = Authority::new();
    let plain = Server::start(|request| plainly(request).into());
    let there = format!("http://localhost:{}", plain.port());
    let server = TlsServer::start(&authority.issue("127.0.0.1"), None, move |request| {
        Answer::new(302, "", "").with("Location", format!("{there}{}", request.target))
    });
    let config = on("oci", &server.url(), PROD)
        .replace("token = { file = \"secret/token\" }", "anonymous = true\nca_file = \"ca.pem\"");
    let shop = Shop::with(&config);
    shop.file("ca.pem", &authority.pem);
    let message = is_refused(&shop, "protocol");
    assert!(
        message.ends_with(&format!(
            "302 Found: it redirects to http://localhost:{}, which is not encrypted",
            plain.port()
        )),
        "{message}"
    );
    assert_eq!(plain.connections(), 0);
}

/// A registry for the robot with its password, and a configuration of docker's, `HERE` being its address.
fn by_docker_config(kind: &str, config: &str) -> (Server, Shop) {
    let server = Server::start(|request| {
        challenged(request, "Basic realm=\"images\"").unwrap_or_else(|| plainly(request)).into()
    });
    let host =
        if kind == "dockerhub" { "docker.io".to_owned() } else { format!("127.0.0.1:{}", server.port()) };
    let shop = configured(kind, &server.url(), Anyone, PROD);
    let file = "token = { docker_config = \"secret/config.json\" }";
    shop.config(&shop.read("tagship.toml").replace("anonymous = true", file));
    shop.file("secret/config.json", &config.replace("HERE", &host));
    fs::set_permissions(shop.path("secret/config.json"), fs::Permissions::from_mode(0o600)).unwrap();
    (server, shop)
}

#[test]
fn the_configuration_of_docker_is_read_as_docker_reads_it() {
    let auth =
        STANDARD.encode(format!("robot-of-the-team-with-a-long-name-that-wraps-at-76-columns:{TOKEN}"));
    let wrapped = format!("{}\\n{}\\r\\n", &auth[..76], &auth[76..]);
    for (who, config) in [
        ("base64 wraps at 76 columns", format!(r#"{{"auths":{{"HERE":{{"auth":"{wrapped}"}}}}}}"#)),
        (
            "an entry that is null",
            format!(r#"{{"auths":{{"HERE":{{"auth":"{auth}"}},"other.example.com":null}}}}"#),
        ),
        (
            "a store that is not installed",
            format!(r#"{{"auths":{{"HERE":{{"auth":"{auth}"}}}},"credsStore":"desktop"}}"#),
        ),
        (
            "a helper that is not installed",
            format!(r#"{{"auths":{{"HERE":{{"auth":"{auth}"}}}},"credHelpers":{{"HERE":"desktop"}}}}"#),
        ),
    ] {
        for kind in OCI {
            let (_server, shop) = by_docker_config(kind, &config);
            let run = shop.run(&["poll"]);
            assert!(run.has_code(0), "{kind}: {who}: {}", run.printed());
        }
    }
    // Without an entry beside it, the helper that is missing is the fault.
    let (_server, shop) = by_docker_config("oci", r#"{"auths":{"HERE":{}},"credsStore":"desktop"}"#);
    let message = is_refused(&shop, "secret");
    assert!(message.contains("docker-credential-desktop cannot be run: "), "{message}");
}

/// `openssl req -x509` makes a certificate that is a server's and an authority's at once.
#[test]
fn a_servers_own_certificate_is_believed_where_it_is_that_very_one() {
    let own = own_certificate("127.0.0.1");
    let server = TlsServer::start(&own, None, plainly);
    let config = |url: &str| {
        on("oci", url, PROD)
            .replace("token = { file = \"secret/token\" }", "anonymous = true\nca_file = \"ca.pem\"")
    };
    let believed = |shown: &Issued, named: &str| {
        let shop = Shop::with(&config(&server.url()));
        shop.file("ca.pem", &shown.certificate);
        let run = shop.run(&["poll", "--format", "json"]);
        let error = run.target("shop/prod")["error"]["message"].as_str().map(str::to_owned);
        assert_eq!(error.is_none(), named.is_empty(), "{error:?}");
        assert!(error.unwrap_or_default().contains(named));
    };
    believed(&own, "");
    // Another of the same name is not it.
    believed(
        &own_certificate("127.0.0.1"),
        "TLS: the server's certificate is not signed by an authority that is trusted here; set ca_file of the registry",
    );

    let other = own_certificate("other.example.test");
    let elsewhere = TlsServer::start(&other, None, plainly);
    let shop = Shop::with(&config(&elsewhere.url()));
    shop.file("ca.pem", &other.certificate);
    let message = is_refused(&shop, "unavailable");
    assert!(message.contains("TLS: the server's certificate is for another name ("), "{message}");
}

#[test]
fn an_endpoints_own_certificate_is_believed_among_the_systems_roots() {
    let own = own_certificate("127.0.0.1");
    let endpoint = TlsServer::start(&own, None, |_| Answer::new(204, "", ""));
    let registry = Server::start(|request| plainly(request).into());
    let step = format!("deploy = {{ url = \"{}/hook\" }}\nfirst_poll = \"deploy\"", endpoint.url());
    let config = on("oci", &registry.url(), &PROD.replace("deploy = { command = [\"./deploy.sh\"] }", &step));
    let mut shop = Shop::with(&config);
    shop.file("roots.pem", &own.certificate);
    shop.env("SSL_CERT_FILE", shop.path("roots.pem").to_str().unwrap());
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v2.0.0"]);
}

/// Gitea repeats the owner and the repository, with all its topics, in every row.
#[test]
fn a_page_of_giteas_packages_may_be_larger_than_a_mebibyte() {
    let server = Server::start(|request| match request.path() {
        "/api/v1/packages/acme/container/shop" => {
            let row = |number: usize| {
                serde_json::json!({"id": number, "name": "shop", "version": format!("dev-{number}"),
                    "created_at": format!("2026-11-20T10:00:{number}Z"), "repository": {"description": "x".repeat(40_000)}})
            };
            let rows: Vec<_> = (10..60).rev().map(row).collect();
            Answer::json(200, serde_json::Value::from(rows).to_string()).with("X-Total-Count", "50").into()
        }
        _ => plainly(request).into(),
    });
    Shop::with(&on("gitea", &server.url(), DEV))
        .run(&["poll"])
        .code(0)
        .line("shop/dev", &["baseline", "dev-59"]);
}

#[test]
fn a_new_tag_that_two_stages_take_is_asked_about_once() {
    for kind in ALL {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (notes, is_new) = (Arc::clone(&asked), Arc::new(AtomicBool::new(false)));
        let pushed = Arc::clone(&is_new);
        let server = Server::start(move |request| {
            if request.path().contains("/manifests/") {
                notes.lock().unwrap().push(request.line());
            }
            let is_new = pushed.load(Ordering::SeqCst);
            match request.path() {
                LIST if !is_new => names(&["v1.0.0"]).into(),
                _ => plainly(request).into(),
            }
        });
        let late = PROD.replace("stages.prod", "stages.late");
        let shop = configured(kind, &server.url(), Robot, &format!("{PROD}{late}"));
        shop.run(&["poll"]).code(0);
        noted(&asked);
        is_new.store(true, Ordering::SeqCst);
        let run = shop.run(&["poll"]);
        run.code(0).line("shop/prod", &["deployed", "v2.0.0"]).line("shop/late", &["deployed", "v2.0.0"]);
        assert_eq!(noted(&asked), ["HEAD /v2/acme/shop/manifests/v2.0.0"], "{kind}");
    }
}
