//! What is wrong with a configuration, where, and what to write instead.

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
            "tagship.toml:2: unknown key \"settings.intervall\"",
            "tagship.toml:3: settings.timeout: this is a number, and text is wanted",
            "tagship.toml:8: projects.shop.registry: there is no registry \"gti\"",
            "tagship.toml:10: projects.shop.stages.dev has no order",
        ]
    );
    assert!(heads[4].starts_with("tagship.toml:11: projects.shop.stages.dev.tags: "), "{heads:?}");
    assert!(heads[5].starts_with("tagship.toml:12: projects.shop.stages.dev.deploy.command: "), "{heads:?}");
    assert!(faults[0].ends_with("\n    did you mean interval?"), "{faults:?}");
    assert!(faults[2].ends_with("\n    did you mean git?"), "{faults:?}");
}

#[test]
fn each_fault_says_what_is_wrong_and_what_to_write() {
    let stage = |lines: &str| format!("{REGISTRY}{PROJECT}[projects.shop.stages.dev]\n{DEPLOY}{lines}");
    let step = |step: &str| {
        format!("{REGISTRY}{PROJECT}{STAGE}deploy = {step}\n[secrets]\nhook = {{ file = \"hook\" }}\n")
    };
    let git = |lines: &str| format!("[registries.git]\n{lines}\n{PROJECT}{STAGE}{DEPLOY}");
    let server = |line: &str| git(&format!("kind = \"gitea\"\nurl = \"https://git.example.com\"\n{line}"));
    for (text, expected) in [
        (stage("order = \"newest\"\n"), "has no tags"),
        (stage("order = \"newest\"\ntags = \"\"\n"), "write tags = \"*\""),
        (stage("order = \"newest\"\ntags = []\n"), "write tags = \"*\""),
        (stage("tags = \"v*\"\n"), "has no order"),
        (stage("tags = \"V*\"\norder = \"semver\"\n"), "lower-case tags"),
        (stage("tags = \"v*\"\nexclude = \"*-RC\"\norder = \"semver\"\n"), "write \"*-rc\""),
        (stage("tags = \"v{1,2}\"\norder = \"semver\"\n"), "tags: "),
        (stage("tags = \"acme/shop:v*\"\norder = \"semver\"\n"), "tags: "),
        (stage("tags = \"v*\"\norder = \"semver\"\nregex = \"v(\"\n"), "regex: "),
        (stage("tags = \"v*\"\norder = \"semver\"\nregex = \"v(.)(.)\"\n"), "regex: "),
        (stage("tags = \"v*\"\norder = \"semver\"\nrange = \"what\"\n"), "range: "),
        (stage("tags = \"v*\"\norder = \"numeric\"\nrange = \">1\"\n"), "range: "),
        (stage("tags = \"v*\"\norder = \"numeric\"\nmax_bump = \"minor\"\n"), "max_bump: max_bump goes with"),
        (stage("tags = \"v*\"\norder = \"semvr\"\n"), "did you mean semver?"),
        (stage("tags = \"v*\"\norder = \"semver\"\nfirst_poll = \"yes\"\n"), "none of baseline, deploy"),
        (stage("tags = \"v*\"\norder = \"semver\"\nmin_age = \"PT5M\"\n"), "no duration"),
        (stage("tags = \"v*\"\norder = \"semver\"\nplatforms = [\"amd64\"]\n"), "no platform"),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nafter = { stage = \"tset\", for = \"1h\" }\n"),
            "there is no stage \"tset\"",
        ),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nafter = { stage = \"dev\", for = \"1h\" }\n"),
            "wait for each other",
        ),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nwindow = [{ from = \"9:00\", to = \"10:00\" }]\n"),
            "no time of day",
        ),
        (
            stage(
                "tags = \"v*\"\norder = \"semver\"\nwindow = [{ from = \"09:00\", to = \"10:00\", timezone = \"Europe/Berlim\" }]\n",
            ),
            "did you mean Europe/Berlin?",
        ),
        (
            stage(
                "tags = \"v*\"\norder = \"semver\"\nwindow = [{ days = [\"Monday\"], from = \"09:00\", to = \"10:00\" }]\n",
            ),
            "did you mean Mon?",
        ),
        (stage("tags = \"v*\"\norder = \"semver\"\ninterval = \"0s\"\n"), "no duration"),
        (stage("tags = \"v*\"\norder = \"semver\"\nverify_timeout = \"soon\"\n"), "no duration"),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nretry = { backoff = \"1h\", max_backoff = \"1m\" }\n"),
            "max_backoff is shorter than backoff",
        ),
        (stage("tags = \"v*\"\norder = \"semver\"\nretry = { attempts = 0 }\n"), "not between 1 and 1000"),
        (stage("tags = \"v*\"\norder = \"semver\"\nrunning = { pointer = \"/a\" }\n"), "a command or a url"),
        (
            stage("tags = \"v*\"\norder = \"semver\"\nrunning = { url = \"https://x/{tag}\" }\n"),
            "before there is a deployment",
        ),
        (with_stage("[[notify]]\nurl = \"https://x/\"\n"), "notify[0] requires `on`"),
        (with_stage("[[notify]]\non = []\nurl = \"https://x/\"\n"), "nothing would be sent"),
        (with_stage("[[notify]]\non = [\"faild\"]\nurl = \"https://x/\"\n"), "did you mean failed?"),
        (with_stage("[[notify]]\non = [\"failed\"]\n"), "a command or a url"),
        (with_stage("[[notify]]\non = [\"failed\"]\nurl = \"https://x/{var.a}\"\n"), "is no placeholder"),
        (format!("{REGISTRY}{PROJECT}{STAGE}"), "does not say how to deploy"),
        (format!("{REGISTRY}{PROJECT}"), "has no stages"),
        (REGISTRY.to_owned(), "there are no projects"),
        (with_stage("[settings]\nstate = \"none\"\n"), "needs running or first_poll"),
        (with_stage("[settings]\nparallel_deploys = 0\n"), "not between 1 and 64"),
        (with_stage("[settings]\nping_url = \"https://hc.example.com/{tag}\"\n"), "of no project and no tag"),
        (git("kind = \"gitea\"\nurl = \"http://git.example.com\""), "insecure_http = true"),
        (git("kind = \"gitea\"\nurl = \"git.example.com\""), "begin with https://"),
        (git("kind = \"gitea\"\nurl = \"https://ci:secret@git.example.com\""), "user name or password"),
        (git("kind = \"gitea\"\nurl = \"https://git.example.com?x\""), "no ? and no #"),
        (git("kind = \"gitea\""), "has no url"),
        (git("kind = \"oci-layout\""), "has no path"),
        (git("url = \"https://git.example.com\""), "has no kind"),
        (
            git("kind = \"oci\"\nurl = \"https://x.example.com\"\napi_url = \"https://x.example.com\""),
            "no API but the registry's own",
        ),
        (git("kind = \"github\"\napi_url = \"http://github.example.com/api/v3\""), "in the clear"),
        (git("kind = \"gitae\"\nurl = \"https://git.example.com\""), "did you mean gitea?"),
        (
            git("kind = \"gitea\"\nurl = \"https://git.example.com\"\ntoken = { env = \"A\", file = \"b\" }"),
            "exactly one place",
        ),
        (
            git(
                "kind = \"oci\"\nurl = \"https://x.example.com\"\nusername = \"ci\"\ntoken = { docker_config = \"x\" }",
            ),
            "has the user name, too",
        ),
        (with_stage("[secrets]\nhook = { docker_config = \"x\" }\n"), "tokens of registries only"),
        (with_stage("[secrets]\nhook = { credential = \"a:b\" }\n"), "without slashes and colons"),
        (
            git("kind = \"gitea\"\nurl = \"https://git.example.com\"\ntoken = { evn = \"x\" }"),
            "did you mean env?",
        ),
        (
            git("kind = \"gitea\"\nurl = \"https://git.example.com\"\nconnections = 0"),
            "not between 1 and 256",
        ),
        (server("client_cert = \"client.pem\""), "it goes with client_key, and there is none"),
        (server("client_key = \"client.key\""), "it goes with client_cert, and there is none"),
        (server("ca_file = \"not-there.pem\""), "not-there.pem cannot be read"),
        (server("proxy = \"http://ci:planted@proxy:3128\""), "as https_proxy"),
        (server("proxy = \"ftp://proxy\""), "none of http://, https://"),
        (server("proxy = \"http://proxy/path\""), "more than a host and a port"),
        (server("trusted_realms = [\"https://auth.example.com\"]"), "this is no host"),
        (server("trusted_realms = [\"auth.example.com/token\"]"), "this is no host"),
        (server("trusted_realms = [\"*.example.com\"]"), "this is no host"),
        (server("trusted_realms = \"auth.example.com\""), "a list is wanted"),
        (server("api_url = \"http://git.example.com/api/v1\""), "in the clear"),
        (
            git("kind = \"oci\"\nurl = \"https://x.example.com\"\napi_url = \"https://y.example.com\""),
            "has no API",
        ),
        (git("kind = \"oci-layout\"\npath = \".\"\nca_file = \"ca.pem\""), "an image layout is a folder"),
        (step("{ command = \"./deploy.sh\" }"), "no shell is used"),
        (step("{ command = [] }"), "no program"),
        (step("{ command = [\"x\", \"{secret.hook}\"] }"), "would show in ps"),
        (step("{ command = [\"x\"], url = \"https://x\" }"), "this has both"),
        (step("{ timeout = \"5m\" }"), "this has neither"),
        (step("{ command = [\"{tagg}\"] }"), "did you mean tag?"),
        (step("{ command = [\"x\"], env = { \"A=B\" = \"x\" } }"), "environment variable"),
        (step("{ command = [\"x\"], evn = {} }"), "did you mean env?"),
        (step("[]"), "there is no step"),
        (step("{ url = \"https://{project}.example.com/\" }"), "scheme and host must be written out"),
        (step("{ url = \"{secret.hook}/x\" }"), "scheme and host must be written out"),
        (step("{ url = \"http://deploy.example.com/{secret.hook}\" }"), "in the clear"),
        (step("{ url = \"https:///x\" }"), "no host"),
        (step("{ url = \"https://x/\", json = {}, body = \"x\" }"), "one body"),
        (step("{ url = \"https://x/\", success = { pointer = \"a.b\" } }"), "write \"/a/b\""),
        (step("{ url = \"https://x/\", success = { equals = 1 } }"), "it goes with pointer"),
        (step("{ url = \"https://x/\", success = { status = [99] } }"), "not between 100 and 599"),
        (step("{ url = \"https://x/\", success = { matches = \"(\" } }"), "no regular expression"),
        (step("{ url = \"https://x/\", headers = { \"a b\" = \"x\" } }"), "name of a header"),
        (step("{ url = \"https://x/\", method = \"P OST\" }"), "no method"),
        (step("{ url = \"https://x/\", method = \"PSOT\" }"), "no method"),
        (step("{ url = \"https://x/\", success = { status = [] } }"), "no status would be success"),
        (step("{ command = [\"x\"], env = { TAGSHIP_TAG = \"\" } }"), "sets these variables itself"),
        (
            git("kind = \"gitea\"\nurl = \"https://git.example.com\"\nusername = \"a:b\""),
            "a user name has no colon",
        ),
        (step("{ url = \"https://x/\", sign = {} }"), "does not say how to sign"),
        (step("{ url = \"https://x/\", sign = { github = \"hok\" } }"), "did you mean hook?"),
        (step("{ url = \"https://x/\", sign = { github = [] } }"), "there is no secret"),
        (step("{ url = \"https://x/\", until = { pointer = \"/a\" } }"), "a pointer and its values"),
        (step("{ url = \"https://x/\", until = { pointer = \"a\", values = [1] } }"), "begins with a slash"),
        (step("{ url = \"https://x/\", until = { pointer = \"/a\", values = [] } }"), "never be over"),
        (step("{ url = \"https://x/#a\" }"), "never sent"),
        (step("{ url = \"https://x/\", method = \"GET\", body = \"a\" }"), "a GET has no body"),
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
        (step("{ url = \"https://x/\", headers = { X-A = \"1\", x-a = \"2\" } }"), "another spelling"),
        (step("{ url = \"https://x/{step.1./id}\" }"), "step 1 is no step that comes before this one"),
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
        ("acme/shop:v1", "without host and tag"),
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
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ": certificate 1 of it is broken"),
    ] {
        for lines in ["ca_file = \"some.pem\"", "client_key = \"x\"\nclient_cert = \"some.pem\""] {
            let text = format!("{REGISTRY}{lines}\n{PROJECT}{STAGE}{DEPLOY}");
            let (_, loaded) = load_files(&[("tagship.toml", &text), ("some.pem", pem)]);
            let faults = loaded.expect_err("a configuration with a fault");
            let line = 3 + lines.lines().count();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].starts_with(&format!("tagship.toml:{line}: registries.git.c")), "{faults:?}");
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
    assert!(faults[0].starts_with("tagship.toml:2: this is not TOML"), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.starts_with("tagship.toml:4:")), "{faults:?}");
}
