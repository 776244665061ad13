//! Pragmas that the storage laboratory tries on the writer's connection and on a new file.
//!
//! Set once by a process of `turnkey bench storage`, before it opens anything; a bot never sets
//! any. Applied by `pragmas.rs` and `schema.rs`. What the writer decides by itself (durability,
//! checkpoints, locking) the laboratory leaves alone.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rusqlite::Connection;

static PRAGMAS: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Tries these from now on in this process; a second call changes nothing.
pub fn set(pragmas: BTreeMap<String, String>) {
    PRAGMAS.get_or_init(|| pragmas);
}

/// Gives a connection what is tried.
pub(super) fn apply(conn: &Connection) -> rusqlite::Result<()> {
    let Some(pragmas) = PRAGMAS.get() else {
        return Ok(());
    };
    for (name, value) in pragmas {
        conn.prepare(&format!("PRAGMA {name} = {value}"))?
            .query([])?
            .next()?;
    }
    Ok(())
}

/// The size of a new file's pages, if one is tried.
pub(super) fn page_size() -> Option<u32> {
    PRAGMAS.get()?.get("page_size")?.parse().ok()
}
