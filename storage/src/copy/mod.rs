//! Moving everything from one database to another, of the same engine or not.
//!
//! Called by the framework's `copy` command. An engine takes part by implementing
//! [`CopySource`] and [`CopyTarget`] in its own `copy.rs` or `copy/`; `run.rs` has the order of
//! things, `digest.rs` the checksums.
//!
//! Invariants:
//! * The source is only read, in one transaction, so all of it is as of one moment. No bot uses
//!   source or target while they are open.
//! * The target has a durable mark from before the first row until after the last comparison. A
//!   marked database is not served; the next copy into it starts over.
//! * Locks, waiters and owners are not copied: in the copy no lock is held.
//! * The target's next fence is above every fence that the source ever gave out.
//!
//! Bounds: a batch has [`MAX_ROWS`] rows, and no more than [`MAX_BYTES`] unless a
//! single row is larger; two batches wait between reading and writing.

mod digest;
mod run;

use tokio::sync::mpsc;

pub use digest::{Checksum, Summary};
pub use run::run;

use crate::{BoxFuture, Error, Fence, OpenError, Result, Value};

/// Rows of a batch.
pub const MAX_ROWS: usize = 1000;

/// Bytes of a batch: with the one being read and the one being written, a few times
/// this is all the memory that a copy takes.
pub const MAX_BYTES: usize = 4 << 20;

/// Batches read and not yet written.
const AHEAD: usize = 2;

/// Every table of ours that is copied, in order; its columns, the key first.
const OURS: &[(&str, &[&str], usize)] = &[
    (
        "turnkey_dialog",
        &["id", "channel", "user_id", "version", "state", "updated_at"],
        1,
    ),
    (
        "turnkey_seen",
        &["id", "channel", "fence", "at", "digest", "answer"],
        2,
    ),
    (
        "turnkey_outbox",
        &["dialog", "turn", "n", "body", "attempts", "since", "error"],
        3,
    ),
    ("turnkey_history", &["id", "dialog", "at", "turn"], 1),
    (
        "turnkey_inbox",
        &[
            "id", "channel", "user_id", "arrived", "body", "attempts", "due", "error",
        ],
        2,
    ),
    (
        "turnkey_dead",
        &[
            "id", "channel", "user_id", "arrived", "digest", "answer", "body", "error", "attempts",
            "died",
        ],
        2,
    ),
    (
        "turnkey_dead_reply",
        &[
            "turn", "n", "channel", "user_id", "body", "error", "attempts", "since", "died",
        ],
        2,
    ),
    (
        "turnkey_taken",
        &["turn", "n", "channel", "user_id", "body", "message", "at"],
        2,
    ),
    ("turnkey_pause", &["scope", "until_ms"], 1),
    ("turnkey_poll_mark", &["channel", "mark"], 1),
    (
        "turnkey_message",
        &["user_id", "channel", "name", "message", "at"],
        3,
    ),
    (
        "turnkey_broadcast",
        &[
            "id",
            "made_at",
            "channel",
            "filter_sql",
            "in_groups",
            "body",
            "rate",
            "state",
            "trouble",
            "after_user",
            "after_channel",
            "queued",
            "sent",
            "failed",
        ],
        1,
    ),
    (
        "turnkey_broadcast_failed",
        &["broadcast", "user_id", "channel", "reason", "at"],
        3,
    ),
    (
        "turnkey_timer",
        &[
            "user_id", "channel", "name", "due", "id", "body", "schedule", "fired",
        ],
        3,
    ),
    (
        "turnkey_step",
        &["id", "channel", "name", "user_id", "value", "at"],
        3,
    ),
    ("turnkey_overlap", &["user_id", "channel", "overlap"], 2),
    (
        "turnkey_callback",
        &[
            "hash", "user_id", "channel", "name", "expires", "taken", "body",
        ],
        1,
    ),
    (
        "turnkey_person",
        &[
            "user_id", "channel", "name", "username", "language", "folded",
        ],
        2,
    ),
];

/// A table to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The columns that are copied, in the order of each row's values.
    pub columns: Vec<String>,
    /// How many of them, from the first, are the key to read it by; 0 for the
    /// engine's own order.
    pub key: usize,
    /// One of Turnkey's own: its texts may hold anything.
    pub ours: bool,
}

/// Rows, each with a value for every column of its [`Table`].
pub type Rows = Vec<Vec<Value>>;

/// A batch as it is filled.
#[derive(Debug, Default)]
pub struct Batch {
    rows: Rows,
    bytes: usize,
}

impl Batch {
    /// Adds a row; the batch itself once it is full.
    pub fn add(&mut self, row: Vec<Value>) -> Option<Rows> {
        self.bytes += row.iter().map(size).sum::<usize>();
        self.rows.push(row);
        let full = self.rows.len() >= MAX_ROWS || self.bytes >= MAX_BYTES;
        full.then(|| std::mem::take(self).rows)
    }

    /// What is left at the end.
    pub fn rest(self) -> Option<Rows> {
        (!self.rows.is_empty()).then_some(self.rows)
    }
}

