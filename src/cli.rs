//! The command line: clap definitions only. `man/` and `completions/` are rendered from them.

mod moment;
mod setup;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::target::filter::TargetPattern;
use crate::target::shard::ShardSetting;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgGroup, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
pub(crate) use moment::Moment;

pub(crate) use setup::{Init, Schedule, Scheduler, ServerKind, StageRule, image, owner, stage};
pub(crate) use words::parse;

/// Deploys new container image tags to the stages that wait for them.
///
/// One run lists the tags of each image, selects the newest tag that each stage's rule allows, deploys it if it is newer
/// than the last one, and exits. Cron, a systemd timer, a Kubernetes CronJob or a CI job starts the runs.
#[derive(Debug, Parser)]
#[command(name = "tagship", version, styles = STYLES, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit status:\n  \
    0         success, with or without a new tag\n  \
    1         a check or a deployment failed; all other targets were handled\n  \
    2         wrong usage, configuration or state file; nothing was done\n  \
    3         a new tag was found or deployed, and nothing failed (with --exit-code)\n  \
    75        another run is deploying to a selected target (with --strict)\n  \
    130, 143  interrupted by a signal\n\n\
    Environment:\n  \
    TAGSHIP_CONFIG        the configuration file, unless --config names one\n  \
    TAGSHIP_STATE         the state file, unless --state or the configuration names one\n  \
    TAGSHIP_TOKEN_<NAME>  the token of registry NAME, unless the configuration names a token\n  \
    NO_COLOR              no colour\n\n\
    Examples:\n  \
    tagship check                   is the configuration valid?\n  \
    tagship poll --dry-run          what would be deployed?\n  \
    tagship poll                    deploy new tags\n  \
    tagship status                  what does each stage run, and which tags wait?\n  \
    tagship tags shop/prod v1.3.0   why was v1.3.0 not deployed?\n  \
    tagship history --failed        what failed, and what did it print?")]
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
    /// The configuration file [default: $TAGSHIP_CONFIG, else config.toml in $CONFIGURATION_DIRECTORY,
    /// ~/.config/tagship or /etc/tagship]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The state file, or none to keep no state [default: `state` of the configuration, $TAGSHIP_STATE, or a
    /// path that depends on the configuration's folder]. Repeat the option to read several states with `status`
    /// and `history`
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    pub(crate) state: Vec<PathBuf>,
    /// Also report unchanged targets, and stream deployment output
    #[arg(short, long, global = true, hide_short_help = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Report failures only
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) quiet: bool,
    /// When to use colour
    #[arg(long, global = true, hide_short_help = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

impl Global {
    /// The state file of a command that uses one. [`parse`] rejects several for such commands.
    pub(crate) fn state(&self) -> Option<&Path> {
        self.state.first().map(PathBuf::as_path)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR or TERM=dumb is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Poll(PollArgs),
    Status(StatusArgs),
    Tags(Tags),
    Deploy(DeployArgs),
    Rollback(Rollback),
    Mark(MarkArgs),
    History(History),
    Retry(RetryArgs),
    Hold(HoldArgs),
    Release(Release),
    Check(Check),
    Login(Login),
    Logout(Logout),
    Init(Box<Init>),
    Schedule(Schedule),
    Generate(Generate),
}

/// Check the registries and deploy new tags
///
/// Prints one line for each target that changed, and nothing if nothing happened, so cron sends mail only if there is
/// something to read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship poll                 every stage of every project\n  \
    tagship poll shop/dev        one target\n  \
    tagship poll --stage dev     the dev stages of all projects\n  \
    tagship poll --from-webhook < payload.json   the images that a webhook reports\n  \
    tagship poll --dry-run -v    what would happen to each target, and why")]
pub(crate) struct PollArgs {
    /// Targets: shop/dev, shop (all its stages) or a glob [default: all]
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) targets: Vec<TargetPattern>,
    /// Only stages of this project; can be repeated
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Vec<String>,
    /// Only stages with this name; can be repeated
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Vec<String>,
    /// Only targets whose interval has passed (90 % of it), or with a deployment to retry
    #[arg(long)]
    pub(crate) due: bool,
    /// Show what would be deployed; deploy and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List every repository in full, even if the registry reports no pushes, and all images of each owner in `images`
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Read the payload of a webhook from standard input, and poll only the images that it names. Requires `webhook` in
    /// the settings
    #[arg(long, conflicts_with = "due")]
    pub(crate) from_webhook: bool,
    /// The signature of the payload: HMAC-SHA256 in hexadecimal digits, with or without sha256= before them
    /// [default: from the environment variables of a CGI server]
    #[arg(long, value_name = "SIGNATURE", requires = "from_webhook")]
    pub(crate) signature: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = PollFormat::Human)]
    pub(crate) format: PollFormat,
    /// Exit with 3 if a new tag was found or deployed and nothing failed
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Exit with 75 if another run is deploying to a selected target
    #[arg(long)]
    pub(crate) strict: bool,
    /// Only the images of shard I (0 to N-1) of N; N alone takes I from $JOB_COMPLETION_INDEX. Each shard needs its own
    /// state file
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<ShardSetting>,
    /// Start no request and no deployment after this time [default: `max_runtime` of the configuration]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) max_runtime: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PollFormat {
    /// One line for each target that changed
    Human,
    /// One document for the run
    Json,
    /// One line of JSON for each target when it is done, then the summary
    Jsonl,
    /// Annotations, outputs and a step summary for GitHub, Gitea and Forgejo Actions
    Github,
}

