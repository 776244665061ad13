//! SQLite's side of a copy: reads a file that nobody serves, or fills one.
//!
//! Called by [`crate::copy`]. Everything runs on threads for blocking work, one call at a time.
//! The target's rows are committed batch by batch; the mark, which is in the file from before
//! the first to after the last, makes the whole copy atomic.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use tokio::sync::mpsc;

use super::{FileLock, Files, inspect, pragmas, schema};
use crate::copy::{self, Batch, CopySource, CopyTarget, MARK, Rows, Table};
use crate::{BoxFuture, Error, Fence, OpenError, Remedy, Result, Sync, Value};

/// Pages of the log before SQLite puts them into the file: nobody else does it here.
const CHECKPOINT_PAGES: u32 = 4000;

/// A file that is open for a copy.
#[derive(Debug)]
pub struct CopyFile {
    path: PathBuf,
    conn: Arc<Mutex<Connection>>,
    /// Of other connections' changes, when it was opened.
    data_version: i64,
    /// None where nobody can serve it: on a disk that can only be read.
    _lock: Option<FileLock>,
}

/// Opens a file to copy from, and keeps everybody from serving it.
///
/// # Errors
/// [`Error::Open`] when there is no such file, it is not ours, or a bot serves it.
pub fn copy_source(path: &Path) -> Result<CopyFile> {
    // The lock would be made beside a file that is not there.
    inspect::must_exist(path)?;
    let lock = match pragmas::is_unchangeable(path) {
        true => None,
        false => Some(lock(path)?),
    };
    let conn = inspect::open(path)?;
    let failed = |e: rusqlite::Error| pragmas::cannot_open(path, &e);
    let data_version = data_version(&conn).map_err(failed)?;
    // From the first question on, all of it as of one moment.
    conn.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")
        .map_err(failed)?;
    Ok(CopyFile {
        path: path.to_owned(),
        conn: Arc::new(Mutex::new(conn)),
        data_version,
        _lock: lock,
    })
}

/// Takes a file to copy into; it is made by [`CopyTarget::start`].
///
/// # Errors
/// [`Error::Open`] when a bot serves it.
pub fn copy_target(path: &Path) -> Result<CopyFile> {
    let lock = Some(lock(path)?);
    let nothing = Connection::open_in_memory().map_err(|e| pragmas::cannot_open(path, &e))?;
    Ok(CopyFile {
        path: path.to_owned(),
        conn: Arc::new(Mutex::new(nothing)),
        data_version: 0,
        _lock: lock,
    })
}

fn lock(path: &Path) -> Result<FileLock> {
    let files = Files::of(path);
    if files.is_served()? {
        return Err(Error::Open(
            OpenError::new(format!("{} is in use by a running bot", path.display()))
                .remedy("stop it first, then copy"),
        ));
    }
    files.lock()
}

fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// An identifier as SQL takes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    quoted.join(", ")
}

fn exists(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_list
         WHERE schema = 'main' AND type = 'table' AND name = ?1 COLLATE NOCASE)",
        [table],
        |row| row.get(0),
    )
}

fn count(conn: &Connection, table: &str) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM {}", quoted(table));
    conn.query_row(&sql, [], |row| row.get::<_, i64>(0))
        .map(|n| n as u64)
}

impl CopyFile {
    /// Does something with the connection on a thread for blocking work.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let conn = self.conn.clone();
        tokio::task::spawn_blocking(move || {
            work(&conn.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .map_err(|e| Error::open(e.to_string()))?
    }

    /// The same, for questions that can fail for SQLite's reasons alone.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.path.clone();
        self.with(move |conn| ask(conn).map_err(|e| failed(&path, &e)))
            .await
    }
}

fn failed(path: &Path, error: &rusqlite::Error) -> Error {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
        return Error::Full;
    }
    pragmas::cannot_open(path, error)
}

impl CopySource for CopyFile {
    fn tables(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.ask(|conn| {
            conn.prepare(
                "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
                     AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                     AND name NOT LIKE 'turnkey\\_%' ESCAPE '\\'
                 ORDER BY name",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
        }))
    }

    fn columns<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        let table = table.to_owned();
        Box::pin(self.ask(move |conn| {
            if !exists(conn, &table)? {
                return Ok(None);
            }
            // Generated columns make themselves.
            conn.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid")?
                .query_map([&table], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()
                .map(Some)
        }))
    }

