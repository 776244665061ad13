//! PostgreSQL's side of a copy: reads a database that no bot uses, or fills one.
//!
//! Called by [`crate::copy`]. One connection does everything. Its session holds the
//! advisory lock [`COPYING`], of which every process that takes turns holds a share:
//! so nobody uses the database, or begins to. Rows come as a stream, which the
//! server holds back while nobody takes them, and go with COPY, a transaction each
//! batch; what makes them one is the mark.
//!
//! What is not a number, a boolean, text or bytes travels as the text that the server
//! makes of it (times in UTC), and comes back from that text exactly.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::keeper::SKIPPED;
use super::text::{original, stored};
use super::{Server, errors, schema, values};
use crate::copy::{self, Batch, CopySource, CopyTarget, MARK, Rows, Table};
use crate::{BoxFuture, Error, Fence, Result, Value};

/// "copy" in ASCII: the advisory lock of whoever copies, shared by whoever takes turns.
pub(super) const COPYING: i64 = 0x636f_7079;

/// Texts of one form and no limits of time, whatever the settings of the server and
/// the user are.
const SETTINGS: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
     SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; \
     SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'";

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

/// A column as the server has it.
struct Column {
    name: String,
    kind: Type,
}

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
        return Err(Error::Open(format!("cannot read {server}: {problem}")));
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
    let client = schema::connect(server).await?;
    let fail = |e: tokio_postgres::Error| errors::open(server, &e);
    client.batch_execute(SETTINGS).await.map_err(fail)?;
    let taken = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&COPYING])
        .await
        .map_err(fail)?;
    if !taken.get::<_, bool>(0) {
        return Err(Error::Open(format!(
            "{server} is in use by a running bot, or by another copy; stop all of them, on every box, then copy"
        )));
    }
    Ok(CopyDatabase {
        server: server.clone(),
        client: Arc::new(client),
        trace: None,
    })
}

/// Why no bot may use the database now, if it may not.
pub(super) async fn obstacle(
    client: &Client,
) -> std::result::Result<Option<&'static str>, tokio_postgres::Error> {
    let row = client
        .query_one("SELECT pg_try_advisory_lock_shared($1)", &[&COPYING])
        .await?;
    if !row.get::<_, bool>(0) {
        return Ok(Some("it is being copied; wait until that has ended"));
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

/// An identifier as SQL takes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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
                    Error::Open(format!(
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
            _ => Error::Open(format!(
                "a row of {} cannot be kept in {}: {}; change the table there so that it can",
                table.name,
                self.server,
                errors::words(&e)
            )),
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

async fn find(
    client: &Client,
    table: &str,
) -> std::result::Result<Option<String>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
                 AND (relname = $1::text OR relname = lower($1::text))
             ORDER BY relname = $1::text DESC LIMIT 1",
            &[&table],
        )
        .await?;
    Ok(rows.first().map(|row| row.get(0)))
}

async fn count(database: &CopyDatabase, name: &str) -> Result<u64> {
    let rows = database
        .number(&format!("SELECT count(*) FROM {}", quoted(name)))
        .await?;
    Ok(rows as u64)
}

/// Those that can be written: generated ones make themselves.
async fn all_columns(
    client: &Client,
    name: &str,
) -> std::result::Result<Vec<Column>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT a.attname::text, a.atttypid FROM pg_attribute a
             JOIN pg_class t ON t.oid = a.attrelid
             WHERE t.relname = $1 AND t.relnamespace = current_schema()::regnamespace
                 AND t.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
                 AND a.attgenerated = ''
             ORDER BY a.attnum",
            &[&name],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Column {
            name: row.get(0),
            // What is not built in travels as text.
            kind: Type::from_oid(row.get(1)).unwrap_or(Type::UNKNOWN),
        })
        .collect())
}

/// The table's columns in the order of its rows.
async fn columns(
    client: &Client,
    table: &Table,
) -> std::result::Result<Vec<Column>, tokio_postgres::Error> {
    let name = find(client, &table.name).await?.unwrap_or_default();
    let mut there = all_columns(client, &name).await?;
    let mut columns = Vec::new();
    for wanted in &table.columns {
        let exact = there.iter().position(|c| c.name == *wanted);
        let at = exact.or_else(|| {
            there
                .iter()
                .position(|c| c.name.eq_ignore_ascii_case(wanted))
        });
        columns.extend(at.map(|at| there.swap_remove(at)));
    }
    Ok(columns)
}

