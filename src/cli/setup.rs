//! `init` and `schedule`: what a new installation begins with.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::policy::Order;
use crate::reference::Repository;
use crate::target::Name;

/// Write a configuration to begin with
///
/// From these options; what they leave out is asked for on a terminal. With --from the registry is asked what it has,
/// and each image gets stages that fit its tags. An existing file is never overwritten.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship init\n  \
    tagship init --registry https://git.example.com --image acme/shop \\\n      \
    --stage dev='dev-*' --stage prod='v*' --deploy-command './deploy.sh {tag}'\n  \
    tagship init --from https://git.example.com/acme --token-env GIT_TOKEN \\\n      \
    --deploy-command './deploy.sh {image}'")]
pub(crate) struct Init {
    /// The registry: its address, or the folder of an image layout
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    pub(crate) registry: Option<String>,
    /// A registry that is asked for images and tags; without --owner and --image its path ends with the owner
    #[arg(long, value_name = "URL", conflicts_with_all = ["stage", "order"])]
    pub(crate) from: Option<String>,
    /// With --from: whose images
    #[arg(long, value_name = "OWNER", requires = "from", conflicts_with = "image", value_parser = owner)]
    pub(crate) owner: Option<String>,
    /// What the registry is [default: by its host, else gitea]
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// An image on it, without host and tag: acme/shop. Can be given several times
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub(crate) image: Vec<Repository>,
    /// A stage and which tags it takes: dev='dev-*'. Can be given several times
    #[arg(long, value_name = "NAME=GLOB", value_parser = stage)]
    pub(crate) stage: Vec<StageWish>,
    /// How a stage's tags are ordered: dev=numeric, or numeric for all [default: guessed from the glob]
    #[arg(long, value_name = "[NAME=]ORDER", value_parser = order)]
    pub(crate) order: Vec<OrderWish>,
    /// What deploys: a program and its arguments, without a shell; ./ is the configuration's folder
    #[arg(long, value_name = "COMMAND", conflicts_with = "deploy_url")]
    pub(crate) deploy_command: Option<String>,
    /// What deploys: an address that gets a POST
    #[arg(long, value_name = "URL")]
    pub(crate) deploy_url: Option<String>,
    /// The registry's token is in this file
    #[arg(long, value_name = "FILE", group = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// The registry's token is in this variable
    #[arg(long, value_name = "NAME", group = "token")]
    pub(crate) token_env: Option<String>,
    /// The registry's token is this credential of systemd
    #[arg(long, value_name = "NAME", group = "token")]
    pub(crate) token_credential: Option<String>,
    /// The registry is asked without a token
    #[arg(long, group = "token")]
    pub(crate) anonymous: bool,
    /// The user name beside the token, where the registry wants one
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// The registry's address may be http://: tokens go over the wire in the clear
    #[arg(long)]
    pub(crate) insecure_http: bool,
    /// The file to write, or - for standard output [default: --config, ~/.config/tagship/config.toml, or as root
    /// /etc/tagship/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What a registry is, as the configuration spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
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

impl Kind {
    /// As `kind` of the configuration spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Gitea => "gitea",
            Kind::Forgejo => "forgejo",
            Kind::Github => "github",
            Kind::Dockerhub => "dockerhub",
            Kind::Gitlab => "gitlab",
            Kind::Oci => "oci",
            Kind::OciLayout => "oci-layout",
        }
    }
}

/// `dev=dev-*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StageWish {
    pub(crate) name: Name,
    pub(crate) glob: String,
}

/// `numeric`, or `dev=numeric` for one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderWish {
    pub(crate) stage: Option<Name>,
    pub(crate) order: Order,
}

/// Print what starts a run again and again
///
/// For this configuration: how often its targets are due, where its secrets come from, what its deployments run.
/// It is printed on standard output, to be read before it is put to use.
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
    /// A line for a crontab
    #[command(after_help = "Example:\n  tagship schedule cron")]
    Cron,
    /// A service and a timer
    #[command(after_help = "Examples:\n  tagship schedule systemd\n  \
        tagship schedule systemd --dir /etc/systemd/system && systemctl enable --now tagship.timer")]
    Systemd {
        /// Write the two units into this folder, where there are none of their names
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// A CronJob with its configuration and a volume for its state
    #[command(
        after_help = "Examples:\n  tagship schedule kubernetes --image ghcr.io/acme/tagship:1 > tagship.yaml\n  \
        tagship schedule kubernetes --image ghcr.io/acme/tagship:1 --shards 4"
    )]
    Kubernetes {
        /// The container image that has tagship, and what deployments run
        #[arg(long, value_name = "IMAGE")]
        image: String,
        /// The namespace of all objects [default: kubectl's]
        #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
        namespace: Option<String>,
        /// So many CronJobs share the targets, each with a volume of its own
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
        shards: Option<u32>,
    },
    /// A workflow of Gitea or Forgejo Actions
    #[command(after_help = "Examples:\n  tagship schedule gitea-actions > .gitea/workflows/tagship.yaml\n  \
        tagship schedule gitea-actions --steps    for a job that there is already")]
    GiteaActions {
        /// Only the steps, for a job of your own
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
            "a namespace has lower-case letters, digits and hyphens, at most 63, no hyphen at its ends"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// An image without host and tag.
pub(crate) fn image(text: &str) -> Result<Repository, String> {
    Repository::new(text).map_err(|error| error.to_string())
}

/// An owner, in lower case.
pub(crate) fn owner(text: &str) -> Result<String, String> {
    // Gitea takes any case in owners; images have lower case.
    let owner = text.to_ascii_lowercase();
    match Repository::new(&owner) {
        Ok(name) if name.name().is_none() => Ok(owner),
        _ => Err("an owner is a user or an organisation, without slashes".to_owned()),
    }
}

/// A stage and its glob.
pub(crate) fn stage(text: &str) -> Result<StageWish, String> {
    let (name, glob) = text.split_once('=').ok_or("write NAME=GLOB, such as dev='dev-*'")?;
    let name = Name::new(name).map_err(|error| error.to_string())?;
    Ok(StageWish { name, glob: glob.to_owned() })
}

fn order(text: &str) -> Result<OrderWish, String> {
    let (stage, word) = match text.split_once('=') {
        Some((stage, word)) => (Some(Name::new(stage).map_err(|error| error.to_string())?), word),
        None => (None, text),
    };
    let orders = [Order::Newest, Order::Semver, Order::Numeric, Order::Alphabetical];
    let order = orders.into_iter().find(|order| order.to_string() == word);
    let order = order.ok_or("the orders are newest, semver, numeric and alphabetical")?;
    Ok(OrderWish { stage, order })
}
