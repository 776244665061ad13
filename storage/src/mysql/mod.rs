//! The MySQL engine: one server, MySQL or MariaDB, and any number of boxes.
//!
//! | file | what |
//! | --- | --- |
//! | `server.rs` | the address, and how a connection is made |
//! | `session.rs` | the settings of each session |
//! | `conn.rs` `literal.rs` | many statements in one round trip, and their rows |
//! | `schema.sql` `replies.sql` `marks.sql` `schema.rs` | tables, migrations |
//! | `calls.rs` | a lane's connection |
//! | `wire.rs` | one phase of many turns on it |
//! | `alone.rs` | the same for one turn, in fewer statements |
//! | `writing.rs` `known.rs` | its writes and its reads |
//! | `handing_over.rs` | locks that go to the next in line |
//! | `keeper.rs` | one connection that shows that this process is alive |
//! | `author.rs` `sql.rs` `values.rs` | the author's own statements and queries |
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
//! connections. The process that holds a row shows that it is alive with a named lock of its
//! session (noticed within half a second when the process is killed) and a lease of
//! [`DEFAULT_LEASE`] (for a box that vanishes). A commit under a lock that was freed meanwhile
//! is refused.
//!
//! How durable an acknowledged commit is, is a setting of the whole server: [`Sync::Full`]
//! needs `innodb_flush_log_at_trx_commit=1` (and, with a binary log, `sync_binlog=1`), which
//! [`prepare`] checks. [`Sync::Normal`] accepts any setting: 2 survives the death of the
//! server's process, 0 may lose the last second. Taking a lock is as durable as a commit, since
//! a session cannot choose otherwise.

mod alone;
mod author;
mod calls;
mod conn;
mod copy;
mod errors;
mod handing_over;
mod inspect;
mod keeper;
mod known;
mod literal;
mod schema;
mod server;
mod session;
mod sql;
mod values;
mod wire;
mod writing;

use std::sync::Arc;

pub use copy::{CopyDatabase, copy_source, copy_target};
pub use inspect::{check, dump};
pub use schema::prepare;
pub use server::Server;

pub use crate::lanes::ServerStorage as MysqlStorage;
pub use crate::lanes::bounds::{DEFAULT_LEASE, DEFAULT_POOL, MAX_POOL};
use crate::lanes::{lane, new_owner, shared::Shared};
use crate::{Result, Sync};

/// Connects this process. To be called in a tokio runtime, after any fork. It
/// returns at once: calls wait until the server is there, or say that it is not.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable) when the kernel gives no random
/// bytes.
pub fn connect(server: &Server, sync: Sync) -> Result<MysqlStorage> {
    let (shared, queues) = Shared::new("MySQL", new_owner()?, server.lanes());
    let keeper = tokio::spawn(keeper::run(server.clone(), sync, Arc::downgrade(&shared)));
    for queue in queues {
        let connect = calls::Lanes {
            server: server.clone(),
            shared: Arc::downgrade(&shared),
        };
        let up = shared.up.subscribe();
        tokio::spawn(lane::run(connect, Arc::downgrade(&shared), up, queue));
    }
    let author = author::Author::new(server.clone(), Arc::downgrade(&shared));
    Ok(MysqlStorage::new(shared, Box::new(author), keeper))
}
