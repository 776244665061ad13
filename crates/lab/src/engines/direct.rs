//! SQLite without a queue, in two ways: the best (`immediate`) and the usual
//! (`deferred`). Both keep only a user's state, one transaction for each turn, so the
//! handler sits inside the write lock: that flatters them.
//!
//! A process has one connection and takes its turns one after another; those that are
//! in flight wait in its queue, and their latency starts when they join it. Bounds:
//! `in_flight` in the queue, SQLite's busy timeout for each statement.

use std::collections::VecDeque;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::super::measure::{self, Meter};
use super::super::order::{Load, SyncLevel, Window};
use super::super::pace::Pace;
use super::super::settings;
use super::super::state::{self, Random};
use crate::error::Error;

/// The usual one; SQLite polls for so long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The log is copied into the file when it has this many pages: as our writer does.
const CHECKPOINT_PAGES: u32 = 4096;

pub(super) fn open(load: &Load) -> rusqlite::Result<Connection> {
    let conn = Connection::open(load.path())?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    let synchronous = match load.sync {
        SyncLevel::Full => "FULL",
        SyncLevel::Normal => "NORMAL",
    };
    let (file, rest): (Vec<_>, Vec<_>) = load
        .pragmas
        .iter()
        .partition(|(name, _)| settings::is_of_file(name));
    for (name, value) in file {
        settings::set(&conn, name, value)?;
    }
    if !load.pragmas.contains_key("journal_mode") {
        conn.execute_batch("PRAGMA journal_mode = WAL")?;
    }
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};"
    ))?;
    for (name, value) in rest {
        settings::set(&conn, name, value)?;
    }
    Ok(conn)
}

pub(super) fn fill(load: &Load) -> crate::error::Result<()> {
    let mut conn = open(load)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE state (user_id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID",
    )?;
    {
        let mut insert = tx.prepare("INSERT INTO state VALUES (?1, ?2)")?;
        let state = state::padded(0, load.state_bytes);
        for user in 0..load.users {
            insert.execute((state::user_id(user), &state))?;
        }
    }
    Ok(tx.commit()?)
}

/// A turn: what it is done with, the user, the size of a state.
type TurnOf = fn(&Connection, &str, usize) -> Result<(), Failure>;

/// Why a turn did not commit.
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Other(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// The write lock first, prepared statements.
pub(super) fn immediate(conn: &Connection, user: &str, bytes: usize) -> Result<(), Failure> {
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let read: Option<String> = conn
        .prepare_cached("SELECT state FROM state WHERE user_id = ?1")?
        .query_row([user], |row| row.get(0))
        .optional()?;
    conn.prepare_cached("UPDATE state SET state = ?2 WHERE user_id = ?1")?
        .execute((user, state::next(read.as_deref(), bytes)?))?;
    conn.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

/// As the first page of a tutorial has it.
pub(super) fn deferred(conn: &Connection, user: &str, bytes: usize) -> Result<(), Failure> {
    conn.execute_batch("BEGIN")?;
    let read: Option<String> = conn
        .query_row(
            "SELECT state FROM state WHERE user_id = ?1",
            [user],
            |row| row.get(0),
        )
        .optional()?;
    conn.execute(
        "INSERT INTO state VALUES (?1, ?2) ON CONFLICT (user_id) DO UPDATE SET state = excluded.state",
        (user, state::next(read.as_deref(), bytes)?),
    )?;
    conn.execute_batch("COMMIT")?;
    Ok(())
}

pub(super) fn turns(
    load: &Load,
    turn: TurnOf,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    let conn = open(load)?;
    let in_force = settings::in_force(&conn)?;
    let mut meter = Meter::new(start()?)?;
    meter.in_force(in_force);
    let mut random = Random::new(load.seed);
    one_after_another(load, &conn, &mut meter, |meter, began, wait| {
        let user = state::user_id(random.below(load.users));
        // As long as the window is open; later whoever still fights for the lock gives up.
        loop {
            match turn(&conn, &user, load.state_bytes) {
                Ok(()) => {
                    meter.acknowledge(began);
                    return Ok(());
                }
                Err(failure) => {
                    if !again(failure, &conn, meter, wait)? {
                        return Ok(());
                    }
                }
            }
        }
    })?;
    Ok(meter)
}

/// All turns of a process that does one at a time.
pub(super) fn one_after_another(
    load: &Load,
    conn: &Connection,
    meter: &mut Meter,
    mut each: impl FnMut(&mut Meter, u64, &mut Random) -> crate::error::Result<()>,
) -> crate::error::Result<()> {
    let pace = Pace::new(load, meter.window());
    let mut wait = Random::new(load.seed ^ 0x77);
    let mut queue: VecDeque<u64> = std::iter::repeat_n(measure::now(), load.in_flight).collect();
    while let Some(joined) = queue.pop_front() {
        let Some(began) = pace.next_blocking(joined) else {
            break;
        };
        each(meter, began, &mut wait)?;
        queue.push_back(measure::now());
    }
    debug_assert!(conn.is_autocommit());
    pace.end(meter);
    Ok(())
}

/// Whether to try a turn again that has failed: when somebody else had the lock, and the
/// window is open. Waits up to a millisecond.
pub(super) fn again(
    failure: Failure,
    conn: &Connection,
    meter: &mut Meter,
    wait: &mut Random,
) -> crate::error::Result<bool> {
    let error = match failure {
        Failure::Other(error) => return Err(error),
        Failure::Sqlite(error) => error,
    };
    let Some(kind) = busy(&error) else {
        return Err(error.into());
    };
    meter.error(kind);
    if !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    if meter.is_over() {
        return Ok(false);
    }
    std::thread::sleep(Duration::from_micros(wait.below(1000)));
    Ok(true)
}

/// The name of an error after which the same turn may be tried again.
fn busy(error: &rusqlite::Error) -> Option<&'static str> {
    let code = error.sqlite_error()?.extended_code;
    match code {
        rusqlite::ffi::SQLITE_BUSY_SNAPSHOT => Some("SQLITE_BUSY_SNAPSHOT"),
        _ if code & 0xff == rusqlite::ffi::SQLITE_BUSY => Some("SQLITE_BUSY"),
        _ if code & 0xff == rusqlite::ffi::SQLITE_LOCKED => Some("SQLITE_LOCKED"),
        _ => None,
    }
}

pub(super) fn sum(load: &Load) -> crate::error::Result<u64> {
    let conn = open(load)?;
    let mut select = conn.prepare("SELECT state FROM state")?;
    let mut rows = select.query([])?;
    let mut sum = 0;
    while let Some(row) = rows.next()? {
        sum += state::count(Some(
            row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
        ))?;
    }
    Ok(sum)
}
