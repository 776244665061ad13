//! Tests of the whole program: each starts the real thing, talks to it over the
//! network, and kills what is to be killed.
//!
//! The harness: `bot.rs` (processes), `client.rs` (HTTP), `api.rs` (fake APIs of the
//! platforms), `queues.rs` (their half that gives updates), `fake/` (their half that
//! posts them), `telegram.rs` (what Telegram posts), `engine.rs` (databases), `certificate.rs` (HTTPS), `pebble.rs` (ACME),
//! `small_disk.rs` (a disk to fill), `load.rs`
//! (traffic whose every request is accounted for). The tests, by subject: everything else.

#![allow(clippy::unwrap_used)]

mod api;
mod bot;
mod certificate;
mod client;
mod engine;
mod fake;
mod load;
mod pebble;
mod queues;
mod small_disk;
mod telegram;

mod accept;
mod accounts;
mod acme;
mod admin;
mod admin_docs;
mod backup;
mod bad_pair;
mod bench;
mod booking;
mod browser;
mod called;
mod command_line;
mod copy;
mod crash;
mod custom;
mod day;
mod dead_replies;
mod dedupe;
mod descriptors;
mod disk;
mod drill;
mod edits;
mod emulator;
mod handler;
mod hang_up;
mod https;
mod inbox;
mod input;
mod late_ride;
mod layers;
mod litestream;
mod log_lines;
mod log_reader;
mod matrix;
mod metrics;
mod new;
mod nginx;
mod nohup;
mod odd;
mod operator;
mod order;
mod output;
mod pacing;
mod packaging;
mod pem;
mod platform_proxy;
mod platforms;
mod poison;
mod polling;
mod privileges;
mod prose;
mod proxy;
mod rates;
mod read_only;
mod refusals;
mod registration;
mod reload;
mod replies;
mod resent;
mod rpc;
mod secrets;
mod security;
#[path = "../../storage/tests/common/server.rs"]
mod server;
mod servers;
mod signals;
mod single;
mod slow;
mod soak;
mod start;
mod startup;
mod stop;
mod supervise;
mod systemd;
mod taken;
mod tickets;
mod token;
mod top;
mod topics;
mod unix;
mod unreadable;
mod unwell;
mod upgrade;
mod upgrade_command;
