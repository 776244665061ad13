//! Processes that are really killed, and a disk that is really full.
//!
//! | file | what |
//! | --- | --- |
//! | `processes.rs` | the processes that are killed: this binary, started again |
//! | `ledger.rs` | turns of many kinds, and what is known of them |
//! | `writer.rs`, `inbox.rs`, `relays.rs`, `broadcasts.rs` | a writer is killed, again and again |
//! | `clients.rs` | a client is killed, or everything |
//! | `disk.rs` | the disk is full |

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod broadcasts;
mod clients;
mod disk;
mod inbox;
mod ledger;
mod processes;
mod relays;
mod writer;
