//! How an older file becomes a current one; its tables are in `migrations.rs`.
//!
//! Called once per start by [`prepare`], in a process that ends afterwards or closes the
//! connection: nothing of SQLite lives across a fork. Migrations of Turnkey and of the bot's
//! author go through the same list, all that are due in one transaction, recorded in
//! `turnkey_migration`: if one fails, the file stays as it was. Before that, a file that is not
//! empty is backed up beside itself; the newest [`KEPT`] of these backups stay.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::backup_directory::BackupDirectory;
use super::migrations::MIGRATIONS;
use super::{files, pragmas, snapshot};
use crate::copy::{MARK, UNFINISHED};
use crate::migration::{self, Whose};
use crate::{Error, OpenError, Remedy, Result, Sync};

/// "turn" in ASCII: tells our files from other programs' SQLite files
/// (<https://www.sqlite.org/pragma.html#pragma_application_id>).
const APPLICATION_ID: i32 = 0x7475_726e;

/// Files up to this size, 64 MiB, are looked through at each start (0.15 s from
/// memory); larger ones by `turnkey check` when somebody asks for it.
const CHECKED_AT_START: u64 = 64 << 20;

/// Backups from before a change that stay.
const KEPT: usize = 3;

/// Makes the file if there is none (mode 0600) and brings it up to date.
/// `author` are the bot's own migrations, oldest first. If that changed tables that
/// were there, the backup from before comes back.
///
/// # Errors
/// [`Error::Open`] with a sentence that names the remedy. Then nothing was changed.
pub fn prepare(path: &Path, sync: Sync, author: &[String]) -> Result<Option<PathBuf>> {
    create_private(path)?;
    pragmas::refuse_planted(path)?;
    if is_ours(path)? {
        let conn = pragmas::open_reader(path)?;
        if is_unfinished(&conn).map_err(|e| pragmas::cannot_open(path, &e))? {
            return Err(Error::open(format!(
                "cannot use {}: {UNFINISHED}",
                path.display()
            )));
        }
    }
    bring_up_to_date(path, sync, Some(author))
}

/// [`prepare`] for a program that is not the bot: its own migrations are left alone.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_for_operator(path: &Path, sync: Sync) -> Result<Option<PathBuf>> {
    bring_up_to_date(path, sync, None)
}

/// Whether [`prepare`] would change nothing. It only reads: the file may be served.
///
/// # Errors
/// [`Error::Open`] when the file cannot be read, or is not for these migrations.
pub fn is_current(path: &Path, author: &[String]) -> Result<bool> {
    let conn = pragmas::open_reader(path)?;
    let program = done(&conn, path, Whose::Program, MIGRATIONS)?;
    let bot = done(&conn, path, Whose::Bot, author)?;
    Ok(program == MIGRATIONS.len() && bot == author.len())
}

/// Whether a copy into the file was begun and not finished.
pub(super) fn is_unfinished(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)",
        [MARK],
        |row| row.get(0),
    )
}

/// [`prepare`] for whoever knows what to do about an unfinished copy.
pub(super) fn bring_up_to_date(
    path: &Path,
    sync: Sync,
    author: Option<&[String]>,
) -> Result<Option<PathBuf>> {
    create_private(path)?;
    let ours = is_ours(path)?;
    let mut conn = pragmas::open_writer(path, sync)?;
    if ours {
        check_structure(&conn, path)?;
    } else {
        // An empty file can still take its page size.
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = DELETE; PRAGMA page_size = {}; VACUUM;
             PRAGMA application_id = {APPLICATION_ID}; PRAGMA journal_mode = WAL;",
            super::trial::page_size().unwrap_or(pragmas::PAGE_SIZE)
        ))
        .map_err(|e| pragmas::cannot_open(path, &e))?;
    }
    // A start that was killed may have got no further than this.
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS turnkey_migration (
            owner TEXT NOT NULL, number INTEGER NOT NULL,
            sql TEXT NOT NULL, applied_at INTEGER NOT NULL,
            PRIMARY KEY (owner, number)) STRICT, WITHOUT ROWID;",
    )
    .map_err(|e| pragmas::cannot_open(path, &e))?;
    let program = done(&conn, path, Whose::Program, MIGRATIONS)?;
    let bot = match author {
        Some(author) => done(&conn, path, Whose::Bot, author)?,
        None => 0,
    };
    let author = author.unwrap_or_default();
    let mut kept = None;
    if program < MIGRATIONS.len() || bot < author.len() {
        // Without tables there is nothing to keep.
        if program > 0 {
            let version = format!("{}.{}", MIGRATIONS.len(), author.len());
            let made = BackupDirectory::before_change(path, version)
                .make_by(KEPT, |name, target| snapshot::as_it_is(&conn, name, target));
            let (backup, ()) = made.map_err(|e| cannot_keep(path, &e))?;
            kept = Some(backup);
        }
        if let Err(error) = migrate(&mut conn, path, (program, bot), author) {
            // The file is as it was, and the next start would make another.
            if let Some(kept) = kept {
                snapshot::remove(&kept)?;
            }
            return Err(error);
        }
    }
    // Refreshes the planner's statistics where they are stale; a no-op mostly.
    conn.execute_batch("PRAGMA optimize;")
        .map_err(|e| pragmas::cannot_open(path, &e))?;
    Ok(kept)
}

fn cannot_keep(path: &Path, error: &Error) -> Error {
    let why = match error {
        Error::Open(why) | Error::NotYet(why) => why.clone(),
        other => OpenError::new(other.to_string()),
    };
    Error::Open(why.with_prefix(format_args!(
        "the tables of {} have to be changed, and a backup beside it cannot be made first: ",
        path.display()
    )))
}

