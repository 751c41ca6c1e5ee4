//! Where a registry's token comes from: docker's and podman's files, their helpers, commands, the keyring.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{PROD, Shop, on};
use crate::http::{Answer, Server};
use crate::oci::{Door, IDENTITY, Oci};
use crate::registry::TOKEN;

fn registry(door: Door) -> Oci {
    let registry = Oci::start(door, 100);
    registry.push("acme/shop", "v1.0.0");
    registry
}

/// A shop whose registry's token is this source.
fn shop(registry: &Oci, source: &str) -> Shop {
    Shop::with(&on("oci", &registry.url(), PROD).replace("{ file = \"secret/token\" }", source))
}

/// Why the poll of the only target failed.
fn failure(shop: &Shop) -> String {
    let run = shop.run(&["poll", "--format", "json"]);
    let error = run.code(1).error_is("shop/prod", "secret").target("shop/prod")["error"].clone();
    shop.redact(error["message"].as_str().unwrap())
}

/// The same with a docker configuration, `HERE` being the registry's address.
fn docker(registry: &Oci, config: &str) -> Shop {
    let shop = shop(registry, "{ docker_config = \"secret/config.json\" }");
    shop.file("secret/config.json", &config.replace("HERE", &format!("127.0.0.1:{}", registry.port())));
    fs::set_permissions(shop.path("secret/config.json"), fs::Permissions::from_mode(0o600)).unwrap();
    shop
}

/// A credential helper `docker-credential-team` that notes what it is asked.
fn helper(shop: &mut Shop, answer: &str, status: u8) {
    shop.file("secret/answer", answer);
    shop.script(
        "secret/docker-credential-team",
        &format!("echo \"$1 $(cat)\" >> asked\ncat \"$(dirname \"$0\")/answer\"\nexit {status}\n"),
    );
    let path = format!("{}:/usr/bin:/bin", shop.path("secret").display());
    shop.env("PATH", &path);
}

fn auth(username: &str) -> String {
    STANDARD.encode(format!("{username}:{TOKEN}"))
}

