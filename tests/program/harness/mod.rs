//! What the tests start and talk to: the real program, fake platforms, disks to fill.
//!
//! `setup.rs` (how a bot is started), `bot.rs` (its processes), `client.rs` (HTTP), `api.rs` (fake
//! APIs of the platforms), `queues.rs` (their half that gives updates), `fake/` (their half that
//! posts them), `telegram.rs` (what Telegram posts), `engine.rs` (databases), `certificate.rs`
//! and `front.rs` (HTTPS), `pebble.rs` (ACME), `small_disk.rs` (a disk to fill),
//! `systemd.rs` (systemd with units of ours), `load.rs` (traffic whose every request is accounted
//! for). No tests here.

pub(crate) mod api;
pub(crate) mod bot;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod engine;
pub(crate) mod fake;
pub(crate) mod load;
pub(crate) mod pebble;
pub(crate) mod proc;
pub(crate) mod programs;
pub(crate) mod queues;
pub(crate) mod setup;
pub(crate) mod small_disk;
pub(crate) mod systemd;
pub(crate) mod telegram;

#[path = "../../servers/front.rs"]
pub(crate) mod front;

#[path = "../../../storage/tests/common/server.rs"]
pub(crate) mod server;
