//! tagship ships new container image tags to the stages that wait for them.
//!
//! `main` parses the arguments, calls the command, prints a fatal error, and exits.

mod cli;
mod command;
mod config;
mod deploy;
mod feed;
mod init;
mod monitor;
mod plan;
mod policy;
mod poll;
mod reference;
mod registry;
mod report;
mod schedule;
mod secret;
mod store;
mod target;
mod transport;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use command::Exit;
use report::Console;

fn main() -> ExitCode {
    match command::complete() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            Console::new().error(&format!("{error:#}"));
            return ExitCode::from(Exit::Unusable.status());
        }
    }
    let Cli { global, command } = Cli::parse();
    Console::set_color(command::color(global.color));
    let result = match command {
        Command::Poll(arguments) => command::poll(&global, &arguments),
        Command::Status(arguments) => command::status(&global, &arguments),
        Command::Check(arguments) => command::check(&global, &arguments),
        Command::Tags(arguments) => command::tags(&global, &arguments),
        Command::Deploy(arguments) => command::deploy(&global, &arguments),
        Command::Mark(arguments) => command::mark(&global, &arguments),
        Command::History(arguments) => command::history(&global, &arguments),
        Command::Retry(arguments) => command::retry(&global, &arguments),
        Command::Hold(arguments) => command::hold(&global, &arguments),
        Command::Release(arguments) => command::release(&global, &arguments),
        Command::Login(arguments) => command::login(&global, &arguments),
        Command::Logout(arguments) => command::logout(&global, &arguments),
        Command::Init(arguments) => command::init(&global, &arguments),
        Command::Schedule(arguments) => command::schedule(&global, &arguments),
        Command::Generate(arguments) => command::generate(&arguments),
    };
    let exit = result.unwrap_or_else(|error| {
        Console::new().error(&format!("{error:#}"));
        Exit::Unusable
    });
    ExitCode::from(exit.status())
}
