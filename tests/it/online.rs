//! `check --online`: does everything answer that a poll needs?

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on, on_gitea};
use crate::http::Answer;
use crate::oci::{Door, Oci};
use crate::registry::{Build, Gitea};

fn shop(gitea: &Gitea) -> Shop {
    Shop::with(&on_gitea(gitea, &format!("{DEV}{PROD}")))
}

#[test]
fn each_registry_and_each_target_has_a_line() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = shop(&gitea);
        let software = if build == Build::Forgejo { "Forgejo" } else { "Gitea" };
        let run = shop.run(&["check", "--online"]);
        run.code(0);
        let software = format!("git        ok      http://127.0.0.1:[port], {software} ");
        run.stdout_has(&software).stdout_has(", the token reads packages\n");
        run.stdout_has(
            "shop/dev   ok      127.0.0.1:[port]/acme/shop: 3 of 5 tags match, would select dev-42\n",
        );
        run.stdout_has(
            "shop/prod  ok      127.0.0.1:[port]/acme/shop: 2 of 5 tags match, would select v1.10.0\n",
        );
        assert!(!shop.exists("state.db"), "nothing is written");
        assert!(shop.deliveries().is_empty());
    }
}

#[test]
fn a_failure_is_reported_and_the_others_are_still_checked() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    let text = shop.read("tagship.toml");
    let other = "\n[projects.gone]\nregistry = \"git\"\nimage = \"acme/gone\"\n[projects.gone.stages.dev]\ntags = \"*\"\n\
                 order = \"newest\"\ndeploy = { command = [\"./deploy.sh\"] }\n";
    shop.config(&format!("{text}{other}"));
    shop.run(&["check", "--online"])
        .code(1)
        .stdout_has("gone/dev   failed  GET http://127.0.0.1:[port]/v2/acme/gone/tags/list: 404 Not Found")
        .stdout_has("shop/dev   ok ");
    shop.run(&["check", "--online", "-q"]).code(1).stdout_has("gone/dev").shows_not("shop/dev");
}

#[test]
fn a_command_that_is_not_there_is_found_before_it_is_needed() {
    let gitea = gitea(Build::GiteaNew);
    for (command, fault) in [
        ("./gone.sh", "./gone.sh cannot be run: [dir]/gone.sh does not exist"),
        ("./plain.txt", "./plain.txt cannot be run: [dir]/plain.txt is not executable (chmod +x?)"),
        ("no-such-program", "no-such-program cannot be run: no folder of PATH (/usr/bin:/bin) contains it"),
    ] {
        let shop = Shop::with(&on_gitea(&gitea, &DEV.replace("./deploy.sh", command)));
        shop.file("plain.txt", "");
        shop.run(&["check", "--online"]).code(1).stdout_has(&format!("shop/dev  failed  {fault}"));
    }
}

#[test]
fn a_missing_secret_and_a_wrong_token_are_found() {
    let gitea = gitea(Build::GiteaNew);
    let stage = DEV.replace("deploy.sh\"]", "deploy.sh\"], env = { KEY = \"{secret.key}\" }");
    let shop =
        Shop::with(&format!("{}[secrets]\nkey = {{ file = \"secret/gone\" }}\n", on_gitea(&gitea, &stage)));
    shop.run(&["check", "--online"]).code(1).stdout_has("shop/dev  failed  ").stdout_has("secret/gone");

    let shop = self::shop(&gitea);
    shop.secret("token", "planted-wrong-token");
    shop.run(&["check", "--online"])
        .code(1)
        .stdout_has("git        failed  ")
        .stdout_has("the token is wrong or has expired");
}

#[test]
#[ignore = "needs faketime"]
fn a_clock_that_is_apart_is_said() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    shop.run_under(&["faketime", "-f", "+1h"], &["check", "--online"])
        .code(0)
        .stdout_has("its clock and ours are ");
}

#[test]
fn something_else_under_the_url_is_said() {
    let gitea = gitea(Build::GiteaNew);
    gitea.intercept_all("/", Answer::new(404, "text/html", "nginx"));
    let shop = shop(&gitea);
    shop.run(&["check", "--online"])
        .code(1)
        .stdout_has("this is not the root of a Gitea or Forgejo; is url right?");
}

