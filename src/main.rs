//! tagship deploys new container image tags to the stages that wait for them.
//!
//! `main` parses the arguments, calls the command, prints a fatal error, and exits.
//!
//! # Words
//!
//! - *target*: a project and a stage, `shop/dev`. Its *rule* defines the allowed tags and their order.
//! - *snapshot*: the tags that a registry listed for a repository at one moment.
//! - *candidate*: a tag that the rule allows; *high-water*: the newest tag that the target ever received.
//! - *verdict*: the result of a decision for one tag, with the reason.
//! - *gate*: a condition before a candidate is deployed; a *hold* stops all automatic deployments of a target.
//! - *baseline*: the newest tag at the first poll. It is not deployed.
//! - *given*: a tag that was deployed, marked, or found by a first poll.
//! - *deployment*: one tag and digest for one target, under one ID; *planned*, then *attempted* until it succeeds or
//!   tagship *gives up* (`dead`).
//! - *trigger*: what started a deployment: poll, manual, mark, probe, rollback; *probe*: the `running` key.
//! - *recheck*: the last check before a deployment starts, under the target's lock.
//! - *outbox*: notifications that are recorded with the change they report, and sent later.
//! - *version*: a number that every change of a target's state raises; *sequence*: the version at which an attempt or a
//!   deployment last changed. They give the order, because clocks are set.
//! - *round*: a poll whose time many unchanged targets share.
//!
//! # Modules
//!
//! Data flows in one direction, and no module imports from one above it:
//!
//! ```text
//! main          parse arguments, call the command, exit
//! command/      one file per subcommand
//! cli           clap definitions only; man/ is rendered from them
//! run/          a run: targets -> listings -> decisions -> deployments -> events
//! report/       events and summary as human text, json, jsonl, github; status, history, tags; the page
//! monitor       metrics_file            schedule/  timers and jobs       init  the first configuration
//! store/        SQLite: states, deployments, attempts, feeds, notifications; migrations; locks
//! deploy/       steps: commands, requests, probes, notifications; placeholders, signing
//! registry/     one file per kind of server; shared: requests, answers, lists
//! secret/       sources of credentials, and what they mask
//! config/       the file as written -> validated targets, or every error at once
//! http/         requests of registries and endpoints: TLS, proxies, names, bounded answers, Retry-After
//! program       checks that programs can run
//! file          reads and replaces files at paths that the user gave
//! process       commands as process groups; processes left by a deployment
//! stop          the end of a run: signals, a deadline
//! ---- pure: no HTTP, SQLite, clock, environment, printing ----
//! engine/       decide(): selection + state + facts + now -> Decision; transition(); reported changes;
//!               feed: the repositories of an owner that may have a new tag
//! images        tables with `images`: the projects and their names
//! webhook/      the images in a webhook's payload, and the proof that the sender knows the secret
//! mask/         secrets in text, and text from outside, which is masked before it is shown
//! target/       a project/stage, its gates, steps and templates
//! policy/       filter, order, select
//! reference     Repository, Tag, Digest, ImageRef, Listing
//! ```
//!
//! A poll, step by step: `config::load` returns targets. `engine::feed` tells `run::job` the repositories that may have
//! a new tag, and `registry` lists them. `policy` selects, `engine::decide` decides, and `run::record` records the
//! decision, or repeats it if the state has changed. `run::deliver` takes the target's lock, `run::recheck` checks once
//! more, `deploy` acts, `run::outcome` records the outcome, and `report` prints it. Tables with `images` need rounds:
//! `run::images` lists the owners' images, `Config::take_in` makes targets of them, and the next round polls the new
//! targets.
//!
//! A test reads this picture and the imports (`tests/it/documents.rs`). Clippy enforces what a module may touch
//! (`clippy.toml`, `[lints]` in `Cargo.toml`): one that uses the clock, files, processes or the network has an exception
//! at its top, with the reason.

mod cli;
mod command;
mod config;
mod deploy;
mod engine;
mod file;
mod http;
mod images;
mod init;
mod mask;
mod monitor;
mod policy;
mod process;
mod program;
mod reference;
mod registry;
mod report;
mod run;
mod schedule;
mod secret;
mod stop;
mod store;
mod target;
mod webhook;

use std::process::ExitCode;

use cli::{Cli, Command};
use command::Exit;
use report::Console;

fn main() -> ExitCode {
    command::survive_file_size_limit();
    let console = Console::new();
    match command::complete() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            console.error(&format!("{error:#}"));
            return ExitCode::from(Exit::Unusable.status());
        }
    }
    let Cli { global, command } = cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    Console::set_color(command::color(global.color));
    let console = console.with_options(&command::typed_options(&global));
    let result = command::require_memory().and_then(|()| match command {
        Command::Poll(arguments) => command::poll(&global, &arguments, &console),
        Command::Status(arguments) => command::status(&global, &arguments, &console),
        Command::Check(arguments) => command::check(&global, &arguments, &console),
        Command::Tags(arguments) => command::tags(&global, &arguments, &console),
        Command::Deploy(arguments) => command::deploy(&global, &arguments, &console),
        Command::Rollback(arguments) => command::rollback(&global, &arguments, &console),
        Command::Mark(arguments) => command::mark(&global, &arguments, &console),
        Command::History(arguments) => command::history(&global, &arguments, &console),
        Command::Retry(arguments) => command::retry(&global, &arguments, &console),
        Command::Hold(arguments) => command::hold(&global, &arguments, &console),
        Command::Release(arguments) => command::release(&global, &arguments, &console),
        Command::Login(arguments) => command::login(&global, &arguments, &console),
        Command::Logout(arguments) => command::logout(&global, &arguments, &console),
        Command::Init(arguments) => command::init(&global, &arguments, &console),
        Command::Schedule(arguments) => command::schedule(&global, &arguments, &console),
        Command::Generate(arguments) => command::generate(&arguments, &console),
    });
    let mut exit = result.unwrap_or_else(|error| {
        console.fatal(&error);
        Exit::by(&error)
    });
    if let (Exit::Done | Exit::Changed, Some(error)) = (exit, console.lost()) {
        console.error(&format!("cannot write to standard output: {error}"));
        exit = Exit::Failed;
    }
    ExitCode::from(exit.status())
}
