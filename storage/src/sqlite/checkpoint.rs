//! When the write-ahead log is copied into the database.
//!
//! Called by [`super::writer`], on its own connection, after it has answered:
//! one connection commits and checkpoints, and nobody else ever does. A second
//! connection that checkpoints lets the log grow without end or stalls it for
//! seconds. PASSIVE in operation: it copies what no reader needs any more and
//! waits for nobody; once all is copied, the next commit starts the log anew.

use std::cell::Cell;

use rusqlite::{Connection, ErrorCode};

use super::pragmas::CHECKPOINT_BYTES;

thread_local! {
    /// Pages in the log after this thread's last commit. The hook is a plain
    /// function, so it has nowhere else to leave them.
    static LOG_PAGES: Cell<u64> = const { Cell::new(0) };
}

pub(crate) struct Checkpointer {
    page_size: u64,
    /// Bytes of log at which the next one is due.
    due: u64,
    /// Bytes of log when it was last looked at.
    last: u64,
}

impl Checkpointer {
    pub(crate) fn new(conn: &Connection) -> rusqlite::Result<Self> {
        LOG_PAGES.set(0); // An earlier writer may have run on this thread.
        conn.wal_hook(Some(|_, pages| {
            LOG_PAGES.set(pages.unsigned_abs().into());
            Ok(())
        }));
        Ok(Checkpointer {
            page_size: conn
                .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?
                .into(),
            due: CHECKPOINT_BYTES,
            last: 0,
        })
    }

    /// Bytes of log after the last commit.
    pub(crate) fn log_bytes(&self) -> u64 {
        LOG_PAGES.get() * self.page_size
    }

    /// Copies the log if it is due. Returns whether it did. A full disk only puts
    /// it off: what is in the log is safe there.
    ///
    /// # Errors
    /// A failed write or sync: the caller must stop using the connection.
    pub(crate) fn run_if_due(&mut self, conn: &Connection) -> rusqlite::Result<bool> {
        let size = self.log_bytes();
        if size < std::mem::replace(&mut self.last, size) {
            self.due = CHECKPOINT_BYTES; // The log began anew.
        }
        if size < self.due {
            return Ok(false);
        }
        // While a reader keeps the log from beginning anew: again when as much
        // again was written, not at every commit.
        self.due = size + CHECKPOINT_BYTES;
        match checkpoint(conn, "PASSIVE") {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                tracing::error!("the disk is full: the log cannot be copied into the database");
                Ok(false)
            }
            copied => copied.map(|()| true),
        }
    }

    /// Copies everything and empties the log, at the very end.
    pub(crate) fn finish(conn: &Connection) -> rusqlite::Result<()> {
        match checkpoint(conn, "TRUNCATE") {
            // The next start copies it.
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok(()),
            done => done,
        }
    }
}

fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<()> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}
