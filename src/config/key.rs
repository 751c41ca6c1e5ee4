//! The single table of configuration keys, from which the reader, the manual page and the JSON Schema are made.

use strum::VariantNames as _;

use crate::policy::{Bump, Order};
use crate::target::notifier::NotifyEvent;
use crate::target::{FirstPoll, OnFailure};

/// A kind of table in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Top,
    Settings,
    Ping,
    Webhook,
    Registry,
    Project,
    Stage,
    After,
    Window,
    Retry,
    Running,
    /// A step that runs a program.
    CommandStep,
    /// A step that sends a request.
    HttpStep,
    Until,
    Success,
    Sign,
    Notify,
    /// The source of a secret.
    Secret,
}

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text that is not empty.
    Text,
    /// Text with placeholders.
    Template,
    /// A JSON pointer (RFC 6901).
    Pointer,
    /// `09:00`, up to `24:00`
    Clock,
    /// One text, or a list.
    TextOrList,
    TextList,
    /// A list of text with placeholders.
    TemplateList,
    /// Text with placeholders, or a table of such text.
    TemplateOr(Section),
    /// A table of text with placeholders.
    TemplateTable,
    /// A table of text or secret sources.
    VarTable,
    Bool,
    Integer {
        least: i64,
        most: i64,
    },
    IntegerList {
        least: i64,
        most: i64,
    },
    /// `90s`, `5m`, `1h 30m`, `7d`
    Duration,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of these words.
    WordList(&'static [&'static str]),
    /// A secret source.
    Secret,
    /// A table of named secret sources.
    SecretTable,
    /// Any value.
    Json,
    /// A list of any values.
    JsonList,
    /// A table of this kind.
    Table(Section),
    /// A table of named tables of this kind.
    Named(Section),
    /// A list of tables of this kind.
    List(Section),
    /// One step, or a list.
    Steps,
}

/// A key, as the reader, the manual page and the schema know it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// As written in a file.
    pub(crate) default: Option<&'static str>,
    pub(crate) required: bool,
    pub(crate) about: &'static str,
    /// A line of a file.
    pub(crate) example: &'static str,
}

const fn key(name: &'static str, kind: Kind, about: &'static str, example: &'static str) -> Key {
    Key { name, kind, default: None, required: false, about, example }
}

impl Key {
    const fn default(mut self, default: &'static str) -> Key {
        self.default = Some(default);
        self
    }

    const fn required(mut self) -> Key {
        self.required = true;
        self
    }
}

impl Section {
    /// In the order of the manual page.
    pub(crate) const ALL: [Section; 18] = [
        Section::Top,
        Section::Settings,
        Section::Ping,
        Section::Webhook,
        Section::Registry,
        Section::Secret,
        Section::Project,
        Section::Stage,
        Section::After,
        Section::Window,
        Section::Retry,
        Section::Running,
        Section::CommandStep,
        Section::HttpStep,
        Section::Until,
        Section::Success,
        Section::Sign,
        Section::Notify,
    ];

