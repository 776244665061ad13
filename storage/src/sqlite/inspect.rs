//! Looking into a file from outside: for `dump` and `check`.
//!
//! Opens its own read-only connection, so it works whether a bot runs or not. Only for a
//! process that does not otherwise have the file open: closing a connection drops SQLite's
//! locks for the whole process.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::Connection;

use super::{Files, client::WriterClient, files, pragmas, schema};
use crate::inspect::HANDLED;
use crate::{DialogKey, DialogLine, Error, Finding, OpenError, Owner, Remedy, Result};

/// Refuses a file that is not there.
///
/// # Errors
/// [`Error::Open`] with the remedy.
pub fn must_exist(path: &Path) -> Result<()> {
    if !path.exists() {
        return Err(Error::Open(
            OpenError::new(format!("there is no file {}", path.display()))
                .remedy(Remedy::NameDatabase),
        ));
    }
    if path.is_dir() {
        return Err(Error::Open(
            OpenError::new(format!("{} is a directory", path.display()))
                .remedy(Remedy::NameDatabase),
        ));
    }
    files::refuse_device(path)
}

pub(super) fn open(path: &Path) -> Result<Connection> {
    must_exist(path)?;
    let conn = pragmas::open_reader(path)?;
    match schema::problem(&conn) {
        Ok(None) => Ok(conn),
        Ok(Some(problem)) => Err(Error::open(format!(
            "cannot read {}: {problem}",
            path.display()
        ))),
        Err(e) if is_corrupt(&e) => Err(Error::Poisoned(e.to_string())),
        Err(e) => Err(pragmas::cannot_open(path, &e)),
    }
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
}

fn damaged(problem: String) -> Finding {
    Finding {
        problem,
        remedy: "restore the last backup, or rescue the rest with sqlite3's .recover".into(),
    }
}

/// Hands every dialog to `each`, in the order of their first messages, as of one
/// moment. Stops at `each`'s first error.
///
/// # Errors
/// [`Error::Open`] when the file is not ours; else what `each` returned.
pub fn dump<E: From<Error>>(
    path: &Path,
    with_history: bool,
    mut each: impl FnMut(DialogLine) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let conn = open(path)?;
    let failed = |e: rusqlite::Error| Error::open(format!("cannot read {}: {e}", path.display()));
    // One transaction: all dialogs as of one moment.
    conn.execute_batch("BEGIN").map_err(failed)?;
    let mut history_rows = conn
        .prepare("SELECT dialog, turn FROM turnkey_history ORDER BY dialog, id")
        .map_err(failed)?;
    // Sorted once by SQLite, then walked beside the dialogs: there is no index.
    let mut history = if with_history {
        Some(history_rows.query([]).map_err(failed)?)
    } else {
        None
    };
    let mut next: Option<(i64, String)> = None;
    let mut statement = conn
        .prepare("SELECT id, channel, user_id, state, updated_at FROM turnkey_dialog ORDER BY id")
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let id: i64 = row.get(0).map_err(failed)?;
        let mut turns = Vec::new();
        if let Some(history) = &mut history {
            loop {
                if next.is_none() {
                    next = match history.next().map_err(failed)? {
                        Some(row) => {
                            Some((row.get(0).map_err(failed)?, row.get(1).map_err(failed)?))
                        }
                        None => None,
                    };
                }
                match next.take() {
                    Some((dialog, turn)) if dialog == id => turns.push(turn),
                    Some((dialog, _)) if dialog < id => {}
                    other => {
                        next = other;
                        break;
                    }
                }
            }
        }
        each(DialogLine {
            dialog: DialogKey {
                channel: row.get(1).map_err(failed)?,
                user_id: row.get(2).map_err(failed)?,
            },
            state: row.get(3).map_err(failed)?,
            updated_at: row.get(4).map_err(failed)?,
            history: turns,
        })?;
    }
    Ok(())
}

/// Verifies a file: SQLite's own structure, our schema, no lock rows of workers
/// that are gone. An empty answer means all is well.
///
/// # Errors
/// [`Error::Open`] when it is not a database of ours at all.
pub async fn check(path: &Path) -> Result<Vec<Finding>> {
    let conn = match open(path) {
        Err(Error::Poisoned(reason)) => return Ok(vec![damaged(reason)]),
        other => other?,
    };
    let failed = |e: rusqlite::Error| Error::open(format!("cannot read {}: {e}", path.display()));
    let mut findings = Vec::new();
    let broken: rusqlite::Result<Vec<String>> = conn
        .prepare("PRAGMA integrity_check(20)")
        .and_then(|mut s| s.query_map([], |row| row.get(0))?.collect());
    let broken = match broken {
        Err(e) if is_corrupt(&e) => vec![e.to_string()],
        other => other.map_err(failed)?,
    };
    if broken != ["ok"] {
        // What else could be asked of it cannot be believed.
        return Ok(broken.into_iter().map(damaged).collect());
    }
    let bad_states: i64 = conn
        .query_row(
            "SELECT COUNT(*) FROM turnkey_dialog WHERE NOT json_valid(state)",
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    findings.extend(Finding::bad_states(bad_states as u64, "file"));
    let orphans: i64 = conn
        .query_row(
            "SELECT COUNT(*) FROM turnkey_outbox WHERE dialog NOT IN (SELECT id FROM turnkey_dialog)",
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    findings.extend(Finding::orphans(orphans as u64));
    let handled: i64 = conn
        .query_row(HANDLED, [], |row| row.get(0))
        .map_err(failed)?;
    findings.extend(Finding::handled(handled as u64));
    findings.extend(dead_locks(path, &conn).await?);
    Ok(findings)
}

/// Lock rows whose owner is not connected to the writer.
async fn dead_locks(path: &Path, conn: &Connection) -> Result<Option<Finding>> {
    let failed = |e: rusqlite::Error| Error::open(format!("cannot read {}: {e}", path.display()));
    let files = Files::of(path);
    let rows = || -> rusqlite::Result<HashSet<(String, String, i64, u64)>> {
        conn.prepare("SELECT channel, user_id, fence, owner FROM turnkey_lock")?
            .query_map([], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get::<_, i64>(3)? as u64,
                ))
            })?
            .collect()
    };
    let before = rows().map_err(failed)?;
    if before.is_empty() {
        return Ok(None);
    }
    if !files.is_served()? {
        return Ok(Some(Finding {
            problem: format!(
                "{} lock rows were left by a program that was killed",
                before.len()
            ),
            remedy: "nothing to do: the next start frees them".into(),
        }));
    }
    let writer = WriterClient::new(files.socket, Owner(0), Box::new(|| {}));
    let alive: HashSet<u64> = writer.owners().await?.into_iter().map(|o| o.0).collect();
    // Rows that were there before the question and still are.
    let after = rows().map_err(failed)?;
    let dead = before
        .intersection(&after)
        .filter(|(_, _, _, owner)| !alive.contains(owner))
        .count();
    Ok((dead > 0).then(|| Finding {
        problem: format!("{dead} lock rows belong to workers that are gone"),
        remedy: "restart the bot; the next writer frees them".into(),
    }))
}
