//! A served SQLite database in a directory of its own, for the tests.
//!
//! Used by every test binary of this directory. The writer is a thread, restarted
//! on demand on the same listening socket, as a supervisor would. Dropping a
//! [`Served`] stops the writer; [`Served::finish`] also looks for leftovers.

#![allow(dead_code, clippy::unwrap_used)] // Each binary uses a part of it.

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[macro_use]
pub(crate) mod server;

use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use turnkey_storage::sqlite::{
    FileLock, Files, SqliteStorage, Writer, WriterStats, check, connect, prepare,
};
use turnkey_storage::{
    Arrival, Begin, Begun, Commit, DialogKey, Error, Grant, LockAfter, Owner, Pending, Result,
    Seen, Statement, Storage, Sync, Unsent,
};

/// Longer than anything here takes, also on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Served {
    pub(crate) files: Files,
    pub(crate) listener: UnixListener,
    /// What the writer's monitor last saw, and how often it was called.
    pub(crate) seen: Arc<Mutex<(WriterStats, u64)>>,
    stop: Option<UnixStream>,
    writer: Option<JoinHandle<Result<()>>>,
    next_owner: AtomicU64,
    lock: Option<FileLock>,
    _dir: Option<tempfile::TempDir>,
}

impl Served {
    pub(crate) fn start(author: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut served = Self::at(&dir.path().join("bot.db"), author);
        served._dir = Some(dir);
        served.start_writer(Vec::new());
        served
    }

    /// Without a writer.
    pub(crate) fn at(path: &Path, author: &[&str]) -> Self {
        let files = Files::of(path);
        let lock = files.lock().unwrap();
        let author: Vec<String> = author.iter().map(|sql| (*sql).to_owned()).collect();
        prepare(path, Sync::Full, &author).unwrap();
        let listener = files.bind(&lock).unwrap();
        Served {
            files,
            listener,
            seen: Arc::default(),
            stop: None,
            writer: None,
            next_owner: AtomicU64::new(1),
            lock: Some(lock),
            _dir: None,
        }
    }

