//! `init`: a configuration from options, from questions, and from what a registry has.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::harness::Shop;
use crate::http::Answer;
use crate::oci::{Door, Oci};
use crate::registry::{Build, Gitea, TOKEN, WRONG_TOKEN};
use crate::run::Run;

const OPTIONS: [&str; 9] = [
    "init",
    "--registry",
    "https://git.example.com",
    "--image",
    "acme/shop",
    "--stage",
    "dev=dev-*",
    "--deploy-command",
    "./deploy.sh {tag}",
];

fn init(shop: &Shop, more: &[&str]) -> Run {
    shop.run_bare(&[&OPTIONS[..], &["--output", "new/config.toml"], more].concat())
}

/// `check` finds no fault in the written configuration.
#[track_caller]
fn checked(shop: &Shop, file: &str) -> String {
    let state = shop.path("state.db");
    let arguments = ["--config", file, "--state", state.to_str().unwrap(), "check"];
    shop.run_bare(&arguments).code(0).stdout_has("; no faults\n");
    shop.read(file)
}

#[test]
fn options_alone_make_a_configuration_that_is_checked_and_polled() {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/shop", "dev-1", "2026-11-20T10:00:00Z");
    let shop = Shop::new();
    let url = gitea.url();
    let run = shop.run_bare(&[
        "init",
        "--registry",
        &url,
        "--token-file",
        "secret/token",
        "--image",
        "acme/shop",
        "--stage",
        "dev=dev-*",
        "--stage",
        "prod=v*",
        "--deploy-command",
        "./deploy.sh {tag}",
        "--output",
        "tagship.toml",
    ]);
    run.code(0).stdout("").stderr(
        "wrote [dir]/tagship.toml with 2 stages; please review it\n\
         wrote [dir]/tagship.schema.json, for editors\n\
         next: tagship --config [dir]/tagship.toml check --online\n\
         then: tagship --config [dir]/tagship.toml poll\n",
    );
    let text = checked(&shop, "tagship.toml");
    assert!(text.starts_with("#:schema ./tagship.schema.json\n"), "{text}");
    assert!(text.contains("token = { file = \"secret/token\" }\n"), "{text}");
    shop.run(&["poll"]).code(0).line("shop/dev", &["baseline"]);
    gitea.push("acme/shop", "dev-2", "2026-11-20T11:00:00Z");
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-2"]);
    let schema: serde_json::Value = serde_json::from_str(&shop.read("tagship.schema.json")).unwrap();
    assert!(schema["properties"]["registries"].is_object());
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    let shop = Shop::new();
    shop.file("new/config.toml", "mine");
    init(&shop, &[]).code(2).stdout("").stderr(
        "error: [dir]/new/config.toml already exists, and init never overwrites a file; move it away, or choose another file with --output FILE\n",
    );
    assert_eq!(shop.read("new/config.toml"), "mine");
    assert!(!shop.exists("new/tagship.schema.json"));
    std::os::unix::fs::symlink("nowhere", shop.path("link.toml")).unwrap();
    shop.run_bare(&[&OPTIONS[..], &["--output", "link.toml"]].concat()).code(2).stderr_has("already exists");
}

#[test]
fn folders_are_made_and_an_address_that_deploys_is_for_its_user_alone() {
    let mode = |shop: &Shop| fs::metadata(shop.path("new/config.toml")).unwrap().permissions().mode() & 0o777;
    let shop = Shop::new();
    init(&shop, &[]).code(0);
    assert_eq!(mode(&shop) & 0o600, 0o600);
    assert_ne!(mode(&shop), 0o600);
    let shop = Shop::new();
    let mut options = OPTIONS.to_vec();
    options
        .splice(7.., ["--deploy-url", "https://deploy.example.com/hooks/x", "--output", "new/config.toml"]);
    shop.run_bare(&options).code(0);
    assert_eq!(mode(&shop), 0o600);
    checked(&shop, "new/config.toml");
}

#[test]
fn without_a_terminal_missing_options_are_named() {
    let shop = Shop::new();
    shop.run_bare(&["init"]).code(2).stdout("").stderr(
        "error: standard input is not a terminal, so these options are required: --registry URL, --image IMAGE, \
         --stage NAME=GLOB, --deploy-command COMMAND or --deploy-url URL\n",
    );
    assert!(!shop.exists("home/.config/tagship/config.toml"));
}

