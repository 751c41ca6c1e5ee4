//! The manual page tagship.toml(5), from the table of keys.

use roff::{Inline, Roff, bold, italic, roman};

use super::key::{Key, Kind, Section};
use crate::target::template::Field;

/// The date of the page: of the release, so that it comes out the same every day.
const DATE: &str = "2026-11-23";

const DESCRIPTION: &[&str] = &[
    "The configuration of tagship(1) is TOML. A file whose name ends in .json holds the same model as JSON.",
    "Relative paths are relative to the file in which they stand. An unknown key is an error. Every fault is reported at once, each with its file and line and what to write instead; tagship-check(1) does nothing but this.",
    "A duration is text: numbers, each with its unit, such as 90s, 5m, 1h 30m or 7d. A name of yours begins with a letter, a digit or _, and goes on with these, dots and hyphens, up to 64 characters.",
];

const FILES: &[(&str, &str)] = &[
    (
        "--config FILE",
        "The option of every command. No other place is looked at, even if there is no such file.",
    ),
    ("$TAGSHIP_CONFIG", "The environment variable, if it is set; likewise."),
    ("$CONFIGURATION_DIRECTORY/config.toml", "The folder that systemd gives to a unit."),
    ("$XDG_CONFIG_HOME/tagship/config.toml", "The user's own, usually below ~/.config; not for root."),
    ("/etc/tagship/config.toml", "The machine's."),
];

const PLACEHOLDERS: &[&str] = &[
    "{step.1./deployment_uuid} is what the answer of the first step has at this JSON pointer (RFC 6901): text, a number, true or false. Steps count from 1; a later step may use it, and where the answer has nothing there the deployment has failed.",
    "Only words in lower case between braces are placeholders, and one that is not known is an error. Every other brace is literal, so that {{.Config.Image}} and JSON stay as they are. Where there is no value, the text is empty.",
    "In a URL values are percent-encoded and secrets stand verbatim; scheme and host have no placeholders, unless one secret is the whole URL. In json they are parts of string values and cannot change its structure. The value of a header may have no control characters. The arguments of a command take no secrets, which would show in ps: use env.",
];

const ENVIRONMENT: &[&str] = &[
    "A command inherits the environment of tagship without the variables that secrets come from. It also gets these, empty where there is no value, and then those of its env:",
];

const PROXIES: &[&str] = &[
    "Registries that name no proxy and deploy endpoints are reached as these variables say, which are read as curl(1) reads them. Loopback is never asked through a proxy. A proxy is asked by CONNECT for http, too; some allow that for port 443 only.",
];

const PROXY_VARIABLES: &[(&str, &str)] = &[
    ("http_proxy", "For http. In small letters only."),
    ("https_proxy, HTTPS_PROXY", "For https. What is in small letters comes first."),
    ("all_proxy, ALL_PROXY", "For both, where there is none of the others."),
    (
        "no_proxy, NO_PROXY",
        "What is reached without a proxy: words with commas or blanks between them. A name stands for itself and its subdomains, with or without a dot or *. before it; also addresses, networks such as 10.0.0.0/8 and fd00::/8, names and addresses with a port such as example.com:8443, and * for everything.",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Certificates of authorities in place of the system's. A registry's ca_file adds to them.",
    ),
];

const SORT_KEY: &[&str] = &[
    "What the orders semver, numeric and alphabetical compare is the sort key of a tag. If regex has a capture, it is the capture. Otherwise it is the tag without the literal text at the start and at the end of the glob that matched it. The text at the start is taken off up to its first digit: v1.* leaves 1.2.3 of v1.2.3, and release-* leaves 1.4.0 of release-1.4.0. The text at the end is taken off from its first letter, or from a - or _ before a letter: *-alpine leaves 1.4.0 of 1.4.0-alpine.",
    "An order does not depend on the order in which the registry lists the tags. Between tags with equal keys, such as 1.0.0 and v1.0.0, the choice goes by bytes; but a tag is newer than another only when its key is greater, so that a tie never deploys.",
];

const ORDERS: &[(&str, &str)] = &[
    (
        "newest",
        "By the time of the push, then by the registry's own sequence. Where a registry has no times, the first poll remembers what there is, and later tags count by when tagship first saw them.",
    ),
    (
        "semver",
        "By the precedence of Semantic Versioning: MAJOR.MINOR.PATCH with an optional prerelease and an optional v before it. Nothing is made to fit: 1.2, 2025.08.05 and 17-alpine are no versions, are not candidates, and are said to be none.",
    ),
    (
        "numeric",
        "By whole numbers of any length, separated by dots, hyphens or _: 10, 2024.10.1, 20240131-1530. Of two that begin alike the longer is greater. A tag that is not made so is not a candidate, and is said to be none.",
    ),
    ("alphabetical", "By bytes. Every tag has its place."),
];

