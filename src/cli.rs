//! The command line: clap definitions only. `man/` and `completions/` are rendered from them.

mod moment;
mod setup;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use crate::target::filter::TargetPattern;
use crate::target::shard::ShardSetting;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
pub(crate) use moment::Moment;

pub(crate) use setup::{Init, Kind, Schedule, Scheduler, StageWish, image, owner, stage};
pub(crate) use words::advised;

/// Ships new container image tags to the stages that wait for them.
///
/// One run reads the configuration, asks the registries (Gitea and Forgejo first) for tags, picks the newest that
/// each stage's rule allows, compares it with the state file, deploys what is new, and exits. Cron, a systemd timer,
/// a Kubernetes CronJob or a CI job starts it.
#[derive(Debug, Parser)]
#[command(name = "tagship", version, styles = STYLES, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit status:\n  \
    0         done, whether or not there was something new\n  \
    1         a check or a deployment failed; the other targets were served\n  \
    2         usage, configuration or state file; nothing was done\n  \
    3         something new, and nothing failed (with --exit-code)\n  \
    75        a target is being deployed by another run (with --strict)\n  \
    130, 143  interrupted\n\n\
    Examples:\n  \
    tagship check                   is the configuration right?\n  \
    tagship poll --dry-run          what would be deployed?\n  \
    tagship poll                    deploy it\n  \
    tagship status                  what does each stage run, and what waits?\n  \
    tagship tags shop/prod v1.3.0   why was v1.3.0 not deployed?\n  \
    tagship history --failed        what failed, and with which output?")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]
    #[arg(long, global = true, value_name = "FILE", env = "TAGSHIP_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// The state file [default: `state` of the configuration, $TAGSHIP_STATE, or by where the configuration is]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Say also what did not change, and show what deployments print
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Say only what failed
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Colour in the output
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR or TERM=dumb says otherwise
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Poll(Poll),
    Status(Status),
    Tags(Tags),
    Deploy(Deploy),
    Rollback(Rollback),
    Mark(Mark),
    History(History),
    Retry(Retry),
    Hold(Hold),
    Release(Release),
    Check(Check),
    Login(Login),
    Logout(Logout),
    Init(Box<Init>),
    Schedule(Schedule),
    Generate(Generate),
}

/// Ask the registries, decide, and deploy what is new
///
/// Prints a line for each target with news and nothing at all when nothing happened, so that cron sends mail only
/// when there is something to read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship poll                 every stage of every project\n  \
    tagship poll shop/dev        one target, for example from a webhook\n  \
    tagship poll --stage dev     the dev stages of all projects\n  \
    tagship poll --dry-run -v    what would happen, and why")]
pub(crate) struct Poll {
    /// Targets: shop/dev, shop (all its stages) or a glob [default: all]
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) targets: Vec<TargetPattern>,
    /// Only stages of this project
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Vec<String>,
    /// Only stages of this name
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Vec<String>,
    /// Only targets polled longer ago than 90 % of their interval, or with a deployment to try again
    #[arg(long)]
    pub(crate) due: bool,
    /// Say what would be deployed; write and deploy nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List every repository in full, also where the registry says that nothing was pushed
    #[arg(long)]
    pub(crate) refresh: bool,
    /// How the outcome is printed
    #[arg(long, value_enum, default_value_t = PollFormat::Human)]
    pub(crate) format: PollFormat,
    /// Exit with 3 where something new was found or deployed, and nothing failed
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Exit with 75 where a selected target is being deployed by another run
    #[arg(long)]
    pub(crate) strict: bool,
    /// Only the images of shard I of N, from 0 to N-1; N alone takes I from $JOB_COMPLETION_INDEX. Each shard has a
    /// state file of its own
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<ShardSetting>,
    /// Start nothing more after this long [default: max_runtime of the configuration]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) max_runtime: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PollFormat {
    /// A line for each target with news
    Human,
    /// One document for the run
    Json,
    /// A line of JSON for each target as it is done, then the summary
    Jsonl,
    /// Annotations, outputs and a summary for GitHub Actions and Gitea Actions
    Github,
}

/// Show what each target has: newest, deployed, pending, last check, last error
///
/// A line for each target, and below them what keeps one from its newest tag. One target alone is shown in full. Reads
/// the state only; nobody is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tagship status              what each stage runs, and what is newest\n  \
    tagship status shop/prod    all that is known of one: why, who holds it, the next try, the rule and its edit\n  \
    tagship status '*/prod' --format json\n  \
    tagship status --format html > new.html && mv new.html /srv/www/status.html"
)]
pub(crate) struct Status {
    /// Targets: shop/dev, shop (all its stages) or a glob [default: all]
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) targets: Vec<TargetPattern>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Human)]
    pub(crate) format: StatusFormat,
    /// Exit with 1 where the last check or deployment of a target failed
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// A table
    Human,
    /// One document
    Json,
    /// A page that needs nothing but itself: what fails, what waits, all targets, recent deployments
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table
    Human,
    /// One document
    Json,
}

