//! `init` and `schedule`: the commands of a new installation.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use strum::VariantNames as _;

use crate::policy::Order;
use crate::reference::{Repository, behind_host};
use crate::target::Name;

/// Write a first configuration
///
/// Takes the values from these options; on a terminal it prompts for the others. With --from, or on a terminal with a
/// token, it lists the images of an owner and proposes stages that fit their tags. It never overwrites a file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship init\n  \
    tagship init --registry https://git.example.com --image acme/shop \\\n      \
    --stage dev='dev-*' --stage prod='v*' --deploy-command './deploy.sh {tag}'\n  \
    tagship init --from https://git.example.com/acme --token-env GIT_TOKEN \\\n      \
    --deploy-command './deploy.sh {image}'")]
pub(crate) struct Init {
    /// The registry: its address, or the folder of an OCI image layout
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    pub(crate) registry: Option<String>,
    /// List images and tags of this registry; the path ends with the owner, unless --owner or --image names it
    #[arg(long, value_name = "URL", conflicts_with_all = ["stage", "order"])]
    pub(crate) from: Option<String>,
    /// With --from: the owner of the images
    #[arg(long, value_name = "OWNER", requires = "from", conflicts_with = "image", value_parser = owner)]
    pub(crate) owner: Option<String>,
    /// The kind of registry [default: by its host, else gitea]
    #[arg(long, value_enum)]
    pub(crate) kind: Option<ServerKind>,
    /// An image, without host and tag: acme/shop; can be repeated
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub(crate) image: Vec<Repository>,
    /// A stage and the glob of its tags: dev='dev-*'; can be repeated
    #[arg(long, value_name = "NAME=GLOB", value_parser = stage)]
    pub(crate) stage: Vec<StageRule>,
    /// The order of a stage's tags: dev=numeric, or numeric for all stages [default: guessed from the glob]
    #[arg(long, value_name = "[NAME=]ORDER", value_parser = order)]
    pub(crate) order: Vec<OrderWish>,
    /// The deploy command: a program and its arguments, run without a shell; ./ is the configuration's folder
    #[arg(long, value_name = "COMMAND", conflicts_with = "deploy_url")]
    pub(crate) deploy_command: Option<String>,
    /// The deploy URL: receives a POST request
    #[arg(long, value_name = "URL")]
    pub(crate) deploy_url: Option<String>,
    /// Read the registry's token from this file
    #[arg(long, value_name = "FILE", group = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Read the registry's token from this environment variable
    #[arg(long, value_name = "NAME", group = "token")]
    pub(crate) token_env: Option<String>,
    /// Read the registry's token from this systemd credential
    #[arg(long, value_name = "NAME", group = "token")]
    pub(crate) token_credential: Option<String>,
    /// Use the registry without a token
    #[arg(long, group = "token")]
    pub(crate) anonymous: bool,
    /// The user name, if the registry requires one with the token
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Allow http:// for the registry: tokens are sent unencrypted
    #[arg(long)]
    pub(crate) insecure_http: bool,
    /// The file to write, or - for standard output [default: --config or $TAGSHIP_CONFIG, else
    /// ~/.config/tagship/config.toml, for root /etc/tagship/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The kind of a registry, as the configuration spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServerKind {
    /// Gitea, or Forgejo
    Gitea,
    Forgejo,
    /// The GitHub Container Registry
    Github,
    Dockerhub,
    Gitlab,
    /// Any other registry
    Oci,
    /// An OCI image layout in a folder
    OciLayout,
}

impl ServerKind {
    /// As `kind` of the configuration spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ServerKind::Gitea => "gitea",
            ServerKind::Forgejo => "forgejo",
            ServerKind::Github => "github",
            ServerKind::Dockerhub => "dockerhub",
            ServerKind::Gitlab => "gitlab",
            ServerKind::Oci => "oci",
            ServerKind::OciLayout => "oci-layout",
        }
    }
}

/// `dev=dev-*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StageRule {
    pub(crate) name: Name,
    pub(crate) glob: String,
}