const CLOUDS: &[&str] = &[
    "The registries of Amazon, Google and Azure are of kind oci. Their tokens expire after hours or minutes, so a command gives them:",
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
    "Where docker's own configuration names a credential helper for the registry (ecr-login, gcloud, acr-env and others), token = { docker_config = \"~/.docker/config.json\" } asks that helper; then there is no username.",
    "The command, or the helper, is run once a run. If its token expires in the middle of the run, it is run once more, and what was refused is asked again.",
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
    page.text([roman("The first of these that is given, or that is there, is read:")]);
    for (path, about) in FILES {
        entry(&mut page, [bold(*path)], about);
    }
    for section in Section::ALL {
        keys(&mut page, section);
    }
    placeholders(&mut page);
    page.control("SH", ["ENVIRONMENT OF COMMANDS"]);
    paragraphs(&mut page, ENVIRONMENT);
    for field in Field::ALL {
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
    for (order, about) in ORDERS {
        entry(&mut page, [bold(*order)], about);
    }
    page.control("SH", ["EXAMPLE"]);
    verbatim(&mut page, EXAMPLE);
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(SEE_ALSO)]);
    tidy(&page.render())
}

/// The keys of a section that work already, unless there are none.
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
        // `[any 2xx]` is no value.
        notes.push_str(default.trim_start_matches('[').trim_end_matches(']'));
    }
    notes
}

/// The kind of a value in words.
fn words(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Template => "text with placeholders".to_owned(),
        Kind::TemplateOr(_) => "text with placeholders, or a table of such".to_owned(),
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
    let of_batch = Field::OF_BATCH.into_iter().filter(|field| *field != Field::Time);
    for field in Field::ALL.into_iter().chain(Field::OF_NOTIFICATION).chain(of_batch) {
        entry(page, [bold(format!("{{{}}}", field.word()))], about(field));
    }
    let var = [bold("{var."), italic("NAME"), bold("}")];
    entry(page, var, "A variable from vars of the stage, else of the project.");
    let secret = [bold("{secret."), italic("NAME"), bold("}")];
    entry(page, secret, "A secret from [secrets].");
}

fn about(field: Field) -> &'static str {
    match field {
        Field::Project => "The project's name.",
        Field::Stage => "The stage's name.",
        Field::Target => "Both: project/stage.",
        Field::Registry => "The registry's name in the configuration.",
        Field::Repository => "The repository, without host and tag.",
        Field::Image => "The image by its tag: host/repository:tag.",
        Field::Tag => "The tag that is deployed.",
        Field::Digest => "The digest that the tag points at.",
        Field::ImageDigest => "The image by its digest: host/repository@digest.",
        Field::PreviousTag => "The tag that was deployed before.",
        Field::DeploymentId => "The deployment's id, the same through every attempt.",
        Field::Attempt => "Which attempt this is, from 1.",
        Field::Status => "In a notification: the event.",
        Field::Error => "In a notification: why it failed.",
        Field::Time => {
            "In a notification: when it happened (RFC 3339, UTC). In a batch: when the last event happened."
        }
        Field::Url => {
            "In a notification: the tag's web page on Gitea, Forgejo or Docker Hub, else the same as {image}."
        }
        Field::Count => "In a batch: the number of events.",
        Field::Lines => {
            "In a batch: a line for each event, such as shop/dev failed: dev-43 command: … At most 1,800 characters; the last line says how many more there are."
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

/// A term and what it is.
fn entry(page: &mut Roff, term: impl Into<Vec<Inline>>, about: &str) {
    page.control("TP", []).text(term).text([roman(about)]);
}

/// Lines of a file as they stand.
fn verbatim(page: &mut Roff, text: &str) {
    page.control("EX", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("EE", []);
}

/// What mandoc's lint would complain of in a page: blanks at the end of lines, and lines of text over
/// 80 bytes. Those of examples are wrapped with a backslash, which roff joins again.
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
        for field in Field::ALL {
            assert!(page.contains(&format!("\\fB{{{}}}\\fR", field.word())));
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
