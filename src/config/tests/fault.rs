//! The errors of a configuration: message, position and correction.

use super::*;

#[test]
fn every_fault_is_reported_at_once_in_the_order_of_the_lines() {
    let text = "[settings]\nintervall = \"5m\"\ntimeout = 10\n\
        [registries.git]\nkind = \"gitea\"\nurl = \"https://git.example.com\"\n\
        [projects.shop]\nregistry = \"gti\"\nimage = \"acme/shop\"\n\
        [projects.shop.stages.dev]\ntags = \"dev-[0-9]*\"\ndeploy = { command = \"x {tag}\" }\n";
    let faults = faults(text);
    let heads: Vec<&str> = faults.iter().map(|fault| fault.lines().next().unwrap()).collect();
    assert_eq!(
        heads[..4],
        [
            "tagship.toml:2:1: settings: unknown key `intervall`",
            "tagship.toml:3:11: settings.timeout: expected a duration, found a number",
            "tagship.toml:8:12: projects.shop.registry: unknown registry \"gti\"",
            "tagship.toml:10:1: projects.shop.stages.dev: requires `order`",
        ]
    );
    assert!(heads[4].starts_with("tagship.toml:11:8: projects.shop.stages.dev.tags: "), "{heads:?}");
    assert!(
        heads[5].starts_with("tagship.toml:12:22: projects.shop.stages.dev.deploy.command: "),
        "{heads:?}"
    );
    assert!(faults[0].ends_with("\n  help: did you mean interval?"), "{faults:?}");
    assert!(faults[2].ends_with("\n  help: did you mean git?"), "{faults:?}");
}

