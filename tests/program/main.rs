//! Tests of the whole program: each starts the real thing, talks to it over the
//! network, and kills what is to be killed.
//!
//! The harness: `bot.rs` (processes), `client.rs` (HTTP), `api.rs` (fake APIs of the
//! platforms), `telegram.rs` (what Telegram posts), `load.rs` (traffic whose every request
//! is accounted for). The tests, by subject: everything else.

#![allow(clippy::unwrap_used)]

mod api;
mod bot;
mod client;
mod load;
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
#[cfg(feature = "drill")]
mod drill;
mod handler;
mod hang_up;
mod input;
mod layers;
mod order;
mod platforms;
mod reload;
mod replies;
#[cfg(all(feature = "mysql", feature = "postgres"))]
#[path = "../../storage/tests/common/server.rs"]
mod server;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod servers;
mod signals;
mod single;
mod slow;
mod start;
mod startup;
mod stop;
mod supervise;
mod systemd;
mod upgrade;