/// Validate the configuration
///
/// Reports every fault at once, each with its file and line and what to write instead. Nobody is asked, unless with
/// --online: then each registry, credential, repository, rule and deploy command is tried. With -v it says where each
/// credential and secret comes from, and never what it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship --config tagship.toml check\n  \
    tagship check --online    does everything answer, and what would each stage pick?\n  \
    tagship check --notify    does a test message arrive everywhere?\n  \
    tagship check -v          where does each credential and secret come from?")]
pub(crate) struct Check {
    /// Also try the registries, the repositories and the commands; exit with 1 where one fails
    #[arg(long)]
    pub(crate) online: bool,
    /// Also send a test message to each [[notify]]; exit with 1 where one fails
    #[arg(long)]
    pub(crate) notify: bool,
}

/// Show every tag of a target, and why it was taken or not
///
/// In the order of the stage's rule, the newest first. Of many tags those that concern the stage now are shown first.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tagship tags shop/prod             which tag is taken, by which key, and why not the others\n  \
    tagship tags shop/prod v1.3.0      why was v1.3.0 not deployed?\n  \
    tagship tags shop/prod --offline   from the state, without asking the registry"
)]
pub(crate) struct Tags {
    /// The target: shop/dev
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) target: TargetPattern,
    /// One tag, whether or not the registry has it [default: every tag]
    #[arg(value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Only what the state knows; nobody is asked
    #[arg(long)]
    pub(crate) offline: bool,
    /// Every tag, not only a screenful
    #[arg(long)]
    pub(crate) all: bool,
}

/// Deploy now, by hand: the newest tag, or one that is named
///
/// Holds, windows and gates are for polls: they do not stop it. Going back to an older tag holds the target, so that
/// the next poll does not undo it. A TAG that the stage's rule does not allow needs --force.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship deploy shop/dev               the newest\n  \
    tagship deploy shop/prod v1.4.0\n  \
    tagship deploy shop/prod --previous   back to what it ran before, by its digest")]
pub(crate) struct Deploy {
    /// The target: shop/dev
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) target: TargetPattern,
    /// The tag [default: the newest that the stage's rule allows]
    #[arg(value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// What the stage ran before what it runs now: the same as tagship rollback
    #[arg(long, conflicts_with = "tag")]
    pub(crate) previous: bool,
    /// Do not hold the target when going back
    #[arg(long)]
    pub(crate) no_hold: bool,
    /// Wait where another run is deploying to the target, instead of ending with 75
    #[arg(long)]
    pub(crate) wait: bool,
    /// Deploy TAG even if the stage's rule does not allow it, or the registry cannot tell whether it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Deploy again what a stage ran before
///
/// The same as `tagship deploy TARGET --previous`: the image is the one that ran, by its digest, and the target is held
/// so that the next poll does not undo it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship rollback shop/prod\n  \
    tagship release shop/prod     deploy newer tags again")]
pub(crate) struct Rollback {
    /// The target: shop/dev
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) target: TargetPattern,
    /// Do not hold the target
    #[arg(long)]
    pub(crate) no_hold: bool,
    /// Wait while another run deploys to the target, instead of exiting with 75
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Stop automatic deployments to targets
///
/// Polls go on and say what is held back; a deployment by hand is still possible.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship hold shop/prod --reason \"release freeze\"\n  \
    tagship hold '*/prod' --for 12h")]
pub(crate) struct Hold {
    /// Targets: shop/dev, shop (all its stages) or a glob
    #[arg(value_name = "TARGET", value_parser = pattern, required = true)]
    pub(crate) targets: Vec<TargetPattern>,
    /// Why; shown by poll and status
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// End by itself after this long [default: until tagship release]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) lasting: Option<Duration>,
}

/// Let automatic deployments to targets go on
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tagship release shop/prod")]
pub(crate) struct Release {
    /// Targets: shop/dev, shop (all its stages) or a glob
    #[arg(value_name = "TARGET", value_parser = pattern, required = true)]
    pub(crate) targets: Vec<TargetPattern>,
}

/// Show what was deployed, and how it went
///
/// The newest deployments first, each with its attempts, how long they took, and the end of what they printed; below
/// them how long deployments to each target take. Reads the state only; nobody is asked. Deployments that are over are
/// kept as long as history of the settings says.
///
/// A DATE is 2026-11-20, or 2026-11-20T14:30 (both UTC unless an offset follows), or a time ago: 36h, 7d.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship history shop/prod\n  \
    tagship history --failed --limit 1           what failed last, and what it printed\n  \
    tagship history shop/prod --tag v1.4.0       who or what deployed v1.4.0\n  \
    tagship history shop/prod --at 2026-11-20    what ran on that day\n  \
    tagship history --since 7d --format json")]
pub(crate) struct History {
    /// Targets: shop/dev, shop (all its stages) or a glob [default: all]
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) targets: Vec<TargetPattern>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// At most so many deployments [default: 20; with json all]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// Only of this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Only the deployment whose id begins so, with all that it printed
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Only deployments of which an attempt failed
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only deployments that were decided on or after this
    #[arg(long, value_name = "DATE", value_parser = Moment::parse)]
    pub(crate) since: Option<Moment>,
    /// Only deployments that were decided before this, or on this day
    #[arg(long, value_name = "DATE", value_parser = Moment::parse)]
    pub(crate) until: Option<Moment>,
    /// What each target ran then, instead: at that moment, or on that day
    #[arg(long, value_name = "DATE", value_parser = Moment::parse,
        conflicts_with_all = ["limit", "tag", "id", "failed", "since", "until"])]
    pub(crate) at: Option<Moment>,
}