    /// The header of the table in a file.
    pub(crate) fn head(self) -> &'static str {
        match self {
            Section::Top => "the file",
            Section::Settings => "[settings]",
            Section::Ping => "ping_url",
            Section::Webhook => "[settings.webhook]",
            Section::Registry => "[registries.NAME]",
            Section::Project => "[projects.NAME]",
            Section::Stage => "[projects.NAME.stages.NAME]",
            Section::After => "after",
            Section::Window => "window",
            Section::Retry => "retry",
            Section::Running => "running",
            Section::CommandStep => "deploy, by a command",
            Section::HttpStep => "deploy, by a request",
            Section::Until => "until",
            Section::Success => "success",
            Section::Sign => "sign",
            Section::Notify => "[[notify]]",
            Section::Secret => "a secret source",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Section::Top => {
                "The top level of the file. An included file may have registries, secrets and projects only."
            }
            Section::Settings => "Settings for all of tagship.",
            Section::Ping => "URLs that a run requests as written, by GET.",
            Section::Webhook => {
                "The webhooks whose payloads tagship poll --from-webhook reads from standard input."
            }
            Section::Registry => "A server (or a folder) that holds images.",
            Section::Project => {
                "A repository, or every repository of an owner, and the stages it is deployed to."
            }
            Section::Stage => {
                "A stage of a project: which tags it deploys, and how. [settings.stage] has the same keys except vars and sets their defaults; a key of the stage replaces the whole default. min_age = \"0s\" and window = [] remove a default gate."
            }
            Section::After => "Another stage of the project that must run the same image first.",
            Section::Window => "Hours of the week in which deployments may start.",
            Section::Retry => "How a failed deployment is retried.",
            Section::Running => {
                "How to ask the stage what it runs: by a url or a command. The answer is a tag, an image with its tag or digest, or a digest."
            }
            Section::CommandStep => "A program, run without a shell. Exit status 0 is success.",
            Section::HttpStep => {
                "A request to a deploy endpoint. Redirects are never followed; Idempotency-Key is always sent."
            }
            Section::Until => {
                "When work that an endpoint queued has ended. A lost connection and the statuses 404, 408, 429 and 5xx mean \"not yet\"; any other status except 2xx is a failure."
            }
            Section::Success => "When an answer means success. All conditions must hold.",
            Section::Sign => "How a request is signed.",
            Section::Notify => {
                "Which events are sent where. A notification that fails is sent again by later runs, and never fails a run."
            }
            Section::Secret => {
                "The source of a secret: exactly one of these. A secret cannot be written in the file. White space around its value is trimmed."
            }
        }
    }

    /// Pairs of keys: the second requires the first.
    pub(crate) fn companions(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Section::Running => &[("url", &["headers"]), ("command", &["env", "dir"])],
            Section::Notify => &[
                ("url", &["method", "headers", "json", "form", "body", "success", "sign"]),
                ("command", &["env", "dir"]),
            ],
            Section::Success => &[("pointer", &["equals"])],
            Section::Registry => &[("client_cert", &["client_key"]), ("client_key", &["client_cert"])],
            Section::Project => &[("images", &["exclude_images"])],
            _ => &[],
        }
    }

    /// Keys that other tools use, each with the equivalent key of this table, if any, and the help.
    pub(crate) fn instead(self) -> &'static [(&'static str, Option<&'static str>, &'static str)] {
        const VERIFY: &str =
            "TLS is always verified; for a certificate authority of your own write ca_file = \"ca.pem\"";
        const TIMER: &str = "a timer starts tagship: tagship schedule systemd";
        const COMMAND: &str = "write deploy = { command = [\"./deploy.sh\", \"{tag}\"] }";
        const REQUEST: &str = "write deploy = { url = \"https://…\" }";
        const TAGS: &str = "write tags = \"v*\" (a glob), or regex = '…' beside tags = \"*\"";
        const ORDER: &str =
            "write order = \"newest\" (by push time), \"semver\", \"numeric\" or \"alphabetical\"";
        const TOKEN: &str = "write token = { file = \"path\" } or token = { env = \"NAME\" }";
        match self {
            Section::Settings => &[("cron", None, TIMER), ("schedule", None, TIMER)],
            Section::Registry => &[
                ("skip_tls_verify", None, VERIFY),
                ("tls_verify", None, VERIFY),
                ("insecure", None, VERIFY),
                ("insecure_skip_verify", None, VERIFY),
                ("verify", None, VERIFY),
                ("password", Some("token"), TOKEN),
                ("user", Some("username"), "write username = \"…\""),
                ("host", Some("url"), "write url = \"https://…\""),
                ("type", Some("kind"), "write kind = \"gitea\""),
            ],
            Section::Project => &[
                ("repository", Some("image"), "write image = \"owner/name\""),
                ("repo", Some("image"), "write image = \"owner/name\""),
            ],
            Section::Stage => &[
                ("command", Some("deploy"), COMMAND),
                ("script", Some("deploy"), COMMAND),
                ("url", Some("deploy"), REQUEST),
                ("webhook", Some("deploy"), REQUEST),
                ("pattern", Some("tags"), TAGS),
                ("filter", Some("tags"), TAGS),
                ("sort", Some("order"), ORDER),
                ("schedule", None, "write window = [{ from = \"09:00\", to = \"16:00\" }]"),
            ],
            _ => &[],
        }
    }

    /// The keys of the table.
    pub(crate) fn keys(self) -> &'static [Key] {
        match self {
            Section::Top => TOP,
            Section::Settings => SETTINGS,
            Section::Registry => REGISTRY,
            Section::Project => PROJECT,
            Section::Stage => STAGE,
            Section::After => AFTER,
            Section::Window => WINDOW,
            Section::Retry => RETRY,
            Section::Running => RUNNING,
            Section::CommandStep => COMMAND_STEP,
            Section::HttpStep => HTTP_STEP,
            Section::Until => UNTIL,
            Section::Ping => PING,
            Section::Webhook => WEBHOOK,
            Section::Success => SUCCESS,
            Section::Sign => SIGN,
            Section::Notify => NOTIFY,
            Section::Secret => SECRET,
        }
    }
}

