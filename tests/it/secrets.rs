//! Text from outside that repeats a secret, in part or in another form: nothing of it is shown or kept.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on_gitea};
use crate::http::{Answer, Server};
use crate::registry::{Build, TOKEN};

const KEY: &str = "planted-h4Jx7mPq2ZsV9cTb5NwL";

/// Everything that shows what came of deployments.
fn look(shop: &Shop) {
    for arguments in [
        &["history"][..],
        &["history", "--failed"],
        &["history", "--format", "json"],
        &["status", "-v"],
        &["status", "--format", "json"],
        &["status", "--format", "html"],
    ] {
        shop.run(arguments).code(0);
    }
}

/// Each stage hears the key from where text is cut; `before` characters of it are before the cut.
fn with_cuts(server: &Server, before: usize) -> String {
    let url = server.url();
    let stage = |name: &str, rest: &str| {
        format!(
            "[projects.shop.stages.{name}]\ntags = \"dev-*\"\norder = \"newest\"\nfirst_poll = \"deploy\"\n\
             verify_timeout = \"1ms\"\n{rest}\n"
        )
    };
    let asks = |path: &str, rest: &str| {
        format!("deploy = {{ url = \"{url}/{path}\", headers = {{ X-Key = \"{{secret.key}}\" }}{rest} }}")
    };
    let probe = |script: &str| {
        format!("deploy = {{ command = [\"true\"] }}\nrunning = {{ command = [\"sh\", \"-c\", '{script}'] }}")
    };
    let printing = |length: usize, rest: &str| {
        format!("printf %{}s | tr \" \" x; printf %s \"$(cat secret/key)\"; {rest}", length - before)
    };
    let plain = "verify_timeout = \"1ms\"\n";
    let stages = [
        stage("status", &asks("500", "")).replace(plain, ""),
        stage("equals", &asks("json", ", success = { pointer = \"/said\", equals = \"x\" }"))
            .replace(plain, ""),
        stage("pointer", &asks("json", ", success = { pointer = \"/none\" }")).replace(plain, ""),
        stage(
            "until",
            &asks(
                "json",
                ", until = { pointer = \"/said\", values = [\"x\"], every = \"1ms\", within = \"1ms\" }",
            ),
        )
        .replace(plain, ""),
        stage("long", &asks("long", "")).replace(plain, ""),
        stage(
            "url",
            &format!(
                "deploy = {{ command = [\"true\"] }}\nrunning = {{ url = \"{url}/text\", headers = {{ X-Key = \"{{secret.key}}\" }} }}"
            ),
        ),
        stage(
            "at",
            &format!(
                "deploy = {{ command = [\"true\"] }}\nrunning = {{ url = \"{url}/json\", pointer = \"/none\", headers = {{ X-Key = \"{{secret.key}}\" }} }}"
            ),
        ),
        stage("same", &probe("cat secret/key")),
        stage("stdout", &probe(&printing(200, ""))),
        stage("stderr", &probe(&format!("({}) >&2; exit 1", printing(300, "")))),
        stage(
            "errors",
            &probe(&format!(
                "({}) >&2; exit 1",
                printing(before + 1, &format!("printf %{}s | tr \" \" y", 4096 - KEY.len() + before))
            )),
        ),
        stage(
            "line",
            &format!(
                "deploy = {{ command = [\"sh\", \"-c\", '{}; exit 1'] }}",
                printing(before + 1, &format!("printf %{}s | tr \" \" y", 16 * 1024 - KEY.len() + before))
            ),
        )
        .replace(plain, ""),
        stage(
            "output",
            &format!(
                "deploy = {{ command = [\"sh\", \"-c\", '{}; exit 1'] }}",
                printing(200_000, &format!("yes | head -c {}", 64 * 1024 - KEY.len() + before))
            ),
        )
        .replace(plain, ""),
    ];
    // The key is known by a stage that uses it before all others.
    let first =
        stage("a", "deploy = { command = [\"true\"], env = { KEY = \"{secret.key}\" } }").replace(plain, "");
    format!("{first}{}[secrets]\nkey = {{ file = \"secret/key\" }}\n", stages.concat())
}

