//! `login` where nothing is kept: refused tokens, no keyring, wrong usage.

use crate::harness::{PROD, Shop, on, on_gitea};
use crate::oci::{Door, Oci};
use crate::registry::{Build, Gitea, TOKEN_WITHOUT_SCOPE, WRONG_TOKEN};
use crate::run::Run;

/// A session bus, as far as the environment tells.
pub(crate) const BUS: &str = "DBUS_SESSION_BUS_ADDRESS=unix:path=no-bus";

/// A shop whose registry names no token.
fn searching(config: &str) -> Shop {
    Shop::with(&config.replace("token = { file = \"secret/token\" }\n", ""))
}

fn registry(door: Door) -> Oci {
    let registry = Oci::start(door, 100);
    registry.push("acme/shop", "v1.0.0");
    registry
}

/// Logs in with a secret on standard input, in a session whose bus does not answer.
fn with_stdin(shop: &Shop, secret: &str, arguments: &[&str]) -> Run {
    let script = format!("export {BUS}; exec \"$@\" < secret/\"$0\"");
    shop.run_under(&["sh", "-c", &script, secret], arguments)
}

#[test]
#[cfg_attr(not(feature = "keyring"), ignore = "needs the feature keyring")]
fn a_wrong_token_is_not_kept() {
    for door in [Door::Basic, Door::Bearer] {
        let registry = registry(door);
        let shop = searching(&on("oci", &registry.url(), PROD));
        shop.secret("wrong", WRONG_TOKEN);
        let run = with_stdin(&shop, "wrong", &["login", "git", "--stdin"]);
        run.code(1).stdout("").stderr_has("; the token was not stored\n").stderr_has("401 Unauthorized");
    }
}

#[test]
#[cfg_attr(not(feature = "keyring"), ignore = "needs the feature keyring")]
fn without_a_keyring_a_right_token_is_not_kept_either() {
    let registry = registry(Door::Open);
    let shop = searching(&on("oci", &registry.url(), PROD));
    let run = with_stdin(&shop, "token", &["login", "git", "--stdin"]);
    run.code(1).stderr_has(
        "error: git: the registry needs no token, so the token was not tested, but the keyring is not available",
    );
}

#[test]
#[cfg_attr(not(feature = "keyring"), ignore = "needs the feature keyring")]
fn a_token_without_the_scope_is_refused_by_every_gitea() {
    for build in Build::ALL {
        let gitea = Gitea::start(build);
        let shop = searching(&on_gitea(&gitea, PROD));
        shop.secret("weak", TOKEN_WITHOUT_SCOPE);
        let run = with_stdin(&shop, "weak", &["login", "git", "--stdin"]);
        run.code(1).stderr_has("read:package").stderr_has("; the token was not stored\n");
    }
}

#[test]
fn without_a_keyring_logout_says_so_whatever_the_registry() {
    let shop = Shop::with(&on("oci", "https://git.example.test", PROD));
    let reason = if cfg!(feature = "keyring") {
        "the keyring is not available (the environment names no session bus); cron has no session bus: keep the token in a file or a systemd credential"
    } else {
        "the keyring is not available: this tagship was built without the feature keyring; use a file"
    };
    // A token can outlive its registry's place in the configuration, so the keyring is asked first.
    for registry in ["git", "gone"] {
        let run = shop.run(&["logout", registry]);
        run.code(1).stdout("").stderr(&format!("error: {registry}: {reason}\n"));
    }
    shop.run(&["logout", "no name"]).code(2).stderr_has("error: REGISTRY: ");
}

#[test]
fn login_to_another_kind_of_registry_is_a_usage_error() {
    let gitea = Gitea::start(Build::GiteaNew);
    let mut shop = Shop::with(&on_gitea(&gitea, PROD));
    shop.run(&["login", "got", "--stdin"])
        .code(2)
        .stderr("error: the configuration has no registry \"got\"; did you mean git?\n");
    shop.run(&["login", "git", "--stdin", "--username", "a:b"])
        .code(2)
        .stderr("error: expected a user name without a colon\n");
    shop.config(&on_gitea(&gitea, PROD).replace("token =", "username = \"robot\"\ntoken ="));
    shop.run(&["login", "git", "--stdin", "--username", "ann"])
        .code(2)
        .stderr("error: the configuration has username = \"robot\"; omit --username, or change it there\n");
    shop.file("secret/empty", "");
    shop.file("secret/not-text", "");
    std::fs::write(shop.path("secret/not-text"), [0xff, b'\n']).unwrap();
    shop.file("secret/two-lines", "one\ntwo\n");
    let images = "\n[registries.images]\nkind = \"oci-layout\"\npath = \"images\"\n";
    shop.config(&(on_gitea(&gitea, PROD) + images));
    for command in ["login", "logout"] {
        let run = shop.run(&[command, "images"]);
        run.code(2).stderr("error: the registry images is a folder and needs no token\n");
    }
    for job in [&["cron"][..], &["systemd"], &["kubernetes", "--image", "tagship"]] {
        shop.run(&[&["schedule"], job].concat()).code(0).shows_not("TAGSHIP_TOKEN_IMAGES");
    }
    shop.config(&on_gitea(&gitea, PROD));
    shop.env("LC_ALL", "C");
    let missing = if cfg!(feature = "keyring") {
        "no keyring on this machine: the environment names no session bus"
    } else {
        "no keyring on this machine: this tagship was built without the feature keyring"
    };
    let help = "keep the token in a file that only you can read: token = { file = \"git-token\" }";
    for arguments in [&["login", "git"][..], &["login", "git", "--stdin"]] {
        shop.run(arguments).code(2).stdout("").stderr(&format!("error: {missing}\n  help: {help}\n"));
    }
    if cfg!(feature = "keyring") {
        with_stdin(&shop, "empty", &["login", "git", "--stdin"])
            .code(2)
            .stderr("error: the token is empty\n");
        with_stdin(&shop, "not-text", &["login", "git", "--stdin"])
            .code(2)
            .stderr_has("error: cannot read standard input: ");
        with_stdin(&shop, "two-lines", &["login", "git", "--stdin"])
            .code(2)
            .stderr("error: the token contains a line feed; a token may contain no control characters\n");
        shop.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=bus");
        shop.run_under(&["setsid", "--wait"], &["login", "git"])
            .code(2)
            .stderr_has("error: no terminal to prompt on; pass the token on standard input with --stdin: ");
    }
    assert_eq!(gitea.take_requests(), [""; 0]);
}
