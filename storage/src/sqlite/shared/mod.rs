//! One SQLite file for any number of processes: no fork, no server to start.
//!
//! ```no_run
//! use turnkey_storage::{Database, Write};
//!
//! # async fn example() -> turnkey_storage::Result<()> {
//! let database = Database::open("app.db")
//!     .migration("CREATE TABLE job (id INTEGER PRIMARY KEY, what TEXT NOT NULL)")
//!     .await?;
//! let written = database
//!     .write(Write::new().run("INSERT INTO job (what) VALUES (?1) RETURNING id", "sweep"))
//!     .await?;
//! let id: i64 = written[0].rows[0].get("id")?;
//! # Ok(())
//! # }
//! ```
//!
//! The first process that opens the file runs the writer, in a thread; all processes send it
//! what they write ([`SharedDatabase::write`], [`SharedDatabase::transaction`]) and read by
//! themselves ([`SharedDatabase::read`]). When that process ends or is killed, one of the
//! others goes on as the writer: `election.rs`. Whoever calls waits a few milliseconds longer.
//!
//! What is promised:
//!
//! | call | when it returns `Ok` | when the writing process is killed meanwhile |
//! | --- | --- | --- |
//! | `write` with a key | it is on the disk, once | it is sent again and takes effect once |
//! | `write` without | it is on the disk | [`Error::Unavailable`]: it took effect or not |
//! | `transaction` | it is on the disk, once | the closure runs again, or the commit is found |
//! | `read` | | nothing |
//!
//! "On the disk" survives a power cut; with [`Opening::sync`] and [`Sync::Normal`] only the death
//! of any process. A process that leaves by [`SharedDatabase::close`] makes no call of the others
//! fail. `SQLITE_BUSY` reaches nobody: requests wait in one line, and a program that writes to the
//! file past this library is waited for, and named in the log. A writing process that is stopped
//! (`SIGSTOP`) rather than dead keeps the others waiting: their calls are
//! [`Error::Unavailable`] after ten seconds.
//!
//! Before a fork a database must not be open: let each process open it.

mod election;
mod transaction;

use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use self::election::Election;
pub use self::transaction::Transaction;
use super::client::WriterClient;
use super::readers::Readers;
use super::{Files, SqliteStorage, random_owner, stranger};
use crate::retention::{Kept, Sweep};
use crate::{Database, Error, Outcome, Owner, Result, Sync, Write};

/// How long the keys of writes are known, unless told otherwise.
const KEYS: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a transaction may take, unless told otherwise.
const LIMIT: Duration = Duration::from_secs(5);

/// Between two steps of the removal of old keys, and between two rounds. Short, so
/// that keys do not come faster than they go.
const STEP: Duration = Duration::from_millis(10);
const ROUND: Duration = Duration::from_secs(600);

/// How long a read waits until no other connection recovers the log.
const READ_WAIT: Duration = Duration::from_secs(5);

impl Database {
    /// Opens a SQLite file that any number of processes may open, and makes it if there is none.
    /// What comes of it is a [`SharedDatabase`]; to be awaited in a tokio runtime, after any
    /// fork.
    pub fn open(path: impl AsRef<Path>) -> Opening {
        Opening {
            path: path.as_ref().to_owned(),
            sync: Sync::default(),
            migrations: Vec::new(),
            limit: LIMIT,
            keys: KEYS,
        }
    }
}

/// How a database is opened. Awaiting it opens it.
#[derive(Clone, Debug)]
#[must_use = "it is opened when it is awaited"]
pub struct Opening {
    path: PathBuf,
    sync: Sync,
    migrations: Vec<String>,
    limit: Duration,
    keys: Duration,
}

impl Opening {
    /// The next migration: SQL that is run once, in the life of the file, before anything else.
    /// All programs that open the file must name the same ones, in the same order; a new one
    /// goes behind the others, and is run by the first process that opens the file when no
    /// process has it open.
    pub fn migration(mut self, sql: impl Into<String>) -> Self {
        self.migrations.push(sql.into());
        self
    }

    /// What a write that was acknowledged survives. The process that runs the writer decides.
    pub fn sync(mut self, sync: Sync) -> Self {
        self.sync = sync;
        self
    }

    /// How long a [`transaction`](SharedDatabase::transaction) may take, at most 30 s; 5 s unless
    /// told otherwise. One that takes longer is undone, since everybody else waits for it.
    pub fn transaction_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How long the keys of writes are known: a week unless told otherwise. A write that comes
    /// again later takes effect again.
    pub fn keep_keys(mut self, keep: Duration) -> Self {
        self.keys = keep;
        self
    }

