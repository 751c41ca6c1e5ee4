//! `poll --from-webhook`: a push notification on standard input wakes the targets of its image, and nothing else of it
//! counts.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, await_until, on_gitea};
use crate::registry::{Build, Gitea};
use crate::run::Run;

const SECRET: &str = "planted-hook-5Yt8Rm2Kd9";

/// `acme/shop` with two stages and `acme/blog` with one, all baselined, and a secret for webhooks.
pub(crate) fn woken_shop(gitea: &Gitea) -> Shop {
    gitea.push("acme/blog", "v1.0.0", "2026-11-20T10:00:00Z");
    let blog = PROD.replace("projects.shop", "projects.blog");
    let stages = format!("{DEV}{PROD}\n[projects.blog]\nregistry = \"git\"\nimage = \"acme/blog\"\n{blog}");
    let settings = "[settings.webhook]\nsecret = { file = \"secret/hook\" }\n";
    let shop = Shop::with(&format!("{settings}{}", on_gitea(gitea, &stages)));
    shop.secret("hook", SECRET);
    shop.run(&["poll"]).code(0);
    gitea.take_requests();
    shop
}

/// What Gitea and Forgejo send for a push of a tag, as far as anyone reads it.
pub(crate) fn pushed(image: &str, tag: &str) -> String {
    let (owner, name) = image.split_once('/').unwrap();
    json!({
        "action": "created",
        "package": { "owner": { "login": owner }, "type": "container", "name": name, "version": tag },
        "sender": { "login": "ci" }
    })
    .to_string()
}

pub(crate) fn signature(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn wake(shop: &Shop, body: &str, arguments: &[&str]) -> Run {
    shop.start_with_input(body.as_bytes(), &[&["poll", "--from-webhook"], arguments].concat()).end()
}

fn wake_signed(shop: &Shop, body: &str, arguments: &[&str]) -> Run {
    wake(shop, body, &[&["--signature", &signature(body)], arguments].concat())
}

#[test]
fn only_the_targets_of_the_image_are_polled() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = woken_shop(&gitea);
        for image in ["acme/shop", "acme/blog"] {
            gitea.push(image, "v2.0.0", "2026-11-20T11:00:00Z");
        }
        let run = wake_signed(&shop, &pushed("Acme/shop", "v2.0.0"), &["--format", "json"]);
        let mut targets = run.code(0).targets();
        targets.sort();
        assert_eq!(targets, ["shop/dev", "shop/prod"], "{build:?}");
        assert_eq!(shop.delivered(), ["shop/prod v2.0.0"], "{build:?}");
        assert!(gitea.take_requests().iter().all(|request| !request.contains("blog")), "{build:?}");

        // A filter narrows what the payload names.
        gitea.push("acme/shop", "dev-43", "2026-11-20T12:00:00Z");
        let run = wake_signed(&shop, &pushed("acme/shop", "dev-43"), &["--stage", "dev", "--format", "json"]);
        assert_eq!(run.code(0).targets(), ["shop/dev"], "{build:?}");
        assert_eq!(shop.delivered(), ["shop/prod v2.0.0", "shop/dev dev-43"], "{build:?}");
    }
}

#[test]
fn a_sender_without_the_secret_is_refused_without_a_request() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = woken_shop(&gitea);
    gitea.push("acme/shop", "v2.0.0", "2026-11-20T11:00:00Z");
    let body = pushed("acme/shop", "v2.0.0");
    let (right, other) = (signature(&body), signature("another body"));
    let refusal = "error: the webhook has no valid signature or token; nothing was polled\n";
    let before = shop.contents();
    wake(&shop, &body, &[]).code(2).stdout("").stderr(refusal);
    for wrong in ["", &other, "sha256=", &right[..40], "no signature"] {
        let run = wake(&shop, &body, &["--signature", wrong]);
        run.code(2).stdout("").stderr(refusal);
    }
    // A token is never an argument, and a signature is of this payload.
    wake(&shop, &body, &["--signature", SECRET]).code(2).stderr(refusal);
    wake(&shop, &format!("{body} "), &["--signature", &right]).code(2).stderr(refusal);
    for (name, value) in [
        ("HTTP_X_GITEA_SIGNATURE", other.as_str()),
        ("HTTP_X_GITLAB_TOKEN", "a guess"),
        ("QUERY_STRING", "token=guess"),
    ] {
        shop.env(name, value);
        wake(&shop, &body, &[]).code(2).stderr(refusal);
    }
    assert_eq!(gitea.take_requests(), [""; 0]);
    assert!(shop.contents() == before);
}