    fn count<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<u64>> {
        let table = table.to_owned();
        Box::pin(self.ask(move |conn| count(conn, &table)))
    }

    fn read(&self, table: &Table) -> mpsc::Receiver<Result<Rows>> {
        let (sender, receiver) = copy::channel();
        let (conn, path, table) = (self.conn.clone(), self.path.clone(), table.clone());
        tokio::task::spawn_blocking(move || {
            let conn = conn.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = read(&conn, &path, &table, &sender) {
                // Nobody is left to be told.
                drop(sender.blocking_send(Err(error)));
            }
        });
        receiver
    }

    fn last_fence(&self) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(self.ask(|conn| {
            let life: Option<i64> =
                conn.query_row("SELECT max(number) FROM turnkey_generation", [], |row| {
                    row.get(0)
                })?;
            // A writer's fences start with its number.
            Ok(Fence(((life.unwrap_or(0) as u64 + 1) << 40) - 1))
        }))
    }

    fn unchanged(&self) -> BoxFuture<'_, Result<bool>> {
        let before = self.data_version;
        Box::pin(self.ask(move |conn| {
            conn.execute_batch("COMMIT")?;
            Ok(data_version(conn)? == before)
        }))
    }
}

fn read(
    conn: &Connection,
    path: &Path,
    table: &Table,
    to: &mpsc::Sender<Result<Rows>>,
) -> Result<()> {
    let fail = |e: rusqlite::Error| failed(path, &e);
    let mut sql = format!(
        "SELECT {} FROM {}",
        list(&table.columns),
        quoted(&table.name)
    );
    if table.key > 0 {
        sql.push_str(" ORDER BY ");
        sql.push_str(&list(&table.columns[..table.key]));
    }
    let mut statement = conn.prepare(&sql).map_err(fail)?;
    let mut rows = statement.query([]).map_err(fail)?;
    let mut batch = Batch::default();
    while let Some(row) = rows.next().map_err(fail)? {
        let value = |at| -> Result<Value> {
            Ok(match row.get_ref(at).map_err(fail)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(v) => Value::Integer(v),
                ValueRef::Real(v) => Value::Real(v),
                ValueRef::Text(v) => match std::str::from_utf8(v) {
                    Ok(text) => Value::Text(text.to_owned()),
                    Err(_) => {
                        return Err(Error::Open(
                            OpenError::new(format!(
                                "the column {} of {} holds text that is not UTF-8",
                                table.columns[at], table.name
                            ))
                            .remedy("mend it, or make it a BLOB"),
                        ));
                    }
                },
                ValueRef::Blob(v) => Value::Blob(v.to_vec()),
            })
        };
        let row = (0..table.columns.len()).map(value).collect::<Result<_>>()?;
        if let Some(full) = batch.add(row)
            && to.blocking_send(Ok(full)).is_err()
        {
            return Ok(()); // Nobody wants the rest.
        }
    }
    if let Some(rest) = batch.rest() {
        drop(to.blocking_send(Ok(rest)));
    }
    Ok(())
}

