//! The manual page tagship.toml(5), from the table of keys.

use roff::{Inline, Roff, bold, italic, roman};
use strum::VariantArray as _;

use super::key::{Key, Kind, Section};
use crate::policy::Order;
use crate::target::template::DeploymentField;

/// The date of the release; today's date would change the page every day.
const DATE: &str = "2026-11-23";

const DESCRIPTION: &[&str] = &[
    "The configuration of tagship(1) is TOML. A file whose name ends in .json holds the same model as JSON.",
    "Relative paths are relative to the file that contains them. An unknown key is an error. All errors are reported together, each with its file, line and column and what to write instead; tagship-check(1) does only this.",
    "A duration is text: numbers, each with its unit, such as 90s, 5m, 1h 30m or 7d. A name has up to 64 letters, digits, underscores, dots and hyphens, and must not begin with a dot or a hyphen.",
];

const FILES: &[(&str, &str)] = &[
    (
        "--config FILE",
        "The option of every command. If it is given, no other place is searched, even if the file does not exist.",
    ),
    ("$TAGSHIP_CONFIG", "The environment variable. If it is set, no other place is searched."),
    ("$CONFIGURATION_DIRECTORY/config.toml", "The folder that systemd sets for a unit."),
    ("$XDG_CONFIG_HOME/tagship/config.toml", "The user's own file, usually in ~/.config; not for root."),
    ("/etc/tagship/config.toml", "The file of the machine."),
];

const PLACEHOLDERS: &[&str] = &[
    "{step.1./deployment_uuid} is the value at this JSON pointer (RFC 6901) in the answer of the first step: text, a number, true or false. Steps count from 1. Later steps may use it; if the answer has no such value, the deployment fails.",
    "Only a lower-case word between braces is a placeholder, and an unknown one is an error. All other braces are literal, so that {{.Config.Image}} and JSON remain as written. A placeholder without a value is empty.",
    "In a URL values are percent-encoded, and secrets are not; scheme and host have no placeholders, unless one secret is the whole URL. In json they are parts of string values and cannot change its structure. The value of a header cannot have control characters. The arguments of a command cannot have secrets, which would be visible in ps: use env.",
];

const ENVIRONMENT: &[&str] = &[
    "A command inherits the environment of tagship without the variables that are sources of secrets. It also receives these, empty if they have no value, and those of its env:",
];

const PROXIES: &[&str] = &[
    "Deploy endpoints, and registries without proxy, use these variables as curl(1) does. Loopback never uses a proxy. Requests use CONNECT, also for http; some proxies allow it for port 443 only.",
];

const PROXY_VARIABLES: &[(&str, &str)] = &[
    ("http_proxy", "For http. Lower case only."),
    ("https_proxy, HTTPS_PROXY", "For https. The lower-case name takes precedence."),
    ("all_proxy, ALL_PROXY", "For both, if the others are not set."),
    (
        "no_proxy, NO_PROXY",
        "Hosts without a proxy, separated by commas or blanks. A name means itself and its subdomains, with or without a dot or *. before it; also addresses, networks such as 10.0.0.0/8 and fd00::/8, names and addresses with a port such as example.com:8443, and * for all hosts.",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Certificate authorities instead of the system's. A registry's ca_file adds to them.",
    ),
];

const SORT_KEY: &[&str] = &[
    "The orders semver, numeric and alphabetical compare the sort key of a tag. If regex has a capture, the sort key is the capture. Otherwise it is the tag without the literal prefix and suffix of the glob that matched it. The prefix is removed up to its first digit: v1.* leaves 1.2.3 of v1.2.3, and release-* leaves 1.4.0 of release-1.4.0. The suffix is removed from its first letter, or from a - or _ before a letter: *-alpine leaves 1.4.0 of 1.4.0-alpine.",
    "The result does not depend on the order in which the registry lists the tags. Tags with equal keys, such as 1.0.0 and v1.0.0, are chosen by bytes. A tag is newer than another only if its key is greater: a tie never deploys.",
];