#[test]
fn a_cgi_server_passes_signature_or_token() {
    let gitea = gitea(Build::GiteaNew);
    for (index, (name, value)) in [
        ("HTTP_X_GITEA_SIGNATURE", None),
        ("HTTP_X_FORGEJO_SIGNATURE", None),
        ("HTTP_X_HUB_SIGNATURE_256", None),
        ("HTTP_X_GITLAB_TOKEN", Some(SECRET.to_owned())),
        ("HTTP_X_TAGSHIP_TOKEN", Some(SECRET.to_owned())),
        ("HTTP_AUTHORIZATION", Some(format!("Bearer {SECRET}"))),
        ("QUERY_STRING", Some(format!("token={SECRET}"))),
    ]
    .into_iter()
    .enumerate()
    {
        let tag = format!("dev-{}", 43 + index);
        let mut shop = woken_shop(&gitea);
        gitea.push("acme/shop", &tag, &format!("2026-11-20T11:00:{index:02}Z"));
        let body = pushed("acme/shop", &tag);
        let prefix = if name.contains("HUB") { "sha256=" } else { "" };
        shop.env(name, &value.unwrap_or_else(|| format!("{prefix}{}", signature(&body))));
        wake(&shop, &body, &[]).code(0).line("shop/dev", &["deployed", &tag]);
        // A command does not see what proves the sender.
        assert!(!shop.read("command-env").contains(SECRET), "{name}");
    }
}

#[test]
fn a_payload_without_a_configured_image_sends_no_request() {
    let gitea = gitea(Build::GiteaNew);
    let shop = woken_shop(&gitea);
    let before = shop.contents();
    for body in [
        pushed("acme/other", "v1"),
        pushed("acme/shop", "v2").replace("created", "deleted"),
        pushed("acme/shop", "v2").replace("container", "npm"),
        json!({ "zen": "Keep it logically awesome." }).to_string(),
        json!({ "ref": "refs/heads/main", "repository": { "full_name": "acme/shop" } }).to_string(),
    ] {
        wake_signed(&shop, &body, &[]).code(0).silent();
        wake_signed(&shop, &body, &["-v"]).code(0).stderr("the webhook names no configured image\n");
        let document = wake_signed(&shop, &body, &["--format", "json"]).code(0).json();
        assert_eq!((&document["targets"], &document["requests"]), (&json!([]), &json!(0)));
    }
    assert_eq!(gitea.take_requests(), [""; 0]);
    assert!(shop.contents() == before);
}

#[test]
fn a_payload_that_cannot_be_read_is_refused() {
    let gitea = gitea(Build::GiteaNew);
    let shop = woken_shop(&gitea);
    wake_signed(&shop, "payload=%7B%7D", &[])
        .code(2)
        .stderr("error: the payload is not JSON; set the content type of the webhook to application/json\n");
    let fitting = |length: usize| {
        let body = pushed("acme/other", "v1");
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    wake_signed(&shop, &fitting(1024 * 1024), &[]).code(0).silent();
    wake_signed(&shop, &fitting(1024 * 1024 + 1), &[])
        .code(2)
        .stderr("error: the payload is larger than 1048576 bytes; nothing was polled\n");
    assert_eq!(gitea.take_requests(), [""; 0]);
}

#[test]
fn a_configuration_without_a_secret_takes_no_payload() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    wake_signed(&shop, &pushed("acme/shop", "dev-43"), &[]).code(2).stderr(
        "error: poll --from-webhook requires the secret of the sender; add to [dir]/tagship.toml: \
         [settings.webhook] secret = { file = \"webhook-secret\" }\n",
    );
    assert!(!shop.exists("state.db"));
    shop.run(&["poll", "--signature", "abc"]).code(2).stderr_has("--from-webhook");
    shop.run(&["poll", "--from-webhook", "--due"]).code(2).stderr_has("cannot be used with");

    let hook = "[settings.webhook]\nsecret = { env = \"HOOK\" }\n";
    shop.config(&format!("{hook}{}", on_gitea(&gitea, DEV)));
    wake_signed(&shop, &pushed("acme/shop", "dev-43"), &[]).code(2).stderr_has("HOOK");
    assert_eq!(gitea.take_requests(), [""; 0]);
}

