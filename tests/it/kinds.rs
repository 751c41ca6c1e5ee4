//! GitHub, Docker Hub and GitLab: what each does beside or instead of plain OCI.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{DEV, PROD, Shop, on};
use crate::http::{Answer, Reply, Server};
use crate::login::BUS;
use crate::oci::{Door, Oci, Script};
use crate::registry::{TOKEN, digest_of};

/// A configuration whose API is at another address than its registry.
fn with_api(kind: &str, registry: &str, api: &str, stages: &str) -> String {
    on(kind, registry, stages).replace("token =", &format!("api_url = \"{api}\"\ntoken ="))
}

fn registry(tags: &[&str]) -> Oci {
    let registry = Oci::start(Door::Bearer, 100);
    tags.iter().for_each(|tag| registry.push("acme/shop", tag));
    registry
}

const PROBE: &str = "GET /api/v3/user/packages?package_type=container&per_page=1";
const VERSIONS: &str = "GET /api/v3/orgs/acme/packages/container/shop/versions?per_page=100&page=1";

/// A page of GitHub's package versions, of `tags second` pairs.
fn versions(rows: &[(&[&str], &str)]) -> Reply {
    let row = |(index, (tags, second)): (usize, &(&[&str], &str))| {
        serde_json::json!({
            "id": 1000 - index, "name": digest_of(second), "created_at": format!("2026-11-20T10:00:{second}Z"),
            "updated_at": "2026-11-22T10:00:00Z", "package_html_url": "https://github.com/orgs/acme/packages",
            "metadata": {"package_type": "container", "container": {"tags": tags}},
        })
    };
    let rows: Vec<_> = rows.iter().enumerate().map(row).collect();
    Answer::json(200, serde_json::Value::from(rows).to_string()).into()
}

#[test]
fn github_tells_push_times_where_the_token_may_read_them() {
    let registry = registry(&["dev-9", "dev-10", "dev-11"]);
    let nothing = || Reply::from(Answer::json(200, "[]"));
    let api = Script::start([
        (PROBE, nothing()),
        (VERSIONS, versions(&[(&["dev-9"], "20"), (&[], "15"), (&["dev-10"], "10")])),
        (PROBE, nothing()),
        (VERSIONS, versions(&[(&["dev-11", "other"], "30"), (&["dev-9"], "20"), (&["dev-10"], "10")])),
    ]);
    let shop = Shop::with(&with_api("github", &registry.url(), &format!("{}/api/v3", api.url()), DEV));
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-9"]);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-11"]);
    assert_eq!(shop.delivered(), ["shop/dev dev-11"]);
    for request in api.requests() {
        assert_eq!(request.bearer(), Some(TOKEN), "{}", request.line());
        assert_eq!(request.header("x-github-api-version"), Some("2022-11-28"));
    }
    assert_eq!(registry.count("tags/list"), 0, "the API has the tags, too");
}

