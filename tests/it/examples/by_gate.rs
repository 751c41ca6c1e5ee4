//! examples/gate: a tag waits until the other side agrees.

use std::fs;

use serde_json::json;

use super::example::Example;
use super::stand_in::{Asked, probes};
use crate::http::Answer;

const REVISION: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b";

/// `examples/gate/NAME.toml` with its baseline polled, and the image `v1.1.0` pushed, with labels.
fn gate(name: &str) -> Example {
    let example = Example::of("gate", name);
    example.shop.file("cosign.pub", "-----BEGIN PUBLIC KEY-----\n");
    example
}

fn push(example: &Example) {
    example.baseline();
    example.gitea.push("acme/shop", "v1.1.0", "2026-11-20T11:00:00Z");
    for (name, value) in [("org.opencontainers.image.revision", REVISION), ("com.example.change", "OPS-7")] {
        example.gitea.label("acme/shop", "v1.1.0", name, value);
    }
}

/// Polls: the tag waits, and the reason has these words.
#[track_caller]
fn waits(example: &Example, words: &str) {
    let run = example.shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/prod", "waiting");
    let reason = run.target("shop/prod")["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("gate: v1.1.0: ") && reason.contains(words), "{reason}");
    assert!(example.shop.deliveries().is_empty());
}

#[track_caller]
fn ships(example: &Example) {
    example.shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.1.0"]);
    assert_eq!(example.shop.delivered(), ["shop/prod v1.1.0"]);
}

/// How a tool is called, as its documentation has it.
struct Usage {
    program: &'static str,
    subcommand: &'static str,
    /// Options with a value, and what values they take (a pattern of `case`).
    options: &'static [(&'static str, &'static str)],
    flags: &'static [&'static str],
    /// Before the image.
    scheme: &'static str,
}

/// What cosign 2.4 takes, of those options that can be meant here.
const COSIGN: Usage = Usage {
    program: "cosign",
    subcommand: "verify",
    options: &[
        ("--key", "cosign.pub"),
        ("--certificate-identity", "https://*/*@refs/*"),
        ("--certificate-oidc-issuer", "https://*"),
    ],
    flags: &["--insecure-ignore-tlog=true"],
    scheme: "",
};

const NOTATION: Usage =
    Usage { program: "notation", subcommand: "verify", options: &[], flags: &[], scheme: "" };

const TRIVY: Usage = Usage {
    program: "trivy",
    subcommand: "image",
    options: &[
        ("--image-src", "docker|containerd|podman|remote"),
        ("--scanners", "vuln|misconfig|secret|license"),
        ("--severity", "HIGH,CRITICAL"),
        ("--exit-code", "1"),
        ("--format", "table|json|template|sarif"),
        ("--template", "'{{ range . }}'*"),
    ],
    flags: &["--no-progress", "--ignore-unfixed"],
    scheme: "",
};

const GRYPE: Usage = Usage {
    program: "grype",
    subcommand: "",
    options: &[("--fail-on", "negligible|low|medium|high|critical")],
    flags: &["--only-fixed"],
    scheme: "registry:",
};

impl Usage {
    /// Installs a program that takes nothing else, and the image that the file `image` names. While there is a file
    /// `refused`, it prints that and fails with this status.
    fn install(&self, example: &Example, status: u8) {
        let Usage { program, subcommand, options, flags, scheme } = self;
        let options: String = options
            .iter()
            .map(|(name, values)| {
                format!("{name}) case \"$2\" in {values}) shift 2 ;; *) die \"invalid argument $2 for $1\" ;; esac ;;\n")
            })
            .collect();
        let flags: String = flags.iter().map(|flag| format!("{flag}) shift ;;\n")).collect();
        let subcommand = match *subcommand {
            "" => String::new(),
            name => format!("[ \"$1\" = {name} ] || die \"unknown command $1\"\nshift\n"),
        };
        let body = format!(
            "die() {{ echo \"Error: $*\" >&2; exit 70; }}\nimages=\n{subcommand}\
             while [ $# -gt 0 ]; do case \"$1\" in\n{options}{flags}-*) die \"unknown flag: $1\" ;;\n\
             *) images=\"$images $1\"; shift ;;\nesac; done\n\
             [ \"$images\" = \" {scheme}$(cat image)\" ] || die \"the image is$images\"\n\
             [ -z \"$GITEA_TOKEN\" ] || die \"it got the token of the registry\"\n\
             [ ! -e refused ] || {{ cat refused; exit {status}; }}\n"
        );
        example.shop.script(&format!("bin/{program}"), &body);
    }
}

/// The tool refuses with this output, and this status, then agrees.
fn by_tool(example: &Example, usage: &Usage, status: u8, output: &str, words: &str) {
    usage.install(example, status);
    push(example);
    let digest = example.gitea.digest("acme/shop", "v1.1.0");
    example.shop.file("image", &format!("127.0.0.1:{}/acme/shop@{digest}", example.gitea.port()));
    example.shop.file("refused", output);
    waits(example, words);
    example.shop.remove("refused");
    ships(example);
}

const UNSIGNED: &str =
    "Error: no signatures found\nmain.go:69: error during command execution: no signatures found\n";

#[test]
fn cosign_verifies_by_a_key() {
    by_tool(&gate("cosign-key"), &COSIGN, 10, UNSIGNED, "no signatures found");
}

