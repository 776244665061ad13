//! Where these tests work: a file with two accounts in a directory of its own.
//!
//! Used by the other files. Each handle has a connection of its own to the writer, so two handles
//! stand for two processes.

use std::path::{Path, PathBuf};

use turnkey_storage::Database;
use turnkey_storage::sqlite::{Opening, SharedDatabase};

const TABLES: &str = "
    CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL) STRICT;
    INSERT INTO account VALUES (1, 100), (2, 0);
    CREATE TABLE entry (what TEXT NOT NULL) STRICT;";

/// A new directory, which goes with its handle, and the name of a file in it.
pub(crate) fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    (dir, path)
}

pub(crate) fn opening(path: &Path) -> Opening {
    Database::open(path).migration(TABLES)
}

pub(crate) async fn number(database: &SharedDatabase, sql: &'static str) -> i64 {
    let read = database.read(move |conn| conn.query_row(sql, [], |row| row.get(0)));
    read.await.unwrap()
}

/// Two handles; the first one writes itself.
pub(crate) async fn two(path: &Path) -> (SharedDatabase, SharedDatabase) {
    let first = opening(path).await.unwrap();
    let second = opening(path).await.unwrap();
    assert!(first.writes_itself() && !second.writes_itself());
    (first, second)
}
