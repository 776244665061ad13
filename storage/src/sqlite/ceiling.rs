//! The writer's SQL without the writer: one thread, one connection, no processes, no sockets,
//! no lock table. It shows how much speed the queue costs.
//!
//! Called only by the storage laboratory (`turnkey bench storage`, engine `sqlite-ceiling`),
//! never for real data: nothing here orders the turns of a dialog, and a failure ends the
//! measurement. The settings and statements are the writer's own, so the two cannot drift
//! apart; checkpoints come as often, but are SQLite's automatic ones, on the same thread.
//! Bound: the caller sets the batch size.

use std::path::Path;

use super::pragmas;
use super::protocol::CommitRequest;
use super::statements::{Committed, Statements};
use crate::{Commit, DialogKey, Error, Fence, Result, Sync};

/// One turn of a batch: what it commits, given the state that it read.
pub type Turn<'a> = (&'a DialogKey, &'a dyn Fn(Option<&str>) -> Commit);

/// What the batches of a ceiling have cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Transactions committed.
    pub commits: u64,
    /// Calls of fsync or fdatasync for commits; those of checkpoints are not seen.
    pub syncs: u64,
}

/// Opens a prepared file and hands `work` a function that runs a batch of turns in
/// one transaction: each looks for its update id, reads the state and writes what a
/// commit writes. The batch is durable when the function returns.
///
/// # Errors
/// [`Error::Open`] when the file cannot be used; [`Error::Poisoned`] when a statement
/// fails; what `work` returns.
pub fn run<T>(
    path: &Path,
    sync: Sync,
    work: impl FnOnce(&mut dyn FnMut(&[Turn<'_>]) -> Result<Counts>) -> Result<T>,
) -> Result<T> {
    let conn = pragmas::open_writer(path, sync)?;
    let fail = |e: rusqlite::Error| Error::Poisoned(e.to_string());
    let mut statements = Statements::prepare(&conn).map_err(fail)?;
    let page_size: u32 = conn
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .map_err(fail)?;
    let pages = pragmas::CHECKPOINT_BYTES as u32 / page_size;
    conn.pragma_update(None, "wal_autocheckpoint", pages)
        .map_err(fail)?;
    let mut counts = Counts::default();
    let mut fence = 0;
    work(&mut |turns| {
        batch(&mut statements, turns, &mut fence)?;
        counts.commits += 1;
        counts.syncs += u64::from(sync == Sync::Full);
        Ok(counts)
    })
}

fn batch(statements: &mut Statements<'_>, turns: &[Turn<'_>], fence: &mut u64) -> Result<()> {
    let fail = |e: rusqlite::Error| Error::Poisoned(e.to_string());
    statements.begin().map_err(fail)?;
    for (dialog, handle) in turns {
        *fence += 1;
        let found = statements.dialog(dialog).map_err(fail)?;
        let commit = handle(found.as_ref().map(|found| found.state.as_str()));
        if statements
            .seen(&dialog.channel, &commit.update)
            .map_err(fail)?
            .is_some()
        {
            return Err(Error::Seen);
        }
        let request = CommitRequest {
            dialog: (*dialog).clone(),
            fence: Fence(*fence),
            read_version: found.as_ref().map_or(0, |found| found.version),
            update: &commit.update,
            digest: &commit.digest,
            answer: &commit.answer,
            state: &commit.state,
            history: commit.history.as_deref(),
            replies: commit.replies.iter().map(String::as_str).collect(),
            statements: commit.statements.clone(),
            lock: commit.lock,
            relays: Vec::new(),
            changes: Vec::new(),
        };
        let row = found.map(|found| found.row);
        match statements.commit_turn(&request, row).map_err(fail)? {
            Committed::Now(_) => {}
            _ => return Err(Error::Stale),
        }
    }
    statements.commit().map_err(fail)
}
