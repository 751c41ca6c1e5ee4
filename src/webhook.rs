//! Webhooks that wake a poll: which images a payload names, and whether its sender knows the secret. Pure.

mod payload;
mod proof;

pub(crate) use payload::{PushedImage, pushed};
pub(crate) use proof::Proof;
