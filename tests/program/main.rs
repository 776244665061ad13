//! Tests of the whole program: each starts the real thing, talks to it over the
//! network, and kills what is to be killed.
//!
//! The harness: `bot.rs` (processes), `client.rs` (HTTP), `telegram.rs` (a fake Bot
//! API). The tests, by subject: everything else.

#![allow(clippy::unwrap_used)]

mod bot;
mod client;

mod accept;
mod dedupe;
mod hang_up;
mod order;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
#[path = "../../storage/tests/common/postgres.rs"]
mod server;
mod slow;