/// Show each target's newest tag, deployed tag, pending deployment, last check and last error
///
/// Prints one line for each target, and below them why a target does not run its newest tag. A single TARGET is shown
/// in full. Reads only the state; contacts no registry.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tagship status              what each stage runs, and which tag is newest\n  \
    tagship status shop/prod    everything about one stage: why, who holds it, the next attempt, the rule\n  \
    tagship status '*/prod' --format json\n  \
    tagship status --state shard-0.db --state shard-1.db    two shards as one\n  \
    tagship status --format html > new.html && mv new.html /srv/www/status.html"
)]
pub(crate) struct StatusArgs {
    /// Targets: shop/dev, shop (all its stages) or a glob [default: all]
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) targets: Vec<TargetPattern>,
    /// Output format
    #[arg(long, value_enum, default_value_t = StatusFormat::Human)]
    pub(crate) format: StatusFormat,
    /// Exit with 1 if the last check or deployment of a target failed
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// A table
    Human,
    /// One document
    Json,
    /// One self-contained page: failures, waiting tags, all targets, recent deployments
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
/// Reports every error at once, each with its file, its line and the correction.
/// Works offline. With --online it also contacts each registry, and tries each credential, repository, rule and
/// deploy command. It then checks everything that the newest tag of each stage needs for a deployment: its
/// digest, its gates, and what the stage runs. It deploys nothing. With -v it shows the source of each
/// credential and secret, never its value.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship --config tagship.toml check\n  \
    tagship check --online    does every registry answer, and which tag would each stage select?\n  \
    tagship check --notify    does a test message arrive everywhere?\n  \
    tagship check -v          where does each credential and secret come from?")]
pub(crate) struct Check {
    /// Also try each registry, repository, command and gate; exit with 1 if one fails
    #[arg(long)]
    pub(crate) online: bool,
    /// Also send a test message to each `[[notify]]`; exit with 1 if one fails
    #[arg(long)]
    pub(crate) notify: bool,
}

/// Show every tag of a target with its verdict and the reason
///
/// Sorted by the order of the stage's rule, newest first. Of more than 30 tags, those that matter to the stage now are
/// shown first.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tagship tags shop/prod             which tag is selected, by which key, and why not the others\n  \
    tagship tags shop/prod v1.3.0      why was v1.3.0 not deployed?\n  \
    tagship tags shop/prod --offline   from the state, without contacting the registry"
)]
pub(crate) struct Tags {
    /// The target: shop/dev
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) target: TargetPattern,
    /// One tag, even if the registry does not have it [default: every tag]
    #[arg(value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Use only the state; contact no registry
    #[arg(long)]
    pub(crate) offline: bool,
    /// Show every tag, not only the first 30
    #[arg(long)]
    pub(crate) all: bool,
}

/// Deploy the newest tag, or TAG, now
///
/// A manual deployment ignores holds, windows and gates. Deploying an older tag holds the target, so the next poll does
/// not undo it. A TAG that the stage's rule does not allow needs --force.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship deploy shop/dev               the newest tag\n  \
    tagship deploy shop/prod v1.4.0\n  \
    tagship deploy shop/prod --previous   the tag it ran before, by digest")]