#[test]
fn a_secret_that_is_cut_anywhere_shows_nothing_of_it() {
    for before in [1, 20, KEY.len() - 1] {
        let gitea = gitea(Build::GiteaNew);
        let said = format!("{}{KEY}{}", "x".repeat(200 - before), "y".repeat(100));
        // Quotes and names take up a part of the shown text.
        let json = format!("{{\"said\": \"{}{KEY}\"}}", "x".repeat(199 - before));
        let long = format!("{}{KEY}{}", "x\n".repeat(512 * 1024 - before / 2), "y".repeat(100));
        let server = Server::start(move |request| match request.path() {
            "/500" => Answer::new(500, "text/plain", said.clone()).into(),
            "/text" => Answer::new(200, "text/plain", said.clone()).into(),
            "/long" => Answer::new(500, "text/plain", long.clone()).into(),
            _ => Answer::json(200, json.clone()).into(),
        });
        let shop = Shop::with(&on_gitea(&gitea, &with_cuts(&server, before)));
        shop.secret("key", KEY);
        let run = shop.run(&["poll", "-v"]);
        run.code(1).line("shop/a", &["deployed"]).shows("***");
        for failed in ["status", "equals", "pointer", "until", "long", "line", "output"] {
            run.line(&format!("shop/{failed}"), &["failed"]);
        }
        for unknown in ["url", "at", "same", "stdout", "stderr", "errors"] {
            run.line(&format!("shop/{unknown}"), &["unknown"]);
        }
        look(&shop);
    }
}

#[test]
fn a_registry_that_repeats_the_token_across_a_cut_shows_nothing_of_it() {
    for before in [1, 9, 20] {
        let gitea = gitea(Build::GiteaNew);
        let shop = Shop::with(&on_gitea(&gitea, PROD));
        let said = |length: usize| format!("{}{TOKEN}{}", "x".repeat(length - before), "y".repeat(100));
        gitea.intercept_all("", Answer::new(500, "text/plain", said(200)));
        shop.run(&["poll"]).code(1).line("shop/prod", &["unknown"]);
        gitea.recover();
        // Where a list is none, its text is quoted by the parser.
        let list = format!("{{\"name\": \"acme/shop\", \"tags\": {{\"{}\": 1}}}}", said(70));
        gitea.intercept_all("/tags/list", Answer::json(200, list));
        shop.run(&["poll"]).code(1);
        let list = format!("{{\"name\": \"acme/shop\", \"tags\": \"{}\"}}", said(70));
        gitea.intercept_all("/tags/list", Answer::json(200, list));
        shop.run(&["poll"]).code(1);
        let list = format!("{{\"name\": \"acme/shop\", \"tags\": [\"v1.10.0\", \"a {}\"]}}", said(148));
        gitea.intercept_all("/tags/list", Answer::json(200, list));
        shop.run(&["poll"]).shows("1 invalid tag name");
        look(&shop);
    }
}

