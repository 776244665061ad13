//! What the engines for database servers have to show: they outlive their server, notice
//! processes that die or freeze, and say what is wrong with an address.
//!
//! | file | what |
//! | --- | --- |
//! | `processes.rs` | the processes: this test binary, started again |
//! | `alone.rs` | turns that travel alone |
//! | `lives.rs` | processes and servers that go and come back |
//! | `databases.rs` | what is in a database, on both kinds of server |
//! | `postgres_only.rs`, `mysql_only.rs` | what is one engine's own |

#![cfg(all(feature = "mysql", feature = "postgres"))]
#![allow(clippy::unwrap_used)]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod alone;
mod databases;
mod lives;
mod mysql_only;
mod postgres_only;
mod processes;