    async fn open(self) -> Result<SharedDatabase> {
        let files = Files::of(&self.path);
        let owner = random_owner()?;
        let (election, at_hand) = {
            let (files, sync, migrations) = (files.clone(), self.sync, self.migrations);
            let prepared =
                tokio::task::spawn_blocking(move || Election::prepare(files, sync, &migrations));
            prepared
                .await
                .map_err(|e| Error::Unavailable(e.to_string()))??
        };
        let place = election.clone();
        let storage = SqliteStorage {
            writer: WriterClient::new(
                files.socket.clone(),
                owner,
                Box::new(move || place.no_writer()),
            ),
            readers: Readers::open(&files.database)?,
        };
        let inner = Arc::new(Inner {
            storage,
            election,
            owner,
            limit: self.limit,
        });
        inner.election.start(at_hand)?;
        // A transaction with nothing in it: somebody serves.
        inner
            .storage
            .writer
            .own(Vec::new())
            .await
            .map_err(|error| inner.election.failure().unwrap_or(error))?;
        // A connection that stays: while some process has one, the next writer need not read the
        // whole log first.
        inner.storage.read(begin_reading).await?;
        tokio::spawn(forget_old_keys(Arc::downgrade(&inner), self.keys));
        Ok(SharedDatabase { inner })
    }
}

impl IntoFuture for Opening {
    type Output = Result<SharedDatabase>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// A SQLite file that any number of processes have open. Cheap to clone. What it promises stands
/// on the module's page.
#[derive(Clone, Debug)]
pub struct SharedDatabase {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    storage: SqliteStorage,
    election: Arc<Election>,
    owner: Owner,
    limit: Duration,
}

impl SharedDatabase {
    /// Runs statements in one transaction, all or none, and says what each did. They are durable
    /// when it returns.
    ///
    /// # Errors
    /// [`Error::Rows`]: a statement did not affect as many rows as it was expected to.
    /// [`Error::Statement`]: one failed, or they took longer than two seconds.
    /// In both cases nothing was changed. [`Error::Full`]: try later.
    /// A foreign key that is `DEFERRABLE INITIALLY DEFERRED` is checked at the commit, which many
    /// calls share: when it has no target, each of them gets [`Error::Statement`].
    /// [`Error::Unavailable`]: nobody answered. Without a key they may have taken effect; with
    /// one, ask again.
    pub async fn write(&self, write: impl Into<Write>) -> Result<Vec<Outcome>> {
        let written = self.inner.storage.writer.write(write.into()).await;
        written.map_err(|error| self.explained(error))
    }

    /// Reads with a connection of this process, on a thread of its own, as of one moment:
    /// everything that was acknowledged before is seen. At most five seconds.
    ///
    /// # Errors
    /// [`Error::Statement`] with SQLite's reason; [`Error::Unavailable`] when all connections
    /// are in use.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let whole = move |conn: &Connection| {
            begin_reading(conn)?;
            read(conn)
        };
        self.inner.storage.read(whole).await
    }

    /// Names another program, if nobody answers because of it.
    fn explained(&self, error: Error) -> Error {
        let files = &self.inner.election.files;
        match &error {
            Error::Unavailable(reason) | Error::Busy(reason) => {
                match stranger::writing_past(&files.database, &files.lock) {
                    Some(who) => Error::Unavailable(format!(
                        "{reason}; another program ({who}) is writing to the database"
                    )),
                    None => error,
                }
            }
            _ => error,
        }
    }

    /// Whether this process runs the writer now.
    pub fn writes_itself(&self) -> bool {
        self.inner.election.leads()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.election.files.database
    }

    /// Leaves: if this process runs the writer, another goes on, and no call of the others
    /// fails. Other clones cannot be used any more. To be called before the program ends; a
    /// program that ends without it is one that was killed.
    pub async fn close(self) {
        let election = self.inner.election.clone();
        // Its panic has been told.
        drop(tokio::task::spawn_blocking(move || election.close()).await);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.election.leave();
    }
}

/// Begins a read, after which SQLite finds nothing busy any more: a connection that recovers
/// the log after a crash is waited for.
fn begin_reading(conn: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + READ_WAIT;
    loop {
        let begun = conn
            .execute_batch("BEGIN")
            .and_then(|()| conn.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(())));
        match begun {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                conn.execute_batch("ROLLBACK")?;
            }
            other => return other,
        }
    }
}

/// Removes the keys of writes that are old, in small steps, while this process runs the writer.
/// Of a file that is a bot's, the ids of updates stay: how long those are kept is the bot's to say.
async fn forget_old_keys(inner: Weak<Inner>, keep: Duration) {
    let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let mut sweep = Sweep::of(Kept::Keys);
    loop {
        let mut wait = ROUND;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        if inner.election.leads() {
            let before = crate::unix_ms().saturating_sub(keep);
            match sweep.step(&inner.storage, before).await {
                Ok(swept) if !swept.over => wait = STEP,
                Ok(_) => {}
                Err(error) => tracing::warn!("old keys of writes are not removed: {error}"),
            }
        }
        drop(inner);
        tokio::time::sleep(wait).await;
    }
}
