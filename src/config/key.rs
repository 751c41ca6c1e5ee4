//! Every key of the configuration, once: the reader knows keys from here, and the manual page and the
//! JSON Schema are made from it.

use strum::VariantNames as _;

use crate::target::notifier::Event;

/// A kind of table in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Top,
    Settings,
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
    /// Where a secret comes from.
    Secret,
}

/// What may stand behind a key.
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
    /// One text, or a list of them.
    TextOrList,
    TextList,
    /// A list of text with placeholders.
    TemplateList,
    /// A table of text with placeholders.
    TemplateTable,
    /// A table of text, or of secret sources.
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
    /// Where a secret comes from.
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
    /// One step, or a list of them.
    Steps,
}

/// A key, as the reader, the manual page and the schema know it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// As written in a file; None: there is none.
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
    pub(crate) const ALL: [Section; 16] = [
        Section::Top,
        Section::Settings,
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

    /// The head of such a table in a file.
    pub(crate) fn head(self) -> &'static str {
        match self {
            Section::Top => "the file",
            Section::Settings => "[settings]",
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
                "What stands at the top of the file. An included file may have registries, secrets and projects only."
            }
            Section::Settings => "How tagship works as a whole.",
            Section::Registry => "A server (or a folder) that holds images.",
            Section::Project => "A repository, and the stages that it is deployed to.",
            Section::Stage => {
                "A stage of a project: which tags it takes, and how they get there. [settings.stage] has the same keys but vars, and gives their defaults; a key of the stage replaces its default whole."
            }
            Section::After => "Another stage of the project that must have run the same image first.",
            Section::Window => "Hours of the week in which deployments may begin.",
            Section::Retry => "How a deployment that failed is tried again.",
            Section::Running => {
                "How to ask the stage itself what it runs: by a url or a command. A tag, an image with its tag or digest, or a digest alone is understood."
            }
            Section::CommandStep => "A program, run without a shell. Exit status 0 is success.",
            Section::HttpStep => {
                "A request to a deploy endpoint. Redirects are never followed; Idempotency-Key is always sent."
            }
            Section::Until => {
                "When work that an endpoint queued is over. A lost connection and the statuses 404, 408, 429 and 5xx mean \"not yet\"; another status but 2xx ends it."
            }
            Section::Success => "When an answer means that the step succeeded. All that is given must hold.",
            Section::Sign => "How a request is signed.",
            Section::Notify => {
                "Who is told of what. What could not be told is told by later runs, and never fails one."
            }
            Section::Secret => {
                "Where a secret comes from: exactly one of these. There is no way to write a secret into the file. White space around it is trimmed."
            }
        }
    }

    /// Keys that mean something beside another one only: that one first.
    pub(crate) fn companions(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Section::Running => &[("url", &["headers"]), ("command", &["env", "dir"])],
            Section::Notify => &[
                ("url", &["method", "headers", "json", "form", "body", "success", "sign"]),
                ("command", &["env", "dir"]),
            ],
            Section::Success => &[("pointer", &["equals"])],
            Section::Registry => &[("client_cert", &["client_key"]), ("client_key", &["client_cert"])],
            _ => &[],
        }
    }

    /// Keys of other tools: each with the key of this table that does the same, if there is one, and the help.
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

    /// The keys of such a table.
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
            Section::Success => SUCCESS,
            Section::Sign => SIGN,
            Section::Notify => NOTIFY,
            Section::Secret => SECRET,
        }
    }
}

pub(crate) const KINDS: &[&str] = &["gitea", "forgejo", "oci", "oci-layout", "github", "dockerhub", "gitlab"];
pub(crate) const ORDERS: &[&str] = &["newest", "semver", "numeric", "alphabetical"];

