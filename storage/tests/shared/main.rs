//! One file for any number of processes: [`turnkey_storage::Database::open`].
//!
//! | file | what |
//! | --- | --- |
//! | `calls.rs` | what each call promises |
//! | `model.rs` | any calls, against a model of them |
//! | `others.rs` | programs that write past us, and files that are not ours |
//! | `processes.rs` | this binary again, for what another process does |
//! | `kills.rs` | any process is killed, again and again |

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod kills;
mod model;
mod others;
mod processes;
