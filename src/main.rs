//! tagship ships new container image tags to the stages that wait for them.

mod config;
mod deploy;
mod plan;
mod policy;
mod reference;
mod registry;
mod secret;
mod store;
mod target;

fn main() {}
