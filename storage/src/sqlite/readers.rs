//! Connections that only read: a pool in each worker, built after the fork.
//!
//! Used by [`super::SqliteStorage`] for an author's queries and by the tools that look into a
//! file. Reads are short: a long one would keep the writer from reusing its log, so a query is
//! interrupted after [`MAX_READ`]. Bounds: [`POOL_SIZE`] connections, [`CHECKOUT`] to wait for
//! one, [`MAX_READ`] more while the log is too large.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use scheduled_thread_pool::ScheduledThreadPool;
use tokio::sync::Semaphore;

use super::pragmas;
use crate::{Error, Result, Row, Statement, Value};

/// Connections of a worker. Its turns share its one processor.
const POOL_SIZE: u32 = 4;

/// How long a question may take.
const MAX_READ: Duration = Duration::from_secs(5);

/// How long a question waits for a connection.
const CHECKOUT: Duration = Duration::from_secs(5);

/// Between two looks at the log's size while it is too large.
const LOOK: Duration = Duration::from_millis(5);

/// How long reads go on although the log is too large, after waiting was in vain.
const IN_VAIN: Duration = Duration::from_secs(60);

/// Steps of SQLite's machine between two looks at the clock: about a millisecond.
const STEPS: i32 = 20_000;

#[derive(Clone, Debug)]
pub(crate) struct Readers {
    pool: r2d2::Pool<SqliteConnectionManager>,
    /// One for each connection, so that questions wait as tasks: as threads, a
    /// thousand of them would take a thousand threads.
    free: Arc<Semaphore>,
    log: Arc<Log>,
}

/// The write-ahead log, as far as reads must care for its size.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    /// Until when not to wait again: somebody else holds it.
    patience_lost: Mutex<Option<Instant>>,
}

impl Log {
    /// While the log is too large, lets no new read begin: so the old ones end, and
    /// the writer can empty it. When it does not shrink although all our reads must
    /// have ended, another program reads on: then waiting is in vain.
    async fn wait_for_room(&self) {
        let start = Instant::now();
        while self.is_too_large() && !self.is_in_vain(start) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_in_vain(&self, waiting_since: Instant) -> bool {
        let mut lost = self.patience_lost.lock().unwrap_or_else(|e| e.into_inner());
        if waiting_since.elapsed() > MAX_READ {
            *lost = Some(Instant::now() + IN_VAIN);
        }
        lost.is_some_and(|until| waiting_since < until)
    }

    /// By its name: opening and closing it would drop SQLite's locks on it.
    fn is_too_large(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|log| log.len() > pragmas::LOG_CAP)
    }
}

impl Readers {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let manager = SqliteConnectionManager::file(path)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(|conn| pragmas::set_up_reader(conn));
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        // By default r2d2 starts three threads and all connections, and asks
        // SELECT 1 at every checkout.
        let pool = r2d2::Pool::builder()
            .max_size(POOL_SIZE)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .connection_timeout(CHECKOUT)
            .thread_pool(Arc::new(
                ScheduledThreadPool::builder()
                    .num_threads(1)
                    .thread_name_pattern("readers-{}")
                    .build(),
            ))
            .build_unchecked(manager);
        Ok(Readers {
            pool,
            free: Arc::new(Semaphore::new(POOL_SIZE as usize)),
            log: Arc::new(Log {
                path: log.into(),
                patience_lost: Mutex::default(),
            }),
        })
    }

    /// Runs a read on a thread of its own, with a connection of the pool.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let free = self.free.clone().acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(CHECKOUT, free).await else {
            return Err(Error::Unavailable(format!(
                "all {POOL_SIZE} connections for reading were in use for {} s",
                CHECKOUT.as_secs()
            )));
        };
        self.log.wait_for_room().await;
        let pool = self.pool.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let conn = pool
                .get()
                .map_err(|e| Error::Unavailable(format!("no connection for reading: {e}")))?;
            let deadline = Instant::now() + MAX_READ;
            let late = move || Instant::now() >= deadline;
            conn.progress_handler(STEPS, Some(late))
                .map_err(|e| failed(&e))?;
            let result = read(&conn).map_err(|e| failed(&e));
            conn.progress_handler(0, None::<fn() -> bool>)
                .map_err(|e| failed(&e))?;
            // A transaction left open would show the next one an old state, and
            // keep the writer from reusing its log.
            if !conn.is_autocommit() {
                conn.execute_batch("ROLLBACK").map_err(|e| failed(&e))?;
            }
            result
        });
        task.await
            .unwrap_or_else(|e| Err(Error::Statement(format!("the read did not end: {e}"))))
    }

    pub(crate) async fn query(&self, query: Statement) -> Result<Vec<Row>> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(&query.sql)?;
            let columns = columns(&statement);
            let count = columns.len();
            statement
                .query_map(params_from_iter(&query.params), |row| {
                    let values = (0..count)
                        .map(|i| row.get_ref(i).map(value))
                        .collect::<rusqlite::Result<_>>()?;
                    Ok(Row::new(columns.clone(), values))
                })?
                .collect()
        })
        .await
    }
}

pub(super) fn columns(statement: &rusqlite::Statement<'_>) -> Arc<[String]> {
    let names = statement.column_names();
    names.into_iter().map(str::to_owned).collect()
}

pub(super) fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(v) => Value::Integer(v),
        ValueRef::Real(v) => Value::Real(v),
        ValueRef::Text(v) => Value::Text(String::from_utf8_lossy(v).into_owned()),
        ValueRef::Blob(v) => Value::Blob(v.to_vec()),
    }
}

fn failed(error: &rusqlite::Error) -> Error {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
        return Error::Statement(format!(
            "the query took longer than {} s and was stopped; long reads would let the log grow without end",
            MAX_READ.as_secs()
        ));
    }
    Error::Statement(error.to_string())
}