fn size(value: &Value) -> usize {
    std::mem::size_of::<Value>()
        + match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Null | Value::Integer(_) | Value::Real(_) => 0,
        }
}

/// The two ends between a task that reads and the copy.
pub fn channel() -> (mpsc::Sender<Result<Rows>>, mpsc::Receiver<Result<Rows>>) {
    mpsc::channel(AHEAD)
}

/// A database that nobody serves and nobody changes, open for reading.
pub trait CopySource: Send + Sync {
    /// The author's tables.
    ///
    /// # Errors
    /// [`Error::Open`].
    fn tables(&self) -> BoxFuture<'_, Result<Vec<String>>>;

    /// The columns of a table that can be written; none when there is no such table.
    ///
    /// # Errors
    /// [`Error::Open`].
    fn columns<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>>;

    /// The rows of a table.
    ///
    /// # Errors
    /// [`Error::Open`].
    fn count<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<u64>>;

    /// Every row, in batches; the last may be an error. To be read to its end, or
    /// dropped, before the next is asked for.
    fn read(&self, table: &Table) -> mpsc::Receiver<Result<Rows>>;

    /// No fence was given out that is larger.
    ///
    /// # Errors
    /// [`Error::Open`].
    fn last_fence(&self) -> BoxFuture<'_, Result<Fence>>;

    /// Whether it still is as it was read. To be asked once, at the end.
    ///
    /// # Errors
    /// [`Error::Open`].
    fn unchanged(&self) -> BoxFuture<'_, Result<bool>>;
}

/// A database that nobody serves, to be filled.
pub trait CopyTarget: CopySource {
    /// Finds out whether it may be filled: it has nothing of ours in it, nor in the
    /// tables named, or bears the mark of a copy that was not finished. Then brings
    /// its schema up to date (`author` are the bot's migrations), sets the mark and
    /// deletes what an earlier copy, or a migration, left in these tables.
    ///
    /// # Errors
    /// [`Error::Open`] with the remedy.
    fn start<'a>(&'a self, author: &'a [String], tables: &'a [String])
    -> BoxFuture<'a, Result<()>>;

    /// In which order tables can be filled, so that what a row refers to is there.
    ///
    /// # Errors
    /// [`Error::Open`].
    fn order<'a>(&'a self, tables: Vec<String>) -> BoxFuture<'a, Result<Vec<String>>>;

    /// Adds rows.
    ///
    /// # Errors
    /// [`Error::Open`] when a value cannot be kept as it is, or the disk is full.
    fn write<'a>(&'a self, table: &'a Table, rows: Rows) -> BoxFuture<'a, Result<()>>;

    /// All rows are there: fences go on above this one, and numbers that the database
    /// gives out by itself above those that were copied.
    ///
    /// # Errors
    /// [`Error::Open`].
    fn numbers<'a>(&'a self, last: Fence, tables: &'a [Table]) -> BoxFuture<'a, Result<()>>;

    /// Removes the mark.
    ///
    /// # Errors
    /// [`Error::Open`].
    fn finish(&self) -> BoxFuture<'_, Result<()>>;
}

/// Which of the author's tables are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These.
    Named(Vec<String>),
    /// Every one of the source.
    All,
}

/// How far a copy has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Reading both sides again, rather than copying.
    pub comparing: bool,
    /// The table it is at.
    pub table: &'a str,
    /// Rows done, of all tables.
    pub done: u64,
    /// Rows to do, of all tables.
    pub total: u64,
}

/// What was found in one table when both sides were read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The table.
    pub table: String,
    /// In the source.
    pub from: Summary,
    /// In the target.
    pub to: Summary,
}

impl Compared {
    /// Whether both sides have the same rows.
    pub fn same(&self) -> bool {
        self.from == self.to
    }
}

/// What a copy did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Every table that was copied.
    pub tables: Vec<Compared>,
    /// Tables of the author's that nobody asked for.
    pub left_out: Vec<String>,
}

impl Report {
    /// Whether all tables came out the same; if not, the target keeps its mark.
    pub fn same(&self) -> bool {
        self.tables.iter().all(Compared::same)
    }
}

/// Names of our tables, to be emptied or counted.
pub(crate) fn our_tables<'a>() -> impl Iterator<Item = &'a str> {
    OURS.iter().map(|(name, ..)| *name)
}

/// The sentence for a target that has something in it.
pub(crate) fn not_empty(shown: impl std::fmt::Display, table: &str, rows: u64) -> Error {
    Error::Open(
        OpenError::new(format!("{shown} is not empty: {table} has {rows} rows"))
            .remedy("copy into a new database, or empty this one first"),
    )
}

/// The sentence for a database that bears the mark.
pub(crate) const UNFINISHED: &str = "a copy into it was not finished; run that copy command again, \
     which starts anew, or delete this database";

/// The sentence for a database that is open for a copy.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) const UNDER_WAY: &str = "it is being copied; wait until that has ended";

/// The table that is the mark.
pub(crate) const MARK: &str = "turnkey_copy";
