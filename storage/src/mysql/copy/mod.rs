//! MySQL's side of a copy: reads a database that no bot uses, or fills one.
//!
//! Called by [`crate::copy`]. One connection does everything. Its session holds the named lock
//! [`COPYING`]. Named locks cannot be shared, so the copy and the processes that take turns
//! check for each other: the copy takes its lock, then looks for a live registered process; a
//! process registers, then looks whether that lock is taken. If both start at once, one sees
//! the other and gives up.
//!
//! A source is read in one transaction with a consistent snapshot; its rows come as a stream
//! with back-pressure. They are written with INSERTs of [`MAX_STATEMENT`] bytes, or one row if
//! it is larger, in a transaction for each batch; the mark makes the whole copy atomic. Foreign
//! keys are checked when all rows are there.
//!
//! A value that is not a number, text or bytes travels as the server's text for it (times in
//! UTC), which converts back exactly.

mod inserts;
mod references;
mod rows;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use self::inserts::Inserts;
use super::conn::{Conn, Tried};
use super::errors::{self, Failed};
use super::keeper::SKIPPED;
use super::literal::Sql;
use super::writing::FENCES;
use super::{Server, schema};
use crate::copy::{self, CopySource, CopyTarget, MARK, Rows, Table};
use crate::lanes::wire::Failure;
use crate::{BoxFuture, Error, Fence, OpenError, Remedy, Result};

/// The named lock of whoever copies.
const COPYING: &str = "LEFT(CONCAT('turnkey_copying_',DATABASE()),64)";

/// The server misses a process that has ended a moment later.
const LEAVING: Duration = Duration::from_secs(3);

/// Bytes of an INSERT, unless the server takes less.
const MAX_STATEMENT: usize = 1 << 20;

/// Texts of one form, whatever the settings of the server are, and time for a table to be
/// read by the other side; a 0 in an AUTO_INCREMENT column is one.
const SETTINGS: &str = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO'),
        time_zone = '+00:00', foreign_key_checks = 0, wait_timeout = 86400,
        net_read_timeout = 86400, net_write_timeout = 86400;
    SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";

/// A database that is open for a copy.
pub struct CopyDatabase {
    server: Server,
    conn: Arc<Mutex<Conn>>,
    /// What tells whether turns were committed; of a source.
    trace: Option<Trace>,
}

/// Every commit adds to the first, every reply that is sent takes from the second.
type Trace = (u64, u64);

impl std::fmt::Debug for CopyDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CopyDatabase({})", self.server)
    }
}

/// Opens a database to copy from, and keeps every bot from using it.
///
/// # Errors
/// [`Error::Open`] when it is not ours, or a bot uses it.
pub async fn copy_source(server: &Server) -> Result<CopyDatabase> {
    let mut conn = open(server).await?;
    let fail = |e: Failed| errors::open(server, &e);
    if let Some(problem) = schema::problem(&mut conn).await.map_err(fail)? {
        return Err(Error::open(format!("cannot read {server}: {problem}")));
    }
    conn.run(&Sql::new(
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ))
    .await
    .map_err(fail)?;
    let trace = trace(&mut conn).await.map_err(fail)?;
    Ok(CopyDatabase {
        server: server.clone(),
        conn: Arc::new(Mutex::new(conn)),
        trace: Some(trace),
    })
}

/// Takes a database to copy into, and keeps every bot from using it.
///
/// # Errors
/// [`Error::Open`] when it cannot be reached, or a bot uses it.
pub async fn copy_target(server: &Server) -> Result<CopyDatabase> {
    Ok(CopyDatabase {
        server: server.clone(),
        conn: Arc::new(Mutex::new(open(server).await?)),
        trace: None,
    })
}

async fn open(server: &Server) -> Result<Conn> {
    let mut conn = schema::connect(server).await?;
    let fail = |e: Failed| errors::open(server, &e);
    conn.run(&Sql::new(SETTINGS)).await.map_err(fail)?;
    if !take(&mut conn).await.map_err(fail)? {
        return Err(Error::Open(
            OpenError::new(format!(
                "{server} is in use by a running bot, or by another copy"
            ))
            .remedy("stop all of them, on every box, then copy"),
        ));
    }
    Ok(conn)
}

