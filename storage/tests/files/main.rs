//! What surrounds the turns of the SQLite engine.
//!
//! | file | what |
//! | --- | --- |
//! | `opening.rs` | files are made, prepared again, migrated |
//! | `refused.rs` | files that are not opened |
//! | `log.rs` | idleness, and a write-ahead log that stays short |
//! | `statements.rs` | the author's statements: all or none, endless, many |
//! | `peers.rs` | sockets in deep directories, and peers that talk nonsense |
//! | `processes.rs` | this binary again, for what another process does |

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod log;
mod opening;
mod peers;
mod processes;
mod refused;
mod statements;