#[test]
fn the_file_goes_where_it_is_looked_for() {
    let shop = Shop::new();
    // Root's place is the machine's own, which a test leaves alone.
    if rustix::process::geteuid().is_root() {
        let path = shop.path("named.toml");
        shop.run_bare(&[&["--config", path.to_str().unwrap()], &OPTIONS[..]].concat()).code(0);
        checked(&shop, "named.toml");
        return;
    }
    shop.run_bare(&OPTIONS).code(0).stderr_has("next: tagship check --online\nthen: tagship poll\n");
    checked(&shop, "home/.config/tagship/config.toml");
}

#[test]
fn standard_output_will_do_too() {
    let shop = Shop::new();
    let run = shop.run_bare(&[&OPTIONS[..], &["--output", "-"]].concat());
    run.code(0).stderr("").stdout_has("[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"");
}

#[test]
fn an_invalid_configuration_is_not_written() {
    let shop = Shop::new();
    for (option, value, said) in [
        ("--stage", "two=a b", "\"a b\" matches no tag"),
        ("--registry", "http://git.example.com", "tokens would be sent unencrypted"),
        ("--deploy-command", "./deploy.sh {tga}", "unknown placeholder {tga}"),
        ("--image", "shop", "\"shop\" has no owner"),
    ] {
        let mut options = OPTIONS.to_vec();
        match options.iter().position(|known| *known == option) {
            Some(place) if option != "--stage" => options[place + 1] = value,
            _ => options.extend([option, value]),
        }
        options.extend(["--output", "new.toml"]);
        shop.run_bare(&options)
            .code(2)
            .stdout("")
            .stderr_has("the configuration would not be valid; nothing was written:\n")
            .stderr_has(said);
        assert!(!shop.exists("new.toml"));
    }
    for (address, option) in [("~/images", "--registry"), ("$HOME/images", "--from")] {
        let said = format!("error: {address}: only a shell expands this; write the whole path\n");
        shop.run_bare(&["init", option, address, "--output", "new.toml"]).code(2).stdout("").stderr(&said);
    }
    init(&shop, &["--stage", "dev=x*"])
        .code(2)
        .stdout("")
        .stderr("error: the stage dev is given twice; for several globs, write tags = [...] in the file\n");
    for (option, value, said) in [
        ("--image", "Acme/Shop", "\"Acme/Shop\" is not a valid image: expected lower-case letters"),
        (
            "--image",
            "git.example.com:3000/acme/shop:dev-1",
            "is not a valid image: expected a name without host, tag and digest; write acme/shop\n",
        ),
        ("--image", "git.example.com/acme/shop", "expected the image without it: acme/shop\n"),
        ("--stage", "dev", "expected NAME=GLOB"),
        ("--order", "dev=biggest", "expected one of newest, semver"),
    ] {
        init(&shop, &[option, value]).code(2).stderr_has(said);
    }
}

#[test]
fn orders_are_guessed_or_given_for_one_stage_or_all() {
    let shop = Shop::new();
    init(
        &shop,
        &["--stage", "prod=v*", "--stage", "old=x*", "--order", "dev=numeric", "--order", "alphabetical"],
    )
    .code(0);
    let text = checked(&shop, "new/config.toml");
    for part in ["tags = \"dev-*\"\norder = \"numeric\"\n", "tags = \"v*\"\norder = \"alphabetical\"\n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn every_kind_of_registry_has_a_configuration() {
    for (registry, kind) in [
        ("ghcr.io", "github"),
        ("docker.io", "dockerhub"),
        ("https://registry.gitlab.com", "gitlab"),
        ("quay.io", "oci"),
        ("git.example.com", "gitea"),
        ("images", "oci-layout"),
    ] {
        let shop = Shop::new();
        fs::create_dir(shop.path("images")).unwrap();
        let mut options = OPTIONS.to_vec();
        options[2] = registry;
        shop.run_bare(&[&options[..], &["--output", "new.toml"]].concat()).code(0);
        let text = checked(&shop, "new.toml");
        assert!(text.contains(&format!("\nkind = \"{kind}\"")), "{text}");
    }
}

fn gitea(build: Build) -> Gitea {
    let gitea = Gitea::start(build);
    for number in 1..=60 {
        gitea.push("acme/shop", &format!("dev-{number}"), "2026-11-20T10:00:00Z");
    }
    for (image, tag) in [
        ("acme/shop", "v1.0.0"),
        ("acme/shop", "v1.1.0"),
        ("acme/shop", "latest"),
        ("acme/team/api", "2026.11.20"),
        ("acme/team-api", "3f2a9c1"),
        ("acme/settings", "1.0.0"),
        ("acme/odd.name_x", "1.0.0-rc.1"),
        ("acme/moving", "latest"),
    ] {
        gitea.push(image, tag, "2026-11-20T11:00:00Z");
    }
    // Not on the first page of the owner's versions.
    gitea.push("acme/oldest", "v0.1.0", "2026-11-19T10:00:00Z");
    gitea.push_child("acme/shop", "2026-11-20T12:00:00Z");
    gitea
}

#[test]
fn every_image_of_an_owner_has_the_stages_that_fit_its_tags() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = Shop::new();
        let from = format!("{}/Acme", gitea.url());
        let run = shop.run_bare(&[
            "init",
            "--from",
            &from,
            "--token-file",
            "secret/token",
            "--deploy-command",
            "./deploy.sh {image}",
            "--output",
            "tagship.toml",
        ]);
        run.code(0).stderr_has("wrote [dir]/tagship.toml with 7 stages; please review it\n");
        let text = checked(&shop, "tagship.toml");
        for part in [
            "[projects.shop.stages.dev]\n# 60 tags at present, such as dev-9, dev-8, dev-7.\ntags = \"dev-*\"\norder = \"numeric\"",
            "[projects.shop.stages.prod]\n# 2 tags at present, such as v1.1.0, v1.0.0.\ntags = \"v*\"\norder = \"semver\"",
            "# Skipped: latest: moving tags",
            "[projects.team-api]\nregistry = \"git\"\nimage = \"acme/team-api\"\n",
            "[projects.team-api-2]\nregistry = \"git\"\nimage = \"acme/team/api\"\n",
            "[projects.\"odd.name_x\".stages.prod]\n",
            "prerelease = true\n",
            "[projects.oldest.stages.prod]\n",
            "# [projects.moving]\n",
        ] {
            assert!(text.contains(part), "{build:?}: {part}\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        shop.run(&["poll"]).code(0);
        // By the owner's name as an option it is the same.
        let url = gitea.url();
        let options =
            ["--owner", "acme", "--token-file", "secret/token", "--deploy-command", "./deploy.sh {image}"];
        shop.run_bare(&[&["init", "--from", &url], &options[..], &["--output", "again.toml"]].concat())
            .code(0);
        assert_eq!(shop.read("again.toml"), text);
    }
}

#[test]
fn from_a_forge_images_with_alike_tags_get_one_table() {
    let gitea = Gitea::start(Build::GiteaNew);
    for image in ["acme/blog", "acme/shop", "acme/team/api"] {
        gitea.push(image, "v1.0.0", "2026-11-20T11:00:00Z");
    }
    gitea.push("acme/moving", "latest", "2026-11-20T11:00:00Z");
    let shop = Shop::new();
    let from = format!("{}/acme", gitea.url());
    let options =
        ["--token-file", "secret/token", "--deploy-command", "./deploy.sh", "--output", "tagship.toml"];
    shop.run_bare(&[&["init", "--from", &from], &options[..]].concat())
        .code(0)
        .stderr_has("wrote [dir]/tagship.toml with 1 stage; please review it\n");
    let text = checked(&shop, "tagship.toml");
    assert!(text.contains("[projects.acme]\nregistry = \"git\"\nimages = \"acme/*\"\n"), "{text}");
    shop.run(&["poll"]).code(0);
    let targets = shop.run(&["status", "--format", "json"]).code(0).targets();
    assert_eq!(targets, ["blog/prod", "shop/prod", "team-api/prod"]);
}

#[test]
fn an_address_from_a_browser_or_the_api_is_split_into_registry_owner_and_image() {
    let gitea = gitea(Build::GiteaNew);
    let url = gitea.url();
    let more = ["--token-file", "secret/token", "--deploy-command", "./deploy.sh {tag}"];
    for (path, options, projects) in [
        ("acme/shop", &[][..], 1),
        ("acme/-/packages/container/shop/dev-1", &[], 1),
        ("v2/acme/shop/tags/list", &[], 1),
        ("acme/-/packages", &[], 5),
        ("v2/acme", &[], 5),
        ("acme", &["--image", "acme/shop"], 1),
    ] {
        let shop = Shop::new();
        let from = format!("{url}/{path}");
        let place = ["--output", "tagship.toml"];
        shop.run_bare(&[&["init", "--from", &from], options, &more[..], &place].concat()).code(0);
        let text = shop.read("tagship.toml");
        assert!(text.contains(&format!("url = \"{url}\"\n")), "{path}: {text}");
        assert!(text.contains("image = \"acme/shop\"\n"), "{path}: {text}");
        assert_eq!(
            text.matches("\n[projects.").count() - text.matches(".stages.").count(),
            projects,
            "{path}: {text}"
        );
    }
    let image = format!("{}/acme/shop", url.trim_start_matches("http://"));
    Shop::new().run_bare(&["init", "--registry", &url, "--image", &image]).code(2).stderr_has(
        "error: invalid value '127.0.0.1:[port]/acme/shop' for '--image <IMAGE>': \"127.0.0.1:[port]/acme/shop\" is not a valid \
         image: expected a name without host, tag and digest; write acme/shop\n",
    );
}

#[test]
fn a_forge_that_does_not_answer_leaves_no_file() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::new();
    shop.secret("wrong", WRONG_TOKEN);
    let url = gitea.url();
    let from = |owner: &str, token: &str| {
        let from = format!("{url}/{owner}");
        shop.run_bare(&["init", "--from", &from, token, "--deploy-command", "x", "--output", "new.toml"])
    };
    from("acme", "--token-file=secret/wrong")
        .code(1)
        .stderr_has("401 Unauthorized")
        .stderr_has("; nothing was written\n");
    gitea.private_owner("acme");
    from("acme", "--anonymous")
        .code(1)
        .stderr("error: acme has no images there, or the token has no access to them; nothing was written\n");
    from("nobody", "--token-file=secret/token").code(1).stderr_has("; nothing was written\n");
    shop.run_bare(&["init", "--from", &url, "--deploy-command", "x", "--output", "new.toml"])
        .code(2)
        .stderr_has("the owner of the images is missing; add --owner OWNER");
    assert!(!shop.exists("new.toml"));
}

#[test]
fn from_a_registry_that_cannot_be_described_is_a_usage_error_before_it_is_asked() {
    let shop = Shop::new();
    let from = |address: &str| {
        shop.run_bare(&["init", "--from", address, "--deploy-command", "x", "--output", "new.toml"])
    };
    from("http://git.example.test/acme").code(2).stdout("").stderr(
        "error: the configuration would not be valid; nothing was written:\n  \
           registries.git.url: tokens would be sent unencrypted\n    \
             help: write url = \"https://git.example.test\", or add insecure_http = true\n",
    );
    // What stands there may be a password, and is not repeated.
    from("https://robot:planted-password@git.example.test/acme")
        .code(2)
        .stderr_has("a URL cannot contain a user name or password; use username and token");
    assert!(!shop.exists("new.toml"));
}

#[test]
fn an_error_that_repeats_the_token_is_shown_and_written_without_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::new();
    let said = format!(r#"{{"errors": [{{"code": "DENIED", "message": "not with {TOKEN}"}}]}}"#);
    gitea.intercept_all("/v2/acme/moving/tags/list", Answer::json(403, said.clone()));
    let from = format!("{}/acme", gitea.url());
    let token = ["--token-file", "secret/token", "--deploy-command", "x", "--output", "new.toml"];
    let init = || shop.run_bare(&[&["init", "--from", &from], &token[..]].concat());
    init().code(0).stderr_has("warning: acme/moving: ").stderr_has("not with ***");
    assert!(checked(&shop, "new.toml").contains("not with ***"));
    shop.remove("new.toml");
    gitea.intercept_all("", Answer::json(403, said));
    init().code(1).stderr_has("not with ***").stderr_has("; nothing was written\n");
}

#[test]
fn where_no_image_shows_a_rule_the_way_on_names_the_registry_alone() {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/moving", "latest", "2026-11-20T11:00:00Z");
    let shop = Shop::new();
    let from = format!("{}/acme", gitea.url());
    let more = ["--token-file", "secret/token", "--deploy-command", "x", "--output", "new.toml"];
    shop.run_bare(&[&["init", "--from", &from], &more[..]].concat()).code(1).stderr(
        "error: no image there has tags that suggest a rule; to give the rules yourself: tagship init --registry \
         http://127.0.0.1:[port] --image IMAGE --stage NAME=GLOB; nothing was written\n",
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_said() {
    let shop = Shop::new();
    shop.file("new", "no folder");
    init(&shop, &[])
        .code(2)
        .stdout("")
        .stderr("error: could not create [dir]/new: File exists (os error 17)\n");
    let too_long = format!("{}.toml", "n".repeat(300));
    let options = [&OPTIONS[..], &["--output", &too_long]].concat();
    shop.run_bare(&options).code(2).stderr_has("error: could not ").stderr_has("n.toml: File name too long");
    let options = [&OPTIONS[..], &["--output", "new.json"]].concat();
    shop.run_bare(&options)
        .code(2)
        .stderr_has("would be read as JSON, but init writes TOML; use a name that ends in .toml");
}

#[test]
fn a_schema_that_is_there_stays() {
    let shop = Shop::new();
    shop.file("new/tagship.schema.json", "mine");
    init(&shop, &[]).code(0).shows_not("for editors");
    assert_eq!(shop.read("new/tagship.schema.json"), "mine");
}

#[test]
fn without_a_list_of_the_owners_images_init_asks_for_image() {
    let registry = Oci::start(Door::Open, 100);
    registry.push("acme/shop", "v1.0.0");
    registry.hide_catalog();
    let shop = Shop::new();
    let (url, from) = (registry.url(), format!("{}/acme", registry.url()));
    let more = ["--kind", "oci", "--anonymous", "--deploy-command", "x", "--output", "new.toml"];
    shop.run_bare(&[&["init", "--from", &from], &more[..]].concat()).code(1).stderr(
        "error: cannot list the images of acme: \
         GET http://127.0.0.1:[port]/v2/_catalog?n=1000: 404 Not Found: this registry has no catalog; instead of images, write a project with image for each image; to name them: --image acme/NAME; nothing was written\n",
    );
    let unset = ["--kind", "oci", "--token-env", "UNSET", "--deploy-command", "x", "--output", "new.toml"];
    shop.run_bare(&[&["init", "--from", &from], &unset[..]].concat())
        .code(1)
        .stderr_has("error: cannot list the images of acme: the token ")
        .shows_not("--image");
    fs::create_dir(shop.path("images")).unwrap();
    let layout = ["init", "--from", "images", "--deploy-command", "x", "--output", "new.toml"];
    shop.run_bare(&layout).code(2).stderr(
        "error: the owner of the images is missing; add --owner OWNER, or --image for single images\n",
    );
    // An image that does not exist is reported, and does not stop the others.
    let images = ["--image", "acme/shop", "--image", "acme/none"];
    shop.run_bare(&[&["init", "--from", &url], &images[..], &more[..]].concat())
        .code(0)
        .stderr_has("warning: acme/none: ")
        .stderr_has("with 1 stage;");
    let text = checked(&shop, "new.toml");
    assert!(text.contains("# [projects.none]\n"), "{text}");
}

/// On a terminal of its own, as util-linux's `script` gives one, with these lines typed.
fn on_a_terminal(shop: &Shop, command: &str, typed: &str) -> (bool, String) {
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--echo", "never", "--command", command, "typescript"])
        .current_dir(shop.path(""))
        .env_clear()
        .env("HOME", shop.path("home"))
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("script is installed: {error}"));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn on_a_terminal_init_prompts_for_missing_options_and_prompts_again() {
    let shop = Shop::new();
    let command = format!("{} init --output new.toml", env!("CARGO_BIN_EXE_tagship"));
    let typed = "\nhttp://git.example.com\ngit.example.com\n$\n$GIT_TOKEN\nAcme/Shop\n\nacme\nshop\nacme/shop\ndev\n\
                 dev=a dev=b\ndev='dev-*\ndev='a b'\ndev='dev-*' \"prod=v*\"\n'a b'\n./deploy.sh {tga}\n\
                 https://deploy.example.com/shop\n";
    let (success, said) = on_a_terminal(&shop, &command, typed);
    assert!(success, "{said}");
    for wrong in [
        "expected an address, such as https://git.example.com",
        "expected a variable, such as $GIT_TOKEN",
        "\"Acme/Shop\" is not a valid image",
        "expected an image, such as acme/shop",
        "expected NAME=GLOB",
        "the stage dev is given twice",
        "a quote is not closed",
        "registries.git.url: tokens would be sent unencrypted",
        "projects.shop.image: \"shop\" has no owner",
        "projects.image.stages.dev.tags: \"a b\" matches no tag",
        "projects.image.stages.any.deploy.command[1]: unknown placeholder {tga}",
        "write the command without quotes",
    ] {
        assert!(said.contains(&format!("error: {wrong}")), "{wrong}: {said}");
    }
    let text = checked(&shop, "new.toml");
    for part in [
        "url = \"https://git.example.com\"\n",
        "token = { env = \"GIT_TOKEN\" }\n",
        "image = \"acme/shop\"\n",
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\n",
        "[projects.shop.stages.prod]\ntags = \"v*\"\n",
        "deploy = { url = \"https://deploy.example.com/shop\" }\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // The variable of the token is not set here, so the images cannot be listed.
    assert!(said.contains("warning: cannot list the images of acme: "), "{said}");

    // No more input follows.
    let command = format!("{} init --output other.toml", env!("CARGO_BIN_EXE_tagship"));
    let (success, said) = on_a_terminal(&shop, &command, "git.example.com\n\u{4}");
    assert!(!success && said.contains("no answer; nothing was written"), "{said}");
    // No answer can correct an option.
    let options = "--registry http://git.example.com --image acme/shop --stage dev=+";
    let (success, said) = on_a_terminal(&shop, &format!("{command} {options}"), "\u{4}");
    for fault in ["tokens would be sent unencrypted", "\"+\" matches no tag"] {
        assert!(!success && said.contains(fault), "{fault}: {said}");
    }
    assert!(!said.contains("How to deploy"), "{said}");
    assert!(!shop.exists("other.toml"));
}

#[test]
fn on_a_terminal_init_lists_images_with_a_token_and_takes_the_image_of_an_address() {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/shop", "dev-1", "2026-11-20T10:00:00Z");
    gitea.push("acme/shop", "v1.0.0", "2026-11-20T10:00:01Z");
    gitea.push("acme/api", "main-1", "2026-11-20T10:00:02Z");
    let url = gitea.url();
    let all = ["image = \"acme/shop\"\n", "tags = \"v*\"\n", "image = \"acme/api\"\n", "tags = \"main-*\"\n"];
    for (typed, expected, lists) in [
        (format!("{url}\nsecret/token\nacme\n\n"), &all[..], true),
        (format!("{url}/acme\nsecret/token\n\n"), &all[..], true),
        (format!("{url}\nsecret/token\n{url}/acme/-/packages/container/shop/dev-1\n\n"), &all[..2], true),
        (format!("{url}/acme/shop\nsecret/token\n\n"), &all[..2], true),
        (format!("{url}/acme/shop\n\ndev=x-*\n\n"), &[all[0], "tags = \"x-*\"\n"], false),
    ] {
        gitea.take_requests();
        let shop = Shop::new();
        let command = format!("{} init --output new.toml", env!("CARGO_BIN_EXE_tagship"));
        let (success, said) = on_a_terminal(&shop, &command, &typed);
        assert!(success, "{typed}: {said}");
        let text = checked(&shop, "new.toml");
        for part in all.into_iter().chain(["tags = \"x-*\"\n"]) {
            assert_eq!(text.contains(part), expected.contains(&part), "{typed}: {part}: {text}");
        }
        assert!(text.contains(&format!("url = \"{url}\"\n")), "{typed}: {text}");
        assert_eq!(gitea.take_requests().is_empty(), !lists, "{typed}");
    }
}