impl CopyTarget for CopyFile {
    fn start<'a>(
        &'a self,
        author: &'a [String],
        tables: &'a [String],
    ) -> BoxFuture<'a, Result<()>> {
        let (path, author, tables) = (self.path.clone(), author.to_vec(), tables.to_vec());
        let shared = self.conn.clone();
        Box::pin(async move {
            let start = move || {
                let conn = start(&path, &author, &tables)?;
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = conn;
                Ok(())
            };
            tokio::task::spawn_blocking(start)
                .await
                .map_err(|e| Error::open(e.to_string()))?
        })
    }

    fn order<'a>(&'a self, tables: Vec<String>) -> BoxFuture<'a, Result<Vec<String>>> {
        // What rows refer to is looked at when all are there.
        Box::pin(async { Ok(tables) })
    }

    fn write<'a>(&'a self, table: &'a Table, rows: Rows) -> BoxFuture<'a, Result<()>> {
        let (path, table) = (self.path.clone(), table.clone());
        Box::pin(self.with(move |conn| write(conn, &path, &table, &rows)))
    }

    fn numbers<'a>(&'a self, last: Fence, tables: &'a [Table]) -> BoxFuture<'a, Result<()>> {
        let (path, tables) = (self.path.clone(), tables.to_vec());
        Box::pin(self.with(move |conn| {
            conn.execute(
                "INSERT INTO turnkey_generation (number, started_at) VALUES (?1, ?2)
                 ON CONFLICT DO NOTHING",
                ((last.0 >> 40) as i64, crate::unix_ms()),
            )
            .map_err(|e| failed(&path, &e))?;
            // Those that are numbered by AUTOINCREMENT go on after the largest by
            // themselves.
            for table in tables {
                let broken: Option<String> = conn
                    .prepare("SELECT parent FROM pragma_foreign_key_check(?1)")
                    .and_then(|mut check| {
                        check.query_row([&table.name], |row| row.get(0)).optional()
                    })
                    .map_err(|e| failed(&path, &e))?;
                if let Some(parent) = broken {
                    let problem = format!(
                        "rows of {} refer to rows of {parent} that are not there",
                        table.name
                    );
                    return Err(Error::Open(
                        OpenError::new(problem).remedy(Remedy::Tables(vec![parent])),
                    ));
                }
            }
            Ok(())
        }))
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.ask(|conn| {
            conn.execute_batch(&format!("PRAGMA optimize; DROP TABLE {MARK}"))?;
            // Answers with a row.
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        }))
    }
}

fn start(path: &Path, author: &[String], tables: &[String]) -> Result<Connection> {
    let fail = |e: rusqlite::Error| failed(path, &e);
    let wanted: Vec<&str> = copy::our_tables()
        .chain(tables.iter().map(String::as_str))
        .collect();
    if std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0) {
        let conn = pragmas::open_reader(path)?;
        if !schema::is_unfinished(&conn).map_err(fail)? {
            for table in &wanted {
                if exists(&conn, table).map_err(fail)? {
                    let rows = count(&conn, table).map_err(fail)?;
                    if rows > 0 {
                        return Err(copy::not_empty(path.display(), table, rows));
                    }
                }
            }
        }
    }
    schema::bring_up_to_date(path, Sync::Full, Some(author))?;
    let conn = pragmas::open_writer(path, Sync::Full)?;
    conn.execute_batch(&format!(
        "PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA foreign_keys = OFF;
         BEGIN IMMEDIATE;
         CREATE TABLE IF NOT EXISTS {MARK} (started_at INTEGER NOT NULL) STRICT;
         INSERT INTO {MARK} VALUES ({});
         COMMIT;",
        crate::unix_ms()
    ))
    .map_err(fail)?;
    // What they did when a row was new they have done.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .map_err(fail)?;
    for table in wanted {
        if exists(&conn, table).map_err(fail)? {
            let sql = format!("DELETE FROM {}", quoted(table));
            conn.execute(&sql, []).map_err(fail)?;
        }
    }
    Ok(conn)
}

fn write(conn: &Connection, path: &Path, table: &Table, rows: &Rows) -> Result<()> {
    let refused = |e: rusqlite::Error| match failed(path, &e) {
        Error::Full => Error::Full,
        _ => Error::Open(
            OpenError::new(format!(
                "a row of {} cannot be kept in {}: {e}",
                table.name,
                path.display()
            ))
            .remedy("change the table there so that it can"),
        ),
    };
    let marks = vec!["?"; table.columns.len()].join(", ");
    let sql = format!(
        "INSERT INTO {} ({}) VALUES ({marks})",
        quoted(&table.name),
        list(&table.columns)
    );
    let tx = conn.unchecked_transaction().map_err(refused)?;
    let mut insert = tx.prepare_cached(&sql).map_err(refused)?;
    for row in rows {
        if let Some(at) = row
            .iter()
            .position(|v| matches!(v, Value::Real(v) if v.is_nan()))
        {
            return Err(Error::Open(
                OpenError::new(format!(
                    "the column {} of {} holds NaN, which SQLite cannot keep",
                    table.columns[at], table.name
                ))
                .remedy("change it first"),
            ));
        }
        insert.execute(params_from_iter(row)).map_err(refused)?;
    }
    drop(insert);
    tx.commit().map_err(refused)
}