fn about_order(order: Order) -> &'static str {
    match order {
        Order::Newest => {
            "By push time, then by the registry's own sequence. If a registry has no push times, the first poll remembers all tags, and later tags count by the time at which tagship first saw them."
        }
        Order::Semver => {
            "By the precedence of Semantic Versioning: MAJOR.MINOR.PATCH with an optional prerelease and an optional v before it. Other tags, such as 1.2, 2025.08.05 and 17-alpine, are not versions and are skipped; tagship-tags(1) names them."
        }
        Order::Numeric => {
            "By whole numbers of any length, separated by dots, hyphens or _: 10, 2024.10.1, 20240131-1530. If one begins with the other, the longer is greater. Other tags are skipped; tagship-tags(1) names them."
        }
        Order::Alphabetical => "By bytes. Every tag can be compared.",
    }
}

const CLOUDS: &[&str] = &[
    "The registries of Amazon, Google and Azure have kind oci. Their tokens expire after hours or minutes, so a command provides them:",
];

const CLOUD_REGISTRIES: &str = r#"[registries.ecr]
kind = "oci"
url = "https://123456789012.dkr.ecr.eu-central-1.amazonaws.com"
username = "AWS"
token = { command = ["aws", "ecr", "get-login-password"] }

[registries.google]
kind = "oci"
url = "https://europe-west3-docker.pkg.dev"
username = "oauth2accesstoken"
token = { command = ["gcloud", "auth", "print-access-token"] }

[registries.azure]
kind = "oci"
url = "https://acme.azurecr.io"
username = "00000000-0000-0000-0000-000000000000"
token = { command = ["az", "acr", "login", "--name", "acme",
    "--expose-token", "--query", "accessToken", "--output", "tsv"] }"#;

const CLOUD_HELPERS: &[&str] = &[
    "If docker's own configuration names a credential helper for the registry (ecr-login, gcloud, acr-env and others), token = { docker_config = \"~/.docker/config.json\" } uses that helper, without username.",
    "Each run starts the command or the helper once. If its token expires during the run, tagship starts it once more and repeats the rejected request.",
];

const EXAMPLE: &str = r#"[registries.git]
kind = "gitea"
url = "https://git.example.com"
token = { file = "git-token" }

[secrets]
hook = { file = "hook-token" }

[projects.shop]
registry = "git"
image = "acme/shop"

[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
deploy = { command = ["./deploy.sh", "{stage}", "{tag}"] }

[projects.shop.stages.prod]
tags = "v*"
order = "semver"
after = { stage = "dev", for = "24h" }

[projects.shop.stages.prod.deploy]
url = "https://deploy.example.com/hooks/shop"
headers = { Authorization = "Bearer {secret.hook}" }"#;

const SEE_ALSO: &str = "tagship(1), tagship-check(1), tagship-generate(1), tagship-poll(1)";

/// `man/tagship.toml.5`
pub(crate) fn manual() -> String {
    let mut page = Roff::new();
    let source = concat!("tagship ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["TAGSHIP.TOML", "5", DATE, source, "tagship"]);
    page.control("SH", ["NAME"]);
    page.text([roman("tagship.toml - the configuration of tagship")]);
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(&mut page, DESCRIPTION);
    page.control("SH", ["FILES"]);
    page.text([roman("The first of these that is set or exists:")]);
    for (path, about) in FILES {
        entry(&mut page, [bold(*path)], about);
    }
    for section in Section::ALL {
        keys(&mut page, section);
    }
    placeholders(&mut page);
    page.control("SH", ["ENVIRONMENT OF COMMANDS"]);
    paragraphs(&mut page, ENVIRONMENT);
    for field in DeploymentField::ALL {
        let name = format!("TAGSHIP_{}", field.word().to_ascii_uppercase());
        entry(&mut page, [bold(name)], about(field));
    }
    page.control("SH", ["PROXIES AND CERTIFICATES"]);
    paragraphs(&mut page, PROXIES);
    for (variable, about) in PROXY_VARIABLES {
        entry(&mut page, [bold(*variable)], about);
    }
    page.control("SH", ["REGISTRIES OF CLOUDS"]);
    paragraphs(&mut page, CLOUDS);
    verbatim(&mut page, CLOUD_REGISTRIES);
    paragraphs(&mut page, CLOUD_HELPERS);
    page.control("SH", ["SORT KEY AND ORDERS"]);
    paragraphs(&mut page, SORT_KEY);
    for order in Order::VARIANTS {
        entry(&mut page, [bold(order.to_string())], about_order(*order));
    }
    page.control("SH", ["EXAMPLE"]);
    verbatim(&mut page, EXAMPLE);
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(SEE_ALSO)]);
    tidy(&page.render())
}