/// Takes [`COPYING`] where nobody takes turns, waiting for those that are about to
/// leave. It is not held meanwhile: that would stop a bot for a copy that is refused.
async fn take(conn: &mut Conn) -> Tried<bool> {
    let deadline = Instant::now() + LEAVING;
    let lock = format!("SELECT COALESCE(GET_LOCK({COPYING},0),0)");
    loop {
        if schema::count(conn, &lock).await? == 1 {
            if !is_used(conn).await? {
                return Ok(true);
            }
            conn.run(&Sql::new(&format!("DO RELEASE_LOCK({COPYING})")))
                .await?;
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LEAVING / 100).await;
    }
}

/// Whether a process that takes turns lives.
async fn is_used(conn: &mut Conn) -> Tried<bool> {
    if !schema::exists(conn, "turnkey_owner").await? {
        return Ok(false);
    }
    let alive =
        "SELECT COUNT(*) FROM turnkey_owner WHERE NOT IS_FREE_LOCK(CONCAT('turnkey_',owner))";
    Ok(schema::count(conn, alive).await? > 0)
}

/// Whether somebody copies the database, or tries to.
pub(super) async fn is_copying(conn: &mut Conn) -> Tried<bool> {
    let free = format!("SELECT IS_FREE_LOCK({COPYING})");
    Ok(schema::count(conn, &free).await? == 0)
}

/// Why no bot may use the database now, if it may not.
pub(super) async fn obstacle(conn: &mut Conn) -> Tried<Option<&'static str>> {
    let deadline = Instant::now() + LEAVING;
    while is_copying(conn).await? {
        if Instant::now() >= deadline {
            return Ok(Some(copy::UNDER_WAY));
        }
        tokio::time::sleep(LEAVING / 100).await;
    }
    Ok(is_unfinished(conn).await?.then_some(copy::UNFINISHED))
}

/// Whether a copy into the database was begun and not finished.
pub(super) async fn is_unfinished(conn: &mut Conn) -> Tried<bool> {
    schema::exists(conn, MARK).await
}

async fn trace(conn: &mut Conn) -> Tried<Trace> {
    Ok((
        schema::count(conn, "SELECT COUNT(*) FROM turnkey_seen").await?,
        schema::count(conn, "SELECT COUNT(*) FROM turnkey_outbox").await?,
    ))
}

impl CopyDatabase {
    fn fail(&self, error: &Failed) -> Error {
        match error.code() {
            Some(1021 | 1114) => Error::Full,
            _ => errors::open(&self.server, error),
        }
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        let done = self.conn.lock().await.run(&Sql::new(sql)).await;
        done.map(drop).map_err(|e| self.fail(&e))
    }

    async fn number(&self, sql: &str) -> Result<u64> {
        let number = schema::count(&mut *self.conn.lock().await, sql).await;
        number.map_err(|e| self.fail(&e))
    }

    /// The table's name as the server has it: SQLite's names have no case.
    async fn find(&self, table: &str) -> Result<Option<String>> {
        let found = rows::find(&mut *self.conn.lock().await, table).await;
        found.map_err(|e| self.fail(&e))
    }

    async fn rows_of(&self, table: &str) -> Result<Option<u64>> {
        let Some(name) = self.find(table).await? else {
            return Ok(None);
        };
        let sql = format!("SELECT COUNT(*) FROM {}", rows::quoted(&name));
        self.number(&sql).await.map(Some)
    }

    async fn start(&self, author: &[String], tables: &[String]) -> Result<()> {
        let wanted = || copy::our_tables().chain(tables.iter().map(String::as_str));
        let unfinished = is_unfinished(&mut *self.conn.lock().await).await;
        if !unfinished.map_err(|e| self.fail(&e))? {
            for table in wanted() {
                if let Some(rows @ 1..) = self.rows_of(table).await? {
                    return Err(copy::not_empty(&self.server, table, rows));
                }
            }
        }
        schema::bring_up_to_date(&self.server, author).await?;
        self.execute(&format!(
            "CREATE TABLE IF NOT EXISTS {MARK} (started_at BIGINT NOT NULL PRIMARY KEY) ENGINE = InnoDB"
        ))
        .await?;
        for table in wanted() {
            if let Some(name) = self.find(table).await? {
                self.execute(&format!("TRUNCATE {}", rows::quoted(&name)))
                    .await?;
            }
        }
        Ok(())
    }