#[test]
fn the_token_of_a_login_step_is_a_secret_and_an_id_is_none() {
    const SESSION: &str = "planted-r7Wd3kYn6QbF1sMz8XgC";
    let gitea = gitea(Build::GiteaNew);
    let login = format!(
        r#"{{"auth": {{"value": "{SESSION}", "access_token": "{SESSION}2"}}, "id": "app-17", "n": 1}}"#
    );
    let server = Server::start(move |request| match request.path() {
        "/login" => Answer::json(200, login.clone()).into(),
        path => {
            let header = request.header("authorization").unwrap_or_default();
            let encoded = STANDARD.encode(format!("ci:{SESSION}"));
            let body = String::from_utf8_lossy(&request.body);
            Answer::new(500, "text/plain", format!("{path}: {header} {body} {}{encoded}", "x".repeat(200)))
                .into()
        }
    });
    let url = server.url();
    let stage = format!(
        r#"
[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
first_poll = "deploy"
[[projects.shop.stages.dev.deploy]]
url = "{url}/login"
[[projects.shop.stages.dev.deploy]]
url = "{url}/apps/{{step.1./id}}/{{step.1./n}}"
headers = {{ Authorization = "Bearer {{step.1./auth/value}}" }}
form = {{ session = "{{step.1./auth/access_token}}" }}
"#
    );
    let shop = Shop::with(&on_gitea(&gitea, &stage));
    shop.plant(SESSION);
    let run = shop.run(&["poll", "-v"]);
    run.code(1).line("shop/dev", &["failed", "/apps/app-17/1: Bearer *** session=***"]);
    run.shows(r#"{"auth": {"value": "***", "access_token": "***"}, "id": "app-17", "n": 1}"#);
    look(&shop);
}

/// It is read no further, so that the token cannot be found in it.
#[test]
fn the_answer_of_a_login_step_that_is_too_long_is_not_shown() {
    const SESSION: &str = "planted-j3Rp5vSx0LuH7fKd2OaN";
    let gitea = gitea(Build::GiteaNew);
    let pad = "x".repeat(1024 * 1024 - 100);
    let server = Server::start(move |_| {
        Answer::json(200, format!("{{\"pad\": \"{pad}\", \"token\": \"{SESSION}\", \"more\": \"{pad}\"}}"))
            .into()
    });
    let url = server.url();
    let step = format!("{{ url = \"{url}/a\", headers = {{ X-Key = \"{{step.1./token}}\" }} }}");
    let stage = DEV.replace(
        "deploy = { command = [\"./deploy.sh\"] }",
        &format!("first_poll = \"deploy\"\ndeploy = [{{ url = \"{url}/login\" }}, {step}]"),
    );
    let shop = Shop::with(&on_gitea(&gitea, &stage));
    shop.plant(SESSION);
    let run = shop.run(&["poll", "-v"]);
    run.code(1).line("shop/dev", &["failed", "the answer of step 1 is not JSON, so it has no /token"]);
    run.shows("(more than 1 MiB, not shown: a later step uses a credential from it)");
    look(&shop);
}

#[test]
fn a_secret_url_is_not_shown_in_the_forms_in_which_it_is_sent() {
    let gitea = gitea(Build::GiteaNew);
    let server = Server::start(|request| {
        let header = request.header("authorization").unwrap_or("no credentials");
        Answer::new(500, "text/plain", format!("cannot {} with {header}", request.line())).into()
    });
    let stage = DEV.replace(
        "deploy = { command = [\"./deploy.sh\"] }",
        "first_poll = \"deploy\"\ndeploy = { url = \"{secret.hook}\" }",
    );
    let shop =
        Shop::with(&format!("{}[secrets]\nhook = {{ file = \"secret/hook\" }}\n", on_gitea(&gitea, &stage)));
    let host = format!("127.0.0.1:{}", server.port());
    shop.secret(
        "hook",
        &format!(r"http://robot:planted-q2Lf%209Kc@{host}\hooks\planted-5Td8Gj3M?key=planted-v6Xe0B"),
    );
    shop.plant("planted-q2Lf 9Kc");
    shop.plant("robot:planted-q2Lf 9Kc");
    let run = shop.run(&["poll", "-v"]);
    run.code(1).line("shop/dev", &["failed", "500"]).shows("cannot POST *** with ");
    look(&shop);
}

#[test]
fn white_space_around_a_token_is_removed() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.file("secret/token", &format!(" {TOKEN} \t\n\n"));
    shop.run(&["check", "--online"]).code(0);
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline", "dev-42"]);
}

#[test]
fn an_alarm_with_control_characters_in_a_header_arrives() {
    let gitea = gitea(Build::GiteaNew);
    let receiver = Endpoint::start();
    let notify = format!(
        "[[notify]]\non = [\"failed\"]\nurl = \"{}/tell\"\nheaders = {{ Title = \"{{target}}: {{error}}\" }}\nbody = \"{{error}}\"\n\
         [[notify]]\non = [\"failed\"]\ncommand = [\"./tell.sh\", \"{{error}}\"]\nenv = {{ ERROR = \"{{error}}\" }}\n",
        receiver.url()
    );
    let shop = Shop::with(&format!("{}{notify}", on_gitea(&gitea, DEV)));
    shop.run(&["poll"]).code(0);
    shop.script("deploy.sh", "printf '\\033[31mno\\tspace left\\033[0m\\000\\n'\nexit 1\n");
    shop.script("tell.sh", "echo \"$1\" > told\necho \"$ERROR\" >> told\n");
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "dev-43"]).shows_not("could not be told");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    let title = requests[0].header("title").unwrap();
    assert_eq!(title, "shop/dev: command: ./deploy.sh exited with status 1: no space left");
    assert_eq!(shop.read("told").lines().count(), 2);
}

