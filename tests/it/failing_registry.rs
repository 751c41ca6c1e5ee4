//! A registry that refuses, breaks or lies: its targets are unknown, the others are served.

use std::time::Duration;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::http::{Answer, Reply, gzip};
use crate::new_tag::baselined;
use crate::oci::Script;
use crate::registry::{Build, Gitea, TOKEN_WITHOUT_SCOPE, WRONG_TOKEN};

/// Two registries: `git` with the project shop, `other` with the project blog, both with a new tag.
fn two_registries(git: &Gitea, other: &Gitea) -> Shop {
    let blog = format!(
        r#"
[registries.other]
kind = "gitea"
url = "{}"
token = {{ file = "secret/other" }}

[projects.blog]
registry = "other"
image = "acme/shop"
{}"#,
        other.url(),
        DEV.replace("projects.shop", "projects.blog")
    );
    let shop = Shop::new();
    shop.secret("other", crate::registry::TOKEN);
    shop.config(&on_gitea(git, &format!("{DEV}{PROD}{blog}")));
    shop.run(&["poll"]).code(0);
    for gitea in [git, other] {
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
        gitea.take_requests();
    }
    shop
}

#[test]
fn a_registry_that_answers_401_stops_its_own_targets_only() {
    for build in Build::ALL {
        let (git, other) = (gitea(build), gitea(build));
        let shop = two_registries(&git, &other);
        shop.secret("token", WRONG_TOKEN);

        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1)
            .status_is("shop/dev", "unknown")
            .error_is("shop/dev", "unauthorized")
            .status_is("shop/prod", "unknown")
            .error_is("shop/prod", "unauthorized")
            .status_is("blog/dev", "deployed");
        let summary = &run.json()["summary"];
        assert_eq!(
            (&summary["targets"], &summary["deployed"], &summary["unknown"], &summary["failed"]),
            (&3.into(), &1.into(), &2.into(), &0.into()),
            "{build:?}"
        );
        assert_eq!(shop.delivered(), ["blog/dev dev-43"], "{build:?}");
        assert_eq!(shop.status("shop/dev")["latest_tag"], "dev-42", "{build:?}: nothing moves");

        shop.secret("token", crate::registry::TOKEN);
        shop.run(&["poll"])
            .code(0)
            .line("shop/dev", &["deployed", "dev-43"])
            .line("shop/prod", &["deployed", "v1.11.0"]);
    }
}

#[test]
fn a_token_without_its_scope_is_answered_with_the_scope() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = Shop::with(&on_gitea(&gitea, DEV));
        shop.secret("token", TOKEN_WITHOUT_SCOPE);
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/dev", "unknown").error_is("shop/dev", "denied");
        let message = run.target("shop/dev")["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("read:package"), "{build:?}: {message}");
    }
}

#[test]
fn a_failed_check_is_said_at_first_and_then_not_at_every_poll() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.intercept_all("", gitea.recorded("more/31-tags-list-server-error"));
    shop.run(&["poll"]).code(1).line("shop/prod", &["unknown"]);
    shop.run(&["poll"]).code(1).silent();
    shop.run(&["poll", "--format", "json"]).code(1).status_is("shop/prod", "unknown");
    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/prod", &["up_to_date"]);
    shop.run(&["poll"]).code(0).silent();
}

#[test]
fn a_failed_check_is_always_said_in_ci() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = baselined(&gitea, PROD);
    shop.env("CI", "true");
    gitea.intercept_all("", gitea.recorded("more/31-tags-list-server-error"));
    for _ in 0..2 {
        shop.run(&["poll"]).code(1).line("shop/prod", &["unknown"]);
    }
}

#[test]
fn an_unknown_image_or_owner_is_not_found() {
    for build in Build::ALL {
        for image in ["acme/nope", "nobody/nope"] {
            for stage in [DEV, PROD] {
                let gitea = gitea(build);
                let shop = Shop::with(&on_gitea(&gitea, stage).replace("acme/shop", image));
                let run = shop.run(&["poll", "--format", "json"]);
                run.code(1);
                let entry = &run.json()["targets"][0];
                assert_eq!(entry["status"], "unknown", "{build:?} {image}: {entry}");
                assert_eq!(entry["error"]["code"], "not_found", "{build:?} {image}: {entry}");
            }
        }
    }
}