    async fn write(&self, table: &Table, rows: &Rows) -> Result<()> {
        let refused = |e: Failed| match self.fail(&e) {
            Error::Full => Error::Full,
            other if e.is_lost() || e.code().is_none() => other,
            _ => Error::Open(
                OpenError::new(format!(
                    "a row of {} cannot be kept in {}: {}",
                    table.name,
                    self.server,
                    e.words()
                ))
                .remedy("change the table there so that it can"),
            ),
        };
        let mut conn = self.conn.lock().await;
        let mut inserts = Inserts::new(&mut conn, table, rows)
            .await
            .map_err(|e| self.fail(&e))?;
        conn.run(&Sql::new("START TRANSACTION"))
            .await
            .map_err(refused)?;
        let bound = MAX_STATEMENT.min(conn.limit() - 1);
        while let Some(insert) = inserts.next(bound) {
            match insert {
                Ok(insert) => conn.run(&insert).await.map_err(refused)?,
                Err(sentence) => return Err(Error::open(sentence)),
            };
        }
        conn.run(&Sql::new("COMMIT")).await.map_err(refused)?;
        Ok(())
    }

    async fn numbers(&self, last: Fence, tables: &[Table]) -> Result<()> {
        // Whoever comes next draws a larger one.
        self.execute(&format!(
            "INSERT INTO turnkey_fence SELECT GREATEST(COALESCE(MAX(n),0),{})+1 FROM turnkey_fence",
            last.0 / FENCES
        ))
        .await?;
        // Columns that number themselves go on after the largest number by themselves.
        let mut names = Vec::new();
        for table in tables {
            names.extend(self.find(&table.name).await?);
        }
        let references = references::references(&mut *self.conn.lock().await, &names).await;
        for reference in references.map_err(|e| self.fail(&e))? {
            if self.number(&reference.broken()).await? > 0 {
                let (child, parent) = (reference.child, reference.parent);
                let problem =
                    format!("rows of {child} refer to rows of {parent} that are not there");
                return Err(Error::Open(
                    OpenError::new(problem).remedy(Remedy::Tables(vec![child, parent])),
                ));
            }
        }
        for name in names {
            self.execute(&format!("ANALYZE TABLE {}", rows::quoted(&name)))
                .await?;
        }
        Ok(())
    }
}

impl CopySource for CopyDatabase {
    fn tables(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            let tables = rows::tables(&mut *self.conn.lock().await).await;
            tables.map_err(|e| self.fail(&e))
        })
    }

    fn columns<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async move {
            let Some(name) = self.find(table).await? else {
                return Ok(None);
            };
            let columns = rows::all_columns(&mut *self.conn.lock().await, &name).await;
            let columns = columns.map_err(|e| self.fail(&e))?;
            Ok(Some(columns.into_iter().map(|c| c.name).collect()))
        })
    }

    fn count<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move { Ok(self.rows_of(table).await?.unwrap_or(0)) })
    }

    fn read(&self, table: &Table) -> mpsc::Receiver<Result<Rows>> {
        let (sender, receiver) = copy::channel();
        let (server, conn, table) = (self.server.clone(), self.conn.clone(), table.clone());
        tokio::spawn(async move {
            let read = rows::read(&mut *conn.lock().await, &table, &sender).await;
            if let Err(error) = read {
                // Nobody is left to be told.
                drop(sender.send(Err(errors::open(&server, &error))).await);
            }
        });
        receiver
    }

    fn last_fence(&self) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(async {
            let last = self.number("SELECT COALESCE(MAX(n),0) FROM turnkey_fence");
            // A crash of the server may have forgotten some.
            Ok(Fence((last.await? + SKIPPED + 1) * FENCES))
        })
    }

    fn unchanged(&self) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async {
            self.execute("COMMIT").await?;
            let now = trace(&mut *self.conn.lock().await).await;
            Ok(self.trace == Some(now.map_err(|e| self.fail(&e))?))
        })
    }
}

impl CopyTarget for CopyDatabase {
    fn start<'a>(
        &'a self,
        author: &'a [String],
        tables: &'a [String],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.start(author, tables))
    }

    fn order<'a>(&'a self, tables: Vec<String>) -> BoxFuture<'a, Result<Vec<String>>> {
        // What rows refer to is looked at when all are there.
        Box::pin(async { Ok(tables) })
    }

    fn write<'a>(&'a self, table: &'a Table, rows: Rows) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.write(table, &rows).await })
    }

    fn numbers<'a>(&'a self, last: Fence, tables: &'a [Table]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.numbers(last, tables))
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.execute(&format!("DROP TABLE {MARK}")).await })
    }
}