/// The keys of a section.
fn keys(page: &mut Roff, section: Section) {
    let head = section.head();
    let head = if head.starts_with('[') { head.to_owned() } else { head.to_uppercase() };
    page.control("SH", [head.as_str()]);
    page.text([roman(section.about())]);
    for key in section.keys() {
        let notes = format!(" ({})", notes(section, key));
        entry(page, [bold(key.name), roman(notes)], key.about);
        verbatim(page, key.example);
    }
}

/// `text, required`
fn notes(section: Section, key: &Key) -> String {
    let mut notes = words(key.kind);
    match (key.required, section) {
        (true, Section::Stage) => notes.push_str(", required here or in [settings.stage]"),
        (true, _) => notes.push_str(", required"),
        (false, _) => {}
    }
    if let Some(default) = key.default {
        notes.push_str(", default ");
        // `[any 2xx]` is not a value.
        notes.push_str(default.trim_start_matches('[').trim_end_matches(']'));
    }
    notes
}

/// The type of a value in words.
fn words(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Template => "text with placeholders".to_owned(),
        Kind::TemplateOr(_) => "text with placeholders, or a table of such text".to_owned(),
        Kind::Pointer => "JSON pointer".to_owned(),
        Kind::Clock => "time of day".to_owned(),
        Kind::TextOrList => "text or a list of text".to_owned(),
        Kind::TextList => "list of text".to_owned(),
        Kind::TemplateList => "list of text with placeholders".to_owned(),
        Kind::TemplateTable => "table of text with placeholders".to_owned(),
        Kind::VarTable => "table of text or secret sources".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer { least, most } => format!("whole number from {least} to {most}"),
        Kind::IntegerList { least, most } => format!("list of whole numbers from {least} to {most}"),
        Kind::Duration => "duration".to_owned(),
        Kind::Word(words) => quoted(words).join(" or "),
        Kind::WordList(words) => format!("list of {}", quoted(words).join(", ")),
        Kind::Secret => "secret source".to_owned(),
        Kind::SecretTable => "table of secret sources".to_owned(),
        Kind::Json => "any value".to_owned(),
        Kind::JsonList => "list of values".to_owned(),
        Kind::Table(_) => "table".to_owned(),
        Kind::Named(_) => "table of tables".to_owned(),
        Kind::List(_) => "list of tables".to_owned(),
        Kind::Steps => "a step or a list of steps".to_owned(),
    }
}

fn quoted(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| format!("{word:?}")).collect()
}

fn placeholders(page: &mut Roff) {
    page.control("SH", ["PLACEHOLDERS"]);
    paragraphs(page, PLACEHOLDERS);
    let of_batch = DeploymentField::OF_BATCH.into_iter().filter(|field| *field != DeploymentField::Time);
    for field in DeploymentField::ALL.into_iter().chain(DeploymentField::OF_NOTIFICATION).chain(of_batch) {
        entry(page, [bold(format!("{{{}}}", field.word()))], about(field));
    }
    let var = [bold("{var."), italic("NAME"), bold("}")];
    entry(page, var, "A variable of the stage, else of the project.");
    let secret = [bold("{secret."), italic("NAME"), bold("}")];
    entry(page, secret, "A secret from [secrets].");
    let label = [bold("{label."), italic("NAME"), bold("}")];
    entry(page, label, LABEL_ABOUT);
}

const LABEL_ABOUT: &str = "A label of the image's configuration, such as {label.org.opencontainers.image.revision}, in deploy, gate and [[notify]]. tagship reads labels only if a placeholder uses one, once for each digest; on Docker Hub this counts as a pull. If the image has several platforms, tagship reads the image for the first of platforms, or the first image if platforms is not given. A label that the image does not have is an error; in a notification it is empty. A label cannot be part of a script that a command passes to a shell: pass it as a separate argument, or in env.";