/// The words of [`RegistryKind`](super::RegistryKind) and its alias; a test compares them.
pub(crate) const KINDS: &[&str] = &["gitea", "forgejo", "oci", "oci-layout", "github", "dockerhub", "gitlab"];

/// Words that other tools use, and the word to write instead.
pub(crate) const OTHER_KINDS: &[(&str, &str)] = &[
    ("docker", "\"oci\" (for docker.io: \"dockerhub\")"),
    ("harbor", "\"oci\""),
    ("quay", "\"oci\""),
    ("quay.io", "\"oci\""),
    ("zot", "\"oci\""),
    ("registry", "\"oci\""),
    ("distribution", "\"oci\""),
    ("docker-registry", "\"oci\""),
    ("nexus", "\"oci\""),
    ("artifactory", "\"oci\""),
    ("ecr", "\"oci\""),
    ("acr", "\"oci\""),
    ("gar", "\"oci\""),
    ("gcr", "\"oci\""),
    ("ghcr", "\"github\""),
    ("ghcr.io", "\"github\""),
    ("docker.io", "\"dockerhub\""),
    ("docker-hub", "\"dockerhub\""),
    ("hub", "\"dockerhub\""),
    ("codeberg", "\"forgejo\""),
    ("folder", "\"oci-layout\""),
    ("directory", "\"oci-layout\""),
];
/// Orders of other tools, and the order to write instead.
pub(crate) const OTHER_ORDERS: &[(&str, &str)] = &[
    ("latest", "\"newest\" (by push time)"),
    ("date", "\"newest\" (by push time)"),
    ("time", "\"newest\" (by push time)"),
    ("timestamp", "\"newest\" (by push time)"),
    ("created", "\"newest\" (by push time)"),
    ("pushed", "\"newest\" (by push time)"),
    ("recent", "\"newest\" (by push time)"),
    ("version", "\"semver\""),
    ("versions", "\"semver\""),
    ("semantic", "\"semver\""),
    ("number", "\"numeric\""),
    ("numerical", "\"numeric\""),
    ("natural", "\"numeric\""),
    ("name", "\"alphabetical\""),
    ("lexical", "\"alphabetical\""),
    ("lexicographic", "\"alphabetical\""),
];

/// Events of other tools, and the event to write instead.
pub(crate) const OTHER_EVENTS: &[(&str, &str)] = &[
    ("success", "\"deployed\""),
    ("succeeded", "\"deployed\""),
    ("deploy", "\"deployed\""),
    ("error", "\"failed\""),
    ("failure", "\"failed\""),
    ("gave_up", "\"dead\""),
    ("rollback", "\"rolled_back\""),
    ("new", "\"available\""),
];

pub(crate) const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const TOP: &[Key] = &[
    key(
        "include",
        Kind::TextList,
        "More files, by path or glob, relative to the folder of this file.",
        r#"include = ["projects.d/*.toml"]"#,
    ),
    key("settings", Kind::Table(Section::Settings), "Settings for all of tagship.", "[settings]"),
    key(
        "registries",
        Kind::Named(Section::Registry),
        "The registries, each with a name of your choice.",
        "[registries.git]",
    )
    .required(),
    key(
        "secrets",
        Kind::SecretTable,
        "Secrets for {secret.NAME} in url, headers, json, body and env, each with a name of your choice.",
        r#"hook = { file = "hook-token" }"#,
    ),
    key(
        "projects",
        Kind::Named(Section::Project),
        "The projects, each with a name of your choice.",
        "[projects.shop]",
    )
    .required(),
    key("notify", Kind::List(Section::Notify), "Which events are sent where.", "[[notify]]"),
];

