//! Who asks: challenges, exchanges, tokens that expire, and what a refusal means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::http::{Answer, Reply, Request, Server};
use crate::oci::Script;
use crate::registry::{Build, Gitea, TOKEN, TOKEN_WITHOUT_SCOPE, WRONG_TOKEN};
use crate::transcript::recorded;

const DOOR: &str = "GET /v2/";
const LIST: &str = "GET /v2/acme/shop/tags/list?n=1000";
const NEXT: &str = "GET /v2/acme/shop/tags/list?n=1&last=v0.9.0";
const ASK: &str = "GET /token?service=images&scope=repository%3Aacme%2Fshop%3Apull";

fn tags() -> Reply {
    Answer::json(200, r#"{"name":"acme/shop","tags":["v1.0.0"]}"#).into()
}

/// A 401 with these values of `WWW-Authenticate`, a header each.
fn challenged(challenges: &[String]) -> Reply {
    let mut answer = Answer::json(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
    let headers = challenges.iter().map(|challenge| ("Www-Authenticate".to_owned(), challenge.clone()));
    answer.headers.extend(headers);
    answer.into()
}

fn bearer(port: u16) -> String {
    format!(
        "Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"images\",scope=\"repository:acme/shop:pull\""
    )
}

fn message(shop: &Shop, target: &str, code: &str) -> String {
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is(target, "unknown").error_is(target, code);
    shop.redact(run.target(target)["error"]["message"].as_str().unwrap())
}

/// Who asked: the scheme of each request's credential, and never the credential.
fn schemes(requests: &[Request]) -> Vec<String> {
    let scheme = |request: &Request| match request.header("authorization") {
        Some(header) => header.split(' ').next().unwrap().to_owned(),
        None => "nobody".to_owned(),
    };
    requests.iter().map(scheme).collect()
}

#[test]
fn a_challenge_is_found_in_any_company() {
    let basic = "Basic realm=\"images, and more\"".to_owned();
    for arrange in [
        |bearer: String, basic: String| vec![format!("{basic}, {bearer}")],
        |bearer, basic| vec![format!("{bearer}, {basic}")],
        |bearer, basic| vec![basic, bearer],
        |bearer, basic| vec![bearer, basic],
        |bearer, basic| vec!["Negotiate".to_owned(), basic, bearer],
    ] {
        let realm = Script::start([(ASK, Answer::json(200, r#"{"token":"planted-1"}"#).into())]);
        let refusal = challenged(&arrange(bearer(realm.port()), basic.clone()));
        let server = Script::start([(DOOR, refusal), (LIST, tags())]);
        let shop = Shop::with(&on("oci", &server.url(), PROD));
        shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
        assert_eq!(schemes(&server.requests()), ["nobody", "Bearer"]);
        assert_eq!(
            realm.requests()[0].basic_password().as_deref(),
            Some(TOKEN),
            "another port is the same host"
        );
    }
}

#[test]
fn a_token_comes_under_either_name_and_with_or_without_an_expiry() {
    for body in [
        r#"{"token":"planted-1"}"#,
        r#"{"access_token":"planted-1"}"#,
        r#"{"token":"planted-1","access_token":"planted-2","expires_in":300,"issued_at":"2026-11-23T14:00:00Z"}"#,
        r#"{"token":"","access_token":"planted-1"}"#,
        r#"{"token":null,"access_token":"planted-1"}"#,
    ] {
        let realm = Script::start([(ASK, Answer::json(200, body).into())]);
        let server = Script::start([(DOOR, challenged(&[bearer(realm.port())])), (LIST, tags())]);
        Shop::with(&on("oci", &server.url(), PROD)).run(&["poll"]).code(0);
        assert_eq!(server.requests()[1].bearer(), Some("planted-1"), "{body}");
    }
}

#[test]
fn an_answer_without_a_token_is_said_so() {
    for (status, body, code, what) in [
        (200, "{}", "protocol", "200 OK: the answer has no token"),
        (200, "<html>", "protocol", "200 OK: this is not a token"),
        (401, "", "unauthorized", "401 Unauthorized: the user name or password is wrong"),
        (403, "", "denied", "403 Forbidden: this user may not read the image"),
    ] {
        let realm = Script::start([(ASK, Answer::json(status, body).into())]);
        let server = Script::start([(DOOR, challenged(&[bearer(realm.port())]))]);
        let shop = Shop::with(&on("oci", &server.url(), PROD));
        let asked = ASK.replace("GET ", "GET http://127.0.0.1:[port]");
        assert_eq!(message(&shop, "shop/prod", code), format!("{asked}: {what}"));
    }
}

#[test]
fn a_token_that_a_server_repeats_is_masked_at_a_manual_deployment() {
    let said = format!(r#"{{"errors": [{{"code": "DENIED", "message": "not with {TOKEN}"}}]}}"#);
    let realm = Script::start([(ASK, Answer::json(403, said).into())]);
    let server = Script::start([(DOOR, challenged(&[bearer(realm.port())]))]);
    let shop = Shop::with(&on("oci", &server.url(), PROD));
    shop.run(&["deploy", "shop/prod", "v1.0.0"])
        .code(2)
        .stdout("")
        .stderr_has("error: cannot check that the tag exists (--force deploys it anyway): ")
        .stderr_has("not with ***");
}

#[test]
fn a_token_that_expired_is_exchanged_once_more() {
    let answers = ["planted-1", "planted-2"]
        .map(|token| (ASK, Answer::json(200, format!("{{\"token\":\"{token}\",\"expires_in\":1}}")).into()));
    let realm = Script::start(answers);
    let refusal = || challenged(&[bearer(realm.port())]);
    let first = Answer::json(200, r#"{"name":"acme/shop","tags":["v0.9.0"]}"#)
        .with("Link", format!("<{}>; rel=\"next\"", NEXT.replace("GET ", "")));
    let server = Script::start([(DOOR, refusal()), (LIST, first.into()), (NEXT, refusal()), (NEXT, tags())]);
    let shop = Shop::with(&on("oci", &server.url(), PROD));
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    let tokens: Vec<Option<String>> =
        server.requests().iter().map(|request| request.bearer().map(str::to_owned)).collect();
    let expected = [None, Some("planted-1"), Some("planted-1"), Some("planted-2")];
    assert_eq!(tokens, expected.map(|token| token.map(str::to_owned)));
}

#[test]
fn a_token_that_is_refused_again_at_once_is_not_exchanged_for_ever() {
    let realm = Script::start([(ASK, Answer::json(200, r#"{"token":"planted-1"}"#).into())]);
    let refusal = || challenged(&[bearer(realm.port())]);
    let server = Script::start([(DOOR, refusal()), (LIST, refusal())]);
    let shop = Shop::with(&on("oci", &server.url(), PROD));
    assert_eq!(
        message(&shop, "shop/prod", "unauthorized"),
        "GET http://127.0.0.1:[port]/v2/acme/shop/tags/list?n=1000: 401 Unauthorized ({\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}): \
         this user name and password (or anonymous access) may not read it; is the image's name right?"
    );
}

#[test]
fn credentials_go_to_another_host_for_a_token_where_it_is_trusted_only() {
    let elsewhere = Script::start([
        (ASK, Answer::json(200, r#"{"token":"planted-1"}"#).into()),
        (ASK, Answer::json(200, r#"{"token":"planted-2"}"#).into()),
    ]);
    let realm = bearer(elsewhere.port()).replace("127.0.0.1", "localhost");
    let refusal = || challenged(std::slice::from_ref(&realm));
    let server = Script::start([
        (DOOR, refusal()),
        (DOOR, refusal()),
        (DOOR, refusal()),
        (LIST, tags()),
        (DOOR, refusal()),
        (LIST, tags()),
    ]);
    let config = on("oci", &server.url(), PROD);
    let shop = Shop::with(&config);
    let refused = format!(
        "GET http://127.0.0.1:[port]/v2/: 401 Unauthorized: it issues tokens at http://localhost:{}, but \
         tagship requests tokens only from the registry's own host with the same scheme; if that host belongs to the registry, add it to trusted_realms \
         (Gitea and Forgejo use ROOT_URL of their app.ini, which should be the same as url)",
        elsewhere.port()
    );
    assert_eq!(message(&shop, "shop/prod", "denied"), refused);
    assert!(elsewhere.requests().is_empty());

    let trusting = |realms: &str| config.replace("token =", &format!("trusted_realms = [{realms}]\ntoken ="));
    shop.config(&trusting("\"localhost:1\", \"auth.example.com\""));
    assert_eq!(message(&shop, "shop/prod", "denied"), refused);
    assert!(elsewhere.requests().is_empty());

    for realm in ["\"localhost\"".to_owned(), format!("\"localhost:{}\"", elsewhere.port())] {
        shop.config(&trusting(&realm));
        shop.run(&["poll"]).code(0);
    }
    assert_eq!(elsewhere.requests()[0].basic_password().as_deref(), Some(TOKEN));
}

#[test]
fn where_a_realm_is_not_trusted_basic_does_if_the_server_takes_it() {
    let elsewhere = Script::start([]);
    let realm = bearer(elsewhere.port()).replace("127.0.0.1", "localhost");
    let refusal = challenged(&[realm, "Basic realm=\"images\"".to_owned()]);
    let server = Script::start([(DOOR, refusal), (LIST, tags())]);
    Shop::with(&on("oci", &server.url(), PROD)).run(&["poll"]).code(0);
    assert_eq!(schemes(&server.requests()), ["nobody", "Basic"]);
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_realm_elsewhere_is_asked_for_public_images_where_it_is_trusted_only() {
    let elsewhere = Script::start([(ASK, Answer::json(200, r#"{"token":"planted-1"}"#).into())]);
    let realm = bearer(elsewhere.port()).replace("127.0.0.1", "localhost");
    let refusal = || challenged(std::slice::from_ref(&realm));
    let server = Script::start([(LIST, refusal()), (LIST, refusal()), (LIST, tags())]);
    let config =
        on("oci", &server.url(), PROD).replace("token = { file = \"secret/token\" }", "anonymous = true");
    let shop = Shop::with(&config);
    let refused = message(&shop, "shop/prod", "denied");
    assert!(refused.contains("add it to trusted_realms"), "{refused}");
    assert!(
        elsewhere.requests().is_empty(),
        "a server must not make tagship send requests to other addresses"
    );

    shop.config(&config.replace("anonymous = true", "anonymous = true\ntrusted_realms = [\"localhost\"]"));
    shop.run(&["poll"]).code(0);
    assert_eq!(schemes(&elsewhere.requests()), ["nobody"]);
}

/// A Gitea with twelve images, and a configuration for them.
fn many_images(build: Build) -> (Gitea, String) {
    let gitea = Gitea::start(build);
    let mut stages = PROD.to_owned();
    for number in 0..12 {
        gitea.push(&format!("acme/app-{number}"), "v1.0.0", "2026-11-20T10:00:00Z");
        stages += &format!("[projects.p{number}]\nregistry = \"git\"\nimage = \"acme/app-{number}\"\n");
        stages += &PROD.replace("projects.shop", &format!("projects.p{number}"));
    }
    gitea.push("acme/shop", "v1.0.0", "2026-11-20T10:00:00Z");
    let config = on_gitea(&gitea, &stages);
    (gitea, config)
}

#[test]
fn one_exchange_serves_a_run_and_one_more_where_the_token_expires_under_it() {
    for build in Build::ALL {
        let (gitea, config) = many_images(build);
        Shop::with(&config).run(&["poll"]).code(0);
        assert_eq!(gitea.count("/v2/token"), 1, "{build:?}");
        gitea.take_requests();

        // The token of the next run is refused once four requests have been made with it.
        let expired = gitea.recorded("more/07-tags-list-expired-jwt");
        let (served, first) = (AtomicUsize::new(0), Arc::new(std::sync::Mutex::new(None::<String>)));
        gitea.intercept(move |request| {
            let token = request.bearer()?;
            let mut first = first.lock().unwrap();
            let is_first = first.get_or_insert_with(|| token.to_owned()) == token;
            (is_first && served.fetch_add(1, Ordering::SeqCst) >= 4).then(|| expired.clone().into())
        });
        Shop::with(&config).run(&["poll"]).code(0);
        assert_eq!(gitea.count("/v2/token"), 2, "{build:?}");
    }
}

#[test]
fn the_401_of_gitea_explains_the_fault_of_a_token() {
    const WRONG: &str = "the token is wrong or has expired (or the server's database failed); create one with the scope read:package";
    const NO_RIGHT: &str = "the token is valid, but may not read this: it needs the scope read:package, and its user must have access to the owner and must not be blocked";
    const LIST: &str = "GET http://127.0.0.1:[port]/v2/acme/shop/tags/list: 401 Unauthorized";
    for build in Build::ALL {
        let gitea = crate::first_poll::gitea(build);
        let shop = Shop::with(&on_gitea(&gitea, PROD));
        shop.secret("token", WRONG_TOKEN);
        let said = if build == Build::GiteaNew { "Failed to authenticate user" } else { "authGroup.Verify" };
        assert_eq!(
            message(&shop, "shop/prod", "unauthorized"),
            format!("{LIST} ({said}): {WRONG}"),
            "{build:?}"
        );

        shop.config(&on_gitea(&gitea, PROD).replace("token =", "username = \"ci\"\ntoken ="));
        assert_eq!(
            message(&shop, "shop/prod", "unauthorized"),
            format!(
                "{LIST} ({said}): {WRONG}; a password is not enough if the account has two-factor authentication"
            )
        );

        let mut shop =
            Shop::with(&on_gitea(&gitea, PROD).replace("file = \"secret/token\"", "env = \"GITEA_TOKEN\""));
        shop.env("GITEA_TOKEN", WRONG_TOKEN);
        assert_eq!(
            message(&shop, "shop/prod", "unauthorized"),
            format!(
                "{LIST} ({said}): {WRONG}; on most servers the automatic token of a Gitea Actions job cannot read packages: store a user's token as a secret"
            )
        );

        // Blocked, or the owner is not to be seen: valid, and no second exchange helps.
        gitea.take_requests();
        gitea.intercept_all("tags/list", gitea.recorded("more/33-tags-list-login-prohibited"));
        let shop = Shop::with(&on_gitea(&gitea, PROD));
        assert_eq!(message(&shop, "shop/prod", "denied"), format!("{LIST} (reqPackageAccess): {NO_RIGHT}"));
        assert_eq!((gitea.count("/v2/token"), gitea.count("tags/list")), (1, 1), "{build:?}");
    }
}

#[test]
fn a_token_without_its_scope_reads_what_the_build_lets_it() {
    for build in Build::ALL {
        let gitea = crate::first_poll::gitea(build);
        let shop = Shop::with(&on_gitea(&gitea, PROD));
        shop.secret("token", TOKEN_WITHOUT_SCOPE);
        if build == Build::GiteaNew {
            let message = message(&shop, "shop/prod", "denied");
            assert!(message.contains("(reqPackageAccess): the token is valid, but may not read this: it needs the scope read:package"));
        } else {
            // Old servers hand out a JWT that reads everything.
            shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.10.0"]);
        }
    }
}

#[test]
fn a_token_for_public_packages_and_one_without_scope_are_distinguished() {
    let gitea = crate::first_poll::gitea(Build::GiteaNew);
    gitea.intercept_all("tags/list", gitea.recorded("more/15-tags-list-public-only-token"));
    let shop = Shop::with(&on_gitea(&gitea, PROD));
    assert_eq!(
        message(&shop, "shop/prod", "denied"),
        "GET http://127.0.0.1:[port]/v2/acme/shop/tags/list: 403 Forbidden (reqToken): the token may not read this; is it limited to public packages?"
    );
}

#[test]
fn a_required_token_that_is_missing_is_explained() {
    const MAKE_ONE: &str = "it requires a token; create one with the scope read:package and set token";
    for build in Build::ALL {
        let gitea = crate::first_poll::gitea(build);
        let anonymous = |text: &str| text.replace("token = { file = \"secret/token\" }", "anonymous = true");
        let shop = Shop::with(&anonymous(&on_gitea(&gitea, PROD)));
        shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.10.0"]);

        gitea.private_owner("hidden");
        gitea.push("hidden/shop", "v9.0.0", "2026-11-20T10:00:00Z");
        let shop = Shop::with(&anonymous(&on_gitea(&gitea, PROD)).replace("acme/shop", "hidden/shop"));
        let refused = message(&shop, "shop/prod", "unauthorized");
        assert!(
            refused.ends_with(&format!(
                "/v2/hidden/shop/tags/list: 401 Unauthorized (reqPackageAccess): {MAKE_ONE}"
            )),
            "{refused}"
        );

        // An instance that requires sign-in.
        gitea.intercept_all("/v2/token", gitea.recorded("more/38-sign-in-required-token-anonymous"));
        let shop = Shop::with(&anonymous(&on_gitea(&gitea, PROD)));
        let refused = message(&shop, "shop/prod", "unauthorized");
        assert!(
            refused.starts_with(
                "GET http://127.0.0.1:[port]/v2/token?service=container_registry&scope=*: 401 Unauthorized ("
            ),
            "{refused}"
        );
        assert!(refused.ends_with(&format!("): {MAKE_ONE}")), "{refused}");

        let shop = Shop::with(&anonymous(&on_gitea(&gitea, DEV)));
        let refused = message(&shop, "shop/dev", "unauthorized");
        assert!(refused.contains("need a token with the scope read:package"), "{refused}");
    }
}

/// New Gitea below `/forge`, as it answers there: the registry API at the root of the host.
fn below_forge(request: &Request) -> Reply {
    let name = match (request.target.as_str(), request.header("authorization")) {
        (target, Some(_)) if target.starts_with("/v2/token?") => "04-token-exchange",
        ("/v2/acme/shop/tags/list", Some(_)) => "more/41-sub-path-tags-list",
        (target, Some(_)) if target.starts_with("/forge/api/v1/packages/acme/container/shop?") => {
            return Answer::json(
                200,
                r#"[{"id":2,"name":"shop","version":"dev-2","created_at":"2026-11-20T10:00:00Z"}]"#,
            )
            .with("X-Total-Count", "1")
            .into();
        }
        ("/v2/acme/shop/manifests/dev-2", Some(_)) => "17-head-manifest",
        _ => return Answer::new(599, "text/plain", "nobody scripted this request").into(),
    };
    recorded("gitea-new", name).into()
}

#[test]
fn an_installation_below_a_path_has_its_registry_at_the_root() {
    let server = Server::start(below_forge);
    for url in [format!("{}/forge", server.url()), format!("{}/forge/", server.url())] {
        let shop = Shop::with(&on("gitea", &url, DEV));
        shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-2"]);
    }
}

#[test]
fn the_package_api_may_be_at_another_address() {
    let registry = Server::start(below_forge);
    let is_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_asked);
    let api = Server::start(move |request| {
        asked.store(true, Ordering::SeqCst);
        assert_eq!(request.header("authorization"), Some(format!("token {TOKEN}").as_str()));
        below_forge(request)
    });
    for path in ["/forge/api/v1", "/forge/api/v1/"] {
        let config = on("gitea", &registry.url(), DEV)
            .replace("token =", &format!("api_url = \"{}{path}\"\ntoken =", api.url()));
        let shop = Shop::with(&config);
        shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-2"]);
        assert!(is_asked.swap(false, Ordering::SeqCst));
    }
}
