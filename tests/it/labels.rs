//! `{label.NAME}`: a label of the image's configuration in gates, deployment steps and notifications.

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{PROD, Shop, on, on_gitea};
use crate::http::{Answer, Reply, Server};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea, digest_of};

const REVISION: &str = "org.opencontainers.image.revision";

/// PROD with this step instead of deploy.sh, and these further lines of the stage.
fn prod(deploy: &str, more: &str) -> String {
    format!("{}{more}\n", PROD.replace("{ command = [\"./deploy.sh\"] }", deploy))
}

/// Pushes `v3.1.0` with a revision.
fn push(gitea: &Gitea, revision: &str) {
    gitea.push("acme/shop", "v3.1.0", "2026-11-20T11:00:00Z");
    gitea.label("acme/shop", "v3.1.0", REVISION, revision);
}

#[test]
fn gates_steps_and_notifications_use_a_label_that_is_asked_once() {
    for build in Build::ALL {
        let (gitea, receiver) = (gitea(build), Endpoint::start());
        let label = format!("{{label.{REVISION}}}");
        let step =
            format!("{{ command = [\"./deploy.sh\", \"{label}\"], env = {{ REVISION = \"<{label}>\" }} }}");
        let gate =
            format!("gate = {{ command = [\"sh\", \"-c\", \"echo $1 > gate\", \"sh\", \"{label}\"] }}");
        let tell = format!(
            "[[notify]]\non = [\"deployed\"]\nurl = \"{}/tell\"\njson = {{ revision = \"{label}\" }}\n",
            receiver.url()
        );
        let stage = prod(&step, &gate);
        let live = stage.replace("stages.prod", "stages.live");
        let shop = baselined(&gitea, &format!("{stage}{live}{tell}"));
        shop.run(&["poll"]).code(0).silent();
        assert_eq!(gitea.count("/blobs/"), 0, "nothing is new");
        push(&gitea, "0a1b2c");
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
        assert_eq!(shop.delivered(), ["shop/prod v3.1.0", "shop/live v3.1.0"]);
        assert_eq!(shop.read("gate"), "0a1b2c\n");
        assert_eq!(shop.command_env("REVISION").as_deref(), Some("<0a1b2c>"));
        assert_eq!(receiver.requests()[0].json()["revision"], "0a1b2c");
        assert_eq!(gitea.count("/blobs/"), 1, "{build:?}");
    }
}

#[test]
fn labels_that_nothing_uses_are_not_asked() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &prod("{ command = [\"./deploy.sh\"] }", "gate = { command = [\"true\"] }"));
    push(&gitea, "0a1b2c");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
    assert_eq!(gitea.count("/blobs/"), 0);
}

#[test]
fn a_label_that_the_image_lacks_is_an_error_that_names_both() {
    let gitea = gitea(Build::GiteaNew);
    let said = format!(
        "127.0.0.1:{}/acme/shop:v3.1.0 has no label \"ticket\"; set it when the image is built, or remove {{label.ticket}}",
        gitea.port()
    );
    let gated = baselined(
        &gitea,
        &prod("{ command = [\"./deploy.sh\"] }", "gate = { command = [\"true\", \"{label.ticket}\"] }"),
    );
    let stepped = baselined(&gitea, &prod("{ command = [\"./deploy.sh\", \"{label.ticket}\"] }", ""));
    push(&gitea, "0a1b2c");
    let run = gated.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", "gate");
    assert_eq!(run.target("shop/prod")["error"]["message"], format!("gate of v3.1.0: {said}"));
    for _ in 0..2 {
        let run = stepped.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/prod", "failed").error_is("shop/prod", "not_found");
        assert_eq!(run.target("shop/prod")["error"]["message"], said);
    }
    stepped
        .run(&["check", "--online"])
        .code(1)
        .stdout_has(&said.replace(&gitea.port().to_string(), "[port]"));
    assert!(gated.deliveries().is_empty() && stepped.deliveries().is_empty());
    gitea.label("acme/shop", "v3.1.0", "ticket", "");
    for shop in [gated, stepped] {
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
        assert_eq!(shop.deliveries()[0].attempt, 1, "an empty label is one, and no attempt was used up");
    }
}