#[test]
fn cosign_verifies_who_signed_without_a_key() {
    let other = "Error: no matching signatures: none of the expected identities matched what was in the certificate\n";
    by_tool(&gate("cosign-keyless"), &COSIGN, 12, other, "none of the expected identities matched");
}

#[test]
fn notation_verifies_by_its_trust_policy() {
    let refusal = "Error: signature verification failed: no signature is associated with the image\n";
    by_tool(&gate("notation"), &NOTATION, 1, refusal, "no signature is associated");
}

#[test]
fn trivy_finds_nothing_that_could_be_fixed() {
    let found = "2026-11-20T11:00:00Z\tINFO\tVulnerability scanning is enabled\nCVE-2026-1111 CVE-2026-2222 ";
    by_tool(&gate("trivy"), &TRIVY, 1, found, "v1.1.0: CVE-2026-1111 CVE-2026-2222");
}

#[test]
fn grype_finds_nothing_that_could_be_fixed() {
    let found = "NAME  INSTALLED  FIXED IN  TYPE  VULNERABILITY  SEVERITY\nzlib  1.2.11  1.2.12  apk  CVE-2018-25032  High\n\
                 [0003] ERROR discovered vulnerabilities at or above the severity threshold\n";
    by_tool(&gate("grype"), &GRYPE, 2, found, "at or above the severity threshold");
}

/// By the real sh and grep.
#[test]
fn an_approval_in_a_file_is_for_one_digest() {
    let example = gate("approval-file");
    push(&example);
    let file = example.shop.path("srv/approved");
    let line = format!("v1.1.0 {}", example.gitea.digest("acme/shop", "v1.1.0"));
    let reason = format!("to approve it: echo {line} >> {}", file.display());
    waits(&example, &reason);
    fs::write(&file, format!("v1.1.0\nv1.1.0 sha256:{}\n{line}0\n# {line}\n", "0".repeat(64))).unwrap();
    waits(&example, &reason);
    fs::write(&file, format!("{line}\n")).unwrap();
    ships(&example);
}

#[test]
fn an_approval_by_an_api_is_open_until_someone_says_yes() {
    let example = gate("approval-api");
    push(&example);
    let digest = example.gitea.digest("acme/shop", "v1.1.0").replace(':', "%3A");
    let asked = || {
        probes(&format!("GET /api/approvals/shop/prod/v1.1.0?digest={digest}"))
            .header("authorization", "Bearer planted-approvals")
    };
    agrees(
        &example,
        asked,
        &[
            (Answer::json(404, "{}"), "404 Not Found"),
            (Answer::json(200, json!({"state": "open"}).to_string()), "/state"),
            (Answer::json(200, json!({"state": "rejected"}).to_string()), "/state"),
        ],
        json!({"state": "approved"}).to_string(),
    );
}

#[test]
fn a_change_ticket_is_named_by_the_image() {
    let example = gate("change-ticket");
    push(&example);
    let asked =
        || probes("GET /rest/api/2/issue/OPS-7?fields=status").header("authorization", "Bearer planted-jira");
    let ticket = |status: &str| json!({"key": "OPS-7", "fields": {"status": {"name": status}}}).to_string();
    let missing = json!({"errorMessages": ["Issue Does Not Exist"], "errors": {}}).to_string();
    let refusals =
        [(Answer::json(404, missing), "404 Not Found"), (Answer::json(200, ticket("In Review")), "name")];
    agrees(&example, asked, &refusals, ticket("Approved"));
}

#[test]
fn the_commit_that_the_image_was_built_from_is_green() {
    let example = gate("gitea-status");
    push(&example);
    let asked = || {
        probes(&format!("GET /api/v1/repos/acme/shop/commits/{REVISION}/status"))
            .header("authorization", "token planted-gitea")
    };
    let status = |state: &str| json!({"state": state, "sha": REVISION, "total_count": 2}).to_string();
    let refusals = [
        // Older ones answer so for a commit without any status.
        (Answer::new(200, "text/plain", ""), "/state"),
        (Answer::json(200, status("")), "/state"),
        (Answer::json(200, status("pending")), "/state"),
        (Answer::json(200, status("failure")), "/state"),
        (Answer::json(404, json!({"message": "not found"}).to_string()), "404 Not Found"),
    ];
    agrees(&example, asked, &refusals, status("success"));
}

/// The API refuses with each of these, each shown with these words, then agrees.
fn agrees(example: &Example, asked: impl Fn() -> Asked, refusals: &[(Answer, &str)], yes: String) {
    for (refusal, words) in refusals {
        example.stand_in.expect([asked().answers(refusal.clone())]);
        waits(example, words);
        example.stand_in.is_over();
    }
    example.stand_in.expect([asked().answers(Answer::json(200, yes))]);
    ships(example);
    example.stand_in.is_over();
}

#[test]
fn an_image_that_names_no_ticket_or_commit_is_an_error() {
    for (example, label) in [
        (gate("change-ticket"), "com.example.change"),
        (gate("gitea-status"), "org.opencontainers.image.revision"),
    ] {
        example.baseline();
        example.gitea.push("acme/shop", "v1.1.0", "2026-11-20T11:00:00Z");
        let run = example.shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", "gate");
        let message = run.target("shop/prod")["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("/acme/shop:v1.1.0 has no label \"{label}\"")), "{message}");
        example.stand_in.is_over();
    }
}