/// Refuses a damaged file before it takes in more: the older the damage, the older
/// the backup that is without it.
fn check_structure(conn: &Connection, path: &Path) -> Result<()> {
    let size = fs::metadata(path).map_or(0, |file| file.len());
    if size > CHECKED_AT_START {
        return Ok(());
    }
    let found: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| pragmas::cannot_open(path, &e))?;
    if found == "ok" {
        return Ok(());
    }
    Err(Error::open(format!(
        "{} is damaged ({}); restore a backup, or save what can be read with `sqlite3 {0} .recover`",
        path.display(),
        found.replace('\n', " ")
    )))
}

/// What is wrong with a file that should be ours and up to date, as a sentence.
pub(crate) fn problem(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let id: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id != APPLICATION_ID {
        return Ok(Some("it is not a database of Turnkey".to_owned()));
    }
    if is_unfinished(conn)? {
        return Ok(Some(UNFINISHED.to_owned()));
    }
    let applied = conn.query_row(
        "SELECT COUNT(*) FROM turnkey_migration WHERE owner = 'turnkey'",
        [],
        |row| row.get::<_, i64>(0),
    )?;
    Ok(migration::problem(applied as usize, MIGRATIONS.len()))
}

fn create_private(path: &Path) -> Result<()> {
    let refused = |e: std::io::Error| {
        Error::Open(match e.kind() {
            ErrorKind::PermissionDenied if path.exists() => {
                OpenError::new(format!("no right to write to {}", path.display()))
                    .remedy("give this user write access to it")
            }
            ErrorKind::PermissionDenied => OpenError::new(format!(
                "no right to write to the directory {}",
                files::directory_of(path).display()
            ))
            .remedy("give this user write access to it"),
            ErrorKind::NotFound => OpenError::new(format!(
                "the directory of {} does not exist",
                path.display()
            ))
            .remedy("create it")
            .remedy(Remedy::AnotherFile),
            ErrorKind::IsADirectory => OpenError::new(format!("{} is a directory", path.display()))
                .remedy(Remedy::NameFile),
            _ => format!("cannot create {}: {e}", path.display()).into(),
        })
    };
    files::refuse_device(path)?;
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let meta = fs::metadata(path).map_err(refused)?;
            if meta.is_dir() {
                return Err(refused(ErrorKind::IsADirectory.into()));
            }
            // Tells a file without write permission now, not at the first turn. It is not
            // opened: closing it would drop SQLite's locks, if this process has it open.
            access(path, AccessFlags::W_OK).map_err(|e| refused(e.into()))
        }
        Err(e) => Err(refused(e)),
    }
}

/// Whether the file is one of ours; an empty one is to become so. Looks with none
/// of our settings: the journal mode is kept in the file, and another program's
/// file is not ours to change.
fn is_ours(path: &Path) -> Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let look = || -> rusqlite::Result<(i32, bool)> {
        let conn = Connection::open_with_flags(path, flags)?;
        Ok((
            conn.pragma_query_value(None, "application_id", |row| row.get(0))?,
            conn.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |r| {
                r.get(0)
            })?,
        ))
    };
    match look().map_err(|e| pragmas::cannot_open(path, &e))? {
        (APPLICATION_ID, _) => Ok(true),
        (_, true) => Ok(false),
        (_, false) => Err(Error::Open(
            OpenError::new(format!(
                "{} is a SQLite database of another program",
                path.display()
            ))
            .remedy(Remedy::AnotherFile),
        )),
    }
}

fn owner(whose: Whose) -> &'static str {
    match whose {
        Whose::Program => "turnkey",
        Whose::Bot => "author",
    }
}

/// How many of these migrations are on record.
fn done<M: AsRef<str>>(conn: &Connection, path: &Path, whose: Whose, list: &[M]) -> Result<usize> {
    let recorded = || -> rusqlite::Result<Vec<String>> {
        conn.prepare("SELECT sql FROM turnkey_migration WHERE owner = ?1 ORDER BY number")?
            .query_map([owner(whose)], |row| row.get(0))?
            .collect()
    };
    let recorded = recorded().map_err(|e| pragmas::cannot_open(path, &e))?;
    migration::done(whose, &path.display(), &recorded, list)
}

/// Applies all that are not done yet, or none.
fn migrate(
    conn: &mut Connection,
    path: &Path,
    (program, bot): (usize, usize),
    author: &[String],
) -> Result<()> {
    let begun = |e: rusqlite::Error| pragmas::cannot_open(path, &e);
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(begun)?;
    apply(&tx, path, Whose::Program, MIGRATIONS, program)?;
    apply(&tx, path, Whose::Bot, author, bot)?;
    tx.commit().map_err(begun)
}

fn apply<M: AsRef<str>>(
    tx: &Transaction<'_>,
    path: &Path,
    whose: Whose,
    list: &[M],
    done: usize,
) -> Result<()> {
    for (index, sql) in list.iter().enumerate().skip(done) {
        let (number, sql) = (index + 1, sql.as_ref());
        tx.execute_batch(sql)
            .and_then(|()| {
                tx.execute(
                    "INSERT INTO turnkey_migration VALUES (?1, ?2, ?3, ?4)",
                    (owner(whose), number as i64, sql, crate::unix_ms()),
                )
            })
            .map_err(|e| migration::failed(whose, number, &path.display(), e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    use super::*;

    #[test]
    fn a_file_that_this_process_has_open_stays_locked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bot.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (n); BEGIN IMMEDIATE")
            .unwrap();
        create_private(&path).unwrap();
        // As from another process: it is the handle's, not the process's.
        let other = OpenOptions::new().write(true).open(&path).unwrap();
        let whole = libc::flock {
            l_type: libc::F_WRLCK as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&other, FcntlArg::F_OFD_SETLK(&whole)).unwrap_err();
    }
}