#[test]
fn command_line_in_place_of_a_program_is_a_failure() {
    let gitea = gitea(Build::GiteaNew);
    for (command, cure) in [
        (r#"["./deploy.sh {tag}"]"#, r#"["./deploy.sh", "{tag}"]"#),
        (r#"["./deploy.sh {tag}", "x"]"#, r#"["./deploy.sh", "{tag}", "x"]"#),
        (r#"["echo a"]"#, r#"["echo", "a"]"#),
        (r#"["./deploy.sh && echo {tag}"]"#, r#"["sh", "-c", "./deploy.sh && echo {tag}"]"#),
    ] {
        let shop = Shop::with(&on_gitea(&gitea, &DEV.replace("[\"./deploy.sh\"]", command)));
        for arguments in [&["check"][..], &["check", "--online"]] {
            let run = shop.run(arguments);
            run.code(1).stdout_has("shop/dev  failed  \"");
            run.stdout_has(&format!(
                "is not a program: commands run without a shell; write command = {cure}\n"
            ));
        }
    }
    // A path with a blank is still one program.
    let shop = Shop::with(&on_gitea(&gitea, &DEV.replace("./deploy.sh", "./my scripts/{stage}.sh")));
    shop.script("my scripts/dev.sh", "");
    shop.run(&["check"]).code(0).stderr("");
    shop.run(&["check", "--online"]).code(0).stdout_has("shop/dev  ok ");
}

#[test]
fn script_that_the_system_will_not_run_is_a_failure() {
    use std::os::unix::fs::PermissionsExt as _;
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    for (text, fault) in [
        (
            "#!/bin/sh\r\necho\r\n",
            "has Windows line endings, so the system does not find its interpreter; run: sed -i 's/\\r$//' [dir]/deploy.sh",
        ),
        ("echo\n", "has no #! line; add #!/bin/sh as its first line"),
        ("", "has no #! line; add #!/bin/sh as its first line"),
        (
            "#!/no/such/shell -e\n",
            "has the interpreter /no/such/shell in its first line, which does not exist",
        ),
        (
            "\u{feff}#!/bin/sh\necho\n",
            "begins with a byte order mark, so the system does not see its #! line; remove it: sed -i 's/^\\xEF\\xBB\\xBF//' [dir]/deploy.sh",
        ),
    ] {
        shop.file("deploy.sh", text);
        std::fs::set_permissions(shop.path("deploy.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        for arguments in [&["check"][..], &["check", "--online"]] {
            let line = format!("shop/dev  failed  ./deploy.sh cannot be run: [dir]/deploy.sh {fault}\n");
            shop.run(arguments).code(1).stdout_has(&line);
        }
    }
    // A run says the same.
    shop.file("deploy.sh", "#!/bin/sh\r\n");
    std::fs::set_permissions(shop.path("deploy.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    shop.run(&["deploy", "shop/dev"]).code(1).shows("deploy.sh has Windows line endings");
}

#[test]
fn a_file_that_may_exist_elsewhere_is_a_warning_offline() {
    let text = on_gitea(&gitea(Build::GiteaNew), &format!("{DEV}{PROD}"));
    let shop = Shop::with(&text.replace("./deploy.sh", "./gone.sh").replace("secret/token", "~/token"));
    shop.run(&["check"])
        .code(0)
        .stderr_has("warning: registries.git.token.file: only a shell expands ~\n")
        .stderr_has("help: write file = \"[dir]/home/token\"\n")
        .stderr_has("warning: [dir]/tagship.toml: shop/dev and 1 more: ./gone.sh cannot be run: [dir]/gone.sh does not exist\n")
        .shows_not("token does not exist");
    let shop = Shop::with(&text.replace("./deploy.sh", "deploy.sh"));
    shop.run(&["check"]).code(0).stderr_has("it is in [dir], so write ./deploy.sh\n");
}

#[test]
fn shell_words_in_a_command_are_a_warning() {
    let text = on_gitea(&gitea(Build::GiteaNew), DEV);
    let shop = Shop::with(&text.replace("\"./deploy.sh\"", "\"./deploy.sh\", \"{{tag}}\", \"&&\", \"true\""));
    let run = shop.run(&["check"]);
    run.code(0).stderr_has("[dir]/tagship.toml: shop/dev: \"&&\" is passed to ./deploy.sh as an argument");
    run.stderr_has("{{tag}} leaves braces around the value; write {tag}\n");
}

#[test]
fn a_rule_is_checked_against_the_fresh_list() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, &DEV.replace("dev-*", "dev-.*")));
    let run = shop.run(&["check", "--online"]);
    run.code(0).stdout_has(
        "shop/dev  warn    127.0.0.1:[port]/acme/shop: none of 5 tags matches (such as dev-41); \
         tags \"dev-.*\" is a glob, not a regex: \"dev-*\" matches 3 of them\n",
    );

    for number in 95..=105 {
        gitea.push("acme/shop", &format!("ls{number}"), "2026-11-20T10:00:00Z");
    }
    let stage = PROD.replace("v*", "ls*").replace("semver", "alphabetical");
    let shop = Shop::with(&on_gitea(&gitea, &stage));
    shop.run(&["check", "--online"])
        .code(0)
        .stdout_has("shop/prod  warn    ")
        .stdout_has("alphabetical sorts 100 below 99: for numbers write order = \"numeric\" or \"semver\"\n");
}

#[test]
fn registry_that_wants_a_sign_in_is_a_failure_without_a_credential() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let anonymous =
            on_gitea(&gitea, PROD).replace("token = { file = \"secret/token\" }", "anonymous = true");
        let shop = Shop::with(&anonymous);
        shop.run(&["check", "--online"]).code(0).stdout_has("anonymous access\n");
        gitea.intercept_all("/v2/token", gitea.recorded("more/38-sign-in-required-token-anonymous"));
        shop.run(&["check", "--online"])
            .code(1)
            .stdout_has("git        failed  GET http://127.0.0.1:[port]/v2/token?")
            .stdout_has("it requires a token; create one with the scope read:package");
    }
    let oci = Oci::start(Door::Basic, 100);
    let anonymous =
        on("oci", &oci.url(), PROD).replace("token = { file = \"secret/token\" }", "anonymous = true");
    Shop::with(&anonymous)
        .run(&["check", "--online"])
        .code(1)
        .stdout_has("git        failed  GET http://127.0.0.1:[port]/v2/: 401 Unauthorized: ");
}

#[test]
fn a_folder_or_pipe_named_as_program_is_reported_as_such() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.remove("deploy.sh");
    let refused = |what: &str| {
        let fault = format!("./deploy.sh cannot be run: [dir]/deploy.sh is {what}, not a program");
        shop.run(&["check"]).code(1).stdout_has(&format!("shop/dev  failed  {fault}\n"));
        shop.run(&["deploy", "shop/dev"]).code(1).shows(&fault);
    };
    std::fs::create_dir(shop.path("deploy.sh")).unwrap();
    refused("a folder");
    std::fs::remove_dir(shop.path("deploy.sh")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(shop.path("deploy.sh")).status().unwrap().success());
    refused("a named pipe (FIFO)");
    std::fs::remove_file(shop.path("deploy.sh")).unwrap();
    // As a secret's program.
    let shop = Shop::with(
        &on_gitea(&gitea, DEV).replace("{ file = \"secret/token\" }", "{ command = [\"./give\"] }"),
    );
    std::fs::create_dir(shop.path("give")).unwrap();
    shop.run(&["poll"]).code(1).shows("./give cannot be run: [dir]/give is a folder, not a program");
    std::fs::remove_dir(shop.path("give")).unwrap();
    shop.script("give", "");
    shop.file("give", "\u{feff}#!/bin/sh\n");
    shop.run(&["poll", "--format", "json"])
        .code(1)
        .shows("./give cannot be run: [dir]/give begins with a byte order mark");
}

/// Whatever starts it: an interpreter, or programs that only run another one.
#[test]
fn script_behind_other_programs_is_judged_as_one_that_is_run_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    let text = on_gitea(&gitea(Build::GiteaNew), DEV);
    let shop = Shop::new();
    for (name, content) in [
        ("crlf.sh", "#!/bin/sh\r\necho\r\n"),
        ("marked.sh", "\u{feff}#!/bin/sh\necho\n"),
        ("bare.sh", "echo\n"),
        ("split.sh", "#!/usr/bin/env bash -e\n"),
        ("option.sh", "#!/usr/bin/env -i sh\n"),
        ("named.sh", "#!nosuch -e\n"),
        ("chain.sh", "#!/usr/bin/env ./named.sh\n"),
        ("self.sh", "#!./self.sh\n"),
        ("good.sh", "#!/usr/bin/env -S -u A -i bash -e\n"),
        ("beside.sh", "#!./good.sh\n"),
    ] {
        shop.file(name, content);
        std::fs::set_permissions(shop.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let checked = |command: &str| {
        shop.config(&text.replace("[\"./deploy.sh\"]", command));
        shop.run(&["check"])
    };
    let lines = "[dir]/crlf.sh has Windows line endings, so the system does not find its interpreter; run: sed -i 's/\\r$//' [dir]/crlf.sh";
    let read = "[dir]/crlf.sh has Windows line endings, which a shell reads as part of each command; run: sed -i 's/\\r$//' [dir]/crlf.sh";
    for (command, fault) in [
        (r#"["sh", "./crlf.sh"]"#, format!("sh cannot run ./crlf.sh: {read}")),
        (r#"["bash", "-e", "crlf.sh", "{tag}"]"#, format!("bash cannot run crlf.sh: {read}")),
        (
            r#"["sh", "./marked.sh"]"#,
            "sh cannot run ./marked.sh: [dir]/marked.sh begins with a byte order mark, which a shell reads as part of the first command; remove it: sed -i 's/^\\xEF\\xBB\\xBF//' [dir]/marked.sh".to_owned(),
        ),
        (r#"["env", "-S", "A=1 ./crlf.sh x"]"#, format!("env cannot run ./crlf.sh: {lines}")),
        (r#"["env", "-u", "B", "A=1", "./crlf.sh"]"#, format!("env cannot run ./crlf.sh: {lines}")),
        (r#"["timeout", "5", "./crlf.sh"]"#, format!("timeout cannot run ./crlf.sh: {lines}")),
        (
            r#"["timeout", "-k", "5", "--signal=INT", "1m", "nice", "-n", "5", "./crlf.sh"]"#,
            format!("timeout cannot run ./crlf.sh: {lines}"),
        ),
        (r#"["nice", "./crlf.sh", "{tag}"]"#, format!("nice cannot run ./crlf.sh: {lines}")),
        (r#"["nice", "-10", "./crlf.sh"]"#, format!("nice cannot run ./crlf.sh: {lines}")),
        (r#"["flock", "-n", "lock", "./crlf.sh"]"#, format!("flock cannot run ./crlf.sh: {lines}")),
        (
            r#"["flock", "lock", "-c", "exec ./crlf.sh"]"#,
            format!("flock cannot run ./crlf.sh: {lines}"),
        ),
        (r#"["setsid", "-w", "sh", "crlf.sh"]"#, format!("setsid cannot run crlf.sh: {read}")),
        (r#"["sh", "-c", "exec ./crlf.sh"]"#, format!("sh cannot run ./crlf.sh: {lines}")),
        (r#"["sh", "-c", "exec nice ./crlf.sh {tag} > log"]"#, format!("sh cannot run ./crlf.sh: {lines}")),
        (r#"["sh", "-c", "bash ./crlf.sh; x"]"#, format!("sh cannot run ./crlf.sh: {read}")),
        (
            r#"["./split.sh"]"#,
            "./split.sh cannot be run: [dir]/split.sh passes \"bash -e\" to env as one argument; write #!/usr/bin/env -S bash -e as its first line".to_owned(),
        ),
        (
            r#"["./option.sh"]"#,
            "./option.sh cannot be run: [dir]/option.sh passes \"-i sh\" to env as one argument; write #!/usr/bin/env -S -i sh as its first line".to_owned(),
        ),
        (
            r#"["nice", "./split.sh"]"#,
            "nice cannot run ./split.sh: [dir]/split.sh passes \"bash -e\" to env as one argument; write #!/usr/bin/env -S bash -e as its first line".to_owned(),
        ),
        (
            r#"["./named.sh"]"#,
            "./named.sh cannot be run: [dir]/named.sh has the interpreter nosuch in its first line, which does not exist; PATH is not searched for it".to_owned(),
        ),
        (
            r#"["./chain.sh"]"#,
            "./chain.sh cannot run ./named.sh: [dir]/named.sh has the interpreter nosuch in its first line, which does not exist; PATH is not searched for it".to_owned(),
        ),
    ] {
        checked(command).code(1).stdout_has(&format!("shop/dev  failed  {fault}\n"));
    }
    for command in [
        r#"["timeout", "5", "./bare.sh"]"#,
        r#"["timeout", "--nosuch", "./crlf.sh"]"#,
        r#"["timeout", "./crlf.sh"]"#,
        r#"["flock", "-u", "9"]"#,
        r#"["nice"]"#,
        r#"["sh", "-c", "exec > log; ./crlf.sh"]"#,
        r#"["sh", "-c", "exec 9>lock; flock 9; ./crlf.sh"]"#,
        r#"["sh", "-c", "command -v ./crlf.sh"]"#,
        r#"["python3", "./crlf.sh"]"#,
        r#"["env", "-C", "/", "./crlf.sh"]"#,
        r#"["./good.sh"]"#,
        r#"["./beside.sh"]"#,
        r#"["sh", "./split.sh"]"#,
    ] {
        checked(command).code(0).stderr("").stdout_has("no faults\n");
    }
    // It is not followed for ever.
    checked(r#"["./self.sh"]"#).code(0);
}

/// The program is there; what it is to run is not.
#[test]
fn the_script_of_an_interpreter_is_looked_for_offline() {
    let text = on_gitea(&gitea(Build::GiteaNew), DEV);
    let checked = |command: &str| {
        let shop = Shop::with(&text.replace("[\"./deploy.sh\"]", command));
        shop.script("env.sh", "");
        shop.file("env.sh", "#!/usr/bin/env nosuch\n");
        shop.file("split.sh", "#!/usr/bin/env -S nosuch -x\n");
        shop.file("good.sh", "#!/usr/bin/env sh\n");
        shop.file("plain.sh", "true\n");
        for name in ["split.sh", "good.sh"] {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(shop.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::create_dir(shop.path("folder")).unwrap();
        shop.run(&["check"])
    };
    let path = "no folder of PATH (/usr/bin:/bin) contains it; cron's is often /usr/bin:/bin, so write the whole path";
    for (command, warning) in [
        (r#"["sh", "./nosuch.sh"]"#, "sh cannot run ./nosuch.sh: [dir]/nosuch.sh does not exist".to_owned()),
        (
            r#"["/bin/bash", "-eu", "nosuch.sh", "{tag}"]"#,
            "/bin/bash cannot run nosuch.sh: [dir]/nosuch.sh does not exist".to_owned(),
        ),
        (
            r#"["sh", "-o", "errexit", "./nosuch.sh"]"#,
            "sh cannot run ./nosuch.sh: [dir]/nosuch.sh does not exist".to_owned(),
        ),
        (r#"["bash", "-c", "nosuch {tag}"]"#, format!("bash cannot run nosuch: {path}")),
        (
            r#"["sh", "-ec", "./nosuch.sh && true"]"#,
            "sh cannot run ./nosuch.sh: [dir]/nosuch.sh does not exist".to_owned(),
        ),
        (r#"["./env.sh"]"#, format!("./env.sh cannot run nosuch: {path}")),
        (r#"["./split.sh"]"#, format!("./split.sh cannot run nosuch: {path}")),
        (r#"["env", "A=1", "nosuch"]"#, format!("env cannot run nosuch: {path}")),
    ] {
        let run = checked(command);
        run.code(0).stderr(&format!("warning: [dir]/tagship.toml: shop/dev: {warning}\n"));
    }
    let fault = "shop/dev  failed  sh cannot run folder: [dir]/folder is a folder, not a program\n";
    checked(r#"["sh", "folder"]"#).code(1).stdout_has(fault);
    for command in [
        r#"["sh", "./plain.sh", "nosuch"]"#,
        r#"["sh", "plain.sh"]"#,
        r#"["./good.sh"]"#,
        r#"["sh", "-c", "cd /srv && ./nosuch.sh"]"#,
        r#"["sh", "-c", "if true; then nosuch; fi"]"#,
        r#"["sh", "-c", "A=1 nosuch"]"#,
        r#"["sh", "-c", "f() { true; }; f {tag}"]"#,
        r#"["sh", "-c", "$X {tag}"]"#,
        r#"["sh", "-c", "true {tag}"]"#,
        r#"["sh", "-s"]"#,
        r#"["sh", "./{tag}.sh"]"#,
        r#"["env"]"#,
        r#"["env", "-i", "sh", "-c", "true"]"#,
    ] {
        checked(command).code(0).stderr("");
    }
}

/// What the rows say is not contradicted above them.
#[test]
fn online_faults_are_not_preceded_by_no_faults() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    shop.run(&["check", "--online"])
        .code(0)
        .stdout_has("[dir]/tagship.toml: 2 targets, 2 of them polled\n")
        .shows_not("no faults");
    shop.run(&["check"]).code(0).stdout("[dir]/tagship.toml: 2 targets, 2 of them polled; no faults\n");
    // Locks that cannot be used are a fault, too.
    shop.run(&["poll"]).code(0);
    shop.file("state.db.locks", "");
    shop.run(&["check"]).code(1).stdout("[dir]/tagship.toml: 2 targets, 2 of them polled\n");
}

#[test]
fn a_rule_without_a_match_is_a_warning_with_the_reason() {
    let gitea = gitea(Build::GiteaNew);
    let warning = |stage: &str, warning: &str| {
        let shop = Shop::with(&on_gitea(&gitea, stage));
        shop.run(&["check", "--online"]).code(0).stdout_has(&format!("shop/prod  warn    {warning}\n"));
    };
    let image = "127.0.0.1:[port]/acme/shop";
    warning(
        &format!("{PROD}range = \">=1.10.0, <1.10.0\"\n"),
        &format!("{image}: 2 of 5 tags match (2 are outside the range)"),
    );
    gitea.push("acme/shop", "v2.0.0-rc.1", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v3", "2026-11-20T11:00:00Z");
    warning(
        &format!("{PROD}range = \">=3\"\n"),
        &format!(
            "{image}: 4 of 7 tags match (the order cannot compare 1 of them, 2 are outside the range, 1 is a prerelease)"
        ),
    );
    // Ignored names are counted even if a tag is selected.
    let shop = Shop::with(&on_gitea(&gitea, PROD));
    shop.run(&["check", "--online"]).code(0).stdout_has(&format!(
        "shop/prod  ok      {image}: 4 of 7 tags match (the order cannot compare 1 of them, 1 is a prerelease), would select v1.10.0\n"
    ));
    for tag in ["v1.9.0", "v1.10.0", "v2.0.0-rc.1", "v3", "dev-9", "dev-41", "dev-42"] {
        gitea.delete("acme/shop", tag);
    }
    warning(PROD, &format!("{image}: the image has no tags yet"));
}

#[test]
fn fault_of_several_targets_is_one_line_and_hides_no_selection() {
    let gitea = gitea(Build::GiteaNew);
    let both = format!("{DEV}{PROD}");
    for (from, to, fault) in [
        ("[\"./deploy.sh\"]", "[\"./gone.sh\"]", "./gone.sh cannot be run: [dir]/gone.sh does not exist\n"),
        (
            "[\"./deploy.sh\"]",
            "[\"./deploy.sh\"], env = { KEY = \"{secret.key}\" }",
            "the secret key: [dir]/secret/gone cannot be read: ",
        ),
    ] {
        let config = format!(
            "{}[secrets]\nkey = {{ file = \"secret/gone\" }}\n",
            on_gitea(&gitea, &both.replace(from, to))
        );
        let shop = Shop::with(&config);
        let run = shop.run(&["check", "--online"]);
        run.code(1).stdout_has(&format!("shop/dev and 1 more  failed  {fault}"));
        let count = run.stdout.matches(fault).count();
        assert_eq!(count, 1, "{}", run.printed());
        run.stdout_has("/acme/shop: 3 of 5 tags match, would select dev-42\n");
        run.stdout_has("/acme/shop: 2 of 5 tags match, would select v1.10.0\n");
    }
}

#[test]
fn registry_that_fails_is_one_line_for_its_targets() {
    let worker = format!(
        "[projects.worker]\nregistry = \"git\"\nimage = \"acme/worker\"\n{}",
        PROD.replace("projects.shop", "projects.worker")
    );
    let stages = format!("{DEV}{PROD}{worker}");
    let shop = Shop::with(&on("gitea", "http://127.0.0.1:1", &stages));
    let run = shop.run(&["check", "--online"]);
    run.code(1).stdout_has("git");
    assert_eq!(run.stdout.matches("  failed  ").count(), 2, "{}", run.printed());
    run.stdout_has("shop/dev and 2 more  failed  the same error as the registry git\n");

    // A wrong token, for every image.
    let gitea = gitea(Build::GiteaNew);
    gitea.push("acme/worker", "v1.0.0", "2026-11-20T10:00:00Z");
    let shop = Shop::with(&on_gitea(&gitea, &stages));
    shop.secret("token", "planted-wrong-token");
    let run = shop.run(&["check", "--online"]);
    run.code(1).stdout_has("the token is wrong or has expired");
    assert_eq!(run.stdout.matches("  failed  ").count(), 2, "{}", run.printed());
}
