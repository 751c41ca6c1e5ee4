//! examples/notify: each file sends to a stand-in that accepts exactly what the service is documented to accept.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use regex::Regex;
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use crate::harness::Shop;
use crate::http::{Answer, Reply, Request, Server};
use crate::registry::{Build, Gitea, TOKEN};

/// Text that breaks a format without encoding.
const HOSTILE: &str =
    "command: \"quoted\" 'single' \\n <b>&amp; @everyone <!channel> ``` {tag}\r\n.\n\ttab, 🚀 and é";

/// What a service accepts, and its answers.
struct Service {
    name: &'static str,
    /// The secrets whose value is the whole URL: by name, the path.
    hook: Option<(&'static str, &'static str)>,
    /// What people read of a message, or why the service refuses it.
    read: fn(&Request) -> Result<String, String>,
    accepted: fn() -> Answer,
    refused: fn() -> Answer,
    /// Whether the message has the address of the tag's page.
    has_page: bool,
    batch: bool,
}

const SERVICES: [Service; 10] = [
    Service {
        name: "slack",
        hook: Some(("slack", "/services/T000/B000/planted-slack")),
        read: slack,
        accepted: || Answer::new(200, "text/html", "ok"),
        refused: || Answer::new(403, "text/html", "invalid_token"),
        has_page: true,
        batch: false,
    },
    Service {
        name: "discord",
        hook: Some(("discord", "/api/webhooks/1100/planted-discord")),
        read: discord,
        accepted: || Answer::new(204, "", ""),
        refused: || Answer::json(401, r#"{"message": "Invalid Webhook Token", "code": 50027}"#),
        has_page: true,
        batch: false,
    },
    Service {
        name: "teams",
        hook: Some(("teams", "/workflows/abc/triggers/manual/paths/invoke?api-version=1&sig=planted-teams")),
        read: teams,
        accepted: || Answer::new(202, "", ""),
        refused: || Answer::json(401, r#"{"error": {"code": "DirectApiAuthorizationRequired"}}"#),
        has_page: true,
        batch: false,
    },
    Service {
        name: "mattermost",
        hook: Some(("mattermost", "/hooks/planted-mattermost")),
        read: mattermost,
        accepted: || Answer::new(200, "text/plain", "ok"),
        refused: || {
            Answer::json(400, r#"{"id": "web.incoming_webhook.invalid.app_error", "status_code": 400}"#)
        },
        has_page: false,
        batch: true,
    },
    Service {
        name: "matrix",
        hook: None,
        read: matrix,
        accepted: || Answer::json(200, r#"{"event_id": "$abc:matrix.example.com"}"#),
        refused: || Answer::json(401, r#"{"errcode": "M_UNKNOWN_TOKEN", "error": "Unknown access token"}"#),
        has_page: true,
        batch: false,
    },
    Service {
        name: "telegram",
        hook: None,
        read: telegram,
        accepted: || Answer::json(200, r#"{"ok": true, "result": {"message_id": 7}}"#),
        refused: || Answer::json(401, r#"{"ok": false, "error_code": 401, "description": "Unauthorized"}"#),
        has_page: true,
        batch: false,
    },
    Service {
        name: "ntfy",
        hook: None,
        read: ntfy,
        accepted: || Answer::json(200, r#"{"id": "sPs71M8A2T", "event": "message", "topic": "deploys"}"#),
        refused: || Answer::json(403, r#"{"code": 40301, "http": 403, "error": "forbidden"}"#),
        has_page: true,
        batch: false,
    },
    Service {
        name: "gotify",
        hook: None,
        read: gotify,
        accepted: || Answer::json(200, r#"{"id": 25, "appid": 5, "message": "…", "priority": 8}"#),
        refused: || Answer::json(401, r#"{"error": "Unauthorized", "errorCode": 401}"#),
        has_page: true,
        batch: false,
    },
    Service {
        name: "pushover",
        hook: None,
        read: pushover,
        accepted: || Answer::json(200, r#"{"status": 1, "request": "647d2300"}"#),
        refused: || {
            Answer::json(400, r#"{"user": "invalid", "errors": ["user identifier is invalid"], "status": 0}"#)
        },
        has_page: true,
        batch: false,
    },
    Service {
        name: "apprise",
        hook: None,
        read: apprise,
        accepted: || Answer::json(200, r#"{"error": null}"#),
        // Nothing is configured for the key.
        refused: || Answer::new(204, "", ""),
        has_page: false,
        batch: true,
    },
];

fn slack(request: &Request) -> Result<String, String> {
    ensure(request.line() == "POST /services/T000/B000/planted-slack", "no_service")?;
    let body = json_body(request)?;
    let message = object(&body, &["text", "blocks"])?;
    // Markup in `text` would need escaping.
    let text = text(message, "text", 40_000)?;
    ensure(!text.contains(['<', '>', '&', '@']), "text has markup")?;
    let [section] = items(message, "blocks", 50)? else { return Err("one block".to_owned()) };
    let section = object(section, &["type", "text"])?;
    ensure(section["type"] == "section", "invalid_blocks")?;
    let plain = object(&section["text"], &["type", "text", "emoji"])?;
    ensure(plain["type"] == "plain_text" && plain["emoji"].is_boolean(), "invalid_blocks")?;
    self::text(plain, "text", 3000)
}

fn discord(request: &Request) -> Result<String, String> {
    ensure(request.line() == "POST /api/webhooks/1100/planted-discord", "Unknown Webhook")?;
    let body = json_body(request)?;
    let message = object(&body, &["content", "allowed_mentions"])?;
    ensure(message["allowed_mentions"] == json!({"parse": []}), "it mentions people")?;
    text(message, "content", 2000)
}

fn teams(request: &Request) -> Result<String, String> {
    let line = "POST /workflows/abc/triggers/manual/paths/invoke?api-version=1&sig=planted-teams";
    ensure(request.line() == line, "no such workflow")?;
    let body = json_body(request)?;
    let message = object(&body, &["type", "attachments"])?;
    ensure(message["type"] == "message", "type")?;
    let [attachment] = items(message, "attachments", 10)? else { return Err("attachments".to_owned()) };
    let attachment = object(attachment, &["contentType", "content"])?;
    ensure(attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "contentType")?;
    let card = object(&attachment["content"], &["$schema", "type", "version", "body", "actions"])?;
    ensure(card["$schema"] == "http://adaptivecards.io/schemas/adaptive-card.json", "schema")?;
    ensure(card["type"] == "AdaptiveCard" && card["version"] == "1.4", "card")?;
    let mut said = Vec::new();
    for block in items(card, "body", 50)? {
        let block = object(block, &["type", "text", "weight", "wrap"])?;
        ensure(block["type"] == "TextBlock" && block["wrap"] == true, "a block of text")?;
        said.push(text(block, "text", 20_000)?);
    }
    for action in items(card, "actions", 6)? {
        let action = object(action, &["type", "title", "url"])?;
        ensure(action["type"] == "Action.OpenUrl", "action")?;
        text(action, "title", 100)?;
        said.push(address(action, "url")?);
    }
    Ok(said.join("\n"))
}

fn mattermost(request: &Request) -> Result<String, String> {
    ensure(request.line() == "POST /hooks/planted-mattermost", "invalid webhook")?;
    let body = json_body(request)?;
    let message = object(&body, &["username", "text"])?;
    text(message, "username", 64)?;
    text(message, "text", 16_383)
}

fn matrix(request: &Request) -> Result<String, String> {
    let path = "PUT /_matrix/client/v3/rooms/%21ops%3Amatrix.example.com/send/m.room.message/";
    let line = request.line();
    let transaction = line.strip_prefix(path).ok_or("M_UNRECOGNIZED")?;
    ensure(!transaction.is_empty() && !transaction.contains(['/', '?']), "M_UNRECOGNIZED")?;
    ensure(request.header("authorization") == Some("Bearer planted-matrix"), "M_UNKNOWN_TOKEN")?;
    let body = json_body(request)?;
    let message = object(&body, &["msgtype", "body"])?;
    ensure(message["msgtype"] == "m.notice", "msgtype")?;
    // An event has at most 65,536 bytes.
    text(message, "body", 15_000)
}

fn telegram(request: &Request) -> Result<String, String> {
    ensure(request.line() == "POST /botplanted-telegram/sendMessage", "Unauthorized")?;
    let body = json_body(request)?;
    let message = object(&body, &["chat_id", "text"])?;
    ensure(message["chat_id"].is_i64(), "Bad Request: chat not found")?;
    text(message, "text", 4096)
}

fn ntfy(request: &Request) -> Result<String, String> {
    ensure(request.line() == "POST /", "a topic in the path takes no JSON")?;
    ensure(request.header("authorization") == Some("Bearer planted-ntfy"), "forbidden")?;
    let body = json_body(request)?;
    let message = object(&body, &["topic", "title", "message", "tags", "priority", "click"])?;
    ensure(message["topic"] == "deploys", "topic")?;
    ensure(message["priority"].as_u64().is_some_and(|priority| (1..=5).contains(&priority)), "priority")?;
    ensure(items(message, "tags", 10)?.iter().all(Value::is_string), "tags")?;
    let click = address(message, "click")?;
    Ok(format!("{}\n{}\n{click}", text(message, "title", 250)?, text(message, "message", 1024)?))
}

fn gotify(request: &Request) -> Result<String, String> {
    ensure(request.line() == "POST /message", "page not found")?;
    ensure(request.header("x-gotify-key") == Some("planted-gotify"), "Unauthorized")?;
    let body = json_body(request)?;
    let message = object(&body, &["title", "message", "priority", "extras"])?;
    ensure(message["priority"].is_u64(), "priority")?;
    let extras = object(&message["extras"], &["client::notification"])?;
    let notification = object(&extras["client::notification"], &["click"])?;
    let click = address(object(&notification["click"], &["url"])?, "url")?;
    Ok(format!("{}\n{}\n{click}", text(message, "title", 250)?, text(message, "message", 65_000)?))
}

fn pushover(request: &Request) -> Result<String, String> {
    ensure(request.line() == "POST /1/messages.json", "not found")?;
    ensure(request.header("content-type") == Some("application/x-www-form-urlencoded"), "content-type")?;
    let fields: Map<String, Value> = url::form_urlencoded::parse(&request.body)
        .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
        .collect();
    let fields = Value::Object(fields);
    let message = object(&fields, &["token", "user", "title", "message", "url", "url_title"])?;
    ensure(message["token"] == "planted-pushover", "application token is invalid")?;
    ensure(message["user"] == "planted-pushover-user", "user identifier is invalid")?;
    text(message, "url_title", 100)?;
    let url = address(message, "url")?;
    ensure(url.chars().count() <= 512, "url is too long")?;
    Ok(format!("{}\n{}\n{url}", text(message, "title", 250)?, text(message, "message", 1024)?))
}

fn apprise(request: &Request) -> Result<String, String> {
    ensure(request.line() == "POST /notify/deploys", "not found")?;
    let body = json_body(request)?;
    let message = object(&body, &["title", "body", "type", "format"])?;
    ensure(["info", "success", "warning", "failure"].iter().any(|kind| message["type"] == *kind), "type")?;
    ensure(["text", "markdown", "html"].iter().any(|format| message["format"] == *format), "format")?;
    Ok(format!("{}\n{}", text(message, "title", 250)?, text(message, "body", 32_768)?))
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn json_body(request: &Request) -> Result<Value, String> {
    ensure(request.header("content-type") == Some("application/json"), "content-type")?;
    serde_json::from_slice(&request.body).map_err(|error| format!("invalid_payload: {error}"))
}

/// An object that has these members, and no others.
fn object<'a>(value: &'a Value, members: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let object = value.as_object().ok_or("not an object")?;
    let unknown = object.keys().find(|name| !members.contains(&name.as_str()));
    ensure(unknown.is_none(), &format!("unknown: {unknown:?}"))?;
    let missing = members.iter().find(|name| **name != "weight" && !object.contains_key(**name));
    ensure(missing.is_none(), &format!("missing: {missing:?}"))?;
    Ok(object)
}

fn items<'a>(object: &'a Map<String, Value>, name: &str, most: usize) -> Result<&'a [Value], String> {
    let items = object[name].as_array().ok_or_else(|| format!("{name} is not a list"))?;
    ensure(!items.is_empty() && items.len() <= most, name)?;
    Ok(items)
}

/// Text that is not empty, with at most this number of characters.
fn text(object: &Map<String, Value>, name: &str, longest: usize) -> Result<String, String> {
    let text = object[name].as_str().ok_or_else(|| format!("{name} is not text"))?;
    ensure(
        !text.trim().is_empty() && text.chars().count() <= longest,
        &format!("{name} is too long, or empty"),
    )?;
    Ok(text.to_owned())
}

fn address(object: &Map<String, Value>, name: &str) -> Result<String, String> {
    let address = text(object, name, 2000)?;
    let url = url::Url::parse(&address).map_err(|error| format!("{name}: {error}"))?;
    ensure(matches!(url.scheme(), "http" | "https"), name)?;
    Ok(address)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/notify")
}

fn names() -> Vec<String> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".toml").unwrap_or_else(|| panic!("{name} is not TOML")).to_owned()
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn example(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap()
}

/// What the stand-in does, and what came.
#[derive(Default)]
struct Seen {
    is_down: bool,
    refuses: bool,
    requests: Vec<Request>,
    messages: Vec<String>,
    /// Why a message was not what the service is documented to accept.
    complaint: Option<String>,
}

fn stand_in(service: &'static Service, seen: &Arc<Mutex<Seen>>) -> Server {
    let seen = Arc::clone(seen);
    Server::start(move |request| -> Reply {
        let mut seen = seen.lock().unwrap();
        seen.requests.push(request.clone());
        if seen.is_down {
            return Answer::new(503, "text/plain", "down").into();
        }
        match (service.read)(request) {
            _ if seen.refuses => (service.refused)().into(),
            Ok(message) => {
                seen.messages.push(message);
                (service.accepted)().into()
            }
            Err(complaint) => {
                seen.complaint.get_or_insert(complaint);
                (service.refused)().into()
            }
        }
    })
}

/// A shop with the example's configuration, and dev-42 deployed already. `replace`: in the example's text.
fn shop(text: &str, replace: impl Fn(&Shop, &str) -> String) -> (Gitea, Shop) {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/shop", "dev-42", "2026-11-20T10:00:00Z");
    let mut shop = Shop::new();
    shop.env("GITEA_TOKEN", TOKEN);
    for secret in Regex::new(r#"file = "secret/(.+?)""#).unwrap().captures_iter(text) {
        shop.secret(&secret[1], &format!("planted-{}", &secret[1]));
    }
    let text = text.replace("https://git.example.com", &gitea.url());
    shop.config(&replace(&shop, &text));
    shop.run(&["check"]).code(0).stdout_has("no faults").stderr("");
    shop.run(&["poll"]).code(0);
    (gitea, shop)
}

/// A deployment fails, whose notification is not sent yet; its error is replaced by the hostile one.
fn fail(gitea: &Gitea, shop: &Shop) {
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    shop.file("fail", "");
    shop.run(&["poll"]).code(1).shows("could not send the shop/dev failed notification; will retry");
    let state = Connection::open(shop.path("state.db")).unwrap();
    let query =
        "UPDATE notification SET error = ?1, next_attempt_at = NULL, failed_at = NULL WHERE ended_at IS NULL";
    assert_eq!(state.execute(query, [HOSTILE]).unwrap(), 1);
}

fn unsent(shop: &Shop) -> u32 {
    let state = Connection::open(shop.path("state.db")).unwrap();
    let query = "SELECT count(*) FROM notification WHERE ended_at IS NULL";
    state.query_row(query, [], |row| row.get(0)).unwrap()
}

fn run(service: &'static Service) {
    let name = service.name;
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let server = stand_in(service, &seen);
    let (gitea, shop) = shop(&example(name), |shop, text| {
        if let Some((secret, path)) = service.hook {
            shop.secret(secret, &format!("{}{path}", server.url()));
        }
        let hosts =
            r"https://((matrix|ntfy|gotify|apprise)\.example\.com|api\.telegram\.org|api\.pushover\.net)";
        Regex::new(hosts).unwrap().replace_all(text, server.url()).into_owned()
    });
    seen.lock().unwrap().is_down = true;
    fail(&gitea, &shop);
    seen.lock().unwrap().is_down = false;
    shop.run(&["poll"]).code(0).silent();
    {
        let seen = seen.lock().unwrap();
        assert_eq!(seen.complaint, None, "{name}");
        let [message] = seen.messages.as_slice() else { panic!("{name}: {:?}", seen.messages) };
        let error = if service.batch { HOSTILE.replace(char::is_control, " ") } else { HOSTILE.to_owned() };
        for expected in ["shop/dev", "failed", "dev-43", &error] {
            assert!(message.contains(expected), "{name}: {expected:?} in {message:?}");
        }
        let page = format!("{}/acme/-/packages/container/shop/dev-43", gitea.url());
        assert_eq!(message.contains(&page), service.has_page, "{name}: {message}");
        // A retry is the same request, so that the service can tell.
        assert_eq!(seen.requests[0].line(), seen.requests[1].line(), "{name}");
    }
    assert_eq!(unsent(&shop), 0, "{name}");

    shop.run(&["check", "--notify"]).code(0).stdout_has("notify[0]  ok      sent a test message");
    let message = seen.lock().unwrap().messages[1].clone();
    assert!(message.contains("this is a test message of tagship check --notify"), "{name}: {message}");
    seen.lock().unwrap().refuses = true;
    shop.run(&["check", "--notify"]).code(1).stdout_has("notify[0]  failed  ");
    assert_eq!(seen.lock().unwrap().complaint, None, "{name}");
}

#[test]
fn every_service_accepts_its_message() {
    std::thread::scope(|scope| {
        for service in &SERVICES {
            scope.spawn(|| run(service));
        }
    });
}

/// The whole message that sendmail reads, which must end only where its input does.
#[test]
fn mail_has_one_header_and_the_lines_as_its_body() {
    let text = example("mail");
    let (gitea, shop) = shop(&text, |shop, text| {
        let sendmail = shop.path("sendmail");
        text.replace("/usr/sbin/sendmail", sendmail.to_str().unwrap())
    });
    shop.script("sendmail", "exit 75\n");
    fail(&gitea, &shop);
    shop.script("sendmail", "echo \"$@\" > arguments\ncat > message\n");
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.read("arguments"), "-t -i\n");
    let message = shop.read("message");
    let (header, body) = message.split_once("\n\n").unwrap();
    let names: Vec<&str> = header.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(names, ["To", "Subject", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]);
    assert!(header.is_ascii() && header.contains("Subject: tagship: 1 at 20"), "{header}");
    let error = HOSTILE.replace(char::is_control, " ");
    assert_eq!(body, format!("shop/dev failed: dev-43 {error}\n"));
    assert_eq!(unsent(&shop), 0);
    shop.run(&["check", "--notify"]).code(0).stdout_has("notify[0]  ok      sent a test message");
    shop.script("sendmail", "echo no such user >&2; exit 67\n");
    shop.run(&["check", "--notify"])
        .code(1)
        .stdout_has("notify[0]  failed  sh exited with status 67: no such user");
}

#[test]
fn every_example_of_notify_says_what_it_is_for_and_is_run_by_a_test() {
    let mut run: Vec<String> = SERVICES.iter().map(|service| service.name.to_owned()).collect();
    run.push("mail".to_owned());
    run.sort();
    assert_eq!(names(), run);
    for name in names() {
        let text = example(&name);
        assert!(text.lines().take_while(|line| line.starts_with('#')).count() >= 3, "{name}");
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{name} has long lines");
    }
}