/// Whether the server's own form of the type is one of [`Value`]'s.
fn is_plain(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::BOOL
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::OID
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::BYTEA
            | Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
    )
}

/// One value as COPY takes it; or why it cannot be kept.
fn put(
    out: &mut String,
    value: &Value,
    kind: &Type,
    ours: bool,
) -> std::result::Result<(), &'static str> {
    match value {
        Value::Null => out.push_str("\\N"),
        Value::Integer(v) => out.push_str(&v.to_string()),
        Value::Real(v) => out.push_str(&v.to_string()),
        Value::Blob(_) if *kind != Type::BYTEA => {
            return Err("holds bytes, which only a BYTEA column of the target can keep");
        }
        Value::Blob(v) => {
            out.push_str("\\\\x");
            for byte in v {
                for digit in [byte >> 4, byte & 15] {
                    out.extend(char::from_digit(digit.into(), 16));
                }
            }
        }
        Value::Text(_) if *kind == Type::BYTEA => {
            return Err("holds text, which is not what the target's BYTEA column is for");
        }
        Value::Text(v) if !ours && v.contains('\0') => {
            return Err(
                "holds a NUL character, which PostgreSQL's text cannot keep; make it bytes",
            );
        }
        Value::Text(v) => {
            let kept = if ours { stored(v) } else { v.as_str().into() };
            for c in kept.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    c => out.push(c),
                }
            }
        }
    }
    Ok(())
}

async fn read(
    server: &Server,
    client: &Client,
    table: &Table,
    to: &mpsc::Sender<Result<Rows>>,
) -> Result<()> {
    let fail = |e: tokio_postgres::Error| errors::open(server, &e);
    let name = find(client, &table.name)
        .await
        .map_err(fail)?
        .unwrap_or_default();
    let columns = columns(client, table).await.map_err(fail)?;
    let asked: Vec<String> = columns
        .iter()
        .map(|c| match is_plain(&c.kind) {
            true => quoted(&c.name),
            false => format!("{}::text", quoted(&c.name)),
        })
        .collect();
    let mut sql = format!("SELECT {} FROM {}", asked.join(", "), quoted(&name));
    if table.key > 0 {
        sql.push_str(" ORDER BY ");
        sql.push_str(&asked[..table.key].join(", "));
    }
    let none: [&str; 0] = [];
    let mut rows = pin!(client.query_raw(&sql, none).await.map_err(fail)?);
    let mut batch = Batch::default();
    while let Some(row) = rows.next().await {
        let mut row = values::of_row(&row.map_err(fail)?)?;
        if table.ours {
            for value in &mut row {
                if let Value::Text(text) = value {
                    *text = original(std::mem::take(text));
                }
            }
        }
        if let Some(full) = batch.add(row)
            && to.send(Ok(full)).await.is_err()
        {
            return Ok(()); // Nobody wants the rest.
        }
    }
    if let Some(rest) = batch.rest() {
        drop(to.send(Ok(rest)).await);
    }
    Ok(())
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
            if let Err(error) = read(&server, &client, &table, &sender).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_takes_every_text() {
        let kept = |value: Value, kind: Type, ours: bool| {
            let mut out = String::new();
            put(&mut out, &value, &kind, ours).map(|()| out)
        };
        let awkward = Value::from("a\tb\\N\r\n\0é");
        assert_eq!(
            kept(awkward.clone(), Type::TEXT, true).unwrap(),
            "a\\tb\\\\N\\r\\n\u{1}0é"
        );
        assert!(kept(awkward, Type::TEXT, false).is_err());
        assert_eq!(kept(Value::Null, Type::TEXT, true).unwrap(), "\\N");
        let bytes = Value::from(vec![0_u8, 255]);
        assert_eq!(kept(bytes.clone(), Type::BYTEA, true).unwrap(), "\\\\x00ff");
        assert!(kept(bytes, Type::TEXT, true).is_err());
        assert!(kept("text".into(), Type::BYTEA, true).is_err());
    }
}
