//! Power cuts: what a disk may hold when the power fails, at any moment.
//!
//! Killing every process is no power cut, since the kernel goes on to write what they have
//! written. Here a process is recorded (every write, sync and change of a name), and images of
//! the disk are made of what was synced by some moment and any part of the rest.
//!
//! | file | what |
//! | --- | --- |
//! | `record.c` | a library that is loaded before the C library, and logs |
//! | `recorder.rs` | compiles it, runs a process with it, reads the log |
//! | `disk.rs` | what the disk may hold at a moment |
//! | `session.rs` | what is recorded: a bot's life |
//! | `promised.rs` | what it was promised, and whether an image holds it |
//! | `library.rs` | both for a database that processes share without a program that starts them |
//! | `cuts.rs` | the tests |

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod cuts;
mod disk;
mod library;
mod promised;
mod recorder;
mod session;
