//! An address that is nearly right: the error names the right one.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::http::{Answer, Request, Server};
use crate::registry::{Build, Gitea};
use crate::transcript::recorded;

/// The error of a target's poll.
#[track_caller]
fn error(shop: &Shop, target: &str, code: &str) -> String {
    let run = shop.run(&["poll", "--format", "json"]);
    let error = run.code(1).error_is(target, code).target(target)["error"].clone();
    shop.redact(error["message"].as_str().unwrap())
}

/// A forge at the root of its host. A path that none of its interfaces has is a missing page, or below `/v2` an image, for
/// which its registry asks everyone to sign in.
fn at_the_root(build: Build) -> Gitea {
    let gitea = gitea(build);
    gitea.intercept(move |request| {
        let is_known =
            ["/v2/acme/shop/", "/v2/token", "/api/v1/packages/", "/api/v1/version", "/api/forgejo/"]
                .iter()
                .any(|start| request.target.starts_with(start));
        if is_known || request.path() == "/v2/" {
            return None;
        }
        let answer = match (request.path().starts_with("/v2/"), request.header("authorization")) {
            (true, None) => recorded(build.folder(), "03-tags-list-no-credentials"),
            (true, Some(_)) => recorded(build.folder(), "16-tags-list-token-as-bearer"),
            (false, _) => Answer::new(404, "text/plain", "Not found.\n"),
        };
        Some(answer.into())
    });
    gitea
}

const FOUND: &str = "the forge answers at http://127.0.0.1:[port]: set url to it";

#[test]
fn a_url_with_more_than_the_forges_address_is_answered_with_the_correction() {
    for build in Build::ALL {
        let paths: &[&str] = match build {
            Build::GiteaNew => &[
                "/acme",
                "/acme/shop",
                "/acme/-/packages/container/shop/dev-42",
                "/v2",
                "/v2/acme",
                "/api/v1",
            ],
            Build::GiteaOld | Build::Forgejo => &["/acme/shop"],
        };
        for path in paths {
            let gitea = at_the_root(build);
            let shop = Shop::with(&on("gitea", &format!("{}{path}", gitea.url()), &format!("{DEV}{PROD}")));
            let (code, status, said) = if path.starts_with("/v2") {
                ("unauthorized", "401 Unauthorized", "Failed to authenticate user")
            } else {
                ("not_found", "404 Not Found", "Not found.")
            };
            shop.run(&["check", "--online"]).code(1).stdout_has(&format!(
                "git        failed  GET http://127.0.0.1:[port]{path}/api/v1/version: {status}: {FOUND}\n"
            ));
            let asked = gitea.take_requests();
            let asked = asked.iter().filter(|line| line.ends_with("/version")).count();
            assert!(asked <= 4, "{path}: two for what it is, at most two for where it is, and not {asked}");

            let message = error(&shop, "shop/dev", code);
            assert!(message.ends_with(&format!("{status} ({said}): {FOUND}")), "{message}");
            let asked = gitea.take_requests();
            let asked = asked.iter().filter(|line| line.ends_with("/version")).count();
            assert!(asked <= 2, "{path}: {asked} requests for its address");
        }
    }
}

/// Below `/forge`; the rest of the host is another server's.
fn below_a_path(folder: &'static str) -> Server {
    Server::start(move |request: &Request| {
        let name = match (request.path(), request.header("authorization")) {
            ("/v2/" | "/v2/acme/shop/tags/list", None) => "more/40-sub-path-challenge",
            ("/v2/acme/shop/tags/list", Some(_)) => "more/41-sub-path-tags-list",
            ("/forge/api/v1/version", _) => "more/43-sub-path-version",
            _ => return Answer::new(404, "text/html", "<html>nginx</html>").into(),
        };
        recorded(folder, name).into()
    })
}

#[test]
fn a_url_without_the_path_of_the_forge_is_answered_with_the_correction() {
    for (folder, found) in [
        ("gitea-old", "the forge answers at http://127.0.0.1:[port]/forge: set url to it"),
        ("forgejo", "the forge answers at http://127.0.0.1:[port]/forge: set url to it"),
        // It does not name its path.
        (
            "gitea-new",
            "the forge's registry answers here, but its API does not: set url to the address of its web page, with the path",
        ),
    ] {
        let server = below_a_path(folder);
        let shop = Shop::with(&on("gitea", &server.url(), DEV));
        shop.run(&["check", "--online"]).code(1).stdout_has(&format!(
            "git       failed  GET http://127.0.0.1:[port]/api/v1/version: 404 Not Found: {found}\n"
        ));
        let message = error(&shop, "shop/dev", "not_found");
        assert!(message.ends_with(&format!(": {found}")), "{folder}: {message}");
    }
}