/// Words of other tools, and what to write instead.
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
/// The same for orders.
pub(crate) const OTHER_ORDERS: &[(&str, &str)] = &[
    ("latest", "\"newest\" (by push time)"),
    ("date", "\"newest\" (by push time)"),
    ("time", "\"newest\" (by push time)"),
    ("created", "\"newest\" (by push time)"),
    ("pushed", "\"newest\" (by push time)"),
    ("recent", "\"newest\" (by push time)"),
    ("version", "\"semver\""),
    ("versions", "\"semver\""),
    ("semantic", "\"semver\""),
    ("number", "\"numeric\""),
    ("numerical", "\"numeric\""),
    ("name", "\"alphabetical\""),
    ("lexical", "\"alphabetical\""),
    ("lexicographic", "\"alphabetical\""),
];

pub(crate) const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const TOP: &[Key] = &[
    key(
        "include",
        Kind::TextList,
        "More files, each by its path or by a glob, from this file's folder.",
        r#"include = ["projects.d/*.toml"]"#,
    ),
    key("settings", Kind::Table(Section::Settings), "How tagship works as a whole.", "[settings]"),
    key(
        "registries",
        Kind::Named(Section::Registry),
        "The registries, by a name of yours.",
        "[registries.git]",
    )
    .required(),
    key(
        "secrets",
        Kind::SecretTable,
        "Secrets for {secret.NAME} in url, headers, json, body and env, by a name of yours.",
        r#"hook = { file = "hook-token" }"#,
    ),
    key("projects", Kind::Named(Section::Project), "The projects, by a name of yours.", "[projects.shop]")
        .required(),
    key("notify", Kind::List(Section::Notify), "Who is told of what.", "[[notify]]"),
];