#[test]
fn an_empty_list_where_tags_were_seen_is_a_failed_check() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    for tag in ["dev-9", "dev-41", "dev-42", "v1.9.0", "v1.10.0"] {
        gitea.delete("acme/shop", tag);
    }
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/prod", "unknown").status_is("shop/dev", "unknown");

    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll", "shop/prod"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

#[test]
fn mark_none_accepts_an_emptied_image() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    for tag in ["dev-9", "dev-41", "dev-42", "v1.9.0", "v1.10.0"] {
        gitea.delete("acme/shop", tag);
    }
    shop.run(&["poll"]).code(1);
    shop.run(&["mark", "shop/prod", "--none"]).code(0);
    shop.run(&["poll", "--format", "json"]).code(0).status_is("shop/prod", "no_match");
    gitea.push("acme/shop", "v0.1.0", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v0.1.0"]);
}

/// Whatever comes in place of the tags list: the target is unknown with one of these codes, nothing is deployed,
/// and the next good answer is used.
fn a_broken_list(codes: &[&str], reply: &dyn Fn(&Gitea) -> Reply) {
    let gitea = gitea(Build::GiteaNew);
    let config = format!("[settings]\ntimeout = \"1s\"\n{}", on_gitea(&gitea, PROD));
    let shop = Shop::with(&config);
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");

    gitea.intercept_all("tags/list", reply(&gitea));
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/prod", "unknown");
    let code = run.target("shop/prod")["error"]["code"].clone();
    assert!(codes.contains(&code.as_str().unwrap()), "{code}");
    assert_eq!(shop.delivered(), [""; 0]);

    gitea.recover();
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.11.0"]);
}

/// A tags list that would be deployed if it were taken for one.
fn tempting() -> Answer {
    Answer::json(200, r#"{"name":"acme/shop","tags":["v1.9.0","v1.10.0","v9.0.0"]}"#)
}

#[test]
fn a_reset_connection_is_an_unavailable_registry() {
    a_broken_list(&["unavailable"], &|_| Reply::Reset);
}

#[test]
fn a_registry_that_never_answers_is_unavailable_after_the_timeout() {
    a_broken_list(&["unavailable"], &|_| Reply::Hang);
}

#[test]
fn a_slow_body_fails_after_the_timeout() {
    a_broken_list(&["unavailable"], &|_| Reply::Drip(tempting(), Duration::from_millis(200)));
}

#[test]
fn a_truncated_body_is_rejected() {
    a_broken_list(&["unavailable", "protocol"], &|_| Reply::Truncated(tempting(), 40));
}

/// A connection's buffer has room for the head of an answer, up to its limit.
#[test]
fn a_head_of_60_kib_is_read_and_one_of_70_kib_is_an_error() {
    let padded = |length: usize| tempting().with("X-Padding", "x".repeat(length * 1024));
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, PROD));
    shop.run(&["poll"]).code(0);
    gitea.intercept_all("tags/list", padded(60));
    shop.run(&["poll", "--refresh", "-v"]).code(0).line("shop/prod", &["waiting", "v9.0.0 is listed"]);
    gitea.intercept_all("tags/list", padded(70));
    let run = shop.run(&["poll", "--refresh", "--format", "json"]);
    run.code(1).error_is("shop/prod", "unavailable");
    let message = run.target("shop/prod")["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("response header is too big: 69632 > 65536"), "{message}");
}

#[test]
fn a_server_error_is_an_unavailable_registry() {
    a_broken_list(&["unavailable"], &|gitea| gitea.recorded("more/31-tags-list-server-error").into());
}

#[test]
fn an_html_page_is_rejected() {
    a_broken_list(&["protocol"], &|_| {
        Answer::new(200, "text/html; charset=utf-8", "<!DOCTYPE html><html>Sign in</html>").into()
    });
}