fn about(field: DeploymentField) -> &'static str {
    match field {
        DeploymentField::Project => "The name of the project.",
        DeploymentField::Stage => "The name of the stage.",
        DeploymentField::Target => "The target: project/stage.",
        DeploymentField::Registry => "The name of the registry in the configuration.",
        DeploymentField::Repository => "The repository, without host and tag.",
        DeploymentField::Image => "The image with its tag: host/repository:tag.",
        DeploymentField::Tag => "The tag to deploy.",
        DeploymentField::Digest => "The digest of the tag.",
        DeploymentField::ImageDigest => "The image with its digest: host/repository@digest.",
        DeploymentField::PreviousTag => "The tag that was deployed before.",
        DeploymentField::DeploymentId => "The ID of the deployment, the same in every attempt.",
        DeploymentField::Attempt => "The number of the attempt, from 1.",
        DeploymentField::Status => "In a notification: the event.",
        DeploymentField::Error => "In a notification: why it failed.",
        DeploymentField::Time => {
            "In a notification: when it happened (RFC 3339, UTC). In a batch: when the last event happened."
        }
        DeploymentField::Url => {
            "In a notification: the tag's web page on Gitea, Forgejo or Docker Hub, else the same as {image}."
        }
        DeploymentField::Count => "In a batch: the number of events.",
        DeploymentField::Lines => {
            "In a batch: a line for each event, such as shop/dev failed: dev-43 command: … At most 1,800 characters; the last line gives the number of omitted events."
        }
    }
}

fn paragraphs(page: &mut Roff, texts: &[&str]) {
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            page.control("PP", []);
        }
        page.text([roman(*text)]);
    }
}

/// A term and its description.
fn entry(page: &mut Roff, term: impl Into<Vec<Inline>>, about: &str) {
    page.control("TP", []).text(term).text([roman(about)]);
}

/// Literal lines of a file.
fn verbatim(page: &mut Roff, text: &str) {
    page.control("EX", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("EE", []);
}

/// Fixes what mandoc's lint reports: blanks at the end of lines, and lines of text over 80 bytes. Lines of examples are
/// wrapped with a backslash, so that roff joins them again.
pub(crate) fn tidy(page: &str) -> String {
    let mut tidied = String::with_capacity(page.len());
    let mut is_verbatim = false;
    let mut is_term = false;
    for line in page.lines() {
        is_verbatim = line == ".EX" || is_verbatim && line != ".EE";
        let is_text = !line.starts_with('.');
        let joint = if is_verbatim || is_term { " \\\n" } else { "\n" };
        let mut width = 0;
        for word in line.trim_end().split(' ') {
            let starts_macro = word.starts_with(['.', '\'']);
            if is_text && width > 0 && width + 1 + word.len() + 2 > 80 && !starts_macro {
                tidied.push_str(joint);
                width = 0;
            } else if width > 0 {
                tidied.push(' ');
                width += 1;
            }
            tidied.push_str(word);
            width += word.len();
        }
        tidied.push('\n');
        // A term is the one line after its macro.
        is_term = line == ".TP";
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_entry() {
        let page = manual();
        for section in Section::ALL {
            let head = section.head();
            let head = if head.starts_with('[') { head.to_owned() } else { head.to_uppercase() };
            let part = [format!(".SH {head}\n"), format!(".SH \"{head}\"\n")]
                .iter()
                .find_map(|heading| page.split_once(heading.as_str()))
                .map(|(_, rest)| rest.split_once("\n.SH ").map_or(rest, |(part, _)| part));
            assert!(part.is_some(), "{head}");
            for key in section.keys() {
                let term = format!(".TP\n\\fB{}\\fR (", key.name);
                assert!(part.is_some_and(|part| part.contains(&term)), "{head} {}", key.name);
            }
        }
    }

    #[test]
    fn every_placeholder_and_variable_has_its_entry() {
        let page = manual();
        for field in DeploymentField::ALL {
            assert!(page.contains(&format!("\\fB{{{}}}\\fR", field.word())));
            assert!(page.contains("\\fB{label.\\fR"));
            assert!(page.contains(&format!("\\fBTAGSHIP_{}\\fR", field.word().to_ascii_uppercase())));
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a configuration is read from a file")]
    fn the_registries_of_clouds_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tagship.toml");
        let stage = r#"{ tags = "v*", order = "semver", deploy = { command = ["./deploy.sh"] } }"#;
        let project = |name| {
            format!(
                "[projects.{name}]\nregistry = \"{name}\"\nimage = \"acme/shop\"\nstages.prod = {stage}\n"
            )
        };
        let projects = ["ecr", "google", "azure"].map(project).concat();
        std::fs::write(&path, format!("{CLOUD_REGISTRIES}\n{projects}")).unwrap();
        assert_eq!(crate::config::load(&path).map(|config| config.registries.len()).ok(), Some(3));
    }

    #[test]
    fn lines_are_short_and_end_without_blanks() {
        for line in manual().lines() {
            assert!(line.len() <= 80, "{line}");
            assert_eq!(line, line.trim_end());
        }
    }
}