/// Make deployments that failed due again
///
/// One that was given up after all its attempts, or that waits for its next, is tried again at the next poll, with
/// all its attempts before it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship retry                    whatever failed\n  \
    tagship retry shop/prod && tagship poll shop/prod\n  \
    tagship retry shop/prod --drop   forget it")]
pub(crate) struct Retry {
    /// Targets (shop/dev, shop or a glob), or ids of deployments [default: whatever failed]
    #[arg(value_name = "TARGET|ID")]
    pub(crate) deployments: Vec<String>,
    /// Forget the deployment: only something newer is deployed
    #[arg(long)]
    pub(crate) drop: bool,
}

/// Record that something else deployed a tag
///
/// For a webhook that deploys by itself: after `tagship mark shop/dev dev-43`, a poll deploys only what is newer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship mark shop/dev dev-43\n  \
    tagship mark shop/dev dev-41 --reset    deploy what comes after dev-41, although newer ones were deployed\n  \
    tagship mark shop/dev --none            deploy the newest at the next poll, whatever it is\n  \
    tagship mark shop/dev --owner           go on with the owner that has the image's name now")]
pub(crate) struct Mark {
    /// The target: shop/dev
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) target: TargetPattern,
    /// The tag that the stage runs now
    #[arg(value_name = "TAG", required_unless_present_any = ["none", "owner"])]
    pub(crate) tag: Option<String>,
    /// From here on deploy what is newer than TAG, even what was deployed before
    #[arg(long)]
    pub(crate) reset: bool,
    /// Forget which tags the stage was given: the next poll deploys the newest
    #[arg(long, conflicts_with_all = ["tag", "reset"])]
    pub(crate) none: bool,
    /// Accept the owner that the registry names now, for all images of that name, where it was another before
    #[arg(long, conflicts_with_all = ["tag", "reset", "none"])]
    pub(crate) owner: bool,
}

/// Put a registry's token into the keyring
///
/// The token is asked for on the terminal, without showing it, and tried before it is kept. A registry of the
/// configuration that names no token is then asked with it. Under cron there is no keyring: use a file there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship login git\n  \
    pass show hub | tagship login hub --username ci --stdin")]
pub(crate) struct Login {
    /// The registry's name in the configuration
    #[arg(value_name = "REGISTRY")]
    pub(crate) registry: String,
    /// The user name beside the token, where the registry wants one [default: username of the configuration]
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Read the token from standard input
    #[arg(long)]
    pub(crate) stdin: bool,
}

/// Take a registry's token out of the keyring
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tagship logout git")]
pub(crate) struct Logout {
    /// The registry's name
    #[arg(value_name = "REGISTRY")]
    pub(crate) registry: String,
}

/// Write what packagers and editors need
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tagship generate completions --dir ~/.local/share/bash-completion/completions\n  \
    tagship generate schema > tagship.schema.json\n  \
    tagship generate schema poll    of what poll --format json prints"
)]
pub(crate) struct Generate {
    #[command(subcommand)]
    pub(crate) what: Artifact,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Artifact {
    /// The manual pages
    #[command(after_help = "Example:\n  tagship generate man --dir ~/.local/share/man/man1")]
    Man {
        /// The folder they are written to
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Completions for bash, zsh and fish
    ///
    /// tagship.bash, _tagship and tagship.fish: scripts that ask tagship for the words when TAB is pressed, with the
    /// targets of the configuration.
    #[command(
        after_help = "Example:\n  tagship generate completions --dir ~/.local/share/bash-completion/completions"
    )]
    Completions {
        /// The folder they are written to
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// A JSON Schema, on standard output
    #[command(
        after_help = "Examples:\n  tagship generate schema > tagship.schema.json   of the configuration, for editors\n  \
    tagship generate schema poll                    of what tagship poll --format json prints"
    )]
    Schema {
        /// Of what
        #[arg(value_name = "DOCUMENT", value_enum, default_value_t = SchemaOf::Config)]
        of: SchemaOf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The configuration
    Config,
    /// What poll prints with --format json, and each line with --format jsonl
    Poll,
    /// What status prints with --format json
    Status,
    /// What tags prints with --format json
    Tags,
    /// What history prints with --format json
    History,
}

/// Whether tagship itself has a command of this name.
fn is_command(name: &str) -> bool {
    Cli::command().find_subcommand(name).is_some()
}

// clap wants a parser that can fail.
#[allow(clippy::unnecessary_wraps, reason = "the signature of a value parser")]
fn pattern(text: &str) -> Result<TargetPattern, std::convert::Infallible> {
    Ok(TargetPattern::new(text))
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text)
        .ok_or_else(|| format!("{text:?} is no duration such as 90s, 5m, 1h 30m or 7d"))
}

#[cfg(test)]
mod tests;