#[test]
fn a_label_is_made_fit_for_where_it_goes() {
    let (gitea, endpoint) = (gitea(Build::GiteaNew), Endpoint::start());
    let url = endpoint.url();
    let request = |more: &str| {
        prod(&format!("{{ url = \"{url}/a/{{label.{REVISION}}}/b?r={{label.{REVISION}}}\"{more} }}"), "")
    };
    let json = format!(", json = {{ revision = \"{{label.{REVISION}}}\" }}");
    let shop = baselined(&gitea, &request(&json));
    let hostile = "x\"/é&y=1\r\nX-Evil: 1";
    push(&gitea, hostile);
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
    let encoded = "x%22%2F%C3%A9%26y%3D1%0D%0AX-Evil%3A%201";
    assert_eq!(endpoint.requests()[0].target, format!("/a/{encoded}/b?r={encoded}"));
    assert_eq!(endpoint.requests()[0].json()["revision"], hostile);

    let fails = |stage: &str, said: &str| {
        let shop = baselined(&gitea, PROD);
        shop.config(&on_gitea(&gitea, stage));
        gitea.push("acme/shop", "v3.2.0", "2026-11-20T12:00:00Z");
        gitea.label("acme/shop", "v3.2.0", REVISION, if said.contains("header") { hostile } else { ".." });
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/prod", "failed").error_is("shop/prod", "http");
        assert!(run.target("shop/prod")["error"]["message"].as_str().unwrap().contains(said), "{run:?}");
        gitea.delete("acme/shop", "v3.2.0");
    };
    let shop =
        baselined(&gitea, &prod(&format!("{{ command = [\"./deploy.sh\", \"{{label.{REVISION}}}\"] }}"), ""));
    gitea.push("acme/shop", "v3.1.1", "2026-11-20T11:30:00Z");
    gitea.label("acme/shop", "v3.1.1", REVISION, "a\0b");
    let zero = "command: an argument or environment variable contains a zero byte";
    shop.run(&["poll"]).code(1).line("shop/prod", &["failed", "v3.1.1", zero]);

    fails(
        &request(&format!(", headers = {{ X-Revision = \"{{label.{REVISION}}}\" }}")),
        "the header X-Revision contains control",
    );
    fails(&request(""), "a value makes a path segment `.` or `..`");
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn a_label_is_refused_in_shell_scripts_and_where_it_has_no_value() {
    let label = "{label.ticket}";
    for (stage, said) in [
        (
            prod("{ command = [\"sh\", \"-c\", \"deploy {label.ticket}\"] }", ""),
            "write command = [\"sh\", \"-c\", \"… \\\"$1\\\"\", \"sh\", \"{label.ticket}\"]",
        ),
        (prod("{ command = [\"sh\", \"-ec\", \"{label.ticket}\"] }", ""), "a shell would run it"),
        (prod("{ command = [\"./{label.ticket}\", \"x\"] }", ""), "a label cannot be the program to run"),
        (prod("{ command = [\"ssh\", \"host\", \"{label.ticket}\"] }", ""), "a shell would run it"),
        (
            prod("{ command = [\"x\"] }", "gate = { command = [\"bash\", \"-c\", \"x {label.ticket}\"] }"),
            "a shell would run it",
        ),
        (
            prod("{ command = [\"x\"] }", &format!("running = {{ url = \"http://127.0.0.1/{label}\" }}")),
            "placeholders of a deployment have no value here",
        ),
        (
            prod(
                "{ command = [\"x\"] }",
                &format!(
                    "[[notify]]\non = [\"failed\"]\nbatch = true\nurl = \"http://127.0.0.1\"\nbody = \"{label}\""
                ),
            ),
            "{label.ticket} is about one event, but a batch has several",
        ),
        (prod("{ command = [\"x\", \"{lable.ticket}\"] }", ""), "did you mean {label.ticket}?"),
        (prod("{ command = [\"x\", \"{zzzzzzzz}\"] }", ""), "{label.NAME}"),
        (
            prod("{ command = [\"x\", \"{{if .a}}b{{end}}\"] }", ""),
            "to write it literally, add blanks: {{ end }}",
        ),
    ] {
        let shop = Shop::with(&on("oci", "http://127.0.0.1:9", &stage));
        shop.run(&["check"]).code(2).stderr_has(said);
    }
    // As an argument of its own it is not part of the script.
    for command in [
        "[\"sh\", \"-c\", \"true \\\"$1\\\"\", \"sh\", \"{label.a/b}\"]",
        "[\"./deploy.sh\", \"x {label.a.b}\"]",
    ] {
        let stage = prod(&format!("{{ command = {command} }}"), "");
        Shop::with(&on("oci", "http://127.0.0.1:9", &stage)).run(&["check"]).code(0);
    }
}

/// An index of an attestation and two platforms, whose configurations have the label `arch`.
fn multi_platform() -> Server {
    let image =
        |architecture: &'static str| (digest_of(architecture), digest_of(&format!("config {architecture}")));
    Server::start(move |request| {
        let platform = |architecture: &'static str| serde_json::json!({"digest": image(architecture).0, "platform": {"os": "linux", "architecture": architecture}});
        let attestation = serde_json::json!({"digest": digest_of("attestation"), "platform": {"os": "unknown", "architecture": "unknown"}});
        let index = serde_json::json!({"manifests": [attestation, platform("amd64"), platform("arm64")]});
        let path = request.path();
        if path.ends_with("/tags/list") {
            return Answer::json(200, r#"{"name":"acme/shop","tags":["v1.0.0"]}"#).into();
        }
        if path.ends_with("/v1.0.0") || path.ends_with(&digest_of("index")) {
            return Answer::json(200, index.to_string())
                .with("Docker-Content-Digest", digest_of("index"))
                .into();
        }
        for architecture in ["amd64", "arm64"] {
            let (manifest, config) = image(architecture);
            if path.ends_with(&manifest) {
                return Answer::json(200, serde_json::json!({"config": {"digest": config}}).to_string())
                    .into();
            }
            if path.ends_with(&config) {
                let config = serde_json::json!({"config": {"Labels": {"arch": architecture}}});
                return Answer::json(200, config.to_string()).into();
            }
        }
        Answer::json(404, "{}").into()
    })
}

#[test]
fn of_an_index_the_image_of_the_stage_s_platform_has_the_labels_else_the_first() {
    let server = multi_platform();
    let step = "{ command = [\"./deploy.sh\"], env = { ARCH = \"{label.arch}\" } }";
    let arm64 = "platforms = [\"linux/arm64\"]";
    for (kind, platforms, expected) in [
        ("oci", "", "amd64"),
        ("oci", arm64, "arm64"),
        ("gitlab", arm64, "arm64"),
        ("github", "", "amd64"),
        // Its platforms are asked elsewhere.
        ("dockerhub", "", "amd64"),
    ] {
        let config = on(kind, &server.url(), &prod(step, &format!("first_poll = \"deploy\"\n{platforms}")));
        let shop = Shop::with(&config.replace("token = { file = \"secret/token\" }", "anonymous = true"));
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.0.0"]);
        assert_eq!(shop.command_env("ARCH").as_deref(), Some(expected), "{kind}");
    }
}

#[test]
fn an_image_in_a_folder_has_labels_too() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images");
    let step =
        "{ command = [\"./deploy.sh\"], env = { VERSION = \"{label.org.opencontainers.image.version}\" } }";
    let config = on("oci-layout", "", &prod(step, "first_poll = \"deploy\""));
    let config = config.replace("url = \"\"", &format!("path = {folder:?}"));
    let shop = Shop::with(&config.replace("token = { file = \"secret/token\" }\n", ""));
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.0.0"]);
    assert_eq!(shop.command_env("VERSION").as_deref(), Some("v1.0.0"));
}

#[test]
fn a_registry_that_does_not_give_the_label_is_a_failed_check_and_no_attempt() {
    let gitea = gitea(Build::GiteaNew);
    let large = format!("{{\"config\": {{\"Labels\": {{\"{REVISION}\": \"{}\"}}}}}}", "x".repeat(1 << 20));
    for (reply, code) in [(Answer::json(403, "{}"), "denied"), (Answer::json(200, large), "protocol")] {
        let step = format!("{{ command = [\"./deploy.sh\", \"{{label.{REVISION}}}\"] }}");
        let shop = baselined(&gitea, &prod(&step, ""));
        push(&gitea, "0a1b2c");
        gitea.intercept_all("/blobs/", Reply::Answer(reply));
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", code);
        assert!(shop.deliveries().is_empty());
        gitea.recover();
        shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.1.0"]);
        assert_eq!(shop.deliveries()[0].attempt, 1);
        gitea.delete("acme/shop", "v3.1.0");
    }
}

/// An alarm arrives, whatever the image lacks, and also from a run that polls something else.
#[test]
fn in_a_notification_a_label_that_is_not_known_is_empty() {
    let (gitea, receiver) = (gitea(Build::GiteaNew), Endpoint::start());
    let other = PROD.replace("stages.prod", "stages.other").replace("v*", "none-*");
    let other = format!(
        "[registries.other]\nkind = \"gitea\"\nurl = \"{}\"\nanonymous = true\n\
        [projects.other]\nregistry = \"other\"\nimage = \"acme/shop\"\n{}",
        gitea.url(),
        other.replace("shop.stages", "other.stages")
    );
    let tell = format!(
        "{PROD}{other}[[notify]]\non = [\"failed\", \"deployed\"]\nurl = \"{}/tell\"\n\
         json = {{ tag = \"{{tag}}\", revision = \"{{label.{REVISION}}}\" }}\n",
        receiver.url()
    );
    let shop = baselined(&gitea, &tell);
    push(&gitea, "0a1b2c");
    shop.file("fail", "");
    receiver.then(Answer::new(503, "text/plain", "down"));
    gitea.intercept_all("/blobs/", Reply::Answer(Answer::json(403, "{}")));
    shop.run(&["poll"]).code(1);
    gitea.recover();
    assert_eq!(receiver.requests()[0].json()["revision"], "");
    shop.remove("fail");
    let state = rusqlite::Connection::open(shop.path("state.db")).unwrap();
    state.execute("UPDATE notification SET next_attempt_at = NULL, failed_at = NULL", []).unwrap();
    drop(state);
    shop.run(&["poll", "other"]).code(0);
    assert_eq!(receiver.requests()[1].json()["revision"], "0a1b2c");
    gitea.push("acme/shop", "v3.2.0", "2026-11-20T12:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v3.2.0"]);
    let last = receiver.requests().last().unwrap().json();
    assert_eq!((last["tag"].as_str(), last["revision"].as_str()), (Some("v3.2.0"), Some("")));
}
