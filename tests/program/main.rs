//! Tests of the whole program: each starts the real thing, talks to it over the
//! network, and kills what is to be killed.
//!
//! The harness: `bot.rs` (processes), `client.rs` (HTTP), `telegram.rs` (a fake Bot
//! API). The tests, by subject: everything else.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // The harness knows more than these tests use.
mod bot;
#[allow(dead_code)]
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