#[test]
fn each_fault_names_the_mistake_and_the_correction() {
    let stage = |lines: &str| format!("{REGISTRY}{PROJECT}[projects.shop.stages.dev]\n{DEPLOY}{lines}");
    let step = |step: &str| {
        format!("{REGISTRY}{PROJECT}{STAGE}deploy = {step}\n[secrets]\nhook = {{ file = \"hook\" }}\n")
    };
    let git = |lines: &str| format!("[registries.git]\n{lines}\n{PROJECT}{STAGE}{DEPLOY}");
    let server = |line: &str| git(&format!("kind = \"gitea\"\nurl = \"https://git.example.com\"\n{line}"));
    for (text, expected) in [
        (stage("order = \"newest\"\n"), "requires `tags`"),
        (stage("order = \"newest\"\ntags = \"\"\n"), "write tags = \"*\""),
        (stage("order = \"newest\"\ntags = []\n"), "write tags = \"*\""),
        (stage("tags = \"v*\"\n"), "requires `order`"),
        (stage("tags = \"V*\"\norder = \"semver\"\n"), "store tags in lower case"),
        (stage("tags = \"v*\"\nexclude = \"*-RC\"\norder = \"semver\"\n"), "write exclude = \"*-rc\""),
        (stage("tags = \"v{1,2}\"\norder = \"semver\"\n"), "tags: "),
        (stage("tags = \"acme/shop:v*\"\norder = \"semver\"\n"), "tags: "),
        (stage("tags = \"v*\"\norder = \"semver\"\nregex = \"v(\"\n"), "regex: "),
        (stage("tags = \"v*\"\norder = \"semver\"\nrange = \"what\"\n"), "range: "),
        (stage("tags = \"v*\"\norder = \"numeric\"\nrange = \">1\"\n"), "range: "),
        (stage("tags = \"v*\"\norder = \"numeric\"\nmax_bump = \"minor\"\n"), "max_bump: requires order"),
        (stage("tags = \"v*\"\norder = \"semvr\"\n"), "did you mean semver?"),
        (stage("tags = \"v*\"\norder = \"semver\"\nfirst_poll = \"yes\"\n"), "known: baseline, deploy"),
        (stage("tags = \"v*\"\norder = \"semver\"\nmin_age = \"PT5M\"\n"), "duration"),
        (stage("tags = \"v*\"\norder = \"semver\"\nplatforms = [\"amd64\"]\n"), "write \"linux/amd64\""),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nafter = { stage = \"tset\", for = \"1h\" }\n"),
            "unknown stage \"tset\"",
        ),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nafter = { stage = \"dev\", for = \"1h\" }\n"),
            "a stage cannot wait for itself",
        ),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nwindow = [{ from = \"9:00\", to = \"10:00\" }]\n"),
            "write from = \"09:00\"",
        ),
        (
            stage(
                "tags = \"v*\"\norder = \"semver\"\nwindow = [{ from = \"09:00\", to = \"10:00\", timezone = \"Europe/Berlim\" }]\n",
            ),
            "write timezone = \"Europe/Berlin\"",
        ),
        (
            stage(
                "tags = \"v*\"\norder = \"semver\"\nwindow = [{ days = [\"Monday\"], from = \"09:00\", to = \"10:00\" }]\n",
            ),
            "write \"Mon\"",
        ),
        (
            stage("tags = \"v*\"\norder = \"semver\"\ninterval = \"0s\"\n"),
            "expected at least 1ms, found \"0s\"",
        ),
        (stage("tags = \"v*\"\norder = \"semver\"\nverify_timeout = \"soon\"\n"), "duration"),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nretry = { backoff = \"1h\", max_backoff = \"1m\" }\n"),
            "`max_backoff` is shorter than `backoff`",
        ),
        (stage("tags = \"v*\"\norder = \"semver\"\nretry = { attempts = 0 }\n"), "from 1 to 1000, found 0"),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nrunning = { pointer = \"/a\" }\n"),
            "requires either `command` or `url`",
        ),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nrunning = { url = \"https://x/{tag}\" }\n"),
            "placeholders of a deployment have no value here",
        ),
        (with_stage("[[notify]]\nurl = \"https://x/\"\n"), "requires `on`"),
        (with_stage("[[notify]]\non = []\nurl = \"https://x/\"\n"), "expected at least one event"),
        (with_stage("[[notify]]\non = [\"faild\"]\nurl = \"https://x/\"\n"), "did you mean failed?"),
        (with_stage("[[notify]]\non = [\"Error\"]\nurl = \"https://x/\"\n"), "write \"failed\""),
        (with_stage("[[notify]]\non = \"failed\"\nurl = \"https://x/\"\n"), "write on = [\"failed\"]"),
        (with_stage("[notify]\nurl = \"https://x/\"\n"), "write notify = [{ … }], or [[notify]]"),
        (stage("tags = \"v*\"\norder = \"timestamp\"\n"), "write order = \"newest\" (by push time)"),
        (stage("tags = \"v*\"\norder = \"natural\"\n"), "write order = \"numeric\""),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nwindow = { from = \"09:00\", to = \"16:00\" }\n"),
            "write window = [{ … }], or [[projects.shop.stages.dev.window]]",
        ),
        (with_stage("[[notify]]\non = [\"failed\"]\n"), "requires either `command` or `url`"),
        (
            with_stage("[[notify]]\non = [\"failed\"]\nurl = \"https://x/{var.a}\"\n"),
            "unknown placeholder {var.a}",
        ),
        (format!("{REGISTRY}{PROJECT}{STAGE}"), "requires `deploy`"),
        (format!("{REGISTRY}{PROJECT}"), "requires `stages`"),
        (REGISTRY.to_owned(), "requires at least one project"),
        (with_stage("[settings]\nstate = \"none\"\n"), "add `running` or first_poll"),
        (with_stage("[settings]\nparallel_deploys = 0\n"), "from 1 to 64, found 0"),
        (with_stage("[settings.webhook]\n"), "write secret = { file"),
        (with_stage("[settings.webhook]\nsecret = \"planted\"\n"), "cannot be written in the file"),
        (
            with_stage("[settings.webhook]\nsecret = { docker_config = \"x\" }\n"),
            "the token of a registry only",
        ),
        (
            with_stage("[settings]\nping_url = \"https://hc.example.com/{tag}\"\n"),
            "neither a project nor a tag",
        ),
        (git("kind = \"gitea\"\nurl = \"http://git.example.com\""), "insecure_http = true"),
        (git("kind = \"gitea\"\nurl = \"git.example.com\""), "write url = \"https://git.example.com\""),
        (git("kind = \"gitea\"\nurl = \"127.0.0.1:14100\""), "write url = \"http://127.0.0.1:14100\""),
        (git("kind = \"gitea\"\nurl = \"https:/127.0.0.1\""), "write url = \"https://127.0.0.1\""),
        (git("kind = \"gitea\"\nurl = \"https://ci:secret@git.example.com\""), "user name or password"),
        (git("kind = \"gitea\"\nurl = \"https://git.example.com?x\""), "cannot contain `?` or `#`"),
        (git("kind = \"gitea\""), "requires `url`"),
        (git("kind = \"oci-layout\""), "requires `path`"),
        (git("url = \"https://git.example.com\""), "requires `kind`"),
        (
            git("kind = \"oci\"\nurl = \"https://x.example.com\"\napi_url = \"https://x.example.com\""),
            "has no API besides",
        ),
        (git("kind = \"github\"\napi_url = \"http://github.example.com/api/v3\""), "sent unencrypted"),
        (git("kind = \"gitae\"\nurl = \"https://git.example.com\""), "did you mean gitea?"),
        (
            git("kind = \"gitea\"\nurl = \"https://git.example.com\"\ntoken = { env = \"A\", file = \"b\" }"),
            "expected exactly one source",
        ),
        (
            git(
                "kind = \"oci\"\nurl = \"https://x.example.com\"\nusername = \"ci\"\ntoken = { docker_config = \"x\" }",
            ),
            "the docker configuration has the user name",
        ),
        (with_stage("[secrets]\nhook = { docker_config = \"x\" }\n"), "the token of a registry only"),
        (with_stage("[secrets]\nhook = { credential = \"a:b\" }\n"), "cannot contain a slash or a colon"),
        (
            git("kind = \"gitea\"\nurl = \"https://git.example.com\"\ntoken = { evn = \"x\" }"),
            "did you mean env?",
        ),
        (
            git("kind = \"gitea\"\nurl = \"https://git.example.com\"\nconnections = 0"),
            "from 1 to 256, found 0",
        ),
        (server("client_cert = \"client.pem\""), "requires `client_key`"),
        (server("client_key = \"client.key\""), "requires `client_cert`"),
        (server("ca_file = \"not-there.pem\""), "not-there.pem cannot be read"),
        (server("proxy = \"http://ci:planted@proxy:3128\""), "set https_proxy"),
        (server("proxy = \"ftp://proxy\""), "must begin with http://, https://"),
        (server("proxy = \"http://proxy/path\""), "only a host and a port"),
        (server("trusted_realms = [\"https://auth.example.com\"]"), "expected a host"),
        (server("trusted_realms = [\"auth.example.com/token\"]"), "expected a host"),
        (server("trusted_realms = [\"*.example.com\"]"), "expected a host"),
        (server("trusted_realms = \"auth.example.com\""), "expected a list, found text"),
        (server("api_url = \"http://git.example.com/api/v1\""), "sent unencrypted"),
        (
            git("kind = \"oci\"\nurl = \"https://x.example.com\"\napi_url = \"https://y.example.com\""),
            "has no API besides",
        ),
        (git("kind = \"oci-layout\"\npath = \".\"\nca_file = \"ca.pem\""), "an image layout is a folder"),
        (step("{ command = \"./deploy.sh\" }"), "write command = [\"./deploy.sh\"]"),
        (step("{ command = [] }"), "expected a program"),
        (step("{ command = [\"x\", \"{secret.hook}\"] }"), "visible in `ps`"),
        (step("{ command = [\"x\"], url = \"https://x\" }"), "found both"),
        (step("{ timeout = \"5m\" }"), "requires `command` or `url`"),
        (step("{ command = [\"{tagg}\"] }"), "did you mean {tag}?"),
        (step("{ command = [\"x\"], env = { \"A=B\" = \"x\" } }"), "environment variable"),
        (step("{ command = [\"x\"], evn = {} }"), "did you mean env?"),
        (step("[]"), "expected at least one step"),
        (step("{ url = \"https://{project}.example.com/\" }"), "scheme and host cannot have placeholders"),
        (step("{ url = \"{secret.hook}/x\" }"), "scheme and host cannot have placeholders"),
        (step("{ url = \"http://deploy.example.com/{secret.hook}\" }"), "sent unencrypted"),
        (step("{ url = \"https:///x\" }"), "has no host"),
        (step("{ url = \"https://x/\", json = {}, body = \"x\" }"), "one body"),
        (step("{ url = \"https://x/\", success = { pointer = \"a.b\" } }"), "write pointer = \"/a/b\""),
        (step("{ url = \"https://x/\", success = { equals = 1 } }"), "requires `pointer`"),
        (step("{ url = \"https://x/\", success = { status = [99] } }"), "from 100 to 599, found 99"),
        (step("{ url = \"https://x/\", success = { matches = \"(\" } }"), "not a valid regular expression"),
        (step("{ url = \"https://x/\", headers = { \"a b\" = \"x\" } }"), "not a valid header name"),
        (step("{ url = \"https://x/\", method = \"P OST\" }"), "unknown method"),
        (step("{ url = \"https://x/\", method = \"PSOT\" }"), "unknown method"),
        (step("{ url = \"https://x/\", success = { status = [] } }"), "without a status"),
        (step("{ command = [\"x\"], env = { TAGSHIP_TAG = \"\" } }"), "tagship sets TAGSHIP_TAG itself"),
        (
            git("kind = \"gitea\"\nurl = \"https://git.example.com\"\nusername = \"a:b\""),
            "a user name cannot have a colon",
        ),
        (step("{ url = \"https://x/\", sign = {} }"), "requires `github` or `standard_webhooks`"),
        (step("{ url = \"https://x/\", sign = { github = \"hok\" } }"), "did you mean hook?"),
        (step("{ url = \"https://x/\", sign = { github = [] } }"), "expected at least one secret"),
        (step("{ url = \"https://x/\", until = { pointer = \"/a\" } }"), "requires `pointer` and `values`"),
        (step("{ url = \"https://x/\", until = { pointer = \"a\", values = [1] } }"), "begins with `/`"),
        (step("{ url = \"https://x/\", until = { pointer = \"/a\", values = [] } }"), "never end"),
        (step("{ url = \"https://x/#a\" }"), "are never sent"),
        (step("{ url = \"https://x/\", method = \"GET\", body = \"a\" }"), "a GET request has no body"),
        (step("{ url = \"https://x/\", json = { a = nan } }"), "JSON has no such number"),
        (step("{ url = \"https://x/\", json = { a = 2026-11-23 } }"), "JSON has no dates"),
        (
            step("{ url = \"https://x/\", success = { pointer = \"/a\", equals = 2026-11-23 } }"),
            "success.equals: JSON has no dates",
        ),
        (
            step("{ url = \"https://x/\", success = { pointer = \"/a\", equals = { b = [inf] } } }"),
            "JSON has no such number",
        ),
        (
            step("{ url = \"https://x/\", until = { pointer = \"/a\", values = [\"a\", 09:00:00] } }"),
            "until.values[1]: JSON has no dates",
        ),
        (step("{ url = \"https://x/\", headers = { X-A = \"1\", x-a = \"2\" } }"), "upper or lower case"),
        (step("{ url = \"https://x/{step.1./id}\" }"), "step 1 does not come before this one"),
        (
            step("[{ command = [\"true\"] }, { url = \"https://x/{step.1./id}\" }]"),
            "step 1 is a command, which has no answer",
        ),
    ] {
        let fault = the_fault(&text);
        assert!(fault.contains(expected), "{expected:?} is not in {fault:?} of\n{text}");
    }
}

