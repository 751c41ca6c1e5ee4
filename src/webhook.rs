//! Webhooks that start a poll: the images in a payload, and the proof that its sender knows the secret. Pure.

mod payload;
mod proof;

pub(crate) use payload::{PushedImage, pushed};
pub(crate) use proof::Proof;
