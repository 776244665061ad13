//! One file for any number of processes: [`turnkey_storage::Database::open`].
//!
//! | file | what |
//! | --- | --- |
//! | `place.rs` | the file that most of them work at |
//! | `writes.rs` | what a write promises |
//! | `transactions.rs` | what a transaction promises |
//! | `leaving.rs` | the writer leaves, and no call fails |
//! | `model.rs` | any calls, against a model of them |
//! | `others.rs` | programs that write past us, and files that are not ours |
//! | `processes.rs` | this binary again, for what another process does |
//! | `kills.rs` | any process is killed, again and again |

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod kills;
mod leaving;
mod model;
mod others;
mod place;
mod processes;
mod transactions;
mod writes;
