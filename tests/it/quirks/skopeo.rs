//! Generated combinations of quirks, read by skopeo and by tagship: the same tags and the same digest, or tagship refuses
//! for one of [`REASONS`].

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::{Anyone, As, BEARER, IMAGE, LIST, Robot, digest, many};
use crate::harness::{PROD, Shop, on};
use crate::http::{Answer, Request};
use crate::registry::TOKEN;
use crate::tls::{Authority, TlsServer};

/// Why tagship may refuse what skopeo reads.
const REASONS: [&str; 2] =
    ["and credentials are not sent there", "tagship requests tokens only from the registry's own host"];
const RUNS: u64 = 120;
/// The content for anonymous requests.
const NOBODYS: &str = "planted-nobodys-bearer-8Zk4";

/// How a registry answers.
#[derive(Clone, Debug)]
struct Server {
    asked: As,
    /// Where the token server is: `HERE`, or another host.
    challenge: Option<&'static str>,
    /// The part of the repository for anonymous requests, although `/v2/` challenges.
    mixed: Option<u16>,
    name: &'static str,
    count: usize,
    /// As many tags a page, with this `Link`; None: no pages.
    pages: Option<(usize, &'static str)>,
    head: u16,
    digest: Option<&'static str>,
    redirect: Redirect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Redirect {
    None,
    Same,
    Elsewhere,
}

fn any(rng: &mut Rng) -> Server {
    fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
        rng.choice(of).unwrap().clone()
    }
    let challenges = [
        None,
        Some("Bearer realm=\"https://HERE/token\",service=\"images\""),
        Some("bearer realm=\"https://HERE/token\", service=\"images\", scope=\"x\""),
        Some("Bearer realm=https://HERE/token,service=images"),
        Some("Bearer realm=\"https://HERE/token\" service=\"images\""),
        Some("Bearer realm=\"https://ELSEWHERE/token\",service=\"images\""),
        Some("Basic realm=\"images\""),
        Some("Basic realm=/"),
        Some("Basic"),
        Some("Basic realm=\"Registro privé\"; charset=\"UTF-8\""),
        Some("Basic realm=Sonatype Nexus Repository Manager"),
    ];
    let links = [
        "</v2/acme/shop/tags/list?QUERY>; rel=\"next\"",
        "<https://HERE/v2/acme/shop/tags/list?QUERY>; rel=next",
        "<http://registry.internal:5000/v2/acme/shop/tags/list?QUERY>; rel=\"next\"",
        "</tags/list?QUERY>; rel=\"next\"",
        "<https://ELSEWHERE/v2/acme/shop/tags/list?QUERY>; rel=\"next\"",
        "</v2/acme/shop/tags/list?QUERY>",
    ];
    let count = one(rng, &[1, 3, 99, 100, 101, 1000, 1001]);
    let page = one(rng, &[40, 100, 1000]);
    let pages = [None, Some((page, one(rng, &links)))];
    Server {
        asked: one(rng, &[Anyone, Robot]),
        challenge: one(rng, &challenges),
        mixed: one(rng, &[None, None, Some(404), Some(403), Some(200)]),
        name: one(rng, &["\"acme/shop\"", "\"docker-remote/acme/shop\"", "\"library/shop\"", "null", "7"]),
        count,
        pages: one(rng, &pages),
        head: one(rng, &[200, 200, 200, 400, 401, 403, 404, 405, 406]),
        digest: one(rng, &[Some(""), Some(""), None, Some("sha256:x"), Some("md5:00")]),
        redirect: one(rng, &[Redirect::None, Redirect::None, Redirect::Same, Redirect::Elsewhere]),
    }
}

fn manifest(tag: &str) -> String {
    super::MANIFEST.replace("\"layers\":[]", &format!("\"layers\":[],\"annotations\":{{\"tag\":\"{tag}\"}}"))
}

impl Server {
    /// The tags for anonymous requests, if they are a part.
    fn part(&self) -> Vec<String> {
        many(1)
    }

