//! A writer's first write, and how it waits for other programs that write to the file.
//!
//! Called by the loop at its start and for each batch. Bound: [`OTHERS_WAIT`].

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::IDLE;
use crate::sqlite::stranger;

/// How long the writer waits, showing signs of life, for another program to end
/// its write transaction: a person in the `sqlite3` shell. SQLite waits a second
/// each time. Requests that wait longer than their own patience are answered
/// "unavailable" meanwhile.
const OTHERS_WAIT: Duration = Duration::from_secs(60);

/// Counts one more life of a writer: its number starts the fences.
pub(super) fn new_generation(conn: &Connection) -> rusqlite::Result<u64> {
    conn.execute(
        "INSERT INTO turnkey_generation (started_at) VALUES (?1)",
        [crate::unix_ms()],
    )?;
    let generation = conn.last_insert_rowid();
    conn.execute(
        "DELETE FROM turnkey_generation WHERE number < ?1",
        [generation],
    )?;
    Ok(generation as u64)
}

/// Tries again while another program holds the file's write lock, or the disk has
/// no room for a first row. `beat` is called in between, with whether it is the lock.
pub(super) fn once_writable<T>(
    database: &Path,
    mut attempt: impl FnMut() -> rusqlite::Result<T>,
    mut beat: impl FnMut(bool),
) -> rusqlite::Result<T> {
    let deadline = Instant::now() + OTHERS_WAIT;
    let mut said = false;
    loop {
        let error = match attempt() {
            Err(e) if Instant::now() < deadline => e,
            outcome => return outcome,
        };
        let why = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => "another program is writing to the database",
            Some(ErrorCode::DiskFull) => {
                std::thread::sleep(IDLE);
                "the disk is full"
            }
            _ => return Err(error),
        };
        if !std::mem::replace(&mut said, true) {
            match stranger::writing(database) {
                Some(who) => tracing::warn!("waiting: {why} ({who})"),
                None => tracing::warn!("waiting: {why}"),
            }
        }
        beat(error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
    }
}
