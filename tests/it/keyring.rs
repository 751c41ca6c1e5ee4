//! The real Secret Service: gnome-keyring in a session of its own.

use std::fs;
use std::process::{Command, Stdio};

use crate::harness::{PROD, Shop, await_until, on, on_gitea};
use crate::http::Answer;
use crate::oci::{Door, Oci};
use crate::registry::{Build, Gitea, TOKEN};
use crate::run::Run;

/// A session of its own. The bus prints errors of its own, which the tests ignore: `unlocked.sh` writes to the
/// original standard error.
const SESSION: &[&str] =
    &["sh", "-c", "exec dbus-run-session -- ./unlocked.sh \"$@\" 3>&2 2> /dev/null", "sh"];

/// A shop whose registry names no token.
fn searching(config: &str) -> Shop {
    let shop = Shop::with(&config.replace("token = { file = \"secret/token\" }\n", ""));
    // gnome-keyring-daemon gives the environment of a session; its data stays in the home folder, encrypted. It returns
    // before it serves the bus, which would start a second, locked one for the first request.
    shop.script(
        "unlocked.sh",
        "printf %s 'correct horse' | gnome-keyring-daemon --unlock --components=secrets > /dev/null 3>&-\n\
         until dbus-send --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner \
         string:org.freedesktop.secrets 3>&- | grep -q 'boolean true'; do sleep 0.02; done\n\
         \"$@\" < input 2>&3 3>&-\n",
    );
    shop.file("input", "");
    shop
}

/// Runs in a session with a keyring of the shop's own, and nothing on standard input.
fn in_session(shop: &Shop, arguments: &[&str]) -> Run {
    shop.run_under(SESSION, arguments)
}

/// Logs in within a session, with this token on standard input.
fn login(shop: &Shop, token: &str, arguments: &[&str]) -> Run {
    shop.secret("typed", token);
    let all = [&["login", "git", "--stdin"], arguments].concat();
    let program = [SESSION, &["sh", "-c", "exec \"$@\" < secret/typed", "sh"]].concat();
    shop.run_under(&program, &all)
}

fn registry(door: Door) -> Oci {
    let registry = Oci::start(door, 100);
    registry.push("acme/shop", "v1.0.0");
    registry
}

