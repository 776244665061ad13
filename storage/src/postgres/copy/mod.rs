//! PostgreSQL's side of a copy: reads a database that no bot uses, or fills one.
//!
//! Called by [`crate::copy`]. One connection does everything. Its session holds the advisory
//! lock [`COPYING`], which every process that takes turns holds in shared mode: so no bot uses
//! the database, or begins to. Rows come as a stream with back-pressure, and are written with
//! COPY, in a transaction for each batch; the mark makes the whole copy atomic.
//!
//! A value that is not a number, a boolean, text or bytes travels as the server's text for it
//! (times in UTC), which converts back exactly.

mod rows;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::mpsc;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::keeper::SKIPPED;
use super::session::Purpose;
use super::{Server, errors, schema};
use crate::copy::{self, CopySource, CopyTarget, MARK, Rows, Table};
use crate::{BoxFuture, Error, Fence, OpenError, Result};
use rows::{all_columns, columns, find, put, quoted};

/// "copy" in ASCII: the advisory lock of whoever copies, shared by whoever takes turns.
pub(super) const COPYING: i64 = 0x636f_7079;

/// The server misses a process that has ended a moment later.
const LEAVING: Duration = Duration::from_secs(3);

/// Texts of one form, whatever the settings of the server and the user are; and rows that
/// a policy hides are an error, not rows that are left out. No limits of time has every
/// session of ours.
const SETTINGS: &str = "SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; \
     SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; \
     SET row_security = off";

/// A database that is open for a copy.
pub struct CopyDatabase {
    server: Server,
    client: Arc<Client>,
    /// What tells whether turns were committed; of a source.
    trace: Option<Trace>,
}

/// Every commit adds to the first, every reply that is sent takes from the second.
type Trace = (i64, i64);

const TRACE: &str =
    "SELECT (SELECT count(*) FROM turnkey_seen), (SELECT count(*) FROM turnkey_outbox)";

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
    let mut source = open(server).await?;
    let fail = |e: tokio_postgres::Error| errors::open(server, &e);
    if let Some(problem) = schema::problem(&source.client).await.map_err(fail)? {
        return Err(Error::open(format!("cannot read {server}: {problem}")));
    }
    source
        .client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(fail)?;
    source.trace = Some(source.trace().await?);
    Ok(source)
}

/// Takes a database to copy into, and keeps every bot from using it.
///
/// # Errors
/// [`Error::Open`] when it cannot be reached, or a bot uses it.
pub async fn copy_target(server: &Server) -> Result<CopyDatabase> {
    open(server).await
}

async fn open(server: &Server) -> Result<CopyDatabase> {
    let client = schema::connect(server, Purpose::Tool).await?;
    let fail = |e: tokio_postgres::Error| errors::open(server, &e);
    client.batch_execute(SETTINGS).await.map_err(fail)?;
    if !take(&client, "SELECT pg_try_advisory_lock($1)")
        .await
        .map_err(fail)?
    {
        return Err(Error::Open(
            OpenError::new(format!(
                "{server} is in use by a running bot, or by another copy"
            ))
            .remedy("stop all of them, on every box, then copy"),
        ));
    }
    Ok(CopyDatabase {
        server: server.clone(),
        client: Arc::new(client),
        trace: None,
    })
}

/// Takes [`COPYING`], waiting for those that are about to leave.
async fn take(client: &Client, sql: &str) -> std::result::Result<bool, tokio_postgres::Error> {
    let deadline = Instant::now() + LEAVING;
    loop {
        let taken: bool = client.query_one(sql, &[&COPYING]).await?.get(0);
        if taken || Instant::now() >= deadline {
            return Ok(taken);
        }
        tokio::time::sleep(LEAVING / 100).await;
    }
}

/// Why no bot may use the database now, if it may not.
pub(super) async fn obstacle(
    client: &Client,
) -> std::result::Result<Option<&'static str>, tokio_postgres::Error> {
    if !take(client, "SELECT pg_try_advisory_lock_shared($1)").await? {
        return Ok(Some(copy::UNDER_WAY));
    }
    client
        .execute("SELECT pg_advisory_unlock_shared($1)", &[&COPYING])
        .await?;
    Ok(is_unfinished(client).await?.then_some(copy::UNFINISHED))
}