const SETTINGS: &[Key] = &[
    key(
        "interval",
        Kind::Duration,
        "How often a target is due, for poll --due and schedule.",
        r#"interval = "5m""#,
    )
    .default(r#""5m""#),
    key(
        "state",
        Kind::Text,
        "The state file, or \"none\", which keeps nothing between runs and wants running or first_poll = \"deploy\" on every stage. Default: $TAGSHIP_STATE, state.db in $STATE_DIRECTORY, else by where this file is: /var/lib/tagship/state.db for /etc/tagship, $XDG_STATE_HOME/tagship/state.db for the configuration folder of the user, and state.db beside the file anywhere else.",
        r#"state = "state.db""#,
    ),
    key("timeout", Kind::Duration, "For one request to a registry.", r#"timeout = "10s""#)
        .default(r#""10s""#),
    key("max_runtime", Kind::Duration, "A run starts nothing more after this.", r#"max_runtime = "10m""#)
        .default(r#""10m""#),
    key(
        "parallel_deploys",
        Kind::Integer { least: 1, most: 64 },
        "Deployments at the same time. Stages of one project go one after another, in the order written.",
        "parallel_deploys = 4",
    )
    .default("4"),
    key(
        "resync",
        Kind::Duration,
        "List every image in full at least this often, whatever the change feed says.",
        r#"resync = "12h""#,
    )
    .default(r#""12h""#),
    key("history", Kind::Duration, "Finished deployments are kept this long.", r#"history = "180d""#)
        .default(r#""180d""#),
    key(
        "metrics_file",
        Kind::Text,
        "Where metrics are written for node_exporter's textfile collector, after each run.",
        r#"metrics_file = "/var/lib/node_exporter/tagship.prom""#,
    ),
    key(
        "ping_url",
        Kind::Template,
        "A healthchecks.io style URL that is told of each run: /start, and at its end its exit status (0 where nothing failed). Only {secret.NAME} can stand in it.",
        r#"ping_url = "https://hc.example.com/{secret.hc}""#,
    ),
    key("stage", Kind::Table(Section::Stage), "Defaults for every stage.", "[settings.stage]"),
];

const REGISTRY: &[Key] = &[
    key("kind", Kind::Word(KINDS), "What kind of registry it is: gitea (forgejo is the same), github (ghcr.io), dockerhub, gitlab, oci for any other server of the OCI distribution specification, oci-layout for an image layout on disk.", r#"kind = "gitea""#).required(),
    key("url", Kind::Text, "Where the server is. Required for gitea and oci; github, dockerhub and gitlab are at their usual places without it.", r#"url = "https://git.example.com""#),
    key("path", Kind::Text, "The folder of an oci-layout.", r#"path = "./images""#),
    key("token", Kind::Secret, "The token or password. Not given: $TAGSHIP_TOKEN_<NAME>, else the keyring's entry, else nobody's rights.", r#"token = { env = "GITEA_TOKEN" }"#),
    key("username", Kind::Text, "The user name beside the token, where the registry wants one.", r#"username = "ci""#),
    key("anonymous", Kind::Bool, "Ask with nobody's rights, and look for no token.", "anonymous = true").default("false"),
    key("connections", Kind::Integer { least: 1, most: 256 }, "Requests in flight to this registry.", "connections = 16").default("16"),
    key("ca_file", Kind::Text, "Certificates of authorities in PEM form, added to the system's roots.", r#"ca_file = "ca.pem""#),
    key("client_cert", Kind::Text, "The client's certificate in PEM form, for a server that wants one, with those between it and its authority. Shown to the registry's own hosts only.", r#"client_cert = "client.pem""#),
    key("client_key", Kind::Text, "The private key of client_cert in PEM form, without a passphrase. Read when it is needed.", r#"client_key = "client.key""#),
    key("proxy", Kind::Text, "The proxy to reach it by, in place of http_proxy, https_proxy, all_proxy and no_proxy in the environment; http, https, socks4, socks4a, socks5 or socks5h. Requests go through it by CONNECT. Loopback is never asked through a proxy.", r#"proxy = "http://proxy.example.com:3128""#),
    key("trusted_realms", Kind::TextList, "Hosts beside the registry's own that may be asked for its tokens, with its credentials where there are any; with a port, at that port only. Over https, unless url is http.", r#"trusted_realms = ["auth.example.com"]"#),
    key("api_url", Kind::Text, "Where the kind's own API is, if not at its usual place: of gitea (https://git.example.com/api/v1), github (https://github.example.com/api/v3) and dockerhub; of gitlab GitLab itself, which hands out its registry's tokens. It is sent the token, too.", r#"api_url = "https://git.example.com/api/v1""#),
    key("insecure_http", Kind::Bool, "An http url to a host other than loopback needs this set: tokens go over the wire in the clear.", "insecure_http = true").default("false"),
];

const PROJECT: &[Key] = &[
    key("registry", Kind::Text, "The registry's name.", r#"registry = "git""#).required(),
    key("image", Kind::Text, "The repository, without host and tag.", r#"image = "acme/shop""#).required(),
    key(
        "vars",
        Kind::VarTable,
        "For {var.NAME} in the steps. A value may be a secret source.",
        r#"vars = { app = "abc" }"#,
    ),
    key(
        "stages",
        Kind::Named(Section::Stage),
        "The stages, by a name of yours.",
        "[projects.shop.stages.dev]",
    )
    .required(),
];

const STAGE: &[Key] = &[
    key("tags", Kind::TextOrList, "Which tags may be taken: a glob, or several. * and ? stand for any characters and for one; the whole tag must match. \"*\" is every tag.", r#"tags = "dev-*""#).required(),
    key("exclude", Kind::TextOrList, "Globs of tags that are not taken all the same.", r#"exclude = ["*-debug"]"#),
    key("regex", Kind::Text, "A regular expression that the whole tag must match, too. Its one capture, if it has one, is the sort key.", r"regex = '^dev-(\d+)$'"),
    key("order", Kind::Word(ORDERS), "Which of two tags is newer; see ORDERS.", r#"order = "newest""#).required(),
    key("range", Kind::Text, "With semver: which versions are taken. Comparators are joined by commas; a bare 1.2 is ^1.2.", r#"range = ">=1.2, <3""#),
    key("prerelease", Kind::Bool, "With semver: whether prereleases are taken. In a range one counts by its precedence.", "prerelease = true").default("false"),
    key("poll", Kind::Bool, "False: poll leaves this stage alone.", "poll = false").default("true"),
    key("auto_deploy", Kind::Bool, "False: a new tag is reported as available, and not deployed.", "auto_deploy = false").default("true"),
    key("first_poll", Kind::Word(&["baseline", "deploy"]), "What the very first poll does with the newest tag it finds: remember it, or deploy it.", r#"first_poll = "deploy""#).default(r#""baseline""#),
    key("allow_downgrade", Kind::Bool, "Whether an older tag is deployed when the one that was given to the stage is gone from the registry.", "allow_downgrade = true").default("false"),
    key("digest", Kind::Bool, "True: the tag is mutable; it is deployed again when its digest changes.", "digest = true").default("false"),
    key("interval", Kind::Duration, "How often this stage is due, if not as in [settings].", r#"interval = "15m""#),
    key("max_bump", Kind::Word(&["major", "minor", "patch"]), "With semver: how far from what the stage was given a version may be. Others are seen and not taken.", r#"max_bump = "minor""#).default(r#""major""#),
    key("min_age", Kind::Duration, "So long since the push; where the registry has no push times, since tagship first saw the tag.", r#"min_age = "30m""#),
    key("after", Kind::Table(Section::After), "Another stage must have run the same image first.", r#"after = { stage = "dev", for = "24h" }"#),
    key("with", Kind::TextList, "Repositories of the same registry that must have the same tag.", r#"with = ["acme/shop-worker"]"#),
    key("platforms", Kind::TextList, "Wait until the image has these platforms.", r#"platforms = ["linux/amd64"]"#),
    key("window", Kind::List(Section::Window), "When deployments may begin.", r#"window = [{ days = ["Mon", "Tue"], from = "09:00", to = "16:00", timezone = "Europe/Berlin" }]"#),
    key("running", Kind::Table(Section::Running), "How to ask the stage itself what it runs: before a deployment (one that it has already is not sent), after it (until the stage runs it), after an interruption, and at the first poll.", r#"running = { url = "https://shop.example.com/version", pointer = "/image/tag" }"#),
    key("verify_timeout", Kind::Duration, "How long running may take to answer the new tag.", r#"verify_timeout = "5m""#).default(r#""5m""#),
    key("retry", Kind::Table(Section::Retry), "How a deployment that failed is tried again.", r#"retry = { attempts = 12, backoff = "1m", max_backoff = "2h" }"#),
    key("vars", Kind::VarTable, "Variables of this stage; they add to and override the project's.", r#"vars = { app = "def" }"#),
    key("deploy", Kind::Steps, "How a tag gets to the stage: one step, or several in order.", r#"deploy = { command = ["./deploy.sh", "{tag}"] }"#).required(),
];

const AFTER: &[Key] = &[
    key("stage", Kind::Text, "The other stage of the project.", r#"stage = "dev""#).required(),
    key("for", Kind::Duration, "How long it must have run the image.", r#"for = "24h""#).required(),
];

const WINDOW: &[Key] = &[
    key(
        "days",
        Kind::WordList(&DAYS),
        "The days on which it opens. Not given: every day.",
        r#"days = ["Mon", "Tue"]"#,
    ),
    key("from", Kind::Clock, "When it opens.", r#"from = "09:00""#).required(),
    key(
        "to",
        Kind::Clock,
        "When it closes, up to 24:00; at or before from, on the next day.",
        r#"to = "16:00""#,
    )
    .required(),
    key("timezone", Kind::Text, "The time zone, by its IANA name.", r#"timezone = "Europe/Berlin""#)
        .default(r#""UTC""#),
];

const RETRY: &[Key] = &[
    key(
        "attempts",
        Kind::Integer { least: 1, most: 1000 },
        "How many attempts are started.",
        "attempts = 12",
    )
    .default("12"),
    key(
        "backoff",
        Kind::Duration,
        "How long after the first attempt; doubled after each.",
        r#"backoff = "1m""#,
    )
    .default(r#""1m""#),
    key("max_backoff", Kind::Duration, "The longest time between two attempts.", r#"max_backoff = "2h""#)
        .default(r#""2h""#),
];

const RUNNING: &[Key] = &[
    key("url", Kind::Template, "Asked by GET.", r#"url = "https://shop.example.com/version""#),
    key(
        "command",
        Kind::TemplateList,
        "Run without a shell; what it prints is the answer.",
        r#"command = ["./running.sh"]"#,
    ),
    key(
        "pointer",
        Kind::Pointer,
        "Where it stands in a JSON answer (RFC 6901). Not given: it is the whole answer.",
        r#"pointer = "/image/tag""#,
    ),
    key("headers", Kind::TemplateTable, "Headers of the request.", "headers = {}"),
    key(
        "env",
        Kind::TemplateTable,
        "Variables of the command, as in a step.",
        r#"env = { TOKEN = "{secret.hook}" }"#,
    ),
    key("dir", Kind::Text, "Where the command runs, as in a step.", r#"dir = "/srv/shop""#),
    key("timeout", Kind::Duration, "For the whole answer.", r#"timeout = "10s""#).default(r#""10s""#),
];

const COMMAND_STEP: &[Key] = &[
    key(
        "command",
        Kind::TemplateList,
        "The program and its arguments; no shell, and no secrets, which would show in ps (use env).",
        r#"command = ["./deploy.sh", "{tag}"]"#,
    )
    .required(),
    key(
        "env",
        Kind::TemplateTable,
        "Variables beside the inherited environment and TAGSHIP_*.",
        r#"env = { TOKEN = "{secret.hook}" }"#,
    ),
    key(
        "dir",
        Kind::Text,
        "Where it runs, and where a program written ./x is looked for. Not given: the folder of the file.",
        r#"dir = "/srv/shop""#,
    ),
    key("timeout", Kind::Duration, "From its start to TERM; KILL follows 10 s later.", r#"timeout = "5m""#)
        .default(r#""5m""#),
];

const HTTP_STEP: &[Key] = &[
    key("method", Kind::Text, "The method of the request.", r#"method = "PATCH""#).default(r#""POST""#),
    key(
        "url",
        Kind::Template,
        "The endpoint. No placeholder in scheme or host, unless one secret is the whole url.",
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
        "A JSON body, written as a table; its strings may have placeholders. Without json, form and body, the body is a JSON object with every placeholder but secrets.",
        r#"json = { docker_registry_image_tag = "{tag}" }"#,
    ),
    key(
        "form",
        Kind::TemplateTable,
        "A form as the body.",
        r#"form = { token = "{secret.hook}", ref = "main" }"#,
    ),
    key("body", Kind::Template, "Text as the body.", r#"body = "{target} gets {tag}""#),
    key("timeout", Kind::Duration, "For the whole exchange.", r#"timeout = "30s""#).default(r#""30s""#),
    key(
        "success",
        Kind::Table(Section::Success),
        "When the answer means success. Not given: any status 2xx.",
        "success = { status = [200] }",
    ),
    key("sign", Kind::Table(Section::Sign), "How the request is signed.", r#"sign = { github = "hook" }"#),
    key(
        "until",
        Kind::Table(Section::Until),
        "The request is repeated until its answer says that work which the endpoint queued is over; success then judges that answer.",
        r#"until = { pointer = "/status", values = ["finished", "failed"] }"#,
    ),
];

const UNTIL: &[Key] = &[
    key("pointer", Kind::Pointer, "Where the answer, JSON, says it (RFC 6901).", r#"pointer = "/status""#)
        .required(),
    key(
        "values",
        Kind::JsonList,
        "What it says when it is over, well or badly.",
        r#"values = ["finished", "failed"]"#,
    )
    .required(),
    key("every", Kind::Duration, "From an answer to the next request.", r#"every = "2s""#).default(r#""2s""#),
    key("within", Kind::Duration, "When it is not over by then, the step has failed.", r#"within = "5m""#)
        .default(r#""5m""#),
];

const SUCCESS: &[Key] = &[
    key(
        "status",
        Kind::IntegerList { least: 100, most: 599 },
        "Statuses that are success.",
        "status = [200, 204]",
    )
    .default("[any 2xx]"),
    key(
        "pointer",
        Kind::Pointer,
        "What must exist in a JSON answer (RFC 6901).",
        r#"pointer = "/deployments/0/deployment_uuid""#,
    ),
    key("equals", Kind::Json, "What pointer must give.", "equals = 100"),
    key(
        "matches",
        Kind::Text,
        "A regular expression that must be found in the answer.",
        r#"matches = "triggered""#,
    ),
];

const SIGN: &[Key] = &[
    key(
        "github",
        Kind::TextOrList,
        "X-Hub-Signature-256 with this secret of [secrets]; with several, their signatures are joined by commas.",
        r#"github = "hook""#,
    ),
    key(
        "standard_webhooks",
        Kind::TextOrList,
        "The headers of Standard Webhooks with this secret of [secrets] (whsec_ and base64), or with several while one takes another's place. webhook-id is the deployment's id.",
        r#"standard_webhooks = "hook""#,
    ),
];

const NOTIFY: &[Key] = &[
    key(
        "on",
        Kind::WordList(Event::VARIANTS),
        "Of what: failed (for the first time; it is tried again), dead (given up), recovered, deployed, available, unknown (the registry could not be asked for as long as after says).",
        r#"on = ["failed", "dead", "recovered"]"#,
    )
    .required(),
    key("targets", Kind::TextList, "Of which targets. Not given: of all.", r#"targets = ["*/prod"]"#),
    key("after", Kind::Duration, "How long checks must have failed to be told.", r#"after = "1h""#).default(r#""1h""#),
    key("url", Kind::Template, "This and what follows as in a step, with {status}, the event, and {error} besides.", r#"url = "https://ntfy.example.com/deploys""#),
    key("method", Kind::Text, "The method of the request.", r#"method = "PUT""#).default(r#""POST""#),
    key("headers", Kind::TemplateTable, "Headers of the request.", r#"headers = { Authorization = "Bearer {secret.ntfy}" }"#),
    key("json", Kind::Json, "A JSON body.", r#"json = { text = "{target} {status}: {tag} {error}" }"#),
    key("form", Kind::TemplateTable, "A form as the body.", r#"form = { message = "{target} {status}" }"#),
    key("body", Kind::Template, "Text as the body.", r#"body = "{target} {status}: {tag} {error}""#),
    key("success", Kind::Table(Section::Success), "When the answer means that it was received.", "success = { status = [200] }"),
    key("sign", Kind::Table(Section::Sign), "How the request is signed.", r#"sign = { github = "hook" }"#),
    key("command", Kind::TemplateList, "A program instead of a request.", r#"command = ["./tell.sh", "{target}", "{status}", "{tag}"]"#),
    key("env", Kind::TemplateTable, "Variables of the command.", r#"env = { ERROR = "{error}" }"#),
    key("dir", Kind::Text, "Where the command runs.", r#"dir = "/srv/shop""#),
    key("timeout", Kind::Duration, "For the request or the command.", r#"timeout = "10s""#).default(r#""10s""#),
];

const SECRET: &[Key] = &[
    key(
        "env",
        Kind::Text,
        "An environment variable. Deploy commands do not inherit it.",
        r#"{ env = "GITEA_TOKEN" }"#,
    ),
    key("file", Kind::Text, "A file.", r#"{ file = "git-token" }"#),
    key("command", Kind::TextList, "What a program prints.", r#"{ command = ["pass", "show", "git"] }"#),
    key(
        "credential",
        Kind::Text,
        "A systemd credential (LoadCredential=).",
        r#"{ credential = "git-token" }"#,
    ),
    key(
        "keyring",
        Kind::Text,
        "An entry of the Secret Service; not under cron, which has no session bus.",
        r#"{ keyring = "git" }"#,
    ),
    key(
        "docker_config",
        Kind::Text,
        "The registry's entry in a docker or podman configuration, or what the credential helper that it names answers. Only as token of a registry.",
        r#"{ docker_config = "~/.docker/config.json" }"#,
    ),
];