#[test]
fn json_of_another_shape_is_rejected() {
    for body in
        ["{}", "[]", r#"{"tags":"v9.0.0"}"#, r#"{"name":"acme/shop","tags":[1]}"#, r#"{"tags":["v9.0.0""#]
    {
        a_broken_list(&["protocol"], &|_| Answer::json(200, body).into());
    }
}

#[test]
fn tags_null_where_tags_were_seen_is_a_failed_check() {
    a_broken_list(&["protocol"], &|_| Answer::json(200, r#"{"name":"acme/shop","tags":null}"#).into());
}

#[test]
fn a_redirect_to_another_origin_is_not_followed() {
    let gitea = gitea(Build::GiteaNew);
    let elsewhere = Script::start([]);
    let shop = baselined(&gitea, PROD);
    let location = format!("{}/v2/acme/shop/tags/list", elsewhere.url());
    gitea.intercept_all("tags/list", Answer::new(307, "text/html", "").with("Location", location));
    let run = shop.run(&["poll", "--refresh", "--format", "json"]);
    run.code(1).error_is("shop/prod", "protocol");
    let message = run.target("shop/prod")["error"]["message"].as_str().unwrap().to_owned();
    let expected = format!(
        "GET {}/v2/acme/shop/tags/list: 307 Temporary Redirect: it redirects to {}, and credentials are not sent there; \
         if that is the registry's address, set url to it",
        gitea.url(),
        elsewhere.url()
    );
    assert_eq!(message, expected);
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_renamed_owner_is_followed_on_the_same_origin() {
    let gitea = gitea(Build::GiteaNew);
    gitea.push("newname/shop", "v2.0.0", "2026-11-20T10:00:00Z");
    gitea.intercept(|request| {
        let target =
            request.target.replace("/acme/", "/newname/").replace("packages/acme", "packages/newname");
        (target != request.target)
            .then(|| Answer::new(307, "text/html; charset=utf-8", "").with("Location", target).into())
    });
    let shop = Shop::with(&on_gitea(&gitea, PROD));
    let run = shop.run(&["poll"]);
    run.code(0).line("shop/prod", &["baseline", "v2.0.0"]);
    run.shows("newname");
}

#[test]
fn a_compressed_list_is_read() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    let body = gzip(r#"{"name":"acme/shop","tags":["v1.10.0","v1.12.0"]}"#);
    gitea.push("acme/shop", "v1.12.0", "2026-11-20T11:00:00Z");
    gitea.intercept_all("tags/list", Answer::json(200, body).with("Content-Encoding", "gzip"));
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.12.0"]);
}

#[test]
fn garbage_instead_of_http_is_a_failed_check() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.intercept_all("tags/list", Reply::Garbage);
    shop.run(&["poll", "--refresh", "--format", "json"]).code(1).status_is("shop/prod", "unknown");
}

#[test]
fn a_get_is_tried_again_at_most_twice() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, PROD);
    gitea.intercept_all("tags/list", gitea.recorded("more/31-tags-list-server-error"));
    shop.run(&["poll", "--refresh"]).code(1);
    assert_eq!(gitea.count("tags/list"), 3);
}

#[test]
fn a_second_page_that_fails_makes_the_whole_list_unknown() {
    let first = Answer::json(200, r#"{"name":"acme/shop","tags":["v1.0.0"]}"#)
        .with("Link", "</v2/acme/shop/tags/list?last=v1.0.0&n=1>; rel=\"next\"");
    let gone = Answer::json(400, r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}"#);
    let server = crate::http::Server::start(move |request| {
        if request.query("last").is_some() { gone.clone().into() } else { first.clone().into() }
    });
    let config =
        on("oci", &server.url(), PROD).replace("token = { file = \"secret/token\" }", "anonymous = true");
    let shop = Shop::with(&format!("{config}first_poll = \"deploy\"\n"));
    shop.run(&["poll", "--format", "json"]).code(1).status_is("shop/prod", "unknown");
    assert_eq!(shop.delivered(), [""; 0]);
}

#[test]
fn an_invalid_tag_name_is_dropped_and_counted_and_never_passed_on() {
    let server = crate::http::Server::start(|request| {
        if request.method == "HEAD" {
            return Answer::json(200, "")
                .with("Docker-Content-Digest", crate::registry::digest_of("x"))
                .into();
        }
        let tags = serde_json::json!(["v1.0.0", "v9.0.0\u{1b}[2J", "v9.0.0; rm -rf /", "-v9.0.0", ""]);
        Answer::json(200, serde_json::json!({"name": "acme/shop", "tags": tags}).to_string()).into()
    });
    let config = on("oci", &server.url(), &PROD.replace("\"semver\"", "\"alphabetical\""))
        .replace("token = { file = \"secret/token\" }", "anonymous = true");
    let shop = Shop::with(&format!("{config}first_poll = \"deploy\"\n"));
    let run = shop.run(&["poll"]);
    run.code(0).line("shop/prod", &["deployed", "v1.0.0"]).stderr_has("4");
    assert_eq!(shop.delivered(), ["shop/prod v1.0.0"]);
}

#[test]
fn credentials_stay_with_the_registry_when_its_realm_is_elsewhere() {
    let elsewhere = Script::start([]);
    let gitea = gitea(Build::GiteaOld);
    let realm = format!(
        "Bearer realm=\"http://localhost:{}/v2/token\",service=\"container_registry\",scope=\"*\"",
        elsewhere.port()
    );
    let challenge = gitea.recorded("03-tags-list-no-credentials").with("Www-Authenticate", realm);
    gitea.intercept(move |request| {
        (request.header("authorization").is_none() && request.target.starts_with("/v2/"))
            .then(|| challenge.clone().into())
    });
    let shop = Shop::with(&on_gitea(&gitea, PROD));
    // Basic on each request still works.
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.10.0"]);
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_private_owner_requires_a_token() {
    for build in Build::ALL {
        let gitea = gitea(build);
        gitea.private_owner("hidden");
        gitea.push("hidden/shop", "v9.0.0", "2026-11-20T10:00:00Z");
        let config = on_gitea(&gitea, PROD)
            .replace("acme/shop", "hidden/shop")
            .replace("token = { file = \"secret/token\" }", "anonymous = true");
        let run = Shop::with(&config).run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/prod", "unknown");
        let code = run.target("shop/prod")["error"]["code"].clone();
        assert!(["unauthorized", "denied"].contains(&code.as_str().unwrap()), "{build:?}: {code}");
    }
}

#[test]
fn a_run_opens_no_more_connections_than_it_may() {
    let gitea = gitea(Build::GiteaNew);
    let mut projects = String::new();
    for number in 0..24 {
        gitea.push(&format!("acme/app-{number}"), "v1.0.0", "2026-11-20T10:00:00Z");
        let project = format!("[projects.p{number}]\nregistry = \"git\"\nimage = \"acme/app-{number}\"\n");
        projects += &(project + &PROD.replace("projects.shop", &format!("projects.p{number}")));
    }
    let config =
        on_gitea(&gitea, &format!("{PROD}{projects}")).replace("token =", "connections = 2\ntoken =");
    let shop = Shop::with(&config);
    let run = shop.run(&["poll", "--format", "json"]);
    assert_eq!(run.code(0).json()["summary"]["targets"], 25);
    let lists = gitea.count("tags/list");
    assert!((25..=26).contains(&lists), "one list each, and perhaps one for the challenge: {lists}");
    assert!(gitea.connections() <= 2, "{} connections", gitea.connections());
}

#[test]
fn a_page_of_packages_without_a_total_is_not_the_last() {
    let gitea = gitea(Build::GiteaNew);
    gitea.intercept_all("/packages/acme/container/shop", Answer::json(200, "[]"));
    let run = Shop::with(&on_gitea(&gitea, DEV)).run(&["poll", "--format", "json"]);
    let error = run.code(1).error_is("shop/dev", "protocol").target("shop/dev")["error"].clone();
    assert!(error["message"].as_str().unwrap().ends_with("200 OK: it has no X-Total-Count"), "{error}");
}