/// Whether a copy into the database was begun and not finished.
pub(super) async fn is_unfinished(
    client: &Client,
) -> std::result::Result<bool, tokio_postgres::Error> {
    let row = client
        .query_one("SELECT to_regclass($1) IS NOT NULL", &[&MARK])
        .await?;
    Ok(row.get(0))
}

impl CopyDatabase {
    fn fail(&self, error: &tokio_postgres::Error) -> Error {
        errors::open(&self.server, error)
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|e| self.fail(&e))
    }

    async fn number(&self, sql: &str) -> Result<i64> {
        let row = self.client.query_one(sql, &[]).await;
        Ok(row.map_err(|e| self.fail(&e))?.get(0))
    }

    async fn trace(&self) -> Result<Trace> {
        let row = self.client.query_one(TRACE, &[]).await;
        let row = row.map_err(|e| self.fail(&e))?;
        Ok((row.get(0), row.get(1)))
    }

    /// The table's name as the server has it: SQLite's names have no case.
    async fn find(&self, table: &str) -> Result<Option<String>> {
        find(&self.client, table).await.map_err(|e| self.fail(&e))
    }

    async fn start(&self, author: &[String], tables: &[String]) -> Result<()> {
        let fail = |e: tokio_postgres::Error| self.fail(&e);
        let wanted = || copy::our_tables().chain(tables.iter().map(String::as_str));
        if !is_unfinished(&self.client).await.map_err(fail)? {
            for table in wanted() {
                if let Some(name) = self.find(table).await? {
                    let rows = count(self, &name).await?;
                    if rows > 0 {
                        return Err(copy::not_empty(&self.server, table, rows));
                    }
                }
            }
        }
        schema::bring_up_to_date(&self.server, author).await?;
        self.execute(&format!(
            "CREATE TABLE IF NOT EXISTS {MARK} (started_at BIGINT NOT NULL)"
        ))
        .await?;
        let mut names = Vec::new();
        for table in wanted() {
            names.extend(self.find(table).await?.map(|name| quoted(&name)));
        }
        self.execute(&format!("TRUNCATE {}", names.join(", ")))
            .await?;
        // What is lost with the server's memory comes after the mark.
        self.execute("SET synchronous_commit = off").await
    }

    async fn write(&self, table: &Table, rows: &Rows) -> Result<()> {
        let columns = columns(&self.client, table)
            .await
            .map_err(|e| self.fail(&e))?;
        let mut text = String::new();
        for row in rows {
            for (at, (column, value)) in columns.iter().zip(row).enumerate() {
                if at > 0 {
                    text.push('\t');
                }
                put(&mut text, value, &column.kind, table.ours).map_err(|why| {
                    Error::open(format!(
                        "the column {} of {} {why}",
                        column.name, table.name
                    ))
                })?;
            }
            text.push('\n');
        }
        let name = self.find(&table.name).await?.unwrap_or_default();
        let names: Vec<String> = columns.iter().map(|c| quoted(&c.name)).collect();
        let sql = format!("COPY {} ({}) FROM STDIN", quoted(&name), names.join(", "));
        let copied = async {
            let mut sink = pin!(self.client.copy_in(&sql).await?);
            sink.send(Bytes::from(text)).await?;
            sink.finish().await
        };
        copied.await.map(drop).map_err(|e| match errors::ours(&e) {
            Error::Full => Error::Full,
            _ if errors::is_lost(&e) => self.fail(&e),
            _ => Error::Open(
                OpenError::new(format!(
                    "a row of {} cannot be kept in {}: {}",
                    table.name,
                    self.server,
                    errors::words(&e)
                ))
                .remedy("change the table there so that it can"),
            ),
        })
    }

    async fn numbers(&self, last: Fence, tables: &[Table]) -> Result<()> {
        self.number(&format!(
            "SELECT setval('turnkey_fence', greatest(last_value, {})) FROM turnkey_fence",
            last.0
        ))
        .await?;
        for table in tables {
            let name = self.find(&table.name).await?.unwrap_or_default();
            let columns = columns(&self.client, table)
                .await
                .map_err(|e| self.fail(&e))?;
            for column in columns {
                if !matches!(column.kind, Type::INT2 | Type::INT4 | Type::INT8) {
                    continue;
                }
                // An identity, or SERIAL.
                let sql = format!(
                    "SELECT setval(s.name, t.largest) FROM
                         (SELECT pg_get_serial_sequence($1, $2)::regclass AS name) s,
                         (SELECT max({}) AS largest FROM {}) t
                     WHERE s.name IS NOT NULL AND t.largest > 0",
                    quoted(&column.name),
                    quoted(&name)
                );
                self.client
                    .query(&sql, &[&quoted(&name), &column.name])
                    .await
                    .map_err(|e| self.fail(&e))?;
            }
            self.execute(&format!("ANALYZE {}", quoted(&name))).await?;
        }
        Ok(())
    }

    /// Referenced tables first. Those that refer to each other stay as they are: the
    /// server will tell.
    async fn order(&self, mut tables: Vec<String>) -> Result<Vec<String>> {
        let refers = self
            .client
            .query(
                "SELECT child.relname::text, parent.relname::text FROM pg_constraint c
                 JOIN pg_class child ON child.oid = c.conrelid
                 JOIN pg_class parent ON parent.oid = c.confrelid
                 WHERE c.contype = 'f' AND c.conrelid <> c.confrelid
                     AND c.connamespace = current_schema()::regnamespace",
                &[],
            )
            .await
            .map_err(|e| self.fail(&e))?;
        let refers: Vec<(String, String)> = refers.iter().map(|r| (r.get(0), r.get(1))).collect();
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let mut ordered: Vec<String> = Vec::new();
        while !tables.is_empty() {
            let waits = |table: &String| {
                refers.iter().any(|(child, parent)| {
                    same(child, table) && tables.iter().any(|other| same(other, parent))
                })
            };
            let next = tables.iter().position(|table| !waits(table)).unwrap_or(0);
            ordered.push(tables.remove(next));
        }
        Ok(ordered)
    }
}

