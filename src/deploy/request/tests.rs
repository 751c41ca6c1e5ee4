//! Sending a deploy request: URL, headers, body, signature, retries, polling for the end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Instant;

use regex::Regex;
use serde_json::{Value, json};

use super::super::Outcome;
use super::super::fixture::{ID, KnownSecrets, Rig, template};
use super::*;
use crate::target::step::{JsonTemplate, Sign, Step};

const NEVER: Duration = Duration::from_secs(60);

/// A server on loopback that accepts one connection after the other.
struct Server {
    listener: TcpListener,
}

/// A received request.
struct Received {
    head: String,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers(name);
        let value = values.next();
        assert!(values.next().is_none(), "{name} came twice");
        value
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Server {
    fn new() -> Server {
        Server { listener: TcpListener::bind(("127.0.0.1", 0)).unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listener.local_addr().unwrap())
    }

    /// Carries out the step while `serve` has the connection after the request was read.
    fn meet(
        &self,
        rig: &Rig,
        step: HttpStep,
        serve: impl FnOnce(&mut TcpStream) + Send,
    ) -> (Outcome, Received) {
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, _) = self.listener.accept().unwrap();
                let received = receive(&mut stream);
                serve(&mut stream);
                received
            });
            let (outcome, _) = rig.deploy(vec![Step::from(step)]);
            (outcome, server.join().unwrap())
        })
    }

    fn answer(&self, step: HttpStep, answer: &[u8]) -> (Outcome, Received) {
        self.meet(&Rig::new(), step, |stream| stream.write_all(answer).unwrap())
    }
}

fn receive(stream: &mut TcpStream) -> Received {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let mut received = Received { head: String::from_utf8(bytes).unwrap(), body: Vec::new() };
    let length = received.header("content-length").map_or(0, |length| length.parse().unwrap());
    received.body.resize(length, 0);
    stream.read_exact(&mut received.body).unwrap();
    received
}

fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn step(url: &str) -> HttpStep {
    HttpStep {
        method: "POST".to_owned(),
        url: template(url),
        headers: Vec::new(),
        body: Body::Standard,
        timeout: NEVER,
        sign: Sign::default(),
        until: None,
        success: Success::default(),
    }
}

fn error(outcome: &Outcome) -> &DeployError {
    outcome.result.as_ref().unwrap_err()
}