#[test]
fn registry_that_the_proxy_does_not_pass_on_is_named() {
    const NOT_PASSED: &str = "the forge answers here, but its registry does not: \
                              its reverse proxy must pass on /v2 at the root of the host";
    for page in [
        Answer::new(404, "text/html", "<html>nginx</html>"),
        Answer::new(200, "text/html", "<html>app</html>"),
    ] {
        for build in Build::ALL {
            let gitea = gitea(build);
            gitea.intercept_all("/v2/", page.clone());
            let shop = Shop::with(&on_gitea(&gitea, PROD));
            let run = shop.run(&["poll", "--format", "json"]);
            let message = run.code(1).target("shop/prod")["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.ends_with(NOT_PASSED), "{build:?} {}: {message}", page.status);
            assert!(gitea.count("") <= 6, "{build:?}: {:#?}", gitea.take_requests());
            shop.run(&["check", "--online"])
                .code(1)
                .stdout_has("shop/prod  failed  GET http://127.0.0.1:[port]/v2/acme/shop/tags/list: ")
                .stdout_has(&format!("{NOT_PASSED}\n"));
        }
    }
}

#[test]
fn an_oci_url_with_a_path_is_answered_with_the_correction() {
    let server = Server::start(|request: &Request| match request.path() {
        "/v2/" => Answer::json(200, "{}").into(),
        "/v2/acme/shop/tags/list" => Answer::json(200, r#"{"tags":["v1.0.0"]}"#).into(),
        _ => Answer::json(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#).into(),
    });
    for path in ["/v2", "/acme", "/acme/shop"] {
        let shop = Shop::with(&on("oci", &format!("{}{path}", server.url()), PROD));
        let found = "a registry answers at http://127.0.0.1:[port]: set url to it";
        shop.run(&["check", "--online"])
            .code(1)
            .stdout_has("git        failed  ")
            .stdout_has(&format!("{found}\n"));
        let message = error(&shop, "shop/prod", "not_found");
        assert!(message.ends_with(found), "{path}: {message}");
    }
    // A registry below a path without the image is none of it.
    let server = Server::start(|request: &Request| match request.path() {
        "/sub/v2/" | "/v2/" => Answer::json(200, "{}").into(),
        _ => Answer::json(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#).into(),
    });
    let shop = Shop::with(&on("oci", &format!("{}/sub", server.url()), PROD));
    let message = error(&shop, "shop/prod", "not_found");
    assert!(
        message.ends_with("the image does not exist; is its name right, and was it ever pushed?"),
        "{message}"
    );
}

#[test]
fn a_disabled_user_is_not_advised_to_add_a_scope() {
    let message = |text: &str| {
        Answer::json(
            403,
            serde_json::json!({"message": text, "url": "http://git.example.test/api/swagger"}).to_string(),
        )
    };
    for build in Build::ALL {
        for (answer, advice) in [
            (
                gitea(build).recorded("more/34-packages-login-prohibited"),
                "the token's user is blocked: an administrator of the forge must allow it to sign in, or use another user's token",
            ),
            (
                message(
                    "You must change your password. Change it at: http://git.example.test/user/settings/change_password",
                ),
                "the token's user must set a new password first: sign in on the web page as this user",
            ),
            (
                message("This account is not activated."),
                "the token's user is not activated: an administrator of the forge must activate it",
            ),
        ] {
            let gitea = gitea(build);
            let refusal = gitea.recorded("more/33-tags-list-login-prohibited");
            gitea.intercept(move |request| {
                let answer = if request.target.starts_with("/api/v1/packages") { &answer } else { &refusal };
                (!request.path().ends_with("/version") && request.path() != "/v2/token")
                    .then(|| answer.clone().into())
            });
            let shop = Shop::with(&on_gitea(&gitea, &format!("{DEV}{PROD}")));
            let run = shop.run(&["poll", "--format", "json"]);
            for target in ["shop/dev", "shop/prod"] {
                let error = run.error_is(target, "denied").target(target)["error"].clone();
                let message = error["message"].as_str().unwrap();
                assert!(message.ends_with(advice), "{target}: {message}");
                assert!(!message.contains("needs the scope"), "{message}");
            }
            shop.run(&["check", "--online"])
                .code(1)
                .stdout_has(&format!("{advice}\n"))
                .shows_not("needs the scope");
        }
    }
}

#[test]
fn host_inside_the_image_is_named_in_the_error() {
    let hint = "; git.example.com looks like a host: write image = \"acme/shop\"";
    let gitea = gitea(Build::GiteaNew);
    let image = |config: String| config.replace("\"acme/shop\"", "\"git.example.com/acme/shop\"");
    let shop = Shop::with(&image(on_gitea(&gitea, &format!("{DEV}{PROD}"))));
    for target in ["shop/dev", "shop/prod"] {
        let message = error(&shop, target, "not_found");
        assert!(message.ends_with(hint), "{message}");
    }
    shop.run(&["check", "--online"]).code(1).stdout_has(hint);
    let server = Server::start(|request: &Request| match request.path() {
        "/v2/" => Answer::json(200, "{}").into(),
        _ => Answer::json(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#).into(),
    });
    let shop = Shop::with(&image(on("oci", &server.url(), PROD)));
    let message = error(&shop, "shop/prod", "not_found");
    assert!(message.ends_with(hint), "{message}");
}

#[test]
fn http_to_an_https_port_is_answered_with_the_correction() {
    for page in [
        "Client sent an HTTP request to an HTTPS server.\n",
        "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        "<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
    ] {
        let server = Server::start(move |_| Answer::new(400, "text/plain", page).into());
        for kind in ["gitea", "oci"] {
            let shop = Shop::with(&on(kind, &server.url(), PROD));
            let https = "): this port speaks HTTPS: write https://127.0.0.1:[port] as url";
            let message = error(&shop, "shop/prod", "protocol");
            assert!(message.ends_with(https), "{kind}: {message}");
            shop.run(&["check", "--online"])
                .code(1)
                .stdout_has("git        failed  ")
                .stdout_has(&format!("{https}\n"));
        }
    }
}