#[test]
fn an_image_is_a_repository_with_an_owner_on_gitea() {
    let image = |image: &str| {
        format!("{REGISTRY}[projects.shop]\nregistry = \"git\"\nimage = \"{image}\"\n{STAGE}{DEPLOY}")
    };
    for (name, expected) in [
        ("shop", "has no owner"),
        ("Acme/shop", "not a valid image"),
        ("acme/shop:v1", "write image = \"acme/shop\""),
    ] {
        let fault = the_fault(&image(name));
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn a_certificate_file_is_looked_into_and_its_fault_has_the_line_of_its_key() {
    for (pem, expected) in [
        ("", "has no certificate in PEM form"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "has no certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "is not in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ": certificate 1 is invalid"),
    ] {
        for lines in ["ca_file = \"some.pem\"", "client_key = \"x\"\nclient_cert = \"some.pem\""] {
            let text = format!("{REGISTRY}{lines}\n{PROJECT}{STAGE}{DEPLOY}");
            let (_, loaded) = load_files(&[("tagship.toml", &text), ("some.pem", pem)]);
            let faults = loaded.expect_err("a configuration with a fault");
            let line = 3 + lines.lines().count();
            let column = lines.lines().last().unwrap().find('"').unwrap() + 1;
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(
                faults[0].starts_with(&format!("tagship.toml:{line}:{column}: registries.git.c")),
                "{faults:?}"
            );
            assert!(
                faults[0].contains(&format!(
                    "some.pem{}{expected}",
                    if expected.starts_with(':') { "" } else { " " }
                )),
                "{faults:?}"
            );
        }
    }
}

#[test]
fn a_literal_secret_is_refused_and_never_repeated() {
    const PLANTED: &str = "glpat-planted-secret";
    for text in [
        format!("{}token = \"{PLANTED}\"\n{PROJECT}{STAGE}{DEPLOY}", REGISTRY),
        format!("{}token = {{ environment = \"{PLANTED}\" }}\n{PROJECT}{STAGE}{DEPLOY}", REGISTRY),
        with_stage(&format!("[secrets]\nhook = \"{PLANTED}\"\n")),
        with_stage(&format!("[secrets]\nhook = {{ file = \"{PLANTED}\"\n")),
        with_stage(&format!("[secrets]\nhook = {PLANTED}\n")),
        format!("{}token = \"{PLANTED}\n{PROJECT}{STAGE}{DEPLOY}", REGISTRY),
    ] {
        let faults = faults(&text).join("\n");
        assert!(!faults.contains(PLANTED), "{faults}");
    }
}

#[test]
fn a_header_that_looks_like_a_secret_is_warned_of_and_not_repeated() {
    let text = format!(
        "{REGISTRY}{PROJECT}{STAGE}deploy = {{ url = \"https://x/\", headers = {{ Authorization = \"Bearer planted\" }} }}\n"
    );
    let warnings: Vec<String> = load_text(&text).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|warning| warning.contains("looks like a secret")), "{warnings:?}");
    assert!(!warnings.join("").contains("planted"), "{warnings:?}");
}

