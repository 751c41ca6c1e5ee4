//! The binary from outside: what a run prints, sends, starts, remembers and exits with.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests make files, processes, servers and clocks of their own, and fail by panicking"
)]

mod addresses;
mod authentication;
mod by_hand;
mod commands_typed;
mod completion;
mod configuration;
mod configuration_schema;
mod connecting;
mod credentials;
mod cron_mail;
mod deployable;
mod disaster;
mod docker_registry;
mod ending;
mod endpoint;
mod examples;
mod failed_deployment;
mod failing_registry;
mod feed;
mod first_poll;
mod first_seen;
mod first_try;
mod formats;
mod gates;
mod generated;
mod github;
mod guarantees;
mod harness;
mod help;
mod history;
mod http;
mod init;
mod interrupted;
#[cfg(feature = "keyring")]
mod keyring;
mod kinds;
mod leak;
mod limits;
mod locked_state;
mod login;
mod mark;
mod mistakes;
mod monitoring;
mod new_tag;
mod newcomer;
mod notify;
mod notify_examples;
mod oci;
mod oci_pages;
mod odd_files;
mod odd_state;
mod one_target;
mod online;
mod orphans;
mod overlap;
mod own_gates;
mod page;
mod process_limits;
mod progress;
mod proxy;
mod questions;
mod quirks;
mod registry;
mod requests;
mod restore;
mod retry;
mod rolled_back;
mod run;
mod running;
mod schedule;
mod schema;
mod screen;
mod secrets;
mod selection;
mod several_states;
mod shard;
mod soak;
mod stand_ins;
mod state;
mod state_folder;
mod state_place;
mod status;
mod sweep;
mod tags;
mod tls;
mod tracer;
mod transcript;
mod transport;
mod webhook;
mod webhook_examples;
