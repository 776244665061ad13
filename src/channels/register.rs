//! Platforms that can be told where to post updates.
//!
//! Called by `updaters/registration.rs`, which knows when; the calls are in `telegram/api.rs`,
//! `viber/api.rs` and `vk/api.rs`. On Facebook only the app's owner can enter an address: a
//! line at the start says what to enter (`operator/banner.rs`).

use std::future::Future;
use std::pin::Pin;

use super::poll::PollError;
use crate::shared::pacing::Pace;

/// Where a platform is to post.
pub(crate) struct Webhook {
    pub(crate) url: String,
    /// What all workers know of the channel.
    pub(crate) pace: Pace,
}

pub(crate) type Registered<'a> = Pin<Box<dyn Future<Output = Result<(), PollError>> + 'a>>;

/// A platform that can be told.
pub(crate) trait Register {
    /// Its channel.
    fn channel(&self) -> &'static str;

    /// Its name, for people.
    fn platform(&self) -> &'static str;

    /// Tells it. May be called again with the same webhook.
    fn register<'a>(&'a self, webhook: &'a Webhook) -> Registered<'a>;
}
