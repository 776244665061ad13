//! Tests of the whole program: each starts the real thing, talks to it over the
//! network, and kills what is to be killed.
//!
//! The harness: `bot.rs` (processes), `client.rs` (HTTP), `api.rs` (fake APIs of the
//! platforms), `telegram.rs` (what Telegram posts). The tests, by subject: everything else.

#![allow(clippy::unwrap_used)]

mod api;
mod bot;
mod client;
mod telegram;

mod accept;
#[cfg(feature = "bench")]
mod bench;
mod command_line;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod copy;
mod crash;
mod dedupe;
mod disk;
mod handler;
mod hang_up;
mod inbox;
mod input;
mod layers;
mod order;
mod platforms;
mod poison;
mod replies;
#[cfg(all(feature = "mysql", feature = "postgres"))]
#[path = "../../storage/tests/common/server.rs"]
mod server;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod servers;
mod single;
mod slow;
mod start;
mod stop;