async fn count(database: &CopyDatabase, name: &str) -> Result<u64> {
    let rows = database
        .number(&format!("SELECT count(*) FROM {}", quoted(name)))
        .await?;
    Ok(rows as u64)
}

impl CopySource for CopyDatabase {
    fn tables(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            let rows = self
                .client
                .query(
                    "SELECT relname::text FROM pg_class
                     WHERE relnamespace = current_schema()::regnamespace
                         AND relkind IN ('r', 'p') AND NOT relispartition
                         AND relname NOT LIKE 'turnkey\\_%'
                     ORDER BY relname",
                    &[],
                )
                .await
                .map_err(|e| self.fail(&e))?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn columns<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async move {
            let Some(name) = self.find(table).await? else {
                return Ok(None);
            };
            let columns = all_columns(&self.client, &name).await;
            let columns = columns.map_err(|e| self.fail(&e))?;
            Ok(Some(columns.into_iter().map(|c| c.name).collect()))
        })
    }

    fn count<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let name = self.find(table).await?.unwrap_or_default();
            count(self, &name).await
        })
    }

    fn read(&self, table: &Table) -> mpsc::Receiver<Result<Rows>> {
        let (sender, receiver) = copy::channel();
        let (server, client, table) = (self.server.clone(), self.client.clone(), table.clone());
        tokio::spawn(async move {
            if let Err(error) = rows::read(&server, &client, &table, &sender).await {
                // Nobody is left to be told.
                drop(sender.send(Err(error)).await);
            }
        });
        receiver
    }

    fn last_fence(&self) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(async {
            let last = self.number("SELECT last_value FROM turnkey_fence").await?;
            // A crash of the server may have forgotten some.
            Ok(Fence((last + i64::from(SKIPPED)) as u64))
        })
    }

    fn unchanged(&self) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async {
            self.execute("COMMIT").await?;
            Ok(self.trace == Some(self.trace().await?))
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
        Box::pin(self.order(tables))
    }

    fn write<'a>(&'a self, table: &'a Table, rows: Rows) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.write(table, &rows).await })
    }

    fn numbers<'a>(&'a self, last: Fence, tables: &'a [Table]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.numbers(last, tables))
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.execute("SET synchronous_commit = on").await?;
            self.execute(&format!("DROP TABLE {MARK}")).await
        })
    }
}