    fn answer(&self, request: &Request, elsewhere: &str) -> Answer {
        let here = request.header("host").unwrap().to_owned();
        let place = |text: &str| text.replace("ELSEWHERE", elsewhere).replace("HERE", &here);
        if request.path() == "/token" {
            return token(request);
        }
        let is_robot = request.basic_password().as_deref() == Some(TOKEN) || request.bearer() == Some(BEARER);
        let may_enter = is_robot || request.bearer() == Some(NOBODYS);
        let is_door = request.path() == "/v2/";
        if let Some(challenge) = self.challenge.filter(|_| !may_enter && (is_door || self.mixed.is_none())) {
            let refused = Answer::json(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
            return refused.with("Www-Authenticate", place(challenge));
        }
        if is_door {
            return Answer::json(200, "{}");
        }
        let is_nobody = self.challenge.is_some() && !is_robot;
        match self.mixed.filter(|_| is_nobody) {
            Some(200) if request.path() == LIST => return self.list(&self.part()),
            Some(200) | None => {}
            Some(status) => return Answer::json(status, r#"{"errors":[{"code":"DENIED"}]}"#),
        }
        let to = match self.redirect {
            Redirect::Same if request.query("moved").is_none() => {
                let more = if request.target.contains('?') { '&' } else { '?' };
                Some(format!("{}{more}moved=1", request.target))
            }
            Redirect::Elsewhere => Some(format!("https://{elsewhere}{}", request.target)),
            _ => None,
        };
        match to {
            Some(to) => Answer::new(307, "", "").with("Location", to),
            None => self.content(request, place),
        }
    }

    fn content(&self, request: &Request, place: impl Fn(&str) -> String) -> Answer {
        if let Some(tag) = request.path().strip_prefix("/v2/acme/shop/manifests/") {
            if request.method == "HEAD" && self.head != 200 {
                return Answer::new(self.head, "", "");
            }
            let manifest = manifest(tag);
            let answer = Answer::new(200, IMAGE, manifest.as_str());
            return match self.digest {
                Some("") => answer.with("Docker-Content-Digest", digest(&manifest)),
                Some(wrong) => answer.with("Docker-Content-Digest", wrong),
                None => answer,
            };
        }
        if request.path() != LIST {
            return Answer::json(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#);
        }
        let mut tags = many(self.count);
        tags.sort();
        let Some((page, link)) = self.pages else { return self.list(&tags) };
        let n = request.query("n").and_then(|n| n.parse().ok()).unwrap_or(page).min(page);
        let last = request.query("last").unwrap_or_default();
        let rest: Vec<String> = tags.into_iter().filter(|tag| *tag > last).collect();
        let shown = &rest[..n.min(rest.len())];
        let answer = self.list(shown);
        if shown.len() == rest.len() {
            return answer;
        }
        let query = format!("n={n}&last={}", shown.last().unwrap());
        answer.with("Link", place(link).replace("QUERY", &query))
    }

    fn list(&self, tags: &[String]) -> Answer {
        Answer::json(200, format!(r#"{{"name":{},"tags":{}}}"#, self.name, serde_json::json!(tags)))
    }
}

fn token(request: &Request) -> Answer {
    match request.basic_password() {
        Some(password) if password != TOKEN => Answer::json(401, "{}"),
        Some(_) => Answer::json(200, format!(r#"{{"token":"{BEARER}"}}"#)),
        None => Answer::json(200, format!(r#"{{"token":"{NOBODYS}"}}"#)),
    }
}

/// The result: every tag, and the digest of the greatest version.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    tags: BTreeSet<String>,
    digest: String,
}

/// Whether the message of a refusal is one of the reasons.
fn is_listed(message: &str) -> bool {
    REASONS.iter().any(|reason| message.contains(reason))
}

fn by_skopeo(shop: &Shop, asked: As, address: &str, newest: &str) -> Option<Found> {
    let run = |arguments: &[&str], image: &str| {
        let mut command = Command::new("skopeo");
        command.env_clear().env("HOME", shop.path("home")).env("PATH", "/usr/bin:/bin");
        command.args(["--insecure-policy", arguments[0], "--cert-dir"]).arg(shop.path("authority"));
        match asked {
            Robot => command.arg("--creds").arg(format!("robot:{TOKEN}")),
            Anyone => command.arg("--no-creds"),
        };
        let output = command.args(&arguments[1..]).arg(image).output();
        let output = output.expect("skopeo is installed: apt-get install skopeo");
        output.status.success().then_some(output.stdout)
    };
    let listed = run(&["list-tags"], &format!("docker://{address}/acme/shop"))?;
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    let tags =
        listed["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
    let manifest = run(&["inspect", "--raw"], &format!("docker://{address}/acme/shop:{newest}"))?;
    Some(Found { tags, digest: digest(std::str::from_utf8(&manifest).unwrap()) })
}

fn by_tagship(shop: &Shop) -> Result<Found, String> {
    let run = shop.run(&["poll", "--format", "json"]);
    let target = run.target("shop/prod");
    if let Some(message) = target["error"]["message"].as_str() {
        return Err(message.to_owned());
    }
    let json = shop.run(&["tags", "shop/prod", "--format", "json"]).code(0).json();
    let tags = json["tags"].as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap().to_owned());
    Ok(Found { tags: tags.collect(), digest: target["digest"].as_str().unwrap_or_default().to_owned() })
}

#[test]
#[ignore = "needs skopeo"]
fn tags_and_digests_are_those_of_skopeo() {
    let authority = Authority::new();
    let (mut read, mut refused) = (0, 0);
    for seed in 0..RUNS {
        let server = any(&mut Rng::with_seed(seed));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (notes, content) = (Arc::clone(&sent), server.clone());
        let elsewhere = TlsServer::start(&authority.issue("localhost"), None, move |request| {
            notes.lock().unwrap().push(request.header("authorization").unwrap_or_default().to_owned());
            match request.path() {
                "/token" => token(request),
                _ => content.content(request, |text| text.replace("HERE", "localhost")),
            }
        });
        let (there, decide) = (format!("localhost:{}", elsewhere.port()), server.clone());
        let here = TlsServer::start(&authority.issue("127.0.0.1"), None, move |request| {
            decide.answer(request, &there)
        });
        let credential = match server.asked {
            Robot => {
                "username = \"robot\"\ntoken = { file = \"secret/token\" }\nca_file = \"authority/ca.crt\""
            }
            Anyone => "anonymous = true\nca_file = \"authority/ca.crt\"",
        };
        let config = on("oci", &here.url(), &format!("{PROD}first_poll = \"deploy\"\n"));
        let shop = Shop::with(&config.replace("token = { file = \"secret/token\" }", credential));
        shop.file("authority/ca.crt", &authority.pem);

        let ours = by_tagship(&shop);
        let leaks: Vec<String> =
            sent.lock().unwrap().iter().filter(|sent| sent.contains("Basic")).cloned().collect();
        assert!(leaks.is_empty(), "{seed}: {server:?}: a credential went elsewhere");
        let all: BTreeSet<String> = many(server.count).into_iter().collect();
        let is_nobody = server.asked == Anyone && server.challenge.is_some() && server.mixed == Some(200);
        let whole = if is_nobody { server.part().into_iter().collect() } else { all };
        let newest = whole.iter().max_by_key(|tag| semver::Version::parse(&tag[1..]).unwrap()).unwrap();
        if let Ok(found) = &ours {
            assert_eq!(
                found,
                &Found { tags: whole.clone(), digest: digest(&manifest(newest)) },
                "{seed}: {server:?}"
            );
        }
        match (by_skopeo(&shop, server.asked, &format!("127.0.0.1:{}", here.port()), newest), ours) {
            (Some(theirs), Ok(ours)) => {
                assert_eq!(theirs, ours, "{seed}: {server:?}");
                read += 1;
            }
            (Some(_), Err(message)) => {
                assert!(
                    is_listed(&message),
                    "{seed}: {server:?}: skopeo reads it, and tagship says: {message}"
                );
                let is_elsewhere = server.redirect == Redirect::Elsewhere && server.asked == Robot;
                let is_realm = server.challenge.is_some_and(|challenge| challenge.contains("ELSEWHERE"));
                assert!(is_elsewhere || is_realm, "{seed}: {server:?}: {message}");
                refused += 1;
            }
            (None, _) => {}
        }
    }
    assert!(read > RUNS / 4 && refused > 0, "of {RUNS} both read {read}, and tagship refused {refused}");
}