pub(crate) struct DeployArgs {
    /// The target: shop/dev
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) target: TargetPattern,
    /// The tag [default: the newest tag that the stage's rule allows]
    #[arg(value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Deploy the tag that the stage ran before, by digest: the same as `tagship rollback`
    #[arg(long, conflicts_with = "tag")]
    pub(crate) previous: bool,
    /// Do not hold the target after deploying an older tag
    #[arg(long)]
    pub(crate) no_hold: bool,
    /// Wait while another run deploys to the target, instead of exiting with 75
    #[arg(long)]
    pub(crate) wait: bool,
    /// Deploy TAG even if the stage's rule does not allow it, or the registry cannot confirm that it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Deploy the tag that a stage ran before
///
/// The same as `tagship deploy TARGET --previous`. It deploys the recorded digest and holds the target, so the next poll
/// does not undo it.
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
/// Polls continue and report which tags wait. Manual deployments are still possible.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship hold shop/prod --reason \"release freeze\"\n  \
    tagship hold '*/prod' --for 12h")]
pub(crate) struct HoldArgs {
    /// Targets: shop/dev, shop (all its stages) or a glob
    #[arg(value_name = "TARGET", value_parser = pattern, required = true)]
    pub(crate) targets: Vec<TargetPattern>,
    /// The reason, shown by `poll` and `status`
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// End the hold after this time [default: hold until `tagship release`]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) lasting: Option<Duration>,
}

/// Resume automatic deployments to targets
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tagship release shop/prod")]
pub(crate) struct Release {
    /// Targets: shop/dev, shop (all its stages) or a glob
    #[arg(value_name = "TARGET", value_parser = pattern, required = true)]
    pub(crate) targets: Vec<TargetPattern>,
}

/// Show past deployments and their output
///
/// Newest first, each with its attempts, their duration and the end of
/// their output; then the usual duration of deployments to each target. Reads only the state; contacts no
/// registry. `history` in the settings sets how long finished deployments are kept.
///
/// A DATE is 2026-11-20 or 2026-11-20T14:30, or a time ago: 36h, 7d. Without an offset such as
/// +01:00, it is local at a terminal, as the times shown there, and UTC otherwise and with --format json.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship history shop/prod\n  \
    tagship history --failed --limit 1           the last failure and its output\n  \
    tagship history shop/prod --tag v1.4.0       who or what deployed v1.4.0\n  \
    tagship history shop/prod --at 2026-11-20    what the stage ran on that day\n  \
    tagship history --since 7d --format json")]
pub(crate) struct History {
    /// Targets: shop/dev, shop (all its stages) or a glob [default: all]
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) targets: Vec<TargetPattern>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Show at most N deployments [default: 20; with --format json all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Only deployments of this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Show the deployment whose ID starts with this, with its full output
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Only deployments with a failed attempt
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only deployments that were planned at this time or later
    #[arg(long, value_name = "DATE", value_parser = Moment::parse)]
    pub(crate) since: Option<Moment>,
    /// Only deployments that were planned before this time, or on this day
    #[arg(long, value_name = "DATE", value_parser = Moment::parse)]
    pub(crate) until: Option<Moment>,
    /// Show what each target ran at this time, or on this day, instead of its deployments
    #[arg(long, value_name = "DATE", value_parser = Moment::parse,
        conflicts_with_all = ["limit", "tag", "id", "failed", "since", "until"])]
    pub(crate) at: Option<Moment>,
}

/// Retry failed deployments at the next poll
///
/// For a deployment that tagship gave up, or that waits for its next attempt. It starts again with its full number of
/// attempts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship retry                    every failed deployment\n  \
    tagship retry shop/prod && tagship poll shop/prod\n  \
    tagship retry shop/prod --drop   remove it: only a newer tag is deployed")]
pub(crate) struct RetryArgs {
    /// Targets (shop/dev, shop or a glob) or deployment IDs [default: every failed deployment]
    #[arg(value_name = "TARGET|ID")]
    pub(crate) deployments: Vec<String>,
    /// Remove the deployment instead: only a newer tag is deployed
    #[arg(long)]
    pub(crate) drop: bool,
}

