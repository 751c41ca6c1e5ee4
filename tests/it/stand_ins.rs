//! The stand-ins themselves: their answers are the recorded ones, and their faults are real.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::{Answer, Reply, Server};
use crate::registry::{Build, Gitea, TOKEN, TOKEN_WITHOUT_SCOPE, WRONG_TOKEN};
use crate::transcript::recorded;

/// The answer's bytes, to the end of the connection.
fn ask(port: u16, head: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "{head}\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap())
}

/// demo of the recordings: its five tags and team/api, a second apart.
fn demo(build: Build) -> Gitea {
    let gitea = Gitea::start(build);
    for (tag, second) in [("dev-9", 53), ("dev-10", 54), ("v1.2.0", 56), ("v1.3.0-rc1", 57), ("latest", 58)] {
        gitea.push("demo/shop", tag, &format!("2026-11-23T13:53:{second}Z"));
    }
    gitea.push("demo/team/api", "dev-1", "2026-11-23T13:53:59Z");
    gitea
}

#[test]
fn a_stand_in_answers_as_it_was_recorded() {
    for (build, folder) in
        [(Build::GiteaNew, "gitea-new"), (Build::GiteaOld, "gitea-old"), (Build::Forgejo, "forgejo")]
    {
        for name in [
            "01-version",
            "02-forgejo-version",
            "03-tags-list-no-credentials",
            "06-token-exchange-by-post",
            "08-tags-list-basic",
            "14-tags-list-wrong-token",
            "15-tags-list-wrong-scope",
            "16-tags-list-token-as-bearer",
            "20-packages-no-credentials",
            "21-packages-wrong-scope",
            "22-packages-unknown-owner",
            "28-packages-past-the-end",
            "33-package-version-missing",
        ] {
            let gitea = demo(build);
            let file =
                format!("{}/tests/fixtures/transcripts/{folder}/{name}.http", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(file).unwrap();
            let line = text.lines().next().unwrap();
            let basic = |token: &str| STANDARD.encode(format!("ci:{token}"));
            let authorization = text.lines().find(|line| line.starts_with("Authorization")).map(|line| {
                line.replace("BASE64(ci:TOKEN)", &basic(TOKEN))
                    .replace("BASE64(ci:WRONG-TOKEN)", &basic(WRONG_TOKEN))
                    .replace("BASE64(ci:TOKEN-WITHOUT-SCOPE)", &basic(TOKEN_WITHOUT_SCOPE))
                    .replace("TOKEN-WITHOUT-SCOPE", TOKEN_WITHOUT_SCOPE)
                    .replace("token TOKEN", &format!("token {TOKEN}"))
            });
            let head =
                [Some(line.to_owned()), authorization].into_iter().flatten().collect::<Vec<_>>().join("\r\n");
            let answer = ask(gitea.port(), &head).unwrap();

            let expected = recorded(folder, name);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", expected.status)), "{folder} {name}: {answer}");
            let here = format!("http://127.0.0.1:{}", gitea.port());
            let expected_body =
                String::from_utf8(expected.body).unwrap().replace("http://git.example.test", &here);
            assert_eq!(body, expected_body, "{folder} {name}");
            for (header, value) in expected.headers.iter().filter(|(header, _)| header != "Date") {
                let value = value.replace("http://git.example.test", &here);
                assert!(head.contains(&format!("{header}: {value}")), "{folder} {name} {header}: {head}");
            }
        }
    }
}

#[test]
fn inside_a_second_new_gitea_lists_the_higher_id_first_and_the_others_the_lower() {
    for (build, expected) in
        [(Build::GiteaNew, ["b", "a"]), (Build::GiteaOld, ["a", "b"]), (Build::Forgejo, ["a", "b"])]
    {
        let gitea = Gitea::start(build);
        gitea.push("acme/shop", "a", "2026-11-20T10:00:00Z");
        gitea.push("acme/shop", "b", "2026-11-20T10:00:00Z");
        let request =
            format!("GET /api/v1/packages/acme?type=container HTTP/1.1\r\nAuthorization: token {TOKEN}");
        let answer = ask(gitea.port(), &request).unwrap();
        let places =
            expected.map(|tag| answer.find(&format!("\"version\":\"{tag}\"")).expect("it is listed"));
        assert!(places[0] < places[1], "{build:?}: {answer}");
    }
}

#[test]
fn on_new_gitea_a_tag_pushed_back_to_old_content_has_no_manifest() {
    let gitea = Gitea::start(Build::GiteaNew);
    for tag in ["a", "x", "y"] {
        gitea.push("acme/shop", tag, "2026-11-20T10:00:00Z");
    }
    let head = |tag: &str| {
        let basic = STANDARD.encode(format!("ci:{TOKEN}"));
        let request = format!("HEAD /v2/acme/shop/manifests/{tag} HTTP/1.1\r\nAuthorization: Basic {basic}");
        ask(gitea.port(), &request).unwrap()
    };
    gitea.retag("acme/shop", "a", "x", "2026-11-20T10:01:00Z");
    assert!(head("a").contains(&gitea.digest("acme/shop", "x")));
    gitea.retag("acme/shop", "a", "y", "2026-11-20T10:02:00Z");
    gitea.retag("acme/shop", "a", "x", "2026-11-20T10:03:00Z");
    assert!(head("a").starts_with("HTTP/1.1 404"), "{}", head("a"));
}

#[test]
fn a_reset_is_a_reset() {
    let server = Server::start(|_| Reply::Reset);
    let error = ask(server.port(), "GET / HTTP/1.1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_truncated_body_is_shorter_than_announced() {
    let server = Server::start(|_| Reply::Truncated(Answer::json(200, "0123456789"), 4));
    let answer = ask(server.port(), "GET / HTTP/1.1").unwrap();
    assert!(answer.contains("Content-Length: 10") && answer.ends_with("\r\n\r\n0123"), "{answer}");
}

#[test]
fn a_long_body_comes_in_chunks() {
    let server = Server::start(|_| Answer::json(200, "x".repeat(5000)).into());
    let answer = ask(server.port(), "GET / HTTP/1.1").unwrap();
    assert!(answer.contains("Transfer-Encoding: chunked"), "{answer}");
    assert!(answer.ends_with("0\r\n\r\n") && answer.contains("\r\n1000\r\n"));
}
