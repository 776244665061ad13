//! The PostgreSQL engine: one server, any number of boxes.
//!
//! | file | what |
//! | --- | --- |
//! | `server.rs` `parameters.rs` `tls.rs` | the address, and how a connection is made |
//! | `session.rs` | the settings of each session |
//! | `schema.sql` `functions.sql` `alone.sql` … `schema.rs` | tables, the SQL of a turn, migrations |
//! | `keeper.rs` | one connection that shows that this process is alive |
//! | `wire.rs` | one phase of many turns on a connection |
//! | `author.rs` `sql.rs` `values.rs` | the author's own statements and queries |
//! | `text.rs` | texts that PostgreSQL cannot hold as they are |
//! | `errors.rs` | what a failure means for the caller |
//! | `inspect.rs` | dump and check |
//! | `copy/` | its side of a move to or from another database |
//!
//! What it has in common with other servers' engines is in `crate::lanes`.
//!
//! To use it, call [`Server::parse`] on its address; [`prepare`] once at each start, on as many
//! boxes as you like; [`connect`] in every process that takes turns.
//!
//! No connection is held while a handler runs: a lock is a row, taken in one short transaction
//! and released in another. So thousands of turns can be in flight on [`DEFAULT_POOL`]
//! connections. The process that holds a row shows that it is alive with an advisory lock of
//! its session (noticed within half a second when the process is killed) and a lease of
//! [`DEFAULT_LEASE`] (for a box that vanishes). A commit under a lock that was freed meanwhile
//! is refused.

mod author;
mod copy;
mod errors;
mod inspect;
mod keeper;
mod parameters;
mod schema;
mod server;
mod session;
mod sql;
mod text;
mod tls;
mod values;
mod wire;

use std::sync::Arc;

pub use copy::{CopyDatabase, copy_source, copy_target};
pub use inspect::{check, dump};
pub use schema::prepare;
pub use server::Server;

pub use crate::lanes::ServerStorage as PostgresStorage;
pub use crate::lanes::bounds::{DEFAULT_LEASE, DEFAULT_POOL, MAX_POOL};
use crate::lanes::{lane, new_owner, shared::Shared};
use crate::{Result, Sync};

/// Connects this process. To be called in a tokio runtime, after any fork. It
/// returns at once: calls wait until the server is there, or say that it is not.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable) when the kernel gives no random
/// bytes.
pub fn connect(server: &Server, sync: Sync) -> Result<PostgresStorage> {
    let (shared, queues) = Shared::new("PostgreSQL", new_owner()?, server.lanes());
    let keeper = tokio::spawn(keeper::run(server.clone(), sync, Arc::downgrade(&shared)));
    for queue in queues {
        let connect = wire::Lanes {
            server: server.clone(),
            sync,
        };
        let up = shared.up.subscribe();
        tokio::spawn(lane::run(connect, Arc::downgrade(&shared), up, queue));
    }
    let author = author::Author::new(server.clone(), sync);
    Ok(PostgresStorage::new(shared, Box::new(author), keeper))
}