/// Record that something else deployed TAG
///
/// For a webhook that deploys itself: after `tagship mark shop/dev dev-43`, polls deploy only newer tags.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship mark shop/dev dev-43\n  \
    tagship mark shop/dev dev-41 --reset    deploy tags newer than dev-41, even those deployed before\n  \
    tagship mark shop/dev --none            deploy the newest tag at the next poll\n  \
    tagship mark shop/dev --owner           accept the owner that has the image's name now")]
pub(crate) struct MarkArgs {
    /// The target: shop/dev
    #[arg(value_name = "TARGET", value_parser = pattern)]
    pub(crate) target: TargetPattern,
    /// The tag that the stage runs now
    #[arg(value_name = "TAG", required_unless_present_any = ["none", "owner"])]
    pub(crate) tag: Option<String>,
    /// Deploy tags newer than TAG, even those that were deployed before
    #[arg(long)]
    pub(crate) reset: bool,
    /// Forget which tags were deployed: the next poll deploys the newest tag
    #[arg(long, conflicts_with_all = ["tag", "reset"])]
    pub(crate) none: bool,
    /// Accept the owner that the registry reports now, for all images of that owner name
    #[arg(long, conflicts_with_all = ["tag", "reset", "none"])]
    pub(crate) owner: bool,
}

/// Store a registry's token in the keyring
///
/// Prompts for the token without showing it, and tries it before it is stored. A registry without `token` in the
/// configuration then uses it. Cron has no keyring: use a token file there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship login git\n  \
    pass show hub | tagship login hub --username ci --stdin")]
pub(crate) struct Login {
    /// The registry's name in the configuration
    #[arg(value_name = "REGISTRY")]
    pub(crate) registry: String,
    /// The user name, if the registry requires one with the token [default: `username` of the configuration]
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Read the token from standard input
    #[arg(long)]
    pub(crate) stdin: bool,
}

/// Remove a registry's token from the keyring
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tagship logout git")]
pub(crate) struct Logout {
    /// The registry's name
    #[arg(value_name = "REGISTRY")]
    pub(crate) registry: String,
}

/// Print shell completions, manual pages and JSON Schemas
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tagship generate completions bash > tagship.bash\n  \
    tagship generate man --dir ~/.local/share/man/man1\n  \
    tagship generate schema > tagship.schema.json")]
pub(crate) struct Generate {
    #[command(subcommand)]
    pub(crate) what: Artifact,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Artifact {
    /// The manual pages
    #[command(after_help = "Examples:\n  tagship generate man | man -l -\n  \
        tagship generate man --dir ~/.local/share/man/man1")]
    Man {
        /// Write one file per page to this folder [default: all pages to standard output]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Completions for bash, zsh and fish
    ///
    /// The script asks tagship for the words when you press TAB, so it also completes the targets of your configuration.
    #[command(group = ArgGroup::new("place").args(["shell", "dir"]).required(true))]
    #[command(after_help = "Examples:\n  tagship generate completions bash > tagship.bash\n  \
        tagship generate completions --dir completions")]
    Completions {
        /// Print the script for this shell
        #[arg(value_name = "SHELL", value_enum)]
        shell: Option<Shell>,
        /// Write tagship.bash, _tagship and tagship.fish to this folder
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// A JSON Schema
    #[command(
        after_help = "Examples:\n  tagship generate schema > tagship.schema.json   of the configuration, for editors\n  \
    tagship generate schema poll                    of the output of tagship poll --format json"
    )]
    Schema {
        /// Which document it describes
        #[arg(value_name = "DOCUMENT", value_enum, default_value_t = SchemaOf::Config)]
        of: SchemaOf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The configuration
    Config,
    /// The output of poll --format json, and each line of --format jsonl
    Poll,
    /// The output of status --format json
    Status,
    /// The output of tags --format json
    Tags,
    /// The output of history --format json
    History,
}

/// Whether tagship itself has a command of this name.
fn is_command(name: &str) -> bool {
    Cli::command().find_subcommand(name).is_some()
}

// clap requires a parser that can fail.
#[allow(clippy::unnecessary_wraps, reason = "the signature of a value parser")]
fn pattern(text: &str) -> Result<TargetPattern, std::convert::Infallible> {
    Ok(TargetPattern::new(text))
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text)
        .ok_or_else(|| format!("expected a duration such as 90s, 5m, 1h 30m or 7d, found {text:?}"))
}

#[cfg(test)]
mod tests;