const SETTINGS: &[Key] = &[
    key(
        "interval",
        Kind::Duration,
        "How often a target is polled, for poll --due and schedule.",
        r#"interval = "5m""#,
    )
    .default(r#""5m""#),
    key(
        "state",
        Kind::Text,
        "The state file, or \"none\" to keep nothing between runs, which requires running or first_poll = \"deploy\" on every stage. Default: $TAGSHIP_STATE, then state.db in $STATE_DIRECTORY, then by the place of this file: /var/lib/tagship/state.db for /etc/tagship, $XDG_STATE_HOME/tagship/state.db for the user's configuration folder, else state.db beside the file.",
        r#"state = "state.db""#,
    ),
    key("timeout", Kind::Duration, "Timeout of one request to a registry.", r#"timeout = "10s""#)
        .default(r#""10s""#),
    key("max_runtime", Kind::Duration, "A run starts nothing new after this time.", r#"max_runtime = "10m""#)
        .default(r#""10m""#),
    key(
        "parallel_deploys",
        Kind::Integer { least: 1, most: 64 },
        "Deployments at the same time. Stages of one project are deployed one after another, in the order written.",
        "parallel_deploys = 4",
    )
    .default("4"),
    key(
        "resync",
        Kind::Duration,
        "List every repository in full at least this often, even if the registry reports no pushes.",
        r#"resync = "12h""#,
    )
    .default(r#""12h""#),
    key("history", Kind::Duration, "How long finished deployments are kept.", r#"history = "180d""#)
        .default(r#""180d""#),
    key(
        "metrics_file",
        Kind::Text,
        "A file with metrics for node_exporter's textfile collector, written after each run.",
        r#"metrics_file = "/var/lib/node_exporter/tagship.prom""#,
    ),
    key(
        "ping_url",
        Kind::TemplateOr(Section::Ping),
        "A URL in the style of healthchecks.io: each run requests it with /start, and at its end with its exit status (0 if nothing failed). Or a table of URLs for the start and either end, requested as written (Uptime Kuma). {secret.NAME} is the only placeholder.",
        r#"ping_url = "https://hc.example.com/{secret.hc}""#,
    ),
    key(
        "webhook",
        Kind::Table(Section::Webhook),
        "The webhooks that start tagship poll --from-webhook.",
        "[settings.webhook]",
    ),
    key("stage", Kind::Table(Section::Stage), "Defaults for every stage.", "[settings.stage]"),
];

const REGISTRY: &[Key] = &[
    key("kind", Kind::Word(KINDS), "The kind of registry: gitea (forgejo is the same), github (ghcr.io), dockerhub, gitlab, oci for any other server of the OCI distribution specification (Harbor, Quay, Zot, docker registry), oci-layout for an image layout on disk.", r#"kind = "gitea""#).required(),
    key("url", Kind::Text, "The address of the server. Required for gitea and oci; github, dockerhub and gitlab have their public address as default.", r#"url = "https://git.example.com""#),
    key("path", Kind::Text, "The folder of an oci-layout.", r#"path = "./images""#),
    key("token", Kind::Secret, "The token or password. Default: $TAGSHIP_TOKEN_<NAME>, else the entry in the keyring, else anonymous access.", r#"token = { env = "GITEA_TOKEN" }"#),
    key("username", Kind::Text, "The user name beside the token, if the registry requires one.", r#"username = "ci""#),
    key("anonymous", Kind::Bool, "Anonymous access: no token is looked for.", "anonymous = true").default("false"),
    key("connections", Kind::Integer { least: 1, most: 256 }, "Concurrent requests to this registry.", "connections = 16").default("16"),
    key("ca_file", Kind::Text, "Certificate authorities in PEM format, in addition to the system's.", r#"ca_file = "ca.pem""#),
    key("client_cert", Kind::Text, "The client certificate in PEM format with its intermediate certificates, if the server requires one. Sent to the registry's own hosts only.", r#"client_cert = "client.pem""#),
    key("client_key", Kind::Text, "The private key of client_cert in PEM format, without a passphrase. Read at each run.", r#"client_key = "client.key""#),
    key("proxy", Kind::Text, "The proxy for this registry, instead of http_proxy, https_proxy, all_proxy and no_proxy from the environment: http, https, socks4, socks4a, socks5 or socks5h. It must allow CONNECT. Loopback never uses a proxy.", r#"proxy = "http://proxy.example.com:3128""#),
    key("trusted_realms", Kind::TextList, "Other hosts that may issue tokens for this registry and so receive its credentials; with a port, that port only. Over https, unless url is http.", r#"trusted_realms = ["auth.example.com"]"#),
    key("api_url", Kind::Text, "The address of the API, if it is not the usual one, for gitea (https://git.example.com/api/v1), github (https://github.example.com/api/v3) and dockerhub; for gitlab the address of GitLab itself, which issues tokens for its registry. It receives the token.", r#"api_url = "https://git.example.com/api/v1""#),
    key("insecure_http", Kind::Bool, "Allow an http url to a host other than loopback: tokens are then sent unencrypted.", "insecure_http = true").default("false"),
];

const PROJECT: &[Key] = &[
    key("registry", Kind::Text, "The name of the registry.", r#"registry = "git""#).required(),
    key(
        "image",
        Kind::Text,
        "The repository, without host and tag. Required, unless images is given.",
        r#"image = "acme/shop""#,
    ),
    key(
        "images",
        Kind::TextOrList,
        "In place of image: a glob or a list of globs of an owner's images, such as \"acme/*\"; * also matches a slash, and the owner must be literal. Every matching image becomes a project with the stages of this table. The project's name is the path after the owner, with - for each slash: acme/team/api is the project team-api. No project may have the name of the table. A project with the same image in the file takes precedence. The first poll, and every resync, asks the registry for its images; on Gitea and Forgejo every poll finds new images. A new image is reported once and begins with first_poll. If an image is missing from the registry's list for a day, and its tags list is gone too, it is reported once and no longer polled; its history and its hold are kept.",
        r#"images = "acme/*""#,
    ),
    key(
        "exclude_images",
        Kind::TextOrList,
        "Images that match one of these globs are skipped, even if images matches them.",
        r#"exclude_images = ["acme/*-test"]"#,
    ),
    key(
        "vars",
        Kind::VarTable,
        "For {var.NAME} in the steps. A value may be a secret source.",
        r#"vars = { app = "abc" }"#,
    ),
    key(
        "stages",
        Kind::Named(Section::Stage),
        "The stages, each with a name of your choice.",
        "[projects.shop.stages.dev]",
    )
    .required(),
];

const STAGE: &[Key] = &[
    key("tags", Kind::TextOrList, "The tags to deploy: a glob, or several. * matches any characters and ? matches one; the whole tag must match. \"*\" matches every tag.", r#"tags = "dev-*""#).required(),
    key("exclude", Kind::TextOrList, "Tags matching these globs are skipped, even if tags matches them.", r#"exclude = ["*-debug"]"#),
    key("regex", Kind::Text, "A regular expression that the whole tag must match as well. Its captures, if any, are the sort key: the first is compared by order, each further one as a number, or by bytes if it is not a number.", r"regex = '^dev-(\d+)$'"),
    key("order", Kind::Word(Order::VARIANTS), "How to find the newer of two tags; see ORDERS.", r#"order = "newest""#).required(),
    key("range", Kind::Text, "With semver: the versions to deploy. Commas separate comparators; 1.2 alone means ^1.2.", r#"range = ">=1.2, <3""#),
    key("prerelease", Kind::Bool, "With semver: whether prereleases are deployed. A range then includes a prerelease by its precedence.", "prerelease = true").default("false"),
    key("poll", Kind::Bool, "False: poll skips this stage.", "poll = false").default("true"),
    key("auto_deploy", Kind::Bool, "False: a new tag is reported as available and not deployed.", "auto_deploy = false").default("true"),
    key("first_poll", Kind::Word(FirstPoll::VARIANTS), "What the first poll does with the newest tag: baseline remembers it, deploy deploys it.", r#"first_poll = "deploy""#).default(r#""baseline""#),
    key("allow_downgrade", Kind::Bool, "Whether to deploy an older tag if the stage's tag was deleted from the registry.", "allow_downgrade = true").default("false"),
    key("digest", Kind::Bool, "True: the tag is mutable, and is deployed again when its digest changes. With platforms, only the digests of these count.", "digest = true").default("false"),
    key("interval", Kind::Duration, "How often this stage is polled. Default: interval of [settings].", r#"interval = "15m""#),
    key("max_bump", Kind::Word(Bump::VARIANTS), "With semver: the largest step from the stage's newest tag that poll deploys. Larger ones wait for a manual deployment.", r#"max_bump = "minor""#).default(r#""major""#),
    key("min_age", Kind::Duration, "Minimum time since the push, or since tagship first saw the tag if the registry has no push times. \"0s\": none.", r#"min_age = "30m""#),
    key("after", Kind::Table(Section::After), "Another stage must run the same image first.", r#"after = { stage = "dev", for = "24h" }"#),
    key("with", Kind::TextList, "Repositories of the same registry that must have the same tag.", r#"with = ["acme/shop-worker"]"#),
    key("platforms", Kind::TextList, "Wait until the image has these platforms.", r#"platforms = ["linux/amd64"]"#),
    key("gate", Kind::Steps, "Commands or requests that must all succeed for this tag and digest before it is deployed. They run at every poll and every dry run, so they must not change anything. They run after all other gates, for the newest tag first. If a command exits with a status other than 0, or an answer is not success, the tag waits, with the last line of output as the reason, and the next older tag is tried. {label.NAME} is a label of the image. The keys are those of deploy, except until. {deployment_id}, {attempt} and {step.…} are not available.", r#"gate = { command = ["cosign", "verify", "--key", "cosign.pub", "{image_digest}"], timeout = "2m" }"#),
    key("window", Kind::List(Section::Window), "When deployments may start. [] means at any time.", r#"window = [{ days = ["Mon", "Tue"], from = "09:00", to = "16:00", timezone = "Europe/Berlin" }]"#),
    key("running", Kind::Table(Section::Running), "How to ask the stage what it runs: before a deployment (to skip one that is already there), after it (until the stage runs the new tag), after an interruption, and at the first poll.", r#"running = { url = "https://shop.example.com/version", pointer = "/image/tag" }"#),
    key("verify_timeout", Kind::Duration, "How long to wait for running to report the new tag.", r#"verify_timeout = "5m""#).default(r#""5m""#),
    key("on_failure", Kind::Word(OnFailure::VARIANTS), "After tagship gave up a deployment: keep the stage as it is, or deploy the last tag and digest that succeeded.", r#"on_failure = "previous""#).default(r#""keep""#),
    key("retry", Kind::Table(Section::Retry), "How a failed deployment is retried.", r#"retry = { attempts = 12, backoff = "1m", max_backoff = "2h" }"#),
    key("vars", Kind::VarTable, "Variables of this stage; they extend and override those of the project.", r#"vars = { app = "def" }"#),
    key("deploy", Kind::Steps, "How to deploy a tag: one step, or several in order.", r#"deploy = { command = ["./deploy.sh", "{tag}"] }"#).required(),
];

const AFTER: &[Key] = &[
    key("stage", Kind::Text, "The other stage of the project.", r#"stage = "dev""#).required(),
    key("for", Kind::Duration, "How long it must have run the image. \"0s\": any time.", r#"for = "24h""#)
        .required(),
];

const WINDOW: &[Key] = &[
    key(
        "days",
        Kind::WordList(&DAYS),
        "The days on which it opens. Default: every day.",
        r#"days = ["Mon", "Tue"]"#,
    ),
    key("from", Kind::Clock, "When it opens.", r#"from = "09:00""#).required(),
    key(
        "to",
        Kind::Clock,
        "When it closes, up to 24:00. If it is not later than from, the window closes on the next day.",
        r#"to = "16:00""#,
    )
    .required(),
    key("timezone", Kind::Text, "The time zone, by its IANA name.", r#"timezone = "Europe/Berlin""#)
        .default(r#""UTC""#),
];

const RETRY: &[Key] = &[
    key("attempts", Kind::Integer { least: 1, most: 1000 }, "The number of attempts.", "attempts = 12")
        .default("12"),
    key(
        "backoff",
        Kind::Duration,
        "The delay after the first attempt; doubled after each one.",
        r#"backoff = "1m""#,
    )
    .default(r#""1m""#),
    key("max_backoff", Kind::Duration, "The longest delay between two attempts.", r#"max_backoff = "2h""#)
        .default(r#""2h""#),
];

const RUNNING: &[Key] = &[
    key("url", Kind::Template, "The URL to request with GET.", r#"url = "https://shop.example.com/version""#),
    key(
        "command",
        Kind::TemplateList,
        "A program to run without a shell; its output is the answer.",
        r#"command = ["./running.sh"]"#,
    ),
    key(
        "pointer",
        Kind::Pointer,
        "Where the tag is in a JSON answer (RFC 6901). Default: the whole answer.",
        r#"pointer = "/image/tag""#,
    ),
    key("headers", Kind::TemplateTable, "Headers of the request.", "headers = {}"),
    key(
        "env",
        Kind::TemplateTable,
        "Variables of the command, as in a step.",
        r#"env = { TOKEN = "{secret.hook}" }"#,
    ),
    key("dir", Kind::Text, "The folder to run in, as in a step.", r#"dir = "/srv/shop""#),
    key("timeout", Kind::Duration, "Timeout for the whole answer.", r#"timeout = "10s""#).default(r#""10s""#),
];

const COMMAND_STEP: &[Key] = &[
    key(
        "command",
        Kind::TemplateList,
        "The program and its arguments, run without a shell. No secrets, which would be visible in ps: use env.",
        r#"command = ["./deploy.sh", "{tag}"]"#,
    )
    .required(),
    key(
        "env",
        Kind::TemplateTable,
        "Variables in addition to the inherited environment and TAGSHIP_*.",
        r#"env = { TOKEN = "{secret.hook}" }"#,
    ),
    key(
        "dir",
        Kind::Text,
        "The folder to run in, also for a program written as ./x. Default: the folder of the file.",
        r#"dir = "/srv/shop""#,
    ),
    key("timeout", Kind::Duration, "Time until SIGTERM; SIGKILL follows 10 s later.", r#"timeout = "5m""#)
        .default(r#""5m""#),
];

const HTTP_STEP: &[Key] = &[
    key("method", Kind::Text, "The method of the request.", r#"method = "PATCH""#).default(r#""POST""#),
    key(
        "url",
        Kind::Template,
        "The endpoint. Scheme and host have no placeholders, unless one secret is the whole url.",
        r#"url = "https://deploy.example.com/hooks/{project}""#,
    )
    .required(),
    key(
        "headers",
        Kind::TemplateTable,
        "Headers of the request.",
        r#"headers = { Authorization = "Bearer {secret.hook}" }"#,
    ),
    key(
        "json",
        Kind::Json,
        "A JSON body, written as a table; its strings may have placeholders. Without json, form and body, the body is a JSON object with every placeholder except secrets.",
        r#"json = { docker_registry_image_tag = "{tag}" }"#,
    ),
    key(
        "form",
        Kind::TemplateTable,
        "A form as the body.",
        r#"form = { token = "{secret.hook}", ref = "main" }"#,
    ),
    key("body", Kind::Template, "Text as the body.", r#"body = "{target}: {tag}""#),
    key("timeout", Kind::Duration, "Timeout for request and answer.", r#"timeout = "30s""#)
        .default(r#""30s""#),
    key(
        "success",
        Kind::Table(Section::Success),
        "When the answer means success. Default: any status 2xx.",
        "success = { status = [200] }",
    ),
    key("sign", Kind::Table(Section::Sign), "How the request is signed.", r#"sign = { github = "hook" }"#),
    key(
        "until",
        Kind::Table(Section::Until),
        "Repeat the request until its answer says that the queued work has ended; success then applies to that answer.",
        r#"until = { pointer = "/status", values = ["finished", "failed"] }"#,
    ),
];

const PING: &[Key] = &[
    key(
        "start",
        Kind::Template,
        "When a run begins.",
        r#"start = "https://hc.example.com/{secret.hc}/start""#,
    ),
    key(
        "success",
        Kind::Template,
        "When a run ends without a failure.",
        r#"success = "https://kuma.example.com/api/push/{secret.hc}?status=up""#,
    ),
    key(
        "failure",
        Kind::Template,
        "When a run ends after a failure or a signal.",
        r#"failure = "https://kuma.example.com/api/push/{secret.hc}?status=down""#,
    ),
];

const WEBHOOK: &[Key] = &[key(
    "secret",
    Kind::Secret,
    "The secret that the sender shares. The sender signs the payload with it (HMAC-SHA256), or sends it as a plain token.",
    r#"secret = { file = "webhook-secret" }"#,
)
.required()];

const UNTIL: &[Key] = &[
    key(
        "pointer",
        Kind::Pointer,
        "Where the state is in the JSON answer (RFC 6901).",
        r#"pointer = "/status""#,
    )
    .required(),
    key(
        "values",
        Kind::JsonList,
        "The values that mean the end, successful or not.",
        r#"values = ["finished", "failed"]"#,
    )
    .required(),
    key("every", Kind::Duration, "Delay between an answer and the next request.", r#"every = "2s""#)
        .default(r#""2s""#),
    key("within", Kind::Duration, "The step fails if it has not ended by then.", r#"within = "5m""#)
        .default(r#""5m""#),
];

const SUCCESS: &[Key] = &[
    key(
        "status",
        Kind::IntegerList { least: 100, most: 599 },
        "Statuses that mean success.",
        "status = [200, 204]",
    )
    .default("[any 2xx]"),
    key(
        "pointer",
        Kind::Pointer,
        "A value that the JSON answer must have (RFC 6901).",
        r#"pointer = "/deployments/0/deployment_uuid""#,
    ),
    key("equals", Kind::Json, "The value at pointer.", "equals = 100"),
    key(
        "matches",
        Kind::Text,
        "A regular expression that the answer must contain.",
        r#"matches = "triggered""#,
    ),
];

const SIGN: &[Key] = &[
    key(
        "github",
        Kind::TextOrList,
        "X-Hub-Signature-256 with this secret of [secrets]; commas separate the signatures of several.",
        r#"github = "hook""#,
    ),
    key(
        "standard_webhooks",
        Kind::TextOrList,
        "The headers of Standard Webhooks with this secret of [secrets] (whsec_ and base64), or with several during a rotation. webhook-id is the ID of the deployment.",
        r#"standard_webhooks = "hook""#,
    ),
];

const NOTIFY: &[Key] = &[
    key(
        "on",
        Kind::WordList(NotifyEvent::VARIANTS),
        "Events to send: failed (for the first time; it will be retried), dead (gave up), rolled_back, recovered, deployed, available (waits for a manual deployment), unknown (polls have failed for as long as after says), discovered (a new image of images).",
        r#"on = ["failed", "dead", "recovered"]"#,
    )
    .required(),
    key("targets", Kind::TextList, "Targets to report. Default: all.", r#"targets = ["*/prod"]"#),
    key("after", Kind::Duration, "How long polls must have failed before unknown is sent.", r#"after = "1h""#).default(r#""1h""#),
    key("batch", Kind::Bool, "Send one message a run, with {count} and {lines}, instead of one an event.", "batch = true").default("false"),
    key("url", Kind::Template, "This key and the following ones work as in a step. The placeholders {status}, {error}, {time} and {url} are available too.", r#"url = "https://ntfy.example.com/deploys""#),
    key("method", Kind::Text, "The method of the request.", r#"method = "PUT""#).default(r#""POST""#),
    key("headers", Kind::TemplateTable, "Headers of the request.", r#"headers = { Authorization = "Bearer {secret.ntfy}" }"#),
    key("json", Kind::Json, "A JSON body.", r#"json = { text = "{target} {status}: {tag} {error}" }"#),
    key("form", Kind::TemplateTable, "A form as the body.", r#"form = { message = "{target} {status}" }"#),
    key("body", Kind::Template, "Text as the body.", r#"body = "{target} {status}: {tag} {error}""#),
    key("success", Kind::Table(Section::Success), "When the answer means that the receiver accepted it.", "success = { status = [200] }"),
    key("sign", Kind::Table(Section::Sign), "How the request is signed.", r#"sign = { github = "hook" }"#),
    key("command", Kind::TemplateList, "A program to run instead of a request.", r#"command = ["./notify.sh", "{target}", "{status}", "{tag}"]"#),
    key("env", Kind::TemplateTable, "Variables of the command.", r#"env = { ERROR = "{error}" }"#),
    key("dir", Kind::Text, "The folder to run in.", r#"dir = "/srv/shop""#),
    key("timeout", Kind::Duration, "Timeout of the request or the command.", r#"timeout = "10s""#).default(r#""10s""#),
];

const SECRET: &[Key] = &[
    key(
        "env",
        Kind::Text,
        "An environment variable. Deploy commands do not inherit it.",
        r#"{ env = "GITEA_TOKEN" }"#,
    ),
    key("file", Kind::Text, "A file.", r#"{ file = "git-token" }"#),
    key("command", Kind::TextList, "The output of a program.", r#"{ command = ["pass", "show", "git"] }"#),
    key(
        "credential",
        Kind::Text,
        "A systemd credential (LoadCredential=).",
        r#"{ credential = "git-token" }"#,
    ),
    key(
        "keyring",
        Kind::Text,
        "An entry of the Secret Service; not available under cron, which has no session bus.",
        r#"{ keyring = "git" }"#,
    ),
    key(
        "docker_config",
        Kind::Text,
        "The entry of the registry in a docker or podman configuration, or in its credential helper. Only for the token of a registry.",
        r#"{ docker_config = "~/.docker/config.json" }"#,
    ),
];