/// `numeric`, or `dev=numeric` for one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderWish {
    pub(crate) stage: Option<Name>,
    pub(crate) order: Order,
}

/// Print a crontab line, systemd units, Kubernetes manifests or a workflow that start the runs
///
/// Made for this configuration: its intervals, its secret sources and its deploy commands. Read the output before you
/// install it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tagship schedule cron                              a line for crontab -e\n  \
    tagship schedule systemd --dir /etc/systemd/system\n  \
    tagship schedule kubernetes --image ghcr.io/acme/tagship | kubectl apply -f -\n  \
    tagship schedule gitea-actions > .gitea/workflows/tagship.yaml"
)]
pub(crate) struct Schedule {
    #[command(subcommand)]
    pub(crate) what: Scheduler,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scheduler {
    /// A crontab line
    #[command(after_help = "Example:\n  tagship schedule cron")]
    Cron,
    /// A systemd service and its timer
    #[command(after_help = "Examples:\n  tagship schedule systemd\n  \
        tagship schedule systemd --dir /etc/systemd/system && systemctl enable --now tagship.timer")]
    Systemd {
        /// Write both units to this folder; existing files are not overwritten
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// A CronJob, its configuration, and a volume for its state
    #[command(
        after_help = "Examples:\n  tagship schedule kubernetes --image ghcr.io/acme/tagship:1 > tagship.yaml\n  \
        tagship schedule kubernetes --image ghcr.io/acme/tagship:1 --shards 4"
    )]
    Kubernetes {
        /// The container image with tagship and the deploy commands
        #[arg(long, value_name = "IMAGE")]
        image: String,
        /// The namespace of all objects [default: that of kubectl]
        #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
        namespace: Option<String>,
        /// Split the targets among N CronJobs, each with its own volume
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
        shards: Option<u32>,
    },
    /// A workflow for Gitea or Forgejo Actions
    #[command(after_help = "Examples:\n  tagship schedule gitea-actions > .gitea/workflows/tagship.yaml\n  \
        tagship schedule gitea-actions --steps    for an existing job")]
    GiteaActions {
        /// Print only the steps, for your own job
        #[arg(long)]
        steps: bool,
    },
}

/// A namespace of Kubernetes: a label of RFC 1123.
fn namespace(text: &str) -> Result<String, String> {
    let is_of_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = (1..=63).contains(&text.len()) && text.bytes().all(is_of_label);
    if !is_label || text.starts_with('-') || text.ends_with('-') {
        return Err(
            "a namespace has at most 63 lower-case letters, digits and hyphens, and starts and ends without a hyphen"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// An image without host and tag.
pub(crate) fn image(text: &str) -> Result<Repository, String> {
    let image = Repository::new(text).map_err(|error| match Repository::within(text) {
        Some(image) => format!("{error}; write {image}"),
        None => error.to_string(),
    })?;
    match behind_host("", text) {
        Some((host, path)) => Err(format!("{host} looks like a host; expected the image without it: {path}")),
        None => Ok(image),
    }
}

/// An owner, in lower case.
pub(crate) fn owner(text: &str) -> Result<String, String> {
    // Gitea accepts owners in any case; images are in lower case.
    let owner = text.to_ascii_lowercase();
    match Repository::new(&owner) {
        Ok(name) if name.name().is_none() => Ok(owner),
        _ => Err("expected a user or an organisation, without slashes".to_owned()),
    }
}

/// A stage and its glob.
pub(crate) fn stage(text: &str) -> Result<StageRule, String> {
    let (name, glob) = text.split_once('=').ok_or("expected NAME=GLOB, such as dev='dev-*'")?;
    let name = Name::new(name).map_err(|error| error.to_string())?;
    Ok(StageRule { name, glob: glob.to_owned() })
}

fn order(text: &str) -> Result<OrderWish, String> {
    let (stage, word) = match text.split_once('=') {
        Some((stage, word)) => (Some(Name::new(stage).map_err(|error| error.to_string())?), word),
        None => (None, text),
    };
    let order = word.parse().map_err(|_| format!("expected one of {}", Order::VARIANTS.join(", ")))?;
    Ok(OrderWish { stage, order })
}