#[test]
fn a_tag_missing_in_the_list_is_looked_for_again() {
    for (stage, tag, listing) in
        [("shop/dev", "dev-43", "packages/acme/container/shop?page=1"), ("shop/prod", "v2.0.0", "/tags/list")]
    {
        let gitea = gitea(Build::GiteaNew);
        let shop = woken_shop(&gitea);
        let body = pushed("acme/shop", tag);
        let arguments = ["poll", "--from-webhook", stage, "--signature", &signature(&body)];
        let run = shop.start_with_input(body.as_bytes(), &arguments);
        await_until("the list was read", || gitea.count(listing) > 0);
        gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
        run.end().code(0).line(stage, &["deployed", tag]);
        let lists = gitea.take_requests();
        let lists = lists.iter().filter(|request| request.contains(listing));
        assert_eq!(lists.count(), 2, "{stage}");
    }
}

#[test]
fn a_tag_that_no_stage_can_deploy_is_not_looked_for() {
    let gitea = gitea(Build::GiteaNew);
    let shop = woken_shop(&gitea);
    let body = pushed("acme/shop", "nightly");
    wake_signed(&shop, &body, &["shop/prod"]).code(0).silent();
    let lists = gitea.take_requests().iter().filter(|request| request.contains("tags/list")).count();
    assert_eq!(lists, 1);
    // Waiting takes nothing from a run that has no time for it.
    let body = pushed("acme/shop", "v2.0.0");
    wake_signed(&shop, &body, &["shop/prod", "--max-runtime", "1s"]).code(0).silent();
    let lists = gitea.take_requests().iter().filter(|request| request.contains("tags/list")).count();
    assert_eq!(lists, 1);
    let state: Value = shop.status("shop/prod");
    assert_eq!(state["latest_tag"], "v1.10.0");
}

#[test]
fn check_online_reads_the_secret() {
    let gitea = gitea(Build::GiteaNew);
    let shop = woken_shop(&gitea);
    shop.run(&["check", "-v"])
        .code(0)
        .stdout_has("secret of [settings.webhook]  from the file [dir]/secret/hook");
    shop.run(&["check", "--online"]).code(0).says("webhook ok its secret can be read");
    shop.remove("secret/hook");
    shop.run(&["check"]).code(0);
    shop.run(&["check", "--online"])
        .code(1)
        .says("webhook failed the secret of [settings.webhook]: [dir]/secret/hook cannot be read: No such file or directory (os error 2)");
}

#[test]
fn a_schedule_needs_no_secret_of_webhooks() {
    let gitea = gitea(Build::GiteaNew);
    let shop = woken_shop(&gitea);
    shop.run(&["schedule", "systemd"]).code(0).shows("secret/token").shows_not("secret/hook");
    // The configuration is in its text.
    shop.run(&["schedule", "kubernetes", "--image", "tagship:1"])
        .code(0)
        .shows("--from-file=token=")
        .shows_not("--from-file=hook=");
}

/// An image that a table takes is discovered by the webhook of its first push.
#[test]
fn a_webhook_may_name_an_image_that_its_table_does_not_know_yet() {
    let gitea = gitea(Build::GiteaNew);
    let shop = woken_shop(&gitea);
    gitea.push("acme/known", "v1.0.0", "2026-11-20T10:00:00Z");
    let text = shop.read("tagship.toml");
    shop.config(&format!("{text}\n[projects.all]\nregistry = \"git\"\nimages = \"acme/*\"\n{}", {
        PROD.replace("projects.shop", "projects.all") + "first_poll = \"deploy\"\n"
    }));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/fresh", "v1.0.0", "2026-11-20T11:00:00Z");
    let run = wake_signed(&shop, &pushed("acme/fresh", "v1.0.0"), &["--format", "json"]);
    assert_eq!(run.code(0).targets(), ["fresh/prod"]);
    run.status_is("fresh/prod", "deployed");
    gitea.take_requests();
    wake_signed(&shop, &pushed("other/image", "v1.0.0"), &[]).code(0).silent();
    assert_eq!(gitea.take_requests(), [""; 0]);
}