#[test]
fn github_asks_for_the_packages_of_a_user_where_there_is_no_such_organisation() {
    let registry = Oci::start(Door::Bearer, 100);
    registry.push("acme/team/api", "dev-1");
    let gone = Answer::json(404, r#"{"message": "Package not found.", "status": "404"}"#);
    let api = Script::start([
        (PROBE, Answer::json(200, "[]").into()),
        (
            "GET /api/v3/orgs/acme/packages/container/team%2Fapi/versions?per_page=100&page=1",
            gone.clone().into(),
        ),
        (
            "GET /api/v3/users/acme/packages/container/team%2Fapi/versions?per_page=100&page=1",
            versions(&[(&["dev-1"], "20")]),
        ),
        (PROBE, Answer::json(200, "[]").into()),
        (
            "GET /api/v3/orgs/acme/packages/container/team%2Fapi/versions?per_page=100&page=1",
            gone.clone().into(),
        ),
        ("GET /api/v3/users/acme/packages/container/team%2Fapi/versions?per_page=100&page=1", gone.into()),
    ]);
    let config = with_api("github", &registry.url(), &format!("{}/api/v3", api.url()), DEV);
    let shop = Shop::with(&config.replace("acme/shop", "acme/team/api"));
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-1"]);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).error_is("shop/dev", "not_found");
    let message = run.target("shop/dev")["error"]["message"].clone();
    assert_eq!(
        shop.redact(message.as_str().unwrap()),
        "GET http://127.0.0.1:[port]/api/v3/users/acme/packages/container/team%2Fapi/versions?per_page=100&page=1: 404 Not Found ({\"message\": \"Package not found.\", \"status\": \"404\"}): the package does not exist, or the token has no access to it; is the name right?"
    );
}

#[test]
fn github_without_the_scope_goes_by_first_sight() {
    let registry = registry(&["dev-9"]);
    let refused = || Answer::json(403, r#"{"message": "You need at least read:packages scope"}"#).into();
    let api = Script::start([(PROBE, refused()), (PROBE, refused())]);
    let shop = Shop::with(&with_api("github", &registry.url(), &format!("{}/api/v3", api.url()), DEV));
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-9"]);
    registry.push("acme/shop", "dev-10");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-10"]);
}

/// By first sight all tags are as new: names would decide, and dev-9 is greater by bytes than dev-10.
#[test]
fn github_that_no_longer_gives_times_is_an_outage_and_nothing_goes_back() {
    let registry = registry(&["dev-8", "dev-9", "dev-10"]);
    let refused = || Answer::json(403, r#"{"message": "You need at least read:packages scope"}"#).into();
    let granted = || Answer::json(200, "[]").into();
    let dated = || versions(&[(&["dev-10"], "20"), (&["dev-9"], "15"), (&["dev-8"], "10")]);
    let api = Script::start([
        (PROBE, granted()),
        (VERSIONS, dated()),
        (PROBE, refused()),
        (PROBE, granted()),
        (VERSIONS, dated()),
        (PROBE, refused()),
        (PROBE, refused()),
    ]);
    let shop = Shop::with(&with_api("github", &registry.url(), &format!("{}/api/v3", api.url()), DEV));
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-10"]);
    shop.run(&["poll"]).code(1).line(
        "shop/dev",
        &[
            "unknown",
            "no longer gives the push times, by which dev-10 was the newest tag",
            "tagship mark shop/dev dev-10 --reset",
        ],
    );
    shop.run(&["poll"]).code(0).line("shop/dev", &["up_to_date", "recovered"]);
    shop.run(&["mark", "shop/dev", "dev-10", "--reset"]).code(0);
    shop.run(&["poll", "-v"]).code(0).line("shop/dev", &["up_to_date"]);
    registry.push("acme/shop", "dev-11");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-11"]);
}

#[test]
fn github_without_a_token_is_not_sent_for_times() {
    let registry = registry(&["dev-9"]);
    let api = Script::start([]);
    let config = with_api("github", &registry.url(), &api.url(), DEV)
        .replace("token = { file = \"secret/token\" }", "anonymous = true");
    Shop::with(&config).run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-9"]);
}

/// What GitHub's limits say: the hourly one by when it is over, one against bursts by how long to wait.
#[test]
fn githubs_limits_and_missing_rights_are_distinguished() {
    let registry = registry(&["dev-9"]);
    let refused = || Answer::json(403, r#"{"message": "a limit"}"#);
    let in_half_an_hour = (jiff::Timestamp::now().as_second() + 1800).to_string();
    let hourly = refused().with("X-RateLimit-Remaining", "0").with("X-RateLimit-Reset", &in_half_an_hour);
    let burst = refused().with("X-RateLimit-Remaining", "4000").with("Retry-After", "60");
    for limited in [hourly, burst] {
        // Once it has said so, it is not asked for anything more.
        let api = Script::start([(PROBE, limited.into())]);
        let shop = Shop::with(&with_api("github", &registry.url(), &format!("{}/api/v3", api.url()), DEV));
        let run = shop.run(&["poll", "--format", "json"]);
        let error = run.code(1).error_is("shop/dev", "rate_limited").target("shop/dev")["error"].clone();
        assert_eq!(
            shop.redact(error["message"].as_str().unwrap()),
            "not sent: GET http://127.0.0.1:[port]/api/v3/user/packages?…: 403 Forbidden ({\"message\": \"a limit\"}): the server allows no request before [time]"
        );
    }
}

const HUB_TAGS: &str = "GET /v2/repositories/library/nginx/tags?page_size=100&page=1";

/// A tag of Hub's API.
fn hub_tag(name: &str, second: u32, architectures: &[&str]) -> serde_json::Value {
    let image = |architecture: &&str| {
        serde_json::json!({"architecture": architecture, "features": "", "variant": null, "os": "linux",
            "digest": digest_of(name), "size": 28_000_000, "status": "active"})
    };
    serde_json::json!({
        "id": second, "name": name, "last_updated": format!("2026-11-20T10:00:{second}.123456Z"),
        "tag_last_pushed": null, "images": architectures.iter().map(image).collect::<Vec<_>>(),
    })
}

fn hub_page(count: usize, next: Option<&str>, tags: Vec<serde_json::Value>) -> Reply {
    let page = serde_json::json!({"count": count, "next": next, "previous": null, "results": tags});
    Answer::json(200, page.to_string()).into()
}

#[test]
fn docker_hub_is_asked_for_the_library_and_never_for_a_manifest() {
    // The registry fails the test where a manifest is asked for by GET.
    let registry = Oci::start(Door::Bearer, 100);
    registry.push("library/nginx", "dev-9");
    registry.push("library/nginx", "dev-10");
    let gated = DEV.to_owned() + "platforms = [\"linux/arm64\"]\n";
    let api = Script::start([
        (HUB_TAGS, hub_page(2, Some("https://hub.docker.com/next"), vec![hub_tag("dev-8", 30, &["amd64"])])),
        (
            "GET /v2/repositories/library/nginx/tags?page_size=100&page=2",
            hub_page(2, None, vec![hub_tag("old", 10, &["amd64"])]),
        ),
        (HUB_TAGS, hub_page(3, None, vec![hub_tag("dev-10", 50, &[]), hub_tag("dev-8", 30, &[])])),
        ("GET /v2/repositories/library/nginx/tags/dev-10", {
            Answer::json(200, hub_tag("dev-10", 50, &["amd64", "arm64"]).to_string()).into()
        }),
    ]);
    let config = with_api("dockerhub", &registry.url(), &api.url(), &gated).replace("acme/shop", "nginx");
    let shop = Shop::with(&config);
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-8"]);
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-10"]);
    assert!(
        registry.requests().iter().any(|request| request.line() == "HEAD /v2/library/nginx/manifests/dev-10")
    );
    // Without a user name there is nothing to exchange.
    assert!(api.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn docker_hub_is_called_docker_io() {
    let registry = "[registries.hub]\nkind = \"dockerhub\"\nanonymous = true\n";
    let project = "[projects.web]\nregistry = \"hub\"\nimage = \"nginx\"\n";
    let shop = Shop::with(&format!("{registry}{project}{}", PROD.replace("projects.shop", "projects.web")));
    let run = shop.run(&["tags", "web/prod", "--offline", "--format", "json"]);
    assert_eq!(run.code(0).json()["image"], "docker.io/nginx");
}

#[test]
fn a_token_of_docker_hub_without_its_user_name_is_warned_of() {
    let warning = "warning: registries.git.token: Docker Hub requires a user name beside the token\n\
                   --> [dir]/tagship.toml:6:9\n \
                   = help: add username = \"…\"\n";
    for (lines, expected) in [
        ("token = { env = \"HUB\" }", warning),
        ("token = { env = \"HUB\" }\nusername = \"robot\"", ""),
        ("token = { keyring = \"hub\" }", ""),
        ("anonymous = true", ""),
    ] {
        let config = with_api("dockerhub", "http://127.0.0.1:1", "http://127.0.0.1:1", PROD);
        let shop = Shop::with(&config.replace("token = { file = \"secret/token\" }", lines));
        shop.run(&["check"]).code(0).stderr(expected);
    }
}

#[test]
fn docker_hubs_api_has_its_own_token_requested_once() {
    let registry = Oci::start(Door::Bearer, 100);
    registry.push("acme/shop", "dev-9");
    registry.push("acme/worker", "dev-9");
    let api = Server::start(|request| match request.line().as_str() {
        "POST /v2/auth/token" => {
            assert_eq!(request.json(), serde_json::json!({"identifier": "robot", "secret": TOKEN}));
            Answer::json(200, r#"{"access_token": "planted-hub-token"}"#).into()
        }
        _ if request.bearer() != Some("planted-hub-token") => Answer::json(401, "{}").into(),
        _ => hub_page(1, None, vec![hub_tag("dev-9", 30, &[])]),
    });
    let worker = DEV.replace("projects.shop", "projects.worker");
    let config = with_api("dockerhub", &registry.url(), &api.url(), DEV)
        .replace("token =", "connections = 1\nusername = \"robot\"\ntoken =");
    let config = format!("{config}[projects.worker]\nregistry = \"git\"\nimage = \"acme/worker\"\n{worker}");
    let shop = Shop::with(&config);
    let run = shop.run(&["poll", "--format", "json"]);
    // Two listings, one exchange; the baseline of each asks for its digest with one exchange of the registry's.
    run.code(0).status_is("shop/dev", "baseline").status_is("worker/dev", "baseline");
    assert_eq!(run.json()["requests"].as_u64().unwrap() - registry.requests().len() as u64, 3);
}

#[test]
fn docker_hub_is_left_alone_when_no_pull_remains() {
    let heads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heads);
    let server = Server::start(move |request| {
        if request.method == "HEAD" {
            counted.fetch_add(1, Ordering::SeqCst);
            return Answer::json(200, "")
                .with("Docker-Content-Digest", digest_of("x"))
                .with("RateLimit-Limit", "100;w=21600")
                .with("RateLimit-Remaining", "0;w=21600")
                .into();
        }
        Answer::json(200, r#"{"name": "acme/shop", "tags": ["v1.0.0", "w1.0.0"]}"#).into()
    });
    // What one stage asks of a tag, another need not.
    let late = PROD.replace("stages.prod", "stages.late").replace("v*", "w*");
    let stages = format!("{PROD}first_poll = \"deploy\"\n{late}first_poll = \"deploy\"\n");
    let shop = Shop::with(&on("dockerhub", &server.url(), &stages));
    let run = shop.run(&["poll", "--format", "json"]);
    let targets = ["shop/prod", "shop/late"].map(|target| run.target(target));
    let limited: Vec<_> = targets.iter().filter(|target| !target["error"].is_null()).collect();
    assert_eq!(limited.len(), 1, "the answer at hand is used, and nothing is asked after it: {targets:?}");
    assert_eq!(limited[0]["error"]["code"], "rate_limited");
    assert_eq!(
        shop.redact(limited[0]["error"]["message"].as_str().unwrap()),
        "not sent: Docker Hub's limit of pulls is used up; a token or a paid plan raises it; next try after [time]"
    );
    assert_eq!(heads.load(Ordering::SeqCst), 1);
}

#[test]
fn gitlab_gives_tokens_for_its_registry_from_another_host() {
    let gitlab = Server::start(|request| {
        assert_eq!(
            request.target,
            "/jwt/auth?service=container_registry&scope=repository%3Aacme%2Fshop%3Apull"
        );
        assert_eq!(request.basic(), Some(("robot".to_owned(), TOKEN.to_owned())));
        Answer::json(200, r#"{"token": "planted-jwt-of-gitlab"}"#).into()
    });
    let realm = format!("http://localhost:{}/jwt/auth", gitlab.port());
    let challenge = format!(
        "Bearer realm=\"{realm}\",service=\"container_registry\",scope=\"repository:acme/shop:pull\""
    );
    let server = Server::start(move |request| {
        if request.bearer() != Some("planted-jwt-of-gitlab") {
            return Answer::json(401, "{}").with("Www-Authenticate", challenge.clone()).into();
        }
        Answer::json(200, r#"{"name": "acme/shop", "tags": ["v1.0.0"]}"#)
            .with("Docker-Content-Digest", digest_of("x"))
            .into()
    });
    let config = on("gitlab", &server.url(), PROD).replace("token =", "username = \"robot\"\ntoken =");
    let shop = Shop::with(&config);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).error_is("shop/prod", "denied");

    shop.config(
        &config.replace("token =", &format!("api_url = \"http://localhost:{}\"\ntoken =", gitlab.port())),
    );
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
}

#[test]
#[cfg_attr(not(feature = "keyring"), ignore = "needs the feature keyring")]
fn login_says_where_a_token_of_github_may_not_read_push_times() {
    let registry = registry(&["dev-1"]);
    let api = Script::start([(PROBE, Answer::json(403, "{}").into())]);
    let config = with_api("github", &registry.url(), &format!("{}/api/v3", api.url()), DEV);
    let shop = Shop::with(&config.replace("token = { file = \"secret/token\" }\n", ""));
    let script = format!("export {BUS}; exec \"$@\" < secret/token");
    let run = shop.run_under(&["sh", "-c", &script, "sh"], &["login", "git", "--stdin"]);
    run.code(1).stderr_has(
        "git: the registry accepts the token: it may read images, but not their push times (scope read:packages), but the keyring",
    );
}

/// Answers of the kinds' own APIs that are something else: never a list without tags.
#[test]
fn an_answer_of_another_shape_is_an_error_with_its_place() {
    let registry = registry(&["dev-9"]);
    for (kind, status, body, code, advice) in [
        ("github", 200, "<html>", "protocol", "this is not a list of package versions"),
        ("github", 401, "{}", "unauthorized", "({}): the token is wrong or has expired"),
        ("github", 418, "{}", "protocol", "({}): this is not an answer of GitHub; is api_url right?"),
        ("dockerhub", 200, "[]", "protocol", "this is not a list of tags"),
        (
            "dockerhub",
            401,
            "{}",
            "unauthorized",
            "({}): it requires authentication; add token, with username",
        ),
        ("dockerhub", 403, "{}", "denied", "({}): this user may not read the image"),
        ("dockerhub", 418, "{}", "protocol", "({}): this is not an answer of Docker Hub; is api_url right?"),
    ] {
        let api = Server::start(move |request| {
            let is_probe = request.path() == "/user/packages";
            if is_probe { Answer::json(200, "[]") } else { Answer::json(status, body) }.into()
        });
        let shop = Shop::with(&with_api(kind, &registry.url(), &api.url(), DEV));
        let run = shop.run(&["poll", "--format", "json"]);
        let error = run.code(1).error_is("shop/dev", code).target("shop/dev")["error"].clone();
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("GET http://127.0.0.1:") && message.ends_with(advice), "{kind}: {error}");
    }
}
