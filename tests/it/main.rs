//! The binary from outside: what a run prints, sends, starts, remembers and exits with.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests make files, processes, servers and clocks of their own, and fail by panicking"
)]

mod by_hand;
mod configuration;
mod credentials;
mod docker_registry;
mod endpoint;
mod failed_deployment;
mod failing_registry;
mod first_poll;
mod first_try;
mod formats;
mod gates;
mod generated;
mod harness;
mod http;
mod interrupted;
#[cfg(feature = "keyring")]
mod keyring;
mod kinds;
mod leak;
mod login;
mod mark;
mod new_tag;
mod oci;
mod oci_pages;
mod registry;
mod run;
mod selection;
mod stand_ins;
mod state;
mod status;
mod tags;
mod transcript;