#[test]
#[ignore = "needs gnome-keyring and dbus"]
fn a_token_of_the_keyring_is_used_until_logout() {
    let registry = registry(Door::Basic);
    let shop = searching(&on("oci", &registry.url(), PROD));
    in_session(&shop, &["poll", "--format", "json"]).code(1).error_is("shop/prod", "unauthorized");

    login(&shop, TOKEN, &["--username", "robot"])
        .code(0)
        .stdout("")
        .stderr("git: the registry accepts the token; stored in the keyring\n");
    in_session(&shop, &["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    let used = registry.requests().iter().rev().find_map(|request| request.basic());
    assert_eq!(used, Some(("robot".to_owned(), TOKEN.to_owned())));

    in_session(&shop, &["logout", "git"]).code(0).stderr("git: removed the token from the keyring\n");
    in_session(&shop, &["logout", "git"]).code(0).stderr("git: the keyring has no token for it\n");
    in_session(&shop, &["poll", "--format", "json"]).code(1).error_is("shop/prod", "unauthorized");
}

#[test]
#[ignore = "needs gnome-keyring and dbus"]
fn an_entry_that_is_named_brings_its_user_name() {
    let registry = registry(Door::Basic);
    let config =
        on("oci", &registry.url(), PROD).replace("{ file = \"secret/token\" }", "{ keyring = \"git\" }");
    let shop = searching(&config);
    login(&shop, TOKEN, &["--username", "robot"])
        .code(0)
        .stderr("git: the registry accepts the token; stored in the keyring\n");
    in_session(&shop, &["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    let used = registry.requests().iter().rev().find_map(|request| request.basic());
    assert_eq!(used, Some(("robot".to_owned(), TOKEN.to_owned())));
}

#[test]
#[ignore = "needs gnome-keyring and dbus"]
fn a_second_login_replaces_the_first() {
    let registry = registry(Door::Basic);
    let shop = searching(&on("oci", &registry.url(), PROD));
    login(&shop, TOKEN, &["--username", "robot"]).code(0);
    login(&shop, TOKEN, &[]).code(0);
    in_session(&shop, &["poll"]).code(0).line("shop/prod", &["baseline", "v1.0.0"]);
    let used = registry.requests().iter().rev().find_map(|request| request.basic());
    assert_eq!(used, Some(("tagship".to_owned(), TOKEN.to_owned())), "the user name is gone");
}

#[test]
#[ignore = "needs gnome-keyring and dbus"]
fn an_entry_that_is_named_and_missing_says_how_to_make_it() {
    let registry = registry(Door::Basic);
    let config =
        on("oci", &registry.url(), PROD).replace("{ file = \"secret/token\" }", "{ keyring = \"hub\" }");
    let shop = searching(&config);
    let run = in_session(&shop, &["poll", "--format", "json"]);
    assert_eq!(
        run.code(1).error_is("shop/prod", "secret").target("shop/prod")["error"]["message"],
        "the token of the registry git: the keyring has no entry hub of tagship; to add one for a registry: tagship login; for any other secret: secret-tool store --label tagship service tagship username hub"
    );
}

#[test]
#[ignore = "needs gnome-keyring and dbus"]
fn a_token_that_will_not_be_used_is_warned_of() {
    let registry = registry(Door::Basic);
    let mut shop = searching(&on("oci", &registry.url(), PROD));
    shop.env("TAGSHIP_TOKEN_GIT", "planted-token-of-the-environment");
    login(&shop, TOKEN, &[]).code(0).stderr(
        "git: the registry accepts the token; stored in the keyring\nwarning: git: the stored token is not used, because TAGSHIP_TOKEN_GIT is set\n",
    );
}

#[test]
#[ignore = "needs gnome-keyring and dbus"]
fn the_token_is_asked_for_without_showing_it() {
    let registry = registry(Door::Bearer);
    let shop = searching(&on("oci", &registry.url(), PROD));
    shop.script("ask.sh", "tty > terminal\nexec tagship --config tagship.toml login git\n");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_tagship")).parent().unwrap().display().to_string();
    assert!(Command::new("mkfifo").arg(shop.path("input-pipe")).status().unwrap().success());
    // A terminal of its own, which reads the text written into the pipe.
    let child = Command::new(SESSION[0])
        .args(&SESSION[1..])
        .args(["sh", "-c", "exec script -qec ./ask.sh typescript < input-pipe"])
        .env_clear()
        .env("HOME", shop.path("home"))
        .env("PATH", format!("{binary}:/usr/bin:/bin"))
        .current_dir(shop.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = fs::File::options().write(true).open(shop.path("input-pipe")).unwrap();
    let terminal = || fs::read_to_string(shop.path("terminal")).unwrap_or_default().trim().to_owned();
    await_until("the terminal does not echo", || {
        let shown = Command::new("stty").args(["-F", &terminal(), "-a"]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).contains(" -echo ")
    });
    std::io::Write::write_all(&mut &pipe, format!("{TOKEN}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    shop.note_printed(&shown);
    assert_eq!(
        shop.redact(&shown).replace('\r', ""),
        "Token for git (http://127.0.0.1:[port]/): \ngit: the registry accepts the token; stored in the keyring\n"
    );
    assert!(output.status.success());
}

#[test]
#[ignore = "needs gnome-keyring and dbus"]
fn gitea_says_whose_the_token_is_or_what_it_may() {
    let refused = |scopes: &str| {
        let message =
            format!("token does not have at least one of required scope(s), required=[read:user]{scopes}");
        Answer::json(
            403,
            serde_json::json!({"message": message, "url": "http://git.example.test/api/swagger"}).to_string(),
        )
    };
    for (answer, expected) in [
        (
            Answer::json(200, r#"{"id": 7, "login": "robot"}"#),
            "the registry accepts the token: it is robot's; ",
        ),
        (
            refused(", token scope=read:package"),
            "the registry accepts the token: its scopes are read:package; ",
        ),
        (refused(""), "the registry accepts the token; "),
    ] {
        let gitea = Gitea::start(Build::GiteaNew);
        let shop = searching(&on_gitea(&gitea, PROD));
        gitea.intercept_all("/api/v1/user", answer);
        login(&shop, TOKEN, &[]).code(0).stderr(&format!("git: {expected}stored in the keyring\n"));
    }
}