    pub(crate) fn start_writer(&mut self, expected: Vec<Owner>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let seen = self.seen.clone();
        let writer = Writer {
            files: self.files.clone(),
            file: None,
            sync: Sync::Full,
            listener: self.listener.try_clone().unwrap(),
            expected,
            monitor: Box::new(move |stats| {
                let mut seen = seen.lock().unwrap();
                *seen = (*stats, seen.1 + 1);
            }),
        };
        self.stop = Some(ours);
        self.writer = Some(std::thread::spawn(move || writer.run(theirs.as_fd())));
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner(self.next_owner.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn open(&self) -> SqliteStorage {
        connect(&self.files, self.owner()).unwrap()
    }

    /// Stops the writer; what it returned.
    pub(crate) fn stop_writer(&mut self) -> Result<()> {
        self.stop = None;
        self.join_writer()
    }

    /// Waits for a writer that ends by itself.
    pub(crate) fn join_writer(&mut self) -> Result<()> {
        self.writer.take().unwrap().join().unwrap()
    }

    pub(crate) fn stats(&self) -> WriterStats {
        self.seen.lock().unwrap().0
    }

    /// Stops the writer and finds what should not be there: damage, lock rows.
    pub(crate) fn finish(mut self) {
        self.stop_writer().unwrap();
        self.finish_without_writer();
    }

    /// The same, when the writer was a process of its own and is stopped.
    pub(crate) fn finish_without_writer(mut self) {
        self.lock = None;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut findings = runtime.block_on(check(&self.files.database)).unwrap();
        // Some cases store texts that are no JSON, on purpose.
        findings.retain(|finding| !finding.problem.contains("not JSON"));
        assert_eq!(findings, []);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(writer) = self.writer.take() {
            let ended = writer.join();
            if !std::thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Runs a test's body; a body that hangs fails.
pub(crate) fn block_on<T>(body: impl Future<Output = T>) -> T {
    let runtime = runtime();
    runtime.block_on(async {
        tokio::time::timeout(2 * LONG, body)
            .await
            .expect("the test hangs")
    })
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn dialog(user: impl std::fmt::Display) -> DialogKey {
    DialogKey::new("http", user.to_string())
}

pub(crate) fn asks(dialog: &DialogKey, update: &str) -> Begin {
    Begin {
        dialog: dialog.clone(),
        update: Some(update.to_owned()),
        arrived: Arrival::now(),
        wait: LONG,
    }
}

/// What a begin comes to, with the lock where there is one.
#[derive(Debug)]
pub(crate) struct Flat {
    pub(crate) grant: Option<Grant>,
    pub(crate) seen: Option<Seen>,
    pub(crate) state: Option<String>,
    pub(crate) unsent: Vec<Unsent>,
    pub(crate) earlier: Option<Pending>,
}

/// For tests that look at all of it.
pub(crate) fn flat(begun: Begun) -> Flat {
    let (grant, seen, state, unsent, earlier) = match begun {
        Begun::Seen(seen) => (None, Some(seen), None, Vec::new(), None),
        Begun::Granted(g) => (Some(g.grant), g.seen, g.state, g.unsent, g.earlier),
    };
    Flat {
        grant,
        seen,
        state,
        unsent,
        earlier,
    }
}

/// Begins a turn that is expected to get the lock.
pub(crate) async fn begin(storage: &dyn Storage, dialog: &DialogKey, update: &str) -> Flat {
    storage.begin(asks(dialog, update)).await.map(flat).unwrap()
}

/// A commit that ends its turn.
pub(crate) fn last(update: &str, state: &str) -> Commit {
    Commit {
        update: update.to_owned(),
        state: state.to_owned(),
        digest: b"digest".to_vec(),
        answer: b"answer".to_vec(),
        lock: LockAfter::GivenBack,
        ..Commit::default()
    }
}

/// A whole turn that stores `state`; the state it found.
pub(crate) async fn turn(
    storage: &dyn Storage,
    dialog: &DialogKey,
    update: &str,
    state: &str,
) -> Option<String> {
    let begun = begin(storage, dialog, update).await;
    let mut grant = begun.grant.expect("a new update");
    storage
        .commit(&mut grant, last(update, state))
        .await
        .unwrap();
    begun.state
}

/// An update that a turn relays to a dialog that its user's turns relay to.
pub(crate) fn relay(update: &str, arrived: usize) -> Pending {
    let (user, _) = update.split_once('.').unwrap();
    Pending {
        dialog: dialog(format!("relayed {user}")),
        update: format!("relayed {update}"),
        arrived: arrived as i64,
        body: update.as_bytes().to_vec(),
        attempts: 0,
        due: 0,
        error: None,
    }
}

/// What the turns of a user bring beside their state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brings {
    Nothing,
    /// An update for another dialog.
    Relay,
    /// A statement that fails when it is run twice, and a relay.
    Both,
}

impl Brings {
    /// Of four users one brings both, one relays, and two have nothing.
    pub(crate) fn of(user: usize) -> Self {
        match user % 4 {
            0 => Brings::Both,
            1 => Brings::Relay,
            _ => Brings::Nothing,
        }
    }
}

/// Turns of a user, one after another, each tried until it is acknowledged.
pub(crate) async fn count_to(
    storage: Arc<dyn Storage>,
    user: String,
    turns: usize,
    brings: Brings,
) {
    for n in 0..turns {
        let update = format!("{user}.{n}");
        loop {
            let short = Begin {
                wait: Duration::from_secs(5),
                ..asks(&dialog(&user), &update)
            };
            let begun = match storage.begin(short).await.map(flat) {
                Ok(begun) => begun,
                Err(Error::Unavailable(_) | Error::Busy(_)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Err(other) => panic!("{other}"),
            };
            if begun.seen.is_some() {
                break; // Acknowledged all the same.
            }
            let count: usize = begun.state.as_deref().unwrap_or("0").parse().unwrap();
            assert_eq!(
                count, n,
                "an acknowledged turn of {user} is lost, or one came twice"
            );
            let commit = Commit {
                statements: match brings {
                    Brings::Both => {
                        vec![Statement::new("INSERT INTO note VALUES (?1)", (&update,))]
                    }
                    _ => vec![],
                },
                relays: match brings {
                    Brings::Nothing => vec![],
                    _ => vec![relay(&update, n)],
                },
                ..last(&update, &(n + 1).to_string())
            };
            let mut grant = begun.grant.unwrap();
            match storage.commit(&mut grant, commit).await {
                Ok(()) => break,
                Err(Error::Unavailable(_) | Error::Stale | Error::Seen) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
}