#[test]
fn a_value_of_dots_leads_to_no_other_path() {
    let gitea = gitea(Build::GiteaNew);
    let server = Server::start(|request| match request.path() {
        "/find" => Answer::json(200, r#"{"id": ".."}"#).into(),
        _ => Answer::new(204, "", "").into(),
    });
    let url = server.url();
    let stage = |path: &str| {
        format!(
            "[projects.shop]\nvars = {{ app = \"..\" }}\n[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n\
             first_poll = \"deploy\"\ndeploy = [{{ url = \"{url}/find\" }}, {{ url = \"{url}/apps/{path}/restart\" }}]\n"
        )
    };
    let config = |path: &str| on_gitea(&gitea, &stage(path)).replacen("[projects.shop]\n", "", 1);
    let config = |path: &str| {
        let text = config(path);
        let (head, rest) = text.split_once("registry = \"git\"\nimage = \"acme/shop\"\n").unwrap();
        format!(
            "{head}{}",
            rest.replacen(
                "[projects.shop]\n",
                "[projects.shop]\nregistry = \"git\"\nimage = \"acme/shop\"\n",
                1
            )
        )
    };
    let shop = Shop::with(&config("{var.app}"));
    shop.run(&["check"]).code(2).shows("a variable makes a path segment");
    shop.config(&config("{step.1./id}"));
    shop.run(&["poll"]).code(1).line("shop/dev", &["failed", "a value makes a path segment `.` or `..`"]);
    shop.config(&config("{step.1./id}x"));
    shop.run(&["deploy", "shop/dev", "dev-42"]).code(0);
}

/// What stands on the terminal, and what `init` wrote, when a token is pasted.
#[test]
fn a_token_that_is_pasted_into_init_is_refused_and_not_shown() {
    let shop = Shop::new();
    let command = format!("tty > terminal; exec {} init --output new.toml", env!("CARGO_BIN_EXE_tagship"));
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--echo", "always", "--command", &command, "typescript"])
        .current_dir(shop.path(""))
        .env_clear()
        .env("HOME", shop.path("home"))
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("script is installed: {error}"));
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(b"git.example.com\n").unwrap();
    await_until("the terminal shows nothing that is typed", || {
        let terminal = std::fs::read_to_string(shop.path("terminal")).unwrap_or_default();
        let setting = Command::new("stty").args(["-a", "-F", terminal.trim()]).output().unwrap();
        String::from_utf8_lossy(&setting.stdout).contains(" -echo ")
    });
    keyboard.write_all(format!("{TOKEN}\nsecret/token\nacme/shop\n\n\n").as_bytes()).unwrap();
    drop(keyboard);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the file does not exist") && said.contains("umask 077"), "{said}");
    assert!(said.contains("token: the file secret/token"), "{said}");
    assert!(shop.read("new.toml").contains("token = { file = \"secret/token\" }"));
    shop.note_printed(&said);

    for option in ["--token-file", "--token-env", "--token-credential"] {
        let run = shop.run_bare(&[
            "init",
            "--registry",
            "git.example.com",
            "--image",
            "acme/shop",
            "--stage",
            "dev=dev-*",
            "--deploy-command",
            "x",
            "--output",
            "other.toml",
            option,
            TOKEN,
        ]);
        run.code(2).stdout("").stderr_has("looks like the token itself").stderr_has("umask 077");
        assert!(!shop.exists("other.toml"));
    }
}

/// The drop of the shop looks for it in everything that was printed and kept.
#[test]
fn a_secret_that_the_run_has_not_needed_yet_is_not_shown_either() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = Shop::new();
    shop.secret("key", KEY);
    shop.env("KEY_OF_ALARMS", "planted-8sLq2WvNz4RkYt6M");
    shop.plant("planted-8sLq2WvNz4RkYt6M");
    let tell = "on = [\"dead\"]\nurl = \"http://127.0.0.1:1/\"\n\
                headers = { X-A = \"{secret.key}\", X-B = \"{secret.variable}\" }";
    let secrets = "[secrets]\nkey = { file = \"secret/key\" }\nvariable = { env = \"KEY_OF_ALARMS\" }\n";
    let running = "running = { command = [\"sh\", \"-c\", \"echo runs $(cat secret/key)\"] }\nverify_timeout = \"1s\"\n";
    shop.config(&format!("{}{running}{secrets}[[notify]]\n{tell}\n", on_gitea(&gitea, DEV)));
    shop.script("deploy.sh", "cat secret/key; tr '\\0' '\\n' < /proc/$PPID/environ; exit 1");
    shop.run(&["poll"]);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.run(&["poll", "-v"]).code(1);
    shop.run(&["deploy", "shop/dev"]).code(1).shows_not(KEY).stdout_has("***");
    look(&shop);
}