#[test]
fn a_syntax_fault_names_its_line() {
    let faults = faults("[settings]\ninterval = \n\n[registries.git\n");
    assert!(faults[0].starts_with("tagship.toml:2:12: expected a value after `interval =`"), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.starts_with("tagship.toml:4:")), "{faults:?}");
}

#[test]
fn a_table_or_key_that_is_defined_twice_is_one_fault_with_both_lines() {
    let folder = "[registries.folder]\nkind = \"oci-layout\"\npath = \"images\"\n";
    for (text, expected) in [
        (
            format!("{folder}\n{folder}"),
            "tagship.toml:5:13: `[registries.folder]` is defined twice; first on line 1\n",
        ),
        (format!("{folder}kind = \"oci\"\n"), "tagship.toml:4:1: `kind` is defined twice; first on line 2\n"),
        (
            format!("{folder}[settings]\nkind.a = 1\nkind = 1\n"),
            "tagship.toml:6:1: this key or table is defined twice",
        ),
    ] {
        let faults = faults(&text);
        assert!(faults.len() == 1 && faults[0].starts_with(expected), "{faults:?}");
    }
}

#[test]
fn images_of_an_owner_are_globs_that_can_match_one() {
    let table = |lines: &str| {
        format!(
            "{REGISTRY}[projects.acme]\nregistry = \"git\"\n{lines}\n[projects.acme.stages.dev]\ntags = \"*\"\norder = \"newest\"\n{DEPLOY}"
        )
    };
    for (lines, expected) in [
        (
            "images = \"*\"",
            "projects.acme.images: \"*\" does not name an owner, and a registry lists images by their owner",
        ),
        ("images = [\"acme/*\", \"*/shop\"]", "projects.acme.images[1]: \"*/shop\" does not name an owner"),
        ("images = \"Acme/*\"", "help: write images = \"acme/*\""),
        ("images = \"acme/shop:v1\"", "write it without host and tag, such as \"acme/*\""),
        ("images = []", "expected at least one glob"),
        ("images = \"acme/*\"\nimage = \"acme/shop\"", "projects.acme.image: cannot be used with `images`"),
        ("images = \"acme/*\"\nexclude_images = \"old\"", "help: write exclude_images = \"*/old\""),
        (
            "image = \"acme/shop\"\nexclude_images = \"*-test\"",
            "projects.acme.exclude_images: requires `images`",
        ),
        (
            "",
            "requires `image`\n  help: write image = \"owner/name\", or images = \"owner/*\" for all images of an owner",
        ),
    ] {
        let faults = faults(&table(lines));
        assert_eq!(faults.len(), 1, "{lines}: {faults:?}");
        assert!(faults[0].contains(expected), "{lines}: {faults:?}");
    }
    let config = load_text(&table("images = \"git.example.com/acme/*\"")).unwrap();
    assert!(config.warnings[0].message.contains("looks like a host"), "{:?}", config.warnings);
    // Errors of the globs do not hide those of the stages.
    let both = table("images = \"*\"").replace("order = \"newest\"", "order = \"newst\"");
    assert_eq!(faults(&both).len(), 2);
}