#[test]
fn the_standard_request() {
    let server = Server::new();
    let url = server.url("/hook/{repository}?tag={tag}");
    let (outcome, received) = server.answer(step(&url), &response("204 No Content", "", ""));
    outcome.result.unwrap();
    assert_eq!(received.line(), "POST /hook/acme%2Fshop?tag=v2 HTTP/1.1");
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("idempotency-key"), Some(ID));
    assert_eq!(received.header("user-agent"), Some(concat!("tagship/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(received.json()["image"], "git.example.com/acme/shop:v2");
    assert_eq!(received.json()["attempt"], 3);
    assert_eq!(outcome.http_status, Some(204));
    assert_eq!(outcome.output, format!("POST {}: 204 No Content\n", server.url("/hook/acme%2Fshop?tag=v2")));
}

#[test]
fn get_has_no_standard_body() {
    for method in ["GET", "HEAD"] {
        let server = Server::new();
        let step = HttpStep { method: method.to_owned(), ..step(&server.url("/")) };
        let (outcome, received) = server.answer(step, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        outcome.result.unwrap();
        assert_eq!(received.header("content-length"), None, "{method}");
        assert_eq!(received.header("transfer-encoding"), None, "{method}");
        assert_eq!(received.header("content-type"), None, "{method}");
    }
}

#[test]
fn bodies_have_their_types() {
    let json = JsonTemplate::Object(vec![("t".into(), JsonTemplate::Text(template("\"{tag}")))]);
    for (body, text, content_type) in [
        (Body::Json(json), r#"{"t":"\"v2"}"#, "application/json"),
        (Body::Form(vec![("t".into(), template("{var.app}"))]), "t=a+b", "application/x-www-form-urlencoded"),
        (Body::Text(template("{\"x\": \"{tag}\"}")), "{\"x\": \"v2\"}", "text/plain; charset=utf-8"),
        (Body::Text(template("")), "", "text/plain; charset=utf-8"),
    ] {
        let server = Server::new();
        let step = HttpStep { body, ..step(&server.url("/")) };
        let (_, received) = server.answer(step, &response("200 OK", "", ""));
        assert_eq!(String::from_utf8(received.body.clone()).unwrap(), text);
        assert_eq!(received.header("content-type"), Some(content_type));
    }
}

#[test]
fn headers_of_the_step_override_the_defaults() {
    let server = Server::new();
    let mut rig = Rig::new();
    rig.secrets = KnownSecrets::new(&[("key", "s3cret")]);
    let headers = [
        ("content-type", "application/vnd.x+json"),
        ("Authorization", "Bearer {secret.key}"),
        ("X-Tag", "{tag}"),
        ("X-Tag", "ä"),
    ];
    let step = HttpStep {
        headers: headers.map(|(name, value)| (name.to_owned(), template(value))).into(),
        ..step(&server.url("/"))
    };
    let answer = response("403 Forbidden", "", "no: Bearer s3cret");
    let (outcome, received) = server.meet(&rig, step, |stream| stream.write_all(&answer).unwrap());
    assert_eq!(received.header("content-type"), Some("application/vnd.x+json"));
    assert_eq!(received.header("authorization"), Some("Bearer s3cret"));
    assert_eq!(received.headers("x-tag").collect::<Vec<_>>(), ["v2", "ä"]);
    assert_eq!(error(&outcome).message, format!("POST {}: 403 Forbidden: no: Bearer ***", server.url("/")));
    assert_eq!(outcome.output, format!("POST {}: 403 Forbidden\nno: Bearer ***\n", server.url("/")));
}

#[test]
fn other_methods_are_sent_unchanged() {
    for method in ["PUT", "PATCH", "DELETE", "PURGE"] {
        let server = Server::new();
        let step = HttpStep { method: method.to_owned(), ..step(&server.url("/x")) };
        let (outcome, received) = server.answer(step, &response("200 OK", "", ""));
        outcome.result.unwrap();
        assert_eq!(received.line(), format!("{method} /x HTTP/1.1"));
        assert_eq!(received.json()["tag"], "v2");
    }
}

#[test]
fn step_defines_success() {
    let any = Success::default;
    let status = |status: &[u16]| Success { status: status.to_vec(), ..any() };
    let pointer = |pointer: &str| Success { pointer: Some(pointer.to_owned()), ..any() };
    let equals = |at: &str, value: Value| Success { equals: Some(value), ..pointer(at) };
    let matches = |pattern: &str| Success { matches: Some(Regex::new(pattern).unwrap()), ..any() };
    for (answer, body, success, failure) in [
        ("200 OK", "", any(), None),
        ("299 Odd", "", any(), None),
        ("500 Internal Server Error", "a\n\nb", any(), Some("500 Internal Server Error: a b")),
        ("599 Odd", "", any(), Some("599")),
        ("304 Not Modified", "", any(), Some("304 Not Modified")),
        ("204 No Content", "", status(&[204, 304]), None),
        ("304 Not Modified", "", status(&[204, 304]), None),
        ("200 OK", "", status(&[204, 304]), Some("200 OK")),
        ("200 OK", r#"{"a":[{"id":"x"}]}"#, pointer("/a/0/id"), None),
        ("200 OK", r#"{"a":[]}"#, pointer("/a/0/id"), Some(r#"200 OK, but /a/0/id is missing: {"a":[]}"#)),
        ("200 OK", r#"{"a":null}"#, pointer("/a"), Some(r#"200 OK, but /a is null: {"a":null}"#)),
        ("200 OK", "<html>", pointer("/a"), Some("200 OK, but it is not JSON, so it has no /a: <html>")),
        (
            "500 Internal Server Error",
            r#"{"a":1}"#,
            pointer("/a"),
            Some(r#"500 Internal Server Error: {"a":1}"#),
        ),
        ("200 OK", r#"{"status":100}"#, equals("/status", json!(100)), None),
        ("200 OK", r#"{"status":100.0}"#, equals("/status", json!(100)), None),
        (
            "200 OK",
            r#"{"status":1000}"#,
            equals("/status", json!(100)),
            Some(r#"200 OK, but /status is 1000, not 100: {"status":1000}"#),
        ),
        (
            "200 OK",
            r#"{"status":"100"}"#,
            equals("/status", json!(100)),
            Some(r#"200 OK, but /status is "100", not 100: {"status":"100"}"#),
        ),
        ("200 OK", "all done.", matches("^all"), None),
        (
            "200 OK",
            "Hook rules were not satisfied.",
            matches("^all"),
            Some("200 OK, but the answer does not match ^all: Hook rules were not satisfied."),
        ),
    ] {
        let server = Server::new();
        let step = HttpStep { success, ..step(&server.url("/x")) };
        let response = if answer.starts_with("204") || answer.starts_with("304") {
            format!("HTTP/1.1 {answer}\r\n\r\n").into_bytes()
        } else {
            response(answer, "", body)
        };
        let (outcome, _) = server.answer(step, &response);
        let expected = failure.map(|failure| format!("POST {}: {failure}", server.url("/x")));
        assert_eq!(outcome.result.err().map(|error| error.message), expected, "{answer} {body}");
    }
}

#[test]
fn some_responses_are_final() {
    for (status, is_final) in [
        (400, true),
        (401, true),
        (403, true),
        (405, true),
        (410, true),
        (413, true),
        (422, true),
        (404, false),
        (408, false),
        (409, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let server = Server::new();
        let (outcome, _) = server.answer(step(&server.url("/")), &response(&format!("{status} X"), "", ""));
        let error = error(&outcome);
        assert_eq!(
            (error.final_answer, error.code, error.started),
            (is_final, ErrorCode::Http, true),
            "{status}"
        );
        assert_eq!(outcome.http_status, Some(status));
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (headers, seconds) in [
        ("", None),
        ("Retry-After: 60\r\n", Some(60)),
        ("Retry-After: 99999999999999999999\r\n", Some(86_400)),
        ("Retry-After: soon\r\n", None),
        (&format!("{date}Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n"), Some(60)),
        (&format!("{date}Retry-After: Sun, 06 Nov 1994 08:40:37 GMT\r\n"), Some(0)),
        (&format!("{date}Retry-After: Mon, 06 Nov 1995 08:40:37 GMT\r\n"), Some(86_400)),
        ("Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n", Some(0)),
    ] {
        let server = Server::new();
        let answer = response("429 Too Many Requests", headers, "");
        let (outcome, _) = server.answer(step(&server.url("/")), &answer);
        assert_eq!(error(&outcome).retry_after, seconds.map(Duration::from_secs), "{headers}");
    }
}

#[test]
fn redirect_is_not_followed() {
    for (location, shown) in [
        ("https://other.example/path?token=s3cret", "https://other.example"),
        ("//other.example:8443/", "http://other.example:8443"),
    ] {
        for status in ["301 Moved Permanently", "307 Temporary Redirect"] {
            let server = Server::new();
            let answer = response(status, &format!("Location: {location}\r\n"), "");
            let (outcome, _) = server.answer(step(&server.url("/x")), &answer);
            let url = server.url("/x");
            let expected =
                format!("POST {url}: {status}: redirects to {shown}; write that URL instead if you trust it");
            assert_eq!(error(&outcome).message, expected);
        }
    }
    let server = Server::new();
    let answer = response("302 Found", "Location: /login\r\n", "");
    let (outcome, _) = server.answer(step(&server.url("/x")), &answer);
    assert!(error(&outcome).message.contains(&format!("redirects to another path of {}", server.url(""))));
    // There is no second request.
    server.listener.set_nonblocking(true).unwrap();
    assert!(server.listener.accept().is_err());
}

#[test]
fn redirect_can_be_a_success() {
    let server = Server::new();
    let success = Success { status: vec![303], ..Success::default() };
    let answer = response("303 See Other", "Location: /queue/7\r\n", "");
    let (outcome, _) = server.answer(HttpStep { success, ..step(&server.url("/")) }, &answer);
    outcome.result.unwrap();
}

#[test]
fn failed_connection_says_why() {
    let server = Server::new();
    let url = server.url("/");
    let (outcome, _) =
        server.meet(&Rig::new(), step(&url), |stream| stream.shutdown(Shutdown::Both).unwrap());
    let expected = format!("POST {url}: the connection was closed before the answer was complete");
    assert_eq!(error(&outcome).message, expected);
    assert_eq!((error(&outcome).code, error(&outcome).started), (ErrorCode::Http, true));

    let (outcome, _) = server.answer(step(&url), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(error(&outcome).message, expected);
    assert_eq!(outcome.http_status, None);

    drop(server);
    let (outcome, _) = Rig::new().deploy(vec![Step::from(step(&url))]);
    assert_eq!(error(&outcome).message, format!("POST {url}: connection refused: nothing listens there"));
    assert_eq!((error(&outcome).code, error(&outcome).started), (ErrorCode::Http, true));
}

#[test]
fn missing_response_and_slow_body_time_out() {
    let beginnings: [&[u8]; 2] = [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nslow"];
    for beginning in beginnings {
        let server = Server::new();
        let timeout = Duration::from_millis(300);
        let step = HttpStep { timeout, ..step(&server.url("/")) };
        let (outcome, _) = server.meet(&Rig::new(), step, |stream| {
            stream.write_all(beginning).unwrap();
            // Ends when the other side gives up.
            while stream.read(&mut [0]).is_ok_and(|length| length > 0) {}
        });
        let error = error(&outcome);
        assert_eq!(error.message, format!("POST {}: no complete answer within 300ms", server.url("/")));
        assert_eq!((error.code, error.started, error.final_answer), (ErrorCode::Timeout, true, false));
    }
}

#[test]
fn endless_body_is_bounded() {
    let server = Server::new();
    let success = Success { pointer: Some("/a".to_owned()), ..Success::default() };
    let long = |success| HttpStep { success, ..step(&server.url("/")) };
    let pour = |stream: &mut TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    };
    let (outcome, _) = server.meet(&Rig::new(), long(success), pour);
    assert!(error(&outcome).message.contains("too long to look up /a"), "{:?}", outcome.result);
    assert!(outcome.output.len() <= KEPT);
    assert!(outcome.output.starts_with("POST http://127.0.0.1:") && outcome.output.ends_with("x\n"));
    let (outcome, _) = server.meet(&Rig::new(), long(Success::default()), pour);
    outcome.result.unwrap();
}

#[test]
fn error_of_an_invalid_request_contains_no_secrets() {
    let mut rig = Rig::new();
    rig.secrets = KnownSecrets::new(&[("key", "s3 cret"), ("lines", "a\nb"), ("ftp", "ftp://x")]);
    for (url, says) in [
        ("{secret.key}", "POST ***: cannot be sent: the URL: relative URL without a base"),
        ("{secret.ftp}", "POST ***: cannot be sent: the URL is neither http:// nor https://"),
        ("http://h:99999/", "POST http://h:99999/: cannot be sent: the URL: invalid port number"),
        ("http://h/{secret.lines}", "the URL contains control characters: check its variables and secrets"),
        ("http://h/{secret.gone}", "gone is missing"),
    ] {
        let (outcome, _) = rig.deploy(vec![Step::from(step(url))]);
        assert_eq!((error(&outcome).message.as_str(), error(&outcome).started), (says, false));
    }
    let headers = vec![("X-Lines".to_owned(), template("{secret.lines}"))];
    let (outcome, _) = rig.deploy(vec![Step::from(HttpStep { headers, ..step("http://h/") })]);
    assert!(error(&outcome).message.contains("X-Lines"));
}

#[test]
fn stop_leaves_a_grace_period_for_the_response() {
    for answers in [true, false] {
        let server = Server::new();
        let mut rig = Rig::new();
        rig.patience.grace = if answers { NEVER } else { Duration::from_millis(200) };
        let stop = rig.stop.clone();
        let (told, over) = channel::<()>();
        let start = Instant::now();
        let outcome = std::thread::scope(|scope| {
            let (server, rig) = (&server, &rig);
            scope.spawn(move || {
                let (mut stream, _) = server.listener.accept().unwrap();
                receive(&mut stream);
                stop.tell(15);
                if answers {
                    stream.write_all(&response("200 OK", "", "")).unwrap();
                } else {
                    let _ = over.recv();
                }
            });
            let (outcome, _) = rig.deploy(vec![Step::from(step(&server.url("/")))]);
            drop(told);
            outcome
        });
        assert!(start.elapsed() < NEVER / 2);
        assert_eq!(outcome.result.is_ok(), answers);
        if !answers {
            let error = error(&outcome);
            assert!(error.interrupted && error.started, "{error:?}");
            assert!(error.message.ends_with("told to stop by signal 15 (SIGTERM)"), "{error}");
        }
    }
}

/// Answers one connection after the other, and returns the requests.
fn answer_each(
    server: &Server,
    rig: &Rig,
    steps: Vec<Step>,
    answers: &[Vec<u8>],
) -> (Outcome, Vec<Received>) {
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let mut all = Vec::new();
            for answer in answers {
                let (mut stream, _) = server.listener.accept().unwrap();
                all.push(receive(&mut stream));
                stream.write_all(answer).unwrap();
            }
            all
        });
        let (outcome, _) = rig.deploy(steps);
        (outcome, serving.join().unwrap())
    })
}

fn until(server: &Server) -> HttpStep {
    HttpStep {
        method: "GET".to_owned(),
        until: Some(Until {
            pointer: "/status".to_owned(),
            values: vec![json!("finished"), json!("failed")],
            every: Duration::from_millis(1),
            within: NEVER,
        }),
        success: Success {
            pointer: Some("/status".to_owned()),
            equals: Some(json!("finished")),
            ..Success::default()
        },
        ..step(&server.url("/deployments/{step.1./id}"))
    }
}

#[test]
fn later_step_uses_an_earlier_response_and_waits_for_the_work() {
    for (end, succeeds) in [("finished", true), ("failed", false)] {
        let server = Server::new();
        let steps = vec![Step::from(step(&server.url("/deploy"))), Step::from(until(&server))];
        let end = response("200 OK", "", &format!("{{\"status\": \"{end}\"}}"));
        let answers = [
            response("200 OK", "", "{\"id\": \"a b\"}"),
            response("404 Not Found", "", ""),
            response("200 OK", "", "{\"status\": \"queued\"}"),
            response("503 Service Unavailable", "", ""),
            response("200 OK", "", "{\"status\": \"running\"}"),
            end,
        ];
        let (outcome, received) = answer_each(&server, &Rig::new(), steps, &answers);
        assert_eq!(outcome.result.is_ok(), succeeds, "{outcome:?}");
        assert_eq!(received[0].line(), "POST /deploy HTTP/1.1");
        assert!(received[1..].iter().all(|request| request.line() == "GET /deployments/a%20b HTTP/1.1"));
        if !succeeds {
            let message = &error(&outcome).message;
            assert!(message.contains("/status is \"failed\", not \"finished\""), "{message}");
        }
    }
}

#[test]
fn waiting_ends_at_its_limit_and_at_a_final_response() {
    let server = Server::new();
    let mut patient = until(&server);
    patient.url = template(&server.url("/x"));
    patient.until.as_mut().unwrap().within = Duration::from_millis(1);
    let queued = response("200 OK", "", "{\"status\": \"queued\"}");
    let (outcome, _) = answer_each(&server, &Rig::new(), vec![Step::from(patient)], &[queued]);
    assert_eq!(error(&outcome).code, ErrorCode::Timeout);
    let message = &error(&outcome).message;
    assert!(message.ends_with("not finished within 1ms: /status is \"queued\""), "{message}");

    let mut step = until(&server);
    step.url = template(&server.url("/x"));
    let denied = response("403 Forbidden", "", "no");
    let (outcome, _) = answer_each(&server, &Rig::new(), vec![Step::from(step)], &[denied]);
    assert_eq!((error(&outcome).code, error(&outcome).final_answer), (ErrorCode::Http, true));
}

#[test]
fn response_without_the_value_ends_the_deployment() {
    let server = Server::new();
    let steps = vec![Step::from(step(&server.url("/deploy"))), Step::from(until(&server))];
    let answers = [response("200 OK", "", "{\"message\": \"queued\"}")];
    let (outcome, received) = answer_each(&server, &Rig::new(), steps, &answers);
    assert_eq!(received.len(), 1);
    let error = error(&outcome);
    assert!(error.started);
    assert_eq!(error.message, "the answer of step 1 does not have /id, which a later step needs");
}

/// With the secrets of the test vectors: the signature covers the sent body and the current time.
#[test]
fn request_is_signed_with_every_secret() {
    const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let secret = |name: &str| SecretId(name.to_owned());
    let server = Server::new();
    let secrets = KnownSecrets::new(&[("old", "first"), ("new", "second"), ("hooks", STANDARD)]);
    let rig = Rig { secrets, ..Rig::new() };
    let signed = HttpStep {
        sign: Sign {
            github: vec![secret("new"), secret("old")],
            standard_webhooks: vec![secret("hooks"), secret("hooks")],
        },
        ..step(&server.url("/"))
    };
    let before = Timestamp::now().as_second();
    let (outcome, received) = server.meet(&rig, signed, |stream| {
        stream.write_all(&response("204 No Content", "", "")).unwrap();
    });
    assert!(outcome.result.is_ok(), "{outcome:?}");
    let github =
        format!("{},{}", signing::github("second", &received.body), signing::github("first", &received.body));
    assert_eq!(received.header("X-Hub-Signature-256"), Some(github.as_str()));
    assert_eq!(received.header("webhook-id"), Some(ID));
    let second: i64 = received.header("webhook-timestamp").unwrap().parse().unwrap();
    assert!((before..=Timestamp::now().as_second()).contains(&second));
    let one = signing::standard_webhooks(STANDARD, ID, second, &received.body).unwrap();
    assert_eq!(received.header("webhook-signature"), Some(format!("{one} {one}").as_str()));
}

#[test]
fn invalid_signing_key_is_an_error_before_anything_is_sent() {
    let secrets = KnownSecrets::new(&[("hooks", "short")]);
    let rig = Rig { secrets, ..Rig::new() };
    let sign = Sign { standard_webhooks: vec![SecretId("hooks".to_owned())], ..Sign::default() };
    let (outcome, _) = rig.deploy(vec![Step::from(HttpStep { sign, ..step("http://127.0.0.1:9/") })]);
    assert!(!error(&outcome).started);
    assert_eq!(
        error(&outcome).message,
        "POST http://127.0.0.1:9/: cannot be sent: the secret of sign is not a Standard Webhooks secret: whsec_ and the base64 of 24 to 64 bytes"
    );
}
