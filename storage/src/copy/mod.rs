//! Moving everything from one database to another, of the same engine or not.
//!
//! Called by the framework's `copy` command. An engine takes part by implementing
//! [`CopySource`] and [`CopyTarget`] in its own `copy.rs` or `copy/`; this file has the order of
//! things, `digest.rs` the checksums.
//!
//! Invariants:
//! * The source is only read, in one transaction: all of it as of one moment. Nobody
//!   serves it, or the target, while they are open.
//! * The target bears a durable mark from before the first row until after the last
//!   comparison. Whatever bears it is not served; the next copy into it starts anew.
//! * Locks, waiters and owners are not copied: nobody holds anything.
//! * The target's next fence is above every one that the source ever gave out.
//!
//! Bounds: a batch has [`MAX_ROWS`] rows, and no more than [`MAX_BYTES`] unless a
//! single row is larger; two batches wait between reading and writing.

mod digest;

use tokio::sync::mpsc;

pub use digest::{Checksum, Summary};

use crate::{About, BoxFuture, Error, FORGOTTEN, Fence, OpenError, Result, Value};

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
    ("turnkey_pause", &["scope", "until_ms"], 1),
    ("turnkey_poll_mark", &["channel", "mark"], 1),
];

/// The columns that hold fences.
const FENCES: &[&str] = &["version", "fence", "turn"];

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

/// Copies everything. Dropped half-way, the target keeps its mark.
///
/// # Errors
/// [`Error::Open`] with the remedy.
pub async fn run(
    source: &dyn CopySource,
    target: &dyn CopyTarget,
    author: &[String],
    wanted: &Wanted,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Report> {
    let there = source.tables().await?;
    let named = match wanted {
        Wanted::All => there.clone(),
        Wanted::Named(names) => check_names(names, source).await?,
    };
    let left_out = |table: &String| !named.iter().any(|name| same_name(name, table));
    let left_out = there.into_iter().filter(left_out).collect();
    target.start(author, &named).await?;
    let mut tables = ours();
    for name in target.order(named).await? {
        tables.push(author_table(name, source, target).await?);
    }
    let mut total = 0;
    for table in &tables {
        total += source.count(&table.name).await?;
    }

    let mut last = source.last_fence().await?;
    let mut done = 0;
    for table in &tables {
        let mut batches = source.read(table);
        while let Some(rows) = batches.recv().await {
            let rows = rows?;
            done += rows.len() as u64;
            last = last.max(largest_fence(table, &rows));
            target.write(table, rows).await?;
            progress(Progress {
                comparing: false,
                table: &table.name,
                done,
                total,
            });
        }
    }
    if done != total {
        return Err(Error::Open(
            OpenError::new(format!("{done} of {total} rows could be read"))
                .remedy("run check on the database that is copied from"),
        ));
    }
    target.numbers(last, &tables).await?;

    let mut report = Report {
        tables: Vec::new(),
        left_out,
    };
    done = 0;
    for table in &tables {
        let compared = compare(source, target, table, |rows| {
            progress(Progress {
                comparing: true,
                table: &table.name,
                done: done + rows,
                total,
            });
        });
        let compared = compared.await?;
        done += compared.from.rows;
        report.tables.push(compared);
    }
    if !source.unchanged().await? {
        return Err(Error::open(
            "the database that is copied from changed meanwhile; stop everything that writes to it, then copy again"
                .to_owned(),
        ));
    }
    if report.same() {
        target.finish().await?;
    }
    Ok(report)
}

/// Of a table without any it is 0.
fn largest_fence(table: &Table, rows: &Rows) -> Fence {
    let is_fence = |column: &String| table.ours && FENCES.contains(&column.as_str());
    let Some(at) = table.columns.iter().position(is_fence) else {
        return Fence(0);
    };
    let fences = rows.iter().filter_map(|row| match row[at] {
        // A state that was forgotten has none.
        Value::Integer(fence) if fence as u64 & FORGOTTEN == 0 => Some(Fence(fence as u64)),
        _ => None,
    });
    fences.max().unwrap_or(Fence(0))
}

/// Reads a table on both sides at once; `each` hears how many rows of the source are
/// done.
async fn compare(
    source: &dyn CopySource,
    target: &dyn CopyTarget,
    table: &Table,
    mut each: impl FnMut(u64),
) -> Result<Compared> {
    let mut both = [Summary::default(), Summary::default()];
    let (mut from, mut to) = (source.read(table), target.read(table));
    while !both.iter().all(|side| side.ended) {
        let (side, rows) = tokio::select! {
            rows = from.recv(), if !both[0].ended => (0, rows),
            rows = to.recv(), if !both[1].ended => (1, rows),
        };
        both[side].add(rows.transpose()?);
        if side == 0 {
            each(both[0].rows);
        }
    }
    let [from, to] = both;
    Ok(Compared {
        table: table.name.clone(),
        from,
        to,
    })
}

fn ours() -> Vec<Table> {
    let table = |(name, columns, key): &(&str, &[&str], usize)| Table {
        name: (*name).to_owned(),
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        key: *key,
        ours: true,
    };
    OURS.iter().map(table).collect()
}

/// Names of our tables, to be emptied or counted.
pub(crate) fn our_tables<'a>() -> impl Iterator<Item = &'a str> {
    OURS.iter().map(|(name, ..)| *name)
}

/// Before anything is changed: a slip of the pen is no reason to mark the target.
async fn check_names(names: &[String], source: &dyn CopySource) -> Result<Vec<String>> {
    let mut checked: Vec<String> = Vec::new();
    for name in names {
        if name.to_ascii_lowercase().starts_with("turnkey_") {
            return Err(Error::Open(
                OpenError::new("tables of turnkey are copied by themselves")
                    .about(About::Table(name.clone()))
                    .remedy("name your own"),
            ));
        }
        if source.columns(name).await?.is_none() {
            return Err(Error::Open(
                OpenError::new("the database that is copied from has no such table")
                    .about(About::Table(name.clone()))
                    .remedy(format!(
                        "its own are: {}",
                        source.tables().await?.join(", ")
                    )),
            ));
        }
        if !checked.iter().any(|other| same_name(other, name)) {
            checked.push(name.clone());
        }
    }
    Ok(checked)
}

/// For SQLite they are one table, and the servers make them one where they are not told
/// otherwise.
fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Both sides must have the table with the same columns, in whatever order.
async fn author_table(
    name: String,
    source: &dyn CopySource,
    target: &dyn CopyTarget,
) -> Result<Table> {
    let Some(columns) = source.columns(&name).await? else {
        return Err(Error::open(format!("the table {name} is gone")));
    };
    let Some(there) = target.columns(&name).await? else {
        return Err(Error::open(format!(
            "the target has no table {name}: run the copy command of your own bot, whose migrations make it, or make it by hand"
        )));
    };
    let sorted = |columns: &[String]| {
        let mut names: Vec<String> = columns.iter().map(|c| c.to_lowercase()).collect();
        names.sort_unstable();
        names
    };
    if sorted(&columns) != sorted(&there) {
        return Err(Error::Open(
            OpenError::new(format!(
                "the table {name} has the columns {} in the source and {} in the target",
                columns.join(", "),
                there.join(", ")
            ))
            .remedy("make them the same"),
        ));
    }
    Ok(Table {
        name,
        columns,
        key: 0,
        ours: false,
    })
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