#[test]
fn an_entry_of_a_docker_configuration_gives_user_name_and_password() {
    for key in ["HERE", "http://HERE/v1/", "HERE/acme"] {
        let registry = registry(Door::Basic);
        let shop =
            docker(&registry, &format!(r#"{{"auths": {{"{key}": {{"auth": "{}"}}}}}}"#, auth("robot")));
        shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
        let used: Vec<_> = registry.requests().iter().filter_map(|request| request.basic()).collect();
        assert_eq!(used, [("robot".to_owned(), TOKEN.to_owned())], "{key}");
    }
}

#[test]
fn an_entry_for_the_repository_goes_before_that_of_the_server() {
    let registry = registry(Door::Basic);
    let wrong = STANDARD.encode("other:planted-password-of-others");
    let shop = docker(
        &registry,
        &format!(
            r#"{{"auths": {{"HERE": {{"auth": "{wrong}"}}, "HERE/acme/shop": {{"auth": "{}"}}}}}}"#,
            auth("robot")
        ),
    );
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
}

#[test]
fn a_server_without_an_entry_is_asked_with_nobodys_rights() {
    let registry = registry(Door::Bearer);
    let shop = docker(&registry, &format!(r#"{{"auths": {{"quay.io": {{"auth": "{}"}}}}}}"#, auth("robot")));
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    assert!(registry.requests().iter().all(|request| request.basic().is_none()));
}

#[test]
fn check_warns_of_a_docker_configuration_without_the_server() {
    let registry = registry(Door::Open);
    for (config, expected) in [
        (
            r#"{"auths": {"quay.io": {"auth": "YTpi"}}}"#,
            "warning: [dir]/secret/config.json has no entry for 127.0.0.1:[port] and names no credential helper: anonymous access to the registry git\n    docker login 127.0.0.1:[port], or anonymous = true\n",
        ),
        (r#"{"auths": {"HERE/acme": {"auth": "YTpi"}}}"#, ""),
        (r#"{"credsStore": "team"}"#, ""),
        (
            "{",
            "warning: the token of the registry git: [dir]/secret/config.json is not a docker configuration: see line 1, column 1\n",
        ),
    ] {
        docker(&registry, config).run(&["check"]).code(0).stderr(expected);
    }
}

#[test]
fn a_helper_is_asked_once_for_the_server() {
    for config in [r#"{"credsStore": "team"}"#, r#"{"credHelpers": {"HERE": "team"}, "credsStore": "other"}"#]
    {
        let registry = registry(Door::Basic);
        registry.push("acme/worker", "v1.0.0");
        let mut shop = docker(&registry, config);
        let second = PROD.replace("projects.shop", "projects.worker");
        let text = shop.read("tagship.toml");
        shop.config(&format!(
            "{text}[projects.worker]\nregistry = \"git\"\nimage = \"acme/worker\"\n{second}"
        ));
        helper(&mut shop, &format!(r#"{{"ServerURL": "x", "Username": "robot", "Secret": "{TOKEN}"}}"#), 0);
        shop.run(&["poll"]).code(0).line("worker/prod", &["baseline", "v1.0.0"]);
        assert_eq!(shop.read("asked"), format!("get 127.0.0.1:{}\n", registry.port()), "{config}");
        let used = registry.requests().iter().find_map(|request| request.basic());
        assert_eq!(used, Some(("robot".to_owned(), TOKEN.to_owned())), "{config}");
    }
}

#[test]
fn a_helper_that_has_no_credential_means_nobodys_rights() {
    let registry = registry(Door::Bearer);
    let mut shop = docker(&registry, r#"{"credsStore": "team"}"#);
    helper(&mut shop, "credentials not found in native keychain\n", 1);
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    assert!(registry.requests().iter().all(|request| request.basic().is_none()));
}

#[test]
fn a_helper_that_fails_is_a_failed_check() {
    let registry = registry(Door::Bearer);
    let mut shop = docker(&registry, r#"{"credsStore": "team"}"#);
    helper(&mut shop, "the vault is locked\n", 1);
    assert_eq!(
        failure(&shop),
        "the token of the registry git: docker-credential-team get, asked for 127.0.0.1:[port], ended with exit status: 1: the vault is locked"
    );

    let registry = crate::credentials::registry(Door::Bearer);
    let shop = docker(&registry, r#"{"credsStore": "nowhere"}"#);
    assert_eq!(
        failure(&shop),
        "the token of the registry git: docker-credential-nowhere cannot be run: No such file or directory (os error 2)"
    );
}

#[test]
fn an_identity_token_is_exchanged_and_never_a_password() {
    let registry = registry(Door::Bearer);
    let shop = docker(
        &registry,
        &format!(
            r#"{{"auths": {{"HERE": {{"auth": "{}", "identitytoken": "{IDENTITY}"}}}}}}"#,
            STANDARD.encode("0:")
        ),
    );
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    assert_eq!(registry.count("/token"), 1);
    assert!(registry.requests().iter().all(|request| request.basic().is_none()));

    let basic = crate::credentials::registry(Door::Basic);
    let mut shop = docker(&basic, r#"{"credsStore": "team"}"#);
    helper(&mut shop, &format!(r#"{{"Username": "<token>", "Secret": "{IDENTITY}"}}"#), 0);
    shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/prod", "unauthorized");
    assert!(basic.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_docker_configuration_that_cannot_be_used_is_named() {
    let registry = registry(Door::Basic);
    for (config, expected) in [
        ("{\"auths\": 1}", "[dir]/secret/config.json is not a docker configuration: see line 1, column 11"),
        (
            "{\"auths\": {\"HERE\": {\"auth\": \"planted\"}}}",
            "[dir]/secret/config.json: the entry 127.0.0.1:[port] of auths is not a user name and password",
        ),
    ] {
        let message = failure(&docker(&registry, config));
        assert_eq!(message, format!("the token of the registry git: {expected}"), "{config}");
    }
}

#[test]
fn a_secret_is_read_when_it_is_needed_and_once() {
    let registry = registry(Door::Basic);
    registry.push("acme/worker", "v1.0.0");
    let shop = shop(&registry, "{ command = [\"./token.sh\"] }");
    let second = PROD.replace("projects.shop", "projects.worker");
    let text = shop.read("tagship.toml");
    shop.config(&format!("{text}[projects.worker]\nregistry = \"git\"\nimage = \"acme/worker\"\n{second}"));
    shop.script("token.sh", "echo asked >> asked\ncat secret/token\n");
    shop.run(&["check"]).code(0);
    shop.run(&["status"]).code(0);
    assert!(!shop.exists("asked"));
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.read("asked"), "asked\n");
}

#[test]
fn a_secret_that_everyone_can_read_is_warned_of() {
    let registry = registry(Door::Basic);
    let shop = shop(&registry, "{ file = \"secret/token\" }");
    let mode = |name: &str, mode| {
        fs::set_permissions(shop.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    // The folder above is closed to everyone.
    mode("secret/token", 0o644);
    mode("", 0o700);
    shop.run(&["check"]).code(0).stderr("");
    mode("", 0o755);
    shop.run(&["check"]).code(0).stderr(
        "warning: [dir]/secret/token: every user of this machine can read this secret\n    chmod o-r [dir]/secret/token\n",
    );
    mode("secret/token", 0o640);
    shop.run(&["check"]).code(0).stderr("");
}

#[cfg(feature = "keyring")]
#[test]
fn under_cron_the_keyring_is_explained() {
    let registry = registry(Door::Basic);
    let mut shop = shop(&registry, "{ keyring = \"git\" }");
    let nowhere = format!("unix:path={}", shop.path("no-bus").display());
    shop.env("DBUS_SESSION_BUS_ADDRESS", &nowhere);
    let message = failure(&shop);
    assert!(
        message.starts_with("the token of the registry git: the keyring is not available ("),
        "{message}"
    );
    assert!(
        message.ends_with("; cron has no session bus: keep the token in a file or a systemd credential"),
        "{message}"
    );
}

#[cfg(feature = "keyring")]
#[test]
fn a_bus_without_an_answer_costs_two_seconds() {
    let registry = registry(Door::Basic);
    let mut shop = shop(&registry, "{ keyring = \"git\" }");
    let _socket = std::os::unix::net::UnixListener::bind(shop.path("bus")).unwrap();
    let bus = format!("unix:path={}", shop.path("bus").display());
    shop.env("DBUS_SESSION_BUS_ADDRESS", &bus);
    assert_eq!(
        failure(&shop),
        "the token of the registry git: the keyring is not available (no answer within [duration]; is it locked?); cron has no session bus: keep the token in a file or a systemd credential"
    );
}

/// A server that shows what it was sent.
#[test]
fn a_credential_that_a_server_repeats_is_masked() {
    for challenge in ["Basic realm=\"x\"", "Bearer realm=\"http://HOST/token\",service=\"x\""] {
        let server = Server::start(move |request| {
            let challenge = challenge.replace("HOST", request.header("host").unwrap());
            match request.header("authorization") {
                _ if request.path() == "/token" => Answer::json(200, r#"{"token": "planted-bearer"}"#).into(),
                None => Answer::json(401, "{}").with("Www-Authenticate", challenge).into(),
                Some(sent) => Answer::new(403, "text/plain", format!("you sent {sent}")).into(),
            }
        });
        let shop = Shop::with(&on("oci", &server.url(), PROD));
        let run = shop.run(&["poll", "--format", "json"]);
        let error = run.code(1).error_is("shop/prod", "denied").target("shop/prod")["error"].clone();
        let message = error["message"].as_str().unwrap();
        let scheme = challenge.split(' ').next().unwrap();
        assert!(message.contains(&format!("(you sent {scheme} ***)")), "{message}");
    }
}

/// Empty, of two lines, or as editors of other systems write text: said by `check`, and by the run in the same words.
#[test]
fn a_file_without_a_valid_token_is_answered_with_the_remedy() {
    let registry = registry(Door::Basic);
    let shop = shop(&registry, "{ file = \"secret/token\" }");
    let utf_16: Vec<u8> = TOKEN.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf_16_be: Vec<u8> = TOKEN.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let utf_32: Vec<u8> = TOKEN.chars().flat_map(|character| u32::from(character).to_le_bytes()).collect();
    let utf_32_be: Vec<u8> = TOKEN.chars().flat_map(|character| u32::from(character).to_be_bytes()).collect();
    let cure = "convert it: iconv -f UTF-16 -t UTF-8 [dir]/secret/token > NEW";
    for (bytes, fault) in [
        (
            [&b"\xef\xbb\xbf"[..], TOKEN.as_bytes()].concat(),
            "begins with a byte order mark; remove it: sed -i 's/^\\xEF\\xBB\\xBF//' [dir]/secret/token"
                .to_owned(),
        ),
        ([b"\xff\xfe", &utf_16[..]].concat(), format!("is UTF-16; {cure}")),
        ([b"\xfe\xff", &utf_16_be[..]].concat(), format!("is UTF-16; {cure}")),
        ([b"\xff\xfe\0\0", &utf_32[..]].concat(), format!("is UTF-32; {}", cure.replace("UTF-16", "UTF-32"))),
        (utf_16, format!("is UTF-16LE; {}", cure.replace("UTF-16", "UTF-16LE"))),
        (utf_16_be, format!("is UTF-16BE; {}", cure.replace("UTF-16", "UTF-16BE"))),
        (utf_32, format!("is UTF-32LE; {}", cure.replace("UTF-16", "UTF-32LE"))),
        (utf_32_be, format!("is UTF-32BE; {}", cure.replace("UTF-16", "UTF-32BE"))),
        (b"\n".to_vec(), "is empty".to_owned()),
        (
            b"one\ntwo\n".to_vec(),
            "contains a line feed; a token may contain no control characters".to_owned(),
        ),
    ] {
        fs::write(shop.path("secret/token"), bytes).unwrap();
        let run = shop.run(&["check"]);
        run.code(0).stderr(&format!("warning: the token of the registry git: [dir]/secret/token {fault}\n"));
        assert_eq!(failure(&shop), format!("the token of the registry git: [dir]/secret/token {fault}"));
    }
    // Any source can have one.
    let mut shop = self::shop(&registry, "{ env = \"TOKEN\" }");
    shop.env("TOKEN", &format!("\u{feff}{TOKEN}"));
    assert_eq!(
        failure(&shop),
        "the token of the registry git: the environment variable TOKEN begins with a byte order mark; remove it"
    );
    let docker = docker(
        &registry,
        &format!("\u{feff}{{\"auths\": {{\"HERE\": {{\"auth\": \"{}\"}}}}}}", auth("robot")),
    );
    docker.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    let certificate = rcgen::generate_simple_self_signed(["ca.example.test".to_owned()]).unwrap().cert.pem();
    docker.file("ca.pem", &format!("\u{feff}{certificate}"));
    let with_authority = "ca_file = \"ca.pem\"\n\n[projects.shop]";
    docker.config(&docker.read("tagship.toml").replace("[projects.shop]", with_authority));
    docker.run(&["poll"]).code(0);
}

/// Refused before anything is sent, naming the source.
#[test]
fn token_with_control_characters_is_refused_whatever_its_source() {
    let registry = registry(Door::Basic);
    let (one, two) = TOKEN.split_at(10);
    let shop = shop(&registry, "{ file = \"secret/token\" }");
    for (between, what) in [
        ("\0", "a NUL"),
        ("\n", "a line feed"),
        ("\r\n", "a carriage return"),
        ("\t", "a tab"),
        ("\u{1b}", "the control character U+001B"),
        ("\u{85}", "the control character U+0085"),
    ] {
        shop.file("secret/token", &format!("{one}{between}{two}\n"));
        let fault = format!("[dir]/secret/token contains {what}; a token may contain no control characters");
        assert_eq!(failure(&shop), format!("the token of the registry git: {fault}"));
    }
    let utf_16: Vec<u8> = TOKEN.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(shop.path("secret/utf-16"), utf_16).unwrap();
    shop.file("secret/odd", &format!("{one}\0{two}"));
    let shop_of = |source: &str| {
        shop.config(&on("oci", &registry.url(), PROD).replace("{ file = \"secret/token\" }", source))
    };
    for (file, fault) in [
        ("utf-16", "is UTF-16LE; tagship reads UTF-8"),
        ("odd", "contains a NUL; a token may contain no control characters"),
    ] {
        shop_of(&format!("{{ command = [\"cat\", \"secret/{file}\"] }}"));
        assert_eq!(failure(&shop), format!("the token of the registry git: what cat prints {fault}"));
    }
    let mut of_environment = self::shop(&registry, "{ env = \"TOKEN\" }");
    of_environment.env("TOKEN", &format!("{one}\t{two}"));
    assert_eq!(
        failure(&of_environment),
        "the token of the registry git: the environment variable TOKEN contains a tab; a token may contain no control characters"
    );
    let auth = STANDARD.encode(format!("robot:{one}\n{two}"));
    let mut of_docker = docker(&registry, &format!(r#"{{"auths": {{"HERE": {{"auth": "{auth}"}}}}}}"#));
    assert_eq!(
        failure(&of_docker),
        "the token of the registry git: [dir]/secret/config.json: the entry 127.0.0.1:[port] of auths contains a line feed; a token may contain no control characters"
    );
    of_docker.file("secret/config.json", r#"{"credsStore": "team"}"#);
    helper(&mut of_docker, &format!(r#"{{"Username": "robot", "Secret": "{one}\u0000{two}"}}"#), 0);
    assert_eq!(
        failure(&of_docker),
        "the token of the registry git: what docker-credential-team prints contains a NUL; a token may contain no control characters"
    );
    assert!(registry.requests().iter().all(|request| request.basic().is_none()));
}

/// How a registry of a cloud asks, and how it refuses a token that has expired.
#[derive(Clone, Copy)]
struct Cloud {
    kind: &'static str,
    challenge: &'static str,
    refusal: u16,
    by_helper: bool,
}

const CLOUDS: [Cloud; 6] = [
    Cloud {
        kind: "oci",
        challenge: "Basic realm=\"https://ecr.example.com/\",service=\"ecr.amazonaws.com\"",
        refusal: 403,
        by_helper: false,
    },
    Cloud {
        kind: "oci",
        challenge: "Basic realm=\"https://ecr.example.com/\",service=\"ecr.amazonaws.com\"",
        refusal: 401,
        by_helper: true,
    },
    Cloud {
        kind: "oci",
        challenge: "Bearer realm=\"http://HERE/v2/token\",service=\"docker.pkg.dev\"",
        refusal: 401,
        by_helper: false,
    },
    Cloud {
        kind: "oci",
        challenge: "Bearer realm=\"http://HERE/oauth2/token\",service=\"acme.azurecr.io\"",
        refusal: 401,
        by_helper: true,
    },
    Cloud {
        kind: "gitlab",
        challenge: "Bearer realm=\"http://HERE/jwt/auth\",service=\"x\"",
        refusal: 401,
        by_helper: false,
    },
    Cloud { kind: "gitea", challenge: "Basic realm=\"gitea\"", refusal: 401, by_helper: false },
];

/// Takes `planted-cloud-1` until it listed an image with it, and then `planted-cloud-2` only, or nothing any more.
fn cloud(cloud: Cloud, ends: bool) -> Server {
    let served = AtomicUsize::new(0);
    Server::start(move |request| {
        let here = request.header("host").unwrap();
        let is_over = served.load(Ordering::SeqCst) > 0;
        let taken = if is_over { "planted-cloud-2" } else { "planted-cloud-1" };
        let sent = request.bearer().map(|token| token.replace("planted-bearer", "planted-cloud"));
        let sent = sent.or_else(|| request.basic_password());
        let is_right = sent.as_deref() == Some(taken) && !(is_over && ends);
        if request.path().starts_with("/api/") {
            return Answer::json(404, "{}").into();
        }
        if !is_right {
            let is_expired = sent.is_some() && request.path().contains("/acme/");
            let status = if is_expired { cloud.refusal } else { 401 };
            let said = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#;
            return Answer::json(status, said)
                .with("Www-Authenticate", cloud.challenge.replace("HERE", here))
                .into();
        }
        match request.path() {
            "/v2/token" | "/oauth2/token" | "/jwt/auth" => {
                Answer::json(200, format!(r#"{{"token":"{}"}}"#, taken.replace("cloud", "bearer"))).into()
            }
            "/v2/" => Answer::json(200, "{}").into(),
            _ => {
                served.fetch_add(1, Ordering::SeqCst);
                Answer::json(200, r#"{"name":"x","tags":["v1.0.0"]}"#).into()
            }
        }
    })
}

/// Three images, one after another, and a program that gives another token each time.
fn in_the_cloud(cloud: Cloud, server: &Server) -> Shop {
    let source = if cloud.by_helper {
        "token = { docker_config = \"config.json\" }"
    } else {
        "username = \"AWS\"\ntoken = { command = [\"./next.sh\"] }"
    };
    let mut config = on(cloud.kind, &server.url(), PROD)
        .replace("token = { file = \"secret/token\" }", &format!("connections = 1\n{source}"));
    for name in ["a", "b"] {
        config += &format!("[projects.{name}]\nregistry = \"git\"\nimage = \"acme/{name}\"\n");
        config += &PROD.replace("projects.shop", &format!("projects.{name}"));
    }
    let mut shop = Shop::with(&config);
    for number in 1..=3 {
        shop.secret(&format!("cloud-{number}"), &format!("planted-cloud-{number}"));
    }
    let next =
        "cd \"$(dirname \"$0\")\"\necho asked >> asked\ntoken=$(cat secret/cloud-$(grep -c . asked))\n";
    shop.script("next.sh", &format!("{next}echo \"$token\"\n"));
    let answer = r#"{"Username":"AWS","Secret":"%s"}"#;
    shop.script("docker-credential-cloud", &format!("{next}printf '{answer}' \"$token\"\n"));
    shop.file("config.json", r#"{"credsStore": "cloud"}"#);
    let path = format!("{}:/usr/bin:/bin", shop.path("").display());
    shop.env("PATH", &path);
    shop
}

#[test]
fn a_token_that_expires_in_the_middle_of_a_run_is_asked_for_once_more() {
    for kind in CLOUDS {
        let server = cloud(kind, false);
        let shop = in_the_cloud(kind, &server);
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(0);
        for target in ["shop/prod", "a/prod", "b/prod"] {
            run.status_is(target, "baseline");
        }
        assert_eq!(shop.read("asked").lines().count(), 2, "{}: {}", kind.kind, kind.challenge);

        // Where the next one is not taken either, that is all.
        let server = cloud(kind, true);
        let shop = in_the_cloud(kind, &server);
        let run = shop.run(&["poll", "--format", "json"]);
        assert_eq!(run.code(1).json()["summary"]["unknown"], 2);
        assert_eq!(shop.read("asked").lines().count(), 2, "{}: {}", kind.kind, kind.challenge);
    }
}
