//! What every engine promises, as one list of cases that runs on each of them.
//!
//! A case is an async function that gets an [`engine::Engine`]: an empty database that any
//! number of clients can be opened on, each as another owner, as if from another process. To
//! add an engine, implement the trait and name it in `on_every_engine!` (both in `engine.rs`).
//! To add a case, write the function and name it at the end of its file.
//!
//! | file | cases about |
//! | --- | --- |
//! | `turns.rs` | what a turn reads and leaves |
//! | `locks.rs` | whose turn it is |
//! | `dedupe.rs` | updates that come twice |
//! | `statements.rs` | SQL of the author's |
//! | `unsent.rs` | replies that are not sent yet |
//! | `crowds.rs` | many turns at once |
//! | `keeping/` | what a database keeps beside turns |

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[macro_use]
mod engine;
mod crowds;
mod dedupe;
mod keeping;
mod locks;
mod statements;
mod steps;
mod turns;
mod unsent;
